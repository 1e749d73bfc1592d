/*-------------------------------------------------------------------------
 *
 * plan_fields.h
 *	  The options that become fields of a plan as they are.
 *
 * For plan.c alone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_PLAN_FIELDS_H
#define WF_PLAN_FIELDS_H

#include "options.h"
#include "plan.h"

/*
 * wf_plan_fill_package
 *		Fill in fields of the package, in the current memory context, which is
 *		the plan's.  plan->name is set.  ERROR, naming the package, if values
 *		do not fit each other.
 */
extern void wf_plan_fill_package(WfPlan *plan, const JsonbValue *values);

/*
 * wf_plan_fill_step
 *		Fill in fields of a step, whose name, kind and command are set; what
 *		it points to is made in plan_context.  ERROR, naming the step, if
 *		values do not fit its kind, the package or each other.
 */
extern void wf_plan_fill_step(const WfPlan *plan, WfPlanStep *step,
							  const WfPlace *place, const JsonbValue *values,
							  MemoryContext plan_context);

#endif							/* WF_PLAN_FIELDS_H */
