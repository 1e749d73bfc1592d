/*-------------------------------------------------------------------------
 *
 * machine_action.c
 *	  The actions of the run machine, read off its state.
 *
 * Between two events they come in this order: records, cancellations, timers,
 * retries, conditions, starts, the end.  Conditions come before starts, so
 * that what starts has been compared with all that could.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRONTEND
#include "postgres.h"
#else
#include "postgres_fe.h"
#endif

#include "machine_state.h"

/* No delay is longer, so that a time of the server can hold its end. */
#define MAX_DELAY_MS	(INT64CONST(100) * 365 * 24 * 60 * 60 * 1000)

static void
set_action(const WfMachine *machine, WfAction *action, WfActionType type,
		   int32 step)
{
	memset(action, 0, sizeof(WfAction));
	action->type = type;
	action->step = step;
	if (step != NO_STEP)
		action->attempt = machine->steps[step].attempt;
	action->error_step = NO_STEP;
}

/*
 * The next step of the log that ended without being executed: skipped, of
 * kind none, or failed by its condition.
 */
static bool
next_record(WfMachine *machine, WfAction *action)
{
	while (machine->nreported < machine->nended)
	{
		int32		step = machine_log(machine)[machine->nreported++];
		StepState  *state = &machine->steps[step];

		if (state->attempt > 0 &&
			machine->plan->steps[step].kind != WF_KIND_NONE)
			continue;

		set_action(machine, action, WF_ACT_RECORD, step);
		action->status = state->status;
		action->reason = state->reason;
		action->sqlstate = state->sqlstate;
		return true;
	}
	return false;
}

/* After an interruption, the next step that the driver still works at. */
static bool
next_cancel(WfMachine *machine, WfAction *action)
{
	if (!machine->interrupted)
		return false;

	while (machine->ncancelled < machine->plan->nsteps)
	{
		int32		step = machine->ncancelled++;

		if (machine->steps[step].status == WF_STEP_RUNNING ||
			machine->steps[step].wait == WAIT_ANSWER)
		{
			set_action(machine, action, WF_ACT_CANCEL, step);
			return true;
		}
	}
	return false;
}

/* base to the power of n, by squaring: there may be many attempts */
static double
power(double base, int32 n)
{
	double		result = 1.0;

	for (; n > 0; n /= 2)
	{
		if (n % 2 == 1)
			result *= base;
		base *= base;
	}
	return result;
}

/* How long until its next attempt, or until its condition is asked again. */
static int64
step_delay(const WfMachine *machine, int32 step)
{
	const WfPlanStep *plan_step = &machine->plan->steps[step];
	const StepState *state = &machine->steps[step];
	double		delay;

	if (state->status == WF_STEP_WAITING)
		delay = plan_step->condition_interval_ms;
	else if (plan_step->retry_delay_ms > 0)
		delay = plan_step->retry_delay_ms *
			power(plan_step->retry_backoff, state->attempt - 1);
	else
		delay = 0;

	/* The negation also catches what is not a number. */
	if (!(delay < MAX_DELAY_MS))
		return MAX_DELAY_MS;
	return delay > 0 ? (int64) delay : 0;
}

/* Timers are set in a pause, too: time goes on. */
static bool
next_timer(WfMachine *machine, WfAction *action)
{
	int32		step;

	while ((step = queue_pop_waiting(machine, &machine->timers,
									 WAIT_SET_TIMER)) != NO_STEP)
	{
		StepState  *state = &machine->steps[step];

		/* No condition will be asked any more. */
		if (machine->halted && state->status == WF_STEP_WAITING)
			continue;

		state->wait = WAIT_TIMER;
		set_action(machine, action, WF_ACT_TIMER, step);
		action->delay_ms = step_delay(machine, step);
		return true;
	}
	return false;
}

static void
set_attempt(WfMachine *machine, WfAction *action, int32 step)
{
	WfStepKind	kind = machine->plan->steps[step].kind;

	machine->steps[step].attempt++;
	set_action(machine, action,
			   kind == WF_KIND_PACKAGE ? WF_ACT_CHILD : WF_ACT_EXECUTE, step);
}

/*
 * The next attempt of a step that has awaited it.  The step is running, so it
 * goes on even if the package has failed meanwhile.
 */
static bool
next_retry(WfMachine *machine, WfAction *action)
{
	int32		step;

	if (machine->paused)
		return false;
	step = queue_pop_waiting(machine, &machine->retries, WAIT_ATTEMPT);
	if (step == NO_STEP)
		return false;

	machine->steps[step].wait = WAIT_NOTHING;
	set_attempt(machine, action, step);
	return true;
}

/* Conditions need no place and no connection (R68). */
static bool
next_condition(WfMachine *machine, WfAction *action)
{
	int32		step;

	if (machine->halted || machine->paused)
		return false;
	step = queue_pop_waiting(machine, &machine->conditions, WAIT_ASK);
	if (step == NO_STEP)
		return false;

	machine->steps[step].wait = WAIT_ANSWER;
	machine->evaluating++;
	set_action(machine, action, WF_ACT_CONDITION, step);
	return true;
}

/* The next step for which there is a place, and all else that it needs. */
static bool
next_start(WfMachine *machine, WfAction *action)
{
	int32		step;

	if (machine->halted || machine->paused ||
		machine->running >= machine->plan->max_concurrent_steps)
		return false;
	step = wf_ready_pop(machine);
	if (step == NO_STEP)
		return false;

	wf_ready_take(machine, step);
	machine->steps[step].status = WF_STEP_RUNNING;
	machine->pending--;
	machine->running++;
	set_attempt(machine, action, step);
	return true;
}

static bool
next_end(WfMachine *machine, WfAction *action)
{
	if (machine->phase != PHASE_OVER || machine->ended)
		return false;

	machine->ended = true;
	set_action(machine, action, WF_ACT_END, NO_STEP);
	action->run_status = machine->result;
	action->error_step = machine->error_step;
	action->failed_steps = machine->failed_steps;
	action->nothing_to_run = machine->nothing_to_run;
	action->failed_by_driver = machine->failed_by_driver;
	return true;
}

bool
wf_machine_next(WfMachine *machine, WfAction *action)
{
	return next_record(machine, action) ||
		next_cancel(machine, action) ||
		next_timer(machine, action) ||
		next_retry(machine, action) ||
		next_condition(machine, action) ||
		next_start(machine, action) ||
		next_end(machine, action);
}
