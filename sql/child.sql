-- Package steps and job steps: what they are given, what comes back.

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir /test/helpers.sql
\i :helpers

CREATE TABLE effect (package text, what text);

--
-- Variables, by value: those that the child declares
--
SELECT workflow.define_package($$ {
  "name": "child", "variables": {"day": "child's", "number": 0, "json": null, "own": "child's"},
  "steps": [
    {"name": "a", "command": "INSERT INTO effect SELECT 'child', key || ' = ' || value FROM jsonb_each(workflow.variables())"},
    {"name": "b", "after": ["a"], "command": "SELECT workflow.set_variable('day', 'changed by the child')"},
    {"name": "c", "after": ["b"], "command": "INSERT INTO effect VALUES ('child', 'set: ' || workflow.variable('day'))"}
  ]} $$);
SELECT workflow.define_package($$ {
  "name": "by_value", "variables": {"day": "parent's", "number": 1.50, "json": {"a": [1, null]}, "other": "parent's"},
  "steps": [
    {"name": "child", "kind": "package", "command": "child"},
    {"name": "look", "after": ["child"], "command": "INSERT INTO effect SELECT 'parent', key || ' = ' || value FROM jsonb_each(workflow.variables())"}
  ]} $$);
CALL execute('by_value', '{"number": "text now"}');
SELECT * FROM effect ORDER BY package, what;
SELECT package, variables FROM last_run WHERE package IN ('by_value', 'child') ORDER BY package;
TRUNCATE effect;

-- what a step before has set, is passed
SELECT workflow.define_package($$ {
  "name": "by_value_set", "variables": {"day": "parent's"},
  "steps": [
    {"name": "set", "command": "SELECT workflow.set_variable('day', 'set')"},
    {"name": "child", "kind": "package", "command": "child", "after": ["set"]}
  ]} $$);
CALL execute('by_value_set');
SELECT * FROM effect WHERE what LIKE 'day%';
TRUNCATE effect;

-- By expression: the run's variables are columns of type text, a name alone
-- passes the JSON value unchanged.
SELECT workflow.define_package($$ {
  "name": "by_expression", "variables": {"day": "2024-02-28", "number": 1.50, "json": {"a": [1, null]}, "Name with \"quotes\"": "q", "null": null, "select": "reserved"},
  "steps": [
    {"name": "child", "kind": "package", "command": "child",
     "variables": {"day": "day::date + 1", "number": "number", "json": "json", "own": "'x''y' || \"Name with \"\"quotes\"\"\" || coalesce(\"null\", 'was null') || \"select\""}}
  ]} $$);
CALL execute('by_expression');
SELECT * FROM effect ORDER BY package, what;
TRUNCATE effect;
SELECT workflow.define_package($$ {
  "name": "by_expression_types", "variables": {"n": 7},
  "steps": [
    {"name": "child", "kind": "package", "command": "child",
     "variables": {"day": "(SELECT max(x) FROM generate_series(1, n::int) AS x)", "number": "n || pg_typeof(n)", "json": "jsonb_build_object('n', n)", "own": "NULL"}}
  ]} $$);
CALL execute('by_expression_types');
SELECT * FROM effect ORDER BY package, what;
TRUNCATE effect;
-- none at all: the child's defaults
SELECT workflow.define_package($$ {
  "name": "by_expression_none", "variables": {"day": "parent's"},
  "steps": [{"name": "child", "kind": "package", "command": "child", "variables": {}}]} $$);
CALL execute('by_expression_none');
SELECT * FROM effect ORDER BY package, what;
TRUNCATE effect;

-- errors: of the expression, of what the child does not declare
SELECT workflow.define_package($$ {
  "name": "by_expression_errors", "variables": {"day": "no date"}, "fail_on_first_error": false,
  "steps": [
    {"name": "cast", "kind": "package", "command": "child", "variables": {"day": "day::date"}},
    {"name": "undeclared", "kind": "package", "command": "child", "variables": {"night": "day"}},
    {"name": "no column", "kind": "package", "command": "child", "variables": {"day": "night"}},
    {"name": "rows", "kind": "package", "command": "child", "variables": {"day": "(SELECT 1 FROM generate_series(1, 2))"}}
  ]} $$);
