/*-------------------------------------------------------------------------
 *
 * catalog.c
 *	  The tables of the definitions, read and written as catalogs.
 *
 * The tables are ordinary ones, but they are used as the server uses its
 * catalogs: systable scans with the catalog snapshot, so that every read sees
 * the newest committed rows whatever snapshot the caller's transaction has
 * (and taking it does not count as the transaction's first snapshot, so a
 * step may still say SET TRANSACTION), and CatalogTuple* to write, so that
 * no trigger, rule, policy or permission is involved.  Rights are checked by
 * the callers.
 *
 * Object identifiers are looked up once per process and forgotten at any
 * relation cache invalidation that may concern them; that also counts up the
 * generation which tells caches of plans to start afresh (DROP EXTENSION and
 * CREATE EXTENSION hand the same package ids out again).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "commands/sequence.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog.h"

/* Columns of workflow.definition. */
enum
{
	DEF_PACKAGE_ID = 1,
	DEF_NAME,
	DEF_OWNER,
	DEF_VERSION,
	DEF_NCOLUMNS = DEF_VERSION
};

/* Columns of workflow.definition_version. */
enum
{
	DV_PACKAGE_ID = 1,
	DV_VERSION,
	DV_NAME,
	DV_DOCUMENT,
	DV_NCOLUMNS = DV_DOCUMENT
};

/* Columns of workflow.definition_use. */
enum
{
	DU_PACKAGE_ID = 1,
	DU_VERSION,
	DU_NCOLUMNS = DU_VERSION
};

/* Columns of workflow.start_grant. */
enum
{
	SG_PACKAGE_ID = 1,
	SG_GRANTEE,
	SG_NCOLUMNS = SG_GRANTEE
};

static const char *const table_names[WF_NTABLES] = {
	[WF_TABLE_DEFINITION] = "definition",
	[WF_TABLE_DEFINITION_VERSION] = "definition_version",
	[WF_TABLE_DEFINITION_USE] = "definition_use",
	[WF_TABLE_START_GRANT] = "start_grant",
	[WF_TABLE_RUN] = "run",
	[WF_TABLE_REQUEST_KEY] = "request_key",
	[WF_TABLE_RUN_RESTART] = "run_restart",
	[WF_TABLE_RUN_OUTCOME] = "run_outcome",
	[WF_TABLE_STEP_OUTCOME] = "step_outcome",
	[WF_TABLE_TRANSACTION_OUTCOME] = "transaction_outcome",
	[WF_TABLE_STEP_START] = "step_start",
	[WF_TABLE_RUN_COMMAND] = "run_command",
	[WF_TABLE_HORIZON] = "horizon",
	[WF_TABLE_INSTALLATION] = "installation"
};

/* The index that lookups use; NULL: none. */
static const char *const index_names[WF_NTABLES] = {
	[WF_TABLE_DEFINITION] = "definition_pkey",
	[WF_TABLE_DEFINITION_VERSION] = "definition_version_pkey",
	[WF_TABLE_DEFINITION_USE] = "definition_use_package_id_version_idx",
	[WF_TABLE_START_GRANT] = "start_grant_pkey",
	[WF_TABLE_RUN] = "run_pkey",
	[WF_TABLE_REQUEST_KEY] = "request_key_pkey",
	[WF_TABLE_RUN_RESTART] = "run_restart_pkey",
	[WF_TABLE_RUN_OUTCOME] = "run_outcome_pkey",
	[WF_TABLE_STEP_OUTCOME] = "step_outcome_pkey",
	[WF_TABLE_TRANSACTION_OUTCOME] = "transaction_outcome_pkey",
	[WF_TABLE_STEP_START] = "step_start_pkey",
	[WF_TABLE_RUN_COMMAND] = "run_command_run_id_requested_at_idx",
	[WF_TABLE_HORIZON] = NULL,
	[WF_TABLE_INSTALLATION] = NULL
};

