/*-------------------------------------------------------------------------
 *
 * machine_join.c
 *	  The package transaction, as far as the run of a machine is in it.
 *
 * A step enters when it starts: by joining, or since its connection is
 * enlisted (R6, R11).  What keeps it from that is judged each time it could
 * start; see Entry.  A step that must wait for its branch goes back to where
 * steps wait that could start: it takes no place (P2); one that must wait for
 * the end of a dying transaction is in progress already (R34, P16).  Steps
 * that execute something keep their branch until they have ended, also
 * between two attempts; package steps only join (D10).
 *
 * A commit is asked for by the success of a step of the owner, which is in
 * progress until the commit is done (R20, R35), or by the completion of the
 * owner; a rollback by the failure of a step of any of the packages, or by
 * the completion.  Whatever is asked for, the owner's machine tells the driver
 * when nobody executes in the transaction any more.
 *
 * A package that inherits never ends the transaction.  What it changes in the
 * shared state, the owner's machine finds when its actions are taken out.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRONTEND
#include "postgres.h"
#else
#include "postgres_fe.h"
#endif

#include "machine_state.h"

/*
 * wf_transaction_init
 *		Make the transaction of a package that owns its transactions.
 */
void
wf_transaction_init(WfTransaction *transaction, const WfPlan *plan)
{
	memset(transaction, 0, sizeof(WfTransaction));
	transaction->state = WF_TRANSACTION_NONE;
	transaction->isolation = plan->isolation;
}

/* Prepare; the machine has its transaction. */
void
wf_join_init(WfMachine *machine)
{
	queue_init(&machine->held_conditions);
	queue_init(&machine->joiners);
	queue_init(&machine->committers);
	wf_join_clear(machine);
	if (machine->transaction != NULL)
	{
		machine->id = ++machine->transaction->nmachines;
		machine->losses = machine->transaction->losses;
	}
}

static void
branch_queue_init(BranchQueue *queue)
{
	queue_init(&queue->waiters);
	queue->next = NO_STEP;
}

/* The queues of the connections, numbered through. */
static BranchQueue *
connection_queue(WfMachine *machine, int i)
{
	return &machine_connections(machine)[i / 2].enlisted_waiters[i % 2];
}

/* Forget who waits for a branch. */
void
wf_join_clear(WfMachine *machine)
{
	int			i;

	for (i = 0; i < WF_MAX_BRANCHES * 2; i++)
		branch_queue_init(&machine->branches[i / 2][i % 2]);
	for (i = 0; i < machine->plan->nconnections * 2; i++)
		branch_queue_init(connection_queue(machine, i));
	machine->nbranch_waiters = 0;
}

/*
 * No further step enters: the transaction is being ended, or is about to be.
 */
static bool
is_closing(const WfTransaction *transaction)
{
	return transaction->ending || transaction->lost ||
		(wf_transaction_is_dying(transaction) &&
		 transaction->executing == 0);
}

/* The connection of a step is enlisted, so the step works inside (R11). */
static bool
is_enlisted(const WfMachine *machine, int32 step)
{
	ConnectionState *connection =
		step_connection(unconstify(WfMachine *, machine), step);

	return connection != NULL &&
		connection->enlisted == machine->transaction->number &&
		wf_transaction_is_current(machine->transaction);
}

/* A step is to work in the current transaction: can it use its branch? */
static Entry
judge_branch(const WfMachine *machine, int32 step)
{
	const WfTransaction *transaction = machine->transaction;
	const WfBranch *branch =
		&transaction->branches[step_instance(machine, step)];

	if (is_closing(transaction))
		return ENTRY_LATER;
	if (branch->machine == 0)
		return ENTRY_INSIDE;
	if (branch->named && machine->plan->steps[step].connection >= 0)
		return ENTRY_BUSY;
	return ENTRY_LATER;
}

/*
 * wf_join_judge
 *		How a step that could start stands to the transaction: table 3.5.
 */
