/* sentence.h: where sentences end. Rules over Unicode, no model: terminators . ! ? … and their CJK, Arabic and
 * Devanagari kin, closing quotes and brackets after them, abbreviations, initials, numbers, ordinals and URLs that do
 * not end one, a line break between blocks that always does. Used for chunks (what a citation may quote) and for
 * answers while they are written. */
#ifndef BASE_SENTENCE_H
#define BASE_SENTENCE_H
#include <stddef.h>

/* Finds the next sentence of text at or after *pos. Returns 1 and its range [*start, *end) without surrounding white
 * space, and moves *pos behind it; 0 at the end. text: valid UTF-8, borrowed. A lone "\n" is white space, an empty
 * line ends a sentence. Thread-safe. */
int sentence_next(const char *text, size_t len, size_t *pos, size_t *start, size_t *end);
/* 1 when text[0,len) ends a sentence given what follows it (next, next_len; next_len 0: nothing follows, the text is
 * complete). For text that is still being written. */
int sentence_ends(const char *text, size_t len, const char *next, size_t next_len);

#endif
