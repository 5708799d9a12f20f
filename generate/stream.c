/* stream.c: owns the step from token bytes to shown text.
 *
 * Tokens may end inside a code point: such bytes wait in `part`. Text whose end may be the beginning of a stop text
 * waits in `text` until what follows decides. A stop is searched only where it can be new: from the longest stop's
 * length before the added bytes. Threads: none. Failure: the buffer's cap. */
#include "generate/stream.h"
#include <string.h>
#include "base/err.h"
#include "base/utf8.h"

/* Bytes that the code point at s[0] needs, by its first byte; 1 for what cannot begin one. */
static size_t want_bytes(char first)
{
	unsigned char c = (unsigned char)first;
	return c >= 0xf0 && c <= 0xf4 ? 4 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xc2 && c < 0xe0 ? 2 : 1;
}

static int is_continuation(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

/* Moves the whole code points out of part. */
static void part_flush(struct stream *s)
{
	size_t i = 0;
	while (i < s->part_n) {
		size_t want = want_bytes(s->part[i]), from = i, have = 1;
		while (have < want && i + have < s->part_n && is_continuation(s->part[i + have])) have++;
		if (have < want && i + have == s->part_n) break; /* may still become whole */
		if (utf8_next(s->part, s->part_n, &i) < 0) buf_puts(s->text, "\xef\xbf\xbd");
		else buf_put(s->text, s->part + from, i - from);
	}
	memmove(s->part, s->part + i, s->part_n - i);
	s->part_n -= i;
}

/* Place of the earliest stop text at or after `from`; text->len when there is none. */
static size_t find_stop(const struct stream *s, size_t from)
{
	size_t best = s->text->len;
	for (const char *const *p = s->stops; p && *p; p++) {
		size_t n = strlen(*p), at = from;
		const char *hit;
		if (n == 0 || s->text->len < n) continue;
		for (; at < best && (hit = memchr(s->text->data + at, (*p)[0], s->text->len - at)) != NULL; at++) {
			at = (size_t)(hit - s->text->data);
			if (at + n > s->text->len || at >= best) break;
			if (memcmp(hit, *p, n) == 0) best = at;
		}
	}
	return best;
}

static size_t longest_stop(const struct stream *s)
{
	size_t max = 0;
	for (const char *const *p = s->stops; p && *p; p++) max = strlen(*p) > max ? strlen(*p) : max;
	return max;
}

/* Bytes at the text's end that may be the beginning of a stop text, made whole code points. */
static size_t held_back(const struct stream *s)
{
	size_t held = 0, len = s->text->len;
	for (const char *const *p = s->stops; p && *p; p++) {
		size_t n = strlen(*p);
		for (size_t k = n ? n - 1 : 0; k > held; k--)
			if (k <= len && memcmp(s->text->data + len - k, *p, k) == 0) held = k;
	}
	return held ? len - utf8_floor(s->text->data, len, len - held) : 0;
}

static void send_until(struct stream *s, size_t end)
{
	if (end <= s->sent || s->cancelled) return;
	if (s->on_text && s->on_text(s->ctx, s->text->data + s->sent, end - s->sent)) s->cancelled = 1;
	s->sent = end;
}

int stream_put(struct stream *s, const char *bytes, size_t n, int *stopped)
{
	size_t before = s->text->len, back = longest_stop(s), at;
	*stopped = 0;
	for (size_t i = 0; i < n; i++) {
		s->part[s->part_n++] = bytes[i];
		part_flush(s);
	}
	if (buf_failed(s->text)) return buf_failed(s->text);
	if (s->text->len == before) return OK;
	at = find_stop(s, before > back ? before - back : 0);
	if (at < s->text->len) {
		*stopped = 1;
		s->text->len = at;
		s->text->data[at] = 0;
		send_until(s, at);
	} else send_until(s, s->text->len - held_back(s));
	return OK;
}

void stream_end(struct stream *s)
{
	s->part_n = 0;
	send_until(s, s->text->len);
}
