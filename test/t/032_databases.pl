# Several databases of a cluster have the extension: each has its own agent,
# packages and runs; the extension, or the database, goes while runs execute.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main');

# In database $database; there are more than those of postgres.
sub query
{
	my ($database, $sql) = @_;

	return $node->safe_psql($database, $sql);
}

sub has_agent
{
	my ($database) = @_;

	return $node->poll_query_until($database,
		'SELECT running FROM workflow.agent');
}

sub create_packages
{
	my ($database) = @_;

	query(
		$database, qq{
			SET client_min_messages = error;
			CREATE TABLE effect (what text);
			SELECT workflow.create_package('p', description => '$database');
			SELECT workflow.add_step('p', 'a', 'INSERT INTO effect VALUES (current_database())');
			SELECT workflow.create_package('blocked');
			SELECT workflow.add_step('blocked', 'a', 'INSERT INTO effect VALUES (''blocked'')');
			SELECT workflow.add_step('blocked', 'b', 'SELECT pg_sleep(3600)', after => '{a}')});
	return;
}

# The number of the agent's processes in a database.
sub processes
{
	my ($database) = @_;

	return query('postgres',
		"SELECT count(*) FROM pg_stat_activity WHERE datname = '$database' AND backend_type LIKE 'workflow %'"
	);
}

# Start a run that sleeps in its second step.
sub start_blocked
{
	my ($database) = @_;
	my $run = query($database, q{SELECT workflow.start_job('blocked')});

	$node->poll_query_until($database,
		"SELECT EXISTS (SELECT FROM workflow.step_history WHERE run_id = $run AND step = 'b' AND status = 'running')"
	) or die 'the step does not start';
	return $run;
}

query('postgres', "CREATE DATABASE $_") for qw(b c without);
query($_, 'CREATE EXTENSION workflow') for qw(b c);
ok(has_agent($_), "$_ has an agent") for qw(postgres b c);
is( query(
		'postgres', q{
			SELECT count(DISTINCT pid), count(DISTINCT datname)
			FROM pg_stat_activity WHERE backend_type = 'workflow scheduler'}),
	'3|3',
	'there are three schedulers in three databases');
is(processes('without'), 0, 'and none in one without the extension');

create_packages($_) for qw(postgres b c);
for my $database (qw(postgres b c))
{
	my $run = query($database, q{SELECT workflow.start_job('p')});

	is($run, 1, "$database: the first run");
	is(query($database, "SELECT workflow.wait_for_job($run)"),
		'succeeded', "$database: it succeeds");
	is(query($database, 'SELECT what FROM effect'),
		$database, "$database: there");
}

# What is done in one is not felt in another.
my %run = map { $_ => start_blocked($_) } qw(postgres b c);
is(join(' ', @run{qw(postgres b c)}), '2 2 2', 'runs are numbered in each');
is(query('b', "SELECT workflow.stop_job($run{b})"), 't', 'one is stopped');
is( join(' ',
		map {
			query($_,
				"SELECT status FROM workflow.run_history WHERE run_id = $run{$_}")
		} qw(postgres b c)),
	'running cancelled running',
	'the runs of the same number in other databases go on');
is( query(
		'b', q{SELECT queued, running_runs FROM workflow.agent}),
	'0|0',
	'workflow.agent shows what is in its database');

# DROP EXTENSION while a run executes; then again.
query('c', 'DROP EXTENSION workflow');
ok( $node->poll_query_until(
		'postgres',
		q{SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'c' AND backend_type LIKE 'workflow %'}
	),
	'with the extension go its processes, and what they execute');
query('c', 'CREATE EXTENSION workflow; DROP TABLE effect');
ok(has_agent('c'), 'with a new one comes an agent');
create_packages('c');
is(query('c', q{SELECT workflow.start_job('p')}), 1, 'runs begin at one again');
is(query('c', 'SELECT workflow.wait_for_job(1)'), 'succeeded', 'and succeed');
query('c', 'BEGIN; DROP EXTENSION workflow; ROLLBACK');
is(query('c', q{SELECT workflow.start_job('p')}),
	2, 'DROP EXTENSION that is rolled back');
is(query('c', 'SELECT workflow.wait_for_job(2)'),
	'succeeded', 'leaves the agent as it was');

# DROP DATABASE: after DROP EXTENSION, and by force while a run executes.
query('c', 'DROP EXTENSION workflow');
query('postgres', 'DROP DATABASE c');
start_blocked('b');
query('postgres', 'DROP DATABASE b WITH (FORCE)');
is(processes('b'), 0, 'a database goes with its agent');
query('postgres', 'CREATE DATABASE b');
query('b', 'CREATE EXTENSION workflow');
ok(has_agent('b'), 'another of its name gets another agent');
create_packages('b');
is(query('b', q{SELECT workflow.start_job('p')}), 1, 'a run there');
is(query('b', 'SELECT workflow.wait_for_job(1)'), 'succeeded', 'succeeds');

is( query('postgres',
		"SELECT status FROM workflow.run_history WHERE run_id = $run{postgres}"),
	'running',
	'the run of postgres does not notice');
is(query('postgres', "SELECT workflow.stop_job($run{postgres})"),
	't', 'it is stopped');
is(query('postgres', 'SELECT last_error FROM workflow.agent'),
	'', 'its agent had no error');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|terminated by signal|TRAP/,
	'no process crashed');
done_testing();
