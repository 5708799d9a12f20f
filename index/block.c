/* block.c: owns the inside of a block of postings (record.h; the bytes are on the format page, record.c).
 *
 * Method: gaps, counts and lengths lie in three lists of their own, each of whole bytes as wide as its largest value
 * needs, so that reading is three loops the compiler makes vectors of. In front stand up to four pairs {count, len}:
 * every posting of the block has at most the count and at least the length of one of them. BM25 grows with the count
 * and falls with the length, so the best of the pairs bounds the block for any k1, b, average length and weight, and a
 * search that can't use the block never reads it. Postings are put into four classes by count, one pair each: one pass,
 * and nearly as tight as the exact frontier, since most counts are 1 or 2.
 * Threads: no state. Failure: E_CORRUPT, E_LIMIT, E_MEMORY. */
#include <string.h>
#include "index/record.h"

enum { HEAD = 8, FIXED = HEAD + 2, PAIRS_FROM = 8, CLASSES = 4, BLOCK_VERSION = 2 };

/* ---- writing ---- */

/* log2 of the bytes that x needs. */
static unsigned width_of(uint64_t x)
{
	return x < 1u << 8 ? 0 : x < 1u << 16 ? 1 : x < 1ull << 32 ? 2 : 3;
}

/* Numbers in 1 << width bytes each, little-endian. */
static void put_list(struct buf *b, const uint64_t *x, size_t n, unsigned width)
{
	uint8_t *to;
	if (buf_failed(b) || buf_reserve(b, n << width)) return;
	to = (uint8_t *)b->data + b->len;
	for (size_t i = 0; i < n; i++) {
		if (width == 0) to[i] = (uint8_t)x[i];
		else memcpy(to + (i << width), &x[i], (size_t)1 << width);
	}
	b->len += n << width;
}

static void put_leb(struct buf *b, uint64_t x)
{
	uint8_t bytes[10];
	size_t n = 0;
	for (; x >= 0x80; x >>= 7) bytes[n++] = (uint8_t)(x | 0x80);
	bytes[n++] = (uint8_t)x;
	buf_put(b, bytes, n);
}

/* Fills pairs, each of which no other one covers; returns how many. */
static size_t pairs_of(const struct posting *p, size_t n, struct block_pair pairs[CLASSES])
{
	static const uint8_t class_of[] = { 0, 0, 1, 2, 2 };
	struct block_pair of[CLASSES] = { { 0, 0 } };
	size_t kept = 0;
	uint32_t shortest = UINT32_MAX;
	if (n < PAIRS_FROM) return 0;
	for (size_t i = 0; i < n; i++) {
		struct block_pair *c = &of[p[i].count < sizeof class_of ? class_of[p[i].count] : CLASSES - 1];
		if (c->count == 0 || p[i].len < c->len) c->len = p[i].len;
		if (p[i].count > c->count) c->count = p[i].count;
	}
	for (size_t i = CLASSES; i--;) {
		if (of[i].count == 0 || of[i].len >= shortest) continue;
		shortest = of[i].len;
		pairs[kept++] = of[i];
	}
	return kept;
}

int rec_block_put(struct buf *out, const struct key *k, const struct posting *p, size_t n)
{
	struct block_pair pairs[CLASSES];
	uint64_t gap = 0, count = 0, len = 0, gaps[BLOCK_MAX], counts[BLOCK_MAX], lens[BLOCK_MAX];
	uint8_t head[FIXED] = { 0, 0, 0, 0, 'W', BLOCK_VERSION };
	uint16_t n16 = (uint16_t)n;
	uint32_t crc;
	size_t pair_n = pairs_of(p, n, pairs);
	unsigned w_gap, w_count, w_len;
	if (n > BLOCK_MAX || n == 0) return E_LIMIT;
	for (size_t i = 0; i < n; i++) {
		gap |= gaps[i] = i ? p[i].chunk - p[i - 1].chunk : 0;
		count |= counts[i] = p[i].count;
		len |= lens[i] = p[i].len;
	}
	w_gap = width_of(gap), w_count = width_of(count), w_len = width_of(len);
	memcpy(head + 6, &n16, 2);
	head[HEAD] = (uint8_t)(w_gap | w_count << 2 | w_len << 4);
	head[HEAD + 1] = (uint8_t)pair_n;
	buf_reset(out);
	buf_put(out, head, sizeof head);
	put_leb(out, p[0].chunk);
	buf_put(out, pairs, pair_n * sizeof *pairs);
	put_list(out, gaps + 1, n - 1, w_gap);
	put_list(out, counts, n, w_count);
	put_list(out, lens, n, w_len);
	if (buf_failed(out)) return buf_failed(out);
	crc = crc32c(crc32c(0, k->b, k->n), out->data + 4, out->len - 4);
	memcpy(out->data, &crc, 4);
	return OK;
}

/* ---- reading ---- */

/* Up to 10 bytes; *at moves on. 0 when it does not end in time: no chunk has this number. */
static uint64_t get_leb(const uint8_t *p, size_t n, size_t *at)
{
	uint64_t x = 0;
	for (unsigned shift = 0; shift < 64 && *at < n; shift += 7) {
		uint8_t c = p[(*at)++];
		if (shift == 63 && c > 1) return 0;
		x |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80)) return x;
	}
	return 0;
}

size_t rec_block_n(struct slice v)
{
	uint16_t n = 0;
	if (v.n >= HEAD) memcpy(&n, v.p + 6, 2);
	return n;
}

