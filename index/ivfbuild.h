/* ivfbuild.h: PRIVATE to index/. The lists of codes over what a snapshot holds of a collection. One thread at a time. */
#ifndef INDEX_IVFBUILD_H
#define INDEX_IVFBUILD_H
#include "index/inside.h"
#include "index/ivf.h"

enum { IVF_LEAST = 256 };        /* fewer vectors teach nothing */

/* old NULL: centres and books are learnt from a sample; else those of `old` are kept. after NULL: all vectors are coded;
 * else those of `old` are taken over, dead or not, and the ones of chunks above *after added. E_CANCELLED: the index is
 * closing. */
int ivf_build(struct snapshot *s, const struct rec_coll *c, const struct ivf *old, const uint64_t *after,
	struct ivf **out, struct err *e);

#endif
