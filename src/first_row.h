/*-------------------------------------------------------------------------
 *
 * first_row.h
 *	  A destination that keeps the first row of a result, as JSON.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_FIRST_ROW_H
#define WF_FIRST_ROW_H

#include "tcop/dest.h"
#include "utils/jsonb.h"

/*
 * wf_first_row_receiver
 *		A receiver that converts the first row it gets and drops the others:
 *		a single column to its value, several to an object by their names.
 *		*row is set when there is one; it is allocated in `context`, unless it
 *		would be longer than max_size bytes of JSON text, then *too_large is
 *		set.
 */
extern DestReceiver *wf_first_row_receiver(MemoryContext context,
										   int max_size, Jsonb **row,
										   bool *too_large);

#endif							/* WF_FIRST_ROW_H */
