/*-------------------------------------------------------------------------
 *
 * transaction_model.c
 *	  A model of a group of runs with package transactions, to compare the
 *	  machines with.
 *
 * Written from the rules, and naive: what a step may do is found out by
 * looking at all steps.  It does not say which of several steps that could
 * start is the next; that is what machine_model.c is for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include "transaction_model_state.h"

const WfPlanStep *
model_plan_step(const GroupModel *model, int run, int step)
{
	return &group_plan(model->group, run)->steps[step];
}

/* The transaction that a run uses, or NULL. */
ModelTransaction *
model_transaction(GroupModel *model, int run)
{
	int			owner = model->group->runs[run].owner;

	return owner < 0 ? NULL : &model->transactions[owner];
}

bool
model_is_owner(const GroupModel *model, int run)
{
	return model->group->runs[run].owner == run;
}

int
model_executing(const ModelTransaction *transaction)
{
	int			n = 0;
	int			i;

	for (i = 0; i < GROUP_INSTANCES; i++)
		n += transaction->occupants[i].step >= 0;
	return n;
}

bool
model_dying(const ModelTransaction *transaction)
{
	return transaction->state == MODEL_COMMIT ||
		transaction->state == MODEL_ROLLBACK;
}

int
model_instance(const GroupModel *model, int run, int step)
{
	const WfPlan *plan = group_plan(model->group, run);
	int			connection = plan->steps[step].connection;

	return connection < 0 ? 0 : plan->connections[connection].instance;
}

/* No further step starts. */
bool
model_halted(const ModelRun *state)
{
	return state->over || state->interrupted ||
		(state->failed && state->result == WF_RUN_RUNNING);
}

static void
set_doing(GroupModel *model, ModelStep *step, Doing doing)
{
	step->doing = doing;
	step->stamp = ++model->stamp;
}

/* The step that has done this for the longest time, or -1. */
static int
first_doing(const GroupModel *model, int run, Doing doing)
{
	const ModelStep *steps = model->runs[run].steps;
	int			first = -1;
	int			i;

	for (i = 0; i < group_plan(model->group, run)->nsteps; i++)
	{
		if (steps[i].doing == (char) doing &&
			(first < 0 || steps[i].stamp < steps[first].stamp))
			first = i;
	}
	return first;
}

/*
 * Ends of steps.
 */

static void
end_step(GroupModel *model, int run, int number, WfStepStatus status,
		 WfReason reason)
{
	ModelRun   *state = &model->runs[run];
	ModelStep  *step = &state->steps[number];

	step->status = status;
	step->reason = reason;
	step->doing = DOING_NOTHING;
	step->cancel_due = false;
	step->record_due = step->attempts == 0 || step->error != WF_ERROR_NONE ||
		model_plan_step(model, run, number)->kind == WF_KIND_NONE;
	state->log[state->nlog++] = number;
}

static void ask_rollback(GroupModel *model, int run);

/* Steps of the owner that wait for a commit have succeeded without one. */
void
model_release_committers(GroupModel *model, int run)
{
	int			step;

	while ((step = first_doing(model, run, DOING_COMMIT)) >= 0)
		end_step(model, run, step, WF_STEP_SUCCEEDED, WF_REASON_NONE);
}

static void
drop_commit(GroupModel *model, int run)
{
	ModelTransaction *transaction = model_transaction(model, run);

	if (transaction && model_is_owner(model, run) && !transaction->ending &&
		transaction->state == MODEL_COMMIT)
	{
		transaction->state = MODEL_ACTIVE;
		model_release_committers(model, run);
	}
}

static void
note_failure(GroupModel *model, int run, int number)
{
	ModelRun   *state = &model->runs[run];
	const WfPlanStep *plan_step = model_plan_step(model, run, number);

	state->failed_steps++;
	if (state->result != WF_RUN_RUNNING)
		return;
	if (state->error_step < 0)
		state->error_step = number;
	if (group_plan(model->group, run)->fail_on_first_error ||
		plan_step->fail_package_on_error)
		model_package_fails(model, run, number);
	if (plan_step->rollback_on_failure)
		ask_rollback(model, run);
}

