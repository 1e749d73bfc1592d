/*-------------------------------------------------------------------------
 *
 * history.c
 *	  The record of runs: append rows, read them back.
 *
 * Rows are written by whoever did what they tell, in the transaction that
 * did it (a step's outcome with the step's effects), and never changed.  The
 * one exception is the horizon, a single row that says where the search for
 * open runs begins; the scheduler moves it, rarely.
 *
 * Writing is heap_insert and plain index insertion.  A duplicate key here
 * means that another process has recorded the same thing: the ERROR rolls
 * back the work that was done a second time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "history.h"

/* Columns of workflow.run. */
enum
{
	RUN_ID = 1,
	RUN_REQUESTED_AT,
	RUN_PACKAGE_ID,
	RUN_VERSION,
	RUN_OWNER,
	RUN_REQUESTED_BY,
	RUN_PRIORITY,
	RUN_PARENT_STEP,
	RUN_PARENT_ATTEMPT,
	RUN_PARENT_RUN_ID,
	RUN_ROOT_RUN_ID,
	RUN_START_AT,
	RUN_VARIABLES,
	RUN_REQUEST_KEY,
	RUN_RESTART_OF,
	RUN_ATTEMPT,
	RUN_NCOLUMNS = RUN_ATTEMPT
};

/* Columns of workflow.request_key. */
enum
{
	RK_PACKAGE_ID = 1,
	RK_KEY,
	RK_RUN_ID,
	RK_NCOLUMNS = RK_RUN_ID
};

/* Columns of workflow.run_outcome. */
enum
{
	RO_RUN_ID = 1,
	RO_STARTED_AT,
	RO_FINISHED_AT,
	RO_FAILED_STEPS,
	RO_STOPPED_BY,
	RO_STATUS,
	RO_ERROR_PATH,
	RO_SQLSTATE,
	RO_MESSAGE,
	RO_STOP_REASON,
	RO_VARIABLES,
	RO_NCOLUMNS = RO_VARIABLES
};

/* Columns of workflow.step_outcome. */
enum
{
	SO_RUN_ID = 1,
	SO_STEP,
	SO_ATTEMPT,
	SO_PID,
	SO_STARTED_AT,
	SO_FINISHED_AT,
	SO_ROWS,
	SO_REMOTE_RUN_ID,
	SO_TRANSACTION_ID,
	SO_STATEMENT,
	SO_STATUS,
	SO_REASON,
	SO_SQLSTATE,
	SO_MESSAGE,
	SO_DETAIL,
	SO_HINT,
	SO_CONTEXT,
	SO_MESSAGES,
	SO_RESULT,
	SO_VARIABLES,
	SO_CHILD_RUN_ID,
	SO_NCOLUMNS = SO_CHILD_RUN_ID
};

/* Columns of workflow.step_start. */
enum
{
	SS_RUN_ID = 1,
	SS_STEP,
	SS_ATTEMPT,
	SS_STARTED_AT,
	SS_COMMITTED,
	SS_NCOLUMNS = SS_COMMITTED
};

/* Columns of workflow.run_command. */
enum
{
	RC_RUN_ID = 1,
	RC_REQUESTED_BY,
	RC_REQUESTED_AT,
	RC_COMMAND,
	RC_REASON,
	RC_NCOLUMNS = RC_REASON
};

/* Columns of workflow.horizon. */
enum
{
	HZ_RUN_ID = 1,
	HZ_STILL_OPEN,
	HZ_NCOLUMNS = HZ_STILL_OPEN
};

static void insert_row(WfTable table, Datum *values, bool *nulls);
static void set_text(Datum *values, bool *nulls, int column,
					 const char *text);
static void set_jsonb(Datum *values, bool *nulls, int column,
					  const Jsonb *jsonb);
static const char *get_text(Datum *values, bool *nulls, int column);
static void deform_step_outcome(HeapTuple tuple, TupleDesc desc,
								WfStepOutcome *outcome);
static void init_attempt_keys(ScanKeyData *keys, int64 run_id, int32 step,
							  int32 attempt);
static int	compare_attempts(const void *a, const void *b);
static SysScanDesc begin_scan_by_run(Relation rel, WfTable table,
									 int64 run_id);
static int64 read_horizon(Snapshot snapshot, int64 **still_open, int *nopen);
static void visit_open_run(Relation rel, HeapTuple tuple,
						   WfOpenRunCallback callback, void *arg);

/* Number of the next run: never given twice, gaps are normal. */
int64
wf_history_next_run_id(void)
{
	return nextval_internal(wf_catalog_run_sequence(), false);
}

