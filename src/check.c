/*-------------------------------------------------------------------------
 *
 * check.c
 *	  What is checked of a definition beyond its structure.
 *
 * plan.c refuses what can never be right.  What depends on the server, its
 * parser and settings, and on the owner's rights, is checked here, when a
 * package is defined and not when a run of it starts: then each step fails or
 * not by itself.
 *
 * Nothing is executed and nothing is analysed: SQL text is only parsed, since
 * what it refers to may come into being later, and the value of a setting is
 * given to the setting's own check, as ALTER ROLE ... SET does.
 *
 * The warnings need the graph once more: a step can start if what it waits
 * for can happen, which is decided in an order in which each step follows all
 * that it waits for.  Those about the package transaction are in
 * check_transaction.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "catalog.h"
#include "check.h"
#include "check_transaction.h"
#include "document.h"
#include "guc.h"
#include "rights.h"

/* What the error context of a check needs. */
typedef struct CheckPlace
{
	const WfPlan *plan;
	const WfPlanStep *step;		/* NULL: the package itself */
	const char *what;			/* "command", "setting", ... */
	const char *name;			/* of the setting or variable, or NULL */
	const char *text;			/* the SQL text; NULL: not parsing */
	int			offset;			/* of the text in what is parsed */
} CheckPlace;

/* Why a step can never start; none of these: it can. */
typedef struct Obstacle
{
	const char *format;			/* of the message; NULL: it can start */
	int32		from;
} Obstacle;

static List *check_sql(CheckPlace *place, const char *what, const char *name,
					   const char *text, bool is_expression);
static void check_is_expression(const CheckPlace *place, List *statements);
static void check_inheritance(const WfPlan *plan, const WfPlanStep *step,
							  Oid owner);
static void check_settings(CheckPlace *place, Jsonb *settings, Oid owner);
static void check_setting(const char *name, const JsonbValue *value,
						  Oid owner);
static const char *setting_text(const JsonbValue *value);
static void add_check_context(void *arg);
static List *warn_of_child(List *warnings, const WfPlan *plan, int32 step);
static List *warn_of_variables(List *warnings, const WfPlan *plan, int32 step,
							   const WfPackageRow *child);
static Obstacle *find_obstacles(const WfPlan *plan);
static List *warn_of_dead_steps(List *warnings, const WfPlan *plan,
								const Obstacle *obstacles);
static void follow_edges(const WfPlan *plan, int32 from, Obstacle *obstacles,
						 int32 *satisfiable, uint8 *seen);
static const char *find_obstacle(const WfPlan *plan, int32 from, WfOn on,
								 bool from_can_start);

/* Check what the package says for itself. */
void
wf_check_package(const WfPlan *plan, Oid owner)
{
	CheckPlace	place = {.plan = plan};

	if (plan->sessions > wf_max_workers)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("package \"%s\" needs %d sessions at one time",
						plan->name, plan->sessions),
				 errdetail("The setting \"workflow.max_workers\" is %d.",
						   wf_max_workers),
				 errhint("Use fewer connections, or raise \"workflow.max_workers\".")));
	check_settings(&place, plan->settings, owner);
}

/* Check what a step says. */
void
wf_check_step(const WfPlan *plan, int32 step, Oid owner,
			  WfCommandText *text)
{
	const WfPlanStep *s = &plan->steps[step];
	CheckPlace	place = {.plan = plan,.step = s};
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	value;

	if (s->kind == WF_KIND_SQL)
		wf_command_text_read(text, check_sql(&place, "command", NULL,
											 s->command, false));
	else
		check_inheritance(plan, s, owner);
	if (s->condition != NULL)
		(void) check_sql(&place, "condition", NULL, s->condition, true);
	check_settings(&place, s->settings, owner);
	if (s->variables == NULL)
		return;
	it = JsonbIteratorInit(&s->variables->root);
	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&it, &value, true);
		(void) check_sql(&place, "variable",
						 pnstrdup(key.val.string.val, key.val.string.len),
						 pnstrdup(value.val.string.val, value.val.string.len),
						 true);
	}
}

