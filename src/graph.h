/*-------------------------------------------------------------------------
 *
 * graph.h
 *	  How the steps of a plan stand to one of them, by the constraints.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_GRAPH_H
#define WF_GRAPH_H

#include "plan.h"

/*
 * What is known of another step whenever the step in question starts.  Where
 * none of these is set, both may be in progress at the same time.
 */
#define WF_GRAPH_BEFORE		0x01	/* it has been executed and has ended */
#define WF_GRAPH_CLOSED		0x02	/* and a package transaction that it
									 * joined, too */
#define WF_GRAPH_AFTER		0x04	/* it starts later, if at all */
#define WF_GRAPH_NEVER		0x08	/* it is not executed in such a run */

typedef struct WfGraph WfGraph;

/* Make the graph of a plan, in the current memory context. */
extern WfGraph *wf_graph_make(const WfPlan *plan);

/*
 * wf_graph_relate
 *		Find out how all steps stand to `step`.  This takes a time that is
 *		linear in the number of constraints which lead to it and away from it.
 *		False, with nothing found out, if all calls together would take too
 *		long.
 */
extern bool wf_graph_relate(WfGraph *graph, int32 step);

/*
 * wf_graph_relation
 *		How a step stands to the one that was given to wf_graph_relate(): some
 *		of the bits above; 0 for that step itself.
 */
extern int	wf_graph_relation(WfGraph *graph, int32 step);

#endif							/* WF_GRAPH_H */
