/*-------------------------------------------------------------------------
 *
 * driver_child.c
 *	  Child runs of runs that the scheduler drives, and their sessions.
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
#include "errors.h"
#include "guc.h"
#include "machine.h"
#include "restart.h"
#include "rights.h"
#include "driver.h"
#include "scheduler.h"
#include "variables.h"

/* A package step that waits for sessions for its child. */
typedef struct WaitingChild
{
	int64		run_id;			/* of the parent */
	int32		step;
	int32		attempt;
} WaitingChild;

/* The child run that a new one is a restart of. */
typedef struct EarlierChild
{
	WfRun		run;			/* run_id 0: there is none */
	bool		use_current_version;
} EarlierChild;

static int	bound_of(const WfPlan *plan, int level, bool inherits);
static const WfPlan *current_plan(const WfPackageRow *package);
static void adopt_child(WfScheduler *s, WfDrivenRun *r, const WfAction *action,
						const WfRun *child);
static void begin_child(WfScheduler *s, WfDrivenRun *r,
						const WfAction *action);
static char *refuse_plan(WfDrivenRun *r, int32 step,
						 const WfPackageRow *package, const WfPlan *plan,
						 int *sqlstate);
static bool find_sessions(WfScheduler *s, WfDrivenRun *r,
						  const WfAction *action, const WfPlan *plan,
						  const WfRun *adopted);
static void refuse_child(WfScheduler *s, WfDrivenRun *r,
						 const WfAction *action, const WfPlan *plan,
						 const WfRun *adopted);
static Jsonb *child_variables(WfDrivenRun *r, int32 step,
							  const WfPlan *plan);
static char *wrong_variables(WfDrivenRun *r, int32 step, const WfPlan *plan);
static bool may_start_child(WfDrivenRun *r, const char *name,
							WfPackageRow *package, int *sqlstate,
							char **message);
static int	sessions_above(const WfDrivenRun *r);
static bool draw_sessions(WfScheduler *s, WfDrivenRun *r, int32 step,
						  int need);
static void make_child_run(WfDrivenRun *r, const WfAction *action,
						   const WfPackageRow *package, const WfPlan *plan,
						   const EarlierChild *earlier, WfRun *child);
static void list_earlier_children(WfDrivenRun *r, const WfRestart *restart);
static void find_earlier_child(WfDrivenRun *r, const WfAction *action,
							   WfPackageRow *package, EarlierChild *earlier);
static bool awaits_child(WfScheduler *s, const WfDrivenRun *r,
						 const WfAction *action);
static void hand_out_child(WfScheduler *s, WfDrivenRun *r, const WfRun *child,
						   bool replay);
static void set_timeout(WfScheduler *s, WfDrivenRun *r, const WfRun *child);

/* See scheduler.h. */
bool
wf_driver_is_inline(const WfPlan *plan)
{
	return plan->inline_run && wf_inline_driver;
}

/* See scheduler.h. */
int
wf_driver_bound(const WfPlan *plan)
{
	return bound_of(plan, 1, false);
}

/*
 * bound_of
 *		Own sessions and those of the largest child.  A child that does not
 *		exist fails its step when it is started; one so deep that it cannot be
 *		started counts nothing.
 */
static int
bound_of(const WfPlan *plan, int level, bool inherits)
{
	int			largest = 0;
	int			i;

	if (wf_driver_is_inline(plan) && !inherits)
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
			largest = Max(largest,
						  bound_of(child, level + 1,
								   plan->steps[i].joins &&
								   child->use_transactions));
	}
	return largest + (inherits ? plan->sessions_inheriting :
					  plan->sessions);
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

/* Start the child run of a package step, or go on with the one it has. */
void
wf_driver_start_child(WfScheduler *s, WfDrivenRun *r, const WfAction *action)
{
	WfRun		child;

	if (wf_driver_open_child(s, r, action->step, action->attempt, &child))
		adopt_child(s, r, action, &child);
	else
		begin_child(s, r, action);
}

