/* wordseg.c: owns a collection's postings in memory: how they are read and where they lie.
 *
 * Method: the table of postings is walked once, in the order of its keys, which is that of the dictionary. Chunks get rows,
 * 0, 1, 2 … in the order of their ids; those that no living document has are left out. A posting is four bytes: the row
 * within its window of 4096, and the number of its pair {count, len}. There are few such pairs in a collection, some
 * thousand, so what a posting is worth is looked up in a small table that is made anew when the average length of chunks
 * changes, and nothing is divided while a query runs. In front of a term's postings stand its runs, one a window it
 * occurs in, with the best worth inside.
 * Threads: made by one, read by any. Failure: memory; a damaged block is left out with a warning. */
#include "index/wordseg.h"
#include <immintrin.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "base/words.h"
#include "index/inside.h"
#include "index/postings.h"

enum { CODES_MAX = 65536, PLAIN_COUNT = 16, PLAIN_LEN = 4096 };

/* ---- using ---- */

void wordseg_put(struct wordseg *g)
{
	if (!g || atomic_fetch_sub(&g->refs, 1) != 1) return;
	mem_free(g->chunk);
	mem_free((void *)g->looked);
	mem_free(g->term);
	mem_free(g->shape);
	mem_free(g->text);
	mem_free(g->slot);
	mem_free(g->post);
	mem_free(g->run);
	mem_free(g->code);
	mem_free(g->worth);
	mem_free(g);
}

uint64_t seg_hash(const char *text, size_t len)
{
	const uint64_t many = 0x9e3779b97f4a7c15u;
	uint64_t h = len * many, x = 0;
	for (; len > 8; text += 8, len -= 8) {
		memcpy(&x, text, 8);
		h = (h ^ x) * many;
		h ^= h >> 32;
	}
	if (len >= 4) { /* two reads that may overlap */
		uint32_t a, b;
		memcpy(&a, text, 4);
		memcpy(&b, text + len - 4, 4);
		x = (uint64_t)a << 32 | b;
	} else if (len) x = (uint64_t)(uint8_t)text[0] << 16 | (uint64_t)(uint8_t)text[len / 2] << 8 | (uint8_t)text[len - 1];
	else x = 0;
	h = (h ^ x) * many;
	return h ^ h >> 29;
}

uint32_t seg_find(const struct wordseg *g, uint64_t hash, const char *text, size_t len)
{
	if (!g->term_n) return 0;
	for (uint32_t i = (uint32_t)hash & g->slot_mask; g->slot[i].term; i = (i + 1) & g->slot_mask) {
		size_t n;
		const char *have;
		if (g->slot[i].tag != (uint32_t)(hash >> 32)) continue;
		have = seg_text(g, g->slot[i].term - 1, &n);
		if (n == len && memcmp(have, text, n) == 0) return g->slot[i].term;
	}
	return 0;
}

uint32_t seg_from(const struct wordseg *g, const char *text, size_t len)
{
	uint32_t lo = 0, hi = g->term_n;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		size_t n;
		const char *have = seg_text(g, mid, &n);
		int d = memcmp(have, text, n < len ? n : len);
		if (d < 0 || (d == 0 && n < len)) lo = mid + 1;
		else hi = mid;
	}
	return lo;
}

enum { KINDS = 27, LONGEST = 31 };

uint32_t seg_shape(const char *text, size_t len)
{
	uint32_t kinds = 0, n = 0;
	for (size_t i = 0; i < len; n++) {
		int32_t c = utf8_next(text, len, &i);
		kinds |= 1u << (c >= 'a' && c <= 'z' ? (uint32_t)c - 'a' : (uint32_t)c % KINDS);
	}
	return kinds | (n < LONGEST ? n : LONGEST) << KINDS;
}

