/* ivf.h: a collection's vectors in little memory: lists of 4-bit codes around centres (IVF-PQ). What a search finds here
 * is a guess, to be compared by the stored vectors. Not changed once it is whole; searched by any number of threads.
 *
 *   ivf_shape -> (centres and books are learnt: faissx.h) -> ivf_new -> ivf_search … -> ivf_free
 *
 * Jégou, Douze, Schmid, Product quantization for nearest neighbor search, 2011 (IVFADC: codes are of what is left of a
 * vector when its centre is taken off); the scan is pq4.h's. */
#ifndef INDEX_IVF_H
#define INDEX_IVF_H
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "base/err.h"
#include "index/code8.h"
#include "index/pq4.h"

/* A vector's components, filled up with zeros, in `parts` of `width` each; a code of 4 bits stands for a part. */
struct ivf_shape { uint32_t dim, lists, parts, width; };
struct ivf_shape ivf_shape(uint32_t dim, uint64_t vectors);    /* that suits so many vectors */

struct ivf {
	struct ivf_shape shape;
	uint64_t trained;            /* how many vectors there were when centres and books were learnt */
	size_t vectors;              /* each has a place, list after list */
	uint8_t *centres;            /* (lists): rows of code8.h, the mean of what is in the list; owned as all that follows */
	float *books;                /* (parts, 16, width): what each code stands for */
	uint32_t *first;             /* (lists + 1): its first place */
	uint64_t *ids;               /* (vectors): chunk ids, ascending in each list */
	uint8_t *codes;              /* blocks of 32 places (pq4.h) */
};

/* What was learnt, and vectors as they were assigned and coded: list[i], and parts / 2 bytes of code, the first part in
 * the low half of the first byte; ids ascending. All borrowed. */
struct ivf_learnt { struct ivf_shape shape; uint64_t trained; const uint8_t *centres; const float *books; };
struct ivf_rows { size_t n; const uint32_t *list; const uint8_t *codes; const uint64_t *ids; };
/* With the vectors of `old` before them (NULL: none), whose shape is the same and whose ids are lower. E_MEMORY; E_LIMIT:
 * too many. */
int ivf_new(struct ivf **out, const struct ivf_learnt *l, const struct ivf *old, const struct ivf_rows *rows, struct err *e);
void ivf_free(struct ivf *v);                                  /* NULL is allowed */
size_t ivf_bytes(const struct ivf *v);

struct ivf_guess { float near; uint32_t at; };                 /* about the inner product; a place */
/* The `want` places that by their codes are nearest to the query, of the `probes` lists whose centres are, best first;
 * *got <= want. mask: a bit a place, 32 a word; NULL: all count. out: want slots. E_MEMORY. */
int ivf_search(const struct ivf *v, const struct code8_query *query, const uint32_t *mask, size_t probes, size_t want,
	struct ivf_guess *out, size_t *got, struct err *e);

int ivf_write(const struct ivf *v, FILE *f, struct err *e);    /* the stored form (record.c) */
/* E_CORRUPT when the `bytes` bytes are none of so many vectors. */
int ivf_read(struct ivf **out, FILE *f, uint32_t dim, uint64_t vectors, uint64_t bytes, struct err *e);

#endif
