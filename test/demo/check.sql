-- Compares what the packages made with the same by direct SQL, and fails if
-- anything differs.  Parameters: good and bad, the two runs

CREATE TEMP VIEW today AS
SELECT * FROM pgbench_history
WHERE mtime::date = (SELECT max(day) FROM branch_day);

CREATE TEMP VIEW direct_branch AS
SELECT bid, count(*) AS transactions, sum(delta) AS amount FROM today GROUP BY bid;
CREATE TEMP VIEW direct_teller AS
SELECT tid, count(*) AS transactions, sum(delta) AS amount FROM today GROUP BY tid;
CREATE TEMP VIEW direct_bucket AS
SELECT aid / 50000 AS bucket, count(*) AS transactions, sum(delta) AS amount
FROM today GROUP BY aid / 50000;

CREATE TEMP TABLE comparison (what text, result text, direct text);

INSERT INTO comparison
SELECT 'transactions staged',
	   (SELECT count(*) FROM staged)::text,
	   (SELECT count(*) FROM today)::text;

-- whole tables: the rows, and those that both have
INSERT INTO comparison
SELECT 'rows of branch_day',
	   (SELECT count(*) FROM branch_day) || ' and the same',
	   (SELECT count(*) FROM direct_branch)
	   || CASE WHEN EXISTS (SELECT bid, transactions, amount FROM branch_day
							EXCEPT TABLE direct_branch)
		  THEN ' but others' ELSE ' and the same' END
UNION ALL
SELECT 'rows of teller_day',
	   (SELECT count(*) FROM teller_day) || ' and the same',
	   (SELECT count(*) FROM direct_teller)
	   || CASE WHEN EXISTS (SELECT tid, transactions, amount FROM teller_day
							EXCEPT TABLE direct_teller)
		  THEN ' but others' ELSE ' and the same' END
UNION ALL
SELECT 'rows of bucket_day',
	   (SELECT count(*) FROM bucket_day) || ' and the same',
	   (SELECT count(*) FROM direct_bucket)
	   || CASE WHEN EXISTS (SELECT bucket, transactions, amount FROM bucket_day
							EXCEPT TABLE direct_bucket)
		  THEN ' but others' ELSE ' and the same' END;

INSERT INTO comparison
SELECT 'summary of the child package',
	   (SELECT concat_ws(', ', of_day, branches, tellers, amount) FROM summary),
	   concat_ws(', ', (SELECT max(day) FROM branch_day),
				 (SELECT count(DISTINCT bid) FROM today),
				 (SELECT count(DISTINCT tid) FROM today),
				 (SELECT sum(delta) FROM today));

INSERT INTO comparison
SELECT 'days published, by the good night only',
	   (SELECT string_agg(run_id::text, ', ') FROM published),
	   :'good'
UNION ALL
SELECT 'problems found, by the bad night only',
	   (SELECT string_agg(concat_ws(' ', run_id, found), ', ') FROM problem),
	   (SELECT concat(:'bad', ' branch 3: balance ', bbalance, ', history ',
					  bbalance - 1000)
		FROM pgbench_branches WHERE bid = 3);

INSERT INTO comparison
SELECT 'status and failed steps of run ' || run_id,
	   status || ', ' || failed_steps,
	   CASE run_id WHEN :good THEN 'succeeded, 0' ELSE 'succeeded, 1' END
FROM workflow.run_history
WHERE run_id IN (:good, :bad)
UNION ALL
SELECT 'steps of run ' || run_id,
	   string_agg(concat_ws(' ', step, status, reason), ', ' ORDER BY step),
	   concat_ws(', ', 'by_branch succeeded', 'by_bucket succeeded',
				 'by_teller succeeded',
				 CASE run_id WHEN :good THEN 'check succeeded'
				 ELSE 'check failed' END,
				 CASE run_id WHEN :good THEN 'publish succeeded'
				 ELSE 'publish skipped constraint' END,
				 CASE run_id WHEN :good THEN 'record_problem skipped constraint'
				 ELSE 'record_problem succeeded' END,
				 'reindex succeeded', 'stage succeeded', 'summaries succeeded',
				 'vacuum succeeded')
FROM workflow.step_history
WHERE run_id IN (:good, :bad)
GROUP BY run_id;

INSERT INTO comparison
SELECT 'pgbench_history was vacuumed and analyzed',
	   (SELECT (reltuples = (SELECT count(*) FROM pgbench_history))::text
		FROM pg_class WHERE oid = 'pgbench_history'::regclass),
	   'true'
UNION ALL
SELECT 'the index of pgbench_accounts is valid, and alone',
	   (SELECT string_agg(indexrelid::regclass || ' ' || indisvalid, ', ')
		FROM pg_index WHERE indrelid = 'pgbench_accounts'::regclass),
	   'pgbench_accounts_pkey true';

SELECT what, CASE WHEN length(direct) > 48 THEN left(direct, 45) || '...' ELSE direct END AS direct,
	   CASE WHEN result = direct THEN 'ok' ELSE 'DIFFERS: ' || coalesce(result, 'nothing') END AS workflow
FROM comparison;

DO $$
BEGIN
	IF EXISTS (SELECT FROM comparison WHERE result IS DISTINCT FROM direct) THEN
		RAISE 'the results of the packages differ from direct SQL';
	END IF;
END $$;
