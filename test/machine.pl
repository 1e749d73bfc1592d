# The run machine without a server: its own program, which prints TAP.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename;

my $program = dirname(abs_path(__FILE__)) . '/machine/machine_test';
exec $program or die "could not execute $program: $!";
