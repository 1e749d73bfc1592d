/*-------------------------------------------------------------------------
 *
 * validate.c
 *	  SQL-callable check of a package as it is stored.
 *
 * What is stored was valid when it was defined; since then a setting, the
 * owner's rights or the library may have changed.  Each check is made in a
 * subtransaction of its own, so that one that fails does not keep the others
 * from being made.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/resowner.h"

#include "arguments.h"
#include "check.h"
#include "definition.h"

PG_FUNCTION_INFO_V1(wf_validate_package);

/* Columns of workflow.validate_package(). */
enum
{
	VP_SEVERITY,
	VP_STEP,
	VP_MESSAGE,
	VP_NCOLUMNS
};

/* What is being validated. */
typedef struct Validation
{
	ReturnSetInfo *result;
	WfPackageRow package;
	Jsonb	   *document;
	WfPlan	   *plan;
	WfCommandText *texts;		/* of the steps; zeroed until checked */
} Validation;

typedef void (*Check) (Validation *validation, int32 step);

static void compile_plan(Validation *validation, int32 step);
static void check_package(Validation *validation, int32 step);
static void check_step(Validation *validation, int32 step);
static bool passes(Validation *validation, Check check, int32 step);
static void put_row(const Validation *validation, const char *severity,
					int32 step, const char *message);

/*
 * workflow.validate_package(package text)
 * returns setof record (severity text, step text, message text)
 *		Errors and warnings of the current version; a null step is the
 *		package itself.
 */
Datum
wf_validate_package(PG_FUNCTION_ARGS)
{
	Validation	validation = {.result = (ReturnSetInfo *) fcinfo->resultinfo};
	ListCell   *cell;
	int32		i;

	InitMaterializedSRF(fcinfo, 0);
	wf_definition_find(wf_argument_text(fcinfo, 0, "package"),
					   &validation.package);
	validation.document = wf_definition_read(&validation.package,
											 validation.package.version);
	if (!passes(&validation, compile_plan, -1))
		return (Datum) 0;
	(void) passes(&validation, check_package, -1);
	for (i = 0; i < validation.plan->nsteps; i++)
	{
		CHECK_FOR_INTERRUPTS();
		(void) passes(&validation, check_step, i);
	}
	foreach(cell, wf_check_warnings(validation.plan, validation.texts))
	{
		const WfWarning *warning = lfirst(cell);

		put_row(&validation, "warning", warning->step, warning->message);
	}
	return (Datum) 0;
}

static void
compile_plan(Validation *validation, int32 step)
{
	validation->plan = wf_plan_compile(validation->package.package_id,
									   validation->package.version,
									   validation->document);
	validation->texts = palloc0(mul_size(validation->plan->nsteps,
										 sizeof(WfCommandText)));
}

static void
check_package(Validation *validation, int32 step)
{
	wf_check_package(validation->plan, validation->package.owner);
}

static void
check_step(Validation *validation, int32 step)
{
	wf_check_step(validation->plan, step, validation->package.owner,
				  &validation->texts[step]);
}

/* Make a check; false, and a row with its error, if it does not pass. */
static bool
passes(Validation *validation, Check check, int32 step)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		check(validation, step);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (error == NULL)
		return true;
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(error);
	put_row(validation, "error", step,
			error->context == NULL ? error->message :
			psprintf("%s: %s", error->context, error->message));
	return false;
}

static void
put_row(const Validation *validation, const char *severity, int32 step,
		const char *message)
{
	Datum		values[VP_NCOLUMNS];
	bool		nulls[VP_NCOLUMNS] = {0};

	values[VP_SEVERITY] = CStringGetTextDatum(severity);
	nulls[VP_STEP] = (step < 0);
	if (step >= 0)
		values[VP_STEP] =
			CStringGetTextDatum(validation->plan->steps[step].name);
	values[VP_MESSAGE] = CStringGetTextDatum(message);
	tuplestore_putvalues(validation->result->setResult,
						 validation->result->setDesc, values, nulls);
}
