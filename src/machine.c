/*-------------------------------------------------------------------------
 *
 * machine.c
 *	  The run machine: the rules of a run as a pure state machine.
 *
 * Events change the state at once and completely: what an event decides
 * (outcomes, constraints, skipped steps, failure of the package, the end of
 * the run) is decided when the event function returns.  Actions are not
 * queued but read off the state when the driver asks, so one that has become
 * pointless in the meantime is never given.  Between two events they come in
 * this order: records, cancellations, starts, the end.
 *
 * A step's way through the machine:
 *
 *		waiting		some of its constraints are open
 *		startable	its constraints hold; in the heap, or in the list of the
 *					connection that it needs
 *		running		the driver was told to start it
 *		ended		in the log of ended steps, where it stays
 *
 * The log is what drives everything.  Each step enters it once, in the order
 * in which the steps ended, and two cursors follow: "settled" (the constraints
 * that lead out of the step have been evaluated, which may end further steps,
 * at the tail) and "reported" (the driver knows).  So a cascade is a loop
 * over the log, however deep it is, and each constraint is looked at once.
 *
 * Startable steps are in a heap, highest priority first, then in the order of
 * the document.  A step that comes out of it while another one uses its
 * connection goes to the end of that connection's list and stays there until
 * it starts; whenever the connection becomes free, the first of the list goes
 * into the heap as well, to compete for a place by its priority.  A step of
 * kind none needs no place and no connection: it ends when it could start.
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

#include "machine.h"

#define NO_STEP		(-1)

typedef struct StepState
{
	int32		open;			/* constraints not decided yet */
	int32		attempt;		/* attempts started */
	int32		next_waiter;	/* in its connection's list: the next, or
								 * NO_STEP */
	char		status;			/* a WfStepStatus */
	char		reason;			/* a WfReason */
	bool		startable;		/* constraints hold; stays set */
	bool		in_heap;
} StepState;

typedef struct ConnectionState
{
	int32		user;			/* the running step that uses it, or NO_STEP */
	int32		first_waiter;	/* startable steps that met it in use, in that */
	int32		last_waiter;	/* order, or NO_STEP */
} ConnectionState;

/*
 * Behind the steps follow, without gaps (all of it is made of int32), the
 * connections, the heap and the log of ended steps; the heap and the log have
 * room for every step.
 */
struct WfMachine
{
	const WfPlan *plan;
	int32		nheap;
	int32		nended;			/* length of the log */
	int32		nsettled;		/* cursors in it */
	int32		nreported;
	int32		ncancelled;		/* steps looked at for cancellation */
	int32		running;		/* steps in progress (R42) */
	int32		failed_steps;
	int32		error_step;		/* the first that failed, or NO_STEP */
	bool		failed;			/* the package has failed (R46) */
	bool		stopped;		/* somebody stopped the run */
	bool		nothing_to_run; /* R48 */
	bool		over;			/* the end is decided */
	bool		ended;			/* and the driver knows */
	StepState	steps[FLEXIBLE_ARRAY_MEMBER];
};

/* What the end of a step means for a constraint that leads out of it. */
typedef enum Verdict
{
	VERDICT_OPEN,
	VERDICT_HOLDS,
	VERDICT_NEVER
} Verdict;

static inline ConnectionState *
machine_connections(WfMachine *machine)
{
	return (ConnectionState *) (machine->steps + machine->plan->nsteps);
}

static inline int32 *
machine_heap(WfMachine *machine)
{
	return (int32 *) (machine_connections(machine) +
					  machine->plan->nconnections);
}

static inline int32 *
machine_log(WfMachine *machine)
{
	return machine_heap(machine) + machine->plan->nsteps;
}

/* The connection that a step needs, or NULL. */
static inline ConnectionState *
step_connection(WfMachine *machine, int32 step)
{
	int32		connection = machine->plan->steps[step].connection;

	if (connection < 0)
		return NULL;
	return &machine_connections(machine)[connection];
}

