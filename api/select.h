/* select.h: the sentences that matter. Every quotable sentence of the retrieved passages becomes a unit, scored against
 * the question by meaning, by words and by where the reader model sees the answer; the best go into the prompt, with
 * their neighbours, under a token budget.
 * Thread: the caller's; everything lives in the arena. */
#ifndef API_SELECT_H
#define API_SELECT_H
#include <stddef.h>
#include "api/retrieve.h"
#include "api/table.h"
#include "base/words.h"

struct unit {                        /* one quotable sentence, table row or list item */
	size_t passage;              /* index into retrieval.passages */
	struct span range;           /* bytes in the document's text */
	const char *text;            /* borrowed from the snapshot */
	size_t len;
	const struct word *words; size_t word_n;
	const float *vec;            /* (dim) */
	double cosine;               /* to the query it is nearest to */
	double coverage;             /* share of the question's content words it holds, weighted by rarity, 0 … 1 */
	struct unit_answer { struct span range; double logit; } answers[READER_SPANS]; /* that the reader sees in it, best first: */
	size_t answer_n;             /* bytes in the document's text, and the logit over "no answer" */
	double score;                /* how likely it is to hold the answer, all together: higher is likelier, no scale of its own */
	struct table_row *row;       /* what it is in its table; NULL: no row of one */
	const char *said; size_t said_len; /* as it is shown: a row with the names of its columns, else its text */
	const struct word *names; size_t name_n; /* words of these names that stand elsewhere; belong to what it says */
	double held;                 /* share of the question's words in the row's cells (rows.h) */
	int mute;                    /* ends with a question mark, names a table's columns or has another version: says nothing, so it is never quoted */
	const char *instead;         /* id of the version of its document for whose sentence it is mute; NULL: none */
	int chosen;                  /* part of the prompt */
};
struct word_weight { uint64_t stem; double weight; uint32_t df, last; }; /* a slot of a hash table; df 0: free */
struct selection {
	struct unit *units; size_t unit_n;   /* passage order, then text order; a sentence that two chunks share stands once */
	const struct word *question; size_t question_n;
	size_t *passages; size_t passage_n;  /* chosen passages in prompt order: mark [i+1] is passages[i] */
	const size_t *order;         /* (unit_n) the units, best first; those that are mute are last */
	size_t lead_n;               /* so many of them, in front, are what an answer rests on: one, or one a part of the question */
	int yes_no;                  /* the question wants a yes or a no (followup.h) */
	int read;                    /* the reader model has read the passages */
	struct reader_model *reader; /* that claims are held against units by; NULL: by words and vectors alone */
	struct embedder *embedder;   /* that made the vectors of units */
	int dim;
	struct word_weight *weights; size_t weight_n; /* rarity over the units (select_weight); a power of two slots */
};

/* Units of all passages, scored. question: UTF-8. E_MEMORY and errors of the embedder. */
int select_units(struct service *s, const struct retrieval *r, const char *question, struct arena *a, struct selection *out, struct err *e);
/* Puts the units in order anew after their scores were changed. E_MEMORY. */
int select_rank(struct selection *sel, struct arena *a, struct err *e);
/* Puts the best unit of each part of a question in front, the best of these first. part_of: the part that each query looked
 * for (passage.query), -1: all of them. E_MEMORY. */
int select_lead(struct selection *sel, const struct retrieval *r, const int *part_of, size_t part_n, struct arena *a, struct err *e);
/* Marks the units to show under `budget` tokens, at most `passages_max` passages (≤ 9), best first. May be called again
 * with another budget. */
int select_choose(size_t budget, size_t passages_max, struct arena *a, struct selection *sel, struct err *e);
/* Marks unit u alone. E_MEMORY. */
int select_only(struct selection *sel, size_t u, struct arena *a, struct err *e);
/* The chosen units as the prompt shows them: "[1] Title — Heading\ntext". *out in the arena. */
int select_print(const struct retrieval *r, const struct selection *sel, struct arena *a, const char **out, size_t *len, struct err *e);
/* How rare a word is among the units: log(1 + N/df), 0 for function words. */
double select_weight(const struct selection *sel, const struct word *w);
/* Where a yes or a no is wanted: the sentence of the same paragraph, at most two away, with most of the question's words that unit u
 * lacks, so that a rule is not cited without its exception, nor the exception without the rule; (size_t)-1: none has many. */
size_t select_beside(const struct selection *sel, size_t u);
/* 1 when the unit, or the name of a column it is a row of, has the word with this stem. */
int select_has(const struct unit *u, uint64_t stem);
/* Inner product of two vectors (dim): their cosine, for the embedder's are of length 1. */
double select_cosine(const struct selection *sel, const float *x, const float *y);

#endif
