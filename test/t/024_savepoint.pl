# A start that is rolled back to a savepoint leaves nothing behind; above all
# not the belief that the version is in use.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main');

define_package($node,
	{ name => 'p', steps => [ { name => 'old', command => 'SELECT 1' } ] });
$node->append_conf('postgresql.conf', 'workflow.enabled = off');
$node->reload;
$node->poll_query_until('postgres', 'SELECT NOT enabled FROM workflow.agent')
  or die 'workflow.enabled is not off';

my $started = $node->safe_psql(
	'postgres', q{
		BEGIN;
		SAVEPOINT first;
		SELECT workflow.start_job('p');
		ROLLBACK TO first;
		SELECT workflow.start_job('p');
		COMMIT});
my ($undone, $run) = split /\n/, $started;
is(scalar_query($node, 'SELECT run_id FROM workflow.run_history'),
	$run, 'only the second run is there');
is( define_package(
		$node,
		{ name => 'p', steps => [ { name => 'new', command => 'SELECT 1' } ] }
	),
	2,
	'the version is in use: an edit makes the next one');

$node->append_conf('postgresql.conf', 'workflow.enabled = on');
$node->reload;
is(wait_for_job($node, $run), 'succeeded', 'the run succeeds');
is( scalar_query(
		$node, "SELECT step FROM workflow.step_history WHERE run_id = $run"),
	'old',
	'it executes the version that was current when it was started');

$node->stop;
done_testing();
