/*-------------------------------------------------------------------------
 *
 * retention.c
 *	  How long history is kept.
 *
 * What was kept long enough is deleted by a process of its own: the scheduler
 * starts it when it is time to look, it deletes what it finds in small
 * batches, a transaction each, and ends.  So it delays nobody: the scheduler
 * and the workers go on meanwhile, and who restarts a run waits for one batch
 * at most.  It takes a slot like a worker's, of no role, so that it ends with
 * the scheduler, the database and the extension; it does not count as a worker.
 * If it is cut off, the next one goes on.
 *
 * When to look.  An idle server is left alone.  The process tells when the
 * next run will have been kept long enough; then it is looked again, not more
 * often than hourly (or as history is kept, if that is shorter), and once a day
 * in any case, since a package may have changed its mind.  When nothing at
 * all is to be deleted some time, it is the end of a run that brings the next
 * look nearer, or a change of the setting.  After a start the first look waits
 * for some minutes: there is enough to do.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "bgworker.h"
#include "catalog.h"
#include "guc.h"
#include "options.h"
#include "pool.h"
#include "purge.h"
#include "scheduler.h"

#define FIRST_LOOK_MS		(5 * 60 * 1000)
#define LOOK_INTERVAL_MS	(60 * 60 * 1000)
#define LONGEST_INTERVAL_MS	(24 * 60 * 60 * 1000)

/* How long the runs of a package are kept, if it says so itself. */
typedef struct Retention
{
	int64		package_id;		/* the key */
	TimestampTz before;			/* what ended before this goes */
} Retention;

extern PGDLLEXPORT void wf_retention_main(Datum arg);

static WfSlot *my_slot = NULL;
static HTAB *retentions = NULL;
static TimestampTz setting_before;	/* of the other packages */

static int64 interval_ms(void);
static void leave(int code, Datum arg);
static void look(WfDatabase *database);
static TimestampTz read_retentions(void);
static int64 read_retention(const WfPackageRow *package);
static TimestampTz time_before(TimestampTz now, int64 retention_ms);
static TimestampTz before_of(int64 package_id);
static bool delete_batch(WfPurge *purge, int64 *count);

/*
 * The scheduler's part.
 */

/* The shortest time between two looks. */
static int64
interval_ms(void)
{
	if (wf_history_retention == 0)
		return LOOK_INTERVAL_MS;
	return Min(LOOK_INTERVAL_MS, wf_history_retention * INT64CONST(1000));
}

void
wf_retention_init(WfScheduler *s)
{
	s->retention_setting = wf_history_retention;
	s->retention_looks = false;
	s->retention_looked_at = GetCurrentTimestamp();
	s->retention_at = TimestampTzPlusMilliseconds(s->retention_looked_at,
												  Min(FIRST_LOOK_MS,
													  interval_ms()));
}

/* See scheduler.h. */
void
wf_retention_turn(WfScheduler *s)
{
	TimestampTz now = GetCurrentTimestamp();

	if (s->retention_setting != wf_history_retention)
	{
		s->retention_setting = wf_history_retention;
		s->retention_at = now;
	}
	if (s->retention_looks || now < s->retention_at)
		return;
	s->retention_looked_at = now;
	s->retention_ended = false;
	s->database->retention_next = -1;
	s->retention_looks = wf_pool_start_retention(s->database);
	if (!s->retention_looks)
		wf_retention_gone(s);
}

/* See scheduler.h. */
long
wf_retention_sleep(const WfScheduler *s)
{
	if (s->retention_looks)
		return -1;
	return Max(1, TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
												  s->retention_at));
}

/* See scheduler.h. */
void
wf_retention_note_end(WfScheduler *s)
{
	if (s->retention_ended)
		return;
	s->retention_ended = true;
	if (!s->retention_looks && s->database->retention_next == 0)
		s->retention_at =
			TimestampTzPlusMilliseconds(s->retention_looked_at,
										interval_ms());
}

/* See scheduler.h. */
void
wf_retention_gone(WfScheduler *s)
{
	TimestampTz earliest =
	TimestampTzPlusMilliseconds(s->retention_looked_at, interval_ms());
	TimestampTz latest =
	TimestampTzPlusMilliseconds(s->retention_looked_at,
								LONGEST_INTERVAL_MS);
	TimestampTz next = s->database->retention_next;

	s->retention_looks = false;
	if (next > 0)
		s->retention_at = Min(Max(earliest, next), latest);
	else if (next < 0 || s->retention_ended)
		s->retention_at = earliest;
	else
		s->retention_at = latest;
}

/*
 * The process.
 */

