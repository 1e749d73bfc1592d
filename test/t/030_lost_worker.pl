# Processes of the agent that are gone: a worker in the middle of a step, one
# that is idle, one that a connection lives in, one that does not respond to a
# stop, the scheduler.  What was at work fails, says why, and may be retried;
# everything else goes on.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node(
	'main',
	conf => q{
		workflow.max_workers = 4
		restart_after_crash = on});

$node->safe_psql('postgres',
	'CREATE TABLE effect (run_id bigint, step text)');
my $effect =
  'INSERT INTO effect SELECT workflow.run_id(), workflow.step_name()';
my $block = "$effect; SELECT pg_advisory_xact_lock_shared(1)";
my $killed =
  'terminating background worker "workflow worker" due to administrator command';

sub status
{
	my ($run) = @_;

	return scalar_query($node,
		"SELECT status, error_path, sqlstate, message FROM workflow.run_history WHERE run_id = $run"
	);
}

sub steps
{
	my ($run) = @_;

	return scalar_query(
		$node, qq{
			SELECT string_agg(concat_ws(' ', step, attempt, status, reason, sqlstate), ', '
							  ORDER BY step, attempt)
			FROM workflow.step_history WHERE root_run_id = $run});
}

sub effects
{
	my ($run) = @_;

	return scalar_query($node,
		"SELECT string_agg(step, ' ' ORDER BY step) FROM effect WHERE run_id = $run"
	);
}

# Terminate the backends of the steps that are executing with that name.
sub terminate
{
	my ($run, $step) = @_;

	return scalar_query(
		$node, qq{
			SELECT count(pg_terminate_backend(pid)) FROM workflow.step_history
			WHERE root_run_id = $run AND step = '$step' AND status = 'running'});
}

# ---------------------------------------------------------------------------
# In a step of a run that a worker carries out by itself, and of one that the
# scheduler drives
# ---------------------------------------------------------------------------

for my $timeout (undef, '1 h')
{
	my $who = defined $timeout ? 'scheduler' : 'worker';
	my @steps = (
		{ name => 'a', command => $effect },
		{ name => 'b', command => $block, after => ['a'] },
		{ name => 'c', command => $effect, after => ['b'] },
		{
			name => 'd',
			command => $effect,
			after => [ { step => 'b', on => 'failure' } ]
		});

	define_package($node,
		{ name => 'strict', timeout => $timeout, steps => \@steps });
	define_package(
		$node,
		{
			name => 'lax',
			timeout => $timeout,
			fail_on_first_error => $false,
			steps => \@steps
		});
	$steps[1] = {
		%{ $steps[1] },
		max_attempts => 2,
		retry_delay => '0',
		retry_on => ['57']
	};
	define_package($node,
		{ name => 'retried', timeout => $timeout, steps => \@steps });

	my $lock = hold_lock($node, 1);
	my %run = map { $_ => start_job($node, $_) } qw(strict lax retried);
	wait_for_lock_waiters($node, 1, 3);
	is(terminate($run{$_}, 'b'), 1, "$who: a backend of a step is terminated")
	  for sort keys %run;
	is(wait_for_job($node, $run{strict}), 'failed', "$who: the run fails");
	is(status($run{strict}), "failed|b|57P01|$killed",
		"$who: with the error of the backend");
	is( steps($run{strict}),
		'a 1 succeeded, b 1 failed 57P01, c 0 skipped constraint, d 0 skipped package failed',
		"$who: the step has failed");
	is(effects($run{strict}), 'a', "$who: its work is undone");
	is(wait_for_job($node, $run{lax}),
		'succeeded', "$who: a run that puts up with it goes on");
	is( steps($run{lax}),
		'a 1 succeeded, b 1 failed 57P01, c 0 skipped constraint, d 1 succeeded',
		"$who: with the branch of the failure");
	is(effects($run{lax}), 'a d', "$who: each step once");
	wait_for_lock_waiters($node, 1, 1);
	$lock->quit;
	is(wait_for_job($node, $run{retried}), 'succeeded', "$who: a retry succeeds");
	is( steps($run{retried}),
		'a 1 succeeded, b 1 failed 57P01, b 2 succeeded, c 1 succeeded, d 0 skipped constraint',
		"$who: it is the second attempt");
	is(effects($run{retried}), 'a b c', "$who: each step has one effect");
}

