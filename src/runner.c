/*-------------------------------------------------------------------------
 *
 * runner.c
 *	  The command-line runner: CALL run_job and CALL watch_job.
 *
 * Both follow a run in the foreground: each attempt of a step is shown as a
 * NOTICE when it ends, with how far the run has come; what a step reports of
 * its progress, and that steps have begun, is shown once a second at most.  At
 * the end the run's error is raised if it failed, so that psql exits non-zero.  They are procedures, called outside a transaction block,
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
#include "lib/stringinfo.h"
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
#include "present.h"
#include "wait.h"

#define LOOK_INTERVAL_MS	200
#define PROGRESS_INTERVAL_MS	1000

PG_FUNCTION_INFO_V1(wf_run_job);
PG_FUNCTION_INFO_V1(wf_watch_job);

/* What has been shown of a step. */
typedef struct ShownStep
{
	int32		attempt;		/* the last one that was seen to end, -1: none */
	bool		ended;			/* there is none after it */
	int64		done;			/* its progress */
	int64		total;
	char		progress[WF_PROGRESS_SIZE];
} ShownStep;

/* A run that is followed. */
typedef struct Followed
{
	WfRun		run;
	const WfPlan *plan;
	bool		verbose;
	ShownStep  *steps;
	int			nended;			/* steps of which that was shown */
	int			nrunning;		/* at the last look */
	int			nrunning_shown;
	TimestampTz started_at;		/* 0: not yet */
	TimestampTz finished_at;	/* 0: not yet */
	TimestampTz shown_at;		/* when something was shown last */
	MemoryContext context;
	MemoryContext look;			/* reset for each look */
} Followed;

static void check_can_commit(FunctionCallInfo fcinfo, const char *name);
static void commit(void);
static void follow(Followed *f);
static bool look(Followed *f, WfRunOutcome *outcome);
static bool go_on_with_next_attempt(Followed *f,
									const WfRunOutcome *outcome);
static void begin_to_show(Followed *f);
static void show_news(Followed *f, bool ended);
static void show_ended(Followed *f, const WfRecord *record,
					   const WfPresent *present, bool ended);
static int	compare_ends(const void *a, const void *b);
static bool is_last_attempt(const Followed *f, const WfStepOutcome *outcome,
							const WfPresent *present, bool ended,
							bool *known);
static void show_step(Followed *f, const WfStepOutcome *outcome);
static void show_progress(Followed *f, const WfPresent *present);
static char *progress_line(const Followed *f, TimestampTz at);
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
	f.run.run_id = wf_control_start(PG_ARGISNULL(0) ? NULL :
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
			wf_control_ask_to_stop(f.run.run_id, "run_job() was cancelled");
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
	f.run.run_id = PG_GETARG_INT64(0);
	f.verbose = PG_ARGISNULL(1) || PG_GETARG_BOOL(1);
	wf_control_check_visible(f.run.run_id);
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

	f->context = AllocSetContextCreate(TopMemoryContext, "workflow runner",
									   ALLOCSET_DEFAULT_SIZES);
	f->look = AllocSetContextCreate(f->context, "workflow runner look",
									ALLOCSET_DEFAULT_SIZES);
	PG_TRY();
	{
		while (!look(f, &outcome) || go_on_with_next_attempt(f, &outcome))
			commit();
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
	int64		next;

	PushActiveSnapshot(GetTransactionSnapshot());
	next = wf_history_next_attempt(f->run.run_id);
	PopActiveSnapshot();
	if (next == 0)
		return false;
	if (f->verbose)
		ereport(NOTICE,
				(errmsg("run " INT64_FORMAT " failed, the next attempt is run " INT64_FORMAT ": %s",
						f->run.run_id, next, outcome->message)));
	f->run.run_id = next;
	f->plan = NULL;
	f->nended = 0;
	return true;
}

/* Wait a while for the end of the run, and show what has come.  True if it
 * has ended. */
static bool
look(Followed *f, WfRunOutcome *outcome)
{
	MemoryContext old;
	bool		ended;

	CHECK_FOR_INTERRUPTS();
	MemoryContextReset(f->look);
	old = MemoryContextSwitchTo(f->look);
	ended = wf_wait_for_end(f->run.run_id, LOOK_INTERVAL_MS, false, outcome);
	if (f->verbose)
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		if (f->plan == NULL)
			begin_to_show(f);
		if (f->plan != NULL)
			show_news(f, ended);
		PopActiveSnapshot();
	}
	MemoryContextSwitchTo(old);
	return ended;
}

