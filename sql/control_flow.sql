-- Which steps of a run are executed, when, how often, and what comes of it.

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir /test/helpers.sql
\i :helpers

CREATE TABLE effect (what text);
CREATE SEQUENCE tries;

-- in a step: fail the first so many times
CREATE FUNCTION fail_until(try int, code text DEFAULT 'WF001') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	i int := nextval('tries');
BEGIN
	IF i < try THEN
		RAISE 'try %', i USING ERRCODE = code;
	END IF;
	RETURN 'try ' || i;
END $$;

--
-- Conditions
--
SELECT workflow.define_package($$ {
  "name": "cond", "fail_on_first_error": false, "variables": {"day": "2024-02-29", "go": true},
  "steps": [
    {"name": "true", "command": "INSERT INTO effect VALUES ('true')", "condition": "true"},
    {"name": "false", "command": "INSERT INTO effect VALUES ('false')", "condition": "1 = 0"},
    {"name": "variable", "command": "INSERT INTO effect VALUES ('variable')",
     "condition": "workflow.variable('day')::date = '2024-02-29' AND workflow.variable('go')::bool"},
    {"name": "names", "command": "INSERT INTO effect VALUES ('names')",
     "condition": "workflow.step_name() = 'names' AND workflow.run_id() > 0"},
    {"name": "subquery", "kind": "none", "condition": "(SELECT count(*) = 0 FROM pg_class WHERE relname = 'nobody')"},
    {"name": "comment", "kind": "none", "condition": "true -- that is all"},
    {"name": "none", "kind": "none", "condition": "false"},
    {"name": "child", "kind": "package", "command": "cond_child", "condition": "false"},
    {"name": "disabled", "kind": "none", "condition": "1 / 0 = 0", "disabled": true},
    {"name": "not reached", "kind": "none", "condition": "1 / 0 = 0", "after": ["false"]},
    {"name": "error", "command": "INSERT INTO effect VALUES ('error')", "condition": "1 / 0 = 0"},
    {"name": "number", "command": "INSERT INTO effect VALUES ('number')", "condition": "1"},
    {"name": "text", "command": "INSERT INTO effect VALUES ('text')", "condition": "'maybe'::text"},
    {"name": "rows", "command": "INSERT INTO effect VALUES ('rows')", "condition": "(SELECT true FROM generate_series(1, 2))"},
    {"name": "undeclared", "command": "INSERT INTO effect VALUES ('undeclared')", "condition": "workflow.variable('night') = ''"},
    {"name": "after true", "kind": "none", "after": ["true"]},
    {"name": "after false", "kind": "none", "after": ["false"]},
    {"name": "on failure of false", "kind": "none", "after": [{"step": "false", "on": "failure"}]},
    {"name": "on completion of false", "kind": "none", "after": [{"step": "false", "on": "completion"}]},
    {"name": "cascade", "kind": "none", "after": [{"step": "on completion of false", "on": "completion"}]},
    {"name": "any", "kind": "none", "after": ["false", "true"], "precedence": "any"},
    {"name": "not any", "kind": "none", "after": ["false", "none"], "precedence": "any"},
    {"name": "all", "kind": "none", "after": ["false", "true"]},
    {"name": "on failure of error", "command": "INSERT INTO effect VALUES ('on failure of error')", "after": [{"step": "error", "on": "failure"}]},
    {"name": "on completion of error", "kind": "none", "after": [{"step": "error", "on": "completion"}]},
    {"name": "on success of error", "kind": "none", "after": ["error"]}
  ]} $$);
SELECT workflow.define_package('{"name": "cond_child", "steps": [{"name": "a", "command": "INSERT INTO effect VALUES (''child'')"}]}');
CALL execute('cond');
SELECT status, failed_steps, error_path, sqlstate, message FROM last_run WHERE package = 'cond';
SELECT step, attempt, status, reason, sqlstate, message FROM last_step WHERE package = 'cond' ORDER BY step COLLATE "C";
SELECT count(*) FROM last_run WHERE package = 'cond_child';
SELECT * FROM effect ORDER BY what;
TRUNCATE effect;

-- With fail_on_first_error, one that raises an error fails the run.
SELECT workflow.define_package($$ {
  "name": "cond_error", "max_concurrent_steps": 1,
  "steps": [
    {"name": "bad", "kind": "none", "condition": "1 / 0 = 0"},
    {"name": "next", "kind": "none", "after": [{"step": "bad", "on": "failure"}]}
  ]} $$);
