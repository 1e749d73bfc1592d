# A crash during a restarted run with a package transaction: what the run has
# taken over, and what it has committed, stays; what had joined runs again.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main');
my %locks;

$node->safe_psql(
	'postgres', q{
		CREATE TABLE effect (run_id bigint, step text);
		CREATE TABLE switch AS SELECT false AS is_on});

# Crash while a step waits for a lock: what was committed before is kept, and
# the locks are held again before anything starts.
sub crash
{
	$node->append_conf('postgresql.conf', 'workflow.enabled = off');
	$node->safe_psql('postgres', 'CHECKPOINT');
	$node->stop('immediate');
	eval { $_->quit } for values %locks;
	$node->start;
	wait_for_agent($node);
	%locks = map { $_ => hold_lock($node, $_) } 1, 2;
	$node->append_conf('postgresql.conf', 'workflow.enabled = on');
	$node->reload;
}

sub effects
{
	return scalar_query($node,
		"SELECT string_agg(step, ' ' ORDER BY step) FROM effect");
}

my $effect =
  'INSERT INTO effect SELECT workflow.run_id(), workflow.step_name()';

# b fails unless the switch is on.
my @steps = (
	{ name => 'a', command => $effect },
	{
		name => 'b',
		command => "$effect; SELECT 1 / is_on::int FROM switch; "
		  . 'SELECT pg_advisory_xact_lock_shared(1)',
		after => ['a']
	},
	{
		name => 'c',
		command => $effect,
		join_transaction => \1,
		after => ['b']
	},
	{
		name => 'd',
		command => "$effect; SELECT pg_advisory_xact_lock_shared(2)",
		join_transaction => \1,
		after => ['c']
	});
$_->{connection} = 'k' for @steps;

# The package's time-out makes the scheduler drive the run, else it is a
# worker that carries it out.
for my $timeout (undef, '1 h')
{
	my $who = defined $timeout ? 'the scheduler' : 'a worker';

	define_package(
		$node,
		{
			name => 'chain',
			timeout => $timeout,
			connections => [ { name => 'k' } ],
			steps => \@steps
		});
	$node->safe_psql('postgres',
		'TRUNCATE effect; UPDATE switch SET is_on = false');
	my $first = start_job($node, 'chain');
	is(wait_for_job($node, $first), 'failed', "$who: a run fails");
	$node->safe_psql('postgres', 'UPDATE switch SET is_on = true');

	%locks = map { $_ => hold_lock($node, $_) } 1, 2;
	my $run = scalar_query($node, "SELECT workflow.restart_job($first)");
	wait_for_lock_waiters($node, 1, 1);
	crash();

	# it goes on behind what it has taken over, and into the transaction
	wait_for_lock_waiters($node, 1, 1);
	$locks{1}->quit;
	wait_for_lock_waiters($node, 2, 1);
	is(effects(), 'a b', "$who: b is committed, the transaction is not");
	crash();

	# now b is on record as well
	wait_for_lock_waiters($node, 2, 1);
	is(effects(), 'a b', "$who: the transaction is lost");
	$_->quit for values %locks;
	is(wait_for_job($node, $run), 'succeeded', "$who: the run succeeds");
	is(effects(), 'a b c d', "$who: each step has worked once");
	is( scalar_query(
			$node, qq{
				SELECT string_agg(concat_ws(' ', step, attempt, status, reason), ', '
								  ORDER BY step, attempt)
				FROM workflow.step_history WHERE run_id = $run}),
		'a 0 succeeded restart, b 1 succeeded, c 1 succeeded, d 1 succeeded',
		"$who: each step has one outcome");
	is( scalar_query(
			$node, qq{
				SELECT string_agg(concat_ws(' ', number, status, steps), ', ')
				FROM workflow.transaction_outcome WHERE run_id = $run}),
		'1 c 2',
		"$who: and there is one transaction");
}

$node->stop;
done_testing();
