/*-------------------------------------------------------------------------
 *
 * machine_model.c
 *	  A model of the run machine, to compare it with.
 *
 * Written without looking at the machine: after each event it computes the
 * state of all steps anew from all constraints, in whatever time that takes.
 * It says which action is right, except for the order of the records and of
 * the cancellations that are due at the same time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include "machine_test.h"

const char *complaint;

void
expect(bool condition, const char *text)
{
	if (!condition && complaint == NULL)
		complaint = text;
}

static const WfPlanStep *
model_step(const Model *model, int step)
{
	return &model->test->plan.steps[step];
}

static bool
model_halted(const Model *model)
{
	return model->failed || model->stopped || model->over;
}

/* Does a constraint hold, by what is known of the step it starts from? */
static Constraints
model_edge(const Model *model, const TestEdge *edge)
{
	bool		success = false;

	switch (model->status[edge->from])
	{
		case WF_STEP_SUCCEEDED:
			success = true;
			break;
		case WF_STEP_FAILED:
			break;
		case WF_STEP_CANCELLED:
			if (model->ended_by_stop[edge->from])
				return CONSTRAINTS_OPEN;
			break;
		case WF_STEP_SKIPPED:
			return CONSTRAINTS_NEVER;
		default:
			return CONSTRAINTS_OPEN;
	}
	if (edge->on == WF_ON_COMPLETION || (edge->on == WF_ON_SUCCESS) == success)
		return CONSTRAINTS_HOLD;
	return CONSTRAINTS_NEVER;
}

/* All constraints of all steps, from the beginning. */
static void
model_constraints(Model *model)
{
	const TestPlan *test = model->test;
	int			count[MAX_STEPS][3];
	int			i;

	memset(count, 0, sizeof(count));
	for (i = 0; i < test->nedges; i++)
		count[test->edges[i].to][model_edge(model, &test->edges[i])]++;

	for (i = 0; i < test->plan.nsteps; i++)
	{
		int			open = count[i][CONSTRAINTS_OPEN];
		int			hold = count[i][CONSTRAINTS_HOLD];
		int			never = count[i][CONSTRAINTS_NEVER];
		Constraints result = CONSTRAINTS_OPEN;

		if (open + hold + never == 0)
			result = CONSTRAINTS_HOLD;
		else if (model_step(model, i)->any)
		{
			if (hold > 0)
				result = CONSTRAINTS_HOLD;
			else if (open == 0)
				result = CONSTRAINTS_NEVER;
		}
		else if (never > 0)
			result = CONSTRAINTS_NEVER;
		else if (open == 0)
			result = CONSTRAINTS_HOLD;
		model->constraints[i] = result;
	}
}

/* What ends by itself, given the constraints; true if something did. */
static bool
model_pass(Model *model)
{
	bool		changed = false;
	int			i;

	model_constraints(model);
	for (i = 0; i < model->test->plan.nsteps; i++)
	{
		if (model->status[i] != WF_STEP_WAITING)
			continue;
		if (model->constraints[i] == CONSTRAINTS_NEVER)
		{
			model->status[i] = WF_STEP_SKIPPED;
			model->reason[i] = WF_REASON_CONSTRAINT;
			changed = true;
		}
		else if (model->constraints[i] == CONSTRAINTS_HOLD &&
				 model_step(model, i)->kind == WF_KIND_NONE &&
				 !model_halted(model))
		{
			model->status[i] = WF_STEP_SUCCEEDED;
			changed = true;
		}
	}
	return changed;
}

static void
model_settle(Model *model)
{
	bool		can_start = false;
	int			i;

	if (model->over)
		return;
	while (model_pass(model))
		;
	for (i = 0; i < model->test->plan.nsteps; i++)
	{
		if (model->status[i] == WF_STEP_WAITING && !model_halted(model) &&
			model->constraints[i] == CONSTRAINTS_HOLD)
			can_start = true;
	}
	if (can_start || model->running > 0)
		return;

	model->over = true;
	for (i = 0; i < model->test->plan.nsteps; i++)
	{
		if (model->status[i] != WF_STEP_WAITING)
			continue;
		expect(model->stopped || model->failed, "the model left a step");
		model->status[i] = WF_STEP_SKIPPED;
		model->reason[i] = model->stopped ? WF_REASON_CANCELLED :
			WF_REASON_PACKAGE_FAILED;
	}
}

