/*-------------------------------------------------------------------------
 *
 * transaction_cases.h
 *	  A case of package transactions, and the list of all.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TRANSACTION_CASES_H
#define TRANSACTION_CASES_H

typedef struct TransactionCase
{
	const char *name;
	const char *packages[4];
	const char *script;
	const char *expected;
} TransactionCase;

/* transaction_list.c; the last one has no name */
extern const TransactionCase transaction_cases[];

#endif							/* TRANSACTION_CASES_H */
