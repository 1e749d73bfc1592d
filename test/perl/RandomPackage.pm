
=pod

=head1 NAME

RandomPackage - packages made at random, for tests under load

=head1 SYNOPSIS

  use RandomPackage;

  srand($seed);
  my @packages = random_packages(40);	# documents for define_package()

Packages end, leaf_1, leaf_2, ... have no package and no job steps; p_1, p_2,
... have such steps, of leaf packages.  Each sql step leaves a row of (run_id,
step) in table effect, in the transaction of its outcome; but steps whose names
begin with x leave theirs in table loose, and may do so without success.

Steps of leaf packages, too, may call start_job(), but only for package end,
which starts nothing: nothing goes on for ever, nor takes longer than some
milliseconds by itself.

=cut

package RandomPackage;

use strict;
use warnings;

use Exporter 'import';
use JSON::PP;

our @EXPORT = qw(random_packages chance pick);

my $effect = 'INSERT INTO effect SELECT workflow.run_id(), workflow.step_name()';
my $loose = 'INSERT INTO loose SELECT workflow.run_id(), workflow.step_name()';
my $leaves = 8;

=pod

=head1 FUNCTIONS

=over

=item chance($p)

True with probability $p.

=cut

sub chance
{
	my ($p) = @_;

	return rand() < $p;
}

=pod

=item pick(@list)

One of the list.

=cut

sub pick
{
	my (@list) = @_;

	return $list[ rand @list ];
}

# From $low to $high.
sub _number
{
	my ($low, $high) = @_;

	return $low + int rand($high - $low + 1);
}

sub _milliseconds
{
	my ($low, $high) = @_;

	return _number($low, $high) . ' ms';
}

=pod

=item random_packages($number)

The documents of so many packages, the leaf packages first.

=cut

sub random_packages
{
	my ($number) = @_;

	return (
		{ name => 'end', steps => [ { name => 's1', command => $effect } ],
			variables => { i => undef } },
		(map { _package("leaf_$_", 1) } 1 .. $leaves),
		(map { _package("p_$_", 0) } 1 .. $number - $leaves - 1));
}

sub _package
{
	my ($name, $is_leaf) = @_;
	my %package = (
		name => $name,
		fail_on_first_error => _boolean(0.6),
		max_concurrent_steps => _number(1, 4),
		variables => { i => undef },
		connections => [ map { { name => $_ } } qw(one two) ]);

	$package{timeout} = _milliseconds(30, 400) if chance(0.1);
	$package{priority} = _number(-2, 2) if chance(0.2);
	if (chance(0.25))
	{
		$package{max_concurrent_runs} = _number(1, 3);
		$package{on_overlap} = pick(qw(queue queue queue reject skip));
	}
	$package{steps} = [ _graph($is_leaf), _finally_steps() ];
	return \%package;
}

sub _boolean
{
	my ($p) = @_;

	return chance($p) ? JSON::PP::true : JSON::PP::false;
}

# One step, a chain, a fan-out, or anything without a cycle.
sub _graph
{
	my ($is_leaf) = @_;
	my $shape = pick(qw(one chain fan any any));
	my @steps =
	  map { _step("s$_", $is_leaf) } 1 .. ($shape eq 'one' ? 1 : _number(2, 7));

	for my $i (1 .. $#steps)
	{
		my @after =
			$shape eq 'chain' ? ($i - 1)
		  : $shape eq 'fan' ? (0)
		  :                   grep { chance(0.35) } 0 .. $i - 1;

		$steps[$i]{after} =
		  [ map { { step => $steps[$_]{name}, on => _outcome() } } @after ];
		$steps[$i]{precedence} = 'any' if chance(0.2);
	}
	return @steps;
}

sub _outcome
{
	return pick(qw(success success success success completion failure));
}

sub _finally_steps
{
	return if !chance(0.25);
	return map {
		{
			name => "f$_",
			command => $effect . _tail(),
			finally => pick(qw(success failure completion))
		}
	} 1 .. _number(1, 2);
}

sub _step
{
	my ($name, $is_leaf) = @_;
	my $kind =
	  chance($is_leaf ? 0 : 0.25) ? pick(qw(package package job))
	  : chance(0.08) ? 'none'
	  :                'sql';
	my %step = (name => $name, kind => $kind, _any_options($kind));

	$step{command} = 'leaf_' . _number(1, $leaves)
	  if $kind eq 'package' || $kind eq 'job';
	%step = (%step, _sql_options($name)) if $kind eq 'sql';
	return \%step;
}

# Options of steps of any kind.
sub _any_options
{
	my ($kind) = @_;
	my %options;

	$options{priority} = _number(-2, 2) if chance(0.1);
	$options{disabled} = JSON::PP::true if chance(0.04);
	$options{fail_package_on_error} = JSON::PP::true if chance(0.05);
	if (chance(0.12))
	{
		$options{condition} = _condition();
		$options{condition_interval} = _milliseconds(1, 20);
	}
	if ($kind ne 'none' && chance(0.2))
	{
		$options{max_attempts} = _number(2, 3);
		$options{retry_delay} = _milliseconds(0, 20);
		$options{retry_on} = [ pick(qw(22012 57014 P0)) ] if chance(0.3);
	}
	$options{main_thread} = JSON::PP::true if chance(0.05);
	return %options;
}

sub _condition
{
	return pick(
		'true', 'false',
		'random() < 0.7',
		'CASE WHEN random() < 0.5 THEN random() < 0.8 END',
		'1 / (random() * 3)::int > 0');
}

sub _sql_options
{
	my ($name) = @_;
	my %options = (command => $effect . _tail());

	%options = (name => "x$name", %{ _loose() }) if chance(0.08);
	$options{connection} = pick(qw(one two)) if chance(0.35);
	$options{timeout} = _milliseconds(5, 40) if chance(0.06);
	$options{lock_timeout} = _milliseconds(5, 40) if chance(0.06);
	$options{result_variable} = 'i' if chance(0.05);
	return %options;
}

# Steps that can commit something without being a success.
sub _loose
{
	return pick(
		{ command => 'VACUUM loose' },
		{ command => "DO \$\$ BEGIN $loose; COMMIT; $loose; END \$\$" },
		{ command => "$loose; SELECT pg_sleep(0.01); $loose",
			atomic => JSON::PP::false },
		{ command => "$loose; SELECT 1 / (random() * 2)::int; $loose",
			atomic => JSON::PP::false });
}

# What a step does after its effect.
sub _tail
{
	return '' if chance(0.45);
	return pick(
		'; SELECT pg_sleep(random() * 0.03)',
		'; SELECT pg_sleep(random() * 0.03)',
		'; SELECT 1 / 0',
		'; SELECT 1 / (random() * 2)::int',
		'; SELECT 1 / (random() * 2)::int',
		'; SELECT 1 / (random() * 4)::int',
		'; SELECT pg_advisory_xact_lock(1)',
		'; LOCK TABLE locked; SELECT pg_sleep(random() * 0.01)',
		'; DO $$ BEGIN RAISE NOTICE $n$a notice$n$; END $$',
		q{; SELECT workflow.set_variable('i', 1)},
		q{; SELECT workflow.report_progress(1, 2, 'half')},
		q{; INSERT INTO started SELECT workflow.start_job('end')});
}

=pod

=back

=cut

1;