/* What this process knows of the extension's objects. */
static struct
{
	bool		valid;
	bool		callback_registered;
	bool		end_with_extension;
	Oid			extension;
	uint64		generation;
	Oid			relid[WF_NTABLES];
	Oid			indexid[WF_NTABLES];
	Oid			definition_name_key;
	Oid			transaction_key;
	Oid			package_sequence;
	Oid			run_sequence;
	Oid			transaction_sequence;
}			known;

static bool find_extension(void);
static void load_known_objects(void);
static void forget_known_objects(Datum arg, Oid relid);
static void check_version(Oid extension);
static Oid	find_relation(Oid schema, const char *name);
static bool find_package(Oid index, int column, ScanKeyData *key,
						 WfPackageRow *row);
static void read_package(Relation rel, HeapTuple tuple, WfPackageRow *row);
static HeapTuple scan_version(SysScanDesc *scan, Relation rel,
							  int64 package_id, int32 version);
static void insert_version(int64 package_id, int32 version, const char *name,
						   Jsonb *document);
static void update_definition(int64 package_id, int column, Datum value);
static void replace_document(const WfPackageRow *package, Jsonb *document);
static bool try_lock_package(int64 package_id, int lockmode);
static void delete_rows(WfTable table, int64 package_id);
static void delete_uses(int64 package_id, int32 version);
static void delete_unused_versions(int64 package_id);
static SysScanDesc scan_grants(Relation rel, int64 package_id, int nkeys,
							   Oid grantee);

/* OID of a table. */
Oid
wf_catalog_relid(WfTable table)
{
	load_known_objects();
	return known.relid[table];
}

/* OID of a table's index for lookups. */
Oid
wf_catalog_indexid(WfTable table)
{
	load_known_objects();
	return known.indexid[table];
}

/* OID of the sequence that numbers runs. */
Oid
wf_catalog_run_sequence(void)
{
	load_known_objects();
	return known.run_sequence;
}

/* Sequence of the numbers of package transactions. */
Oid
wf_catalog_transaction_sequence(void)
{
	load_known_objects();
	return known.transaction_sequence;
}

/* Index of transaction_outcome on the number of the transaction. */
Oid
wf_catalog_transaction_key(void)
{
	load_known_objects();
	return known.transaction_key;
}

/*
 * wf_catalog_installed
 *		True if the extension exists in this database.  Who asks was told by
 *		the transaction that created or dropped it, which sends what it has
 *		invalidated only after that: what is cached does not count.
 */
bool
wf_catalog_installed(void)
{
	InvalidateCatalogSnapshot();
	known.valid = false;
	return find_extension();
}

/* Look the extension up.  FATAL if it is another one and this process is to
 * end with the one that it knew. */
static bool
find_extension(void)
{
	Oid			extension = get_extension_oid(WF_EXTENSION, true);

	if (!OidIsValid(extension))
		return false;
	if (known.end_with_extension && OidIsValid(known.extension) &&
		extension != known.extension)
		ereport(FATAL,
				(errcode(ERRCODE_ADMIN_SHUTDOWN),
				 errmsg("terminating workflow process because extension \"%s\" was created anew",
						WF_EXTENSION)));
	known.extension = extension;
	return true;
}

/* See catalog.h. */
void
wf_catalog_end_with_extension(void)
{
	known.end_with_extension = true;
}

/* A number that changes when cached knowledge may be about a dropped object. */
uint64
wf_catalog_generation(void)
{
	load_known_objects();
	return known.generation;
}

/*
 * load_known_objects
 *		Look up the extension's tables, if not known.  An ERROR leaves nothing
 *		half known: `valid` is set last.
 */