Entry
wf_join_judge(const WfMachine *machine, int32 step)
{
	const WfTransaction *transaction = machine->transaction;
	const WfPlanStep *plan_step = &machine->plan->steps[step];

	if (transaction == NULL)
		return ENTRY_FREE;
	if (!plan_step->joins)
		return is_enlisted(machine, step) ?
			judge_branch(machine, step) : ENTRY_FREE;

	switch ((WfTransactionState) transaction->state)
	{
		case WF_TRANSACTION_NONE:
			return ENTRY_INSIDE;
		case WF_TRANSACTION_INVALID:
			return ENTRY_INVALID;
		case WF_TRANSACTION_ACTIVE:
			if (plan_step->kind == WF_KIND_PACKAGE)
				return ENTRY_INSIDE;
			return judge_branch(machine, step);
		case WF_TRANSACTION_COMMITTING:
		case WF_TRANSACTION_ROLLING_BACK:
			break;
	}
	return ENTRY_JOIN_LATER;
}

/* Is it this step that is in its branch? */
static bool
has_branch(const WfMachine *machine, int32 step)
{
	const WfBranch *branch =
		&machine->transaction->branches[step_instance(machine, step)];

	return branch->machine == machine->id && branch->step == step;
}

static void
take_branch(WfMachine *machine, int32 step, bool named)
{
	WfTransaction *transaction = machine->transaction;
	WfBranch   *branch = &transaction->branches[step_instance(machine, step)];

	Assert(branch->machine == 0);
	branch->machine = machine->id;
	branch->step = step;
	branch->named = named;
	transaction->executing++;
}

/*
 * wf_join_enter
 *		A step that was judged ENTRY_INSIDE starts.  If there is no
 *		transaction, this is where it begins (R1); if the package inherits,
 *		on behalf of the owner.
 */
void
wf_join_enter(WfMachine *machine, int32 step)
{
	WfTransaction *transaction = machine->transaction;
	ConnectionState *connection = step_connection(machine, step);

	if (transaction->state == WF_TRANSACTION_NONE)
	{
		transaction->state = WF_TRANSACTION_ACTIVE;
		transaction->number++;
	}
	machine->steps[step].transaction = transaction->number;
	if (machine->plan->steps[step].kind == WF_KIND_PACKAGE)
		return;

	take_branch(machine, step, connection != NULL);
	if (connection != NULL)
		connection->enlisted = transaction->number;
}

/*
 * wf_join_begin_condition
 *		The condition of a step is asked.  If it is to see the transaction, it
 *		has its branch until it is answered: others wait as for an unnamed
 *		step.  Returns the number of the transaction, or 0.
 */
int32
wf_join_begin_condition(WfMachine *machine, int32 step)
{
	if (machine->transaction == NULL || !machine->plan->steps[step].joins ||
		!wf_transaction_is_current(machine->transaction))
		return 0;
	take_branch(machine, step, false);
	return machine->transaction->number;
}

/*
 * wf_join_leave
 *		A step has ended, or its condition is answered; if it was in a branch,
 *		that is free now.
 */
void
wf_join_leave(WfMachine *machine, int32 step)
{
	WfTransaction *transaction = machine->transaction;
	WfBranch   *branch;

	if (transaction == NULL || !has_branch(machine, step))
		return;
	branch = &transaction->branches[step_instance(machine, step)];
	branch->machine = 0;
	branch->retrying = false;
	transaction->executing--;
}

/*
 * wf_join_retry
 *		A step begins or ends to await a retry, and keeps its branch meanwhile.
 */
void
wf_join_retry(WfMachine *machine, int32 step, bool awaits)
{
	if (machine->transaction != NULL && has_branch(machine, step))
		machine->transaction->branches[step_instance(machine, step)].retrying =
			awaits;
}

/* A step that was let in did not get in: its connection is not enlisted. */
void
wf_join_undo(WfMachine *machine, int32 step)
{
	ConnectionState *connection = step_connection(machine, step);

	wf_join_leave(machine, step);
	if (connection != NULL)
		connection->enlisted = 0;
}