/* The first look. */
static void
begin_to_show(Followed *f)
{
	int			i;

	if (!wf_history_read_run(f->run.run_id, &f->run))
		return;
	f->run.variables = NULL;	/* it goes with this look */
	f->run.request_key = NULL;
	f->plan = wf_plan_get(f->run.package_id, f->run.version);
	f->shown_at = GetCurrentTimestamp();
	f->steps = MemoryContextAllocZero(f->context, sizeof(ShownStep) *
									  Max(f->plan->nsteps, 1));
	for (i = 0; i < f->plan->nsteps; i++)
		f->steps[i].attempt = -1;
}

/* Show what has come since the last look. */
static void
show_news(Followed *f, bool ended)
{
	WfRecord   *record = wf_history_read_record(f->run.run_id);
	WfPresent	present;
	WfPresentRun run;
	int			i;

	wf_present_take(&f->run, &present);
	wf_present_run(&present, &run);
	f->plan = present.plan;
	f->started_at = run.outcome.started_at;
	f->finished_at = run.outcome.finished_at;
	f->nrunning = 0;
	for (i = 0; i < f->plan->nsteps && !ended; i++)
	{
		WfPresentStep step;

		wf_present_step(&present, i, &step);
		f->nrunning += (step.outcome.status == WF_STEP_RUNNING);
	}
	show_ended(f, record, &present, ended);
	if (!ended && TimestampDifferenceExceeds(f->shown_at,
											 GetCurrentTimestamp(),
											 PROGRESS_INTERVAL_MS))
		show_progress(f, &present);
}

/* Show the attempts that have ended, in the order of their ends. */
static void
show_ended(Followed *f, const WfRecord *record, const WfPresent *present,
		   bool ended)
{
	int			i;

	qsort(record->outcomes, record->n, sizeof(WfStepOutcome), compare_ends);
	for (i = 0; i < record->n; i++)
	{
		const WfStepOutcome *outcome = &record->outcomes[i];
		ShownStep  *shown = &f->steps[outcome->step];
		bool		known;

		if (outcome->attempt <= shown->attempt)
			continue;
		shown->ended = is_last_attempt(f, outcome, present, ended, &known);
		if (!known)
			continue;			/* the next look tells */
		shown->attempt = outcome->attempt;
		f->nended += shown->ended;
		show_step(f, outcome);
	}
}

/* Those that never began come last. */
static int
compare_ends(const void *a, const void *b)
{
	const WfStepOutcome *x = a;
	const WfStepOutcome *y = b;

	if ((x->finished_at == 0) != (y->finished_at == 0))
		return x->finished_at == 0 ? 1 : -1;
	if (x->finished_at != y->finished_at)
		return x->finished_at < y->finished_at ? -1 : 1;
	if (x->step != y->step)
		return x->step < y->step ? -1 : 1;
	return x->attempt - y->attempt;
}

/*
 * is_last_attempt
 *		True if no attempt of the step follows.  *known is false if who drives
 *		the run has not decided about that yet.
 */
static bool
is_last_attempt(const Followed *f, const WfStepOutcome *outcome,
				const WfPresent *present, bool ended, bool *known)
{
	WfPresentStep step;

	*known = true;
	if (outcome->status != WF_STEP_FAILED ||
		outcome->attempt >= f->plan->steps[outcome->step].max_attempts)
		return true;
	if (ended)
	{
		WfStepOutcome last;

		return !wf_history_read_step_outcome(f->run.run_id, outcome->step,
											 &last) ||
			last.attempt == outcome->attempt;
	}
	wf_present_step(present, outcome->step, &step);
	if (step.outcome.attempt > outcome->attempt)
		return false;
	if (step.outcome.status != WF_STEP_RUNNING)
		return true;
	*known = (step.wait != NULL && strcmp(step.wait, "retry") == 0);
	return false;
}

