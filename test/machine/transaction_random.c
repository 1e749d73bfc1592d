/*-------------------------------------------------------------------------
 *
 * transaction_random.c
 *	  Random groups of packages with package transactions.
 *
 * Up to four packages that run one another, with random options, outcomes,
 * lost sessions, commits that fail, stops and pauses.  Which machine is asked
 * for an action, and when, is random too.  After each step of the way all is
 * compared with a model.  Then it is done once more, from the beginning: the
 * same events must lead to the same actions and the same state, though the
 * first time the blocks were saved now and then, led elsewhere and brought
 * back.  Group number k of seed s is number 0 of seed s + k.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include "transaction_model.h"

#define MAX_OPS			10000

typedef enum OpType
{
	OP_NEXT,
	OP_START,					/* the child run of a step */
	OP_REPORT,					/* the end of that, to its parent */
	OP_ENDED,
	OP_JOIN_FAILED,
	OP_CONDITION,
	OP_TIMER,
	OP_TRANSACTION_ENDED,
	OP_LOST,
	OP_STOP,
	OP_FAIL,
	OP_PAUSE,
	OP_RESUME
} OpType;

typedef struct Op
{
	OpType		type;
	int			run;
	int			step;			/* START, REPORT, ENDED, CONDITION, TIMER */
	int			outcome;		/* ENDED, CONDITION; TRANSACTION_ENDED: is it
								 * committed */
	int			sqlstate;
	bool		works;			/* ENDED: there was something to end */
	bool		given;			/* NEXT */
	WfAction	action;			/* NEXT */
} Op;

/* How often what happens; percent, or permille where it says so. */
typedef struct Taste
{
	int			join;
	int			commit;
	int			rollback;
	int			named;
	int			condition;
	int			retry;
	int			main_thread;
	int			finally;
	int			failure;
	int			commit_failure;
	int			event;			/* an event though there may be actions */
	int			lost_permille;
	int			stop_permille;
	int			pause_permille;
} Taste;

typedef struct Trial
{
	GroupPackage packages[GROUP_PACKAGES];
	int			npackages;
	Taste		taste;
	Group		group;
	Group		saved;
	GroupModel	model;
	int			child[GROUP_RUNS][GROUP_STEPS]; /* of the present attempt, or
												 * -1: not started */
	int			nops;
	Op			ops[MAX_OPS];
} Trial;

static Trial trial;

/* What has happened, to see that everything does. */
static int64 actions[WF_ACT_END + 1];
static int64 errors[WF_ERROR_COMMIT_INVALID + 1];
static int64 outcomes[128];
static int64 fates[FATE_LOST + 1];
static int64 losses;

static void
random_taste(Taste *taste)
{
	taste->join = 30 + random_below(4) * 20;
	taste->commit = random_below(4) * 10;
	taste->rollback = random_below(4) * 15;
	taste->named = random_below(4) * 30;
	taste->condition = random_below(3) * 12;
	taste->retry = random_below(3) * 25;
	taste->main_thread = random_below(3) * 25;
	taste->finally = random_below(3) * 6;
	taste->failure = random_below(4) * 12;
	taste->commit_failure = random_below(3) * 15;
	taste->event = random_below(3) * 25;
	taste->lost_permille = random_below(4) == 0 ? 20 : 0;
	taste->stop_permille = random_below(4) == 0 ? 30 : 0;
	taste->pause_permille = random_below(4) == 0 ? 40 : 0;
}

static int
random_sqlstate(void)
{
	return pack_sqlstate(random_percent(40) ? "40001" : "22012");
}

static void
random_kind(GroupPackage *package, int number, int me)
{
	WfPlanStep *step = &package->test.plan.steps[number];
	int			kind = random_below(100);

	if (kind < 12)
		step->kind = WF_KIND_NONE;
	else if (kind < 16)
		step->kind = WF_KIND_JOB;
	else if (kind < 45 && me + 1 < trial.npackages)
	{
		step->kind = WF_KIND_PACKAGE;
		package->child[number] =
			me + 1 + random_below(trial.npackages - me - 1);
	}
	else if (random_percent(trial.taste.named))
		step->connection = random_below(package->test.plan.nconnections);
}

/* What the compiler of plans lets a step have. */
static void
random_transaction_options(WfPlan *plan, WfPlanStep *step)
{
	const Taste *taste = &trial.taste;

	if (!plan->use_transactions)
		return;
	step->joins = !step->finally && random_percent(taste->join) &&
		(step->kind == WF_KIND_SQL || step->kind == WF_KIND_PACKAGE);
	step->commit_on_success = random_percent(taste->commit);
	step->rollback_on_failure = random_percent(taste->rollback);
}

