# A step that blocks never holds up runs that other workers could execute.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $workers = 4;

my $node = new_node('main', conf => "workflow.max_workers = $workers");

$node->safe_psql('postgres', 'CREATE TABLE effect (run_id bigint)');
my $effect = 'INSERT INTO effect SELECT workflow.run_id()';
my $block = 'SELECT pg_advisory_xact_lock_shared(1)';
define_package($node,
	{ name => 'quick', steps => [ { name => 'effect', command => $effect } ] }
);
define_package(
	$node,
	{
		name => 'slow',
		steps => [ { name => 'block', command => "$block; $effect" } ]
	});

# the same, driven by the scheduler since two steps run at once
define_package(
	$node,
	{
		name => 'quick_parallel',
		steps => [
			{ name => 'a', command => 'SELECT 1' },
			{ name => 'b', command => 'SELECT 1' },
			{ name => 'effect', command => $effect, after => [ 'a', 'b' ] }
		]
	});
define_package(
	$node,
	{
		name => 'slow_parallel',
		max_concurrent_steps => 2,
		steps => [
			{ name => 'block', command => $block },
			{ name => 'b', command => 'SELECT 1' },
			{ name => 'effect', command => $effect, after => [ 'block', 'b' ] }
		]
	});

# Start runs in one statement, so that they arrive at once, blocking ones
# among the others.
sub start_among
{
	my ($slow, $quick, $number, $positions) = @_;

	$node->safe_psql(
		'postgres', qq{
			TRUNCATE effect;
			DROP TABLE IF EXISTS started;
			CREATE TABLE started AS
			SELECT p AS package, workflow.start_job(p) AS run_id
			FROM generate_series(1, $number) AS i,
				 LATERAL (SELECT CASE WHEN i IN ($positions)
							THEN '$slow' ELSE '$quick' END) AS q(p)});
	return;
}

sub is_not_held_up
{
	my ($slow, $quick, $number, $positions, $what) = @_;
	my $blocking = () = $positions =~ /\d+/g;
	my $flowing = $number - $blocking;
	my $lock = hold_lock($node, 1);

	start_among($slow, $quick, $number, $positions);
	ok( $node->poll_query_until(
			'postgres', 'SELECT count(*) FROM effect', $flowing),
		"$what: the others end");
	wait_for_lock_waiters($node, 1, $blocking);
	is( scalar_query(
			$node, q{
				SELECT package, status, count(*)
				FROM started JOIN workflow.run_history USING (run_id, package)
				GROUP BY package, status ORDER BY package}),
		"$quick|succeeded|$flowing\n$slow|running|$blocking",
		"$what: the blocked ones run meanwhile");
	$lock->quit;
	is( scalar_query(
			$node, q{
				SELECT status, count(*)
				FROM (SELECT workflow.wait_for_job(run_id, '90 s') AS status
					  FROM started) AS ended
				GROUP BY status}),
		"succeeded|$number",
		"$what: all end when nothing blocks any more");
	is( scalar_query(
			$node, 'SELECT count(*), count(DISTINCT run_id) FROM effect'),
		"$number|$number",
		"$what: each has one effect");
	return;
}

is_not_held_up('slow', 'quick', 300, '1', 'one blocks, cold pool');
is_not_held_up('slow', 'quick', 300, '1', 'one blocks, warm pool');
is_not_held_up('slow', 'quick', 300, '1, 2, 3', 'all but one worker block');
is_not_held_up('slow', 'quick', 300, '7, 150, 299', 'blocked among others');
is_not_held_up('slow_parallel', 'quick', 300, '1, 40',
	'a run of the scheduler blocks');
is_not_held_up('slow', 'quick_parallel', 100, '1, 40',
	'the scheduler drives the others');

$node->stop;
done_testing();