CALL execute('cond_error');
SELECT status, failed_steps, error_path, sqlstate, message FROM last_run WHERE package = 'cond_error';
SELECT step, status, reason FROM last_step WHERE package = 'cond_error' ORDER BY step;

-- Null: asked again.  Meanwhile the step holds neither its connection nor a
-- place among max_concurrent_steps.
SELECT workflow.define_package($$ {
  "name": "cond_null", "max_concurrent_steps": 1, "connections": [{"name": "c"}],
  "steps": [
    {"name": "asks", "command": "INSERT INTO effect VALUES ('asks')", "connection": "c", "priority": 10,
     "condition": "CASE WHEN EXISTS (SELECT FROM effect) THEN true END", "condition_interval": "10ms"},
    {"name": "asks and skips", "command": "INSERT INTO effect VALUES ('asks and skips')", "priority": 10,
     "condition": "CASE WHEN EXISTS (SELECT FROM effect) THEN false END", "condition_interval": "10ms"},
    {"name": "goes on", "command": "INSERT INTO effect VALUES ('goes on')", "connection": "c"}
  ]} $$);
CALL execute('cond_null');
SELECT status, failed_steps FROM last_run WHERE package = 'cond_null';
SELECT step, attempt, status, reason FROM last_step WHERE package = 'cond_null' ORDER BY step;
SELECT a.started_at >= b.finished_at AS asked_until_then FROM last_step AS a, last_step AS b
WHERE (a.package, a.step, b.package, b.step) = ('cond_null', 'asks', 'cond_null', 'goes on');
SELECT * FROM effect ORDER BY what;
TRUNCATE effect;

-- the interval
SELECT workflow.define_package($$ {
  "name": "cond_interval",
  "steps": [{"name": "a", "kind": "none", "condition": "nullif(nextval('tries') >= 3, false)", "condition_interval": "200ms"}]} $$);
CALL execute('cond_interval');
SELECT status, finished_at - started_at >= '400ms' AS waited_twice FROM last_run WHERE package = 'cond_interval';
SELECT nextval('tries') AS tries, setval('tries', 1, false);

-- one that is null for ever: the run waits, and can be stopped
SELECT workflow.define_package($$ {
  "name": "cond_for_ever",
  "steps": [
    {"name": "a", "kind": "none", "condition": "NULL", "condition_interval": "10ms"},
    {"name": "b", "kind": "none", "after": ["a"]}
  ]} $$);
SELECT workflow.start_job('cond_for_ever') AS run \gset
CALL await($$ EXISTS (SELECT FROM workflow.activity WHERE package = 'cond_for_ever' AND wait = 'condition') $$);
SELECT step, state, wait, pid FROM workflow.activity WHERE package = 'cond_for_ever' AND step IS NOT NULL;
SELECT step, status, attempt, started_at FROM last_step WHERE package = 'cond_for_ever' ORDER BY step;
SELECT workflow.stop_job(:run);
SELECT step, attempt, status, reason FROM last_step WHERE package = 'cond_for_ever' ORDER BY step;

-- A condition is asked once the constraints hold, not before.
SELECT workflow.define_package($$ {
  "name": "cond_after",
  "steps": [
    {"name": "first", "command": "INSERT INTO effect VALUES ('first')"},
    {"name": "second", "command": "INSERT INTO effect VALUES ('second')", "after": ["first"], "condition": "(SELECT count(*) = 1 FROM effect)"}
  ]} $$);
CALL execute('cond_after');
SELECT * FROM effect ORDER BY what;
TRUNCATE effect;

-- what is no expression
SELECT workflow.define_package('{"name": "err", "steps": [{"name": "a", "kind": "none", "condition": "1 +"}]}');
\set VERBOSITY terse
SELECT workflow.define_package('{"name": "err", "steps": [{"name": "a", "kind": "none", "condition": ""}]}');
SELECT workflow.define_package('{"name": "err", "steps": [{"name": "a", "kind": "none", "condition": "true; DROP TABLE effect"}]}');
SELECT workflow.define_package('{"name": "err", "steps": [{"name": "a", "kind": "none", "condition": "true) FROM effect; --"}]}');
SELECT workflow.define_package('{"name": "err", "steps": [{"name": "a", "kind": "none", "condition": "SELECT true"}]}');
SELECT workflow.define_package('{"name": "err", "steps": [{"name": "a", "kind": "none", "condition": "true", "condition_interval": "0"}]}');
\set VERBOSITY default

