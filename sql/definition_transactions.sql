-- Package transactions, when they are defined: what is refused, what is
-- warned of, and that the options come back as they were given.

\set VERBOSITY terse

CREATE FUNCTION try(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
	hint text;
	result text;
BEGIN
	EXECUTE command INTO result;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(E'\n', SQLSTATE || ': ' || message,
		'DETAIL: ' || nullif(detail, ''), 'HINT: ' || nullif(hint, ''));
END $$;

-- Define the package "tx" with these steps, which are on connections k1, k2
-- and, not transactional, free: "ok", or the error.
CREATE FUNCTION try_steps(steps jsonb, package jsonb DEFAULT '{}') RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	result := try(format('SELECT workflow.define_package(%L)', '{"name": "tx",
		"connections": [{"name": "k1"}, {"name": "k2"}, {"name": "free", "transactional": false}]}' ||
		package || jsonb_build_object('steps', (
			SELECT coalesce(jsonb_agg(CASE WHEN step ? 'kind' THEN step ELSE '{"command": "SELECT 1"}' || step END ORDER BY n), '[]')
			FROM jsonb_array_elements(steps) WITH ORDINALITY AS e(step, n)))));
	RETURN CASE WHEN result ~ '^\d+$' THEN 'ok' ELSE result END;
END $$;

\pset format unaligned
\pset tuples_only on

-- kinds and connections that cannot take part
SELECT try_steps('[{"name": "a", "kind": "none", "join_transaction": true}]');
SELECT try_steps('[{"name": "a", "kind": "job", "command": "q", "join_transaction": true}]');
SELECT try_steps('[{"name": "a", "connection": "free", "join_transaction": true}]');
SELECT try_steps('[{"name": "a", "finally": "failure", "join_transaction": true}]');
SELECT try_steps('[{"name": "a", "kind": "none", "disabled": true, "join_transaction": true}]');
SELECT try_steps('[{"name": "a", "join_transaction": 1}]');
SELECT try_steps('[{"name": "a", "commit_on_success": "yes"}]');
SELECT try_steps('[]', '{"isolation_level": "read uncommitted"}');
SELECT try_steps('[]', '{"connections": [{"name": "c", "transactional": "no"}]}');
-- the same piece by piece
SELECT workflow.create_package('pieces');
SELECT workflow.add_connection('pieces', 'free', transactional => false);
SELECT workflow.add_step('pieces', 'a', 'SELECT 1', connection => 'free');
SELECT try($$SELECT workflow.alter_step('pieces', 'a', join_transaction => true)$$);
SELECT try($$SELECT workflow.add_step('pieces', 'b', kind => 'none', join_transaction => true)$$);

-- Where transactions are not used, what is said of them has no effect, and
-- nothing of it is refused or warned of; until they are used.
SELECT try_steps('[
	{"name": "a", "kind": "none", "join_transaction": true, "commit_on_success": true},
	{"name": "b", "kind": "job", "command": "tx", "join_transaction": true},
	{"name": "c", "connection": "free", "join_transaction": true, "rollback_on_failure": true},
	{"name": "d", "connection": "k1", "join_transaction": true},
	{"name": "e", "connection": "k2", "join_transaction": true},
	{"name": "f", "connection": "k1", "command": "VACUUM"},
	{"name": "g", "join_transaction": true, "command": "VACUUM"},
	{"name": "h", "finally": "failure", "join_transaction": true}]', '{"use_transactions": false}');
SELECT count(*) FROM workflow.validate_package('tx');
SELECT try($$SELECT workflow.alter_package('tx', use_transactions => true)$$);

-- A child of another owner cannot inherit.
CREATE ROLE regress_workflow_child LOGIN;
GRANT USAGE ON SCHEMA workflow TO regress_workflow_child;
SET ROLE regress_workflow_child;
SELECT workflow.create_package('child');
SELECT workflow.create_package('alone', use_transactions => false);
RESET ROLE;
SELECT try_steps('[{"name": "a", "kind": "package", "command": "child", "join_transaction": true}]');
SELECT try_steps('[{"name": "a", "kind": "package", "command": "child"}]');
SELECT try_steps('[{"name": "a", "kind": "package", "command": "child", "join_transaction": true, "disabled": true}]');
SELECT try_steps('[{"name": "a", "kind": "package", "command": "child", "join_transaction": true}]', '{"use_transactions": false}');
SELECT try_steps('[{"name": "a", "kind": "package", "command": "alone", "join_transaction": true}]');
SELECT try_steps('[{"name": "a", "kind": "package", "command": "tx", "join_transaction": true}]');
SELECT try_steps('[{"name": "a", "kind": "package", "command": "missing", "join_transaction": true}]');
-- who may not see the child, or change it
SET ROLE regress_workflow_child;
SELECT try($$SELECT workflow.define_package('{"name": "theirs", "steps": [
	{"name": "a", "kind": "package", "command": "tx", "join_transaction": true}]}')$$);
