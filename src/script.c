/*-------------------------------------------------------------------------
 *
 * script.c
 *	  A package as a psql script of the calls that define it.
 *
 * The script is made of the canonical values of the options, so it does not
 * depend on how the document was written, and is the same for packages that
 * are the same: made for version control.  Only options that do not have
 * their defaults are in it, in the order of the option tables; connections
 * and steps have the order of the document.
 *
 * Constraints are arguments of add_step() where the steps waited for are
 * there by then, and in an order that the arguments can express; otherwise
 * calls of add_precedence() follow after all steps.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/numeric.h"

#include "arguments.h"
#include "definition.h"
#include "document.h"

PG_FUNCTION_INFO_V1(wf_package_script);

/* A script in the making. */
typedef struct Script
{
	WfDocument	document;
	StringInfoData text;
	StringInfoData constraints; /* calls that follow after all steps */
	HTAB	   *added;			/* names of the steps so far */
} Script;

static void write_package(Script *script);
static void write_connections(Script *script);
static void write_steps(Script *script);
static void write_step(Script *script, JsonbValue *values);
static void begin_call(StringInfo text, const char *function,
					   const char *package);
static void write_options(StringInfo text, WfLevel level, int except,
						  const JsonbValue *values);
static bool has_own_place(WfLevel level, int option, int except);
static void write_value(StringInfo text, const JsonbValue *value);
static void write_texts(StringInfo text, const JsonbValue *array);
static void write_literal(StringInfo text, const char *string);
static bool can_be_arguments(const Script *script, const JsonbValue *after);
static void write_after(StringInfo text, const JsonbValue *after);
static void write_precedences(Script *script, const char *step,
							  const JsonbValue *after);
static int	outcome_order(const JsonbValue *on);

/* The arguments of add_step() for constraints, in the order of outcomes. */
static const char *const after_arguments[] = {
	"after", "after_failure", "after_completion"
};

/*
 * workflow.package_script(package text, version integer) returns text
 *		A null version is the current one.
 */
Datum
wf_package_script(PG_FUNCTION_ARGS)
{
	WfPackageRow package;
	Script		script;
	HASHCTL		control = {.keysize = NAMEDATALEN,.entrysize = NAMEDATALEN};

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	wf_definition_find(text_to_cstring(PG_GETARG_TEXT_PP(0)), &package);
	wf_document_open(&script.document,
					 wf_definition_read(&package, PG_ARGISNULL(1) ?
										package.version :
										PG_GETARG_INT32(1)));
	initStringInfo(&script.text);
	initStringInfo(&script.constraints);
	control.hcxt = CurrentMemoryContext;
	script.added = hash_create("workflow script", 64, &control,
							   HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);

	appendStringInfoString(&script.text,
						   "\\set ON_ERROR_STOP on\nBEGIN;\n");
	write_package(&script);
	write_connections(&script);
	write_steps(&script);
	appendStringInfo(&script.text, "%sCOMMIT;\n", script.constraints.data);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(script.text.data,
											  script.text.len));
}

static void
write_package(Script *script)
{
	begin_call(&script->text, "create_package", script->document.name);
	appendStringInfoString(&script->text, ", or_replace => true");
	write_options(&script->text, WF_LEVEL_PACKAGE, WF_PACKAGE_NAME,
				  script->document.values);
	appendStringInfoString(&script->text, ");\n");
}

static void
write_connections(Script *script)
{
	JsonbValue	values[WF_MAX_OPTIONS];
	WfPlace		place;
	int32		i;

	for (i = 0; i < script->document.nconnections; i++)
	{
		wf_document_connection(&script->document, i, &place, values);
		begin_call(&script->text, "add_connection", script->document.name);
		appendStringInfoString(&script->text, ", ");
		write_literal(&script->text, place.name);
		write_options(&script->text, WF_LEVEL_CONNECTION, WF_CONNECTION_NAME,
					  values);
		appendStringInfoString(&script->text, ");\n");
	}
}

static void
write_steps(Script *script)
{
	JsonbValue	values[WF_MAX_OPTIONS];
	WfPlace		place;
	int32		i;

	for (i = 0; i < script->document.nsteps; i++)
	{
		CHECK_FOR_INTERRUPTS();
		wf_document_step(&script->document, i, &place, values);
		write_step(script, values);
		(void) hash_search(script->added, place.name, HASH_ENTER, NULL);
	}
}

static void
write_step(Script *script, JsonbValue *values)
{
	const JsonbValue *after = &values[WF_STEP_AFTER];
	char	   *name = wf_value_string(&values[WF_STEP_NAME]);

	begin_call(&script->text, "add_step", script->document.name);
	appendStringInfoString(&script->text, ", ");
	write_literal(&script->text, name);
	if (values[WF_STEP_COMMAND].type != jbvNull)
	{
		appendStringInfoString(&script->text, ", ");
		write_value(&script->text, &values[WF_STEP_COMMAND]);
	}
	write_options(&script->text, WF_LEVEL_STEP, WF_STEP_COMMAND, values);
	if (can_be_arguments(script, after))
		write_after(&script->text, after);
	else
		write_precedences(script, name, after);
	appendStringInfoString(&script->text, ");\n");
}

static void
begin_call(StringInfo text, const char *function, const char *package)
{
	appendStringInfo(text, "SELECT %s.%s(", WF_SCHEMA, function);
	write_literal(text, package);
}

