/* told.h: who may name a folder, who knows of it and of its jobs, and what they are told. Thread-safe. */
#ifndef API_TOLD_H
#define API_TOLD_H
#include "api/auth.h"
#include "api/service.h"
#include "base/json.h"

/* May the caller name this folder with these groups, and know of it? Who sees every document may; others need a group of
 * whatever acl.rules, acl.default and acl give documents at, or below, the path. */
int folder_is_for(const struct service *s, const struct caller *c, const char *path, const char *const *acl, size_t acl_n,
	int has_acl);
/* The same of a source or job as it is noted; every path must be for the caller. */
int told_of(const struct service *s, const struct caller *c, const cJSON *x);

/* Notes in the job who makes it, and which groups that one has: "maker". 0: out of memory. */
int told_maker_put(cJSON *job, const struct caller *c);
/* May the caller stop it? Its maker may, and every admin. */
int told_may_stop(const cJSON *job, const struct caller *c);
/* Takes the maker out again, and from who sees less than the maker all that the job found: counts and summary are null,
 * problems empty, an error has its code and no message of its own. */
void told_cut(cJSON *job, const struct caller *c);

#endif
