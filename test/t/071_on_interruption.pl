# Packages with on_interruption: fail.  Their runs fail when they had begun and
# were cut off; others go on, or keep their place.

use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main');
my $flushes = 0;
my $gate = PostgreSQL::Test::Utils::tempdir() . '/gate';

# A shutdown must not open the gate, as it would free a lock.
$node->safe_psql(
	'postgres', qq{
		CREATE FUNCTION wait_for_gate(which text DEFAULT '') RETURNS void LANGUAGE plpgsql AS \$\$
		BEGIN
			WHILE (pg_stat_file('$gate' || which, true)).size IS NOT NULL LOOP
				PERFORM pg_sleep(0.01);
			END LOOP;
		END \$\$;
		CREATE TABLE effect (run_id bigint, step text)});

my $effect =
  'INSERT INTO effect SELECT workflow.run_id(), workflow.step_name()';
my $block = 'SELECT wait_for_gate()';
my $finally = {
	name => 'f',
	command =>
	  q{INSERT INTO effect SELECT workflow.run_id(), concat_ws(' ', workflow.run_status(), workflow.error_sqlstate(), workflow.error_path())},
	finally => 'completion'
};

sub close_gate
{
	my ($which) = @_;

	append_to_file($gate . ($which // ''), '');
	return;
}

sub wait_for_blocked
{
	my ($number) = @_;

	$node->poll_query_until(
		'postgres', qq{
			SELECT count(*) = $number FROM pg_stat_activity
			WHERE backend_type = 'workflow worker' AND wait_event = 'PgSleep'})
	  or die "$number steps do not wait";
	return;
}

sub cut_off
{
	my ($how, $which) = @_;

	# what was committed asynchronously before this survives a crash
	$node->safe_psql('postgres', 'CREATE TABLE flush' . ++$flushes . ' ()');
	$node->stop($how);
	unlink $gate . ($which // '');
	$node->start;
	wait_for_agent($node);
	return;
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

sub run_row
{
	my ($run) = @_;

	return scalar_query($node,
		"SELECT concat_ws(' ', status, failed_steps, error_path, sqlstate, message) FROM workflow.run_history WHERE run_id = $run"
	);
}

sub effects
{
	my ($run) = @_;

	return scalar_query($node,
		"SELECT string_agg(step, ', ' ORDER BY step) FROM effect WHERE run_id = $run"
	);
}

my $failed = 'failed 0 57P02 the run was cut off by a crash or shutdown';

for my $driven (0, 1)
{
	my @option = $driven ? (timeout => '1 hour') : ();
	my $who = $driven ? 'driven' : 'inline';

	for my $answer ('fail', 'resume')
	{
		define_package(
			$node,
			{
				name => "one_$answer",
				on_interruption => $answer,
				max_concurrent_runs => 1,
				@option,
				steps => [ { name => 'a', command => "$effect; $block" }, $finally ]
			});
	}
	define_package(
		$node,
		{
			name => 'chain_fail',
			on_interruption => 'fail',
			@option,
			steps => [
				{ name => 'a', command => $effect },
				{
					name => 'b',
					command => $effect,
					join_transaction => JSON::PP::true,
					after => ['a']
				},
				{
					name => 'c',
					command => "$effect; $block",
					join_transaction => JSON::PP::true,
					after => ['b']
				},
				{ name => 'd', command => $effect, after => ['c'] },
				$finally
			]
		});

	for my $how ('immediate', 'fast')
	{
		close_gate();
		my $fail = start_job($node, 'one_fail');
		my $next = start_job($node, 'one_fail');
		my $later = scalar_query($node,
			q{SELECT workflow.start_job('one_fail', start_at => now() + '1 hour')}
		);
		my $resume = start_job($node, 'one_resume');
		my $chain = start_job($node, 'chain_fail');

		wait_for_blocked(3);
		cut_off($how);
		is(wait_for_job($node, $fail),
			'failed', "$who, $how: a run that was cut off fails");
		is(run_row($fail), $failed, "$who, $how: for that reason");
		is(steps($fail),
			'a 0 skipped package failed, f 1 succeeded',
			"$who, $how: what was not committed never was");
		is(effects($fail), 'failed 57P02',
			"$who, $how: its finally step is executed");
		is(wait_for_job($node, $next),
			'succeeded', "$who, $how: a run that had not begun keeps its place");
		is( scalar_query(
				$node,
				"SELECT concat_ws(' ', state, wait) FROM workflow.activity WHERE run = $later"
			),
			'queued start_at',
			"$who, $how: or its time");
		is(wait_for_job($node, $resume),
			'succeeded', "$who, $how: one of another package goes on");
		is(wait_for_job($node, $chain),
			'failed', "$who, $how: a run with a transaction fails");
		is(run_row($chain), $failed, "$who, $how: for the same reason");
		is( steps($chain),
			'a 1 succeeded, b 0 skipped package failed, c 0 skipped package failed, d 0 skipped package failed, f 1 succeeded',
			"$who, $how: what had joined the transaction is lost");
		is(effects($chain), 'a, failed 57P02',
			"$who, $how: what was committed stays");
		$node->safe_psql('postgres', "SELECT workflow.stop_job($later)");
	}
}

# The end of a worker alone cuts off no run.
{
	close_gate();
	my $run = start_job($node, 'one_fail');

	wait_for_blocked(1);
	$node->safe_psql('postgres',
		"SELECT pg_terminate_backend(pid, 180000) FROM workflow.step_history WHERE run_id = $run AND step = 'a'"
	);
	unlink $gate;
	is(wait_for_job($node, $run), 'failed', 'its worker ends: the step fails');
	like(run_row($run), qr/^failed 1 a 57P01 /, 'with the error of the worker');
}

# A run that is paused, and one that waits for a retry, had begun.
define_package(
	$node,
	{
		name => 'waits',
		on_interruption => 'fail',
		steps => [
			{
				name => 'a',
				command => 'SELECT 1/0',
				max_attempts => 2,
				retry_delay => '1 hour'
			}
		]
	});
{
	close_gate();
	my $paused = start_job($node, 'one_fail');
	wait_for_blocked(1);
	my $waiting = start_job($node, 'waits');

	$node->safe_psql('postgres', "SELECT workflow.pause_job($paused)");
	$node->poll_query_until('postgres',
		"SELECT wait = 'retry' FROM workflow.activity WHERE run = $waiting AND step IS NOT NULL"
	) or die 'the step does not fail';
	cut_off('fast');
	is(wait_for_job($node, $paused), 'failed', 'a paused run fails');
	is(wait_for_job($node, $waiting),
		'failed', 'a run with a step that waits for a retry fails');
	is(run_row($waiting),
		'failed 1 57P02 the run was cut off by a crash or shutdown',
		'since it was cut off');
	is(steps($waiting), 'a 1 failed', 'the attempt stays as it was');
}

# Child runs: the parent's answer counts for the tree below it, the child's
# for itself.
for my $driven (0, 1)
{
	my $who = $driven ? 'driven' : 'inline';

	for my $answer ('fail', 'resume')
	{
		define_package(
			$node,
			{
				name => "child_$answer",
				on_interruption => $answer,
				($driven ? (timeout => '1 hour') : ()),
				steps => [ { name => 'a', command => "$effect; $block" }, $finally ]
			});
	}
	for my $parent ('fail', 'resume')
	{
		my $child = $parent eq 'fail' ? 'resume' : 'fail';

		define_package(
			$node,
			{
				name => "parent_$parent",
				on_interruption => $parent,
				steps => [
					{ name => 'p', kind => 'package', command => "child_$child" },
					{ name => 'q', command => $effect, after => ['p'] },
					$finally
				]
			});
	}
	close_gate();
	my $fail = start_job($node, 'parent_fail');
	my $resume = start_job($node, 'parent_resume');
	my $child = "(SELECT run_id FROM workflow.run_history WHERE parent_run_id = %d)";

	wait_for_blocked(2);
	cut_off('immediate');
	is(wait_for_job($node, $fail), 'failed', "$who child: its parent fails");
	is(run_row($fail), $failed, "$who child: for it was cut off");
	is(effects($fail), 'failed 57P02',
		"$who child: and executes its finally step");
	is( scalar_query(
			$node,
			"SELECT status FROM workflow.run_history WHERE parent_run_id = $fail"
		),
		'cancelled',
		"$who child: it is stopped");
	is(wait_for_job($node, $resume), 'failed', "$who child: it fails itself");
	is( run_row($resume),
		'failed 1 p 57P02 the run was cut off by a crash or shutdown',
		"$who child: which is the failure of its step");
	is( effects(sprintf $child, $resume), 'failed 57P02',
		"$who child: its finally step is executed");
	is(effects($resume), 'failed 57P02 p',
		"$who child: and the one of its parent");
}

# Cut off again while it ends.
define_package(
	$node,
	{
		name => 'twice',
		on_interruption => 'fail',
		fail_on_first_error => JSON::PP::false,
		steps => [
			{ name => 'a', command => "$effect; $block" },
			{ name => 'p', kind => 'package', command => 'child_resume' },
			{
				name => 'f',
				command => "$effect; SELECT wait_for_gate('2')",
				finally => 'failure'
			}
		]
	});
{
	close_gate();
	close_gate('2');
	my $run = start_job($node, 'twice');

	wait_for_blocked(2);
	cut_off('immediate');
	wait_for_blocked(1);
	cut_off('immediate', '2');
	is(wait_for_job($node, $run), 'failed', 'a run is cut off twice');
	is(run_row($run), $failed, 'its end is the same');
	is(effects($run), 'f', 'what was left of it is executed once');
}

$node->stop;
done_testing();
