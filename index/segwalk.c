/* segwalk.c: owns the walk over postings in memory that finds the k best chunks.
 *
 * Method: that of maxscore.c, by windows of 4096 rows, whose sums stay in the nearest cache. What a posting is worth is looked
 * up by its code; no block has to be unpacked and nothing divided. Where the heavy terms have few postings in a window, only
 * their rows are looked at afterwards, else all sums are scanned. Before k chunks are known, the bar comes from the sums
 * themselves: what the best rows of k groups reach, k rows reach at least.
 * Threads: each walk has scratch of its own. Failure: none. */
#include "index/segwalk.h"
#include <immintrin.h>
#include <math.h>
#include <string.h>
#include "base/mem.h"
#include "index/maxscore.h"

enum { STRIP = 32, GROUPS_FEW = 64, GROUPS_MANY = 512, HALVINGS = 7, FEW = 24, SPARSE = 16, DENSE = 16 }; /* a look-up costs as much as DENSE additions */

struct part { const uint32_t *post; uint32_t n; float weight, bound; double more; }; /* of a term in the window; more: bounds of those behind */

struct seg_walk {
	_Alignas(64) float sum[SEG_WINDOW];  /* 0 between windows */
	uint64_t touched[SEG_WINDOW / 64];   /* likewise */
	uint16_t list[SEG_WINDOW + SCORES_LANES]; size_t list_n;
	_Alignas(64) float group[GROUPS_MANY];
	struct part *part; size_t part_cap;
	/* of one walk */
	const struct word_view *v;
	const float *worth;
	const struct visible *seen; size_t seen_at;
	struct topk *best;
	double slack;
	size_t extent;                       /* rows of the window, rounded up to a whole strip */
};

struct seg_walk *seg_walk_new(void)
{
	struct seg_walk *w = mem_aligned(64, sizeof *w);
	if (w) memset(w, 0, sizeof *w);
	return w;
}

int seg_walk_room(struct seg_walk *w, size_t n)
{
	struct part *more;
	if (n <= w->part_cap) return OK;
	more = mem_realloc(w->part, n * sizeof *more);
	if (!more) return E_MEMORY;
	w->part = more;
	w->part_cap = n;
	return OK;
}

void seg_walk_free(struct seg_walk *w)
{
	if (w) mem_free(w->part);
	mem_free(w);
}

void seg_probe_of(const struct wordseg *g, uint32_t term, double weight, struct seg_probe *out)
{
	const struct seg_term *t = &g->term[term];
	__builtin_prefetch(g->post + t->post);
	__builtin_prefetch(g->post + t->post + 16);
	*out = (struct seg_probe){ (float)weight, (float)t->best / SEG_BOUND_ONE, g->post + t->post, g->run + t->run, g->run + t[1].run, t->df };
}

/* ---- one window ---- */

static void part_add(float *restrict sum, const float *restrict worth, const struct part *p)
{
	const uint32_t *post = p->post, *end = post + p->n;
	const float weight = p->weight;
	for (; end - post >= 4; post += 4) { /* rows of a term are different ones */
		uint32_t a = post[0], b = post[1], c = post[2], d = post[3];
		float x = weight * worth[a >> 16], y = weight * worth[b >> 16], z = weight * worth[c >> 16], u = weight * worth[d >> 16];
		sum[a & 0xffff] += x;
		sum[b & 0xffff] += y;
		sum[c & 0xffff] += z;
		sum[d & 0xffff] += u;
	}
	for (; post < end; post++) sum[*post & 0xffff] += weight * worth[*post >> 16];
}

static void part_touch(uint64_t *touched, const struct part *p)
{
	for (uint32_t i = 0; i < p->n; i++) touched[(p->post[i] & 0xffff) / 64] |= 1ull << (p->post[i] & 63);
}

/* Adds what the term has for the candidates, which ascend. */
static void part_look_up(struct seg_walk *w, const struct part *p)
{
	uint32_t lo = 0;
	for (size_t i = 0; i < w->list_n && lo < p->n; i++) {
		uint32_t row = w->list[i], step = 1, hi;
		while (lo + step < p->n && (p->post[lo + step] & 0xffff) <= row) lo += step, step *= 2;
		hi = lo + step < p->n ? lo + step : p->n;
		while (lo < hi) {
			uint32_t mid = lo + (hi - lo) / 2;
			if ((p->post[mid] & 0xffff) < row) lo = mid + 1;
			else hi = mid;
		}
		if (lo < p->n && (p->post[lo] & 0xffff) == row) w->sum[row] += p->weight * w->worth[p->post[lo] >> 16];
	}
}