/* Show that an attempt has ended. */
static void
show_step(Followed *f, const WfStepOutcome *outcome)
{
	const WfPlanStep *step = &f->plan->steps[outcome->step];
	StringInfoData line;

	initStringInfo(&line);
	appendStringInfo(&line, "step \"%s\" %s", step->name,
					 wf_step_status_name(outcome->status));
	if (step->max_attempts > 1 && outcome->attempt > 0)
		appendStringInfo(&line, " at attempt %d of %d", outcome->attempt,
						 step->max_attempts);
	if (outcome->reason == WF_REASON_RESTART)
		appendStringInfoString(&line, " before the restart");
	else if (outcome->status == WF_STEP_SUCCEEDED)
		appendStringInfo(&line, " in %.3f s",
						 (outcome->finished_at - outcome->started_at) /
						 (double) USECS_PER_SEC);
	else if (outcome->message != NULL)
		appendStringInfo(&line, ": %s", outcome->message);
	else if (outcome->reason != WF_REASON_NONE)
		appendStringInfo(&line, ": %s", wf_reason_name(outcome->reason));
	ereport(NOTICE,
			(errmsg_internal("%s", line.data),
			 errdetail_internal("%s", progress_line(f, outcome->finished_at))));
	f->shown_at = GetCurrentTimestamp();
	f->nrunning_shown = f->nrunning;
}

/* Show what steps report of their progress, or else that some have begun. */
static void
show_progress(Followed *f, const WfPresent *present)
{
	bool		any = false;
	int			i;

	for (i = 0; i < f->plan->nsteps; i++)
	{
		ShownStep  *shown = &f->steps[i];
		WfPresentStep step;

		wf_present_step(present, i, &step);
		if (step.total == 0 ||
			(step.done == shown->done && step.total == shown->total &&
			 strcmp(step.progress, shown->progress) == 0))
			continue;
		shown->done = step.done;
		shown->total = step.total;
		strlcpy(shown->progress, step.progress, WF_PROGRESS_SIZE);
		ereport(NOTICE,
				(errmsg_internal("step \"%s\": " INT64_FORMAT " of " INT64_FORMAT "%s%s",
								 f->plan->steps[i].name, step.done, step.total,
								 step.progress[0] == '\0' ? "" : ", ",
								 step.progress),
				 errdetail_internal("%s", progress_line(f, 0))));
		any = true;
	}
	if (!any && f->nrunning == f->nrunning_shown)
		return;
	if (!any)
		ereport(NOTICE,
				(errmsg_internal("%s", progress_line(f, 0))));
	f->shown_at = GetCurrentTimestamp();
	f->nrunning_shown = f->nrunning;
}

/* How far the run has come at some time; 0: by now. */
static char *
progress_line(const Followed *f, TimestampTz at)
{
	TimestampTz until = at != 0 ? at :
	f->finished_at != 0 ? f->finished_at : GetCurrentTimestamp();
	int64		seconds = f->started_at == 0 ? 0 :
	Max(0, until - f->started_at) / USECS_PER_SEC;

	return psprintf("%d of %d steps, %d running, %02d:%02d:%02d",
					f->nended, f->plan->nsteps, f->nrunning,
					(int) (seconds / SECS_PER_HOUR),
					(int) (seconds / SECS_PER_MINUTE % MINS_PER_HOUR),
					(int) (seconds % SECS_PER_MINUTE));
}

/* Say how the run ended; an ERROR if it did not succeed. */
static void
raise_result(const Followed *f, const WfRunOutcome *outcome)
{
	if (outcome->status == WF_RUN_FAILED)
		ereport(ERROR,
				(errcode(outcome->sqlstate),
				 errmsg("run " INT64_FORMAT " failed: %s", f->run.run_id,
						outcome->message),
				 outcome->error_path == NULL ? 0 :
				 errdetail("It failed at step \"%s\".",
						   outcome->error_path)));
	if (outcome->status == WF_RUN_CANCELLED)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("run " INT64_FORMAT " was cancelled", f->run.run_id)));
	if (f->verbose)
		ereport(NOTICE,
				(errmsg("run " INT64_FORMAT " %s, %d steps failed", f->run.run_id,
						wf_run_status_name(outcome->status),
						outcome->failed_steps)));
}
