# The conformance scenarios: what each package should come to, written down
# apart from this code.
#
#	WORKFLOW_CONFORMANCE	their folder
#	WORKFLOW_TICK			seconds of a TICK, 0.05 if not set

use strict;
use warnings;

use Conformance;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

# So many run at once: more would be in each other's way, and the scenarios
# tell what comes before what by the clock.
my $at_once = 6;

my $folder = conformance_folder();
plan skip_all => 'there is no folder shared/conformance beside the checkout'
  if !defined $folder;
my @scenarios = read_scenarios($folder);
isnt(scalar @scenarios, 0, "there are scenarios in $folder");

# A scheduler and workers for each database.
my $node = new_node(
	'main',
	conf => 'max_worker_processes = 400
			 workflow.max_workers = 8
			 workflow.worker_idle_timeout = 100');

while (my @some = splice @scenarios, 0, $at_once)
{
	begin_scenario($node, $_) for @some;
	check_scenario($node, $_) for @some;
}

$node->stop;
done_testing();
