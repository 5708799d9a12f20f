/* clock.h: monotonic time for durations, wall time for records. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H
#include <stddef.h>
#include <stdint.h>

uint64_t clock_us(void);                        /* CLOCK_MONOTONIC */
double clock_ms(void);                          /* the same in milliseconds */
int64_t clock_wall_ms(void);                    /* since 1970, UTC */
enum { CLOCK_TEXT_LEN = 25 };                   /* "2026-01-02T03:04:05.678Z" and a NUL */
void clock_text(char out[CLOCK_TEXT_LEN], int64_t wall_ms); /* RFC 3339, UTC */
/* A name for what began at that time: 12 hex digits of it and 4 of chance. Names lie in order of time. */
enum { CLOCK_NAME_LEN = 17 };
void clock_name(char out[CLOCK_NAME_LEN], int64_t wall_ms);
/* Reads "2026-12-31", the end of that day in UTC (*day 1), or an RFC 3339 moment "2026-12-31T12:00:00Z", seconds and
 * their fraction optional, any offset (*day 0). 0 when s is neither. day may be NULL. */
int clock_read(const char *s, int64_t *wall_ms, int *day);

#endif
