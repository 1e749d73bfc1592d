-- Who may do what, who sees what, and as whom steps execute.

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir /test/helpers.sql
\i :helpers

CREATE ROLE regress_workflow_owner LOGIN;
CREATE ROLE regress_workflow_other LOGIN;
CREATE ROLE regress_workflow_monitor LOGIN IN ROLE pg_monitor;
CREATE ROLE regress_workflow_outsider LOGIN;
CREATE ROLE regress_workflow_nologin;
CREATE TABLE seen (package text, cur name, ses name, usr name, role text);
GRANT INSERT ON seen TO PUBLIC;

-- PUBLIC has no rights on the schema
SET ROLE regress_workflow_outsider;
SELECT workflow.define_package('{"name": "sec", "steps": [{"name": "a", "command": "SELECT 1"}]}');
SELECT workflow.start_job('sec');
SELECT * FROM workflow.run_history;
SELECT workflow.run_id();
RESET ROLE;
GRANT USAGE ON SCHEMA workflow
	TO regress_workflow_owner, regress_workflow_other, regress_workflow_monitor, regress_workflow_nologin;

-- USAGE on the schema is enough to define, start and look
SET ROLE regress_workflow_owner;
SELECT workflow.define_package($$ {
  "name": "sec",
  "variables": {"secret": "default"},
  "steps": [
    {"name": "plain", "command": "INSERT INTO seen VALUES ('plain', current_user, session_user, user, current_setting('role'))"},
    {"name": "reset role", "after": ["plain"], "command": [
        "RESET ROLE;",
        "INSERT INTO seen VALUES ('reset role', current_user, session_user, user, current_setting('role'))"]},
    {"name": "reset authorization", "after": ["reset role"], "command": [
        "RESET SESSION AUTHORIZATION; SET SESSION AUTHORIZATION DEFAULT; SET ROLE NONE;",
        "INSERT INTO seen VALUES ('reset authorization', current_user, session_user, user, current_setting('role'))"]},
    {"name": "reset all", "after": ["reset authorization"], "command": [
        "RESET ALL;",
        "INSERT INTO seen VALUES ('reset all', current_user, session_user, user, current_setting('role'))"]}
  ]} $$);
SELECT workflow.start_job('sec', '{"secret": "s3cret"}') AS run \gset
SELECT workflow.wait_for_job(:run, '60s');
SELECT package, status, requested_by, variables FROM workflow.run_history;
SELECT package, step, status FROM workflow.step_history ORDER BY started_at;
RESET ROLE;
SELECT * FROM seen ORDER BY package;
TRUNCATE seen;

-- whoever starts it, the superuser too, it runs as its owner
SELECT workflow.start_job('sec') AS started \gset
SELECT workflow.wait_for_job(:started, '60s');
SELECT DISTINCT cur, ses, usr FROM seen;
TRUNCATE seen;

-- a step cannot become somebody else
SET ROLE regress_workflow_owner;
SELECT workflow.define_package($$ {
  "name": "sec_escape", "fail_on_first_error": false, "max_concurrent_steps": 1,
  "steps": [
    {"name": "a role", "command": "SET ROLE regress_workflow_other"},
    {"name": "b authorization", "command": "SET SESSION AUTHORIZATION regress_workflow_other"},
    {"name": "c local role", "command": "SELECT set_config('role', 'regress_workflow_other', true)"},
    {"name": "d run", "command": "SELECT count(*) FROM workflow.run"},
    {"name": "e outcome", "command": "INSERT INTO workflow.run_outcome SELECT"},
    {"name": "f definition", "command": "UPDATE workflow.definition SET owner = 'regress_workflow_other'"},
    {"name": "g file", "command": "COPY seen TO '/tmp/regress_workflow'"},
    {"name": "h program", "command": "COPY seen FROM PROGRAM 'echo'"},
    {"name": "i replication role", "command": "SET session_replication_role = replica"}
  ]} $$);
SELECT workflow.start_job('sec_escape') AS escape \gset
SELECT workflow.wait_for_job(:escape, '60s');
SELECT step, status, sqlstate
FROM workflow.step_history WHERE package = 'sec_escape' ORDER BY step;
RESET ROLE;

