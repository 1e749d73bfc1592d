/*-------------------------------------------------------------------------
 *
 * interruption.h
 *	  What becomes of steps and runs that were cut off.
 *
 * What the scheduler alone does with them is in scheduler.h and driver.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_INTERRUPTION_H
#define WF_INTERRUPTION_H

#include "history.h"
#include "plan.h"

/*
 * wf_interruption_read
 *		An attempt (run_id, step, attempt of *outcome) has no outcome, and
 *		nobody is at it.  True if it had begun to commit: then *outcome says
 *		that it was interrupted.  cause: the last words of the worker that was
 *		at it; NULL: not known.  In a transaction; cause must live as long as
 *		*outcome.
 */
extern bool wf_interruption_read(WfStepOutcome *outcome, const char *cause);

/*
 * wf_interruption_note_begin
 *		A run begins.  If its package wants to hear of it, note that it has
 *		begun, so that it commits, flushed, with the transaction in progress.
 *		replay: it may have begun before.
 */
extern void wf_interruption_note_begin(const WfRun *run, const WfPlan *plan,
									   bool replay);

#endif							/* WF_INTERRUPTION_H */
