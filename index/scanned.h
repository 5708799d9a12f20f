/* scanned.h: PRIVATE to index/. A copy of the codes of a graph or a tail where a device scans them (index.h's scanner): it is
 * made when a search first asks for it, and follows a tail that grows. Thread-safe but for scanned_free. */
#ifndef INDEX_SCANNED_H
#define INDEX_SCANNED_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include "index/code8.h"

struct index_scanner;
struct scanned;
typedef _Atomic(struct scanned *) scanned_place;       /* in what has the rows; NULL at first */

/* Rows in parts that lie together, as tail_part and a graph give them. */
struct scanned_rows {
	const void *of;
	size_t stride;
	/* Rows [from, *upto) of one part, upto <= n. */
	void (*part)(const void *of, size_t from, size_t n, const uint8_t **rows, size_t *upto);
};

struct scanned_best {
	const uint64_t *among;   /* a bit a row; NULL: all */
	size_t rows, k;          /* the first so many rows; k at most INDEX_SCAN_BEST */
	uint32_t *at;            /* (k) out */
	size_t got;              /* out */
	int whole;               /* out: none but these counts */
	float beyond;            /* out, unless whole: no other row's product can be more */
};

/* 1: *b is told; 0: the device could not (memory, or it is lost), now or earlier; the copy is then no more. */
int scanned_best(scanned_place *place, const struct index_scanner *by, const struct scanned_rows *rows, const struct code8_query *q,
	struct scanned_best *b);
/* 1: it was not found wanting yet. */
int scanned_may(scanned_place *place);
void scanned_free(scanned_place *place);               /* nobody else uses it any more */

#endif
