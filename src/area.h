/*-------------------------------------------------------------------------
 *
 * area.h
 *	  The area of a database's agent: shared memory of any size (DSA).
 *
 * The scheduler makes it and everybody else attaches to it.  It dies with the
 * last process that has it, and is of no use after the scheduler that made
 * it, so nothing in it is a truth.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_AREA_H
#define WF_AREA_H

#include "utils/jsonb.h"

#include "shmem.h"

/* Make the area of this process' database: the scheduler. */
extern dsa_area *wf_area_create(WfDatabase *database);

/* This process' mapping of it, attached to when first needed; NULL if there
 * is no scheduler. */
extern dsa_area *wf_area_attach(WfDatabase *database);
/* Which scheduler made the area that this process attached to last. */
extern uint64 wf_area_generation(void);

/*
 * Put things into the area, and copy them out into the current context.
 * Putting gives InvalidDsaPointer where there is no memory; getting gives
 * NULL for that.
 */
extern dsa_pointer wf_area_put_text(dsa_area *area, const char *text);
extern char *wf_area_get_text(dsa_area *area, dsa_pointer pointer);
extern dsa_pointer wf_area_put_jsonb(dsa_area *area, const Jsonb *jsonb);
extern Jsonb *wf_area_get_jsonb(dsa_area *area, dsa_pointer pointer);
extern dsa_pointer wf_area_put_error(dsa_area *area, const char *path,
									 const char *message);
extern void wf_area_get_error(dsa_area *area, dsa_pointer pointer,
							  char **path, char **message);
extern void wf_area_free(dsa_area *area, dsa_pointer *pointer);

#endif							/* WF_AREA_H */
