/*-------------------------------------------------------------------------
 *
 * recovery.c
 *	  Which runs are open: found in the tables at the start, and remembered
 *	  by the horizon so that the next start need not look at all history.
 *
 * At its start the scheduler queues every run that has no outcome, with
 * `replay` set: what is on record is not executed again.  In a database that
 * is a copy they end as failed (installation.c).  The same scan finds runs
 * that no command told of.  The runs found are remembered until no command
 * about one of them can be on its way any more.
 *
 * The horizon (the lowest run that may be open) is moved at most every ten
 * seconds, in a turn that has other things to do, so an idle server sees no
 * transaction.  It
 * never passes a run that some backend has numbered and not yet reported: the
 * highest known run is taken, then the backends' notices are read, then the
 * ring is emptied, then the runs in hand are listed, in this order.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "limits.h"
#include "scheduler.h"

/* Open runs that the horizon may pass, as it lists them. */
#define MAX_STILL_OPEN			64

/* Runs in hand: all are counted, the first ones listed. */
typedef struct InHand
{
	int64		lowest;			/* 0: there is none */
	int			n;
	int64		few[FLEXIBLE_ARRAY_MEMBER];
} InHand;

static HTAB *list_of_hand(WfScheduler *s);
static void found_open_run(const WfRun *run, void *arg);
static void take_over(WfScheduler *s, int64 run_id);
static void list_in_hand(WfScheduler *s, InHand *hand, int max);
static void note_in_hand(InHand *hand, int max, int64 run_id);

/*
 * scan_open_runs
 *		Queue every run without outcome that is not in hand.  The runs found
 *		are remembered, since the commands of those that committed just now
 *		may still be on their way.
 */
