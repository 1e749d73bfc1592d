-- start_job and its arguments, overlap, stop, pause, waiting, activity.

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir /test/helpers.sql
\i :helpers

CREATE TABLE effect (run bigint, what text);

SELECT workflow.define_package($$ {
  "name": "quick", "variables": {"day": null, "n": 0},
  "steps": [{"name": "a", "command": "INSERT INTO effect VALUES (workflow.run_id(), workflow.variable('day'))"}]} $$);
-- a step that waits for lock 1
SELECT workflow.define_package($$ {
  "name": "blocked",
  "steps": [{"name": "a", "command": "INSERT INTO effect VALUES (workflow.run_id(), 'blocked'); SELECT pg_advisory_xact_lock_shared(4715)"}]} $$);

--
-- request_key
--
SELECT workflow.start_job('quick', '{"day": "a"}', request_key => 'key 1') AS first \gset
SELECT workflow.wait_for_job(:first, '60s');
SELECT workflow.start_job('quick', '{"day": "a"}', request_key => 'key 1') = :first AS same;
SELECT workflow.start_job('quick', '{"day": "a"}', priority => 3, start_at => 'infinity', request_key => 'key 1') = :first AS same;
SELECT workflow.start_job('quick', '{"day": "a"}', request_key => 'key 2') <> :first AS another \gset
SELECT :'another' AS another;
SELECT workflow.start_job('quick', '{"day": "a"}') <> :first AS without;
SELECT try($$SELECT workflow.start_job('quick', '{"day": "b"}', request_key => 'key 1')$$);
SELECT try($$SELECT workflow.start_job('quick', request_key => 'key 1')$$);
SELECT try($$SELECT workflow.start_job('quick', '{"day": "a", "n": 1}', request_key => 'key 1')$$);
-- the same variables in another order are the same
SELECT workflow.start_job('quick', '{"day": "c", "n": 1.0}', request_key => 'key 3') AS third \gset
SELECT workflow.start_job('quick', '{"n": 1, "day": "c"}', request_key => 'key 3') = :third AS same;
-- A second request uses no version: an edit of the current one is in place.
SELECT workflow.create_package('keyed'), workflow.add_step('keyed', 'a', kind => 'none');
SELECT workflow.start_job('keyed', request_key => 'key') AS keyed \gset
SELECT workflow.alter_package('keyed', description => 'two') AS version;
SELECT workflow.start_job('keyed', request_key => 'key') = :keyed AS same;
SELECT workflow.alter_package('keyed', description => 'three') AS version;
SELECT workflow.wait_for_job(:keyed, '60s');
-- a key belongs to a package
SELECT workflow.start_job('blocked', request_key => 'key 1') <> :first AS another;
-- in one statement, in one transaction, and after a rollback
SELECT count(DISTINCT workflow.start_job('quick', request_key => 'key 4')) FROM generate_series(1, 3);
BEGIN;
SELECT workflow.start_job('quick', request_key => 'key 5') AS fifth \gset
SELECT workflow.start_job('quick', request_key => 'key 5') = :fifth AS same;
ROLLBACK;
SELECT count(*) FROM workflow.run_history WHERE request_key = 'key 5';
BEGIN;
SAVEPOINT s;
SELECT workflow.start_job('quick', request_key => 'key 6') AS sixth \gset
ROLLBACK TO s;
SELECT workflow.start_job('quick', request_key => 'key 6') <> :sixth AS another;
COMMIT;
SELECT workflow.start_job('quick', request_key => '') = workflow.start_job('quick', request_key => '') AS empty;
SELECT package, request_key, count(*) FROM workflow.run_history WHERE request_key IS NOT NULL AND package IN ('quick', 'blocked') GROUP BY package, request_key ORDER BY package, request_key COLLATE "C";
-- only to who may start the package
CREATE ROLE regress_workflow_control LOGIN;
GRANT USAGE ON SCHEMA workflow TO regress_workflow_control;
SET ROLE regress_workflow_control;
SELECT try($$SELECT workflow.start_job('quick', '{"day": "a"}', request_key => 'key 1')$$);
RESET ROLE;
SELECT workflow.grant_start('quick', 'regress_workflow_control');
SET ROLE regress_workflow_control;
SELECT workflow.start_job('quick', '{"day": "a"}', request_key => 'key 1') = :first AS same;
RESET ROLE;
SELECT workflow.revoke_start('quick', 'regress_workflow_control');
SELECT count(workflow.wait_for_job(run_id, '60s')) > 5 AS all_ended FROM workflow.run_history WHERE package = 'quick';
SELECT count(*) FROM effect JOIN workflow.run_history ON run = run_id WHERE package = 'quick' AND request_key = 'key 1';
SELECT workflow.wait_for_job(run_id, '60s') FROM workflow.run_history WHERE package = 'blocked';
TRUNCATE effect;

