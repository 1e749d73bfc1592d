/*-------------------------------------------------------------------------
 *
 * options.c
 *	  The options of packages, connections and steps: names, types, defaults.
 *
 * One table for each level says everything about each option; whatever reads
 * a definition gets its values from here, checked, in one canonical form and
 * with defaults filled in, and never looks into the JSON of an option itself.
 * Two objects mean the same if and only if their values here are equal.
 *
 * The tables list all options of the product.  One that this version does not
 * carry out yet is accepted where it has no effect, that is, with its default
 * as value, and refused by name otherwise: a definition never silently means
 * less than it says.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "common/string.h"
#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "options.h"

typedef enum OptionType
{
	TYPE_BOOL,
	TYPE_INT,
	TYPE_NUMBER,
	TYPE_TEXT,
	TYPE_INTERVAL,
	TYPE_ENUM,
	TYPE_OBJECT,
	TYPE_TEXTS,					/* array of strings */
	TYPE_SQLSTATES,				/* array of SQLSTATEs and their classes */
	TYPE_COMMAND,				/* string, or array of lines */
	TYPE_AFTER,					/* array of precedence constraints */
	TYPE_OBJECTS				/* array of objects of another level */
} OptionType;

static const char *const type_texts[] = {
	[TYPE_BOOL] = "a boolean",
	[TYPE_INT] = "an integer",
	[TYPE_NUMBER] = "a number",
	[TYPE_TEXT] = "a string",
	[TYPE_INTERVAL] = "a string with an interval",
	[TYPE_ENUM] = "a string",
	[TYPE_OBJECT] = "an object",
	[TYPE_TEXTS] = "an array of strings",
	[TYPE_SQLSTATES] = "an array of strings",
	[TYPE_COMMAND] = "a string or an array of strings",
	[TYPE_AFTER] = "an array",
	[TYPE_OBJECTS] = "an array of objects"
};

typedef struct Option
{
	const char *name;
	OptionType	type;
	const char *fallback;		/* the default, as JSON */
	bool		supported;
	int			min;			/* of numbers */
	const char *const *allowed; /* of enums; ends with NULL */
	const char *refused;		/* an allowed value that is not supported */
} Option;

/* The options of one level, and what is made of the table at first use. */
typedef struct OptionTable
{
	const char *what;
	int			noptions;
	const Option *options;
	JsonbValue *fallbacks;
} OptionTable;

/* Whether this version carries the option out. */
#define YES		true
#define LATER	false

#define ANY_INT	INT_MIN

static const char *const isolation_levels[] = {
	"read committed", "repeatable read", "serializable", NULL
};
static const char *const overlap_answers[] = {"queue", "reject", "skip", NULL};
static const char *const interruption_answers[] = {"resume", "fail", NULL};
static const char *const step_kinds[] = {
	"sql", "package", "job", "none", NULL
};
static const char *const balances[] = {
	"first", "round_robin", "least_busy", NULL
};
static const char *const precedences[] = {"all", "any", NULL};
static const char *const outcomes[] = {
	"success", "failure", "completion", NULL
};

