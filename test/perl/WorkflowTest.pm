
=pod

=head1 NAME

WorkflowTest - what the TAP tests of workflow have in common

=head1 SYNOPSIS

  use WorkflowTest;

  my $node = new_node('main');
  define_package($node, { name => 'p', steps => [ { name => 'a', command => 'SELECT 1' } ] });
  my $run = start_job($node, 'p');
  is(wait_for_job($node, $run), 'succeeded', 'it ran');

Tests wait for states, by wait_for_job() and poll_query_until(), never for an
amount of time.  What must not move on meanwhile waits for an advisory lock:

  my $lock = hold_lock($node, 1);
  ... a step executes SELECT pg_advisory_xact_lock_shared(1) ...
  wait_for_lock_waiters($node, 1, 1);
  $lock->quit;

=cut

package WorkflowTest;

use strict;
use warnings;

use Exporter 'import';
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(
  new_node
  wait_for_agent
  define_package
  start_job
  wait_for_job
  start_and_wait
  hold_lock
  wait_for_lock_waiters
  lock_waiters
  scalar_query
  psql_error
  is_idle
  stop_immediately
  $true
  $false
);

our $true = JSON::PP::true;
our $false = JSON::PP::false;

# No statement of a test waits for ever; the agent's processes are not clients.
$ENV{PGOPTIONS} =
  '-c statement_timeout=' . 1000 * $PostgreSQL::Test::Utils::timeout_default;

=pod

=head1 FUNCTIONS

=over

=item new_node($name, %params)

A running server with the extension in database postgres, its agent running.
C<conf> is added to postgresql.conf, whose base is test/workflow.conf; with
C<streaming> it can have standbys.

=cut

sub new_node
{
	my ($name, %params) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(allows_streaming => $params{streaming});
	$node->append_conf('postgresql.conf', $params{conf}) if $params{conf};
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION workflow');
	wait_for_agent($node);
	return $node;
}

=pod

=item wait_for_agent($node)

Wait until the agent of database postgres is running.

=cut

sub wait_for_agent
{
	my ($node) = @_;

	$node->poll_query_until('postgres',
		'SELECT running FROM workflow.agent')
	  or die 'the agent does not run';
	return;
}

=pod

=item define_package($node, $document, @psql_options)

Define a package; the document is a Perl structure.  Returns the version.

=cut

sub define_package
{
	my ($node, $document, @options) = @_;
	my $json = JSON::PP->new->canonical->encode($document);

	return scalar_query($node,
		"SELECT workflow.define_package(\$document\$$json\$document\$)",
		@options);
}

=pod

=item start_job($node, $package, @psql_options)

Start a run.  Returns its id.

=cut

sub start_job
{
	my ($node, $package, @options) = @_;

	return scalar_query($node, "SELECT workflow.start_job('$package')",
		@options);
}

=pod

=item wait_for_job($node, $run)

Wait for the end of a run.  Returns its status, '' if it did not end in time.

=cut

sub wait_for_job
{
	my ($node, $run) = @_;
	my $timeout = $PostgreSQL::Test::Utils::timeout_default / 2;

	return scalar_query($node,
		"SELECT workflow.wait_for_job($run, '$timeout s')");
}

=pod

=item start_and_wait($node, $package, @psql_options)

Start a run and wait for its end.  Returns its id and its status.

=cut

sub start_and_wait
{
	my ($node, $package, @options) = @_;
	my $run = start_job($node, $package, @options);

	return ($run, wait_for_job($node, $run));
}

=pod

=item hold_lock($node, $key)

A session that holds an advisory lock until it is told to quit.

=cut

sub hold_lock
{
	my ($node, $key) = @_;
	my $session = $node->background_psql('postgres');

	$session->query_safe("SELECT pg_advisory_lock($key)");
	return $session;
}

=pod

=item lock_waiters($node, $key)

The number of sessions that wait for an advisory lock.

=cut

sub lock_waiters
{
	my ($node, $key) = @_;

	return scalar_query($node, _waiters($key));
}

=pod

=item wait_for_lock_waiters($node, $key, $number)

Wait until at least so many sessions wait for an advisory lock.

=cut

sub wait_for_lock_waiters
{
	my ($node, $key, $number) = @_;

	$node->poll_query_until('postgres',
		"SELECT (" . _waiters($key) . ") >= $number")
	  or die "there are no $number sessions that wait for lock $key";
	return;
}

sub _waiters
{
	my ($key) = @_;

	return "SELECT count(*) FROM pg_catalog.pg_locks "
	  . "WHERE locktype = 'advisory' AND objid = $key AND NOT granted";
}

=pod

=item scalar_query($node, $query, @psql_options)

The output of a query in database postgres, which must not fail.

=cut

sub scalar_query
{
	my ($node, $query, @options) = @_;

	return $node->safe_psql('postgres', $query, extra_params => \@options);
}

=pod

=item psql_error($node, $query, @psql_options)

The standard error, with SQLSTATE, of a query in database postgres; '' if it
succeeds.

=cut

sub psql_error
{
	my ($node, $query, @options) = @_;
	my ($result, $stdout, $stderr) = $node->psql(
		'postgres', $query,
		extra_params => [ '-v', 'VERBOSITY=verbose', @options ]);

	return $result == 0 ? '' : $stderr;
}

=pod

=item is_idle($node)

One test: no session of any database is left in a transaction, be it a client
or a worker, once it has finished what it is at.

=cut

sub is_idle
{
	my ($node) = @_;
	my $rest = q{
		SELECT string_agg(concat_ws(' ', backend_type, pid, state, query), ', ')
		FROM pg_stat_activity
		WHERE pid <> pg_backend_pid()
		  AND (state LIKE 'idle in transaction%'
			   OR backend_type = 'workflow worker' AND (xact_start IS NOT NULL OR backend_xid IS NOT NULL))};

	$node->poll_query_until('postgres', "SELECT ($rest) IS NULL")
	  or diag scalar_query($node, $rest);
	is(scalar_query($node, $rest), '', 'no session is left in a transaction');
	return;
}

=pod

=back

=cut

# Crash the server.  What was committed asynchronously before, and somebody has
# seen, survives: a commit that is flushed comes behind it.
sub stop_immediately
{
	my ($node) = @_;

	$node->safe_psql('postgres',
		q{SELECT pg_logical_emit_message(true, 'workflow', 'flush')});
	$node->stop('immediate');
	return;
}

1;
