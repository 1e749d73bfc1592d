/*-------------------------------------------------------------------------
 *
 * driver_transaction.c
 *	  Package transactions of runs that the scheduler drives.
 *
 * A run whose package uses transactions has a WfDrivenTransaction, or shares
 * that of the run that it inherits from.  The machines share what is in
 * `state`; here is what really happens.  The transaction is open, for the
 * driver, from the first action that names its number until it is finished.
 *
 * Its local branch is the session of a worker.  The first step that works in
 * it brings that: the session of the step's connection, or an unnamed one;
 * all that works in the transaction goes to that worker's inbox from then on,
 * and is done in that order.
 *
 * What is to be on record only when the transaction is, waits here: outcomes
 * of steps that worked in the branch in the area, where the branch finds them
 * when it commits; outcomes that we write ourselves (of steps that were
 * skipped since, say), and the ends of runs that inherited, in lists.  A crash
 * loses them with the work that they depend on.
 *
 * If the worker dies the transaction is lost, which is judged like the loss
 * of a step: see reaper.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "area.h"
#include "driver.h"
#include "errors.h"
#include "pending.h"

static bool is_open(const WfDrivenTransaction *t);
static void open_transaction(WfDrivenTransaction *t, int32 number);
static void show_transaction(WfDrivenTransaction *t);
static void finish(WfScheduler *s, WfDrivenTransaction *t, bool committed,
				   int sqlstate, const char *message);
static void note_failed_commit(WfDrivenTransaction *t, int sqlstate,
							   const char *message);
static void write_rolled_back(WfScheduler *s, WfDrivenTransaction *t,
							  int sqlstate, const char *message);
static void fail_committer(const WfDrivenTransaction *t,
						   WfStepOutcome *outcome, int sqlstate,
						   const char *message);
static void write_record(WfDrivenTransaction *t, bool committed, int sqlstate,
						 const char *message);
static char *why_rolled_back(const WfDrivenTransaction *t);
static void forget_pending(WfDrivenRun *r);
static void forget(WfScheduler *s, WfDrivenTransaction *t);

/*
 * wf_driver_transaction_init
 *		Give a run its transaction: one of its own, or the parent's.
 */
void
wf_driver_transaction_init(WfDrivenRun *r, bool inherits)
{
	WfDrivenTransaction *t;
	MemoryContext old;

	if (!r->plan->use_transactions)
		return;
	if (inherits)
	{
		r->inherits = true;
		r->transaction = t = r->parent->transaction;
		old = MemoryContextSwitchTo(t->owner->context);
		t->heirs = lappend(t->heirs, r);
		MemoryContextSwitchTo(old);
		return;
	}
	r->transaction = t = MemoryContextAllocZero(r->context,
												sizeof(WfDrivenTransaction));
	wf_transaction_init(&t->state, r->plan);
	t->owner = r;
	t->branch = -1;
	t->end_entry = -1;
	t->context = AllocSetContextCreate(r->context, "workflow transaction",
									   ALLOCSET_SMALL_SIZES);
}

static bool
is_open(const WfDrivenTransaction *t)
{
	return t != NULL && t->number != 0;
}

/* The transaction in which an attempt works; it may begin with that. */
void
wf_driver_enter_transaction(WfScheduler *s, WfDrivenRun *r,
							const WfAction *action)
{
	WfDrivenTransaction *t = r->transaction;

	if (action->transaction == 0)
		return;
	if (t->number != action->transaction)
	{
		Assert(t->number == 0);
		wf_scheduler_begin(s);
		open_transaction(t, action->transaction);
	}
	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	r->steps[action->step].transaction_id = t->id;
	r->steps[action->step].transaction_at = t->started_at;
	LWLockRelease(&r->live->lock);
}

static void
open_transaction(WfDrivenTransaction *t, int32 number)
{
	WfTransactionOutcome outcome;

	t->number = number;
	t->on_record = t->owner->record != NULL &&
		wf_history_read_transaction(t->owner->run_id, number, &outcome);
	if (t->on_record)
	{
		t->id = outcome.transaction_id;
		t->started_at = outcome.started_at;
		t->was_committed = outcome.committed;
	}
	else
	{
		t->id = wf_history_next_transaction_id();
		t->started_at = GetCurrentTimestamp();
	}
	show_transaction(t);
	wf_self_wait_begin(t->owner->scheduler);
}

