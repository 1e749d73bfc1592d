/*-------------------------------------------------------------------------
 *
 * plan.c
 *	  Compiles a document into a plan, and caches plans.
 *
 * Compiling is also how a document is checked: what can be wrong with a
 * definition as a whole (names used twice, constraints on steps that do not
 * exist, cycles) is found here while names become indexes, and nowhere else.
 * Only the text of commands is not looked at (see definition.c).
 *
 * All of it takes time and memory linear in the size of the document, but for
 * sorting names.  What is not part of the plan lives in a scratch context
 * that is deleted at the end, or with its parent after an ERROR.
 *
 * The cache is per process.  Each plan has a memory context of its own, made
 * under the caller's and moved under the cache's when it is complete, so an
 * ERROR in between leaves neither a half-made entry nor memory behind.  Plans
 * are not thrown out while the extension exists, since runs point to them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "catalog.h"
#include "document.h"
#include "plan.h"
#include "plan_fields.h"

/* A precedence constraint as it is found at the step that waits. */
typedef struct Constraint
{
	const char *from_name;
	int32		from;
	int32		to;
	WfOn		on;
} Constraint;

/* What is needed while a plan is compiled. */
typedef struct Compiler
{
	WfPlan	   *plan;
	WfDocument	document;
	MemoryContext plan_context; /* the plan and its strings */
	MemoryContext scratch;		/* everything else; the current one */
	MemoryContext step_context; /* one step's values */
	WfPlanName *connection_names;
	Constraint *constraints;	/* grouped by `to`, in ascending order */
	int32		nconstraints;
	int32		max_constraints;
	int32	   *first_constraint;	/* of each step; one more entry at the end */
	int32	   *order;			/* steps, each after all that it waits for */
} Compiler;

typedef struct CacheKey
{
	int64		package_id;
	int64		version;		/* as wide as the other: no padding */
} CacheKey;

typedef struct CacheEntry
{
	CacheKey	key;
	WfPlan	   *plan;
} CacheEntry;

static MemoryContext cache_context = NULL;
static HTAB *cache = NULL;
static uint64 cache_generation;

static void compile_package(Compiler *compiler);
static void compile_connections(Compiler *compiler);
static void compile_steps(Compiler *compiler);
static void compile_step(Compiler *compiler, WfPlanStep *step,
						 const WfPlace *place, const JsonbValue *values);
static int32 compile_step_connection(Compiler *compiler,
									 const WfPlace *place,
									 const char *name);
static WfStepKind compile_kind(const JsonbValue *value);
static void check_step(const WfPlanStep *step, const WfPlace *place);
static void add_constraints(Compiler *compiler, int32 to,
							const JsonbValue *after);
static Constraint *new_constraint(Compiler *compiler);
static WfOn compile_on(const JsonbValue *value);
static void resolve_constraints(Compiler *compiler);
static void check_constraint(const WfPlan *plan, const Constraint *constraint,
							 int32 *seen);
static void build_edges(Compiler *compiler);
static void sort_steps(Compiler *compiler);
static void report_cycle(const Compiler *compiler, const int32 *waits_for)
			pg_attribute_noreturn();
static bool runs_inline(const Compiler *compiler);
static bool needs_driver(const WfPlanStep *step);
static bool is_sequential(const Compiler *compiler);
static int32 latest_predecessor(const Compiler *compiler, int32 step,
								const int32 *position, WfOn *on);
static int32 count_sessions(const WfPlan *plan, bool inherits);
static bool executes(const WfPlanStep *step);
static bool only_children_join(const WfPlan *plan);
static char *copy_string(Compiler *compiler, const JsonbValue *value);
static void sort_names(WfPlanName *names, int32 n, const char *what,
					   const char *package);
static int32 find_name(const WfPlanName *names, int32 n, const char *name);
static void prepare_cache(void);
static WfPlan *load_plan(int64 package_id, int32 version);

/*
 * wf_plan_compile
 *		Make a plan of a document, in the current memory context.  ERROR if
 *		the document is not a valid definition; the message names the package
 *		and the step.
 */