/*
 * wf_join_refuse
 *		End a step, in progress, that cannot enter.  Who wanted to join fails
 *		the package as well (R9), but in a package that inherits an invalid
 *		transaction that is an ordinary failure (P13), and so it is when a step
 *		that does not join finds its branch busy (D6).
 */
void
wf_join_refuse(WfMachine *machine, int32 step, Entry entry)
{
	if (entry == ENTRY_INVALID)
		wf_step_refuse(machine, step, WF_ERROR_INVALID, !machine->inherits);
	else
		wf_step_refuse(machine, step, WF_ERROR_BRANCH_BUSY,
					   machine->plan->steps[step].joins);
}

/* Let a step that could start wait until its branch is free. */
void
wf_join_queue(WfMachine *machine, int32 step)
{
	wf_ready_yield(machine, step);
	wf_step_await(machine, step, WAIT_BRANCH,
				  &step_branch_queue(machine, step)->waiters);
	machine->nbranch_waiters++;
}

/*
 * Let the first step of a queue compete again, if its branch is free or if it
 * has nothing to do with the transaction any more (R12).  True if there was
 * one.
 */
static bool
wake_first(WfMachine *machine, BranchQueue *queue)
{
	const WfTransaction *transaction = machine->transaction;
	int32		step = queue->waiters.first;

	if (step == NO_STEP || queue->next != NO_STEP)
		return false;
	if ((is_closing(transaction) ||
		 transaction->branches[step_instance(machine, step)].machine != 0) &&
		wf_join_judge(machine, step) != ENTRY_FREE)
		return false;
	queue->next = queue_pop(machine, &queue->waiters);
	machine->nbranch_waiters--;
	machine->steps[step].wait = WAIT_NOTHING;
	wf_ready_push(machine, step);
	return true;
}

/*
 * wf_join_wake
 *		Let the first step of each queue in which none has to wait compete
 *		again; the next one follows when it has had its chance.  True if there
 *		was any.
 */
bool
wf_join_wake(WfMachine *machine)
{
	bool		woken = false;
	int			i;

	if (machine->nbranch_waiters == 0)
		return false;
	for (i = 0; i < WF_MAX_BRANCHES * 2; i++)
		woken |= wake_first(machine, &machine->branches[i / 2][i % 2]);
	for (i = 0; i < machine->plan->nconnections * 2; i++)
		woken |= wake_first(machine, connection_queue(machine, i));
	return woken;
}

/*
 * wf_join_holds_condition
 *		The condition of a step that joins sees the transaction (P14), so it
 *		is not asked while a step executes in it, nor while it is dying.
 */
bool
wf_join_holds_condition(const WfMachine *machine, int32 step)
{
	const WfTransaction *transaction = machine->transaction;

	return transaction != NULL && machine->plan->steps[step].joins &&
		wf_transaction_is_current(transaction) &&
		(transaction->executing > 0 || wf_transaction_is_dying(transaction));
}

/*
 * wf_join_ask_commit
 *		A step has succeeded: see to its commit_on_success (R20, R21; table
 *		3.2).  True if it ends now, as succeeded; else it waits for the commit,
 *		or has been ended as failed.
 */
bool
wf_join_ask_commit(WfMachine *machine, int32 step)
{
	WfTransaction *transaction = machine->transaction;

	if (transaction == NULL || machine->inherits ||
		!machine->plan->steps[step].commit_on_success ||
		machine->phase != PHASE_GRAPH || machine->failed ||
		machine->interrupted || transaction->state == WF_TRANSACTION_NONE)
		return true;

	if (transaction->state == WF_TRANSACTION_INVALID ||
		(transaction->state == WF_TRANSACTION_ROLLING_BACK &&
		 transaction->invalidates))
	{
		wf_step_refuse(machine, step, WF_ERROR_COMMIT_INVALID, true);
		return false;
	}
	if (transaction->state == WF_TRANSACTION_ROLLING_BACK)
		return true;			/* that was asked for first, and wins */

	transaction->state = WF_TRANSACTION_COMMITTING;
	wf_step_await(machine, step, WAIT_COMMIT, &machine->committers);
	return false;
}