void
model_init(Model *model, const TestPlan *test)
{
	int			i;
	int			j;

	memset(model, 0, sizeof(Model));
	model->test = test;
	model->error_step = -1;
	model->nothing_to_run = true;
	for (i = 0; i < test->plan.nsteps; i++)
	{
		const WfPlanStep *step = model_step(model, i);

		model->status[i] = WF_STEP_WAITING;
		if (step->disabled)
		{
			model->status[i] = WF_STEP_SKIPPED;
			model->reason[i] = WF_REASON_DISABLED;
		}
		else if (step->nconstraints == 0)
			model->nothing_to_run = false;

		for (j = i; j > 0; j--)
		{
			if (model_step(model, model->order[j - 1])->priority >=
				step->priority)
				break;
			model->order[j] = model->order[j - 1];
		}
		model->order[j] = i;
	}
	model_settle(model);
}

void
model_ended(Model *model, int step, WfStepStatus status)
{
	if (model->status[step] != WF_STEP_RUNNING)
		return;
	model->running--;
	model->status[step] = status;
	model->cancel_due[step] = false;
	if (status == WF_STEP_CANCELLED && model->stopped)
		model->ended_by_stop[step] = true;
	else if (status != WF_STEP_SUCCEEDED)
	{
		if (model->failed_steps == 0)
			model->error_step = step;
		model->failed_steps++;
		if (model->test->plan.fail_on_first_error)
			model->failed = true;
	}
	model_settle(model);
}

void
model_stop(Model *model)
{
	int			i;

	if (model->over || model->stopped)
		return;
	model->stopped = true;
	for (i = 0; i < model->test->plan.nsteps; i++)
		model->cancel_due[i] = model->status[i] == WF_STEP_RUNNING;
	model_settle(model);
}

static bool
model_connection_busy(const Model *model, int connection)
{
	int			i;

	for (i = 0; i < model->test->plan.nsteps; i++)
	{
		if (model->status[i] == WF_STEP_RUNNING &&
			model_step(model, i)->connection == connection)
			return true;
	}
	return false;
}

/* Could the step start, but for its connection? */
static bool
model_could_start(const Model *model, int step)
{
	return model->status[step] == WF_STEP_WAITING &&
		model->constraints[step] == CONSTRAINTS_HOLD &&
		!model_halted(model) &&
		model->running < model->test->plan.max_concurrent_steps;
}

static bool
model_waits(const Model *model, int step)
{
	int			connection = model_step(model, step)->connection;

	return connection >= 0 && model_could_start(model, step) &&
		model_connection_busy(model, connection);
}

/* May the step have its connection now?  If not, it queues. */
static bool
model_gets_connection(Model *model, int step)
{
	int			connection = model_step(model, step)->connection;
	int		   *queue;
	int			place;

	if (connection < 0)
		return true;
	queue = model->queue[connection];
	for (place = 0; place < model->nqueue[connection]; place++)
	{
		if (queue[place] == step)
			break;
	}
	if (model_connection_busy(model, connection))
	{
		if (place == model->nqueue[connection])
			queue[model->nqueue[connection]++] = step;
		return false;
	}
	if (place == model->nqueue[connection])
		return true;
	if (place > 0)
		return false;
	model->nqueue[connection]--;
	memmove(queue, queue + 1, model->nqueue[connection] * sizeof(int));
	return true;
}

/* The step that starts next, or -1. */
static int
model_pick(Model *model)
{
	int			i;

	for (i = 0; i < model->test->plan.nsteps; i++)
	{
		int			step = model->order[i];

		if (model_could_start(model, step) &&
			model_gets_connection(model, step))
			return step;
	}
	return -1;
}

