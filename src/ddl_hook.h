/*-------------------------------------------------------------------------
 *
 * ddl_hook.h
 *	  What the agent has to know of DDL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_DDL_HOOK_H
#define WF_DDL_HOOK_H

extern void wf_ddl_hook_init(void);

#endif							/* WF_DDL_HOOK_H */
