/*-------------------------------------------------------------------------
 *
 * wait.c
 *	  Wait for what the scheduler does to a run.
 *
 * Who waits for a run notes its number with its backend in shared memory,
 * then looks into the table, then sleeps on its latch; the scheduler commits
 * an outcome, then reads the notes, then sets latches.  So no end is missed.
 * Reads see the newest committed rows, whatever the caller's snapshot is.
 *
 * A waiter's snapshot would hold up VACUUM, and for ever a step that builds an
 * index concurrently: it waits for the waiter, who waits for it.  So where
 * nothing can use the statement's snapshot any more (SELECT wait_for_job(...)
 * at READ COMMITTED, without open cursors) the backend shows none while it
 * sleeps.
 *
 * What is returned to a waiter is acknowledged: the outcome's transaction is
 * flushed first (steps may commit asynchronously), and synchronous standbys
 * have it, whatever the caller's synchronous_commit is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "executor/execdesc.h"
#include "miscadmin.h"
#include "nodes/plannodes.h"
#include "replication/syncrep.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "wait.h"
#include "wakeup.h"

/* Longest sleep of a waiter: a net below the latch, not the mechanism. */
#define WAIT_NET_MS			60000

static bool wait_until(int64 run_id, long timeout_ms, bool alone,
					   WfWaitTest test, void *arg);
static void show_no_snapshot(void);
static long ms_until(TimestampTz until);
static void note_awaited(int64 run_id);
static void forget_awaited(int code, Datum arg);
static bool has_ended(int64 run_id, void *arg);
static void wait_for_standbys(XLogRecPtr lsn);

/*
 * wf_wait_is_whole_statement
 *		True if the call is all that the client's statement still has to do:
 *		its arguments have been evaluated, and its value is the only column of
 *		the only row.
 */
bool
wf_wait_is_whole_statement(FunctionCallInfo fcinfo)
{
	PlannedStmt *statement;
	Plan	   *plan;

	if (IsolationUsesXactSnapshot() || IsSubTransaction() ||
		ActivePortal == NULL ||
		ActivePortal->strategy != PORTAL_ONE_SELECT ||
		ActivePortal->queryDesc == NULL)
		return false;
	statement = ActivePortal->queryDesc->plannedstmt;
	plan = statement->planTree;
	return statement->commandType == CMD_SELECT && IsA(plan, Result) &&
		plan->lefttree == NULL && list_length(plan->targetlist) == 1 &&
		(Node *) linitial_node(TargetEntry, plan->targetlist)->expr ==
		fcinfo->flinfo->fn_expr;
}

/*
 * show_no_snapshot
 *		Let nobody wait for this backend's snapshot while it sleeps, unless
 *		there is another one than the statement's (a cursor's).  The next
 *		snapshot that is taken shows again.
 */
static void
show_no_snapshot(void)
{
	InvalidateCatalogSnapshot();
	if (ThereAreNoPriorRegisteredSnapshots())
		MyProc->xmin = InvalidTransactionId;
}

/* What wf_wait_for_end() waits for. */
typedef struct End
{
	WfRunOutcome *outcome;
	TransactionId xid;
} End;

/* A run may have ended and been deleted between two looks. */
static bool
has_ended(int64 run_id, void *arg)
{
	End		   *end = arg;

	WfRun		run;

	if (wf_history_read_run_outcome(run_id, end->outcome, &end->xid))
		return true;
	if (!wf_history_read_run(run_id, &run))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("run " INT64_FORMAT " does not exist any more",
						run_id)));
	return false;
}

/* See wait.h. */
bool
wf_wait_for_end(int64 run_id, long timeout_ms, bool alone,
				WfRunOutcome *outcome)
{
	End			end = {.outcome = outcome};

	if (!wait_until(run_id, timeout_ms, alone, has_ended, &end))
		return false;
	wf_wait_acknowledge(end.xid);
	return true;
}

/* See wait.h. */
bool
wf_wait_for(int64 run_id, long timeout_ms, WfWaitTest test, void *arg)
{
	return wait_until(run_id, timeout_ms, false, test, arg);
}

