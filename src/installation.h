/*-------------------------------------------------------------------------
 *
 * installation.h
 *	  Which installation this database is: a copy of it is another one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_INSTALLATION_H
#define WF_INSTALLATION_H

#include "postgres.h"

/*
 * True if the database is the one that its record tells of; false if it is a
 * copy, or its id was reset, and nobody has adopted it yet.  ERROR if the
 * record is gone.  Needs a transaction with an active snapshot.
 */
extern bool wf_installation_is_own(void);

/* Let the record tell of this database, under an id of its own.  Likewise. */
extern void wf_installation_adopt(void);

#endif							/* WF_INSTALLATION_H */
