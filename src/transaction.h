/*-------------------------------------------------------------------------
 *
 * transaction.h
 *	  The package transaction, as the machines that share it see it.
 *
 * A package that uses transactions owns at most one at a time; the machines
 * of the packages that inherit it share the owner's WfTransaction.  Like a
 * machine it is a flat block without pointers that the driver of the owner
 * keeps, and pure: what really happens in sessions is the driver's.
 *
 * Life (semantics.md 2.1 to 2.6): the first step that joins makes it ACTIVE
 * and counts its number up.  Who asks for its end makes it COMMITTING or
 * ROLLING_BACK; that is *pending* as long as steps execute in it (R33, R35),
 * then the owner's machine asks the driver to end it (`ending`), and when the
 * driver has answered it is no more.  A rollback that an inheriting package
 * asked for, or the loss of a session, leaves it INVALID until the owner
 * acknowledges that by a rollback of its own (R55, D25).
 *
 * A *branch* is the session that the transaction has on one instance.  At
 * most one step executes in a branch at a time: steps on one connection wait
 * for each other, unnamed ones wait for whoever is there, and a step on
 * another connection fails (R36, P2).
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_TRANSACTION_H
#define WF_TRANSACTION_H

#include "plan.h"

typedef enum WfTransactionState
{
	WF_TRANSACTION_NONE,		/* none is current */
	WF_TRANSACTION_ACTIVE,
	WF_TRANSACTION_COMMITTING,
	WF_TRANSACTION_ROLLING_BACK,
	WF_TRANSACTION_INVALID
} WfTransactionState;

/* Instances that one transaction can span; number 0 is the local one. */
#define WF_MAX_BRANCHES	16

typedef struct WfBranch
{
	int32		machine;		/* whose step executes in it; 0: nobody */
	int32		step;
	bool		named;			/* on a named connection */
	bool		retrying;		/* it awaits a retry, and will want it again */
} WfBranch;

typedef struct WfTransaction
{
	int32		number;			/* of the current one, or the last: 1, 2, ... */
	int32		nmachines;		/* that have been made to share it */
	int32		executing;		/* branches in which a step executes */
	int32		losses;			/* how often a session was lost */
	char		state;			/* a WfTransactionState */
	char		isolation;		/* a WfIsolation, the owner's (R5) */
	bool		ending;			/* the driver is at it */
	bool		lost;			/* a session is gone: nothing is left of it */
	bool		invalidates;	/* ROLLING_BACK: it will be INVALID then */
	WfBranch	branches[WF_MAX_BRANCHES];
} WfTransaction;

/* Make the transaction of a package that owns its transactions. */
extern void wf_transaction_init(WfTransaction *transaction,
								const WfPlan *plan);

/* There is one that has not been ended. */
static inline bool
wf_transaction_is_current(const WfTransaction *transaction)
{
	return transaction->state == WF_TRANSACTION_ACTIVE ||
		transaction->state == WF_TRANSACTION_COMMITTING ||
		transaction->state == WF_TRANSACTION_ROLLING_BACK;
}

/* Its end was asked for: nobody joins it any more (R34). */
static inline bool
wf_transaction_is_dying(const WfTransaction *transaction)
{
	return transaction->state == WF_TRANSACTION_COMMITTING ||
		transaction->state == WF_TRANSACTION_ROLLING_BACK;
}

#endif							/* WF_TRANSACTION_H */
