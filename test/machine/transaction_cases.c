/*-------------------------------------------------------------------------
 *
 * transaction_cases.c
 *	  Package transactions: small groups of packages with the actions that
 *	  are expected, rule by rule.
 *
 * The shorthand is explained at parse_step() and run_token().  What is left
 * in the database stands in brackets at the end.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <stdarg.h>

#include "transaction_test.h"
#include "transaction_cases.h"

static GroupPackage packages[GROUP_PACKAGES];
static Group group;
static char trace[2048];

/* One option of a step; returns what comes after it. */
static const char *
parse_option(WfPlanStep *step, int *child, const char *c)
{
	char		option = *c++;

	if (strchr("nq", option))
		step->kind = option == 'n' ? WF_KIND_NONE : WF_KIND_JOB;
	else if (option == 'p')
	{
		step->kind = WF_KIND_PACKAGE;
		*child = *c++ - '0';
	}
	else if (option == 'j')
		step->joins = true;
	else if (option == 'k')
		step->commit_on_success = true;
	else if (option == 'b')
		step->rollback_on_failure = true;
	else if (option == 'd')
		step->disabled = true;
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
	else if (option == 'r')
		step->max_attempts = *c++ - '0';
	else if (option >= 'A' && option <= 'E')
		step->connection = option - 'A';
	else
		step->priority = option - '0';
	return c;
}

static int
step_index(const GroupPackage *package, char letter)
{
	const char *place = strchr(package->letters, letter);

	return place && letter ? place - package->letters : -1;
}

/*
 * A step is a letter, then after ":" its options (j: joins, k: commits on
 * success, b: rolls back on failure; n: kind none, q: job, p and a digit: runs
 * that package; d: disabled, c: condition, m: main_thread, !: fails the
 * package, f+, f-, f*: finally, r and a digit: attempts, another digit:
 * priority; A to E: connection, of which A and B lead to this database, C and
 * D to another one, E to a third), then after "<" the steps that it waits for
 * (on success; !: on failure; *: on completion).
 */
static void
parse_step(GroupPackage *package, const char *text)
{
	int			step = step_index(package, text[0]);
	WfPlanStep *plan_step = &package->test.plan.steps[step];
	const char *c = text + 1;

	plan_step->atomic = true;
	plan_step->condition_interval_ms = 500;
	plan_step->retry_delay_ms = 100;
	if (*c == ':')
	{
		for (c++; *c && *c != '<';)
			c = parse_option(plan_step, &package->child[step], c);
	}
	if (*c == '<')
	{
		for (c++; *c; c++)
		{
			WfOn		on = c[1] == '!' ? WF_ON_FAILURE :
				c[1] == '*' ? WF_ON_COMPLETION : WF_ON_SUCCESS;

			plan_edge(&package->test, step_index(package, *c), step, on);
			if (on != WF_ON_SUCCESS)
				c++;
		}
	}
}

/*
 * The first word has the options of the package: t: uses transactions, c:
 * commits on completion, f: fails on the first error, r: repeatable read, a
 * digit: max_concurrent_steps.  Then come its steps.
 */
static void
parse_package(GroupPackage *package, const char *definition)
{
	WfPlan	   *plan = &package->test.plan;
	char		text[256];
	char	   *options;
	char	   *token;
	int			nsteps = -1;
	int			i;

	for (token = (char *) definition; token; token = strchr(token + 1, ' '))
	{
		if (nsteps >= 0)
			package->letters[nsteps] = token[1];
		nsteps++;
	}
	plan_init(&package->test, nsteps, strlen(definition));
	snprintf(text, sizeof(text), "%s", definition);
	options = strtok(text, " ");
	while ((token = strtok(NULL, " ")) != NULL)
		parse_step(package, token);
	plan_sort_edges(&package->test);

	plan->use_transactions = strchr(options, 't') != NULL;
	plan->commit_on_completion = strchr(options, 'c') != NULL;
	plan->fail_on_first_error = strchr(options, 'f') != NULL;
	plan->isolation = strchr(options, 'r') ? WF_REPEATABLE_READ :
		WF_READ_COMMITTED;
	if (strpbrk(options, "123"))
		plan->max_concurrent_steps = *strpbrk(options, "123") - '0';
	plan->nconnections = MAX_CONNECTIONS;
	plan->connections[2].instance = 1;
	plan->connections[3].instance = 1;
	plan->connections[4].instance = 2;
	for (i = 0; i < nsteps && !plan->use_transactions; i++)
	{
		/* As the compiler of plans does it. */
		plan->steps[i].joins = false;
		plan->steps[i].commit_on_success = false;
		plan->steps[i].rollback_on_failure = false;
	}
}

static void
trace_append(const char *format,...)
{
	size_t		used = strlen(trace);
	va_list		args;

	va_start(args, format);
	vsnprintf(trace + used, sizeof(trace) - used, format, args);
	va_end(args);
}

