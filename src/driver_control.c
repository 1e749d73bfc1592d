/*-------------------------------------------------------------------------
 *
 * driver_control.c
 *	  Stop and pause runs that the scheduler drives.
 *
 * The machine is told, and what it asks for in turn is carried out here: an
 * attempt that nobody has begun ends at once, one that a worker is at is
 * cancelled and ends when the worker says so, a child run is stopped like its
 * parent.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "area.h"
#include "catalog.h"
#include "errors.h"
#include "guc.h"
#include "machine.h"
#include "driver.h"
#include "scheduler.h"
#include "variables.h"

static void pause_child(WfScheduler *s, WfDrivenRun *r, int32 step,
						bool pause);
static void take_back_step(WfScheduler *s, WfDrivenRun *r, int32 step);
static void terminate_workers(WfScheduler *s, WfDrivenRun *r);
static bool withdraw(WfScheduler *s, WfDrivenRun *r, int32 step);
static void cancel_condition(WfScheduler *s, WfDrivenRun *r, int32 step);
static void forget_backlog(WfDrivenRun *r, int32 step);
static void cancel_child(WfScheduler *s, WfDrivenRun *r, int32 step,
						 Oid stopped_by, const char *reason,
						 bool parent_stops);
static bool has_begun(WfScheduler *s, int64 run_id);

/* See scheduler.h. */
void
wf_driver_take_over(WfScheduler *s, int64 run_id, bool pause)
{
	WfDrivenRun *parent;
	WfRun		run;
	const WfPlan *plan;
	int			sessions;

	wf_scheduler_begin(s);
	if (!wf_history_read_run(run_id, &run))
		elog(ERROR, "run " INT64_FORMAT " is not there", run_id);
	plan = wf_plan_get(run.package_id, run.version);
	parent = wf_driver_find(s, run.parent_run_id);
	if (parent == NULL)
	{
		sessions = Min(wf_driver_bound(plan), wf_max_workers);
		s->reserved += sessions;
	}
	else
	{
		if (parent->sessions[run.parent_step].drawn == 0)
			wf_driver_draw_sessions(s, parent, run.parent_step, plan);
		sessions = parent->sessions[run.parent_step].drawn;
		LWLockAcquire(&parent->live->lock, LW_EXCLUSIVE);
		parent->steps[run.parent_step].entry = -1;
		parent->steps[run.parent_step].child_run_id = run_id;
		parent->steps[run.parent_step].started_at =
			wf_history_requested_at(&run);
		LWLockRelease(&parent->live->lock);
	}
	wf_driver_begin(s, &run, true, sessions, parent != NULL &&
					wf_driver_inherits(parent, run.parent_step, plan), pause);
	if (pause)
		wf_driver_pause(s, wf_driver_find(s, run_id), true);
}

/* See scheduler.h.  A run that one worker carried out uses one connection. */
void
wf_driver_give_session(WfScheduler *s, int64 run_id, int slot)
{
	WfDrivenRun *r = wf_driver_find(s, run_id);
	int			i;

	for (i = 0; i < r->plan->nsteps; i++)
	{
		if (r->plan->steps[i].kind == WF_KIND_SQL &&
			!r->plan->steps[i].disabled)
		{
			r->slots[r->plan->steps[i].connection] = slot;
			return;
		}
	}
}

/* Pause a run and its children, or let them go on. */
void
wf_driver_pause(WfScheduler *s, WfDrivenRun *r, bool pause)
{
	int			i;

	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	if (pause)
		wf_machine_pause(r->machine);
	else
		wf_machine_resume(r->machine);
	LWLockRelease(&r->live->lock);
	wf_driver_mark_dirty(s, r);
	for (i = 0; i < r->plan->nsteps; i++)
	{
		if (r->steps[i].child_run_id != 0)
			pause_child(s, r, i, pause);
		else if (wf_machine_paused(r->machine))
			take_back_step(s, r, i);
	}
}

static void
pause_child(WfScheduler *s, WfDrivenRun *r, int32 step, bool pause)
{
	WfDrivenRun *child = wf_driver_find(s, r->steps[step].child_run_id);

	if (child != NULL)
		wf_driver_pause(s, child, pause);
	else if (r->steps[step].entry >= 0)
		wf_entry_pause(s->database, r->steps[step].entry, pause);
}

/* In a pause, a step that nobody has begun is not begun; one whose child run
 * goes on has been. */
