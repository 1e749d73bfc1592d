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
 * A child run is a run of its own, made here (its row commits with the turn)
 * and then handed to a worker or driven here as well.  Its end commits
 * together with the outcome of the step that started it, whoever writes it.
 *
 * Sessions.  A run holds a reservation for all sessions that it may need at
 * one time, its own and those of its largest child, so runs never wait for
 * each other's workers while they hold some.  A child draws on what its
 * parent has reserved beyond its own sessions, and on what nobody has
 * reserved; if that is not enough it waits for another child to end.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "area.h"
#include "catalog.h"
#include "guc.h"
#include "machine.h"
#include "scheduler.h"
#include "variables.h"

/* What a package step in progress has drawn. */
typedef struct ChildSessions
{
	int			drawn;			/* sessions of the child, from the parent's
								 * reservation */
	int			added;			/* of them: added to it for this child */
} ChildSessions;

struct WfDrivenRun
{
	int64		run_id;			/* the key */
	WfRun		run;
	const WfPlan *plan;
	MemoryContext context;
	WfDrivenRun *parent;
	int			level;			/* 1: not a child */
	WfRecord   *record;			/* NULL: nothing is on record */
	Jsonb	   *variables;
	dsa_pointer shared_variables;

	WfLiveRun  *live;
	WfMachine  *machine;		/* in the area, under live->lock */
	WfLiveStep *steps;			/* likewise */
	int		   *slots;			/* of each connection: its worker, or -1 */
	ChildSessions *sessions;	/* of each step */
	int			reserved;		/* sessions */
	int			used;			/* own ones, and those drawn by children */

	List	   *backlog;		/* WfAction: there was no free entry */
	bool		stopping;
	bool		parent_stops;
	bool		force;
	Oid			stopped_by;
	char	   *stop_reason;
	char	   *error_path;
	int			sqlstate;
	char	   *message;

	bool		dirty;
	dlist_node	dirty_link;
};

/* A package step that waits for sessions for its child. */
typedef struct WaitingChild
{
	int64		run_id;			/* of the parent */
	int32		step;
	int32		attempt;
} WaitingChild;

/* Key of WfScheduler.children. */
typedef struct ChildKey
{
	int64		parent_run_id;
	int32		step;
	int32		attempt;
} ChildKey;

typedef struct DrivenEntry
{
	int64		run_id;
	WfDrivenRun *run;
} DrivenEntry;

static void make_live(WfScheduler *s, WfDrivenRun *r);
static void mark_dirty(WfScheduler *s, WfDrivenRun *r);
static bool next_action(WfDrivenRun *r, WfAction *action);
static void carry_on(WfScheduler *s, WfDrivenRun *r);
static void record_passed(WfDrivenRun *r, const WfAction *action);
static void execute(WfScheduler *s, WfDrivenRun *r, const WfAction *action);
static bool answered(WfScheduler *s, WfDrivenRun *r, const WfAction *action);
static void hand_out_step(WfScheduler *s, WfDrivenRun *r,
						  const WfAction *action);
static void step_ended(WfScheduler *s, WfDrivenRun *r, int32 step,
					   WfStepStatus status, int sqlstate, const char *path,
					   const char *message);
static void write_and_end_step(WfScheduler *s, WfDrivenRun *r, int32 step,
							   WfStepStatus status, int sqlstate,
							   const char *message);
static void start_child(WfScheduler *s, WfDrivenRun *r,
						const WfAction *action);
static bool may_start_child(WfDrivenRun *r, const char *name,
							WfPackageRow *package, int *sqlstate,
							char **message);
static void wait_for_child(WfScheduler *s, WfDrivenRun *r,
						   const WfAction *action);
static bool draw_sessions(WfScheduler *s, WfDrivenRun *r, int32 step,
						  int need);
static void give_back_sessions(WfScheduler *s, WfDrivenRun *r, int32 step);
static int	sessions_above(const WfDrivenRun *r);
static void make_child_run(WfDrivenRun *r, const WfAction *action,
						   const WfPackageRow *package, const WfPlan *plan,
						   WfRun *child);
static bool adopt_child(WfScheduler *s, WfDrivenRun *r,
						const WfAction *action, WfRun *child);
