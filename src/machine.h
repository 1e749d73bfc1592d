/*-------------------------------------------------------------------------
 *
 * machine.h
 *	  The run machine: the rules of a run as a pure state machine.
 *
 * A machine is driven like this: events are fed in (the run starts, a step
 * ended, somebody stops the run), and after each event actions are taken out
 * until there are none (execute this step, start this child, record this
 * step, end the run).  It does no input or output, runs no SQL, reads no
 * clock, allocates no memory and knows no process.
 *
 * Its whole state is one flat block without pointers, of wf_machine_size()
 * bytes, owned by the driver: memcpy() saves it and memcpy() brings it back.
 * A driver uses that when it must know what would follow a success before
 * the success is committed.  Given the same plan and the same events in the
 * same order, a machine always asks for the same actions; recovery rests on
 * that, by feeding a fresh machine from the record.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_MACHINE_H
#define WF_MACHINE_H

#include "plan.h"

typedef struct WfMachine WfMachine;

typedef enum WfActionType
{
	WF_ACT_EXECUTE,				/* execute an sql step: step, attempt */
	WF_ACT_CHILD,				/* start the child run of a package step: step,
								 * attempt */
	WF_ACT_RECORD,				/* a step ended without being executed: write
								 * its outcome; step, attempt (0 if it never
								 * started), status, reason */
	WF_ACT_CANCEL,				/* cancel a step in progress (it still ends by
								 * wf_machine_step_ended): step, attempt */
	WF_ACT_END					/* the run has ended: status; error_step */
} WfActionType;

typedef struct WfAction
{
	WfActionType type;
	int32		step;			/* index in plan->steps, or -1 */
	int32		attempt;		/* 1, 2, ... */
	WfStepStatus status;		/* RECORD */
	WfReason	reason;			/* RECORD */
	WfRunStatus run_status;		/* END */
	int32		error_step;		/* END: the step whose error is the run's, or
								 * -1 */
	int32		failed_steps;	/* END: their number */
	bool		nothing_to_run; /* END: failed because no step was startable
								 * at the beginning (R48) */
} WfAction;

/* Size in bytes of a machine for this plan. */
extern Size wf_machine_size(const WfPlan *plan);

/*
 * wf_machine_init
 *		Make a machine in `memory` (wf_machine_size() bytes, MAXALIGNed) and
 *		feed it the start of the run.  The plan must outlive it, at the same
 *		address.
 */
extern WfMachine *wf_machine_init(void *memory, const WfPlan *plan);

/*
 * wf_machine_attach
 *		Make a copied block usable in this process, whose plan of the same
 *		version is `plan`.
 */
extern WfMachine *wf_machine_attach(void *memory, const WfPlan *plan);

/*
 * wf_machine_next
 *		Take the next action out.  False when there is none: feed an event.
 *		The last action of every run is WF_ACT_END, given once.
 */
extern bool wf_machine_next(WfMachine *machine, WfAction *action);

/*
 * wf_machine_step_ended
 *		Event: the attempt that WF_ACT_EXECUTE or WF_ACT_CHILD asked for has
 *		ended as WF_STEP_SUCCEEDED, WF_STEP_FAILED or WF_STEP_CANCELLED.
 */
extern void wf_machine_step_ended(WfMachine *machine, int32 step,
								  WfStepStatus status);

/*
 * wf_machine_stop
 *		Event: the run is to be cancelled.  No further step starts, steps in
 *		progress get WF_ACT_CANCEL, and the run ends as cancelled.
 */
extern void wf_machine_stop(WfMachine *machine);

/* What the views show; cheap, no effect. */
extern WfStepStatus wf_machine_step_status(const WfMachine *machine, int32 step);
extern WfReason wf_machine_step_reason(const WfMachine *machine, int32 step);
extern int32 wf_machine_step_attempt(const WfMachine *machine, int32 step);
extern int32 wf_machine_running(const WfMachine *machine);
extern int32 wf_machine_failed_steps(const WfMachine *machine);
extern int32 wf_machine_error_step(const WfMachine *machine);
extern bool wf_machine_ended(const WfMachine *machine);

/* True if the step could start now but for the connection that it needs. */
extern bool wf_machine_waits_for_connection(const WfMachine *machine,
											int32 step);

#endif							/* WF_MACHINE_H */
