/* similar.h: PRIVATE to index/. Indexed words that are written nearly like a given one, or go on from it. Thread: the
 * dictionary's. */
#ifndef INDEX_SIMILAR_H
#define INDEX_SIMILAR_H
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"
#include "index/store.h"
#include "index/wordset.h"

enum { SIMILAR_MAX = 64 };
/* A collection's words: those of a view in memory where that has all, else by a cursor that is open on T_POST. */
struct dictionary {
	const struct word_view *view;
	struct cursor *c;
	uint32_t coll;
	/* For a reader who does not see all: how many chunks with the term are theirs; a word of none is not there. It may move the
	 * cursor. NULL: all chunks are. */
	int (*seen)(void *ctx, const char *term, size_t n, uint64_t *count, struct err *e);
	void *ctx;
};
struct similar { const char *text; size_t len; unsigned edits; }; /* edits 0: it goes on from the word; text: the arena's or the view's */

/* Edits that a word of so many characters is granted: 4 … 7: one, from 8 on two; fewer, or with a digit: none. */
unsigned similar_edits(const char *term, size_t len);
/* Words of the collection that begin with `term`, which has `least` characters or more, none otherwise: the SIMILAR_MAX that most
 * chunks hold, in byte order, in the arena; the word itself is not among them. Looks at a bounded number. */
enum { SIMILAR_FROM = 3 };           /* characters from which a word of a search is taken for unfinished */
int similar_longer(const struct dictionary *d, const char *term, size_t len, size_t least, struct arena *a, struct similar *out, size_t *n, struct err *e);
/* Words with the same first character that are at most `edits` apart: characters put in, left out, changed, or two
 * neighbours changed over (optimal string alignment). The nearest come first, then byte order. Looks at a bounded number
 * of words. */
int similar_near(const struct dictionary *d, const char *term, size_t len, unsigned edits, struct arena *a, struct similar *out,
	size_t *n, struct err *e);

/* Words that may be meant by a mistyped one: near to its stem or, as it stands, to what is indexed, since a mistake may lie
 * where the stem was cut ("honny" is "honni", far from "honey"), or with the i that stems have for a last y ("libray" is far
 * from "librari"). folded: the word as it stands, case and marks folded. Each at most similar_edits away, nearest first, at
 * most SIMILAR_MAX. */
int similar_meant(const struct dictionary *d, const char *stem, size_t stem_n, const char *folded, size_t folded_n, struct arena *a,
	struct similar *out, size_t *n, struct err *e);

#endif