static void hand_out_child(WfScheduler *s, WfDrivenRun *r, const WfRun *child,
						   bool replay);
static void retry_waiting(WfScheduler *s);
static void retry_backlog(WfScheduler *s, WfDrivenRun *r);
static void terminate_workers(WfScheduler *s, WfDrivenRun *r);
static void cancel_step(WfScheduler *s, WfDrivenRun *r,
						const WfAction *action);
static void cancel_child(WfScheduler *s, WfDrivenRun *r, int32 step);
static void end_run(WfScheduler *s, WfDrivenRun *r, const WfAction *action);
static void write_end(WfDrivenRun *r, const WfAction *action);
static void release(WfScheduler *s, WfDrivenRun *r);
static const WfPlan *current_plan(const WfPackageRow *package);
static int	bound_of(const WfPlan *plan, int level);

/* Prepare. */
void
wf_driver_init(WfScheduler *s)
{
	HASHCTL		control = {0};

	control.keysize = sizeof(int64);
	control.entrysize = sizeof(DrivenEntry);
	control.hcxt = s->context;
	s->driven = hash_create("workflow driven runs", 64, &control,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	dlist_init(&s->dirty);
}

/* The run, if it is driven here. */
WfDrivenRun *
wf_driver_find(WfScheduler *s, int64 run_id)
{
	DrivenEntry *entry = hash_search(s->driven, &run_id, HASH_FIND, NULL);

	return entry == NULL ? NULL : entry->run;
}

/* See scheduler.h. */
int
wf_driver_bound(const WfPlan *plan)
{
	return bound_of(plan, 1);
}

/*
 * bound_of
 *		Own sessions and those of the largest child.  A child that does not
 *		exist fails its step when it is started; one so deep that it cannot be
 *		started counts nothing.
 */
static int
bound_of(const WfPlan *plan, int level)
{
	int			largest = 0;
	int			i;

	if (plan->inline_run)
		return 1;
	check_stack_depth();
	for (i = 0; i < plan->nsteps && level < wf_max_nesting_level; i++)
	{
		WfPackageRow package;
		const WfPlan *child;

		if (plan->steps[i].kind != WF_KIND_PACKAGE ||
			plan->steps[i].disabled ||
			largest >= wf_max_workers ||
			!wf_catalog_find_package(plan->steps[i].command, &package))
			continue;
		child = current_plan(&package);
		if (child->package_id != plan->package_id)
			largest = Max(largest, bound_of(child, level + 1));
	}
	return plan->sessions + largest;
}

/*
 * current_plan
 *		The plan of a package's current version.  Only a version that a run
 *		has used never changes, so only such a plan may be cached.
 */
static const WfPlan *
current_plan(const WfPackageRow *package)
{
	if (wf_catalog_version_used(package->package_id, package->version))
		return wf_plan_get(package->package_id, package->version);
	return wf_plan_compile(package->package_id, package->version,
						   wf_catalog_get_document(package->package_id,
												   package->version));
}

/* Drive a run. */
void
wf_driver_begin(WfScheduler *s, const WfRun *run, bool replay, int sessions)
{
	MemoryContext context = AllocSetContextCreate(s->context,
												  "workflow driven run",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	WfDrivenRun *r = palloc0(sizeof(WfDrivenRun));
	DrivenEntry *entry;
	int			i;

	r->run_id = run->run_id;
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
	r->used = r->plan->sessions;
	r->slots = palloc(sizeof(int) * Max(r->plan->nconnections, 1));
	for (i = 0; i < r->plan->nconnections; i++)
		r->slots[i] = -1;
	r->sessions = palloc0(sizeof(ChildSessions) * Max(r->plan->nsteps, 1));
	if (replay)
		r->record = wf_history_read_record(run->run_id);
	make_live(s, r);

	entry = hash_search(s->driven, &r->run_id, HASH_ENTER, NULL);
	entry->run = r;
	mark_dirty(s, r);
	MemoryContextSwitchTo(old);
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

	r->machine = wf_machine_init(dsa_get_address(s->area, machine), r->plan);
	r->steps = dsa_get_address(s->area, steps);
	for (i = 0; i < r->plan->nsteps; i++)
		r->steps[i].entry = -1;
	r->live = dshash_find_or_insert(s->live, &r->run_id, &found);
	LWLockInitialize(&r->live->lock, wf_shared->area_tranche);
	r->live->package_id = r->plan->package_id;
	r->live->version = r->plan->version;
	r->live->started_at = GetCurrentTimestamp();
	if (r->record != NULL && r->record->n > 0 &&
		r->record->outcomes[0].started_at != 0)
		r->live->started_at = r->record->outcomes[0].started_at;
	r->live->sqlstate = 0;
	r->live->error = InvalidDsaPointer;
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
		retry_waiting(s);
	} while (!dlist_is_empty(&s->dirty));
}

static bool
next_action(WfDrivenRun *r, WfAction *action)
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

	retry_backlog(s, r);
	while (next_action(r, &action))
	{
		CHECK_FOR_INTERRUPTS();
		switch (action.type)
		{
			case WF_ACT_RECORD:
				record_passed(r, &action);
				break;
			case WF_ACT_EXECUTE:
			case WF_ACT_CHILD:
				execute(s, r, &action);
				break;
			case WF_ACT_CANCEL:
				cancel_step(s, r, &action);
				break;
			case WF_ACT_END:
				end_run(s, r, &action);
				return;			/* r is no more */
		}
	}
}