--
-- start_at
--
SELECT workflow.start_job('quick', start_at => clock_timestamp() + '300ms') AS run \gset
SELECT workflow.start_job('quick', start_at => 'infinity') AS never \gset
SELECT workflow.start_job('quick', start_at => '2001-01-01') AS past \gset
SELECT workflow.wait_for_job(:past, '60s');
SELECT package, state, wait, pid FROM workflow.activity WHERE run = :never;
SELECT status, started_at FROM workflow.run_history WHERE run_id = :never;
SELECT workflow.wait_for_job(:run, '60s');
SELECT started_at - requested_at >= '290ms' AS not_before FROM workflow.run_history WHERE run_id = :run;
SELECT workflow.wait_for_job(:never, '1ms') IS NULL AS timed_out;
SELECT workflow.stop_job(:never, 'not needed');
SELECT status, started_at, stop_reason FROM workflow.run_history WHERE run_id = :never;
SELECT step, status, reason FROM workflow.step_history WHERE run_id = :never;
SELECT workflow.stop_job(:never);
TRUNCATE effect;

--
-- Disabled packages, required variables
--
SELECT workflow.define_package('{"name": "off", "enabled": false, "steps": [{"name": "a", "kind": "none"}]}');
SELECT try($$SELECT workflow.start_job('off')$$);
SELECT workflow.alter_package('off', enabled => true);
CALL execute('off');
SELECT workflow.define_package($$ {
  "name": "required", "variables": {"day": null, "other": 1, "given": "default"}, "required_variables": ["day", "other"],
  "steps": [{"name": "a", "command": "INSERT INTO effect VALUES (1, workflow.variable('day'))"}]} $$);
SELECT try($$SELECT workflow.start_job('required')$$);
SELECT try($$SELECT workflow.start_job('required', '{"day": "x"}')$$);
SELECT try($$SELECT workflow.start_job('required', '{"day": null, "other": 1}')$$);
SELECT try($$SELECT workflow.start_job('required', '{"other": 1, "given": "x"}')$$);
SELECT try($$SELECT workflow.start_job('required', '{"day": "x", "other": 1, "more": 1}')$$);
CALL execute('required', '{"day": "x", "other": false}');
-- also of a child
SELECT workflow.define_package('{"name": "requires", "variables": {"other": 2}, "steps": [{"name": "child", "kind": "package", "command": "required"}]}');
CALL execute('requires');
SELECT error_path, sqlstate, message FROM workflow.run_history WHERE package = 'requires';
SELECT what FROM effect;
TRUNCATE effect;

--
-- max_concurrent_runs and on_overlap
--
SELECT workflow.define_package(jsonb_build_object('name', 'overlap_' || o, 'max_concurrent_runs', n, 'on_overlap', o, 'steps',
	'[{"name": "a", "command": "SELECT pg_advisory_xact_lock_shared(4715); INSERT INTO effect VALUES (workflow.run_id(), current_timestamp::text)"}]'::jsonb))