RESET ROLE;
-- It changes after the definition: an error then, found by who asks, and
-- in the way of no edit that mends it.
SELECT try_steps('[{"name": "a", "kind": "package", "command": "alone", "join_transaction": true}]');
SET ROLE regress_workflow_child;
SELECT workflow.alter_package('alone', use_transactions => true);
RESET ROLE;
SELECT * FROM workflow.validate_package('tx');
SELECT try($$SELECT workflow.alter_package('tx', priority => 1)$$);
SELECT workflow.alter_step('tx', 'a', join_transaction => false);
SELECT count(*) FROM workflow.validate_package('tx');
-- with the rights of a new owner
SELECT workflow.create_package('mine');
SELECT try_steps('[{"name": "a", "kind": "package", "command": "mine", "join_transaction": true}]');
SELECT try($$SELECT workflow.alter_package_owner('tx', 'regress_workflow_child')$$);
SELECT workflow.alter_package_owner('mine', 'regress_workflow_child');
SELECT * FROM workflow.validate_package('tx');
SELECT workflow.drop_package('child'), workflow.drop_package('alone'), workflow.drop_package('mine');
REVOKE USAGE ON SCHEMA workflow FROM regress_workflow_child;
DROP ROLE regress_workflow_child;

-- statements that end a transaction, in any step
SELECT try_steps('[
	{"name": "a", "command": "SELECT 1; COMMIT; ROLLBACK"},
	{"name": "b", "command": "START TRANSACTION", "join_transaction": true},
	{"name": "c", "command": "SAVEPOINT s", "atomic": false},
	{"name": "d", "command": "COMMIT", "disabled": true},
	{"name": "e", "command": "DO $$BEGIN COMMIT; END$$"}]');

-- Statements that are refused in a transaction block, where they join.  Those
-- that are not are no reason for a warning.
SELECT try_steps(jsonb_agg(jsonb_build_object('name', n::text, 'command', command, 'join_transaction', true) ORDER BY n))
FROM unnest(ARRAY[
	'VACUUM', 'VACUUM (ANALYZE) t', 'SELECT 1; VACUUM t',
	'CREATE INDEX CONCURRENTLY i ON t (a)', 'DROP INDEX CONCURRENTLY i', 'ALTER TABLE t DETACH PARTITION p CONCURRENTLY',
	'REINDEX TABLE CONCURRENTLY t', 'REINDEX (VERBOSE, CONCURRENTLY) INDEX i', 'REINDEX SCHEMA s', 'REINDEX DATABASE d', 'REINDEX SYSTEM d',
	'CLUSTER', 'CREATE DATABASE d', 'DROP DATABASE d', 'ALTER DATABASE d SET TABLESPACE x',
	'CREATE TABLESPACE x LOCATION ''/x''', 'DROP TABLESPACE x', 'ALTER SYSTEM SET work_mem = 1', 'DISCARD ALL',
	'CREATE SUBSCRIPTION s CONNECTION ''c'' PUBLICATION p']) WITH ORDINALITY AS u(command, n);
SELECT try_steps(jsonb_agg(jsonb_build_object('name', n::text, 'command', command, 'join_transaction', true) ORDER BY n))
FROM unnest(ARRAY[
	'ANALYZE', 'CREATE INDEX i ON t (a)', 'DROP INDEX i', 'ALTER TABLE t DETACH PARTITION p', 'REINDEX TABLE t',
	'REINDEX (CONCURRENTLY false) INDEX i', 'REINDEX (CONCURRENTLY perhaps) INDEX i', 'CLUSTER t', 'ALTER DATABASE d SET work_mem = 1',
	'DISCARD TEMP', 'REFRESH MATERIALIZED VIEW CONCURRENTLY m', 'CALL p()', 'ALTER TABLE t ADD c int, ALTER d DROP NOT NULL',
	'CREATE SUBSCRIPTION s CONNECTION ''c'' PUBLICATION p WITH (connect = false)',
	'CREATE SUBSCRIPTION s CONNECTION ''c'' PUBLICATION p WITH (create_slot = off)',
	'INSERT INTO t VALUES (''VACUUM''); UPDATE t SET a = 1']) WITH ORDINALITY AS u(command, n);
