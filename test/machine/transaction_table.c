/*-------------------------------------------------------------------------
 *
 * transaction_table.c
 *	  Decision table 3.1 in full: all 256 combinations of one step's outcome
 *	  and of the options that decide what becomes of its work.
 *
 * Package P: step s0 joins and writes p0; then, whatever came of it, step s
 * on a connection to another instance, with the options of the row, writes
 * s1 and s2, or fails after s1.  If it inherits, P is run by step x of package
 * O, which joins after o0 has joined.  Each combination is run four times:
 * with atomic steps and without, with fail_on_first_error of P and, for the
 * same effect, fail_package_on_error of s.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include "transaction_test.h"

/* The options, as bits of a combination and as columns of the table. */
enum
{
	OK, USE_TX, INHERITS, JOIN, COMMIT_OK, ROLLBACK_FAIL, COMMIT_END, FOE,
	NCOLUMNS
};

typedef struct Line
{
	const char *options;		/* 0, 1, or - for either */
	const char *p0;
	const char *s1;				/* and s2 */
	const char *s;				/* result of the step, then of P, and so on */
	const char *p;
	const char *transaction;	/* when P ends */
	const char *x;
	const char *o;
} Line;

/* Semantics, table 3.1; the first column is 1 if s succeeds. */
static const Line lines[] = {
	{"100-----", "AUTO", "AUTO", "success", "success", "none", "", ""},
	{"1101--1-", "OWN", "OWN", "success", "success", "committed", "", ""},
	{"11011---", "OWN", "OWN", "success", "success", "committed", "", ""},
	{"11010-0-", "LOST", "LOST", "success", "success", "rolled_back", "", ""},
	{"1100--1-", "OWN", "AUTO", "success", "success", "committed", "", ""},
	{"11001---", "OWN", "AUTO", "success", "success", "committed", "", ""},
	{"11000-0-", "LOST", "AUTO", "success", "success", "rolled_back", "", ""},
	{"101-----", "AUTO", "AUTO", "success", "success", "active", "success",
	"success"},
	{"1111----", "PARENT", "PARENT", "success", "success", "active",
	"success", "success"},
	{"1110----", "PARENT", "AUTO", "success", "success", "active",
	"success", "success"},
	{"000----1", "AUTO", "AUTO", "failure", "failure", "none", "", ""},
	{"000----0", "AUTO", "AUTO", "failure", "success", "none", "", ""},
	{"0101---1", "LOST", "LOST", "failure", "failure", "rolled_back", "", ""},
	{"0101--00", "LOST", "LOST", "failure", "success", "rolled_back", "", ""},
	{"0101-1-0", "LOST", "LOST", "failure", "success", "rolled_back", "", ""},
	{"0101-010", "OWN", "OWN", "failure", "success", "committed", "", ""},
	{"0100---1", "LOST", "AUTO", "failure", "failure", "rolled_back", "", ""},
	{"0100--00", "LOST", "AUTO", "failure", "success", "rolled_back", "", ""},
	{"0100-1-0", "LOST", "AUTO", "failure", "success", "rolled_back", "", ""},
	{"0100-010", "OWN", "AUTO", "failure", "success", "committed", "", ""},
	{"001----1", "AUTO", "AUTO", "failure", "failure", "active", "failure",
	"success"},
	{"001----0", "AUTO", "AUTO", "failure", "success", "active", "success",
	"success"},
	{"0111-1-1", "LOST", "LOST", "failure", "failure", "invalid", "failure",
	"failure"},
	{"0111-1-0", "LOST", "LOST", "failure", "success", "invalid", "success",
	"failure"},
	{"0111-0-1", "PARENT", "PARENT", "failure", "failure", "active",
	"failure", "success"},
	{"0111-0-0", "PARENT", "PARENT", "failure", "success", "active",
	"success", "success"},
	{"0110-1-1", "LOST", "AUTO", "failure", "failure", "invalid", "failure",
	"failure"},
	{"0110-1-0", "LOST", "AUTO", "failure", "success", "invalid", "success",
	"failure"},
	{"0110-0-1", "PARENT", "AUTO", "failure", "failure", "active", "failure",
	"success"},
	{"0110-0-0", "PARENT", "AUTO", "failure", "success", "active",
	"success", "success"},
};

/* What was seen; texts as in the table. */
typedef struct Seen
{
	const char *fates[3];		/* of p0, s1, s2, when P ends */
	const char *s;
	const char *p;
	const char *transaction;
	const char *x;
	const char *o;
} Seen;

typedef struct Bed
{
	GroupPackage packages[2];	/* O and P, or P alone */
	Group		group;
	int			run;			/* of P */
	const char *ended;			/* how P's own transaction last ended */
	Seen		seen;
} Bed;

