/*-------------------------------------------------------------------------
 *
 * settings.h
 *	  The settings that a package or step asks for.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_SETTINGS_H
#define WF_SETTINGS_H

#include "utils/guc.h"
#include "utils/jsonb.h"

/*
 * wf_settings_apply
 *		SET the settings of an object (name -> value), with the rights of the
 *		current user.  With GUC_ACTION_SET for the session: then prepend a
 *		WfSetting with the value before to *saved, if saved is not NULL.  With
 *		GUC_ACTION_SAVE for the nest level that the caller has opened.  In a
 *		transaction, whose abort undoes it.  ERRORs as SET has them.
 */
extern void wf_settings_apply(const Jsonb *settings, GucAction action,
							  List **saved);

/* The same for one setting. */
extern void wf_settings_apply_one(const char *name, const char *value,
								  GucAction action, List **saved);

/* SET what was before.  In a transaction. */
extern void wf_settings_restore(List *saved);

#endif							/* WF_SETTINGS_H */
