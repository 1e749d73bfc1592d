# What becomes of packages and runs when roles go, and when a database is made
# read-only or hard to connect to.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main', conf => q{workflow.worker_idle_timeout = '1h'});

sub packages
{
	return scalar_query($node,
		q{SELECT string_agg(name || ' ' || owner, ', ' ORDER BY name) FROM workflow.definition}
	);
}

sub grants
{
	return scalar_query(
		$node, q{
			SELECT string_agg(name || ' ' || grantee, ', ' ORDER BY name, grantee::text)
			FROM workflow.start_grant JOIN workflow.definition USING (package_id)});
}

sub status
{
	my ($run) = @_;

	wait_for_job($node, $run);
	return scalar_query($node,
		"SELECT concat_ws(' ', status, sqlstate, message) FROM workflow.run_history WHERE run_id = $run"
	);
}

# Packages of a role: one waits in its second step, and says who it is in the
# third.
sub define
{
	my ($role) = @_;

	define_package(
		$node,
		{
			name => "long_$role",
			steps => [
				{ name => 'a', command => 'SELECT 1' },
				{
					name => 'b',
					command => 'SELECT pg_advisory_xact_lock_shared(1)',
					after => ['a']
				},
				{
					name => 'c',
					command => 'INSERT INTO effect SELECT workflow.run_id(), current_user',
					after => ['b']
				}
			]
		},
		'-U', $role);
	define_package(
		$node,
		{ name => "short_$role", steps => [ { name => 'a', command => 'SELECT 1' } ] },
		'-U', $role);
	return;
}

# ---------------------------------------------------------------------------
# REASSIGN OWNED, DROP OWNED, DROP ROLE
# ---------------------------------------------------------------------------

$node->safe_psql(
	'postgres', q{
		CREATE TABLE effect (run_id bigint, role text);
		GRANT INSERT ON effect TO PUBLIC;
		CREATE ROLE alice LOGIN;
		CREATE ROLE bob LOGIN;
		CREATE ROLE carol LOGIN;
		CREATE ROLE nobody NOLOGIN;
		GRANT USAGE ON SCHEMA workflow TO PUBLIC});
define($_) for qw(alice bob);
$node->safe_psql(
	'postgres', q{
		SELECT workflow.grant_start('long_bob', 'alice');
		SELECT workflow.grant_start('long_bob', 'carol');
		SELECT workflow.grant_start('short_alice', 'bob')});

my $mine = 'long_alice alice, long_bob bob, short_alice alice, short_bob bob';
like(
	psql_error($node, 'REASSIGN OWNED BY alice TO carol', '-U', 'carol'),
	qr/ERROR:  42501: permission denied to reassign objects$/m,
	'who may not reassign what a role owns does not get its packages');
like(
	psql_error($node, 'DROP OWNED BY alice', '-U', 'carol'),
	qr/ERROR:  42501: permission denied to drop objects$/m,
	'nor may he drop them');
like(
	psql_error($node, 'REASSIGN OWNED BY alice TO nobody'),
	qr/ERROR:  55000: role "nobody" cannot own packages/,
	'who cannot own packages does not get them');
$node->safe_psql('postgres',
	'BEGIN; REASSIGN OWNED BY alice TO carol; DROP OWNED BY bob; ROLLBACK');
is(packages(), $mine, 'nothing of that, nor of what is rolled back, is done');

my $lock = hold_lock($node, 1);
my $old = start_job($node, 'long_alice');
wait_for_lock_waiters($node, 1, 1);
$node->safe_psql('postgres', 'REASSIGN OWNED BY alice TO carol');
is( packages(),
	'long_alice carol, long_bob bob, short_alice carol, short_bob bob',
	'REASSIGN OWNED gives packages away');
is(grants(), 'long_bob alice, long_bob carol, short_alice bob',
	'and leaves the grants alone');
my $new = start_job($node, 'long_alice');
wait_for_lock_waiters($node, 1, 2);
$lock->quit;
is(status($old), 'succeeded', 'a run that had started goes on');
is(status($new), 'succeeded', 'another one starts');
is( scalar_query(
		$node, q{SELECT string_agg(role, ' ' ORDER BY run_id) FROM effect}),
	'alice carol',
	'each with the owner that it began with');

$lock = hold_lock($node, 1);
$old = start_job($node, 'long_bob');
wait_for_lock_waiters($node, 1, 1);
$node->safe_psql('postgres', 'DROP OWNED BY alice, bob');
is(packages(), 'long_alice carol, short_alice carol',
	'DROP OWNED drops packages');
is(grants(), '', 'and revokes what was granted');
like(psql_error($node, q{SELECT workflow.start_job('long_bob')}),
	qr/package "long_bob" does not exist/, 'they cannot be started');
$lock->quit;
is((status($old) =~ /^(\w+)/)[0], 'succeeded', 'a run that had started goes on');

# DROP ROLE: the packages stay, and fail
$node->safe_psql('postgres', 'DROP OWNED BY carol');
define('alice');
my $later = scalar_query($node,
	q{SELECT workflow.start_job('short_alice', start_at => now() + '1 h')});
$lock = hold_lock($node, 1);
my $working = start_job($node, 'long_alice');
wait_for_lock_waiters($node, 1, 1);
is(psql_error($node, 'DROP ROLE alice'), '', 'an owner of packages is dropped');
$lock->quit;
is((status($working) =~ /^(\w+)/)[0], 'failed', 'a run that is at work fails')
  or diag status($working);
like(status(start_job($node, 'short_alice')),
	qr/^failed 28000 role with OID \d+ does not exist$/,
	'so does one that starts');
