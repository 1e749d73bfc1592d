-- Runs: what they do, what history says of them.

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir /test/helpers.sql
\i :helpers

CREATE TABLE effect (what text);

--
-- Success
--
SELECT workflow.define_package($$ {
  "name": "run_success",
  "steps": [
    {"name": "one", "command": "INSERT INTO effect VALUES ('one')"},
    {"name": "two", "command": "INSERT INTO effect SELECT 'two ' || i FROM generate_series(1, 3) AS i", "after": ["one"]},
    {"name": "three", "command": ["UPDATE effect SET what = upper(what);", "SELECT * FROM effect"], "after": ["two"]}
  ]} $$);
CALL execute('run_success');
SELECT * FROM effect ORDER BY what;
SELECT package, version, status, failed_steps, requested_by = current_user AS requested_by_me,
	   root_run_id = run_id AS is_root, parent_run_id, parent_step, error_path, sqlstate, message,
	   variables, stopped_by, stop_reason,
	   requested_at <= started_at AND started_at <= finished_at AS in_order,
	   duration = finished_at - started_at AS duration_fits
FROM last_run WHERE package = 'run_success';
SELECT package, step, attempt, kind, status, reason, command, connection, server, rows, statement,
	   sqlstate, message, started_at <= finished_at AS in_order,
	   duration = finished_at - started_at AS duration_fits, pid IS NOT NULL AS has_pid,
	   root_run_id = run_id AS is_root
FROM last_step WHERE package = 'run_success'
ORDER BY started_at;
SELECT count(*) AS steps, count(*) FILTER (WHERE a.finished_at <= b.started_at) AS in_order
FROM last_step AS a, last_step AS b
WHERE (a.package, b.package) = ('run_success', 'run_success')
  AND (a.step, b.step) IN (('one', 'two'), ('two', 'three'));
TRUNCATE effect;

--
-- Failure: the error in full, and the statement that failed
--
SELECT workflow.define_package($$ {
  "name": "run_failure",
  "steps": [
    {"name": "before", "command": "INSERT INTO effect VALUES ('before')"},
    {"name": "fails", "after": ["before"], "command": [
        "INSERT INTO effect VALUES ('lost');",
        "DO $do$ BEGIN",
        "  RAISE 'it is %', 'wrong' USING ERRCODE = 'WF123', DETAIL = 'a detail', HINT = 'a hint';",
        "END $do$;",
        "INSERT INTO effect VALUES ('never')"]},
    {"name": "after", "after": ["fails"], "command": "INSERT INTO effect VALUES ('never')"},
    {"name": "on failure", "after": [{"step": "fails", "on": "failure"}], "command": "INSERT INTO effect VALUES ('never')"}
  ]} $$);
CALL execute('run_failure');
SELECT * FROM effect ORDER BY what;
SELECT status, failed_steps, error_path, sqlstate, message
FROM last_run WHERE package = 'run_failure';
SELECT step, attempt, status, reason, rows, statement, sqlstate, message, detail, hint
FROM last_step WHERE package = 'run_failure'
ORDER BY started_at, step;
SELECT context FROM last_step WHERE package = 'run_failure' AND step = 'fails';
SELECT count(*) AS never_started FROM last_step
WHERE package = 'run_failure' AND started_at IS NULL AND finished_at IS NULL AND pid IS NULL;
TRUNCATE effect;

-- a command that does not even parse any more, once the table is gone; a
-- deferred constraint, which fails at the commit; an error of the kind that
-- the server writes
CREATE TABLE short_lived ();
CREATE TABLE deferred (i int UNIQUE DEFERRABLE INITIALLY DEFERRED);
SELECT workflow.define_package($$ {
  "name": "run_errors", "fail_on_first_error": false,
  "steps": [
    {"name": "a gone", "command": "INSERT INTO short_lived DEFAULT VALUES"},
    {"name": "b deferred", "command": "INSERT INTO deferred VALUES (1), (1)"},
    {"name": "c division", "command": "SELECT 1; SELECT 1; SELECT 1 / 0; SELECT 1"},
    {"name": "d syntax", "command": "DO 'nonsense'"},
    {"name": "e empty", "command": "  ; -- nothing"}
  ]} $$);
DROP TABLE short_lived;
CALL execute('run_errors');
SELECT status, failed_steps, error_path IS NULL AS no_error
FROM last_run WHERE package = 'run_errors';
SELECT step, status, statement, sqlstate, message
FROM last_step WHERE package = 'run_errors'
ORDER BY step;
SELECT * FROM deferred;
DROP TABLE deferred;