static const Option package_options[WF_PACKAGE_NOPTIONS] = {
	[WF_PACKAGE_NAME] = {"name", TYPE_TEXT, "null", YES},
	[WF_PACKAGE_DESCRIPTION] = {"description", TYPE_TEXT, "null", YES},
	[WF_PACKAGE_USE_TRANSACTIONS] =
	{"use_transactions", TYPE_BOOL, "true", LATER},
	[WF_PACKAGE_COMMIT_ON_COMPLETION] =
	{"commit_on_completion", TYPE_BOOL, "true", LATER},
	[WF_PACKAGE_FAIL_ON_FIRST_ERROR] =
	{"fail_on_first_error", TYPE_BOOL, "true", YES},
	[WF_PACKAGE_ISOLATION_LEVEL] =
	{"isolation_level", TYPE_ENUM, "\"read committed\"", LATER, 0,
	isolation_levels},
	[WF_PACKAGE_MAX_CONCURRENT_STEPS] =
	{"max_concurrent_steps", TYPE_INT, "4", YES, 1},
	[WF_PACKAGE_MAX_CONCURRENT_RUNS] =
	{"max_concurrent_runs", TYPE_INT, "null", LATER, 1},
	[WF_PACKAGE_ON_OVERLAP] =
	{"on_overlap", TYPE_ENUM, "\"queue\"", LATER, 0, overlap_answers},
	[WF_PACKAGE_PRIORITY] = {"priority", TYPE_INT, "0", LATER, ANY_INT},
	[WF_PACKAGE_TIMEOUT] = {"timeout", TYPE_INTERVAL, "null", LATER},
	[WF_PACKAGE_ON_INTERRUPTION] =
	{"on_interruption", TYPE_ENUM, "\"resume\"", LATER, 0,
	interruption_answers},
	[WF_PACKAGE_VARIABLES] = {"variables", TYPE_OBJECT, "{}", YES},
	[WF_PACKAGE_REQUIRED_VARIABLES] =
	{"required_variables", TYPE_TEXTS, "[]", LATER},
	[WF_PACKAGE_ENABLED] = {"enabled", TYPE_BOOL, "true", LATER},
	[WF_PACKAGE_MAX_ATTEMPTS] = {"max_attempts", TYPE_INT, "1", LATER, 1},
	[WF_PACKAGE_RETRY_DELAY] = {"retry_delay", TYPE_INTERVAL, "\"1s\"", LATER},
	[WF_PACKAGE_RETRY_ON] = {"retry_on", TYPE_SQLSTATES, "null", LATER},
	[WF_PACKAGE_SETTINGS] = {"settings", TYPE_OBJECT, "{}", LATER},
	[WF_PACKAGE_HISTORY_RETENTION] =
	{"history_retention", TYPE_INTERVAL, "null", LATER},
	[WF_PACKAGE_CONNECTIONS] = {"connections", TYPE_OBJECTS, "[]", YES},
	[WF_PACKAGE_STEPS] = {"steps", TYPE_OBJECTS, "[]", YES}
};

static const Option connection_options[WF_CONNECTION_NOPTIONS] = {
	[WF_CONNECTION_NAME] = {"name", TYPE_TEXT, "null", YES},
	[WF_CONNECTION_SERVER] = {"server", TYPE_TEXT, "null", LATER},
	[WF_CONNECTION_TRANSACTIONAL] = {"transactional", TYPE_BOOL, "true", LATER}
};

