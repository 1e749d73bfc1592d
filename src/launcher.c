/*-------------------------------------------------------------------------
 *
 * launcher.c
 *	  Keeps one scheduler in each database that has the extension.
 *
 * The launcher is the only static process.  It connects to no database (only
 * shared catalogs can be read), so it is in nobody's way.  It cannot see
 * which databases have the extension, so at its start it tries them all, one
 * after the other: a scheduler that finds no extension marks its place as
 * ABSENT and leaves at once.  Later it is told: CREATE EXTENSION sets
 * WfShared.look at its commit, and the launcher tries again those that have
 * no scheduler.  So do CREATE and ALTER DATABASE: a database that does not
 * allow connections any more, or has become a template, loses its agent.
 *
 * A database that is barred (evict.c) gets no scheduler; who lifts the bar
 * sets `look`.
 *
 * A scheduler that fails marks its place as FAILED when it leaves (or the
 * place still says STARTING when its process is gone); it is started again
 * after a second, then two, and so on up to a minute, until it has lived for
 * a minute.  Places are in shared memory and outlive the launcher: one that
 * comes back after an error finds the schedulers at work.
 *
 * Wakes up by latch alone: the postmaster's notice about a scheduler, a
 * scheduler that leaves, CREATE EXTENSION, a reload, or a back-off that ends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "bgworker.h"
#include "compat.h"
#include "pool.h"
#include "shmem.h"

#define BACKOFF_MAX_S		60
#define LIVED_LONG_S		60
#define NO_SLOT_RETRY_S		5
#define PATIENCE_MS			2000

/* What the launcher remembers of a place; not shared. */
typedef struct Place
{
	BackgroundWorkerHandle *handle; /* NULL: no process that it started */
	TimestampTz started_at;
	TimestampTz not_before;		/* back-off; 0: none */
	int			failures;
} Place;

extern PGDLLEXPORT void wf_launcher_main(Datum arg);

static Place *places;			/* one for each WfDatabase */
static List *connectable = NIL; /* OIDs of databases, as last looked at */
static List *to_try = NIL;		/* those that have yet to be tried */
static bool no_slot_reported = false;

static void attach(void);
static void detach(int code, Datum arg);
static void find_databases(void);
static void end_unwanted(void);
static void cut_back_off_short(void);
static void notice_ends(void);
static void notice_end(int i);
static void start_next(TimestampTz now);
static bool starting(TimestampTz now);
static void start(Oid oid, TimestampTz now);
static void restart_failed(TimestampTz now);
static void give_up(WfDatabase *database);
static long time_to_sleep(TimestampTz now);

/* The launcher. */
void
wf_launcher_main(Datum arg)
{
	MemoryContext turn;

	wf_bgworker_setup(false);
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	attach();

	places = MemoryContextAllocZero(TopMemoryContext,
									sizeof(Place) * wf_shared->ndatabases);
	turn = AllocSetContextCreate(TopMemoryContext, "workflow launcher turn",
								 ALLOCSET_DEFAULT_SIZES);
	wf_shared->look = true;

	for (;;)
	{
		TimestampTz now;
		long		sleep;

		MemoryContextSwitchTo(turn);
		MemoryContextReset(turn);
		ResetLatch(MyLatch);
		wf_bgworker_interrupts();

		if (wf_shared->look)
		{
			wf_shared->look = false;
			find_databases();
			end_unwanted();
			cut_back_off_short();
		}
		notice_ends();
		now = GetCurrentTimestamp();
		restart_failed(now);
		start_next(now);

		sleep = time_to_sleep(now);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH |
						 (sleep >= 0 ? WL_TIMEOUT : 0), sleep,
						 wf_wait_event("WorkflowLauncherMain"));
	}
}

static void
attach(void)
{
	int			i;

	before_shmem_exit(detach, (Datum) 0);
	LWLockAcquire(&wf_shared->lock, LW_EXCLUSIVE);
	wf_shared->launcher_pid = MyProcPid;
	wf_shared->launcher_proc = wf_proc_number(MyProc);

	/* what an earlier launcher has asked for and is not there is nobody's now */
	for (i = 0; i < wf_shared->ndatabases; i++)
	{
		if (wf_shared->databases[i].state == WF_DATABASE_STARTING &&
			wf_shared->databases[i].pid == 0)
			wf_shared->databases[i].state = WF_DATABASE_FAILED;
	}
	LWLockRelease(&wf_shared->lock);
}

static void
detach(int code, Datum arg)
{
	LWLockAcquire(&wf_shared->lock, LW_EXCLUSIVE);
	if (wf_shared->launcher_pid == MyProcPid)
		wf_shared->launcher_pid = 0;
	LWLockRelease(&wf_shared->lock);
}

/* Note all connectable databases as to be tried. */
static void
find_databases(void)
{
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;
	MemoryContext old;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	list_free(to_try);
	list_free(connectable);
	connectable = NIL;
	old = MemoryContextSwitchTo(TopMemoryContext);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		if (database->datallowconn && !database->datistemplate)
			connectable = lappend_oid(connectable, database->oid);
	}
	to_try = list_copy(connectable);
	MemoryContextSwitchTo(old);
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
}

/* Terminate schedulers of databases to which none could connect now. */
static void
end_unwanted(void)
{
	int			i;

	LWLockAcquire(&wf_shared->lock, LW_SHARED);
	for (i = 0; i < wf_shared->ndatabases; i++)
	{
		WfDatabase *database = &wf_shared->databases[i];

		if (database->pid != 0 &&
			!list_member_oid(connectable, database->oid))
			(void) kill(database->pid, SIGTERM);
	}
	LWLockRelease(&wf_shared->lock);
}

