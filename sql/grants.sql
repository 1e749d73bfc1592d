-- Who owns a package, who may start it, who sees it.

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir /test/helpers.sql
\i :helpers

CREATE ROLE regress_workflow_owner LOGIN;
CREATE ROLE regress_workflow_user LOGIN;
CREATE ROLE regress_workflow_group;
CREATE ROLE regress_workflow_member LOGIN IN ROLE regress_workflow_group;
CREATE ROLE regress_workflow_other LOGIN;
CREATE ROLE regress_workflow_monitor LOGIN IN ROLE pg_monitor;
CREATE ROLE regress_workflow_nologin;
GRANT USAGE ON SCHEMA workflow TO regress_workflow_owner, regress_workflow_user, regress_workflow_member,
	regress_workflow_other, regress_workflow_monitor, regress_workflow_nologin;

-- what the current user may do with the package, and sees of it
CREATE FUNCTION rights(OUT starts text, OUT sees bool, OUT reads text, OUT edits text, OUT steps bigint,
	OUT precedences bigint, OUT connections bigint) LANGUAGE plpgsql AS $$
BEGIN
	starts := try($c$SELECT 'started' FROM workflow.start_job('granted')$c$);
	sees := EXISTS (SELECT FROM workflow.package WHERE name = 'granted');
	reads := try($c$SELECT workflow.package_definition('granted') ->> 'name'$c$);
	edits := try($c$SELECT workflow.alter_package('granted')$c$);
	steps := (SELECT count(*) FROM workflow.step WHERE package = 'granted');
	precedences := (SELECT count(*) FROM workflow.precedence WHERE package = 'granted');
	connections := (SELECT count(*) FROM workflow.connection WHERE package = 'granted');
END $$;

SET ROLE regress_workflow_owner;
SELECT workflow.create_package('granted');
SELECT workflow.add_connection('granted', 'c');
SELECT workflow.add_step('granted', 'a', 'SELECT 1');
SELECT workflow.add_step('granted', 'b', 'SELECT 1', after => '{a}');

-- nobody but the owner
\x on
SELECT * FROM rights();
SET ROLE regress_workflow_user;
SELECT * FROM rights();
SET ROLE regress_workflow_monitor;
SELECT * FROM rights();
\x off

-- Only the owner gives and takes.
SET ROLE regress_workflow_user;
SELECT try($$SELECT workflow.grant_start('granted', 'regress_workflow_user')$$);
SELECT try($$SELECT workflow.revoke_start('granted', 'regress_workflow_user')$$);
SELECT try($$SELECT workflow.alter_package_owner('granted', 'regress_workflow_user')$$);
SELECT try($$SELECT workflow.rename_package('granted', 'mine')$$);
SELECT try($$SELECT workflow.drop_package('granted')$$);
SELECT try($$SELECT workflow.add_step('granted', 'c', 'SELECT 1')$$);
SELECT try($$SELECT workflow.create_package('granted', or_replace => true)$$);
SELECT try($$SELECT workflow.package_script('granted')$$);
SELECT try($$SELECT workflow.validate_package('granted')$$);
SELECT try($$SELECT count(*) FROM workflow.start_grant$$);
SET ROLE regress_workflow_owner;
SELECT try($$SELECT workflow.grant_start('nobody', 'regress_workflow_user')$$);
SELECT try($$SELECT workflow.grant_start('granted', 'regress_workflow_nobody')$$);
SELECT try($$SELECT workflow.grant_start('granted', NULL)$$);
SELECT try($$SELECT workflow.grant_start(NULL, 'public')$$);

-- a role; twice is as once
SELECT workflow.grant_start('granted', 'regress_workflow_user');
SELECT workflow.grant_start('granted', 'regress_workflow_user');
SET ROLE regress_workflow_user;
\x on
SELECT * FROM rights();
SELECT workflow.package_script('granted') LIKE '%create_package(''granted''%' AS script;
\x off
SELECT try($$SELECT workflow.grant_start('granted', 'regress_workflow_other')$$);
SET ROLE regress_workflow_other;
SELECT starts, sees FROM rights();

-- Who may start it sees all its runs, and stops those that it requested.
SET ROLE regress_workflow_owner;
SELECT workflow.add_step('granted', 'slow', 'SELECT pg_sleep(60)', after => '{b}');
SELECT workflow.start_job('granted') AS of_owner \gset
SET ROLE regress_workflow_user;
SELECT workflow.start_job('granted') AS of_user \gset
SELECT requested_by, status IN ('queued', 'running') AS goes_on
FROM workflow.run_history WHERE run_id IN (:of_owner, :of_user) ORDER BY run_id;
SELECT try(format('SELECT workflow.stop_job(%s)', :of_owner));
SELECT try(format('SELECT workflow.stop_job(%s)', :of_user));
SELECT requested_by, status, stopped_by FROM workflow.run_history WHERE run_id = :of_user;
SELECT count(*) > 0 AS sees_steps FROM workflow.step_history WHERE run_id = :of_owner;
SET ROLE regress_workflow_other;
SELECT count(*) FROM workflow.run_history WHERE run_id IN (:of_owner, :of_user);
SELECT try(format('SELECT workflow.wait_for_job(%s)', :of_user));
-- the owner stops all
SET ROLE regress_workflow_user;
SELECT workflow.start_job('granted') AS of_user2 \gset
SET ROLE regress_workflow_owner;
SELECT workflow.stop_job(:of_user2), workflow.stop_job(:of_owner);

