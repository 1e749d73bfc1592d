# The same under the address and undefined behaviour sanitizers, with fewer
# random packages, where the compiler has them.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename;
use Test::More;

my $program =
  dirname(abs_path(__FILE__)) . '/machine/machine_test_sanitize';
plan skip_all => 'the compiler has no sanitizers' unless -x $program;
exec $program, '--packages', 10000
  or die "could not execute $program: $!";
