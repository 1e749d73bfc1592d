/*-------------------------------------------------------------------------
 *
 * transaction_check.c
 *	  Is an action of a group of runs what the model allows, and is none
 *	  missing?
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include "transaction_model_state.h"

/* How a step that could start stands to the transaction: table 3.5. */
typedef enum Standing
{
	STANDING_FREE,				/* outside */
	STANDING_INSIDE,
	STANDING_LATER,				/* its branch is in use, or about to end */
	STANDING_JOIN_LATER,		/* joins the next one, R34 */
	STANDING_BUSY,				/* R36, D6 */
	STANDING_INVALID			/* R47 */
} Standing;

static Standing
judge_branch(GroupModel *model, int run, int number)
{
	const ModelTransaction *transaction = model_transaction(model, run);
	const ModelOccupant *occupant =
		&transaction->occupants[model_instance(model, run, number)];

	if (transaction->ending || transaction->lost ||
		(model_dying(transaction) && model_executing(transaction) == 0))
		return STANDING_LATER;
	if (occupant->step < 0)
		return STANDING_INSIDE;
	if (occupant->named && model_plan_step(model, run, number)->connection >= 0)
		return STANDING_BUSY;
	return STANDING_LATER;
}

static Standing
judge(GroupModel *model, int run, int number)
{
	const ModelTransaction *transaction = model_transaction(model, run);
	const WfPlanStep *step = model_plan_step(model, run, number);

	if (transaction == NULL)
		return STANDING_FREE;
	if (!step->joins)
	{
		if (step->connection < 0 || transaction->state == MODEL_NONE ||
			transaction->state == MODEL_INVALID ||
			model->runs[run].enlisted[step->connection] != transaction->number)
			return STANDING_FREE;
		return judge_branch(model, run, number);
	}
	if (transaction->state == MODEL_INVALID)
		return STANDING_INVALID;
	if (model_dying(transaction))
		return STANDING_JOIN_LATER;
	if (transaction->state == MODEL_NONE || step->kind == WF_KIND_PACKAGE)
		return STANDING_INSIDE;
	return judge_branch(model, run, number);
}

/* Nothing but the transaction can keep this step from starting. */
static bool
could_start(const GroupModel *model, int run, int number)
{
	const WfPlan *plan = group_plan(model->group, run);
	const ModelRun *state = &model->runs[run];
	const WfPlanStep *step = &plan->steps[number];
	int			running = 0;
	int			i;

	if (state->steps[number].status != WF_STEP_WAITING ||
		!state->steps[number].holds || model_halted(state) || state->paused ||
		state->steps[number].doing != DOING_NOTHING ||
		step->kind == WF_KIND_NONE)
		return false;
	for (i = 0; i < plan->nsteps; i++)
	{
		if (state->steps[i].status != WF_STEP_RUNNING)
			continue;
		running++;
		if (step->connection >= 0 &&
			plan->steps[i].connection == step->connection)
			return false;
		if (step->main_thread && plan->steps[i].main_thread &&
			plan->steps[i].kind != WF_KIND_NONE)
			return false;
	}
	return running < plan->max_concurrent_steps;
}

static bool
holds_condition(GroupModel *model, int run, int number)
{
	const ModelTransaction *transaction = model_transaction(model, run);

	return transaction && model_plan_step(model, run, number)->joins &&
		(model_dying(transaction) || (transaction->state == MODEL_ACTIVE &&
									  model_executing(transaction) > 0));
}

/*
 * What a machine decides when it is asked for an action: who waits to join,
 * and who is refused.
 */

static void
begin_joining(GroupModel *model, int run, int number)
{
	ModelStep  *step = &model->runs[run].steps[number];

	if (step->status == WF_STEP_WAITING)
		expect(could_start(model, run, number), "waits to join, but not ready");
	else
		expect(step->doing == DOING_RETRY_DUE &&
			   !model->runs[run].paused, "waits to join, but no retry is due");
	expect(judge(model, run, number) == STANDING_JOIN_LATER,
		   "waits to join without reason");
	step->status = WF_STEP_RUNNING;
	step->doing = DOING_JOIN;
	step->stamp = ++model->stamp;
}

