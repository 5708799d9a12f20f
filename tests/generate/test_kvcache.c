/* test_kvcache.c: what sequences share, that nobody sees another's numbers, and that promises hold while pages are short. */
#include "base/mem.h"
#include "generate/kvcache.h"
#include "tests/test.h"

enum { LAYERS = 2, HEADS = 3, DIM = 16, PAGE = KVCACHE_PAGE };

static void cache_open(struct kvcache *c, size_t pages)
{
	struct err e;
	CHECK_OK(kvcache_init(c, LAYERS, HEADS, DIM, pages * kvcache_page_bytes(LAYERS, HEADS, DIM), 0, NULL, NULL, &e), e);
	CHECK_INT(kvcache_positions(c), pages * PAGE);
}

static struct kvseq seq_open(size_t context)
{
	struct kvseq s;
	struct err e;
	CHECK_OK(kvseq_init(&s, context, &e), e);
	return s;
}

/* A number that follows from the tokens up to pos, as keys do. */
static uint16_t mark_of(const int32_t *ids, size_t pos, size_t layer, size_t head)
{
	uint32_t h = (uint32_t)(7 * layer + head);
	for (size_t i = 0; i <= pos; i++) h = (h ^ (uint32_t)ids[i]) * 16777619u;
	return (uint16_t)(h >> 8);
}

/* Takes in ids up to n as a forward pass would. */
static void seq_fill(struct kvcache *c, struct kvseq *s, const int32_t *ids, size_t n)
{
	kvseq_room(c, s, n - s->len);
	for (; s->len < n; s->len++) {
		s->ids[s->len] = ids[s->len];
		for (size_t i = 0; i < LAYERS * HEADS; i++) {
			uint16_t m = mark_of(ids, s->len, i / HEADS, i % HEADS);
			for (size_t d = 0; d < DIM; d++) {
				kvseq_key(c, s, i / HEADS, i % HEADS, s->len)[d] = m;
				kvseq_value(c, s, i / HEADS, i % HEADS, s->len)[d] = (uint16_t)~m;
			}
		}
	}
}

static void seq_check(const struct kvcache *c, const struct kvseq *s)
{
	for (size_t p = 0; p < s->len; p++)
		for (size_t i = 0; i < LAYERS * HEADS; i++) {
			uint16_t m = mark_of(s->ids, p, i / HEADS, i % HEADS);
			struct ops_pages kv = kvseq_pages(c, s, i / HEADS, i % HEADS);
			const uint16_t *key = kvseq_key(c, s, i / HEADS, i % HEADS, p);
			CHECK(key == kv.base + kv.page[p / kv.len] * kv.stride + p % kv.len * DIM);
			CHECK_MSG(key[0] == m && key[DIM - 1] == m, "key of position %zu of %zu", p, s->len);
			CHECK((kvseq_value(c, s, i / HEADS, i % HEADS, p)[DIM - 1] ^ m) == 0xffff);
		}
}

TEST(kvcache_shares_beginnings)
{
	struct kvcache c;
	struct kvseq a, b;
	int32_t ids[200], other[200];
	for (int32_t i = 0; i < 200; i++) ids[i] = other[i] = i * 31 % 57;
	other[70] = 99;
	cache_open(&c, 12);
	a = seq_open(200);
	b = seq_open(200);
	CHECK_INT(kvseq_begin(&c, &a, 200), OK);
	CHECK_INT(kvseq_extend(&c, &a, ids, 199), 0);
	seq_fill(&c, &a, ids, 100);
	kvseq_share(&c, &a, 100);                       /* while it runs: whole pages */
	CHECK_INT(a.shared, 3);
	CHECK_INT(kvseq_begin(&c, &b, 150), OK);
	CHECK_INT(kvseq_extend(&c, &b, other, 149), 70); /* two pages, and a copy of what the third begins with */
	CHECK(b.page[0] == a.page[0] && b.page[1] == a.page[1] && b.page[2] != a.page[2]);
	seq_fill(&c, &b, other, 149);
	seq_check(&c, &a);
	seq_check(&c, &b);
	CHECK_INT(c.used, 4 + 3);
	kvseq_end(&c, &b, 149);
	seq_fill(&c, &a, ids, 200);
	seq_check(&c, &a);
	kvseq_end(&c, &a, 130);                         /* the rest is not for sharing */
	CHECK_INT(c.used, 0);
	CHECK_INT(c.promised, 0);
	CHECK_INT(kvseq_begin(&c, &a, 200), OK);
	CHECK_INT(kvseq_extend(&c, &a, ids, 199), 130);
	seq_check(&c, &a);
	CHECK_INT(kvseq_extend(&c, &a, ids, 199), 130); /* not at a page's border: as it is */
	kvseq_end(&c, &a, 130);
	CHECK_INT(kvseq_begin(&c, &a, 200), OK);
	CHECK_INT(kvseq_extend(&c, &a, other, 149), 149);
	seq_check(&c, &a);
	kvseq_end(&c, &a, 0);
	CHECK_INT(kvseq_begin(&c, &a, 40), OK);
	CHECK_INT(kvseq_extend(&c, &a, ids, 33), 33);
	CHECK_INT(kvseq_extend(&c, &a, ids, 0), 33);
	kvseq_end(&c, &a, 0);
	kvseq_clear(&a);
	kvseq_clear(&b);
	kvcache_clear(&c);
}

