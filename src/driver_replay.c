/*-------------------------------------------------------------------------
 *
 * driver_replay.c
 *	  What is on record of a run is fed to a machine that begins anew.
 *
 * After a restart, or when a worker hands a run back, the machine of the run
 * starts from the beginning, and what is on record answers what it asks for.
 * In which order things happened matters where runs share a package
 * transaction: a step that joined the second one must not be started while
 * the machine is at the first.  So the record tells the order: each attempt
 * is started and answered at its turn, by the time of its end, and what was cut off comes last.  Children that
 * inherit, and go on, are adopted at their turn too, and what is on record of
 * them is merged in.  The end of a transaction is answered when the machine
 * asks for it.
 *
 * A record may lack steps on which others followed: what joined a transaction
 * that was never committed is gone, while a step behind it that committed by
 * itself is there.  What has no turn is left, and answers when it is asked for
 * later (wf_driver_answered()).  What the machine asks for and is not on
 * record waits in the backlog until all is fed.
 *
 * Nothing is started, written (but for what was passed over or cut off) or
 * handed out here, so a replay that an ERROR ends is begun anew by the next scheduler.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/pairingheap.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "driver.h"

/* Something on record that is to be fed. */
typedef struct ReplayItem
{
	pairingheap_node node;
	TimestampTz at;				/* its end; of an open child run, its begin */
	int64		number;			/* among those of one time, the order */
	WfDrivenRun *run;
	int32		step;
} ReplayItem;

/* A replay in progress: of a run, and of children that it adopts. */
typedef struct Replay
{
	WfScheduler *scheduler;
	pairingheap *items;
	int64		nitems;
	List	   *runs;			/* WfDrivenRun * */
	List	   *left;			/* ReplayItem *: those that had no turn */
} Replay;

static Replay *in_progress = NULL;

static void replay(WfScheduler *s, WfDrivenRun *r);
static void add_run(WfDrivenRun *r);
static void add_cut_off(WfDrivenRun *r, const int32 *attempts);
static void add_item(WfDrivenRun *r, int32 step, TimestampTz at);
static int	compare_items(const pairingheap_node *a,
						  const pairingheap_node *b, void *arg);
static bool feed(ReplayItem *item);
static bool feed_left(void);
static bool adopt(WfDrivenRun *r, const WfAction *action);
static void drain(WfDrivenRun *r);
static void wait_as_recorded(WfDrivenRun *r, const WfAction *action);
static void end_replay(WfDrivenRun *r);
static void interrupt_as_recorded(WfScheduler *s, WfDrivenRun *r);
static bool condition_answered(WfScheduler *s, WfDrivenRun *r,
							   const WfAction *action);

/*
 * wf_driver_replay
 *		Feed what is on record, so that whatever is done to the run next finds
 *		it as far as it had come.  With `pause` the run is paused then.
 */
void
wf_driver_replay(WfScheduler *s, WfDrivenRun *r, bool pause)
{
	r->pause_then = pause;
	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	wf_machine_set_replay(r->machine, true);
	LWLockRelease(&r->live->lock);
	if (in_progress != NULL)
		add_run(r);				/* adopted by one that is replayed */
	else
		replay(s, r);
}

static void
replay(WfScheduler *s, WfDrivenRun *r)
{
	Replay		now = {.scheduler = s};
	ListCell   *lc;

	now.items = pairingheap_allocate(compare_items, NULL);
	in_progress = &now;
	PG_TRY();
	{
		add_run(r);
		while (!pairingheap_is_empty(now.items))
		{
			ReplayItem *item =
			pairingheap_container(ReplayItem, node,
								  pairingheap_remove_first(now.items));

			CHECK_FOR_INTERRUPTS();
			if (!feed(item))
				now.left = lappend(now.left, item);
		}
		while (feed_left())
			;
	}
	PG_FINALLY();
	{
		in_progress = NULL;
	}
	PG_END_TRY();
	foreach(lc, now.runs)
		end_replay(lfirst(lc));
}

/* Take in what is on record of a run, and the children that it has open. */
static void
add_run(WfDrivenRun *r)
{
	int32	   *attempts = palloc0(sizeof(int32) * Max(r->plan->nsteps, 1));
	WfRun		child;
	int			i;

	in_progress->runs = lappend(in_progress->runs, r);
	r->unread = 1;
	for (i = 0; i < r->record->n; i++)
	{
		const WfStepOutcome *outcome = &r->record->outcomes[i];

		if (outcome->attempt == 0 && outcome->status != WF_STEP_FAILED &&
			outcome->reason != WF_REASON_CONDITION)
			continue;
		attempts[outcome->step] = outcome->attempt;
		r->unread += outcome->attempt > 0;
		add_item(r, outcome->step, outcome->finished_at);
	}
	for (i = 0; i < r->plan->nsteps; i++)
	{
		if (r->plan->steps[i].kind != WF_KIND_PACKAGE ||
			!wf_driver_open_child(in_progress->scheduler, r, i,
								  attempts[i] + 1, &child))
			continue;
		r->unread++;
		add_item(r, i, child.requested_at);
	}
	add_cut_off(r, attempts);
	wf_driver_read_on(r);
	drain(r);
}