static void
follow_joiners(GroupModel *model, int run, bool before_refusal)
{
	const WfMachine *machine = model->group->runs[run].machine;
	int			i;

	for (i = 0; i < group_plan(model->group, run)->nsteps; i++)
	{
		const ModelStep *step = &model->runs[run].steps[i];
		bool		joining = wf_machine_step_status(machine, i) ==
			WF_STEP_RUNNING &&
			wf_machine_waits_for_transaction(machine, i);

		/* One that began to wait and was skipped at once, by a refusal. */
		if (before_refusal && step->status == WF_STEP_WAITING &&
			wf_machine_step_status(machine, i) == WF_STEP_SKIPPED &&
			wf_machine_step_reason(machine, i) == WF_REASON_PACKAGE_FAILED &&
			could_start(model, run, i) &&
			judge(model, run, i) == STANDING_JOIN_LATER)
			joining = true;
		if (joining && step->doing != DOING_JOIN)
			begin_joining(model, run, i);
	}
}

static void
refuse(GroupModel *model, int run, int number)
{
	ModelStep  *step = &model->runs[run].steps[number];
	Standing	standing = judge(model, run, number);

	if (step->status == WF_STEP_WAITING)
		expect(could_start(model, run, number), "refused, but not ready");
	else
		expect((step->doing == DOING_JOIN || step->doing == DOING_RETRY_DUE) &&
			   !model->runs[run].paused, "refused, but not due");
	expect(standing == STANDING_BUSY || standing == STANDING_INVALID,
		   "refused without reason");
	step->status = WF_STEP_RUNNING;
	step->attempts++;
	if (standing == STANDING_INVALID)
		model_refuse(model, run, number, WF_ERROR_INVALID,
					 model_is_owner(model, run));
	else
		model_refuse(model, run, number, WF_ERROR_BRANCH_BUSY,
					 model_plan_step(model, run, number)->joins);
	model_settle(model, run);
}

static void
follow_refusal(GroupModel *model, int run)
{
	const WfMachine *machine = model->group->runs[run].machine;
	int			i;

	for (i = 0; i < group_plan(model->group, run)->nsteps; i++)
	{
		const ModelStep *step = &model->runs[run].steps[i];

		if ((step->status == WF_STEP_WAITING ||
			 step->status == WF_STEP_RUNNING) &&
			wf_machine_step_status(machine, i) == WF_STEP_FAILED &&
			wf_machine_step_attempt(machine, i) == step->attempts + 1)
		{
			follow_joiners(model, run, true);
			refuse(model, run, i);
			return;
		}
	}
}

/* What another run has done to the transaction. */
static void
catch_up(GroupModel *model, int run)
{
	const ModelTransaction *transaction = model_transaction(model, run);
	int			i;

	if (transaction == NULL)
		return;
	for (i = 0; i < group_plan(model->group, run)->nsteps; i++)
	{
		if (model->runs[run].steps[i].doing == DOING_COMMIT &&
			transaction->state != MODEL_COMMIT)
		{
			model_release_committers(model, run);
			model_settle(model, run);
		}
	}
	model_end_lost_retries(model, run);
}

/*
 * Actions.
 */

static void
check_record(GroupModel *model, int run, const WfAction *action)
{
	ModelStep  *step = &model->runs[run].steps[action->step];

	expect(step->record_due, "record not due");
	expect(action->status == (WfStepStatus) step->status, "record: status");
	expect(action->reason == (WfReason) step->reason, "record: reason");
	expect(action->error == (WfMachineError) step->error, "record: error");
	expect(action->attempt == step->attempts, "record: attempt");
	expect(action->sqlstate == step->sqlstate, "record: sqlstate");
	step->record_due = false;
}