static const Option step_options[WF_STEP_NOPTIONS] = {
	[WF_STEP_NAME] = {"name", TYPE_TEXT, "null", YES},
	[WF_STEP_KIND] = {"kind", TYPE_ENUM, "\"sql\"", YES, 0, step_kinds, "job"},
	[WF_STEP_COMMAND] = {"command", TYPE_COMMAND, "null", YES},
	[WF_STEP_CONNECTION] = {"connection", TYPE_TEXT, "null", YES},
	[WF_STEP_SERVERS] = {"servers", TYPE_TEXTS, "[]", LATER},
	[WF_STEP_BALANCE] =
	{"balance", TYPE_ENUM, "\"first\"", LATER, 0, balances},
	[WF_STEP_JOIN_TRANSACTION] =
	{"join_transaction", TYPE_BOOL, "false", LATER},
	[WF_STEP_COMMIT_ON_SUCCESS] =
	{"commit_on_success", TYPE_BOOL, "false", LATER},
	[WF_STEP_ROLLBACK_ON_FAILURE] =
	{"rollback_on_failure", TYPE_BOOL, "false", LATER},
	[WF_STEP_FAIL_PACKAGE_ON_ERROR] =
	{"fail_package_on_error", TYPE_BOOL, "false", LATER},
	[WF_STEP_MAIN_THREAD] = {"main_thread", TYPE_BOOL, "false", LATER},
	[WF_STEP_DISABLED] = {"disabled", TYPE_BOOL, "false", YES},
	[WF_STEP_CONDITION] = {"condition", TYPE_TEXT, "null", LATER},
	[WF_STEP_CONDITION_INTERVAL] =
	{"condition_interval", TYPE_INTERVAL, "\"1s\"", LATER},
	[WF_STEP_AFTER] = {"after", TYPE_AFTER, "[]", YES},
	[WF_STEP_PRECEDENCE] =
	{"precedence", TYPE_ENUM, "\"all\"", YES, 0, precedences},
	[WF_STEP_FINALLY] = {"finally", TYPE_ENUM, "null", LATER, 0, outcomes},
	[WF_STEP_ATOMIC] = {"atomic", TYPE_BOOL, "true", LATER},
	[WF_STEP_MAX_ATTEMPTS] = {"max_attempts", TYPE_INT, "1", LATER, 1},
	[WF_STEP_RETRY_DELAY] = {"retry_delay", TYPE_INTERVAL, "\"1s\"", LATER},
	[WF_STEP_RETRY_BACKOFF] = {"retry_backoff", TYPE_NUMBER, "2.0", LATER, 1},
	[WF_STEP_RETRY_ON] = {"retry_on", TYPE_SQLSTATES, "null", LATER},
	[WF_STEP_TIMEOUT] = {"timeout", TYPE_INTERVAL, "null", LATER},
	[WF_STEP_LOCK_TIMEOUT] = {"lock_timeout", TYPE_INTERVAL, "null", LATER},
	[WF_STEP_RESTARTABLE] = {"restartable", TYPE_BOOL, "false", LATER},
	[WF_STEP_SETTINGS] = {"settings", TYPE_OBJECT, "{}", LATER},
	[WF_STEP_WAIT] = {"wait", TYPE_BOOL, "false", LATER},
	[WF_STEP_VARIABLES] = {"variables", TYPE_OBJECT, "null", LATER},
	[WF_STEP_RESULT_VARIABLE] = {"result_variable", TYPE_TEXT, "null", LATER},
	[WF_STEP_PRIORITY] = {"priority", TYPE_INT, "0", YES, ANY_INT},
	[WF_STEP_DESCRIPTION] = {"description", TYPE_TEXT, "null", YES}
};

static OptionTable tables[] = {
	[WF_LEVEL_PACKAGE] = {"package", WF_PACKAGE_NOPTIONS, package_options},
	[WF_LEVEL_CONNECTION] = {"connection", WF_CONNECTION_NOPTIONS,
	connection_options},
	[WF_LEVEL_STEP] = {"step", WF_STEP_NOPTIONS, step_options}
};

static const JsonbValue *table_fallbacks(OptionTable *table);
static void make_fallback(const Option *option, JsonbValue *value);
static int	find_option(const OptionTable *table, const JsonbValue *key);
static void check_value(const Option *option, const WfPlace *place,
						JsonbValue *value);
static void check_int(const Option *option, const WfPlace *place,
					  JsonbValue *value);
static void check_number(const Option *option, const WfPlace *place,
						 JsonbValue *value);
static Numeric parse_numeric(const char *text);
static void check_interval(const Option *option, const WfPlace *place,
						   JsonbValue *value);
static bool parse_interval(const char *text, Interval *interval);
static void check_enum(const Option *option, const WfPlace *place,
					   JsonbValue *value);
static void check_array(const Option *option, const WfPlace *place,
						JsonbValue *value);
static void check_command(const Option *option, const WfPlace *place,
						  JsonbValue *value);
static void check_after(const Option *option, const WfPlace *place,
						JsonbValue *value);
static void check_constraint(const Option *option, const WfPlace *place,
							 JsonbValue *element, JsonbParseState **state);
static void check_supported(const Option *option, const WfPlace *place,
							const JsonbValue *value,
							const JsonbValue *fallback);
