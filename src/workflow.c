/*-------------------------------------------------------------------------
 *
 * workflow.c
 *	  Module entry: sets up the parts of the extension, in order.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "bgworker.h"
#include "ddl_hook.h"
#include "guc.h"
#include "shmem.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

/*
 * _PG_init
 *		Preloaded, the library has shared memory and a launcher.  Otherwise
 *		(CREATE EXTENSION or a function call in a server that does not preload
 *		it) packages can be defined, and what needs the agent raises an error.
 */
void
_PG_init(void)
{
	if (IsBinaryUpgrade)
		return;
	wf_guc_init();
	wf_ddl_hook_init();
	if (!process_shared_preload_libraries_in_progress)
		return;
	wf_shmem_init();
	wf_bgworker_register_launcher();
}