static void
check_cancel(GroupModel *model, int run, const WfAction *action)
{
	ModelRun   *state = &model->runs[run];

	if (action->step < 0)
	{
		expect(state->cancel_commit, "no commit to cancel");
		state->cancel_commit = false;
		return;
	}
	expect(state->steps[action->step].cancel_due, "cancel not due");
	state->steps[action->step].cancel_due = false;
}

static void
check_timer(GroupModel *model, int run, const WfAction *action)
{
	ModelStep  *step = &model->runs[run].steps[action->step];

	if (step->doing == DOING_RETRY_SET_TIMER)
		step->doing = DOING_RETRY_TIMER;
	else if (step->doing == DOING_CONDITION_SET_TIMER)
		step->doing = DOING_CONDITION_TIMER;
	else
		expect(false, "timer not due");
}

static void
occupy(GroupModel *model, int run, int number, bool named)
{
	ModelOccupant *occupant = &model_transaction(model, run)->
		occupants[model_instance(model, run, number)];

	expect(occupant->step < 0, "two at a time in one branch");
	occupant->run = run;
	occupant->step = number;
	occupant->named = named;
}

static void
check_condition(GroupModel *model, int run, const WfAction *action)
{
	ModelRun   *state = &model->runs[run];
	ModelStep  *step = &state->steps[action->step];
	const ModelTransaction *transaction = model_transaction(model, run);
	int			number = 0;

	expect(step->doing == DOING_CONDITION_DUE && !model_halted(state) &&
		   !state->paused, "condition not due");
	expect(!holds_condition(model, run, action->step),
		   "condition while the transaction is in use");
	step->doing = DOING_CONDITION_ASKED;
	if (transaction && transaction->state == MODEL_ACTIVE &&
		model_plan_step(model, run, action->step)->joins)
	{
		number = transaction->number;
		occupy(model, run, action->step, false);
	}
	expect(action->transaction == number, "condition: transaction");
}

/* A step starts to execute inside; returns the number. */
static int
enter(GroupModel *model, int run, int number)
{
	ModelTransaction *transaction = model_transaction(model, run);
	const WfPlanStep *step = model_plan_step(model, run, number);

	if (transaction->state == MODEL_NONE)
	{
		transaction->state = MODEL_ACTIVE;
		transaction->number++;
	}
	if (step->joins)
		expect(transaction->state == MODEL_ACTIVE, "joined a dying one");
	if (step->kind != WF_KIND_PACKAGE)
		occupy(model, run, number, step->connection >= 0);
	if (step->connection >= 0)
		model->runs[run].enlisted[step->connection] = transaction->number;
	return transaction->number;
}

static void
check_start(GroupModel *model, int run, const WfAction *action)
{
	const WfPlanStep *plan_step = model_plan_step(model, run, action->step);
	ModelRun   *state = &model->runs[run];
	ModelStep  *step = &state->steps[action->step];
	Standing	standing = judge(model, run, action->step);
	bool		package = plan_step->kind == WF_KIND_PACKAGE;

	expect(action->type == (package ? WF_ACT_CHILD : WF_ACT_EXECUTE) &&
		   plan_step->kind != WF_KIND_NONE, "start: type");
	expect(action->attempt == ++step->attempts, "start: attempt");
	if (step->status == WF_STEP_WAITING)
		expect(could_start(model, run, action->step), "start: not ready");
	else
		expect((step->doing == DOING_JOIN || step->doing == DOING_RETRY_DUE) &&
			   !state->paused, "start: not due");

	if (step->doing == DOING_RETRY_DUE && !package)
		expect(action->attempt <= plan_step->max_attempts, "start: attempts");
	else
	{
		expect(standing == STANDING_FREE || standing == STANDING_INSIDE,
			   "start: may not enter");
		step->transaction = standing == STANDING_INSIDE ?
			enter(model, run, action->step) : 0;
	}
	expect(action->transaction == step->transaction, "start: transaction");
	step->status = WF_STEP_RUNNING;
	step->doing = DOING_WORK;
}

