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
 * is one commit, with effect and outcome.  Before a step that is not atomic,
 * or that runs a program, the row is written and flushed: what comes of that
 * may be there before any commit of ours, or is to be looked at by somebody
 * in any case.
 *
 * Cancel.  Outside the execution of a step, query cancels are held off and
 * then forgotten: one that comes too late must not hit the next step.
 *
 * Branch.  A session can be the branch of a package transaction: it keeps a
 * transaction block open, and each step that works there is a subtransaction
 * of it, so that a failed step leaves nothing behind and the block usable.
 * Nothing commits inside then, and PostgreSQL refuses what would.  Settings of
 * a step have a nest level of their own in the subtransaction.
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
#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "jit/jit.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parser.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/ps_status.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "capture.h"
#include "catalog.h"
#include "command_text.h"
#include "compat.h"
#include "guc.h"
#include "local_sql.h"
#include "machine.h"
#include "session.h"
#include "settings.h"
#include "variables.h"

const WfStepCall *wf_session_step = NULL;
WfReportProgress wf_session_report_progress = NULL;

static MemoryContext step_context = NULL;

/* The session is the branch of a package transaction, and that is open. */
static bool in_branch = false;

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

/* What the connection was checked for may have changed since. */
static bool role_changed = false;

static void note_change(Datum arg, int cache, uint32 hash);
static void at_xact_event(XactEvent event, void *arg);
static void execute_and_commit(const WfStepCall *call, bool in_transaction,
							   WfBeforeCommit before_commit, void *arg,
							   WfStepOutcome *outcome,
							   WfLocalResult *result);
static void begin_attempt(const WfStepCall *call, WfStepOutcome *outcome,
						  ErrorContextCallback *context);
static void end_attempt(ErrorContextCallback *context);
static void open_branch(char isolation);
static void work_in_branch(const WfStepCall *call,
						   WfBeforeCommit before_release, void *arg,
						   WfStepOutcome *outcome, WfLocalResult *result,
						   volatile int *settings_level);
static void recover_in_branch(const WfStepCall *call, WfStepOutcome *outcome,
							  const WfLocalResult *result, int level,
							  int settings_level);
static void apply_settings_in_branch(const WfStepCall *call);
static bool has_settings(const WfStepCall *call);
static bool begins_up_front(const WfStepCall *call);
static void note_begin(const WfStepCall *call);
static void apply_settings(const WfStepCall *call);
static void describe_success(const WfStepCall *call,
							 const WfLocalResult *result,
							 WfStepOutcome *outcome);
static void store_result(const char *variable, const WfLocalResult *result);
static void publish_variables(const WfStepCall *call);
static const char *show_variables(void);
static void at_step_timeout(void);
static void check_constraints(void);
static void recover(WfStepOutcome *outcome, const WfLocalResult *result);
static void take_error(WfStepOutcome *outcome, const WfLocalResult *result);
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
	CacheRegisterSyscacheCallback(AUTHOID, note_change, (Datum) 0);
	CacheRegisterSyscacheCallback(DATABASEOID, note_change, (Datum) 0);
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

	Assert(!in_branch);
	begin_attempt(call, outcome, &context);
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
	end_attempt(&context);
	if (call->keep_session && saved_settings != NIL)
	{
		wf_session_begin_own();
		wf_settings_restore(saved_settings);
		wf_session_commit_own();
	}
	return success;
}

/* What is the same for all attempts, before and after. */
static void
begin_attempt(const WfStepCall *call, WfStepOutcome *outcome,
			  ErrorContextCallback *context)
{
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
	context->callback = add_context;
	context->arg = NULL;
	context->previous = error_context_stack;
	error_context_stack = context;
}

static void
end_attempt(ErrorContextCallback *context)
{
	error_context_stack = context->previous;
	QueryCancelPending = false;
	wf_session_step = NULL;
	debug_query_string = NULL;
}

/* See session.h. */
bool
wf_session_in_branch(void)
{
	return in_branch;
}

