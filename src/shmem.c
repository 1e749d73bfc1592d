/*-------------------------------------------------------------------------
 *
 * shmem.c
 *	  The shared memory: allocation, and the operations on its lists.
 *
 * See shmem.h for what is here and for the lock order.  All functions that
 * take a WfDatabase lock it themselves unless they say otherwise.  None of
 * them throws while it holds a lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/shmem.h"

#include "compat.h"
#include "shmem.h"

#define WF_TRANCHE	"workflow"

WfShared   *wf_shared = NULL;

static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

static void shmem_request(void);
static void shmem_startup(void);
static Size shmem_size(void);
static int	backend_count(void);
static void lay_out(char *base);
static void initialize(void);
static void reset_database(WfDatabase *database);
static WfDatabase *claim(Oid oid);
static int	take_ready(WfDatabase *database, WfSlot *slot);
static int	unlink_ready(WfDatabase *database, WfReadyList list, int previous,
						 int entry);
static void link_inbox(WfDatabase *database, WfSlot *slot, int entry);
static void unlink_inbox(WfDatabase *database, WfSlot *slot, int entry);
static void link_ready(WfDatabase *database, WfReadyList list, int entry);
static void wake_idle_worker(WfDatabase *database, Oid role);
static void mark_done(WfDatabase *database, int entry);

/* Ask for shared memory; called from _PG_init while preloading. */
void
wf_shmem_init(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = shmem_request;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
}

static void
shmem_request(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(shmem_size());
	RequestNamedLWLockTranche(WF_TRANCHE, 1);
}

/* Every PGPROC number of a backend is below this. */
static int
backend_count(void)
{
	return MaxBackends + NUM_AUXILIARY_PROCS;
}

static Size
shmem_size(void)
{
	Size		size = MAXALIGN(sizeof(WfShared));

	size = add_size(size, mul_size(max_worker_processes,
								   MAXALIGN(sizeof(WfDatabase))));
	size = add_size(size, mul_size(max_worker_processes,
								   MAXALIGN(sizeof(WfSlot))));
	size = add_size(size, mul_size(backend_count(),
								   MAXALIGN(sizeof(WfBackend))));
	return size;
}

static void
shmem_startup(void)
{
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	wf_shared = ShmemInitStruct("workflow", shmem_size(), &found);
	if (!found)
	{
		memset(wf_shared, 0, shmem_size());
		lay_out((char *) wf_shared);
		initialize();
	}
	LWLockRelease(AddinShmemInitLock);
}

/* Where the arrays are. */
static void
lay_out(char *base)
{
	Size		offset = MAXALIGN(sizeof(WfShared));

	wf_shared->ndatabases = max_worker_processes;
	wf_shared->nslots = max_worker_processes;
	wf_shared->nbackends = backend_count();
	wf_shared->databases = (WfDatabase *) (base + offset);
	offset += wf_shared->ndatabases * sizeof(WfDatabase);
	offset = MAXALIGN(offset);
	wf_shared->slots = (WfSlot *) (base + offset);
	offset += wf_shared->nslots * sizeof(WfSlot);
	offset = MAXALIGN(offset);
	wf_shared->backends = (WfBackend *) (base + offset);
}

static void
initialize(void)
{
	int			tranche = GetNamedLWLockTranche(WF_TRANCHE)->lock.tranche;
	int			i;

	wf_shared->area_tranche = tranche;
	LWLockInitialize(&wf_shared->lock, tranche);
	pg_atomic_init_u32(&wf_shared->nawaiting, 0);
	for (i = 0; i < wf_shared->ndatabases; i++)
	{
		LWLockInitialize(&wf_shared->databases[i].lock, tranche);
		reset_database(&wf_shared->databases[i]);
	}
	for (i = 0; i < wf_shared->nslots; i++)
	{
		wf_shared->slots[i].entry = -1;
		wf_shared->slots[i].inbox = -1;
	}
	for (i = 0; i < wf_shared->nbackends; i++)
	{
		pg_atomic_init_u64(&wf_shared->backends[i].pending_run, 0);
		pg_atomic_init_u64(&wf_shared->backends[i].awaited_run, 0);
		pg_atomic_init_u32(&wf_shared->backends[i].database, InvalidOid);
	}
}

