/*-------------------------------------------------------------------------
 *
 * history.h
 *	  The record of runs: append rows, read them back.
 *
 * All functions need a transaction with an active snapshot.  What is
 * inserted commits with whatever else the transaction does: that is the
 * point.  Reads see the newest committed rows, whatever the transaction's
 * own snapshot is.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_HISTORY_H
#define WF_HISTORY_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "datatype/timestamp.h"
#include "utils/jsonb.h"
#include "utils/snapshot.h"

#include "workflow.h"

/* A run as it was requested. */
typedef struct WfRun
{
	int64		run_id;
	int64		package_id;
	int32		version;
	Oid			owner;			/* the role that it runs as */
	Oid			requested_by;
	int32		priority;
	TimestampTz requested_at;
	int64		parent_run_id;	/* 0: none; then the next three are unused */
	int64		root_run_id;
	int32		parent_step;
	int32		parent_attempt;
	TimestampTz start_at;		/* not before; 0: at once */
	Jsonb	   *variables;		/* those given at the start; NULL: none */
	const char *request_key;	/* NULL: none */
	int64		restart_of;		/* the run that it goes on with; 0: none */
	int32		attempt;		/* of the max_attempts of the package; 0 and
								 * 1: the first */
} WfRun;

/* That a run was restarted. */
typedef struct WfRestart
{
	int64		run_id;
	int64		restarted_as;
	bool		automatic;		/* since its package has max_attempts */
	bool		use_current_version;
	const char *from_step;		/* a name, or NULL */
} WfRestart;

/* How an attempt of a step ended. */
typedef struct WfStepOutcome
{
	int64		run_id;
	int32		step;
	int32		attempt;		/* 0: it never started */
	int			pid;			/* 0: no process executed it */
	TimestampTz started_at;		/* 0: it never started */
	TimestampTz finished_at;	/* 0: it never started */
	int64		rows;			/* -1: none to speak of */
	int64		remote_run_id;	/* run that a job step has started; 0: none */
	int64		transaction_id; /* of the package transaction in which it
								 * worked; 0: none */
	int32		statement;		/* number of the failing one; 0: none failed */
	WfStepStatus status;
	WfReason	reason;
	int			sqlstate;		/* 0: no error; then the rest is NULL */
	const char *message;
	const char *detail;
	const char *hint;
	const char *context;
	const char *messages;		/* notices and warnings, a line each; or NULL */
	Jsonb	   *result;			/* first row of the last statement, or NULL */
	Jsonb	   *variables;		/* those that the step has set, or NULL */
	int64		child_run_id;	/* the last run of a package step; 0: none */
} WfStepOutcome;

/* How a run ended. */
typedef struct WfRunOutcome
{
	int64		run_id;
	WfRunStatus status;
	TimestampTz started_at;		/* 0: it never started */
	TimestampTz finished_at;
	int32		failed_steps;
	const char *error_path;		/* NULL: no error */
	int			sqlstate;		/* 0: no error */
	const char *message;
	Oid			stopped_by;
	const char *stop_reason;
	Jsonb	   *variables;		/* those that steps have set, or NULL */
} WfRunOutcome;

/* How a package transaction ended. */
typedef struct WfTransactionOutcome
{
	int64		run_id;			/* the owner */
	int32		number;			/* 1, 2, ... in its run */
	int32		steps;			/* that have worked in it */
	int64		transaction_id;
	TimestampTz started_at;
	TimestampTz finished_at;
	bool		committed;		/* else rolled back */
	WfIsolation isolation;
	int			sqlstate;		/* 0: no error made it end */
	const char *message;
} WfTransactionOutcome;

/* Message of a run that had no step to start with (R48, 55000). */
#define WF_NOTHING_TO_RUN	"no step of the package can be started"

/* Message of a package step whose child run was stopped by itself (57014). */
#define WF_CHILD_CANCELLED	"the child run was cancelled"

/* Message of a step whose time-out is over (57014); reason of the stop of its
 * child run. */
#define WF_STEP_TIMED_OUT	"canceling step due to its timeout"

extern int64 wf_history_next_run_id(void);
extern void wf_history_insert_run(const WfRun *run);
extern void wf_history_insert_run_outcome(const WfRunOutcome *outcome);
extern void wf_history_insert_step_outcome(const WfStepOutcome *outcome);

/*
 * Let a run have taken over an outcome of an earlier one, as attempt 0 of one
 * of its own steps.  False if there is no such outcome.
 */
extern bool wf_history_take_over(const WfStepOutcome *earlier, int64 run_id,
								 int32 step);
/* The step under whose number the begin of a run is noted, as attempt 0. */
#define WF_STEP_OF_RUN	(-1)

/*
 * Note that an attempt has begun to commit parts of its work, or
 * (!committed) that it is about to begin.
 */
extern void wf_history_insert_step_start(int64 run_id, int32 step,
										 int32 attempt,
										 TimestampTz started_at,
										 bool committed);

/* history_transaction.c */
extern int64 wf_history_next_transaction_id(void);
extern void wf_history_insert_transaction(const WfTransactionOutcome *outcome);
/* The end of the n-th transaction of a run; false: it is not on record. */
extern bool wf_history_read_transaction(int64 run_id, int32 number,
										WfTransactionOutcome *outcome);
/* Whether the transaction with this number was committed. */
extern bool wf_history_transaction_committed(int64 transaction_id);

