/*-------------------------------------------------------------------------
 *
 * restart.c
 *	  Restarts: what a run takes over of an earlier one.
 *
 * A restart is a run of its own.  It is made in one transaction with copies
 * of the outcomes that it takes over: they are on its record, as attempt 0 and
 * with the reason "restart", before it begins.  Whoever drives it reads its
 * record as after a crash and makes its machine with these steps marked, so
 * they are never executed, and nothing else has to know of restarts: not
 * recovery, not the views, and not the next restart, to which a step taken
 * over is a step that succeeded.  What such steps have set of the variables
 * is among those that the run is given.
 *
 * Taken over is what was committed: the steps that succeeded by themselves,
 * and those that succeeded in a package transaction which was committed.  What
 * worked in one that was rolled back is executed again, but a step after it
 * that committed by itself is not.  Steps of a run that inherited share the
 * fate of the owner's transaction; so does the package step that joined it,
 * which then starts its child run anew as a restart of the one that it had.
 * Excepted are
 *
 *	- those that ran because another step had failed: that step is executed
 *	  again, and they follow from how it ends now;
 *	- `from_step` and what follows it, by the constraints of the version that
 *	  the later run executes;
 *	- `finally` steps: each run has its own.
 *
 * Steps match by name.  A constraint that the later version has and the
 * earlier one had not makes nobody execute again what was committed.
 *
 * A package step that failed in the earlier run, or was rolled back, starts a child run which is a
 * restart of the child that it had then (driver_child.c); if it had none since
 * it was not reached, the one of the run before counts.
 *
 * There are three who restart: restart_job(), for the roots of run trees; the
 * driver, for the children of a restarted run; and the driver for a run that
 * failed while its package has attempts left (driver_retry.c).  A row of
 * run_restart keeps it to once a run.  The later run, its record and that row
 * are in one commit, so a crash leaves all of it or nothing:
 *
 *	- before the commit of restart_job()'s transaction: nothing;
 *	- after it: a queued run like any other;
 *	- in an automatic restart, before the commit of the earlier run's outcome:
 *	  an open run, which ends once more, and is then tried again;
 *	- after it: the next attempt, queued with a start_at, which is found by
 *	  the scan for open runs and waits for the rest of its delay.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "restart.h"
#include "variables.h"

/* How a step of the earlier run stands. */
typedef struct Earlier
{
	const WfStepOutcome *outcome;	/* its last one, or NULL */
	int64		child;			/* its last child run, or 0 */
	bool		sound;			/* it succeeded, and not due to a failure */
	bool		kept;			/* and what it did is committed */
	int32		open;			/* constraints not looked at yet */
	int32		nsound;			/* constraints that hold, from sound steps */
	int32		nother;			/* constraints that hold, from others */
} Earlier;

static Earlier *read_steps(const WfRun *run, const WfPlan *plan);
static bool is_committed(const WfStepOutcome *outcome);
static void judge_steps(const WfPlan *plan, Earlier *steps);
static void judge_step(const WfPlanStep *plan_step, Earlier *step);
static void follow_step(const WfPlan *plan, Earlier *steps, int32 source);
static bool holds(WfOn on, const WfStepOutcome *outcome);
static bool *steps_again(const WfPlan *plan, const char *from_step);
static WfTakeOver *analyse_before(const WfRun *run, const WfPlan *plan);
static void collect_variables(WfTakeOver *take);
static int	compare_ends(const void *a, const void *b);