-- or where the step is one transaction of several statements
SELECT try_steps('[
	{"name": "a", "command": "VACUUM t; VACUUM u"},
	{"name": "b", "command": "VACUUM t; VACUUM u", "atomic": false},
	{"name": "c", "command": "VACUUM t"},
	{"name": "d", "command": "VACUUM t;"}]');

-- They do not join: while the transaction is open ...
SELECT try_steps('[
	{"name": "first", "command": "VACUUM t"},
	{"name": "join", "join_transaction": true, "after": ["first"]},
	{"name": "after", "command": "VACUUM t", "after": ["join"]},
	{"name": "beside", "command": "SELECT 1; CREATE INDEX CONCURRENTLY i ON t (a)", "atomic": false, "after": ["first"]},
	{"name": "other", "command": "ALTER SYSTEM SET work_mem = 1", "after": ["join"]},
	{"name": "analyze", "command": "ANALYZE", "after": ["join"]},
	{"name": "finally", "command": "VACUUM t", "finally": "completion"}]');
SELECT * FROM workflow.validate_package('tx');
-- ... also that of a child
SELECT try_steps('[
	{"name": "child", "kind": "package", "command": "tx", "join_transaction": true},
	{"name": "after", "command": "VACUUM t", "after": ["child"]}]');
-- ... but not when it has been committed: by the step itself, by one that
-- does not join, far away
SELECT try_steps('[
	{"name": "a", "join_transaction": true},
	{"name": "b", "join_transaction": true, "after": ["a"]},
	{"name": "c", "kind": "none", "commit_on_success": true, "after": ["a", "b"]},
	{"name": "d", "command": "VACUUM t", "after": ["c"]},
	{"name": "e", "command": "VACUUM t", "after": ["a", "d"]},
	{"name": "f", "join_transaction": true, "commit_on_success": true, "after": ["e"]},
	{"name": "g", "command": "VACUUM t", "after": ["f"]}]');
-- ... nor rolled back
SELECT try_steps('[
	{"name": "a", "join_transaction": true},
	{"name": "b", "join_transaction": true, "rollback_on_failure": true, "after": ["a"]},
	{"name": "c", "command": "VACUUM t", "after": [{"step": "b", "on": "failure"}]},
	{"name": "d", "command": "VACUUM t", "after": ["b"]}]', '{"fail_on_first_error": false}');
-- Something joins beside the step that commits, or after it.
SELECT try_steps('[
	{"name": "a", "join_transaction": true},
	{"name": "b", "join_transaction": true, "commit_on_success": true},
	{"name": "c", "command": "VACUUM t", "after": ["a", "b"]},
	{"name": "d", "kind": "none", "commit_on_success": true, "after": ["c"]},
	{"name": "e", "join_transaction": true, "after": ["d"]},
	{"name": "f", "command": "VACUUM t", "after": ["e"]}]');
-- The step that commits may have failed, or been left aside.
SELECT try_steps('[
	{"name": "a", "join_transaction": true, "commit_on_success": true},
	{"name": "b", "command": "VACUUM t", "after": [{"step": "a", "on": "completion"}]},
	{"name": "c", "command": "SELECT 1"},
	{"name": "d", "command": "VACUUM t", "after": ["a", "c"], "precedence": "any"},
	{"name": "e", "command": "VACUUM t", "after": ["a"], "precedence": "any"}]', '{"fail_on_first_error": false}');
-- It is ended with either outcome, or one step at a time ends it.
SELECT try_steps('[
	{"name": "a", "join_transaction": true, "commit_on_success": true, "rollback_on_failure": true},
	{"name": "b", "command": "VACUUM t", "after": [{"step": "a", "on": "completion"}]}]', '{"fail_on_first_error": false}');
SELECT try_steps('[
	{"name": "a", "join_transaction": true, "commit_on_success": true},
	{"name": "b", "command": "VACUUM t"}]', '{"max_concurrent_steps": 1}');
SELECT try_steps('[
	{"name": "a", "join_transaction": true, "commit_on_success": true, "main_thread": true},
	{"name": "b", "command": "VACUUM t", "main_thread": true}]');
SELECT try_steps('[
	{"name": "a", "join_transaction": true, "commit_on_success": true},
	{"name": "b", "command": "VACUUM t"}]', '{"max_concurrent_steps": 1, "fail_on_first_error": false}');
