# Decision table 3.1 of semantics.md, all 256 combinations, through SQL: each
# with `atomic` off and on, with the package's flag that fails it and with the
# step's, and, where it inherits, with an owner that does not commit.
#
# The table puts the two connections on two instances.  Here both lead to this
# database: the steps run one after the other, so they share the branch, and
# the fates are the same.  With several servers the two differ in how they
# commit, which is not the table's subject.

use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

my @columns = qw(ok use_tx inherits join commit_ok rollback_fail commit_end foe);

# Each line: the columns, then row p0, row s1 (and s2), step S, package P,
# transaction when P ends, step X / owner O.
my @lines = map { [ split ' ' ] } split /\n/, <<'TABLE';
T1  1 0 0 - - - - - AUTO   AUTO   succeeded succeeded none        -
T2  1 1 0 1 - - 1 - OWN    OWN    succeeded succeeded committed   -
T3  1 1 0 1 1 - - - OWN    OWN    succeeded succeeded committed   -
T4  1 1 0 1 0 - 0 - LOST   LOST   succeeded succeeded rolled_back -
T5  1 1 0 0 - - 1 - OWN    AUTO   succeeded succeeded committed   -
T6  1 1 0 0 1 - - - OWN    AUTO   succeeded succeeded committed   -
T7  1 1 0 0 0 - 0 - LOST   AUTO   succeeded succeeded rolled_back -
T8  1 0 1 - - - - - AUTO   AUTO   succeeded succeeded active      succeeded/succeeded
T9  1 1 1 1 - - - - PARENT PARENT succeeded succeeded active      succeeded/succeeded
T10 1 1 1 0 - - - - PARENT AUTO   succeeded succeeded active      succeeded/succeeded
T11 0 0 0 - - - - 1 AUTO   AUTO   failed    failed    none        -
T12 0 0 0 - - - - 0 AUTO   AUTO   failed    succeeded none        -
T13 0 1 0 1 - - - 1 LOST   LOST   failed    failed    rolled_back -
T14 0 1 0 1 - - 0 0 LOST   LOST   failed    succeeded rolled_back -
T15 0 1 0 1 - 1 - 0 LOST   LOST   failed    succeeded rolled_back -
T16 0 1 0 1 - 0 1 0 OWN    OWN    failed    succeeded committed   -
T17 0 1 0 0 - - - 1 LOST   AUTO   failed    failed    rolled_back -
T18 0 1 0 0 - - 0 0 LOST   AUTO   failed    succeeded rolled_back -
T19 0 1 0 0 - 1 - 0 LOST   AUTO   failed    succeeded rolled_back -
T20 0 1 0 0 - 0 1 0 OWN    AUTO   failed    succeeded committed   -
T21 0 0 1 - - - - 1 AUTO   AUTO   failed    failed    active      failed/succeeded
T22 0 0 1 - - - - 0 AUTO   AUTO   failed    succeeded active      succeeded/succeeded
T23 0 1 1 1 - 1 - 1 LOST   LOST   failed    failed    invalid     failed/failed
T24 0 1 1 1 - 1 - 0 LOST   LOST   failed    succeeded invalid     succeeded/failed
T25 0 1 1 1 - 0 - 1 PARENT PARENT failed    failed    active      failed/succeeded
T26 0 1 1 1 - 0 - 0 PARENT PARENT failed    succeeded active      succeeded/succeeded
T27 0 1 1 0 - 1 - 1 LOST   AUTO   failed    failed    invalid     failed/failed
T28 0 1 1 0 - 1 - 0 LOST   AUTO   failed    succeeded invalid     succeeded/failed
T29 0 1 1 0 - 0 - 1 PARENT AUTO   failed    failed    active      failed/succeeded
T30 0 1 1 0 - 0 - 0 PARENT AUTO   failed    succeeded active      succeeded/succeeded
TABLE

# ---------------------------------------------------------------------------
# The packages
# ---------------------------------------------------------------------------

sub boolean
{
	return $_[0] ? $true : $false;
}

# Leaves a row that tells in which transaction it was written.
sub effect
{
	my ($name, $row) = @_;

	return "INSERT INTO effect VALUES ('$name', '$row', pg_current_xact_id()::text)";
}