static void
take_back_step(WfScheduler *s, WfDrivenRun *r, int32 step)
{
	WfRun		child;

	if (wf_machine_step_status(r->machine, step) == WF_STEP_RUNNING &&
		!wf_machine_awaits_retry(r->machine, step) &&
		!wf_driver_open_child(s, r, step,
							  wf_machine_step_attempt(r->machine, step),
							  &child) &&
		withdraw(s, r, step))
		wf_driver_not_begun(s, r, step);
}

/* Stop a run. */
void
wf_driver_stop(WfScheduler *s, WfDrivenRun *r, Oid stopped_by,
			   const char *reason, bool force, bool parent_stops)
{
	if (r->stopping)
	{
		if (force)
			terminate_workers(s, r);
		return;
	}
	r->force = force;
	r->stopping = true;
	r->parent_stops = parent_stops;
	r->stopped_by = stopped_by;
	if (reason != NULL)
		r->stop_reason = MemoryContextStrdup(r->context, reason);
	wf_driver_record_stop(s, r->run_id, stopped_by, reason);
	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	wf_machine_stop(r->machine);
	LWLockRelease(&r->live->lock);
	wf_driver_mark_dirty(s, r);
}

/* The run is stopping already, but its workers do not listen. */
static void
terminate_workers(WfScheduler *s, WfDrivenRun *r)
{
	int			i;

	for (i = 0; i < r->plan->nsteps; i++)
	{
		WfDrivenRun *child = wf_driver_find(s, r->steps[i].child_run_id);

		if (child != NULL)
			terminate_workers(s, child);
		else if (r->steps[i].entry >= 0)
			(void) wf_entry_cancel(s->database, r->steps[i].entry, true);
	}
}

/* See scheduler.h. */
void
wf_driver_record_stop(WfScheduler *s, int64 run_id, Oid stopped_by,
					  const char *reason)
{
	Oid			first_by;
	const char *first_reason;

	wf_scheduler_begin(s);
	if (!wf_history_read_stop(run_id, &first_by, &first_reason))
		wf_history_insert_command(run_id, WF_ASKED_STOP, stopped_by, reason);
}

/* Cancel an attempt in progress, or the evaluation of a condition. */
void
wf_driver_cancel_step(WfScheduler *s, WfDrivenRun *r, const WfAction *action)
{
	int32		step = action->step;
	WfRun		child;

	if (r->steps[step].child_run_id != 0)
		cancel_child(s, r, step, r->stopped_by, r->stop_reason, true);
	else if (action->attempt == 0)
		cancel_condition(s, r, step);
	else if (!withdraw(s, r, step))
		(void) wf_entry_cancel(s->database, r->steps[step].entry, r->force);
	else if (wf_driver_open_child(s, r, step, action->attempt, &child))
		wf_driver_stop_idle(s, &child, r->stopped_by, r->stop_reason, true);
	else
		wf_driver_not_begun(s, r, step);
}

/* See to it that nobody begins an attempt; false if somebody has. */
static bool
withdraw(WfScheduler *s, WfDrivenRun *r, int32 step)
{
	int			entry = r->steps[step].entry;

	if (entry >= 0)
	{
		if (!wf_entry_withdraw(s->database, entry))
			return false;		/* the worker will tell */
		wf_reaper_free_entry(s, entry);
		r->steps[step].entry = -1;
	}
	forget_backlog(r, step);
	wf_driver_stop_waiting(s, r, step);
	return true;
}

static void
cancel_condition(WfScheduler *s, WfDrivenRun *r, int32 step)
{
	int			entry = r->steps[step].entry;

	if (entry >= 0 && !wf_entry_cancel(s->database, entry, r->force))
		return;
	if (entry >= 0)
		wf_reaper_free_entry(s, entry);
	forget_backlog(r, step);
	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	r->steps[step].entry = -1;
	wf_machine_condition(r->machine, step, WF_CONDITION_NULL, 0);
	LWLockRelease(&r->live->lock);
}

/* What is kept of a step's actions is not carried out any more. */
static void
forget_backlog(WfDrivenRun *r, int32 step)
{
	ListCell   *lc;

	foreach(lc, r->backlog)
	{
		WfAction   *action = lfirst(lc);

		if (action->step != step)
			continue;
		r->backlog = foreach_delete_current(r->backlog, lc);
		pfree(action);
	}
}

