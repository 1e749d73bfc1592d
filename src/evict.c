/*-------------------------------------------------------------------------
 *
 * evict.c
 *	  Make room in a database for a statement that needs it empty.
 *
 * The place of the database (WfDatabase) is *barred*, for as long as some
 * transaction wants it so: the launcher starts no scheduler for it, and a
 * scheduler or worker that was asked for before finds the bar when it comes
 * to take its place, and leaves without having connected.  Those that are
 * there are terminated: first the scheduler alone, so that nobody is left who
 * could take the end of a worker for the failure of its step; then the
 * workers.  What they were at is rolled back and resumed by the scheduler
 * that comes when the bar is lifted: like after a restart.
 *
 * A worker leaves its slot before it leaves the list of backends in which the
 * server looks, so the processes that were terminated are waited for by their
 * pid there.
 *
 * The bar is lifted when the transaction is over, by the callback at its end,
 * which comes after an ERROR and in an exit as well; a backend that crashes
 * takes the shared memory with it, and all bars.  The launcher is then told
 * to look which databases there are: a dropped one is not found any more.
 *
 * A statement that would fail anyway shall not interrupt runs: while sessions
 * of others are connected nobody is evicted, and after as long as the server
 * itself waits for them it is left to it to complain.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/procarray.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "evict.h"
#include "shmem.h"

#define EVICT_TIMEOUT_MS	5000
#define EVICT_POLL_MS		10

/* A bar of this transaction. */
typedef struct Bar
{
	struct Bar *next;
	WfDatabase *database;
} Bar;

/* Processes that were there. */
typedef struct Evicted
{
	int			n;
	pid_t		pids[FLEXIBLE_ARRAY_MEMBER];
} Evicted;

static Bar *bars = NULL;		/* in TopTransactionContext */
static bool callback_registered = false;

static bool bar(Oid oid);
static void at_xact_end(XactEvent event, void *arg);
static bool is_of_agent(const WfDatabase *database, pid_t pid);
static bool is_connected(PGPROC *proc, Oid oid);
static bool others_are_connected(Oid oid, const WfDatabase *database);
static bool wait_for_others(Oid oid);
static bool terminate(WfDatabase *database, Evicted *evicted);
static void terminate_one(pid_t pid, Evicted *evicted);
static bool still_there(Oid oid, const Evicted *evicted);
static bool pause_until(TimestampTz end);

/* See evict.h. */
void
wf_evict(Oid oid, bool force)
{
	WfDatabase *database = wf_database_find(oid);
	Evicted    *evicted;
	TimestampTz end;

	if (database != NULL && is_of_agent(database, MyProcPid))
		return;
	if ((!force && !wait_for_others(oid)) || !bar(oid))
		return;
	database = bars->database;
	evicted = palloc0(offsetof(Evicted, pids) +
					  (wf_shared->nslots + 1) * sizeof(pid_t));
	end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
									  EVICT_TIMEOUT_MS);
	while (terminate(database, evicted) || still_there(oid, evicted))
	{
		if (!pause_until(end))
			break;
	}
	pfree(evicted);
}

/*
 * bar
 *		Bar the database.  False if there is no place for it: then it has no
 *		agent and gets none.
 */
static bool
bar(Oid oid)
{
	Bar		   *new = MemoryContextAlloc(TopTransactionContext, sizeof(Bar));

	if (!callback_registered)
	{
		RegisterXactCallback(at_xact_end, NULL);
		callback_registered = true;
	}
	new->database = wf_database_bar(oid);
	if (new->database == NULL)
		return false;
	new->next = bars;
	bars = new;
	return true;
}

/* Lift the bars. */
static void
at_xact_end(XactEvent event, void *arg)
{
	if (bars == NULL || (event != XACT_EVENT_COMMIT &&
						 event != XACT_EVENT_ABORT &&
						 event != XACT_EVENT_PREPARE))
		return;
	for (; bars != NULL; bars = bars->next)
		wf_database_unbar(bars->database);
	wf_shared->look = true;
	wf_launcher_wake();
}

/* True if the process is the scheduler or a worker of the database. */
static bool
is_of_agent(const WfDatabase *database, pid_t pid)
{
	int			i;

	if (database->pid == pid)
		return true;
	for (i = 0; i < wf_shared->nslots; i++)
	{
		const WfSlot *slot = &wf_shared->slots[i];

		if (slot->state != WF_SLOT_FREE && slot->pid == pid &&
			slot->database == wf_database_index(database))
			return true;
	}
	return false;
}

/* True if a backend is connected to the database; what its PGPROC says stays
 * there when it has gone. */
static bool
is_connected(PGPROC *proc, Oid oid)
{
	return proc->databaseId == oid && proc->pid != 0 &&
		BackendPidGetProc(proc->pid) == proc;
}

/* True if somebody is connected whom neither we nor the server send away. */
static bool
others_are_connected(Oid oid, const WfDatabase *database)
{
	int			i;

	for (i = 0; i < wf_shared->nbackends; i++)
	{
		PGPROC	   *proc = wf_proc(i);

		if (proc != MyProc && is_connected(proc, oid) &&
			!(proc->statusFlags & PROC_IS_AUTOVACUUM) &&
			!(database != NULL && is_of_agent(database, proc->pid)))
			return true;
	}
	return false;
}

/* Wait until nobody else is connected; false if that takes too long. */
static bool
wait_for_others(Oid oid)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												  EVICT_TIMEOUT_MS);

	while (others_are_connected(oid, wf_database_find(oid)))
	{
		if (!pause_until(end))
			return false;
	}
	return true;
}

/*
 * terminate
 *		Terminate the scheduler, or the workers if there is none.  False if
 *		there is nobody.  Under the lock, a pid that is there is no other's.
 */
static bool
terminate(WfDatabase *database, Evicted *evicted)
{
	bool		found = false;
	int			i;

	LWLockAcquire(&wf_shared->lock, LW_SHARED);
	LWLockAcquire(&database->lock, LW_SHARED);
	if (database->pid != 0)
	{
		terminate_one(database->pid, evicted);
		found = true;
	}
	for (i = 0; i < wf_shared->nslots && database->pid == 0; i++)
	{
		const WfSlot *slot = &wf_shared->slots[i];

		if (slot->state == WF_SLOT_FREE || slot->pid == 0 ||
			slot->database != wf_database_index(database))
			continue;
		terminate_one(slot->pid, evicted);
		found = true;
	}
	LWLockRelease(&database->lock);
	LWLockRelease(&wf_shared->lock);
	return found;
}

/* Terminate a process, once. */
static void
terminate_one(pid_t pid, Evicted *evicted)
{
	int			i;

	for (i = 0; i < evicted->n; i++)
	{
		if (evicted->pids[i] == pid)
			return;
	}
	if (evicted->n > wf_shared->nslots)
		return;
	evicted->pids[evicted->n++] = pid;
	(void) kill(pid, SIGTERM);
}

/* True if one of the processes is still connected, as the server sees it. */
static bool
still_there(Oid oid, const Evicted *evicted)
{
	int			i;
	int			j;

	for (i = 0; evicted->n > 0 && i < wf_shared->nbackends; i++)
	{
		PGPROC	   *proc = wf_proc(i);

		for (j = 0; j < evicted->n; j++)
		{
			if (evicted->pids[j] == proc->pid && is_connected(proc, oid))
				return true;
		}
	}
	return false;
}

/* Sleep for a moment; false when the time is over. */
static bool
pause_until(TimestampTz end)
{
	if (GetCurrentTimestamp() >= end)
		return false;
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 EVICT_POLL_MS, wf_wait_event("WorkflowEvict"));
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	return true;
}