/*
 * reset_database
 *		All entries free, all lists empty; the caller has the place to itself.
 *		Commands stay, but their texts have gone with the area.
 */
static void
reset_database(WfDatabase *database)
{
	int			i;

	for (i = 0; i < WF_NENTRIES; i++)
	{
		memset(&database->entries[i], 0, sizeof(WfEntry));
		database->entries[i].next = (i + 1 < WF_NENTRIES) ? i + 1 : -1;
		database->entries[i].slot = -1;
	}
	database->free = 0;
	database->nfree = WF_NENTRIES;
	for (i = 0; i < WF_NREADY; i++)
	{
		database->ready_head[i] = database->ready_tail[i] = -1;
		database->nready[i] = 0;
	}
	database->done_head = database->done_tail = -1;
	database->ndone = 0;
	for (i = 0; i < WF_NCOMMANDS; i++)
		database->commands[i].reason = InvalidDsaPointer;
	database->area = DSM_HANDLE_INVALID;
	database->live = InvalidDsaPointer;
	database->held = InvalidDsaPointer;
	database->queued = database->driven = 0;
}

/* See shmem.h. */
void
wf_shmem_require(void)
{
	if (wf_shared == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("library \"%s\" is not preloaded", WF_EXTENSION),
				 errhint("Add \"%s\" to \"shared_preload_libraries\" and restart the server.",
						 WF_EXTENSION)));
}

/* ---- databases ---- */

/* The place of a database, or NULL. */
WfDatabase *
wf_database_find(Oid oid)
{
	WfDatabase *found = NULL;
	int			i;

	LWLockAcquire(&wf_shared->lock, LW_SHARED);
	for (i = 0; i < wf_shared->ndatabases && found == NULL; i++)
	{
		if (wf_shared->databases[i].oid == oid)
			found = &wf_shared->databases[i];
	}
	LWLockRelease(&wf_shared->lock);
	return found;
}

/* The place of a database, made if there is none. */
WfDatabase *
wf_database_claim(Oid oid)
{
	WfDatabase *database;

	LWLockAcquire(&wf_shared->lock, LW_EXCLUSIVE);
	database = claim(oid);
	LWLockRelease(&wf_shared->lock);
	return database;
}

/*
 * claim
 *		A place whose database needs no scheduler is given to another one when
 *		all are in use.  Lock held.
 */
static WfDatabase *
claim(Oid oid)
{
	WfDatabase *unused = NULL;
	int			i;

	for (i = 0; i < wf_shared->ndatabases; i++)
	{
		WfDatabase *candidate = &wf_shared->databases[i];

		if (candidate->oid == oid)
			return candidate;
		if (candidate->bars > 0)
			continue;
		if (candidate->state == WF_DATABASE_FREE && unused == NULL)
			unused = candidate;
		else if (candidate->state == WF_DATABASE_ABSENT &&
				 (unused == NULL || unused->state != WF_DATABASE_FREE))
			unused = candidate;
	}
	if (unused != NULL)
	{
		unused->oid = oid;
		unused->state = WF_DATABASE_FREE;
		unused->missed_run = 0;
		unused->missed_look = false;
		unused->prepared_run = 0;
		unused->ncommands = 0;
		unused->error_at = 0;
		unused->last_error[0] = '\0';
	}
	return unused;
}

/* Keep the agent out. */
WfDatabase *
wf_database_bar(Oid oid)
{
	WfDatabase *database;

	LWLockAcquire(&wf_shared->lock, LW_EXCLUSIVE);
	database = claim(oid);
	if (database != NULL)
		database->bars++;
	LWLockRelease(&wf_shared->lock);
	return database;
}