static bool same_value(const JsonbValue *a, const JsonbValue *b);
static int	value_array_length(const JsonbValue *value);
static void set_string(JsonbValue *value, const char *string, int len);
static char *join_names(const char *const *names);
static char *option_names(const OptionTable *table);
static void wrong_type(const Option *option, const WfPlace *place,
					   JsonbValue *value) pg_attribute_noreturn();
static void wrong_element(const Option *option, const WfPlace *place,
						  const char *expected) pg_attribute_noreturn();
static void wrong_value(const Option *option, const WfPlace *place,
						const JsonbValue *value,
						const char *const *allowed) pg_attribute_noreturn();
static void below_minimum(const Option *option,
						  const WfPlace *place) pg_attribute_noreturn();

/* The place in words. */
char *
wf_place_text(const WfPlace *place)
{
	const char *what = tables[place->level].what;
	StringInfoData text;

	initStringInfo(&text);
	if (place->level != WF_LEVEL_PACKAGE)
	{
		if (place->name)
			appendStringInfo(&text, "%s \"%s\" of ", what, place->name);
		else
			appendStringInfo(&text, "%s number %d of ", what, place->number);
	}
	if (place->package)
		appendStringInfo(&text, "package \"%s\"", place->package);
	else
		appendStringInfoString(&text, "the package");
	return text.data;
}

/* Number of options of a level. */
int
wf_options_count(WfLevel level)
{
	return tables[level].noptions;
}

/* Name of an option. */
const char *
wf_option_name(WfLevel level, int option)
{
	Assert(option >= 0 && option < tables[level].noptions);
	return tables[level].options[option].name;
}

/* Read all options of one object of a definition. */
void
wf_options_read(const WfPlace *place, JsonbContainer *object,
				JsonbValue *values)
{
	OptionTable *table = &tables[place->level];
	const JsonbValue *fallbacks = table_fallbacks(table);
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbValue	key;
	JsonbValue	value;

	Assert(JsonContainerIsObject(object));
	memcpy(values, fallbacks, table->noptions * sizeof(JsonbValue));

	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		int			option = find_option(table, &key);

		(void) JsonbIteratorNext(&it, &value, true);
		if (option < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unrecognized option \"%s\" of %s",
							wf_value_string(&key), wf_place_text(place)),
					 errhint("The options of a %s are %s.",
							 table->what, option_names(table))));
		if (value.type == jbvNull)
			continue;
		check_value(&table->options[option], place, &value);
		check_supported(&table->options[option], place, &value,
						&fallbacks[option]);
		values[option] = value;
	}
}

/*
 * The defaults of a level as values: made once for a process, as they are
 * wanted for every step.  An ERROR in between leaves the table without them.
 */
static const JsonbValue *
table_fallbacks(OptionTable *table)
{
	MemoryContext old;
	JsonbValue *values;
	int			i;

	if (table->fallbacks)
		return table->fallbacks;
	old = MemoryContextSwitchTo(TopMemoryContext);
	values = palloc0(table->noptions * sizeof(JsonbValue));
	for (i = 0; i < table->noptions; i++)
		make_fallback(&table->options[i], &values[i]);
	MemoryContextSwitchTo(old);
	table->fallbacks = values;
	return values;
}

/* The default of an option, in the form that check_value() gives a value. */
static void
make_fallback(const Option *option, JsonbValue *value)
{
	const char *text = option->fallback;
	WfPlace		nowhere = {0};

	memset(value, 0, sizeof(JsonbValue));
	if (strcmp(text, "null") == 0)
	{
		value->type = jbvNull;
		return;
	}
	if (text[0] == '{')
	{
		value->type = jbvObject;
		return;
	}
	if (text[0] == '[')
	{
		value->type = jbvArray;
		return;
	}
	if (text[0] == '"')
		set_string(value, text + 1, strlen(text) - 2);
	else if (option->type == TYPE_BOOL)
	{
		value->type = jbvBool;
		value->val.boolean = (text[0] == 't');
	}
	else
	{
		value->type = jbvNumeric;
		value->val.numeric = parse_numeric(text);
	}
	check_value(option, &nowhere, value);
}