__attribute__((target("avx2"))) size_t seg_near(const struct wordseg *g, uint32_t from, uint32_t to, uint32_t shape, unsigned edits, uint32_t *out,
	size_t cap)
{
	const __m256i one = _mm256_set1_epi32(1), zero = _mm256_setzero_si256(), kinds = _mm256_set1_epi32((1 << KINDS) - 1);
	const __m256i want = _mm256_set1_epi32((int)shape), length = _mm256_set1_epi32((int)(shape >> KINDS)), most = _mm256_set1_epi32((int)edits);
	size_t n = 0;
	for (uint32_t i = from; i < to && n < cap; i += 8) { /* there is room for a whole vector behind the last */
		__m256i v = _mm256_loadu_si256((const __m256i *)(g->shape + i));
		__m256i lost = _mm256_and_si256(_mm256_andnot_si256(v, want), kinds), gained = _mm256_and_si256(_mm256_andnot_si256(want, v), kinds);
		for (unsigned e = 0; e < edits; e++) { /* takes the lowest away */
			lost = _mm256_and_si256(lost, _mm256_sub_epi32(lost, one));
			gained = _mm256_and_si256(gained, _mm256_sub_epi32(gained, one));
		}
		__m256i apart = _mm256_abs_epi32(_mm256_sub_epi32(_mm256_srli_epi32(v, KINDS), length));
		__m256i bad = _mm256_or_si256(_mm256_or_si256(lost, gained), _mm256_cmpgt_epi32(apart, most));
		unsigned bits = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(bad, zero)));
		if (to - i < 8) bits &= (1u << (to - i)) - 1;
		for (; bits && n < cap; bits &= bits - 1) out[n++] = i + (uint32_t)__builtin_ctz(bits);
	}
	return n;
}

uint32_t seg_row(const struct wordseg *g, uint64_t chunk)
{
	uint32_t lo = 0, hi = g->row_n;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (seg_chunk(g, mid) < chunk) lo = mid + 1;
		else hi = mid;
	}
	return lo < g->row_n && seg_chunk(g, lo) == chunk ? lo : g->row_n;
}

void seg_worth(const struct wordseg *g, double k1, double b, double average, float *out)
{
	const float fixed = (float)(k1 * (1 - b)), each = (float)(k1 * b / average);
	for (uint32_t i = 0; i < g->code_n; i++) {
		float f = (float)g->code[i].count;
		out[i] = f / (f + (fixed + each * (float)g->code[i].len));
	}
}

size_t wordseg_guess(const struct rec_coll *coll)
{
	return (size_t)coll->words * 4 + (size_t)coll->chunks * 8;
}

/* ---- reading ---- */

struct build {
	struct wordseg *g;
	struct chunk_run *runs; size_t run_n, run_cap;   /* of the chunks that live, ascending */
	uint32_t *row_of;                                /* the first row of each */
	size_t post_n, post_cap, seg_n, seg_cap, term_cap, text_n, text_cap, code_cap;
	uint32_t *plain;                                 /* code + 1 of small counts and lengths */
	uint32_t *slot; size_t slot_n;                   /* of all pairs: code + 1; a power of two */
	size_t at; uint64_t last;                        /* the run at hand; the last chunk of the term at hand */
};

static int grow(void *list, size_t *cap, size_t n, size_t size)
{
	size_t want = *cap ? *cap + *cap / 2 : 4096;
	void *more;
	if (n < *cap) return OK;
	if (want <= n) want = n + 1;
	more = mem_realloc(*(void **)list, want * size);
	if (!more) return E_MEMORY;
	*(void **)list = more;
	*cap = want;
	return OK;
}

static int on_doc(void *ctx, const struct rec_doc *d)
{
	struct build *b = ctx;
	if (!d->chunk_n) return OK;
	if (grow(&b->runs, &b->run_cap, b->run_n, sizeof *b->runs)) return E_MEMORY;
	b->runs[b->run_n++] = (struct chunk_run){ d->first_chunk, d->chunk_n };
	return OK;
}

static int by_first(const void *a, const void *b)
{
	const struct chunk_run *x = a, *y = b;
	return x->first < y->first ? -1 : x->first > y->first;
}

