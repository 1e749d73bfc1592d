/*-------------------------------------------------------------------------
 *
 * workflow.h
 *	  Vocabulary: the words of the product, as types, with their text forms.
 *
 * A *package* is the definition, a *step* one unit of work in it, a *run*
 * one execution of a package, an *attempt* one try of a step in a run.  Every
 * file includes this one and it includes nothing: it is read by code that
 * has no server around it (the run machine and its test program), so it uses
 * only what c.h gives.
 *
 * The enumerators are the codes that the tables store in "char" columns;
 * they are part of the on-disk format and never change their meaning.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WORKFLOW_H
#define WORKFLOW_H

#define WF_EXTENSION	"workflow"
#define WF_SCHEMA		"workflow"

/* What a step does. */
typedef enum WfStepKind
{
	WF_KIND_SQL = 's',
	WF_KIND_PACKAGE = 'p',
	WF_KIND_JOB = 'j',
	WF_KIND_NONE = 'n'
} WfStepKind;

/* When a precedence constraint holds (R65). */
typedef enum WfOn
{
	WF_ON_SUCCESS = 's',
	WF_ON_FAILURE = 'f',
	WF_ON_COMPLETION = 'c'
} WfOn;

typedef enum WfStepStatus
{
	WF_STEP_WAITING = 'w',
	WF_STEP_RUNNING = 'r',
	WF_STEP_SUCCEEDED = 's',
	WF_STEP_FAILED = 'f',
	WF_STEP_SKIPPED = 'k',
	WF_STEP_CANCELLED = 'c',
	WF_STEP_INTERRUPTED = 'i'
} WfStepStatus;

/* Why a step was skipped or never started (R69), or that it was taken over. */
typedef enum WfReason
{
	WF_REASON_NONE = 0,
	WF_REASON_DISABLED = 'd',
	WF_REASON_CONDITION = 'o',
	WF_REASON_CONSTRAINT = 'n',
	WF_REASON_PACKAGE_FAILED = 'p',
	WF_REASON_CANCELLED = 'c',
	WF_REASON_RESTART = 'r'		/* it succeeded: in the run of which this one
								 * is a restart */
} WfReason;

typedef enum WfRunStatus
{
	WF_RUN_QUEUED = 'q',
	WF_RUN_RUNNING = 'r',
	WF_RUN_PAUSED = 'p',
	WF_RUN_SUCCEEDED = 's',
	WF_RUN_FAILED = 'f',
	WF_RUN_CANCELLED = 'c',
	WF_RUN_SKIPPED = 'k'
} WfRunStatus;

/* Isolation level of a package transaction (R5). */
typedef enum WfIsolation
{
	WF_READ_COMMITTED = 'c',
	WF_REPEATABLE_READ = 'r',
	WF_SERIALIZABLE = 's'
} WfIsolation;

/* Text forms, as product.md spells them; NULL for a code that is none. */
extern const char *wf_step_kind_name(char kind);
extern const char *wf_on_name(char on);
extern const char *wf_step_status_name(char status);
extern const char *wf_reason_name(char reason);
extern const char *wf_run_status_name(char status);

#endif							/* WORKFLOW_H */
