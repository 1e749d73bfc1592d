# When the agent is there: without a process for it, while a transaction that
# starts runs is prepared, on a standby and after its promotion; and what its
# settings do.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $effect =
  'INSERT INTO effect SELECT workflow.run_id(), workflow.step_name()';
my $block = 'SELECT pg_advisory_xact_lock_shared(1)';

sub create_objects
{
	my ($node) = @_;

	$node->safe_psql('postgres',
		'CREATE TABLE effect (run_id bigint, step text)');
	define_package($node,
		{ name => 'quick', steps => [ { name => 'a', command => $effect } ] });
	define_package(
		$node,
		{
			name => 'blocked',
			steps => [
				{ name => 'a', command => $effect },
				{ name => 'b', command => $block, after => ['a'] }
			]
		});
	return;
}

# Set something in the configuration file and wait until sessions know it.
sub set
{
	my ($node, $name, $value) = @_;

	$node->append_conf('postgresql.conf', "$name = '$value'");
	$node->reload;
	$node->poll_query_until('postgres', "SHOW $name", $value)
	  or die "$name is not $value";
	return;
}

# ---------------------------------------------------------------------------
# No process for the scheduler: runs are queued, with a warning
# ---------------------------------------------------------------------------

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf(
	'postgresql.conf', q{
		max_worker_processes = 1
		max_logical_replication_workers = 0
		max_prepared_transactions = 5
		shared_buffers = 32MB
		restart_after_crash = on
		bgwriter_lru_maxpages = 0});
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION workflow');
create_objects($node);
ok( $node->wait_for_log(
		qr/LOG:  no (?:place|background worker slot) for a workflow scheduler in database \d+\n.*HINT:  You might need to increase max_worker_processes\./
	),
	'the log says that there is no process for a scheduler');
is(scalar_query($node, 'SELECT running, scheduler_pid FROM workflow.agent'),
	'f|', 'workflow.agent shows that the agent is not running');

my ($result, $run, $stderr) =
  $node->psql('postgres', q{SELECT workflow.start_job('quick')});
is($result, 0, 'start_job works without the agent');
like(
	$stderr,
	qr/WARNING:  the workflow agent is not running in this database\nDETAIL:  The run is queued\.$/m,
	'and warns');
my (undef, undef, $warnings) = $node->psql(
	'postgres', q{
		BEGIN;
		SELECT count(workflow.start_job('quick')) FROM generate_series(1, 3);
		SELECT workflow.start_job('quick');
		ROLLBACK});
is(scalar(() = $warnings =~ /WARNING/g), 1, 'once in a transaction');
is( scalar_query(
		$node, "SELECT status FROM workflow.run_history WHERE run_id = $run"),
	'queued',
	'the run is queued');
is(scalar_query($node, "SELECT workflow.wait_for_job($run, '1 ms') IS NULL"),
	't', 'who waits for it is not told of an end');
for my $call ("stop_job($run)", "pause_job($run)")
{
	like(
		psql_error($node, "SELECT workflow.$call"),
		qr/ERROR:  57P03: the workflow agent is not running in this database$/m,
		"$call is an error");
}
$node->append_conf('postgresql.conf', 'max_worker_processes = 16');
$node->restart;
is(wait_for_job($node, $run), 'succeeded', 'it starts once there is an agent');

# ---------------------------------------------------------------------------
# PREPARE TRANSACTION: the run starts at COMMIT PREPARED
# ---------------------------------------------------------------------------

wait_for_agent($node);

sub prepare
{
	my ($name) = @_;

	return $node->safe_psql('postgres',
		"BEGIN; SELECT workflow.start_job('quick'); PREPARE TRANSACTION '$name'");
}

$run = prepare('one');
my $other = prepare('two');
is((start_and_wait($node, 'quick'))[1], 'succeeded', 'a later run ends');
is(scalar_query($node, "SELECT count(*) FROM effect WHERE run_id IN ($run, $other)"),
	0, 'runs of prepared transactions do not start');
