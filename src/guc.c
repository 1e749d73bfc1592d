/*-------------------------------------------------------------------------
 *
 * guc.c
 *	  Every setting: variable, default, unit; nothing else defines one.
 *
 * All of them are SIGHUP: they steer the agent, not a session, and none
 * sizes shared memory.  But for workflow.variables, which is no setting at
 * all: it is where a step finds the variables of its run without a function
 * of ours, which need not be there on a server.  In the process that executes
 * the step the value is made when somebody asks; what is stored is for its
 * parallel workers.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "datatype/timestamp.h"
#include "utils/guc.h"

#include "guc.h"
#include "workflow.h"

/* Off: runs are queued but none is started. */
bool		wf_enabled = true;

/* Workers of one database, of all roles together. */
int			wf_max_workers = 8;

/* How long a worker without work stays, in milliseconds. */
int			wf_worker_idle_timeout = 60 * 1000;

/* Whether steps commit asynchronously. */
int			wf_commit_mode = WF_COMMIT_PIPELINED;

/* Off: the scheduler drives every run.  For developers: both ways come to the
 * same. */
bool		wf_inline_driver = true;

/* How deep package steps may nest. */
int			wf_max_nesting_level = 32;

/* Most bytes of messages, and of a result, that history keeps of a step. */
int			wf_max_message_size = 64 * 1024;

/* Which runs are told of in the server log. */
int			wf_log_runs = WF_LOG_RUNS_OFF;
int			wf_history_retention = 30 * SECS_PER_DAY;

WfShowVariables wf_guc_show_variables = NULL;

/* What is stored of workflow.variables. */
char	   *wf_guc_variables = NULL;

static bool check_variables(char **value, void **extra, GucSource source);
static const char *show_variables(void);

static const struct config_enum_entry log_runs[] = {
	{"off", WF_LOG_RUNS_OFF, false},
	{"failures", WF_LOG_RUNS_FAILURES, false},
	{"all", WF_LOG_RUNS_ALL, false},
	{NULL, 0, false}
};

static const struct config_enum_entry commit_modes[] = {
	{"pipelined", WF_COMMIT_PIPELINED, false},
	{"synchronous", WF_COMMIT_SYNCHRONOUS, false},
	{NULL, 0, false}
};

/* Define the settings; called from _PG_init. */
void
wf_guc_init(void)
{
	DefineCustomEnumVariable("workflow.commit_mode",
							 "Sets when the commits of steps are flushed.",
							 "With \"pipelined\" a run is flushed before it is acknowledged, with \"synchronous\" each step commits as the setting \"synchronous_commit\" of its session says.",
							 &wf_commit_mode, WF_COMMIT_PIPELINED,
							 commit_modes, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("workflow.enabled",
							 "Starts queued runs.",
							 "When off, runs are queued and none is started; what runs goes on.",
							 &wf_enabled, true,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("workflow.inline_driver",
							 "Lets one worker carry out a run that needs no other.",
							 "When off, the scheduler drives every run.  This is for tests of the extension.",
							 &wf_inline_driver, true,
							 PGC_SIGHUP, GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("workflow.history_retention",
							"Sets how long the history of runs that have ended is kept.",
							"0 keeps it for ever. The option \"history_retention\" of a package overrides it.",
							&wf_history_retention, 30 * SECS_PER_DAY, 0,
							INT_MAX, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomEnumVariable("workflow.log_runs",
							 "Sets which runs are told of in the server log.",
							 "With \"failures\" a line is written at the end of a run that failed or was stopped, with \"all\" at the begin and the end of each run.",
							 &wf_log_runs, WF_LOG_RUNS_OFF,
							 log_runs, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("workflow.max_message_size",
							"Sets how much of its messages and result is kept of a step.",
							NULL,
							&wf_max_message_size, 64 * 1024, 0, 16 * 1024 * 1024,
							PGC_SIGHUP, GUC_UNIT_BYTE, NULL, NULL, NULL);
	DefineCustomIntVariable("workflow.max_nesting_level",
							"Sets how deep package steps may nest.",
							NULL,
							&wf_max_nesting_level, 32, 1, 1000,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("workflow.max_workers",
							"Sets the maximum number of workers in each database.",
							"They are taken from \"max_worker_processes\".",
							&wf_max_workers, 8, 1, 1024,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("workflow.variables",
							   "The variables of the run whose step is being executed, as JSON.",
							   NULL,
							   &wf_guc_variables, "", PGC_USERSET,
							   GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE,
							   check_variables, NULL, show_variables);
	DefineCustomIntVariable("workflow.worker_idle_timeout",
							"Sets how long a worker without work stays.",
							"0 ends a worker as soon as it has nothing to do.",
							&wf_worker_idle_timeout, 60 * 1000, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	MarkGUCPrefixReserved(WF_EXTENSION);
}

/*
 * check_hook of workflow.variables: it is set by a session for itself or by
 * the client that opens it, and is nobody's default.
 */
static bool
check_variables(char **value, void **extra, GucSource source)
{
	switch (source)
	{
		case PGC_S_DEFAULT:
		case PGC_S_DYNAMIC_DEFAULT:
		case PGC_S_CLIENT:
		case PGC_S_OVERRIDE:
		case PGC_S_INTERACTIVE:
		case PGC_S_SESSION:
			return true;
		default:
			GUC_check_errdetail("It can be set in a session only.");
			return false;
	}
}

/* show_hook of workflow.variables */
static const char *
show_variables(void)
{
	const char *text = wf_guc_show_variables == NULL ? NULL :
	wf_guc_show_variables();

	return text != NULL ? text : wf_guc_variables;
}
