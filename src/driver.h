/*-------------------------------------------------------------------------
 *
 * driver.h
 *	  What the files of the driver share: a driven run.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_DRIVER_H
#define WF_DRIVER_H

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

struct WfDrivenRun
{
	int64		run_id;			/* the key */
	WfScheduler *scheduler;
	WfRun		run;
	const WfPlan *plan;
	MemoryContext context;
	WfDrivenRun *parent;
	int			level;			/* 1: not a child */
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
	int			used;			/* own ones, and those drawn by children */

	List	   *backlog;		/* WfAction: there was no free entry */
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

/* Feed the end of an attempt, whose outcome is written, to the machine. */
extern void wf_driver_step_ended(WfScheduler *s, WfDrivenRun *r, int32 step,
								 WfStepStatus status, int sqlstate,
								 const char *path, const char *message);

/* Write the outcome of an attempt that no worker has written, and feed it. */
extern void wf_driver_write_and_end_step(WfScheduler *s, WfDrivenRun *r,
										 int32 step, WfStepStatus status,
										 int sqlstate, const char *message);

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

/* The child run of a package step goes on when it can be: see below. */
extern void wf_driver_wait_for_child(WfScheduler *s, WfDrivenRun *r,
									 const WfAction *action);

/* Carry out actions: CHILD, and CANCEL. */
extern void wf_driver_start_child(WfScheduler *s, WfDrivenRun *r,
								  const WfAction *action);
extern void wf_driver_cancel_step(WfScheduler *s, WfDrivenRun *r,
								  const WfAction *action);

/* End the child that a package step was about to go on with, and the step;
 * false if there is none. */
extern bool wf_driver_end_open_child(WfScheduler *s, WfDrivenRun *r,
									 const WfAction *action);

/* The child of a package step holds no session any more. */
extern void wf_driver_give_back_sessions(WfScheduler *s, WfDrivenRun *r,
										 int32 step);

/* Children that wait for sessions may find them now. */
extern void wf_driver_retry_waiting(WfScheduler *s);

#endif							/* WF_DRIVER_H */
