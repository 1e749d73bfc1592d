/*-------------------------------------------------------------------------
 *
 * variables.c
 *	  The variables of a run.
 *
 * Variables are one jsonb object.  A run starts from the defaults that its
 * package declares, with the values given to start_job() (or by the parent
 * run, R62) over them; history keeps only the given ones, and those that
 * steps have set.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "variables.h"

static bool has_key(Jsonb *object, const char *key, int length);
static char *expression(const JsonbValue *value, Jsonb *variables);
static void append_columns(StringInfo query, Jsonb *variables);

/* The defaults with the given values over them. */
Jsonb *
wf_variables_merge(Jsonb *defaults, Jsonb *given)
{
	if (given == NULL)
		return defaults;
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat,
											  JsonbPGetDatum(defaults),
											  JsonbPGetDatum(given)));
}

static bool
has_key(Jsonb *object, const char *key, int length)
{
	JsonbValue	value;

	return getKeyJsonValueFromContainer(&object->root, key, length,
										&value) != NULL;
}

/* The first key that the plan does not declare. */
char *
wf_variables_undeclared(const WfPlan *plan, Jsonb *given)
{
	JsonbIterator *iterator = JsonbIteratorInit(&given->root);
	JsonbIteratorToken token;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY &&
			!has_key(plan->variables, value.val.string.val,
					 value.val.string.len))
			return pnstrdup(value.val.string.val, value.val.string.len);
	}
	return NULL;
}

/* Check what start_job() was given. */
Jsonb *
wf_variables_check(const WfPlan *plan, Jsonb *given)
{
	char	   *undeclared;

	if (!JB_ROOT_IS_OBJECT(given))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("variables for package \"%s\" must be a JSON object",
						plan->name)));
	if (JB_ROOT_COUNT(given) == 0)
		return NULL;
	undeclared = wf_variables_undeclared(plan, given);
	if (undeclared != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("package \"%s\" does not declare variable \"%s\"",
						plan->name, undeclared),
				 errhint("Declare it in the package's option \"variables\".")));
	return given;
}

/* See variables.h. */
const char *
wf_variables_missing(const WfPlan *plan, Jsonb *given)
{
	int			i;

	for (i = 0; i < plan->nrequired; i++)
	{
		JsonbValue	value;

		if (given == NULL ||
			getKeyJsonValueFromContainer(&given->root, plan->required[i],
										 strlen(plan->required[i]),
										 &value) == NULL ||
			value.type == jbvNull)
			return plan->required[i];
	}
	return NULL;
}

/* Check that what the package requires was given. */
void
wf_variables_check_required(const WfPlan *plan, Jsonb *given)
{
	const char *missing = wf_variables_missing(plan, given);

	if (missing != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("package \"%s\" requires variable \"%s\"",
						plan->name, missing)));
}

/* Those variables that a child declares. */
Jsonb *
wf_variables_for_child(const WfPlan *child, Jsonb *variables)
{
	JsonbParseState *state = NULL;
	JsonbIterator *iterator = JsonbIteratorInit(&child->variables->root);
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue *result;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	while ((token = JsonbIteratorNext(&iterator, &key, true)) != WJB_DONE)
	{
		JsonbValue	value;

		if (token != WJB_KEY ||
			getKeyJsonValueFromContainer(&variables->root,
										 key.val.string.val,
										 key.val.string.len, &value) == NULL)
			continue;
		pushJsonbValue(&state, WJB_KEY, &key);
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	result = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return result->val.object.nPairs == 0 ? NULL : JsonbValueToJsonb(result);
}

/* See variables.h. */
char *
wf_variables_query(const WfPlanStep *step, Jsonb *variables)
{
	StringInfoData query;
	JsonbIterator *iterator = JsonbIteratorInit(&step->variables->root);
	JsonbIteratorToken token;
	JsonbValue	key;
	const char *separator = "";

	initStringInfo(&query);
	appendStringInfoString(&query, "SELECT pg_catalog.to_jsonb(r) FROM (SELECT ");
	while ((token = JsonbIteratorNext(&iterator, &key, true)) != WJB_DONE)
	{
		JsonbValue	value;
		char	   *name;

		if (token != WJB_KEY)
			continue;
		name = pnstrdup(key.val.string.val, key.val.string.len);
		(void) JsonbIteratorNext(&iterator, &value, true);
		appendStringInfo(&query, "%s%s AS %s", separator,
						 expression(&value, variables),
						 quote_identifier(name));
		separator = ", ";
	}
	appendStringInfoString(&query, " FROM (SELECT ");
	append_columns(&query, variables);
	appendStringInfoString(&query, ") AS variables) AS r");
	return query.data;
}

/* An expression as it goes into the query. */
static char *
expression(const JsonbValue *value, Jsonb *variables)
{
	char	   *text;
	JsonbValue	found;
	StringInfoData json;

	if (value->type != jbvString)
		return "NULL::pg_catalog.jsonb";
	text = pnstrdup(value->val.string.val, value->val.string.len);
	if (getKeyJsonValueFromContainer(&variables->root, text, strlen(text),
									 &found) == NULL)
		return psprintf("(%s\n)", text);
	initStringInfo(&json);
	(void) JsonbToCString(&json, &JsonbValueToJsonb(&found)->root, -1);
	return psprintf("%s::pg_catalog.jsonb", quote_literal_cstr(json.data));
}

/* The variables as columns of type text. */
static void
append_columns(StringInfo query, Jsonb *variables)
{
	JsonbIterator *iterator = JsonbIteratorInit(&variables->root);
	JsonbIteratorToken token;
	JsonbValue	key;
	const char *separator = "";

	while ((token = JsonbIteratorNext(&iterator, &key, true)) != WJB_DONE)
	{
		JsonbValue	value;
		char	   *name;
		char	   *text;

		if (token != WJB_KEY)
			continue;
		name = pnstrdup(key.val.string.val, key.val.string.len);
		(void) JsonbIteratorNext(&iterator, &value, true);
		text = wf_variables_value_text(&value);
		appendStringInfo(query, "%s%s::pg_catalog.text AS %s", separator,
						 text == NULL ? "NULL" : quote_literal_cstr(text),
						 quote_identifier(name));
		separator = ", ";
	}
}

/* A value as workflow.variable() gives it; NULL for JSON null. */
char *
wf_variables_value_text(const JsonbValue *value)
{
	StringInfoData text;

	if (value->type == jbvNull)
		return NULL;
	if (value->type == jbvString)
		return pnstrdup(value->val.string.val, value->val.string.len);
	initStringInfo(&text);
	(void) JsonbToCString(&text,
						  &JsonbValueToJsonb(unconstify(JsonbValue *,
														value))->root, -1);
	return text.data;
}
