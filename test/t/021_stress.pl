# Random packages started from many sessions, while other sessions stop, pause
# and resume runs at random: every run ends, and history is consistent with
# the definitions and with the effects.
#
#	WORKFLOW_SEED	repeats the packages and what the sessions ask for

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RandomPackage;
use Test::More;
use WorkflowTest;

my $npackages = 40;
my $nstarters = 8;
my $nstarts = 70;    # of each starter; at least 500 runs in all
my $nmeddlers = 3;
my $nmeddlings = 150;
my $workers = 8;

my $seed = $ENV{WORKFLOW_SEED} || int rand 2**31;
srand $seed;
diag "WORKFLOW_SEED=$seed";

my $node = new_node(
	'main',
	conf => "workflow.max_workers = $workers
			 workflow.worker_idle_timeout = 200");

$node->safe_psql(
	'postgres', q{
		CREATE TABLE effect (run_id bigint, step text);
		CREATE TABLE loose (run_id bigint, step text);
		CREATE TABLE locked ();
		CREATE TABLE started (run_id bigint);
		CREATE TABLE waited (run_id bigint, status text);
		CREATE TABLE asked (run_id bigint, what text)});
my @packages = random_packages($npackages);
define_package($node, $_) for @packages;
my $scheduler = scheduler_pid();

# ---------------------------------------------------------------------------
# What the sessions do
# ---------------------------------------------------------------------------

# A script that starts runs, in several ways, and waits for some of them.  A
# start that is rejected does not spoil the transaction.
sub starter_script
{
	my $script =
	  sprintf "\\set ON_ERROR_ROLLBACK on\nSELECT setseed(%.6f);\n", rand;
	my $starts = 0;

	while ($starts < $nstarts)
	{
		my $number = chance(0.1) ? 4 : 1;
		my $start = join '', map { start_statement() } 1 .. $number;

		if (chance(0.05))
		{
			$script .= "BEGIN;\n${start}ROLLBACK;\n";
			next;
		}
		$script .= $number > 1 ? "BEGIN;\n${start}COMMIT;\n" : $start;
		$starts += $number;
		$script .= wait_statement() if chance(0.2);
	}
	return $script;
}

sub start_statement
{
	my $arguments = "'" . pick(@packages)->{name} . "'";

	$arguments .= ', priority => ' . pick(-5, 5) if chance(0.1);
	$arguments .= sprintf ", start_at => clock_timestamp() + '%d ms'", rand 80
	  if chance(0.1);
	if (chance(0.1))
	{
		$arguments .= sprintf ", request_key => 'key %d'", rand 5;
	}
	elsif (chance(0.1))
	{
		$arguments .= q{, variables => '{"i": 7}'};
	}
	return "INSERT INTO started SELECT workflow.start_job($arguments);\n";
}

sub wait_statement
{
	return q{INSERT INTO waited
		SELECT run_id, workflow.wait_for_job(run_id, '100 ms') FROM (
			SELECT run_id FROM started ORDER BY random() LIMIT 1) AS r;
	};
}

# A script that stops, pauses and resumes.  What is to be done is recorded
# before it is done.
sub meddler_script
{
	return sprintf("SELECT setseed(%.6f);\n", rand) . join '',
	  map { meddle_statement() } 1 .. $nmeddlings;
}

sub meddle_statement
{
	my $what = pick(qw(stop pause pause resume));
	my $among =
		$what eq 'resume' ? "'paused'"
	  : chance(0.5)       ? "'running'"
	  :                     "'queued', 'running', 'paused'";
	my $arguments =
	  $what eq 'stop' && chance(0.5)
	  ? ", 'meddled', " . (chance(0.3) ? 'true' : 'false')
	  : '';

	return qq{
		SELECT pg_sleep(random() * 0.02);
		SELECT run_id AS run FROM workflow.run_history
		WHERE status IN ($among) ORDER BY random() LIMIT 1 \\gset
		\\if :{?run}
			INSERT INTO asked VALUES (:run, '$what');
			SELECT workflow.${what}_job(:run$arguments);
			\\unset run
		\\endif
	};
}

# Start a session that executes a script.
sub start_session
{
	my ($name, $script) = @_;
	my $file = "$PostgreSQL::Test::Utils::tmp_check/$name.sql";
	my %session = (name => $name, stderr => '', stdout => '');

	append_to_file($file, $script);
	$session{handle} = IPC::Run::start(
		[
			'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-f', $file, '-d',
			$node->connstr('postgres')
		],
		'>', \$session{stdout},
		'2>', \$session{stderr},
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return \%session;
}

# Wait for the end of sessions.  Returns the errors that they met.
sub finish_sessions
{
	my (@sessions) = @_;

	$_->{handle}->finish for @sessions;
	return map { "$_->{name}: $_->{stderr}" =~ /^.*ERROR:.*$/mg } @sessions;
}

# What was paused is resumed, until nothing is going on any more.
sub end_all
{
	return $node->poll_query_until(
		'postgres', q{
			SELECT count(workflow.resume_job(run_id)) = 0
			   AND NOT EXISTS (SELECT FROM workflow.activity)
			FROM workflow.run_history WHERE status = 'paused'});
}

sub scheduler_pid
{
	return scalar_query($node, q{
		SELECT string_agg(pid::text, ' ') FROM pg_stat_activity
		WHERE backend_type = 'workflow scheduler'});
}

# A query that finds nothing.
sub finds_nothing
{
	my ($name, $query) = @_;

	is(scalar_query($node, "$query LIMIT 10"), '', $name);
	return;
}

# ---------------------------------------------------------------------------
# The load
# ---------------------------------------------------------------------------

my @starters =
  map { start_session("starter_$_", starter_script()) } 1 .. $nstarters;
my @meddlers =
  map { start_session("meddler_$_", meddler_script()) } 1 .. $nmeddlers;
my @errors = finish_sessions(@starters);
is(join("\n", grep { !/ERROR:  55006: / } @errors),
	'', 'starting meets no errors but overlaps that are rejected');
is(join("\n", finish_sessions(@meddlers)),
	'', 'stopping, pausing and resuming meets no errors');
if (!ok(end_all(), 'everything ends'))
{
	# there is no point in looking at what has not ended
	diag scalar_query($node, 'SELECT * FROM workflow.activity');
	$node->stop('immediate');
	done_testing();
	exit 1;
}

# ---------------------------------------------------------------------------
# What came of it
# ---------------------------------------------------------------------------

# `last` is the final outcome of each step; `calm` are the runs of trees in
# which nobody stopped anything.
$node->safe_psql(
	'postgres', q{
		CREATE TABLE run AS SELECT * FROM workflow.run_history;
		CREATE TABLE step AS SELECT * FROM workflow.step_history;
		CREATE TABLE definition AS SELECT * FROM workflow.step;
		CREATE TABLE precedence AS SELECT * FROM workflow.precedence;
		CREATE INDEX ON step (run_id, step);
		ANALYZE run, step, definition, precedence;
		CREATE VIEW last AS
		SELECT DISTINCT ON (run_id, step) * FROM step
		ORDER BY run_id, step, attempt DESC;
		CREATE VIEW calm AS
		SELECT * FROM run WHERE root_run_id NOT IN (
			SELECT root_run_id FROM run JOIN asked USING (run_id)
			WHERE what = 'stop')});
note scalar_query($node,
	q{SELECT status, count(*), count(parent_run_id), count(stopped_by)
	  FROM run GROUP BY status});
note scalar_query($node,
	'SELECT what, count(*) FROM asked GROUP BY what');
note scalar_query($node,
	'SELECT status, reason, kind, count(*) FROM last GROUP BY 1, 2, 3 ORDER BY 1, 2, 3');
cmp_ok(scalar_query($node, 'SELECT count(*) FROM run'),
	'>=', 500, 'at least 500 runs');

# Runs
finds_nothing(
	'every run has an outcome', q{
		SELECT run_id, package, status FROM run
		WHERE status NOT IN ('succeeded', 'failed', 'cancelled', 'skipped')
		   OR finished_at IS NULL});
finds_nothing('nothing is going on', 'SELECT * FROM workflow.activity');
finds_nothing(
	'what was started, and committed, is there, and nothing else', q{
		SELECT * FROM (
			SELECT run_id FROM started
			UNION SELECT remote_run_id FROM last
			WHERE kind = 'job' AND status = 'succeeded') AS s
		FULL JOIN (SELECT run_id FROM run WHERE parent_run_id IS NULL) AS r
		USING (run_id)
		WHERE s.* IS NULL OR r.* IS NULL});
finds_nothing(
	'wait_for_job told the truth', q{
		SELECT run_id, w.status, r.status FROM waited AS w JOIN run AS r USING (run_id)
		WHERE w.status <> r.status});
finds_nothing(
	'no run starts before its time, or ends before it starts', q{
		SELECT run_id, r.started_at, start_at FROM run AS r
		JOIN workflow.run USING (run_id)
		WHERE r.started_at < start_at OR r.finished_at < r.started_at});
finds_nothing(
	'no run is cancelled that nobody stopped', q{
		SELECT run_id, package FROM calm
		WHERE status = 'cancelled' AND parent_run_id IS NULL});
finds_nothing(
	'cancelled runs say who stopped them', q{
		SELECT run_id, package, stopped_by FROM run
		WHERE parent_run_id IS NULL
		  AND (status = 'cancelled') <> (stopped_by IS NOT NULL)});
finds_nothing(
	'failed runs have an error', q{
		SELECT run_id, package, status, sqlstate FROM run
		WHERE (status = 'failed' AND sqlstate IS NULL)
		   OR (status = 'succeeded' AND sqlstate IS NOT NULL)});
finds_nothing(
	'no more than max_concurrent_runs at a time', q{
		SELECT a.run_id, a.package, max_concurrent_runs, array_agg(b.run_id)
		FROM run AS a JOIN run AS b USING (package)
		JOIN workflow.package AS p ON name = package
		WHERE a.parent_run_id IS NULL AND b.parent_run_id IS NULL
		  AND b.started_at <= a.started_at AND b.finished_at > a.started_at
		GROUP BY a.run_id, a.package, max_concurrent_runs
		HAVING count(*) > max_concurrent_runs});

# Steps
finds_nothing(
	'every step has an outcome', q{
		SELECT r.run_id, r.package, r.status, d.name, l.status
		FROM run AS r JOIN definition AS d USING (package)
		LEFT JOIN last AS l ON l.run_id = r.run_id AND l.step = d.name
		WHERE r.status <> 'skipped'
		  AND (l.status IS NULL OR l.status NOT IN (
				'succeeded', 'failed', 'skipped', 'cancelled', 'interrupted'))});
finds_nothing(
	'attempts are numbered, and only the last is final', q{
		SELECT run_id, package, step, array_agg((attempt, status))
		FROM step GROUP BY run_id, package, step
		HAVING count(*) <> count(DISTINCT attempt)
			OR max(attempt) <> count(*) - (min(attempt) = 0)::int
			OR count(*) FILTER (WHERE status IN ('succeeded', 'skipped', 'cancelled')) > 1
			OR (min(attempt) = 0 AND count(*) > 1)});
finds_nothing(
	'only steps that never started are skipped', q{
		SELECT run_id, package, step, attempt, status, reason FROM step
		WHERE (status = 'skipped') <> (reason IS NOT NULL)
		   OR (status = 'skipped' AND started_at IS NOT NULL)});
finds_nothing(
	'disabled steps are skipped', q{
		SELECT run_id, l.package, step, status, reason
		FROM last AS l JOIN definition AS d ON d.package = l.package AND name = step
		WHERE disabled <> (status = 'skipped' AND reason = 'disabled')});
finds_nothing(
	'a run that succeeds counts its failed steps', q{
		SELECT run_id, r.package, r.status, failed_steps, count(l.*)
		FROM run AS r LEFT JOIN last AS l USING (run_id)
		WHERE r.status <> 'skipped'
		GROUP BY run_id, r.package, r.status, failed_steps
		HAVING failed_steps <> count(*) FILTER (WHERE l.status = 'failed')});
finds_nothing(
	'a run succeeds only if nothing failed that fails it', q{
		SELECT run_id, l.package, step, l.status, l.reason
		FROM run AS r JOIN last AS l USING (run_id)
		JOIN definition AS d ON d.package = l.package AND d.name = step
		JOIN workflow.package AS p ON p.name = l.package
		WHERE r.status = 'succeeded' AND d.finally IS NULL
		  AND (l.reason = 'package failed'
			   OR (l.status = 'failed' AND (fail_on_first_error OR fail_package_on_error)))});
finds_nothing(
	'a run fails only by a step or a time-out', q{
		SELECT run_id, r.package, r.sqlstate, r.message FROM run AS r
		JOIN workflow.package AS p ON name = package
		WHERE r.status = 'failed' AND NOT (p.timeout IS NOT NULL AND r.sqlstate = '57014')
		  AND NOT EXISTS (
			SELECT FROM last AS l JOIN definition AS d ON d.package = l.package AND d.name = l.step
			WHERE l.run_id = r.run_id AND l.status IN ('failed', 'cancelled') AND d.finally IS NULL)
		  AND r.sqlstate <> '55000'});
# A step whose condition fails has never started, nor finished.
finds_nothing(
	'steps start when their constraints hold', q{
		SELECT l.run_id, l.package, l.step, array_agg((from_step, "on", f.status))
		FROM last AS l
		JOIN definition AS d ON d.package = l.package AND d.name = l.step
		JOIN precedence AS p ON p.package = l.package AND to_step = l.step
		JOIN last AS f ON f.run_id = l.run_id AND f.step = from_step
		WHERE l.started_at IS NOT NULL
		GROUP BY l.run_id, l.package, l.step, d.precedence
		HAVING count(*) FILTER (
			WHERE coalesce(f.finished_at, '-infinity') <= (SELECT min(started_at) FROM step AS s
									WHERE s.run_id = l.run_id AND s.step = l.step)
			  AND CASE "on" WHEN 'success' THEN f.status = 'succeeded'
				  WHEN 'failure' THEN f.status IN ('failed', 'cancelled')
				  ELSE f.status IN ('succeeded', 'failed', 'cancelled') END)
			< CASE d.precedence WHEN 'all' THEN count(*) ELSE 1 END});
finds_nothing(
	'and are skipped because of them only when they do not', q{
		SELECT l.run_id, l.package, l.step, array_agg((from_step, "on", f.status))
		FROM last AS l
		JOIN definition AS d ON d.package = l.package AND d.name = l.step
		JOIN precedence AS p ON p.package = l.package AND to_step = l.step
		JOIN last AS f ON f.run_id = l.run_id AND f.step = from_step
		WHERE l.reason = 'constraint'
		GROUP BY l.run_id, l.package, l.step, d.precedence
		HAVING count(*) FILTER (
			WHERE CASE "on" WHEN 'success' THEN f.status = 'succeeded'
				  WHEN 'failure' THEN f.status = 'failed'
				  ELSE f.status IN ('succeeded', 'failed') END)
			>= CASE d.precedence WHEN 'all' THEN count(*) ELSE 1 END});
finds_nothing(
	'finally steps start for the result that they are for', q{
		SELECT r.run_id, r.package, r.status, step, finally, l.status, l.reason
		FROM run AS r JOIN last AS l USING (run_id)
		JOIN definition AS d ON d.package = l.package AND d.name = l.step
		WHERE finally IS NOT NULL AND NOT disabled AND (
			(l.attempt > 0 AND NOT (finally = 'completion'
				OR (finally = 'success') = (r.status = 'succeeded')))
			OR (l.attempt = 0 AND r.run_id IN (SELECT run_id FROM calm)
				AND r.parent_run_id IS NULL AND r.status <> 'skipped'
				AND (finally = 'completion'
					 OR (finally = 'success') = (r.status = 'succeeded'))))});
finds_nothing(
	'no more than max_concurrent_steps of a run at a time', q{
		SELECT a.run_id, a.package, a.step, max_concurrent_steps, array_agg(b.step)
		FROM step AS a JOIN step AS b USING (run_id)
		JOIN workflow.package AS p ON name = a.package
		WHERE a.kind <> 'none' AND b.kind <> 'none'
		  AND b.started_at <= a.started_at AND b.finished_at > a.started_at
		GROUP BY a.run_id, a.package, a.step, a.attempt, max_concurrent_steps
		HAVING count(*) > max_concurrent_steps});
finds_nothing(
	'no two steps at a time on a connection, and one session', q{
		SELECT a.run_id, a.package, a.step, b.step, a.pid, b.pid
		FROM step AS a JOIN step AS b USING (run_id, connection)
		WHERE (a.step, a.attempt) < (b.step, b.attempt)
		  AND (a.pid <> b.pid
			   OR (a.started_at < b.finished_at AND b.started_at < a.finished_at))});
finds_nothing(
	'package steps end as their child runs do', q{
		SELECT s.run_id, s.package, s.step, s.attempt, s.status, s.sqlstate, s.message,
			   array_agg(c.status)
		FROM last AS s LEFT JOIN run AS c ON c.parent_run_id = s.run_id AND c.parent_step = s.step
		WHERE s.kind = 'package' AND s.attempt > 0
		GROUP BY s.run_id, s.package, s.step, s.attempt, s.status, s.started_at, s.sqlstate, s.message
		HAVING count(c.run_id) <> s.attempt - (s.started_at IS NULL)::int
			OR (s.status = 'succeeded') <> bool_or(c.status = 'succeeded')
			OR (s.status = 'succeeded' AND count(*) FILTER (WHERE c.status = 'succeeded') <> 1)});
finds_nothing(
	'no step met an internal error', q{
		SELECT run_id, package, step, sqlstate, message FROM step
		WHERE sqlstate ~ '^(XX|58|08|53|57P03)' OR status = 'interrupted'});

# Effects
finds_nothing(
	'the effects are those of the attempts that succeeded', q{
		SELECT * FROM (
			SELECT run_id, step, count(*) FROM effect GROUP BY run_id, step) AS e
		FULL JOIN (
			SELECT run_id, step, count(*) FROM step
			WHERE kind = 'sql' AND status = 'succeeded' AND step NOT LIKE 'x%'
			GROUP BY run_id, step) AS s
		USING (run_id, step, count)
		WHERE e.* IS NULL OR s.* IS NULL});

# What is left
finds_nothing(
	'no session is idle in a transaction', q{
		SELECT pid, state, query FROM pg_stat_activity
		WHERE state LIKE 'idle in transaction%'});
finds_nothing(
	'nobody holds or waits for a lock of a step', q{
		SELECT locktype, pid FROM pg_locks
		WHERE locktype = 'advisory' OR relation = 'locked'::regclass});
is( scalar_query(
		$node, "SELECT running, queued, running_runs, workers <= $workers
		FROM workflow.agent"),
	't|0|0|t',
	'the agent has nothing to do');
is(scheduler_pid(), $scheduler, 'it is the same process');
my $log = slurp_file($node->logfile);
unlike($log, qr/^.*(?:PANIC|TRAP|terminated by signal|server process).*$/m,
	'no process crashed');
my ($run, $status) = start_and_wait($node, 'p_1');
isnt($status, '', 'the agent goes on');

$node->stop;
done_testing();