/* The commit that steps wait for is not to be: they have succeeded. */
static void
release_committers(WfMachine *machine)
{
	int32		step;

	while ((step = queue_pop_waiting(machine, &machine->committers,
									 WAIT_COMMIT)) != NO_STEP)
		wf_step_finish(machine, step, WF_STEP_SUCCEEDED);
}

/*
 * wf_join_ask_rollback
 *		A step with rollback_on_failure has failed (R18, R54; tables 3.2 and
 *		3.3).  It wins over a commit that has not begun (R35).
 */
void
wf_join_ask_rollback(WfMachine *machine)
{
	WfTransaction *transaction = machine->transaction;

	if (transaction == NULL)
		return;
	switch ((WfTransactionState) transaction->state)
	{
		case WF_TRANSACTION_NONE:
			break;
		case WF_TRANSACTION_ACTIVE:
		case WF_TRANSACTION_COMMITTING:
			if (transaction->ending)
				break;
			transaction->state = WF_TRANSACTION_ROLLING_BACK;
			transaction->invalidates = machine->inherits;
			release_committers(machine);
			break;
		case WF_TRANSACTION_ROLLING_BACK:
			/* acknowledged by the owner, also while the driver is at it */
			if (!machine->inherits)
				transaction->invalidates = false;
			break;
		case WF_TRANSACTION_INVALID:
			if (!machine->inherits)
				transaction->state = WF_TRANSACTION_NONE;
			break;
	}
}

/* The package has failed: a commit that has not begun is not made (R35). */
void
wf_join_drop_commit(WfMachine *machine)
{
	WfTransaction *transaction = machine->transaction;

	if (transaction == NULL || machine->inherits || transaction->ending ||
		transaction->state != WF_TRANSACTION_COMMITTING)
		return;
	transaction->state = WF_TRANSACTION_ACTIVE;
	release_committers(machine);
}

/*
 * wf_join_skip_joiners
 *		Steps that wait to join have not begun, and will not.  One that has
 *		failed before and would join anew has failed.
 */
void
wf_join_skip_joiners(WfMachine *machine, WfReason reason)
{
	int32		step;

	while ((step = queue_pop_waiting(machine, &machine->joiners,
									 WAIT_JOIN)) != NO_STEP)
	{
		if (machine->steps[step].attempt == 0)
			wf_step_skip(machine, step, reason);
		else
			wf_step_finish(machine, step, WF_STEP_FAILED);
	}
}

/*
 * A session of the transaction was lost.  Who awaited a retry in it, on
 * whatever instance, had to leave his branch and has failed for good: nothing
 * executes in it any more (D25).
 */
static void
end_lost_retries(WfMachine *machine)
{
	int32		step;

	machine->losses = machine->transaction->losses;
	for (step = 0; step < machine->plan->nsteps; step++)
	{
		if (wf_machine_awaits_retry(machine, step) &&
			machine->steps[step].transaction != 0 &&
			machine->plan->steps[step].kind != WF_KIND_PACKAGE &&
			!has_branch(machine, step))
			wf_step_finish(machine, step, WF_STEP_FAILED);
	}
	wf_machine_settle(machine);
}

/*
 * wf_join_catch_up
 *		Another machine may have put a rollback in the place of our commit, or
 *		heard that the transaction is lost.
 */
void
wf_join_catch_up(WfMachine *machine)
{
	const WfTransaction *transaction = machine->transaction;

	if (transaction == NULL)
		return;
	if (machine->committers.first != NO_STEP &&
		transaction->state != WF_TRANSACTION_COMMITTING)
	{
		release_committers(machine);
		wf_machine_settle(machine);
	}
	if (machine->losses != transaction->losses)
		end_lost_retries(machine);
}

/* Is the owner to commit when it completes?  Table 3.4. */
static bool
commits_at_end(const WfMachine *machine)
{
	return machine->plan->commit_on_completion && !machine->failed &&
		!machine->stopped && !machine->nothing_to_run;
}

/*
 * wf_join_complete
 *		No step of the graph is running and none can start.  True if the
 *		transaction does not stand in the way of the end; else its own end
 *		comes first (R22, R23, R28, R47).
 */
