/*-------------------------------------------------------------------------
 *
 * live.c
 *	  The runs that the scheduler drives at this moment, for the views.
 *
 * A hash table in the agent's area, by run.  Runs that a worker carries out
 * by itself are not here: the entry that the worker has taken tells the
 * little there is to tell.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "area.h"
#include "compat.h"
#include "live.h"
#include "pending.h"

static dshash_table *attached = NULL;
static dsa_area *attached_area = NULL;	/* where it is */
static uint64 attached_generation = 0;

static void parameters(dshash_parameters *p);
static bool copy_run(dshash_table *table, dsa_area *area, WfLiveCopy *copy);

static void
parameters(dshash_parameters *p)
{
	memset(p, 0, sizeof(*p));
	p->key_size = sizeof(int64);
	p->entry_size = sizeof(WfLiveRun);
	p->compare_function = dshash_memcmp;
	p->hash_function = dshash_memhash;
	wf_dshash_set_copy(p);
	p->tranche_id = wf_shared->area_tranche;
}

/* Make the table. */
dshash_table *
wf_live_create(WfDatabase *database, dsa_area *area)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	dshash_parameters p;

	parameters(&p);
	attached = dshash_create(area, &p, NULL);
	attached_area = area;
	attached_generation = wf_area_generation();
	MemoryContextSwitchTo(old);
	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	database->live = dshash_get_hash_table_handle(attached);
	LWLockRelease(&database->lock);
	return attached;
}

/* Attach to it. */
dshash_table *
wf_live_attach(WfDatabase *database)
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
		!DsaPointerIsValid(database->live))
		return attached;
	old = MemoryContextSwitchTo(TopMemoryContext);
	parameters(&p);
	attached = dshash_attach(area, &p, database->live, NULL);
	attached_area = area;
	attached_generation = wf_area_generation();
	MemoryContextSwitchTo(old);
	return attached;
}

/*
 * wf_live_copy
 *		A copy of a live run.  Its plan is looked up before the machine is
 *		copied, since nothing may read a table under the locks.  The area is
 *		not attached to anew meanwhile: the table would go with the old one.
 */
WfLiveCopy *
wf_live_copy(WfDatabase *database, int64 run_id)
{
	dshash_table *table = wf_live_attach(database);
	WfLiveRun  *live;
	WfLiveCopy *copy;
	int64		package_id;
	int32		version;

	if (table == NULL)
		return NULL;
	live = dshash_find(table, &run_id, false);
	if (live == NULL)
		return NULL;
	package_id = live->package_id;
	version = live->version;
	dshash_release_lock(table, live);

	copy = palloc0(sizeof(WfLiveCopy));
	copy->run_id = run_id;
	copy->plan = wf_plan_get(package_id, version);
	if (copy->plan == NULL || !copy_run(table, attached_area, copy))
		return NULL;
	return copy;
}

/* Copy one run, false if it is gone. */
static bool
copy_run(dshash_table *table, dsa_area *area, WfLiveCopy *copy)
{
	Size		machine_size = wf_machine_size(copy->plan);
	Size		steps_size = sizeof(WfLiveStep) * copy->plan->nsteps;
	void	   *machine = palloc(machine_size);
	WfLiveRun  *live;
	int			i;

	copy->steps = palloc(Max(steps_size, 1));
	copy->pending = palloc0(Max(copy->plan->nsteps, 1) *
							sizeof(WfStepOutcome *));
	live = dshash_find(table, &copy->run_id, false);
	if (live == NULL)
		return false;
	LWLockAcquire(&live->lock, LW_SHARED);
	copy->started_at = live->started_at;
	copy->sqlstate = live->sqlstate;
	wf_area_get_error(area, live->error, &copy->error_path, &copy->message);
	memcpy(machine, dsa_get_address(area, live->machine), machine_size);
	memcpy(copy->steps, dsa_get_address(area, live->steps), steps_size);
	copy->transaction_number = live->transaction_number;
	copy->transaction_steps = live->transaction_steps;
	copy->transaction_id = live->transaction_id;
	copy->transaction_at = live->transaction_at;
	for (i = 0; i < copy->plan->nsteps; i++)
	{
		if (DsaPointerIsValid(copy->steps[i].pending))
			copy->pending[i] = wf_pending_get(area, copy->steps[i].pending);
	}
	LWLockRelease(&live->lock);
	dshash_release_lock(table, live);
	copy->machine = wf_machine_attach(machine, copy->plan);
	return true;
}
