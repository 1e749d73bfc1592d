# The command-line runner: CALL run_job and CALL watch_job through psql, what
# they show, the exit status of psql, Ctrl-C.  NOTIFY of a step, too, since
# psql shows it.

use strict;
use warnings;

use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main');
$node->safe_psql('postgres', 'CREATE TABLE effect (what text)');

# psql -c, as a user calls it from a shell: exit status, stdout, stderr
sub psql_c
{
	my @commands = map { ('-c', $_) } @_;
	my ($stdout, $stderr) = ('', '');
	my $finished = IPC::Run::run(
		[
			$node->installed_command('psql'), '-X', '-d',
			$node->connstr('postgres'), @commands
		],
		'<', \undef, '>', \$stdout, '2>', \$stderr);

	return ($? >> 8, $stdout, $stderr);
}

# without what differs from run to run
sub plain
{
	my ($text) = @_;

	$text =~ s/\brun \d+/run N/g;
	$text =~ s/\d+\.\d{3} s/T s/g;
	$text =~ s/\d+ running, \d\d:\d\d:\d\d/N running, HH:MM:SS/g;
	$text =~ s/NOTICE:  \d+ of \d+ steps,.*\n//g;    # some steps have begun
	return $text;
}

sub last_run
{
	my ($package) = @_;

	return scalar_query($node,
		"SELECT max(run_id) FROM workflow.run_history WHERE package = '$package'"
	);
}

sub status
{
	my ($run) = @_;

	return scalar_query($node,
		"SELECT status FROM workflow.run_history WHERE run_id = $run");
}

# A run that succeeds.
define_package(
	$node,
	{
		name => 'good',
		variables => { day => undef },
		steps => [
			{ name => 'one', command => 'SELECT 1' },
			{
				name => 'two',
				command =>
				  q{INSERT INTO effect VALUES (workflow.variable('day'))},
				after => ['one']
			},
			{
				name => 'three',
				kind => 'none',
				condition => 'false',
				after => ['two']
			}
		]
	});
my ($exit, $stdout, $stderr) =
  psql_c(q{CALL workflow.run_job('good', '{"day": "today"}')});
is($exit, 0, 'psql exits with 0 when the run succeeds');
is( plain($stderr),
	q{NOTICE:  step "one" succeeded in T s
DETAIL:  1 of 3 steps, N running, HH:MM:SS
NOTICE:  step "two" succeeded in T s
DETAIL:  2 of 3 steps, N running, HH:MM:SS
NOTICE:  step "three" skipped: condition
DETAIL:  3 of 3 steps, N running, HH:MM:SS
NOTICE:  run N succeeded, 0 steps failed
}, 'each step is shown as it ends');
is($stdout, "CALL\n", 'CALL is all that is printed');
is(scalar_query($node, 'SELECT what FROM effect'),
	'today', 'the variables are passed');

($exit, $stdout, $stderr) =
  psql_c(q{CALL workflow.run_job('good', verbose => false)});
is($exit, 0, 'psql exits with 0');
is($stderr, '', 'nothing is shown if it is not to be verbose');

# A run that fails.
define_package(
	$node,
	{
		name => 'bad',
		steps => [
			{ name => 'one', command => 'SELECT 1' },
			{ name => 'two', command => 'SELECT 1 / 0', after => ['one'] },
			{ name => 'three', command => 'SELECT 1', after => ['two'] }
		]
	});
($exit, $stdout, $stderr) = psql_c(q{CALL workflow.run_job('bad')});
is($exit, 1, 'psql exits with 1 when the run fails');
is( plain($stderr),
	q{NOTICE:  step "one" succeeded in T s
DETAIL:  1 of 3 steps, N running, HH:MM:SS
NOTICE:  step "two" failed: division by zero
DETAIL:  2 of 3 steps, N running, HH:MM:SS
NOTICE:  step "three" skipped: constraint
DETAIL:  3 of 3 steps, N running, HH:MM:SS
ERROR:  run N failed: division by zero
DETAIL:  It failed at step "two".
}, 'the error is that of the run');
my $run = last_run('bad');
($exit, $stdout, $stderr) = psql_c("CALL workflow.watch_job($run)");
is($exit, 1, 'watching a run that has failed');
like($stderr, qr/^ERROR:  run \d+ failed: division by zero$/m, 'tells so');
($exit, $stdout, $stderr) =
  psql_c(q{CALL workflow.run_job('bad', verbose => false)});
is($exit, 1, 'psql exits with 1, too, if it is not to be verbose');
unlike($stderr, qr/NOTICE/, 'and only the error is shown');