static void
insert_row(WfTable table, Datum *values, bool *nulls)
{
	Relation	rel = table_open(wf_catalog_relid(table), RowExclusiveLock);
	HeapTuple	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);

	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	table_close(rel, NoLock);
}

/* Set a text column, null if there is no text. */
static void
set_text(Datum *values, bool *nulls, int column, const char *text)
{
	nulls[column - 1] = (text == NULL);
	values[column - 1] = text == NULL ? (Datum) 0 : CStringGetTextDatum(text);
}

static void
set_jsonb(Datum *values, bool *nulls, int column, const Jsonb *jsonb)
{
	nulls[column - 1] = (jsonb == NULL);
	values[column - 1] = PointerGetDatum(jsonb);
}

static const char *
get_text(Datum *values, bool *nulls, int column)
{
	return nulls[column - 1] ? NULL : TextDatumGetCString(values[column - 1]);
}

/* Record that a run was requested. */
void
wf_history_insert_run(const WfRun *run)
{
	Datum		values[RUN_NCOLUMNS] = {0};
	bool		nulls[RUN_NCOLUMNS] = {0};
	bool		is_root = (run->parent_run_id == 0);

	values[RUN_ID - 1] = Int64GetDatum(run->run_id);
	values[RUN_REQUESTED_AT - 1] = TimestampTzGetDatum(run->requested_at);
	values[RUN_PACKAGE_ID - 1] = Int64GetDatum(run->package_id);
	values[RUN_VERSION - 1] = Int32GetDatum(run->version);
	values[RUN_OWNER - 1] = ObjectIdGetDatum(run->owner);
	values[RUN_REQUESTED_BY - 1] = ObjectIdGetDatum(run->requested_by);
	values[RUN_PRIORITY - 1] = Int32GetDatum(run->priority);
	values[RUN_PARENT_STEP - 1] = Int32GetDatum(run->parent_step);
	values[RUN_PARENT_ATTEMPT - 1] = Int32GetDatum(run->parent_attempt);
	values[RUN_PARENT_RUN_ID - 1] = Int64GetDatum(run->parent_run_id);
	values[RUN_ROOT_RUN_ID - 1] = Int64GetDatum(run->root_run_id);
	nulls[RUN_PARENT_STEP - 1] = is_root;
	nulls[RUN_PARENT_ATTEMPT - 1] = is_root;
	nulls[RUN_PARENT_RUN_ID - 1] = is_root;
	nulls[RUN_ROOT_RUN_ID - 1] = is_root;
	values[RUN_START_AT - 1] = TimestampTzGetDatum(run->start_at);
	nulls[RUN_START_AT - 1] = (run->start_at == 0);
	set_jsonb(values, nulls, RUN_VARIABLES, run->variables);
	set_text(values, nulls, RUN_REQUEST_KEY, run->request_key);
	values[RUN_RESTART_OF - 1] = Int64GetDatum(run->restart_of);
	nulls[RUN_RESTART_OF - 1] = (run->restart_of == 0);
	values[RUN_ATTEMPT - 1] = Int32GetDatum(run->attempt);
	nulls[RUN_ATTEMPT - 1] = (run->attempt <= 1);
	insert_row(WF_TABLE_RUN, values, nulls);
}