/* A step ended without being executed. */
static void
record_passed(WfDrivenRun *r, const WfAction *action)
{
	WfStepOutcome outcome = {0};

	if (wf_history_find_outcome(r->record, action->step,
								action->attempt) != NULL)
		return;
	outcome.run_id = r->run_id;
	outcome.step = action->step;
	outcome.attempt = action->attempt;
	outcome.status = action->status;
	outcome.reason = action->reason;
	outcome.rows = -1;
	if (action->attempt > 0)
		outcome.started_at = outcome.finished_at = GetCurrentTimestamp();
	wf_history_insert_step_outcome(&outcome);
}

/* Start an attempt, unless it is on record. */
static void
execute(WfScheduler *s, WfDrivenRun *r, const WfAction *action)
{
	if (answered(s, r, action))
		return;
	if (action->type == WF_ACT_CHILD)
		start_child(s, r, action);
	else
		hand_out_step(s, r, action);
}

/* Answer an action from the record. */
static bool
answered(WfScheduler *s, WfDrivenRun *r, const WfAction *action)
{
	const WfStepOutcome *outcome =
	wf_history_find_outcome(r->record, action->step, action->attempt);

	if (outcome == NULL)
		return false;
	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	r->steps[action->step].started_at = outcome->started_at;
	LWLockRelease(&r->live->lock);
	step_ended(s, r, action->step, outcome->status, outcome->sqlstate, NULL,
			   outcome->message);
	return true;
}

/* Hand a step to a worker. */
static void
hand_out_step(WfScheduler *s, WfDrivenRun *r, const WfAction *action)
{
	int			connection = r->plan->steps[action->step].connection;
	int			slot = connection >= 0 ? r->slots[connection] : -1;
	int			entry = wf_entry_alloc(s->database, true);
	WfEntry    *e;

	if (entry < 0)
	{
		MemoryContext old = MemoryContextSwitchTo(r->context);
		WfAction   *copy = palloc(sizeof(WfAction));

		*copy = *action;
		r->backlog = lappend(r->backlog, copy);
		MemoryContextSwitchTo(old);
		return;
	}
	e = &s->database->entries[entry];
	e->kind = WF_ENTRY_STEP;
	e->role = r->run.owner;
	e->package_id = r->run.package_id;
	e->version = r->run.version;
	e->run_id = r->run_id;
	e->step = action->step;
	e->attempt = action->attempt;
	e->variables = r->shared_variables;
	e->bind = (connection >= 0 && slot < 0);

	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	r->steps[action->step].entry = entry;
	LWLockRelease(&r->live->lock);
	wf_scheduler_hand_out(s, entry, WF_READY_GOING, slot);
}

/* There may be free entries now for steps that found none. */
static void
retry_backlog(WfScheduler *s, WfDrivenRun *r)
{
	List	   *backlog = r->backlog;
	ListCell   *lc;

	r->backlog = NIL;
	foreach(lc, backlog)
	{
		hand_out_step(s, r, lfirst(lc));
		pfree(lfirst(lc));
	}
	list_free(backlog);
}