CALL execute('by_expression_errors');
SELECT step, attempt, status, sqlstate, message FROM last_step WHERE package = 'by_expression_errors' ORDER BY step;
SELECT count(*) FROM effect;
\set VERBOSITY terse
SELECT workflow.define_package('{"name": "err", "steps": [{"name": "a", "kind": "package", "command": "child", "variables": {"day": "1 +"}}]}');
SELECT workflow.define_package('{"name": "err", "steps": [{"name": "a", "kind": "package", "command": "child", "variables": {"day": "1; DROP TABLE effect"}}]}');
SELECT workflow.define_package('{"name": "err", "steps": [{"name": "a", "kind": "package", "command": "child", "variables": {"day": 1}}]}');
SELECT workflow.define_package('{"name": "err", "steps": [{"name": "a", "command": "SELECT 1", "variables": {"day": "1"}}]}');
\set VERBOSITY default

--
-- Children that cannot be started
--
SELECT workflow.define_package($$ {
  "name": "cannot_start", "fail_on_first_error": false,
  "steps": [
    {"name": "missing", "kind": "package", "command": "nobody"},
    {"name": "after missing", "kind": "none", "after": [{"step": "missing", "on": "failure"}]},
    {"name": "retried", "kind": "package", "command": "nobody", "max_attempts": 2, "retry_delay": "0"}
  ]} $$);
CALL execute('cannot_start');
SELECT step, attempt, status, sqlstate, message FROM last_step WHERE package = 'cannot_start' ORDER BY step, attempt;
-- nested too deep
SELECT workflow.define_package('{"name": "recursive", "steps": [{"name": "again", "kind": "package", "command": "recursive"}]}');
ALTER SYSTEM SET workflow.max_nesting_level = 3;
SELECT pg_reload_conf();
CREATE PROCEDURE await_level(wanted int) LANGUAGE plpgsql AS $$
DECLARE
	status text;
BEGIN
	FOR i IN 1 .. 200 LOOP
		CALL execute('recursive', '{}', status);
		EXIT WHEN (SELECT count(*) = wanted FROM workflow.run_history WHERE root_run_id = (SELECT max(root_run_id) FROM workflow.run_history WHERE package = 'recursive'));
	END LOOP;
END $$;
CALL await_level(3);
SELECT count(*) AS runs FROM workflow.run_history WHERE root_run_id = (SELECT max(root_run_id) FROM workflow.run_history WHERE package = 'recursive');
SELECT status, error_path, sqlstate, message FROM workflow.run_history
WHERE root_run_id = (SELECT max(root_run_id) FROM workflow.run_history WHERE package = 'recursive') ORDER BY run_id;
ALTER SYSTEM RESET workflow.max_nesting_level;
SELECT pg_reload_conf();

-- max_concurrent_runs counts the runs that start_job starts, not children.
SELECT workflow.define_package('{"name": "one_root", "max_concurrent_runs": 1, "on_overlap": "reject", "steps": [{"name": "a", "kind": "none"}]}');
SELECT workflow.define_package('{"name": "of_one_root", "steps": [{"name": "child", "kind": "package", "command": "one_root"}, {"name": "another", "kind": "package", "command": "one_root"}]}');
SELECT workflow.start_job('one_root', start_at => 'infinity') AS run \gset
CALL execute('of_one_root');
SELECT workflow.stop_job(:run);

-- A parent that fails does not cancel a child that is running.
SELECT workflow.define_package('{"name": "goes_on", "steps": [{"name": "a", "command": "SELECT pg_advisory_xact_lock_shared(4718)"}, {"name": "b", "command": "INSERT INTO effect VALUES (''goes_on'', ''b'')", "after": ["a"]}]}');
SELECT workflow.define_package($$ {
  "name": "of_goes_on",
  "steps": [
    {"name": "child", "kind": "package", "command": "goes_on"},
    {"name": "fails", "command": "DO $do$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4718 AND NOT granted) LOOP PERFORM pg_sleep(0.01); END LOOP; END $do$; SELECT 1 / 0"},
    {"name": "after child", "kind": "none", "after": ["child"]}
  ]} $$);