static void
load_known_objects(void)
{
	Oid			schema;
	Oid			relid[WF_NTABLES];
	int			i;

	if (known.valid)
		return;
	if (!known.callback_registered)
	{
		CacheRegisterRelcacheCallback(forget_known_objects, (Datum) 0);
		known.callback_registered = true;
	}

	if (!find_extension())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"%s\" is not installed in this database",
						WF_EXTENSION),
				 errhint("Run CREATE EXTENSION %s.", WF_EXTENSION)));
	check_version(known.extension);
	schema = get_namespace_oid(WF_SCHEMA, false);
	for (i = 0; i < WF_NTABLES; i++)
	{
		relid[i] = find_relation(schema, table_names[i]);
		known.indexid[i] = index_names[i] == NULL ? InvalidOid :
			find_relation(schema, index_names[i]);
	}
	known.definition_name_key = find_relation(schema, "definition_name_key");
	known.transaction_key = find_relation(schema,
										  "transaction_outcome_transaction_id_key");
	known.package_sequence = find_relation(schema,
										   "definition_package_id_seq");
	known.run_sequence = find_relation(schema, "run_id_seq");
	known.transaction_sequence = find_relation(schema, "transaction_id_seq");
	if (memcmp(relid, known.relid, sizeof(relid)) != 0)
	{
		memcpy(known.relid, relid, sizeof(relid));
		known.generation++;
	}
	known.valid = true;
}

/* ERROR if the SQL objects are not those that this library was built for. */
static void
check_version(Oid extension)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *version = NULL;

	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(rel, ExtensionOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		datum = heap_getattr(tuple, Anum_pg_extension_extversion,
										 RelationGetDescr(rel), &isnull);

		version = TextDatumGetCString(datum);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	if (version != NULL && strcmp(version, WORKFLOW_VERSION) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"%s\" has version %s in this database, but the loaded library is that of version %s",
						WF_EXTENSION, version, WORKFLOW_VERSION),
				 errhint("Run ALTER EXTENSION %s UPDATE; if the library is the older one, restart the server first.",
						 WF_EXTENSION)));
}

static Oid
find_relation(Oid schema, const char *name)
{
	Oid			relid = get_relname_relid(name, schema);

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("relation \"%s.%s\" does not exist", WF_SCHEMA, name),
				 errhint("The installed version of extension \"%s\" does not fit the loaded library; run ALTER EXTENSION %s UPDATE.",
						 WF_EXTENSION, WF_EXTENSION)));
	return relid;
}

/* Relation cache callback: our tables may be gone or others. */
static void
forget_known_objects(Datum arg, Oid relid)
{
	int			i;

	if (!known.valid)
		return;
	for (i = 0; i < WF_NTABLES; i++)
	{
		if (relid == InvalidOid || relid == known.relid[i])
		{
			known.valid = false;
			return;
		}
	}
}

/* The heavyweight lock of a package, held to the end of the transaction. */
void
wf_catalog_lock_package(int64 package_id, int lockmode)
{
	LockDatabaseObject(wf_catalog_relid(WF_TABLE_DEFINITION),
					   (Oid) package_id, 0, lockmode);
}

/* Starts of a package, one transaction after the other. */
void
wf_catalog_lock_starts(int64 package_id)
{
	LockDatabaseObject(wf_catalog_relid(WF_TABLE_RUN), (Oid) package_id, 0,
					   AccessExclusiveLock);
}

/* Starts of a package under one key, likewise.  Keys with the same hash wait
 * for each other in vain, which does no harm. */
void
wf_catalog_lock_request_key(int64 package_id, const char *key)
{
	uint32		hash = hash_bytes((const unsigned char *) key, strlen(key));

	LockDatabaseObject(wf_catalog_relid(WF_TABLE_REQUEST_KEY),
					   hash_combine(hash, (uint32) package_id), 0,
					   AccessExclusiveLock);
}

/* Restarts of a run, likewise. */
void
wf_catalog_lock_restart(int64 run_id)
{
	LockDatabaseObject(wf_catalog_relid(WF_TABLE_RUN_RESTART),
					   hash_combine((uint32) (run_id >> 32), (uint32) run_id),
					   0, AccessExclusiveLock);
}

static bool
try_lock_package(int64 package_id, int lockmode)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId,
					   wf_catalog_relid(WF_TABLE_DEFINITION),
					   (Oid) package_id, 0);
	return LockAcquire(&tag, lockmode, false, true) !=
		LOCKACQUIRE_NOT_AVAIL;
}

/* The lock of who starts a run, without waiting for who edits. */
bool
wf_catalog_try_lock_package(int64 package_id)
{
	return try_lock_package(package_id, AccessShareLock);
}

/* The lock of who edits, without waiting for anybody. */
bool
wf_catalog_try_lock_package_to_edit(int64 package_id)
{
	return try_lock_package(package_id, AccessExclusiveLock);
}