WfPlan *
wf_plan_compile(int64 package_id, int32 version, Jsonb *document)
{
	Compiler	compiler = {0};
	WfPlan	   *plan = palloc0(sizeof(WfPlan));

	compiler.plan = plan;
	compiler.plan_context = CurrentMemoryContext;
	compiler.scratch = AllocSetContextCreate(CurrentMemoryContext,
											 "workflow compiler",
											 ALLOCSET_DEFAULT_SIZES);
	compiler.step_context = AllocSetContextCreate(compiler.scratch,
												  "workflow compiler step",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(compiler.scratch);

	wf_document_open(&compiler.document, document);
	plan->package_id = package_id;
	plan->version = version;
	compile_package(&compiler);
	compile_connections(&compiler);
	compile_steps(&compiler);
	resolve_constraints(&compiler);
	build_edges(&compiler);
	sort_steps(&compiler);
	plan->inline_run = runs_inline(&compiler);
	plan->sessions = count_sessions(plan, false);
	plan->sessions_inheriting = count_sessions(plan, true);

	MemoryContextSwitchTo(compiler.plan_context);
	MemoryContextDelete(compiler.scratch);
	return plan;
}

static void
compile_package(Compiler *compiler)
{
	WfPlan	   *plan = compiler->plan;
	JsonbValue *values = compiler->document.values;
	MemoryContext old = MemoryContextSwitchTo(compiler->plan_context);

	plan->name = pstrdup(compiler->document.name);
	plan->fail_on_first_error =
		wf_value_bool(&values[WF_PACKAGE_FAIL_ON_FIRST_ERROR]);
	plan->max_concurrent_steps =
		wf_value_int(&values[WF_PACKAGE_MAX_CONCURRENT_STEPS]);
	wf_plan_fill_package(plan, values);

	plan->nconnections = compiler->document.nconnections;
	plan->connections =
		palloc0(mul_size(plan->nconnections, sizeof(WfPlanConnection)));
	plan->nsteps = compiler->document.nsteps;
	plan->steps = palloc0(mul_size(plan->nsteps, sizeof(WfPlanStep)));
	plan->step_names = palloc(mul_size(plan->nsteps, sizeof(WfPlanName)));
	MemoryContextSwitchTo(old);
}

static void
compile_connections(Compiler *compiler)
{
	WfPlan	   *plan = compiler->plan;
	JsonbValue	values[WF_CONNECTION_NOPTIONS];
	WfPlace		place;
	int32		i;

	compiler->connection_names =
		palloc(mul_size(plan->nconnections, sizeof(WfPlanName)));
	for (i = 0; i < plan->nconnections; i++)
	{
		WfPlanConnection *connection = &plan->connections[i];

		CHECK_FOR_INTERRUPTS();
		wf_document_connection(&compiler->document, i, &place, values);
		connection->name = copy_string(compiler, &values[WF_CONNECTION_NAME]);
		connection->server = copy_string(compiler,
										 &values[WF_CONNECTION_SERVER]);
		connection->transactional =
			wf_value_bool(&values[WF_CONNECTION_TRANSACTIONAL]);
		compiler->connection_names[i].name = connection->name;
		compiler->connection_names[i].index = i;
	}
	sort_names(compiler->connection_names, plan->nconnections, "connection",
			   plan->name);
}

/* The steps by themselves; constraints are collected with names. */
static void
compile_steps(Compiler *compiler)
{
	WfPlan	   *plan = compiler->plan;
	JsonbValue	values[WF_STEP_NOPTIONS];
	WfPlace		place;
	int32		i;

	compiler->first_constraint =
		palloc(mul_size(plan->nsteps + 1, sizeof(int32)));
	for (i = 0; i < plan->nsteps; i++)
	{
		WfPlanStep *step = &plan->steps[i];

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(compiler->step_context);
		wf_document_step(&compiler->document, i, &place, values);
		compile_step(compiler, step, &place, values);
		MemoryContextSwitchTo(compiler->scratch);

		compiler->first_constraint[i] = compiler->nconstraints;
		add_constraints(compiler, i, &values[WF_STEP_AFTER]);
		step->nconstraints =
			compiler->nconstraints - compiler->first_constraint[i];
		plan->step_names[i].name = step->name;
		plan->step_names[i].index = i;
		MemoryContextReset(compiler->step_context);
	}
	compiler->first_constraint[i] = compiler->nconstraints;
	sort_names(plan->step_names, plan->nsteps, "step", plan->name);
}

static void
compile_step(Compiler *compiler, WfPlanStep *step, const WfPlace *place,
			 const JsonbValue *values)
{
	step->name = copy_string(compiler, &values[WF_STEP_NAME]);
	step->kind = compile_kind(&values[WF_STEP_KIND]);
	step->command = copy_string(compiler, &values[WF_STEP_COMMAND]);
	step->connection =
		compile_step_connection(compiler, place,
								wf_value_string(&values[WF_STEP_CONNECTION]));
	step->priority = wf_value_int(&values[WF_STEP_PRIORITY]);
	step->any = wf_value_is(&values[WF_STEP_PRECEDENCE], "any");
	step->disabled = wf_value_bool(&values[WF_STEP_DISABLED]);
	check_step(step, place);
	wf_plan_fill_step(compiler->plan, step, place, values,
					  compiler->plan_context);
}

/* Index of the connection that a step names, or -1. */
static int32
compile_step_connection(Compiler *compiler, const WfPlace *place,
						const char *name)
{
	int32		index;

	if (name == NULL)
		return -1;
	index = find_name(compiler->connection_names,
					  compiler->plan->nconnections, name);
	if (index < 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("connection \"%s\" of %s does not exist",
						name, wf_place_text(place)),
				 errhint("Add it to the connections of the package.")));
	return index;
}

