/* draft.h: of generate/ alone. Guessing the next tokens by looking them up (Saxena 2023, prompt lookup decoding): what
 * followed the last time the text ended in the same three, or two, tokens. Answers that quote their passages are
 * guessed well. A guess costs a scan of the text; trying it costs rows of a pass, and whether that pays is
 * reckoned from how often guesses of this text came true, tried or not.
 * Thread: one at a time. Allocates nothing. */
#ifndef GENERATE_DRAFT_H
#define GENERATE_DRAFT_H
#include <stddef.h>
#include <stdint.h>

enum { DRAFT_MAX = 16, DRAFT_SEEN = 3 };         /* tokens of a draft; longest sequence of tokens looked for */

struct draft {                                   /* of one text */
	int32_t ids[DRAFT_MAX];                  /* the guess */
	size_t n;                                /* its tokens; 0: none */
	size_t seen;                             /* tokens that led to it */
	double hits[DRAFT_SEEN + 1], tries[DRAFT_SEEN + 1]; /* of tokens guessed, by seen; old ones fade */
};

void draft_init(struct draft *d);
/* Guesses at most `most` tokens that follow ids[0, n). */
void draft_find(struct draft *d, const int32_t *ids, size_t n, size_t most);
/* What became of the guess: so many of its first `tried` tokens came true. */
void draft_learn(struct draft *d, size_t tried, size_t true_n);
/* Tokens expected to come true when m of the guess are tried. */
double draft_expect(const struct draft *d, size_t m);

#endif