/* Let the views see it. */
static void
show_transaction(WfDrivenTransaction *t)
{
	WfLiveRun  *live = t->owner->live;

	LWLockAcquire(&live->lock, LW_EXCLUSIVE);
	live->transaction_number = t->number;
	live->transaction_id = t->id;
	live->transaction_at = t->started_at;
	live->transaction_steps = t->steps;
	LWLockRelease(&live->lock);
}

/*
 * wf_driver_fill_branch
 *		Let an entry be worked at in the branch.  Sets *slot to the worker
 *		whose session that is, -1 for one that brings it; false: it cannot be
 *		handed out now.
 */
bool
wf_driver_fill_branch(WfDrivenRun *r, WfEntry *e, int *slot)
{
	WfDrivenTransaction *t = r->transaction;

	if (t->branch_gone)
		return false;
	if (t->branch < 0)
		t->branch = *slot;
	else
		*slot = t->branch;
	e->in_branch = true;
	e->isolation = t->state.isolation;
	e->transaction_id = t->id;
	return true;
}

/* The session that a query of a step that joins is to see; -1: any. */
int
wf_driver_query_slot(WfDrivenRun *r, const WfAction *action)
{
	WfDrivenTransaction *t = r->transaction;
	int32		number = action->transaction != 0 ? action->transaction :
		wf_machine_step_transaction(r->machine, action->step);

	if (number == 0 || t->number != number || t->branch_gone)
		return -1;
	return t->branch;
}

/* The worker that has had a step of the branch is the branch from then on. */
void
wf_driver_note_branch(WfDrivenRun *r, const WfEntry *e)
{
	WfDrivenTransaction *t = r->transaction;

	if (!e->in_branch || e->slot < 0 || t->branch >= 0)
		return;
	t->branch = e->slot;
	t->branch_own = e->bind && r->plan->steps[e->step].connection < 0;
}

/* A step has worked in the branch. */
void
wf_driver_take_pending(WfScheduler *s, WfDrivenRun *r, WfEntry *e)
{
	WfDrivenTransaction *t = r->transaction;
	MemoryContext old;

	if (!e->in_branch)
		return;
	t->steps++;
	old = MemoryContextSwitchTo(t->context);
	t->last_step = psprintf("step \"%s\" of package \"%s\"",
							r->plan->steps[e->step].name, r->plan->name);
	MemoryContextSwitchTo(old);
	if (DsaPointerIsValid(e->pending))
	{
		LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
		r->steps[e->step].pending = e->pending;
		LWLockRelease(&r->live->lock);
		wf_pending_append(s->area, &t->first_pending, &t->last_pending,
						  e->pending);
		e->pending = InvalidDsaPointer;
	}
	show_transaction(t);
}

/*
 * wf_driver_write_outcome
 *		Write the outcome of a step that no worker writes: now, or when the
 *		transaction has ended on which it may depend.
 */
void
wf_driver_write_outcome(WfDrivenRun *r, const WfStepOutcome *outcome)
{
	WfDrivenTransaction *t = r->transaction;
	WfStepOutcome *copy;
	MemoryContext old;

	if (!is_open(t) || t->on_record)
	{
		wf_history_insert_step_outcome(outcome);
		return;
	}
	old = MemoryContextSwitchTo(t->context);
	copy = wf_pending_copy(outcome);
	if (wf_machine_step_transaction(r->machine, outcome->step) == t->number)
		copy->transaction_id = t->id;
	t->deferred = lappend(t->deferred, copy);
	MemoryContextSwitchTo(old);
}

/*
 * wf_driver_defer_end
 *		An heir has come to its end.  If the transaction is open the end is
 *		written when that has ended; else false.
 */
bool
wf_driver_defer_end(WfDrivenRun *r)
{
	WfDrivenTransaction *t = r->transaction;
	MemoryContext old;

	if (!r->inherits)
		return false;
	t->heirs = list_delete_ptr(t->heirs, r);
	if (!is_open(t))
		return false;
	old = MemoryContextSwitchTo(t->context);
	t->ended = lappend(t->ended, r);
	MemoryContextSwitchTo(old);
	return true;
}

/* A run lets its sessions go: true if the transaction keeps this one. */
bool
wf_driver_branch_keeps(WfDrivenRun *r, int slot)
{
	WfDrivenTransaction *t = r->transaction;

	if (!is_open(t) || slot < 0 || t->branch != slot)
		return false;
	t->branch_own = true;
	return true;
}