/* The kinds differ in their first letters, which are their codes. */
static WfStepKind
compile_kind(const JsonbValue *value)
{
	WfStepKind	kind = (WfStepKind) value->val.string.val[0];

	Assert(kind == WF_KIND_SQL || kind == WF_KIND_PACKAGE ||
		   kind == WF_KIND_JOB || kind == WF_KIND_NONE);
	return kind;
}

/* Check that name, command and connection of a step fit its kind. */
static void
check_step(const WfPlanStep *step, const WfPlace *place)
{
	if (step->kind == WF_KIND_NONE && step->command != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not have a command", wf_place_text(place)),
				 errdetail("A step of kind \"%s\" does nothing.",
						   wf_step_kind_name(step->kind))));
	if (step->kind != WF_KIND_NONE &&
		(step->command == NULL ||
		 step->command[strspn(step->command, " \t\r\n\f\v")] == '\0'))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s has no command", wf_place_text(place)),
				 step->kind == WF_KIND_SQL ?
				 errhint("Give it SQL text as \"command\", or the kind \"none\".") :
				 errhint("Give it the name of a package as \"command\".")));
	if ((step->kind == WF_KIND_PACKAGE || step->kind == WF_KIND_JOB) &&
		strlen(step->command) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("command of %s is too long for the name of a package",
						wf_place_text(place)),
				 errdetail("A name has at most %d bytes.", NAMEDATALEN - 1)));
	if (step->connection >= 0 &&
		(step->kind == WF_KIND_NONE || step->kind == WF_KIND_JOB))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("%s must not have a connection",
						wf_place_text(place)),
				 errdetail("A step of kind \"%s\" uses none.",
						   wf_step_kind_name(step->kind))));
}

/*
 * add_constraints
 *		Collect the constraints of a step from its option `after`: an array of
 *		objects, whose keys are sorted ("on", "step").
 */
static void
add_constraints(Compiler *compiler, int32 to, const JsonbValue *after)
{
	int			i;

	Assert(after->type == jbvArray);
	for (i = 0; i < after->val.array.nElems; i++)
	{
		JsonbPair  *pairs = after->val.array.elems[i].val.object.pairs;
		Constraint *constraint;

		CHECK_FOR_INTERRUPTS();
		constraint = new_constraint(compiler);
		constraint->from_name = wf_value_string(&pairs[1].value);
		constraint->from = -1;
		constraint->to = to;
		constraint->on = compile_on(&pairs[0].value);
	}
}

