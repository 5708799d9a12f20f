/* diff.c: line diff by the longest common subsequence.
 *
 * Equal lines at both ends are set aside; a table over the rest gives the longest run of lines that both have in order
 * (Wagner and Fischer, 1974). Where the table would have more than CELLS_MAX cells, the rest of a is told as removed and
 * the rest of b as added, which is true as well.
 * Threads: no state. Failure: E_MEMORY before anything was told. */
#include "base/diff.h"
#include <stdint.h>
#include <string.h>
#include "base/mem.h"

enum { CELLS_MAX = 4 << 20 };
struct line { const char *s; size_t n; };

/* *out is owned by the caller. */
static int split(const char *s, size_t len, struct line **out, size_t *n, struct err *e)
{
	size_t max = 1;
	for (size_t i = 0; i < len; i++) max += s[i] == '\n';
	struct line *l = mem_alloc(max * sizeof *l);
	*out = l;
	*n = 0;
	if (!l) return err_set(e, E_MEMORY, "diff: out of memory");
	for (size_t at = 0; at < len;) {
		const char *nl = memchr(s + at, '\n', len - at);
		size_t k = nl ? (size_t)(nl - s) - at : len - at;
		l[(*n)++] = (struct line){ s + at, k };
		at += k + 1;
	}
	return OK;
}

static int same(const struct line *x, const struct line *y)
{
	return x->n == y->n && memcmp(x->s, y->s, x->n) == 0;
}

static void tell(const struct line *l, size_t n, char op, diff_fn fn, void *ctx)
{
	for (size_t i = 0; i < n; i++) fn(ctx, op, l[i].s, l[i].n);
}

/* t[i * (m + 1) + j]: length of the longest common subsequence of a[i, n) and b[j, m). */
static void table_walk(const uint16_t *t, const struct line *a, size_t n, const struct line *b, size_t m, diff_fn fn, void *ctx)
{
	size_t i = 0, j = 0, w = m + 1;
	while (i < n || j < m) {
		if (i < n && j < m && same(&a[i], &b[j])) {
			fn(ctx, ' ', a[i].s, a[i].n);
			i++, j++;
		} else if (i < n && (j == m || t[(i + 1) * w + j] >= t[i * w + j + 1])) {
			fn(ctx, '-', a[i].s, a[i].n);
			i++;
		} else {
			fn(ctx, '+', b[j].s, b[j].n);
			j++;
		}
	}
}

static int middle(const struct line *a, size_t n, const struct line *b, size_t m, diff_fn fn, void *ctx, struct err *e)
{
	if (n == 0 || m == 0 || n > CELLS_MAX / m) {
		tell(a, n, '-', fn, ctx);
		tell(b, m, '+', fn, ctx);
		return OK;
	}
	size_t w = m + 1;
	uint16_t *t = mem_calloc((n + 1) * w, sizeof *t);
	if (!t) return err_set(e, E_MEMORY, "diff: out of memory");
	for (size_t i = n; i-- > 0;)
		for (size_t j = m; j-- > 0;) {
			uint16_t down = t[(i + 1) * w + j], right = t[i * w + j + 1];
			t[i * w + j] = same(&a[i], &b[j]) ? (uint16_t)(t[(i + 1) * w + j + 1] + 1) : down > right ? down : right;
		}
	table_walk(t, a, n, b, m, fn, ctx);
	mem_free(t);
	return OK;
}

int diff_lines(const char *a, size_t a_len, const char *b, size_t b_len, diff_fn fn, void *ctx, struct err *e)
{
	struct line *x = NULL, *y = NULL;
	size_t n, m, head = 0, tail = 0;
	int rc = split(a, a_len, &x, &n, e);
	if (!rc) rc = split(b, b_len, &y, &m, e);
	if (rc) goto out;
	while (head < n && head < m && same(&x[head], &y[head])) head++;
	while (tail < n - head && tail < m - head && same(&x[n - 1 - tail], &y[m - 1 - tail])) tail++;
	tell(x, head, ' ', fn, ctx);
	rc = middle(x + head, n - head - tail, y + head, m - head - tail, fn, ctx, e);
	if (!rc) tell(x + n - tail, tail, ' ', fn, ctx);
out:
	mem_free(x);
	mem_free(y);
	return rc;
}
