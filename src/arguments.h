/*-------------------------------------------------------------------------
 *
 * arguments.h
 *	  Arguments of the functions that define packages piece by piece.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_ARGUMENTS_H
#define WF_ARGUMENTS_H

#include "fmgr.h"
#include "nodes/pg_list.h"

#include "options.h"

/* What a call says of the options of one object. */
typedef struct WfChanges
{
	WfLevel		level;
	bool		changed[WF_MAX_OPTIONS];
	JsonbValue	values[WF_MAX_OPTIONS]; /* of those changed; null: back to
										 * the default */
	List	   *resets;			/* names in the argument "reset" that are no
								 * options */
} WfChanges;

/*
 * wf_arguments_read
 *		Read the options among the arguments of an SQL function, from the
 *		argument numbered `first` on: an argument that has the name of an
 *		option of the level changes it unless it is null, and one named
 *		"reset", an array, has the names of options to go back to their
 *		defaults.  Values are not checked, but for the names in "reset".
 *
 * Left to the caller are "name", "after" and what is no option.
 */
extern void wf_arguments_read(FunctionCallInfo fcinfo, WfLevel level,
							  int first, WfChanges *changes);

/* The number of the argument with this name. */
extern int	wf_argument_find(FunctionCallInfo fcinfo, const char *name);

/* A text argument, palloc'd; ERROR 22004 naming it if it is null. */
extern char *wf_argument_text(FunctionCallInfo fcinfo, int number,
							  const char *name);

/* A text[] argument as a list of strings; NIL for null.  ERROR 22004 naming
 * it if an element is null. */
extern List *wf_argument_texts(FunctionCallInfo fcinfo, int number,
							   const char *name);

#endif							/* WF_ARGUMENTS_H */