/* Room for one more constraint, uninitialised. */
static Constraint *
new_constraint(Compiler *compiler)
{
	if (compiler->nconstraints == compiler->max_constraints)
	{
		Size		size;

		compiler->max_constraints = Max(64, compiler->max_constraints * 2);
		size = mul_size(compiler->max_constraints, sizeof(Constraint));
		if (compiler->constraints == NULL)
			compiler->constraints = palloc(size);
		else
			compiler->constraints = repalloc_huge(compiler->constraints, size);
	}
	return &compiler->constraints[compiler->nconstraints++];
}

/* The outcomes, too, differ in their first letters. */
static WfOn
compile_on(const JsonbValue *value)
{
	WfOn		on = (WfOn) value->val.string.val[0];

	Assert(on == WF_ON_SUCCESS || on == WF_ON_FAILURE ||
		   on == WF_ON_COMPLETION);
	return on;
}

/* Turn the names in constraints into indexes. */
static void
resolve_constraints(Compiler *compiler)
{
	WfPlan	   *plan = compiler->plan;
	int32	   *seen;
	int32		i;

	seen = MemoryContextAllocExtended(CurrentMemoryContext,
									  mul_size(plan->nsteps,
											   3 * sizeof(int32)),
									  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (i = 0; i < compiler->nconstraints; i++)
	{
		Constraint *constraint = &compiler->constraints[i];

		constraint->from = wf_plan_step_index(plan, constraint->from_name);
		check_constraint(plan, constraint, seen);
	}
}

/*
 * check_constraint
 *		ERROR if the constraint starts nowhere or at its own step, or is there
 *		twice.  `seen` has for each step and outcome the last step, counted
 *		from 1, that waits for it: constraints come grouped by that.
 */
static void
check_constraint(const WfPlan *plan, const Constraint *constraint,
				 int32 *seen)
{
	const char *step = plan->steps[constraint->to].name;
	int			on = constraint->on == WF_ON_SUCCESS ? 0 :
		constraint->on == WF_ON_FAILURE ? 1 : 2;

	if (constraint->from < 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("step \"%s\" in option \"after\" of step \"%s\" of package \"%s\" does not exist",
						constraint->from_name, step, plan->name)));
	if (constraint->from == constraint->to)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("step \"%s\" of package \"%s\" waits for itself",
						step, plan->name)));
	if (plan->steps[constraint->from].finally != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("step \"%s\" of package \"%s\" must not wait for step \"%s\"",
						step, plan->name, constraint->from_name),
				 errdetail("Step \"%s\" is a finally step, which is outside of the graph.",
						   constraint->from_name)));
	seen += (Size) constraint->from * 3 + on;
	if (*seen == constraint->to + 1)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("option \"after\" of step \"%s\" of package \"%s\" has %s of step \"%s\" more than once",
						step, plan->name, wf_on_name(constraint->on),
						constraint->from_name)));
	*seen = constraint->to + 1;
}

/* Group the constraints by the step that they start from. */
static void
build_edges(Compiler *compiler)
{
	WfPlan	   *plan = compiler->plan;
	int32		first = 0;
	int32		i;

	plan->nedges = compiler->nconstraints;
	plan->edges = MemoryContextAllocHuge(compiler->plan_context,
										 mul_size(plan->nedges,
												  sizeof(WfPlanEdge)));
	for (i = 0; i < compiler->nconstraints; i++)
		plan->steps[compiler->constraints[i].from].nedges++;
	for (i = 0; i < plan->nsteps; i++)
	{
		plan->steps[i].first_edge = first;
		first += plan->steps[i].nedges;
		plan->steps[i].nedges = 0;
	}
	for (i = 0; i < compiler->nconstraints; i++)
	{
		const Constraint *constraint = &compiler->constraints[i];
		WfPlanStep *from = &plan->steps[constraint->from];
		WfPlanEdge *edge = &plan->edges[from->first_edge + from->nedges++];

		edge->to = constraint->to;
		edge->on = constraint->on;
	}
}

