/* followup.h: does a turn of a conversation stand alone, and what does it take over from the turns before? Rules for
 * English, German, Spanish and French; in other languages only what is very short counts as a follow-up.
 * Thread: any, no state; what comes out lives in the arena. */
#ifndef API_FOLLOWUP_H
#define API_FOLLOWUP_H
#include <stddef.h>
#include "base/arena.h"
#include "base/err.h"

enum followup {
	FOLLOWUP_NONE,       /* it stands alone: a new topic, or all is named */
	FOLLOWUP_REFERS,     /* a pronoun stands for what was named before: "How do I use them?" */
	FOLLOWUP_SHORT       /* it goes on from what was said: "And in winter?", "any awards?" */
};
struct answer_turn;

/* Of a question in the language with this code (language.h). E_MEMORY. */
int followup_of(const char *question, size_t len, const char *language, struct arena *a, enum followup *out, struct err *e);
/* The same of a part of a question that asks several things, where an "and" at its beginning tells nothing: "And do you deliver to
 * Switzerland?" stands alone. */
int followup_of_part(const char *part, size_t len, const char *language, struct arena *a, enum followup *out, struct err *e);
/* Does the word (lower case) open a question? 1: a question word; 2: a verb that stands before its subject; 0: neither. */
int followup_asks(const char *language, const char *word);
/* 1 when the question is answered by yes or no: a verb opens it, no question word stands in it, and it offers no choice ("or").
 * E_MEMORY. */
int followup_yes_no(const char *question, size_t len, const char *language, struct arena *a, int *out, struct err *e);
/* How many words of it say what it is about, each once. E_MEMORY. */
int followup_content(const char *text, size_t len, const char *language, struct arena *a, size_t *n, struct err *e);
/* The n words (at most 32) that the turns are most about and the question lacks, of the latest turns first: what a person
 * said counts more than what was answered, late more than early, names more than other words. *out: words that stand side by
 * side in a turn, parted by ", " from others; "" when there are none. Only the beginning of a turn is read. E_MEMORY. */
int followup_terms(const char *question, const struct answer_turn *turns, size_t turn_n, const char *language, size_t n,
	struct arena *a, const char **out, struct err *e);
/* A turn that only names another subject ("And the parking garage?", "What about dogs?", "And in winter?"): the last question that a
 * person asked, with what it names in the place of the old subject, so that the old one is asked for no more. "" where the turn is
 * no such turn, or the place is not clear; English and German. E_MEMORY. */
int followup_swap(const char *question, const struct answer_turn *turns, size_t turn_n, const char *language, struct arena *a,
	const char **out, struct err *e);
/* 1 when every word of text that says something is among those of the question and the turns. E_MEMORY in e. */
int followup_covers(const char *text, const char *question, const struct answer_turn *turns, size_t turn_n, const char *language,
	struct arena *a, int *out, struct err *e);
/* 1 when text holds every word of the question that says something, numbers and names among them. */
int followup_keeps(const char *text, const char *question, const char *language, struct arena *a, int *out, struct err *e);

#endif
