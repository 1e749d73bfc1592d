/*-------------------------------------------------------------------------
 *
 * edit.c
 *	  SQL-callable functions that define packages piece by piece.
 *
 * Each of them locks the package, makes a document of the current one, and
 * stores it on the path that every definition takes (definition.c), which
 * checks the result as a whole.  So they do no checks of their own but those
 * that say better what is wrong, and whatever is refused leaves nothing.
 *
 * Documents are edited as they were given: what an edit does not concern
 * stays as it is written.  An option that is set to its default disappears
 * from the document, so that a definition made piece by piece reads like one
 * made by hand.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "arguments.h"
#include "definition.h"
#include "document.h"

PG_FUNCTION_INFO_V1(wf_create_package);
PG_FUNCTION_INFO_V1(wf_alter_package);
PG_FUNCTION_INFO_V1(wf_rename_package);
PG_FUNCTION_INFO_V1(wf_add_connection);
PG_FUNCTION_INFO_V1(wf_drop_connection);
PG_FUNCTION_INFO_V1(wf_add_step);
PG_FUNCTION_INFO_V1(wf_alter_step);
PG_FUNCTION_INFO_V1(wf_drop_step);
PG_FUNCTION_INFO_V1(wf_add_precedence);
PG_FUNCTION_INFO_V1(wf_drop_precedence);

/* A package that is being edited, and its document so far. */
typedef struct Edit
{
	WfPackageRow package;
	Jsonb	   *document;
	WfDocument	open;			/* of the document when editing began */
} Edit;

/* A precedence constraint of a step. */
typedef struct Constraint
{
	const char *from;
	const char *on;
} Constraint;

/* The arguments for constraints, by outcome. */
static const struct
{
	const char *argument;
	const char *on;
}			constraint_arguments[] =
{
	{"after", "success"},
	{"after_failure", "failure"},
	{"after_completion", "completion"}
};

static void begin_edit(FunctionCallInfo fcinfo, const char *function,
					   Edit *edit);
static int32 end_edit(const Edit *edit);
static int32 get_element(const Edit *edit, WfLevel level, const char *name,
						 JsonbValue *values);
static void edit_element(Edit *edit, WfLevel level, int32 index,
						 const WfChanges *changes);
static void push_elements(JsonbParseState **state, const JsonbValue *array,
						  int32 index, const WfChanges *changes);
static JsonbValue *push_object(JsonbParseState **state,
							   JsonbContainer *object,
							   const WfChanges *changes);
static void push_changes(JsonbParseState **state, const WfChanges *changes);
static void push_key(JsonbParseState **state, const char *key);
static void check_resets(const WfChanges *changes);
static bool resets(const WfChanges *changes, const char *name);
static void read_constraints(FunctionCallInfo fcinfo, WfChanges *changes,
							 List *constraints);
static List *list_constraints(const JsonbValue *after);
static List *add_constraint(List *constraints, const char *from,
							const char *on);
static List *drop_constraints(List *constraints, const char *from,
							  const char *on);
static void set_constraints(WfChanges *changes, List *constraints);
static void drop_uses_of_step(Edit *edit, const char *name, bool cascade);
static void check_connection_unused(const Edit *edit, const char *name);

/*
 * workflow.create_package(name, ..., or_replace) returns integer
 *		Create a package without steps; with or_replace, empty it if it is
 *		there.
 */
Datum
wf_create_package(PG_FUNCTION_ARGS)
{
	int			or_replace = wf_argument_find(fcinfo, "or_replace");
	bool		replace = !PG_ARGISNULL(or_replace) &&
	PG_GETARG_BOOL(or_replace);
	JsonbParseState *state = NULL;
	WfChanges	changes;
	JsonbValue *object;

	wf_definition_prevent_read_only("workflow.create_package()");
	wf_arguments_read(fcinfo, WF_LEVEL_PACKAGE, 0, &changes);
	object = push_object(&state, NULL, &changes);
	PG_RETURN_INT32(wf_definition_define(JsonbValueToJsonb(object),
										 !replace));
}

/* workflow.alter_package(package, ..., reset) returns integer */
Datum
wf_alter_package(PG_FUNCTION_ARGS)
{
	JsonbParseState *state = NULL;
	Edit		edit;
	WfChanges	changes;
	JsonbValue *object;

	begin_edit(fcinfo, "workflow.alter_package()", &edit);
	wf_arguments_read(fcinfo, WF_LEVEL_PACKAGE, 1, &changes);
	check_resets(&changes);
	object = push_object(&state, &edit.document->root, &changes);
	edit.document = JsonbValueToJsonb(object);
	PG_RETURN_INT32(end_edit(&edit));
}