# ---------------------------------------------------------------------------
# A connection's session: the next step on it finds a new one
# ---------------------------------------------------------------------------

define_package(
	$node,
	{
		name => 'session',
		fail_on_first_error => $false,
		connections => [ { name => 'c' } ],
		steps => [
			{
				name => 'a',
				connection => 'c',
				command => 'CREATE TEMP TABLE kept ()'
			},
			{
				name => 'b',
				command => $block,
				after => ['a']
			},
			{
				name => 'c',
				connection => 'c',
				command => 'SELECT * FROM kept',
				after => ['b']
			},
			{
				name => 'd',
				connection => 'c',
				command => $effect,
				after => [ { step => 'c', on => 'failure' } ]
			}
		]
	});
my $lock = hold_lock($node, 1);
my $run = start_job($node, 'session');
wait_for_lock_waiters($node, 1, 1);
is( scalar_query(
		$node, qq{
			SELECT count(pg_terminate_backend(pid)) FROM workflow.step_history
			WHERE run_id = $run AND step = 'a'}),
	1,
	'the session of a connection is terminated between two steps');
$lock->quit;
is(wait_for_job($node, $run), 'succeeded', 'the run goes on');
is( steps($run),
	'a 1 succeeded, b 1 succeeded, c 1 failed 42P01, d 1 succeeded',
	'in a new session, without what the old one had');

# ---------------------------------------------------------------------------
# A child's step, a condition, variables for a child
# ---------------------------------------------------------------------------

$node->safe_psql(
	'postgres', q{
		CREATE FUNCTION blocked() RETURNS bool LANGUAGE plpgsql AS $$
		BEGIN
			PERFORM pg_advisory_xact_lock_shared(1);
			RETURN true;
		END $$});
define_package(
	$node,
	{
		name => 'child',
		variables => { v => undef },
		steps => [ { name => 'inner', command => $block } ]
	});
define_package(
	$node,
	{
		name => 'queries',
		fail_on_first_error => $false,
		steps => [
			{ name => 'child', kind => 'package', command => 'child' },
			{ name => 'condition', kind => 'none', condition => 'blocked()' },
			{
				name => 'variables',
				kind => 'package',
				command => 'child',
				variables => { v => 'blocked()' }
			}
		]
	});
$lock = hold_lock($node, 1);
$run = start_job($node, 'queries');
wait_for_lock_waiters($node, 1, 3);
scalar_query(
	$node, q{
		SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE backend_type = 'workflow worker' AND wait_event = 'advisory'});
is(wait_for_job($node, $run), 'succeeded', 'all that executed is terminated');
is( steps($run),
	'child 1 failed 57P01, condition 0 failed 57P01, inner 1 failed 57P01, variables 1 failed 57P01',
	'each step has failed, and says so');
$lock->quit;

# ---------------------------------------------------------------------------
# Idle workers
# ---------------------------------------------------------------------------

define_package($node,
	{ name => 'quick', steps => [ { name => 'a', command => $effect } ] });
for (1 .. 3)
{
	scalar_query(
		$node, q{
			SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE backend_type = 'workflow worker'});
	is((start_and_wait($node, 'quick'))[1],
		'succeeded', 'a run does not notice that idle workers are terminated');
}

# ---------------------------------------------------------------------------
# A step that does not respond to a stop
# ---------------------------------------------------------------------------

define_package(
	$node,
	{
		name => 'stubborn',
		timeout => '1 h',
		steps => [
			{
				name => 'a',
				command => [
					"$effect;",
					'DO $$ BEGIN',
					'	LOOP BEGIN',
					'		PERFORM pg_sleep(3600);',
					'	EXCEPTION WHEN query_canceled THEN NULL;',
					'	END; END LOOP;',
					'END $$'
				]
			},
			{ name => 'b', command => $effect, after => ['a'] }
		]
	});
$run = start_job($node, 'stubborn');
$node->poll_query_until(
	'postgres', qq{
		SELECT wait_event = 'PgSleep' FROM pg_stat_activity JOIN workflow.step_history USING (pid)
		WHERE run_id = $run AND status = 'running'}) or die;
