/*-------------------------------------------------------------------------
 *
 * held.h
 *	  The runs that wait for another one of their package to end.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_HELD_H
#define WF_HELD_H

#include "lib/dshash.h"

#include "shmem.h"

/* The set, made by the scheduler in its area; it alone adds and removes. */
extern dshash_table *wf_held_create(WfDatabase *database, dsa_area *area);
extern void wf_held_add(dshash_table *held, int64 run_id);
extern void wf_held_remove(dshash_table *held, int64 run_id);

/* True if the run is in the set of the present scheduler; any process. */
extern bool wf_held_has(WfDatabase *database, int64 run_id);

#endif							/* WF_HELD_H */
