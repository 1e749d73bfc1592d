/*-------------------------------------------------------------------------
 *
 * option_value.c
 *	  The values of options: types, checks, canonical forms.
 *
 * A value comes as the JSON of a document and is checked against the row of
 * its option in the tables of options.c.  What passes is in the canonical
 * form of its type: 4.0 has become 4 and "90 minutes" "01:30:00", a command
 * is one string, a constraint an object.  So equal values have equal bytes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/string.h"
#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "option_value.h"

static const char *const type_texts[] = {
	[WF_TYPE_BOOL] = "a boolean",
	[WF_TYPE_INT] = "an integer",
	[WF_TYPE_NUMBER] = "a number",
	[WF_TYPE_TEXT] = "a string",
	[WF_TYPE_INTERVAL] = "a string with an interval",
	[WF_TYPE_ENUM] = "a string",
	[WF_TYPE_OBJECT] = "an object",
	[WF_TYPE_SETTINGS] = "an object",
	[WF_TYPE_EXPRESSIONS] = "an object",
	[WF_TYPE_TEXTS] = "an array of strings",
	[WF_TYPE_SQLSTATES] = "an array of strings",
	[WF_TYPE_COMMAND] = "a string or an array of strings",
	[WF_TYPE_AFTER] = "an array",
	[WF_TYPE_OBJECTS] = "an array of objects"
};

static const char *const outcomes[] = {
	"success", "failure", "completion", NULL
};

static void check_int(const WfOption *option, const WfPlace *place,
					  JsonbValue *value);
static void check_number(const WfOption *option, const WfPlace *place,
						 JsonbValue *value);
static void check_interval(const WfOption *option, const WfPlace *place,
						   JsonbValue *value);
static bool parse_interval(const char *text, Interval *interval);
static int64 interval_ms(const Interval *interval);
static void check_enum(const WfOption *option, const WfPlace *place,
					   JsonbValue *value);
static bool is_sqlstate(const JsonbValue *value);
static void check_members(const WfOption *option, const WfPlace *place,
						  JsonbValue *value);
static void check_array(const WfOption *option, const WfPlace *place,
						JsonbValue *value);
static void check_command(const WfOption *option, const WfPlace *place,
						  JsonbValue *value);
static void check_after(const WfOption *option, const WfPlace *place,
						JsonbValue *value);
static void check_constraint(const WfOption *option, const WfPlace *place,
							 JsonbValue *element, JsonbParseState **state);
static int	value_array_length(const JsonbValue *value);
static void wrong_type(const WfOption *option, const WfPlace *place,
					   JsonbValue *value) pg_attribute_noreturn();
static void wrong_element(const WfOption *option, const WfPlace *place,
						  const char *expected) pg_attribute_noreturn();
static void wrong_value(const WfOption *option, const WfPlace *place,
						const JsonbValue *value,
						const char *const *allowed) pg_attribute_noreturn();
static void below_minimum(const WfOption *option,
						  const WfPlace *place) pg_attribute_noreturn();

/*
 * wf_option_check_value
 *		Check the type and range of a value, and bring it into the canonical
 *		form of its type.
 */
void
wf_option_check_value(const WfOption *option, const WfPlace *place,
					  JsonbValue *value)
{
	switch (option->type)
	{
		case WF_TYPE_BOOL:
			if (value->type != jbvBool)
				wrong_type(option, place, value);
			break;
		case WF_TYPE_INT:
			check_int(option, place, value);
			break;
		case WF_TYPE_NUMBER:
			check_number(option, place, value);
			break;
		case WF_TYPE_TEXT:
			if (value->type != jbvString)
				wrong_type(option, place, value);
			break;
		case WF_TYPE_INTERVAL:
			check_interval(option, place, value);
			break;
		case WF_TYPE_ENUM:
			check_enum(option, place, value);
			break;
		case WF_TYPE_OBJECT:
			if (value->type != jbvBinary ||
				!JsonContainerIsObject(value->val.binary.data))
				wrong_type(option, place, value);
			break;
		case WF_TYPE_SETTINGS:
		case WF_TYPE_EXPRESSIONS:
			check_members(option, place, value);
			break;
		case WF_TYPE_TEXTS:
		case WF_TYPE_SQLSTATES:
		case WF_TYPE_OBJECTS:
			check_array(option, place, value);
			break;
		case WF_TYPE_COMMAND:
			check_command(option, place, value);
			break;
		case WF_TYPE_AFTER:
			check_after(option, place, value);
			break;
	}
}

