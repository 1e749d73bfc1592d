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
#include "utils/timestamp.h"

#include "area.h"
#include "catalog.h"
#include "compat.h"
#include "guc.h"
#include "history.h"
#include "live.h"
#include "machine.h"
#include "plan.h"
#include "pool.h"
#include "rights.h"
#include "shmem.h"

PG_FUNCTION_INFO_V1(wf_run_step);
PG_FUNCTION_INFO_V1(wf_run_state);
PG_FUNCTION_INFO_V1(wf_step_states);
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
	ST_DONE,
	ST_TOTAL,
	ST_PROGRESS,
	ST_NCOLUMNS
};

/* A copy of the entry that has a run. */
typedef struct EntryCopy
{
	bool		found;
	WfEntry		entry;
	pid_t		pid;
} EntryCopy;

static const WfRun *visible_run(int64 run_id);
static void copy_entry(WfDatabase *database, int64 run_id, EntryCopy *copy);
static void copy_entry_at(WfDatabase *database, int index, EntryCopy *copy);
static void put_text(Datum *values, bool *nulls, int column,
					 const char *text);
static void put_time(Datum *values, bool *nulls, int column,
					 TimestampTz time);
static void put_sqlstate(Datum *values, bool *nulls, int column,
						 int sqlstate);
static void put_ended_run(Datum *values, bool *nulls,
						  const WfRunOutcome *outcome);
static void put_live_run(Datum *values, bool *nulls, const WfLiveCopy *live);
static void describe_step(WfDatabase *database, const WfRun *run,
						  const WfPlan *plan, int32 step,
						  const WfLiveCopy *live, const EntryCopy *entry,
						  Datum *values, bool *nulls);
static char *describe_wait(WfDatabase *database, const WfPlan *plan,
						   int32 step, const WfLiveCopy *live, EntryCopy *carrier);

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
 *		Name, kind, command, connection and server of a step, as the run's
 *		version defines them.  Nulls if the reader may not see the run.
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
	Datum		values[5] = {0};
	bool		nulls[5];

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
 * workflow.run_state(run_id bigint) returns setof record
 *		What is to be told at this moment of a run that has no outcome in the
 *		reader's snapshot.  No row if the reader may not see it.
 */
Datum
wf_run_state(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int64		run_id = PG_GETARG_INT64(0);
	const WfRun *run = visible_run(run_id);
	WfDatabase *database;
	WfLiveCopy *live = NULL;
	EntryCopy	entry = {0};
	WfRunOutcome outcome;
	TransactionId xid;
	Datum		values[RS_NCOLUMNS] = {0};
	bool		nulls[RS_NCOLUMNS];

	InitMaterializedSRF(fcinfo, 0);
	if (run == NULL)
		return (Datum) 0;
	memset(nulls, true, sizeof(nulls));
	database = wf_shared == NULL ? NULL : wf_database_find(MyDatabaseId);
	if (database != NULL && (live = wf_live_copy(database, run_id)) == NULL)
		copy_entry(database, run_id, &entry);

	if (wf_history_read_run_outcome(run_id, &outcome, &xid))
		put_ended_run(values, nulls, &outcome);
	else if (live != NULL)
		put_live_run(values, nulls, live);
	else
	{
		bool		running = entry.found &&
		entry.entry.state != WF_ENTRY_READY &&
		entry.entry.started_at != 0;

		bool		paused = running ?
		entry.entry.pause && !entry.entry.cancel :
		wf_history_last_command(run_id, &xid) == WF_ASKED_PAUSE;

		put_text(values, nulls, RS_STATUS,
				 wf_run_status_name(paused ? WF_RUN_PAUSED : running ?
									WF_RUN_RUNNING : WF_RUN_QUEUED));
		values[RS_FAILED_STEPS] = Int32GetDatum(0);
		nulls[RS_FAILED_STEPS] = false;
		put_time(values, nulls, RS_STARTED_AT,
				 running ? entry.entry.started_at : 0);
		put_text(values, nulls, RS_WAIT, entry.found || database == NULL ?
				 "worker" : "turn");
	}
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	return (Datum) 0;
}