/* The step of a run with this letter, and the other way round. */
static int
run_step(int run, char letter)
{
	return step_index(&packages[group.runs[run].package], letter);
}

static char
step_letter(int run, int step)
{
	return packages[group.runs[run].package].letters[step];
}

/* The name of a run: the steps that lead to it. */
static void
trace_run(int run)
{
	if (group.runs[run].parent < 0)
		return;
	trace_run(group.runs[run].parent);
	trace_append("%c", step_letter(group.runs[run].parent,
								   group.runs[run].step));
}

static void
trace_step(int run, int step)
{
	if (trace[0])
		trace_append(" ");
	trace_run(run);
	if (step >= 0)
		trace_append("%c", step_letter(run, step));
	else if (run > 0)
		trace_append(":");
}

static const char *
error_name(WfMachineError error)
{
	switch (error)
	{
		case WF_ERROR_NONE:
			break;
		case WF_ERROR_CONDITION:
			return " condition";
		case WF_ERROR_BRANCH_BUSY:
			return " busy";
		case WF_ERROR_INVALID:
		case WF_ERROR_COMMIT_INVALID:
			return " invalid";
		case WF_ERROR_COMMIT:
			return " commit";
	}
	return "";
}

static void
trace_record(const WfAction *action)
{
	trace_append("=%s%s", action->status == WF_STEP_SKIPPED ?
				 wf_reason_name(action->reason) :
				 wf_step_status_name(action->status),
				 error_name(action->error));
	if (action->sqlstate != 0)
		trace_append(" %s", unpack_sqlstate(action->sqlstate));
}

static void
trace_end(int run, const WfAction *action)
{
	trace_append("end %s", wf_run_status_name(action->run_status));
	if (action->error_step >= 0)
		trace_append(" error %c", step_letter(run, action->error_step));
	if (action->failed_steps > 0)
		trace_append(" failed %d", action->failed_steps);
	if (action->nothing_to_run)
		trace_append(" nothing");
	if (action->failed_by_driver)
		trace_append(" by driver");
	if (action->invalid_at_end)
		trace_append(" invalid");
}

static void
trace_start(const WfAction *action)
{
	if (action->type == WF_ACT_CONDITION)
		trace_append("?");
	if (action->attempt > 1)
		trace_append("%d", action->attempt);
	if (action->type == WF_ACT_CHILD)
		trace_append("()");
	if (action->transaction != 0)
		trace_append("/%d", action->transaction);
}

static void
trace_action(int run, const WfAction *action)
{
	trace_step(run, action->step);
	switch (action->type)
	{
		case WF_ACT_EXECUTE:
		case WF_ACT_CHILD:
		case WF_ACT_CONDITION:
			trace_start(action);
			break;
		case WF_ACT_TIMER:
			trace_append("@");
			break;
		case WF_ACT_RECORD:
			trace_record(action);
			break;
		case WF_ACT_CANCEL:
			trace_append("^");
			break;
		case WF_ACT_COMMIT:
			trace_append("commit%d", action->transaction);
			break;
		case WF_ACT_ROLLBACK:
			trace_append("rollback%d", action->transaction);
			break;
		case WF_ACT_END:
			trace_end(run, action);
			break;
	}
}

/* The end of a child run is told to its parent at once. */
static void
report_end(int number)
{
	const GroupRun *run = &group.runs[number];

	if (run->parent < 0)
		return;
	wf_machine_step_ended(group.runs[run->parent].machine, run->step,
						  run->result == WF_RUN_SUCCEEDED ?
						  WF_STEP_SUCCEEDED : WF_STEP_FAILED, 0);
}

