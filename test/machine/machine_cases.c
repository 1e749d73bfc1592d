/*-------------------------------------------------------------------------
 *
 * machine_cases.c
 *	  Small packages with the actions that are expected.
 *
 * Both are written in a shorthand that is explained at parse_step() and
 * run_token().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <stdarg.h>

#include "machine_test.h"

typedef struct Case
{
	const char *name;
	bool		fail_on_first_error;
	int			max;
	const char *steps;
	const char *script;
	const char *expected;
} Case;

static const Case cases[] = {
	{"chain", true, 4, "a b<a c<b",
		"; a+ ; b+ ; c+ ;", "a | b | c | end succeeded"},
	{"diamond", true, 4, "a b<a c<a d<bc",
		"; a+ ; c+ ; b+ ; d+ ;", "a | b c | | d | end succeeded"},
	{"order of the document does not matter", true, 4, "a<b b<c c",
		"; c+ ; b+ ; a+ ;", "c | b | a | end succeeded"},
	{"kinds", true, 4, "a:p b:j c",
		"; a+ b+ c+ ;", "a() b c | | | end succeeded"},

	/* constraints */
	{"disabled steps cascade", true, 4, "a:d b<a c<b* d",
		"; d+ ;",
		"a=disabled b=constraint c=constraint d | end succeeded"},
	{"disabled wins over unreachable", true, 4, "a:d b:d<a c",
		"; c+ ;", "a=disabled b=disabled c | end succeeded"},
	{"a disabled step in the middle", true, 4, "a b:d<a c<b d<ab*",
		"; a+ ;",
		"b=disabled c=constraint d=constraint a | end succeeded"},
	{"branches after success", false, 4, "a b<a c<a! d<a*",
		"; a+ ; b+ d+ ;", "a | c=constraint b d | | end succeeded"},
	{"branches after failure", false, 4, "a b<a c<a! d<a*",
		"; a- ; c+ d+ ;",
		"a | b=constraint c d | | end succeeded error a failed 1"},
	{"branches after a cancelled step", false, 4, "a b<a c<a! d<a*",
		"; a~ ; c+ d+ ;",
		"a | b=constraint c d | | end succeeded error a failed 1"},
	{"all: unreachable at the first that cannot hold", false, 4, "a b c<ab",
		"; a- ; b+ ;",
		"a b | c=constraint | end succeeded error a failed 1"},
	{"any: starts at the first that holds, once", true, 4, "a b c:o<ab",
		"; a+ ; b+ ; c+ ;", "a b | c | | end succeeded"},
	{"any: the last one may hold", false, 4, "a b c:o<ab",
		"; a- ; b+ ; c+ ;",
		"a b | | c | end succeeded error a failed 1"},
	{"any: none can hold any more", false, 4, "a b c:o<ab d<c*",
		"; a- ; b- ;",
		"a b | | c=constraint d=constraint end succeeded error a failed 2"},
	{"any: beside a disabled step", true, 4, "a:d b c:o<a*b",
		"; b+ ; c+ ;", "a=disabled b | c | end succeeded"},
	{"success and failure of one step, all", true, 4, "a b<aa!",
		"; a+ ;", "a | b=constraint end succeeded"},
	{"success and failure of one step, any", false, 4, "a b:o<aa!",
		"; a- ; b+ ;", "a | b | end succeeded error a failed 1"},

	/* order and limits */
	{"priorities, then the document's order", true, 1, "a b:5 c:5 d:9",
		"; d+ ; b+ ; c+ ; a+ ;", "d | b | c | a | end succeeded"},
	{"priority of what becomes startable", true, 1, "a b c:1<a",
		"; a+ ; c+ ; b+ ;", "a | c | b | end succeeded"},
	{"at most max_concurrent_steps", true, 2, "a b:p c d",
		"; b+ ; a+ ; c+ d+ ;", "a b() | c | d | | end succeeded"},
	{"one step at a time on a connection", true, 4, "a:A b:A c d:A",
		"; ?a ?b ?c ?d a+ ; ?d b+ ; d+ c+ ;",
		"a c ?- ?c ?- ?c | b ?c | d | | end succeeded"},
	{"two connections", true, 4, "a:A b:B c:A d:B",
		"; b+ ; a+ ; c+ d+ ;", "a b | d | c | | end succeeded"},
	{"a full package waits for no connection", true, 1, "a:A b:A",
		"; ?b a+ ; b+ ;", "a ?s | b | end succeeded"},
	{"waiting for a connection takes no place", true, 2, "a:A b:A c d",
		"; c+ ; d+ ; a+ ; b+ ;",
		"a c | d | | b | end succeeded"},
	{"a connection's waiters in their order", true, 2, "a:A b:A c d:9A<c",
		"; c+ ; a+ ; b+ ; d+ ;",
		"a c | | b | d | end succeeded"},
	{"overtaken by priority", true, 3, "a:A b:A c d:A e:9A<a",
		"; a+ ; ?b ?d e+ ; b+ ; d+ c+ ;",
		"a c | e ?c ?c | b | d | | end succeeded"},
	{"the first waiter competes by its priority", true, 2, "a:A b:A c d:1<a",
		"; a+ ; c+ ; b+ d+ ;",
		"a c | d | b | | end succeeded"},

	/* steps of kind none */
	{"none", true, 4, "a:n b:n<a c:n<b d<c", "; d+ ;",
		"a=succeeded b=succeeded c=succeeded d | end succeeded"},
	{"none only", true, 4, "a:n b:n<a c:n<a!",
		";", "a=succeeded b=succeeded c=constraint end succeeded"},
	{"none needs no place", true, 1, "a b:n c:n<a d<c",
		"; a+ ; d+ ;", "b=succeeded a | c=succeeded d | end succeeded"},
	{"none does not start after a failure", true, 4, "a b c:n<b d:n<a!",
		"; a- b+ ;",
		"a b | | c=package failed d=package failed"
		" end failed error a failed 1"},

	/* failure of the package */
	{"fail_on_first_error", true, 4, "a b<a c<a! d<a*",
		"; a- ;", "a | b=constraint c=package failed d=package failed"
		" end failed error a failed 1"},
	{"both reasons; running steps end", true, 4, "a b c<a d<b e<d f<a!",
		"; a- ; b+ ;",
		"a b | c=constraint | d=package failed e=package failed"
		" f=package failed end failed error a failed 1"},
	{"constraint wins", true, 4, "a b c<ab d<b e<b!",
		"; a- ; b- ;", "a b | c=constraint | d=constraint"
		" e=package failed end failed error a failed 2"},
	{"what waits when the package fails", true, 2, "a:A b:A c d",
		"; c- ; ?b a+ ;", "a c | ?- | b=package failed d=package failed"
		" end failed error c failed 1"},
	{"a cancelled step fails the package", true, 4, "a b<a*",
		"; a~ ;", "a | b=package failed end failed error a failed 1"},
	{"the first failure is the error", false, 4, "a b c",
		"; c- ; a+ b- ;",
		"a b c | | | end succeeded error c failed 2"},

	/* nothing to run */
	{"no steps", true, 4, "", ";", "end failed nothing"},
	{"all disabled", true, 4, "a:d b:d",
		";", "a=disabled b=disabled end failed nothing"},
	{"nothing startable", true, 4, "a:d b:n<a c<b",
		"! ;",
		"| a=disabled b=constraint c=constraint end failed nothing"},

	/* stop */
	{"stop before the first action", true, 4, "a b<a c:d",
		"! ;",
		"| c=disabled a=cancelled b=cancelled end cancelled"},
	{"stop between two actions", true, 4, "a b c",
		". ! ; a~ ;",
		"a | a^ | b=cancelled c=cancelled end cancelled"},
	{"stop of a running step", true, 4, "a b<a c<a! d<a*", "; ! ; a~ ;",
		"a | a^ | b=cancelled c=cancelled d=cancelled end cancelled"},
	{"each step is cancelled once", true, 4, "a b",
		"; ! . ! . a~ ; b~ ;", "a b | a^ | b^ | | end cancelled"},
	{"a step that ended meanwhile", true, 4, "a b c<b",
		"; ! . b+ ; a~ ;",
		"a b | a^ | | c=cancelled end cancelled"},
	{"a failure during the stop", true, 4, "a b<a c<a!", "; ! ; a- ;",
		"a | a^ | b=constraint c=cancelled"
		" end cancelled error a failed 1"},
	{"stop after the failure", true, 4, "a b c<a d<b", "; a- ! ; b~ ;",
		"a b | | c=constraint b^ | d=cancelled"
		" end cancelled error a failed 1"},
	{"stop with steps in all places", true, 2, "a:A b:A c d e:n<a",
		"; ! ; a+ c~ ;", "a c | a^ c^ | |"
		" b=cancelled d=cancelled e=cancelled end cancelled"},
	{"stop between the last step and the next", true, 4, "a b<a",
		"; a+ ! ;", "a | | b=cancelled end cancelled"},
	{"stop when the end is decided", true, 4, "a b<a!",
		"; a+ ! ;", "a | | b=constraint end succeeded"},
	{"stop when the end is known", true, 4, "a",
		"; a+ ; ! ;", "a | end succeeded |"},

	/* attempts that were cut off after they had begun to commit */
	{"interrupted", true, 4, "a b<a c<a!",
		"; a/ ;", "a | b=constraint c=package failed"
		" end failed error a failed 1"},
	{"interrupted, on failure", false, 4, "a b<a c<a!",
		"; a/ ; c+ ;", "a | b=constraint c | end succeeded error a failed 1"},
	{"interrupted is no error that is tried again", true, 4, "a:r3",
		"; a/ ;", "a | end failed error a failed 1"},
	{"restartable", true, 4, "a:s b<a",
		"; a/ ; a/ ; a+ ; b+ ;", "a | a2 | a3 | b | end succeeded"},
	{"restartable is no retry of an error", true, 4, "a:s",
		"; a/ ; a- ;", "a | a2 | end failed error a failed 1"},
	{"an interrupted attempt is one of the attempts", true, 4, "a:sr2",
		"; a/ ; a- ;", "a | a2 | end failed error a failed 1"},
	{"a restartable step in a pause", true, 4, "a:s",
		"; ( a/ ; ) ; a+ ;", "a | | | a2 | end succeeded"},
	{"no attempt after a stop", true, 4, "a:s",
		"; ! ; a/ ;", "a | a^ | end cancelled error a failed 1"},
	{"stop before the next attempt", true, 4, "a:s",
		"; a/ ! ;", "a | | end cancelled error a failed 1"},

	/* retries */
	{"retry", true, 4, "a:r3 b<a", "; a- ; ?a a@ ; a- ; a@ ; a+ ; b+ ;",
		"a | a@100 ?r | a2 | a@300 | a3 | b | end succeeded"},
	{"the last attempt fails", true, 4, "a:r2 b<a c<a!",
		"; a- ; a@ ; a- ;",
		"a | a@100 | a2 | b=constraint c=package failed"
		" end failed error a failed 1"},
	{"retry of a child", true, 4, "a:pr2", "; a- ; a@ ; a+ ;",
		"a() | a@100 | a2() | end succeeded"},
	{"retry_on a state", true, 4, "a:r9x b:r9x", "; a-1 ; b-2 a@ ; a- ;",
		"a b | a@100 | | a2 | end failed error b failed 2"},
	{"retry_on a class", true, 4, "a:r9y b:r9y",
		"; a-1 b-2 ; b@ ; b-3 ; a@ ; a+ ;",
		"a b | | a@100 b@100 | b2 | | a2 | end failed error b failed 1"},
	{"a step that awaits a retry keeps its place", true, 2, "a:r2 b c",
		"; a- ; ?c b+ ; a@ ; a+ c+ ;",
		"a b | a@100 ?s | c | a2 | | end succeeded"},
	{"and its connection", true, 4, "a:r2A b:A",
		"; a- ; ?b a@ ; a+ ; b+ ;",
		"a | a@100 ?c | a2 | b | end succeeded"},
	{"a cancelled step is not tried again", true, 4, "a:r2", "; a~ ;",
		"a | end failed error a failed 1"},
	{"a retry goes on after the package failed", true, 4, "a:r3 b c<a",
		"; a- ; b- ; a@ ; a- ; a@ ; a+ ;",
		"a b | a@100 | | a2 | a@300 | a3 | c=package failed"
		" end failed error b failed 1"},
	{"stop while a retry is awaited", true, 4, "a:r2 b<a c<a! d",
		"; a- ; ! ; a@ a+ d~ ;",
		"a d | a@100 | b=constraint d^ | | | c=cancelled"
		" end cancelled error a failed 1"},
	{"stop before the timer is set", true, 4, "a:r2", "; a- ! ;",
		"a | | end cancelled error a failed 1"},
	{"stop between the timer and the attempt", true, 4, "a:r2",
		"; a- ; a@ ! ;", "a | a@100 | | end cancelled error a failed 1"},
	{"no retry after a stop", true, 4, "a:r2", "; ! ; a- ;",
		"a | a^ | end cancelled error a failed 1"},
	{"a step that awaits a retry has no end", true, 4, "a:r2",
		"; a- a+ ; a- a@ a@ a+ ; a@ a+ ;",
		"a | | a@100 | | | | a2 | | end succeeded"},

	/* conditions */
	{"condition", true, 4, "a:c b<a", "; ?a at ; a+ ; b+ ;",
		"a? ?o | a | b | end succeeded"},
	{"a false condition cascades", true, 4, "a:c b<a* c",
		"; af ; c+ ;", "a? c | a=condition b=constraint | end succeeded"},
	{"all skipped by condition", true, 4, "a:c", "; af ;",
		"a? | a=condition end succeeded"},
	{"a null condition is asked again", true, 4, "a:c", "; an ; ?a a@ ; an ;"
		" a@ ; at ; a+ ;",
		"a? | a@500 ?o | a? | a@500 | a? | a | end succeeded"},
	{"a condition in error", true, 4, "a:c b<a! c<a",
		"; ae ;", "a? | a=failed 22012 c=constraint b=package failed"
		" end failed error a failed 1"},
	{"a condition in error, and on", false, 4, "a:cr3 b<a!",
		"; ae1 ; b+ ;",
		"a? | a=failed 40001 b | end succeeded error a failed 1"},
	{"a condition needs no place and no connection", true, 1, "a:A b:cA",
		"; bt ; ?b a+ ; b+ ;", "b? a | ?s | b | end succeeded"},
	{"a condition is asked once", true, 1, "a b:c c:9<a",
		"; bt ; a+ ; c+ ; b+ ;", "b? a | | c | b | end succeeded"},
	{"a condition waits for the constraints", true, 4, "a b:c<a c:cd",
		"; a+ ; bt ; b+ ;", "c=disabled a | b? | b | end succeeded"},
	{"none with a condition", true, 4, "a:nc b:nc c<ab",
		"; at ; bt ; c+ ;",
		"a? b? | a=succeeded | b=succeeded c | end succeeded"},
	{"the package fails while a condition is open", true, 4, "a b:c c:c d:c",
		"; cn . a- ; bt ; dn ;",
		"b? c? d? a | c@500 | | | b=package failed c=package failed"
		" d=package failed end failed error a failed 1"},
	{"its answer counts if it is false or an error", true, 4, "a b:c c:c",
		"; a- ; bf ; ce ;",
		"b? c? a | | b=condition | c=failed 22012"
		" end failed error a failed 2"},
	{"stop while a condition is open", true, 4, "a:c b:c c:c d:c",
		"; bn ; ! ; cf ; ae ; b@ d@ dt ;",
		"a? b? c? d? | b@500 | a?^ c?^ d?^ | c=condition | | | |"
		" a=cancelled b=cancelled d=cancelled end cancelled"},
	{"an answer that nobody asked for", true, 4, "a:c<b b",
		"; at bt a@ b@ ; b+ ; at at ; a+ ;",
		"b | | | | | a? | | a | end succeeded"},

	/* main_thread */
	{"main thread", true, 4, "a:m b:m c d:m",
		"; ?b a+ ; ?d b+ c+ ; d+ ;",
		"a c ?m | b ?m | | d | end succeeded"},
	{"main thread, by priority", true, 2, "a:m b:m1 c d:m9 e",
		"; ?a d+ ; b+ ; c+ ; ?e a+ e+ ;",
		"d c ?s | b | a | e ?- | | end succeeded"},
	{"main thread and connections", true, 4, "a:mA b:mA c:A d:mB e:B",
		"; ?b ?c ?d a+ ; e+ ; ?d b+ ; c+ d+ ;",
		"a e ?c ?c ?c | b | ?m | c d | | end succeeded"},
	{"main thread holds nobody else up", true, 4, "a:m b:A c:mA<b d:A<b",
		"; b+ ; ?c d+ ; ?c a+ ; c+ ;",
		"a b | d ?c | ?m | c | end succeeded"},
	{"a retry keeps the main thread", true, 4, "a:mr2 b:m",
		"; a- ; ?b a@ ; a+ ; b+ ;", "a | a@100 ?m | a2 | b | end succeeded"},

	/* fail_package_on_error */
	{"fail_package_on_error", false, 4, "a:! b<a! c",
		"; c- ; a- ;", "a c | | b=package failed"
		" end failed error a failed 2"},
	{"the first of them is the error", false, 4, "a:! b:! c",
		"; b- a- c- ;", "a b c | | | end failed error b failed 3"},
	{"fail_package_on_error of a condition", false, 4, "a:!c b",
		"; ae b+ ;", "a? b | | a=failed 22012 end failed error a failed 1"},

	/* pause */
	{"pause", true, 4, "a b<a c", "; ( ; a+ c+ ; ?b % ) ; b+ % ;",
		"a c | | | ?- running( | b | succeeded end succeeded"},
	{"pause before the first action", true, 4, "a:c b:n c",
		"( ; ) ; at c+ ; a+ ;",
		"| b=succeeded | a? c | | a | end succeeded"},
	{"pause holds kind none", true, 4, "a b:n<a c:n<b d<a!",
		"; ( a+ ; ) ;",
		"a | | d=constraint | b=succeeded c=succeeded end succeeded"},
	{"pause holds conditions and attempts", true, 4, "a:r2 b:c",
		"; a- bn ; ( a@ b@ ; ) ; bt a+ ; b+ ;",
		"b? a | | a@100 b@500 | | | | a2 b? | | b | end succeeded"},
	{"timers are set in a pause", true, 4, "a:r2 b:c",
		"; ( a- bn ; a@ b@ ) ; bf a+ ;",
		"b? a | | | a@100 b@500 | | | a2 b? | | b=condition end succeeded"},
	{"answers in a pause", true, 4, "a:c b:c c<b", "; ( at bf ; ) ; a+ ;",
		"a? b? | | | b=condition c=constraint | a | end succeeded"},
	{"a pause when all is decided", true, 4, "a b<a!",
		"; ( a+ ; %", "a | | b=constraint end succeeded succeeded"},
	{"failure in a pause", true, 4, "a b c<a", "; ( b- a+ ;",
		"a b | | | c=package failed end failed error b failed 1"},
	{"failure in a pause, kind none", true, 4, "a b c:n<a d",
		"; ( b- a+ ) ; d+ ;",
		"a b d | | | | | c=package failed end failed error b failed 1"},
	{"stop wins over a pause", true, 4, "a b<a c:n<a d:f*",
		"; ( a+ ! ; % d+ ;",
		"a | | | b=cancelled c=cancelled d cancelled | end cancelled"},
	{"pause of a stopped run", true, 4, "a b<a", "; ! ( ; % a~ ;",
		"a | | a^ running | b=cancelled end cancelled"},
	{"resume without a pause", true, 4, "a", "; ) ; a+ ;",
		"a | | end succeeded"},

	/* attempts that were not begun */
	{"an attempt that is not begun is not counted", true, 4, "a b<a",
		"; a_ ; a_ ; a+ ; b+ ;", "a | a | a | b | end succeeded"},
	{"nor is a second one", true, 4, "a:r2", "; a- ; a@ ; a_ ; a- ;",
		"a | a@100 | a2 | a2 | end failed error a failed 1"},
	{"not begun, in a pause", true, 4, "a:r2 b", "; a- ; a@ ; ( a_ b_ ; ) ;"
		" a+ b+ ;", "a b | a@100 | a2 | | | | a2 b | | end succeeded"},
	{"not begun, in a stop", true, 4, "a b<a c<a!", "; ! a_ ;",
		"a | | a=cancelled b=cancelled c=cancelled end cancelled"},
	{"not begun again, in a stop", true, 4, "a:r2 b<a c<a!",
		"; a- ; a@ ; ! ; a_ ;", "a | a@100 | a2 | a^ | b=constraint"
		" c=cancelled end cancelled error a failed 1"},
	{"not begun, in a time-out", true, 4, "a b<a", "; # ; a_ ;",
		"a | a^ | a=package failed b=package failed end failed by driver"},
	{"not begun, and the package has failed", true, 4, "a b c<b", "; a- b_ ;",
		"a b | | b=package failed c=package failed"
		" end failed error a failed 1"},
	{"not begun: it gives back what it took", true, 4, "a:mA b:mA c:9mA<d d",
		"; ( d+ a_ ) ; c+ ; a+ ; b+ ;",
		"a d | | | | c | a | b | end succeeded"},

	/* wf_machine_fail() */
	{"time-out", true, 4, "a b<a c<a!", "; # ; a~ ;",
		"a | a^ | b=package failed c=package failed"
		" end failed by driver"},
	{"time-out after a failure", false, 4, "a b c<b", "; a- # ; b~ ;",
		"a b | | b^ | c=package failed"
		" end failed error a failed 1 by driver"},
	{"time-out of a package that has failed", true, 4, "a b", "; a- # ; b~ ;",
		"a b | | b^ | end failed error a failed 1"},
	{"time-out, then stop", true, 4, "a b<a", "; # ! ; a~ ;",
		"a | | a^ | b=package failed end failed by driver"},
	{"stop, then time-out", true, 4, "a b<a", "; ! # ; a~ ;",
		"a | | a^ | b=cancelled end cancelled"},
	{"time-out while a retry is awaited", true, 4, "a:r2 b<a", "; a- ; # ;",
		"a | a@100 | b=constraint end failed error a failed 1 by driver"},
	{"time-out when the end is decided", true, 4, "a", "; a+ # ;",
		"a | | end succeeded"},

	/* finally */
	{"finally after success", true, 4, "a:f+ b:f- c:f* d",
		"; % d+ % ; a+ c- ;",
		"d running | succeeded b=constraint a c | |"
		" end succeeded failed 1"},
	{"finally after failure", true, 4, "a:f+ b:f- c:f* d e<d!",
		"; d- % ; b+ ; c+ ;",
		"d | failed e=package failed a=constraint b c | |"
		" end failed error d failed 1"},
	{"finally after a stop", true, 4, "a:f+ b:f- c", "; ! ; c~ ; b+ ;",
		"c | c^ | a=constraint b | end cancelled"},
	{"finally after a time-out", true, 4, "a:f+ b:f- c", "; # ; c~ ; b+ ;",
		"c | c^ | a=constraint b | end failed by driver"},
	{"finally steps do not make a run", true, 4, "a:f+ b:f- c:f*d d:d",
		"; b+ ;", "c=disabled d=disabled a=constraint b | end failed nothing"},
	{"limits of finally steps", true, 2, "a:f* b:f*9A c:f*A d:f*n e",
		"; e+ ; b+ ; c+ a+ ;",
		"e | d=succeeded b a | c | | end succeeded"},
	{"finally: what waited is forgotten", true, 1, "a:A5 b:A5<c* c:9 d:f*A",
		"; c- % ; d+ ;", "c | failed a=package failed b=package failed d |"
		" end failed error c failed 1"},
	{"finally: who waited for a connection, too", true, 2,
		"a:A b:A c d:f*A e:f*A", "; c- ; a+ ; ?e d+ ; e+ ;",
		"a c | | b=package failed d ?c | e | end failed error c failed 1"},
	{"finally with retry and condition", true, 4, "a:f*r2 b:f*c c",
		"; c+ ; a- be ; a@ ; a- ;",
		"c | b? a | | b=failed 22012 a@100 | a2 |"
		" end succeeded failed 2"},
	{"finally: failure fails nothing", true, 1, "a:f*! b:f* c",
		"; c+ ; a- ; b+ ;", "c | a | b | end succeeded failed 1"},
	{"stop of finally steps", true, 1, "a:f* b:f* c",
		"; c+ ; ! ; a~ ;",
		"c | a | a^ | b=cancelled end succeeded"},
	{"two stops", true, 1, "a:f*r2 b:f* c",
		"; ! ; c~ ; a- ; ! ;",
		"c | c^ | a | a@100 | b=cancelled end cancelled failed 1"},
	{"time-out of finally steps", true, 4, "a:f* b", "; b+ ; # ; a+ ;",
		"b | a | | end succeeded"},
	{"pause of finally steps", true, 4, "a:f* b", "; ( b+ ; % ) ; a+ ;",
		"b | | succeeded( | a | end succeeded"},

	/* restart: steps that are taken over */
	{"taken over", true, 4, "a:t b:t<a c<b", "; c+ ;",
		"a=restart b=restart c | end succeeded"},
	{"taken over: everything", true, 4, "a:t b:t<a c:f* d:f-", "; c+ ;",
		"a=restart b=restart d=constraint c | end succeeded"},
	{"taken over: no condition, no place, no connection", true, 1,
		"a:tcA b:A c", "; b+ ; c+ ;", "a=restart b | c | end succeeded"},
	{"taken over behind what is not", true, 4, "a b:t<a c<b", "; a+ ; c+ ;",
		"a | b=restart c | end succeeded"},
	{"taken over behind what fails", true, 4, "a b:t<a* c<b", "; a- ;",
		"a | b=package failed c=package failed end failed error a failed 1"},
	{"taken over, and disabled since", true, 4, "a:td b<a c:td<b",
		"; b+ ;", "a=restart b | c=restart end succeeded"},
	{"taken over in a pause", true, 4, "a b:t<a c<b", "; ( a+ ; ) ; c+ ;",
		"a | | b=restart | c | end succeeded"},
	{"taken over, then a stop", true, 4, "a:t b<a", "! ;",
		"| a=restart b=cancelled end cancelled"},
	{"taken over: precedence any", true, 4, "a:t b c:ot<ab d<c", "; b+ d+ ;",
		"a=restart c=restart b d | | end succeeded"},

	/* driver */
	{"an end that is reported twice", true, 4, "a b<a",
		"; a+ a- ; b+ b- ; b- ;", "a | | b | | end succeeded |"},
};

