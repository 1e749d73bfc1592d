/*-------------------------------------------------------------------------
 *
 * transaction_group.c
 *	  A tree of runs, and a simulated database that they work in.
 *
 * The database knows of a row in which transaction it was written, and
 * nothing of why.  A step writes two rows, one a statement; one that fails
 * does so in its second statement.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include "transaction_test.h"

const WfPlan *
group_plan(const Group *group, int run)
{
	return &group->packages[group->runs[run].package].test.plan;
}

static int
group_add(Group *group, int package, int parent, int step, bool inherits)
{
	const WfPlan *plan = &group->packages[package].test.plan;
	int			number = group->nruns++;
	GroupRun   *run = &group->runs[number];

	Assert(group->used + wf_machine_size(plan) <= GROUP_MEMORY);
	memset(run, 0, sizeof(GroupRun));
	run->package = package;
	run->parent = parent;
	run->step = step;
	run->inherits = inherits && plan->use_transactions;
	run->owner = !plan->use_transactions ? -1 :
		run->inherits ? group->runs[parent].owner : number;
	if (run->owner == number)
		wf_transaction_init(&group->transactions[number], plan);
	run->machine = wf_machine_init(group->memory + group->used, plan,
								   run->owner < 0 ? NULL :
								   &group->transactions[run->owner],
								   run->inherits, NULL);
	group->used += TYPEALIGN(16, wf_machine_size(plan));
	return number;
}

/* Start the root package, packages[0]. */
void
group_init(Group *group, const GroupPackage *packages)
{
	memset(group, 0, offsetof(Group, runs));
	memset(group->transactions, 0, sizeof(group->transactions));
	group->packages = packages;
	group_add(group, 0, -1, -1, false);
}

/* Start the child run that a step asked for. */
int
group_start(Group *group, int parent, int step, bool inherits)
{
	int			package = group->packages[group->runs[parent].package].child[step];

	return group_add(group, package, parent, step, inherits);
}

/* The last child run that a step has started, or -1. */
int
group_child(const Group *group, int run, int step)
{
	int			child;

	for (child = group->nruns - 1; child > 0; child--)
	{
		if (group->runs[child].parent == run && group->runs[child].step == step)
			return child;
	}
	return -1;
}

bool
group_next(Group *group, int run, WfAction *action)
{
	memset(action, 0, sizeof(WfAction));
	if (!wf_machine_next(group->runs[run].machine, action))
		return false;
	if (action->type == WF_ACT_END)
	{
		group->runs[run].ended = true;
		group->runs[run].result = action->run_status;
	}
	return true;
}

static void
group_write(Group *group, int run, int step, int statement)
{
	WfMachine  *machine = group->runs[run].machine;
	GroupRow   *row = &group->rows[group->nrows++];

	memset(row, 0, sizeof(GroupRow));
	row->run = run;
	row->step = step;
	row->attempt = wf_machine_step_attempt(machine, step);
	row->statement = statement;
	row->number = wf_machine_step_transaction(machine, step);
	row->owner = row->number != 0 ? group->runs[run].owner : -1;
	row->fate = row->number != 0 ? FATE_PENDING : FATE_AUTO;
}

/* An attempt does its work: before its end is told to the machine. */
void
group_execute(Group *group, int run, int step, bool success)
{
	if (success || !group_plan(group, run)->steps[step].atomic)
		group_write(group, run, step, 1);
	if (success)
		group_write(group, run, step, 2);
}

static void
group_resolve(Group *group, int owner, Fate fate)
{
	int			first = group->nrows;
	int			i;

	for (i = group->first_pending; i < group->nrows; i++)
	{
		GroupRow   *row = &group->rows[i];

		if (row->fate == FATE_PENDING && row->owner == owner &&
			row->number == group->transactions[owner].number)
			row->fate = fate;
		if (row->fate == FATE_PENDING && first == group->nrows)
			first = i;
	}
	group->first_pending = first;
}

/* Do what WF_ACT_COMMIT or WF_ACT_ROLLBACK asked for, and answer. */
void
group_end_transaction(Group *group, int owner, bool committed, int sqlstate)
{
	if (group->transactions[owner].ending)
		group_resolve(group, owner, committed ? FATE_KEPT : FATE_LOST);
	wf_machine_transaction_ended(group->runs[owner].machine, committed,
								 sqlstate);
}

/* The sessions of a transaction are gone. */
void
group_lose(Group *group, int owner)
{
	if (wf_transaction_is_current(&group->transactions[owner]) &&
		!group->transactions[owner].ending)
		group_resolve(group, owner, FATE_LOST);
	wf_machine_transaction_lost(group->runs[owner].machine);
}
