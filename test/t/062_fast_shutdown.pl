# A fast shutdown, whatever the agent's processes wait for: all of them leave
# by themselves, no step fails of it, and after the start the runs go on.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WorkflowTest;

my $node = new_node(
	'main',
	conf => q{
		autovacuum = off
		wal_level = replica
		max_wal_senders = 2
		restart_after_crash = off});

$node->safe_psql(
	'postgres', q{
		CREATE TABLE gate ();
		CREATE TABLE effect (run_id bigint, step text)});

# Stop the server as an administrator does, and start it again.
sub restart
{
	my ($name, $configure) = @_;
	my $offset = -s $node->logfile;
	my $begin = time;
	my $stopped;

	{
		local $ENV{PGCTLTIMEOUT} = 10;
		$stopped = $node->stop('fast', fail_ok => 1);
	}
	ok($stopped, "$name: the server stops");
	diag(sprintf('%s: stopped after %.2f s', $name, time - $begin));
	$node->stop('immediate') if !$stopped;
	my $log = slurp_file($node->logfile, $offset);
	like($log, qr/LOG:  database system is shut down$/m, "$name: in order");
	unlike(
		$log,
		qr/PANIC|TRAP|terminated by signal|immediate shutdown|SIGKILL|abnormal/,
		"$name: every process leaves by itself");
	&$configure() if defined $configure;
	$node->start;
	return;
}

# A step that leaves a row, and then waits: see %wait.
sub step
{
	my ($name, $wait, @more) = @_;

	return {
		name => $name,
		command =>
		  "INSERT INTO effect VALUES (workflow.run_id(), '$name'); $wait",
		@more
	};
}

sub steps_of
{
	my ($run) = @_;

	return scalar_query(
		$node, qq{
			SELECT string_agg(concat_ws(' ', step, attempt, status), ', ' ORDER BY step)
			FROM workflow.step_history WHERE run_id = $run});
}

sub effects_of
{
	my ($run) = @_;

	return scalar_query($node,
		"SELECT string_agg(step, ' ' ORDER BY step) FROM effect WHERE run_id = $run"
	);
}

# Wait until a step executes, and its backend does what is expected.
sub wait_for_step
{
	my ($run, $step, $event) = @_;

	$node->poll_query_until(
		'postgres', qq{
			SELECT EXISTS (
				SELECT FROM workflow.step_history JOIN pg_stat_activity USING (pid)
				WHERE run_id = $run AND step = '$step' AND status = 'running'
				  AND $event)})
	  or die "step $step does not wait";
	return;
}

restart('idle');
wait_for_agent($node);

# ---------------------------------------------------------------------------
# In a statement.  What waits does so until there is a row in gate when it
# begins: it is inserted before the shutdown, and counts after it.
# ---------------------------------------------------------------------------

my $endless = 'CASE WHEN EXISTS (SELECT FROM gate) THEN 1 ELSE 1000000000000 END';
my %wait = (
	'a long query' => [
		"SELECT count(*) FROM (SELECT generate_series(1::bigint, $endless)) AS s",
		'a.wait_event IS NULL'
	],
	'pg_sleep' => [
		'SELECT pg_sleep(CASE WHEN EXISTS (SELECT FROM gate) THEN 0 ELSE 3600 END)',
		q{a.wait_event = 'PgSleep'}
	],
	'a lock' => [
		'SELECT pg_advisory_xact_lock_shared(1)',
		q{a.wait_event_type = 'Lock'}
	],
	'a COPY' => [
		"COPY (SELECT generate_series(1::bigint, $endless)) TO '/dev/null'",
		q{a.query LIKE '%COPY%'}
	]);