/* What a step with an option x or y is tried again after. */
static WfPlanError retry_on[2];

/* One option of a step; returns what comes after it. */
static const char *
parse_option(WfPlanStep *step, bool *taken, const char *c)
{
	char		option = *c++;

	if (strchr("npj", option))
		step->kind = option;
	else if (option == 'd')
		step->disabled = true;
	else if (option == 't')
		*taken = true;
	else if (option == 'o')
		step->any = true;
	else if (option == 'c')
		step->has_condition = true;
	else if (option == 'm')
		step->main_thread = true;
	else if (option == '!')
		step->fail_package_on_error = true;
	else if (option == 'f')
	{
		step->finally = *c == '+' ? WF_ON_SUCCESS :
			*c == '-' ? WF_ON_FAILURE : WF_ON_COMPLETION;
		c++;
	}
	else if (option == 's')
		step->restartable = true;
	else if (option == 'r')
		step->max_attempts = *c++ - '0';
	else if (option == 'x' || option == 'y')
	{
		step->nretry_on = 1;
		step->retry_on = &retry_on[option - 'x'];
	}
	else if (option >= 'A')
		step->connection = option - 'A';
	else
		step->priority = option - '0';
	return c;
}

/*
 * A step is a letter, then after ":" its options (n, p, j: kind; d: disabled;
 * o: precedence any; c: condition; m: main_thread; !: fail_package_on_error;
 * f+, f-, f*: finally; s: restartable; t: taken over; r and a digit: attempts; x, y: retry_on 40001, class
 * 40; another digit: priority; A, B: connection), then after "<" the steps
 * that it waits for (on success; !: on failure; *: on completion).
 */
