/*-------------------------------------------------------------------------
 *
 * check_transaction.c
 *	  What a definition is warned of that concerns transactions.
 *
 * Some statements fail wherever they are executed in a step, or in one that
 * joins the package transaction: that is seen step by step.  What else is
 * worth a warning depends on the order of steps, as far as the constraints
 * tell (graph.c): a step that joins is what opens the transaction, and it
 * stays open until a step that commits has succeeded.  Steps that cannot start
 * are left out, and what an inherited transaction does to the package as a
 * child cannot be seen here.
 *
 * Of each sort of warning that compares steps only the first few are given: a
 * mistake is often repeated in all steps of a large package.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/shmem.h"

#include "check.h"
#include "check_transaction.h"
#include "graph.h"

/* Warnings of one sort. */
#define MAX_FINDINGS	10

/* What is needed to find warnings. */
typedef struct Search
{
	const WfPlan *plan;
	const WfCommandText *texts;
	const bool *can_start;
	List	   *warnings;
	WfGraph    *graph;			/* made when it is needed first */
	int32	   *joiners;		/* steps that join */
	int32		njoiners;
	bool	   *joined;			/* connections through which steps join */
} Search;

static void find_joiners(Search *search);
static void warn(Search *search, int32 step, const char *format,
				 const char *statement, int32 other);
static void warn_of_statements(Search *search);
static bool relate(Search *search, int32 step);
static int32 find_open(Search *search, int32 step, int32 connection);
static bool ends_before(const WfPlan *plan, int32 joiner, int32 step);
static bool may_have_joined(Search *search);
static void warn_of_vain_commits(Search *search);
static void warn_of_bystanders(Search *search);
static bool warn_of_bystander(Search *search, int32 step);
static int32 enlisted_connection(const Search *search, int32 step);
static void warn_of_collisions(Search *search);
static bool joins_apart(const Search *search);
static int32 find_collision(Search *search, int32 n);
static bool can_collide(const WfPlan *plan, int32 a, int32 b);

/* See check_transaction.h. */
List *
wf_check_transaction(List *warnings, const WfPlan *plan,
					 const WfCommandText *texts, const bool *can_start)
{
	Search		search = {
		.plan = plan,
		.texts = texts,
		.can_start = can_start,
		.warnings = warnings
	};

	warn_of_statements(&search);
	if (!plan->use_transactions)
		return search.warnings;
	find_joiners(&search);
	warn_of_vain_commits(&search);
	warn_of_bystanders(&search);
	warn_of_collisions(&search);
	return search.warnings;
}

static void
find_joiners(Search *search)
{
	const WfPlan *plan = search->plan;
	int32		i;

	search->joiners = palloc(mul_size(plan->nsteps, sizeof(int32)));
	search->joined = palloc0(mul_size(plan->nconnections, sizeof(bool)));
	for (i = 0; i < plan->nsteps; i++)
	{
		const WfPlanStep *step = &plan->steps[i];

		if (!step->joins || !search->can_start[i])
			continue;
		search->joiners[search->njoiners++] = i;
		if (step->kind == WF_KIND_SQL && step->connection >= 0)
			search->joined[step->connection] = true;
	}
}

/*
 * warn
 *		Add a warning.  The format takes the names of the step and the
 *		package, those of a statement and of another step if they are given.
 */
static void
warn(Search *search, int32 step, const char *format, const char *statement,
	 int32 other)
{
	const WfPlan *plan = search->plan;
	const char *first = plan->steps[step].name;
	const char *last = other < 0 ? NULL : plan->steps[other].name;

	search->warnings =
		wf_check_add_warning(search->warnings, step, statement ?
							 psprintf(format, first, plan->name, statement,
									  last) :
							 psprintf(format, first, plan->name, last));
}

