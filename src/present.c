/*-------------------------------------------------------------------------
 *
 * present.c
 *	  What is to be told of a run that has not ended, at this moment.
 *
 * A run that the scheduler drives is in the table of live runs, with its
 * machine; one that a worker carries out whole is known by its entry; of one
 * that is queued there is only its row, and the reason why it waits.  What
 * has ended is on record, and that comes first.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "held.h"
#include "machine.h"
#include "area.h"
#include "pending.h"
#include "present.h"

static void copy_entry(WfPresent *present);
static void copy_pending(WfPresent *present, dsa_area *area);
static void copy_entry_at(WfDatabase *database, int index,
						  WfEntryCopy *copy);
static void tell_live_run(const WfLiveCopy *live, WfRunOutcome *outcome);
static bool is_running(const WfPresent *present);
static bool has_ended_in_transaction(const WfPresent *present, int32 step,
									 const WfStepOutcome *outcome);
static void tell_live_step(const WfPresent *present, int32 step,
						   WfPresentStep *state, WfEntryCopy *carrier);
static char *wait_of(const WfPresent *present, int32 step,
					 WfEntryCopy *carrier);
static char *wait_of_running(const WfPresent *present, int32 step,
							 WfEntryCopy *carrier);

/* Copy what shared memory tells of a run. */
void
wf_present_take(const WfRun *run, WfPresent *present)
{
	memset(present, 0, sizeof(WfPresent));
	present->run_id = run->run_id;
	present->plan = wf_plan_get(run->package_id, run->version);
	present->database = wf_shared == NULL ? NULL :
		wf_database_find(MyDatabaseId);
	if (present->database == NULL)
		return;
	present->live = wf_live_copy(present->database, run->run_id);
	if (present->live == NULL)
		copy_entry(present);
	else
		present->pending = present->live->pending;
	if (present->live == NULL && !present->entry.found)
		present->held = wf_held_has(present->database, run->run_id);
}

/* Copy the entry that carries a whole run, if there is one. */
static void
copy_entry(WfPresent *present)
{
	WfDatabase *database = present->database;
	dsa_area   *area = wf_area_attach(database);
	int			i;

	LWLockAcquire(&database->lock, LW_SHARED);
	for (i = 0; i < WF_NENTRIES; i++)
	{
		WfEntry    *e = &database->entries[i];

		if (e->run_id == present->run_id && e->state != WF_ENTRY_FREE &&
			e->kind == WF_ENTRY_RUN)
		{
			copy_entry_at(database, i, &present->entry);
			if (area != NULL && present->plan != NULL)
				copy_pending(present, area);
			break;
		}
	}
	LWLockRelease(&database->lock);
}

/* What has worked in the open transaction, the last attempts.  Lock held. */
static void
copy_pending(WfPresent *present, dsa_area *area)
{
	dsa_pointer pointer = present->entry.entry.pending;

	present->pending = palloc0(Max(present->plan->nsteps, 1) *
							   sizeof(WfStepOutcome *));
	for (; DsaPointerIsValid(pointer);
		 pointer = wf_pending_next(area, pointer))
	{
		WfStepOutcome *outcome = wf_pending_get(area, pointer);

		present->pending[outcome->step] = outcome;
	}
}

/* Copy an entry.  Lock held. */
static void
copy_entry_at(WfDatabase *database, int index, WfEntryCopy *copy)
{
	copy->found = true;
	copy->entry = database->entries[index];
	copy->pid = copy->entry.state == WF_ENTRY_TAKEN ?
		wf_shared->slots[copy->entry.slot].pid : 0;
}

/* The run itself. */
void
wf_present_run(const WfPresent *present, WfPresentRun *run)
{
	WfRunOutcome *outcome = &run->outcome;
	TransactionId xid;

	memset(run, 0, sizeof(WfPresentRun));
	if (wf_history_read_run_outcome(present->run_id, outcome, &xid))
		return;
	outcome->run_id = present->run_id;
	if (present->live != NULL)
		tell_live_run(present->live, outcome);
	else if (is_running(present))
	{
		const WfEntry *entry = &present->entry.entry;

		outcome->status = entry->pause && !entry->cancel ? WF_RUN_PAUSED :
			WF_RUN_RUNNING;
		outcome->started_at = entry->started_at;
	}
	else
	{
		outcome->status = WF_RUN_QUEUED;
		run->wait = present->held ? "max_concurrent_runs" : "worker";
		if (wf_history_last_command(present->run_id, &xid) == WF_ASKED_PAUSE)
		{
			outcome->status = WF_RUN_PAUSED;
			run->wait = "paused";
		}
	}
}

/* A worker is at the run. */
static bool
is_running(const WfPresent *present)
{
	return present->entry.found &&
		present->entry.entry.state != WF_ENTRY_READY &&
		present->entry.entry.started_at != 0;
}

static void
tell_live_run(const WfLiveCopy *live, WfRunOutcome *outcome)
{
	outcome->status = wf_machine_paused(live->machine) ? WF_RUN_PAUSED :
		WF_RUN_RUNNING;
	outcome->failed_steps = wf_machine_failed_steps(live->machine);
	outcome->started_at = live->started_at;
	outcome->error_path = live->error_path;
	outcome->sqlstate = live->sqlstate;
	outcome->message = live->message;
}