/* Who has told the launcher to look may have put right what had failed. */
static void
cut_back_off_short(void)
{
	int			i;

	for (i = 0; i < wf_shared->ndatabases; i++)
	{
		if (places[i].not_before != 0)
			places[i].not_before = GetCurrentTimestamp();
	}
}

/* Look which schedulers have ended. */
static void
notice_ends(void)
{
	int			i;

	for (i = 0; i < wf_shared->ndatabases; i++)
	{
		pid_t		pid;

		if (places[i].handle != NULL &&
			GetBackgroundWorkerPid(places[i].handle, &pid) == BGWH_STOPPED)
			notice_end(i);
	}
}

static void
notice_end(int i)
{
	WfDatabase *database = &wf_shared->databases[i];

	pfree(places[i].handle);
	places[i].handle = NULL;
	LWLockAcquire(&wf_shared->lock, LW_EXCLUSIVE);
	if (database->state == WF_DATABASE_STARTING)
		database->state = WF_DATABASE_FAILED;	/* it did not come that far */
	LWLockRelease(&wf_shared->lock);
}

/*
 * restart_failed
 *		Give failed schedulers their time, then note them as to be tried.  One
 *		that cannot be started again leaves nobody behind.
 */
static void
restart_failed(TimestampTz now)
{
	int			i;

	for (i = 0; i < wf_shared->ndatabases; i++)
	{
		WfDatabase *database = &wf_shared->databases[i];
		Place	   *place = &places[i];

		if (database->state != WF_DATABASE_FAILED || place->handle != NULL ||
			database->pid != 0) /* of an earlier launcher, just starting */
			continue;
		if (!list_member_oid(connectable, database->oid))
		{
			wf_pool_terminate(database);
			give_up(database);
		}
		else if (place->not_before == 0)
		{
			if (TimestampDifferenceExceeds(place->started_at, now,
										   LIVED_LONG_S * 1000))
				place->failures = 0;
			place->not_before =
				TimestampTzPlusMilliseconds(now, 1000 *
											Min(1 << Min(place->failures, 6),
												BACKOFF_MAX_S));
			place->failures++;
		}
		else if (now >= place->not_before)
		{
			/* a database that was dropped meanwhile is not found again */
			place->not_before = 0;
			give_up(database);
			find_databases();
		}
	}
}

/* A place is nobody's, unless it is barred. */
static void
give_up(WfDatabase *database)
{
	LWLockAcquire(&wf_shared->lock, LW_EXCLUSIVE);
	database->state = WF_DATABASE_FREE;
	if (database->bars == 0)
		database->oid = InvalidOid;
	LWLockRelease(&wf_shared->lock);
}

/* Start one scheduler, if none is just starting. */
static void
start_next(TimestampTz now)
{
	while (to_try != NIL && !starting(now))
	{
		Oid			oid = linitial_oid(to_try);
		WfDatabase *database = wf_database_find(oid);

		to_try = list_delete_first(to_try);
		if (database == NULL || database->state == WF_DATABASE_FREE ||
			database->state == WF_DATABASE_ABSENT)
			start(oid, now);
	}
}

/* True if a scheduler is just starting.  One that takes long, since somebody
 * has locked its database, does not keep others from it. */
static bool
starting(TimestampTz now)
{
	int			i;

	for (i = 0; i < wf_shared->ndatabases; i++)
	{
		if (wf_shared->databases[i].state == WF_DATABASE_STARTING &&
			!TimestampDifferenceExceeds(places[i].started_at, now,
										PATIENCE_MS))
			return true;
	}
	return false;
}

static void
start(Oid oid, TimestampTz now)
{
	WfDatabase *database = wf_database_claim(oid);
	Place	   *place;
	MemoryContext old;
	bool		barred;

	if (database == NULL)
	{
		ereport(LOG,
				(errmsg("no place for a workflow scheduler in database %u",
						oid),
				 errhint("You might need to increase max_worker_processes.")));
		return;
	}
	place = &places[wf_database_index(database)];
	LWLockAcquire(&wf_shared->lock, LW_EXCLUSIVE);
	barred = (database->bars > 0);
	if (!barred)
		database->state = WF_DATABASE_STARTING;
	LWLockRelease(&wf_shared->lock);
	if (barred)
		return;

	old = MemoryContextSwitchTo(TopMemoryContext);
	place->handle = wf_bgworker_start_scheduler(database);
	place->started_at = now;
	place->not_before = 0;
	if (place->handle == NULL)
	{
		LWLockAcquire(&wf_shared->lock, LW_EXCLUSIVE);
		database->state = WF_DATABASE_FAILED;
		database->error_at = now;
		strlcpy(database->last_error,
				"no background worker slot for a workflow scheduler",
				WF_MESSAGE_SIZE);
		LWLockRelease(&wf_shared->lock);
		place->not_before = TimestampTzPlusMilliseconds(now,
														NO_SLOT_RETRY_S * 1000);
		if (!no_slot_reported)
			ereport(LOG,
					(errmsg("no background worker slot for a workflow scheduler in database %u",
							oid),
					 errhint("You might need to increase max_worker_processes.")));
	}
	no_slot_reported = (place->handle == NULL);
	MemoryContextSwitchTo(old);
}

/* Milliseconds to the end of the next back-off, or of the patience with who
 * is starting while others wait; -1: none. */
static long
time_to_sleep(TimestampTz now)
{
	long		sleep = to_try != NIL ? PATIENCE_MS : -1;
	int			i;

	for (i = 0; i < wf_shared->ndatabases; i++)
	{
		if (wf_shared->databases[i].state == WF_DATABASE_FAILED &&
			places[i].not_before != 0)
		{
			long		ms = TimestampDifferenceMilliseconds(now,
															 places[i].not_before);

			sleep = sleep < 0 ? ms : Min(sleep, ms);
		}
	}
	return sleep;
}
