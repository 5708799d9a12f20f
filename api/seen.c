/* seen.c: owns counts for readers.
 *
 * Method: for a reader of some groups the documents are walked and counted; the last counts are remembered under a hash
 * of collection and groups with the sequence number of the store they belong to. Threads: one lock, never held during
 * a walk; two that walk at once do it twice. Failure: the store's. */
#include "api/seen.h"
#include <pthread.h>
#include <string.h>
#include "base/hash.h"
#include "base/mem.h"

enum { SLOTS = 64, PAGE_DOCS = 256, ARENA_BYTES_MAX = 512 << 20 };

struct slot { uint8_t who[32]; uint64_t seq; struct seen_count count; int used; };
struct seen { pthread_mutex_t lock; struct slot slots[SLOTS]; };

struct seen *seen_new(void)
{
	struct seen *s = mem_calloc(1, sizeof *s);
	if (s)
		pthread_mutex_init(&s->lock, NULL);
	return s;
}

void seen_free(struct seen *s)
{
	if (!s)
		return;
	pthread_mutex_destroy(&s->lock);
	mem_free(s);
}

/* The same groups in another order are another reader: that costs a walk, no more. */
static int who_hash(const struct reader *r, uint8_t out[32], struct err *e)
{
	struct sha256 *h = sha256_new();
	if (!h)
		return err_set(e, E_MEMORY, "out of memory");
	sha256_put(h, r->collection, strlen(r->collection) + 1);
	for (size_t i = 0; i < r->group_n; i++)
		sha256_put(h, r->groups[i], strlen(r->groups[i]) + 1);
	sha256_end(h, out);
	return OK;
}

static int walk(struct snapshot *snap, const struct reader *r, struct seen_count *out, struct err *e)
{
	struct arena a;
	uint64_t after = 0;
	size_t got = 0;
	int rc = OK;
	arena_init(&a, ARENA_BYTES_MAX);
	do {
		struct doc *page = arena_alloc(&a, PAGE_DOCS * sizeof *page);
		rc = page ? snapshot_docs(snap, r, after, 0, PAGE_DOCS, &a, page, &got, e) : err_set(e, E_MEMORY, "out of memory");
		for (size_t i = 0; !rc && i < got; i++) {
			out->documents++;
			out->chunks += page[i].chunks;
			after = page[i].key;
		}
		arena_clear(&a);
	} while (!rc && got == PAGE_DOCS);
	return rc;
}

static int whole(struct service *s, const char *collection, struct seen_count *out, struct err *e)
{
	struct collection_info *list;
	struct arena a;
	size_t n;
	int rc;
	arena_init(&a, ARENA_BYTES_MAX);
	rc = index_collections(s->index, &a, &list, &n, e);
	for (size_t i = 0; !rc && i < n; i++)
		if (!strcmp(list[i].name, collection))
			*out = (struct seen_count){ list[i].documents, list[i].chunks };
	arena_clear(&a);
	return rc;
}

int seen_count(struct service *s, struct snapshot *snap, const struct reader *r, struct seen_count *out, struct err *e)
{
	uint64_t seq = snapshot_seq(snap);
	struct seen *k = s->seen;
	struct slot *slot;
	uint8_t who[32];
	int rc, known;
	*out = (struct seen_count){ 0, 0 };
	if (r->all_groups)
		return whole(s, r->collection, out, e);
	if ((rc = who_hash(r, who, e)))
		return rc;
	slot = &k->slots[who[0] % SLOTS];
	pthread_mutex_lock(&k->lock);
	known = slot->used && slot->seq == seq && !memcmp(slot->who, who, sizeof who);
	if (known)
		*out = slot->count;
	pthread_mutex_unlock(&k->lock);
	if (known || (rc = walk(snap, r, out, e)))
		return rc;
	pthread_mutex_lock(&k->lock);
	slot->used = 1;
	slot->seq = seq;
	slot->count = *out;
	memcpy(slot->who, who, sizeof who);
	pthread_mutex_unlock(&k->lock);
	return OK;
}