/* Warn of statements that fail where they are, whatever else happens. */
static void
warn_of_statements(Search *search)
{
	const WfPlan *plan = search->plan;
	int32		i;

	for (i = 0; i < plan->nsteps; i++)
	{
		const WfPlanStep *step = &plan->steps[i];
		const WfCommandText *text = &search->texts[i];

		if (step->disabled)
			continue;
		if (text->control != NULL)
			warn(search, i,
				 "step \"%s\" of package \"%s\" fails: %s is not allowed in a step",
				 text->control, -1);
		else if (text->alone != NULL && step->joins)
			warn(search, i,
				 "step \"%s\" of package \"%s\" fails: it joins the package transaction, and %s cannot run inside a transaction block",
				 text->alone, -1);
		else if (text->alone != NULL && text->several && step->atomic)
			warn(search, i,
				 "step \"%s\" of package \"%s\" fails: its statements are one transaction, and %s cannot run inside a transaction block",
				 text->alone, -1);
	}
}

/* Find out how others stand to a step; false if that takes too long. */
static bool
relate(Search *search, int32 step)
{
	if (search->graph == NULL)
		search->graph = wf_graph_make(search->plan);
	return wf_graph_relate(search->graph, step);
}

/*
 * find_open
 *		A step that joins the transaction, through this connection unless it is
 *		-1, and may have left it open when the step starts that was related; -1
 *		if there is none.
 */
static int32
find_open(Search *search, int32 step, int32 connection)
{
	const WfPlan *plan = search->plan;
	int32		i;

	for (i = 0; i < search->njoiners; i++)
	{
		int32		joiner = search->joiners[i];

		if (joiner == step ||
			(connection >= 0 &&
			 (plan->steps[joiner].kind != WF_KIND_SQL ||
			  plan->steps[joiner].connection != connection)))
			continue;
		if ((wf_graph_relation(search->graph, joiner) &
			 (WF_GRAPH_CLOSED | WF_GRAPH_AFTER | WF_GRAPH_NEVER)) == 0 &&
			!ends_before(plan, joiner, step))
			return joiner;
	}
	return -1;
}

/*
 * ends_before
 *		True if a step that joins ends the transaction by itself, and does so
 *		before or after the other step but not beside it.
 */
static bool
ends_before(const WfPlan *plan, int32 joiner, int32 step)
{
	const WfPlanStep *j = &plan->steps[joiner];

	return j->commit_on_success &&
		(j->rollback_on_failure || j->fail_package_on_error ||
		 plan->fail_on_first_error) &&
		(plan->max_concurrent_steps == 1 ||
		 (j->main_thread && plan->steps[step].main_thread));
}

/* True if a step may have joined before the one that was related ends. */
static bool
may_have_joined(Search *search)
{
	int32		i;

	for (i = 0; i < search->njoiners; i++)
	{
		if ((wf_graph_relation(search->graph, search->joiners[i]) &
			 (WF_GRAPH_AFTER | WF_GRAPH_NEVER)) == 0)
			return true;
	}
	return false;
}

/* Warn of steps that are to commit what nothing can have joined (R20). */
static void
warn_of_vain_commits(Search *search)
{
	const WfPlan *plan = search->plan;
	int			found = 0;
	int32		i;

	for (i = 0; i < plan->nsteps && found < MAX_FINDINGS; i++)
	{
		const WfPlanStep *step = &plan->steps[i];

		if (!step->commit_on_success || step->joins || !search->can_start[i])
			continue;
		if (step->finally != 0)
			warn(search, i,
				 "step \"%s\" of package \"%s\" has nothing to commit: a finally step starts when the package transaction has ended",
				 NULL, -1);
		else if (search->njoiners == 0 ||
				 (relate(search, i) && !may_have_joined(search)))
			warn(search, i,
				 "step \"%s\" of package \"%s\" has nothing to commit: no step can have joined the package transaction by then",
				 NULL, -1);
		else
			continue;
		found++;
	}
}

/*
 * warn_of_bystanders
 *		Warn of steps that do not join and are affected by an open transaction.
 */
static void
warn_of_bystanders(Search *search)
{
	int			found = 0;
	int32		i;

	for (i = 0; i < search->plan->nsteps && found < MAX_FINDINGS; i++)
	{
		const WfPlanStep *step = &search->plan->steps[i];

		if (search->njoiners > 0 && step->kind == WF_KIND_SQL &&
			!step->joins && step->finally == 0 && search->can_start[i] &&
			warn_of_bystander(search, i))
			found++;
	}
}

