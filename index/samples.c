/* samples.c: owns the search for pieces of an erased document.
 *
 * Method: every position of the searched bytes is hashed over 16 bytes; a bitmap says for nearly all of them that no
 * sample begins like that. What passes is looked up by a hash over the sample's whole length, which is 16 or 32 bytes,
 * so a chain holds equal hashes only, however alike the lines of the document are. Equal samples are kept once.
 * Threads: none of its own. Failure: E_MEMORY, E_IO. */
#include "index/samples.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"

enum { SHORT = 16, LONG = 32, STEP_BYTES = 64, TEXT_SAMPLES = 1 << 16, BLOCK_BYTES = 1 << 20, FILTER_BITS = 1 << 22 };

static uint64_t mix(const uint8_t *p, uint64_t h)
{
	uint64_t a, b;
	memcpy(&a, p, 8);
	memcpy(&b, p + 8, 8);
	h = (h ^ a) * 0x9e3779b97f4a7c15u;
	h = (h ^ (h >> 29) ^ b) * 0xbf58476d1ce4e5b9u;
	return h ^ (h >> 32);
}

static uint64_t hash(const uint8_t *p, size_t len)
{
	uint64_t h = mix(p, len);
	return len == LONG ? mix(p + SHORT, h) : h;
}

void samples_init(struct samples *s)
{
	memset(s, 0, sizeof *s);
	buf_init(&s->bytes, (size_t)1 << 31);
}

void samples_clear(struct samples *s)
{
	buf_clear(&s->bytes);
	mem_free(s->at);
	mem_free(s->bucket);
	mem_free(s->filter);
	samples_init(s);
}

static int one_add(struct samples *s, const uint8_t *p, size_t len, enum sample_kind kind, struct err *e)
{
	size_t same = 1;
	int rc;
	while (same < len && p[same] == p[0]) same++;
	if (same == len) return OK; /* zeros, a line of dashes: they say nothing */
	if (s->n + 1 >= s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 256;
		struct sample *more = cap < UINT32_MAX ? mem_realloc(s->at, cap * sizeof *more) : NULL;
		if (!more) return err_set(e, E_MEMORY, "erase: out of memory");
		s->at = more;
		s->cap = cap;
	}
	s->at[s->n + 1] = (struct sample){ .off = s->bytes.len, .len = (uint8_t)len, .kind = (uint8_t)kind };
	rc = buf_put(&s->bytes, p, len);
	if (rc) return err_set(e, rc, "erase: too many samples");
	s->n++;
	return OK;
}

int samples_add(struct samples *s, const void *data, size_t len, enum sample_kind kind, struct err *e)
{
	const uint8_t *p = data;
	size_t piece = len >= LONG ? LONG : SHORT;
	int rc;
	if (len < SHORT) return OK;
	rc = one_add(s, p, piece, kind, e);
	if (!rc && len > piece) rc = one_add(s, p + len - piece, piece, kind, e);
	return rc;
}

int samples_add_text(struct samples *s, const char *text, size_t len, struct err *e)
{
	size_t step = len / TEXT_SAMPLES > STEP_BYTES ? len / TEXT_SAMPLES : STEP_BYTES;
	int rc = samples_add(s, text, len, SAMPLE_TEXT, e);
	for (size_t at = step; !rc && at + LONG <= len; at += step)
		rc = one_add(s, (const uint8_t *)text + at, LONG, SAMPLE_TEXT, e);
	return rc;
}

static const uint8_t *bytes_of(const struct samples *s, const struct sample *one)
{
	return (const uint8_t *)s->bytes.data + one->off;
}

static struct sample *find(struct samples *s, const uint8_t *p, size_t len)
{
	for (uint32_t i = s->bucket[hash(p, len) & s->bucket_mask]; i; i = s->at[i].next)
		if (s->at[i].len == len && memcmp(bytes_of(s, &s->at[i]), p, len) == 0) return &s->at[i];
	return NULL;
}

int samples_seal(struct samples *s, struct err *e)
{
	size_t buckets = 16, kept = 0;
	while (buckets < 2 * s->n) buckets *= 2;
	s->bucket = mem_calloc(buckets, sizeof *s->bucket);
	s->filter = mem_calloc(FILTER_BITS / 64, sizeof *s->filter);
	if (!s->bucket || !s->filter) return err_set(e, E_MEMORY, "erase: out of memory");
	s->bucket_mask = buckets - 1;
	for (size_t i = 1; i <= s->n; i++) {
		struct sample one = s->at[i];
		const uint8_t *p = bytes_of(s, &one);
		uint64_t bit = mix(p, 0) % FILTER_BITS;
		uint32_t *head = &s->bucket[hash(p, one.len) & s->bucket_mask];
		if (find(s, p, one.len)) continue;
		one.next = *head;
		s->at[++kept] = one;
		*head = (uint32_t)kept;
		s->filter[bit / 64] |= (uint64_t)1 << bit % 64;
	}
	s->n = kept;
	return OK;
}

void samples_scan(struct samples *s, const void *data, size_t len, uint8_t mark)
{
	const uint8_t *p = data;
	for (size_t i = 0; i + SHORT <= len; i++) {
		uint64_t bit = mix(p + i, 0) % FILTER_BITS;
		if (!(s->filter[bit / 64] >> bit % 64 & 1)) continue;
		for (size_t n = SHORT; n <= LONG && i + n <= len; n += LONG - SHORT) {
			struct sample *one = find(s, p + i, n);
			if (one) one->seen |= mark;
		}
	}
}

int samples_scan_file(struct samples *s, int fd, uint8_t mark, uint64_t *bytes, struct err *e)
{
	uint8_t *block = mem_alloc(BLOCK_BYTES);
	size_t kept = 0;
	int rc = OK;
	*bytes = 0;
	if (!block) return err_set(e, E_MEMORY, "read the store's file: out of memory");
	for (;;) {
		ssize_t n = pread(fd, block + kept, BLOCK_BYTES - kept, (off_t)*bytes);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) rc = err_sys(e, "read the store's file");
		if (n <= 0) break;
		*bytes += (uint64_t)n;
		samples_scan(s, block, kept + (size_t)n, mark);
		n += (ssize_t)kept;
		kept = n < LONG - 1 ? (size_t)n : LONG - 1;      /* a sample may lie across two blocks */
		memmove(block, block + n - kept, kept);
	}
	mem_free(block);
	return rc;
}
