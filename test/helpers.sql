\set ECHO none
-- What several of the tests in sql/ use, in a schema of its own: each of them
-- begins by including this file, which makes it anew.

SET client_min_messages = warning;
DROP SCHEMA IF EXISTS helper CASCADE;
CREATE SCHEMA helper;
GRANT USAGE ON SCHEMA helper TO PUBLIC;
SET search_path = public, helper;

-- Start a run, wait for its end.  A statement that waits has a snapshot, for
-- which CREATE INDEX CONCURRENTLY waits: hence the time-outs.
CREATE PROCEDURE helper.execute(package text, variables jsonb DEFAULT '{}', INOUT status text DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
	run bigint;
BEGIN
	run := workflow.start_job(package, variables);
	FOR i IN 1 .. 600 LOOP
		COMMIT;
		status := workflow.wait_for_job(run, '100ms');
		EXIT WHEN status IS NOT NULL;
	END LOOP;
END $$;

-- Wait until a condition holds.
CREATE PROCEDURE helper.await(condition text) LANGUAGE plpgsql AS $$
DECLARE
	holds bool;
BEGIN
	FOR i IN 1 .. 6000 LOOP
		EXECUTE 'SELECT ' || condition INTO holds;
		IF holds THEN
			RETURN;
		END IF;
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RAISE 'this did not come: %', condition;
END $$;

-- The result of a command, or its error in full, without numbers of runs.
CREATE FUNCTION helper.try(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
	hint text;
	context text;
	result text;
BEGIN
	EXECUTE command INTO result;
	RETURN coalesce(result, 'null');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT,
		context = PG_EXCEPTION_CONTEXT;
	context := substring(context FROM '^[^\n]* of package "[^"]*"');
	RETURN regexp_replace(concat_ws(E'\n', SQLSTATE || ': ' || message,
		'DETAIL: ' || nullif(detail, ''), 'HINT: ' || nullif(hint, ''),
		'CONTEXT: ' || context), '([rR]un) \d+', '\1 N', 'g');
END $$;

-- the last run of each package, its steps
CREATE VIEW helper.last_run AS
SELECT DISTINCT ON (package) *
FROM workflow.run_history
ORDER BY package, run_id DESC;
CREATE VIEW helper.last_step AS
SELECT s.*
FROM workflow.step_history AS s JOIN helper.last_run USING (run_id);

RESET client_min_messages;
\set ECHO all