FROM (VALUES ('queue', 1), ('reject', 2), ('skip', 1)) AS v (o, n);
SELECT pg_advisory_lock(4715);
SELECT workflow.start_job('overlap_queue') AS q1 \gset
SELECT workflow.start_job('overlap_queue') AS q2 \gset
SELECT workflow.start_job('overlap_queue', priority => 5) AS q3 \gset
CALL await(format($$ (SELECT status = 'running' FROM workflow.run_history WHERE run_id = %s) $$, :q1));
SELECT row_number() OVER (ORDER BY run) AS run, step, state FROM workflow.activity WHERE package = 'overlap_queue' ORDER BY run, step;
SELECT workflow.start_job('overlap_reject') AS r1 \gset
SELECT workflow.start_job('overlap_reject') AS r2 \gset
SELECT try($$SELECT workflow.start_job('overlap_reject')$$);
-- also counted: a run that the same transaction has started
SELECT workflow.start_job('overlap_skip') AS s1 \gset
SELECT workflow.start_job('overlap_skip') AS s2 \gset
BEGIN;
SELECT workflow.start_job('overlap_skip') AS s3 \gset
COMMIT;
SELECT workflow.wait_for_job(:s2, '60s'), workflow.wait_for_job(:s3, '60s');
SELECT status, started_at, finished_at IS NOT NULL AS finished, failed_steps, error_path, sqlstate, message FROM workflow.run_history WHERE run_id IN (:s2, :s3);
SELECT count(*) FROM workflow.step_history WHERE run_id IN (:s2, :s3);
-- a queued one can be stopped
SELECT workflow.stop_job(:q2);
SELECT status, started_at FROM workflow.run_history WHERE run_id = :q2;
SELECT pg_advisory_unlock(4715);
SELECT workflow.wait_for_job(r, '60s') FROM unnest(ARRAY[:q1, :q3, :r1, :r2, :s1]) AS r;
SELECT workflow.start_job('overlap_skip') AS s4 \gset
SELECT workflow.wait_for_job(:s4, '60s');
SELECT workflow.start_job('overlap_reject') AS r4 \gset
SELECT workflow.wait_for_job(:r4, '60s');
SELECT bool_and(b.started_at >= a.finished_at) AS one_after_the_other
FROM workflow.run_history AS a, workflow.run_history AS b WHERE (a.run_id, b.run_id) = (:q1, :q3);
SELECT package, status, count(*) FROM workflow.run_history WHERE package LIKE 'overlap%' GROUP BY 1, 2 ORDER BY 1, 2;
-- two starts in one transaction, and in one statement
SELECT try($$SELECT count(workflow.start_job('overlap_reject')) FROM generate_series(1, 3)$$);
BEGIN;
SELECT try($$SELECT workflow.start_job('overlap_skip') > 0$$);
SELECT try($$SELECT workflow.start_job('overlap_skip') > 0$$);
ROLLBACK;
-- of no use without a limit
SELECT workflow.define_package('{"name": "no_limit", "on_overlap": "reject", "steps": [{"name": "a", "kind": "none"}]}');
SELECT count(workflow.start_job('no_limit')) FROM generate_series(1, 3);
TRUNCATE effect;

--
-- Priorities: those of the package, and of start_job.  All workers but one
-- are busy, and that one soon is free.
--
SELECT workflow.define_package(jsonb_build_object('name', 'priority_' || p, 'priority', p, 'steps',
	'[{"name": "a", "command": "SELECT 1"}]'::jsonb))
FROM unnest(ARRAY[-1, 1]) AS p;
SELECT workflow.define_package($$ {
  "name": "blocked_too", "steps": [{"name": "a", "command": "SELECT pg_advisory_xact_lock_shared(4716)"}]} $$);
