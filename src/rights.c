/*-------------------------------------------------------------------------
 *
 * rights.c
 *	  Who may do and see what.
 *
 * A run's role is its package's owner, so whoever may start a package gets
 * what the package does and nothing else.  All checks are about the current
 * user and count memberships; superusers pass them all.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"

#include "rights.h"

PG_FUNCTION_INFO_V1(wf_may_see_run);
PG_FUNCTION_INFO_V1(wf_may_see_package);

static bool may_start(Oid role, Oid owner, int64 package_id);
static bool may_see(Oid owner, Oid requested_by, int64 package_id);

/* The grants are looked up last, as most of those who ask are the owner. */
static bool
may_start(Oid role, Oid owner, int64 package_id)
{
	ListCell   *cell;

	if (has_privs_of_role(role, owner))
		return true;
	foreach(cell, wf_catalog_get_grantees(package_id))
	{
		Oid			grantee = lfirst_oid(cell);

		if (!OidIsValid(grantee) || has_privs_of_role(role, grantee))
			return true;
	}
	return false;
}

/* See rights.h. */
bool
wf_rights_may_start(Oid role, const WfPackageRow *package)
{
	return may_start(role, package->owner, package->package_id);
}

/* See rights.h. */
void
wf_rights_check_start(const WfPackageRow *package)
{
	if (!wf_rights_may_start(GetUserId(), package))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for package \"%s\"",
						package->name)));
}

/* See rights.h. */
void
wf_rights_check_owner(const WfPackageRow *package)
{
	if (!has_privs_of_role(GetUserId(), package->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of package \"%s\"", package->name)));
}

static bool
may_see(Oid owner, Oid requested_by, int64 package_id)
{
	return has_privs_of_role(GetUserId(), owner) ||
		(OidIsValid(requested_by) && GetUserId() == requested_by) ||
		has_privs_of_role(GetUserId(), ROLE_PG_MONITOR) ||
		may_start(GetUserId(), owner, package_id);
}

/* See rights.h. */
bool
wf_rights_may_see_package(const WfPackageRow *package)
{
	return may_see(package->owner, InvalidOid, package->package_id);
}

/* See rights.h. */
bool
wf_rights_may_see(const WfRun *run)
{
	return may_see(run->owner, run->requested_by, run->package_id);
}

/* See rights.h. */
void
wf_rights_check_control(const WfRun *run)
{
	if (!has_privs_of_role(GetUserId(), run->owner) &&
		GetUserId() != run->requested_by)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for run " INT64_FORMAT,
						run->run_id),
				 errdetail("Only its owner and who requested it may do that.")));
}

/*
 * workflow.may_see_run(owner oid, requested_by oid, package_id bigint)
 * returns boolean
 *		What the views ask for each row; internal.
 */
Datum
wf_may_see_run(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(may_see(PG_GETARG_OID(0), PG_GETARG_OID(1),
						   PG_GETARG_INT64(2)));
}

/*
 * workflow.may_see_package(owner oid, package_id bigint) returns boolean
 *		Likewise.
 */
Datum
wf_may_see_package(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(may_see(PG_GETARG_OID(0), InvalidOid, PG_GETARG_INT64(1)));
}
