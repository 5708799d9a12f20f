/* scan.h: PUBLIC. Exact search among vectors on a GPU: tables of vectors as int8 codes in its memory, and the rows of a table
 * whose inner products with a query are the largest.
 *
 *   scan_open -> scan_ready -> scan_table_open -> scan_table_add, scan_table_best (any thread, any number) -> scan_table_close
 *             -> scan_close
 *
 * A device costs time and memory to open. Where the settings let the CPU do, it is opened for the first who has work enough for it
 * (scan_ready), and the others go without it meanwhile. That there is none, or none any more, is told in the log once.
 * A row is a code, a whole number of -127 … 127 and 128 to it a byte, padded with 128 to a multiple of 64, and a float behind it:
 * the vector is scale * code. Products are those of the codes, the same bits on every device.
 * Threads: every call is thread-safe; a device works for one call at a time. Queries that wait for it meanwhile, of one
 * table and without a choice of rows, are then compared together, as many as SCAN_TOGETHER: the rows are read once for 16. */
#ifndef EMBED_SCAN_H
#define EMBED_SCAN_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

enum { SCAN_BEST = 1024 /* most of k */, SCAN_LEN = 4096 /* most bytes of a code */, SCAN_TOGETHER = 64 };

struct gpu_table;
struct scan;
struct scan_table;

/* device, given: as of gpu_pick (nn/gpu.h). "auto": nothing is asked of any device yet; "cpu": *out is NULL; "cuda": it is opened.
 * E_UNSUPPORTED, E_MEMORY, E_USAGE. */
int scan_open(struct scan **out, const char *device, const struct gpu_table *given, struct err *e);
/* 1: there is a device; with "auto" the first call opens it. 0: there is none, it is lost, or it is being opened for somebody else. */
int scan_ready(struct scan *s);
void scan_close(struct scan *s);                        /* after its tables; NULL is allowed */

/* What the device is called, and the bytes that it has of its memory; "" and 0 while there is none. */
uint64_t scan_device(const struct scan *s, char name[64]);

/* Of codes of len bytes (a multiple of 64, at most SCAN_LEN); without rows, of which so many will soon come (that many lie together,
 * and are compared the quicker); for who was told that s is ready. E_MEMORY, E_UNSUPPORTED. */
int scan_table_open(struct scan_table **out, struct scan *s, size_t len, size_t rows, struct err *e);
void scan_table_close(struct scan_table *t);            /* NULL is allowed */
/* Behind those that are there; rows lie stride bytes apart. E_MEMORY: there is no room on the device, the table is as it was;
 * E_LIMIT: 2^31 rows. E_IO: the device is lost, for all tables. */
int scan_table_add(struct scan_table *t, const uint8_t *rows, size_t stride, size_t n, struct err *e);

struct scan_query {
	const int8_t *code;      /* (len), padded with 0 */
	float scale;
	const uint64_t *among;   /* a bit a row: those that count; NULL: all */
	size_t rows;             /* the first so many of the table, at most as many as were added */
	size_t k;                /* 1 … SCAN_BEST */
	uint32_t *best;          /* (k) out: rows, the largest product first, then the lower row; what is no number before all */
	float *near;             /* (k) out: their products */
	size_t got;              /* out */
};
/* E_MEMORY: no room for the work on the device; E_IO. */
int scan_table_best(struct scan_table *t, struct scan_query *q, struct err *e);

#endif
