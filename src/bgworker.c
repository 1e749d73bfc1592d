/*-------------------------------------------------------------------------
 *
 * bgworker.c
 *	  The only place that fills a BackgroundWorker, and what all of our
 *	  processes do at their start.
 *
 * The launcher is static and comes back a second after it failed.  Schedulers
 * and workers are dynamic and never restarted by the postmaster: the launcher
 * decides about schedulers and the scheduler about workers.  After a server
 * crash only the launcher comes back, shared memory is empty, and everything
 * starts from there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/ps_status.h"

#include "bgworker.h"

/* Settings that a database or role could otherwise turn against us; the first
 * one also counts for workers. */
static const char *const own_settings[][2] = {
	{"role", "none"},
	{"search_path", "pg_catalog, pg_temp"},
	{"default_transaction_read_only", "off"},
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_deferrable", "off"},
	{"row_security", "off"},
	{"session_replication_role", "replica"},
	{"statement_timeout", "0"},
	{"lock_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},
	{"idle_session_timeout", "0"},
	{"default_tablespace", ""}
};

static void fill(BackgroundWorker *worker, const char *type,
				 const char *function);

static void
fill(BackgroundWorker *worker, const char *type, const char *function)
{
	memset(worker, 0, sizeof(BackgroundWorker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	snprintf(worker->bgw_library_name, BGW_MAXLEN, WF_EXTENSION);
	snprintf(worker->bgw_function_name, BGW_MAXLEN, "%s", function);
	snprintf(worker->bgw_type, BGW_MAXLEN, "%s", type);
	snprintf(worker->bgw_name, BGW_MAXLEN, "%s", type);
}

/* Register the launcher. */
void
wf_bgworker_register_launcher(void)
{
	BackgroundWorker worker;

	fill(&worker, "workflow launcher", "wf_launcher_main");
	worker.bgw_restart_time = 1;
	RegisterBackgroundWorker(&worker);
}

/* Ask for a scheduler. */
BackgroundWorkerHandle *
wf_bgworker_start_scheduler(const WfDatabase *database)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle = NULL;

	fill(&worker, "workflow scheduler", "wf_scheduler_main");
	snprintf(worker.bgw_name, BGW_MAXLEN, "workflow scheduler for database %u",
			 database->oid);
	worker.bgw_main_arg = Int32GetDatum(wf_database_index(database));
	worker.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		return NULL;
	return handle;
}

/* Ask for a worker or, if the slot is for no role, for who deletes history. */
BackgroundWorkerHandle *
wf_bgworker_start_worker(const WfSlot *slot)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle = NULL;
	Oid			database = wf_shared->databases[slot->database].oid;

	if (OidIsValid(slot->role))
	{
		fill(&worker, "workflow worker", "wf_worker_main");
		snprintf(worker.bgw_name, BGW_MAXLEN,
				 "workflow worker for database %u, role %u", database,
				 slot->role);
	}
	else
	{
		fill(&worker, "workflow retention", "wf_retention_main");
		snprintf(worker.bgw_name, BGW_MAXLEN,
				 "workflow retention for database %u", database);
	}
	worker.bgw_main_arg = Int32GetDatum(wf_slot_index(slot));
	worker.bgw_notify_pid = MyProcPid;
	StaticAssertStmt(sizeof(slot->number) <= BGW_EXTRALEN, "no room");
	memcpy(worker.bgw_extra, &slot->number, sizeof(slot->number));
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		return NULL;
	return handle;
}

/* Signal handlers and settings. */
void
wf_bgworker_setup(bool worker)
{
	int			i;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	if (!worker)
		pqsignal(SIGINT, SIG_IGN);
	BackgroundWorkerUnblockSignals();

	/* a SIGHUP before this point was lost */
	ConfigReloadPending = true;

	/* a worker keeps what is meant for its role's sessions, but not a role */
	for (i = 0; i < (worker ? 1 : (int) lengthof(own_settings)); i++)
		SetConfigOption(own_settings[i][0], own_settings[i][1],
						PGC_SUSET, PGC_S_OVERRIDE);
}

/* Interrupts and reload. */
bool
wf_bgworker_interrupts(void)
{
	CHECK_FOR_INTERRUPTS();
	if (!ConfigReloadPending)
		return false;
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	return true;
}

/* What ps shows. */
void
wf_bgworker_show(const char *activity)
{
	set_ps_display(activity);
}
