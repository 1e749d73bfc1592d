/*-------------------------------------------------------------------------
 *
 * variables.h
 *	  The variables of a run.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_VARIABLES_H
#define WF_VARIABLES_H

#include "utils/jsonb.h"

#include "plan.h"

/* The defaults with the given values over them; `given` may be NULL. */
extern Jsonb *wf_variables_merge(Jsonb *defaults, Jsonb *given);

/*
 * Check what start_job() was given: an object whose keys the package declares.
 * ERROR 22023 otherwise.  Returns NULL if it is empty.
 */
extern Jsonb *wf_variables_check(const WfPlan *plan, Jsonb *given);

/*
 * A variable that the package requires and that is not given, or null; NULL:
 * there is none.  The other function makes an ERROR 22023 of it.
 */
extern const char *wf_variables_missing(const WfPlan *plan, Jsonb *given);
extern void wf_variables_check_required(const WfPlan *plan, Jsonb *given);

/*
 * wf_variables_query
 *		A query that gives the variables which a step passes to a child run or
 *		a job, as one jsonb object: its expressions, in which the run's
 *		variables are columns of type text.  An expression that is only the
 *		name of a variable passes its JSON value as it is.
 */
extern char *wf_variables_query(const WfPlanStep *step, Jsonb *variables);

/* A value as workflow.variable() gives it; NULL for JSON null. */
extern char *wf_variables_value_text(const JsonbValue *value);

/* The first key that the plan does not declare as a variable, or NULL. */
extern char *wf_variables_undeclared(const WfPlan *plan, Jsonb *given);

/* Those of `variables` that the plan declares: what a child run is given. */
extern Jsonb *wf_variables_for_child(const WfPlan *child, Jsonb *variables);

#endif							/* WF_VARIABLES_H */
