/*-------------------------------------------------------------------------
 *
 * local_sql.c
 *	  Execute SQL text in this process, as a client's query would be.
 *
 * This follows exec_simple_query() of postgres.c: parse, and for each
 * statement analyze, plan, and run an unnamed portal, at top level, so that
 * statements which commit by themselves work.  What differs: there is no
 * client, so results are counted, and all but a first row dropped; several
 * statements are one implicit transaction block that the caller commits, or
 * part of the block that he has opened; and the statements that only make
 * sense with a client or that would end the caller's transaction are refused.
 *
 * Background workers have no one to arm statement_timeout for them; it is
 * done here, for each statement, as the owner's settings say.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "parser/analyze.h"
#include "pgstat.h"
#include "storage/proc.h"
#include "tcop/cmdtag.h"
#include "tcop/utility.h"
#include "utils/memutils.h"
#include "utils/ps_status.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "compat.h"
#include "first_row.h"
#include "guc.h"
#include "local_sql.h"

static void execute_statement(RawStmt *statement, const char *sql,
							  bool alone, WfLocalResult *result);
static void refuse(Node *statement);
static List *plan_statement(RawStmt *statement, const char *sql);
static void run_portal(CommandTag tag, const char *sql, List *plans,
					   WfLocalResult *result);

/* Execute SQL text. */
void
wf_local_sql_execute(const char *sql, WfSqlMode mode, WfLocalResult *result)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *statements;
	ListCell   *lc;
	bool		together;

	result->rows = -1;
	result->statement = 1;
	statements = pg_parse_query(sql);
	together = mode == WF_SQL_TOGETHER && list_length(statements) > 1;

	result->statement = 0;
	foreach(lc, statements)
	{
		if (mode == WF_SQL_ONE_BY_ONE && result->statement > 0)
		{
			CommitTransactionCommand();
			SetCurrentStatementStartTimestamp();
			StartTransactionCommand();
		}
		if (mode == WF_SQL_SAVEPOINTS)
			BeginInternalSubTransaction(NULL);
		result->statement++;
		result->row = NULL;
		result->row_too_large = false;
		MemoryContextSwitchTo(context);
		execute_statement(lfirst_node(RawStmt, lc), sql, !together, result);
		if (mode == WF_SQL_SAVEPOINTS)
			ReleaseCurrentSubTransaction();
	}
	if (together)
		EndImplicitTransactionBlock();
	MemoryContextSwitchTo(context);
}

static void
execute_statement(RawStmt *statement, const char *sql, bool alone,
				  WfLocalResult *result)
{
	CommandTag	tag = CreateCommandTag(statement->stmt);
	List	   *plans;

	refuse(statement->stmt);
	SetCurrentStatementStartTimestamp();
	if (!alone)
		BeginImplicitTransactionBlock();
	CHECK_FOR_INTERRUPTS();

	if (StatementTimeout > 0)
		enable_timeout_after(STATEMENT_TIMEOUT, StatementTimeout);
	plans = plan_statement(statement, sql);
	run_portal(tag, sql, plans, result);
	if (StatementTimeout > 0)
		disable_timeout(STATEMENT_TIMEOUT, false);

	CommandCounterIncrement();
}

/* Statements that cannot be executed as part of a step. */
static void
refuse(Node *statement)
{
	if (IsA(statement, TransactionStmt))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("%s is not allowed in a step",
						GetCommandTagName(CreateCommandTag(statement))),
				 errdetail("The transaction of a step is ended by the agent.")));
	if (IsA(statement, CopyStmt) &&
		((CopyStmt *) statement)->filename == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("COPY from or to a client is not possible in a step"),
				 errhint("Name a file or a program on the server.")));
}

/* Analyze, rewrite and plan. */
static List *
plan_statement(RawStmt *statement, const char *sql)
{
	bool		snapshot_set = false;
	List	   *queries;
	List	   *plans;

	if (analyze_requires_snapshot(statement))
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		snapshot_set = true;
	}
	queries = pg_analyze_and_rewrite_fixedparams(statement, sql, NULL, 0,
												 NULL);
	plans = pg_plan_queries(queries, sql, CURSOR_OPT_PARALLEL_OK, NULL);
	if (snapshot_set)
		PopActiveSnapshot();
	CHECK_FOR_INTERRUPTS();
	return plans;
}

/* Run the plans to their end, at top level. */
static void
run_portal(CommandTag tag, const char *sql, List *plans,
		   WfLocalResult *result)
{
	DestReceiver *receiver = wf_first_row_receiver(CurrentMemoryContext,
												   wf_max_message_size,
												   &result->row,
												   &result->row_too_large);
	QueryCompletion completion;
	Portal		portal;

	portal = CreatePortal("", true, true);
	portal->visible = false;
	PortalDefineQuery(portal, NULL, sql, tag, plans, NULL);
	PortalStart(portal, NULL, 0, InvalidSnapshot);
	InitializeQueryCompletion(&completion);
	(void) wf_portal_run(portal, receiver, &completion);
	receiver->rDestroy(receiver);
	PortalDrop(portal, false);

	if (command_tag_display_rowcount(completion.commandTag))
		result->rows = Max(result->rows, 0) + completion.nprocessed;
}