/* The options that do not have their defaults, as named arguments. */
static void
write_options(StringInfo text, WfLevel level, int except,
			  const JsonbValue *values)
{
	int			i;

	for (i = 0; i < wf_options_count(level); i++)
	{
		if (has_own_place(level, i, except) ||
			wf_option_is_default(level, i, &values[i]))
			continue;
		appendStringInfo(text, ",\n    %s => ", wf_option_name(level, i));
		write_value(text, &values[i]);
	}
}

/* True for what is no named argument of the script's calls: names (which are
 * the first of all options), constraints, connections and steps. */
static bool
has_own_place(WfLevel level, int option, int except)
{
	WfOptionType type = wf_option_type(level, option);

	return option == 0 || option == except || type == WF_TYPE_AFTER ||
		type == WF_TYPE_OBJECTS;
}

/* A value as an SQL expression that is the argument. */
static void
write_value(StringInfo text, const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvBool:
			appendStringInfoString(text, value->val.boolean ? "true" : "false");
			break;
		case jbvNumeric:
			appendStringInfoString(text,
								   numeric_normalize(value->val.numeric));
			break;
		case jbvString:
			write_literal(text, wf_value_string(value));
			break;
		case jbvBinary:
			if (JsonContainerIsArray(value->val.binary.data))
				write_texts(text, value);
			else
				write_literal(text,
							  JsonbToCString(NULL, value->val.binary.data,
											 value->val.binary.len));
			break;
		case jbvObject:
			write_literal(text, "{}");
			break;
		default:
			elog(ERROR, "option has unexpected type %d", (int) value->type);
	}
}

static void
write_texts(StringInfo text, const JsonbValue *array)
{
	int			n = wf_value_size(array);
	int			i;

	appendStringInfoString(text, "ARRAY[");
	for (i = 0; i < n; i++)
	{
		JsonbValue *element =
		getIthJsonbValueFromContainer(array->val.binary.data, i);

		appendStringInfoString(text, i > 0 ? ", " : "");
		write_literal(text, wf_value_string(element));
	}
	appendStringInfoString(text, "]");
}

/*
 * write_literal
 *		A short string as it is usually quoted, one with line breaks or with
 *		quotes in it between dollar signs, with a tag that does not occur in
 *		it.
 */
static void
write_literal(StringInfo text, const char *string)
{
	char		tag[32] = "$$";
	int			i;

	if (strpbrk(string, "\n'\\") == NULL)
	{
		appendStringInfoString(text, quote_literal_cstr(string));
		return;
	}
	if (strchr(string, '$') != NULL)
	{
		/* without the dollar sign at its end, which may be that of a text */
		strlcpy(tag, "$text", sizeof(tag));
		for (i = 1; strstr(string, tag) != NULL; i++)
			snprintf(tag, sizeof(tag), "$text%d", i);
		strlcat(tag, "$", sizeof(tag));
	}
	appendStringInfo(text, "%s%s%s", tag, string, tag);
}

/* True if the arguments of add_step() can stand for the constraints. */
static bool
can_be_arguments(const Script *script, const JsonbValue *after)
{
	int			before = 0;
	int			i;

	for (i = 0; i < wf_value_size(after); i++)
	{
		JsonbPair  *pairs = after->val.array.elems[i].val.object.pairs;
		int			order = outcome_order(&pairs[0].value);
		bool		found;

		(void) hash_search(script->added, wf_value_string(&pairs[1].value),
						   HASH_FIND, &found);
		if (!found || order < before)
			return false;
		before = order;
	}
	return true;
}

/* The constraints as arguments, one for each outcome. */
static void
write_after(StringInfo text, const JsonbValue *after)
{
	int			last = -1;
	int			i;

	for (i = 0; i < wf_value_size(after); i++)
	{
		JsonbPair  *pairs = after->val.array.elems[i].val.object.pairs;
		int			order = outcome_order(&pairs[0].value);

		if (order == last)
			appendStringInfoString(text, ", ");
		else
			appendStringInfo(text, "%s,\n    %s => ARRAY[",
							 last >= 0 ? "]" : "", after_arguments[order]);
		last = order;
		write_literal(text, wf_value_string(&pairs[1].value));
	}
	if (last >= 0)
		appendStringInfoString(text, "]");
}

/* The constraints as calls, for the end of the script. */
static void
write_precedences(Script *script, const char *step, const JsonbValue *after)
{
	int			i;

	for (i = 0; i < wf_value_size(after); i++)
	{
		JsonbPair  *pairs = after->val.array.elems[i].val.object.pairs;

		begin_call(&script->constraints, "add_precedence",
				   script->document.name);
		appendStringInfoString(&script->constraints, ", ");
		write_literal(&script->constraints, wf_value_string(&pairs[1].value));
		appendStringInfoString(&script->constraints, ", ");
		write_literal(&script->constraints, step);
		appendStringInfoString(&script->constraints, ", ");
		write_literal(&script->constraints, wf_value_string(&pairs[0].value));
		appendStringInfoString(&script->constraints, ");\n");
	}
}

/* Index of an outcome in after_arguments. */
static int
outcome_order(const JsonbValue *on)
{
	return wf_value_is(on, "success") ? 0 : wf_value_is(on, "failure") ? 1 : 2;
}