/* Let it in again. */
void
wf_database_unbar(WfDatabase *database)
{
	LWLockAcquire(&wf_shared->lock, LW_EXCLUSIVE);
	database->bars--;
	LWLockRelease(&wf_shared->lock);
}

/* Empty all lists of a database. */
void
wf_database_reset(WfDatabase *database)
{
	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	reset_database(database);
	LWLockRelease(&database->lock);
}

/* Set the scheduler's latch. */
void
wf_database_wake(WfDatabase *database)
{
	if (database->pid != 0)
		SetLatch(&wf_proc(database->proc)->procLatch);
}

/* Set the launcher's latch. */
void
wf_launcher_wake(void)
{
	if (wf_shared->launcher_pid != 0)
		SetLatch(&wf_proc(wf_shared->launcher_proc)->procLatch);
}

/* ---- commands ---- */

/* Put a command into the ring. */
bool
wf_command_send(WfDatabase *database, const WfCommand *command)
{
	bool		sent = false;

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	if (database->ncommands < WF_NCOMMANDS)
	{
		int			last = (database->first_command +
							database->ncommands) % WF_NCOMMANDS;

		database->commands[last] = *command;
		if (command->generation != database->generation)
			database->commands[last].reason = InvalidDsaPointer;
		database->ncommands++;
		sent = true;
	}
	else if (command->kind == WF_COMMAND_START &&
			 (database->missed_run == 0 ||
			  command->first_run < database->missed_run))
		database->missed_run = command->first_run;
	else if (command->kind == WF_COMMAND_LOOK)
		database->missed_look = true;
	wf_database_wake(database);
	LWLockRelease(&database->lock);
	return sent;
}

/* Take the oldest command out. */
bool
wf_command_receive(WfDatabase *database, WfCommand *command)
{
	bool		received = false;

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	if (database->ncommands > 0)
	{
		*command = database->commands[database->first_command];
		database->first_command = (database->first_command + 1) %
			WF_NCOMMANDS;
		database->ncommands--;
		received = true;
	}
	else if (database->missed_look)
	{
		memset(command, 0, sizeof(WfCommand));
		command->kind = WF_COMMAND_LOOK;
		database->missed_look = false;
		received = true;
	}
	LWLockRelease(&database->lock);
	return received;
}

/* ---- entries: the scheduler's side ---- */

/* A free entry, zeroed. */
int
wf_entry_alloc(WfDatabase *database, bool reserved)
{
	int			entry = -1;

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	if (database->nfree > (reserved ? 0 : WF_RESERVED_ENTRIES))
	{
		WfEntry    *e;

		entry = database->free;
		e = &database->entries[entry];
		database->free = e->next;
		database->nfree--;
		memset(e, 0, sizeof(WfEntry));
		e->state = WF_ENTRY_HELD;
		e->next = -1;
		e->slot = -1;
		e->current_step = -1;
	}
	LWLockRelease(&database->lock);
	return entry;
}

/* Make an entry ready. */
void
wf_entry_push(WfDatabase *database, int entry, WfReadyList list, int slot)
{
	WfEntry    *e = &database->entries[entry];

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	e->state = WF_ENTRY_READY;
	e->list = list;
	e->slot = slot;
	e->next = -1;
	if (slot >= 0)
	{
		WfSlot	   *s = &wf_shared->slots[slot];

		link_inbox(database, s, entry);
		s->idle = false;
		if (s->pid != 0)
			SetLatch(&wf_proc(s->proc)->procLatch);
	}
	else
	{
		link_ready(database, list, entry);
		wake_idle_worker(database, e->role);
	}
	LWLockRelease(&database->lock);
}

/* Append an entry to what waits for one worker.  Lock held. */
static void
link_inbox(WfDatabase *database, WfSlot *slot, int entry)
{
	int		   *link = &slot->inbox;

	while (*link >= 0)
		link = &database->entries[*link].next;
	*link = entry;
}

