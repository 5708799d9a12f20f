/* test_kvcache.c: common beginnings, cuts, rows that do not overlap, and windows that move and go back. */
#include "generate/kvcache.h"
#include "tests/test.h"

TEST(kvcache_prefix_and_rows)
{
	struct kvcache c;
	struct err e;
	const int32_t ids[] = { 5, 6, 7, 8 }, other[] = { 5, 6, 9 };
	CHECK_OK(kvcache_init(&c, 2, 3, 16, 10, 0, NULL, 1, &e), e);
	CHECK_INT(kvcache_keep(&c, ids, 4), 0);
	memcpy(c.ids, ids, sizeof ids);
	c.len = 4;
	CHECK_INT(kvcache_keep(&c, ids, 4), 4);
	CHECK_INT(kvcache_cut(&c, 9), 4);
	CHECK_INT(kvcache_keep(&c, other, 3), 2);
	CHECK_INT(kvcache_keep(&c, ids, 1), 1);
	CHECK(kvcache_key(&c, 0, 1, 0) == kvcache_key(&c, 0, 0, 0) + 160 && kvcache_value(&c, 1, 0, 2) == c.v + 480 + 32);
	CHECK_INT(kvcache_first(&c, 1, 9), 0);
	kvcache_clear(&c);
	CHECK_INT(kvcache_init(&c, 64, SIZE_MAX / 8, 128, 4096, 0, NULL, 1, &e), E_MEMORY);
}

/* Every position's rows carry its number; whatever is added and cut, what a query may read is right. */
TEST(kvcache_windows)
{
	enum { WINDOW = 20, CONTEXT = 3000, MOST = 64 };
	const uint8_t slides[] = { 1, 0, 1 };
	struct kvcache c;
	struct err e;
	uint32_t r = 1;
	size_t emptied = 0, kept = 0;
	CHECK_OK(kvcache_init(&c, 3, 2, 16, CONTEXT, WINDOW, slides, MOST, &e), e);
	CHECK_INT(c.rows, WINDOW + KVCACHE_BACK + KVCACHE_SLIDE + MOST);
	for (int round = 0; round < 2000; round++) {
		size_t n = (r = r * 1664525 + 1013904223) >> 26;
		if (n == 0 || c.len + n > CONTEXT) {
			size_t to = (r >> 8) % (c.len + 1), was = c.len, left = kvcache_cut(&c, to);
			CHECK(left == to || left == 0);
			if (was - to <= KVCACHE_BACK) CHECK_INT(left, to);
			kept += left > 0;
			emptied += left < to;
			continue;
		}
		kvcache_room(&c, n);
		for (size_t p = c.len; p < c.len + n; p++)
			for (size_t i = 0; i < 6; i++) {
				*kvcache_key(&c, i / 2, i % 2, p) = (float)(p * 6 + i);
				*kvcache_value(&c, i / 2, i % 2, p) = (float)(p * 6 + i) + 0.5f;
			}
		for (size_t i = 0; i < 6; i++)
			for (size_t p = kvcache_first(&c, i / 2, c.len); p < c.len + n; p++) {
				CHECK_INT(*kvcache_key(&c, i / 2, i % 2, p), p * 6 + i);
				CHECK_INT(2 * *kvcache_value(&c, i / 2, i % 2, p), 2 * (p * 6 + i) + 1);
			}
		c.len += n;
	}
	CHECK(emptied > 3 && kept > 3);
	kvcache_clear(&c);
	CHECK_OK(kvcache_init(&c, 3, 2, 16, 100, WINDOW, slides, MOST, &e), e);
	CHECK_INT(c.rows, 100);
	kvcache_clear(&c);
}
