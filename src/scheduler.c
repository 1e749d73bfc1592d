/*-------------------------------------------------------------------------
 *
 * scheduler.c
 *	  The scheduler: one process per database, which decides what runs.
 *
 * It is connected to the database as the bootstrap superuser and never runs
 * SQL of anybody: it reads and writes the extension's tables as catalogs.
 *
 * A turn of its loop (see scheduler.h): commands from backends (new runs,
 * stop), entries that workers have done, workers that have gone; then the
 * drivers carry on; the turn's rows are committed; work is handed out,
 * workers are started, waiters woken; and it sleeps on its latch.  There is
 * no polling; the few things that nobody tells it about have a time-out (a
 * prepared transaction that may start runs, no free worker slot).
 *
 * New runs arrive as ranges of numbers with all that is needed to queue them.
 * Runs that a worker can carry out whole wait in `simple` and go into the
 * shared ready list as far as there are entries; the others wait in `complex`
 * for the sessions that they may need (driver.c).  The two do not hold up
 * each other.
 *
 * Start-up is recovery, always: fence off the workers of an earlier
 * scheduler, then queue every run that has no outcome, with `replay` set:
 * what is on record is not executed again.
 *
 * An ERROR anywhere ends the process.  The turn's transaction is rolled back
 * and nothing of the turn was handed out; the launcher starts another
 * scheduler, which recovers.
 *
 * The horizon (the lowest run that may be open) is moved at most every ten
 * seconds, when something ended, so an idle server sees no transaction.  It
 * never passes a run that some backend has numbered and not yet reported:
 * the backends' notices are read first, then the ring is emptied, then the
 * lowest run in hand is looked for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/twophase.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "area.h"
#include "bgworker.h"
#include "catalog.h"
#include "compat.h"
#include "guc.h"
#include "pool.h"
#include "scheduler.h"

#define HORIZON_INTERVAL_MS		10000
#define PREPARED_POLL_MS		1000
#define LOCK_RETRY_MS			200

/* Open runs that the horizon may pass, as it lists them. */
#define MAX_STILL_OPEN			64

/* Runs in hand: all are counted, the first ones listed. */
typedef struct InHand
{
	int64		lowest;			/* 0: there is none */
	int			n;
	int64		few[FLEXIBLE_ARRAY_MEMBER];
} InHand;

extern PGDLLEXPORT void wf_scheduler_main(Datum arg);

static WfScheduler scheduler;
static bool extension_absent = false;

static void attach(WfDatabase *database);
static void detach(int code, Datum arg);
static void keep_last_error(ErrorData *error);
static void leave_if_absent(void);
static void begin_work(WfScheduler *s);
static void take_turn(WfScheduler *s);
static void apply_settings(WfScheduler *s);
static void finish_turn(WfScheduler *s);
static void wake_waiters(WfScheduler *s);
static void publish(WfScheduler *s);
static void sleep_until_told(WfScheduler *s);
static void scan_open_runs(WfScheduler *s);
static HTAB *list_of_hand(WfScheduler *s);
static void found_open_run(const WfRun *run, void *arg);
static void receive_commands(WfScheduler *s);
static void enqueue(WfScheduler *s, const WfCommand *command);
static void enqueue_range(WfScheduler *s, const WfCommand *command,
						  int64 first, int64 last);
static void enqueue_run(WfScheduler *s, const WfQueuedRun *run, int64 last);
static void look_for_untold(WfScheduler *s);
static bool any_prepared_transaction(void);
static void admit(WfScheduler *s);
static bool admit_one(WfScheduler *s, const WfQueuedRun *queued);
static void top_up(WfScheduler *s);
static void stop(WfScheduler *s, const WfCommand *command);
static bool stop_queued(WfScheduler *s, const WfCommand *command,
						const char *reason);
static bool stop_handed_out(WfScheduler *s, const WfCommand *command,
							const char *reason);
static void reap_done(WfScheduler *s);
static void free_entry(WfScheduler *s, int entry);
static void reap_run(WfScheduler *s, int entry);
static void reap_gone(WfScheduler *s);
static void handle_gone(WfScheduler *s, const WfGoneWorker *gone);
static void cannot_connect(WfScheduler *s, const WfGoneWorker *gone);
static void fail_entry(WfScheduler *s, int entry, int sqlstate,
					   const char *message);
static void judge_orphans(WfScheduler *s);
static void judge_run(WfScheduler *s, const WfOrphan *orphan);
static void judge_step(WfScheduler *s, const WfOrphan *orphan);
static List *roles_of_orphans(WfScheduler *s);
static void note_in_hand(InHand *hand, int max, int64 run_id);
static void list_in_hand(WfScheduler *s, InHand *hand, int max);
static int	compare_int64(const void *a, const void *b);
static int64 horizon_limit(WfScheduler *s);
static void move_horizon(WfScheduler *s, int64 limit);

