/*-------------------------------------------------------------------------
 *
 * intake.c
 *	  What comes into the scheduler: new runs, and requests to stop them.
 *
 * New runs arrive as ranges of numbers with all that is needed to queue them.
 * Runs that a worker can carry out whole wait in `simple` and go into the
 * shared ready list as far as there are entries; the others wait in `complex`
 * for the sessions that they may need (driver.c).  The two do not hold up
 * each other.
 *
 * A run to be stopped is in one of these places: in a queue, in an entry that
 * nobody has taken (both are ended here, or driven to their end), in one that a
 * worker has taken (the worker ends it), or driven from here; a child run may
 * also wait for its parent to go on with it.  If it is in none of them and has
 * not ended, nobody has told of it yet, and the table does.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/twophase.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/timestamp.h"

#include "area.h"
#include "catalog.h"
#include "compat.h"
#include "guc.h"
#include "installation.h"
#include "limits.h"
#include "scheduler.h"

static void enqueue(WfScheduler *s, const WfCommand *command);
static void enqueue_range(WfScheduler *s, const WfCommand *command,
						  int64 first, int64 last);
static void delay(WfScheduler *s, const WfQueuedRun *run);
static bool any_prepared_transaction(void);
static bool admit_one(WfScheduler *s, const WfQueuedRun *queued);
static void stop(WfScheduler *s, const WfCommand *command);
static bool look_for(WfScheduler *s, int64 run_id);
static bool stop_in_hand(WfScheduler *s, const WfCommand *command,
						 const char *reason);
static void pause_or_resume(WfScheduler *s, const WfCommand *command,
							bool pause);
static bool pause_in_hand(WfScheduler *s, int64 run_id, bool pause);
static bool put_aside(WfScheduler *s, int64 run_id);
static bool go_on(WfScheduler *s, int64 run_id);
static int	entry_of_run(WfScheduler *s, int64 run_id);
static bool take_from_queue(WfScheduler *s, int64 run_id, WfQueuedRun *run);
static bool stop_queued(WfScheduler *s, const WfCommand *command,
						const char *reason);
static bool stop_handed_out(WfScheduler *s, const WfCommand *command,
							const char *reason);

/* Take in what backends have sent. */
void
wf_intake_receive(WfScheduler *s)
{
	WfCommand	command;

	while (wf_command_receive(s->database, &command))
	{
		s->busy = true;
		switch (command.kind)
		{
			case WF_COMMAND_START:
				enqueue(s, &command);
				break;
			case WF_COMMAND_STOP:
				stop(s, &command);
				break;
			case WF_COMMAND_PAUSE:
			case WF_COMMAND_RESUME:
				pause_or_resume(s, &command,
								command.kind == WF_COMMAND_PAUSE);
				break;
			case WF_COMMAND_EDITED:
				wf_limits_changed(s, command.package_id);
				break;
			case WF_COMMAND_LOOK:
				wf_scheduler_begin(s);
				if (!wf_catalog_installed())
					wf_scheduler_leave();
				if (!wf_installation_is_own())
					ereport(FATAL,
							(errcode(ERRCODE_ADMIN_SHUTDOWN),
							 errmsg("terminating workflow scheduler because the installation id was reset")));
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
		.replay = false,
		.start_at = command->start_at
	};

	wf_intake_enqueue(s, &run, last);
}

/* Prepare. */
void
wf_intake_init(WfScheduler *s)
{
	HASHCTL		control = {0};

	control.keysize = sizeof(int64);
	control.entrysize = sizeof(WfQueuedRun);
	control.hcxt = s->context;
	s->delayed = hash_create("workflow delayed runs", 64, &control,
							 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Take runs in: to wait for their time, for others of their package, or in
 * the queue. */
void
wf_intake_enqueue(WfScheduler *s, const WfQueuedRun *run, int64 last)
{
	const WfPlan *plan;
	WfQueuedRun one = *run;

	if (run->start_at != 0 && run->start_at > GetCurrentTimestamp())
	{
		for (; one.run_id <= last; one.run_id++)
			delay(s, &one);
		return;
	}
	wf_scheduler_begin(s);
	plan = wf_plan_get(run->package_id, run->version);
	if (plan == NULL)
		elog(ERROR, "version %d of package " INT64_FORMAT " is not there",
			 run->version, run->package_id);
	if (plan->max_concurrent_runs == 0)
	{
		wf_intake_queue(s, run, last);
		return;
	}
	for (; one.run_id <= last; one.run_id++)
	{
		if (wf_limits_enter(s, &one))
			wf_intake_queue(s, &one, one.run_id);
	}
}

/* Put runs into the queue that their plan belongs into. */
void
wf_intake_queue(WfScheduler *s, const WfQueuedRun *run, int64 last)
{
	const WfPlan *plan;

	wf_scheduler_begin(s);
	plan = wf_plan_get(run->package_id, run->version);
	wf_queue_add(wf_driver_is_inline(plan) ? &s->simple : &s->complex, run,
				 last);
}

/* Keep a run until its time has come. */
static void
delay(WfScheduler *s, const WfQueuedRun *run)
{
	WfQueuedRun *delayed = hash_search(s->delayed, &run->run_id, HASH_ENTER,
									   NULL);
	WfTimer		timer = {.kind = WF_TIMER_START, .run_id = run->run_id,
	.at = run->start_at};

	*delayed = *run;
	wf_timers_add(&s->timers, &timer);
}

/* Event: the time of a run has come. */
void
wf_intake_start_due(WfScheduler *s, const WfTimer *timer)
{
	WfQueuedRun *delayed = hash_search(s->delayed, &timer->run_id, HASH_FIND,
									   NULL);
	WfQueuedRun run;

	if (delayed == NULL || delayed->paused)
		return;					/* it was stopped, or put aside */
	run = *delayed;
	run.start_at = 0;
	hash_search(s->delayed, &timer->run_id, HASH_REMOVE, NULL);
	wf_intake_enqueue(s, &run, run.run_id);
}

/*
 * look_for_untold
 *		Runs that no command tells of: those of transactions that were
 *		prepared when they had started them, and those for which the ring had
 *		no place.  They are found in the table.  Whether there are prepared
 *		transactions is asked first, so that the last of them to commit is not
 *		missed; and the note of them is taken before that, so that one that
 *		comes meanwhile stays noted.
 */
void
wf_intake_look_for_untold(WfScheduler *s)
{
	int64		missed;
	int64		prepared;

	LWLockAcquire(&s->database->lock, LW_EXCLUSIVE);
	missed = s->database->missed_run;
	s->database->missed_run = 0;
	prepared = s->database->prepared_run;
	s->database->prepared_run = 0;
	LWLockRelease(&s->database->lock);
	if (missed == 0 && prepared == 0)
		return;

	if (prepared != 0 && any_prepared_transaction())
	{
		LWLockAcquire(&s->database->lock, LW_EXCLUSIVE);
		if (s->database->prepared_run == 0 ||
			prepared < s->database->prepared_run)
			s->database->prepared_run = prepared;
		LWLockRelease(&s->database->lock);
	}
	wf_recovery_scan(s);
}

/*
 * any_prepared_transaction
 *		True if this database has a prepared transaction.  The PGPROC of one
 *		that has ended keeps its number until it is used again.
 */
static bool
any_prepared_transaction(void)
{
	int			first = MaxBackends + NUM_AUXILIARY_PROCS;
	int			i;

	for (i = first; i < first + max_prepared_xacts; i++)
	{
		PGPROC	   *proc = wf_proc(i);

		if (TransactionIdIsValid(proc->xid) &&
			proc->databaseId == MyDatabaseId &&
			TransactionIdIsInProgress(proc->xid))
			return true;
	}
	return false;
}

/* Admit runs that are driven from here, as far as their sessions fit. */
void
wf_intake_admit(WfScheduler *s)
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
	wf_driver_begin(s, &run, queued->replay, need, false, false);
	return true;
}

/* Fill the ready list from the queue of runs for the inline driver. */
void
wf_intake_top_up(WfScheduler *s)
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
		wf_entry_push(s->database, entry, WF_READY_NEW, -1);
	}
}

