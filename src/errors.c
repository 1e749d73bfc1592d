/*-------------------------------------------------------------------------
 *
 * errors.c
 *	  The errors of a run's steps, while the run goes on.
 *
 * The machine tells at the end which step's error is the run's; it knows no
 * texts.  A step that fails is rare, so a list will do.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "area.h"
#include "errors.h"

/* Keep the error of a step. */
void
wf_errors_set(List **errors, MemoryContext context, int32 step,
			  const char *step_name, int sqlstate, const char *path,
			  const char *message)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	WfStepError *error = unconstify(WfStepError *,
									wf_errors_get(*errors, step));

	if (error == NULL)
	{
		error = palloc0(sizeof(WfStepError));
		error->step = step;
		*errors = lappend(*errors, error);
	}
	else
	{
		pfree(error->path);
		pfree(error->message);
	}
	error->sqlstate = sqlstate;
	error->path = path == NULL ? pstrdup(step_name) :
		psprintf("%s/%s", step_name, path);
	error->message = pstrdup(message);
	MemoryContextSwitchTo(old);
}

/* The error of a step. */
const WfStepError *
wf_errors_get(const List *errors, int32 step)
{
	ListCell   *lc;

	foreach(lc, errors)
	{
		WfStepError *error = lfirst(lc);

		if (error->step == step)
			return error;
	}
	return NULL;
}

/* See errors.h. */
bool
wf_errors_of_machine(WfMachineError error, WfStepOutcome *outcome)
{
	switch (error)
	{
		case WF_ERROR_BRANCH_BUSY:
			outcome->sqlstate = ERRCODE_OBJECT_IN_USE;
			outcome->message = "another connection to the same database is executing in the package transaction";
			outcome->detail = "What works in a package transaction in one database shares one session.";
			outcome->hint = "Let the steps use one connection, or let one wait for the other.";
			return true;
		case WF_ERROR_INVALID:
		case WF_ERROR_COMMIT_INVALID:
			outcome->sqlstate = ERRCODE_IN_FAILED_SQL_TRANSACTION;
			outcome->message = "the package transaction has already been rolled back";
			outcome->detail = "A child package has rolled it back, or its session was lost.";
			outcome->hint = "A rollback by the package that owns the transaction ends this state.";
			return true;
		case WF_ERROR_NONE:
		case WF_ERROR_CONDITION:
		case WF_ERROR_COMMIT:
			break;
	}
	return false;
}

/* See errors.h. */
void
wf_errors_take_verdict(WfDatabase *database, WfEntry *entry,
					   WfStepOutcome *outcome)
{
	dsa_area   *area;
	dsa_pointer verdict;
	char	   *path;
	char	   *message;

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	verdict = entry->verdict;
	entry->verdict = InvalidDsaPointer;
	LWLockRelease(&database->lock);
	if (!DsaPointerIsValid(verdict))
		return;
	area = wf_area_attach(database);
	wf_area_get_error(area, verdict, &path, &message);
	if (area != NULL)
		wf_area_free(area, &verdict);
	if (entry->cancel || message == NULL ||
		outcome->status != WF_STEP_FAILED ||
		outcome->sqlstate != ERRCODE_QUERY_CANCELED)
		return;
	outcome->sqlstate = ERRCODE_T_R_DEADLOCK_DETECTED;
	outcome->message = message;
	outcome->hint = "Let the step join the transaction or use its connection, or commit before.";
}
