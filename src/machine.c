/*-------------------------------------------------------------------------
 *
 * machine.c
 *	  The run machine: the rules of a run as a pure state machine.
 *
 * Events change the state at once and completely: what an event decides
 * (outcomes, constraints, skipped steps, failure of the package, the end of
 * the run) is decided when the event function returns.  Actions are not
 * queued but read off the state when the driver asks, so one that has become
 * pointless in the meantime is never given; see machine_action.c.
 *
 * A step's way through the machine:
 *
 *		waiting		some of its constraints are open
 *		ready		its constraints hold; if it has a condition, that is asked,
 *					and asked again after a time if it is null
 *		startable	in one of the heaps, or in a queue of its connection; see
 *					machine_ready.c
 *		running		the driver was told to start it; between two attempts it
 *					stays so, and keeps its place and its connection (P7)
 *		ended		in the log of ended steps, where it stays
 *
 * A step of kind none needs no place and no connection: it ends when it could
 * start.  So does, as succeeded, one that a restart has taken over; its
 * condition is not asked again, and it may have been disabled since.
 *
 * The log is what drives everything.  Each step enters it once, in the order
 * in which the steps ended, and two cursors follow: "settled" (the constraints
 * that lead out of the step have been evaluated, which may end further steps,
 * at the tail) and "reported" (the driver knows).  So a cascade is a loop
 * over the log, however deep it is, and each constraint is looked at once.
 * A step enters the log when what its end asks of the package transaction has
 * been carried out or, if it is a rollback, has become pending (R20, R67).
 *
 * A run goes through its steps in two phases.  When no step of the graph is
 * running and none can start, the package transaction is ended; then the
 * result is fixed, and the finally steps that it calls for become ready, as if
 * they were a graph of their own; only then the run is over.  What halts or interrupts the first phase does not concern
 * the second one, which can be interrupted for itself.
 *
 * An interruption (a stop, or the package's time-out) waits for nothing but
 * what the driver still works at.  A step that awaits a retry is not worked
 * at, and its last attempt is on record as failed: so it ends as failed, at
 * once.
 *
 * Nothing here allocates, reports errors, reads a clock or recurses, and the
 * state has no pointers in it but the plan's.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRONTEND
#include "postgres.h"
#else
#include "postgres_fe.h"
#endif

#include "machine_state.h"

/* Class 40, packed: transaction rollback. */
#define CLASS_TRANSACTION_ROLLBACK	4

/* What the end of a step means for a constraint that leads out of it. */
typedef enum Verdict
{
	VERDICT_OPEN,
	VERDICT_HOLDS,
	VERDICT_NEVER
} Verdict;

static void end_running(WfMachine *machine, int32 step, WfStepStatus status);

/*
 * Ends of steps, and what follows from them.
 */

/* Enter a step in the log of ended steps. */
static void
end_step(WfMachine *machine, int32 step, WfStepStatus status, WfReason reason)
{
	StepState  *state = &machine->steps[step];

	Assert(machine->nended < machine->plan->nsteps);
	if (state->status == WF_STEP_WAITING && state->ready)
		machine->pending--;
	state->status = status;
	state->reason = reason;
	state->wait = WAIT_NOTHING;
	machine_log(machine)[machine->nended++] = step;
}

/* Put a step into a queue, to wait there. */
void
wf_step_await(WfMachine *machine, int32 step, Wait wait, Queue *queue)
{
	machine->steps[step].wait = wait;
	queue_push(machine, queue, step);
}

/* A step could start: nothing is missing but what others have. */
static void
make_startable(WfMachine *machine, int32 step)
{
	if (machine->plan->steps[step].kind != WF_KIND_NONE)
		wf_ready_push(machine, step);
	else if (machine->paused)
		wf_step_await(machine, step, WAIT_RESUME, &machine->held);
	else
	{
		machine->steps[step].status = WF_STEP_RUNNING;
		machine->steps[step].attempt++;
		machine->pending--;
		machine->running++;
		end_running(machine, step, WF_STEP_SUCCEEDED);
	}
}

