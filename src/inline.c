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
 * While a package transaction is open this process is its branch, and all that
 * is executed works in it.  Outcomes wait for its end, and commit with it; if
 * the run ends with it, that too.  So a chain in one transaction is one commit.
 * The views find the outcomes in the area meanwhile, as far as there is room.
 *
 * A run that is to be paused is handed back between two steps; the scheduler
 * goes on with it from the record.  In a package transaction it waits here.
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
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "area.h"
#include "bgworker.h"
#include "catalog.h"
#include "compat.h"
#include "errors.h"
#include "history.h"
#include "inline.h"
#include "interruption.h"
#include "machine.h"
#include "pending.h"
#include "restart.h"
#include "run_log.h"
#include "session.h"
#include "variables.h"

/* The package transaction that is open; the entry tells of it as well. */
typedef struct OpenTransaction
{
	int32		number;			/* 0: none is */
	int64		id;
	TimestampTz started_at;
	bool		on_record;		/* its end is */
	bool		was_committed;	/* then */
	List	   *outcomes;		/* WfStepOutcome *: what has worked in it */
	const char *cause;			/* the failure that is to roll it back */
	dsa_pointer last_pending;	/* of entry->pending */
} OpenTransaction;

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
	bool		held;			/* by a pause: `next` is nothing */

	WfMachine  *machine;
	void	   *saved_machine;
	WfTransaction transaction;	/* the machine's */
	WfTransaction saved_transaction;
	WfAction	next;			/* taken out, not carried out: EXECUTE, COMMIT,
								 * ROLLBACK or END */

	OpenTransaction open;
	OpenTransaction saved_open;

	/* outcomes of steps that ended without being executed, not yet written */
	WfStepOutcome *passed;
	int			npassed;
	int			passed_size;
	int			saved_npassed;
	bool		saved_stopping;

	List	   *errors;			/* of steps: WfStepError */
	int			commit_sqlstate;	/* of the commit that failed; then */
	const char *commit_message;
	Jsonb	   *set_variables;	/* those that steps have set; NULL: none */
	Jsonb	   *last_variables; /* by the step that is being committed */
	TimestampTz started_at;
	bool		end_written;
} InlineRun;

static MemoryContext run_context = NULL;

static bool goes_on(InlineRun *r);
static void begin(InlineRun *r);
static void advance(InlineRun *r);
static void answer_from_record(InlineRun *r, const WfStepOutcome *outcome);
static bool was_cut_off(InlineRun *r);
static void pass_step(InlineRun *r, const WfAction *action);
static WfStepOutcome *new_passed(InlineRun *r);
static bool answered(InlineRun *r);
static void note_commit_on_record(InlineRun *r);
static void carry_out_next(InlineRun *r);
static void execute_next(InlineRun *r);
static void begin_step(InlineRun *r);
static void explain_failure(InlineRun *r, WfStepOutcome *outcome);
static void write_success(const WfStepOutcome *outcome, void *arg);
static void cancel_next(InlineRun *r);
static void record_failure(InlineRun *r, WfStepOutcome *outcome);
static void enter_transaction(InlineRun *r);
static void execute_in_branch(InlineRun *r);
static void keep_outcome(InlineRun *r, const WfStepOutcome *outcome);
static void wait_in_transaction(InlineRun *r);
static void end_transaction(InlineRun *r);
static void write_commit(const WfStepOutcome *outcome, void *arg);
static void write_rollback(InlineRun *r, int sqlstate, const char *message);
static void fail_committer(InlineRun *r, int sqlstate, const char *message);
static void advance_in_transaction(InlineRun *r);
static const char *why_rolled_back(const InlineRun *r);
static void show_transaction(InlineRun *r);
static void keep_nothing(const WfStepOutcome *outcome, void *arg);
static void write_transaction(InlineRun *r, bool committed, int sqlstate,
							  const char *message);
static void forget_transaction(InlineRun *r);
static void save(InlineRun *r);
static void restore(InlineRun *r);
static void stop_if_asked(InlineRun *r);
static void pause_if_asked(InlineRun *r);
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
	wf_run_log_begun(&r.run, r.plan, r.record != NULL);
	if (!entry->replay)
		stop_if_asked(&r);		/* else what is on record comes first */
	advance(&r);
	while (goes_on(&r))
		carry_out_next(&r);
	if (r.held || r.next.type != WF_ACT_END)
		hand_back(&r);
	else if (!r.end_written)
		finish(&r);
	publish(&r);
	MemoryContextSwitchTo(TopMemoryContext);
}

