/*-------------------------------------------------------------------------
 *
 * machine.h
 *	  The run machine: the rules of a run as a pure state machine.
 *
 * A machine is driven like this: events are fed in (the run starts, a step
 * ended, a timer went off, somebody stops the run), and after each event
 * actions are taken out until there are none (execute this step, start this
 * child, record this step, end the run).  It does no input or output, runs
 * no SQL, reads no clock, allocates no memory and knows no process.
 *
 * Its whole state is one flat block without pointers, of wf_machine_size()
 * bytes, owned by the driver: memcpy() saves it and memcpy() brings it back.
 * A driver uses that when it must know what would follow a success before
 * the success is committed.  Given the same plan and the same events in the
 * same order, a machine always asks for the same actions; recovery rests on
 * that, by feeding a fresh machine from the record.
 *
 * The machines of a package that owns a transaction and of those that inherit
 * it share a WfTransaction, and what one of them does may be what another
 * waits for: after an event of one, the actions of all are taken out.
 *
 * Events that do not fit (the end of a step that is not running, a timer that
 * nobody waits for any more) change nothing.  When a run has ended only
 * timers may be left of what the driver was asked for; they are to be
 * forgotten.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_MACHINE_H
#define WF_MACHINE_H

#include "plan.h"
#include "transaction.h"

typedef struct WfMachine WfMachine;

typedef enum WfActionType
{
	WF_ACT_EXECUTE,				/* execute an sql step: step, attempt; in the
								 * branch of its instance if transaction is
								 * not 0 */
	WF_ACT_CHILD,				/* start the child run of a package step: step,
								 * attempt; if transaction is not 0, the child
								 * inherits */
	WF_ACT_CONDITION,			/* evaluate a step's condition, and answer by
								 * wf_machine_condition(): step; transaction:
								 * in whose branch, if it has one; nothing
								 * else happens there until the answer */
	WF_ACT_TIMER,				/* call wf_machine_timer() after a while: step,
								 * delay_ms; attempt: those made so far, 0 if
								 * it is the condition that is asked again */
	WF_ACT_RECORD,				/* a step ended without being executed, or
								 * otherwise than its last attempt said: write
								 * its outcome; step, attempt (0 if it never
								 * started), status, reason, error, sqlstate */
	WF_ACT_CANCEL,				/* cancel a step in progress or, if attempt is
								 * 0, the evaluation of its condition (it still
								 * ends by wf_machine_step_ended() or
								 * wf_machine_condition()): step, attempt.  If
								 * step is -1, the commit in progress */
	WF_ACT_COMMIT,				/* end the package transaction, and answer by */
	WF_ACT_ROLLBACK,			/* wf_machine_transaction_ended(): transaction.
								 * Nobody executes in it.  Given to the owner */
	WF_ACT_END					/* the run has ended: status; error_step */
} WfActionType;

/* An error of a step that no statement of it has raised. */
typedef enum WfMachineError
{
	WF_ERROR_NONE,
	WF_ERROR_CONDITION,			/* its condition failed */
	WF_ERROR_BRANCH_BUSY,		/* another connection to the same database
								 * executes in the transaction (R36, D6) */
	WF_ERROR_INVALID,			/* the transaction was rolled back already
								 * (R47) */
	WF_ERROR_COMMIT,			/* the commit that the step asked for failed */
	WF_ERROR_COMMIT_INVALID		/* there was nothing left to commit (R47) */
} WfMachineError;

typedef struct WfAction
{
	WfActionType type;
	int32		step;			/* index in plan->steps, or -1 */
	int32		attempt;		/* 1, 2, ... */
	int32		transaction;	/* number of the package transaction; 0: none */
	WfStepStatus status;		/* RECORD */
	WfReason	reason;			/* RECORD */
	WfMachineError error;		/* RECORD */
	int			sqlstate;		/* RECORD: of the condition or the commit that
								 * failed, or 0 */
	int64		delay_ms;		/* TIMER */
	WfRunStatus run_status;		/* END */
	int32		error_step;		/* END: the step whose error is the run's, or
								 * -1 */
	int32		failed_steps;	/* END: their number */
	bool		nothing_to_run; /* END: failed because no step was startable
								 * at the beginning (R48) */
	bool		failed_by_driver;	/* END: failed by wf_machine_fail() or since
									 * the commit on completion failed; the
									 * driver knows the error */
	bool		invalid_at_end; /* END: failed since the transaction to be
								 * committed was invalid (R47) */
} WfAction;