$node->safe_psql('postgres', q{COMMIT PREPARED 'one'});
is(wait_for_job($node, $run), 'succeeded',
	'one starts when its transaction is committed');
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'two'});
is((start_and_wait($node, 'quick'))[1], 'succeeded', 'another run ends');
is( scalar_query(
		$node, "SELECT count(*) FROM workflow.run_history WHERE run_id = $other"),
	0,
	'there is none when it is rolled back');
$run = prepare('three');
$node->stop('immediate');
$node->start;
wait_for_agent($node);
is((start_and_wait($node, 'quick'))[1], 'succeeded', 'a run ends after a crash');
$node->safe_psql('postgres', q{COMMIT PREPARED 'three'});
is(wait_for_job($node, $run),
	'succeeded', 'a transaction that was prepared before it starts its run');
is(scalar_query($node, "SELECT count(*) FROM effect WHERE run_id = $run"),
	1, 'once');

# ---------------------------------------------------------------------------
# Settings
# ---------------------------------------------------------------------------

# commit_mode: what a crash undoes if nobody flushes the WAL but who commits.
# The process that writes the WAL is stopped, and killed for the crash.
for my $mode (qw(synchronous pipelined))
{
	set($node, 'workflow.commit_mode', $mode);
	$node->poll_query_until('postgres',
		"SELECT commit_mode = '$mode' FROM workflow.agent");
	is((start_and_wait($node, 'quick'))[1], 'succeeded', "$mode: a run ends");
	my $writer = scalar_query($node,
		q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'});
	kill 'STOP', $writer;
	my $lock = hold_lock($node, 1);
	$run = start_job($node, 'blocked');
	wait_for_lock_waiters($node, 1, 1);
	is( scalar_query(
			$node,
			"SELECT string_agg(step, ' ') FROM effect WHERE run_id = $run"),
		'a',
		"$mode: a step has committed");
	set($node, 'workflow.enabled', 'off');
	kill 'KILL', $writer;
	eval { $lock->quit };
	$node->poll_query_until('postgres',
		"SELECT pid <> $writer FROM pg_stat_activity WHERE backend_type = 'walwriter'"
	) or die 'the server does not come back';
	my $left = scalar_query(
		$node, qq{
			SELECT count(*), (
				SELECT count(*) FROM workflow.step_history
				WHERE run_id = $run AND step = 'a' AND status = 'succeeded')
			FROM effect WHERE run_id = $run});
	if ($mode eq 'synchronous')
	{
		is($left, '1|1', 'synchronous: a crash does not undo it');
	}
	else
	{
		# somebody else may have flushed both
		like($left, qr/^([01])\|\1$/,
			'pipelined: what a crash undoes is undone with its record');
	}
	set($node, 'workflow.enabled', 'on');
	is(wait_for_job($node, $run), 'succeeded', "$mode: the run goes on");
	is( scalar_query(
			$node,
			"SELECT string_agg(step, ' ') FROM effect WHERE run_id = $run"),
		'a',
		"$mode: each step is executed once");
}

# worker_idle_timeout
my $workers = q{
	SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'workflow worker'};
is(scalar_query($node, $workers) > 0 ? 1 : 0, 1, 'an idle worker stays');
set($node, 'workflow.worker_idle_timeout', '0');
ok($node->poll_query_until('postgres', $workers, 0),
	'it leaves when its time is over');
is((start_and_wait($node, 'quick'))[1], 'succeeded', 'another comes');
ok($node->poll_query_until('postgres', $workers, 0), 'and leaves at once');

# max_workers
set($node, 'workflow.max_workers', '2');
my $lock = hold_lock($node, 1);
my @runs = map { start_job($node, 'blocked') } 1 .. 4;
wait_for_lock_waiters($node, 1, 2);
ok( $node->poll_query_until(
		'postgres',
		q{SELECT count(*) FROM workflow.activity WHERE wait = 'worker'}, 2),
	'runs wait for workers');
is(scalar_query($node, $workers), 2, 'there are as many as there may be');
set($node, 'workflow.max_workers', '3');
wait_for_lock_waiters($node, 1, 3);
is(scalar_query($node, $workers), 3, 'one more when one more may be');
set($node, 'workflow.max_workers', '1');
$lock->quit;
is(join(' ', map { wait_for_job($node, $_) } @runs),
	'succeeded succeeded succeeded succeeded',
	'all end when fewer may be');

# ---------------------------------------------------------------------------
# A standby: nothing starts, everything can be looked at; after the promotion
# what was queued and what was running goes on.
# ---------------------------------------------------------------------------

set($node, 'workflow.max_workers', '4');
set($node, 'workflow.worker_idle_timeout', '1h');
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;

$lock = hold_lock($node, 1);
my $running = start_job($node, 'blocked');
wait_for_lock_waiters($node, 1, 1);
my $never = scalar_query($node,
	q{SELECT workflow.start_job('quick', start_at => 'infinity')});
my $soon = scalar_query($node,
	q{SELECT workflow.start_job('quick', start_at => now() + '1 h')});
$node->wait_for_catchup($standby);

is(scalar_query($standby, 'SELECT running FROM workflow.agent'),
	'f', 'there is no agent on a standby');
is( scalar_query(
		$standby,
		q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'workflow%'}
	),
	0,
	'no process of it');
