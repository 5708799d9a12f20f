/* charset.c: from the bytes of a text file to UTF-8. Owns the way to libc's iconv and to libuchardet.
 *
 * A byte order mark is believed first. Then UTF-16 and UTF-32 without one are known by where their zero bytes lie, and
 * anything else with zero bytes or many control characters is binary. What is left is what the file declares, UTF-8,
 * nearly UTF-8 (a cut or a mixed-in byte), or an encoding from the time before: libuchardet names one, and the name
 * counts only when the text that comes out is plausible by itself (below, "guesses"), because detectors go wrong on
 * the few words that short files hold; else the text is read as windows-1252 with a note. Threads: no state after
 * charset_prepare. */
#include "ingest/charset.h"

#include <errno.h>
#include <iconv.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <uchardet/uchardet.h>

#include "base/unicode.h"
#include "base/utf8.h"

enum {
	SAMPLE = 4096, LABEL_MAX = 40,
	GUESS_BYTES = 256 * 1024,       /* shown to the detector, from the first byte beyond ASCII on */
	GUESS_LEAD = 256,               /* and what stands in front of it */
	LATIN_SURE = 24                 /* letters beyond ASCII that tell one Latin encoding from another */,
	ZEROS_RARE = 1000,              /* at most one NUL in so many bytes is an accident */
	HEAD_BYTES = 64,                /* where formats that are no text have some */
};

/* Appends data converted from `from`; each sequence that does not fit becomes U+FFFD and is counted in *bad. */
static int convert(const char *data, size_t len, const char *from, size_t step, struct buf *out, size_t *bad,
	struct err *e)
{
	iconv_t cd = iconv_open("UTF-8", from);
	char *in = (char *)(uintptr_t)data, piece[8192];
	size_t left = len;
	int rc = OK;

	if (cd == (iconv_t)-1)
		return err_set(e, E_UNSUPPORTED, "encoding %s is not known", from);
	while (left > 0 && rc == OK) {
		char *to = piece;
		size_t room = sizeof piece;
		size_t got = iconv(cd, &in, &left, &to, &room);
		int why = errno;

		rc = buf_put(out, piece, (size_t)(to - piece));
		if (got != (size_t)-1 || why == E2BIG || rc != OK)
			continue;
		rc = buf_puts(out, "\xEF\xBF\xBD");
		++*bad;
		if (why == EINVAL || left <= step)                  /* cut in the middle of a character */
			break;
		in += step;
		left -= step;
	}
	iconv_close(cd);
	return rc == OK ? OK : err_set(e, rc, "text of %zu bytes in %s does not fit", len, from);
}

/* Appends data with every byte that is no UTF-8 as U+FFFD. */
static int put_mended(const char *data, size_t len, struct buf *out)
{
	size_t i = 0, begin = 0;

	while (i < len) {
		size_t was = i;

		if (utf8_next(data, len, &i) >= 0)
			continue;
		buf_put(out, data + begin, was - begin);
		buf_puts(out, "\xEF\xBF\xBD");
		begin = i;
	}
	return buf_put(out, data + begin, len - begin);
}

static int put_cp1252(const char *data, size_t len, struct buf *out)
{
	static const uint16_t high[32] = {      /* 0x80 … 0x9F; the five holes as the WHATWG encoding standard has them */
		0x20AC, 0x0081, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x008D,
		0x017D, 0x008F, 0x0090, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A,
		0x0153, 0x009D, 0x017E, 0x0178,
	};

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)data[i];
		char b[4];

		if (c < 0x80)
			buf_putc(out, (char)c);
		else
			buf_put(out, b, utf8_put(b, c < 0xA0 ? high[c - 0x80] : c));
	}
	return buf_failed(out);
}

