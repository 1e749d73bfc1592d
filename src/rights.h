/*-------------------------------------------------------------------------
 *
 * rights.h
 *	  Who may do and see what.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_RIGHTS_H
#define WF_RIGHTS_H

#include "catalog.h"
#include "history.h"

/* True if the role may start the package: its owner, and who is granted it.
 * To be a member of such a role is enough. */
extern bool wf_rights_may_start(Oid role, const WfPackageRow *package);

/* ERROR 42501 unless the current user may start the package. */
extern void wf_rights_check_start(const WfPackageRow *package);

/* ERROR 42501 unless the current user may change the package: its owner. */
extern void wf_rights_check_owner(const WfPackageRow *package);

/* True if the current user may see the definition of the package: who may
 * start it, and pg_monitor. */
extern bool wf_rights_may_see_package(const WfPackageRow *package);

/* True if the current user may see the run: who may start its package, who
 * asked for it, and pg_monitor. */
extern bool wf_rights_may_see(const WfRun *run);

/* ERROR 42501 unless the current user may stop the run. */
extern void wf_rights_check_control(const WfRun *run);

#endif							/* WF_RIGHTS_H */
