/*-------------------------------------------------------------------------
 *
 * scheduler.h
 *	  What the files of the scheduler process share.
 *
 * The scheduler works in turns: it takes in everything that has happened,
 * decides, writes what it has to write in one transaction, commits it, and
 * only then hands out work and wakes waiters.  So whatever it hands out is
 * visible to who gets it, and a turn that fails has had no effect: the
 * process ends and the next scheduler starts from the tables.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_SCHEDULER_H
#define WF_SCHEDULER_H

#include "nodes/pg_list.h"
#include "utils/hsearch.h"

#include "history.h"
#include "live.h"
#include "queue.h"
#include "shmem.h"
#include "timer.h"

/* A hand-out that waits for the turn's commit. */
typedef struct WfHandout
{
	int			entry;
	WfReadyList list;
	int			slot;			/* to this bound worker; -1: to anyone */
} WfHandout;

/* A worker that died at an entry: judged when another one has started,
 * since a server that shuts down starts none. */
typedef struct WfOrphan
{
	int			entry;			/* -1: it was the branch of a transaction */
	int			slot;			/* then */
	Oid			role;
	uint64		after;			/* wf_pool_started() must reach this */
	int			sqlstate;
	char	   *message;
} WfOrphan;

/* An open child run, found by a scan, that nobody has in hand yet. */
typedef struct WfOpenChild
{
	int64		parent_run_id;	/* the key: up to here and ... */
	int32		step;
	int32		attempt;		/* ... here */
	int64		run_id;
} WfOpenChild;

#define WF_OPEN_CHILD_KEY_SIZE	offsetof(WfOpenChild, run_id)

typedef struct WfScheduler
{
	WfDatabase *database;
	dsa_area   *area;
	dshash_table *live;
	dshash_table *held;			/* runs that limits.c keeps waiting: held.c */
	int64		nheld;			/* their number */
	MemoryContext context;		/* long-lived */
	MemoryContext turn;			/* reset each turn */
	bool		in_transaction;
	bool		copy;			/* the start finds that this database is one */

	WfQueue		simple;			/* runs for the inline driver */
	WfQueue		complex;		/* runs to be driven from here */
	WfTimers	timers;
	HTAB	   *limits;			/* of packages: limits.c */
	HTAB	   *delayed;		/* runs with a start_at to come, and paused ones
								 * that have not begun: WfQueuedRun */
	HTAB	   *driven;			/* runs driven from here, by run_id */
	HTAB	   *children;		/* WfOpenChild: until their step goes on */
	HTAB	   *scanned;		/* open runs found by a scan: a command about
								 * one of them comes late; NULL: none */
	int64		scanned_to;		/* highest run of the scan */
	HTAB	   *cut_off;		/* runs that had begun before our start, and
								 * that fail for it; NULL: none */
	HTAB	   *in_hand;		/* during a scan: runs that are */
	List	   *found;			/* int64 *, likewise: runs to be taken over */
	List	   *orphans;		/* WfOrphan */
	List	   *waiting;		/* children that wait for sessions: driver.c */
	bool		looks_for_self_waits;	/* a timer of that kind is set */
	bool		retry_soon;		/* some wait for a lock that nobody tells of */
	dlist_head	dirty;			/* driven runs with something to do */
	int			reserved;		/* sessions that driven runs may need at once */
	bool		given_back;		/* some of them were, since runs were admitted */

	/* this turn's, in `turn` */
	List	   *handouts;		/* WfHandout */
	List	   *told;			/* int64 *: runs whose waiters are woken */

	/* how long history is kept: retention.c */
	TimestampTz retention_at;	/* when to look next */
	TimestampTz retention_looked_at;
	int			retention_setting;	/* then */
	bool		retention_looks;	/* the process is there */
	bool		retention_ended;	/* something ended since */

	/* the horizon */
	int64		highest;		/* highest run known */
	int64		horizon;
	TimestampTz horizon_at;
	bool		horizon_stale;	/* something ended since */
	bool		busy;			/* this turn took something in */
} WfScheduler;

/* The extension is not (any more) in the database: end the process. */
extern void wf_scheduler_leave(void) pg_attribute_noreturn();

