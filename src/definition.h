/*-------------------------------------------------------------------------
 *
 * definition.h
 *	  Storing definitions: the one path of whatever defines a package.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_DEFINITION_H
#define WF_DEFINITION_H

#include "catalog.h"

/* ERROR in a read-only transaction or on a standby. */
extern void wf_definition_prevent_read_only(const char *function);

/* The row of a package; ERROR 42704 if there is none. */
extern void wf_definition_find(const char *name, WfPackageRow *package);

/*
 * wf_definition_open
 *		Find a package that the current user owns, and lock it until the end
 *		of the transaction.  ERROR 42704 if there is none, 42501 if it is
 *		somebody else's.
 */
extern void wf_definition_open(const char *name, WfPackageRow *package);

/*
 * wf_definition_define
 *		Check a document and make it the current version of the package that
 *		it names, which is created if there is none; if there is one and
 *		`must_be_new`, ERROR 42710.  Warns.  Returns the version.
 */
extern int32 wf_definition_define(Jsonb *document, bool must_be_new);

/*
 * wf_definition_replace
 *		Check a document and make it the current version of an open package.
 *		Warns of what the former version was not warned of.  Returns the
 *		version.
 */
extern int32 wf_definition_replace(const WfPackageRow *package,
								   Jsonb *document);

/* ERROR unless the role can own packages. */
extern void wf_definition_check_new_owner(Oid role);

/*
 * wf_definition_read
 *		The document of a version.  ERROR 42501 if the current user may not
 *		see it, 42704 if there is none.
 */
extern Jsonb *wf_definition_read(const WfPackageRow *package, int32 version);

#endif							/* WF_DEFINITION_H */
