/*-------------------------------------------------------------------------
 *
 * control.c
 *	  SQL-callable run control: start_job, stop_job, wait_for_job,
 *	  restart_job.
 *
 * start_job() is part of the transaction that calls it: it inserts a row, and
 * the scheduler hears of it at the commit (wakeup.c).  stop_job() acts at
 * once: it sends a command, and waits until the run has an outcome.
 * restart_job() is a start_job() that goes on with an earlier run (restart.c).
 *
 * A run of a package with max_attempts stands for its attempts: stop_job(),
 * wait_for_job(), pause_job() and resume_job() mean the last one that there
 * is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "area.h"
#include "catalog.h"
#include "compat.h"
#include "control.h"
#include "guc.h"
#include "history.h"
#include "plan.h"
#include "restart.h"
#include "rights.h"
#include "session.h"
#include "shmem.h"
#include "variables.h"
#include "wait.h"
#include "wakeup.h"

#define STOP_PATIENCE_MS	10000
/* When to see whether another scheduler has to be asked. */
#define ASK_AGAIN_MS		1000

PG_FUNCTION_INFO_V1(wf_start_job);
PG_FUNCTION_INFO_V1(wf_stop_job);
PG_FUNCTION_INFO_V1(wf_wait_for_job);
PG_FUNCTION_INFO_V1(wf_restart_job);
PG_FUNCTION_INFO_V1(wf_pause_job);
PG_FUNCTION_INFO_V1(wf_resume_job);

/* Open runs of a package, counted. */
typedef struct OpenRuns
{
	int64		package_id;
	int			n;
} OpenRuns;

/* What ask() waits for. */
typedef struct Asked
{
	char		what;
	bool		ended;
	TransactionId xid;
} Asked;

static bool ask(int64 run_id, char what);
static bool is_asked(int64 run_id, void *arg);
static void send_command(WfDatabase *database, const WfCommand *command);
/* The arguments of start_job(). */
typedef struct WfStartRequest
{
	const char *package;
	Jsonb	   *variables;		/* NULL: none */
	bool		has_priority;
	int32		priority;
	TimestampTz start_at;		/* 0: at once */
	const char *request_key;	/* NULL: none */
} WfStartRequest;

static int64 start(const WfStartRequest *request);
static int64 find_request(const WfPackageRow *package, const char *key);
static int64 request_run(const WfPlan *plan, WfRun *run);
static void check_same_request(const WfPlan *plan, int64 first,
							   const char *key, Jsonb *variables);
static bool overlaps(const WfPlan *plan, const WfRun *run);
static void count_open_run(const WfRun *run, void *arg);
static void record_skipped(const WfRun *run);
static const WfPlan *plan_to_start(const WfPackageRow *package);
static const WfPlan *plan_to_compare(const WfPackageRow *package);
static void check_enabled(const WfPlan *plan, const WfPackageRow *package);
static void lock_named_package(const char *name, WfPackageRow *package);
static void lock_package(int64 package_id, const char *name,
						 WfPackageRow *package);
static int64 restart(WfRun *earlier, const WfRestart *how, Jsonb *variables);
static void check_can_restart(const WfRun *run);
static void check_not_restarted(int64 run_id);
static const WfPlan *plan_to_restart(const WfRun *run,
									 const WfPackageRow *package,
									 const WfRestart *how);
static void warn_if_agent_is_down(void);
static void read_run(int64 run_id, WfRun *run);
static WfDatabase *running_agent(void);
static bool wait_for_last_end(int64 run_id, long timeout_ms, bool alone,
							  WfRunOutcome *outcome);
static bool stop(int64 run_id, const char *reason, bool force, bool alone,
				 WfRunOutcome *outcome);
static void send_stop(WfDatabase *database, int64 run_id, const char *reason,
					  bool force);
static void warn_of_backend(WfDatabase *database, int64 run_id);
static bool belongs_to(int64 run_id, int64 other);
static long interval_to_ms(const Interval *interval);

/*
 * workflow.start_job(package text, variables jsonb, priority integer,
 * start_at timestamptz, request_key text) returns bigint
 *		Enqueue a run and return its number.  The run starts when the calling
 *		transaction commits; nothing happens if it rolls back.
 *
 * Errors: 42704 unknown package, 55000 disabled package, 42501 no permission,
 * 22023 variables, also others under the same request key, 55006 it overlaps
 * and is to be rejected, 25006 on a standby or in a read-only transaction,
 * 55000 not preloaded.  Holds
 * AccessShareLock on the package to the end of the transaction.
 */
