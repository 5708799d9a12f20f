/* language.h: the language of a question, and what an abstention says in it. */
#ifndef API_LANGUAGE_H
#define API_LANGUAGE_H
#include <stddef.h>

/* ISO 639-1 code by script and by function words; "en" when nothing tells. Static storage. Thread-safe. */
const char *language_of(const char *text, size_t len);
/* "The documents do not answer this question." in that language; English for a language it lacks. Static. */
const char *language_abstain(const char *code);

#endif
