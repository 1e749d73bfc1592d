/*-------------------------------------------------------------------------
 *
 * document.h
 *	  The definition of a package as one JSON document.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_DOCUMENT_H
#define WF_DOCUMENT_H

#include "options.h"

/*
 * An open document.  It points into the Jsonb that it was made of, and so do
 * the values that are read from it.
 */
typedef struct WfDocument
{
	char	   *name;			/* the package's */
	JsonbValue	values[WF_PACKAGE_NOPTIONS];
	int32		nconnections;
	int32		nsteps;
} WfDocument;

/*
 * wf_document_open
 *		Read the options of the package.  ERROR if the document is not an
 *		object, the package has no proper name, or one of its options is
 *		refused (see wf_options_read).
 */
extern void wf_document_open(WfDocument *document, Jsonb *jsonb);

/*
 * Read the options of one connection or step, by its index; `place` is filled
 * in for messages, its name is palloc'd.  ERROR if it has no proper name or
 * one of its options is refused.
 */
extern void wf_document_connection(const WfDocument *document, int32 index,
								   WfPlace *place, JsonbValue *values);
extern void wf_document_step(const WfDocument *document, int32 index,
							 WfPlace *place, JsonbValue *values);

/*
 * wf_document_normalize
 *		The document with every option present and every value in canonical
 *		form.  Two documents mean the same if and only if their normalised
 *		forms are equal.  Checks what reading checks, and no more: a document
 *		is valid if wf_plan_compile() also accepts it.
 */
extern Jsonb *wf_document_normalize(Jsonb *jsonb);

/*
 * wf_document_same
 *		True if two normalised documents are equal.
 */
extern bool wf_document_same(Jsonb *a, Jsonb *b);

#endif							/* WF_DOCUMENT_H */
