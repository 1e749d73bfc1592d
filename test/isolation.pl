# pg_isolation_regress: what sessions do to each other, one test of ours for
# each specification in test/isolation/specs.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename;
use Test::More;

my $inputdir = dirname(abs_path(__FILE__)) . '/isolation';
my $outputdir = "$ENV{TESTDIR}/isolation";
my @tests =
  sort map { basename($_, '.spec') } glob "$inputdir/specs/*.spec";

plan skip_all => 'pg_isolation_regress is not installed'
  unless -x $ENV{PG_ISOLATION_REGRESS};
mkdir $outputdir or die "could not create $outputdir: $!";

open my $pg_isolation_regress, '-|', $ENV{PG_ISOLATION_REGRESS},
  "--bindir=$ENV{PG_BINDIR}",
  "--inputdir=$inputdir",
  "--outputdir=$outputdir",
  "--temp-instance=$outputdir/tmp_check",
  "--temp-config=$ENV{TEMP_CONFIG}",
  '--load-extension=workflow',
  '--dbname=isolation_regression',
  '--no-locale', '--encoding=UTF8',
  @tests
  or die "could not execute $ENV{PG_ISOLATION_REGRESS}: $!";
my $output = do { local $/; <$pg_isolation_regress> };
close $pg_isolation_regress;
my $result = $?;

for my $test (@tests)
{
	ok( $output =~
		  /^(?:test \Q$test\E\s+\.\.\. ok\s|ok \d+\s+[-+] \Q$test\E\s)/m,
		$test);
}
is($result, 0, 'pg_isolation_regress succeeds')
  or diag($output);

done_testing();
