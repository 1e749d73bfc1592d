/*-------------------------------------------------------------------------
 *
 * self_wait.c
 *	  Steps that wait for their own run: found, and made to fail (P8).
 *
 * A step that does not work in a package transaction can wait for a lock which
 * a transaction of its own run tree holds.  If that can only end after the
 * step has ended, it is a deadlock, of which PostgreSQL sees but one half: a
 * session that waits, and one that is idle in its transaction.
 *
 * While a package transaction is open the scheduler looks twice a second at
 * the steps, in trees with an open transaction, that have executed for a
 * while: whom does their session wait for?  It follows the waits of other
 * sessions too, up to a bound.  What leads to the branch of a transaction of
 * the tree is a deadlock if nothing of that transaction's packages can go on
 * but behind steps that wait in this way: nobody executes in the branch, it is
 * not being ended, and no step of its runs is executing, is about to start,
 * awaits a retry or a condition.  Packages whose step is just the parent of
 * one that waits cannot go on either.  Where that is not plain, nothing is
 * done: a step is never cancelled that would have gone on.
 *
 * The statement is cancelled, and the step fails with 40P01.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "area.h"
#include "driver.h"

#define LOOK_INTERVAL_MS	500

/* A step that has executed for less is not looked at. */
#define EXECUTES_FOR_MS		1000

/* Sessions that are followed from one that waits. */
#define MAX_FOLLOWED		64

/* A step whose session waits for a transaction of its own run tree. */
typedef struct SelfWait
{
	WfDrivenRun *run;			/* whose step it is, or whose child run has it */
	int32		step;
	int			entry;			/* what its worker is at */
	TimestampTz since;			/* when it began with the attempt */
	WfDrivenTransaction *transaction;
	bool		condemned;
} SelfWait;

static void set_timer(WfScheduler *s);
static List *open_transactions(WfScheduler *s);
static void look_at_run(WfScheduler *s, WfDrivenRun *r, List *open,
						List **waits);
static bool shares_tree(const WfDrivenRun *r, const List *open);
static pid_t pid_of(WfScheduler *s, int entry, TimestampTz now,
					TimestampTz *since);
static WfDrivenTransaction *waits_for(WfScheduler *s, const WfDrivenRun *r,
									  pid_t pid, List *open);
static int	add_blockers(int *pids, int npids, int pid);
static bool can_end(const WfDrivenTransaction *t, const List *waits);
static bool goes_on(const WfDrivenRun *r, const List *waits);
static bool is_behind(const WfDrivenRun *r, int32 step, const List *waits);
static void condemn(WfScheduler *s, const SelfWait *wait);

/* See scheduler.h. */
void
wf_self_wait_begin(WfScheduler *s)
{
	if (!s->looks_for_self_waits)
		set_timer(s);
}

static void
set_timer(WfScheduler *s)
{
	WfTimer		timer = {.kind = WF_TIMER_SELF_WAIT,
		.at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
										  LOOK_INTERVAL_MS)
	};

	wf_timers_add(&s->timers, &timer);
	s->looks_for_self_waits = true;
}

/* See scheduler.h. */
void
wf_self_wait_look(WfScheduler *s)
{
	List	   *open = open_transactions(s);
	List	   *waits = NIL;
	HASH_SEQ_STATUS status;
	WfDrivenEntry *entry;
	ListCell   *lc;

	s->looks_for_self_waits = false;
	if (open == NIL)
		return;
	set_timer(s);
	hash_seq_init(&status, s->driven);
	while ((entry = hash_seq_search(&status)) != NULL)
		look_at_run(s, entry->run, open, &waits);
	foreach(lc, waits)
	{
		SelfWait   *wait = lfirst(lc);

		/* one after the other: what this one lets go, another may wait for */
		if (can_end(wait->transaction, waits))
			continue;
		condemn(s, wait);
		wait->condemned = true;
	}
}

/* Those that have a branch. */
static List *
open_transactions(WfScheduler *s)
{
	List	   *open = NIL;
	HASH_SEQ_STATUS status;
	WfDrivenEntry *entry;

	hash_seq_init(&status, s->driven);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		WfDrivenTransaction *t = entry->run->transaction;

		if (t != NULL && t->owner == entry->run && t->number != 0)
			open = lappend(open, t);
	}
	return open;
}

/* Which steps of a run wait for one of these transactions. */
static void
look_at_run(WfScheduler *s, WfDrivenRun *r, List *open, List **waits)
{
	TimestampTz now = GetCurrentTimestamp();
	int32		step;

	if (!shares_tree(r, open))
		return;
	for (step = 0; step < r->plan->nsteps; step++)
	{
		int			entry = r->steps[step].entry;
		TimestampTz since = 0;
		pid_t		pid = entry < 0 ? 0 : pid_of(s, entry, now, &since);
		WfDrivenTransaction *t = pid == 0 ? NULL :
			waits_for(s, r, pid, open);
		SelfWait   *wait;

		if (t == NULL)
			continue;
		wait = palloc0(sizeof(SelfWait));
		wait->run = r;
		wait->step = step;
		wait->entry = entry;
		wait->since = since;
		wait->transaction = t;
		*waits = lappend(*waits, wait);
	}
}

