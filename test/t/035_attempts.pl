# Restarts and the attempts of a package over crashes, beside each other, and
# in the foreground.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main', conf => 'max_prepared_transactions = 2');

$node->safe_psql(
	'postgres', q{
		CREATE TABLE effect (n serial, run_id bigint, step text);
		CREATE TABLE broken (step text);
		CREATE FUNCTION work() RETURNS void LANGUAGE plpgsql AS $$
		BEGIN
			INSERT INTO effect (run_id, step)
			VALUES (workflow.run_id(), workflow.step_name());
			IF workflow.step_name() IN (SELECT step FROM broken) THEN
				RAISE 'step % is broken', workflow.step_name();
			END IF;
		END $$});

my $work = 'SELECT work()';
my $block = 'SELECT pg_advisory_xact_lock_shared(1)';

# One that a worker carries out whole, and one that the scheduler drives.
my @steps = (
	{ name => 'a', command => $work },
	{ name => 'b', command => $work, after => ['a'] },
	{ name => 'c', command => "$work; $block", after => ['b'] },
	{ name => 'd', command => $work, after => ['c'] });
define_package($node, { name => 'chain', steps => \@steps });
define_package($node,
	{ name => 'driven', timeout => '1 h', steps => \@steps });
define_package(
	$node,
	{
		name => 'parent',
		steps => [
			{ name => 'p', command => $work },
			{
				name => 'q',
				kind => 'package',
				command => 'chain',
				after => ['p']
			}
		]
	});

sub break_step
{
	my (@broken) = @_;

	$node->safe_psql('postgres', 'TRUNCATE broken');
	$node->safe_psql('postgres', "INSERT INTO broken VALUES ('$_')")
	  for @broken;
	return;
}

sub effects
{
	return scalar_query($node,
		q{SELECT coalesce(string_agg(step, NULL ORDER BY step), '') FROM effect}
	);
}

sub restart_job
{
	my ($run) = @_;

	return scalar_query($node, "SELECT workflow.restart_job($run)");
}

# The run of which this one is the earlier one.
sub restart_of
{
	my ($run) = @_;

	return scalar_query($node,
		"SELECT run_id FROM workflow.run_history WHERE restart_of = $run");
}

sub await
{
	my ($query, $what) = @_;

	$node->poll_query_until('postgres', $query) or die "$what did not come";
	return;
}

sub set_enabled
{
	my ($value) = @_;

	$node->append_conf('postgresql.conf', "workflow.enabled = $value");
	$node->reload;
	await("SELECT enabled = '$value' FROM workflow.agent",
		"workflow.enabled = $value");
	return;
}

sub crash
{
	stop_immediately($node);
	$node->start;
	wait_for_agent($node);
	return;
}

# A run that has failed at b, having committed a.
sub failed_run
{
	my ($package) = @_;

	$node->safe_psql('postgres', 'TRUNCATE effect');
	break_step('b');
	my ($run, $status) = start_and_wait($node, $package);
	is($status, 'failed', "$package: the run fails");
	break_step();
	return $run;
}

#
# A restarted run is cut off by a crash.
#
my %taken_over = (
	chain => 'a|0|succeeded|restart,b|1|succeeded|,c|1|succeeded|,d|1|succeeded|',
	driven => 'a|0|succeeded|restart,b|1|succeeded|,c|1|succeeded|,d|1|succeeded|',
	parent => 'p|0|succeeded|restart,q|1|succeeded|');