-- Others see nothing of it, may not start, stop, wait for, redefine, read it.
SET ROLE regress_workflow_other;
SELECT count(*) FROM workflow.run_history WHERE package LIKE 'sec%';
SELECT count(*) FROM workflow.step_history WHERE package LIKE 'sec%';
SELECT count(*) FROM workflow.activity WHERE package LIKE 'sec%';
SELECT workflow.start_job('sec');
SELECT try('SELECT workflow.stop_job(' || :run || ')');
SELECT try('SELECT workflow.wait_for_job(' || :run || ')');
SELECT workflow.run_step(:run, 0);
SELECT workflow.run_state(:run);
SELECT workflow.step_states(:run);
SELECT workflow.package_definition('sec');
SELECT workflow.define_package('{"name": "sec", "steps": [{"name": "a", "command": "SELECT 1"}]}');
SELECT count(*) FROM workflow.run;
SELECT count(*) FROM workflow.run_outcome;
SELECT count(*) FROM workflow.step_outcome;
SELECT count(*) FROM workflow.definition;
SELECT count(*) FROM workflow.definition_version;
INSERT INTO workflow.run_outcome DEFAULT VALUES;
SELECT nextval('workflow.run_id_seq');
-- a view with a leaky function in its condition leaks nothing
CREATE FUNCTION pg_temp.leak(text) RETURNS bool COST 0.0000001 LANGUAGE plpgsql
AS $$ BEGIN RAISE NOTICE 'leaked %', $1; RETURN true; END $$;
SELECT count(*) FROM workflow.run_history WHERE pg_temp.leak(package) AND package LIKE 'sec%';
SELECT count(*) FROM workflow.step_history WHERE pg_temp.leak(command) AND package LIKE 'sec%';
DROP FUNCTION pg_temp.leak;
RESET ROLE;

-- members of the owner, and of pg_monitor, see
GRANT regress_workflow_owner TO regress_workflow_other;
SET ROLE regress_workflow_other;
SELECT DISTINCT package FROM workflow.run_history WHERE package LIKE 'sec%' ORDER BY package;
RESET ROLE;
REVOKE regress_workflow_owner FROM regress_workflow_other;
SET ROLE regress_workflow_monitor;
SELECT DISTINCT package FROM workflow.run_history WHERE package LIKE 'sec%' ORDER BY package;
SELECT count(*) > 0 AS sees_steps FROM workflow.step_history WHERE package = 'sec';
SELECT workflow.start_job('sec');
SELECT try('SELECT workflow.stop_job(' || :run || ')');
RESET ROLE;

-- a child runs as its own owner, and the parent's owner must be allowed to
-- start it
SET ROLE regress_workflow_other;
SELECT workflow.define_package($$ {
  "name": "sec_parent", "steps": [{"name": "child", "kind": "package", "command": "sec"}]} $$);
SELECT workflow.start_job('sec_parent') AS parent \gset
SELECT workflow.wait_for_job(:parent, '60s');
SELECT status, error_path, sqlstate, message FROM workflow.run_history WHERE package = 'sec_parent';
RESET ROLE;
SELECT count(*) FROM seen;
GRANT regress_workflow_owner TO regress_workflow_other;
SET ROLE regress_workflow_other;
SELECT workflow.start_job('sec_parent') AS parent \gset
SELECT workflow.wait_for_job(:parent, '60s');
RESET ROLE;
REVOKE regress_workflow_owner FROM regress_workflow_other;
SELECT DISTINCT cur, ses FROM seen;
TRUNCATE seen;

-- objects of others that a step finds first in its search_path have no part
-- in our own code
SET ROLE regress_workflow_owner;
CREATE TEMP TABLE run_outcome ();
SELECT workflow.define_package($$ {
  "name": "sec_path",
  "steps": [
    {"name": "a", "command": "CREATE TEMP TABLE step_outcome (i int); SET search_path = pg_temp, workflow; SELECT 1"},
    {"name": "b", "after": ["a"], "command": "SELECT 1"}
  ]} $$);
SELECT workflow.start_job('sec_path') AS path \gset
SELECT workflow.wait_for_job(:path, '60s');
RESET ROLE;

-- before PostgreSQL 17 an owner must be able to log in
SET ROLE regress_workflow_nologin;
SELECT workflow.define_package('{"name": "sec_nologin", "steps": [{"name": "a", "command": "SELECT 1"}]}');
RESET ROLE;

REVOKE USAGE ON SCHEMA workflow
	FROM regress_workflow_owner, regress_workflow_other, regress_workflow_monitor, regress_workflow_nologin;
DISCARD TEMP;
DROP ROLE regress_workflow_owner, regress_workflow_other, regress_workflow_monitor,
	regress_workflow_outsider, regress_workflow_nologin;

-- What roles leave behind that are gone: history, and packages that cannot
-- run any more, also if a worker of the role is still there.
SELECT package, status, count(*), count(DISTINCT requested_by) > 0 AS requested
FROM workflow.run_history WHERE package = 'sec'
GROUP BY package, status;
SELECT workflow.start_job('sec') AS gone \gset
SELECT workflow.wait_for_job(:gone, '60s');
SELECT * FROM seen;
DROP TABLE seen;