/* Find a package by its name. */
bool
wf_catalog_find_package(const char *name, WfPackageRow *row)
{
	ScanKeyData key;

	load_known_objects();
	ScanKeyInit(&key, DEF_NAME, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(name));
	key.sk_collation = C_COLLATION_OID;
	return find_package(known.definition_name_key, DEF_NAME, &key, row);
}

/* Find a package by its number. */
bool
wf_catalog_find_package_by_id(int64 package_id, WfPackageRow *row)
{
	ScanKeyData key;

	load_known_objects();
	ScanKeyInit(&key, DEF_PACKAGE_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(package_id));
	return find_package(known.indexid[WF_TABLE_DEFINITION], DEF_PACKAGE_ID,
						&key, row);
}

static bool
find_package(Oid index, int column, ScanKeyData *key, WfPackageRow *row)
{
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found;

	rel = table_open(known.relid[WF_TABLE_DEFINITION], AccessShareLock);
	scan = systable_beginscan(rel, index, true, NULL, 1, key);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
		read_package(rel, tuple, row);
	systable_endscan(scan);
	table_close(rel, NoLock);
	return found;
}

/* Read a row of workflow.definition. */
static void
read_package(Relation rel, HeapTuple tuple, WfPackageRow *row)
{
	Datum		values[DEF_NCOLUMNS];
	bool		nulls[DEF_NCOLUMNS];

	heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
	row->package_id = DatumGetInt64(values[DEF_PACKAGE_ID - 1]);
	row->name = TextDatumGetCString(values[DEF_NAME - 1]);
	row->owner = DatumGetObjectId(values[DEF_OWNER - 1]);
	row->version = DatumGetInt32(values[DEF_VERSION - 1]);
}

/* All packages, in the order of their numbers. */
List *
wf_catalog_list_packages(void)
{
	Relation	rel = table_open(wf_catalog_relid(WF_TABLE_DEFINITION),
								 AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel,
										  known.indexid[WF_TABLE_DEFINITION],
										  true, NULL, 0, NULL);
	List	   *packages = NIL;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		WfPackageRow *row = palloc(sizeof(WfPackageRow));

		read_package(rel, tuple, row);
		packages = lappend(packages, row);
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
	return packages;
}

/* Begin a scan for one version; the caller ends it. */
static HeapTuple
scan_version(SysScanDesc *scan, Relation rel, int64 package_id, int32 version)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], DV_PACKAGE_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(package_id));
	ScanKeyInit(&keys[1], DV_VERSION, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(version));
	*scan = systable_beginscan(rel,
							   known.indexid[WF_TABLE_DEFINITION_VERSION],
							   true, NULL, 2, keys);
	return systable_getnext(*scan);
}

/* The document of a version, or NULL. */
Jsonb *
wf_catalog_get_document(int64 package_id, int32 version)
{
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;
	Jsonb	   *document = NULL;

	rel = table_open(wf_catalog_relid(WF_TABLE_DEFINITION_VERSION),
					 AccessShareLock);
	tuple = scan_version(&scan, rel, package_id, version);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		datum = heap_getattr(tuple, DV_DOCUMENT,
										 RelationGetDescr(rel), &isnull);

		document = DatumGetJsonbPCopy(datum);
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
	return document;
}

/* True if a run has used the version. */
bool
wf_catalog_version_used(int64 package_id, int32 version)
{
	Relation	rel;
	SysScanDesc scan;
	ScanKeyData keys[2];
	bool		used;

	rel = table_open(wf_catalog_relid(WF_TABLE_DEFINITION_USE),
					 AccessShareLock);
	ScanKeyInit(&keys[0], DU_PACKAGE_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(package_id));
	ScanKeyInit(&keys[1], DU_VERSION, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(version));
	scan = systable_beginscan(rel, known.indexid[WF_TABLE_DEFINITION_USE],
							  true, NULL, 2, keys);
	used = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(rel, NoLock);
	return used;
}

/*
 * wf_catalog_mark_version_used
 *		Freeze a version.  The caller holds AccessShareLock on the package.
 *		Several transactions may add the row at once; none waits for another.
 */