/* No further step starts. */
static inline bool
is_halted(const WfMachine *machine)
{
	return machine->failed || machine->stopped;
}

/*
 * The heap of startable steps.
 */

static inline bool
starts_before(const WfPlan *plan, int32 a, int32 b)
{
	int32		priority_a = plan->steps[a].priority;
	int32		priority_b = plan->steps[b].priority;

	if (priority_a != priority_b)
		return priority_a > priority_b;
	return a < b;
}

static void
heap_push(WfMachine *machine, int32 step)
{
	int32	   *heap = machine_heap(machine);
	int32		hole = machine->nheap++;

	Assert(!machine->steps[step].in_heap);
	machine->steps[step].in_heap = true;
	while (hole > 0)
	{
		int32		parent = (hole - 1) / 2;

		if (!starts_before(machine->plan, step, heap[parent]))
			break;
		heap[hole] = heap[parent];
		hole = parent;
	}
	heap[hole] = step;
}

static int32
heap_pop(WfMachine *machine)
{
	const WfPlan *plan = machine->plan;
	int32	   *heap = machine_heap(machine);
	int32		top = heap[0];
	int32		last = heap[--machine->nheap];
	int32		hole = 0;

	for (;;)
	{
		int32		child = 2 * hole + 1;

		if (child >= machine->nheap)
			break;
		if (child + 1 < machine->nheap &&
			starts_before(plan, heap[child + 1], heap[child]))
			child++;
		if (!starts_before(plan, heap[child], last))
			break;
		heap[hole] = heap[child];
		hole = child;
	}
	heap[hole] = last;
	machine->steps[top].in_heap = false;
	return top;
}

/*
 * Connections: one step at a time (R38).
 */

/* Put a step behind the others that wait for its connection. */
static void
connection_wait(WfMachine *machine, ConnectionState *connection, int32 step)
{
	/* The first of the list came through the heap: it keeps its place. */
	if (connection->first_waiter == step)
		return;

	if (connection->first_waiter == NO_STEP)
		connection->first_waiter = step;
	else
		machine->steps[connection->last_waiter].next_waiter = step;
	connection->last_waiter = step;
	machine->steps[step].next_waiter = NO_STEP;
}

static void
connection_take(WfMachine *machine, ConnectionState *connection, int32 step)
{
	Assert(connection->user == NO_STEP);
	connection->user = step;
	if (connection->first_waiter == step)
		connection->first_waiter = machine->steps[step].next_waiter;
}

static void
connection_release(WfMachine *machine, ConnectionState *connection)
{
	int32		first = connection->first_waiter;

	connection->user = NO_STEP;
	if (first != NO_STEP && !machine->steps[first].in_heap)
		heap_push(machine, first);
}

/*
 * Ends of steps, and what follows from them.
 */

/* Enter a step in the log of ended steps. */
static void
end_step(WfMachine *machine, int32 step, WfStepStatus status, WfReason reason)
{
	StepState  *state = &machine->steps[step];

	Assert(machine->nended < machine->plan->nsteps);
	state->status = status;
	state->reason = reason;
	machine_log(machine)[machine->nended++] = step;
}

/*
 * The constraints of a step hold.  Once no further step starts it is left as
 * it is, and the end of the run finds it.
 */