static void
parse_step(TestPlan *test, int step, const char *text)
{
	WfPlanStep *plan_step = &test->plan.steps[step];
	const char *c = text + 1;

	plan_step->condition_interval_ms = 500;
	plan_step->retry_delay_ms = 100;
	plan_step->retry_backoff = 3.0;
	if (*c == ':')
	{
		c++;
		while (*c && *c != '<')
			c = parse_option(plan_step, &test->taken_over[step], c);
	}
	if (*c == '<')
	{
		for (c++; *c; c++)
		{
			WfOn		on = WF_ON_SUCCESS;

			if (c[1] == '!')
				on = WF_ON_FAILURE;
			else if (c[1] == '*')
				on = WF_ON_COMPLETION;
			plan_edge(test, *c - 'a', step, on);
			if (on != WF_ON_SUCCESS)
				c++;
		}
	}
}

static void
parse_plan(TestPlan *test, const Case *unit)
{
	char		text[256];
	char	   *token;
	int			nsteps = 0;

	retry_on[0].sqlstate = pack_sqlstate("40001");
	retry_on[1].sqlstate = pack_sqlstate("40000");
	retry_on[1].is_class = true;
	snprintf(text, sizeof(text), "%s", unit->steps);
	for (token = strtok(text, " "); token; token = strtok(NULL, " "))
		nsteps++;

	plan_init(test, nsteps, strlen(unit->steps));
	test->plan.nconnections = 2;
	test->plan.fail_on_first_error = unit->fail_on_first_error;
	test->plan.max_concurrent_steps = unit->max;

	snprintf(text, sizeof(text), "%s", unit->steps);
	for (token = strtok(text, " "); token; token = strtok(NULL, " "))
		parse_step(test, token[0] - 'a', token);
	plan_sort_edges(test);
}

