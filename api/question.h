/* question.h: how the text of a question may be kept: as it was asked (audit.questions = keep), or as a keyed hash that
 * tells two askings of the same apart from others, and nothing else. Whoever stores questions stores them by this. */
#ifndef API_QUESTION_H
#define API_QUESTION_H
#include "api/service.h"
#include "base/json.h"

enum { QUESTION_HASH_LEN = 64 };     /* hex digits, without the NUL */

/* The form in which questions are compared: NFC, without white space at its ends. In the arena. E_MEMORY. */
int question_normal(const char *text, struct arena *a, const char **out, struct err *e);
/* HMAC-SHA-256 of the normal form under the store's own key, which the first call of a store makes: it waits for a
 * writer then, and must not come from a thread that writes (E_BUSY). Errors of the store. Thread-safe. */
int question_hash(struct service *s, const char *text, char hex[QUESTION_HASH_LEN + 1], struct err *e);
/* Puts "question" (the text) or "question_hash" into o, as the setting says. E_MEMORY and errors as above. */
int question_stored(struct service *s, const char *text, cJSON *o, struct err *e);
int question_is_kept(const struct service *s);           /* the setting: texts are kept */

#endif