for my $name (sort keys %wait)
{
	my ($command, $event) = @{ $wait{$name} };
	my $lock = hold_lock($node, 1);
	my %run;

	$event =~ s/\ba\.//g;
	$event = 'true' if $name =~ /query|COPY/;
	$node->safe_psql('postgres', 'DELETE FROM gate');

	# carried out by a worker alone, driven by the scheduler, and in a package
	# transaction
	for my $kind (qw(alone driven joined))
	{
		define_package(
			$node,
			{
				name => $kind,
				$kind eq 'driven' ? (timeout => '1 h') : (),
				steps => [
					step('a', 'SELECT 1',
						$kind eq 'joined' ? (join_transaction => $true) : ()),
					step('b', $command, after => ['a'],
						$kind eq 'joined' ? (join_transaction => $true) : ()),
					step('c', 'SELECT 1', after => ['b'])
				]
			});
		$run{$kind} = start_job($node, $kind);
	}
	wait_for_step($run{$_}, 'b', $event) for sort keys %run;
	$node->safe_psql('postgres', 'INSERT INTO gate DEFAULT VALUES');
	restart($name);
	eval { $lock->quit };
	for my $kind (sort keys %run)
	{
		is(wait_for_job($node, $run{$kind}),
			'succeeded', "$name: a run goes on ($kind)");
		is(steps_of($run{$kind}), 'a 1 succeeded, b 1 succeeded, c 1 succeeded',
			"$name: no step has failed of it");
		is(effects_of($run{$kind}), 'a b c', "$name: each has its effect once");
	}
}

# ---------------------------------------------------------------------------
# A package transaction that is open and idle; a run that is paused in one
# ---------------------------------------------------------------------------

$node->safe_psql('postgres', 'DELETE FROM gate');
define_package(
	$node,
	{
		name => 'idle',
		steps => [
			step('a', 'SELECT 1', join_transaction => $true),
			step('b', $wait{pg_sleep}[0], after => ['a']),
			step('c', 'SELECT 1', join_transaction => $true, after => ['b'])
		]
	});
my $run = start_job($node, 'idle');
wait_for_step($run, 'b', q{wait_event = 'PgSleep'});
is( scalar_query(
		$node, q{
			SELECT count(*) FROM pg_stat_activity
			WHERE backend_type = 'workflow worker' AND state = 'idle in transaction'}
	),
	1,
	'a package transaction is open');
$node->safe_psql('postgres', 'INSERT INTO gate DEFAULT VALUES');
restart('an idle package transaction');
is(wait_for_job($node, $run), 'succeeded',
	'an idle package transaction: the run goes on');
is(effects_of($run), 'a b c', 'each step has its effect once');

for my $kind (qw(alone driven))
{
	my $lock = hold_lock($node, 1);

	define_package(
		$node,
		{
			name => 'paused',
			$kind eq 'driven' ? (timeout => '1 h') : (),
			steps => [
				step('a', 'SELECT pg_advisory_xact_lock_shared(1)',
					join_transaction => $true),
				step('b', 'SELECT 1', join_transaction => $true, after => ['a'])
			]
		});
	$run = start_job($node, 'paused');
	wait_for_lock_waiters($node, 1, 1);
	is(scalar_query($node, "SELECT workflow.pause_job($run)"), 't', 'paused');
	$lock->quit;
	$node->poll_query_until(
		'postgres', qq{
			SELECT (SELECT count(*) = 1 FROM pg_stat_activity
					WHERE backend_type = 'workflow worker' AND backend_xid IS NOT NULL)
				AND r.status = 'paused' AND s.status = 'succeeded' AND s.effects = 'pending'
			FROM workflow.run_history AS r JOIN workflow.step_history AS s USING (run_id)
			WHERE run_id = $run AND step = 'a'})
	  or die 'the run does not pause';
	restart("a paused run ($kind)");
	wait_for_agent($node);
	is( scalar_query(
			$node,
			"SELECT status FROM workflow.run_history WHERE run_id = $run"),
		'paused',
		"$kind: it is paused afterwards");
	is(effects_of($run), '', "$kind: its transaction is gone");
	scalar_query($node, "SELECT workflow.resume_job($run)");
	is(wait_for_job($node, $run), 'succeeded', "$kind: and goes on");
	is(effects_of($run), 'a b', "$kind: with all of its work");
}

# ---------------------------------------------------------------------------
# A worker that is just starting: nobody can look up roles
# ---------------------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE ROLE fresh LOGIN; GRANT USAGE ON SCHEMA workflow TO fresh');
define_package($node,
	{ name => 'fresh', steps => [ { name => 'a', command => 'SELECT 1' } ] },
	'-U', 'fresh');