/* See restart.h. */
WfTakeOver *
wf_restart_analyse(const WfRun *earlier, const WfPlan *plan,
				   const char *from_step)
{
	const WfPlan *earlier_plan = wf_plan_get(earlier->package_id,
											 earlier->version);
	Earlier    *steps = read_steps(earlier, earlier_plan);
	bool	   *again = steps_again(plan, from_step);
	WfTakeOver *take = palloc0(sizeof(WfTakeOver));
	WfTakeOver *before = NULL;
	int32		i;

	judge_steps(earlier_plan, steps);
	take->plan = plan;
	take->outcomes = palloc0(plan->nsteps * sizeof(WfStepOutcome *));
	take->children = palloc0(plan->nsteps * sizeof(int64));
	for (i = 0; i < plan->nsteps; i++)
	{
		int32		index = wf_plan_step_index(earlier_plan,
											   plan->steps[i].name);

		if (index < 0 || again[i] || plan->steps[i].finally != 0)
			continue;
		if (steps[index].kept)
			take->outcomes[i] = steps[index].outcome;
		else if (plan->steps[i].kind != WF_KIND_PACKAGE ||
				 is_committed(steps[index].outcome))
			continue;
		else if (steps[index].child != 0)
			take->children[i] = steps[index].child;
		else if (before != NULL ||
				 (before = analyse_before(earlier, earlier_plan)) != NULL)
			take->children[i] = before->children[index];
	}
	collect_variables(take);
	return take;
}

/* The steps of a run as they are on its record. */
static Earlier *
read_steps(const WfRun *run, const WfPlan *plan)
{
	Earlier    *steps = palloc0(Max(plan->nsteps, 1) * sizeof(Earlier));
	WfRecord   *record = wf_history_read_record(run->run_id);
	int			i;

	for (i = 0; i < record->n; i++)
	{
		const WfStepOutcome *outcome = &record->outcomes[i];

		steps[outcome->step].outcome = outcome;
		if (outcome->child_run_id != 0)
			steps[outcome->step].child = outcome->child_run_id;
	}
	return steps;
}

/*
 * is_committed
 *		True if what the step did is committed.  All that is said elsewhere
 *		about what a restart takes over rests on this.
 */
static bool
is_committed(const WfStepOutcome *outcome)
{
	return outcome != NULL && outcome->status == WF_STEP_SUCCEEDED &&
		(outcome->transaction_id == 0 ||
		 wf_history_transaction_committed(outcome->transaction_id));
}

/*
 * judge_steps
 *		Find the steps that are kept, each after those that it waits for.
 */
static void
judge_steps(const WfPlan *plan, Earlier *steps)
{
	int32	   *order = palloc(Max(plan->nsteps, 1) * sizeof(int32));
	int32		n = 0;
	int32		i;

	for (i = 0; i < plan->nsteps; i++)
	{
		steps[i].open = plan->steps[i].nconstraints;
		if (steps[i].open == 0)
			order[n++] = i;
	}
	for (i = 0; i < n; i++)
	{
		const WfPlanStep *plan_step = &plan->steps[order[i]];
		int32		e;

		judge_step(plan_step, &steps[order[i]]);
		follow_step(plan, steps, order[i]);
		for (e = 0; e < plan_step->nedges; e++)
		{
			int32		to = plan->edges[plan_step->first_edge + e].to;

			if (--steps[to].open == 0)
				order[n++] = to;
		}
	}
}

/*
 * judge_step
 *		A step that was taken over when its run began has its reasons in a
 *		run before that one.
 */
static void
judge_step(const WfPlanStep *plan_step, Earlier *step)
{
	if (step->outcome == NULL || plan_step->finally != 0 ||
		step->outcome->status != WF_STEP_SUCCEEDED)
		step->sound = false;
	else if (step->outcome->reason == WF_REASON_RESTART)
		step->sound = true;
	else if (plan_step->any)
		step->sound = step->nsound > 0 || step->nother == 0;
	else
		step->sound = step->nother == 0;
	step->kept = step->sound && is_committed(step->outcome);
}

/* Count the constraints that lead out of a step and hold. */
static void
follow_step(const WfPlan *plan, Earlier *steps, int32 source)
{
	const WfPlanStep *plan_step = &plan->steps[source];
	const WfPlanEdge *edge = plan->edges + plan_step->first_edge;
	const WfPlanEdge *end = edge + plan_step->nedges;

	for (; edge < end; edge++)
	{
		if (!holds(edge->on, steps[source].outcome))
			continue;
		if (steps[source].sound)
			steps[edge->to].nsound++;
		else
			steps[edge->to].nother++;
	}
}