/* Delete what was kept long enough. */
void
wf_retention_main(Datum arg)
{
	WfDatabase *database;
	uint32		number;

	memcpy(&number, MyBgworkerEntry->bgw_extra, sizeof(number));
	before_shmem_exit(leave, (Datum) 0);
	my_slot = wf_slot_take(DatumGetInt32(arg), number);
	if (my_slot == NULL)
		proc_exit(0);
	database = &wf_shared->databases[my_slot->database];
	wf_bgworker_setup(false);
	wf_catalog_end_with_extension();
	BackgroundWorkerInitializeConnectionByOid(database->oid, InvalidOid, 0);
	pgstat_report_appname("workflow");
	wf_slot_connected(my_slot);

	/* what is deleted and comes back by a crash is deleted again */
	SetConfigOption("synchronous_commit", "off", PGC_USERSET,
					PGC_S_OVERRIDE);
	(void) wf_bgworker_interrupts();
	look(database);
	proc_exit(0);
}

/* Leave the slot. */
static void
leave(int code, Datum arg)
{
	if (my_slot != NULL)
		wf_slot_leave(my_slot);
	my_slot = NULL;
}

/* One pass over history. */
static void
look(WfDatabase *database)
{
	WfPurge		purge = {.before_of = before_of, .soonest = -1};
	TimestampTz now = GetCurrentTimestamp();
	int64		count = 0;

	purge.before = read_retentions();
	while (delete_batch(&purge, &count))
	{
		(void) wf_bgworker_interrupts();
		if (my_slot->generation != database->generation)
			return;
	}
	if (count > 0)
	{
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		wf_purge_versions(0, 0);
		PopActiveSnapshot();
		CommitTransactionCommand();
	}
	(void) pgstat_report_stat(true);
	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	if (my_slot->generation == database->generation)
		database->retention_next = purge.soonest < 0 ? 0 :
			now + purge.soonest;
	LWLockRelease(&database->lock);
}

static bool
delete_batch(WfPurge *purge, int64 *count)
{
	bool		result;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	pgstat_report_activity(STATE_RUNNING, "delete history");
	PushActiveSnapshot(GetTransactionSnapshot());
	wf_purge_begin(purge);
	result = wf_purge_batch(purge, count);
	wf_purge_end(purge);
	PopActiveSnapshot();
	CommitTransactionCommand();
	return result;
}

/*
 * read_retentions
 *		Read what each package says.  Returns the latest of all times: nothing
 *		that was requested since has to go.
 */
static TimestampTz
read_retentions(void)
{
	TimestampTz now = GetCurrentTimestamp();
	MemoryContext context;
	TimestampTz latest;
	HASHCTL		control = {0};
	List	   *packages;
	ListCell   *lc;

	control.keysize = sizeof(int64);
	control.entrysize = sizeof(Retention);
	control.hcxt = TopMemoryContext;
	retentions = hash_create("workflow retentions", 64, &control,
							 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	latest = setting_before =
		time_before(now, wf_history_retention * INT64CONST(1000));
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	packages = wf_catalog_list_packages();
	context = AllocSetContextCreate(CurrentMemoryContext,
									"workflow definition",
									ALLOCSET_DEFAULT_SIZES);
	foreach(lc, packages)
	{
		const WfPackageRow *package = lfirst(lc);
		MemoryContext old = MemoryContextSwitchTo(context);
		int64		retention_ms = read_retention(package);

		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
		if (retention_ms >= 0)
		{
			Retention  *retention = hash_search(retentions,
												&package->package_id,
												HASH_ENTER, NULL);

			retention->before = time_before(now, retention_ms);
			latest = Max(latest, retention->before);
		}
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	return latest;
}

/* What the current version of a package says; -1: nothing. */
static int64
read_retention(const WfPackageRow *package)
{
	Jsonb	   *document = wf_catalog_get_document(package->package_id,
												   package->version);
	JsonbValue	values[WF_MAX_OPTIONS];
	WfPlace		place = {.level = WF_LEVEL_PACKAGE};
	const JsonbValue *value = &values[WF_PACKAGE_HISTORY_RETENTION];

	if (document == NULL)
		return -1;
	wf_options_read(&place, &document->root, values);
	return value->type == jbvNull ? -1 : wf_value_ms(value);
}

/* The time before which runs must have ended that go. */
static TimestampTz
time_before(TimestampTz now, int64 retention_ms)
{
	if (retention_ms == 0 || retention_ms > now / 1000 - MIN_TIMESTAMP / 1000)
		return DT_NOBEGIN;
	return now - retention_ms * 1000;
}

static TimestampTz
before_of(int64 package_id)
{
	const Retention *retention = hash_search(retentions, &package_id,
											 HASH_FIND, NULL);

	return retention == NULL ? setting_before : retention->before;
}