/* An integer may be written as 4.0 or 4e0; its canonical form is 4. */
static void
check_int(const WfOption *option, const WfPlace *place, JsonbValue *value)
{
	char	   *text;
	char	   *end;
	int			number;

	if (value->type != jbvNumeric)
		wrong_type(option, place, value);
	text = numeric_normalize(value->val.numeric);
	errno = 0;
	number = strtoint(text, &end, 10);
	if (*end != '\0')
		wrong_type(option, place, value);
	if (errno == ERANGE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" of %s is out of range for type integer",
						option->name, wf_place_text(place)),
				 errdetail("The value is %s.", text)));
	if (number < option->min)
		below_minimum(option, place);
	value->val.numeric = int64_to_numeric(number);
}

/* A number's canonical form has no zeros at its end. */
static void
check_number(const WfOption *option, const WfPlace *place,
			 JsonbValue *value)
{
	Datum		number;

	if (value->type != jbvNumeric)
		wrong_type(option, place, value);
	number = DirectFunctionCall1(numeric_float8_no_overflow,
								 NumericGetDatum(value->val.numeric));
	if (DatumGetFloat8(number) < option->min)
		below_minimum(option, place);
	value->val.numeric =
		wf_option_parse_numeric(numeric_normalize(value->val.numeric));
}

Numeric
wf_option_parse_numeric(const char *text)
{
	return DatumGetNumeric(DirectFunctionCall3(numeric_in,
											   CStringGetDatum(text),
											   ObjectIdGetDatum(InvalidOid),
											   Int32GetDatum(-1)));
}

/*
 * The canonical form of an interval is its text in the style "postgres",
 * whatever the session's IntervalStyle is.
 */
static void
check_interval(const WfOption *option, const WfPlace *place, JsonbValue *value)
{
	Interval	interval;
	struct pg_itm itm;
	char		buffer[MAXDATELEN + 1];

	if (value->type != jbvString)
		wrong_type(option, place, value);
	if (!parse_interval(wf_value_string(value), &interval))
		wrong_value(option, place, value, NULL);
	if (interval_ms(&interval) < option->min)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg(option->min > 0 ?
						"option \"%s\" of %s must be greater than zero" :
						"option \"%s\" of %s must not be negative",
						option->name, wf_place_text(place))));
	interval2itm(interval, &itm);
	EncodeInterval(&itm, INTSTYLE_POSTGRES, buffer);
	wf_option_set_string(value, pstrdup(buffer), strlen(buffer));
}

/*
 * As interval_in does, but without an ERROR, which would not say what it is
 * about.  "infinity" is none: no option takes it.
 */
static bool
parse_interval(const char *text, Interval *interval)
{
	struct pg_itm_in itm = {0};
	int			dtype = DTK_DELTA;
	int			nfields;
	int			result;
	char	   *fields[MAXDATEFIELDS];
	int			types[MAXDATEFIELDS];
	char		work[256];

	result = ParseDateTime(text, work, sizeof(work), fields, types,
						   MAXDATEFIELDS, &nfields);
	if (result == 0)
		result = DecodeInterval(fields, types, nfields, INTERVAL_FULL_RANGE,
								&dtype, &itm);
	if (result == DTERR_BAD_FORMAT)
		result = DecodeISO8601Interval(pstrdup(text), &dtype, &itm);
	return result == 0 && dtype == DTK_DELTA &&
		itmin2interval(&itm, interval) == 0;
}

