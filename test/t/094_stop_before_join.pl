
# A run is stopped after the machine has let a step join, and before that has
# begun.  The transaction has begun with it, so it is on record, with all that
# belongs to it.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main');

define_package(
	$node,
	{
		name => 'p',
		fail_on_first_error => $false,
		connections => [ { name => 'c' } ],
		steps => [
			{
				name => 'a',
				command => 'SELECT pg_advisory_xact_lock_shared(1); SELECT 1 / 0',
				connection => 'c'
			},
			{
				name => 'b',
				command => 'SELECT 1',
				connection => 'c',
				join_transaction => $true,
				after => [ { step => 'a', on => 'failure' } ]
			}
		]
	});

# The worker cannot write that the first step has failed.
my $lock = hold_lock($node, 1);
my $run = start_job($node, 'p');
wait_for_lock_waiters($node, 1, 1);
my $blocker = $node->background_psql('postgres');
$blocker->query_safe(
	'BEGIN; LOCK TABLE workflow.step_outcome IN EXCLUSIVE MODE');
$lock->quit;
$node->poll_query_until(
	'postgres', q{
		SELECT count(*) = 1 FROM pg_locks
		WHERE relation = 'workflow.step_outcome'::regclass AND NOT granted})
  or die 'the worker does not wait';

my $stopper = $node->background_psql('postgres');
$stopper->query_until(qr/stop/, "\\echo stop\nSELECT workflow.stop_job($run);\n");
$node->poll_query_until('postgres',
	"SELECT EXISTS (SELECT FROM workflow.run_command WHERE run_id = $run)")
  or die 'the stop is not on record';
$blocker->query_safe('COMMIT');
$blocker->quit;
$stopper->quit;

is(wait_for_job($node, $run), 'cancelled', 'the run is cancelled');
is( scalar_query(
		$node, qq{
			SELECT string_agg(concat_ws(' ', step, attempt, status, reason), ', '
							  ORDER BY step)
			FROM workflow.step_history WHERE run_id = $run}),
	'a 1 failed, b 0 skipped cancelled',
	'the second step has not begun');
is( scalar_query(
		$node, qq{
			SELECT number, transaction_id > 0, status, steps, error,
				started_at <= finished_at,
				started_at >= (SELECT r.started_at FROM workflow.run_history AS r
							   WHERE r.run_id = t.run_id)
			FROM workflow.transaction_history AS t WHERE run_id = $run}),
	'1|t|rolled_back|0|the run was stopped|t|t',
	'its transaction is on record');

$node->stop;
done_testing();