/* See session.h. */
bool
wf_session_execute_in_branch(const WfStepCall *call, char isolation,
							 WfBeforeCommit before_release, void *arg,
							 WfStepOutcome *outcome)
{
	WfLocalResult result = {.rows = -1};
	ErrorContextCallback context;
	volatile bool success = false;
	volatile int settings_level = 0;
	int			level;

	begin_attempt(call, outcome, &context);
	if (!in_branch)
		open_branch(isolation);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	level = GetCurrentTransactionNestLevel();
	PG_TRY();
	{
		wf_capture_begin(step_context);
		RESUME_CANCEL_INTERRUPTS();
		work_in_branch(call, before_release, arg, outcome, &result,
					   &settings_level);
		HOLD_CANCEL_INTERRUPTS();
		success = true;
	}
	PG_CATCH();
	{
		recover_in_branch(call, outcome, &result, level, settings_level);
		HOLD_CANCEL_INTERRUPTS();
	}
	PG_END_TRY();
	CommitTransactionCommand();
	MemoryContextSwitchTo(TopMemoryContext);
	end_attempt(&context);
	return success;
}

static void
open_branch(char isolation)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	XactIsoLevel = isolation == WF_SERIALIZABLE ? XACT_SERIALIZABLE :
		isolation == WF_REPEATABLE_READ ? XACT_REPEATABLE_READ :
		XACT_READ_COMMITTED;
	BeginTransactionBlock();
	CommitTransactionCommand();
	in_branch = true;
}

/*
 * work_in_branch
 *		One subtransaction for the attempt; of a step that is not atomic, one
 *		more for each statement, and for what comes after them.
 */
static void
work_in_branch(const WfStepCall *call, WfBeforeCommit before_release,
			   void *arg, WfStepOutcome *outcome, WfLocalResult *result,
			   volatile int *settings_level)
{
	const WfPlanStep *step = &call->plan->steps[call->step];
	bool		savepoints = call->query == NULL && !step->atomic;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(step_context);
	*settings_level = NewGUCNestLevel();
	apply_settings_in_branch(call);
	if (step->timeout_ms > 0)
		enable_timeout_after(step_timeout, step->timeout_ms);
	wf_local_sql_execute(call->query != NULL ? call->query : step->command,
						 savepoints ? WF_SQL_SAVEPOINTS : WF_SQL_IN_BLOCK,
						 result);
	if (savepoints)
		BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(step_context);
	if (step->timeout_ms > 0)
		disable_timeout(step_timeout, false);
	describe_success(call, result, outcome);
	before_release(outcome, arg);
	if (savepoints)
		ReleaseCurrentSubTransaction();
	AtEOXact_GUC(true, *settings_level);
	ReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(TopMemoryContext);
}

/*
 * recover_in_branch
 *		After an ERROR of a step in the branch: keep it in *outcome and roll
 *		back what has failed: the attempt, or just its last statement.
 */
static void
recover_in_branch(const WfStepCall *call, WfStepOutcome *outcome,
				  const WfLocalResult *result, int level,
				  int settings_level)
{
	const WfPlanStep *step = &call->plan->steps[call->step];
	bool		keep;

	HOLD_INTERRUPTS();
	disable_all_timeouts(false);
	QueryCancelPending = false;
	take_error(outcome, result);
	keep = call->query == NULL && !step->atomic &&
		GetCurrentTransactionNestLevel() > level + 1 &&
		!wf_step_may_retry(step, call->attempt, outcome->sqlstate);
	while (GetCurrentTransactionNestLevel() > level + (keep ? 1 : 0))
		RollbackAndReleaseCurrentSubTransaction();
	if (keep)
	{
		AtEOXact_GUC(true, settings_level);
		ReleaseCurrentSubTransaction();
	}
	jit_reset_after_error();
	MemoryContextSwitchTo(TopMemoryContext);
	RESUME_INTERRUPTS();
}

