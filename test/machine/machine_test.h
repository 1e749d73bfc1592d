/*-------------------------------------------------------------------------
 *
 * machine_test.h
 *	  What the parts of the machine's test program share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MACHINE_TEST_H
#define MACHINE_TEST_H

#include "machine.h"

/* port.h turns these into functions of libpgport, which is not linked. */
#undef printf
#undef snprintf
#undef vsnprintf
#undef fprintf

/*
 * Plans.  Edges are kept as they were added, for the model, and sorted by
 * source for the machine.
 */

typedef struct TestEdge
{
	int			from;
	int			to;
	WfOn		on;
} TestEdge;

#define MAX_CONNECTIONS 5

typedef struct TestPlan
{
	WfPlan		plan;
	WfPlanConnection connections[MAX_CONNECTIONS];
	TestEdge   *edges;
	int			nedges;
	bool	   *taken_over;		/* steps of an earlier run */
} TestPlan;

extern void plan_init(TestPlan *test, int nsteps, int max_edges);
extern void plan_edge(TestPlan *test, int from, int to, WfOn on);
extern void plan_sort_edges(TestPlan *test);
extern void plan_free(TestPlan *test);
extern WfMachine *machine_new(const TestPlan *test);

/* A SQLSTATE as the server packs it, and the other way round. */
extern int	pack_sqlstate(const char *text);
extern const char *unpack_sqlstate(int sqlstate);

/* Print one line of the result. */
extern void tap(bool passed, const char *name);

/* Random numbers: the same ones from the same seed. */
extern void random_seed(uint64 seed);
extern int	random_below(int n);
extern bool random_percent(int percent);

/* machine_cases.c */
extern void test_cases(void);

/* machine_model.c; for plans of up to this size */
#define MAX_STEPS		30

typedef enum Constraints
{
	CONSTRAINTS_OPEN,
	CONSTRAINTS_HOLD,
	CONSTRAINTS_NEVER
} Constraints;

/* Where a step's condition is, and where its next attempt is. */
typedef enum Stage
{
	STAGE_NONE,					/* there is none, or it is done with */
	STAGE_DUE,
	STAGE_ASKED,				/* conditions only */
	STAGE_SET_TIMER,
	STAGE_TIMER
} Stage;

typedef struct Model
{
	const TestPlan *test;
	int			order[MAX_STEPS];	/* by priority, then index */
	WfStepStatus status[MAX_STEPS];
	WfReason	reason[MAX_STEPS];
	Constraints constraints[MAX_STEPS];
	Stage		condition[MAX_STEPS];
	Stage		retry[MAX_STEPS];
	int			sqlstate[MAX_STEPS];	/* of the condition */
	int			attempts[MAX_STEPS];
	int			begun_again[MAX_STEPS]; /* of them: after an interrupted one */
	bool		recorded[MAX_STEPS];
	bool		cancel_due[MAX_STEPS];
	bool		ended_by_stop[MAX_STEPS];
	int			queue[MAX_CONNECTIONS][2][MAX_STEPS];
	int			nqueue[MAX_CONNECTIONS][2];
	int			running;
	int			failed_steps;
	int			error_step;
	bool		nothing_to_run;
	bool		failed;
	bool		failed_by_driver;
	bool		stopped;
	bool		paused;
	bool		interrupted;	/* the graph, or later the finally steps */
	WfRunStatus result;			/* WF_RUN_RUNNING: not fixed */
	bool		over;
	bool		ended;
} Model;

/* What is wrong with the package at hand: the first complaint, or NULL. */
extern const char *complaint;

extern void expect(bool condition, const char *text);
extern void model_init(Model *model, const TestPlan *test);
extern void model_ended(Model *model, int step, WfStepStatus status,
						int sqlstate);
extern void model_not_begun(Model *model, int step);
extern void model_condition(Model *model, int step, WfCondition answer,
							int sqlstate);
extern void model_timer(Model *model, int step);
extern void model_stop(Model *model);
extern void model_fail(Model *model);
extern void model_pause(Model *model);
extern void model_resume(Model *model);
extern void model_check_next(Model *model, bool given, const WfAction *action);
extern void model_check_views(const Model *model, const WfMachine *machine);

#endif							/* MACHINE_TEST_H */
