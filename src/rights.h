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

/* ERROR 42501 unless the current user may start the package. */
extern void wf_rights_check_start(const WfPackageRow *package);

/* True if the current user may see the run: the owner's and those who are
 * its members, who asked for it, and pg_monitor. */
extern bool wf_rights_may_see(const WfRun *run);

/* ERROR 42501 unless the current user may stop the run. */
extern void wf_rights_check_control(const WfRun *run);

#endif							/* WF_RIGHTS_H */
