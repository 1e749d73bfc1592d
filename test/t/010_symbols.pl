# The library exports nothing but what has its prefix or is PostgreSQL's
# protocol: libraries are loaded into one name space.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

my $pkglibdir = `pg_config --pkglibdir`;
chomp $pkglibdir;
my @lines = split /\n/, `nm -D --defined-only '$pkglibdir/workflow.so'`;
is($?, 0, 'nm reads the library');

my @symbols = map { (split)[2] } @lines;
my @foreign = grep {
	!/^(?:wf_\w+|pg_finfo_\w+|_PG_init|Pg_magic_func)$/
} @symbols;

ok((grep { $_ eq '_PG_init' } @symbols), 'the library has symbols');
is(join(' ', @foreign), '', 'all exported symbols have the prefix');

done_testing();
