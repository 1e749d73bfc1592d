# After a crash what is on record of a run is fed to it in the order in which
# it happened, and what joined a transaction finds the one that it was in.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main');

$node->safe_psql('postgres', 'CREATE TABLE done (step text, run bigint)');

# A step that leaves a row, after it has had the advisory lock $lock.
sub writes
{
	my ($name, $lock, %options) = @_;
	my $wait =
	  defined $lock ? "SELECT pg_advisory_xact_lock_shared($lock); " : '';

	return {
		name => $name,
		command => $wait
		  . 'INSERT INTO done VALUES (workflow.step_name(), workflow.run_id())',
		%options
	};
}

sub crash
{
	my @locks = @_;

	stop_immediately($node);
	$_->quit for @locks;
	$node->start;
	wait_for_agent($node);
	return;
}

sub rows_of
{
	my ($run) = @_;

	return scalar_query($node,
		"SELECT string_agg(step, ' ' ORDER BY step COLLATE \"C\") FROM done WHERE run IN (SELECT run_id FROM workflow.run_history WHERE root_run_id = $run)"
	);
}

sub transactions_of
{
	my ($run) = @_;

	return scalar_query($node,
		"SELECT string_agg(package || number || ' ' || status || ' ' || steps, ', ' ORDER BY transaction_id) FROM workflow.transaction_history WHERE root_run_id = $run"
	);
}

# ---------------------------------------------------------------------------
# x has the higher priority, but could not start before slow had ended: by
# then y had committed the first transaction.
# ---------------------------------------------------------------------------

my @steps = (
	writes('slow', 1),
	writes('y', undef, join_transaction => $true, commit_on_success => $true),
	writes(
		'x', 2,
		after => ['slow'],
		join_transaction => $true,
		priority => 10));
define_package($node, { name => 'order', steps => \@steps });
my $one = hold_lock($node, 1);
my $two = hold_lock($node, 2);
my $run = start_job($node, 'order');
$node->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM workflow.transaction_history WHERE run_id = $run AND status = 'committed'"
) or die 'y does not commit';
$one->quit;
wait_for_lock_waiters($node, 2, 1);
crash($two);
is(wait_for_job($node, $run), 'succeeded', 'the run goes on');
is(rows_of($run), 'slow x y', 'each step has had its effect once');
is( transactions_of($run),
	'order1 committed 1, order2 committed 1',
	'x has joined the second transaction');
is( scalar_query(
		$node,
		"SELECT string_agg(step || attempt || ' ' || status, ', ' ORDER BY step COLLATE \"C\") FROM workflow.step_history WHERE run_id = $run"
	),
	'slow1 succeeded, x1 succeeded, y1 succeeded',
	'the attempts on record');

# ---------------------------------------------------------------------------
# The same over two packages: the child that inherits had joined the first
# transaction, its owner committed that, then the child joined the second.
# ---------------------------------------------------------------------------

define_package(
	$node,
	{
		name => 'heir',
		steps => [
			writes('h1', undef, join_transaction => $true),
			writes('between', 1, after => ['h1']),
			writes(
				'h2', 2,
				after => ['between'],
				join_transaction => $true)
		]
	});
define_package(
	$node,
	{
		name => 'owner',
		steps => [
			{
				name => 'child',
				kind => 'package',
				command => 'heir',
				join_transaction => $true,
				priority => 1
			},
			writes('slow', 3),
			{
				name => 'checkpoint',
				kind => 'none',
				commit_on_success => $true,
				after => ['slow']
			}
		]
	});
$one = hold_lock($node, 1);
$two = hold_lock($node, 2);
my $three = hold_lock($node, 3);
$run = start_job($node, 'owner');
wait_for_lock_waiters($node, 1, 1);
wait_for_lock_waiters($node, 3, 1);
$three->quit;
$node->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM workflow.transaction_history WHERE run_id = $run AND status = 'committed'"
) or die 'the checkpoint does not commit';
$one->quit;
wait_for_lock_waiters($node, 2, 1);
crash($two);
is(wait_for_job($node, $run), 'succeeded', 'owner and heir go on');
is(rows_of($run), 'between h1 h2 slow', 'each step has had its effect once');
is( transactions_of($run),
	'owner1 committed 1, owner2 committed 1',
	'each step of the heir has joined the transaction that it was in');

# ---------------------------------------------------------------------------
# What joined and was not committed runs again, though a step behind it that
# committed by itself is there.
# ---------------------------------------------------------------------------

define_package(
	$node,
	{
		name => 'lost',
		steps => [
			writes('j1', undef, join_transaction => $true),
			writes('alone', undef, after => ['j1']),
			writes('j2', 1, after => ['alone'], join_transaction => $true)
		]
	});
$one = hold_lock($node, 1);
$run = start_job($node, 'lost');
wait_for_lock_waiters($node, 1, 1);
crash($one);
is(wait_for_job($node, $run), 'succeeded', 'the run goes on');
is(rows_of($run), 'alone j1 j2', 'each step has had its effect once');
is(transactions_of($run), 'lost1 committed 2', 'in one transaction');

# ---------------------------------------------------------------------------
# The worker that was the branch is gone, which is on record, then the server.
# ---------------------------------------------------------------------------

define_package(
	$node,
	{
		name => 'twice',
		fail_on_first_error => $false,
		connections => [ { name => 'k' } ],
		steps => [
			writes('j1', undef, join_transaction => $true),
			writes('wait', 1, after => ['j1'], connection => 'k'),
			writes('j2', undef, after => ['wait'], join_transaction => $true)
		]
	});
$one = hold_lock($node, 1);
$run = start_job($node, 'twice');
wait_for_lock_waiters($node, 1, 1);
$node->safe_psql('postgres',
	"SELECT pg_terminate_backend(pid) FROM workflow.step_history WHERE run_id = $run AND step = 'j1'"
);
$node->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM workflow.transaction_history WHERE run_id = $run AND status = 'rolled_back'"
) or die 'the loss is not on record';
crash($one);
is(wait_for_job($node, $run), 'failed', 'the loss is not forgotten');
is(rows_of($run), 'wait', 'what was in the transaction is gone');
is( scalar_query(
		$node, "SELECT sqlstate FROM workflow.run_history WHERE run_id = $run"
	),
	'25P02',
	'since it joins an invalid transaction');

$node->stop;
done_testing();
