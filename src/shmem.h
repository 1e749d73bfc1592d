/*-------------------------------------------------------------------------
 *
 * shmem.h
 *	  The shared memory: what processes tell each other, and the lock order.
 *
 * One fixed struct, sized at server start; nothing in it outlives the server
 * and nothing in it is a truth that the tables do not hold.  It has a place
 * (WfDatabase) for each database with a running scheduler, a slot (WfSlot)
 * for each worker of any database, and a notice (WfBackend) for each backend
 * of the server.
 *
 * Work is handed out as *entries* (WfEntry): the scheduler fills one and
 * makes it ready; a worker takes it, does it, and marks it done; the
 * scheduler reads the result and frees it.  An entry that is bound to a
 * session goes into that worker's inbox, every other one into a ready list
 * from which workers of its role pull, so that a long step strands nobody.
 * Since a worker may only mark done what the scheduler had filled, no list
 * here can ever overflow.  An entry names the slot that took it until the
 * scheduler has freed it: a worker's death loses no run.
 *
 * Backends send *commands* (new runs, stop) through a ring.  When the ring is
 * full, new runs are noted by their lowest number (`missed_run`), and the
 * scheduler looks for them in the tables; so is that it is to LOOK.  Who asks
 * for something to be done to a run tries again, and an edit is found out
 * when it matters: nothing is lost.
 *
 * Locks.  WfShared.lock: who has which WfDatabase and WfSlot.
 * WfDatabase.lock: entries, lists, commands, and the slots of that database.
 * WfBackend fields are atomics.  Order: a heavyweight lock, then
 * WfShared.lock, then WfDatabase.lock; never a catalog access, palloc that
 * may fail, or ereport under the LWLocks.  Latches are set after the data,
 * under the lock or after it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_SHMEM_H
#define WF_SHMEM_H

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "utils/dsa.h"

#include "workflow.h"

/* Entries of a database: the runs and steps that workers can have in hand. */
#define WF_NENTRIES		1024
/* Of them, new runs leave these free for steps of runs that go on. */
#define WF_RESERVED_ENTRIES 256
#define WF_NCOMMANDS	1024
#define WF_PROGRESS_SIZE	128		/* bytes, of a progress message */
#define WF_MESSAGE_SIZE	256		/* bytes, of a message kept in shared memory */

typedef enum WfEntryState
{
	WF_ENTRY_FREE,
	WF_ENTRY_HELD,				/* the scheduler has it: not handed out yet, or
								 * its worker is gone */
	WF_ENTRY_READY,				/* in a ready list, or in a slot's inbox */
	WF_ENTRY_TAKEN,				/* a worker is at it */
	WF_ENTRY_DONE				/* in the done list */
} WfEntryState;

typedef enum WfEntryKind
{
	WF_ENTRY_RUN,				/* a whole run, by the inline driver */
	WF_ENTRY_STEP,				/* one attempt of a step */
	WF_ENTRY_CONDITION,			/* the condition of a step */
	WF_ENTRY_VARIABLES,			/* what a package step passes to its child */
	WF_ENTRY_COMMIT,			/* to the session that is the branch of a
								 * package transaction: commit it */
	WF_ENTRY_ROLLBACK,			/* likewise: roll it back */
	WF_ENTRY_RELEASE			/* to a bound worker: the session is no longer
								 * needed */
} WfEntryKind;

/* Ready lists: workers look into them in this order. */
typedef enum WfReadyList
{
	WF_READY_GOING,				/* work of runs that have begun */
	WF_READY_NEW,				/* runs that have not */
	WF_NREADY
} WfReadyList;

/* A unit of work.  Under WfDatabase.lock; a taken entry's result fields
 * belong to the worker. */