--
-- precedence: any.  It starts with the first constraint that holds, and only
-- once; it is skipped when none can hold any more.
--
SELECT workflow.define_package($$ {
  "name": "any", "fail_on_first_error": false,
  "steps": [
    {"name": "quick", "command": "INSERT INTO effect VALUES ('quick')"},
    {"name": "slow", "command": "DO 'BEGIN FOR i IN 1 .. 6000 LOOP EXIT WHEN EXISTS (SELECT FROM effect WHERE what = ''any''); PERFORM pg_sleep(0.01); END LOOP; ASSERT EXISTS (SELECT FROM effect WHERE what = ''any''); END'"},
    {"name": "any", "command": "INSERT INTO effect VALUES ('any')", "after": ["quick", "slow"], "precedence": "any"},
    {"name": "bad", "command": "SELECT 1 / 0"},
    {"name": "late", "kind": "none", "after": ["bad", {"step": "slow", "on": "failure"}], "precedence": "any"},
    {"name": "mixed", "kind": "none", "after": ["bad", {"step": "slow", "on": "completion"}], "precedence": "any"},
    {"name": "one is enough", "kind": "none", "after": [{"step": "bad", "on": "failure"}, "slow"], "precedence": "all"}
  ]} $$);
CALL execute('any');
SELECT status, failed_steps FROM last_run WHERE package = 'any';
SELECT step, status, reason FROM last_step WHERE package = 'any' ORDER BY step;
SELECT * FROM effect ORDER BY what;
TRUNCATE effect;

--
-- max_concurrent_steps and main_thread: who finds the lock taken fails
--
CREATE FUNCTION alone() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF NOT pg_try_advisory_xact_lock(4712) THEN
		RAISE 'not alone';
	END IF;
	PERFORM pg_sleep(0.05);
