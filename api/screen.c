/* screen.c: owns the look of output for people. Documents are not trusted: a title or a quote may hold escape
 * sequences, so every piece of theirs that goes to a terminal passes through here. Progress is one line on stderr,
 * redrawn at most ten times a second, hidden before anything else is printed.
 * Threads: a struct progress belongs to one. Failure: buffers say what they say (buf.h); drawing never fails. */
#include "api/screen.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include "base/clock.h"
#include "base/unicode.h"
#include "base/utf8.h"

enum { REDRAW_US = 100000, BAR_CELLS = 24, LINE_MAX_BYTES = 2048 };

static int invisible(uint32_t cp)
{
	/* C0, C1 and DEL steer terminals; the bidi overrides and isolates reorder what follows them. */
	return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || (cp >= 0x202a && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069);
}

static int text_put(struct buf *out, const char *text, size_t len, size_t chars, int keep_breaks)
{
	size_t i = 0, n = 0;
	int blank = 0;
	while (i < len) {
		size_t at = i;
		int32_t cp = utf8_next(text, len, &i);
		if (keep_breaks && cp == '\n') {
			buf_putc(out, '\n');
			blank = 0;
			continue;
		}
		if (cp >= 0 && uni_is_white_space((uint32_t)cp)) {
			blank = 1;
			continue;
		}
		if (cp >= 0 && invisible((uint32_t)cp)) continue;
		if (chars && n + (size_t)(blank && n) >= chars) {
			buf_puts(out, "…");
			break;
		}
		if (blank && (n || keep_breaks)) buf_putc(out, ' '), n++;
		blank = 0;
		if (cp < 0) buf_puts(out, "\xEF\xBF\xBD");
		else buf_put(out, text + at, i - at);
		n++;
	}
	return buf_failed(out);
}

int screen_line(struct buf *out, const char *text, size_t len, size_t chars)
{
	return text_put(out, text, len, chars, 0);
}

int screen_text(struct buf *out, const char *text, size_t len)
{
	return text_put(out, text, len, 0, 1);
}

void screen_bytes(char out[24], uint64_t bytes)
{
	static const char *const unit[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };
	double v = (double)bytes;
	int u = 0;
	while (v >= 999.5 && u < 6) v /= 1000, u++;
	snprintf(out, 24, u == 0 || v >= 99.5 ? "%.0f %s" : "%.1f %s", v, unit[u]);
}

void screen_seconds(char out[24], double seconds)
{
	if (!(seconds >= 0) || seconds > 1e7) snprintf(out, 24, "?");
	else if (seconds < 60) snprintf(out, 24, "%.1f s", seconds);
	else if (seconds < 3600) snprintf(out, 24, "%d:%02d min", (int)seconds / 60, (int)seconds % 60);
	else snprintf(out, 24, "%d:%02d h", (int)(seconds / 3600), (int)(seconds / 60) % 60);
}

int screen_columns(int fd)
{
	struct winsize w;
	return ioctl(fd, TIOCGWINSZ, &w) == 0 && w.ws_col >= 20 ? w.ws_col : 80;
}

void progress_init(struct progress *p, const struct command_call *c)
{
	*p = (struct progress){ .out = c->out, .on = c->out->tty && !c->quiet };
}

int progress_due(struct progress *p)
{
	uint64_t now;
	if (!p->on) return 0;
	now = clock_us();
	if (now < p->next_us) return 0;
	p->next_us = now + REDRAW_US;
	return 1;
}

void progress_draw(struct progress *p, double share, const char *text)
{
	struct buf line;
	size_t room = p->out->columns > 40 ? (size_t)p->out->columns - 1 : 39;
	if (!p->on) return;
	buf_init(&line, LINE_MAX_BYTES);
	buf_puts(&line, "\r");
	if (share >= 0) {
		int full = (int)lround(fmin(share, 1) * BAR_CELLS);
		buf_puts(&line, "[");
		for (int i = 0; i < BAR_CELLS; i++) buf_puts(&line, i < full ? "#" : ".");
		buf_printf(&line, "] %3d%% ", (int)(fmin(share, 1) * 100));
		room -= BAR_CELLS + 8;
	}
	screen_line(&line, text, strlen(text), room - 1);
	buf_puts(&line, "\033[K");
	p->out->write(p->out->ctx, 2, buf_cstr(&line), line.len);
	p->shown = 1;
	buf_clear(&line);
}

void progress_hide(struct progress *p)
{
	if (p->shown) out_printf(p->out, 2, "\r\033[K");
	p->shown = 0;
}