/* Check all of a package. */
WfCommandText *
wf_check_plan(const WfPlan *plan, Oid owner)
{
	WfCommandText *texts = palloc0(mul_size(plan->nsteps,
											sizeof(WfCommandText)));
	MemoryContext scratch;
	MemoryContext old;
	int32		i;

	wf_check_package(plan, owner);
	scratch = AllocSetContextCreate(CurrentMemoryContext, "workflow check",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(scratch);
	for (i = 0; i < plan->nsteps; i++)
	{
		CHECK_FOR_INTERRUPTS();
		wf_check_step(plan, i, owner, &texts[i]);
		MemoryContextReset(scratch);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	return texts;
}

/*
 * check_sql
 *		ERROR, the parser's own with the place as its context, for SQL text
 *		that does not parse.  An expression is one that stands for itself in
 *		SELECT (...): it is checked as it is evaluated.  Returns what the
 *		parser makes of it.
 */
static List *
check_sql(CheckPlace *place, const char *what, const char *name,
		  const char *text, bool is_expression)
{
	static const char before[] = "SELECT (";
	ErrorContextCallback callback;
	List	   *statements;

	place->what = what;
	place->name = name;
	place->text = text;
	place->offset = is_expression ? strlen(before) : 0;
	callback.callback = add_check_context;
	callback.arg = place;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	if (is_expression)
		text = psprintf("%s%s\n)", before, text);
	statements = raw_parser(text, RAW_PARSE_DEFAULT);
	if (is_expression)
		check_is_expression(place, statements);
	error_context_stack = callback.previous;
	return statements;
}

/* ERROR if the parentheses around an expression were not left as they were. */
static void
check_is_expression(const CheckPlace *place, List *statements)
{
	SelectStmt *select =
	(SelectStmt *) linitial_node(RawStmt, statements)->stmt;

	if (list_length(statements) == 1 && IsA(select, SelectStmt) &&
		select->op == SETOP_NONE && list_length(select->targetList) == 1 &&
		select->distinctClause == NIL && select->intoClause == NULL &&
		select->fromClause == NIL && select->whereClause == NULL &&
		select->groupClause == NIL && select->havingClause == NULL &&
		select->windowClause == NIL && select->sortClause == NIL &&
		select->limitOffset == NULL && select->limitCount == NULL &&
		select->lockingClause == NIL && select->withClause == NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("\"%s\" is not an SQL expression", place->text)));
}

/*
 * check_inheritance
 *		ERROR if a step is to run a package of somebody else inside the package
 *		transaction (R50).  A child that is not there yet, or that changes
 *		after this, fails the step.
 *
 *		Who defines the step might not be allowed to see the child: no more is
 *		said of it than what a run of the step would tell.
 */
static void
check_inheritance(const WfPlan *plan, const WfPlanStep *step, Oid owner)
{
	WfPackageRow child;
	WfDocument	open;
	Jsonb	   *document;

	if (step->kind != WF_KIND_PACKAGE || !step->joins || step->disabled ||
		!wf_catalog_find_package(step->command, &child) ||
		child.owner == owner)
		return;
	document = wf_catalog_get_document(child.package_id, child.version);
	if (document == NULL)
		return;
	wf_document_open(&open, document);
	if (!wf_value_bool(&open.values[WF_PACKAGE_USE_TRANSACTIONS]))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("step \"%s\" of package \"%s\" cannot run package \"%s\" in the package transaction",
					step->name, plan->name, step->command),
			 errdetail("The two packages have different owners, and only a package of the same owner inherits a transaction."),
			 errhint("Without \"join_transaction\" the package runs in transactions of its own.")));
}

/* Check that the owner may make the settings, each to its value. */
static void
check_settings(CheckPlace *place, Jsonb *settings, Oid owner)
{
	ErrorContextCallback callback;
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	value;

	if (settings == NULL)
		return;
	place->what = "setting";
	place->text = NULL;
	callback.callback = add_check_context;
	callback.arg = place;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	it = JsonbIteratorInit(&settings->root);
	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&it, &value, true);
		place->name = pnstrdup(key.val.string.val, key.val.string.len);
		check_setting(place->name, &value, owner);
	}
	error_context_stack = callback.previous;
}

/*
 * check_setting
 *		ERROR, the setting's own, unless the owner may set it to the value.
 *		Those that would make a run somebody else's, and those of the current
 *		transaction, are no settings of a session.
 */
static void
check_setting(const char *name, const JsonbValue *value, Oid owner)
{
	static const char *const refused[] = {
		"role", "session_authorization", "transaction_isolation",
		"transaction_read_only", "transaction_deferrable"
	};
	Size		i;

	for (i = 0; i < lengthof(refused); i++)
	{
		if (pg_strcasecmp(name, refused[i]) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("parameter \"%s\" cannot be set for steps",
							refused[i])));
	}
	(void) set_config_option_ext(name, setting_text(value),
								 superuser_arg(owner) ? PGC_SUSET :
								 PGC_USERSET,
								 PGC_S_TEST, owner, GUC_ACTION_SET, false,
								 ERROR, false);
}

