
# What a role has as defaults of its transactions counts for its steps, but
# does not keep its packages from being carried out.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main');

$node->safe_psql(
	'postgres', q{
		CREATE TABLE t (i integer);
		CREATE ROLE reader LOGIN;
		GRANT USAGE ON SCHEMA workflow TO reader;
		GRANT ALL ON t TO reader});
for my $driven ($false, $true)
{
	my $name = $driven ? 'driven' : 'inline';
	my @condition = $driven ? (condition => 'true') : ();
	my @connection = (connection => 'c');
	my $show = q{SELECT concat_ws(' ', current_setting('transaction_read_only'),
			current_setting('transaction_isolation'),
			current_setting('transaction_deferrable'))};

	define_package(
		$node,
		{
			name => $name,
			fail_on_first_error => $false,
			variables => { seen => undef },
			connections => [ { name => 'c' } ],
			steps => [
				{
					name => 'first',
					command => $show,
					@connection,
					join_transaction => $true,
					result_variable => 'seen',
					@condition
				},
				{
					name => 'write',
					command => 'INSERT INTO t VALUES (1)',
					@connection,
					join_transaction => $true,
					after => ['first']
				},
				{
					name => 'end',
					kind => 'none',
					commit_on_success => $true,
					after => [ { step => 'write', on => 'completion' } ]
				},
				{
					name => 'free',
					command => $show,
					@connection,
					after => ['end']
				}
			]
		},
		'-U', 'reader');
}
$node->safe_psql(
	'postgres', q{
		ALTER ROLE reader SET default_transaction_read_only = on;
		ALTER ROLE reader SET default_transaction_isolation = 'serializable';
		ALTER ROLE reader SET default_transaction_deferrable = on});

for my $name ('inline', 'driven')
{
	my $run = start_job($node, $name);
	is(wait_for_job($node, $run), 'succeeded', "$name: the run succeeds")
	  or next;
	is( scalar_query(
			$node, qq{
				SELECT string_agg(concat_ws(' ', step, status, sqlstate, result), ', '
								  ORDER BY finished_at, step)
				FROM workflow.step_history WHERE run_id = $run}),
		'first succeeded "on read committed on", write failed 25006, '
		  . 'end succeeded, free succeeded "on serializable on"',
		"$name: its steps have what the role has, but for the isolation level "
		  . 'of the package transaction');
	is( scalar_query(
			$node, qq{
				SELECT status, isolation_level, steps
				FROM workflow.transaction_history WHERE run_id = $run}),
		'committed|read committed|2',
		"$name: the transaction is on record");
}

$node->stop;
done_testing();