/* A child run that was started before and is still open goes on. */
static void
adopt_child(WfScheduler *s, WfDrivenRun *r, const WfAction *action,
			const WfRun *child)
{
	const WfPlan *plan = wf_plan_get(child->package_id, child->version);

	if (wf_driver_await_attempt(s, r, child))
		set_timeout(s, r, child);
	else if (find_sessions(s, r, action, plan, child))
	{
		wf_driver_forget_open_child(s, child);
		hand_out_child(s, r, child, true);
	}
}

/* Make a child run, unless something is in its way. */
static void
begin_child(WfScheduler *s, WfDrivenRun *r, const WfAction *action)
{
	const WfPlanStep *step = &r->plan->steps[action->step];
	WfPackageRow package;
	EarlierChild earlier = {0};
	const WfPlan *plan;
	WfRun		child;
	int			sqlstate;
	char	   *message;

	if (!may_start_child(r, step->command, &package, &sqlstate, &message))
	{
		wf_driver_write_and_end_step(s, r, action->step, WF_STEP_FAILED,
									 sqlstate, message);
		return;
	}
	if (step->variables != NULL &&
		r->sessions[action->step].variables == NULL)
	{
		wf_driver_hand_out_query(s, r, action, WF_ENTRY_VARIABLES);
		return;
	}
	if (!wf_catalog_try_lock_package(package.package_id))
	{
		wf_driver_wait_for_child(s, r, action);	/* somebody edits it */
		s->retry_soon = true;
		return;
	}
	find_earlier_child(r, action, &package, &earlier);
	plan = current_plan(&package);
	message = refuse_plan(r, action->step, &package, plan, &sqlstate);
	if (message != NULL)
		wf_driver_write_and_end_step(s, r, action->step, WF_STEP_FAILED,
									 sqlstate, message);
	else if (find_sessions(s, r, action, plan, NULL))
	{
		make_child_run(r, action, &package, plan, &earlier, &child);
		hand_out_child(s, r, &child, false);
	}
}

/* Why a child with this plan cannot be started here; NULL: it can. */
static char *
refuse_plan(WfDrivenRun *r, int32 step, const WfPackageRow *package,
			const WfPlan *plan, int *sqlstate)
{
	char	   *message = wrong_variables(r, step, plan);

	*sqlstate = ERRCODE_INVALID_PARAMETER_VALUE;
	if (message != NULL)
		return message;
	*sqlstate = ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
	if (!plan->enabled)
		return psprintf("package \"%s\" is disabled", plan->name);
	*sqlstate = ERRCODE_INSUFFICIENT_PRIVILEGE;
	if (package->owner != r->run.owner && wf_driver_inherits(r, step, plan))
		return psprintf("package \"%s\" cannot inherit the transaction of package \"%s\", which has another owner",
						plan->name, r->plan->name);
	return NULL;
}

/*
 * find_sessions
 *		Draw the sessions that a child needs, one adopted or not made yet
 *		(NULL).  False if it is refused, or has to wait for them.
 */
static bool
find_sessions(WfScheduler *s, WfDrivenRun *r, const WfAction *action,
			  const WfPlan *plan, const WfRun *adopted)
{
	int			need = bound_of(plan, r->level + 1,
								wf_driver_inherits(r, action->step, plan));

	if (need + sessions_above(r) > wf_max_workers)
		refuse_child(s, r, action, plan, adopted);
	else if (!draw_sessions(s, r, action->step, need))
		wf_driver_wait_for_child(s, r, action);
	else
		return true;
	return false;
}

/* See driver.h. */
bool
wf_driver_inherits(const WfDrivenRun *r, int32 step, const WfPlan *plan)
{
	return plan->use_transactions &&
		wf_machine_step_transaction(r->machine, step) != 0;
}