/*
 * goes_on
 *		Is there something to carry out here?  A run that is paused is handed
 *		back, but not in a transaction: then this waits for the end of the
 *		pause.
 */
static bool
goes_on(InlineRun *r)
{
	WfEntry    *entry = r->entry;

	while (r->open.number != 0 && entry->pause && !entry->cancel &&
		   (r->held || r->next.type == WF_ACT_EXECUTE))
		wait_in_transaction(r);
	if (r->open.number != 0 && r->held)
	{
		r->held = false;
		stop_if_asked(r);
		wf_machine_resume(r->machine);
		advance(r);
	}
	return !r->held && r->next.type != WF_ACT_END &&
		(!entry->pause || entry->cancel || r->open.number != 0);
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
	wf_session_check_role();
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
	if (r->plan->on_interruption == 'f')
	{
		CommitTransactionCommand();
		r->in_transaction = false;
		wf_session_begin_own();
		wf_interruption_note_begin(&r->run, r->plan, r->entry->replay);
		wf_session_commit_own();
		MemoryContextSwitchTo(old);
	}

	r->saved_machine = palloc(wf_machine_size(r->plan));
	wf_transaction_init(&r->transaction, r->plan);
	r->machine = wf_machine_init(palloc(wf_machine_size(r->plan)), r->plan,
								 &r->transaction, false,
								 wf_restart_taken_over(r->plan, r->record));
}

/*
 * advance
 *		Take actions out of the machine up to the next one that is to be
 *		carried out: `next` is then EXECUTE, COMMIT, ROLLBACK or END.  In a
 *		pause there may be none.
 */