/* Have a transaction with an active snapshot until the end of the turn. */
extern void wf_scheduler_begin(WfScheduler *s);
extern void wf_scheduler_hand_out(WfScheduler *s, int entry,
								  WfReadyList list, int slot);
/* A run has ended; package_id: its package, 0 for a child run. */
extern void wf_scheduler_note_end(WfScheduler *s, int64 run_id,
								  int64 package_id);

/* Wake who waits for something to be done to a run, after the commit. */
extern void wf_scheduler_tell(WfScheduler *s, int64 run_id);

/*
 * Write the end of a run of which nothing has been executed: cancelled
 * (stopped_by, reason) or failed (sqlstate, message).
 */
extern void wf_scheduler_end_unstarted(WfScheduler *s, const WfRun *run,
									   WfRunStatus status, int sqlstate,
									   const char *message, Oid stopped_by,
									   const char *reason, bool parent_stops);

/* ---- intake.c ---- */

extern void wf_intake_init(WfScheduler *s);
/* Take in what backends have sent. */
extern void wf_intake_receive(WfScheduler *s);
/* Queue runs run->run_id .. last.  In the turn's transaction. */
extern void wf_intake_enqueue(WfScheduler *s, const WfQueuedRun *run,
							  int64 last);
/* The same for runs that are not to wait for anything but their turn. */
extern void wf_intake_queue(WfScheduler *s, const WfQueuedRun *run,
							int64 last);
/* Keep a paused run that has not begun until it is resumed. */
extern void wf_intake_put_aside(WfScheduler *s, const WfQueuedRun *run);
/* Event: the start_at of a run has come. */
extern void wf_intake_start_due(WfScheduler *s, const WfTimer *timer);
/* Look for runs that no command tells of. */
extern void wf_intake_look_for_untold(WfScheduler *s);
/* Admit runs that are to be driven, as far as their sessions fit. */
extern void wf_intake_admit(WfScheduler *s);
/* Fill the ready list for the inline driver; after the turn's commit. */
extern void wf_intake_top_up(WfScheduler *s);

/* ---- reaper.c ---- */

/* Take in the entries that are done, the workers that have gone, and decide
 * about what those were at. */
extern void wf_reaper_done(WfScheduler *s);
extern void wf_reaper_gone(WfScheduler *s);
extern void wf_reaper_judge(WfScheduler *s);
/* Free an entry and what belongs to it in the area. */
extern void wf_reaper_free_entry(WfScheduler *s, int entry);

/* ---- retention.c ---- */

extern void wf_retention_init(WfScheduler *s);
/* Look for what is to be deleted, if it is time. */
extern void wf_retention_turn(WfScheduler *s);
/* Milliseconds to that; -1: something else comes first. */
extern long wf_retention_sleep(const WfScheduler *s);
/* Event: a run has ended; who looked has gone. */
extern void wf_retention_note_end(WfScheduler *s);
extern void wf_retention_gone(WfScheduler *s);

/* ---- recovery.c ---- */

/* Queue every run without outcome that is not in hand. */
extern void wf_recovery_scan(WfScheduler *s);
/* End, as cancelled, the children that wait for their parent to go on. */
extern void wf_recovery_end_children(WfScheduler *s, int64 parent_run_id,
									 Oid stopped_by, const char *reason);
/* Where the horizon may be at most, 0 if that cannot be said now; then, after
 * the ring was emptied, move it there or as far as the runs in hand allow. */
extern int64 wf_recovery_horizon_limit(WfScheduler *s);
extern void wf_recovery_move_horizon(WfScheduler *s, int64 limit);

/* ---- interruption.c ---- */

/*
 * An open run is found at the start: true if it had begun, and its package
 * wants it to fail then (on_interruption).  That is remembered.
 */
extern bool wf_interruption_found(WfScheduler *s, const WfRun *run);
/* True if that was found of the run. */
extern bool wf_interruption_fails(const WfScheduler *s, int64 run_id);

/* ---- driver.c ---- */

typedef struct WfDrivenRun WfDrivenRun;

extern void wf_driver_init(WfScheduler *s);

/* Is a run of the package for the inline driver, unless it inherits? */
extern bool wf_driver_is_inline(const struct WfPlan *plan);

/*
 * Sessions that a run of the package may need at one time, with those of its
 * children.  In the turn's transaction.
 */
