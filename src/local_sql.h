/*-------------------------------------------------------------------------
 *
 * local_sql.h
 *	  Execute SQL text in this process, as a client's query would be.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_LOCAL_SQL_H
#define WF_LOCAL_SQL_H

#include "utils/jsonb.h"

/* What is known of an execution so far; also when an error ends it. */
typedef struct WfLocalResult
{
	int64		rows;			/* the sum over the statements that report a
								 * number; -1: none did */
	int			statement;		/* number of the one in progress, from 1 */
	Jsonb	   *row;			/* first row of the last statement, see
								 * first_row.h; NULL: none */
	bool		row_too_large;	/* there was one, but longer than
								 * workflow.max_message_size */
} WfLocalResult;

/* How the statements of a text stand to transactions. */
typedef enum WfSqlMode
{
	WF_SQL_TOGETHER,			/* one transaction, as psql -c has it; a single
								 * statement is at top level */
	WF_SQL_ONE_BY_ONE,			/* a transaction each (R16) */
	WF_SQL_IN_BLOCK,			/* in the transaction block that is open */
	WF_SQL_SAVEPOINTS			/* likewise, a subtransaction each (R17) */
} WfSqlMode;

/*
 * wf_local_sql_execute
 *		Execute the statements of `sql` one after the other.
 *
 * Needs a started transaction and no active snapshot; leaves a started one,
 * which may be another if the text is a single statement that commits inside
 * (VACUUM, CREATE INDEX CONCURRENTLY, CALL, DO).  Several statements succeed
 * or fail together or one by one, see WfSqlMode; an ERROR leaves the
 * transaction, or a subtransaction, to the caller to be rolled back.  Rows are
 * counted, and all but the first are thrown away.
 * Allocates in the current memory context, which must outlive transactions
 * and be reset by the caller.
 *
 * Errors: whatever the statements throw; 2D000 for a transaction control
 * statement; 0A000 for COPY from or to a client, which is not there.
 */
extern void wf_local_sql_execute(const char *sql, WfSqlMode mode,
								 WfLocalResult *result);

#endif							/* WF_LOCAL_SQL_H */