my $pid = scalar_query($node,
	"SELECT pid FROM workflow.step_history WHERE run_id = $run AND step = 'a'"
);
my ($result, $stdout, $stderr) =
  $node->psql('postgres', "SELECT workflow.stop_job($run, 'enough')");

is("$result $stdout", '0 t', 'stop_job returns though the run does not end');
like(
	$stderr,
	qr/^(?:psql:\S+ )?WARNING:  run $run has not ended yet\nDETAIL:  The process with PID $pid does not respond to the cancel request\.\nHINT:  Call workflow\.stop_job\(\) with force => true to terminate it\.$/m,
	'it names the backend');
is(status($run), 'running|||', 'the run is still running');
is( scalar_query(
		$node, "SELECT workflow.stop_job($run, 'by force', force => true)"),
	't',
	'stop_job with force ends it');
is( scalar_query(
		$node,
		"SELECT status, stopped_by = current_user, stop_reason IN ('enough', 'by force') FROM workflow.run_history WHERE run_id = $run"
	),
	'cancelled|t|t',
	'it is cancelled');
is( steps($run) =~ s/(cancelled) \w{5}/$1/r,
	'a 1 cancelled, b 0 skipped cancelled',
	'so is its step');
is( scalar_query(
		$node, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid"),
	0,
	'the backend is gone');
is(effects($run), '', 'its work is undone');

# ---------------------------------------------------------------------------
# The scheduler; then a crash
# ---------------------------------------------------------------------------

# One that a worker carries out by itself, one that the scheduler drives, one
# with a child, one that waits; all are executed once.
define_package(
	$node,
	{
		name => 'parent',
		steps => [
			{ name => 'e', command => $effect },
			{ name => 'f', kind => 'package', command => 'child', after => ['e'] }
		]
	});

sub goes_on_without
{
	my ($what, $end) = @_;

	scalar_query($node, 'TRUNCATE effect');
	$lock = hold_lock($node, 1);
	my %run =
	  map { $_ => start_job($node, $_) } qw(strict retried parent);
	wait_for_lock_waiters($node, 1, 3);
	$run{later} = scalar_query($node,
		q{SELECT workflow.start_job('quick', start_at => now() + '2 s')});
	my $scheduler =
	  scalar_query($node, 'SELECT scheduler_pid FROM workflow.agent');
	$end->($scheduler);
	$node->poll_query_until('postgres',
		"SELECT running AND scheduler_pid <> $scheduler FROM workflow.agent")
	  or die 'the agent does not come back';
	eval { $lock->quit };
	is( join(' ', map { wait_for_job($node, $run{$_}) } sort keys %run),
		'succeeded succeeded succeeded succeeded',
		"$what: all runs go on");
	is( scalar_query(
			$node,
			'SELECT string_agg(step, NULL ORDER BY step) FROM effect'),
		'aaabbcceinner',
		"$what: each step has one effect");
	is( scalar_query(
			$node, qq{
				SELECT count(*) FROM workflow.run_history
				WHERE parent_run_id = $run{parent}}),
		1,
		"$what: the child is started once");
	is( scalar_query($node, 'SELECT count(*) FROM workflow.activity'),
		0, "$what: nothing is left");
	return;
}

define_package(
	$node,
	{
		name => 'retried',
		timeout => '1 h',
		steps => [
			{ name => 'a', command => $effect },
			{ name => 'b', command => $block, after => ['a'] },
			{ name => 'c', command => $effect, after => ['b'] }
		]
	});
define_package(
	$node,
	{
		name => 'strict',
		steps => [
			{ name => 'a', command => $effect },
			{ name => 'b', command => $block, after => ['a'] },
			{ name => 'c', command => $effect, after => ['b'] }
		]
	});
goes_on_without('the scheduler is terminated',
	sub { scalar_query($node, "SELECT pg_terminate_backend($_[0])") });
goes_on_without(
	'a worker is killed',
	sub {
		my $worker = scalar_query(
			$node, q{
				SELECT min(pid) FROM pg_stat_activity
				WHERE backend_type = 'workflow worker' AND wait_event = 'advisory'});
		kill 'KILL', $worker or die "could not kill $worker";
		$node->poll_query_until('postgres',
			"SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $worker");
	});

$node->stop;
done_testing();