static char trace[1024];

static void
trace_append(const char *format,...)
{
	size_t		used = strlen(trace);
	va_list		args;

	va_start(args, format);
	vsnprintf(trace + used, sizeof(trace) - used, format, args);
	va_end(args);
}

static void
trace_add(const char *format,...)
{
	size_t		used = strlen(trace);
	va_list		args;

	if (used > 0 && used < sizeof(trace) - 1)
		trace[used++] = ' ';
	va_start(args, format);
	vsnprintf(trace + used, sizeof(trace) - used, format, args);
	va_end(args);
}

static void
trace_end(const WfAction *action)
{
	trace_add("end %s", wf_run_status_name(action->run_status));
	if (action->error_step >= 0)
		trace_add("error %c", 'a' + action->error_step);
	if (action->failed_steps > 0)
		trace_add("failed %d", action->failed_steps);
	if (action->nothing_to_run)
		trace_add("nothing");
	if (action->failed_by_driver)
		trace_add("by driver");
}

static void
trace_record(const WfAction *action)
{
	char		step = 'a' + action->step;

	trace_add("%c=%s", step, action->reason != WF_REASON_NONE ?
			  wf_reason_name(action->reason) :
			  wf_step_status_name(action->status));
	if (action->sqlstate != 0)
		trace_add("%s", unpack_sqlstate(action->sqlstate));
}

