/*-------------------------------------------------------------------------
 *
 * ddl_hook.c
 *	  What the agent has to know of DDL: the extension comes or goes.
 *
 * CREATE EXTENSION and DROP EXTENSION are seen by the object access hook,
 * also where they are part of something larger (DROP SCHEMA ... CASCADE,
 * DROP OWNED).  Whether it is our extension is not asked: the agent looks
 * itself when it is told at commit.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/objectaccess.h"
#include "catalog/pg_extension.h"

#include "ddl_hook.h"
#include "shmem.h"
#include "wakeup.h"

static object_access_hook_type previous_hook = NULL;

static void watch_objects(ObjectAccessType access, Oid classid, Oid objectid,
						  int subid, void *arg);

/* Install the hook. */
void
wf_ddl_hook_init(void)
{
	previous_hook = object_access_hook;
	object_access_hook = watch_objects;
}

static void
watch_objects(ObjectAccessType access, Oid classid, Oid objectid, int subid,
			  void *arg)
{
	if (previous_hook)
		previous_hook(access, classid, objectid, subid, arg);
	if (classid == ExtensionRelationId && wf_shared != NULL &&
		(access == OAT_POST_CREATE || access == OAT_DROP))
		wf_wakeup_look();
}
