/*-------------------------------------------------------------------------
 *
 * interruption.c
 *	  What becomes of steps and runs that were cut off.
 *
 * Steps.  Work that commits together with its outcome is there with it or not
 * at all, and is executed again.  That cannot be said of steps that commit by
 * themselves: of those it is on record that they have begun (step_start), and
 * an attempt that has begun and has no outcome was interrupted, by whatever
 * ended its process: the server's crash or shutdown, a new scheduler, or the
 * end of its worker alone.  What it has done is not known.  The machine
 * decides whether it is executed again (`restartable`) or has failed.
 *
 * Runs.  Those with `on_interruption: fail` fail when they were cut off, that
 * is, if they had begun when the scheduler started: that they have begun is on
 * record as well, as a row of step_start of no step, flushed before anything
 * of the run is executed.  Such a run is driven by the scheduler: the machine
 * gets what is on record, then the failure; so what was in progress is not
 * begun again, and the `finally` steps are executed.  A run that had not begun
 * keeps its place and its time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/timestamp.h"

#include "driver.h"
#include "interruption.h"
#include "scheduler.h"

#define CUT_OFF_STEP	"the step was cut off after it had begun to commit"
#define CUT_OFF_RUN		"the run was cut off by a crash or shutdown"

/* See interruption.h. */
bool
wf_interruption_read(WfStepOutcome *outcome, const char *cause)
{
	TimestampTz started_at;

	if (!wf_history_step_started(outcome->run_id, outcome->step,
								 outcome->attempt, &started_at))
		return false;
	outcome->started_at = started_at;
	outcome->finished_at = GetCurrentTimestamp();
	outcome->rows = -1;
	outcome->status = WF_STEP_INTERRUPTED;
	outcome->sqlstate = ERRCODE_CRASH_SHUTDOWN;
	outcome->message = CUT_OFF_STEP;
	outcome->detail = cause != NULL ? cause :
		"The server or the agent ended while the step was executed.";
	outcome->hint = "What the step has done until then is not undone. Set \"restartable\" if it can be executed again nevertheless.";
	return true;
}

/* See driver.h. */
bool
wf_interruption_end_step(WfScheduler *s, WfDrivenRun *r, int32 step,
						 int32 attempt, const char *cause)
{
	WfStepOutcome outcome = {.run_id = r->run_id, .step = step,
	.attempt = attempt};

	wf_scheduler_begin(s);
	if (!wf_interruption_read(&outcome, cause))
		return false;
	wf_history_insert_step_outcome(&outcome);
	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	r->steps[step].started_at = outcome.started_at;
	LWLockRelease(&r->live->lock);
	wf_driver_step_ended(s, r, step, outcome.status, outcome.sqlstate, NULL,
						 outcome.message);
	return true;
}

/* See interruption.h. */
void
wf_interruption_note_begin(const WfRun *run, const WfPlan *plan, bool replay)
{
	TimestampTz started_at;

	if (plan->on_interruption != 'f' ||
		(replay && wf_history_step_started(run->run_id, WF_STEP_OF_RUN, 0,
										   &started_at)))
		return;
	wf_history_insert_step_start(run->run_id, WF_STEP_OF_RUN, 0,
								 GetCurrentTimestamp(), false);
	ForceSyncCommit();
}

/* See scheduler.h.  Only runs of packages that want it have noted it. */
bool
wf_interruption_found(WfScheduler *s, const WfRun *run)
{
	HASHCTL		control = {0};
	TimestampTz started_at;

	if (!wf_history_step_started(run->run_id, WF_STEP_OF_RUN, 0, &started_at))
		return false;
	if (s->cut_off == NULL)
	{
		control.keysize = sizeof(int64);
		control.entrysize = sizeof(int64);
		control.hcxt = s->context;
		s->cut_off = hash_create("workflow cut off runs", 64, &control,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	hash_search(s->cut_off, &run->run_id, HASH_ENTER, NULL);
	return true;
}

/* See scheduler.h. */
bool
wf_interruption_fails(const WfScheduler *s, int64 run_id)
{
	return s->cut_off != NULL &&
		hash_search(s->cut_off, &run_id, HASH_FIND, NULL) != NULL;
}

/* See driver.h. */
bool
wf_interruption_fail(WfScheduler *s, WfDrivenRun *r)
{
	if (!wf_interruption_fails(s, r->run_id))
		return false;
	wf_driver_fail(s, r, ERRCODE_CRASH_SHUTDOWN, CUT_OFF_RUN);
	return true;
}
