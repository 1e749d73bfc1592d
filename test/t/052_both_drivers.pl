# The inline driver and the scheduler come to the same: random packages that
# one worker can carry out whole are run by both, and everything that can be
# seen afterwards is compared.
#
#	WORKFLOW_SEED	repeats the packages

use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RandomPackage qw(chance pick);
use Test::More;
use WorkflowTest;

my $npackages = 300;

my $seed = $ENV{WORKFLOW_SEED} || int rand 2**31;
srand $seed;
diag "WORKFLOW_SEED=$seed";

# ---------------------------------------------------------------------------
# Random packages
# ---------------------------------------------------------------------------

sub boolean
{
	my ($p) = @_;

	return chance($p) ? $true : $false;
}

# Which step has executed it, what it saw, in which transaction.
sub effect
{
	my ($table, $what) = @_;

	return "INSERT INTO $table (step, what, transaction)
		SELECT workflow.step_name(), $what, pg_current_xact_id()::text";
}

# A statement.  Each package has tables of its own, so runs do not meet.
sub statement
{
	my ($table) = @_;
	my @common = (
		effect($table, "'row'"),
		effect($table, "(SELECT count(*) FROM $table)"),
		effect($table, "current_setting('transaction_isolation')"),
		effect($table, "workflow.variables()"),
		effect($table, "concat_ws(' ', current_setting('work_mem'), current_setting('lock_timeout'))"),
		effect($table, "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())"),
		effect($table, "(SELECT count(*) FROM pg_prepared_statements)"),
		effect($table, "to_regclass('pg_temp.temporary') IS NOT NULL"),
		"SELECT workflow.set_variable('v', (SELECT count(*) FROM $table))");
	my @other = (
		'SELECT 1 / 0',
		'SELECT 1 / 0',
		"INSERT INTO ${table}_child VALUES (1)",
		"DELETE FROM ${table}_child",
		"UPDATE $table SET what = what || '!'",
		'CREATE TEMP TABLE temporary (i int)',
		'CREATE TEMP TABLE temporary ON COMMIT DROP AS SELECT 1',
		'SET work_mem = \'1MB\'',
		'SET LOCAL lock_timeout = \'1h\'',
		'SELECT pg_advisory_lock(4711)',
		'SELECT pg_advisory_xact_lock(pg_backend_pid())',
		'PREPARE p AS SELECT 1',
		"SAVEPOINT s",
		'COMMIT',
		'ROLLBACK',
		"VACUUM $table",
		"CALL commits('$table')",
		"DO \$do\$ BEGIN RAISE WARNING 'warned'; END \$do\$",
		"SET CONSTRAINTS ALL IMMEDIATE",
		'NOTIFY channel',
		'SELECT pg_sleep(0.001)');

	return chance(0.65) ? pick(@common) : pick(@other);
}

# What the package is like all over keeps it in one session at a time.  The
# order of its steps is not left open: where several could start, they do not
# come to wait for a connection or for the end of a transaction, since who of
# them is first then may depend on when the driver looks.
sub random_package
{
	my ($number) = @_;
	my $table = "effect_$number";
	my $named = chance(0.5);
	my $all_join = chance(0.7);
	my $chain = chance(0.6) || !($named || $all_join);
	my @priorities = sort { rand() <=> 0.5 } 1 .. 10;
	my @steps;

	for my $i (0 .. 1 + int rand 6)
	{
		my $joins = $named ? chance(0.6) : $all_join;
		my %step = (
			name => "s$i",
			disabled => boolean(0.05),
			commit_on_success => boolean($chain ? 0.2 : 0),
			rollback_on_failure => boolean($chain ? 0.25 : 0),
			fail_package_on_error => boolean(0.15));

		if (chance(0.1))
		{
			$step{kind} = 'none';
		}
		else
		{
			$step{command} = join '; ',
			  map { statement($table) } 1 .. pick(1, 1, 2, 3);
			$step{join_transaction} = $joins ? $true : $false;
			$step{connection} = 'k' if $named;
			$step{atomic} = boolean(0.6);
			$step{result_variable} = 'r' if chance(0.2);
			$step{settings} = { work_mem => '2MB' } if chance(0.1);
			$step{lock_timeout} = '1 min' if chance(0.1);
		}
		$step{priority} = $priorities[$i] if !$chain;
		$step{after} = after($i, $chain) if $i > 0;
		$step{precedence} = 'any'
		  if chance(0.2) && ($named || $all_join);
		push @steps, \%step;
	}
	return {
		name => "p$number",
		use_transactions => boolean(0.9),
		commit_on_completion => boolean(0.75),
		fail_on_first_error => boolean(0.3),
		max_concurrent_steps => $chain ? pick(1, 4) : 1,
		isolation_level =>
		  pick('read committed', 'repeatable read', 'serializable'),
		variables => { v => undef, r => undef },
		connections => $named ? [ { name => 'k' } ] : [],
		steps => \@steps
	};
}

