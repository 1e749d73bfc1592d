/*-------------------------------------------------------------------------
 *
 * machine_action.c
 *	  The actions of the run machine, read off its state.
 *
 * Between two events they come in this order: records, cancellations, the end
 * of the transaction, timers, retries, steps that waited to join, conditions,
 * starts, the end.  Conditions come before starts, so that what starts has
 * been compared with all that could.
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
	{
		action->attempt = machine->steps[step].attempt;
		action->transaction = machine->steps[step].transaction;
	}
	action->error_step = NO_STEP;
}

/*
 * The next step of the log that ended without being executed (skipped, of
 * kind none, failed by its condition or by not getting into the transaction),
 * or that failed after it was.
 */
static bool
next_record(WfMachine *machine, WfAction *action)
{
	while (machine->nreported < machine->nended)
	{
		int32		step = machine_log(machine)[machine->nreported++];
		StepState  *state = &machine->steps[step];

		if (state->attempt > 0 && state->error == WF_ERROR_NONE &&
			machine->plan->steps[step].kind != WF_KIND_NONE)
			continue;

		set_action(machine, action, WF_ACT_RECORD, step);
		action->status = state->status;
		action->reason = state->reason;
		action->error = state->error;
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
	if (machine->cancel_commit)
	{
		machine->cancel_commit = false;
		set_action(machine, action, WF_ACT_CANCEL, NO_STEP);
		return true;
	}

	while (machine->ncancelled < machine->plan->nsteps)
	{
		int32		step = machine->ncancelled++;
		const StepState *state = &machine->steps[step];

		if ((state->status == WF_STEP_RUNNING &&
			 state->wait == WAIT_NOTHING) || state->wait == WAIT_ANSWER)
		{
			set_action(machine, action, WF_ACT_CANCEL, step);
			return true;
		}
	}
	return false;
}

/* The end of the transaction, when nobody executes in it any more. */
static bool
next_transaction_end(WfMachine *machine, WfAction *action)
{
	WfTransaction *transaction = machine->transaction;

	if (transaction == NULL || machine->inherits || transaction->ending ||
		!wf_transaction_is_dying(transaction) || transaction->executing > 0)
		return false;

	transaction->ending = true;
	set_action(machine, action,
			   transaction->state == WF_TRANSACTION_COMMITTING ?
			   WF_ACT_COMMIT : WF_ACT_ROLLBACK, NO_STEP);
	action->transaction = transaction->number;
	return true;
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
 * try_attempt
 *		Start an attempt of a step in progress.  False if it has to wait for
 *		the transaction, or has been ended, after which there may be something
 *		else to do first.
 */
static bool
try_attempt(WfMachine *machine, WfAction *action, int32 step, Entry entry)
{
	switch (entry)
	{
		case ENTRY_INSIDE:
			wf_join_enter(machine, step);
			break;
		case ENTRY_LATER:
		case ENTRY_JOIN_LATER:
			wf_step_await(machine, step, WAIT_JOIN, &machine->joiners);
			return false;
		case ENTRY_BUSY:
		case ENTRY_INVALID:
			machine->steps[step].attempt++;
			wf_join_refuse(machine, step, entry);
			wf_machine_settle(machine);
			machine->again = true;
			return false;
		case ENTRY_FREE:
			break;
	}
	set_attempt(machine, action, step);
	return true;
}

static bool
retry_step(WfMachine *machine, WfAction *action, int32 step)
{
	Entry		entry = ENTRY_FREE;

	machine->steps[step].wait = WAIT_NOTHING;
	if (machine->plan->steps[step].kind == WF_KIND_PACKAGE)
		entry = wf_join_judge(machine, step);
	else
		wf_join_retry(machine, step, false);
	return try_attempt(machine, action, step, entry);
}

/*
 * The next attempt of a step that has awaited it.  The step is running, so it
 * goes on even if the package has failed meanwhile.  One that executes in a
 * branch still has it; a package step joins anew.
 */
static bool
next_retry(WfMachine *machine, WfAction *action)
{
	int32		step;

	if (machine->paused || machine->replaying)
		return false;
	step = queue_pop_waiting(machine, &machine->retries, WAIT_ATTEMPT);
	return step != NO_STEP && retry_step(machine, action, step);
}

/* The next step that has waited to join; those that cannot yet go on to. */
static bool
next_join(WfMachine *machine, WfAction *action)
{
	int32		first = NO_STEP;
	int32		step;

	if (machine->paused || machine->replaying)
		return false;
	while (machine->joiners.first != first &&
		   (step = queue_pop_waiting(machine, &machine->joiners,
									 WAIT_JOIN)) != NO_STEP)
	{
		Entry		entry = wf_join_judge(machine, step);

		machine->steps[step].wait = WAIT_NOTHING;
		if (entry != ENTRY_LATER && entry != ENTRY_JOIN_LATER)
			return try_attempt(machine, action, step, entry);
		wf_step_await(machine, step, WAIT_JOIN, &machine->joiners);
		if (first == NO_STEP)
			first = step;
	}
	return false;
}

static void
ask_condition(WfMachine *machine, WfAction *action, int32 step)
{
	machine->steps[step].wait = WAIT_ANSWER;
	machine->evaluating++;
	set_action(machine, action, WF_ACT_CONDITION, step);
	action->transaction = wf_join_begin_condition(machine, step);
}

/* Conditions need no place and no connection (R68). */
static bool
next_condition(WfMachine *machine, WfAction *action)
{
	int32		step;

	if (machine->halted || machine->paused || machine->replaying)
		return false;
	if (machine->held_conditions.first != NO_STEP &&
		!wf_join_holds_condition(machine, machine->held_conditions.first))
		queue_move(machine, &machine->conditions, &machine->held_conditions);
	while ((step = queue_pop_waiting(machine, &machine->conditions,
									 WAIT_ASK)) != NO_STEP)
	{
		if (!wf_join_holds_condition(machine, step))
		{
			ask_condition(machine, action, step);
			return true;
		}
		wf_step_await(machine, step, WAIT_ASK, &machine->held_conditions);
	}
	return false;
}

/* Start a step that could.  False as for try_attempt(). */
static bool
start_step(WfMachine *machine, WfAction *action, int32 step, Entry entry)
{
	wf_ready_take(machine, step);
	machine->steps[step].status = WF_STEP_RUNNING;
	machine->pending--;
	machine->running++;
	return try_attempt(machine, action, step, entry);
}

/* The next step for which there is a place, and all else that it needs. */
static bool
next_start(WfMachine *machine, WfAction *action)
{
	while (!machine->halted && !machine->paused && !machine->replaying &&
		   !machine->again &&
		   machine->running < machine->plan->max_concurrent_steps)
	{
		bool		woken = wf_join_wake(machine);
		int32		step = wf_ready_pop(machine);
		Entry		entry;

		if (step == NO_STEP)
		{
			/* Who was woken may wait for a connection, and the next not. */
			if (!woken)
				return false;
			continue;
		}
		entry = wf_join_judge(machine, step);
		if (entry == ENTRY_LATER)
		{
			wf_join_queue(machine, step);
			continue;
		}
		if (start_step(machine, action, step, entry))
			return true;
	}
	return false;
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
	action->invalid_at_end = machine->invalid_at_end;
	return true;
}

/* What starts, or goes on. */
static bool
next_work(WfMachine *machine, WfAction *action)
{
	return next_retry(machine, action) ||
		(!machine->again && next_join(machine, action)) ||
		(!machine->again && next_condition(machine, action)) ||
		(!machine->again && next_start(machine, action));
}

/*
 * A step that could not start may have ended, which changes what comes first.
 */
bool
wf_machine_next(WfMachine *machine, WfAction *action)
{
	wf_join_catch_up(machine);
	do
	{
		machine->again = false;
		if (next_record(machine, action) ||
			next_cancel(machine, action) ||
			next_transaction_end(machine, action) ||
			next_timer(machine, action) ||
			next_work(machine, action))
			return true;
	} while (machine->again);
	return next_end(machine, action);
}

/* See machine.h. */
void
wf_machine_set_replay(WfMachine *machine, bool replays)
{
	machine->replaying = replays;
}

/* See machine.h.  max_concurrent_steps was kept when it was recorded. */
bool
wf_machine_replay(WfMachine *machine, int32 step, WfAction *action)
{
	const StepState *state = &machine->steps[step];
	Entry		entry;

	Assert(machine->replaying);
	wf_join_catch_up(machine);
	if (state->wait == WAIT_ATTEMPT)
		return queue_remove(machine, &machine->retries, step) &&
			retry_step(machine, action, step);
	if (machine->halted || machine->paused ||
		state->status != WF_STEP_WAITING)
		return false;
	if (state->wait == WAIT_ASK)
	{
		if (wf_join_holds_condition(machine, step) ||
			!(queue_remove(machine, &machine->conditions, step) ||
			  queue_remove(machine, &machine->held_conditions, step)))
			return false;
		ask_condition(machine, action, step);
		return true;
	}
	entry = wf_join_judge(machine, step);
	return entry != ENTRY_LATER && wf_ready_remove(machine, step) &&
		start_step(machine, action, step, entry);
}
