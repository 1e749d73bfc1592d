/*-------------------------------------------------------------------------
 *
 * timer.h
 *	  What the scheduler has to do at some time.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_TIMER_H
#define WF_TIMER_H

#include "datatype/timestamp.h"
#include "lib/pairingheap.h"

#include "workflow.h"

typedef enum WfTimerKind
{
	WF_TIMER_STEP,				/* a retry or condition: run_id, step */
	WF_TIMER_RUN_TIMEOUT,		/* run_id */
	WF_TIMER_CHILD_TIMEOUT,		/* of a package step: run_id, step, attempt */
	WF_TIMER_SELF_WAIT,			/* look for runs that wait for themselves */
	WF_TIMER_START,				/* the start_at of a queued run: run_id */
	WF_TIMER_CHILD				/* that of a child: run_id of the parent, step */
} WfTimerKind;

typedef struct WfTimer
{
	pairingheap_node node;
	TimestampTz at;
	WfTimerKind kind;
	int64		run_id;
	int32		step;
	int32		attempt;
} WfTimer;

typedef struct WfTimers
{
	pairingheap *heap;
	MemoryContext context;
	int			length;
} WfTimers;

extern void wf_timers_init(WfTimers *timers, MemoryContext context);
/* Add a copy of the timer. */
extern void wf_timers_add(WfTimers *timers, const WfTimer *timer);
/* Take out the first timer whose time has come; false if there is none. */
extern bool wf_timers_take_due(WfTimers *timers, TimestampTz now,
							   WfTimer *timer);
/* Milliseconds to the first one, at least 1; -1: there is none. */
extern long wf_timers_sleep(const WfTimers *timers, TimestampTz now);

#endif							/* WF_TIMER_H */