/* The best of each of `vectors` * 8 groups of rows; the group of a row is what its number leaves when divided by theirs. */
__attribute__((target("avx2"), always_inline)) static inline void groups_best(const float *sum, size_t extent, size_t vectors, float *out)
{
	__m256 best[GROUPS_MANY / 8];
	size_t each = vectors * 8, i = 0;
	for (size_t v = 0; v < vectors; v++) best[v] = _mm256_setzero_ps();
	for (; i + each <= extent; i += each)
		for (size_t v = 0; v < vectors; v++) best[v] = _mm256_max_ps(best[v], _mm256_load_ps(sum + i + v * 8));
	for (size_t v = 0; i < extent; i += 8, v++) best[v] = _mm256_max_ps(best[v], _mm256_load_ps(sum + i));
	for (size_t v = 0; v < vectors; v++) _mm256_store_ps(out + v * 8, best[v]);
}

/* A score that k rows of the window reach at least, when their sums are whole; 0: not known. Close to the k-th best group, by halving:
 * what it lacks to that costs some rows more, no mistake. */
__attribute__((target("avx2"))) static float bar_of_groups(struct seg_walk *w)
{
	const size_t k = w->best->k, n = k * 4 <= GROUPS_FEW ? GROUPS_FEW : GROUPS_MANY;
	__m256 most = _mm256_setzero_ps();
	float low = 0, high = 0, lanes[8];
	if (k * 2 > GROUPS_MANY || w->seen || w->v->dead) return 0;
	if (n == GROUPS_FEW) groups_best(w->sum, w->extent, GROUPS_FEW / 8, w->group);
	else groups_best(w->sum, w->extent, GROUPS_MANY / 8, w->group);
	for (size_t i = 0; i < n; i += 8) most = _mm256_max_ps(most, _mm256_load_ps(w->group + i));
	_mm256_storeu_ps(lanes, most);
	for (size_t i = 0; i < 8; i++) high = lanes[i] > high ? lanes[i] : high;
	for (int step = 0; step < HALVINGS; step++) {
		const float middle = (low + high) / 2;
		const __m256 bar = _mm256_set1_ps(middle);
		size_t over = 0;
		for (size_t i = 0; i < n; i += 8)
			over += (size_t)__builtin_popcount((unsigned)_mm256_movemask_ps(_mm256_cmp_ps(_mm256_load_ps(w->group + i), bar, _CMP_GE_OQ)));
		if (over >= k) low = middle;
		else high = middle;
	}
	return low;
}

/* Of the touched rows those with a sum of bar or more become the list. */
static void touched_take(struct seg_walk *w, float bar)
{
	w->list_n = 0;
	for (size_t i = 0; i < w->extent / 64 + 1 && i < SEG_WINDOW / 64; i++)
		for (uint64_t bits = w->touched[i]; bits; bits &= bits - 1) {
			uint16_t row = (uint16_t)(i * 64 + (size_t)__builtin_ctzll(bits));
			w->list[w->list_n] = row;
			w->list_n += w->sum[row] >= bar;
		}
}

static void touched_clear(struct seg_walk *w)
{
	for (size_t i = 0; i < w->extent / 64 + 1 && i < SEG_WINDOW / 64; i++) {
		for (uint64_t bits = w->touched[i]; bits; bits &= bits - 1) w->sum[i * 64 + (size_t)__builtin_ctzll(bits)] = 0;
		w->touched[i] = 0;
	}
}

/* Leaves those of the list that may be seen. */
static void list_see(struct seg_walk *w, uint32_t base)
{
	size_t kept = 0;
	if (!w->seen && !w->v->dead) return;
	for (size_t i = 0; i < w->list_n; i++) {
		uint16_t row = w->list[i];
		if (word_view_dead(w->v, base + row)) continue;
		if (w->seen && !visible_has(w->seen, &w->seen_at, seg_chunk(w->v->seg, base + row))) continue;
		w->list[kept++] = row;
	}
	w->list_n = kept;
}

/* The first ones, no fewer than k: each goes where its rank among them says, the worst in front, which is a heap too. */
__attribute__((target("avx2"))) static void list_fill(struct seg_walk *w, uint32_t base)
{
	const size_t n = w->list_n, k = w->best->k;
	_Alignas(32) float score[FEW];
	for (size_t i = 0; i < FEW; i++) score[i] = -1;
	for (size_t i = 0; i < n; i++) score[i] = w->sum[w->list[i]];
	for (size_t i = 0; i < n; i++) {
		const __m256 x = _mm256_set1_ps(score[i]);
		unsigned over = 0, same = 0, rank;
		for (unsigned j = 0; j < FEW; j += 8) {
			over |= (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(_mm256_load_ps(score + j), x, _CMP_GT_OQ)) << j;
			same |= (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(_mm256_load_ps(score + j), x, _CMP_EQ_OQ)) << j;
		}
		rank = (unsigned)__builtin_popcount(over) + (unsigned)__builtin_popcount(same & ((1u << i) - 1));
		if (rank < k) w->best->hit[k - 1 - rank] = (struct vec_hit){ base + w->list[i], score[i] };
	}
	w->best->n = k;
}

