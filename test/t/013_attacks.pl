# The owner of the database, and a role that may only start a package, gain
# nothing and break nothing.

use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main', conf => 'workflow.max_workers = 6');

# mallory owns the database; victim has packages; starter may start one
$node->safe_psql(
	'postgres', q{
		CREATE ROLE mallory LOGIN;
		CREATE ROLE victim LOGIN;
		CREATE ROLE starter LOGIN;
		ALTER DATABASE postgres OWNER TO mallory;
		GRANT CREATE ON SCHEMA public TO mallory;
		GRANT USAGE ON SCHEMA workflow TO mallory, victim, starter;
		GRANT mallory TO victim;
		CREATE TABLE secret (what text);
		INSERT INTO secret VALUES ('of the superuser');
		CREATE TABLE who (package text, step text, cur name, ses name, v text);
		GRANT INSERT, SELECT ON who TO PUBLIC});
my $super = scalar_query($node, 'SELECT current_user');

# a tablespace that only the superuser may use
$node->safe_psql(
	'postgres', q{
		SET allow_in_place_tablespaces = on;
		CREATE TABLESPACE nowhere LOCATION ''})
  if $node->pg_version >= 15;

# Our own connections are not to suffer from what mallory sets.
my $options = $ENV{PGOPTIONS};

sub protect
{
	$ENV{PGOPTIONS} = "$options -c search_path=public -c role=none "
	  . '-c default_transaction_read_only=off -c lock_timeout=0 '
	  . '-c default_transaction_isolation=read\ committed '
	  . '-c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0 '
	  . '-c default_tablespace= -c client_encoding=UTF8 '
	  . '-c standard_conforming_strings=on -c row_security=on '
	  . '-c datestyle=ISO -c intervalstyle=postgres -c bytea_output=hex';
	return;
}

# SQLSTATE of a statement that must fail, 'no error' otherwise
sub sqlstate
{
	my ($statement, $role) = @_;

	return psql_error($node, $statement, '-U', $role) =~
	  /^\S*\s*ERROR:  (\w{5}):/m ? $1 : 'no error';
}

sub refused
{
	my ($role, $statement) = @_;

	is(sqlstate($statement, $role), '42501', "$role: $statement");
	return;
}

my $tell = q{INSERT INTO public.who VALUES ('%s', workflow.step_name(),
	current_user, session_user, workflow.variable('v'))};

# What a package that expects nothing of the database's settings sets itself.
my %defences = (
	search_path => 'pg_catalog, pg_temp',
	default_transaction_read_only => $false,
	default_transaction_isolation => 'read committed',
	statement_timeout => 0,
	lock_timeout => 0,
	default_tablespace => '',
	standard_conforming_strings => $true,
	idle_in_transaction_session_timeout => 0,
	row_security => $true);

sub package_of
{
	my ($name, %options) = @_;
	my $command = sprintf $tell, $name;

	return {
		name => $name,
		variables => { v => 'default' },
		settings => \%defences,
		connections => [ { name => 'c' } ],
		steps => [
			{ name => 'a', command => $command },
			{ name => 'b', command => $command, connection => 'c' },
			{
				name => 'c',
				command => $command,
				condition => q{workflow.variable('v') IS NOT NULL},
				after => [ 'a', 'b' ]
			},
			{ name => 'f', command => $command, finally => 'completion' }
		],
		%options
	};
}

# One driven by the scheduler, one carried out by a worker alone, one with a
# child, one that does not defend itself.
my %owner = (mallory => 'mallory', victim => 'victim', super => $super);
for my $name (sort keys %owner)
{
	my @role = ('-U', $owner{$name});
	my $simple = sprintf $tell, "simple_$name";

	define_package($node, package_of("full_$name"), @role);
	define_package(
		$node,
		package_of(
			"simple_$name",
			connections => [],
			steps => [ { name => 'a', command => $simple } ]),
		@role);
	define_package(
		$node,
		package_of(
			"parent_$name",
			connections => [],
			steps => [
				{
					name => 'child',
					kind => 'package',
					command => "full_$name",
					variables => { v => q{v OPERATOR(pg_catalog.||) '!'} }
				}
			]),
		@role);
	define_package(
		$node,
		{
			name => "naive_$name",
			steps => [
				{ name => 'a', command => 'SELECT 1' },
				{
					name => 'b',
					command => 'SELECT now(), 1 + 1, \'x\'::text = \'x\'::text',
					condition => '1 = 1',
					after => ['a']
				}
			]
		},
		@role);
}

