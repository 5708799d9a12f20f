/* chunk.h: an extracted document to chunks: what is embedded, found and quoted. */
#ifndef INGEST_CHUNK_H
#define INGEST_CHUNK_H
#include <stddef.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "index/index.h"
#include "ingest/extract.h"

enum { UNIT_CP_MAX = 400 };     /* the longest quote the contract allows, code points */

struct chunk_options {
	int tokens;             /* budget of a chunk's text, at least 16 */
	int overlap_tokens;     /* of whole sentences repeated where a block is cut in mid-flow */
	int embed_tokens;       /* what the embedder takes, its two special tokens included; 0: no limit */
	/* Tokens of a text without special tokens. */
	size_t (*count)(const void *ctx, const char *text, size_t len);
	const void *ctx;
};

struct chunk_set {
	struct chunk_in *chunks; size_t n;      /* ascending by range; `sentences` point into units */
	struct span *units; size_t unit_n;
	struct arena strings;                   /* headings */
};

/* Cuts x into chunks. A chunk lies in one section (headings in a row belong to what follows them), holds whole
 * paragraphs, list items, rows of one page (the page of the first it may quote) while they fit the budget, and every character of the text that is not white space lies
 * in at least one. A block over the budget is cut between its quotable units, and the next chunk then begins with the
 * last of them again. Units: a list item (without its bullet), table row, line of code, or sentence, each at
 * most UNIT_CP_MAX code points (longer ones are cut at line breaks, clause borders, spaces); a heading is text of its
 * chunk but no unit, for it says nothing by itself. Linear in the text.
 * The caller clears s in every case. E_MEMORY. */
int chunk_document(struct chunk_set *s, const struct extracted *x, const struct chunk_options *o, struct err *e);
void chunk_set_clear(struct chunk_set *s);

/* Appends what is embedded for a chunk: a line of title and heading path (without repetition), then the chunk's text
 * without the headings it begins with. text: the document's. OK, E_LIMIT, E_MEMORY. */
int chunk_embed_text(const char *title, const char *text, const struct chunk_in *c, struct buf *out);

#endif
