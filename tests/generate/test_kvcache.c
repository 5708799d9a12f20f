/* test_kvcache.c: common beginnings, cuts, rows that do not overlap. */
#include "generate/kvcache.h"
#include "tests/test.h"

TEST(kvcache_prefix_and_rows)
{
	struct kvcache c;
	struct err e;
	const int32_t ids[] = { 5, 6, 7, 8 }, other[] = { 5, 6, 9 };
	CHECK_OK(kvcache_init(&c, 2, 3, 16, 10, &e), e);
	CHECK_INT(kvcache_common(&c, ids, 4), 0);
	memcpy(c.ids, ids, sizeof ids);
	c.len = 4;
	CHECK_INT(kvcache_common(&c, ids, 4), 4);
	CHECK_INT(kvcache_common(&c, ids, 2), 2);
	CHECK_INT(kvcache_common(&c, other, 3), 2);
	kvcache_cut(&c, 9);
	CHECK_INT(c.len, 4);
	kvcache_cut(&c, 1);
	CHECK_INT(kvcache_common(&c, ids, 4), 1);
	CHECK(kvcache_keys(&c, 0, 1) == kvcache_keys(&c, 0, 0) + 160 && kvcache_values(&c, 1, 0) == c.v + 480);
	kvcache_clear(&c);
	CHECK_INT(kvcache_init(&c, SIZE_MAX / 8, 64, 128, 4096, &e), E_MEMORY);
}