/* A child, adopted or not made yet (NULL), needs more than there can be. */
static void
refuse_child(WfScheduler *s, WfDrivenRun *r, const WfAction *action,
			 const WfPlan *plan, const WfRun *adopted)
{
	char	   *message = psprintf("package \"%s\" needs more sessions than workers there can be",
								   plan->name);

	if (adopted == NULL)
	{
		wf_driver_write_and_end_step(s, r, action->step, WF_STEP_FAILED,
									 ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
									 message);
		return;
	}
	wf_driver_forget_open_child(s, adopted);
	wf_scheduler_end_unstarted(s, adopted, WF_RUN_FAILED,
							   ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
							   message, InvalidOid, NULL, false);
	wf_driver_step_ended(s, r, action->step, WF_STEP_FAILED,
						 ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, NULL, message);
}

/* What a child gets of variables. */
static Jsonb *
child_variables(WfDrivenRun *r, int32 step, const WfPlan *plan)
{
	return r->sessions[step].variables != NULL ?
		r->sessions[step].variables :
		wf_variables_for_child(plan, r->variables);
}

/* Why a child cannot be started with its variables; NULL: it can. */
static char *
wrong_variables(WfDrivenRun *r, int32 step, const WfPlan *plan)
{
	Jsonb	   *given = child_variables(r, step, plan);
	const char *name;

	if (given != NULL && (name = wf_variables_undeclared(plan, given)) != NULL)
		return psprintf("package \"%s\" does not declare variable \"%s\"",
						plan->name, name);
	if ((name = wf_variables_missing(plan, given)) != NULL)
		return psprintf("package \"%s\" requires variable \"%s\"",
						plan->name, name);
	return NULL;
}

/* The step waits until its child can be started. */
void
wf_driver_wait_for_child(WfScheduler *s, WfDrivenRun *r, const WfAction *action)
{
	MemoryContext old = MemoryContextSwitchTo(s->context);
	WaitingChild *waiting = palloc(sizeof(WaitingChild));

	waiting->run_id = r->run_id;
	waiting->step = action->step;
	waiting->attempt = action->attempt;
	s->waiting = lappend(s->waiting, waiting);
	MemoryContextSwitchTo(old);
}

