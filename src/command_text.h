/*-------------------------------------------------------------------------
 *
 * command_text.h
 *	  What the statements of a command are, as far as parsing shows it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_COMMAND_TEXT_H
#define WF_COMMAND_TEXT_H

#include "nodes/pg_list.h"

/*
 * Of the statements of one command.  Each name is that of the first one of
 * its sort, as PostgreSQL's messages have it, or NULL; none is palloc'd.
 */
typedef struct WfCommandText
{
	bool		several;		/* there is more than one */
	const char *control;		/* begins or ends a transaction */
	const char *alone;			/* refused in a transaction block */
	const char *waits;			/* one of these that an open transaction keeps
								 * waiting, or hides rows from */
} WfCommandText;

/*
 * wf_command_text_read
 *		Look through what raw_parser() has made of a command.  `text` is zeroed
 *		before.
 */
extern void wf_command_text_read(WfCommandText *text, const List *statements);

/* Is one of the statements a COPY from or to a program? */
extern bool wf_command_text_runs_program(const List *statements);

#endif							/* WF_COMMAND_TEXT_H */
