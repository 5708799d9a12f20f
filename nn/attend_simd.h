/* attend_simd.h: attention (nn/ops.h, attend) over the vectors of ops_simd.h, which ops_avx2.c and ops_avx512.c include
 * before this; it is no interface.
 *
 * Method: the online softmax of Milakov & Gimelshein 2018, in blocks as in FlashAttention (Dao et al. 2022). A block is
 * KEYS keys at a multiple of KEYS. Its keys are turned around and widened to floats, its values widened, once for all
 * queries of the call; then some queries at a time make their scores (queries times keys), shares, and add up values
 * (shares times values), both with one product whose sums stay in registers.
 *
 * Whoever shares the call, a query's result has the same bits: it meets the same blocks in the same order; a score is
 * summed in order of dimensions; shares are summed lane by lane and block by block, values in order of keys. A query
 * has exactly its own keys, so that what is infinite in another's does not touch it.
 *
 * Scratch: a block's keys as halves, then as floats, its values, the scores of ATTEND_ROWS queries, each query's
 * maximum and sums. Threads: no state. Failure: none. */
enum { KEYS = ATTEND_KEYS, ATTEND_ROWS = 6, TURN_KEYS = 8 };

struct attend {
	const struct ops_attend *a;
	uint16_t *turned;              /* (head_dim, KEYS) */
	float *keys, *values;          /* (head_dim, KEYS), (KEYS, head_dim) */
	float *scores;                 /* (ATTEND_ROWS, KEYS) */
	float *max, *sum;              /* (ATTEND_QUERIES), (ATTEND_QUERIES, LANES): of queries from q0 on */
	size_t q0;
};

/* ---- c = a b or c + a b ---- */

/* rows rows of c, `vectors` vectors from column i on; b (k, ldb). */
INLINE void product_block(const float *const *a, const float *b, size_t ldb, size_t k, float *const *c, size_t i, int add,
	int rows, int vectors)
{
	V sum[ATTEND_ROWS][4];
	UNROLL for (int r = 0; r < rows; r++)
		UNROLL for (int l = 0; l < vectors; l++) sum[r][l] = add ? v_load(c[r] + i + l * LANES) : v_zero();
	b += i;
	for (size_t j = 0; j < k; j++, b += ldb) {
		V one[4];
		if (rows > vectors) { /* hold the fewer of both in registers */
			UNROLL for (int l = 0; l < vectors; l++) one[l] = v_load(b + l * LANES);
			UNROLL for (int r = 0; r < rows; r++) {
				V x = v_set1(a[r][j]);
				UNROLL for (int l = 0; l < vectors; l++) sum[r][l] = v_fma(x, one[l], sum[r][l]);
			}
		} else {
			UNROLL for (int r = 0; r < rows; r++) one[r] = v_set1(a[r][j]);
			UNROLL for (int l = 0; l < vectors; l++) {
				V x = v_load(b + l * LANES);
				UNROLL for (int r = 0; r < rows; r++) sum[r][l] = v_fma(one[r], x, sum[r][l]);
			}
		}
	}
	UNROLL for (int r = 0; r < rows; r++)
		UNROLL for (int l = 0; l < vectors; l++) v_store(c[r] + i + l * LANES, sum[r][l]);
}

/* Columns from `from` to `to`, multiples of 16. Few rows take more columns at a time, for as many sums as an addition's
 * latency wants. */
INLINE void product_rows(const float *const *a, const float *b, size_t ldb, size_t k, float *const *c, size_t from,
	size_t to, int add, int rows)
{
	if (LANES == 16 || rows <= 3)
		for (; from + 4 * LANES <= to; from += 4 * LANES) product_block(a, b, ldb, k, c, from, add, rows, 4);
	for (; from < to; from += 16) product_block(a, b, ldb, k, c, from, add, rows, 16 / LANES);
}

INLINE void product(const float *const *a, const float *b, size_t ldb, size_t k, float *const *c, size_t from, size_t to,
	int add, size_t rows)
{
	switch (rows) {
	case 1: product_rows(a, b, ldb, k, c, from, to, add, 1); break;
	case 2: product_rows(a, b, ldb, k, c, from, to, add, 2); break;
	case 3: product_rows(a, b, ldb, k, c, from, to, add, 3); break;
	case 4: product_rows(a, b, ldb, k, c, from, to, add, 4); break;
	case 5: product_rows(a, b, ldb, k, c, from, to, add, 5); break;
	default: product_rows(a, b, ldb, k, c, from, to, add, ATTEND_ROWS); break;
	}
}