static void
check_transaction_end(GroupModel *model, int run, const WfAction *action)
{
	ModelTransaction *transaction = model_transaction(model, run);

	expect(model_is_owner(model, run), "ended by a run that inherits");
	expect(transaction->state == (action->type == WF_ACT_COMMIT ?
								  MODEL_COMMIT : MODEL_ROLLBACK),
		   "this end was not asked for");
	expect(!transaction->ending, "ended twice");
	expect(model_executing(transaction) == 0, "ended while in use");
	expect(action->transaction == transaction->number, "end: number");
	if (action->type == WF_ACT_COMMIT)
		expect(!model->runs[run].failed && !model->runs[run].stopped,
			   "commit of a failed package");
	transaction->ending = true;
}

static void
check_end(GroupModel *model, int run, const WfAction *action)
{
	ModelRun   *state = &model->runs[run];

	expect(state->over && !state->ended, "end not due");
	expect(action->run_status == state->result, "end: status");
	expect(action->error_step == state->error_step, "end: error step");
	expect(action->failed_steps == state->failed_steps, "end: failed steps");
	expect(action->nothing_to_run == state->nothing_to_run, "end: nothing");
	expect(action->failed_by_driver == state->failed_by_driver,
		   "end: by the driver");
	expect(action->invalid_at_end == state->invalid_at_end, "end: invalid");
	if (model_is_owner(model, run))
		expect(model->transactions[run].state == MODEL_NONE,
			   "end before the transaction's");
	state->ended = true;
}

static void
check_action(GroupModel *model, int run, const WfAction *action)
{
	switch (action->type)
	{
		case WF_ACT_RECORD:
			check_record(model, run, action);
			break;
		case WF_ACT_EXECUTE:
		case WF_ACT_CHILD:
			check_start(model, run, action);
			break;
		case WF_ACT_CANCEL:
			check_cancel(model, run, action);
			break;
		case WF_ACT_TIMER:
			check_timer(model, run, action);
			break;
		case WF_ACT_CONDITION:
			check_condition(model, run, action);
			break;
		case WF_ACT_COMMIT:
		case WF_ACT_ROLLBACK:
			check_transaction_end(model, run, action);
			break;
		case WF_ACT_END:
			check_end(model, run, action);
			break;
	}
}

/* The machine of a run was asked for an action: is that what it should say? */
void
group_model_next(GroupModel *model, int run, bool given,
				 const WfAction *action)
{
	catch_up(model, run);
	follow_refusal(model, run);
	follow_joiners(model, run, false);
	if (given)
		check_action(model, run, action);
}

/*
 * Views.
 */

static void
check_step(const GroupModel *model, int run, int number)
{
	const WfMachine *machine = model->group->runs[run].machine;
	const ModelStep *step = &model->runs[run].steps[number];

	expect(wf_machine_step_status(machine, number) ==
		   (WfStepStatus) step->status, "status of a step");
	expect(wf_machine_step_reason(machine, number) ==
		   (WfReason) step->reason, "reason of a step");
	expect(wf_machine_step_attempt(machine, number) == step->attempts,
		   "attempt of a step");
	expect(wf_machine_step_transaction(machine, number) == step->transaction,
		   "transaction of a step");
	expect(wf_machine_awaits_commit(machine, number) ==
		   (step->doing == DOING_COMMIT), "awaiting a commit");
	expect(wf_machine_awaits_retry(machine, number) ==
		   (step->doing == DOING_RETRY_SET_TIMER ||
			step->doing == DOING_RETRY_TIMER ||
			step->doing == DOING_RETRY_DUE), "awaiting a retry");
	if (step->status == WF_STEP_RUNNING)
		expect(wf_machine_waits_for_transaction(machine, number) ==
			   (step->doing == DOING_JOIN), "waiting to join");
}