SELECT pg_advisory_lock(4718);
SELECT workflow.start_job('of_goes_on') AS run \gset
CALL await(format('(SELECT failed_steps = 1 FROM workflow.run_history WHERE run_id = %s)', :run));
SELECT package, status, error_path, sqlstate FROM last_run WHERE package LIKE '%goes_on' ORDER BY package;
SELECT pg_advisory_unlock(4718);
SELECT workflow.wait_for_job(:run, '60s');
SELECT package, status, failed_steps, error_path, sqlstate FROM last_run WHERE package LIKE '%goes_on' ORDER BY package;
SELECT package, step, status, reason FROM last_step WHERE package LIKE '%goes_on' ORDER BY package, step;
SELECT * FROM effect;
TRUNCATE effect;

--
-- What comes back: the result, and where it failed
--
SELECT workflow.define_package('{"name": "fails", "steps": [{"name": "good", "command": "SELECT 1"}, {"name": "bad step", "command": "SELECT 1 / 0", "after": ["good"]}]}');
SELECT workflow.define_package('{"name": "fails_2", "steps": [{"name": "in between", "kind": "package", "command": "fails"}]}');
SELECT workflow.define_package('{"name": "fails_3", "steps": [{"name": "outer", "kind": "package", "command": "fails_2"}, {"name": "never", "kind": "none", "after": ["outer"]}]}');
CALL execute('fails_3');
SELECT package, parent_step, status, failed_steps, error_path, sqlstate, message FROM last_run WHERE package LIKE 'fails%' ORDER BY run_id;
SELECT package, step, status, reason, sqlstate, message FROM last_step WHERE package LIKE 'fails%' ORDER BY run_id, step;
SELECT count(DISTINCT root_run_id) AS trees, count(*) FILTER (WHERE parent_run_id IS NULL) AS roots FROM last_run WHERE package LIKE 'fails%';
-- A child that puts up with its errors succeeded, and so did the step.
SELECT workflow.define_package('{"name": "lax", "fail_on_first_error": false, "steps": [{"name": "a", "command": "SELECT 1 / 0"}]}');
SELECT workflow.define_package('{"name": "lax_parent", "steps": [{"name": "child", "kind": "package", "command": "lax"}]}');
CALL execute('lax_parent');
SELECT package, status, failed_steps, error_path FROM last_run WHERE package LIKE 'lax%' ORDER BY package;
-- A child that was stopped by itself makes its step fail.
SELECT workflow.define_package('{"name": "sleeps", "steps": [{"name": "a", "command": "SELECT pg_sleep(3600)"}]}');
SELECT workflow.define_package($$ {
  "name": "sleeps_parent", "fail_on_first_error": false,
  "steps": [{"name": "child", "kind": "package", "command": "sleeps"}, {"name": "on failure", "kind": "none", "after": [{"step": "child", "on": "failure"}]}]} $$);
SELECT workflow.start_job('sleeps_parent') AS run \gset
DO $$ BEGIN
	FOR i IN 1 .. 6000 LOOP
		EXIT WHEN EXISTS (SELECT FROM workflow.step_history WHERE package = 'sleeps' AND status = 'running' AND pid IS NOT NULL);
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
SELECT workflow.stop_job(run_id, 'only the child') FROM workflow.run_history WHERE package = 'sleeps';
SELECT workflow.wait_for_job(:run, '60s');
SELECT package, status, failed_steps, stop_reason FROM last_run WHERE package LIKE 'sleeps%' ORDER BY package;
SELECT package, step, status, sqlstate, message FROM last_step WHERE package LIKE 'sleeps%' ORDER BY package, step;

-- A child runs the version that is current when it starts.
SELECT workflow.define_package('{"name": "changes", "steps": [{"name": "a", "command": "INSERT INTO effect VALUES (''changes'', ''first'')"}]}');
SELECT workflow.define_package($$ {
  "name": "changes_parent",
  "steps": [
    {"name": "one", "kind": "package", "command": "changes"},
    {"name": "redefine", "after": ["one"], "command": "SELECT workflow.define_package('{\"name\": \"changes\", \"steps\": [{\"name\": \"a\", \"command\": \"INSERT INTO effect VALUES (''changes'', ''second'')\"}]}')"},
    {"name": "two", "kind": "package", "command": "changes", "after": ["redefine"]}
  ]} $$);
