/* acl.h: the settings that give documents their groups and limit which folders may be named: text to tables.
 * Thread-safe; tables live in the arena. */
#ifndef API_ACL_H
#define API_ACL_H
#include "base/arena.h"
#include "ingest/ingest.h"

/* acl.default: "staff" or "hr, board"; "" is no group. E_USAGE. */
int acl_default_parse(const char *text, struct arena *a, struct ingest_acl *out, struct err *e);
/* acl.rules: "/srv/hr: hr,board; /srv/open:". Paths are absolute and are folded as path_absolute does. E_USAGE names
 * the rule: no path or no colon, a bad group, a path twice. */
int acl_rules_parse(const char *text, struct arena *a, struct ingest_acl *out, struct err *e);
/* sources.roots: "/srv/share; /data": absolute folders, folded. E_USAGE. */
int roots_parse(const char *text, struct arena *a, const char *const **out, size_t *n, struct err *e);
/* The real paths of folders: links resolved, those that are not there as they are. E_MEMORY. */
int roots_resolve(const char *const *roots, size_t n, struct arena *a, const char *const **out, struct err *e);

#endif