/* A step has failed: it may be why the transaction will be rolled back. */
void
wf_driver_note_cause(WfDrivenRun *r, int32 step, const char *message)
{
	WfDrivenTransaction *t = r->transaction;
	const WfPlanStep *plan_step = &r->plan->steps[step];
	MemoryContext old;

	if (!is_open(t) || t->cause != NULL || !plan_step->rollback_on_failure)
		return;
	old = MemoryContextSwitchTo(t->context);
	t->cause = psprintf("step \"%s\" of package \"%s\" failed: %s",
						plan_step->name, r->plan->name,
						message == NULL ? "unknown error" : message);
	MemoryContextSwitchTo(old);
}

/*
 * wf_driver_end_transaction
 *		Carry out COMMIT and ROLLBACK.
 */
void
wf_driver_end_transaction(WfScheduler *s, WfDrivenRun *r,
						  const WfAction *action)
{
	WfDrivenTransaction *t = r->transaction;
	bool		commit = action->type == WF_ACT_COMMIT;
	WfEntry    *e;

	Assert(t->owner == r && t->number == action->transaction);
	if (t->branch_gone)
		return;					/* that is judged first */
	if (t->branch < 0)
	{
		wf_scheduler_begin(s);
		if (commit)
			write_record(t, true, 0, NULL);
		finish(s, t, commit, 0, NULL);
		return;
	}
	t->end_entry = wf_entry_alloc(s->database, true);
	if (t->end_entry < 0)
	{
		wf_driver_keep_for_later(r, action);
		return;
	}
	e = &s->database->entries[t->end_entry];
	e->kind = commit ? WF_ENTRY_COMMIT : WF_ENTRY_ROLLBACK;
	e->role = r->run.owner;
	e->run_id = r->run_id;
	e->isolation = t->state.isolation;
	e->transaction_id = t->id;
	e->transaction_number = t->number;
	e->transaction_steps = t->steps;
	e->transaction_at = t->started_at;
	e->pending = t->first_pending;
	wf_scheduler_hand_out(s, t->end_entry, WF_READY_GOING, t->branch);
}

/* Answer COMMIT and ROLLBACK from the record, if that has the answer. */
bool
wf_driver_end_from_record(WfScheduler *s, WfDrivenRun *r)
{
	WfDrivenTransaction *t = r->transaction;

	WfStepOutcome failed = {0};

	if (!t->on_record || t->branch >= 0 ||
		DsaPointerIsValid(t->first_pending))
		return false;
	if (!t->was_committed)
		(void) wf_errors_of_machine(WF_ERROR_COMMIT_INVALID, &failed);
	wf_scheduler_begin(s);
	finish(s, t, t->was_committed, failed.sqlstate, failed.message);
	return true;
}

/*
 * wf_driver_lose_as_recorded
 *		All that is on record has been fed.  If the end of the transaction is,
 *		as rolled back, and nothing on record has asked for that, its session
 *		was lost (D25).
 */
void
wf_driver_lose_as_recorded(WfScheduler *s, WfDrivenRun *r)
{
	WfDrivenTransaction *t = r->transaction;

	if (is_open(t) && t->on_record && !t->was_committed &&
		t->state.state == WF_TRANSACTION_ACTIVE)
		wf_driver_lose_transaction(s, r, ERRCODE_IN_FAILED_SQL_TRANSACTION,
								   "it was before the restart");
}

/*
 * wf_driver_transaction_is_over
 *		A step is to work in the transaction, of which the record has the end,
 *		but not the step.  It has not begun then: either the end is still to be
 *		answered, and the step joins the next one; or (false to the machine,
 *		which is told here) a child run that is on record has rolled it back,
 *		or its session was lost.
 */
bool
wf_driver_transaction_is_over(WfScheduler *s, WfDrivenRun *r)
{
	WfDrivenTransaction *t = r->transaction;
	WfStepOutcome error = {0};

	if (!t->on_record || t->branch >= 0)
		return false;
	if (t->state.state != WF_TRANSACTION_ACTIVE)
		return true;
	if (t->was_committed)
		return false;
	(void) wf_errors_of_machine(WF_ERROR_INVALID, &error);
	wf_driver_lose_transaction(s, r, error.sqlstate, error.message);
	return true;
}

/* Event: an entry of kind COMMIT or ROLLBACK is done. */
void
wf_driver_transaction_done(WfScheduler *s, int entry)
{
	WfEntry    *e = &s->database->entries[entry];
	char	   *path;
	char	   *message;

	wf_area_get_error(s->area, e->error, &path, &message);
	wf_driver_transaction_known(s, entry, e->kind == WF_ENTRY_COMMIT &&
								e->status == WF_STEP_SUCCEEDED, e->sqlstate,
								message);
}