/* Feed the end of an attempt to the machine; its outcome is written. */
static void
step_ended(WfScheduler *s, WfDrivenRun *r, int32 step, WfStepStatus status,
		   int sqlstate, const char *path, const char *message)
{
	const char *name = r->plan->steps[step].name;

	if (status == WF_STEP_FAILED && r->message == NULL && message != NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(r->context);

		r->error_path = path == NULL ? pstrdup(name) :
			psprintf("%s/%s", name, path);
		r->sqlstate = sqlstate;
		r->message = pstrdup(message);
		MemoryContextSwitchTo(old);
	}
	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	if (r->message != NULL && r->live->sqlstate == 0)
	{
		r->live->sqlstate = r->sqlstate;
		r->live->error = wf_area_put_error(s->area, r->error_path,
										   r->message);
	}
	r->steps[step].entry = -1;
	r->steps[step].child_run_id = 0;
	r->steps[step].finished_at = GetCurrentTimestamp();
	wf_machine_step_ended(r->machine, step, status);
	LWLockRelease(&r->live->lock);
	give_back_sessions(s, r, step);
	mark_dirty(s, r);
}

/* Write the outcome of an attempt that no worker has written, and feed it. */
static void
write_and_end_step(WfScheduler *s, WfDrivenRun *r, int32 step,
				   WfStepStatus status, int sqlstate, const char *message)
{
	WfStepOutcome outcome = {0};

	wf_scheduler_begin(s);
	outcome.run_id = r->run_id;
	outcome.step = step;
	outcome.attempt = wf_machine_step_attempt(r->machine, step);
	outcome.started_at = r->steps[step].started_at;
	outcome.finished_at = GetCurrentTimestamp();
	outcome.rows = -1;
	outcome.status = status;
	outcome.sqlstate = sqlstate;
	outcome.message = message;
	wf_history_insert_step_outcome(&outcome);
	step_ended(s, r, step, status, sqlstate, NULL, message);
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
	if (e->bind)
		r->slots[r->plan->steps[e->step].connection] = e->slot;
	wf_area_get_error(s->area, e->error, &path, &message);
	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	r->steps[e->step].started_at = e->started_at;
	LWLockRelease(&r->live->lock);
	step_ended(s, r, e->step, e->status, e->sqlstate, path, message);
}

/* The worker at a step is gone without an outcome. */
void
wf_driver_step_lost(WfScheduler *s, int entry, int sqlstate,
					const char *message)
{
	WfEntry    *e = &s->database->entries[entry];
	WfDrivenRun *r = wf_driver_find(s, e->run_id);

	if (r == NULL)
		return;
	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	r->steps[e->step].started_at = e->started_at;
	LWLockRelease(&r->live->lock);
	write_and_end_step(s, r, e->step, e->cancel ? WF_STEP_CANCELLED :
					   WF_STEP_FAILED, sqlstate, message);
}

