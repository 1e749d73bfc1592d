/*-------------------------------------------------------------------------
 *
 * queue.c
 *	  Runs that wait to be started, in order of priority and age.
 *
 * A pairing heap of ranges of consecutive runs that are alike.  The heap's
 * order is by priority, then by the first run of the range; taking a run
 * moves the range's first run up, which can only move the range down in the
 * order, so it is taken out and put back when another one may come before.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "queue.h"

typedef struct Range
{
	pairingheap_node node;
	dlist_node	link;			/* in queue->ranges */
	WfQueuedRun run;			/* run_id: the first one */
	int64		last_run;
} Range;

static int	compare(const pairingheap_node *a, const pairingheap_node *b,
					void *arg);
static void add_range(WfQueue *queue, const WfQueuedRun *run, int64 first,
					  int64 last);
static void remove_range(WfQueue *queue, Range *range);
static Range *find_range(WfQueue *queue, int64 run_id);

/* Make an empty queue. */
void
wf_queue_init(WfQueue *queue, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);

	queue->heap = pairingheap_allocate(compare, NULL);
	queue->context = context;
	queue->length = 0;
	dlist_init(&queue->ranges);
	MemoryContextSwitchTo(old);
}

/* The heap's greatest comes first: highest priority, then lowest run. */
static int
compare(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	const Range *x = pairingheap_const_container(Range, node, a);
	const Range *y = pairingheap_const_container(Range, node, b);

	if (x->run.priority != y->run.priority)
		return x->run.priority > y->run.priority ? 1 : -1;
	return x->run.run_id < y->run.run_id ? 1 : -1;
}

static void
add_range(WfQueue *queue, const WfQueuedRun *run, int64 first, int64 last)
{
	Range	   *range = MemoryContextAlloc(queue->context, sizeof(Range));

	range->run = *run;
	range->run.run_id = first;
	range->last_run = last;
	pairingheap_add(queue->heap, &range->node);
	dlist_push_tail(&queue->ranges, &range->link);
}

/* Add runs. */
void
wf_queue_add(WfQueue *queue, const WfQueuedRun *run, int64 last_run)
{
	add_range(queue, run, run->run_id, last_run);
	queue->length += last_run - run->run_id + 1;
}

/* The next run. */
bool
wf_queue_peek(const WfQueue *queue, WfQueuedRun *run)
{
	if (pairingheap_is_empty(queue->heap))
		return false;
	*run = pairingheap_container(Range, node,
								 pairingheap_first(queue->heap))->run;
	return true;
}

/* Take the next run out. */
bool
wf_queue_take(WfQueue *queue, WfQueuedRun *run)
{
	Range	   *range;

	if (!wf_queue_peek(queue, run))
		return false;
	range = pairingheap_container(Range, node,
								  pairingheap_first(queue->heap));
	queue->length--;
	if (range->run.run_id == range->last_run)
	{
		(void) pairingheap_remove_first(queue->heap);
		remove_range(queue, range);
	}
	else if (pairingheap_is_singular(queue->heap))
		range->run.run_id++;
	else
	{
		(void) pairingheap_remove_first(queue->heap);
		range->run.run_id++;
		pairingheap_add(queue->heap, &range->node);
	}
	return true;
}

/* Forget a range that is no longer in the heap. */
static void
remove_range(WfQueue *queue, Range *range)
{
	dlist_delete(&range->link);
	pfree(range);
}

/* The range that has the run. */
static Range *
find_range(WfQueue *queue, int64 run_id)
{
	dlist_iter	iter;

	dlist_foreach(iter, &queue->ranges)
	{
		Range	   *range = dlist_container(Range, link, iter.cur);

		if (run_id >= range->run.run_id && run_id <= range->last_run)
			return range;
	}
	return NULL;
}

/* Take just this run out. */
bool
wf_queue_remove(WfQueue *queue, int64 run_id, WfQueuedRun *run)
{
	Range	   *range = find_range(queue, run_id);

	if (range == NULL)
		return false;
	*run = range->run;
	run->run_id = run_id;
	pairingheap_remove(queue->heap, &range->node);
	if (run_id > range->run.run_id)
		add_range(queue, run, range->run.run_id, run_id - 1);
	if (run_id < range->last_run)
		add_range(queue, run, run_id + 1, range->last_run);
	remove_range(queue, range);
	queue->length--;
	return true;
}

/* List the runs of the queue. */
int64
wf_queue_list(WfQueue *queue, int64 *ids, int64 n, int64 max, int64 *lowest)
{
	dlist_iter	iter;

	dlist_foreach(iter, &queue->ranges)
	{
		Range	   *range = dlist_container(Range, link, iter.cur);
		int64		run_id;

		if (*lowest == 0 || range->run.run_id < *lowest)
			*lowest = range->run.run_id;
		for (run_id = range->run.run_id;
			 run_id <= range->last_run && n < max; run_id++)
			ids[n++] = run_id;
		n += range->last_run - run_id + 1;
	}
	return n;
}