# Start all of them, wait, and see that every one has an outcome, and that
# those which defend themselves succeeded as their owners.
sub all_run
{
	my ($occasion) = @_;
	my @runs;
	my %status;

	scalar_query($node, 'TRUNCATE who');
	for my $name (sort keys %owner)
	{
		for my $kind (qw(full simple parent naive))
		{
			push @runs, [ "${kind}_$name", start_job($node, "${kind}_$name") ];
		}
	}
	for my $run (@runs)
	{
		$status{ $run->[0] } = wait_for_job($node, $run->[1]);
	}
	is( join(' ', grep { !/^naive/ && $status{$_} ne 'succeeded' }
			sort keys %status),
		'',
		"$occasion: runs succeed")
	  or diag(
		scalar_query(
			$node, q{
				SELECT DISTINCT package, error_path, sqlstate, message
				FROM workflow.run_history
				WHERE status = 'failed' AND package NOT LIKE 'naive%'}));
	is( join(' ', grep { $status{$_} !~ /^(?:succeeded|failed)$/ }
			sort keys %status),
		'',
		"$occasion: each run has an outcome");
	is( scalar_query(
			$node, q{
				SELECT package, cur, ses, count(*) FROM who
				GROUP BY package, cur, ses ORDER BY package COLLATE "C"}),
		join("\n",
			(map { "full_$_|$owner{$_}|$owner{$_}|8" } sort keys %owner),
			(map { "simple_$_|$owner{$_}|$owner{$_}|1" } sort keys %owner)),
		"$occasion: each step is executed once in a run, as its owner");
	return;
}

sub scheduler
{
	return scalar_query($node,
		'SELECT scheduler_pid FROM workflow.agent WHERE running');
}

protect();
my $scheduler = scheduler();
all_run('without attacks');

# ---------------------------------------------------------------------------
# Settings
# ---------------------------------------------------------------------------

my %settings = (
	role => 'mallory',
	search_path => 'evil, pg_catalog, public',
	default_transaction_read_only => 'on',
	default_transaction_isolation => 'serializable',
	default_transaction_deferrable => 'on',
	row_security => 'off',
	default_tablespace => 'nowhere',
	temp_tablespaces => '',
	statement_timeout => '1ms',
	lock_timeout => '1ms',
	idle_in_transaction_session_timeout => '1ms',
	idle_session_timeout => '1ms',
	standard_conforming_strings => 'off',
	backslash_quote => 'on',
	quote_all_identifiers => 'on',
	transform_null_equals => 'on',
	client_encoding => 'SQL_ASCII',
	datestyle => 'SQL, DMY',
	intervalstyle => 'sql_standard',
	timezone => 'Pacific/Kiritimati',
	bytea_output => 'escape',
	extra_float_digits => '-15',
	synchronous_commit => 'remote_apply',
	work_mem => '64kB',
	temp_buffers => '100',
	enable_indexscan => 'off',
	enable_seqscan => 'off',
	enable_bitmapscan => 'off',
	force_parallel_mode => 'on',
	check_function_bodies => 'off',
	array_nulls => 'off',
	default_table_access_method => 'heap');

for my $name (sort keys %settings)
{
	is( psql_error(
			$node, "ALTER DATABASE postgres SET $name = "
			  . ($name eq 'search_path' ? $settings{$name} : "'$settings{$name}'"),
			'-U', 'mallory') =~ /ERROR/ ? 1 : 0,
		0,
		"mallory sets $name");
}
for my $setting ('session_replication_role = replica',
	'session_preload_libraries = evil', 'log_min_messages = panic',
	'workflow.max_workers = 1', 'workflow.enabled = off',
	'workflow.max_message_size = 1', 'workflow.commit_mode = synchronous',
	q{workflow.variables = '{"v": "forged"}'},
	'zero_damaged_pages = on', 'allow_system_table_mods = on')
{
	isnt(sqlstate("ALTER DATABASE postgres SET $setting", 'mallory'),
		'no error', "mallory cannot set $setting");
}
$node->restart;
wait_for_agent($node);
$scheduler = scheduler();
all_run('settings of the database');
is(scheduler(), $scheduler, 'settings: the scheduler goes on');

# Here, everything that writes must know what it needs, too: definitions,
# starts, stops and pauses from a session that has all of these settings.
{
	local $ENV{PGOPTIONS} =
	  "$options -c default_transaction_read_only=off -c lock_timeout=0 -c statement_timeout=60s "
	  . '-c idle_session_timeout=0 -c idle_in_transaction_session_timeout=0';
	my $run;

	is( scalar_query(
			$node,
			q{SELECT workflow.define_package('{"name": "hostile", "steps": [{"name": "a", "command": "SELECT 1"}]}')},
			'-U', 'victim'),
		1,
		'a package is defined in a session with these settings');
	$run = scalar_query($node,
		q{SELECT workflow.start_job('hostile', start_at => 'infinity')},
		'-U', 'victim');
	is( scalar_query(
			$node,
			"SELECT workflow.pause_job($run), workflow.stop_job($run)",
			'-U', 'victim'),
		't|t',
		'a run is paused and stopped');
	is( scalar_query(
			$node,
			"SELECT package, status FROM workflow.run_history WHERE run_id = $run",
			'-U', 'victim'),
		'hostile|cancelled',
		'and looked at');
}

# ---------------------------------------------------------------------------
# Functions, operators, casts and tables that are found first
# ---------------------------------------------------------------------------

