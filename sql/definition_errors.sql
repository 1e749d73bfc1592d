-- What define_package refuses, each time by name, and leaves no trace of.

\set VERBOSITY terse

CREATE FUNCTION try(definition jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
	hint text;
BEGIN
	RETURN 'version ' || workflow.define_package(definition);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(E'\n', SQLSTATE || ': ' || message,
		'DETAIL: ' || nullif(detail, ''), 'HINT: ' || nullif(hint, ''));
END $$;

-- a package of one step with these options
CREATE FUNCTION try_step(options jsonb) RETURNS text
BEGIN ATOMIC
	SELECT try(jsonb_build_object('name', 'err', 'steps', jsonb_build_array(
		'{"name": "a", "command": "SELECT 1"}'::jsonb || options)));
END;

-- a package of steps of kind none: {"a": [what it comes after], ...}
CREATE FUNCTION try_graph(after jsonb) RETURNS text
BEGIN ATOMIC
	SELECT try(jsonb_build_object('name', 'err', 'steps', jsonb_agg(
		jsonb_build_object('name', key, 'kind', 'none', 'after', value) ORDER BY key)))
	FROM jsonb_each(after);
END;

\pset format unaligned
\pset tuples_only on

-- not the right shape
SELECT try('[]');
SELECT try('"p"');
SELECT try('{}');
SELECT try('{"name": null}');
SELECT try('{"name": 1}');
SELECT try('{"name": ""}');
SELECT try(jsonb_build_object('name', repeat('x', 64)));
SELECT try('{"name": "err", "steps": {}}');
SELECT try('{"name": "err", "steps": [1]}');
SELECT try('{"name": "err", "steps": [{"command": "SELECT 1"}]}');
SELECT try('{"name": "err", "connections": ["c"]}');

-- unknown options
SELECT try('{"name": "err", "max_concurrent_step": 2}');
SELECT try_step('{"commandd": "SELECT 1"}');
SELECT try('{"name": "err", "connections": [{"name": "c", "host": "here"}]}');

-- values that are no values of the option
SELECT try('{"name": "err", "fail_on_first_error": "yes"}');
SELECT try('{"name": "err", "max_concurrent_steps": 0}');
SELECT try('{"name": "err", "max_concurrent_steps": 1.5}');
SELECT try('{"name": "err", "max_concurrent_steps": "4"}');
SELECT try('{"name": "err", "max_concurrent_steps": 3000000000}');
SELECT try('{"name": "err", "variables": ["day"]}');
SELECT try('{"name": "err", "isolation_level": "chaos"}');
SELECT try('{"name": "err", "max_attempts": 0}');
SELECT try('{"name": "err", "retry_delay": "-1s"}');
SELECT try('{"name": "err", "retry_on": []}');
SELECT try('{"name": "err", "retry_on": ["4"]}');
SELECT try_step('{"kind": "shell"}');
SELECT try_step('{"command": 1}');
SELECT try_step('{"command": ["SELECT", 1]}');
SELECT try_step('{"disabled": 0}');
SELECT try_step('{"priority": "high"}');
SELECT try_step('{"balance": "random"}');
SELECT try_step('{"precedence": "some"}');
SELECT try_step('{"timeout": "soon"}');

-- names that are there twice, or not at all
SELECT try('{"name": "err", "steps": [{"name": "a", "kind": "none"}, {"name": "a", "kind": "none"}]}');
SELECT try('{"name": "err", "connections": [{"name": "c"}, {"name": "d"}, {"name": "c"}]}');
SELECT try_step('{"connection": "nowhere"}');
SELECT try_step('{"after": ["nobody"]}');
SELECT try_step('{"after": "a"}');
SELECT try_step('{"after": [1]}');
SELECT try_step('{"after": [{"step": "a", "on": "error"}]}');
SELECT try_step('{"after": [{"on": "success"}]}');
SELECT try_step('{"after": [{"step": "a", "onn": "success"}]}');
SELECT try_graph('{"a": [], "b": ["a", {"step": "a", "on": "failure"}]}');

-- cycles
SELECT try_graph('{"a": ["a"]}');
SELECT try_graph('{"a": ["b"], "b": ["a"]}');
SELECT try_graph('{"a": [], "b": ["a", "d"], "c": ["b"], "d": [{"step": "c", "on": "completion"}]}');

-- kinds and what they need
SELECT try('{"name": "err", "steps": [{"name": "a"}]}');
SELECT try('{"name": "err", "steps": [{"name": "a", "command": ""}]}');
SELECT try('{"name": "err", "steps": [{"name": "a", "kind": "package"}]}');
SELECT try_step('{"kind": "none"}');
SELECT try('{"name": "err", "connections": [{"name": "c"}], "steps": [{"name": "a", "kind": "none", "connection": "c"}]}');
SELECT try('{"name": "err", "connections": [{"name": "c"}], "steps": [{"name": "a", "kind": "package", "command": "q", "connection": "c"}]}');

-- SQL that does not parse
SELECT try_step('{"command": "SELEKT 1"}');
SELECT try_step('{"command": ["SELECT 1;", "SELECT (2"]}');
SELECT try_step('{"command": "SELECT ''x"}');

\set VERBOSITY default
SELECT workflow.define_package('{"name": "err", "steps": [{"name": "a", "command": ["SELECT 1;", "SELECT", "  FROM x WHERE (2"]}]}');
\set VERBOSITY terse

-- options that this version does not carry out: accepted with their default
-- as value, else refused, by name
SELECT try_step('{"kind": "job", "command": "q", "servers": ["s"]}');
SELECT try_step('{"kind": "job", "command": "q", "balance": "least_busy"}');
SELECT try_step('{"kind": "job", "command": "q", "wait": true}');
SELECT try('{"name": "err", "connections": [{"name": "c", "server": "s"}]}');

-- Nothing of all this has made a package.
SELECT try_step('{"join_transaction": false, "condition": null, "timeout": null, "max_attempts": 1}');
SELECT workflow.package_definition('err') -> 'steps' -> 0 ->> 'command';

-- the package of somebody else
CREATE ROLE regress_workflow_other;
GRANT USAGE ON SCHEMA workflow TO regress_workflow_other;
SET ROLE regress_workflow_other;
SELECT try_step('{}');
SELECT workflow.package_definition('err');
RESET ROLE;
REVOKE USAGE ON SCHEMA workflow FROM regress_workflow_other;
DROP ROLE regress_workflow_other;

DROP FUNCTION try_graph, try_step, try;
