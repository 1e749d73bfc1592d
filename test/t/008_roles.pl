# A worker is connected as the owner of what it executes, and as nobody else.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main', conf => 'workflow.max_workers = 4');

my @roles = qw(alice bob carol dave);
for my $role (@roles)
{
	$node->safe_psql(
		'postgres', qq{
			CREATE ROLE $role LOGIN;
			CREATE SCHEMA $role AUTHORIZATION $role;
			GRANT USAGE ON SCHEMA workflow TO $role});
}

my $who = q{
	INSERT INTO who VALUES (workflow.run_id(), workflow.step_name(),
		current_user, session_user)};
$node->safe_psql(
	'postgres', q{
		CREATE TABLE who (run_id bigint, step text, cur name, ses name);
		GRANT INSERT ON who TO PUBLIC});

for my $role (@roles)
{
	define_package(
		$node,
		{
			name => "block_$role",
			steps => [
				{
					name => 'a',
					command => "$who; SELECT pg_advisory_xact_lock_shared(1)"
				},
				{
					name => 'b',
					command => "$who; SELECT pg_advisory_xact_lock_shared(1)"
				}
			]
		},
		'-U', $role);
	define_package($node,
		{ name => "quick_$role", steps => [ { name => 'a', command => $who } ] },
		'-U', $role);
}

# While steps execute.
my $lock = hold_lock($node, 1);
my @runs = (
	start_job($node, 'block_alice', '-U', 'alice'),
	start_job($node, 'block_bob'));
wait_for_lock_waiters($node, 1, 4);
is( scalar_query(
		$node, q{
			SELECT usename, count(*) FROM pg_stat_activity
			WHERE backend_type = 'workflow worker'
			GROUP BY usename ORDER BY usename}),
	"alice|2\nbob|2",
	'workers are connected as the owners of the packages');
is( scalar_query(
		$node, q{
			SELECT package, count(DISTINCT s.pid), string_agg(DISTINCT usename, ',')
			FROM workflow.step_history AS s JOIN pg_stat_activity AS a USING (pid)
			WHERE s.status = 'running' GROUP BY package ORDER BY package}),
	"block_alice|2|alice\nblock_bob|2|bob",
	'each with those of its own owner');
$lock->quit;
is(join(' ', map { wait_for_job($node, $_) } @runs),
	'succeeded succeeded', 'they succeed');
is( scalar_query(
		$node, q{
			SELECT package, cur, ses, count(*)
			FROM who JOIN workflow.run_history USING (run_id)
			GROUP BY package, cur, ses ORDER BY package}),
	"block_alice|alice|alice|2\nblock_bob|bob|bob|2",
	'the owner is the current user and the session user');

# Warm workers of other roles make room.
for my $role (@roles, @roles)
{
	my ($run, $status) = start_and_wait($node, "block_$role");

	is($status, 'succeeded', "a run of $role finds workers");
	is( scalar_query(
			$node,
			"SELECT DISTINCT cur, ses FROM who WHERE run_id = $run"),
		"$role|$role",
		"and they are of $role");
}

# What is set for roles and databases reaches the steps, but not our own code;
# nor does it make anybody else of a worker.
define_package(
	$node,
	{
		name => 'settings',
		steps => [
			{
				name => 'a',
				command => [
					'DO $$ BEGIN',
					q{ASSERT current_setting('search_path') = 'nowhere';},
					q{ASSERT current_user = 'bob' AND session_user = 'bob';},
					'END $$'
				]
			},
			{ name => 'b', command => 'SELECT 1', after => ['a'] },
			{ name => 'c', command => 'SELECT 1', after => ['a'] }
		]
	},
	'-U', 'bob');
$node->safe_psql(
	'postgres', q{
		GRANT alice TO bob;
		ALTER ROLE bob SET role = 'alice';
		ALTER DATABASE postgres SET search_path = 'nowhere';
		ALTER DATABASE postgres SET default_transaction_isolation = 'serializable';
		ALTER DATABASE postgres SET default_transaction_read_only = on});
$node->restart;
{
	local $ENV{PGOPTIONS} = "$ENV{PGOPTIONS} -c default_transaction_read_only=off";

	wait_for_agent($node);
	my ($run, $status) = start_and_wait($node, 'settings');
	is( scalar_query(
			$node,
			"SELECT status, message FROM workflow.run_history WHERE run_id = $run"
		),
		'succeeded|',
		'settings of roles and databases do no harm');
	$node->safe_psql('postgres',
		'ALTER DATABASE postgres RESET ALL; ALTER ROLE bob RESET ALL');
}

# A role that cannot connect any more, a role that is gone: their runs fail,
# others do not notice.
$node->append_conf('postgresql.conf', 'workflow.enabled = off');
$node->restart;
wait_for_agent($node);
my %run = map { $_ => start_job($node, "quick_$_") } @roles;
$node->safe_psql(
	'postgres', q{
		ALTER ROLE bob NOLOGIN;
		DROP OWNED BY carol;
		DROP ROLE carol});
$node->append_conf('postgresql.conf', 'workflow.enabled = on');
$node->reload;
is(wait_for_job($node, $run{alice}), 'succeeded', 'a run of alice succeeds');
is(wait_for_job($node, $run{carol}),
	'failed', 'a run of a role that is gone fails');
is( wait_for_job($node, $run{bob}),
	$node->pg_version >= 17 ? 'succeeded' : 'failed',
	'a run of a role that must not connect fails');
is(wait_for_job($node, $run{dave}), 'succeeded', 'a run of dave succeeds');
is( scalar_query(
		$node, qq{
			SELECT count(*) FROM workflow.run_history
			WHERE status = 'failed'
			  AND (coalesce(message, '') = '' OR coalesce(sqlstate, '') = '')}),
	0,
	'run_history has the error');

# A run that the scheduler drives, too; it may be refused at the start.
my ($result, $stdout, $stderr) =
  $node->psql('postgres', q{SELECT workflow.start_job('block_bob')});
is( $result == 0 ? wait_for_job($node, $stdout) : 'failed',
	$node->pg_version >= 17 ? 'succeeded' : 'failed',
	'so does one of several steps');
my ($run, $status) = start_and_wait($node, 'block_alice');
is($status, 'succeeded', 'the agent goes on');

$node->stop;
done_testing();