/* Whoever waits to join does not; if it has been tried before, it failed. */
static void
skip_joiners(GroupModel *model, int run, WfReason reason)
{
	int			step;

	while ((step = first_doing(model, run, DOING_JOIN)) >= 0)
	{
		if (model->runs[run].steps[step].attempts == 0)
			end_step(model, run, step, WF_STEP_SKIPPED, reason);
		else
		{
			model->runs[run].steps[step].doing = DOING_NOTHING;
			note_failure(model, run, step);
			end_step(model, run, step, WF_STEP_FAILED, WF_REASON_NONE);
		}
	}
}

/* R9, R25, R45, R46. */
void
model_package_fails(GroupModel *model, int run, int number)
{
	ModelRun   *state = &model->runs[run];

	if (state->failed || state->result != WF_RUN_RUNNING)
		return;
	state->failed = true;
	state->error_step = number;
	drop_commit(model, run);
	skip_joiners(model, run, WF_REASON_PACKAGE_FAILED);
}

/* R18, R54, R55; tables 3.2 and 3.3. */
static void
ask_rollback(GroupModel *model, int run)
{
	ModelTransaction *transaction = model_transaction(model, run);
	bool		owner = model_is_owner(model, run);

	if (transaction == NULL)
		return;
	if (transaction->state == MODEL_ACTIVE ||
		(transaction->state == MODEL_COMMIT && !transaction->ending))
	{
		transaction->state = MODEL_ROLLBACK;
		transaction->invalidates = !owner;
		if (owner)
			model_release_committers(model, run);
	}
	else if (transaction->state == MODEL_ROLLBACK && owner)
		transaction->invalidates = false;
	else if (transaction->state == MODEL_INVALID && owner)
		transaction->state = MODEL_NONE;
}

void
model_finish(GroupModel *model, int run, int number, WfStepStatus status)
{
	ModelRun   *state = &model->runs[run];
	ModelStep  *step = &state->steps[number];

	step->doing = DOING_NOTHING;
	if (status == WF_STEP_CANCELLED && state->interrupted)
		step->ended_by_stop = true;
	else if (status != WF_STEP_SUCCEEDED)
		note_failure(model, run, number);
	end_step(model, run, number, status, WF_REASON_NONE);
}

/* A step fails though nothing of it has. */
void
model_refuse(GroupModel *model, int run, int number, WfMachineError error,
			 bool fails_package)
{
	model->runs[run].steps[number].error = error;
	model_finish(model, run, number, WF_STEP_FAILED);
	if (fails_package)
		model_package_fails(model, run, number);
}

/* R20, R21, R35, R47, R52: true if the step ends now. */
static bool
ask_commit(GroupModel *model, int run, int number)
{
	ModelTransaction *transaction = model_transaction(model, run);
	ModelRun   *state = &model->runs[run];

	if (!model_plan_step(model, run, number)->commit_on_success ||
		!model_is_owner(model, run) || state->result != WF_RUN_RUNNING ||
		state->failed || state->interrupted ||
		transaction->state == MODEL_NONE)
		return true;
	if (transaction->state == MODEL_INVALID ||
		(transaction->state == MODEL_ROLLBACK && transaction->invalidates))
	{
		model_refuse(model, run, number, WF_ERROR_COMMIT_INVALID, true);
		return false;
	}
	if (transaction->state == MODEL_ROLLBACK)
		return true;
	transaction->state = MODEL_COMMIT;
	set_doing(model, &state->steps[number], DOING_COMMIT);
	return false;
}

static void
vacate(GroupModel *model, int run, int number)
{
	ModelTransaction *transaction = model_transaction(model, run);
	int			i;

	for (i = 0; transaction && i < GROUP_INSTANCES; i++)
	{
		if (transaction->occupants[i].run == run &&
			transaction->occupants[i].step == number)
			transaction->occupants[i].step = -1;
	}
}

/* The work of a step is over. */
static void
work_ends(GroupModel *model, int run, int number, WfStepStatus status)
{
	vacate(model, run, number);
	if (status != WF_STEP_SUCCEEDED || ask_commit(model, run, number))
		model_finish(model, run, number, status);
}

/*
 * What follows from the ends of steps.
 */

