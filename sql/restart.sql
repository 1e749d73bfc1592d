-- restart_job, and the package options max_attempts, retry_delay, retry_on.

CREATE TABLE effect (n serial, run bigint, what text);
CREATE TABLE broken (step text);

-- what steps execute: leave a mark, then fail if the step is listed as broken
CREATE FUNCTION work(mark text DEFAULT '') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO effect (run, what) VALUES (workflow.run_id(), workflow.step_name() || mark);
	IF workflow.step_name() IN (SELECT step FROM broken) THEN
		RAISE 'step % is broken', workflow.step_name() USING ERRCODE = 'WF001';
	END IF;
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

-- start a run, with those steps broken, and wait for its end
CREATE PROCEDURE execute(package text, steps text[] DEFAULT '{}', variables jsonb DEFAULT '{}',
	INOUT run bigint DEFAULT NULL, INOUT status text DEFAULT NULL)
LANGUAGE plpgsql AS $$
BEGIN
	TRUNCATE effect, broken;
	INSERT INTO broken SELECT unnest(steps);
	COMMIT;
	run := workflow.start_job(package, variables);
	COMMIT;
	status := workflow.wait_for_job(run, '60s');
END $$;

-- the same for a restart; the effects stay
CREATE PROCEDURE restart(INOUT run bigint, steps text[] DEFAULT '{}', use_current_version boolean DEFAULT false,
	variables jsonb DEFAULT NULL, from_step text DEFAULT NULL, INOUT status text DEFAULT NULL)
LANGUAGE plpgsql AS $$
BEGIN
	TRUNCATE broken;
	INSERT INTO broken SELECT unnest(steps);
	COMMIT;
	run := workflow.restart_job(run, use_current_version, variables, from_step);
	COMMIT;
	status := workflow.wait_for_job(run, '60s');
END $$;

-- what was executed and committed, in order
CREATE VIEW done AS SELECT string_agg(what, ' ' ORDER BY n) AS done FROM effect;
-- run numbers relative to the first one of a chain
CREATE FUNCTION steps(run bigint, OUT step text, OUT attempt int, OUT status text, OUT reason text, OUT before_run bool)
RETURNS SETOF record LANGUAGE sql AS $$
	SELECT s.step, s.attempt, s.status, s.reason, s.started_at < r.requested_at
	FROM workflow.step_history AS s JOIN workflow.run_history AS r USING (run_id)
	WHERE s.run_id = run ORDER BY s.step, s.attempt
