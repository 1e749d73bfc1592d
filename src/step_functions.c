/*-------------------------------------------------------------------------
 *
 * step_functions.c
 *	  SQL-callable functions for steps: what a step sees of its run, and what
 *	  it tells about itself.
 *
 * They answer for the step in progress in this process (wf_session_step) and
 * give null in any other session.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

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

static void to_json_value(Oid type, Datum datum, JsonbValue *value);

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
	result = wf_variables_value_text(&value);
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
	if (getKeyJsonValueFromContainer(&call->plan->variables->root, name,
									 strlen(name), &value) == NULL)
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
