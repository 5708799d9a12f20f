/* log.h: one line an event on stderr: "2026-01-02T03:04:05.678Z warn room: message". Levels from conf `log.level`.
 * Never logs document or question text. Thread-safe (one write(2) a line). */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };

void log_set_level(int level);
int log_level_parse(const char *s); /* "debug" … "off"; -1 when unknown */
void log_put(int level, const char *room, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