/*
 * add_cut_off
 *		Attempts that had begun to commit by themselves, and have no outcome,
 *		were interrupted after all that is on record.  They must be fed here:
 *		a stop, or the end of the run, would take them for not begun.
 */
static void
add_cut_off(WfDrivenRun *r, const int32 *attempts)
{
	TimestampTz started_at;

	for (int32 i = 0; i < r->plan->nsteps; i++)
		if (r->plan->steps[i].kind == WF_KIND_SQL &&
			wf_history_step_started(r->run_id, i, attempts[i] + 1,
									&started_at))
			add_item(r, i, DT_NOEND);
}

static void
add_item(WfDrivenRun *r, int32 step, TimestampTz at)
{
	ReplayItem *item = palloc(sizeof(ReplayItem));

	item->at = at;
	item->number = in_progress->nitems++;
	item->run = r;
	item->step = step;
	pairingheap_add(in_progress->items, &item->node);
}

/* The first one is the greatest. */
static int
compare_items(const pairingheap_node *a, const pairingheap_node *b,
			  void *arg)
{
	const ReplayItem *x = pairingheap_const_container(ReplayItem, node, a);
	const ReplayItem *y = pairingheap_const_container(ReplayItem, node, b);

	if (x->at != y->at)
		return x->at < y->at ? 1 : -1;
	return x->number < y->number ? 1 : -1;
}

/*
 * feed
 *		Let the machine go on with a step: its condition, then an attempt.
 *		False if it is not the step's turn.
 */
static bool
feed(ReplayItem *item)
{
	WfScheduler *s = in_progress->scheduler;
	WfDrivenRun *r = item->run;
	WfAction	action;
	bool		given;
	bool		fed = false;

	do
	{
		LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
		given = wf_machine_replay(r->machine, item->step, &action);
		LWLockRelease(&r->live->lock);
		if (given && !wf_driver_answered(s, r, &action) &&
			!adopt(r, &action))
			wf_driver_keep_for_later(r, &action);
		fed |= given;
		drain(r);
	} while (given && action.type == WF_ACT_CONDITION);
	return fed;
}

/* Steps that had no turn may have one by now; true if one had. */
static bool
feed_left(void)
{
	List	   *left = in_progress->left;
	bool		fed = false;
	ListCell   *lc;

	in_progress->left = NIL;
	foreach(lc, left)
	{
		if (feed(lfirst(lc)))
			fed = true;
		else
			in_progress->left = lappend(in_progress->left, lfirst(lc));
	}
	return fed;
}

/*
 * adopt
 *		A child run that is open goes on.  If it shares the transaction, what
 *		is on record of it belongs between what follows of its parent; others,
 *		and all that are to be stopped, come when all is fed.
 */
static bool
adopt(WfDrivenRun *r, const WfAction *action)
{
	WfScheduler *s = in_progress->scheduler;
	WfRun		child;
	Oid			stopped_by;
	const char *reason;

	if (action->type != WF_ACT_CHILD ||
		!wf_driver_open_child(s, r, action->step, action->attempt, &child))
		return false;
	wf_driver_read_on(r);
	if (action->transaction == 0 || wf_machine_paused(r->machine) ||
		wf_history_read_stop(r->run_id, &stopped_by, &reason))
		return false;
	wf_driver_start_child(s, r, action);
	return true;
}

/* Carry out what follows from what was fed: nothing starts by itself. */
static void
drain(WfDrivenRun *r)
{
	WfScheduler *s = in_progress->scheduler;
	WfDrivenRun *owner = r->inherits ? r->transaction->owner : r;
	WfAction	action;

	while (wf_driver_next_action(r, &action))
	{
		if (action.type == WF_ACT_RECORD)
			wf_driver_record_passed(r, &action);
		else if (action.type == WF_ACT_CANCEL)
			wf_driver_cancel(s, r, &action);
		else if (action.type == WF_ACT_TIMER)
			wait_as_recorded(r, &action);
		else if (!wf_driver_answered(s, r, &action))
			wf_driver_keep_for_later(r, &action);
	}
	if (owner != r)
		drain(owner);
}

