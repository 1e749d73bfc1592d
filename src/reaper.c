/*-------------------------------------------------------------------------
 *
 * reaper.c
 *	  What workers have done, and what they left when they went.
 *
 * A done entry carries its result; all that is to be recorded the worker has
 * recorded.  When a worker has gone, the entry that it had taken is an
 * orphan.  What is on record counts: the worker may have died after its
 * commit.  Otherwise the step that it was at fails with the worker's last
 * words, and the rest of the run goes on.  A worker that was told to go by
 * the administrator is judged only when another one has started: a server
 * that shuts down starts none, and a shutdown fails no step.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "area.h"
#include "interruption.h"
#include "pending.h"
#include "pool.h"
#include "scheduler.h"

static void reap_run(WfScheduler *s, int entry);
static void take_back(WfScheduler *s, const WfEntry *e);
static void handle_gone(WfScheduler *s, const WfGoneWorker *gone);
static void send_elsewhere(WfScheduler *s, const WfGoneWorker *gone,
						   int entry);
static void add_orphan(WfScheduler *s, const WfGoneWorker *gone, int entry);
static void cannot_connect(WfScheduler *s, const WfGoneWorker *gone);
static void fail_entry(WfScheduler *s, int entry, int sqlstate,
					   const char *message);
static void judge(WfScheduler *s, const WfOrphan *orphan);
static void judge_transaction(WfScheduler *s, const WfOrphan *orphan);
static void judge_run(WfScheduler *s, const WfOrphan *orphan);
static void lose_transaction(WfScheduler *s, const WfOrphan *orphan);
static void judge_step(WfScheduler *s, const WfOrphan *orphan);

/* Take in the entries that are done. */
void
wf_reaper_done(WfScheduler *s)
{
	int			entry;

	while ((entry = wf_entry_next_done(s->database)) >= 0)
	{
		s->busy = true;
		if (s->database->entries[entry].kind == WF_ENTRY_RUN)
			reap_run(s, entry);
		else if (s->database->entries[entry].kind == WF_ENTRY_STEP)
			wf_driver_step_done(s, entry);
		else if (s->database->entries[entry].kind == WF_ENTRY_CONDITION)
			wf_driver_condition_done(s, entry);
		else if (s->database->entries[entry].kind == WF_ENTRY_VARIABLES)
			wf_driver_variables_done(s, entry);
		else if (s->database->entries[entry].kind != WF_ENTRY_RELEASE)
			wf_driver_transaction_done(s, entry);
		wf_reaper_free_entry(s, entry);
	}
}

/* A worker has carried out a run. */
static void
reap_run(WfScheduler *s, int entry)
{
	WfEntry    *e = &s->database->entries[entry];
	char	   *path;
	char	   *message;

	if (e->status == WF_RUN_PAUSED)
	{
		take_back(s, e);
		return;
	}
	wf_scheduler_note_end(s, e->run_id,
						  e->parent_run_id == 0 ? e->package_id : 0);
	if (e->parent_run_id == 0)
		return;
	wf_area_get_error(s->area, e->error, &path, &message);
	if (e->status == WF_RUN_CANCELLED)
	{
		path = NULL;
		message = unconstify(char *,
							 wf_history_cancelled_message(e->stopped_by,
														  wf_area_get_text(s->area, e->stop_reason)));
		e->sqlstate = ERRCODE_QUERY_CANCELED;
	}
	wf_driver_child_ended(s, e->parent_run_id, e->parent_step,
						  wf_history_step_status(e->status, e->parent_stops),
						  e->sqlstate, path, message);
}

/* A worker has handed a run back; meanwhile it may have been resumed or
 * stopped. */
static void
take_back(WfScheduler *s, const WfEntry *e)
{
	WfDrivenRun *run;

	wf_driver_take_over(s, e->run_id, true);
	run = wf_driver_find(s, e->run_id);
	if (e->bind)
		wf_driver_give_session(s, e->run_id, e->slot);
	if (!e->pause)
		wf_driver_pause(s, run, false);
	if (e->cancel)
		wf_driver_stop(s, run, e->stopped_by,
					   wf_area_get_text(s->area, e->stop_reason), false,
					   e->parent_stops);
}

