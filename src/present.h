/*-------------------------------------------------------------------------
 *
 * present.h
 *	  What is to be told of a run that has not ended, at this moment.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_PRESENT_H
#define WF_PRESENT_H

#include "history.h"
#include "live.h"
#include "plan.h"
#include "shmem.h"

/* A copy of the entry that carries a run or a step. */
typedef struct WfEntryCopy
{
	bool		found;
	WfEntry		entry;
	pid_t		pid;			/* of the worker that is at it; 0: none */
} WfEntryCopy;

/* A run, as it was when wf_present_take() was called. */
typedef struct WfPresent
{
	int64		run_id;
	WfDatabase *database;		/* NULL: no agent has ever been here */
	const WfPlan *plan;
	WfLiveCopy *live;			/* NULL: the scheduler does not drive it */
	WfEntryCopy entry;			/* else: a worker may carry it out whole */
	bool		held;			/* it waits for max_concurrent_runs */
	WfStepOutcome **pending;	/* of each step: its outcome, if that is not
								 * written before the transaction ends; NULL:
								 * there is none */
} WfPresent;

/* The package transaction that a run has open. */
typedef struct WfPresentTransaction
{
	int32		number;			/* 0: none */
	int32		steps;
	int64		transaction_id;
	TimestampTz started_at;
	char		isolation;
} WfPresentTransaction;

/* What there is to tell of the run itself.  `outcome` has it all, also while
 * the run goes on: no finished_at then. */
typedef struct WfPresentRun
{
	WfRunOutcome outcome;
	const char *wait;			/* what a queued run waits for; NULL: nothing */
} WfPresentRun;

/* Likewise of a step. */
typedef struct WfPresentStep
{
	WfStepOutcome outcome;		/* status, reason, attempt, pid, times,
								 * transaction, and of a step that has ended
								 * the error */
	TimestampTz transaction_at; /* when that transaction began */
	int64		child_run_id;	/* child run in progress; 0: none */
	const char *wait;			/* NULL: for nothing */
	int64		done;			/* of total, as the step reports; total 0: it
								 * does not */
	int64		total;
	char		progress[WF_PROGRESS_SIZE];
} WfPresentStep;

/*
 * All in the current context; a transaction with an active snapshot.  A run
 * may end after it was taken: its outcome, and those of its steps, are read
 * when they are asked for, so nothing is seen neither running nor ended.
 */
extern void wf_present_take(const WfRun *run, WfPresent *present);
extern void wf_present_run(const WfPresent *present, WfPresentRun *run);
extern void wf_present_transaction(const WfPresent *present,
								   WfPresentTransaction *transaction);
extern void wf_present_step(const WfPresent *present, int32 step,
							WfPresentStep *state);

#endif							/* WF_PRESENT_H */