static void
put_ended_run(Datum *values, bool *nulls, const WfRunOutcome *outcome)
{
	put_text(values, nulls, RS_STATUS, wf_run_status_name(outcome->status));
	values[RS_FAILED_STEPS] = Int32GetDatum(outcome->failed_steps);
	nulls[RS_FAILED_STEPS] = false;
	put_time(values, nulls, RS_STARTED_AT, outcome->started_at);
	put_time(values, nulls, RS_FINISHED_AT, outcome->finished_at);
	put_text(values, nulls, RS_ERROR_PATH, outcome->error_path);
	put_sqlstate(values, nulls, RS_SQLSTATE, outcome->sqlstate);
	put_text(values, nulls, RS_MESSAGE, outcome->message);
}

static void
put_live_run(Datum *values, bool *nulls, const WfLiveCopy *live)
{
	put_text(values, nulls, RS_STATUS,
			 wf_run_status_name(wf_machine_paused(live->machine) ?
								WF_RUN_PAUSED : WF_RUN_RUNNING));
	values[RS_FAILED_STEPS] =
		Int32GetDatum(wf_machine_failed_steps(live->machine));
	nulls[RS_FAILED_STEPS] = false;
	put_time(values, nulls, RS_STARTED_AT, live->started_at);
	put_text(values, nulls, RS_ERROR_PATH, live->error_path);
	put_sqlstate(values, nulls, RS_SQLSTATE, live->sqlstate);
	put_text(values, nulls, RS_MESSAGE, live->message);
}

/* Copy the entry that carries a run, if there is one. */
static void
copy_entry(WfDatabase *database, int64 run_id, EntryCopy *copy)
{
	int			i;

	LWLockAcquire(&database->lock, LW_SHARED);
	for (i = 0; i < WF_NENTRIES; i++)
	{
		WfEntry    *e = &database->entries[i];

		if (e->run_id == run_id && e->state != WF_ENTRY_FREE &&
			e->kind == WF_ENTRY_RUN)
		{
			copy_entry_at(database, i, copy);
			break;
		}
	}
	LWLockRelease(&database->lock);
}

/* Copy an entry.  Lock held. */
static void
copy_entry_at(WfDatabase *database, int index, EntryCopy *copy)
{
	copy->found = true;
	copy->entry = database->entries[index];
	copy->pid = copy->entry.state == WF_ENTRY_TAKEN ?
		wf_shared->slots[copy->entry.slot].pid : 0;
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
	int64		run_id = PG_GETARG_INT64(0);
	const WfRun *run = visible_run(run_id);
	WfDatabase *database;
	WfLiveCopy *live = NULL;
	EntryCopy	entry = {0};
	const WfPlan *plan;
	int			i;

	InitMaterializedSRF(fcinfo, 0);
	if (run == NULL)
		return (Datum) 0;
	plan = wf_plan_get(run->package_id, run->version);
	database = wf_shared == NULL ? NULL : wf_database_find(MyDatabaseId);
	if (database != NULL && (live = wf_live_copy(database, run_id)) == NULL)
		copy_entry(database, run_id, &entry);
	for (i = 0; plan != NULL && i < plan->nsteps; i++)
	{
		Datum		values[ST_NCOLUMNS] = {0};
		bool		nulls[ST_NCOLUMNS];

		CHECK_FOR_INTERRUPTS();
		describe_step(database, run, plan, i, live, &entry, values, nulls);
		tuplestore_putvalues(result->setResult, result->setDesc, values,
							 nulls);
	}
	return (Datum) 0;
}

