/*-------------------------------------------------------------------------
 *
 * job.h
 *	  Job steps: ask an agent to start a package.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_JOB_H
#define WF_JOB_H

#include "session.h"

/*
 * wf_job_start
 *		Carry out a job step for this database, in the step's transaction:
 *		the run is enqueued if and only if the step succeeds.  Returns its
 *		number.  ERRORs are those of start_job().
 */
extern int64 wf_job_start(const WfStepCall *call);

#endif							/* WF_JOB_H */
