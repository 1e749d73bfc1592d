/*-------------------------------------------------------------------------
 *
 * pool.c
 *	  The workers of a database: as many as there is work for, by role.
 *
 * Workers pull by themselves what is ready for their role; all that is
 * decided here is how many there are.  While entries of a role are ready and
 * no worker of that role is idle or just starting, one is started: as each
 * start takes some milliseconds, work that is done faster than that is done
 * by few workers.  Idle workers leave by themselves.
 *
 * When the database's workers are all in use by other roles, an idle one of
 * them is asked to retire, or, if a role has none at all, a busy one when it
 * has done what it is at: no role waits for ever behind another.
 *
 * A worker's slot goes FREE -> STARTING (here) -> CONNECTING -> RUNNING ->
 * EXITED (by the worker) -> FREE (here).  A process that never came to take
 * its slot is noticed by its handle.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "bgworker.h"
#include "compat.h"
#include "guc.h"
#include "pool.h"

#define NO_SLOT_RETRY_MS	1000
#define FENCE_POLL_MS		100

/* Demand and supply of one role. */
typedef struct Demand
{
	Oid			role;
	int			ready;			/* entries that any of its workers may take */
	int			idle;
	int			starting;
	int			workers;		/* all of its workers */
	int			unbound;		/* of them: not bound, not retiring */
} Demand;

/* Handles of the processes that this scheduler started, by slot. */
static BackgroundWorkerHandle **handles = NULL;
static uint64 started = 0;
static bool *counted = NULL;	/* in `started`, by slot */
static bool no_slot = false;	/* the server had no slot at the last try */
static bool no_slot_told = false;	/* since then some role has always lacked one */

static bool is_mine(const WfDatabase *database, const WfSlot *slot);
static bool is_worker(const WfDatabase *database, const WfSlot *slot);
static bool never_came(WfDatabase *database, int i);
static List *measure(WfDatabase *database);
static Demand *demand_of(List **demands, Oid role);
static void supply(WfDatabase *database, List *demands, Demand *demand);
static bool start_worker(WfDatabase *database, Oid role);
static bool start_process(WfDatabase *database, Oid role);
static void tell_no_slot(WfDatabase *database);
static void make_room(WfDatabase *database, List *demands, Demand *needy);
static bool retire_one(WfDatabase *database, Oid role, bool idle);

static bool
is_mine(const WfDatabase *database, const WfSlot *slot)
{
	return slot->state != WF_SLOT_FREE &&
		slot->database == wf_database_index(database);
}

static bool
is_worker(const WfDatabase *database, const WfSlot *slot)
{
	return is_mine(database, slot) && OidIsValid(slot->role);
}

/* See pool.h. */
void
wf_pool_fence(WfDatabase *database)
{
	for (;;)
	{
		int			left = 0;
		int			i;

		for (i = 0; i < wf_shared->nslots; i++)
		{
			WfSlot	   *slot = &wf_shared->slots[i];

			if (!is_mine(database, slot))
				continue;
			if (slot->state == WF_SLOT_EXITED ||
				slot->state == WF_SLOT_STARTING)
				wf_slot_free(slot); /* one that comes late finds it so */
			else
			{
				left++;
				if (slot->pid != 0)
					kill(slot->pid, SIGTERM);
			}
		}
		if (left == 0)
			break;
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 FENCE_POLL_MS, wf_wait_event("WorkflowFence"));
		ResetLatch(MyLatch);
		wf_bgworker_interrupts();
	}
	handles = MemoryContextAllocZero(TopMemoryContext, wf_shared->nslots *
									 sizeof(BackgroundWorkerHandle *));
	counted = MemoryContextAllocZero(TopMemoryContext,
									 wf_shared->nslots * sizeof(bool));
}

/* Terminate the workers of a database. */
void
wf_pool_terminate(WfDatabase *database)
{
	int			i;

	for (i = 0; i < wf_shared->nslots; i++)
	{
		WfSlot	   *slot = &wf_shared->slots[i];

		if (is_mine(database, slot) && slot->pid != 0)
			kill(slot->pid, SIGTERM);
	}
}