static bool
matches(const Line *line, const bool *options)
{
	int			i;

	for (i = 0; i < NCOLUMNS; i++)
	{
		if (line->options[i] != '-' && (line->options[i] == '1') != options[i])
			return false;
	}
	return true;
}

static void
make_package(GroupPackage *package, bool use_transactions, int last_kind)
{
	WfPlan	   *plan = &package->test.plan;

	plan_init(&package->test, 2, 1);
	plan_edge(&package->test, 0, 1, WF_ON_COMPLETION);
	plan_sort_edges(&package->test);
	plan->use_transactions = use_transactions;
	plan->commit_on_completion = true;
	plan->isolation = WF_READ_COMMITTED;
	plan->nconnections = 2;
	plan->connections[1].instance = 1;
	plan->steps[0].connection = 0;
	plan->steps[0].joins = use_transactions;
	plan->steps[1].kind = last_kind;
}

static void
make_bed(Bed *bed, const bool *options, bool atomic, bool step_fails_package)
{
	GroupPackage *package = &bed->packages[options[INHERITS]];
	WfPlanStep *step;

	memset(bed, 0, offsetof(Bed, group));
	memset(&bed->seen, 0, sizeof(Seen));
	bed->ended = "none";
	bed->run = -1;
	if (options[INHERITS])
	{
		make_package(&bed->packages[0], true, WF_KIND_PACKAGE);
		bed->packages[0].child[1] = 1;
		bed->packages[0].test.plan.steps[1].joins = true;
	}
	make_package(package, options[USE_TX], WF_KIND_SQL);
	step = &package->test.plan.steps[1];
	step->connection = 1;
	step->atomic = atomic;
	step->joins = options[USE_TX] && options[JOIN];
	step->commit_on_success = options[USE_TX] && options[COMMIT_OK];
	step->rollback_on_failure = options[USE_TX] && options[ROLLBACK_FAIL];
	package->test.plan.commit_on_completion = options[COMMIT_END];
	if (options[FOE] && step_fails_package)
		step->fail_package_on_error = true;
	else
		package->test.plan.fail_on_first_error = options[FOE];
	group_init(&bed->group, bed->packages);
	if (!options[INHERITS])
		bed->run = 0;
}

static const char *
fate_name(const Bed *bed, const GroupRow *row)
{
	switch ((Fate) row->fate)
	{
		case FATE_AUTO:
			return "AUTO";
		case FATE_LOST:
			return "LOST";
		case FATE_PENDING:
			return row->owner == bed->run ? "pending" : "PARENT";
		case FATE_KEPT:
			break;
	}
	return row->owner == bed->run ? "OWN" : "kept by parent";
}

static const char *
result_name(bool success)
{
	return success ? "success" : "failure";
}

/* P has ended, and what that had to be followed by is done. */
static void
look_at_end(Bed *bed)
{
	Group	   *group = &bed->group;
	WfMachine  *machine = group->runs[bed->run].machine;
	int			i;

	for (i = 0; i < group->nrows; i++)
	{
		const GroupRow *row = &group->rows[i];

		if (row->run == bed->run)
			bed->seen.fates[row->step == 0 ? 0 : row->statement] =
				fate_name(bed, row);
	}
	bed->seen.s = result_name(wf_machine_step_status(machine, 1) ==
							  WF_STEP_SUCCEEDED);
	bed->seen.p = result_name(group->runs[bed->run].result ==
							  WF_RUN_SUCCEEDED);
	bed->seen.transaction = bed->ended;
	if (bed->run != 0)
		bed->seen.transaction =
			group->transactions[0].state == WF_TRANSACTION_ACTIVE ? "active" :
			group->transactions[0].state == WF_TRANSACTION_INVALID ?
			"invalid" : "?";
}

/* Carry an action out at once. */
static void
carry_out(Bed *bed, int run, const WfAction *action, bool success)
{
	Group	   *group = &bed->group;
	bool		commit = action->type == WF_ACT_COMMIT;

	switch (action->type)
	{
		case WF_ACT_EXECUTE:
			if (run != bed->run || action->step == 0)
				success = true;
			group_execute(group, run, action->step, success);
			wf_machine_step_ended(group->runs[run].machine, action->step,
								  success ? WF_STEP_SUCCEEDED : WF_STEP_FAILED,
								  success ? 0 : pack_sqlstate("22012"));
			break;
		case WF_ACT_CHILD:
			bed->run = group_start(group, run, action->step,
								   action->transaction != 0);
			break;
		case WF_ACT_COMMIT:
		case WF_ACT_ROLLBACK:
			if (run == bed->run)
				bed->ended = commit ? "committed" : "rolled_back";
			group_end_transaction(group, run, commit, 0);
			break;
		default:
			break;
	}
}