static void
trace_action(const WfAction *action)
{
	char		step = 'a' + action->step;

	switch (action->type)
	{
		case WF_ACT_EXECUTE:
		case WF_ACT_CHILD:
			trace_add("%c", step);
			if (action->attempt > 1)
				trace_append("%d", action->attempt);
			if (action->type == WF_ACT_CHILD)
				trace_append("()");
			break;
		case WF_ACT_CONDITION:
			trace_add("%c?", step);
			break;
		case WF_ACT_TIMER:
			trace_add("%c@%lld", step, (long long) action->delay_ms);
			break;
		case WF_ACT_RECORD:
			trace_record(action);
			break;
		case WF_ACT_CANCEL:
			trace_add(action->attempt == 0 ? "%c?^" : "%c^", step);
			break;
		case WF_ACT_COMMIT:
			trace_add("commit%d", action->transaction);
			break;
		case WF_ACT_ROLLBACK:
			trace_add("rollback%d", action->transaction);
			break;
		case WF_ACT_END:
			trace_end(action);
			break;
	}
}

/* What a step waits for, by a letter. */
static char
trace_wait(const WfMachine *machine, int32 step)
{
	if (wf_machine_waits_for_slot(machine, step))
		return 's';
	if (wf_machine_waits_for_connection(machine, step))
		return 'c';
	if (wf_machine_waits_for_main_thread(machine, step))
		return 'm';
	if (wf_machine_waits_for_condition(machine, step))
		return 'o';
	if (wf_machine_awaits_retry(machine, step))
		return 'r';
	return '-';
}