SELECT pg_advisory_lock(4715), pg_advisory_lock(4716);
SELECT count(workflow.start_job('blocked')) FROM generate_series(2, current_setting('workflow.max_workers')::int);
SELECT workflow.start_job('blocked_too') AS busy \gset
CALL await($$ (SELECT count(*) = current_setting('workflow.max_workers')::int FROM workflow.activity WHERE package LIKE 'blocked%' AND step IS NOT NULL AND state = 'running') $$);
SELECT workflow.start_job('priority_-1') AS p1 \gset
SELECT workflow.start_job('priority_1') AS p2 \gset
SELECT workflow.start_job('priority_-1', priority => 9) AS p3 \gset
SELECT workflow.start_job('priority_1', priority => -9) AS p4 \gset
CALL await($$ (SELECT count(*) = 4 FROM workflow.activity WHERE package LIKE 'priority%' AND wait = 'worker') $$);
-- those of one statement, of which some are stopped
SELECT array_agg(workflow.start_job('quick', priority => -99)) AS many FROM generate_series(1, 5) \gset
SELECT workflow.stop_job((:'many'::bigint[])[i]) FROM unnest('{3,1,5}'::int[]) AS i;
SELECT package, step, state, wait, pid, started_at FROM workflow.activity WHERE package LIKE 'priority%' ORDER BY run;
SELECT pg_advisory_unlock(4716);
SELECT workflow.wait_for_job(r, '60s') FROM unnest(ARRAY[:busy, :p1, :p2, :p3, :p4]) AS r;
SELECT (ARRAY['p1', 'p2', 'p3', 'p4'])[array_position(ARRAY[:p1, :p2, :p3, :p4]::bigint[], run_id)] AS started
FROM workflow.run_history WHERE run_id IN (:p1, :p2, :p3, :p4) ORDER BY started_at;
SELECT pg_advisory_unlock(4715);
SELECT i, workflow.wait_for_job(run, '60s') FROM unnest(:'many'::bigint[]) WITH ORDINALITY AS m (run, i);
SELECT count(*) FROM effect WHERE run = ANY (:'many'::bigint[]);
SELECT DISTINCT workflow.wait_for_job(run_id, '60s') FROM workflow.run_history WHERE package = 'blocked';
TRUNCATE effect;

--
-- pause_job and resume_job
--
SELECT workflow.define_package($$ {
  "name": "pausing", "fail_on_first_error": false,
  "steps": [
    {"name": "a", "command": "SELECT pg_advisory_xact_lock_shared(4715)"},
    {"name": "b", "command": "INSERT INTO effect VALUES (1, 'b')", "after": ["a"]},
    {"name": "c", "command": "INSERT INTO effect VALUES (1, 'c')", "after": ["b"]}
  ]} $$);
SELECT pg_advisory_lock(4715);
SELECT workflow.start_job('pausing') AS run \gset
CALL await(format($$ (SELECT count(*) = 1 FROM workflow.step_history WHERE run_id = %s AND status = 'running' AND pid IS NOT NULL) $$, :run));
SELECT workflow.resume_job(:run) AS not_paused;
SELECT workflow.pause_job(:run);
SELECT workflow.pause_job(:run) AS again;
-- What is being executed ends.
SELECT pg_advisory_unlock(4715);
CALL await(format($$ (SELECT status = 'paused' FROM workflow.run_history WHERE run_id = %s) $$, :run));
CALL await(format($$ (SELECT status = 'succeeded' FROM workflow.step_history WHERE run_id = %s AND step = 'a') $$, :run));
SELECT workflow.wait_for_job(:run, '100ms') IS NULL AS still_paused;
SELECT status, finished_at FROM workflow.run_history WHERE run_id = :run;
SELECT step, status FROM workflow.step_history WHERE run_id = :run ORDER BY step;
SELECT package, step, state, wait FROM workflow.activity WHERE run = :run ORDER BY step;
SELECT count(*) FROM effect;
SELECT workflow.resume_job(:run);
SELECT workflow.wait_for_job(:run, '60s');
SELECT what FROM effect ORDER BY what;
SELECT workflow.pause_job(:run), workflow.resume_job(:run);
-- one that is queued
SELECT workflow.start_job('quick', start_at => clock_timestamp() + '50ms') AS queued \gset
SELECT workflow.pause_job(:queued);
SELECT workflow.wait_for_job(:queued, '200ms') IS NULL AS paused;
SELECT status FROM workflow.run_history WHERE run_id = :queued;
SELECT workflow.resume_job(:queued);
SELECT workflow.wait_for_job(:queued, '60s');
-- a paused one can be stopped
SELECT pg_advisory_lock(4715);
SELECT workflow.start_job('pausing') AS run \gset
CALL await(format($$ (SELECT count(*) = 1 FROM workflow.step_history WHERE run_id = %s AND status = 'running' AND pid IS NOT NULL) $$, :run));
SELECT workflow.pause_job(:run);
SELECT workflow.stop_job(:run, 'paused long enough');
SELECT status, stopped_by = current_user AS by_me, stop_reason FROM workflow.run_history WHERE run_id = :run;
SELECT step, status, reason FROM workflow.step_history WHERE run_id = :run ORDER BY step;
SELECT pg_advisory_unlock(4715);
-- a parent with its children
SELECT workflow.define_package('{"name": "pausing_parent", "steps": [{"name": "child", "kind": "package", "command": "pausing"}]}');
TRUNCATE effect;
SELECT pg_advisory_lock(4715);
SELECT workflow.start_job('pausing_parent') AS run \gset
CALL await(format($$ EXISTS (SELECT FROM workflow.step_history WHERE root_run_id = %s AND step = 'a' AND status = 'running' AND pid IS NOT NULL) $$, :run));
SELECT workflow.pause_job(:run);
SELECT pg_advisory_unlock(4715);
CALL await(format($$ (SELECT status = 'succeeded' FROM workflow.step_history WHERE root_run_id = %s AND step = 'a') $$, :run));
SELECT workflow.wait_for_job(:run, '100ms') IS NULL AS still_paused;
SELECT package, status FROM workflow.run_history WHERE root_run_id = :run ORDER BY run_id;
SELECT workflow.resume_job(:run);
SELECT workflow.wait_for_job(:run, '60s');
SELECT what FROM effect ORDER BY what;
TRUNCATE effect;