# Constraints of step $i: in a chain on the one before, and on others.
sub after
{
	my ($i, $chain) = @_;
	my @from = grep { chance(0.2) } 0 .. $i - 2;

	push @from, $i - 1 if $chain || chance(0.3);
	return [
		map {
			{
				step => "s$_",
				on => pick(qw(completion completion completion success failure))
			}
		} @from
	];
}

# ---------------------------------------------------------------------------
# Running them, and what is to be seen
# ---------------------------------------------------------------------------

my @packages = map { random_package($_) } 1 .. $npackages;
my @queries = (
	'run_history' => q{
		SELECT package, status, failed_steps, error_path, sqlstate, message, variables
		FROM workflow.run_history ORDER BY run_id},
	'step_history' => q{
		SELECT package, step, attempt, kind, s.status, reason, t.number, transaction_status,
			   effects, rows, statement, sqlstate, message, detail, hint, context, messages, result,
			   s.started_at IS NOT NULL, s.finished_at IS NOT NULL, pid IS NOT NULL
		FROM workflow.step_history AS s
		LEFT JOIN (SELECT transaction_id, number FROM workflow.transaction_history) AS t
			USING (transaction_id)
		ORDER BY run_id, step, attempt},
	'transaction_history' => q{
		SELECT package, number, status, isolation_level, steps, error, finished_at >= started_at
		FROM workflow.transaction_history ORDER BY run_id, number},
	'the order of steps' => q{
		SELECT package, string_agg(step, ' ' ORDER BY started_at, step)
		FROM workflow.step_history WHERE kind = 'sql' AND started_at IS NOT NULL
		GROUP BY package, run_id ORDER BY run_id},
	# transactions by the order in which they were
	'rows' => join(
		' UNION ALL ',
		map {
			qq{
			SELECT '$_->{name}' AS package, n, step, what, dense_rank() OVER (ORDER BY first)
			FROM (SELECT *, min(n) OVER (PARTITION BY transaction) AS first
				  FROM effect_} . ($_->{name} =~ s/p//r) . ') AS r'
		} @packages)
	  . ' ORDER BY package, n');

# What a server makes of the packages with the inline driver, or without: the
# name of each query, and what it gives for each package.
sub outcome
{
	my ($inline) = @_;
	my $node = new_node("inline_$inline",
		conf => "workflow.inline_driver = $inline");
	my $json = JSON::PP->new->canonical;
	my %outcome;

	$node->safe_psql(
		'postgres',
		join ";\n",
		"CREATE TABLE parent (i int PRIMARY KEY)",
		"CREATE PROCEDURE commits(t text) LANGUAGE plpgsql AS \$\$
		BEGIN
			EXECUTE format('INSERT INTO %I (what) VALUES (\$x\$before\$x\$)', t);
			COMMIT;
			EXECUTE format('INSERT INTO %I (what) VALUES (\$x\$after\$x\$)', t);
		END \$\$",
		'SET client_min_messages = error',
		map {
			my $table = 'effect_' . ($_->{name} =~ s/p//r);
			(
				"CREATE TABLE $table (n serial, step text, what text, transaction text)",
				"CREATE TABLE ${table}_child (i int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
				sprintf('SELECT workflow.define_package($json$%s$json$)',
					$json->encode($_)))
		} @packages);
	$node->safe_psql('postgres', join ';',
		map { "SELECT workflow.start_job('$_->{name}')" } @packages);
	ok($node->poll_query_until('postgres',
			'SELECT count(*) = 0 FROM workflow.activity'),
		"inline driver $inline: every run ends");
	for (my $i = 0; $i < @queries; $i += 2)
	{
		for (split /^(?=p\d+\|)/m, scalar_query($node, $queries[ $i + 1 ]))
		{
			my ($package) = /^(p\d+)/;

			$outcome{ $queries[$i] }{$package} .= $_ =~ s/\n*\z/\n/r;
		}
	}
	check_driver($node, $inline);
	is_idle($node);
	$node->stop;
	return \%outcome;
}

# The outcome of a run is in the commit of its last step, if a worker has had
# the whole run.
sub check_driver
{
	my ($node, $inline) = @_;

	is( scalar_query(
			$node, q{
				SELECT count(*) > 0
				FROM workflow.run_outcome AS r JOIN workflow.step_outcome AS s USING (run_id)
				WHERE r.xmin = s.xmin AND s.pid IS NOT NULL AND s.transaction_id IS NULL}),
		$inline eq 'on' ? 't' : 'f',
		"inline driver $inline: it is the driver that was asked for");
	return;
}

my $inline = outcome('on');
my $driven = outcome('off');

for my $query (grep { exists $inline->{$_} } @queries)
{
	my @wrong = grep {
		($inline->{$query}{$_} // '') ne ($driven->{$query}{$_} // '')
	} map { $_->{name} } @packages;

	is("@wrong", '', "same $query");
	next if !@wrong;
	my ($package) = grep { $_->{name} eq $wrong[0] } @packages;
	diag(JSON::PP->new->canonical->pretty->encode($package));
	diag "inline:\n", $inline->{$query}{ $wrong[0] } // 'nothing';
	diag "driven:\n", $driven->{$query}{ $wrong[0] } // 'nothing';
}

done_testing();
