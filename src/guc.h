/*-------------------------------------------------------------------------
 *
 * guc.h
 *	  The settings of the extension.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_GUC_H
#define WF_GUC_H

/* When a commit is flushed: see "Commit mode" in README. */
typedef enum WfCommitMode
{
	WF_COMMIT_PIPELINED,
	WF_COMMIT_SYNCHRONOUS
} WfCommitMode;

/* Which runs are told of in the server log. */
typedef enum WfLogRuns
{
	WF_LOG_RUNS_OFF,
	WF_LOG_RUNS_FAILURES,
	WF_LOG_RUNS_ALL
} WfLogRuns;

extern bool wf_enabled;
extern int	wf_max_workers;
extern int	wf_worker_idle_timeout; /* ms */
extern int	wf_commit_mode;
extern bool wf_inline_driver;
extern int	wf_max_nesting_level;
extern int	wf_max_message_size;	/* bytes */
extern int	wf_log_runs;
extern int	wf_history_retention;	/* s; 0: for ever */

/*
 * What workflow.variables shows in a process that executes steps; gives NULL
 * where no step is in progress.  Set by such a process.
 */
typedef const char *(*WfShowVariables) (void);
extern WfShowVariables wf_guc_show_variables;
extern char *wf_guc_variables;	/* what is stored, for parallel workers */

extern void wf_guc_init(void);

#endif							/* WF_GUC_H */
