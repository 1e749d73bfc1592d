/*-------------------------------------------------------------------------
 *
 * bgworker.h
 *	  Registration of the extension's processes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_BGWORKER_H
#define WF_BGWORKER_H

#include "postmaster/bgworker.h"

#include "shmem.h"

/* Register the launcher; called from _PG_init while preloading. */
extern void wf_bgworker_register_launcher(void);

/*
 * Ask the postmaster for a scheduler, or for a worker for a claimed slot.
 * Does not wait for it: this process' latch is set when it starts or ends.
 * The handle is palloc'd in the current context; NULL if there is no free
 * background worker slot in the server.
 */
extern BackgroundWorkerHandle *wf_bgworker_start_scheduler(const WfDatabase *database);
extern BackgroundWorkerHandle *wf_bgworker_start_worker(const WfSlot *slot);

/*
 * Signal handlers of all our processes, and the settings that nothing in a
 * database or role may change for code of ours.  Call at the start of a main
 * function, before connecting.  A `worker` keeps SIGINT as query cancel and
 * the settings of its role, which are meant for the steps.
 */
extern void wf_bgworker_setup(bool worker);

/* CHECK_FOR_INTERRUPTS, and a reload if one was asked for (then true). */
extern bool wf_bgworker_interrupts(void);

/* What ps and pg_stat_activity show beside the type of the process. */
extern void wf_bgworker_show(const char *activity);

#endif							/* WF_BGWORKER_H */
