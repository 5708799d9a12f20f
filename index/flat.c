/* flat.c: owns the dot product of hits and the exact scan of vectors where they lie in the store: of those that are not in
 * memory (vecindex.c).
 *
 * Method: a cursor walks the vec table, whose keys keep a collection's vectors together and in the order of their
 * chunk ids. Only a vector that would enter the k best is asked for its visibility, which keeps the number of looks
 * near k log(n/k). The dot product runs four chains of eight lanes (AVX2, FMA: the machine's floor) and folds them in
 * one fixed order, so a pair of vectors has one score whichever way it was found.
 * Threads: any, each with its own snapshot. Failure: a vector of wrong size is skipped (index_check names it). */
#include "index/flat.h"
#include <immintrin.h>
#include <math.h>
#include "index/inside.h"

__attribute__((target("avx2,fma"))) static inline float fold(__m256 s0, __m256 s1, __m256 s2, __m256 s3)
{
	__m128 low;
	s0 = _mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3));
	low = _mm_add_ps(_mm256_castps256_ps128(s0), _mm256_extractf128_ps(s0, 1));
	low = _mm_add_ps(low, _mm_movehl_ps(low, low));
	return _mm_cvtss_f32(_mm_add_ss(low, _mm_movehdup_ps(low)));
}

__attribute__((target("avx2,fma"))) float flat_dot(const float *a, const float *b, size_t n)
{
	__m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
	float sum;
	size_t i = 0;
	for (; i + 32 <= n; i += 32) {
		s0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s0);
		s1 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8), s1);
		s2 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 16), _mm256_loadu_ps(b + i + 16), s2);
		s3 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 24), _mm256_loadu_ps(b + i + 24), s3);
	}
	for (; i + 8 <= n; i += 8) s0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s0);
	sum = fold(s0, s1, s2, s3);
	for (; i < n; i++) sum = fmaf(a[i], b[i], sum);
	return sum;
}

/* flat_dot of halves, in the same order. */
__attribute__((target("avx2,fma,f16c"))) static float half_dot(const float *a, const uint16_t *b, size_t n)
{
#define HALVES(p) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p)))
	__m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
	size_t i = 0;
	float sum;
	for (; i + 32 <= n; i += 32) {
		s0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), HALVES(b + i), s0);
		s1 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8), HALVES(b + i + 8), s1);
		s2 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 16), HALVES(b + i + 16), s2);
		s3 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 24), HALVES(b + i + 24), s3);
	}
	for (; i + 8 <= n; i += 8) s0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), HALVES(b + i), s0);
	sum = fold(s0, s1, s2, s3);
	for (; i < n; i++) sum = fmaf(a[i], _cvtsh_ss(b[i]), sum);
	return sum;
}

float flat_score(const float *a, const struct rec_vec *v)
{
	return v->form == VEC_F32 ? flat_dot(a, v->at, v->dim) : half_dot(a, v->at, v->dim);
}

/* 1 when a ranks behind b. */
static int behind(float score_a, uint64_t id_a, float score_b, uint64_t id_b)
{
	return score_a < score_b || (score_a == score_b && id_a > id_b);
}

static int hit_behind(const struct vec_hit *a, const struct vec_hit *b)
{
	return behind(a->score, a->chunk_id, b->score, b->chunk_id);
}

int topk_wants(const struct topk *t, float score, uint64_t chunk)
{
	if (isnan(score) || t->k == 0) return 0;
	return t->n < t->k || behind(t->hit[0].score, t->hit[0].chunk_id, score, chunk);
}

static void sift_down(struct vec_hit *h, size_t n, size_t i)
{
	for (;;) {
		size_t child = 2 * i + 1;
		struct vec_hit tmp;
		if (child >= n) return;
		if (child + 1 < n && hit_behind(&h[child + 1], &h[child])) child++;
		if (!hit_behind(&h[child], &h[i])) return;
		tmp = h[i];
		h[i] = h[child];
		h[child] = tmp;
		i = child;
	}
}

void topk_put(struct topk *t, float score, uint64_t chunk)
{
	struct vec_hit *h = t->hit, fresh = { chunk, score };
	size_t i;
	if (t->n == t->k) {
		h[0] = fresh;
		sift_down(h, t->n, 0);
		return;
	}
	for (i = t->n++; i > 0 && hit_behind(&fresh, &h[(i - 1) / 2]); i = (i - 1) / 2) h[i] = h[(i - 1) / 2];
	h[i] = fresh;
}

/* Few of them: as they lie the worst are in front, so that from behind there is little to move. */
static void few_sort(struct vec_hit *h, size_t n)
{
	for (size_t i = 0; i < n / 2; i++) {
		struct vec_hit tmp = h[i];
		h[i] = h[n - 1 - i];
		h[n - 1 - i] = tmp;
	}
	for (size_t i = 1; i < n; i++) {
		struct vec_hit x = h[i];
		size_t at = i;
		for (; at && hit_behind(&h[at - 1], &x); at--) h[at] = h[at - 1];
		h[at] = x;
	}
}

void topk_sort(struct topk *t)
{
	if (t->n <= 32) {
		few_sort(t->hit, t->n);
		return;
	}
	for (size_t n = t->n; n > 1; n--) {
		struct vec_hit worst = t->hit[0];
		t->hit[0] = t->hit[n - 1];
		t->hit[n - 1] = worst;
		sift_down(t->hit, n - 1, 0);
	}
}

int flat_scan(struct snapshot *s, const struct reader *r, uint32_t coll, uint64_t after, const float *query,
	const struct visible *seen, struct topk *t, struct sight *cache, struct err *e)
{
	struct cursor c = { 0 };
	struct slice key, value;
	struct key k;
	uint32_t dim = s->state.serving.dim;
	size_t at = 0;
	int rc = cursor_open(&c, s->t, gen_vec(&s->state.serving), e);
	if (rc || after == UINT64_MAX) goto out;
	key_vec(&k, coll, after + 1);
	for (rc = cursor_seek(&c, &k, &key, &value, e); !rc; rc = cursor_next(&c, &key, &value, e)) {
		struct rec_vec v;
		uint64_t chunk;
		float score;
		int yes;
		if (key.n != 12 || key_get_u32(key.p) != coll) break;
		chunk = key_get_u64(key.p + 4);
		if ((seen && !visible_has(seen, &at, chunk)) || rec_vec_get(&v, &k, value, dim, 0, NULL)) continue;
		score = flat_score(query, &v);
		if (!topk_wants(t, score, chunk)) continue;
		rc = snapshot_sees_chunk(s, r, coll, chunk, cache, &yes, e);
		if (rc) break;
		if (yes) topk_put(t, score, chunk);
	}
	if (rc == E_NOT_FOUND) rc = OK;
out:
	cursor_close(&c);
	return rc;
}
