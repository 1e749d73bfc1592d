-- Definitions: versions, what comes back, what means the same.

SET client_min_messages = warning;

SELECT workflow.define_package('{"name": "p", "steps": [{"name": "a", "command": "SELECT 1"}]}');

-- the document comes back as it was given
SELECT jsonb_pretty(workflow.package_definition('p'));

-- Defining what is there already changes nothing: in other words, with
-- defaults written down, or as it came back.
SELECT workflow.define_package('{"steps": [{"command": ["SELECT 1"], "kind": "sql", "after": [], "name": "a"}],
	"fail_on_first_error": true, "max_concurrent_steps": 4, "variables": {}, "name": "p"}') AS version;
SELECT workflow.define_package(workflow.package_definition('p')) AS version;
SELECT workflow.package_definition('p') = workflow.package_definition('p', 1) AS same;

-- A version that no run has used is edited in place.
SELECT workflow.define_package('{"name": "p", "description": "one", "steps": [{"name": "a", "command": "SELECT 1"}]}') AS version;
SELECT workflow.package_definition('p') ->> 'description' AS description;

-- One that a run has used is not; runs keep theirs.
SELECT workflow.start_job('p') AS run \gset
SELECT workflow.wait_for_job(:run, '60s');
SELECT workflow.define_package('{"name": "p", "description": "two", "steps": [{"name": "b", "command": "SELECT 2"}]}') AS version;
SELECT workflow.define_package('{"name": "p", "description": "three", "steps": [{"name": "b", "command": "SELECT 2"}]}') AS version;
SELECT v, workflow.package_definition('p', v) ->> 'description' AS description
FROM generate_series(1, 2) AS v;
SELECT workflow.package_definition('p') ->> 'description' AS description;
SELECT workflow.define_package(workflow.package_definition('p', 1)) AS version;
SELECT version, step, command
FROM workflow.run_history JOIN workflow.step_history USING (run_id)
WHERE run_id = :run;

-- A start freezes the version at once, for its own transaction, too.
BEGIN;
SELECT workflow.start_job('p') > 0 AS started;
SELECT workflow.define_package('{"name": "p", "steps": [{"name": "c", "command": "SELECT 3"}]}') AS version;
ROLLBACK;
SELECT workflow.package_definition('p') -> 'steps' -> 0 ->> 'name' AS step;

-- no such package, no such version
SELECT workflow.package_definition('nobody');
SELECT workflow.package_definition('p', 99);
SELECT workflow.package_definition(NULL);
SELECT workflow.define_package(NULL);

-- Definitions are transactional.
BEGIN;
SELECT workflow.define_package('{"name": "gone", "steps": [{"name": "a", "command": "SELECT 1"}]}') AS version;
ROLLBACK;
SELECT workflow.package_definition('gone');

-- A document of every shape: commands as arrays of lines, constraints as
-- names and as objects, all that this version can do.
SELECT workflow.define_package($$ {
  "name": "Alles möglich: \"quoted\" \\ $1",
  "description": "every shape",
  "fail_on_first_error": false, "max_concurrent_steps": 2,
  "variables": {"s": "text", "n": 1.50, "b": true, "null": null, "o": {"a": [1, "2", null]}},
  "connections": [{"name": "dw"}, {"name": "DW"}],
  "steps": [
    {"name": "first", "command": ["SELECT 1;", "SELECT", "  2"], "connection": "dw", "priority": -1},
    {"name": "second", "command": "SELECT 2", "after": ["first"], "connection": "DW", "description": "two"},
    {"name": "third", "kind": "none", "disabled": true,
     "after": [{"step": "second", "on": "failure"}, {"step": "first", "on": "completion"}, {"step": "last", "on": "success"}],
     "precedence": "any"},
    {"name": "last", "kind": "package", "command": "p", "after": []}
  ]} $$) AS version;
SELECT key, jsonb_pretty(value) AS value
FROM jsonb_each(workflow.package_definition('Alles möglich: "quoted" \ $1'))
WHERE key IN ('name', 'description', 'fail_on_first_error', 'max_concurrent_steps', 'variables', 'connections')
ORDER BY key COLLATE "C";
SELECT step ->> 'name' AS name, step ->> 'kind' AS kind, step ->> 'command' AS command,
	   step ->> 'connection' AS connection, step ->> 'after' AS after,
	   step ->> 'precedence' AS precedence, step ->> 'disabled' AS disabled
FROM jsonb_array_elements(workflow.package_definition('Alles möglich: "quoted" \ $1') -> 'steps') AS step;
SELECT workflow.define_package(workflow.package_definition('Alles möglich: "quoted" \ $1')) AS version;

-- names are compared as they are written
SELECT workflow.define_package('{"name": "P", "steps": [{"name": "a", "command": "SELECT 1"}, {"name": "A", "command": "SELECT 1"}]}') AS version;
SELECT workflow.package_definition('p') ->> 'name' AS p, workflow.package_definition('P') ->> 'name' AS "P";

-- a package without steps, and one of many
SELECT workflow.define_package('{"name": "empty"}') AS version;
SELECT workflow.define_package(jsonb_build_object('name', 'many', 'steps',
	jsonb_agg(jsonb_build_object('name', 's' || i, 'kind', 'none',
		'after', CASE WHEN i > 1 THEN jsonb_build_array('s' || i - 1) ELSE '[]' END)))) AS version
FROM generate_series(1, 5000) AS i;
SELECT jsonb_array_length(workflow.package_definition('many') -> 'steps') AS steps;

-- a child that does not exist yet
SELECT workflow.define_package('{"name": "parent", "steps": [{"name": "a", "kind": "package", "command": "not yet"}]}') AS version;