/* The worker of a session is gone: the next step on it finds another. */
void
wf_driver_session_lost(WfScheduler *s, int slot)
{
	HASH_SEQ_STATUS status;
	DrivenEntry *entry;

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

/* ---- child runs ---- */

/* Start the child run of a package step. */
static void
start_child(WfScheduler *s, WfDrivenRun *r, const WfAction *action)
{
	WfPackageRow package;
	const WfPlan *plan;
	WfRun		child;
	int			need;
	int			sqlstate;
	char	   *message;
	bool		adopted = adopt_child(s, r, action, &child);

	if (!adopted &&
		!may_start_child(r, r->plan->steps[action->step].command, &package,
						 &sqlstate, &message))
	{
		write_and_end_step(s, r, action->step, WF_STEP_FAILED, sqlstate,
						   message);
		return;
	}
	if (!adopted && !wf_catalog_try_lock_package(package.package_id))
	{
		wait_for_child(s, r, action);	/* somebody edits it */
		s->retry_soon = true;
		return;
	}
	plan = adopted ? wf_plan_get(child.package_id, child.version) :
		current_plan(&package);
	need = bound_of(plan, r->level + 1);
	if (need + sessions_above(r) > wf_max_workers)
	{
		message = psprintf("package \"%s\" needs more sessions than workers there can be",
						   plan->name);
		if (adopted)
			wf_scheduler_end_unstarted(s, &child, WF_RUN_FAILED,
									   ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
									   message, InvalidOid, NULL, false);
		write_and_end_step(s, r, action->step, WF_STEP_FAILED,
						   ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, message);
		return;
	}
	if (!draw_sessions(s, r, action->step, need))
	{
		wait_for_child(s, r, action);
		return;
	}
	if (!adopted)
		make_child_run(r, action, &package, plan, &child);
	hand_out_child(s, r, &child, adopted);
}

/* The step waits until its child can be started. */
static void
wait_for_child(WfScheduler *s, WfDrivenRun *r, const WfAction *action)
{
	MemoryContext old = MemoryContextSwitchTo(s->context);
	WaitingChild *waiting = palloc(sizeof(WaitingChild));

	waiting->run_id = r->run_id;
	waiting->step = action->step;
	waiting->attempt = action->attempt;
	s->waiting = lappend(s->waiting, waiting);
	MemoryContextSwitchTo(old);
}

/* Whether the child exists, and the parent's owner may start it here. */
static bool
may_start_child(WfDrivenRun *r, const char *name, WfPackageRow *package,
				int *sqlstate, char **message)
{
	if (!wf_catalog_find_package(name, package))
	{
		*sqlstate = ERRCODE_UNDEFINED_OBJECT;
		*message = psprintf("package \"%s\" does not exist", name);
		return false;
	}
	if (!has_privs_of_role(r->run.owner, package->owner))
	{
		*sqlstate = ERRCODE_INSUFFICIENT_PRIVILEGE;
		*message = psprintf("permission denied for package \"%s\"", name);
		return false;
	}
	if (r->level >= wf_max_nesting_level)
	{
		*sqlstate = ERRCODE_STATEMENT_TOO_COMPLEX;
		*message = psprintf("packages are nested more than %d deep",
							wf_max_nesting_level);
		return false;
	}
	return true;
}

/* Sessions of the run and of those above it, which it cannot do without. */
static int
sessions_above(const WfDrivenRun *r)
{
	int			sum = 0;

	for (; r != NULL; r = r->parent)
		sum += r->plan->sessions;
	return sum;
}

/* Reserve sessions for a child; false if they are not there now. */
static bool
draw_sessions(WfScheduler *s, WfDrivenRun *r, int32 step, int need)
{
	int			missing = Max(0, r->used + need - r->reserved);

	if (missing > 0 && s->reserved + missing > wf_max_workers)
		return false;
	s->reserved += missing;
	r->reserved += missing;
	r->used += need;
	r->sessions[step].drawn = need;
	r->sessions[step].added = missing;
	return true;
}

static void
give_back_sessions(WfScheduler *s, WfDrivenRun *r, int32 step)
{
	s->reserved -= r->sessions[step].added;
	r->reserved -= r->sessions[step].added;
	r->used -= r->sessions[step].drawn;
	s->given_back |= r->sessions[step].drawn > 0;
	memset(&r->sessions[step], 0, sizeof(ChildSessions));
}

/* Insert the row of a child run. */
static void
make_child_run(WfDrivenRun *r, const WfAction *action,
			   const WfPackageRow *package, const WfPlan *plan, WfRun *child)
{
	memset(child, 0, sizeof(WfRun));
	child->run_id = wf_history_next_run_id();
	child->package_id = package->package_id;
	child->version = package->version;
	child->owner = package->owner;
	child->requested_by = r->run.requested_by;
	child->priority = r->run.priority;
	child->requested_at = GetCurrentTimestamp();
	child->parent_run_id = r->run_id;
	child->root_run_id = r->run.root_run_id;
	child->parent_step = action->step;
	child->parent_attempt = action->attempt;
	child->variables = wf_variables_for_child(plan, r->variables);
	wf_catalog_mark_version_used(package->package_id, package->version);
	wf_history_insert_run(child);
}

/* A child run that was started before and is still open goes on. */
static bool
adopt_child(WfScheduler *s, WfDrivenRun *r, const WfAction *action,
			WfRun *child)
{
	struct
	{
		ChildKey	key;
		int64		run_id;
	}		   *found;
	ChildKey	key = {r->run_id, action->step, action->attempt};

	found = hash_search(s->children, &key, HASH_FIND, NULL);
	return found != NULL && wf_history_read_run(found->run_id, child) &&
		!wf_history_run_ended(found->run_id);
}

/* Give a child run to whoever carries it out. */
static void
hand_out_child(WfScheduler *s, WfDrivenRun *r, const WfRun *child,
			   bool replay)
{
	const WfPlan *plan = wf_plan_get(child->package_id, child->version);
	int			entry = -1;

	if (plan->inline_run)
		entry = wf_entry_alloc(s->database, true);
	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	r->steps[child->parent_step].entry = entry;
	r->steps[child->parent_step].child_run_id = child->run_id;
	r->steps[child->parent_step].started_at = child->requested_at;
	LWLockRelease(&r->live->lock);
	s->highest = Max(s->highest, child->run_id);
	if (entry >= 0)
	{
		WfEntry    *e = &s->database->entries[entry];

		e->kind = WF_ENTRY_RUN;
		e->role = child->owner;
		e->package_id = child->package_id;
		e->version = child->version;
		e->run_id = child->run_id;
		e->parent_run_id = child->parent_run_id;
		e->parent_step = child->parent_step;
		e->replay = replay;
		wf_scheduler_hand_out(s, entry, WF_READY_GOING, -1);
	}
	else
		wf_driver_begin(s, child, replay,
						r->sessions[child->parent_step].drawn);
}

/* Children that wait for sessions may find them now. */
static void
retry_waiting(WfScheduler *s)
{
	List	   *waiting = s->waiting;
	ListCell   *lc;

	if (waiting == NIL)
		return;
	wf_scheduler_begin(s);
	s->waiting = NIL;
	foreach(lc, waiting)
	{
		WaitingChild *w = lfirst(lc);
		WfDrivenRun *r = wf_driver_find(s, w->run_id);
		WfAction	action = {.type = WF_ACT_CHILD, .step = w->step,
		.attempt = w->attempt};

		if (r != NULL &&
			wf_machine_step_status(r->machine, w->step) == WF_STEP_RUNNING)
			start_child(s, r, &action);
		pfree(w);
	}
	list_free(waiting);
}

/* A child run that another process carried out has ended. */
void
wf_driver_child_ended(WfScheduler *s, int64 parent_run_id, int32 parent_step,
					  WfStepStatus status, int sqlstate, const char *path,
					  const char *message)
{
	WfDrivenRun *r = wf_driver_find(s, parent_run_id);

	if (r != NULL)
		step_ended(s, r, parent_step, status, sqlstate, path, message);
}

/* ---- stop and end ---- */

/* Stop a run. */
void
wf_driver_stop(WfScheduler *s, WfDrivenRun *r, Oid stopped_by,
			   const char *reason, bool force, bool parent_stops)
{
	if (r->stopping)
	{
		if (force)
			terminate_workers(s, r);
		return;
	}
	r->force = force;
	r->stopping = true;
	r->parent_stops = parent_stops;
	r->stopped_by = stopped_by;
	if (reason != NULL)
		r->stop_reason = MemoryContextStrdup(r->context, reason);
	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	wf_machine_stop(r->machine);
	LWLockRelease(&r->live->lock);
	mark_dirty(s, r);
}

/* The run is stopping already, but its workers do not listen. */
static void
terminate_workers(WfScheduler *s, WfDrivenRun *r)
{
	int			i;

	for (i = 0; i < r->plan->nsteps; i++)
	{
		WfDrivenRun *child = wf_driver_find(s, r->steps[i].child_run_id);

		if (child != NULL)
			terminate_workers(s, child);
		else if (r->steps[i].entry >= 0)
			(void) wf_entry_cancel(s->database, r->steps[i].entry, true);
	}
}

/* Cancel an attempt in progress. */
static void
cancel_step(WfScheduler *s, WfDrivenRun *r, const WfAction *action)
{
	WfLiveStep *step = &r->steps[action->step];
	int			entry = step->entry;

	if (step->child_run_id != 0)
	{
		cancel_child(s, r, action->step);
		return;
	}
	if (entry >= 0 && !wf_entry_cancel(s->database, entry, r->force))
		return;					/* the worker will tell */
	if (entry >= 0)
		wf_entry_free(s->database, entry);
	else
	{
		/* it waits for a free entry, or for sessions */
		list_free_deep(r->backlog);
		r->backlog = NIL;
	}
	write_and_end_step(s, r, action->step, WF_STEP_CANCELLED,
					   ERRCODE_QUERY_CANCELED,
					   "the run was stopped before the step began");
}

/* Stop the child run of a package step. */
static void
cancel_child(WfScheduler *s, WfDrivenRun *r, int32 step)
{
	int64		run_id = r->steps[step].child_run_id;
	int			entry = r->steps[step].entry;
	WfDrivenRun *driven = wf_driver_find(s, run_id);
	WfEntry    *e;
	WfRun		child;

	if (driven != NULL)
	{
		wf_driver_stop(s, driven, r->stopped_by, r->stop_reason, r->force,
					   true);
		return;
	}
	if (entry < 0)
		return;
	e = &s->database->entries[entry];
	e->parent_stops = true;
	e->stopped_by = r->stopped_by;
	e->stop_reason = wf_area_put_text(s->area, r->stop_reason);
	if (!wf_entry_cancel(s->database, entry, r->force))
		return;
	wf_area_free(s->area, &e->stop_reason);
	wf_entry_free(s->database, entry);
	if (!wf_history_read_run(run_id, &child))
		elog(ERROR, "run " INT64_FORMAT " is not there", run_id);
	wf_scheduler_end_unstarted(s, &child, WF_RUN_CANCELLED, 0, NULL,
							   r->stopped_by, r->stop_reason, true);
	step_ended(s, r, step, WF_STEP_CANCELLED, 0, NULL, NULL);
}

/* The machine has come to its end. */
static void
end_run(WfScheduler *s, WfDrivenRun *r, const WfAction *action)
{
	WfStepStatus status = wf_history_step_status(action->run_status,
												 r->parent_stops);
	int			i;

	write_end(r, action);
	wf_scheduler_note_end(s, r->run_id);
	for (i = 0; i < r->plan->nconnections; i++)
	{
		int			entry;

		if (r->slots[i] < 0)
			continue;
		entry = wf_entry_alloc(s->database, true);
		if (entry < 0)
			elog(ERROR, "no free entry to release a session with");
		s->database->entries[entry].kind = WF_ENTRY_RELEASE;
		s->database->entries[entry].role = r->run.owner;
		wf_scheduler_hand_out(s, entry, WF_READY_GOING, r->slots[i]);
	}
	if (r->parent != NULL && action->run_status == WF_RUN_CANCELLED)
		step_ended(s, r->parent, r->run.parent_step, status,
				   ERRCODE_QUERY_CANCELED, NULL, WF_CHILD_CANCELLED);
	else if (r->parent != NULL)
		step_ended(s, r->parent, r->run.parent_step, status, r->sqlstate,
				   r->error_path, r->message);
	release(s, r);
}

static void
write_end(WfDrivenRun *r, const WfAction *action)
{
	WfRunOutcome outcome = {
		.run_id = r->run_id,
		.status = action->run_status,
		.started_at = r->live->started_at,
		.finished_at = GetCurrentTimestamp(),
		.failed_steps = action->failed_steps
	};

	if (action->nothing_to_run)
	{
		r->sqlstate = ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
		r->message = pstrdup(WF_NOTHING_TO_RUN);
	}
	if (outcome.status == WF_RUN_FAILED)
	{
		outcome.error_path = r->error_path;
		outcome.sqlstate = r->sqlstate;
		outcome.message = r->message;
	}
	if (outcome.status == WF_RUN_CANCELLED)
	{
		outcome.stopped_by = r->stopped_by;
		outcome.stop_reason = r->stop_reason;
	}
	wf_history_end_run(&r->run, &outcome, r->parent_stops);
}

/* Forget a run that has ended. */
static void
release(WfScheduler *s, WfDrivenRun *r)
{
	dsa_pointer machine = r->live->machine;
	dsa_pointer steps = r->live->steps;
	dsa_pointer error = r->live->error;

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
	hash_search(s->driven, &r->run_id, HASH_REMOVE, NULL);
	MemoryContextDelete(r->context);
}
