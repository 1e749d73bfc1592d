/*-------------------------------------------------------------------------
 *
 * grants.h
 *	  What becomes of packages when what roles own is reassigned or dropped.
 *
 * Both are for the statements of that name, after the server has carried them
 * out and so has found that the caller may do that.  Roles are lists of OIDs.
 * They lock the packages as edits do; nothing is done in a database without
 * the extension.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_GRANTS_H
#define WF_GRANTS_H

#include "nodes/pg_list.h"

/* Give packages of some roles to another one.  Errors: as
 * workflow.alter_package_owner(). */
extern void wf_grants_reassign_owned(List *roles, Oid owner);

/* Drop packages of some roles, and revoke what they were granted. */
extern void wf_grants_drop_owned(List *roles);

#endif							/* WF_GRANTS_H */