void
wf_recovery_scan(WfScheduler *s)
{
	HASHCTL		control = {0};
	ListCell   *lc;

	control.keysize = sizeof(int64);
	control.entrysize = sizeof(int64);
	control.hcxt = s->context;
	if (s->scanned == NULL)
		s->scanned = hash_create("workflow scanned runs", 1024, &control,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	if (s->children == NULL)
	{
		control.keysize = WF_OPEN_CHILD_KEY_SIZE;
		control.entrysize = sizeof(WfOpenChild);
		s->children = hash_create("workflow open children", 64, &control,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	wf_scheduler_begin(s);
	s->in_hand = list_of_hand(s);
	s->found = NIL;
	wf_history_scan_open(found_open_run, s, &s->scanned_to);
	s->in_hand = NULL;
	foreach(lc, s->found)
		take_over(s, *(int64 *) lfirst(lc));
	s->highest = Max(s->highest, s->scanned_to);
}

/* A hash of the runs in hand, in the turn's memory. */
static HTAB *
list_of_hand(WfScheduler *s)
{
	HASHCTL		control = {0};
	int			size = 2 * WF_NENTRIES + hash_get_num_entries(s->driven) +
	s->simple.length + s->complex.length +
	hash_get_num_entries(s->delayed) + hash_get_num_entries(s->children);
	InHand	   *hand;
	HTAB	   *hash;
	int64		lowest = 0;
	int			i;

	size += wf_limits_list(s, NULL, 0, 0, &lowest);
	hand = palloc_extended(offsetof(InHand, few) + size * sizeof(int64),
						   MCXT_ALLOC_HUGE);
	control.keysize = sizeof(int64);
	control.entrysize = sizeof(int64);
	control.hcxt = s->turn;
	hash = hash_create("workflow runs in hand", size, &control,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	list_in_hand(s, hand, size);
	for (i = 0; i < hand->n; i++)
		hash_search(hash, &hand->few[i], HASH_ENTER, NULL);
	return hash;
}

static void
found_open_run(const WfRun *run, void *arg)
{
	WfScheduler *s = arg;
	WfQueuedRun queued;
	TransactionId xid;
	Oid			stopped_by;
	const char *reason;
	bool		fails;
	bool		found;

	if (hash_search(s->in_hand, &run->run_id, HASH_FIND, NULL) != NULL)
		return;
	fails = !s->database->ready && wf_interruption_found(s, run);
	if (run->parent_run_id != 0)
	{
		WfOpenChild key = {run->parent_run_id, run->parent_step,
		run->parent_attempt, 0};
		WfOpenChild *child = hash_search(s->children, &key, HASH_ENTER, &found);

		child->run_id = run->run_id;
		return;
	}
	hash_search(s->scanned, &run->run_id, HASH_ENTER, &found);
	if (found)
		return;
	queued.run_id = run->run_id;
	queued.package_id = run->package_id;
	queued.version = run->version;
	queued.priority = run->priority;
	queued.owner = run->owner;
	queued.replay = true;
	queued.start_at = run->start_at;
	queued.paused = wf_history_last_command(run->run_id,
											&xid) == WF_ASKED_PAUSE;
	if (fails || s->copy ||
		wf_history_read_stop(run->run_id, &stopped_by, &reason) ||
		(queued.paused &&
		 wf_history_record_has_begun(wf_history_read_record(run->run_id))))
	{
		int64	   *copy = palloc(sizeof(int64));

		*copy = run->run_id;
		s->found = lappend(s->found, copy);
	}
	else if (queued.paused)
		wf_intake_put_aside(s, &queued);
	else
		wf_intake_enqueue(s, &queued, run->run_id);
}

/* An open run that is to be stopped, that was paused when it had begun, that
 * fails since it was cut off, or was copied.  The children of all runs are
 * known. */
static void
take_over(WfScheduler *s, int64 run_id)
{
	WfRun		run;
	Oid			stopped_by;
	const char *reason;

	if (!wf_history_read_run(run_id, &run))
		elog(ERROR, "run " INT64_FORMAT " is not there", run_id);
	if (s->copy)
		wf_scheduler_end_unstarted(s, &run, WF_RUN_FAILED,
								   ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
								   "this database is a copy", InvalidOid,
								   NULL, false);
	else if (wf_history_read_stop(run_id, &stopped_by, &reason))
		wf_driver_stop_idle(s, &run, stopped_by, reason, false);
	else
		wf_driver_take_over(s, run_id, !wf_interruption_fails(s, run_id));
}

/* See scheduler.h. */
void
wf_recovery_end_children(WfScheduler *s, int64 parent_run_id, Oid stopped_by,
						 const char *reason)
{
	HASH_SEQ_STATUS status;
	WfOpenChild *child;
	WfRun		run;

	hash_seq_init(&status, s->children);
	while ((child = hash_seq_search(&status)) != NULL)
	{
		int64		run_id = child->run_id;

		if (child->parent_run_id != parent_run_id)
			continue;
		hash_search(s->children, child, HASH_REMOVE, NULL);
		if (!wf_history_read_run(run_id, &run))
			elog(ERROR, "run " INT64_FORMAT " is not there", run_id);
		hash_seq_term(&status);
		wf_scheduler_end_unstarted(s, &run, WF_RUN_CANCELLED, 0, NULL,
								   stopped_by, reason, true);
		hash_seq_init(&status, s->children);
	}
}

/*
 * horizon_limit
 *		The run below which every run is known here, once the ring is emptied
 *		after this; 0 if that cannot be said.  The highest known run is taken
 *		before the backends' notices are read: a number drawn later is higher.
 */
int64
wf_recovery_horizon_limit(WfScheduler *s)
{
	int64		limit = s->highest + 1;
	int			i;

	for (i = 0; i < wf_shared->nbackends; i++)
	{
		WfBackend  *backend = &wf_shared->backends[i];
		uint64		run = pg_atomic_read_u64(&backend->pending_run);

		if (run == 0 ||
			pg_atomic_read_u32(&backend->database) != MyDatabaseId)
			continue;
		if (run == WF_PENDING_UNKNOWN)
			return 0;
		limit = Min(limit, (int64) run);
	}
	pg_memory_barrier();

	/* a backend that has just prepared noted it before it forgot its own */
	return s->database->prepared_run != 0 ? 0 : limit;
}

/*
 * move_horizon
 *		Every run up to `limit` has ended or is in hand.  If those in hand are
 *		few, they are listed and the horizon passes them.
 */
void
wf_recovery_move_horizon(WfScheduler *s, int64 limit)
{
	InHand	   *hand = palloc(offsetof(InHand, few) +
							  MAX_STILL_OPEN * sizeof(int64));
	int			n = 0;
	int			i;

	list_in_hand(s, hand, MAX_STILL_OPEN);
	if (hand->n > MAX_STILL_OPEN)
		limit = Min(limit, hand->lowest);
	else
	{
		for (i = 0; i < hand->n; i++)
		{
			if (hand->few[i] < limit)
				hand->few[n++] = hand->few[i];
		}
	}
	if (limit > s->horizon)
	{
		wf_scheduler_begin(s);
		wf_history_move_horizon(limit, hand->few, n);
		s->horizon = limit;
	}
	s->horizon_at = GetCurrentTimestamp();
	s->horizon_stale = false;
	if (s->scanned != NULL && limit > s->scanned_to)
	{
		hash_destroy(s->scanned);	/* no command about them can come now */
		s->scanned = NULL;
	}
}

/* All runs that are in hand, in whatever way. */
static void
list_in_hand(WfScheduler *s, InHand *hand, int max)
{
	HASH_SEQ_STATUS status;
	WfOpenChild *child;
	int64	   *run_id;
	int			i;

	hand->lowest = 0;
	hand->n = wf_queue_list(&s->simple, hand->few, 0, max,
							&hand->lowest);
	hand->n = wf_queue_list(&s->complex, hand->few, hand->n, max,
							&hand->lowest);
	hand->n = wf_limits_list(s, hand->few, hand->n, max, &hand->lowest);
	for (i = 0; i < WF_NENTRIES; i++)
	{
		if (s->database->entries[i].state != WF_ENTRY_FREE &&
			s->database->entries[i].kind == WF_ENTRY_RUN)
			note_in_hand(hand, max, s->database->entries[i].run_id);
	}
	hash_seq_init(&status, s->driven);
	while ((run_id = hash_seq_search(&status)) != NULL)
		note_in_hand(hand, max, *run_id);
	hash_seq_init(&status, s->delayed);
	while ((run_id = hash_seq_search(&status)) != NULL)
		note_in_hand(hand, max, *run_id);
	hash_seq_init(&status, s->children);
	while ((child = hash_seq_search(&status)) != NULL)
		note_in_hand(hand, max, child->run_id);
}

/* Note a run as in hand. */
static void
note_in_hand(InHand *hand, int max, int64 run_id)
{
	if (hand->lowest == 0 || run_id < hand->lowest)
		hand->lowest = run_id;
	if (hand->n < max)
		hand->few[hand->n] = run_id;
	hand->n++;
}
