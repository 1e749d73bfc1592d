
# A change of workflow.commit_mode makes workers leave, but not before the run
# whose session they are has ended; until then they sleep as before.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main');
my $worker = q{
	FROM pg_stat_activity
	WHERE backend_type = 'workflow worker' AND state = 'idle in transaction'};

$node->safe_psql('postgres', 'CREATE TABLE answer (go boolean)');
define_package(
	$node,
	{
		name => 'p',
		steps => [
			{
				name => 'a',
				command => 'CREATE TEMP TABLE mine AS SELECT 1 AS i',
				join_transaction => $true
			},
			{
				name => 'wait',
				kind => 'none',
				condition => '(SELECT go FROM answer)',
				condition_interval => '50ms',
				after => ['a']
			},
			{
				name => 'b',
				command => 'SELECT i FROM mine',
				join_transaction => $true,
				after => ['wait']
			}
		]
	});

my $run = start_job($node, 'p');
$node->poll_query_until('postgres', "SELECT count(*) = 1 $worker")
  or die 'the transaction is not open';
my $pid = scalar_query($node, "SELECT pid $worker");

# It has seen the change when it does not tell its state any more.
$node->append_conf('postgresql.conf',
	"workflow.commit_mode = synchronous\ntrack_activities = off");
$node->reload;
ok( $node->poll_query_until(
		'postgres', qq{
			SELECT state = 'disabled' AND wait_event IS NOT NULL
			FROM pg_stat_activity WHERE pid = $pid}),
	'the worker sleeps');
$node->safe_psql('postgres', 'INSERT INTO answer VALUES (true)');
is(wait_for_job($node, $run), 'succeeded', 'the run goes on in its session');
ok( $node->poll_query_until(
		'postgres',
		"SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid"),
	'then the worker leaves');

$node->stop;
done_testing();