Datum
wf_start_job(PG_FUNCTION_ARGS)
{
	WfStartRequest request = {
		.package = PG_ARGISNULL(0) ? NULL :
		text_to_cstring(PG_GETARG_TEXT_PP(0)),
		.variables = PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1),
		.has_priority = !PG_ARGISNULL(2),
		.priority = PG_ARGISNULL(2) ? 0 : PG_GETARG_INT32(2),
		.start_at = PG_ARGISNULL(3) ? 0 : PG_GETARG_TIMESTAMPTZ(3),
		.request_key = PG_ARGISNULL(4) ? NULL :
		text_to_cstring(PG_GETARG_TEXT_PP(4))
	};

	PG_RETURN_INT64(start(&request));
}

/*
 * workflow.restart_job(run_id bigint, use_current_version boolean,
 * variables jsonb, from_step text) returns bigint
 *		Enqueue a run that takes over what a failed or cancelled run (or one
 *		that succeeded with failed steps) has committed, and executes the
 *		rest.  Starts at the commit, as start_job() does.
 *
 * Errors: 42704 unknown run, package or from_step; 42501 neither the owner
 * nor the one who asked for the run, or not allowed to start the package any
 * more; 55000 a run that has not ended, a child run, nothing to restart, or
 * restarted already, a disabled package; 22023 variables; the others of
 * start_job().
 */
Datum
wf_restart_job(PG_FUNCTION_ARGS)
{
	WfRun		run;
	WfRestart	how = {0};

	wf_shmem_require();
	PreventCommandIfReadOnly("workflow.restart_job()");
	PreventCommandDuringRecovery("workflow.restart_job()");
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	how.run_id = PG_GETARG_INT64(0);
	how.use_current_version = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	how.from_step = PG_ARGISNULL(3) ? NULL :
		text_to_cstring(PG_GETARG_TEXT_PP(3));
	wf_history_lock(AccessShareLock);	/* it is not deleted meanwhile */
	read_run(how.run_id, &run);
	wf_rights_check_control(&run);
	check_can_restart(&run);
	wf_catalog_lock_restart(run.run_id);
	check_not_restarted(run.run_id);
	PG_RETURN_INT64(restart(&run, &how, PG_ARGISNULL(2) ? NULL :
							PG_GETARG_JSONB_P(2)));
}

/* Make the restart of a run. */
static int64
restart(WfRun *earlier, const WfRestart *how, Jsonb *variables)
{
	WfPackageRow package;
	const WfPlan *plan = wf_plan_get(earlier->package_id, earlier->version);
	WfRestart	done = *how;
	WfTakeOver *take;
	WfRun		run = {0};

	lock_package(earlier->package_id, plan->name, &package);
	plan = plan_to_restart(earlier, &package, how);
	if (how->from_step != NULL && wf_plan_step_index(plan, how->from_step) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("step \"%s\" of package \"%s\" does not exist",
						how->from_step, package.name)));
	take = wf_restart_analyse(earlier, plan, how->from_step);
	run.variables = wf_restart_variables(take, earlier->variables);
	if (variables != NULL)
		variables = wf_variables_check(plan, variables);
	if (variables != NULL)
		run.variables = run.variables == NULL ? variables :
			wf_variables_merge(run.variables, variables);
	wf_variables_check_required(plan, run.variables);
	run.package_id = package.package_id;
	run.version = plan->version;
	run.owner = package.owner;
	run.requested_by = GetUserId();
	run.requested_at = GetCurrentTimestamp();
	run.priority = earlier->priority;
	run.restart_of = earlier->run_id;
	done.restarted_as = request_run(plan, &run);
	CommandCounterIncrement();
	/* one that was skipped at once leaves the earlier run to be restarted */
	if (!wf_history_run_ended(done.restarted_as))
		wf_restart_record(take, &done);
	CommandCounterIncrement();	/* the next call in this command sees it */
	return done.restarted_as;
}

