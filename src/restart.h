/*-------------------------------------------------------------------------
 *
 * restart.h
 *	  Restarts: what a run takes over of an earlier one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_RESTART_H
#define WF_RESTART_H

#include "history.h"
#include "plan.h"

/* What a later run does with the steps of an earlier one. */
typedef struct WfTakeOver
{
	const WfPlan *plan;			/* of the later run */
	const WfStepOutcome **outcomes; /* of each of its steps: what is taken
									 * over, or NULL */
	int64	   *children;		/* of each of its steps: the child run that is
								 * restarted with it, or 0 */
	Jsonb	   *variables;		/* those that the steps taken over have set;
								 * NULL: none */
} WfTakeOver;

/*
 * wf_restart_analyse
 *		Decide what a run with this plan takes over of an earlier run, which
 *		has ended.  from_step is the name of a step that is executed again
 *		with all that follows it, or NULL; a name that the plan does not have
 *		means nothing.  Palloc'd; needs a transaction with an active snapshot,
 *		and sees what it has written before its last CommandCounterIncrement().
 */
extern WfTakeOver *wf_restart_analyse(const WfRun *earlier,
									  const WfPlan *plan,
									  const char *from_step);

/*
 * wf_restart_variables
 *		What the later run is given: `given` (NULL: none) with what was set by
 *		the steps taken over, as far as its plan declares it.  NULL: none.
 */
extern Jsonb *wf_restart_variables(const WfTakeOver *take, Jsonb *given);

/*
 * wf_restart_record
 *		Write what restart->restarted_as takes over, and that it is a restart.
 *		Its own row is written by the caller, in the same transaction.
 */
extern void wf_restart_record(const WfTakeOver *take,
							  const WfRestart *restart);

/*
 * wf_restart_taken_over
 *		The steps that a run has taken over, by its own record, for
 *		wf_machine_init(); NULL: none.
 */
extern bool *wf_restart_taken_over(const WfPlan *plan,
								   const WfRecord *record);

#endif							/* WF_RESTART_H */