$node->safe_psql(
	'postgres', q{
		CREATE SCHEMA evil;
		GRANT USAGE ON SCHEMA evil TO PUBLIC;
		CREATE TABLE evil.hit (who name, what text);
		GRANT INSERT ON evil.hit TO PUBLIC;
		CREATE FUNCTION evil.hit(what text) RETURNS void LANGUAGE plpgsql AS $$
		BEGIN
			INSERT INTO evil.hit VALUES (current_user, what);
		EXCEPTION WHEN read_only_sql_transaction THEN NULL;
		END $$;
		CREATE FUNCTION evil.yes(a text, b text) RETURNS bool LANGUAGE plpgsql AS
			$$ BEGIN PERFORM evil.hit('text = text'); RETURN true; END $$;
		CREATE FUNCTION evil.yes(a name, b name) RETURNS bool LANGUAGE plpgsql AS
			$$ BEGIN PERFORM evil.hit('name = name'); RETURN true; END $$;
		CREATE FUNCTION evil.yes(a bigint, b bigint) RETURNS bool LANGUAGE plpgsql AS
			$$ BEGIN PERFORM evil.hit('bigint = bigint'); RETURN true; END $$;
		CREATE FUNCTION evil.yes(a oid, b oid) RETURNS bool LANGUAGE plpgsql AS
			$$ BEGIN PERFORM evil.hit('oid = oid'); RETURN true; END $$;
		CREATE FUNCTION evil.add(a int, b int) RETURNS int LANGUAGE plpgsql AS
			$$ BEGIN PERFORM evil.hit('int + int'); RETURN 0; END $$;
		CREATE FUNCTION evil.merge(a jsonb, b jsonb) RETURNS jsonb LANGUAGE plpgsql AS
			$$ BEGIN PERFORM evil.hit('jsonb || jsonb'); RETURN b; END $$;
		CREATE OPERATOR evil.= (FUNCTION = evil.yes, LEFTARG = text, RIGHTARG = text);
		CREATE OPERATOR evil.= (FUNCTION = evil.yes, LEFTARG = name, RIGHTARG = name);
		CREATE OPERATOR evil.= (FUNCTION = evil.yes, LEFTARG = bigint, RIGHTARG = bigint);
		CREATE OPERATOR evil.= (FUNCTION = evil.yes, LEFTARG = oid, RIGHTARG = oid);
		CREATE OPERATOR evil.+ (FUNCTION = evil.add, LEFTARG = int, RIGHTARG = int);
		CREATE OPERATOR evil.|| (FUNCTION = evil.merge, LEFTARG = jsonb, RIGHTARG = jsonb);
		CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS
			$$ BEGIN PERFORM evil.hit('now'); RETURN 'infinity'; END $$;
		CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS
			$$ BEGIN PERFORM evil.hit('clock_timestamp'); RETURN 'infinity'; END $$;
		CREATE FUNCTION evil.to_jsonb(x anyelement) RETURNS jsonb LANGUAGE plpgsql AS
			$$ BEGIN PERFORM evil.hit('to_jsonb'); RETURN 'null'; END $$;
		CREATE FUNCTION evil.variable(name text) RETURNS text LANGUAGE plpgsql AS
			$$ BEGIN PERFORM evil.hit('variable'); RETURN 'forged'; END $$;
		CREATE FUNCTION evil.jsonb_concat(a jsonb, b jsonb) RETURNS jsonb LANGUAGE plpgsql AS
			$$ BEGIN PERFORM evil.hit('jsonb_concat'); RETURN b; END $$;
		CREATE TABLE evil.run (i int);
		CREATE TABLE evil.run_outcome (i int);
		CREATE TABLE evil.step_outcome (i int);
		CREATE TABLE evil.definition (i int);
		CREATE VIEW evil.horizon AS SELECT 1 AS run_id, evil.yes('', '') AS hit;
		CREATE TYPE evil.truth AS (b bool);
		CREATE FUNCTION evil.truth_to_bool(t evil.truth) RETURNS bool LANGUAGE plpgsql AS
			$$ BEGIN PERFORM evil.hit('cast'); RETURN true; END $$;
		CREATE CAST (evil.truth AS bool) WITH FUNCTION evil.truth_to_bool AS IMPLICIT},
	extra_params => [ '-U', 'mallory' ]);
is(sqlstate('CREATE CAST (text AS jsonb) WITH INOUT AS IMPLICIT', 'mallory'),
	'42501', 'mallory cannot make casts of types that are not its own');
$node->restart;
wait_for_agent($node);
$scheduler = scheduler();
all_run('functions and operators');
is(scheduler(), $scheduler, 'functions and operators: the scheduler goes on');

# SQL of a package that does not defend itself finds them, as that of a client
# would; our own code does not.
is( scalar_query(
		$node, q{
			SELECT count(*) FROM evil.hit
			WHERE what NOT IN ('now', 'int + int', 'text = text')}),
	0,
	'none of them is executed by our own code');
{
	local $ENV{PGOPTIONS} =
	  "$options -c default_transaction_read_only=off -c lock_timeout=0 -c statement_timeout=60s "
	  . '-c role=none -c idle_session_timeout=0 -c idle_in_transaction_session_timeout=0';

	scalar_query($node, 'TRUNCATE evil.hit', '-U', 'mallory');
	isnt(
		scalar_query(
			$node, qq{
				SELECT count(*) FROM workflow.run_history;
				SELECT count(*) FROM workflow.step_history;
				SELECT count(*) FROM workflow.activity;
				SELECT count(*) FROM workflow.package;
				SELECT count(*) FROM workflow.step;
				SELECT count(*) FROM workflow.precedence;
				SELECT count(*) FROM workflow.connection;
				SELECT count(*) FROM workflow.agent;
				SELECT workflow.define_package(workflow.package_definition('full_super'));
				SELECT workflow.package_script('full_super') IS NULL;
				SELECT count(*) FROM workflow.validate_package('full_super');
				CALL workflow.run_job('simple_super', '{"v": "x"}', false)}),
		'',
		'the superuser looks, defines and runs with such a search_path');
	is( scalar_query($node, 'SELECT DISTINCT what FROM evil.hit'),
		'', 'views and functions call none of them');
}

