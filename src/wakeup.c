/*-------------------------------------------------------------------------
 *
 * wakeup.c
 *	  Tell the agent at commit what a transaction has done.
 *
 * start_job() inserts a row and notes the run here; the callback at commit
 * puts the noted runs into the command ring, as ranges, and sets the
 * scheduler's latch.  It runs after the transaction is visible, so the
 * scheduler finds the rows.  Notes of an aborted subtransaction are dropped.
 *
 * Until the scheduler has been told, the backend's `pending_run` keeps the
 * horizon from passing the runs that it has numbered.  After PREPARE
 * TRANSACTION no callback ever comes for the commit: the lowest run is noted
 * with the database, and the scheduler looks while prepared transactions
 * are there.
 *
 * Nothing in the commit callback can fail: the notes are in memory, the ring
 * takes them or notes the lowest run.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "compat.h"
#include "wakeup.h"

/* Runs started in this transaction, and packages edited: a command, and its
 * level. */
typedef struct Note
{
	WfCommand	command;
	int			nest_level;
} Note;

static Note *notes = NULL;		/* in TopTransactionContext */
static int	nnotes = 0;
static int	max_notes = 0;
static bool look_at_commit = false;
static bool callbacks_registered = false;

static void register_callbacks(void);
static void add_note(const WfCommand *command);
static void at_xact_end(XactEvent event, void *arg);
static void at_subxact_end(SubXactEvent event, SubTransactionId my_subid,
						   SubTransactionId parent_subid, void *arg);
static void tell_scheduler(void);
static void note_prepared(void);
static void forget(void);

/* This backend's notice. */
WfBackend *
wf_wakeup_backend(void)
{
	return &wf_shared->backends[wf_proc_number(MyProc)];
}

/* Hold the horizon. */
void
wf_wakeup_prepare_start(void)
{
	WfBackend  *backend = wf_wakeup_backend();

	register_callbacks();
	if (pg_atomic_read_u64(&backend->pending_run) != 0)
		return;
	pg_atomic_write_u32(&backend->database, MyDatabaseId);
	pg_atomic_write_u64(&backend->pending_run, WF_PENDING_UNKNOWN);
	pg_memory_barrier();
}

/* Note a run. */
void
wf_wakeup_start(int64 run_id, int64 package_id, int32 version, Oid owner,
				int32 priority, TimestampTz start_at)
{
	WfBackend  *backend = wf_wakeup_backend();
	int			level = GetCurrentTransactionNestLevel();
	Note	   *last = nnotes > 0 ? &notes[nnotes - 1] : NULL;
	WfCommand	command = {.kind = WF_COMMAND_START};

	if (pg_atomic_read_u64(&backend->pending_run) == WF_PENDING_UNKNOWN)
		pg_atomic_write_u64(&backend->pending_run, run_id);
	if (last != NULL && last->command.kind == WF_COMMAND_START &&
		last->nest_level == level &&
		last->command.last_run + 1 == run_id &&
		last->command.package_id == package_id &&
		last->command.version == version &&
		last->command.role == owner &&
		last->command.priority == priority &&
		last->command.start_at == start_at)
	{
		last->command.last_run = run_id;
		return;
	}
	command.first_run = command.last_run = run_id;
	command.package_id = package_id;
	command.version = version;
	command.role = owner;
	command.priority = priority;
	command.start_at = start_at;
	add_note(&command);
}

static void
add_note(const WfCommand *command)
{
	if (notes == NULL)
	{
		notes = MemoryContextAlloc(TopTransactionContext, 16 * sizeof(Note));
		max_notes = 16;
	}
	else if (nnotes == max_notes)
	{
		notes = repalloc_huge(notes, 2 * max_notes * sizeof(Note));
		max_notes *= 2;
	}
	notes[nnotes].command = *command;
	notes[nnotes].nest_level = GetCurrentTransactionNestLevel();
	nnotes++;
}

/* Note that a package was edited. */
void
wf_wakeup_edited(int64 package_id)
{
	WfCommand	command = {.kind = WF_COMMAND_EDITED,
	.package_id = package_id};

	if (wf_shared == NULL)
		return;
	register_callbacks();
	add_note(&command);
}

/* Note that the extension comes or goes. */
void
wf_wakeup_look(void)
{
	register_callbacks();
	look_at_commit = true;
}

/* True if this transaction started the run. */
bool
wf_wakeup_started_here(int64 run_id)
{
	int			i;

	for (i = 0; i < nnotes; i++)
	{
		if (run_id >= notes[i].command.first_run &&
			run_id <= notes[i].command.last_run)
			return true;
	}
	return false;
}

static void
register_callbacks(void)
{
	if (callbacks_registered)
		return;
	RegisterXactCallback(at_xact_end, NULL);
	RegisterSubXactCallback(at_subxact_end, NULL);
	callbacks_registered = true;
}

static void
at_xact_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			tell_scheduler();
			forget();
			break;
		case XACT_EVENT_PREPARE:
			note_prepared();
			forget();
			break;
		case XACT_EVENT_ABORT:
			forget();
			break;
		default:
			break;
	}
}

/* The transaction is over: nothing of it stays noted. */
static void
forget(void)
{
	WfBackend  *backend = wf_wakeup_backend();

	notes = NULL;
	nnotes = max_notes = 0;
	look_at_commit = false;
	if (pg_atomic_read_u64(&backend->pending_run) != 0)
	{
		pg_memory_barrier();
		pg_atomic_write_u64(&backend->pending_run, 0);
	}
}

static void
tell_scheduler(void)
{
	WfDatabase *database = NULL;
	WfCommand	look = {.kind = WF_COMMAND_LOOK};
	int			i;

	if (nnotes > 0 || look_at_commit)
		database = wf_database_find(MyDatabaseId);
	if (database != NULL && database->pid != 0)
	{
		for (i = 0; i < nnotes; i++)
			(void) wf_command_send(database, &notes[i].command);
		if (look_at_commit)
			(void) wf_command_send(database, &look);
	}
	if (look_at_commit)
	{
		wf_shared->look = true;
		wf_launcher_wake();
	}
}

static void
note_prepared(void)
{
	WfDatabase *database;
	int64		first;

	if (nnotes == 0)
		return;
	database = wf_database_find(MyDatabaseId);
	if (database == NULL)
		return;
	first = pg_atomic_read_u64(&wf_wakeup_backend()->pending_run);
	if (first == 0)
		return;					/* what was edited is found anyhow */
	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	if (database->prepared_run == 0 || first < database->prepared_run)
		database->prepared_run = first;
	wf_database_wake(database);
	LWLockRelease(&database->lock);
}

static void
at_subxact_end(SubXactEvent event, SubTransactionId my_subid,
			   SubTransactionId parent_subid, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();
	int			i;

	switch (event)
	{
		case SUBXACT_EVENT_COMMIT_SUB:
			for (i = nnotes - 1; i >= 0 && notes[i].nest_level >= level; i--)
				notes[i].nest_level = level - 1;
			break;
		case SUBXACT_EVENT_ABORT_SUB:
			while (nnotes > 0 && notes[nnotes - 1].nest_level >= level)
				nnotes--;
			break;
		default:
			break;
	}
}
