/*-------------------------------------------------------------------------
 *
 * grants.c
 *	  Packages as objects: to whom they belong, who may start them, and
 *	  dropping them, as SQL-callable functions and as part of statements
 *	  about all that a role owns.
 *
 * The functions are for the owner (and members of it), lock the package as an edit
 * does, and are part of the caller's transaction.  Runs that have started are
 * not touched by any of them: a run keeps the role and the version with which
 * it started.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"

#include "arguments.h"
#include "check.h"
#include "compat.h"
#include "definition.h"
#include "grants.h"

PG_FUNCTION_INFO_V1(wf_drop_package);
PG_FUNCTION_INFO_V1(wf_alter_package_owner);
PG_FUNCTION_INFO_V1(wf_grant_start);
PG_FUNCTION_INFO_V1(wf_revoke_start);

static void open_package(FunctionCallInfo fcinfo, const char *function,
						 WfPackageRow *package);
static Oid	grantee_argument(FunctionCallInfo fcinfo);
static void give_package(const WfPackageRow *package, Oid owner);
static bool lock_listed(WfPackageRow *package);

/*
 * workflow.drop_package(package text) returns void
 *		What runs of it have used stays for the history.
 */
Datum
wf_drop_package(PG_FUNCTION_ARGS)
{
	WfPackageRow package;

	open_package(fcinfo, "workflow.drop_package()", &package);
	wf_catalog_drop_package(package.package_id);
	PG_RETURN_VOID();
}

/*
 * workflow.alter_package_owner(package text, role text) returns void
 *		The package must be valid with the rights of its new owner, too, who
 *		has not been asked: so the caller must be able to become that role.
 */
Datum
wf_alter_package_owner(PG_FUNCTION_ARGS)
{
	WfPackageRow package;
	Oid			owner = get_role_oid(wf_argument_text(fcinfo, 1, "role"),
									 false);

	open_package(fcinfo, "workflow.alter_package_owner()", &package);
	if (owner != package.owner)
		give_package(&package, owner);
	PG_RETURN_VOID();
}

static void
give_package(const WfPackageRow *package, Oid owner)
{
	WfPlan	   *plan;

	if (!wf_may_set_role(GetUserId(), owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be able to SET ROLE \"%s\"",
						GetUserNameFromId(owner, false))));
	wf_definition_check_new_owner(owner);
	plan = wf_plan_compile(package->package_id, package->version,
						   wf_definition_read(package, package->version));
	(void) wf_check_plan(plan, owner);
	wf_catalog_set_owner(package->package_id, owner);
}

/* workflow.grant_start(package text, role text) returns void */
Datum
wf_grant_start(PG_FUNCTION_ARGS)
{
	WfPackageRow package;
	Oid			grantee = grantee_argument(fcinfo);

	open_package(fcinfo, "workflow.grant_start()", &package);
	wf_catalog_add_grant(package.package_id, grantee);
	PG_RETURN_VOID();
}

/* workflow.revoke_start(package text, role text) returns void */
Datum
wf_revoke_start(PG_FUNCTION_ARGS)
{
	WfPackageRow package;
	Oid			grantee = grantee_argument(fcinfo);

	open_package(fcinfo, "workflow.revoke_start()", &package);
	wf_catalog_drop_grant(package.package_id, grantee);
	PG_RETURN_VOID();
}

static void
open_package(FunctionCallInfo fcinfo, const char *function,
			 WfPackageRow *package)
{
	wf_definition_prevent_read_only(function);
	wf_definition_open(wf_argument_text(fcinfo, 0, "package"), package);
}

/* The role of the second argument; InvalidOid stands for PUBLIC. */
static Oid
grantee_argument(FunctionCallInfo fcinfo)
{
	char	   *name = wf_argument_text(fcinfo, 1, "role");

	return strcmp(name, "public") == 0 ? InvalidOid :
		get_role_oid(name, false);
}

/* See grants.h. */
void
wf_grants_reassign_owned(List *roles, Oid owner)
{
	ListCell   *lc;

	CommandCounterIncrement();	/* what the statement has dropped */
	if (!wf_catalog_installed())
		return;
	foreach(lc, wf_catalog_list_packages())
	{
		WfPackageRow *package = lfirst(lc);

		if (list_member_oid(roles, package->owner) &&
			package->owner != owner && lock_listed(package) &&
			list_member_oid(roles, package->owner))
			give_package(package, owner);
	}
}

/* See grants.h. */
void
wf_grants_drop_owned(List *roles)
{
	ListCell   *lc;
	ListCell   *lc2;

	CommandCounterIncrement();
	if (!wf_catalog_installed())
		return;
	foreach(lc, wf_catalog_list_packages())
	{
		WfPackageRow *package = lfirst(lc);
		List	   *grantees = wf_catalog_get_grantees(package->package_id);
		bool		concerned = list_member_oid(roles, package->owner);

		foreach(lc2, roles)
			concerned |= list_member_oid(grantees, lfirst_oid(lc2));
		if (!concerned || !lock_listed(package))
			continue;
		if (list_member_oid(roles, package->owner))
			wf_catalog_drop_package(package->package_id);
		else
		{
			foreach(lc2, roles)
				wf_catalog_drop_grant(package->package_id, lfirst_oid(lc2));
		}
	}
}

/* Lock a package; false if it has gone meanwhile. */
static bool
lock_listed(WfPackageRow *package)
{
	wf_catalog_lock_package(package->package_id, AccessExclusiveLock);
	return wf_catalog_find_package_by_id(package->package_id, package);
}