/*
 * workflow.rename_package(package, new_name) returns integer
 *		The name is part of the document, so this may make the next version.
 */
Datum
wf_rename_package(PG_FUNCTION_ARGS)
{
	JsonbParseState *state = NULL;
	Edit		edit;
	WfChanges	changes = {.level = WF_LEVEL_PACKAGE};
	JsonbValue *object;
	char	   *name = wf_argument_text(fcinfo, 1, "new_name");

	begin_edit(fcinfo, "workflow.rename_package()", &edit);
	changes.changed[WF_PACKAGE_NAME] = true;
	wf_value_set_string(&changes.values[WF_PACKAGE_NAME], name);
	object = push_object(&state, &edit.document->root, &changes);
	edit.document = JsonbValueToJsonb(object);
	wf_document_open(&edit.open, edit.document);
	if (!wf_catalog_rename_package(edit.package.package_id, name))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("package \"%s\" already exists", name)));
	edit.package.name = name;
	PG_RETURN_INT32(end_edit(&edit));
}

/* workflow.add_connection(package, name, ...) returns integer */
Datum
wf_add_connection(PG_FUNCTION_ARGS)
{
	Edit		edit;
	WfChanges	changes;

	begin_edit(fcinfo, "workflow.add_connection()", &edit);
	wf_arguments_read(fcinfo, WF_LEVEL_CONNECTION, 1, &changes);
	edit_element(&edit, WF_LEVEL_CONNECTION, edit.open.nconnections,
				 &changes);
	PG_RETURN_INT32(end_edit(&edit));
}

/* workflow.drop_connection(package, name) returns integer */
Datum
wf_drop_connection(PG_FUNCTION_ARGS)
{
	Edit		edit;
	JsonbValue	values[WF_MAX_OPTIONS];
	char	   *name = wf_argument_text(fcinfo, 1, "name");
	int32		index;

	begin_edit(fcinfo, "workflow.drop_connection()", &edit);
	index = get_element(&edit, WF_LEVEL_CONNECTION, name, values);
	check_connection_unused(&edit, name);
	edit_element(&edit, WF_LEVEL_CONNECTION, index, NULL);
	PG_RETURN_INT32(end_edit(&edit));
}

/* workflow.add_step(package, name, command, ...) returns integer */
Datum
wf_add_step(PG_FUNCTION_ARGS)
{
	Edit		edit;
	WfChanges	changes;

	begin_edit(fcinfo, "workflow.add_step()", &edit);
	wf_arguments_read(fcinfo, WF_LEVEL_STEP, 1, &changes);
	read_constraints(fcinfo, &changes, NIL);
	edit_element(&edit, WF_LEVEL_STEP, edit.open.nsteps, &changes);
	PG_RETURN_INT32(end_edit(&edit));
}

/* workflow.alter_step(package, name, ..., reset) returns integer */
Datum
wf_alter_step(PG_FUNCTION_ARGS)
{
	Edit		edit;
	WfChanges	changes;
	JsonbValue	values[WF_MAX_OPTIONS];
	char	   *name = wf_argument_text(fcinfo, 1, "name");
	int32		index;

	begin_edit(fcinfo, "workflow.alter_step()", &edit);
	index = get_element(&edit, WF_LEVEL_STEP, name, values);
	wf_arguments_read(fcinfo, WF_LEVEL_STEP, 2, &changes);
	check_resets(&changes);
	read_constraints(fcinfo, &changes,
					 list_constraints(&values[WF_STEP_AFTER]));
	edit_element(&edit, WF_LEVEL_STEP, index, &changes);
	PG_RETURN_INT32(end_edit(&edit));
}

/*
 * workflow.drop_step(package, name, cascade) returns integer
 *		Constraints of other steps on it are dropped only if asked for: those
 *		steps would start earlier then.
 */
