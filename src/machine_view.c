/*-------------------------------------------------------------------------
 *
 * machine_view.c
 *	  What the views show of a run machine.  Cheap, and without effect.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRONTEND
#include "postgres.h"
#else
#include "postgres_fe.h"
#endif

#include "machine_state.h"

WfStepStatus
wf_machine_step_status(const WfMachine *machine, int32 step)
{
	return machine->steps[step].status;
}

WfReason
wf_machine_step_reason(const WfMachine *machine, int32 step)
{
	return machine->steps[step].reason;
}

int32
wf_machine_step_attempt(const WfMachine *machine, int32 step)
{
	return machine->steps[step].attempt;
}

int32
wf_machine_running(const WfMachine *machine)
{
	return machine->running;
}

int32
wf_machine_failed_steps(const WfMachine *machine)
{
	return machine->failed_steps;
}

/* See machine.h. */
int32
wf_machine_error_step(const WfMachine *machine)
{
	return machine->error_step;
}

bool
wf_machine_nothing_to_run(const WfMachine *machine)
{
	return machine->nothing_to_run;
}

bool
wf_machine_failed_by_driver(const WfMachine *machine)
{
	return machine->failed_by_driver;
}

bool
wf_machine_invalid_at_end(const WfMachine *machine)
{
	return machine->invalid_at_end;
}

bool
wf_machine_paused(const WfMachine *machine)
{
	return machine->paused;
}

/* True when WF_ACT_END has been taken out, not before. */
bool
wf_machine_ended(const WfMachine *machine)
{
	return machine->ended;
}

/* See machine.h. */
WfRunStatus
wf_machine_run_result(const WfMachine *machine)
{
	return machine->result;
}

/* Nothing but the other steps keeps this one from starting. */
static bool
competes(const WfMachine *machine, int32 step)
{
	const StepState *state = &machine->steps[step];

	return state->status == WF_STEP_WAITING && state->ready &&
		state->wait == WAIT_NOTHING && !machine->halted && !machine->paused;
}

static bool
has_place(const WfMachine *machine)
{
	return machine->running < machine->plan->max_concurrent_steps;
}

static bool
finds_connection_in_use(const WfMachine *machine, int32 step)
{
	ConnectionState *connection =
		step_connection(unconstify(WfMachine *, machine), step);

	return connection != NULL && connection->user != NO_STEP;
}

/* It could start, but for max_concurrent_steps. */
bool
wf_machine_waits_for_slot(const WfMachine *machine, int32 step)
{
	return competes(machine, step) && !has_place(machine);
}

/* There is a place for it, but another step uses its connection. */
bool
wf_machine_waits_for_connection(const WfMachine *machine, int32 step)
{
	return competes(machine, step) && has_place(machine) &&
		finds_connection_in_use(machine, step);
}

/* There is a place and its connection, but not its turn (R40). */
bool
wf_machine_waits_for_main_thread(const WfMachine *machine, int32 step)
{
	return competes(machine, step) && has_place(machine) &&
		!finds_connection_in_use(machine, step) &&
		machine->plan->steps[step].main_thread &&
		machine->main_thread != NO_STEP;
}

/* See machine.h; once no step starts, only one being evaluated counts. */
bool
wf_machine_waits_for_condition(const WfMachine *machine, int32 step)
{
	const StepState *state = &machine->steps[step];

	if (state->status != WF_STEP_WAITING)
		return false;
	return state->wait == WAIT_ANSWER ||
		(!machine->halted && (state->wait == WAIT_ASK ||
							  state->wait == WAIT_SET_TIMER ||
							  state->wait == WAIT_TIMER));
}

/* See machine.h. */
bool
wf_machine_awaits_retry(const WfMachine *machine, int32 step)
{
	const StepState *state = &machine->steps[step];

	return state->status == WF_STEP_RUNNING &&
		(state->wait == WAIT_SET_TIMER || state->wait == WAIT_TIMER ||
		 state->wait == WAIT_ATTEMPT);
}

/* See machine.h. */
bool
wf_machine_waits_for_transaction(const WfMachine *machine, int32 step)
{
	return machine->steps[step].wait == WAIT_JOIN ||
		(machine->steps[step].wait == WAIT_BRANCH &&
		 machine->steps[step].status == WF_STEP_WAITING &&
		 !machine->halted && !machine->paused);
}

bool
wf_machine_awaits_commit(const WfMachine *machine, int32 step)
{
	return machine->steps[step].wait == WAIT_COMMIT;
}

bool
wf_machine_commit_was_invalid(const WfMachine *machine, int32 step)
{
	return machine->steps[step].error == WF_ERROR_COMMIT_INVALID;
}

int32
wf_machine_step_transaction(const WfMachine *machine, int32 step)
{
	return machine->steps[step].transaction;
}