/* Something happens to a step. */
static void
step_event(WfMachine *machine, int32 step, const char *event)
{
	static const char *const sqlstates[] = {"22012", "40001", "40P01",
	"42601"};
	int			sqlstate = pack_sqlstate(sqlstates[atoi(event + 1)]);

	switch (event[0])
	{
		case '+':
			wf_machine_step_ended(machine, step, WF_STEP_SUCCEEDED, 0);
			break;
		case '-':
			wf_machine_step_ended(machine, step, WF_STEP_FAILED, sqlstate);
			break;
		case '~':
			wf_machine_step_ended(machine, step, WF_STEP_CANCELLED,
								  pack_sqlstate("57014"));
			break;
		case '/':
			wf_machine_step_ended(machine, step, WF_STEP_INTERRUPTED,
								  pack_sqlstate("57P02"));
			break;
		case '@':
			wf_machine_timer(machine, step);
			break;
		case '_':
			wf_machine_not_begun(machine, step);
			break;
		case 't':
			wf_machine_condition(machine, step, WF_CONDITION_TRUE, 0);
			break;
		case 'f':
			wf_machine_condition(machine, step, WF_CONDITION_FALSE, 0);
			break;
		case 'n':
			wf_machine_condition(machine, step, WF_CONDITION_NULL, 0);
			break;
		case 'e':
			wf_machine_condition(machine, step, WF_CONDITION_ERROR, sqlstate);
			break;
	}
}