-- After a failure nothing starts, so this one has committed.
SELECT try_steps('[
	{"name": "a", "join_transaction": true, "commit_on_success": true},
	{"name": "b", "command": "VACUUM t", "after": [{"step": "a", "on": "completion"}]}]');
SELECT try_steps('[
	{"name": "a", "join_transaction": true, "commit_on_success": true, "fail_package_on_error": true},
	{"name": "b", "command": "VACUUM t", "after": [{"step": "a", "on": "completion"}]}]', '{"fail_on_first_error": false}');
-- What never happens in the same run is nothing to warn of.
SELECT try_steps('[
	{"name": "a"},
	{"name": "b", "join_transaction": true, "after": ["a"]},
	{"name": "c", "after": [{"step": "a", "on": "failure"}]},
	{"name": "d", "command": "VACUUM t", "after": ["c"]},
	{"name": "e", "join_transaction": true, "disabled": true},
	{"name": "f", "join_transaction": true, "after": ["e"]}]', '{"fail_on_first_error": false}');

-- steps that do not join, on a connection through which others join
SELECT try_steps('[
	{"name": "before", "connection": "k1"},
	{"name": "join", "connection": "k1", "join_transaction": true, "after": ["before"]},
	{"name": "after", "connection": "k1", "after": ["join"]},
	{"name": "vacuum", "connection": "k1", "command": "VACUUM t", "after": ["join"]},
	{"name": "system", "connection": "k1", "command": "ALTER SYSTEM SET work_mem = 1", "after": ["join"]},
	{"name": "other", "connection": "k2", "after": ["join"]},
	{"name": "free", "connection": "free", "after": ["join"]},
	{"name": "unnamed", "after": ["join"]},
	{"name": "commit", "kind": "none", "commit_on_success": true, "after": ["join", "after", "vacuum", "system"]},
	{"name": "committed", "connection": "k1", "after": ["commit"]}]');

-- commits of nothing
SELECT try_steps('[{"name": "a", "commit_on_success": true}]');
SELECT try_steps('[
	{"name": "a", "commit_on_success": true},
	{"name": "b", "join_transaction": true, "commit_on_success": true, "after": ["a"]},
	{"name": "c", "commit_on_success": true, "after": ["b"]},
	{"name": "d", "commit_on_success": true},
	{"name": "e", "commit_on_success": true, "disabled": true},
	{"name": "f", "commit_on_success": true, "finally": "success"}]');

-- two connections at a time
SELECT try_steps('[
	{"name": "a", "connection": "k1", "join_transaction": true},
	{"name": "b", "connection": "k1", "join_transaction": true},
	{"name": "c", "connection": "k2", "join_transaction": true, "after": ["a"]},
	{"name": "d", "join_transaction": true},
	{"name": "e", "connection": "k2"},
	{"name": "f", "connection": "k2", "join_transaction": true, "after": ["a", "b"]}]');
-- one step at a time, one after the other, or never in the same run
SELECT try_steps('[
	{"name": "a", "connection": "k1", "join_transaction": true},
	{"name": "b", "connection": "k2", "join_transaction": true}]', '{"max_concurrent_steps": 1}');
SELECT try_steps('[
	{"name": "a", "connection": "k1", "join_transaction": true, "main_thread": true},
	{"name": "b", "connection": "k2", "join_transaction": true, "main_thread": true}]');
SELECT try_steps('[
	{"name": "a", "connection": "k1", "join_transaction": true},
	{"name": "b", "kind": "none", "after": [{"step": "a", "on": "completion"}]},
	{"name": "c", "connection": "k2", "join_transaction": true, "after": ["b"]}]');
SELECT try_steps('[
	{"name": "a", "connection": "k1", "join_transaction": true, "rollback_on_failure": true},
	{"name": "b", "connection": "k1", "join_transaction": true, "after": ["a"]},
	{"name": "c", "kind": "none", "after": [{"step": "a", "on": "failure"}]},
	{"name": "d", "connection": "k2", "join_transaction": true, "after": ["c"]}]', '{"fail_on_first_error": false}');
-- main_thread of only one of them is not enough, nor is any one of several constraints
SELECT try_steps('[
	{"name": "a", "connection": "k1", "join_transaction": true, "main_thread": true},
	{"name": "b"},
	{"name": "c", "connection": "k2", "join_transaction": true, "after": ["a", "b"], "precedence": "any"}]');