/* Put the steps in an order in which each follows all that it waits for. */
static void
sort_steps(Compiler *compiler)
{
	WfPlan	   *plan = compiler->plan;
	int32	   *order = palloc(mul_size(plan->nsteps, sizeof(int32)));
	int32	   *waits_for = palloc(mul_size(plan->nsteps, sizeof(int32)));
	int32		n = 0;
	int32		i;
	int32		k;

	for (i = 0; i < plan->nsteps; i++)
	{
		waits_for[i] = plan->steps[i].nconstraints;
		if (waits_for[i] == 0)
			order[n++] = i;
	}
	for (i = 0; i < n; i++)
	{
		const WfPlanStep *step = &plan->steps[order[i]];

		for (k = 0; k < step->nedges; k++)
		{
			int32		to = plan->edges[step->first_edge + k].to;

			if (--waits_for[to] == 0)
				order[n++] = to;
		}
	}
	if (n < plan->nsteps)
		report_cycle(compiler, waits_for);
	compiler->order = order;
}

/*
 * report_cycle
 *		Name the steps of one cycle.  Every step that is left waits for one
 *		that is left, so going from one to the next must come round.
 */
static void
report_cycle(const Compiler *compiler, const int32 *waits_for)
{
	const WfPlan *plan = compiler->plan;
	int32	   *next = palloc0(mul_size(plan->nsteps, sizeof(int32)));
	StringInfoData path;
	int32		step = 0;
	int32		first;
	int			shown = 0;

	while (waits_for[step] == 0)
		step++;
	while (next[step] == 0)
	{
		int32		i = compiler->first_constraint[step];

		while (waits_for[compiler->constraints[i].from] == 0)
			i++;
		/* from 1, as 0 stands for a step that was not visited */
		next[step] = compiler->constraints[i].from + 1;
		step = next[step] - 1;
	}

	initStringInfo(&path);
	first = step;
	do
	{
		if (++shown <= 20)
			appendStringInfo(&path, "\"%s\" after ", plan->steps[step].name);
		else if (shown == 21)
			appendStringInfoString(&path, "... after ");
		step = next[step] - 1;
	} while (step != first);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
			 errmsg("step \"%s\" of package \"%s\" waits for itself through other steps",
					plan->steps[first].name, plan->name),
			 errdetail("The constraints form a cycle: %s\"%s\".",
					   path.data, plan->steps[first].name)));
}

/*
 * runs_inline
 *		True if one worker can execute a run alone: there are no child runs
 *		and no timers, and no two steps are ever in progress at the same time
 *		in different sessions.  False where that is not plain to see.
 *
 * Steps on one connection exclude each other whatever the constraints are,
 * and so do unnamed steps that join.  An unnamed step that does not join needs
 * a session beside that of the package transaction.
 */
static bool
runs_inline(const Compiler *compiler)
{
	const WfPlan *plan = compiler->plan;
	bool		found = false;
	bool		joins = false;
	int32		connection = -1;
	int32		i;

	if (plan->timeout_ms > 0 || plan->max_attempts > 1)
		return false;
	for (i = 0; i < plan->nsteps; i++)
	{
		const WfPlanStep *step = &plan->steps[i];

		if (step->disabled)
			continue;
		if (needs_driver(step))
			return false;
		if (step->kind == WF_KIND_NONE)
			continue;
		if (step->kind != WF_KIND_SQL ||
			(found && step->connection != connection) ||
			(found && connection < 0 && step->joins != joins))
			return false;
		found = true;
		connection = step->connection;
		joins = step->joins;
	}
	return connection >= 0 || joins || plan->max_concurrent_steps == 1 ||
		is_sequential(compiler);
}

/* True if a step has what a worker that is alone with the run cannot do. */
static bool
needs_driver(const WfPlanStep *step)
{
	return step->has_condition || step->max_attempts > 1 ||
		step->timeout_ms > 0 || step->finally != 0;
}

