-- What CREATE EXTENSION brings, and who may use it.  The extension stays for
-- the tests that follow.

-- a schema that is there already is not adopted
CREATE SCHEMA workflow;
CREATE EXTENSION workflow;
DROP SCHEMA workflow;

CREATE EXTENSION workflow;
SELECT extversion, extrelocatable, nspname AS schema
FROM pg_extension JOIN pg_namespace ON nspname = 'workflow'
WHERE extname = 'workflow';

-- functions, procedures
SELECT p.oid::regprocedure::text AS function, p.prorettype::regtype AS result,
	   provolatile AS volatile, proparallel AS parallel, prosecdef AS definer,
	   obj_description(p.oid, 'pg_proc') IS NOT NULL AS described
FROM pg_proc AS p
WHERE pronamespace = 'workflow'::regnamespace
ORDER BY p.oid::regprocedure::text COLLATE "C";

-- views and their columns
SELECT c.relname, attname, atttypid::regtype
FROM pg_class AS c JOIN pg_attribute ON attrelid = c.oid AND attnum > 0
WHERE relnamespace = 'workflow'::regnamespace AND relkind = 'v'
ORDER BY c.relname COLLATE "C", attnum;

-- Everything is described but the sequences of identity columns; the views
-- that have something to hide are security barriers.
SELECT c.relname, relkind
FROM pg_class AS c
WHERE relnamespace = 'workflow'::regnamespace AND relkind <> 'i'
  AND (obj_description(c.oid, 'pg_class') IS NULL
	   AND NOT EXISTS (SELECT FROM pg_depend
					   WHERE (classid, objid) = ('pg_class'::regclass, c.oid)
						 AND deptype = 'i' AND relkind = 'S')
	   OR (relkind = 'v' AND relname <> 'agent'
		   AND NOT coalesce('security_barrier=true' = ANY (reloptions), false)));

-- Tables: no trigger, rule, policy, foreign key; no partial index or index on
-- an expression.
SELECT c.relname
FROM pg_class AS c
WHERE relnamespace = 'workflow'::regnamespace AND relkind = 'r'
  AND (relhastriggers OR relhasrules OR relrowsecurity OR relhassubclass
	   OR EXISTS (SELECT FROM pg_constraint
				  WHERE conrelid = c.oid AND contype NOT IN ('p', 'u'))
	   OR EXISTS (SELECT FROM pg_index
				  WHERE indrelid = c.oid
					AND (indpred IS NOT NULL OR indexprs IS NOT NULL)));

-- PUBLIC has no rights on the schema; in it, functions and views are open to
-- PUBLIC, tables and sequences to nobody.
SELECT has_schema_privilege('public', 'workflow', 'USAGE') AS usage,
	   has_schema_privilege('public', 'workflow', 'CREATE') AS create;
SELECT p.oid::regprocedure
FROM pg_proc AS p
WHERE pronamespace = 'workflow'::regnamespace
  AND NOT has_function_privilege('public', p.oid, 'EXECUTE');
SELECT relname, relkind
FROM pg_class AS c
WHERE relnamespace = 'workflow'::regnamespace
  AND CASE relkind
	  WHEN 'v' THEN NOT has_table_privilege('public', c.oid, 'SELECT')
		   OR has_table_privilege('public', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
	  WHEN 'r' THEN has_table_privilege('public', c.oid,
			'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
		   OR has_any_column_privilege('public', c.oid, 'SELECT, INSERT, UPDATE')
	  WHEN 'S' THEN has_sequence_privilege('public', c.oid, 'USAGE, SELECT, UPDATE')
	  ELSE false END;

-- what pg_dump takes along: the definitions
SELECT c::regclass
FROM pg_extension, unnest(extconfig) AS c
WHERE extname = 'workflow'
ORDER BY c::regclass::text COLLATE "C";

-- the settings
SELECT name, boot_val, unit, context, vartype, min_val
FROM pg_settings
WHERE name LIKE 'workflow.%'
ORDER BY name COLLATE "C";
SET workflow.nothing = 1;

-- The agent starts by itself.
CREATE PROCEDURE wait_for_agent() LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 600 LOOP
		EXIT WHEN (SELECT running FROM workflow.agent);
		PERFORM pg_sleep(0.1);
	END LOOP;
END $$;
CALL wait_for_agent();
SELECT running FROM workflow.agent;

-- It goes with the extension, and comes back with it.
DROP EXTENSION workflow;
SELECT count(*) FROM pg_namespace WHERE nspname = 'workflow';
CREATE EXTENSION workflow;
CALL wait_for_agent();
SELECT running FROM workflow.agent;
DROP PROCEDURE wait_for_agent();
