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
 * Start-up is recovery, always: fence off the workers of an earlier
 * scheduler, then queue every run that has no outcome, with `replay` set:
 * what is on record is not executed again.
 *
 * An ERROR anywhere ends the process.  The turn's transaction is rolled back
 * and nothing of the turn was handed out; the launcher starts another
 * scheduler, which recovers.
 *
 * Beside this file: intake.c takes in runs, driver.c drives them, reaper.c
 * takes in what workers did, recovery.c knows which runs are open, pool.c
 * keeps the workers.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/twophase.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "area.h"
#include "bgworker.h"
#include "catalog.h"
#include "compat.h"
#include "guc.h"
#include "held.h"
#include "installation.h"
#include "limits.h"
#include "pool.h"
#include "run_log.h"
#include "scheduler.h"

#define HORIZON_INTERVAL_MS		10000
#define PREPARED_POLL_MS		1000
#define LOCK_RETRY_MS			200

extern PGDLLEXPORT void wf_scheduler_main(Datum arg);

static WfScheduler scheduler;
static bool extension_absent = false;

static void attach(WfDatabase *database);
static void detach(int code, Datum arg);
static void keep_last_error(ErrorData *error);
static void leave_if_absent(void);
static void begin_work(WfScheduler *s);
static void take_turn(WfScheduler *s);
static void fire_timers(WfScheduler *s);
static void apply_settings(WfScheduler *s);
static void finish_turn(WfScheduler *s);
static void wake_waiters(WfScheduler *s);
static int	compare_int64(const void *a, const void *b);
static void publish(WfScheduler *s);
static void sleep_until_told(WfScheduler *s);

/* The scheduler. */
void
wf_scheduler_main(Datum arg)
{
	WfScheduler *s = &scheduler;
	WfDatabase *database = &wf_shared->databases[DatumGetInt32(arg)];

	wf_bgworker_setup(false);
	wf_catalog_end_with_extension();
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

/* Take the database's place; leave at once if another scheduler has it, or
 * the agent is to keep out. */
static void
attach(WfDatabase *database)
{
	bool		mine;

	before_shmem_exit(detach, PointerGetDatum(database));
	LWLockAcquire(&wf_shared->lock, LW_EXCLUSIVE);
	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	mine = (database->pid == 0 && OidIsValid(database->oid) &&
			database->bars == 0);
	if (database->bars > 0 && database->state == WF_DATABASE_STARTING)
		database->state = WF_DATABASE_FREE;
	if (mine)
	{
		database->pid = MyProcPid;
		database->proc = wf_proc_number(MyProc);
		database->generation++;
		database->area = DSM_HANDLE_INVALID;
		database->live = InvalidDsaPointer;
		database->held = InvalidDsaPointer;
		database->ready = false;
	}
	LWLockRelease(&database->lock);
	LWLockRelease(&wf_shared->lock);
	if (!mine)
		proc_exit(0);
	emit_log_hook = keep_last_error;
}

/* Leave the place, and tell the launcher. */
static void
detach(int code, Datum arg)
{
	WfDatabase *database = (WfDatabase *) DatumGetPointer(arg);

	if (database->pid != MyProcPid)
		return;
	LWLockAcquire(&wf_shared->lock, LW_EXCLUSIVE);
	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	database->pid = 0;
	database->ready = false;
	database->state = extension_absent ? WF_DATABASE_ABSENT :
		database->bars > 0 ? WF_DATABASE_FREE : WF_DATABASE_FAILED;
	LWLockRelease(&database->lock);
	LWLockRelease(&wf_shared->lock);
	if (extension_absent)
		wf_pool_terminate(database);
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
		wf_scheduler_leave();
}

/* The database does not have the extension: end the process for good. */
void
wf_scheduler_leave(void)
{
	extension_absent = true;
	proc_exit(0);
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
	wf_timers_init(&s->timers, s->context);
	wf_driver_init(s);
	wf_limits_init(s);
	wf_intake_init(s);
	wf_retention_init(s);

	wf_pool_fence(s->database);
	wf_database_reset(s->database);
	s->area = wf_area_create(s->database);
	s->live = wf_live_create(s->database, s->area);
	s->held = wf_held_create(s->database, s->area);
	MemoryContextSwitchTo(s->turn);
	apply_settings(s);

	LWLockAcquire(&wf_shared->lock, LW_EXCLUSIVE);
	s->database->state = WF_DATABASE_RUNNING;
	LWLockRelease(&wf_shared->lock);
	if (max_prepared_xacts > 0)
		s->database->prepared_run = 1;	/* one may be there from before */
	wf_scheduler_begin(s);
	s->copy = !wf_installation_is_own();
	if (s->copy)
		wf_installation_adopt();
	wf_recovery_scan(s);
	finish_turn(s);
	s->copy = false;
	s->database->ready = true;
	wf_launcher_wake();
}

/* One turn. */
static void
take_turn(WfScheduler *s)
{
	int64		limit = 0;

	s->busy = false;
	MemoryContextSwitchTo(s->turn);
	ResetLatch(MyLatch);
	if (wf_bgworker_interrupts())
		apply_settings(s);
	if (s->horizon_stale && s->database->prepared_run == 0 &&
		TimestampDifferenceExceeds(s->horizon_at, GetCurrentTimestamp(),
								   HORIZON_INTERVAL_MS))
		limit = wf_recovery_horizon_limit(s);

	wf_intake_receive(s);
	wf_reaper_done(s);
	wf_reaper_gone(s);
	wf_reaper_judge(s);
	fire_timers(s);
	wf_retention_turn(s);
	wf_intake_look_for_untold(s);
	do
	{
		s->given_back = false;
		wf_intake_admit(s);
		wf_driver_carry_on(s);
	} while (s->given_back);
	if (limit > 0 && s->busy)
		wf_recovery_move_horizon(s, limit);
	finish_turn(s);
}

/* Do what is due. */
static void
fire_timers(WfScheduler *s)
{
	TimestampTz now = GetCurrentTimestamp();
	WfTimer		timer;

	while (wf_timers_take_due(&s->timers, now, &timer))
	{
		if (timer.kind == WF_TIMER_START)
			wf_intake_start_due(s, &timer);
		else if (timer.kind == WF_TIMER_SELF_WAIT)
			wf_self_wait_look(s);
		else if (timer.kind == WF_TIMER_CHILD)
			wf_driver_child_due(s, &timer);
		else
			wf_driver_timer(s, &timer);
	}
}

static void
apply_settings(WfScheduler *s)
{
	LWLockAcquire(&s->database->lock, LW_EXCLUSIVE);
	s->database->hold = !wf_enabled;
	LWLockRelease(&s->database->lock);

	/* who wants to be sure that a standby has it waits himself: not we */
	SetConfigOption("synchronous_commit",
					wf_commit_mode == WF_COMMIT_PIPELINED ? "off" : "local",
					PGC_USERSET, PGC_S_OVERRIDE);
}

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

/* Wake who waits for something to be done to a run, after the commit. */
void
wf_scheduler_tell(WfScheduler *s, int64 run_id)
{
	MemoryContext old = MemoryContextSwitchTo(s->turn);
	int64	   *copy = palloc(sizeof(int64));

	*copy = run_id;
	s->told = lappend(s->told, copy);
	MemoryContextSwitchTo(old);
}

/* A run has ended. */
void
wf_scheduler_note_end(WfScheduler *s, int64 run_id, int64 package_id)
{
	wf_scheduler_tell(s, run_id);
	s->horizon_stale = true;
	wf_retention_note_end(s);
	if (package_id != 0)
		wf_limits_left(s, package_id, run_id);
}

/* See scheduler.h. */
void
wf_scheduler_end_unstarted(WfScheduler *s, const WfRun *run,
						   WfRunStatus status, int sqlstate,
						   const char *message, Oid stopped_by,
						   const char *reason, bool parent_stops)
{
	const WfPlan *plan = wf_plan_get(run->package_id, run->version);
	WfRecord   *record;
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

	wf_recovery_end_children(s, run->run_id, stopped_by, reason);
	CommandCounterIncrement();
	record = wf_history_read_record(run->run_id);
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
	wf_history_end_run(run, &outcome, 0, parent_stops);
	wf_run_log_ended(run, plan, &outcome);
	wf_scheduler_note_end(s, run->run_id,
						  run->parent_run_id == 0 ? run->package_id : 0);
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
		MemoryContextSwitchTo(s->turn);
	}
	foreach(lc, s->handouts)
	{
		WfHandout  *handout = lfirst(lc);

		wf_entry_push(s->database, handout->entry, handout->list,
					  handout->slot);
	}
	wf_intake_top_up(s);
	wf_pool_balance(s->database, s->orphans == NIL ? InvalidOid :
					((WfOrphan *) linitial(s->orphans))->role);
	wake_waiters(s);
	publish(s);
	s->handouts = NIL;
	s->told = NIL;
	MemoryContextReset(s->turn);
}