/* As apply_settings(), but for the nest level of the attempt. */
static void
apply_settings_in_branch(const WfStepCall *call)
{
	const WfPlanStep *step = &call->plan->steps[call->step];

	wf_settings_apply(call->plan->settings, GUC_ACTION_SAVE, NULL);
	wf_settings_apply(step->settings, GUC_ACTION_SAVE, NULL);
	if (step->lock_timeout_ms > 0)
		wf_settings_apply_one("lock_timeout",
							  psprintf(INT64_FORMAT, step->lock_timeout_ms),
							  GUC_ACTION_SAVE, NULL);
}

/* See session.h. */
bool
wf_session_commit_branch(WfBeforeCommit before_commit, void *arg,
						 WfStepOutcome *outcome)
{
	WfLocalResult result = {.rows = -1};
	volatile bool success = false;

	Assert(in_branch);
	MemoryContextReset(step_context);
	memset(outcome, 0, sizeof(WfStepOutcome));
	step_timed_out = false;
	PG_TRY();
	{
		wf_capture_begin(step_context);
		RESUME_CANCEL_INTERRUPTS();
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		check_constraints();
		before_commit(NULL, arg);
		PopActiveSnapshot();
		EndTransactionBlock(false);
		CommitTransactionCommand();
		HOLD_CANCEL_INTERRUPTS();
		(void) wf_capture_end();
		success = true;
	}
	PG_CATCH();
	{
		recover(outcome, &result);
		HOLD_CANCEL_INTERRUPTS();
	}
	PG_END_TRY();
	QueryCancelPending = false;
	in_branch = false;
	MemoryContextSwitchTo(TopMemoryContext);
	return success;
}

/* See session.h. */
void
wf_session_rollback_branch(void)
{
	if (!in_branch)
		return;
	AbortOutOfAnyTransaction();
	in_branch = false;
	MemoryContextSwitchTo(TopMemoryContext);
}

static void
execute_and_commit(const WfStepCall *call, bool in_transaction,
				   WfBeforeCommit before_commit, void *arg,
				   WfStepOutcome *outcome, WfLocalResult *result)
{
	const WfPlanStep *step = &call->plan->steps[call->step];
	bool		up_front;

	MemoryContextSwitchTo(step_context);
	result->statement = 1;		/* as for any text that cannot be parsed */
	up_front = begins_up_front(call);
	result->statement = 0;
	if (in_transaction && (up_front || has_settings(call)))
	{
		CommitTransactionCommand();
		in_transaction = false;
	}
	if (up_front)
		note_begin(call);
	if (has_settings(call))
		apply_settings(call);
	if (!in_transaction)
		StartTransactionCommand();
	MemoryContextSwitchTo(step_context);
	publish_variables(call);
	if (step->timeout_ms > 0)
		enable_timeout_after(step_timeout, step->timeout_ms);
	in_statement = true;
	if (call->query != NULL)
		wf_local_sql_execute(call->query, WF_SQL_TOGETHER, result);
	else if (call->perform != NULL)
		outcome->remote_run_id = call->perform(call);
	else
		wf_local_sql_execute(step->command, step->atomic ? WF_SQL_TOGETHER :
							 WF_SQL_ONE_BY_ONE, result);
	in_statement = false;

	PushActiveSnapshot(GetTransactionSnapshot());
	check_constraints();
	if (step->timeout_ms > 0)
		disable_timeout(step_timeout, false);
	describe_success(call, result, outcome);
	before_commit(outcome, arg);
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(TopMemoryContext);
}

/*
 * begins_up_front
 *		Is it to be on record that the attempt begins, before it does?  Text
 *		that cannot be parsed begins nothing.
 */
static bool
begins_up_front(const WfStepCall *call)
{
	const WfPlanStep *step = &call->plan->steps[call->step];

	if (call->query != NULL || call->perform != NULL)
		return false;
	return !step->atomic ||
		(strcasestr(step->command, "program") != NULL &&
		 wf_command_text_runs_program(raw_parser(step->command,
												 RAW_PARSE_DEFAULT)));
}

