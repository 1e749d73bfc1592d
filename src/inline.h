/*-------------------------------------------------------------------------
 *
 * inline.h
 *	  The inline driver: a whole sequential run inside one worker.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_INLINE_H
#define WF_INLINE_H

#include "shmem.h"

/*
 * wf_inline_run
 *		Carry out the run of an entry that this worker has taken, to its end,
 *		and leave the result in the entry.  No transaction on entry and exit.
 *		Errors of steps end in the record; an ERROR of our own leaves the
 *		function, and the worker ends with it: what is on record counts, and
 *		the scheduler hands the rest to another worker.
 */
extern void wf_inline_run(WfDatabase *database, WfEntry *entry);

extern void wf_inline_init(void);

#endif							/* WF_INLINE_H */
