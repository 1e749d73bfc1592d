# A role that owns packages may not connect any more, or is no more: its runs
# fail with the error that a connection would get, workers that are connected
# already included, and those of others go on.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main', conf => 'workflow.max_workers = 4');

$node->safe_psql(
	'postgres', q{
		CREATE ROLE alice LOGIN;
		CREATE ROLE bob LOGIN;
		GRANT USAGE ON SCHEMA workflow TO alice, bob;
		GRANT CONNECT ON DATABASE postgres TO bob});

sub define
{
	my ($role) = @_;

	define_package(
		$node,
		{
			name => "inline_$role",
			steps => [
				{ name => 'a', command => 'SELECT pg_advisory_xact_lock_shared(1)' },
				{ name => 'b', command => 'SELECT 1', after => ['a'] }
			]
		},
		'-U', $role);
	define_package(
		$node,
		{
			name => "driven_$role",
			timeout => '1 h',
			steps => [ { name => 'a', command => 'SELECT 1' } ]
		},
		'-U', $role);
	return;
}

# Status and error of a run that has ended.
sub error_of
{
	my ($run) = @_;

	wait_for_job($node, $run);
	return scalar_query(
		$node, qq{
			SELECT status, sqlstate, regexp_replace(message, '[0-9]+', 'N')
			FROM workflow.run_history WHERE run_id = $run});
}

define($_) for qw(alice bob);
my @cases = (
	[
		'without LOGIN',
		'ALTER ROLE alice NOLOGIN',
		'ALTER ROLE alice LOGIN',
		'failed|28000|role "alice" is not permitted to log in'
	],
	[
		'without CONNECT',
		'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC',
		'GRANT CONNECT ON DATABASE postgres TO PUBLIC',
		'failed|42501|permission denied for database "postgres"'
	],
	[
		'dropped',
		'REVOKE USAGE ON SCHEMA workflow FROM alice; DROP ROLE alice',
		'',
		'failed|28000|role with OID N does not exist'
	]);

for my $case (@cases)
{
	my ($name, $change, $back, $error) = @$case;

	# one worker is at work, one is idle
	my $lock = hold_lock($node, 1);
	my $working = start_job($node, 'inline_alice');
	wait_for_lock_waiters($node, 1, 1);
	is((start_and_wait($node, 'driven_alice'))[1],
		'succeeded', "$name: before, there is an idle worker");
	$node->safe_psql('postgres', $change);
	for my $package (qw(driven_alice inline_alice))
	{
		my @runs = map { start_job($node, $package) } 1 .. 3;
		is(error_of($_), $error, "$name: a run of $package fails") for @runs;
	}
	is((start_and_wait($node, 'driven_bob'))[1],
		'succeeded', "$name: those of others go on");
	$lock->quit;
	is(wait_for_job($node, $working),
		'succeeded', "$name: what was at work goes on to its end");
	$node->safe_psql('postgres', $back);
	is((start_and_wait($node, 'driven_alice'))[1],
		'succeeded', "$name: afterwards, runs succeed again")
	  if $back ne '';
}
is(scalar_query($node, 'SELECT running FROM workflow.agent'),
	't', 'the agent has not gone down');

$node->stop;
done_testing();
