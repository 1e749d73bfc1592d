# stop_job of a run that has changed hands, since its worker was terminated or
# since it was paused: what is on record stays as it is.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main');

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
			variables => { x => undef },
			steps => [
				{
					name => 'a',
					command => q{SELECT workflow.set_variable('x', 1)}
				},
				{
					name => 'b',
					command => 'SELECT pg_advisory_xact_lock_shared(1)',
					after => ['a']
				},
				{ name => 'c', command => 'SELECT 1', after => ['b'] }
			]
		});

	for my $how ('by force', 'in a pause')
	{
		my $lock = hold_lock($node, 1);
		my $run = start_job($node, 'chain');
		my $b = $how eq 'in a pause' ? 'succeeded' : 'cancelled';

		wait_for_lock_waiters($node, 1, 1);
		if ($how eq 'in a pause')
		{
			scalar_query($node, "SELECT workflow.pause_job($run)");
			$lock->quit;
			$node->poll_query_until(
				'postgres', qq{
					SELECT status = 'succeeded' FROM workflow.step_history
					WHERE run_id = $run AND step = 'b'})
			  or die 'the step does not end';
		}
		is( scalar_query(
				$node,
				"SELECT workflow.stop_job($run, force => "
				  . ($how eq 'in a pause' ? 'false' : 'true') . ')'),
			't',
			"$who, $how: the run is stopped");
		$lock->quit if $how ne 'in a pause';
		is( scalar_query(
				$node, qq{
					SELECT string_agg(concat_ws(' ', step, attempt, status, reason), ', '
									  ORDER BY step, attempt)
					FROM workflow.step_history WHERE run_id = $run}),
			"a 1 succeeded, b 1 $b, c 0 skipped cancelled",
			"$who, $how: each step has one outcome");
		is( scalar_query(
				$node, qq{
					SELECT status, variables ->> 'x' FROM workflow.run_history
					WHERE run_id = $run}),
			'cancelled|1',
			"$who, $how: the run is cancelled, and its variables are kept");
	}
}

$node->stop;
done_testing();
