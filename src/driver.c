/*-------------------------------------------------------------------------
 *
 * driver.c
 *	  The scheduler's driver: runs whose steps go to many workers.
 *
 * Each run has a machine.  Events (an entry is done, a child run ended, a
 * stop) are fed into it and mark the run as dirty; wf_driver_carry_on() takes
 * the actions out of the machines of dirty runs until there are none.  An
 * action whose outcome is on record is answered at once (after a restart).
 *
 * Steps go out as entries: to any worker of the owner's role, or, on a named
 * connection, to the worker that is the connection's session.  The first step
 * on a connection goes out with `bind`: who takes it is that session until
 * the run ends.
 *
 * Beside this file: driver_child.c starts child runs and keeps the sessions
 * that runs may need, driver_replay.c feeds what is on record of a run,
 * driver_retry.c tries failed runs again, driver_control.c stops and pauses
 * runs, driver_transaction.c has the package transactions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "area.h"
#include "catalog.h"
#include "errors.h"
#include "guc.h"
#include "machine.h"
#include "driver.h"
#include "interruption.h"
#include "restart.h"
#include "run_log.h"
#include "scheduler.h"
#include "variables.h"

static void make_live(WfScheduler *s, WfDrivenRun *r);
static void carry_on(WfScheduler *s, WfDrivenRun *r);
static void describe_failure(WfDrivenRun *r, const WfAction *action,
							 WfStepOutcome *outcome);
static bool carry_out(WfScheduler *s, WfDrivenRun *r, const WfAction *action);
static void begin_attempt(WfDrivenRun *r, int32 step);
static void fill_entry(WfDrivenRun *r, int entry, const WfAction *action,
					   WfEntryKind kind);
static void tell_result(WfDrivenRun *r, WfEntry *e);
static void hand_out_step(WfScheduler *s, WfDrivenRun *r,
						  const WfAction *action);
static bool retry_backlog(WfScheduler *s, WfDrivenRun *r);
static void end_run(WfScheduler *s, WfDrivenRun *r, const WfAction *action);
static void describe_end(WfDrivenRun *r, const WfAction *action,
						 WfRunOutcome *outcome);
static void note_end(WfScheduler *s, WfDrivenRun *r);
static void release(WfScheduler *s, WfDrivenRun *r);

/* Prepare. */
void
wf_driver_init(WfScheduler *s)
{
	HASHCTL		control = {0};

	control.keysize = sizeof(int64);
	control.entrysize = sizeof(WfDrivenEntry);
	control.hcxt = s->context;
	s->driven = hash_create("workflow driven runs", 64, &control,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	dlist_init(&s->dirty);
}

/* The run, if it is driven here. */
WfDrivenRun *
wf_driver_find(WfScheduler *s, int64 run_id)
{
	WfDrivenEntry *entry = hash_search(s->driven, &run_id, HASH_FIND, NULL);

	return entry == NULL ? NULL : entry->run;
}

/* Drive a run.  With `pause`, what is on record is all that happens of it. */
void
wf_driver_begin(WfScheduler *s, const WfRun *run, bool replay, int sessions,
				bool inherits, bool pause)
{
	MemoryContext context = AllocSetContextCreate(s->context,
												  "workflow driven run",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	WfDrivenRun *r = palloc0(sizeof(WfDrivenRun));
	WfDrivenEntry *entry;
	int			i;

	r->run_id = run->run_id;
	r->scheduler = s;
	r->run = *run;
	r->context = context;
	r->plan = wf_plan_get(run->package_id, run->version);
	if (run->variables != NULL)
	{
		r->run.variables = palloc(VARSIZE(run->variables));
		memcpy(r->run.variables, run->variables, VARSIZE(run->variables));
	}
	r->variables = wf_variables_merge(r->plan->variables, r->run.variables);
	r->shared_variables = wf_area_put_jsonb(s->area, r->variables);
	if (run->parent_run_id != 0)
		r->parent = wf_driver_find(s, run->parent_run_id);
	r->level = r->parent == NULL ? 1 : r->parent->level + 1;
	r->reserved = sessions;
	wf_driver_transaction_init(r, inherits);
	r->own_sessions = r->inherits ? r->plan->sessions_inheriting :
		r->plan->sessions;
	r->used = r->own_sessions;
	r->slots = palloc(sizeof(int) * Max(r->plan->nconnections, 1));
	for (i = 0; i < r->plan->nconnections; i++)
		r->slots[i] = -1;
	r->sessions = palloc0(sizeof(ChildSessions) * Max(r->plan->nsteps, 1));
	if (replay || run->restart_of != 0)
		r->record = wf_history_read_record(run->run_id);
	wf_interruption_note_begin(&r->run, r->plan, replay);
	make_live(s, r);
	wf_run_log_begun(&r->run, r->plan, replay);

	entry = hash_search(s->driven, &r->run_id, HASH_ENTER, NULL);
	entry->run = r;
	if (r->plan->timeout_ms > 0)
	{
		WfTimer		timer = {.kind = WF_TIMER_RUN_TIMEOUT,
			.run_id = r->run_id,
			.at = TimestampTzPlusMilliseconds(r->live->started_at,
											  r->plan->timeout_ms)
		};

		wf_timers_add(&s->timers, &timer);
	}
	wf_driver_mark_dirty(s, r);
	MemoryContextSwitchTo(old);
	if (replay)
		wf_driver_replay(s, r, pause);
}

/* The times of the attempt before are not those of this one. */
static void
begin_attempt(WfDrivenRun *r, int32 step)
{
	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	r->steps[step].started_at = r->steps[step].finished_at = 0;
	LWLockRelease(&r->live->lock);
}

/* Put the run into the table for the views, with its machine. */
static void
make_live(WfScheduler *s, WfDrivenRun *r)
{
	dsa_pointer machine = dsa_allocate0(s->area, wf_machine_size(r->plan));
	dsa_pointer steps = dsa_allocate0(s->area, sizeof(WfLiveStep) *
									  Max(r->plan->nsteps, 1));
	bool		found;
	int			i;

	r->machine = wf_machine_init(dsa_get_address(s->area, machine), r->plan,
								 r->transaction == NULL ? NULL :
								 &r->transaction->state, r->inherits,
								 wf_restart_taken_over(r->plan, r->record));
	r->steps = dsa_get_address(s->area, steps);
	for (i = 0; i < r->plan->nsteps; i++)
		r->steps[i].entry = -1;
	r->live = dshash_find_or_insert(s->live, &r->run_id, &found);
	LWLockInitialize(&r->live->lock, wf_shared->area_tranche);
	r->live->package_id = r->plan->package_id;
	r->live->version = r->plan->version;
	r->live->started_at = wf_history_record_began(r->record);
	if (r->live->started_at == 0)
		r->live->started_at = GetCurrentTimestamp();
	r->live->sqlstate = 0;
	r->live->error = InvalidDsaPointer;
	r->live->transaction_number = 0;
	r->live->transaction_id = 0;
	r->live->machine = machine;
	r->live->steps = steps;
	dshash_release_lock(s->live, r->live);
}

static void
mark_dirty(WfScheduler *s, WfDrivenRun *r)
{
	if (!r->dirty)
		dlist_push_tail(&s->dirty, &r->dirty_link);
	r->dirty = true;
}

/* See driver.h; what one machine does may be what another one waits for. */
void
wf_driver_mark_dirty(WfScheduler *s, WfDrivenRun *r)
{
	ListCell   *lc;

	mark_dirty(s, r);
	if (r->transaction == NULL || (r->transaction->heirs == NIL &&
								   r->transaction->owner == r))
		return;
	mark_dirty(s, r->transaction->owner);
	foreach(lc, r->transaction->heirs)
		mark_dirty(s, lfirst(lc));
}

/* Carry out what all machines ask for. */
void
wf_driver_carry_on(WfScheduler *s)
{
	do
	{
		while (!dlist_is_empty(&s->dirty))
		{
			WfDrivenRun *r = dlist_container(WfDrivenRun, dirty_link,
											 dlist_pop_head_node(&s->dirty));

			r->dirty = false;
			wf_scheduler_begin(s);
			carry_on(s, r);
		}
		wf_driver_retry_waiting(s);
	} while (!dlist_is_empty(&s->dirty));
}

bool
wf_driver_next_action(WfDrivenRun *r, WfAction *action)
{
	bool		result;

	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	result = wf_machine_next(r->machine, action);
	LWLockRelease(&r->live->lock);
	return result;
}

/* Take out and carry out the actions of one run. */
static void
carry_on(WfScheduler *s, WfDrivenRun *r)
{
	WfAction	action;

	if (!retry_backlog(s, r))
		return;
	while (wf_driver_next_action(r, &action))
	{
		CHECK_FOR_INTERRUPTS();
		if (!wf_driver_answered(s, r, &action) && !carry_out(s, r, &action))
			return;
	}
}

/* Carry out an action.  False if the run has ended: r is no more. */
static bool
carry_out(WfScheduler *s, WfDrivenRun *r, const WfAction *action)
{
	switch (action->type)
	{
		case WF_ACT_RECORD:
			wf_driver_record_passed(r, action);
			break;
		case WF_ACT_EXECUTE:
			begin_attempt(r, action->step);
			hand_out_step(s, r, action);
			break;
		case WF_ACT_CHILD:
			begin_attempt(r, action->step);
			wf_driver_start_child(s, r, action);
			break;
		case WF_ACT_CONDITION:
			wf_driver_hand_out_query(s, r, action, WF_ENTRY_CONDITION);
			break;
		case WF_ACT_COMMIT:
		case WF_ACT_ROLLBACK:
			wf_driver_end_transaction(s, r, action);
			break;
		case WF_ACT_TIMER:
			wf_driver_set_timer(s, r, action);
			break;
		case WF_ACT_CANCEL:
			wf_driver_cancel(s, r, action);
			break;
		case WF_ACT_END:
			end_run(s, r, action);
			return false;
	}
	return true;
}

void
wf_driver_cancel(WfScheduler *s, WfDrivenRun *r, const WfAction *action)
{
	if (action->step < 0)
		wf_driver_cancel_commit(s, r);
	else
		wf_driver_cancel_step(s, r, action);
}

/* A step ended without being executed, or otherwise than its attempt. */
void
wf_driver_record_passed(WfDrivenRun *r, const WfAction *action)
{
	WfStepOutcome outcome = {0};
	WfAction	failed;

	if ((action->error == WF_ERROR_COMMIT ||
		 action->error == WF_ERROR_COMMIT_INVALID) &&
		r->plan->steps[action->step].kind != WF_KIND_NONE)
	{
		/* what worked in the transaction is recorded with it */
		if (r->plan->steps[action->step].kind == WF_KIND_SQL &&
			action->transaction != 0)
		{
			describe_failure(r, action, &outcome);
			return;
		}
		failed = *action;
		failed.attempt++;
		action = &failed;
	}
	if (wf_history_find_outcome(r->record, action->step,
								action->attempt) != NULL)
	{
		if (action->attempt > 0)
			wf_driver_read_on(r);
		return;
	}
	outcome.run_id = r->run_id;
	outcome.step = action->step;
	outcome.attempt = action->attempt;
	outcome.status = action->status;
	outcome.reason = action->reason;
	outcome.rows = -1;
	if (action->attempt > 0)
		outcome.started_at = outcome.finished_at = GetCurrentTimestamp();
	if (action->error != WF_ERROR_NONE)
		describe_failure(r, action, &outcome);
	wf_driver_write_outcome(r, &outcome);
}

/* Why a step failed that no statement of it made fail. */
static void
describe_failure(WfDrivenRun *r, const WfAction *action,
				 WfStepOutcome *outcome)
{
	const char *name = r->plan->steps[action->step].name;
	const WfStepError *error;

	outcome->finished_at = GetCurrentTimestamp();
	if (wf_errors_of_machine(action->error, outcome))
	{
		wf_errors_set(&r->errors, r->context, action->step, name,
					  outcome->sqlstate, NULL, outcome->message);
		wf_driver_note_cause(r, action->step, outcome->message);
		LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
		wf_driver_show_error(r->scheduler, r);
		LWLockRelease(&r->live->lock);
		return;
	}
	error = wf_errors_get(r->errors, action->step);
	outcome->sqlstate = action->sqlstate;
	outcome->message = error == NULL ? NULL : error->message;
}

/* A step has set variables of the run. */
void
wf_driver_take_variables(WfScheduler *s, WfDrivenRun *r, Jsonb *variables)
{
	MemoryContext old = MemoryContextSwitchTo(r->context);
	dsa_pointer *old_pointer;

	r->set_variables = r->set_variables == NULL ?
		wf_variables_merge(variables, variables) :
		wf_variables_merge(r->set_variables, variables);
	r->variables = wf_variables_merge(r->variables, variables);
	old_pointer = palloc(sizeof(dsa_pointer));
	*old_pointer = r->shared_variables;
	r->old_variables = lappend(r->old_variables, old_pointer);
	r->shared_variables = wf_area_put_jsonb(s->area, r->variables);
	MemoryContextSwitchTo(old);
}

/* There is no free entry for an action now. */
void
wf_driver_keep_for_later(WfDrivenRun *r, const WfAction *action)
{
	MemoryContext old = MemoryContextSwitchTo(r->context);
	WfAction   *copy = palloc(sizeof(WfAction));

	*copy = *action;
	r->backlog = lappend(r->backlog, copy);
	MemoryContextSwitchTo(old);
}

/* Fill an entry for a step. */
static void
fill_entry(WfDrivenRun *r, int entry, const WfAction *action,
		   WfEntryKind kind)
{
	WfEntry    *e = &r->scheduler->database->entries[entry];

	e->kind = kind;
	e->role = r->run.owner;
	e->package_id = r->run.package_id;
	e->version = r->run.version;
	e->run_id = r->run_id;
	e->step = action->step;
	e->attempt = action->attempt;
	e->variables = r->shared_variables;
	if (r->plan->steps[action->step].finally != 0)
		tell_result(r, e);
	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	r->steps[action->step].entry = entry;
	LWLockRelease(&r->live->lock);
}

/* Let a `finally` step know how the run ends. */
static void
tell_result(WfDrivenRun *r, WfEntry *e)
{
	WfStepError error;

	e->run_status = wf_machine_run_result(r->machine);
	if (e->run_status != WF_RUN_FAILED || !wf_driver_get_error(r, &error))
		return;
	e->run_sqlstate = error.sqlstate;
	e->run_error = wf_area_put_error(r->scheduler->area, error.path,
									 error.message);
}

/* Hand a step to a worker. */
static void
hand_out_step(WfScheduler *s, WfDrivenRun *r, const WfAction *action)
{
	int			connection = r->plan->steps[action->step].connection;
	int			slot = connection >= 0 ? r->slots[connection] : -1;
	int			entry;
	WfEntry    *e;

	if (action->transaction != 0 && wf_driver_transaction_is_over(s, r))
	{
		wf_driver_not_begun(s, r, action->step);
		return;
	}
	entry = wf_entry_alloc(s->database, true);
	if (entry < 0)
	{
		wf_driver_keep_for_later(r, action);
		return;
	}
	e = &s->database->entries[entry];
	if (action->transaction != 0 && !wf_driver_fill_branch(r, e, &slot))
	{
		wf_entry_free(s->database, entry);
		wf_driver_keep_for_later(r, action);
		return;
	}
	fill_entry(r, entry, action, WF_ENTRY_STEP);
	e->bind = (slot < 0 && (connection >= 0 || e->in_branch));
	wf_scheduler_hand_out(s, entry, WF_READY_GOING, slot);
}

/* See driver.h; what joins sees the transaction. */
void
wf_driver_hand_out_query(WfScheduler *s, WfDrivenRun *r,
						 const WfAction *action, WfEntryKind kind)
{
	int			slot = wf_driver_query_slot(r, action);
	int			entry = wf_entry_alloc(s->database, true);

	if (entry < 0)
	{
		wf_driver_keep_for_later(r, action);
		return;
	}
	fill_entry(r, entry, action, kind);
	s->database->entries[entry].in_branch = (slot >= 0);
	wf_scheduler_hand_out(s, entry, WF_READY_GOING, slot);
}

/* Event: an entry of kind CONDITION is done. */
void
wf_driver_condition_done(WfScheduler *s, int entry)
{
	WfEntry    *e = &s->database->entries[entry];
	char	   *path;
	char	   *message;

	wf_area_get_error(s->area, e->error, &path, &message);
	wf_driver_condition_known(s, entry, e->status, e->sqlstate, message);
}

/* Event: the condition that an entry asks for came to this. */
void
wf_driver_condition_known(WfScheduler *s, int entry, char answer,
						  int sqlstate, const char *message)
{
	WfEntry    *e = &s->database->entries[entry];
	WfDrivenRun *r = wf_driver_find(s, e->run_id);

	if (r != NULL)
		wf_driver_answer_condition(s, r, e->step, answer, sqlstate, message);
}

void
wf_driver_answer_condition(WfScheduler *s, WfDrivenRun *r, int32 step,
				WfCondition answer, int sqlstate, const char *message)
{
	if (answer == WF_CONDITION_ERROR && message != NULL)
	{
		wf_errors_set(&r->errors, r->context, step,
					  r->plan->steps[step].name, sqlstate, NULL, message);
		wf_driver_note_cause(r, step, message);
	}
	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	r->steps[step].entry = -1;
	wf_machine_condition(r->machine, step, answer, sqlstate);
	wf_driver_show_error(s, r);
	LWLockRelease(&r->live->lock);
	wf_driver_mark_dirty(s, r);
}

/* The machine wants to hear of a step after a while. */
void
wf_driver_set_timer(WfScheduler *s, WfDrivenRun *r, const WfAction *action)
{
	const WfStepOutcome *outcome =
	wf_history_find_outcome(r->record, action->step, action->attempt);
	WfTimer		timer = {.kind = WF_TIMER_STEP, .run_id = r->run_id,
	.step = action->step};

	if (action->attempt > 0 &&
		wf_history_find_outcome(r->record, action->step,
								action->attempt + 1) != NULL)
	{
		LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
		wf_machine_timer(r->machine, action->step);
		LWLockRelease(&r->live->lock);
		return;
	}

	/* after a restart, the wait that had begun goes on */
	timer.at = TimestampTzPlusMilliseconds(
										   outcome != NULL && outcome->finished_at != 0 ?
										   outcome->finished_at : GetCurrentTimestamp(),
										   action->delay_ms);
	wf_timers_add(&s->timers, &timer);
}

/* Event: a timer of a step, or of the whole run, is due. */
void
wf_driver_timer(WfScheduler *s, const WfTimer *timer)
{
	WfDrivenRun *r = wf_driver_find(s, timer->run_id);

	if (r == NULL)
		return;
	if (timer->kind == WF_TIMER_STEP)
	{
		LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
		wf_machine_timer(r->machine, timer->step);
		LWLockRelease(&r->live->lock);
	}
	else if (timer->kind == WF_TIMER_CHILD_TIMEOUT)
		wf_driver_child_timeout(s, r, timer);
	else
		wf_driver_time_out(s, r);
	wf_driver_mark_dirty(s, r);
}

/* The time of a run is over. */
void
wf_driver_time_out(WfScheduler *s, WfDrivenRun *r)
{
	wf_driver_fail(s, r, ERRCODE_QUERY_CANCELED,
				   "the run exceeded the timeout of its package");
}

/* See driver.h; of several reasons the first one counts. */
void
wf_driver_fail(WfScheduler *s, WfDrivenRun *r, int sqlstate,
			   const char *message)
{
	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	if (!wf_machine_failed_by_driver(r->machine))
	{
		r->sqlstate = sqlstate;
		r->message = message;
	}
	wf_machine_fail(r->machine);
	wf_driver_show_error(s, r);
	LWLockRelease(&r->live->lock);
	wf_driver_mark_dirty(s, r);
}

/* There may be free entries now for steps that found none, and a pause may
 * be over.  False if the run has ended. */
static bool
retry_backlog(WfScheduler *s, WfDrivenRun *r)
{
	List	   *backlog = r->backlog;
	ListCell   *lc;

	if (wf_machine_paused(r->machine))
		return true;
	r->backlog = NIL;
	foreach(lc, backlog)
	{
		WfAction   *action = lfirst(lc);

		if (!carry_out(s, r, action))
			return false;
		pfree(action);
	}
	list_free(backlog);
	return true;
}

/* Feed the end of an attempt to the machine; its outcome is written. */
void
wf_driver_step_ended(WfScheduler *s, WfDrivenRun *r, int32 step, WfStepStatus status,
		   int sqlstate, const char *path, const char *message)
{
	bool		failed = status == WF_STEP_FAILED ||
	status == WF_STEP_INTERRUPTED;

	if (failed && message != NULL)
		wf_errors_set(&r->errors, r->context, step, r->plan->steps[step].name,
					  sqlstate, path, message);
	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	r->steps[step].entry = -1;
	r->steps[step].child_run_id = 0;
	r->steps[step].finished_at = GetCurrentTimestamp();
	wf_machine_step_ended(r->machine, step, status, sqlstate);
	wf_driver_show_error(s, r);
	LWLockRelease(&r->live->lock);
	if (failed && !wf_machine_awaits_retry(r->machine, step))
		wf_driver_note_cause(r, step, message);
	wf_driver_give_back_sessions(s, r, step);
	wf_driver_mark_dirty(s, r);
}

/* The run's error so far; false: there is none. */
bool
wf_driver_get_error(const WfDrivenRun *r, WfStepError *error)
{
	int32		step = wf_machine_error_step(r->machine);
	const WfStepError *failed = wf_errors_get(r->errors, step);

	memset(error, 0, sizeof(WfStepError));
	error->step = -1;
	if (wf_machine_nothing_to_run(r->machine))
	{
		error->sqlstate = ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
		error->message = WF_NOTHING_TO_RUN;
	}
	else if (wf_machine_invalid_at_end(r->machine))
	{
		WfStepOutcome outcome = {0};

		(void) wf_errors_of_machine(WF_ERROR_INVALID, &outcome);
		error->sqlstate = outcome.sqlstate;
		error->message = unconstify(char *, outcome.message);
	}
	else if (wf_machine_failed_by_driver(r->machine))
	{
		error->sqlstate = r->sqlstate;
		error->message = unconstify(char *, r->message);
	}
	else if (failed != NULL)
		*error = *failed;
	return error->sqlstate != 0;
}

/*
 * show_error
 *		Let the views show the run's error from the first failure on.  It
 *		becomes another one when a failure that the package put up with is
 *		followed by one that fails the package.  Lock held.
 */
void
wf_driver_show_error(WfScheduler *s, WfDrivenRun *r)
{
	WfStepError error;

	if (!wf_driver_get_error(r, &error) ||
		(r->live->sqlstate != 0 && r->live->error_step == error.step))
		return;
	r->live->error_step = error.step;
	r->live->sqlstate = error.sqlstate;
	wf_area_free(s->area, &r->live->error);
	r->live->error = wf_area_put_error(s->area, error.path, error.message);
}

/* Write the outcome of an attempt that no worker has written, and feed it. */
void
wf_driver_write_and_end_step(WfScheduler *s, WfDrivenRun *r, int32 step,
				   WfStepStatus status, int sqlstate, const char *message)
{
	WfStepOutcome outcome = {0};

	wf_scheduler_begin(s);
	outcome.run_id = r->run_id;
	outcome.step = step;
	outcome.attempt = wf_machine_step_attempt(r->machine, step);
	outcome.finished_at = GetCurrentTimestamp();
	outcome.started_at = r->steps[step].started_at;
	if (outcome.started_at == 0)
		outcome.started_at = outcome.finished_at;	/* it failed to begin */
	outcome.rows = -1;
	outcome.status = status;
	outcome.sqlstate = sqlstate;
	outcome.message = message;
	if (wf_machine_step_transaction(r->machine, step) != 0)
		wf_driver_write_outcome(r, &outcome);
	else
		wf_history_insert_step_outcome(&outcome);
	wf_driver_step_ended(s, r, step, status, sqlstate, NULL, message);
}

/* The attempt that was asked for last has not begun, and will not. */
void
wf_driver_not_begun(WfScheduler *s, WfDrivenRun *r, int32 step)
{
	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	r->steps[step].entry = -1;
	wf_machine_not_begun(r->machine, step);
	LWLockRelease(&r->live->lock);
	wf_driver_give_back_sessions(s, r, step);
	wf_driver_mark_dirty(s, r);
}

/* An entry of kind STEP is done. */
void
wf_driver_step_done(WfScheduler *s, int entry)
{
	WfEntry    *e = &s->database->entries[entry];
	WfDrivenRun *r = wf_driver_find(s, e->run_id);
	char	   *path;
	char	   *message;

	if (r == NULL)
		return;
	if (e->bind && r->plan->steps[e->step].connection >= 0)
		r->slots[r->plan->steps[e->step].connection] = e->slot;
	wf_driver_note_branch(r, e);
	if (e->status == WF_STEP_WAITING)
	{
		wf_driver_not_begun(s, r, e->step);
		return;
	}
	wf_driver_take_pending(s, r, e);
	wf_area_get_error(s->area, e->error, &path, &message);
	if (DsaPointerIsValid(e->set_variables))
		wf_driver_take_variables(s, r, wf_area_get_jsonb(s->area, e->set_variables));
	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	r->steps[e->step].started_at = e->started_at;
	LWLockRelease(&r->live->lock);
	wf_driver_step_ended(s, r, e->step, e->status, e->sqlstate, path, message);
}

/* The worker at a step is gone without an outcome. */
void
wf_driver_step_lost(WfScheduler *s, int entry, int sqlstate,
					const char *message, bool begun)
{
	WfEntry    *e = &s->database->entries[entry];
	WfDrivenRun *r = wf_driver_find(s, e->run_id);

	if (r == NULL)
		return;
	if (e->cancel && e->started_at == 0)
	{
		wf_driver_not_begun(s, r, e->step);
		return;
	}
	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	r->steps[e->step].started_at = e->started_at;
	LWLockRelease(&r->live->lock);
	if (begun && e->in_branch)
		wf_driver_lose_transaction(s, r, sqlstate, message);
	else if (begun && !e->cancel &&
			 wf_interruption_end_step(s, r, e->step, e->attempt, message))
		return;
	wf_driver_write_and_end_step(s, r, e->step, e->cancel ? WF_STEP_CANCELLED :
					   WF_STEP_FAILED, sqlstate, message);
}

/* The worker of a session is gone: the next step on it finds another. */
void
wf_driver_session_lost(WfScheduler *s, int slot)
{
	HASH_SEQ_STATUS status;
	WfDrivenEntry *entry;

	hash_seq_init(&status, s->driven);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		int			i;

		for (i = 0; i < entry->run->plan->nconnections; i++)
		{
			if (entry->run->slots[i] == slot)
				entry->run->slots[i] = -1;
		}
	}
}

/* A child run that another process carried out has ended. */
void
wf_driver_child_ended(WfScheduler *s, int64 parent_run_id, int32 parent_step,
					  WfStepStatus status, int sqlstate, const char *path,
					  const char *message)
{
	WfDrivenRun *r = wf_driver_find(s, parent_run_id);

	if (r != NULL)
		wf_driver_step_ended(s, r, parent_step, status, sqlstate, path, message);
}

/* The machine has come to its end. */
static void
end_run(WfScheduler *s, WfDrivenRun *r, const WfAction *action)
{
	WfStepStatus status = wf_history_step_status(action->run_status,
												 r->parent_stops);
	WfRunOutcome *outcome;
	WfRun		next;
	MemoryContext old = MemoryContextSwitchTo(r->context);
	bool		deferred;
	bool		again;
	int			i;

	wf_recovery_end_children(s, r->run_id, r->stopped_by, r->stop_reason);
	r->outcome = outcome = palloc0(sizeof(WfRunOutcome));
	describe_end(r, action, outcome);
	deferred = wf_driver_defer_end(r);
	MemoryContextSwitchTo(old);
	again = wf_driver_make_attempt(s, r, outcome, &next);
	for (i = 0; i < r->plan->nconnections; i++)
	{
		if (!wf_driver_branch_keeps(r, r->slots[i]))
			wf_driver_release_session(s, r, r->slots[i]);
		r->slots[i] = -1;
	}
	if (again)
	{
		note_end(s, r);
		wf_driver_queue_attempt(s, r, &next);
		release(s, r);
		return;
	}
	if (r->parent != NULL && action->run_status == WF_RUN_CANCELLED)
		wf_driver_step_ended(s, r->parent, r->run.parent_step, status,
							 ERRCODE_QUERY_CANCELED, NULL,
							 wf_history_cancelled_message(r->stopped_by,
														  r->stop_reason));
	else if (r->parent != NULL)
		wf_driver_step_ended(s, r->parent, r->run.parent_step, status,
							 outcome->sqlstate, outcome->error_path,
							 outcome->message);
	if (!deferred)
		wf_driver_write_end(s, r);
}

/* See driver.h. */
void
wf_driver_write_end(WfScheduler *s, WfDrivenRun *r)
{
	wf_history_end_run(&r->run, r->outcome, r->parent == NULL ? 0 :
					   r->parent->steps[r->run.parent_step].transaction_id,
					   r->parent_stops);
	note_end(s, r);
	release(s, r);
}

static void
note_end(WfScheduler *s, WfDrivenRun *r)
{
	wf_run_log_ended(&r->run, r->plan, r->outcome);
	wf_scheduler_note_end(s, r->run_id,
						  r->parent == NULL ? r->run.package_id : 0);
}

/*
 * release_session
 *		The worker that stands for a session of the run is free again.  If
 *		there is no entry to tell it with, it leaves.
 */
void
wf_driver_release_session(WfScheduler *s, WfDrivenRun *r, int slot)
{
	int			entry;

	if (slot < 0)
		return;
	entry = wf_entry_alloc(s->database, true);
	if (entry < 0)
	{
		wf_slot_dismiss(s->database, slot);
		return;
	}
	s->database->entries[entry].kind = WF_ENTRY_RELEASE;
	s->database->entries[entry].role = r->run.owner;
	wf_scheduler_hand_out(s, entry, WF_READY_GOING, slot);
}

/* How the run ended. */
static void
describe_end(WfDrivenRun *r, const WfAction *action, WfRunOutcome *outcome)
{
	WfStepError error;

	outcome->run_id = r->run_id;
	outcome->status = action->run_status;
	outcome->started_at = r->live->started_at;
	outcome->finished_at = GetCurrentTimestamp();
	outcome->failed_steps = action->failed_steps;
	outcome->variables = r->set_variables;
	if (outcome->status == WF_RUN_CANCELLED)
	{
		outcome->stopped_by = r->stopped_by;
		outcome->stop_reason = r->stop_reason;
	}
	if (outcome->status != WF_RUN_FAILED || !wf_driver_get_error(r, &error))
		return;
	outcome->error_path = error.path;
	outcome->sqlstate = error.sqlstate;
	outcome->message = error.message;
}

/* Forget a run that has ended. */
static void
release(WfScheduler *s, WfDrivenRun *r)
{
	dsa_pointer machine = r->live->machine;
	dsa_pointer steps = r->live->steps;
	dsa_pointer error = r->live->error;
	ListCell   *lc;

	if (r->dirty)
		dlist_delete(&r->dirty_link);
	if (r->parent == NULL)
		s->reserved -= r->reserved;
	s->given_back = true;
	(void) dshash_delete_key(s->live, &r->run_id);
	wf_area_free(s->area, &machine);
	wf_area_free(s->area, &steps);
	wf_area_free(s->area, &error);
	wf_area_free(s->area, &r->shared_variables);
	foreach(lc, r->old_variables)
		wf_area_free(s->area, lfirst(lc));
	hash_search(s->driven, &r->run_id, HASH_REMOVE, NULL);
	MemoryContextDelete(r->context);
}
