/* charset.c: from the bytes of a text file to UTF-8. Owns the way to libc's iconv and the table of file signatures.
 *
 * A byte order mark is believed first. Then UTF-16 and UTF-32 without one are known by where their zero bytes lie, and
 * anything else with zero bytes or many control characters is binary. What is left is what the file declares, UTF-8,
 * nearly UTF-8 (a cut or a mixed-in byte), or a single-byte text, which is read as windows-1252: for the western
 * languages that is right, and for the rest the note says what was done. Signatures are those of the formats'
 * specifications as the file(1) manual lists them. Threads: no state. */
#include "ingest/charset.h"

#include <errno.h>
#include <iconv.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"

enum { SAMPLE = 4096, LABEL_MAX = 40 };

static const struct { size_t at, len; const char *bytes, *name; } signatures[] = {
	{ 0, 5, "%PDF-", "PDF" }, { 0, 4, "PK\003\004", "ZIP archive" }, { 0, 4, "PK\005\006", "ZIP archive" },
	{ 0, 4, "\177ELF", "ELF program" }, { 0, 8, "\211PNG\r\n\032\n", "PNG image" }, { 0, 3, "\377\330\377", "JPEG image" },
	{ 0, 6, "GIF87a", "GIF image" }, { 0, 6, "GIF89a", "GIF image" }, { 0, 4, "II*\0", "TIFF image" },
	{ 0, 4, "MM\0*", "TIFF image" }, { 0, 3, "\037\213\010", "gzip archive" }, { 0, 4, "BZh9", "bzip2 archive" },
	{ 0, 6, "\375" "7zXZ\0", "xz archive" }, { 0, 4, "\050\265\057\375", "zstd archive" },
	{ 0, 6, "7z\274\257\047\034", "7-Zip archive" }, { 0, 6, "Rar!\032\007", "RAR archive" },
	{ 0, 8, "\320\317\021\340\241\261\032\341", "Office document of the old format" }, { 0, 5, "{\\rtf", "RTF" },
	{ 0, 15, "SQLite format 3", "SQLite database" }, { 0, 4, "OggS", "Ogg media" }, { 0, 4, "fLaC", "FLAC audio" },
	{ 0, 3, "ID3", "MP3 audio" }, { 4, 4, "ftyp", "MP4 media" }, { 8, 4, "WEBP", "WebP image" },
	{ 8, 4, "WAVE", "WAV audio" }, { 8, 4, "AVI ", "AVI video" }, { 0, 4, "\032\105\337\243", "Matroska media" },
	{ 0, 4, "\312\376\272\276", "Java class" }, { 0, 4, "\0asm", "WebAssembly" }, { 257, 5, "ustar", "tar archive" },
};

/* Signatures that could begin a sentence ("ID3 tags are") count only with a zero byte near. */
static int is_wordy(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') || (s[i] >= '0' && s[i] <= '9') || s[i] == ' '))
			return 0;
	return 1;
}

const char *charset_magic(const char *data, size_t len)
{
	for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++)
		if (len >= signatures[i].at + signatures[i].len
			&& memcmp(data + signatures[i].at, signatures[i].bytes, signatures[i].len) == 0
			&& (!is_wordy(signatures[i].bytes, signatures[i].len) || memchr(data, 0, len < SAMPLE ? len : SAMPLE)))
			return signatures[i].name;
	return NULL;
}

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

static int is_binary(const char *data, size_t len)
{
	size_t controls = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)data[i];

		if (c == 0)
			return 1;
		controls += (c < 0x20 && c != '\n' && c != '\r' && c != '\t' && c != '\f') || c == 0x7F;
	}
	return controls > 0 && controls >= len / 20;
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
		rc = put_cp1252(data, len, out);
		snprintf(r->note, sizeof r->note, "decoded as windows-1252");
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

int charset_decode(const char *data, size_t len, const char *declared, struct buf *out, struct charset_result *r,
	struct err *e)
{
	size_t mark = 0, bad = 0, was = out->len;
	const char *wide = wide_by_mark(data, len, &mark), *label;
	char name[LABEL_MAX];
	int rc;

	memset(r, 0, sizeof *r);
	if (!wide)
		wide = wide_by_zeros(data, len);
	if (wide)
		return decode_wide(data + mark, len - mark, wide, out, r, e);
	if (is_binary(data, len)) {
		r->binary = 1;
		return OK;
	}
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
