/* version.h: is one document a version of another, and which is newer? "Handbook 2023" and "Handbook 2025", policy-v1.txt and
 * policy-v2.txt, two documents of one title whose meta has different dates. Thread: any, no state. */
#ifndef API_VERSION_H
#define API_VERSION_H
#include <stddef.h>
#include "api/select.h"

/* > 0: b is the newer version; < 0: a is; 0: they are not versions of one another, or nothing tells which is newer. */
int version_compare(const struct doc *a, const struct doc *b);
/* 1: the question asks for the version d, older than `newer`: it names its year, month or
 * number and not the other's, or asks for the old one of that name ("the previous handbook"). */
int version_asked(const char *question, const struct doc *d, const struct doc *newer);
/* Sentences that say the same as one of a newer version, or the same with other figures, are mute, and the newer takes the place of
 * the best of them; where the question asks for the older version, the other way round. Scores must be known. */
void versions_settle(struct selection *sel, const struct retrieval *r, const char *question);

#endif