/* Event: what such an entry asks for came to this. */
void
wf_driver_transaction_known(WfScheduler *s, int entry, bool committed,
							int sqlstate, const char *message)
{
	WfEntry    *e = &s->database->entries[entry];
	WfDrivenRun *r = wf_driver_find(s, e->run_id);

	e->pending = InvalidDsaPointer; /* it is the transaction's */
	if (r == NULL || r->transaction == NULL ||
		r->transaction->end_entry != entry)
		return;
	r->transaction->end_entry = -1;
	wf_scheduler_begin(s);
	finish(s, r->transaction, committed, sqlstate, message);
}

/* Carry out CANCEL of the commit in progress. */
void
wf_driver_cancel_commit(WfScheduler *s, WfDrivenRun *r)
{
	int			entry = r->transaction->end_entry;

	if (entry < 0 || !wf_entry_cancel(s->database, entry, r->force))
		return;
	/* nobody has begun it: the worker will, and find it cancelled */
	s->database->entries[entry].cancel = true;
	wf_scheduler_hand_out(s, entry, WF_READY_GOING, r->transaction->branch);
}

/* The transaction has ended; all but its record in the branch is done here. */
static void
finish(WfScheduler *s, WfDrivenTransaction *t, bool committed, int sqlstate,
	   const char *message)
{
	WfDrivenRun *owner = t->owner;
	List	   *ended = t->ended;
	ListCell   *lc;

	if (!committed && t->state.state == WF_TRANSACTION_COMMITTING)
		note_failed_commit(t, sqlstate, message);
	if (!committed && !t->on_record)
		write_rolled_back(s, t, sqlstate, message);
	foreach(lc, t->deferred)
		wf_history_insert_step_outcome(lfirst(lc));
	t->ended = NIL;
	foreach(lc, ended)
		wf_driver_write_end(s, lfirst(lc));
	forget(s, t);

	LWLockAcquire(&owner->live->lock, LW_EXCLUSIVE);
	wf_machine_transaction_ended(owner->machine, committed, sqlstate);
	wf_driver_show_error(s, owner);
	LWLockRelease(&owner->live->lock);
	wf_driver_mark_dirty(s, owner);
}

/* The error is that of the steps that asked for the commit, or the run's. */
static void
note_failed_commit(WfDrivenTransaction *t, int sqlstate, const char *message)
{
	WfDrivenRun *owner = t->owner;
	int			step;

	owner->sqlstate = sqlstate;
	owner->message = MemoryContextStrdup(owner->context, message == NULL ?
										 "the commit failed" : message);
	for (step = 0; step < owner->plan->nsteps; step++)
	{
		if (wf_machine_awaits_commit(owner->machine, step))
			wf_errors_set(&owner->errors, owner->context, step,
						  owner->plan->steps[step].name, sqlstate, NULL,
						  owner->message);
	}
}

/*
 * write_rolled_back
 *		The outcomes of its steps survive the rollback (R19, R89), but a step
 *		that asked for a commit which failed has failed.
 */
static void
write_rolled_back(WfScheduler *s, WfDrivenTransaction *t, int sqlstate,
				  const char *message)
{
	dsa_pointer pointer = t->first_pending;

	for (; DsaPointerIsValid(pointer);
		 pointer = wf_pending_next(s->area, pointer))
	{
		WfStepOutcome *outcome = wf_pending_get(s->area, pointer);

		if (outcome->run_id == t->owner->run_id &&
			outcome->status == WF_STEP_SUCCEEDED)
			fail_committer(t, outcome, sqlstate, message);
		wf_history_insert_step_outcome(outcome);
	}
	write_record(t, false, sqlstate, message == NULL ? why_rolled_back(t) :
				 message);
}

/* If the step has asked for the commit of what is rolled back, it failed. */
static void
fail_committer(const WfDrivenTransaction *t, WfStepOutcome *outcome,
			   int sqlstate, const char *message)
{
	const WfMachine *machine = t->owner->machine;

	if (wf_machine_awaits_commit(machine, outcome->step))
	{
		outcome->sqlstate = sqlstate;
		outcome->message = message;
	}
	else if (wf_machine_commit_was_invalid(machine, outcome->step))
		(void) wf_errors_of_machine(WF_ERROR_COMMIT_INVALID, outcome);
	else
		return;
	outcome->status = WF_STEP_FAILED;
}