/* Free an entry and what belongs to it in the area. */
void
wf_reaper_free_entry(WfScheduler *s, int entry)
{
	WfEntry    *e = &s->database->entries[entry];

	wf_area_free(s->area, &e->error);
	wf_area_free(s->area, &e->set_variables);
	wf_area_free(s->area, &e->run_error);
	wf_area_free(s->area, &e->stop_reason);
	wf_area_free(s->area, &e->verdict);
	wf_pending_free(s->area, &e->pending);
	wf_entry_free(s->database, entry);
}

void
wf_reaper_gone(WfScheduler *s)
{
	WfGoneWorker gone;

	while (wf_pool_next_gone(s->database, &gone))
		handle_gone(s, &gone);
}

/* See to what a worker that has gone was at, and was to do. */
static void
handle_gone(WfScheduler *s, const WfGoneWorker *gone)
{
	bool		was_branch;
	int			entry = gone->inbox;

	if (!OidIsValid(gone->role))
	{
		wf_retention_gone(s);
		return;
	}
	was_branch = wf_driver_branch_gone(s, gone->slot);
	wf_driver_session_lost(s, gone->slot);
	while (entry >= 0)
	{
		int			next = s->database->entries[entry].next;

		send_elsewhere(s, gone, entry);
		entry = next;
	}
	if (gone->entry >= 0 &&
		s->database->entries[gone->entry].kind == WF_ENTRY_RELEASE)
		wf_reaper_free_entry(s, gone->entry);
	else if (gone->entry >= 0)
		add_orphan(s, gone, gone->entry);
	else if (!gone->connected && gone->sqlstate != 0 &&
			 gone->sqlstate != ERRCODE_ADMIN_SHUTDOWN)
		cannot_connect(s, gone);
	if (was_branch)
		add_orphan(s, gone, -1);
}

/* What was sent to a worker that has gone, and not begun. */
static void
send_elsewhere(WfScheduler *s, const WfGoneWorker *gone, int entry)
{
	WfEntry    *e = &s->database->entries[entry];

	if (e->kind == WF_ENTRY_RELEASE)
		wf_reaper_free_entry(s, entry);
	else if (e->kind == WF_ENTRY_COMMIT || e->kind == WF_ENTRY_ROLLBACK ||
			 (e->kind == WF_ENTRY_STEP && e->in_branch))
		add_orphan(s, gone, entry); /* it was about what is gone as well */
	else
	{
		/* another worker becomes the session */
		e->bind = (e->kind == WF_ENTRY_STEP);
		e->in_branch = false;
		wf_scheduler_hand_out(s, entry, WF_READY_GOING, -1);
	}
}

/* Something to be judged: an entry, or (-1) the loss of a branch. */
static void
add_orphan(WfScheduler *s, const WfGoneWorker *gone, int entry)
{
	MemoryContext old = MemoryContextSwitchTo(s->context);
	WfOrphan   *orphan = palloc0(sizeof(WfOrphan));

	orphan->entry = entry;
	orphan->slot = gone->slot;
	orphan->role = gone->role;
	orphan->after = gone->sqlstate == ERRCODE_ADMIN_SHUTDOWN ?
		wf_pool_started() + 1 : 0;
	orphan->sqlstate = gone->sqlstate != 0 ? gone->sqlstate :
		ERRCODE_INTERNAL_ERROR;
	orphan->message = pstrdup(gone->message[0] != '\0' ? gone->message :
							  "the worker ended without an error");
	s->orphans = lappend(s->orphans, orphan);
	MemoryContextSwitchTo(old);
}

/*
 * cannot_connect
 *		A worker could not connect as its role.  If the server was short of
 *		something, or the database does not allow connections any more (then
 *		the launcher ends this scheduler), that is tried again; anything else (the role is gone, or may
 *		not log in or connect) fails what waits for workers of the role.
 */
