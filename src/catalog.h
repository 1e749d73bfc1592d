/*-------------------------------------------------------------------------
 *
 * catalog.h
 *	  The tables of the definitions, read and written as catalogs.
 *
 * Nothing else knows tables and columns (history.c writes the history tables
 * through the relation handles that are opened here).  All access is by
 * systable_* scans and CatalogTuple* calls: no SPI, no permission of the
 * caller involved, nothing that a user can hook.  Callers check rights first.
 *
 * All functions need a transaction with an active snapshot; locks on the
 * tables are held to the end of the transaction.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_CATALOG_H
#define WF_CATALOG_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

#include "workflow.h"

/* One row of workflow.definition. */
typedef struct WfPackageRow
{
	int64		package_id;
	char	   *name;
	Oid			owner;
	int32		version;		/* the current one */
} WfPackageRow;

/* A version of a package, which may have been dropped. */
typedef struct WfVersion
{
	int64		package_id;
	int32		version;
} WfVersion;

/* The tables, in the order of wf_catalog_relid()'s cache. */
typedef enum WfTable
{
	WF_TABLE_DEFINITION,
	WF_TABLE_DEFINITION_VERSION,
	WF_TABLE_DEFINITION_USE,
	WF_TABLE_START_GRANT,
	WF_TABLE_RUN,
	WF_TABLE_REQUEST_KEY,
	WF_TABLE_RUN_OUTCOME,
	WF_TABLE_STEP_OUTCOME,
	WF_TABLE_TRANSACTION_OUTCOME,
	WF_TABLE_STEP_START,
	WF_TABLE_RUN_COMMAND,
	WF_TABLE_HORIZON,
	WF_NTABLES
} WfTable;

/*
 * OID of a table, of its first index (primary key), of the run sequence.
 * Cached per process; error 55000 with a hint if the extension is not in
 * this database.
 */
extern Oid	wf_catalog_relid(WfTable table);
extern Oid	wf_catalog_indexid(WfTable table);
extern Oid	wf_catalog_run_sequence(void);
extern Oid	wf_catalog_transaction_sequence(void);

/* True if the extension exists in this database.  Looks it up afresh.  FATAL
 * if it is not the one that this process is to end with. */
extern bool wf_catalog_installed(void);

/*
 * This process ends with the extension that it finds first: FATAL when it
 * looks it up, or its tables, and finds one that was created since.
 */
extern void wf_catalog_end_with_extension(void);

/*
 * Counts up whenever what this process cached about the extension's tables
 * may be about an extension that was dropped; caches of plans compare it.
 */
extern uint64 wf_catalog_generation(void);

/*
 * The heavyweight lock of a package, held to the end of the transaction:
 * AccessShareLock by who starts it, AccessExclusiveLock by who edits it, so
 * that a version is never edited in place while a start of it is uncommitted.
 * Take it, then read the row again: it may have changed meanwhile.
 */
extern void wf_catalog_lock_package(int64 package_id, int lockmode);
/*
 * Locks that starts of a package take against each other, to the end of the
 * transaction: all of them, or those under one request key.
 */
extern void wf_catalog_lock_starts(int64 package_id);
extern void wf_catalog_lock_request_key(int64 package_id, const char *key);
/* AccessShareLock, or false at once if somebody edits the package. */
extern bool wf_catalog_try_lock_package(int64 package_id);
/* AccessExclusiveLock, or false at once if somebody starts or edits it. */
extern bool wf_catalog_try_lock_package_to_edit(int64 package_id);

/* Read the row of a package; false if there is none.  Strings are palloc'd. */
extern bool wf_catalog_find_package(const char *name, WfPackageRow *row);
extern bool wf_catalog_find_package_by_id(int64 package_id, WfPackageRow *row);

/* The document of a version (palloc'd, detoasted), NULL if there is none. */
extern Jsonb *wf_catalog_get_document(int64 package_id, int32 version);

/* True if a run has used the version (in a snapshot taken now). */
extern bool wf_catalog_version_used(int64 package_id, int32 version);
extern void wf_catalog_mark_version_used(int64 package_id, int32 version);

/*
 * Make a new package with version 1, or return 0 if the name is taken by
 * then (also by a transaction that was in progress: it is waited for).
 */
extern int64 wf_catalog_create_package(const char *name, Oid owner,
									   Jsonb *document);

/*
 * Store a document as the current version of a package whose
 * AccessExclusiveLock the caller holds: in place if no run has used the
 * current version, else as the next one.  Returns the version's number.
 * Versions that no run has used do not outlive a next one.
 */
extern int32 wf_catalog_store_document(const WfPackageRow *package,
									   Jsonb *document);

/*
 * Changes of a package whose AccessExclusiveLock the caller holds.  Renaming
 * leaves the document to the caller, and returns false if the name is taken.
 * Dropping takes along grants, and versions that no run has used; the others
 * stay for the history.
 */
extern bool wf_catalog_rename_package(int64 package_id, const char *name);
extern void wf_catalog_set_owner(int64 package_id, Oid owner);
extern void wf_catalog_drop_package(int64 package_id);

/* The current versions of all packages: a list of WfVersion. */
extern List *wf_catalog_list_packages(void);

/*
 * Versions that are not the current one (any more), of one package or, with
 * 0, of all: a list of WfVersion.  Deleting one needs AccessExclusiveLock on
 * its package, and that no run refers to it: its number is never used again.
 */
extern List *wf_catalog_list_old_versions(int64 package_id);
extern void wf_catalog_delete_version(const WfVersion *version);

/*
 * Who may start a package beside its owner: roles, InvalidOid for PUBLIC.
 * Adding a grant that is there, or dropping one that is not, does nothing.
 */
extern List *wf_catalog_get_grantees(int64 package_id);
extern void wf_catalog_add_grant(int64 package_id, Oid grantee);
extern void wf_catalog_drop_grant(int64 package_id, Oid grantee);

#endif							/* WF_CATALOG_H */