/* The value of a setting as text, palloc'd. */
static const char *
setting_text(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvBool:
			return value->val.boolean ? "on" : "off";
		case jbvNumeric:
			return numeric_normalize(value->val.numeric);
		default:
			return pnstrdup(value->val.string.val, value->val.string.len);
	}
}

/*
 * Error context callback: a position in the text is not one in the query
 * that the client sent.
 */
static void
add_check_context(void *arg)
{
	const CheckPlace *place = arg;
	int			position = geterrposition();
	StringInfoData what;

	if (position > 0 && place->text != NULL)
	{
		int			length = pg_mbstrlen(place->text);

		errposition(0);
		position -= place->offset;
		internalerrposition(Max(1, Min(position, length + 1)));
		internalerrquery(place->text);
	}
	initStringInfo(&what);
	appendStringInfoString(&what, place->what);
	if (place->name != NULL)
		appendStringInfo(&what, " \"%s\"", place->name);
	if (place->step != NULL)
		appendStringInfo(&what, " of step \"%s\"", place->step->name);
	errcontext("%s of package \"%s\"", what.data, place->plan->name);
}

/* What is worth a warning in a valid definition. */
List *
wf_check_warnings(const WfPlan *plan, const WfCommandText *texts)
{
	List	   *warnings = NIL;
	Obstacle   *obstacles = find_obstacles(plan);
	bool	   *can_start = palloc(mul_size(plan->nsteps, sizeof(bool)));
	int32		i;

	for (i = 0; i < plan->nsteps; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (plan->steps[i].kind == WF_KIND_PACKAGE ||
			plan->steps[i].kind == WF_KIND_JOB)
			warnings = warn_of_child(warnings, plan, i);
		can_start[i] = (obstacles[i].format == NULL &&
						!plan->steps[i].disabled);
	}
	warnings = warn_of_dead_steps(warnings, plan, obstacles);
	return wf_check_transaction(warnings, plan, texts, can_start);
}

/* See check.h. */
List *
wf_check_add_warning(List *warnings, int32 step, char *message)
{
	WfWarning  *warning = palloc(sizeof(WfWarning));

	warning->step = step;
	warning->message = message;
	return lappend(warnings, warning);
}

/* Warn of a package that is to be run and is not there. */
static List *
warn_of_child(List *warnings, const WfPlan *plan, int32 step)
{
	const WfPlanStep *s = &plan->steps[step];
	WfPackageRow child;

	if (wf_catalog_find_package(s->command, &child))
		return warn_of_variables(warnings, plan, step, &child);
	if (strcmp(s->command, plan->name) == 0)
		return warnings;
	return wf_check_add_warning(warnings, step,
								psprintf("package \"%s\", which step \"%s\" of package \"%s\" %s, does not exist yet",
										 s->command, s->name, plan->name,
										 s->kind == WF_KIND_JOB ? "starts" : "runs"));
}

/* Warn of variables for a child that does not declare them. */
static List *
warn_of_variables(List *warnings, const WfPlan *plan, int32 step,
				  const WfPackageRow *child)
{
	const WfPlanStep *s = &plan->steps[step];
	const WfPlan *child_plan;
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	value;

	if (s->variables == NULL || !wf_rights_may_see_package(child))
		return warnings;
	child_plan = wf_plan_compile(child->package_id, child->version,
								 wf_catalog_get_document(child->package_id,
														 child->version));
	it = JsonbIteratorInit(&s->variables->root);
	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&it, &value, true);
		if (getKeyJsonValueFromContainer(&child_plan->variables->root,
										 key.val.string.val,
										 key.val.string.len, &value))
			continue;
		warnings = wf_check_add_warning(warnings, step,
										psprintf("package \"%s\", which step \"%s\" of package \"%s\" %s, does not declare variable \"%s\"",
												 s->command, s->name,
												 plan->name,
												 s->kind == WF_KIND_JOB ? "starts" : "runs",
												 pnstrdup(key.val.string.val,
														  key.val.string.len)));
	}
	return warnings;
}

