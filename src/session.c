/*-------------------------------------------------------------------------
 *
 * session.c
 *	  A session: executes attempts of steps and knows nothing of packages.
 *
 * The process is connected as the owner of what it executes, so a step can
 * go nowhere from there: RESET ROLE, RESET SESSION AUTHORIZATION and ROLLBACK
 * all lead back to the owner.  History rows are written in the same
 * transaction as heap tuples, which needs no right of the owner.
 *
 * What commits inside.  Nobody knows beforehand whether a CALL, a DO, a
 * VACUUM commits.  While a statement is executed, our transaction callback
 * inserts a step_start row at the first PRE_COMMIT, so that it commits with
 * the first part of the work; a crash later finds the row without an outcome
 * and knows that the attempt was interrupted.  Without an inner commit there
 * is one commit, with effect and outcome.
 *
 * Cancel.  Outside the execution of a step, query cancels are held off and
 * then forgotten: one that comes too late must not hit the next step.
 *
 * Commit mode.  With `pipelined` the commits are asynchronous; who
 * acknowledges a run flushes.  With `synchronous` the session's own
 * synchronous_commit counts.  A step that sets synchronous_commit itself
 * gets what it asks for, in both modes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/async.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "jit/jit.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/ps_status.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "capture.h"
#include "guc.h"
#include "local_sql.h"
#include "session.h"
#include "settings.h"
#include "variables.h"

const WfStepCall *wf_session_step = NULL;
WfReportProgress wf_session_report_progress = NULL;

static MemoryContext step_context = NULL;

/* A statement of the step is being executed, at top level. */
static bool in_statement = false;
static bool step_start_written = false;
static TimestampTz step_started_at;

/* What the step in progress has set of the run's variables; NULL: none. */
static Jsonb *set_variables = NULL;

/* Settings to put back after the step. */
static List *saved_settings = NIL;

static TimeoutId step_timeout;
static volatile sig_atomic_t step_timed_out = false;

/* The session may be listening: a LISTEN was executed since the last reset. */
static bool may_listen = false;

static ProcessUtility_hook_type previous_utility_hook = NULL;

static void at_xact_event(XactEvent event, void *arg);
static void watch_utility(PlannedStmt *statement, const char *query,
						  bool read_only_tree,
						  ProcessUtilityContext context,
						  ParamListInfo params,
						  QueryEnvironment *environment, DestReceiver *dest,
						  QueryCompletion *completion);
static void execute_and_commit(const WfStepCall *call, bool in_transaction,
							   WfBeforeCommit before_commit, void *arg,
							   WfStepOutcome *outcome,
							   WfLocalResult *result);
static bool has_settings(const WfStepCall *call);
static void apply_settings(const WfStepCall *call);
static void store_result(const char *variable, const WfLocalResult *result);
static void publish_variables(const WfStepCall *call);
static const char *show_variables(void);
static void at_step_timeout(void);
static void check_constraints(void);
static void recover(WfStepOutcome *outcome, const WfLocalResult *result);
static void keep_error(WfStepOutcome *outcome, const ErrorData *error);
static void add_context(void *arg);
static void show_activity(const WfStepCall *call);

/* Prepare a worker process for executing steps. */
void
wf_session_init(void)
{
	step_context = AllocSetContextCreate(TopMemoryContext, "workflow step",
										 ALLOCSET_DEFAULT_SIZES);
	step_timeout = RegisterTimeout(USER_TIMEOUT, at_step_timeout);
	wf_capture_init();
	wf_guc_show_variables = show_variables;
	RegisterXactCallback(at_xact_event, NULL);
	previous_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = watch_utility;
	if (wf_commit_mode == WF_COMMIT_PIPELINED)
		SetConfigOption("synchronous_commit", "off", PGC_USERSET,
						PGC_S_OVERRIDE);
	HOLD_CANCEL_INTERRUPTS();
}