/* Stop the child run of a package step. */
static void
cancel_child(WfScheduler *s, WfDrivenRun *r, int32 step, Oid stopped_by,
			 const char *reason, bool parent_stops)
{
	int64		run_id = r->steps[step].child_run_id;
	int			entry = r->steps[step].entry;
	WfDrivenRun *driven = wf_driver_find(s, run_id);
	WfEntry    *e;
	WfRun		child;

	if (driven != NULL)
	{
		wf_driver_stop(s, driven, stopped_by, reason, r->force, parent_stops);
		return;
	}
	if (entry < 0)
	{
		/* it waits for its time, or for sessions */
		if (!wf_driver_open_child(s, r, step,
								  wf_machine_step_attempt(r->machine, step),
								  &child))
			return;
		(void) withdraw(s, r, step);
		wf_driver_stop_idle(s, &child, stopped_by, reason, parent_stops);
		return;
	}
	e = &s->database->entries[entry];
	if (!e->cancel)
	{
		e->parent_stops = parent_stops;
		e->stopped_by = stopped_by;
		e->stop_reason = wf_area_put_text(s->area, reason);
	}
	if (!wf_entry_cancel(s->database, entry, r->force))
	{
		wf_driver_record_stop(s, run_id, stopped_by, reason);
		return;
	}
	wf_reaper_free_entry(s, entry);
	if (!wf_history_read_run(run_id, &child))
		elog(ERROR, "run " INT64_FORMAT " is not there", run_id);
	wf_driver_stop_idle(s, &child, stopped_by, reason, parent_stops);
}

/* Its child run is stopped, and so the step fails. */
void
wf_driver_child_timeout(WfScheduler *s, WfDrivenRun *r, const WfTimer *timer)
{
	if (r->steps[timer->step].child_run_id == 0 ||
		wf_machine_step_attempt(r->machine, timer->step) != timer->attempt)
		return;
	wf_scheduler_begin(s);
	cancel_child(s, r, timer->step, InvalidOid, WF_STEP_TIMED_OUT, false);
}

/*
 * wf_driver_stop_idle
 *		Stop a run that nobody is at.  It ends at once if nothing of it was
 *		executed; else it is driven from here, for its `finally` steps.
 */
void
wf_driver_stop_idle(WfScheduler *s, const WfRun *run, Oid stopped_by,
					const char *reason, bool parent_stops)
{
	wf_scheduler_begin(s);
	if (run->parent_run_id != 0)
		wf_driver_forget_open_child(s, run);
	if (has_begun(s, run->run_id))
	{
		wf_driver_take_over(s, run->run_id, false);
		wf_driver_stop(s, wf_driver_find(s, run->run_id), stopped_by, reason,
					   false, parent_stops);
		return;
	}
	wf_scheduler_end_unstarted(s, run, WF_RUN_CANCELLED, 0, NULL, stopped_by,
							   reason, parent_stops);
	if (run->parent_run_id != 0)
		wf_driver_child_ended(s, run->parent_run_id, run->parent_step,
							  wf_history_step_status(WF_RUN_CANCELLED,
													 parent_stops),
							  ERRCODE_QUERY_CANCELED, NULL,
							  wf_history_cancelled_message(stopped_by,
														   reason));
}

/* Whether a step of a run has ended, or is known to have begun, or a child run
 * of it has. */
static bool
has_begun(WfScheduler *s, int64 run_id)
{
	return wf_history_record_has_begun(wf_history_read_record(run_id)) ||
		wf_history_any_started(run_id) ||
		wf_driver_count_open_children(s, run_id) > 0;
}

/* See scheduler.h. */
bool
wf_driver_stop_open_child(WfScheduler *s, int64 run_id, Oid stopped_by,
						  const char *reason)
{
	HASH_SEQ_STATUS status;
	WfOpenChild *open;
	WfDrivenRun *parent;
	WfRun		child;

	hash_seq_init(&status, s->children);
	while ((open = hash_seq_search(&status)) != NULL && open->run_id != run_id)
		;
	if (open == NULL)
		return false;
	hash_seq_term(&status);
	if (!wf_history_read_run(run_id, &child))
		elog(ERROR, "run " INT64_FORMAT " is not there", run_id);
	parent = wf_driver_find(s, child.parent_run_id);
	if (parent == NULL && has_begun(s, run_id))
	{
		/* it ends when its parent goes on */
		wf_driver_record_stop(s, run_id, stopped_by, reason);
		return true;
	}
	if (parent != NULL)
		(void) withdraw(s, parent, child.parent_step);
	wf_driver_stop_idle(s, &child, stopped_by, reason, false);
	return true;
}