/* Set the latches of backends that wait for a run that ended. */
static void
wake_waiters(WfScheduler *s)
{
	int			n = list_length(s->told);
	int64	   *ids;
	ListCell   *lc;
	int			i = 0;

	if (n == 0 || pg_atomic_read_u32(&wf_shared->nawaiting) == 0)
		return;
	ids = palloc(n * sizeof(int64));
	foreach(lc, s->told)
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
	s->database->driven = hash_get_num_entries(s->driven);
	s->database->queued = s->simple.length + s->complex.length + s->nheld +
		hash_get_num_entries(s->delayed);
	LWLockRelease(&s->database->lock);
}

/* Sleep until the latch is set, or one of the few timers. */
static void
sleep_until_told(WfScheduler *s)
{
	int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;
	long		sleep = wf_pool_time_to_retry();
	long		to_timer = wf_timers_sleep(&s->timers, GetCurrentTimestamp());
	long		to_look = wf_retention_sleep(s);

	if (s->database->prepared_run != 0)
		sleep = sleep < 0 ? PREPARED_POLL_MS : Min(sleep, PREPARED_POLL_MS);
	if (to_timer >= 0)
		sleep = sleep < 0 ? to_timer : Min(sleep, to_timer);
	if (s->retry_soon)
		sleep = sleep < 0 ? LOCK_RETRY_MS : Min(sleep, LOCK_RETRY_MS);
	s->retry_soon = false;
	(void) pgstat_report_stat(sleep < 0);
	if (to_look >= 0)
		sleep = sleep < 0 ? to_look : Min(sleep, to_look);
	if (sleep >= 0)
		events |= WL_TIMEOUT;
	(void) WaitLatch(MyLatch, events, sleep,
					 wf_wait_event("WorkflowSchedulerMain"));
}
