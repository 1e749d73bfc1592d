-- start_job and its kin say what is wrong.

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir /test/helpers.sql
\i :helpers

CREATE ROLE regress_workflow_other LOGIN;
GRANT USAGE ON SCHEMA workflow TO regress_workflow_other;
SELECT workflow.define_package('{"name": "start", "variables": {"day": null}, "steps": [{"name": "a", "command": "SELECT 1"}]}');

\pset format unaligned
\pset tuples_only on

-- unknown package
SELECT try($$SELECT workflow.start_job('nobody')$$);
SELECT try($$SELECT workflow.start_job('Start')$$);
SELECT try($$SELECT workflow.start_job('')$$);
SELECT try($$SELECT workflow.start_job(NULL)$$);

-- no permission
SET ROLE regress_workflow_other;
SELECT try($$SELECT workflow.start_job('start')$$);
SELECT try($$SELECT workflow.start_job('nobody')$$);
RESET ROLE;

-- variables
SELECT try($$SELECT workflow.start_job('start', '{"night": 1}')$$);
SELECT try($$SELECT workflow.start_job('start', '"day"')$$);

-- a read-only transaction
BEGIN READ ONLY;
SELECT try($$SELECT workflow.start_job('start')$$);
SELECT try($$SELECT workflow.define_package('{"name": "start"}')$$);
ROLLBACK;

-- runs that there are not
SELECT try('SELECT workflow.wait_for_job(-1)');
SELECT try('SELECT workflow.wait_for_job(9223372036854775807)');
SELECT try('SELECT workflow.wait_for_job(NULL)');
SELECT try('SELECT workflow.stop_job(-1)');
SELECT try('SELECT workflow.stop_job(NULL)');

-- a run that this very transaction started
BEGIN;
SELECT workflow.start_job('start') AS run \gset
SELECT try('SELECT workflow.wait_for_job(' || :run || ')');
SELECT try('SELECT workflow.wait_for_job(' || :run || ', ''1s'')');
SAVEPOINT s;
SELECT workflow.start_job('start') AS run \gset
SELECT try('SELECT workflow.wait_for_job(' || :run || ')');
RELEASE s;
SELECT try('SELECT workflow.wait_for_job(' || :run || ')');
ROLLBACK;

-- None of these started anything.
SELECT count(*) FROM workflow.run_history WHERE package = 'start';

-- no variables at all
SELECT try($$SELECT workflow.start_job('start', NULL) > 0$$);

REVOKE USAGE ON SCHEMA workflow FROM regress_workflow_other;
DROP ROLE regress_workflow_other;