# ---------------------------------------------------------------------------
# Our tables
# ---------------------------------------------------------------------------

my @tables = split /\n/, scalar_query(
	$node, q{
		SELECT relname FROM pg_class
		WHERE relnamespace = 'workflow'::regnamespace AND relkind = 'r'
		ORDER BY relname});
cmp_ok(scalar @tables, '>', 5, 'there are tables');
is( sqlstate(
		'CREATE EVENT TRIGGER evil ON ddl_command_end EXECUTE FUNCTION evil.hit()',
		'mallory'),
	'42501',
	'event triggers are for superusers');
$node->safe_psql(
	'postgres', q{
		CREATE FUNCTION evil.trigger() RETURNS trigger LANGUAGE plpgsql AS
			$$ BEGIN PERFORM evil.hit('trigger'); RETURN NULL; END $$},
	extra_params => [ '-U', 'mallory' ]);
for my $table (@tables)
{
	my $name = "workflow.$table";
	my @statements = (
		"SELECT FROM $name",
		"INSERT INTO $name DEFAULT VALUES",
		"DELETE FROM $name",
		"TRUNCATE $name",
		"DO 'BEGIN LOCK TABLE $name IN ACCESS SHARE MODE; END'",
		"CREATE TRIGGER evil BEFORE INSERT ON $name FOR EACH ROW EXECUTE FUNCTION evil.trigger()",
		"CREATE RULE evil AS ON INSERT TO $name DO INSTEAD NOTHING",
		"CREATE POLICY evil ON $name USING (false)",
		"ALTER TABLE $name ENABLE ROW LEVEL SECURITY",
		"ALTER TABLE $name ADD evil int",
		"ALTER TABLE $name ADD CHECK (evil.yes('', ''))",
		"ALTER TABLE $name OWNER TO mallory",
		"CREATE INDEX ON $name ((evil.yes('', '')))",
		"CREATE TABLE evil.child () INHERITS ($name)",
		"CREATE STATISTICS evil.statistics ON ctid, xmin FROM $name",
		"CREATE PUBLICATION evil FOR TABLE $name",
		"GRANT SELECT ON $name TO mallory",
		"COMMENT ON TABLE $name IS 'evil'",
		"COPY $name TO STDOUT",
		"DROP TABLE $name");
	my @passed = grep { sqlstate($_, 'mallory') ne '42501' } @statements;

	# GRANT of who has no right at all is an error, too
	is(join("\n", @passed), '', "mallory has no way to $name");
}
refused('mallory', $_)
  for (
	'DROP EXTENSION workflow',
	'ALTER EXTENSION workflow UPDATE',
	'DROP SCHEMA workflow CASCADE',
	'ALTER SCHEMA workflow RENAME TO w',
	'ALTER SCHEMA workflow OWNER TO mallory',
	'CREATE TABLE workflow.evil ()',
	'CREATE FUNCTION workflow.evil() RETURNS int LANGUAGE sql AS \'SELECT 1\'',
	'CREATE OR REPLACE FUNCTION workflow.run_id() RETURNS bigint LANGUAGE sql AS \'SELECT 1::bigint\'',
	'ALTER FUNCTION workflow.run_id() SECURITY DEFINER',
	'ALTER FUNCTION workflow.run_id() SET search_path = evil',
	'CREATE OR REPLACE VIEW workflow.agent AS SELECT 1',
	'SELECT nextval(\'workflow.run_id_seq\')',
	'SELECT setval(\'workflow.run_id_seq\', 1)',
	'CREATE FUNCTION evil.c() RETURNS int LANGUAGE c AS \'$libdir/workflow\', \'wf_start_job\'',
	"SELECT pg_terminate_backend($scheduler)",
	"SELECT pg_cancel_backend($scheduler)",
	'ALTER ROLE mallory SUPERUSER',
	"GRANT $super TO mallory");
is(scalar_query($node, q{SELECT count(*) FROM evil.hit WHERE what IN ('trigger', 'cast')}),
	0, 'nothing of it was executed');

# What the owner of a database may do with all its tables.
is( psql_error($node, 'VACUUM FULL; ANALYZE; REINDEX DATABASE postgres',
		'-U', 'mallory') =~ /ERROR:  (?!25001)/ ? 'error' : '',
	'',
	'mallory cleans up');
all_run('our tables');
is(scheduler(), $scheduler, 'our tables: the scheduler goes on');