/* Does the machine of a run stand as the model does? */
void
group_model_check(const GroupModel *model, int run)
{
	const WfMachine *machine = model->group->runs[run].machine;
	const ModelRun *state = &model->runs[run];
	int			i;

	for (i = 0; i < group_plan(model->group, run)->nsteps; i++)
		check_step(model, run, i);
	expect(wf_machine_failed_steps(machine) == state->failed_steps,
		   "failed steps");
	expect(wf_machine_error_step(machine) == state->error_step, "error step");
	expect(wf_machine_run_result(machine) == state->result, "result");
	expect(wf_machine_paused(machine) == state->paused, "paused");
	expect(wf_machine_ended(machine) == state->ended, "ended");
	if (model_is_owner(model, run))
		expect(model->group->transactions[run].number ==
			   model->transactions[run].number, "number of the transaction");
}

/*
 * When no machine has an action: is none missing?
 */

static bool
is_due(GroupModel *model, int run, int number)
{
	const ModelRun *state = &model->runs[run];
	const ModelStep *step = &state->steps[number];
	Standing	standing;

	if (step->record_due || step->cancel_due)
		return true;
	switch ((Doing) step->doing)
	{
		case DOING_RETRY_SET_TIMER:
			return true;
		case DOING_CONDITION_SET_TIMER:
			return !model_halted(state);
		case DOING_RETRY_DUE:
			return !state->paused;
		case DOING_CONDITION_DUE:
			return !state->paused && !model_halted(state) &&
				!holds_condition(model, run, number);
		case DOING_JOIN:
			standing = judge(model, run, number);
			return !state->paused && standing != STANDING_LATER &&
				standing != STANDING_JOIN_LATER;
		default:
			break;
	}
	if (!could_start(model, run, number))
		return false;
	standing = judge(model, run, number);

	/*
	 * Who has waited for his branch goes on to when another one has got it,
	 * or when the transaction is about to end.
	 */
	if (standing == STANDING_BUSY || standing == STANDING_JOIN_LATER)
		return !wf_machine_waits_for_transaction(model->group->runs[run].machine,
												 number);
	return standing != STANDING_LATER;
}

/* Something that the run can wait for. */
static bool
is_awaited(const GroupModel *model, int run)
{
	int			i;

	for (i = 0; i < group_plan(model->group, run)->nsteps; i++)
	{
		switch ((Doing) model->runs[run].steps[i].doing)
		{
			case DOING_CONDITION_ASKED:
			case DOING_CONDITION_TIMER:
			case DOING_WORK:
			case DOING_RETRY_TIMER:
				return true;
			default:
				break;
		}
	}
	return model->runs[run].paused || model->transactions[run].ending;
}

void
group_model_check_idle(GroupModel *model)
{
	bool		awaited = false;
	int			run;
	int			i;

	for (run = 0; run < model->group->nruns; run++)
	{
		const ModelRun *state = &model->runs[run];
		const ModelTransaction *transaction = &model->transactions[run];

		if (state->ended)
			continue;
		expect(!state->over, "an end is missing");
		for (i = 0; i < group_plan(model->group, run)->nsteps; i++)
			expect(!is_due(model, run, i), "an action is missing");
		expect(!state->cancel_commit, "the cancel of a commit is missing");
		expect(transaction->ending || !model_dying(transaction) ||
			   model_executing(transaction) > 0,
			   "the end of a transaction is missing");
		awaited = awaited || is_awaited(model, run);
	}
	expect(model->runs[0].ended || awaited, "the run stands still");
}

/* Is in the database what should be? */
void
group_model_check_rows(const GroupModel *model)
{
	int			i;

	for (i = 0; i < model->group->nrows; i++)
	{
		const GroupRow *row = &model->group->rows[i];
		Fate		fate = FATE_AUTO;

		if (row->number != 0)
			fate = model->transactions[row->owner].committed[row->number % 256] ?
				FATE_KEPT : FATE_LOST;
		expect((Fate) row->fate == fate, "fate of a row");
	}
}
