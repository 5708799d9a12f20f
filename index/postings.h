/* postings.h: PRIVATE to index/. Which chunks hold which words: the changes of one write, gathered in memory and applied
 * term by term; and what rebuilds and checks need of the table. The layout is on the format page (record.c). */
#ifndef INDEX_POSTINGS_H
#define INDEX_POSTINGS_H
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/words.h"
#include "index/record.h"
#include "index/store.h"

/* ---- the words of a chunk ---- */
/* What is indexed of a chunk: its document's title, its heading and its text, stemmed by the language of the document's text
 * (words_language). Borrowed. */
struct chunk_words { const char *title, *heading, *text; size_t len; enum words_language language; };
/* One call a word; term: 1 … TERM_MAX bytes without NUL; counts 0: a pair of neighbours that is found like a word but does
 * not count for the length. Anything but OK ends the walk. */
int chunk_words_visit(const struct chunk_words *c, int (*on_term)(void *ctx, const char *term, size_t n, int counts),
	void *ctx, struct err *e);
/* A word of a query, in the same form. stop: a function word; at: where the word begins; other: as a language other than
 * English stems it. */
struct query_word { const char *term; size_t n; uint32_t at; int stop, other; };
/* One call for each word as English has it, then as each of the languages (a bit each, 1 << WORDS_…) does. A chunk is in one
 * language, so it holds one of a word's forms. */
int query_words_visit(const char *query, size_t len, uint32_t languages, int (*on_term)(void *ctx, const struct query_word *word), void *ctx,
	struct err *e);
/* The same in one language alone. */
int query_words_in(enum words_language language, const char *query, size_t len, int (*on_term)(void *ctx, const struct query_word *word),
	void *ctx, struct err *e);
/* *out: the languages, English aside, that chunks of the collection are in. A chunk of one has a term that no word is,
 * LANGUAGE_MARK and its code. */
enum { LANGUAGE_MARK = 1 };
size_t language_term(enum words_language language, char out[8]); /* its length */
int languages_find(struct txn *t, uint32_t coll, uint32_t *out, struct err *e);
/* The query's word that begins at `at`, with case and marks folded but not stemmed, in the arena. E_MEMORY. */
int query_word_folded(const char *query, size_t len, uint32_t at, struct arena *a, const char **out, struct err *e);
/* *out: never 0; another number when the same text gives other terms (a new version of this code or of a library). */
int words_fingerprint(uint32_t *out, struct err *e);

/* ---- changes ---- */
struct postings;
struct write;
int postings_new(struct postings **out, struct err *e);
void postings_free(struct postings *p);                     /* forgets what was not flushed; NULL is allowed */
/* Adds (remove 0) or takes away the words of a chunk; *words: how many count for its length. Chunks are added in
 * ascending order of id. E_MEMORY. */
int postings_chunk(struct postings *p, uint32_t coll, uint64_t chunk, const struct chunk_words *c, int remove,
	uint32_t *words, struct err *e);
int postings_full(const struct postings *p);                /* 1: flush before more */
/* Writes what was gathered; w, where not NULL, is told what is taken away (wordset.h). *damaged becomes 1 when a damaged block was found and given up: its postings are lost until
 * the table is built anew. */
int postings_flush(struct postings *p, struct txn *t, struct write *w, int *damaged, struct err *e);

/* Instead of a flush: holds what was added against the table and forgets it. One call of `wrong` a posting that is
 * missing there or differs; *same counts the others. */
int postings_compare(struct postings *p, struct txn *t, void (*wrong)(void *ctx, uint64_t chunk, const char *how), void *ctx,
	uint64_t *same, struct err *e);

/* ---- the slow ways, for what can't be read any more ---- */
/* Takes every posting of chunks [first, first + n) away by walking the whole collection; *words: their lengths. */
int postings_purge(struct txn *t, uint32_t coll, uint64_t first, uint32_t n, uint64_t *words, int *damaged, struct err *e);
int postings_drop(struct txn *t, uint32_t coll, struct err *e); /* all of a collection */
/* Makes the whole table anew from the stored texts and sets the word counts of all collections. */
int postings_rebuild(struct txn *t, struct err *e);

#endif