for my $call (
	q{start_job('quick')}, "stop_job($running)",
	"pause_job($running)", "resume_job($running)",
	q{define_package('{"name": "x"}')}, q{create_package('x')},
	q{alter_package('quick')}, q{rename_package('quick', 'x')},
	q{drop_package('quick')}, q{add_step('quick', 'x', 'SELECT 1')},
	q{grant_start('quick', 'public')}, q{revoke_start('quick', 'public')},
	q{alter_package_owner('quick', current_user)},
	q{reset_installation_id()})
{
	my ($name) = $call =~ /^(\w+)/;

	like(
		psql_error($standby, "SELECT workflow.$call"),
		qr/ERROR:  25006: cannot execute workflow\.$name\(\) (?:during recovery|in a read-only transaction)$/m,
		"$name on a standby is an error");
}
like(
	psql_error($standby, q{CALL workflow.run_job('quick')}),
	qr/ERROR:  25006: cannot execute /,
	'so is run_job');
is( scalar_query(
		$standby, qq{
			SELECT string_agg(status, ' ' ORDER BY run_id) FROM workflow.run_history
			WHERE run_id < $running}),
	scalar_query(
		$node, qq{
			SELECT string_agg(status, ' ' ORDER BY run_id) FROM workflow.run_history
			WHERE run_id < $running}),
	'run_history can be read');
is( scalar_query(
		$standby, qq{
			SELECT (SELECT count(*) FROM workflow.step_history WHERE run_id <= $running) > 5,
				(SELECT count(*) FROM workflow.activity) >= 0,
				(SELECT count(*) FROM workflow.package),
				(SELECT count(*) FROM workflow.step),
				workflow.package_definition('quick') ->> 'name',
				workflow.package_script('quick') <> ''}),
	't|t|2|3|quick|t',
	'and so can the other views and the definitions');

$node->stop;
eval { $lock->quit };
$standby->promote;
wait_for_agent($standby);
is(wait_for_job($standby, $running),
	'succeeded', 'after the promotion, what was running goes on');
is((start_and_wait($standby, 'quick'))[1], 'succeeded', 'new runs start');
is( scalar_query(
		$standby, qq{
			SELECT string_agg(status, ' ') FROM workflow.run_history
			WHERE run_id IN ($never, $soon)}),
	'queued queued',
	'what was to wait still waits');
is(scalar_query($standby, "SELECT workflow.stop_job($soon)"),
	't', 'and is stopped');
is( scalar_query(
		$standby,
		"SELECT string_agg(step, ' ') FROM effect WHERE run_id = $running"),
	'a',
	'each step is executed once');

$standby->stop;
done_testing();
