/*-------------------------------------------------------------------------
 *
 * machine_state.h
 *	  The state of the run machine, for the files that it is made of.
 *
 * machine.c has the events and the rules by which one thing follows from
 * another, machine_join.c the package transaction as far as this run is in
 * it, machine_ready.c the steps that could start and what they compete for, machine_action.c what is read off the state for the driver, and
 * machine_view.c what is read off it for the views.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_MACHINE_STATE_H
#define WF_MACHINE_STATE_H

#include "machine.h"

#define NO_STEP		(-1)

/* What a step waits for that only an event or the driver can bring. */
typedef enum Wait
{
	WAIT_NOTHING,
	WAIT_RESUME,				/* of kind none: the end of the pause */
	WAIT_ASK,					/* WF_ACT_CONDITION to be taken out */
	WAIT_ANSWER,				/* wf_machine_condition() */
	WAIT_SET_TIMER,				/* WF_ACT_TIMER to be taken out */
	WAIT_TIMER,					/* wf_machine_timer() */
	WAIT_ATTEMPT,				/* the next attempt to be taken out */
	WAIT_BRANCH,				/* not running: nobody to execute in its branch */
	WAIT_JOIN,					/* running: the transaction to be joinable */
	WAIT_COMMIT					/* running: the commit that it asked for */
} Wait;

typedef struct StepState
{
	int32		open;			/* constraints not decided yet */
	int32		attempt;		/* attempts started */
	int32		next;			/* in the queue that it is in, or NO_STEP */
	int32		sqlstate;		/* of its condition, or the commit that it
								 * asked for, that failed; or 0 */
	int32		transaction;	/* number of the one that it is or was in */
	char		status;			/* a WfStepStatus */
	char		reason;			/* a WfReason */
	char		wait;			/* a Wait */
	char		error;			/* a WfMachineError */
	bool		ready;			/* constraints hold; stays set */
	bool		in_heap;
	bool		taken_over;		/* ends as succeeded when it could start */
} StepState;

/* A list of steps, linked by their `next`; a step is in one at a time. */
typedef struct Queue
{
	int32		first;			/* or NO_STEP */
	int32		last;
} Queue;

/*
 * Steps that met their branch in use, and the first of them once it is free,
 * until it comes out of its heap again.  A branch has two of these for steps
 * that join, and a connection two for steps that are in the transaction only
 * as long as the connection is: by main_thread, again.
 */
typedef struct BranchQueue
{
	Queue		waiters;
	int32		next;			/* or NO_STEP */
} BranchQueue;

/*
 * Whoever waits for a connection is in one of two queues, by its main_thread:
 * those that wait for the main thread as well must not stand in the way of
 * those that do not.
 */
typedef struct ConnectionState
{
	int32		user;			/* the running step that uses it, or NO_STEP */
	int32		enlisted;		/* number of the transaction that it is
								 * enlisted in, if that is current (R10) */
	Queue		waiters[2];		/* steps that met it in use, in that order */
	BranchQueue enlisted_waiters[2];
} ConnectionState;

/* A part of the array of heaps. */
typedef struct Heap
{
	int32		first;
	int32		count;
} Heap;

typedef enum Phase
{
	PHASE_GRAPH,				/* the result is not fixed */
	PHASE_FINALLY,				/* it is; the finally steps have their turn */
	PHASE_OVER
} Phase;

/*
 * Behind the steps follow, without gaps (all of it is made of int32), the
 * connections, the two heaps in one array and the log of ended steps; that
 * array and the log have room for every step.
 */
