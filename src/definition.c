/*-------------------------------------------------------------------------
 *
 * definition.c
 *	  SQL-callable functions that define packages.
 *
 * Every change of a definition is a document that replaces another one.  It
 * takes one path: the document is compiled, which checks it as a whole; the
 * text of its commands is parsed; only then is the package looked up, locked,
 * and the document stored.  So whatever is stored has passed all checks, and
 * an invalid definition is refused before anything is locked or written.
 *
 * The document is stored as it was given.  One that means the same as the
 * current version is not stored at all.
 *
 * Rights: anybody may make a package and is its owner; only (members of) the
 * owner may change it.  All work is done in the caller's transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "parser/parser.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "catalog.h"
#include "compat.h"
#include "document.h"
#include "plan.h"

PG_FUNCTION_INFO_V1(wf_define_package);
PG_FUNCTION_INFO_V1(wf_package_definition);

/* What is warned of: nothing that is wrong, but may not be what was meant. */
typedef struct Warning
{
	int32		step;
	char	   *message;
} Warning;

static int32 define_package(Jsonb *document);
static void check_commands(const WfPlan *plan);
static void parse_command_callback(void *arg);
static List *collect_warnings(const WfPlan *plan);
static int32 store_definition(const char *name, Jsonb *document);
static bool lock_for_edit(WfPackageRow *package);
static void check_owner(const WfPackageRow *package);
static void check_new_owner(Oid role);
static int32 replace_definition(const WfPackageRow *package, Jsonb *document);
static bool means_the_same(const WfPackageRow *package, Jsonb *document);

/*
 * wf_define_package
 *		SQL: workflow.define_package(definition jsonb) returns integer.
 *		Create a package or make its next version of a document; returns the
 *		version that is then the current one.
 */
Datum
wf_define_package(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the definition of a package must not be null")));
	PG_RETURN_INT32(define_package(PG_GETARG_JSONB_P(0)));
}

/*
 * wf_package_definition
 *		SQL: workflow.package_definition(package text, version integer)
 *		returns jsonb.  The document as it was given; a null version is the
 *		current one.
 */
Datum
wf_package_definition(PG_FUNCTION_ARGS)
{
	char	   *name;
	WfPackageRow package;
	int32		version;
	Jsonb	   *document;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (!wf_catalog_find_package(name, &package))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("package \"%s\" does not exist", name)));
	if (!has_privs_of_role(GetUserId(), package.owner) &&
		!has_privs_of_role(GetUserId(), ROLE_PG_MONITOR))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for package \"%s\"", name)));

	version = PG_ARGISNULL(1) ? package.version : PG_GETARG_INT32(1);
	document = wf_catalog_get_document(package.package_id, version);
	if (document == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("version %d of package \"%s\" does not exist",
						version, name)));
	PG_RETURN_JSONB_P(document);
}

/*
 * define_package
 *		The one path of every definition: check all of it, then store it.
 */
static int32
define_package(Jsonb *document)
{
	MemoryContext scratch;
	MemoryContext old;
	WfPlan	   *plan;
	ListCell   *cell;
	int32		version;

	scratch = AllocSetContextCreate(CurrentMemoryContext,
									"workflow definition",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(scratch);
	plan = wf_plan_compile(0, 0, document);
	check_commands(plan);

	PreventCommandIfReadOnly("workflow.define_package()");
	PreventCommandDuringRecovery("workflow.define_package()");
	version = store_definition(plan->name, document);

	foreach(cell, collect_warnings(plan))
	{
		const Warning *warning = lfirst(cell);

		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("%s", warning->message)));
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	return version;
}

/* What the error context of a command's parsing needs. */
typedef struct CommandPlace
{
	const WfPlan *plan;
	const WfPlanStep *step;
} CommandPlace;

/*
 * check_commands
 *		ERROR, the parser's own with the step as its context, for SQL text
 *		that does not parse.  Nothing is analysed: what a command refers to
 *		may come into being later.
 */
