/*-------------------------------------------------------------------------
 *
 * timer.c
 *	  What the scheduler has to do at some time.
 *
 * A heap by time.  Timers are never taken back: one whose run or step needs
 * it no more finds nothing to do when its time comes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "timer.h"

static int	compare(const pairingheap_node *a, const pairingheap_node *b,
					void *arg);

/* Make an empty heap. */
void
wf_timers_init(WfTimers *timers, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);

	timers->heap = pairingheap_allocate(compare, NULL);
	timers->context = context;
	timers->length = 0;
	MemoryContextSwitchTo(old);
}

/* The heap's greatest comes first: the earliest. */
static int
compare(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	const WfTimer *x = pairingheap_const_container(WfTimer, node, a);
	const WfTimer *y = pairingheap_const_container(WfTimer, node, b);

	return x->at < y->at ? 1 : x->at > y->at ? -1 : 0;
}

/* Add a timer. */
void
wf_timers_add(WfTimers *timers, const WfTimer *timer)
{
	WfTimer    *copy = MemoryContextAlloc(timers->context, sizeof(WfTimer));

	*copy = *timer;
	pairingheap_add(timers->heap, &copy->node);
	timers->length++;
}

/* Take out the first timer whose time has come. */
bool
wf_timers_take_due(WfTimers *timers, TimestampTz now, WfTimer *timer)
{
	WfTimer    *first;

	if (pairingheap_is_empty(timers->heap))
		return false;
	first = pairingheap_container(WfTimer, node,
								  pairingheap_first(timers->heap));
	if (first->at > now)
		return false;
	(void) pairingheap_remove_first(timers->heap);
	timers->length--;
	*timer = *first;
	pfree(first);
	return true;
}

/* Milliseconds to the first one. */
long
wf_timers_sleep(const WfTimers *timers, TimestampTz now)
{
	WfTimer    *first;

	if (pairingheap_is_empty(timers->heap))
		return -1;
	first = pairingheap_container(WfTimer, node,
								  pairingheap_first(timers->heap));
	return Max(1, TimestampDifferenceMilliseconds(now, first->at));
}