static bool
shares_tree(const WfDrivenRun *r, const List *open)
{
	ListCell   *lc;

	foreach(lc, open)
	{
		WfDrivenTransaction *t = lfirst(lc);

		if (t->owner->run.root_run_id == r->run.root_run_id)
			return true;
	}
	return false;
}

/* The process that has executed a step for a while; 0: there is none. */
static pid_t
pid_of(WfScheduler *s, int entry, TimestampTz now, TimestampTz *since)
{
	WfDatabase *database = s->database;
	WfEntry    *e = &database->entries[entry];
	pid_t		pid = 0;

	LWLockAcquire(&database->lock, LW_SHARED);
	*since = wf_entry_step_since(e);
	if (e->state == WF_ENTRY_TAKEN && e->slot >= 0 &&
		(e->kind == WF_ENTRY_STEP ||
		 (e->kind == WF_ENTRY_RUN && e->current_step >= 0)) &&
		TimestampDifferenceExceeds(*since, now, EXECUTES_FOR_MS))
		pid = wf_shared->slots[e->slot].pid;
	LWLockRelease(&database->lock);
	return pid;
}

/* The transaction of its own tree that a process waits for, or NULL. */
static WfDrivenTransaction *
waits_for(WfScheduler *s, const WfDrivenRun *r, pid_t pid, List *open)
{
	int			pids[MAX_FOLLOWED];
	int			npids = 1;
	int			i;
	ListCell   *lc;

	pids[0] = pid;
	for (i = 0; i < npids; i++)
		npids = add_blockers(pids, npids, pids[i]);
	foreach(lc, open)
	{
		WfDrivenTransaction *t = lfirst(lc);

		if (t->owner->run.root_run_id != r->run.root_run_id ||
			t->branch < 0 || t->branch_gone)
			continue;
		for (i = 1; i < npids; i++)
		{
			/* a prepared transaction that blocks has no process */
			if (pids[i] != 0 &&
				wf_shared->slots[t->branch].pid == pids[i])
				return t;
		}
	}
	return NULL;
}

/* Add those that block a process to the array; their number then. */
static int
add_blockers(int *pids, int npids, int pid)
{
	ArrayType  *array =
	DatumGetArrayTypeP(DirectFunctionCall1(pg_blocking_pids,
										   Int32GetDatum(pid)));
	Datum	   *blockers;
	int			n;
	int			i;

	deconstruct_array(array, INT4OID, sizeof(int32), true, TYPALIGN_INT,
					  &blockers, NULL, &n);
	for (i = 0; i < n && npids < MAX_FOLLOWED; i++)
	{
		int			j = 0;

		while (j < npids && pids[j] != DatumGetInt32(blockers[i]))
			j++;
		if (j == npids)
			pids[npids++] = DatumGetInt32(blockers[i]);
	}
	return npids;
}

/* Can the transaction end although all these steps wait? */
static bool
can_end(const WfDrivenTransaction *t, const List *waits)
{
	ListCell   *lc;

	if (t->state.executing > 0 || t->state.state != WF_TRANSACTION_ACTIVE ||
		goes_on(t->owner, waits))
		return true;
	foreach(lc, t->heirs)
	{
		if (goes_on(lfirst(lc), waits))
			return true;
	}
	return false;
}

/* Is there a step of the run that is not behind one of those that wait? */
static bool
goes_on(const WfDrivenRun *r, const List *waits)
{
	int32		step;

	if (r->stopping || wf_machine_paused(r->machine))
		return true;
	for (step = 0; step < r->plan->nsteps; step++)
	{
		if (wf_machine_waits_for_condition(r->machine, step) ||
			(wf_machine_step_status(r->machine, step) == WF_STEP_RUNNING &&
			 !is_behind(r, step, waits)))
			return true;
	}
	return false;
}

/*
 * A running step waits, or its child run does, or that shares the transaction
 * and is looked at by itself.
 */
static bool
is_behind(const WfDrivenRun *r, int32 step, const List *waits)
{
	int64		child_run_id = r->steps[step].child_run_id;
	ListCell   *lc;

	foreach(lc, waits)
	{
		const SelfWait *wait = lfirst(lc);
		const WfDrivenRun *above = wait->run;

		if (wait->condemned)
			continue;
		if (above == r && wait->step == step)
			return true;
		for (; child_run_id != 0 && above != NULL; above = above->parent)
		{
			if (above->run_id == child_run_id)
				return true;
		}
	}
	foreach(lc, r->transaction->heirs)
	{
		if (((const WfDrivenRun *) lfirst(lc))->run_id == child_run_id)
			return true;
	}
	return false;
}

/* Let the step fail. */
static void
condemn(WfScheduler *s, const SelfWait *wait)
{
	const WfDrivenRun *r = wait->run;
	const WfDrivenTransaction *t = wait->transaction;
	dsa_pointer verdict =
	wf_area_put_error(s->area, NULL,
					  psprintf("step \"%s\" of package \"%s\" waits for a lock of the package transaction of its own run, in which %s has worked and which cannot end before",
							   r->plan->steps[wait->step].name, r->plan->name,
							   t->last_step == NULL ? "nobody" : t->last_step));

	if (!DsaPointerIsValid(verdict))
		return;					/* there is no memory now: the next time */
	if (!wf_entry_condemn(s->database, wait->entry, wait->since, verdict))
		wf_area_free(s->area, &verdict);
}