/* The wide encoding that the zero bytes of a text without a mark betray, or NULL. */
static const char *wide_by_zeros(const char *data, size_t len)
{
	size_t n = (len < SAMPLE ? len : SAMPLE) & ~(size_t)3, zeros[4] = { 0 };
	size_t quarter = n / 4;

	if (n < 8)
		return NULL;
	for (size_t i = 0; i < n; i++)
		zeros[i & 3] += data[i] == 0;
	if (zeros[2] == quarter && zeros[3] == quarter && zeros[0] == 0 && len % 4 == 0)
		return "UTF-32LE";
	if (zeros[0] == quarter && zeros[1] == quarter && zeros[3] == 0 && len % 4 == 0)
		return "UTF-32BE";
	if ((zeros[1] + zeros[3]) * 10 >= quarter * 2 * 7 && zeros[0] + zeros[2] == 0 && len % 2 == 0)
		return "UTF-16LE";
	if ((zeros[0] + zeros[2]) * 10 >= quarter * 2 * 7 && zeros[1] + zeros[3] == 0 && len % 2 == 0)
		return "UTF-16BE";
	return NULL;
}

static const char *wide_by_mark(const char *data, size_t len, size_t *mark)
{
	static const struct { const char *bytes; size_t len; const char *name; } marks[] = {
		{ "\xFF\xFE\0\0", 4, "UTF-32LE" }, { "\0\0\xFE\xFF", 4, "UTF-32BE" }, { "\xFF\xFE", 2, "UTF-16LE" },
		{ "\xFE\xFF", 2, "UTF-16BE" },
	};

	for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
		if (len >= marks[i].len && memcmp(data, marks[i].bytes, marks[i].len) == 0) {
			*mark = marks[i].len;
			return marks[i].name;
		}
	return NULL;
}

/* Is the backspace at i between two characters that a printer would have set upon each other? */
static int is_overstrike(const char *data, size_t len, size_t i)
{
	return data[i] == '\b' && i > 0 && i + 1 < len && (unsigned char)data[i - 1] > 0x20 && (unsigned char)data[i + 1] > 0x20;
}

/* A text may hold a stray NUL, but formats that are none hold some at their beginning. *zeros: how many there are. */
static int is_binary(const char *data, size_t len, size_t *zeros)
{
	size_t controls = 0;

	*zeros = 0;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)data[i];

		*zeros += c == 0;
		controls += (c > 0 && c < 0x20 && !strchr("\n\r\t\f", c) && !is_overstrike(data, len, i)) || c == 0x7F;
	}
	return *zeros > len / ZEROS_RARE || (*zeros && memchr(data, 0, len < HEAD_BYTES ? len : HEAD_BYTES))
		|| (controls > 0 && controls >= len / 20);
}

/* Text as a printer would show it: of characters set upon each other ("b\bb" for bold, "_\bu" for underlined) the one
 * that is not a line is kept, and a NUL is a blank. */
static void mend_controls(struct buf *out, size_t from)
{
	size_t kept = from;

	for (size_t i = from; i < out->len; i++) {
		if (is_overstrike(out->data, out->len, i) && out->data[i + 1] == '_') {
			i++;
		} else if (is_overstrike(out->data, out->len, i)) {
			while (kept > from && ((unsigned char)out->data[--kept] & 0xC0) == 0x80)
				continue;
		} else {
			out->data[kept++] = out->data[i] ? out->data[i] : ' ';
		}
	}
	out->len = kept;
	if (out->data)
		out->data[kept] = 0;
}

