/*-------------------------------------------------------------------------
 *
 * live.h
 *	  The runs that the scheduler drives at this moment, for the views.
 *
 * The machine of such a run lives in the agent's area, as a flat block that
 * any process may copy and ask; beside it is what the machine does not know:
 * times, and who is at a step.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_LIVE_H
#define WF_LIVE_H

#include "lib/dshash.h"

#include "history.h"
#include "machine.h"
#include "shmem.h"

/* What the machine does not know of a step. */
typedef struct WfLiveStep
{
	int			entry;			/* entry that carries its attempt, or -1 */
	int64		child_run_id;	/* child run in progress, or 0 */
	TimestampTz started_at;		/* of the attempt; 0: not yet */
	TimestampTz finished_at;	/* 0: not yet */
	int64		transaction_id; /* it works in, or has joined; 0: none */
	TimestampTz transaction_at; /* when that began */
	dsa_pointer pending;		/* its outcome, if that is not written before
								 * the transaction ends; or invalid */
} WfLiveStep;

/*
 * A live run.  The scheduler alone writes.  `lock` guards the machine and the
 * steps; the other fields do not change while the run is in the table, but
 * for the error, which is set under the lock.  Readers take it while they
 * hold the partition of the table.
 */
typedef struct WfLiveRun
{
	int64		run_id;			/* the key */
	LWLock		lock;
	int64		package_id;
	int32		version;
	TimestampTz started_at;
	int			sqlstate;		/* of the run's error so far; 0: none */
	int32		error_step;		/* whose it is; -1: of no step */
	dsa_pointer error;			/* WfSharedError, or invalid */
	int32		transaction_number; /* its own open transaction; 0: none */
	int32		transaction_steps;
	int64		transaction_id;
	TimestampTz transaction_at; /* when it began */
	dsa_pointer machine;		/* block of wf_machine_size() bytes */
	dsa_pointer steps;			/* WfLiveStep for each step */
} WfLiveRun;

/* The table: made by the scheduler in its area; NULL if there is none. */
extern dshash_table *wf_live_create(WfDatabase *database, dsa_area *area);
extern dshash_table *wf_live_attach(WfDatabase *database);

/* A copy of a live run: everything in the current context. */
typedef struct WfLiveCopy
{
	int64		run_id;
	const WfPlan *plan;
	TimestampTz started_at;
	int			sqlstate;
	char	   *error_path;
	char	   *message;
	int32		transaction_number; /* its own open transaction; 0: none */
	int32		transaction_steps;
	int64		transaction_id;
	TimestampTz transaction_at;
	WfMachine  *machine;
	WfLiveStep *steps;
	WfStepOutcome **pending;	/* of each step, NULL: none; see pending.h */
} WfLiveCopy;

/*
 * A copy of a live run, NULL if the run is not driven by the scheduler at
 * this moment.  Needs a transaction with an active snapshot.
 */
extern WfLiveCopy *wf_live_copy(WfDatabase *database, int64 run_id);

#endif							/* WF_LIVE_H */