# ---------------------------------------------------------------------------
# Steps
# ---------------------------------------------------------------------------

my @escapes = (
	"SET ROLE $super", 'SET ROLE victim',
	"SET SESSION AUTHORIZATION $super",
	"SELECT pg_catalog.set_config('role', '$super', false)",
	"SELECT pg_catalog.set_config('session_authorization', 'victim', false)",
	'SET session_replication_role = replica',
	'ALTER ROLE mallory SUPERUSER',
	"GRANT $super TO mallory",
	'SELECT * FROM public.secret',
	q{SELECT pg_catalog.pg_read_file('postgresql.conf')},
	q{COPY public.who TO PROGRAM 'cat'},
	q{COPY public.who TO '/tmp/workflow_attack'},
	q{LOAD 'workflow'},
	q{CREATE FUNCTION evil.f() RETURNS int LANGUAGE c AS '$libdir/workflow', 'wf_run_id'},
	'DO LANGUAGE plpgsql $$ BEGIN SET LOCAL ROLE victim; END $$',
	'INSERT INTO workflow.run_outcome SELECT',
	'SELECT * FROM workflow.definition_version',
	q{SELECT workflow.define_package('{"name": "full_victim"}')},
	q{SELECT workflow.start_job('full_victim')},
	"SELECT workflow.start_job('full_super')",
	'CREATE EVENT TRIGGER e ON sql_drop EXECUTE FUNCTION evil.trigger()',
	"SELECT pg_catalog.pg_terminate_backend($scheduler)");
define_package(
	$node,
	{
		name => 'escapes',
		fail_on_first_error => $false,
		settings => \%defences,
		steps => [
			map { { name => sprintf('%02d', $_), command => $escapes[$_] } }
			  0 .. $#escapes
		]
	},
	'-U', 'mallory');
my ($run, $status) = start_and_wait($node, 'escapes');
is( scalar_query(
		$node, qq{
			SELECT command, status, sqlstate FROM workflow.step_history
			WHERE run_id = $run AND (status <> 'failed' OR sqlstate <> '42501')
			ORDER BY step}),
	'',
	'steps of mallory have the rights of mallory');

# All ways back lead to the owner; nothing is left for who comes next.
scalar_query($node, 'TRUNCATE who');
my $escaped = sprintf $tell, 'back';
define_package(
	$node,
	package_of(
		'back',
		connections => [],
		max_concurrent_steps => 1,
		steps => [
			map {
				{ name => $_, command => "$_; $escaped" }
			} (
				'RESET ROLE', 'SET ROLE NONE', 'RESET SESSION AUTHORIZATION',
				'SET SESSION AUTHORIZATION DEFAULT', 'RESET ALL',
				q{SET search_path = 'evil'}
			)
		]),
	'-U', 'mallory');
($run, $status) = start_and_wait($node, 'back');
is($status, 'succeeded', 'steps reset what they like');
is(scalar_query($node, q{SELECT DISTINCT cur, ses FROM who WHERE package = 'back'}),
	'mallory|mallory', 'and are mallory still');

# A package cannot be given to who does not want it, nor taken.
refused('mallory', q{SELECT workflow.alter_package_owner('full_mallory', 'victim')});
refused('mallory', "SELECT workflow.alter_package_owner('full_mallory', '$super')");
refused('mallory', q{SELECT workflow.alter_package_owner('full_victim', 'mallory')});
refused('mallory', q{SELECT workflow.grant_start('full_victim', 'mallory')});
refused('mallory', q{SELECT workflow.drop_package('full_victim')});
refused('mallory', q{SELECT workflow.alter_step('full_victim', 'a', command => 'SELECT 1')});

# Workers are connected as the owners of what they execute, and as nobody else.
define_package(
	$node,
	package_of(
		"block_$_",
		connections => [],
		steps => [
			{ name => 'a', command => 'SELECT pg_advisory_xact_lock_shared(1)' },
			{ name => 'b', command => 'SELECT pg_advisory_xact_lock_shared(1)' }
		]),
	'-U', $_)
  for qw(mallory victim);
my $lock = hold_lock($node, 1);
my @runs = (start_job($node, 'block_mallory'), start_job($node, 'block_victim'));
wait_for_lock_waiters($node, 1, 4);
is( scalar_query(
		$node, q{
			SELECT package, string_agg(DISTINCT usename, ','), count(DISTINCT pid)
			FROM workflow.step_history AS s JOIN pg_stat_activity AS a USING (pid)
			WHERE s.status = 'running' GROUP BY package ORDER BY package}),
	"block_mallory|mallory|2\nblock_victim|victim|2",
	'workers are connected as the owners');
my $worker = scalar_query(
	$node, q{
		SELECT min(pid) FROM workflow.step_history
		WHERE package = 'block_victim' AND status = 'running'});
refused('mallory', "SELECT pg_terminate_backend($worker)");
refused('mallory', "SELECT pg_cancel_backend($worker)");
isnt(sqlstate("SELECT workflow.stop_job($runs[1])", 'mallory'),
	'no error', 'mallory cannot stop a run of victim');