CALL execute('changes_parent');
SELECT what FROM effect ORDER BY what;
SELECT parent_step, version FROM workflow.run_history WHERE package = 'changes' ORDER BY run_id;
TRUNCATE effect;

--
-- Job steps: the agent here is asked; what becomes of the run is its own
--
CREATE PROCEDURE await_jobs(wanted int, named text) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 6000 LOOP
		EXIT WHEN (SELECT count(*) >= wanted AND count(*) = count(finished_at) FROM workflow.run_history WHERE package = named);
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
SELECT workflow.define_package($$ {
  "name": "started", "variables": {"day": "default", "number": 0},
  "steps": [{"name": "a", "command": "INSERT INTO effect VALUES ('started', workflow.variable('day') || ' ' || workflow.variable('number'))"}]} $$);
SELECT workflow.define_package($$ {
  "name": "starts", "variables": {"day": "of the run", "more": 1},
  "steps": [
    {"name": "declared", "kind": "job", "command": "started"},
    {"name": "given", "kind": "job", "command": "started", "variables": {"day": "upper(day)", "number": "more::int + 1"}},
    {"name": "json", "kind": "job", "command": "started", "variables": {"number": "more"}}
  ]} $$);
CALL execute('starts');
CALL await_jobs(3, 'started');
SELECT step, kind, status, rows, result, remote_run_id IS NOT NULL AS has_run FROM last_step WHERE package = 'starts' ORDER BY step;
SELECT s.step, r.status, r.variables, r.parent_run_id, r.parent_step, r.root_run_id = r.run_id AS is_root, r.requested_by = current_user AS by_me
FROM last_step AS s JOIN workflow.run_history AS r ON r.run_id = s.remote_run_id WHERE s.package = 'starts' ORDER BY step;
SELECT what FROM effect ORDER BY what;
TRUNCATE effect;

-- Nothing of the started run reaches the step.
SELECT workflow.define_package('{"name": "starts_bad", "steps": [{"name": "j", "kind": "job", "command": "fails"}, {"name": "after", "kind": "none", "after": ["j"]}]}');
CALL execute('starts_bad');
SELECT status, failed_steps FROM last_run WHERE package = 'starts_bad';

-- start_job that the SQL of a step calls is part of its transaction; a job
-- step is not part of anything.
SELECT workflow.define_package($$ {
  "name": "starts_sql", "fail_on_first_error": false, "max_concurrent_steps": 1,
  "steps": [
    {"name": "a undone", "priority": 9, "command": "SELECT workflow.start_job('started', '{\"day\": \"undone\"}'); SELECT 1 / 0"},
    {"name": "b done", "priority": 8, "command": "SELECT workflow.start_job('started', '{\"day\": \"done\"}')"},
    {"name": "c waits", "priority": 7, "command": "SELECT workflow.wait_for_job(workflow.start_job('started', '{\"day\": \"waits\"}'))"},
    {"name": "d job", "priority": 6, "kind": "job", "command": "started", "variables": {"day": "'job'"}},
    {"name": "e fails", "command": "SELECT 1 / 0", "after": ["d job"], "fail_package_on_error": true}
  ]} $$);
CALL execute('starts_sql');
CALL await_jobs(5, 'started');
SELECT step, status, sqlstate, regexp_replace(message, 'run \d+', 'run N') AS message, detail FROM last_step WHERE package = 'starts_sql' ORDER BY step;
SELECT variables ->> 'day' AS day, count(*) FROM workflow.run_history
WHERE package = 'started' AND run_id > (SELECT run_id FROM last_run WHERE package = 'starts_sql') GROUP BY 1 ORDER BY 1;
TRUNCATE effect;

-- Refused: unknown, disabled, wrong variables, already running
SELECT workflow.define_package($$ {
  "name": "one_run", "max_concurrent_runs": 1, "on_overlap": "reject",
  "steps": [{"name": "a", "command": "SELECT pg_advisory_xact_lock_shared(4717)"}]} $$);
