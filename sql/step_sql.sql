-- What the SQL of a step may be, and what history keeps of it.

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir /test/helpers.sql
\i :helpers

CREATE TABLE effect (what text);

-- a package of steps with these commands, one after the other
CREATE FUNCTION define(package text, VARIADIC commands text[]) RETURNS int
BEGIN ATOMIC
	SELECT workflow.define_package(jsonb_build_object('name', package, 'fail_on_first_error', false, 'max_concurrent_steps', 1,
		'steps', jsonb_agg(jsonb_build_object('name', to_char(i, 'FM00'), 'priority', -i, 'command', command) ORDER BY i)))
	FROM unnest(commands) WITH ORDINALITY AS c (command, i);
END;

--
-- Statements of every kind, and the rows they count
--
CREATE TABLE base (i int PRIMARY KEY, t text);
CREATE PROCEDURE commits(n int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. n LOOP
		INSERT INTO effect VALUES ('committed ' || i);
		COMMIT;
	END LOOP;
	INSERT INTO effect VALUES ('rolled back');
	ROLLBACK;
END $$;
SELECT define('sql_kinds',
	'INSERT INTO base SELECT i, ''x'' || i FROM generate_series(1, 10) AS i',
	'UPDATE base SET t = upper(t) WHERE i > 4',
	'DELETE FROM base WHERE i = 10',
	'MERGE INTO base USING generate_series(9, 12) AS g ON i = g WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (g)',
	'SELECT * FROM base',
	'SELECT FROM base WHERE false',
	'INSERT INTO base VALUES (20) RETURNING i',
	'WITH d AS (DELETE FROM base WHERE i > 10 RETURNING i) SELECT count(*) FROM d',
	'VALUES (1), (2)',
	'TABLE base',
	'CREATE TABLE made AS SELECT * FROM base',
	'SELECT * INTO made2 FROM base',
	'INSERT INTO base VALUES (31), (32); DELETE FROM base WHERE i > 30; SELECT 1',
	'CREATE TABLE ddl (i int); ALTER TABLE ddl ADD j int; CREATE INDEX ON ddl (j); DROP TABLE ddl',
	'CREATE TABLE ddl (i int)',
	'INSERT INTO ddl VALUES (1)',
	'TRUNCATE ddl',
	'CREATE FUNCTION made() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END',
	'SELECT made()',
	'CREATE MATERIALIZED VIEW seen AS SELECT * FROM base',
	'REFRESH MATERIALIZED VIEW seen',
	'ANALYZE base',
	'VACUUM (ANALYZE) base',
	'VACUUM FULL ddl',
	'CREATE INDEX CONCURRENTLY base_t_idx ON base (t)',
	'REINDEX INDEX CONCURRENTLY base_t_idx',
	'CALL commits(2)',
	'DO $do$ BEGIN CALL commits(1); INSERT INTO effect VALUES (''do''); END $do$',
	'EXPLAIN SELECT 1',
	'SHOW work_mem',
	'PREPARE p AS SELECT 1; EXECUTE p; DEALLOCATE p',
	'DECLARE c CURSOR FOR SELECT * FROM base; FETCH 2 FROM c; MOVE 1 FROM c; CLOSE c',
	'DECLARE c CURSOR WITH HOLD FOR SELECT * FROM base',
	'LOCK TABLE base; SELECT 1',
	'GRANT SELECT ON base TO PUBLIC',
	'COMMENT ON TABLE base IS ''commented''',
	'CHECKPOINT',
	'/* nothing */',
	';;',
	'SELECT 1;;',
	'SELECT 1 /* and; */ ; -- and;',
	E'SELECT '';'', $q$;$q$, E''\\'';''; SELECT 2');
CALL execute('sql_kinds');
SELECT s.step, s.status, s.rows, s.statement, s.sqlstate, s.message, left(s.command, 60) AS command FROM last_step AS s WHERE package = 'sql_kinds' ORDER BY step;
SELECT i, t FROM base ORDER BY i;
SELECT * FROM effect ORDER BY what;
SELECT indisvalid FROM pg_index WHERE indexrelid = 'base_t_idx'::regclass;
TRUNCATE effect;
DROP MATERIALIZED VIEW seen;
DROP TABLE made, made2, ddl;
DROP FUNCTION made;

-- What cannot be part of a step; among several statements VACUUM and its
-- like, as in psql.
SELECT define('sql_refused',
	'BEGIN',
	'INSERT INTO effect VALUES (''lost''); COMMIT',
	'INSERT INTO effect VALUES (''lost''); ROLLBACK; INSERT INTO effect VALUES (''lost'')',
	'START TRANSACTION; SELECT 1; END',
	'SAVEPOINT s',
	'INSERT INTO effect VALUES (''lost''); SAVEPOINT s; SELECT 1; ROLLBACK TO s',
	'RELEASE s',
	'PREPARE TRANSACTION ''x''',
	'COMMIT PREPARED ''x''',
	'ROLLBACK PREPARED ''x''',
	'ABORT',
	'COPY effect FROM STDIN',
	'COPY effect TO STDOUT',
	'INSERT INTO effect VALUES (''lost''); COPY effect FROM STDIN (FORMAT csv)',
	'INSERT INTO effect VALUES (''lost''); VACUUM effect',
	'CREATE INDEX CONCURRENTLY ON effect (what); SELECT 1',
	'INSERT INTO effect VALUES (''lost''); CALL commits(1)',
	'INSERT INTO effect VALUES (''lost''); DO ''BEGIN COMMIT; END''',
	'DO ''BEGIN EXECUTE $x$BEGIN$x$; END''',
	'SELECT 1; SELECT 1 / 0; SELECT 1',
	'SELECT nowhere.f()',
	'INSERT INTO effect VALUES (1, 2)');
CALL execute('sql_refused');
SELECT step, status, rows, statement, sqlstate, message, detail, hint FROM last_step WHERE package = 'sql_refused' ORDER BY step;
SELECT * FROM effect;
-- a step that is not atomic cannot either
SELECT workflow.define_package($$ {
  "name": "sql_refused_statement", "steps": [{"name": "a", "atomic": false, "command": "INSERT INTO effect VALUES ('kept'); BEGIN; INSERT INTO effect VALUES ('never'); COMMIT"}]} $$);
CALL execute('sql_refused_statement');
SELECT step, status, statement, sqlstate, message FROM last_step WHERE package = 'sql_refused_statement';
SELECT * FROM effect;
TRUNCATE effect;

-- COPY to and from files of the server
SELECT current_setting('data_directory') || '/workflow_copy.csv' AS file \gset
SELECT define('sql_copy',
	format('COPY base TO %L (FORMAT csv)', :'file'),
	format('CREATE TABLE copied (LIKE base); COPY copied FROM %L (FORMAT csv)', :'file'),
	format('COPY (SELECT i FROM base WHERE i < 4) TO %L', :'file'),
	format('COPY effect FROM %L', :'file'),
	format('COPY copied FROM %L (FORMAT csv, HEADER)', :'file'),
	'COPY effect FROM ''/nowhere/nothing''',
	'COPY effect FROM PROGRAM ''echo from a program''',
	'COPY base TO PROGRAM ''cat >/dev/null''',
	'COPY effect FROM PROGRAM ''exit 3''');
CALL execute('sql_copy');
SELECT step, status, rows, sqlstate, regexp_replace(message, '"/.*/', '".../') AS message, detail FROM last_step WHERE package = 'sql_copy' ORDER BY step;
SELECT count(*) FROM copied;
SELECT * FROM effect ORDER BY what;
DROP TABLE copied;
TRUNCATE effect;

-- LISTEN and NOTIFY: nobody would hear what a worker listens to
SELECT define('sql_notify', 'NOTIFY workflow_test, ''from a step''', 'SELECT pg_notify(''workflow_test'', ''too'')', 'LISTEN workflow_test', 'UNLISTEN *');
CALL execute('sql_notify');
SELECT step, status, sqlstate, message FROM last_step WHERE package = 'sql_notify' ORDER BY step;

--
-- Settings: SET in a step, the option `settings` of steps and packages
--
SELECT workflow.define_package($$ {
  "name": "sql_set", "fail_on_first_error": false, "max_concurrent_steps": 1, "connections": [{"name": "c"}],
  "settings": {"work_mem": "11MB", "workflow_test.of": "package", "statement_timeout": 60000, "enable_seqscan": false},
  "steps": [
    {"name": "a package", "priority": 9, "command": "INSERT INTO effect SELECT concat_ws(' ', workflow.step_name(), current_setting('work_mem'), current_setting('workflow_test.of'), current_setting('statement_timeout'), current_setting('enable_seqscan'))"},
    {"name": "b step", "priority": 8, "settings": {"work_mem": "22MB", "workflow_test.of": "step", "search_path": "nowhere, pg_catalog"},
     "command": "INSERT INTO public.effect SELECT concat_ws(' ', workflow.step_name(), current_setting('work_mem'), current_setting('workflow_test.of'), current_setting('search_path'))"},
    {"name": "c set", "priority": 7, "command": "SET work_mem = '33MB'; INSERT INTO effect SELECT concat_ws(' ', workflow.step_name(), current_setting('work_mem'))"},
    {"name": "d after set", "priority": 6, "command": "INSERT INTO effect SELECT concat_ws(' ', workflow.step_name(), current_setting('work_mem'), current_setting('workflow_test.of'))"},
    {"name": "e local", "priority": 5, "command": "SET LOCAL work_mem = '44MB'; INSERT INTO effect SELECT concat_ws(' ', workflow.step_name(), current_setting('work_mem'))"},
    {"name": "f connection", "priority": 4, "connection": "c", "settings": {"work_mem": "55MB"}, "command": "INSERT INTO effect SELECT concat_ws(' ', workflow.step_name(), current_setting('work_mem'))"},
    {"name": "g connection again", "priority": 3, "connection": "c", "command": "INSERT INTO effect SELECT concat_ws(' ', workflow.step_name(), current_setting('work_mem')); SET maintenance_work_mem = '66MB'"},
    {"name": "h and again", "priority": 2, "connection": "c", "command": "INSERT INTO effect SELECT concat_ws(' ', workflow.step_name(), current_setting('work_mem'), current_setting('maintenance_work_mem'))"},
    {"name": "i isolation", "priority": 1, "settings": {"default_transaction_isolation": "serializable"}, "command": "INSERT INTO effect SELECT concat_ws(' ', workflow.step_name(), current_setting('transaction_isolation'))"},
    {"name": "j read only", "settings": {"default_transaction_read_only": true}, "command": "INSERT INTO effect VALUES ('never')"},
    {"name": "k own timeout", "settings": {"statement_timeout": "20ms"}, "command": "SELECT pg_sleep(3600)"}
  ]} $$);
CALL execute('sql_set');
SELECT step, status, sqlstate, message FROM last_step WHERE package = 'sql_set' ORDER BY step;
SELECT * FROM effect ORDER BY what;
TRUNCATE effect;
-- with the owner's rights
CREATE ROLE regress_workflow_settings LOGIN;
GRANT USAGE ON SCHEMA workflow TO regress_workflow_settings;
SET ROLE regress_workflow_settings;
SELECT workflow.define_package($$ {
  "name": "sql_set_owner",
  "steps": [{"name": "a", "settings": {"session_replication_role": "replica"}, "command": "SELECT 1"}]} $$);
SELECT workflow.define_package($$ {
  "name": "sql_set_owner",
  "steps": [{"name": "a", "settings": {"role": "pg_monitor"}, "command": "SELECT 1"}]} $$);
SELECT workflow.define_package($$ {
  "name": "sql_set_owner",
  "steps": [{"name": "a", "settings": {"session_authorization": "pg_monitor"}, "command": "SELECT 1"}]} $$);
RESET ROLE;
DROP OWNED BY regress_workflow_settings;
DROP ROLE regress_workflow_settings;
SELECT workflow.define_package('{"name": "err", "settings": {"no_such_setting": 1}, "steps": [{"name": "a", "kind": "none"}]}');
SELECT workflow.define_package('{"name": "err", "steps": [{"name": "a", "settings": {"work_mem": "much"}, "command": "SELECT 1"}]}');
SELECT workflow.define_package('{"name": "err", "steps": [{"name": "a", "settings": {"shared_buffers": "1GB"}, "command": "SELECT 1"}]}');
\set VERBOSITY terse
SELECT workflow.define_package('{"name": "err", "settings": {"work_mem": ["1MB"]}, "steps": [{"name": "a", "kind": "none"}]}');
SELECT workflow.define_package('{"name": "err", "settings": ["work_mem"], "steps": [{"name": "a", "kind": "none"}]}');
\set VERBOSITY default

--
-- Messages: NOTICEs, WARNINGs, INFOs, with detail and hint
--
SELECT define('sql_messages',
	'DO $do$ BEGIN RAISE NOTICE ''a notice''; RAISE WARNING ''a warning'' USING DETAIL = ''with detail'', HINT = ''and hint''; RAISE INFO ''an info''; RAISE LOG ''a log''; RAISE DEBUG ''a debug''; END $do$',
	'CREATE TABLE IF NOT EXISTS base (); DROP TABLE IF EXISTS nobody',
	'SELECT 1',
	'DO $do$ BEGIN RAISE NOTICE ''before the error''; RAISE ''the error'' USING ERRCODE = ''WF003'', DETAIL = ''its detail'', HINT = ''its hint''; END $do$',
	'DO $do$ BEGIN RAISE NOTICE E''two\nlines''; END $do$',
	'SET client_min_messages = error; DO $do$ BEGIN RAISE NOTICE ''unheard by a client''; END $do$',
	'DO $do$ BEGIN BEGIN RAISE WARNING ''in what is rolled back''; RAISE ''x''; EXCEPTION WHEN OTHERS THEN RAISE NOTICE ''caught %'', SQLERRM; END; END $do$');
CALL execute('sql_messages');
\pset format unaligned
SELECT step, messages FROM last_step WHERE package = 'sql_messages' ORDER BY step;
\pset format aligned

-- the context of an error
CREATE FUNCTION fails() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM 1 / 0;
END $$;
SELECT define('sql_context', 'SELECT 1; SELECT fails()', 'SELECT 1 / 0', 'INSERT INTO base VALUES (1)', 'SELECT * FROM base WHERE no_such_column = 1');
CALL execute('sql_context');
\x on
SELECT step, statement, sqlstate, message, detail, hint, context FROM last_step WHERE package = 'sql_context' ORDER BY step;
\x off

--
-- The result: the first row of the last statement
--
CREATE PROCEDURE gives(INOUT a int, INOUT b int) LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$;
SELECT define('sql_result',
	'SELECT 42',
	'SELECT 1 AS a, ''two'' AS b, NULL AS c, ARRAY[1, 2] AS d, jsonb ''{"x": 1}'' AS e, date ''2024-02-29'' AS f, 1.50 AS g',
	'SELECT i, t FROM base ORDER BY i',
	'SELECT 1; SELECT 2',
	'SELECT 1; CREATE TEMP TABLE t ()',
	'SELECT 1; SELECT 1 WHERE false',
	'SELECT 1 WHERE false',
	'SELECT NULL',
	'INSERT INTO base VALUES (40, ''forty'') RETURNING i, t',
	'DELETE FROM base WHERE i = 40',
	'SELECT base FROM base ORDER BY i',
	'SELECT jsonb ''{"x": [1, null]}''',
	'SELECT jsonb ''null''',
	'SELECT 1 AS a, 2 AS a',
	'SELECT ''infinity''::float8',
	'SHOW work_mem',
	'PREPARE p AS SELECT 1 AS a, 2 AS b; EXECUTE p',
	'DO ''BEGIN END''',
	'CALL gives(1, 2)',
	'SELECT');
CALL execute('sql_result');
SELECT step, rows, result, jsonb_typeof(result) AS type, left(command, 40) AS command FROM last_step WHERE package = 'sql_result' ORDER BY step;

-- What is too large is cut, or not kept: workflow.max_message_size.
ALTER SYSTEM SET workflow.max_message_size = 1024;
SELECT pg_reload_conf();
CREATE PROCEDURE await_setting() LANGUAGE plpgsql AS $$
DECLARE
	status text;
BEGIN
	FOR i IN 1 .. 1000 LOOP
		CALL execute('sql_size_setting', '{}', status);
		EXIT WHEN (SELECT result = '"1kB"' FROM last_step WHERE package = 'sql_size_setting');
	END LOOP;
END $$;
SELECT define('sql_size_setting', 'SHOW workflow.max_message_size');
CALL await_setting();
SELECT define('sql_size',
	'DO $do$ BEGIN FOR i IN 1 .. 1000 LOOP RAISE NOTICE ''notice %'', i; END LOOP; END $do$',
	'DO $do$ BEGIN RAISE NOTICE ''%'', repeat(''ä'', 5000); END $do$',
	'SELECT repeat(''x'', 5000)',
	'SELECT repeat(''x'', 900)',
	'SELECT i, repeat(''x'', 100) FROM generate_series(1, 10000) AS i',
	'DO $do$ BEGIN RAISE ''%'', repeat(''e'', 5000); END $do$');
CALL execute('sql_size');
SELECT step, status, rows, octet_length(messages) <= 1024 AS messages_fit, octet_length(messages) > 1000 AS messages_fill,
	left(messages, 20) AS begin, octet_length(result::text) <= 1024 AS result_fits, octet_length(message) AS message_length
FROM last_step WHERE package = 'sql_size' ORDER BY step;
SELECT workflow.define_package($$ {
  "name": "sql_size_variable", "variables": {"v": "old"},
  "steps": [{"name": "a", "command": "INSERT INTO effect VALUES ('lost'); SELECT repeat('x', 5000)", "result_variable": "v"}]} $$);
CALL execute('sql_size_variable');
SELECT step, status, sqlstate, message, detail, hint FROM last_step WHERE package = 'sql_size_variable';
SELECT variables FROM last_run WHERE package = 'sql_size_variable';
SELECT count(*) FROM effect;
ALTER SYSTEM RESET workflow.max_message_size;
SELECT pg_reload_conf();
DROP PROCEDURE await_setting;

-- as much as it is by default
CREATE PROCEDURE await_default() LANGUAGE plpgsql AS $$
DECLARE
	status text;
BEGIN
	FOR i IN 1 .. 1000 LOOP
		CALL execute('sql_size_setting', '{}', status);
		EXIT WHEN (SELECT result = '"64kB"' FROM last_step WHERE package = 'sql_size_setting');
	END LOOP;
END $$;
CALL await_default();
DROP PROCEDURE await_default;
SELECT define('sql_size_default',
	'DO $do$ BEGIN FOR i IN 1 .. 5000 LOOP RAISE NOTICE ''notice %'', i; END LOOP; END $do$',
	'SELECT repeat(''x'', 60000)', 'SELECT repeat(''x'', 66000)');
CALL execute('sql_size_default');
SELECT step, status, octet_length(messages) BETWEEN 65000 AND 65536 AS messages_fill, left(messages, 20) AS begin, octet_length(result::text) AS result_length
FROM last_step WHERE package = 'sql_size_default' ORDER BY step;

--
-- atomic: together, or one by one
--
SELECT workflow.define_package($$ {
  "name": "sql_atomic", "fail_on_first_error": false, "max_concurrent_steps": 1, "connections": [{"name": "c"}],
  "steps": [
    {"name": "a together", "command": "INSERT INTO effect VALUES ('a'); INSERT INTO effect VALUES ('a2'); SELECT 1 / 0; INSERT INTO effect VALUES ('a3')"},
    {"name": "b one by one", "atomic": false, "command": "INSERT INTO effect VALUES ('b'); INSERT INTO effect VALUES ('b2'); SELECT 1 / 0; INSERT INTO effect VALUES ('b3')"},
    {"name": "c vacuum among others", "atomic": false, "command": "INSERT INTO effect VALUES ('c'); VACUUM effect; INSERT INTO effect VALUES ('c2')"},
    {"name": "d own transactions", "atomic": false, "command": "CREATE TEMP TABLE x AS SELECT pg_current_xact_id() AS x; INSERT INTO x VALUES (pg_current_xact_id()); INSERT INTO effect SELECT 'd ' || count(DISTINCT x::text) FROM x"},
    {"name": "e one transaction", "command": "CREATE TEMP TABLE x AS SELECT pg_current_xact_id() AS x; INSERT INTO x VALUES (pg_current_xact_id()); INSERT INTO effect SELECT 'e ' || count(DISTINCT x::text) FROM x"},
    {"name": "f failing statement", "atomic": false, "command": "INSERT INTO effect VALUES ('f'); INSERT INTO effect SELECT CASE WHEN i < 3 THEN 'lost' ELSE (1 / (i - 3))::text END FROM generate_series(1, 3) AS i"},
    {"name": "g retried", "atomic": false, "max_attempts": 2, "retry_delay": "0", "command": "INSERT INTO effect VALUES ('g'); SELECT 1 / 0"},
    {"name": "h call", "atomic": false, "command": "INSERT INTO effect VALUES ('h'); CALL commits(1); SELECT 1 / 0"},
    {"name": "i syntax", "atomic": false, "command": "INSERT INTO effect VALUES ('i'); INSERT INTO nobody VALUES (1)"}
  ]} $$);
CALL execute('sql_atomic');
SELECT step, attempt, status, rows, statement, sqlstate FROM last_step WHERE package = 'sql_atomic' ORDER BY step, attempt;
SELECT what, count(*) FROM effect GROUP BY what ORDER BY what;
TRUNCATE effect;

--
-- set_variable: kept if and only if the step succeeds
--
SELECT workflow.define_package($$ {
  "name": "sql_set_variable", "fail_on_first_error": false, "max_concurrent_steps": 1,
  "variables": {"text": "old", "number": 0, "bool": false, "date": null, "json": null, "array": null, "null": "not null", "failed": "old", "retried": 0, "row": null},
  "steps": [
    {"name": "a", "priority": 9, "command": [
        "SELECT workflow.set_variable('text', 'new ä \" \\');",
        "SELECT workflow.set_variable('number', 1.50), workflow.set_variable('bool', true), workflow.set_variable('date', date '2024-02-29');",
        "SELECT workflow.set_variable('json', jsonb '{\"a\": [1, null]}'), workflow.set_variable('array', ARRAY[1, 2]), workflow.set_variable('null', NULL::int);",
        "SELECT workflow.set_variable('row', b) FROM base AS b WHERE i = 1;",
        "INSERT INTO effect SELECT 'in the step: ' || workflow.variable('text') || workflow.variable('number')"]},
    {"name": "b", "priority": 8, "command": "SELECT workflow.set_variable('failed', 'new'); INSERT INTO effect VALUES (workflow.variable('failed')); SELECT 1 / 0"},
    {"name": "c", "priority": 7, "command": "SELECT workflow.set_variable('retried', workflow.variable('retried')::int + 1); SELECT 1 / (workflow_try() / 3)", "max_attempts": 3, "retry_delay": "0"},
    {"name": "d", "priority": 6, "command": "SELECT workflow.set_variable('undeclared', 1)"},
    {"name": "e", "priority": 5, "command": "SELECT workflow.set_variable(NULL, 1)"},
    {"name": "f", "priority": 4, "command": "DO $do$ BEGIN BEGIN PERFORM workflow.set_variable('text', 'in a subtransaction'); RAISE 'x'; EXCEPTION WHEN OTHERS THEN NULL; END; END $do$"},
    {"name": "z", "command": "INSERT INTO effect SELECT key || ': ' || coalesce(workflow.variable(key), 'null') FROM jsonb_object_keys(workflow.variables()) AS key"}
  ]} $$);
CREATE SEQUENCE tries;
CREATE FUNCTION workflow_try() RETURNS bigint LANGUAGE sql AS $$ SELECT nextval('tries') $$;
CALL execute('sql_set_variable');
SELECT step, attempt, status, sqlstate, message FROM last_step WHERE package = 'sql_set_variable' ORDER BY step, attempt;
SELECT * FROM effect ORDER BY what COLLATE "C";
SELECT jsonb_pretty(variables) FROM last_run WHERE package = 'sql_set_variable';
TRUNCATE effect;
-- not outside of a step
SELECT workflow.set_variable('text', 'x');
-- the next run starts from the defaults
SELECT workflow.define_package($$ {
  "name": "sql_set_twice", "variables": {"v": 0}, "steps": [{"name": "a", "command": "INSERT INTO effect VALUES (workflow.variable('v')); SELECT workflow.set_variable('v', 1)"}]} $$);
CALL execute('sql_set_twice');
CALL execute('sql_set_twice');
SELECT * FROM effect;
TRUNCATE effect;

-- result_variable: the first row of the last statement
SELECT workflow.define_package($$ {
  "name": "sql_result_variable", "fail_on_first_error": false, "max_concurrent_steps": 1,
  "variables": {"scalar": "old", "object": "old", "null": "old", "none": "old", "failed": "old", "insert": "old", "json": "old", "text": "old", "no row": "old"},
  "steps": [
    {"name": "scalar", "result_variable": "scalar", "command": "SELECT 'not this'; SELECT i FROM base ORDER BY i"},
    {"name": "text", "result_variable": "text", "command": "SELECT 'text'"},
    {"name": "object", "result_variable": "object", "command": "SELECT i, t, NULL AS n FROM base ORDER BY i"},
    {"name": "null", "result_variable": "null", "command": "SELECT NULL::int"},
    {"name": "none", "result_variable": "none", "command": "SELECT 1; SELECT 1 WHERE false"},
    {"name": "no rows", "result_variable": "no row", "command": "SELECT 1; CREATE TEMP TABLE t ()"},
    {"name": "failed", "result_variable": "failed", "command": "SELECT 1; SELECT 1 / 0"},
    {"name": "insert", "result_variable": "insert", "command": "INSERT INTO base VALUES (50, 'fifty') RETURNING t"},
    {"name": "json", "result_variable": "json", "command": "SELECT jsonb '{\"a\": 1}' AS j"}
  ]} $$);
CALL execute('sql_result_variable');
SELECT step, status, result, sqlstate FROM last_step WHERE package = 'sql_result_variable' ORDER BY step;
SELECT jsonb_pretty(variables) FROM last_run WHERE package = 'sql_result_variable';
\set VERBOSITY terse
SELECT workflow.define_package('{"name": "err", "steps": [{"name": "a", "command": "SELECT 1", "result_variable": "nobody"}]}');
SELECT workflow.define_package('{"name": "err", "variables": {"v": 1}, "steps": [{"name": "a", "kind": "none", "result_variable": "v"}]}');
\set VERBOSITY default

--
-- report_progress
--
SELECT workflow.report_progress(1, 2);
SELECT workflow.define_package($$ {
  "name": "sql_progress",
  "steps": [
    {"name": "a", "command": "SELECT workflow.report_progress(3, 10, 'a third'), pg_advisory_xact_lock_shared(4714); SELECT workflow.report_progress(10, 10)"}
  ]} $$);
SELECT pg_advisory_lock(4714);
SELECT workflow.start_job('sql_progress') AS run \gset
DO $$ BEGIN
	FOR i IN 1 .. 6000 LOOP
		EXIT WHEN EXISTS (SELECT FROM workflow.activity WHERE package = 'sql_progress' AND done = 3);
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
SELECT step, state, done, total, message FROM workflow.activity WHERE package = 'sql_progress' AND step IS NOT NULL;
SELECT pg_advisory_unlock(4714);
SELECT workflow.wait_for_job(:run, '60s');
SELECT count(*) FROM workflow.activity WHERE package = 'sql_progress';

DROP PROCEDURE commits, gives;
DROP FUNCTION define, fails, workflow_try;
DROP SEQUENCE tries;
DROP TABLE effect, base;
