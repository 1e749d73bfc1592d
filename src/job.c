/*-------------------------------------------------------------------------
 *
 * job.c
 *	  Job steps: ask an agent to start a package.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/snapmgr.h"

#include "control.h"
#include "job.h"
#include "local_sql.h"
#include "variables.h"

/* Start the package of a job step here. */
int64
wf_job_start(const WfStepCall *call)
{
	const WfPlanStep *step = &call->plan->steps[call->step];
	WfLocalResult result = {0};
	Jsonb	   *variables;
	int64		run_id;

	if (step->variables != NULL)
	{
		wf_local_sql_execute(wf_variables_query(step, call->variables), true,
							 &result);
		variables = result.row;
	}
	else
		variables = wf_control_variables_for(step->command, call->variables);
	PushActiveSnapshot(GetTransactionSnapshot());
	run_id = wf_control_start(step->command, variables);
	PopActiveSnapshot();
	return run_id;
}
