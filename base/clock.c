/* clock.c: owns nothing; reads the two clocks. Threads: any. Failure: none (both clocks always exist on Linux). */
#include "base/clock.h"
#include <stdio.h>
#include <time.h>

uint64_t clock_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

double clock_ms(void)
{
	return (double)clock_us() / 1000.0;
}

int64_t clock_wall_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* RFC 3339 has years 0000 to 9999; what lies outside is shown as the nearest moment inside. */
void clock_text(char out[CLOCK_TEXT_LEN], int64_t wall_ms)
{
	const int64_t first = -62167219200000, last = 253402300799999;
	struct tm tm;
	time_t sec;
	int ms, n;
	char text[80];
	if (wall_ms < first) wall_ms = first;
	if (wall_ms > last) wall_ms = last;
	ms = (int)(wall_ms % 1000);
	if (ms < 0) ms += 1000;
	sec = (time_t)((wall_ms - ms) / 1000);
	gmtime_r(&sec, &tm);
	n = snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
		tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, ms);
	for (int i = 0; i < CLOCK_TEXT_LEN; i++) out[i] = i < n ? text[i] : 0;
}
