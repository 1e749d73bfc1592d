/*-------------------------------------------------------------------------
 *
 * transaction_model.h
 *	  A model of a group of runs with package transactions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TRANSACTION_MODEL_H
#define TRANSACTION_MODEL_H

#include "transaction_test.h"

/* What a step waits for, if it is not simply waiting or being executed. */
typedef enum Doing
{
	DOING_NOTHING,
	DOING_CONDITION_DUE,
	DOING_CONDITION_ASKED,
	DOING_CONDITION_SET_TIMER,
	DOING_CONDITION_TIMER,
	DOING_WORK,					/* the driver executes it */
	DOING_RETRY_SET_TIMER,
	DOING_RETRY_TIMER,
	DOING_RETRY_DUE,
	DOING_JOIN,					/* waits to join */
	DOING_COMMIT				/* waits for its commit */
} Doing;

typedef struct ModelStep
{
	char		status;			/* a WfStepStatus */
	char		reason;
	char		doing;
	char		error;			/* a WfMachineError */
	bool		holds;			/* its constraints do */
	bool		settled;		/* what follows from its end is decided */
	bool		record_due;
	bool		cancel_due;
	bool		ended_by_stop;
	bool		lost;			/* and the transaction in which it awaits its
								 * retry */
	int			sqlstate;
	int			attempts;
	int			transaction;
	int			stamp;			/* since when it does what it does */
} ModelStep;

typedef struct ModelRun
{
	ModelStep	steps[GROUP_STEPS];
	int			log[GROUP_STEPS];	/* steps in the order of their ends */
	int			nlog;
	int			nsettled;
	int			enlisted[MAX_CONNECTIONS];	/* in which transaction */
	int			failed_steps;
	int			error_step;
	bool		failed;
	bool		failed_by_driver;
	bool		stopped;
	bool		nothing_to_run;
	bool		invalid_at_end;
	bool		interrupted;
	bool		paused;
	bool		completing;
	bool		cancel_commit;
	bool		over;
	bool		ended;
	WfRunStatus result;
} ModelRun;

typedef enum ModelState
{
	MODEL_NONE,
	MODEL_ACTIVE,
	MODEL_COMMIT,				/* asked for */
	MODEL_ROLLBACK,				/* asked for */
	MODEL_INVALID
} ModelState;

/* Whose statements a branch executes; step < 0: nobody's. */
typedef struct ModelOccupant
{
	int			run;
	int			step;
	bool		named;
} ModelOccupant;

typedef struct ModelTransaction
{
	ModelState	state;
	int			number;
	bool		ending;			/* the driver is at it */
	bool		lost;
	bool		invalidates;
	bool		committed[256]; /* by number */
	ModelOccupant occupants[GROUP_INSTANCES];
} ModelTransaction;

typedef struct GroupModel
{
	const Group *group;
	int			stamp;
	ModelRun	runs[GROUP_RUNS];
	ModelTransaction transactions[GROUP_RUNS];	/* by the owner's run */
} GroupModel;

extern void group_model_init(GroupModel *model, const Group *group);
extern void group_model_start(GroupModel *model, int run);
extern void group_model_ended(GroupModel *model, int run, int step,
							  WfStepStatus status, int sqlstate);
extern void group_model_join_failed(GroupModel *model, int run, int step,
									int sqlstate);
extern void group_model_condition(GroupModel *model, int run, int step,
								  WfCondition answer, int sqlstate);
extern void group_model_timer(GroupModel *model, int run, int step);
extern void group_model_transaction_ended(GroupModel *model, int run,
										  bool committed, int sqlstate);
extern void group_model_lost(GroupModel *model, int run);
extern void group_model_stop(GroupModel *model, int run);
extern void group_model_fail(GroupModel *model, int run);
extern void group_model_pause(GroupModel *model, int run);
extern void group_model_resume(GroupModel *model, int run);
extern void group_model_next(GroupModel *model, int run, bool given,
							 const WfAction *action);
extern void group_model_check(const GroupModel *model, int run);
extern void group_model_check_idle(GroupModel *model);
extern void group_model_check_rows(const GroupModel *model);

#endif							/* TRANSACTION_MODEL_H */