/* The run must be the root of its tree, and have left something to do. */
static void
check_can_restart(const WfRun *run)
{
	WfRunOutcome outcome;
	TransactionId xid;

	if (run->parent_run_id != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("run " INT64_FORMAT " is a child run", run->run_id),
				 errhint("Restart run " INT64_FORMAT ": its child runs are restarted with it.",
						 run->root_run_id)));
	if (!wf_history_read_run_outcome(run->run_id, &outcome, &xid))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("run " INT64_FORMAT " has not ended", run->run_id)));
	if (outcome.status == WF_RUN_SKIPPED)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("run " INT64_FORMAT " was skipped", run->run_id),
				 errhint("Use workflow.start_job() instead.")));
	if (outcome.status == WF_RUN_SUCCEEDED && outcome.failed_steps == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("run " INT64_FORMAT " has succeeded", run->run_id),
				 errdetail("There is nothing to restart.")));
	wf_wait_acknowledge(xid);
}

/* Caller holds the lock of the restarts of this run. */
static void
check_not_restarted(int64 run_id)
{
	WfRestart	restart;

	if (!wf_history_read_restart(run_id, &restart))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("run " INT64_FORMAT " has been restarted already, as run " INT64_FORMAT,
					run_id, restart.restarted_as),
			 errhint("Restart run " INT64_FORMAT " if that has failed, too.",
					 restart.restarted_as)));
}

/*
 * plan_to_restart
 *		The plan of the version that the restart executes.  An earlier version
 *		is not executed with the rights of somebody who got the package since:
 *		he has never seen it.
 */
static const WfPlan *
plan_to_restart(const WfRun *run, const WfPackageRow *package,
				const WfRestart *how)
{
	const WfPlan *current;

	if (how->use_current_version)
		current = plan_to_start(package);
	else if (run->version == package->version)
		current = wf_plan_get(run->package_id, run->version);
	else
		current = wf_plan_compile(package->package_id, package->version,
								  wf_catalog_get_document(package->package_id,
														  package->version));
	check_enabled(current, package);
	if (how->use_current_version || run->version == package->version)
		return current;
	if (run->owner != package->owner)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("package \"%s\" has another owner since run " INT64_FORMAT,
						package->name, run->run_id),
				 errhint("Restart it with use_current_version.")));
	return wf_plan_get(run->package_id, run->version);
}

/* See control.h. */
int64
wf_control_start(const char *package, Jsonb *variables)
{
	WfStartRequest request = {.package = package, .variables = variables};

	return start(&request);
}

/* Check a request and carry it out. */
static int64
start(const WfStartRequest *request)
{
	WfPackageRow package;
	const WfPlan *plan;
	WfRun		run = {0};
	int64		first;

	wf_shmem_require();
	PreventCommandIfReadOnly("workflow.start_job()");
	PreventCommandDuringRecovery("workflow.start_job()");
	if (request->package == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("package must not be null")));
	lock_named_package(request->package, &package);
	first = find_request(&package, request->request_key);
	plan = first == 0 ? plan_to_start(&package) : plan_to_compare(&package);
	check_enabled(plan, &package);
	if (request->variables != NULL)
		run.variables = wf_variables_check(plan, request->variables);
	wf_variables_check_required(plan, run.variables);
	if (first != 0)
	{
		check_same_request(plan, first, request->request_key, run.variables);
		return first;
	}
	run.request_key = request->request_key;
	run.package_id = package.package_id;
	run.version = package.version;
	run.owner = package.owner;
	run.requested_by = GetUserId();
	run.requested_at = GetCurrentTimestamp();
	run.priority = request->has_priority ? request->priority : plan->priority;
	run.start_at = request->start_at;
	return request_run(plan, &run);
}

/*
 * find_request
 *		The run that has a request key, 0 if there is none.  Requests with the
 *		key wait for each other from here to the end of the transaction.
 */
static int64
find_request(const WfPackageRow *package, const char *key)
{
	if (key == NULL)
		return 0;
	wf_catalog_lock_request_key(package->package_id, key);
	return wf_history_find_request_key(package->package_id, key);
}

/* Insert a run as it is requested. */
static int64
request_run(const WfPlan *plan, WfRun *run)
{
	bool		skip = false;

	if (plan->max_concurrent_runs > 0 &&
		plan->on_overlap != WF_OVERLAP_QUEUE)
		skip = overlaps(plan, run);

	wf_wakeup_prepare_start();
	run->run_id = run->root_run_id = wf_history_next_run_id();
	wf_history_insert_run(run);
	if (run->request_key != NULL)
		wf_history_insert_request_key(run->package_id, run->request_key,
									  run->run_id);
	if (run->request_key != NULL || plan->max_concurrent_runs > 0)
		CommandCounterIncrement();	/* the next call in this command sees it */
	if (skip)
	{
		record_skipped(run);
		return run->run_id;
	}
	wf_wakeup_start(run->run_id, run->package_id, run->version, run->owner,
					run->priority, run->start_at);
	warn_if_agent_is_down();
	return run->run_id;
}

