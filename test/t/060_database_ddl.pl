# Statements that need a database for themselves, while its agent is at work
# there: DROP DATABASE, ALTER DATABASE ... RENAME and SET TABLESPACE, CREATE
# DATABASE ... TEMPLATE.  Who has the right to them gets them, and what was at
# work goes on afterwards; nobody else disturbs the agent.  A copy does not
# execute what the original does.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node(
	'main',
	conf => q{
		max_prepared_transactions = 2
		restart_after_crash = on
		workflow.worker_idle_timeout = '1h'});
my $tablespace = PostgreSQL::Test::Utils::tempdir();

$node->safe_psql(
	'postgres', qq{
		CREATE ROLE owner LOGIN CREATEDB;
		CREATE ROLE poor LOGIN;
		CREATE ROLE other LOGIN CREATEDB;
		CREATE TABLESPACE place LOCATION '$tablespace';
		GRANT CREATE ON TABLESPACE place TO owner, other});

sub query
{
	my ($database, $sql) = @_;

	return $node->safe_psql($database, $sql);
}

# The error of a statement that a role executes in database postgres.
sub error_of
{
	my ($role, $sql) = @_;

	return psql_error($node, $sql, '-U', $role);
}

# That it has none.
sub succeeds
{
	my ($role, $sql) = @_;

	is(error_of($role, $sql), '', "$role: $sql");
	return;
}

# The agent's processes in a database, and when they came.
sub processes
{
	my ($database) = @_;

	return query(
		'postgres', qq{
			SELECT string_agg(concat_ws(' ', backend_type, pid), ', ' ORDER BY backend_start)
			FROM pg_stat_activity
			WHERE datname = '$database' AND backend_type LIKE 'workflow %'});
}

sub wait_for_agent_of
{
	my ($database) = @_;

	$node->poll_query_until($database, 'SELECT running FROM workflow.agent')
	  or die "the agent of $database does not run";
	return;
}

# A database with packages whose second step waits for a row in a table: of
# one that a worker carries out by itself, and of one with a timer.
sub create_database
{
	my ($name) = @_;

	query('postgres', "CREATE DATABASE $name OWNER owner TEMPLATE template0");
	query(
		$name, q{
			CREATE EXTENSION workflow;
			CREATE TABLE gate ();
			CREATE TABLE effect (run_id bigint, step text)});
	for my $package (qw(alone driven))
	{
		my $options = $package eq 'driven' ? ', "timeout": "1 h"' : '';

		query(
			$name, qq{
				SELECT workflow.define_package(\$def\$ {
					"name": "$package"$options, "steps": [
					{"name": "a", "command": "INSERT INTO effect SELECT workflow.run_id(), 'a'"},
					{"name": "b", "after": ["a"], "command": ["DO \$\$ BEGIN",
						"INSERT INTO effect SELECT workflow.run_id(), 'b';",
						"WHILE NOT EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.01); END LOOP;",
						"END \$\$"]}]} \$def\$)});
	}
	wait_for_agent_of($name);
	return;
}

# Start both packages and wait until they wait; and one run that is to wait.
sub start_runs
{
	my ($database) = @_;
	my $runs = query(
		$database, q{
			SELECT workflow.start_job('alone');
			SELECT workflow.start_job('driven')});

	query($database,
		q{SELECT workflow.start_job('alone', start_at => now() + '1 h')});
	wait_for_runs($database, $runs);
	return $runs;
}

# Start a run, and wait for its end.
sub start_and_wait_in
{
	my ($database, $package) = @_;
	my $run = query($database, "SELECT workflow.start_job('$package')");

	return query($database, "SELECT workflow.wait_for_job($run, '90 s')");
}

# Wait until the second step of the runs waits.
sub wait_for_runs
{
	my ($database, $runs) = @_;
	my $in = join(',', split(' ', $runs));

	$node->poll_query_until(
		$database, qq{
			SELECT count(*) = 2 FROM workflow.step_history AS s
				JOIN pg_stat_activity AS a USING (pid)
			WHERE run_id IN ($in) AND step = 'b' AND status = 'running'
			  AND a.wait_event = 'PgSleep'})
	  or die 'the runs do not wait';
	return;
}

