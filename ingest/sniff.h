/* sniff.h: what a file is, from its bytes (libmagic). */
#ifndef INGEST_SNIFF_H
#define INGEST_SNIFF_H
#include <stddef.h>
#include "base/err.h"

enum { SNIFF_MIME_MAX = 96, SNIFF_WORDS_MAX = 64 };
struct sniff {
	char mime[SNIFF_MIME_MAX];      /* "application/pdf"; "application/octet-stream" when nothing is known */
	char words[SNIFF_WORDS_MAX];    /* "PDF document", for people; "" when nothing is known */
};
/* Fills out from the beginning of a file. Never fails: what cannot be told is unknown. Thread-safe. */
void sniff(const char *data, size_t len, struct sniff *out);

/* Loads the database, so that sniff opens no file later; idempotent, thread-safe. E_IO: there is none. */
int sniff_prepare(struct err *e);
void sniff_finish(void);

#endif