# Errors of start_job: nothing is started.
($exit, $stdout, $stderr) = psql_c(q{CALL workflow.run_job('nobody')});
is($exit, 1, 'psql exits with 1 when there is no such package');
like($stderr, qr/^ERROR:  package "nobody" does not exist$/m, 'says so');
($exit, $stdout, $stderr) =
  psql_c(q{BEGIN; CALL workflow.run_job('good'); COMMIT});
is($exit, 1, 'not in a transaction block');
like($stderr, qr/cannot be called in a transaction block/, 'says so');

# A package that puts up with failures succeeds; they are counted.
define_package(
	$node,
	{
		name => 'lax',
		fail_on_first_error => $false,
		steps => [ { name => 'one', command => 'SELECT 1 / 0' } ]
	});
($exit, $stdout, $stderr) = psql_c(q{CALL workflow.run_job('lax')});
is($exit, 0, 'psql exits with 0 when failures are put up with');
like($stderr, qr/succeeded, 1 steps? failed/, 'the failed steps are counted');

# Steps are shown while the run goes on.
define_package(
	$node,
	{
		name => 'slow',
		steps => [
			{ name => 'one', command => 'SELECT 1' },
			{
				name => 'two',
				command =>
				  q{INSERT INTO effect VALUES ('slow'); SELECT pg_advisory_xact_lock_shared(1)},
				after => ['one']
			},
			{ name => 'three', command => 'SELECT 1', after => ['two'] }
		]
	});

sub begin_psql
{
	my ($command, $out) = @_;

	$$out = '';
	return IPC::Run::start(
		[
			$node->installed_command('psql'), '-X', '-d',
			$node->connstr('postgres'), '-c', $command
		],
		'<', \undef, '>', $out, '2>&1',
		IPC::Run::timer($PostgreSQL::Test::Utils::timeout_default));
}

my $lock = hold_lock($node, 1);
my $shown;
my $psql = begin_psql(q{CALL workflow.run_job('slow')}, \$shown);
ok(pump_until($psql, IPC::Run::timeout(60), \$shown, qr/step "one" succeeded/),
	'a step is shown before the run ends');
wait_for_lock_waiters($node, 1, 1);
is(status(last_run('slow')), 'running', 'the run is running');
is( scalar_query(
		$node, q{
			SELECT count(*) FROM pg_stat_activity
			WHERE query LIKE 'CALL workflow.run_job%' AND backend_xid IS NOT NULL
			   OR query LIKE 'CALL workflow.run_job%' AND state LIKE 'idle in transaction%'}
	),
	0,
	'who waits holds no transaction number');

# Somebody else watches it.
my $watched;
my $watcher =
  begin_psql('CALL workflow.watch_job(' . last_run('slow') . ')', \$watched);
ok( pump_until(
		$watcher, IPC::Run::timeout(60),
		\$watched, qr/step "one" succeeded/),
	'a watcher is shown what had ended before');
$lock->quit;
$psql->finish;
$watcher->finish;
is($psql->result(0), 0, 'psql exits with 0 at the end');
is($watcher->result(0), 0, 'so does the watcher');
like($shown, qr/step "three" succeeded.*run \d+ succeeded/s, 'all is shown');
like($watched, qr/step "three" succeeded.*run \d+ succeeded/s,
	'to the watcher, too');

# What a step reports of its progress is shown while it is running, and what
# else runs; a step that is tried again is no end of it.
define_package(
	$node,
	{
		name => 'reports',
		fail_on_first_error => $false,
		steps => [
			{
				name => 'load',
				command =>
				  q{SELECT workflow.report_progress(5, 10, 'half'); SELECT pg_advisory_xact_lock_shared(1); SELECT workflow.report_progress(10, 10); SELECT pg_advisory_xact_lock_shared(2)}
			},
			{
				name => 'again',
				max_attempts => 2,
				retry_delay => '0s',
				command => 'SELECT 1 / 0'
			},
			{ name => 'silent', command => 'SELECT pg_advisory_xact_lock_shared(2)' },
			{ name => 'after', command => 'SELECT 1', after => [ 'load', 'silent' ] }
		]
	});
$lock = hold_lock($node, 1);
my $second_lock = hold_lock($node, 2);
$psql = begin_psql(q{CALL workflow.run_job('reports')}, \$shown);
ok( pump_until(
		$psql, IPC::Run::timeout(60), \$shown,
		qr/NOTICE:  step "load": 5 of 10, half\nDETAIL:  1 of 4 steps, 2 running, \d\d:\d\d:\d\d\n/
	),
	'the progress of a step is shown');
like(
	$shown,
	qr/NOTICE:  step "again" failed at attempt 1 of 2: division by zero\nDETAIL:  0 of 4 steps.*NOTICE:  step "again" failed at attempt 2 of 2: division by zero\nDETAIL:  1 of 4 steps/s,
	'after each attempt of another one');
$watcher =
  begin_psql('CALL workflow.watch_job(' . last_run('reports') . ')',
	\$watched);
