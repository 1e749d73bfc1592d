/*-------------------------------------------------------------------------
 *
 * variables.c
 *	  The variables of a run, and what a step sees of its run.
 *
 * Variables are one jsonb object.  A run starts from the defaults that its
 * package declares, with the values given to start_job() (or by the parent
 * run, R62) over them; history keeps only the given ones.
 *
 * The SQL functions here answer for the step in progress in this process
 * (wf_session_step) and give null in any other session.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"

#include "session.h"
#include "shmem.h"
#include "variables.h"

PG_FUNCTION_INFO_V1(wf_run_id);
PG_FUNCTION_INFO_V1(wf_step_name);
PG_FUNCTION_INFO_V1(wf_variable);
PG_FUNCTION_INFO_V1(wf_variables);
PG_FUNCTION_INFO_V1(wf_set_variable);
PG_FUNCTION_INFO_V1(wf_report_progress);
PG_FUNCTION_INFO_V1(wf_run_status);
PG_FUNCTION_INFO_V1(wf_error_path);
PG_FUNCTION_INFO_V1(wf_error_sqlstate);
PG_FUNCTION_INFO_V1(wf_error_message);

static char *expression(const JsonbValue *value, Jsonb *variables);
static void append_columns(StringInfo query, Jsonb *variables);
static char *value_as_text(const JsonbValue *value);
static void to_json_value(Oid type, Datum datum, JsonbValue *value);
static bool has_key(Jsonb *object, const char *key, int length);

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
		text = value_as_text(&value);
		appendStringInfo(query, "%s%s::pg_catalog.text AS %s", separator,
						 text == NULL ? "NULL" : quote_literal_cstr(text),
						 quote_identifier(name));
		separator = ", ";
	}
}

/* A value as workflow.variable() gives it; NULL for JSON null. */
static char *
value_as_text(const JsonbValue *value)
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

/*
 * workflow.run_id() returns bigint
 *		The run of the step in progress in this session; null outside one.
 */
Datum
wf_run_id(PG_FUNCTION_ARGS)
{
	if (wf_session_step == NULL)
		PG_RETURN_NULL();
	PG_RETURN_INT64(wf_session_step->run_id);
}

/*
 * workflow.step_name() returns text
 *		The step in progress in this session; null outside one.
 */
Datum
wf_step_name(PG_FUNCTION_ARGS)
{
	const WfStepCall *call = wf_session_step;

	if (call == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(call->plan->steps[call->step].name));
}

/*
 * workflow.variable(name text) returns text
 *		The value of a variable of the run: a string as it is, JSON null as
 *		null, anything else as JSON text.  Null outside a step.  ERROR 22023
 *		if the package does not declare it.
 */
Datum
wf_variable(PG_FUNCTION_ARGS)
{
	text	   *name = PG_GETARG_TEXT_PP(0);
	const WfStepCall *call = wf_session_step;
	Jsonb	   *variables;
	JsonbValue	value;
	char	   *result;

	if (call == NULL)
		PG_RETURN_NULL();
	variables = wf_session_variables();
	if (getKeyJsonValueFromContainer(&variables->root,
									 VARDATA_ANY(name),
									 VARSIZE_ANY_EXHDR(name),
									 &value) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("package \"%s\" does not declare variable \"%s\"",
						call->plan->name, text_to_cstring(name))));
	result = value_as_text(&value);
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(result));
}

/*
 * workflow.variables() returns jsonb
 *		All variables of the run of the step in progress; null outside one.
 */
