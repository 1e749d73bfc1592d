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

typedef struct TestPlan
{
	WfPlan		plan;
	TestEdge   *edges;
	int			nedges;
} TestPlan;

extern void plan_init(TestPlan *test, int nsteps, int max_edges);
extern void plan_edge(TestPlan *test, int from, int to, WfOn on);
extern void plan_sort_edges(TestPlan *test);
extern void plan_free(TestPlan *test);
extern WfMachine *machine_new(const WfPlan *plan);

/* Print one line of the result. */
extern void tap(bool passed, const char *name);

/* machine_cases.c */
extern void test_cases(void);

/* machine_model.c; for plans of up to this size */
#define MAX_STEPS		30
#define MAX_CONNECTIONS 3

typedef enum Constraints
{
	CONSTRAINTS_OPEN,
	CONSTRAINTS_HOLD,
	CONSTRAINTS_NEVER
} Constraints;

typedef struct Model
{
	const TestPlan *test;
	int			order[MAX_STEPS];	/* by priority, then index */
	WfStepStatus status[MAX_STEPS];
	WfReason	reason[MAX_STEPS];
	Constraints constraints[MAX_STEPS];
	bool		executed[MAX_STEPS];
	bool		recorded[MAX_STEPS];
	bool		cancel_due[MAX_STEPS];
	bool		ended_by_stop[MAX_STEPS];
	int			queue[MAX_CONNECTIONS][MAX_STEPS];
	int			nqueue[MAX_CONNECTIONS];
	int			running;
	int			failed_steps;
	int			error_step;
	bool		nothing_to_run;
	bool		failed;
	bool		stopped;
	bool		over;
	bool		ended;
} Model;

/* What is wrong with the package at hand: the first complaint, or NULL. */
extern const char *complaint;

extern void expect(bool condition, const char *text);
extern void model_init(Model *model, const TestPlan *test);
extern void model_ended(Model *model, int step, WfStepStatus status);
extern void model_stop(Model *model);
extern void model_check_next(Model *model, bool given, const WfAction *action);
extern void model_check_views(const Model *model, const WfMachine *machine);

#endif							/* MACHINE_TEST_H */
