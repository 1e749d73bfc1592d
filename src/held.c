/*-------------------------------------------------------------------------
 *
 * held.c
 *	  The runs that wait for another one of their package to end.
 *
 * Which they are is known to the scheduler alone (limits.c).  This is a copy
 * for the views, a hash table in the agent's area: without it a run that
 * waits for max_concurrent_runs looks like one that waits for a worker.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "area.h"
#include "compat.h"
#include "held.h"

/* The table has nothing but keys. */
typedef struct HeldRun
{
	int64		run_id;
} HeldRun;

static dshash_table *attached = NULL;
static uint64 attached_generation = 0;

static void parameters(dshash_parameters *p);
static dshash_table *attach(WfDatabase *database);

static void
parameters(dshash_parameters *p)
{
	memset(p, 0, sizeof(*p));
	p->key_size = sizeof(int64);
	p->entry_size = sizeof(HeldRun);
	p->compare_function = dshash_memcmp;
	p->hash_function = dshash_memhash;
	wf_dshash_set_copy(p);
	p->tranche_id = wf_shared->area_tranche;
}

/* Make the table. */
dshash_table *
wf_held_create(WfDatabase *database, dsa_area *area)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	dshash_parameters p;

	parameters(&p);
	attached = dshash_create(area, &p, NULL);
	attached_generation = wf_area_generation();
	MemoryContextSwitchTo(old);
	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	database->held = dshash_get_hash_table_handle(attached);
	LWLockRelease(&database->lock);
	return attached;
}

/* Attach to it; NULL if there is none. */
static dshash_table *
attach(WfDatabase *database)
{
	dsa_area   *area = wf_area_attach(database);
	MemoryContext old;
	dshash_parameters p;

	if (attached != NULL && attached_generation != wf_area_generation())
	{
		dshash_detach(attached);
		attached = NULL;		/* it went away with its area */
	}
	if (area == NULL || attached != NULL ||
		!DsaPointerIsValid(database->held))
		return attached;
	old = MemoryContextSwitchTo(TopMemoryContext);
	parameters(&p);
	attached = dshash_attach(area, &p, database->held, NULL);
	attached_generation = wf_area_generation();
	MemoryContextSwitchTo(old);
	return attached;
}

/* The run waits. */
void
wf_held_add(dshash_table *held, int64 run_id)
{
	bool		found;

	dshash_release_lock(held, dshash_find_or_insert(held, &run_id, &found));
}

/* It does not any more. */
void
wf_held_remove(dshash_table *held, int64 run_id)
{
	(void) dshash_delete_key(held, &run_id);
}

/* See held.h. */
bool
wf_held_has(WfDatabase *database, int64 run_id)
{
	dshash_table *table = attach(database);
	HeldRun    *run = table == NULL ? NULL :
	dshash_find(table, &run_id, false);

	if (run != NULL)
		dshash_release_lock(table, run);
	return run != NULL;
}
