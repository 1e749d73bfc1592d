-- What a run of the six packages came to, and whether that is right.
-- Parameters: run; status, that of A; kept: the packages whose rows are there

\echo SELECT ... FROM workflow.transaction_history
SELECT t.transaction_id, t.package AS owner, t.status, t.steps,
	   (SELECT string_agg(DISTINCT s.package, ', ' ORDER BY s.package)
		FROM workflow.step_history s
		WHERE s.transaction_id = t.transaction_id AND s.kind = 'sql') AS packages,
	   t.error
FROM workflow.transaction_history t
WHERE t.root_run_id = :run
ORDER BY t.transaction_id;

\echo SELECT ... FROM workflow.run_history, and the rows that are there
SELECT h.run_id, h.package, h.status, h.error_path,
	   (SELECT string_agg(d.step, ', ' ORDER BY d.step) FROM done_by d
		WHERE d.run_id = :run AND d.package = h.package) AS rows
FROM workflow.run_history h
WHERE h.root_run_id = :run
ORDER BY h.run_id;

SELECT set_config('demo.run', :'run', false), set_config('demo.status', :'status', false),
	   set_config('demo.kept', :'kept', false) \g /dev/null
DO $$
BEGIN
	IF (SELECT string_agg(DISTINCT package, '' ORDER BY package) FROM done_by
		WHERE run_id = current_setting('demo.run')::bigint) <> current_setting('demo.kept')
		OR (SELECT status FROM workflow.run_history
			WHERE run_id = current_setting('demo.run')::bigint) <> current_setting('demo.status')
		OR (SELECT count(*) FROM workflow.transaction_history
			WHERE root_run_id = current_setting('demo.run')::bigint) <> 3
	THEN
		RAISE 'the six packages did not come to what they should';
	END IF;
END $$;
