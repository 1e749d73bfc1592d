/*-------------------------------------------------------------------------
 *
 * first_row.c
 *	  A destination that keeps the first row of a result, as JSON.
 *
 * The row goes through row_to_json() and back into jsonb, so values look as
 * they do everywhere in PostgreSQL.  The conversion runs in the executor's
 * memory for one row; only the result is kept.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/tuptable.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "first_row.h"

typedef struct FirstRow
{
	DestReceiver pub;
	MemoryContext context;
	int			max_size;
	bool		seen;
	Jsonb	  **row;
	bool	   *too_large;
} FirstRow;

static bool receive(TupleTableSlot *slot, DestReceiver *self);
static text *row_as_json(TupleTableSlot *slot);
static Jsonb *only_value(Jsonb *object);
static void start(DestReceiver *self, int operation, TupleDesc desc);
static void finish(DestReceiver *self);

/* See first_row.h. */
DestReceiver *
wf_first_row_receiver(MemoryContext context, int max_size, Jsonb **row,
					  bool *too_large)
{
	FirstRow   *receiver = palloc0(sizeof(FirstRow));

	receiver->pub.receiveSlot = receive;
	receiver->pub.rStartup = start;
	receiver->pub.rShutdown = finish;
	receiver->pub.rDestroy = finish;
	receiver->pub.mydest = DestNone;
	receiver->context = context;
	receiver->max_size = max_size;
	receiver->row = row;
	receiver->too_large = too_large;
	return &receiver->pub;
}

static void
start(DestReceiver *self, int operation, TupleDesc desc)
{
	/* nothing to prepare */
}

static void
finish(DestReceiver *self)
{
	/* goes with its memory context */
}

static bool
receive(TupleTableSlot *slot, DestReceiver *self)
{
	FirstRow   *receiver = (FirstRow *) self;
	text	   *json;
	Jsonb	   *row;
	MemoryContext old;

	if (receiver->seen || slot->tts_tupleDescriptor->natts == 0)
		return true;
	receiver->seen = true;
	json = row_as_json(slot);
	if ((int) VARSIZE_ANY_EXHDR(json) > receiver->max_size)
	{
		*receiver->too_large = true;
		return true;
	}
	old = MemoryContextSwitchTo(receiver->context);
	row = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
											 CStringGetDatum(text_to_cstring(json))));
	*receiver->row = slot->tts_tupleDescriptor->natts == 1 ?
		only_value(row) : row;
	MemoryContextSwitchTo(old);
	return true;
}

static text *
row_as_json(TupleTableSlot *slot)
{
	TupleDesc	desc = CreateTupleDescCopy(slot->tts_tupleDescriptor);
	bool		should_free;
	HeapTuple	tuple = ExecFetchSlotHeapTuple(slot, false, &should_free);
	Datum		composite;

	desc = BlessTupleDesc(desc);
	composite = heap_copy_tuple_as_datum(tuple, desc);
	return DatumGetTextPP(DirectFunctionCall1(row_to_json, composite));
}

/* The value of an object with one key. */
static Jsonb *
only_value(Jsonb *object)
{
	JsonbIterator *iterator = JsonbIteratorInit(&object->root);
	JsonbValue	value;

	(void) JsonbIteratorNext(&iterator, &value, true);	/* begin */
	(void) JsonbIteratorNext(&iterator, &value, true);	/* key */
	(void) JsonbIteratorNext(&iterator, &value, true);
	return JsonbValueToJsonb(&value);
}