struct WfMachine
{
	const WfPlan *plan;
	WfTransaction *transaction; /* NULL: the package does not use any */
	Heap		heaps[2];		/* startable steps, by their main_thread */
	Queue		held;			/* of kind none, kept back by the pause */
	Queue		conditions;		/* to be asked */
	Queue		timers;			/* to be set */
	Queue		retries;		/* attempts to be started */
	Queue		held_conditions;	/* to be asked when nobody executes in the
									 * transaction */
	Queue		joiners;		/* running, wait to join */
	Queue		committers;		/* running, wait for a commit */
	BranchQueue branches[WF_MAX_BRANCHES][2];
	int32		nbranch_waiters;	/* steps in these */
	int32		id;				/* among the machines of the transaction */
	int32		losses;			/* of it, of which it is known */
	int32		main_thread;	/* the running step with this flag, or
								 * NO_STEP */
	int32		nended;			/* length of the log */
	int32		nsettled;		/* cursors in it */
	int32		nreported;
	int32		ncancelled;		/* steps looked at for cancellation */
	int32		pending;		/* steps that are ready and have not started */
	int32		evaluating;		/* conditions being evaluated */
	int32		running;		/* steps in progress (R42) */
	int32		failed_steps;
	int32		error_step;		/* see wf_machine_error_step(); or NO_STEP */

	/* the run: what the result is made of */
	bool		failed;			/* the package has failed (R45, R46) */
	bool		failed_by_driver;	/* and no step was the cause */
	bool		stopped;		/* somebody stopped the run; of no meaning
								 * once the result is fixed */
	bool		nothing_to_run; /* R48 */
	bool		invalid_at_end; /* R47 */

	/* the phase; these two start anew with the finally steps */
	bool		halted;			/* no further step starts */
	bool		interrupted;	/* and steps in progress are cancelled */

	bool		inherits;		/* the transaction is another run's */
	bool		completing;		/* the graph is idle, its transaction is being
								 * ended */
	bool		cancel_commit;	/* the driver is to be told so */
	bool		paused;
	bool		replaying;
	bool		again;			/* look for actions once more */
	bool		ended;			/* the driver knows that the run is over */
	char		phase;			/* a Phase */
	char		result;			/* a WfRunStatus */
	StepState	steps[FLEXIBLE_ARRAY_MEMBER];
};

static inline ConnectionState *
machine_connections(WfMachine *machine)
{
	return (ConnectionState *) (machine->steps + machine->plan->nsteps);
}

static inline int32 *
machine_heaps(WfMachine *machine)
{
	return (int32 *) (machine_connections(machine) +
					  machine->plan->nconnections);
}