extern int	wf_driver_bound(const struct WfPlan *plan);

/* Drive a run from its beginning (or from the record); `sessions` are
 * reserved for it; it may inherit its parent's transaction.  With `pause`, it
 * is paused after what is on record. */
extern void wf_driver_begin(WfScheduler *s, const WfRun *run, bool replay,
							int sessions, bool inherits, bool pause);
extern WfDrivenRun *wf_driver_find(WfScheduler *s, int64 run_id);

/* Event: an entry of kind STEP is done (its result is in it). */
extern void wf_driver_step_done(WfScheduler *s, int entry);
/* Event: an entry of kind CONDITION is done; or is known to come to this. */
extern void wf_driver_condition_done(WfScheduler *s, int entry);
extern void wf_driver_condition_known(WfScheduler *s, int entry, char answer,
									  int sqlstate, const char *message);
/* Event: an entry of kind COMMIT or ROLLBACK is done; or came to this. */
extern void wf_driver_transaction_done(WfScheduler *s, int entry);
extern void wf_driver_transaction_known(WfScheduler *s, int entry,
										bool committed, int sqlstate,
										const char *message);
/* The worker in this slot is gone: true if it was a transaction's branch. */
extern bool wf_driver_branch_gone(WfScheduler *s, int slot);
/* Event: and with it the transaction. */
extern void wf_driver_branch_lost(WfScheduler *s, int slot, int sqlstate,
								  const char *message);
/* Event: an entry of kind VARIABLES is done. */
extern void wf_driver_variables_done(WfScheduler *s, int entry);
/* Event: a timer of a step or of a run is due. */
extern void wf_driver_timer(WfScheduler *s, const WfTimer *timer);
/* Event: the time of a package step's child run has come. */
extern void wf_driver_child_due(WfScheduler *s, const WfTimer *timer);
/* True if a child run waits for its time, or for sessions. */
extern bool wf_driver_child_waits(WfScheduler *s, int64 run_id);
/* Event: a child run that was handed to a worker, or never started, ended. */
extern void wf_driver_child_ended(WfScheduler *s, int64 parent_run_id,
								  int32 parent_step, WfStepStatus status,
								  int sqlstate, const char *path,
								  const char *message);
/* Event: the worker that was at a step is gone; it wrote no outcome. */
extern void wf_driver_step_lost(WfScheduler *s, int entry, int sqlstate,
								const char *message, bool begun);
/* Event: the worker that stood for a session is gone. */
extern void wf_driver_session_lost(WfScheduler *s, int slot);
/* Drive a run that has begun and that nobody is at: a worker has handed it
 * back, or it is paused, or stopped. */
extern void wf_driver_take_over(WfScheduler *s, int64 run_id, bool pause);
/* The worker in this slot is the session of the run's connections. */
extern void wf_driver_give_session(WfScheduler *s, int64 run_id, int slot);
/* Pause a run and its children, or let them go on. */
extern void wf_driver_pause(WfScheduler *s, WfDrivenRun *run, bool pause);
/* Stop a run and its children. */
extern void wf_driver_stop(WfScheduler *s, WfDrivenRun *run, Oid stopped_by,
						   const char *reason, bool force,
						   bool parent_stops);
/* Stop a run that nobody is at, and that is in no queue. */
extern void wf_driver_stop_idle(WfScheduler *s, const WfRun *run,
								Oid stopped_by, const char *reason,
								bool parent_stops);
/* Stop an open child run that its parent has not gone on with; false if it is
 * none. */
extern bool wf_driver_stop_open_child(WfScheduler *s, int64 run_id,
									  Oid stopped_by, const char *reason);
/* Record that a run is to be stopped, for its end may take a while. */
extern void wf_driver_record_stop(WfScheduler *s, int64 run_id,
								  Oid stopped_by, const char *reason);
/* Carry out what the machines of all runs ask for. */
extern void wf_driver_carry_on(WfScheduler *s);

/* ---- self_wait.c ---- */

/* A package transaction is open: look for waits from time to time. */
extern void wf_self_wait_begin(WfScheduler *s);
/* Event: it is time to look. */
extern void wf_self_wait_look(WfScheduler *s);

#endif							/* WF_SCHEDULER_H */