/*
 * is_sequential
 *		True if the constraints alone keep any two steps from being in
 *		progress at the same time.
 *
 * Of each step keep one constraint without which it cannot start.  That makes
 * a forest, in which a step starts only after all those on the path from its
 * root have completed, each with the outcome that the path asks for.  Of two
 * steps either one is on the path of the other, so they follow each other,
 * or their paths part at some step.  If they go on from there with success
 * and with failure, only one of the two ever starts.  So it is enough that at
 * most one branch that executes something goes on from each step with each
 * outcome, and that there is at most one such root.
 *
 * The constraint kept is the one on the latest step in the order, which in a
 * chain with additional constraints is the one before.  With precedence "any"
 * and several constraints there is none that is necessary.
 */
static bool
is_sequential(const Compiler *compiler)
{
	const WfPlan *plan = compiler->plan;
	int32	   *position = palloc(mul_size(plan->nsteps, sizeof(int32)));
	bool	   *executes = palloc0(plan->nsteps);
	uint8	   *taken = palloc0(plan->nsteps);
	int			roots = 0;
	int32		i;

	for (i = 0; i < plan->nsteps; i++)
		position[compiler->order[i]] = i;
	for (i = plan->nsteps - 1; i >= 0; i--)
	{
		int32		step = compiler->order[i];
		int32		from;
		uint8		outcomes;
		WfOn		on = WF_ON_COMPLETION;

		/* what waits for a disabled step never starts */
		if (plan->steps[step].disabled)
			continue;
		if (plan->steps[step].kind == WF_KIND_NONE && !executes[step])
			continue;
		from = latest_predecessor(compiler, step, position, &on);
		if (from < 0)
		{
			if (++roots > 1)
				return false;
			continue;
		}
		outcomes = on == WF_ON_SUCCESS ? 1 : on == WF_ON_FAILURE ? 2 : 3;
		if (taken[from] & outcomes)
			return false;
		taken[from] |= outcomes;
		executes[from] = true;
	}
	return true;
}

/* The step at which the kept constraint of a step starts, or -1. */
static int32
latest_predecessor(const Compiler *compiler, int32 step,
				   const int32 *position, WfOn *on)
{
	int32		begin = compiler->first_constraint[step];
	int32		end = compiler->first_constraint[step + 1];
	int32		latest = -1;
	int32		i;

	if (compiler->plan->steps[step].any && end - begin > 1)
		return -1;
	for (i = begin; i < end; i++)
	{
		const Constraint *constraint = &compiler->constraints[i];

		if (latest < 0 || position[constraint->from] > position[latest])
		{
			latest = constraint->from;
			*on = constraint->on;
		}
	}
	return latest;
}

/*
 * count_sessions
 *		Sessions that the steps of a run may hold at the same time (admission):
 *		one for each connection, one for unnamed steps that join, and one for
 *		those that do not.  Steps that join an inherited transaction use the
 *		owner's; if none of the owner's steps brings it one, its children
 *		will.
 */
static int32
count_sessions(const WfPlan *plan, bool inherits)
{
	bool	   *used = palloc0(mul_size(plan->nconnections, sizeof(bool)));
	bool		joining = false;
	bool		alone = false;
	int32		sessions = 0;
	int32		i;

	for (i = 0; i < plan->nsteps; i++)
	{
		const WfPlanStep *step = &plan->steps[i];

		if (!executes(step) || (inherits && step->joins))
			continue;
		if (step->connection < 0 && step->joins)
			joining = true;
		else if (step->connection < 0)
			alone = true;
		else if (!used[step->connection])
		{
			used[step->connection] = true;
			sessions++;
		}
	}
	if (!inherits && only_children_join(plan))
		joining = true;
	return sessions + (joining ? 1 : 0) + (alone ? 1 : 0);
}

static bool
executes(const WfPlanStep *step)
{
	return step->kind == WF_KIND_SQL && !step->disabled;
}