static bool
model_record_due(const Model *model, int step)
{
	return !model->executed[step] && !model->recorded[step] &&
		model->status[step] != WF_STEP_WAITING;
}

/* Records and cancellations come before everything else. */
static bool
model_something_due(const Model *model)
{
	int			i;

	for (i = 0; i < model->test->plan.nsteps; i++)
	{
		if (model_record_due(model, i) || model->cancel_due[i])
			return true;
	}
	return false;
}

static void
model_check_record(Model *model, const WfAction *action)
{
	int			step = action->step;

	expect(model_record_due(model, step), "record not due");
	expect(action->status == model->status[step], "record: status");
	expect(action->reason == model->reason[step], "record: reason");
	expect(action->attempt == (action->status == WF_STEP_SUCCEEDED),
		   "record: attempt");
	model->recorded[step] = true;
}

static void
model_check_start(Model *model, const WfAction *action)
{
	int			step = action->step;
	bool		child = model_step(model, step)->kind == WF_KIND_PACKAGE;

	expect(!model_something_due(model), "start before records");
	expect(model_pick(model) == step, "not the step to start");
	expect(!model->executed[step], "started twice");
	expect(action->type == (child ? WF_ACT_CHILD : WF_ACT_EXECUTE) &&
		   model_step(model, step)->kind != WF_KIND_NONE, "start: type");
	expect(action->attempt == 1, "start: attempt");
	model->executed[step] = true;
	model->status[step] = WF_STEP_RUNNING;
	model->running++;
	expect(model->running <= model->test->plan.max_concurrent_steps,
		   "more than max_concurrent_steps");
}

static void
model_check_end(Model *model, const WfAction *action)
{
	WfRunStatus status = WF_RUN_SUCCEEDED;

	if (model->stopped)
		status = WF_RUN_CANCELLED;
	else if (model->failed || model->nothing_to_run)
		status = WF_RUN_FAILED;
	expect(model->over && !model->ended, "end not due");
	expect(!model_something_due(model), "end is not the last");
	expect(action->run_status == status, "end: status");
	expect(action->error_step == model->error_step, "end: error step");
	expect(action->failed_steps == model->failed_steps, "end: failed steps");
	expect(action->nothing_to_run == model->nothing_to_run, "end: nothing");
	model->ended = true;
}

/* Is this what wf_machine_next() should have given? */
void
model_check_next(Model *model, bool given, const WfAction *action)
{
	if (!given)
	{
		expect(!model_something_due(model), "records or cancellations lost");
		expect(model_pick(model) < 0, "a step should have started");
		expect(model->ended || !model->over, "end lost");
		expect(model->ended || model->running > 0, "the run stands still");
		return;
	}
	switch (action->type)
	{
		case WF_ACT_RECORD:
			model_check_record(model, action);
			break;
		case WF_ACT_EXECUTE:
		case WF_ACT_CHILD:
			model_check_start(model, action);
			break;
		case WF_ACT_CANCEL:
			expect(model->cancel_due[action->step], "cancel not due");
			model->cancel_due[action->step] = false;
			break;
		case WF_ACT_END:
			model_check_end(model, action);
			break;
	}
}

void
model_check_views(const Model *model, const WfMachine *machine)
{
	int			i;

	expect(wf_machine_running(machine) == model->running, "running");
	expect(wf_machine_failed_steps(machine) == model->failed_steps,
		   "failed steps");
	expect(wf_machine_error_step(machine) == model->error_step, "error step");
	expect(wf_machine_ended(machine) == model->ended, "ended");
	for (i = 0; i < model->test->plan.nsteps; i++)
	{
		bool		started = model->executed[i] ||
			model->status[i] == WF_STEP_SUCCEEDED;

		expect(wf_machine_step_status(machine, i) == model->status[i],
			   "status of a step");
		expect(wf_machine_step_reason(machine, i) == model->reason[i],
			   "reason of a step");
		expect(wf_machine_step_attempt(machine, i) == started,
			   "attempt of a step");
		expect(wf_machine_waits_for_connection(machine, i) ==
			   model_waits(model, i), "waiting for a connection");
	}
}