/* The scheduler. */
void
wf_scheduler_main(Datum arg)
{
	WfScheduler *s = &scheduler;
	WfDatabase *database = &wf_shared->databases[DatumGetInt32(arg)];

	wf_bgworker_setup(false);
	attach(database);
	s->database = database;
	BackgroundWorkerInitializeConnectionByOid(database->oid, InvalidOid, 0);
	leave_if_absent();
	pgstat_report_appname("workflow");
	begin_work(s);
	for (;;)
	{
		take_turn(s);
		sleep_until_told(s);
	}
}

/* Take the database's place; leave at once if another scheduler has it. */
static void
attach(WfDatabase *database)
{
	bool		taken;

	LWLockAcquire(&wf_shared->lock, LW_EXCLUSIVE);
	taken = (database->pid != 0 || !OidIsValid(database->oid));
	LWLockRelease(&wf_shared->lock);
	if (taken)
		proc_exit(0);

	before_shmem_exit(detach, PointerGetDatum(database));
	LWLockAcquire(&wf_shared->lock, LW_EXCLUSIVE);
	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	database->pid = MyProcPid;
	database->proc = wf_proc_number(MyProc);
	database->generation++;
	database->ready = false;
	LWLockRelease(&database->lock);
	LWLockRelease(&wf_shared->lock);
	emit_log_hook = keep_last_error;
}

/* Leave the place, and tell the launcher. */
static void
detach(int code, Datum arg)
{
	WfDatabase *database = (WfDatabase *) DatumGetPointer(arg);

	LWLockAcquire(&wf_shared->lock, LW_EXCLUSIVE);
	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	database->pid = 0;
	database->ready = false;
	database->state = extension_absent ? WF_DATABASE_ABSENT :
		WF_DATABASE_FAILED;
	LWLockRelease(&database->lock);
	LWLockRelease(&wf_shared->lock);
	wf_launcher_wake();
}

