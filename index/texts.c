/* texts.c: owns texts that are kept once each: one buffer of bytes, and a table of numbers by hash.
 *
 * Method: open addressing with linear probing, at most half full. The hash starts from a random seed, for what goes in
 * (meta, sources) was written by others, who could else make all of it fall into one place.
 * Threads: the owner's. Failure: E_MEMORY, E_LIMIT. */
#include "index/texts.h"
#include <string.h>
#include <sys/random.h>
#include "base/err.h"
#include "base/mem.h"

enum { TEXTS_MAX = INT32_MAX };

static uint64_t hash_of(uint64_t seed, const char *s, size_t len)
{
	uint64_t h = seed ^ len, w;
	for (; len >= 8; s += 8, len -= 8) {
		memcpy(&w, s, 8);
		h = (h ^ w) * 0x9e3779b97f4a7c15u;
		h ^= h >> 29;
	}
	w = 0;
	if (len) memcpy(&w, s, len);
	h = (h ^ w) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 32;
}

const char *texts_get(const struct texts *t, uint32_t number, size_t *len)
{
	size_t from = number > 1 ? t->end[number - 2] + 1 : 0;
	if (len) *len = t->end[number - 1] - from;
	return t->bytes + from;
}

/* The slot of the text, or the free one where it would go. */
static size_t slot_of(const struct texts *t, const char *s, size_t len)
{
	size_t i = hash_of(t->seed, s, len) & (t->slot_n - 1), have;
	for (; t->slot[i]; i = (i + 1) & (t->slot_n - 1)) {
		const char *at = texts_get(t, t->slot[i], &have);
		if (have == len && memcmp(at, s, len) == 0) break;
	}
	return i;
}

uint32_t texts_find(const struct texts *t, const char *s, size_t len)
{
	return t->slot_n ? t->slot[slot_of(t, s, len)] : 0;
}

static int slots_grow(struct texts *t)
{
	struct texts wider = *t;
	if ((size_t)t->n * 2 < t->slot_n) return OK;
	wider.slot_n = t->slot_n ? 2 * t->slot_n : 64;
	if (!wider.seed && getrandom(&wider.seed, sizeof wider.seed, 0) != sizeof wider.seed) wider.seed = 1;
	wider.slot = mem_calloc(wider.slot_n, sizeof *wider.slot);
	if (!wider.slot) return E_MEMORY;
	for (uint32_t i = 1; i <= t->n; i++) {
		size_t len;
		const char *s = texts_get(t, i, &len);
		wider.slot[slot_of(&wider, s, len)] = i;
	}
	mem_free(t->slot);
	*t = wider;
	return OK;
}

static int room(struct texts *t, size_t len)
{
	if (t->cap - t->len < len + 1) {
		size_t cap = t->cap ? t->cap : 4096;
		char *more;
		while (cap - t->len < len + 1) cap *= 2;
		if (!(more = mem_realloc(t->bytes, cap))) return E_MEMORY;
		t->bytes = more;
		t->cap = cap;
	}
	if (t->n == t->end_cap) {
		uint32_t cap = t->end_cap ? 2 * t->end_cap : 64;
		size_t *more = mem_realloc(t->end, cap * sizeof *more);
		if (!more) return E_MEMORY;
		t->end = more;
		t->end_cap = cap;
	}
	return OK;
}

int texts_put(struct texts *t, const char *s, size_t len, uint32_t *out)
{
	size_t at;
	int rc = slots_grow(t);
	if (rc) return rc;
	at = slot_of(t, s, len);
	if (!t->slot[at]) {
		if (t->n == TEXTS_MAX) return E_LIMIT;
		if ((rc = room(t, len))) return rc;
		if (len) memcpy(t->bytes + t->len, s, len);
		t->bytes[t->len + len] = 0;
		t->end[t->n++] = t->len + len;
		t->len += len + 1;
		t->slot[at] = t->n;
	}
	*out = t->slot[at];
	return OK;
}

size_t texts_bytes(const struct texts *t)
{
	return t->cap + t->end_cap * sizeof *t->end + t->slot_n * sizeof *t->slot;
}

void texts_clear(struct texts *t)
{
	mem_free(t->bytes);
	mem_free(t->end);
	mem_free(t->slot);
	*t = (struct texts){ 0 };
}