/* A second request under a key must ask for the same. */
static void
check_same_request(const WfPlan *plan, int64 first, const char *key,
				   Jsonb *variables)
{
	WfRun		before;

	if (!wf_history_read_run(first, &before))
		return;
	if (before.variables == NULL && variables == NULL)
		return;
	if (before.variables == NULL || variables == NULL ||
		compareJsonbContainers(&before.variables->root,
							   &variables->root) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("request key \"%s\" of package \"%s\" was used with other variables",
						key, plan->name),
				 errdetail("Run " INT64_FORMAT " was started with it.",
						   first)));
}

/*
 * overlaps
 *		True if max_concurrent_runs of the package are there; with on_overlap
 *		= reject, that is an ERROR.  Starts of the package wait for each other
 *		from here to the end of the transaction.
 */
static bool
overlaps(const WfPlan *plan, const WfRun *run)
{
	OpenRuns	open = {.package_id = run->package_id};
	int64		last;

	wf_catalog_lock_starts(run->package_id);
	wf_history_scan_open(count_open_run, &open, &last);
	if (open.n < plan->max_concurrent_runs)
		return false;
	if (plan->on_overlap == WF_OVERLAP_REJECT)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("package \"%s\" is already running", plan->name),
				 errdetail("Its option \"max_concurrent_runs\" is %d.",
						   plan->max_concurrent_runs)));
	return true;
}

static void
count_open_run(const WfRun *run, void *arg)
{
	OpenRuns   *open = arg;

	if (run->package_id == open->package_id && run->parent_run_id == 0)
		open->n++;
}

/* The run is in history, and nothing of it happens. */
static void
record_skipped(const WfRun *run)
{
	WfRunOutcome outcome = {
		.run_id = run->run_id,
		.status = WF_RUN_SKIPPED,
		.finished_at = run->requested_at
	};

	wf_history_insert_run_outcome(&outcome);
}

/*
 * lock_named_package
 *		Find a package, check the right to start it, and lock it against
 *		edits.  The row is read again under the lock, and the package found
 *		again if it has lost the name meanwhile.
 */
static void
lock_named_package(const char *name, WfPackageRow *package)
{
	int64		package_id;

	do
	{
		CHECK_FOR_INTERRUPTS();
		if (!wf_catalog_find_package(name, package))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("package \"%s\" does not exist", name)));
		wf_rights_check_start(package);
		package_id = package->package_id;
		wf_catalog_lock_package(package_id, AccessShareLock);
	} while (!wf_catalog_find_package_by_id(package_id, package) ||
			 strcmp(package->name, name) != 0);
	wf_rights_check_start(package);
}

/*
 * lock_package
 *		Lock a package against edits, and read its row, as long as it is there
 *		and the caller may start it.
 */
static void
lock_package(int64 package_id, const char *name, WfPackageRow *package)
{
	wf_catalog_lock_package(package_id, AccessShareLock);
	if (!wf_catalog_find_package_by_id(package_id, package))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("package \"%s\" does not exist", name)));
	wf_rights_check_start(package);
}

static void
check_enabled(const WfPlan *plan, const WfPackageRow *package)
{
	if (!plan->enabled)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("package \"%s\" is disabled", package->name)));
}

/*
 * plan_to_start
 *		The plan of the current version, frozen by this start.  While the
 *		freezing is not committed the plan must not be cached for longer than
 *		the transaction: it is kept with it.  What was frozen in a
 *		subtransaction may have been rolled back since.
 */
static const WfPlan *
plan_to_start(const WfPackageRow *package)
{
	static const WfPlan *kept = NULL;
	static LocalTransactionId kept_by = InvalidLocalTransactionId;
	static bool in_subtransaction = false;
	MemoryContext old;

	if (kept_by == wf_local_xid() && kept->package_id == package->package_id &&
		kept->version == package->version)
	{
		if (in_subtransaction)
			wf_catalog_mark_version_used(package->package_id,
										 package->version);
		return kept;
	}
	if (wf_catalog_version_used(package->package_id, package->version))
	{
		/* by a committed transaction, or by this one under another plan */
		if (kept_by != wf_local_xid())
			return wf_plan_get(package->package_id, package->version);
	}
	else
		wf_catalog_mark_version_used(package->package_id, package->version);

	old = MemoryContextSwitchTo(TopTransactionContext);
	kept_by = InvalidLocalTransactionId;
	in_subtransaction = IsSubTransaction();
	kept = wf_plan_compile(package->package_id, package->version,
						   wf_catalog_get_document(package->package_id,
												   package->version));
	kept_by = wf_local_xid();
	MemoryContextSwitchTo(old);
	return kept;
}

