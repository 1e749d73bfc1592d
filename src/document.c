/*-------------------------------------------------------------------------
 *
 * document.c
 *	  The definition of a package as one JSON document.
 *
 * This is the only reader of documents.  What compiles a plan, and what
 * normalises a document to compare it with another one or to show it, get the
 * same checked values from here, so they cannot differ in what they accept.
 *
 * A document is stored as it was given.  Its normalised form is made when it
 * is wanted: it grows with the options of the product, so two of them can
 * only be compared when the same library made both.
 *
 * Memory: nothing is freed; callers work in a context of their own.  A step
 * is read, used and forgotten before the next one, so a document of ten
 * thousand steps needs no more than itself and what is made of it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "document.h"

static char *read_name(const WfPlace *place, JsonbContainer *object);
static int32 count_objects(const JsonbValue *array);
static void read_object(const WfDocument *document, WfLevel level,
						const JsonbValue *array, int32 index, WfPlace *place,
						JsonbValue *values);
static void push_string_key(JsonbParseState **state, const char *string);
static void push_values(JsonbParseState **state, WfLevel level,
						JsonbValue *values);
static void push_objects(JsonbParseState **state, const WfDocument *document,
						 WfLevel level, int32 count);

/* Read the options of the package. */
void
wf_document_open(WfDocument *document, Jsonb *jsonb)
{
	WfPlace		place = {WF_LEVEL_PACKAGE};

	if (!JB_ROOT_IS_OBJECT(jsonb))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the definition of a package must be a JSON object")));
	document->name = read_name(&place, &jsonb->root);
	place.package = document->name;
	wf_options_read(&place, &jsonb->root, document->values);
	document->nconnections =
		count_objects(&document->values[WF_PACKAGE_CONNECTIONS]);
	document->nsteps = count_objects(&document->values[WF_PACKAGE_STEPS]);
}

/* Read the options of a connection. */
void
wf_document_connection(const WfDocument *document, int32 index,
					   WfPlace *place, JsonbValue *values)
{
	Assert(index >= 0 && index < document->nconnections);
	read_object(document, WF_LEVEL_CONNECTION,
				&document->values[WF_PACKAGE_CONNECTIONS], index, place,
				values);
}

/* Read the options of a step. */
void
wf_document_step(const WfDocument *document, int32 index, WfPlace *place,
				 JsonbValue *values)
{
	Assert(index >= 0 && index < document->nsteps);
	read_object(document, WF_LEVEL_STEP,
				&document->values[WF_PACKAGE_STEPS], index, place, values);
}

/* Read one object of an array; its name first, so that messages have it. */
static void
read_object(const WfDocument *document, WfLevel level,
			const JsonbValue *array, int32 index, WfPlace *place,
			JsonbValue *values)
{
	JsonbValue *element;
	JsonbContainer *object;

	place->level = level;
	place->package = document->name;
	place->name = NULL;
	place->number = index + 1;

	element = getIthJsonbValueFromContainer(array->val.binary.data, index);
	object = element->val.binary.data;
	place->name = read_name(place, object);
	wf_options_read(place, object, values);
}

/* The name of a package, connection or step, palloc'd. */
static char *
read_name(const WfPlace *place, JsonbContainer *object)
{
	JsonbValue	name;

	if (!getKeyJsonValueFromContainer(object, "name", 4, &name) ||
		name.type == jbvNull)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s has no name", wf_place_text(place)),
				 errhint("Give it the option \"name\".")));
	if (name.type != jbvString)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"name\" of %s must be a string",
						wf_place_text(place)),
				 errdetail("The value has JSON type %s.",
						   JsonbTypeName(&name))));
	if (name.val.string.len == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"name\" of %s must not be empty",
						wf_place_text(place))));
	if (name.val.string.len >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("name of %s is too long", wf_place_text(place)),
				 errdetail("The name is \"%s\"; a name has at most %d bytes.",
						   wf_value_string(&name), NAMEDATALEN - 1)));
	return wf_value_string(&name);
}

/* The default of an array option is an empty array that is not binary. */
static int32
count_objects(const JsonbValue *array)
{
	if (array->type != jbvBinary)
		return 0;
	return JsonContainerSize(array->val.binary.data);
}

/* The document with every option present, in canonical form. */
Jsonb *
wf_document_normalize(Jsonb *jsonb)
{
	MemoryContext scratch;
	MemoryContext old;
	WfDocument	document;
	JsonbParseState *state = NULL;
	JsonbValue *root;
	Jsonb	   *result;

	scratch = AllocSetContextCreate(CurrentMemoryContext,
									"workflow document",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(scratch);
	wf_document_open(&document, jsonb);

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_values(&state, WF_LEVEL_PACKAGE, document.values);
	push_string_key(&state, wf_option_name(WF_LEVEL_PACKAGE,
										   WF_PACKAGE_CONNECTIONS));
	push_objects(&state, &document, WF_LEVEL_CONNECTION,
				 document.nconnections);
	push_string_key(&state, wf_option_name(WF_LEVEL_PACKAGE,
										   WF_PACKAGE_STEPS));
	push_objects(&state, &document, WF_LEVEL_STEP, document.nsteps);
	root = pushJsonbValue(&state, WJB_END_OBJECT, NULL);

	MemoryContextSwitchTo(old);
	result = JsonbValueToJsonb(root);
	MemoryContextDelete(scratch);
	return result;
}

static void
push_string_key(JsonbParseState **state, const char *string)
{
	JsonbValue	key;

	key.type = jbvString;
	key.val.string.val = unconstify(char *, string);
	key.val.string.len = strlen(string);
	pushJsonbValue(state, WJB_KEY, &key);
}

/* All options of one object, without the objects inside a package. */
static void
push_values(JsonbParseState **state, WfLevel level, JsonbValue *values)
{
	int			i;

	for (i = 0; i < wf_options_count(level); i++)
	{
		if (level == WF_LEVEL_PACKAGE &&
			(i == WF_PACKAGE_CONNECTIONS || i == WF_PACKAGE_STEPS))
			continue;
		push_string_key(state, wf_option_name(level, i));
		pushJsonbValue(state, WJB_VALUE, &values[i]);
	}
}

/* The array of a package's connections or steps. */
static void
push_objects(JsonbParseState **state, const WfDocument *document,
			 WfLevel level, int32 count)
{
	JsonbValue	values[WF_MAX_OPTIONS];
	WfPlace		place;
	int32		i;

	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	for (i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (level == WF_LEVEL_STEP)
			wf_document_step(document, i, &place, values);
		else
			wf_document_connection(document, i, &place, values);
		pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
		push_values(state, level, values);
		pushJsonbValue(state, WJB_END_OBJECT, NULL);
	}
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

/*
 * wf_document_same
 *		Byte for byte, so that 1 and 1.0 as a variable's default differ, as
 *		they do for a step that reads it.  The same library made both, and it
 *		makes equal bytes of equal values.
 */
bool
wf_document_same(Jsonb *a, Jsonb *b)
{
	return VARSIZE(a) == VARSIZE(b) && memcmp(a, b, VARSIZE(a)) == 0;
}