# The lines that a combination is in: some say the same of it.
sub lines_of
{
	my ($case) = @_;

	return grep {
		my $line = $_;
		!grep { $line->[ 1 + $_ ] !~ /^(?:-|$case->{ $columns[$_] })$/ }
		  0 .. $#columns
	} @lines;
}

# All variants of all combinations.
sub cases
{
	my @cases;

	for my $number (0 .. 2**@columns - 1)
	{
		my %options =
		  map { $columns[$_] => ($number >> $_) & 1 } 0 .. $#columns;
		my @of = lines_of(\%options);

		for my $atomic (0, 1)
		{
			for my $by_step (0 .. $options{foe})
			{
				for my $owner_commits (1 - $options{inherits} .. 1)
				{
					push @cases,
					  {
						%options,
						name => "$number $atomic$by_step$owner_commits",
						lines => \@of,
						atomic => $atomic,
						by_step => $by_step,
						owner_commits => $owner_commits
					  };
				}
			}
		}
	}
	return @cases;
}

sub package_p
{
	my ($case) = @_;
	my $name = "P $case->{name}";
	my $second =
	  $case->{ok} ? effect($name, 's2') : 'INSERT INTO effect SELECT 1 / 0';

	return {
		name => $name,
		use_transactions => boolean($case->{use_tx}),
		commit_on_completion => boolean($case->{commit_end}),
		fail_on_first_error => boolean($case->{foe} && !$case->{by_step}),
		connections => [ { name => 'k0' }, { name => 'k1' } ],
		steps => [
			{
				name => 'S0',
				connection => 'k0',
				join_transaction => $true,
				atomic => boolean($case->{atomic}),
				command => effect($name, 'p0')
			},
			{
				name => 'S',
				after => [ { step => 'S0', on => 'completion' } ],
				connection => 'k1',
				join_transaction => boolean($case->{join}),
				commit_on_success => boolean($case->{commit_ok}),
				rollback_on_failure => boolean($case->{rollback_fail}),
				fail_package_on_error =>
				  boolean($case->{foe} && $case->{by_step}),
				atomic => boolean($case->{atomic}),
				command => effect($name, 's1') . '; ' . $second
			}
		]
	};
}

sub package_o
{
	my ($case) = @_;

	return {
		name => "O $case->{name}",
		commit_on_completion => boolean($case->{owner_commits}),
		fail_on_first_error => $false,
		steps => [
			{
				name => 'O0',
				join_transaction => $true,
				command => effect("P $case->{name}", 'o0')
			},
			{
				name => 'X',
				kind => 'package',
				after => ['O0'],
				join_transaction => $true,
				command => "P $case->{name}"
			}
		]
	};
}

# ---------------------------------------------------------------------------
# What came of them
# ---------------------------------------------------------------------------

