
=pod

=head1 NAME

Conformance - run the scenarios of the conformance folder

=head1 SYNOPSIS

  use Conformance;

  for my $scenario (read_scenarios(conformance_folder()))
  {
	  begin_scenario($node, $scenario);
	  check_scenario($node, $scenario);
  }

A scenario is a JSON file: packages, which one to start, and what is expected
of the end (see the README of the folder).  Each has a database of its own, so
several may run at once: begin_scenario() only starts it.

What this version does not carry out yet is skipped, and said to be: that is
decided by what define_package says (0A000, not supported yet), not by a list
of scenarios, which turn themselves on.

=cut

package Conformance;

use strict;
use warnings;

use Cwd qw(abs_path);
use Exporter 'import';
use File::Basename;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(
  conformance_folder
  read_scenarios
  begin_scenario
  check_scenario
);

my $json = JSON::PP->new->canonical->utf8;

=pod

=head1 FUNCTIONS

=over

=item conformance_folder()

The folder: that of WORKFLOW_CONFORMANCE, else shared/conformance beside the
checkout or above; undef if there is none.

=cut

sub conformance_folder
{
	my $dir = dirname(abs_path(__FILE__));

	return $ENV{WORKFLOW_CONFORMANCE} if $ENV{WORKFLOW_CONFORMANCE};
	while ($dir ne dirname($dir))
	{
		$dir = dirname($dir);
		return "$dir/shared/conformance" if -d "$dir/shared/conformance";
	}
	return;
}

=pod

=item read_scenarios($folder)

All scenarios of the folder, in order of their names.  TICK in their commands
is the number of seconds of WORKFLOW_TICK, or 0.05.

=cut

sub read_scenarios
{
	my ($folder) = @_;

	return map { _read_scenario($_) } sort glob "$folder/*.json";
}

sub _read_scenario
{
	my ($file) = @_;
	my $scenario = $json->decode(slurp_file($file));
	my $tick = $ENV{WORKFLOW_TICK} || 0.05;

	for my $step (map { @{ $_->{steps} } } @{ $scenario->{packages} })
	{
		$step->{command} =~ s/\bTICK\b/$tick/g if defined $step->{command};
	}
	$scenario->{database} = lc $scenario->{id};
	return $scenario;
}

=pod

=item begin_scenario($node, $scenario)

Make the scenario's database, define its packages and start it, unless it
expects an error or is to be skipped.

=cut

sub begin_scenario
{
	my ($node, $scenario) = @_;

	$scenario->{skip} = _needs_servers($scenario);
	return if defined $scenario->{skip};
	_make_database($node, $scenario);
	_define_packages($node, $scenario);
	return if defined $scenario->{skip} || defined $scenario->{error};
	$scenario->{run} = $node->safe_psql($scenario->{database},
		"SELECT workflow.start_job('$scenario->{start}')");
	return;
}

# Why a scenario cannot run without other servers, or undef.  One that expects
# define_package to fail does not get as far as to use them.
sub _needs_servers
{
	my ($scenario) = @_;
	my @connections =
	  map { @{ $_->{connections} || [] } } @{ $scenario->{packages} };

	return if defined $scenario->{expect}{define_error};
	return 'needs other servers: agents' if %{ $scenario->{agents} || {} };
	return 'needs other servers: connections'
	  if grep { defined $_->{server} } @connections;
	return;
}

# The commands do not quote the names of tables and sequences, so neither here.
sub _make_database
{
	my ($node, $scenario) = @_;
	my $database = $scenario->{database};
	my @tables = keys %{ $scenario->{expect}{rows}{local} || {} };

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql(
		$database,
		join ';',
		'CREATE EXTENSION workflow',
		(map { "CREATE SEQUENCE $_" } @{ $scenario->{sequences} || [] }),
		(map { "CREATE TABLE $_ (i integer)" } @tables));
	$node->poll_query_until($database, 'SELECT running FROM workflow.agent')
	  or die "the agent of $database does not run";
	return;
}

# Define the packages up to the first that is refused.  To be refused as "not
# supported yet" is a reason to skip the scenario, also where it expects 0A000,
# but for what will never be supported.
sub _define_packages
{
	my ($node, $scenario) = @_;

	for my $package (@{ $scenario->{packages} })
	{
		my ($sqlstate, $message) = _define_package($node, $scenario, $package);

		next if !defined $sqlstate;
		$scenario->{skip} = "not supported yet: $message"
		  if $sqlstate eq '0A000' && $message =~ /not supported yet/;
		$scenario->{error} = { sqlstate => $sqlstate, message => $message };
		return;
	}
	return;
}

# Define a package.  Returns SQLSTATE and message of the error, or nothing.
sub _define_package
{
	my ($node, $scenario, $package) = @_;
	my $document = $json->encode($package);
	my ($result, $stdout, $stderr) = $node->psql(
		$scenario->{database},
		"SELECT workflow.define_package(\$document\$$document\$document\$)",
		extra_params => [ '-v', 'VERBOSITY=verbose' ]);

	return if $result == 0;
	$stderr =~ /ERROR:\s+(\w{5}): (.*)/ or die "define_package: $stderr";
	return ($1, $2);
}