int rec_block_look(struct slice v, struct block_look *out)
{
	size_t at = FIXED, n = rec_block_n(v), lists;
	*out = (struct block_look){ .n = n };
	if (v.n < FIXED || v.p[4] != 'W' || v.p[5] != BLOCK_VERSION || n == 0 || n > BLOCK_MAX) return 0;
	out->first = get_leb(v.p, v.n, &at);
	out->pair_n = v.p[HEAD + 1];
	lists = ((n - 1) << (v.p[HEAD] & 3)) + (n << (v.p[HEAD] >> 2 & 3)) + (n << (v.p[HEAD] >> 4 & 3));
	if (out->first == 0 || out->pair_n > CLASSES || v.p[HEAD] >> 6 || (v.p[HEAD] >> 2 & 3) == 3 || (v.p[HEAD] >> 4 & 3) == 3) return 0;
	if (v.n - at != out->pair_n * sizeof *out->pair + lists) return 0;
	memcpy(out->pair, v.p + at, out->pair_n * sizeof *out->pair);
	out->lists = v.p + at + out->pair_n * sizeof *out->pair;
	return 1;
}

/* n values of 1 << width bytes, width below 3. */
static const uint8_t *widen(uint32_t *restrict out, const uint8_t *restrict p, size_t n, unsigned width)
{
	if (width == 0)
		for (size_t i = 0; i < n; i++) out[i] = p[i];
	else if (width == 1)
		for (size_t i = 0; i < n; i++) {
			uint16_t x;
			memcpy(&x, p + 2 * i, 2);
			out[i] = x;
		}
	else memcpy(out, p, 4 * n);
	return p + (n << width);
}

/* Chunk ids from n - 1 gaps of a width; *ok: they ascend. */
#define GAPS_ADD(name, type) \
	static const uint8_t *name(uint64_t *restrict out, uint64_t first, const uint8_t *restrict p, size_t n, int *ok) \
	{ \
		uint64_t at = first; \
		int some = 1; \
		out[0] = first; \
		for (size_t i = 1; i < n; i++) { \
			type gap; \
			memcpy(&gap, p + (i - 1) * sizeof gap, sizeof gap); \
			out[i] = at += gap; \
			some &= gap != 0; \
		} \
		*ok = some && at >= first; \
		return p + (n - 1) * sizeof(type); \
	}
GAPS_ADD(gaps_add_1, uint8_t)
GAPS_ADD(gaps_add_2, uint16_t)
GAPS_ADD(gaps_add_4, uint32_t)

static const uint8_t *gaps_add_8(uint64_t *out, uint64_t first, const uint8_t *p, size_t n, int *ok)
{
	uint64_t at = out[0] = first, gap;
	*ok = 1;
	for (size_t i = 1; i < n; i++, p += sizeof gap) {
		memcpy(&gap, p, sizeof gap);
		*ok &= gap != 0 && at <= UINT64_MAX - gap;
		out[i] = at += gap;
	}
	return p;
}

int rec_block_read(const struct key *k, struct slice v, uint64_t *chunk, uint32_t *count, uint32_t *len, struct err *e)
{
	struct block_look b;
	uint32_t crc;
	int ok, good = 1;
	if (v.n < HEAD) return err_set(e, E_CORRUPT, "record 'W' is cut short: %zu bytes", v.n);
	if (v.p[4] != 'W') return err_set(e, E_CORRUPT, "record 'W' has another kind (%u)", v.p[4]);
	memcpy(&crc, v.p, 4);
	if (crc != crc32c(crc32c(0, k->b, k->n), v.p + 4, v.n - 4)) return err_set(e, E_CORRUPT, "record 'W': wrong checksum");
	if (v.p[5] != BLOCK_VERSION)
		return err_set(e, E_UNSUPPORTED, "record 'W' has version %u, this build reads %u", v.p[5], BLOCK_VERSION);
	if (!rec_block_look(v, &b)) return err_set(e, E_CORRUPT, "record 'W': a length passes its end");
	static const uint8_t *(*const gaps_add[])(uint64_t *, uint64_t, const uint8_t *, size_t, int *) = { gaps_add_1, gaps_add_2, gaps_add_4,
		gaps_add_8 };
	const uint8_t *p = gaps_add[v.p[HEAD] & 3](chunk, b.first, b.lists, b.n, &ok);
	p = widen(count, p, b.n, v.p[HEAD] >> 2 & 3);
	widen(len, p, b.n, v.p[HEAD] >> 4 & 3);
	for (size_t i = 0; i < b.n; i++) good &= count[i] != 0 && count[i] <= len[i];
	return ok && good ? OK : err_set(e, E_CORRUPT, "record 'W': postings out of order");
}

static int covered(const struct block_look *b, const struct posting *p)
{
	int yes = b->pair_n == 0;
	for (size_t i = 0; i < b->pair_n; i++) yes |= p->count <= b->pair[i].count && p->len >= b->pair[i].len;
	return yes;
}

int rec_block_get(struct posting *out, size_t cap, size_t *n, const struct key *k, struct slice v, struct err *e)
{
	uint64_t chunk[BLOCK_MAX];
	uint32_t count[BLOCK_MAX], len[BLOCK_MAX];
	struct block_look look;
	size_t due = rec_block_n(v);
	int rc;
	*n = 0;
	rec_block_look(v, &look);
	if (due == 0 || due > cap || due > BLOCK_MAX) return err_set(e, E_CORRUPT, "record 'W': %zu postings", due);
	rc = rec_block_read(k, v, chunk, count, len, e);
	for (size_t i = 0; !rc && i < due; i++) {
		out[i] = (struct posting){ chunk[i], count[i], len[i] };
		if (!covered(&look, &out[i])) rc = err_set(e, E_CORRUPT, "record 'W': a posting passes the bounds in front");
	}
	if (!rc) *n = due;
	return rc;
}
