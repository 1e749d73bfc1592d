/*-------------------------------------------------------------------------
 *
 * capture.h
 *	  Catch the notices and warnings of a step.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_CAPTURE_H
#define WF_CAPTURE_H

/* Prepare a worker process; after it has connected. */
extern void wf_capture_init(void);

/* Begin to catch messages, in memory of `context`. */
extern void wf_capture_begin(MemoryContext context);

/* Stop; the messages caught, a line each ("NOTICE:  text"), or NULL. */
extern const char *wf_capture_end(void);

#endif							/* WF_CAPTURE_H */
