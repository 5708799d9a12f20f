/* test_hash.c: vectors of FIPS 180-4 and NIST's example files, whole and in odd pieces, and files. */
#include "base/hash.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"
#include "tests/test.h"

static const char *hex_of(const uint8_t hash[32])
{
	static char hex[65];
	hex_put(hex, hash, 32);
	return hex;
}

TEST(sha256_vectors)
{
	uint8_t out[32];
	sha256_of("", 0, out);
	CHECK_STR(hex_of(out), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	sha256_of("abc", 3, out);
	CHECK_STR(hex_of(out), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	sha256_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, out);
	CHECK_STR(hex_of(out), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(sha256_in_pieces)
{
	static char text[1000000];
	memset(text, 'a', sizeof text);
	for (size_t step = 1; step < 200000; step = step * 3 + 1) {
		struct sha256 *h = sha256_new();
		uint8_t out[32];
		CHECK(h);
		for (size_t i = 0; i < sizeof text; i += step)
			sha256_put(h, text + i, sizeof text - i < step ? sizeof text - i : step);
		sha256_end(h, out);
		CHECK_STR(hex_of(out), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
	}
	fault_alloc_after(1);
	CHECK(!sha256_new());
}

static void count_progress(void *ctx, uint64_t done)
{
	CHECK(done > *(uint64_t *)ctx);
	*(uint64_t *)ctx = done;
}

TEST(sha256_of_files)
{
	char path[300];
	uint8_t out[32], same[32];
	uint64_t done = 0;
	size_t len = 700001;
	struct err e;
	char *text = mem_alloc(len);
	CHECK(text);
	memset(text, 'q', len);
	snprintf(path, sizeof path, "%s/f", test_dir());
	CHECK_OK(file_write_atomic(path, text, len, &e), e);
	CHECK_OK(sha256_file(path, out, count_progress, &done, &e), e);
	sha256_of(text, len, same);
	CHECK(memcmp(out, same, 32) == 0);
	CHECK_INT(done, len);
	CHECK_OK(sha256_file(path, out, NULL, NULL, &e), e);
	fault_alloc_after(1);
	CHECK_INT(sha256_file(path, out, NULL, NULL, &e), E_MEMORY);
	*strrchr(path, '/') = 0;
	CHECK_INT(sha256_file(path, out, NULL, NULL, &e), E_IO);
	CHECK(strstr(e.msg, path) && strstr(e.msg, "folder"));
	CHECK_INT(sha256_file("/nonexistent/x", out, NULL, NULL, &e), E_NOT_FOUND);
	mem_free(text);
}

TEST(hmac_of_rfc_4231)
{
	uint8_t key[131], out[32];
	memset(key, 0x0b, 20);
	hmac_sha256_of(key, 20, "Hi There", 8, out);
	CHECK_STR(hex_of(out), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	hmac_sha256_of("Jefe", 4, "what do ya want for nothing?", 28, out);
	CHECK_STR(hex_of(out), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, sizeof key);
	hmac_sha256_of(key, sizeof key, "Test Using Larger Than Block-Size Key - Hash Key First", 54, out);
	CHECK_STR(hex_of(out), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}