--
-- Constraints and branches
--
SELECT workflow.define_package($$ {
  "name": "run_branches", "fail_on_first_error": false,
  "steps": [
    {"name": "good", "command": "SELECT 1"},
    {"name": "bad", "command": "SELECT 1 / 0"},
    {"name": "off", "command": "INSERT INTO effect VALUES ('off')", "disabled": true},
    {"name": "good-success", "kind": "none", "after": ["good"]},
    {"name": "good-failure", "kind": "none", "after": [{"step": "good", "on": "failure"}]},
    {"name": "good-completion", "kind": "none", "after": [{"step": "good", "on": "completion"}]},
    {"name": "bad-success", "kind": "none", "after": [{"step": "bad", "on": "success"}]},
    {"name": "bad-failure", "kind": "none", "after": [{"step": "bad", "on": "failure"}]},
    {"name": "bad-completion", "kind": "none", "after": [{"step": "bad", "on": "completion"}]},
    {"name": "off-success", "kind": "none", "after": ["off"]},
    {"name": "off-failure", "kind": "none", "after": [{"step": "off", "on": "failure"}]},
    {"name": "off-completion", "kind": "none", "after": [{"step": "off", "on": "completion"}]},
    {"name": "skipped-completion", "kind": "none", "after": [{"step": "bad-success", "on": "completion"}]},
    {"name": "all", "kind": "none", "after": ["good", {"step": "bad", "on": "failure"}]},
    {"name": "not all", "kind": "none", "after": ["good", "bad"]},
    {"name": "any", "kind": "none", "after": ["good", "bad"], "precedence": "any"},
    {"name": "not any", "kind": "none", "after": ["off", "bad"], "precedence": "any"},
    {"name": "join", "command": "INSERT INTO effect VALUES ('join')",
     "after": ["all", {"step": "any", "on": "completion"}, "good-success", "bad-failure"]}
  ]} $$);
CALL execute('run_branches');
SELECT status, failed_steps, error_path, sqlstate, message
FROM last_run WHERE package = 'run_branches';
SELECT step, kind, status, reason, attempt
FROM last_step WHERE package = 'run_branches'
ORDER BY step COLLATE "C";
SELECT * FROM effect;
TRUNCATE effect;

-- The same with fail_on_first_error: after a failure nothing starts any more,
-- also no failure branch; a step that can never start is skipped because of
-- its constraint.
SELECT workflow.define_package($$ {
  "name": "run_first_error", "max_concurrent_steps": 1,
  "steps": [
    {"name": "a bad", "command": "SELECT 1 / 0", "priority": 1},
    {"name": "b disabled", "command": "SELECT 1", "disabled": true},
    {"name": "c independent", "command": "INSERT INTO effect VALUES ('never')"},
    {"name": "d success", "kind": "none", "after": ["a bad"]},
    {"name": "e failure", "kind": "none", "after": [{"step": "a bad", "on": "failure"}]},
    {"name": "f completion", "kind": "none", "after": [{"step": "a bad", "on": "completion"}]},
    {"name": "g disabled", "kind": "none", "after": ["b disabled"]}
  ]} $$);
CALL execute('run_first_error');
SELECT status, failed_steps, error_path, sqlstate, message
FROM last_run WHERE package = 'run_first_error';
SELECT step, status, reason, attempt
FROM last_step WHERE package = 'run_first_error'
ORDER BY step COLLATE "C";
SELECT count(*) FROM effect;

-- priorities, one step at a time
SELECT workflow.define_package($$ {
  "name": "run_priorities", "max_concurrent_steps": 1,
  "steps": [
    {"name": "low", "command": "SELECT 1", "priority": -5},
    {"name": "middle", "command": "SELECT 1"},
    {"name": "high", "command": "SELECT 1", "priority": 5}
  ]} $$);
CALL execute('run_priorities');
SELECT step FROM last_step WHERE package = 'run_priorities' ORDER BY started_at;

--
-- Nothing to run
--
SELECT workflow.define_package('{"name": "run_empty"}');
CALL execute('run_empty');
SELECT workflow.define_package($$ {
  "name": "run_all_disabled",
  "steps": [{"name": "a", "kind": "none", "disabled": true}, {"name": "b", "kind": "none", "after": ["a"]}]} $$);