/* A wait is over if what followed it is on record, or an open child run. */
static void
wait_as_recorded(WfDrivenRun *r, const WfAction *action)
{
	WfRun		child;

	if (action->attempt == 0 ||
		(wf_history_find_outcome(r->record, action->step,
								 action->attempt + 1) == NULL &&
		 !wf_driver_open_child(in_progress->scheduler, r, action->step,
							   action->attempt + 1, &child)))
	{
		wf_driver_set_timer(in_progress->scheduler, r, action);
		return;
	}
	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	wf_machine_timer(r->machine, action->step);
	LWLockRelease(&r->live->lock);
}

/* All is fed: the run goes on. */
static void
end_replay(WfDrivenRun *r)
{
	WfScheduler *s = r->scheduler;
	Oid			stopped_by;
	const char *reason;

	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	wf_machine_set_replay(r->machine, false);
	LWLockRelease(&r->live->lock);
	if (!r->inherits)
		wf_driver_lose_as_recorded(s, r);
	wf_driver_mark_dirty(s, r);
	if (wf_history_read_stop(r->run_id, &stopped_by, &reason))
		wf_driver_stop(s, r, stopped_by, reason, false,
					   r->parent != NULL && r->parent->stopping);
	else
		(void) wf_interruption_fail(s, r);
}

/*
 * wf_driver_read_on
 *		An attempt is being read from the record.  A run that is to be paused
 *		is so before the last one is fed: what follows it does not happen.
 */
void
wf_driver_read_on(WfDrivenRun *r)
{
	if (--r->unread > 0 || !r->pause_then)
		return;
	r->pause_then = false;
	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	wf_machine_pause(r->machine);
	LWLockRelease(&r->live->lock);
}

/*
 * interrupt_as_recorded
 *		An attempt on record was cancelled: by a stop of the run, or of its
 *		parent, by its time-out, or since the run was cut off before.
 */
static void
interrupt_as_recorded(WfScheduler *s, WfDrivenRun *r)
{
	bool		by_parent = r->parent != NULL && r->parent->stopping;
	Oid			stopped_by = by_parent ? r->parent->stopped_by : InvalidOid;
	const char *reason = by_parent ? r->parent->stop_reason : NULL;

	if (wf_history_read_stop(r->run_id, &stopped_by, &reason) || by_parent)
		wf_driver_stop(s, r, stopped_by, reason, false, by_parent);
	else if (wf_interruption_fail(s, r))
		return;
	else if (r->plan->timeout_ms == 0)
		wf_driver_stop(s, r, stopped_by, reason, false, by_parent);
	else
		wf_driver_time_out(s, r);
}

/* See driver.h. */
bool
wf_driver_answered(WfScheduler *s, WfDrivenRun *r, const WfAction *action)
{
	const WfStepOutcome *outcome =
	wf_history_find_outcome(r->record, action->step, action->attempt);

	if (action->type == WF_ACT_CONDITION)
		return condition_answered(s, r, action);
	if (action->type == WF_ACT_COMMIT || action->type == WF_ACT_ROLLBACK)
		return wf_driver_end_from_record(s, r);
	if (action->type != WF_ACT_EXECUTE && action->type != WF_ACT_CHILD)
		return false;
	wf_driver_enter_transaction(s, r, action);
	if (outcome == NULL)
		return r->record != NULL && action->type == WF_ACT_EXECUTE &&
			wf_interruption_end_step(s, r, action->step, action->attempt,
									 NULL);
	wf_driver_read_on(r);
	if (outcome->status == WF_STEP_CANCELLED)
		interrupt_as_recorded(s, r);
	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	r->steps[action->step].started_at = outcome->started_at;
	LWLockRelease(&r->live->lock);
	if (outcome->variables != NULL)
		wf_driver_take_variables(s, r, outcome->variables);
	wf_driver_step_ended(s, r, action->step, outcome->status, outcome->sqlstate, NULL,
			   outcome->message);
	return true;
}

/*
 * condition_answered
 *		Answer a condition from the record: the step was executed, or has a
 *		child run, or ended by its condition.  What somebody has written since
 *		must not change that.
 */
static bool
condition_answered(WfScheduler *s, WfDrivenRun *r, const WfAction *action)
{
	const WfStepOutcome *outcome =
	wf_history_find_outcome(r->record, action->step, 0);
	WfCondition answer = WF_CONDITION_TRUE;
	WfRun		child;

	if (outcome != NULL && outcome->status == WF_STEP_FAILED)
		answer = WF_CONDITION_ERROR;
	else if (outcome != NULL && outcome->reason == WF_REASON_CONDITION)
		answer = WF_CONDITION_FALSE;
	else if (wf_history_find_outcome(r->record, action->step, 1) == NULL &&
			 !wf_driver_open_child(s, r, action->step, 1, &child))
		return false;
	wf_driver_answer_condition(s, r, action->step, answer,
					outcome == NULL ? 0 : outcome->sqlstate,
					outcome == NULL ? NULL : outcome->message);
	return true;
}