/* A month has 30 days; what does not fit is the longest that does. */
static int64
interval_ms(const Interval *interval)
{
	double		ms = interval->time / 1000.0 +
	((double) interval->month * DAYS_PER_MONTH + interval->day) *
	SECS_PER_DAY * 1000.0;

	if (ms > 0 && ms < 1)
		return 1;
	return ms < (double) PG_INT64_MAX / 2 ? (int64) ms : PG_INT64_MAX / 2;
}

static void
check_enum(const WfOption *option, const WfPlace *place,
		   JsonbValue *value)
{
	int			i;

	if (value->type != jbvString)
		wrong_type(option, place, value);
	for (i = 0; option->allowed[i]; i++)
	{
		if (wf_value_is(value, option->allowed[i]))
			break;
	}
	if (option->allowed[i] == NULL)
		wrong_value(option, place, value, option->allowed);
}

/* True for an SQLSTATE, or the two characters of a class of them. */
static bool
is_sqlstate(const JsonbValue *value)
{
	static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	int			len = value->val.string.len;
	int			i;

	if (len != 2 && len != 5)
		return false;
	for (i = 0; i < len; i++)
	{
		char		c = value->val.string.val[i];

		if (c == '\0' || strchr(letters, c) == NULL)
			return false;
	}
	return true;
}

/* An object is its own canonical form; only its members are looked at. */
static void
check_members(const WfOption *option, const WfPlace *place, JsonbValue *value)
{
	JsonbIterator *it;
	JsonbValue	member;
	JsonbIteratorToken token;

	if (value->type != jbvBinary ||
		!JsonContainerIsObject(value->val.binary.data))
		wrong_type(option, place, value);
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &member, true)) != WJB_DONE)
	{
		if (token != WJB_VALUE || member.type == jbvString)
			continue;
		if (option->type == WF_TYPE_EXPRESSIONS)
			wrong_element(option, place, "a string with an SQL expression");
		if (member.type != jbvNumeric && member.type != jbvBool)
			wrong_element(option, place, "a string, a number or a boolean");
	}
}

/* An array is its own canonical form; only its elements are looked at. */
static void
check_array(const WfOption *option, const WfPlace *place,
			JsonbValue *value)
{
	JsonbContainer *array = value->val.binary.data;
	int			n = value_array_length(value);
	int			i;

	if (n < 0)
		wrong_type(option, place, value);
	if (n == 0 && option->type == WF_TYPE_SQLSTATES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" of %s must not be empty",
						option->name, wf_place_text(place)),
				 errhint("Null stands for any error.")));
	for (i = 0; i < n; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);

		if (option->type == WF_TYPE_OBJECTS)
		{
			if (element->type != jbvBinary ||
				!JsonContainerIsObject(element->val.binary.data))
				wrong_element(option, place, "an object");
		}
		else if (element->type != jbvString)
			wrong_element(option, place, "a string");
		else if (option->type == WF_TYPE_SQLSTATES && !is_sqlstate(element))
			wrong_value(option, place, element, NULL);
		pfree(element);
	}
}

/* The canonical form of a command is one string. */
static void
check_command(const WfOption *option, const WfPlace *place, JsonbValue *value)
{
	StringInfoData text;
	int			n = value_array_length(value);
	int			i;

	if (value->type == jbvString)
		return;
	if (n < 0)
		wrong_type(option, place, value);
	initStringInfo(&text);
	for (i = 0; i < n; i++)
	{
		JsonbValue *line =
			getIthJsonbValueFromContainer(value->val.binary.data, i);

		if (line->type != jbvString)
			wrong_element(option, place, "a string");
		if (i > 0)
			appendStringInfoChar(&text, '\n');
		appendBinaryStringInfo(&text, line->val.string.val,
							   line->val.string.len);
	}
	wf_option_set_string(value, text.data, text.len);
}

