# start_job is part of the transaction that calls it; wait_for_job waits for
# what others started; workflow.enabled holds back what has not started.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main');

$node->safe_psql('postgres', 'CREATE TABLE effect (run_id bigint)');
define_package(
	$node,
	{
		name => 'p',
		steps => [
			{
				name => 'insert',
				command => 'INSERT INTO effect SELECT workflow.run_id()'
			}
		]
	});

is( scalar_query(
		$node,
		q{SELECT running, pid IS NOT NULL FROM workflow.agent, pg_stat_activity
		  WHERE backend_type = 'workflow scheduler' AND datname = current_database()}
	),
	't|t',
	'the agent runs after CREATE EXTENSION');

# Runs that must not start are followed by one that does: when it has ended,
# the agent has had its chance to start them.
sub runs_and_effects
{
	my ($run, $status) = start_and_wait($node, 'p');

	is($status, 'succeeded', 'a later run succeeds');
	return scalar_query(
		$node, qq{
			SELECT (SELECT count(*) FROM workflow.run_history WHERE run_id <> $run),
				   (SELECT count(*) FROM effect WHERE run_id <> $run)});
}

my $before = runs_and_effects();
is($before, '0|0', 'nothing has run before');
$node->safe_psql('postgres',
	q{BEGIN; SELECT workflow.start_job('p'); ROLLBACK});
is(runs_and_effects(), '1|1', 'a start that is rolled back starts nothing');

my $started = $node->safe_psql(
	'postgres', q{
		BEGIN;
		SAVEPOINT s;
		SELECT workflow.start_job('p') AS run \gset undone_
		ROLLBACK TO s;
		SAVEPOINT s;
		SELECT workflow.start_job('p') AS run \gset kept_
		RELEASE s;
		DO $$ BEGIN
			PERFORM workflow.start_job('p');
			RAISE division_by_zero;
		EXCEPTION WHEN division_by_zero THEN NULL;
		END $$;
		COMMIT;
		SELECT :kept_run});
is(wait_for_job($node, $started), 'succeeded',
	'a start in a released savepoint starts');
is(runs_and_effects(), '3|3',
	'starts that are rolled back to a savepoint start nothing');

isnt(
	psql_error(
		$node, q{SELECT workflow.start_job('p'), 1 / (workflow.start_job('p') - workflow.start_job('p') + 1)}
	),
	'',
	'a statement fails after it has started runs');
is(runs_and_effects(), '4|4', 'its runs do not start');

# Others see the run from the commit on.
my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN');
my $run = $session->query_safe(q{SELECT workflow.start_job('p')});
is(scalar_query($node,
		"SELECT count(*) FROM workflow.run_history WHERE run_id = $run"),
	0, 'nobody sees the run before the commit');
$session->query_safe('COMMIT');
is(wait_for_job($node, $run), 'succeeded', 'the run starts at the commit');
$session->quit;

# wait_for_job
like(
	psql_error(
		$node,
		q{BEGIN; SELECT workflow.wait_for_job(workflow.start_job('p'))}),
	qr/ERROR:  (?!57014)/,
	'waiting for a run that this transaction started is an error');
like(
	psql_error(
		$node, q{
			BEGIN;
			SELECT workflow.start_job('p') AS run \gset
			SELECT workflow.wait_for_job(:run, '1 hour');}),
	qr/ERROR:  (?!57014)/,
	'in a later statement, too');
like(psql_error($node, 'SELECT workflow.wait_for_job(0)'),
	qr/ERROR:  42704/, 'waiting for a run that does not exist is an error');

define_package(
	$node,
	{
		name => 'blocked',
		steps => [
			{
				name => 'first',
				command => 'SELECT pg_advisory_xact_lock_shared(1)'
			},
			{
				name => 'second',
				command => 'INSERT INTO effect SELECT workflow.run_id()',
				after => ['first']
			}
		]
	});

my $lock = hold_lock($node, 1);
my $blocked = start_job($node, 'blocked');
wait_for_lock_waiters($node, 1, 1);
is(scalar_query($node, "SELECT workflow.wait_for_job($blocked, '10 ms') IS NULL"),
	't', 'waiting ends with null at the time-out');

# workflow.enabled
$node->append_conf('postgresql.conf', 'workflow.enabled = off');
$node->reload;
$node->poll_query_until('postgres', 'SHOW workflow.enabled', 'off');
is( scalar_query(
		$node, "SELECT status FROM workflow.run_history WHERE run_id = $blocked"
	),
	'running',
	'what runs is not touched when workflow.enabled is turned off');
$lock->quit;
is(wait_for_job($node, $blocked), 'succeeded', 'it goes on');
is(scalar_query($node, "SELECT count(*) FROM effect WHERE run_id = $blocked"),
	1, 'with its next step');

$node->restart;
$node->poll_query_until('postgres', 'SELECT running FROM workflow.agent');
my ($first, $second) = (start_job($node, 'p'), start_job($node, 'p'));
is(scalar_query($node, "SELECT workflow.stop_job($second)"),
	't', 'a queued run is stopped while workflow.enabled is off');
is( scalar_query(
		$node,
		"SELECT status FROM workflow.run_history WHERE run_id = $first"),
	'queued',
	'a run stays queued while workflow.enabled is off');
is(scalar_query($node, "SELECT state FROM workflow.activity WHERE run = $first"),
	'queued', 'workflow.activity shows it');
$node->append_conf('postgresql.conf', 'workflow.enabled = on');
$node->reload;
is(wait_for_job($node, $first), 'succeeded', 'it starts after a reload');
is(scalar_query($node, "SELECT count(*) FROM effect WHERE run_id = $second"),
	0, 'the stopped one does not');

# A server that does not preload the library.
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
like(
	psql_error($node, q{SELECT workflow.start_job('p')}),
	qr/ERROR:  55000.*HINT: .*shared_preload_libraries/s,
	'start_job says that the library is not preloaded');

$node->stop;
done_testing();
