/*-------------------------------------------------------------------------
 *
 * graph.c
 *	  How the steps of a plan stand to one of them, by the constraints.
 *
 * Only constraints without which a step cannot start say anything: of a step
 * with precedence "any" and several constraints there are none.  Going back
 * along them from a step finds all that has been executed when it starts,
 * with the outcomes that this took; going forward, all that needs its
 * outcome.  What needs the opposite of an outcome that it took is not executed
 * in any run in which the step is.
 *
 * A step that commits the package transaction when it succeeds, or rolls it
 * back when it fails, ends what all those before it have joined, unless it may
 * have had the other outcome.
 *
 * To compare each step with each other takes a time that is quadratic in
 * large graphs.  This is for warnings, so it gives up after a number of
 * constraints that is more than enough for definitions of a thousand steps.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/shmem.h"

#include "graph.h"

/* Constraints that are followed, and steps that are compared, in all. */
#define PATIENCE	5000000

/* Outcomes that a step before must have had, beside the public bits. */
#define SUCCEEDED	0x10
#define FAILED		0x20

/* What is known of one step. */
typedef struct Mark
{
	uint32		turn;			/* of wf_graph_relate(); another: nothing */
	int			bits;
} Mark;

struct WfGraph
{
	const WfPlan *plan;
	int32	   *first_incoming; /* of each step; one more entry at the end */
	WfPlanEdge *incoming;		/* necessary ones; `to` is where they start */
	Mark	   *marks;
	int32	   *queue;			/* steps, once for each of their bits */
	int32		nqueued;
	uint32		turn;
	int64		patience;
};

static bool is_necessary(const WfPlan *plan, int32 to);
static void mark(WfGraph *graph, int32 step, int bits);
static void walk_back(WfGraph *graph, int32 begin, int bits);
static int	outcome_taken(const WfPlan *plan, int32 from, WfOn on);
static bool ends_transaction(const WfGraph *graph, int32 step);
static void follow(WfGraph *graph, int32 from, int outcomes, int bits);

/* See graph.h. */
WfGraph *
wf_graph_make(const WfPlan *plan)
{
	WfGraph    *graph = palloc0(sizeof(WfGraph));
	int32	   *next;
	int32		sum = 0;
	int32		i;
	int32		k;

	graph->plan = plan;
	graph->patience = PATIENCE;
	graph->marks = palloc0(mul_size(plan->nsteps, sizeof(Mark)));
	graph->queue = palloc(mul_size(plan->nsteps,
								   4 * sizeof(int32)));
	graph->first_incoming = palloc(mul_size(plan->nsteps + 1, sizeof(int32)));
	next = palloc(mul_size(plan->nsteps, sizeof(int32)));
	for (i = 0; i < plan->nsteps; i++)
	{
		graph->first_incoming[i] = next[i] = sum;
		if (is_necessary(plan, i))
			sum += plan->steps[i].nconstraints;
	}
	graph->first_incoming[i] = sum;
	graph->incoming =
		MemoryContextAllocHuge(CurrentMemoryContext,
							   mul_size(sum, sizeof(WfPlanEdge)));
	for (i = 0; i < plan->nsteps; i++)
	{
		for (k = 0; k < plan->steps[i].nedges; k++)
		{
			const WfPlanEdge *edge =
			&plan->edges[plan->steps[i].first_edge + k];

			if (!is_necessary(plan, edge->to))
				continue;
			graph->incoming[next[edge->to]].to = i;
			graph->incoming[next[edge->to]++].on = edge->on;
		}
	}
	return graph;
}

/* True if a step cannot start without each of its constraints. */
static bool
is_necessary(const WfPlan *plan, int32 to)
{
	return !plan->steps[to].any || plan->steps[to].nconstraints == 1;
}

