/* charset.h: bytes of a text file to UTF-8. */
#ifndef INGEST_CHARSET_H
#define INGEST_CHARSET_H
#include <stddef.h>
#include "base/buf.h"
#include "base/err.h"

enum { CHARSET_NOTE_MAX = 120 };
struct charset_result {
	int binary;                     /* 1: no text (NULs, many control characters); nothing was appended */
	char note[CHARSET_NOTE_MAX];    /* why the text may not be what was meant, "" when all is well */
};
/* Appends data as valid UTF-8 to out, byte order mark removed. declared: the encoding the file itself names, or NULL.
 * Order: byte order mark; UTF-16 and UTF-32 seen by their zero bytes; declared; UTF-8; UTF-8 with a few broken bytes,
 * each U+FFFD; windows-1252. Everything but the clean cases leaves a note. E_LIMIT, E_MEMORY. Thread-safe. */
int charset_decode(const char *data, size_t len, const char *declared, struct buf *out, struct charset_result *r,
	struct err *e);
/* "PDF", "ZIP archive" … when data begins like a known binary format, else NULL; static storage. */
const char *charset_magic(const char *data, size_t len);

#endif
