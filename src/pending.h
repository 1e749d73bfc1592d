/*-------------------------------------------------------------------------
 *
 * pending.h
 *	  Outcomes of steps that are written when their transaction ends.
 *
 * A step that works in a package transaction is on record when that is: its
 * outcome commits with its effects, or is written after they were rolled
 * back.  Until then it is kept in the agent's area, in the order in which the
 * steps ended, where the views find it and whoever is to write it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_PENDING_H
#define WF_PENDING_H

#include "area.h"
#include "history.h"

/* Put an outcome into the area; InvalidDsaPointer if there is no memory. */
extern dsa_pointer wf_pending_put(dsa_area *area,
								  const WfStepOutcome *outcome);

/* A copy of it, in the current context; and what comes after it. */
extern WfStepOutcome *wf_pending_get(dsa_area *area, dsa_pointer pointer);
extern dsa_pointer wf_pending_next(dsa_area *area, dsa_pointer pointer);

/* A copy of an outcome with all that belongs to it, in the current context. */
extern WfStepOutcome *wf_pending_copy(const WfStepOutcome *outcome);

/* Append an outcome, in no list, to a list. */
extern void wf_pending_append(dsa_area *area, dsa_pointer *first,
							  dsa_pointer *last, dsa_pointer pointer);

/*
 * Write all of a list.  Needs a transaction with an active snapshot.  ERROR if
 * the area is no more (NULL): its scheduler has gone, and so has the list.
 */
extern void wf_pending_write(dsa_area *area, dsa_pointer first);

/* Free a list, unless it has gone with its area; *first is invalid then. */
extern void wf_pending_free(dsa_area *area, dsa_pointer *first);

#endif							/* WF_PENDING_H */
