/* log.c: owns the level and the way to stderr. A line is composed on the stack (cut at LINE_MAX_BYTES, under PIPE_BUF,
 * so that lines of several processes do not mix in one pipe) and goes out in one write(2). Control characters, which
 * could forge lines or drive a terminal, become spaces. Threads: any. Failure: a line that cannot be written is
 * lost. */
#include "base/log.h"
#include "base/clock.h"
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 2048 };

static atomic_int log_level = LOG_INFO;
static const char *const level_names[] = { "debug", "info", "warn", "error", "off" };

void log_set_level(int level)
{
	atomic_store(&log_level, level < LOG_DEBUG ? LOG_DEBUG : level > LOG_OFF ? LOG_OFF : level);
}

int log_level_parse(const char *s)
{
	for (int i = LOG_DEBUG; i <= LOG_OFF; i++)
		if (strcmp(s, level_names[i]) == 0) return i;
	return -1;
}

void log_put(int level, const char *room, const char *fmt, ...)
{
	char line[LINE_MAX_BYTES], when[CLOCK_TEXT_LEN];
	int saved = errno, n, more;
	va_list ap;
	if (level < atomic_load_explicit(&log_level, memory_order_relaxed) || level < LOG_DEBUG || level >= LOG_OFF) return;
	clock_text(when, clock_wall_ms());
	n = snprintf(line, sizeof line / 2, "%s %s %s: ", when, level_names[level], room);
	if (n >= (int)sizeof line / 2) n = (int)sizeof line / 2 - 1;
	va_start(ap, fmt);
	more = vsnprintf(line + n, sizeof line - (size_t)n, fmt, ap);
	va_end(ap);
	if (more > 0) n += more;
	if (n > (int)sizeof line - 1) n = (int)sizeof line - 1; /* the NUL gives its place to the newline */
	for (int i = 0; i < n; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) line[i] = ' ';
	line[n++] = '\n';
	while (write(STDERR_FILENO, line, (size_t)n) < 0 && errno == EINTR) continue;
	errno = saved;
}
