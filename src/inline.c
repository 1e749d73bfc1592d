/*-------------------------------------------------------------------------
 *
 * inline.c
 *	  The inline driver: a whole sequential run inside one worker.
 *
 * No message is exchanged between the steps of such a run: the worker drives
 * the machine itself.  A step's outcome, the outcomes of steps that were
 * passed over on the way (skipped, or of kind `none`), and the run's outcome
 * if it ends with the step, all commit with the step's effects: a one-step
 * run is one commit.
 *
 * For that the driver must know what follows a success before it is sure of
 * the success.  It saves the machine (a flat block), feeds the success, writes
 * what the machine asks for, and commits; if the commit fails after all, it
 * brings the machine back and feeds the failure.  A failed step's transaction
 * is rolled back, and one short transaction records it.
 *
 * A run that is to be paused is handed back between two steps; the scheduler
 * goes on with it from the record.
 *
 * If the entry says `replay`, parts of the run are on record: an attempt that
 * has an outcome is not executed, the machine is answered from the record.
 * Steps that a restarted run has taken over are on record from its beginning.
 *
 * Nothing here is needed after a crash: the record is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "area.h"
#include "catalog.h"
#include "errors.h"
#include "history.h"
#include "inline.h"
#include "machine.h"
#include "restart.h"
#include "session.h"
#include "variables.h"

/* A run that this worker carries out. */
typedef struct InlineRun
{
	WfDatabase *database;
	WfEntry    *entry;
	WfRun		run;
	const WfPlan *plan;
	WfRecord   *record;			/* NULL: nothing is on record */
	WfStepCall	call;
	bool		in_transaction; /* the one that read the run is still open */
	bool		session_used;	/* a step has been executed in it */
	bool		stopping;

	WfMachine  *machine;
	void	   *saved_machine;
	WfAction	next;			/* taken out, not carried out: EXECUTE or END */

	/* outcomes of steps that ended without being executed, not yet written */
	WfStepOutcome *passed;
	int			npassed;
	int			passed_size;

	List	   *errors;			/* of steps: WfStepError */
	Jsonb	   *set_variables;	/* those that steps have set; NULL: none */
	Jsonb	   *last_variables; /* by the step that is being committed */
	TimestampTz started_at;
	bool		end_written;
} InlineRun;

static MemoryContext run_context = NULL;

static void begin(InlineRun *r);
static void advance(InlineRun *r);
static void answer_from_record(InlineRun *r, const WfStepOutcome *outcome);
static void pass_step(InlineRun *r, const WfAction *action);
static void execute_next(InlineRun *r);
static void write_success(const WfStepOutcome *outcome, void *arg);
static void cancel_next(InlineRun *r);
static void record_failure(InlineRun *r, WfStepOutcome *outcome);
static void stop_if_asked(InlineRun *r);
static void note_error(InlineRun *r, const WfStepOutcome *outcome);
static void take_variables(InlineRun *r, Jsonb *variables);
static Jsonb *all_set_variables(const InlineRun *r);
static void describe_error(const InlineRun *r, WfRunOutcome *outcome);
static void write_passed(InlineRun *r);
static void write_end(InlineRun *r);
static void hand_back(InlineRun *r);
static void finish(InlineRun *r);
static void publish(InlineRun *r);

/* Prepare a worker process for carrying out runs. */
void
wf_inline_init(void)
{
	run_context = AllocSetContextCreate(TopMemoryContext, "workflow run",
										ALLOCSET_DEFAULT_SIZES);
}

/* See inline.h. */
void
wf_inline_run(WfDatabase *database, WfEntry *entry)
{
	InlineRun	r = {.database = database, .entry = entry};

	MemoryContextReset(run_context);
	MemoryContextSwitchTo(run_context);
	r.started_at = GetCurrentTimestamp();
	entry->started_at = r.started_at;

	begin(&r);
	if (!entry->replay)
		stop_if_asked(&r);		/* else what is on record comes first */
	advance(&r);
	while (r.next.type == WF_ACT_EXECUTE && (!entry->pause || entry->cancel))
		execute_next(&r);
	if (r.next.type == WF_ACT_EXECUTE)
		hand_back(&r);
	else if (!r.end_written)
		finish(&r);
	publish(&r);
	MemoryContextSwitchTo(TopMemoryContext);
}

