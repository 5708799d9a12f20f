/* rowpick.c: owns going over the rows of a graph or a tail that a reader sees.
 *
 * Method: rows are in the order of their chunk ids, and so are the runs of ids a reader sees: two lists are walked
 * together, each in leaps that double (Bentley & Yao 1976), so that a few long runs cost little and so do many short ones.
 * Where the rows have a bit each already, the bits are read instead.
 * Threads: no state. Failure: none. */
#include "index/inside.h"

/* The first place from `at` on whose id is >= key. */
static size_t ids_from(const uint64_t *ids, size_t at, size_t n, uint64_t key)
{
	size_t leap = 1, hi;
	if (at >= n || ids[at] >= key) return at;
	if (key - ids[at] < n - at && ids[at + (key - ids[at])] == key) return at + (key - ids[at]); /* no id is missing between */
	while (at + leap < n && ids[at + leap] < key) at += leap, leap *= 2;
	for (hi = at + leap < n ? at + leap : n, at++; at < hi;) {
		size_t mid = at + (hi - at) / 2;
		if (ids[mid] < key) at = mid + 1;
		else hi = mid;
	}
	return at;
}

/* The first run from `at` on that ends behind chunk `id`. */
static size_t runs_from(const struct chunk_run *r, size_t at, size_t n, uint64_t id)
{
	size_t leap = 1, hi;
	if (at >= n || r[at].first + r[at].n > id) return at;
	while (at + leap < n && r[at + leap].first + r[at + leap].n <= id) at += leap, leap *= 2;
	for (hi = at + leap < n ? at + leap : n, at++; at < hi;) {
		size_t mid = at + (hi - at) / 2;
		if (r[mid].first + r[mid].n <= id) at = mid + 1;
		else hi = mid;
	}
	return at;
}

void row_pick_init(struct row_pick *p, const uint64_t *ids, size_t n, const struct visible *seen)
{
	*p = (struct row_pick){ .ids = ids, .n = n, .end = seen ? 0 : n, .seen = seen };
}

void row_pick_masked(struct row_pick *p, const struct row_mask *mask, size_t n)
{
	*p = (struct row_pick){ .n = n, .mask = mask };
}

/* The bits from p->at on. */
static size_t mask_next(struct row_pick *p, uint32_t *rows, size_t cap)
{
	size_t n = 0;
	while (n < cap && p->at < p->n) {
		uint64_t left = p->mask->bits[p->at / 64] & ~(uint64_t)0 << (p->at & 63);
		size_t first = p->at & ~(size_t)63;
		for (p->at = first + 64; left && n < cap; left &= left - 1) rows[n++] = (uint32_t)(first + (size_t)__builtin_ctzll(left));
		if (left) p->at = first + (size_t)__builtin_ctzll(left);
	}
	return n;
}

size_t row_pick_next(struct row_pick *p, uint32_t *rows, size_t cap)
{
	size_t n = 0;
	if (p->mask) return mask_next(p, rows, cap);
	while (n < cap) {
		const struct visible *v = p->seen;
		if (p->at < p->end) {
			rows[n++] = (uint32_t)p->at++;
			continue;
		}
		if (!v || p->at >= p->n) break;
		p->run = runs_from(v->runs, p->run, v->n, p->ids[p->at]);
		if (p->run == v->n) break;
		p->at = ids_from(p->ids, p->at, p->n, v->runs[p->run].first);
		p->end = ids_from(p->ids, p->at, p->n, v->runs[p->run].first + v->runs[p->run].n);
	}
	return n;
}