# The database is closed to victim: its runs end, with an error that says why,
# and the agent goes on.
$node->safe_psql(
	'postgres',
	'ALTER DATABASE postgres CONNECTION LIMIT 0',
	extra_params => [ '-U', 'mallory' ]);
$lock->quit;
is(join(' ', map { wait_for_job($node, $_) } @runs),
	'succeeded succeeded', 'who is connected goes on');
$node->safe_psql('postgres',
	'ALTER DATABASE postgres CONNECTION LIMIT -1');
all_run('a connection limit, and none again');
is(scheduler(), $scheduler, 'the scheduler goes on');

# ---------------------------------------------------------------------------
# A role that may start a package, and nothing else
# ---------------------------------------------------------------------------

define_package(
	$node,
	{
		name => 'granted',
		variables => { v => 'default', w => undef },
		steps => [
			{ name => 'a', command => sprintf($tell, 'granted') },
			{
				name => 'b',
				kind => 'package',
				command => 'granted_child',
				variables => { v => q{v || '!'}, w => 'v' },
				condition => q{workflow.variable('v') <> ''},
				after => ['a']
			},
			{
				name => 'c',
				kind => 'job',
				command => 'granted_child',
				variables => { v => 'lower(v)' },
				after => ['b']
			}
		],
		settings => { %defences, search_path => 'pg_catalog' }
	},
	'-U', 'victim');
define_package(
	$node,
	{
		name => 'granted_child',
		variables => { v => undef, w => undef },
		settings => { %defences, search_path => 'pg_catalog' },
		steps => [ { name => 'a', command => sprintf($tell, 'granted_child') } ]
	},
	'-U', 'victim');
scalar_query($node, q{SELECT workflow.grant_start('granted', 'starter')},
	'-U', 'victim');
scalar_query($node, 'CREATE TABLE public.kept (); ALTER TABLE public.kept OWNER TO victim');