/* Index of the option with this name, or -1. */
static int
find_option(const OptionTable *table, const JsonbValue *key)
{
	int			i;

	for (i = 0; i < table->noptions; i++)
	{
		if (wf_value_is(key, table->options[i].name))
			return i;
	}
	return -1;
}

/*
 * check_value
 *		Check the type and range of a value, and bring it into the canonical
 *		form of its type.
 */
static void
check_value(const Option *option, const WfPlace *place, JsonbValue *value)
{
	switch (option->type)
	{
		case TYPE_BOOL:
			if (value->type != jbvBool)
				wrong_type(option, place, value);
			break;
		case TYPE_INT:
			check_int(option, place, value);
			break;
		case TYPE_NUMBER:
			check_number(option, place, value);
			break;
		case TYPE_TEXT:
			if (value->type != jbvString)
				wrong_type(option, place, value);
			break;
		case TYPE_INTERVAL:
			check_interval(option, place, value);
			break;
		case TYPE_ENUM:
			check_enum(option, place, value);
			break;
		case TYPE_OBJECT:
			if (value->type != jbvBinary ||
				!JsonContainerIsObject(value->val.binary.data))
				wrong_type(option, place, value);
			break;
		case TYPE_TEXTS:
		case TYPE_SQLSTATES:
		case TYPE_OBJECTS:
			check_array(option, place, value);
			break;
		case TYPE_COMMAND:
			check_command(option, place, value);
			break;
		case TYPE_AFTER:
			check_after(option, place, value);
			break;
	}
}

/* An integer may be written as 4.0 or 4e0; its canonical form is 4. */
static void
check_int(const Option *option, const WfPlace *place, JsonbValue *value)
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
check_number(const Option *option, const WfPlace *place,
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
		parse_numeric(numeric_normalize(value->val.numeric));
}

static Numeric
parse_numeric(const char *text)
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
check_interval(const Option *option, const WfPlace *place, JsonbValue *value)
{
	Interval	interval;
	Interval	zero = {0};
	struct pg_itm itm;
	char		buffer[MAXDATELEN + 1];

	if (value->type != jbvString)
		wrong_type(option, place, value);
	if (!parse_interval(wf_value_string(value), &interval))
		wrong_value(option, place, value, NULL);
	if (DatumGetBool(DirectFunctionCall2(interval_lt,
										 IntervalPGetDatum(&interval),
										 IntervalPGetDatum(&zero))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" of %s must not be negative",
						option->name, wf_place_text(place))));
	interval2itm(interval, &itm);
	EncodeInterval(&itm, INTSTYLE_POSTGRES, buffer);
	set_string(value, pstrdup(buffer), strlen(buffer));
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

static void
check_enum(const Option *option, const WfPlace *place,
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
	if (option->refused && wf_value_is(value, option->refused))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s \"%s\" of %s is not supported yet", option->name,
						option->refused, wf_place_text(place))));
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

/* An array is its own canonical form; only its elements are looked at. */
static void
check_array(const Option *option, const WfPlace *place,
			JsonbValue *value)
{
	JsonbContainer *array = value->val.binary.data;
	int			n = value_array_length(value);
	int			i;

	if (n < 0)
		wrong_type(option, place, value);
	for (i = 0; i < n; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);

		if (option->type == TYPE_OBJECTS)
		{
			if (element->type != jbvBinary ||
				!JsonContainerIsObject(element->val.binary.data))
				wrong_element(option, place, "an object");
		}
		else if (element->type != jbvString)
			wrong_element(option, place, "a string");
		else if (option->type == TYPE_SQLSTATES && !is_sqlstate(element))
			wrong_value(option, place, element, NULL);
		pfree(element);
	}
}

/* The canonical form of a command is one string. */
static void
check_command(const Option *option, const WfPlace *place, JsonbValue *value)
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
	set_string(value, text.data, text.len);
}

