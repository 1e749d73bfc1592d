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
	int			reserved;		/* sessions */
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

/* The run's machine may have something to do. */
extern void wf_driver_mark_dirty(WfScheduler *s, WfDrivenRun *r);

/* Have something of a step evaluated by any worker of the owner. */
extern void wf_driver_hand_out_query(WfScheduler *s, WfDrivenRun *r,
									 const WfAction *action,
									 WfEntryKind kind);

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