/*
 * begin
 *		Read the run and make its machine.  The transaction stays open and the
 *		first step is executed in it.  What is read here is read with the
 *		catalog snapshot: a step may still choose its isolation level.
 */
static void
begin(InlineRun *r)
{
	MemoryContext old = CurrentMemoryContext;

	SetCurrentStatementStartTimestamp();	/* now() in the first step */
	StartTransactionCommand();
	r->in_transaction = true;
	MemoryContextSwitchTo(old);
	PushActiveSnapshot(GetCatalogSnapshot(wf_catalog_relid(WF_TABLE_RUN)));
	if (!wf_history_read_run(r->entry->run_id, &r->run))
		elog(ERROR, "run " INT64_FORMAT " is not there", r->entry->run_id);
	r->plan = wf_plan_get(r->run.package_id, r->run.version);
	if (r->plan == NULL)
		elog(ERROR, "version %d of package " INT64_FORMAT " is not there",
			 r->run.version, r->run.package_id);
	if (r->entry->replay || r->run.restart_of != 0)
		r->record = wf_history_read_record(r->run.run_id);
	r->call.keep_session = true;
	r->call.run_id = r->run.run_id;
	r->call.plan = r->plan;
	r->call.variables = wf_variables_merge(r->plan->variables,
										   r->run.variables);
	PopActiveSnapshot();

	r->saved_machine = palloc(wf_machine_size(r->plan));
	r->machine =
		wf_machine_init_restart(palloc(wf_machine_size(r->plan)), r->plan,
								wf_restart_taken_over(r->plan, r->record));
}

/*
 * advance
 *		Take actions out of the machine up to the next one that is to be
 *		carried out: `next` is then EXECUTE or END.
 */
static void
advance(InlineRun *r)
{
	for (;;)
	{
		const WfStepOutcome *outcome;

		if (!wf_machine_next(r->machine, &r->next))
			elog(ERROR, "run " INT64_FORMAT " has nothing to do and no end",
				 r->run.run_id);
		switch (r->next.type)
		{
			case WF_ACT_RECORD:
				pass_step(r, &r->next);
				break;
			case WF_ACT_CANCEL:
				/* nothing is in progress but what execute_next() is at */
				break;
			case WF_ACT_EXECUTE:
				outcome = wf_history_find_outcome(r->record, r->next.step,
												  r->next.attempt);
				if (outcome == NULL)
					return;
				answer_from_record(r, outcome);
				break;
			case WF_ACT_CHILD:
			case WF_ACT_CONDITION:
			case WF_ACT_TIMER:
				elog(ERROR, "action %d in an inline run",
					 (int) r->next.type);
				break;
			case WF_ACT_END:
				return;
		}
	}
}

/* The attempt was executed already: feed what came of it. */
static void
answer_from_record(InlineRun *r, const WfStepOutcome *outcome)
{
	note_error(r, outcome);
	take_variables(r, outcome->variables);
	wf_machine_step_ended(r->machine, outcome->step, outcome->status,
						  outcome->sqlstate);
}

/* A step ended without being executed: keep its outcome for the next commit. */
static void
pass_step(InlineRun *r, const WfAction *action)
{
	WfStepOutcome *outcome;

	if (wf_history_find_outcome(r->record, action->step,
								action->attempt) != NULL)
		return;
	if (r->npassed == r->passed_size)
	{
		MemoryContext old = MemoryContextSwitchTo(run_context);

		r->passed_size = Max(8, 2 * r->passed_size);
		if (r->passed == NULL)
			r->passed = palloc(r->passed_size * sizeof(WfStepOutcome));
		else
			r->passed = repalloc_huge(r->passed, r->passed_size *
									  sizeof(WfStepOutcome));
		MemoryContextSwitchTo(old);
	}
	outcome = &r->passed[r->npassed++];
	memset(outcome, 0, sizeof(WfStepOutcome));
	outcome->run_id = r->run.run_id;
	outcome->step = action->step;
	outcome->attempt = action->attempt;
	outcome->status = action->status;
	outcome->reason = action->reason;
	outcome->rows = -1;
	if (action->attempt > 0)
		outcome->started_at = outcome->finished_at = GetCurrentTimestamp();
}