Datum
wf_variables(PG_FUNCTION_ARGS)
{
	if (wf_session_step == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(wf_session_variables());
}

/*
 * workflow.set_variable(name text, value anyelement) returns void
 *		Set a variable of the run, kept if and only if the step succeeds.
 *		There is a second one for text, which an untyped literal is.
 *
 * Errors: 55000 outside a step, 22023 the package does not declare it.
 */
Datum
wf_set_variable(PG_FUNCTION_ARGS)
{
	const WfStepCall *call = wf_session_step;
	char	   *name;
	JsonbParseState *state = NULL;
	JsonbValue	key;
	JsonbValue	value;

	if (call == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("workflow.set_variable() can only be called in a step")));
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("name of a variable must not be null")));
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (!has_key(call->plan->variables, name, strlen(name)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("package \"%s\" does not declare variable \"%s\"",
						call->plan->name, name)));
	key.type = jbvString;
	key.val.string.val = name;
	key.val.string.len = strlen(name);
	value.type = jbvNull;
	if (!PG_ARGISNULL(1))
		to_json_value(get_fn_expr_argtype(fcinfo->flinfo, 1),
					  PG_GETARG_DATUM(1), &value);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	pushJsonbValue(&state, WJB_KEY, &key);
	pushJsonbValue(&state, WJB_VALUE, &value);
	wf_session_set_variables(JsonbValueToJsonb(pushJsonbValue(&state,
															  WJB_END_OBJECT,
															  NULL)));
	PG_RETURN_VOID();
}

/* What to_jsonb() makes of a value of a type. */
static void
to_json_value(Oid type, Datum datum, JsonbValue *value)
{
	Node	   *argument = (Node *) makeNullConst(type, -1, InvalidOid);
	FmgrInfo	function;
	Jsonb	   *json;

	fmgr_info(F_TO_JSONB, &function);
	fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSONB, JSONBOID,
											 list_make1(argument), InvalidOid,
											 InvalidOid,
											 COERCE_EXPLICIT_CALL),
					   &function);
	json = DatumGetJsonbP(FunctionCall1(&function, datum));
	if (JB_ROOT_IS_SCALAR(json))
		(void) JsonbExtractScalar(&json->root, value);
	else
	{
		value->type = jbvBinary;
		value->val.binary.data = &json->root;
		value->val.binary.len = VARSIZE(json) - VARHDRSZ;
	}
}

/*
 * workflow.report_progress(done bigint, total bigint, message text) returns
 * void
 *		Show in workflow.activity how far the step has come.  Nothing outside
 *		a step.
 */
Datum
wf_report_progress(PG_FUNCTION_ARGS)
{
	char		message[WF_PROGRESS_SIZE] = "";

	if (wf_session_step == NULL || wf_session_report_progress == NULL)
		PG_RETURN_VOID();
	if (!PG_ARGISNULL(2))
	{
		text	   *given = PG_GETARG_TEXT_PP(2);
		int			length = pg_mbcliplen(VARDATA_ANY(given),
										  VARSIZE_ANY_EXHDR(given),
										  WF_PROGRESS_SIZE - 1);

		memcpy(message, VARDATA_ANY(given), length);
	}
	wf_session_report_progress(PG_ARGISNULL(0) ? 0 : PG_GETARG_INT64(0),
							   PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1),
							   message);
	PG_RETURN_VOID();
}

/* workflow.run_status() returns text: in a finally step, how the run ends. */
Datum
wf_run_status(PG_FUNCTION_ARGS)
{
	if (wf_session_step == NULL || wf_session_step->run_status == 0)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(wf_run_status_name(wf_session_step->run_status)));
}

/* workflow.error_path() returns text: in a finally step, where it failed. */
Datum
wf_error_path(PG_FUNCTION_ARGS)
{
	if (wf_session_step == NULL || wf_session_step->error_path == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(wf_session_step->error_path));
}

/* workflow.error_sqlstate() returns text: likewise. */
Datum
wf_error_sqlstate(PG_FUNCTION_ARGS)
{
	if (wf_session_step == NULL || wf_session_step->run_sqlstate == 0)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(unpack_sql_state(wf_session_step->run_sqlstate)));
}

/* workflow.error_message() returns text: likewise. */
Datum
wf_error_message(PG_FUNCTION_ARGS)
{
	if (wf_session_step == NULL || wf_session_step->error_message == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(wf_session_step->error_message));
}
