-- Six packages that all use transactions.  A runs B, which joins A's
-- transaction, and C, which does not; B runs D (joins) and E (does not); C
-- runs F (joins).  So {A, B, D} share one transaction, {C, F} a second one, and
-- E has its own.  Each package writes its name, once or twice.

CREATE TABLE done_by (package text, step text, run_id bigint);

CREATE FUNCTION pg_temp.define(package text, children jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	write text := format(
		'INSERT INTO done_by SELECT %L, workflow.step_name(), root_run_id
		 FROM workflow.run_history WHERE run_id = workflow.run_id()',
		package);
	steps jsonb := jsonb_build_array(jsonb_build_object(
		'name', 'first', 'command', write, 'join_transaction', true));
	child text;
	last text := 'first';
BEGIN
	FOR child IN SELECT jsonb_object_keys(children) LOOP
		steps := steps || jsonb_build_object(
			'name', 'run ' || child, 'kind', 'package', 'command', child,
			'join_transaction', children -> child, 'after', jsonb_build_array(last));
		last := 'run ' || child;
	END LOOP;
	IF children <> '{}' THEN
		steps := steps || jsonb_build_object(
			'name', 'last', 'join_transaction', true, 'after', jsonb_build_array(last),
			'command', write || '; SELECT 1 / (workflow.variable(''break'') IS DISTINCT FROM '
				|| quote_literal(package) || ')::int');
	END IF;
	PERFORM workflow.define_package(jsonb_build_object(
		'name', package, 'variables', '{"break": null}'::jsonb,
		'connections', '[{"name": "db"}]'::jsonb,
		'steps', (SELECT jsonb_agg(CASE WHEN step ? 'kind' THEN step
									ELSE step || '{"connection": "db"}' END)
				  FROM jsonb_array_elements(steps) step)));
END $$;

SELECT pg_temp.define('F', '{}'), pg_temp.define('E', '{}'), pg_temp.define('D', '{}'),
	   pg_temp.define('C', '{"F": true}'),
	   pg_temp.define('B', '{"D": true, "E": false}'),
	   pg_temp.define('A', '{"B": true, "C": false}') \g /dev/null

\echo The steps of the six packages:
SELECT package, string_agg(name || CASE WHEN kind = 'package' AND join_transaction THEN ' (joins)'
								   WHEN kind = 'package' THEN ' (does not join)' ELSE '' END,
						   ', ' ORDER BY number) AS steps
FROM workflow.step WHERE package IN ('A', 'B', 'C', 'D', 'E', 'F')
GROUP BY package ORDER BY package;