/* Execute the step that is next, and advance. */
static void
execute_next(InlineRun *r)
{
	WfEntry    *entry = r->entry;
	int			saved_npassed = r->npassed;
	bool		saved_stopping = r->stopping;
	WfStepOutcome outcome;
	bool		in_transaction = r->in_transaction;

	if (entry->cancel)
	{
		cancel_next(r);
		return;
	}
	if (r->session_used && r->plan->steps[r->next.step].connection < 0)
		wf_session_reset();		/* P2: a session of its own */
	r->session_used = true;
	r->call.step = r->next.step;
	r->call.attempt = r->next.attempt;
	entry->step_started_at = GetCurrentTimestamp();
	entry->current_attempt = r->next.attempt;
	entry->current_step = r->next.step;

	memcpy(r->saved_machine, r->machine, wf_machine_size(r->plan));
	r->in_transaction = false;
	r->last_variables = NULL;
	if (wf_session_execute(&r->call, in_transaction, write_success, r,
						   &outcome))
	{
		r->npassed = 0;
		take_variables(r, outcome.variables);
	}
	else
	{
		memcpy(r->machine, r->saved_machine, wf_machine_size(r->plan));
		r->npassed = saved_npassed;
		r->last_variables = NULL;
		r->stopping = saved_stopping;
		r->end_written = false;
		if (entry->cancel && outcome.sqlstate == ERRCODE_QUERY_CANCELED)
			outcome.status = WF_STEP_CANCELLED;
		record_failure(r, &outcome);
	}
	MemoryContextSwitchTo(run_context);
	entry->current_step = -1;
}

/* Called before the commit of a step's work: what follows commits with it. */
static void
write_success(const WfStepOutcome *outcome, void *arg)
{
	InlineRun  *r = arg;

	wf_history_insert_step_outcome(outcome);
	r->last_variables = outcome->variables;
	wf_machine_step_ended(r->machine, outcome->step, WF_STEP_SUCCEEDED, 0);
	stop_if_asked(r);
	advance(r);
	write_passed(r);
	if (r->next.type == WF_ACT_END)
		write_end(r);
}

/* The run was stopped before the step that is next began. */
static void
cancel_next(InlineRun *r)
{
	WfStepOutcome outcome = {
		.run_id = r->run.run_id,
		.step = r->next.step,
		.attempt = r->next.attempt,
		.rows = -1,
		.status = WF_STEP_CANCELLED,
		.sqlstate = ERRCODE_QUERY_CANCELED,
		.message = "the run was stopped before the step began"
	};

	if (r->in_transaction)
		CommitTransactionCommand();
	r->in_transaction = false;
	MemoryContextSwitchTo(run_context);
	record_failure(r, &outcome);
}

/* Record an attempt that did not succeed, and what follows from that. */
static void
record_failure(InlineRun *r, WfStepOutcome *outcome)
{
	note_error(r, outcome);
	stop_if_asked(r);
	wf_machine_step_ended(r->machine, outcome->step, outcome->status,
						  outcome->sqlstate);
	advance(r);

	wf_session_begin_own();
	wf_history_insert_step_outcome(outcome);
	write_passed(r);
	if (r->next.type == WF_ACT_END)
		write_end(r);
	wf_session_commit_own();
	r->npassed = 0;
}

/* Tell the machine of stop_job(), once. */
static void
stop_if_asked(InlineRun *r)
{
	if (r->entry->cancel && !r->stopping)
	{
		r->stopping = true;
		wf_machine_stop(r->machine);
	}
}