/* Does the constraint hold (1), will it never (-1), or is it open (0)? */
static int
judge_edge(const ModelRun *state, const TestEdge *edge)
{
	const ModelStep *from = &state->steps[edge->from];
	bool		success = from->status == WF_STEP_SUCCEEDED;

	if (!from->settled || from->ended_by_stop ||
		from->reason == WF_REASON_PACKAGE_FAILED ||
		from->reason == WF_REASON_CANCELLED)
		return 0;
	if (from->status == WF_STEP_SKIPPED)
		return -1;
	if (edge->on == WF_ON_COMPLETION)
		return 1;
	return (edge->on == WF_ON_SUCCESS) == success ? 1 : -1;
}

/* R64, P6. */
static int
judge_constraints(const GroupModel *model, int run, int number)
{
	const TestPlan *test =
		&model->group->packages[model->group->runs[run].package].test;
	int			count[3] = {0, 0, 0};
	int			i;

	for (i = 0; i < test->nedges; i++)
	{
		if (test->edges[i].to == number)
			count[1 + judge_edge(&model->runs[run], &test->edges[i])]++;
	}
	if (test->plan.steps[number].any)
		return count[2] > 0 ? 1 : count[1] > 0 ? 0 : -1;
	return count[0] > 0 ? -1 : count[1] > 0 ? 0 : 1;
}

static void
start_none(GroupModel *model, int run, int number)
{
	ModelStep  *step = &model->runs[run].steps[number];

	step->status = WF_STEP_RUNNING;
	step->attempts = 1;
	work_ends(model, run, number, WF_STEP_SUCCEEDED);
}

static void
make_startable(GroupModel *model, int run, int number)
{
	ModelRun   *state = &model->runs[run];

	set_doing(model, &state->steps[number], DOING_NOTHING);
	if (model_plan_step(model, run, number)->kind == WF_KIND_NONE &&
		!state->paused)
		start_none(model, run, number);
}

static void
make_ready(GroupModel *model, int run, int number)
{
	ModelStep  *step = &model->runs[run].steps[number];

	step->holds = true;
	if (model_halted(&model->runs[run]))
		return;
	if (model_plan_step(model, run, number)->has_condition)
		set_doing(model, step, DOING_CONDITION_DUE);
	else
		make_startable(model, run, number);
}

/* The constraints that lead out of a step that has ended. */
static void
settle_step(GroupModel *model, int run, int number)
{
	const WfPlan *plan = group_plan(model->group, run);
	ModelStep  *steps = model->runs[run].steps;
	int			i;

	steps[number].settled = true;
	for (i = 0; i < plan->steps[number].nedges; i++)
	{
		int			to = plan->edges[plan->steps[number].first_edge + i].to;
		int			verdict;

		if (steps[to].status != WF_STEP_WAITING || steps[to].holds)
			continue;
		verdict = judge_constraints(model, run, to);
		if (verdict > 0)
			make_ready(model, run, to);
		else if (verdict < 0)
			end_step(model, run, to, WF_STEP_SKIPPED, WF_REASON_CONSTRAINT);
	}
}

/* R41. */
static bool
is_idle(const GroupModel *model, int run)
{
	const ModelRun *state = &model->runs[run];
	int			i;

	for (i = 0; i < group_plan(model->group, run)->nsteps; i++)
	{
		const ModelStep *step = &state->steps[i];

		if (step->status == WF_STEP_RUNNING ||
			step->doing == DOING_CONDITION_ASKED)
			return false;
		if (step->status == WF_STEP_WAITING && step->holds &&
			!model_halted(state))
			return false;
	}
	return true;
}

/* Table 3.4; true if nothing is in the way of the end. */
static bool
complete(GroupModel *model, int run)
{
	ModelRun   *state = &model->runs[run];
	ModelTransaction *transaction = model_transaction(model, run);
	bool		commits = group_plan(model->group, run)->commit_on_completion &&
		!state->failed && !state->stopped && !state->nothing_to_run;

	if (!model_is_owner(model, run) || transaction->state == MODEL_NONE)
		return true;
	if (transaction->state == MODEL_INVALID)
	{
		transaction->state = MODEL_NONE;
		state->invalid_at_end = commits;
		state->failed = state->failed || commits;
		return true;
	}
	if (transaction->state == MODEL_ACTIVE)
	{
		state->completing = true;
		transaction->state = commits ? MODEL_COMMIT : MODEL_ROLLBACK;
	}
	return false;
}