/* Gives every chunk of the runs its row. E_LIMIT: too many, or too far apart. */
static int rows_make(struct build *b)
{
	struct wordseg *g = b->g;
	uint64_t n = 0;
	if (b->run_n) qsort(b->runs, b->run_n, sizeof *b->runs, by_first);
	for (size_t i = 0; i < b->run_n; i++) {
		if (i && b->runs[i].first < b->runs[i - 1].first + b->runs[i - 1].n) return E_LIMIT; /* a damaged store: check tells */
		n += b->runs[i].n;
	}
	g->first_chunk = b->run_n ? b->runs[0].first : 0;
	if (n >= (uint64_t)SEG_WINDOW * 65536 || (n && b->runs[b->run_n - 1].first + b->runs[b->run_n - 1].n - g->first_chunk > UINT32_MAX))
		return E_LIMIT;
	g->chunk = mem_alloc((n + 1) * sizeof *g->chunk);
	g->looked = mem_calloc(n / 64 + 1, sizeof *g->looked);
	b->row_of = mem_alloc((b->run_n + 1) * sizeof *b->row_of);
	if (!g->chunk || !g->looked || !b->row_of) return E_MEMORY;
	for (size_t i = 0; i < b->run_n; i++) {
		b->row_of[i] = g->row_n;
		for (uint64_t j = 0; j < b->runs[i].n; j++) g->chunk[g->row_n++] = (uint32_t)(b->runs[i].first + j - g->first_chunk);
	}
	return OK;
}

static size_t code_hash(uint32_t count, uint32_t len)
{
	return (size_t)((((uint64_t)count << 32) | len) * 0x9e3779b97f4a7c15u >> 32);
}

static int codes_grow(struct build *b)
{
	size_t n = b->slot_n ? 2 * b->slot_n : 4096;
	uint32_t *slot = mem_calloc(n, sizeof *slot);
	if (!slot) return E_MEMORY;
	mem_free(b->slot);
	b->slot = slot;
	b->slot_n = n;
	for (uint32_t i = 0; i < b->g->code_n; i++) {
		size_t at = code_hash(b->g->code[i].count, b->g->code[i].len) & (n - 1);
		while (slot[at]) at = (at + 1) & (n - 1);
		slot[at] = i + 1;
	}
	return OK;
}

static int code_of(struct build *b, uint32_t count, uint32_t len, uint32_t *out)
{
	struct wordseg *g = b->g;
	uint32_t *plain = count < PLAIN_COUNT && len < PLAIN_LEN ? &b->plain[count * PLAIN_LEN + len] : NULL;
	size_t at;
	if (plain && *plain) {
		*out = *plain - 1;
		return OK;
	}
	if (2 * (size_t)g->code_n >= b->slot_n && codes_grow(b)) return E_MEMORY;
	at = code_hash(count, len) & (b->slot_n - 1);
	while (b->slot[at] && (g->code[b->slot[at] - 1].count != count || g->code[b->slot[at] - 1].len != len)) at = (at + 1) & (b->slot_n - 1);
	if (!b->slot[at]) {
		if (g->code_n == CODES_MAX) return E_LIMIT;
		if (grow(&g->code, &b->code_cap, g->code_n, sizeof *g->code)) return E_MEMORY;
		g->code[g->code_n++] = (struct seg_code){ count, len };
		b->slot[at] = g->code_n;
	}
	*out = b->slot[at] - 1;
	if (plain) *plain = *out + 1;
	return OK;
}

static int term_begin(struct build *b, const char *text, size_t len)
{
	struct wordseg *g = b->g;
	if (grow(&g->term, &b->term_cap, (size_t)g->term_n + 1, sizeof *g->term)) return E_MEMORY;
	if (b->text_n + len + 1 > UINT32_MAX || g->term_n == UINT32_MAX - 1) return E_LIMIT;
	while (b->text_n + len + 1 > b->text_cap)
		if (grow(&g->text, &b->text_cap, b->text_cap, 1)) return E_MEMORY;
	g->term[g->term_n++] = (struct seg_term){ b->post_n, b->seg_n, (uint32_t)b->text_n, 0, 0 };
	memcpy(g->text + b->text_n, text, len);
	g->text[b->text_n + len] = 0;
	b->text_n += len + 1;
	b->at = 0;
	b->last = 0;
	return OK;
}

/* Nobody has the term any more, or it had but damaged blocks. */
static void term_end(struct build *b)
{
	struct wordseg *g = b->g;
	if (!g->term_n || g->term[g->term_n - 1].df) return;
	b->text_n = g->term[--g->term_n].text;
}

/* The run that has the chunk, or the first one behind it. */
static void run_seek(struct build *b, uint64_t chunk)
{
	size_t lo = b->at, hi = b->run_n, step = 1;
	while (lo + step < hi && b->runs[lo + step].first <= chunk) lo += step, step *= 2;
	if (lo + step < hi) hi = lo + step;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (b->runs[mid].first + b->runs[mid].n <= chunk) lo = mid + 1;
		else hi = mid;
	}
	b->at = lo;
}

