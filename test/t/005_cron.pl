# pg_cron, in the same cluster, starts runs.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node(
	'main', conf => q{
		shared_preload_libraries = 'pg_cron,workflow'
		cron.database_name = 'postgres'
		cron.use_background_workers = on
	});

$node->safe_psql(
	'postgres', q{
		CREATE EXTENSION pg_cron;
		CREATE ROLE night LOGIN;
		GRANT USAGE ON SCHEMA workflow, cron TO night;
		CREATE TABLE effect (run_id bigint, who name);
		GRANT INSERT ON effect TO night});
define_package(
	$node,
	{
		name => 'nightly',
		steps => [
			{
				name => 'insert',
				command =>
				  'INSERT INTO effect SELECT workflow.run_id(), current_user'
			}
		]
	},
	'-U', 'night');

# Schedules of seconds came with pg_cron 1.5; a minute begins soon enough.
my $version = scalar_query($node,
	q{SELECT extversion FROM pg_extension WHERE extname = 'pg_cron'});
my $schedule =
  PostgreSQL::Version->new($version =~ s/-.*//r) >= 1.5
  ? '1 second'
  : '* * * * *';

is( scalar_query(
		$node,
		qq{SELECT cron.schedule('start nightly', '$schedule',
				\$\$SELECT workflow.start_job('nightly')\$\$)},
		'-U',
		'night'),
	1,
	"pg_cron $version has a schedule");

ok( $node->poll_query_until(
		'postgres', q{
			SELECT count(*) > 0 FROM workflow.run_history
			WHERE package = 'nightly' AND status = 'succeeded'}),
	'run_history shows a run');
$node->safe_psql('postgres', q{SELECT cron.unschedule('start nightly')},
	extra_params => [ '-U', 'night' ]);

is( scalar_query(
		$node, q{
			SELECT DISTINCT status, requested_by
			FROM workflow.run_history WHERE status = 'succeeded'}),
	'succeeded|night',
	'requested by the role of the schedule');
is( scalar_query(
		$node, q{
			SELECT DISTINCT who FROM effect JOIN workflow.run_history USING (run_id)
			WHERE status = 'succeeded'}),
	'night',
	'with its effect, by the owner of the package');
ok( $node->poll_query_until(
		'postgres', q{
			SELECT count(*) > 0 FROM cron.job_run_details
			WHERE status = 'succeeded'}),
	'pg_cron saw its own job succeed');

$node->stop;
done_testing();