static void
skip_rest(GroupModel *model, int run, bool finally, WfReason reason)
{
	int			i;

	for (i = 0; i < group_plan(model->group, run)->nsteps; i++)
	{
		if (model->runs[run].steps[i].status == WF_STEP_WAITING &&
			(model_plan_step(model, run, i)->finally != 0) == finally)
			end_step(model, run, i, WF_STEP_SKIPPED, reason);
	}
}

static void
fix_result(GroupModel *model, int run)
{
	ModelRun   *state = &model->runs[run];
	int			i;

	state->result = state->stopped ? WF_RUN_CANCELLED :
		state->failed || state->nothing_to_run ? WF_RUN_FAILED :
		WF_RUN_SUCCEEDED;
	skip_rest(model, run, false, state->stopped ? WF_REASON_CANCELLED :
			  state->failed ? WF_REASON_PACKAGE_FAILED : WF_REASON_CONSTRAINT);
	state->nsettled = state->nlog;
	state->interrupted = false;
	for (i = 0; i < group_plan(model->group, run)->nsteps; i++)
	{
		char		finally = model_plan_step(model, run, i)->finally;

		if (state->steps[i].status != WF_STEP_WAITING)
			continue;
		if (finally == WF_ON_COMPLETION || (finally == WF_ON_SUCCESS) ==
			(state->result == WF_RUN_SUCCEEDED))
			make_ready(model, run, i);
		else
			end_step(model, run, i, WF_STEP_SKIPPED, WF_REASON_CONSTRAINT);
	}
}

void
model_settle(GroupModel *model, int run)
{
	ModelRun   *state = &model->runs[run];

	while (state->nsettled < state->nlog)
		settle_step(model, run, state->log[state->nsettled++]);
	if (state->result == WF_RUN_RUNNING && is_idle(model, run) &&
		complete(model, run))
		fix_result(model, run);
	if (state->result != WF_RUN_RUNNING && !state->over && is_idle(model, run))
	{
		skip_rest(model, run, true, WF_REASON_CANCELLED);
		state->over = true;
		state->paused = false;
	}
}

/*
 * Events.
 */

void
group_model_init(GroupModel *model, const Group *group)
{
	model->group = group;
	model->stamp = 0;
	group_model_start(model, 0);
}

/* A run has been started. */
void
group_model_start(GroupModel *model, int run)
{
	const WfPlan *plan = group_plan(model->group, run);
	ModelRun   *state = &model->runs[run];
	int			i;

	memset(state, 0, sizeof(ModelRun));
	memset(&model->transactions[run], 0, sizeof(ModelTransaction));
	for (i = 0; i < GROUP_INSTANCES; i++)
		model->transactions[run].occupants[i].step = -1;
	state->error_step = -1;
	state->result = WF_RUN_RUNNING;
	state->nothing_to_run = true;
	for (i = 0; i < plan->nsteps; i++)
		state->steps[i].status = WF_STEP_WAITING;
	for (i = 0; i < plan->nsteps; i++)
	{
		if (plan->steps[i].disabled)
			end_step(model, run, i, WF_STEP_SKIPPED, WF_REASON_DISABLED);
		else if (plan->steps[i].nconstraints == 0 && !plan->steps[i].finally)
		{
			state->nothing_to_run = false;
			make_ready(model, run, i);
		}
	}
	model_settle(model, run);
}

/* P7, D25: is a failed attempt followed by another one? */
static bool
retries(GroupModel *model, int run, int number, int sqlstate)
{
	const ModelTransaction *transaction = model_transaction(model, run);
	const ModelStep *step = &model->runs[run].steps[number];
	const WfPlanStep *plan_step = model_plan_step(model, run, number);
	int			owner = model->group->runs[run].owner;

	if (model->runs[run].interrupted || step->attempts >= plan_step->max_attempts)
		return false;
	if (step->transaction == 0 || plan_step->kind == WF_KIND_PACKAGE)
		return true;
	return !transaction->lost &&
		(group_plan(model->group, owner)->isolation == WF_READ_COMMITTED ||
		 strncmp(unpack_sqlstate(sqlstate), "40", 2) != 0);
}

