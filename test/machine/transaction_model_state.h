/*-------------------------------------------------------------------------
 *
 * transaction_model_state.h
 *	  What the two parts of the model of package transactions share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TRANSACTION_MODEL_STATE_H
#define TRANSACTION_MODEL_STATE_H

#include "transaction_model.h"

/* transaction_model.c */
extern const WfPlanStep *model_plan_step(const GroupModel *model, int run,
										 int step);
extern ModelTransaction *model_transaction(GroupModel *model, int run);
extern bool model_is_owner(const GroupModel *model, int run);
extern int	model_executing(const ModelTransaction *transaction);
extern bool model_dying(const ModelTransaction *transaction);
extern int	model_instance(const GroupModel *model, int run, int step);
extern bool model_halted(const ModelRun *state);
extern void model_release_committers(GroupModel *model, int run);
extern void model_package_fails(GroupModel *model, int run, int step);
extern void model_finish(GroupModel *model, int run, int step,
						 WfStepStatus status);
extern void model_refuse(GroupModel *model, int run, int step,
						 WfMachineError error, bool fails_package);
extern void model_settle(GroupModel *model, int run);
extern void model_end_lost_retries(GroupModel *model, int run);

#endif							/* TRANSACTION_MODEL_STATE_H */
