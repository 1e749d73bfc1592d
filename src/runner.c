/*-------------------------------------------------------------------------
 *
 * runner.c
 *	  The command-line runner: CALL run_job and CALL watch_job.
 *
 * Both follow a run in the foreground: each step is shown as a NOTICE when it
 * ends, and at the end the run's error is raised if it failed, so that psql
 * exits non-zero.  They are procedures, called outside a transaction block,
 * and hold neither a snapshot nor an open transaction's work while they wait:
 * run_job commits the start of the run first.
 *
 * The end of the run wakes the waiter at once; steps are looked for in
 * between a few times a second.  If the run is tried again (max_attempts of
 * its package), the next attempt is followed.
 *
 * When the caller is cancelled (Ctrl-C), run_job asks the scheduler to stop
 * the run and does not wait for that; watch_job just ends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "control.h"
#include "history.h"
#include "plan.h"
#include "wait.h"

#define LOOK_INTERVAL_MS	200

PG_FUNCTION_INFO_V1(wf_run_job);
PG_FUNCTION_INFO_V1(wf_watch_job);

/* A run that is followed. */
typedef struct Followed
{
	int64		run_id;
	const WfPlan *plan;
	bool		verbose;
	int			nshown;			/* outcomes shown so far */
	bool	   *shown;			/* steps whose last attempt was shown */
	int			ndone;
	MemoryContext context;
} Followed;

static void check_can_commit(FunctionCallInfo fcinfo, const char *name);
static void commit(void);
static void follow(Followed *f);
static bool go_on_with_next_attempt(Followed *f,
									const WfRunOutcome *outcome);
static void show_steps(Followed *f);
static void show_step(Followed *f, const WfStepOutcome *outcome);
static void raise_result(const Followed *f, const WfRunOutcome *outcome);

/*
 * CALL workflow.run_job(package text, variables jsonb, verbose boolean)
 *		Start a run, commit, follow it to its end.
 *
 * Errors: those of start_job(); 2D000 in a transaction block; the run's own
 * error if it failed, 57014 if it was cancelled.
 */
Datum
wf_run_job(PG_FUNCTION_ARGS)
{
	Followed	f = {0};

	check_can_commit(fcinfo, "run_job");
	f.run_id = wf_control_start(PG_ARGISNULL(0) ? NULL :
								text_to_cstring(PG_GETARG_TEXT_PP(0)),
								PG_ARGISNULL(1) ? NULL :
								PG_GETARG_JSONB_P(1));
	f.verbose = PG_ARGISNULL(2) || PG_GETARG_BOOL(2);
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	commit();
	PG_TRY();
	{
		follow(&f);
	}
	PG_CATCH();
	{
		if (geterrcode() == ERRCODE_QUERY_CANCELED)
			wf_control_ask_to_stop(f.run_id, "run_job() was cancelled");
		PG_RE_THROW();
	}
	PG_END_TRY();
	SPI_finish();
	PG_RETURN_VOID();
}

/*
 * CALL workflow.watch_job(run_id bigint, verbose boolean)
 *		Follow a run that somebody else started.
 *
 * Errors: 42704 unknown run; 2D000; the run's own error.
 */
Datum
wf_watch_job(PG_FUNCTION_ARGS)
{
	Followed	f = {0};

	check_can_commit(fcinfo, "watch_job");
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("run_id must not be null")));
	f.run_id = PG_GETARG_INT64(0);
	f.verbose = PG_ARGISNULL(1) || PG_GETARG_BOOL(1);
	wf_control_check_visible(f.run_id);
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	commit();
	follow(&f);
	SPI_finish();
	PG_RETURN_VOID();
}

/* ERROR unless the procedure is called outside a transaction block. */
static void
check_can_commit(FunctionCallInfo fcinfo, const char *name)
{
	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		((CallContext *) fcinfo->context)->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("workflow.%s() cannot be called in a transaction block",
						name),
				 errhint("Use workflow.start_job() there, and workflow.wait_for_job() after the commit.")));
}

/* Commit; the next transaction has no snapshot yet. */
static void
commit(void)
{
	SPI_commit();
}

