# What `make test` and `make demo` have in common: they bring along what is
# missing, build and install the extension, and work as an ordinary user in a
# scratch folder that is gone at the end, with every server in it stopped.
#
# Sourced by bash.  Sets:
#	root		the checkout
#	bindir		PostgreSQL's programs
#	scratch		the folder, owned by the ordinary user (after make_scratch)

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
scratch=

# make's own variables would reach the makes below
unset MAKEFLAGS MFLAGS MAKELEVEL

die()
{
	printf '%s\n' "$@" >&2
	exit 1
}

have()
{
	command -v "$1" >/dev/null
}

# ---------------------------------------------------------------------------
# Prerequisites
# ---------------------------------------------------------------------------

# Find the PostgreSQL to work with: that of PG_CONFIG, else Debian's newest
# one that has a server, else the pg_config of the search path.
find_postgres()
{
	local dir

	pg_config=${PG_CONFIG:-}
	if [ -n "$pg_config" ]; then
		have "$pg_config" || die "PG_CONFIG: there is no program $pg_config"
	else
		for dir in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV); do
			if [ -x "$dir/postgres" ] && [ -x "$dir/pg_config" ]; then
				pg_config=$dir/pg_config
				break
			fi
		done
	fi
	pg_config=${pg_config:-pg_config}

	bindir=$("$pg_config" --bindir 2>/dev/null) || bindir=/nonexistent
	sharedir=$("$pg_config" --sharedir 2>/dev/null) || sharedir=/nonexistent
	pkglibdir=$("$pg_config" --pkglibdir 2>/dev/null) || pkglibdir=/nonexistent
	pgxs=$("$pg_config" --pgxs 2>/dev/null) || pgxs=/nonexistent
	headers=$("$pg_config" --includedir-server 2>/dev/null) || headers=/nonexistent
	cc=$("$pg_config" --cc 2>/dev/null) || cc=gcc
	pgsrc=${pgxs%/makefiles/pgxs.mk}
}

# The major version to name in packages: that of the server found, else what
# the distribution calls its own.
postgres_major()
{
	local version=

	if [ -x "$bindir/postgres" ]; then
		version=$("$bindir/postgres" --version |
			sed -E 's/^[^0-9]*([0-9]+).*/\1/')
	elif have apt-cache; then
		version=$(apt-cache depends postgresql 2>/dev/null |
			sed -nE 's/^ *Depends: postgresql-([0-9]+)$/\1/p' | head -n 1)
	fi
	echo "${version:-15}"
}

# Set `missing` to the Debian packages that have what is not there.
# $1: test or demo
list_missing()
{
	local major

	find_postgres
	major=$(postgres_major)
	missing=()

	if ! have "${cc%% *}" || ! have make || ! have nm; then
		missing+=(build-essential)
	fi
	if [ ! -x "$bindir/postgres" ] || [ ! -x "$bindir/pgbench" ]; then
		missing+=("postgresql-$major")
	fi
	if [ ! -f "$pgxs" ] || [ ! -f "$headers/postgres.h" ]; then
		missing+=("postgresql-server-dev-$major")
	fi
	if [ "$1" = test ]; then
		if [ ! -f "$sharedir/extension/pg_cron.control" ]; then
			missing+=("postgresql-$major-cron")
		fi
		if ! have prove || ! perl -MIPC::Run -e1 2>/dev/null; then
			missing+=(libipc-run-perl perl)
		fi
	fi
}

# Run a command as root, if that may be done without a question.
as_root()
{
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif have sudo && sudo -n true 2>/dev/null; then
		sudo -n "$@"
	else
		return 126
	fi
}

# Have everything that is needed, or say what to install and stop.
# $1: test or demo
ensure_prerequisites()
{
	local log

	list_missing "$1"
	if [ ${#missing[@]} = 0 ]; then
		return
	fi

	if ! have apt-get || ! as_root true; then
		die "make $1 needs what is not installed here.  On Debian, as root:" \
			"" \
			"    apt-get install ${missing[*]}" \
			"" \
			"Elsewhere, install what corresponds to it, and name the pg_config" \
			"to use: make $1 PG_CONFIG=/path/to/pg_config"
	fi

	echo "Installing what is missing: ${missing[*]}"
	log=$(mktemp)
	as_root apt-get -q update >"$log" 2>&1 || true
	list_missing "$1"
	if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
		install --no-install-recommends "${missing[@]}" \
		>>"$log" 2>&1 </dev/null; then
		tail -n 40 "$log" >&2
		rm -f "$log"
		die "" "could not install: ${missing[*]}"
	fi
	rm -f "$log"

	list_missing "$1"
	if [ ${#missing[@]} != 0 ]; then
		die "still missing after the installation: ${missing[*]}"
	fi
}

# ---------------------------------------------------------------------------
# Building and installing
# ---------------------------------------------------------------------------

build()
{
	make -s -C "$root" -j "$(nproc)" PG_CONFIG="$pg_config" all
}

# True if what stands in PostgreSQL's folders is what was built.
installed()
{
	local file

	cmp -s "$root/workflow.so" "$pkglibdir/workflow.so" || return 1
	for file in "$root"/workflow.control "$root"/sql/workflow--*.sql; do
		cmp -s "$file" "$sharedir/extension/$(basename "$file")" || return 1
	done
}

install_extension()
{
	if installed; then
		return
	fi
	if [ -w "$pkglibdir" ] && [ -w "$sharedir/extension" ]; then
		make -s -C "$root" PG_CONFIG="$pg_config" install
	else
		as_root make -s -C "$root" PG_CONFIG="$pg_config" install ||
			die "could not install into $pkglibdir.  As root:" "" \
				"    make install PG_CONFIG=$pg_config"
	fi
}

# ---------------------------------------------------------------------------
# An ordinary user, a scratch folder
# ---------------------------------------------------------------------------

# Run a command as an ordinary user, since the server refuses root, and with
# an environment of which nothing points to another server.
as_user()
{
	local -a change=()

	if [ "$(id -u)" = 0 ]; then
		change=(setpriv "--reuid=$user" "--regid=$(id -g "$user")" --init-groups)
	fi
	(
		cd "$scratch"
		exec env -i HOME="$scratch" TMPDIR="$scratch" LANG=C.UTF-8 \
			PATH="$bindir:$PATH" TERM="${TERM:-dumb}" "${change[@]}" "$@"
	)
}

# $1: a word for the folder's name
make_scratch()
{
	user=$(id -un)
	if [ "$user" = root ]; then
		user=$(id -un postgres 2>/dev/null || id -un nobody)
	fi

	trap remove_scratch EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM

	# not TMPDIR, which the user might not reach; short, for socket names
	scratch=$(mktemp -d "/tmp/workflow-$1.XXXXXX")
	if [ "$(id -u)" = 0 ]; then
		chown "$user:" "$scratch"
	fi
}

# Stop every server in the scratch folder and remove the folder.  Programs
# that were interrupted may be on their way out, hence the repetition.
remove_scratch()
{
	local pidfile try

	trap '' HUP INT TERM
	if [ -z "$scratch" ]; then
		return
	fi
	for try in $(seq 50); do
		find "$scratch" -name postmaster.pid 2>/dev/null |
			while read -r pidfile; do
				as_user pg_ctl -s -w -m immediate -D "${pidfile%/*}" stop || true
			done >/dev/null 2>&1
		rm -rf "$scratch" 2>/dev/null
		if [ ! -e "$scratch" ]; then
			return
		fi
		sleep 0.1
	done
	echo "could not remove $scratch" >&2
}
