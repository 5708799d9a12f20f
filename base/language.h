/* language.h: the language of a text. */
#ifndef BASE_LANGUAGE_H
#define BASE_LANGUAGE_H
#include <stddef.h>

/* ISO 639-1 code by script and by function words; "en" when nothing tells. For questions, where one word may be all there
 * is. Static storage. Thread-safe. */
const char *language_of(const char *text, size_t len);
/* 1 where that is English, which what tells nothing is. */
int language_is_english(const char *text, size_t len);
/* The same of a document, by its first 2 KiB: what is not clearly another language is "en". The same bytes always have the
 * same language: the index stems by it. */
const char *language_of_document(const char *text, size_t len);

#endif
