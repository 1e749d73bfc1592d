-- The tables and packages of the demo.  A day of pgbench's history becomes
-- sums by branch, teller and bucket of accounts.

CREATE TABLE staged (LIKE pgbench_history);
CREATE TABLE branch_day (day date, bid int, transactions bigint, amount bigint);
CREATE TABLE teller_day (day date, tid int, transactions bigint, amount bigint);
CREATE TABLE bucket_day (day date, bucket int, transactions bigint, amount bigint);
CREATE TABLE branch_summary (bid int, transactions bigint, amount bigint);
CREATE TABLE teller_summary (tid int, transactions bigint, amount bigint);
CREATE TABLE summary (of_day date, branches bigint, tellers bigint, amount bigint);
CREATE TABLE published (day date, run_id bigint);
CREATE TABLE problem (day date, run_id bigint, found text);

-- The child: two summaries at the same time, then one of both.
SELECT workflow.define_package($$ {
  "name": "refresh_summaries",
  "description": "Sums over all days",
  "variables": {"day": null},
  "steps": [
    {"name": "branches", "command": [
        "TRUNCATE branch_summary;",
        "INSERT INTO branch_summary",
        "SELECT bid, sum(transactions), sum(amount) FROM branch_day GROUP BY bid"]},
    {"name": "tellers", "command": [
        "TRUNCATE teller_summary;",
        "INSERT INTO teller_summary",
        "SELECT tid, sum(transactions), sum(amount) FROM teller_day GROUP BY tid"]},
    {"name": "both", "after": ["branches", "tellers"], "command": [
        "TRUNCATE summary;",
        "INSERT INTO summary",
        "SELECT workflow.variable('day')::date, (SELECT count(*) FROM branch_summary),",
        "       (SELECT count(*) FROM teller_summary), sum(amount) FROM branch_summary"]}
  ]} $$) AS "version of refresh_summaries";

SELECT workflow.define_package($$ {
  "name": "nightly",
  "description": "Load a day of pgbench's history",
  "fail_on_first_error": false,
  "max_concurrent_steps": 4,
  "variables": {"day": null},
  "steps": [
    {"name": "stage", "command": [
        "TRUNCATE staged;",
        "INSERT INTO staged SELECT * FROM pgbench_history",
        "WHERE mtime::date = workflow.variable('day')::date"]},

    {"name": "by_branch", "after": ["stage"], "command": [
        "DELETE FROM branch_day WHERE day = workflow.variable('day')::date;",
        "INSERT INTO branch_day",
        "SELECT workflow.variable('day')::date, bid, count(*), sum(delta)",
        "FROM staged GROUP BY bid"]},
    {"name": "by_teller", "after": ["stage"], "command": [
        "DELETE FROM teller_day WHERE day = workflow.variable('day')::date;",
        "INSERT INTO teller_day",
        "SELECT workflow.variable('day')::date, tid, count(*), sum(delta)",
        "FROM staged GROUP BY tid"]},
    {"name": "by_bucket", "after": ["stage"], "command": [
        "DELETE FROM bucket_day WHERE day = workflow.variable('day')::date;",
        "INSERT INTO bucket_day",
        "SELECT workflow.variable('day')::date, aid / 50000, count(*), sum(delta)",
        "FROM staged GROUP BY aid / 50000"]},

    {"name": "summaries", "kind": "package", "command": "refresh_summaries",
        "after": ["by_branch", "by_teller", "by_bucket"]},

    {"name": "check", "after": ["summaries"], "command": [
        "DO $check$",
        "DECLARE",
        "    difference bigint := (SELECT sum(bbalance) FROM pgbench_branches)",
        "                       - (SELECT sum(delta) FROM pgbench_history);",
        "BEGIN",
        "    IF difference <> 0 THEN",
        "        RAISE 'balances of branches differ from the history by %', difference;",
        "    END IF;",
        "END $check$"]},
    {"name": "publish", "after": ["check"], "command":
        "INSERT INTO published SELECT workflow.variable('day')::date, workflow.run_id()"},
    {"name": "record_problem", "after": [{"step": "check", "on": "failure"}], "command": [
        "INSERT INTO problem",
        "SELECT workflow.variable('day')::date, workflow.run_id(),",
        "       format('branch %s: balance %s, history %s', bid, bbalance, sum(delta))",
        "FROM pgbench_branches LEFT JOIN pgbench_history USING (bid)",
        "GROUP BY bid, bbalance HAVING bbalance <> coalesce(sum(delta), 0)"]},

    {"name": "vacuum", "after": [{"step": "check", "on": "completion"}], "command":
        "VACUUM (ANALYZE) pgbench_history"},
    {"name": "reindex", "after": [{"step": "check", "on": "completion"}], "command":
        "REINDEX TABLE CONCURRENTLY pgbench_accounts"}
  ]} $$) AS "version of nightly";
