/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  A worker: a process connected as the owner of what it executes.
 *
 * The scheduler has claimed the slot and set its role; the worker takes the
 * slot, connects as that role, and from then on takes entries: whole runs
 * (inline.c) and single steps.  Between entries it waits on its latch.  It
 * ends after workflow.worker_idle_timeout without work, or when the slot says
 * `retire`, or when the scheduler that asked for it is no more.
 *
 * A worker that took an entry with `bind` stands for that session from then
 * on, and takes only what is sent to its inbox, until it is told to release
 * it.  If it becomes the branch of a package transaction, it keeps that open
 * between two entries, and leaves the outcomes of steps to be written when it
 * ends.
 *
 * The slot is left (state EXITED) by a before_shmem_exit callback that is
 * registered before the process connects, so it runs after the transaction
 * has been aborted: whoever sees the slot EXITED knows that nothing of the
 * worker can commit any more.  The text of a FATAL, or of an ERROR that ends
 * the process, is left in the slot: no one else could tell it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "area.h"
#include "bgworker.h"
#include "catalog.h"
#include "compat.h"
#include "errors.h"
#include "guc.h"
#include "history.h"
#include "inline.h"
#include "job.h"
#include "machine.h"
#include "pending.h"
#include "plan.h"
#include "session.h"
#include "shmem.h"
#include "variables.h"

extern PGDLLEXPORT void wf_worker_main(Datum arg);

static WfSlot *my_slot = NULL;
static WfDatabase *my_database = NULL;
static MemoryContext entry_context = NULL;
static emit_log_hook_type previous_log_hook = NULL;

static bool attach(int index);
static void detach(int code, Datum arg);
static void keep_last_words(ErrorData *error);
static void connect_as_owner(void);
static bool wait_for_work(void);
static bool leave(void);
static void reload(int commit_mode);
static void carry_out(WfEntry *entry);
static void fail_entry(WfEntry *entry, char status, int sqlstate,
					   const char *message);
static void execute_step(WfEntry *entry);
static void execute_step_in_branch(WfEntry *entry);
static void leave_pending(const WfStepOutcome *outcome, void *arg);
static void leave_failure(WfEntry *entry, WfStepOutcome *outcome);
static void commit_branch(WfEntry *entry);
static void write_transaction(const WfStepOutcome *outcome, void *arg);
static bool execute_query(WfEntry *entry, const WfStepCall *call,
						  WfBeforeCommit check, WfStepOutcome *outcome);
static void evaluate_condition(WfEntry *entry);
static void evaluate_variables(WfEntry *entry);
static void write_nothing(const WfStepOutcome *outcome, void *arg);
static void check_condition(const WfStepOutcome *outcome, void *arg);
static char condition_answer(const Jsonb *result);
static void write_outcome(const WfStepOutcome *outcome, void *arg);
static void begin_call(WfEntry *entry, WfStepCall *call);
static void report_progress(int64 done, int64 total, const char *message);
static void bind_session(void);
static void release_session(void);

/* A worker. */
void
wf_worker_main(Datum arg)
{
	int			commit_mode;

	if (!attach(DatumGetInt32(arg)))
		proc_exit(0);
	wf_bgworker_setup(true);
	wf_catalog_end_with_extension();
	connect_as_owner();
	commit_mode = wf_commit_mode;

	for (;;)
	{
		int			entry;

		ResetLatch(MyLatch);
		QueryCancelPending = false;
		if (wf_bgworker_interrupts())
			reload(commit_mode);
		if (my_slot->generation != my_database->generation)
			break;

		/*
		 * A cancel of the entry before is forgotten; who carries out the next
		 * one looks whether it was cancelled already.
		 */
		entry = wf_entry_exchange(my_database, my_slot);
		QueryCancelPending = false;
		pg_memory_barrier();
		if (entry >= 0)
			carry_out(&my_database->entries[entry]);
		else if (!wait_for_work())
			break;
	}
	proc_exit(0);
}

