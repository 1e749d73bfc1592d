/*-------------------------------------------------------------------------
 *
 * limits.h
 *	  How many runs of a package there may be at once.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_LIMITS_H
#define WF_LIMITS_H

#include "scheduler.h"

extern void wf_limits_init(WfScheduler *s);

/*
 * wf_limits_enter
 *		A run of a package with max_concurrent_runs wants to be queued.  True
 *		if it may; else it waits here, and is queued by itself when it may.
 */
extern bool wf_limits_enter(WfScheduler *s, const WfQueuedRun *run);
/* A package was edited: those that wait may be queued. */
extern void wf_limits_changed(WfScheduler *s, int64 package_id);
/* A run has ended: another one of its package may be queued. */
extern void wf_limits_left(WfScheduler *s, int64 package_id, int64 run_id);
/* Take a run out that waits here; false if it does not. */
extern bool wf_limits_remove(WfScheduler *s, int64 run_id, WfQueuedRun *run);
/* List the runs that wait here, as wf_queue_list() does. */
extern int64 wf_limits_list(WfScheduler *s, int64 *ids, int64 n, int64 max,
							int64 *lowest);

#endif							/* WF_LIMITS_H */