Datum
wf_drop_step(PG_FUNCTION_ARGS)
{
	Edit		edit;
	JsonbValue	values[WF_MAX_OPTIONS];
	char	   *name = wf_argument_text(fcinfo, 1, "name");
	bool		cascade = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	int32		index;

	begin_edit(fcinfo, "workflow.drop_step()", &edit);
	index = get_element(&edit, WF_LEVEL_STEP, name, values);
	drop_uses_of_step(&edit, name, cascade);
	edit_element(&edit, WF_LEVEL_STEP, index, NULL);
	PG_RETURN_INT32(end_edit(&edit));
}

/* workflow.add_precedence(package, from, to, on) returns integer */
Datum
wf_add_precedence(PG_FUNCTION_ARGS)
{
	Edit		edit;
	WfChanges	changes = {.level = WF_LEVEL_STEP};
	JsonbValue	values[WF_MAX_OPTIONS];
	char	   *from = wf_argument_text(fcinfo, 1, "from");
	char	   *to = wf_argument_text(fcinfo, 2, "to");
	char	   *on = PG_ARGISNULL(3) ? pstrdup("success") :
	wf_argument_text(fcinfo, 3, "on");
	List	   *constraints;
	int32		index;

	begin_edit(fcinfo, "workflow.add_precedence()", &edit);
	(void) get_element(&edit, WF_LEVEL_STEP, from, values);
	index = get_element(&edit, WF_LEVEL_STEP, to, values);
	constraints = list_constraints(&values[WF_STEP_AFTER]);
	set_constraints(&changes, add_constraint(constraints, from, on));
	edit_element(&edit, WF_LEVEL_STEP, index, &changes);
	PG_RETURN_INT32(end_edit(&edit));
}

/*
 * workflow.drop_precedence(package, from, to, on) returns integer
 *		A null outcome stands for all constraints between the two steps.
 */
Datum
wf_drop_precedence(PG_FUNCTION_ARGS)
{
	Edit		edit;
	WfChanges	changes = {.level = WF_LEVEL_STEP};
	JsonbValue	values[WF_MAX_OPTIONS];
	char	   *from = wf_argument_text(fcinfo, 1, "from");
	char	   *to = wf_argument_text(fcinfo, 2, "to");
	char	   *on = PG_ARGISNULL(3) ? NULL :
	wf_argument_text(fcinfo, 3, "on");
	List	   *constraints;
	int			n;
	int32		index;

	begin_edit(fcinfo, "workflow.drop_precedence()", &edit);
	index = get_element(&edit, WF_LEVEL_STEP, to, values);
	constraints = list_constraints(&values[WF_STEP_AFTER]);
	n = list_length(constraints);
	constraints = drop_constraints(constraints, from, on);
	if (list_length(constraints) == n)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("step \"%s\" of package \"%s\" does not wait for %s of step \"%s\"",
						to, edit.package.name, on ? on : "any outcome",
						from)));
	set_constraints(&changes, constraints);
	edit_element(&edit, WF_LEVEL_STEP, index, &changes);
	PG_RETURN_INT32(end_edit(&edit));
}

/* Open and lock the package that the first argument names. */
static void
begin_edit(FunctionCallInfo fcinfo, const char *function, Edit *edit)
{
	wf_definition_prevent_read_only(function);
	wf_definition_open(wf_argument_text(fcinfo, 0, "package"),
					   &edit->package);
	edit->document = wf_definition_read(&edit->package,
										edit->package.version);
	wf_document_open(&edit->open, edit->document);
}

/* Check and store what has become of the document; returns the version. */
static int32
end_edit(const Edit *edit)
{
	return wf_definition_replace(&edit->package, edit->document);
}

/* Index and options of a step or connection; ERROR if there is none. */
static int32
get_element(const Edit *edit, WfLevel level, const char *name,
			JsonbValue *values)
{
	int32		n = level == WF_LEVEL_STEP ? edit->open.nsteps :
	edit->open.nconnections;
	WfPlace		place;
	int32		i;

	for (i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (level == WF_LEVEL_STEP)
			wf_document_step(&edit->open, i, &place, values);
		else
			wf_document_connection(&edit->open, i, &place, values);
		if (strcmp(place.name, name) == 0)
			return i;
	}
	place.level = level;
	place.package = edit->package.name;
	place.name = name;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("%s does not exist", wf_place_text(&place))));
}

/*
 * edit_element
 *		Change a step or connection of the document; add one if the index is
 *		their number, drop it if there are no changes.
 */