static inline int32 *
machine_log(WfMachine *machine)
{
	return machine_heaps(machine) + machine->plan->nsteps;
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

/* The instance that a step executes on. */
static inline int32
step_instance(const WfMachine *machine, int32 step)
{
	int32		connection = machine->plan->steps[step].connection;

	return connection < 0 ? 0 : machine->plan->connections[connection].instance;
}

/* Where a step waits for its branch. */
static inline BranchQueue *
step_branch_queue(WfMachine *machine, int32 step)
{
	const WfPlanStep *plan_step = &machine->plan->steps[step];
	ConnectionState *connection = step_connection(machine, step);

	if (!plan_step->joins && connection != NULL)
		return &connection->enlisted_waiters[plan_step->main_thread];
	return &machine->branches[step_instance(machine, step)]
		[plan_step->main_thread];
}

static inline void
queue_init(Queue *queue)
{
	queue->first = NO_STEP;
	queue->last = NO_STEP;
}

/* Append a step. */
static inline void
queue_push(WfMachine *machine, Queue *queue, int32 step)
{
	machine->steps[step].next = NO_STEP;
	if (queue->first == NO_STEP)
		queue->first = step;
	else
		machine->steps[queue->last].next = step;
	queue->last = step;
}

/* Take the first step out, or return NO_STEP. */
static inline int32
queue_pop(WfMachine *machine, Queue *queue)
{
	int32		step = queue->first;

	if (step != NO_STEP)
		queue->first = machine->steps[step].next;
	return step;
}

/*
 * Take out the first step that waits for `wait`, or return NO_STEP.  A step
 * that ended while it was in a queue is left there, to be passed over here:
 * it never enters another one.
 */
static inline int32
queue_pop_waiting(WfMachine *machine, Queue *queue, Wait wait)
{
	int32		step;

	do
		step = queue_pop(machine, queue);
	while (step != NO_STEP && (Wait) machine->steps[step].wait != wait);
	return step;
}

/* Take a step out of a queue; false if it is not there. */
static inline bool
queue_remove(WfMachine *machine, Queue *queue, int32 step)
{
	int32		previous = NO_STEP;
	int32		i = queue->first;

	while (i != NO_STEP && i != step)
	{
		previous = i;
		i = machine->steps[i].next;
	}
	if (i == NO_STEP)
		return false;
	if (previous == NO_STEP)
		queue->first = machine->steps[step].next;
	else
		machine->steps[previous].next = machine->steps[step].next;
	if (queue->last == step)
		queue->last = previous;
	return true;
}

/* Append what is in one queue to another. */
static inline void
queue_move(WfMachine *machine, Queue *to, Queue *from)
{
	if (from->first == NO_STEP)
		return;
	if (to->first == NO_STEP)
		to->first = from->first;
	else
		machine->steps[to->last].next = from->first;
	to->last = from->last;
	queue_init(from);
}

/* machine.c; see there */
extern void wf_step_await(WfMachine *machine, int32 step, Wait wait,
						  Queue *queue);
extern void wf_step_finish(WfMachine *machine, int32 step,
						   WfStepStatus status);
extern void wf_step_skip(WfMachine *machine, int32 step, WfReason reason);
extern void wf_step_refuse(WfMachine *machine, int32 step,
						   WfMachineError error, bool fails_package);
extern void wf_package_fail(WfMachine *machine, int32 step);
extern void wf_machine_settle(WfMachine *machine);

/* How a step that could start stands to the package transaction. */
typedef enum Entry
{
	ENTRY_FREE,					/* it has nothing to do with it */
	ENTRY_INSIDE,				/* it works in it */
	ENTRY_LATER,				/* somebody executes in its branch */
	ENTRY_JOIN_LATER,			/* when the one that is dying has ended */
	ENTRY_BUSY,					/* WF_ERROR_BRANCH_BUSY */
	ENTRY_INVALID				/* WF_ERROR_INVALID */
} Entry;

/* machine_join.c; see there */
extern void wf_join_init(WfMachine *machine);
extern void wf_join_clear(WfMachine *machine);
extern Entry wf_join_judge(const WfMachine *machine, int32 step);
extern void wf_join_enter(WfMachine *machine, int32 step);
extern int32 wf_join_begin_condition(WfMachine *machine, int32 step);
extern void wf_join_leave(WfMachine *machine, int32 step);
extern void wf_join_retry(WfMachine *machine, int32 step, bool awaits);
extern void wf_join_undo(WfMachine *machine, int32 step);
extern void wf_join_refuse(WfMachine *machine, int32 step, Entry entry);
extern void wf_join_queue(WfMachine *machine, int32 step);
extern bool wf_join_wake(WfMachine *machine);
extern bool wf_join_holds_condition(const WfMachine *machine, int32 step);
extern bool wf_join_ask_commit(WfMachine *machine, int32 step);
extern void wf_join_ask_rollback(WfMachine *machine);
extern void wf_join_drop_commit(WfMachine *machine);
extern void wf_join_skip_joiners(WfMachine *machine, WfReason reason);
extern void wf_join_catch_up(WfMachine *machine);
extern bool wf_join_complete(WfMachine *machine);
extern void wf_join_interrupt(WfMachine *machine);

/* machine_ready.c; see there */
extern void wf_ready_init(WfMachine *machine);
extern void wf_ready_clear(WfMachine *machine);
extern void wf_ready_push(WfMachine *machine, int32 step);
extern int32 wf_ready_pop(WfMachine *machine);
extern bool wf_ready_remove(WfMachine *machine, int32 step);
extern void wf_ready_take(WfMachine *machine, int32 step);
extern void wf_ready_yield(WfMachine *machine, int32 step);
extern void wf_ready_release(WfMachine *machine, int32 step);

#endif							/* WF_MACHINE_STATE_H */