/* Take out all actions of all machines, in the order of their start. */
static void
take_actions(void)
{
	WfAction	action;
	int			run = 0;

	while (run < group.nruns && strlen(trace) < sizeof(trace) / 2)
	{
		if (!group_next(&group, run, &action))
		{
			run++;
			continue;
		}
		trace_action(run, &action);
		if (action.type == WF_ACT_CHILD)
			group_start(&group, run, action.step, action.transaction != 0);
		else if (action.type == WF_ACT_END)
			report_end(run);
		run = 0;
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
	if (wf_machine_waits_for_transaction(machine, step))
		return 't';
	if (wf_machine_awaits_commit(machine, step))
		return 'k';
	return '-';
}

static void
step_event(int run, int step, const char *event)
{
	WfMachine  *machine = group.runs[run].machine;
	int			sqlstate = pack_sqlstate(event[1] == '1' ? "40001" : "22012");

	if (strchr("+-~&", event[0]) &&
		wf_machine_step_status(machine, step) != WF_STEP_RUNNING)
		trace_append(" not running");
	switch (event[0])
	{
		case '+':
			group_execute(&group, run, step, true);
			wf_machine_step_ended(machine, step, WF_STEP_SUCCEEDED, 0);
			break;
		case '-':
			group_execute(&group, run, step, false);
			wf_machine_step_ended(machine, step, WF_STEP_FAILED, sqlstate);
			break;
		case '~':
			wf_machine_step_ended(machine, step, WF_STEP_CANCELLED,
								  pack_sqlstate("57014"));
			break;
		case '&':
			wf_machine_join_failed(machine, step, sqlstate);
			break;
		case '@':
			wf_machine_timer(machine, step);
			break;
		case '?':
			wf_machine_condition(machine, step, event[1] == 't' ?
								 WF_CONDITION_TRUE : event[1] == 'f' ?
								 WF_CONDITION_FALSE : event[1] == 'n' ?
								 WF_CONDITION_NULL : WF_CONDITION_ERROR,
								 event[1] == 'e' ? sqlstate : 0);
			break;
		case 'w':
			trace_append("?%c", trace_wait(machine, step));
			break;
		default:
			trace_append(" unknown event");
	}
}

static void
run_event(int run, const char *event)
{
	WfMachine  *machine = group.runs[run].machine;

	switch (event[0])
	{
		case '!':
			wf_machine_stop(machine);
			break;
		case '#':
			wf_machine_fail(machine);
			break;
		case '(':
			wf_machine_pause(machine);
			break;
		case ')':
			wf_machine_resume(machine);
			break;
		case '=':
			if (!group.transactions[run].ending)
				trace_append(" not ending");
			group_end_transaction(&group, run, event[1] == '+' &&
								  group.transactions[run].state ==
								  WF_TRANSACTION_COMMITTING,
								  event[1] == '+' ? 0 : pack_sqlstate("40001"));
			break;
		case '%':
			group_lose(&group, run);
			break;
	}
}

/*
 * A script is made of events: the letters of a step, preceded by those of the
 * steps of the runs in which it is ("a" in the root, "xa" in the child run
 * that x has started), and + - ~ it succeeded, failed (-1: by 40001), was
 * cancelled, & it could not join, @ its timer went off, ?t ?f ?n ?e its condition is true, false,
 * null, an error, w what it waits for; or the letters of a run (none for the
 * root), and ! stop, # wf_machine_fail(), ( pause, ) resume, =+ what was asked
 * of its transaction is done, =- the commit failed, % a session is lost.  All
 * actions are taken out in the beginning and after each event, unless a comma
 * follows it.
 *
 * In the trace an event is a "|"; "a" executes, outside the transaction, "a/1"
 * in the first one, "a?/1" is a condition, "x()/1" a child run that inherits,
 * "xa" a step of it, "x:" the run itself.
 */
static void
run_token(const char *token)
{
	const char *event = token + strcspn(token, "+-~&@?w!#()=%");
	const char *c;
	int			run = 0;
	bool		of_run = strchr("!#()=%", *event) != NULL;

	trace_append("%s|", trace[0] ? " " : "");
	for (c = token; c < event - !of_run && run >= 0; c++)
		run = group_child(&group, run, run_step(run, *c));
	if (run < 0 || (!of_run && run_step(run, *c) < 0))
		trace_append(" no such step");
	else if (of_run)
		run_event(run, event);
	else
		step_event(run, run_step(run, *c), event);
	if (token[strlen(token) - 1] != ',')
		take_actions();
}

/* Steps with a row that is there for good, in the order of their writing. */
static void
trace_database(void)
{
	int			i;

	trace_append(" [");
	for (i = 0; i < group.nrows; i++)
	{
		const GroupRow *row = &group.rows[i];

		if (row->statement != 1 ||
			(row->fate != FATE_AUTO && row->fate != FATE_KEPT))
			continue;
		if (trace[strlen(trace) - 1] != '[')
			trace_append(" ");
		trace_run(row->run);
		trace_append("%c", step_letter(row->run, row->step));
	}
	trace_append("]");
}

static void
run_case(const TransactionCase *unit)
{
	char		text[256];
	char	   *token;

	trace[0] = '\0';
	group_init(&group, packages);
	take_actions();
	snprintf(text, sizeof(text), "%s", unit->script);
	for (token = strtok(text, " "); token; token = strtok(NULL, " "))
		run_token(token);
	trace_database();
}

static void
test_case(const TransactionCase *unit)
{
	bool		passed;
	int			i;

	memset(packages, 0, sizeof(packages));
	for (i = 0; i < GROUP_PACKAGES && unit->packages[i]; i++)
		parse_package(&packages[i], unit->packages[i]);
	run_case(unit);
	passed = strcmp(trace, unit->expected) == 0;
	for (i = 0; i < group.nruns; i++)
		passed = passed && group.runs[i].ended;
	tap(passed, unit->name);
	if (!passed)
		printf("# expected: %s\n# got:      %s\n", unit->expected, trace);
	for (i = 0; i < GROUP_PACKAGES && unit->packages[i]; i++)
		plan_free(&packages[i].test);
}

void
test_transaction_cases(void)
{
	int			i;

	for (i = 0; transaction_cases[i].name; i++)
		test_case(&transaction_cases[i]);
}