ok( pump_until(
		$watcher, IPC::Run::timeout(60),
		\$watched,
		qr/step "again".*attempt 1 of 2.*step "again".*attempt 2 of 2.*step "load": 5 of 10, half\n/s
	),
	'a watcher sees it, too');
$lock->quit;
ok( pump_until(
		$psql, IPC::Run::timeout(60), \$shown,
		qr/NOTICE:  step "load": 10 of 10\nDETAIL:  1 of 4 steps, 2 running/
	),
	'so is further progress');
$second_lock->quit;
$_->finish for ($psql, $watcher);
is($psql->result(0), 0, 'psql exits with 0');
is(() = $shown =~ /step "load": 5 of 10/g, 1, 'what did not change is shown once');
like(
	$shown,
	qr/step "after" succeeded in [0-9.]+ s\nDETAIL:  4 of 4 steps, 0 running, \d\d:\d\d:\d\d\nNOTICE:  run \d+ succeeded, 1 steps failed\n/,
	'at the end all have ended');
($exit, $stdout, $stderr) =
  psql_c('CALL workflow.watch_job(' . last_run('reports') . ')');
is($exit, 0, 'watching a run that has ended');
is(() = $stderr =~ /^DETAIL:  /mg, 5, 'shows each attempt');
unlike($stderr, qr/[1-9]\d* running|of 10/, 'and no progress');

# Ctrl-C
scalar_query($node, 'TRUNCATE effect');
$lock = hold_lock($node, 1);
$psql = begin_psql(q{CALL workflow.run_job('slow')}, \$shown);
wait_for_lock_waiters($node, 1, 1);
$run = last_run('slow');
$watcher = begin_psql("CALL workflow.watch_job($run)", \$watched);
pump_until($watcher, IPC::Run::timeout(60),
	\$watched, qr/step "one" succeeded/);

# that of a watcher stops the watching only
$watcher->signal('INT');
$watcher->finish;
isnt($watcher->result(0), 0, 'psql of a watcher that is interrupted fails');
like($watched, qr/canceling statement due to user request/, 'says why');
is(status($run), 'running', 'the run goes on');
is(lock_waiters($node, 1), 1, 'its step waits for the lock still');

$psql->signal('INT');
$psql->finish;
isnt($psql->result(0), 0, 'psql that is interrupted fails');
is(wait_for_job($node, $run), 'cancelled', 'the run is stopped by Ctrl-C');
is( scalar_query(
		$node, qq{
			SELECT string_agg(concat_ws(' ', step, status, reason), ', ' ORDER BY step)
			FROM workflow.step_history WHERE run_id = $run}),
	'one succeeded, three skipped cancelled, two cancelled',
	'its step is cancelled');
is( scalar_query(
		$node, qq{
			SELECT stopped_by = current_user, stop_reason
			FROM workflow.run_history WHERE run_id = $run}),
	't|run_job() was cancelled',
	'it tells who stopped it');
is(scalar_query($node, 'SELECT count(*) FROM effect'),
	0, 'its work is undone');
is(lock_waiters($node, 1), 0, 'nobody waits for the lock any more');

# A run that somebody else stops.
$psql = begin_psql(q{CALL workflow.run_job('slow')}, \$shown);
wait_for_lock_waiters($node, 1, 1);
$run = last_run('slow');
is(scalar_query($node, "SELECT workflow.stop_job($run)"),
	't', 'somebody else stops the run');
$psql->finish;
is($psql->result(0), 1, 'psql exits with 1');
like($shown, qr/^ERROR:  run $run was cancelled$/m, 'says why');

# psql that is killed: the run goes on.
$psql = begin_psql(q{CALL workflow.run_job('slow')}, \$shown);
wait_for_lock_waiters($node, 1, 1);
$run = last_run('slow');
$psql->signal('KILL');
$psql->finish;
is(status($run), 'running', 'the run goes on when psql is gone');
$lock->quit;
is(wait_for_job($node, $run), 'succeeded', 'to its end');

# A step's NOTIFY is heard when the step succeeds, and only then.
define_package(
	$node,
	{
		name => 'notify',
		fail_on_first_error => $false,
		steps => [
			{ name => 'a', command => q{NOTIFY heard, 'lost'; SELECT 1 / 0} },
			{
				name => 'b',
				command => q{NOTIFY heard, 'kept'},
				after => [ { step => 'a', on => 'failure' } ]
			}
		]
	});
($exit, $stdout, $stderr) = psql_c(
	'LISTEN heard',
	q{CALL workflow.run_job('notify', verbose => false)},
	'SELECT 1');
like($stdout, qr/notification "heard" with payload "kept"/,
	'NOTIFY of a step that succeeded');
unlike($stdout, qr/lost/, 'but not of one that failed');

$node->stop;
done_testing();
