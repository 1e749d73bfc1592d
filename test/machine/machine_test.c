/*-------------------------------------------------------------------------
 *
 * machine_test.c
 *	  Test program of the run machine, without a server.
 *
 *		machine_test [--seed N] [--packages N]
 *
 * Three parts, in TAP format:
 *
 * Cases: small packages with the actions that are expected.
 *
 * Random packages: each is run with random outcomes, in random order, with
 * random stops, and actions taken out at random moments, and compared with a
 * model after each step of the way.  Then it is replayed, from the beginning
 * and from a copy that was saved somewhere in the middle: both must ask for
 * the same actions and come to the same state.  Package number k of seed s is
 * number 0 of seed s + k, so that one can be run alone.
 *
 * Sizes: large packages; what is not linear is seen by waiting.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <time.h>

#include "machine_test.h"

#define MAX_OPS			1024

static int	test_count = 0;
static int	test_failures = 0;

void
tap(bool passed, const char *name)
{
	test_count++;
	if (!passed)
		test_failures++;
	printf("%sok %d - %s\n", passed ? "" : "not ", test_count, name);
	fflush(stdout);
}

/*
 * Random numbers: splitmix64.
 */

static uint64 random_state;

static uint32
random_bits(void)
{
	uint64		z = (random_state += UINT64CONST(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64CONST(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64CONST(0x94d049bb133111eb);
	return (uint32) ((z ^ (z >> 31)) >> 32);
}

/* 0 .. n - 1 */
static int
random_below(int n)
{
	return (int) (((uint64) random_bits() * n) >> 32);
}

static bool
random_percent(int percent)
{
	return random_below(100) < percent;
}

/*
 * Plans.
 */

void
plan_init(TestPlan *test, int nsteps, int max_edges)
{
	int			i;

	memset(test, 0, sizeof(TestPlan));
	test->edges = calloc(max_edges + 1, sizeof(TestEdge));
	test->plan.edges = calloc(max_edges + 1, sizeof(WfPlanEdge));
	test->plan.steps = calloc(nsteps + 1, sizeof(WfPlanStep));
	test->plan.nsteps = nsteps;
	test->plan.max_concurrent_steps = 4;
	for (i = 0; i < nsteps; i++)
	{
		test->plan.steps[i].kind = WF_KIND_SQL;
		test->plan.steps[i].connection = -1;
	}
}

void
plan_edge(TestPlan *test, int from, int to, WfOn on)
{
	TestEdge   *edge = &test->edges[test->nedges++];

	edge->from = from;
	edge->to = to;
	edge->on = on;
	test->plan.steps[from].nedges++;
	test->plan.steps[to].nconstraints++;
}

void
plan_sort_edges(TestPlan *test)
{
	WfPlanStep *steps = test->plan.steps;
	int			next = 0;
	int			i;

	for (i = 0; i < test->plan.nsteps; i++)
	{
		steps[i].first_edge = next;
		next += steps[i].nedges;
		steps[i].nedges = 0;
	}
	for (i = 0; i < test->nedges; i++)
	{
		WfPlanStep *from = &steps[test->edges[i].from];
		WfPlanEdge *edge;

		edge = &test->plan.edges[from->first_edge + from->nedges++];
		edge->to = test->edges[i].to;
		edge->on = test->edges[i].on;
	}
	test->plan.nedges = test->nedges;
}

void
plan_free(TestPlan *test)
{
	free(test->edges);
	free(test->plan.edges);
	free(test->plan.steps);
}

WfMachine *
machine_new(const WfPlan *plan)
{
	return wf_machine_init(malloc(wf_machine_size(plan)), plan);
}

/*
 * Random packages.
 */

static void
random_step(WfPlanStep *step, int nconnections, int any_percent)
{
	int			kind = random_below(10);

	if (kind < 2)
		step->kind = WF_KIND_NONE;
	else if (kind < 4)
		step->kind = WF_KIND_PACKAGE;
	else if (kind < 5)
		step->kind = WF_KIND_JOB;
	if (nconnections > 0 && step->kind == WF_KIND_SQL && random_percent(70))
		step->connection = random_below(nconnections);
	step->any = random_percent(any_percent);
}

/* Constraints lead from earlier to later steps of a random order. */
static void
random_edges(TestPlan *test, int max_sources)
{
	static const WfOn on[] = {WF_ON_SUCCESS, WF_ON_SUCCESS, WF_ON_SUCCESS,
	WF_ON_FAILURE, WF_ON_COMPLETION};
	int			order[MAX_STEPS];
	int			i;

	for (i = 0; i < test->plan.nsteps; i++)
	{
		int			place = random_below(i + 1);

		order[i] = order[place];
		order[place] = i;
	}
	for (i = 0; i < test->plan.nsteps; i++)
	{
		int			nsources = i == 0 ? 0 : random_below(max_sources + 1);

		while (nsources-- > 0)
			plan_edge(test, order[random_below(i)], order[i],
					  on[random_below(lengthof(on))]);
	}
}

static void
random_plan(TestPlan *test)
{
	int			nsteps = random_below(MAX_STEPS + 1);
	int			disabled = random_below(3) * 10;
	int			any = random_below(3) * 30;
	int			priorities = 1 + random_below(4);
	int			i;

	if (random_percent(30))
		nsteps = random_below(6);
	plan_init(test, nsteps, nsteps * 4);
	test->plan.nconnections = random_below(MAX_CONNECTIONS + 1);
	test->plan.fail_on_first_error = random_percent(40);
	test->plan.max_concurrent_steps =
		random_percent(80) ? 1 + random_below(5) : 100;
	for (i = 0; i < nsteps; i++)
	{
		WfPlanStep *step = &test->plan.steps[i];

		random_step(step, test->plan.nconnections, any);
		step->disabled = random_percent(disabled);
		step->priority = random_below(priorities) - 1;
	}
	random_edges(test, 1 + random_below(4));
	plan_sort_edges(test);
}

/* What was done with a machine, and what it answered. */
typedef enum OpType
{
	OP_NEXT,
	OP_ENDED,
	OP_STOP
} OpType;

typedef struct Op
{
	OpType		type;
	int			step;			/* OP_ENDED */
	WfStepStatus status;		/* OP_ENDED */
	bool		given;			/* OP_NEXT */
	WfAction	action;			/* OP_NEXT */
} Op;

typedef struct Trial
{
	TestPlan	test;
	Model		model;
	WfMachine  *machine;
	WfMachine  *saved;			/* a copy made before op number saved_at */
	int			saved_at;
	int			failure_percent;
	int			cancel_percent;
	int			stop_permille;
	int			event_percent;	/* an event though there are actions */
	int			nops;
	Op			ops[MAX_OPS];
} Trial;

static int	outcomes[128];		/* number of runs by WfRunStatus */

static void
trial_op(Trial *trial, OpType type, int step, WfStepStatus status)
{
	Op		   *op = &trial->ops[trial->nops++];

	memset(op, 0, sizeof(Op));
	op->type = type;
	op->step = step;
	op->status = status;
	switch (type)
	{
		case OP_NEXT:
			op->given = wf_machine_next(trial->machine, &op->action);
			model_check_next(&trial->model, op->given, &op->action);
			break;
		case OP_ENDED:
			wf_machine_step_ended(trial->machine, step, status);
			model_ended(&trial->model, step, status);
			break;
		case OP_STOP:
			wf_machine_stop(trial->machine);
			model_stop(&trial->model);
			break;
	}
	expect(trial->nops < MAX_OPS - 10, "too many operations");
	model_check_views(&trial->model, trial->machine);
}

static WfStepStatus
random_outcome(const Trial *trial)
{
	if (random_percent(trial->model.stopped ? 60 : trial->cancel_percent))
		return WF_STEP_CANCELLED;
	if (random_percent(trial->failure_percent))
		return WF_STEP_FAILED;
	return WF_STEP_SUCCEEDED;
}

/* A running step ends; now and then one that does not run "ends" too. */
static void
trial_event(Trial *trial)
{
	int			nsteps = trial->test.plan.nsteps;
	int			step = random_below(nsteps);

	if (!random_percent(5))
	{
		while (trial->model.status[step] != WF_STEP_RUNNING)
			step = (step + 1) % nsteps;
	}
	trial_op(trial, OP_ENDED, step, random_outcome(trial));
}

/*
 * Save the machine, go on with it in some way that leads elsewhere, and bring
 * it back: whatever follows must not show that.
 */
static void
trial_save(Trial *trial)
{
	Size		size = wf_machine_size(&trial->test.plan);
	WfAction	action;
	int			i;

	memcpy(trial->saved, trial->machine, size);
	trial->saved_at = trial->nops;

	for (i = 0; i < trial->test.plan.nsteps; i++)
	{
		wf_machine_step_ended(trial->machine, i, WF_STEP_FAILED);
		wf_machine_next(trial->machine, &action);
	}
	wf_machine_stop(trial->machine);
	for (i = 0; i < MAX_OPS; i++)
	{
		if (!wf_machine_next(trial->machine, &action))
			break;
	}
	memcpy(trial->machine, trial->saved, size);
}

static void
trial_run(Trial *trial)
{
	bool		idle = false;

	model_check_views(&trial->model, trial->machine);
	while (!trial->model.ended && complaint == NULL)
	{
		if (random_below(1000) < trial->stop_permille)
			trial_op(trial, OP_STOP, 0, 0);
		if (random_below(8) == 0)
			trial_save(trial);
		if (trial->model.running > 0 &&
			(idle || random_percent(trial->event_percent)))
			trial_event(trial);

		trial_op(trial, OP_NEXT, 0, 0);
		idle = !trial->ops[trial->nops - 1].given;
	}
}

/* After the end nothing has an effect. */
static void
trial_after_end(Trial *trial)
{
	if (complaint)
		return;
	outcomes[trial->ops[trial->nops - 1].action.run_status]++;
	trial_op(trial, OP_STOP, 0, 0);
	trial_op(trial, OP_NEXT, 0, 0);
	expect(!trial->ops[trial->nops - 1].given, "an action after the end");
}

/* Do the same from op number `first` on; the machine is freed. */
static void
trial_replay(Trial *trial, WfMachine *machine, int first)
{
	WfAction	action;
	int			i;

	for (i = first; i < trial->nops; i++)
	{
		const Op   *op = &trial->ops[i];

		if (op->type == OP_ENDED)
			wf_machine_step_ended(machine, op->step, op->status);
		else if (op->type == OP_STOP)
			wf_machine_stop(machine);
		else
		{
			memset(&action, 0, sizeof(action));
			expect(wf_machine_next(machine, &action) == op->given,
				   "replay: number of actions");
			expect(memcmp(&action, &op->action, sizeof(action)) == 0,
				   "replay: another action");
		}
	}
	expect(memcmp(machine, trial->machine,
				  wf_machine_size(&trial->test.plan)) == 0,
		   "replay: another state");
	free(machine);
}

static bool
random_package(uint64 seed)
{
	static Trial trial;

	random_state = seed;
	complaint = NULL;
	trial.nops = 0;
	random_plan(&trial.test);
	trial.failure_percent = random_below(3) * 20;
	trial.cancel_percent = random_below(2) * 5;
	trial.stop_permille = random_below(3) * 20;
	trial.event_percent = random_below(3) * 25;
	trial.machine = machine_new(&trial.test.plan);
	trial.saved = machine_new(&trial.test.plan);
	trial.saved_at = 0;

	model_init(&trial.model, &trial.test);
	trial_run(&trial);
	trial_after_end(&trial);
	if (complaint == NULL)
	{
		trial_replay(&trial, machine_new(&trial.test.plan), 0);
		trial_replay(&trial, trial.saved, trial.saved_at);
	}
	else
		free(trial.saved);
	free(trial.machine);
	plan_free(&trial.test);
	return complaint == NULL;
}

static void
test_random(uint64 seed, int packages)
{
	char		name[80];
	int			bad = 0;
	int			i;

	printf("# seed " UINT64_FORMAT "\n", seed);
	for (i = 0; i < packages; i++)
	{
		if (random_package(seed + i))
			continue;
		if (bad++ < 10)
			printf("# %s: --packages 1 --seed " UINT64_FORMAT "\n",
				   complaint, seed + i);
	}
	printf("# %d succeeded, %d failed, %d cancelled\n",
		   outcomes[WF_RUN_SUCCEEDED], outcomes[WF_RUN_FAILED],
		   outcomes[WF_RUN_CANCELLED]);
	snprintf(name, sizeof(name), "%d random packages", packages);
	tap(bad == 0, name);
}

/*
 * Sizes.
 */

typedef enum Shape
{
	SHAPE_CHAIN,				/* each step after the one before it */
	SHAPE_CHAIN_NONE,			/* the same, of steps of kind none */
	SHAPE_CHAIN_DISABLED,		/* the same behind a disabled step */
	SHAPE_FAN,					/* 1 -> n -> 1 */
	SHAPE_FAN_PRIORITY,			/* the same, the last of the n first */
	SHAPE_FAN_CONNECTION,		/* the same, the n on one connection */
	SHAPE_FAN_FAIL,				/* the same, the first of the n fails */
	SHAPE_FAN_STOP				/* the same, a stop when all n run */
} Shape;

static const char *const shape_names[] = {
	"chain", "chain of none", "chain behind a disabled step", "fan",
	"fan with priorities", "fan on one connection", "failing fan",
	"stopped fan"
};

static void
shape_plan(TestPlan *test, Shape shape, int n)
{
	int			i;

	plan_init(test, n + 2, 2 * n + 1);
	test->plan.max_concurrent_steps = shape == SHAPE_FAN_STOP ? n : 4;
	test->plan.nconnections = 1;
	test->plan.fail_on_first_error = true;
	for (i = 1; i <= n + 1; i++)
	{
		WfPlanStep *step = &test->plan.steps[i];

		if (shape < SHAPE_FAN)
			plan_edge(test, i - 1, i, WF_ON_SUCCESS);
		else if (i <= n)
		{
			plan_edge(test, 0, i, WF_ON_SUCCESS);
			plan_edge(test, i, n + 1, WF_ON_SUCCESS);
		}
		if (shape == SHAPE_CHAIN_NONE)
			step->kind = WF_KIND_NONE;
		else if (shape == SHAPE_FAN_PRIORITY)
			step->priority = i;
		else if (shape == SHAPE_FAN_CONNECTION)
			step->connection = 0;
	}
	test->plan.steps[0].disabled = shape == SHAPE_CHAIN_DISABLED;
	plan_sort_edges(test);
}

typedef struct Counts
{
	int			started;
	int			recorded;
	int			cancelled;
	int			ended;
} Counts;

/* Steps end in the order in which they started. */
static void
shape_run(WfMachine *machine, const TestPlan *test, Shape shape, Counts *count)
{
	int32	   *running = calloc(test->plan.nsteps, sizeof(int32));
	int			done = 0;
	WfAction	action;

	memset(count, 0, sizeof(Counts));
	for (;;)
	{
		WfStepStatus status = WF_STEP_SUCCEEDED;

		while (count->ended < 2 && wf_machine_next(machine, &action))
		{
			if (action.type == WF_ACT_EXECUTE)
				running[count->started++] = action.step;
			else if (action.type == WF_ACT_RECORD)
				count->recorded++;
			else if (action.type == WF_ACT_CANCEL)
				count->cancelled++;
			else
				count->ended++;
		}
		if (done == count->started)
			break;

		if (shape == SHAPE_FAN_STOP && done == 1)
		{
			wf_machine_stop(machine);
			shape = SHAPE_FAN;
			continue;
		}
		if (shape == SHAPE_FAN_FAIL && done == 1)
			status = WF_STEP_FAILED;
		wf_machine_step_ended(machine, running[done++], status);
	}
	free(running);
}

static bool
shape_counts_right(const Counts *count, Shape shape, int n)
{
	switch (shape)
	{
		case SHAPE_CHAIN_NONE:
			return count->started == 1 && count->recorded == n + 1;
		case SHAPE_CHAIN_DISABLED:
			return count->started == 0 && count->recorded == n + 2;
		case SHAPE_FAN_FAIL:
			return count->started == 5 && count->recorded == n - 3;
		case SHAPE_FAN_STOP:
			return count->started == n + 1 && count->recorded == 1 &&
				count->cancelled == n;
		default:
			return count->started == n + 2 && count->recorded == 0;
	}
}

static void
test_size(Shape shape, int n)
{
	clock_t		start = clock();
	TestPlan	test;
	WfMachine  *machine;
	Counts		count;
	char		name[80];

	shape_plan(&test, shape, n);
	machine = machine_new(&test.plan);
	shape_run(machine, &test, shape, &count);
	snprintf(name, sizeof(name), "%s, %d", shape_names[shape], n);
	tap(count.ended == 1 && shape_counts_right(&count, shape, n), name);
	printf("# %.3f s\n", (double) (clock() - start) / CLOCKS_PER_SEC);
	free(machine);
	plan_free(&test);
}

static void
test_sizes(void)
{
	int			shape;
	int			n;

	for (shape = SHAPE_CHAIN; shape <= SHAPE_FAN_STOP; shape++)
	{
		for (n = 1000; n <= 100000; n *= 10)
			test_size(shape, n);
	}
}

int
main(int argc, char **argv)
{
	uint64		seed = (uint64) time(NULL) * 1000003;
	int			packages = 200000;
	int			i;

	for (i = 1; i < argc; i += 2)
	{
		if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
			seed = strtoull(argv[i + 1], NULL, 10);
		else if (i + 1 < argc && strcmp(argv[i], "--packages") == 0)
			packages = atoi(argv[i + 1]);
		else
		{
			fprintf(stderr, "usage: %s [--seed N] [--packages N]\n", argv[0]);
			return 2;
		}
	}

	test_cases();
	test_random(seed, packages);
	test_sizes();
	printf("1..%d\n", test_count);
	return test_failures > 0;
}