/* The row of a transaction that the branch has not written. */
static void
write_record(WfDrivenTransaction *t, bool committed, int sqlstate,
			 const char *message)
{
	WfTransactionOutcome outcome = {
		.run_id = t->owner->run_id,
		.number = t->number,
		.transaction_id = t->id,
		.steps = t->steps,
		.started_at = t->started_at,
		.finished_at = GetCurrentTimestamp(),
		.committed = committed,
		.isolation = t->state.isolation,
		.sqlstate = sqlstate,
		.message = message
	};

	wf_history_insert_transaction(&outcome);
}

/* In words, for transaction_history. */
static char *
why_rolled_back(const WfDrivenTransaction *t)
{
	const WfDrivenRun *owner = t->owner;
	WfStepError error;

	if (t->lost != NULL)
		return t->lost;
	if (t->cause != NULL)
		return t->cause;
	if (owner->stopping)
		return "the run was stopped";
	if (wf_driver_get_error(owner, &error))
		return psprintf("the package failed: %s", error.message);
	return "the package does not commit on completion";
}

/* The outcomes that were kept for the views are about to go. */
static void
forget_pending(WfDrivenRun *r)
{
	int			step;

	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	for (step = 0; step < r->plan->nsteps; step++)
		r->steps[step].pending = InvalidDsaPointer;
	LWLockRelease(&r->live->lock);
}

/* No transaction is open any more. */
static void
forget(WfScheduler *s, WfDrivenTransaction *t)
{
	ListCell   *lc;

	if (t->branch_own && t->branch >= 0 && !t->branch_gone)
		wf_driver_release_session(s, t->owner, t->branch);
	forget_pending(t->owner);
	foreach(lc, t->heirs)
		forget_pending(lfirst(lc));
	wf_pending_free(s->area, &t->first_pending);
	t->last_pending = InvalidDsaPointer;
	t->deferred = NIL;
	t->cause = t->lost = t->last_step = NULL;
	t->number = 0;
	t->id = 0;
	t->steps = 0;
	t->branch = -1;
	t->branch_own = t->branch_gone = t->on_record = false;
	MemoryContextReset(t->context);
	show_transaction(t);
}

/* The worker in this slot is gone: nothing more is sent to it. */
bool
wf_driver_branch_gone(WfScheduler *s, int slot)
{
	HASH_SEQ_STATUS status;
	WfDrivenEntry *entry;
	bool		found = false;

	hash_seq_init(&status, s->driven);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		WfDrivenTransaction *t = entry->run->transaction;

		if (t == NULL || t->owner != entry->run || t->branch != slot)
			continue;
		t->branch_gone = true;
		found = true;
	}
	return found;
}

/* Event: and that was no shutdown; the transaction is lost. */
void
wf_driver_branch_lost(WfScheduler *s, int slot, int sqlstate,
					  const char *message)
{
	HASH_SEQ_STATUS status;
	WfDrivenEntry *entry;

	hash_seq_init(&status, s->driven);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		WfDrivenTransaction *t = entry->run->transaction;

		if (t == NULL || t->owner != entry->run || !t->branch_gone ||
			t->branch != slot)
			continue;
		hash_seq_term(&status);
		wf_driver_lose_transaction(s, entry->run, sqlstate, message);
		return;
	}
}

/*
 * wf_driver_lose_transaction
 *		The branch of the run's transaction is no more (D25).  If it was about
 *		to be ended, that is the answer.
 */
void
wf_driver_lose_transaction(WfScheduler *s, WfDrivenRun *r, int sqlstate,
						   const char *message)
{
	WfDrivenTransaction *t = r->transaction;
	WfDrivenRun *owner;

	if (!is_open(t))
		return;
	owner = t->owner;
	t->branch = -1;
	t->branch_gone = t->branch_own = false;
	if (t->lost == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(t->context);

		t->lost = psprintf("the session of the transaction was lost: %s",
						   message);
		MemoryContextSwitchTo(old);
	}
	if (t->state.ending && t->end_entry < 0)
	{
		wf_scheduler_begin(s);
		finish(s, t, false, sqlstate, t->lost);
		return;
	}
	LWLockAcquire(&owner->live->lock, LW_EXCLUSIVE);
	wf_machine_transaction_lost(owner->machine);
	wf_driver_show_error(s, owner);
	LWLockRelease(&owner->live->lock);
	wf_driver_mark_dirty(s, owner);
}