/* An encoding's name as iconv takes it; the labels that the WHATWG standard maps to windows-1252 are mapped. */
static const char *label_of(const char *declared, char out[LABEL_MAX])
{
	static const char *const western[] = { "iso-8859-1", "iso8859-1", "iso_8859-1", "latin1", "latin-1", "us-ascii",
		"ascii", "cp1252", "windows-1252", "x-cp1252" };
	size_t n = 0;

	for (const char *s = declared; *s && n < LABEL_MAX - 1; s++)
		if ((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') || strchr("-_.:", *s))
			out[n++] = *s;
	out[n] = 0;
	for (size_t i = 0; i < sizeof western / sizeof *western; i++)
		if (strcasecmp(out, western[i]) == 0)
			return "windows-1252";
	if (strcasecmp(out, "utf8") == 0 || strncasecmp(out, "utf-16", 6) == 0) /* readable as ASCII: it cannot be UTF-16 */
		return "utf-8";
	return strcasecmp(out, "shift_jis") == 0 || strcasecmp(out, "shift-jis") == 0 ? "CP932" : out;
}

/* ---- guesses ---- */

static int is_letter_byte(unsigned char c)
{
	return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

/* Do the bytes beyond ASCII stand one by one among ASCII letters, as accents do in a Latin text, and are they letters,
 * quotes and the like, and few of windows-1252's rarer signs? */
static int looks_latin(const char *data, size_t len)
{
	static const char common[] = "\x80\x85\x91\x92\x93\x94\x95\x96\x97\xA0\xA3\xA7\xA9\xAB\xAE\xB0\xB4\xB7\xBB";
	size_t beside = 0, runs = 0, high = 0, odd = 0;

	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)data[i] < 0x80)
			continue;
		high++;
		odd += (unsigned char)data[i] < 0xC0 && !strchr(common, data[i]);
		runs += i == 0 || (unsigned char)data[i - 1] < 0x80;
		beside += (i > 0 && is_letter_byte((unsigned char)data[i - 1]))
			|| (i + 1 < len && is_letter_byte((unsigned char)data[i + 1]));
	}
	return high > 0 && odd * 4 <= high && high < 2 * runs + 4 && beside * 2 >= high;
}

enum script { LATIN, CYRILLIC, GREEK, HEBREW, ARABIC, THAI, EAST_ASIAN, OTHER_SCRIPT, SCRIPTS };

static enum script script_of(uint32_t c)
{
	static const struct { uint32_t from, to; enum script script; } ranges[] = {
		{ 0xC0, 0x24F, LATIN }, { 0x370, 0x3FF, GREEK }, { 0x400, 0x52F, CYRILLIC }, { 0x590, 0x5FF, HEBREW },
		{ 0x600, 0x6FF, ARABIC }, { 0xE00, 0xE7F, THAI }, { 0x1EA0, 0x1EF9, LATIN }, { 0x3041, 0x30FF, EAST_ASIAN },
		{ 0x4E00, 0x9FFF, EAST_ASIAN }, { 0xAC00, 0xD7A3, EAST_ASIAN }, { 0x3000, 0x303F, EAST_ASIAN },
		{ 0xFF01, 0xFFEE, EAST_ASIAN }, { 0xFB50, 0xFEFC, ARABIC },
	};

	for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
		if (c >= ranges[i].from && c <= ranges[i].to)
			return ranges[i].script;
	return OTHER_SCRIPT;
}

/* Is s what a person writes: beyond ASCII nearly all of one script, and for the encodings of many Latin languages
 * enough of it to tell them apart? */
static int is_plausible(const char *s, size_t len, int latin)
{
	size_t n[SCRIPTS] = { 0 }, all = 0, best = 0;

	for (size_t i = 0; i < len; ) {
		int32_t c = utf8_next(s, len, &i);
		enum script k;

		if (c < 0x80)
			continue;
		if (c < 0xA0 || c == 0xFFFD || (c >= 0xE000 && c < 0xF900))
			return 0;                                   /* control characters, private use */
		k = script_of((uint32_t)c);
		if (k == OTHER_SCRIPT && uni_class((uint32_t)c) != UNI_LETTER)
			continue;                                   /* dashes, quotes, currency */
		n[k]++;
		all++;
	}
	for (int k = 0; k < SCRIPTS; k++)
		best = k != OTHER_SCRIPT && n[k] > n[best] ? (size_t)k : best;
	return latin ? n[LATIN] * 10 >= all * 9 : best != LATIN && n[best] >= 3 && n[best] * 20 >= all * 17;
}