/* Free the slot of a worker that has gone. */
bool
wf_pool_next_gone(WfDatabase *database, WfGoneWorker *gone)
{
	int			i;

	for (i = 0; i < wf_shared->nslots; i++)
	{
		WfSlot	   *slot = &wf_shared->slots[i];
		int			entry;

		if (!is_mine(database, slot))
			continue;
		if (slot->state != WF_SLOT_STARTING && !counted[i])
		{
			counted[i] = true;
			started++;
		}
		if (slot->state != WF_SLOT_EXITED && !never_came(database, i))
			continue;

		LWLockAcquire(&database->lock, LW_EXCLUSIVE);
		gone->role = slot->role;
		gone->pid = slot->pid;
		gone->entry = slot->entry;
		gone->inbox = slot->inbox;
		gone->slot = i;
		gone->connected = slot->connected;
		gone->sqlstate = slot->fatal_sqlstate;
		strlcpy(gone->message, slot->fatal, WF_MESSAGE_SIZE);
		slot->entry = slot->inbox = -1;
		LWLockRelease(&database->lock);
		if (gone->entry >= 0)
			wf_entry_hold(database, gone->entry);
		for (entry = gone->inbox; entry >= 0;
			 entry = database->entries[entry].next)
			wf_entry_hold(database, entry);
		if (handles[i] != NULL)
			pfree(handles[i]);
		handles[i] = NULL;
		counted[i] = false;
		wf_slot_free(slot);
		no_slot = false;
		return true;
	}
	return false;
}

/* True if the process for a slot is gone and never took it. */
static bool
never_came(WfDatabase *database, int i)
{
	WfSlot	   *slot = &wf_shared->slots[i];
	pid_t		pid;
	bool		result = false;

	if (slot->state != WF_SLOT_STARTING || handles[i] == NULL ||
		GetBackgroundWorkerPid(handles[i], &pid) != BGWH_STOPPED)
		return false;
	LWLockAcquire(&wf_shared->lock, LW_EXCLUSIVE);
	if (slot->state == WF_SLOT_STARTING)
	{
		slot->state = WF_SLOT_EXITED;
		result = true;
	}
	LWLockRelease(&wf_shared->lock);
	return result;
}

/* Number of workers whose process has started. */
uint64
wf_pool_started(void)
{
	return started;
}

/* Workers of this database. */
int
wf_pool_size(const WfDatabase *database)
{
	int			n = 0;
	int			i;

	for (i = 0; i < wf_shared->nslots; i++)
	{
		if (is_worker(database, &wf_shared->slots[i]))
			n++;
	}
	return n;
}

/* When to try again. */
long
wf_pool_time_to_retry(void)
{
	return no_slot ? NO_SLOT_RETRY_MS : -1;
}

/* Start and retire workers. */
void
wf_pool_balance(WfDatabase *database, Oid proof)
{
	List	   *demands = measure(database);
	bool		needy = false;
	ListCell   *lc;

	if (OidIsValid(proof))
		(void) demand_of(&demands, proof);
	foreach(lc, demands)
	{
		Demand	   *demand = lfirst(lc);

		needy |= (demand->ready > demand->idle);
		if (demand->starting > 0)
			continue;
		if (demand->ready > demand->idle)
			supply(database, demands, demand);
		else if (demand->role == proof &&
				 wf_pool_size(database) < wf_max_workers)
			(void) start_worker(database, proof);
	}
	if (!needy)
		no_slot_told = false;
	list_free_deep(demands);
}

/* What each role needs and has. */
static List *
measure(WfDatabase *database)
{
	List	   *demands = NIL;
	int			i;

	/*
	 * Allocations under the lock are few and small: one for each role.  An
	 * ERROR here ends the process, and the lock with it.
	 */
	LWLockAcquire(&database->lock, LW_SHARED);
	for (i = 0; i < WF_NREADY; i++)
	{
		int			entry = database->ready_head[i];

		if (i == WF_READY_NEW && database->hold)
			continue;
		for (; entry >= 0; entry = database->entries[entry].next)
			demand_of(&demands, database->entries[entry].role)->ready++;
	}
	for (i = 0; i < wf_shared->nslots; i++)
	{
		WfSlot	   *slot = &wf_shared->slots[i];
		Demand	   *demand;

		if (!is_worker(database, slot))
			continue;
		demand = demand_of(&demands, slot->role);
		demand->workers++;
		if (slot->state == WF_SLOT_RUNNING && slot->idle && !slot->bound)
			demand->idle++;
		if (slot->state == WF_SLOT_STARTING ||
			slot->state == WF_SLOT_CONNECTING)
			demand->starting++;
		if (!slot->bound && !slot->retire)
			demand->unbound++;
	}
	LWLockRelease(&database->lock);
	return demands;
}