/* Event: an entry of kind VARIABLES is done. */
void
wf_driver_variables_done(WfScheduler *s, int entry)
{
	WfEntry    *e = &s->database->entries[entry];
	WfDrivenRun *r = wf_driver_find(s, e->run_id);
	WfAction	action = {.type = WF_ACT_CHILD, .step = e->step,
	.attempt = e->attempt};
	MemoryContext old;
	char	   *path;
	char	   *message;

	if (r == NULL)
		return;
	wf_area_get_error(s->area, e->error, &path, &message);
	if (e->cancel || wf_machine_paused(r->machine))
	{
		wf_driver_not_begun(s, r, e->step);
		return;
	}
	if (e->status != WF_STEP_SUCCEEDED)
	{
		wf_driver_write_and_end_step(s, r, e->step, WF_STEP_FAILED,
									 e->sqlstate, message);
		return;
	}
	r->steps[e->step].entry = -1;
	old = MemoryContextSwitchTo(r->context);
	r->sessions[e->step].variables = wf_area_get_jsonb(s->area,
													   e->set_variables);
	MemoryContextSwitchTo(old);
	wf_scheduler_begin(s);
	wf_driver_start_child(s, r, &action);
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
	if (!wf_rights_may_start(r->run.owner, package))
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
		sum += r->own_sessions;
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

/* See driver.h.  What is being stopped waits for nobody. */
void
wf_driver_draw_sessions(WfScheduler *s, WfDrivenRun *r, int32 step,
						const WfPlan *plan)
{
	int			need = Min(bound_of(plan, r->level + 1,
									wf_driver_inherits(r, step, plan)),
						   wf_max_workers);

	if (draw_sessions(s, r, step, need))
		return;
	r->sessions[step].added = r->sessions[step].drawn = need;
	s->reserved += need;
	r->reserved += need;
	r->used += need;
}

void
wf_driver_give_back_sessions(WfScheduler *s, WfDrivenRun *r, int32 step)
{
	s->reserved -= r->sessions[step].added;
	r->reserved -= r->sessions[step].added;
	r->used -= r->sessions[step].drawn;
	s->given_back |= r->sessions[step].drawn > 0;
	memset(&r->sessions[step], 0, sizeof(ChildSessions));
}

/*
 * find_earlier_child
 *		In a restarted run, the child run that the new one is a restart of;
 *		*earlier stays as it is if there is none.  As long as nobody asks for
 *		the current version and the package has the same owner, the version is
 *		the one that the earlier child executed.  Another attempt of the step
 *		begins anew.
 */
static void
find_earlier_child(WfDrivenRun *r, const WfAction *action,
				   WfPackageRow *package, EarlierChild *earlier)
{
	WfRun		child;
	WfRestart	restart;
	int64		run_id;

	if (r->run.restart_of == 0 || action->attempt != 1 ||
		!wf_history_read_restart(r->run.restart_of, &restart))
		return;
	if (r->earlier_children == NULL)
		list_earlier_children(r, &restart);
	run_id = r->earlier_children[action->step];
	if (run_id == 0 || !wf_history_read_run(run_id, &child) ||
		child.package_id != package->package_id)
		return;
	earlier->run = child;
	earlier->use_current_version = restart.use_current_version;
	if (!restart.use_current_version && child.owner == package->owner)
		package->version = child.version;
}

/* Find out once which child runs a restarted run is to restart. */
static void
list_earlier_children(WfDrivenRun *r, const WfRestart *restart)
{
	Size		size = r->plan->nsteps * sizeof(int64);
	WfRun		earlier;
	WfTakeOver *take;

	r->earlier_children = MemoryContextAllocZero(r->context, size);
	if (!wf_history_read_run(r->run.restart_of, &earlier))
		return;
	take = wf_restart_analyse(&earlier, r->plan, restart->from_step);
	memcpy(r->earlier_children, take->children, size);
}

/* Insert the row of a child run, a restart of an earlier one or not. */
static void
make_child_run(WfDrivenRun *r, const WfAction *action,
			   const WfPackageRow *package, const WfPlan *plan,
			   const EarlierChild *earlier, WfRun *child)
{
	WfTakeOver *take = NULL;
	WfRestart	restart = {.run_id = earlier->run.run_id};

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
	child->variables = child_variables(r, action->step, plan);
	child->attempt = 1;
	if (restart.run_id != 0)
	{
		take = wf_restart_analyse(&earlier->run, plan, NULL);
		child->restart_of = restart.run_id;
		child->variables = wf_restart_variables(take, child->variables);
		restart.restarted_as = child->run_id;
		restart.use_current_version = earlier->use_current_version;
	}
	wf_catalog_mark_version_used(package->package_id, package->version);
	wf_history_insert_run(child);
	if (take != NULL)
	{
		wf_restart_record(take, &restart);
		CommandCounterIncrement();	/* whoever drives it reads its record */
	}
}

/* See driver.h.  One that was started before and is still open goes on. */
bool
wf_driver_open_child(WfScheduler *s, const WfDrivenRun *r, int32 step,
					 int32 attempt, WfRun *child)
{
	WfOpenChild key = {r->run_id, step, attempt, 0};
	WfOpenChild *found = hash_search(s->children, &key, HASH_FIND, NULL);

	return found != NULL && wf_history_read_run(found->run_id, child);
}

/* See driver.h. */
int
wf_driver_count_open_children(WfScheduler *s, int64 run_id)
{
	HASH_SEQ_STATUS status;
	WfOpenChild *child;
	int			n = 0;

	hash_seq_init(&status, s->children);
	while ((child = hash_seq_search(&status)) != NULL)
		n += child->parent_run_id == run_id;
	return n;
}

/* See driver.h. */
void
wf_driver_forget_open_child(WfScheduler *s, const WfRun *child)
{
	WfOpenChild key = {child->parent_run_id, child->parent_step,
	child->parent_attempt, 0};

	hash_search(s->children, &key, HASH_REMOVE, NULL);
}

/* Give a child run to whoever carries it out. */
static void
hand_out_child(WfScheduler *s, WfDrivenRun *r, const WfRun *child,
			   bool replay)
{
	const WfPlan *plan = wf_plan_get(child->package_id, child->version);
	bool		inherits = wf_driver_inherits(r, child->parent_step, plan);
	TimestampTz started_at = wf_history_requested_at(child);
	TransactionId xid;
	bool		paused = replay &&
		wf_history_last_command(child->run_id, &xid) == WF_ASKED_PAUSE;
	int			entry = -1;
	Oid			stopped_by;
	const char *reason;

	if (wf_driver_is_inline(plan) && !inherits &&
		!wf_interruption_fails(s, child->run_id) &&
		!wf_history_read_stop(child->run_id, &stopped_by, &reason))
		entry = wf_entry_alloc(s->database, true);
	LWLockAcquire(&r->live->lock, LW_EXCLUSIVE);
	r->steps[child->parent_step].entry = entry;
	r->steps[child->parent_step].child_run_id = child->run_id;
	r->steps[child->parent_step].started_at = started_at;
	LWLockRelease(&r->live->lock);
	s->highest = Max(s->highest, child->run_id);
	set_timeout(s, r, child);
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
		e->parent_transaction_id =
			r->steps[child->parent_step].transaction_id;
		e->replay = replay;
		e->pause = paused;
		wf_scheduler_hand_out(s, entry, WF_READY_GOING, -1);
		return;
	}
	wf_driver_begin(s, child, replay, r->sessions[child->parent_step].drawn,
					inherits, paused);
	if (paused)
		wf_driver_pause(s, wf_driver_find(s, child->run_id), true);
}

