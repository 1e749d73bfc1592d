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

/* Does this step have its turn before the result is fixed, or after it? */
static bool
model_concerned(const Model *model, int step)
{
	return !model_step(model, step)->finally ==
		(model->result == WF_RUN_RUNNING);
}

/* No further step starts. */
static bool
model_halted(const Model *model)
{
	return model->over || model->interrupted ||
		(model->failed && model->result == WF_RUN_RUNNING);
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
		if (model->status[i] != WF_STEP_WAITING || !model_concerned(model, i))
			continue;
		if (model->constraints[i] == CONSTRAINTS_NEVER)
		{
			model->status[i] = WF_STEP_SKIPPED;
			model->reason[i] = WF_REASON_CONSTRAINT;
			changed = true;
		}
		else if (model->constraints[i] == CONSTRAINTS_HOLD &&
				 model->test->taken_over[i] && !model_halted(model))
		{
			model->status[i] = WF_STEP_SUCCEEDED;
			model->reason[i] = WF_REASON_RESTART;
			changed = true;
		}
		else if (model->constraints[i] == CONSTRAINTS_HOLD &&
				 model_step(model, i)->kind == WF_KIND_NONE &&
				 model->condition[i] == STAGE_NONE &&
				 !model_halted(model) && !model->paused)
		{
			model->status[i] = WF_STEP_SUCCEEDED;
			model->attempts[i] = 1;
			changed = true;
		}
	}
	return changed;
}

/* Is something in progress, or could it be, before the result or after? */
static bool
model_goes_on(const Model *model)
{
	int			i;

	for (i = 0; i < model->test->plan.nsteps; i++)
	{
		if (model->status[i] == WF_STEP_RUNNING ||
			model->condition[i] == STAGE_ASKED)
			return true;
		if (model->status[i] == WF_STEP_WAITING && !model_halted(model) &&
			model_concerned(model, i) &&
			model->constraints[i] == CONSTRAINTS_HOLD)
			return true;
	}
	return false;
}

static void
model_skip(Model *model, int step, WfReason reason)
{
	model->status[step] = WF_STEP_SKIPPED;
	model->reason[step] = reason;
	model->condition[step] = STAGE_NONE;
}

static void
model_skip_rest(Model *model, WfReason reason)
{
	int			i;

	for (i = 0; i < model->test->plan.nsteps; i++)
	{
		if (model->status[i] == WF_STEP_WAITING && model_concerned(model, i))
			model_skip(model, i, reason);
	}
}

static void
model_fix_result(Model *model)
{
	WfRunStatus result = WF_RUN_SUCCEEDED;
	int			i;

	if (model->failed || model->nothing_to_run)
		result = WF_RUN_FAILED;
	if (model->stopped)
		result = WF_RUN_CANCELLED;
	model_skip_rest(model, model->stopped ? WF_REASON_CANCELLED :
					model->failed ? WF_REASON_PACKAGE_FAILED : 0);
	model->result = result;
	model->interrupted = false;
	memset(model->nqueue, 0, sizeof(model->nqueue));

	for (i = 0; i < model->test->plan.nsteps; i++)
	{
		char		finally = model_step(model, i)->finally;

		if (model->status[i] == WF_STEP_WAITING &&
			((finally == WF_ON_SUCCESS && result != WF_RUN_SUCCEEDED) ||
			 (finally == WF_ON_FAILURE && result == WF_RUN_SUCCEEDED)))
			model_skip(model, i, WF_REASON_CONSTRAINT);
	}
}