/* See session.h. */
bool
wf_session_execute(const WfStepCall *call, bool in_transaction,
				   WfBeforeCommit before_commit, void *arg,
				   WfStepOutcome *outcome)
{
	WfLocalResult result = {.rows = -1};
	ErrorContextCallback context;
	volatile bool success = false;

	MemoryContextReset(step_context);
	memset(outcome, 0, sizeof(WfStepOutcome));
	outcome->run_id = call->run_id;
	outcome->step = call->step;
	outcome->attempt = call->attempt;
	outcome->pid = MyProcPid;
	outcome->rows = -1;
	outcome->started_at = step_started_at = GetCurrentTimestamp();

	wf_session_step = call;
	step_start_written = false;
	step_timed_out = false;
	set_variables = NULL;
	saved_settings = NIL;
	show_activity(call);
	context.callback = add_context;
	context.arg = NULL;
	context.previous = error_context_stack;
	error_context_stack = &context;
	PG_TRY();
	{
		wf_capture_begin(step_context);
		RESUME_CANCEL_INTERRUPTS();
		execute_and_commit(call, in_transaction, before_commit, arg,
						   outcome, &result);
		HOLD_CANCEL_INTERRUPTS();
		success = true;
	}
	PG_CATCH();
	{
		recover(outcome, &result);
		HOLD_CANCEL_INTERRUPTS();
	}
	PG_END_TRY();
	error_context_stack = context.previous;
	QueryCancelPending = false;
	wf_session_step = NULL;
	debug_query_string = NULL;
	if (call->keep_session && saved_settings != NIL)
	{
		wf_session_begin_own();
		wf_settings_restore(saved_settings);
		wf_session_commit_own();
	}
	return success;
}

static void
execute_and_commit(const WfStepCall *call, bool in_transaction,
				   WfBeforeCommit before_commit, void *arg,
				   WfStepOutcome *outcome, WfLocalResult *result)
{
	const WfPlanStep *step = &call->plan->steps[call->step];

	if (has_settings(call))
	{
		if (in_transaction)
			CommitTransactionCommand();
		in_transaction = false;
		apply_settings(call);
	}
	if (!in_transaction)
		StartTransactionCommand();
	MemoryContextSwitchTo(step_context);
	publish_variables(call);
	if (step->timeout_ms > 0)
		enable_timeout_after(step_timeout, step->timeout_ms);
	in_statement = true;
	if (call->query != NULL)
		wf_local_sql_execute(call->query, true, result);
	else if (call->perform != NULL)
		outcome->remote_run_id = call->perform(call);
	else
		wf_local_sql_execute(step->command, step->atomic, result);
	in_statement = false;

	PushActiveSnapshot(GetTransactionSnapshot());
	check_constraints();
	if (step->timeout_ms > 0)
		disable_timeout(step_timeout, false);
	if (call->query == NULL && step->result_variable != NULL)
		store_result(step->result_variable, result);
	outcome->status = WF_STEP_SUCCEEDED;
	outcome->rows = result->rows;
	outcome->result = result->row;
	outcome->variables = set_variables;
	outcome->messages = wf_capture_end();
	outcome->finished_at = GetCurrentTimestamp();
	before_commit(outcome, arg);
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(TopMemoryContext);
}

static bool
has_settings(const WfStepCall *call)
{
	const WfPlanStep *step = &call->plan->steps[call->step];

	return call->plan->settings != NULL || step->settings != NULL ||
		step->lock_timeout_ms > 0;
}

/*
 * apply_settings
 *		Those of the package, then those of the step, in a transaction of
 *		their own: some count from the begin of a transaction.
 */
static void
apply_settings(const WfStepCall *call)
{
	const WfPlanStep *step = &call->plan->steps[call->step];

	wf_session_begin_own();
	MemoryContextSwitchTo(step_context);
	wf_settings_apply(call->plan->settings, NULL);
	wf_settings_apply(step->settings, &saved_settings);
	if (step->lock_timeout_ms > 0)
		wf_settings_apply_one("lock_timeout",
							  psprintf(INT64_FORMAT, step->lock_timeout_ms),
							  &saved_settings);
	wf_session_commit_own();
}

