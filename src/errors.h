/*-------------------------------------------------------------------------
 *
 * errors.h
 *	  The errors of a run's steps, while the run goes on.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_ERRORS_H
#define WF_ERRORS_H

#include "nodes/pg_list.h"

#include "history.h"
#include "machine.h"
#include "shmem.h"

/* The last error of a step. */
typedef struct WfStepError
{
	int32		step;
	int			sqlstate;
	char	   *path;			/* from the run's package to the innermost
								 * step */
	char	   *message;
} WfStepError;

/*
 * wf_errors_set
 *		Keep the error of a step, instead of an earlier one of that step.  The
 *		texts are copied into `context`, where the list is.  `path` is below
 *		the step: NULL if the error is the step's own.
 */
extern void wf_errors_set(List **errors, MemoryContext context, int32 step,
						  const char *step_name, int sqlstate,
						  const char *path, const char *message);

/*
 * wf_errors_of_machine
 *		The error fields for an error that the machine has found; false if
 *		it is one that the driver knows (a condition's, a commit's).
 */
extern bool wf_errors_of_machine(WfMachineError error,
								 WfStepOutcome *outcome);

/*
 * wf_errors_take_verdict
 *		A step has failed: if its statement was cancelled since it waits for
 *		its own run (self_wait.c), that is its error.  In the worker; the
 *		verdict is used up in any case.
 */
extern void wf_errors_take_verdict(WfDatabase *database, WfEntry *entry,
								   WfStepOutcome *outcome);

/* The error of a step, or NULL. */
extern const WfStepError *wf_errors_get(const List *errors, int32 step);

#endif							/* WF_ERRORS_H */