/*
 * attach
 *		Take the slot.  False if it is no longer meant for this process: the
 *		scheduler has given up waiting for it, or was evicted.
 */
static bool
attach(int index)
{
	uint32		number;

	memcpy(&number, MyBgworkerEntry->bgw_extra, sizeof(number));
	before_shmem_exit(detach, (Datum) 0);
	my_slot = wf_slot_take(index, number);
	if (my_slot == NULL)
		return false;
	my_database = &wf_shared->databases[my_slot->database];
	return true;
}

/* Leave the slot. */
static void
detach(int code, Datum arg)
{
	if (my_slot == NULL)
		return;
	wf_slot_leave(my_slot);
	my_slot = NULL;
}

/* emit_log_hook: keep the text of what may be the end of this process. */
static void
keep_last_words(ErrorData *error)
{
	int			lowest = wf_session_step == NULL ? ERROR : FATAL;

	if (error->elevel >= lowest && my_slot != NULL)
	{
		my_slot->fatal_sqlstate = error->sqlerrcode;
		strlcpy(my_slot->fatal, error->message ? error->message : "",
				WF_MESSAGE_SIZE);
	}
	if (previous_log_hook)
		previous_log_hook(error);
}

/* Connect as the role, and prepare for its steps. */
static void
connect_as_owner(void)
{
	previous_log_hook = emit_log_hook;
	emit_log_hook = keep_last_words;
	BackgroundWorkerInitializeConnectionByOid(my_database->oid,
											  my_slot->role,
											  wf_worker_connect_flags());
	if (GetSessionUserId() != my_slot->role ||
		GetUserId() != my_slot->role || MyDatabaseId != my_database->oid)
		elog(FATAL, "workflow worker is not connected as it should be");
	pgstat_report_appname("workflow");

	entry_context = AllocSetContextCreate(TopMemoryContext, "workflow entry",
										  ALLOCSET_DEFAULT_SIZES);
	wf_session_init();
	wf_session_report_progress = report_progress;
	wf_inline_init();
	wf_slot_connected(my_slot);
}

/*
 * wait_for_work
 *		Sleep until the latch is set.  False if it is time to go.
 */
static bool
wait_for_work(void)
{
	int			flags = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;
	int			events;

	if (my_slot->retire && !my_slot->bound)
		return !leave();
	if (!my_slot->bound)
		flags |= WL_TIMEOUT;
	if (wf_session_in_branch())
		pgstat_report_activity(STATE_IDLEINTRANSACTION, NULL);
	else
	{
		(void) pgstat_report_stat(true);
		pgstat_report_activity(STATE_IDLE, NULL);
	}
	wf_bgworker_show(my_slot->bound ? "bound" : "idle");
	events = WaitLatch(MyLatch, flags, wf_worker_idle_timeout,
					   wf_wait_event("WorkflowWorkerIdle"));
	return !((events & WL_TIMEOUT) && leave());
}

/* Nothing to do: make sure that nothing is sent any more, then go. */
static bool
leave(void)
{
	bool		leaves;

	LWLockAcquire(&my_database->lock, LW_EXCLUSIVE);
	leaves = my_slot->idle && !my_slot->bound && my_slot->inbox < 0;
	if (leaves)
	{
		my_slot->retire = true;
		my_slot->idle = false;
	}
	LWLockRelease(&my_database->lock);
	return leaves;
}

/*
 * reload
 *		After a change of commit_mode the worker makes room for one that
 *		starts with it: the value that the session had before is not known
 *		here.
 */
static void
reload(int commit_mode)
{
	if (commit_mode == wf_commit_mode)
		return;
	LWLockAcquire(&my_database->lock, LW_EXCLUSIVE);
	my_slot->retire = true;
	LWLockRelease(&my_database->lock);
}

