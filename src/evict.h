/*-------------------------------------------------------------------------
 *
 * evict.h
 *	  Make room in a database for a statement that needs it empty.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_EVICT_H
#define WF_EVICT_H

/*
 * End the agent's processes in a database and keep them out to the end of
 * this transaction, however that ends.  Waits, for a few seconds at most,
 * until they have gone; who does not go is left to the caller's statement to
 * complain of.  Nothing is done if sessions of others stay connected, unless
 * with `force`, nor by a process of that database's agent.
 *
 * The caller has checked the right to do so.  Needs a transaction and the
 * shared memory; ERROR if it is cancelled while it waits.
 */
extern void wf_evict(Oid oid, bool force);

#endif							/* WF_EVICT_H */
