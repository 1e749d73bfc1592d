/*-------------------------------------------------------------------------
 *
 * control.h
 *	  Run control for code of ours.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_CONTROL_H
#define WF_CONTROL_H

#include "utils/jsonb.h"

/* What start_job(package, variables) does. */
extern int64 wf_control_start(const char *package, Jsonb *variables);

/* Those of `variables` that the package declares; NULL if there are none, or
 * no such package.  In a transaction with a snapshot to be had. */
extern Jsonb *wf_control_variables_for(const char *package, Jsonb *variables);

/* ERROR 42704 unless the current user may see the run. */
extern void wf_control_check_visible(int64 run_id);

/* Ask the scheduler to stop a run, without waiting and without an ERROR;
 * rights are not checked. */
extern void wf_control_ask_to_stop(int64 run_id, const char *reason);

#endif							/* WF_CONTROL_H */