is( scalar_query(
		$node,
		"SELECT status FROM workflow.run_history WHERE run_id = $later"),
	'queued',
	'one that waits for its time waits');
is(scalar_query($node, "SELECT workflow.stop_job($later)"),
	't', 'and can be stopped');
define('carol');
is(status(start_job($node, 'short_carol')), 'succeeded', 'others do not notice');
$node->safe_psql('postgres',
	q{SELECT workflow.alter_package_owner('short_alice', 'carol')});
is(status(start_job($node, 'short_alice')),
	'succeeded', 'a superuser can give its packages to another role');
is(scalar_query($node, 'SELECT running, last_error FROM workflow.agent'),
	't|', 'the agent has noticed nothing');

# ---------------------------------------------------------------------------
# A database that is made read-only: that is for the steps
# ---------------------------------------------------------------------------

$node->safe_psql('postgres',
	'ALTER DATABASE postgres SET default_transaction_read_only = on');

# New sessions of the agent, which know what was set.
sub new_sessions
{
	my ($which) = @_;
	my $before = scalar_query($node, 'SELECT scheduler_pid FROM workflow.agent');

	scalar_query($node,
		"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE backend_type ~ 'workflow ($which)'"
	);
	return if $which !~ /scheduler/;
	$node->poll_query_until('postgres',
		"SELECT running AND scheduler_pid <> $before FROM workflow.agent")
	  or die 'no other scheduler comes';
	return;
}
new_sessions('scheduler|worker');
my $writable = 'SET default_transaction_read_only = off; ';
like(psql_error($node, q{SELECT workflow.start_job('short_carol')}),
	qr/ERROR:  25006: cannot execute workflow.start_job\(\) in a read-only transaction$/m,
	'start_job in a read-only transaction is an error');

sub start_writable
{
	my ($package) = @_;

	return scalar_query($node,
		"$writable SELECT workflow.start_job('$package')");
}
$node->safe_psql(
	'postgres', $writable . q{
		SELECT workflow.define_package('{"name": "writing", "steps": [
			{"name": "a", "command": "INSERT INTO effect VALUES (0, ''writing'')"}]}');
		SELECT workflow.define_package('{"name": "rescued", "timeout": "1 h", "steps": [
			{"name": "a", "settings": {"default_transaction_read_only": "off"},
			 "command": "INSERT INTO effect VALUES (0, ''rescued'')"}]}')});
is(status(start_writable('short_carol')), 'succeeded', 'a step that reads succeeds');
is( status(start_writable('writing')),
	'failed 25006 cannot execute INSERT in a read-only transaction',
	'one that writes fails, and that is on record');
is(scalar_query($node, 'SELECT running FROM workflow.agent'),
	't', 'the agent works');
$node->safe_psql('postgres',
	"$writable ALTER DATABASE postgres RESET default_transaction_read_only");
new_sessions('worker');
is(status(start_job($node, 'writing')), 'succeeded', 'it succeeds afterwards');

# ---------------------------------------------------------------------------
# CONNECTION LIMIT: is for clients
# ---------------------------------------------------------------------------

$node->safe_psql('postgres', 'ALTER DATABASE postgres CONNECTION LIMIT 0');
new_sessions('worker');
is(status(start_job($node, 'short_carol')),
	'succeeded', 'CONNECTION LIMIT 0 does not count for the agent');
$node->safe_psql('postgres',
	'ALTER DATABASE postgres CONNECTION LIMIT -1; ALTER ROLE carol CONNECTION LIMIT 0');
new_sessions('worker');
is(status(start_job($node, 'short_carol')),
	'succeeded', 'nor does that of a role');

# ---------------------------------------------------------------------------
# ALLOW_CONNECTIONS false: the agent leaves; true: it comes back
# ---------------------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE d');
$node->safe_psql(
	'd', q{
		CREATE EXTENSION workflow;
		CREATE TABLE gate ();
		SELECT workflow.create_package('p');
		SELECT workflow.add_step('p', 'a', $$ DO $do$ BEGIN
			WHILE NOT EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.01); END LOOP;
			END $do$ $$)});
$node->poll_query_until('d', 'SELECT running FROM workflow.agent');
my $run = $node->safe_psql('d', q{SELECT workflow.start_job('p')});
$node->poll_query_until('d',
	q{SELECT EXISTS (SELECT FROM workflow.step_history WHERE status = 'running')});
my $session = $node->background_psql('d');
$session->query_safe('SELECT 1');
$node->safe_psql('postgres', 'ALTER DATABASE d ALLOW_CONNECTIONS false');
my $processes =
  q{SELECT count(*) FROM pg_stat_activity WHERE datname = 'd' AND backend_type LIKE 'workflow %'};
ok($node->poll_query_until('postgres', $processes, 0),
	'the agent leaves a database that does not allow connections');
my $other = $session->query_safe(q{SET client_min_messages = error; SELECT workflow.start_job('p')});
$session->query_safe('INSERT INTO gate DEFAULT VALUES');
is( $session->query_safe(
		q{SELECT string_agg(status, ' ' ORDER BY run_id) FROM workflow.run_history}),
	'queued queued',
	'nothing has failed');
$node->safe_psql('postgres', 'ALTER DATABASE d ALLOW_CONNECTIONS true');
is( $session->query_safe("SELECT workflow.wait_for_job($run, '90 s') || ' ' || workflow.wait_for_job($other, '90 s')"),
	'succeeded succeeded',
	'it comes back, and the runs go on');
$session->quit;

$node->stop;
done_testing();