/* The canonical form of `after` is an array of {"step", "on"} objects. */
static void
check_after(const Option *option, const WfPlace *place, JsonbValue *value)
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
check_constraint(const Option *option, const WfPlace *place,
				 JsonbValue *element, JsonbParseState **state)
{
	static const char expected[] =
	"a step's name or an object with \"step\" and \"on\"";
	JsonbContainer *object = element->val.binary.data;
	JsonbValue	key;
	JsonbValue	step = *element;
	JsonbValue	on;
	JsonbValue	found;

	set_string(&on, "success", strlen("success"));
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
	set_string(&key, "on", 2);
	pushJsonbValue(state, WJB_KEY, &key);
	pushJsonbValue(state, WJB_VALUE, &on);
	set_string(&key, "step", 4);
	pushJsonbValue(state, WJB_KEY, &key);
	pushJsonbValue(state, WJB_VALUE, &step);
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* Refuse an option that would have an effect which is still missing. */
static void
check_supported(const Option *option, const WfPlace *place,
				const JsonbValue *value, const JsonbValue *fallback)
{
	if (option->supported || same_value(value, fallback))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("option \"%s\" of %s is not supported yet",
					option->name, wf_place_text(place)),
			 errdetail("Only its default value, %s, is accepted.",
					   option->fallback)));
}

/* True if a value equals a default; arrays and objects in those are empty. */
static bool
same_value(const JsonbValue *value, const JsonbValue *fallback)
{
	Datum		equal;

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
		case jbvObject:
		case jbvArray:
			return JsonContainerSize(value->val.binary.data) == 0;
		default:
			return value->type == fallback->type;
	}
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

static void
set_string(JsonbValue *value, const char *string, int len)
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

/* True if a string value is this string. */
bool
wf_value_is(const JsonbValue *value, const char *string)
{
	int			len = value->val.string.len;

	Assert(value->type == jbvString);
	return strncmp(value->val.string.val, string, len) == 0 &&
		string[len] == '\0';
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
static char *
join_names(const char *const *names)
{
	StringInfoData text;
	int			i;

	initStringInfo(&text);
	for (i = 0; names[i]; i++)
		appendStringInfo(&text, "%s\"%s\"", i > 0 ? ", " : "", names[i]);
	return text.data;
}

static char *
option_names(const OptionTable *table)
{
	const char **names = palloc0((table->noptions + 1) * sizeof(char *));
	int			i;

	for (i = 0; i < table->noptions; i++)
		names[i] = table->options[i].name;
	return join_names(names);
}

static void
wrong_type(const Option *option, const WfPlace *place, JsonbValue *value)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"%s\" of %s must be %s", option->name,
					wf_place_text(place), type_texts[option->type]),
			 value->type == jbvNumeric && option->type == TYPE_INT ?
			 errdetail("The value is %s.",
					   numeric_normalize(value->val.numeric)) :
			 errdetail("The value has JSON type %s.", JsonbTypeName(value))));
}

static void
wrong_element(const Option *option, const WfPlace *place,
			  const char *expected)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("each element of option \"%s\" of %s must be %s",
					option->name, wf_place_text(place), expected)));
}

/* `allowed` is NULL if the values that are allowed cannot be listed. */
static void
wrong_value(const Option *option, const WfPlace *place,
			const JsonbValue *value, const char *const *allowed)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\" of %s: \"%s\"",
					option->name, wf_place_text(place),
					wf_value_string(value)),
			 allowed ? errhint("The allowed values are %s.",
							   join_names(allowed)) : 0,
			 option->type == TYPE_INTERVAL ?
			 errhint("Write an interval such as \"90 seconds\" or \"2 hours\".") : 0,
			 option->type == TYPE_SQLSTATES ?
			 errhint("Write a SQLSTATE such as \"40001\" or a class of them such as \"40\".") : 0));
}

static void
below_minimum(const Option *option, const WfPlace *place)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"%s\" of %s must be at least %d",
					option->name, wf_place_text(place), option->min)));
}
