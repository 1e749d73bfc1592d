/*-------------------------------------------------------------------------
 *
 * definition.c
 *	  Storing definitions: the one path of whatever defines a package.
 *
 * Every change of a definition is a document that replaces another one.  It
 * takes one path: the document is compiled, which checks it as a whole; then
 * what depends on the server and the owner is checked (check.c); only then is
 * it stored.  So whatever is stored has passed all checks, and nothing of an
 * invalid definition is left.  define_package() is given the document; the
 * functions that change a part of it (edit.c) lock the package, make the
 * document from the current one, and come here.
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
#include "storage/lock.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "catalog.h"
#include "check.h"
#include "compat.h"
#include "definition.h"
#include "document.h"
#include "plan.h"
#include "purge.h"
#include "rights.h"
#include "wakeup.h"

/* When a version is superseded, so many of the newest runs are looked at for
 * ones that refer to an older one; purge_history() looks at all. */
#define RUNS_TO_LOOK_AT		10000

PG_FUNCTION_INFO_V1(wf_define_package);
PG_FUNCTION_INFO_V1(wf_package_definition);
PG_FUNCTION_INFO_V1(wf_normal_definition);

static int32 store_definition(const char *name, Jsonb *document,
							  bool must_be_new);
static bool lock_for_edit(WfPackageRow *package);
static int32 replace_definition(const WfPackageRow *package, Jsonb *document);
static bool means_the_same(const WfPackageRow *package, Jsonb *document);
static bool same_size(Jsonb *a, Jsonb *b);
static Oid	expected_owner(const char *name);
static List *former_warnings(const WfPlan *former, const WfPlan *plan,
							 const WfCommandText *texts);
static void show_warnings(const WfPlan *plan, const WfCommandText *texts,
						  List *known);
static bool is_known(const WfWarning *warning, List *known);

/*
 * workflow.define_package(definition jsonb) returns integer
 *		Create a package or make its next version of a document; returns the
 *		version that is then the current one.
 */
Datum
wf_define_package(PG_FUNCTION_ARGS)
{
	wf_definition_prevent_read_only("workflow.define_package()");
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the definition of a package must not be null")));
	PG_RETURN_INT32(wf_definition_define(PG_GETARG_JSONB_P(0), false));
}

/*
 * workflow.package_definition(package text, version integer) returns jsonb
 *		The document as it was given; a null version is the current one.
 */
Datum
wf_package_definition(PG_FUNCTION_ARGS)
{
	WfPackageRow package;
	int32		version;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	wf_definition_find(text_to_cstring(PG_GETARG_TEXT_PP(0)), &package);
	version = PG_ARGISNULL(1) ? package.version : PG_GETARG_INT32(1);
	PG_RETURN_JSONB_P(wf_definition_read(&package, version));
}

/*
 * workflow.normal_definition(document jsonb) returns jsonb
 *		A document with every option present, in canonical form: what the
 *		views of definitions are made of.
 */
Datum
wf_normal_definition(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(wf_document_normalize(PG_GETARG_JSONB_P(0)));
}

/* See definition.h. */
void
wf_definition_prevent_read_only(const char *function)
{
	PreventCommandIfReadOnly(function);
	PreventCommandDuringRecovery(function);
}

/* See definition.h. */
void
wf_definition_find(const char *name, WfPackageRow *package)
{
	if (!wf_catalog_find_package(name, package))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("package \"%s\" does not exist", name)));
}

/* See definition.h. */
Jsonb *
wf_definition_read(const WfPackageRow *package, int32 version)
{
	Jsonb	   *document;

	if (!wf_rights_may_see_package(package))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for package \"%s\"",
						package->name)));
	document = wf_catalog_get_document(package->package_id, version);
	if (document == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("version %d of package \"%s\" does not exist",
						version, package->name)));
	return document;
}

/* See definition.h. */
void
wf_definition_open(const char *name, WfPackageRow *package)
{
	do
	{
		CHECK_FOR_INTERRUPTS();
		wf_definition_find(name, package);
	} while (!lock_for_edit(package) || strcmp(package->name, name) != 0);
}

/*
 * wf_definition_define
 *		The path of a whole document: check all of it, then store it.
 */
