/*-------------------------------------------------------------------------
 *
 * check_transaction.h
 *	  What a definition is warned of that concerns transactions.
 *
 * For check.c alone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_CHECK_TRANSACTION_H
#define WF_CHECK_TRANSACTION_H

#include "nodes/pg_list.h"

#include "command_text.h"
#include "plan.h"

/*
 * wf_check_transaction
 *		Append warnings to a list of WfWarning, in the current memory context.
 *		`texts` and `can_start` have one entry for each step.
 */
extern List *wf_check_transaction(List *warnings, const WfPlan *plan,
								  const WfCommandText *texts,
								  const bool *can_start);

#endif							/* WF_CHECK_TRANSACTION_H */