void
wf_catalog_mark_version_used(int64 package_id, int32 version)
{
	Relation	rel;
	HeapTuple	tuple;
	Datum		values[DU_NCOLUMNS];
	bool		nulls[DU_NCOLUMNS] = {0};

	if (wf_catalog_version_used(package_id, version))
		return;
	rel = table_open(wf_catalog_relid(WF_TABLE_DEFINITION_USE),
					 RowExclusiveLock);
	values[DU_PACKAGE_ID - 1] = Int64GetDatum(package_id);
	values[DU_VERSION - 1] = Int32GetDatum(version);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

/*
 * wf_catalog_create_package
 *		A new package with its version 1.  The AccessExclusiveLock on it is
 *		not needed: nobody else sees it before the commit.  Two transactions
 *		that make the same name meet at a lock on the name; the later one gets
 *		0 when the earlier one has committed.
 */
int64
wf_catalog_create_package(const char *name, Oid owner, Jsonb *document)
{
	Relation	rel;
	HeapTuple	tuple;
	WfPackageRow row;
	Datum		values[DEF_NCOLUMNS];
	bool		nulls[DEF_NCOLUMNS] = {0};
	int64		package_id;

	rel = table_open(wf_catalog_relid(WF_TABLE_DEFINITION), RowExclusiveLock);

	/*
	 * An exclusive lock on the table as an object stands for all names: it is
	 * taken by who makes a package and by nobody else.
	 */
	LockDatabaseObject(RelationGetRelid(rel), 0, 1, AccessExclusiveLock);
	if (wf_catalog_find_package(name, &row))
	{
		table_close(rel, NoLock);
		return 0;
	}
	package_id = nextval_internal(known.package_sequence, false);
	values[DEF_PACKAGE_ID - 1] = Int64GetDatum(package_id);
	values[DEF_NAME - 1] = CStringGetTextDatum(name);
	values[DEF_OWNER - 1] = ObjectIdGetDatum(owner);
	values[DEF_VERSION - 1] = Int32GetDatum(1);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	table_close(rel, NoLock);
	insert_version(package_id, 1, name, document);
	CommandCounterIncrement();
	return package_id;
}

/* Store a document as the current version, in place or as the next one. */
int32
wf_catalog_store_document(const WfPackageRow *package, Jsonb *document)
{
	int32		version = package->version;

	if (wf_catalog_version_used(package->package_id, version))
	{
		version++;
		delete_unused_versions(package->package_id);
		insert_version(package->package_id, version, package->name, document);
		update_definition(package->package_id, DEF_VERSION,
						  Int32GetDatum(version));
	}
	else
		replace_document(package, document);
	CommandCounterIncrement();
	return version;
}

static void
insert_version(int64 package_id, int32 version, const char *name,
			   Jsonb *document)
{
	Relation	rel;
	HeapTuple	tuple;
	Datum		values[DV_NCOLUMNS];
	bool		nulls[DV_NCOLUMNS] = {0};

	rel = table_open(wf_catalog_relid(WF_TABLE_DEFINITION_VERSION),
					 RowExclusiveLock);
	values[DV_PACKAGE_ID - 1] = Int64GetDatum(package_id);
	values[DV_VERSION - 1] = Int32GetDatum(version);
	values[DV_NAME - 1] = CStringGetTextDatum(name);
	values[DV_DOCUMENT - 1] = JsonbPGetDatum(document);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	table_close(rel, NoLock);
}

/* Change a column of a package's row. */
static void
update_definition(int64 package_id, int column, Datum value)
{
	Relation	rel;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	Datum		values[DEF_NCOLUMNS] = {0};
	bool		nulls[DEF_NCOLUMNS] = {0};
	bool		replace[DEF_NCOLUMNS] = {0};

	rel = table_open(wf_catalog_relid(WF_TABLE_DEFINITION), RowExclusiveLock);
	ScanKeyInit(&key, DEF_PACKAGE_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(package_id));
	scan = systable_beginscan(rel, known.indexid[WF_TABLE_DEFINITION], true,
							  NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "package " INT64_FORMAT " is gone", package_id);
	values[column - 1] = value;
	replace[column - 1] = true;
	tuple = heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls,
							  replace);
	CatalogTupleUpdate(rel, &tuple->t_self, tuple);
	systable_endscan(scan);
	table_close(rel, NoLock);
}

