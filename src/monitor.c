/*-------------------------------------------------------------------------
 *
 * monitor.c
 *	  SQL-callable functions that the views are made of.
 *
 * The views join tables (what has been, as the reader's snapshot shows it)
 * with what these functions tell of this moment.  A run or step may end
 * between the reader's snapshot and the call; then its outcome is read with a
 * fresh snapshot and told, so nothing is ever seen neither running nor ended.
 *
 * The functions are open to PUBLIC, as functions in views must be, so each
 * one checks the reader's right to see the run that it is asked about.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "compat.h"
#include "guc.h"
#include "history.h"
#include "plan.h"
#include "pool.h"
#include "present.h"
#include "rights.h"
#include "shmem.h"

PG_FUNCTION_INFO_V1(wf_run_step);
PG_FUNCTION_INFO_V1(wf_horizon);
PG_FUNCTION_INFO_V1(wf_run_state);
PG_FUNCTION_INFO_V1(wf_step_states);
PG_FUNCTION_INFO_V1(wf_transaction_state);
PG_FUNCTION_INFO_V1(wf_agent);
PG_FUNCTION_INFO_V1(wf_status_name);
PG_FUNCTION_INFO_V1(wf_reason_text);

/* Columns of workflow.run_state(). */
enum
{
	RS_STATUS,
	RS_FAILED_STEPS,
	RS_STARTED_AT,
	RS_FINISHED_AT,
	RS_ERROR_PATH,
	RS_SQLSTATE,
	RS_MESSAGE,
	RS_WAIT,
	RS_TRANSACTION_ID,
	RS_TRANSACTION_AT,
	RS_NCOLUMNS
};

/* Columns of workflow.step_states(). */
enum
{
	ST_STEP,
	ST_ATTEMPT,
	ST_STATUS,
	ST_REASON,
	ST_WAIT,
	ST_PID,
	ST_STARTED_AT,
	ST_FINISHED_AT,
	ST_SQLSTATE,
	ST_MESSAGE,
	ST_DETAIL,
	ST_HINT,
	ST_CONTEXT,
	ST_MESSAGES,
	ST_RESULT,
	ST_ROWS,
	ST_STATEMENT,
	ST_TRANSACTION_ID,
	ST_TRANSACTION_AT,
	ST_DONE,
	ST_TOTAL,
	ST_PROGRESS,
	ST_CHILD_RUN_ID,
	ST_NCOLUMNS
};

/* Columns of workflow.transaction_state(). */
enum
{
	TS_NUMBER,
	TS_TRANSACTION_ID,
	TS_ISOLATION,
	TS_STARTED_AT,
	TS_STEPS,
	TS_NCOLUMNS
};

/* Columns of workflow.agent_state(). */
enum
{
	AG_RUNNING,
	AG_SCHEDULER_PID,
	AG_WORKERS,
	AG_QUEUED,
	AG_RUNNING_RUNS,
	AG_ENABLED,
	AG_MAX_WORKERS,
	AG_WORKER_IDLE_TIMEOUT,
	AG_COMMIT_MODE,
	AG_MAX_NESTING_LEVEL,
	AG_LAST_ERROR,
	AG_LAST_ERROR_AT,
	AG_NCOLUMNS
};

static const WfRun *visible_run(int64 run_id);
static void put_text(Datum *values, bool *nulls, int column,
					 const char *text);
static void put_int64(Datum *values, bool *nulls, int column, int64 value,
					  bool isnull);
static void put_time(Datum *values, bool *nulls, int column,
					 TimestampTz time);
static void put_sqlstate(Datum *values, bool *nulls, int column,
						 int sqlstate);
static void put_step(const WfPresentStep *state, int32 step, Datum *values,
					 bool *nulls);
static Datum interval_of_ms(int64 ms);
static void count_runs(WfDatabase *database, int64 *queued, int64 *running);

/*
 * visible_run
 *		The run, if the reader may see it, else NULL.  The last one is kept
 *		for the rest of the transaction: views ask about the steps of a run
 *		one after the other.
 */