/* The transaction's session comes from a child. */
static bool
only_children_join(const WfPlan *plan)
{
	bool		found = false;
	int32		i;

	for (i = 0; i < plan->nsteps; i++)
	{
		const WfPlanStep *step = &plan->steps[i];

		if (step->joins && executes(step))
			return false;
		if (step->joins && !step->disabled)
			found = true;
	}
	return found;
}

/* Copy a string into the plan; NULL for null. */
static char *
copy_string(Compiler *compiler, const JsonbValue *value)
{
	MemoryContext old = MemoryContextSwitchTo(compiler->plan_context);
	char	   *copy = wf_value_string(value);

	MemoryContextSwitchTo(old);
	return copy;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(((const WfPlanName *) a)->name,
				  ((const WfPlanName *) b)->name);
}

/* Sort names for find_name(); ERROR if one is there twice. */
static void
sort_names(WfPlanName *names, int32 n, const char *what, const char *package)
{
	int32		i;

	qsort(names, n, sizeof(WfPlanName), compare_names);
	for (i = 1; i < n; i++)
	{
		if (compare_names(&names[i - 1], &names[i]) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("package \"%s\" has more than one %s \"%s\"",
							package, what, names[i].name)));
	}
}

/* What a name stands for, or -1. */
static int32
find_name(const WfPlanName *names, int32 n, const char *name)
{
	WfPlanName	key = {.name = name};
	WfPlanName *found = NULL;

	if (n > 0)
		found = bsearch(&key, names, n, sizeof(WfPlanName), compare_names);
	return found ? found->index : -1;
}

/* Index of the step with this name, or -1. */
int32
wf_plan_step_index(const WfPlan *plan, const char *name)
{
	return find_name(plan->step_names, plan->nsteps, name);
}

/* The plan of a version, compiled at first use; NULL if there is none. */
const WfPlan *
wf_plan_get(int64 package_id, int32 version)
{
	CacheKey	key = {package_id, version};
	CacheEntry *entry;

	prepare_cache();
	entry = hash_search(cache, &key, HASH_FIND, NULL);
	if (entry)
		return entry->plan;
	return load_plan(package_id, version);
}

/*
 * prepare_cache
 *		Make the cache, empty, if there is none or the extension is another
 *		one.  The generation is known once the tables are; they are looked up
 *		first, since the plans that are taken from here are not to go away
 *		with the second look.
 */
static void
prepare_cache(void)
{
	HASHCTL		control = {0};
	uint64		generation;

	if (cache == NULL)
		(void) wf_catalog_relid(WF_TABLE_DEFINITION);
	generation = wf_catalog_generation();
	if (cache && cache_generation == generation)
		return;
	cache = NULL;
	if (cache_context == NULL)
		cache_context = AllocSetContextCreate(CacheMemoryContext,
											  "workflow plans",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(cache_context);

	control.keysize = sizeof(CacheKey);
	control.entrysize = sizeof(CacheEntry);
	control.hcxt = cache_context;
	cache = hash_create("workflow plans", 64, &control,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	cache_generation = generation;
}

/* Compile the plan of a version into the cache. */
static WfPlan *
load_plan(int64 package_id, int32 version)
{
	CacheKey	key = {package_id, version};
	CacheEntry *entry;
	MemoryContext old = CurrentMemoryContext;
	MemoryContext load_context;
	MemoryContext plan_context;
	Jsonb	   *document;
	WfPlan	   *plan = NULL;

	load_context = AllocSetContextCreate(old, "workflow plan document",
										 ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(load_context);
	document = wf_catalog_get_document(package_id, version);
	if (document)
	{
		plan_context = AllocSetContextCreate(load_context, "workflow plan",
											 ALLOCSET_START_SMALL_SIZES);
		MemoryContextSwitchTo(plan_context);
		plan = wf_plan_compile(package_id, version, document);
		MemoryContextCopyAndSetIdentifier(plan_context, plan->name);
		entry = hash_search(cache, &key, HASH_ENTER, NULL);
		entry->plan = plan;
		MemoryContextSetParent(plan_context, cache_context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(load_context);
	return plan;
}
