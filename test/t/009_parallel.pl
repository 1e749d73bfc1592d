# Steps really run at the same time, as many as max_concurrent_steps says, and
# one at a time on a named connection.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main', conf => 'workflow.max_workers = 8');

$node->safe_psql(
	'postgres', q{
		CREATE SEQUENCE arrived;
		CREATE TABLE session (run_id bigint, step text, pid int);

		-- returns when so many sessions have arrived; the value of a sequence
		-- is seen by others at once
		CREATE FUNCTION meet(number bigint) RETURNS void LANGUAGE plpgsql AS $$
		DECLARE
			give_up timestamptz := clock_timestamp() + interval '60 s';
		BEGIN
			PERFORM nextval('arrived');
			WHILE (SELECT last_value FROM arrived) < number LOOP
				IF clock_timestamp() > give_up THEN
					RAISE 'nobody else comes';
				END IF;
				PERFORM pg_sleep(0.01);
			END LOOP;
		END $$});

# Steps that wait for each other.
define_package(
	$node,
	{
		name => 'meet',
		max_concurrent_steps => 3,
		steps =>
		  [ map { { name => $_, command => 'SELECT meet(3)' } } qw(a b c) ]
	});
my ($run, $status) = start_and_wait($node, 'meet');
is($status, 'succeeded', 'three steps run at the same time');
is( scalar_query(
		$node, qq{
			SELECT count(DISTINCT pid), max(started_at) < min(finished_at)
			FROM workflow.step_history WHERE run_id = $run}),
	'3|t',
	'in three sessions, as step_history shows');

# No more than max_concurrent_steps at a time: they stand before a lock, and
# the agent has seen to everything when another run has ended.
define_package(
	$node,
	{
		name => 'six',
		max_concurrent_steps => 2,
		steps => [
			map {
				{
					name => $_,
					command => 'SELECT pg_advisory_xact_lock_shared(1)'
				}
			} qw(a b c d e f)
		]
	});
define_package($node,
	{ name => 'quick', steps => [ { name => 'a', command => 'SELECT 1' } ] });
define_package(
	$node,
	{
		name => 'quick_graph',
		steps =>
		  [ map { { name => $_, command => 'SELECT 1' } } qw(a b) ]
	});

sub wait_until_settled
{
	my ($waiters) = @_;

	wait_for_lock_waiters($node, 1, $waiters);
	for my $package (qw(quick quick_graph))
	{
		my ($other, $ended) = start_and_wait($node, $package);
		is($ended, 'succeeded', 'another run ends meanwhile');
	}
	return;
}

sub statuses
{
	my ($id) = @_;

	return scalar_query(
		$node, qq{
			SELECT string_agg(status || ' ' || n, ', ' ORDER BY status)
			FROM (SELECT status, count(*) AS n FROM workflow.step_history
				  WHERE run_id = $id GROUP BY status) AS s});
}

my $lock = hold_lock($node, 1);
$run = start_job($node, 'six');
wait_until_settled(2);
is(lock_waiters($node, 1), 2, 'two steps execute');
is(statuses($run), 'running 2, waiting 4', 'step_history shows it');
is( scalar_query(
		$node, qq{
			SELECT count(*) FROM workflow.activity
			WHERE run = $run AND step IS NOT NULL AND state = 'running'}),
	2,
	'workflow.activity shows it');
$lock->quit;
is(wait_for_job($node, $run), 'succeeded', 'the run succeeds');
is(statuses($run), 'succeeded 6', 'with all its steps');
is( scalar_query(
		$node, qq{
			SELECT max(n) FROM (
				SELECT count(*) AS n
				FROM workflow.step_history AS a JOIN workflow.step_history AS b
				  ON a.run_id = b.run_id AND a.started_at >= b.started_at
				  AND a.started_at < b.finished_at
				WHERE a.run_id = $run
				GROUP BY a.step) AS overlapping}),
	2,
	'of which no three ever overlapped');

# Steps of one named connection are serialised, and have one session.
my $session = 'INSERT INTO session SELECT workflow.run_id(), workflow.step_name(), pg_backend_pid()';
define_package(
	$node,
	{
		name => 'connections',
		connections => [ { name => 'one' }, { name => 'two' } ],
		steps => [
			map {
				{
					name => "$_->[0]",
					connection => $_->[1],
					command => "$session; SELECT pg_advisory_xact_lock_shared(1)"
				}
			} ([ a => 'one' ], [ b => 'one' ], [ c => 'two' ])
		]
	});
$lock = hold_lock($node, 1);
$run = start_job($node, 'connections');
wait_until_settled(2);
is(lock_waiters($node, 1), 2, 'one step executes on each connection');
is( scalar_query(
		$node, qq{
			SELECT string_agg(wait, ', ') FROM workflow.activity
			WHERE run = $run AND wait LIKE 'connection%'}),
	'connection one',
	'workflow.activity shows what the other one waits for');
$lock->quit;
is(wait_for_job($node, $run), 'succeeded', 'the run succeeds');
is( scalar_query(
		$node, qq{
			SELECT string_agg(steps, ' and ' ORDER BY steps)
			FROM (SELECT string_agg(step, ', ' ORDER BY step) AS steps
				  FROM session WHERE run_id = $run GROUP BY pid) AS s}),
	'a, b and c',
	'each connection is one session');

# More runs than sessions: they wait, and all end.
$node->safe_psql(
	'postgres', q{
		CREATE TABLE started AS
		SELECT workflow.start_job(p) AS run_id
		FROM generate_series(1, 30),
			 unnest('{six,connections,quick,quick_graph}'::text[]) AS p});
is( scalar_query(
		$node, q{
			SELECT status, count(*)
			FROM (SELECT workflow.wait_for_job(run_id, '150 s') AS status
				  FROM started) AS ended
			GROUP BY status}),
	'succeeded|120',
	'many runs at once all end');

$node->stop;
done_testing();
