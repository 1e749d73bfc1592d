/*-------------------------------------------------------------------------
 *
 * transaction_test.h
 *	  What the tests of package transactions share.
 *
 * A group is a tree of runs: the machine of a root package and those of the
 * child packages that it starts, with the transactions that they own or
 * inherit, and a simulated database.  All of it is one flat block, so that it
 * can be saved and brought back.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TRANSACTION_TEST_H
#define TRANSACTION_TEST_H

#include "machine_test.h"

#define GROUP_PACKAGES	4
#define GROUP_STEPS		12		/* of a package */
#define GROUP_RUNS		40
#define GROUP_ROWS		1500
#define GROUP_INSTANCES	3
#define GROUP_MEMORY	(GROUP_RUNS * 2560)

typedef struct GroupPackage
{
	TestPlan	test;
	int			child[GROUP_STEPS]; /* package that a package step starts */
	char		letters[GROUP_STEPS + 1];	/* of the steps, in the cases */
} GroupPackage;

typedef struct GroupRun
{
	WfMachine  *machine;
	int			package;
	int			parent;			/* run, or -1 */
	int			step;			/* of the parent */
	int			owner;			/* run whose transaction it uses, or -1 */
	bool		inherits;
	bool		ended;
	bool		reported;		/* its end, to the parent's machine */
	WfRunStatus result;			/* if it has ended */
} GroupRun;

/* What became of a row that a step has written. */
typedef enum Fate
{
	FATE_AUTO,					/* durable at once */
	FATE_PENDING,				/* in a transaction */
	FATE_KEPT,					/* that was committed */
	FATE_LOST
} Fate;

typedef struct GroupRow
{
	int16		run;
	int16		step;
	int16		attempt;
	int16		statement;		/* 1, 2 */
	int16		owner;			/* the transaction, if fate is not AUTO */
	int16		number;
	char		fate;
} GroupRow;

typedef struct Group
{
	const GroupPackage *packages;
	int			nruns;
	int			nrows;
	int			first_pending;	/* none before it is PENDING */
	Size		used;			/* of the memory */
	GroupRun	runs[GROUP_RUNS];
	WfTransaction transactions[GROUP_RUNS]; /* by the owner's run */
	GroupRow	rows[GROUP_ROWS];
	char		memory[GROUP_MEMORY] pg_attribute_aligned(16);
} Group;

/* The part of a group that is in use. */
#define group_size(group) (offsetof(Group, memory) + (group)->used)

extern void group_init(Group *group, const GroupPackage *packages);
extern const WfPlan *group_plan(const Group *group, int run);
extern int	group_start(Group *group, int parent, int step, bool inherits);
extern int	group_child(const Group *group, int run, int step);
extern bool group_next(Group *group, int run, WfAction *action);
extern void group_execute(Group *group, int run, int step, bool success);
extern void group_end_transaction(Group *group, int owner, bool committed,
								  int sqlstate);
extern void group_lose(Group *group, int owner);

/* transaction_cases.c, ..._table.c, ..._random.c, ..._sizes.c */
extern void test_transaction_cases(void);
extern void test_transaction_table(void);
extern void test_transactions(uint64 seed, int packages);
extern void test_transaction_sizes(void);

#endif							/* TRANSACTION_TEST_H */
