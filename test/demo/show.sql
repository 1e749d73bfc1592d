-- What a run did, from the views.  Parameter: run

\echo SELECT ... FROM workflow.run_history; a child package is a run, too
SELECT run_id, package, version, status, failed_steps, requested_by,
	   to_char(1000 * extract(epoch FROM duration), '999990.0') AS ms, error_path
FROM workflow.run_history
WHERE root_run_id = :run
ORDER BY run_id;

\echo SELECT ... FROM workflow.step_history
SELECT package, step, status, reason, rows, sqlstate, message
FROM workflow.step_history
WHERE root_run_id = :run
ORDER BY started_at, package, step;

\echo The same as a timeline, by a query over workflow.step_history
WITH executed AS (
	SELECT package, step, status, started_at,
		   extract(epoch FROM started_at - min(started_at) OVER ()) AS start,
		   extract(epoch FROM finished_at - started_at) AS length,
		   extract(epoch FROM max(finished_at) OVER () - min(started_at) OVER ())
			   AS total
	FROM workflow.step_history
	WHERE root_run_id = :run AND started_at IS NOT NULL
)
SELECT CASE package WHEN 'nightly' THEN step ELSE '  ' || step END AS step,
	   to_char(1000 * length, '999990.0') AS ms,
	   repeat(' ', least(floor(50 * start / total), 49)::int)
	   || repeat(CASE status WHEN 'succeeded' THEN '=' ELSE 'x' END,
				 greatest(round(50 * length / total), 1)::int) AS timeline
FROM executed
ORDER BY started_at, package DESC, step;