/*
 * The constraints of a step hold.  Once no further step starts it is left as
 * it is, and the end of the graph finds it.
 */
static void
make_ready(WfMachine *machine, int32 step)
{
	machine->steps[step].ready = true;
	machine->pending++;
	if (machine->halted)
		return;

	if (machine->steps[step].taken_over)
		end_step(machine, step, WF_STEP_SUCCEEDED, WF_REASON_RESTART);
	else if (machine->plan->steps[step].has_condition)
		wf_step_await(machine, step, WAIT_ASK, &machine->conditions);
	else
		make_startable(machine, step);
}

/* Table 3.6, for a step that has ended. */
static Verdict
judge_constraint(const WfMachine *machine, int32 step, WfOn on)
{
	switch (machine->steps[step].status)
	{
		case WF_STEP_SUCCEEDED:
			return on == WF_ON_FAILURE ? VERDICT_NEVER : VERDICT_HOLDS;

		case WF_STEP_CANCELLED:
			/* by the interruption: it is neither success nor failure */
			if (machine->interrupted)
				return VERDICT_OPEN;
			return on == WF_ON_SUCCESS ? VERDICT_NEVER : VERDICT_HOLDS;

		case WF_STEP_FAILED:
			return on == WF_ON_SUCCESS ? VERDICT_NEVER : VERDICT_HOLDS;

		default:
			/* it waited to join when all was over: nothing comes of it */
			if (machine->steps[step].reason == WF_REASON_PACKAGE_FAILED ||
				machine->steps[step].reason == WF_REASON_CANCELLED)
				return VERDICT_OPEN;
			/* inactive: it satisfies nothing (R66) */
			return VERDICT_NEVER;
	}
}

/*
 * A constraint of a step is decided.  With precedence "all" one that can never
 * hold decides about the step, with "any" one that holds; if no constraint
 * did, the last one does (R64, P6).
 */
static void
decide_constraint(WfMachine *machine, int32 step, bool holds)
{
	StepState  *state = &machine->steps[step];

	if (state->status != WF_STEP_WAITING || state->ready)
		return;

	state->open--;
	if (holds != machine->plan->steps[step].any && state->open > 0)
		return;

	if (holds)
		make_ready(machine, step);
	else
		end_step(machine, step, WF_STEP_SKIPPED, WF_REASON_CONSTRAINT);
}

static void
settle_step(WfMachine *machine, int32 step)
{
	const WfPlanStep *plan_step = &machine->plan->steps[step];
	const WfPlanEdge *edge = machine->plan->edges + plan_step->first_edge;
	const WfPlanEdge *end = edge + plan_step->nedges;

	for (; edge < end; edge++)
	{
		Verdict		verdict = judge_constraint(machine, step, edge->on);

		if (verdict != VERDICT_OPEN)
			decide_constraint(machine, edge->to, verdict == VERDICT_HOLDS);
	}
}

/* Skip the steps of the graph, or the finally steps, that have not ended. */
static void
skip_rest(WfMachine *machine, bool finally, WfReason reason)
{
	int32		step;

	for (step = 0; step < machine->plan->nsteps; step++)
	{
		if (machine->steps[step].status == WF_STEP_WAITING &&
			(machine->plan->steps[step].finally != 0) == finally)
			end_step(machine, step, WF_STEP_SKIPPED, reason);
	}
}

/* Does the result call for this finally step? */
static bool
matches_result(const WfMachine *machine, int32 step)
{
	switch (machine->plan->steps[step].finally)
	{
		case WF_ON_SUCCESS:
			return machine->result == WF_RUN_SUCCEEDED;
		case WF_ON_FAILURE:
			return machine->result != WF_RUN_SUCCEEDED;
		default:
			return true;
	}
}

