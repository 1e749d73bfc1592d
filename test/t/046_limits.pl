# Runs that wait for a limit: who raises it lets them go, as many as fit.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main', conf => 'workflow.max_workers = 2');

# With a time-out the scheduler drives the runs, else workers carry them out.
sub define_blocked
{
	my ($name, $timeout, $limit) = @_;

	return define_package(
		$node,
		{
			name => $name,
			timeout => $timeout,
			max_concurrent_runs => $limit,
			steps => [
				{ name => 'a', command => 'SELECT pg_advisory_xact_lock_shared(1)' }
			]
		});
}

sub all_succeed
{
	my ($what, @runs) = @_;

	is(join(' ', map { wait_for_job($node, $_) } @runs),
		join(' ', ('succeeded') x @runs), $what);
	return;
}

for my $timeout (undef, '1 h')
{
	my $who = defined $timeout ? 'the scheduler' : 'workers';

	# workflow.max_workers
	define_blocked('blocked', $timeout);
	my $lock = hold_lock($node, 1);
	my @runs = map { start_job($node, 'blocked') } 1 .. 6;
	wait_for_lock_waiters($node, 1, 2);
	$node->append_conf('postgresql.conf', 'workflow.max_workers = 6');
	$node->reload;
	wait_for_lock_waiters($node, 1, 6);
	pass("$who: more workers let all runs go at once");
	$lock->quit;
	all_succeed("$who: they end", @runs);

	# max_concurrent_runs, by a new version; then without a limit
	define_blocked('limited', $timeout, 1);
	$lock = hold_lock($node, 1);
	@runs = map { start_job($node, 'limited') } 1 .. 6;
	wait_for_lock_waiters($node, 1, 1);
	is(scalar_query($node, 'SELECT queued FROM workflow.agent') + 0 <= 5,
		1, "$who: runs wait for the limit of their package");
	define_blocked('limited', $timeout, 4);
	wait_for_lock_waiters($node, 1, 4);
	is((start_and_wait($node, 'quick'))[1], 'succeeded', "$who: another run ends")
	  if define_package($node,
		{ name => 'quick', steps => [ { name => 'q', command => 'SELECT 1' } ] });
	is(lock_waiters($node, 1), 4, "$who: a raised limit lets go as many as fit");
	$node->safe_psql('postgres',
		q{SELECT workflow.alter_package('limited', reset => '{max_concurrent_runs}')});
	wait_for_lock_waiters($node, 1, 6);
	pass("$who: without a limit all runs go on");
	$lock->quit;
	all_succeed("$who: they end", @runs);

	# a lower limit counts for those that wait
	define_blocked('limited', $timeout, 3);
	$lock = hold_lock($node, 1);
	@runs = map { start_job($node, 'limited') } 1 .. 5;
	wait_for_lock_waiters($node, 1, 3);
	define_blocked('limited', $timeout, 1);
	is(scalar_query($node, "SELECT workflow.stop_job($runs[0])"),
		't', "$who: one of three runs is stopped");
	is((start_and_wait($node, 'quick'))[1], 'succeeded', "$who: another run ends");
	is(lock_waiters($node, 1), 2, "$who: a lowered limit keeps the next one");
	$lock->quit;
	all_succeed("$who: they end", @runs[ 1 .. 4 ]);

	# who rolls the edit back has changed nothing
	define_blocked('limited', $timeout, 1);
	$lock = hold_lock($node, 1);
	@runs = map { start_job($node, 'limited') } 1 .. 2;
	wait_for_lock_waiters($node, 1, 1);
	$node->safe_psql('postgres',
		q{BEGIN; SELECT workflow.alter_package('limited', max_concurrent_runs => 9); ROLLBACK});
	is((start_and_wait($node, 'quick'))[1], 'succeeded', "$who: another run ends");
	is(lock_waiters($node, 1), 1, "$who: an edit that is rolled back lets go none");
	$lock->quit;
	all_succeed("$who: they end", @runs);

	$node->append_conf('postgresql.conf', 'workflow.max_workers = 2');
	$node->restart;
	wait_for_agent($node);
}

# A request key that another session has not committed.
my $other = $node->background_psql('postgres');
for my $end (qw(COMMIT ROLLBACK))
{
	my $start = "SELECT workflow.start_job('quick', request_key => '$end')";
	$other->query_safe('BEGIN');
	my $first = $other->query_safe($start);
	my $second = $node->background_psql('postgres');
	my $waits = q{SELECT count(*) = 1 FROM pg_stat_activity
		WHERE query LIKE '%start_job%' AND wait_event_type = 'Lock'};

	$second->query_until(qr/asked/, "\\echo asked\n$start \\gset\n");
	ok($node->poll_query_until('postgres', $waits),
		"$end: a start under the same key waits");
	$other->query_safe($end);
	my $found = $second->query_safe('SELECT :start_job');
	$second->quit;
	is($found == $first, $end eq 'COMMIT' ? 1 : '',
		"$end: it is " . ($end eq 'COMMIT' ? 'the same' : 'another') . ' run');
	is(wait_for_job($node, $found), 'succeeded', "$end: which succeeds");
	is( scalar_query(
			$node,
			"SELECT count(*) FROM workflow.run_history WHERE request_key = '$end'"),
		1, "$end: there is one run");
}
$other->quit;

$node->stop;
done_testing();
