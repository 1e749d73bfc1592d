-- Packages defined piece by piece, and what is checked of any definition.

CREATE FUNCTION try(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
	hint text;
	context text;
	result text;
BEGIN
	EXECUTE command INTO result;
	RETURN coalesce(result, 'null');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT,
		context = PG_EXCEPTION_CONTEXT;
	context := substring(context FROM '^[^\n]* of package "[^"]*"');
	RETURN concat_ws(E'\n', SQLSTATE || ': ' || message,
		'DETAIL: ' || nullif(detail, ''), 'HINT: ' || nullif(hint, ''),
		'CONTEXT: ' || context);
END $$;

-- a package "err" of one step with these options
CREATE FUNCTION try_step(options jsonb, package jsonb DEFAULT '{}') RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
	RETURN try(format('SELECT workflow.define_package(%L)',
		jsonb_build_object('name', 'err', 'steps', jsonb_build_array(
			'{"name": "a", "command": "SELECT 1"}'::jsonb || options)) || package));
END $$;

\pset format unaligned
\pset tuples_only on

-- the arguments and their defaults
SELECT pg_get_function_arguments(oid) FROM pg_proc
WHERE pronamespace = 'workflow'::regnamespace AND proname IN ('create_package', 'add_step')
ORDER BY proname;

-- Every option of a document is an argument of the function that adds, and
-- of the one that alters; the other way round, but for what is said here.
SELECT level, option, in_document, in_add, in_alter
FROM (
	SELECT 'package' AS level, jsonb_object_keys(workflow.normal_definition('{"name": "x"}')) AS option
	UNION ALL
	SELECT 'connection', jsonb_object_keys(workflow.normal_definition('{"name": "x", "connections": [{"name": "c"}]}') #> '{connections,0}')
	UNION ALL
	SELECT 'step', jsonb_object_keys(workflow.normal_definition('{"name": "x", "steps": [{"name": "s"}]}') #> '{steps,0}')
) AS document(level, option)
FULL JOIN (
	SELECT CASE WHEN proname LIKE '%package' THEN 'package' WHEN proname LIKE '%step' THEN 'step' ELSE 'connection' END,
		   unnest(proargnames), bool_or(proname !~ 'alter'), bool_or(proname ~ 'alter')
	FROM pg_proc
	WHERE pronamespace = 'workflow'::regnamespace
	  AND proname IN ('create_package', 'alter_package', 'add_connection', 'add_step', 'alter_step')
	GROUP BY 1, 2
) AS arguments(level, option, in_add, in_alter) USING (level, option)
CROSS JOIN LATERAL (SELECT document IS NOT NULL) AS d(in_document)
WHERE NOT (in_document AND in_add IS TRUE AND (in_alter IS TRUE OR level = 'connection'))
ORDER BY 1, 2;

-- The defaults are those of the document: nothing is in it but what is not
-- the default.
SELECT workflow.create_package('api');
SELECT workflow.add_connection('api', 'dw');
SELECT workflow.add_step('api', 'stage', 'SELECT 1');
SELECT workflow.package_definition('api');

-- every option by its name
SELECT workflow.create_package('api', description => 'all', use_transactions => false,
	commit_on_completion => false, fail_on_first_error => false, isolation_level => 'serializable',
	max_concurrent_steps => 2, max_concurrent_runs => 3, on_overlap => 'skip', priority => -4,
	timeout => '2 hours', on_interruption => 'resume', variables => '{"day": null, "n": 1.50}',
	required_variables => '{day}', enabled => false, max_attempts => 1, retry_delay => '1 s',
	retry_on => NULL, settings => '{"work_mem": "7MB", "enable_seqscan": false, "statement_timeout": 0}',
	history_retention => NULL, or_replace => true);
SELECT workflow.add_connection('api', 'dw', transactional => false);
SELECT workflow.add_step('api', 'first', 'SELECT 1', connection => 'dw', fail_package_on_error => true,
	main_thread => true, disabled => true, condition => 'workflow.variable(''day'') IS NOT NULL',
	condition_interval => '1 min', atomic => false, max_attempts => 2, retry_delay => '3 s', retry_backoff => 1.5,
	retry_on => '{40001}', timeout => '4 s', lock_timeout => '5 s', restartable => false,
	settings => '{"search_path": "a, b"}', result_variable => 'n', priority => 6, description => 'one',
	join_transaction => true, commit_on_success => true, rollback_on_failure => true);
SELECT workflow.add_step('api', 'second', 'SELECT 2');
SELECT workflow.add_step('api', 'third', kind => 'none', after => '{first}', after_failure => '{second}',
	after_completion => '{first,second}', precedence => 'any');
SELECT workflow.add_step('api', 'fourth', 'api', kind => 'package', variables => '{"day": "day", "n": "n::int + 1"}');
SELECT workflow.add_step('api', 'fifth', 'api', kind => 'job', variables => '{}');
SELECT workflow.add_step('api', 'last', 'SELECT 3', finally => 'completion');
SELECT jsonb_pretty(workflow.package_definition('api'));
-- the same as one document
SELECT workflow.define_package(workflow.package_definition('api'));

-- the views: every option as a column
\pset tuples_only off
\x on
SELECT name, owner = current_user::regrole AS mine, version, description, use_transactions, commit_on_completion, fail_on_first_error, isolation_level,
	   max_concurrent_steps, max_concurrent_runs, on_overlap, priority, timeout, on_interruption, variables, required_variables,
	   enabled, max_attempts, retry_delay, retry_on, settings, history_retention
FROM workflow.package WHERE name = 'api';
SELECT * FROM workflow.step WHERE package = 'api' AND number IN (1, 3);
\x off
SELECT * FROM workflow.precedence WHERE package = 'api';
SELECT * FROM workflow.connection WHERE package = 'api';
\pset tuples_only on

-- In alter_... null means unchanged; reset puts back to the default.
SELECT workflow.alter_step('api', 'first');
SELECT workflow.alter_step('api', 'first', 'SELECT 11', priority => 0, disabled => false, reset => '{connection,timeout,settings,commit_on_success}');
SELECT jsonb_path_query(workflow.package_definition('api'), '$.steps[0]');
SELECT workflow.alter_step('api', 'third', after_failure => '{second,first}');
SELECT jsonb_path_query(workflow.package_definition('api'), '$.steps[2].after');
SELECT workflow.alter_step('api', 'third', after => '{}', reset => '{after_completion}');
SELECT jsonb_path_query(workflow.package_definition('api'), '$.steps[2].after');
SELECT workflow.alter_step('api', 'third', after => '{second}', reset => '{after,precedence}');
SELECT jsonb_path_query(workflow.package_definition('api'), '$.steps[2]');
SELECT workflow.alter_package('api', enabled => true, timeout => '3 hours', reset => '{max_attempts,settings,priority,required_variables,isolation_level}');
SELECT workflow.package_definition('api') - 'steps' - 'connections';
SELECT try($$SELECT workflow.alter_package('api', timeout => '1 s', reset => '{timeout}')$$);
SELECT try($$SELECT workflow.alter_package('api', reset => '{connection}')$$);
SELECT try($$SELECT workflow.alter_package('api', reset => '{name}')$$);
SELECT try($$SELECT workflow.alter_package('api', reset => '{steps}')$$);
SELECT try($$SELECT workflow.alter_package('api', reset => '{null}')$$);
SELECT try($$SELECT workflow.alter_step('api', 'third', reset => '{command,kind}')$$);

-- precedence
SELECT workflow.add_precedence('api', 'fourth', 'fifth');
SELECT workflow.add_precedence('api', 'fourth', 'fifth', 'failure');
SELECT workflow.add_precedence('api', 'first', 'fifth', "on" => 'completion');
SELECT from_step, "on" FROM workflow.precedence WHERE package = 'api' AND to_step = 'fifth';
SELECT try($$SELECT workflow.add_precedence('api', 'fourth', 'fifth')$$);
SELECT try($$SELECT workflow.add_precedence('api', 'fifth', 'fourth')$$);
SELECT try($$SELECT workflow.add_precedence('api', 'nobody', 'fifth')$$);
SELECT try($$SELECT workflow.add_precedence('api', 'fifth', 'nobody')$$);
SELECT try($$SELECT workflow.add_precedence('api', 'fifth', 'second', 'error')$$);
SELECT try($$SELECT workflow.add_precedence('api', 'last', 'fifth')$$);
SELECT try($$SELECT workflow.add_precedence('api', NULL, 'fifth')$$);
SELECT workflow.drop_precedence('api', 'fourth', 'fifth', 'failure');
SELECT try($$SELECT workflow.drop_precedence('api', 'fourth', 'fifth', 'failure')$$);
SELECT workflow.drop_precedence('api', 'fourth', 'fifth');
SELECT try($$SELECT workflow.drop_precedence('api', 'fourth', 'fifth')$$);
SELECT from_step, "on" FROM workflow.precedence WHERE package = 'api' AND to_step = 'fifth';

-- dropping what is used
SELECT try($$SELECT workflow.drop_step('api', 'first')$$);
SELECT workflow.drop_step('api', 'first', cascade => true);
SELECT try($$SELECT workflow.drop_step('api', 'first')$$);
SELECT workflow.drop_step('api', 'last');
SELECT name, after, after_completion FROM workflow.step WHERE package = 'api' ORDER BY number;
SELECT workflow.alter_step('api', 'second', connection => 'dw');
SELECT try($$SELECT workflow.drop_connection('api', 'dw')$$);
SELECT workflow.alter_step('api', 'second', reset => '{connection}');
SELECT workflow.drop_connection('api', 'dw');
SELECT try($$SELECT workflow.drop_connection('api', 'dw')$$);

-- what is there already, what is not there, nulls
SELECT try($$SELECT workflow.create_package('api')$$);
SELECT try($$SELECT workflow.create_package(NULL)$$);
SELECT try($$SELECT workflow.add_step('api', 'second', 'SELECT 1')$$);
SELECT try($$SELECT workflow.add_step('api', NULL, 'SELECT 1')$$);
SELECT try($$SELECT workflow.add_step('nobody', 'a', 'SELECT 1')$$);
SELECT try($$SELECT workflow.add_step(NULL, 'a', 'SELECT 1')$$);
SELECT try($$SELECT workflow.add_step('api', 'a', 'SELEKT 1')$$);
SELECT try($$SELECT workflow.add_step('api', 'a', 'SELECT 1', after => '{nobody}')$$);
SELECT try($$SELECT workflow.add_step('api', 'a', 'SELECT 1', after => '{null}')$$);
SELECT try($$SELECT workflow.add_step('api', 'a', 'SELECT 1', kind => 'shell')$$);
SELECT try($$SELECT workflow.add_step('api', 'a', 'SELECT 1', connection => 'dw')$$);
SELECT try($$SELECT workflow.add_step('api', 'a', 'SELECT 1', servers => '{s}')$$);
SELECT try($$SELECT workflow.alter_step('api', 'a', 'SELECT 1')$$);
SELECT try($$SELECT workflow.alter_package('api', variables => '[]')$$);
SELECT try($$SELECT workflow.validate_package('nobody')$$);
-- None of these has left anything.
SELECT string_agg(name, ' ' ORDER BY number) FROM workflow.step WHERE package = 'api';

-- versions: in place, until a run has used one
SELECT workflow.create_package('ver');
SELECT workflow.add_step('ver', 'a', 'SELECT 1');
SELECT workflow.start_job('ver') AS run \gset
SELECT workflow.wait_for_job(:run, '60s');
SELECT workflow.alter_step('ver', 'a', 'SELECT 1');
SELECT workflow.alter_step('ver', 'a', 'SELECT 2');
SELECT workflow.add_step('ver', 'b', 'SELECT 3');
SELECT v, jsonb_path_query_array(workflow.package_definition('ver', v), '$.steps[*].command')
FROM generate_series(1, 2) AS v;
SELECT workflow.alter_package('ver', enabled => true);
SELECT version FROM workflow.package WHERE name = 'ver';

-- renaming; a dropped package leaves what its runs have used
SELECT try($$SELECT workflow.rename_package('ver', 'api')$$);
SELECT try($$SELECT workflow.rename_package('ver', '')$$);
SELECT try($$SELECT workflow.rename_package('ver', NULL)$$);
SELECT try($$SELECT workflow.rename_package('nobody', 'somebody')$$);
SELECT workflow.rename_package('ver', 'ver2');
SELECT workflow.rename_package('ver2', 'ver2');
SELECT try($$SELECT workflow.package_definition('ver')$$);
SELECT name, version, workflow.package_definition('ver2') ->> 'name' FROM workflow.package WHERE name LIKE 'ver%';
SELECT package, version FROM workflow.run_history WHERE run_id = :run;
SELECT workflow.drop_package('ver2');
SELECT try($$SELECT workflow.package_definition('ver2')$$);
SELECT try($$SELECT workflow.drop_package('ver2')$$);
SELECT package, version FROM workflow.run_history WHERE run_id = :run;
SELECT step, command FROM workflow.step_history WHERE run_id = :run;
SELECT count(*) FROM workflow.definition_version WHERE name LIKE 'ver%';
-- a package of the same name is another one
SELECT workflow.create_package('ver');
SELECT workflow.drop_package('ver');

-- all of it is part of the transaction
BEGIN;
SELECT workflow.drop_package('api');
SELECT workflow.create_package('api');
ROLLBACK;
SELECT count(*) FROM workflow.step WHERE package = 'api';
BEGIN READ ONLY;
SELECT try($$SELECT workflow.add_step('api', 'a', 'SELECT 1')$$);
SELECT try($$SELECT workflow.create_package('ro')$$);
SELECT try($$SELECT workflow.drop_package('api')$$);
SELECT try($$SELECT workflow.grant_start('api', 'public')$$);
SELECT count(*) FROM workflow.validate_package('api');
ROLLBACK;

-- SQL in options
SELECT try_step('{"condition": "SELEKT 1"}');
SELECT try_step('{"condition": "1) FROM x WHERE (true"}');
SELECT try_step('{"condition": "true); DROP TABLE x; SELECT (1"}');
SELECT try_step('{"condition": ""}');
SELECT try_step('{"condition": "EXISTS (SELECT FROM pg_class) -- comment"}');
SELECT try_step('{"condition": 1}');
SELECT try_step('{"kind": "package", "command": "err", "variables": {"day": "now("}}');
SELECT try_step('{"kind": "package", "command": "err", "variables": {"day": 1}}');
SELECT try_step('{"variables": {"day": "1"}}');

-- settings: with the owner's rights
SELECT try_step('{"settings": {"work_mem": "much"}}');
SELECT try_step('{"settings": {"work_memory": "1MB"}}');
SELECT try_step('{"settings": {"shared_buffers": "1MB"}}');
SELECT try_step('{"settings": {"role": "postgres"}}');
SELECT try_step('{"settings": {"Session_Authorization": "postgres"}}');
SELECT try_step('{"settings": {"transaction_isolation": "serializable"}}');
SELECT try_step('{"settings": {"work_mem": null}}');
SELECT try_step('{"settings": {"work_mem": ["1MB"]}}');
SELECT try_step('{"settings": ["work_mem"]}');
SELECT try_step('{}', '{"settings": {"jit": 2}}');
SELECT try_step('{"settings": {"work_mem": 4096, "search_path": "a, \"B\"", "jit": false, "my.own": "x"}}');
SHOW work_mem;

-- variables
SELECT try_step('{"result_variable": "v"}');
SELECT try_step('{"result_variable": "v", "kind": "package"}', '{"variables": {"v": 1}}');
SELECT try_step('{"result_variable": "v"}', '{"variables": {"v": 1}}');
SELECT try_step('{}', '{"required_variables": ["v"]}');
SELECT try_step('{}', '{"required_variables": ["v"], "variables": {"v": 1}}');

-- intervals, SQLSTATEs, numbers, words
SELECT try_step('{"timeout": "0"}');
SELECT try_step('{"timeout": "soon"}');
SELECT try_step('{"timeout": 5}');
SELECT try_step('{"timeout": "-1 s"}');
SELECT try_step('{"retry_delay": "0", "lock_timeout": "1 month"}');
SELECT try_step('{"condition_interval": "0 s"}');
SELECT try_step('{"retry_on": ["4000"]}');
SELECT try_step('{"retry_on": ["40p01"]}');
SELECT try_step('{"retry_on": []}');
SELECT try_step('{"retry_on": "40001"}');
SELECT try_step('{"retry_on": ["40", "40P01"]}');
SELECT try_step('{"max_attempts": 0}');
SELECT try_step('{"retry_backoff": 0.5}');
SELECT try_step('{"finally": "always"}');
SELECT try_step('{}', '{"on_overlap": "wait"}');
SELECT try_step('{}', '{"on_interruption": "skip"}');
SELECT try_step('{}', '{"max_concurrent_runs": 0}');

-- finally steps are outside of the graph
SELECT try($$SELECT workflow.define_package('{"name": "err", "steps": [
	{"name": "a", "command": "SELECT 1"}, {"name": "b", "command": "SELECT 1", "finally": "failure", "after": ["a"]}]}')$$);
SELECT try($$SELECT workflow.define_package('{"name": "err", "steps": [
	{"name": "a", "command": "SELECT 1", "finally": "failure"}, {"name": "b", "command": "SELECT 1", "after": ["a"]}]}')$$);
SELECT try_step('{"kind": "job", "command": "err", "connection": "c"}', '{"connections": [{"name": "c"}]}');

-- more sessions than workers
SELECT try(format('SELECT workflow.define_package(%L)', jsonb_build_object('name', 'err',
	'connections', jsonb_agg(jsonb_build_object('name', 'c' || i)),
	'steps', jsonb_agg(jsonb_build_object('name', 's' || i, 'command', 'SELECT 1', 'connection', 'c' || i)))))
FROM generate_series(1, 9) AS i;

-- warnings: what is not there yet, what can never start
SELECT workflow.create_package('child', variables => '{"day": null}', or_replace => true);
SELECT workflow.define_package('{"name": "warn", "fail_on_first_error": false, "steps": [
	{"name": "a", "kind": "package", "command": "missing"},
	{"name": "b", "kind": "job", "command": "missing"},
	{"name": "c", "kind": "package", "command": "child", "variables": {"day": "1", "night": "2"}},
	{"name": "d", "command": "SELECT 1", "disabled": true},
	{"name": "e", "command": "SELECT 1", "after": ["d"]},
	{"name": "f", "command": "SELECT 1", "after": [{"step": "e", "on": "completion"}]},
	{"name": "g", "command": "SELECT 1", "after": ["a", {"step": "a", "on": "failure"}]},
	{"name": "h", "command": "SELECT 1", "after": ["a", {"step": "a", "on": "failure"}, "d"], "precedence": "any"},
	{"name": "i", "command": "SELECT 1", "fail_package_on_error": true},
	{"name": "j", "command": "SELECT 1", "after": [{"step": "i", "on": "failure"}]},
	{"name": "k", "command": "SELECT 1", "after": [{"step": "h", "on": "failure"}]}]}');
-- an edit warns of what is new
SELECT workflow.alter_package('warn', fail_on_first_error => true);
SELECT * FROM workflow.validate_package('warn');
SELECT workflow.alter_package('warn', fail_on_first_error => true);
SELECT * FROM workflow.validate_package('child');

-- what has become wrong since it was defined
SELECT workflow.create_package('rot', settings => '{"workflow_test.x": 1}');
UPDATE workflow.definition_version SET document = '{"name": "rot", "settings": {"work_memm": 1},
	"steps": [{"name": "a", "command": "SELEKT"}, {"name": "b", "command": "SELECT 1", "settings": {"work_mem": "x"}}]}'
WHERE name = 'rot';
SELECT * FROM workflow.validate_package('rot');
UPDATE workflow.definition_version SET document = '{"name": "rot", "step": []}' WHERE name = 'rot';
SELECT severity, step, left(message, 60) FROM workflow.validate_package('rot');
SELECT workflow.drop_package('rot');

SELECT workflow.drop_package('api'), workflow.drop_package('child'), workflow.drop_package('warn'), workflow.drop_package('err');
DROP FUNCTION try_step, try;
