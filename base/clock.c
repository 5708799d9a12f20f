/* clock.c: owns nothing; reads the two clocks. Threads: any. Failure: none (both clocks always exist on Linux). */
#include "base/clock.h"
#include <stdio.h>
#include <sys/random.h>
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

void clock_name(char out[CLOCK_NAME_LEN], int64_t wall_ms)
{
	uint8_t noise[2];
	if (getrandom(noise, sizeof noise, GRND_NONBLOCK) != (ssize_t)sizeof noise) noise[0] = noise[1] = (uint8_t)clock_us();
	snprintf(out, CLOCK_NAME_LEN, "%012llx%02x%02x", (unsigned long long)wall_ms & 0xffffffffffffull, noise[0], noise[1]);
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

/* Exactly n digits at *s, which moves behind them; -1 when there are others. */
static int digits_read(const char **s, int n)
{
	int v = 0;
	for (int i = 0; i < n; i++, ++*s) {
		if (**s < '0' || **s > '9') return -1;
		v = v * 10 + (**s - '0');
	}
	return v;
}

/* "Z" or "+01:30" in minutes; 0 when it is neither or something follows. */
static int offset_read(const char *s, int *minutes)
{
	int sign = *s == '-' ? -1 : 1, h, m;
	*minutes = 0;
	if ((*s == 'Z' || *s == 'z') && !s[1]) return 1;
	if (*s != '+' && *s != '-') return 0;
	s++;
	h = digits_read(&s, 2);
	if (h < 0 || h > 23 || *s++ != ':') return 0;
	m = digits_read(&s, 2);
	if (m < 0 || m > 59 || *s) return 0;
	*minutes = sign * (h * 60 + m);
	return 1;
}

int clock_read(const char *s, int64_t *wall_ms, int *day)
{
	int y, mo, d, h, mi, sec = 0, ms = 0, scale = 100, minutes;
	struct tm tm = { 0 };
	time_t t;
	y = digits_read(&s, 4);
	if (y < 0 || *s++ != '-') return 0;
	mo = digits_read(&s, 2);
	if (mo < 1 || mo > 12 || *s++ != '-') return 0;
	d = digits_read(&s, 2);
	if (d < 1 || d > 31) return 0;
	tm.tm_year = y - 1900, tm.tm_mon = mo - 1, tm.tm_mday = d;
	t = timegm(&tm);
	if (tm.tm_mday != d) return 0;          /* February 30 */
	if (day) *day = !*s;
	*wall_ms = ((int64_t)t + 86400) * 1000;
	if (!*s) return 1;
	if (*s != 'T' && *s != 't' && *s != ' ') return 0;
	s++;
	h = digits_read(&s, 2);
	if (h < 0 || h > 23 || *s++ != ':') return 0;
	mi = digits_read(&s, 2);
	if (mi < 0 || mi > 59) return 0;
	if (*s == ':' && (s++, sec = digits_read(&s, 2), sec < 0 || sec > 60)) return 0;
	if (*s == '.')
		for (s++; *s >= '0' && *s <= '9'; s++, scale /= 10) ms += (*s - '0') * scale;
	if (!offset_read(s, &minutes)) return 0;
	*wall_ms = ((int64_t)t + h * 3600 + (mi - minutes) * 60 + sec) * 1000 + ms;
	return 1;
}
