# workflow: multi-step jobs inside real database transactions
#
#   make && make install   build and install for the PostgreSQL of PG_CONFIG
#   make demo              build, install, show a nightly package at work
#   make test              build, install, run every test (or those in TESTS=)
#   make installcheck      the server tests alone, of what is installed
#
# demo and test bring along what is missing, PostgreSQL itself included.  So
# they are scripts which call make again, and PostgreSQL's makefiles are read
# for the other goals only.

REGRESS = install definition definition_errors definition_transactions \
	definition_api options \
	definition_script grants run_basic variables security start_errors \
	control_flow step_sql run_control child restart views purge transactions
export REGRESS

.DEFAULT_GOAL := all
.PHONY: demo test
demo:
	@test/demo/run
test:
	@test/run $(TESTS)

ifneq ($(filter-out demo test,$(or $(MAKECMDGOALS),all)),)

EXTENSION = workflow
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" \
	workflow.control)
DATA = $(wildcard sql/workflow--*.sql)

MODULE_big = workflow
OBJS = $(patsubst %.c,%.o,$(wildcard src/*.c))
PG_CPPFLAGS = -I$(libpq_srcdir) -DWORKFLOW_VERSION='"$(EXTVERSION)"'
PG_CFLAGS = -Wall -Wextra -Werror -Wno-unused-parameter
SHLIB_LINK_INTERNAL = $(libpq)

# No bitcode: there is nothing here that JIT could inline.
override with_llvm = no

REGRESS_OPTS = --temp-instance=./tmp_check --temp-config=test/workflow.conf \
	--no-locale --encoding=UTF8
ISOLATION = $(basename $(notdir $(wildcard test/isolation/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test/isolation --load-extension=workflow \
	--temp-instance=./tmp_check_iso --temp-config=test/workflow.conf \
	--no-locale --encoding=UTF8
TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl
export TEMP_CONFIG = $(CURDIR)/test/workflow.conf

EXTRA_CLEAN = tmp_check tmp_check_iso output_iso test/tmp_check

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

PROVE_FLAGS += -I test/perl

$(OBJS): $(wildcard src/*.h) workflow.control

clean: clean-machine
.PHONY: clean-machine
clean-machine:
	$(MAKE) -C test/machine clean

endif
