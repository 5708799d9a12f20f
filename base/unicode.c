/* unicode.c: owns the way to utf8proc. Normal forms (Unicode Standard Annex 15) are made piece by piece: a text is cut
 * before ASCII characters, which never combine with what stands before them, so memory stays small for any length and
 * plain ASCII is copied without looking. A run of more than MARKS_MAX marks, which no writing system has and which
 * would cost quadratic time to order, is cut too. Threads: no state. Failure: E_FORMAT with the byte offset. */
#include "base/unicode.h"
#include "base/mem.h"
#include "base/utf8.h"
#include <string.h>
#include <utf8proc.h>

enum { PIECE_BYTES = 4096, MARKS_MAX = 256 };

enum uni_class uni_class(uint32_t cp)
{
	switch (utf8proc_category((utf8proc_int32_t)cp)) {
	case UTF8PROC_CATEGORY_LU: case UTF8PROC_CATEGORY_LL: case UTF8PROC_CATEGORY_LT: case UTF8PROC_CATEGORY_LM:
	case UTF8PROC_CATEGORY_LO:
		return UNI_LETTER;
	case UTF8PROC_CATEGORY_MN: case UTF8PROC_CATEGORY_MC: case UTF8PROC_CATEGORY_ME:
		return UNI_MARK;
	case UTF8PROC_CATEGORY_ND: case UTF8PROC_CATEGORY_NL: case UTF8PROC_CATEGORY_NO:
		return UNI_NUMBER;
	case UTF8PROC_CATEGORY_PC: case UTF8PROC_CATEGORY_PD: case UTF8PROC_CATEGORY_PS: case UTF8PROC_CATEGORY_PE:
	case UTF8PROC_CATEGORY_PI: case UTF8PROC_CATEGORY_PF: case UTF8PROC_CATEGORY_PO:
		return UNI_PUNCT;
	case UTF8PROC_CATEGORY_SM: case UTF8PROC_CATEGORY_SC: case UTF8PROC_CATEGORY_SK: case UTF8PROC_CATEGORY_SO:
		return UNI_SYMBOL;
	case UTF8PROC_CATEGORY_ZS: case UTF8PROC_CATEGORY_ZL: case UTF8PROC_CATEGORY_ZP:
		return UNI_SPACE;
	case UTF8PROC_CATEGORY_CC: case UTF8PROC_CATEGORY_CF: case UTF8PROC_CATEGORY_CS: case UTF8PROC_CATEGORY_CO:
		return UNI_CONTROL;
	default:
		return UNI_UNASSIGNED;
	}
}

const char *uni_category(uint32_t cp)
{
	return utf8proc_category_string((utf8proc_int32_t)cp);
}

