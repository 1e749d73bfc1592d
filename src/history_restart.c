/*-------------------------------------------------------------------------
 *
 * history_restart.c
 *	  That runs were restarted, and as which runs.
 *
 * The row is written in the transaction that makes the later run: that of
 * restart_job(), or the one that ends the earlier run if the package is to be
 * tried again.  Its key is the earlier run, so a run is restarted once.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "catalog.h"
#include "history.h"

/* Columns of workflow.run_restart. */
enum
{
	RR_RUN_ID = 1,
	RR_RESTARTED_AS,
	RR_AUTOMATIC,
	RR_USE_CURRENT_VERSION,
	RR_FROM_STEP,
	RR_NCOLUMNS = RR_FROM_STEP
};

/* Record that a run was restarted: once, since run_id is unique. */
void
wf_history_insert_restart(const WfRestart *restart)
{
	Datum		values[RR_NCOLUMNS];
	bool		nulls[RR_NCOLUMNS] = {0};
	Relation	rel = table_open(wf_catalog_relid(WF_TABLE_RUN_RESTART),
								 RowExclusiveLock);

	values[RR_RUN_ID - 1] = Int64GetDatum(restart->run_id);
	values[RR_RESTARTED_AS - 1] = Int64GetDatum(restart->restarted_as);
	values[RR_AUTOMATIC - 1] = BoolGetDatum(restart->automatic);
	values[RR_USE_CURRENT_VERSION - 1] =
		BoolGetDatum(restart->use_current_version);
	nulls[RR_FROM_STEP - 1] = (restart->from_step == NULL);
	values[RR_FROM_STEP - 1] = restart->from_step == NULL ? (Datum) 0 :
		CStringGetTextDatum(restart->from_step);
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values,
											nulls));
	table_close(rel, NoLock);
}

/* What is on record of the restart of a run. */
bool
wf_history_read_restart(int64 run_id, WfRestart *restart)
{
	Relation	rel = table_open(wf_catalog_relid(WF_TABLE_RUN_RESTART),
								 AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found;

	ScanKeyInit(&key, RR_RUN_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(run_id));
	scan = systable_beginscan(rel, wf_catalog_indexid(WF_TABLE_RUN_RESTART),
							  true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
	{
		Datum		values[RR_NCOLUMNS];
		bool		nulls[RR_NCOLUMNS];

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		restart->run_id = run_id;
		restart->restarted_as = DatumGetInt64(values[RR_RESTARTED_AS - 1]);
		restart->automatic = DatumGetBool(values[RR_AUTOMATIC - 1]);
		restart->use_current_version =
			DatumGetBool(values[RR_USE_CURRENT_VERSION - 1]);
		restart->from_step = nulls[RR_FROM_STEP - 1] ? NULL :
			TextDatumGetCString(values[RR_FROM_STEP - 1]);
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
	return found;
}

/* The next attempt of a run's package. */
int64
wf_history_next_attempt(int64 run_id)
{
	WfRestart	restart;

	return wf_history_read_restart(run_id, &restart) && restart.automatic ?
		restart.restarted_as : 0;
}

/* The last one. */
int64
wf_history_last_attempt(int64 run_id)
{
	int64		next;

	while ((next = wf_history_next_attempt(run_id)) != 0)
		run_id = next;
	return run_id;
}

/* When the first one was requested. */
TimestampTz
wf_history_requested_at(const WfRun *run)
{
	WfRun		earlier = *run;

	while (earlier.attempt > 1 &&
		   wf_history_read_run(earlier.restart_of, &earlier))
		;
	return earlier.requested_at;
}
