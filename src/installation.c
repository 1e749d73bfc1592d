/*-------------------------------------------------------------------------
 *
 * installation.c
 *	  Which installation this database is: a copy of it is another one.
 *
 * The table workflow.installation has one row, which no dump takes along: a
 * random id, and the database that has it, as the cluster's system identifier
 * and the database's OID.  A database that was made from another one as its
 * template has the same row in another place, so its scheduler finds out, at
 * its start, that it is a copy.  It adopts the database: writes down where it
 * is, under a new id, and in the same transaction ends all open runs as
 * failed, since it is the original that goes on with them.
 *
 * A physical copy of a cluster (a base backup that becomes a server of its
 * own) cannot be told apart, nor should a promoted standby be.  So there is
 * workflow.reset_installation_id(), which makes a new id without a place, and
 * the scheduler comes back and adopts that.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/indexing.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/rel.h"

#include "catalog.h"
#include "installation.h"
#include "wakeup.h"

/* Columns of workflow.installation. */
enum
{
	IN_ID = 1,
	IN_SYSTEM_IDENTIFIER,
	IN_DATABASE,
	IN_NCOLUMNS = IN_DATABASE
};

/* The row; without a place, system_identifier and database are 0. */
typedef struct Installation
{
	int64		id;
	int64		system_identifier;
	Oid			database;
} Installation;

PG_FUNCTION_INFO_V1(wf_reset_installation_id);

static HeapTuple read_row(Relation rel, Installation *row);
static void update_row(Relation rel, HeapTuple tuple, const Installation *row);
static int64 new_id(void);

/* See installation.h. */
bool
wf_installation_is_own(void)
{
	Relation	rel = table_open(wf_catalog_relid(WF_TABLE_INSTALLATION),
								 AccessShareLock);
	Installation row;

	(void) read_row(rel, &row);
	table_close(rel, NoLock);
	return row.system_identifier == (int64) GetSystemIdentifier() &&
		row.database == MyDatabaseId;
}

/* See installation.h. */
void
wf_installation_adopt(void)
{
	Relation	rel = table_open(wf_catalog_relid(WF_TABLE_INSTALLATION),
								 ShareRowExclusiveLock);
	Installation row;
	HeapTuple	tuple = read_row(rel, &row);

	if (row.system_identifier != 0)
		row.id = new_id();
	row.system_identifier = (int64) GetSystemIdentifier();
	row.database = MyDatabaseId;
	update_row(rel, tuple, &row);
	table_close(rel, NoLock);
}

/*
 * workflow.reset_installation_id() returns bigint
 *		Make this database, which is a physical copy, an installation of its
 *		own: a new id, which is returned; from the commit on open runs are
 *		ended as failed.  Errors: 42501 not a superuser.  Waits for others who
 *		do the same.
 */
Datum
wf_reset_installation_id(PG_FUNCTION_ARGS)
{
	Installation row;
	Relation	rel;
	HeapTuple	tuple;

	PreventCommandDuringRecovery("workflow.reset_installation_id()");
	PreventCommandIfReadOnly("workflow.reset_installation_id()");
	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be superuser to reset the installation id")));
	rel = table_open(wf_catalog_relid(WF_TABLE_INSTALLATION),
					 ShareRowExclusiveLock);
	tuple = read_row(rel, &row);
	row.id = new_id();
	row.system_identifier = 0;
	row.database = InvalidOid;
	update_row(rel, tuple, &row);
	table_close(rel, NoLock);
	if (wf_shared != NULL)
		wf_wakeup_look();
	PG_RETURN_INT64(row.id);
}

/* Read the row; ERROR if it is gone. */
static HeapTuple
read_row(Relation rel, Installation *row)
{
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL,
										  0, NULL);
	HeapTuple	tuple = systable_getnext(scan);
	Datum		values[IN_NCOLUMNS];
	bool		nulls[IN_NCOLUMNS];

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "table \"%s.installation\" is empty", WF_SCHEMA);
	heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
	row->id = DatumGetInt64(values[IN_ID - 1]);
	row->system_identifier =
		DatumGetInt64(values[IN_SYSTEM_IDENTIFIER - 1]);
	row->database = DatumGetObjectId(values[IN_DATABASE - 1]);
	tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	return tuple;
}

static void
update_row(Relation rel, HeapTuple tuple, const Installation *row)
{
	Datum		values[IN_NCOLUMNS];
	bool		nulls[IN_NCOLUMNS] = {0};
	bool		replace[IN_NCOLUMNS] = {true, true, true};
	HeapTuple	new;

	values[IN_ID - 1] = Int64GetDatum(row->id);
	values[IN_SYSTEM_IDENTIFIER - 1] = Int64GetDatum(row->system_identifier);
	values[IN_DATABASE - 1] = ObjectIdGetDatum(row->database);
	new = heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls,
							replace);
	CatalogTupleUpdate(rel, &tuple->t_self, new);
}

/* A random number that is positive. */
static int64
new_id(void)
{
	uint64		id;

	do
	{
		if (!pg_strong_random(&id, sizeof(id)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
		id >>= 1;
	} while (id == 0);
	return (int64) id;
}