/*
 * warn_of_bystander
 *		What a step does through a connection that is enlisted belongs to the
 *		transaction (R11).  Through another session, what waits for old
 *		transactions waits for this one, or does not see what it has done.
 */
static bool
warn_of_bystander(Search *search, int32 step)
{
	const WfCommandText *text = &search->texts[step];
	int32		connection = enlisted_connection(search, step);
	int32		other;

	if ((connection < 0 && text->waits == NULL) || !relate(search, step))
		return false;
	other = connection < 0 ? -1 : find_open(search, step, connection);
	if (other >= 0 && text->alone != NULL)
		warn(search, step,
			 "step \"%s\" of package \"%s\" may have to execute %s in the package transaction, where it fails: step \"%s\" joins through the same connection",
			 text->alone, other);
	else if (other >= 0)
		warn(search, step,
			 "step \"%s\" of package \"%s\" does not join the package transaction, but its work may belong to it: step \"%s\" joins through the same connection",
			 NULL, other);
	if (other >= 0 || text->waits == NULL)
		return other >= 0;
	other = find_open(search, step, -1);
	if (other >= 0)
		warn(search, step,
			 "step \"%s\" of package \"%s\" may execute %s while the package transaction is open, which step \"%s\" joins",
			 text->waits, other);
	return other >= 0;
}

/* The connection of a step if others join through it, else -1. */
static int32
enlisted_connection(const Search *search, int32 step)
{
	int32		connection = search->plan->steps[step].connection;

	return connection >= 0 && search->joined[connection] ? connection : -1;
}

/*
 * warn_of_collisions
 *		Warn of steps that may want to join while another one executes in the
 *		transaction, on a different connection to the same database (R36).
 */
static void
warn_of_collisions(Search *search)
{
	int			found = 0;
	int32		i;

	if (search->plan->max_concurrent_steps == 1 || !joins_apart(search))
		return;
	for (i = 0; i < search->njoiners && found < MAX_FINDINGS; i++)
	{
		int32		step = search->joiners[i];
		int32		other;

		if (search->plan->steps[step].kind != WF_KIND_SQL ||
			search->plan->steps[step].connection < 0 ||
			!relate(search, step))
			continue;
		other = find_collision(search, i);
		if (other < 0)
			continue;
		warn(search, step,
			 "step \"%s\" of package \"%s\" fails the package if it starts during step \"%s\": both join the package transaction, through different connections to one database",
			 NULL, other);
		found++;
	}
}

/* True if steps join through two connections to the same database. */
static bool
joins_apart(const Search *search)
{
	const WfPlan *plan = search->plan;
	bool	   *found = palloc0(mul_size(plan->nconnections + 1,
										 sizeof(bool)));
	int32		i;

	for (i = 0; i < plan->nconnections; i++)
	{
		if (!search->joined[i])
			continue;
		if (found[plan->connections[i].instance])
			return true;
		found[plan->connections[i].instance] = true;
	}
	return false;
}

/* A step with which a joiner, which was related, collides; -1: none.  Only
 * those before it in the list are looked at: each pair once. */
static int32
find_collision(Search *search, int32 n)
{
	int32		i;

	for (i = 0; i < n; i++)
	{
		if (wf_graph_relation(search->graph, search->joiners[i]) == 0 &&
			can_collide(search->plan, search->joiners[i],
						search->joiners[n]))
			return search->joiners[i];
	}
	return -1;
}

/* True if two steps that join would be in each other's way. */
static bool
can_collide(const WfPlan *plan, int32 a, int32 b)
{
	const WfPlanStep *first = &plan->steps[a];
	const WfPlanStep *second = &plan->steps[b];

	return first->kind == WF_KIND_SQL && second->kind == WF_KIND_SQL &&
		first->connection >= 0 && second->connection >= 0 &&
		first->connection != second->connection &&
		plan->connections[first->connection].instance ==
		plan->connections[second->connection].instance &&
		!(first->main_thread && second->main_thread);
}
