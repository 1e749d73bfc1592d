-- What the views tell: effects of steps, what things wait for, the agent; to whom.

CREATE TABLE effect (what text);
CREATE PROCEDURE execute(package text, INOUT status text DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
	run bigint;
BEGIN
	run := workflow.start_job(package);
	COMMIT;
	status := workflow.wait_for_job(run, '60s');
END $$;

-- wait until a condition holds
CREATE PROCEDURE await(condition text) LANGUAGE plpgsql AS $$
DECLARE
	holds bool;
BEGIN
	FOR i IN 1 .. 6000 LOOP
		EXECUTE 'SELECT ' || condition INTO holds;
		IF holds THEN
			RETURN;
		END IF;
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RAISE 'this did not come: %', condition;
END $$;

-- every column of the views is described
SELECT c.relname, attname
FROM pg_class AS c JOIN pg_attribute ON attrelid = c.oid AND attnum > 0
WHERE relnamespace = 'workflow'::regnamespace
  AND relname IN ('run_history', 'step_history', 'transaction_history', 'activity', 'agent')
  AND col_description(c.oid, attnum) IS NULL;

--
-- Effects
--
SELECT workflow.define_package('{"name": "views_good", "steps": [{"name": "a", "command": "SELECT 1"}]}');
SELECT workflow.define_package('{"name": "views_bad", "steps": [{"name": "a", "command": "SELECT 1/0"}]}');
SELECT workflow.define_package('{"name": "views_half", "steps": [{"name": "a", "command": "SELECT 1"}, {"name": "b", "command": "SELECT 1/0", "after": ["a"]}]}');
SELECT workflow.define_package('{"name": "views_outer_half", "steps": [{"name": "a", "kind": "package", "command": "views_half"}]}');
SELECT workflow.define_package('{"name": "views_none", "steps": [{"name": "a", "disabled": true, "command": "SELECT 1"}]}');
SELECT workflow.define_package($$ {
  "name": "views_effects", "fail_on_first_error": false,
  "steps": [
    {"name": "good", "command": "SELECT 1"},
    {"name": "vacuum", "command": "VACUUM effect"},
    {"name": "bad", "command": "INSERT INTO effect VALUES ('lost'); SELECT 1/0"},
    {"name": "bad second", "atomic": false, "command": "INSERT INTO effect VALUES ('kept'); INSERT INTO effect SELECT 1/0"},
    {"name": "bad first", "atomic": false, "command": "INSERT INTO effect SELECT 1/0; INSERT INTO effect VALUES ('never')"},
    {"name": "bad at the end", "command": "DO $do$ BEGIN INSERT INTO effect VALUES ('kept'); COMMIT; RAISE 'later'; END $do$"},
    {"name": "bad commit", "command": "DO $do$ BEGIN INSERT INTO effect VALUES ('lost'); RAISE 'earlier'; COMMIT; END $do$"},
    {"name": "retried", "max_attempts": 2, "retry_delay": "0s", "command": "SELECT 1/0"},
    {"name": "timed out", "timeout": "10ms", "command": "SELECT pg_sleep(60)"},
    {"name": "nothing", "kind": "none"},
    {"name": "off", "disabled": true, "command": "SELECT 1"},
    {"name": "not now", "condition": "false", "command": "SELECT 1"},
    {"name": "bad condition", "condition": "1/0 = 1", "command": "SELECT 1"},
    {"name": "child good", "kind": "package", "command": "views_good"},
    {"name": "child bad", "kind": "package", "command": "views_bad"},
    {"name": "child half", "kind": "package", "command": "views_half"},
    {"name": "child of child half", "kind": "package", "command": "views_outer_half"},
    {"name": "child without steps", "kind": "package", "command": "views_none"},
    {"name": "no child", "kind": "package", "command": "views_nobody"},
    {"name": "job", "kind": "job", "command": "views_good"},
    {"name": "no job", "kind": "job", "command": "views_nobody"},
    {"name": "follows", "command": "SELECT 1", "after": ["bad"]}
  ]} $$);
CALL execute('views_effects');
SELECT max(run_id) AS run FROM workflow.run_history WHERE package = 'views_effects' \gset
SELECT step, attempt, status, reason, effects, started_at IS NOT NULL AS started, sqlstate
FROM workflow.step_history WHERE run_id = :run ORDER BY step COLLATE "C", attempt;
SELECT what, count(*) FROM effect GROUP BY what;
-- which runs they have started
SELECT s.step, r.package, r.parent_run_id = s.run_id AS is_child, s.child_run_id = r.run_id AS child, s.remote_run_id = r.run_id AS job
FROM workflow.step_history AS s JOIN workflow.run_history AS r ON r.run_id IN (s.child_run_id, s.remote_run_id)
WHERE s.run_id = :run ORDER BY step COLLATE "C";
SELECT count(*) FROM workflow.transaction_history WHERE package LIKE 'views%';

-- of a run that goes on, with what its steps have done so far
SELECT workflow.define_package($$ {
  "name": "views_goes_on", "fail_on_first_error": false, "connections": [{"name": "dw"}],
  "steps": [
    {"name": "1 done", "command": "SELECT 1"},
    {"name": "2 failed", "command": "SELECT 1/0"},
    {"name": "3 second attempt", "after": ["1 done"], "max_attempts": 2, "retry_delay": "0s",
     "command": "DO $do$ BEGIN IF nextval('attempts') = 1 THEN RAISE 'not yet'; END IF; PERFORM pg_advisory_lock_shared(4721), pg_advisory_unlock_shared(4721); END $do$"},
    {"name": "4 after it", "after": ["3 second attempt"], "command": "SELECT 1"}
  ]} $$);
CREATE SEQUENCE attempts;
SELECT pg_advisory_lock(4721);
SELECT workflow.start_job('views_goes_on') AS run \gset
CALL await('EXISTS (SELECT FROM pg_locks WHERE locktype = ''advisory'' AND objid = 4721 AND NOT granted)');
CALL await(format('(SELECT failed_steps = 1 FROM workflow.run_history WHERE run_id = %s)', :run));
SELECT status, failed_steps, error_path, sqlstate, message, finished_at, duration >= '0' AS lasts FROM workflow.run_history WHERE run_id = :run;
SELECT step, attempt, status, effects, started_at IS NOT NULL AS started, finished_at IS NOT NULL AS finished, duration >= '0' AS lasts,
	pid IS NOT NULL AS pid, sqlstate
FROM workflow.step_history WHERE run_id = :run ORDER BY step, attempt;
SELECT pg_advisory_unlock(4721);
SELECT workflow.wait_for_job(:run, '60s');
SELECT step, attempt, status, effects FROM workflow.step_history WHERE run_id = :run ORDER BY step, attempt;
DROP SEQUENCE attempts;

--
-- What things wait for
--
CREATE VIEW waiting AS
SELECT a.run, a.package, a.step, a.state,
	replace(CASE WHEN r.run_id IS NULL THEN a.wait ELSE replace(a.wait, r.run_id::text, 'of ' || r.package) END,
		'pid ' || pg_backend_pid(), 'mine') AS wait,
	a.pid IS NOT NULL AS pid, a.started_at IS NOT NULL AS started, a.transaction_id, a.transaction_age
FROM workflow.activity AS a LEFT JOIN workflow.run_history AS r ON a.wait = 'run ' || r.run_id
WHERE a.package LIKE 'views%';
SELECT workflow.define_package($$ {
  "name": "views_child", "steps": [{"name": "locked", "command": "SELECT pg_advisory_xact_lock_shared(4721)"}]} $$);
SELECT workflow.define_package($$ {
  "name": "views_waits", "fail_on_first_error": false, "max_concurrent_steps": 20, "connections": [{"name": "dw"}],
  "steps": [
    {"name": "1 child", "kind": "package", "command": "views_child"},
    {"name": "2 condition", "condition": "null", "condition_interval": "1 hour", "command": "SELECT 1"},
    {"name": "3 retry", "max_attempts": 2, "retry_delay": "1 hour", "command": "SELECT 1/0"},
    {"name": "4 on dw", "priority": 1, "connection": "dw", "command": "SELECT pg_advisory_xact_lock_shared(4721)"},
    {"name": "5 on dw", "connection": "dw", "command": "SELECT 1"},
    {"name": "6 main", "main_thread": true, "priority": 1, "command": "SELECT pg_advisory_xact_lock_shared(4721)"},
    {"name": "7 main", "main_thread": true, "command": "SELECT 1"},
    {"name": "8 after", "after": ["5 on dw"], "command": "SELECT 1"}
  ]} $$);
SELECT workflow.define_package($$ {
  "name": "views_one", "max_concurrent_steps": 1, "max_concurrent_runs": 1,
  "steps": [{"name": "a", "priority": 1, "command": "SELECT pg_advisory_xact_lock_shared(4721)"}, {"name": "b", "command": "SELECT 1"}]} $$);
SELECT pg_advisory_lock(4721);
SELECT workflow.start_job('views_waits') AS waits \gset
CALL await('(SELECT count(*) FROM pg_locks WHERE locktype = ''advisory'' AND objid = 4721 AND NOT granted) = 3');
CALL await(format('EXISTS (SELECT FROM workflow.step_history WHERE run_id = %s AND step = ''3 retry'' AND attempt = 1 AND status = ''failed'')', :waits));
CALL await('EXISTS (SELECT FROM waiting WHERE step = ''3 retry'' AND wait = ''retry'')');
SELECT package, step, state, wait, pid, started, transaction_id, transaction_age FROM waiting ORDER BY run, step;
SELECT workflow.start_job('views_one') AS one \gset
SELECT workflow.start_job('views_one') AS two \gset
SELECT workflow.start_job('views_one') AS three \gset
SELECT workflow.start_job('views_one', start_at => 'infinity') AS later \gset
SELECT workflow.start_job('views_one', start_at => 'infinity') AS paused \gset
CALL await('(SELECT count(*) FROM pg_locks WHERE locktype = ''advisory'' AND objid = 4721 AND NOT granted) = 4');
CALL await('(SELECT count(*) FROM waiting WHERE wait = ''max_concurrent_runs'') = 2');
SELECT workflow.pause_job(:paused);
SELECT package, step, state, wait, pid, started FROM waiting WHERE package = 'views_one' ORDER BY run, step;
SELECT running, queued, running_runs FROM workflow.agent;
-- one is paused while its step is running
SELECT workflow.pause_job(:one);
SELECT package, step, state, wait, pid FROM waiting WHERE run = :one ORDER BY step;
-- paused, stopped, resumed: they do not wait for that any more
SELECT workflow.pause_job(:two);
SELECT workflow.stop_job(:three);
SELECT package, step, state, wait FROM waiting WHERE run >= :two ORDER BY run, step;
SELECT queued, running_runs FROM workflow.agent;
SELECT workflow.resume_job(:two), workflow.resume_job(:paused);
SELECT package, step, state, wait FROM waiting WHERE run >= :two ORDER BY run, step;
SELECT workflow.stop_job(:later), workflow.stop_job(:paused);
SELECT pg_advisory_unlock(4721);
CALL await(format('(SELECT wait = ''paused'' AND step IS NULL FROM waiting WHERE run = %s)', :one));
SELECT package, step, state, wait, pid FROM waiting WHERE run = :one;
SELECT workflow.resume_job(:one);
SELECT workflow.wait_for_job(run, '60s') FROM (VALUES (:one), (:two)) AS v(run);
SELECT workflow.stop_job(:waits);
SELECT * FROM waiting;
SELECT running, queued, running_runs FROM workflow.agent;
-- a worker
ALTER SYSTEM SET workflow.enabled = off;
SELECT pg_reload_conf();
CALL await('NOT (SELECT enabled FROM workflow.agent)');
SELECT workflow.start_job('views_good') AS run \gset
CALL await('(SELECT queued = 1 FROM workflow.agent)');
SELECT package, step, state, wait FROM waiting;
SELECT running, queued, running_runs, max_workers = current_setting('workflow.max_workers')::int AS max_workers,
	worker_idle_timeout = current_setting('workflow.worker_idle_timeout')::interval AS worker_idle_timeout,
	commit_mode = current_setting('workflow.commit_mode') AS commit_mode,
	max_nesting_level = current_setting('workflow.max_nesting_level')::int AS max_nesting_level,
	last_error, scheduler_pid = pid AS is_scheduler
FROM workflow.agent LEFT JOIN pg_stat_activity ON backend_type = 'workflow scheduler' AND datname = current_database();
ALTER SYSTEM RESET workflow.enabled;
SELECT pg_reload_conf();
CALL await('NOT EXISTS (SELECT FROM waiting)');

--
-- Who sees what
--
CREATE ROLE regress_workflow_owner LOGIN;
CREATE ROLE regress_workflow_starter;
CREATE ROLE regress_workflow_stranger;
CREATE ROLE regress_workflow_monitor IN ROLE pg_monitor;
GRANT USAGE ON SCHEMA workflow TO regress_workflow_owner, regress_workflow_starter, regress_workflow_stranger, regress_workflow_monitor;
SET ROLE regress_workflow_owner;
SELECT workflow.define_package('{"name": "views_own", "connections": [{"name": "c"}], "steps": [{"name": "a", "connection": "c", "command": "SELECT 1"}, {"name": "b", "after": ["a"], "command": "SELECT pg_advisory_xact_lock_shared(4721)"}]}');
SELECT workflow.grant_start('views_own', 'regress_workflow_starter');
RESET ROLE;
SELECT pg_advisory_lock(4721);
SET ROLE regress_workflow_starter;
SELECT workflow.start_job('views_own') AS run \gset
RESET ROLE;
CALL await('EXISTS (SELECT FROM pg_locks WHERE locktype = ''advisory'' AND objid = 4721 AND NOT granted)');
CREATE VIEW counted AS
SELECT current_user AS who,
	(SELECT count(*) FROM workflow.run_history WHERE package = 'views_own') AS runs,
	(SELECT count(*) FROM workflow.step_history WHERE package = 'views_own') AS steps_run,
	(SELECT count(*) FROM workflow.activity WHERE package = 'views_own') AS activity,
	(SELECT count(*) FROM workflow.package WHERE name = 'views_own') AS package,
	(SELECT count(*) FROM workflow.step WHERE package = 'views_own') AS steps,
	(SELECT count(*) FROM workflow.precedence WHERE package = 'views_own') AS precedence,
	(SELECT count(*) FROM workflow.connection WHERE package = 'views_own') AS connection,
	(SELECT count(*) FROM workflow.run_history WHERE package = 'views_good') > 0 AS others_runs,
	(SELECT count(*) FROM workflow.package WHERE name = 'views_good') AS others_package,
	(SELECT count(*) FROM workflow.agent) AS agent;
GRANT SELECT ON counted TO PUBLIC;
SET ROLE regress_workflow_owner;
SELECT * FROM counted;
SET ROLE regress_workflow_starter;
SELECT * FROM counted;
SET ROLE regress_workflow_stranger;
SELECT * FROM counted;
SET ROLE regress_workflow_monitor;
SELECT * FROM counted;
RESET ROLE;
SELECT * FROM counted;
-- nor does a function that is cheap see the rows before the view has decided
CREATE FUNCTION peek(text) RETURNS bool LANGUAGE plpgsql COST 0.0001 AS $$
BEGIN
	RAISE NOTICE 'seen: %', $1;
	RETURN true;
END $$;
SET ROLE regress_workflow_stranger;
SELECT count(*) FROM workflow.run_history WHERE peek(package);
SELECT count(*) FROM workflow.step_history WHERE peek(step);
SELECT count(*) FROM workflow.activity WHERE peek(package);
SELECT count(*) FROM workflow.package WHERE peek(name);
SELECT count(*) FROM workflow.step WHERE peek(name);
SELECT count(*) FROM workflow.precedence WHERE peek(package);
SELECT count(*) FROM workflow.connection WHERE peek(name);
-- nor do the functions under the views tell more
SELECT * FROM workflow.run_state(:run);
SELECT * FROM workflow.step_states(:run);
SELECT * FROM workflow.run_step(:run, 0);
RESET ROLE;
SELECT pg_advisory_unlock(4721);
SELECT workflow.wait_for_job(:run, '60s');
SELECT workflow.purge_history('0', 'views_own');
SELECT workflow.drop_package(name) FROM workflow.package WHERE name LIKE 'views%';
DROP FUNCTION peek;
DROP VIEW counted, waiting;
DROP OWNED BY regress_workflow_owner, regress_workflow_starter, regress_workflow_stranger, regress_workflow_monitor;
DROP ROLE regress_workflow_owner, regress_workflow_starter, regress_workflow_stranger, regress_workflow_monitor;
DROP PROCEDURE await, execute;
DROP TABLE effect;
