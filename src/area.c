/*-------------------------------------------------------------------------
 *
 * area.c
 *	  The area of a database's agent: shared memory of any size (DSA).
 *
 * A process keeps its mapping until it finds that another scheduler has made
 * a new area.  Allocations never throw: what does not fit is left out, and
 * whoever looks for it finds nothing (an error text) or reads the table.
 * While there is no scheduler there may be no area (NULL): nothing fits then.
 * That is so too between the coming of another scheduler and its area; by then
 * what had been put into the old one is gone, and pointers to it lead nowhere.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "area.h"

/* This process' mapping, and of which scheduler. */
static dsa_area *attached = NULL;
static WfDatabase *attached_database = NULL;
static uint64 attached_generation = 0;

static dsa_pointer put(dsa_area *area, const void *data, Size size);

/* Make the area. */
dsa_area *
wf_area_create(WfDatabase *database)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	LWLockRegisterTranche(wf_shared->area_tranche, "workflow");
	attached = dsa_create(wf_shared->area_tranche);
	dsa_pin_mapping(attached);
	attached_database = database;
	attached_generation = database->generation;
	MemoryContextSwitchTo(old);

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	database->area = dsa_get_handle(attached);
	LWLockRelease(&database->lock);
	return attached;
}

/* Attach to it. */
dsa_area *
wf_area_attach(WfDatabase *database)
{
	MemoryContext old;
	dsa_handle	handle;
	uint64		generation;

	LWLockAcquire(&database->lock, LW_SHARED);
	handle = database->pid == 0 ? DSM_HANDLE_INVALID : database->area;
	generation = database->generation;
	LWLockRelease(&database->lock);
	if (attached != NULL && (attached_database != database ||
							 attached_generation != generation))
	{
		dsa_detach(attached);
		attached = NULL;
	}
	if (attached != NULL || handle == DSM_HANDLE_INVALID)
		return attached;

	old = MemoryContextSwitchTo(TopMemoryContext);
	attached = dsa_attach(handle);
	dsa_pin_mapping(attached);
	attached_database = database;
	attached_generation = generation;
	MemoryContextSwitchTo(old);
	return attached;
}

/* See area.h. */
uint64
wf_area_generation(void)
{
	return attached_generation;
}

static dsa_pointer
put(dsa_area *area, const void *data, Size size)
{
	dsa_pointer pointer = InvalidDsaPointer;

	if (area != NULL)
		pointer = dsa_allocate_extended(area, size, DSA_ALLOC_NO_OOM);
	if (DsaPointerIsValid(pointer))
		memcpy(dsa_get_address(area, pointer), data, size);
	return pointer;
}

/* Put a text; NULL gives InvalidDsaPointer. */
dsa_pointer
wf_area_put_text(dsa_area *area, const char *text)
{
	return text == NULL ? InvalidDsaPointer : put(area, text,
												  strlen(text) + 1);
}

/* A copy of a text. */
char *
wf_area_get_text(dsa_area *area, dsa_pointer pointer)
{
	return area != NULL && DsaPointerIsValid(pointer) ?
		pstrdup(dsa_get_address(area, pointer)) : NULL;
}

/* Put a jsonb. */
dsa_pointer
wf_area_put_jsonb(dsa_area *area, const Jsonb *jsonb)
{
	return put(area, jsonb, VARSIZE(jsonb));
}

/* A copy of a jsonb. */
Jsonb *
wf_area_get_jsonb(dsa_area *area, dsa_pointer pointer)
{
	Jsonb	   *shared;
	Jsonb	   *copy;

	if (area == NULL || !DsaPointerIsValid(pointer))
		return NULL;
	shared = dsa_get_address(area, pointer);
	copy = palloc(VARSIZE(shared));
	memcpy(copy, shared, VARSIZE(shared));
	return copy;
}

/* Put an error; path may be NULL. */
dsa_pointer
wf_area_put_error(dsa_area *area, const char *path, const char *message)
{
	int			path_length = path == NULL ? 0 : strlen(path) + 1;
	int			message_length = message == NULL ? 0 : strlen(message) + 1;
	dsa_pointer pointer;
	WfSharedError *error;

	if (area == NULL)
		return InvalidDsaPointer;
	pointer = dsa_allocate_extended(area, offsetof(WfSharedError, text) +
									path_length + message_length,
									DSA_ALLOC_NO_OOM);
	if (!DsaPointerIsValid(pointer))
		return pointer;
	error = dsa_get_address(area, pointer);
	error->path_length = path_length;
	error->message_length = message_length;
	if (path_length > 0)
		memcpy(error->text, path, path_length);
	if (message_length > 0)
		memcpy(error->text + path_length, message, message_length);
	return pointer;
}

/* Copies of an error's texts, NULL for what is not there. */
void
wf_area_get_error(dsa_area *area, dsa_pointer pointer, char **path,
				  char **message)
{
	WfSharedError *error;

	*path = *message = NULL;
	if (area == NULL || !DsaPointerIsValid(pointer))
		return;
	error = dsa_get_address(area, pointer);
	if (error->path_length > 0)
		*path = pstrdup(error->text);
	if (error->message_length > 0)
		*message = pstrdup(error->text + error->path_length);
}

/* Give memory back, unless it has gone with its area. */
void
wf_area_free(dsa_area *area, dsa_pointer *pointer)
{
	if (area != NULL && DsaPointerIsValid(*pointer))
		dsa_free(area, *pointer);
	*pointer = InvalidDsaPointer;
}