for my $package (sort keys %taken_over)
{
	my $run = failed_run($package);
	my $before = effects();
	my $lock = hold_lock($node, 1);
	my $restart = restart_job($run);

	wait_for_lock_waiters($node, 1, 1);
	is( effects(),
		join('', sort split(//, $before . 'b')),
		"$package: the restart has got to c");
	crash();
	eval { $lock->quit };
	is(wait_for_job($node, $restart), 'succeeded',
		"$package: the restart goes on after a crash");
	is(effects(), join('', sort split(//, $before . 'bcd')),
		"$package: nothing was executed twice");
	is( join(
			',',
			split /\n/,
			scalar_query(
				$node, qq{
					SELECT step, attempt, status, reason
					FROM workflow.step_history WHERE run_id = $restart
					ORDER BY step, attempt})),
		$taken_over{$package},
		"$package: what was taken over is on record once");
	is( scalar_query(
			$node, qq{
				SELECT started_at >= requested_at FROM workflow.run_history
				WHERE run_id = $restart}),
		't',
		"$package: it began when it began itself");
	is( scalar_query(
			$node, qq{
				SELECT count(*), count(DISTINCT restart_of)
				FROM workflow.run_history WHERE root_run_id = $restart}),
		$package eq 'parent' ? '2|2' : '1|1',
		"$package: no run was started twice");
}

# It has not begun yet, or is paused.
for my $package ('chain', 'driven')
{
	my $run = failed_run($package);

	set_enabled('off');
	my $restart = restart_job($run);
	if ($package eq 'driven')
	{
		$node->safe_psql('postgres', "SELECT workflow.pause_job($restart)");
	}
	crash();
	is( psql_error($node, "SELECT workflow.restart_job($run)") =~
		  /ERROR: +55000: .*as run $restart\n/,
		1,
		"$package: a run is restarted once, also after a crash");
	set_enabled('on');
	$node->safe_psql('postgres', "SELECT workflow.resume_job($restart)");
	is(wait_for_job($node, $restart), 'succeeded',
		"$package: a restart that was queued is carried out");
	is(effects(), 'abcd', "$package: and has taken over what was committed");
}

#
# Attempts: a crash in the delay.
#
define_package(
	$node,
	{
		name => 'slow',
		max_attempts => 3,
		retry_delay => '1 h',
		steps => \@steps
	});
define_package(
	$node,
	{
		name => 'quick',
		max_attempts => 3,
		retry_delay => '1ms',
		steps => \@steps
	});
for my $child ('slow', 'quick')
{
	define_package(
		$node,
		{
			name => "parent of $child",
			steps => [ { name => 'p', kind => 'package', command => $child } ]
		});
}

# The status of each attempt of the runs that a run stands for.
sub attempts
{
	my ($root) = @_;

	return join ',',
	  split /\n/,
	  scalar_query(
		$node, qq{
			WITH RECURSIVE r AS (
				SELECT run_id, status, attempt FROM workflow.run_history
				WHERE run_id = $root
				UNION ALL
				SELECT n.run_id, n.status, n.attempt
				FROM r JOIN workflow.run_history AS n
				ON n.restart_of = r.run_id)
			SELECT attempt || ' ' || status FROM r ORDER BY run_id});
}

$node->safe_psql('postgres', 'TRUNCATE effect');
break_step('b');
my $run = start_job($node, 'slow');
await("SELECT count(*) = 1 FROM workflow.run_history WHERE restart_of = $run",
	'the next attempt');
is(attempts($run), '1 failed,2 queued', 'the second attempt waits');
crash();
is(attempts($run), '1 failed,2 queued', 'it does so after a crash');
is( scalar_query(
		$node,
		'SELECT wait FROM workflow.activity WHERE run = ' . restart_of($run)),
	'retry',
	'for the rest of its delay');
is(scalar_query($node, "SELECT workflow.stop_job($run)"),
	't', 'stop_job of the first attempt stops the one that waits');
is(attempts($run), '1 failed,2 cancelled', 'and no other follows');
is(wait_for_job($node, $run), 'cancelled',
	'who waits for the first attempt waits for the last');
break_step();
is(wait_for_job($node, restart_job(restart_of($run))),
	'succeeded', 'it can be restarted then');
is(effects(), 'abcd', 'with what the first attempt had committed');

# All attempts fail.
break_step('b');
$run = start_job($node, 'quick');
is(wait_for_job($node, $run), 'failed', 'all attempts have failed');
is(attempts($run), '1 failed,2 failed,3 failed', 'each of them is a run');

# A child run in its delay.
$node->safe_psql('postgres', 'TRUNCATE effect');
$run = start_job($node, 'parent of slow');
await("SELECT count(*) = 2 FROM workflow.run_history WHERE parent_run_id = $run",
	'the next attempt of the child');
crash();
my $children =
  "SELECT attempt, status FROM workflow.run_history WHERE parent_run_id = ";
await("SELECT status = 'running' FROM workflow.step_history WHERE run_id = $run",
	'the parent');
is(scalar_query($node, "$children $run ORDER BY 1"),
	"1|failed\n2|queued", 'the next attempt of a child waits after a crash');
is(scalar_query($node, "SELECT workflow.stop_job($run)"),
	't', 'the parent can be stopped');
is(wait_for_job($node, $run), 'cancelled', 'and ends');
is(scalar_query($node, "$children $run ORDER BY 1"),
	"1|failed\n2|cancelled", 'with the child');

# The delay is over; the parent is paused, so that the child has not begun.
$node->safe_psql('postgres', 'TRUNCATE effect; TRUNCATE broken');
define_package(
	$node,
	{
		name => 'quick',
		max_attempts => 3,
		retry_delay => '1ms',
		steps => [
			{ name => 'a', command => $work },
			{ name => 'b', command => "$block; $work", after => ['a'] }
		]
	});
break_step('b');
my $lock = hold_lock($node, 1);
$run = start_job($node, 'parent of quick');
wait_for_lock_waiters($node, 1, 1);
$node->safe_psql('postgres', "SELECT workflow.pause_job($run)");
$lock->quit;
await("SELECT count(*) = 2 FROM workflow.run_history WHERE parent_run_id = $run",
	'the next attempt of the child');
break_step();
crash();
is(scalar_query($node, "$children $run ORDER BY 1"),
	"1|failed\n2|queued", 'a child of a paused run does not begin');
$node->safe_psql('postgres', "SELECT workflow.resume_job($run)");
is(wait_for_job($node, $run), 'succeeded', 'it goes on after the pause');
is(scalar_query($node, "$children $run ORDER BY 1"),
	"1|failed\n2|succeeded", 'with the attempt that there was');
is(effects(), 'ab', 'and with what the first one had committed');

#
# Two restarts at once: the second waits for the first.
#
for my $end ('COMMIT', 'ROLLBACK')
{
	$run = failed_run('chain');
	my $first = $node->background_psql('postgres');
	my $second =
	  $node->background_psql('postgres', on_error_stop => 0);
	$first->query_safe('BEGIN');
	my $restart = $first->query_safe("SELECT workflow.restart_job($run)");
	$second->query_until(qr/asked/,
		"\\echo asked\nSELECT workflow.restart_job($run);\n");
	await(
		q{SELECT count(*) = 1 FROM pg_locks WHERE NOT granted
		  AND classid = 'workflow.run_restart'::regclass},
		'the second restart');
	$first->query_safe($end);
	$second->query('SELECT 1');
	$first->quit;
	$second->quit;
	is( scalar_query(
			$node,
			"SELECT count(*), count(*) FILTER (WHERE run_id = $restart) "
			  . "FROM workflow.run_history WHERE restart_of = $run"),
		$end eq 'COMMIT' ? '1|1' : '1|0',
		"$end of the first restart: there is one");
	is(wait_for_job($node, restart_of($run)), 'succeeded', 'it is carried out');
	is(effects(), 'abcd', 'and executes nothing twice');
}

# A prepared transaction
$run = failed_run('chain');
$node->safe_psql('postgres',
	"BEGIN; SELECT workflow.restart_job($run); PREPARE TRANSACTION 'restart'");
is(restart_of($run), '', 'a restart that is prepared is none');
$node->safe_psql('postgres', "COMMIT PREPARED 'restart'");
is(wait_for_job($node, restart_of($run)), 'succeeded', 'it is, once committed');
is(effects(), 'abcd', 'and executes nothing twice');

#
# In the foreground
#
my ($result, $stdout, $stderr);

$run = failed_run('chain');
my $restart = restart_job($run);
($result, $stdout, $stderr) =
  $node->psql('postgres', "CALL workflow.watch_job($restart)");
is($result, 0, 'watch_job of a restart');
like(
	$stderr,
	qr/^.*NOTICE: +step "a" succeeded before the restart\nDETAIL:  1 of 4 steps.*NOTICE: +step "b" succeeded in [0-9.]+ s\nDETAIL:  2 of 4 steps/s,
	'it says what was taken over');

$node->safe_psql('postgres', 'TRUNCATE effect');
define_package(
	$node,
	{
		name => 'retried',
		max_attempts => 2,
		retry_delay => '1ms',
		steps => [
			{ name => 'a', command => $work },
			{
				name => 'b',
				command =>
				  "SELECT 1 / (count(*) - 1) FROM workflow.run_history WHERE package = 'retried'",
				after => ['a']
			}
		]
	});
($result, $stdout, $stderr) =
  $node->psql('postgres', "CALL workflow.run_job('retried')");
is($result, 0, 'run_job follows to the last attempt');
like(
	$stderr,
	qr/step "a" succeeded in [^\n]*\nDETAIL:  1 of 2 steps.*step "b" failed: division by zero\nDETAIL:  2 of 2 steps.*run \d+ failed, the next attempt is run \d+: division by zero\n.*step "a" succeeded before the restart\nDETAIL:  1 of 2 steps.*step "b" succeeded in .*run \d+ succeeded, 0 steps failed$/s,
	'and tells of each');
define_package(
	$node,
	{
		name => 'retried',
		max_attempts => 2,
		retry_delay => '1ms',
		steps => [ { name => 'a', command => 'SELECT 1 / 0' } ]
	});
($result, $stdout, $stderr) = $node->psql('postgres',
	"CALL workflow.run_job('retried', verbose => false)");
isnt($result, 0, 'run_job fails with the last attempt');
my $last = scalar_query($node,
	'SELECT max(run_id) FROM workflow.run_history');
like($stderr, qr/ERROR: +run $last failed: division by zero/,
	'and names it');
is($stderr =~ /NOTICE/ ? 1 : 0, 0, 'and shows nothing else if not verbose');

$node->stop;
done_testing();