/* Sleep until the test holds; false after the time-out. */
static bool
wait_until(int64 run_id, long timeout_ms, bool alone, WfWaitTest test,
		   void *arg)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													timeout_ms);
	bool		holds;

	note_awaited(run_id);
	PG_TRY();
	{
		while (!(holds = test(run_id, arg)))
		{
			long		sleep = WAIT_NET_MS;

			if (timeout_ms >= 0)
				sleep = Min(sleep, ms_until(until));
			if (sleep <= 0)
				break;
			if (alone)
				show_no_snapshot();
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT |
							 WL_EXIT_ON_PM_DEATH, sleep,
							 wf_wait_event("WorkflowWaitForJob"));
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		}
	}
	PG_FINALLY();
	{
		forget_awaited(0, (Datum) 0);
	}
	PG_END_TRY();
	return holds;
}

static long
ms_until(TimestampTz until)
{
	return TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
}

/* Tell the scheduler whose latch to set. */
static void
note_awaited(int64 run_id)
{
	static bool registered = false;
	WfBackend  *backend = wf_wakeup_backend();
	WfDatabase *database = wf_database_find(MyDatabaseId);

	if (!registered)
		before_shmem_exit(forget_awaited, (Datum) 0);
	registered = true;
	pg_atomic_write_u32(&backend->database, MyDatabaseId);
	pg_atomic_fetch_add_u32(&wf_shared->nawaiting, 1);
	pg_atomic_write_u64(&backend->awaited_run, run_id);
	pg_memory_barrier();
	if (database != NULL)
		wf_database_wake(database); /* it may be lazy about what is done */
}

static void
forget_awaited(int code, Datum arg)
{
	WfBackend  *backend = wf_wakeup_backend();

	if (pg_atomic_read_u64(&backend->awaited_run) == 0)
		return;
	pg_atomic_write_u64(&backend->awaited_run, 0);
	pg_atomic_fetch_sub_u32(&wf_shared->nawaiting, 1);
}

/*
 * wf_wait_acknowledge
 *		Make sure that the outcome which a transaction wrote survives a crash,
 *		here and on synchronous standbys.
 */
void
wf_wait_acknowledge(TransactionId xid)
{
	XLogRecPtr	lsn;

	if (RecoveryInProgress())
		return;
	lsn = TransactionIdGetCommitLSN(xid);
	if (XLogRecPtrIsInvalid(lsn))
		lsn = GetFlushRecPtr(NULL);
	XLogFlush(lsn);
	if (wf_sync_standbys_defined())
		wait_for_standbys(lsn);
}

/*
 * wait_for_standbys
 *		As a commit does; but the caller asks for more than his own commits,
 *		whose setting may be `off`.  A commit that is kept waiting too long can
 *		only warn, as it is done.  We need not tell what is not certain.
 */
static void
wait_for_standbys(XLogRecPtr lsn)
{
	int			level = NewGUCNestLevel();
	int			mode;
	bool		there;

	if (synchronous_commit <= SYNCHRONOUS_COMMIT_LOCAL_FLUSH)
		(void) set_config_option("synchronous_commit", "on", PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
	mode = synchronous_commit == SYNCHRONOUS_COMMIT_REMOTE_APPLY ?
		SYNC_REP_WAIT_APPLY :
		synchronous_commit == SYNCHRONOUS_COMMIT_REMOTE_WRITE ?
		SYNC_REP_WAIT_WRITE : SYNC_REP_WAIT_FLUSH;
	HOLD_INTERRUPTS();
	SyncRepWaitForLSN(lsn, true);
	LWLockAcquire(SyncRepLock, LW_SHARED);
	there = !wf_sync_standbys_defined() || WalSndCtl->lsn[mode] >= lsn;
	LWLockRelease(SyncRepLock);
	AtEOXact_GUC(true, level);
	RESUME_INTERRUPTS();
	CHECK_FOR_INTERRUPTS();
	if (!there)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("canceling the wait for a run due to user request"),
				 errdetail("The run has ended, but its end might not have been replicated to the standby.")));
}
