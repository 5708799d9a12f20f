/* gist.h: do two passages say the same? Copies of a page, with other white space, case or a few words edited, are one to a
 * reader; a passage with another number or a "not" more is not. Thread: any; everything lives in the arena. */
#ifndef API_GIST_H
#define API_GIST_H
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/words.h"

struct gist {
	uint64_t *runs; size_t run_n;        /* hashes of three words in a row, ascending, each once */
	uint64_t *numbers; size_t number_n;  /* stems of words with digits, ascending, each once */
	size_t negations;
};

/* Of a text (UTF-8) in that language. E_MEMORY. */
int gist_take(const char *text, size_t len, enum words_language language, struct arena *a, struct gist *out, struct err *e);
/* 1: what the later text says stands in the earlier one: they share most runs of words, and the later one has no number that
 * the earlier lacks and as many negations. Pure. */
int gist_repeats(const struct gist *later, const struct gist *earlier);

#endif
