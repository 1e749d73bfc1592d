# workflow.log_runs: lines in the server log at the begin and the end of runs.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main',
	conf => "log_line_prefix = '%b %e '\nlog_min_messages = warning\n");

define_package($node,
	{ name => 'good', steps => [ { name => 'a', command => 'SELECT 1' } ] });
define_package($node,
	{ name => 'bad', steps => [ { name => 'a', command => 'SELECT 1 / 0' } ] }
);
define_package(
	$node,
	{
		name => 'outer',
		fail_on_first_error => $false,
		steps => [
			{ name => 'a', kind => 'package', command => 'bad' },
			{ name => 'b', command => 'SELECT 1' },
		]
	});
define_package(
	$node,
	{
		name => 'outer bad',
		steps => [ { name => 'a', kind => 'package', command => 'bad' } ]
	});
define_package(
	$node,
	{
		name => 'slow',
		steps => [
			{ name => 'a', command => 'SELECT pg_advisory_xact_lock_shared(1)' }
		]
	});
$node->safe_psql('postgres',
	'CREATE TABLE late (i int UNIQUE DEFERRABLE INITIALLY DEFERRED)');
define_package(
	$node,
	{
		name => 'late',
		settings => { default_transaction_isolation => 'serializable' },
		steps => [
			{
				name => 'a',
				command =>
				  'SELECT pg_advisory_lock_shared(1), pg_advisory_unlock_shared(1); INSERT INTO late SELECT count(*) FROM late'
			}
		]
	});

# The lines about runs since the last call, without what differs.
my $offset;

sub lines
{
	my @lines = grep { /LOG:  workflow run/ }
	  split(/\n/, slurp_file($node->logfile, $offset));

	$offset = -s $node->logfile;
	s/run \d+/run N/, s/\d+\.\d{3} s/T s/ for @lines;
	return join("\n", @lines);
}

# Wait until the setting has come to all who write such lines.
sub set_log_runs
{
	my ($value) = @_;

	$node->append_conf('postgresql.conf', "workflow.log_runs = $value");
	$node->restart;
	wait_for_agent($node);
	$offset = -s $node->logfile;
	return;
}

sub stop_slow
{
	my ($arguments) = @_;
	my $lock = hold_lock($node, 1);
	my $run = start_job($node, 'slow');

	wait_for_lock_waiters($node, 1, 1);
	scalar_query($node, "SELECT workflow.stop_job($run$arguments)");
	$lock->quit;
	return;
}

$offset = -s $node->logfile;
start_and_wait($node, $_) for ('good', 'bad', 'outer');
is(lines(), '', 'off: nothing is logged');

set_log_runs('failures');
start_and_wait($node, $_) for ('good', 'bad', 'outer', 'outer bad');
stop_slow(q{, 'enough of it'});
is( lines(), join("\n",
		'workflow worker 22012 LOG:  workflow run N of package "bad" failed after T s at step "a": division by zero',
		'workflow worker 22012 LOG:  workflow run N of package "bad" failed after T s at step "a": division by zero',
		'workflow worker 22012 LOG:  workflow run N of package "bad" failed after T s at step "a": division by zero',
		'workflow scheduler 22012 LOG:  workflow run N of package "outer bad" failed after T s at step "a/a": division by zero',
		'workflow worker 00000 LOG:  workflow run N of package "slow" cancelled after T s: enough of it'
	),
	'failures: a line for each run that failed or was stopped');

set_log_runs('all');
start_and_wait($node, 'good');
is( lines(), join("\n",
		'workflow worker 00000 LOG:  workflow run N of package "good" begins',
		'workflow worker 00000 LOG:  workflow run N of package "good" succeeded after T s'
	),
	'all: begin and end of a run');
start_and_wait($node, 'outer');
is( join("\n", sort split(/\n/, lines())), join("\n",
		'workflow scheduler 00000 LOG:  workflow run N of package "outer" begins',
		'workflow scheduler 00000 LOG:  workflow run N of package "outer" succeeded after T s, failed steps: 1',
		'workflow worker 00000 LOG:  workflow run N of package "bad" begins',
		'workflow worker 22012 LOG:  workflow run N of package "bad" failed after T s at step "a": division by zero'
	),
	'of a child run, and of one that the scheduler drives');
my $run = scalar_query($node,
	q{SELECT workflow.start_job('good', start_at => 'infinity')});
scalar_query($node, "SELECT workflow.stop_job($run)");
is( lines(),
	'workflow scheduler 00000 LOG:  workflow run N of package "good" cancelled',
	'a run that never began');

# A commit that fails is no end.
my $lock = hold_lock($node, 1);
my @runs = map { start_job($node, 'late') } 1 .. 2;
wait_for_lock_waiters($node, 1, 2);
$lock->quit;
is( join(' ', sort map { wait_for_job($node, $_) } @runs),
	'failed succeeded',
	'one of two runs fails at its commit');
my $lines = lines();
is(() = $lines =~ /succeeded/g, 1, 'one line tells of success');
is(() = $lines =~ /failed/g, 1, 'one of failure');
is(() = $lines =~ /40001/g, 1, 'with its SQLSTATE');

# A run that goes on after a crash.
$lock = hold_lock($node, 1);
$run = start_job($node, 'slow');
wait_for_lock_waiters($node, 1, 1);
stop_immediately($node);
$lock->quit;
$node->start;
wait_for_agent($node);
is(wait_for_job($node, $run), 'succeeded', 'a run goes on after a crash');
is( lines(), join("\n",
		'workflow worker 00000 LOG:  workflow run N of package "slow" begins',
		'workflow worker 00000 LOG:  workflow run N of package "slow" goes on',
		'workflow worker 00000 LOG:  workflow run N of package "slow" succeeded after T s'
	),
	'begin, going on and end');

$node->stop;
done_testing();