SELECT workflow.define_package('{"name": "child_off", "enabled": false, "steps": [{"name": "a", "kind": "none"}]}');
SELECT workflow.define_package('{"name": "needs", "variables": {"day": null}, "required_variables": ["day"], "steps": [{"name": "a", "kind": "none"}]}');
SELECT workflow.define_package($$ {
  "name": "refused", "fail_on_first_error": false, "max_concurrent_steps": 1,
  "steps": [
    {"name": "a child disabled", "kind": "package", "command": "child_off", "priority": 10},
    {"name": "a unknown", "kind": "job", "command": "nobody", "priority": 9},
    {"name": "b disabled", "kind": "job", "command": "child_off", "priority": 8},
    {"name": "c undeclared", "kind": "job", "command": "started", "variables": {"night": "1"}, "priority": 7},
    {"name": "d required", "kind": "job", "command": "needs", "priority": 6},
    {"name": "e first", "kind": "job", "command": "one_run", "priority": 5},
    {"name": "f running", "kind": "job", "command": "one_run", "priority": 4, "max_attempts": 2, "retry_delay": "0"},
    {"name": "g expression", "kind": "job", "command": "started", "variables": {"number": "1 / 0"}, "priority": 3}
  ]} $$);
SELECT pg_advisory_lock(4717);
CALL execute('refused');
SELECT step, attempt, status, sqlstate, message, detail, remote_run_id IS NOT NULL AS has_run FROM last_step WHERE package = 'refused' ORDER BY step, attempt;
SELECT pg_advisory_unlock(4717);
CALL await_jobs(1, 'one_run');
SELECT count(*) FROM workflow.run_history WHERE package IN ('child_off', 'needs');
CALL execute('started');
TRUNCATE effect;

--
-- Packages of other owners
--
CREATE ROLE regress_workflow_parent LOGIN;
CREATE ROLE regress_workflow_child LOGIN;
GRANT USAGE ON SCHEMA workflow TO regress_workflow_parent, regress_workflow_child;
CREATE TABLE who (what text, cur name, ses name);
GRANT INSERT ON who TO PUBLIC;
SET ROLE regress_workflow_child;
SELECT workflow.define_package('{"name": "of_b", "steps": [{"name": "a", "command": "INSERT INTO who VALUES (''of_b'', current_user, session_user)"}]}');
SET ROLE regress_workflow_parent;
SELECT workflow.define_package($$ {
  "name": "of_a", "fail_on_first_error": false, "max_concurrent_steps": 1,
  "steps": [
    {"name": "before", "command": "INSERT INTO who VALUES ('of_a', current_user, session_user)"},
    {"name": "child", "kind": "package", "command": "of_b", "after": ["before"]},
    {"name": "job", "kind": "job", "command": "of_b", "after": ["before"]},
    {"name": "start", "command": "SELECT workflow.start_job('of_b')", "after": ["before"]}
  ]} $$);
RESET ROLE;
CALL execute('of_a');
SELECT step, status, sqlstate, message FROM last_step WHERE package = 'of_a' ORDER BY step;
SELECT count(*) FROM workflow.run_history WHERE package = 'of_b';
SELECT * FROM who;
TRUNCATE who;
SET ROLE regress_workflow_child;
SELECT workflow.grant_start('of_b', 'regress_workflow_parent');
RESET ROLE;
CALL execute('of_a');
CALL await_jobs(3, 'of_b');
SELECT step, status, sqlstate, message FROM last_step WHERE package = 'of_a' ORDER BY step;
SELECT what, cur, ses, count(*) FROM who GROUP BY what, cur, ses ORDER BY what;
SELECT parent_step, requested_by = current_user AS by_me, requested_by = 'regress_workflow_parent' AS by_a, count(*)
FROM workflow.run_history WHERE package = 'of_b' GROUP BY 1, 2, 3 ORDER BY 1;
TRUNCATE who;
-- taken back
SET ROLE regress_workflow_child;
SELECT workflow.revoke_start('of_b', 'regress_workflow_parent');
RESET ROLE;
CALL execute('of_a');
SELECT step, status, sqlstate FROM last_step WHERE package = 'of_a' ORDER BY step;
REVOKE USAGE ON SCHEMA workflow FROM regress_workflow_parent, regress_workflow_child;
SELECT workflow.drop_package('of_a'), workflow.drop_package('of_b');
DROP TABLE who;
DROP ROLE regress_workflow_parent, regress_workflow_child;

DROP PROCEDURE await_level, await_jobs;
DROP TABLE effect;
