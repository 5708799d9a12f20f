/* wire.h: what a parser's process and its parent say to each other. Both are the same program on the same machine, so
 * numbers go as they lie in memory. The parent takes every byte of a reply for hostile. */
#ifndef INGEST_WIRE_H
#define INGEST_WIRE_H
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "ingest/extract.h"

enum { WIRE_REQUEST = 0x46505251, WIRE_REPLY = 0x46505250 };
enum wire_what { WIRE_FILE = 1, WIRE_BOXES = 2 };       /* a file's bytes; a PDF's boxes as pdftotext writes them */

struct wire_request {           /* then name_len and data_len bytes */
	uint32_t magic, what;
	uint64_t name_len, data_len, text_bytes_max;
};
struct wire_reply {             /* then len bytes: wire_put's when status is OK, else the error's message */
	uint32_t magic, status;
	uint64_t len;
};

/* Appends x. E_MEMORY, E_LIMIT. */
int wire_put(struct buf *out, const struct extracted *x, struct err *e);
/* The opposite, into a fresh x that the caller clears in every case. E_FORMAT when anything is not as extract.h says it
 * is: then the sender is not to be trusted any more. E_MEMORY. */
int wire_get(struct extracted *x, const char *data, size_t len, size_t text_bytes_max, struct err *e);

#endif