/* Put it there, and flush it. */
static void
note_begin(const WfStepCall *call)
{
	wf_session_begin_own();
	wf_history_insert_step_start(call->run_id, call->step, call->attempt,
								 step_started_at, false);
	ForceSyncCommit();
	wf_session_commit_own();
}

/* The work of an attempt is done: what came of it. */
static void
describe_success(const WfStepCall *call, const WfLocalResult *result,
				 WfStepOutcome *outcome)
{
	const WfPlanStep *step = &call->plan->steps[call->step];

	if (call->query == NULL && step->result_variable != NULL)
		store_result(step->result_variable, result);
	outcome->status = WF_STEP_SUCCEEDED;
	outcome->rows = result->rows;
	outcome->result = result->row;
	outcome->variables = set_variables;
	outcome->messages = wf_capture_end();
	outcome->finished_at = GetCurrentTimestamp();
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
	wf_settings_apply(call->plan->settings, GUC_ACTION_SET, NULL);
	wf_settings_apply(step->settings, GUC_ACTION_SET, &saved_settings);
	if (step->lock_timeout_ms > 0)
		wf_settings_apply_one("lock_timeout",
							  psprintf(INT64_FORMAT, step->lock_timeout_ms),
							  GUC_ACTION_SET, &saved_settings);
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
	HOLD_INTERRUPTS();
	in_statement = false;
	disable_all_timeouts(false);
	QueryCancelPending = false;
	take_error(outcome, result);
	debug_query_string = NULL;
	AbortOutOfAnyTransaction();
	PortalErrorCleanup();
	jit_reset_after_error();
	MemoryContextSwitchTo(TopMemoryContext);
	RESUME_INTERRUPTS();
}

/* Log the error that was caught, and keep it in *outcome. */
static void
take_error(WfStepOutcome *outcome, const WfLocalResult *result)
{
	ErrorData  *error;

	MemoryContextSwitchTo(step_context);
	error = CopyErrorData();
	EmitErrorReport();
	FlushErrorState();
	keep_error(outcome, error);
	outcome->messages = wf_capture_end();
	outcome->status = WF_STEP_FAILED;
	outcome->rows = -1;
	outcome->statement = result->statement;
	outcome->finished_at = GetCurrentTimestamp();
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
		outcome->message = WF_STEP_TIMED_OUT;
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
								 step_started_at, true);
	PopActiveSnapshot();
}

/* See session.h; the pieces and their order are those of DiscardAll(), but for
 * channels: the server refuses LISTEN in background processes. */
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
	LockReleaseAll(USER_LOCKMETHOD, true);
	if (OidIsValid(temp_namespace))
		ResetTempTableNamespace();
	ResetSequenceCaches();
	PopActiveSnapshot();
	CommitTransactionCommand();
}

/* A role or a database has changed. */
static void
note_change(Datum arg, int cache, uint32 hash)
{
	role_changed = true;
}

/* See session.h. */
void
wf_session_check_role(void)
{
	HeapTuple	tuple;
	bool		may_login;

	if (!role_changed)
		return;
	role_changed = false;
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetSessionUserId()));
	if (!HeapTupleIsValid(tuple))
		ereport(FATAL,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("role with OID %u does not exist",
						GetSessionUserId())));
	may_login = ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin ||
		!wf_owner_needs_login();
	ReleaseSysCache(tuple);
	if (!may_login)
		ereport(FATAL,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("role \"%s\" is not permitted to log in",
						GetUserNameFromId(GetSessionUserId(), false))));
	if (!wf_may_connect(GetSessionUserId()))
		ereport(FATAL,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for database \"%s\"",
						get_database_name(MyDatabaseId)),
				 errdetail("User does not have CONNECT privilege.")));
}

/* Begin a transaction of our own. */
void
wf_session_begin_own(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	if (in_branch)
	{
		PushActiveSnapshot(GetCatalogSnapshot(wf_catalog_relid(WF_TABLE_RUN)));
		return;
	}
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
