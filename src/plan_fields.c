/*-------------------------------------------------------------------------
 *
 * plan_fields.c
 *	  The options that become fields of a plan as they are.
 *
 * What plan.c does not need to resolve names and constraints is filled in
 * here, with the checks that such options fit the kind of the step, the
 * variables of the package and each other.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "plan_fields.h"

static char compile_isolation(const JsonbValue *value);
static void fill_required(WfPlan *plan, const JsonbValue *value);
static void fill_retries(const JsonbValue *value, int32 *nretry_on,
						 WfPlanError **retry_on);
static Jsonb *copy_object(const JsonbValue *value);
static bool declares(const WfPlan *plan, const char *variable);
static void check_finally(const WfPlanStep *step, const WfPlace *place,
						  const JsonbValue *values);
static void check_join(const WfPlan *plan, const WfPlanStep *step,
					   const WfPlace *place);
static void check_variables(const WfPlan *plan, const WfPlanStep *step,
							const WfPlace *place);

/* Fill in the fields of the package. */
void
wf_plan_fill_package(WfPlan *plan, const JsonbValue *values)
{
	plan->variables = JsonbValueToJsonb(
		unconstify(JsonbValue *, &values[WF_PACKAGE_VARIABLES]));
	fill_required(plan, &values[WF_PACKAGE_REQUIRED_VARIABLES]);
	plan->settings = copy_object(&values[WF_PACKAGE_SETTINGS]);
	plan->use_transactions =
		wf_value_bool(&values[WF_PACKAGE_USE_TRANSACTIONS]);
	plan->commit_on_completion =
		wf_value_bool(&values[WF_PACKAGE_COMMIT_ON_COMPLETION]);
	plan->isolation =
		compile_isolation(&values[WF_PACKAGE_ISOLATION_LEVEL]);
	plan->enabled = wf_value_bool(&values[WF_PACKAGE_ENABLED]);
	plan->priority = wf_value_int(&values[WF_PACKAGE_PRIORITY]);
	if (values[WF_PACKAGE_MAX_CONCURRENT_RUNS].type != jbvNull)
		plan->max_concurrent_runs =
			wf_value_int(&values[WF_PACKAGE_MAX_CONCURRENT_RUNS]);
	/* the values of these two differ in their first letters */
	plan->on_overlap = values[WF_PACKAGE_ON_OVERLAP].val.string.val[0];
	plan->on_interruption =
		values[WF_PACKAGE_ON_INTERRUPTION].val.string.val[0];
	plan->timeout_ms = wf_value_ms(&values[WF_PACKAGE_TIMEOUT]);
	plan->max_attempts = wf_value_int(&values[WF_PACKAGE_MAX_ATTEMPTS]);
	plan->retry_delay_ms = wf_value_ms(&values[WF_PACKAGE_RETRY_DELAY]);
	fill_retries(&values[WF_PACKAGE_RETRY_ON], &plan->nretry_on,
				 &plan->retry_on);
	plan->history_retention_ms = -1;
	if (values[WF_PACKAGE_HISTORY_RETENTION].type != jbvNull)
		plan->history_retention_ms =
			wf_value_ms(&values[WF_PACKAGE_HISTORY_RETENTION]);
}

static char
compile_isolation(const JsonbValue *value)
{
	if (wf_value_is(value, "serializable"))
		return WF_SERIALIZABLE;
	return wf_value_is(value, "repeatable read") ?
		WF_REPEATABLE_READ : WF_READ_COMMITTED;
}

/* The variables that a start must give are declared ones. */
static void
fill_required(WfPlan *plan, const JsonbValue *value)
{
	int32		i;

	plan->nrequired = wf_value_size(value);
	plan->required = palloc0(mul_size(plan->nrequired, sizeof(char *)));
	for (i = 0; i < plan->nrequired; i++)
	{
		JsonbValue *element =
			getIthJsonbValueFromContainer(value->val.binary.data, i);

		plan->required[i] = wf_value_string(element);
		if (!declares(plan, plan->required[i]))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("required variable \"%s\" of package \"%s\" is not declared",
							plan->required[i], plan->name),
					 errhint("Add it to the option \"variables\" of the package.")));
	}
}

/* The SQLSTATEs and classes in an option retry_on; none for null. */
static void
fill_retries(const JsonbValue *value, int32 *nretry_on,
			 WfPlanError **retry_on)
{
	int			i;

	*nretry_on = wf_value_size(value);
	*retry_on = *nretry_on == 0 ? NULL :
		palloc0(mul_size(*nretry_on, sizeof(WfPlanError)));
	for (i = 0; i < *nretry_on; i++)
	{
		JsonbValue *element =
			getIthJsonbValueFromContainer(value->val.binary.data, i);
		const char *code = element->val.string.val;
		WfPlanError *error = &(*retry_on)[i];

		error->is_class = (element->val.string.len == 2);
		error->sqlstate = error->is_class ?
			MAKE_SQLSTATE(code[0], code[1], '0', '0', '0') :
			MAKE_SQLSTATE(code[0], code[1], code[2], code[3], code[4]);
	}
}

/* An object as a Jsonb of its own; NULL for null and for an empty one. */
static Jsonb *
copy_object(const JsonbValue *value)
{
	if (wf_value_size(value) == 0)
		return NULL;
	return JsonbValueToJsonb(unconstify(JsonbValue *, value));
}

