/* scanner.c: owns the way from the index, which knows of no GPU, to embed/scan.h. Threads: no state of its own. Failure: see
 * scanner.h. */
#include "api/scanner.h"

static int device_ready(void *ctx)
{
	return scan_ready(ctx);
}

static int table_open(void *ctx, void **table, size_t len, size_t rows, struct err *e)
{
	struct scan_table *t;
	int rc = scan_table_open(&t, ctx, len, rows, e);
	*table = t;
	return rc;
}

static int table_add(void *table, const uint8_t *rows, size_t stride, size_t n, struct err *e)
{
	return scan_table_add(table, rows, stride, n, e);
}

static int table_best(void *table, struct index_scan *q, struct err *e)
{
	struct scan_query s = { .code = q->code, .scale = q->scale, .among = q->among, .rows = q->rows, .k = q->k, .best = q->best,
		.near = q->near };
	int rc = scan_table_best(table, &s, e);
	q->got = s.got;
	return rc;
}

static void table_close(void *table)
{
	scan_table_close(table);
}

_Static_assert((int)INDEX_SCAN_BEST == (int)SCAN_BEST, "what the index asks for is what there is");

int scanner_open(struct scanner *s, const struct conf *c, const struct gpu_table *given, struct err *e)
{
	if (scan_open(&s->scan, c->index_device, given, e)) return err_wrap(e, "index.device");
	s->hooks = (struct index_scanner){ s->scan, (size_t)c->device_least, device_ready, table_open, table_add, table_best, table_close };
	return OK;
}

void scanner_close(struct scanner *s)
{
	scan_close(s->scan);
	s->scan = NULL;
}