/* The canonical form of `after` is an array of {"step", "on"} objects. */
static void
check_after(const WfOption *option, const WfPlace *place, JsonbValue *value)
{
	JsonbParseState *state = NULL;
	int			n = value_array_length(value);
	int			i;

	if (n < 0)
		wrong_type(option, place, value);
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (i = 0; i < n; i++)
		check_constraint(option, place,
						 getIthJsonbValueFromContainer(value->val.binary.data,
													   i),
						 &state);
	*value = *pushJsonbValue(&state, WJB_END_ARRAY, NULL);
}

/* One element of `after`: a step's name, or an object. */
static void
check_constraint(const WfOption *option, const WfPlace *place,
				 JsonbValue *element, JsonbParseState **state)
{
	static const char expected[] =
	"a step's name or an object with \"step\" and \"on\"";
	JsonbContainer *object = element->val.binary.data;
	JsonbValue	key;
	JsonbValue	step = *element;
	JsonbValue	on;
	JsonbValue	found;

	wf_option_set_string(&on, "success", strlen("success"));
	if (element->type == jbvBinary && JsonContainerIsObject(object))
	{
		int			known = 1;

		if (!getKeyJsonValueFromContainer(object, "step", 4, &step))
			wrong_element(option, place, expected);
		if (getKeyJsonValueFromContainer(object, "on", 2, &found))
		{
			known++;
			if (found.type != jbvNull)
				on = found;
		}
		if (JsonContainerSize(object) != (uint32) known)
			wrong_element(option, place, expected);
	}
	if (step.type != jbvString || on.type != jbvString)
		wrong_element(option, place, expected);
	if (!wf_value_is(&on, "success") && !wf_value_is(&on, "failure") &&
		!wf_value_is(&on, "completion"))
		wrong_value(option, place, &on, outcomes);

	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	wf_option_set_string(&key, "on", 2);
	pushJsonbValue(state, WJB_KEY, &key);
	pushJsonbValue(state, WJB_VALUE, &on);
	wf_option_set_string(&key, "step", 4);
	pushJsonbValue(state, WJB_KEY, &key);
	pushJsonbValue(state, WJB_VALUE, &step);
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* Number of elements, or -1 if the value is no array. */
static int
value_array_length(const JsonbValue *value)
{
	if (value->type != jbvBinary ||
		!JsonContainerIsArray(value->val.binary.data))
		return -1;
	return JsonContainerSize(value->val.binary.data);
}

void
wf_option_set_string(JsonbValue *value, const char *string, int len)
{
	value->type = jbvString;
	value->val.string.val = unconstify(char *, string);
	value->val.string.len = len;
}

/* The value of an option of type bool. */
bool
wf_value_bool(const JsonbValue *value)
{
	Assert(value->type == jbvBool);
	return value->val.boolean;
}

/* The value of an option of type int. */
int32
wf_value_int(const JsonbValue *value)
{
	Datum		number;

	Assert(value->type == jbvNumeric);
	number = DirectFunctionCall1(numeric_int4,
								 NumericGetDatum(value->val.numeric));
	return DatumGetInt32(number);
}

/* The value of an option of type number. */
double
wf_value_double(const JsonbValue *value)
{
	Datum		number;

	Assert(value->type == jbvNumeric);
	number = DirectFunctionCall1(numeric_float8_no_overflow,
								 NumericGetDatum(value->val.numeric));
	return DatumGetFloat8(number);
}

/* The value of an option of type interval, in ms; 0 for null. */
int64
wf_value_ms(const JsonbValue *value)
{
	Interval	interval;

	if (value->type == jbvNull)
		return 0;
	if (!parse_interval(wf_value_string(value), &interval))
		elog(ERROR, "interval is not in canonical form");
	return interval_ms(&interval);
}

/* Number of elements or keys; the empty ones of defaults are not binary. */
int
wf_value_size(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvBinary:
			return JsonContainerSize(value->val.binary.data);
		case jbvArray:
			return value->val.array.nElems;
		case jbvObject:
			return value->val.object.nPairs;
		default:
			return 0;
	}
}

