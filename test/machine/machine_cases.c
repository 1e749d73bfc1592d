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
		"a c ?0 ?1 ?0 ?1 | b ?1 | d | | end succeeded"},
	{"two connections", true, 4, "a:A b:B c:A d:B",
		"; b+ ; a+ ; c+ d+ ;", "a b | d | c | | end succeeded"},
	{"a full package waits for no connection", true, 1, "a:A b:A",
		"; ?b a+ ; b+ ;", "a ?0 | b | end succeeded"},
	{"waiting for a connection takes no place", true, 2, "a:A b:A c d",
		"; c+ ; d+ ; a+ ; b+ ;",
		"a c | d | | b | end succeeded"},
	{"a connection's waiters in their order", true, 2, "a:A b:A c d:9A<c",
		"; c+ ; a+ ; b+ ; d+ ;",
		"a c | | b | d | end succeeded"},
	{"overtaken by priority", true, 3, "a:A b:A c d:A e:9A<a",
		"; a+ ; ?b ?d e+ ; b+ ; d+ c+ ;",
		"a c | e ?1 ?1 | b | d | | end succeeded"},
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
		"; c- ; ?b a+ ;", "a c | ?0 | b=package failed d=package failed"
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

	/* driver */
	{"an end that is reported twice", true, 4, "a b<a",
		"; a+ a- ; b+ b- ; b- ;", "a | | b | | end succeeded |"},
};

/*
 * A step is a letter, then after ":" its options (n, p, j: kind; d: disabled;
 * o: precedence any; a digit: priority; A, B: connection), then after "<" the
 * steps that it waits for (on success; !: on failure; *: on completion).
 */
static void
parse_step(TestPlan *test, int step, const char *text)
{
	WfPlanStep *plan_step = &test->plan.steps[step];
	const char *c = text + 1;

	if (*c == ':')
	{
		for (c++; *c && *c != '<'; c++)
		{
			if (strchr("npj", *c))
				plan_step->kind = *c;
			else if (*c == 'd')
				plan_step->disabled = true;
			else if (*c == 'o')
				plan_step->any = true;
			else if (*c >= 'A')
				plan_step->connection = *c - 'A';
			else
				plan_step->priority = *c - '0';
		}
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
}

static void
trace_action(const WfAction *action)
{
	char		step = 'a' + action->step;

	switch (action->type)
	{
		case WF_ACT_EXECUTE:
			trace_add("%c", step);
			break;
		case WF_ACT_CHILD:
			trace_add("%c()", step);
			break;
		case WF_ACT_RECORD:
			trace_add("%c=%s", step, action->status == WF_STEP_SKIPPED ?
					  wf_reason_name(action->reason) :
					  wf_step_status_name(action->status));
			break;
		case WF_ACT_CANCEL:
			trace_add("%c^", step);
			break;
		case WF_ACT_END:
			trace_end(action);
			break;
	}
}

/*
 * A script is made of: "." take one action, ";" take all, "a+", "a-", "a~"
 * the step succeeded, failed, was cancelled, "!" stop, "?a" whether the step
 * waits for its connection.  In the trace each event is a "|".
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
		return;
	}
	if (token[0] == '?')
	{
		trace_add("?%d",
				  wf_machine_waits_for_connection(machine, token[1] - 'a'));
		return;
	}

	trace_add("|");
	if (token[0] == '!')
		wf_machine_stop(machine);
	else
		wf_machine_step_ended(machine, token[0] - 'a',
							  token[1] == '+' ? WF_STEP_SUCCEEDED :
							  token[1] == '-' ? WF_STEP_FAILED :
							  WF_STEP_CANCELLED);
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
	machine = machine_new(&test.plan);
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
	tap(names == 4 + 3 + 7 + 5 + 7 &&
		strcmp(wf_step_kind_name(WF_KIND_JOB), "job") == 0 &&
		strcmp(wf_on_name(WF_ON_COMPLETION), "completion") == 0 &&
		strcmp(wf_step_status_name(WF_STEP_WAITING), "waiting") == 0 &&
		strcmp(wf_reason_name(WF_REASON_PACKAGE_FAILED),
			   "package failed") == 0 &&
		strcmp(wf_run_status_name(WF_RUN_QUEUED), "queued") == 0, "names");
}

void
test_cases(void)
{
	size_t		i;

	test_names();
	for (i = 0; i < lengthof(cases); i++)
		test_case(&cases[i]);
}