-- errors
SELECT try('SELECT workflow.pause_job(-1)'), try('SELECT workflow.resume_job(-1)'), try('SELECT workflow.stop_job(-1)');
SELECT try('SELECT workflow.pause_job(NULL)'), try('SELECT workflow.resume_job(NULL)'), try('SELECT workflow.stop_job(NULL)');
BEGIN;
SELECT workflow.start_job('quick') AS run \gset
SELECT try('SELECT workflow.pause_job(' || :run || ')');
SELECT try('SELECT workflow.stop_job(' || :run || ')');
ROLLBACK;
SELECT workflow.start_job('quick', start_at => 'infinity') AS run \gset
SET ROLE regress_workflow_control;
SELECT try('SELECT workflow.pause_job(' || :run || ')');
SELECT try('SELECT workflow.stop_job(' || :run || ')');
RESET ROLE;
SELECT workflow.grant_start('quick', 'regress_workflow_control');
SET ROLE regress_workflow_control;
SELECT status FROM workflow.run_history WHERE run_id = :run;
SELECT try('SELECT workflow.pause_job(' || :run || ')');
SELECT try('SELECT workflow.resume_job(' || :run || ')');
SELECT try('SELECT workflow.stop_job(' || :run || ')');
SELECT try('SELECT workflow.wait_for_job(' || :run || ', ''1ms'')');
-- its own it may stop, pause and resume
SELECT workflow.start_job('quick', start_at => 'infinity') AS own \gset
SELECT workflow.resume_job(:own) AS not_paused, workflow.pause_job(:own), workflow.stop_job(:own, 'mine');
SELECT status, requested_by, stopped_by, stop_reason FROM workflow.run_history WHERE run_id = :own;
RESET ROLE;
SELECT workflow.stop_job(:run);

--
-- wait_for_job
--
SELECT try($$SELECT workflow.wait_for_job(1, '-1s')$$);
SELECT try($$SELECT workflow.wait_for_job(-1)$$);
SELECT workflow.wait_for_job(NULL) IS NULL AS null_run;
SELECT workflow.wait_for_job(:run), workflow.wait_for_job(:run, '0'), workflow.wait_for_job(:run, NULL);
SELECT pg_advisory_lock(4715);
SELECT workflow.start_job('blocked') AS run \gset
SELECT workflow.wait_for_job(:run, '0') IS NULL AS at_once, workflow.wait_for_job(:run, '10ms') IS NULL AS after_a_while;
-- what a step waits for, a lock: activity tells whose
CALL await(format($$ (SELECT wait LIKE 'lock%%' FROM workflow.activity WHERE run = %s AND step = 'a') $$, :run));
SELECT step, state, replace(wait, pg_backend_pid()::text, 'of this session') AS wait FROM workflow.activity WHERE run = :run;
SELECT pg_advisory_unlock(4715);
SELECT workflow.wait_for_job(:run, '60s');