typedef struct WfEntry
{
	int			next;			/* in its list; -1: the last */
	WfEntryState state;
	WfEntryKind kind;
	WfReadyList list;
	Oid			role;			/* whose workers may take it */
	int32		priority;		/* place in its ready list */
	int32		version;
	int64		package_id;
	int64		run_id;
	int32		step;			/* STEP */
	int32		attempt;		/* STEP */
	int64		parent_run_id;	/* RUN: whose step started it, 0: none */
	int32		parent_step;	/* RUN */
	int64		parent_transaction_id;	/* RUN: that this step has joined, or 0 */
	int			slot;			/* who took it or is to do it; -1: nobody */
	bool		bind;			/* who takes it becomes bound to its session */
	bool		replay;			/* parts of the run are on record: read them */
	bool		lazy;			/* nobody waits for its end: the scheduler
								 * need not hear of it at once */
	bool		cancel;			/* asked to end */
	bool		pause;			/* RUN: hand the run back before its next step,
								 * as WF_RUN_PAUSED */
	bool		parent_stops;	/* with cancel: since its parent run is */
	Oid			stopped_by;		/* with cancel: who asked */
	dsa_pointer stop_reason;	/* with cancel: text, or invalid; the
								 * scheduler's */
	dsa_pointer variables;		/* STEP: the run's variables (jsonb); the
								 * scheduler's */

	/* the package transaction; by the worker if it is a RUN's */
	bool		in_branch;		/* STEP, CONDITION, VARIABLES: work in it */
	char		isolation;		/* a WfIsolation */
	int32		transaction_number; /* 0: RUN: none is open */
	int32		transaction_steps;	/* that have executed in it */
	int64		transaction_id;
	TimestampTz transaction_at; /* when it began */

	/* progress, by the worker */
	TimestampTz started_at;
	int32		current_step;	/* RUN: the step in progress, -1 between */
	int32		current_attempt;
	TimestampTz step_started_at;
	int64		done;			/* of total, as the step reports; total 0: it
								 * does not */
	int64		total;
	char		progress[WF_PROGRESS_SIZE];

	/* STEP that is a `finally` step: the run's result */
	char		run_status;		/* a WfRunStatus; 0: it is none */
	int			run_sqlstate;
	dsa_pointer run_error;		/* WfSharedError, or invalid; the scheduler's */

	/* result, by the worker */
	char		status;			/* WfRunStatus, WfStepStatus (WAITING: it was
								 * not begun) or WfCondition */
	int			sqlstate;
	dsa_pointer error;			/* WfSharedError, or invalid; freed by the
								 * scheduler */
	dsa_pointer set_variables;	/* STEP, VARIABLES: jsonb, or invalid;
								 * likewise */
	dsa_pointer verdict;		/* STEP, RUN: WfSharedError, or invalid: the
								 * statement is cancelled since it waits for
								 * its own run; the scheduler's */
	dsa_pointer pending;		/* pending.h: STEP in a branch: its outcome; RUN:
								 * all of the open transaction; to COMMIT: what
								 * is to be written with it; likewise */
} WfEntry;

/* An error as it travels from worker to scheduler: two strings in a row. */
typedef struct WfSharedError
{
	int			path_length;	/* with its zero byte; 0: none (RUN: the
								 * error_path) */
	int			message_length; /* with its zero byte */
	char		text[FLEXIBLE_ARRAY_MEMBER];
} WfSharedError;

typedef enum WfSlotState
{
	WF_SLOT_FREE,
	WF_SLOT_STARTING,			/* asked for by the scheduler */
	WF_SLOT_CONNECTING,			/* the process is there */
	WF_SLOT_RUNNING,			/* connected */
	WF_SLOT_EXITED				/* gone; the scheduler has to look and free */
} WfSlotState;

/* A worker.  Under the lock of its database once it has one. */
typedef struct WfSlot
{
	WfSlotState state;
	uint32		number;			/* counts its uses */
	int			database;		/* index of the WfDatabase */
	uint64		generation;		/* of the scheduler that asked for it */
	Oid			role;			/* invalid: it is no worker: retention.c */
	pid_t		pid;
	int			proc;
	int			entry;			/* the entry that it has taken, or -1 */
	int			inbox;			/* the first entry that waits for just it, or
								 * -1 */
	bool		connected;		/* it has been RUNNING */
	bool		bound;			/* stands for a session of a run */
	bool		idle;			/* waits for work; cleared by who wakes it */
	bool		retire;			/* exit when not in use any more */
	int			fatal_sqlstate; /* of the FATAL that ended it; 0: none */
	char		fatal[WF_MESSAGE_SIZE];
} WfSlot;

typedef enum WfCommandKind
{
	WF_COMMAND_START,			/* runs first_run .. last_run are committed */
	WF_COMMAND_STOP,			/* cancel first_run */
	WF_COMMAND_PAUSE,			/* start no further step of first_run */
	WF_COMMAND_RESUME,			/* go on with first_run */
	WF_COMMAND_EDITED,			/* package_id has another current version */
	WF_COMMAND_LOOK				/* look whether the extension is still there */
} WfCommandKind;