void
group_model_ended(GroupModel *model, int run, int number, WfStepStatus status,
				  int sqlstate)
{
	ModelStep  *step = &model->runs[run].steps[number];

	if (step->doing != DOING_WORK)
		return;
	if (status == WF_STEP_FAILED && retries(model, run, number, sqlstate))
	{
		step->doing = DOING_RETRY_SET_TIMER;
		return;
	}
	work_ends(model, run, number, status);
	model_settle(model, run);
}

/* R9. */
void
group_model_join_failed(GroupModel *model, int run, int number, int sqlstate)
{
	ModelStep  *step = &model->runs[run].steps[number];
	int			connection = model_plan_step(model, run, number)->connection;

	if (step->doing != DOING_WORK)
		return;
	if (retries(model, run, number, sqlstate))
	{
		step->doing = DOING_RETRY_SET_TIMER;
		return;
	}
	vacate(model, run, number);
	if (connection >= 0)
		model->runs[run].enlisted[connection] = 0;
	model_finish(model, run, number, WF_STEP_FAILED);
	model_package_fails(model, run, number);
	model_settle(model, run);
}

void
group_model_condition(GroupModel *model, int run, int number,
					  WfCondition answer, int sqlstate)
{
	ModelRun   *state = &model->runs[run];
	ModelStep  *step = &state->steps[number];

	if (step->doing != DOING_CONDITION_ASKED)
		return;
	vacate(model, run, number);
	step->doing = DOING_NOTHING;
	step->cancel_due = false;
	if (answer == WF_CONDITION_FALSE)
		end_step(model, run, number, WF_STEP_SKIPPED, WF_REASON_CONDITION);
	else if (answer == WF_CONDITION_ERROR && !state->interrupted)
	{
		step->sqlstate = sqlstate;
		step->error = WF_ERROR_CONDITION;
		note_failure(model, run, number);
		end_step(model, run, number, WF_STEP_FAILED, WF_REASON_NONE);
	}
	else if (answer == WF_CONDITION_TRUE && !model_halted(state))
		make_startable(model, run, number);
	else if (answer == WF_CONDITION_NULL && !model_halted(state))
		step->doing = DOING_CONDITION_SET_TIMER;
	model_settle(model, run);
}

void
group_model_timer(GroupModel *model, int run, int number)
{
	ModelStep  *step = &model->runs[run].steps[number];

	if (step->doing == DOING_RETRY_TIMER)
		step->doing = DOING_RETRY_DUE;
	if (step->doing == DOING_CONDITION_TIMER)
		step->doing = DOING_CONDITION_DUE;
}

static void
commit_ended(GroupModel *model, int run, bool committed, int sqlstate)
{
	ModelRun   *state = &model->runs[run];
	int			step;

	if (committed)
		model_release_committers(model, run);
	while ((step = first_doing(model, run, DOING_COMMIT)) >= 0)
	{
		state->steps[step].sqlstate = sqlstate;
		model_refuse(model, run, step, WF_ERROR_COMMIT, true);
	}
	if (!state->completing)
		return;
	if (committed)
		state->stopped = state->failed = state->failed_by_driver = false;
	else if (!state->interrupted)
		state->failed = state->failed_by_driver = true;
}

void
group_model_transaction_ended(GroupModel *model, int run, bool committed,
							  int sqlstate)
{
	ModelTransaction *transaction = &model->transactions[run];
	bool		commit = transaction->state == MODEL_COMMIT;

	if (!transaction->ending)
		return;
	transaction->state = transaction->invalidates ? MODEL_INVALID : MODEL_NONE;
	transaction->committed[transaction->number % 256] = commit && committed;
	transaction->ending = false;
	transaction->invalidates = false;
	transaction->lost = false;
	model->runs[run].cancel_commit = false;
	if (commit)
		commit_ended(model, run, committed, sqlstate);
	model_settle(model, run);
}

static bool
awaits_retry(const ModelStep *step)
{
	return step->doing == DOING_RETRY_SET_TIMER ||
		step->doing == DOING_RETRY_TIMER || step->doing == DOING_RETRY_DUE;
}

