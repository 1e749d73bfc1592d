# History is deleted when it was kept long enough: by the setting, or as the
# package says; whole trees, beside everything else that goes on.

use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $runs = 2500;
my $node = new_node('main', conf => 'workflow.history_retention = 0');

is($node->safe_psql('postgres', 'SHOW workflow.history_retention'),
	'0', '0 keeps history for ever');

sub steps
{
	return [ { name => 'a', command => 'SELECT 1' } ];
}

$node->safe_psql('postgres',
	'CREATE PROCEDURE parts() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$');
define_package($node, { name => 'plain', steps => steps() });
define_package($node,
	{ name => 'longer', history_retention => '100 days', steps => steps() });
define_package($node,
	{ name => 'shorter', history_retention => '1 day', steps => steps() });
define_package($node,
	{ name => 'forever', history_retention => '0', steps => steps() });
define_package(
	$node,
	{
		name => 'tree',
		steps => [
			{
				name => 'a',
				command => 'SELECT 1',
				join_transaction => JSON::PP::true
			},
			{ name => 'b', command => 'CALL parts()' },
			{ name => 'c', kind => 'package', command => 'longer' }
		]
	});

sub set
{
	my ($value) = @_;

	$node->append_conf('postgresql.conf',
		"workflow.history_retention = '$value'");
	$node->reload;
	return;
}

# Let time pass for what is there.
sub age
{
	my ($interval) = @_;

	$node->safe_psql(
		'postgres', qq{
			UPDATE workflow.run SET requested_at = requested_at - interval '$interval';
			UPDATE workflow.run_outcome SET finished_at = finished_at - interval '$interval'});
	return;
}

sub history
{
	return scalar_query(
		$node, q{
			SELECT string_agg(concat_ws(' ', package, n, status), ', ' ORDER BY package, status)
			FROM (SELECT package, count(*) AS n, status
				  FROM workflow.run_history GROUP BY package, status) s});
}

sub becomes
{
	my ($expected, $name) = @_;

	$node->poll_query_until(
		'postgres', q{
			SELECT string_agg(concat_ws(' ', package, n, status), ', ' ORDER BY package, status)
			FROM (SELECT package, count(*) AS n, status
				  FROM workflow.run_history GROUP BY package, status) s},
		$expected) or die "$name: " . history();
	pass($name);
	return;
}

my $retention_gone =
  q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'workflow retention'};

$node->safe_psql('postgres',
	"SELECT workflow.start_job('plain') FROM generate_series(1, $runs)");
for my $package ('plain', 'longer', 'shorter', 'forever', 'tree')
{
	is((start_and_wait($node, $package))[1],
		'succeeded', "a run of $package");
}
my $later = scalar_query($node,
	q{SELECT workflow.start_job('plain', start_at => now() + '1 day', request_key => 'later')}
);
my $key = scalar_query($node,
	q{SELECT workflow.start_job('plain', request_key => 'now')});
wait_for_job($node, $key);
my $stopped = scalar_query($node,
	q{SELECT workflow.start_job('plain', start_at => now() + '1 day')});
scalar_query($node, "SELECT workflow.stop_job($stopped)");
$node->poll_query_until('postgres',
	q{SELECT count(*) = 1 FROM workflow.open_run})
  or die 'the runs do not end';

# Only the packages' own options count: no run is old enough.
age('2 hours');
set('3 h');
set('0');
my $all =
  sprintf 'forever 1 succeeded, longer 2 succeeded, plain 1 cancelled, plain 1 queued, plain %d succeeded, shorter 1 succeeded, tree 1 succeeded',
  $runs + 2;
is(history(), $all, 'young history is kept');

# The setting changes: that makes it look.
age('2 days');
set('30 d');
( my $no_shorter = $all ) =~ s/, shorter 1 succeeded//;
becomes($no_shorter, 'a package keeps its runs for a shorter time');

age('40 days');
start_and_wait($node, 'plain');
set('29 d');
becomes(
	'forever 1 succeeded, longer 1 succeeded, plain 1 queued, plain 1 succeeded',
	'old runs go, the trees of their packages whole, but open ones and those that are kept longer');