/* What the detector says of data, as iconv takes it; "" for nothing usable. */
static void ask_detector(const char *data, size_t len, char out[LABEL_MAX])
{
	uchardet_t u = uchardet_new();
	size_t first = 0;
	const char *said = "";

	out[0] = 0;
	if (!u)
		return;
	while (first < len && (unsigned char)data[first] < 0x80)
		first++;
	first = first > GUESS_LEAD ? first - GUESS_LEAD : 0;
	if (uchardet_handle_data(u, data + first, len - first < GUESS_BYTES ? len - first : GUESS_BYTES) == 0) {
		uchardet_data_end(u);
		said = uchardet_get_charset(u);
	}
	if (strcasecmp(said, "SHIFT_JIS") == 0)
		said = "CP932";                                     /* what Windows has always written under that name */
	else if (strcasecmp(said, "EUC-KR") == 0 || strcasecmp(said, "UHC") == 0)
		said = "CP949";
	else if (strcasecmp(said, "ISO-8859-1") == 0)
		said = "windows-1252";
	if (strcasecmp(said, "ASCII") != 0 && strncasecmp(said, "UTF", 3) != 0)
		snprintf(out, LABEL_MAX, "%s", said);
	uchardet_delete(u);
}

static int is_latin_label(const char *label)
{
	static const char *const other[] = { "windows-1251", "windows-1253", "windows-1255", "windows-1256", "windows-874",
		"ISO-8859-5", "ISO-8859-6", "ISO-8859-7", "ISO-8859-8", "ISO-8859-11", "IBM855", "IBM866", "TIS-620" };

	for (size_t i = 0; i < sizeof other / sizeof *other; i++)
		if (strcasecmp(label, other[i]) == 0)
			return 0;
	return strncasecmp(label, "windows-12", 10) == 0 || strncasecmp(label, "ISO-8859-", 9) == 0;
}

static size_t count_high(const char *data, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += (unsigned char)data[i] >= 0x80;
	return n;
}

/* Text of an old encoding. Latin text is windows-1252 unless the detector has seen enough to know better; any other is
 * what the detector says, when that reads like text. */
static int decode_old(const char *data, size_t len, struct buf *out, struct charset_result *r, struct err *e)
{
	size_t was = out->len, bad = 0;
	int latin = looks_latin(data, len), rc;
	char label[LABEL_MAX];

	ask_detector(data, len, label);
	if (label[0] && strcmp(label, "windows-1252") != 0 && (!latin || (is_latin_label(label)
		&& count_high(data, len) >= LATIN_SURE))) {
		rc = convert(data, len, label, 1, out, &bad, e);
		if (rc == OK && bad == 0 && is_plausible(out->data + was, out->len - was, is_latin_label(label)))
			return OK;
		if (rc != OK && rc != E_UNSUPPORTED)
			return rc;
		out->len = was;
	}
	rc = put_cp1252(data, len, out);
	if (rc == OK && !latin && !is_plausible(out->data + was, out->len - was, 1))
		snprintf(r->note, sizeof r->note, "encoding not known, read as windows-1252");
	return rc == OK ? OK : err_set(e, rc, "text of %zu bytes does not fit", len);
}

/* Text that is no wide encoding and declares nothing usable. */
static int decode_guess(const char *data, size_t len, struct buf *out, struct charset_result *r, struct err *e)
{
	size_t good = 0, bad = 0;
	int rc;

	for (size_t i = 0; i < len; ) {
		size_t was = i;
		int32_t c = utf8_next(data, len, &i);

		bad += c < 0;
		good += c >= 0 && i - was > 1;
	}
	if (bad == 0) {
		rc = buf_put(out, data, len);
	} else if (good >= bad * 4) {
		rc = put_mended(data, len, out);
		snprintf(r->note, sizeof r->note, "%zu bytes are not valid UTF-8", bad);
	} else {
		return decode_old(data, len, out, r, e);
	}
	return rc == OK ? OK : err_set(e, rc, "text of %zu bytes does not fit", len);
}

static int decode_wide(const char *data, size_t len, const char *from, struct buf *out, struct charset_result *r,
	struct err *e)
{
	size_t bad = 0;
	int rc = convert(data, len, from, strncmp(from, "UTF-32", 6) == 0 ? 4 : 2, out, &bad, e);

	if (rc == OK && bad > 0)
		snprintf(r->note, sizeof r->note, "%zu places are not valid %s", bad, from);
	return rc;
}

