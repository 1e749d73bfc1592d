/*-------------------------------------------------------------------------
 *
 * ddl_hook.c
 *	  What the agent has to know of DDL: the extension comes or goes, a
 *	  database comes, goes, or changes.
 *
 * CREATE, ALTER (it may be an update) and DROP EXTENSION are seen by the object access hook,
 * also where they are part of something larger (DROP SCHEMA ... CASCADE,
 * DROP OWNED).  Whether it is our extension is not asked: the agent looks
 * itself when it is told at commit.  Likewise CREATE DATABASE, whose template
 * may have the extension, and ALTER DATABASE, which may allow or forbid
 * connections.
 *
 * Some statements are refused while anybody is connected to a database: DROP
 * DATABASE, ALTER DATABASE ... RENAME and SET TABLESPACE, and CREATE DATABASE
 * with it as the template.  The server would count the agent as one, and let
 * nobody but a superuser terminate its scheduler.  So before such a statement
 * the agent is evicted (evict.c), until the transaction is over, provided
 * that the server will find the caller to have the right to the statement:
 * the owner of the database; for RENAME with CREATEDB; for a copy CREATEDB,
 * and the owner unless it is marked as a template.  Anybody else disturbs
 * nobody and gets the server's error.  What else the statement may fail for
 * is not looked at, since who could make it succeed may evict the agent
 * anyway.
 *
 * REASSIGN OWNED and DROP OWNED do to packages what they do to other objects,
 * when the server has done its part.  DROP ROLE does nothing: the server
 * knows of no dependency, the package stays, and its runs fail until somebody
 * gives it to another role.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/user.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/syscache.h"

#include "compat.h"
#include "ddl_hook.h"
#include "evict.h"
#include "grants.h"
#include "shmem.h"
#include "wakeup.h"

#define DEFAULT_TEMPLATE	"template1"

static object_access_hook_type previous_hook = NULL;
static ProcessUtility_hook_type previous_utility_hook = NULL;

static void watch_objects(ObjectAccessType access, Oid classid, Oid objectid,
						  int subid, void *arg);
static void watch_utility(PlannedStmt *pstmt, const char *query,
						  bool read_only_tree, ProcessUtilityContext context,
						  ParamListInfo params, QueryEnvironment *environment,
						  DestReceiver *dest, QueryCompletion *qc);
static void make_room_for(Node *statement, bool top_level);
static void make_room_to_drop(DropdbStmt *statement);
static void make_room_to_rename(RenameStmt *statement);
static void make_room_to_move(AlterDatabaseStmt *statement);
static void make_room_to_copy(CreatedbStmt *statement);
static void follow_owner(Node *statement);
static DefElem *find_option(List *options, const char *name);
static bool has_createdb(void);
static bool is_template(Oid database);

/* Install the hooks. */
void
wf_ddl_hook_init(void)
{
	previous_hook = object_access_hook;
	object_access_hook = watch_objects;
	previous_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = watch_utility;
}

static void
watch_objects(ObjectAccessType access, Oid classid, Oid objectid, int subid,
			  void *arg)
{
	if (previous_hook)
		previous_hook(access, classid, objectid, subid, arg);
	if (wf_shared == NULL)
		return;
	if ((classid == ExtensionRelationId &&
		 (access == OAT_POST_CREATE || access == OAT_POST_ALTER ||
		  access == OAT_DROP)) ||
		(classid == DatabaseRelationId &&
		 (access == OAT_POST_CREATE || access == OAT_POST_ALTER)))
		wf_wakeup_look();
}

