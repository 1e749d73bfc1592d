/*-------------------------------------------------------------------------
 *
 * purge.h
 *	  Delete runs that ended long ago, and versions that no run refers to.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_PURGE_H
#define WF_PURGE_H

#include "datatype/timestamp.h"
#include "utils/hsearch.h"

#include "catalog.h"
#include "history.h"

/* Runs of a package that ended before this time go. */
typedef TimestampTz (*WfPurgeBefore) (int64 package_id);

/* A pass over history. */
typedef struct WfPurge
{
	TimestampTz before;			/* runs that ended before this */
	WfPurgeBefore before_of;	/* or before this; `before` is the latest of
								 * those.  The pass then ends at the first
								 * run that was requested later.  NULL: no */
	int64		soonest;		/* with before_of: in how many microseconds the
								 * next of those runs will have to go that
								 * were too young; -1: there was none */
	int64		package_id;		/* of this package; 0: of any */
	Oid			role;			/* and which this role may delete; invalid:
								 * all */
	int64		position;		/* where the next batch begins */
	MemoryContext context;
	HTAB	   *needed;			/* roots of trees that an open run needs */
	int64		root;			/* the last one decided about ... */
	bool		root_goes;		/* ... and what came out */
	int			nlooked;		/* runs looked at for the batch so far ... */
	int			n;				/* ... and of it */
	bool		ended;			/* the pass is over */
	WfRun	   *batch;
} WfPurge;

/*
 * wf_purge_begin, wf_purge_batch, wf_purge_end
 *		Delete runs, at most a thousand at a time and looking at no more than
 *		ten thousand, until wf_purge_batch() returns false; *count is counted
 *		up.  All in one transaction, or each
 *		batch with a begin and an end in one of its own, with `position` kept.
 *		Needs an active snapshot.  wf_purge_begin() waits for other purges,
 *		and for transactions that restart a run.
 */
extern void wf_purge_begin(WfPurge *purge);
extern bool wf_purge_batch(WfPurge *purge, int64 *count);
extern void wf_purge_end(WfPurge *purge);

/*
 * wf_purge_versions
 *		Delete versions that are not current and that no run refers to, of
 *		one package or, with 0, of all.  Packages that somebody starts or
 *		edits at the moment are left for the next time.  The others stay
 *		locked to the end of the transaction.  max_runs: look at so many of
 *		the newest runs only, and keep what is not certain; 0: look at all.
 */
extern void wf_purge_versions(int64 package_id, int64 max_runs);

#endif							/* WF_PURGE_H */