/* Two that fill the same tokens side by side end with the same pages. */
TEST(kvcache_joins_what_is_equal)
{
	struct kvcache c;
	struct kvseq a, b;
	int32_t ids[100];
	for (int32_t i = 0; i < 100; i++) ids[i] = i;
	cache_open(&c, 8);
	a = seq_open(100);
	b = seq_open(100);
	CHECK_INT(kvseq_begin(&c, &a, 100), OK);
	CHECK_INT(kvseq_begin(&c, &b, 100), OK);
	seq_fill(&c, &a, ids, 80);
	seq_fill(&c, &b, ids, 90);
	kvseq_share(&c, &a, 80);
	kvseq_share(&c, &b, 90);
	CHECK(a.page[1] == b.page[1] && c.used == 4);
	seq_check(&c, &b);
	kvseq_end(&c, &a, 80);
	kvseq_end(&c, &b, 90);                          /* the longer end stands for the shorter */
	CHECK_INT(kvseq_begin(&c, &a, 100), OK);
	CHECK_INT(kvseq_extend(&c, &a, ids, 100), 90);
	kvseq_end(&c, &a, 0);
	kvseq_clear(&a);
	kvseq_clear(&b);
	kvcache_clear(&c);
}

TEST(kvcache_refuses)
{
	struct kvcache c;
	struct kvseq s;
	struct err e;
	CHECK_INT(kvcache_init(&c, 64, SIZE_MAX / 8, 128, 1 << 20, 0, NULL, NULL, &e), E_MEMORY);
	CHECK_INT(kvcache_init(&c, 64, 8, 128, (size_t)1 << 45, 0, NULL, NULL, &e), E_MEMORY);
	CHECK_INT(kvseq_init(&s, SIZE_MAX / 8, &e), E_MEMORY);
	kvcache_clear(&c);
	kvseq_clear(&s);
	cache_open(&c, 3);
	s = seq_open(1000);
	CHECK_INT(kvseq_begin(&c, &s, 3 * PAGE + 1), E_BUSY);
	CHECK_INT(kvseq_begin(&c, &s, 3 * PAGE), OK);
	kvseq_end(&c, &s, 0);
	kvseq_clear(&s);
	kvcache_clear(&c);
}

/* Many sequences over few pages, at random: everyone who was let in gets its pages and reads its own numbers. */
TEST(kvcache_at_random)
{
	enum { SEQS = 5, PAGES = 14, CONTEXT = 200, ROUNDS = 6000 };
	struct kvcache c;
	struct kvseq s[SEQS];
	int32_t ids[SEQS][CONTEXT];
	size_t total[SEQS] = { 0 }, busy = 0, reused = 0, gone = 0;
	uint32_t r = 1;
	cache_open(&c, PAGES);
	for (size_t i = 0; i < SEQS; i++) s[i] = seq_open(CONTEXT);
	for (int round = 0; round < ROUNDS; round++) {
		size_t i = (r = r * 1664525 + 1013904223) >> 8, n;
		i %= SEQS;
		if (!total[i]) {
			n = 1 + (r >> 12) % CONTEXT;
			if (kvseq_begin(&c, &s[i], n) != OK) {
				busy++;
				continue;
			}
			total[i] = n;
			for (size_t p = 0, stem = (r >> 5) % 7, turn = 20 + (r >> 9) % 150; p < CONTEXT; p++)
				ids[i][p] = (int32_t)(p < turn ? p * stem % 50 : p * (r % 3 + 1));
			reused += kvseq_extend(&c, &s[i], ids[i], n - 1);
		} else if (s[i].len == total[i]) {
			seq_check(&c, &s[i]);
			kvseq_end(&c, &s[i], (r >> 10) % (total[i] + 1) > 20 ? total[i] : s[i].shared * PAGE);
			total[i] = 0;
			gone++;
		} else {
			if (s[i].len > s[i].shared * PAGE && r % 5 == 0) kvseq_cut(&s[i], s[i].len - 1);
			n = s[i].len + 1 + (r >> 11) % 60;
			seq_fill(&c, &s[i], ids[i], n < total[i] ? n : total[i]);
			if (r % 3) kvseq_share(&c, &s[i], s[i].len);
			kvseq_extend(&c, &s[i], ids[i], total[i] - 1);
		}
		CHECK(c.used + c.promised <= PAGES);
	}
	CHECK_MSG(busy > 100 && reused > 1000 && gone > 500, "%zu %zu %zu", busy, reused, gone);
	for (size_t i = 0; i < SEQS; i++) {
		if (total[i]) kvseq_end(&c, &s[i], s[i].len);
		kvseq_clear(&s[i]);
	}
	CHECK_INT(c.used + c.promised, 0);
	kvcache_clear(&c);
}

TEST(kvcache_windows)
{
	const uint8_t slides[] = { 1, 0 };
	struct kvcache c;
	struct err e;
	CHECK_OK(kvcache_init(&c, 2, 1, 16, 1, 20, slides, NULL, &e), e);
	CHECK_INT(kvcache_first(&c, 0, 19), 0);
	CHECK_INT(kvcache_first(&c, 0, 20), 1);
	CHECK_INT(kvcache_first(&c, 1, 500), 0);
	kvcache_clear(&c);
}
