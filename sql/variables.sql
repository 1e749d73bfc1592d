-- Variables: declared with defaults, given at the start, read in steps,
-- handed to children by value.

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir /test/helpers.sql
\i :helpers

CREATE TABLE seen (package text, step text, name text, value text);

SELECT workflow.define_package($$ {
  "name": "var_values",
  "variables": {"text": "default", "number": 1.50, "flag": true, "nothing": null,
                "list": [1, "two", null], "object": {"key": {"inner": 1}}, "Name with ä \" quote": "x"},
  "steps": [
    {"name": "read", "command": [
        "INSERT INTO seen SELECT 'var_values', workflow.step_name(), key, workflow.variable(key)",
        "FROM jsonb_object_keys(workflow.variables()) AS key"]}
  ]} $$);

-- defaults: text without quotes, the rest as JSON, null as null
CALL execute('var_values', '{}');
SELECT name, value, value IS NULL AS is_null FROM seen ORDER BY name COLLATE "C";
SELECT variables FROM workflow.run_history WHERE package = 'var_values' ORDER BY run_id DESC LIMIT 1;
TRUNCATE seen;

-- given values replace defaults, of whatever type, one by one
CALL execute('var_values', '{"text": {"now": "an object"}, "number": "a text", "flag": null, "nothing": "something", "list": []}');
SELECT name, value, value IS NULL AS is_null FROM seen ORDER BY name COLLATE "C";
SELECT variables FROM workflow.run_history WHERE package = 'var_values' ORDER BY run_id DESC LIMIT 1;
TRUNCATE seen;

-- a variable that was not declared
SELECT workflow.start_job('var_values', '{"text": "x", "txt": "y"}');
SELECT workflow.start_job('var_values', '[1]');
SELECT workflow.define_package($$ {
  "name": "var_unknown", "variables": {"day": "2024-02-29"},
  "steps": [{"name": "a", "command": "SELECT workflow.variable('night')"}]} $$);
CALL execute('var_unknown', '{}');
SELECT status, error_path, sqlstate, message FROM workflow.run_history WHERE package = 'var_unknown';

-- run_id, step_name, in every kind of context
SELECT workflow.define_package($$ {
  "name": "var_context", "variables": {"day": "2024-02-29"}, "connections": [{"name": "c"}],
  "steps": [
    {"name": "plain", "command": "INSERT INTO seen SELECT workflow.run_id(), workflow.step_name(), 'day', workflow.variable('day')::date + 1"},
    {"name": "named connection", "connection": "c", "command": "INSERT INTO seen SELECT workflow.run_id(), workflow.step_name(), 'day', workflow.variable('day')"},
    {"name": "do", "command": "DO 'BEGIN INSERT INTO seen SELECT workflow.run_id(), workflow.step_name(), ''day'', workflow.variable(''day''); COMMIT; INSERT INTO seen SELECT workflow.run_id(), workflow.step_name(), ''day'', workflow.variables() ->> ''day''; END'"}
  ]} $$);
CALL execute('var_context', '{}');
SELECT s.step, s.name, s.value, s.package = h.run_id::text AS right_run
FROM seen AS s, workflow.run_history AS h
WHERE h.package = 'var_context'
ORDER BY s.step, s.value;
TRUNCATE seen;

-- A child gets those of the run's variables that it declares, and its own
-- defaults for the others; what it has is its own.
SELECT workflow.define_package($$ {
  "name": "var_child", "variables": {"day": "child", "mine": "child", "typed": 0},
  "steps": [{"name": "read", "command": [
        "INSERT INTO seen SELECT 'var_child', workflow.step_name(), key, value #>> '{}'",
        "FROM jsonb_each(workflow.variables())"]}
  ]} $$);
