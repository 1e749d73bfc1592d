/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  Every PG_VERSION_NUM test of the project, as inline wrappers with the
 *	  newest signature.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_COMPAT_H
#define WF_COMPAT_H

#if PG_VERSION_NUM >= 160000
#include "catalog/pg_database.h"
#endif
#include "lib/dshash.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "replication/walsender_private.h"
#include "storage/proc.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 150000
#error "workflow needs PostgreSQL 15 or later"
#endif

/*
 * Before 17 a background worker cannot connect as a role without LOGIN, so
 * the owner of a package must have it.
 */
static inline bool
wf_owner_needs_login(void)
{
#if PG_VERSION_NUM >= 170000
	return false;
#else
	return true;
#endif
}

/* Whether a role may SET ROLE to another one; before 16 every member may. */
static inline bool
wf_may_set_role(Oid member, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return member_can_set_role(member, role);
#else
	return is_member_of_role(member, role);
#endif
}

/* Whether a role may connect to this database. */
static inline bool
wf_may_connect(Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(DatabaseRelationId, MyDatabaseId, role,
						   ACL_CONNECT) == ACLCHECK_OK;
#else
	return pg_database_aclcheck(MyDatabaseId, role,
								ACL_CONNECT) == ACLCHECK_OK;
#endif
}

/* Whether a role owns a database, or is a superuser. */
static inline bool
wf_owns_database(Oid role, Oid database)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(DatabaseRelationId, database, role);
#else
	return pg_database_ownercheck(database, role);
#endif
}

/* Flags with which a worker connects as the owner of what it runs. */
static inline uint32
wf_worker_connect_flags(void)
{
#if PG_VERSION_NUM >= 170000
	return BGWORKER_BYPASS_ROLELOGINCHECK;
#else
	return 0;
#endif
}

/* Number of a PGPROC, and back: safe to keep in shared memory. */
static inline int
wf_proc_number(PGPROC *proc)
{
#if PG_VERSION_NUM >= 170000
	return GetNumberFromPGProc(proc);
#else
	return proc->pgprocno;
#endif
}

static inline PGPROC *
wf_proc(int number)
{
	return &ProcGlobal->allProcs[number];
}

/* This backend's current transaction, to tell it from the next. */
static inline LocalTransactionId
wf_local_xid(void)
{
#if PG_VERSION_NUM >= 170000
	return MyProc->vxid.lxid;
#else
	return MyProc->lxid;
#endif
}

/*
 * Does synchronous_standby_names name any standby, as the checkpointer has told
 * everybody?  The field has changed in minor releases, with the macro.
 */
static inline bool
wf_sync_standbys_defined(void)
{
#ifdef SYNC_STANDBY_DEFINED
	return (WalSndCtl->sync_standbys_status & SYNC_STANDBY_DEFINED) != 0;
#else
	return WalSndCtl->sync_standbys_defined;
#endif
}

/* PortalRun lost its run_once argument in 18. */
static inline bool
wf_portal_run(Portal portal, DestReceiver *dest, QueryCompletion *qc)
{
#if PG_VERSION_NUM >= 180000
	return PortalRun(portal, FETCH_ALL, true, dest, dest, qc);
#else
	return PortalRun(portal, FETCH_ALL, true, true, dest, dest, qc);
#endif
}

/* A wait event of ours: named from 17 on, "Extension" before. */
static inline uint32
wf_wait_event(const char *name)
{
#if PG_VERSION_NUM >= 170000
	return WaitEventExtensionNew(name);
#else
	(void) name;
	return PG_WAIT_EXTENSION;
#endif
}

/* Keys of a dshash table are copied by a function from 17 on. */
static inline void
wf_dshash_set_copy(dshash_parameters *parameters)
{
#if PG_VERSION_NUM >= 170000
	parameters->copy_function = dshash_memcpy;
#else
	(void) parameters;
#endif
}

#endif							/* WF_COMPAT_H */
