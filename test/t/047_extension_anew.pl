# DROP EXTENSION and CREATE EXTENSION in one transaction: another agent takes
# over, and nothing of the former extension is left.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main');

sub define_quick
{
	return define_package($node,
		{ name => 'quick', steps => [ { name => 'q', command => 'SELECT 1' } ] }
	);
}

$node->safe_psql('postgres', 'CREATE TABLE effect (step text)');
for my $round (1 .. 3)
{
	# an idle worker, and in the end one that is at work, and a queued run
	define_quick();
	is((start_and_wait($node, 'quick'))[1],
		'succeeded', "round $round: the agent works");
	my $before = scalar_query($node, 'SELECT scheduler_pid FROM workflow.agent');
	my $lock;
	if ($round > 1)
	{
		define_package(
			$node,
			{
				name => 'blocked',
				timeout => $round == 3 ? '1 h' : undef,
				steps => [
					{ name => 'a', command => 'SELECT 1' },
					{
						name => 'b',
						command =>
						  q{SELECT pg_advisory_xact_lock_shared(1); INSERT INTO effect VALUES ('b')},
						after => ['a']
					}
				]
			});
		$lock = hold_lock($node, 1);
		start_job($node, 'blocked');
		wait_for_lock_waiters($node, 1, 1);
		scalar_query($node,
			"SELECT workflow.start_job('quick', start_at => now() + '1 h')");
	}
	$node->safe_psql(
		'postgres', q{
			BEGIN;
			DROP EXTENSION workflow;
			CREATE EXTENSION workflow;
			SELECT workflow.define_package('{"name": "quick", "steps": [{"name": "q", "command": "SELECT 1"}]}');
			SELECT workflow.start_job('quick') FROM generate_series(1, 3);
			COMMIT});
	$node->poll_query_until('postgres',
		"SELECT running AND scheduler_pid <> $before FROM workflow.agent")
	  or die 'no other agent takes over';
	pass("round $round: another agent takes over");
	is( scalar_query(
			$node, q{
				SELECT string_agg(coalesce(workflow.wait_for_job(run_id, '60 s'), 'open'), ' ')
				FROM workflow.run_history}),
		'succeeded succeeded succeeded',
		"round $round: the runs of the same transaction are executed");
	is(lock_waiters($node, 1), 0,
		"round $round: what the former one executed has ended");
	$lock->quit if defined $lock;
	is((start_and_wait($node, 'quick'))[1],
		'succeeded', "round $round: the new agent works");
	is( scalar_query(
			$node, q{
				SELECT count(*), count(DISTINCT run_id), count(DISTINCT package),
					   (SELECT count(*) FROM effect)
				FROM workflow.step_history}),
		'4|4|1|0',
		"round $round: nothing of the former extension is left");
}

$node->stop;
done_testing();