/* Record what was asked of a run. */
void
wf_history_insert_command(int64 run_id, char command, Oid role,
						  const char *reason)
{
	Datum		values[RC_NCOLUMNS];
	bool		nulls[RC_NCOLUMNS] = {0};

	values[RC_RUN_ID - 1] = Int64GetDatum(run_id);
	values[RC_REQUESTED_BY - 1] = ObjectIdGetDatum(role);
	values[RC_REQUESTED_AT - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[RC_COMMAND - 1] = CharGetDatum(command);
	set_text(values, nulls, RC_REASON, reason);
	insert_row(WF_TABLE_RUN_COMMAND, values, nulls);
}

/* What was asked of a run last. */
char
wf_history_last_command(int64 run_id, TransactionId *xid)
{
	Relation	rel = table_open(wf_catalog_relid(WF_TABLE_RUN_COMMAND),
								 AccessShareLock);
	Relation	index = index_open(wf_catalog_indexid(WF_TABLE_RUN_COMMAND),
								   AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	char		command = 0;
	bool		isnull;

	ScanKeyInit(&key, RC_RUN_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(run_id));
	scan = systable_beginscan_ordered(rel, index, NULL, 1, &key);
	tuple = systable_getnext_ordered(scan, BackwardScanDirection);
	if (HeapTupleIsValid(tuple))
	{
		command = DatumGetChar(heap_getattr(tuple, RC_COMMAND,
											RelationGetDescr(rel), &isnull));
		*xid = HeapTupleHeaderGetXmin(tuple->t_data);
	}
	systable_endscan_ordered(scan);
	index_close(index, NoLock);
	table_close(rel, NoLock);
	return command;
}

/* Whether somebody asked for the end of a run; who, and why. */
bool
wf_history_read_stop(int64 run_id, Oid *stopped_by, const char **reason)
{
	Relation	rel = table_open(wf_catalog_relid(WF_TABLE_RUN_COMMAND),
								 AccessShareLock);
	SysScanDesc scan = begin_scan_by_run(rel, WF_TABLE_RUN_COMMAND, run_id);
	HeapTuple	tuple;
	bool		found = false;

	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[RC_NCOLUMNS];
		bool		nulls[RC_NCOLUMNS];

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		found = DatumGetChar(values[RC_COMMAND - 1]) == WF_ASKED_STOP;
		*stopped_by = DatumGetObjectId(values[RC_REQUESTED_BY - 1]);
		*reason = get_text(values, nulls, RC_REASON);
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
	return found;
}

/* The run that was requested under a key. */
int64
wf_history_find_request_key(int64 package_id, const char *key)
{
	Relation	rel = table_open(wf_catalog_relid(WF_TABLE_REQUEST_KEY),
								 AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	int64		run_id = 0;
	bool		isnull;

	ScanKeyInit(&keys[0], RK_PACKAGE_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(package_id));
	ScanKeyInit(&keys[1], RK_KEY, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(key));
	keys[1].sk_collation = C_COLLATION_OID;
	scan = systable_beginscan(rel, wf_catalog_indexid(WF_TABLE_REQUEST_KEY),
							  true, NULL, 2, keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		run_id = DatumGetInt64(heap_getattr(tuple, RK_RUN_ID,
											RelationGetDescr(rel), &isnull));
	systable_endscan(scan);
	table_close(rel, NoLock);
	return run_id;
}

/* Note the run that is requested under a key. */
void
wf_history_insert_request_key(int64 package_id, const char *key, int64 run_id)
{
	Datum		values[RK_NCOLUMNS];
	bool		nulls[RK_NCOLUMNS] = {0};

	values[RK_PACKAGE_ID - 1] = Int64GetDatum(package_id);
	values[RK_KEY - 1] = CStringGetTextDatum(key);
	values[RK_RUN_ID - 1] = Int64GetDatum(run_id);
	insert_row(WF_TABLE_REQUEST_KEY, values, nulls);
}

/* Record that a run has ended. */
void
wf_history_insert_run_outcome(const WfRunOutcome *outcome)
{
	Datum		values[RO_NCOLUMNS] = {0};
	bool		nulls[RO_NCOLUMNS] = {0};

	values[RO_RUN_ID - 1] = Int64GetDatum(outcome->run_id);
	values[RO_STARTED_AT - 1] = TimestampTzGetDatum(outcome->started_at);
	nulls[RO_STARTED_AT - 1] = (outcome->started_at == 0);
	values[RO_FINISHED_AT - 1] = TimestampTzGetDatum(outcome->finished_at);
	values[RO_FAILED_STEPS - 1] = Int32GetDatum(outcome->failed_steps);
	values[RO_STOPPED_BY - 1] = ObjectIdGetDatum(outcome->stopped_by);
	nulls[RO_STOPPED_BY - 1] = !OidIsValid(outcome->stopped_by);
	values[RO_STATUS - 1] = CharGetDatum((char) outcome->status);
	set_text(values, nulls, RO_ERROR_PATH, outcome->error_path);
	set_text(values, nulls, RO_SQLSTATE, outcome->sqlstate == 0 ? NULL :
			 unpack_sql_state(outcome->sqlstate));
	set_text(values, nulls, RO_MESSAGE, outcome->message);
	set_text(values, nulls, RO_STOP_REASON, outcome->stop_reason);
	set_jsonb(values, nulls, RO_VARIABLES, outcome->variables);
	insert_row(WF_TABLE_RUN_OUTCOME, values, nulls);
}

/* Record how an attempt of a step ended. */
void
wf_history_insert_step_outcome(const WfStepOutcome *outcome)
{
	Datum		values[SO_NCOLUMNS] = {0};
	bool		nulls[SO_NCOLUMNS] = {0};

	values[SO_RUN_ID - 1] = Int64GetDatum(outcome->run_id);
	values[SO_STEP - 1] = Int32GetDatum(outcome->step);
	values[SO_ATTEMPT - 1] = Int32GetDatum(outcome->attempt);
	values[SO_PID - 1] = Int32GetDatum(outcome->pid);
	nulls[SO_PID - 1] = (outcome->pid == 0);
	values[SO_STARTED_AT - 1] = TimestampTzGetDatum(outcome->started_at);
	nulls[SO_STARTED_AT - 1] = (outcome->started_at == 0);
	values[SO_FINISHED_AT - 1] = TimestampTzGetDatum(outcome->finished_at);
	nulls[SO_FINISHED_AT - 1] = (outcome->finished_at == 0);
	values[SO_ROWS - 1] = Int64GetDatum(outcome->rows);
	nulls[SO_ROWS - 1] = (outcome->rows < 0);
	values[SO_REMOTE_RUN_ID - 1] = Int64GetDatum(outcome->remote_run_id);
	nulls[SO_REMOTE_RUN_ID - 1] = (outcome->remote_run_id == 0);
	values[SO_TRANSACTION_ID - 1] = Int64GetDatum(outcome->transaction_id);
	nulls[SO_TRANSACTION_ID - 1] = (outcome->transaction_id == 0);
	values[SO_STATEMENT - 1] = Int32GetDatum(outcome->statement);
	nulls[SO_STATEMENT - 1] = (outcome->statement == 0);
	values[SO_STATUS - 1] = CharGetDatum((char) outcome->status);
	values[SO_REASON - 1] = CharGetDatum((char) outcome->reason);
	nulls[SO_REASON - 1] = (outcome->reason == WF_REASON_NONE);
	set_text(values, nulls, SO_SQLSTATE, outcome->sqlstate == 0 ? NULL :
			 unpack_sql_state(outcome->sqlstate));
	set_text(values, nulls, SO_MESSAGE, outcome->message);
	set_text(values, nulls, SO_DETAIL, outcome->detail);
	set_text(values, nulls, SO_HINT, outcome->hint);
	set_text(values, nulls, SO_CONTEXT, outcome->context);
	set_text(values, nulls, SO_MESSAGES, outcome->messages);
	set_jsonb(values, nulls, SO_RESULT, outcome->result);
	set_jsonb(values, nulls, SO_VARIABLES, outcome->variables);
	values[SO_CHILD_RUN_ID - 1] = Int64GetDatum(outcome->child_run_id);
	nulls[SO_CHILD_RUN_ID - 1] = (outcome->child_run_id == 0);
	insert_row(WF_TABLE_STEP_OUTCOME, values, nulls);
}

/* Copy an outcome to a run that takes it over.  The variables that the step
 * has set are not copied: they are among those that the run was given. */
bool
wf_history_take_over(const WfStepOutcome *earlier, int64 run_id, int32 step)
{
	Relation	rel = table_open(wf_catalog_relid(WF_TABLE_STEP_OUTCOME),
								 RowExclusiveLock);
	ScanKeyData keys[3];
	SysScanDesc scan;
	HeapTuple	tuple;
	Datum		values[SO_NCOLUMNS];
	bool		nulls[SO_NCOLUMNS];
	bool		found;

	init_attempt_keys(keys, earlier->run_id, earlier->step,
					  earlier->attempt);
	scan = systable_beginscan(rel, wf_catalog_indexid(WF_TABLE_STEP_OUTCOME),
							  true, NULL, 3, keys);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
	{
		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		values[SO_RUN_ID - 1] = Int64GetDatum(run_id);
		values[SO_STEP - 1] = Int32GetDatum(step);
		values[SO_ATTEMPT - 1] = Int32GetDatum(0);
		values[SO_REASON - 1] = CharGetDatum(WF_REASON_RESTART);
		nulls[SO_REASON - 1] = false;
		nulls[SO_VARIABLES - 1] = true;
		insert_row(WF_TABLE_STEP_OUTCOME, values, nulls);
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
	return found;
}

/* Keys of a scan for one attempt: of step_outcome, or of step_start. */
static void
init_attempt_keys(ScanKeyData *keys, int64 run_id, int32 step, int32 attempt)
{
	ScanKeyInit(&keys[0], SO_RUN_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(run_id));
	ScanKeyInit(&keys[1], SO_STEP, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(step));
	ScanKeyInit(&keys[2], SO_ATTEMPT, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(attempt));
}

/* Write the end of a run, and of the package step that started it. */
void
wf_history_end_run(const WfRun *run, const WfRunOutcome *outcome,
				   int64 transaction_id, bool parent_stops)
{
	WfStepOutcome step = {0};

	wf_history_insert_run_outcome(outcome);
	if (run->parent_run_id == 0)
		return;
	step.run_id = run->parent_run_id;
	step.step = run->parent_step;
	step.attempt = run->parent_attempt;
	step.started_at = wf_history_requested_at(run);
	step.finished_at = outcome->finished_at;
	step.transaction_id = transaction_id;
	step.rows = -1;
	step.child_run_id = run->run_id;
	step.status = wf_history_step_status(outcome->status, parent_stops);
	step.sqlstate = outcome->sqlstate;
	step.message = outcome->message;
	if (outcome->status == WF_RUN_CANCELLED)
	{
		step.sqlstate = ERRCODE_QUERY_CANCELED;
		step.message = wf_history_cancelled_message(outcome->stopped_by,
													outcome->stop_reason);
	}
	wf_history_insert_step_outcome(&step);
}

/*
 * wf_history_step_status
 *		What the end of a child run means for the package step that started
 *		it (R56): a child that somebody stopped by itself is a failure.
 */
WfStepStatus
wf_history_step_status(WfRunStatus status, bool parent_stops)
{
	switch (status)
	{
		case WF_RUN_SUCCEEDED:
			return WF_STEP_SUCCEEDED;
		case WF_RUN_CANCELLED:
			return parent_stops ? WF_STEP_CANCELLED : WF_STEP_FAILED;
		default:
			return WF_STEP_FAILED;
	}
}

/* Nobody stops a child run but the time-out of its step, which is the reason. */
const char *
wf_history_cancelled_message(Oid stopped_by, const char *stop_reason)
{
	return OidIsValid(stopped_by) || stop_reason == NULL ?
		WF_CHILD_CANCELLED : stop_reason;
}

/* Note that an attempt has begun. */
void
wf_history_insert_step_start(int64 run_id, int32 step, int32 attempt,
							 TimestampTz started_at, bool committed)
{
	Datum		values[SS_NCOLUMNS];
	bool		nulls[SS_NCOLUMNS] = {0};

	values[SS_RUN_ID - 1] = Int64GetDatum(run_id);
	values[SS_STEP - 1] = Int32GetDatum(step);
	values[SS_ATTEMPT - 1] = Int32GetDatum(attempt);
	values[SS_STARTED_AT - 1] = TimestampTzGetDatum(started_at);
	values[SS_COMMITTED - 1] = BoolGetDatum(committed);
	insert_row(WF_TABLE_STEP_START, values, nulls);
}

/* Begin a scan for the rows of a run, by the table's index. */
static SysScanDesc
begin_scan_by_run(Relation rel, WfTable table, int64 run_id)
{
	ScanKeyData key;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(run_id));
	return systable_beginscan(rel, wf_catalog_indexid(table), true, NULL,
							  1, &key);
}

/* The run with this number. */
bool
wf_history_read_run(int64 run_id, WfRun *run)
{
	Relation	rel = table_open(wf_catalog_relid(WF_TABLE_RUN),
								 AccessShareLock);
	SysScanDesc scan = begin_scan_by_run(rel, WF_TABLE_RUN, run_id);
	HeapTuple	tuple = systable_getnext(scan);
	bool		found = HeapTupleIsValid(tuple);

	if (found)
		wf_history_deform_run(tuple, RelationGetDescr(rel), run);
	systable_endscan(scan);
	table_close(rel, NoLock);
	return found;
}

/* See history.h. */
void
wf_history_deform_run(HeapTuple tuple, TupleDesc desc, WfRun *run)
{
	Datum		values[RUN_NCOLUMNS];
	bool		nulls[RUN_NCOLUMNS];

	heap_deform_tuple(tuple, desc, values, nulls);
	memset(run, 0, sizeof(WfRun));
	run->run_id = DatumGetInt64(values[RUN_ID - 1]);
	run->requested_at = DatumGetTimestampTz(values[RUN_REQUESTED_AT - 1]);
	run->package_id = DatumGetInt64(values[RUN_PACKAGE_ID - 1]);
	run->version = DatumGetInt32(values[RUN_VERSION - 1]);
	run->owner = DatumGetObjectId(values[RUN_OWNER - 1]);
	run->requested_by = DatumGetObjectId(values[RUN_REQUESTED_BY - 1]);
	run->priority = DatumGetInt32(values[RUN_PRIORITY - 1]);
	run->root_run_id = run->run_id;
	if (!nulls[RUN_PARENT_RUN_ID - 1])
	{
		run->parent_run_id = DatumGetInt64(values[RUN_PARENT_RUN_ID - 1]);
		run->root_run_id = DatumGetInt64(values[RUN_ROOT_RUN_ID - 1]);
		run->parent_step = DatumGetInt32(values[RUN_PARENT_STEP - 1]);
		run->parent_attempt = DatumGetInt32(values[RUN_PARENT_ATTEMPT - 1]);
	}
	if (!nulls[RUN_START_AT - 1])
		run->start_at = DatumGetTimestampTz(values[RUN_START_AT - 1]);
	if (!nulls[RUN_VARIABLES - 1])
		run->variables = DatumGetJsonbPCopy(values[RUN_VARIABLES - 1]);
	run->request_key = get_text(values, nulls, RUN_REQUEST_KEY);
	if (!nulls[RUN_RESTART_OF - 1])
		run->restart_of = DatumGetInt64(values[RUN_RESTART_OF - 1]);
	run->attempt = nulls[RUN_ATTEMPT - 1] ? 1 :
		DatumGetInt32(values[RUN_ATTEMPT - 1]);
}

/* The outcome of a run, and the transaction that wrote it. */
bool
wf_history_read_run_outcome(int64 run_id, WfRunOutcome *outcome,
							TransactionId *xid)
{
	Relation	rel = table_open(wf_catalog_relid(WF_TABLE_RUN_OUTCOME),
								 AccessShareLock);
	SysScanDesc scan = begin_scan_by_run(rel, WF_TABLE_RUN_OUTCOME, run_id);
	HeapTuple	tuple = systable_getnext(scan);
	bool		found = HeapTupleIsValid(tuple);

	if (found)
	{
		Datum		values[RO_NCOLUMNS];
		bool		nulls[RO_NCOLUMNS];

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		memset(outcome, 0, sizeof(WfRunOutcome));
		outcome->run_id = run_id;
		outcome->status = DatumGetChar(values[RO_STATUS - 1]);
		outcome->failed_steps = DatumGetInt32(values[RO_FAILED_STEPS - 1]);
		outcome->finished_at =
			DatumGetTimestampTz(values[RO_FINISHED_AT - 1]);
		if (!nulls[RO_STARTED_AT - 1])
			outcome->started_at =
				DatumGetTimestampTz(values[RO_STARTED_AT - 1]);
		outcome->error_path = get_text(values, nulls, RO_ERROR_PATH);
		outcome->message = get_text(values, nulls, RO_MESSAGE);
		if (!nulls[RO_SQLSTATE - 1])
		{
			const char *s = get_text(values, nulls, RO_SQLSTATE);

			outcome->sqlstate = MAKE_SQLSTATE(s[0], s[1], s[2], s[3], s[4]);
		}
		*xid = HeapTupleHeaderGetXmin(tuple->t_data);
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
	return found;
}

/* True if the run has an outcome. */
bool
wf_history_run_ended(int64 run_id)
{
	Relation	rel = table_open(wf_catalog_relid(WF_TABLE_RUN_OUTCOME),
								 AccessShareLock);
	SysScanDesc scan = begin_scan_by_run(rel, WF_TABLE_RUN_OUTCOME, run_id);
	bool		found = HeapTupleIsValid(systable_getnext(scan));

	systable_endscan(scan);
	table_close(rel, NoLock);
	return found;
}

/* What is on record of the steps of a run. */
WfRecord *
wf_history_read_record(int64 run_id)
{
	Relation	rel = table_open(wf_catalog_relid(WF_TABLE_STEP_OUTCOME),
								 AccessShareLock);
	Relation	index = index_open(wf_catalog_indexid(WF_TABLE_STEP_OUTCOME),
								   AccessShareLock);
	WfRecord   *record = palloc0(sizeof(WfRecord));
	int			size = 16;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	record->outcomes = palloc(size * sizeof(WfStepOutcome));
	ScanKeyInit(&key, SO_RUN_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(run_id));
	scan = systable_beginscan_ordered(rel, index, NULL, 1, &key);
	while (HeapTupleIsValid(tuple =
							systable_getnext_ordered(scan,
													 ForwardScanDirection)))
	{
		if (record->n == size)
		{
			size *= 2;
			record->outcomes = repalloc_huge(record->outcomes,
											 size * sizeof(WfStepOutcome));
		}
		deform_step_outcome(tuple, RelationGetDescr(rel),
							&record->outcomes[record->n++]);
	}
	systable_endscan_ordered(scan);
	index_close(index, NoLock);
	table_close(rel, NoLock);
	return record;
}

/* See history.h. */
bool
wf_history_record_has_begun(const WfRecord *record)
{
	int			i;

	for (i = 0; i < record->n; i++)
	{
		if (record->outcomes[i].reason != WF_REASON_RESTART)
			return true;
	}
	return false;
}

/* When this run itself began with its steps. */
TimestampTz
wf_history_record_began(const WfRecord *record)
{
	TimestampTz began = 0;
	int			i;

	for (i = 0; record != NULL && i < record->n; i++)
	{
		const WfStepOutcome *outcome = &record->outcomes[i];

		if (outcome->reason != WF_REASON_RESTART &&
			outcome->started_at != 0 &&
			(began == 0 || outcome->started_at < began))
			began = outcome->started_at;
	}
	return began;
}

/* The newest outcome of a step. */
bool
wf_history_read_step_outcome(int64 run_id, int32 step,
							 WfStepOutcome *outcome)
{
	Relation	rel = table_open(wf_catalog_relid(WF_TABLE_STEP_OUTCOME),
								 AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	ScanKeyInit(&keys[0], SO_RUN_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(run_id));
	ScanKeyInit(&keys[1], SO_STEP, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(step));
	scan = systable_beginscan(rel, wf_catalog_indexid(WF_TABLE_STEP_OUTCOME),
							  true, NULL, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		deform_step_outcome(tuple, RelationGetDescr(rel), outcome);
		found = true;
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
	return found;
}

static int
compare_attempts(const void *a, const void *b)
{
	const WfStepOutcome *x = a;
	const WfStepOutcome *y = b;

	if (x->step != y->step)
		return x->step < y->step ? -1 : 1;
	return x->attempt < y->attempt ? -1 : x->attempt > y->attempt;
}

/* The outcome of an attempt, if it is on record. */
const WfStepOutcome *
wf_history_find_outcome(const WfRecord *record, int32 step, int32 attempt)
{
	WfStepOutcome key = {.step = step, .attempt = attempt};

	if (record == NULL || record->n == 0)
		return NULL;
	return bsearch(&key, record->outcomes, record->n, sizeof(WfStepOutcome),
				   compare_attempts);
}

/* What a driver needs to answer a machine from the record. */
static void
deform_step_outcome(HeapTuple tuple, TupleDesc desc, WfStepOutcome *outcome)
{
	Datum		values[SO_NCOLUMNS];
	bool		nulls[SO_NCOLUMNS];

	heap_deform_tuple(tuple, desc, values, nulls);
	memset(outcome, 0, sizeof(WfStepOutcome));
	outcome->run_id = DatumGetInt64(values[SO_RUN_ID - 1]);
	outcome->step = DatumGetInt32(values[SO_STEP - 1]);
	outcome->attempt = DatumGetInt32(values[SO_ATTEMPT - 1]);
	outcome->status = DatumGetChar(values[SO_STATUS - 1]);
	if (!nulls[SO_REASON - 1])
		outcome->reason = DatumGetChar(values[SO_REASON - 1]);
	if (!nulls[SO_STARTED_AT - 1])
		outcome->started_at = DatumGetTimestampTz(values[SO_STARTED_AT - 1]);
	if (!nulls[SO_FINISHED_AT - 1])
		outcome->finished_at =
			DatumGetTimestampTz(values[SO_FINISHED_AT - 1]);
	outcome->message = get_text(values, nulls, SO_MESSAGE);
	if (!nulls[SO_TRANSACTION_ID - 1])
		outcome->transaction_id =
			DatumGetInt64(values[SO_TRANSACTION_ID - 1]);
	if (!nulls[SO_VARIABLES - 1])
		outcome->variables = DatumGetJsonbPCopy(values[SO_VARIABLES - 1]);
	if (!nulls[SO_CHILD_RUN_ID - 1])
		outcome->child_run_id = DatumGetInt64(values[SO_CHILD_RUN_ID - 1]);
	if (!nulls[SO_SQLSTATE - 1])
	{
		const char *s = get_text(values, nulls, SO_SQLSTATE);

		outcome->sqlstate = MAKE_SQLSTATE(s[0], s[1], s[2], s[3], s[4]);
	}
}

/* True if it was noted that the attempt has begun. */
bool
wf_history_step_started(int64 run_id, int32 step, int32 attempt,
						TimestampTz *started_at)
{
	Relation	rel = table_open(wf_catalog_relid(WF_TABLE_STEP_START),
								 AccessShareLock);
	ScanKeyData keys[3];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found;
	bool		isnull;

	init_attempt_keys(keys, run_id, step, attempt);
	scan = systable_beginscan(rel, wf_catalog_indexid(WF_TABLE_STEP_START),
							  true, NULL, 3, keys);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
		*started_at =
			DatumGetTimestampTz(heap_getattr(tuple, SS_STARTED_AT,
											 RelationGetDescr(rel), &isnull));
	systable_endscan(scan);
	table_close(rel, NoLock);
	return found;
}

/* True if it was noted that the run, or an attempt of it, has begun. */
bool
wf_history_any_started(int64 run_id)
{
	Relation	rel = table_open(wf_catalog_relid(WF_TABLE_STEP_START),
								 AccessShareLock);
	SysScanDesc scan = begin_scan_by_run(rel, WF_TABLE_STEP_START, run_id);
	bool		found = HeapTupleIsValid(systable_getnext(scan));

	systable_endscan(scan);
	table_close(rel, NoLock);
	return found;
}

/* Where the search for open runs begins, and which runs before it are open. */
static int64
read_horizon(Snapshot snapshot, int64 **still_open, int *nopen)
{
	Relation	rel = table_open(wf_catalog_relid(WF_TABLE_HORIZON),
								 AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot,
										  0, NULL);
	HeapTuple	tuple = systable_getnext(scan);
	Datum		values[HZ_NCOLUMNS];
	bool		nulls[HZ_NCOLUMNS];
	Datum	   *elements;
	int			i;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "table \"%s.horizon\" is empty", WF_SCHEMA);
	heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
	deconstruct_array(DatumGetArrayTypeP(values[HZ_STILL_OPEN - 1]), INT8OID,
					  sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &elements, NULL, nopen);
	*still_open = palloc(sizeof(int64) * Max(*nopen, 1));
	for (i = 0; i < *nopen; i++)
		(*still_open)[i] = DatumGetInt64(elements[i]);
	systable_endscan(scan);
	table_close(rel, NoLock);
	return DatumGetInt64(values[HZ_RUN_ID - 1]);
}

/* See history.h. */
int64
wf_history_horizon(Snapshot snapshot)
{
	int64	   *still_open;
	int			nopen;

	return read_horizon(snapshot, &still_open, &nopen);
}

/* Call back for each run without outcome. */
void
wf_history_scan_open(WfOpenRunCallback callback, void *arg, int64 *last)
{
	Relation	rel = table_open(wf_catalog_relid(WF_TABLE_RUN),
								 AccessShareLock);
	Relation	index = index_open(wf_catalog_indexid(WF_TABLE_RUN),
								   AccessShareLock);
	int64	   *still_open;
	int			nopen;
	int64		horizon = read_horizon(NULL, &still_open, &nopen);
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	int			i;

	*last = horizon - 1;
	for (i = 0; i < nopen; i++)
	{
		scan = begin_scan_by_run(rel, WF_TABLE_RUN, still_open[i]);
		tuple = systable_getnext(scan);
		if (HeapTupleIsValid(tuple))
			visit_open_run(rel, tuple, callback, arg);
		systable_endscan(scan);
	}
	ScanKeyInit(&key, RUN_ID, BTGreaterEqualStrategyNumber, F_INT8GE,
				Int64GetDatum(horizon));
	scan = systable_beginscan_ordered(rel, index, NULL, 1, &key);
	while (HeapTupleIsValid(tuple =
							systable_getnext_ordered(scan,
													 ForwardScanDirection)))
	{
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		*last = DatumGetInt64(heap_getattr(tuple, RUN_ID,
										   RelationGetDescr(rel), &isnull));
		visit_open_run(rel, tuple, callback, arg);
	}
	systable_endscan_ordered(scan);
	index_close(index, NoLock);
	table_close(rel, NoLock);
}

static void
visit_open_run(Relation rel, HeapTuple tuple, WfOpenRunCallback callback,
			   void *arg)
{
	WfRun		run;

	wf_history_deform_run(tuple, RelationGetDescr(rel), &run);
	if (!wf_history_run_ended(run.run_id))
		callback(&run, arg);
	if (run.variables != NULL)
		pfree(run.variables);
}

/* Move the horizon. */
void
wf_history_move_horizon(int64 run_id, const int64 *still_open, int n)
{
	Relation	rel = table_open(wf_catalog_relid(WF_TABLE_HORIZON),
								 RowExclusiveLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL,
										  0, NULL);
	HeapTuple	tuple = systable_getnext(scan);
	Datum	   *elements = palloc(sizeof(Datum) * Max(n, 1));
	Datum		values[HZ_NCOLUMNS];
	bool		nulls[HZ_NCOLUMNS] = {0};
	bool		replace[HZ_NCOLUMNS] = {true, true};
	int			i;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "table \"%s.horizon\" is empty", WF_SCHEMA);
	for (i = 0; i < n; i++)
		elements[i] = Int64GetDatum(still_open[i]);
	values[HZ_RUN_ID - 1] = Int64GetDatum(run_id);
	values[HZ_STILL_OPEN - 1] =
		PointerGetDatum(construct_array(elements, n, INT8OID, sizeof(int64),
										FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	tuple = heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls,
							  replace);
	CatalogTupleUpdate(rel, &tuple->t_self, tuple);
	systable_endscan(scan);
	table_close(rel, NoLock);
}
