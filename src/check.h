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

#include "command_text.h"
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
 * there are not or that the owner may not make, more sessions than there are,
 * somebody else's package inside the package transaction.  The message or its
 * context names the package and the step.  What the step's command is made of
 * is left in `text`, which the caller has zeroed.
 */
extern void wf_check_package(const WfPlan *plan, Oid owner);
extern void wf_check_step(const WfPlan *plan, int32 step, Oid owner,
						  WfCommandText *text);

/* Both, for the package and all steps; returns the texts of all steps. */
extern WfCommandText *wf_check_plan(const WfPlan *plan, Oid owner);

/*
 * What a valid definition is warned of: a list of WfWarning, made in the
 * current memory context.  `texts` has one entry for each step, zeroed where
 * its command is not known to parse.
 */
extern List *wf_check_warnings(const WfPlan *plan,
							   const WfCommandText *texts);

/* Append a warning; for the files that find them. */
extern List *wf_check_add_warning(List *warnings, int32 step, char *message);

#endif							/* WF_CHECK_H */