/* Table 3.6. */
static bool
holds(WfOn on, const WfStepOutcome *outcome)
{
	switch (outcome == NULL ? WF_STEP_SKIPPED : outcome->status)
	{
		case WF_STEP_SUCCEEDED:
			return on != WF_ON_FAILURE;
		case WF_STEP_FAILED:
		case WF_STEP_CANCELLED:
		case WF_STEP_INTERRUPTED:
			return on != WF_ON_SUCCESS;
		default:
			return false;
	}
}

/* The steps to be executed again: from_step and all that follows it. */
static bool *
steps_again(const WfPlan *plan, const char *from_step)
{
	bool	   *again = palloc0(Max(plan->nsteps, 1) * sizeof(bool));
	int32	   *reached = palloc(Max(plan->nsteps, 1) * sizeof(int32));
	int32		first = from_step == NULL ? -1 :
		wf_plan_step_index(plan, from_step);
	int32		n = 0;
	int32		i;

	if (first >= 0)
	{
		again[first] = true;
		reached[n++] = first;
	}
	for (i = 0; i < n; i++)
	{
		const WfPlanStep *plan_step = &plan->steps[reached[i]];
		int32		e;

		for (e = 0; e < plan_step->nedges; e++)
		{
			int32		to = plan->edges[plan_step->first_edge + e].to;

			if (!again[to])
				reached[n++] = to;
			again[to] = true;
		}
	}
	return again;
}

/* The same for a run and the one that it is a restart of: which child runs were
 * to be restarted in it.  NULL if it is none. */
static WfTakeOver *
analyse_before(const WfRun *run, const WfPlan *plan)
{
	WfRun		before;
	WfRestart	restart;

	check_stack_depth();
	if (run->restart_of == 0 ||
		!wf_history_read_run(run->restart_of, &before) ||
		!wf_history_read_restart(run->restart_of, &restart))
		return NULL;
	return wf_restart_analyse(&before, plan, restart.from_step);
}

/* What the steps taken over have set, in the order in which they ended. */
static void
collect_variables(WfTakeOver *take)
{
	const WfStepOutcome **ended = palloc(Max(take->plan->nsteps, 1) *
										 sizeof(WfStepOutcome *));
	int			n = 0;
	int32		i;

	for (i = 0; i < take->plan->nsteps; i++)
	{
		if (take->outcomes[i] != NULL && take->outcomes[i]->variables != NULL)
			ended[n++] = take->outcomes[i];
	}
	qsort(ended, n, sizeof(WfStepOutcome *), compare_ends);
	for (i = 0; i < n; i++)
		take->variables = take->variables == NULL ? ended[i]->variables :
			wf_variables_merge(take->variables, ended[i]->variables);
}

static int
compare_ends(const void *a, const void *b)
{
	const WfStepOutcome *x = *(const WfStepOutcome *const *) a;
	const WfStepOutcome *y = *(const WfStepOutcome *const *) b;

	return timestamptz_cmp_internal(x->finished_at, y->finished_at);
}

/* See restart.h. */
Jsonb *
wf_restart_variables(const WfTakeOver *take, Jsonb *given)
{
	Jsonb	   *all = given == NULL ? take->variables :
		wf_variables_merge(given, take->variables);

	return all == NULL ? NULL : wf_variables_for_child(take->plan, all);
}

/* See restart.h. */
void
wf_restart_record(const WfTakeOver *take, const WfRestart *restart)
{
	int32		i;

	wf_history_insert_restart(restart);
	for (i = 0; i < take->plan->nsteps; i++)
	{
		if (take->outcomes[i] != NULL &&
			!wf_history_take_over(take->outcomes[i], restart->restarted_as, i))
			elog(ERROR, "an outcome of run " INT64_FORMAT " is not there",
				 restart->run_id);
	}
}

/* See restart.h. */
bool *
wf_restart_taken_over(const WfPlan *plan, const WfRecord *record)
{
	bool	   *taken = NULL;
	int			i;

	for (i = 0; record != NULL && i < record->n; i++)
	{
		if (record->outcomes[i].reason != WF_REASON_RESTART)
			continue;
		if (taken == NULL)
			taken = palloc0(plan->nsteps * sizeof(bool));
		taken[record->outcomes[i].step] = true;
	}
	return taken;
}