/* Something happens to the run; false if it is none of these. */
static bool
run_event(WfMachine *machine, char event)
{
	switch (event)
	{
		case '!':
			wf_machine_stop(machine);
			return true;
		case '#':
			wf_machine_fail(machine);
			return true;
		case '(':
			wf_machine_pause(machine);
			return true;
		case ')':
			wf_machine_resume(machine);
			return true;
	}
	return false;
}

/*
 * A script is made of: "." take one action, ";" take all, "a+", "a-", "a~"
 * the step succeeded, failed (1: by 40001, 2: 40P01, 3: 42601), was cancelled,
 * "at", "af", "an", "ae" its condition is true, false, null, an error, "a@"
 * its timer went off, "a_" its attempt was not begun, "!" stop, "#" wf_machine_fail(), "(" pause, ")" resume,
 * "?a" what the step waits for (slot, connection, main thread, cOndition,
 * retry), "%" the result.  In the trace each event is a "|", a condition is "a?", a
 * timer "a@" and its delay, a second attempt "a2".
 */
static void
run_token(WfMachine *machine, const char *token)
{
	WfAction	action;

	if (token[0] == '.' || token[0] == ';')
	{
		while (strlen(trace) < sizeof(trace) / 2 &&
			   wf_machine_next(machine, &action))
		{
			trace_action(&action);
			if (token[0] == '.')
				break;
		}
	}
	else if (token[0] == '?')
		trace_add("?%c", trace_wait(machine, token[1] - 'a'));
	else if (token[0] == '%')
		trace_add("%s%s", wf_run_status_name(wf_machine_run_result(machine)),
				  wf_machine_paused(machine) ? "(" : "");
	else
	{
		trace_add("|");
		if (!run_event(machine, token[0]))
			step_event(machine, token[0] - 'a', token + 1);
	}
}