END $$;
CREATE FUNCTION await_effect(wanted text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 6000 LOOP
		IF EXISTS (SELECT FROM effect WHERE what = wanted) THEN
			RETURN;
		END IF;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RAISE '% did not come', wanted;
END $$;
SELECT workflow.define_package($$ {
  "name": "one_at_a_time", "max_concurrent_steps": 1, "fail_on_first_error": false,
  "steps": [
    {"name": "a", "command": "SELECT alone()"}, {"name": "b", "command": "SELECT alone()"},
    {"name": "c", "command": "SELECT alone()"}, {"name": "d", "command": "SELECT alone()"}
  ]} $$);
CALL execute('one_at_a_time');
SELECT status, failed_steps FROM last_run WHERE package = 'one_at_a_time';
-- two at a time: two are there together, and never three
SELECT workflow.define_package($$ {
  "name": "two_at_a_time", "max_concurrent_steps": 2, "fail_on_first_error": false,
  "steps": [
    {"name": "a", "command": "SELECT await_effect('b')"}, {"name": "b", "command": "INSERT INTO effect VALUES ('b')"},
    {"name": "c", "command": "SELECT pg_sleep(0.05)"}, {"name": "d", "command": "SELECT pg_sleep(0.05)"},
    {"name": "e", "command": "SELECT pg_sleep(0.05)"}, {"name": "f", "command": "SELECT pg_sleep(0.05)"}
  ]} $$);
CALL execute('two_at_a_time');
SELECT status, failed_steps FROM last_run WHERE package = 'two_at_a_time';
SELECT max((SELECT count(*) FROM last_step AS b WHERE b.package = a.package
			AND b.started_at <= a.started_at AND b.finished_at > a.started_at)) AS at_a_time
FROM last_step AS a WHERE package = 'two_at_a_time';
TRUNCATE effect;
-- Package steps count, too; a child has its own limit.
SELECT workflow.define_package($$ {
  "name": "slots_child", "max_concurrent_steps": 2,
  "steps": [{"name": "a", "command": "SELECT await_effect('b')"}, {"name": "b", "command": "INSERT INTO effect VALUES ('b')"}]} $$);
SELECT workflow.define_package($$ {
  "name": "slots", "max_concurrent_steps": 1,
  "steps": [
    {"name": "child", "kind": "package", "command": "slots_child", "priority": 1},
    {"name": "next", "command": "INSERT INTO effect VALUES ('next')"}
  ]} $$);
CALL execute('slots');
SELECT package, status, failed_steps FROM last_run WHERE package LIKE 'slots%' ORDER BY package;
SELECT n.started_at >= c.finished_at AS one_after_the_other FROM last_step AS n, last_step AS c
WHERE (n.package, n.step, c.package, c.step) = ('slots', 'next', 'slots', 'child');
TRUNCATE effect;
-- Steps of the main thread never overlap one another; they overlap others.
SELECT workflow.define_package($$ {
  "name": "main", "max_concurrent_steps": 6, "fail_on_first_error": false,
  "steps": [
    {"name": "m1", "command": "SELECT alone()", "main_thread": true},
    {"name": "m2", "command": "SELECT alone()", "main_thread": true},
    {"name": "m3", "command": "SELECT alone(), await_effect('other')", "main_thread": true},
    {"name": "m4", "command": "SELECT alone()", "main_thread": true, "after": ["m1"]},
    {"name": "other", "command": "SELECT alone() WHERE false; INSERT INTO effect VALUES ('other')", "after": ["waits"]},
    {"name": "waits", "command": "SELECT pg_sleep(0.1)"}
  ]} $$);
CALL execute('main');
SELECT status, failed_steps FROM last_run WHERE package = 'main';
SELECT step, status, message FROM last_step WHERE package = 'main' ORDER BY step;
TRUNCATE effect;
-- Parent and child do not count against each other.
SELECT workflow.define_package($$ {
  "name": "main_parent",
  "steps": [
    {"name": "child", "kind": "package", "command": "main_child"},
    {"name": "m", "command": "SELECT await_effect('child')", "main_thread": true}
  ]} $$);
SELECT workflow.define_package($$ {
  "name": "main_child",
  "steps": [{"name": "m", "command": "INSERT INTO effect VALUES ('child')", "main_thread": true}]} $$);
CALL execute('main_parent');
TRUNCATE effect;
-- What the main thread waits for is shown.
SELECT workflow.define_package($$ {
  "name": "main_wait",
  "steps": [
    {"name": "m1", "command": "SELECT await_effect('go')", "main_thread": true, "priority": 1},
    {"name": "m2", "command": "SELECT 1", "main_thread": true}
  ]} $$);
SELECT workflow.start_job('main_wait') AS run \gset
CALL await($$ EXISTS (SELECT FROM workflow.activity WHERE package = 'main_wait' AND wait = 'main thread') $$);
SELECT step, state, wait, pid IS NOT NULL AS has_pid FROM workflow.activity WHERE package = 'main_wait' ORDER BY step;
INSERT INTO effect VALUES ('go');
SELECT workflow.wait_for_job(:run, '60s');
TRUNCATE effect;

--
-- fail_on_first_error and fail_package_on_error
--
SELECT workflow.define_package($$ {
  "name": "fail_step", "fail_on_first_error": false, "max_concurrent_steps": 2,
  "steps": [
    {"name": "harmless", "command": "SELECT 1 / 0", "priority": 2},
    {"name": "goes on", "command": "INSERT INTO effect VALUES ('goes on')", "after": [{"step": "harmless", "on": "failure"}], "priority": 2},
    {"name": "fatal", "command": "DO $do$ BEGIN RAISE 'fatal' USING ERRCODE = 'WF002'; END $do$", "after": ["goes on"], "fail_package_on_error": true},
    {"name": "runs", "command": "SELECT await_effect('fatal'); INSERT INTO effect VALUES ('runs')", "after": ["goes on"]},
    {"name": "on failure", "kind": "none", "after": [{"step": "fatal", "on": "failure"}]},
    {"name": "on completion", "kind": "none", "after": [{"step": "fatal", "on": "completion"}]},
    {"name": "on success", "kind": "none", "after": ["fatal"]},
    {"name": "after runs", "kind": "none", "after": ["runs"]},
    {"name": "on failure of runs", "kind": "none", "after": [{"step": "runs", "on": "failure"}]}
  ]} $$);
SELECT workflow.start_job('fail_step') AS run \gset
CALL await(format($$ (SELECT sqlstate = 'WF002' FROM workflow.run_history WHERE run_id = %s) $$, :run));
-- The error shows while the run still ends its running steps.
SELECT status, failed_steps, error_path, sqlstate, message FROM last_run WHERE package = 'fail_step';
INSERT INTO effect VALUES ('fatal');
SELECT workflow.wait_for_job(:run, '60s');
SELECT status, failed_steps, error_path, sqlstate, message FROM last_run WHERE package = 'fail_step';
SELECT step, status, reason FROM last_step WHERE package = 'fail_step' ORDER BY step;
SELECT * FROM effect ORDER BY what;
TRUNCATE effect;

-- A failure never cancels what runs; the error is that of the first failure.
SELECT workflow.define_package($$ {
  "name": "fail_second",
  "steps": [
    {"name": "first", "command": "INSERT INTO effect VALUES ('first'); SELECT await_effect('second runs'); SELECT 1 / 0"},
    {"name": "second", "command": "SELECT await_effect('first failed'); DO $do$ BEGIN RAISE 'second' USING ERRCODE = 'WF002'; END $do$"},
    {"name": "third", "command": "SELECT await_effect('first failed'); INSERT INTO effect VALUES ('third')"}
  ]} $$);
SELECT workflow.start_job('fail_second') AS run \gset
CALL await(format($$ (SELECT count(*) = 3 FROM workflow.step_history WHERE run_id = %s AND status = 'running') $$, :run));
INSERT INTO effect VALUES ('second runs');
CALL await(format($$ (SELECT failed_steps = 1 FROM workflow.run_history WHERE run_id = %s) $$, :run));
INSERT INTO effect VALUES ('first failed');
SELECT workflow.wait_for_job(:run, '60s');
SELECT status, failed_steps, error_path, sqlstate FROM last_run WHERE package = 'fail_second';
SELECT step, status, sqlstate FROM last_step WHERE package = 'fail_second' ORDER BY step;
SELECT * FROM effect ORDER BY what;
TRUNCATE effect;

-- a package step that fails, of a parent that goes on
SELECT workflow.define_package($$ {
  "name": "fail_child_flag", "fail_on_first_error": false,
  "steps": [
    {"name": "child", "kind": "package", "command": "cond_error", "fail_package_on_error": true},
    {"name": "after", "kind": "none", "after": [{"step": "child", "on": "completion"}]}
  ]} $$);
CALL execute('fail_child_flag');
SELECT status, failed_steps, error_path, sqlstate, message FROM last_run WHERE package = 'fail_child_flag';

--
-- finally
--
CREATE TABLE told (package text, step text, status text, path text, sqlstate text, message text);
SELECT workflow.define_package(jsonb_build_object('name', 'finally_' || name, 'fail_on_first_error', name <> 'lax', 'timeout', timeout,
	'steps', steps || jsonb_agg(jsonb_build_object('name', 'finally ' || f, 'finally', f,
		'command', format('INSERT INTO told VALUES (%L, workflow.step_name(), workflow.run_status(), workflow.error_path(), workflow.error_sqlstate(), workflow.error_message())', name)))))
FROM (VALUES
	('good', NULL, '[{"name": "a", "command": "INSERT INTO told VALUES (''good'', workflow.step_name(), workflow.run_status(), workflow.error_path(), workflow.error_sqlstate(), workflow.error_message())"}]'::jsonb),
	('bad', NULL, '[{"name": "a", "command": "SELECT 1 / 0"}, {"name": "b", "command": "SELECT 1", "after": ["a"]}]'),
	('lax', NULL, '[{"name": "a", "command": "SELECT 1 / 0"}, {"name": "b", "kind": "none", "after": [{"step": "a", "on": "failure"}]}]'),
	('nested', NULL, '[{"name": "outer", "kind": "package", "command": "finally_bad"}]'),
	('timeout', '100ms', '[{"name": "a", "command": "SELECT pg_sleep(3600)"}, {"name": "b", "kind": "none", "after": ["a"]}]'),
	('stopped', NULL, '[{"name": "a", "command": "SELECT pg_sleep(3600)"}, {"name": "b", "kind": "none", "after": ["a"]}]'),
	('nothing', NULL, '[{"name": "a", "kind": "none", "disabled": true}]')
	) AS p (name, timeout, steps),
	unnest('{success,failure,completion}'::text[]) AS f
GROUP BY name, timeout, steps;
CALL execute('finally_good');
CALL execute('finally_bad');
CALL execute('finally_lax');
CALL execute('finally_nested');
CALL execute('finally_timeout');
CALL execute('finally_nothing');
SELECT workflow.start_job('finally_stopped') AS run \gset
CALL await(format($$ (SELECT count(*) = 1 FROM workflow.step_history WHERE run_id = %s AND status = 'running' AND pid IS NOT NULL) $$, :run));
SELECT workflow.stop_job(:run, 'enough');
SELECT package, status, failed_steps, error_path, sqlstate, message FROM last_run WHERE package LIKE 'finally%' ORDER BY package;
SELECT * FROM told ORDER BY package, step, path COLLATE "C";
SELECT package, step, status, reason FROM last_step WHERE package LIKE 'finally%' ORDER BY package, step;

-- They start when everything else has ended, and do not wait for each other.
SELECT bool_and(f.started_at >= s.finished_at) AS after_all
FROM last_step AS f JOIN last_step AS s USING (run_id)
WHERE f.step LIKE 'finally%' AND s.step NOT LIKE 'finally%' AND f.package LIKE 'finally%';
TRUNCATE told;

-- Their own failure counts, and changes nothing; they may have conditions,
-- retries, time-outs, be packages.
SELECT workflow.define_package($$ {
  "name": "finally_fails",
  "steps": [
    {"name": "a", "command": "SELECT 1"},
    {"name": "f1", "finally": "completion", "command": "SELECT 1 / 0", "fail_package_on_error": true},
    {"name": "f2", "finally": "success", "command": "INSERT INTO effect VALUES ('f2')", "condition": "workflow.run_status() = 'succeeded'"},
    {"name": "f3", "finally": "success", "command": "INSERT INTO effect VALUES ('f3')", "condition": "false"},
    {"name": "f4", "finally": "completion", "kind": "package", "command": "cond_child"},
    {"name": "f5", "finally": "completion", "command": "INSERT INTO effect SELECT 'f5 ' || fail_until(2)", "max_attempts": 2, "retry_delay": "10ms"},
    {"name": "f6", "finally": "completion", "command": "SELECT pg_sleep(3600)", "timeout": "50ms"},
    {"name": "f7", "finally": "completion", "command": "INSERT INTO effect VALUES ('f7')", "disabled": true},
    {"name": "f8", "finally": "completion", "kind": "package", "command": "cond_error"}
  ]} $$);
CALL execute('finally_fails');
SELECT status, failed_steps, error_path, sqlstate, message FROM last_run WHERE package = 'finally_fails';
SELECT step, attempt, status, reason, sqlstate FROM last_step WHERE package = 'finally_fails' ORDER BY step, attempt;
SELECT * FROM effect ORDER BY what;
TRUNCATE effect;
SELECT setval('tries', 1, false);

-- outside the graph
\set VERBOSITY terse
SELECT workflow.define_package('{"name": "err", "steps": [{"name": "a", "kind": "none"}, {"name": "f", "kind": "none", "finally": "failure", "after": ["a"]}]}');
SELECT workflow.define_package('{"name": "err", "steps": [{"name": "f", "kind": "none", "finally": "failure"}, {"name": "a", "kind": "none", "after": ["f"]}]}');
SELECT workflow.define_package('{"name": "err", "steps": [{"name": "a", "kind": "none", "finally": "always"}]}');
\set VERBOSITY default
-- null in every other session
SELECT workflow.run_status(), workflow.error_path(), workflow.error_sqlstate(), workflow.error_message();

--
-- Retries
--
SELECT workflow.define_package($$ {
  "name": "retry_good",
  "steps": [
    {"name": "a", "command": "INSERT INTO effect SELECT 'before try ' || last_value FROM tries; INSERT INTO effect SELECT fail_until(3)", "max_attempts": 3, "retry_delay": "50ms"},
    {"name": "b", "kind": "none", "after": ["a"]},
    {"name": "c", "kind": "none", "after": [{"step": "a", "on": "failure"}]}
  ]} $$);
CALL execute('retry_good');
SELECT status, failed_steps, error_path, sqlstate, message FROM last_run WHERE package = 'retry_good';
SELECT step, attempt, status, reason, statement, sqlstate, message FROM last_step WHERE package = 'retry_good' ORDER BY step, attempt;
-- the delay, and twice as long before the next
SELECT attempt, started_at - lag(finished_at) OVER (ORDER BY attempt) >= (ARRAY['50ms', '100ms'])[attempt - 1]::interval AS waited
FROM last_step WHERE package = 'retry_good' AND step = 'a' ORDER BY attempt;
SELECT * FROM effect ORDER BY what;
TRUNCATE effect;
SELECT setval('tries', 1, false);

-- all attempts fail
SELECT workflow.define_package($$ {
  "name": "retry_bad", "fail_on_first_error": false,
  "steps": [
    {"name": "a", "command": "INSERT INTO effect SELECT fail_until(9)", "max_attempts": 3, "retry_delay": "0", "retry_backoff": 1},
    {"name": "b", "kind": "none", "after": [{"step": "a", "on": "failure"}]},
    {"name": "c", "kind": "none", "after": ["a"]}
  ]} $$);
CALL execute('retry_bad');
SELECT status, failed_steps FROM last_run WHERE package = 'retry_bad';
SELECT step, attempt, status, reason, sqlstate, message FROM last_step WHERE package = 'retry_bad' ORDER BY step, attempt;
SELECT count(*) FROM effect;
SELECT setval('tries', 1, false);

-- retry_on: SQLSTATEs and classes
SELECT workflow.define_package(jsonb_build_object('name', 'retry_on', 'fail_on_first_error', false, 'max_concurrent_steps', 1, 'steps', jsonb_agg(
	jsonb_build_object('name', name, 'max_attempts', 2, 'retry_delay', '0', 'retry_on', retry_on,
		'command', format('DO $do$ BEGIN RAISE %L USING ERRCODE = %L; END $do$', name, code)))))
FROM (VALUES
	('null', NULL, '22012'),
	('code', '["22012"]'::jsonb, '22012'),
	('other code', '["22013"]', '22012'),
	('class', '["22"]', '22012'),
	('other class', '["40"]', '22012'),
	('several', '["40", "55P03", "22012"]', '22012'),
	('class of our own', '["WF"]', 'WF001')) AS v (name, retry_on, code);
CALL execute('retry_on');
SELECT step, count(*) AS attempts, string_agg(status, ' ' ORDER BY attempt) FROM last_step WHERE package = 'retry_on' GROUP BY step ORDER BY step;
\set VERBOSITY terse
SELECT workflow.define_package('{"name": "err", "steps": [{"name": "a", "kind": "none", "retry_on": []}]}');
SELECT workflow.define_package('{"name": "err", "steps": [{"name": "a", "kind": "none", "retry_on": ["4"]}]}');
SELECT workflow.define_package('{"name": "err", "steps": [{"name": "a", "kind": "none", "retry_on": ["4000!"]}]}');
SELECT workflow.define_package('{"name": "err", "steps": [{"name": "a", "kind": "none", "retry_on": "40001"}]}');
SELECT workflow.define_package('{"name": "err", "steps": [{"name": "a", "kind": "none", "retry_on": [40001]}]}');
SELECT workflow.define_package('{"name": "err", "steps": [{"name": "a", "kind": "none", "max_attempts": 0}]}');
SELECT workflow.define_package('{"name": "err", "steps": [{"name": "a", "kind": "none", "retry_delay": "-1s"}]}');
SELECT workflow.define_package('{"name": "err", "steps": [{"name": "a", "kind": "none", "retry_backoff": 0.5}]}');
\set VERBOSITY default

-- A step that waits for its next attempt is running; stopped, it has no next.
SELECT workflow.define_package($$ {
  "name": "retry_waits", "steps": [{"name": "a", "command": "SELECT fail_until(9)", "max_attempts": 5, "retry_delay": "1h"}]} $$);
SELECT workflow.start_job('retry_waits') AS run \gset
CALL await($$ EXISTS (SELECT FROM workflow.activity WHERE package = 'retry_waits' AND wait = 'retry') $$);
SELECT step, state, wait FROM workflow.activity WHERE package = 'retry_waits' AND step IS NOT NULL;
SELECT status, failed_steps, error_path FROM last_run WHERE package = 'retry_waits';
SELECT workflow.stop_job(:run);
SELECT status, failed_steps, error_path, sqlstate FROM last_run WHERE package = 'retry_waits';
SELECT step, attempt, status, reason, sqlstate FROM last_step WHERE package = 'retry_waits' ORDER BY attempt;
SELECT setval('tries', 1, false);

-- a child: each attempt is a run
SELECT workflow.define_package($$ {
  "name": "retry_child",
  "steps": [{"name": "a", "command": "INSERT INTO effect SELECT fail_until(3)"}]} $$);
SELECT workflow.define_package($$ {
  "name": "retry_parent",
  "steps": [{"name": "child", "kind": "package", "command": "retry_child", "max_attempts": 3, "retry_delay": "1ms", "retry_on": ["WF001"]}]} $$);
CALL execute('retry_parent');
SELECT step, attempt, status, sqlstate, message FROM last_step WHERE package = 'retry_parent' ORDER BY attempt;
SELECT status, error_path, message FROM workflow.run_history WHERE package = 'retry_child' ORDER BY run_id;
SELECT * FROM effect;
TRUNCATE effect;
SELECT setval('tries', 1, false);

--
-- Time-outs
--
CREATE TABLE locked ();
SELECT workflow.define_package($$ {
  "name": "timeouts", "fail_on_first_error": false,
  "steps": [
    {"name": "step", "command": "INSERT INTO effect VALUES ('lost'); SELECT pg_sleep(3600)", "timeout": "50ms"},
    {"name": "each attempt", "command": "SELECT pg_sleep(3600)", "timeout": "50ms", "max_attempts": 2, "retry_delay": "0", "retry_on": ["57014"]},
    {"name": "in time", "command": "SELECT pg_sleep(0.01)", "timeout": "1h"},
    {"name": "handler", "timeout": "50ms", "command": "DO $do$ BEGIN PERFORM pg_sleep(3600); EXCEPTION WHEN OTHERS THEN RAISE NOTICE 'caught'; END $do$"},
    {"name": "not atomic", "timeout": "200ms", "atomic": false, "command": "INSERT INTO effect VALUES ('kept'); SELECT pg_sleep(3600)"},
    {"name": "statement", "settings": {"statement_timeout": "50ms"}, "command": "SELECT 1; SELECT pg_sleep(3600)"},
    {"name": "lock", "lock_timeout": "50ms", "command": "DO $do$ BEGIN WHILE NOT pg_try_advisory_xact_lock_shared(4713) LOOP PERFORM pg_sleep(0.01); END LOOP; END $do$; SELECT * FROM locked"}
  ]} $$);
SELECT workflow.define_package($$ {"name": "timeout_child", "steps": [{"name": "a", "command": "SELECT pg_sleep(3600)"}]} $$);
SELECT pg_advisory_lock(4713);
SELECT workflow.start_job('timeouts') AS run \gset
BEGIN;
LOCK TABLE locked;
SELECT pg_advisory_unlock(4713);
SELECT workflow.wait_for_job(:run, '60s');
COMMIT;
SELECT status, failed_steps FROM last_run WHERE package = 'timeouts';
SELECT step, attempt, status, statement, sqlstate, message FROM last_step WHERE package = 'timeouts' ORDER BY step, attempt;
SELECT * FROM effect;
TRUNCATE effect;
DROP TABLE locked;

-- of the package: the run fails, what runs is cancelled, children too
SELECT workflow.define_package($$ {
  "name": "package_timeout", "timeout": "300ms", "fail_on_first_error": false,
  "steps": [
    {"name": "a", "command": "INSERT INTO effect VALUES ('kept')"},
    {"name": "b", "command": "INSERT INTO effect VALUES ('lost'); SELECT pg_sleep(3600)", "after": ["a"], "max_attempts": 3},
    {"name": "c", "kind": "package", "command": "timeout_child"},
    {"name": "d", "kind": "none", "after": [{"step": "b", "on": "failure"}]},
    {"name": "e", "kind": "none", "condition": "NULL"},
    {"name": "f", "command": "SELECT 1 / 0", "max_attempts": 2, "retry_delay": "1h"},
    {"name": "g", "kind": "none", "disabled": true},
    {"name": "h", "kind": "none", "after": ["g"]}
  ]} $$);
CALL execute('package_timeout');
SELECT status, failed_steps, error_path, sqlstate, message, stopped_by, stop_reason FROM last_run WHERE package = 'package_timeout';
SELECT step, attempt, status, reason, sqlstate FROM last_step WHERE package = 'package_timeout' ORDER BY step, attempt;
SELECT status, error_path, sqlstate, message FROM last_run WHERE package = 'timeout_child';
SELECT * FROM effect;
TRUNCATE effect;

DROP FUNCTION fail_until, alone, await_effect;
DROP SEQUENCE tries;
DROP TABLE effect, told;