/* The transaction that it has open; one that it inherits is the owner's. */
void
wf_present_transaction(const WfPresent *present,
					   WfPresentTransaction *transaction)
{
	const WfEntry *entry = &present->entry.entry;

	memset(transaction, 0, sizeof(WfPresentTransaction));
	if (present->plan == NULL)
		return;
	transaction->isolation = present->plan->isolation;
	if (present->live != NULL)
	{
		transaction->number = present->live->transaction_number;
		transaction->steps = present->live->transaction_steps;
		transaction->transaction_id = present->live->transaction_id;
		transaction->started_at = present->live->transaction_at;
	}
	else if (is_running(present))
	{
		transaction->number = entry->transaction_number;
		transaction->steps = entry->transaction_steps;
		transaction->transaction_id = entry->transaction_id;
		transaction->started_at = entry->transaction_at;
	}
}

/* A step.  A run that is queued or was cut off may have steps on record. */
void
wf_present_step(const WfPresent *present, int32 step, WfPresentStep *state)
{
	WfStepOutcome *outcome = &state->outcome;
	WfEntryCopy carrier = present->entry;
	const WfEntry *entry = &carrier.entry;

	memset(state, 0, sizeof(WfPresentStep));
	outcome->status = WF_STEP_WAITING;
	if (present->live != NULL)
		tell_live_step(present, step, state, &carrier);
	else if (is_running(present) && entry->current_step == step)
	{
		outcome->status = WF_STEP_RUNNING;
		outcome->attempt = entry->current_attempt;
		outcome->started_at = entry->step_started_at;
		if (entry->transaction_number != 0)
		{
			outcome->transaction_id = entry->transaction_id;
			state->transaction_at = entry->transaction_at;
		}
	}
	if (has_ended_in_transaction(present, step, outcome))
		*outcome = *present->pending[step];
	else if (outcome->status == WF_STEP_WAITING)
	{
		if (!wf_history_read_step_outcome(present->run_id, step, outcome))
			outcome->status = WF_STEP_WAITING;
	}
	else if (outcome->status == WF_STEP_RUNNING && carrier.found)
	{
		outcome->pid = carrier.pid;
		state->done = entry->done;
		state->total = entry->total;
		strlcpy(state->progress, entry->progress, WF_PROGRESS_SIZE);
	}
}

/* It has, and is not on record before that has ended. */
static bool
has_ended_in_transaction(const WfPresent *present, int32 step,
						 const WfStepOutcome *outcome)
{
	return outcome->status != WF_STEP_RUNNING && present->pending != NULL &&
		present->pending[step] != NULL;
}

/* A step of a run that the scheduler drives. */
static void
tell_live_step(const WfPresent *present, int32 step, WfPresentStep *state,
			   WfEntryCopy *carrier)
{
	const WfMachine *machine = present->live->machine;
	const WfLiveStep *live = &present->live->steps[step];

	state->outcome.status = wf_machine_step_status(machine, step);
	state->outcome.reason = wf_machine_step_reason(machine, step);
	state->outcome.attempt = wf_machine_step_attempt(machine, step);
	state->outcome.started_at = live->started_at;
	state->outcome.finished_at = live->finished_at;
	state->outcome.transaction_id = live->transaction_id;
	state->transaction_at = live->transaction_at;
	state->child_run_id = live->child_run_id;
	state->wait = wait_of(present, step, carrier);
	if (state->outcome.status != WF_STEP_RUNNING)
		return;

	/* those that are there are of an earlier attempt */
	state->outcome.finished_at = 0;
	if (live->child_run_id == 0)
		state->outcome.started_at = carrier->found ?
			carrier->entry.started_at : 0;
}

/*
 * What a step of a driven run waits for; NULL: for nothing, or for its
 * constraints.  *carrier becomes the entry that carries it.
 */
static char *
wait_of(const WfPresent *present, int32 step, WfEntryCopy *carrier)
{
	const WfMachine *machine = present->live->machine;
	const WfPlan *plan = present->live->plan;

	if (wf_machine_waits_for_connection(machine, step))
		return psprintf("connection %s",
						plan->connections[plan->steps[step].connection].name);
	if (wf_machine_waits_for_transaction(machine, step))
		return "transaction";
	if (wf_machine_awaits_commit(machine, step))
		return "commit";
	if (wf_machine_waits_for_slot(machine, step))
		return "max_concurrent_steps";
	if (wf_machine_waits_for_main_thread(machine, step))
		return "main thread";
	if (wf_machine_waits_for_condition(machine, step))
		return "condition";
	if (wf_machine_step_status(machine, step) == WF_STEP_RUNNING)
		return wait_of_running(present, step, carrier);
	return NULL;
}

/* A step that was started: for its child, or for who is to execute it. */
static char *
wait_of_running(const WfPresent *present, int32 step, WfEntryCopy *carrier)
{
	const WfLiveStep *live = &present->live->steps[step];
	WfDatabase *database = present->database;

	if (live->child_run_id != 0)
		return psprintf("run " INT64_FORMAT, live->child_run_id);
	if (live->entry >= 0)
	{
		LWLockAcquire(&database->lock, LW_SHARED);
		if (database->entries[live->entry].run_id == present->run_id)
			copy_entry_at(database, live->entry, carrier);
		LWLockRelease(&database->lock);
	}
	if (carrier->found && carrier->entry.state == WF_ENTRY_TAKEN)
		return NULL;
	if (wf_machine_awaits_retry(present->live->machine, step))
		return "retry";
	return "worker";
}