static int posting_add(struct build *b, uint64_t chunk, uint32_t count, uint32_t len)
{
	struct wordseg *g = b->g;
	struct seg_term *t = &g->term[g->term_n - 1];
	const struct chunk_run *r;
	uint32_t row, code, window;
	int rc;
	if (b->at < b->run_n && b->runs[b->at].first + b->runs[b->at].n <= chunk) run_seek(b, chunk);
	if (b->at == b->run_n || b->runs[b->at].first > chunk) return OK;
	r = &b->runs[b->at];
	row = b->row_of[b->at] + (uint32_t)(chunk - r->first);
	window = row / SEG_WINDOW;
	rc = code_of(b, count, len, &code);
	if (!rc) rc = grow(&g->post, &b->post_cap, b->post_n, sizeof *g->post);
	if (!rc) rc = grow(&g->run, &b->seg_cap, b->seg_n, sizeof *g->run);
	if (rc) return rc;
	if (b->seg_n == t->run || g->run[b->seg_n - 1].window != window) g->run[b->seg_n++] = (struct seg_run){ t->df, (uint16_t)window, 0 };
	g->post[b->post_n++] = row % SEG_WINDOW | code << 16;
	t->df++;
	return OK;
}

/* A block's postings join the term at hand. */
static int block_add(struct build *b, const struct key *k, struct slice value, uint64_t last)
{
	uint64_t chunk[BLOCK_MAX];
	uint32_t count[BLOCK_MAX], len[BLOCK_MAX];
	struct err why = { OK, "" };
	size_t n = rec_block_n(value);
	int rc = OK;
	if (n == 0 || n > BLOCK_MAX) err_set(&why, E_CORRUPT, "record 'W': %zu postings", n);
	else if (rec_block_read(k, value, chunk, count, len, &why) == OK && (chunk[0] <= b->last || chunk[n - 1] > last))
		err_set(&why, E_CORRUPT, "a block has chunks of another");
	if (why.status) {
		log_put(LOG_WARN, "index", "postings are left out: %s", why.msg);
		return OK;
	}
	for (size_t i = 0; !rc && i < n; i++) rc = posting_add(b, chunk[i], count[i], len[i]);
	b->last = chunk[n - 1];
	return rc;
}

static int terms_read(struct build *b, struct snapshot *s, const atomic_int *stop, struct err *e)
{
	struct wordseg *g = b->g;
	struct slice key, value, term, before = { NULL, 0 };
	struct cursor c = { 0 };
	struct key k;
	uint64_t last;
	uint32_t coll;
	int rc = cursor_open(&c, s->t, T_POST, e), limit = OK;
	key_graph(&k, g->coll);
	if (!rc) rc = cursor_seek(&c, &k, &key, &value, e);
	for (; !rc && key.n >= 4 && key_get_u32(key.p) == g->coll; rc = cursor_next(&c, &key, &value, e)) {
		if (atomic_load_explicit(stop, memory_order_relaxed)) rc = err_set(e, E_CANCELLED, "the store is closing");
		if (rc) break;
		if (!key_block_parse(key, &coll, &term, &last)) continue;
		if (term.n != before.n || memcmp(term.p, before.p, term.n) != 0) {
			term_end(b);
			limit = term_begin(b, (const char *)term.p, term.n);
			before = term;
		}
		memcpy(k.b, key.p, k.n = key.n);
		if (!limit) limit = block_add(b, &k, value, last);
		if (limit) break;
	}
	term_end(b);
	cursor_close(&c);
	if (limit) return err_set(e, limit, "words in memory: %s", limit == E_LIMIT ? "too many of a kind" : "out of memory");
	return rc == E_NOT_FOUND ? OK : rc;
}