/* Keep the first row of the last statement in a variable. */
static void
store_result(const char *variable, const WfLocalResult *result)
{
	JsonbParseState *state = NULL;
	JsonbValue	key;
	JsonbValue	value;

	if (result->row_too_large)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("result for variable \"%s\" is too large", variable),
				 errhint("You might need to increase workflow.max_message_size.")));
	key.type = jbvString;
	key.val.string.val = unconstify(char *, variable);
	key.val.string.len = strlen(variable);
	value.type = jbvNull;
	if (result->row != NULL && JB_ROOT_IS_SCALAR(result->row))
		(void) JsonbExtractScalar(&result->row->root, &value);
	else if (result->row != NULL)
	{
		value.type = jbvBinary;
		value.val.binary.data = &result->row->root;
		value.val.binary.len = VARSIZE(result->row) - VARHDRSZ;
	}
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	pushJsonbValue(&state, WJB_KEY, &key);
	pushJsonbValue(&state, WJB_VALUE, &value);
	wf_session_set_variables(JsonbValueToJsonb(pushJsonbValue(&state,
															  WJB_END_OBJECT,
															  NULL)));
}

/* See session.h. */
Jsonb *
wf_session_variables(void)
{
	return wf_variables_merge(wf_session_step->variables, set_variables);
}

/*
 * publish_variables
 *		Store workflow.variables for parallel workers of the step.  A change
 *		of a setting costs some at the end of the transaction, and most steps
 *		have the variables of the one before.
 */
static void
publish_variables(const WfStepCall *call)
{
	char	   *text = JsonbToCString(NULL, &call->variables->root,
									  VARSIZE(call->variables));

	if (strcmp(text, wf_guc_variables) != 0)
		SetConfigOption("workflow.variables", text, PGC_USERSET,
						PGC_S_OVERRIDE);
}

/* What workflow.variables is in the step, with what it has set itself. */
static const char *
show_variables(void)
{
	if (wf_session_step == NULL)
		return NULL;
	return JsonbToCString(NULL, &wf_session_variables()->root, -1);
}

/* See session.h. */
void
wf_session_set_variables(Jsonb *variables)
{
	MemoryContext old = MemoryContextSwitchTo(step_context);
	Jsonb	   *copy = palloc(VARSIZE(variables));

	memcpy(copy, variables, VARSIZE(variables));
	set_variables = set_variables == NULL ? copy :
		wf_variables_merge(set_variables, copy);
	MemoryContextSwitchTo(old);
}

/* The step's time is over: cancel it as a user would. */
static void
at_step_timeout(void)
{
	step_timed_out = true;
	kill(MyProcPid, SIGINT);
}

/*
 * check_constraints
 *		Fire deferred triggers now, while an error is still only an error of
 *		the step.
 */
static void
check_constraints(void)
{
	ConstraintsSetStmt *all = makeNode(ConstraintsSetStmt);

	all->constraints = NIL;
	all->deferred = false;
	AfterTriggerSetState(all);
}

/*
 * recover
 *		After an ERROR of a step: keep it in *outcome, log it, and bring the
 *		process back to a state in which the next step can be executed.  Same
 *		order as PostgresMain().
 */
static void
recover(WfStepOutcome *outcome, const WfLocalResult *result)
{
	ErrorData  *error;

	HOLD_INTERRUPTS();
	in_statement = false;
	disable_all_timeouts(false);
	QueryCancelPending = false;
	MemoryContextSwitchTo(step_context);
	error = CopyErrorData();
	EmitErrorReport();
	debug_query_string = NULL;
	AbortOutOfAnyTransaction();
	PortalErrorCleanup();
	jit_reset_after_error();
	MemoryContextSwitchTo(step_context);
	FlushErrorState();
	keep_error(outcome, error);
	outcome->messages = wf_capture_end();
	outcome->status = WF_STEP_FAILED;
	outcome->rows = -1;
	outcome->statement = result->statement;
	outcome->finished_at = GetCurrentTimestamp();
	MemoryContextSwitchTo(TopMemoryContext);
	RESUME_INTERRUPTS();
}

