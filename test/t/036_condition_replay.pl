# A condition whose answer is on record is not asked again after a crash.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main');

$node->safe_psql('postgres',
	'CREATE TABLE effect (step text); CREATE TABLE answer (step text, yes bool)'
);

my $work = 'INSERT INTO effect VALUES (workflow.step_name())';
my $ask = q{(SELECT yes FROM answer WHERE step = '%s')};

define_package(
	$node,
	{
		name => 'q',
		steps =>
		  [ { name => 'a', command => 'SELECT pg_advisory_xact_lock_shared(1)' } ]
	});
define_package(
	$node,
	{
		name => 'p',
		fail_on_first_error => $false,
		steps => [
			{ name => 'yes', command => $work, condition => sprintf($ask, 'yes') },
			{
				name => 'child',
				kind => 'package',
				command => 'q',
				condition => sprintf($ask, 'yes')
			},
			{ name => 'no', command => $work, condition => sprintf($ask, 'no') },
			{
				name => 'error',
				command => $work,
				condition => "1 / (SELECT count(*) FROM answer WHERE step = 'error') = 1"
			},
			{
				name => 'z',
				command => "$work; SELECT pg_advisory_xact_lock_shared(1)",
				after => [
					'yes',
					{ step => 'error', on => 'failure' }
				]
			},
			{ name => 'after no', command => $work, after => ['no'] }
		]
	});

$node->safe_psql('postgres',
	q{INSERT INTO answer VALUES ('yes', true), ('no', false)});
my $lock = hold_lock($node, 1);
my $run = start_job($node, 'p');
wait_for_lock_waiters($node, 1, 2);
$node->safe_psql('postgres',
	q{UPDATE answer SET yes = NOT yes; INSERT INTO answer VALUES ('error')});
stop_immediately($node);
eval { $lock->quit };
$node->start;
wait_for_agent($node);
is(wait_for_job($node, $run), 'succeeded', 'the run goes on after a crash');
is( scalar_query(
		$node, qq{
			SELECT step, attempt, status, reason, sqlstate
			FROM workflow.step_history WHERE run_id = $run
			ORDER BY step, attempt}),
	join("\n",
		'after no|0|skipped|constraint|',
		'child|1|succeeded||',
		'error|0|failed||22012',
		'no|0|skipped|condition|',
		'yes|1|succeeded||',
		'z|1|succeeded||'),
	'with the answers that were on record');
is( scalar_query(
		$node, 'SELECT string_agg(step, NULL ORDER BY step) FROM effect'),
	'yesz',
	'and executes nothing else');
is( scalar_query(
		$node,
		"SELECT string_agg(status, ' ') FROM workflow.run_history WHERE parent_run_id = $run"),
	'succeeded',
	'a child run goes on');

$node->stop;
done_testing();