/* What is known when all postings are there: where the last term ends, the hash table, the bounds. */
static int finish(struct build *b, double k1, double bm25_b)
{
	struct wordseg *g = b->g;
	size_t slots = 64;
	if (!g->term && grow(&g->term, &b->term_cap, 0, sizeof *g->term)) return E_MEMORY;
	g->term[g->term_n] = (struct seg_term){ b->post_n, b->seg_n, (uint32_t)b->text_n, 0, 0 };
	while (slots < 2 * (size_t)g->term_n) slots *= 2;
	g->slot = mem_calloc(slots, sizeof *g->slot);
	g->shape = mem_calloc((size_t)g->term_n + 8, sizeof *g->shape);
	g->worth = mem_alloc((g->code_n + 1) * sizeof *g->worth);
	if (!g->slot || !g->shape || !g->worth || slots > UINT32_MAX) return E_MEMORY;
	g->slot_mask = (uint32_t)(slots - 1);
	for (uint32_t i = 0; i < g->term_n; i++) {
		size_t len;
		const char *text = seg_text(g, i, &len);
		uint64_t hash = seg_hash(text, len);
		uint32_t at = (uint32_t)hash & g->slot_mask;
		while (g->slot[at].term) at = (at + 1) & g->slot_mask;
		g->slot[at] = (struct seg_slot){ (uint32_t)(hash >> 32), i + 1 };
		g->shape[i] = seg_shape(text, len);
	}
	for (int l = 1; l < WORDS_LANGUAGES; l++) {
		char mark[8];
		size_t n = language_term((enum words_language)l, mark);
		if (seg_find(g, seg_hash(mark, n), mark, n)) g->languages |= 1u << l;
	}
	seg_worth(g, k1, bm25_b, g->average, g->worth);
	for (uint32_t i = 0; i < g->term_n; i++)
		for (uint64_t r = g->term[i].run; r < g->term[i + 1].run; r++) {
			uint32_t end = r + 1 < g->term[i + 1].run ? g->run[r + 1].at : g->term[i].df;
			float best = 0;
			for (uint32_t p = g->run[r].at; p < end; p++) best = fmaxf(best, g->worth[g->post[g->term[i].post + p] >> 16]);
			g->run[r].bound = (uint16_t)fminf(ceilf(best * SEG_BOUND_ONE), SEG_BOUND_ONE);
			if (g->run[r].bound > g->term[i].best) g->term[i].best = g->run[r].bound;
		}
	g->bytes = sizeof *g + g->row_n * (sizeof *g->chunk + 1) + b->term_cap * (sizeof *g->term + sizeof *g->shape) + b->text_cap + slots * sizeof *g->slot +
		b->post_cap * sizeof *g->post + b->seg_cap * sizeof *g->run + b->code_cap * (sizeof *g->code + sizeof *g->worth);
	return OK;
}

/* Gives back what lists have room for and don't need. */
static void shrink(void *list, size_t *cap, size_t n, size_t size)
{
	void *less = n && n < *cap ? mem_realloc(*(void **)list, n * size) : NULL;
	if (!less) return;
	*(void **)list = less;
	*cap = n;
}

int wordseg_read(struct wordseg **out, struct snapshot *s, const struct rec_coll *coll, const atomic_int *stop, struct err *e)
{
	const struct reader all = { .all_groups = 1 };
	struct wordseg *g = mem_calloc(1, sizeof *g);
	struct build b = { .g = g };
	int rc = OK;
	*out = NULL;
	if (!g) return err_set(e, E_MEMORY, "words in memory: out of memory");
	atomic_init(&g->refs, 1);
	g->coll = coll->number;
	g->seq = s->state.seq;
	g->last_chunk = s->state.next_chunk - 1;
	g->average = coll->chunks && coll->words ? (double)coll->words / (double)coll->chunks : 1;
	b.plain = mem_calloc((size_t)PLAIN_COUNT * PLAIN_LEN, sizeof *b.plain);
	if (!b.plain) rc = err_set(e, E_MEMORY, "words in memory: out of memory");
	if (!rc) rc = snapshot_each_seen(s, &all, coll->number, on_doc, &b, e);
	if (!rc && (rc = rows_make(&b))) err_set(e, rc, "words in memory: %s", rc == E_LIMIT ? "chunks too far apart" : "out of memory");
	if (!rc) rc = terms_read(&b, s, stop, e);
	shrink(&g->post, &b.post_cap, b.post_n, sizeof *g->post);
	shrink(&g->run, &b.seg_cap, b.seg_n, sizeof *g->run);
	shrink(&g->text, &b.text_cap, b.text_n, 1);
	if (!rc && (rc = finish(&b, s->x->bm25_k1, s->x->bm25_b))) err_set(e, rc, "words in memory: out of memory");
	mem_free(b.runs);
	mem_free(b.row_of);
	mem_free(b.plain);
	mem_free(b.slot);
	if (rc) wordseg_put(g);
	else *out = g;
	return rc;
}