/* True if the package declares the variable. */
static bool
declares(const WfPlan *plan, const char *variable)
{
	JsonbValue	value;

	return getKeyJsonValueFromContainer(&plan->variables->root, variable,
										strlen(variable), &value) != NULL;
}

/* Fill in the fields of a step. */
void
wf_plan_fill_step(const WfPlan *plan, WfPlanStep *step, const WfPlace *place,
				  const JsonbValue *values, MemoryContext plan_context)
{
	MemoryContext old;

	step->max_attempts = wf_value_int(&values[WF_STEP_MAX_ATTEMPTS]);
	step->retry_delay_ms = wf_value_ms(&values[WF_STEP_RETRY_DELAY]);
	step->retry_backoff = wf_value_double(&values[WF_STEP_RETRY_BACKOFF]);
	step->condition_interval_ms =
		wf_value_ms(&values[WF_STEP_CONDITION_INTERVAL]);
	step->timeout_ms = wf_value_ms(&values[WF_STEP_TIMEOUT]);
	step->lock_timeout_ms = wf_value_ms(&values[WF_STEP_LOCK_TIMEOUT]);
	step->main_thread = wf_value_bool(&values[WF_STEP_MAIN_THREAD]);
	step->fail_package_on_error =
		wf_value_bool(&values[WF_STEP_FAIL_PACKAGE_ON_ERROR]);
	step->joins = plan->use_transactions &&
		wf_value_bool(&values[WF_STEP_JOIN_TRANSACTION]);
	step->commit_on_success = plan->use_transactions &&
		wf_value_bool(&values[WF_STEP_COMMIT_ON_SUCCESS]);
	step->rollback_on_failure = plan->use_transactions &&
		wf_value_bool(&values[WF_STEP_ROLLBACK_ON_FAILURE]);
	step->atomic = wf_value_bool(&values[WF_STEP_ATOMIC]);
	step->restartable = wf_value_bool(&values[WF_STEP_RESTARTABLE]);
	if (values[WF_STEP_FINALLY].type != jbvNull)
		step->finally = values[WF_STEP_FINALLY].val.string.val[0];

	old = MemoryContextSwitchTo(plan_context);
	fill_retries(&values[WF_STEP_RETRY_ON], &step->nretry_on,
				 &step->retry_on);
	step->condition = wf_value_string(&values[WF_STEP_CONDITION]);
	step->has_condition = (step->condition != NULL);
	step->result_variable =
		wf_value_string(&values[WF_STEP_RESULT_VARIABLE]);
	step->settings = copy_object(&values[WF_STEP_SETTINGS]);
	if (values[WF_STEP_VARIABLES].type != jbvNull)
		step->variables = JsonbValueToJsonb(
			unconstify(JsonbValue *, &values[WF_STEP_VARIABLES]));
	MemoryContextSwitchTo(old);

	check_finally(step, place, values);
	check_join(plan, step, place);
	check_variables(plan, step, place);
}

/* A finally step is outside of the graph and of the package transaction. */
static void
check_finally(const WfPlanStep *step, const WfPlace *place,
			  const JsonbValue *values)
{
	if (step->finally == 0)
		return;
	if (wf_value_size(&values[WF_STEP_AFTER]) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("%s must not have the option \"after\"",
						wf_place_text(place)),
				 errdetail("A finally step starts when the result of the run is fixed.")));
	if (step->joins)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("%s must not join the transaction",
						wf_place_text(place)),
				 errdetail("A finally step starts when the transaction has ended.")));
}

/*
 * check_join
 *		ERROR if a step that joins the package transaction never can (R8, P5).
 *		Where the package does not use transactions no step joins, whatever is
 *		asked for (R4), so there is nothing to refuse.
 */
static void
check_join(const WfPlan *plan, const WfPlanStep *step, const WfPlace *place)
{
	if (!step->joins)
		return;
	if (step->kind == WF_KIND_NONE || step->kind == WF_KIND_JOB)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s cannot join the package transaction",
						wf_place_text(place)),
				 errdetail("A step of kind \"%s\" has no work of its own that could be part of it.",
						   wf_step_kind_name(step->kind)),
				 step->kind == WF_KIND_NONE ?
				 errhint("To commit the transaction with \"commit_on_success\" a step need not join it.") :
				 errhint("Use a step of kind \"package\" to run a package in the transaction.")));
	if (step->connection >= 0 &&
		!plan->connections[step->connection].transactional)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s cannot join the package transaction through connection \"%s\"",
						wf_place_text(place),
						plan->connections[step->connection].name),
				 errdetail("The option \"transactional\" of the connection is false."),
				 errhint("Let the step use another connection, or none.")));
}

/* Only some kinds of steps hand variables on or have a result. */
static void
check_variables(const WfPlan *plan, const WfPlanStep *step,
				const WfPlace *place)
{
	if (step->variables != NULL &&
		step->kind != WF_KIND_PACKAGE && step->kind != WF_KIND_JOB)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("%s must not have the option \"variables\"",
						wf_place_text(place)),
				 errdetail("Only a step of kind \"package\" or \"job\" hands variables on.")));
	if (step->result_variable == NULL)
		return;
	if (step->kind != WF_KIND_SQL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("%s must not have the option \"result_variable\"",
						wf_place_text(place)),
				 errdetail("Only a step of kind \"sql\" has a result.")));
	if (!declares(plan, step->result_variable))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("result variable \"%s\" of %s is not declared",
						step->result_variable, wf_place_text(place)),
				 errhint("Add it to the option \"variables\" of the package.")));
}
