# A SELECT of ten million rows in a step takes constant memory.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

plan skip_all => 'needs /proc' if !-r '/proc/self/status';

my $node = new_node('main', conf => 'workflow.max_workers = 1');
my $rows = 10_000_000;
my $limit = 4096;    # kB

# The memory of a process that is its own, in kB: without shared memory and
# files.
sub memory
{
	my ($pid) = @_;

	open my $file, '<', "/proc/$pid/status" or die "no status of $pid: $!";
	my ($anonymous) = map { /^RssAnon:\s+(\d+) kB/ ? $1 : () } <$file>;
	close $file;
	return $anonymous;
}

# each of a few rows first, to have all code and caches in memory
my %command = (
	generated => 'SELECT i, i * 2 AS j, md5(i::text) FROM generate_series(1, %d) AS i',
	recursive =>
	  'WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r WHERE i < %d) SELECT i, repeat(\'x\', 100) FROM r',
	table => 'SELECT * FROM big LIMIT %d',
	series => 'SELECT generate_series(1, %d)');
$node->safe_psql(
	'postgres', qq{
		CREATE UNLOGGED TABLE big AS
		SELECT i, 'some text' AS t FROM generate_series(1, $rows) AS i});

for my $kind (sort keys %command)
{
	for my $size ('few', 'many')
	{
		define_package(
			$node,
			{
				name => "${kind}_$size",
				settings => { work_mem => '1MB', jit => $false },
				steps => [
					{
						name => 's',
						command => sprintf($command{$kind},
							$size eq 'few' ? 1000 : $rows)
					},
				]
			});
	}
}

for my $kind (sort keys %command)
{
	my ($run, $status) = start_and_wait($node, "${kind}_few");
	is($status, 'succeeded', "$kind: few rows");
	my $pid = scalar_query($node,
		"SELECT pid FROM workflow.step_history WHERE run_id = $run");
	my $before = memory($pid);
	my $peak = $before;
	my $samples = 0;

	$run = start_job($node, "${kind}_many");
	do
	{
		my $now = memory($pid);

		$peak = $now if $now > $peak;
		$samples++;
		$status = scalar_query($node,
			"SELECT workflow.wait_for_job($run, '20ms')");
	} while ($status eq '' && $samples < 10_000);
	is($status, 'succeeded', "$kind: many rows");
	is( scalar_query(
			$node, qq{
				SELECT rows, pid, result IS NOT NULL FROM workflow.step_history
				WHERE run_id = $run}),
		"$rows|$pid|t",
		"$kind: they are counted, the first is kept, by the same worker");
	note "$kind: $before kB before, $peak kB at most in $samples samples, "
	  . memory($pid) . ' kB after';
	cmp_ok($samples, '>', 1, "$kind: it was looked at while it ran");
	cmp_ok($peak - $before,
		'<', $limit, "$kind: the worker's memory does not grow");
}

$node->stop;
done_testing();