/* Take an entry out of what waits for one worker.  Lock held. */
static void
unlink_inbox(WfDatabase *database, WfSlot *slot, int entry)
{
	int		   *link = &slot->inbox;

	while (*link != entry)
		link = &database->entries[*link].next;
	*link = database->entries[entry].next;
	database->entries[entry].next = -1;
}

/* Put an entry into a ready list: behind those of its priority.  Lock held. */
static void
link_ready(WfDatabase *database, WfReadyList list, int entry)
{
	WfEntry    *entries = database->entries;
	int			tail = database->ready_tail[list];
	int			previous = -1;

	if (tail >= 0 && entries[tail].priority >= entries[entry].priority)
		previous = tail;
	else
	{
		int			i = database->ready_head[list];

		while (i >= 0 && entries[i].priority >= entries[entry].priority)
		{
			previous = i;
			i = entries[i].next;
		}
	}
	if (previous >= 0)
	{
		entries[entry].next = entries[previous].next;
		entries[previous].next = entry;
	}
	else
	{
		entries[entry].next = database->ready_head[list];
		database->ready_head[list] = entry;
	}
	if (entries[entry].next < 0)
		database->ready_tail[list] = entry;
	database->nready[list]++;
}

/* True if a new run would overtake another one. */
bool
wf_entry_overtakes(WfDatabase *database, int32 priority)
{
	int			tail;
	bool		result;

	LWLockAcquire(&database->lock, LW_SHARED);
	tail = database->ready_tail[WF_READY_NEW];
	result = tail >= 0 && database->entries[tail].priority < priority;
	LWLockRelease(&database->lock);
	return result;
}

/* Wake one idle worker of the role, if there is one.  Lock held. */
static void
wake_idle_worker(WfDatabase *database, Oid role)
{
	int			index = wf_database_index(database);
	int			i;

	for (i = 0; i < wf_shared->nslots; i++)
	{
		WfSlot	   *slot = &wf_shared->slots[i];

		if (slot->state == WF_SLOT_RUNNING && slot->database == index &&
			slot->role == role && slot->idle && !slot->bound)
		{
			slot->idle = false;
			SetLatch(&wf_proc(slot->proc)->procLatch);
			return;
		}
	}
}

/* Next done entry. */
int
wf_entry_next_done(WfDatabase *database)
{
	int			entry;

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	entry = database->done_head;
	if (entry >= 0)
	{
		database->done_head = database->entries[entry].next;
		if (database->done_head < 0)
			database->done_tail = -1;
		database->entries[entry].next = -1;
		database->ndone--;
	}
	LWLockRelease(&database->lock);
	return entry;
}

/* Give an entry back. */
void
wf_entry_free(WfDatabase *database, int entry)
{
	WfEntry    *e = &database->entries[entry];

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	e->state = WF_ENTRY_FREE;
	e->slot = -1;
	e->next = database->free;
	database->free = entry;
	database->nfree++;
	LWLockRelease(&database->lock);
}

/* The same under the lock. */
static bool
withdraw(WfDatabase *database, int entry)
{
	WfEntry    *e = &database->entries[entry];

	if (e->state != WF_ENTRY_READY)
		return false;
	if (e->slot >= 0)
		unlink_inbox(database, &wf_shared->slots[e->slot], entry);
	else
	{
		int			previous = -1;
		int			i = database->ready_head[e->list];

		while (i != entry)
		{
			previous = i;
			i = database->entries[i].next;
		}
		unlink_ready(database, e->list, previous, entry);
	}
	e->state = WF_ENTRY_HELD;
	return true;
}

/* See shmem.h. */
bool
wf_entry_withdraw(WfDatabase *database, int entry)
{
	bool		withdrawn;

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	withdrawn = withdraw(database, entry);
	LWLockRelease(&database->lock);
	return withdrawn;
}

/*
 * wf_entry_cancel
 *		Ask for the end of an entry's work.  The signal is sent under the
 *		lock: the worker cannot go on to another entry meanwhile, and when it
 *		does it forgets a cancel that came too late.
 */