/* emit_log_hook: what workflow.agent shows as the last error. */
static void
keep_last_error(ErrorData *error)
{
	WfDatabase *database = scheduler.database;

	if (error->elevel < ERROR || database == NULL ||
		error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
		return;
	database->error_at = GetCurrentTimestamp();
	strlcpy(database->last_error, error->message ? error->message : "",
			WF_MESSAGE_SIZE);
}

/* End the process if the database does not have the extension (any more). */
static void
leave_if_absent(void)
{
	bool		installed;

	StartTransactionCommand();
	installed = wf_catalog_installed();
	CommitTransactionCommand();
	if (!installed)
	{
		extension_absent = true;
		proc_exit(0);
	}
}

/* Everything up to the first turn: recovery. */
static void
begin_work(WfScheduler *s)
{
	s->context = AllocSetContextCreate(TopMemoryContext, "workflow scheduler",
									   ALLOCSET_DEFAULT_SIZES);
	s->turn = AllocSetContextCreate(TopMemoryContext,
									"workflow scheduler turn",
									ALLOCSET_DEFAULT_SIZES);
	wf_queue_init(&s->simple, s->context);
	wf_queue_init(&s->complex, s->context);
	wf_driver_init(s);

	wf_pool_fence(s->database);
	wf_database_reset(s->database);
	s->area = wf_area_create(s->database);
	s->live = wf_live_create(s->database, s->area);
	MemoryContextSwitchTo(s->turn);
	apply_settings(s);

	LWLockAcquire(&wf_shared->lock, LW_EXCLUSIVE);
	s->database->state = WF_DATABASE_RUNNING;
	LWLockRelease(&wf_shared->lock);
	if (max_prepared_xacts > 0)
		s->database->prepared_run = 1;	/* one may be there from before */
	scan_open_runs(s);
	finish_turn(s);
	s->database->ready = true;
	wf_launcher_wake();
}

/* One turn. */
static void
take_turn(WfScheduler *s)
{
	int64		limit = 0;

	MemoryContextSwitchTo(s->turn);
	ResetLatch(MyLatch);
	if (wf_bgworker_interrupts())
		apply_settings(s);
	if (s->horizon_stale && s->database->prepared_run == 0 &&
		TimestampDifferenceExceeds(s->horizon_at, GetCurrentTimestamp(),
								   HORIZON_INTERVAL_MS))
		limit = horizon_limit(s);

	receive_commands(s);
	reap_done(s);
	reap_gone(s);
	judge_orphans(s);
	look_for_untold(s);
	admit(s);
	wf_driver_carry_on(s);
	if (limit > 0)
		move_horizon(s, limit);
	finish_turn(s);
}

static void
apply_settings(WfScheduler *s)
{
	LWLockAcquire(&s->database->lock, LW_EXCLUSIVE);
	s->database->hold = !wf_enabled;
	LWLockRelease(&s->database->lock);
}

/* ---- what the turn writes and hands out ---- */

/* See scheduler.h. */
void
wf_scheduler_begin(WfScheduler *s)
{
	if (s->in_transaction)
		return;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	s->in_transaction = true;
	MemoryContextSwitchTo(s->turn);
}

/* Hand out an entry after the commit. */
void
wf_scheduler_hand_out(WfScheduler *s, int entry, WfReadyList list, int slot)
{
	MemoryContext old = MemoryContextSwitchTo(s->turn);
	WfHandout  *handout = palloc(sizeof(WfHandout));

	handout->entry = entry;
	handout->list = list;
	handout->slot = slot;
	s->handouts = lappend(s->handouts, handout);
	MemoryContextSwitchTo(old);
}

/* A run has ended: tell who waits for it, after the commit. */
void
wf_scheduler_note_end(WfScheduler *s, int64 run_id)
{
	MemoryContext old = MemoryContextSwitchTo(s->turn);
	int64	   *copy = palloc(sizeof(int64));

	*copy = run_id;
	s->ended = lappend(s->ended, copy);
	s->horizon_stale = true;
	MemoryContextSwitchTo(old);
}

/* Commit, then hand out and wake. */
static void
finish_turn(WfScheduler *s)
{
	ListCell   *lc;

	if (s->in_transaction)
	{
		PopActiveSnapshot();
		CommitTransactionCommand();
		s->in_transaction = false;
	}
	foreach(lc, s->handouts)
	{
		WfHandout  *handout = lfirst(lc);

		wf_entry_push(s->database, handout->entry, handout->list,
					  handout->slot);
	}
	top_up(s);
	wf_pool_balance(s->database, roles_of_orphans(s));
	wake_waiters(s);
	publish(s);
	s->handouts = NIL;
	s->ended = NIL;
	MemoryContextReset(s->turn);
}

/* Set the latches of backends that wait for a run that ended. */
static void
wake_waiters(WfScheduler *s)
{
	int			n = list_length(s->ended);
	int64	   *ids;
	ListCell   *lc;
	int			i = 0;

	if (n == 0 || pg_atomic_read_u32(&wf_shared->nawaiting) == 0)
		return;
	ids = palloc(n * sizeof(int64));
	foreach(lc, s->ended)
		ids[i++] = *(int64 *) lfirst(lc);
	qsort(ids, n, sizeof(int64), compare_int64);
	for (i = 0; i < wf_shared->nbackends; i++)
	{
		WfBackend  *backend = &wf_shared->backends[i];
		int64		awaited = pg_atomic_read_u64(&backend->awaited_run);

		if (awaited != 0 &&
			pg_atomic_read_u32(&backend->database) == MyDatabaseId &&
			bsearch(&awaited, ids, n, sizeof(int64), compare_int64) != NULL)
			SetLatch(&wf_proc(i)->procLatch);
	}
}

static int
compare_int64(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

/* What workflow.agent shows. */
static void
publish(WfScheduler *s)
{
	LWLockAcquire(&s->database->lock, LW_EXCLUSIVE);
	s->database->running = s->running_inline + hash_get_num_entries(s->driven);
	s->database->queued = s->simple.length + s->complex.length;
	LWLockRelease(&s->database->lock);
}

/* Sleep until the latch is set, or one of the few timers. */
static void
sleep_until_told(WfScheduler *s)
{
	int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;
	long		sleep = wf_pool_time_to_retry();

	if (s->database->prepared_run != 0)
		sleep = sleep < 0 ? PREPARED_POLL_MS : Min(sleep, PREPARED_POLL_MS);
	if (s->retry_soon)
		sleep = sleep < 0 ? LOCK_RETRY_MS : Min(sleep, LOCK_RETRY_MS);
	s->retry_soon = false;
	if (sleep >= 0)
		events |= WL_TIMEOUT;
	(void) pgstat_report_stat(sleep < 0);
	(void) WaitLatch(MyLatch, events, sleep,
					 wf_wait_event("WorkflowSchedulerMain"));
}

/* ---- new runs ---- */

/*
 * scan_open_runs
 *		Queue every run without outcome that is not in hand.  The runs found
 *		are remembered, since the commands of those that committed just now
 *		may still be on their way.
 */
static void
scan_open_runs(WfScheduler *s)
{
	HASHCTL		control = {0};

	control.keysize = sizeof(int64);
	control.entrysize = sizeof(int64);
	control.hcxt = s->context;
	if (s->scanned == NULL)
		s->scanned = hash_create("workflow scanned runs", 1024, &control,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	if (s->children == NULL)
	{
		control.keysize = 2 * sizeof(int64);
		control.entrysize = 3 * sizeof(int64);
		s->children = hash_create("workflow open children", 64, &control,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	wf_scheduler_begin(s);
	s->in_hand = list_of_hand(s);
	wf_history_scan_open(found_open_run, s, &s->scanned_to);
	s->in_hand = NULL;
	s->highest = Max(s->highest, s->scanned_to);
}

/* A hash of the runs in hand, in the turn's memory. */
static HTAB *
list_of_hand(WfScheduler *s)
{
	HASHCTL		control = {0};
	int			size = 2 * WF_NENTRIES + hash_get_num_entries(s->driven) +
	s->simple.length + s->complex.length;
	InHand	   *hand = palloc_extended(offsetof(InHand, few) +
									   size * sizeof(int64), MCXT_ALLOC_HUGE);
	HTAB	   *hash;
	int			i;

	control.keysize = sizeof(int64);
	control.entrysize = sizeof(int64);
	control.hcxt = s->turn;
	hash = hash_create("workflow runs in hand", size, &control,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	list_in_hand(s, hand, size);
	for (i = 0; i < hand->n; i++)
		hash_search(hash, &hand->few[i], HASH_ENTER, NULL);
	return hash;
}

static void
found_open_run(const WfRun *run, void *arg)
{
	WfScheduler *s = arg;
	WfQueuedRun queued;
	bool		found;

	if (run->parent_run_id != 0)
	{
		struct
		{
			int64		parent_run_id;
			int32		step;
			int32		attempt;
			int64		run_id;
		}		   *child,
					key = {run->parent_run_id, run->parent_step,
		run->parent_attempt, 0};

		child = hash_search(s->children, &key, HASH_ENTER, &found);
		child->run_id = run->run_id;
		return;
	}
	if (hash_search(s->in_hand, &run->run_id, HASH_FIND, NULL) != NULL)
		return;
	hash_search(s->scanned, &run->run_id, HASH_ENTER, &found);
	if (found)
		return;
	queued.run_id = run->run_id;
	queued.package_id = run->package_id;
	queued.version = run->version;
	queued.priority = run->priority;
	queued.owner = run->owner;
	queued.replay = true;
	enqueue_run(s, &queued, run->run_id);
}

/* Take in what backends have sent. */
static void
receive_commands(WfScheduler *s)
{
	WfCommand	command;

	while (wf_command_receive(s->database, &command))
	{
		switch (command.kind)
		{
			case WF_COMMAND_START:
				enqueue(s, &command);
				break;
			case WF_COMMAND_STOP:
				stop(s, &command);
				break;
			case WF_COMMAND_LOOK:
				wf_scheduler_begin(s);
				if (!wf_catalog_installed())
				{
					extension_absent = true;
					proc_exit(0);
				}
				break;
		}
	}
}

/* Queue the runs of a START command, but for those that a scan has found. */
static void
enqueue(WfScheduler *s, const WfCommand *command)
{
	int64		first = command->first_run;

	s->highest = Max(s->highest, command->last_run);
	while (s->scanned != NULL && first <= command->last_run &&
		   first <= s->scanned_to)
	{
		int64		last = first;

		if (hash_search(s->scanned, &first, HASH_FIND, NULL) == NULL)
			enqueue_range(s, command, first, last);
		first++;
	}
	if (first <= command->last_run)
		enqueue_range(s, command, first, command->last_run);
}

static void
enqueue_range(WfScheduler *s, const WfCommand *command, int64 first,
			  int64 last)
{
	WfQueuedRun run = {
		.run_id = first,
		.package_id = command->package_id,
		.version = command->version,
		.priority = command->priority,
		.owner = command->role,
		.replay = false
	};

	enqueue_run(s, &run, last);
}

/* Put runs into the queue that their plan belongs into. */
static void
enqueue_run(WfScheduler *s, const WfQueuedRun *run, int64 last)
{
	const WfPlan *plan;

	wf_scheduler_begin(s);
	plan = wf_plan_get(run->package_id, run->version);
	if (plan == NULL)
		elog(ERROR, "version %d of package " INT64_FORMAT " is not there",
			 run->version, run->package_id);
	wf_queue_add(plan->inline_run ? &s->simple : &s->complex, run, last);
}

/*
 * look_for_untold
 *		Runs that no command tells of: those of transactions that were
 *		prepared when they had started them, and those for which the ring had
 *		no place.  They are found in the table.  Whether there are prepared
 *		transactions is asked first, so that the last of them to commit is not
 *		missed.
 */
static void
look_for_untold(WfScheduler *s)
{
	int64		missed;
	bool		any_prepared;

	LWLockAcquire(&s->database->lock, LW_EXCLUSIVE);
	missed = s->database->missed_run;
	s->database->missed_run = 0;
	LWLockRelease(&s->database->lock);
	if (missed == 0 && s->database->prepared_run == 0)
		return;

	any_prepared = any_prepared_transaction();
	scan_open_runs(s);
	if (!any_prepared)
	{
		LWLockAcquire(&s->database->lock, LW_EXCLUSIVE);
		s->database->prepared_run = 0;
		LWLockRelease(&s->database->lock);
	}
}

/* True if this database has a prepared transaction. */
static bool
any_prepared_transaction(void)
{
	int			first = MaxBackends + NUM_AUXILIARY_PROCS;
	int			i;

	for (i = first; i < first + max_prepared_xacts; i++)
	{
		PGPROC	   *proc = wf_proc(i);

		if (TransactionIdIsValid(proc->xid) &&
			proc->databaseId == MyDatabaseId)
			return true;
	}
	return false;
}

/* Admit runs that are driven from here, as far as their sessions fit. */
static void
admit(WfScheduler *s)
{
	WfQueuedRun queued;

	while (!s->database->hold && wf_queue_peek(&s->complex, &queued) &&
		   admit_one(s, &queued))
		;
}

/* Admit one run, or end it if it can never be.  False if it has to wait. */
static bool
admit_one(WfScheduler *s, const WfQueuedRun *queued)
{
	const WfPlan *plan;
	WfQueuedRun taken;
	WfRun		run;
	int			need;

	wf_scheduler_begin(s);
	plan = wf_plan_get(queued->package_id, queued->version);
	need = Min(wf_driver_bound(plan), wf_max_workers);
	if (plan->sessions <= wf_max_workers &&
		s->reserved + need > wf_max_workers)
		return false;

	(void) wf_queue_take(&s->complex, &taken);
	if (!wf_history_read_run(queued->run_id, &run))
		elog(ERROR, "run " INT64_FORMAT " is not there", queued->run_id);
	if (plan->sessions > wf_max_workers)
	{
		wf_scheduler_end_unstarted(s, &run, WF_RUN_FAILED,
								   ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
								   "the package needs more sessions than workers there can be",
								   InvalidOid, NULL, false);
		return true;
	}
	s->reserved += need;
	wf_driver_begin(s, &run, queued->replay, need);
	return true;
}

/* Fill the ready list from the queue of runs for the inline driver. */
static void
top_up(WfScheduler *s)
{
	WfQueuedRun run;

	while (!s->database->hold && wf_queue_peek(&s->simple, &run))
	{
		int			entry = wf_entry_alloc(s->database,
										   wf_entry_overtakes(s->database,
															  run.priority));
		WfEntry    *e;

		if (entry < 0)
			return;
		(void) wf_queue_take(&s->simple, &run);
		e = &s->database->entries[entry];
		e->kind = WF_ENTRY_RUN;
		e->role = run.owner;
		e->package_id = run.package_id;
		e->version = run.version;
		e->priority = run.priority;
		e->run_id = run.run_id;
		e->replay = run.replay;
		e->lazy = true;
		s->running_inline++;
		wf_entry_push(s->database, entry, WF_READY_NEW, -1);
	}
}

/* ---- stop ---- */

/* A STOP command. */
static void
stop(WfScheduler *s, const WfCommand *command)
{
	dsa_pointer text = command->reason;
	char	   *reason = wf_area_get_text(s->area, text);
	WfDrivenRun *driven = wf_driver_find(s, command->first_run);

	wf_area_free(s->area, &text);
	wf_scheduler_begin(s);
	if (driven != NULL)
		wf_driver_stop(s, driven, command->role, reason, command->force,
					   false);
	else if (!stop_queued(s, command, reason) &&
			 !stop_handed_out(s, command, reason))
		wf_scheduler_note_end(s, command->first_run);	/* it has ended */
}

/* Stop a run that waits to be started. */
static bool
stop_queued(WfScheduler *s, const WfCommand *command, const char *reason)
{
	WfQueuedRun queued;
	WfRun		run;

	if (!wf_queue_remove(&s->simple, command->first_run, &queued) &&
		!wf_queue_remove(&s->complex, command->first_run, &queued))
		return false;
	if (!wf_history_read_run(command->first_run, &run))
		elog(ERROR, "run " INT64_FORMAT " is not there", command->first_run);
	wf_scheduler_end_unstarted(s, &run, WF_RUN_CANCELLED, 0, NULL,
							   command->role, reason, false);
	return true;
}

/* Stop a run that a worker carries out, or is about to. */
static bool
stop_handed_out(WfScheduler *s, const WfCommand *command, const char *reason)
{
	int			i;

	for (i = 0; i < WF_NENTRIES; i++)
	{
		WfEntry    *e = &s->database->entries[i];
		WfRun		run;

		if (e->state == WF_ENTRY_FREE || e->kind != WF_ENTRY_RUN ||
			e->run_id != command->first_run)
			continue;
		if (!e->cancel)
		{
			e->stopped_by = command->role;
			e->stop_reason = wf_area_put_text(s->area, reason);
		}
		if (!wf_entry_cancel(s->database, i, command->force))
			return true;
		if (!wf_history_read_run(e->run_id, &run))
			elog(ERROR, "run " INT64_FORMAT " is not there", e->run_id);
		wf_scheduler_end_unstarted(s, &run, WF_RUN_CANCELLED, 0, NULL,
								   command->role, reason, false);
		if (run.parent_run_id != 0)
			wf_driver_child_ended(s, run.parent_run_id, run.parent_step,
								  WF_STEP_FAILED, ERRCODE_QUERY_CANCELED,
								  NULL, WF_CHILD_CANCELLED);
		free_entry(s, i);
		return true;
	}
	return false;
}

/* See scheduler.h. */
void
wf_scheduler_end_unstarted(WfScheduler *s, const WfRun *run,
						   WfRunStatus status, int sqlstate,
						   const char *message, Oid stopped_by,
						   const char *reason, bool parent_stops)
{
	const WfPlan *plan = wf_plan_get(run->package_id, run->version);
	WfRecord   *record = wf_history_read_record(run->run_id);
	WfRunOutcome outcome = {
		.run_id = run->run_id,
		.status = status,
		.finished_at = GetCurrentTimestamp(),
		.sqlstate = sqlstate,
		.message = message,
		.stopped_by = stopped_by,
		.stop_reason = reason
	};
	int			i;

	for (i = 0; i < plan->nsteps; i++)
	{
		WfStepOutcome step = {.run_id = run->run_id, .step = i, .rows = -1,
		.status = WF_STEP_SKIPPED};

		if (wf_history_find_outcome(record, i, 0) != NULL ||
			wf_history_find_outcome(record, i, 1) != NULL)
			continue;
		step.reason = plan->steps[i].disabled ? WF_REASON_DISABLED :
			status == WF_RUN_CANCELLED ? WF_REASON_CANCELLED :
			WF_REASON_PACKAGE_FAILED;
		wf_history_insert_step_outcome(&step);
	}
	wf_history_end_run(run, &outcome, parent_stops);
	wf_scheduler_note_end(s, run->run_id);
}

/* ---- what workers have done ---- */

/* Take in the entries that are done. */
static void
reap_done(WfScheduler *s)
{
	int			entry;

	while ((entry = wf_entry_next_done(s->database)) >= 0)
	{
		if (s->database->entries[entry].kind == WF_ENTRY_RUN)
			reap_run(s, entry);
		else if (s->database->entries[entry].kind == WF_ENTRY_STEP)
			wf_driver_step_done(s, entry);
		free_entry(s, entry);
	}
}

/* Free an entry and what belongs to it in the area. */
static void
free_entry(WfScheduler *s, int entry)
{
	WfEntry    *e = &s->database->entries[entry];

	if (e->kind == WF_ENTRY_RUN && e->parent_run_id == 0)
		s->running_inline--;
	wf_area_free(s->area, &e->error);
	wf_area_free(s->area, &e->stop_reason);
	wf_entry_free(s->database, entry);
}

/* A worker has carried out a run. */
static void
reap_run(WfScheduler *s, int entry)
{
	WfEntry    *e = &s->database->entries[entry];
	char	   *path;
	char	   *message;

	wf_scheduler_note_end(s, e->run_id);
	if (e->parent_run_id == 0)
		return;
	wf_area_get_error(s->area, e->error, &path, &message);
	if (e->status == WF_RUN_CANCELLED)
	{
		path = NULL;
		message = WF_CHILD_CANCELLED;
		e->sqlstate = ERRCODE_QUERY_CANCELED;
	}
	wf_driver_child_ended(s, e->parent_run_id, e->parent_step,
						  wf_history_step_status(e->status, e->parent_stops),
						  e->sqlstate, path, message);
}

/* ---- workers that have gone ---- */

static void
reap_gone(WfScheduler *s)
{
	WfGoneWorker gone;

	while (wf_pool_next_gone(s->database, &gone))
		handle_gone(s, &gone);
}

/* See to what a worker that has gone was at, and was to do. */
static void
handle_gone(WfScheduler *s, const WfGoneWorker *gone)
{
	WfOrphan   *orphan;
	MemoryContext old;

	wf_driver_session_lost(s, gone->slot);
	if (gone->inbox >= 0)
	{
		WfEntry    *e = &s->database->entries[gone->inbox];

		if (e->kind == WF_ENTRY_RELEASE)
			free_entry(s, gone->inbox);
		else
		{
			e->bind = true;		/* another worker becomes the session */
			wf_scheduler_hand_out(s, gone->inbox, WF_READY_GOING, -1);
		}
	}
	if (gone->entry >= 0 &&
		s->database->entries[gone->entry].kind == WF_ENTRY_RELEASE)
		free_entry(s, gone->entry);
	else if (gone->entry >= 0)
	{
		old = MemoryContextSwitchTo(s->context);
		orphan = palloc0(sizeof(WfOrphan));
		orphan->entry = gone->entry;
		orphan->role = gone->role;
		orphan->after = gone->sqlstate == ERRCODE_ADMIN_SHUTDOWN ?
			wf_pool_connected() + 1 : 0;
		orphan->sqlstate = gone->sqlstate != 0 ? gone->sqlstate :
			ERRCODE_INTERNAL_ERROR;
		orphan->message = pstrdup(gone->message[0] != '\0' ? gone->message :
								  "the worker ended without an error");
		s->orphans = lappend(s->orphans, orphan);
		MemoryContextSwitchTo(old);
	}
	else if (!gone->connected && gone->sqlstate != 0 &&
			 gone->sqlstate != ERRCODE_ADMIN_SHUTDOWN)
		cannot_connect(s, gone);
}

/*
 * cannot_connect
 *		A worker could not connect as its role.  If the server was short of
 *		something that is tried again; anything else (the role is gone, or may
 *		not log in or connect) fails what waits for workers of the role.
 */
static void
cannot_connect(WfScheduler *s, const WfGoneWorker *gone)
{
	int			i;

	if (ERRCODE_TO_CATEGORY(gone->sqlstate) == ERRCODE_INSUFFICIENT_RESOURCES)
	{
		s->retry_soon = true;
		return;
	}
	wf_scheduler_begin(s);
	for (i = 0; i < WF_NENTRIES; i++)
	{
		WfEntry    *e = &s->database->entries[i];

		if (e->state != WF_ENTRY_READY || e->role != gone->role ||
			e->slot >= 0)
			continue;
		if (wf_entry_cancel(s->database, i, false))
			fail_entry(s, i, gone->sqlstate, gone->message);
	}
}

/* Nobody can do what an entry asks for. */
static void
fail_entry(WfScheduler *s, int entry, int sqlstate, const char *message)
{
	WfEntry    *e = &s->database->entries[entry];
	WfRun		run;

	if (e->kind == WF_ENTRY_STEP)
		wf_driver_step_lost(s, entry, sqlstate, message);
	else
	{
		if (!wf_history_read_run(e->run_id, &run))
			elog(ERROR, "run " INT64_FORMAT " is not there", e->run_id);
		wf_scheduler_end_unstarted(s, &run, WF_RUN_FAILED, sqlstate, message,
								   InvalidOid, NULL, false);
		if (run.parent_run_id != 0)
			wf_driver_child_ended(s, run.parent_run_id, run.parent_step,
								  WF_STEP_FAILED, sqlstate, NULL, message);
	}
	free_entry(s, entry);
}

/*
 * judge_orphans
 *		Decide about entries whose worker died.  What is on record counts: the
 *		worker may have died after its commit.  One that was told to go by the
 *		administrator is judged only when another worker has connected, since
 *		a server that shuts down starts none, and a shutdown fails no step.
 */
static void
judge_orphans(WfScheduler *s)
{
	List	   *orphans = s->orphans;
	ListCell   *lc;
	MemoryContext old;

	s->orphans = NIL;
	foreach(lc, orphans)
	{
		WfOrphan   *orphan = lfirst(lc);

		if (wf_pool_connected() < orphan->after)
		{
			old = MemoryContextSwitchTo(s->context);
			s->orphans = lappend(s->orphans, orphan);
			MemoryContextSwitchTo(old);
			continue;
		}
		wf_scheduler_begin(s);
		if (s->database->entries[orphan->entry].kind == WF_ENTRY_RUN)
			judge_run(s, orphan);
		else
			judge_step(s, orphan);
		pfree(orphan->message);
		pfree(orphan);
	}
	list_free(orphans);
}

/* The worker was at a whole run: the step in progress fails, the rest goes
 * on with another worker. */
static void
judge_run(WfScheduler *s, const WfOrphan *orphan)
{
	WfEntry    *e = &s->database->entries[orphan->entry];
	WfRunOutcome outcome;
	TransactionId xid;
	WfRecord   *record;

	if (wf_history_read_run_outcome(e->run_id, &outcome, &xid))
	{
		e->status = outcome.status;
		e->sqlstate = outcome.sqlstate;
		e->error = wf_area_put_error(s->area, outcome.error_path,
									 outcome.message);
		reap_run(s, orphan->entry);
		free_entry(s, orphan->entry);
		return;
	}
	record = wf_history_read_record(e->run_id);
	if (e->current_step >= 0 &&
		wf_history_find_outcome(record, e->current_step,
								e->current_attempt) == NULL)
	{
		WfStepOutcome step = {
			.run_id = e->run_id,
			.step = e->current_step,
			.attempt = e->current_attempt,
			.started_at = e->step_started_at,
			.finished_at = GetCurrentTimestamp(),
			.rows = -1,
			.status = e->cancel ? WF_STEP_CANCELLED : WF_STEP_FAILED,
			.sqlstate = orphan->sqlstate,
			.message = orphan->message
		};

		wf_history_insert_step_outcome(&step);
	}
	e->replay = true;
	e->current_step = -1;
	wf_scheduler_hand_out(s, orphan->entry, WF_READY_GOING, -1);
}

/* The worker was at a step. */
static void
judge_step(WfScheduler *s, const WfOrphan *orphan)
{
	WfEntry    *e = &s->database->entries[orphan->entry];
	WfRecord   *record = wf_history_read_record(e->run_id);
	const WfStepOutcome *outcome =
	wf_history_find_outcome(record, e->step, e->attempt);

	e->bind = false;			/* the session went with the worker */
	if (outcome == NULL)
		wf_driver_step_lost(s, orphan->entry, orphan->sqlstate,
							orphan->message);
	else
	{
		e->status = outcome->status;
		e->sqlstate = outcome->sqlstate;
		e->error = wf_area_put_error(s->area, NULL, outcome->message);
		wf_driver_step_done(s, orphan->entry);
	}
	free_entry(s, orphan->entry);
}

/* A worker for each role whose orphans wait for one to connect. */
static List *
roles_of_orphans(WfScheduler *s)
{
	List	   *roles = NIL;
	ListCell   *lc;

	foreach(lc, s->orphans)
		roles = list_append_unique_oid(roles,
									   ((WfOrphan *) lfirst(lc))->role);
	return roles;
}

/* ---- horizon ---- */

/*
 * horizon_limit
 *		The run below which every run is known here, once the ring is emptied
 *		after this; 0 if that cannot be said.  The highest known run is taken
 *		before the backends' notices are read: a number drawn later is higher.
 */
static int64
horizon_limit(WfScheduler *s)
{
	int64		limit = s->highest + 1;
	int			i;

	for (i = 0; i < wf_shared->nbackends; i++)
	{
		WfBackend  *backend = &wf_shared->backends[i];
		uint64		run = pg_atomic_read_u64(&backend->pending_run);

		if (run == 0 ||
			pg_atomic_read_u32(&backend->database) != MyDatabaseId)
			continue;
		if (run == WF_PENDING_UNKNOWN)
			return 0;
		limit = Min(limit, (int64) run);
	}
	pg_memory_barrier();
	return limit;
}

/* Note a run as in hand. */
static void
note_in_hand(InHand *hand, int max, int64 run_id)
{
	if (hand->lowest == 0 || run_id < hand->lowest)
		hand->lowest = run_id;
	if (hand->n < max)
		hand->few[hand->n] = run_id;
	hand->n++;
}

/* All runs that are in hand, in whatever way. */
static void
list_in_hand(WfScheduler *s, InHand *hand, int max)
{
	HASH_SEQ_STATUS status;
	int64	   *run_id;
	int			i;

	hand->lowest = 0;
	hand->n = wf_queue_list(&s->simple, hand->few, 0, max,
							&hand->lowest);
	hand->n = wf_queue_list(&s->complex, hand->few, hand->n, max,
							&hand->lowest);
	for (i = 0; i < WF_NENTRIES; i++)
	{
		if (s->database->entries[i].state != WF_ENTRY_FREE &&
			s->database->entries[i].kind == WF_ENTRY_RUN)
			note_in_hand(hand, max, s->database->entries[i].run_id);
	}
	hash_seq_init(&status, s->driven);
	while ((run_id = hash_seq_search(&status)) != NULL)
		note_in_hand(hand, max, *run_id);
}

/*
 * move_horizon
 *		Every run up to `limit` has ended or is in hand.  If those in hand are
 *		few, they are listed and the horizon passes them.
 */
static void
move_horizon(WfScheduler *s, int64 limit)
{
	InHand	   *hand = palloc(offsetof(InHand, few) +
							  MAX_STILL_OPEN * sizeof(int64));
	int			n = 0;
	int			i;

	list_in_hand(s, hand, MAX_STILL_OPEN);
	if (hand->n > MAX_STILL_OPEN)
		limit = Min(limit, hand->lowest);
	else
	{
		for (i = 0; i < hand->n; i++)
		{
			if (hand->few[i] < limit)
				hand->few[n++] = hand->few[i];
		}
	}
	if (limit > s->horizon)
	{
		wf_scheduler_begin(s);
		wf_history_move_horizon(limit, hand->few, n);
		s->horizon = limit;
	}
	s->horizon_at = GetCurrentTimestamp();
	s->horizon_stale = false;
	if (s->scanned != NULL && limit > s->scanned_to)
	{
		hash_destroy(s->scanned);	/* no command about them can come now */
		s->scanned = NULL;
	}
}
