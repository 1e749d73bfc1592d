/*-------------------------------------------------------------------------
 *
 * driver_retry.c
 *	  Runs that failed while their package has attempts left.
 *
 * Such a run is restarted, as by restart_job() (restart.c).  The next attempt
 * is a run of its own, made in the transaction that writes the outcome of the
 * failed one, with a start_at after the package's retry_delay.  From there on
 * the root of a run tree is a queued run like any other: it can be paused and
 * stopped, and counts for max_concurrent_runs.  If the failed run was paused,
 * so is the next attempt.
 *
 * The package step that started a child run has no outcome before the last
 * attempt of the child has ended; in between the child's run is among the
 * open children that wait for their step to go on with them, where recovery
 * finds it as well.  It holds no session until its time has come.
 *
 * A run that somebody stops is not tried again, whatever comes of it, nor is
 * one that ended before it began (wf_scheduler_end_unstarted()): what kept it
 * from beginning (its owner may not connect, it needs too many sessions) is
 * nothing that time mends.
 *
 * Nor is a run that inherits a transaction: what it has done stays in that,
 * and whether it comes to anything is for the owner to say, whose attempts
 * repeat the whole transaction.  (A next attempt could not tell what to take
 * over: what the failed one did is neither committed nor on record before the
 * transaction ends.)  The package step that started it may have attempts.
 *
 * Packages with attempts are always driven by the scheduler (plan.c), since
 * it alone can put the next attempt where it has to wait.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "driver.h"
#include "machine.h"
#include "restart.h"
#include "scheduler.h"

static bool is_tried_again(const WfDrivenRun *r, const WfRunOutcome *outcome);

static bool
is_tried_again(const WfDrivenRun *r, const WfRunOutcome *outcome)
{
	return outcome->status == WF_RUN_FAILED && !r->stopping && !r->inherits &&
		r->run.attempt < r->plan->max_attempts &&
		wf_plan_retries_on(r->plan->retry_on, r->plan->nretry_on,
						   outcome->sqlstate);
}

/* See driver.h. */
bool
wf_driver_make_attempt(WfScheduler *s, WfDrivenRun *r,
					   const WfRunOutcome *outcome, WfRun *next)
{
	WfRestart	restart = {.run_id = r->run_id, .automatic = true};
	WfTakeOver *take;
	TransactionId xid;

	if (!is_tried_again(r, outcome))
		return false;
	wf_history_insert_run_outcome(outcome);
	CommandCounterIncrement();	/* this turn may have written of its steps */
	take = wf_restart_analyse(&r->run, r->plan, NULL);

	*next = r->run;
	next->run_id = restart.restarted_as = wf_history_next_run_id();
	if (r->run.parent_run_id == 0)
		next->root_run_id = next->run_id;
	next->requested_at = outcome->finished_at;
	next->start_at = TimestampTzPlusMilliseconds(outcome->finished_at,
												 r->plan->retry_delay_ms);
	next->request_key = NULL;
	next->restart_of = r->run_id;
	next->attempt = r->run.attempt + 1;
	next->variables = wf_restart_variables(take, r->run.variables);
	wf_history_insert_run(next);
	wf_restart_record(take, &restart);
	if (wf_history_last_command(r->run_id, &xid) == WF_ASKED_PAUSE)
		wf_history_insert_command(next->run_id, WF_ASKED_PAUSE,
								  r->run.requested_by, NULL);
	CommandCounterIncrement();	/* it may begin in this turn */
	s->highest = Max(s->highest, next->run_id);
	return true;
}

/* See driver.h. */
void
wf_driver_queue_attempt(WfScheduler *s, WfDrivenRun *r, const WfRun *next)
{
	WfOpenChild key = {next->parent_run_id, next->parent_step,
	next->parent_attempt, 0};
	WfAction	action = {.type = WF_ACT_CHILD, .step = next->parent_step,
	.attempt = next->parent_attempt};
	WfOpenChild *child;
	TransactionId xid;

	if (r->parent == NULL)
	{
		WfQueuedRun queued = {
			.run_id = next->run_id,
			.package_id = next->package_id,
			.version = next->version,
			.priority = next->priority,
			.owner = next->owner,
			.start_at = next->start_at
		};

		if (wf_history_last_command(next->run_id, &xid) == WF_ASKED_PAUSE)
			wf_intake_put_aside(s, &queued);
		else
			wf_intake_enqueue(s, &queued, next->run_id);
		return;
	}
	child = hash_search(s->children, &key, HASH_ENTER, NULL);
	child->run_id = next->run_id;
	wf_driver_give_back_sessions(s, r->parent, next->parent_step);
	wf_driver_start_child(s, r->parent, &action);
}

/* See driver.h. */
bool
wf_driver_await_attempt(WfScheduler *s, WfDrivenRun *r, const WfRun *child)
{
	WfTimer		timer = {.kind = WF_TIMER_CHILD, .run_id = r->run_id,
	.step = child->parent_step, .at = child->start_at};

	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	r->steps[child->parent_step].child_run_id = child->run_id;
	LWLockRelease(&r->live->lock);
	if (child->start_at == 0 || child->start_at <= GetCurrentTimestamp())
		return false;
	wf_timers_add(&s->timers, &timer);
	return true;
}

/* The time of a child run has come; it may have been stopped meanwhile. */
void
wf_driver_child_due(WfScheduler *s, const WfTimer *timer)
{
	WfDrivenRun *r = wf_driver_find(s, timer->run_id);
	WfAction	action = {.type = WF_ACT_CHILD, .step = timer->step};
	WfOpenChild key = {timer->run_id, timer->step, 0, 0};

	if (r == NULL)
		return;
	key.attempt = action.attempt =
		wf_machine_step_attempt(r->machine, timer->step);
	if (hash_search(s->children, &key, HASH_FIND, NULL) != NULL)
		wf_driver_wait_for_child(s, r, &action);
}

/* See scheduler.h. */
bool
wf_driver_child_waits(WfScheduler *s, int64 run_id)
{
	HASH_SEQ_STATUS status;
	WfOpenChild *child;

	hash_seq_init(&status, s->children);
	while ((child = hash_seq_search(&status)) != NULL)
	{
		if (child->run_id == run_id)
		{
			hash_seq_term(&status);
			return true;
		}
	}
	return false;
}
