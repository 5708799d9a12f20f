/* help.h: what the tests of index/ share: options, a small document writer, seeded vectors. Failures end the test. */
#ifndef TESTS_INDEX_HELP_H
#define TESTS_INDEX_HELP_H
#include <stdint.h>
#include "index/index.h"
#include "index/store.h"

enum { DIM = 32 };
extern const struct reader everyone;                       /* every group, collection "c" */

struct index_options help_options(const char *dir);        /* DIM floats, not synced, exact below 200 */
struct index *help_open(const char *dir);
void help_unit(uint64_t seed, float *out, int dim);        /* a unit vector, the same for the same seed */

/* A document of n chunks of one sentence each, "Sentence I of NAME." joined by blanks; the vector of chunk i is
 * help_unit(seed + i). source NULL: ""; "/…": a file's, with a time of change. acl NULL: none. Returns the verdict; id gets the id when not NULL. */
int help_put(struct write *w, const char *coll, const char *name, const char *source, uint64_t seed, int n,
	const char *acl, char id[64]);
/* The same in a write of its own. */
int help_add(struct index *x, const char *coll, const char *name, const char *source, uint64_t seed, int n,
	const char *acl, char id[64]);
void help_delete(struct index *x, const char *id);
void help_check_clean(struct index *x);                    /* index_check finds nothing */
uint64_t help_problems(struct index *x);
/* Changes one byte of an entry of a store that nobody has open. nth: which entry of the table. */
void help_damage(const char *dir, enum table table, int nth, size_t at);
/* Runs fn in a process of its own under the fault plan, which is read once a process; it must end well. */
void help_in_child(const char *fault, void (*fn)(void));

#endif
