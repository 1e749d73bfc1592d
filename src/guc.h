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

extern bool wf_enabled;
extern int	wf_max_workers;
extern int	wf_worker_idle_timeout; /* ms */
extern int	wf_commit_mode;
extern int	wf_max_nesting_level;
extern int	wf_max_message_size;	/* bytes */

extern void wf_guc_init(void);

#endif							/* WF_GUC_H */