/* What was asked of a run (codes as stored). */
#define WF_ASKED_PAUSE	'p'
#define WF_ASKED_RESUME	'r'
#define WF_ASKED_STOP	's'

extern void wf_history_insert_command(int64 run_id, char command, Oid role,
									  const char *reason);
/* The last one, or 0; *xid is the transaction that wrote it. */
extern char wf_history_last_command(int64 run_id, TransactionId *xid);

/* True if somebody asked for the end of a run; who (InvalidOid: its time-out),
 * and why. */
extern bool wf_history_read_stop(int64 run_id, Oid *stopped_by,
								 const char **reason);

/* The run that was requested under a key, or 0; and note a run for a key. */
extern int64 wf_history_find_request_key(int64 package_id, const char *key);
extern void wf_history_insert_request_key(int64 package_id, const char *key,
										  int64 run_id);

/* A row of the table of runs; strings are palloc'd. */
extern void wf_history_deform_run(HeapTuple tuple, TupleDesc desc,
								  WfRun *run);
/* That a run was restarted; the read: false if it was not. */
extern void wf_history_insert_restart(const WfRestart *restart);
extern bool wf_history_read_restart(int64 run_id, WfRestart *restart);

/* The run that was made of a failed one as max_attempts of its package asks
 * for, or 0; and the last of them, the run itself if there is none. */
extern int64 wf_history_next_attempt(int64 run_id);
extern int64 wf_history_last_attempt(int64 run_id);

/* When the first attempt of a run was requested. */
extern TimestampTz wf_history_requested_at(const WfRun *run);

/* The run with this number; false if there is none. */
extern bool wf_history_read_run(int64 run_id, WfRun *run);

/*
 * The outcome of a run; false if it has none.  *xid is the transaction that
 * wrote it: what must be flushed before the outcome is acknowledged.
 */
extern bool wf_history_read_run_outcome(int64 run_id, WfRunOutcome *outcome,
										TransactionId *xid);
extern bool wf_history_run_ended(int64 run_id);

/*
 * What is on record of the steps of a run, ordered by (step, attempt); with
 * their status, times, SQLSTATE, message, transaction, variables and child.
 * Palloc'd.
 */
typedef struct WfRecord
{
	int			n;
	WfStepOutcome *outcomes;
} WfRecord;

extern WfRecord *wf_history_read_record(int64 run_id);
/* Whether anything is on record but what the run has taken over. */
extern bool wf_history_record_has_begun(const WfRecord *record);
/* When the first attempt began that is not of an earlier run; 0: none did. */
extern TimestampTz wf_history_record_began(const WfRecord *record);
/* The outcome of an attempt, NULL if none is on record (or no record). */
extern const WfStepOutcome *wf_history_find_outcome(const WfRecord *record,
													int32 step,
													int32 attempt);

/*
 * Write the end of a run: its outcome and, if a package step started it, the
 * outcome of that step, so that both commit together; transaction_id: the
 * package transaction that the step has joined, or 0.
 */
extern void wf_history_end_run(const WfRun *run, const WfRunOutcome *outcome,
							   int64 transaction_id, bool parent_stops);
/* The status of a package step whose child run ended like this. */
extern WfStepStatus wf_history_step_status(WfRunStatus status,
										   bool parent_stops);

/* The message of that step, when the run was cancelled. */
extern const char *wf_history_cancelled_message(Oid stopped_by,
												const char *stop_reason);

/* The newest outcome of a step that is on record; false if there is none. */
extern bool wf_history_read_step_outcome(int64 run_id, int32 step,
										 WfStepOutcome *outcome);

/* True if that was noted of the attempt, with its begin; and of any attempt
 * of the run, or of the run.  Outcomes are not looked at. */
extern bool wf_history_step_started(int64 run_id, int32 step, int32 attempt,
									TimestampTz *started_at);
extern bool wf_history_any_started(int64 run_id);

/*
 * Call back for each run without outcome, in order of run_id, from the
 * horizon on.  The WfRun is valid during the call.  *last is the highest
 * run_id seen, ended ones included.
 */
typedef void (*WfOpenRunCallback) (const WfRun *run, void *arg);
extern void wf_history_scan_open(WfOpenRunCallback callback, void *arg,
								 int64 *last);

/* The horizon, as a snapshot shows it: all but a few runs below it have ended
 * in that. */
extern int64 wf_history_horizon(Snapshot snapshot);

/*
 * Move the horizon: every run below run_id has ended, but for those in
 * still_open (an array of n).
 */
extern void wf_history_move_horizon(int64 run_id, const int64 *still_open,
									int n);

/* ---- history_purge.c ---- */

/*
 * The lock between who deletes from history (AccessExclusiveLock) and who
 * makes a run that refers to an ended one (AccessShareLock), to the end of
 * the transaction.  Take it, then read what is to be deleted or referred to.
 */
extern void wf_history_lock(int lockmode);

/*
 * Call back for each run from run_id `from` on, in order of run_id, or the
 * other way round, until it returns false.  The WfRun is valid during the
 * call, and so is what the callback allocates in the current context.
 */
typedef bool (*WfRunCallback) (const WfRun *run, void *arg);
extern void wf_history_scan_runs(int64 from, bool backward,
								 WfRunCallback callback, void *arg);

/* Delete an ended run, with all its rows in all tables.  Lock held. */
extern void wf_history_delete_run(const WfRun *run);

#endif							/* WF_HISTORY_H */