static void
edit_element(Edit *edit, WfLevel level, int32 index, const WfChanges *changes)
{
	int			option = level == WF_LEVEL_STEP ? WF_PACKAGE_STEPS :
	WF_PACKAGE_CONNECTIONS;
	const char *name = wf_option_name(WF_LEVEL_PACKAGE, option);
	JsonbIterator *it = JsonbIteratorInit(&edit->document->root);
	JsonbParseState *state = NULL;
	JsonbValue	array = {.type = jbvNull};
	JsonbValue	key;
	JsonbValue	value;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&it, &value, true);
		if (wf_value_is(&key, name))
		{
			array = value;
			continue;
		}
		pushJsonbValue(&state, WJB_KEY, &key);
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	push_key(&state, name);
	push_elements(&state, &array, index, changes);
	edit->document =
		JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* The array of steps or connections, with one of them changed. */
static void
push_elements(JsonbParseState **state, const JsonbValue *array, int32 index,
			  const WfChanges *changes)
{
	int32		n = wf_value_size(array);
	int32		i;

	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	for (i = 0; i < n; i++)
	{
		JsonbValue *element =
		getIthJsonbValueFromContainer(array->val.binary.data, i);

		CHECK_FOR_INTERRUPTS();
		if (i != index)
			pushJsonbValue(state, WJB_ELEM, element);
		else if (changes != NULL)
			push_object(state, element->val.binary.data, changes);
	}
	if (index == n)
		push_object(state, NULL, changes);
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

/* An object with its options changed; NULL: a new one. */
static JsonbValue *
push_object(JsonbParseState **state, JsonbContainer *object,
			const WfChanges *changes)
{
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	value;

	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	push_changes(state, changes);
	if (object == NULL)
		return pushJsonbValue(state, WJB_END_OBJECT, NULL);
	it = JsonbIteratorInit(object);
	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		int			option = wf_option_find(changes->level,
											wf_value_string(&key));

		(void) JsonbIteratorNext(&it, &value, true);
		if (option >= 0 && changes->changed[option])
			continue;
		pushJsonbValue(state, WJB_KEY, &key);
		pushJsonbValue(state, WJB_VALUE, &value);
	}
	return pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* The changed options, but for those that have their defaults. */
static void
push_changes(JsonbParseState **state, const WfChanges *changes)
{
	int			i;

	for (i = 0; i < wf_options_count(changes->level); i++)
	{
		JsonbValue	value = changes->values[i];

		if (!changes->changed[i] || value.type == jbvNull ||
			wf_option_is_default(changes->level, i, &value))
			continue;
		push_key(state, wf_option_name(changes->level, i));
		pushJsonbValue(state, WJB_VALUE, &value);
	}
}

static void
push_key(JsonbParseState **state, const char *key)
{
	JsonbValue	value;

	wf_value_set_string(&value, key);
	pushJsonbValue(state, WJB_KEY, &value);
}

/* ERROR if something is to be reset that is neither an option nor one of the
 * arguments for constraints. */
static void
check_resets(const WfChanges *changes)
{
	ListCell   *cell;

	foreach(cell, changes->resets)
	{
		const char *name = lfirst(cell);

		if (changes->level == WF_LEVEL_STEP &&
			(strcmp(name, "after_failure") == 0 ||
			 strcmp(name, "after_completion") == 0))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized option \"%s\" in \"reset\"", name),
				 errhint("The options of a %s are %s.",
						 changes->level == WF_LEVEL_STEP ? "step" : "package",
						 wf_option_names(changes->level))));
	}
}

/* True if the constraints that this argument is about are to be reset. */
static bool
resets(const WfChanges *changes, const char *name)
{
	ListCell   *cell;

	foreach(cell, changes->resets)
	{
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	}
	return false;
}

/*
 * read_constraints
 *		Change the constraints of a step as the arguments say: each one that
 *		is not null replaces those with its outcome, and "after" in "reset"
 *		drops them all.
 */
static void
read_constraints(FunctionCallInfo fcinfo, WfChanges *changes,
				 List *constraints)
{
	bool		changed = changes->changed[WF_STEP_AFTER];
	int			i;

	if (changed)
		constraints = NIL;
	for (i = 0; i < (int) lengthof(constraint_arguments); i++)
	{
		const char *name = constraint_arguments[i].argument;
		const char *on = constraint_arguments[i].on;
		int			number = wf_argument_find(fcinfo, name);
		ListCell   *cell;

		if (PG_ARGISNULL(number) && !resets(changes, name))
			continue;
		changed = true;
		constraints = drop_constraints(constraints, NULL, on);
		foreach(cell, wf_argument_texts(fcinfo, number, name))
			constraints = add_constraint(constraints, lfirst(cell), on);
	}
	if (changed)
		set_constraints(changes, constraints);
}