# Let the runs go on to their end, and see that each step was executed once.
sub finish_runs
{
	my ($database, $runs, $name) = @_;
	my @runs = split(' ', $runs);
	my $in = join(',', @runs);

	wait_for_agent_of($database);
	query($database, 'INSERT INTO gate DEFAULT VALUES');
	is( query(
			$database,
			"SELECT workflow.wait_for_job(run_id, '90 s') FROM unnest('{$in}'::bigint[]) AS run_id"
		),
		"succeeded\nsucceeded",
		"$name: the runs go on");
	is( query(
			$database, qq{
				SELECT string_agg(step, ' ' ORDER BY run_id, step)
				FROM effect WHERE run_id IN ($in)}),
		'a b a b',
		"$name: each step is executed once");
	is( query(
			$database, qq{
				SELECT count(*) FROM workflow.step_history
				WHERE run_id IN ($in) AND (attempt <> 1 OR status <> 'succeeded')}),
		0,
		"$name: and has no other record");
	query($database, 'DELETE FROM gate');
	return;
}

# ---------------------------------------------------------------------------
# Who may not disturbs nobody
# ---------------------------------------------------------------------------

create_database('d');
my $runs = start_runs('d');
my $before = processes('d');
for my $case (
	[ 'other', 'DROP DATABASE d', 'must be owner of database d' ],
	[ 'other', 'DROP DATABASE d WITH (FORCE)', 'must be owner of database d' ],
	[ 'other', 'ALTER DATABASE d RENAME TO e', 'must be owner of database d' ],
	[ 'other', 'ALTER DATABASE d SET TABLESPACE place', 'must be owner of database d' ],
	[ 'other', 'CREATE DATABASE e TEMPLATE d', 'permission denied to copy database "d"' ],
	[ 'poor', 'CREATE DATABASE e TEMPLATE template1', 'permission denied to create database' ])
{
	my ($role, $sql, $error) = @$case;

	like(error_of($role, $sql), qr/ERROR:  42501: \Q$error\E$/m,
		"$role: $sql is refused");
}
query('postgres', 'ALTER DATABASE d OWNER TO poor');
like(error_of('poor', 'ALTER DATABASE d RENAME TO e'),
	qr/ERROR:  42501: permission denied to rename database$/m,
	'RENAME takes CREATEDB');
like(error_of('poor', 'CREATE DATABASE e TEMPLATE d'),
	qr/ERROR:  42501: permission denied to create database$/m,
	'a copy takes CREATEDB');
query('postgres', 'ALTER DATABASE d OWNER TO owner');
like(
	error_of(
		'owner', 'BEGIN; DROP DATABASE d; COMMIT'),
	qr/ERROR:  25001: DROP DATABASE cannot run inside a transaction block$/m,
	'nor does what cannot work');
is(processes('d'), $before, 'the agent was not disturbed');

# A session that stays connected keeps the statement from working; then the
# agent stays as well.
my $session = $node->background_psql('d');
$session->query_safe('SELECT 1');
like(error_of('owner', 'DROP DATABASE d'),
	qr/ERROR:  55006: database "d" is being accessed by other users$/m,
	'DROP DATABASE fails while somebody is connected');
is(processes('d'), $before, 'that does not disturb the agent');
$session->quit;

# ---------------------------------------------------------------------------
# RENAME, SET TABLESPACE
# ---------------------------------------------------------------------------

succeeds('owner', 'ALTER DATABASE d RENAME TO e');
finish_runs('e', $runs, 'RENAME');

$runs = start_runs('e');
succeeds('owner', 'ALTER DATABASE e SET TABLESPACE place');
finish_runs('e', $runs, 'SET TABLESPACE');

