# An idle agent is idle: in a minute without runs the server sees no
# transaction of ours, in no database.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $seconds = 60;
my $quiet_seconds = 12;

# No transactions of others.  Workers become idle, and leave, inside of the
# minute.
my $node = new_node(
	'main', conf => q{
		autovacuum = off
		max_logical_replication_workers = 0
		workflow.worker_idle_timeout = '20 s'
	});

# The session that measures must not be counted.
$node->safe_psql('postgres', 'CREATE DATABASE observer');

my $counters = q{
	SELECT string_agg(datname || ' ' || xact_commit + xact_rollback, ', '
					  ORDER BY datname)
	FROM pg_stat_database
	WHERE coalesce(datname, '') <> 'observer'};

define_package(
	$node,
	{
		name => 'p',
		steps => [
			{ name => 'a', command => 'SELECT 1' },
			{ name => 'b', command => 'SELECT 1' },
			{ name => 'c', command => 'SELECT 1', after => [ 'a', 'b' ] }
		]
	});

my $before = $node->safe_psql('observer', $counters);
for (1 .. 3)
{
	my ($run, $status) = start_and_wait($node, 'p');
	is($status, 'succeeded', 'the agent works');
}

# Work ends with some transactions after the last run, and counters arrive
# with delay.  Wait until there is nothing new for some time.
my ($last, $unchanged) = ('', 0);
for (1 .. 5 * $quiet_seconds)
{
	my $now = $node->safe_psql('observer', $counters);

	$unchanged = $now eq $last ? $unchanged + 1 : 0;
	$last = $now;
	last if $unchanged >= $quiet_seconds;
	sleep 1;
}
is($unchanged, $quiet_seconds, 'the agent becomes idle');
isnt($last, $before, 'the counters show its transactions');

my $processes = q{
	SELECT string_agg(DISTINCT backend_type, ', ' ORDER BY backend_type)
	FROM pg_stat_activity WHERE backend_type LIKE 'workflow %'};
like($node->safe_psql('observer', $processes),
	qr/^workflow launcher, workflow scheduler/, 'its processes are there');
is( $node->safe_psql(
		'observer', q{
			SELECT count(*) FROM pg_stat_activity
			WHERE backend_type LIKE 'workflow %'
			  AND (xact_start IS NOT NULL OR backend_xid IS NOT NULL
				   OR backend_xmin IS NOT NULL)}),
	0,
	'none of them is in a transaction');

sleep $seconds;

is($node->safe_psql('observer', $counters),
	$last, "no transaction in $seconds seconds");

my ($run, $status) = start_and_wait($node, 'p');
is($status, 'succeeded', 'the agent still works');
isnt($node->safe_psql('observer', $counters),
	$last, 'the counters count again');

$node->stop;
done_testing();
