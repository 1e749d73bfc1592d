/*-------------------------------------------------------------------------
 *
 * history_transaction.c
 *	  The record of package transactions.
 *
 * A row of transaction_outcome that says committed was committed by the
 * transaction itself, in each of its branches: whoever finds it knows that
 * all of the transaction's work is there.  One that says rolled back is
 * written afterwards; without it the transaction's work is gone just as well.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "commands/sequence.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "history.h"

#define STATUS_COMMITTED	'c'
#define STATUS_ROLLED_BACK	'r'

/* Columns of workflow.transaction_outcome. */
enum
{
	TO_RUN_ID = 1,
	TO_NUMBER,
	TO_TRANSACTION_ID,
	TO_STARTED_AT,
	TO_FINISHED_AT,
	TO_STEPS,
	TO_STATUS,
	TO_ISOLATION,
	TO_SQLSTATE,
	TO_MESSAGE,
	TO_NCOLUMNS = TO_MESSAGE
};

/*
 * Number of the next package transaction: rises, gaps are normal.  It may be
 * drawn in a transaction that is meant for a step, of a role whose transactions
 * are read-only; if that ERRORs, it is over as well.
 */
int64
wf_history_next_transaction_id(void)
{
	bool		read_only = XactReadOnly;
	int64		id;

	XactReadOnly = false;
	id = nextval_internal(wf_catalog_transaction_sequence(), false);
	XactReadOnly = read_only;
	return id;
}

/* Record the end of a package transaction. */
void
wf_history_insert_transaction(const WfTransactionOutcome *outcome)
{
	Datum		values[TO_NCOLUMNS] = {0};
	bool		nulls[TO_NCOLUMNS] = {0};
	Relation	rel;

	values[TO_RUN_ID - 1] = Int64GetDatum(outcome->run_id);
	values[TO_NUMBER - 1] = Int32GetDatum(outcome->number);
	values[TO_TRANSACTION_ID - 1] = Int64GetDatum(outcome->transaction_id);
	values[TO_STARTED_AT - 1] = TimestampTzGetDatum(outcome->started_at);
	values[TO_FINISHED_AT - 1] = TimestampTzGetDatum(outcome->finished_at);
	values[TO_STEPS - 1] = Int32GetDatum(outcome->steps);
	values[TO_STATUS - 1] = CharGetDatum(outcome->committed ?
										 STATUS_COMMITTED : STATUS_ROLLED_BACK);
	values[TO_ISOLATION - 1] = CharGetDatum((char) outcome->isolation);
	nulls[TO_SQLSTATE - 1] = (outcome->sqlstate == 0);
	if (outcome->sqlstate != 0)
		values[TO_SQLSTATE - 1] =
			CStringGetTextDatum(unpack_sql_state(outcome->sqlstate));
	nulls[TO_MESSAGE - 1] = (outcome->message == NULL);
	if (outcome->message != NULL)
		values[TO_MESSAGE - 1] = CStringGetTextDatum(outcome->message);

	rel = table_open(wf_catalog_relid(WF_TABLE_TRANSACTION_OUTCOME),
					 RowExclusiveLock);
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values,
											nulls));
	table_close(rel, NoLock);
}

/* See history.h; the texts of the error are not read. */
bool
wf_history_read_transaction(int64 run_id, int32 number,
							WfTransactionOutcome *outcome)
{
	Relation	rel =
	table_open(wf_catalog_relid(WF_TABLE_TRANSACTION_OUTCOME),
			   AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], TO_RUN_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(run_id));
	ScanKeyInit(&keys[1], TO_NUMBER, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(number));
	scan = systable_beginscan(rel,
							  wf_catalog_indexid(WF_TABLE_TRANSACTION_OUTCOME),
							  true, NULL, 2, keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		Datum		values[TO_NCOLUMNS];
		bool		nulls[TO_NCOLUMNS];

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		memset(outcome, 0, sizeof(WfTransactionOutcome));
		outcome->run_id = run_id;
		outcome->number = number;
		outcome->steps = DatumGetInt32(values[TO_STEPS - 1]);
		outcome->transaction_id =
			DatumGetInt64(values[TO_TRANSACTION_ID - 1]);
		outcome->started_at = DatumGetTimestampTz(values[TO_STARTED_AT - 1]);
		outcome->finished_at =
			DatumGetTimestampTz(values[TO_FINISHED_AT - 1]);
		outcome->committed =
			DatumGetChar(values[TO_STATUS - 1]) == STATUS_COMMITTED;
		outcome->isolation = DatumGetChar(values[TO_ISOLATION - 1]);
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
	return HeapTupleIsValid(tuple);
}

/* See history.h. */
bool
wf_history_transaction_committed(int64 transaction_id)
{
	Relation	rel =
	table_open(wf_catalog_relid(WF_TABLE_TRANSACTION_OUTCOME),
			   AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		committed = false;

	ScanKeyInit(&key, TO_TRANSACTION_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(transaction_id));
	scan = systable_beginscan(rel, wf_catalog_transaction_key(), true, NULL,
							  1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;

		committed = DatumGetChar(heap_getattr(tuple, TO_STATUS,
											  RelationGetDescr(rel),
											  &isnull)) == STATUS_COMMITTED;
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
	return committed;
}