/* The document of the current version, and the name, which it contains. */
static void
replace_document(const WfPackageRow *package, Jsonb *document)
{
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;
	Datum		values[DV_NCOLUMNS] = {0};
	bool		nulls[DV_NCOLUMNS] = {0};
	bool		replace[DV_NCOLUMNS] = {0};

	rel = table_open(wf_catalog_relid(WF_TABLE_DEFINITION_VERSION),
					 RowExclusiveLock);
	tuple = scan_version(&scan, rel, package->package_id, package->version);
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "version %d of package " INT64_FORMAT " is gone",
			 package->version, package->package_id);
	values[DV_NAME - 1] = CStringGetTextDatum(package->name);
	replace[DV_NAME - 1] = true;
	values[DV_DOCUMENT - 1] = JsonbPGetDatum(document);
	replace[DV_DOCUMENT - 1] = true;
	tuple = heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls,
							  replace);
	CatalogTupleUpdate(rel, &tuple->t_self, tuple);
	systable_endscan(scan);
	table_close(rel, NoLock);
}

/* Give a package a name; false if another one has it. */
bool
wf_catalog_rename_package(int64 package_id, const char *name)
{
	WfPackageRow other;

	/* as in wf_catalog_create_package() */
	LockDatabaseObject(wf_catalog_relid(WF_TABLE_DEFINITION), 0, 1,
					   AccessExclusiveLock);
	if (wf_catalog_find_package(name, &other))
		return other.package_id == package_id;
	update_definition(package_id, DEF_NAME, CStringGetTextDatum(name));
	CommandCounterIncrement();
	return true;
}

/* Give a package to another role. */
void
wf_catalog_set_owner(int64 package_id, Oid owner)
{
	update_definition(package_id, DEF_OWNER, ObjectIdGetDatum(owner));
	CommandCounterIncrement();
}

/* Delete a package and what belongs to it, but for what history needs. */
void
wf_catalog_drop_package(int64 package_id)
{
	delete_rows(WF_TABLE_START_GRANT, package_id);
	delete_unused_versions(package_id);
	delete_rows(WF_TABLE_DEFINITION, package_id);
	CommandCounterIncrement();
}

/* Delete the rows of a package; the first column is its number. */
static void
delete_rows(WfTable table, int64 package_id)
{
	Relation	rel;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;

	rel = table_open(wf_catalog_relid(table), RowExclusiveLock);
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(package_id));
	scan = systable_beginscan(rel, known.indexid[table], true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		CatalogTupleDelete(rel, &tuple->t_self);
	systable_endscan(scan);
	table_close(rel, NoLock);
}

