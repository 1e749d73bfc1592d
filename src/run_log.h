/*-------------------------------------------------------------------------
 *
 * run_log.h
 *	  Lines in the server log about runs: workflow.log_runs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_RUN_LOG_H
#define WF_RUN_LOG_H

#include "history.h"
#include "plan.h"

/* A run begins, or goes on with what is on record (`replay`): called by the
 * process that carries it out or drives it. */
extern void wf_run_log_begun(const WfRun *run, const WfPlan *plan,
							 bool replay);

/* A run ends with the current transaction: the line is written when that has
 * committed. */
extern void wf_run_log_ended(const WfRun *run, const WfPlan *plan,
							 const WfRunOutcome *outcome);

#endif							/* WF_RUN_LOG_H */
