/*-------------------------------------------------------------------------
 *
 * transaction_sizes.c
 *	  Large packages whose steps work in the package transaction; what is not
 *	  linear is seen by waiting.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <time.h>

#include "transaction_test.h"

typedef enum Shape
{
	SHAPE_UNNAMED,				/* all wait for the branch */
	SHAPE_CONNECTION,			/* all wait for one connection */
	SHAPE_MIXED,				/* some for the one, some for the other */
	SHAPE_ENLISTED,				/* every other step does not join */
	SHAPE_COMMITS,				/* each step commits */
	SHAPE_ROLLBACKS,			/* each step fails, and rolls back */
	SHAPE_CONDITIONS			/* each step has a condition */
} Shape;

static const char *const names[] = {
	"unnamed steps", "one connection", "unnamed and named steps",
	"enlisted connection", "commits", "rollbacks", "conditions"
};

static void
make_plan(TestPlan *test, Shape shape, int n)
{
	int			i;

	plan_init(test, n, 0);
	test->plan.use_transactions = true;
	test->plan.commit_on_completion = true;
	test->plan.isolation = WF_READ_COMMITTED;
	test->plan.nconnections = 1;
	for (i = 0; i < n; i++)
	{
		WfPlanStep *step = &test->plan.steps[i];

		step->joins = shape != SHAPE_ENLISTED || i % 2 == 0;
		if (shape == SHAPE_CONNECTION || shape == SHAPE_ENLISTED ||
			(shape == SHAPE_MIXED && i % 2 == 0))
			step->connection = 0;
		step->commit_on_success = shape == SHAPE_COMMITS;
		step->rollback_on_failure = shape == SHAPE_ROLLBACKS;
		step->has_condition = shape == SHAPE_CONDITIONS;
	}
}

/* Carry the run out; returns the number of attempts, or -1. */
static int
run_plan(WfMachine *machine, Shape shape)
{
	WfAction	action;
	int			running[8];		/* more than max_concurrent_steps */
	int			nrunning = 0;
	int			attempts = 0;

	for (;;)
	{
		while (wf_machine_next(machine, &action))
		{
			if (action.type == WF_ACT_EXECUTE)
				running[nrunning++] = action.step;
			else if (action.type == WF_ACT_CONDITION)
				wf_machine_condition(machine, action.step, WF_CONDITION_TRUE,
									 0);
			else if (action.type == WF_ACT_COMMIT ||
					 action.type == WF_ACT_ROLLBACK)
				wf_machine_transaction_ended(machine,
											 action.type == WF_ACT_COMMIT, 0);
			else if (action.type == WF_ACT_END)
				return attempts;
		}
		if (nrunning == 0)
			return -1;
		attempts++;
		wf_machine_step_ended(machine, running[--nrunning],
							  shape == SHAPE_ROLLBACKS ? WF_STEP_FAILED :
							  WF_STEP_SUCCEEDED, 0);
	}
}

static void
test_size(Shape shape, int n)
{
	clock_t		start = clock();
	TestPlan	test;
	WfTransaction transaction;
	WfMachine  *machine;
	char		name[80];

	make_plan(&test, shape, n);
	wf_transaction_init(&transaction, &test.plan);
	machine = wf_machine_init(malloc(wf_machine_size(&test.plan)), &test.plan,
							  &transaction, false, NULL);
	snprintf(name, sizeof(name), "in a transaction: %s, %d", names[shape], n);
	tap(run_plan(machine, shape) == n, name);
	printf("# %.3f s\n", (double) (clock() - start) / CLOCKS_PER_SEC);
	free(machine);
	plan_free(&test);
}

void
test_transaction_sizes(void)
{
	int			shape;
	int			n;

	for (shape = SHAPE_UNNAMED; shape <= SHAPE_CONDITIONS; shape++)
	{
		for (n = 1000; n <= 100000; n *= 10)
			test_size(shape, n);
	}
}
