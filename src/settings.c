/*-------------------------------------------------------------------------
 *
 * settings.c
 *	  The settings that a package or step asks for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/numeric.h"

#include "settings.h"

/* A setting as it was. */
typedef struct WfSetting
{
	char	   *name;
	char	   *value;
} WfSetting;

static char *value_text(const JsonbValue *value);
static void set(const char *name, const char *value, GucAction action);

/* SET all settings of an object. */
void
wf_settings_apply(const Jsonb *settings, GucAction action, List **saved)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *name = NULL;

	if (settings == NULL)
		return;
	iterator = JsonbIteratorInit(unconstify(JsonbContainer *,
											&settings->root));
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE)
			wf_settings_apply_one(name, value_text(&value), action, saved);
	}
}

/* SET one. */
void
wf_settings_apply_one(const char *name, const char *value,
					  GucAction action, List **saved)
{
	if (saved != NULL)
	{
		WfSetting  *setting = palloc(sizeof(WfSetting));
		const char *before = GetConfigOption(name, true, false);

		setting->name = pstrdup(name);
		setting->value = before == NULL ? NULL : pstrdup(before);
		*saved = lcons(setting, *saved);
	}
	set(name, value, action);
}

/* SET what was before. */
void
wf_settings_restore(List *saved)
{
	ListCell   *lc;

	foreach(lc, saved)
	{
		WfSetting  *setting = lfirst(lc);

		set(setting->name, setting->value, GUC_ACTION_SET);
	}
}

static void
set(const char *name, const char *value, GucAction action)
{
	(void) set_config_option(name, value,
							 superuser() ? PGC_SUSET : PGC_USERSET,
							 PGC_S_SESSION, action, true, 0, false);
}

/* What SET would be given. */
static char *
value_text(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvBool:
			return pstrdup(value->val.boolean ? "on" : "off");
		case jbvNumeric:
			return numeric_normalize(value->val.numeric);
		default:
			return NULL;		/* null: the default */
	}
}