static void
model_settle(Model *model)
{
	while (!model->over)
	{
		while (model_pass(model))
			;
		if (model_goes_on(model))
			break;
		if (model->result == WF_RUN_RUNNING)
			model_fix_result(model);
		else
		{
			model_skip_rest(model, WF_REASON_CANCELLED);
			model->over = true;
			model->paused = false;
		}
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
	model->result = WF_RUN_RUNNING;
	model->nothing_to_run = true;
	for (i = 0; i < test->plan.nsteps; i++)
	{
		const WfPlanStep *step = model_step(model, i);

		model->status[i] = WF_STEP_WAITING;
		if (step->has_condition && !test->taken_over[i])
			model->condition[i] = STAGE_DUE;
		if (step->disabled && !test->taken_over[i])
			model_skip(model, i, WF_REASON_DISABLED);
		else if (step->nconstraints == 0 && !step->finally)
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

/* A step has failed for good. */
static void
model_failure(Model *model, int step)
{
	bool		fails = model->test->plan.fail_on_first_error ||
		model_step(model, step)->fail_package_on_error;

	model->failed_steps++;
	if (model->result != WF_RUN_RUNNING)
		return;
	if (model->error_step < 0 || (fails && !model->failed))
		model->error_step = step;
	if (fails)
		model->failed = true;
}

/* An attempt failed: is there another one? */
static bool
model_retries(const Model *model, int step, int sqlstate)
{
	const WfPlanStep *plan_step = model_step(model, step);
	int			i;

	if (model->interrupted || model->attempts[step] >= plan_step->max_attempts)
		return false;
	for (i = 0; i < plan_step->nretry_on; i++)
	{
		char		wanted[6];

		strcpy(wanted, unpack_sqlstate(plan_step->retry_on[i].sqlstate));
		if (strncmp(wanted, unpack_sqlstate(sqlstate),
					plan_step->retry_on[i].is_class ? 2 : 5) == 0)
			return true;
	}
	return plan_step->nretry_on == 0;
}

void
model_ended(Model *model, int step, WfStepStatus status, int sqlstate)
{
	if (model->status[step] != WF_STEP_RUNNING ||
		model->retry[step] != STAGE_NONE)
		return;
	if (status == WF_STEP_FAILED && model_retries(model, step, sqlstate))
	{
		model->retry[step] = STAGE_SET_TIMER;
		return;
	}
	if (status == WF_STEP_INTERRUPTED)
	{
		if (model_step(model, step)->restartable && !model->interrupted)
		{
			model->retry[step] = STAGE_DUE;
			model->begun_again[step]++;
			return;
		}
		status = WF_STEP_FAILED;
	}
	model->running--;
	model->status[step] = status;
	model->cancel_due[step] = false;
	if (status == WF_STEP_CANCELLED && model->interrupted)
		model->ended_by_stop[step] = true;
	else if (status != WF_STEP_SUCCEEDED)
		model_failure(model, step);
	model_settle(model);
}

void
model_condition(Model *model, int step, WfCondition answer, int sqlstate)
{
	if (model->condition[step] != STAGE_ASKED)
		return;
	model->condition[step] = STAGE_NONE;
	model->cancel_due[step] = false;
	switch (answer)
	{
		case WF_CONDITION_TRUE:
			break;
		case WF_CONDITION_FALSE:
			model_skip(model, step, WF_REASON_CONDITION);
			break;
		case WF_CONDITION_NULL:
			if (!model_halted(model))
				model->condition[step] = STAGE_SET_TIMER;
			break;
		case WF_CONDITION_ERROR:
			if (model->interrupted)
				break;
			model->status[step] = WF_STEP_FAILED;
			model->sqlstate[step] = sqlstate;
			model_failure(model, step);
			break;
	}
	model_settle(model);
}

void
model_not_begun(Model *model, int step)
{
	if (model->status[step] != WF_STEP_RUNNING ||
		model->retry[step] != STAGE_NONE)
		return;

	model->cancel_due[step] = false;
	model->attempts[step]--;
	if (model->attempts[step] == 0)
	{
		model->status[step] = WF_STEP_WAITING;
		model->running--;
	}
	else if (!model->interrupted)
		model->retry[step] = STAGE_DUE;
	else
	{
		model->status[step] = WF_STEP_FAILED;
		model->running--;
		model_failure(model, step);
	}
	model_settle(model);
}

void
model_timer(Model *model, int step)
{
	if (model->retry[step] == STAGE_TIMER)
		model->retry[step] = STAGE_DUE;
	if (model->condition[step] == STAGE_TIMER)
		model->condition[step] = STAGE_DUE;
}

static void
model_interrupt(Model *model)
{
	int			i;

	model->interrupted = true;
	model->paused = false;
	for (i = 0; i < model->test->plan.nsteps; i++)
	{
		if (model->retry[i] != STAGE_NONE)
		{
			model->retry[i] = STAGE_NONE;
			model->status[i] = WF_STEP_FAILED;
			model->running--;
			model_failure(model, i);
		}
		model->cancel_due[i] = model->status[i] == WF_STEP_RUNNING ||
			model->condition[i] == STAGE_ASKED;
	}
	model_settle(model);
}

void
model_stop(Model *model)
{
	if (model->over || model->interrupted)
		return;
	if (model->result == WF_RUN_RUNNING)
		model->stopped = true;
	model_interrupt(model);
}

void
model_fail(Model *model)
{
	if (model->result != WF_RUN_RUNNING || model->interrupted)
		return;
	if (!model->failed)
		model->failed_by_driver = true;
	model->failed = true;
	model_interrupt(model);
}

void
model_pause(Model *model)
{
	if (!model->over && !model->interrupted)
		model->paused = true;
}

void
model_resume(Model *model)
{
	model->paused = false;
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

static bool
model_main_thread_busy(const Model *model)
{
	int			i;

	for (i = 0; i < model->test->plan.nsteps; i++)
	{
		if (model->status[i] == WF_STEP_RUNNING &&
			model_step(model, i)->main_thread)
			return true;
	}
	return false;
}

/* Could the step start, but for what others have? */
static bool
model_competes(const Model *model, int step)
{
	return model->status[step] == WF_STEP_WAITING &&
		model_concerned(model, step) &&
		model->constraints[step] == CONSTRAINTS_HOLD &&
		model->condition[step] == STAGE_NONE &&
		model_step(model, step)->kind != WF_KIND_NONE &&
		!model_halted(model) && !model->paused;
}

/* What it waits for: (s)lot, (c)onnection, (m)ain thread, or 0. */
static char
model_waits(const Model *model, int step)
{
	int			connection = model_step(model, step)->connection;

	if (!model_competes(model, step))
		return 0;
	if (model->running >= model->test->plan.max_concurrent_steps)
		return 's';
	if (connection >= 0 && model_connection_busy(model, connection))
		return 'c';
	if (model_step(model, step)->main_thread && model_main_thread_busy(model))
		return 'm';
	return 0;
}

/* May the step have its connection now?  If not, it queues. */
static bool
model_gets_connection(Model *model, int step)
{
	int			connection = model_step(model, step)->connection;
	bool		flagged = model_step(model, step)->main_thread;
	int		   *queue;
	int		   *n;
	int			place;

	if (connection < 0)
		return true;
	queue = model->queue[connection][flagged];
	n = &model->nqueue[connection][flagged];
	for (place = 0; place < *n; place++)
	{
		if (queue[place] == step)
			break;
	}
	if (model_connection_busy(model, connection))
	{
		if (place == *n)
			queue[(*n)++] = step;
		return false;
	}
	if (place == *n)
		return true;
	if (place > 0)
		return false;
	--*n;
	memmove(queue, queue + 1, *n * sizeof(int));
	return true;
}

/* The step that starts next, or -1. */
static int
model_pick(Model *model)
{
	int			i;

	if (model->running >= model->test->plan.max_concurrent_steps)
		return -1;
	for (i = 0; i < model->test->plan.nsteps; i++)
	{
		int			step = model->order[i];

		if (!model_competes(model, step))
			continue;
		if (model_step(model, step)->main_thread &&
			model_main_thread_busy(model))
			continue;
		if (model_gets_connection(model, step))
			return step;
	}
	return -1;
}

static bool
model_record_due(const Model *model, int step)
{
	return !model->recorded[step] &&
		model->status[step] != WF_STEP_WAITING &&
		(model->attempts[step] == 0 ||
		 model_step(model, step)->kind == WF_KIND_NONE);
}

static bool
model_condition_due(const Model *model, int step)
{
	return model->status[step] == WF_STEP_WAITING &&
		model_concerned(model, step) &&
		model->constraints[step] == CONSTRAINTS_HOLD &&
		model->condition[step] == STAGE_DUE &&
		!model_halted(model) && !model->paused;
}

static bool
model_timer_due(const Model *model, int step)
{
	return model->retry[step] == STAGE_SET_TIMER ||
		(model->condition[step] == STAGE_SET_TIMER && !model_halted(model));
}

static bool
model_retry_due(const Model *model, int step)
{
	return model->retry[step] == STAGE_DUE && !model->paused;
}

/*
 * Is something due that comes before the actions of this class?  0: records
 * and cancellations, 1: timers, 2: retries, 3: conditions, 4: the rest.
 */
static bool
model_due_before(const Model *model, int class)
{
	int			i;

	for (i = 0; i < model->test->plan.nsteps; i++)
	{
		if (class > 0 &&
			(model_record_due(model, i) || model->cancel_due[i]))
			return true;
		if (class > 1 && model_timer_due(model, i))
			return true;
		if (class > 2 && model_retry_due(model, i))
			return true;
		if (class > 3 && model_condition_due(model, i))
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
	expect(action->attempt == model->attempts[step], "record: attempt");
	expect(action->sqlstate == model->sqlstate[step], "record: sqlstate");
	model->recorded[step] = true;
}

static void
model_check_cancel(Model *model, const WfAction *action)
{
	int			step = action->step;

	expect(model->cancel_due[step], "cancel not due");
	expect(action->attempt == model->attempts[step], "cancel: attempt");
	model->cancel_due[step] = false;
}

static void
model_check_timer(Model *model, const WfAction *action)
{
	const WfPlanStep *step = model_step(model, action->step);
	double		delay = step->retry_delay_ms;
	int			i;

	expect(!model_due_before(model, 1), "timer before records");
	expect(model_timer_due(model, action->step), "timer not due");
	expect(action->attempt == model->attempts[action->step],
		   "timer: attempt");
	for (i = 1; i < action->attempt; i++)
		delay *= step->retry_backoff;
	if (model->retry[action->step] == STAGE_SET_TIMER)
		model->retry[action->step] = STAGE_TIMER;
	else
	{
		model->condition[action->step] = STAGE_TIMER;
		delay = step->condition_interval_ms;
	}
	expect(action->delay_ms == (int64) delay, "timer: delay");
}

static void
model_check_condition(Model *model, const WfAction *action)
{
	expect(!model_due_before(model, 3), "condition too early");
	expect(model_condition_due(model, action->step), "condition not due");
	expect(action->attempt == 0, "condition: attempt");
	model->condition[action->step] = STAGE_ASKED;
}

static void
model_check_start(Model *model, const WfAction *action)
{
	int			step = action->step;
	bool		child = model_step(model, step)->kind == WF_KIND_PACKAGE;

	expect(action->type == (child ? WF_ACT_CHILD : WF_ACT_EXECUTE) &&
		   model_step(model, step)->kind != WF_KIND_NONE, "start: type");
	expect(action->attempt == ++model->attempts[step], "start: attempt");
	if (action->attempt > 1)
	{
		expect(!model_due_before(model, 2), "retry too early");
		expect(model_retry_due(model, step), "retry not due");
		expect(action->attempt - model->begun_again[step] <=
			   Max(model_step(model, step)->max_attempts, 1),
			   "too many attempts");
		model->retry[step] = STAGE_NONE;
		return;
	}
	expect(!model_due_before(model, 4), "start too early");
	expect(model_pick(model) == step, "not the step to start");
	expect(!model_step(model, step)->main_thread ||
		   !model_main_thread_busy(model), "main thread");
	model->status[step] = WF_STEP_RUNNING;
	model->running++;
	expect(model->running <= model->test->plan.max_concurrent_steps,
		   "more than max_concurrent_steps");
}

static void
model_check_end(Model *model, const WfAction *action)
{
	expect(model->over && !model->ended, "end not due");
	expect(!model_due_before(model, 4), "end is not the last");
	expect(action->run_status == model->result, "end: status");
	expect(action->error_step == model->error_step, "end: error step");
	expect(action->failed_steps == model->failed_steps, "end: failed steps");
	expect(action->nothing_to_run == model->nothing_to_run, "end: nothing");
	expect(action->failed_by_driver == model->failed_by_driver,
		   "end: by the driver");
	model->ended = true;
}

/* Is there an event that the run can wait for? */
static bool
model_can_go_on(const Model *model)
{
	int			i;

	for (i = 0; i < model->test->plan.nsteps; i++)
	{
		if (model->condition[i] == STAGE_ASKED ||
			model->condition[i] == STAGE_TIMER ||
			model->status[i] == WF_STEP_RUNNING)
			return true;
	}
	return model->paused;
}

/* Is this what wf_machine_next() should have given? */
void
model_check_next(Model *model, bool given, const WfAction *action)
{
	if (!given)
	{
		expect(!model_due_before(model, 4), "an action is lost");
		expect(model_pick(model) < 0, "a step should have started");
		expect(model->ended || !model->over, "end lost");
		expect(model->ended || model_can_go_on(model),
			   "the run stands still");
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
			model_check_cancel(model, action);
			break;
		case WF_ACT_TIMER:
			model_check_timer(model, action);
			break;
		case WF_ACT_CONDITION:
			model_check_condition(model, action);
			break;
		case WF_ACT_END:
			model_check_end(model, action);
			break;
		case WF_ACT_COMMIT:
		case WF_ACT_ROLLBACK:
			expect(false, "no transaction was to be ended");
			break;
	}
}

static bool
model_waits_for_condition(const Model *model, int step)
{
	return model->condition[step] == STAGE_ASKED ||
		(model->status[step] == WF_STEP_WAITING &&
		 model_concerned(model, step) &&
		 model->constraints[step] == CONSTRAINTS_HOLD &&
		 model->condition[step] != STAGE_NONE && !model_halted(model));
}

static void
model_check_step(const Model *model, const WfMachine *machine, int step)
{
	char		waits = model_waits(model, step);

	expect(wf_machine_step_status(machine, step) == model->status[step],
		   "status of a step");
	expect(wf_machine_step_reason(machine, step) == model->reason[step],
		   "reason of a step");
	expect(wf_machine_step_attempt(machine, step) == model->attempts[step],
		   "attempt of a step");
	expect(wf_machine_waits_for_slot(machine, step) == (waits == 's'),
		   "waiting for a slot");
	expect(wf_machine_waits_for_connection(machine, step) == (waits == 'c'),
		   "waiting for a connection");
	expect(wf_machine_waits_for_main_thread(machine, step) == (waits == 'm'),
		   "waiting for the main thread");
	expect(wf_machine_waits_for_condition(machine, step) ==
		   model_waits_for_condition(model, step),
		   "waiting for a condition");
	expect(wf_machine_awaits_retry(machine, step) ==
		   (model->retry[step] != STAGE_NONE), "awaiting a retry");
}

void
model_check_views(const Model *model, const WfMachine *machine)
{
	int			i;

	expect(wf_machine_running(machine) == model->running, "running");
	expect(wf_machine_failed_steps(machine) == model->failed_steps,
		   "failed steps");
	expect(wf_machine_error_step(machine) == model->error_step, "error step");
	expect(wf_machine_run_result(machine) == model->result, "result");
	expect(wf_machine_paused(machine) == model->paused, "paused");
	expect(wf_machine_ended(machine) == model->ended, "ended");
	for (i = 0; i < model->test->plan.nsteps; i++)
		model_check_step(model, machine, i);
}