/* PropList.txt, White_Space. */
int uni_is_white_space(uint32_t cp)
{
	return (cp >= 0x09 && cp <= 0x0d) || cp == 0x20 || cp == 0x85 || cp == 0xa0 || cp == 0x1680 ||
		(cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

/* The blocks of BERT's tokenization.py: ideographs, not Kana or Hangul. */
int uni_is_cjk(uint32_t cp)
{
	static const struct { uint32_t first, last; } blocks[] = {
		{ 0x3400, 0x4dbf }, { 0x4e00, 0x9fff }, { 0xf900, 0xfaff }, { 0x20000, 0x2a6df }, { 0x2a700, 0x2b73f },
		{ 0x2b740, 0x2b81f }, { 0x2b820, 0x2ceaf }, { 0x2f800, 0x2fa1f },
	};
	for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
		if (cp >= blocks[i].first && cp <= blocks[i].last) return 1;
	return 0;
}

int uni_is_word(uint32_t cp)
{
	enum uni_class class = uni_class(cp);
	return class == UNI_LETTER || class == UNI_MARK || class == UNI_NUMBER;
}

uint32_t uni_tolower(uint32_t cp)
{
	if (cp < 0x80) return cp >= 'A' && cp <= 'Z' ? cp + 32 : cp;
	return cp > 0x10ffff ? cp : (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
}

uint32_t uni_toupper(uint32_t cp)
{
	if (cp < 0x80) return cp >= 'a' && cp <= 'z' ? cp - 32 : cp;
	return cp > 0x10ffff ? cp : (uint32_t)utf8proc_toupper((utf8proc_int32_t)cp);
}

static int buf_err(struct err *e, int rc, const struct buf *out)
{
	if (rc == E_LIMIT) return err_set(e, rc, "normal form: over the limit of %zu bytes", out->max);
	return err_set(e, rc, "normal form: out of memory");
}

/* Appends the normal form of one piece. The library decomposes into code points, orders and, for NFC, composes them,
 * and encodes them in the place they lie in. */
static int piece_put(const char *s, size_t len, utf8proc_option_t how, struct buf *out, struct err *e)
{
	const utf8proc_uint8_t *in = (const utf8proc_uint8_t *)s;
	utf8proc_int32_t *cps = NULL;
	utf8proc_ssize_t n = utf8proc_decompose(in, (utf8proc_ssize_t)len, NULL, 0, how);
	int rc;
	if (n < 0) return err_set(e, E_FORMAT, "normal form: %s", utf8proc_errmsg(n));
	cps = mem_alloc(((size_t)n + 1) * sizeof *cps); /* one more for the NUL that the encoding ends in */
	if (!cps) return err_set(e, E_MEMORY, "normal form: out of memory");
	n = utf8proc_decompose(in, (utf8proc_ssize_t)len, cps, n, how);
	if (n >= 0) n = utf8proc_reencode(cps, n, how);
	if (n < 0) rc = err_set(e, E_FORMAT, "normal form: %s", utf8proc_errmsg(n));
	else if ((rc = buf_put(out, cps, (size_t)n)) != OK) buf_err(e, rc, out);
	mem_free(cps);
	return rc;
}

/* Moves *i over one piece: up to the first ASCII character after PIECE_BYTES, or to a run of too many marks. 0, or -1
 * with *bad the offset of what is not UTF-8. *ascii: the piece holds nothing else. */
static int piece_end(const char *s, size_t len, size_t *i, int *ascii, size_t *bad)
{
	size_t start = *i, marks = 0;
	*ascii = 1;
	while (*i < len) {
		size_t at = *i;
		int32_t cp;
		if (at - start >= PIECE_BYTES && (unsigned char)s[at] < 0x80) return 0;
		cp = utf8_next(s, len, i);
		if (cp < 0) {
			*bad = at;
			return -1;
		}
		if (cp < 0x80) {
			marks = 0;
			continue;
		}
		*ascii = 0;
		marks = uni_class((uint32_t)cp) == UNI_MARK ? marks + 1 : 0;
		if (marks == MARKS_MAX) return 0;
	}
	return 0;
}

/* ASCII, where lower case is all that folding does. The last character may carry a mark of the next piece only when
 * that begins with one, which the cut (before ASCII, or after marks) rules out. */
static int ascii_put(const char *s, size_t len, int fold, struct buf *out, struct err *e)
{
	int rc = buf_reserve(out, len);
	if (rc) return buf_err(e, rc, out);
	for (size_t k = 0; k < len; k++)
		out->data[out->len + k] = fold && s[k] >= 'A' && s[k] <= 'Z' ? (char)(s[k] + 32) : s[k];
	out->len += len;
	out->data[out->len] = 0;
	return OK;
}

static int form_put(const char *s, size_t len, utf8proc_option_t how, struct buf *out, struct err *e)
{
	size_t i = 0, bad;
	if (out->failed) return buf_err(e, out->failed, out);
	while (i < len) {
		size_t start = i;
		int ascii, rc;
		if (piece_end(s, len, &i, &ascii, &bad)) return err_set(e, E_FORMAT, "not valid UTF-8 at byte %zu", bad);
		if (ascii) rc = ascii_put(s + start, i - start, (how & UTF8PROC_CASEFOLD) != 0, out, e);
		else rc = piece_put(s + start, i - start, how, out, e);
		if (rc) return rc;
	}
	return OK;
}

int uni_nfc(const char *s, size_t len, struct buf *out, struct err *e)
{
	return form_put(s, len, UTF8PROC_STABLE | UTF8PROC_COMPOSE, out, e);
}

int uni_nfd(const char *s, size_t len, struct buf *out, struct err *e)
{
	return form_put(s, len, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, out, e);
}

int uni_fold(const char *s, size_t len, struct buf *out, struct err *e)
{
	size_t ascii = 0;
	while (ascii < len && (unsigned char)s[ascii] < 0x80) ascii++;
	if (ascii == len) { /* nothing but capitals has another form */
		for (size_t i = 0, rc; i < len; i++)
			if ((rc = (size_t)buf_putc(out, (char)(s[i] >= 'A' && s[i] <= 'Z' ? s[i] | 0x20 : s[i])))) return err_set(e, (int)rc, "normal form: %s", rc == E_LIMIT ? "too long" : "out of memory");
		return OK;
	}
	return form_put(s, len, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD |
		UTF8PROC_STRIPMARK | UTF8PROC_IGNORE, out, e);
}

int uni_lower(const char *s, size_t len, struct buf *out, struct err *e)
{
	return form_put(s, len, UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD | UTF8PROC_IGNORE, out, e);
}
