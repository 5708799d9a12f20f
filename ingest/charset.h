/* charset.h: bytes of a text file to UTF-8. */
#ifndef INGEST_CHARSET_H
#define INGEST_CHARSET_H
#include <stddef.h>
#include "base/buf.h"
#include "base/err.h"

enum { CHARSET_NOTE_MAX = 120 };
struct charset_result {
	int binary;                     /* 1: no text (NULs at its beginning or many, many control characters); nothing was appended */
	char note[CHARSET_NOTE_MAX];    /* why the text may not be what was meant, "" when all is well */
};
/* Appends data as valid UTF-8 to out, byte order mark removed. declared: the encoding the file itself names, or NULL.
 * Order: byte order mark; UTF-16 and UTF-32 seen by their zero bytes; declared; UTF-8; UTF-8 with a few broken bytes,
 * each U+FFFD; an old encoding as its bytes suggest. Overstrikes of printers are resolved, rare NULs are blanks. A note is left where text was lost or an encoding is not known.
 * E_LIMIT, E_MEMORY. Thread-safe. */
int charset_decode(const char *data, size_t len, const char *declared, struct buf *out, struct charset_result *r,
	struct err *e);

/* Loads what decoding needs, so that no file is opened later. Once a process, before other threads decode. */
void charset_prepare(void);
void charset_finish(void);

#endif