/* A STOP command.  It is meant for the run's last attempt. */
static void
stop(WfScheduler *s, const WfCommand *command)
{
	WfCommand	last = *command;
	dsa_pointer text = command->reason;
	char	   *reason = wf_area_get_text(s->area, text);

	wf_area_free(s->area, &text);
	wf_scheduler_begin(s);
	last.first_run = last.last_run =
		wf_history_last_attempt(command->first_run);
	if (!stop_in_hand(s, &last, reason) &&
		!(look_for(s, last.first_run) && stop_in_hand(s, &last, reason)))
		wf_scheduler_tell(s, last.first_run);	/* it has ended */
}

/* A run that is not in hand: if it has not ended, find it in the table. */
static bool
look_for(WfScheduler *s, int64 run_id)
{
	if (wf_history_run_ended(run_id))
		return false;
	wf_recovery_scan(s);
	return true;
}

/* Stop a run, wherever it is. */
static bool
stop_in_hand(WfScheduler *s, const WfCommand *command, const char *reason)
{
	WfDrivenRun *driven = wf_driver_find(s, command->first_run);

	if (driven != NULL)
		wf_driver_stop(s, driven, command->role, reason, command->force,
					   false);
	return driven != NULL || stop_queued(s, command, reason) ||
		stop_handed_out(s, command, reason) ||
		wf_driver_stop_open_child(s, command->first_run, command->role,
								  reason);
}