static Demand *
demand_of(List **demands, Oid role)
{
	ListCell   *lc;
	Demand	   *demand;

	foreach(lc, *demands)
	{
		demand = lfirst(lc);
		if (demand->role == role)
			return demand;
	}
	demand = palloc0(sizeof(Demand));
	demand->role = role;
	*demands = lappend(*demands, demand);
	return demand;
}

/* A role has more to do than idle workers. */
static void
supply(WfDatabase *database, List *demands, Demand *demand)
{
	if (wf_pool_size(database) < wf_max_workers &&
		start_worker(database, demand->role))
		return;
	make_room(database, demands, demand);
}

static bool
start_worker(WfDatabase *database, Oid role)
{
	if (!start_process(database, role))
	{
		if (!no_slot_told)
			tell_no_slot(database);
		no_slot = no_slot_told = true;
		return false;
	}
	no_slot = false;
	return true;
}

static bool
start_process(WfDatabase *database, Oid role)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	int			i = wf_slot_claim(database, role);
	BackgroundWorkerHandle *handle = NULL;

	if (i >= 0)
		handle = wf_bgworker_start_worker(&wf_shared->slots[i]);
	MemoryContextSwitchTo(old);
	if (handle == NULL)
	{
		if (i >= 0)
			wf_slot_free(&wf_shared->slots[i]);
		return false;
	}
	handles[i] = handle;
	counted[i] = false;
	return true;
}

/* See pool.h. */
bool
wf_pool_start_retention(WfDatabase *database)
{
	return start_process(database, InvalidOid);
}

/* Once while work waits: the server log, and workflow.agent. */
static void
tell_no_slot(WfDatabase *database)
{
	const char *message = "no background worker slot for a workflow worker";

	database->error_at = GetCurrentTimestamp();
	strlcpy(database->last_error, message, WF_MESSAGE_SIZE);
	ereport(LOG,
			(errmsg_internal("%s", message),
			 errdetail("Steps that are ready wait for a worker."),
			 errhint("You might need to increase max_worker_processes.")));
}

/*
 * make_room
 *		No worker can be started for a role that needs one.  Ask an idle
 *		worker of another role to leave.  If there is none and the needy role
 *		has no worker at all, ask a worker of the role with the most.
 */
static void
make_room(WfDatabase *database, List *demands, Demand *needy)
{
	Demand	   *most = NULL;
	ListCell   *lc;

	foreach(lc, demands)
	{
		Demand	   *other = lfirst(lc);

		if (other == needy)
			continue;
		if (other->idle > 0 && other->ready == 0 &&
			retire_one(database, other->role, true))
			return;
		if (most == NULL || other->unbound > most->unbound)
			most = other;
	}
	if (needy->unbound == 0 && most != NULL && most->unbound > 0)
		(void) retire_one(database, most->role, false);
}

/* Ask one unbound worker of a role to leave, unless one is leaving. */
static bool
retire_one(WfDatabase *database, Oid role, bool idle)
{
	WfSlot	   *chosen = NULL;
	bool		leaving = false;
	int			i;

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	for (i = 0; i < wf_shared->nslots; i++)
	{
		WfSlot	   *slot = &wf_shared->slots[i];

		if (!is_worker(database, slot))
			continue;
		leaving |= slot->retire;
		if (slot->state == WF_SLOT_RUNNING && slot->role == role &&
			!slot->bound && !slot->retire && (!idle || slot->idle))
			chosen = slot;
	}
	if (chosen != NULL && !leaving)
	{
		chosen->retire = true;
		SetLatch(&wf_proc(chosen->proc)->procLatch);
	}
	LWLockRelease(&database->lock);
	return chosen != NULL;
}
