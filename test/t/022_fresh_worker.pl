# The first thing that a worker does is a step which starts other packages:
# the plan that it is executing must not make way for theirs.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main');

# its plan is large enough to come to lie where another one was
my @steps = map {
	{ name => "step $_", command => "SELECT '" . 'x' x (20 * $_) . "'" }
} 1 .. 20;
define_package($node,
	{ name => 'other', max_concurrent_steps => 1, steps => \@steps });

# with a time-out it is the scheduler that drives it
define_package(
	$node,
	{
		name => 'starts',
		variables => { run => undef },
		steps => [
			{
				name => 'start',
				command => q{SELECT workflow.start_job('other')},
				result_variable => 'run',
				timeout => '1 h'
			}
		]
	});
my ($run, $status) = start_and_wait($node, 'other');
is($status, 'succeeded', 'the other package runs');

my $workers = q{FROM pg_stat_activity WHERE backend_type = 'workflow worker'};
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) $workers");
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 $workers"),
	'its worker is gone');

($run, $status) = start_and_wait($node, 'starts');
is($status, 'succeeded', 'the step succeeds');
my $started = scalar_query($node,
	"SELECT variables ->> 'run' FROM workflow.run_history WHERE run_id = $run");
is(wait_for_job($node, $started || 0),
	'succeeded', 'so does the run that it started');

$node->stop;
done_testing();