/* The time of a package step counts from the begin of its child run, and is
 * that of all attempts that it makes. */
static void
set_timeout(WfScheduler *s, WfDrivenRun *r, const WfRun *child)
{
	int64		timeout_ms = r->plan->steps[child->parent_step].timeout_ms;
	WfTimer		timer = {.kind = WF_TIMER_CHILD_TIMEOUT, .run_id = r->run_id,
	.step = child->parent_step, .attempt = child->parent_attempt};

	if (timeout_ms == 0)
		return;
	timer.at = TimestampTzPlusMilliseconds(wf_history_requested_at(child),
										   timeout_ms);
	wf_timers_add(&s->timers, &timer);
}

/* See driver.h. */
void
wf_driver_stop_waiting(WfScheduler *s, const WfDrivenRun *r, int32 step)
{
	ListCell   *lc;

	foreach(lc, s->waiting)
	{
		WaitingChild *w = lfirst(lc);

		if (w->run_id != r->run_id || w->step != step)
			continue;
		s->waiting = foreach_delete_current(s->waiting, lc);
		pfree(w);
	}
}

/* True if this attempt of a package step is in progress without a child that
 * anybody has in hand. */
static bool
awaits_child(WfScheduler *s, const WfDrivenRun *r, const WfAction *action)
{
	const WfLiveStep *step = &r->steps[action->step];

	return wf_machine_step_status(r->machine, action->step) ==
		WF_STEP_RUNNING &&
		wf_machine_step_attempt(r->machine, action->step) ==
		action->attempt && step->entry < 0 &&
		wf_driver_find(s, step->child_run_id) == NULL;
}

/* Children that wait for sessions may find them now. */
void
wf_driver_retry_waiting(WfScheduler *s)
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

		if (r != NULL && wf_machine_paused(r->machine) &&
			awaits_child(s, r, &action))
			wf_driver_wait_for_child(s, r, &action);
		else if (r != NULL && awaits_child(s, r, &action))
			wf_driver_start_child(s, r, &action);
		pfree(w);
	}
	list_free(waiting);
}