static void
advance(InlineRun *r)
{
	for (;;)
	{
		if (!wf_machine_next(r->machine, &r->next))
		{
			r->held = wf_machine_paused(r->machine);
			if (r->held)
				return;
			elog(ERROR, "run " INT64_FORMAT " has nothing to do and no end",
				 r->run.run_id);
		}
		switch (r->next.type)
		{
			case WF_ACT_RECORD:
				pass_step(r, &r->next);
				break;
			case WF_ACT_CANCEL:
				/* nothing is in progress but what execute_next() is at */
				break;
			case WF_ACT_EXECUTE:
			case WF_ACT_COMMIT:
			case WF_ACT_ROLLBACK:
				if (!answered(r))
					return;
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

/*
 * answered
 *		Answer what is next from the record, if that has the answer.  A step
 *		that is not on record, while the end of its transaction is, has met
 *		one that was lost (D25).
 */
static bool
answered(InlineRun *r)
{
	const WfStepOutcome *outcome;

	if (!r->entry->replay)
		return false;
	if (r->next.type != WF_ACT_EXECUTE)
	{
		bool		committed = r->open.was_committed;

		if (!r->open.on_record)
			return false;
		memset(&r->open, 0, sizeof(OpenTransaction));
		if (!committed && r->next.type == WF_ACT_COMMIT)
			note_commit_on_record(r);
		wf_machine_transaction_ended(r->machine, committed,
									 r->commit_sqlstate);
		return true;
	}
	enter_transaction(r);
	outcome = wf_history_find_outcome(r->record, r->next.step,
									  r->next.attempt);
	if (outcome != NULL)
	{
		answer_from_record(r, outcome);
		return true;
	}
	if (!r->open.on_record || r->open.was_committed)
		return was_cut_off(r);
	wf_machine_transaction_lost(r->machine);
	wf_machine_not_begun(r->machine, r->next.step);
	return true;
}

/* The attempt that is next had begun to commit, and has no outcome: then it
 * has one now. */
static bool
was_cut_off(InlineRun *r)
{
	WfStepOutcome outcome = {
		.run_id = r->run.run_id,
		.step = r->next.step,
		.attempt = r->next.attempt
	};
	bool		result;

	if (!r->in_transaction)
		wf_session_begin_own();
	result = wf_interruption_read(&outcome, NULL);
	if (!r->in_transaction)
		wf_session_commit_own();
	MemoryContextSwitchTo(run_context);
	if (result)
	{
		*new_passed(r) = outcome;
		answer_from_record(r, &outcome);
	}
	return result;
}

/* The commit that is on record has failed, or could not be tried any more. */
static void
note_commit_on_record(InlineRun *r)
{
	WfStepOutcome failed = {0};

	(void) wf_errors_of_machine(WF_ERROR_COMMIT_INVALID, &failed);
	r->commit_sqlstate = failed.sqlstate;
	r->commit_message = failed.message;
}

/* The attempt was executed already: feed what came of it. */
static void
answer_from_record(InlineRun *r, const WfStepOutcome *outcome)
{
	note_error(r, outcome);
	take_variables(r, outcome->variables);
	if (outcome->status == WF_STEP_CANCELLED)
		stop_if_asked(r);		/* it was, when that was recorded */
	wf_machine_step_ended(r->machine, outcome->step, outcome->status,
						  outcome->sqlstate);
}

/* A step ended without being executed: keep its outcome for the next commit. */
static void
pass_step(InlineRun *r, const WfAction *action)
{
	WfStepOutcome *outcome;
	int			attempt = action->attempt;

	if (action->error == WF_ERROR_COMMIT_INVALID &&
		r->plan->steps[action->step].kind == WF_KIND_SQL)
		attempt++;				/* the one before has succeeded */
	if (wf_history_find_outcome(r->record, action->step, attempt) != NULL ||
		(action->error == WF_ERROR_COMMIT &&
		 r->plan->steps[action->step].kind == WF_KIND_SQL))
		return;					/* the latter is written with its transaction */
	outcome = new_passed(r);
	outcome->run_id = r->run.run_id;
	outcome->step = action->step;
	outcome->attempt = attempt;
	outcome->status = action->status;
	outcome->reason = action->reason;
	outcome->rows = -1;
	if (action->attempt > 0)
		outcome->started_at = outcome->finished_at = GetCurrentTimestamp();
	if (action->error == WF_ERROR_COMMIT)
	{
		outcome->sqlstate = r->commit_sqlstate;
		outcome->message = r->commit_message;
	}
	else if (action->error != WF_ERROR_NONE)
		(void) wf_errors_of_machine(action->error, outcome);
	note_error(r, outcome);
}

/* Room for one more outcome to be written with the next commit. */
static WfStepOutcome *
new_passed(InlineRun *r)
{
	WfStepOutcome *outcome;

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
	return outcome;
}

/* Carry out what is next. */
static void
carry_out_next(InlineRun *r)
{
	if (r->next.type != WF_ACT_EXECUTE)
		end_transaction(r);
	else if (r->next.transaction != 0)
		execute_in_branch(r);
	else
		execute_next(r);
}

/* Execute the step that is next, and advance. */
static void
execute_next(InlineRun *r)
{
	WfEntry    *entry = r->entry;
	WfStepOutcome outcome;
	bool		in_transaction = r->in_transaction;

	if (entry->cancel)
	{
		cancel_next(r);
		return;
	}
	if (r->session_used && r->plan->steps[r->next.step].connection < 0)
		wf_session_reset();		/* P2: a session of its own */
	begin_step(r);
	save(r);
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
		restore(r);
		r->last_variables = NULL;
		explain_failure(r, &outcome);
		record_failure(r, &outcome);
	}
	r->last_variables = NULL;	/* those of a success have been taken */
	MemoryContextSwitchTo(run_context);
	entry->current_step = -1;
}

/* The step that is next is about to be executed: let others know. */
static void
begin_step(InlineRun *r)
{
	WfEntry    *entry = r->entry;
	WfStepOutcome none = {0};

	r->session_used = true;
	r->call.step = r->next.step;
	r->call.attempt = r->next.attempt;
	if (DsaPointerIsValid(entry->verdict))
		wf_errors_take_verdict(r->database, entry, &none);	/* came too late */
	entry->step_started_at = GetCurrentTimestamp();
	entry->current_attempt = r->next.attempt;
	entry->current_step = r->next.step;
}

/* A cancelled step may have been so for a reason. */
static void
explain_failure(InlineRun *r, WfStepOutcome *outcome)
{
	wf_errors_take_verdict(r->database, r->entry, outcome);
	if (r->entry->cancel && outcome->sqlstate == ERRCODE_QUERY_CANCELED)
		outcome->status = WF_STEP_CANCELLED;
}

/* Called before the commit of a step's work: what follows commits with it. */
static void
write_success(const WfStepOutcome *outcome, void *arg)
{
	InlineRun  *r = arg;

	wf_history_insert_step_outcome(outcome);
	r->last_variables = outcome->variables;
	pause_if_asked(r);
	wf_machine_step_ended(r->machine, outcome->step, WF_STEP_SUCCEEDED, 0);
	stop_if_asked(r);
	advance_in_transaction(r);
	write_passed(r);
	if (!r->held && r->next.type == WF_ACT_END)
		write_end(r);
}

/* The run was stopped before the step that is next began: it never starts. */
static void
cancel_next(InlineRun *r)
{
	stop_if_asked(r);
	wf_machine_not_begun(r->machine, r->next.step);
	advance(r);
}

/* Record an attempt that did not succeed, and what follows from that. */
static void
record_failure(InlineRun *r, WfStepOutcome *outcome)
{
	note_error(r, outcome);
	pause_if_asked(r);
	stop_if_asked(r);
	wf_machine_step_ended(r->machine, outcome->step, outcome->status,
						  outcome->sqlstate);
	advance(r);

	wf_session_begin_own();
	wf_history_insert_step_outcome(outcome);
	write_passed(r);
	if (!r->held && r->next.type == WF_ACT_END)
		write_end(r);
	wf_session_commit_own();
	r->npassed = 0;
}

/* Keep the state, to come back to if a commit fails. */
static void
save(InlineRun *r)
{
	memcpy(r->saved_machine, r->machine, wf_machine_size(r->plan));
	r->saved_transaction = r->transaction;
	r->saved_open = r->open;
	r->saved_npassed = r->npassed;
	r->saved_stopping = r->stopping;
}

static void
restore(InlineRun *r)
{
	memcpy(r->machine, r->saved_machine, wf_machine_size(r->plan));
	r->transaction = r->saved_transaction;
	r->open = r->saved_open;
	r->npassed = r->saved_npassed;
	r->stopping = r->saved_stopping;
	r->end_written = false;
	r->held = false;
	r->in_transaction = false;
}

/*
 * enter_transaction
 *		The step that is next works in the package transaction: that may begin
 *		with it.
 */
static void
enter_transaction(InlineRun *r)
{
	WfTransactionOutcome outcome;

	if (r->next.transaction == r->open.number)
		return;
	Assert(r->open.number == 0);
	if (!r->in_transaction)
		wf_session_begin_own();
	r->open.on_record = r->record != NULL &&
		wf_history_read_transaction(r->run.run_id, r->next.transaction,
									&outcome);
	if (r->open.on_record)
	{
		r->open.was_committed = outcome.committed;
		r->open.id = outcome.transaction_id;
	}
	else
		r->open.id = wf_history_next_transaction_id();
	if (!r->in_transaction)
		wf_session_commit_own();
	MemoryContextSwitchTo(run_context);
	r->open.started_at = GetCurrentTimestamp();
	r->open.number = r->next.transaction;
}

/* Let others know of the transaction. */
static void
show_transaction(InlineRun *r)
{
	WfEntry    *entry = r->entry;

	LWLockAcquire(&r->database->lock, LW_EXCLUSIVE);
	entry->transaction_id = r->open.id;
	entry->transaction_at = r->open.started_at;
	entry->transaction_steps = list_length(r->open.outcomes);
	entry->isolation = r->plan->isolation;
	entry->transaction_number = r->open.number;
	LWLockRelease(&r->database->lock);
}

/* Execute the step that is next in the package transaction, and advance. */
static void
execute_in_branch(InlineRun *r)
{
	WfEntry    *entry = r->entry;
	WfStepOutcome outcome;

	enter_transaction(r);
	show_transaction(r);
	if (r->in_transaction)
		CommitTransactionCommand();
	r->in_transaction = false;
	MemoryContextSwitchTo(run_context);
	if (entry->cancel)
	{
		cancel_next(r);			/* what the machine has begun, it will end */
		return;
	}
	if (r->session_used && !wf_session_in_branch() &&
		r->plan->steps[r->next.step].connection < 0)
		wf_session_reset();
	begin_step(r);
	if (!wf_session_execute_in_branch(&r->call, r->plan->isolation,
									  keep_nothing, NULL, &outcome))
		explain_failure(r, &outcome);
	MemoryContextSwitchTo(run_context);
	entry->current_step = -1;
	keep_outcome(r, &outcome);
	note_error(r, &outcome);
	if (outcome.status == WF_STEP_SUCCEEDED)
		take_variables(r, outcome.variables);
	pause_if_asked(r);
	stop_if_asked(r);
	wf_machine_step_ended(r->machine, outcome.step, outcome.status,
						  outcome.sqlstate);
	advance(r);
}

static void
keep_nothing(const WfStepOutcome *outcome, void *arg)
{
	/* that is done when the attempt is over: here nobody else hears of it */
}

/* Keep the outcome of a step until the transaction ends. */
static void
keep_outcome(InlineRun *r, const WfStepOutcome *outcome)
{
	WfStepOutcome *copy = wf_pending_copy(outcome);
	dsa_area   *area = wf_area_attach(r->database);
	dsa_pointer pointer;

	copy->transaction_id = r->open.id;
	r->open.outcomes = lappend(r->open.outcomes, copy);
	pointer = wf_pending_put(area, copy);
	LWLockAcquire(&r->database->lock, LW_EXCLUSIVE);
	r->entry->transaction_steps++;
	if (DsaPointerIsValid(pointer))
		wf_pending_append(area, &r->entry->pending, &r->open.last_pending,
						  pointer);
	LWLockRelease(&r->database->lock);
}

/* In a pause no step starts, but the transaction cannot be handed back. */
static void
wait_in_transaction(InlineRun *r)
{
	wf_bgworker_show("paused");
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH, -1,
					 wf_wait_event("WorkflowPaused"));
	ResetLatch(MyLatch);
	(void) wf_bgworker_interrupts();
}

/* End the package transaction as the machine asks for, and advance. */
static void
end_transaction(InlineRun *r)
{
	WfStepOutcome outcome;

	save(r);
	if (r->next.type == WF_ACT_ROLLBACK)
	{
		wf_session_rollback_branch();
		MemoryContextSwitchTo(run_context);
		write_rollback(r, 0, NULL);
	}
	else if (wf_session_commit_branch(write_commit, r, &outcome))
		r->npassed = 0;
	else
	{
		MemoryContextSwitchTo(run_context);
		restore(r);
		write_rollback(r, outcome.sqlstate, pstrdup(outcome.message));
	}
	MemoryContextSwitchTo(run_context);
	forget_transaction(r);
}

/* Before the commit of the branch: all that follows from it commits with it. */
static void
write_commit(const WfStepOutcome *outcome, void *arg)
{
	InlineRun  *r = arg;

	MemoryContextSwitchTo(run_context);
	write_transaction(r, true, 0, NULL);
	memset(&r->open, 0, sizeof(OpenTransaction));
	pause_if_asked(r);
	wf_machine_transaction_ended(r->machine, true, 0);
	stop_if_asked(r);
	advance_in_transaction(r);
	write_passed(r);
	if (!r->held && r->next.type == WF_ACT_END)
		write_end(r);
}

/*
 * write_rollback
 *		The transaction was rolled back: as asked for, or (sqlstate) since its
 *		commit failed, which is the error of the step that asked for it, else
 *		the run's.  Record it, and advance.
 */
static void
write_rollback(InlineRun *r, int sqlstate, const char *message)
{
	if (sqlstate != 0)
		fail_committer(r, sqlstate, message);
	wf_session_begin_own();
	MemoryContextSwitchTo(run_context);
	write_transaction(r, false, sqlstate, message == NULL ?
					  why_rolled_back(r) : message);
	memset(&r->open, 0, sizeof(OpenTransaction));
	pause_if_asked(r);
	stop_if_asked(r);
	wf_machine_transaction_ended(r->machine, false, sqlstate);
	advance_in_transaction(r);
	write_passed(r);
	if (!r->held && r->next.type == WF_ACT_END)
		write_end(r);
	wf_session_commit_own();
	r->npassed = 0;
}

/* The step that asked for the commit has failed, whatever it has done. */
static void
fail_committer(InlineRun *r, int sqlstate, const char *message)
{
	ListCell   *lc;

	r->commit_sqlstate = sqlstate;
	r->commit_message = message;
	foreach(lc, r->open.outcomes)
	{
		WfStepOutcome *outcome = lfirst(lc);

		if (outcome->status != WF_STEP_SUCCEEDED ||
			!wf_machine_awaits_commit(r->machine, outcome->step))
			continue;
		outcome->status = WF_STEP_FAILED;
		outcome->sqlstate = sqlstate;
		outcome->message = message;
		note_error(r, outcome);
	}
}

/* advance() while a transaction is there to read in. */
static void
advance_in_transaction(InlineRun *r)
{
	r->in_transaction = true;
	advance(r);
	r->in_transaction = false;
}

/* Record the transaction, and what has worked in it. */
static void
write_transaction(InlineRun *r, bool committed, int sqlstate,
				  const char *message)
{
	WfTransactionOutcome outcome = {
		.run_id = r->run.run_id,
		.number = r->open.number,
		.transaction_id = r->open.id,
		.steps = list_length(r->open.outcomes),
		.started_at = r->open.started_at,
		.finished_at = GetCurrentTimestamp(),
		.committed = committed,
		.isolation = r->plan->isolation,
		.sqlstate = sqlstate,
		.message = message
	};
	ListCell   *lc;

	foreach(lc, r->open.outcomes)
		wf_history_insert_step_outcome(lfirst(lc));
	wf_history_insert_transaction(&outcome);
}

/* In words, for transaction_history. */
static const char *
why_rolled_back(const InlineRun *r)
{
	const WfStepError *error =
	wf_errors_get(r->errors, wf_machine_error_step(r->machine));

	if (r->open.cause != NULL)
		return r->open.cause;
	if (r->stopping)
		return "the run was stopped";
	if (error != NULL)
		return psprintf("the package failed: %s", error->message);
	return "the package does not commit on completion";
}

/* The transaction is over, for others too. */
static void
forget_transaction(InlineRun *r)
{
	dsa_pointer pending;

	LWLockAcquire(&r->database->lock, LW_EXCLUSIVE);
	pending = r->entry->pending;
	r->entry->pending = InvalidDsaPointer;
	r->entry->transaction_number = 0;
	LWLockRelease(&r->database->lock);
	if (DsaPointerIsValid(pending))
		wf_pending_free(wf_area_attach(r->database), &pending);
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

/* Tell it of pause_job(): nothing follows the step that is ending. */
static void
pause_if_asked(InlineRun *r)
{
	if (r->entry->pause)
		wf_machine_pause(r->machine);
}

/* Keep the error of a step: it may be the run's, or the transaction's. */
static void
note_error(InlineRun *r, const WfStepOutcome *outcome)
{
	const WfPlanStep *step = &r->plan->steps[outcome->step];

	if ((outcome->status != WF_STEP_FAILED &&
		 outcome->status != WF_STEP_INTERRUPTED) || outcome->message == NULL)
		return;
	wf_errors_set(&r->errors, run_context, outcome->step, step->name,
				  outcome->sqlstate, NULL, outcome->message);
	if (r->open.number != 0 && r->open.cause == NULL &&
		step->rollback_on_failure)
	{
		MemoryContext old = MemoryContextSwitchTo(run_context);

		r->open.cause = psprintf("step \"%s\" of package \"%s\" failed: %s",
								 step->name, r->plan->name, outcome->message);
		MemoryContextSwitchTo(old);
	}
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
	wf_history_end_run(&r->run, &outcome, r->entry->parent_transaction_id,
					   r->entry->parent_stops);
	wf_run_log_ended(&r->run, r->plan, &outcome);
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
	else if (r->next.invalid_at_end)
	{
		WfStepOutcome step = {0};

		(void) wf_errors_of_machine(WF_ERROR_INVALID, &step);
		outcome->sqlstate = step.sqlstate;
		outcome->message = step.message;
	}
	else if (r->next.failed_by_driver)
	{
		outcome->sqlstate = r->commit_sqlstate;
		outcome->message = r->commit_message;
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
		r->plan->steps[r->call.step].connection >= 0;
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
