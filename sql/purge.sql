-- purge_history: what goes, what stays, who may; versions that no run refers to.

CREATE PROCEDURE execute(package text, INOUT status text DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
	run bigint;
BEGIN
	run := workflow.start_job(package);
	COMMIT;
	status := workflow.wait_for_job(run, '60s');
END $$;

CREATE FUNCTION try(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE command INTO result;
	RETURN coalesce(result, 'null');
EXCEPTION WHEN OTHERS THEN
	RETURN regexp_replace(SQLSTATE || ': ' || SQLERRM, 'run \d+', 'run N');
END $$;

-- rows of history that belong to no run
CREATE VIEW left_over AS
SELECT 'run_outcome' AS of, count(*) FROM workflow.run_outcome WHERE run_id NOT IN (SELECT run_id FROM workflow.run)
UNION ALL SELECT 'step_outcome', count(*) FROM workflow.step_outcome WHERE run_id NOT IN (SELECT run_id FROM workflow.run)
UNION ALL SELECT 'step_start', count(*) FROM workflow.step_start WHERE run_id NOT IN (SELECT run_id FROM workflow.run)
UNION ALL SELECT 'run_command', count(*) FROM workflow.run_command WHERE run_id NOT IN (SELECT run_id FROM workflow.run)
UNION ALL SELECT 'request_key', count(*) FROM workflow.request_key WHERE run_id NOT IN (SELECT run_id FROM workflow.run)
UNION ALL SELECT 'child', count(*) FROM workflow.run WHERE root_run_id NOT IN (SELECT run_id FROM workflow.run);

CREATE VIEW runs AS
SELECT package, version, status, count(*) FROM workflow.run_history GROUP BY package, version, status;

GRANT SELECT ON runs TO PUBLIC;

-- what the tests before have left
SELECT workflow.purge_history('0') >= 0 AS purged;
SELECT count(*) FROM workflow.run_history;
SELECT * FROM left_over WHERE count > 0;

SELECT workflow.define_package('{"name": "purge_p", "steps": [{"name": "a", "command": "SELECT 1"}, {"name": "b", "command": "DO $$BEGIN COMMIT; END$$", "after": ["a"]}]}');
SELECT workflow.define_package('{"name": "purge_child", "steps": [{"name": "a", "command": "SELECT 1"}]}');
SELECT workflow.define_package('{"name": "purge_parent", "steps": [{"name": "a", "kind": "package", "command": "purge_child"}, {"name": "b", "kind": "package", "command": "purge_child", "after": ["a"]}]}');
SELECT workflow.define_package('{"name": "purge_waits", "steps": [{"name": "a", "command": "SELECT pg_advisory_lock_shared(4720), pg_advisory_unlock_shared(4720)"}]}');
SELECT workflow.define_package('{"name": "purge_outer", "steps": [{"name": "a", "kind": "package", "command": "purge_child"}, {"name": "b", "kind": "package", "command": "purge_waits", "after": ["a"]}]}');

-- by age
CALL execute('purge_p');
CALL execute('purge_parent');
CALL execute('purge_p');
SELECT count(*) FROM workflow.step_start WHERE run_id IN (SELECT run_id FROM workflow.run_history WHERE package = 'purge_p');
SELECT workflow.purge_history('1 hour');
SELECT * FROM runs ORDER BY package;
-- by package: its own runs, not child runs of others
SELECT workflow.purge_history('0', 'purge_child');
SELECT workflow.purge_history('0', 'purge_p');
SELECT * FROM runs ORDER BY package;
SELECT * FROM left_over WHERE count > 0;
-- whole trees
SELECT workflow.purge_history('0 s', 'purge_parent');
SELECT * FROM runs ORDER BY package;
SELECT * FROM left_over WHERE count > 0;
SELECT count(*) FROM workflow.step_outcome, workflow.step_start;

-- part of the transaction
CALL execute('purge_p');
BEGIN;
SELECT workflow.purge_history('0');
SELECT count(*) FROM workflow.run_history;
SELECT workflow.purge_history('0');
ROLLBACK;
SELECT count(*) FROM workflow.run_history;
-- runs that the transaction itself has started are open
BEGIN;
SELECT workflow.start_job('purge_p') AS run \gset
SELECT workflow.purge_history('0');
COMMIT;
SELECT workflow.wait_for_job(:run, '60s');
SELECT workflow.purge_history('0');

-- open runs stay, with their whole tree; queued and paused ones, too
SELECT pg_advisory_lock(4720);
SELECT workflow.start_job('purge_outer') AS run \gset
SELECT workflow.start_job('purge_p', start_at => 'infinity', request_key => 'k') AS delayed \gset
DO $$
BEGIN
	FOR i IN 1 .. 6000 LOOP
		EXIT WHEN EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4720 AND NOT granted);
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
SELECT workflow.wait_for_job(run_id, '60s') FROM workflow.run_history WHERE root_run_id = :run AND parent_step = 'a';
SELECT workflow.purge_history('0');
SELECT * FROM runs ORDER BY package;
SELECT pg_advisory_unlock(4720);
SELECT workflow.wait_for_job(:run, '60s');
SELECT workflow.purge_history('0');
SELECT * FROM runs ORDER BY package;
SELECT workflow.stop_job(:delayed);

-- a request key goes with its run, not before
SELECT workflow.start_job('purge_p', request_key => 'k') = :delayed AS same;
SELECT workflow.purge_history('0');
SELECT workflow.start_job('purge_p', request_key => 'k') AS run \gset
SELECT :run > :delayed AS another;
SELECT workflow.wait_for_job(:run, '60s');
SELECT count(*) FROM workflow.request_key;

-- a run that an open run has taken over from stays with its tree, and those
-- that it had taken over from
SELECT workflow.purge_history('0');
CALL execute('purge_parent');
CALL execute('purge_p');
CALL execute('purge_p');
CALL execute('purge_p');
CREATE TABLE numbered AS
SELECT run_id, package, row_number() OVER (PARTITION BY package ORDER BY run_id) AS number FROM workflow.run_history;
-- p 2 <- p 3 <- an open run, child 2 <- another one, as restart_job records it
UPDATE workflow.run SET restart_of = (SELECT run_id FROM numbered WHERE package = 'purge_p' AND number = 2)
WHERE run_id = (SELECT run_id FROM numbered WHERE package = 'purge_p' AND number = 3);
SELECT workflow.start_job('purge_p', start_at => 'infinity') AS delayed \gset
UPDATE workflow.run SET restart_of = (SELECT run_id FROM numbered WHERE package = 'purge_p' AND number = 3) WHERE run_id = :delayed;
SELECT restart_of IS NOT NULL AS restarted FROM workflow.run_history WHERE run_id = :delayed;
SELECT workflow.start_job('purge_p', start_at => 'infinity') AS other \gset
UPDATE workflow.run SET restart_of = (SELECT run_id FROM numbered WHERE package = 'purge_child' AND number = 2) WHERE run_id = :other;
SELECT workflow.purge_history('0');
SELECT package, number FROM numbered JOIN workflow.run USING (run_id) ORDER BY run_id;
SELECT workflow.stop_job(:delayed), workflow.stop_job(:other);
SELECT workflow.purge_history('0');
SELECT * FROM left_over WHERE count > 0;
DROP TABLE numbered;

-- more runs than a batch, with child runs that come late
SELECT count(workflow.start_job('purge_parent')) FROM generate_series(1, 500);
SELECT count(workflow.start_job('purge_p')) FROM generate_series(1, 1000);
DO $$
BEGIN
	FOR i IN 1 .. 6000 LOOP
		EXIT WHEN NOT EXISTS (SELECT FROM workflow.open_run);
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
SELECT * FROM runs ORDER BY package;
SELECT workflow.purge_history('0', 'purge_parent');
SELECT workflow.purge_history('0');
SELECT * FROM left_over WHERE count > 0;

-- arguments
SELECT try($$SELECT workflow.purge_history(NULL)$$);
SELECT try($$SELECT workflow.purge_history('-1 day')$$);
SELECT try($$SELECT workflow.purge_history('1000000 years')$$);
SELECT try($$SELECT workflow.purge_history('0', 'nobody')$$);
BEGIN READ ONLY;
SELECT workflow.purge_history('0');
ROLLBACK;
-- a run that is gone
SELECT try('SELECT workflow.wait_for_job(' || :run || ')');

--
-- Who may
--
CREATE ROLE regress_workflow_one LOGIN;
CREATE ROLE regress_workflow_two LOGIN;
CREATE ROLE regress_workflow_group ROLE regress_workflow_one;
GRANT USAGE ON SCHEMA workflow TO regress_workflow_one, regress_workflow_two, regress_workflow_group;
GRANT pg_monitor TO regress_workflow_two;
CALL execute('purge_p');
SET ROLE regress_workflow_one;
SELECT workflow.define_package('{"name": "one", "steps": [{"name": "a", "command": "SELECT 1"}]}');
SELECT workflow.define_package('{"name": "one dropped", "steps": [{"name": "a", "command": "SELECT 1"}]}');
SELECT workflow.define_package('{"name": "one given", "steps": [{"name": "a", "command": "SELECT 1"}]}');
SELECT workflow.grant_start('one', 'public');
CALL execute('one');
CALL execute('one dropped');
CALL execute('one given');
SELECT workflow.drop_package('one dropped');
RESET ROLE;
SELECT workflow.alter_package_owner('one given', 'regress_workflow_two');
-- neither who may start nor who may see all
SET ROLE regress_workflow_two;
CALL execute('one');
SELECT try($$SELECT workflow.purge_history('0', 'one')$$);
SELECT try($$SELECT workflow.purge_history('0', 'purge_p')$$);
-- without a package: the own ones, which are those of the present owner
SELECT workflow.purge_history('0');
SELECT * FROM runs ORDER BY package COLLATE "C";
RESET ROLE;
-- a member of the owner
ALTER ROLE regress_workflow_group LOGIN;
SELECT workflow.alter_package_owner('one', 'regress_workflow_group');
SET ROLE regress_workflow_one;
SELECT workflow.purge_history('0', 'one');
-- the runs of a package that was dropped: who owned them
SELECT workflow.purge_history('0');
RESET ROLE;
SELECT * FROM runs ORDER BY package;
SELECT workflow.purge_history('0');
SELECT workflow.drop_package('one'), workflow.drop_package('one given');
DROP OWNED BY regress_workflow_one, regress_workflow_two, regress_workflow_group;
DROP ROLE regress_workflow_one, regress_workflow_two, regress_workflow_group;

--
-- Versions
--
CREATE VIEW versions AS
SELECT v.name, v.version, v.version = d.version AS current,
	EXISTS (SELECT FROM workflow.definition_use AS u WHERE (u.package_id, u.version) = (v.package_id, v.version)) AS used
FROM workflow.definition_version AS v LEFT JOIN workflow.definition AS d USING (package_id)
WHERE v.name = 'v';
CREATE FUNCTION define_v(i int) RETURNS int LANGUAGE sql
RETURN workflow.define_package(jsonb_build_object('name', 'v', 'steps',
	jsonb_build_array(jsonb_build_object('name', 'a', 'command', 'SELECT ' || i))));
-- one that nobody has used is edited in place
SELECT define_v(0);
SELECT define_v(1);
CALL execute('v');
SELECT define_v(2);
CALL execute('v');
CALL execute('v');
SELECT define_v(3);
SELECT * FROM versions ORDER BY version;
SELECT workflow.package_definition('v', 1) #>> '{steps,0,command}' AS command;
-- the runs of an old version go, and it with them
SELECT define_v(4);
BEGIN;
SELECT workflow.purge_history('0', 'purge_p');
SELECT workflow.purge_history('0', 'v');
SELECT * FROM versions ORDER BY version;
SELECT try($$SELECT workflow.package_definition('v', 1)$$);
ROLLBACK;
SELECT * FROM versions ORDER BY version;
-- a version with a run left stays
CREATE TABLE newest AS SELECT max(run_id) AS run_id FROM workflow.run_history WHERE package = 'v';
UPDATE workflow.run_outcome SET finished_at = clock_timestamp() + '1 day' WHERE run_id = (SELECT run_id FROM newest);
SELECT workflow.purge_history('0');
SELECT * FROM versions ORDER BY version;
-- the current one stays frozen, whether it has a run left or not
CALL execute('v');
SELECT workflow.wait_for_job(run_id, '60s') FROM workflow.run_history WHERE package = 'v' AND version = 3;
UPDATE workflow.run_outcome SET finished_at = clock_timestamp() WHERE run_id = (SELECT run_id FROM newest);
SELECT workflow.purge_history('0');
SELECT * FROM versions ORDER BY version;
-- it goes when the next one is made
SELECT define_v(5);
SELECT * FROM versions ORDER BY version;
-- but not if a run refers to it, even one that waits
SELECT workflow.start_job('v', start_at => 'infinity') AS run \gset
SELECT define_v(6);
SELECT * FROM versions ORDER BY version;
SELECT workflow.drop_package('v');
SELECT * FROM versions ORDER BY version;
SELECT workflow.purge_history('0');
SELECT * FROM versions ORDER BY version;
SELECT package, version, status FROM workflow.run_history;
SELECT workflow.stop_job(:run);
-- and those of a dropped package when its last run goes
SELECT workflow.purge_history('0');
SELECT * FROM versions ORDER BY version;

-- the search from the horizon on finds what there is
SELECT workflow.start_job('purge_p', start_at => 'infinity') AS run \gset
SELECT workflow.purge_history('0');
SELECT (SELECT array_agg(run_id) FROM workflow.open_run) = array_agg(run_id) AS all, count(*)
FROM workflow.run AS r WHERE NOT EXISTS (SELECT FROM workflow.run_outcome AS o WHERE o.run_id = r.run_id);
SELECT workflow.stop_job(:run);
CALL execute('purge_p');
SELECT count(*) FROM workflow.open_run;

SELECT workflow.drop_package(p) FROM unnest('{purge_p,purge_child,purge_parent,purge_waits,purge_outer}'::text[]) AS p;
SELECT workflow.purge_history('0');
SELECT name, version FROM workflow.definition_version WHERE package_id NOT IN (SELECT package_id FROM workflow.definition);
DROP TABLE newest;
DROP FUNCTION define_v;
DROP VIEW versions, runs, left_over;
DROP FUNCTION try;
DROP PROCEDURE execute;
