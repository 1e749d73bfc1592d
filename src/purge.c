/*-------------------------------------------------------------------------
 *
 * purge.c
 *	  Delete runs that ended long ago, and versions that no run refers to.
 *
 * What goes.  The unit is the tree: a root run that ended before the time
 * given, with all its child runs, whatever packages those are of, and with
 * all rows that history has of them, request keys included.  A tree stays as
 * a whole if it has an open run, or if an open run has taken over from one of
 * its runs (restart_of), directly or along a chain of restarts: that run may
 * still have to read what was done before it.  The open runs are those that
 * the horizon tells of.  The horizon itself is about open runs only, and none
 * is deleted, so it stays as it is.
 *
 * How.  One pass over the table of runs in the order of their numbers, which
 * is about that of their age.  The pass is cut into batches, so that the
 * memory needed does not grow with history: a batch is found first, then
 * deleted.  A child run has a higher number than its root, so when it is come
 * across its root is either there, and says what is to be done with the tree,
 * or was deleted in an earlier batch, and the child follows it.  That also
 * completes a pass that was cut off between two transactions.
 *
 * Who deletes holds a lock against others who delete, and against
 * transactions that make a run which refers to an ended one.  Nobody else is
 * kept waiting: runs start, execute and end meanwhile.  Who waits for a run
 * that is deleted is told that it does not exist.
 *
 * Rights.  The owner of the root's package may delete (the run's role, if the
 * package was dropped), by membership too; so superusers may delete all.
 *
 * Versions.  A version that is not the current one can only get a new run by
 * a restart of a run that refers to it: every start of it had committed when
 * the next version was made (the package's lock).  So if no run in the table
 * refers to it, none ever will; the lock is needed against others who delete
 * it.
 * The current version stays frozen when its last run goes: plans of it are
 * cached.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lockdefs.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "purge.h"
#include "rights.h"

/* Runs of a batch. */
#define BATCH_SIZE		1000

/* Runs looked at for a batch: who waits for the lock meanwhile does not wait
 * long, however few of them go. */
#define BATCH_LOOKS		10000

PG_FUNCTION_INFO_V1(wf_purge_history);

/* The search for runs that refer to some versions. */
typedef struct References
{
	List	   *versions;		/* WfVersion: no run of them found yet */
	int64		runs_left;		/* to look at */
} References;

static TimestampTz time_before(const Interval *older_than);
static void note_needed(const WfRun *run, void *arg);
static bool consider(const WfRun *run, void *arg);
static void note_young(WfPurge *purge, TimestampTz ended_at,
					   TimestampTz before);
static bool goes(WfPurge *purge, const WfRun *run);
static bool root_goes(WfPurge *purge, const WfRun *root);
static bool may_delete(const WfPurge *purge, const WfRun *root);
static bool drop_reference(const WfRun *run, void *arg);

/*
 * workflow.purge_history(older_than interval, package text) returns bigint
 *		Delete the runs that ended longer ago, those of one package or all
 *		that the caller may delete; returns their number, with child runs.
 *
 * Errors: 22004 no interval, 22023 a negative one, 42704 unknown package,
 * 42501 not its owner, 25006 on a standby or in a read-only transaction.
 */
Datum
wf_purge_history(PG_FUNCTION_ARGS)
{
	WfPurge		purge = {.role = GetUserId()};
	int64		count = 0;

	PreventCommandIfReadOnly("workflow.purge_history()");
	PreventCommandDuringRecovery("workflow.purge_history()");
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("older_than must not be null")));
	purge.before = time_before(PG_GETARG_INTERVAL_P(0));
	if (!PG_ARGISNULL(1))
	{
		WfPackageRow package;
		char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(1));

		if (!wf_catalog_find_package(name, &package))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("package \"%s\" does not exist", name)));
		wf_rights_check_owner(&package);
		purge.package_id = package.package_id;
	}
	wf_purge_begin(&purge);
	while (wf_purge_batch(&purge, &count))
		;
	wf_purge_end(&purge);
	wf_purge_versions(purge.package_id, 0);
	PG_RETURN_INT64(count);
}

/* The time that is so long ago. */
static TimestampTz
time_before(const Interval *older_than)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz before;

	before = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval,
													 TimestampTzGetDatum(now),
													 IntervalPGetDatum(older_than)));
	if (before > now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("older_than must not be negative")));
	return before;
}

