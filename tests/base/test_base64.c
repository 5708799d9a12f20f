/* test_base64.c: bytes as text. */
#include <string.h>
#include "base/base64.h"
#include "base/err.h"
#include "tests/test.h"

/* RFC 4648, section 10. */
TEST(base64_rfc_vectors)
{
	static const char *const rows[][2] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" } };
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf b;
		buf_init(&b, 100);
		CHECK(base64_put(&b, rows[i][0], strlen(rows[i][0])) == OK);
		CHECK_STR(buf_cstr(&b), rows[i][1]);
		buf_clear(&b);
	}
}

TEST(base64_all_bytes_and_a_full_buffer)
{
	unsigned char bytes[] = { 0xfb, 0xef, 0xbe, 0xff, 0xff, 0xff, 0x00 };
	struct buf b;
	buf_init(&b, 100);
	CHECK(base64_put(&b, bytes, sizeof bytes) == OK);
	CHECK_STR(buf_cstr(&b), "++++////AA==");
	buf_clear(&b);
	buf_init(&b, 7);
	CHECK(base64_put(&b, bytes, sizeof bytes) == E_LIMIT);
	buf_clear(&b);
}
