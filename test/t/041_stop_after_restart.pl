# After a restart, runs that had begun wait for their turn or stay paused:
# they can be stopped meanwhile, with their finally steps; and what is on
# record of them is not asked again.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main', conf => 'workflow.max_workers = 4');

$node->safe_psql(
	'postgres', q{
		CREATE TABLE effect (run_id bigint, step text);
		CREATE TABLE switch AS SELECT true AS is_on});
my $effect =
  'INSERT INTO effect SELECT workflow.run_id(), workflow.step_name()';
my $block = 'SELECT pg_advisory_xact_lock_shared(1)';

# Restart the server while steps wait for lock 1: what was committed before is
# kept, and the new lock is held before anything starts.
sub restart
{
	my ($lock, @conf) = @_;

	$node->append_conf('postgresql.conf', join "\n", @conf,
		'workflow.enabled = off');
	$node->safe_psql('postgres', 'CHECKPOINT');
	stop_immediately($node);
	eval { $lock->quit };
	$node->start;
	wait_for_agent($node);
	$lock = hold_lock($node, 1);
	$node->append_conf('postgresql.conf', 'workflow.enabled = on');
	$node->reload;
	return $lock;
}

sub status
{
	my ($run) = @_;

	return scalar_query($node,
		"SELECT status FROM workflow.run_history WHERE run_id = $run");
}

sub steps
{
	my ($run) = @_;

	return scalar_query(
		$node, qq{
			SELECT string_agg(concat_ws(' ', step, attempt, status, reason), ', '
							  ORDER BY step, attempt)
			FROM workflow.step_history WHERE run_id = $run});
}

sub effects
{
	my ($run) = @_;

	return scalar_query(
		$node, qq{
			SELECT coalesce(string_agg(step, ' ' ORDER BY step), '')
			FROM effect WHERE run_id = $run});
}

# Two sessions each: after the restart there is only room for one of them.
define_package(
	$node,
	{
		name => 'two',
		connections => [ { name => 'other' } ],
		steps => [
			{ name => 'a', command => $effect },
			{ name => 'b', command => "$effect; $block", after => ['a'] },
			{
				name => 'c',
				command => $effect,
				connection => 'other',
				after => ['b']
			},
			{ name => 'z', command => $effect, finally => 'failure' }
		]
	});
my $lock = hold_lock($node, 1);
my @runs = map { start_job($node, 'two') } 1 .. 2;
wait_for_lock_waiters($node, 1, 2);
$lock = restart($lock, 'workflow.max_workers = 3');
wait_for_lock_waiters($node, 1, 1);
is(join(' ', map { status($_) } @runs),
	'running queued', 'one of the runs waits for its turn');
is(scalar_query($node, "SELECT workflow.stop_job($runs[1])"),
	't', 'it is stopped');
is(status($runs[1]), 'cancelled', 'it is cancelled');
is( steps($runs[1]),
	'a 1 succeeded, b 0 skipped cancelled, c 0 skipped cancelled, z 1 succeeded',
	'its finally step was executed, nothing is recorded twice');
is(effects($runs[1]), 'a z', 'its finally step has had its effect');
$lock->quit;
is(wait_for_job($node, $runs[0]), 'succeeded', 'the other one goes on');

# A paused run with a child run, which is stopped by itself.
define_package(
	$node,
	{
		name => 'child',
		steps => [
			{ name => 'a', command => $effect },
			{ name => 'b', command => "$effect; $block", after => ['a'] },
			{ name => 'z', command => $effect, finally => 'failure' }
		]
	});
define_package(
	$node,
	{
		name => 'parent',
		steps => [
			{ name => 'p', command => $effect },
			{
				name => 'q',
				kind => 'package',
				command => 'child',
				after => ['p']
			},
			{
				name => 'r',
				command => $effect,
				after => [ { step => 'q', on => 'failure' } ]
			}
		],
		fail_on_first_error => $false
	});
