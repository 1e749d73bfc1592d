/*-------------------------------------------------------------------------
 *
 * driver.h
 *	  What the files of the driver share: a driven run.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_DRIVER_H
#define WF_DRIVER_H

#include "errors.h"
#include "machine.h"
#include "scheduler.h"

/* What a package step in progress has drawn, and passes on. */
typedef struct ChildSessions
{
	int			drawn;			/* sessions of the child, from the parent's
								 * reservation */
	int			added;			/* of them: added to it for this child */
	Jsonb	   *variables;		/* evaluated for it; NULL: not */
} ChildSessions;

/* The package transaction of a run, and of those that inherit it. */
typedef struct WfDrivenTransaction
{
	WfTransaction state;		/* what the machines share */
	WfDrivenRun *owner;
	List	   *heirs;			/* runs that inherit, and go on */

	/* of the one that is open */
	MemoryContext context;
	int32		number;			/* 0: none is */
	int64		id;
	TimestampTz started_at;
	int			steps;			/* that have worked in it */
	bool		on_record;		/* its end is: we are after a restart */
	bool		was_committed;	/* then */
	int			branch;			/* slot of the worker that is its branch; -1:
								 * none */
	bool		branch_own;		/* which is no connection's session */
	bool		branch_gone;	/* which is gone; that is not judged yet */
	int			end_entry;		/* that ends it, or -1 */
	dsa_pointer first_pending;	/* see pending.h */
	dsa_pointer last_pending;
	List	   *deferred;		/* WfStepOutcome *, to be written after it */
	List	   *ended;			/* heirs, whose end is to be written after it */
	char	   *last_step;		/* that has worked in it, with its package;
								 * NULL: none */
	char	   *cause;			/* of its rollback; NULL: not known */
	char	   *lost;			/* why it was lost; NULL: it was not */
} WfDrivenTransaction;

struct WfDrivenRun
{
	int64		run_id;			/* the key */
	WfScheduler *scheduler;
	WfRun		run;
	const WfPlan *plan;
	MemoryContext context;
	WfDrivenRun *parent;
	int			level;			/* 1: not a child */
	WfDrivenTransaction *transaction;	/* NULL: its package uses none */
	bool		inherits;		/* which is a run's above it */
	WfRunOutcome *outcome;		/* it has ended; NULL: not yet */
	WfRecord   *record;			/* NULL: nothing is on record */
	Jsonb	   *variables;
	dsa_pointer shared_variables;
	List	   *old_variables;	/* dsa_pointer *: steps in progress may still
								 * read them */
	Jsonb	   *set_variables;	/* those that steps have set; NULL: none */

	WfLiveRun  *live;
	WfMachine  *machine;		/* in the area, under live->lock */
	WfLiveStep *steps;			/* likewise */
	int		   *slots;			/* of each connection: its worker, or -1 */
	ChildSessions *sessions;	/* of each step */
	int64	   *earlier_children;	/* of a restarted run, of each step: the
									 * child run to restart, or 0; NULL: not
									 * asked for yet */
	int			reserved;		/* sessions */
	int			own_sessions;
	int			used;			/* own ones, and those drawn by children */

	int			unread;			/* attempts on record, or with an open child,
								 * that the machine has not asked for yet */
	bool		pause_then;		/* when they are read */
	List	   *backlog;		/* WfAction: there was no free entry, or they
								 * follow what is on record */
	bool		stopping;
	bool		parent_stops;
	bool		force;
	Oid			stopped_by;
	char	   *stop_reason;
	List	   *errors;			/* of steps: WfStepError */
	int			sqlstate;		/* of what made the driver fail the run */
	const char *message;

	bool		dirty;
	dlist_node	dirty_link;
};

/* An entry of WfScheduler.driven. */
typedef struct WfDrivenEntry
{
	int64		run_id;
	WfDrivenRun *run;
} WfDrivenEntry;

/* ---- driver.c ---- */

/* Take an action out of the machine; false if there is none. */
extern bool wf_driver_next_action(WfDrivenRun *r, WfAction *action);

