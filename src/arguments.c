/*-------------------------------------------------------------------------
 *
 * arguments.c
 *	  Arguments of the functions that define packages piece by piece.
 *
 * Such a function has an argument for every option of an object.  Which
 * argument is which option is said by their names in pg_proc, so that the
 * tables of options.c stay the only list of options in the library: an
 * argument becomes the JSON value that a document would have.
 *
 * The functions can only be called through SQL, where fn_oid is set.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/numeric.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "arguments.h"

static int	argument_names(FunctionCallInfo fcinfo, Oid **types,
						   char ***names);
static void make_value(Datum datum, Oid type, JsonbValue *value);
static void make_json(Jsonb *jsonb, JsonbValue *value);
static void make_array(Datum datum, JsonbValue *value);
static char *interval_text(const Interval *interval);
static void read_resets(WfChanges *changes, List *names);

/* Read the options among the arguments. */
void
wf_arguments_read(FunctionCallInfo fcinfo, WfLevel level, int first,
				  WfChanges *changes)
{
	Oid		   *types;
	char	  **names;
	int			n = argument_names(fcinfo, &types, &names);
	int			i;

	memset(changes, 0, sizeof(WfChanges));
	changes->level = level;
	for (i = first; i < n; i++)
	{
		int			option;

		if (PG_ARGISNULL(i))
			continue;
		/* it is the last one, where there is one */
		if (strcmp(names[i], "reset") == 0)
		{
			read_resets(changes, wf_argument_texts(fcinfo, i, names[i]));
			continue;
		}
		option = wf_option_find(level, names[i]);
		if (option < 0 || wf_option_type(level, option) == WF_TYPE_AFTER)
			continue;
		changes->changed[option] = true;
		make_value(PG_GETARG_DATUM(i), types[i], &changes->values[option]);
	}
}

/* Types and names of the arguments of the function that is called. */
static int
argument_names(FunctionCallInfo fcinfo, Oid **types, char ***names)
{
	HeapTuple	tuple;
	char	   *modes;
	int			n;

	tuple = SearchSysCache1(PROCOID,
							ObjectIdGetDatum(fcinfo->flinfo->fn_oid));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u",
			 fcinfo->flinfo->fn_oid);
	n = get_func_arg_info(tuple, types, names, &modes);
	ReleaseSysCache(tuple);
	if (n != PG_NARGS() || *names == NULL)
		elog(ERROR, "function %u has other arguments than expected",
			 fcinfo->flinfo->fn_oid);
	return n;
}

/* An argument as the value that a document would have. */
static void
make_value(Datum datum, Oid type, JsonbValue *value)
{
	switch (type)
	{
		case BOOLOID:
			value->type = jbvBool;
			value->val.boolean = DatumGetBool(datum);
			break;
		case INT4OID:
			value->type = jbvNumeric;
			value->val.numeric = int64_to_numeric(DatumGetInt32(datum));
			break;
		case NUMERICOID:
			value->type = jbvNumeric;
			value->val.numeric = DatumGetNumericCopy(datum);
			break;
		case TEXTOID:
			wf_value_set_string(value, TextDatumGetCString(datum));
			break;
		case INTERVALOID:
			wf_value_set_string(value,
								interval_text(DatumGetIntervalP(datum)));
			break;
		case JSONBOID:
			make_json(DatumGetJsonbPCopy(datum), value);
			break;
		case TEXTARRAYOID:
			make_array(datum, value);
			break;
		default:
			elog(ERROR, "arguments of type %u are not expected", type);
	}
}

static void
make_json(Jsonb *jsonb, JsonbValue *value)
{
	if (!JB_ROOT_IS_SCALAR(jsonb) ||
		!JsonbExtractScalar(&jsonb->root, value))
		JsonbToJsonbValue(jsonb, value);
}

/* Numeric and null elements are left to the checks of options. */
static void
make_array(Datum datum, JsonbValue *value)
{
	JsonbParseState *state = NULL;
	JsonbValue	element;
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	int			i;

	deconstruct_array(DatumGetArrayTypeP(datum), TEXTOID, -1, false,
					  TYPALIGN_INT, &elements, &nulls, &n);
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (i = 0; i < n; i++)
	{
		if (nulls[i])
			element.type = jbvNull;
		else
			wf_value_set_string(&element, TextDatumGetCString(elements[i]));
		pushJsonbValue(&state, WJB_ELEM, &element);
	}
	*value = *pushJsonbValue(&state, WJB_END_ARRAY, NULL);
}

/* As the canonical form of an interval is. */
static char *
interval_text(const Interval *interval)
{
	struct pg_itm itm;
	char		buffer[MAXDATELEN + 1];

	interval2itm(*interval, &itm);
	EncodeInterval(&itm, INTSTYLE_POSTGRES, buffer);
	return pstrdup(buffer);
}

/* Options to go back to their defaults. */
static void
read_resets(WfChanges *changes, List *names)
{
	ListCell   *cell;

	foreach(cell, names)
	{
		const char *name = lfirst(cell);
		int			option = wf_option_find(changes->level, name);

		if (option < 0)
		{
			changes->resets = lappend(changes->resets, lfirst(cell));
			continue;
		}
		if (strcmp(name, "name") == 0 ||
			wf_option_type(changes->level, option) == WF_TYPE_OBJECTS)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" cannot be reset", name)));
		if (changes->changed[option] &&
			changes->values[option].type != jbvNull)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" must not be both set and reset",
							name)));
		changes->changed[option] = true;
		changes->values[option].type = jbvNull;
	}
}

/* The number of an argument. */
int
wf_argument_find(FunctionCallInfo fcinfo, const char *name)
{
	Oid		   *types;
	char	  **names;
	int			n = argument_names(fcinfo, &types, &names);
	int			i;

	for (i = 0; i < n; i++)
	{
		if (strcmp(names[i], name) == 0)
			return i;
	}
	elog(ERROR, "function %u has no argument \"%s\"",
		 fcinfo->flinfo->fn_oid, name);
}

/* A text argument that must be given. */
char *
wf_argument_text(FunctionCallInfo fcinfo, int number, const char *name)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name)));
	return text_to_cstring(PG_GETARG_TEXT_PP(number));
}

/* A text[] argument as a list. */
List *
wf_argument_texts(FunctionCallInfo fcinfo, int number, const char *name)
{
	List	   *texts = NIL;
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	int			i;

	if (PG_ARGISNULL(number))
		return NIL;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(number), TEXTOID, -1, false,
					  TYPALIGN_INT, &elements, &nulls, &n);
	for (i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not contain nulls", name)));
		texts = lappend(texts, TextDatumGetCString(elements[i]));
	}
	return texts;
}