/* What the evaluation of a condition came to. */
typedef enum WfCondition
{
	WF_CONDITION_TRUE,
	WF_CONDITION_FALSE,
	WF_CONDITION_NULL,
	WF_CONDITION_ERROR
} WfCondition;

/* Size in bytes of a machine for this plan. */
extern Size wf_machine_size(const WfPlan *plan);

/*
 * wf_machine_init
 *		Make a machine in `memory` (wf_machine_size() bytes, MAXALIGNed) and
 *		feed it the start of the run.  The plan and the transaction must
 *		outlive it, at the same address.
 *
 * `transaction` is the run's own, as wf_transaction_init() has made it, or
 * with `inherits` that of the package it was started in (R50).  Not used, and
 * may be NULL, if the package does not use transactions.
 *
 * taken_over[step], for each step of the plan (NULL: none), is for a run that
 * takes over steps of an earlier one.  Such a step is never executed, nor does
 * it join: it ends as succeeded when its constraints hold, with a RECORD of
 * attempt 0 like every step that is not executed.
 */
extern WfMachine *wf_machine_init(void *memory, const WfPlan *plan,
								  WfTransaction *transaction, bool inherits,
								  const bool *taken_over);

/*
 * wf_machine_attach
 *		Make a copied block usable in this process, whose plan of the same
 *		version is `plan`.  It can only be looked at: its transaction is
 *		elsewhere.
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
 *		ended as WF_STEP_SUCCEEDED, WF_STEP_FAILED or WF_STEP_CANCELLED, with
 *		the SQLSTATE of its error, or 0.  A failed attempt need not be the
 *		end of the step: see wf_machine_awaits_retry().  WF_STEP_INTERRUPTED
 *		is for one that was cut off after it had begun to commit: the next one
 *		follows at once if the step is restartable, else the step has failed.
 */
extern void wf_machine_step_ended(WfMachine *machine, int32 step,
								  WfStepStatus status, int sqlstate);

/*
 * wf_machine_not_begun
 *		Event: the attempt that WF_ACT_EXECUTE or WF_ACT_CHILD asked for was
 *		not begun, and will not be.  It is not counted: the step could start
 *		as before, and does so unless there is a pause; in an interruption it
 *		is one that never started, or that failed with the attempt before.
 */
extern void wf_machine_not_begun(WfMachine *machine, int32 step);

/*
 * wf_machine_join_failed
 *		Event, instead of wf_machine_step_ended(): the attempt of a step that
 *		joins came to nothing since its branch could not be begun there (R8,
 *		R95).  If it was the last one, the step fails and the package with it,
 *		whatever fail_on_first_error says (R9).
 */
extern void wf_machine_join_failed(WfMachine *machine, int32 step,
								   int sqlstate);

/*
 * wf_machine_condition
 *		Event: the evaluation that WF_ACT_CONDITION asked for has ended; with
 *		WF_CONDITION_ERROR, the SQLSTATE.
 */
extern void wf_machine_condition(WfMachine *machine, int32 step,
								 WfCondition answer, int sqlstate);

/*
 * wf_machine_timer
 *		Event: the time that WF_ACT_TIMER gave has passed.
 */
extern void wf_machine_timer(WfMachine *machine, int32 step);

/*
 * wf_machine_transaction_ended
 *		Event: what WF_ACT_COMMIT or WF_ACT_ROLLBACK asked for is done.  A
 *		commit that failed has rolled everything back; sqlstate says why.
 */
extern void wf_machine_transaction_ended(WfMachine *machine, bool committed,
										 int sqlstate);

/*
 * wf_machine_transaction_lost
 *		Event, for the owner's machine: a session of the transaction is gone,
 *		and its work with it (D25).  The step that executed there ends by
 *		itself; who awaits a retry in the transaction has failed.  Not while
 *		the transaction is being ended: that answers.
 */
extern void wf_machine_transaction_lost(WfMachine *machine);

/*
 * wf_machine_set_replay
 *		While a record is replayed no step starts, nor is a condition asked,
 *		by itself: wf_machine_replay() asks for them in the order of the
 *		record, which may be another one than that of the machine, since
 *		answers come at once.  All other actions are given as ever.
 */
extern void wf_machine_set_replay(WfMachine *machine, bool replays);

