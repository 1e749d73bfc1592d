# The server stops in the middle of the work: what was queued or running is
# executed after the start, what was committed is not executed again.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $runs = 1000;

my $node = new_node('main');

$node->safe_psql('postgres',
	'CREATE TABLE effect (run_id bigint, step text); CREATE TABLE started (run_id bigint)'
);
my $effect =
  'INSERT INTO effect SELECT workflow.run_id(), workflow.step_name()';
my $block = 'SELECT pg_advisory_xact_lock_shared(1)';
define_package($node,
	{ name => 'quick', steps => [ { name => 'only', command => $effect } ] });
define_package(
	$node,
	{
		name => 'chain',
		steps => [
			{ name => 'a', command => $effect },
			{ name => 'b', command => "$effect; $block", after => ['a'] },
			{ name => 'c', command => $effect, after => ['b'] }
		]
	});
define_package(
	$node,
	{
		name => 'child',
		steps => [
			{ name => 'd', command => $effect },
			{ name => 'e', command => "$effect; $block", after => ['d'] }
		]
	});
define_package(
	$node,
	{
		name => 'graph',
		steps => [
			{ name => 'a', command => $effect },
			{ name => 'b', command => "$effect; $block", after => ['a'] },
			{
				name => 'c',
				kind => 'package',
				command => 'child',
				after => ['a']
			},
			{ name => 'f', command => $effect, after => [ 'b', 'c' ] }
		]
	});

sub resumes_after
{
	my ($mode) = @_;
	my $lock = hold_lock($node, 1);

	$node->safe_psql(
		'postgres', q{
			TRUNCATE effect, started;
			INSERT INTO started
			SELECT workflow.start_job(p)
			FROM unnest('{chain,chain,graph}'::text[]) AS p});
	# b of each of the three, and e of the child
	wait_for_lock_waiters($node, 1, 4);
	is( scalar_query(
			$node,
			'SELECT string_agg(step, NULL ORDER BY step) FROM effect'),
		'aaad',
		"$mode: first steps are committed, second ones run");

	$node->append_conf('postgresql.conf', 'workflow.enabled = off');
	$node->reload;
	$node->poll_query_until('postgres', 'SHOW workflow.enabled', 'off');
	$node->safe_psql(
		'postgres', qq{
			INSERT INTO started
			SELECT workflow.start_job('quick') FROM generate_series(1, $runs)});

	$node->stop($mode);
	eval { $lock->quit };
	$node->append_conf('postgresql.conf', 'workflow.enabled = on');
	$node->start;

	is( scalar_query(
			$node, q{
				SELECT status, count(*)
				FROM (SELECT workflow.wait_for_job(run_id, '120 s') AS status
					  FROM started) AS ended
				GROUP BY status}),
		'succeeded|' . ($runs + 3),
		"$mode: all runs end after the start");
	is( scalar_query(
			$node, q{
				SELECT count(*), count(DISTINCT run_id)
				FROM effect WHERE step = 'only'}),
		"$runs|$runs",
		"$mode: what was queued was executed once");
	is( scalar_query(
			$node, q{
				SELECT string_agg(step, NULL ORDER BY step)
				FROM effect WHERE step <> 'only'}),
		'aaabbbccdef',
		"$mode: what was running was executed once");
	is( scalar_query(
			$node, q{
				SELECT count(*) FROM workflow.run_history AS c
				JOIN started AS p ON c.parent_run_id = p.run_id
				WHERE c.package = 'child' AND c.status = 'succeeded'}),
		1,
		"$mode: the child was resumed, not started twice");
	is( scalar_query(
			$node, q{
				SELECT count(*), count(DISTINCT (s.run_id, s.step))
				FROM workflow.step_history AS s
				JOIN started AS p ON s.root_run_id = p.run_id
				WHERE s.status = 'succeeded'}),
		join('|', ($runs + 2 * 3 + 4 + 2) x 2),
		"$mode: step_history has each step once");
	return;
}

resumes_after('immediate');
resumes_after('fast');

my ($run, $status) = start_and_wait($node, 'quick');
is($status, 'succeeded', 'the agent goes on');

$node->stop;
done_testing();
