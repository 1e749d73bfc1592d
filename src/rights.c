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

static bool may_see(Oid owner, Oid requested_by);

/* See rights.h. */
void
wf_rights_check_start(const WfPackageRow *package)
{
	if (!has_privs_of_role(GetUserId(), package->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for package \"%s\"",
						package->name)));
}

static bool
may_see(Oid owner, Oid requested_by)
{
	return has_privs_of_role(GetUserId(), owner) ||
		(OidIsValid(requested_by) && GetUserId() == requested_by) ||
		has_privs_of_role(GetUserId(), ROLE_PG_MONITOR);
}

/* See rights.h. */
bool
wf_rights_may_see(const WfRun *run)
{
	return may_see(run->owner, run->requested_by);
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
 * workflow.may_see_run(owner oid, requested_by oid) returns boolean
 *		What the views ask for each row; internal.
 */
Datum
wf_may_see_run(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(may_see(PG_GETARG_OID(0), PG_GETARG_OID(1)));
}

/* workflow.may_see_package(owner oid) returns boolean: likewise. */
Datum
wf_may_see_package(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(may_see(PG_GETARG_OID(0), InvalidOid));
}
