# What is recorded of attempts: those that never began, those that could not
# begin, those of a package step whose time is over.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main', conf => 'workflow.max_workers = 1');

sub status
{
	my ($run) = @_;

	return scalar_query($node,
		"SELECT status FROM workflow.run_history WHERE run_id = $run");
}

# Each attempt, with whether it has a start and an end.
sub attempts
{
	my ($run) = @_;

	return scalar_query(
		$node, qq{
			SELECT string_agg(concat_ws(' ', step, attempt, status, reason, sqlstate,
										CASE WHEN started_at IS NOT NULL THEN 'began' END,
										CASE WHEN finished_at IS NOT NULL THEN 'ended' END),
							  ', ' ORDER BY step, attempt)
			FROM workflow.step_history WHERE run_id = $run});
}

sub block
{
	return "SELECT pg_advisory_xact_lock_shared($_[0])";
}

define_package($node,
	{ name => 'other', steps => [ { name => 'o', command => block(2) } ] });

# A second attempt that waits for the only worker.
define_package(
	$node,
	{
		name => 'retry',
		steps => [
			{
				name => 'a',
				command => block(1) . '; SELECT 1 / 0',
				max_attempts => 2,
				retry_delay => '1 ms'
			}
		]
	});
my @locks = map { hold_lock($node, $_) } 1, 2;
my $run = start_job($node, 'retry');
wait_for_lock_waiters($node, 1, 1);
my $other = start_job($node, 'other');
$locks[0]->quit;
wait_for_lock_waiters($node, 2, 1);
$node->poll_query_until(
	'postgres', qq{
		SELECT wait = 'worker' FROM workflow.activity
		WHERE run = $run AND step = 'a'})
  or die 'the second attempt does not wait for a worker';
is(scalar_query($node, "SELECT workflow.stop_job($run)"),
	't', 'a run is stopped while an attempt waits for a worker');
is(status($run), 'cancelled', 'it is cancelled');
is(attempts($run), 'a 1 failed 22012 began ended',
	'the attempt that did not begin is not recorded');
$locks[1]->quit;
is(wait_for_job($node, $other), 'succeeded', 'the worker goes on');

# A first attempt that waits for it, and a child run.
define_package(
	$node,
	{
		name => 'first',
		timeout => '1 h',
		steps => [ { name => 'a', command => 'SELECT 1' } ]
	});
define_package(
	$node,
	{
		name => 'children',
		steps => [
			map { { name => $_, kind => 'package', command => 'other' } }
			  qw(a b)
		]
	});
$locks[0] = hold_lock($node, 2);
$run = start_job($node, 'children');
wait_for_lock_waiters($node, 2, 1);
is(scalar_query($node, "SELECT workflow.stop_job($run)"),
	't', 'a run is stopped while a package step waits for sessions');
is( attempts($run),
	'a 1 cancelled 57014 began ended, b 0 skipped cancelled',
	'that step never started');
$other = start_job($node, 'other');
wait_for_lock_waiters($node, 2, 1);
$run = start_job($node, 'first');
$node->poll_query_until('postgres',
	"SELECT wait = 'worker' FROM workflow.activity WHERE run = $run")
  or die 'the step does not wait for a worker';
is(scalar_query($node, "SELECT workflow.pause_job($run)"),
	't', 'a run is paused while a step waits for a worker');
is(attempts($run), 'a 0 waiting', 'the step waits');
is( scalar_query(
		$node, "SELECT state, wait FROM workflow.activity WHERE run = $run"),
	'paused|paused',
	'for the end of the pause');
$locks[0]->quit;
is(wait_for_job($node, $other), 'succeeded', 'the worker is free');
is((start_and_wait($node, 'other'))[1], 'succeeded', 'for others');
is(attempts($run), 'a 0 waiting', 'the step does not start in the pause');
scalar_query($node, "SELECT workflow.resume_job($run)");
is(wait_for_job($node, $run), 'succeeded', 'it does afterwards');

# Failures before the begin.
define_package(
	$node,
	{
		name => 'failures',
		fail_on_first_error => $false,
		steps => [
			{
				name => 'a',
				command => 'SELECT 1',
				condition => '1 / 0 = 1'
			},
			{ name => 'b', kind => 'package', command => 'nothing' }
		]
	});
($run) = start_and_wait($node, 'failures');
is( attempts($run),
	'a 0 failed 22012 ended, b 1 failed 42704 began ended',
	'a condition that fails, and a child that is not there');

# The time-out of a package step: the child is carried out by a worker, or
# driven by the scheduler, or has a child itself.
define_package(
	$node,
	{
		name => 'driven',
		timeout => '1 h',
		steps => [ { name => 'o', command => block(2) } ]
	});
define_package($node,
	{
		name => 'nested',
		steps => [ { name => 'n', kind => 'package', command => 'other' } ]
	});
for my $child (qw(other driven nested))
{
	define_package(
		$node,
		{
			name => 'timeout',
			steps => [
				{
					name => 'a',
					kind => 'package',
					command => $child,
					timeout => '100 ms',
					max_attempts => 2,
					retry_delay => '1 ms'
				}
			]
		});
	$locks[0] = hold_lock($node, 2);
	$run = start_job($node, 'timeout');
	is(wait_for_job($node, $run), 'failed', "$child: the run fails");
	is( attempts($run),
		'a 1 failed 57014 began ended, a 2 failed 57014 began ended',
		"$child: each attempt of the step fails in time");
	is( scalar_query(
			$node, qq{
				SELECT sqlstate, message, error_path FROM workflow.run_history
				WHERE run_id = $run}),
		'57014|canceling step due to its timeout|a',
		"$child: which is the error of the run");
	is( scalar_query(
			$node, qq{
				SELECT DISTINCT package, status, stopped_by, stop_reason
				FROM workflow.run_history WHERE parent_run_id = $run}),
		"$child|cancelled||canceling step due to its timeout",
		"$child: the child runs are cancelled");
	is(lock_waiters($node, 2), 0, "$child: with what they executed");
	$locks[0]->quit;
}

stop_immediately($node);
done_testing();