static void scores_make(const float *const *q, const float *keys, size_t dim, float *const *s, size_t from, size_t to,
	size_t rows)
{
	product(q, keys, KEYS, dim, s, from, to, 0, rows);
}

static void values_add(const float *const *shares, const float *values, size_t dim, size_t n, float *const *out, size_t rows)
{
	product(shares, values, dim, n, out, 0, dim, 1, rows);
}

/* ---- a block of keys ---- */

/* 16 dimensions of eight keys, from key[i] + at on, to rows of `turned`, KEYS apart. */
INLINE void turn(const uint16_t *const key[TURN_KEYS], size_t at, uint16_t *turned)
{
	__m256i a[8], b[8];
	UNROLL for (int i = 0; i < 8; i++) a[i] = _mm256_loadu_si256((const __m256i *)(const void *)(key[i] + at));
	UNROLL for (int i = 0; i < 4; i++) {
		b[2 * i] = _mm256_unpacklo_epi16(a[2 * i], a[2 * i + 1]);
		b[2 * i + 1] = _mm256_unpackhi_epi16(a[2 * i], a[2 * i + 1]);
	}
	UNROLL for (int i = 0; i < 8; i += 4)
		UNROLL for (int j = 0; j < 2; j++) {
			a[i + 2 * j] = _mm256_unpacklo_epi32(b[i + j], b[i + 2 + j]);
			a[i + 2 * j + 1] = _mm256_unpackhi_epi32(b[i + j], b[i + 2 + j]);
		}
	UNROLL for (int i = 0; i < 4; i++) {
		b[2 * i] = _mm256_unpacklo_epi64(a[i], a[i + 4]);
		b[2 * i + 1] = _mm256_unpackhi_epi64(a[i], a[i + 4]);
	}
	UNROLL for (int i = 0; i < 8; i++) {
		_mm_storeu_si128((__m128i *)(void *)(turned + i * KEYS), _mm256_castsi256_si128(b[i]));
		_mm_storeu_si128((__m128i *)(void *)(turned + (i + 8) * KEYS), _mm256_extracti128_si256(b[i], 1));
	}
}

/* Keys and values lo to hi of the block that begins at `begin`. What is beyond them is not read; of keys, the nearest stand
 * in there, up to a multiple of 16. */
static void block_take(const struct attend *w, size_t begin, size_t lo, size_t hi)
{
	const struct ops_pages *kv = w->a->kv;
	const size_t dim = w->a->head_dim, from = lo / 16 * 16, to = (hi + 15) / 16 * 16;
	const uint16_t *row[KEYS];
	for (size_t i = lo; i < hi;) {
		size_t at = (begin + i) % kv->len, end = kv->len - at < hi - i ? i + kv->len - at : hi;
		const uint16_t *key = kv->base + kv->page[(begin + i) / kv->len] * kv->stride + at * dim;
		for (; i < end; i++, key += dim) row[i] = key;
	}
	for (size_t i = from; i < lo; i++) row[i] = row[lo];
	for (size_t i = hi; i < to; i++) row[i] = row[hi - 1];
	for (size_t i = from; i < to; i += TURN_KEYS)
		for (size_t d = 0; d < dim; d += 16) turn(row + i, d, w->turned + d * KEYS + i);
	for (size_t d = 0; d < dim; d++)
		for (size_t i = from; i < to; i += LANES) v_store(w->keys + d * KEYS + i, v_f16(w->turned + d * KEYS + i));
	for (size_t i = lo; i < hi; i++)
		for (size_t d = 0; d < dim; d += LANES) v_store(w->values + i * dim + d, v_f16(row[i] + kv->len * dim + d));
}

/* ---- some queries and that block ---- */

/* Scores s of query q to shares, not yet divided by their sum; its values up to here are scaled down where its maximum
 * rises. It has keys lo to hi. */
INLINE void shares_make(const struct attend *w, size_t q, float *s, size_t lo, size_t hi, float *out)
{
	const V scale = v_set1(w->a->scale);
	float *max = w->max + q - w->q0, *sums = w->sum + (q - w->q0) * LANES, top;
	V m = v_set1(*max), sum = v_zero();
	for (size_t i = 0; i < lo; i++) s[i] = -INFINITY;
	for (size_t i = hi; i < KEYS; i++) s[i] = -INFINITY;
	for (size_t i = 0; i < KEYS; i += LANES) {
		V x = v_mul(v_load(s + i), scale);
		v_store(s + i, x);
		m = v_max(m, x);
	}
	top = v_top(m);
	m = v_set1(top);
	for (size_t i = 0; i < KEYS; i += LANES) {
		V x = v_exp(v_sub(v_load(s + i), m));
		v_store(s + i, x);
		sum = v_add(sum, x);
	}
	if (top > *max) {
		V down = v_exp(v_sub(v_set1(*max), m));
		v_store(sums, v_mul(v_load(sums), down));
		for (size_t i = 0; i < w->a->head_dim; i += LANES) v_store(out + i, v_mul(v_load(out + i), down));
		*max = top;
	}
	v_store(sums, v_add(v_load(sums), sum));
}

