# stop_job ends a run at once, whatever it is doing, and undoes what it has
# not committed.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main', conf => 'workflow.max_workers = 3');

$node->safe_psql(
	'postgres', q{
		CREATE TABLE effect (run_id bigint, step text);
		CREATE TABLE locked ()});
my $effect =
  'INSERT INTO effect SELECT workflow.run_id(), workflow.step_name()';

sub status
{
	my ($run) = @_;

	return scalar_query(
		$node, qq{
			SELECT status, stopped_by, stop_reason, finished_at IS NOT NULL
			FROM workflow.run_history WHERE run_id = $run});
}

sub steps
{
	my ($run) = @_;

	return scalar_query(
		$node, qq{
			SELECT coalesce(string_agg(concat_ws(' ', step, status, reason), ', '
									   ORDER BY step), '')
			FROM workflow.step_history WHERE run_id = $run});
}

sub effects
{
	my ($run) = @_;

	return scalar_query($node,
		"SELECT count(*) FROM effect WHERE run_id = $run");
}

my $me = scalar_query($node, 'SELECT current_user');

# A run of one step, which sleeps.
define_package(
	$node,
	{
		name => 'sleep',
		steps =>
		  [ { name => 's', command => "$effect; SELECT pg_sleep(3600)" } ]
	});
my $run = start_job($node, 'sleep');
ok( $node->poll_query_until(
		'postgres', q{
			SELECT count(*) = 1 FROM pg_stat_activity
			WHERE backend_type = 'workflow worker' AND wait_event = 'PgSleep'}),
	'a step sleeps');
is(status($run), 'running|||f', 'the run is running');
is(scalar_query($node, "SELECT workflow.stop_job($run, 'no more')"),
	't', 'a sleeping run is stopped');
is(status($run), "cancelled|$me|no more|t", 'it is cancelled at once');
is(steps($run), 's cancelled', 'its step is cancelled');
is(effects($run), 0, 'its effects are undone');
is(scalar_query($node, "SELECT workflow.stop_job($run, 'again')"),
	'f', 'a run that has ended is not stopped again');
is(status($run), "cancelled|$me|no more|t", 'it stays as it was');
is(wait_for_job($node, $run), 'cancelled', 'wait_for_job returns the status');

# A run that waits for a lock.
define_package(
	$node,
	{
		name => 'lock',
		steps => [
			{ name => 'a', command => $effect },
			{
				name => 'b',
				command => "$effect; LOCK TABLE locked",
				after => ['a']
			},
			{ name => 'c', command => $effect, after => ['b'] },
			{
				name => 'd',
				command => $effect,
				after => [ { step => 'b', on => 'failure' } ]
			}
		]
	});
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE locked');
$run = start_job($node, 'lock');
my $locks = q{
	SELECT count(*) FROM pg_locks
	WHERE relation = 'locked'::regclass AND NOT granted};
ok($node->poll_query_until('postgres', $locks, 1), 'a step waits for a lock');

# queued behind it, and not started: the run itself, and its own step
is(scalar_query($node, "BEGIN; SELECT workflow.stop_job($run); ROLLBACK"),
	't', 'a run that waits for a lock is stopped');
is(status($run), "cancelled|$me||t", 'it is cancelled, not only at the commit');
is( steps($run),
	'a succeeded, b cancelled, c skipped cancelled, d skipped cancelled',
	'what had not started does not start');
is(effects($run), 1, 'what was committed before stays');
is(scalar_query($node, $locks), 0, 'nobody waits for the lock any more');
$holder->quit;

# A run of the scheduler: parallel steps, a child.
define_package(
	$node,
	{
		name => 'child',
		steps => [
			{
				name => 'inner',
				command => "$effect; SELECT pg_advisory_xact_lock_shared(1)"
			}
		]
	});
define_package(
	$node,
	{
		name => 'parent',
		steps => [
			{
				name => 'block',
				command => "$effect; SELECT pg_advisory_xact_lock_shared(1)"
			},
			{ name => 'child', kind => 'package', command => 'child' },
			{
				name => 'end',
				command => $effect,
				after => [ 'block', { step => 'child', on => 'completion' } ]
			}
		]
	});
my $lock = hold_lock($node, 1);
$run = start_job($node, 'parent');
wait_for_lock_waiters($node, 1, 2);
is(scalar_query($node, "SELECT workflow.stop_job($run, 'all of it')"),
	't', 'a run with a child is stopped');
is(status($run), "cancelled|$me|all of it|t", 'it is cancelled');
is( steps($run),
	'block cancelled, child cancelled, end skipped cancelled',
	'all its steps are');
is( scalar_query(
		$node, qq{
			SELECT package, status FROM workflow.run_history
			WHERE parent_run_id = $run}),
	'child|cancelled',
	'the child run is');
is(scalar_query($node, 'SELECT count(*) FROM effect') - 1,
	0, 'their effects are undone');
is(lock_waiters($node, 1), 0, 'nobody waits for the lock any more');

# Queued runs: the workers are all busy.
define_package(
	$node,
	{
		name => 'block',
		steps => [
			{
				name => 'b',
				command => "$effect; SELECT pg_advisory_xact_lock_shared(1)"
			}
		]
	});
define_package($node,
	{ name => 'quick', steps => [ { name => 'q', command => $effect } ] });
my @busy = map { start_job($node, 'block') } 1 .. 3;
wait_for_lock_waiters($node, 1, 3);
my ($queued, $waiting) = (start_job($node, 'quick'), start_job($node, 'quick'));
is(status($queued), 'queued|||f', 'a run is queued');
is(scalar_query($node, "SELECT workflow.stop_job($queued, 'not needed')"),
	't', 'a queued run is stopped');
is(status($queued), "cancelled|$me|not needed|t", 'it is cancelled');
is( scalar_query(
		$node,
		"SELECT started_at IS NULL FROM workflow.run_history WHERE run_id = $queued"
	),
	't',
	'it never started');
is(status($waiting), 'queued|||f', 'the next one is still queued');

# the right to stop
$node->safe_psql('postgres',
	'CREATE ROLE other LOGIN; GRANT USAGE ON SCHEMA workflow TO other');
isnt(psql_error($node, "SELECT workflow.stop_job($waiting)", '-U', 'other'),
	'', 'nobody else may stop a run');
is(status($waiting), 'queued|||f', 'it is not stopped');
isnt(psql_error($node, 'SELECT workflow.stop_job(0)'),
	'', 'there is no run to be stopped');

# a run that was started by a transaction which is open cannot be stopped, and
# the agent survives the attempt
$lock->quit;
is(join(' ', map { wait_for_job($node, $_) } @busy, $waiting),
	'succeeded succeeded succeeded succeeded',
	'the others run to their end');
is(effects($queued), 0, 'the stopped one had no effect');
is(scalar_query($node, "SELECT workflow.stop_job($waiting)"),
	'f', 'a run that has succeeded is not stopped');
is(status($waiting), 'succeeded|||t', 'it stays as it was');

$node->stop;
done_testing();