/* Begin, or go on in another transaction. */
void
wf_purge_begin(WfPurge *purge)
{
	HASHCTL		control = {0};
	int64		last;

	wf_history_lock(AccessExclusiveLock);
	purge->context = AllocSetContextCreate(CurrentMemoryContext,
										   "workflow purge",
										   ALLOCSET_DEFAULT_SIZES);
	control.keysize = sizeof(int64);
	control.entrysize = sizeof(int64);
	control.hcxt = CurrentMemoryContext;
	purge->needed = hash_create("workflow runs needed", 64, &control,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	purge->root = 0;
	wf_history_scan_open(note_needed, purge->needed, &last);
}

/* An open run needs its tree, and the trees that it has taken over from. */
static void
note_needed(const WfRun *run, void *arg)
{
	HTAB	   *needed = arg;
	int64		restart_of = run->restart_of;
	WfRun		before;

	hash_search(needed, &run->root_run_id, HASH_ENTER, NULL);
	while (restart_of != 0 && wf_history_read_run(restart_of, &before))
	{
		CHECK_FOR_INTERRUPTS();
		hash_search(needed, &before.root_run_id, HASH_ENTER, NULL);
		restart_of = before.restart_of;
	}
}

/* Delete the next batch.  False if there is none after it. */
bool
wf_purge_batch(WfPurge *purge, int64 *count)
{
	MemoryContext old;
	int			i;

	MemoryContextReset(purge->context);
	old = MemoryContextSwitchTo(purge->context);
	purge->batch = palloc(BATCH_SIZE * sizeof(WfRun));
	purge->n = purge->nlooked = 0;
	purge->ended = true;		/* unless we stop before */
	wf_history_scan_runs(purge->position, false, consider, purge);
	for (i = 0; i < purge->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		wf_history_delete_run(&purge->batch[i]);
	}
	CommandCounterIncrement();	/* the next batch finds the roots gone */
	MemoryContextSwitchTo(old);
	*count += purge->n;
	return !purge->ended;
}

/* Forget what the pass has needed. */
void
wf_purge_end(WfPurge *purge)
{
	hash_destroy(purge->needed);
	MemoryContextDelete(purge->context);
}

/* Put a run into the batch if it is to go. */
static bool
consider(const WfRun *run, void *arg)
{
	WfPurge    *purge = arg;

	if (purge->before_of != NULL && run->parent_run_id == 0 &&
		run->requested_at >= purge->before)
	{
		note_young(purge, run->requested_at, purge->before);
		return false;
	}
	purge->position = run->run_id + 1;
	if (goes(purge, run))
	{
		WfRun	   *kept = &purge->batch[purge->n++];

		*kept = *run;
		if (run->request_key != NULL)
			kept->request_key = MemoryContextStrdup(purge->context,
													run->request_key);
	}
	purge->ended = ++purge->nlooked < BATCH_LOOKS && purge->n < BATCH_SIZE;
	return purge->ended;
}

/* A run is too young: when will it not be? */
static void
note_young(WfPurge *purge, TimestampTz ended_at, TimestampTz before)
{
	int64		left;

	if (TIMESTAMP_IS_NOBEGIN(before))
		return;					/* never */
	left = ended_at - before;
	if (purge->soonest < 0 || left < purge->soonest)
		purge->soonest = left;
}

/* True if the tree that a run belongs to is to go. */
static bool
goes(WfPurge *purge, const WfRun *run)
{
	WfRun		root = *run;

	if (run->root_run_id == purge->root)
		return purge->root_goes;
	if (run->parent_run_id != 0 &&
		!wf_history_read_run(run->root_run_id, &root))
		return true;			/* it has gone */
	purge->root_goes = root_goes(purge, &root);
	purge->root = run->root_run_id;
	return purge->root_goes;
}

static bool
root_goes(WfPurge *purge, const WfRun *root)
{
	TimestampTz before = purge->before_of == NULL ? purge->before :
	purge->before_of(root->package_id);
	WfRunOutcome outcome;
	TransactionId xid;

	if (root->requested_at >= before)
		outcome.finished_at = root->requested_at;	/* or later */
	else if (!wf_history_read_run_outcome(root->run_id, &outcome, &xid))
		return false;
	if (outcome.finished_at >= before)
	{
		note_young(purge, outcome.finished_at, before);
		return false;
	}
	return (purge->package_id == 0 ||
			purge->package_id == root->package_id) &&
		hash_search(purge->needed, &root->run_id, HASH_FIND, NULL) == NULL &&
		may_delete(purge, root);
}

static bool
may_delete(const WfPurge *purge, const WfRun *root)
{
	WfPackageRow package;

	if (!OidIsValid(purge->role) || superuser_arg(purge->role))
		return true;
	return has_privs_of_role(purge->role,
							 wf_catalog_find_package_by_id(root->package_id,
														   &package) ?
							 package.owner : root->owner);
}

/* See purge.h. */
void
wf_purge_versions(int64 package_id, int64 max_runs)
{
	References	references = {
		.versions = wf_catalog_list_old_versions(package_id),
		.runs_left = max_runs
	};
	ListCell   *lc;

	if (references.versions == NIL)
		return;
	wf_history_scan_runs(0, max_runs > 0, drop_reference, &references);
	if (max_runs > 0 && references.runs_left == 0)
		return;					/* there may be older ones */
	foreach(lc, references.versions)
	{
		WfVersion  *version = lfirst(lc);

		if (wf_catalog_try_lock_package_to_edit(version->package_id))
			wf_catalog_delete_version(version);
	}
}

/* A run refers to a version: it stays. */
static bool
drop_reference(const WfRun *run, void *arg)
{
	References *references = arg;
	ListCell   *lc;

	foreach(lc, references->versions)
	{
		WfVersion  *version = lfirst(lc);

		if (version->package_id == run->package_id &&
			version->version == run->version)
			references->versions = foreach_delete_current(references->versions,
														  lc);
	}
	return references->versions != NIL && --references->runs_left != 0;
}