typedef struct WfCommand
{
	WfCommandKind kind;
	int32		version;
	int32		priority;
	Oid			role;			/* START: the owner; STOP: who asked */
	int64		first_run;
	int64		last_run;
	int64		package_id;
	TimestampTz start_at;		/* START: not before; 0: at once */
	bool		force;			/* STOP */
	dsa_pointer reason;			/* STOP: text or invalid; given away */
	uint64		generation;		/* of the area that has the reason */
} WfCommand;

typedef enum WfDatabaseState
{
	WF_DATABASE_FREE,
	WF_DATABASE_STARTING,		/* the launcher has asked for a scheduler */
	WF_DATABASE_RUNNING,		/* the scheduler is at work */
	WF_DATABASE_ABSENT,			/* it found no extension and left */
	WF_DATABASE_FAILED			/* it left with an error: started again */
} WfDatabaseState;

/* A database that has, or may have, a scheduler. */
typedef struct WfDatabase
{
	LWLock		lock;
	WfDatabaseState state;
	Oid			oid;
	int			bars;			/* transactions that keep the agent out */
	uint64		generation;		/* counts its schedulers */
	pid_t		pid;			/* of the scheduler; 0: none */
	int			proc;
	bool		ready;			/* it has recovered and takes commands */
	bool		hold;			/* workflow.enabled is off: no new run is
								 * taken */
	dsa_handle	area;			/* for what does not fit here */
	dsa_pointer live;			/* handle of the table of live runs: live.c */
	dsa_pointer held;			/* likewise, of held runs: held.c */

	int			free;			/* list of free entries */
	int			nfree;
	int			ready_head[WF_NREADY];
	int			ready_tail[WF_NREADY];
	int			nready[WF_NREADY];
	int			done_head;
	int			done_tail;
	int			ndone;

	int			first_command;	/* ring */
	int			ncommands;
	int64		missed_run;		/* lowest run for which the ring had no place,
								 * 0: none */
	bool		missed_look;	/* likewise: a LOOK */
	int64		prepared_run;	/* lowest run of a prepared transaction, 0:
								 * none */
	bool		woken;			/* the scheduler's latch was set since it last
								 * looked */

	TimestampTz retention_next; /* when the next run will have been kept long
								 * enough; 0: none will; -1: not known */

	/* for workflow.agent, by the scheduler */
	int64		queued;			/* runs that have no entry */
	int64		driven;			/* runs that the scheduler drives */
	TimestampTz error_at;
	char		last_error[WF_MESSAGE_SIZE];

	WfCommand	commands[WF_NCOMMANDS];
	WfEntry		entries[WF_NENTRIES];
} WfDatabase;

/*
 * A backend of the server, by number of its PGPROC.
 *
 * pending_run is the lowest run that it has asked for in a transaction that
 * is not over or not yet told to the scheduler: WF_PENDING_UNKNOWN from
 * before it draws the first number.  The horizon never passes it.
 */
#define WF_PENDING_UNKNOWN	UINT64CONST(1)

typedef struct WfBackend
{
	pg_atomic_uint64 pending_run;	/* 0: none */
	pg_atomic_uint64 awaited_run;	/* the run whose end it waits for; 0: none */
	pg_atomic_uint32 database;		/* of both: its OID */
} WfBackend;

typedef struct WfShared
{
	LWLock		lock;
	pid_t		launcher_pid;	/* 0: none */
	int			launcher_proc;
	bool		look;			/* the launcher is to look at all databases */
	pg_atomic_uint32 nawaiting; /* backends with an awaited_run */
	int			area_tranche;	/* LWLock tranche of the areas */
	int			ndatabases;		/* size of the array */
	int			nslots;
	int			nbackends;
	WfDatabase *databases;
	WfSlot	   *slots;
	WfBackend  *backends;
} WfShared;

extern WfShared *wf_shared;		/* NULL: the library was not preloaded */

extern void wf_shmem_init(void);

/* ERROR 55000 with a hint if the library was not preloaded. */
extern void wf_shmem_require(void);

/* ---- databases ---- */

/* The place of a database, NULL if it has none.  For reading hints. */
extern WfDatabase *wf_database_find(Oid oid);
/* The same, making it if there is none; NULL if there is no room. */
extern WfDatabase *wf_database_claim(Oid oid);

