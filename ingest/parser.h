/* parser.h: a file through the pool of parsers, which ingest.h opens and closes: warm workers, each a child (child.h)
 * in a sandbox (sandbox.h) that extracts one file at a time.
 *
 *   parse_start … parse_wait, or parsers_extract for both
 *
 * A worker that crashes, hangs, takes too much memory or answers nonsense costs its own file alone: that one is failed
 * with the reason in plain words, and the next gets a fresh worker. Nothing is started before the first file; workers
 * die with this process, however it ends. Thread-safe: several runs may share one pool. */
#ifndef INGEST_PARSER_H
#define INGEST_PARSER_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "ingest/extract.h"
#include "ingest/ingest.h"

/* One file on its way. The caller owns it and what it points to until parse_wait returned. */
struct parse {
	const char *name, *data; size_t len, text_bytes_max;    /* as extract_file has them */
	struct extracted x;             /* after parse_wait, whatever it returned: the caller clears it */
	/* private */
	int state, rc;
	volatile int cancel;
	struct err e;
	struct parse *next;
};
/* Puts it in the queue; returns at once. E_MEMORY, E_IO (no thread): then there is nothing to wait for. */
int parse_start(struct parsers *p, struct parse *q, struct err *e);
/* What became of it: OK (see x.verdict), E_MEMORY, or E_CANCELLED when *cancel (may be NULL) was set meanwhile. */
int parse_wait(struct parsers *p, struct parse *q, const volatile int *cancel, struct err *e);
void parse_drop(struct parsers *p, struct parse *q);    /* a started one nobody waits for: cancelled, cleared */
int parsers_extract(struct parsers *p, struct extracted *x, const char *name, const char *data, size_t len,
	size_t text_bytes_max, const volatile int *cancel, struct err *e);

#endif