/* True if a value equals a default; arrays and objects in those are empty. */
bool
wf_option_same_value(const JsonbValue *value, const JsonbValue *fallback)
{
	Datum		equal;

	if (fallback->type == jbvObject || fallback->type == jbvArray)
		return wf_value_size(value) == 0 &&
			(value->type == fallback->type ||
			 (value->type == jbvBinary &&
			  JsonContainerIsArray(value->val.binary.data) ==
			  (fallback->type == jbvArray)));
	if (value->type != fallback->type)
		return false;
	switch (fallback->type)
	{
		case jbvBool:
			return value->val.boolean == fallback->val.boolean;
		case jbvNumeric:
			equal = DirectFunctionCall2(numeric_eq,
										NumericGetDatum(value->val.numeric),
										NumericGetDatum(fallback->val.numeric));
			return DatumGetBool(equal);
		case jbvString:
			return value->val.string.len == fallback->val.string.len &&
				memcmp(value->val.string.val, fallback->val.string.val,
					   value->val.string.len) == 0;
		default:
			return true;
	}
}

/* True if a string value is this string. */
bool
wf_value_is(const JsonbValue *value, const char *string)
{
	int			len = value->val.string.len;

	Assert(value->type == jbvString);
	return strncmp(value->val.string.val, string, len) == 0 &&
		string[len] == '\0';
}

/* Make a string value. */
void
wf_value_set_string(JsonbValue *value, const char *string)
{
	wf_option_set_string(value, string, strlen(string));
}

/* The value of an option that is a string, or NULL for null. */
char *
wf_value_string(const JsonbValue *value)
{
	if (value->type == jbvNull)
		return NULL;
	Assert(value->type == jbvString);
	return pnstrdup(value->val.string.val, value->val.string.len);
}

/* The names, quoted and separated by commas, for a hint. */
char *
wf_option_join_names(const char *const *names)
{
	StringInfoData text;
	int			i;

	initStringInfo(&text);
	for (i = 0; names[i]; i++)
		appendStringInfo(&text, "%s\"%s\"", i > 0 ? ", " : "", names[i]);
	return text.data;
}

static void
wrong_type(const WfOption *option, const WfPlace *place, JsonbValue *value)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"%s\" of %s must be %s", option->name,
					wf_place_text(place), type_texts[option->type]),
			 value->type == jbvNumeric && option->type == WF_TYPE_INT ?
			 errdetail("The value is %s.",
					   numeric_normalize(value->val.numeric)) :
			 errdetail("The value has JSON type %s.", JsonbTypeName(value))));
}

static void
wrong_element(const WfOption *option, const WfPlace *place,
			  const char *expected)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("each element of option \"%s\" of %s must be %s",
					option->name, wf_place_text(place), expected)));
}

/* `allowed` is NULL if the values that are allowed cannot be listed. */
static void
wrong_value(const WfOption *option, const WfPlace *place,
			const JsonbValue *value, const char *const *allowed)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\" of %s: \"%s\"",
					option->name, wf_place_text(place),
					wf_value_string(value)),
			 allowed ? errhint("The allowed values are %s.",
							   wf_option_join_names(allowed)) : 0,
			 option->type == WF_TYPE_INTERVAL ?
			 errhint("Write an interval such as \"90 seconds\" or \"2 hours\".") : 0,
			 option->type == WF_TYPE_SQLSTATES ?
			 errhint("Write a SQLSTATE such as \"40001\" or a class of them such as \"40\".") : 0));
}

static void
below_minimum(const WfOption *option, const WfPlace *place)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"%s\" of %s must be at least %d",
					option->name, wf_place_text(place), option->min)));
}