my $session = $node->background_psql('postgres');
my $starter = $node->background_psql('postgres');
$starter->query_safe(q{SELECT workflow.package_definition('fresh')});
$session->query_safe('BEGIN; LOCK TABLE pg_authid IN ACCESS EXCLUSIVE MODE');
$run = $starter->query_safe(q{SELECT workflow.start_job('fresh')});
$session->query_safe(
	q{DO $$ BEGIN
		WHILE NOT EXISTS (SELECT FROM pg_locks WHERE relation = 'pg_authid'::regclass AND NOT granted) LOOP
			PERFORM pg_sleep(0.01);
		END LOOP; END $$});
restart('a worker starting');
eval { $_->quit } for $session, $starter;
is(wait_for_job($node, $run), 'succeeded', 'a worker starting: the run goes on');

# ---------------------------------------------------------------------------
# A commit that waits for a standby: it has taken place
# ---------------------------------------------------------------------------

for my $mode (qw(synchronous pipelined))
{
	my $name = "a commit waiting for a standby ($mode)";

	define_package(
		$node,
		{
			name => 'synchronous',
			steps => [
				step('a', 'SELECT 1'), step('b', 'SELECT 1', after => ['a'])
			]
		});
	$node->append_conf('postgresql.conf', qq{
		workflow.commit_mode = '$mode'
		synchronous_standby_names = 'nobody'});
	$node->restart;
	{
		local $ENV{PGOPTIONS} = "$ENV{PGOPTIONS} -c synchronous_commit=local";
		wait_for_agent($node);
		$run = start_job($node, 'synchronous');
	}
	my $waiter;
	if ($mode eq 'pipelined')
	{
		$waiter = $node->background_psql('postgres', on_error_stop => 0);
		$waiter->{stdin} .= "SELECT workflow.wait_for_job($run);\n";
		$waiter->{run}->pump_nb;
	}
	$node->poll_query_until(
		'postgres', q{
			SELECT count(*) > 0 FROM pg_stat_activity
			WHERE wait_event = 'SyncRep' AND backend_type = '}
		  . ($mode eq 'pipelined' ? 'client backend' : 'workflow worker') . q{'})
	  or die 'nobody waits for the standby';
	restart(
		$name,
		sub {
			$node->append_conf('postgresql.conf',
				q{synchronous_standby_names = ''});
		});
	eval { $waiter->quit } if defined $waiter;
	is(wait_for_job($node, $run), 'succeeded', "$name: the run goes on");
	is(steps_of($run), 'a 1 succeeded, b 1 succeeded',
		"$name: no step has failed of it");
	is(effects_of($run), 'a b', "$name: each has its effect once");
}

# ---------------------------------------------------------------------------
# 10,000 queued runs: while nothing starts, and while they are executed
# ---------------------------------------------------------------------------

define_package(
	$node,
	{
		name => 'many',
		steps => [
			{
				name => 'a',
				command => 'INSERT INTO many SELECT workflow.run_id()'
			}
		]
	});
$node->safe_psql('postgres', 'CREATE TABLE many (run_id bigint)');
$node->append_conf('postgresql.conf', q{workflow.enabled = 'off'});
$node->reload;
$node->poll_query_until('postgres', 'SELECT NOT enabled FROM workflow.agent');
$node->safe_psql('postgres',
	q{SELECT count(workflow.start_job('many')) FROM generate_series(1, 10000)});
restart('10000 queued runs');
wait_for_agent($node);
is( scalar_query($node, 'SELECT queued, running_runs FROM workflow.agent'),
	'10000|0', 'all of them are queued again');
$node->append_conf('postgresql.conf', q{workflow.enabled = 'on'});
$node->reload;
$node->poll_query_until('postgres', 'SELECT count(*) > 500 FROM many');
restart('10000 queued runs at work');
$node->poll_query_until('postgres',
	q{SELECT count(*) = 10000 FROM workflow.run_history WHERE package = 'many' AND status = 'succeeded'}
) or die 'the runs do not end';
is( scalar_query($node, 'SELECT count(*), count(DISTINCT run_id) FROM many'),
	'10000|10000', 'each of them is executed once');

$node->stop;
done_testing();