-- Taken back: own runs are still seen.
SELECT workflow.revoke_start('granted', 'regress_workflow_user');
SELECT workflow.revoke_start('granted', 'regress_workflow_user');
SET ROLE regress_workflow_user;
SELECT starts, sees FROM rights();
SELECT requested_by FROM workflow.run_history WHERE run_id IN (:of_owner, :of_user);

-- a group: membership counts
SET ROLE regress_workflow_owner;
SELECT workflow.grant_start('granted', 'regress_workflow_group');
SELECT workflow.drop_step('granted', 'slow');
SET ROLE regress_workflow_member;
SELECT starts, sees, edits FROM rights();
SET ROLE regress_workflow_other;
SELECT starts, sees FROM rights();

-- a child package: the parent's owner must be allowed to start it
SELECT workflow.create_package('granted_parent');
SELECT workflow.add_step('granted_parent', 'child', 'granted', kind => 'package');
SELECT workflow.start_job('granted_parent') AS parent \gset
SELECT workflow.wait_for_job(:parent, '60s');
SELECT status, sqlstate, message FROM workflow.run_history WHERE run_id = :parent;
SET ROLE regress_workflow_owner;
SELECT workflow.grant_start('granted', 'regress_workflow_other');
SET ROLE regress_workflow_other;
SELECT workflow.start_job('granted_parent') AS parent \gset
SELECT workflow.wait_for_job(:parent, '60s');

-- everybody; a role named like it there is none
SET ROLE regress_workflow_owner;
SELECT workflow.revoke_start('granted', 'regress_workflow_group'), workflow.revoke_start('granted', 'regress_workflow_other');
SELECT workflow.grant_start('granted', 'public');
SELECT try($$SELECT workflow.grant_start('granted', 'PUBLIC')$$);
SET ROLE regress_workflow_other;
SELECT starts, sees, edits FROM rights();
RESET ROLE;
SELECT grantee FROM workflow.start_grant JOIN workflow.definition USING (package_id) WHERE name = 'granted';

-- a leaky function in a condition leaks nothing
SET ROLE regress_workflow_owner;
SELECT workflow.revoke_start('granted', 'public');
SET ROLE regress_workflow_other;
CREATE FUNCTION pg_temp.leak(text) RETURNS bool COST 0.0000001 LANGUAGE plpgsql
AS $$ BEGIN RAISE NOTICE 'leaked %', $1; RETURN true; END $$;
SELECT count(*) FROM workflow.package WHERE pg_temp.leak(name) AND name = 'granted';
SELECT count(*) FROM workflow.step WHERE pg_temp.leak(command) AND package = 'granted';
DROP FUNCTION pg_temp.leak;

-- A new owner is a role that the old one can become.
SET ROLE regress_workflow_owner;
SELECT try($$SELECT workflow.alter_package_owner('granted', 'regress_workflow_other')$$);
SELECT try($$SELECT workflow.alter_package_owner('granted', 'regress_workflow_nobody')$$);
SELECT try($$SELECT workflow.alter_package_owner('granted', NULL)$$);
SELECT workflow.alter_package_owner('granted', 'regress_workflow_owner');
RESET ROLE;
GRANT regress_workflow_other TO regress_workflow_owner;
SET ROLE regress_workflow_owner;
SELECT workflow.alter_package_owner('granted', 'regress_workflow_other');
SELECT owner FROM workflow.package WHERE name = 'granted';
RESET ROLE;
REVOKE regress_workflow_other FROM regress_workflow_owner;
SET ROLE regress_workflow_owner;
SELECT starts, sees, edits FROM rights();
SET ROLE regress_workflow_other;
SELECT starts, sees, edits FROM rights();
SELECT workflow.start_job('granted') AS run \gset
SELECT workflow.wait_for_job(:run, '60s');
RESET ROLE;

-- With the package go its settings: the new owner must be able to make them.
SELECT workflow.create_package('granted_setting', settings => '{"log_statement": "all"}');
SELECT try($$SELECT workflow.alter_package_owner('granted_setting', 'regress_workflow_other')$$);
SET ROLE regress_workflow_other;
SELECT try($$SELECT workflow.create_package('granted_other', settings => '{"log_statement": "all"}')$$);
SELECT try($$SELECT workflow.create_package('granted_other', settings => '{"work_mem": "1MB"}')$$);
RESET ROLE;

-- before PostgreSQL 17 an owner must be able to log in
SELECT try($$SELECT workflow.alter_package_owner('granted', 'regress_workflow_nologin')$$) =
	CASE WHEN current_setting('server_version_num')::int < 170000
	THEN E'55000: role "regress_workflow_nologin" cannot own packages because it is not permitted to log in\n'
		'DETAIL: Before PostgreSQL 17 the workers that run a package can connect only as a role with the LOGIN attribute.\n'
		'HINT: Give it the attribute with ALTER ROLE ... LOGIN; a password is not needed.' ELSE '' END AS as_expected;

-- Dropping a package drops its grants.
SELECT workflow.grant_start('granted', 'public'), workflow.grant_start('granted', 'regress_workflow_user');
SELECT count(*) FROM workflow.start_grant;
SELECT workflow.drop_package(name) FROM workflow.package WHERE name LIKE 'granted%';
SELECT count(*) FROM workflow.start_grant;

DROP FUNCTION rights;
REVOKE USAGE ON SCHEMA workflow FROM regress_workflow_owner, regress_workflow_user, regress_workflow_member,
	regress_workflow_other, regress_workflow_monitor, regress_workflow_nologin;
DROP ROLE regress_workflow_owner, regress_workflow_user, regress_workflow_group, regress_workflow_member,
	regress_workflow_other, regress_workflow_monitor, regress_workflow_nologin;