static void
check_commands(const WfPlan *plan)
{
	MemoryContext parse_context;
	MemoryContext old;
	ErrorContextCallback callback;
	CommandPlace place = {.plan = plan};
	int32		i;

	parse_context = AllocSetContextCreate(CurrentMemoryContext,
										  "workflow command",
										  ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(parse_context);
	callback.callback = parse_command_callback;
	callback.arg = &place;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	for (i = 0; i < plan->nsteps; i++)
	{
		CHECK_FOR_INTERRUPTS();
		place.step = &plan->steps[i];
		if (place.step->kind != WF_KIND_SQL)
			continue;
		(void) raw_parser(place.step->command, RAW_PARSE_DEFAULT);
		MemoryContextReset(parse_context);
	}
	error_context_stack = callback.previous;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(parse_context);
}

/*
 * Error context callback: a position in the command is not one in the query
 * that the client sent.
 */
static void
parse_command_callback(void *arg)
{
	const CommandPlace *place = arg;
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(place->step->command);
	}
	errcontext("command of step \"%s\" of package \"%s\"",
			   place->step->name, place->plan->name);
}

/* What is worth a warning in a valid definition: a list of Warning. */
static List *
collect_warnings(const WfPlan *plan)
{
	List	   *warnings = NIL;
	WfPackageRow child;
	int32		i;

	for (i = 0; i < plan->nsteps; i++)
	{
		const WfPlanStep *step = &plan->steps[i];
		Warning    *warning;

		CHECK_FOR_INTERRUPTS();
		if (step->kind != WF_KIND_PACKAGE ||
			wf_catalog_find_package(step->command, &child))
			continue;
		warning = palloc(sizeof(Warning));
		warning->step = i;
		warning->message =
			psprintf("package \"%s\", which step \"%s\" of package \"%s\" runs, does not exist yet",
					 step->command, step->name, plan->name);
		warnings = lappend(warnings, warning);
	}
	return warnings;
}

/*
 * store_definition
 *		Store a valid document under the name of its package, new or not.
 *		Whatever another transaction does with the name meanwhile is followed:
 *		the loop ends as soon as the name stays what it was found to be.
 */
static int32
store_definition(const char *name, Jsonb *document)
{
	for (;;)
	{
		WfPackageRow package;

		CHECK_FOR_INTERRUPTS();
		if (wf_catalog_find_package(name, &package))
		{
			if (lock_for_edit(&package) && strcmp(package.name, name) == 0)
				return replace_definition(&package, document);
		}
		else
		{
			check_new_owner(GetUserId());
			if (wf_catalog_create_package(name, GetUserId(), document) != 0)
				return 1;
		}
	}
}

/*
 * lock_for_edit
 *		Lock a package until the end of the transaction and read its row
 *		again, which may have changed until the lock was there; false if it is
 *		gone.  Rights are checked before the lock, too, so that who has none
 *		cannot keep anybody waiting.
 */
static bool
lock_for_edit(WfPackageRow *package)
{
	check_owner(package);
	wf_catalog_lock_package(package->package_id, AccessExclusiveLock);
	if (!wf_catalog_find_package_by_id(package->package_id, package))
		return false;
	check_owner(package);
	return true;
}

static void
check_owner(const WfPackageRow *package)
{
	if (!has_privs_of_role(GetUserId(), package->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of package \"%s\"", package->name)));
}

/* A package runs in workers that connect as its owner, so it must be able to. */
static void
check_new_owner(Oid role)
{
	HeapTuple	tuple;
	bool		can_login;

	if (!wf_owner_needs_login())
		return;
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role with OID %u does not exist", role)));
	can_login = ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;
	ReleaseSysCache(tuple);
	if (!can_login)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("role \"%s\" cannot own packages because it is not permitted to log in",
						GetUserNameFromId(role, false)),
				 errdetail("Before PostgreSQL 17 the workers that run a package can connect only as a role with the LOGIN attribute."),
				 errhint("Give it the attribute with ALTER ROLE ... LOGIN; a password is not needed.")));
}

/* Make a document the current version, unless it changes nothing. */
static int32
replace_definition(const WfPackageRow *package, Jsonb *document)
{
	if (means_the_same(package, document))
		return package->version;
	return wf_catalog_store_document(package, document);
}

/* True if the current version of the package means the same as a document. */
static bool
means_the_same(const WfPackageRow *package, Jsonb *document)
{
	Jsonb	   *current = wf_catalog_get_document(package->package_id,
												  package->version);

	if (current == NULL)
		return false;
	return wf_document_same(current, document) ||
		wf_document_same(wf_document_normalize(current),
						 wf_document_normalize(document));
}
