# Steps that commit by themselves, and runs, that are cut off: by a crash, a
# shutdown, or the end of their worker alone.

use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my $node = new_node('main');
my $out = PostgreSQL::Test::Utils::tempdir();
my $gate = "$out/gate";
my $flushes = 0;

$node->safe_psql(
	'postgres', qq{
		-- a shutdown must not open it, as it would free a lock
		CREATE FUNCTION wait_for_gate() RETURNS void LANGUAGE plpgsql AS \$\$
		BEGIN
			WHILE (pg_stat_file('$gate', true)).size IS NOT NULL LOOP
				PERFORM pg_sleep(0.01);
			END LOOP;
		END \$\$;
		CREATE TABLE effect (run_id bigint, step text);
		CREATE PROCEDURE in_parts() LANGUAGE plpgsql AS \$\$
		BEGIN
			INSERT INTO effect SELECT workflow.run_id(), 'part';
			COMMIT;
			PERFORM wait_for_gate();
			INSERT INTO effect SELECT workflow.run_id(), 'rest';
		END \$\$});

my $effect =
  'INSERT INTO effect SELECT workflow.run_id(), workflow.step_name()';
my $block = 'SELECT wait_for_gate()';

# What each kind of step does before it waits, and whether that is interrupted.
my %command = (
	plain => "$effect; $block",
	call => 'CALL in_parts()',
	one_by_one => "$block; $effect",
	program =>
	  "COPY (SELECT workflow.run_id()) TO PROGRAM 'cat >>$out/program'; $block"
);

# A timer makes a run one that the scheduler drives.
sub define_kind
{
	my ($kind, $driven, $restartable) = @_;
	my $name = join '_', $kind, ($driven ? 'driven' : 'inline'),
	  ($restartable ? 'again' : 'once');

	define_package(
		$node,
		{
			name => $name,
			($driven ? (timeout => '1 hour') : ()),
			steps => [
				{
					name => 'a',
					command => $command{$kind},
					max_attempts => $restartable ? 1 : 3,
					retry_delay => '1 ms',
					$restartable
					? (restartable => JSON::PP::true)
					: (retry_on => [ '57P01', '57P02' ]),
					$kind eq 'one_by_one' ? (atomic => JSON::PP::false) : ()
				},
				{ name => 'b', command => $effect, after => ['a'] },
				{
					name => 'f',
					command => $effect,
					finally => 'completion'
				}
			]
		});
	return $name;
}

# What was committed asynchronously before this survives a crash.
sub flush_wal
{
	$node->safe_psql('postgres', 'CREATE TABLE flush' . ++$flushes . ' ()');
	return;
}

# Start a run whose step waits.
sub start_and_block
{
	my ($name) = @_;
	my $run;

	append_to_file($gate, '');
	$run = start_job($node, $name);
	$node->poll_query_until(
		'postgres', q{
			SELECT count(*) = 1 FROM pg_stat_activity
			WHERE backend_type = 'workflow worker' AND wait_event = 'PgSleep'})
	  or die "$name does not wait";
	flush_wal();
	return $run;
}

# End what is at it, and open the gate.
sub cut_off
{
	my ($how) = @_;

	if ($how eq 'worker')
	{
		$node->safe_psql(
			'postgres', q{
				SELECT pg_terminate_backend(pid, 180000) FROM workflow.step_history
				WHERE status = 'running' AND pid IS NOT NULL});
		unlink $gate;
		return;
	}
	$node->stop($how);
	unlink $gate;
	$node->start;
	wait_for_agent($node);
	return;
}

sub steps
{
	my ($run) = @_;

	return scalar_query(
		$node, qq{
			SELECT string_agg(concat_ws(' ', step, attempt, status, effects, sqlstate), ', '
							  ORDER BY step, attempt)
			FROM workflow.step_history WHERE run_id = $run});
}

sub run_row
{
	my ($run) = @_;

	return scalar_query($node,
		"SELECT concat_ws(' ', status, error_path, sqlstate, message) FROM workflow.run_history WHERE run_id = $run"
	);
}

sub effects
{
	my ($run) = @_;

	return scalar_query($node,
		"SELECT string_agg(step, ' ' ORDER BY step) FROM effect WHERE run_id = $run"
	);
}

my $message = 'the step was cut off after it had begun to commit';