is( scalar_query(
		$node, q{
			SELECT string_agg(t, ', ') FROM (
				SELECT 'step_outcome' AS t, run_id FROM workflow.step_outcome
				UNION ALL SELECT 'run_outcome', run_id FROM workflow.run_outcome
				UNION ALL SELECT 'step_start', run_id FROM workflow.step_start
				UNION ALL SELECT 'run_command', run_id FROM workflow.run_command
				UNION ALL SELECT 'transaction_outcome', run_id FROM workflow.transaction_outcome
				UNION ALL SELECT 'request_key', run_id FROM workflow.request_key
			) x WHERE run_id NOT IN (SELECT run_id FROM workflow.run)}),
	'',
	'with all that was on record of them');
is( scalar_query(
		$node, 'SELECT string_agg(key, $$ $$) FROM workflow.request_key'),
	'later',
	'the key of an open run stays');
$node->poll_query_until('postgres', $retention_gone) or die 'it stays';

age('80 days');
set('28 d');
becomes('forever 1 succeeded, plain 1 queued',
	'what is kept for ever, and an open run, stay');
is(scalar_query($node, "SELECT workflow.stop_job($later)"),
	't', 'the open run can be stopped');

# The next versions of a package: the current one says how long.
define_package(
	$node,
	{
		name => 'forever',
		description => 'not any more',
		steps => steps()
	});
set('27 d');
becomes('plain 1 cancelled',
	'the current version counts, and the old one goes with its runs');
is( scalar_query(
		$node,
		q{SELECT count(*) FROM workflow.definition_version WHERE name = 'forever'}
	),
	1,
	'so that no run refers to it');

# It waits for another purge, and nobody for it.
age('30 days');
$node->poll_query_until('postgres', $retention_gone) or die 'it stays';
start_and_wait($node, 'plain');
my $purge = $node->background_psql('postgres');
$purge->query_safe('BEGIN');
$purge->query_safe(q{SELECT workflow.purge_history('100 years')});
set('26 d');
my $waits = q{SELECT count(*) = 1 FROM pg_stat_activity
	WHERE backend_type = 'workflow retention' AND wait_event_type = 'Lock'};
$node->poll_query_until('postgres', $waits) or die 'it does not wait';
is((start_and_wait($node, 'plain'))[1],
	'succeeded', 'a run is started and ends meanwhile');
is( scalar_query(
		$node, q{
			SELECT workers - (SELECT count(*) FROM pg_stat_activity
							  WHERE backend_type = 'workflow worker'), last_error
			FROM workflow.agent}),
	'0|',
	'it is no worker');

# A new scheduler ends it, and starts its own in its time.
$node->safe_psql(
	'postgres', q{
		SELECT pg_terminate_backend(scheduler_pid, 180000) FROM workflow.agent});
$node->poll_query_until('postgres', $retention_gone) or die 'it stays';
wait_for_agent($node);
is((start_and_wait($node, 'plain'))[1],
	'succeeded', 'the next scheduler is at work');
set('25 d');
$node->poll_query_until('postgres', $waits) or die 'it does not come back';
$purge->query_safe('COMMIT');
$purge->quit;
becomes('plain 3 succeeded', 'it goes on when it can');

# Without any help, when it is kept for a second only.
set('1 s');
$node->poll_query_until('postgres',
	'SELECT count(*) = 0 FROM workflow.run_history')
  or die 'history stays';
pass('history that was kept long enough goes by itself');
my ($run, $status) = start_and_wait($node, 'plain');
is($status, 'succeeded', 'a run after that');
$node->poll_query_until('postgres',
	'SELECT count(*) = 0 FROM workflow.run_history')
  or die 'history stays';
pass('and its history goes as well');

# The extension can be dropped at any time.
$node->safe_psql('postgres', 'DROP EXTENSION workflow CASCADE');
$node->poll_query_until('postgres', $retention_gone) or die 'it stays';
$node->stop;
done_testing();