static void
watch_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree,
			  ProcessUtilityContext context, ParamListInfo params,
			  QueryEnvironment *environment, DestReceiver *dest,
			  QueryCompletion *qc)
{
	Node	   *statement = pstmt->utilityStmt;

	/* others may end the transaction, and take the statement with it */
	bool		about_owned = IsA(statement, ReassignOwnedStmt) ||
	IsA(statement, DropOwnedStmt);

	/* where the server refuses them all there is nothing to do for us */
	if (wf_shared != NULL && !XactReadOnly)
		make_room_for(statement, context == PROCESS_UTILITY_TOPLEVEL);
	if (previous_utility_hook)
		previous_utility_hook(pstmt, query, read_only_tree, context, params,
							  environment, dest, qc);
	else
		standard_ProcessUtility(pstmt, query, read_only_tree, context, params,
								environment, dest, qc);
	if (about_owned)
		follow_owner(statement);
}

/* Packages belong to what a role owns. */
static void
follow_owner(Node *statement)
{
	if (IsA(statement, ReassignOwnedStmt))
	{
		ReassignOwnedStmt *reassign = (ReassignOwnedStmt *) statement;

		wf_grants_reassign_owned(roleSpecsToIds(reassign->roles),
								 get_rolespec_oid(reassign->newrole, false));
	}
	else
		wf_grants_drop_owned(roleSpecsToIds(((DropOwnedStmt *) statement)->roles));
}

/* All but RENAME are refused in a transaction block. */
static void
make_room_for(Node *statement, bool top_level)
{
	switch (nodeTag(statement))
	{
		case T_RenameStmt:
			if (((RenameStmt *) statement)->renameType == OBJECT_DATABASE)
				make_room_to_rename((RenameStmt *) statement);
			break;
		case T_DropdbStmt:
			if (!IsInTransactionBlock(top_level))
				make_room_to_drop((DropdbStmt *) statement);
			break;
		case T_AlterDatabaseStmt:
			if (!IsInTransactionBlock(top_level))
				make_room_to_move((AlterDatabaseStmt *) statement);
			break;
		case T_CreatedbStmt:
			if (!IsInTransactionBlock(top_level))
				make_room_to_copy((CreatedbStmt *) statement);
			break;
		default:
			break;
	}
}

static void
make_room_to_drop(DropdbStmt *statement)
{
	Oid			database = get_database_oid(statement->dbname, true);

	if (OidIsValid(database) && database != MyDatabaseId &&
		wf_owns_database(GetUserId(), database))
		wf_evict(database, find_option(statement->options, "force") != NULL);
}

static void
make_room_to_rename(RenameStmt *statement)
{
	Oid			database = get_database_oid(statement->subname, true);

	if (OidIsValid(database) && database != MyDatabaseId &&
		wf_owns_database(GetUserId(), database) && has_createdb())
		wf_evict(database, false);
}

static void
make_room_to_move(AlterDatabaseStmt *statement)
{
	Oid			database;

	if (find_option(statement->options, "tablespace") == NULL)
		return;
	database = get_database_oid(statement->dbname, true);
	if (OidIsValid(database) && database != MyDatabaseId &&
		wf_owns_database(GetUserId(), database))
		wf_evict(database, false);
}

/* The template may be the database where the statement is executed. */
static void
make_room_to_copy(CreatedbStmt *statement)
{
	DefElem    *option = find_option(statement->options, "template");
	Oid			database = get_database_oid(option != NULL && option->arg != NULL ?
											defGetString(option) :
											DEFAULT_TEMPLATE, true);

	if (OidIsValid(database) && has_createdb() &&
		(wf_owns_database(GetUserId(), database) || is_template(database)))
		wf_evict(database, false);
}

static DefElem *
find_option(List *options, const char *name)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (strcmp(option->defname, name) == 0)
			return option;
	}
	return NULL;
}

/* True if the current user may create databases. */
static bool
has_createdb(void)
{
	HeapTuple	tuple;
	bool		result;

	if (superuser())
		return true;
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
	ReleaseSysCache(tuple);
	return result;
}

/* True if everybody who may create databases may copy this one. */
static bool
is_template(Oid database)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID,
										ObjectIdGetDatum(database));
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
	ReleaseSysCache(tuple);
	return result;
}