# Where a row is that was written: nowhere, or in whose transaction.
sub fate
{
	my ($case, $row) = @_;
	my $in = $case->{rows}{$row};

	return 'lost' if !defined $in;
	return 'with o0' if $in eq ($case->{rows}{o0} // '');
	return 'with p0' if $row ne 'p0' && $in eq ($case->{rows}{p0} // '');
	return 'kept';
}

# The fate of a row of which the table says so.  A row of its own transaction
# that is there is with p0, or is p0.
sub expected_fate
{
	my ($case, $row, $fate) = @_;

	return 'lost'
	  if $row ne 'p0' && !$case->{ok} && ($row eq 's2' || $case->{atomic});
	return 'lost' if $fate eq 'LOST';
	return $case->{owner_commits} ? 'with o0' : 'lost' if $fate eq 'PARENT';
	return 'with p0' if $fate eq 'OWN' && $row ne 'p0';
	return 'with s1' if $fate eq 'AUTO' && $row eq 's2' && $case->{atomic};
	return 'kept';
}

sub expected
{
	my ($case, $line) = @_;
	my ($p0, $s, $step, $package, $transaction, $owner) =
	  @{$line}[ 1 + @columns .. $#$line ];
	my @expected = (
		'p0 ' . expected_fate($case, 'p0', $p0),
		's1 ' . expected_fate($case, 's1', $s),
		's2 ' . expected_fate($case, 's2', $s),
		"S0 succeeded", "S $step", "P $package");

	if (!$case->{inherits})
	{
		push @expected, "transactions "
		  . ($transaction eq 'none' ? '' : "P 1 $transaction");
		return join ', ', @expected;
	}

	# What an owner that does not commit has to acknowledge, it does (R55).
	my ($x, $o) = split /\//, $owner;
	$o = 'succeeded' if !$case->{owner_commits};
	return join ', ', @expected, "X $x", "O $o", 'transactions O 1 '
	  . ($case->{owner_commits} && $transaction eq 'active' ? 'committed' :
		  'rolled_back');
}

sub seen
{
	my ($case) = @_;
	my @seen = map { "$_ " . fate($case, $_) } qw(p0 s1 s2);
	my $steps = $case->{steps};

	# Statements that commit by themselves do so one by one, or together.
	$seen[2] = 's2 with s1'
	  if $seen[2] eq 's2 kept'
	  && $case->{rows}{s2} eq ($case->{rows}{s1} // '');
	push @seen, "S0 $steps->{S0}", "S $steps->{S}", "P $case->{runs}{P}";
	push @seen, "X $steps->{X}", "O $case->{runs}{O}" if $case->{inherits};
	return join ', ', @seen,
	  'transactions ' . join ' ', @{ $case->{transactions} || [] };
}

# ---------------------------------------------------------------------------
# All of it, at once
# ---------------------------------------------------------------------------

my $node = new_node('main', conf => 'workflow.max_workers = 8');
my @cases = cases();
my %case = map { $_->{name} => $_ } @cases;
my $json = JSON::PP->new->canonical;

is(scalar(grep { !@{ $_->{lines} } } @cases),
	0, 'each combination is in a line of the table');

$node->safe_psql('postgres',
	'CREATE TABLE effect (package text, what text, transaction text)');
$node->safe_psql(
	'postgres',
	join '',
	"SET client_min_messages = error;\n",
	map { sprintf "SELECT workflow.define_package(\$json\$%s\$json\$);\n",
		$json->encode($_) }
	  (map { package_p($_) } @cases),
	(map { package_o($_) } grep { $_->{inherits} } @cases));
$node->safe_psql(
	'postgres', q{
		SELECT workflow.start_job(name) FROM workflow.package AS p
		WHERE NOT EXISTS (SELECT FROM workflow.step
						  WHERE kind = 'package' AND command = p.name)});
ok($node->poll_query_until('postgres',
		'SELECT count(*) = 0 FROM workflow.activity'),
	'every run ends');

# The rows of a query, each the fields after the first two, by those.
sub each_row
{
	my ($query, $take) = @_;

	for (split /\n/, scalar_query($node, $query))
	{
		my ($package, @fields) = split /\|/;

		$package =~ /^([OP]) (.*)/ or die "strange package: $package";
		$take->($case{$2}, $1, @fields);
	}
	return;
}

each_row('SELECT package, what, transaction FROM effect',
	sub { $_[0]{rows}{ $_[2] } = $_[3] });
each_row('SELECT package, status FROM workflow.run_history',
	sub { $_[0]{runs}{ $_[1] } = $_[2] });
each_row('SELECT package, step, status FROM workflow.step_history',
	sub { $_[0]{steps}{ $_[2] } = $_[3] });
each_row(
	'SELECT package, number, status FROM workflow.transaction_history
	 ORDER BY transaction_id',
	sub { push @{ $_[0]{transactions} }, join ' ', @_[ 1 .. 3 ] });

sub is_in
{
	my ($case, $line) = @_;

	return grep { $_ == $line } @{ $case->{lines} };
}

for my $line (@lines)
{
	for my $atomic (0, 1)
	{
		my @of_line = grep { $_->{atomic} == $atomic && is_in($_, $line) } @cases;
		my @wrong = grep { seen($_) ne expected($_, $line) } @of_line;

		is(scalar @wrong,
			0,
			sprintf '%s, atomic %s: %d runs',
			$line->[0], $atomic ? 'on' : 'off',
			scalar @of_line);
		diag sprintf "%s\nseen:     %s\nexpected: %s",
		  join(' ', map { "$_=$wrong[0]{$_}" } @columns,
			qw(by_step owner_commits)),
		  seen($wrong[0]), expected($wrong[0], $line)
		  if @wrong;
	}
}

is_idle($node);
$node->stop;
done_testing();
