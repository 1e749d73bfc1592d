# purge_history while other things go on: starts, waiters, another purge, a
# worker that has gone, a crash.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main');

define_package($node,
	{ name => 'p', steps => [ { name => 'a', command => 'SELECT 1' } ] });
define_package(
	$node,
	{
		name => 'slow',
		steps => [
			{ name => 'a', command => 'SELECT 1' },
			{
				name => 'b',
				command => 'SELECT pg_advisory_xact_lock_shared(1)',
				after => ['a']
			}
		]
	});

sub runs
{
	return scalar_query($node,
		"SELECT string_agg(package || ' ' || status, ', ' ORDER BY run_id) FROM workflow.run_history"
	);
}

sub wait_for_activity
{
	my ($condition) = @_;

	$node->poll_query_until('postgres',
		"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $condition)")
	  or die "this did not come: $condition";
	return;
}

# A purge that is not committed keeps nobody waiting but another purge.
start_and_wait($node, 'p') for 1 .. 3;
my $purge = $node->background_psql('postgres');
$purge->query_safe('BEGIN');
is($purge->query_safe(q{SELECT workflow.purge_history('0')}),
	3, 'runs are deleted');
is((start_and_wait($node, 'p'))[1],
	'succeeded', 'a run is started and ends meanwhile');
is( define_package(
		$node,
		{ name => 'p', steps => [ { name => 'a', command => 'SELECT 2' } ] }),
	2,
	'a version is made meanwhile');
my $other = $node->background_psql('postgres');
$other->query_until(qr/begun/,
	"\\echo begun\nSELECT workflow.purge_history('0');\n");
wait_for_activity(
	q{query LIKE '%purge_history%' AND wait_event_type = 'Lock'});
is($purge->query_safe('COMMIT'), '', 'the first one commits');
$purge->quit;
$other->quit;
is(runs(), '', 'the second one found what had come since');
is( scalar_query(
		$node,
		q{SELECT string_agg(version::text, ' ') FROM workflow.definition_version WHERE name = 'p'}
	),
	'2',
	'and deleted the version that no run refers to');

# A version of a package that somebody starts at the moment is left.
start_and_wait($node, 'p');
define_package($node,
	{ name => 'p', steps => [ { name => 'a', command => 'SELECT 3' } ] });
my $starter = $node->background_psql('postgres');
$starter->query_safe('BEGIN');
$starter->query_safe(q{SELECT workflow.start_job('p')});
is(scalar_query($node, q{SELECT workflow.purge_history('0')}),
	1, 'the runs of a package that is being started are deleted');
is( scalar_query(
		$node,
		q{SELECT string_agg(version::text, ' ' ORDER BY version) FROM workflow.definition_version WHERE name = 'p'}
	),
	'2 3',
	'its versions are not');
$starter->query_safe('ROLLBACK');
$starter->quit;
is(scalar_query($node, q{SELECT workflow.purge_history('0')}),
	0, 'there are no runs any more');
is( scalar_query(
		$node,
		q{SELECT string_agg(version::text, ' ' ORDER BY version) FROM workflow.definition_version WHERE name = 'p'}
	),
	'3',
	'but the version goes the next time');

# Who waits for a run that ends and is deleted before he looks is told so.
my $lock = hold_lock($node, 1);
my $run = start_job($node, 'slow');
wait_for_lock_waiters($node, 1, 1);
my $waiter = $node->background_psql('postgres', on_error_stop => 0);
my $waiter_pid = $waiter->query_safe('SELECT pg_backend_pid()');
$waiter->query_until(qr/begun/,
	"\\echo begun\nSELECT workflow.wait_for_job($run);\n");
wait_for_activity(q{query LIKE '%wait_for_job%' AND wait_event = 'Extension'}
	  . " AND pid = $waiter_pid");
kill 'STOP', $waiter_pid;
$lock->quit;
is(wait_for_job($node, $run), 'succeeded', 'the run ends');
is(scalar_query($node, q{SELECT workflow.purge_history('0')}),
	1, 'and is deleted');
kill 'CONT', $waiter_pid;
$waiter->query('SELECT 1');
like(
	$waiter->{stderr},
	qr/run $run does not exist any more/,
	'who waited for it is told');
$waiter->quit;

# A worker that goes when it has committed the end of a run, before it can say
# so, and the run is deleted before the scheduler looks at what the worker
# left.  Between the commit and the report it waits for a standby.
$node->append_conf('postgresql.conf',
	"workflow.commit_mode = synchronous\nwal_level = replica\nmax_wal_senders = 1");
$node->restart;
wait_for_agent($node);
$ENV{PGOPTIONS} .= ' -c synchronous_commit=local';
$lock = hold_lock($node, 1);
$run = start_job($node, 'slow');
wait_for_lock_waiters($node, 1, 1);
my $scheduler = scalar_query($node, 'SELECT scheduler_pid FROM workflow.agent');
my $worker = scalar_query($node,
	"SELECT pid FROM workflow.activity WHERE run = $run AND pid IS NOT NULL");
$node->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'");
$node->reload;
$node->poll_query_until('postgres',
	q{SELECT setting = 'nobody' FROM pg_settings WHERE name = 'synchronous_standby_names'}
) or die 'the setting does not come';
scalar_query($node, 'CHECKPOINT');    # it has come to the checkpointer, too
kill 'STOP', $scheduler;
$lock->quit;
wait_for_activity("pid = $worker AND wait_event = 'SyncRep'");
scalar_query($node, "SELECT pg_terminate_backend($worker, 60000)");
$node->append_conf('postgresql.conf', "synchronous_standby_names = ''");
$node->reload;
is( scalar_query($node,
		"SELECT status FROM workflow.run_history WHERE run_id = $run"),
	'succeeded',
	'a worker goes after it has ended a run');
is(scalar_query($node, q{SELECT workflow.purge_history('0')}),
	1, 'its run is deleted');
kill 'CONT', $scheduler;
is((start_and_wait($node, 'p'))[1], 'succeeded', 'the agent goes on');
$node->poll_query_until('postgres',
	'SELECT running_runs = 0 FROM workflow.agent')
  or die 'there is a run that does not end';
is(scalar_query($node, 'SELECT scheduler_pid FROM workflow.agent'),
	$scheduler, 'as the same process');
unlike(slurp_file($node->logfile),
	qr/is not there/, 'nobody has looked for the run that is gone');

# Open runs are found after a crash, whatever was deleted around them.
start_and_wait($node, 'p') for 1 .. 3;
$lock = hold_lock($node, 1);
$run = start_job($node, 'slow');
wait_for_lock_waiters($node, 1, 1);
my ($last) = start_and_wait($node, 'p');
is(scalar_query($node, q{SELECT workflow.purge_history('0')}),
	5, 'what is around an open run is deleted');
stop_immediately($node);
$node->start;
wait_for_agent($node);
is(wait_for_job($node, $run), 'succeeded', 'the open run goes on');
my ($next) = start_and_wait($node, 'p');
cmp_ok($next, '>', $last, 'no number is used twice');
is(runs(), 'slow succeeded, p succeeded', 'both are on record');

$node->stop;
done_testing();
