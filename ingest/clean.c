/* clean.c: what happens to every piece of text before its offsets are fixed. One pass filters characters and trims
 * lines, a second makes NFC (base/unicode.h). Because "\n" combines with nothing, pieces cleaned one by one and joined
 * by line breaks are as clean as the whole would be. Threads: no state. Failure: only memory and the buffer's limit. */
#include "ingest/clean.h"

#include <stdint.h>
#include <string.h>

#include "base/unicode.h"
#include "base/utf8.h"

int clean_is_blank(const char *s, size_t len)
{
	size_t i = 0;

	while (i < len) {
		int32_t c = utf8_next(s, len, &i);

		if (c < 0 || !(uni_is_white_space((uint32_t)c) || c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xFEFF
			|| (c >= 0x200B && c <= 0x200F) || c == 0x2060 || c == 0xAD))
			return 0;
	}
	return 1;
}

/* The character as it is kept: 0 when it goes. */
static uint32_t kept(int32_t c)
{
	if (c < 0)
		return 0xFFFD;
	if (c == '\r' || c == '\f' || c == '\v' || c == 0x85)
		return '\n';
	if ((c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7F && c < 0xA0) || c == 0xFEFF)
		return 0;
	return (uint32_t)c;
}

/* Ends a line in out: white space before it goes, and so does the third line break in a row. */
static void end_line(struct buf *out)
{
	while (out->len > 0 && (out->data[out->len - 1] == ' ' || out->data[out->len - 1] == '\t'))
		out->len--;
	if (out->len == 0 || (out->len >= 2 && out->data[out->len - 1] == '\n' && out->data[out->len - 2] == '\n'))
		return;
	buf_putc(out, '\n');
}

static int filter(const char *s, size_t len, struct buf *out)
{
	size_t i = 0;

	while (i < len) {
		size_t was = i;
		int32_t c = utf8_next(s, len, &i);
		uint32_t k = kept(c);
		char b[4];

		if (k == 0 || (c == '\r' && i < len && s[i] == '\n'))
			continue;
		if (k == '\n')
			end_line(out);
		else if (k == (uint32_t)c)
			buf_put(out, s + was, i - was);
		else
			buf_put(out, b, utf8_put(b, k));
	}
	while (out->len > 0 && strchr(" \t\n", out->data[out->len - 1]))
		out->len--;
	return buf_failed(out);
}

int clean_put(const char *s, size_t len, struct buf *out, struct buf *scratch, struct err *e)
{
	int rc;

	buf_reset(scratch);
	rc = filter(s, len, scratch);
	if (rc != OK)
		return err_set(e, rc, "text of %zu bytes does not fit", len);
	return uni_nfc(scratch->data ? scratch->data : "", scratch->len, out, e);
}
