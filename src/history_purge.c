/*-------------------------------------------------------------------------
 *
 * history_purge.c
 *	  The record of runs: look through it, and delete runs from it.
 *
 * All that is on record of a run has the run's number as the first column of
 * a table and of its index, so one loop deletes it; but for the request key,
 * which is found by the package and the key.
 *
 * Nobody else ever changes a row here, so who holds the lock meets no
 * concurrent update.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "catalog.h"
#include "history.h"

/* Tables with rows of a run; the run itself last. */
static const WfTable tables_of_run[] = {
	WF_TABLE_STEP_START,
	WF_TABLE_STEP_OUTCOME,
	WF_TABLE_TRANSACTION_OUTCOME,
	WF_TABLE_RUN_COMMAND,
	WF_TABLE_RUN_RESTART,
	WF_TABLE_RUN_OUTCOME,
	WF_TABLE_RUN
};

static void delete_rows(WfTable table, int64 run_id);
static void delete_request_key(const WfRun *run);

/* See history.h. */
void
wf_history_lock(int lockmode)
{
	LockDatabaseObject(wf_catalog_relid(WF_TABLE_RUN_OUTCOME), 0, 0,
					   lockmode);
}

/* Call back for each run. */
void
wf_history_scan_runs(int64 from, bool backward, WfRunCallback callback,
					 void *arg)
{
	Relation	rel = table_open(wf_catalog_relid(WF_TABLE_RUN),
								 AccessShareLock);
	Relation	index = index_open(wf_catalog_indexid(WF_TABLE_RUN),
								   AccessShareLock);
	ScanDirection direction = backward ? BackwardScanDirection :
	ForwardScanDirection;
	MemoryContext row = AllocSetContextCreate(CurrentMemoryContext,
											  "workflow row",
											  ALLOCSET_DEFAULT_SIZES);
	bool		goes_on = true;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;

	ScanKeyInit(&key, 1, BTGreaterEqualStrategyNumber, F_INT8GE,
				Int64GetDatum(from));
	scan = systable_beginscan_ordered(rel, index, NULL, 1, &key);
	while (goes_on &&
		   HeapTupleIsValid(tuple = systable_getnext_ordered(scan,
															 direction)))
	{
		MemoryContext old = MemoryContextSwitchTo(row);
		WfRun		run;

		CHECK_FOR_INTERRUPTS();
		wf_history_deform_run(tuple, RelationGetDescr(rel), &run);
		goes_on = callback(&run, arg);
		MemoryContextSwitchTo(old);
		MemoryContextReset(row);
	}
	MemoryContextDelete(row);
	systable_endscan_ordered(scan);
	index_close(index, NoLock);
	table_close(rel, NoLock);
}

/* Delete a run with all that is on record of it. */
void
wf_history_delete_run(const WfRun *run)
{
	int			i;

	for (i = 0; i < (int) lengthof(tables_of_run); i++)
		delete_rows(tables_of_run[i], run->run_id);
	if (run->request_key != NULL)
		delete_request_key(run);
}

/* Delete the rows of a run from a table. */
static void
delete_rows(WfTable table, int64 run_id)
{
	Relation	rel = table_open(wf_catalog_relid(table), RowExclusiveLock);
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(run_id));
	scan = systable_beginscan(rel, wf_catalog_indexid(table), true, NULL, 1,
							  &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		CatalogTupleDelete(rel, &tuple->t_self);
	systable_endscan(scan);
	table_close(rel, NoLock);
}

/* Delete the key that a run was requested under. */
static void
delete_request_key(const WfRun *run)
{
	Relation	rel = table_open(wf_catalog_relid(WF_TABLE_REQUEST_KEY),
								 RowExclusiveLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		isnull;

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(run->package_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(run->request_key));
	keys[1].sk_collation = C_COLLATION_OID;
	scan = systable_beginscan(rel, wf_catalog_indexid(WF_TABLE_REQUEST_KEY),
							  true, NULL, 2, keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple) &&
		DatumGetInt64(heap_getattr(tuple, 3, RelationGetDescr(rel),
								   &isnull)) == run->run_id)
		CatalogTupleDelete(rel, &tuple->t_self);
	systable_endscan(scan);
	table_close(rel, NoLock);
}
