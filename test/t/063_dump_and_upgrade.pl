# What travels: pg_dump and pg_restore, pg_upgrade, and SQL objects of another
# version than the library.

use strict;
use warnings;

use File::Path qw(make_path);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkflowTest;

# ---------------------------------------------------------------------------
# An installation of our own, in which another version can be put
# ---------------------------------------------------------------------------

sub config
{
	my ($what) = @_;
	my $value = `pg_config --$what`;

	chomp $value;
	return $value;
}

my $install = PostgreSQL::Test::Utils::tempdir();
for my $what (qw(bindir pkglibdir sharedir))
{
	my $from = config($what);
	my $to = $install . $from;

	# programs find the rest from where they really are
	make_path($to =~ s{/[^/]*$}{}r);
	system_or_bail('cp', $what eq 'bindir' ? '-rL' : '-rs', $from, $to);
}

# Put the installation script of 1.0 there as that of another version.
sub put_version
{
	my ($version) = @_;
	my $directory = $install . config('sharedir') . '/extension';
	my $script = slurp_file("$directory/workflow--1.0.sql");

	append_to_file("$directory/workflow--$version.sql", $script);
	append_to_file("$directory/workflow--$version--1.0.sql",
		"COMMENT ON SCHEMA workflow IS 'updated';\n");
	return;
}

put_version('0.9');
my $node = PostgreSQL::Test::Cluster->new('main', install_path => $install . (config('bindir') =~ s{/bin$}{}r));
$node->init;
$node->append_conf('postgresql.conf', 'restart_after_crash = on');
$node->start;

# ---------------------------------------------------------------------------
# SQL objects of another version
# ---------------------------------------------------------------------------

$node->safe_psql('postgres', q{CREATE EXTENSION workflow VERSION '0.9'});
my $mismatch =
  qr/ERROR:  55000: extension "workflow" has version 0\.9 in this database, but the loaded library is that of version 1\.0\nHINT:  Run ALTER EXTENSION workflow UPDATE; if the library is the older one, restart the server first\.$/m;
for my $call (
	q{create_package('x')}, q{start_job('x')},
	q{stop_job(1)}, q{package_definition('x')})
{
	like(psql_error($node, "SELECT workflow.$call"),
		$mismatch, "$call is an error with a hint");
}
ok( $node->wait_for_log(
		qr/ERROR:  extension "workflow" has version 0\.9 in this database/),
	'the agent says so');
is(scalar_query($node, 'SELECT running FROM workflow.agent'),
	'f', 'and does not run');
is(scalar_query($node, 'SELECT last_error FROM workflow.agent'),
	'extension "workflow" has version 0.9 in this database, but the loaded library is that of version 1.0',
	'workflow.agent shows it');
$node->safe_psql('postgres', 'ALTER EXTENSION workflow UPDATE');
is( scalar_query($node,
		q{SELECT obj_description('workflow'::regnamespace, 'pg_namespace')}),
	'updated',
	'ALTER EXTENSION UPDATE');
wait_for_agent($node);
pass('then the agent runs');

# ---------------------------------------------------------------------------
# pg_dump, pg_restore
# ---------------------------------------------------------------------------

$node->safe_psql(
	'postgres', q{
		CREATE ROLE alice LOGIN;
		CREATE ROLE bob LOGIN;
		CREATE ROLE gone LOGIN;
		GRANT USAGE ON SCHEMA workflow TO alice, bob, gone;
		CREATE TABLE effect (run_id bigint);
		GRANT INSERT, SELECT ON effect TO PUBLIC});
for my $role (qw(alice gone))
{
	define_package(
		$node,
		{
			name => "package_$role",
			description => 'with "quotes" and ümlauts',
			steps => [
				{
					name => 'a',
					command => 'INSERT INTO effect SELECT workflow.run_id()'
				}
			]
		},
		'-U', $role);
}
$node->safe_psql(
	'postgres', q{
		SELECT workflow.grant_start('package_alice', 'bob');
		SELECT workflow.grant_start('package_alice', 'gone');
		SELECT workflow.grant_start('package_gone', 'public')});