-- A large package is warned of the first few.
SELECT try_steps(jsonb_agg(jsonb_build_object('name', 's' || i, 'connection', 'k' || i % 2 + 1, 'join_transaction', true) ORDER BY i))
FROM generate_series(1, 2000) AS i;
-- This would be too much to compare each step with each other, and is right.
SELECT try_steps(jsonb_agg(jsonb_build_object('name', 's' || i, 'connection', 'k' || i % 2 + 1, 'join_transaction', true,
	'after', CASE WHEN i > 1 THEN jsonb_build_array('s' || i - 1) ELSE '[]' END) ORDER BY i))
FROM generate_series(1, 10000) AS i;

-- An edit warns of what is new.
SELECT try_steps('[
	{"name": "a", "connection": "k1", "join_transaction": true},
	{"name": "b", "connection": "k1"},
	{"name": "c", "command": "VACUUM t"},
	{"name": "d", "command": "COMMIT"},
	{"name": "e", "commit_on_success": true}]');
SELECT workflow.alter_package('tx', priority => 1);
SELECT workflow.alter_step('tx', 'd', command => 'ROLLBACK');
SELECT workflow.add_step('tx', 'f', 'SELECT 1', connection => 'k2', join_transaction => true);

-- It is possible, too, where what it mends does not parse any more.
UPDATE workflow.definition_version SET document = jsonb_set(document, '{steps,2,command}', '"VACUUMM t"') WHERE name = 'tx';
SELECT workflow.alter_step('tx', 'c', command => 'VACUUM t');

-- Nothing to say of what is right.
SELECT workflow.define_package('{"name": "load_dimensions"}');
SELECT workflow.define_package($$ {
  "name": "load_day",
  "use_transactions": true,           "commit_on_completion": true,
  "fail_on_first_error": true,        "isolation_level": "read committed",
  "connections": [ {"name": "dw"}, {"name": "crm", "transactional": true} ],
  "steps": [
    {"name": "stage",  "command": "INSERT INTO stage SELECT * FROM orders", "join_transaction": true, "connection": "dw"},
    {"name": "merge",  "command": "MERGE INTO day USING stage ON (day.id = stage.id) WHEN MATCHED THEN DELETE", "join_transaction": true, "connection": "dw", "after": ["stage"]},
    {"name": "dims",   "kind": "package", "command": "load_dimensions", "join_transaction": true, "commit_on_success": true,
                       "after": ["merge"]},
    {"name": "vacuum", "command": "VACUUM (ANALYZE) orders", "after": ["dims"]},
    {"name": "alert",  "finally": "failure",
                       "command": ["INSERT INTO alert", "SELECT workflow.run_id(), workflow.error_path(), workflow.error_message()"]}
  ]} $$);
SELECT count(*) FROM workflow.validate_package('load_day');

-- The options come back: as a document, in the views, when they are altered
-- and reset, and as a script.
SELECT workflow.create_package('back', use_transactions => true, commit_on_completion => false, isolation_level => 'repeatable read');
SELECT workflow.add_connection('back', 'in');
SELECT workflow.add_connection('back', 'out', transactional => false);
SELECT workflow.add_step('back', 'a', 'SELECT 1', connection => 'in', join_transaction => true, rollback_on_failure => true);
SELECT workflow.add_step('back', 'b', kind => 'none', commit_on_success => true, after => '{a}');
SELECT workflow.add_step('back', 'c', 'SELECT 1', connection => 'out', join_transaction => false, after => '{b}');
SELECT workflow.package_definition('back');
SELECT use_transactions, commit_on_completion, isolation_level FROM workflow.package WHERE name = 'back';
SELECT name, server, transactional FROM workflow.connection WHERE package = 'back';
SELECT name, join_transaction, commit_on_success, rollback_on_failure FROM workflow.step WHERE package = 'back' ORDER BY number;
SELECT workflow.define_package(workflow.package_definition('back'));
SELECT workflow.package_script('back');
SELECT workflow.alter_package('back', use_transactions => false, isolation_level => 'serializable', reset => '{commit_on_completion}');
SELECT workflow.alter_step('back', 'a', commit_on_success => true, reset => '{rollback_on_failure}');
SELECT workflow.alter_step('back', 'b', join_transaction => true, rollback_on_failure => true, reset => '{commit_on_success}');
SELECT workflow.package_definition('back');
SELECT workflow.alter_step('back', 'b', reset => '{join_transaction}');
SELECT workflow.alter_package('back', reset => '{use_transactions,isolation_level}');
SELECT workflow.package_definition('back') - 'steps' - 'connections';

SELECT workflow.drop_package(unnest(ARRAY['tx', 'pieces', 'load_dimensions', 'load_day', 'back']));
DROP FUNCTION try_steps, try;
