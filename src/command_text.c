/*-------------------------------------------------------------------------
 *
 * command_text.c
 *	  What the statements of a command are, as far as parsing shows it.
 *
 * PostgreSQL has no list of the statements that it refuses in a transaction
 * block: each of them asks PreventInTransactionBlock() when it is executed.
 * Those are gathered here which the grammar tells apart.  What only the
 * catalogs or the execution can tell (whether a table is partitioned, or a
 * subscription has a slot, whether a procedure commits) is not among them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/defrem.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/builtins.h"

#include "command_text.h"

static const char *name_if_alone(Node *statement);
static const char *name_if_waits(Node *statement);
static const char *reindex_name(const ReindexStmt *statement);
static bool detaches_concurrently(const AlterTableStmt *statement);
static bool has_option(List *options, const char *name);
static bool is_on(List *options, const char *name, bool fallback);

/* See command_text.h. */
void
wf_command_text_read(WfCommandText *text, const List *statements)
{
	ListCell   *cell;

	text->several = list_length(statements) > 1;
	foreach(cell, statements)
	{
		Node	   *statement = lfirst_node(RawStmt, cell)->stmt;

		if (text->control == NULL && IsA(statement, TransactionStmt))
			text->control = GetCommandTagName(CreateCommandTag(statement));
		if (text->waits == NULL)
			text->waits = name_if_waits(statement);
		if (text->alone == NULL)
			text->alone = name_if_alone(statement);
	}
}

/* See command_text.h. */
bool
wf_command_text_runs_program(const List *statements)
{
	ListCell   *cell;

	foreach(cell, statements)
	{
		Node	   *statement = lfirst_node(RawStmt, cell)->stmt;

		if (IsA(statement, CopyStmt) && ((CopyStmt *) statement)->is_program)
			return true;
	}
	return false;
}

/* The name of a statement that is refused in a transaction block, or NULL. */
static const char *
name_if_alone(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_CreatedbStmt:
			return "CREATE DATABASE";
		case T_DropdbStmt:
			return "DROP DATABASE";
		case T_AlterDatabaseStmt:
			return has_option(((AlterDatabaseStmt *) statement)->options,
							  "tablespace") ?
				"ALTER DATABASE SET TABLESPACE" : NULL;
		case T_CreateTableSpaceStmt:
			return "CREATE TABLESPACE";
		case T_DropTableSpaceStmt:
			return "DROP TABLESPACE";
		case T_AlterSystemStmt:
			return "ALTER SYSTEM";
		case T_DiscardStmt:
			return ((DiscardStmt *) statement)->target == DISCARD_ALL ?
				"DISCARD ALL" : NULL;
		case T_CreateSubscriptionStmt:
			{
				List	   *options =
				((CreateSubscriptionStmt *) statement)->options;

				/* only making the slot cannot be undone */
				return is_on(options, "connect", true) &&
					is_on(options, "create_slot", true) ?
					"CREATE SUBSCRIPTION" : NULL;
			}
		default:
			return name_if_waits(statement);
	}
}

/*
 * name_if_waits
 *		The same of those that work on tables which others are using: they wait
 *		for open transactions, or leave alone what these may still see.
 */
static const char *
name_if_waits(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_VacuumStmt:
			return ((VacuumStmt *) statement)->is_vacuumcmd ? "VACUUM" : NULL;
		case T_ClusterStmt:
			return ((ClusterStmt *) statement)->relation == NULL ?
				"CLUSTER" : NULL;
		case T_ReindexStmt:
			return reindex_name((ReindexStmt *) statement);
		case T_IndexStmt:
			return ((IndexStmt *) statement)->concurrent ?
				"CREATE INDEX CONCURRENTLY" : NULL;
		case T_DropStmt:
			return ((DropStmt *) statement)->concurrent ?
				"DROP INDEX CONCURRENTLY" : NULL;
		case T_AlterTableStmt:
			return detaches_concurrently((AlterTableStmt *) statement) ?
				"ALTER TABLE ... DETACH PARTITION CONCURRENTLY" : NULL;
		default:
			return NULL;
	}
}

static const char *
reindex_name(const ReindexStmt *statement)
{
	switch (statement->kind)
	{
		case REINDEX_OBJECT_SCHEMA:
			return "REINDEX SCHEMA";
		case REINDEX_OBJECT_SYSTEM:
			return "REINDEX SYSTEM";
		case REINDEX_OBJECT_DATABASE:
			return "REINDEX DATABASE";
		default:
			return is_on(statement->params, "concurrently", false) ?
				"REINDEX CONCURRENTLY" : NULL;
	}
}

static bool
detaches_concurrently(const AlterTableStmt *statement)
{
	ListCell   *cell;

	foreach(cell, statement->cmds)
	{
		const AlterTableCmd *cmd = lfirst_node(AlterTableCmd, cell);

		if (cmd->subtype == AT_DetachPartition &&
			((PartitionCmd *) cmd->def)->concurrent)
			return true;
	}
	return false;
}

static bool
has_option(List *options, const char *name)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		if (strcmp(lfirst_node(DefElem, cell)->defname, name) == 0)
			return true;
	}
	return false;
}

/*
 * is_on
 *		The value of a Boolean option.  One that is no Boolean is left to the
 *		execution to complain of, unlike with defGetBoolean().
 */
static bool
is_on(List *options, const char *name, bool fallback)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = lfirst_node(DefElem, cell);
		bool		value;

		if (strcmp(option->defname, name) != 0)
			continue;
		if (option->arg == NULL)
			return true;
		return parse_bool(defGetString(option), &value) ? value : fallback;
	}
	return fallback;
}