static const WfRun *
visible_run(int64 run_id)
{
	static WfRun run;
	static LocalTransactionId kept_in = InvalidLocalTransactionId;
	static Oid	kept_for = InvalidOid;

	if (kept_in == wf_local_xid() && run.run_id == run_id &&
		kept_for == GetUserId())
		return &run;
	kept_in = InvalidLocalTransactionId;
	if (!wf_history_read_run(run_id, &run) || !wf_rights_may_see(&run))
		return NULL;
	run.variables = NULL;		/* it may be freed before */
	kept_in = wf_local_xid();
	kept_for = GetUserId();
	return &run;
}

static void
put_text(Datum *values, bool *nulls, int column, const char *text)
{
	nulls[column] = (text == NULL);
	if (text != NULL)
		values[column] = CStringGetTextDatum(text);
}

static void
put_int64(Datum *values, bool *nulls, int column, int64 value, bool isnull)
{
	nulls[column] = isnull;
	values[column] = Int64GetDatum(value);
}

static void
put_time(Datum *values, bool *nulls, int column, TimestampTz time)
{
	nulls[column] = (time == 0);
	values[column] = TimestampTzGetDatum(time);
}

static void
put_sqlstate(Datum *values, bool *nulls, int column, int sqlstate)
{
	put_text(values, nulls, column,
			 sqlstate == 0 ? NULL : unpack_sql_state(sqlstate));
}

/*
 * workflow.run_step(run_id bigint, step integer) returns record
 *		Name, kind, command, connection, server and option `atomic` of a step,
 *		as the run's version defines them.  Nulls if the reader may not see the run.
 */