for my $begun (1, 0)
{
	my $what = $begun ? 'a child that had begun' : 'one that had not';

	# without steps on record the child has not begun
	$node->safe_psql('postgres',
		"SELECT workflow.alter_step('child', 'a', condition => '"
		  . ($begun ? 'true' : "pg_advisory_xact_lock_shared(1) IS NOT NULL")
		  . "')");
	$lock = hold_lock($node, 1);
	my $run = start_job($node, 'parent');
	wait_for_lock_waiters($node, 1, 1);
	is(scalar_query($node, "SELECT workflow.pause_job($run)"),
		't', "$what: its parent is paused");
	$lock = restart($lock);
	my $child = scalar_query($node,
		"SELECT run_id FROM workflow.run_history WHERE parent_run_id = $run");
	is(status($run), 'paused', "$what: its parent is still paused");
	is(scalar_query($node, "SELECT workflow.stop_job($child, 'enough')"),
		't', "$what: it is stopped");
	is( steps($child),
		$begun ?
		  'a 1 succeeded, b 0 skipped cancelled, z 1 succeeded' :
		  'a 0 skipped cancelled, b 0 skipped cancelled, z 0 skipped cancelled',
		"$what: its finally step is executed if anything was");
	is(status($run), 'paused', "$what: its parent stays paused");
	is(scalar_query($node, "SELECT workflow.resume_job($run)"),
		't', "$what: its parent is resumed");
	$lock->quit;
	is(wait_for_job($node, $run), 'succeeded', "$what: and ends");
	is( steps($run),
		'p 1 succeeded, q 1 failed, r 1 succeeded',
		"$what: its parent has seen it fail");
}

# The parent is stopped while its child has not gone on.
$node->safe_psql('postgres',
	"SELECT workflow.alter_step('child', 'a', reset => '{condition}')");
$lock = hold_lock($node, 1);
my $run = start_job($node, 'parent');
wait_for_lock_waiters($node, 1, 1);
scalar_query($node, "SELECT workflow.pause_job($run)");
$lock = restart($lock);
my $child = scalar_query($node,
	"SELECT run_id FROM workflow.run_history WHERE parent_run_id = $run");
is(scalar_query($node, "SELECT workflow.stop_job($run, 'all')"),
	't', 'a paused parent is stopped');
is( scalar_query(
		$node, qq{
			SELECT string_agg(concat_ws(' ', package, status, stop_reason), ', '
							  ORDER BY run_id)
			FROM workflow.run_history WHERE $run IN (run_id, parent_run_id)}),
	'parent cancelled all, child cancelled all',
	'it and its child are cancelled');
is( steps($child),
	'a 1 succeeded, b 0 skipped cancelled, z 1 succeeded',
	'with the finally step of the child');
is(steps($run), 'p 1 succeeded, q 1 cancelled, r 0 skipped cancelled',
	'no step of it is recorded twice');

# A stop is on record: the server goes down before the run has ended.
$lock->quit;
define_package(
	$node,
	{
		name => 'stopped',
		steps => [
			{ name => 'a', command => $effect },
			{ name => 'b', command => "$effect; $block", after => ['a'] },
			{ name => 'c', command => $effect, after => ['b'] },
			{ name => 'z', command => "$effect; $block", finally => 'failure' }
		]
	});
$lock = hold_lock($node, 1);
$run = start_job($node, 'stopped');
wait_for_lock_waiters($node, 1, 1);
my $stop = $node->background_psql('postgres', on_error_stop => 0);
$stop->query_until(qr/stopping/, qq{\\echo stopping\nSELECT workflow.stop_job($run, 'halt');\n});
$node->poll_query_until(
	'postgres', qq{
		SELECT status = 'running' FROM workflow.step_history
		WHERE run_id = $run AND step = 'z'}) or die 'the finally step does not start';
wait_for_lock_waiters($node, 1, 1);
$lock = restart($lock);
eval { $stop->quit };
$lock->quit;
is(wait_for_job($node, $run), 'cancelled', 'a stopped run is not resumed');
is( scalar_query(
		$node,
		"SELECT stop_reason FROM workflow.run_history WHERE run_id = $run"),
	'halt',
	'who stopped it is known');
is( steps($run),
	'a 1 succeeded, b 1 cancelled, c 0 skipped cancelled, z 1 succeeded',
	'and its finally step is executed again');

# What a condition was, is not asked again of a step that was executed.
define_package(
	$node,
	{
		name => 'conditions',
		steps => [
			{
				name => 'a',
				command => $effect,
				condition => 'SELECT is_on FROM switch'
			},
			{
				name => 'b',
				command => $effect,
				condition => 'SELECT NOT is_on FROM switch'
			},
			{
				name => 'c',
				command => "$effect; $block",
				after => ['a']
			}
		]
	});
$lock = hold_lock($node, 1);
$run = start_job($node, 'conditions');
wait_for_lock_waiters($node, 1, 1);
$node->safe_psql('postgres', 'UPDATE switch SET is_on = false');
$lock = restart($lock);
$lock->quit;
is(wait_for_job($node, $run), 'succeeded', 'a run with conditions goes on');
is( steps($run),
	'a 1 succeeded, b 0 skipped condition, c 1 succeeded',
	'conditions on record are not asked again');

stop_immediately($node);
done_testing();