/*
 * warn_of_dead_steps
 *		Warn of steps that can never start, whatever happens in a run; but not
 *		of those that are disabled, which is what was meant.
 */
static List *
warn_of_dead_steps(List *warnings, const WfPlan *plan,
				   const Obstacle *obstacles)
{
	int32		i;

	for (i = 0; i < plan->nsteps; i++)
	{
		const WfPlanStep *step = &plan->steps[i];
		const Obstacle *obstacle = &obstacles[i];

		if (obstacle->format == NULL || step->disabled)
			continue;
		warnings = wf_check_add_warning(warnings, i,
										psprintf(obstacle->format,
												 step->name, plan->name,
												 plan->steps[obstacle->from].name));
	}
	return warnings;
}

/* What keeps each of the steps from ever starting, palloc'd. */
static Obstacle *
find_obstacles(const WfPlan *plan)
{
	int32	   *order = palloc(mul_size(plan->nsteps, sizeof(int32)));
	int32	   *left = palloc(mul_size(plan->nsteps, sizeof(int32)));
	int32	   *satisfiable = palloc0(mul_size(plan->nsteps, sizeof(int32)));
	Obstacle   *obstacles = palloc0(mul_size(plan->nsteps, sizeof(Obstacle)));
	uint8	   *seen = palloc0(plan->nsteps);
	int32		n = 0;
	int32		i;

	for (i = 0; i < plan->nsteps; i++)
	{
		left[i] = plan->steps[i].nconstraints;
		if (left[i] == 0)
			order[n++] = i;
	}
	for (i = 0; i < n; i++)
	{
		const WfPlanStep *step = &plan->steps[order[i]];
		int32		k;

		/* one constraint of several is enough for "any" */
		if (step->any && satisfiable[order[i]] > 0)
			obstacles[order[i]].format = NULL;
		follow_edges(plan, order[i], obstacles, satisfiable, seen);
		for (k = 0; k < step->nedges; k++)
		{
			if (--left[plan->edges[step->first_edge + k].to] == 0)
				order[n++] = plan->edges[step->first_edge + k].to;
		}
	}
	return obstacles;
}

/*
 * follow_edges
 *		Note for the steps that wait for `from` whether that can ever happen.
 *		`seen` is zero for all steps, and is so again at the end.
 */
static void
follow_edges(const WfPlan *plan, int32 from, Obstacle *obstacles,
			 int32 *satisfiable, uint8 *seen)
{
	const WfPlanStep *step = &plan->steps[from];
	const WfPlanEdge *edges = &plan->edges[step->first_edge];
	int32		k;

	for (k = 0; k < step->nedges; k++)
	{
		int32		to = edges[k].to;
		const char *format = find_obstacle(plan, from, edges[k].on,
										   obstacles[from].format == NULL);

		if (edges[k].on != WF_ON_COMPLETION)
			seen[to] |= edges[k].on == WF_ON_SUCCESS ? 1 : 2;
		if (format == NULL)
			satisfiable[to]++;
		if (format == NULL && seen[to] == 3 && !plan->steps[to].any)
			format = "step \"%s\" of package \"%s\" can never start: it waits for both success and failure of step \"%s\"";
		if (format != NULL && obstacles[to].format == NULL)
		{
			obstacles[to].format = format;
			obstacles[to].from = from;
		}
	}
	for (k = 0; k < step->nedges; k++)
		seen[edges[k].to] = 0;
}

/* Why a constraint can never hold, as a format; NULL if it can. */
static const char *
find_obstacle(const WfPlan *plan, int32 from, WfOn on, bool from_can_start)
{
	const WfPlanStep *step = &plan->steps[from];

	if (step->disabled)
		return "step \"%s\" of package \"%s\" can never start: it waits for step \"%s\", which is disabled";
	if (!from_can_start)
		return "step \"%s\" of package \"%s\" can never start: it waits for step \"%s\", which cannot start either";
	if (on != WF_ON_FAILURE)
		return NULL;
	if (plan->fail_on_first_error)
		return "step \"%s\" of package \"%s\" can never start: it waits for the failure of step \"%s\", and the package fails on the first error";
	if (step->fail_package_on_error)
		return "step \"%s\" of package \"%s\" can never start: it waits for the failure of step \"%s\", which fails the package";
	if (step->kind == WF_KIND_NONE && !step->has_condition)
		return "step \"%s\" of package \"%s\" can never start: it waits for the failure of step \"%s\", which does nothing";
	return NULL;
}