static void
carry_out(WfEntry *entry)
{
	switch (entry->kind)
	{
		case WF_ENTRY_RUN:
			wf_inline_run(my_database, entry);
			if (entry->status == WF_RUN_PAUSED && entry->bind)
				bind_session();
			break;
		case WF_ENTRY_STEP:
			if (entry->cancel)
				entry->status = WF_STEP_WAITING;	/* it never began */
			else if (entry->in_branch)
				execute_step_in_branch(entry);
			else
				execute_step(entry);
			break;
		case WF_ENTRY_CONDITION:
			if (entry->cancel)
				entry->status = WF_CONDITION_NULL;
			else
				evaluate_condition(entry);
			break;
		case WF_ENTRY_VARIABLES:
			if (entry->cancel)
				entry->status = WF_STEP_WAITING;
			else
				evaluate_variables(entry);
			break;
		case WF_ENTRY_COMMIT:
			commit_branch(entry);
			break;
		case WF_ENTRY_ROLLBACK:
			wf_session_rollback_branch();
			break;
		case WF_ENTRY_RELEASE:
			release_session();
			break;
	}
	if (!my_slot->bound)
		wf_session_reset();
}

/* Leave an error in the entry. */
static void
fail_entry(WfEntry *entry, char status, int sqlstate, const char *message)
{
	entry->status = status;
	entry->sqlstate = sqlstate;
	entry->error = wf_area_put_error(wf_area_attach(my_database), NULL,
									 message);
}

/* Execute one attempt of a step of a run that the scheduler drives. */
static void
execute_step(WfEntry *entry)
{
	WfStepCall	call;
	WfStepOutcome outcome;

	MemoryContextReset(entry_context);
	MemoryContextSwitchTo(entry_context);
	entry->started_at = GetCurrentTimestamp();
	begin_call(entry, &call);
	if (call.plan->steps[call.step].kind == WF_KIND_JOB)
		call.perform = wf_job_start;

	if (!wf_session_execute(&call, false, write_outcome, NULL, &outcome))
	{
		wf_errors_take_verdict(my_database, entry, &outcome);
		if (entry->cancel && outcome.sqlstate == ERRCODE_QUERY_CANCELED)
			outcome.status = WF_STEP_CANCELLED;
		wf_session_begin_own();
		write_outcome(&outcome, NULL);
		wf_session_commit_own();
		fail_entry(entry, outcome.status, outcome.sqlstate, outcome.message);
	}
	else
	{
		if (outcome.variables != NULL)
			entry->set_variables =
				wf_area_put_jsonb(wf_area_attach(my_database),
								  outcome.variables);
		entry->status = outcome.status;
	}
	MemoryContextSwitchTo(TopMemoryContext);
}

/* The same in the branch of the package transaction. */
static void
execute_step_in_branch(WfEntry *entry)
{
	WfStepCall	call;
	WfStepOutcome outcome;

	MemoryContextReset(entry_context);
	MemoryContextSwitchTo(entry_context);
	entry->started_at = GetCurrentTimestamp();
	begin_call(entry, &call);
	if (wf_session_execute_in_branch(&call, entry->isolation, leave_pending,
									 entry, &outcome))
	{
		if (outcome.variables != NULL)
			entry->set_variables =
				wf_area_put_jsonb(wf_area_attach(my_database),
								  outcome.variables);
		entry->status = outcome.status;
	}
	else
	{
		wf_errors_take_verdict(my_database, entry, &outcome);
		if (entry->cancel && outcome.sqlstate == ERRCODE_QUERY_CANCELED)
			outcome.status = WF_STEP_CANCELLED;
		leave_failure(entry, &outcome);
	}
	MemoryContextSwitchTo(TopMemoryContext);
}