/* Queries q to end, as few times as possible and then alike many at a time; each has keys lo to hi of the block. */
static void rows_attend(const struct attend *w, size_t q, size_t end, size_t lo, size_t hi)
{
	const struct ops_attend *a = w->a;
	for (size_t n, times; q < end; q += n) {
		const float *x[ATTEND_ROWS], *p[ATTEND_ROWS];
		float *s[ATTEND_ROWS], *out[ATTEND_ROWS];
		times = (end - q + ATTEND_ROWS - 1) / ATTEND_ROWS;
		n = (end - q + times - 1) / times;
		for (size_t i = 0, t = q / a->heads, h = q % a->heads; i < n; i++) {
			x[i] = a->q + t * a->ldq + h * a->head_dim;
			out[i] = a->out + t * a->ldo + h * a->head_dim;
			s[i] = w->scores + i * KEYS;
			p[i] = s[i] + lo;
			if (++h == a->heads) h = 0, t++;
		}
		scores_make(x, w->keys, a->head_dim, s, lo / 16 * 16, (hi + 15) / 16 * 16, n);
		for (size_t i = 0; i < n; i++) shares_make(w, q + i, s[i], lo, hi, out[i]);
		values_add(p, w->values + lo * a->head_dim, a->head_dim, hi - lo, out, n);
	}
}

static size_t token_first(const struct ops_attend *a, size_t t)
{
	size_t n = a->pos + t + 1;
	return a->window && n > a->window ? n - a->window : 0;
}

/* Queries w->q0 to q1. */
static void block_attend(const struct attend *w, size_t q1, size_t begin)
{
	const struct ops_attend *a = w->a;
	for (size_t q = w->q0, end; q < q1; q = end) {
		size_t t = q / a->heads, first = token_first(a, t), n = a->pos + t + 1;
		size_t lo = first > begin ? first - begin : 0, hi = n > begin ? n - begin : 0;
		if (hi > KEYS) hi = KEYS;
		if (lo == 0 && hi == KEYS) /* and so for all tokens up to the one whose window begins behind */
			for (t++; t < a->tokens && token_first(a, t) <= begin; t++) {}
		else t++;
		end = t * a->heads < q1 ? t * a->heads : q1;
		if (lo < hi) rows_attend(w, q, end, lo, hi);
	}
}

static void simd_attend(const struct ops_attend *a, void *scratch)
{
	const size_t dim = a->head_dim, all = a->tokens * a->heads;
	float *at = scratch;
	struct attend w = { .a = a, .keys = at, .values = at + dim * KEYS, .scores = at + 2 * dim * KEYS };
	w.sum = w.scores + ATTEND_ROWS * KEYS;
	w.max = w.sum + ATTEND_QUERIES * LANES;
	w.turned = (uint16_t *)(void *)(w.max + ATTEND_QUERIES);
	for (size_t q1; w.q0 < all; w.q0 = q1) {
		size_t first = token_first(a, w.q0 / a->heads), n;
		q1 = all - w.q0 < ATTEND_QUERIES ? all : w.q0 + ATTEND_QUERIES;
		n = a->pos + (q1 - 1) / a->heads + 1;
		for (size_t q = w.q0; q < q1; q++) {
			memset(a->out + q / a->heads * a->ldo + q % a->heads * dim, 0, dim * sizeof *a->out);
			v_store(w.sum + (q - w.q0) * LANES, v_zero());
			w.max[q - w.q0] = -FLT_MAX;
		}
		for (size_t begin = first / KEYS * KEYS; begin < n; begin += KEYS) {
			block_take(&w, begin, first > begin ? first - begin : 0, n - begin < KEYS ? n - begin : KEYS);
			block_attend(&w, q1, begin);
		}
		for (size_t q = w.q0; q < q1; q++) {
			float *out = a->out + q / a->heads * a->ldo + q % a->heads * dim;
			V share = v_set1(1 / sum_lanes(v_load(w.sum + (q - w.q0) * LANES)));
			for (size_t i = 0; i < dim; i += LANES) v_store(out + i, v_mul(v_load(out + i), share));
		}
	}
}