/* The fields of an error that history has columns for. */
static void
keep_error(WfStepOutcome *outcome, const ErrorData *error)
{
	outcome->sqlstate = error->sqlerrcode;
	outcome->message = error->message ? error->message : "unknown error";
	outcome->detail = error->detail;
	outcome->hint = error->hint;
	outcome->context = error->context;
	if (step_timed_out && error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		outcome->message = "canceling step due to its timeout";
	if (error->context != NULL)
	{
		/* the last line is ours, and says what the row says */
		char	   *end = strrchr(error->context, '\n');

		if (end == NULL)
			outcome->context = NULL;
		else
			*end = '\0';
	}
}

/* Name the step in every message that is logged while it executes. */
static void
add_context(void *arg)
{
	if (wf_session_step != NULL)
		errcontext("workflow run " INT64_FORMAT ", package \"%s\", step \"%s\"",
				   wf_session_step->run_id, wf_session_step->plan->name,
				   wf_session_step->plan->steps[wf_session_step->step].name);
}

/* What pg_stat_activity, the log and ps show. */
static void
show_activity(const WfStepCall *call)
{
	const WfPlanStep *step = &call->plan->steps[call->step];

	debug_query_string = step->command;
	SetCurrentStatementStartTimestamp();
	pgstat_report_activity(STATE_RUNNING, step->command);
	if (update_process_title)
	{
		char		title[2 * NAMEDATALEN + 64];

		snprintf(title, sizeof(title), "run " INT64_FORMAT " %s/%s",
				 call->run_id, call->plan->name, step->name);
		set_ps_display(title);
	}
}

/*
 * at_xact_event
 *		At a commit inside a statement, let the note that the attempt has
 *		begun commit with it.
 */
static void
at_xact_event(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_PRE_COMMIT || !in_statement ||
		step_start_written || wf_session_step == NULL)
		return;
	step_start_written = true;
	PushActiveSnapshot(GetTransactionSnapshot());
	wf_history_insert_step_start(wf_session_step->run_id,
								 wf_session_step->step,
								 wf_session_step->attempt,
								 step_started_at);
	PopActiveSnapshot();
}

/* Remember whether a reset has to look for channels listened to. */
static void
watch_utility(PlannedStmt *statement, const char *query, bool read_only_tree,
			  ProcessUtilityContext context, ParamListInfo params,
			  QueryEnvironment *environment, DestReceiver *dest,
			  QueryCompletion *completion)
{
	if (IsA(statement->utilityStmt, ListenStmt))
		may_listen = true;
	if (previous_utility_hook)
		previous_utility_hook(statement, query, read_only_tree, context,
							  params, environment, dest, completion);
	else
		standard_ProcessUtility(statement, query, read_only_tree, context,
								params, environment, dest, completion);
}

/* See session.h; the pieces and their order are those of DiscardAll(). */
void
wf_session_reset(void)
{
	Oid			temp_namespace;
	Oid			temp_toast_namespace;

	GetTempNamespaceState(&temp_namespace, &temp_toast_namespace);
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	PortalHashTableDeleteAll();
	SetPGVariable("session_authorization", NIL, false);
	ResetAllOptions();
	DropAllPreparedStatements();
	if (may_listen)
		Async_UnlistenAll();
	LockReleaseAll(USER_LOCKMETHOD, true);
	if (OidIsValid(temp_namespace))
		ResetTempTableNamespace();
	ResetSequenceCaches();
	PopActiveSnapshot();
	CommitTransactionCommand();
	may_listen = false;
}

/* Begin a transaction of our own. */
void
wf_session_begin_own(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	XactIsoLevel = XACT_READ_COMMITTED;
	XactReadOnly = false;
	PushActiveSnapshot(GetTransactionSnapshot());
}

/* Commit it. */
void
wf_session_commit_own(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
}
