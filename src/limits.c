/*-------------------------------------------------------------------------
 *
 * limits.c
 *	  How many runs of a package there may be at once.
 *
 * Only packages with max_concurrent_runs have an entry here: the runs that
 * are queued or going on, and a queue of those that wait for one of them to
 * end.  What counts is the package's current version, whatever the versions
 * of its runs are: who raises the limit lets go those that wait.  Child runs are not counted: their step is what is limited, and a
 * package that starts itself would wait for ever.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"

#include "catalog.h"
#include "held.h"
#include "limits.h"
#include "plan.h"

typedef struct Limit
{
	int64		package_id;		/* the key */
	int			max;			/* of the current version; 0: no limit */
	int			nactive;
	int			size;
	int64	   *active;			/* runs */
	WfQueue		waiting;
} Limit;

static Limit *limit_of(WfScheduler *s, int64 package_id);
static void add_active(WfScheduler *s, Limit *limit, int64 run_id);
static void read_max(Limit *limit);
static void release(WfScheduler *s, Limit *limit);
static void let_go(WfScheduler *s, int64 run_id);

/* Prepare. */
void
wf_limits_init(WfScheduler *s)
{
	HASHCTL		control = {0};

	control.keysize = sizeof(int64);
	control.entrysize = sizeof(Limit);
	control.hcxt = s->context;
	s->limits = hash_create("workflow limits", 16, &control,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static Limit *
limit_of(WfScheduler *s, int64 package_id)
{
	bool		found;
	Limit	   *limit = hash_search(s->limits, &package_id, HASH_ENTER, &found);

	if (!found)
	{
		limit->max = 0;
		read_max(limit);
		limit->nactive = 0;
		limit->size = 8;
		limit->active = MemoryContextAlloc(s->context,
										   limit->size * sizeof(int64));
		wf_queue_init(&limit->waiting, s->context);
	}
	return limit;
}

static void
add_active(WfScheduler *s, Limit *limit, int64 run_id)
{
	if (limit->nactive == limit->size)
	{
		limit->size *= 2;
		limit->active = repalloc(limit->active,
								 limit->size * sizeof(int64));
	}
	limit->active[limit->nactive++] = run_id;
}

/* A run does not wait here any more. */
static void
let_go(WfScheduler *s, int64 run_id)
{
	wf_held_remove(s->held, run_id);
	s->nheld--;
}

/* A run wants to be queued. */
bool
wf_limits_enter(WfScheduler *s, const WfQueuedRun *run)
{
	Limit	   *limit = limit_of(s, run->package_id);

	if (limit->max > 0 && limit->nactive >= limit->max)
	{
		wf_queue_add(&limit->waiting, run, run->run_id);
		wf_held_add(s->held, run->run_id);
		s->nheld++;
		return false;
	}
	add_active(s, limit, run->run_id);
	return true;
}

/* A run has ended. */
void
wf_limits_left(WfScheduler *s, int64 package_id, int64 run_id)
{
	Limit	   *limit = hash_search(s->limits, &package_id, HASH_FIND, NULL);
	int			i;

	for (i = 0; limit != NULL && i < limit->nactive; i++)
	{
		if (limit->active[i] == run_id)
		{
			limit->active[i] = limit->active[--limit->nactive];
			release(s, limit);
			return;
		}
	}
}

/* A package was edited: its limit may be another one. */
void
wf_limits_changed(WfScheduler *s, int64 package_id)
{
	Limit	   *limit = hash_search(s->limits, &package_id, HASH_FIND, NULL);

	if (limit == NULL)
		return;
	wf_scheduler_begin(s);
	read_max(limit);
	release(s, limit);
}

/* The limit of the package's current version; as before if it was dropped. */
static void
read_max(Limit *limit)
{
	WfPackageRow package;

	if (wf_catalog_find_package_by_id(limit->package_id, &package))
		limit->max = wf_plan_compile(package.package_id, package.version,
									 wf_catalog_get_document(package.package_id,
															 package.version))->max_concurrent_runs;
}

/* Queue the runs that need not wait any more.  An edit that nobody told of,
 * since the ring was full, is noticed here. */
static void
release(WfScheduler *s, Limit *limit)
{
	WfQueuedRun next;

	if (limit->waiting.length == 0)
		return;
	wf_scheduler_begin(s);
	read_max(limit);
	while ((limit->max == 0 || limit->nactive < limit->max) &&
		   wf_queue_take(&limit->waiting, &next))
	{
		let_go(s, next.run_id);
		add_active(s, limit, next.run_id);
		wf_intake_queue(s, &next, next.run_id);
		SetLatch(MyLatch);		/* this turn may be past admission */
	}
}

/* Take a run out that waits here. */
bool
wf_limits_remove(WfScheduler *s, int64 run_id, WfQueuedRun *run)
{
	HASH_SEQ_STATUS status;
	Limit	   *limit;

	hash_seq_init(&status, s->limits);
	while ((limit = hash_seq_search(&status)) != NULL)
	{
		if (wf_queue_remove(&limit->waiting, run_id, run))
		{
			hash_seq_term(&status);
			let_go(s, run_id);
			return true;
		}
	}
	return false;
}

/* List the runs that wait here. */
int64
wf_limits_list(WfScheduler *s, int64 *ids, int64 n, int64 max, int64 *lowest)
{
	HASH_SEQ_STATUS status;
	Limit	   *limit;

	hash_seq_init(&status, s->limits);
	while ((limit = hash_seq_search(&status)) != NULL)
		n = wf_queue_list(&limit->waiting, ids, n, max, lowest);
	return n;
}
