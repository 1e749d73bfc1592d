/*-------------------------------------------------------------------------
 *
 * machine_test.c
 *	  Test program of the run machine, without a server.
 *
 *		machine_test [--seed N] [--packages N]
 *
 * In TAP format:
 *
 * Cases: small packages with the actions that are expected; those of package
 * transactions are in transaction_list.c and transaction_table.c, and their
 * random test in transaction_random.c.
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

#include "transaction_test.h"

#define MAX_OPS			4096

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

/* Six bits a character, the first one lowest: see MAKE_SQLSTATE(). */
int
pack_sqlstate(const char *text)
{
	int			result = 0;
	int			i;

	for (i = 0; i < 5; i++)
		result |= ((text[i] - '0') & 0x3F) << (6 * i);
	return result;
}

const char *
unpack_sqlstate(int sqlstate)
{
	static char text[6];
	int			i;

	for (i = 0; i < 5; i++)
		text[i] = ((sqlstate >> (6 * i)) & 0x3F) + '0';
	return text;
}

/*
 * Random numbers: splitmix64.
 */

static uint64 random_state;

void
random_seed(uint64 seed)
{
	random_state = seed;
}

static uint32
random_bits(void)
{
	uint64		z = (random_state += UINT64CONST(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64CONST(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64CONST(0x94d049bb133111eb);
	return (uint32) ((z ^ (z >> 31)) >> 32);
}

/* 0 .. n - 1 */
int
random_below(int n)
{
	return (int) (((uint64) random_bits() * n) >> 32);
}

bool
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
	test->plan.connections = test->connections;
	test->edges = calloc(max_edges + 1, sizeof(TestEdge));
	test->plan.edges = calloc(max_edges + 1, sizeof(WfPlanEdge));
	test->plan.steps = calloc(nsteps + 1, sizeof(WfPlanStep));
	test->taken_over = calloc(nsteps + 1, sizeof(bool));
	test->plan.nsteps = nsteps;
	test->plan.max_concurrent_steps = 4;
	for (i = 0; i < nsteps; i++)
	{
		test->plan.steps[i].kind = WF_KIND_SQL;
		test->plan.steps[i].connection = -1;
		test->plan.steps[i].retry_backoff = 1.0;
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
	free(test->taken_over);
}

WfMachine *
machine_new(const TestPlan *test)
{
	return wf_machine_init(malloc(wf_machine_size(&test->plan)), &test->plan,
						   NULL, false, test->taken_over);
}

/*
 * Random packages.
 */

/* How often the steps of a package have which options. */
typedef struct Taste
{
	int			disabled;		/* percent */
	int			any;
	int			condition;
	int			retry;
	int			main_thread;
	int			finally;
	int			fail_package;
	int			taken_over;
	int			priorities;		/* number of different ones */
} Taste;

static void
random_taste(Taste *taste)
{
	taste->disabled = random_below(3) * 10;
	taste->any = random_below(3) * 30;
	taste->condition = random_below(3) * 20;
	taste->retry = random_below(3) * 40;
	taste->main_thread = random_below(3) * 30;
	taste->finally = random_below(2) * 15;
	taste->fail_package = random_below(3) * 5;
	taste->taken_over = random_below(3) * 25;
	taste->priorities = 1 + random_below(4);
}

static int
random_sqlstate(void)
{
	static const char *const sqlstates[] = {"40001", "40P01", "22012",
	"42601", "57014", "XX000", "00000"};

	return pack_sqlstate(sqlstates[random_below(lengthof(sqlstates))]);
}

/* Products of these are exact in whatever order they are multiplied. */
static void
random_retry(WfPlanStep *step)
{
	static const double backoffs[] = {1.0, 2.0, 3.0, 1.5, 0.5};
	static WfPlanError errors[8];
	int			i;

	for (i = 0; i < (int) lengthof(errors); i++)
	{
		errors[i].sqlstate = pack_sqlstate(i % 3 == 0 ? "40001" :
										   i % 3 == 1 ? "40000" : "57014");
		errors[i].is_class = (i & 1);
	}
	step->restartable = random_percent(50);
	step->max_attempts = random_below(5);
	step->retry_delay_ms = random_below(3) * 1000;
	step->retry_backoff = backoffs[random_below(lengthof(backoffs))];
	step->nretry_on = random_below(3);
	step->retry_on = step->nretry_on == 0 ? NULL : errors + random_below(6);
}

static void
random_step(WfPlanStep *step, int nconnections, const Taste *taste)
{
	static const WfOn on[] = {WF_ON_SUCCESS, WF_ON_FAILURE, WF_ON_COMPLETION};
	int			kind = random_below(10);

	if (kind < 2)
		step->kind = WF_KIND_NONE;
	else if (kind < 4)
		step->kind = WF_KIND_PACKAGE;
	else if (kind < 5)
		step->kind = WF_KIND_JOB;
	if (nconnections > 0 && step->kind == WF_KIND_SQL && random_percent(70))
		step->connection = random_below(nconnections);
	step->any = random_percent(taste->any);
	step->disabled = random_percent(taste->disabled);
	step->has_condition = random_percent(taste->condition);
	step->condition_interval_ms = 1 + random_below(3);
	step->main_thread = random_percent(taste->main_thread);
	step->fail_package_on_error = random_percent(taste->fail_package);
	step->priority = random_below(taste->priorities) - 1;
	if (random_percent(taste->finally))
		step->finally = on[random_below(lengthof(on))];
	if (random_percent(taste->retry))
		random_retry(step);
}

/*
 * Constraints lead from earlier to later steps of a random order.  Finally
 * steps have none.
 */
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
		{
			int			from = order[random_below(i)];

			if (!test->plan.steps[from].finally &&
				!test->plan.steps[order[i]].finally)
				plan_edge(test, from, order[i],
						  on[random_below(lengthof(on))]);
		}
	}
}

static void
random_plan(TestPlan *test)
{
	int			nsteps = random_below(MAX_STEPS + 1);
	Taste		taste;
	int			i;

	if (random_percent(30))
		nsteps = random_below(6);
	plan_init(test, nsteps, nsteps * 4);
	test->plan.nconnections = random_below(4);
	test->plan.fail_on_first_error = random_percent(40);
	test->plan.max_concurrent_steps =
		random_percent(80) ? 1 + random_below(5) : 100;
	random_taste(&taste);
	for (i = 0; i < nsteps; i++)
	{
		random_step(&test->plan.steps[i], test->plan.nconnections, &taste);
		test->taken_over[i] = !test->plan.steps[i].finally &&
			random_percent(taste.taken_over);
	}
	random_edges(test, 1 + random_below(4));
	plan_sort_edges(test);
}

/* What was done with a machine, and what it answered. */
typedef enum OpType
{
	OP_NEXT,
	OP_ENDED,
	OP_CONDITION,
	OP_TIMER,
	OP_NOT_BEGUN,
	OP_STOP,
	OP_FAIL,
	OP_PAUSE,
	OP_RESUME
} OpType;

typedef struct Op
{
	OpType		type;
	int			step;			/* ENDED, CONDITION, TIMER, NOT_BEGUN */
	int			outcome;		/* ENDED: status; CONDITION: answer */
	int			sqlstate;		/* ENDED, CONDITION */
	bool		given;			/* NEXT */
	WfAction	action;			/* NEXT */
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
	int			fail_permille;
	int			pause_permille;
	int			event_percent;	/* an event though there are actions */
	int			nops;
	Op			ops[MAX_OPS];
} Trial;

static int	outcomes[128];		/* number of runs by WfRunStatus */
static int64 actions[WF_ACT_END + 1];	/* number of actions */
static int64 retries;			/* number of attempts beyond the first */
static int64 late_starts;		/* number of finally steps that started */

/* Feed an event. */
static void
op_event(WfMachine *machine, const Op *op)
{
	switch (op->type)
	{
		case OP_NEXT:
			break;
		case OP_ENDED:
			wf_machine_step_ended(machine, op->step, op->outcome,
								  op->sqlstate);
			break;
		case OP_CONDITION:
			wf_machine_condition(machine, op->step, op->outcome,
								 op->sqlstate);
			break;
		case OP_TIMER:
			wf_machine_timer(machine, op->step);
			break;
		case OP_NOT_BEGUN:
			wf_machine_not_begun(machine, op->step);
			break;
		case OP_STOP:
			wf_machine_stop(machine);
			break;
		case OP_FAIL:
			wf_machine_fail(machine);
			break;
		case OP_PAUSE:
			wf_machine_pause(machine);
			break;
		case OP_RESUME:
			wf_machine_resume(machine);
			break;
	}
}

static void
model_event(Model *model, const Op *op)
{
	switch (op->type)
	{
		case OP_NEXT:
			break;
		case OP_ENDED:
			model_ended(model, op->step, op->outcome, op->sqlstate);
			break;
		case OP_CONDITION:
			model_condition(model, op->step, op->outcome, op->sqlstate);
			break;
		case OP_TIMER:
			model_timer(model, op->step);
			break;
		case OP_NOT_BEGUN:
			model_not_begun(model, op->step);
			break;
		case OP_STOP:
			model_stop(model);
			break;
		case OP_FAIL:
			model_fail(model);
			break;
		case OP_PAUSE:
			model_pause(model);
			break;
		case OP_RESUME:
			model_resume(model);
			break;
	}
}

/* Do the last of the trial's operations, with the machine and the model. */
static void
trial_do(Trial *trial)
{
	Op		   *op = &trial->ops[trial->nops++];

	if (op->type == OP_NEXT)
	{
		op->given = wf_machine_next(trial->machine, &op->action);
		model_check_next(&trial->model, op->given, &op->action);
	}
	else
	{
		op_event(trial->machine, op);
		model_event(&trial->model, op);
	}
	expect(trial->nops < MAX_OPS - 10, "too many operations");
	model_check_views(&trial->model, trial->machine);
}

static Op *
trial_op(Trial *trial, OpType type)
{
	Op		   *op = &trial->ops[trial->nops];

	memset(op, 0, sizeof(Op));
	op->type = type;
	return op;
}

static void
trial_simple(Trial *trial, OpType type)
{
	trial_op(trial, type);
	trial_do(trial);
}

/* Take the next action out; false if there is none. */
static bool
trial_next(Trial *trial)
{
	const Op   *op = trial_op(trial, OP_NEXT);

	trial_do(trial);
	if (op->given)
	{
		actions[op->action.type]++;
		if (op->action.type <= WF_ACT_CHILD)
		{
			retries += op->action.attempt > 1;
			late_starts += trial->model.result != WF_RUN_RUNNING;
		}
	}
	return op->given;
}

static WfStepStatus
random_outcome(const Trial *trial)
{
	if (random_percent(trial->model.interrupted ? 60 : trial->cancel_percent))
		return WF_STEP_CANCELLED;
	if (random_percent(trial->failure_percent))
		return random_percent(20) ? WF_STEP_INTERRUPTED : WF_STEP_FAILED;
	return WF_STEP_SUCCEEDED;
}

static WfCondition
random_answer(const Trial *trial)
{
	if (random_percent(trial->failure_percent / 2))
		return WF_CONDITION_ERROR;
	if (random_percent(30))
		return random_percent(50) ? WF_CONDITION_NULL : WF_CONDITION_FALSE;
	return WF_CONDITION_TRUE;
}

/* An event of this kind for a step, whether it is expected or not. */
static void
trial_step_event(Trial *trial, OpType type, int step)
{
	Op		   *op = trial_op(trial, type);

	op->step = step;
	op->outcome = type == OP_ENDED ? random_outcome(trial) :
		type == OP_CONDITION ? random_answer(trial) : 0;
	if (type == OP_ENDED ? op->outcome != WF_STEP_SUCCEEDED :
		op->outcome == WF_CONDITION_ERROR)
		op->sqlstate = random_sqlstate();
	trial_do(trial);
}

/* The event that a step waits for. */
static bool
trial_expected(const Model *model, int step, OpType *type)
{
	if (model->condition[step] == STAGE_ASKED)
		*type = OP_CONDITION;
	else if (model->condition[step] == STAGE_TIMER ||
			 model->retry[step] == STAGE_TIMER)
		*type = OP_TIMER;
	else if (model->status[step] == WF_STEP_RUNNING &&
			 model->retry[step] == STAGE_NONE)
		*type = random_percent(95) ? OP_ENDED : OP_NOT_BEGUN;
	else
		return false;
	return true;
}

/* Something that is waited for happens; now and then something that is not. */
static void
trial_event(Trial *trial)
{
	int			nsteps = trial->test.plan.nsteps;
	int			step = nsteps > 0 ? random_below(nsteps) : 0;
	OpType		type;
	int			i;

	if (nsteps > 0 && random_percent(5))
	{
		trial_step_event(trial, OP_ENDED + random_below(4), step);
		return;
	}
	for (i = 0; i < nsteps; i++)
	{
		if (trial_expected(&trial->model, step, &type))
		{
			trial_step_event(trial, type, step);
			return;
		}
		step = (step + 1) % nsteps;
	}
	trial_simple(trial, OP_RESUME);
}

/* Somebody wants something of the run. */
static void
trial_command(Trial *trial)
{
	if (random_below(1000) < trial->stop_permille)
		trial_simple(trial, OP_STOP);
	if (random_below(1000) < trial->fail_permille)
		trial_simple(trial, OP_FAIL);
	if (random_below(1000) < trial->pause_permille)
		trial_simple(trial, OP_PAUSE);
	if (trial->model.paused && random_percent(10))
		trial_simple(trial, OP_RESUME);
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

	wf_machine_resume(trial->machine);
	for (i = 0; i < trial->test.plan.nsteps; i++)
	{
		wf_machine_step_ended(trial->machine, i, WF_STEP_FAILED, 0);
		wf_machine_timer(trial->machine, i);
		wf_machine_condition(trial->machine, i, WF_CONDITION_ERROR, 0);
		wf_machine_next(trial->machine, &action);
	}
	wf_machine_fail(trial->machine);
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
		trial_command(trial);
		if (random_below(16) == 0)
			trial_save(trial);
		while (!trial->model.over && complaint == NULL &&
			   (idle || random_percent(trial->event_percent)))
		{
			trial_event(trial);
			idle = false;
		}
		idle = !trial_next(trial);
	}
}