/* Carry out actions: RECORD, CANCEL, TIMER. */
extern void wf_driver_record_passed(WfDrivenRun *r, const WfAction *action);
extern void wf_driver_cancel(WfScheduler *s, WfDrivenRun *r,
							 const WfAction *action);
extern void wf_driver_set_timer(WfScheduler *s, WfDrivenRun *r,
								const WfAction *action);

/* Events: a condition is answered, a step has set variables, the time of the
 * run is over. */
extern void wf_driver_answer_condition(WfScheduler *s, WfDrivenRun *r,
									   int32 step, WfCondition answer,
									   int sqlstate, const char *message);
extern void wf_driver_take_variables(WfScheduler *s, WfDrivenRun *r,
									 Jsonb *variables);
extern void wf_driver_time_out(WfScheduler *s, WfDrivenRun *r);

/* There is no free entry, or no session, for an action now. */
extern void wf_driver_keep_for_later(WfDrivenRun *r, const WfAction *action);

/* The run's error so far; false: there is none. */
extern bool wf_driver_get_error(const WfDrivenRun *r, WfStepError *error);
/* Let the views show it; live->lock held. */
extern void wf_driver_show_error(WfScheduler *s, WfDrivenRun *r);

/* The worker that stands for a session is free again. */
extern void wf_driver_release_session(WfScheduler *s, WfDrivenRun *r,
									  int slot);

/* Write the end of an heir, and forget the run. */
extern void wf_driver_write_end(WfScheduler *s, WfDrivenRun *r);

/* Feed the end of an attempt, whose outcome is written, to the machine. */
extern void wf_driver_step_ended(WfScheduler *s, WfDrivenRun *r, int32 step,
								 WfStepStatus status, int sqlstate,
								 const char *path, const char *message);

/* Write the outcome of an attempt that no worker has written, and feed it. */
extern void wf_driver_write_and_end_step(WfScheduler *s, WfDrivenRun *r,
										 int32 step, WfStepStatus status,
										 int sqlstate, const char *message);

/* The attempt of a step that was asked for last has not begun, and will not. */
extern void wf_driver_not_begun(WfScheduler *s, WfDrivenRun *r, int32 step);
/*
 * If a run that has ended is to be tried again: write its outcome, and make
 * the run that is the next attempt.  Then the caller, when it has let go of
 * the run's sessions, has it wait for its time.  In driver_retry.c.
 */
extern bool wf_driver_make_attempt(WfScheduler *s, WfDrivenRun *r,
								   const WfRunOutcome *outcome, WfRun *next);
extern void wf_driver_queue_attempt(WfScheduler *s, WfDrivenRun *r,
									const WfRun *next);

/* If an open child run may not start yet: have the step wait for its time. */
extern bool wf_driver_await_attempt(WfScheduler *s, WfDrivenRun *r,
									const WfRun *child);

/* The run's machine may have something to do. */
extern void wf_driver_mark_dirty(WfScheduler *s, WfDrivenRun *r);

/* Have something of a step evaluated by any worker of the owner. */
extern void wf_driver_hand_out_query(WfScheduler *s, WfDrivenRun *r,
									 const WfAction *action,
									 WfEntryKind kind);

/* ---- driver_replay.c ---- */

extern void wf_driver_replay(WfScheduler *s, WfDrivenRun *r, bool pause);

/* Answer an action from the record, if that has the answer. */
extern bool wf_driver_answered(WfScheduler *s, WfDrivenRun *r,
							   const WfAction *action);

/* An attempt is being read from the record; see there. */
extern void wf_driver_read_on(WfDrivenRun *r);
/* Event: the run fails for a reason that is not in its machine; the message
 * must stay. */
extern void wf_driver_fail(WfScheduler *s, WfDrivenRun *r, int sqlstate,
						   const char *message);

/* ---- interruption.c ---- */

/*
 * An attempt has no outcome, and nobody is at it.  If it had begun to commit,
 * write that it was interrupted, and feed it; else false.  cause: the last
 * words of the worker that was at it; NULL: not known.
 */
