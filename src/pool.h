/*-------------------------------------------------------------------------
 *
 * pool.h
 *	  The workers of a database: as many as there is work for, by role.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_POOL_H
#define WF_POOL_H

#include "shmem.h"

/* A worker that has gone, as its slot tells. */
typedef struct WfGoneWorker
{
	Oid			role;			/* invalid: it was who deletes history */
	pid_t		pid;
	int			entry;			/* what it was at, or -1 */
	int			inbox;			/* what was sent to it and not begun, or -1 */
	int			slot;
	bool		connected;		/* it had been */
	int			sqlstate;		/* of the error that ended it; 0: none */
	char		message[WF_MESSAGE_SIZE];
} WfGoneWorker;

/* Terminate the workers of earlier schedulers and wait until they are gone. */
extern void wf_pool_fence(WfDatabase *database);

/* Terminate the workers of a database; does not wait. */
extern void wf_pool_terminate(WfDatabase *database);

/* Free the slot of a worker that has gone and tell what it was; false if
 * there is none. */
extern bool wf_pool_next_gone(WfDatabase *database, WfGoneWorker *gone);

/*
 * Start and retire workers for what is ready.  With `proof` one is started
 * for that role anyway, if none is starting: see wf_pool_started().  Does not
 * wait.
 */
extern void wf_pool_balance(WfDatabase *database, Oid proof);

/* When wf_pool_balance() has to be called again though nothing happens, in
 * milliseconds; -1: not. */
extern long wf_pool_time_to_retry(void);

/*
 * Number of workers of this scheduler whose process has started.  When it
 * grows the server is not shutting down: the postmaster would start none.
 */
extern uint64 wf_pool_started(void);

/* Start who deletes history, beside the workers; false: there is no slot. */
extern bool wf_pool_start_retention(WfDatabase *database);

/* Workers of this database now, in any state. */
extern int	wf_pool_size(const WfDatabase *database);

#endif							/* WF_POOL_H */
