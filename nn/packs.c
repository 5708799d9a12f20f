/* packs.c: owns the memory of a model's packed matrices. The team's members draw panels from a shared counter.
 * Failure: only when memory is short. */
#include "nn/packs.h"
#include <stdatomic.h>
#include "base/mem.h"

enum { AT_ONCE = 8 };                            /* panels drawn at a time */

struct packs {
	uint8_t *data;                           /* owned */
};

struct job {
	const struct matrix *const *w;
	const struct packed *p;
	uint8_t *const *to;                      /* begin of each matrix */
	size_t n;
	atomic_size_t next;                      /* panel, counted through all matrices */
};

static void pack_some(void *ctx, int member, int size)
{
	struct job *j = ctx;
	size_t m = 0, before = 0;                /* matrix, and panels in front of it */
	(void)member;
	(void)size;
	for (;;) {
		size_t from = atomic_fetch_add_explicit(&j->next, AT_ONCE, memory_order_relaxed);
		for (size_t i = from; i < from + AT_ONCE; i++) {
			while (m < j->n && i - before >= j->p[m].panels) before += j->p[m++].panels;
			if (m == j->n) return;
			pack_panel(j->w[m], i - before, j->to[m] + (i - before) * j->p[m].panel_bytes);
		}
	}
}

int packs_open(struct packs **p, const struct matrix *const *w, size_t n, struct packed *out, const char *name,
	struct team *team, struct err *e)
{
	struct packs *s = mem_calloc(1, sizeof *s);
	uint8_t **to = mem_calloc(n + 1, sizeof *to);
	size_t bytes = 0;
	*p = NULL;
	for (size_t i = 0; i < n; i++) {
		out[i] = pack_shape(w[i]->type, w[i]->rows, w[i]->k);
		bytes += out[i].panels * out[i].panel_bytes;         /* within 3 % of the file and its rows, so no overflow */
	}
	if (s) s->data = mem_aligned(PACK_VECTOR, bytes + PACK_VECTOR);
	if (!s || !to || !s->data) {
		mem_free(to);
		packs_close(s);
		return err_set(e, E_MEMORY, "%s: out of memory for %zu bytes of packed weights", name, bytes);
	}
	bytes = 0;
	for (size_t i = 0; i < n; i++) {
		out[i].data = to[i] = s->data + bytes;
		bytes += out[i].panels * out[i].panel_bytes;
	}
	struct job j = { .w = w, .p = out, .to = to, .n = n };
	team_run(team, pack_some, &j);
	mem_free(to);
	*p = s;
	return OK;
}

void packs_close(struct packs *p)
{
	if (!p) return;
	mem_free(p->data);
	mem_free(p);
}