extern bool wf_interruption_end_step(WfScheduler *s, WfDrivenRun *r,
									 int32 step, int32 attempt,
									 const char *cause);
/* If it was found of the run that it fails, let it. */
extern bool wf_interruption_fail(WfScheduler *s, WfDrivenRun *r);

/* ---- driver_transaction.c; see there ---- */

extern void wf_driver_transaction_init(WfDrivenRun *r, bool inherits);
extern void wf_driver_enter_transaction(WfScheduler *s, WfDrivenRun *r,
										const WfAction *action);
extern bool wf_driver_fill_branch(WfDrivenRun *r, WfEntry *e, int *slot);
extern int	wf_driver_query_slot(WfDrivenRun *r, const WfAction *action);
extern void wf_driver_note_branch(WfDrivenRun *r, const WfEntry *e);
extern void wf_driver_take_pending(WfScheduler *s, WfDrivenRun *r,
								   WfEntry *e);
extern void wf_driver_write_outcome(WfDrivenRun *r,
									const WfStepOutcome *outcome);
extern bool wf_driver_defer_end(WfDrivenRun *r);
extern bool wf_driver_branch_keeps(WfDrivenRun *r, int slot);
extern void wf_driver_note_cause(WfDrivenRun *r, int32 step,
								 const char *message);
extern void wf_driver_lose_as_recorded(WfScheduler *s, WfDrivenRun *r);
extern bool wf_driver_end_from_record(WfScheduler *s, WfDrivenRun *r);
extern bool wf_driver_transaction_is_over(WfScheduler *s, WfDrivenRun *r);
extern void wf_driver_end_transaction(WfScheduler *s, WfDrivenRun *r,
									  const WfAction *action);
extern void wf_driver_cancel_commit(WfScheduler *s, WfDrivenRun *r);
extern void wf_driver_lose_transaction(WfScheduler *s, WfDrivenRun *r,
									   int sqlstate, const char *message);

/* ---- driver_child.c, driver_control.c ---- */

/* The child run of a package step goes on when it can be: see below. */
extern void wf_driver_wait_for_child(WfScheduler *s, WfDrivenRun *r,
									 const WfAction *action);

/* Carry out actions: CHILD, and CANCEL. */
extern void wf_driver_start_child(WfScheduler *s, WfDrivenRun *r,
								  const WfAction *action);
extern void wf_driver_cancel_step(WfScheduler *s, WfDrivenRun *r,
								  const WfAction *action);

/* The child run that a package step is about to go on with; false if there is
 * none. */
extern bool wf_driver_open_child(WfScheduler *s, const WfDrivenRun *r,
								 int32 step, int32 attempt, WfRun *child);
/* The number of those of a run. */
extern int	wf_driver_count_open_children(WfScheduler *s, int64 run_id);
/* It is in hand, or has ended. */
extern void wf_driver_forget_open_child(WfScheduler *s, const WfRun *child);

/* A package step does not wait for sessions any more. */
extern void wf_driver_stop_waiting(WfScheduler *s, const WfDrivenRun *r,
								   int32 step);

/* Does a child run of a package step, with this plan, inherit (R50)? */
extern bool wf_driver_inherits(const WfDrivenRun *r, int32 step,
							   const WfPlan *plan);

/* Reserve sessions for a child whether they are there or not. */
extern void wf_driver_draw_sessions(WfScheduler *s, WfDrivenRun *r,
									int32 step, const WfPlan *plan);

/* The child of a package step holds no session any more. */
extern void wf_driver_give_back_sessions(WfScheduler *s, WfDrivenRun *r,
										 int32 step);

/* Event: the time-out of a package step is due. */
extern void wf_driver_child_timeout(WfScheduler *s, WfDrivenRun *r,
									const WfTimer *timer);

/* Children that wait for sessions may find them now. */
extern void wf_driver_retry_waiting(WfScheduler *s);

#endif							/* WF_DRIVER_H */
