/*-------------------------------------------------------------------------
 *
 * session.h
 *	  A session: executes attempts of steps and knows nothing of packages.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_SESSION_H
#define WF_SESSION_H

#include "utils/jsonb.h"

#include "history.h"
#include "plan.h"

/* One attempt of a step. */
typedef struct WfStepCall WfStepCall;

struct WfStepCall
{
	int64		run_id;
	const WfPlan *plan;
	int32		step;
	int32		attempt;
	Jsonb	   *variables;		/* the run's; never NULL */
	bool		keep_session;	/* the session goes on after the step: what the
								 * step's own settings change is put back */
	char		run_status;		/* of a `finally` step: how the run ends; 0: it
								 * is none */
	int			run_sqlstate;	/* then, if the run fails: its error */
	const char *error_path;
	const char *error_message;
	const char *query;			/* execute this instead of the step's command;
								 * its first row is the result */
	int64		(*perform) (const WfStepCall *call);	/* call this instead, in
														 * the transaction; gives
														 * a run, or 0 */
};

/* The attempt in progress in this process, NULL outside one: what run_id()
 * and its like read. */
extern const WfStepCall *wf_session_step;

/*
 * Called in the step's transaction when its work is done and all constraints
 * are checked, just before the commit; a snapshot is active.  Writes what is
 * to commit with the work.  An ERROR rolls all of it back.
 */
typedef void (*WfBeforeCommit) (const WfStepOutcome *outcome, void *arg);

/*
 * wf_session_execute
 *		Execute one attempt in a transaction of its own.
 *
 * No transaction on entry.  With `in_transaction` the caller has started the
 * one to use (it has only read) and holds no snapshot.  On success the work
 * and what `before_commit` wrote are committed and the result is true.  Else
 * nothing is (but for what the step committed itself), *outcome has the
 * error, and the caller records it.  In neither case a transaction is left.
 * *outcome's strings live until the next call.  An error of the step never
 * leaves this function; FATAL ends the process.
 */
extern bool wf_session_execute(const WfStepCall *call, bool in_transaction,
							   WfBeforeCommit before_commit, void *arg,
							   WfStepOutcome *outcome);

/*
 * The branch of a package transaction: a transaction block that this session
 * keeps open from the first step that works in it to its end.
 *
 * wf_session_execute_in_branch
 *		Execute one attempt in the branch, opening that, at this isolation
 *		level, if it is not open.  `before_release` is called when the work is
 *		done and can still be undone by an ERROR; no snapshot is active then.
 *		The result is true on success; else *outcome has the error, and the
 *		branch is as it was before the attempt, but for the statements before
 *		the failing one of a step that is not atomic and is not tried again
 *		(R17, P7).  No transaction command is in progress on return.
 *
 * wf_session_commit_branch
 *		Fire deferred triggers, call before_commit with a snapshot and a NULL
 *		outcome, and commit.  False: all is rolled back, and *outcome has the
 *		error.
 *
 * wf_session_rollback_branch
 *		Roll all back; nothing happens if no branch is open.
 */
extern bool wf_session_in_branch(void);
extern bool wf_session_execute_in_branch(const WfStepCall *call,
										 char isolation,
										 WfBeforeCommit before_release,
										 void *arg, WfStepOutcome *outcome);
extern bool wf_session_commit_branch(WfBeforeCommit before_commit, void *arg,
									 WfStepOutcome *outcome);
extern void wf_session_rollback_branch(void);

/*
 * The variables of the run as the step in progress sees them: what it has set
 * itself is over the run's.
 */
extern Jsonb *wf_session_variables(void);

/* Set variables (an object) for the rest of the step and, if it succeeds, for
 * the run. */
extern void wf_session_set_variables(Jsonb *variables);

/* Where report_progress() goes; set by the process that executes steps. */
typedef void (*WfReportProgress) (int64 done, int64 total,
								  const char *message);
extern WfReportProgress wf_session_report_progress;

/*
 * Put the session back to what it was after connecting: the pieces of
 * DISCARD ALL that are not empty.  No transaction on entry and exit.
 */
extern void wf_session_reset(void);

/*
 * FATAL, with the error of a connection that is refused, if the role could not
 * connect to the database any more.  Costs nothing if no role and no database
 * has changed.  In a transaction.
 */
extern void wf_session_check_role(void);

/*
 * A transaction for the agent's own writing in a worker, which no setting of
 * the session reaches; a snapshot is active.  While a branch is open, it is
 * the branch: only for reading then.
 */
extern void wf_session_begin_own(void);
extern void wf_session_commit_own(void);

extern void wf_session_init(void);

#endif							/* WF_SESSION_H */