/* The result is fixed: the finally steps are all that is left. */
static void
begin_finally(WfMachine *machine)
{
	int32		step;

	Assert(machine->pending == 0);
	machine->phase = PHASE_FINALLY;
	machine->halted = false;
	machine->interrupted = false;
	machine->ncancelled = 0;
	wf_ready_clear(machine);

	for (step = 0; step < machine->plan->nsteps; step++)
	{
		if (machine->steps[step].status != WF_STEP_WAITING)
			continue;
		if (matches_result(machine, step))
			make_ready(machine, step);
		else
			end_step(machine, step, WF_STEP_SKIPPED, WF_REASON_CONSTRAINT);
	}
}

/*
 * Fix the result.  Steps that are left were kept from starting by the stop or
 * by the failure of the package (R69); they are not settled, for what leads
 * out of them stays open (table 3.6).  A plan without cycles leaves no step
 * for any other reason.
 */
static void
end_graph(WfMachine *machine)
{
	WfReason	reason = WF_REASON_CONSTRAINT;

	machine->result = WF_RUN_SUCCEEDED;
	if (machine->failed || machine->nothing_to_run)
		machine->result = WF_RUN_FAILED;
	if (machine->failed)
		reason = WF_REASON_PACKAGE_FAILED;
	if (machine->stopped)
	{
		machine->result = WF_RUN_CANCELLED;
		reason = WF_REASON_CANCELLED;
	}

	skip_rest(machine, false, reason);
	machine->nsettled = machine->nended;
	begin_finally(machine);
}

/*
 * No step of the phase is in progress and none can start (R41).  An evaluation
 * is waited for even if its answer no longer matters: the driver has nothing
 * left to do when the run has ended.
 */
static bool
is_idle(const WfMachine *machine)
{
	return machine->running == 0 && machine->evaluating == 0 &&
		(machine->pending == 0 || machine->halted);
}

/*
 * Follow the constraints out of the steps that have ended, until nothing new
 * ends, and see whether the phase has come to its end.
 */
void
wf_machine_settle(WfMachine *machine)
{
	while (machine->nsettled < machine->nended)
	{
		int32		step = machine_log(machine)[machine->nsettled++];

		settle_step(machine, step);
	}

	if (machine->phase == PHASE_GRAPH && is_idle(machine) &&
		wf_join_complete(machine))
		end_graph(machine);
	if (machine->phase == PHASE_FINALLY && is_idle(machine))
	{
		skip_rest(machine, true, WF_REASON_CANCELLED);
		machine->phase = PHASE_OVER;
		machine->paused = false;
	}
}

/*
 * wf_package_fail
 *		The package fails, by a step, at this moment: no further step starts,
 *		nor joins who waits for that (R46).
 */
void
wf_package_fail(WfMachine *machine, int32 step)
{
	if (machine->failed || machine->phase != PHASE_GRAPH)
		return;
	machine->failed = true;
	machine->halted = true;
	machine->error_step = step;
	wf_join_drop_commit(machine);
	wf_join_skip_joiners(machine, WF_REASON_PACKAGE_FAILED);
}

/*
 * Count the failure of a step, decide whether the package fails with it (R44,
 * R45, R46), and ask for the rollback that it calls for.  The failure of a
 * finally step is only counted.
 */
static void
note_failure(WfMachine *machine, int32 step)
{
	const WfPlanStep *plan_step = &machine->plan->steps[step];

	machine->failed_steps++;
	if (machine->phase != PHASE_GRAPH)
		return;

	if (machine->error_step == NO_STEP)
		machine->error_step = step;
	if (machine->plan->fail_on_first_error ||
		plan_step->fail_package_on_error)
		wf_package_fail(machine, step);
	if (plan_step->rollback_on_failure)
		wf_join_ask_rollback(machine);
}

/*
 * wf_step_finish
 *		A step that is in progress ends.  What its failure means for the
 *		package and the transaction comes before the dependents (R67).
 */
void
wf_step_finish(WfMachine *machine, int32 step, WfStepStatus status)
{
	machine->running--;
	wf_ready_release(machine, step);
	if (status == WF_STEP_FAILED ||
		(status == WF_STEP_CANCELLED && !machine->interrupted))
		note_failure(machine, step);
	end_step(machine, step, status, WF_REASON_NONE);
}