bool
wf_entry_cancel(WfDatabase *database, int entry, bool force)
{
	WfEntry    *e = &database->entries[entry];
	bool		withdrawn;

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	withdrawn = withdraw(database, entry);
	if (!withdrawn)
	{
		pid_t		pid = e->state == WF_ENTRY_TAKEN ?
			wf_shared->slots[e->slot].pid : 0;

		e->cancel = true;
		e->lazy = false;
		if (pid != 0)
			kill(pid, force ? SIGTERM : SIGINT);
	}
	LWLockRelease(&database->lock);
	return withdrawn;
}

/* See shmem.h. */
bool
wf_entry_condemn(WfDatabase *database, int entry, TimestampTz since,
				 dsa_pointer verdict)
{
	WfEntry    *e = &database->entries[entry];
	pid_t		pid;

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	pid = e->state == WF_ENTRY_TAKEN && !e->cancel &&
		wf_entry_step_since(e) == since && !DsaPointerIsValid(e->verdict) ? wf_shared->slots[e->slot].pid : 0;
	if (pid != 0)
	{
		e->verdict = verdict;
		kill(pid, SIGINT);
	}
	LWLockRelease(&database->lock);
	return pid != 0;
}

/* The entry's worker is gone, and its slot is about to be used again. */
void
wf_entry_hold(WfDatabase *database, int entry)
{
	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	database->entries[entry].state = WF_ENTRY_HELD;
	database->entries[entry].slot = -1;
	LWLockRelease(&database->lock);
}

/* Ask for a run back, or not to any more. */
void
wf_entry_pause(WfDatabase *database, int entry, bool pause)
{
	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	database->entries[entry].pause = pause;
	if (pause)
		database->entries[entry].lazy = false;
	else if (database->entries[entry].state == WF_ENTRY_TAKEN)
	{
		WfSlot	   *slot =
			&wf_shared->slots[database->entries[entry].slot];

		/* it may wait for this in a transaction */
		if (slot->pid != 0)
			SetLatch(&wf_proc(slot->proc)->procLatch);
	}
	LWLockRelease(&database->lock);
}

/* Take an entry out of a ready list.  Lock held. */
static int
unlink_ready(WfDatabase *database, WfReadyList list, int previous, int entry)
{
	int			next = database->entries[entry].next;

	if (previous >= 0)
		database->entries[previous].next = next;
	else
		database->ready_head[list] = next;
	if (database->ready_tail[list] == entry)
		database->ready_tail[list] = previous;
	database->entries[entry].next = -1;
	database->nready[list]--;
	return entry;
}

/* ---- entries: the worker's side ---- */

/* Report what was done, take what is next. */
int
wf_entry_exchange(WfDatabase *database, WfSlot *slot)
{
	int			entry;
	bool		wake = false;

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	if (slot->entry >= 0)
	{
		wake = !database->entries[slot->entry].lazy ||
			pg_atomic_read_u32(&wf_shared->nawaiting) > 0;
		mark_done(database, slot->entry);
		slot->entry = -1;
	}
	entry = take_ready(database, slot);
	if (entry >= 0)
	{
		WfEntry    *e = &database->entries[entry];

		e->state = WF_ENTRY_TAKEN;
		e->slot = wf_slot_index(slot);
		slot->entry = entry;
		slot->idle = false;
		if (e->bind)
			slot->bound = true;
	}
	else
		slot->idle = true;
	if (wake || database->ndone >= WF_NENTRIES / 8 ||
		(entry < 0 && database->ndone > 0))
		wf_database_wake(database);
	LWLockRelease(&database->lock);
	return entry;
}

/* Append an entry to the done list.  Lock held. */
static void
mark_done(WfDatabase *database, int entry)
{
	WfEntry    *e = &database->entries[entry];

	e->state = WF_ENTRY_DONE;
	e->next = -1;
	if (database->done_tail >= 0)
		database->entries[database->done_tail].next = entry;
	else
		database->done_head = entry;
	database->done_tail = entry;
	database->ndone++;
}

