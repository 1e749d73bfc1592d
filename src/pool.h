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
	Oid			role;
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

/* Free the slot of a worker that has gone and tell what it was; false if
 * there is none. */
extern bool wf_pool_next_gone(WfDatabase *database, WfGoneWorker *gone);

/*
 * Start, retire and terminate workers for what is ready, for `wanted` roles
 * beside it (a list of OIDs, one worker each).  Does not wait.
 */
extern void wf_pool_balance(WfDatabase *database, List *wanted);

/* When wf_pool_balance() has to be called again though nothing happens, in
 * milliseconds; -1: not. */
extern long wf_pool_time_to_retry(void);

/* Number of workers of this scheduler that have ever connected. */
extern uint64 wf_pool_connected(void);

/* Workers of this database now, in any state. */
extern int	wf_pool_size(const WfDatabase *database);

#endif							/* WF_POOL_H */
