# 20,000 runs of one step that are started by one statement all end, each with
# exactly one effect.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $runs = 20_000;

my $node = new_node('main');

$node->safe_psql('postgres', 'CREATE TABLE effect (run_id bigint)');
define_package(
	$node,
	{
		name => 'job',
		steps => [
			{
				name => 'insert',
				command => 'INSERT INTO effect SELECT workflow.run_id()'
			}
		]
	});

is( scalar_query(
		$node, qq{
			CREATE TABLE started AS
			SELECT workflow.start_job('job') AS run_id FROM generate_series(1, $runs);
			SELECT count(DISTINCT run_id) FROM started}),
	$runs,
	'one statement starts the runs');

is( scalar_query(
		$node, q{
			SELECT status, count(*)
			FROM (SELECT workflow.wait_for_job(run_id, '170 s') AS status
				  FROM started) AS ended
			GROUP BY status}),
	"succeeded|$runs",
	'all of them succeed');

is( scalar_query($node, 'SELECT count(*), count(DISTINCT run_id) FROM effect'),
	"$runs|$runs",
	'each has one effect');
is( scalar_query(
		$node,
		'SELECT count(*) FROM effect NATURAL JOIN started'),
	$runs,
	'the effects are those of the runs that were started');
is( scalar_query(
		$node, q{
			SELECT status, count(*), count(DISTINCT run_id), count(finished_at)
			FROM workflow.run_history GROUP BY status}),
	"succeeded|$runs|$runs|$runs",
	'each has one row in run_history');
is( scalar_query(
		$node, q{
			SELECT status, attempt, count(*), sum(rows)
			FROM workflow.step_history GROUP BY status, attempt}),
	"succeeded|1|$runs|$runs",
	'each has one row in step_history');
is(scalar_query($node, 'SELECT count(*) FROM workflow.activity'),
	0, 'nothing is left to do');

$node->stop;
done_testing();
