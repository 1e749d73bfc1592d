# pg_regress, one test of ours for each of its own.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename;
use Test::More;

my $checkout = dirname(dirname(abs_path(__FILE__)));
my $outputdir = "$ENV{TESTDIR}/regress";
my @tests = split ' ', $ENV{REGRESS};

mkdir $outputdir or die "could not create $outputdir: $!";

open my $pg_regress, '-|', $ENV{PG_REGRESS},
  "--bindir=$ENV{PG_BINDIR}",
  "--inputdir=$checkout",
  "--outputdir=$outputdir",
  "--temp-instance=$outputdir/tmp_check",
  "--temp-config=$ENV{TEMP_CONFIG}",
  '--dbname=contrib_regression',
  '--no-locale', '--encoding=UTF8',
  @tests
  or die "could not execute $ENV{PG_REGRESS}: $!";
my $output = do { local $/; <$pg_regress> };
close $pg_regress;
my $result = $?;

# "test name ... ok   12 ms"; from PostgreSQL 16 on "ok 1   - name   12 ms"
for my $test (@tests)
{
	ok( $output =~
		  /^(?:test \Q$test\E\s+\.\.\. ok\s|ok \d+\s+[-+] \Q$test\E\s)/m,
		$test);
}
is($result, 0, 'pg_regress succeeds')
  or diag($output);

done_testing();