static void
random_step(GroupPackage *package, int number, int me)
{
	static const WfOn on[] = {WF_ON_SUCCESS, WF_ON_FAILURE, WF_ON_COMPLETION};
	WfPlanStep *step = &package->test.plan.steps[number];
	const Taste *taste = &trial.taste;

	random_kind(package, number, me);
	if (random_percent(taste->finally))
		step->finally = on[random_below(lengthof(on))];
	random_transaction_options(&package->test.plan, step);
	step->atomic = random_percent(70);
	step->any = random_percent(15);
	step->disabled = random_percent(4);
	step->has_condition = random_percent(taste->condition);
	step->condition_interval_ms = 1;
	step->main_thread = random_percent(taste->main_thread);
	step->fail_package_on_error = random_percent(8);
	step->priority = random_below(3);
	step->max_attempts = random_percent(taste->retry) ? 1 + random_below(3) : 1;
}

/* Constraints lead from earlier to later steps, one from one to another. */
static void
random_edges(TestPlan *test)
{
	static const WfOn on[] = {WF_ON_SUCCESS, WF_ON_SUCCESS, WF_ON_FAILURE,
	WF_ON_COMPLETION};
	int			percent = random_below(4) * 15;
	int			from;
	int			to;

	for (to = 1; to < test->plan.nsteps; to++)
	{
		for (from = Max(0, to - 3); from < to; from++)
		{
			if (!test->plan.steps[from].finally &&
				!test->plan.steps[to].finally && random_percent(percent))
				plan_edge(test, from, to, on[random_below(lengthof(on))]);
		}
	}
	plan_sort_edges(test);
}

static void
random_package(GroupPackage *package, int me)
{
	static const char isolation[] = {WF_READ_COMMITTED, WF_REPEATABLE_READ,
	WF_SERIALIZABLE};
	WfPlan	   *plan = &package->test.plan;
	int			nsteps = 1 + random_below(me == 0 ? GROUP_STEPS - 2 : 6);
	int			i;

	plan_init(&package->test, nsteps, nsteps * 3);
	plan->use_transactions = random_percent(90);
	plan->commit_on_completion = random_percent(70);
	plan->fail_on_first_error = random_percent(30);
	plan->isolation = isolation[random_below(lengthof(isolation))];
	plan->max_concurrent_steps = random_percent(60) ? 1 + random_below(4) : 100;
	plan->nconnections = 1 + random_below(MAX_CONNECTIONS);
	for (i = 0; i < plan->nconnections; i++)
		plan->connections[i].instance = random_below(GROUP_INSTANCES);
	for (i = 0; i < nsteps; i++)
		random_step(package, i, me);
	random_edges(&package->test);
}

/*
 * Operations.
 */