SELECT workflow.define_package($$ {
  "name": "var_parent", "variables": {"day": "parent", "other": "parent", "typed": [1, 2]},
  "steps": [
    {"name": "child", "kind": "package", "command": "var_child"},
    {"name": "read", "after": ["child"], "command": [
        "INSERT INTO seen SELECT 'var_parent', workflow.step_name(), key, value #>> '{}'",
        "FROM jsonb_each(workflow.variables())"]}
  ]} $$);
CALL execute('var_parent', '{"day": "given"}');
SELECT package, name, value FROM seen ORDER BY package, name;
SELECT package, variables FROM workflow.run_history WHERE package IN ('var_parent', 'var_child') ORDER BY run_id;
TRUNCATE seen;

-- outside of a step
SELECT workflow.run_id(), workflow.step_name(), workflow.variables();
SELECT workflow.variable('day');
SET workflow.variables = '{"day": "forged"}';
SELECT workflow.variable('day'), workflow.run_id();
RESET workflow.variables;

-- large, and many
SELECT workflow.define_package(jsonb_build_object('name', 'var_large',
	'variables', jsonb_object_agg('v' || i, repeat('x', 1000)) || '{"big": null}',
	'steps', '[{"name": "a", "command": "INSERT INTO seen SELECT workflow.run_id(), null, count(*), sum(length(value)) FROM jsonb_each_text(workflow.variables())"}]'::jsonb))
FROM generate_series(1, 1000) AS i;
CALL execute('var_large', jsonb_build_object('big', repeat('y', 1000000)));
SELECT name, value FROM seen;
-- workflow.variables, as steps on servers see them: in steps and conditions,
-- with what the step has set, in parallel workers too; nothing outside
CREATE TABLE values_seen (step text, value text);
CREATE TABLE big AS SELECT i FROM generate_series(1, 10000) AS i;
ANALYZE big;
SELECT workflow.define_package($$ {
  "name": "var_setting", "variables": {"n": 3, "day": "2024-02-29", "counted": null}, "connections": [{"name": "c"}],
  "steps": [
    {"name": "a", "command": [
        "INSERT INTO values_seen VALUES ('a', current_setting('workflow.variables')::jsonb ->> 'day');",
        "SELECT workflow.set_variable('day', current_date - current_date);",
        "INSERT INTO values_seen VALUES ('a', current_setting('workflow.variables')::jsonb ->> 'day')"]},
    {"name": "b", "after": ["a"], "connection": "c", "condition": "current_setting('workflow.variables')::jsonb ->> 'day' = '0'",
     "command": "INSERT INTO values_seen VALUES ('b', current_setting('workflow.variables')::jsonb = workflow.variables())"},
    {"name": "parallel", "after": ["b"],
     "settings": {"parallel_setup_cost": "0", "parallel_tuple_cost": "0", "min_parallel_table_scan_size": "0", "parallel_leader_participation": "off"},
     "command": "INSERT INTO values_seen VALUES ('parallel', ''); SELECT count(*) FROM big WHERE i <= (current_setting('workflow.variables')::jsonb ->> 'n')::int", "result_variable": "counted"},
    {"name": "after a failure", "after": ["parallel"], "atomic": false, "command": [
        "DO $do$ BEGIN PERFORM workflow.set_variable('day', 'kept'); RAISE 'x'; EXCEPTION WHEN OTHERS THEN NULL; END $do$;",
        "INSERT INTO values_seen VALUES ('after a failure', current_setting('workflow.variables'))"]}
  ]} $$);
CALL execute('var_setting', '{"n": 7}');
SELECT * FROM values_seen ORDER BY step, value;
SELECT variables FROM workflow.run_history WHERE package = 'var_setting';
SELECT current_setting('workflow.variables') = '' AS empty;
SELECT count(*) FROM pg_settings WHERE name = 'workflow.variables';
ALTER ROLE CURRENT_USER SET workflow.variables = '{}';
ALTER SYSTEM SET workflow.variables = '{}';
DROP TABLE values_seen, big;


DROP TABLE seen;
