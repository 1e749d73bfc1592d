# Many runs at once whose package transactions stay open while their children
# need sessions: nobody waits for a worker that waits for him, so every run
# ends, however few workers there are.
#
# A to F are the six packages of "Inherited Transactions": {A, B, D} share one
# transaction, {C, F} a second, E has its own.  G runs A three times at once
# beside its own transaction.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $runs = 64;
my $runs_of_g = 12;

# A step of its own, then those given, each after the other, then another one
# of its own.
sub package_of
{
	my ($name, @children) = @_;
	my @steps = (effect($name, 1), @children, effect($name, 2));

	@steps = $steps[0] if !@children;
	$steps[$_]{after} ||= [ { step => $steps[ $_ - 1 ]{name} } ]
	  for 1 .. $#steps;
	return { name => $name, connections => [ { name => 'k' } ],
		steps => \@steps };
}

# Runs overlap, since each step takes a moment.
sub effect
{
	my ($package, $number) = @_;

	return {
		name => "$package$number",
		connection => 'k',
		join_transaction => $true,
		command => "INSERT INTO effect
			SELECT workflow.run_id(), '$package$number' FROM pg_sleep(0.01)"
	};
}

sub child
{
	my ($package, $joins, %options) = @_;

	return {
		name => "X$package",
		kind => 'package',
		command => $package,
		join_transaction => $joins,
		%options
	};
}

sub define_packages
{
	my ($node) = @_;

	define_package($node, $_)
	  for (
		package_of('D'),
		package_of('E'),
		package_of('F'),
		package_of('B', child('D', $true), child('E', $false)),
		package_of('C', child('F', $true)),
		package_of('A', child('B', $true), child('C', $false)),
		package_of(
			'G',
			(
				map { child('A', $false, name => "XA$_", after => ['G1']) }
				  1 .. 3)));
	return;
}

# How many there are of each value that a query gives.
sub counts
{
	my ($node, $query) = @_;

	return scalar_query($node,
		"SELECT string_agg(value || ' ' || n, ', ' ORDER BY value)
		 FROM (SELECT value, count(*) AS n FROM ($query) AS v (value) GROUP BY value) AS c");
}

# Start a package so many times, all at one commit, and see to the end.
sub check
{
	my ($node, $package, $number, $expected) = @_;
	my $workers = scalar_query($node, 'SHOW workflow.max_workers');
	my $name = "$number of $package on $workers workers";

	scalar_query($node, 'TRUNCATE effect');
	my $first = scalar_query($node,
		"SELECT min(workflow.start_job('$package')) FROM generate_series(1, $number)"
	);
	if (!ok($node->poll_query_until('postgres',
				'SELECT count(*) = 0 FROM workflow.activity'),
			"$name: every run ends"))
	{
		diag scalar_query($node, 'SELECT * FROM workflow.activity');
		diag scalar_query($node, 'SELECT * FROM workflow.agent');
	}
	is( scalar_query(
			$node, "SELECT DISTINCT status FROM workflow.run_history
			WHERE run_id >= $first"),
		'succeeded',
		"$name: and succeeds");
	is( counts(
			$node, "SELECT concat_ws(' ', package, number, status)
			FROM workflow.transaction_history WHERE run_id >= $first"),
		$expected->{transactions},
		"$name: their transactions");
	is(counts($node, 'SELECT step FROM effect'),
		$expected->{rows}, "$name: everything is committed");
	is( scalar_query(
			$node, "SELECT count(DISTINCT pid) FROM workflow.step_history
			WHERE run_id >= $first AND transaction_id IS NOT NULL
			GROUP BY transaction_id ORDER BY 1 DESC LIMIT 1"),
		1,
		"$name: each transaction is one session");
	is_idle($node);
	return;
}

sub expected
{
	my ($of_a, $of_g) = @_;
	my @rows = qw(A1 A2 B1 B2 C1 C2 D1 E1 F1);
	my @transactions = map { "$_ 1 committed $of_a" } qw(A C E);

	@rows = map { "$_ $of_a" } @rows;
	if ($of_g)
	{
		push @transactions, "G 1 committed $of_g";
		push @rows, "G1 $of_g", "G2 $of_g";
	}
	return {
		rows => join(', ', @rows),
		transactions => join(', ', @transactions)
	};
}

for my $workers (8, 3)
{
	my $node = new_node("workers_$workers",
		conf => "workflow.max_workers = $workers");

	scalar_query($node, 'CREATE TABLE effect (run_id bigint, step text)');
	define_packages($node);
	check($node, 'A', $runs, expected($runs, 0));
	check($node, 'G', $runs_of_g, expected(3 * $runs_of_g, $runs_of_g));
	$node->stop;
}
done_testing();
