/*-------------------------------------------------------------------------
 *
 * plan.h
 *	  A compiled package version: what the run machine and the drivers read.
 *
 * A plan is immutable, and so is the version that it was made from, so a
 * plan is cached per process by (package, version) and never goes stale.
 * Steps are known by their index in `steps`, in the order of the document;
 * that index is the `step` column of the history tables.
 *
 * The types here use nothing of the server, so that the machine's test
 * program can make plans of its own.  What compiles a document into a plan
 * is in plan.c and declared at the end, for the server only.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_PLAN_H
#define WF_PLAN_H

#include "workflow.h"

#ifndef FRONTEND
#include "utils/jsonb.h"
#else
typedef struct Jsonb Jsonb;
#endif

/* What start_job() does when max_concurrent_runs are there. */
#define WF_OVERLAP_QUEUE	'q'
#define WF_OVERLAP_REJECT	'r'
#define WF_OVERLAP_SKIP		's'

/* One precedence constraint, kept with the step that it starts from. */
typedef struct WfPlanEdge
{
	int32		to;				/* index of the step that waits */
	WfOn		on;
} WfPlanEdge;

/* An error, or a class of errors, after which a step is tried again. */
typedef struct WfPlanError
{
	int32		sqlstate;		/* as MAKE_SQLSTATE() packs it */
	bool		is_class;		/* only its first two characters count */
} WfPlanError;

typedef struct WfPlanConnection
{
	char	   *name;
	char	   *server;			/* NULL: this database */
	bool		transactional;	/* steps can join through it */
	int32		instance;		/* 0: this database.  Connections with the
								 * same number share a branch */
} WfPlanConnection;

typedef struct WfPlanStep
{
	char	   *name;
	WfStepKind	kind;
	char	   *command;		/* SQL text, or a package's name; NULL for
								 * WF_KIND_NONE */
	int32		connection;		/* index in plan->connections, or -1 */
	int32		priority;		/* higher starts first (R43) */
	int32		first_edge;		/* its outgoing constraints are */
	int32		nedges;			/* plan->edges[first_edge .. + nedges - 1] */
	int32		nconstraints;	/* number of constraints that lead to it */
	int32		max_attempts;	/* 0 and 1: no retry */
	int32		nretry_on;		/* 0: any error */
	WfPlanError *retry_on;
	int64		retry_delay_ms;
	double		retry_backoff;	/* the delay's factor from retry to retry */
	int64		condition_interval_ms;
	char		finally;		/* a WfOn, or 0 for a step of the graph */
	bool		any;			/* precedence: any (P6), else all (R64) */
	bool		disabled;
	bool		has_condition;
	bool		main_thread;	/* R40 */
	bool		fail_package_on_error;	/* R45 */
	bool		restartable;	/* executed again after it was cut off when it
								 * had begun to commit */

	/* these three only if the package uses transactions (R4, R6) */
	bool		joins;			/* the package transaction */
	bool		commit_on_success;	/* R20 */
	bool		rollback_on_failure;	/* R18 */

	/* for the drivers; the machine does not look at these */
	bool		atomic;			/* statements succeed or fail together */
	int64		timeout_ms;		/* of an attempt; 0: none */
	int64		lock_timeout_ms;	/* 0: none */
	char	   *condition;		/* an SQL expression, or NULL */
	char	   *result_variable;	/* a declared variable, or NULL */
	Jsonb	   *settings;		/* object; NULL: none.  Over the package's */
	Jsonb	   *variables;		/* object, child's variable -> SQL expression;
								 * NULL: those that the child declares */
} WfPlanStep;

/* A name and what it stands for; arrays of these are sorted by name. */
typedef struct WfPlanName
{
	const char *name;
	int32		index;
} WfPlanName;

typedef struct WfPlan
{
	int64		package_id;
	int32		version;
	char	   *name;
	bool		fail_on_first_error;
	bool		use_transactions;
	bool		commit_on_completion;	/* R22, R23 */
	char		isolation;		/* a WfIsolation */
	int32		max_concurrent_steps;
	int32		nsteps;
	WfPlanStep *steps;
	int32		nedges;
	WfPlanEdge *edges;
	int32		nconnections;
	WfPlanConnection *connections;

	/* for the drivers; the machine does not look at these */
	bool		inline_run;		/* at most one local session at any time, no
								 * child, no timer: one worker runs it whole */
	int32		sessions;		/* sessions a run may hold at one time, without
								 * those of its children: see admission */
	int32		sessions_inheriting;	/* the same in an inherited transaction */
	Jsonb	   *variables;		/* declared variables with their defaults;
								 * never NULL */
	int32		nrequired;
	char	  **required;		/* variables that a start must give */
	Jsonb	   *settings;		/* object; NULL: none */
	bool		enabled;
	int32		priority;		/* of a run that is given none */
	int32		max_concurrent_runs;	/* 0: no limit */
	char		on_overlap;		/* q(ueue), r(eject), s(kip) */
	char		on_interruption;	/* r(esume), f(ail) */
	int64		timeout_ms;		/* of a run; 0: none */
	int32		max_attempts;	/* of a failed run, which is restarted */
	int64		retry_delay_ms;
	int32		nretry_on;		/* 0: any error */
	WfPlanError *retry_on;
	int64		history_retention_ms;	/* -1: the setting's */
	WfPlanName *step_names;		/* for wf_plan_step_index() */
} WfPlan;

/* The part of a SQLSTATE that is its class, as MAKE_SQLSTATE() packs it. */
#define WF_SQLSTATE_CLASS(sqlstate)	((sqlstate) & 0xFFF)

/* Is an error one of these (the retry_on of a step or package)? */
static inline bool
wf_plan_retries_on(const WfPlanError *errors, int32 n, int32 sqlstate)
{
	int32		i;

	for (i = 0; i < n; i++)
	{
		if (errors[i].sqlstate == sqlstate ||
			(errors[i].is_class && WF_SQLSTATE_CLASS(errors[i].sqlstate) ==
			 WF_SQLSTATE_CLASS(sqlstate)))
			return true;
	}
	return n == 0;
}

#ifndef FRONTEND

/*
 * wf_plan_compile
 *		Make a plan of a document, as given to define_package() and stored in
 *		definition_version or normalised, in the current memory context.
 *		ERROR, naming the package and the step, if it is not valid.
 */
extern WfPlan *wf_plan_compile(int64 package_id, int32 version,
							   Jsonb *document);

/*
 * wf_plan_get
 *		The plan of a version, from this process' cache, compiled at first
 *		use.  NULL if there is no such version.  Needs a transaction with an
 *		active snapshot; the result lives as long as the process, or until the
 *		extension is dropped.
 */
extern const WfPlan *wf_plan_get(int64 package_id, int32 version);

/* Index of the step with this name, or -1. */
extern int32 wf_plan_step_index(const WfPlan *plan, const char *name);

#endif							/* FRONTEND */

#endif							/* WF_PLAN_H */