/* The plan of the current version, which no start freezes. */
static const WfPlan *
plan_to_compare(const WfPackageRow *package)
{
	if (wf_catalog_version_used(package->package_id, package->version))
		return plan_to_start(package);
	return wf_plan_compile(package->package_id, package->version,
						   wf_catalog_get_document(package->package_id,
												   package->version));
}

/* The run is queued; say so if nobody is there to start it. */
static void
warn_if_agent_is_down(void)
{
	static LocalTransactionId warned_in = InvalidLocalTransactionId;
	WfDatabase *database = wf_database_find(MyDatabaseId);

	if ((database != NULL && database->ready) || warned_in == wf_local_xid())
		return;
	warned_in = wf_local_xid();
	ereport(WARNING,
			(errmsg("the workflow agent is not running in this database"),
			 errdetail("The run is queued.")));
}

/* The run, if the caller may know of it; an ERROR otherwise. */
static void
read_run(int64 run_id, WfRun *run)
{
	if (!wf_history_read_run(run_id, run) || !wf_rights_may_see(run))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("run " INT64_FORMAT " does not exist", run_id)));
}

/*
 * workflow.wait_for_job(run_id bigint, timeout interval) returns text
 *		Wait for the end of a run and return its status, if its package has
 *		max_attempts that of the last attempt; null after the time-out.  A
 *		null time-out waits for ever.
 *
 * Errors: 42704 unknown run (or one that the caller may not see), 55000 a run
 * that this very transaction started, 22023 negative time-out.
 */
Datum
wf_wait_for_job(PG_FUNCTION_ARGS)
{
	WfRun		run;
	WfRunOutcome outcome;
	long		timeout = -1;
	int64		run_id;

	wf_shmem_require();
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	run_id = PG_GETARG_INT64(0);
	if (!PG_ARGISNULL(1))
		timeout = interval_to_ms(PG_GETARG_INTERVAL_P(1));
	if (wf_wakeup_started_here(run_id))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot wait for run " INT64_FORMAT " in the transaction that started it",
						run_id),
				 errdetail("The run starts when the transaction commits.")));
	read_run(run_id, &run);
	if (!wait_for_last_end(run_id, timeout,
						   wf_wait_is_whole_statement(fcinfo), &outcome))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(wf_run_status_name(outcome.status)));
}

/* Wait for the end of a run and of the attempts that follow it. */
static bool
wait_for_last_end(int64 run_id, long timeout_ms, bool alone,
				  WfRunOutcome *outcome)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													timeout_ms);
	long		left = timeout_ms;

	do
	{
		if (timeout_ms >= 0)
			left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
												   until);
		if (!wf_wait_for_end(run_id, left, alone, outcome))
			return false;
	} while ((run_id = wf_history_next_attempt(run_id)) != 0);
	return true;
}

/*
 * workflow.stop_job(run_id bigint, reason text, force boolean) returns boolean
 *		End a run and its children as cancelled, at once.  True when that is
 *		so, or after ten seconds with a WARNING; false if the run had ended.
 *		With force the workers that execute it are terminated.
 *
 * Errors: 42704 unknown run, 42501 neither the owner nor the one who asked
 * for the run, 57P03 the agent is not running.
 */
Datum
wf_stop_job(PG_FUNCTION_ARGS)
{
	WfRun		run;
	WfRunOutcome outcome;
	int64		run_id;

	wf_shmem_require();
	PreventCommandDuringRecovery("workflow.stop_job()");
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	read_run(PG_GETARG_INT64(0), &run);
	wf_rights_check_control(&run);
	run_id = wf_history_last_attempt(run.run_id);
	if (wf_history_run_ended(run_id))
		PG_RETURN_BOOL(false);
	if (wf_wakeup_started_here(run_id))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot stop run " INT64_FORMAT " in the transaction that started it",
						run_id),
				 errhint("Roll the transaction back.")));
	if (!stop(run_id, PG_ARGISNULL(1) ? NULL :
			  text_to_cstring(PG_GETARG_TEXT_PP(1)),
			  !PG_ARGISNULL(2) && PG_GETARG_BOOL(2),
			  wf_wait_is_whole_statement(fcinfo), &outcome))
	{
		warn_of_backend(running_agent(), run_id);
		PG_RETURN_BOOL(true);
	}
	PG_RETURN_BOOL(outcome.status == WF_RUN_CANCELLED);
}

