/*-------------------------------------------------------------------------
 *
 * options.h
 *	  The options of packages, connections and steps: names, types, defaults.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WF_OPTIONS_H
#define WF_OPTIONS_H

#include "utils/jsonb.h"

#include "workflow.h"

/* What an object of a definition is. */
typedef enum WfLevel
{
	WF_LEVEL_PACKAGE,
	WF_LEVEL_CONNECTION,
	WF_LEVEL_STEP
} WfLevel;

/* The options of a package, in the order of wf_options_read()'s values. */
typedef enum WfPackageOption
{
	WF_PACKAGE_NAME,
	WF_PACKAGE_DESCRIPTION,
	WF_PACKAGE_USE_TRANSACTIONS,
	WF_PACKAGE_COMMIT_ON_COMPLETION,
	WF_PACKAGE_FAIL_ON_FIRST_ERROR,
	WF_PACKAGE_ISOLATION_LEVEL,
	WF_PACKAGE_MAX_CONCURRENT_STEPS,
	WF_PACKAGE_MAX_CONCURRENT_RUNS,
	WF_PACKAGE_ON_OVERLAP,
	WF_PACKAGE_PRIORITY,
	WF_PACKAGE_TIMEOUT,
	WF_PACKAGE_ON_INTERRUPTION,
	WF_PACKAGE_VARIABLES,
	WF_PACKAGE_REQUIRED_VARIABLES,
	WF_PACKAGE_ENABLED,
	WF_PACKAGE_MAX_ATTEMPTS,
	WF_PACKAGE_RETRY_DELAY,
	WF_PACKAGE_RETRY_ON,
	WF_PACKAGE_SETTINGS,
	WF_PACKAGE_HISTORY_RETENTION,
	WF_PACKAGE_CONNECTIONS,
	WF_PACKAGE_STEPS,
	WF_PACKAGE_NOPTIONS
} WfPackageOption;

/* The options of a connection. */
typedef enum WfConnectionOption
{
	WF_CONNECTION_NAME,
	WF_CONNECTION_SERVER,
	WF_CONNECTION_TRANSACTIONAL,
	WF_CONNECTION_NOPTIONS
} WfConnectionOption;

/* The options of a step. */
typedef enum WfStepOption
{
	WF_STEP_NAME,
	WF_STEP_KIND,
	WF_STEP_COMMAND,
	WF_STEP_CONNECTION,
	WF_STEP_SERVERS,
	WF_STEP_BALANCE,
	WF_STEP_JOIN_TRANSACTION,
	WF_STEP_COMMIT_ON_SUCCESS,
	WF_STEP_ROLLBACK_ON_FAILURE,
	WF_STEP_FAIL_PACKAGE_ON_ERROR,
	WF_STEP_MAIN_THREAD,
	WF_STEP_DISABLED,
	WF_STEP_CONDITION,
	WF_STEP_CONDITION_INTERVAL,
	WF_STEP_AFTER,
	WF_STEP_PRECEDENCE,
	WF_STEP_FINALLY,
	WF_STEP_ATOMIC,
	WF_STEP_MAX_ATTEMPTS,
	WF_STEP_RETRY_DELAY,
	WF_STEP_RETRY_BACKOFF,
	WF_STEP_RETRY_ON,
	WF_STEP_TIMEOUT,
	WF_STEP_LOCK_TIMEOUT,
	WF_STEP_RESTARTABLE,
	WF_STEP_SETTINGS,
	WF_STEP_WAIT,
	WF_STEP_VARIABLES,
	WF_STEP_RESULT_VARIABLE,
	WF_STEP_PRIORITY,
	WF_STEP_DESCRIPTION,
	WF_STEP_NOPTIONS
} WfStepOption;

/* What the value of an option is. */
typedef enum WfOptionType
{
	WF_TYPE_BOOL,
	WF_TYPE_INT,
	WF_TYPE_NUMBER,
	WF_TYPE_TEXT,
	WF_TYPE_INTERVAL,
	WF_TYPE_ENUM,
	WF_TYPE_OBJECT,
	WF_TYPE_SETTINGS,			/* object of strings, numbers and booleans */
	WF_TYPE_EXPRESSIONS,		/* object of strings with SQL expressions */
	WF_TYPE_TEXTS,				/* array of strings */
	WF_TYPE_SQLSTATES,			/* array of SQLSTATEs and their classes */
	WF_TYPE_COMMAND,			/* string, or array of lines */
	WF_TYPE_AFTER,				/* array of precedence constraints */
	WF_TYPE_OBJECTS				/* array of objects of another level */
} WfOptionType;

/* Enough room for the values of any level. */
#define WF_MAX_OPTIONS	WF_STEP_NOPTIONS

/* Where in a definition something is: what messages name. */
typedef struct WfPlace
{
	WfLevel		level;
	const char *package;		/* NULL: not known, or it has no name */
	const char *name;			/* of the connection or step; NULL: likewise */
	int32		number;			/* its position in the document, from 1 */
} WfPlace;

/*
 * wf_place_text
 *		The place in words, palloc'd: step "load" of package "load_day".
 */
extern char *wf_place_text(const WfPlace *place);

/*
 * wf_options_read
 *		Read all options of one object of a definition into `values`, by their
 *		index, in canonical form, with defaults for what is absent or null.
 *
 * ERROR, naming the option and the place, for an option that does not exist,
 * has another type or a value that is not allowed (22023), or that has an
 * effect which this version does not support (0A000).  Strings point into
 * the object where that is possible, the rest is palloc'd.
 */
extern void wf_options_read(const WfPlace *place, JsonbContainer *object,
							JsonbValue *values);

/* Number of options; name and type of one. */
extern int	wf_options_count(WfLevel level);
extern const char *wf_option_name(WfLevel level, int option);
extern WfOptionType wf_option_type(WfLevel level, int option);

/* The option with this name, or -1. */
extern int	wf_option_find(WfLevel level, const char *name);

/* The names of a level's options, for a hint. */
extern char *wf_option_names(WfLevel level);

/*
 * wf_option_is_default
 *		True if the value, in canonical form, is the option's default.
 */
extern bool wf_option_is_default(WfLevel level, int option,
								 const JsonbValue *value);

/* The value of one option as C; for values of the option's own type. */
extern bool wf_value_bool(const JsonbValue *value);
extern int32 wf_value_int(const JsonbValue *value);
extern double wf_value_double(const JsonbValue *value);
extern bool wf_value_is(const JsonbValue *value, const char *string);

/* An interval in ms, a month counted as 30 days; 0 for a null value. */
extern int64 wf_value_ms(const JsonbValue *value);

/* Number of elements of an array or of keys of an object. */
extern int	wf_value_size(const JsonbValue *value);

/* Make a string value that points to the string. */
extern void wf_value_set_string(JsonbValue *value, const char *string);

/* palloc'd; NULL for a null value. */
extern char *wf_value_string(const JsonbValue *value);

#endif							/* WF_OPTIONS_H */
