/*-------------------------------------------------------------------------
 *
 * machine_ready.c
 *	  The steps that could start, and what they compete for.
 *
 * Startable steps are in two heaps, one for steps with main_thread and one
 * for the others; in each the highest priority is at the top, then the first
 * in the order of the document.  The better of the two tops is next, except
 * that the heap of the main thread is passed over while a step with that flag
 * is running.
 *
 * A step that comes out of its heap while another one uses its connection
 * goes to the end of a queue of that connection and stays there until it
 * starts; whenever the connection becomes free, the first of each of its
 * queues goes into the heap as well, to compete by its priority.  So what a
 * step costs here is O(log n), and again for each time it was first in its
 * queue when the connection became free.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRONTEND
#include "postgres.h"
#else
#include "postgres_fe.h"
#endif

#include "machine_state.h"

/*
 * wf_ready_init
 *		Divide the array of heaps, and forget all that waits and is in use.
 */
void
wf_ready_init(WfMachine *machine)
{
	const WfPlan *plan = machine->plan;
	int32		step;

	machine->heaps[true].first = plan->nsteps;
	for (step = 0; step < plan->nsteps; step++)
	{
		if (plan->steps[step].main_thread)
			machine->heaps[true].first--;
	}
	wf_ready_clear(machine);
}

/* Forget all that waits and is in use; nothing is running. */
void
wf_ready_clear(WfMachine *machine)
{
	ConnectionState *connections = machine_connections(machine);
	int32		i;

	wf_join_clear(machine);
	machine->heaps[false].count = 0;
	machine->heaps[true].count = 0;
	machine->main_thread = NO_STEP;
	for (i = 0; i < machine->plan->nconnections; i++)
	{
		connections[i].user = NO_STEP;
		queue_init(&connections[i].waiters[false]);
		queue_init(&connections[i].waiters[true]);
	}
}

static inline bool
starts_before(const WfPlan *plan, int32 a, int32 b)
{
	int32		priority_a = plan->steps[a].priority;
	int32		priority_b = plan->steps[b].priority;

	if (priority_a != priority_b)
		return priority_a > priority_b;
	return a < b;
}

/* Put a step where the heap has a hole, moving the hole up. */
static void
sift_up(WfMachine *machine, Heap *heap, int32 hole, int32 step)
{
	int32	   *items = machine_heaps(machine) + heap->first;

	while (hole > 0)
	{
		int32		parent = (hole - 1) / 2;

		if (!starts_before(machine->plan, step, items[parent]))
			break;
		items[hole] = items[parent];
		hole = parent;
	}
	items[hole] = step;
}

/* Put a step into its heap. */
void
wf_ready_push(WfMachine *machine, int32 step)
{
	Heap	   *heap = &machine->heaps[machine->plan->steps[step].main_thread];

	Assert(!machine->steps[step].in_heap);
	machine->steps[step].in_heap = true;
	sift_up(machine, heap, heap->count++, step);
}

/* Put a step where the heap has a hole, moving the hole down. */
static void
sift_down(WfMachine *machine, Heap *heap, int32 hole, int32 step)
{
	const WfPlan *plan = machine->plan;
	int32	   *items = machine_heaps(machine) + heap->first;

	for (;;)
	{
		int32		child = 2 * hole + 1;

		if (child >= heap->count)
			break;
		if (child + 1 < heap->count &&
			starts_before(plan, items[child + 1], items[child]))
			child++;
		if (!starts_before(plan, items[child], step))
			break;
		items[hole] = items[child];
		hole = child;
	}
	items[hole] = step;
}

/* A step has left its heap. */
static void
note_left(WfMachine *machine, int32 step)
{
	BranchQueue *queue = step_branch_queue(machine, step);

	machine->steps[step].in_heap = false;
	if (queue->next == step)
		queue->next = NO_STEP;
}

static int32
heap_pop(WfMachine *machine, Heap *heap)
{
	int32	   *items = machine_heaps(machine) + heap->first;
	int32		top = items[0];
	int32		last = items[--heap->count];

	sift_down(machine, heap, 0, last);
	note_left(machine, top);
	return top;
}

