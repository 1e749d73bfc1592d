/*-------------------------------------------------------------------------
 *
 * queue.h
 *	  Runs that wait to be started, in order of priority and age.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_QUEUE_H
#define WF_QUEUE_H

#include "datatype/timestamp.h"
#include "lib/ilist.h"
#include "lib/pairingheap.h"

#include "workflow.h"

/* A run as it waits: what is needed to hand it out. */
typedef struct WfQueuedRun
{
	int64		run_id;
	int64		package_id;
	int32		version;
	int32		priority;
	Oid			owner;
	bool		replay;			/* parts of it may be on record */
	bool		paused;			/* it was put aside: intake.c */
	TimestampTz start_at;		/* not before; 0: at once */
} WfQueuedRun;

typedef struct WfQueue
{
	pairingheap *heap;			/* of ranges */
	dlist_head	ranges;			/* all of them, in no order */
	MemoryContext context;
	int64		length;			/* runs, not ranges */
} WfQueue;

extern void wf_queue_init(WfQueue *queue, MemoryContext context);

/*
 * Add the runs run->run_id .. last_run: memory goes by ranges, so that a
 * hundred thousand runs enqueued in one statement cost one.
 */
extern void wf_queue_add(WfQueue *queue, const WfQueuedRun *run,
						 int64 last_run);
/* The next run, left in the queue; false if there is none. */
extern bool wf_queue_peek(const WfQueue *queue, WfQueuedRun *run);
/* Take the next run out. */
extern bool wf_queue_take(WfQueue *queue, WfQueuedRun *run);
/* Take just this run out, false if it is not there.  Looks at all ranges. */
extern bool wf_queue_remove(WfQueue *queue, int64 run_id, WfQueuedRun *run);
/*
 * List the runs of the queue: append to ids[n ..] as far as max allows, lower
 * *lowest (0: not set) to the lowest of them, and return n counted up by all.
 * Looks at all ranges.
 */
extern int64 wf_queue_list(WfQueue *queue, int64 *ids, int64 n, int64 max,
						   int64 *lowest);

#endif							/* WF_QUEUE_H */