static void
cannot_connect(WfScheduler *s, const WfGoneWorker *gone)
{
	int			i;

	if (ERRCODE_TO_CATEGORY(gone->sqlstate) == ERRCODE_INSUFFICIENT_RESOURCES ||
		gone->sqlstate == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE)
	{
		s->retry_soon = true;
		return;
	}
	wf_scheduler_begin(s);
	for (i = 0; i < WF_NENTRIES; i++)
	{
		WfEntry    *e = &s->database->entries[i];

		if (e->state != WF_ENTRY_READY || e->role != gone->role ||
			e->slot >= 0)
			continue;
		if (wf_entry_cancel(s->database, i, false))
			fail_entry(s, i, gone->sqlstate, gone->message);
	}
}

/* Nobody can do what an entry asks for. */
static void
fail_entry(WfScheduler *s, int entry, int sqlstate, const char *message)
{
	WfEntry    *e = &s->database->entries[entry];
	WfRun		run;

	if (e->kind == WF_ENTRY_STEP || e->kind == WF_ENTRY_VARIABLES)
		wf_driver_step_lost(s, entry, sqlstate, message, false);
	else if (e->kind == WF_ENTRY_CONDITION)
		wf_driver_condition_known(s, entry, WF_CONDITION_ERROR, sqlstate,
								  message);
	else
	{
		if (!wf_history_read_run(e->run_id, &run))
			elog(ERROR, "run " INT64_FORMAT " is not there", e->run_id);
		wf_scheduler_end_unstarted(s, &run, WF_RUN_FAILED, sqlstate, message,
								   InvalidOid, NULL, false);
		if (run.parent_run_id != 0)
			wf_driver_child_ended(s, run.parent_run_id, run.parent_step,
								  WF_STEP_FAILED, sqlstate, NULL, message);
	}
	wf_reaper_free_entry(s, entry);
}

/*
 * judge_orphans
 *		Decide about entries whose worker died.  What is on record counts: the
 *		worker may have died after its commit.  One that was told to go by the
 *		administrator is judged only when another worker has started, since
 *		a server that shuts down starts none, and a shutdown fails no step.
 */
void
wf_reaper_judge(WfScheduler *s)
{
	List	   *orphans = s->orphans;
	ListCell   *lc;
	MemoryContext old;

	s->orphans = NIL;
	foreach(lc, orphans)
	{
		WfOrphan   *orphan = lfirst(lc);

		if (wf_pool_started() < orphan->after)
		{
			old = MemoryContextSwitchTo(s->context);
			s->orphans = lappend(s->orphans, orphan);
			MemoryContextSwitchTo(old);
			continue;
		}
		wf_scheduler_begin(s);
		judge(s, orphan);
		pfree(orphan->message);
		pfree(orphan);
	}
	list_free(orphans);
}

static void
judge(WfScheduler *s, const WfOrphan *orphan)
{
	if (orphan->entry < 0)
	{
		wf_driver_branch_lost(s, orphan->slot, orphan->sqlstate,
							  orphan->message);
		return;
	}
	switch (s->database->entries[orphan->entry].kind)
	{
		case WF_ENTRY_RUN:
			judge_run(s, orphan);
			break;
		case WF_ENTRY_STEP:
			judge_step(s, orphan);
			break;
		case WF_ENTRY_COMMIT:
		case WF_ENTRY_ROLLBACK:
			judge_transaction(s, orphan);
			break;
		case WF_ENTRY_CONDITION:
		case WF_ENTRY_VARIABLES:
		case WF_ENTRY_RELEASE:
			fail_entry(s, orphan->entry, orphan->sqlstate, orphan->message);
			break;
	}
}

/* The worker was at the end of a package transaction. */
static void
judge_transaction(WfScheduler *s, const WfOrphan *orphan)
{
	WfEntry    *e = &s->database->entries[orphan->entry];
	WfTransactionOutcome outcome;
	bool		committed =
		wf_history_read_transaction(e->run_id, e->transaction_number,
									&outcome) && outcome.committed;

	wf_driver_transaction_known(s, orphan->entry, committed,
								orphan->sqlstate, orphan->message);
	wf_reaper_free_entry(s, orphan->entry);
}

/* The worker was at a whole run: the step in progress fails, the rest goes
 * on with another worker. */
