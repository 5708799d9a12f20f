/* stream.h: token bytes to text that may be shown: whole UTF-8, and nothing that a stop text might take back.
 * Thread: one at a time. */
#ifndef GENERATE_STREAM_H
#define GENERATE_STREAM_H
#include <stddef.h>
#include "base/buf.h"
#include "generate/generate.h"

struct stream {
	struct buf *text;            /* borrowed: everything written, whole UTF-8 */
	size_t sent;                 /* bytes of text handed to on_text */
	char part[4];                /* bytes of a code point that is not whole yet */
	size_t part_n;
	const char *const *stops;    /* NULL-terminated or NULL; empty ones are ignored. Borrowed */
	gen_text_fn on_text;         /* or NULL */
	void *ctx;
	int cancelled;               /* on_text said so */
};

/* Appends a token's bytes; invalid ones become U+FFFD. *stopped: a stop text is complete; text is cut before it.
 * Returns OK, E_LIMIT or E_MEMORY. */
int stream_put(struct stream *s, const char *bytes, size_t n, int *stopped);
void stream_end(struct stream *s);   /* hands out what was held back; a code point that was never finished is dropped */

#endif