CALL execute('run_all_disabled');
SELECT package, status, failed_steps, error_path, sqlstate, message
FROM last_run WHERE package IN ('run_empty', 'run_all_disabled')
ORDER BY package;
SELECT workflow.define_package($$ {
  "name": "run_none", "steps": [{"name": "a", "kind": "none"}, {"name": "b", "kind": "none", "after": ["a"]}]} $$);
CALL execute('run_none');
SELECT step, kind, status, command, rows FROM last_step WHERE package = 'run_none' ORDER BY step;

--
-- Child packages
--
SELECT workflow.define_package($$ {
  "name": "run_parent", "fail_on_first_error": false,
  "steps": [
    {"name": "good", "kind": "package", "command": "run_child"},
    {"name": "bad", "kind": "package", "command": "run_bad_child", "after": ["good"]},
    {"name": "missing", "kind": "package", "command": "run_no_child", "after": [{"step": "bad", "on": "failure"}]},
    {"name": "end", "command": "INSERT INTO effect VALUES ('end')", "after": [{"step": "missing", "on": "failure"}]}
  ]} $$);
SELECT workflow.define_package($$ {
  "name": "run_child",
  "steps": [
    {"name": "a", "command": "INSERT INTO effect VALUES ('child')"},
    {"name": "grandchild", "kind": "package", "command": "run_grandchild", "after": ["a"]}
  ]} $$);
SELECT workflow.define_package($$ {
  "name": "run_grandchild",
  "steps": [{"name": "a", "command": "INSERT INTO effect VALUES ('grandchild')"}]} $$);
SELECT workflow.define_package($$ {
  "name": "run_bad_child",
  "steps": [
    {"name": "inner", "command": "INSERT INTO effect VALUES ('kept')"},
    {"name": "fails", "command": "INSERT INTO effect VALUES ('lost'); SELECT 1 / 0", "after": ["inner"]}
  ]} $$);
CALL execute('run_parent');
SELECT * FROM effect ORDER BY what;
SELECT h.package, p.package AS parent, h.parent_step, h.status, h.failed_steps, h.error_path, h.sqlstate, h.message
FROM workflow.run_history AS h JOIN last_run AS r ON h.root_run_id = r.run_id
LEFT JOIN workflow.run_history AS p ON h.parent_run_id = p.run_id
WHERE r.package = 'run_parent'
ORDER BY h.run_id;
SELECT s.package, s.step, s.kind, s.status, s.sqlstate, s.message
FROM workflow.step_history AS s JOIN last_run AS r ON s.root_run_id = r.run_id
WHERE r.package = 'run_parent'
ORDER BY s.run_id, s.step;
TRUNCATE effect;

-- The error path of a parent that fails by its grandchild leads there.
SELECT workflow.define_package($$ {
  "name": "run_path", "steps": [{"name": "outer", "kind": "package", "command": "run_path_child"}]} $$);
SELECT workflow.define_package($$ {
  "name": "run_path_child", "steps": [{"name": "middle", "kind": "package", "command": "run_bad_child"}]} $$);
CALL execute('run_path');
SELECT package, status, failed_steps, error_path, sqlstate, message
FROM last_run WHERE package = 'run_path';
TRUNCATE effect;

--
-- One step, one transaction: all its statements or none; and statements that
-- want to be alone, or commit by themselves
--
CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO effect VALUES ('before the commit');
	COMMIT;
	INSERT INTO effect VALUES ('after the commit');
END $$;
SELECT workflow.define_package($$ {
  "name": "run_alone", "fail_on_first_error": false, "max_concurrent_steps": 1,
  "steps": [
    {"name": "a atomic", "command": "INSERT INTO effect VALUES ('lost'); INSERT INTO effect SELECT 1 / 0"},
    {"name": "b vacuum", "command": "VACUUM (ANALYZE) effect"},
    {"name": "c index", "command": "CREATE INDEX CONCURRENTLY effect_what_idx ON effect (what)"},
    {"name": "d reindex", "command": "REINDEX TABLE CONCURRENTLY effect", "after": ["c index"]},
    {"name": "e call", "command": "CALL commits()"},
    {"name": "f do", "command": "DO 'BEGIN INSERT INTO effect VALUES (''do''); COMMIT; END'"},
    {"name": "g vacuum among others", "command": "SELECT 1; VACUUM effect"},
    {"name": "h call fails", "command": "DO 'BEGIN INSERT INTO effect VALUES (''kept''); COMMIT; INSERT INTO effect VALUES (1 / 0); END'"}
  ]} $$);
