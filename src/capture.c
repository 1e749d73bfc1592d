/*-------------------------------------------------------------------------
 *
 * capture.c
 *	  Catch the notices and warnings of a step.
 *
 * A background worker has no client that notices are sent to, and the server
 * makes a message up only if somebody wants it.  So log_min_messages of the
 * process is lowered to INFO, emit_log_hook sees every message that is made,
 * keeps it while a step is executed, and then takes those out of the log that
 * the level which was configured would not have let in.
 *
 * At most workflow.max_message_size bytes are kept, the first ones.  Nothing
 * here may fail: it runs inside ereport().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "capture.h"
#include "guc.h"

static emit_log_hook_type previous_hook = NULL;
static int	configured_level = WARNING;

static char *buffer = NULL;		/* NULL: not catching */
static int	length;
static int	size;

static void catch_message(ErrorData *error);
static void append(const char *severity, const char *message);
static const char *severity_of(int elevel);

/* Prepare a worker process. */
void
wf_capture_init(void)
{
	configured_level = log_min_messages;
	if (configured_level == LOG || configured_level > INFO)
		SetConfigOption("log_min_messages", "info", PGC_SUSET,
						PGC_S_OVERRIDE);
	previous_hook = emit_log_hook;
	emit_log_hook = catch_message;
}

/* Begin to catch. */
void
wf_capture_begin(MemoryContext context)
{
	size = Min(wf_max_message_size, 1024);
	buffer = MemoryContextAlloc(context, size + 1);
	buffer[0] = '\0';
	length = 0;
}

/* Stop. */
const char *
wf_capture_end(void)
{
	const char *messages = length > 0 ? buffer : NULL;

	buffer = NULL;
	length = 0;
	return messages;
}

static const char *
severity_of(int elevel)
{
	switch (elevel)
	{
		case INFO:
			return "INFO";
		case NOTICE:
			return "NOTICE";
		case WARNING:
			return "WARNING";
		default:
			return NULL;
	}
}

/* emit_log_hook */
static void
catch_message(ErrorData *error)
{
	const char *severity = severity_of(error->elevel);

	if (previous_hook)
		previous_hook(error);
	if (severity == NULL)
		return;
	if (buffer != NULL && error->message != NULL)
	{
		append(severity, error->message);
		if (error->detail != NULL)
			append("DETAIL", error->detail);
		if (error->hint != NULL)
			append("HINT", error->hint);
	}
	if (configured_level == LOG || error->elevel < configured_level)
		error->output_to_server = false;
}

static void
append(const char *severity, const char *message)
{
	int			need = strlen(severity) + strlen(message) + 4;
	int			room;

	if (length + need > size && size < wf_max_message_size)
	{
		int			larger = Min(Max(2 * size, length + need),
								 wf_max_message_size);
		char	   *grown;

		grown = MemoryContextAllocExtended(GetMemoryChunkContext(buffer),
										   larger + 1, MCXT_ALLOC_NO_OOM);
		if (grown != NULL)
		{
			memcpy(grown, buffer, length + 1);
			pfree(buffer);
			buffer = grown;
			size = larger;
		}
	}
	room = size - length;
	if (room <= 0)
		return;
	snprintf(buffer + length, room + 1, "%s%s:  %s", length > 0 ? "\n" : "",
			 severity, message);
	if (length + need > size)
		length += pg_mbcliplen(buffer + length, strlen(buffer + length),
							   room);
	else
		length += strlen(buffer + length);
	buffer[length] = '\0';
}
