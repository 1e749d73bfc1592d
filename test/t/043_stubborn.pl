# A step that does not heed the request to end: stop_job says which process it
# is, and `force` ends it.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main');

# It swallows every cancel.
my $stubborn = q{
	DO $$
	BEGIN
		LOOP
			BEGIN
				PERFORM pg_sleep(3600);
			EXCEPTION WHEN query_canceled THEN
				RAISE NOTICE 'not now';
			END;
		END LOOP;
	END $$};

$node->safe_psql('postgres', 'CREATE TABLE effect (step text)');
define_package(
	$node,
	{
		name => 'inline',
		steps => [
			{ name => 'a', command => "INSERT INTO effect VALUES ('a')" },
			{
				name => 'b',
				command => "INSERT INTO effect VALUES ('b'); $stubborn",
				after => ['a']
			},
			{
				name => 'c',
				command => "INSERT INTO effect VALUES ('c')",
				after => ['b']
			}
		]
	});
define_package(
	$node,
	{
		name => 'parent',
		steps => [
			{ name => 'p', kind => 'package', command => 'inline' },
			{
				name => 'z',
				command => "INSERT INTO effect VALUES ('z')",
				finally => 'failure'
			}
		]
	});

for my $package (qw(inline parent))
{
	$node->safe_psql('postgres', 'TRUNCATE effect');
	my $run = start_job($node, $package);
	my $sleeper = q{
		SELECT pid FROM pg_stat_activity
		WHERE backend_type = 'workflow worker' AND wait_event = 'PgSleep'};
	$node->poll_query_until('postgres', "SELECT ($sleeper) IS NOT NULL")
	  or die 'the step does not sleep';
	my $pid = scalar_query($node, $sleeper);

	my ($result, $stdout, $stderr) =
	  $node->psql('postgres', "SELECT workflow.stop_job($run, 'halt')");
	is($stdout, 't', "$package: stop_job returns");
	like($stderr, qr/WARNING:  run $run has not ended yet/,
		"$package: with a warning");
	like($stderr, qr/process with PID $pid does not respond/,
		"$package: which names the process");
	is(scalar_query($node, "SELECT workflow.wait_for_job($run, '0')"),
		'', "$package: the run has not ended");

	($result, $stdout, $stderr) =
	  $node->psql('postgres', "SELECT workflow.stop_job($run, force => true)");
	is("$stdout$stderr", 't', "$package: with force the run is stopped");
	is( scalar_query(
			$node, qq{
				SELECT status, stop_reason FROM workflow.run_history
				WHERE run_id = $run}),
		'cancelled|halt',
		"$package: it is cancelled, by who asked first");
	is( scalar_query(
			$node, qq{
				SELECT string_agg(concat_ws(' ', step, attempt, status, reason), ', '
								  ORDER BY s.run_id, step)
				FROM workflow.step_history AS s WHERE root_run_id = $run}),
		($package eq 'parent' ? 'p 1 cancelled, z 1 succeeded, ' : '')
		  . 'a 1 succeeded, b 1 cancelled, c 0 skipped cancelled',
		"$package: its step is cancelled, and no other one starts");
	is( scalar_query(
			$node, "SELECT string_agg(step, ' ' ORDER BY step) FROM effect"),
		$package eq 'parent' ? 'a z' : 'a',
		"$package: the step's effects are undone");
	is(scalar_query($node, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid"),
		0, "$package: the process is gone");
}

define_package($node,
	{ name => 'quick', steps => [ { name => 'q', command => 'SELECT 1' } ] });
is((start_and_wait($node, 'quick'))[1], 'succeeded', 'the agent goes on');

$node->stop;
done_testing();
