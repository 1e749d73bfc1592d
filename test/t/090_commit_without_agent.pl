
# A package transaction that comes to its end just when the scheduler has gone
# and the next one has come: the area in which the outcomes of its steps were
# kept is no longer the agent's.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main');

# The commit waits for the lock.
$node->safe_psql(
	'postgres', q{
		CREATE TABLE effect (package text);
		CREATE FUNCTION hold_commit() RETURNS trigger LANGUAGE plpgsql
		AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END';
		CREATE CONSTRAINT TRIGGER hold_commit AFTER INSERT ON effect
		DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION hold_commit()});

# One worker carries out the whole run; the scheduler drives it.
for my $package ('inline', 'driven')
{
	define_package(
		$node,
		{
			name => $package,
			steps => [
				{
					name => 'a',
					command => "INSERT INTO effect VALUES ('$package')",
					join_transaction => $true,
					$package eq 'driven' ? (condition => 'true') : ()
				}
			]
		});

	my $lock = hold_lock($node, 1);
	my $run = start_job($node, $package);
	wait_for_lock_waiters($node, 1, 1);
	my $log = -s $node->logfile;

	# The next scheduler comes, and gets no further than to take its place.
	my $blocker = $node->background_psql('postgres');
	$blocker->query_safe(
		'BEGIN; LOCK TABLE pg_catalog.pg_extension IN ACCESS EXCLUSIVE MODE');
	$blocker->query_safe(
		q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		  WHERE backend_type = 'workflow scheduler'});
	$node->poll_query_until(
		'postgres', q{
			SELECT EXISTS (SELECT FROM pg_stat_activity
						   WHERE backend_type = 'workflow scheduler'
						   AND wait_event_type = 'Lock')})
	  or die 'the next scheduler does not wait';

	# The worker leaves when it is done with the transaction.
	$lock->quit;
	$node->poll_query_until(
		'postgres', q{
			SELECT NOT EXISTS (SELECT FROM pg_stat_activity
							   WHERE backend_type = 'workflow worker'
							   AND state <> 'idle')})
	  or die 'the worker is still at the transaction';
	$blocker->query_safe('COMMIT');
	$blocker->quit;

	is(wait_for_job($node, $run), 'succeeded', "$package: the run succeeds");
	is( scalar_query(
			$node, "SELECT count(*) FROM effect WHERE package = '$package'"),
		1,
		"$package: its effect is there once");
	is( scalar_query(
			$node, qq{
				SELECT status, steps FROM workflow.transaction_history
				WHERE run_id = $run}),
		'committed|1',
		"$package: the transaction is on record");
	unlike(slurp_file($node->logfile, $log),
		qr/terminated by signal/, "$package: no process has crashed");
}

$node->stop;
done_testing();
