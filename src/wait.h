/*-------------------------------------------------------------------------
 *
 * wait.h
 *	  Wait for what the scheduler does to a run.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_WAIT_H
#define WF_WAIT_H

#include "fmgr.h"

#include "history.h"

/*
 * True if the call of a SQL function is all that the client's statement still
 * has to do: its arguments have been evaluated, and its value is the only
 * column of the only row.
 */
extern bool wf_wait_is_whole_statement(FunctionCallInfo fcinfo);

/*
 * wf_wait_for_end
 *		Wait until a run has an outcome, and make sure that it survives a
 *		crash.  False after timeout_ms (negative: none).  `alone`: nothing
 *		uses the caller's snapshot any more, so none is shown meanwhile.
 */
extern bool wf_wait_for_end(int64 run_id, long timeout_ms, bool alone,
							WfRunOutcome *outcome);

/* Wait until a test holds that the scheduler wakes the waiters of the run
 * for.  It must read with fresh snapshots. */
typedef bool (*WfWaitTest) (int64 run_id, void *arg);
extern bool wf_wait_for(int64 run_id, long timeout_ms, WfWaitTest test,
						void *arg);

/* Flush what a transaction has committed, here and on synchronous standbys. */
extern void wf_wait_acknowledge(TransactionId xid);

#endif							/* WF_WAIT_H */
