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

#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "option_value.h"

/* The options of one level, and what is made of the table at first use. */
typedef struct OptionTable
{
	const char *what;
	int			noptions;
	const WfOption *options;
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

static const WfOption package_options[WF_PACKAGE_NOPTIONS] = {
	[WF_PACKAGE_NAME] = {"name", WF_TYPE_TEXT, "null", YES},
	[WF_PACKAGE_DESCRIPTION] = {"description", WF_TYPE_TEXT, "null", YES},
	[WF_PACKAGE_USE_TRANSACTIONS] =
	{"use_transactions", WF_TYPE_BOOL, "true", YES},
	[WF_PACKAGE_COMMIT_ON_COMPLETION] =
	{"commit_on_completion", WF_TYPE_BOOL, "true", YES},
	[WF_PACKAGE_FAIL_ON_FIRST_ERROR] =
	{"fail_on_first_error", WF_TYPE_BOOL, "true", YES},
	[WF_PACKAGE_ISOLATION_LEVEL] =
	{"isolation_level", WF_TYPE_ENUM, "\"read committed\"", YES, 0,
	isolation_levels},
	[WF_PACKAGE_MAX_CONCURRENT_STEPS] =
	{"max_concurrent_steps", WF_TYPE_INT, "4", YES, 1},
	[WF_PACKAGE_MAX_CONCURRENT_RUNS] =
	{"max_concurrent_runs", WF_TYPE_INT, "null", YES, 1},
	[WF_PACKAGE_ON_OVERLAP] =
	{"on_overlap", WF_TYPE_ENUM, "\"queue\"", YES, 0, overlap_answers},
	[WF_PACKAGE_PRIORITY] = {"priority", WF_TYPE_INT, "0", YES, ANY_INT},
	[WF_PACKAGE_TIMEOUT] = {"timeout", WF_TYPE_INTERVAL, "null", YES, 1},
	[WF_PACKAGE_ON_INTERRUPTION] =
	{"on_interruption", WF_TYPE_ENUM, "\"resume\"", YES, 0,
	interruption_answers},
	[WF_PACKAGE_VARIABLES] = {"variables", WF_TYPE_OBJECT, "{}", YES},
	[WF_PACKAGE_REQUIRED_VARIABLES] =
	{"required_variables", WF_TYPE_TEXTS, "[]", YES},
	[WF_PACKAGE_ENABLED] = {"enabled", WF_TYPE_BOOL, "true", YES},
	[WF_PACKAGE_MAX_ATTEMPTS] = {"max_attempts", WF_TYPE_INT, "1", YES, 1},
	[WF_PACKAGE_RETRY_DELAY] = {"retry_delay", WF_TYPE_INTERVAL, "\"1s\"", YES},
	[WF_PACKAGE_RETRY_ON] = {"retry_on", WF_TYPE_SQLSTATES, "null", YES},
	[WF_PACKAGE_SETTINGS] = {"settings", WF_TYPE_SETTINGS, "{}", YES},
	[WF_PACKAGE_HISTORY_RETENTION] =
	{"history_retention", WF_TYPE_INTERVAL, "null", YES},
	[WF_PACKAGE_CONNECTIONS] = {"connections", WF_TYPE_OBJECTS, "[]", YES},
	[WF_PACKAGE_STEPS] = {"steps", WF_TYPE_OBJECTS, "[]", YES}
};

static const WfOption connection_options[WF_CONNECTION_NOPTIONS] = {
	[WF_CONNECTION_NAME] = {"name", WF_TYPE_TEXT, "null", YES},
	[WF_CONNECTION_SERVER] = {"server", WF_TYPE_TEXT, "null", LATER},
	[WF_CONNECTION_TRANSACTIONAL] = {"transactional", WF_TYPE_BOOL, "true", YES}
};

static const WfOption step_options[WF_STEP_NOPTIONS] = {
	[WF_STEP_NAME] = {"name", WF_TYPE_TEXT, "null", YES},
	[WF_STEP_KIND] = {"kind", WF_TYPE_ENUM, "\"sql\"", YES, 0, step_kinds},
	[WF_STEP_COMMAND] = {"command", WF_TYPE_COMMAND, "null", YES},
	[WF_STEP_CONNECTION] = {"connection", WF_TYPE_TEXT, "null", YES},
	[WF_STEP_SERVERS] = {"servers", WF_TYPE_TEXTS, "[]", LATER},
	[WF_STEP_BALANCE] =
	{"balance", WF_TYPE_ENUM, "\"first\"", LATER, 0, balances},
	[WF_STEP_JOIN_TRANSACTION] =
	{"join_transaction", WF_TYPE_BOOL, "false", YES},
	[WF_STEP_COMMIT_ON_SUCCESS] =
	{"commit_on_success", WF_TYPE_BOOL, "false", YES},
	[WF_STEP_ROLLBACK_ON_FAILURE] =
	{"rollback_on_failure", WF_TYPE_BOOL, "false", YES},
	[WF_STEP_FAIL_PACKAGE_ON_ERROR] =
	{"fail_package_on_error", WF_TYPE_BOOL, "false", YES},
	[WF_STEP_MAIN_THREAD] = {"main_thread", WF_TYPE_BOOL, "false", YES},
	[WF_STEP_DISABLED] = {"disabled", WF_TYPE_BOOL, "false", YES},
	[WF_STEP_CONDITION] = {"condition", WF_TYPE_TEXT, "null", YES},
	[WF_STEP_CONDITION_INTERVAL] =
	{"condition_interval", WF_TYPE_INTERVAL, "\"1s\"", YES, 1},
	[WF_STEP_AFTER] = {"after", WF_TYPE_AFTER, "[]", YES},
	[WF_STEP_PRECEDENCE] =
	{"precedence", WF_TYPE_ENUM, "\"all\"", YES, 0, precedences},
	[WF_STEP_FINALLY] = {"finally", WF_TYPE_ENUM, "null", YES, 0, outcomes},
	[WF_STEP_ATOMIC] = {"atomic", WF_TYPE_BOOL, "true", YES},
	[WF_STEP_MAX_ATTEMPTS] = {"max_attempts", WF_TYPE_INT, "1", YES, 1},
	[WF_STEP_RETRY_DELAY] = {"retry_delay", WF_TYPE_INTERVAL, "\"1s\"", YES},
	[WF_STEP_RETRY_BACKOFF] = {"retry_backoff", WF_TYPE_NUMBER, "2.0", YES, 1},
	[WF_STEP_RETRY_ON] = {"retry_on", WF_TYPE_SQLSTATES, "null", YES},
	[WF_STEP_TIMEOUT] = {"timeout", WF_TYPE_INTERVAL, "null", YES, 1},
	[WF_STEP_LOCK_TIMEOUT] = {"lock_timeout", WF_TYPE_INTERVAL, "null", YES, 1},
	[WF_STEP_RESTARTABLE] = {"restartable", WF_TYPE_BOOL, "false", YES},
	[WF_STEP_SETTINGS] = {"settings", WF_TYPE_SETTINGS, "{}", YES},
	[WF_STEP_WAIT] = {"wait", WF_TYPE_BOOL, "false", LATER},
	[WF_STEP_VARIABLES] = {"variables", WF_TYPE_EXPRESSIONS, "null", YES},
	[WF_STEP_RESULT_VARIABLE] = {"result_variable", WF_TYPE_TEXT, "null", YES},
	[WF_STEP_PRIORITY] = {"priority", WF_TYPE_INT, "0", YES, ANY_INT},
	[WF_STEP_DESCRIPTION] = {"description", WF_TYPE_TEXT, "null", YES}
};

static OptionTable tables[] = {
	[WF_LEVEL_PACKAGE] = {"package", WF_PACKAGE_NOPTIONS, package_options},
	[WF_LEVEL_CONNECTION] = {"connection", WF_CONNECTION_NOPTIONS,
	connection_options},
	[WF_LEVEL_STEP] = {"step", WF_STEP_NOPTIONS, step_options}
};

static const JsonbValue *table_fallbacks(OptionTable *table);
static void make_fallback(const WfOption *option, JsonbValue *value);
static int	find_option(const OptionTable *table, const JsonbValue *key);
static void check_supported(const WfOption *option, const WfPlace *place,
							const JsonbValue *value,
							const JsonbValue *fallback);

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

/* Type of an option. */
WfOptionType
wf_option_type(WfLevel level, int option)
{
	Assert(option >= 0 && option < tables[level].noptions);
	return tables[level].options[option].type;
}

/* Index of the option with this name, or -1. */
int
wf_option_find(WfLevel level, const char *name)
{
	JsonbValue	key;

	wf_option_set_string(&key, name, strlen(name));
	return find_option(&tables[level], &key);
}

/* The names of a level's options, for a hint. */
char *
wf_option_names(WfLevel level)
{
	const OptionTable *table = &tables[level];
	const char **names = palloc0((table->noptions + 1) * sizeof(char *));
	int			i;

	for (i = 0; i < table->noptions; i++)
		names[i] = table->options[i].name;
	return wf_option_join_names(names);
}

/* True if a value, in canonical form, is the default. */
bool
wf_option_is_default(WfLevel level, int option, const JsonbValue *value)
{
	return wf_option_same_value(value,
								&table_fallbacks(&tables[level])[option]);
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
							 table->what, wf_option_names(place->level))));
		if (value.type == jbvNull)
			continue;
		wf_option_check_value(&table->options[option], place, &value);
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

/* The default of an option, in the canonical form of its type. */
static void
make_fallback(const WfOption *option, JsonbValue *value)
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
		wf_option_set_string(value, text + 1, strlen(text) - 2);
	else if (option->type == WF_TYPE_BOOL)
	{
		value->type = jbvBool;
		value->val.boolean = (text[0] == 't');
	}
	else
	{
		value->type = jbvNumeric;
		value->val.numeric = wf_option_parse_numeric(text);
	}
	wf_option_check_value(option, &nowhere, value);
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

/* Refuse an option that would have an effect which is still missing. */
static void
check_supported(const WfOption *option, const WfPlace *place,
				const JsonbValue *value, const JsonbValue *fallback)
{
	if (option->supported || wf_option_same_value(value, fallback))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("option \"%s\" of %s is not supported yet",
					option->name, wf_place_text(place)),
			 errdetail("Only its default value, %s, is accepted.",
					   option->fallback)));
}
