/*-------------------------------------------------------------------------
 *
 * check.h
 *	  What is checked of a definition beyond its structure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_CHECK_H
#define WF_CHECK_H

#include "nodes/pg_list.h"

#include "plan.h"

/* What may not be what was meant. */
typedef struct WfWarning
{
	int32		step;			/* its index in the plan, or -1 */
	char	   *message;
} WfWarning;

/*
 * ERROR if what the package itself, or one of its steps, says cannot be
 * carried out here by this owner: SQL that does not parse, settings that
 * there are not or that the owner may not make, more sessions than there are.
 * The message or its context names the package and the step.
 */
extern void wf_check_package(const WfPlan *plan, Oid owner);
extern void wf_check_step(const WfPlan *plan, int32 step, Oid owner);

/* Both, for the package and all steps. */
extern void wf_check_plan(const WfPlan *plan, Oid owner);

/*
 * What a valid definition is warned of: a list of WfWarning, made in the
 * current memory context.
 */
extern List *wf_check_warnings(const WfPlan *plan);

#endif							/* WF_CHECK_H */
