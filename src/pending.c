/*-------------------------------------------------------------------------
 *
 * pending.c
 *	  Outcomes of steps that are written when their transaction ends.
 *
 * One piece of shared memory for each: the struct, and behind it what its
 * pointers point to, in the order of parts(), each aligned.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "pending.h"

typedef struct Pending
{
	dsa_pointer next;			/* or invalid */
	WfStepOutcome outcome;		/* its pointers are only null or not */
} Pending;

#define NPARTS	7

/* The pointers of an outcome, and how long what they point to is. */
static void
parts(WfStepOutcome *outcome, const void **pointers[NPARTS])
{
	pointers[0] = (const void **) &outcome->message;
	pointers[1] = (const void **) &outcome->detail;
	pointers[2] = (const void **) &outcome->hint;
	pointers[3] = (const void **) &outcome->context;
	pointers[4] = (const void **) &outcome->messages;
	pointers[5] = (const void **) &outcome->result;
	pointers[6] = (const void **) &outcome->variables;
}

static Size
part_size(int part, const void *pointer)
{
	if (pointer == NULL)
		return 0;
	return part < 5 ? strlen(pointer) + 1 : VARSIZE_ANY(pointer);
}

/* See pending.h. */
dsa_pointer
wf_pending_put(dsa_area *area, const WfStepOutcome *outcome)
{
	WfStepOutcome copy = *outcome;
	const void **pointers[NPARTS];
	Size		size = MAXALIGN(sizeof(Pending));
	dsa_pointer result;
	Pending    *pending;
	char	   *to;
	int			i;

	parts(&copy, pointers);
	for (i = 0; i < NPARTS; i++)
		size += MAXALIGN(part_size(i, *pointers[i]));
	if (area == NULL || !AllocHugeSizeIsValid(size))
		return InvalidDsaPointer;
	result = dsa_allocate_extended(area, size,
								   DSA_ALLOC_NO_OOM | DSA_ALLOC_HUGE);
	if (!DsaPointerIsValid(result))
		return InvalidDsaPointer;

	pending = dsa_get_address(area, result);
	pending->next = InvalidDsaPointer;
	pending->outcome = copy;
	to = (char *) pending + MAXALIGN(sizeof(Pending));
	for (i = 0; i < NPARTS; i++)
	{
		Size		part = part_size(i, *pointers[i]);

		if (part > 0)
			memcpy(to, *pointers[i], part);
		to += MAXALIGN(part);
	}
	return result;
}

/* See pending.h. */
WfStepOutcome *
wf_pending_get(dsa_area *area, dsa_pointer pointer)
{
	Pending    *pending = dsa_get_address(area, pointer);
	WfStepOutcome *outcome = palloc(sizeof(WfStepOutcome));
	const void **pointers[NPARTS];
	char	   *from = (char *) pending + MAXALIGN(sizeof(Pending));
	int			i;

	*outcome = pending->outcome;
	parts(outcome, pointers);
	for (i = 0; i < NPARTS; i++)
	{
		Size		part;
		void	   *copy;

		if (*pointers[i] == NULL)
			continue;
		part = part_size(i, from);
		copy = MemoryContextAllocHuge(CurrentMemoryContext, part);
		memcpy(copy, from, part);
		*pointers[i] = copy;
		from += MAXALIGN(part);
	}
	return outcome;
}

/* See pending.h. */
WfStepOutcome *
wf_pending_copy(const WfStepOutcome *outcome)
{
	WfStepOutcome *copy = palloc(sizeof(WfStepOutcome));
	const void **pointers[NPARTS];
	int			i;

	*copy = *outcome;
	parts(copy, pointers);
	for (i = 0; i < NPARTS; i++)
	{
		Size		size = part_size(i, *pointers[i]);
		void	   *part;

		if (size == 0)
			continue;
		part = MemoryContextAllocHuge(CurrentMemoryContext, size);
		memcpy(part, *pointers[i], size);
		*pointers[i] = part;
	}
	return copy;
}

dsa_pointer
wf_pending_next(dsa_area *area, dsa_pointer pointer)
{
	return ((Pending *) dsa_get_address(area, pointer))->next;
}

/* See pending.h. */
void
wf_pending_append(dsa_area *area, dsa_pointer *first, dsa_pointer *last,
				  dsa_pointer pointer)
{
	if (DsaPointerIsValid(*first))
		((Pending *) dsa_get_address(area, *last))->next = pointer;
	else
		*first = pointer;
	*last = pointer;
}

/* See pending.h. */
void
wf_pending_write(dsa_area *area, dsa_pointer first)
{
	if (DsaPointerIsValid(first) && area == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_DOES_NOT_EXIST),
				 errmsg("the workflow scheduler has gone"),
				 errdetail("The outcomes of the transaction's steps have gone with it.")));
	for (; DsaPointerIsValid(first); first = wf_pending_next(area, first))
		wf_history_insert_step_outcome(wf_pending_get(area, first));
}

/* See pending.h. */
void
wf_pending_free(dsa_area *area, dsa_pointer *first)
{
	if (area == NULL)
		*first = InvalidDsaPointer;
	while (DsaPointerIsValid(*first))
	{
		dsa_pointer next = wf_pending_next(area, *first);

		dsa_free(area, *first);
		*first = next;
	}
}