bool
wf_join_complete(WfMachine *machine)
{
	WfTransaction *transaction = machine->transaction;

	if (transaction == NULL || machine->inherits)
		return true;
	switch ((WfTransactionState) transaction->state)
	{
		case WF_TRANSACTION_NONE:
			return true;
		case WF_TRANSACTION_INVALID:
			transaction->state = WF_TRANSACTION_NONE;
			machine->invalid_at_end = commits_at_end(machine);
			machine->failed |= machine->invalid_at_end;
			return true;
		case WF_TRANSACTION_ACTIVE:
			machine->completing = true;
			transaction->state = commits_at_end(machine) ?
				WF_TRANSACTION_COMMITTING : WF_TRANSACTION_ROLLING_BACK;
			return false;
		case WF_TRANSACTION_COMMITTING:
		case WF_TRANSACTION_ROLLING_BACK:
			break;
	}
	return false;
}

/* The run is to end: a commit that has begun is to be cancelled. */
void
wf_join_interrupt(WfMachine *machine)
{
	WfTransaction *transaction = machine->transaction;

	if (transaction == NULL || machine->phase != PHASE_GRAPH)
		return;
	wf_join_skip_joiners(machine, WF_REASON_CANCELLED);
	if (machine->inherits || transaction->state != WF_TRANSACTION_COMMITTING)
		return;
	if (transaction->ending)
		machine->cancel_commit = true;
	else if (machine->completing)
		transaction->state = WF_TRANSACTION_ROLLING_BACK;
	else
		wf_join_drop_commit(machine);
}

/* The steps that asked for the commit end, and the package may fail (R25). */
static void
end_commit(WfMachine *machine, bool committed, int sqlstate)
{
	int32		step;

	if (committed)
		release_committers(machine);
	while ((step = queue_pop_waiting(machine, &machine->committers,
									 WAIT_COMMIT)) != NO_STEP)
	{
		machine->steps[step].sqlstate = sqlstate;
		wf_step_refuse(machine, step, WF_ERROR_COMMIT, true);
	}
	if (!machine->completing)
		return;

	/* A stop or a time-out that came during the commit counts if it failed. */
	if (committed)
		machine->stopped = machine->failed = machine->failed_by_driver = false;
	else if (!machine->interrupted)
		machine->failed = machine->failed_by_driver = true;
}

/* See machine.h. */
void
wf_machine_transaction_ended(WfMachine *machine, bool committed, int sqlstate)
{
	WfTransaction *transaction = machine->transaction;
	bool		commit = transaction->state == WF_TRANSACTION_COMMITTING;

	Assert(!machine->inherits);
	if (!transaction->ending)
		return;

	transaction->state = transaction->invalidates ?
		WF_TRANSACTION_INVALID : WF_TRANSACTION_NONE;
	transaction->ending = false;
	transaction->invalidates = false;
	transaction->lost = false;
	machine->cancel_commit = false;
	if (commit)
		end_commit(machine, committed, sqlstate);
	wf_machine_settle(machine);
}

/* See machine.h. */
void
wf_machine_transaction_lost(WfMachine *machine)
{
	WfTransaction *transaction = machine->transaction;
	int32		step;
	int			i;

	Assert(!machine->inherits);
	if (!wf_transaction_is_current(transaction) || transaction->ending)
		return;

	for (i = 0; i < WF_MAX_BRANCHES; i++)
	{
		if (!transaction->branches[i].retrying)
			continue;
		transaction->branches[i].machine = 0;
		transaction->branches[i].retrying = false;
		transaction->executing--;
	}
	transaction->losses++;
	transaction->lost = true;
	if (transaction->state != WF_TRANSACTION_ROLLING_BACK)
		transaction->invalidates = true;
	transaction->state = WF_TRANSACTION_ROLLING_BACK;
	while ((step = queue_pop_waiting(machine, &machine->committers,
									 WAIT_COMMIT)) != NO_STEP)
		wf_step_refuse(machine, step, WF_ERROR_COMMIT_INVALID, true);
	end_lost_retries(machine);
}
