-- package_script: what psql makes of it is the same package again.

SET client_min_messages = error;

-- names of packages, what was normal before, and scripts
CREATE TABLE script (name text, definition jsonb, script text);
CREATE PROCEDURE remember(p text) LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO script
	SELECT p, workflow.normal_definition(workflow.package_definition(p)), workflow.package_script(p);
END;

\pset format unaligned
\pset tuples_only on

-- one of everything
SELECT workflow.define_package($doc$ {
  "name": "script'd \\ $1 $$",
  "description": "it's $text$ all here\n$text1$ and $$",
  "use_transactions": false, "commit_on_completion": false, "isolation_level": "serializable",
  "fail_on_first_error": false, "max_concurrent_steps": 3, "max_concurrent_runs": 1,
  "on_overlap": "reject", "priority": -7, "timeout": "90 minutes",
  "variables": {"day": null, "n": 1.50, "o": {"a": [1, "it's"]}}, "required_variables": ["day", "o"],
  "enabled": false,
  "settings": {"work_mem": "1MB", "search_path": "\"$user\", public", "jit": false, "statement_timeout": 0},
  "connections": [{"name": "dw", "transactional": false}, {"name": "DW's"}],
  "steps": [
    {"name": "first", "command": ["SELECT 'it''s';", "", "\tSELECT $_1$ 2 $_1$;"], "connection": "dw", "priority": 3,
     "join_transaction": true, "commit_on_success": true, "rollback_on_failure": true},
    {"name": "second", "command": "DO $text$ BEGIN END $text$", "connection": "DW's", "after": ["first"],
     "fail_package_on_error": true, "main_thread": true, "disabled": true, "condition": "'x' <> $$y$$",
     "condition_interval": "1.5 s", "atomic": false, "max_attempts": 4, "retry_delay": "1 day 2 hours", "retry_backoff": 1.250,
     "retry_on": ["40", "57P01"], "timeout": "1 h", "lock_timeout": "2 s",
     "settings": {"lock_timeout": "1s"}, "result_variable": "n", "description": "zwei: ☃"},
    {"name": "third", "kind": "none", "precedence": "any",
     "after": [{"step": "second", "on": "failure"}, "second", {"step": "first", "on": "completion"}, "last"]},
    {"name": "last", "kind": "package", "command": "chi'ld", "variables": {"d": "day", "it's": "'x'"},
     "after": ["first", "second", {"step": "second", "on": "completion"}]},
    {"name": "job", "kind": "job", "command": "child", "variables": {}},
    {"name": "alert", "finally": "failure", "command": "SELECT 1 AS a$"}
  ]} $doc$);
SELECT name FROM workflow.package WHERE name LIKE 'script''d%' \gset
SELECT workflow.package_script(:'name');
CALL remember(:'name');

-- ordinary ones, an empty one, a large one
SELECT workflow.define_package('{"name": "script_empty"}');
SELECT workflow.define_package('{"name": "script_plain", "steps": [{"name": "a", "command": "SELECT 1"}, {"name": "b", "command": "SELECT 2", "after": ["a"]}]}');
SELECT workflow.define_package(jsonb_build_object('name', 'script_large', 'steps',
	jsonb_agg(jsonb_build_object('name', 's' || i, 'command', 'SELECT ' || i,
		'after', CASE WHEN i > 1 THEN jsonb_build_array('s' || i - 1) ELSE '[]' END))))
FROM generate_series(1, 100) AS i;
SELECT workflow.package_script('script_empty');
SELECT workflow.package_script('script_plain');
CALL remember('script_empty');
CALL remember('script_plain');
CALL remember('script_large');

-- one that commits in between
SELECT workflow.define_package('{"name": "script_transaction", "connections": [{"name": "in"}, {"name": "out", "transactional": false}], "steps": [
	{"name": "a", "command": "SELECT 1", "connection": "in", "join_transaction": true, "rollback_on_failure": true},
	{"name": "b", "kind": "none", "commit_on_success": true, "after": ["a"]},
	{"name": "c", "command": "SELECT 1", "connection": "out", "after": ["b"]},
	{"name": "d", "command": "SELECT 1", "join_transaction": true, "after": ["b"]}]}');
CALL remember('script_transaction');

-- The scripts replace what is there, and make what is not; twice is as once.
SELECT workflow.alter_package(name, description => 'another', priority => 99) FROM script;
\getenv builddir PG_ABS_BUILDDIR
\set file :builddir '/results/definition_script.tmp'
\o :file
SELECT string_agg(script, '') FROM script;
\o /dev/null
\set ECHO none
\i :file
\set ECHO all
\o
SELECT name, definition = workflow.normal_definition(workflow.package_definition(name)) AS same,
	   script = workflow.package_script(name) AS same_script
FROM script ORDER BY name COLLATE "C";
SELECT workflow.drop_package(name) FROM script;
\o /dev/null
\set ECHO none
\i :file
\i :file
\set ECHO all
\o
SELECT name, definition = workflow.normal_definition(workflow.package_definition(name)) AS same,
	   script = workflow.package_script(name) AS same_script
FROM script ORDER BY name COLLATE "C";

\set ON_ERROR_STOP off

-- versions
SELECT workflow.start_job('script_plain') AS run \gset
SELECT workflow.wait_for_job(:run, '60s');
SELECT workflow.drop_step('script_plain', 'b');
SELECT workflow.package_script('script_plain', 1) = script AS first,
	   workflow.package_script('script_plain') = script AS now
FROM script WHERE name = 'script_plain';
SELECT workflow.package_script('script_plain', 3);
SELECT workflow.package_script('nobody');
SELECT workflow.package_script(NULL) IS NULL;

SELECT workflow.drop_package(name) FROM script;
DROP PROCEDURE remember;
DROP TABLE script;
