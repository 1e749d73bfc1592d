/*-------------------------------------------------------------------------
 *
 * option_value.h
 *	  The values of options: types, checks, canonical forms.
 *
 * For options.c alone; everybody else reads values through options.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_OPTION_VALUE_H
#define WF_OPTION_VALUE_H

#include "options.h"

/* One row of the tables in options.c. */
typedef struct WfOption
{
	const char *name;
	WfOptionType type;
	const char *fallback;		/* the default, as JSON */
	bool		supported;
	int			min;			/* of numbers, and of intervals in ms */
	const char *const *allowed; /* of enums; ends with NULL */
} WfOption;

/*
 * wf_option_check_value
 *		Check the type and range of a value, and bring it into the canonical
 *		form of its type.  ERROR 22023, naming the option and the place.
 */
extern void wf_option_check_value(const WfOption *option,
								  const WfPlace *place, JsonbValue *value);

/* True if a value equals a default; arrays and objects in those are empty. */
extern bool wf_option_same_value(const JsonbValue *value,
								 const JsonbValue *fallback);

/* The names, quoted and separated by commas, for a hint. */
extern char *wf_option_join_names(const char *const *names);

/* Make a string value that points to the string. */
extern void wf_option_set_string(JsonbValue *value, const char *string,
								 int len);

extern Numeric wf_option_parse_numeric(const char *text);

#endif							/* WF_OPTION_VALUE_H */