# While the transaction is open there is no agent; it comes back whatever
# becomes of the transaction.
for my $end (qw(COMMIT ROLLBACK terminate kill PREPARE))
{
	$runs = start_runs('e');
	$session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	$session->query_safe('BEGIN; ALTER DATABASE e RENAME TO f');
	is(processes('e'), '', "$end: no process of the agent is there meanwhile");
	query('postgres', 'CREATE DATABASE another; DROP DATABASE another')
	  if $end eq 'ROLLBACK';
	query('postgres', 'CREATE EXTENSION IF NOT EXISTS workflow; ALTER DATABASE template1 CONNECTION LIMIT -1');
	is(processes('e'), '', "$end: nor does one come when the agent is told to look");
	if ($end eq 'terminate')
	{
		query('postgres', "SELECT pg_terminate_backend($pid, 60000)");
	}
	elsif ($end eq 'kill')
	{
		kill 'KILL', $pid;
		$node->poll_query_until('postgres',
			"SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)");
	}
	elsif ($end eq 'PREPARE')
	{
		$session->query_safe(q{PREPARE TRANSACTION 'rename'});

		# who waits for the lock that stays does not keep others waiting
		query('postgres', 'CREATE DATABASE free');
		query('free', 'CREATE EXTENSION workflow');
		wait_for_agent_of('free');
		query('postgres', q{DROP DATABASE free});
		query('postgres', q{ROLLBACK PREPARED 'rename'});
	}
	else
	{
		$session->query_safe($end);
	}
	eval { $session->quit };
	query('postgres', 'ALTER DATABASE f RENAME TO e') if $end eq 'COMMIT';
	finish_runs('e', $runs, $end);
}

# Who waits for the agent to go can be cancelled, and the agent comes back.
$session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_safe(q{SET statement_timeout = '1s'});
my $blocker = $node->background_psql('e');
$blocker->query_safe('SELECT 1');
$before = processes('e');
$session->query('ALTER DATABASE e RENAME TO f');
like($session->{stderr}, qr/canceling statement due to statement timeout/,
	'the wait for others can be cancelled');
is(processes('e'), $before, 'the agent is there');
$session->quit;
$blocker->quit;

# ---------------------------------------------------------------------------
# Copies
# ---------------------------------------------------------------------------

my $sum = q{
	SELECT string_agg(concat_ws(' ', package, status, sqlstate, message), ', ' ORDER BY run_id)
	FROM workflow.run_history};
query('e', q{SELECT workflow.stop_job(run_id) FROM workflow.run_history WHERE status = 'queued'});
query('e', q{SELECT workflow.purge_history('0')});
$runs = start_runs('e');
my $id = query('e', 'SELECT installation_id FROM workflow.installation');
succeeds('owner', 'CREATE DATABASE copy TEMPLATE e');
wait_for_agent_of($_) for qw(copy e);
wait_for_runs('e', $runs);
my $failed = '55000 this database is a copy';
is( query('copy', $sum),
	"alone failed $failed, driven failed $failed, alone failed $failed",
	'in the copy, what was open has failed');
is( query(
		'copy', q{
			SELECT string_agg(DISTINCT concat_ws(' ', step, status, reason), ', ')
			FROM workflow.step_history WHERE status <> 'succeeded'}),
	'a skipped package failed, b skipped package failed',
	'and no step is executed');
is( query(
		'copy', qq{
			SELECT count(*), count(*) FILTER (WHERE installation_id = $id)
			FROM workflow.installation}),
	'1|0',
	'it has an id of its own');
is(query('e', 'SELECT installation_id FROM workflow.installation'),
	$id, 'the original keeps its id');
query('copy', 'INSERT INTO gate DEFAULT VALUES');
is(start_and_wait_in('copy', 'driven'), 'succeeded', 'the copy executes its own runs');
finish_runs('e', $runs, 'TEMPLATE');

# of the database where one is
is(psql_error($node, 'SELECT 1'), '', 'no error');
my ($result, $stdout, $stderr) =
  $node->psql('e', 'CREATE DATABASE second TEMPLATE e',
	extra_params => [ '-U', 'owner' ]);
is($result, 0, 'the current database can be copied') or diag $stderr;
wait_for_agent_of($_) for qw(second e);

# not in a step, which would have to make itself go
query(
	'e', q{
		SELECT workflow.create_package('copying');
		SELECT workflow.add_step('copying', 'a', 'CREATE DATABASE third TEMPLATE e')});
