/* spell.h: a question as it was meant, where a word of it is a slip of the keyboard. Thread: any, no state. */
#ifndef API_SPELL_H
#define API_SPELL_H
#include "api/service.h"
#include "base/arena.h"

/* *out: the question with each word that no passage of r->collection (required) holds which the reader may see, and that is no
 * common word, in the spelling of the word that it is a slip from, if such a one stands in these passages: an edit away, two
 * from nine letters on. What stands in quotation marks, has a digit, is in capitals or part of an address or a compound ("libarry-desk") stays as it is, and so
 * does a question in another language than English (language.h).
 * The question itself where nothing is changed; else in the arena. text: valid UTF-8. Errors of the index; E_MEMORY. */
int spell_read(struct service *s, const struct reader *r, const char *text, struct arena *a, const char **out, struct err *e);

#endif
