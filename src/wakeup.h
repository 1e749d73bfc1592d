/*-------------------------------------------------------------------------
 *
 * wakeup.h
 *	  Tell the agent at commit what a transaction has done.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_WAKEUP_H
#define WF_WAKEUP_H

#include "shmem.h"

/*
 * A run is about to be numbered: hold the horizon.  Call before drawing the
 * number; wf_wakeup_start() follows, or the transaction ends.
 */
extern void wf_wakeup_prepare_start(void);

/* The run is inserted: tell the scheduler when the transaction commits. */
extern void wf_wakeup_start(int64 run_id, int64 package_id, int32 version,
							Oid owner, int32 priority,
							TimestampTz start_at);

/* A package was edited: tell the scheduler when the transaction commits. */
extern void wf_wakeup_edited(int64 package_id);

/* The extension comes or goes: tell launcher and scheduler at commit. */
extern void wf_wakeup_look(void);

/* True if this very transaction started the run. */
extern bool wf_wakeup_started_here(int64 run_id);

/* This backend's notice in shared memory. */
extern WfBackend *wf_wakeup_backend(void);

#endif							/* WF_WAKEUP_H */
