# pause_job and resume_job leave everything else about a run as it was: when
# it may start, beside how many others, in which sessions.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $workers = 4;

my $node = new_node('main', conf => "workflow.max_workers = $workers");

sub pause
{
	return scalar_query($node, "SELECT workflow.pause_job($_[0])");
}

sub resume
{
	return scalar_query($node, "SELECT workflow.resume_job($_[0])");
}

# With this turned off runs stay queued.
sub set_enabled
{
	my ($value) = @_;

	$node->append_conf('postgresql.conf', "workflow.enabled = $value");
	$node->reload;
	$node->poll_query_until('postgres',
		"SELECT enabled = '$value' FROM workflow.agent")
	  or die "workflow.enabled is not $value";
	return;
}

# As many runs as there are workers, paused before they began.
sub start_paused
{
	my ($package) = @_;

	set_enabled('off');
	my @runs = map { start_job($node, $package) } 1 .. $workers;
	is(pause($_), 't', 'a queued run is paused') for @runs;
	set_enabled('on');
	return @runs;
}

# The status of a run, '' if it does not end within seconds.
sub ends_soon
{
	my ($run) = @_;

	return scalar_query($node, "SELECT workflow.wait_for_job($run, '5 s')");
}

define_package($node,
	{ name => 'quick', steps => [ { name => 'a', command => 'SELECT 1' } ] });
define_package(
	$node,
	{
		name => 'parallel',
		steps =>
		  [ map { { name => $_, command => 'SELECT 1' } } qw(a b) ]
	});
define_package(
	$node,
	{
		name => 'parent',
		steps => [
			{ name => 'a', command => 'SELECT pg_advisory_xact_lock_shared(1)' },
			{
				name => 'child',
				kind => 'package',
				command => 'quick',
				after => ['a']
			}
		]
	});

# start_at
my $run = scalar_query($node,
	"SELECT workflow.start_job('quick', start_at => now() + '1 h')");
pause($run);
resume($run);
is((start_and_wait($node, 'quick'))[1], 'succeeded', 'another run ends meanwhile');
is( scalar_query(
		$node,
		"SELECT status FROM workflow.run_history WHERE run_id = $run"),
	'queued',
	'a run still waits for its time after a pause');

# max_concurrent_runs
define_package(
	$node,
	{
		name => 'alone',
		max_concurrent_runs => 1,
		steps => [
			{
				name => 'a',
				command => 'SELECT pg_advisory_xact_lock_shared(1)',
				timeout => '1 h'
			}
		]
	});
my $lock = hold_lock($node, 1);
my @runs = map { start_job($node, 'alone') } 1 .. 3;
wait_for_lock_waiters($node, 1, 1);
for (@runs[ 1, 2 ])
{
	pause($_);
	resume($_);
}
is((start_and_wait($node, 'quick'))[1], 'succeeded', 'another run ends meanwhile');
is(lock_waiters($node, 1), 1,
	'runs still wait for others of their package after a pause');
$lock->quit;
is(wait_for_job($node, $_), 'succeeded', 'and end') for @runs;

# The session of a named connection: of a run that a worker carries out by
# itself, and of one that the scheduler drives.
for my $timeout (undef, '1 h')
{
	my $who = defined $timeout ? 'the scheduler' : 'a worker';

	define_package(
		$node,
		{
			name => 'session',
			timeout => $timeout,
			connections => [ { name => 'c' } ],
			steps => [
				{
					name => 'a',
					connection => 'c',
					command => [
						'CREATE TEMP TABLE t AS SELECT 1;',
						'SELECT pg_advisory_xact_lock_shared(1)'
					]
				},
				{
					name => 'b',
					connection => 'c',
					command => 'SELECT * FROM t',
					after => ['a']
				}
			]
		});
	$lock = hold_lock($node, 1);
	$run = start_job($node, 'session');
	wait_for_lock_waiters($node, 1, 1);
	is(pause($run), 't', "$who: a run is paused while a step executes");
	$lock->quit;
	ok( $node->poll_query_until(
			'postgres', qq{
				SELECT r.status = 'paused' AND s.status = 'succeeded'
				FROM workflow.run_history AS r
				JOIN workflow.step_history AS s USING (run_id)
				WHERE r.run_id = $run AND step = 'a'}),
		"$who: the step ends, the run does not go on");
	resume($run);
	is(wait_for_job($node, $run), 'succeeded',
		"$who: its connection is still the same session after the pause");
}

# While a step executes the run is paused all the same, and no step of kind
# `none` passes.
for my $timeout (undef, '1 h')
{
	my $who = defined $timeout ? 'the scheduler' : 'a worker';
	my $states = q{
		SELECT string_agg(concat_ws(' ', step, status), ', ' ORDER BY step)
		FROM workflow.step_history WHERE run_id = };

	define_package(
		$node,
		{
			name => 'none',
			timeout => $timeout,
			steps => [
				{
					name => 'a',
					command => 'SELECT pg_advisory_xact_lock_shared(1)'
				},
				{ name => 'b', kind => 'none', after => ['a'] },
				{ name => 'c', kind => 'none', after => ['b'] }
			]
		});
	$lock = hold_lock($node, 1);
	$run = start_job($node, 'none');
	wait_for_lock_waiters($node, 1, 1);
	pause($run);
	is( scalar_query(
			$node,
			"SELECT status FROM workflow.run_history WHERE run_id = $run"),
		'paused',
		"$who: a run is paused while its step executes");
	is( scalar_query(
			$node,
			"SELECT step, state, regexp_replace(wait, '\\d+', 'n') FROM workflow.activity WHERE run = $run"
		),
		'a|running|lock of pid n',
		"$who: the step is seen to execute, and what it waits for");
	$lock->quit;
	$node->poll_query_until('postgres',
		"SELECT ($states $run) LIKE 'a succeeded%'")
	  or die 'the step does not end';
	is(scalar_query($node, "$states $run"),
		'a succeeded, b waiting, c waiting',
		"$who: no step of kind none passes in the pause");
	is(resume($run), 't', "$who: the run is resumed");
	is(wait_for_job($node, $run), 'succeeded', "$who: the run ends");
	is(scalar_query($node, "$states $run"),
		'a succeeded, b succeeded, c succeeded', "$who: they pass then");
}

# Runs that were paused before they began hold up nobody, ...
@runs = start_paused('parallel');
$run = start_job($node, 'parallel');
is(ends_soon($run), 'succeeded', 'runs that are paused hold up no other run');
resume($_) for @runs;
is(wait_for_job($node, $_), 'succeeded', 'a run ends after the pause')
  for @runs;

# ... and not each other either: those that run at once find workers for their
# children.
@runs = start_paused('parent');
$lock = hold_lock($node, 1);
resume($_) for @runs;
wait_for_lock_waiters($node, 1, 1);
$lock->quit;
is(ends_soon($_), 'succeeded', 'a run with a child ends after the pause')
  for @runs;

stop_immediately($node);
done_testing();