/*
 * stop
 *		Ask for the end of a run, and wait for it a while.  What a scheduler
 *		had not taken in when it left is lost, so its successor is asked again;
 *		so is one that has made another attempt of the run meanwhile.
 */
static bool
stop(int64 run_id, const char *reason, bool force, bool alone,
	 WfRunOutcome *outcome)
{
	uint64		asked = 0;
	int			waited;

	for (waited = 0; waited < STOP_PATIENCE_MS; waited += ASK_AGAIN_MS)
	{
		WfDatabase *database = wf_database_find(MyDatabaseId);

		if (asked == 0 || (database != NULL && database->ready &&
						   database->generation != asked))
		{
			database = running_agent();
			asked = database->generation;
			send_stop(database, run_id, reason, force);
		}
		if (wf_wait_for_end(run_id, ASK_AGAIN_MS, alone, outcome))
		{
			int64		next = wf_history_next_attempt(run_id);

			if (next == 0)
				return true;
			run_id = next;
			asked = 0;
		}
	}
	return false;
}

/* The agent of this database; ERROR 57P03 if it is not there. */
static WfDatabase *
running_agent(void)
{
	WfDatabase *database = wf_database_find(MyDatabaseId);

	if (database == NULL || !database->ready)
		ereport(ERROR,
				(errcode(ERRCODE_CANNOT_CONNECT_NOW),
				 errmsg("the workflow agent is not running in this database")));
	return database;
}

/*
 * workflow.pause_job(run_id bigint) returns boolean
 *		Start no further step of a run until it is resumed.  False if the run
 *		had ended.  Survives a crash when it returns.
 *
 * Errors: as stop_job().
 */
Datum
wf_pause_job(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(ask(PG_GETARG_INT64(0), WF_ASKED_PAUSE));
}

/*
 * workflow.resume_job(run_id bigint) returns boolean
 *		Let a paused run go on.  False if the run had ended or was not paused.
 */
Datum
wf_resume_job(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(ask(PG_GETARG_INT64(0), WF_ASKED_RESUME));
}

/* Ask the scheduler for a pause or its end, and wait until it is on record. */
static bool
ask(int64 run_id, char what)
{
	WfRun		run;
	WfDatabase *database;
	uint64		generation;
	bool		done;
	Asked		asked = {.what = what};
	WfCommand	command = {
		.kind = what == WF_ASKED_PAUSE ? WF_COMMAND_PAUSE : WF_COMMAND_RESUME,
		.role = GetUserId(),
		.first_run = run_id,
		.last_run = run_id
	};

	wf_shmem_require();
	PreventCommandDuringRecovery(what == WF_ASKED_PAUSE ?
								 "workflow.pause_job()" :
								 "workflow.resume_job()");
	read_run(run_id, &run);
	wf_rights_check_control(&run);
	run_id = wf_history_last_attempt(run_id);
	command.first_run = command.last_run = run_id;
	if (wf_history_run_ended(run_id))
		return false;
	if (wf_wakeup_started_here(run_id))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot pause or resume run " INT64_FORMAT " in the transaction that started it",
						run_id),
				 errdetail("The run starts when the transaction commits.")));
	if (what == WF_ASKED_RESUME &&
		wf_history_last_command(run_id, &asked.xid) != WF_ASKED_PAUSE)
		return false;
	do
	{
		database = running_agent();
		generation = database->generation;
		send_command(database, &command);
		while (!(done = wf_wait_for(run_id, ASK_AGAIN_MS, is_asked, &asked)) &&
			   (database->generation == generation || !database->ready))
			;
	} while (!done);
	if (asked.ended)
		return wf_history_next_attempt(run_id) != 0 && ask(run_id, what);
	wf_wait_acknowledge(asked.xid);
	return true;
}