static void
run_script(WfMachine *machine, const char *script)
{
	char		text[256];
	char	   *token;

	trace[0] = '\0';
	snprintf(text, sizeof(text), "%s", script);
	for (token = strtok(text, " "); token; token = strtok(NULL, " "))
		run_token(machine, token);
}

static void
test_case(const Case *unit)
{
	TestPlan	test;
	WfMachine  *machine;
	bool		passed;

	parse_plan(&test, unit);
	machine = machine_new(&test);
	run_script(machine, unit->script);
	passed = strcmp(trace, unit->expected) == 0 && wf_machine_ended(machine);
	tap(passed, unit->name);
	if (!passed)
		printf("# expected: %s\n# got:      %s\n", unit->expected, trace);
	free(machine);
	plan_free(&test);
}

/* Every code has its name, and nothing else has one. */
static void
test_names(void)
{
	int			names = 0;
	int			code;

	for (code = 0; code < 256; code++)
	{
		names += wf_step_kind_name((char) code) != NULL;
		names += wf_on_name((char) code) != NULL;
		names += wf_step_status_name((char) code) != NULL;
		names += wf_reason_name((char) code) != NULL;
		names += wf_run_status_name((char) code) != NULL;
	}
	tap(names == 4 + 3 + 7 + 6 + 7 &&
		strcmp(wf_step_kind_name(WF_KIND_JOB), "job") == 0 &&
		strcmp(wf_on_name(WF_ON_COMPLETION), "completion") == 0 &&
		strcmp(wf_step_status_name(WF_STEP_WAITING), "waiting") == 0 &&
		strcmp(wf_reason_name(WF_REASON_PACKAGE_FAILED),
			   "package failed") == 0 &&
		strcmp(wf_run_status_name(WF_RUN_QUEUED), "queued") == 0, "names");
}

typedef struct Delay
{
	int64		delay;
	double		backoff;
	int			attempts;
	int64		expected;
} Delay;

/* Does a step that failed so many times wait as long as expected? */
static bool
test_delay(const Delay *delay)
{
	TestPlan	test;
	WfPlanStep *step;
	WfMachine  *machine;
	WfAction	action;
	int			i;

	plan_init(&test, 1, 0);
	step = &test.plan.steps[0];
	step->max_attempts = PG_INT32_MAX;
	step->retry_delay_ms = delay->delay;
	step->retry_backoff = delay->backoff;
	machine = machine_new(&test);
	for (i = 0; i < delay->attempts; i++)
	{
		wf_machine_timer(machine, 0);
		wf_machine_next(machine, &action);
		wf_machine_step_ended(machine, 0, WF_STEP_FAILED, 0);
		wf_machine_next(machine, &action);
	}
	free(machine);
	plan_free(&test);
	return action.type == WF_ACT_TIMER && action.attempt == delay->attempts &&
		action.delay_ms == delay->expected;
}

/* Delays grow, but not over 100 years, and are never negative. */
static void
test_delays(void)
{
	static const Delay delays[] = {
		{1000, 2.0, 1, 1000},
		{1000, 2.0, 11, 1024000},
		{1000, 1.0, 100000, 1000},
		{1000, 0.5, 4, 125},
		{1000, 0.5, 5000, 0},
		{1000, 2.0, 5000, INT64CONST(3153600000000)},
		{0, 2.0, 5000, 0},
		{-1000, 2.0, 2, 0},
		{PG_INT64_MAX, 2.0, 1, INT64CONST(3153600000000)},
	};
	bool		passed = true;
	size_t		i;

	for (i = 0; i < lengthof(delays); i++)
		passed = test_delay(&delays[i]) && passed;
	tap(passed, "delays");
}

void
test_cases(void)
{
	size_t		i;

	test_names();
	test_delays();
	for (i = 0; i < lengthof(cases); i++)
		test_case(&cases[i]);
}
