# What is acknowledged is on the synchronous standby, in both commit modes: no
# wait for a run returns before that, and each can be cancelled.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $primary = new_node('main', streaming => 1);

$primary->safe_psql('postgres', 'CREATE TABLE effect (run_id bigint)');
define_package(
	$primary,
	{
		name => 'p',
		steps => [
			{
				name => 'a',
				command => 'INSERT INTO effect SELECT workflow.run_id()'
			}
		]
	});
define_package(
	$primary,
	{
		name => 'driven',
		timeout => '1 hour',
		steps => [ { name => 'a', command => 'SELECT pg_sleep(3600)' } ]
	});
$primary->backup('backup');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;
$primary->poll_query_until('postgres',
	'SELECT count(*) = 1 FROM pg_stat_replication')
  or die 'the standby does not connect';

# What the standby has after this was there when it was stopped.
sub on_standby
{
	my ($run) = @_;

	$standby->poll_query_until('postgres',
		'SELECT pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn()');
	return $standby->safe_psql('postgres',
		"SELECT (SELECT count(*) FROM effect WHERE run_id = $run), (SELECT status FROM workflow.run_history WHERE run_id = $run)"
	);
}

sub wait_for_waiters
{
	my ($condition, $number) = @_;

	$primary->poll_query_until(
		'postgres', qq{
			SELECT count(*) = $number FROM pg_stat_activity
			WHERE wait_event = 'SyncRep' AND $condition})
	  or die "these do not wait: $condition";
	return;
}

sub start_unheeded
{
	my ($package) = @_;

	return $primary->safe_psql('postgres',
		"SET synchronous_commit = off; SELECT workflow.start_job('"
		  . ($package // 'p') . "')");
}

for my $mode ('pipelined', 'synchronous')
{
	$primary->append_conf('postgresql.conf', "workflow.commit_mode = $mode");
	$primary->append_conf('postgresql.conf',
		"synchronous_standby_names = 'standby'");
	$primary->reload;
	$primary->poll_query_until(
		'postgres',
		q{SELECT sync_state = 'sync' FROM pg_stat_replication})
	  or die 'the standby is not synchronous';

	my ($run, $status) = start_and_wait($primary, 'p');
	is($status, 'succeeded', "$mode: a run");
	is(on_standby($run), '1|succeeded', "$mode: is on the standby");

	# No standby.  In pipelined mode runs are executed nevertheless, and
	# nobody is told of their end; in synchronous mode a step's commit waits.
	$standby->stop;
	$run = start_unheeded();
	if ($mode eq 'pipelined')
	{
		$primary->poll_query_until('postgres',
			"SELECT status = 'succeeded' FROM workflow.run_history WHERE run_id = $run"
		) or die 'the run does not end';
		my ($result, $stdout, $stderr) = $primary->psql('postgres',
			"SET statement_timeout = '100 ms'; SELECT workflow.wait_for_job($run)"
		);
		is($stdout, '', "$mode: a cancel ends the wait");
		like(
			$stderr,
			qr/ERROR:  canceling the wait for a run due to user request/,
			"$mode: with an error");
	}
	else
	{
		wait_for_waiters(q{backend_type = 'workflow worker'}, 1);
		is( $primary->safe_psql(
				'postgres', "SELECT workflow.wait_for_job($run, '1 ms')"),
			'',
			"$mode: the run has not ended");
	}

	# The scheduler does not wait for a standby.
	my $driven = start_unheeded('driven');
	$primary->poll_query_until('postgres',
		"SELECT status = 'running' FROM workflow.step_history WHERE run_id = $driven AND step = 'a'"
	) or die 'the scheduler does nothing';
	pass("$mode: the scheduler drives a run");

	my @waiters =
	  map { $primary->background_psql('postgres', on_error_stop => 0) } 1 .. 2;
	$waiters[0]->query_until(qr/begun/,
		"SET synchronous_commit = off;\n\\echo begun\nSELECT workflow.wait_for_job($run);\n"
	);
	$waiters[1]->query_until(qr/begun/,
		"SET synchronous_commit = off;\n\\echo begun\nCALL workflow.run_job('p', verbose => false);\n\\echo returned\n"
	);
	if ($mode eq 'pipelined')
	{
		wait_for_waiters(
			q{query LIKE 'SELECT workflow.wait_for_job%' OR query LIKE 'CALL workflow.run_job%'},
			2);
	}
	else
	{
		wait_for_waiters(q{backend_type = 'workflow worker'}, 2);
	}

	$standby->start;
	like($waiters[0]->query('SELECT 1'),
		qr/^succeeded$/m, "$mode: with the standby back, the waiter is told");
	is(on_standby($run), '1|succeeded', "$mode: what is on the standby");
	like($waiters[1]->query('SELECT 1'),
		qr/^returned$/m, "$mode: run_job returns");
	$_->quit for @waiters;
	$primary->safe_psql('postgres', "SELECT workflow.stop_job($driven)");
	is( scalar_query($primary, 'SELECT count(*) FROM workflow.open_run'),
		'0', "$mode: all runs have ended");
}

$standby->stop;
$primary->stop;
done_testing();