/* Leave the outcome of a step in its entry. */
static void
leave_pending(const WfStepOutcome *outcome, void *arg)
{
	WfEntry    *entry = arg;
	WfStepOutcome copy = *outcome;

	copy.transaction_id = entry->transaction_id;
	entry->pending = wf_pending_put(wf_area_attach(my_database), &copy);
	if (!DsaPointerIsValid(entry->pending))
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of shared memory"),
				 errdetail("The outcome of the step cannot be kept until its transaction ends.")));
}

/* The same for a step that failed; if need be without all of its texts. */
static void
leave_failure(WfEntry *entry, WfStepOutcome *outcome)
{
	outcome->transaction_id = entry->transaction_id;
	wf_area_free(wf_area_attach(my_database), &entry->pending);
	entry->pending = wf_pending_put(wf_area_attach(my_database), outcome);
	if (!DsaPointerIsValid(entry->pending))
	{
		outcome->detail = outcome->hint = outcome->context = NULL;
		outcome->messages = NULL;
		leave_pending(outcome, entry);
	}
	fail_entry(entry, outcome->status, outcome->sqlstate, outcome->message);
}

/* Commit the branch, with what its steps have left. */
static void
commit_branch(WfEntry *entry)
{
	WfStepOutcome outcome;

	MemoryContextReset(entry_context);
	MemoryContextSwitchTo(entry_context);
	entry->started_at = GetCurrentTimestamp();
	if (entry->cancel)
	{
		wf_session_rollback_branch();
		fail_entry(entry, WF_STEP_FAILED, ERRCODE_QUERY_CANCELED,
				   "the run was stopped before its transaction was committed");
	}
	else if (wf_session_commit_branch(write_transaction, entry, &outcome))
		entry->status = WF_STEP_SUCCEEDED;
	else
		fail_entry(entry, WF_STEP_FAILED, outcome.sqlstate, outcome.message);
	MemoryContextSwitchTo(TopMemoryContext);
}

/* Before the commit of the branch. */
static void
write_transaction(const WfStepOutcome *outcome, void *arg)
{
	WfEntry    *entry = arg;
	MemoryContext old = MemoryContextSwitchTo(entry_context);
	WfTransactionOutcome transaction = {
		.run_id = entry->run_id,
		.number = entry->transaction_number,
		.transaction_id = entry->transaction_id,
		.steps = entry->transaction_steps,
		.started_at = entry->transaction_at,
		.finished_at = GetCurrentTimestamp(),
		.committed = true,
		.isolation = entry->isolation
	};

	wf_pending_write(wf_area_attach(my_database), entry->pending);
	wf_history_insert_transaction(&transaction);
	MemoryContextSwitchTo(old);
}

/* Execute a query for a step, in the branch if there is one. */
static bool
execute_query(WfEntry *entry, const WfStepCall *call, WfBeforeCommit check,
			  WfStepOutcome *outcome)
{
	if (entry->in_branch && wf_session_in_branch())
		return wf_session_execute_in_branch(call, entry->isolation, check,
											NULL, outcome);
	return wf_session_execute(call, false, check, NULL, outcome);
}

/* Evaluate the condition of a step. */
static void
evaluate_condition(WfEntry *entry)
{
	WfStepCall	call;
	WfStepOutcome outcome;

	MemoryContextReset(entry_context);
	MemoryContextSwitchTo(entry_context);
	begin_call(entry, &call);
	call.query = psprintf("SELECT (%s\n)",
						  call.plan->steps[call.step].condition);
	if (execute_query(entry, &call, check_condition, &outcome))
		entry->status = condition_answer(outcome.result);
	else
		fail_entry(entry, WF_CONDITION_ERROR, outcome.sqlstate,
				   outcome.message);
	MemoryContextSwitchTo(TopMemoryContext);
}