/*
 * wf_ready_remove
 *		Take a step out of its heap, wherever it is there, if it finds its
 *		connection and the main thread free.
 */
bool
wf_ready_remove(WfMachine *machine, int32 step)
{
	bool		flagged = machine->plan->steps[step].main_thread;
	Heap	   *heap = &machine->heaps[flagged];
	int32	   *items = machine_heaps(machine) + heap->first;
	ConnectionState *connection = step_connection(machine, step);
	int32		hole = 0;
	int32		last;

	if (!machine->steps[step].in_heap ||
		(connection != NULL && connection->user != NO_STEP) ||
		(flagged && machine->main_thread != NO_STEP))
		return false;

	while (items[hole] != step)
		hole++;
	last = items[--heap->count];
	if (hole < heap->count)
	{
		sift_up(machine, heap, hole, last);
		if (items[hole] == last)
			sift_down(machine, heap, hole, last);
	}
	note_left(machine, step);
	return true;
}

/* The heap whose top is next, or NULL. */
static Heap *
best_heap(WfMachine *machine)
{
	Heap	   *plain = &machine->heaps[false];
	Heap	   *flagged = &machine->heaps[true];
	int32	   *items = machine_heaps(machine);

	if (flagged->count == 0 || machine->main_thread != NO_STEP)
		return plain->count > 0 ? plain : NULL;
	if (plain->count == 0)
		return flagged;
	return starts_before(machine->plan, items[flagged->first],
						 items[plain->first]) ? flagged : plain;
}

/* Put a step behind the others that wait for its connection. */
static void
wait_for_connection(WfMachine *machine, ConnectionState *connection,
					int32 step)
{
	Queue	   *waiters =
		&connection->waiters[machine->plan->steps[step].main_thread];

	/* The first of them came through the heap: it keeps its place. */
	if (waiters->first != step)
		queue_push(machine, waiters, step);
}

/*
 * wf_ready_pop
 *		Take out the step that is next and finds its connection and the main
 *		thread free, or return NO_STEP.
 */
int32
wf_ready_pop(WfMachine *machine)
{
	Heap	   *heap;

	while ((heap = best_heap(machine)) != NULL)
	{
		int32		step = heap_pop(machine, heap);
		ConnectionState *connection = step_connection(machine, step);

		if (connection == NULL || connection->user == NO_STEP)
			return step;
		wait_for_connection(machine, connection, step);
	}
	return NO_STEP;
}

/* A step from wf_ready_pop() starts: it takes what it competed for. */
void
wf_ready_take(WfMachine *machine, int32 step)
{
	bool		flagged = machine->plan->steps[step].main_thread;
	ConnectionState *connection = step_connection(machine, step);

	if (flagged)
		machine->main_thread = step;
	if (connection == NULL)
		return;
	connection->user = step;
	if (connection->waiters[flagged].first == step)
		queue_pop(machine, &connection->waiters[flagged]);
}

/*
 * wf_ready_yield
 *		A step from wf_ready_pop() is to wait for something else: the next one
 *		in the queue of its connection, which is free, competes instead.
 */
void
wf_ready_yield(WfMachine *machine, int32 step)
{
	ConnectionState *connection = step_connection(machine, step);
	Queue	   *waiters;

	if (connection == NULL)
		return;
	waiters = &connection->waiters[machine->plan->steps[step].main_thread];
	if (waiters->first != step)
		return;
	queue_pop(machine, waiters);
	if (waiters->first != NO_STEP)
		wf_ready_push(machine, waiters->first);
}

/* And gives it back. */
void
wf_ready_release(WfMachine *machine, int32 step)
{
	ConnectionState *connection = step_connection(machine, step);
	int			i;

	if (machine->main_thread == step)
		machine->main_thread = NO_STEP;
	if (connection == NULL)
		return;
	connection->user = NO_STEP;
	for (i = 0; i < 2; i++)
	{
		int32		first = connection->waiters[i].first;

		if (first != NO_STEP && !machine->steps[first].in_heap)
			wf_ready_push(machine, first);
	}
}
