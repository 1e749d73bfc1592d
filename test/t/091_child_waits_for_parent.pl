
# A child run, of a package that another worker carries out whole, waits for a
# lock of the package transaction of its parent (P8): in a transaction of its
# own, or in none.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main');

$node->safe_psql('postgres',
	'CREATE TABLE t (i integer); INSERT INTO t VALUES (0)');
for my $joins ($true, $false)
{
	my $child = $joins ? 'joins' : 'free';

	define_package(
		$node,
		{
			name => $child,
			steps => [
				{
					name => 'wait',
					command => 'UPDATE t SET i = 2',
					join_transaction => $joins
				}
			]
		});
	define_package(
		$node,
		{
			name => "parent of $child",
			steps => [
				{
					name => 'hold',
					command => 'UPDATE t SET i = 1',
					join_transaction => $true
				},
				{
					name => 'child',
					kind => 'package',
					command => $child,
					after => ['hold']
				}
			]
		});

	my ($run, $status) = start_and_wait($node, "parent of $child");
	is($status, 'failed', "$child: the run fails");
	is( scalar_query(
			$node, qq{
				SELECT error_path, sqlstate, message FROM workflow.run_history
				WHERE run_id = $run}),
		'child/wait|40P01|step "child" of package "parent of '
		  . $child
		  . '" waits for a lock of the package transaction of its own run,'
		  . ' in which step "hold" of package "parent of '
		  . $child
		  . '" has worked and which cannot end before',
		"$child: with the error that says why");
}

$node->stop;
done_testing();