int32
wf_definition_define(Jsonb *document, bool must_be_new)
{
	MemoryContext scratch;
	MemoryContext old;
	WfPlan	   *plan;
	WfCommandText *texts;
	int32		version;

	scratch = AllocSetContextCreate(CurrentMemoryContext,
									"workflow definition",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(scratch);
	plan = wf_plan_compile(0, 0, document);
	texts = wf_check_plan(plan, expected_owner(plan->name));
	version = store_definition(plan->name, document, must_be_new);
	show_warnings(plan, texts, NIL);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	return version;
}

/*
 * wf_definition_replace
 *		The path of a document that was made of the current one.
 */
int32
wf_definition_replace(const WfPackageRow *package, Jsonb *document)
{
	MemoryContext scratch;
	MemoryContext old;
	WfPlan	   *former;
	WfPlan	   *plan;
	WfCommandText *texts;
	int32		version;

	scratch = AllocSetContextCreate(CurrentMemoryContext,
									"workflow definition",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(scratch);
	former = wf_plan_compile(0, 0, wf_catalog_get_document(package->package_id,
														   package->version));
	plan = wf_plan_compile(0, 0, document);
	texts = wf_check_plan(plan, package->owner);
	version = replace_definition(package, document);
	show_warnings(plan, texts, former_warnings(former, plan, texts));
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	return version;
}

/* With whose rights a package of this name is checked. */
static Oid
expected_owner(const char *name)
{
	WfPackageRow package;

	return wf_catalog_find_package(name, &package) ? package.owner :
		GetUserId();
}

/*
 * former_warnings
 *		What the former definition was warned of.  The commands that were kept
 *		have just been parsed; the others are not, as an edit must be possible
 *		that mends one which does not parse any more.
 */
static List *
former_warnings(const WfPlan *former, const WfPlan *plan,
				const WfCommandText *texts)
{
	WfCommandText *former_texts = palloc0(mul_size(former->nsteps,
												   sizeof(WfCommandText)));
	int32		i;

	for (i = 0; i < former->nsteps; i++)
	{
		const WfPlanStep *step = &former->steps[i];
		int32		same = wf_plan_step_index(plan, step->name);

		if (same >= 0 && step->kind == WF_KIND_SQL &&
			plan->steps[same].kind == WF_KIND_SQL &&
			strcmp(step->command, plan->steps[same].command) == 0)
			former_texts[i] = texts[same];
	}
	return wf_check_warnings(former, former_texts);
}

/* Warn of what is not known. */
static void
show_warnings(const WfPlan *plan, const WfCommandText *texts, List *known)
{
	ListCell   *cell;

	foreach(cell, wf_check_warnings(plan, texts))
	{
		const WfWarning *warning = lfirst(cell);

		if (is_known(warning, known))
			continue;
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("%s", warning->message)));
	}
}

static bool
is_known(const WfWarning *warning, List *known)
{
	ListCell   *cell;

	foreach(cell, known)
	{
		if (strcmp(((WfWarning *) lfirst(cell))->message,
				   warning->message) == 0)
			return true;
	}
	return false;
}

/*
 * store_definition
 *		Store a valid document under the name of its package, new or not.
 *		Whatever another transaction does with the name meanwhile is followed:
 *		the loop ends as soon as the name stays what it was found to be.
 */
static int32
store_definition(const char *name, Jsonb *document, bool must_be_new)
{
	for (;;)
	{
		WfPackageRow package;

		CHECK_FOR_INTERRUPTS();
		if (wf_catalog_find_package(name, &package))
		{
			if (must_be_new)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_OBJECT),
						 errmsg("package \"%s\" already exists", name)));
			if (lock_for_edit(&package) && strcmp(package.name, name) == 0)
				return replace_definition(&package, document);
		}
		else
		{
			wf_definition_check_new_owner(GetUserId());
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
	wf_rights_check_owner(package);
	wf_catalog_lock_package(package->package_id, AccessExclusiveLock);
	if (!wf_catalog_find_package_by_id(package->package_id, package))
		return false;
	wf_rights_check_owner(package);
	return true;
}

/* A package runs in workers that connect as its owner, so it must be able to. */
void
wf_definition_check_new_owner(Oid role)
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
	int32		version;

	if (means_the_same(package, document))
		return package->version;
	wf_wakeup_edited(package->package_id);
	version = wf_catalog_store_document(package, document);
	if (version != package->version)
		wf_purge_versions(package->package_id, RUNS_TO_LOOK_AT);
	return version;
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
		(same_size(current, document) &&
		 wf_document_same(wf_document_normalize(current),
						  wf_document_normalize(document)));
}

/*
 * same_size
 *		True if two documents have equally many connections and steps.  This
 *		saves who adds steps one by one from normalising them all each time.
 */
static bool
same_size(Jsonb *a, Jsonb *b)
{
	WfDocument	document_a;
	WfDocument	document_b;

	wf_document_open(&document_a, a);
	wf_document_open(&document_b, b);
	return document_a.nconnections == document_b.nconnections &&
		document_a.nsteps == document_b.nsteps;
}
