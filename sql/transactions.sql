-- Package transactions: a small case for each rule of theirs.

CREATE TABLE effect (n serial, step text, what text);
CREATE PROCEDURE execute(package text, INOUT status text DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
	run bigint;
BEGIN
	TRUNCATE effect;
	run := workflow.start_job(package);
	COMMIT;
	status := workflow.wait_for_job(run, '60s');
END $$;

-- wait until a condition holds
CREATE PROCEDURE await(condition text) LANGUAGE plpgsql AS $$
DECLARE
	holds bool;
BEGIN
	FOR i IN 1 .. 6000 LOOP
		EXECUTE 'SELECT ' || condition INTO holds;
		IF holds THEN
			RETURN;
		END IF;
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RAISE 'this did not come: %', condition;
END $$;

-- steps stop here as long as we hold this lock
CREATE PROCEDURE pass(key int DEFAULT 4731) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_advisory_lock_shared(key), pg_advisory_unlock_shared(key);
END $$;
CREATE FUNCTION waits(n int) RETURNS text
RETURN format('(SELECT count(*) FROM pg_locks WHERE locktype = ''advisory'' AND objid = 4731 AND NOT granted) = %s', n);
-- or until something has come to this, which activity or step_history tells
CREATE FUNCTION is_at(step text, state text) RETURNS text
RETURN format('EXISTS (SELECT FROM workflow.activity WHERE step = %L AND concat_ws('' '', state, wait) = %L)', step, state);
CREATE FUNCTION is_done(step text) RETURNS text
RETURN format('(SELECT status IN (''succeeded'', ''failed'') FROM last_step WHERE step = %L ORDER BY run_id DESC, attempt DESC LIMIT 1)', step);

-- what became of the last run that was started; its child runs have started since
CREATE VIEW last_root AS
SELECT max(run_id) AS run_id FROM workflow.run WHERE parent_run_id IS NULL;
CREATE VIEW last_run AS
SELECT * FROM workflow.run_history WHERE run_id >= (SELECT run_id FROM last_root);
CREATE VIEW last_step AS
SELECT * FROM workflow.step_history WHERE run_id >= (SELECT run_id FROM last_root);
CREATE VIEW last_transaction AS
SELECT * FROM workflow.transaction_history WHERE run_id >= (SELECT run_id FROM last_root);
\set runs 'SELECT package, status, failed_steps AS failed, error_path, sqlstate, message FROM last_run ORDER BY run_id;'
\set steps 'WITH s AS MATERIALIZED (SELECT * FROM last_step), t AS MATERIALIZED (SELECT * FROM last_transaction) SELECT s.package, step, attempt AS n, concat_ws('' '', s.status, reason) AS status, t.number AS t, effects, sqlstate, message FROM s LEFT JOIN t USING (transaction_id) ORDER BY s.run_id, step COLLATE "C", attempt;'
\set transactions 'SELECT package, number, status, isolation_level, steps, error FROM last_transaction ORDER BY transaction_id;'
\set effects 'SELECT step, what FROM effect ORDER BY n;'
-- a statement that leaves a row
CREATE FUNCTION leave(what text) RETURNS void
LANGUAGE sql AS $$ INSERT INTO effect (step, what) VALUES (workflow.step_name(), what) $$;
CREATE FUNCTION leave(what bigint) RETURNS void
LANGUAGE sql AS $$ SELECT leave(what::text) $$;

--
-- Life of a transaction
--

-- several in one run; what is in none commits by itself
SELECT workflow.define_package($$ {
  "name": "tx_life", "fail_on_first_error": false, "connections": [{"name": "k"}],
  "steps": [
    {"name": "a", "connection": "k", "join_transaction": true, "command": "SELECT leave('first')"},
    {"name": "b checkpoint", "kind": "none", "commit_on_success": true, "after": ["a"]},
    {"name": "c", "connection": "k", "join_transaction": true, "command": "SELECT leave('second')", "after": ["b checkpoint"]},
    {"name": "d", "connection": "k", "join_transaction": true, "rollback_on_failure": true, "command": "SELECT leave('second'), 1/0", "after": ["c"]},
    {"name": "e", "connection": "k", "command": "SELECT leave('none')", "after": [{"step": "d", "on": "failure"}]},
    {"name": "f", "connection": "k", "commit_on_success": true, "command": "SELECT leave('none')", "after": ["e"]},
    {"name": "g", "connection": "k", "join_transaction": true, "command": "SELECT leave('third')", "after": ["f"]},
    {"name": "h", "connection": "k", "command": "SELECT leave('third, enlisted')", "after": ["g"]}
  ]} $$);
CALL execute('tx_life');
:runs :steps :transactions :effects

-- nobody joins, so there is none
SELECT workflow.define_package($$ {
  "name": "tx_none", "fail_on_first_error": false,
  "steps": [
    {"name": "a", "commit_on_success": true, "command": "SELECT leave('kept')"},
    {"name": "b", "rollback_on_failure": true, "after": ["a"], "command": "SELECT 1/0"}
  ]} $$);
CALL execute('tx_none');
:runs :transactions :effects
-- nor where the package does not use transactions
SELECT workflow.define_package($$ {
  "name": "tx_off", "use_transactions": false,
  "steps": [
    {"name": "a", "join_transaction": true, "command": "SELECT leave('kept')"},
    {"name": "b", "join_transaction": true, "rollback_on_failure": true, "after": ["a"], "command": "SELECT leave('lost'), 1/0"}
  ]} $$);
CALL execute('tx_off');
:runs :steps :transactions :effects

-- a run that does not commit on completion; one that fails
SELECT workflow.define_package($$ {
  "name": "tx_uncommitted", "commit_on_completion": false,
  "steps": [{"name": "a", "join_transaction": true, "command": "SELECT leave('lost')"}]} $$);
CALL execute('tx_uncommitted');
:runs :steps :transactions :effects
SELECT workflow.define_package($$ {
  "name": "tx_failed",
  "steps": [
    {"name": "a", "join_transaction": true, "command": "SELECT leave('lost')"},
    {"name": "b", "after": ["a"], "command": "SELECT leave('kept')"},
    {"name": "c", "after": ["b"], "command": "SELECT 1/0"},
    {"name": "d", "after": [{"step": "c", "on": "failure"}], "command": "SELECT leave('never')"}
  ]} $$);
CALL execute('tx_failed');
:runs :steps :transactions :effects

-- a step that fails leaves nothing; or, if it is not atomic, what its statements had done before
SELECT workflow.define_package($$ {
  "name": "tx_atomic", "fail_on_first_error": false,
  "steps": [
    {"name": "a", "join_transaction": true, "command": "SELECT leave('lost'); SELECT 1/0"},
    {"name": "b", "join_transaction": true, "atomic": false, "after": [{"step": "a", "on": "completion"}],
     "command": "SELECT leave('kept'); SELECT leave('lost'), 1/0; SELECT leave('never')"}
  ]} $$);
CALL execute('tx_atomic');
:runs :steps :transactions :effects

-- While somebody works in it a commit waits; who follows starts after it.
SELECT workflow.define_package($$ {
  "name": "tx_commit", "fail_on_first_error": false,
  "steps": [
    {"name": "a", "join_transaction": true, "command": "SELECT leave('1')"},
    {"name": "b long", "join_transaction": true, "after": ["a"], "command": "CALL pass(); SELECT leave('2')"},
    {"name": "c commits", "commit_on_success": true, "after": ["a"], "command": "SELECT leave('by itself')"},
    {"name": "d follows", "after": ["c commits"], "command": "SELECT leave((SELECT count(*) FROM effect))"},
    {"name": "e joins", "after": ["b long", "d follows"], "join_transaction": true, "command": "SELECT leave('3')"}
  ]} $$);
TRUNCATE effect;
SELECT pg_advisory_lock(4731);
SELECT workflow.start_job('tx_commit') AS run \gset
CALL await(waits(1));
CALL await(is_at('c commits', 'running commit'));
SELECT step, state, regexp_replace(wait, '\d+', '...') AS wait, transaction_id IS NOT NULL AS t, transaction_age >= '0' AS age FROM workflow.activity WHERE run = :run ORDER BY step;
-- the step that waits for the commit has done its own work, which is seen; that of the transaction is not
:steps :transactions :effects
SELECT pg_advisory_unlock(4731);
SELECT workflow.wait_for_job(:run, '60s');
:runs :steps :transactions
SELECT step, what FROM effect ORDER BY step;

-- A rollback that is asked for meanwhile wins.
SELECT workflow.define_package($$ {
  "name": "tx_rollback_wins", "fail_on_first_error": false,
  "steps": [
    {"name": "a", "join_transaction": true, "command": "SELECT leave('lost')"},
    {"name": "b long", "join_transaction": true, "rollback_on_failure": true, "after": ["a"], "command": "CALL pass(); SELECT 1/0"},
    {"name": "c commits", "commit_on_success": true, "after": ["a"], "command": "SELECT leave('by itself')"},
    {"name": "d follows", "after": ["c commits"], "command": "SELECT leave((SELECT count(*) FROM effect))"}
  ]} $$);
TRUNCATE effect;
SELECT pg_advisory_lock(4731);
SELECT workflow.start_job('tx_rollback_wins') AS run \gset
CALL await(waits(1));
CALL await(is_at('c commits', 'running commit'));
SELECT pg_advisory_unlock(4731);
SELECT workflow.wait_for_job(:run, '60s');
:runs :steps :transactions :effects

-- Who works in it when it is to be rolled back is not cancelled, and works in
-- vain; who wants to join waits for the next; nothing else waits.
SELECT workflow.define_package($$ {
  "name": "tx_dying", "fail_on_first_error": false,
  "steps": [
    {"name": "a", "join_transaction": true, "command": "SELECT leave('lost')"},
    {"name": "b long", "join_transaction": true, "after": ["a"], "command": "CALL pass(); SELECT leave('lost')"},
    {"name": "c fails", "rollback_on_failure": true, "after": ["a"], "command": "SELECT 1/0"},
    {"name": "d joins", "join_transaction": true, "after": [{"step": "c fails", "on": "failure"}], "command": "SELECT leave((SELECT count(*) FROM effect))"},
    {"name": "e does not", "after": [{"step": "c fails", "on": "failure"}], "command": "SELECT leave('by itself')"}
  ]} $$);
TRUNCATE effect;
SELECT pg_advisory_lock(4731);
SELECT workflow.start_job('tx_dying') AS run \gset
CALL await(waits(1));
CALL await(is_at('d joins', 'running transaction'));
CALL await(is_done('e does not'));
SELECT step, state, regexp_replace(wait, '\d+', '...') AS wait FROM workflow.activity WHERE run = :run ORDER BY step;
:transactions
SELECT pg_advisory_unlock(4731);
SELECT workflow.wait_for_job(:run, '60s');
:runs :steps :transactions :effects

-- The failure of the package cancels nobody either, and rolls back when all have ended.
SELECT workflow.define_package($$ {
  "name": "tx_failing",
  "steps": [
    {"name": "a", "join_transaction": true, "command": "SELECT leave('lost')"},
    {"name": "b long", "join_transaction": true, "commit_on_success": true, "after": ["a"], "command": "CALL pass(); SELECT leave('lost')"},
    {"name": "c fails", "after": ["a"], "command": "SELECT 1/0"},
    {"name": "d never", "after": ["b long"], "command": "SELECT leave('never')"}
  ]} $$);
TRUNCATE effect;
SELECT pg_advisory_lock(4731);
SELECT workflow.start_job('tx_failing') AS run \gset
CALL await(waits(1));
CALL await(is_done('c fails'));
SELECT status, error_path, sqlstate, message FROM last_run;
:transactions
SELECT pg_advisory_unlock(4731);
SELECT workflow.wait_for_job(:run, '60s');
:runs :steps :transactions :effects

-- Others see nothing of it before the commit, and history shows what has been done.
SELECT workflow.define_package($$ {
  "name": "tx_unseen",
  "steps": [
    {"name": "a", "join_transaction": true, "command": "SELECT leave('unseen')"},
    {"name": "b waits", "join_transaction": true, "after": ["a"], "command": "CALL pass()"}
  ]} $$);
TRUNCATE effect;
SELECT pg_advisory_lock(4731);
SELECT workflow.start_job('tx_unseen') AS run \gset
CALL await(waits(1));
SELECT step, status, transaction_status, effects, rows, finished_at IS NOT NULL AS finished FROM last_step ORDER BY step;
:transactions :effects
SELECT step, state, regexp_replace(wait, '\d+', '...') AS wait, pid IS NOT NULL AS pid, a.transaction_id = t.transaction_id AS t, transaction_age >= '0' AS age
FROM workflow.activity AS a, last_transaction AS t WHERE run = :run;
SELECT pg_advisory_unlock(4731);
SELECT workflow.wait_for_job(:run, '60s');
SELECT step, status, transaction_status, effects, rows FROM last_step ORDER BY step;
:transactions :effects

--
-- Named connections
--

-- A connection is enlisted until the transaction ends: all steps on it belong to that.
SELECT workflow.define_package($$ {
  "name": "tx_enlisted", "fail_on_first_error": false, "commit_on_completion": false, "connections": [{"name": "k"}],
  "steps": [
    {"name": "a", "connection": "k", "command": "SELECT leave('before')"},
    {"name": "b", "connection": "k", "join_transaction": true, "after": ["a"], "command": "SELECT leave('in it')"},
    {"name": "c", "connection": "k", "after": ["b"], "command": "SELECT leave('in it')"},
    {"name": "d", "after": ["c"], "command": "SELECT leave('on another')"},
    {"name": "e", "rollback_on_failure": true, "after": ["d"], "command": "SELECT 1/0"},
    {"name": "f", "connection": "k", "after": [{"step": "e", "on": "failure"}], "command": "SELECT leave('after it')"}
  ]} $$);
CALL execute('tx_enlisted');
:steps :transactions :effects

-- One at a time on one connection
SELECT workflow.define_package($$ {
  "name": "tx_one_connection", "connections": [{"name": "k"}],
  "steps": [
    {"name": "a", "connection": "k", "priority": 1, "join_transaction": true, "command": "CALL pass(); SELECT leave('1')"},
    {"name": "b", "connection": "k", "join_transaction": true, "command": "SELECT leave('2')"}
  ]} $$);
TRUNCATE effect;
SELECT pg_advisory_lock(4731);
SELECT workflow.start_job('tx_one_connection') AS run \gset
CALL await(waits(1));
CALL await('true');
SELECT status FROM last_step WHERE step = 'b';
SELECT pg_advisory_unlock(4731);
SELECT workflow.wait_for_job(:run, '60s');
:transactions :effects

-- Two connections at a time cannot join one transaction: the step fails before
-- its first statement, and the package; who was there goes on.
SELECT workflow.define_package($$ {
  "name": "tx_two_connections", "fail_on_first_error": false, "connections": [{"name": "k1"}, {"name": "k2"}],
  "steps": [
    {"name": "a", "connection": "k1", "priority": 1, "join_transaction": true, "command": "CALL pass(); SELECT leave('lost')"},
    {"name": "b", "join_transaction": true, "connection": "k2", "command": "SELECT nextval('never')"},
    {"name": "c", "after": [{"step": "a", "on": "completion"}], "command": "SELECT leave('never')"}
  ]} $$);
CREATE SEQUENCE never;
TRUNCATE effect;
SELECT pg_advisory_lock(4731);
SELECT workflow.start_job('tx_two_connections') AS run \gset
CALL await(waits(1));
CALL await(is_done('b'));
SELECT pg_advisory_unlock(4731);
SELECT workflow.wait_for_job(:run, '60s');
:runs :steps :transactions :effects
SELECT is_called FROM never;

-- A step that does not want to join, but whose connection is enlisted, just fails.
SELECT workflow.define_package($$ {
  "name": "tx_collision", "fail_on_first_error": false, "connections": [{"name": "k1"}, {"name": "k2"}],
  "steps": [
    {"name": "a", "connection": "k2", "join_transaction": true, "command": "SELECT leave('kept')"},
    {"name": "b", "connection": "k1", "priority": 1, "join_transaction": true, "after": ["a"], "command": "CALL pass(); SELECT leave('kept')"},
    {"name": "c", "connection": "k2", "after": ["a"], "command": "SELECT nextval('never')"},
    {"name": "d", "after": [{"step": "c", "on": "failure"}], "command": "SELECT leave('goes on')"}
  ]} $$);
TRUNCATE effect;
SELECT pg_advisory_lock(4731);
SELECT workflow.start_job('tx_collision') AS run \gset
CALL await(waits(1));
CALL await(is_done('d'));
SELECT pg_advisory_unlock(4731);
SELECT workflow.wait_for_job(:run, '60s');
:runs :steps :transactions :effects
SELECT is_called FROM never;

-- One after the other they share the session, and what is not committed; "main thread" keeps them apart.
SELECT workflow.define_package($$ {
  "name": "tx_shared", "connections": [{"name": "k1"}, {"name": "k2"}],
  "steps": [
    {"name": "a", "connection": "k2", "command": "CREATE TEMP TABLE own AS SELECT 1 AS i"},
    {"name": "b", "connection": "k1", "main_thread": true, "join_transaction": true, "after": ["a"], "command": "CREATE TEMP TABLE shared AS SELECT 1 AS i; SELECT leave('of k1')"},
    {"name": "c", "connection": "k2", "main_thread": true, "join_transaction": true, "after": ["a"],
     "command": "SELECT leave(concat_ws(' ', count(*), to_regclass('pg_temp.shared') IS NOT NULL, to_regclass('pg_temp.own') IS NULL)) FROM effect"},
    {"name": "d", "kind": "none", "commit_on_success": true, "after": ["b", "c"]},
    {"name": "e", "connection": "k2", "after": ["d"], "command": "SELECT leave(concat_ws(' ', to_regclass('pg_temp.shared') IS NULL, to_regclass('pg_temp.own') IS NOT NULL))"}
  ]} $$);
CALL execute('tx_shared');
:runs :transactions :effects
SELECT count(DISTINCT pid) FROM last_step WHERE transaction_id IS NOT NULL;

-- Unnamed ones that join share it too, and wait for each other.
SELECT workflow.define_package($$ {
  "name": "tx_unnamed", "connections": [{"name": "k"}],
  "steps": [
    {"name": "a", "priority": 1, "join_transaction": true, "command": "CALL pass(); SELECT leave('1')"},
    {"name": "b", "join_transaction": true, "command": "SELECT leave((SELECT count(*) FROM effect))"},
    {"name": "c", "connection": "k", "join_transaction": true, "after": ["b"], "command": "SELECT leave((SELECT count(*) FROM effect))"},
    {"name": "d beside", "command": "SELECT leave('by itself')"}
  ]} $$);
TRUNCATE effect;
SELECT pg_advisory_lock(4731);
SELECT workflow.start_job('tx_unnamed') AS run \gset
CALL await(waits(1));
CALL await(is_at('b', 'waiting transaction'));
CALL await(is_done('d beside'));
:effects
SELECT pg_advisory_unlock(4731);
SELECT workflow.wait_for_job(:run, '60s');
:steps :transactions :effects
SELECT count(DISTINCT pid) FROM last_step WHERE transaction_id IS NOT NULL;

--
-- Inheritance
--

-- In a child that inherits the flags of commit do nothing, nor its level; a
-- child that does not inherit is on its own.
SELECT workflow.define_package($$ {
  "name": "tx_child", "commit_on_completion": false, "isolation_level": "serializable",
  "steps": [
    {"name": "a", "join_transaction": true, "commit_on_success": true, "command": "SELECT leave(current_setting('transaction_isolation'))"},
    {"name": "b", "after": ["a"], "command": "SELECT leave('by itself')"}
  ]} $$);
SELECT workflow.define_package($$ {
  "name": "tx_alone", "isolation_level": "repeatable read",
  "steps": [{"name": "a", "join_transaction": true, "command": "SELECT leave(current_setting('transaction_isolation'))"}]} $$);
SELECT workflow.define_package($$ {
  "name": "tx_parent", "fail_on_first_error": false,
  "steps": [
    {"name": "a", "join_transaction": true, "command": "SELECT leave('of the parent')"},
    {"name": "b", "kind": "package", "join_transaction": true, "command": "tx_child", "after": ["a"]},
    {"name": "c", "kind": "package", "command": "tx_alone", "after": ["b"]},
    {"name": "d", "join_transaction": true, "command": "SELECT leave((SELECT count(*) FROM effect))", "after": ["c"]}
  ]} $$);
CALL execute('tx_parent');
:runs :steps :transactions :effects
-- its work goes with the owner's
SELECT workflow.add_step('tx_parent', 'e', 'SELECT 1/0', after => '{d}', rollback_on_failure => true);
CALL execute('tx_parent');
:runs :steps :transactions :effects

-- A child that fails rolls nothing back.
SELECT workflow.define_package($$ {
  "name": "tx_child",
  "steps": [
    {"name": "a", "join_transaction": true, "command": "SELECT leave('kept')"},
    {"name": "b", "join_transaction": true, "after": ["a"], "command": "SELECT leave('lost'), 1/0"}
  ]} $$);
SELECT workflow.define_package($$ {
  "name": "tx_parent", "fail_on_first_error": false,
  "steps": [
    {"name": "a", "kind": "package", "join_transaction": true, "command": "tx_child"},
    {"name": "b", "join_transaction": true, "after": [{"step": "a", "on": "failure"}], "command": "SELECT leave('kept')"}
  ]} $$);
CALL execute('tx_parent');
:runs :steps :transactions :effects

-- But a step of it with rollback_on_failure rolls back all, which the owner
-- has to acknowledge: its next join or commit fails it.  A child that
-- tolerated its errors has succeeded.
SELECT workflow.define_package($$ {
  "name": "tx_child", "fail_on_first_error": false,
  "steps": [
    {"name": "a", "join_transaction": true, "rollback_on_failure": true, "command": "SELECT 1/0"},
    {"name": "b", "join_transaction": true, "after": [{"step": "a", "on": "failure"}], "command": "SELECT leave('never')"},
    {"name": "c", "after": [{"step": "b", "on": "failure"}], "command": "SELECT leave('by itself')"}
  ]} $$);
SELECT workflow.define_package($$ {
  "name": "tx_parent", "fail_on_first_error": false,
  "steps": [
    {"name": "a", "join_transaction": true, "command": "SELECT leave('lost')"},
    {"name": "b", "kind": "package", "join_transaction": true, "command": "tx_child", "after": ["a"]},
    {"name": "c joins", "join_transaction": true, "after": ["b"], "command": "SELECT leave('never')"}
  ]} $$);
CALL execute('tx_parent');
:runs :steps :transactions :effects
-- by a commit
SELECT workflow.alter_step('tx_parent', 'c joins', join_transaction => false, commit_on_success => true);
CALL execute('tx_parent');
:runs :steps :transactions :effects
-- at completion
SELECT workflow.drop_step('tx_parent', 'c joins');
CALL execute('tx_parent');
:runs :steps :transactions :effects
-- acknowledged by the package step itself, by another step, at completion
SELECT workflow.alter_package('tx_child', fail_on_first_error => true);
SELECT workflow.alter_step('tx_parent', 'b', rollback_on_failure => true);
SELECT workflow.add_step('tx_parent', 'c joins', 'SELECT leave(''kept'')', join_transaction => true, after_failure => '{b}');
CALL execute('tx_parent');
:runs :steps :transactions :effects
SELECT workflow.alter_step('tx_parent', 'b', rollback_on_failure => false);
SELECT workflow.alter_step('tx_parent', 'c joins', command => 'SELECT 1/0', join_transaction => false, rollback_on_failure => true);
SELECT workflow.add_step('tx_parent', 'd joins', 'SELECT leave(''kept'')', join_transaction => true, after_failure => '{c joins}');
CALL execute('tx_parent');
:runs :steps :transactions :effects
SELECT workflow.drop_step('tx_parent', 'd joins');
SELECT workflow.drop_step('tx_parent', 'c joins');
SELECT workflow.alter_package('tx_parent', commit_on_completion => false);
CALL execute('tx_parent');
:runs :steps :transactions :effects

-- A child of another owner cannot inherit: it does not start.
CREATE ROLE workflow_tx_other LOGIN;
GRANT USAGE ON SCHEMA workflow TO workflow_tx_other;
SELECT workflow.define_package('{"name": "tx_foreign", "steps": [{"name": "a", "join_transaction": true, "command": "SELECT leave(''never'')"}]}');
SELECT workflow.define_package($$ {
  "name": "tx_parent", "fail_on_first_error": false,
  "steps": [
    {"name": "a", "join_transaction": true, "command": "SELECT leave('kept')"},
    {"name": "b", "kind": "package", "join_transaction": true, "command": "tx_foreign", "after": ["a"]},
    {"name": "c", "join_transaction": true, "command": "SELECT leave('kept')", "after": [{"step": "b", "on": "failure"}]}
  ]} $$);
SELECT workflow.alter_package_owner('tx_foreign', 'workflow_tx_other');
CALL execute('tx_parent');
:runs :steps :transactions :effects
SELECT workflow.drop_package('tx_foreign');
DROP OWNED BY workflow_tx_other;
DROP ROLE workflow_tx_other;

--
-- What survives a rollback: outcomes, variables, messages
--
SELECT workflow.define_package($$ {
  "name": "tx_survives", "variables": {"set": null, "result": null, "failed": "as it was"}, "commit_on_completion": false, "fail_on_first_error": false,
  "steps": [
    {"name": "a", "join_transaction": true, "result_variable": "result", "command": "SELECT leave('lost'); SELECT count(*) FROM effect"},
    {"name": "b", "join_transaction": true, "after": ["a"], "command": "DO $do$ BEGIN RAISE WARNING 'told'; PERFORM workflow.set_variable('set', workflow.variable('result') || ' seen'); END $do$"},
    {"name": "c", "join_transaction": true, "after": ["b"], "command": "SELECT workflow.set_variable('failed', 'changed'::text); SELECT 1/0"},
    {"name": "d", "rollback_on_failure": true, "after": [{"step": "c", "on": "failure"}], "command": "SELECT 1/0"},
    {"name": "e", "after": [{"step": "d", "on": "failure"}], "command": "SELECT leave(workflow.variables()::text)"}
  ]} $$);
CALL execute('tx_survives');
:steps :transactions :effects
SELECT step, rows, messages, result, duration >= '0' AS lasts, pid IS NOT NULL AS pid FROM last_step ORDER BY step;
SELECT variables FROM last_run;
-- what a step has set before is kept where all that follows joins, on one connection
SELECT workflow.define_package($$ {
  "name": "tx_variables", "variables": {"v": null, "w": null}, "connections": [{"name": "k"}],
  "steps": [
    {"name": "a", "connection": "k", "command": "SELECT workflow.set_variable('v', repeat('x', 100))"},
    {"name": "b", "connection": "k", "after": ["a"], "join_transaction": true, "command": "SELECT leave(length(workflow.variable('v')))"},
    {"name": "c", "connection": "k", "after": ["b"], "join_transaction": true, "result_variable": "w", "command": "SELECT 1"}
  ]} $$);
CALL execute('tx_variables');
:effects
SELECT length(variables ->> 'v') AS v, variables ->> 'w' AS w FROM last_run;

--
-- Commits that fail
--
CREATE TABLE parent (i int PRIMARY KEY);
CREATE TABLE child (i int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
-- the step that asks for it fails, and the package, whatever it tolerates
SELECT workflow.define_package($$ {
  "name": "tx_bad_commit", "fail_on_first_error": false,
  "steps": [
    {"name": "a", "join_transaction": true, "command": "SELECT leave('lost')"},
    {"name": "b", "join_transaction": true, "commit_on_success": true, "after": ["a"], "command": "INSERT INTO child VALUES (1)"},
    {"name": "c", "after": [{"step": "b", "on": "completion"}], "command": "SELECT leave('never')"}
  ]} $$);
CALL execute('tx_bad_commit');
:runs :steps :transactions :effects
-- so does one that has not worked in it, a placeholder too
SELECT workflow.alter_step('tx_bad_commit', 'b', commit_on_success => false);
SELECT workflow.alter_step('tx_bad_commit', 'c', command => 'SELECT leave(''kept'')', commit_on_success => true);
CALL execute('tx_bad_commit');
:runs :steps :transactions :effects
SELECT workflow.drop_step('tx_bad_commit', 'c');
SELECT workflow.add_step('tx_bad_commit', 'c', kind => 'none', command => NULL, commit_on_success => true, after => '{b}');
CALL execute('tx_bad_commit');
:runs :steps :transactions :effects
-- on completion nobody has asked for it: the package fails, all its steps have succeeded
SELECT workflow.drop_step('tx_bad_commit', 'c');
CALL execute('tx_bad_commit');
:runs :steps :transactions :effects
-- the package step of a child that inherits
SELECT workflow.define_package($$ {
  "name": "tx_parent", "fail_on_first_error": false,
  "steps": [
    {"name": "a", "kind": "package", "join_transaction": true, "commit_on_success": true, "command": "tx_bad_commit"},
    {"name": "b", "after": [{"step": "a", "on": "completion"}], "command": "SELECT leave('never')"}
  ]} $$);
CALL execute('tx_parent');
:runs :steps :transactions :effects

-- A serialization failure, when it commits
CREATE TABLE account (name text PRIMARY KEY, amount int);
INSERT INTO account VALUES ('x', 1), ('y', 1);
SELECT workflow.define_package($$ {
  "name": "tx_serializable", "isolation_level": "serializable", "fail_on_first_error": false,
  "steps": [
    {"name": "a", "join_transaction": true, "command": "UPDATE account SET amount = (SELECT amount FROM account WHERE name = 'x') - 1 WHERE name = 'y'"},
    {"name": "b", "join_transaction": true, "after": ["a"], "command": "CALL pass()"}
  ]} $$);
\set skew 'BEGIN ISOLATION LEVEL SERIALIZABLE; UPDATE account SET amount = (SELECT amount FROM account WHERE name = \'y\') - 1 WHERE name = \'x\'; COMMIT;'
SELECT pg_advisory_lock(4731);
SELECT workflow.start_job('tx_serializable') AS run \gset
CALL await(waits(1));
:skew
SELECT pg_advisory_unlock(4731);
SELECT workflow.wait_for_job(:run, '60s');
SELECT package, status, failed_steps AS failed, error_path, sqlstate FROM last_run;
SELECT step, status, sqlstate, transaction_status FROM last_step ORDER BY step;
SELECT number, status, isolation_level, steps, split_part(error, ' due', 1) AS error FROM last_transaction;
SELECT * FROM account ORDER BY name;
-- the same with a step that asks for the commit
SELECT workflow.alter_step('tx_serializable', 'b', commit_on_success => true);
UPDATE account SET amount = 1;
SELECT pg_advisory_lock(4731);
SELECT workflow.start_job('tx_serializable') AS run \gset
CALL await(waits(1));
:skew
SELECT pg_advisory_unlock(4731);
SELECT workflow.wait_for_job(:run, '60s');
SELECT package, status, failed_steps AS failed, error_path, sqlstate FROM last_run;
SELECT step, status, sqlstate, transaction_status FROM last_step ORDER BY step;
SELECT * FROM account ORDER BY name;

-- The level is in force: at repeatable read one snapshot for all steps
SELECT workflow.define_package(jsonb_build_object('name', 'tx_level ' || level, 'isolation_level', level, 'steps', $$ [
    {"name": "a", "join_transaction": true, "command": "SELECT leave(concat_ws(' ', current_setting('transaction_isolation'), count(*))) FROM account"},
    {"name": "b", "join_transaction": true, "after": ["a"], "command": "CALL pass()"},
    {"name": "c", "join_transaction": true, "after": ["b"], "command": "SELECT leave(concat_ws(' ', current_setting('transaction_isolation'), count(*))) FROM account"},
    {"name": "d beside", "after": ["c"], "command": "SELECT leave(concat_ws(' ', current_setting('transaction_isolation'), count(*))) FROM account"}
  ] $$::jsonb))
FROM unnest('{read committed,repeatable read,serializable}'::text[]) AS level;
TRUNCATE effect;
SELECT pg_advisory_lock(4731);
SELECT max(workflow.start_job('tx_level ' || level)) AS run
FROM unnest('{read committed,repeatable read,serializable}'::text[]) AS level \gset
CALL await(waits(3));
INSERT INTO account VALUES ('z', 1);
SELECT pg_advisory_unlock(4731);
CALL await('NOT EXISTS (SELECT FROM workflow.activity)');
SELECT step, what FROM effect ORDER BY step, what;

--
-- What a step may not do in a transaction; that stays as it was
--
CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO effect VALUES (0, 'lost'); COMMIT; END $$;
CREATE PROCEDURE rolls_back() LANGUAGE plpgsql AS $$ BEGIN ROLLBACK; END $$;
SELECT workflow.define_package(jsonb_build_object('name', 'tx_forbidden', 'fail_on_first_error', false, 'connections', '[{"name": "k"}]'::jsonb,
	'max_concurrent_steps', 1, 'steps', jsonb_agg(jsonb_build_object('name', to_char(i, 'FM00'), 'priority', -i, 'connection', 'k', 'join_transaction', true,
		'atomic', i % 2 = 0, 'command', command) ORDER BY i)))
FROM unnest('{
	SELECT leave(1), VACUUM effect, VACUUM (ANALYZE) account, CREATE INDEX CONCURRENTLY ON effect (what), REINDEX TABLE CONCURRENTLY account,
	CREATE DATABASE workflow_tx, ALTER SYSTEM SET work_mem = 1000, CALL commits(), CALL rolls_back(),
	COMMIT, ROLLBACK, BEGIN, SAVEPOINT s, ROLLBACK TO s, PREPARE TRANSACTION $x$x$x$, ABORT, END,
	DO $do$ BEGIN COMMIT; END $do$, SELECT leave(2); COMMIT; SELECT leave(3), SELECT leave(4); VACUUM effect, LISTEN channel, SELECT leave(5)}'::text[])
	WITH ORDINALITY AS c (command, i);
CALL execute('tx_forbidden');
SELECT step, status, sqlstate, message, command FROM last_step ORDER BY step;
:transactions :effects

--
-- The state of the session
--
SELECT workflow.define_package($$ {
  "name": "tx_session", "fail_on_first_error": false, "connections": [{"name": "k"}], "settings": {"work_mem": "1MB"},
  "steps": [
    {"name": "a", "connection": "k", "join_transaction": true, "command": "SET statement_timeout = '1h'; SET LOCAL idle_session_timeout = '1h'; CREATE TEMP TABLE t AS SELECT 1; PREPARE p AS SELECT 1; DECLARE c CURSOR FOR SELECT 1; SELECT pg_advisory_lock(4732), pg_advisory_xact_lock(4733), pg_notify('channel', '')"},
    {"name": "b", "connection": "k", "join_transaction": true, "after": ["a"], "settings": {"work_mem": "2MB"}, "lock_timeout": "1min", "command": "CALL look()"},
    {"name": "c", "connection": "k", "join_transaction": true, "after": ["b"], "command": "CALL look(); SELECT 1/0"},
    {"name": "d", "connection": "k", "join_transaction": true, "after": [{"step": "c", "on": "failure"}], "command": "SET work_mem = '3MB'; CREATE TEMP TABLE lost (); SELECT pg_advisory_xact_lock(4735); SELECT 1/0"},
    {"name": "e", "connection": "k", "join_transaction": true, "after": [{"step": "d", "on": "failure"}], "command": "CALL look()"},
    {"name": "f rolls back", "kind": "none", "after": ["e"]},
    {"name": "g", "rollback_on_failure": true, "after": ["f rolls back"], "command": "SELECT 1/0"},
    {"name": "h", "connection": "k", "after": [{"step": "g", "on": "failure"}], "command": "CALL look()"},
    {"name": "i", "connection": "k", "join_transaction": true, "after": ["h"], "command": "SET statement_timeout = '2h'; CREATE TEMP TABLE t AS SELECT 1; SELECT pg_advisory_xact_lock(4733)"},
    {"name": "j", "kind": "none", "commit_on_success": true, "after": ["i"]},
    {"name": "k", "connection": "k", "after": ["j"], "command": "CALL look()"}
  ]} $$);
CREATE PROCEDURE look() LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE '%', concat_ws(' ', current_setting('work_mem'), current_setting('statement_timeout'), current_setting('idle_session_timeout'), current_setting('lock_timeout'),
		(SELECT string_agg(objid::text, ' ' ORDER BY objid) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'),
		to_regclass('pg_temp.t'), (SELECT name FROM pg_prepared_statements), (SELECT name FROM pg_cursors WHERE name = 'c'));
END $$;
CALL execute('tx_session');
SELECT step, status, messages, message FROM last_step ORDER BY step;
:transactions
-- unnamed steps that join share it as long as the transaction lasts, and leave nothing to others
SELECT workflow.define_package($$ {
  "name": "tx_session",
  "steps": [
    {"name": "a", "join_transaction": true, "command": "SET statement_timeout = '1h'; CREATE TEMP TABLE t AS SELECT 1; PREPARE p AS SELECT 1; SELECT pg_advisory_lock(4732)"},
    {"name": "b", "join_transaction": true, "commit_on_success": true, "after": ["a"], "command": "CALL look()"},
    {"name": "c", "join_transaction": true, "after": ["b"], "command": "CALL look()"}
  ]} $$);
CALL execute('tx_session');
SELECT step, status, messages, message FROM last_step ORDER BY step;
:transactions
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory';

--
-- Attempts, time-outs
--
CREATE SEQUENCE tries;
-- what an attempt has done is undone before the next, also where the step is not atomic
SELECT workflow.define_package($$ {
  "name": "tx_retry", "fail_on_first_error": false,
  "steps": [
    {"name": "a", "join_transaction": true, "command": "SELECT leave('before')"},
    {"name": "b", "join_transaction": true, "max_attempts": 3, "retry_delay": "1ms", "after": ["a"], "command": "SELECT leave((SELECT count(*) FROM effect)); SELECT 1 / (nextval('tries') - 1)"},
    {"name": "c", "join_transaction": true, "atomic": false, "max_attempts": 2, "retry_delay": "1ms", "after": ["b"], "command": "SELECT leave((SELECT count(*) FROM effect)); SELECT 1/0"}
  ]} $$);
CALL execute('tx_retry');
:steps :transactions :effects
-- an attempt that is followed by another is not why the transaction is rolled back
SELECT workflow.define_package($$ {
  "name": "tx_retried", "commit_on_completion": false,
  "steps": [{"name": "a", "join_transaction": true, "rollback_on_failure": true, "max_attempts": 2, "retry_delay": "1ms", "command": "SELECT 1 / (nextval('tries') - 3)"}]} $$);
CALL execute('tx_retried');
:steps :transactions
-- class 40: tried again at read committed; not above, where it would only come again
SELECT workflow.define_package(jsonb_build_object('name', 'tx_retry_40', 'isolation_level', level, 'fail_on_first_error', false, 'steps', $$ [
    {"name": "a", "join_transaction": true, "max_attempts": 2, "retry_delay": "1ms", "retry_on": ["40"], "command": "DO $do$ BEGIN RAISE SQLSTATE '40001'; END $do$"},
    {"name": "b", "join_transaction": true, "max_attempts": 2, "retry_delay": "1ms", "retry_on": ["22012"], "command": "SELECT 1/0"},
    {"name": "c", "max_attempts": 2, "retry_delay": "1ms", "command": "DO $do$ BEGIN RAISE SQLSTATE '40001'; END $do$"}
  ] $$::jsonb))
FROM unnest('{read committed}'::text[]) AS level;
CALL execute('tx_retry_40');
SELECT step, attempt, status, sqlstate FROM last_step ORDER BY step, attempt;
SELECT workflow.alter_package('tx_retry_40', isolation_level => 'repeatable read');
CALL execute('tx_retry_40');
SELECT step, attempt, status, sqlstate FROM last_step ORDER BY step, attempt;
-- while the next attempt is awaited, others that want to work in it wait
SELECT workflow.define_package($$ {
  "name": "tx_retry", "fail_on_first_error": false,
  "steps": [
    {"name": "a", "priority": 1, "join_transaction": true, "max_attempts": 2, "retry_delay": "1h", "command": "SELECT 1/0"},
    {"name": "b", "join_transaction": true, "command": "SELECT leave('never')"}
  ]} $$);
TRUNCATE effect;
SELECT workflow.start_job('tx_retry') AS run \gset
CALL await(is_at('a', 'running retry'));
CALL await(is_at('b', 'waiting transaction'));
SELECT workflow.stop_job(:run, 'enough');
:runs :steps :transactions :effects

-- the time-out of a step, or of its wait for a lock, is an error like others
CREATE TABLE locked ();
SELECT workflow.define_package($$ {
  "name": "tx_timeout", "fail_on_first_error": false,
  "steps": [
    {"name": "a", "join_transaction": true, "timeout": "50ms", "command": "SELECT leave('lost'); SELECT pg_sleep(60)"},
    {"name": "b", "join_transaction": true, "lock_timeout": "50ms", "after": [{"step": "a", "on": "completion"}], "command": "SELECT leave('lost'); LOCK locked"},
    {"name": "c", "join_transaction": true, "after": [{"step": "b", "on": "completion"}], "command": "SELECT leave(current_setting('lock_timeout'))"}
  ]} $$);
SELECT workflow.define_package('{"name": "tx_locks", "steps": [{"name": "a", "command": "LOCK locked; CALL pass()"}]}');
TRUNCATE effect;
SELECT pg_advisory_lock(4731);
SELECT workflow.start_job('tx_locks') AS holder \gset
CALL await(waits(1));
CALL execute('tx_timeout');
:runs :steps :transactions :effects
SELECT pg_advisory_unlock(4731);
SELECT workflow.wait_for_job(:holder, '60s');

-- a package that takes too long, or is stopped: all is rolled back
SELECT workflow.define_package($$ {
  "name": "tx_package_timeout", "timeout": "200ms",
  "steps": [
    {"name": "a", "join_transaction": true, "command": "SELECT leave('lost')"},
    {"name": "b", "join_transaction": true, "after": ["a"], "command": "SELECT pg_sleep(60)"}
  ]} $$);
CALL execute('tx_package_timeout');
:runs :steps :transactions :effects
SELECT workflow.define_package($$ {
  "name": "tx_stop",
  "steps": [
    {"name": "a", "join_transaction": true, "command": "SELECT leave('lost')"},
    {"name": "b", "join_transaction": true, "after": ["a"], "command": "CALL pass()"},
    {"name": "c", "join_transaction": true, "after": ["b"], "command": "SELECT leave('never')"}
  ]} $$);
SELECT workflow.define_package($$ {
  "name": "tx_stop_driven", "timeout": "1h",
  "steps": [
    {"name": "a", "join_transaction": true, "command": "SELECT leave('lost')"},
    {"name": "b", "kind": "package", "join_transaction": true, "after": ["a"], "command": "tx_stop"}
  ]} $$);
SELECT pg_advisory_lock(4731);
TRUNCATE effect;
SELECT workflow.start_job('tx_stop') AS run \gset
CALL await(waits(1));
SELECT workflow.stop_job(:run, 'enough');
:runs :steps :transactions :effects
SELECT workflow.start_job('tx_stop_driven') AS run \gset
CALL await(waits(1));
SELECT workflow.stop_job(:run, 'enough');
:runs :steps :transactions :effects

-- A pause: the step goes on, the transaction stays open.
SELECT workflow.start_job('tx_stop') AS run \gset
SELECT workflow.start_job('tx_stop_driven') AS driven \gset
CALL await(waits(2));
SELECT workflow.pause_job(:run), workflow.pause_job(:driven);
SELECT pg_advisory_unlock(4731);
CALL await(format('(SELECT count(*) = 2 FROM workflow.step_history WHERE root_run_id IN (%s, %s) AND step = ''b'' AND package = ''tx_stop'' AND status = ''succeeded'')', :run, :driven));
SELECT package, status FROM workflow.run_history WHERE root_run_id IN (:run, :driven) ORDER BY run_id;
SELECT package, status FROM workflow.transaction_history WHERE root_run_id IN (:run, :driven) ORDER BY package;
SELECT package, step, state, regexp_replace(wait, '\d+', '...') AS wait, transaction_id IS NOT NULL AS t FROM workflow.activity WHERE run IN (:run, :driven) ORDER BY package;
:effects
SELECT workflow.resume_job(:run), workflow.resume_job(:driven);
SELECT workflow.wait_for_job(:run, '60s'), workflow.wait_for_job(:driven, '60s');
SELECT package, status FROM workflow.transaction_history WHERE root_run_id IN (:run, :driven) ORDER BY package;
SELECT step, what FROM effect ORDER BY step;

--
-- Conditions, finally
--
SELECT workflow.define_package($$ {
  "name": "tx_condition", "fail_on_first_error": false,
  "steps": [
    {"name": "a", "join_transaction": true, "condition": "NOT EXISTS (SELECT FROM effect)", "command": "SELECT leave('lost')"},
    {"name": "b joins", "join_transaction": true, "after": ["a"], "condition": "EXISTS (SELECT FROM effect)", "command": "SELECT leave('lost')"},
    {"name": "c does not", "after": ["b joins"], "condition": "NOT EXISTS (SELECT FROM effect)", "command": "SELECT leave('kept')"},
    {"name": "d", "rollback_on_failure": true, "after": ["c does not"], "condition": "1/0 = 1", "command": "SELECT leave('never')"},
    {"name": "e opens none", "join_transaction": true, "after": [{"step": "d", "on": "failure"}], "condition": "false", "command": "SELECT leave('never')"},
    {"name": "f", "finally": "completion", "command": "SELECT leave((SELECT count(*) FROM effect))"}
  ]} $$);
CALL execute('tx_condition');
:runs :steps :transactions :effects
SELECT workflow.define_package($$ {
  "name": "tx_finally",
  "steps": [
    {"name": "a", "join_transaction": true, "command": "SELECT leave('of the transaction')"},
    {"name": "b", "finally": "completion",
     "command": "SELECT leave(concat_ws(' ', (SELECT count(*) FROM effect), workflow.run_status(), status)) FROM workflow.transaction_history WHERE run_id = workflow.run_id()"},
    {"name": "c", "finally": "completion", "rollback_on_failure": true, "command": "SELECT 1/0"}
  ]} $$);
CALL execute('tx_finally');
:runs :steps :transactions :effects
SELECT workflow.add_step('tx_finally', 'a2', 'SELECT 1/0', join_transaction => true, after => '{a}');
CALL execute('tx_finally');
:runs :steps :transactions :effects

--
-- Nothing is left
--
SELECT * FROM workflow.activity;
SELECT backend_type, state FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' OR (backend_type = 'workflow worker' AND xact_start IS NOT NULL);
DO $$ BEGIN PERFORM workflow.drop_package(name) FROM workflow.package WHERE name LIKE 'tx%'; END $$;
DROP VIEW last_transaction, last_step, last_run, last_root;
DROP FUNCTION waits, is_at, is_done, leave(text), leave(bigint);
DROP PROCEDURE execute, await, pass, look, commits, rolls_back;
DROP TABLE effect, child, parent, account, locked;
DROP SEQUENCE never, tries;