/* Stop a run that waits to be started. */
static bool
stop_queued(WfScheduler *s, const WfCommand *command, const char *reason)
{
	WfQueuedRun queued;
	WfRun		run;

	if (!take_from_queue(s, command->first_run, &queued))
		return false;
	if (!wf_history_read_run(command->first_run, &run))
		elog(ERROR, "run " INT64_FORMAT " is not there", command->first_run);
	wf_driver_stop_idle(s, &run, command->role, reason, false);
	return true;
}

/* Stop a run that a worker carries out, or is about to. */
static bool
stop_handed_out(WfScheduler *s, const WfCommand *command, const char *reason)
{
	int			entry = entry_of_run(s, command->first_run);
	WfEntry    *e = &s->database->entries[Max(entry, 0)];
	WfRun		run;

	if (entry < 0)
		return false;
	if (!e->cancel)
	{
		e->stopped_by = command->role;
		e->stop_reason = wf_area_put_text(s->area, reason);
	}
	if (!wf_entry_cancel(s->database, entry, command->force))
	{
		wf_driver_record_stop(s, e->run_id, command->role, reason);
		return true;
	}
	if (!wf_history_read_run(e->run_id, &run))
		elog(ERROR, "run " INT64_FORMAT " is not there", e->run_id);
	wf_reaper_free_entry(s, entry);
	wf_driver_stop_idle(s, &run, command->role, reason, false);
	return true;
}

/*
 * pause_or_resume
 *		What was asked for is recorded, and whoever asked is told.  A run that
 *		waits to be started is put aside, and waits as before when it is let
 *		go; one that a worker carries out is handed back by it.
 */
static void
pause_or_resume(WfScheduler *s, const WfCommand *command, bool pause)
{
	int64		run_id = command->first_run;

	wf_scheduler_begin(s);
	wf_scheduler_tell(s, run_id);
	if (pause_in_hand(s, run_id, pause) ||
		(look_for(s, run_id) && pause_in_hand(s, run_id, pause)))
		wf_history_insert_command(run_id, pause ? WF_ASKED_PAUSE :
								  WF_ASKED_RESUME, command->role, NULL);
}

/* Pause a run or let it go on, wherever it is. */
static bool
pause_in_hand(WfScheduler *s, int64 run_id, bool pause)
{
	WfDrivenRun *driven = wf_driver_find(s, run_id);
	int			entry = entry_of_run(s, run_id);

	if (driven != NULL)
		wf_driver_pause(s, driven, pause);
	else if (entry >= 0)
		wf_entry_pause(s->database, entry, pause);
	else
		return wf_driver_child_waits(s, run_id) ||
			(pause ? put_aside(s, run_id) : go_on(s, run_id));
	return true;
}

/* Keep a run that waits to be started from being started. */
static bool
put_aside(WfScheduler *s, int64 run_id)
{
	WfQueuedRun queued;

	if (!take_from_queue(s, run_id, &queued))
		return false;
	wf_limits_left(s, queued.package_id, run_id);
	wf_intake_put_aside(s, &queued);
	return true;
}

/* See scheduler.h. */
void
wf_intake_put_aside(WfScheduler *s, const WfQueuedRun *run)
{
	WfQueuedRun *aside = hash_search(s->delayed, &run->run_id, HASH_ENTER,
									 NULL);

	*aside = *run;
	aside->paused = true;
}

/* A run that was put aside waits for its start again. */
static bool
go_on(WfScheduler *s, int64 run_id)
{
	WfQueuedRun *aside = hash_search(s->delayed, &run_id, HASH_FIND, NULL);
	WfQueuedRun run;

	if (aside == NULL || !aside->paused)
		return aside != NULL;
	run = *aside;
	run.paused = false;
	hash_search(s->delayed, &run_id, HASH_REMOVE, NULL);
	wf_intake_enqueue(s, &run, run_id);
	return true;
}

/* The entry that carries a whole run, or -1. */
static int
entry_of_run(WfScheduler *s, int64 run_id)
{
	int			i;

	for (i = 0; i < WF_NENTRIES; i++)
	{
		WfEntry    *e = &s->database->entries[i];

		if (e->state != WF_ENTRY_FREE && e->kind == WF_ENTRY_RUN &&
			e->run_id == run_id)
			return i;
	}
	return -1;
}

/* Take a run out of wherever it waits to be started. */
static bool
take_from_queue(WfScheduler *s, int64 run_id, WfQueuedRun *run)
{
	WfQueuedRun *delayed = hash_search(s->delayed, &run_id, HASH_FIND, NULL);

	if (delayed != NULL)
	{
		*run = *delayed;
		hash_search(s->delayed, &run_id, HASH_REMOVE, NULL);
		return true;
	}
	return wf_limits_remove(s, run_id, run) ||
		wf_queue_remove(&s->simple, run_id, run) ||
		wf_queue_remove(&s->complex, run_id, run);
}