/* After the end nothing has an effect. */
static void
trial_after_end(Trial *trial)
{
	OpType		type;

	if (complaint)
		return;
	outcomes[trial->ops[trial->nops - 1].action.run_status]++;
	for (type = OP_STOP; type <= OP_RESUME; type++)
		trial_simple(trial, type);
	expect(!trial_next(trial), "an action after the end");
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

		if (op->type != OP_NEXT)
		{
			op_event(machine, op);
			continue;
		}
		memset(&action, 0, sizeof(action));
		expect(wf_machine_next(machine, &action) == op->given,
			   "replay: number of actions");
		expect(memcmp(&action, &op->action, sizeof(action)) == 0,
			   "replay: another action");
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

	random_seed(seed);
	complaint = NULL;
	trial.nops = 0;
	random_plan(&trial.test);
	trial.failure_percent = random_below(3) * 20;
	trial.cancel_percent = random_below(2) * 5;
	trial.stop_permille = random_below(3) * 10;
	trial.fail_permille = random_below(3) * 5;
	trial.pause_permille = random_below(3) * 30;
	trial.event_percent = random_below(3) * 25;
	trial.machine = machine_new(&trial.test);
	trial.saved = machine_new(&trial.test);
	trial.saved_at = 0;

	model_init(&trial.model, &trial.test);
	trial_run(&trial);
	trial_after_end(&trial);
	if (complaint == NULL)
	{
		trial_replay(&trial, machine_new(&trial.test), 0);
		trial_replay(&trial, wf_machine_attach(trial.saved, &trial.test.plan),
					 trial.saved_at);
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
	printf("# " INT64_FORMAT " conditions, " INT64_FORMAT " timers, "
		   INT64_FORMAT " retries, " INT64_FORMAT " cancellations, "
		   INT64_FORMAT " finally steps\n",
		   actions[WF_ACT_CONDITION], actions[WF_ACT_TIMER], retries,
		   actions[WF_ACT_CANCEL], late_starts);
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
	SHAPE_FAN_STOP,				/* the same, a stop when all n run */
	SHAPE_FAN_MAIN,				/* two connections, some with main_thread */
	SHAPE_FAN_RETRY,			/* the n fail twice */
	SHAPE_FAN_CONDITION,		/* the n have conditions */
	SHAPE_FAN_FINALLY			/* 1, then n finally steps and 1 of the graph */
} Shape;

static const char *const shape_names[] = {
	"chain", "chain of none", "chain behind a disabled step", "fan",
	"fan with priorities", "fan on one connection", "failing fan",
	"stopped fan", "fan with main thread", "fan with retries",
	"fan with conditions", "finally steps"
};

static void
shape_options(WfPlanStep *step, Shape shape, int i)
{
	switch (shape)
	{
		case SHAPE_CHAIN_NONE:
			step->kind = WF_KIND_NONE;
			break;
		case SHAPE_FAN_PRIORITY:
			step->priority = i;
			break;
		case SHAPE_FAN_CONNECTION:
			step->connection = 0;
			break;
		case SHAPE_FAN_MAIN:
			step->connection = i % 3 - 1;
			step->main_thread = i % 4 != 0;
			step->priority = i % 7;
			break;
		case SHAPE_FAN_RETRY:
			step->max_attempts = 3;
			break;
		case SHAPE_FAN_CONDITION:
			step->has_condition = true;
			break;
		default:
			break;
	}
}

static void
shape_plan(TestPlan *test, Shape shape, int n)
{
	int			i;

	plan_init(test, n + 2, 2 * n + 1);
	test->plan.max_concurrent_steps = shape == SHAPE_FAN_STOP ? n : 4;
	test->plan.nconnections = 2;
	test->plan.fail_on_first_error = true;
	for (i = 1; i <= n + 1; i++)
	{
		WfPlanStep *step = &test->plan.steps[i];

		if (shape < SHAPE_FAN)
			plan_edge(test, i - 1, i, WF_ON_SUCCESS);
		else if (shape == SHAPE_FAN_FINALLY)
			step->finally = i <= n ? WF_ON_COMPLETION : 0;
		else if (i <= n)
		{
			plan_edge(test, 0, i, WF_ON_SUCCESS);
			plan_edge(test, i, n + 1, WF_ON_SUCCESS);
		}
		shape_options(step, shape, i);
	}
	test->plan.steps[0].disabled = shape == SHAPE_CHAIN_DISABLED;
	plan_sort_edges(test);
}

typedef struct Counts
{
	int			started;
	int			recorded;
	int			cancelled;
	int			asked;			/* conditions */
	int			ended;
} Counts;

/* Take all actions out. */
static void
shape_actions(WfMachine *machine, Counts *count, int32 *running)
{
	WfAction	action;

	while (count->ended < 2 && wf_machine_next(machine, &action))
	{
		switch (action.type)
		{
			case WF_ACT_EXECUTE:
			case WF_ACT_CHILD:
				running[count->started++] = action.step;
				break;
			case WF_ACT_CONDITION:
				wf_machine_condition(machine, action.step,
									 count->asked++ % 2 == 0 ?
									 WF_CONDITION_NULL : WF_CONDITION_TRUE, 0);
				break;
			case WF_ACT_TIMER:
				wf_machine_timer(machine, action.step);
				break;
			case WF_ACT_RECORD:
				count->recorded++;
				break;
			case WF_ACT_CANCEL:
				count->cancelled++;
				break;
			case WF_ACT_COMMIT:
			case WF_ACT_ROLLBACK:
				wf_machine_transaction_ended(machine, true, 0);
				break;
			case WF_ACT_END:
				count->ended++;
				break;
		}
	}
}

/* Steps end in the order in which they started. */
static void
shape_run(WfMachine *machine, const TestPlan *test, Shape shape, Counts *count)
{
	int32	   *running = calloc(3 * test->plan.nsteps, sizeof(int32));
	int			done = 0;

	memset(count, 0, sizeof(Counts));
	for (;;)
	{
		WfStepStatus status = WF_STEP_SUCCEEDED;
		int			step;

		shape_actions(machine, count, running);
		if (done == count->started)
			break;

		if (shape == SHAPE_FAN_STOP && done == 1)
		{
			wf_machine_stop(machine);
			shape = SHAPE_FAN;
			continue;
		}
		step = running[done++];
		if (shape == SHAPE_FAN_FAIL && done == 2)
			status = WF_STEP_FAILED;
		if (wf_machine_step_attempt(machine, step) <
			test->plan.steps[step].max_attempts)
			status = WF_STEP_FAILED;
		wf_machine_step_ended(machine, step, status, 0);
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
		case SHAPE_FAN_RETRY:
			return count->started == 3 * n + 4 && count->recorded == 0;
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
	machine = machine_new(&test);
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

	for (shape = SHAPE_CHAIN; shape <= SHAPE_FAN_FINALLY; shape++)
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
	int			groups = 50000;
	int			i;

	for (i = 1; i < argc; i += 2)
	{
		if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
			seed = strtoull(argv[i + 1], NULL, 10);
		else if (i + 1 < argc && strcmp(argv[i], "--packages") == 0)
			packages = groups = atoi(argv[i + 1]);
		else
		{
			fprintf(stderr, "usage: %s [--seed N] [--packages N]\n", argv[0]);
			return 2;
		}
	}

	test_cases();
	test_transaction_cases();
	test_transaction_table();
	test_random(seed, packages);
	test_transactions(seed, groups);
	test_sizes();
	test_transaction_sizes();
	printf("1..%d\n", test_count);
	return test_failures > 0;
}