/* One row of step_states(). */
static void
describe_step(WfDatabase *database, const WfRun *run, const WfPlan *plan,
			  int32 step, const WfLiveCopy *live, const EntryCopy *entry,
			  Datum *values, bool *nulls)
{
	WfStepStatus status = WF_STEP_WAITING;
	WfReason	reason = WF_REASON_NONE;
	int32		attempt = 0;
	int			pid = 0;
	TimestampTz started_at = 0;
	TimestampTz finished_at = 0;
	char	   *wait = NULL;
	WfStepOutcome outcome;
	EntryCopy	carrier = *entry;

	memset(nulls, true, ST_NCOLUMNS);
	if (live != NULL)
	{
		status = wf_machine_step_status(live->machine, step);
		reason = wf_machine_step_reason(live->machine, step);
		attempt = wf_machine_step_attempt(live->machine, step);
		started_at = live->steps[step].started_at;
		finished_at = live->steps[step].finished_at;
		wait = describe_wait(database, plan, step, live, &carrier);
		pid = carrier.pid;
	}
	else if (entry->found && entry->entry.state != WF_ENTRY_READY &&
			 entry->entry.current_step == step)
	{
		status = WF_STEP_RUNNING;
		attempt = entry->entry.current_attempt;
		started_at = entry->entry.step_started_at;
		pid = entry->pid;
	}
	if (status == WF_STEP_WAITING &&
		wf_history_read_step_outcome(run->run_id, step, &outcome))
	{
		status = outcome.status;
		reason = outcome.reason;
		attempt = outcome.attempt;
		started_at = outcome.started_at;
		finished_at = outcome.finished_at;
		put_sqlstate(values, nulls, ST_SQLSTATE, outcome.sqlstate);
		put_text(values, nulls, ST_MESSAGE, outcome.message);
	}
	values[ST_STEP] = Int32GetDatum(step);
	values[ST_ATTEMPT] = Int32GetDatum(attempt);
	nulls[ST_STEP] = nulls[ST_ATTEMPT] = false;
	put_text(values, nulls, ST_STATUS, wf_step_status_name(status));
	put_text(values, nulls, ST_REASON, wf_reason_name(reason));
	put_text(values, nulls, ST_WAIT, wait);
	put_time(values, nulls, ST_STARTED_AT, started_at);
	put_time(values, nulls, ST_FINISHED_AT, finished_at);
	values[ST_PID] = Int32GetDatum(pid);
	nulls[ST_PID] = (pid == 0);
	if (status == WF_STEP_RUNNING && carrier.found &&
		carrier.entry.total > 0)
	{
		values[ST_DONE] = Int64GetDatum(carrier.entry.done);
		values[ST_TOTAL] = Int64GetDatum(carrier.entry.total);
		nulls[ST_DONE] = nulls[ST_TOTAL] = false;
		put_text(values, nulls, ST_PROGRESS,
				 carrier.entry.progress[0] == '\0' ? NULL :
				 carrier.entry.progress);
	}
}

/* What a step of a driven run waits for, NULL: for nothing, or for its
 * constraints.  *carrier becomes the entry that carries it. */
static char *
describe_wait(WfDatabase *database, const WfPlan *plan, int32 step,
			  const WfLiveCopy *live, EntryCopy *carrier)
{
	const WfLiveStep *live_step = &live->steps[step];

	if (wf_machine_waits_for_connection(live->machine, step))
		return psprintf("connection %s",
						plan->connections[plan->steps[step].connection].name);
	if (wf_machine_waits_for_slot(live->machine, step))
		return pstrdup("max_concurrent_steps");
	if (wf_machine_waits_for_main_thread(live->machine, step))
		return pstrdup("main thread");
	if (wf_machine_waits_for_condition(live->machine, step))
		return pstrdup("condition");
	if (wf_machine_step_status(live->machine, step) != WF_STEP_RUNNING)
		return NULL;
	if (live_step->child_run_id != 0)
		return psprintf("run " INT64_FORMAT, live_step->child_run_id);
	if (live_step->entry >= 0)
	{
		LWLockAcquire(&database->lock, LW_SHARED);
		if (database->entries[live_step->entry].run_id == live->run_id)
			copy_entry_at(database, live_step->entry, carrier);
		LWLockRelease(&database->lock);
	}
	if (carrier->found && carrier->entry.state == WF_ENTRY_TAKEN)
		return NULL;
	if (wf_machine_awaits_retry(live->machine, step))
		return pstrdup("retry");
	return pstrdup("worker");
}

/*
 * workflow.agent: one row about the agent of this database.
 */
Datum
wf_agent(PG_FUNCTION_ARGS)
{
	WfDatabase *database = wf_shared == NULL ? NULL :
		wf_database_find(MyDatabaseId);
	TupleDesc	desc;
	Datum		values[10] = {0};
	bool		nulls[10] = {0};
	bool		running = database != NULL && database->ready;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(desc);
	values[0] = BoolGetDatum(running);
	values[1] = Int32GetDatum(running ? database->pid : 0);
	nulls[1] = !running;
	values[2] = Int32GetDatum(running ? wf_pool_size(database) : 0);
	values[3] = Int64GetDatum(running ? database->queued : 0);
	values[4] = Int64GetDatum(running ? database->running : 0);
	values[5] = BoolGetDatum(wf_enabled);
	values[6] = Int32GetDatum(wf_max_workers);
	values[7] = CStringGetTextDatum(wf_commit_mode == WF_COMMIT_PIPELINED ?
									"pipelined" : "synchronous");
	nulls[8] = nulls[9] = (database == NULL || database->error_at == 0);
	if (!nulls[8])
	{
		values[8] = CStringGetTextDatum(database->last_error);
		values[9] = TimestampTzGetDatum(database->error_at);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
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