/* The runs of both packages, to their end. */
static void
run_bed(Bed *bed, bool success)
{
	Group	   *group = &bed->group;
	WfAction	action;
	int			idle;
	int			run;

	while (!group->runs[0].ended)
	{
		for (idle = 0, run = 0; idle < group->nruns;
			 run = (run + 1) % group->nruns)
		{
			if (group_next(group, run, &action))
			{
				carry_out(bed, run, &action, success);
				idle = 0;
			}
			else
				idle++;
		}
		if (group->runs[bed->run].reported || !group->runs[bed->run].ended)
			break;
		look_at_end(bed);
		group->runs[bed->run].reported = true;
		if (bed->run == 0)
			break;
		bed->seen.x = result_name(group->runs[1].result == WF_RUN_SUCCEEDED);
		wf_machine_step_ended(group->runs[0].machine, 1,
							  group->runs[1].result == WF_RUN_SUCCEEDED ?
							  WF_STEP_SUCCEEDED : WF_STEP_FAILED, 0);
	}
	if (bed->run != 0)
		bed->seen.o = result_name(group->runs[0].result == WF_RUN_SUCCEEDED);
}

/* What belongs to the parent shares the fate of the parent's transaction. */
static bool
parent_kept_right(const Bed *bed, const Line *line)
{
	int			i;

	if (bed->run == 0)
		return true;
	for (i = 0; i < bed->group.nrows; i++)
	{
		const GroupRow *row = &bed->group.rows[i];

		if (row->fate != FATE_AUTO &&
			(row->fate == FATE_KEPT) != (strcmp(line->o, "success") == 0))
			return false;
	}
	return true;
}

static bool
same(const char *seen, const char *expected)
{
	return strcmp(seen ? seen : "", expected) == 0;
}

static bool
check_bed(const Bed *bed, const Line *line, bool success, bool atomic)
{
	const Seen *seen = &bed->seen;

	return same(seen->fates[0], line->p0) &&
		same(seen->fates[1], success || !atomic ? line->s1 : "") &&
		same(seen->fates[2], success ? line->s1 : "") &&
		same(seen->s, line->s) && same(seen->p, line->p) &&
		same(seen->transaction, line->transaction) &&
		same(seen->x, line->x) && same(seen->o, line->o) &&
		bed->group.runs[0].ended && parent_kept_right(bed, line);
}

static bool
test_combination(const Line *line, const bool *options, bool atomic,
				 bool step_fails_package)
{
	static Bed	bed;
	bool		passed;

	make_bed(&bed, options, atomic, step_fails_package);
	run_bed(&bed, options[OK]);
	passed = check_bed(&bed, line, options[OK], atomic);
	if (!passed)
		printf("# atomic %d: p0 %s, s1 %s, s2 %s, step %s, package %s, "
			   "transaction %s, x %s, owner %s\n", atomic,
			   bed.seen.fates[0], bed.seen.fates[1], bed.seen.fates[2],
			   bed.seen.s, bed.seen.p, bed.seen.transaction, bed.seen.x,
			   bed.seen.o);
	plan_free(&bed.packages[0].test);
	if (options[INHERITS])
		plan_free(&bed.packages[1].test);
	return passed;
}

static void
read_options(int combination, bool *options)
{
	int			i;

	for (i = 0; i < NCOLUMNS; i++)
		options[i] = (combination >> i) & 1;
}

/* One line, in all its combinations; notes which they are. */
static void
test_line(int number, bool *covered)
{
	const Line *line = &lines[number];
	bool		options[NCOLUMNS];
	bool		passed = true;
	char		name[80];
	int			count = 0;
	int			i;
	int			j;

	for (i = 0; i < 1 << NCOLUMNS; i++)
	{
		read_options(i, options);
		if (!matches(line, options))
			continue;
		covered[i] = true;
		count++;
		for (j = 0; j < 4; j++)
			passed = test_combination(line, options, j & 1, j & 2) && passed;
	}
	snprintf(name, sizeof(name), "table 3.1, T%d: %d combinations",
			 number + 1, count);
	tap(passed && count > 0, name);
}

void
test_transaction_table(void)
{
	bool		covered[1 << NCOLUMNS];
	bool		all = true;
	int			i;

	memset(covered, 0, sizeof(covered));
	for (i = 0; i < (int) lengthof(lines); i++)
		test_line(i, covered);
	for (i = 0; i < 1 << NCOLUMNS; i++)
		all = all && covered[i];
	tap(all, "table 3.1: every combination is in a line");
}