for my $how ('immediate', 'fast', 'worker')
{
	my %run;
	my @kinds = $how eq 'worker' ? qw(call one_by_one program) : sort keys %command;

	for my $kind (@kinds)
	{
		for my $driven (0, 1)
		{
			for my $again (0, 1)
			{
				my $name = define_kind($kind, $driven, $again);

				$run{$name} = start_and_block($name);
				cut_off($how);
				is(wait_for_job($node, $run{$name}),
					($again || $kind eq 'plain') ? 'succeeded' : 'failed',
					"$how, $name: the run ends");
			}
		}
	}

	for my $name (sort keys %run)
	{
		my $run = $run{$name};

		if ($name =~ /^plain/)
		{
			is(steps($run),
				'a 1 succeeded kept, b 1 succeeded kept, f 1 succeeded kept',
				"$how, $name: what was not committed is executed again");
			is(effects($run), 'a b f', "$how, $name: and is there once");
		}
		elsif ($name =~ /again/)
		{
			is(steps($run),
				'a 1 interrupted unknown 57P02, a 2 succeeded kept, b 1 succeeded kept, f 1 succeeded kept',
				"$how, $name: it is executed again as the next attempt");
			is(run_row($run), 'succeeded', "$how, $name: that is no error");
		}
		else
		{
			is(steps($run),
				'a 1 interrupted unknown 57P02, b 0 skipped none, f 1 succeeded kept',
				"$how, $name: it has failed");
			is(run_row($run), "failed a 57P02 $message",
				"$how, $name: the run says why");
		}
		is(effects($run),
			$name =~ /again/ ? 'b f part part rest' : 'f part',
			"$how, $name: what was committed stays")
		  if $name =~ /^call/;
		is( scalar(() = slurp_file("$out/program") =~ /^$run$/mg),
			$name =~ /again/ ? 2 : 1,
			"$how, $name: the program ran as often as there are attempts")
		  if $name =~ /^program/;
	}
	like(
		scalar_query(
			$node,
			"SELECT detail FROM workflow.step_history WHERE run_id = $run{call_inline_once} AND step = 'a'"
		),
		$how eq 'worker'
		? qr/^terminating background worker .* due to administrator command$/
		: qr/^The server or the agent ended while the step was executed\.$/,
		"$how: what was the reason");
}

# A step that fails by itself before anything of it was committed has left
# nothing, though it was on record before it began.
define_package(
	$node,
	{
		name => 'fails',
		fail_on_first_error => JSON::PP::false,
		steps => [
			{
				name => 'at_once',
				command => 'SELECT 1/0; SELECT 1',
				atomic => JSON::PP::false
			},
			{
				name => 'later',
				command => "$effect; SELECT 1/0",
				atomic => JSON::PP::false
			},
			{
				name => 'no_program',
				command => "COPY effect FROM PROGRAM 'exit 1'"
			}
		]
	});
my ($fails) = start_and_wait($node, 'fails');
is( scalar_query(
		$node, qq{
			SELECT string_agg(concat_ws(' ', step, status, effects, statement), ', ' ORDER BY step)
			FROM workflow.step_history WHERE run_id = $fails}),
	'at_once failed undone 1, later failed partial 2, no_program failed undone 1',
	'an error is a failure, not an interruption');

# Stopped while it commits by itself, then a crash: the run is cancelled, and
# the step was interrupted.
{
	my $name = define_kind('call', 0, 1);
	my $run = start_and_block($name);

	$node->safe_psql('postgres',
		"INSERT INTO workflow.run_command VALUES ($run, 10, now(), 's', 'enough')"
	);
	cut_off('immediate');
	is(wait_for_job($node, $run), 'cancelled', 'a stop survives the crash');
	is(steps($run),
		'a 1 interrupted unknown 57P02, b 0 skipped none, f 1 succeeded kept',
		'the step is not executed again, and was interrupted');
}

# After a restart a run of one worker goes on where its transaction begins.
define_package(
	$node,
	{
		name => 'joins_later',
		connections => [ { name => 'c' } ],
		steps => [
			{ name => 'a', command => "$effect; $block", connection => 'c' },
			{
				name => 'b',
				command => $effect,
				connection => 'c',
				join_transaction => JSON::PP::true,
				after => ['a']
			}
		]
	});
{
	my $run = start_and_block('joins_later');

	cut_off('immediate');
	is(wait_for_job($node, $run),
		'succeeded', 'a step joins after one that was executed again');
	is(steps($run), 'a 1 succeeded kept, b 1 succeeded kept',
		'each is executed once');
}

$node->stop;
done_testing();
