/*-------------------------------------------------------------------------
 *
 * settings.h
 *	  The settings that a package or step asks for.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_SETTINGS_H
#define WF_SETTINGS_H

#include "utils/jsonb.h"

/*
 * wf_settings_apply
 *		SET the settings of an object (name -> value) for the session, with
 *		the rights of the current user, and prepend a WfSetting with the value
 *		before to *saved, if saved is not NULL.  In a transaction, whose abort
 *		undoes it.  ERRORs as SET has them.
 */
extern void wf_settings_apply(const Jsonb *settings, List **saved);

/* The same for one setting. */
extern void wf_settings_apply_one(const char *name, const char *value,
								  List **saved);

/* SET what was before.  In a transaction. */
extern void wf_settings_restore(List *saved);

#endif							/* WF_SETTINGS_H */
