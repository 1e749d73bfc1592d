# LISTEN in a step: the server refuses it in background processes.  The step
# fails with the server's error, and the worker goes on.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main', conf => 'workflow.max_workers = 1');

for my $timeout (undef, '1 h')
{
	define_package(
		$node,
		{
			name => 'listen',
			timeout => $timeout,
			fail_on_first_error => $false,
			connections => [ { name => 'c' } ],
			steps => [
				{ name => 'a', connection => 'c', command => 'LISTEN news' },
				{
					name => 'b',
					connection => 'c',
					command => 'NOTIFY news; UNLISTEN *',
					after => [ { step => 'a', on => 'failure' } ]
				},
				{
					name => 'd',
					connection => 'c',
					command => 'SELECT count(*) FROM pg_listening_channels()',
					after => ['b']
				}
			]
		});
	my ($run) = start_and_wait($node, 'listen');
	is( scalar_query(
			$node, qq{
				SELECT string_agg(concat_ws(' ', step, status, sqlstate, message, result),
								  ', ' ORDER BY step)
				FROM workflow.step_history WHERE run_id = $run}),
		'a failed 0A000 cannot execute LISTEN within a background process, '
		  . 'b succeeded, d succeeded 0',
		(defined $timeout ? 'the scheduler' : 'a worker')
		  . ': LISTEN fails, what follows does not');
	is( scalar_query(
			$node, qq{
				SELECT count(DISTINCT pid) FROM workflow.step_history
				WHERE run_id = $run}),
		1, 'in the same process');
}

$node->stop;
done_testing();
