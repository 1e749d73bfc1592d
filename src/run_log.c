/*-------------------------------------------------------------------------
 *
 * run_log.c
 *	  Lines in the server log about runs: workflow.log_runs.
 *
 * The process that writes the outcome of a run tells of its end, after the
 * commit: an outcome that is rolled back (a deferred constraint, a lost race)
 * is no end.  The text is made beforehand, so that nothing but the message
 * itself needs memory in the transaction callback.
 *
 * One line is one line: no STATEMENT, no CONTEXT.  The SQLSTATE of a run that
 * failed is that of the message, for %e of log_line_prefix and the CSV log.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "lib/stringinfo.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "run_log.h"

/* The end of a run, in the current transaction. */
typedef struct EndedRun
{
	struct EndedRun *next;
	int			sqlstate;
	char	   *line;
} EndedRun;

static EndedRun *ended = NULL;

static bool is_wanted(const WfRunOutcome *outcome);
static char *describe_end(const WfRun *run, const WfPlan *plan,
						  const WfRunOutcome *outcome);
static void at_xact_event(XactEvent event, void *arg);

/* A run begins. */
void
wf_run_log_begun(const WfRun *run, const WfPlan *plan, bool replay)
{
	if (wf_log_runs != WF_LOG_RUNS_ALL)
		return;
	ereport(LOG,
			(errmsg("workflow run " INT64_FORMAT " of package \"%s\" %s",
					run->run_id, plan->name, replay ? "goes on" : "begins"),
			 errhidestmt(true), errhidecontext(true)));
}

/* A run ends, if the transaction commits. */
void
wf_run_log_ended(const WfRun *run, const WfPlan *plan,
				 const WfRunOutcome *outcome)
{
	static bool registered = false;
	MemoryContext old;
	EndedRun   *end;

	if (!is_wanted(outcome))
		return;
	if (!registered)
		RegisterXactCallback(at_xact_event, NULL);
	registered = true;
	old = MemoryContextSwitchTo(TopTransactionContext);
	end = palloc(sizeof(EndedRun));
	end->sqlstate = outcome->sqlstate;
	end->line = describe_end(run, plan, outcome);
	end->next = ended;
	ended = end;
	MemoryContextSwitchTo(old);
}

static bool
is_wanted(const WfRunOutcome *outcome)
{
	return wf_log_runs == WF_LOG_RUNS_ALL ||
		(wf_log_runs == WF_LOG_RUNS_FAILURES &&
		 (outcome->status == WF_RUN_FAILED ||
		  outcome->status == WF_RUN_CANCELLED));
}

static char *
describe_end(const WfRun *run, const WfPlan *plan,
			 const WfRunOutcome *outcome)
{
	StringInfoData line;

	initStringInfo(&line);
	appendStringInfo(&line, "workflow run " INT64_FORMAT " of package \"%s\" %s",
					 run->run_id, plan->name,
					 wf_run_status_name(outcome->status));
	if (outcome->started_at != 0)
		appendStringInfo(&line, " after %.3f s",
						 (outcome->finished_at - outcome->started_at) /
						 (double) USECS_PER_SEC);
	if (outcome->error_path != NULL)
		appendStringInfo(&line, " at step \"%s\"", outcome->error_path);
	if (outcome->message != NULL)
		appendStringInfo(&line, ": %s", outcome->message);
	else if (outcome->stop_reason != NULL)
		appendStringInfo(&line, ": %s", outcome->stop_reason);
	else if (outcome->failed_steps > 0)
		appendStringInfo(&line, ", failed steps: %d", outcome->failed_steps);
	return line.data;
}

/* Write the lines, or forget them. */
static void
at_xact_event(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT)
		return;
	for (; ended != NULL && event == XACT_EVENT_COMMIT; ended = ended->next)
		ereport(LOG,
				(errcode(ended->sqlstate),
				 errmsg_internal("%s", ended->line),
				 errhidestmt(true), errhidecontext(true)));
	ended = NULL;				/* it goes with the transaction's memory */
}