Datum
wf_run_step(PG_FUNCTION_ARGS)
{
	const WfRun *run = visible_run(PG_GETARG_INT64(0));
	int32		index = PG_GETARG_INT32(1);
	const WfPlan *plan = run == NULL ? NULL :
		wf_plan_get(run->package_id, run->version);
	const WfPlanStep *step;
	TupleDesc	desc;
	Datum		values[6] = {0};
	bool		nulls[6];

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(desc);
	memset(nulls, true, sizeof(nulls));
	if (plan != NULL && index >= 0 && index < plan->nsteps)
	{
		step = &plan->steps[index];
		put_text(values, nulls, 0, step->name);
		put_text(values, nulls, 1, wf_step_kind_name(step->kind));
		put_text(values, nulls, 2, step->command);
		values[5] = BoolGetDatum(step->atomic);
		nulls[5] = false;
		if (step->connection >= 0)
		{
			put_text(values, nulls, 3,
					 plan->connections[step->connection].name);
			put_text(values, nulls, 4,
					 plan->connections[step->connection].server);
		}
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

/*
 * workflow.open_from() returns bigint
 *		Where the search for open runs begins.  The planner asks too, and so
 *		knows how few rows are beyond; a subquery would not tell it.
 */
Datum
wf_horizon(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(wf_history_horizon(GetActiveSnapshot()));
}

/*
 * workflow.run_state(run_id bigint) returns setof record
 *		What is to be told at this moment of a run that has no outcome in the
 *		reader's snapshot.  No row if the reader may not see it.
 */
Datum
wf_run_state(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const WfRun *run = visible_run(PG_GETARG_INT64(0));
	WfPresent	present;
	WfPresentRun state;
	WfPresentTransaction transaction;
	Datum		values[RS_NCOLUMNS] = {0};
	bool		nulls[RS_NCOLUMNS] = {0};

	InitMaterializedSRF(fcinfo, 0);
	if (run == NULL)
		return (Datum) 0;
	wf_present_take(run, &present);
	wf_present_run(&present, &state);
	put_text(values, nulls, RS_STATUS,
			 wf_run_status_name(state.outcome.status));
	values[RS_FAILED_STEPS] = Int32GetDatum(state.outcome.failed_steps);
	put_time(values, nulls, RS_STARTED_AT, state.outcome.started_at);
	put_time(values, nulls, RS_FINISHED_AT, state.outcome.finished_at);
	put_text(values, nulls, RS_ERROR_PATH, state.outcome.error_path);
	put_sqlstate(values, nulls, RS_SQLSTATE, state.outcome.sqlstate);
	put_text(values, nulls, RS_MESSAGE, state.outcome.message);
	put_text(values, nulls, RS_WAIT, state.wait);
	wf_present_transaction(&present, &transaction);
	put_int64(values, nulls, RS_TRANSACTION_ID, transaction.transaction_id,
			  transaction.number == 0);
	put_time(values, nulls, RS_TRANSACTION_AT, transaction.number == 0 ? 0 :
			 transaction.started_at);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	return (Datum) 0;
}

/*
 * workflow.step_states(run_id bigint) returns setof record
 *		Each step of a run that has no outcome in the reader's snapshot, as it
 *		is at this moment.  No rows if the reader may not see the run.
 */
Datum
wf_step_states(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const WfRun *run = visible_run(PG_GETARG_INT64(0));
	WfPresent	present;
	int			i;

	InitMaterializedSRF(fcinfo, 0);
	if (run == NULL)
		return (Datum) 0;
	wf_present_take(run, &present);
	for (i = 0; present.plan != NULL && i < present.plan->nsteps; i++)
	{
		WfPresentStep state;
		Datum		values[ST_NCOLUMNS] = {0};
		bool		nulls[ST_NCOLUMNS] = {0};

		CHECK_FOR_INTERRUPTS();
		wf_present_step(&present, i, &state);
		put_step(&state, i, values, nulls);
		tuplestore_putvalues(result->setResult, result->setDesc, values,
							 nulls);
	}
	return (Datum) 0;
}

/* One row of step_states(). */
static void
put_step(const WfPresentStep *state, int32 step, Datum *values, bool *nulls)
{
	const WfStepOutcome *outcome = &state->outcome;

	values[ST_STEP] = Int32GetDatum(step);
	values[ST_ATTEMPT] = Int32GetDatum(outcome->attempt);
	put_text(values, nulls, ST_STATUS, wf_step_status_name(outcome->status));
	put_text(values, nulls, ST_REASON, wf_reason_name(outcome->reason));
	put_text(values, nulls, ST_WAIT, state->wait);
	values[ST_PID] = Int32GetDatum(outcome->pid);
	nulls[ST_PID] = (outcome->pid == 0);
	put_time(values, nulls, ST_STARTED_AT, outcome->started_at);
	put_time(values, nulls, ST_FINISHED_AT, outcome->finished_at);
	put_sqlstate(values, nulls, ST_SQLSTATE, outcome->sqlstate);
	put_text(values, nulls, ST_MESSAGE, outcome->message);
	put_text(values, nulls, ST_DETAIL, outcome->detail);
	put_text(values, nulls, ST_HINT, outcome->hint);
	put_text(values, nulls, ST_CONTEXT, outcome->context);
	put_text(values, nulls, ST_MESSAGES, outcome->messages);
	values[ST_RESULT] = PointerGetDatum(outcome->result);
	nulls[ST_RESULT] = (outcome->result == NULL);
	put_int64(values, nulls, ST_ROWS, outcome->rows,
			  outcome->pid == 0 || outcome->finished_at == 0 ||
			  outcome->rows < 0);
	values[ST_STATEMENT] = Int32GetDatum(outcome->statement);
	nulls[ST_STATEMENT] = (outcome->statement == 0);
	put_int64(values, nulls, ST_TRANSACTION_ID, outcome->transaction_id,
			  outcome->transaction_id == 0);
	put_time(values, nulls, ST_TRANSACTION_AT, state->transaction_at);
	put_int64(values, nulls, ST_DONE, state->done, state->total == 0);
	put_int64(values, nulls, ST_TOTAL, state->total, state->total == 0);
	put_text(values, nulls, ST_PROGRESS,
			 state->progress[0] == '\0' ? NULL : state->progress);
	put_int64(values, nulls, ST_CHILD_RUN_ID, state->child_run_id,
			  state->child_run_id == 0);
}

/*
 * workflow.transaction_state(run_id bigint) returns setof record
 *		The package transaction that a run has open.  No row if there is none,
 *		or if the reader may not see the run.
 */
Datum
wf_transaction_state(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const WfRun *run = visible_run(PG_GETARG_INT64(0));
	WfPresent	present;
	WfPresentTransaction transaction;
	Datum		values[TS_NCOLUMNS];
	bool		nulls[TS_NCOLUMNS] = {0};

	InitMaterializedSRF(fcinfo, 0);
	if (run == NULL)
		return (Datum) 0;
	wf_present_take(run, &present);
	wf_present_transaction(&present, &transaction);
	if (transaction.number == 0)
		return (Datum) 0;
	values[TS_NUMBER] = Int32GetDatum(transaction.number);
	values[TS_TRANSACTION_ID] = Int64GetDatum(transaction.transaction_id);
	values[TS_ISOLATION] = CharGetDatum(transaction.isolation);
	values[TS_STARTED_AT] = TimestampTzGetDatum(transaction.started_at);
	values[TS_STEPS] = Int32GetDatum(transaction.steps);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	return (Datum) 0;
}

/*
 * workflow.agent: one row about the agent of this database.
 */
Datum
wf_agent(PG_FUNCTION_ARGS)
{
	WfDatabase *database = wf_shared == NULL ? NULL :
		wf_database_find(MyDatabaseId);
	bool		running = database != NULL && database->ready;
	TupleDesc	desc;
	Datum		values[AG_NCOLUMNS] = {0};
	bool		nulls[AG_NCOLUMNS] = {0};
	int64		queued = 0;
	int64		running_runs = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(desc);
	if (running)
		count_runs(database, &queued, &running_runs);
	values[AG_RUNNING] = BoolGetDatum(running);
	values[AG_SCHEDULER_PID] = Int32GetDatum(running ? database->pid : 0);
	nulls[AG_SCHEDULER_PID] = !running;
	values[AG_WORKERS] = Int32GetDatum(running ? wf_pool_size(database) : 0);
	values[AG_QUEUED] = Int64GetDatum(queued);
	values[AG_RUNNING_RUNS] = Int64GetDatum(running_runs);
	values[AG_ENABLED] = BoolGetDatum(running ? !database->hold : wf_enabled);
	values[AG_MAX_WORKERS] = Int32GetDatum(wf_max_workers);
	values[AG_WORKER_IDLE_TIMEOUT] =
		interval_of_ms(wf_worker_idle_timeout);
	put_text(values, nulls, AG_COMMIT_MODE,
			 wf_commit_mode == WF_COMMIT_PIPELINED ? "pipelined" :
			 "synchronous");
	values[AG_MAX_NESTING_LEVEL] = Int32GetDatum(wf_max_nesting_level);
	put_text(values, nulls, AG_LAST_ERROR,
			 database == NULL || database->error_at == 0 ? NULL :
			 database->last_error);
	put_time(values, nulls, AG_LAST_ERROR_AT,
			 database == NULL ? 0 : database->error_at);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

static Datum
interval_of_ms(int64 ms)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->time = ms * 1000;
	return IntervalPGetDatum(interval);
}

/*
 * count_runs
 *		Those that wait to be started and those that go on.  A run that a
 *		worker is to carry out whole is where its entry says; the scheduler
 *		need not have heard of its end.
 */
static void
count_runs(WfDatabase *database, int64 *queued, int64 *running)
{
	int			i;

	LWLockAcquire(&database->lock, LW_SHARED);
	*queued = database->queued;
	*running = database->driven;
	for (i = 0; i < WF_NENTRIES; i++)
	{
		const WfEntry *e = &database->entries[i];

		if (e->kind != WF_ENTRY_RUN || e->state == WF_ENTRY_FREE ||
			e->state == WF_ENTRY_DONE)
			continue;
		if (e->state == WF_ENTRY_READY && e->list == WF_READY_NEW)
			(*queued)++;
		else
			(*running)++;
	}
	LWLockRelease(&database->lock);
}

/* workflow.status_name("char") returns text: of a run's or step's status;
 * the codes mean the same for both. */
Datum
wf_status_name(PG_FUNCTION_ARGS)
{
	const char *name = wf_step_status_name(PG_GETARG_CHAR(0));

	if (name == NULL)
		name = wf_run_status_name(PG_GETARG_CHAR(0));
	if (name == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(name));
}

/* workflow.reason_name("char") returns text. */
Datum
wf_reason_text(PG_FUNCTION_ARGS)
{
	const char *name = wf_reason_name(PG_GETARG_CHAR(0));

	if (name == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(name));
}
