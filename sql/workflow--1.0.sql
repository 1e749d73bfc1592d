/* sql/workflow--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION workflow" to load this file. \quit

-- ---------------------------------------------------------------------------
-- Schema.  A plain CREATE SCHEMA: one that somebody made beforehand makes the
-- installation fail instead of being adopted with what is in it.  PUBLIC has
-- no rights on the schema; inside it functions and views are open to PUBLIC,
-- tables to nobody.
-- ---------------------------------------------------------------------------

CREATE SCHEMA workflow;
COMMENT ON SCHEMA workflow IS 'multi-step jobs: packages, runs and their history';

-- ---------------------------------------------------------------------------
-- Definitions: dumped by pg_dump, but not what belongs to roles that were
-- dropped, whose numbers could be those of others elsewhere.  All tables are written by src/catalog.c
-- and src/history.c alone, by heap_insert and plain indexes: no foreign key,
-- trigger, rule, policy, expression or partial index on any of them.
-- ---------------------------------------------------------------------------

CREATE TABLE workflow.definition (
    package_id bigint GENERATED ALWAYS AS IDENTITY
        CONSTRAINT definition_pkey PRIMARY KEY,
    name text COLLATE "C" NOT NULL
        CONSTRAINT definition_name_key UNIQUE,
    owner regrole NOT NULL,
    version integer NOT NULL
);
COMMENT ON TABLE workflow.definition IS 'packages: name, owner and current version';
SELECT pg_catalog.pg_extension_config_dump('workflow.definition',
    'WHERE owner::pg_catalog.oid IN (SELECT oid FROM pg_catalog.pg_roles)');
SELECT pg_catalog.pg_extension_config_dump('workflow.definition_package_id_seq', '');

CREATE TABLE workflow.definition_version (
    package_id bigint NOT NULL,
    version integer NOT NULL,
    name text COLLATE "C" NOT NULL,
    document jsonb NOT NULL,
    CONSTRAINT definition_version_pkey PRIMARY KEY (package_id, version)
);
COMMENT ON TABLE workflow.definition_version IS 'versions of packages: the documents as they were given';
SELECT pg_catalog.pg_extension_config_dump('workflow.definition_version',
    'WHERE package_id IN (SELECT d.package_id FROM workflow.definition d WHERE d.owner::pg_catalog.oid IN (SELECT oid FROM pg_catalog.pg_roles))');

-- A version that has a row here was started at least once and is frozen.  The
-- rows are added without looking who else adds one: several are as good as one.
CREATE TABLE workflow.definition_use (
    package_id bigint NOT NULL,
    version integer NOT NULL
);
CREATE INDEX definition_use_package_id_version_idx
    ON workflow.definition_use (package_id, version);
COMMENT ON TABLE workflow.definition_use IS 'versions that some run has used: an edit makes the next version';

-- Roles that may start a package beside its owner.  The role - (no role) is
-- PUBLIC; a dump has the roles' names.
CREATE TABLE workflow.start_grant (
    package_id bigint NOT NULL,
    grantee regrole NOT NULL,
    CONSTRAINT start_grant_pkey PRIMARY KEY (package_id, grantee)
);
COMMENT ON TABLE workflow.start_grant IS 'who may start a package beside its owner; - is PUBLIC';
SELECT pg_catalog.pg_extension_config_dump('workflow.start_grant',
    'WHERE (grantee::pg_catalog.oid = 0 OR grantee::pg_catalog.oid IN (SELECT oid FROM pg_catalog.pg_roles))
    AND package_id IN (SELECT d.package_id FROM workflow.definition d WHERE d.owner::pg_catalog.oid IN (SELECT oid FROM pg_catalog.pg_roles))');

-- ---------------------------------------------------------------------------
-- History: append-only, not dumped.  One index each on the hot tables.
-- ---------------------------------------------------------------------------

CREATE SEQUENCE workflow.run_id_seq AS bigint;
COMMENT ON SEQUENCE workflow.run_id_seq IS 'numbers of runs';
SELECT pg_catalog.pg_extension_config_dump('workflow.run_id_seq', '');

CREATE TABLE workflow.run (
    run_id bigint NOT NULL CONSTRAINT run_pkey PRIMARY KEY,
    requested_at timestamptz NOT NULL,
    package_id bigint NOT NULL,
    version integer NOT NULL,
    owner oid NOT NULL,
    requested_by oid NOT NULL,
    priority integer NOT NULL,
    parent_step integer,
    parent_attempt integer,
    parent_run_id bigint,
    root_run_id bigint,
    start_at timestamptz,
    variables jsonb,
    request_key text,
    restart_of bigint,
    attempt integer
);
COMMENT ON TABLE workflow.run IS 'runs as they were requested; the rows never change';

CREATE TABLE workflow.request_key (
    package_id bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    run_id bigint NOT NULL,
    CONSTRAINT request_key_pkey PRIMARY KEY (package_id, key)
);
COMMENT ON TABLE workflow.request_key IS 'keys under which runs were requested: a second request under the same key gets the first run';

-- Unique: a run is restarted once.
CREATE TABLE workflow.run_restart (
    run_id bigint NOT NULL CONSTRAINT run_restart_pkey PRIMARY KEY,
    restarted_as bigint NOT NULL,
    automatic boolean NOT NULL,
    use_current_version boolean NOT NULL,
    from_step text
);
COMMENT ON TABLE workflow.run_restart IS 'runs that were restarted, and as which runs; automatic: as max_attempts of the package asks for';

CREATE TABLE workflow.run_outcome (
    run_id bigint NOT NULL CONSTRAINT run_outcome_pkey PRIMARY KEY,
    started_at timestamptz,
    finished_at timestamptz NOT NULL,
    failed_steps integer NOT NULL,
    stopped_by oid,
    status "char" NOT NULL,
    error_path text,
    sqlstate text,
    message text,
    stop_reason text,
    variables jsonb
);
COMMENT ON TABLE workflow.run_outcome IS 'how runs ended: one row a run, written in the transaction that ended it';

CREATE TABLE workflow.step_outcome (
    run_id bigint NOT NULL,
    step integer NOT NULL,
    attempt integer NOT NULL,
    pid integer,
    started_at timestamptz,
    finished_at timestamptz,
    rows bigint,
    remote_run_id bigint,
    transaction_id bigint,
    statement integer,
    status "char" NOT NULL,
    reason "char",
    sqlstate text,
    message text,
    detail text,
    hint text,
    context text,
    messages text,
    result jsonb,
    variables jsonb,
    child_run_id bigint,
    CONSTRAINT step_outcome_pkey PRIMARY KEY (run_id, step, attempt)
);
COMMENT ON TABLE workflow.step_outcome IS 'how attempts of steps ended: written in the transaction that did their work; unique, so that nothing is executed twice';

CREATE SEQUENCE workflow.transaction_id_seq AS bigint;
COMMENT ON SEQUENCE workflow.transaction_id_seq IS 'numbers of package transactions';
SELECT pg_catalog.pg_extension_config_dump('workflow.transaction_id_seq', '');

CREATE TABLE workflow.transaction_outcome (
    run_id bigint NOT NULL,
    number integer NOT NULL,
    transaction_id bigint NOT NULL
        CONSTRAINT transaction_outcome_transaction_id_key UNIQUE,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    steps integer NOT NULL,
    status "char" NOT NULL,
    isolation "char" NOT NULL,
    sqlstate text,
    message text,
    CONSTRAINT transaction_outcome_pkey PRIMARY KEY (run_id, number)
);
COMMENT ON TABLE workflow.transaction_outcome IS 'how package transactions ended: committed ones are written in the very transaction';

CREATE TABLE workflow.run_command (
    run_id bigint NOT NULL,
    requested_by oid NOT NULL,
    requested_at timestamptz NOT NULL,
    command "char" NOT NULL,
    reason text
);
CREATE INDEX run_command_run_id_requested_at_idx
    ON workflow.run_command (run_id, requested_at);
COMMENT ON TABLE workflow.run_command IS 'what was asked of open runs: stop, or else pause and resume, of which the last one counts';

CREATE TABLE workflow.step_start (
    run_id bigint NOT NULL,
    step integer NOT NULL,
    attempt integer NOT NULL,
    started_at timestamptz NOT NULL,
    committed boolean NOT NULL,
    CONSTRAINT step_start_pkey PRIMARY KEY (run_id, step, attempt, committed)
);
COMMENT ON TABLE workflow.step_start IS 'attempts of steps that commit by themselves: written with the first part of their work (committed), or before they begin; step -1: the run has begun';

-- One row: every run below `run_id` has ended, but for those in `still_open`.
CREATE TABLE workflow.horizon (
    run_id bigint NOT NULL,
    still_open bigint[] NOT NULL
);
INSERT INTO workflow.horizon VALUES (1, '{}');
COMMENT ON TABLE workflow.horizon IS 'where the search for open runs begins';

-- One row, not dumped: a database that finds itself elsewhere is a copy.
CREATE TABLE workflow.installation (
    installation_id bigint NOT NULL,
    system_identifier bigint NOT NULL,
    database oid NOT NULL
);
INSERT INTO workflow.installation
    SELECT ('x' || pg_catalog.translate(pg_catalog.gen_random_uuid()::pg_catalog.text, '-', ''))::pg_catalog.bit(48)::bigint,
        c.system_identifier, d.oid
    FROM pg_catalog.pg_control_system() c, pg_catalog.pg_database d
    WHERE d.datname = pg_catalog.current_database();
COMMENT ON TABLE workflow.installation IS 'which installation this is: an id, and the database that has it';

-- ---------------------------------------------------------------------------
-- Definition API
-- ---------------------------------------------------------------------------

CREATE FUNCTION workflow.define_package(definition jsonb)
RETURNS integer
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_define_package';
COMMENT ON FUNCTION workflow.define_package(jsonb) IS
'create a package from a document, or make its next version; returns the version';

CREATE FUNCTION workflow.package_definition(package text, version integer DEFAULT NULL)
RETURNS jsonb
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'wf_package_definition';
COMMENT ON FUNCTION workflow.package_definition(text, integer) IS
'the document that defines a package; version null: the current one';

-- Piece by piece.  The names of arguments are those of the options; which
-- argument is which option is found out by its name (src/arguments.c).

CREATE FUNCTION workflow.create_package(
    name text,
    description text DEFAULT NULL, use_transactions boolean DEFAULT true,
    commit_on_completion boolean DEFAULT true, fail_on_first_error boolean DEFAULT true,
    isolation_level text DEFAULT 'read committed', max_concurrent_steps integer DEFAULT 4,
    max_concurrent_runs integer DEFAULT NULL, on_overlap text DEFAULT 'queue', priority integer DEFAULT 0,
    timeout interval DEFAULT NULL, on_interruption text DEFAULT 'resume', variables jsonb DEFAULT '{}',
    required_variables text[] DEFAULT '{}', enabled boolean DEFAULT true, max_attempts integer DEFAULT 1,
    retry_delay interval DEFAULT '1s', retry_on text[] DEFAULT NULL, settings jsonb DEFAULT '{}',
    history_retention interval DEFAULT NULL, or_replace boolean DEFAULT false)
RETURNS integer
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_create_package';
COMMENT ON FUNCTION workflow.create_package IS
'create a package without steps; or_replace: empty the one that is there; returns the version';

CREATE FUNCTION workflow.alter_package(
    package text,
    description text DEFAULT NULL, use_transactions boolean DEFAULT NULL,
    commit_on_completion boolean DEFAULT NULL, fail_on_first_error boolean DEFAULT NULL,
    isolation_level text DEFAULT NULL, max_concurrent_steps integer DEFAULT NULL,
    max_concurrent_runs integer DEFAULT NULL, on_overlap text DEFAULT NULL, priority integer DEFAULT NULL,
    timeout interval DEFAULT NULL, on_interruption text DEFAULT NULL, variables jsonb DEFAULT NULL,
    required_variables text[] DEFAULT NULL, enabled boolean DEFAULT NULL, max_attempts integer DEFAULT NULL,
    retry_delay interval DEFAULT NULL, retry_on text[] DEFAULT NULL, settings jsonb DEFAULT NULL,
    history_retention interval DEFAULT NULL, reset text[] DEFAULT NULL)
RETURNS integer
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_alter_package';
COMMENT ON FUNCTION workflow.alter_package IS
'change options of a package: null means unchanged, reset names those to go back to their defaults; returns the version';

CREATE FUNCTION workflow.rename_package(package text, new_name text)
RETURNS integer
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_rename_package';
COMMENT ON FUNCTION workflow.rename_package IS
'give a package another name; returns the version';

CREATE FUNCTION workflow.drop_package(package text)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_drop_package';
COMMENT ON FUNCTION workflow.drop_package IS
'drop a package; what its runs have used stays for the history';

CREATE FUNCTION workflow.add_connection(package text, name text, server text DEFAULT NULL, transactional boolean DEFAULT true)
RETURNS integer
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_add_connection';
COMMENT ON FUNCTION workflow.add_connection IS
'add a connection to a package; returns the version';

CREATE FUNCTION workflow.drop_connection(package text, name text)
RETURNS integer
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_drop_connection';
COMMENT ON FUNCTION workflow.drop_connection IS
'drop a connection that no step uses; returns the version';

CREATE FUNCTION workflow.add_step(
    package text, name text, command text DEFAULT NULL,
    kind text DEFAULT 'sql', connection text DEFAULT NULL, servers text[] DEFAULT '{}',
    balance text DEFAULT 'first', join_transaction boolean DEFAULT false,
    commit_on_success boolean DEFAULT false, rollback_on_failure boolean DEFAULT false,
    fail_package_on_error boolean DEFAULT false, main_thread boolean DEFAULT false,
    disabled boolean DEFAULT false, condition text DEFAULT NULL, condition_interval interval DEFAULT '1s',
    after text[] DEFAULT '{}', after_failure text[] DEFAULT '{}', after_completion text[] DEFAULT '{}',
    precedence text DEFAULT 'all', finally text DEFAULT NULL, atomic boolean DEFAULT true,
    max_attempts integer DEFAULT 1, retry_delay interval DEFAULT '1s', retry_backoff numeric DEFAULT 2.0,
    retry_on text[] DEFAULT NULL, timeout interval DEFAULT NULL, lock_timeout interval DEFAULT NULL,
    restartable boolean DEFAULT false, settings jsonb DEFAULT '{}', wait boolean DEFAULT false,
    variables jsonb DEFAULT NULL, result_variable text DEFAULT NULL, priority integer DEFAULT 0,
    description text DEFAULT NULL)
RETURNS integer
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_add_step';
COMMENT ON FUNCTION workflow.add_step IS
'add a step to a package; returns the version';

CREATE FUNCTION workflow.alter_step(
    package text, name text, command text DEFAULT NULL,
    kind text DEFAULT NULL, connection text DEFAULT NULL, servers text[] DEFAULT NULL,
    balance text DEFAULT NULL, join_transaction boolean DEFAULT NULL, commit_on_success boolean DEFAULT NULL,
    rollback_on_failure boolean DEFAULT NULL, fail_package_on_error boolean DEFAULT NULL,
    main_thread boolean DEFAULT NULL, disabled boolean DEFAULT NULL, condition text DEFAULT NULL,
    condition_interval interval DEFAULT NULL, after text[] DEFAULT NULL, after_failure text[] DEFAULT NULL,
    after_completion text[] DEFAULT NULL, precedence text DEFAULT NULL, finally text DEFAULT NULL,
    atomic boolean DEFAULT NULL, max_attempts integer DEFAULT NULL, retry_delay interval DEFAULT NULL,
    retry_backoff numeric DEFAULT NULL, retry_on text[] DEFAULT NULL, timeout interval DEFAULT NULL,
    lock_timeout interval DEFAULT NULL, restartable boolean DEFAULT NULL, settings jsonb DEFAULT NULL,
    wait boolean DEFAULT NULL, variables jsonb DEFAULT NULL, result_variable text DEFAULT NULL,
    priority integer DEFAULT NULL, description text DEFAULT NULL, reset text[] DEFAULT NULL)
RETURNS integer
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_alter_step';
COMMENT ON FUNCTION workflow.alter_step IS
'change options of a step: null means unchanged, reset names those to go back to their defaults; returns the version';

CREATE FUNCTION workflow.drop_step(package text, name text, cascade boolean DEFAULT false)
RETURNS integer
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_drop_step';
COMMENT ON FUNCTION workflow.drop_step IS
'drop a step that no other waits for; cascade: also drop the constraints on it; returns the version';

CREATE FUNCTION workflow.add_precedence(package text, "from" text, "to" text, "on" text DEFAULT 'success')
RETURNS integer
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_add_precedence';
COMMENT ON FUNCTION workflow.add_precedence IS
'let a step wait for an outcome of another: success, failure or completion; returns the version';

CREATE FUNCTION workflow.drop_precedence(package text, "from" text, "to" text, "on" text DEFAULT NULL)
RETURNS integer
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_drop_precedence';
COMMENT ON FUNCTION workflow.drop_precedence IS
'drop the constraints between two steps, all or that on one outcome; returns the version';

CREATE FUNCTION workflow.package_script(package text, version integer DEFAULT NULL)
RETURNS text
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'wf_package_script';
COMMENT ON FUNCTION workflow.package_script IS
'a psql script that defines the package; version null: the current one';

CREATE FUNCTION workflow.validate_package(package text, OUT severity text, OUT step text, OUT message text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
AS 'MODULE_PATHNAME', 'wf_validate_package';
COMMENT ON FUNCTION workflow.validate_package IS
'errors and warnings of the current version of a package';

CREATE FUNCTION workflow.alter_package_owner(package text, role text)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_alter_package_owner';
COMMENT ON FUNCTION workflow.alter_package_owner IS
'give a package to a role that the caller can become';

CREATE FUNCTION workflow.grant_start(package text, role text)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_grant_start';
COMMENT ON FUNCTION workflow.grant_start IS
'let a role, or public, start a package and see its runs';

CREATE FUNCTION workflow.revoke_start(package text, role text)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_revoke_start';
COMMENT ON FUNCTION workflow.revoke_start IS
'take back what grant_start gave';

-- ---------------------------------------------------------------------------
-- Run API
-- ---------------------------------------------------------------------------

CREATE FUNCTION workflow.start_job(package text, variables jsonb DEFAULT '{}', priority integer DEFAULT NULL,
    start_at timestamptz DEFAULT NULL, request_key text DEFAULT NULL)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_start_job';
COMMENT ON FUNCTION workflow.start_job(text, jsonb, integer, timestamptz, text) IS
'enqueue a run of a package and return its number; it starts when the transaction commits';

CREATE FUNCTION workflow.stop_job(run_id bigint, reason text DEFAULT NULL, force boolean DEFAULT false)
RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_stop_job';
COMMENT ON FUNCTION workflow.stop_job(bigint, text, boolean) IS
'end a run and its children as cancelled, at once; false if the run had ended';

CREATE FUNCTION workflow.wait_for_job(run_id bigint, timeout interval DEFAULT NULL)
RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_wait_for_job';
COMMENT ON FUNCTION workflow.wait_for_job(bigint, interval) IS
'wait for the end of a run and return its status; null after the time-out; while it waits inside a function or a larger query, the session keeps the snapshot of that, and VACUUM cannot remove what has died since: as a statement of its own, SELECT workflow.wait_for_job(...), it keeps none';

CREATE FUNCTION workflow.pause_job(run_id bigint)
RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_pause_job';
COMMENT ON FUNCTION workflow.pause_job(bigint) IS
'start no further step of a run until it is resumed; false if the run had ended';

CREATE FUNCTION workflow.resume_job(run_id bigint)
RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_resume_job';
COMMENT ON FUNCTION workflow.resume_job(bigint) IS
'let a paused run go on; false if the run had ended or was not paused';

CREATE FUNCTION workflow.restart_job(run_id bigint, use_current_version boolean DEFAULT false,
    variables jsonb DEFAULT NULL, from_step text DEFAULT NULL)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_restart_job';
COMMENT ON FUNCTION workflow.restart_job(bigint, boolean, jsonb, text) IS
'enqueue a run that takes over what a failed or cancelled run has committed and executes the rest; returns its number';

CREATE PROCEDURE workflow.run_job(package text, variables jsonb DEFAULT '{}', verbose boolean DEFAULT true)
LANGUAGE c
AS 'MODULE_PATHNAME', 'wf_run_job';
COMMENT ON PROCEDURE workflow.run_job(text, jsonb, boolean) IS
'start a run, show its steps as they end, and raise an error if it fails; a cancel stops the run';

CREATE PROCEDURE workflow.watch_job(run_id bigint, verbose boolean DEFAULT true)
LANGUAGE c
AS 'MODULE_PATHNAME', 'wf_watch_job';
COMMENT ON PROCEDURE workflow.watch_job(bigint, boolean) IS
'follow a run that somebody else started, as run_job does';

CREATE FUNCTION workflow.purge_history(older_than interval, package text DEFAULT NULL)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_purge_history';
COMMENT ON FUNCTION workflow.purge_history(interval, text) IS
'delete runs that ended longer ago, with their child runs: those of one package, or all that the caller owns; returns their number';

CREATE FUNCTION workflow.reset_installation_id()
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_reset_installation_id';
COMMENT ON FUNCTION workflow.reset_installation_id() IS
'make a physical copy of this database an installation of its own: runs that were open end as failed; returns the new id';

-- ---------------------------------------------------------------------------
-- Functions for steps: what a step sees of its run; null in other sessions.
-- ---------------------------------------------------------------------------

CREATE FUNCTION workflow.run_id()
RETURNS bigint
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'wf_run_id';
COMMENT ON FUNCTION workflow.run_id() IS 'run of the step that calls it; null outside one';

CREATE FUNCTION workflow.step_name()
RETURNS text
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'wf_step_name';
COMMENT ON FUNCTION workflow.step_name() IS 'name of the step that calls it; null outside one';

CREATE FUNCTION workflow.variable(name text)
RETURNS text
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'wf_variable';
COMMENT ON FUNCTION workflow.variable(text) IS 'value of a variable of the run; null outside a step';

CREATE FUNCTION workflow.set_variable(name text, value anyelement)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_set_variable';
COMMENT ON FUNCTION workflow.set_variable(text, anyelement) IS
'set a variable of the run; kept if and only if the step succeeds';

CREATE FUNCTION workflow.set_variable(name text, value text)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_set_variable';
COMMENT ON FUNCTION workflow.set_variable(text, text) IS
'set a variable of the run to a string; kept if and only if the step succeeds';

CREATE FUNCTION workflow.variables()
RETURNS jsonb
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'wf_variables';
COMMENT ON FUNCTION workflow.variables() IS 'all variables of the run; null outside a step';

CREATE FUNCTION workflow.report_progress(done bigint, total bigint, message text DEFAULT NULL)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'wf_report_progress';
COMMENT ON FUNCTION workflow.report_progress(bigint, bigint, text) IS
'show in workflow.activity how far the step that calls it has come';

CREATE FUNCTION workflow.run_status()
RETURNS text
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'wf_run_status';
COMMENT ON FUNCTION workflow.run_status() IS 'in a finally step: how the run ends; null elsewhere';

CREATE FUNCTION workflow.error_path()
RETURNS text
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'wf_error_path';
COMMENT ON FUNCTION workflow.error_path() IS 'in a finally step: the innermost step that failed; null elsewhere';

CREATE FUNCTION workflow.error_sqlstate()
RETURNS text
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'wf_error_sqlstate';
COMMENT ON FUNCTION workflow.error_sqlstate() IS 'in a finally step: SQLSTATE of the run''s error; null elsewhere';

CREATE FUNCTION workflow.error_message()
RETURNS text
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'wf_error_message';
COMMENT ON FUNCTION workflow.error_message() IS 'in a finally step: message of the run''s error; null elsewhere';

-- ---------------------------------------------------------------------------
-- Functions that the views are made of.  Each checks what the reader may see.
-- ---------------------------------------------------------------------------

CREATE FUNCTION workflow.status_name(status "char")
RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'wf_status_name';
COMMENT ON FUNCTION workflow.status_name("char") IS 'name of a status code; for the views';

CREATE FUNCTION workflow.reason_name(reason "char")
RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'wf_reason_text';
COMMENT ON FUNCTION workflow.reason_name("char") IS 'name of a reason code; for the views';

-- Not parallel safe: to start parallel workers takes longer than to read the
-- newest rows, or those of a run.
CREATE FUNCTION workflow.may_see_run(owner oid, requested_by oid, package_id bigint)
RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'wf_may_see_run';
COMMENT ON FUNCTION workflow.may_see_run(oid, oid, bigint) IS 'whether the current user may see such a run; for the views';

CREATE FUNCTION workflow.may_see_package(owner oid, package_id bigint)
RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'wf_may_see_package';
COMMENT ON FUNCTION workflow.may_see_package(oid, bigint) IS 'whether the current user may see the definition; for the views';

CREATE FUNCTION workflow.normal_definition(document jsonb)
RETURNS jsonb
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'wf_normal_definition';
COMMENT ON FUNCTION workflow.normal_definition(jsonb) IS 'a document with every option in it; for the views';

CREATE FUNCTION workflow.run_step(run_id bigint, step integer,
    OUT name text, OUT kind text, OUT command text, OUT connection text, OUT server text,
    OUT atomic boolean)
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'wf_run_step';
COMMENT ON FUNCTION workflow.run_step(bigint, integer) IS 'a step as the version that a run executes defines it; for the views';

CREATE FUNCTION workflow.open_from()
RETURNS bigint
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'wf_horizon';
COMMENT ON FUNCTION workflow.open_from() IS 'number below which all runs but a few have ended; for the views';

CREATE FUNCTION workflow.run_state(run_id bigint,
    OUT status text, OUT failed_steps integer, OUT started_at timestamptz, OUT finished_at timestamptz,
    OUT error_path text, OUT sqlstate text, OUT message text, OUT wait text,
    OUT transaction_id bigint, OUT transaction_at timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED ROWS 1
AS 'MODULE_PATHNAME', 'wf_run_state';
COMMENT ON FUNCTION workflow.run_state(bigint) IS 'state of a run that has not ended; for the views';

CREATE FUNCTION workflow.step_states(run_id bigint,
    OUT step integer, OUT attempt integer, OUT status text, OUT reason text, OUT wait text, OUT pid integer,
    OUT started_at timestamptz, OUT finished_at timestamptz, OUT sqlstate text, OUT message text,
    OUT detail text, OUT hint text, OUT context text, OUT messages text, OUT result jsonb, OUT rows bigint,
    OUT statement integer, OUT transaction_id bigint, OUT transaction_at timestamptz,
    OUT done bigint, OUT total bigint, OUT progress text, OUT child_run_id bigint)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED ROWS 10
AS 'MODULE_PATHNAME', 'wf_step_states';
COMMENT ON FUNCTION workflow.step_states(bigint) IS 'states of the steps of a run that has not ended; for the views';

CREATE FUNCTION workflow.transaction_state(run_id bigint,
    OUT number integer, OUT transaction_id bigint, OUT isolation "char", OUT started_at timestamptz,
    OUT steps integer)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED ROWS 1
AS 'MODULE_PATHNAME', 'wf_transaction_state';
COMMENT ON FUNCTION workflow.transaction_state(bigint) IS 'open package transaction of a run that has not ended; for the views';

CREATE FUNCTION workflow.agent_state(
    OUT running boolean, OUT scheduler_pid integer, OUT workers integer, OUT queued bigint, OUT running_runs bigint,
    OUT enabled boolean, OUT max_workers integer, OUT worker_idle_timeout interval, OUT commit_mode text,
    OUT max_nesting_level integer, OUT last_error text, OUT last_error_at timestamptz)
LANGUAGE c VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'wf_agent';
COMMENT ON FUNCTION workflow.agent_state() IS 'the agent of this database; for the view';

-- ---------------------------------------------------------------------------
-- Views: one row a thing, only what the reader may see.  The order of those of
-- history lets who wants the newest rows read no others, from the index.
-- ---------------------------------------------------------------------------

-- Runs without an outcome: those from the horizon on, and the few before it.
-- Outcomes are looked up by subqueries, here and below, not by anti-joins, which
-- the planner might begin by reading all of history.
CREATE VIEW workflow.open_run WITH (security_barrier) AS
SELECT r.run_id, r.package_id, r.version, r.requested_at, r.start_at, r.attempt
FROM (
    SELECT r.* FROM workflow.run r WHERE r.run_id >= workflow.open_from()
    UNION ALL
    SELECT r.* FROM workflow.run r
    WHERE r.run_id = ANY ((SELECT h.still_open FROM workflow.horizon h)::bigint[])
) r
WHERE (SELECT o.run_id FROM workflow.run_outcome o WHERE o.run_id = r.run_id) IS NULL
  AND workflow.may_see_run(r.owner, r.requested_by, r.package_id);
COMMENT ON VIEW workflow.open_run IS 'runs that have not ended';

CREATE VIEW workflow.run_history WITH (security_barrier) AS
SELECT r.run_id,
    COALESCE(r.root_run_id, r.run_id) AS root_run_id,
    r.parent_run_id,
    (workflow.run_step(r.parent_run_id, r.parent_step)).name AS parent_step,
    COALESCE(d.name, v.name) AS package,
    r.version,
    COALESCE(workflow.status_name(o.status), s.status) AS status,
    COALESCE(o.failed_steps, s.failed_steps) AS failed_steps,
    pg_catalog.pg_get_userbyid(r.requested_by) AS requested_by,
    r.requested_at,
    COALESCE(o.started_at, s.started_at) AS started_at,
    COALESCE(o.finished_at, s.finished_at) AS finished_at,
    COALESCE(o.finished_at, s.finished_at, pg_catalog.clock_timestamp())
        - COALESCE(o.started_at, s.started_at) AS duration,
    COALESCE(o.error_path, s.error_path) AS error_path,
    COALESCE(o.sqlstate, s.sqlstate) AS sqlstate,
    COALESCE(o.message, s.message) AS message,
    COALESCE(NULLIF(v.document -> 'variables', 'null'), '{}') || COALESCE(r.variables, '{}')
        || COALESCE(o.variables, '{}') AS variables,
    r.request_key,
    r.restart_of,
    pg_catalog.pg_get_userbyid(o.stopped_by) AS stopped_by,
    o.stop_reason,
    COALESCE(r.attempt, 1) AS attempt
FROM workflow.run r
LEFT JOIN workflow.run_outcome o ON o.run_id = r.run_id
LEFT JOIN workflow.definition d ON d.package_id = r.package_id
LEFT JOIN workflow.definition_version v ON v.package_id = r.package_id AND v.version = r.version
LEFT JOIN LATERAL workflow.run_state(CASE WHEN o.run_id IS NULL THEN r.run_id END) s ON true
WHERE workflow.may_see_run(r.owner, r.requested_by, r.package_id)
ORDER BY r.run_id DESC;
COMMENT ON VIEW workflow.run_history IS 'runs: queued, running and ended';
COMMENT ON COLUMN workflow.run_history.run_id IS 'number of the run';
COMMENT ON COLUMN workflow.run_history.root_run_id IS 'run at the top of its tree: itself, unless it is a child run';
COMMENT ON COLUMN workflow.run_history.parent_run_id IS 'run whose step started it; null: it is no child run';
COMMENT ON COLUMN workflow.run_history.parent_step IS 'that step';
COMMENT ON COLUMN workflow.run_history.package IS 'present name of the package; of one that was dropped, the name it had';
COMMENT ON COLUMN workflow.run_history.version IS 'version that the run executes';
COMMENT ON COLUMN workflow.run_history.status IS 'queued, running, paused, succeeded, failed, cancelled (by stop_job), skipped (on_overlap)';
COMMENT ON COLUMN workflow.run_history.failed_steps IS 'number of steps whose last attempt failed; also a run that succeeded may have some';
COMMENT ON COLUMN workflow.run_history.requested_by IS 'role that called start_job, of child runs too; the run itself has the rights of the owner of the package';
COMMENT ON COLUMN workflow.run_history.requested_at IS 'when it was called';
COMMENT ON COLUMN workflow.run_history.started_at IS 'when the run began; null: it has not';
COMMENT ON COLUMN workflow.run_history.finished_at IS 'when it ended; null: it has not';
COMMENT ON COLUMN workflow.run_history.duration IS 'from its begin to its end, or to this moment';
COMMENT ON COLUMN workflow.run_history.error_path IS 'the innermost step that failed, with the steps of package kind that lead to it: dims/merge_customers';
COMMENT ON COLUMN workflow.run_history.sqlstate IS 'error of that step, or of the run itself (a time-out); shown from the first failure on';
COMMENT ON COLUMN workflow.run_history.message IS 'its message';
COMMENT ON COLUMN workflow.run_history.variables IS 'defaults, values given at the start, and those that steps have set by now';
COMMENT ON COLUMN workflow.run_history.request_key IS 'key it was requested under';
COMMENT ON COLUMN workflow.run_history.restart_of IS 'run that it takes over from';
COMMENT ON COLUMN workflow.run_history.stopped_by IS 'role that stopped it';
COMMENT ON COLUMN workflow.run_history.stop_reason IS 'reason given to stop_job';
COMMENT ON COLUMN workflow.run_history.attempt IS 'of the max_attempts of the package: 1, 2, ...; restart_of is the one before';

CREATE VIEW workflow.step_history WITH (security_barrier) AS
SELECT s.run_id,
    COALESCE(r.root_run_id, r.run_id) AS root_run_id,
    COALESCE(d.name, v.name) AS package,
    (p.step).name AS step,
    s.attempt,
    (p.step).kind AS kind,
    s.status,
    s.reason,
    (p.step).command AS command,
    s.transaction_id,
    CASE WHEN s.transaction_id IS NOT NULL THEN
        CASE t.status WHEN 'c' THEN 'committed' WHEN 'r' THEN 'rolled_back' ELSE 'active' END END AS transaction_status,
    CASE
        WHEN s.started_at IS NULL OR (p.step).kind = 'none' THEN 'none'
        WHEN (p.step).kind = 'package' AND s.started_run_id IS NULL AND s.status <> 'running' THEN 'none'
        WHEN s.status = 'running' THEN 'pending'
        WHEN s.transaction_id IS NOT NULL AND t.status IS NULL THEN 'pending'
        WHEN t.status = 'r' THEN 'undone'
        WHEN t.status = 'c' AND s.status <> 'succeeded' AND (p.step).kind = 'sql' THEN
            CASE WHEN NOT (p.step).atomic AND s.statement > 1 AND NOT EXISTS (
                SELECT FROM workflow.step_outcome n
                WHERE n.run_id = s.run_id AND n.step = s.step AND n.attempt > s.attempt
                  AND n.transaction_id = s.transaction_id) THEN 'partial' ELSE 'undone' END
        WHEN s.status = 'succeeded' THEN 'kept'
        WHEN s.status = 'interrupted' THEN 'unknown'
        WHEN (p.step).kind = 'package' AND EXISTS (
            SELECT FROM workflow.step_outcome c
            WHERE c.run_id = s.started_run_id AND (c.status = 's' OR c.child_run_id IS NOT NULL)) THEN 'partial'
        WHEN EXISTS (
            SELECT FROM workflow.step_start b
            WHERE b.run_id = s.run_id AND b.step = s.step AND b.attempt = s.attempt AND b.committed) THEN 'partial'
        ELSE 'undone'
    END AS effects,
    (p.step).connection AS connection,
    (p.step).server AS server,
    s.rows,
    s.statement,
    s.started_at,
    s.finished_at,
    COALESCE(s.finished_at, pg_catalog.clock_timestamp()) - s.started_at AS duration,
    s.sqlstate,
    s.message,
    s.detail,
    s.hint,
    s.context,
    s.messages,
    s.result,
    s.pid,
    CASE WHEN (p.step).kind = 'job' THEN s.started_run_id END AS remote_run_id,
    CASE WHEN (p.step).kind = 'package' THEN s.started_run_id END AS child_run_id
FROM (
    SELECT s.run_id, s.step, s.attempt, workflow.status_name(s.status) AS status,
        workflow.reason_name(s.reason) AS reason, s.rows, s.statement, s.started_at, s.finished_at,
        s.sqlstate, s.message, s.detail, s.hint, s.context, s.messages, s.result, s.pid,
        COALESCE(s.child_run_id, s.remote_run_id) AS started_run_id, s.transaction_id
    FROM workflow.step_outcome s
    UNION ALL
    SELECT r.run_id, s.step, s.attempt, s.status, s.reason, s.rows, s.statement, s.started_at, s.finished_at,
        s.sqlstate, s.message, s.detail, s.hint, s.context, s.messages, s.result, s.pid,
        s.child_run_id, s.transaction_id
    FROM workflow.open_run r, workflow.step_states(r.run_id) s
    WHERE (SELECT o.attempt FROM workflow.step_outcome o
        WHERE o.run_id = r.run_id AND o.step = s.step AND o.attempt = s.attempt) IS NULL
) s
JOIN workflow.run r ON r.run_id = s.run_id
LEFT JOIN workflow.transaction_outcome t ON t.transaction_id = s.transaction_id
LEFT JOIN workflow.definition d ON d.package_id = r.package_id
LEFT JOIN workflow.definition_version v ON v.package_id = r.package_id AND v.version = r.version
CROSS JOIN LATERAL (SELECT workflow.run_step(s.run_id, s.step) AS step OFFSET 0) p
WHERE workflow.may_see_run(r.owner, r.requested_by, r.package_id)
ORDER BY s.run_id DESC;
COMMENT ON VIEW workflow.step_history IS 'attempts of steps: waiting, running and ended';
COMMENT ON COLUMN workflow.step_history.run_id IS 'number of the run';
COMMENT ON COLUMN workflow.step_history.root_run_id IS 'run at the top of its tree';
COMMENT ON COLUMN workflow.step_history.package IS 'package of the run';
COMMENT ON COLUMN workflow.step_history.step IS 'name of the step';
COMMENT ON COLUMN workflow.step_history.attempt IS '1, 2, ...; 0: a step that was never started, or was taken over by a restart';
COMMENT ON COLUMN workflow.step_history.kind IS 'sql, package, job, none';
COMMENT ON COLUMN workflow.step_history.status IS 'waiting, running, succeeded, failed, skipped, cancelled (by stop_job or a time-out of the run), interrupted (by a crash)';
COMMENT ON COLUMN workflow.step_history.reason IS 'why it was skipped or never started: disabled, condition, constraint, package failed, cancelled; or restart: it had succeeded in the run that this one is a restart of';
COMMENT ON COLUMN workflow.step_history.command IS 'text that is executed, or name of the package';
COMMENT ON COLUMN workflow.step_history.transaction_id IS 'package transaction that it worked in; null: it committed by itself';
COMMENT ON COLUMN workflow.step_history.transaction_status IS 'state of that transaction';
COMMENT ON COLUMN workflow.step_history.effects IS 'what is left of its work.  none: it did nothing (not started, or of kind none).  pending: not decided yet, it is being executed.  kept: committed.  undone: rolled back.  partial: it failed after parts of it had committed: statements of a step with atomic false, parts of a CALL or VACUUM, steps of a child run (they say which).  unknown: a crash cut it off after it had begun to commit';
COMMENT ON COLUMN workflow.step_history.connection IS 'name of its connection';
COMMENT ON COLUMN workflow.step_history.server IS 'foreign server of the connection; null: this database';
COMMENT ON COLUMN workflow.step_history.rows IS 'rows that its statements reported, the sum';
COMMENT ON COLUMN workflow.step_history.statement IS 'number of the statement that failed';
COMMENT ON COLUMN workflow.step_history.started_at IS 'begin of the attempt';
COMMENT ON COLUMN workflow.step_history.finished_at IS 'end of the attempt';
COMMENT ON COLUMN workflow.step_history.duration IS 'from its begin to its end, or to this moment';
COMMENT ON COLUMN workflow.step_history.sqlstate IS 'its error';
COMMENT ON COLUMN workflow.step_history.message IS 'message of the error';
COMMENT ON COLUMN workflow.step_history.detail IS 'detail of the error';
COMMENT ON COLUMN workflow.step_history.hint IS 'hint of the error';
COMMENT ON COLUMN workflow.step_history.context IS 'context of the error';
COMMENT ON COLUMN workflow.step_history.messages IS 'NOTICEs, WARNINGs and the like, a line each, at most workflow.max_message_size of them';
COMMENT ON COLUMN workflow.step_history.result IS 'first row of the last statement: a single column as a scalar, more as an object';
COMMENT ON COLUMN workflow.step_history.pid IS 'process that executes it, or did';
COMMENT ON COLUMN workflow.step_history.remote_run_id IS 'run that a job step has started';
COMMENT ON COLUMN workflow.step_history.child_run_id IS 'run that a package step has started';

CREATE VIEW workflow.transaction_history WITH (security_barrier) AS
SELECT t.transaction_id, t.run_id,
    COALESCE(r.root_run_id, r.run_id) AS root_run_id,
    COALESCE(d.name, v.name) AS package,
    t.number,
    CASE t.status WHEN 'c' THEN 'committed' WHEN 'r' THEN 'rolled_back' ELSE 'active' END AS status,
    CASE t.isolation WHEN 's' THEN 'serializable' WHEN 'r' THEN 'repeatable read'
        ELSE 'read committed' END AS isolation_level,
    t.started_at, t.finished_at, t.steps,
    '{}'::text[] AS servers,
    t.message AS error,
    NULL::text[] AS gids,
    NULL::text[] AS commands
FROM (
    SELECT o.transaction_id, o.run_id, o.number, o.status, o.isolation, o.started_at, o.finished_at, o.steps, o.message
    FROM workflow.transaction_outcome o
    UNION ALL
    SELECT s.transaction_id, r.run_id, s.number, NULL, s.isolation, s.started_at, NULL, s.steps, NULL
    FROM workflow.open_run r, workflow.transaction_state(r.run_id) s
    WHERE (SELECT o.number FROM workflow.transaction_outcome o WHERE o.transaction_id = s.transaction_id) IS NULL
) t
JOIN workflow.run r ON r.run_id = t.run_id
LEFT JOIN workflow.definition d ON d.package_id = r.package_id
LEFT JOIN workflow.definition_version v ON v.package_id = r.package_id AND v.version = r.version
WHERE workflow.may_see_run(r.owner, r.requested_by, r.package_id)
ORDER BY t.run_id DESC;
COMMENT ON VIEW workflow.transaction_history IS 'package transactions';
COMMENT ON COLUMN workflow.transaction_history.transaction_id IS 'number of the transaction; rises in the order of creation within a tree of runs';
COMMENT ON COLUMN workflow.transaction_history.run_id IS 'run that it belongs to';
COMMENT ON COLUMN workflow.transaction_history.root_run_id IS 'run at the top of its tree';
COMMENT ON COLUMN workflow.transaction_history.package IS 'package of the run';
COMMENT ON COLUMN workflow.transaction_history.number IS '1, 2, ... in its run';
COMMENT ON COLUMN workflow.transaction_history.status IS 'active, committed, rolled_back, in_doubt';
COMMENT ON COLUMN workflow.transaction_history.isolation_level IS 'that of the package';
COMMENT ON COLUMN workflow.transaction_history.started_at IS 'when the first step joined';
COMMENT ON COLUMN workflow.transaction_history.finished_at IS 'when it ended';
COMMENT ON COLUMN workflow.transaction_history.steps IS 'number of steps that worked in it';
COMMENT ON COLUMN workflow.transaction_history.servers IS 'foreign servers that have a part in it';
COMMENT ON COLUMN workflow.transaction_history.error IS 'why it was rolled back, or could not be committed';
COMMENT ON COLUMN workflow.transaction_history.gids IS 'of branches in doubt, the names of the prepared transactions';
COMMENT ON COLUMN workflow.transaction_history.commands IS 'the commands that would end them, in the same order';

CREATE VIEW workflow.activity WITH (security_barrier) AS
SELECT r.run_id AS run,
    COALESCE(d.name, v.name) AS package,
    (workflow.run_step(r.run_id, s.step)).name AS step,
    COALESCE(s.status, t.status) AS state,
    CASE WHEN t.status = 'queued' AND r.start_at > pg_catalog.clock_timestamp()
            THEN CASE WHEN r.attempt > 1 THEN 'retry' ELSE 'start_at' END
        WHEN t.status = 'queued' THEN t.wait
        ELSE COALESCE(s.wait, (
            SELECT 'lock of pid ' || pg_catalog.min(b.pid)
            FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(s.pid)) AS b(pid)),
            CASE t.status WHEN 'paused' THEN 'paused' END) END AS wait,
    s.pid,
    COALESCE(s.transaction_id, t.transaction_id) AS transaction_id,
    pg_catalog.clock_timestamp() - COALESCE(s.transaction_at, t.transaction_at) AS transaction_age,
    COALESCE(s.started_at, t.started_at) AS started_at,
    s.done,
    s.total,
    s.progress AS message
FROM workflow.open_run r
LEFT JOIN workflow.definition d ON d.package_id = r.package_id
LEFT JOIN workflow.definition_version v ON v.package_id = r.package_id AND v.version = r.version
CROSS JOIN LATERAL workflow.run_state(r.run_id) t
LEFT JOIN LATERAL workflow.step_states(CASE WHEN t.status <> 'queued' THEN r.run_id END) s
    ON s.status = 'running' OR s.wait IS NOT NULL
WHERE t.status IN ('queued', 'paused', 'running');
COMMENT ON VIEW workflow.activity IS 'what is queued, paused or running at this moment, and what it waits for';
COMMENT ON COLUMN workflow.activity.run IS 'number of the run';
COMMENT ON COLUMN workflow.activity.package IS 'its package';
COMMENT ON COLUMN workflow.activity.step IS 'step that is running or waits; null: the run itself waits';
COMMENT ON COLUMN workflow.activity.state IS 'queued, paused, running; of a step, waiting too';
COMMENT ON COLUMN workflow.activity.wait IS 'what it waits for; null: nothing, it is being executed.  worker: a process for it.  connection ...: another step that uses the connection.  max_concurrent_runs: an earlier run of the package.  max_concurrent_steps: other steps of the run.  main thread: another such step.  start_at: its time.  condition: the condition is asked again.  retry: the next attempt.  lock of pid ...: a lock that this process holds.  run ...: its child run.  transaction: the end of the package transaction, to join the next one, or another step in it.  commit: that of the transaction.  paused: resume_job';
COMMENT ON COLUMN workflow.activity.pid IS 'process that executes the step';
COMMENT ON COLUMN workflow.activity.transaction_id IS 'open package transaction that it works in';
COMMENT ON COLUMN workflow.activity.transaction_age IS 'age of that transaction';
COMMENT ON COLUMN workflow.activity.started_at IS 'begin of the attempt, or of the run';
COMMENT ON COLUMN workflow.activity.done IS 'how far the step has come, as it reports';
COMMENT ON COLUMN workflow.activity.total IS 'of how much';
COMMENT ON COLUMN workflow.activity.message IS 'with which message';

-- Definitions: the current versions, every option.  Inside, the views that
-- follow take what one view shows as normalised documents.

CREATE VIEW workflow.current_definition WITH (security_barrier) AS
SELECT d.package_id, d.name, d.owner, d.version, n.document
FROM workflow.definition d
JOIN workflow.definition_version v ON v.package_id = d.package_id AND v.version = d.version
CROSS JOIN LATERAL (SELECT workflow.normal_definition(v.document) AS document OFFSET 0) n
WHERE workflow.may_see_package(d.owner, d.package_id);
COMMENT ON VIEW workflow.current_definition IS 'definitions of packages as documents with every option in them';

CREATE VIEW workflow.package WITH (security_barrier) AS
SELECT d.package_id, d.name, d.owner, d.version,
    o.description, o.use_transactions, o.commit_on_completion, o.fail_on_first_error, o.isolation_level,
    o.max_concurrent_steps, o.max_concurrent_runs, o.on_overlap, o.priority, o.timeout, o.on_interruption,
    o.variables, o.required_variables, o.enabled, o.max_attempts, o.retry_delay, o.retry_on, o.settings,
    o.history_retention
FROM workflow.current_definition d
CROSS JOIN LATERAL pg_catalog.jsonb_to_record(d.document) AS o(
    description text, use_transactions boolean, commit_on_completion boolean, fail_on_first_error boolean,
    isolation_level text, max_concurrent_steps integer, max_concurrent_runs integer, on_overlap text,
    priority integer, timeout interval, on_interruption text, variables jsonb, required_variables text[],
    enabled boolean, max_attempts integer, retry_delay interval, retry_on text[], settings jsonb,
    history_retention interval);
COMMENT ON VIEW workflow.package IS 'packages: the current version';

CREATE VIEW workflow.connection WITH (security_barrier) AS
SELECT d.name AS package, o.name, o.server, o.transactional
FROM workflow.current_definition d
CROSS JOIN LATERAL pg_catalog.jsonb_to_recordset(d.document -> 'connections') AS o(
    name text, server text, transactional boolean);
COMMENT ON VIEW workflow.connection IS 'connections of packages: the current version';

CREATE VIEW workflow.step WITH (security_barrier) AS
SELECT d.name AS package, s.number::integer AS number,
    o.name, o.kind, o.command, o.connection, o.servers, o.balance, o.join_transaction, o.commit_on_success,
    o.rollback_on_failure, o.fail_package_on_error, o.main_thread, o.disabled, o.condition,
    o.condition_interval,
    ARRAY(SELECT c.value ->> 'step' FROM pg_catalog.jsonb_array_elements(o.after) c WHERE c.value ->> 'on' = 'success') AS after,
    ARRAY(SELECT c.value ->> 'step' FROM pg_catalog.jsonb_array_elements(o.after) c WHERE c.value ->> 'on' = 'failure') AS after_failure,
    ARRAY(SELECT c.value ->> 'step' FROM pg_catalog.jsonb_array_elements(o.after) c WHERE c.value ->> 'on' = 'completion') AS after_completion,
    o.precedence, o.finally, o.atomic, o.max_attempts, o.retry_delay, o.retry_backoff, o.retry_on, o.timeout,
    o.lock_timeout, o.restartable, o.settings, o.wait, o.variables, o.result_variable, o.priority,
    o.description
FROM workflow.current_definition d
CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(d.document -> 'steps') WITH ORDINALITY AS s(options, number)
CROSS JOIN LATERAL pg_catalog.jsonb_to_record(s.options) AS o(
    name text, kind text, command text, connection text, servers text[], balance text,
    join_transaction boolean, commit_on_success boolean, rollback_on_failure boolean,
    fail_package_on_error boolean, main_thread boolean, disabled boolean, condition text,
    condition_interval interval, after jsonb, precedence text, finally text, atomic boolean,
    max_attempts integer, retry_delay interval, retry_backoff numeric, retry_on text[], timeout interval,
    lock_timeout interval, restartable boolean, settings jsonb, wait boolean, variables jsonb,
    result_variable text, priority integer, description text);
COMMENT ON VIEW workflow.step IS 'steps of packages: the current version';

CREATE VIEW workflow.precedence WITH (security_barrier) AS
SELECT d.name AS package, c.value ->> 'step' AS from_step, s.value ->> 'name' AS to_step, c.value ->> 'on' AS "on"
FROM workflow.current_definition d
CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(d.document -> 'steps') s
CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(s.value -> 'after') c;
COMMENT ON VIEW workflow.precedence IS 'precedence constraints of packages: the current version';

CREATE VIEW workflow.agent AS
SELECT * FROM workflow.agent_state();
COMMENT ON VIEW workflow.agent IS 'the agent of this database';
COMMENT ON COLUMN workflow.agent.running IS 'the agent is there and has taken up its work';
COMMENT ON COLUMN workflow.agent.scheduler_pid IS 'its process';
COMMENT ON COLUMN workflow.agent.workers IS 'worker processes of this database';
COMMENT ON COLUMN workflow.agent.queued IS 'runs that wait to be started, for whatever reason';
COMMENT ON COLUMN workflow.agent.running_runs IS 'runs that go on, child runs and paused ones included';
COMMENT ON COLUMN workflow.agent.enabled IS 'setting workflow.enabled, as the agent has it';
COMMENT ON COLUMN workflow.agent.max_workers IS 'setting workflow.max_workers';
COMMENT ON COLUMN workflow.agent.worker_idle_timeout IS 'setting workflow.worker_idle_timeout';
COMMENT ON COLUMN workflow.agent.commit_mode IS 'setting workflow.commit_mode';
COMMENT ON COLUMN workflow.agent.max_nesting_level IS 'setting workflow.max_nesting_level';
COMMENT ON COLUMN workflow.agent.last_error IS 'last error of the scheduler since the server was started';
COMMENT ON COLUMN workflow.agent.last_error_at IS 'when that was';

GRANT SELECT ON workflow.open_run, workflow.run_history, workflow.step_history, workflow.transaction_history, workflow.activity, workflow.agent,
    workflow.current_definition, workflow.package, workflow.connection, workflow.step, workflow.precedence TO PUBLIC;
