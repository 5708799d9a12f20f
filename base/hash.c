/* hash.c: owns the way to libcrypto. SHA-256 (FIPS 180-4) through the low-level calls: they work in memory given to
 * them and cannot fail, which the EVP calls can, and they use the processor's SHA instructions all the same.
 * Threads: one at a time per sha256. Failure: only of files. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "base/hash.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_BYTES = 256 * 1024 };

struct sha256 {
	SHA256_CTX ctx;
};

struct sha256 *sha256_new(void)
{
	struct sha256 *h = mem_alloc(sizeof *h);
	if (h) SHA256_Init(&h->ctx);
	return h;
}

void sha256_put(struct sha256 *h, const void *data, size_t len)
{
	SHA256_Update(&h->ctx, data, len);
}

void sha256_end(struct sha256 *h, uint8_t out[32])
{
	SHA256_Final(out, &h->ctx);
	mem_free(h);
}

void sha256_of(const void *data, size_t len, uint8_t out[32])
{
	SHA256_CTX ctx;
	SHA256_Init(&ctx);
	SHA256_Update(&ctx, data, len);
	SHA256_Final(out, &ctx);
}

void hmac_sha256_of(const void *key, size_t key_len, const void *data, size_t len, uint8_t out[32])
{
	uint8_t pad[64] = { 0 };
	SHA256_CTX ctx;
	if (key_len > sizeof pad) sha256_of(key, key_len, pad);
	else if (key_len) memcpy(pad, key, key_len);
	for (size_t i = 0; i < sizeof pad; i++) pad[i] ^= 0x36;
	SHA256_Init(&ctx);
	SHA256_Update(&ctx, pad, sizeof pad);
	SHA256_Update(&ctx, data, len);
	SHA256_Final(out, &ctx);
	for (size_t i = 0; i < sizeof pad; i++) pad[i] ^= 0x36 ^ 0x5c;
	SHA256_Init(&ctx);
	SHA256_Update(&ctx, pad, sizeof pad);
	SHA256_Update(&ctx, out, 32);
	SHA256_Final(out, &ctx);
}

int sha256_file(const char *path, uint8_t out[32], void (*progress)(void *ctx, uint64_t done), void *ctx, struct err *e)
{
	SHA256_CTX hash;
	uint64_t done = 0;
	uint8_t *part = NULL;
	struct stat st;
	ssize_t n;
	int rc = OK, fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return err_sys(e, "open %s", path);
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		rc = err_set(e, E_IO, "%s: is a folder, not a file", path);
		goto out;
	}
	part = mem_alloc(READ_BYTES);
	if (!part) {
		rc = err_set(e, E_MEMORY, "%s: out of memory", path);
		goto out;
	}
	SHA256_Init(&hash);
	while ((n = read(fd, part, READ_BYTES)) != 0) {
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) {
			rc = err_sys(e, "read %s", path);
			goto out;
		}
		SHA256_Update(&hash, part, (size_t)n);
		done += (uint64_t)n;
		if (progress) progress(ctx, done);
	}
	SHA256_Final(out, &hash);
out:
	mem_free(part);
	close(fd);
	return rc;
}

void hex_put(char *out, const uint8_t *in, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[in[i] >> 4];
		out[2 * i + 1] = digits[in[i] & 15];
	}
	out[2 * n] = 0;
}