/* Text that is no wide encoding: as declared, else as its bytes suggest. */
static int decode_bytes(const char *data, size_t len, const char *declared, struct buf *out, struct charset_result *r,
	struct err *e)
{
	size_t bad = 0, was = out->len;
	const char *label;
	char name[LABEL_MAX];
	int rc;

	if (len >= 3 && memcmp(data, "\xEF\xBB\xBF", 3) == 0)
		return decode_guess(data + 3, len - 3, out, r, e);
	label = declared ? label_of(declared, name) : "utf-8";
	if (strcasecmp(label, "utf-8") == 0)
		return decode_guess(data, len, out, r, e);
	if (strcmp(label, "windows-1252") == 0) {
		rc = put_cp1252(data, len, out);
		return rc == OK ? OK : err_set(e, rc, "text of %zu bytes does not fit", len);
	}
	rc = convert(data, len, label, 1, out, &bad, e);
	if (rc == E_UNSUPPORTED) {
		out->len = was;
		return decode_guess(data, len, out, r, e);
	}
	if (rc == OK && bad > 0)
		snprintf(r->note, sizeof r->note, "%zu places are not valid %.30s", bad, label);
	return rc;
}

int charset_decode(const char *data, size_t len, const char *declared, struct buf *out, struct charset_result *r,
	struct err *e)
{
	size_t mark = 0, zeros, was = out->len;
	const char *wide = wide_by_mark(data, len, &mark);
	int rc;

	memset(r, 0, sizeof *r);
	if (!wide)
		wide = wide_by_zeros(data, len);
	if (wide)
		return decode_wide(data + mark, len - mark, wide, out, r, e);
	if (is_binary(data, len, &zeros)) {
		r->binary = 1;
		return OK;
	}
	rc = decode_bytes(data, len, declared, out, r, e);
	if (rc == OK && (zeros || memchr(data, '\b', len)))
		mend_controls(out, was);
	if (rc == OK && zeros && !r->note[0])
		snprintf(r->note, sizeof r->note, "%zu NUL bytes are read as blanks", zeros);
	return rc;
}

/* ---- set-up ---- */

/* iconv loads the module of an encoding when it is first asked for it, and keeps it while a converter is open. */
static const char *const modules[] = { "UTF-16LE", "UTF-16BE", "UTF-32LE", "UTF-32BE", "UTF-7", "CP1250", "CP1251", "CP1252",
	"CP1253", "CP1254", "CP1255", "CP1256", "CP1257", "CP1258", "CP874", "CP932", "CP949", "SHIFT_JIS", "EUC-JP", "EUC-KR",
	"EUC-TW", "GB18030", "GBK", "GB2312", "HZ-GB-2312", "BIG5", "BIG5-HKSCS", "ISO-2022-JP", "ISO-2022-KR", "ISO-2022-CN",
	"KOI8-R", "KOI8-U", "ISO-8859-1", "ISO-8859-2", "ISO-8859-3", "ISO-8859-4", "ISO-8859-5", "ISO-8859-6", "ISO-8859-7",
	"ISO-8859-8", "ISO-8859-9", "ISO-8859-10", "ISO-8859-11", "ISO-8859-13", "ISO-8859-14", "ISO-8859-15", "ISO-8859-16",
	"TIS-620", "MACINTOSH", "MAC-CYRILLIC", "IBM437", "IBM850", "IBM852", "IBM855", "IBM866", "VISCII", "GEORGIAN-PS",
	"JOHAB" };
enum { MODULES = sizeof modules / sizeof *modules };
static iconv_t held[MODULES];
static int is_held;

void charset_prepare(void)
{
	for (size_t i = 0; i < MODULES && !is_held; i++)
		held[i] = iconv_open("UTF-8", modules[i]);      /* one that this libc lacks stays unknown */
	is_held = 1;
}

void charset_finish(void)
{
	for (size_t i = 0; i < MODULES && is_held; i++)
		if (held[i] != (iconv_t)-1)
			iconv_close(held[i]);
	is_held = 0;
}