/* D25: who awaited a retry in a transaction that was lost has failed. */
void
model_end_lost_retries(GroupModel *model, int run)
{
	int			i;

	for (i = 0; i < group_plan(model->group, run)->nsteps; i++)
	{
		ModelStep  *step = &model->runs[run].steps[i];

		if (step->lost && awaits_retry(step))
			work_ends(model, run, i, WF_STEP_FAILED);
	}
	model_settle(model, run);
}

/* Nobody awaits a retry in a transaction that is lost. */
static void
lose_retries(GroupModel *model, ModelTransaction *transaction)
{
	int			i;

	for (i = 0; i < GROUP_INSTANCES; i++)
	{
		ModelOccupant *occupant = &transaction->occupants[i];
		ModelStep  *step;

		if (occupant->step < 0)
			continue;
		step = &model->runs[occupant->run].steps[occupant->step];
		if (!awaits_retry(step))
			continue;
		step->lost = true;
		occupant->step = -1;
	}
}

void
group_model_lost(GroupModel *model, int run)
{
	ModelTransaction *transaction = &model->transactions[run];
	int			step;

	if (transaction->ending || transaction->state == MODEL_NONE ||
		transaction->state == MODEL_INVALID)
		return;
	lose_retries(model, transaction);
	transaction->lost = true;
	if (transaction->state != MODEL_ROLLBACK)
		transaction->invalidates = true;
	transaction->state = MODEL_ROLLBACK;
	while ((step = first_doing(model, run, DOING_COMMIT)) >= 0)
		model_refuse(model, run, step, WF_ERROR_COMMIT_INVALID, true);
	model_end_lost_retries(model, run);
}

static void
interrupt_commit(GroupModel *model, int run)
{
	ModelTransaction *transaction = model_transaction(model, run);
	ModelRun   *state = &model->runs[run];

	if (!model_is_owner(model, run) || transaction->state != MODEL_COMMIT)
		return;
	if (transaction->ending)
		state->cancel_commit = true;
	else if (state->completing)
		transaction->state = MODEL_ROLLBACK;
	else
		drop_commit(model, run);
}

static void
interrupt(GroupModel *model, int run)
{
	ModelRun   *state = &model->runs[run];
	int			i;

	state->interrupted = true;
	state->paused = false;
	if (state->result == WF_RUN_RUNNING)
	{
		skip_joiners(model, run, WF_REASON_CANCELLED);
		interrupt_commit(model, run);
	}
	for (i = 0; i < group_plan(model->group, run)->nsteps; i++)
	{
		ModelStep  *step = &state->steps[i];

		if (awaits_retry(step))
			work_ends(model, run, i, WF_STEP_FAILED);
		step->cancel_due = step->doing == DOING_WORK ||
			step->doing == DOING_CONDITION_ASKED;
	}
	model_settle(model, run);
}

void
group_model_stop(GroupModel *model, int run)
{
	ModelRun   *state = &model->runs[run];

	if (state->over || state->interrupted)
		return;
	if (state->result == WF_RUN_RUNNING)
		state->stopped = true;
	interrupt(model, run);
}

void
group_model_fail(GroupModel *model, int run)
{
	ModelRun   *state = &model->runs[run];

	if (state->result != WF_RUN_RUNNING || state->interrupted)
		return;
	if (!state->failed)
		state->failed_by_driver = true;
	state->failed = true;
	interrupt(model, run);
}

void
group_model_pause(GroupModel *model, int run)
{
	if (!model->runs[run].over && !model->runs[run].interrupted)
		model->runs[run].paused = true;
}

/* Placeholders that were held back end, in the order in which they were. */
void
group_model_resume(GroupModel *model, int run)
{
	ModelRun   *state = &model->runs[run];
	int			first;
	int			i;

	if (!state->paused)
		return;
	state->paused = false;
	do
	{
		first = -1;
		for (i = 0; i < group_plan(model->group, run)->nsteps; i++)
		{
			const ModelStep *step = &state->steps[i];

			if (step->status == WF_STEP_WAITING && step->holds &&
				step->doing == DOING_NOTHING && !model_halted(state) &&
				model_plan_step(model, run, i)->kind == WF_KIND_NONE &&
				(first < 0 || step->stamp < state->steps[first].stamp))
				first = i;
		}
		if (first >= 0)
			start_none(model, run, first);
	} while (first >= 0);
	model_settle(model, run);
}