=pod

=item check_scenario($node, $scenario)

Wait for the end of the scenario, if it was started, and compare what came of
it with what is expected: one subtest.

=cut

sub check_scenario
{
	my ($node, $scenario) = @_;
	my $name = "$scenario->{id} $scenario->{title}";

  SKIP:
	{
		skip "$name: $scenario->{skip}", 1 if defined $scenario->{skip};
		subtest $name => sub { _check($node, $scenario) };
	}
	return;
}

sub _check
{
	my ($node, $scenario) = @_;
	my $expect = $scenario->{expect};

	if (defined $expect->{define_error} || defined $scenario->{error})
	{
		_check_error($scenario);
		return;
	}
	isnt(_query($node, $scenario, _wait_for_end($scenario)), '', 'it ends');
	_check_rows($node, $scenario);
	_check_packages($node, $scenario);
	_check_transactions($node, $scenario);
	return;
}

# The error of define_package: its SQLSTATE, and that it names what is wrong.
sub _check_error
{
	my ($scenario) = @_;
	my $error = $scenario->{error} || { sqlstate => '', message => '' };

	is( $error->{sqlstate},
		$scenario->{expect}{define_error} || '',
		'SQLSTATE of define_package');
	like($error->{message}, qr/"[^"]+"/, 'its message names the culprit');
	diag($error->{message}) if !defined $scenario->{expect}{define_error};
	return;
}

sub _wait_for_end
{
	my ($scenario) = @_;
	my $timeout = $PostgreSQL::Test::Utils::timeout_default / 2;

	return "SELECT workflow.wait_for_job($scenario->{run}, '$timeout s')";
}

sub _check_rows
{
	my ($node, $scenario) = @_;
	my $tables = $scenario->{expect}{rows}{local} || {};

	for my $table (sort keys %$tables)
	{
		is( _query(
				$node, $scenario,
				"SELECT string_agg(i::text, ' ' ORDER BY i) FROM $table"),
			join(' ', @{ $tables->{$table} }),
			"rows of $table");
	}
	return;
}

# Package runs in order of their start, each with its steps.
sub _check_packages
{
	my ($node, $scenario) = @_;
	my @expected = @{ $scenario->{expect}{packages} };
	my @runs = _rows(
		$node,
		$scenario, qq{
			SELECT package, status, run_id FROM workflow.run_history
			WHERE root_run_id = $scenario->{run}
			ORDER BY started_at, run_id});

	is( join(', ', map { "$_->[0] $_->[1]" } @runs),
		join(', ', map { "$_->{name} $_->{status}" } @expected),
		'package runs');
	for my $package (@expected)
	{
		my $run = shift @runs;

		_check_steps($node, $scenario, $package, $run->[2]) if defined $run;
	}
	return;
}

# The last attempt of each step; the reason only where one is expected.
sub _check_steps
{
	my ($node, $scenario, $package, $run) = @_;
	my $expected = $package->{steps};
	my @steps = _rows(
		$node,
		$scenario, qq{
			SELECT DISTINCT ON (step COLLATE "C") step, status, coalesce(reason, '')
			FROM workflow.step_history WHERE run_id = $run
			ORDER BY step COLLATE "C", attempt DESC});

	for my $step (@steps)
	{
		pop @$step if !defined $expected->{ $step->[0] }{reason};
	}
	is( join(', ', map { join ' ', @$_ } @steps),
		join(', ', map { _step_text($_, $expected->{$_}) } sort keys %$expected),
		"steps of $package->{name}");
	return;
}

sub _step_text
{
	my ($name, $step) = @_;

	return join ' ', grep { defined } $name, $step->{status}, $step->{reason};
}

# Package transactions, as soon as there is a view of them.
sub _check_transactions
{
	my ($node, $scenario) = @_;
	my @expected = @{ $scenario->{expect}{transactions} || [] };
	my $view = 'workflow.transaction_history';

  SKIP:
	{
		skip "there is no $view yet", 1
		  if _query($node, $scenario, "SELECT to_regclass('$view')") eq '';
		is( join(
				', ',
				map { "$_->[0] $_->[1]" } _rows(
					$node,
					$scenario, qq{
						SELECT package, status FROM $view
						WHERE root_run_id = $scenario->{run}
						ORDER BY transaction_id})),
			join(', ', map { "$_->{owner} $_->{status}" } @expected),
			'package transactions');
	}
	return;
}

# The rows of a query, each an array.
sub _rows
{
	my ($node, $scenario, $query) = @_;

	return map { [ split /\|/, $_, -1 ] }
	  split /\n/, _query($node, $scenario, $query);
}

sub _query
{
	my ($node, $scenario, $query) = @_;

	return $node->safe_psql($scenario->{database}, $query);
}

=pod

=back

=cut

1;