/* See graph.h. */
bool
wf_graph_relate(WfGraph *graph, int32 step)
{
	int32		nbefore;
	int32		nclosed;
	int32		i;

	CHECK_FOR_INTERRUPTS();
	if (graph->patience <= 0)
		return false;
	graph->turn++;
	graph->queue[0] = step;
	graph->nqueued = 1;
	walk_back(graph, 0, WF_GRAPH_BEFORE);

	nbefore = graph->nqueued;
	for (i = 1; i < nbefore; i++)
	{
		if (ends_transaction(graph, graph->queue[i]))
			mark(graph, graph->queue[i], WF_GRAPH_CLOSED);
	}
	walk_back(graph, nbefore, WF_GRAPH_CLOSED);

	nclosed = graph->nqueued;
	follow(graph, step, SUCCEEDED | FAILED, WF_GRAPH_AFTER);
	for (i = 1; i < nbefore; i++)
	{
		int			bits = graph->marks[graph->queue[i]].bits;

		if (bits & SUCCEEDED)
			follow(graph, graph->queue[i], FAILED, WF_GRAPH_NEVER);
		if (bits & FAILED)
			follow(graph, graph->queue[i], SUCCEEDED, WF_GRAPH_NEVER);
	}
	for (i = nclosed; i < graph->nqueued; i++)
		follow(graph, graph->queue[i], SUCCEEDED | FAILED,
			   graph->marks[graph->queue[i]].bits &
			   (WF_GRAPH_AFTER | WF_GRAPH_NEVER));
	return true;
}

/* See graph.h. */
int
wf_graph_relation(WfGraph *graph, int32 step)
{
	const Mark *m = &graph->marks[step];

	graph->patience--;
	return m->turn == graph->turn ? m->bits & ~(SUCCEEDED | FAILED) : 0;
}

/* Add bits to what is known of a step, and queue it if it has not had them. */
static void
mark(WfGraph *graph, int32 step, int bits)
{
	Mark	   *m = &graph->marks[step];
	int			relation = bits & ~(SUCCEEDED | FAILED);

	if (m->turn != graph->turn)
	{
		m->turn = graph->turn;
		m->bits = 0;
	}
	if ((m->bits & relation) != relation)
		graph->queue[graph->nqueued++] = step;
	m->bits |= bits;
}

/*
 * walk_back
 *		From what is queued from `begin` on, mark all that must have been
 *		executed before.
 */
static void
walk_back(WfGraph *graph, int32 begin, int bits)
{
	int32		i;
	int32		k;

	for (i = begin; i < graph->nqueued; i++)
	{
		int32		step = graph->queue[i];
		int32		end = graph->first_incoming[step + 1];

		graph->patience -= end - graph->first_incoming[step] + 1;
		for (k = graph->first_incoming[step]; k < end; k++)
		{
			const WfPlanEdge *edge = &graph->incoming[k];

			mark(graph, edge->to,
				 bits | outcome_taken(graph->plan, edge->to, edge->on));
		}
	}
}

/*
 * outcome_taken
 *		The outcome that a step must have had if another has started on this
 *		constraint; 0 if it may be either.  After a failure that fails the
 *		package nothing starts.
 */
static int
outcome_taken(const WfPlan *plan, int32 from, WfOn on)
{
	if (on == WF_ON_FAILURE)
		return FAILED;
	return on == WF_ON_SUCCESS || plan->fail_on_first_error ||
		plan->steps[from].fail_package_on_error ? SUCCEEDED : 0;
}

/* True if a step ended what was open with any outcome that it can have had. */
static bool
ends_transaction(const WfGraph *graph, int32 step)
{
	const WfPlanStep *s = &graph->plan->steps[step];
	int			bits = graph->marks[step].bits;

	return (s->commit_on_success || (bits & FAILED)) &&
		(s->rollback_on_failure || (bits & SUCCEEDED));
}

/* Mark what cannot start unless a step ends with one of these outcomes. */
static void
follow(WfGraph *graph, int32 from, int outcomes, int bits)
{
	const WfPlan *plan = graph->plan;
	const WfPlanStep *step = &plan->steps[from];
	const WfPlanEdge *edges = &plan->edges[step->first_edge];
	int32		k;

	graph->patience -= step->nedges + 1;
	for (k = 0; k < step->nedges; k++)
	{
		if (!is_necessary(plan, edges[k].to))
			continue;
		if (outcomes == (SUCCEEDED | FAILED) ||
			outcome_taken(plan, from, edges[k].on) == outcomes)
			mark(graph, edges[k].to, bits);
	}
}