# With the settings of mallory, as well: standard_conforming_strings is off.
my @values = (
	q{'); DROP TABLE public.kept; --},
	q{'||(SELECT what FROM public.secret)||'},
	q{\\'; DROP TABLE public.kept; --},
	q{\\},
	q{$$; DROP TABLE public.kept; $$},
	q{"; DROP TABLE public.kept; --},
	q{v, (SELECT current_user)},
	q{current_user},
	qq{a\nb\\n''},
	q{%s %1$s {} [] :v &amp;},
	"\x{e4}\x{20ac}\x{1f600}");
for my $value (@values)
{
	my $json = JSON::PP->new->ascii->encode({ v => $value });

	scalar_query($node, 'TRUNCATE who');
	$run = scalar_query($node,
		"SELECT workflow.start_job('granted', \$json\$$json\$json\$)",
		'-U', 'starter');
	is(wait_for_job($node, $run), 'succeeded', "a variable: $json");
	ok( $node->poll_query_until(
			'postgres', q{SELECT count(*) = 3 FROM who}),
		'the child and the job are executed');
	is( scalar_query(
			$node, qq{
				SELECT bool_and(cur = 'victim' AND ses = 'victim'),
					string_agg(package || ' ' || (CASE v
						WHEN \$json\$$json\$json\$::jsonb ->> 'v' THEN 'v'
						WHEN (\$json\$$json\$json\$::jsonb ->> 'v') || '!' THEN 'v!'
						WHEN lower(\$json\$$json\$json\$::jsonb ->> 'v') THEN 'lower'
						ELSE v END), ', ' ORDER BY package, v LIKE '%!' DESC)
				FROM who}) =~ s/\blower$/v/r,
		't|granted v, granted_child v!, granted_child v',
		'it is data');
}
is(scalar_query($node, q{SELECT count(*) FROM pg_class WHERE relname = 'kept'}),
	1, 'nothing of it was executed');

# What starter sets in its session does not reach the run.
scalar_query($node, 'TRUNCATE who');
$run = scalar_query(
	$node, q{
		SET search_path = pg_temp, evil;
		CREATE FUNCTION pg_temp.variable(text) RETURNS text LANGUAGE sql AS $$ SELECT 'forged' $$;
		SELECT workflow.start_job('granted')}, '-U', 'starter');
is(wait_for_job($node, $run), 'succeeded', 'starter sets what it likes');
is( scalar_query(
		$node,
		q{SELECT cur, ses, v FROM public.who WHERE package = 'granted'}),
	'victim|victim|default',
	'the run does not notice');

# What starter may not do.
my $own = scalar_query($node,
	q{SELECT workflow.start_job('granted', start_at => 'infinity')},
	'-U', 'starter');
my $others = scalar_query($node,
	q{SELECT workflow.start_job('granted', start_at => 'infinity')},
	'-U', 'victim');
refused('starter', $_)
  for (
	"SELECT workflow.stop_job($others)",
	"SELECT workflow.stop_job($others, force => true)",
	"SELECT workflow.pause_job($others)",
	"SELECT workflow.resume_job($others)",
	q{SELECT workflow.start_job('granted_child')},
	q{SELECT workflow.start_job('full_victim')},
	q{SELECT workflow.start_job('full_super')},
	q{CALL workflow.run_job('full_victim')},
	q{SELECT workflow.define_package('{"name": "granted"}')},
	q{SELECT workflow.create_package('granted', or_replace => true)},
	q{SELECT workflow.alter_package('granted', enabled => false)},
	q{SELECT workflow.alter_step('granted', 'a', command => 'SELECT 1')},
	q{SELECT workflow.add_step('granted', 'x', 'SELECT 1')},
	q{SELECT workflow.drop_step('granted', 'a', cascade => true)},
	q{SELECT workflow.rename_package('granted', 'mine')},
	q{SELECT workflow.drop_package('granted')},
	q{SELECT workflow.grant_start('granted', 'mallory')},
	q{SELECT workflow.revoke_start('granted', 'starter')},
	q{SELECT workflow.alter_package_owner('granted', 'starter')},
	q{SELECT workflow.package_definition('full_victim')},
	q{SELECT workflow.package_script('full_victim')},
	q{SELECT * FROM public.secret},
	map { "SELECT FROM workflow.$_" } @tables);
is( scalar_query(
		$node, q{
			SELECT count(*), count(*) FILTER (WHERE package <> 'granted' AND requested_by <> 'starter')
			FROM workflow.run_history}, '-U', 'starter') =~ s/^\d+//r,
	'|0',
	'starter sees runs of the package, and what they started, only');
is( scalar_query(
		$node, q{SELECT string_agg(name, ' ') FROM workflow.package}, '-U',
		'starter'),
	'granted',
	'and of the definitions that one only');
is( scalar_query(
		$node,
		"SELECT status FROM workflow.run_history WHERE run_id = $others"),
	'queued',
	'the run of the owner waits still');
is(scalar_query($node, "SELECT workflow.stop_job($own)", '-U', 'starter'),
	't', 'starter stops its own run');
scalar_query($node, q{SELECT workflow.revoke_start('granted', 'starter')},
	'-U', 'victim');
refused('starter', q{SELECT workflow.start_job('granted')});
scalar_query($node, "SELECT workflow.stop_job($others)", '-U', 'victim');

# ---------------------------------------------------------------------------
# Conditions, variables and children: as whom they are executed
# ---------------------------------------------------------------------------

$node->safe_psql(
	'postgres', q{
		CREATE FUNCTION public.note(what text) RETURNS boolean LANGUAGE plpgsql AS $$
		BEGIN
			INSERT INTO public.who VALUES (what, workflow.step_name(), current_user, session_user, NULL);
			RETURN true;
		END $$});
my $note = q{SELECT public.note('%s')};
define_package(
	$node,
	{
		name => 'of_mallory',
		variables => { v => undef },
		settings => \%defences,
		steps => [
			{
				name => 'inner',
				condition => q{public.note('condition of the child')},
				command => sprintf($note, 'step of the child')
			}
		]
	},
	'-U', 'mallory');
scalar_query($node, q{SELECT workflow.grant_start('of_mallory', 'victim')},
	'-U', 'mallory');
define_package(
	$node,
	{
		name => 'of_victim',
		variables => { secret => undef },
		settings => \%defences,
		steps => [
			{
				name => 'condition',
				kind => 'none',
				condition => q{public.note('condition')}
			},
			{
				name => 'child',
				kind => 'package',
				command => 'of_mallory',
				variables => { v => q{public.note('variables of the child')::text} },
				after => ['condition']
			},
			{
				name => 'job',
				kind => 'job',
				command => 'of_mallory',
				variables => { v => q{public.note('variables of the job')::text} },
				after => ['child']
			},
			{
				name => 'last',
				finally => 'completion',
				condition => q{public.note('condition of the last')},
				command => sprintf($note, 'last')
			}
		]
	},
	'-U', 'victim');
scalar_query($node, q{SELECT workflow.grant_start('of_victim', 'starter')},
	'-U', 'victim');
scalar_query($node, 'TRUNCATE public.who');
$run = scalar_query($node,
	q{SELECT workflow.start_job('of_victim', '{"secret": "s3cret"}')},
	'-U', 'starter');
is(wait_for_job($node, $run), 'succeeded', 'starter starts it all');
my $job = scalar_query($node,
	"SELECT remote_run_id FROM workflow.step_history WHERE run_id = $run AND step = 'job'"
);
is(wait_for_job($node, $job), 'succeeded', 'and the job');
is( scalar_query(
		$node, q{
			SELECT package, cur, ses, count(*) FROM public.who
			GROUP BY package, cur, ses ORDER BY package COLLATE "C"}),
	join("\n",
		'condition|victim|victim|1',
		'condition of the child|mallory|mallory|2',
		'condition of the last|victim|victim|1',
		'last|victim|victim|1',
		'step of the child|mallory|mallory|2',
		'variables of the child|victim|victim|1',
		'variables of the job|victim|victim|1'),
	'everything is executed as the owner of its package');

# The owner of a child is told of the child's runs only.
is( scalar_query(
		$node, qq{
			SELECT count(*) FROM workflow.run_history
			WHERE run_id = $run OR variables::text LIKE '%s3cret%'}, '-U', 'mallory'),
	0,
	'mallory sees nothing of the run that started the child');
is( scalar_query(
		$node, qq{
			SELECT count(*) FILTER (WHERE package = 'of_mallory'), count(*)
			FROM workflow.step_history WHERE root_run_id IN ($run, $job)}, '-U', 'mallory'),
	'2|2',
	'only the steps of the child');
is(sqlstate($_, 'mallory'), '42704', "mallory: $_: there is no such run")
  for (
	"SELECT workflow.stop_job($run)", "SELECT workflow.pause_job($run)",
	"SELECT workflow.resume_job($run)", "SELECT workflow.wait_for_job($run)",
	"CALL workflow.watch_job($run)");

# A step cannot get rid of what limits it.
define_package(
	$node,
	{
		name => 'limits',
		fail_on_first_error => $false,
		settings => \%defences,
		steps => [
			map {
				{ name => $_, timeout => '100ms', command => "$_; SELECT pg_sleep(3600)" }
			} (
				'SET statement_timeout = 0', 'RESET ALL',
				'SET LOCAL statement_timeout = 0',
				'SET client_min_messages = error',
				'SET search_path = evil'
			)
		]
	},
	'-U', 'mallory');
($run, $status) = start_and_wait($node, 'limits');
is( scalar_query(
		$node, qq{
			SELECT DISTINCT status, sqlstate FROM workflow.step_history
			WHERE run_id = $run}),
	'failed|57014',
	'the timeout of a step counts whatever the step sets');

# ---------------------------------------------------------------------------
# Views: what a reader may not see is not seen by functions of the reader
# either, whatever they cost.
# ---------------------------------------------------------------------------

$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET ALL');
$lock = hold_lock($node, 1);
my $open = start_job($node, 'block_victim');
define_package(
	$node,
	{
		name => 'transaction_victim',
		steps => [
			{
				name => 'a',
				join_transaction => $true,
				command => 'SELECT pg_advisory_xact_lock_shared(1)'
			}
		]
	});
my $joined = start_job($node, 'transaction_victim');
wait_for_lock_waiters($node, 1, 3);
$node->safe_psql('postgres',
	'CREATE ROLE outsider LOGIN; GRANT USAGE ON SCHEMA workflow TO outsider');
my @views = split /\n/, scalar_query(
	$node, q{
		SELECT relname FROM pg_class
		WHERE relnamespace = 'workflow'::regnamespace AND relkind = 'v'
		  AND relname <> 'agent' ORDER BY relname});
cmp_ok(scalar @views, '>=', 8, 'there are views');
for my $view (@views)
{
	isnt(scalar_query($node, "SELECT count(*) FROM workflow.$view"),
		0, "there is something in $view");
	my ($result, $stdout, $stderr) = $node->psql(
		'postgres', qq{
			CREATE FUNCTION pg_temp.leak(anyelement) RETURNS bool COST 0.0000001 LANGUAGE plpgsql
			AS \$\$ BEGIN RAISE NOTICE 'leaked %', \$1; RETURN true; END \$\$;
			CREATE FUNCTION pg_temp.leak2(text, text) RETURNS bool COST 0.0000001 LANGUAGE plpgsql
			AS \$\$ BEGIN RAISE NOTICE 'leaked % %', \$1, \$2; RETURN true; END \$\$;
			CREATE OPERATOR pg_temp.<<< (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_temp.leak2);
			SELECT format('SELECT count(*) FROM workflow.$view WHERE pg_temp.leak(%1\$I) AND %1\$I::text OPERATOR(pg_temp.<<<) ''x'' AND 1 / length(%1\$I::text) >= 0', attname)
			FROM pg_catalog.pg_attribute
			WHERE attrelid = 'workflow.$view'::regclass AND attnum > 0 \\gexec
			SELECT count(*) FROM workflow.$view AS v WHERE pg_temp.leak(v)},
		extra_params => [ '-U', 'outsider' ]);
	is( "$result " . join(' ', grep { $_ ne '0' } split /\n/, $stdout) . $stderr,
		'0 ', "outsider gets nothing out of $view");
}
is( scalar_query(
		$node, qq{
			SELECT workflow.run_step($open, 0) IS NULL OR (workflow.run_step($open, 0)).command IS NULL,
				(SELECT count(*) FROM workflow.run_state($open)),
				(SELECT count(*) FROM workflow.step_states($open))},
		'-U', 'outsider'),
	't|0|0',
	'nor out of the functions that the views call');
$lock->quit;
is(wait_for_job($node, $open), 'succeeded', 'the run ends');

# ---------------------------------------------------------------------------
# After all this
# ---------------------------------------------------------------------------

is(scheduler(), $scheduler, 'the scheduler goes on');
is(scalar_query($node, 'SELECT last_error FROM workflow.agent'),
	'', 'it had no error');
is( scalar_query(
		$node,
		q{SELECT count(*) FROM workflow.run_history WHERE finished_at IS NULL}),
	0,
	'no run is left without an outcome');
is(scalar_query($node, q{SELECT count(*) FROM evil.hit WHERE who NOT IN ('mallory', 'victim', 'starter') AND what NOT IN ('now', 'int + int', 'text = text')}),
	0, 'nothing of mallory was executed with more rights');
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|terminated by signal|TRAP/,
	'no process crashed');
done_testing();