static void list_enter(struct seg_walk *w, uint32_t base)
{
	if (w->best->n == 0 && w->list_n >= w->best->k && w->list_n <= FEW) {
		list_fill(w, base);
		return;
	}
	for (size_t i = 0; i < w->list_n; i++) {
		uint64_t row = base + w->list[i]; /* ties go to the lower row, as to the lower chunk */
		float score = w->sum[w->list[i]];
		if (topk_wants(w->best, score, row)) topk_put(w->best, score, row);
	}
}

/* What the terms have in the window, in their order; returns how many have something. */
static size_t parts_of(struct seg_walk *w, struct seg_probe *t, size_t n, uint32_t window, float most)
{
	size_t m = 0;
	double more = 0;
	for (size_t i = 0; i < n; i++) {
		const struct seg_run *r = t[i].run;
		while (r < t[i].end && r->window < window) r++;
		t[i].run = r;
		if (r == t[i].end || r->window != window) continue;
		w->part[m++] = (struct part){ t[i].post + r->at, (r + 1 < t[i].end ? r[1].at : t[i].df) - r->at, t[i].weight,
			t[i].weight * most * ((float)r->bound / SEG_BOUND_ONE), 0 };
	}
	for (size_t i = m; i--;) {
		w->part[i].more = more;
		more += w->part[i].bound;
	}
	return m;
}

/* Looks the light terms up, or adds them where that is cheaper, each time for fewer candidates. */
static void light_add(struct seg_walk *w, size_t from, size_t n, int sparse)
{
	for (size_t i = from; i < n && w->list_n; i++) {
		const struct part *p = &w->part[i];
		if (!sparse && p->n < w->list_n * DENSE) part_add(w->sum, w->worth, p);
		else part_look_up(w, p);
		w->list_n = scores_thin(w->sum, w->list, w->list_n, scores_least(w->best, w->slack, p->more));
	}
}

static void window_run(struct seg_walk *w, size_t n, uint32_t base)
{
	size_t heavy = n, added = 0;
	int sparse;
	float bar;
	if (w->best->n == w->best->k)
		while (heavy && (w->part[heavy - 1].more + w->part[heavy - 1].bound) * w->slack < w->best->hit[0].score) heavy--;
	if (!heavy) return;
	for (size_t i = 0; i < heavy; i++) added += w->part[i].n;
	/* One with no more postings than the heavy ones together is sooner added up than looked up for all their chunks. */
	for (; heavy < n && w->part[heavy].n <= added; heavy++) added += w->part[heavy].n;
	w->extent = w->v->seg->row_n - base < SEG_WINDOW ? (w->v->seg->row_n - base + STRIP - 1) / STRIP * STRIP : SEG_WINDOW;
	sparse = added * SPARSE < w->extent;
	for (size_t i = 0; i < heavy; i++) {
		part_add(w->sum, w->worth, &w->part[i]);
		if (sparse) part_touch(w->touched, &w->part[i]);
	}
	bar = scores_least(w->best, w->slack, w->part[heavy - 1].more);
	if (sparse) touched_take(w, bar);
	else {
		if (heavy == n && w->best->n < w->best->k) bar = fmaxf(bar, bar_of_groups(w));
		w->list_n = scores_over(w->sum, 0, w->extent, bar, w->list);
	}
	list_see(w, base);
	light_add(w, heavy, n, sparse);
	list_enter(w, base);
	if (sparse) touched_clear(w);
	else memset(w->sum, 0, w->extent * sizeof *w->sum);
}

/* ---- all of them ---- */

/* How many of the first terms are heavy anywhere. */
static size_t heavy_of(const struct seg_walk *w, const struct seg_probe *t, size_t n)
{
	double sum = 0;
	if (w->best->n < w->best->k) return n;
	for (; n; n--) {
		sum += t[n - 1].rest;
		if (sum * w->slack >= w->best->hit[0].score) break;
	}
	return n;
}

void seg_walk_best(struct seg_walk *w, const struct word_view *v, const struct seg_worths *worths, struct seg_probe *probes, size_t n,
	const struct visible *seen, struct topk *best)
{
	uint32_t window = 0, windows = (v->seg->row_n + SEG_WINDOW - 1) / SEG_WINDOW;
	w->v = v, w->worth = worths->of, w->seen = seen, w->seen_at = 0, w->best = best;
	w->slack = scores_slack(n);
	for (size_t i = 0; i < n; i++) probes[i].rest *= probes[i].weight * worths->most;
	while (window < windows) {
		size_t heavy = heavy_of(w, probes, n);
		uint32_t next = windows;
		for (size_t i = 0; i < heavy && next > window; i++) {
			struct seg_probe *t = &probes[i];
			while (t->run < t->end && t->run->window < window) t->run++;
			if (t->run < t->end && t->run->window < next) next = t->run->window;
		}
		if (next == windows) return;
		window_run(w, parts_of(w, probes, n, next, worths->most), next * SEG_WINDOW);
		window = next + 1;
	}
}