/* The constraints in the canonical form of "after" (keys are sorted). */
static List *
list_constraints(const JsonbValue *after)
{
	List	   *constraints = NIL;
	int			i;

	for (i = 0; i < wf_value_size(after); i++)
	{
		JsonbPair  *pairs = after->val.array.elems[i].val.object.pairs;

		constraints = add_constraint(constraints,
									 wf_value_string(&pairs[1].value),
									 wf_value_string(&pairs[0].value));
	}
	return constraints;
}

static List *
add_constraint(List *constraints, const char *from, const char *on)
{
	Constraint *constraint = palloc(sizeof(Constraint));

	constraint->from = from;
	constraint->on = on;
	return lappend(constraints, constraint);
}

/* All but those on this step with this outcome; NULL: with any. */
static List *
drop_constraints(List *constraints, const char *from, const char *on)
{
	ListCell   *cell;

	foreach(cell, constraints)
	{
		const Constraint *constraint = lfirst(cell);

		if ((from == NULL || strcmp(constraint->from, from) == 0) &&
			(on == NULL || strcmp(constraint->on, on) == 0))
			constraints = foreach_delete_current(constraints, cell);
	}
	return constraints;
}

/* Make constraints the value of "after"; a name alone means on success. */
static void
set_constraints(WfChanges *changes, List *constraints)
{
	JsonbParseState *state = NULL;
	ListCell   *cell;

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	foreach(cell, constraints)
	{
		const Constraint *constraint = lfirst(cell);
		JsonbValue	from;
		JsonbValue	on;

		wf_value_set_string(&from, constraint->from);
		if (strcmp(constraint->on, "success") == 0)
		{
			pushJsonbValue(&state, WJB_ELEM, &from);
			continue;
		}
		wf_value_set_string(&on, constraint->on);
		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		push_key(&state, "step");
		pushJsonbValue(&state, WJB_VALUE, &from);
		push_key(&state, "on");
		pushJsonbValue(&state, WJB_VALUE, &on);
		pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	changes->changed[WF_STEP_AFTER] = true;
	changes->values[WF_STEP_AFTER] =
		*pushJsonbValue(&state, WJB_END_ARRAY, NULL);
}

/* Drop the constraints on a step, or refuse to. */
static void
drop_uses_of_step(Edit *edit, const char *name, bool cascade)
{
	JsonbValue	values[WF_MAX_OPTIONS];
	WfPlace		place;
	int32		i;

	for (i = 0; i < edit->open.nsteps; i++)
	{
		WfChanges	changes = {.level = WF_LEVEL_STEP};
		List	   *constraints;
		int			n;

		CHECK_FOR_INTERRUPTS();
		wf_document_step(&edit->open, i, &place, values);
		constraints = list_constraints(&values[WF_STEP_AFTER]);
		n = list_length(constraints);
		constraints = drop_constraints(constraints, name, NULL);
		if (list_length(constraints) == n)
			continue;
		if (!cascade)
			ereport(ERROR,
					(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
					 errmsg("cannot drop step \"%s\" of package \"%s\" because step \"%s\" waits for it",
							name, edit->package.name, place.name),
					 errhint("Drop the constraint first, or use \"cascade => true\" to drop all constraints on the step.")));
		set_constraints(&changes, constraints);
		edit_element(edit, WF_LEVEL_STEP, i, &changes);
	}
}

/* ERROR if a step uses the connection. */
static void
check_connection_unused(const Edit *edit, const char *name)
{
	JsonbValue	values[WF_MAX_OPTIONS];
	WfPlace		place;
	int32		i;

	for (i = 0; i < edit->open.nsteps; i++)
	{
		CHECK_FOR_INTERRUPTS();
		wf_document_step(&edit->open, i, &place, values);
		if (values[WF_STEP_CONNECTION].type != jbvNull &&
			wf_value_is(&values[WF_STEP_CONNECTION], name))
			ereport(ERROR,
					(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
					 errmsg("cannot drop connection \"%s\" of package \"%s\" because step \"%s\" uses it",
							name, edit->package.name, place.name)));
	}
}
