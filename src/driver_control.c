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

static void terminate_workers(WfScheduler *s, WfDrivenRun *r);
static void cancel_child(WfScheduler *s, WfDrivenRun *r, int32 step);

/* See scheduler.h. */
void
wf_driver_take_over(WfScheduler *s, int64 run_id)
{
	WfDrivenRun *parent;
	WfRun		run;
	int			sessions;

	wf_scheduler_begin(s);
	if (!wf_history_read_run(run_id, &run))
		elog(ERROR, "run " INT64_FORMAT " is not there", run_id);
	parent = wf_driver_find(s, run.parent_run_id);
	if (parent == NULL)
	{
		sessions = Min(wf_driver_bound(wf_plan_get(run.package_id,
												   run.version)),
					   wf_max_workers);
		s->reserved += sessions;
	}
	else
	{
		sessions = parent->sessions[run.parent_step].drawn;
		parent->steps[run.parent_step].entry = -1;
	}
	wf_driver_begin(s, &run, true, sessions);
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
		WfDrivenRun *child;

		if (r->steps[i].child_run_id == 0)
			continue;
		child = wf_driver_find(s, r->steps[i].child_run_id);
		if (child != NULL)
			wf_driver_pause(s, child, pause);
		else if (r->steps[i].entry >= 0)
			wf_entry_pause(s->database, r->steps[i].entry, pause);
	}
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

/* Cancel an attempt in progress. */
void
wf_driver_cancel_step(WfScheduler *s, WfDrivenRun *r, const WfAction *action)
{
	WfLiveStep *step = &r->steps[action->step];
	int			entry = step->entry;

	if (wf_driver_end_open_child(s, r, action))
		return;
	if (step->child_run_id != 0)
	{
		cancel_child(s, r, action->step);
		return;
	}
	if (entry >= 0 && !wf_entry_cancel(s->database, entry, r->force))
		return;					/* the worker will tell */
	if (entry >= 0)
		wf_reaper_free_entry(s, entry);
	else
	{
		/* it waits for a free entry, or for sessions */
		list_free_deep(r->backlog);
		r->backlog = NIL;
	}
	if (action->attempt == 0)
	{
		step->entry = -1;
		LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
		wf_machine_condition(r->machine, action->step, WF_CONDITION_NULL, 0);
		LWLockRelease(&r->live->lock);
		return;
	}
	wf_driver_write_and_end_step(s, r, action->step, WF_STEP_CANCELLED,
					   ERRCODE_QUERY_CANCELED,
					   "the run was stopped before the step began");
}

/* Stop the child run of a package step. */
static void
cancel_child(WfScheduler *s, WfDrivenRun *r, int32 step)
{
	int64		run_id = r->steps[step].child_run_id;
	int			entry = r->steps[step].entry;
	WfDrivenRun *driven = wf_driver_find(s, run_id);
	WfEntry    *e;
	WfRun		child;

	if (driven != NULL)
	{
		wf_driver_stop(s, driven, r->stopped_by, r->stop_reason, r->force,
					   true);
		return;
	}
	if (entry < 0)
		return;
	e = &s->database->entries[entry];
	e->parent_stops = true;
	e->stopped_by = r->stopped_by;
	e->stop_reason = wf_area_put_text(s->area, r->stop_reason);
	if (!wf_entry_cancel(s->database, entry, r->force))
		return;
	wf_area_free(s->area, &e->stop_reason);
	wf_entry_free(s->database, entry);
	if (!wf_history_read_run(run_id, &child))
		elog(ERROR, "run " INT64_FORMAT " is not there", run_id);
	wf_scheduler_end_unstarted(s, &child, WF_RUN_CANCELLED, 0, NULL,
							   r->stopped_by, r->stop_reason, true);
	wf_driver_step_ended(s, r, step, WF_STEP_CANCELLED, 0, NULL, NULL);
}
