/* fresh.h: what tests of the program over a store of its own share. */
#ifndef TESTS_API_FRESH_H
#define TESTS_API_FRESH_H
#include "api/service.h"

/* Defaults with a data folder of the test's own, the real embedder on two threads, and a generator by its file (NULL: none). Skips
 * the test where a model was not fetched. */
void fresh_conf(struct conf *c, const char *generator);
/* Puts a text into the collection "default" under its title; checks that it is stored, as DOC_ADDED or DOC_UPDATED, and
 * returns which. fresh_put_for: for one group (NULL: everybody); id, 64 bytes or NULL, gets the document's. */
int fresh_put(struct service *s, const char *title, const char *text);
int fresh_put_for(struct service *s, const char *title, const char *text, const char *group, char *id);

#endif