is((start_and_wait($node, 'package_alice'))[1], 'succeeded', 'a run');
$node->safe_psql('postgres',
	q{SELECT workflow.start_job('package_alice', start_at => now() + '1 h')});
my $definition = scalar_query($node,
	q{SELECT workflow.package_definition('package_alice')});
$node->safe_psql('postgres',
	'REVOKE USAGE ON SCHEMA workflow FROM gone; DROP ROLE gone');

my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'postgres' ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
$node->command_ok(
	[ 'pg_restore', '--exit-on-error', '-d', 'restored', $dump ],
	'pg_restore');
$node->poll_query_until('restored', 'SELECT running FROM workflow.agent')
  or die 'no agent runs where it was restored';

sub restored
{
	my ($sql, @options) = @_;

	return $node->safe_psql('restored', $sql, extra_params => \@options);
}

is( restored(
		q{SELECT string_agg(name || ' ' || owner || ' ' || version, ', ') FROM workflow.definition}
	),
	'package_alice alice 1',
	'packages are restored, but those that belonged to nobody');
is(restored(q{SELECT workflow.package_definition('package_alice')}),
	$definition, 'as they were');
is(restored('SELECT string_agg(grantee::text, $$ $$) FROM workflow.start_grant'),
	'bob', 'with who may start them');
is(restored('SELECT count(DISTINCT package_id) FROM workflow.definition_version'),
	1, 'nothing of others');
is( restored(
		'SELECT (SELECT count(*) FROM workflow.run_history), (SELECT count(*) FROM effect)'
	),
	'0|1',
	'without the history, and nothing has started');
isnt(
	restored('SELECT installation_id FROM workflow.installation'),
	scalar_query($node, 'SELECT installation_id FROM workflow.installation'),
	'it is another installation');
is(restored(q{SELECT workflow.create_package('new')}), 1, 'a package is created');
is( restored(
		q{SELECT workflow.add_step('package_alice', 'b', 'SELECT 1', after => '{a}')},
		'-U', 'alice'),
	1,
	'one that was restored is edited');
my $run = restored(q{SELECT workflow.start_job('package_alice')}, '-U', 'bob');
is($run, 3, 'runs are numbered on');
is(restored("SELECT workflow.wait_for_job($run)"), 'succeeded', 'and executed');
is( restored(
		q{SELECT workflow.add_step('package_alice', 'c', 'SELECT 1')},
		'-U', 'alice'),
	2,
	'then an edit makes the next version');

# ---------------------------------------------------------------------------
# pg_upgrade, from this version to itself
# ---------------------------------------------------------------------------

$node->safe_psql('postgres', 'DROP DATABASE restored');
$node->stop;
my $new = PostgreSQL::Test::Cluster->new('new', install_path => $install . (config('bindir') =~ s{/bin$}{}r));
$new->init;
my $bin = $install . config('bindir');
my @upgrade = (
	'pg_upgrade', '--no-sync', '-d', $node->data_dir, '-D', $new->data_dir,
	'-b', $bin, '-B', $bin, '-s', $new->host,
	'-p', $node->port, '-P', $new->port);
chdir PostgreSQL::Test::Utils::tempdir();
$new->command_ok([ @upgrade, '--check' ], 'pg_upgrade --check');
$new->command_ok(\@upgrade, 'pg_upgrade');
$new->start;
wait_for_agent($new);
is(scalar_query($new, q{SELECT workflow.package_definition('package_alice')}),
	$definition, 'definitions are there');
is( scalar_query(
		$new, q{
			SELECT string_agg(concat_ws(' ', run_id, status, message), ', ' ORDER BY run_id)
			FROM workflow.run_history}),
	'1 succeeded, 2 failed this database is a copy',
	'and the history, in which what was open has failed');
is((start_and_wait($new, 'package_alice'))[1], 'succeeded', 'runs are executed');
$new->stop;

done_testing();
