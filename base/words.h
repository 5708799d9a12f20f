/* words.h: the words of a text with their places, in a form that other wordings of the same word share: case and marks
 * folded (unicode.h), stemmed by Snowball (libstemmer) in the text's language, numbers without thousands commas. Characters
 * of scripts without blanks (Chinese, Japanese, Thai …) and of Korean are words of their own. Used to mark query words, to weigh sentences and to verify what an answer says. */
#ifndef BASE_WORDS_H
#define BASE_WORDS_H
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"

struct word {
	uint32_t off, len;   /* bytes in the text it came from */
	uint64_t stem;       /* hash of the folded, stemmed word; equal for equal words */
	uint8_t stop;        /* 1: function word ("the", "of") of English */
	uint8_t number;      /* 1: has a digit */
	uint8_t capital;     /* 1: begins with an upper-case letter */
	uint8_t negation;    /* 1: "not", "no", "never" and kin */
	uint8_t alone;       /* 1: one character that is a word of its own, in scripts without blanks */
	uint8_t asks;        /* 1: "who", "what", "how" and kin: a question with one wants more than yes or no */
};

/* Languages of Latin letters that are stemmed by rules of their own; words of other scripts are stemmed by their script
 * (Arabic, Cyrillic as Russian) in all of them, and what has no rules as English. */
enum words_language {
	WORDS_ENGLISH, WORDS_DANISH, WORDS_DUTCH, WORDS_FINNISH, WORDS_FRENCH, WORDS_GERMAN, WORDS_HUNGARIAN, WORDS_ITALIAN,
	WORDS_NORWEGIAN, WORDS_PORTUGUESE, WORDS_ROMANIAN, WORDS_SPANISH, WORDS_SWEDISH, WORDS_TURKISH, WORDS_LANGUAGES
};
const char *words_code(enum words_language l);                 /* "de"; static */
enum words_language words_language_of(const char *code);       /* WORDS_ENGLISH where it has no rules */
enum words_language words_language(const char *text, size_t len); /* of a document (language_of_document); the same for the same bytes */

/* Words of text (valid UTF-8, under 4 GiB) in order, stemmed as English; *out in the arena. E_MEMORY. Thread-safe. */
int words_of(const char *text, size_t len, struct arena *a, struct word **out, size_t *n, struct err *e);
int words_of_in(enum words_language language, const char *text, size_t len, struct arena *a, struct word **out, size_t *n, struct err *e);
/* The same words one by one. term: the folded, stemmed word itself, which stem is the hash of; NUL-free, 0 … 16 KiB, borrowed
 * during the call. Anything but OK from on_word ends the walk and is returned as it is. E_MEMORY. Thread-safe. */
int words_visit(const char *text, size_t len, int (*on_word)(void *ctx, const struct word *w, const char *term, size_t term_len),
	void *ctx, struct err *e);
int words_visit_in(enum words_language language, const char *text, size_t len,
	int (*on_word)(void *ctx, const struct word *w, const char *term, size_t term_len), void *ctx, struct err *e);
/* 1 when the word is one of a list written " one two three ", blanks around each. "" is in none. */
int words_listed(const char *list, const char *word);
/* 1 when it has a digit, 0 to 9. */
int text_has_digit(const char *text, size_t len);
/* 1 when the word with this stem is among w. */
int words_have(const struct word *w, size_t n, uint64_t stem);

#endif