/* Evaluate what a package step passes to its child run. */
static void
evaluate_variables(WfEntry *entry)
{
	WfStepCall	call;
	WfStepOutcome outcome;

	MemoryContextReset(entry_context);
	MemoryContextSwitchTo(entry_context);
	begin_call(entry, &call);
	call.query = wf_variables_query(&call.plan->steps[call.step],
									call.variables);
	if (execute_query(entry, &call, write_nothing, &outcome))
	{
		entry->status = WF_STEP_SUCCEEDED;
		if (outcome.result != NULL)
			entry->set_variables =
				wf_area_put_jsonb(wf_area_attach(my_database),
								  outcome.result);
	}
	else
		fail_entry(entry, WF_STEP_FAILED, outcome.sqlstate, outcome.message);
	MemoryContextSwitchTo(TopMemoryContext);
}

static void
write_nothing(const WfStepOutcome *outcome, void *arg)
{
	/* the outcome of the step comes with the end of its child run */
}

/* Before the commit of a condition: its value must be a truth value. */
static void
check_condition(const WfStepOutcome *outcome, void *arg)
{
	JsonbValue	value;

	if (outcome->result != NULL && JB_ROOT_IS_SCALAR(outcome->result) &&
		JsonbExtractScalar(&outcome->result->root, &value) &&
		(value.type == jbvBool || value.type == jbvNull))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("condition must be of type boolean")));
}

static char
condition_answer(const Jsonb *result)
{
	JsonbValue	value;

	(void) JsonbExtractScalar(unconstify(JsonbContainer *, &result->root),
							  &value);
	if (value.type == jbvNull)
		return WF_CONDITION_NULL;
	return value.val.boolean ? WF_CONDITION_TRUE : WF_CONDITION_FALSE;
}

static void
write_outcome(const WfStepOutcome *outcome, void *arg)
{
	wf_history_insert_step_outcome(outcome);
}

/* What the entry says, as a call. */
static void
begin_call(WfEntry *entry, WfStepCall *call)
{
	MemoryContext old = CurrentMemoryContext;
	const WfPlan *plan;
	char	   *path;
	char	   *message;

	wf_session_begin_own();
	wf_session_check_role();
	MemoryContextSwitchTo(old);
	plan = wf_plan_get(entry->package_id, entry->version);
	if (plan == NULL)
		elog(ERROR, "version %d of package " INT64_FORMAT " is not there",
			 entry->version, entry->package_id);
	wf_session_commit_own();
	MemoryContextSwitchTo(old);

	memset(call, 0, sizeof(WfStepCall));
	call->plan = plan;
	call->keep_session = my_slot->bound;
	call->run_id = entry->run_id;
	call->step = entry->step;
	call->attempt = entry->attempt;
	call->variables = wf_area_get_jsonb(wf_area_attach(my_database),
										entry->variables);
	if (call->variables == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of shared memory"),
				 errdetail("The variables of run " INT64_FORMAT " are not there.",
						   entry->run_id)));
	if (entry->run_status == 0)
		return;
	wf_area_get_error(wf_area_attach(my_database), entry->run_error, &path,
					  &message);
	call->run_status = entry->run_status;
	call->run_sqlstate = entry->run_sqlstate;
	call->error_path = path;
	call->error_message = message;
}

/* The step in progress tells how far it has come. */
static void
report_progress(int64 done, int64 total, const char *message)
{
	WfEntry    *entry = &my_database->entries[my_slot->entry];

	LWLockAcquire(&my_database->lock, LW_EXCLUSIVE);
	entry->done = done;
	entry->total = total;
	strlcpy(entry->progress, message, WF_PROGRESS_SIZE);
	LWLockRelease(&my_database->lock);
}

/* This process stands for a session of a run from here on. */
static void
bind_session(void)
{
	LWLockAcquire(&my_database->lock, LW_EXCLUSIVE);
	my_slot->bound = true;
	LWLockRelease(&my_database->lock);
}

/* The run that this session stood for needs it no longer. */
static void
release_session(void)
{
	LWLockAcquire(&my_database->lock, LW_EXCLUSIVE);
	my_slot->bound = false;
	LWLockRelease(&my_database->lock);
}