/*
 * wf_step_refuse
 *		A step that is in progress ends as failed, without or in spite of what
 *		it has executed.
 */
void
wf_step_refuse(WfMachine *machine, int32 step, WfMachineError error,
			   bool fails_package)
{
	machine->steps[step].error = error;
	wf_step_finish(machine, step, WF_STEP_FAILED);
	if (fails_package)
		wf_package_fail(machine, step);
}

/* A step that is in progress, but has not begun, will not. */
void
wf_step_skip(WfMachine *machine, int32 step, WfReason reason)
{
	machine->running--;
	wf_ready_release(machine, step);
	end_step(machine, step, WF_STEP_SKIPPED, reason);
}

/* The work of a step is over. */
static void
end_running(WfMachine *machine, int32 step, WfStepStatus status)
{
	wf_join_leave(machine, step);
	if (status == WF_STEP_SUCCEEDED && !wf_join_ask_commit(machine, step))
		return;
	wf_step_finish(machine, step, status);
}

/*
 * A joined step is tried again inside of the transaction, if that can be of
 * any use: it is lost with its session, and at a higher isolation level an
 * error of class 40 would only come again (P7).
 */
static bool
transaction_allows_retry(const WfMachine *machine, int32 step, int32 sqlstate)
{
	const WfTransaction *transaction = machine->transaction;
	const StepState *state = &machine->steps[step];

	if (state->transaction == 0 ||
		machine->plan->steps[step].kind == WF_KIND_PACKAGE)
		return true;
	if (transaction->lost || transaction->number != state->transaction)
		return false;
	return transaction->isolation == WF_READ_COMMITTED ||
		WF_SQLSTATE_CLASS(sqlstate) != CLASS_TRANSACTION_ROLLBACK;
}

/* An attempt has failed; another one follows. */
static void
await_retry(WfMachine *machine, int32 step)
{
	wf_join_retry(machine, step, true);
	wf_step_await(machine, step, WAIT_SET_TIMER, &machine->timers);
}

/* See machine.h. */
bool
wf_step_may_retry(const WfPlanStep *step, int32 attempt, int sqlstate)
{
	return attempt < step->max_attempts &&
		wf_plan_retries_on(step->retry_on, step->nretry_on, sqlstate);
}

/* Is a failed attempt followed by another one? */
static bool
may_retry(const WfMachine *machine, int32 step, int32 sqlstate)
{
	return !machine->interrupted &&
		transaction_allows_retry(machine, step, sqlstate) &&
		wf_step_may_retry(&machine->plan->steps[step],
						  machine->steps[step].attempt, sqlstate);
}

/*
 * Is an attempt that was cut off after it had begun to commit followed by
 * another one?  Its definition says so, whatever it says of failed attempts.
 */
static bool
may_begin_again(const WfMachine *machine, int32 step, int32 sqlstate)
{
	return machine->plan->steps[step].restartable && !machine->interrupted &&
		transaction_allows_retry(machine, step, sqlstate);
}

/*
 * Nothing of this phase starts or goes on any more; next_cancel() does the
 * rest.  A pause ends with it, for the finally steps are to run.
 */
static void
interrupt(WfMachine *machine)
{
	int32		step;

	machine->halted = true;
	machine->interrupted = true;
	machine->paused = false;
	wf_join_interrupt(machine);
	for (step = 0; step < machine->plan->nsteps; step++)
	{
		if (wf_machine_awaits_retry(machine, step))
			end_running(machine, step, WF_STEP_FAILED);
	}
	wf_machine_settle(machine);
}

/*
 * Making a machine.
 */

Size
wf_machine_size(const WfPlan *plan)
{
	return offsetof(WfMachine, steps) +
		plan->nsteps * (sizeof(StepState) + 2 * sizeof(int32)) +
		plan->nconnections * sizeof(ConnectionState);
}