CALL execute('run_alone');
SELECT status, failed_steps FROM last_run WHERE package = 'run_alone';
SELECT step, status, statement, sqlstate, message
FROM last_step WHERE package = 'run_alone'
ORDER BY step COLLATE "C";
SELECT * FROM effect ORDER BY what COLLATE "C";
SELECT indisvalid FROM pg_index WHERE indexrelid = 'effect_what_idx'::regclass;
TRUNCATE effect;

-- a step cannot end its transaction under the hands of who records it
SELECT workflow.define_package($$ {
  "name": "run_control", "fail_on_first_error": false, "max_concurrent_steps": 1,
  "steps": [
    {"name": "a commit", "command": "INSERT INTO effect VALUES ('a'); COMMIT; INSERT INTO effect VALUES ('a')"},
    {"name": "b begin", "command": "BEGIN; INSERT INTO effect VALUES ('b')"},
    {"name": "c rollback", "command": "INSERT INTO effect VALUES ('c'); ROLLBACK"},
    {"name": "d prepare", "command": "INSERT INTO effect VALUES ('d'); PREPARE TRANSACTION 'regress_workflow'"},
    {"name": "e begin alone", "command": "BEGIN"},
    {"name": "f later", "command": "SELECT 1"}
  ]} $$);
CALL execute('run_control');
SELECT step, status, sqlstate, message
FROM last_step WHERE package = 'run_control'
ORDER BY step COLLATE "C";
SELECT * FROM effect ORDER BY what;
SELECT count(*) FROM pg_prepared_xacts;
TRUNCATE effect;

--
-- Sessions: a named connection is one for the whole run; what unnamed steps
-- leave behind is seen by nobody.
--
SELECT workflow.define_package($$ {
  "name": "run_sessions", "fail_on_first_error": false,
  "connections": [{"name": "one"}, {"name": "two"}],
  "steps": [
    {"name": "make", "connection": "one", "command": [
        "CREATE TEMP TABLE kept AS SELECT 'on the connection' AS what;",
        "SET work_mem = '77MB';",
        "PREPARE prepared AS SELECT 1;",
        "SELECT pg_advisory_lock(4711)"]},
    {"name": "use", "connection": "one", "after": ["make"], "command": [
        "INSERT INTO effect SELECT what FROM kept;",
        "INSERT INTO effect VALUES (current_setting('work_mem'));",
        "EXECUTE prepared;",
        "INSERT INTO effect VALUES ('unlocked: ' || pg_advisory_unlock(4711))"]},
    {"name": "other connection", "connection": "two", "after": ["use"], "command": "SELECT * FROM kept"},
    {"name": "unnamed", "after": ["use"], "command": "SELECT * FROM kept"}
  ]} $$);
CALL execute('run_sessions');
SELECT step, connection, status, sqlstate, message
FROM last_step WHERE package = 'run_sessions'
ORDER BY step;
SELECT * FROM effect ORDER BY what;
SELECT count(DISTINCT pid) AS sessions
FROM last_step WHERE package = 'run_sessions' AND connection = 'one';
TRUNCATE effect;

-- one after the other, so that they may well get the same worker
SELECT workflow.define_package($$ {
  "name": "run_leaks",
  "steps": [
    {"name": "leave", "command": [
        "CREATE TEMP TABLE effect (LIKE effect); INSERT INTO effect VALUES ('in the temporary table');",
        "SET work_mem = '77MB';",
        "SET search_path = pg_temp;",
        "SET ROLE pg_monitor;",
        "PREPARE prepared AS SELECT 1;",
        "DECLARE held CURSOR WITH HOLD FOR SELECT 1;",
        "SELECT pg_advisory_lock(4711);",
        "SELECT set_config('workflow_test.left', 'behind', false)"]},
    {"name": "look", "after": ["leave"], "command": [
        "INSERT INTO effect SELECT format('work_mem %s, search_path %s, role %s, left %L', current_setting('work_mem'),",
        "    current_setting('search_path'), current_setting('role'), nullif(current_setting('workflow_test.left', true), ''));",
        "INSERT INTO effect SELECT 'prepared ' || count(*) FROM pg_prepared_statements;",
        "INSERT INTO effect SELECT 'cursors ' || count(*) FROM pg_cursors WHERE name = 'held';",
        "INSERT INTO effect SELECT 'locks ' || count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711"]}
  ]} $$);
CALL execute('run_leaks');
SELECT step, status, sqlstate, message FROM last_step WHERE package = 'run_leaks' ORDER BY started_at;
SELECT * FROM effect ORDER BY what;
TRUNCATE effect;

DROP PROCEDURE commits;
DROP TABLE effect;