static void
judge_run(WfScheduler *s, const WfOrphan *orphan)
{
	WfEntry    *e = &s->database->entries[orphan->entry];
	WfRunOutcome outcome = {.status = WF_RUN_SUCCEEDED};
	TransactionId xid;
	WfRecord   *record;
	WfRun		run;

	/* what is not there any more had ended, and was a root */
	if (wf_history_read_run_outcome(e->run_id, &outcome, &xid) ||
		!wf_history_read_run(e->run_id, &run))
	{
		e->status = outcome.status;
		e->sqlstate = outcome.sqlstate;
		e->error = wf_area_put_error(s->area, outcome.error_path,
									 outcome.message);
		reap_run(s, orphan->entry);
		wf_reaper_free_entry(s, orphan->entry);
		return;
	}
	record = wf_history_read_record(e->run_id);
	if (e->current_step >= 0 &&
		wf_history_find_outcome(record, e->current_step,
								e->current_attempt) == NULL)
	{
		WfStepOutcome step = {
			.run_id = e->run_id,
			.step = e->current_step,
			.attempt = e->current_attempt,
			.transaction_id = e->transaction_number == 0 ? 0 :
			e->transaction_id,
			.started_at = e->step_started_at,
			.finished_at = GetCurrentTimestamp(),
			.rows = -1,
			.status = e->cancel ? WF_STEP_CANCELLED : WF_STEP_FAILED,
			.sqlstate = orphan->sqlstate,
			.message = orphan->message
		};

		if (!e->cancel)
			(void) wf_interruption_read(&step, orphan->message);
		wf_history_insert_step_outcome(&step);
		e->transaction_steps++;
	}
	if (e->transaction_number != 0)
		lose_transaction(s, orphan);
	e->replay = true;
	e->bind = false;
	e->current_step = -1;
	wf_scheduler_hand_out(s, orphan->entry, WF_READY_GOING, -1);
}

/*
 * lose_transaction
 *		The worker was the branch of the run's package transaction as well
 *		(D25).  What has worked in it is recorded as undone; if the worker died
 *		after its end, that is on record.
 */
static void
lose_transaction(WfScheduler *s, const WfOrphan *orphan)
{
	WfEntry    *e = &s->database->entries[orphan->entry];
	WfTransactionOutcome outcome;
	dsa_pointer pending = e->pending;

	if (!wf_history_read_transaction(e->run_id, e->transaction_number,
									 &outcome))
	{
		memset(&outcome, 0, sizeof(WfTransactionOutcome));
		outcome.run_id = e->run_id;
		outcome.number = e->transaction_number;
		outcome.transaction_id = e->transaction_id;
		outcome.steps = e->transaction_steps;
		outcome.started_at = e->transaction_at;
		outcome.finished_at = GetCurrentTimestamp();
		outcome.isolation = e->isolation;
		outcome.sqlstate = orphan->sqlstate;
		outcome.message =
			psprintf("the session of the transaction was lost: %s",
					 orphan->message);
		wf_pending_write(s->area, pending);
		wf_history_insert_transaction(&outcome);
	}
	LWLockAcquire(&s->database->lock, LW_EXCLUSIVE);
	e->pending = InvalidDsaPointer;
	e->transaction_number = 0;
	LWLockRelease(&s->database->lock);
	wf_pending_free(s->area, &pending);
}

/* The worker was at a step. */
static void
judge_step(WfScheduler *s, const WfOrphan *orphan)
{
	WfEntry    *e = &s->database->entries[orphan->entry];
	WfRecord   *record = wf_history_read_record(e->run_id);
	const WfStepOutcome *outcome =
	wf_history_find_outcome(record, e->step, e->attempt);

	e->bind = false;			/* the session went with the worker */
	if (outcome == NULL)
		wf_driver_step_lost(s, orphan->entry, orphan->sqlstate,
							orphan->message, true);
	else
	{
		e->status = outcome->status;
		e->sqlstate = outcome->sqlstate;
		e->error = wf_area_put_error(s->area, NULL, outcome->message);
		wf_driver_step_done(s, orphan->entry);
	}
	wf_reaper_free_entry(s, orphan->entry);
}