static void
make_startable(WfMachine *machine, int32 step)
{
	StepState  *state = &machine->steps[step];

	state->startable = true;
	if (is_halted(machine))
		return;

	if (machine->plan->steps[step].kind == WF_KIND_NONE)
	{
		state->attempt++;
		end_step(machine, step, WF_STEP_SUCCEEDED, WF_REASON_NONE);
	}
	else
		heap_push(machine, step);
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
			/* by the stop of the run: it is neither success nor failure */
			if (machine->stopped)
				return VERDICT_OPEN;
			return on == WF_ON_SUCCESS ? VERDICT_NEVER : VERDICT_HOLDS;

		case WF_STEP_FAILED:
			return on == WF_ON_SUCCESS ? VERDICT_NEVER : VERDICT_HOLDS;

		default:
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

	if (state->status != WF_STEP_WAITING || state->startable)
		return;

	state->open--;
	if (holds != machine->plan->steps[step].any && state->open > 0)
		return;

	if (holds)
		make_startable(machine, step);
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

/*
 * Decide the end of the run.  Steps that are left were kept from starting by
 * the stop or by the failure of the package (R69); they are not settled, for
 * what leads out of them stays open (table 3.6).  A plan without cycles
 * leaves no step for any other reason.
 */
static void
finish(WfMachine *machine)
{
	WfReason	reason = WF_REASON_CONSTRAINT;
	int32		step;

	if (machine->stopped)
		reason = WF_REASON_CANCELLED;
	else if (machine->failed)
		reason = WF_REASON_PACKAGE_FAILED;

	for (step = 0; step < machine->plan->nsteps; step++)
	{
		if (machine->steps[step].status == WF_STEP_WAITING)
			end_step(machine, step, WF_STEP_SKIPPED, reason);
	}
	machine->over = true;
}

/*
 * Follow the constraints out of the steps that have ended, until nothing new
 * ends.  A run is over when no step is running and none can start (R41).
 */
static void
settle(WfMachine *machine)
{
	while (machine->nsettled < machine->nended)
	{
		int32		step = machine_log(machine)[machine->nsettled++];

		settle_step(machine, step);
	}

	if (machine->running == 0 &&
		(machine->nheap == 0 || is_halted(machine)))
		finish(machine);
}

/* The first failure fails the package, if it is so defined (R44, R46). */
static void
note_failure(WfMachine *machine, int32 step)
{
	if (machine->failed_steps++ == 0)
		machine->error_step = step;
	if (machine->plan->fail_on_first_error)
		machine->failed = true;
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
	ConnectionState *connections = machine_connections(machine);
	int32		i;

	machine->error_step = NO_STEP;
	for (i = 0; i < plan->nsteps; i++)
	{
		machine->steps[i].open = plan->steps[i].nconstraints;
		machine->steps[i].status = WF_STEP_WAITING;
	}
	for (i = 0; i < plan->nconnections; i++)
	{
		connections[i].user = NO_STEP;
		connections[i].first_waiter = NO_STEP;
		connections[i].last_waiter = NO_STEP;
	}
}

/* Make a copied block usable with this process' plan. */
WfMachine *
wf_machine_attach(void *memory, const WfPlan *plan)
{
	WfMachine  *machine = memory;

	machine->plan = plan;
	return machine;
}

WfMachine *
wf_machine_init(void *memory, const WfPlan *plan)
{
	WfMachine  *machine = memory;
	bool		found = false;
	int32		step;

	Assert(plan->max_concurrent_steps > 0);
	memset(memory, 0, wf_machine_size(plan));
	machine->plan = plan;
	init_state(machine);

	for (step = 0; step < plan->nsteps; step++)
	{
		if (plan->steps[step].disabled)
			end_step(machine, step, WF_STEP_SKIPPED, WF_REASON_DISABLED);
		else if (plan->steps[step].nconstraints == 0)
		{
			found = true;
			make_startable(machine, step);
		}
	}
	machine->nothing_to_run = !found;
	settle(machine);
	return machine;
}

/*
 * Events.
 */

/*
 * An end that was reported before changes nothing, so a driver that cannot
 * tell may report it again.
 */
void
wf_machine_step_ended(WfMachine *machine, int32 step, WfStepStatus status)
{
	ConnectionState *connection;

	Assert(step >= 0 && step < machine->plan->nsteps);
	Assert(status == WF_STEP_SUCCEEDED || status == WF_STEP_FAILED ||
		   status == WF_STEP_CANCELLED);
	if (machine->steps[step].status != WF_STEP_RUNNING)
		return;

	machine->running--;
	connection = step_connection(machine, step);
	if (connection)
		connection_release(machine, connection);

	/* Failure of the package comes before the dependents (R67). */
	if (status == WF_STEP_FAILED ||
		(status == WF_STEP_CANCELLED && !machine->stopped))
		note_failure(machine, step);
	end_step(machine, step, status, WF_REASON_NONE);
	settle(machine);
}

void
wf_machine_stop(WfMachine *machine)
{
	if (machine->over || machine->stopped)
		return;

	machine->stopped = true;
	settle(machine);
}

/*
 * Actions.
 */

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

/* The next step of the log that ended without being executed. */
static bool
next_record(WfMachine *machine, WfAction *action)
{
	while (machine->nreported < machine->nended)
	{
		int32		step = machine_log(machine)[machine->nreported++];
		StepState  *state = &machine->steps[step];

		if (state->status != WF_STEP_SKIPPED &&
			machine->plan->steps[step].kind != WF_KIND_NONE)
			continue;

		set_action(machine, action, WF_ACT_RECORD, step);
		action->status = state->status;
		action->reason = state->reason;
		return true;
	}
	return false;
}

/* After a stop, the next step that is still running. */
static bool
next_cancel(WfMachine *machine, WfAction *action)
{
	if (!machine->stopped)
		return false;

	while (machine->ncancelled < machine->plan->nsteps)
	{
		int32		step = machine->ncancelled++;

		if (machine->steps[step].status == WF_STEP_RUNNING)
		{
			set_action(machine, action, WF_ACT_CANCEL, step);
			return true;
		}
	}
	return false;
}

static void
start_step(WfMachine *machine, int32 step)
{
	StepState  *state = &machine->steps[step];

	state->status = WF_STEP_RUNNING;
	state->attempt++;
	machine->running++;
}

/* The next step for which there is a place and a connection. */
static bool
next_start(WfMachine *machine, WfAction *action)
{
	while (!is_halted(machine) && machine->nheap > 0 &&
		   machine->running < machine->plan->max_concurrent_steps)
	{
		int32		step = heap_pop(machine);
		ConnectionState *connection = step_connection(machine, step);

		if (connection && connection->user != NO_STEP)
		{
			connection_wait(machine, connection, step);
			continue;
		}

		if (connection)
			connection_take(machine, connection, step);
		start_step(machine, step);
		set_action(machine, action,
				   machine->plan->steps[step].kind == WF_KIND_PACKAGE ?
				   WF_ACT_CHILD : WF_ACT_EXECUTE, step);
		return true;
	}
	return false;
}

static bool
next_end(WfMachine *machine, WfAction *action)
{
	if (!machine->over || machine->ended)
		return false;

	machine->ended = true;
	set_action(machine, action, WF_ACT_END, NO_STEP);
	if (machine->stopped)
		action->run_status = WF_RUN_CANCELLED;
	else if (machine->failed || machine->nothing_to_run)
		action->run_status = WF_RUN_FAILED;
	else
		action->run_status = WF_RUN_SUCCEEDED;
	action->error_step = machine->error_step;
	action->failed_steps = machine->failed_steps;
	action->nothing_to_run = machine->nothing_to_run;
	return true;
}

bool
wf_machine_next(WfMachine *machine, WfAction *action)
{
	return next_record(machine, action) ||
		next_cancel(machine, action) ||
		next_start(machine, action) ||
		next_end(machine, action);
}

/*
 * What the views show.
 */

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

int32
wf_machine_error_step(const WfMachine *machine)
{
	return machine->error_step;
}

/* True when WF_ACT_END has been taken out, not before. */
bool
wf_machine_ended(const WfMachine *machine)
{
	return machine->ended;
}

/* The connection is the only obstacle: a step more would be allowed (R42). */
bool
wf_machine_waits_for_connection(const WfMachine *machine, int32 step)
{
	const StepState *state = &machine->steps[step];
	ConnectionState *connection;

	if (state->status != WF_STEP_WAITING || !state->startable ||
		is_halted(machine) ||
		machine->running >= machine->plan->max_concurrent_steps)
		return false;

	connection = step_connection(unconstify(WfMachine *, machine), step);
	return connection && connection->user != NO_STEP;
}