start_and_wait_in('e', 'copying');
is( query(
		'e', q{
			SELECT status, sqlstate, message FROM workflow.run_history
			WHERE package = 'copying'}),
	'failed|55006|source database "e" is being accessed by other users',
	'a step cannot copy its own database');

# a template has no agent
succeeds('owner', 'ALTER DATABASE second IS_TEMPLATE true');
$node->poll_query_until('postgres',
	q{SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'second'})
  or die 'the agent stays in a template';
pass('the agent leaves a database that becomes a template');
my $copied = query('second', q{SELECT workflow.start_job('driven')});
succeeds('other', 'CREATE DATABASE third TEMPLATE second');
wait_for_agent_of('third');
is( query(
		'third', "SELECT status, sqlstate, message FROM workflow.run_history WHERE run_id = $copied"
	),
	'failed|55000|this database is a copy',
	'a run that was queued in a template fails in its copy');
succeeds('owner', 'ALTER DATABASE second IS_TEMPLATE false');
wait_for_agent_of('second');
query('second', 'INSERT INTO gate DEFAULT VALUES');
is(query('second', "SELECT workflow.wait_for_job($copied, '90 s')"),
	'succeeded', 'and is executed there when it is none any more');

# ---------------------------------------------------------------------------
# reset_installation_id
# ---------------------------------------------------------------------------

$runs = start_runs('e');
like(
	psql_error($node, 'SELECT workflow.reset_installation_id()', '-d', 'e', '-U', 'owner'),
	qr/ERROR:  42501: permission denied for schema workflow/,
	'reset_installation_id takes rights on the schema');
query('e', 'GRANT USAGE ON SCHEMA workflow TO owner');
like(
	psql_error($node, 'SELECT workflow.reset_installation_id()', '-d', 'e', '-U', 'owner'),
	qr/ERROR:  42501: must be superuser to reset the installation id$/m,
	'and a superuser');
query('e', 'BEGIN; SELECT workflow.reset_installation_id(); ROLLBACK');
wait_for_runs('e', $runs);
my $new = query('e', 'SELECT workflow.reset_installation_id()');
isnt($new, $id, 'there is a new id');
my ($first) = split(' ', $runs);
is(query('e', "SELECT workflow.wait_for_job($first, '90 s')"),
	'failed', 'what was open has failed');
$node->poll_query_until('e',
	"SELECT installation_id = $new AND system_identifier <> 0 FROM workflow.installation"
) or die 'the id is not adopted';
pass('the id is kept');
is( query(
		'e', q{
			SELECT count(*) FROM workflow.run_history
			WHERE status NOT IN ('succeeded', 'failed', 'cancelled')}),
	0,
	'all of it');
wait_for_agent_of('e');
$node->restart;
wait_for_agent_of('e');
is(query('e', 'SELECT installation_id FROM workflow.installation'),
	$new, 'also by a restart');

# ---------------------------------------------------------------------------
# DROP
# ---------------------------------------------------------------------------

start_runs('e');
start_runs('copy') if query('copy', 'DELETE FROM gate') eq '';
succeeds('owner', 'DROP DATABASE e');
$session = $node->background_psql('copy', on_error_stop => 0);
$session->query_safe('SELECT 1');
query('postgres', 'GRANT pg_signal_backend TO owner');
$session->quit;
$session = $node->background_psql('copy', on_error_stop => 0,
	extra_params => [ '-U', 'owner' ]);
$session->query_safe('SELECT 1');
succeeds('owner', 'DROP DATABASE copy WITH (FORCE)');
eval { $session->quit };
is( query(
		'postgres',
		q{SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate}
	),
	'postgres second third',
	'databases are dropped');
is((scalar_query($node, 'SELECT running FROM workflow.agent')),
	't', 'other agents are there');
is( query(
		'postgres', q{
			SELECT count(*) FROM pg_stat_activity
			WHERE backend_type = 'workflow scheduler'}),
	3,
	'those of the databases that are left');

$node->stop;
my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|TRAP/, 'no process crashed');
unlike($log, qr/FATAL:  database \d+ does not exist/,
	'no scheduler is started for a database that was dropped');
done_testing();