/*
 * Keep schedulers and workers out of a database from now on, until everybody
 * who did so has lifted his bar: evict.c.  NULL if there is no room for it.
 */
extern WfDatabase *wf_database_bar(Oid oid);
extern void wf_database_unbar(WfDatabase *database);

/* Empty all lists of a database; its scheduler, when no worker of an earlier
 * one is left. */
extern void wf_database_reset(WfDatabase *database);

/* Set the scheduler's latch.  The caller may hold the database's lock. */
extern void wf_database_wake(WfDatabase *database);
extern void wf_launcher_wake(void);

/* ---- commands ---- */

/*
 * Put a command into the ring and wake the scheduler.  False if the ring is
 * full; a START is then noted in missed_run, and that is as good.  A reason
 * in the area of an earlier scheduler is left out.  Never throws.
 */
extern bool wf_command_send(WfDatabase *database, const WfCommand *command);
/* Take the oldest command out: the scheduler. */
extern bool wf_command_receive(WfDatabase *database, WfCommand *command);

/* ---- entries: the scheduler's side ---- */

/* A free entry, zeroed and HELD, or -1.  `reserved` may use the last free
 * ones. */
extern int	wf_entry_alloc(WfDatabase *database, bool reserved);
/* Hand it out to whoever has its role (slot = -1), or to one bound worker. */
extern void wf_entry_push(WfDatabase *database, int entry, WfReadyList list,
						  int slot);
/* True if a new run of this priority would not come last in its list. */
extern bool wf_entry_overtakes(WfDatabase *database, int32 priority);
/* Next done entry, or -1; it stays readable until freed. */
extern int	wf_entry_next_done(WfDatabase *database);
extern void wf_entry_free(WfDatabase *database, int entry);
/*
 * Ask for the end of an entry's work.  If it waits to be taken, it is
 * withdrawn (true: the caller frees it); else the worker that has it is
 * signalled, or the one that gets it finds `cancel` set.
 */
extern bool wf_entry_cancel(WfDatabase *database, int entry, bool force);
/* Withdraw it if it waits to be taken; false if not. */
extern bool wf_entry_withdraw(WfDatabase *database, int entry);

/*
 * Cancel the statement that a worker executes for an entry, and let the step
 * that it has been at since then (wf_entry_step_since()) fail with this error
 * (WfSharedError, given away) instead.  False if no worker is at it.
 */
extern bool wf_entry_condemn(WfDatabase *database, int entry,
							 TimestampTz since, dsa_pointer verdict);

/* The worker that had taken it, or was to take it, is gone. */
extern void wf_entry_hold(WfDatabase *database, int entry);

/* Ask the worker of a run to hand it back, or not to any more. */
extern void wf_entry_pause(WfDatabase *database, int entry, bool pause);

/* ---- entries: the worker's side ---- */

/*
 * Mark the entry that the slot has taken as done, if any, and take the next
 * one for it, or -1: then the slot is marked idle.
 */
extern int	wf_entry_exchange(WfDatabase *database, WfSlot *slot);

/* ---- slots ---- */

/* A free slot made STARTING for a worker of this role, or -1. */
extern int	wf_slot_claim(WfDatabase *database, Oid role);
extern void wf_slot_free(WfSlot *slot);

/*
 * For the process that a slot was claimed for: take it, say that it is
 * connected, leave it.  wf_slot_take() gives NULL if the scheduler has given
 * up waiting (number: the slot's use).
 */
extern WfSlot *wf_slot_take(int index, uint32 number);
extern void wf_slot_connected(WfSlot *slot);
extern void wf_slot_leave(WfSlot *slot);
/* The session of a bound worker is not needed any more, nor is the worker. */
extern void wf_slot_dismiss(WfDatabase *database, int slot);

/* When the worker at an entry began with the attempt that it is at. */
static inline TimestampTz
wf_entry_step_since(const WfEntry *entry)
{
	return entry->kind == WF_ENTRY_RUN ? entry->step_started_at :
		entry->started_at;
}

static inline int
wf_slot_index(const WfSlot *slot)
{
	return (int) (slot - wf_shared->slots);
}

static inline int
wf_database_index(const WfDatabase *database)
{
	return (int) (database - wf_shared->databases);
}

#endif							/* WF_SHMEM_H */