/* Feed an event to the machine of its run. */
static void
op_event(const Op *op)
{
	Group	   *group = &trial.group;
	WfMachine  *machine = group->runs[op->run].machine;

	switch (op->type)
	{
		case OP_NEXT:
			break;
		case OP_START:
			group_start(group, op->run, op->step,
						wf_machine_step_transaction(machine, op->step) != 0);
			break;
		case OP_ENDED:
			if (op->works)
				group_execute(group, op->run, op->step,
							  op->outcome == WF_STEP_SUCCEEDED);
			wf_machine_step_ended(machine, op->step, op->outcome,
								  op->sqlstate);
			break;
		case OP_REPORT:
			wf_machine_step_ended(machine, op->step, op->outcome,
								  op->sqlstate);
			break;
		case OP_JOIN_FAILED:
			wf_machine_join_failed(machine, op->step, op->sqlstate);
			break;
		case OP_CONDITION:
			wf_machine_condition(machine, op->step, op->outcome,
								 op->sqlstate);
			break;
		case OP_TIMER:
			wf_machine_timer(machine, op->step);
			break;
		case OP_TRANSACTION_ENDED:
			group_end_transaction(group, op->run, op->outcome, op->sqlstate);
			break;
		case OP_LOST:
			group_lose(group, op->run);
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
model_event(const Op *op)
{
	GroupModel *model = &trial.model;

	switch (op->type)
	{
		case OP_NEXT:
			break;
		case OP_START:
			group_model_start(model, trial.group.nruns - 1);
			break;
		case OP_ENDED:
		case OP_REPORT:
			group_model_ended(model, op->run, op->step, op->outcome,
							  op->sqlstate);
			break;
		case OP_JOIN_FAILED:
			group_model_join_failed(model, op->run, op->step, op->sqlstate);
			break;
		case OP_CONDITION:
			group_model_condition(model, op->run, op->step, op->outcome,
								  op->sqlstate);
			break;
		case OP_TIMER:
			group_model_timer(model, op->run, op->step);
			break;
		case OP_TRANSACTION_ENDED:
			group_model_transaction_ended(model, op->run, op->outcome,
										  op->sqlstate);
			break;
		case OP_LOST:
			group_model_lost(model, op->run);
			break;
		case OP_STOP:
			group_model_stop(model, op->run);
			break;
		case OP_FAIL:
			group_model_fail(model, op->run);
			break;
		case OP_PAUSE:
			group_model_pause(model, op->run);
			break;
		case OP_RESUME:
			group_model_resume(model, op->run);
			break;
	}
}

static Op *
new_op(OpType type, int run, int step)
{
	Op		   *op = &trial.ops[trial.nops];

	memset(op, 0, sizeof(Op));
	op->type = type;
	op->run = run;
	op->step = step;
	return op;
}

/* Do the last operation, with the machine and the model. */
static void
do_op(void)
{
	Op		   *op = &trial.ops[trial.nops++];

	if (op->type == OP_NEXT)
	{
		op->given = group_next(&trial.group, op->run, &op->action);
		group_model_next(&trial.model, op->run, op->given, &op->action);
	}
	else
	{
		op_event(op);
		model_event(op);
	}
	expect(trial.nops < MAX_OPS - 10, "too many operations");
	expect(trial.group.nrows < GROUP_ROWS - 10, "too many rows");
	group_model_check(&trial.model, op->run);
	if (op->type == OP_START)
		group_model_check(&trial.model, trial.group.nruns - 1);
}

static void
simple_op(OpType type, int run, int step)
{
	new_op(type, run, step);
	do_op();
}

/* Ask the machine of a run for an action; false if it has none. */
static bool
take_action(int run)
{
	const Op   *op = new_op(OP_NEXT, run, 0);
	const WfAction *action = &op->action;

	do_op();
	if (!op->given)
		return false;
	actions[action->type]++;
	if (action->type == WF_ACT_RECORD)
		errors[action->error]++;
	if (action->type == WF_ACT_CHILD)
		trial.child[run][action->step] = -1;
	if (action->type == WF_ACT_CANCEL && action->step >= 0 &&
		group_plan(&trial.group, run)->steps[action->step].kind ==
		WF_KIND_PACKAGE && trial.child[run][action->step] >= 0 &&
		random_percent(80))
		simple_op(OP_STOP, trial.child[run][action->step], 0);
	return true;
}

/*
 * Random events.
 */

static WfStepStatus
random_outcome(int run)
{
	if (random_percent(trial.model.runs[run].interrupted ? 60 : 2))
		return WF_STEP_CANCELLED;
	return random_percent(trial.taste.failure) ?
		WF_STEP_FAILED : WF_STEP_SUCCEEDED;
}

static void
end_work(int run, int step, WfStepStatus outcome)
{
	Op		   *op = new_op(OP_ENDED, run, step);

	op->outcome = outcome;
	op->works = trial.model.runs[run].steps[step].doing == DOING_WORK &&
		group_plan(&trial.group, run)->steps[step].kind != WF_KIND_PACKAGE;
	if (outcome != WF_STEP_SUCCEEDED)
		op->sqlstate = random_sqlstate();
	do_op();
}

/* A session could not begin the transaction. */
static void
fail_join(int run, int step)
{
	Op		   *op = new_op(OP_JOIN_FAILED, run, step);

	op->sqlstate = random_sqlstate();
	do_op();
}

/* A child run is started, or cannot be, or has ended; false if not now. */
static bool
child_event(int run, int step)
{
	int			child = trial.child[run][step];
	Op		   *op;

	if (child < 0)
	{
		if (trial.group.nruns == GROUP_RUNS || random_percent(5))
			end_work(run, step, trial.model.runs[run].interrupted ?
					 WF_STEP_CANCELLED : WF_STEP_FAILED);
		else
		{
			trial.child[run][step] = trial.group.nruns;
			simple_op(OP_START, run, step);
		}
		return true;
	}
	if (!trial.group.runs[child].ended)
		return false;

	op = new_op(OP_REPORT, run, step);
	op->outcome = trial.group.runs[child].result == WF_RUN_SUCCEEDED ?
		WF_STEP_SUCCEEDED :
		trial.group.runs[child].result == WF_RUN_CANCELLED ?
		WF_STEP_CANCELLED : WF_STEP_FAILED;
	if (op->outcome != WF_STEP_SUCCEEDED)
		op->sqlstate = random_sqlstate();
	trial.group.runs[child].reported = true;
	do_op();
	return true;
}

static void
answer_condition(int run, int step)
{
	Op		   *op = new_op(OP_CONDITION, run, step);

	op->outcome = random_percent(50) ? WF_CONDITION_TRUE : random_below(4);
	if (op->outcome == WF_CONDITION_ERROR)
		op->sqlstate = random_sqlstate();
	do_op();
}

static void
end_transaction(int run)
{
	Op		   *op = new_op(OP_TRANSACTION_ENDED, run, 0);

	op->outcome = trial.model.transactions[run].state == MODEL_COMMIT &&
		!random_percent(trial.taste.commit_failure);
	if (!op->outcome)
		op->sqlstate = random_sqlstate();
	do_op();
}

/* Something that a step waits for happens; false if there is nothing. */
static bool
step_event(int run, int step)
{
	switch ((Doing) trial.model.runs[run].steps[step].doing)
	{
		case DOING_WORK:
			if (group_plan(&trial.group, run)->steps[step].kind ==
				WF_KIND_PACKAGE)
				return child_event(run, step);
			if (group_plan(&trial.group, run)->steps[step].joins &&
				random_percent(trial.taste.failure / 6))
				fail_join(run, step);
			else
				end_work(run, step, random_outcome(run));
			return true;
		case DOING_CONDITION_ASKED:
			answer_condition(run, step);
			return true;
		case DOING_CONDITION_TIMER:
		case DOING_RETRY_TIMER:
			simple_op(OP_TIMER, run, step);
			return true;
		default:
			return false;
	}
}

/* Something that this run waits for. */
static bool
run_event(int run)
{
	int			nsteps = group_plan(&trial.group, run)->nsteps;
	int			step = random_below(nsteps + 1);
	int			i;

	for (i = 0; i <= nsteps; i++, step = (step + 1) % (nsteps + 1))
	{
		if (step == nsteps)
		{
			if (!trial.model.transactions[run].ending)
				continue;
			end_transaction(run);
			return true;
		}
		if (step_event(run, step))
			return true;
	}
	return false;
}

/* Something that nobody waits for. */
static void
stray_event(int run)
{
	int			step = random_below(group_plan(&trial.group, run)->nsteps);
	Doing		doing = trial.model.runs[run].steps[step].doing;

	switch (random_below(4))
	{
		case 0:
			if (doing != DOING_WORK)
				end_work(run, step, random_outcome(run));
			break;
		case 1:
			if (doing != DOING_CONDITION_ASKED)
				answer_condition(run, step);
			break;
		case 2:
			simple_op(OP_TIMER, run, step);
			break;
		case 3:
			if (trial.group.runs[run].owner == run &&
				!trial.model.transactions[run].ending)
				end_transaction(run);
			break;
	}
}

/* An event of some run; the pause ends if there is no other. */
static void
some_event(void)
{
	int			nruns = trial.group.nruns;
	int			run = random_below(nruns);
	int			i;

	if (random_percent(4))
		stray_event(run);
	for (i = 0; i < nruns; i++, run = (run + 1) % nruns)
	{
		if (!trial.model.runs[run].ended && run_event(run))
			return;
	}
	for (i = 0; i < nruns; i++)
	{
		if (trial.model.runs[i].paused)
			simple_op(OP_RESUME, i, 0);
	}
}

/* Somebody wants something of a run, or a session is lost. */
static void
command(void)
{
	const Taste *taste = &trial.taste;
	int			run = random_below(trial.group.nruns);
	int			owner = trial.group.runs[run].owner;

	if (random_below(1000) < taste->stop_permille)
		simple_op(random_percent(60) ? OP_STOP : OP_FAIL, run, 0);
	if (random_below(1000) < taste->pause_permille)
		simple_op(OP_PAUSE, run, 0);
	if (trial.model.runs[run].paused && random_percent(10))
		simple_op(OP_RESUME, run, 0);
	if (owner >= 0 && random_below(1000) < taste->lost_permille)
	{
		losses += trial.model.transactions[owner].state == MODEL_ACTIVE;
		simple_op(OP_LOST, owner, 0);
	}
}

/*
 * Save all blocks, go on in some way that leads elsewhere, and bring them
 * back: whatever follows must not show that.
 */
static void
save(void)
{
	Group	   *group = &trial.group;
	WfAction	action;
	int			run;
	int			i;

	memcpy(&trial.saved, group, group_size(group));
	for (run = 0; run < group->nruns; run++)
	{
		WfMachine  *machine = group->runs[run].machine;

		for (i = 0; i < group_plan(group, run)->nsteps; i++)
		{
			wf_machine_step_ended(machine, i, i % 2 ? WF_STEP_FAILED :
								  WF_STEP_SUCCEEDED, 0);
			wf_machine_condition(machine, i, WF_CONDITION_ERROR, 0);
			wf_machine_next(machine, &action);
		}
		if (group->runs[run].owner == run)
			wf_machine_transaction_ended(machine, true, 0);
	}
	memcpy(group, &trial.saved, group_size(group));
}

/* Ask machines in random order until none has an action. */
static bool
drain(void)
{
	Group	   *group = &trial.group;
	int			run = random_below(group->nruns);
	int			idle = 0;

	while (idle < group->nruns && complaint == NULL)
	{
		if (!trial.model.runs[run].ended && take_action(run))
		{
			idle = 0;
			if (random_percent(trial.taste.event))
				return false;
		}
		else
			idle++;
		run = random_percent(30) ? random_below(group->nruns) :
			(run + 1) % group->nruns;
	}
	return true;
}

/* As drain(), and each machine is asked at the end. */
static void
check_idle(void)
{
	int			run;
	bool		again = false;

	for (run = 0; run < trial.group.nruns; run++)
		again = (!trial.model.runs[run].ended && take_action(run)) || again;
	if (!again)
		group_model_check_idle(&trial.model);
}

static void
run_trial(void)
{
	while (!trial.group.runs[0].ended && complaint == NULL)
	{
		command();
		if (random_below(64) == 0)
			save();
		if (drain())
			check_idle();
		if (!trial.group.runs[0].ended && complaint == NULL)
			some_event();
	}
}

/* The same events once more, from the beginning. */
static void
replay(void)
{
	Group	   *group = &trial.group;
	WfAction	action;
	int			i;

	memcpy(&trial.saved, group, group_size(group));
	group_init(group, trial.packages);
	for (i = 0; i < trial.nops; i++)
	{
		const Op   *op = &trial.ops[i];

		if (op->type != OP_NEXT)
		{
			op_event(op);
			continue;
		}
		expect(group_next(group, op->run, &action) == op->given,
			   "replay: number of actions");
		expect(memcmp(&action, &op->action, sizeof(action)) == 0,
			   "replay: another action");
	}
	expect(group->used == trial.saved.used &&
		   memcmp(group->memory, trial.saved.memory, group->used) == 0 &&
		   memcmp(group->transactions, trial.saved.transactions,
				  sizeof(group->transactions)) == 0 &&
		   memcmp(group->rows, trial.saved.rows,
				  group->nrows * sizeof(GroupRow)) == 0,
		   "replay: another state");
}

static void
count_result(void)
{
	int			i;

	outcomes[trial.group.runs[0].result]++;
	for (i = 0; i < trial.group.nrows; i++)
		fates[(int) trial.group.rows[i].fate]++;
}

/*
 * What has happened, for who looks for the error.
 */

static void
print_package(int number)
{
	const GroupPackage *package = &trial.packages[number];
	const WfPlan *plan = &package->test.plan;
	int			i;

	printf("# package %d:%s%s%s isolation %c, max %d\n", number,
		   plan->use_transactions ? " uses transactions" : "",
		   plan->commit_on_completion ? " commits" : "",
		   plan->fail_on_first_error ? " fails" : "", plan->isolation,
		   plan->max_concurrent_steps);
	for (i = 0; i < plan->nsteps; i++)
	{
		const WfPlanStep *step = &plan->steps[i];
		int			j;

		printf("#  step %d: %c", i, step->kind);
		if (step->kind == WF_KIND_PACKAGE)
			printf("%d", package->child[i]);
		if (step->connection >= 0)
			printf(" connection %d@%d", step->connection,
				   plan->connections[step->connection].instance);
		printf("%s%s%s%s%s%s%s%s", step->joins ? " joins" : "",
			   step->commit_on_success ? " commits" : "",
			   step->rollback_on_failure ? " rolls back" : "",
			   step->has_condition ? " condition" : "",
			   step->main_thread ? " main_thread" : "",
			   step->fail_package_on_error ? " fails package" : "",
			   step->disabled ? " disabled" : "", step->any ? " any" : "");
		printf(" priority %d attempts %d", step->priority, step->max_attempts);
		if (step->finally)
			printf(" finally %c", step->finally);
		for (j = 0; j < package->test.nedges; j++)
		{
			if (package->test.edges[j].to == i)
				printf(" <%d%c", package->test.edges[j].from,
					   package->test.edges[j].on);
		}
		printf("\n");
	}
}

static void
print_op(const Op *op)
{
	static const char *const ops[] = {"next", "start", "report", "ended",
		"join failed", "condition", "timer", "transaction ended", "lost", "stop", "fail",
	"pause", "resume"};
	static const char *const names[] = {"execute", "child", "condition",
	"timer", "record", "cancel", "commit", "rollback", "end"};

	if (op->type == OP_NEXT && !op->given)
		return;
	if (op->type == OP_NEXT)
		printf("# %d:      %s %d attempt %d transaction %d status %c error %d\n",
			   op->run, names[op->action.type], op->action.step,
			   op->action.attempt, op->action.transaction,
			   op->action.status ? op->action.status : '-', op->action.error);
	else
		printf("# %d: %s %d: %d %s\n", op->run, ops[op->type], op->step,
			   op->outcome, op->sqlstate ? unpack_sqlstate(op->sqlstate) : "");
}

static void
print_trial(void)
{
	int			i;

	for (i = 0; i < trial.npackages; i++)
		print_package(i);
	for (i = 0; i < trial.nops; i++)
		print_op(&trial.ops[i]);
}

static bool
random_group(uint64 seed, bool print)
{
	int			i;

	random_seed(seed);
	complaint = NULL;
	trial.nops = 0;
	memset(trial.child, -1, sizeof(trial.child));
	trial.npackages = 1 + random_below(GROUP_PACKAGES);
	random_taste(&trial.taste);
	memset(trial.packages, 0, sizeof(trial.packages));
	for (i = 0; i < trial.npackages; i++)
		random_package(&trial.packages[i], i);
	group_init(&trial.group, trial.packages);
	group_model_init(&trial.model, &trial.group);
	group_model_check(&trial.model, 0);

	run_trial();
	if (complaint == NULL)
	{
		group_model_check_rows(&trial.model);
		count_result();
		replay();
	}
	if (print && complaint)
		print_trial();
	for (i = 0; i < trial.npackages; i++)
		plan_free(&trial.packages[i].test);
	return complaint == NULL;
}

void
test_transactions(uint64 seed, int packages)
{
	char		name[80];
	int			bad = 0;
	int			i;

	for (i = 0; i < packages; i++)
	{
		if (random_group(seed + i, packages == 1))
			continue;
		if (bad++ < 10)
			printf("# %s: --packages 1 --seed " UINT64_FORMAT "\n",
				   complaint, seed + i);
	}
	printf("# " INT64_FORMAT " succeeded, " INT64_FORMAT " failed, "
		   INT64_FORMAT " cancelled, " INT64_FORMAT " child runs\n",
		   outcomes[WF_RUN_SUCCEEDED], outcomes[WF_RUN_FAILED],
		   outcomes[WF_RUN_CANCELLED], actions[WF_ACT_CHILD]);
	printf("# " INT64_FORMAT " commits, " INT64_FORMAT " rollbacks, "
		   INT64_FORMAT " losses; refused: " INT64_FORMAT " busy, "
		   INT64_FORMAT " invalid, " INT64_FORMAT " commit\n",
		   actions[WF_ACT_COMMIT], actions[WF_ACT_ROLLBACK], losses,
		   errors[WF_ERROR_BRANCH_BUSY], errors[WF_ERROR_INVALID],
		   errors[WF_ERROR_COMMIT] + errors[WF_ERROR_COMMIT_INVALID]);
	printf("# rows: " INT64_FORMAT " outside, " INT64_FORMAT " kept, "
		   INT64_FORMAT " lost\n",
		   fates[FATE_AUTO], fates[FATE_KEPT], fates[FATE_LOST]);
	snprintf(name, sizeof(name), "%d random groups of packages", packages);
	tap(bad == 0, name);
}