/*
 * wf_machine_replay
 *		The next action about this step, in a replay: to ask its condition, or
 *		to start an attempt.  False if it is not its turn: its constraints are
 *		open, say, since the record lacks a step that it waits for.  There may
 *		be other actions then; the same call later may succeed.
 */
extern bool wf_machine_replay(WfMachine *machine, int32 step,
							  WfAction *action);

/*
 * wf_machine_stop
 *		Event: the run is to be cancelled.  No further step starts, steps in
 *		progress get WF_ACT_CANCEL, and the run ends as cancelled.  Once the
 *		result is fixed, only `finally` steps are left to be cut short and the
 *		result stays.
 */
extern void wf_machine_stop(WfMachine *machine);

/*
 * wf_machine_fail
 *		Event: the run is to fail for a reason that is not in the machine (its
 *		time-out).  Like wf_machine_stop(), but the run ends as failed.  What
 *		came first, wins; without effect once the result is fixed.
 */
extern void wf_machine_fail(WfMachine *machine);

/*
 * wf_machine_pause, wf_machine_resume
 *		Event: no further step, condition or retry starts; and goes on.  What
 *		is in progress ends.  A stop or wf_machine_fail() ends the pause.
 */
extern void wf_machine_pause(WfMachine *machine);
extern void wf_machine_resume(WfMachine *machine);

/*
 * wf_step_may_retry
 *		Does the step's definition ask for another attempt after this one
 *		failed with this SQLSTATE?  The machine may know better.
 */
extern bool wf_step_may_retry(const WfPlanStep *step, int32 attempt,
							  int sqlstate);

/* What the views show; cheap, no effect. */
extern WfStepStatus wf_machine_step_status(const WfMachine *machine, int32 step);
extern WfReason wf_machine_step_reason(const WfMachine *machine, int32 step);
extern int32 wf_machine_step_attempt(const WfMachine *machine, int32 step);
extern int32 wf_machine_running(const WfMachine *machine);
extern int32 wf_machine_failed_steps(const WfMachine *machine);
extern bool wf_machine_paused(const WfMachine *machine);
extern bool wf_machine_ended(const WfMachine *machine);

/*
 * wf_machine_error_step
 *		The step whose error is the run's so far, or -1: the one that failed
 *		the package, or else the first that failed.
 */
extern int32 wf_machine_error_step(const WfMachine *machine);

/* Why the package failed, if not by a step: see WfAction. */
extern bool wf_machine_nothing_to_run(const WfMachine *machine);
extern bool wf_machine_failed_by_driver(const WfMachine *machine);
extern bool wf_machine_invalid_at_end(const WfMachine *machine);

/*
 * wf_machine_run_result
 *		How the run will end, or WF_RUN_RUNNING as long as that is not fixed.
 *		Steps that start after it is fixed are the `finally` steps.
 */
extern WfRunStatus wf_machine_run_result(const WfMachine *machine);

/*
 * What a step that could start waits for: the first that is true of a place
 * (R42), its connection, its turn among the steps with main_thread (R40).
 * None is true in a pause.
 */
extern bool wf_machine_waits_for_slot(const WfMachine *machine, int32 step);
extern bool wf_machine_waits_for_connection(const WfMachine *machine,
											int32 step);
extern bool wf_machine_waits_for_main_thread(const WfMachine *machine,
											 int32 step);

/* Its condition is to be evaluated, is being evaluated, or gave null. */
extern bool wf_machine_waits_for_condition(const WfMachine *machine,
										   int32 step);

/*
 * It waits for the transaction: to join the next one when the present one has
 * ended, or until nobody executes in its branch.
 */
extern bool wf_machine_waits_for_transaction(const WfMachine *machine,
											 int32 step);

/* It has done its work, and the commit that it asked for is not done. */
extern bool wf_machine_awaits_commit(const WfMachine *machine, int32 step);

/* It had done its work, but its transaction had been rolled back already. */
extern bool wf_machine_commit_was_invalid(const WfMachine *machine,
										  int32 step);

/* Number of the transaction that it is or was in; 0: none. */
extern int32 wf_machine_step_transaction(const WfMachine *machine, int32 step);

/* An attempt failed and the next one has not started; the step is running. */
extern bool wf_machine_awaits_retry(const WfMachine *machine, int32 step);

#endif							/* WF_MACHINE_H */