static void
init_state(WfMachine *machine)
{
	const WfPlan *plan = machine->plan;
	int32		step;

	machine->error_step = NO_STEP;
	machine->phase = PHASE_GRAPH;
	machine->result = WF_RUN_RUNNING;
	queue_init(&machine->held);
	queue_init(&machine->conditions);
	queue_init(&machine->timers);
	queue_init(&machine->retries);
	for (step = 0; step < plan->nsteps; step++)
	{
		machine->steps[step].open = plan->steps[step].nconstraints;
		machine->steps[step].next = NO_STEP;
		machine->steps[step].status = WF_STEP_WAITING;
	}
	wf_join_init(machine);
	wf_ready_init(machine);
}

/* Make a copied block usable with this process' plan. */
WfMachine *
wf_machine_attach(void *memory, const WfPlan *plan)
{
	WfMachine  *machine = memory;

	machine->plan = plan;
	machine->transaction = NULL;
	return machine;
}

WfMachine *
wf_machine_init(void *memory, const WfPlan *plan, WfTransaction *transaction,
				bool inherits, const bool *taken_over)
{
	WfMachine  *machine = memory;
	bool		found = false;
	int32		step;

	Assert(plan->max_concurrent_steps > 0);
	memset(memory, 0, wf_machine_size(plan));
	machine->plan = plan;
	if (plan->use_transactions)
	{
		machine->transaction = transaction;
		machine->inherits = inherits;
	}
	init_state(machine);
	for (step = 0; taken_over != NULL && step < plan->nsteps; step++)
		machine->steps[step].taken_over = taken_over[step];

	for (step = 0; step < plan->nsteps; step++)
	{
		const WfPlanStep *plan_step = &plan->steps[step];

		Assert(!plan_step->finally ||
			   plan_step->nconstraints + plan_step->nedges == 0);
		if (plan_step->disabled && !machine->steps[step].taken_over)
			end_step(machine, step, WF_STEP_SKIPPED, WF_REASON_DISABLED);
		else if (!plan_step->finally && plan_step->nconstraints == 0)
		{
			found = true;
			make_ready(machine, step);
		}
	}
	machine->nothing_to_run = !found;
	wf_machine_settle(machine);
	return machine;
}

/*
 * Events.
 */

/* The driver works at an attempt of this step. */
static bool
is_executing(const WfMachine *machine, int32 step)
{
	Assert(step >= 0 && step < machine->plan->nsteps);
	return machine->steps[step].status == WF_STEP_RUNNING &&
		machine->steps[step].wait == WAIT_NOTHING;
}

/*
 * An end that was reported before changes nothing, so a driver that cannot
 * tell may report it again, as long as the next attempt has not begun.
 */
void
wf_machine_step_ended(WfMachine *machine, int32 step, WfStepStatus status,
					  int sqlstate)
{
	Assert(status == WF_STEP_SUCCEEDED || status == WF_STEP_FAILED ||
		   status == WF_STEP_CANCELLED || status == WF_STEP_INTERRUPTED);
	if (!is_executing(machine, step))
		return;

	if (status == WF_STEP_FAILED && may_retry(machine, step, sqlstate))
	{
		await_retry(machine, step);
		return;
	}
	if (status == WF_STEP_INTERRUPTED &&
		may_begin_again(machine, step, sqlstate))
	{
		wf_join_retry(machine, step, true);
		wf_step_await(machine, step, WAIT_ATTEMPT, &machine->retries);
		return;
	}
	end_running(machine, step, status == WF_STEP_INTERRUPTED ?
				WF_STEP_FAILED : status);
	wf_machine_settle(machine);
}