/* Find an entry for a worker and take it out of its list.  Lock held. */
static int
take_ready(WfDatabase *database, WfSlot *slot)
{
	int			list;

	if (slot->inbox >= 0)
	{
		int			entry = slot->inbox;

		unlink_inbox(database, slot, entry);
		return entry;
	}
	if (slot->bound || slot->retire)
		return -1;
	for (list = 0; list < WF_NREADY; list++)
	{
		int			previous = -1;
		int			entry = database->ready_head[list];

		if (list == WF_READY_NEW && database->hold)
			continue;
		for (; entry >= 0; entry = database->entries[entry].next)
		{
			if (database->entries[entry].role == slot->role)
				return unlink_ready(database, list, previous, entry);
			previous = entry;
		}
	}
	return -1;
}

/* ---- slots ---- */

/* A free slot for a worker that is about to be started. */
int
wf_slot_claim(WfDatabase *database, Oid role)
{
	int			found = -1;
	int			i;

	LWLockAcquire(&wf_shared->lock, LW_EXCLUSIVE);
	for (i = 0; i < wf_shared->nslots && found < 0; i++)
	{
		WfSlot	   *slot = &wf_shared->slots[i];
		uint32		number = slot->number;

		/* one that a worker left when its database had no scheduler is free */
		if (slot->state != WF_SLOT_FREE &&
			!(slot->state == WF_SLOT_EXITED &&
			  wf_shared->databases[slot->database].pid == 0))
			continue;
		memset(slot, 0, sizeof(WfSlot));
		slot->state = WF_SLOT_STARTING;
		slot->number = number + 1;
		slot->database = wf_database_index(database);
		slot->generation = database->generation;
		slot->role = role;
		slot->entry = slot->inbox = -1;
		found = i;
	}
	LWLockRelease(&wf_shared->lock);
	return found;
}

/* The process for a slot is there: true if it is still meant for it. */
WfSlot *
wf_slot_take(int index, uint32 number)
{
	WfSlot	   *slot = &wf_shared->slots[index];
	bool		mine;

	LWLockAcquire(&wf_shared->lock, LW_EXCLUSIVE);
	mine = slot->state == WF_SLOT_STARTING && slot->number == number;
	if (mine && wf_shared->databases[slot->database].bars > 0)
	{
		slot->state = WF_SLOT_FREE; /* the agent is to keep out */
		mine = false;
	}
	if (mine)
	{
		slot->state = WF_SLOT_CONNECTING;
		slot->pid = MyProcPid;
		slot->proc = wf_proc_number(MyProc);
	}
	LWLockRelease(&wf_shared->lock);
	return mine ? slot : NULL;
}

/* It is connected. */
void
wf_slot_connected(WfSlot *slot)
{
	WfDatabase *database = &wf_shared->databases[slot->database];

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	slot->state = WF_SLOT_RUNNING;
	slot->connected = true;
	wf_database_wake(database);
	LWLockRelease(&database->lock);
}

/* It goes. */
void
wf_slot_leave(WfSlot *slot)
{
	WfDatabase *database = &wf_shared->databases[slot->database];

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	slot->state = WF_SLOT_EXITED;
	slot->idle = false;
	slot->pid = 0;
	wf_database_wake(database);
	LWLockRelease(&database->lock);
}

/* Let a bound worker go. */
void
wf_slot_dismiss(WfDatabase *database, int slot)
{
	WfSlot	   *s = &wf_shared->slots[slot];

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	s->retire = true;
	s->bound = false;
	if (s->pid != 0)
		SetLatch(&wf_proc(s->proc)->procLatch);
	LWLockRelease(&database->lock);
}

/* Give a slot back. */
void
wf_slot_free(WfSlot *slot)
{
	LWLockAcquire(&wf_shared->lock, LW_EXCLUSIVE);
	slot->state = WF_SLOT_FREE;
	slot->pid = 0;
	LWLockRelease(&wf_shared->lock);
}
