-- Every option of a package, a connection and a step with values of every
-- type: null is its default, what does not fit is refused by name.

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir /test/helpers.sql
\i :helpers

SET client_min_messages = error;

-- A document in which one option has a value.
CREATE FUNCTION document(level text, option text, value jsonb) RETURNS jsonb
BEGIN ATOMIC
	SELECT CASE level
		WHEN 'package' THEN '{"name": "err"}'::jsonb || jsonb_build_object(option, value)
		WHEN 'connection' THEN jsonb_build_object('name', 'err', 'connections',
			jsonb_build_array('{"name": "c"}'::jsonb || jsonb_build_object(option, value)))
		WHEN 'step' THEN jsonb_build_object('name', 'err', 'steps',
			jsonb_build_array('{"name": "a", "command": "SELECT 1"}'::jsonb || jsonb_build_object(option, value))) END;
END;

CREATE TABLE option AS
SELECT 'package' AS level, key AS option, value AS normal
FROM jsonb_each(workflow.normal_definition('{"name": "err"}'))
UNION ALL
SELECT 'connection', key, value
FROM jsonb_each(workflow.normal_definition('{"name": "err", "connections": [{"name": "c"}]}') #> '{connections,0}')
UNION ALL
SELECT 'step', key, value
FROM jsonb_each(workflow.normal_definition('{"name": "err", "steps": [{"name": "a", "command": "SELECT 1"}]}') #> '{steps,0}');

-- What a value of each type comes to.
CREATE TABLE tried AS
SELECT level, option, type, split_part(outcome, E'\n', 1) AS outcome, detail
FROM option, (VALUES ('null', 'null'::jsonb), ('boolean', 'true'), ('number', '-1.5'), ('string', '"x"'),
	('array', '[{"x": 1}]'), ('object', '{"x": [1]}')) AS v (type, value),
	LATERAL (SELECT try(format('SELECT ''version '' || workflow.define_package(%L)', document(level, option, value)))) AS o (outcome),
	LATERAL (SELECT substring(outcome FROM 'DETAIL: ([^\n]*)')) AS d (detail)
WHERE (level, option) NOT IN (('package', 'steps'), ('package', 'connections'));

\pset format unaligned
\pset tuples_only on
-- refused, as of another type than what is named
SELECT level, option, string_agg(type, ', ' ORDER BY type), regexp_replace(outcome, 'option "[a-z_]+" of (package|step|connection) "[a-z]+"( of package "err")?', 'option of \1')
FROM tried WHERE outcome NOT LIKE 'version%'
GROUP BY level, option, regexp_replace(outcome, 'option "[a-z_]+" of (package|step|connection) "[a-z]+"( of package "err")?', 'option of \1')
ORDER BY level, option COLLATE "C", 3;
-- accepted
SELECT level, option, string_agg(type, ', ' ORDER BY type)
FROM tried WHERE outcome LIKE 'version%'
GROUP BY level, option ORDER BY level, option COLLATE "C";
-- Each refusal names option and place, and has the SQLSTATE of a wrong value.
SELECT level, option, type, outcome FROM tried
WHERE outcome NOT LIKE 'version%' AND (outcome !~ '^22023: ' OR outcome !~ level OR option <> 'name' AND outcome !~ option)
ORDER BY level, option COLLATE "C", type;
-- The detail is the value's type or the value itself.
SELECT type, string_agg(DISTINCT detail, '; ') FROM tried WHERE outcome NOT LIKE 'version%' GROUP BY type ORDER BY type;

-- Null is the default, all at once.
SELECT level, workflow.normal_definition(document) = workflow.normal_definition(document(level, 'description', NULL)) AS normal
FROM (
	SELECT level, jsonb_object_agg(option, NULL) - 'name' - 'command'
	FROM option WHERE option NOT IN ('steps', 'connections') GROUP BY level
) AS n (level, nulls),
	LATERAL (SELECT CASE level WHEN 'package' THEN document(level, 'description', NULL) || nulls
		WHEN 'connection' THEN jsonb_set(document(level, 'name', '"c"'), '{connections,0}', '{"name": "c"}'::jsonb || nulls)
		ELSE jsonb_set(document(level, 'description', NULL), '{steps,0}', '{"name": "a", "command": "SELECT 1"}'::jsonb || nulls) END) AS d (document)
WHERE level <> 'connection'
ORDER BY level;
SELECT jsonb_path_query(workflow.normal_definition('{"name": "err", "connections": [{"name": "c", "server": null, "transactional": null}]}'), '$.connections[0]');
-- ... which has no name
SELECT try($$SELECT workflow.define_package('{"name": "err", "steps": [{"name": null, "command": "SELECT 1"}]}')$$);
SELECT try($$SELECT workflow.define_package('{"name": "err", "connections": [{"name": null}]}')$$);

-- limits of numbers, intervals, names
SELECT try($$SELECT workflow.define_package('{"name": "err", "priority": 2147483648}')$$);
SELECT try($$SELECT workflow.define_package('{"name": "err", "priority": -2147483649}')$$);
SELECT workflow.define_package('{"name": "err", "priority": -2147483648, "max_concurrent_steps": 2147483647, "max_concurrent_runs": 4.0}') AS version;
SELECT priority, max_concurrent_steps, max_concurrent_runs FROM workflow.package WHERE name = 'err';
SELECT try($$SELECT workflow.define_package('{"name": "err", "timeout": "infinity"}')$$);
SELECT workflow.define_package('{"name": "err", "timeout": "178000000 years"}') AS version;
SELECT workflow.define_package('{"name": "err", "timeout": "PT1H30M"}') AS version, timeout FROM workflow.package WHERE name = 'err';
SELECT timeout FROM workflow.package WHERE name = 'err';
SELECT try(format('SELECT workflow.define_package(%L)', jsonb_build_object('name', repeat('ä', 31) || 'x', 'steps', '[]'::jsonb)));
SELECT try(format('SELECT workflow.define_package(%L)', jsonb_build_object('name', repeat('ä', 32))));
SELECT try(format('SELECT workflow.define_package(%L)', document('step', 'name', to_jsonb(repeat('x', 64)))));
SELECT try(format('SELECT workflow.define_package(%L)', document('connection', 'name', to_jsonb(repeat('x', 64)))));
SELECT try(format('SELECT workflow.define_package(%L)', jsonb_build_object('name', 'err', 'steps', jsonb_build_array(jsonb_build_object('name', 'a', 'kind', kind, 'command', repeat('x', 64))))))
FROM unnest('{package,job}'::text[]) AS kind;
-- a long cycle is not told in full
SELECT try(format('SELECT workflow.define_package(%L)', jsonb_build_object('name', 'err', 'steps',
	jsonb_agg(jsonb_build_object('name', 's' || i, 'kind', 'none', 'after', jsonb_build_array('s' || i % 25 + 1)) ORDER BY i))))
FROM generate_series(1, 25) AS i;

-- What can never start, and why: each reason.
RESET client_min_messages;
\set VERBOSITY terse
SELECT workflow.define_package('{"name": "err", "fail_on_first_error": false, "steps": [
	{"name": "none", "kind": "none"},
	{"name": "after none", "kind": "none", "after": [{"step": "none", "on": "failure"}]},
	{"name": "asks", "kind": "none", "condition": "true"},
	{"name": "after asks", "kind": "none", "after": [{"step": "asks", "on": "failure"}]},
	{"name": "none or asks", "kind": "none", "after": [{"step": "none", "on": "failure"}, {"step": "asks", "on": "failure"}], "precedence": "any"}]}') AS version;
\set VERBOSITY default

SELECT workflow.drop_package(name) FROM workflow.package WHERE name = 'err' OR name LIKE '%äx';
DROP TABLE option, tried;
DROP FUNCTION document;