static bool
is_asked(int64 run_id, void *arg)
{
	Asked	   *asked = arg;
	WfRun		run;

	if (wf_history_last_command(run_id, &asked->xid) == asked->what)
		return true;
	asked->ended = wf_history_run_ended(run_id) ||
		!wf_history_read_run(run_id, &run); /* ended and deleted */
	return asked->ended;
}

/* Send a STOP. */
static void
send_stop(WfDatabase *database, int64 run_id, const char *reason, bool force)
{
	dsa_area   *area = wf_area_attach(database);
	WfCommand	command = {
		.kind = WF_COMMAND_STOP,
		.role = GetUserId(),
		.first_run = run_id,
		.last_run = run_id,
		.force = force
	};

	command.reason = wf_area_put_text(area, reason);
	command.generation = wf_area_generation();
	send_command(database, &command);
}

/* Send a command; the ring may be full for a moment. */
static void
send_command(WfDatabase *database, const WfCommand *command)
{
	while (!wf_command_send(database, command))
	{
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10,
						 wf_wait_event("WorkflowSendCommand"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* The run does not end: say who executes it, or a child run of it. */
static void
warn_of_backend(WfDatabase *database, int64 run_id)
{
	int64	   *runs = palloc(WF_NENTRIES * sizeof(int64));
	pid_t	   *pids = palloc(WF_NENTRIES * sizeof(pid_t));
	pid_t		pid = 0;
	int			n = 0;
	int			i;

	LWLockAcquire(&database->lock, LW_SHARED);
	for (i = 0; i < WF_NENTRIES; i++)
	{
		WfEntry    *e = &database->entries[i];

		if (e->state != WF_ENTRY_TAKEN || e->slot < 0)
			continue;
		runs[n] = e->run_id;
		pids[n++] = wf_shared->slots[e->slot].pid;
	}
	LWLockRelease(&database->lock);
	for (i = 0; i < n && pid == 0; i++)
	{
		if (belongs_to(runs[i], run_id))
			pid = pids[i];
	}
	if (pid != 0)
		ereport(WARNING,
				(errmsg("run " INT64_FORMAT " has not ended yet", run_id),
				 errdetail("The process with PID %d does not respond to the cancel request.",
						   (int) pid),
				 errhint("Call workflow.stop_job() with force => true to terminate it.")));
	else
		ereport(WARNING,
				(errmsg("run " INT64_FORMAT " has not ended yet", run_id)));
}

/* Whether a run is another one, or started by it through package steps. */
static bool
belongs_to(int64 run_id, int64 other)
{
	WfRun		run;

	while (run_id != other)
	{
		if (!wf_history_read_run(run_id, &run) || run.parent_run_id == 0)
			return false;
		run_id = run.parent_run_id;
	}
	return true;
}

/* Milliseconds of an interval, with months of 30 days. */
static long
interval_to_ms(const Interval *interval)
{
	double		ms = interval->time / 1000.0 +
	(interval->day + 30.0 * interval->month) * (USECS_PER_DAY / 1000.0);

	if (ms < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timeout must not be negative")));
	return ms > (double) (LONG_MAX / 2000) ? LONG_MAX / 2000 : (long) ms;
}

/* See control.h. */
void
wf_control_check_visible(int64 run_id)
{
	WfRun		run;

	wf_shmem_require();
	read_run(run_id, &run);
}

/* See control.h. */
void
wf_control_ask_to_stop(int64 run_id, const char *reason)
{
	WfDatabase *database = wf_database_find(MyDatabaseId);
	dsa_area   *area = database == NULL ? NULL : wf_area_attach(database);
	WfCommand	command = {
		.kind = WF_COMMAND_STOP,
		.role = GetUserId(),
		.first_run = run_id,
		.last_run = run_id
	};

	if (area == NULL)
		return;
	command.reason = wf_area_put_text(area, reason);
	command.generation = wf_area_generation();
	(void) wf_command_send(database, &command);
}

/* See control.h. */
Jsonb *
wf_control_variables_for(const char *package, Jsonb *variables)
{
	WfPackageRow row;
	const WfPlan *plan;
	Jsonb	   *result = NULL;

	PushActiveSnapshot(GetTransactionSnapshot());
	if (wf_catalog_find_package(package, &row))
	{
		plan = wf_plan_compile(row.package_id, row.version,
							   wf_catalog_get_document(row.package_id,
													   row.version));
		result = wf_variables_for_child(plan, variables);
	}
	PopActiveSnapshot();
	return result;
}