/* See machine.h.  Once the package has failed it does not start any more. */
void
wf_machine_not_begun(WfMachine *machine, int32 step)
{
	StepState  *state = &machine->steps[step];

	if (!is_executing(machine, step))
		return;

	state->attempt--;
	if (state->attempt > 0 && machine->interrupted)
		end_running(machine, step, WF_STEP_FAILED);
	else if (state->attempt > 0)
	{
		wf_join_retry(machine, step, true);
		wf_step_await(machine, step, WAIT_ATTEMPT, &machine->retries);
	}
	else
	{
		wf_join_leave(machine, step);
		state->transaction = 0;
		machine->running--;
		machine->pending++;
		state->status = WF_STEP_WAITING;
		wf_ready_release(machine, step);
		if (!machine->halted)
			wf_ready_push(machine, step);
	}
	wf_machine_settle(machine);
}

/* See machine.h. */
void
wf_machine_join_failed(WfMachine *machine, int32 step, int sqlstate)
{
	if (!is_executing(machine, step))
		return;

	if (may_retry(machine, step, sqlstate))
	{
		await_retry(machine, step);
		return;
	}
	wf_join_undo(machine, step);
	wf_step_finish(machine, step, WF_STEP_FAILED);
	wf_package_fail(machine, step);
	wf_machine_settle(machine);
}

/*
 * An answer that comes after the package has failed is still the truth: if it
 * is an error, a step has failed, and a step that its condition skips would
 * have been skipped anyhow.  After an interruption an error is taken for the
 * interruption's.
 */
void
wf_machine_condition(WfMachine *machine, int32 step, WfCondition answer,
					 int sqlstate)
{
	StepState  *state = &machine->steps[step];

	Assert(step >= 0 && step < machine->plan->nsteps);
	if (state->wait != WAIT_ANSWER)
		return;

	machine->evaluating--;
	state->wait = WAIT_NOTHING;
	wf_join_leave(machine, step);
	if (answer == WF_CONDITION_FALSE)
		end_step(machine, step, WF_STEP_SKIPPED, WF_REASON_CONDITION);
	else if (answer == WF_CONDITION_ERROR && !machine->interrupted)
	{
		state->sqlstate = sqlstate;
		state->error = WF_ERROR_CONDITION;
		note_failure(machine, step);
		end_step(machine, step, WF_STEP_FAILED, WF_REASON_NONE);
	}
	else if (answer == WF_CONDITION_TRUE && !machine->halted)
		make_startable(machine, step);
	else if (answer == WF_CONDITION_NULL && !machine->halted)
		wf_step_await(machine, step, WAIT_SET_TIMER, &machine->timers);
	wf_machine_settle(machine);
}

/* Whoever waited may have ended meanwhile, or may no longer start. */
void
wf_machine_timer(WfMachine *machine, int32 step)
{
	StepState  *state = &machine->steps[step];

	Assert(step >= 0 && step < machine->plan->nsteps);
	if (state->wait != WAIT_TIMER)
		return;

	if (state->status == WF_STEP_RUNNING)
		wf_step_await(machine, step, WAIT_ATTEMPT, &machine->retries);
	else
		wf_step_await(machine, step, WAIT_ASK, &machine->conditions);
}

void
wf_machine_stop(WfMachine *machine)
{
	if (machine->phase == PHASE_OVER || machine->interrupted)
		return;

	machine->stopped = true;
	interrupt(machine);
}

/*
 * The time-out is one of the graph: when it comes while the finally steps
 * run, the result was reached in time.
 */
void
wf_machine_fail(WfMachine *machine)
{
	if (machine->phase != PHASE_GRAPH || machine->interrupted)
		return;

	machine->failed_by_driver = !machine->failed;
	machine->failed = true;
	interrupt(machine);
}

void
wf_machine_pause(WfMachine *machine)
{
	if (machine->phase != PHASE_OVER && !machine->interrupted)
		machine->paused = true;
}

void
wf_machine_resume(WfMachine *machine)
{
	int32		step;

	if (!machine->paused)
		return;

	machine->paused = false;
	while (!machine->halted &&
		   (step = queue_pop_waiting(machine, &machine->held,
									 WAIT_RESUME)) != NO_STEP)
	{
		machine->steps[step].wait = WAIT_NOTHING;
		make_startable(machine, step);
	}
	wf_machine_settle(machine);
}