$$;
CREATE FUNCTION try(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
	hint text;
	result text;
BEGIN
	EXECUTE command INTO result;
	RETURN coalesce(result, 'null');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN regexp_replace(concat_ws(E'\n', SQLSTATE || ': ' || message,
		'DETAIL: ' || nullif(detail, ''), 'HINT: ' || nullif(hint, '')), '([rR]un) \d+', '\1 N', 'g');
END $$;
CREATE FUNCTION chain(first bigint, OUT attempt int, OUT status text, OUT sqlstate text, OUT restarts_the_one_before bool)
RETURNS SETOF record LANGUAGE sql AS $$
	WITH RECURSIVE c AS (
		SELECT run_id FROM workflow.run_history WHERE run_id = first
		UNION ALL
		SELECT r.run_id FROM c JOIN workflow.run_history AS r ON r.restart_of = c.run_id)
	SELECT attempt, status, sqlstate, restart_of = lag(run_id) OVER (ORDER BY run_id)
	FROM c JOIN workflow.run_history USING (run_id) ORDER BY run_id
$$;

--
-- What was committed is taken over, the rest is executed.
--
SELECT workflow.define_package($$ {
  "name": "rs_chain",
  "steps": [
    {"name": "a", "command": "SELECT work(); SELECT 'from ' || 'a'"},
    {"name": "b", "command": "SELECT work()", "after": ["a"]},
    {"name": "c", "command": "SELECT work()", "after": ["b"]}
  ]} $$);
CALL execute('rs_chain', '{b}') \gset
SELECT :'status' AS status, done FROM done;
SELECT :run AS first \gset
CALL restart(:run) \gset
SELECT :'status' AS status, done FROM done;
-- a step taken over is shown as it was
SELECT * FROM steps(:run);
SELECT n.status, n.reason, n.rows = o.rows AS rows, n.result, n.started_at = o.started_at AS started_at,
	n.finished_at = o.finished_at AS finished_at, n.pid = o.pid AS pid, n.duration = o.duration AS duration
FROM workflow.step_history AS n JOIN workflow.step_history AS o USING (step)
WHERE n.run_id = :run AND o.run_id = :first AND step = 'a';
SELECT restart_of = :first AS restart_of, status, failed_steps, error_path, version, attempt, root_run_id = run_id AS root,
	started_at >= requested_at AS began_itself
FROM workflow.run_history WHERE run_id = :run;
-- the earlier run stays what it was
SELECT status, failed_steps, error_path, restart_of FROM workflow.run_history WHERE run_id = :first;
SELECT * FROM steps(:first);
-- once a run; a restart that fails is restarted in turn
SELECT try('SELECT workflow.restart_job(' || :first || ')');
CALL execute('rs_chain', '{b}') \gset
CALL restart(:run, '{c}') \gset
SELECT :'status' AS status, done FROM done;
CALL restart(:run) \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM steps(:run);

-- on workers side by side: driven by the scheduler
SELECT workflow.define_package($$ {
  "name": "rs_graph", "timeout": "1 h",
  "steps": [
    {"name": "a", "command": "SELECT work()"},
    {"name": "b1", "command": "SELECT work()", "after": ["a"]},
    {"name": "b2", "command": "SELECT work()", "after": ["a"]},
    {"name": "n", "kind": "none", "after": ["b1", "b2"]},
    {"name": "c", "command": "SELECT work()", "after": ["n"]},
    {"name": "d", "command": "SELECT work()", "after": ["c"]}
  ]} $$);
CALL execute('rs_graph', '{c}') \gset
CALL restart(:run, '{d}') \gset
SELECT * FROM steps(:run);
CALL restart(:run) \gset
SELECT :'status' AS status, array(SELECT what FROM effect ORDER BY what);
SELECT * FROM steps(:run);

-- with nothing that was committed
CALL execute('rs_graph', '{a}') \gset
CALL restart(:run) \gset
SELECT :'status' AS status, count(*) FROM effect;
-- a run that ended before it began
SELECT workflow.start_job('rs_chain', start_at => now() + '1 h') AS run \gset
SELECT workflow.stop_job(:run);
TRUNCATE effect;
CALL restart(:run) \gset
SELECT :'status' AS status, done FROM done;

--
-- Cancelled runs
--
SELECT workflow.define_package($$ {
  "name": "rs_blocked",
  "steps": [
    {"name": "a", "command": "SELECT work()"},
    {"name": "b", "command": "SELECT work(); SELECT pg_advisory_xact_lock_shared(4721)", "after": ["a"]},
    {"name": "c", "command": "SELECT work()", "after": ["b"]}
  ]} $$);
SELECT pg_advisory_lock(4721);
TRUNCATE effect;
SELECT workflow.start_job('rs_blocked') AS run \gset
CALL await(format('status = ''running'' FROM workflow.step_history WHERE run_id = %s AND step = ''b''', :run));
SELECT try('SELECT workflow.restart_job(' || :run || ')');
SELECT workflow.stop_job(:run);
SELECT pg_advisory_unlock(4721);
CALL restart(:run) \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM steps(:run);

--
-- Failures that the package puts up with: what followed from them follows again.
--
SELECT workflow.define_package($$ {
  "name": "rs_lax", "fail_on_first_error": false, "max_concurrent_steps": 1,
  "steps": [
    {"name": "a", "command": "SELECT work()"},
    {"name": "b", "command": "SELECT work()", "after": ["a"]},
    {"name": "c on success", "command": "SELECT work()", "after": ["b"]},
    {"name": "d on failure", "command": "SELECT work()", "after": [{"step": "b", "on": "failure"}]},
    {"name": "e after d", "command": "SELECT work()", "after": ["d on failure"]},
    {"name": "f on completion", "command": "SELECT work()", "after": [{"step": "b", "on": "completion"}]},
    {"name": "g any", "command": "SELECT work()", "precedence": "any", "after": ["a", {"step": "b", "on": "failure"}]},
    {"name": "h after g", "command": "SELECT work()", "after": ["g any"]}
  ]} $$);
CALL execute('rs_lax', '{b}') \gset
SELECT :'status' AS status;
SELECT step, status FROM steps(:run);
TRUNCATE effect;
CALL restart(:run, '{b}') \gset
SELECT :'status' AS status, array(SELECT what FROM effect ORDER BY what);
TRUNCATE effect;
CALL restart(:run) \gset
SELECT :'status' AS status, array(SELECT what FROM effect ORDER BY what);
SELECT * FROM steps(:run);
SELECT failed_steps FROM workflow.run_history WHERE run_id = :run;
SELECT try('SELECT workflow.restart_job(' || :run || ')');

--
-- from_step
--
CALL execute('rs_graph', '{d}') \gset
TRUNCATE effect;
CALL restart(:run, '{d}', from_step => 'b2') \gset
SELECT array(SELECT what FROM effect ORDER BY what);
SELECT * FROM steps(:run);
TRUNCATE effect;
CALL restart(:run, '{d}', from_step => 'a') \gset
SELECT array(SELECT what FROM effect ORDER BY what);
TRUNCATE effect;
CALL restart(:run, '{}', from_step => 'd') \gset
SELECT :'status' AS status, array(SELECT what FROM effect ORDER BY what);

--
-- With the repaired definition.  Steps match by name.
--
CALL execute('rs_chain', '{c}') \gset
SELECT workflow.define_package($$ {
  "name": "rs_chain",
  "steps": [
    {"name": "new", "command": "SELECT work()"},
    {"name": "c", "command": "SELECT work(' repaired')", "after": ["b"]},
    {"name": "b", "command": "SELECT work(' repaired')", "after": ["a"]},
    {"name": "a", "command": "SELECT work(' repaired')", "after": ["new"]}
  ]} $$);
CALL restart(:run, '{c}') \gset
SELECT :'status' AS status, done FROM done;
SELECT version FROM workflow.run_history WHERE run_id = :run;
CALL restart(:run, '{new}', true) \gset
SELECT :'status' AS status, done FROM done;
-- what is behind a new step that failed was committed all the same
SELECT * FROM steps(:run);
SELECT version FROM workflow.run_history WHERE run_id = :run;
CALL restart(:run) \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM steps(:run);

-- dropped, disabled and `finally` since
CALL execute('rs_chain', '{c}') \gset
SELECT workflow.define_package($$ {
  "name": "rs_chain",
  "steps": [
    {"name": "new", "command": "SELECT work()", "disabled": true},
    {"name": "c", "command": "SELECT work()", "after": ["new"]},
    {"name": "b", "command": "SELECT work()", "finally": "completion"}
  ]} $$);
CALL restart(:run, use_current_version => true) \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM steps(:run);

--
-- Conditions of steps taken over are not asked again, those of others are.
--
CREATE TABLE asked (step text);
CREATE FUNCTION ask(step text) RETURNS bool LANGUAGE sql AS 'INSERT INTO asked VALUES (step); SELECT step <> ''no''';
SELECT workflow.define_package($$ {
  "name": "rs_conditions", "max_concurrent_steps": 1,
  "steps": [
    {"name": "a", "command": "SELECT work()", "condition": "ask('a')"},
    {"name": "gate", "kind": "none", "condition": "ask('gate')", "after": ["a"]},
    {"name": "no", "command": "SELECT work()", "condition": "ask('no')", "after": ["a"]},
    {"name": "z", "command": "SELECT work()", "after": ["gate"]}
  ]} $$);
CALL execute('rs_conditions', '{z}') \gset
SELECT * FROM asked ORDER BY step;
TRUNCATE asked;
CALL restart(:run) \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM asked ORDER BY step;
SELECT * FROM steps(:run);

--
-- finally: each run has its own
--
SELECT workflow.define_package($$ {
  "name": "rs_finally",
  "steps": [
    {"name": "a", "command": "SELECT work()"},
    {"name": "b", "command": "SELECT work()", "after": ["a"]},
    {"name": "f failure", "finally": "failure", "command": "SELECT work()"},
    {"name": "f success", "finally": "success", "command": "SELECT work()"}
  ]} $$);
CALL execute('rs_finally', '{b}') \gset
CALL restart(:run, '{b}') \gset
SELECT * FROM steps(:run);
CALL restart(:run, '{"f success"}') \gset
SELECT :'status' AS status, done FROM done;
-- it failed itself, so there is something to do
CALL restart(:run) \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM steps(:run);

--
-- Variables
--
SELECT workflow.define_package($$ {
  "name": "rs_variables", "variables": {"given": 0, "set": 0, "result": 0, "later": 0, "old": 0}, "required_variables": ["given"],
  "steps": [
    {"name": "a", "command": "SELECT workflow.set_variable('set', 'by a')"},
    {"name": "b", "command": "SELECT workflow.set_variable('set', 'by b'); SELECT 42", "result_variable": "result", "after": ["a"]},
    {"name": "c", "command": "SELECT workflow.set_variable('later', 'by c'); SELECT work()", "after": ["b"]},
    {"name": "d", "command": "INSERT INTO effect (what) SELECT workflow.variables()::text", "after": ["c"]}
  ]} $$);
CALL execute('rs_variables', '{c}', '{"given": "at the start", "old": 1}') \gset
TRUNCATE effect;
CALL restart(:run, '{c}') \gset
SELECT variables FROM workflow.run_history WHERE run_id = :run;
CALL restart(:run, '{c}', variables => '{"set": "by hand", "old": null}') \gset
SELECT variables FROM workflow.run_history WHERE run_id = :run;
CALL restart(:run, '{c}', from_step => 'b') \gset
SELECT variables FROM workflow.run_history WHERE run_id = :run;
-- undeclared by now, or required
SELECT workflow.alter_package('rs_variables', variables => '{"given": 0, "set": 0, "result": 0, "later": 0, "new": 0}', required_variables => '{given,new}');
SELECT try(format('SELECT workflow.restart_job(%s, true)', :run));
SELECT try(format('SELECT workflow.restart_job(%s, true, %L)', :run, '{"old": 1}'));
SELECT try(format('SELECT workflow.restart_job(%s, false, %L)', :run, '{"new": 1}'));
SELECT try(format('SELECT workflow.restart_job(%s, false, %L)', :run, '[]'));
TRUNCATE effect;
CALL restart(:run, '{}', true, '{"new": 1}') \gset
SELECT :'status' AS status, done FROM done;

--
-- Child runs
--
SELECT workflow.define_package($$ {
  "name": "rs_grandchild", "variables": {"v": "default"},
  "steps": [
    {"name": "g1", "command": "SELECT work(); SELECT workflow.set_variable('v', workflow.variable('v') || ' g1')"},
    {"name": "g2", "command": "SELECT work(' ' || workflow.variable('v'))", "after": ["g1"]}
  ]} $$);
SELECT workflow.define_package($$ {
  "name": "rs_child", "variables": {"v": "default"},
  "steps": [
    {"name": "c1", "command": "SELECT work()"},
    {"name": "c2", "kind": "package", "command": "rs_grandchild", "after": ["c1"]},
    {"name": "c3", "command": "SELECT work()", "after": ["c2"]}
  ]} $$);
SELECT workflow.define_package($$ {
  "name": "rs_parent", "variables": {"v": "parent's"},
  "steps": [
    {"name": "p1", "command": "SELECT work()"},
    {"name": "p2", "kind": "package", "command": "rs_child", "after": ["p1"]},
    {"name": "p3", "command": "SELECT work()", "after": ["p2"]},
    {"name": "p4", "kind": "package", "command": "rs_grandchild", "after": ["p3"]}
  ]} $$);
CREATE FUNCTION tree(root bigint, OUT package text, OUT parent_step text, OUT status text, OUT is_restart bool, OUT version int)
RETURNS SETOF record LANGUAGE sql AS $$
	SELECT package, parent_step, status, restart_of IS NOT NULL, version FROM workflow.run_history WHERE root_run_id = root ORDER BY run_id
$$;
CALL execute('rs_parent', '{g2}') \gset
SELECT done FROM done;
SELECT run_id AS child FROM workflow.run_history WHERE parent_run_id = :run \gset
SELECT try('SELECT workflow.restart_job(' || :child || ')');
CALL restart(:run, '{c3}') \gset
SELECT * FROM tree(:run);
SELECT n.package, o.run_id = n.restart_of AS restart_of_the_same
FROM workflow.run_history AS n JOIN workflow.run_history AS o ON o.package = n.package AND o.root_run_id = (SELECT restart_of FROM workflow.run_history WHERE run_id = :run)
WHERE n.root_run_id = :run ORDER BY 1;
SELECT done FROM done;
CALL restart(:run, '{g2}') \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM tree(:run);
CALL restart(:run) \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM tree(:run);
SELECT step, status, reason FROM steps(:run);
-- from_step: the child from its beginning
CALL execute('rs_parent', '{g2}') \gset
TRUNCATE effect;
CALL restart(:run, '{}', from_step => 'p2') \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM tree(:run);
-- a value that is given now reaches the child, if none of its steps has set it
CALL execute('rs_parent', '{c2,g1}') \gset
CALL restart(:run, '{}', false, '{"v": "given"}') \gset
SELECT done FROM done;
-- A restart that did not come to the child; the next one goes on with it.
CALL execute('rs_parent', '{g2}') \gset
SELECT workflow.alter_package('rs_parent', max_concurrent_steps => 5);
SELECT workflow.add_step('rs_parent', 'p0', 'SELECT work()'), workflow.alter_step('rs_parent', 'p1', after => '{p0}');
CALL restart(:run, '{p0}', true) \gset
SELECT :'status' AS status, done FROM done;
SELECT workflow.drop_step('rs_parent', 'p2', true), workflow.drop_step('rs_parent', 'p0', true);
SELECT workflow.add_step('rs_parent', 'p2', 'rs_child', kind => 'package', after => '{p1}'), workflow.alter_step('rs_parent', 'p3', after => '{p2}');
CALL restart(:run, '{c3}', true) \gset
SELECT * FROM tree(:run);
-- use_current_version means the children's versions, too
SELECT workflow.alter_step('rs_grandchild', 'g2', 'SELECT work('' repaired'')'), workflow.alter_step('rs_child', 'c3', 'SELECT work('' repaired'')');
CALL restart(:run, '{c3}') \gset
SELECT :'status' AS status, done FROM done;
CALL restart(:run, '{}', true) \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM tree(:run);

--
-- Part of the transaction that calls it
--
CALL execute('rs_graph', '{d}') \gset
TRUNCATE broken;
BEGIN;
SELECT workflow.restart_job(:run) IS NOT NULL;
SELECT try('SELECT workflow.restart_job(' || :run || ')');
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT workflow.restart_job(:run) IS NOT NULL;
ROLLBACK TO s;
SELECT workflow.restart_job(:run) AS restart \gset
SELECT try('SELECT workflow.wait_for_job(' || :restart || ')');
SELECT status FROM workflow.run_history WHERE run_id = :restart;
COMMIT;
SELECT workflow.wait_for_job(:restart, '60s');
SELECT count(*) FROM workflow.run_history WHERE restart_of = :run;
-- a manual restart is not waited for by who waits for the first
SELECT workflow.wait_for_job(:run);

--
-- max_concurrent_runs
--
SELECT workflow.define_package($$ {
  "name": "rs_alone", "max_concurrent_runs": 1, "on_overlap": "reject", "variables": {"lock": null},
  "steps": [
    {"name": "a", "command": "SELECT work()"},
    {"name": "b", "command": "SELECT work(); SELECT pg_advisory_xact_lock_shared(workflow.variable('lock')::int)", "after": ["a"]}
  ]} $$);
CALL execute('rs_alone', '{b}', '{"lock": 4723}') \gset
TRUNCATE broken;
SELECT pg_advisory_lock(4722);
SELECT workflow.start_job('rs_alone', '{"lock": 4722}') AS other \gset
SELECT try('SELECT workflow.restart_job(' || :run || ')');
SELECT workflow.alter_package('rs_alone', on_overlap => 'skip');
SELECT workflow.restart_job(:run, true) AS skipped \gset
SELECT status, restart_of = :run AS restart_of FROM workflow.run_history WHERE run_id = :skipped;
SELECT try('SELECT workflow.restart_job(' || :skipped || ')');
SELECT workflow.alter_package('rs_alone', on_overlap => 'queue');
SELECT workflow.restart_job(:run, true) AS restart \gset
SELECT workflow.wait_for_job(:restart, '10ms');
SELECT pg_advisory_unlock(4722);
SELECT workflow.wait_for_job(:restart, '60s'), workflow.wait_for_job(:other, '60s');

--
-- Errors and rights
--
CALL execute('rs_lax') \gset
SELECT try('SELECT workflow.restart_job(' || :run || ')');
SELECT workflow.restart_job(NULL);
SELECT try('SELECT workflow.restart_job(-1)');
CALL execute('rs_lax', '{a}') \gset
SELECT try(format('SELECT workflow.restart_job(%s, from_step => %L)', :run, 'nobody'));
SELECT workflow.start_job('rs_chain', start_at => now() + '1 h') AS queued \gset
SELECT try('SELECT workflow.restart_job(' || :queued || ')');
SELECT workflow.pause_job(:queued);
SELECT try('SELECT workflow.restart_job(' || :queued || ')');
SELECT workflow.stop_job(:queued);
SELECT workflow.alter_package('rs_lax', enabled => false);
SELECT try('SELECT workflow.restart_job(' || :run || ')');
SELECT workflow.alter_package('rs_lax', enabled => true);
BEGIN READ ONLY;
SELECT try('SELECT workflow.restart_job(' || :run || ')');
ROLLBACK;
SELECT workflow.drop_package('rs_lax');
SELECT try('SELECT workflow.restart_job(' || :run || ')');

CREATE ROLE regress_workflow_owner LOGIN;
CREATE ROLE regress_workflow_starter;
CREATE ROLE regress_workflow_other;
GRANT USAGE ON SCHEMA workflow TO regress_workflow_owner, regress_workflow_starter, regress_workflow_other;
GRANT ALL ON effect, broken, effect_n_seq TO regress_workflow_owner;
GRANT SELECT ON effect, broken TO PUBLIC;
SET ROLE regress_workflow_owner;
SELECT workflow.define_package('{"name": "rs_owned", "steps": [{"name": "a", "command": "SELECT work()"}, {"name": "b", "command": "SELECT work()", "after": ["a"]}]}');
SELECT workflow.grant_start('rs_owned', 'public');
RESET ROLE;
INSERT INTO broken VALUES ('b');
SET ROLE regress_workflow_starter;
SELECT workflow.start_job('rs_owned') AS run \gset
SELECT workflow.start_job('rs_owned') AS second \gset
SELECT workflow.wait_for_job(:run, '60s'), workflow.wait_for_job(:second, '60s');
SET ROLE regress_workflow_other;
SELECT try('SELECT workflow.restart_job(' || :run || ')');
SET ROLE regress_workflow_starter;
SELECT workflow.restart_job(:run) AS restart \gset
SELECT workflow.wait_for_job(:restart, '60s');
SET ROLE regress_workflow_owner;
SELECT workflow.restart_job(:restart) AS restart \gset
SELECT workflow.wait_for_job(:restart, '60s');
SELECT requested_by, status FROM workflow.run_history WHERE package = 'rs_owned' ORDER BY run_id;
SELECT workflow.revoke_start('rs_owned', 'public');
SET ROLE regress_workflow_starter;
SELECT try('SELECT workflow.restart_job(' || :second || ')');
RESET ROLE;
-- a new owner does not execute what he has never seen
SELECT workflow.alter_step('rs_owned', 'b', 'SELECT work('' as '' || current_user)');
SELECT workflow.alter_package_owner('rs_owned', current_user);
TRUNCATE broken, effect;
SELECT try('SELECT workflow.restart_job(' || :second || ')');
CALL restart(:second, use_current_version => true) \gset
SELECT :'status' AS status, replace(done, current_user, 'new owner') FROM done;
SELECT workflow.drop_package('rs_owned');
REVOKE USAGE ON SCHEMA workflow FROM regress_workflow_owner, regress_workflow_starter, regress_workflow_other;
DROP OWNED BY regress_workflow_owner;
DROP ROLE regress_workflow_owner, regress_workflow_starter, regress_workflow_other;

--
-- max_attempts, retry_delay, retry_on
--
CREATE SEQUENCE tries;
CREATE FUNCTION fail_until(try int, code text DEFAULT 'WF001') RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	n int := nextval('tries');
BEGIN
	IF n < try THEN
		RAISE 'try % fails', n USING ERRCODE = code;
	END IF;
	PERFORM work(' ' || n);
END $$;
SELECT workflow.define_package($$ {
  "name": "rs_retried", "max_attempts": 4, "retry_delay": "10ms", "variables": {"set": null},
  "steps": [
    {"name": "a", "command": "SELECT work(); SELECT workflow.set_variable('set', 1)"},
    {"name": "b", "command": "SELECT fail_until(3)", "after": ["a"]},
    {"name": "c", "command": "SELECT work(' ' || workflow.variable('set'))", "after": ["b"]},
    {"name": "f", "finally": "completion", "command": "SELECT work(' ' || workflow.run_status())"}
  ]} $$);
SELECT max_attempts, retry_delay, retry_on FROM workflow.package WHERE name = 'rs_retried';
CALL execute('rs_retried') \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM chain(:run);
SELECT status FROM workflow.run_history WHERE run_id = :run;
SELECT start_at - o.finished_at AS delay FROM workflow.run AS r JOIN workflow.run_history AS o ON o.run_id = r.restart_of
WHERE o.run_id = :run;
SELECT try('SELECT workflow.restart_job(' || :run || ')');
SELECT workflow.stop_job(:run);
-- all attempts fail
SELECT setval('tries', 1, false);
SELECT workflow.alter_step('rs_retried', 'b', 'SELECT fail_until(9)');
CALL execute('rs_retried') \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM chain(:run);
-- then it can be restarted, and has as many attempts again
SELECT max(run_id) AS last FROM workflow.run_history WHERE package = 'rs_retried' \gset
CALL restart(:last) \gset
SELECT :'status' AS status FROM done;
SELECT * FROM chain(:last);
-- retry_on
SELECT workflow.alter_package('rs_retried', max_attempts => 3, retry_delay => '0', retry_on => '{40001,WF}');
SELECT setval('tries', 1, false);
SELECT workflow.alter_step('rs_retried', 'b', 'SELECT fail_until(9)');
CALL execute('rs_retried') \gset
SELECT * FROM chain(:run);
SELECT workflow.alter_step('rs_retried', 'b', 'SELECT fail_until(99, ''40001'')');
CALL execute('rs_retried') \gset
SELECT * FROM chain(:run);
SELECT workflow.alter_step('rs_retried', 'b', 'SELECT fail_until(99, ''40P01'')');
CALL execute('rs_retried') \gset
SELECT * FROM chain(:run);
-- by the time-out of the package
SELECT workflow.define_package($$ {
  "name": "rs_too_long", "max_attempts": 2, "retry_delay": "0", "timeout": "50ms", "retry_on": ["57014"],
  "steps": [{"name": "a", "command": "SELECT work()"}, {"name": "b", "command": "SELECT pg_sleep(3600)", "after": ["a"]}]} $$);
CALL execute('rs_too_long') \gset
SELECT * FROM chain(:run);

-- One that was stopped is not tried again, and a stop in the delay ends it.
SELECT workflow.define_package($$ {
  "name": "rs_slow_retry", "max_attempts": 9, "retry_delay": "1h",
  "steps": [{"name": "a", "command": "SELECT work()"}, {"name": "b", "command": "SELECT work()", "after": ["a"]}]} $$);
TRUNCATE effect, broken;
INSERT INTO broken VALUES ('b');
SELECT workflow.start_job('rs_slow_retry', request_key => 'once') AS run \gset
CALL await(format('EXISTS (SELECT FROM workflow.run_history WHERE restart_of = %s)', :run));
SELECT workflow.wait_for_job(:run, '10ms');
SELECT package, state, wait FROM workflow.activity;
SELECT * FROM chain(:run);
SELECT workflow.start_job('rs_slow_retry', request_key => 'once') = :run AS same_run;
SELECT request_key IS NULL AS no_key FROM workflow.run_history WHERE restart_of = :run;
SELECT workflow.pause_job(:run);
SELECT * FROM chain(:run);
SELECT workflow.resume_job(:run);
SELECT * FROM chain(:run);
SELECT workflow.stop_job(:run, 'enough');
SELECT workflow.wait_for_job(:run);
SELECT * FROM chain(:run);
SELECT stop_reason FROM workflow.run_history WHERE restart_of = :run;
SELECT * FROM steps((SELECT run_id FROM workflow.run_history WHERE restart_of = :run));
-- restarted in turn
SELECT run_id AS run FROM workflow.run_history WHERE restart_of = :run \gset
CALL restart(:run) \gset
SELECT :'status' AS status, done FROM done;

-- Paused while the step that fails is executed: so is the next attempt.
SELECT workflow.define_package($$ {
  "name": "rs_paused", "max_attempts": 2, "retry_delay": "1ms",
  "steps": [{"name": "a", "command": "SELECT work()"}, {"name": "b", "command": "SELECT pg_advisory_xact_lock_shared(4724); SELECT work()", "after": ["a"]}]} $$);
TRUNCATE effect, broken;
INSERT INTO broken VALUES ('b');
SELECT pg_advisory_lock(4724);
SELECT workflow.start_job('rs_paused') AS run \gset
CALL await(format('status = ''running'' FROM workflow.step_history WHERE run_id = %s AND step = ''b''', :run));
SELECT workflow.pause_job(:run);
SELECT pg_advisory_unlock(4724);
CALL await(format('EXISTS (SELECT FROM workflow.run WHERE restart_of = %s AND start_at < clock_timestamp())', :run));
TRUNCATE broken;
SELECT workflow.start_job('rs_graph') AS other \gset
SELECT workflow.wait_for_job(:other, '60s');
SELECT * FROM chain(:run);
SELECT workflow.resume_job(:run);
SELECT workflow.wait_for_job(:run, '60s');
SELECT * FROM chain(:run);

-- Child runs: the package step follows to the last attempt.
SELECT workflow.define_package($$ {
  "name": "rs_retried_child", "max_attempts": 3, "retry_delay": "10ms",
  "steps": [{"name": "c1", "command": "SELECT work()"}, {"name": "c2", "command": "SELECT fail_until(3)", "after": ["c1"]}]} $$);
SELECT workflow.define_package($$ {
  "name": "rs_retried_parent", "fail_on_first_error": false,
  "steps": [
    {"name": "p", "kind": "package", "command": "rs_retried_child"},
    {"name": "q", "command": "SELECT work()", "after": ["p"]},
    {"name": "r", "command": "SELECT work()", "after": [{"step": "p", "on": "failure"}]}
  ]} $$);
SELECT setval('tries', 1, false);
CALL execute('rs_retried_parent') \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM tree(:run);
SELECT step, attempt, status FROM steps(:run);
SELECT s.started_at <= min(c.started_at) AS from_the_first, s.finished_at >= max(c.finished_at) AS to_the_last
FROM workflow.step_history AS s JOIN workflow.run_history AS c ON c.parent_run_id = s.run_id
WHERE s.run_id = :run AND s.step = 'p' GROUP BY s.started_at, s.finished_at;
-- who waits for the first one
SELECT min(run_id) AS child FROM workflow.run_history WHERE parent_run_id = :run \gset
SELECT workflow.wait_for_job(:child);
-- without a delay, and all of them fail; the step has attempts of its own
SELECT workflow.alter_package('rs_retried_child', retry_delay => '0', max_attempts => 2), workflow.alter_step('rs_retried_parent', 'p', max_attempts => 2, retry_delay => '0');
SELECT setval('tries', 1, false);
SELECT workflow.alter_step('rs_retried_child', 'c2', 'SELECT fail_until(99)');
CALL execute('rs_retried_parent') \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM tree(:run);
SELECT step, attempt, status FROM steps(:run);
-- a restart goes on with the last one
SELECT setval('tries', 100);
CALL restart(:run) \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM tree(:run);
-- stopped in the delay: the parent, or only the child
SELECT workflow.alter_package('rs_retried_child', retry_delay => '1 h'), workflow.alter_step('rs_retried_parent', 'p', max_attempts => 1);
SELECT workflow.alter_step('rs_retried_child', 'c2', 'SELECT fail_until(999)');
TRUNCATE effect, broken;
SELECT workflow.start_job('rs_retried_parent') AS run \gset
CALL await(format('count(*) = 2 FROM workflow.run_history WHERE parent_run_id = %s', :run));
SELECT package, step, state, regexp_replace(wait, '\d+', 'N') AS wait FROM workflow.activity ORDER BY package;
SELECT workflow.stop_job(:run);
SELECT workflow.wait_for_job(:run);
SELECT * FROM tree(:run);
SELECT step, attempt, status FROM steps(:run);
SELECT workflow.start_job('rs_retried_parent') AS run \gset
CALL await(format('count(*) = 2 FROM workflow.run_history WHERE parent_run_id = %s', :run));
SELECT min(run_id) AS child FROM workflow.run_history WHERE parent_run_id = :run \gset
SELECT workflow.pause_job(:child);
SELECT * FROM tree(:run);
SELECT workflow.resume_job(:child);
SELECT workflow.stop_job(:child);
SELECT workflow.wait_for_job(:run, '60s');
SELECT * FROM tree(:run);
SELECT step, attempt, status, reason FROM steps(:run);
SELECT sqlstate, message FROM workflow.step_history WHERE run_id = :run AND step = 'p';
-- the time of the parent is over in the delay
SELECT workflow.alter_package('rs_retried_parent', timeout => '2s');
CALL execute('rs_retried_parent') \gset
SELECT * FROM tree(:run);
-- Paused while the child is at its first attempt: that ends, and the next one
-- waits for the end of the pause.
SELECT workflow.alter_package('rs_retried_parent', reset => '{timeout}'), workflow.alter_package('rs_retried_child', retry_delay => '1ms');
SELECT workflow.alter_step('rs_retried_child', 'c2', 'SELECT pg_advisory_xact_lock_shared(4724); SELECT fail_until(2)');
SELECT setval('tries', 1, false);
SELECT pg_advisory_lock(4724);
SELECT workflow.start_job('rs_retried_parent') AS run \gset
CALL await(format('status = ''running'' FROM workflow.step_history WHERE root_run_id = %s AND step = ''c2''', :run));
SELECT workflow.pause_job(:run);
SELECT pg_advisory_unlock(4724);
CALL await(format('EXISTS (SELECT FROM workflow.run WHERE parent_run_id = %s AND attempt = 2 AND start_at < clock_timestamp())', :run));
CALL execute('rs_graph') \gset ignored_
SELECT * FROM tree(:run);
SELECT workflow.resume_job(:run);
SELECT workflow.wait_for_job(:run, '60s');
SELECT * FROM tree(:run);

-- The time of the step covers all attempts of its child run, and the delays.
SELECT workflow.alter_step('rs_retried_child', 'c2', 'SELECT fail_until(999)'), workflow.alter_package('rs_retried_child', retry_delay => '1 h');
SELECT workflow.alter_step('rs_retried_parent', 'p', timeout => '2s');
CALL execute('rs_retried_parent') \gset
SELECT * FROM tree(:run);
SELECT step, attempt, status, sqlstate, message FROM workflow.step_history WHERE run_id = :run AND step = 'p';

--
-- Package transactions: the unit is the transaction.  What joined one that was
-- rolled back is executed again; what committed by itself is not, also behind
-- it.
--
CREATE FUNCTION transactions(run bigint, OUT number int, OUT status "char", OUT steps int)
RETURNS SETOF record LANGUAGE sql AS $$
	SELECT number, status, steps FROM workflow.transaction_outcome WHERE run_id = run ORDER BY number
$$;
SELECT workflow.define_package($$ {
  "name": "rs_joined", "variables": {"by_b": "nobody", "by_c": "nobody"},
  "steps": [
    {"name": "a", "command": "SELECT work()"},
    {"name": "b", "command": "SELECT work(); SELECT workflow.set_variable('by_b', workflow.run_id())", "after": ["a"], "join_transaction": true},
    {"name": "c", "command": "SELECT work(); SELECT workflow.set_variable('by_c', workflow.run_id())", "after": ["b"]},
    {"name": "d", "command": "SELECT work()", "after": ["c"], "join_transaction": true},
    {"name": "e", "command": "SELECT work()", "after": ["d"]}
  ]} $$);
CALL execute('rs_joined', '{d}') \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM transactions(:run);
SELECT :run AS first \gset
CALL restart(:run, '{e}') \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM steps(:run);
SELECT * FROM transactions(:run);
SELECT variables ->> 'by_b' = :'run' AS set_by_b, variables ->> 'by_c' = :'first' AS set_by_c FROM workflow.run_history WHERE run_id = :run;
-- what is taken over twice still belongs to the transaction that committed it
CALL restart(:run) \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM steps(:run);
SELECT * FROM transactions(:run);

-- a run with two transactions, of which the first was committed, by one worker
SELECT workflow.define_package($$ {
  "name": "rs_two",
  "steps": [
    {"name": "a", "command": "SELECT work()", "join_transaction": true},
    {"name": "b", "command": "SELECT work()", "after": ["a"], "join_transaction": true, "commit_on_success": true},
    {"name": "c", "command": "SELECT work()", "after": ["b"], "join_transaction": true},
    {"name": "d", "command": "SELECT work()", "after": ["c"], "join_transaction": true, "commit_on_success": true},
    {"name": "e", "command": "SELECT work()", "after": ["d"], "join_transaction": true}
  ]} $$);
CALL execute('rs_two', '{d}') \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM transactions(:run);
CALL restart(:run, '{e}') \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM transactions(:run);
CALL restart(:run) \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM steps(:run);
SELECT * FROM transactions(:run);

-- A step that does not join, on a connection that is enlisted, works in the
-- transaction; before that it does not.  One worker again.
SELECT workflow.define_package($$ {
  "name": "rs_enlisted", "connections": [{"name": "k"}],
  "steps": [
    {"name": "a", "command": "SELECT work()", "connection": "k"},
    {"name": "b", "command": "SELECT work()", "connection": "k", "after": ["a"]},
    {"name": "c", "command": "SELECT work()", "connection": "k", "after": ["b"], "join_transaction": true},
    {"name": "d", "command": "SELECT work()", "connection": "k", "after": ["c"]},
    {"name": "e", "command": "SELECT work()", "connection": "k", "after": ["d"], "join_transaction": true}
  ]} $$);
CALL execute('rs_enlisted', '{b}') \gset
SELECT :'status' AS status, done FROM done;
CALL restart(:run, '{e}') \gset
SELECT :'status' AS status, done FROM done;
CALL restart(:run) \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM steps(:run);

-- A transaction that was committed although a step of it failed.
SELECT workflow.alter_package('rs_joined', fail_on_first_error => false);
CALL execute('rs_joined', '{d}') \gset
SELECT :'status' AS status, done FROM done;
CALL restart(:run) \gset
SELECT :'status' AS status, done FROM done;

-- A child run that inherits: its steps share the fate of the owner's
-- transaction, and so does its package step.  It is restarted, too.
SELECT workflow.define_package($$ {
  "name": "rs_heir",
  "steps": [
    {"name": "c1", "command": "SELECT work()", "join_transaction": true},
    {"name": "c2", "command": "SELECT work()", "after": ["c1"]},
    {"name": "c3", "command": "SELECT work()", "after": ["c2"], "join_transaction": true}
  ]} $$);
SELECT workflow.define_package($$ {
  "name": "rs_owner",
  "steps": [
    {"name": "p", "kind": "package", "command": "rs_heir", "join_transaction": true},
    {"name": "q", "command": "SELECT work()", "after": ["p"], "join_transaction": true},
    {"name": "r", "command": "SELECT work()", "after": ["q"]}
  ]} $$);
CALL execute('rs_owner', '{q}') \gset
SELECT :'status' AS status, done FROM done;
SELECT step, status FROM steps(:run);
CALL restart(:run, '{r}') \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM tree(:run);
SELECT s.* FROM workflow.run_history AS r, steps(r.run_id) AS s WHERE r.parent_run_id = :run;
SELECT * FROM transactions(:run);
CALL restart(:run) \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM tree(:run);
-- the child has failed, and the owner has committed
SELECT workflow.alter_package('rs_owner', fail_on_first_error => false);
CALL execute('rs_owner', '{c3}') \gset
SELECT :'status' AS status, done FROM done;
CALL restart(:run) \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM tree(:run);
-- a child that joins nothing, in a step that does
SELECT workflow.alter_package('rs_owner', fail_on_first_error => true), workflow.alter_package('rs_heir', use_transactions => false);
CALL execute('rs_owner', '{q}') \gset
SELECT :'status' AS status, done FROM done;
CALL restart(:run) \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM tree(:run);

-- max_attempts: of the owner, whose whole transaction is repeated; that of a
-- package that inherits is of no effect.
SELECT workflow.alter_package('rs_heir', use_transactions => true, max_attempts => 3, retry_delay => '10ms'),
	workflow.alter_step('rs_heir', 'c3', 'SELECT fail_until(3)');
SELECT setval('tries', 1, false);
CALL execute('rs_owner') \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM tree(:run);
SELECT setval('tries', 1, false);
SELECT workflow.alter_package('rs_owner', max_attempts => 3, retry_delay => '10ms');
CALL execute('rs_owner') \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM chain(:run);
SELECT c.attempt, c.status FROM workflow.run_history AS c WHERE c.package = 'rs_heir' AND c.run_id > :run ORDER BY c.run_id;
-- the package step has attempts, and each of them is in the same transaction
SELECT setval('tries', 1, false);
SELECT workflow.alter_package('rs_owner', max_attempts => 1), workflow.alter_step('rs_owner', 'p', max_attempts => 3, retry_delay => '10ms');
CALL execute('rs_owner') \gset
SELECT :'status' AS status, done FROM done;
SELECT * FROM tree(:run);
SELECT * FROM transactions(:run);

DROP FUNCTION tree, chain, steps, try, ask, fail_until, transactions;
DROP PROCEDURE restart, execute, await;
DROP VIEW done;
DROP TABLE effect, broken, asked;
DROP FUNCTION work;
DROP SEQUENCE tries;
