# Processes and servers that go away while a package transaction is open: what
# was committed is not executed again, what was not is executed again or
# fails, and nothing is left half done.  Each with both drivers.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use WorkflowTest;

my $node = new_node('main', conf => "restart_after_crash = on
			 workflow.commit_mode = synchronous");

$node->safe_psql('postgres', 'CREATE TABLE effect (n serial, run_id bigint, step text)');

# A step of a chain, each after the one before, if that has succeeded or not.
my $effect =
  'INSERT INTO effect (run_id, step) SELECT workflow.run_id(), workflow.step_name()';
my $pass = 'SELECT pg_advisory_lock_shared(1), pg_advisory_unlock_shared(1)';

sub joins
{
	my ($name, %options) = @_;

	return {
		name => $name,
		join_transaction => $true,
		command => $effect,
		%options
	};
}

sub chain
{
	my ($name, $driven, @steps) = @_;

	$steps[$_]{after} = [ { step => $steps[ $_ - 1 ]{name}, on => 'completion' } ]
	  for 1 .. $#steps;
	define_package(
		$node,
		{
			name => $name,
			fail_on_first_error => $false,
			steps => \@steps,
			# with a time-out the scheduler drives the run
			$driven ? (timeout => '1 h') : ()
		});
	return $name;
}

# The first transaction is committed, the second one is open when it stops at c.
sub long_chain
{
	my ($driven) = @_;

	return chain(
		$driven ? 'driven' : 'inline', $driven,
		joins('a', commit_on_success => $true),
		joins('b'),
		joins('c', command => "$effect; $pass"),
		joins('d'));
}

sub effects
{
	my ($run) = @_;

	return scalar_query($node,
		"SELECT string_agg(step, ' ' ORDER BY n) FROM effect WHERE run_id = $run");
}

sub steps
{
	my ($run) = @_;

	return scalar_query(
		$node, qq{
			SELECT string_agg(concat_ws(' ', step, CASE WHEN attempt > 1 THEN attempt END, status, reason, sqlstate), ', ' ORDER BY step, attempt)
			FROM workflow.step_history WHERE run_id = $run});
}

sub transactions
{
	my ($run) = @_;

	return scalar_query(
		$node, qq{
			SELECT string_agg(concat_ws(' ', number, status, steps, error), ', ' ORDER BY number)
			FROM workflow.transaction_history WHERE run_id = $run});
}

sub run_error
{
	my ($run) = @_;

	return scalar_query($node,
		"SELECT concat_ws(' ', status, failed_steps, error_path, sqlstate)
		 FROM workflow.run_history WHERE run_id = $run");
}

# The process that is the branch of the open transaction.
sub branch_pid
{
	my ($run) = @_;

	return scalar_query(
		$node, qq{
			SELECT DISTINCT pid FROM workflow.step_history
			WHERE run_id = $run AND transaction_status = 'active'});
}

# Start a package and let it come to where it waits for our lock.
sub start_to_lock
{
	my ($package) = @_;
	my $lock = hold_lock($node, 1);
	my $run = start_job($node, $package);

	wait_for_lock_waiters($node, 1, 1);
	return ($run, $lock);
}

sub wait_for_log
{
	my ($pattern, $offset) = @_;

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return if slurp_file($node->logfile, $offset) =~ $pattern;
		usleep(100_000);
	}
	die "this is not logged: $pattern";
}

# The agent is there again, a server too that has restarted by itself.
sub wait_for_server
{
	$node->poll_query_until('postgres',
		'SELECT running FROM workflow.agent WHERE NOT pg_is_in_recovery()')
	  or die 'the agent does not come back';
	return;
}

# ---------------------------------------------------------------------------
# What takes up the run from the record: the whole transaction is repeated
# ---------------------------------------------------------------------------

my %accident = (
	'immediate shutdown' => sub { stop_immediately($node); $node->start },
	'fast shutdown' => sub { $node->stop('fast'); $node->start },
	'restart' => sub { $node->restart },
	'SIGKILL of the branch' => sub {
		my ($run) = @_;
		my $offset = -s $node->logfile;

		is(kill('KILL', branch_pid($run)), 1, 'the branch is there to be killed');
		wait_for_log(qr/reinitializing.*ready to accept connections/s, $offset);
	});

for my $driven (0, 1)
{
	for my $accident (sort keys %accident)
	{
		my $package = long_chain($driven);
		my ($run, $lock) = start_to_lock($package);
		my $name = "$package, $accident";

		is(effects($run), 'a', "$name: the first transaction is committed");
		is(transactions($run), '1 committed 1, 2 active 1', "$name: the second is open");
		my $times = "SELECT started_at, finished_at FROM workflow.step_history WHERE run_id = $run AND step = 'a'";
		my $before = scalar_query($node, $times);
		$accident{$accident}->($run);
		eval { $lock->quit };
		wait_for_server();
		is(wait_for_job($node, $run), 'succeeded', "$name: the run goes on");
		is(effects($run), 'a b c d', "$name: everything was executed once");
		is(scalar_query($node, $times), $before, "$name: what was committed was not repeated");
		is(transactions($run), '1 committed 1, 2 committed 3', "$name: its transactions");
		is( steps($run),
			'a succeeded, b succeeded, c succeeded, d succeeded',
			"$name: its steps");
		is_idle($node);
	}
}

# Without its scheduler an inline run goes on; one that is driven is taken up.
for my $driven (0, 1)
{
	my $package = long_chain($driven);
	my ($run, $lock) = start_to_lock($package);
	my $scheduler = scalar_query($node, 'SELECT scheduler_pid FROM workflow.agent');

	is(scalar_query($node, "SELECT pg_terminate_backend($scheduler)"),
		't', "$package: the scheduler is terminated");
	$node->poll_query_until('postgres',
		"SELECT running AND scheduler_pid <> $scheduler FROM workflow.agent")
	  or die 'there is no other scheduler';
	$lock->quit;
	is(wait_for_job($node, $run), 'succeeded', "$package: the run goes on");
	is(effects($run), 'a b c d', "$package: everything was executed once");
	is(transactions($run), '1 committed 1, 2 committed 3', "$package: its transactions");
	is_idle($node);
}

# ---------------------------------------------------------------------------
# pg_terminate_backend of the branch: the transaction is lost (D25)
# ---------------------------------------------------------------------------

sub terminate_branch
{
	my ($run) = @_;
	my $pid = branch_pid($run);

	is(scalar_query($node, "SELECT pg_terminate_backend($pid, 60000)"),
		't', 'the branch is terminated');
	return;
}

my $lost = 'the session of the transaction was lost: '
  . 'terminating background worker "workflow worker" due to administrator command';

# While a step executes: that fails with it, and who joins next fails the package.
for my $driven (0, 1)
{
	my $package = long_chain($driven);
	my ($run, $lock) = start_to_lock($package);

	terminate_branch($run);
	is(wait_for_job($node, $run), 'failed', "$package, terminated in a step: the run fails");
	is( steps($run),
		'a succeeded, b succeeded, c failed 57P01, d failed 25P02',
		"$package, terminated in a step: its steps");
	is(run_error($run), 'failed 2 d 25P02', "$package, terminated in a step: its error");
	is(effects($run), 'a', "$package, terminated in a step: nothing of it is left");
	like(transactions($run), qr/^1 committed 1, 2 rolled_back \d \Q$lost\E$/,
		"$package, terminated in a step: its transactions");
	$lock->quit;
	is_idle($node);
}

# A rollback by the step itself acknowledges it: the next one joins a new transaction.
for my $driven (0, 1)
{
	my $package = chain(
		'acknowledged', $driven, joins('a'),
		joins('b', command => "$effect; $pass", rollback_on_failure => $true),
		joins('c'));
	my ($run, $lock) = start_to_lock($package);

	terminate_branch($run);
	is(wait_for_job($node, $run), 'succeeded', 'acknowledged: the run goes on');
	is(steps($run), 'a succeeded, b failed 57P01, c succeeded', 'acknowledged: its steps');
	is(effects($run), 'c', 'acknowledged: what is left');
	like(transactions($run), qr/^1 rolled_back \d .*, 2 committed 1$/,
		'acknowledged: its transactions');
	$lock->quit;
	is_idle($node);
}

# Between two steps, while another session has one of the run.
{
	my $package = chain(
		'idle', 1, joins('a'), { name => 'b', command => "$effect; $pass" },
		joins('c'), { name => 'd', command => $effect });
	my ($run, $lock) = start_to_lock($package);

	terminate_branch($run);
	$node->poll_query_until('postgres',
		"SELECT status = 'rolled_back' FROM workflow.transaction_history WHERE run_id = $run")
	  or die 'the transaction is still there';
	is(steps($run), 'a succeeded, b running, c waiting, d waiting',
		'terminated between steps: who does not work in it goes on');
	$lock->quit;
	is(wait_for_job($node, $run), 'failed', 'terminated between steps: the run fails');
	is( steps($run),
		'a succeeded, b succeeded, c failed 25P02, d skipped package failed',
		'terminated between steps: its steps');
	is(run_error($run), 'failed 1 c 25P02', 'terminated between steps: its error');
	is(effects($run), 'b', 'terminated between steps: what is left');
	is(transactions($run), "1 rolled_back 1 $lost", 'terminated between steps: its transactions');
	is_idle($node);
}

# Between two steps of a run that is paused.
for my $driven (0, 1)
{
	my $package = long_chain($driven);
	my ($run, $lock) = start_to_lock($package);

	scalar_query($node, "SELECT workflow.pause_job($run)");
	$lock->quit;
	$node->poll_query_until('postgres',
		"SELECT status = 'succeeded' FROM workflow.step_history WHERE run_id = $run AND step = 'c'")
	  or die 'step c does not end';
	terminate_branch($run);
	$node->poll_query_until('postgres',
		"SELECT status = 'rolled_back' FROM workflow.transaction_history WHERE run_id = $run AND number = 2")
	  or die 'the transaction is still there';
	scalar_query($node, "SELECT workflow.resume_job($run)");
	is(wait_for_job($node, $run), 'failed', "$package, terminated in a pause: the run fails");
	is( steps($run),
		'a succeeded, b succeeded, c succeeded, d failed 25P02',
		"$package, terminated in a pause: its steps");
	is(effects($run), 'a', "$package, terminated in a pause: what is left");
	is(transactions($run), "1 committed 1, 2 rolled_back 2 $lost",
		"$package, terminated in a pause: its transactions");
	is_idle($node);
}

# ---------------------------------------------------------------------------
# A transaction that was rolled back before the server was: still invalid
# ---------------------------------------------------------------------------

chain('child', 0, joins('x', command => 'SELECT 1 / 0', rollback_on_failure => $true));
for my $last (joins('d'), { name => 'd', command => $effect, commit_on_success => $true })
{
	my $package = chain(
		'invalid', 1, joins('a'),
		joins('b', kind => 'package', command => 'child'),
		{ name => 'c', command => $pass }, $last);
	my ($run, $lock) = start_to_lock($package);
	my $name = $last->{join_transaction} ? 'who joins' : 'who commits';

	stop_immediately($node);
	eval { $lock->quit };
	$node->start;
	is(wait_for_job($node, $run), 'failed',
		"rolled back by a child before a crash: $name fails the package");
	is( steps($run),
		'a succeeded, b succeeded, c succeeded, '
		  . ($last->{join_transaction} ? 'd failed 25P02' : 'd succeeded, d 2 failed 25P02'),
		"$name: steps");
	is(run_error($run), 'failed 1 d 25P02', "$name: the error");
	is(transactions($run), '1 rolled_back 2 step "x" of package "child" failed: division by zero',
		"$name: transactions");
	is_idle($node);
}

# A step that joined the next transaction, since it started when the one before
# had ended, does not get into that one because what it waited for is answered
# first.
for my $ender ({ commit_on_success => $true },
	{ rollback_on_failure => $true, command => 'SELECT 1 / 0' })
{
	define_package(
		$node,
		{
			name => 'next',
			fail_on_first_error => $false,
			steps => [
				joins('a'),
				{ name => 'b', priority => 1, after => ['a'], command => $pass },
				{ name => 'c', after => ['a'], command => $effect, %$ender },
				joins(
					'd',
					priority => 2,
					after => ['b'],
					command => "$effect; " . $pass =~ s/1/2/gr),
				joins('e', after => ['d'])
			]
		});
	my $second = hold_lock($node, 2);
	my ($run, $first) = start_to_lock('next');
	my $name = $ender->{command} ? 'rolled back' : 'committed';
	my $status = $name =~ s/ /_/r;

	$node->poll_query_until('postgres',
		"SELECT status = '$status' FROM workflow.transaction_history WHERE run_id = $run")
	  or die 'the first transaction does not end';
	$first->quit;
	wait_for_lock_waiters($node, 2, 1);
	stop_immediately($node);
	eval { $second->quit };
	$node->start;
	is(wait_for_job($node, $run), 'succeeded', "after one that was $name: the run goes on");
	is(effects($run), $ender->{command} ? 'd e' : 'a c d e',
		"after one that was $name: what is left");
	like(transactions($run), qr/^1 $status 1(?: [^,]*)?, 2 committed 2$/,
		"after one that was $name: the transactions");
	is_idle($node);
}

my $log = slurp_file($node->logfile);
unlike($log, qr/^.*(?:duplicate key|PANIC|TRAP).*$/m, 'nothing was recorded twice');

$node->stop;
done_testing();
