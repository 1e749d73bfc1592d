/*-------------------------------------------------------------------------
 *
 * vocabulary.c
 *	  Text forms of the codes in workflow.h, as product.md spells them.
 *
 * Codes come from tables, so each function takes any char and gives NULL for
 * one that means nothing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRONTEND
#include "postgres.h"
#else
#include "postgres_fe.h"
#endif

#include "workflow.h"

const char *
wf_step_kind_name(char kind)
{
	switch (kind)
	{
		case WF_KIND_SQL:
			return "sql";
		case WF_KIND_PACKAGE:
			return "package";
		case WF_KIND_JOB:
			return "job";
		case WF_KIND_NONE:
			return "none";
	}
	return NULL;
}

const char *
wf_on_name(char on)
{
	switch (on)
	{
		case WF_ON_SUCCESS:
			return "success";
		case WF_ON_FAILURE:
			return "failure";
		case WF_ON_COMPLETION:
			return "completion";
	}
	return NULL;
}

const char *
wf_step_status_name(char status)
{
	switch (status)
	{
		case WF_STEP_WAITING:
			return "waiting";
		case WF_STEP_RUNNING:
			return "running";
		case WF_STEP_SUCCEEDED:
			return "succeeded";
		case WF_STEP_FAILED:
			return "failed";
		case WF_STEP_SKIPPED:
			return "skipped";
		case WF_STEP_CANCELLED:
			return "cancelled";
		case WF_STEP_INTERRUPTED:
			return "interrupted";
	}
	return NULL;
}

const char *
wf_reason_name(char reason)
{
	switch (reason)
	{
		case WF_REASON_DISABLED:
			return "disabled";
		case WF_REASON_CONDITION:
			return "condition";
		case WF_REASON_CONSTRAINT:
			return "constraint";
		case WF_REASON_PACKAGE_FAILED:
			return "package failed";
		case WF_REASON_CANCELLED:
			return "cancelled";
		case WF_REASON_RESTART:
			return "restart";
	}
	return NULL;
}

const char *
wf_run_status_name(char status)
{
	switch (status)
	{
		case WF_RUN_QUEUED:
			return "queued";
		case WF_RUN_RUNNING:
			return "running";
		case WF_RUN_PAUSED:
			return "paused";
		case WF_RUN_SUCCEEDED:
			return "succeeded";
		case WF_RUN_FAILED:
			return "failed";
		case WF_RUN_CANCELLED:
			return "cancelled";
		case WF_RUN_SKIPPED:
			return "skipped";
	}
	return NULL;
}
