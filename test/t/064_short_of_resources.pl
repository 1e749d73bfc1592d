# What runs short: background worker slots, places in the command ring, space
# for temporary files.  It is visible, and nothing is lost.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

# launcher, scheduler, one worker
my $node = new_node(
	'main',
	conf => q{
		max_worker_processes = 3
		max_parallel_workers = 0
		max_logical_replication_workers = 0
		log_statement = none
		workflow.worker_idle_timeout = '1h'});

$node->safe_psql(
	'postgres', q{
		CREATE ROLE alice LOGIN;
		CREATE ROLE bob LOGIN;
		GRANT USAGE ON SCHEMA workflow TO alice, bob;
		CREATE TABLE effect (run_id bigint);
		GRANT INSERT ON effect TO PUBLIC});

sub define
{
	my ($name, $role, $command) = @_;

	return define_package(
		$node,
		{
			name => $name,
			steps => [
				{
					name => 'a',
					command =>
					  "INSERT INTO effect SELECT workflow.run_id(); $command"
				}
			]
		},
		defined $role ? ('-U', $role) : ());
}

# ---------------------------------------------------------------------------
# Background worker slots
# ---------------------------------------------------------------------------

my $no_slot = 'no background worker slot for a workflow worker';
define($_, $_, 'SELECT pg_advisory_xact_lock_shared(1)') for qw(alice bob);
my $lock = hold_lock($node, 1);
my @runs = (start_job($node, 'alice'));
wait_for_lock_waiters($node, 1, 1);
push @runs, map { start_job($node, $_) } (qw(bob alice)) x 10;
ok( $node->wait_for_log(
		qr/LOG:  \Q$no_slot\E\n.*DETAIL:  Steps that are ready wait for a worker\.\n.*HINT:  You might need to increase max_worker_processes\./
	),
	'the log says that there is no slot');
is( scalar_query($node, 'SELECT running, last_error, queued FROM workflow.agent'),
	"t|$no_slot|20",
	'so does workflow.agent, and how many runs wait');
is( scalar_query(
		$node, q{SELECT DISTINCT wait FROM workflow.activity WHERE wait IS NOT NULL AND wait NOT LIKE 'lock%'}),
	'worker',
	'and workflow.activity');
$lock->quit;
is(join(' ', map { wait_for_job($node, $_) } @runs),
	join(' ', ('succeeded') x @runs),
	'all runs are executed');
is(scalar_query($node, 'SELECT count(*), count(DISTINCT run_id) FROM effect'),
	'21|21', 'once');
is( scalar(() = slurp_file($node->logfile) =~ /\Q$no_slot\E/g),
	1, 'there is one line of it in the log');

# another database's scheduler
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION workflow');
$node->poll_query_until(
	'other',
	'SELECT last_error FROM workflow.agent',
	'no background worker slot for a workflow scheduler')
  or die 'that there is no slot for a scheduler is not shown';
pass('workflow.agent shows that there is no slot for a scheduler');
$node->safe_psql('postgres', 'DROP DATABASE other');

# ---------------------------------------------------------------------------
# The command ring: 1024 places.  The scheduler is stopped meanwhile.  Runs of
# two packages in turn are a command each.
# ---------------------------------------------------------------------------

$node->append_conf('postgresql.conf', 'max_worker_processes = 16');
$node->restart;
wait_for_agent($node);
define($_, undef, 'SELECT 1') for qw(even odd stopped);
$node->safe_psql('postgres', 'TRUNCATE effect');
my $scheduler = scalar_query($node, 'SELECT scheduler_pid FROM workflow.agent');
my $stopped = scalar_query($node,
	q{SELECT workflow.start_job('stopped', start_at => now() + '1 h')});
$node->poll_query_until('postgres', 'SELECT queued = 1 FROM workflow.agent');
kill 'STOP', $scheduler;
$node->safe_psql(
	'postgres', q{
		SELECT count(workflow.start_job(CASE WHEN i % 2 = 0 THEN 'even' ELSE 'odd' END))
		FROM generate_series(1, 3000) AS i});
my $session = $node->background_psql('postgres');
$session->{stdin} .= "SELECT workflow.stop_job($stopped);\n";
$session->{run}->pump_nb;
$node->poll_query_until('postgres',
	q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '%stop_job(%' AND wait_event = 'Extension' AND pid <> pg_backend_pid()}
) or die 'stop_job does not wait';
kill 'CONT', $scheduler;
$node->poll_query_until('postgres',
	q{SELECT count(*) = 3000 FROM workflow.run_history WHERE package IN ('even', 'odd') AND status = 'succeeded'}
) or die 'the runs do not end';
is(scalar_query($node, 'SELECT count(*), count(DISTINCT run_id) FROM effect'),
	'3000|3000', 'runs for which the ring had no place are executed once');
is(wait_for_job($node, $stopped), 'cancelled', 'stop_job gets through');
$session->quit;

# DROP EXTENSION while the ring is full
kill 'STOP', $scheduler;
$node->safe_psql(
	'postgres', q{
		SELECT count(workflow.start_job(CASE WHEN i % 2 = 0 THEN 'even' ELSE 'odd' END))
		FROM generate_series(1, 1100) AS i});
$node->safe_psql('postgres', 'DROP EXTENSION workflow');
kill 'CONT', $scheduler;
ok( $node->poll_query_until(
		'postgres',
		q{SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'postgres' AND backend_type LIKE 'workflow %'}
	),
	'the agent hears of DROP EXTENSION when the ring was full');
$node->safe_psql('postgres', 'CREATE EXTENSION workflow');
wait_for_agent($node);

# ---------------------------------------------------------------------------
# Space for temporary files
# ---------------------------------------------------------------------------

$node->safe_psql('postgres',
	q{ALTER DATABASE postgres SET temp_file_limit = '1MB'; ALTER DATABASE postgres SET work_mem = '64kB'});
define_package(
	$node,
	{
		name => 'big',
		fail_on_first_error => $false,
		steps => [
			{
				name => 'a',
				command =>
				  'SELECT count(*) FROM (SELECT g FROM generate_series(1, 1000000) AS g ORDER BY -g) AS s'
			},
			{
				name => 'b',
				command => 'INSERT INTO effect SELECT workflow.run_id()',
				after => [ { step => 'a', on => 'failure' } ]
			}
		]
	});
my ($run, $status) = start_and_wait($node, 'big');
is($status, 'succeeded', 'a run that puts up with a failure');
is( scalar_query(
		$node, qq{
			SELECT string_agg(concat_ws(' ', step, status, sqlstate, message), ', ' ORDER BY step)
			FROM workflow.step_history WHERE run_id = $run}),
	'a failed 53400 temporary file size exceeds temp_file_limit (1024kB), b succeeded',
	'a step without space fails, and the rest goes on');

$node->stop;
done_testing();