/* Follow a run to its end, and raise its error. */
static void
follow(Followed *f)
{
	WfRunOutcome outcome;
	bool		ended;

	f->context = AllocSetContextCreate(TopMemoryContext, "workflow runner",
									   ALLOCSET_DEFAULT_SIZES);
	PG_TRY();
	{
		do
		{
			CHECK_FOR_INTERRUPTS();
			ended = wf_wait_for_end(f->run_id, LOOK_INTERVAL_MS, false,
									&outcome);
			show_steps(f);
			ended = ended && !go_on_with_next_attempt(f, &outcome);
			if (!ended)
				commit();
		} while (!ended);
		raise_result(f, &outcome);
	}
	PG_FINALLY();
	{
		MemoryContextDelete(f->context);
	}
	PG_END_TRY();
}

/* Follow the next attempt of a run that has failed, if there is one. */
static bool
go_on_with_next_attempt(Followed *f, const WfRunOutcome *outcome)
{
	int64		next = wf_history_next_attempt(f->run_id);

	if (next == 0)
		return false;
	if (f->verbose)
		ereport(NOTICE,
				(errmsg("run " INT64_FORMAT " failed, the next attempt is run " INT64_FORMAT ": %s",
						f->run_id, next, outcome->message)));
	f->run_id = next;
	f->plan = NULL;
	f->nshown = f->ndone = 0;
	MemoryContextReset(f->context);
	return true;
}

/* Show the steps that have ended since the last time. */
static void
show_steps(Followed *f)
{
	WfRecord   *record;
	WfRun		run;
	int			i;

	if (!f->verbose)
		return;
	PushActiveSnapshot(GetTransactionSnapshot());
	if (f->plan == NULL && wf_history_read_run(f->run_id, &run))
	{
		f->plan = wf_plan_get(run.package_id, run.version);
		f->shown = MemoryContextAllocZero(f->context, 1 + f->plan->nsteps);
	}
	record = wf_history_read_record(f->run_id);
	PopActiveSnapshot();
	if (f->plan == NULL || record->n == f->nshown)
		return;
	for (i = 0; i < record->n; i++)
		show_step(f, &record->outcomes[i]);
	f->nshown = record->n;
}

static void
show_step(Followed *f, const WfStepOutcome *outcome)
{
	const char *name = f->plan->steps[outcome->step].name;
	double		seconds = (outcome->finished_at - outcome->started_at) /
	(double) USECS_PER_SEC;

	if (f->shown[outcome->step])
		return;
	f->shown[outcome->step] = true;
	f->ndone++;
	if (outcome->reason == WF_REASON_RESTART)
		ereport(NOTICE,
				(errmsg("step \"%s\" succeeded before the restart (%d of %d)",
						name, f->ndone, f->plan->nsteps)));
	else if (outcome->status == WF_STEP_SUCCEEDED)
		ereport(NOTICE,
				(errmsg("step \"%s\" succeeded in %.3f s (%d of %d)", name,
						seconds, f->ndone, f->plan->nsteps)));
	else if (outcome->message != NULL)
		ereport(NOTICE,
				(errmsg("step \"%s\" %s: %s (%d of %d)", name,
						wf_step_status_name(outcome->status),
						outcome->message, f->ndone, f->plan->nsteps)));
	else
		ereport(NOTICE,
				(errmsg("step \"%s\" %s: %s (%d of %d)", name,
						wf_step_status_name(outcome->status),
						outcome->reason == WF_REASON_NONE ? "" :
						wf_reason_name(outcome->reason),
						f->ndone, f->plan->nsteps)));
}

/* Say how the run ended; an ERROR if it did not succeed. */
static void
raise_result(const Followed *f, const WfRunOutcome *outcome)
{
	if (outcome->status == WF_RUN_FAILED)
		ereport(ERROR,
				(errcode(outcome->sqlstate),
				 errmsg("run " INT64_FORMAT " failed: %s", f->run_id,
						outcome->message),
				 outcome->error_path == NULL ? 0 :
				 errdetail("It failed at step \"%s\".",
						   outcome->error_path)));
	if (outcome->status == WF_RUN_CANCELLED)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("run " INT64_FORMAT " was cancelled", f->run_id)));
	if (f->verbose)
		ereport(NOTICE,
				(errmsg("run " INT64_FORMAT " %s, %d steps failed", f->run_id,
						wf_run_status_name(outcome->status),
						outcome->failed_steps)));
}