--
-- run_job and watch_job
--
\set SHOW_CONTEXT never
CALL workflow.run_job('nobody');
CALL workflow.run_job(NULL);
CALL workflow.run_job('quick', '{"night": 1}');
CALL workflow.watch_job(-1);
CALL workflow.watch_job(NULL);
BEGIN;
CALL workflow.run_job('quick');
ROLLBACK;
BEGIN;
CALL workflow.watch_job(1);
ROLLBACK;
SELECT try($$CALL workflow.run_job('quick')$$);
CALL workflow.run_job('quick', verbose => false);
-- a run that has ended, well, or not
CALL workflow.watch_job(:run, false);
SELECT workflow.define_package('{"name": "bad", "steps": [{"name": "a", "command": "SELECT 1 / 0"}]}');
DO $$ BEGIN
	CALL workflow.run_job('bad', verbose => false);
EXCEPTION WHEN OTHERS THEN RAISE NOTICE '% %', SQLSTATE, SQLERRM; END $$;
\set VERBOSITY sqlstate
CALL workflow.run_job('bad', verbose => false);
SELECT max(run_id) AS run FROM workflow.run_history WHERE package = 'bad' \gset
CALL workflow.watch_job(:run);
-- others
SET ROLE regress_workflow_control;
CALL workflow.watch_job(:run);
CALL workflow.run_job('bad');
RESET ROLE;
\set VERBOSITY default

--
-- activity: other waits
--
SELECT workflow.define_package($$ {
  "name": "waits", "connections": [{"name": "dw"}],
  "steps": [
    {"name": "a", "command": "SELECT pg_advisory_xact_lock_shared(4715)", "connection": "dw", "priority": 2},
    {"name": "b", "command": "SELECT 1", "connection": "dw"},
    {"name": "c", "kind": "package", "command": "blocked", "priority": 1},
    {"name": "d", "command": "SELECT pg_advisory_xact_lock_shared(4715)", "priority": 1},
    {"name": "e", "command": "SELECT 1", "after": ["d"]}
  ]} $$);
SELECT workflow.define_package($$ {
  "name": "waits_too", "max_concurrent_steps": 1,
  "steps": [{"name": "a", "command": "SELECT pg_advisory_xact_lock_shared(4715)", "priority": 1}, {"name": "b", "command": "SELECT 1"}]} $$);
SELECT pg_advisory_lock(4715);
SELECT workflow.start_job('waits') AS run \gset
SELECT workflow.start_job('waits_too') AS too \gset
CALL await($$ (SELECT count(*) = 4 FROM pg_locks WHERE locktype = 'advisory' AND objid = 4715 AND NOT granted) $$);
SELECT step, state, regexp_replace(replace(wait, pg_backend_pid()::text, 'of this session'), 'run \d+', 'run N') AS wait, pid IS NOT NULL AS has_pid
FROM workflow.activity WHERE run = :run AND step IS NOT NULL ORDER BY step;
SELECT package, step, state, replace(wait, pg_backend_pid()::text, 'of this session') AS wait FROM workflow.activity
WHERE package IN ('blocked', 'waits_too') AND step IS NOT NULL ORDER BY package, step;
SELECT pg_advisory_unlock(4715);
SELECT workflow.wait_for_job(:run, '60s'), workflow.wait_for_job(:too, '60s');
SELECT count(*) FROM workflow.activity WHERE package IN ('blocked', 'waits', 'waits_too');

-- workflow.enabled = off: runs are enqueued, and start when it is on again
ALTER SYSTEM SET workflow.enabled = off;
SELECT pg_reload_conf();
-- It takes a moment until the agent knows.
CREATE PROCEDURE start_until_queued(INOUT run bigint DEFAULT NULL) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 1000 LOOP
		run := workflow.start_job('quick');
		COMMIT;
		EXIT WHEN workflow.wait_for_job(run, '300ms') IS NULL;
	END LOOP;
END $$;
CALL start_until_queued() \gset
SELECT status, started_at FROM workflow.run_history WHERE run_id = :run;
SELECT status FROM workflow.step_history WHERE run_id = :run;
ALTER SYSTEM RESET workflow.enabled;
SELECT pg_reload_conf();
SELECT workflow.wait_for_job(:run, '60s');

SELECT workflow.revoke_start('quick', 'regress_workflow_control');
REVOKE USAGE ON SCHEMA workflow FROM regress_workflow_control;
DROP ROLE regress_workflow_control;
DROP PROCEDURE start_until_queued;
DROP TABLE effect;