/* Delete the versions of a package that no run has used. */
static void
delete_unused_versions(int64 package_id)
{
	Relation	rel;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;

	rel = table_open(wf_catalog_relid(WF_TABLE_DEFINITION_VERSION),
					 RowExclusiveLock);
	ScanKeyInit(&key, DV_PACKAGE_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(package_id));
	scan = systable_beginscan(rel,
							  known.indexid[WF_TABLE_DEFINITION_VERSION],
							  true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		int32		version =
		DatumGetInt32(heap_getattr(tuple, DV_VERSION, RelationGetDescr(rel),
								   &isnull));

		CHECK_FOR_INTERRUPTS();
		if (!wf_catalog_version_used(package_id, version))
			CatalogTupleDelete(rel, &tuple->t_self);
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
}

/* The versions of a package, or of all, that are not the current one. */
List *
wf_catalog_list_old_versions(int64 package_id)
{
	Relation	rel = table_open(wf_catalog_relid(WF_TABLE_DEFINITION_VERSION),
								 AccessShareLock);
	List	   *versions = NIL;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;

	ScanKeyInit(&key, DV_PACKAGE_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(package_id));
	scan = systable_beginscan(rel,
							  known.indexid[WF_TABLE_DEFINITION_VERSION],
							  package_id != 0, NULL, package_id != 0 ? 1 : 0,
							  &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		WfVersion  *version = palloc(sizeof(WfVersion));
		WfPackageRow package;
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		version->package_id =
			DatumGetInt64(heap_getattr(tuple, DV_PACKAGE_ID,
									   RelationGetDescr(rel), &isnull));
		version->version =
			DatumGetInt32(heap_getattr(tuple, DV_VERSION,
									   RelationGetDescr(rel), &isnull));
		if (!wf_catalog_find_package_by_id(version->package_id, &package) ||
			package.version != version->version)
			versions = lappend(versions, version);
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
	return versions;
}

/* Delete a version, and the note that runs have used it. */
void
wf_catalog_delete_version(const WfVersion *version)
{
	Relation	rel = table_open(wf_catalog_relid(WF_TABLE_DEFINITION_VERSION),
								 RowExclusiveLock);
	SysScanDesc scan;
	HeapTuple	tuple = scan_version(&scan, rel, version->package_id,
									 version->version);

	if (HeapTupleIsValid(tuple))
		CatalogTupleDelete(rel, &tuple->t_self);
	systable_endscan(scan);
	table_close(rel, NoLock);
	delete_uses(version->package_id, version->version);
	CommandCounterIncrement();
}

/* Delete the notes that runs have used a version; there may be several. */
static void
delete_uses(int64 package_id, int32 version)
{
	Relation	rel = table_open(wf_catalog_relid(WF_TABLE_DEFINITION_USE),
								 RowExclusiveLock);
	SysScanDesc scan;
	ScanKeyData keys[2];
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], DU_PACKAGE_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(package_id));
	ScanKeyInit(&keys[1], DU_VERSION, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(version));
	scan = systable_beginscan(rel, known.indexid[WF_TABLE_DEFINITION_USE],
							  true, NULL, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		CatalogTupleDelete(rel, &tuple->t_self);
	systable_endscan(scan);
	table_close(rel, NoLock);
}

/* Begin a scan of a package's grants, or of one; the caller ends it. */
static SysScanDesc
scan_grants(Relation rel, int64 package_id, int nkeys, Oid grantee)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], SG_PACKAGE_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(package_id));
	ScanKeyInit(&keys[1], SG_GRANTEE, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(grantee));
	return systable_beginscan(rel, known.indexid[WF_TABLE_START_GRANT], true,
							  NULL, nkeys, keys);
}

/* The roles that may start a package, as a list of OIDs. */
List *
wf_catalog_get_grantees(int64 package_id)
{
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *grantees = NIL;

	rel = table_open(wf_catalog_relid(WF_TABLE_START_GRANT),
					 AccessShareLock);
	scan = scan_grants(rel, package_id, 1, InvalidOid);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		grantee = heap_getattr(tuple, SG_GRANTEE,
										   RelationGetDescr(rel), &isnull);

		grantees = lappend_oid(grantees, DatumGetObjectId(grantee));
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
	return grantees;
}

/* Let a role start a package. */
void
wf_catalog_add_grant(int64 package_id, Oid grantee)
{
	Relation	rel;
	HeapTuple	tuple;
	Datum		values[SG_NCOLUMNS];
	bool		nulls[SG_NCOLUMNS] = {0};

	if (list_member_oid(wf_catalog_get_grantees(package_id), grantee))
		return;
	rel = table_open(wf_catalog_relid(WF_TABLE_START_GRANT),
					 RowExclusiveLock);
	values[SG_PACKAGE_ID - 1] = Int64GetDatum(package_id);
	values[SG_GRANTEE - 1] = ObjectIdGetDatum(grantee);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

/* Let a role start a package no more. */
void
wf_catalog_drop_grant(int64 package_id, Oid grantee)
{
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;

	rel = table_open(wf_catalog_relid(WF_TABLE_START_GRANT),
					 RowExclusiveLock);
	scan = scan_grants(rel, package_id, 2, grantee);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		CatalogTupleDelete(rel, &tuple->t_self);
	systable_endscan(scan);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}