/* Keep the error of a step: it may be the run's. */
static void
note_error(InlineRun *r, const WfStepOutcome *outcome)
{
	if (outcome->status == WF_STEP_FAILED && outcome->message != NULL)
		wf_errors_set(&r->errors, run_context, outcome->step,
					  r->plan->steps[outcome->step].name, outcome->sqlstate,
					  NULL, outcome->message);
}

/* A step has set variables of the run. */
static void
take_variables(InlineRun *r, Jsonb *variables)
{
	MemoryContext old;

	if (variables == NULL)
		return;
	old = MemoryContextSwitchTo(run_context);
	r->call.variables = wf_variables_merge(r->call.variables, variables);
	r->set_variables = r->set_variables == NULL ?
		wf_variables_merge(variables, variables) :
		wf_variables_merge(r->set_variables, variables);
	MemoryContextSwitchTo(old);
}

/* Write the outcomes of steps that were passed over. */
static void
write_passed(InlineRun *r)
{
	int			i;

	for (i = 0; i < r->npassed; i++)
		wf_history_insert_step_outcome(&r->passed[i]);
}

/* Write the outcome of the run. */
static void
write_end(InlineRun *r)
{
	WfRunOutcome outcome = {
		.run_id = r->run.run_id,
		.status = r->next.run_status,
		.started_at = r->started_at,
		.finished_at = GetCurrentTimestamp(),
		.failed_steps = r->next.failed_steps,
		.variables = all_set_variables(r)
	};

	if (outcome.status == WF_RUN_FAILED)
		describe_error(r, &outcome);
	if (outcome.status == WF_RUN_CANCELLED)
	{
		outcome.stopped_by = r->entry->stopped_by;
		outcome.stop_reason =
			DsaPointerIsValid(r->entry->stop_reason) ?
			wf_area_get_text(wf_area_attach(r->database),
							 r->entry->stop_reason) : NULL;
	}
	wf_history_end_run(&r->run, &outcome, r->entry->parent_stops);
	r->end_written = true;
}

/* What steps have set, with the step whose success is being committed. */
static Jsonb *
all_set_variables(const InlineRun *r)
{
	if (r->last_variables == NULL)
		return r->set_variables;
	return r->set_variables == NULL ? r->last_variables :
		wf_variables_merge(r->set_variables, r->last_variables);
}

/* The error of a run that failed. */
static void
describe_error(const InlineRun *r, WfRunOutcome *outcome)
{
	const WfStepError *error = wf_errors_get(r->errors, r->next.error_step);

	if (r->next.nothing_to_run)
	{
		outcome->sqlstate = ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
		outcome->message = WF_NOTHING_TO_RUN;
	}
	else if (error != NULL)
	{
		outcome->error_path = error->path;
		outcome->sqlstate = error->sqlstate;
		outcome->message = error->message;
	}
}

/* The run is paused: the scheduler drives it from here, from the record.  The
 * session of a named connection (all steps are on it) goes along. */
static void
hand_back(InlineRun *r)
{
	if (r->in_transaction)
		CommitTransactionCommand();
	r->in_transaction = false;
	r->next.run_status = WF_RUN_PAUSED;
	r->entry->bind = r->session_used &&
		r->plan->steps[r->next.step].connection >= 0;
}

/* Write the end of a run that ended without a step that could carry it. */
static void
finish(InlineRun *r)
{
	if (r->in_transaction)
		CommitTransactionCommand();
	r->in_transaction = false;
	wf_session_begin_own();
	write_passed(r);
	write_end(r);
	wf_session_commit_own();
}

/* Leave the result in the entry, for the parent's machine. */
static void
publish(InlineRun *r)
{
	WfEntry    *entry = r->entry;
	WfRunOutcome outcome = {0};

	entry->status = r->next.run_status;
	if (r->run.parent_run_id == 0 || entry->status != WF_RUN_FAILED)
		return;
	describe_error(r, &outcome);
	entry->sqlstate = outcome.sqlstate;
	entry->error = wf_area_put_error(wf_area_attach(r->database),
									 outcome.error_path, outcome.message);
}
