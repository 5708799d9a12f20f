/* postings.c: owns the table of postings: gathering the changes of a write, applying them, taking away, building anew.
 *
 * Method: a commit of many documents touches the same terms again and again, and every touch of LMDB copies a page. So
 * the words of chunks are gathered as operations {term, chunk, count} beside a dictionary of the terms met, and applied
 * at commit, or when a million are waiting: terms in key order, each term's removals first (the blocks that hold them
 * are rewritten), then its additions (the tail is rewritten once). Adding and taking away one chunk in one write cancel.
 * Documents are taken away by making the words of their stored text again, which finds exactly their blocks. Where a
 * text can't be read any more, the collection's whole table is walked instead, so that nothing of a deleted document is
 * ever found. A block that is damaged is given up with a warning, and the caller marks the table for building anew: it
 * is derived, and must not stand in the way of writing.
 * Threads: belongs to the write's. Failure: memory and the store. */
#include "index/postings.h"
#include <stdlib.h>
#include <string.h>
#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"
#include "index/inside.h"

enum { OPS_MAX = 1 << 20, ARENA_MAX = 1 << 30, BLOCK_CAP = BLOCK_MAX };

struct op { uint64_t chunk; uint32_t term, count, len; int remove; };
struct term { const char *text; uint32_t coll, hash, n, ops, last; uint16_t len; }; /* last: its newest op, plus 1 */

struct postings {
	struct op *ops; size_t op_n, op_cap;
	struct term *terms; size_t term_n, term_cap;
	uint32_t *slots; size_t slot_n;          /* term + 1, open addressing, at most half full; a power of two */
	struct arena text;
	struct posting *block; size_t n;         /* BLOCK_CAP of them: the block at hand */
	struct buf b;
	/* the chunk being gathered */
	uint32_t coll, words; uint64_t chunk; size_t first_op; int remove;
};

int postings_new(struct postings **out, struct err *e)
{
	struct postings *p = mem_calloc(1, sizeof *p);
	*out = p;
	if (p) p->block = mem_calloc(BLOCK_CAP, sizeof *p->block);
	if (!p || !p->block) {
		mem_free(p);
		*out = NULL;
		return err_set(e, E_MEMORY, "index words: out of memory");
	}
	arena_init(&p->text, ARENA_MAX);
	buf_init(&p->b, 1 << 24);
	return OK;
}

static void forget(struct postings *p)
{
	arena_clear(&p->text);
	p->op_n = p->term_n = 0;
	if (p->slot_n) memset(p->slots, 0, p->slot_n * sizeof *p->slots);
}

void postings_free(struct postings *p)
{
	if (!p) return;
	arena_clear(&p->text);
	buf_clear(&p->b);
	mem_free(p->ops);
	mem_free(p->terms);
	mem_free(p->slots);
	mem_free(p->block);
	mem_free(p);
}

int postings_full(const struct postings *p)
{
	return p->op_n >= OPS_MAX;
}

/* ---- gathering ---- */

static int grow(void **list, size_t *cap, size_t n, size_t size)
{
	size_t want = *cap ? 2 * *cap : 1024;
	void *more;
	if (n < *cap) return OK;
	more = mem_realloc(*list, want * size);
	if (!more) return E_MEMORY;
	*list = more;
	*cap = want;
	return OK;
}

static uint32_t *slot_find(const struct postings *p, uint32_t coll, uint32_t hash, const char *text, size_t n)
{
	size_t i = hash & (p->slot_n - 1);
	for (; p->slots[i]; i = (i + 1) & (p->slot_n - 1)) {
		const struct term *t = &p->terms[p->slots[i] - 1];
		if (t->hash == hash && t->coll == coll && t->len == n && memcmp(t->text, text, n) == 0) break;
	}
	return &p->slots[i];
}

static int slots_grow(struct postings *p)
{
	size_t n = p->slot_n ? 2 * p->slot_n : 4096;
	uint32_t *fresh = mem_calloc(n, sizeof *fresh);
	if (!fresh) return E_MEMORY;
	mem_free(p->slots);
	p->slots = fresh;
	p->slot_n = n;
	for (size_t i = 0; i < p->term_n; i++) {
		size_t at = p->terms[i].hash & (n - 1);
		while (fresh[at]) at = (at + 1) & (n - 1);
		fresh[at] = (uint32_t)i + 1;
	}
	return OK;
}

static int on_term(void *ctx, const char *text, size_t n, int counts)
{
	struct postings *p = ctx;
	uint32_t hash = crc32c(p->coll, text, n), *slot;
	struct term *t;
	if (2 * p->term_n >= p->slot_n && slots_grow(p)) return E_MEMORY;
	slot = slot_find(p, p->coll, hash, text, n);
	if (!*slot) {
		char *copy = arena_strndup(&p->text, text, n);
		if (!copy || grow((void **)&p->terms, &p->term_cap, p->term_n, sizeof *p->terms)) return E_MEMORY;
		p->terms[p->term_n++] = (struct term){ .text = copy, .coll = p->coll, .hash = hash, .len = (uint16_t)n };
		*slot = (uint32_t)p->term_n;
	}
	t = &p->terms[*slot - 1];
	p->words += counts != 0;
	if (t->last > p->first_op) {
		p->ops[t->last - 1].count++;
		return OK;
	}
	if (grow((void **)&p->ops, &p->op_cap, p->op_n, sizeof *p->ops)) return E_MEMORY;
	p->ops[p->op_n++] = (struct op){ p->chunk, *slot - 1, 1, 0, p->remove };
	t->last = (uint32_t)p->op_n;
	t->ops++;
	return OK;
}

int postings_chunk(struct postings *p, uint32_t coll, uint64_t chunk, const struct chunk_words *c, int remove,
	uint32_t *words, struct err *e)
{
	int rc;
	p->coll = coll, p->chunk = chunk, p->remove = remove;
	p->words = 0;
	p->first_op = p->op_n;
	rc = chunk_words_visit(c, on_term, p, e);
	for (size_t i = p->first_op; i < p->op_n; i++) p->ops[i].len = p->words;
	*words = p->words;
	return rc == E_MEMORY ? err_set(e, rc, "index words: out of memory") : rc;
}

/* ---- applying ---- */

static int by_text(const void *a, const void *b)
{
	const struct term *x = *(const struct term *const *)a, *y = *(const struct term *const *)b;
	size_t n = x->len < y->len ? x->len : y->len;
	int d;
	if (x->coll != y->coll) return x->coll < y->coll ? -1 : 1;
	d = memcmp(x->text, y->text, n);
	return d ? d : (x->len > y->len) - (x->len < y->len);
}

static int by_chunk(const void *a, const void *b)
{
	const struct op *x = a, *y = b;
	if (x->chunk != y->chunk) return x->chunk < y->chunk ? -1 : 1;
	return x->remove - y->remove;
}

/* Drops the pairs that add and take away one chunk; the rest in order of chunk. */
static size_t cancel(struct op *ops, size_t n)
{
	size_t kept = 0;
	int sorted = 1;
	for (size_t i = 1; sorted && i < n; i++) sorted = by_chunk(&ops[i - 1], &ops[i]) < 0;
	if (!sorted) qsort(ops, n, sizeof *ops, by_chunk);
	for (size_t i = 0; i < n; i++) {
		if (i + 1 < n && ops[i].chunk == ops[i + 1].chunk) i++;
		else ops[kept++] = ops[i];
	}
	return kept;
}

/* Reads the block under k into p->block; a damaged one is deleted and reads as empty. */
static int block_read(struct postings *p, struct txn *t, const struct key *k, struct slice v, int *damaged, struct err *e)
{
	struct err why;
	int rc = rec_block_get(p->block, BLOCK_CAP, &p->n, k, v, &why);
	if (!rc) return OK;
	log_put(LOG_WARN, "index", "postings: %s; words are indexed anew at the next start", why.msg);
	*damaged = 1;
	p->n = 0;
	return store_del(t, T_POST, k, e);
}

static int block_write(struct postings *p, struct txn *t, struct cursor *c, const struct key *k, struct err *e)
{
	int rc;
	if (p->n == 0) return store_del(t, T_POST, k, e);
	rc = rec_block_put(&p->b, k, p->block, p->n);
	if (rc) return err_set(e, rc, "index words: a block of %zu postings", p->n);
	return cursor_put(c, k, p->b.data, p->b.len, e);
}

/* Takes a term's postings of the given chunks away. What is not there needs no taking away. */
static int term_remove(struct postings *p, struct txn *t, struct cursor *c, const struct term *term, const struct op *ops,
	size_t n, int *damaged, struct err *e)
{
	struct slice key, value, text;
	struct key k;
	uint64_t last = 0;
	uint32_t coll;
	int rc = OK;
	for (size_t i = 0; !rc && i < n;) {
		size_t kept = 0;
		if (!ops[i].remove) {
			i++;
			continue;
		}
		key_block(&k, term->coll, term->text, term->len, ops[i].chunk);
		rc = cursor_seek(c, &k, &key, &value, e);
		if (rc == E_NOT_FOUND) return OK;
		if (rc) return rc;
		if (!key_block_parse(key, &coll, &text, &last) || key.n != k.n || memcmp(key.p, k.b, k.n - 8) != 0) return OK;
		key_block(&k, term->coll, term->text, term->len, last);
		rc = block_read(p, t, &k, value, damaged, e);
		if (rc) return rc;
		for (size_t j = 0; j < p->n; j++) {
			while (i < n && (ops[i].chunk < p->block[j].chunk || (ops[i].chunk == p->block[j].chunk && !ops[i].remove))) i++;
			if (i == n || ops[i].chunk != p->block[j].chunk) p->block[kept++] = p->block[j];
		}
		while (i < n && (ops[i].chunk <= last || !ops[i].remove)) i++;
		if (kept != p->n) {
			p->n = kept;
			rc = block_write(p, t, c, &k, e);
		}
	}
	return rc;
}

/* Adds a term's new postings behind all it has. */
static int term_add(struct postings *p, struct txn *t, struct cursor *c, const struct term *term, const struct op *ops, size_t n, int *damaged,
	struct err *e)
{
	struct slice v;
	struct key tail, k;
	size_t i = 0;
	int rc;
	while (i < n && ops[i].remove) i++;
	if (i == n) return OK;
	key_block(&tail, term->coll, term->text, term->len, BLOCK_TAIL);
	p->n = 0;
	rc = cursor_find(c, &tail, &v, e);
	if (!rc) rc = block_read(p, t, &tail, v, damaged, e);
	else if (rc == E_NOT_FOUND) rc = OK;
	for (; !rc && i < n; i++) {
		if (ops[i].remove) continue;
		if (p->n >= BLOCK_POSTINGS) {
			key_block(&k, term->coll, term->text, term->len, p->block[p->n - 1].chunk);
			rc = block_write(p, t, c, &k, e);
			p->n = 0;
		}
		p->block[p->n++] = (struct posting){ ops[i].chunk, ops[i].count, ops[i].len };
	}
	return rc ? rc : block_write(p, t, c, &tail, e);
}

/* Puts the operations of each term together, the terms in their order in `sorted`. *out has a slot more. */
static int ops_group(struct postings *p, struct term **sorted, struct op **out)
{
	size_t at = 0;
	struct op *ops = mem_alloc((p->op_n + 1) * sizeof *ops);
	*out = ops;
	if (!ops) return E_MEMORY;
	for (size_t i = 0; i < p->term_n; i++) {
		sorted[i]->n = (uint32_t)at;
		at += sorted[i]->ops;
	}
	for (size_t i = 0; i < p->op_n; i++) ops[p->terms[p->ops[i].term].n++] = p->ops[i];
	return OK;
}

/* Tells a write which chunks lose the term. */
static int removals_tell(struct write *w, const struct term *term, const struct op *ops, size_t n, uint64_t *chunks, struct err *e)
{
	size_t gone = 0;
	for (size_t i = 0; i < n; i++)
		if (ops[i].remove) chunks[gone++] = ops[i].chunk;
	if (gone && words_gone_term(w, term->coll, term->text, term->len, chunks, gone)) return err_set(e, E_MEMORY, "index words: out of memory");
	return OK;
}

int postings_flush(struct postings *p, struct txn *t, struct write *w, int *damaged, struct err *e)
{
	struct term **sorted;
	struct cursor c = { 0 };
	struct op *ops = NULL;
	uint64_t *chunks = NULL;
	size_t at = 0;
	int rc;
	if (p->op_n == 0) return OK;
	sorted = mem_alloc(p->term_n * sizeof *sorted);
	if (!sorted) return err_set(e, E_MEMORY, "index words: out of memory");
	for (size_t i = 0; i < p->term_n; i++) sorted[i] = &p->terms[i];
	qsort(sorted, p->term_n, sizeof *sorted, by_text);
	rc = ops_group(p, sorted, &ops);
	if (!rc && w && !(chunks = mem_alloc(p->op_n * sizeof *chunks))) rc = E_MEMORY;
	if (rc) err_set(e, rc, "index words: out of memory");
	if (!rc) rc = cursor_open(&c, t, T_POST, e);
	for (size_t i = 0; !rc && i < p->term_n; i++) {
		size_t n = cancel(ops + at, sorted[i]->ops);
		if (w) rc = removals_tell(w, sorted[i], ops + at, n, chunks, e);
		if (!rc) rc = term_remove(p, t, &c, sorted[i], ops + at, n, damaged, e);
		if (!rc) rc = term_add(p, t, &c, sorted[i], ops + at, n, damaged, e);
		at += sorted[i]->ops;
	}
	cursor_close(&c);
	mem_free(chunks);
	mem_free(ops);
	mem_free(sorted);
	forget(p);
	return rc;
}

/* ---- comparing ---- */

/* Goes through a term's operations, all additions, block by block. */
static int term_compare(struct postings *p, struct cursor *c, const struct term *term, const struct op *ops,
	void (*wrong)(void *ctx, uint64_t chunk, const char *how), void *ctx, uint64_t *same, struct err *e)
{
	uint64_t last = 0;
	size_t at = 0;
	p->n = 0;
	for (size_t i = 0; i < term->ops; i++) {
		struct slice key, value, text;
		struct key k;
		uint32_t coll;
		if (ops[i].chunk > last) {
			int rc;
			key_block(&k, term->coll, term->text, term->len, ops[i].chunk);
			rc = cursor_seek(c, &k, &key, &value, e);
			if (rc && rc != E_NOT_FOUND) return rc;
			at = p->n = 0;
			if (!rc && key.n == k.n && memcmp(key.p, k.b, k.n - 8) == 0 && key_block_parse(key, &coll, &text, &last)) {
				key_block(&k, term->coll, term->text, term->len, last);
				if (rec_block_get(p->block, BLOCK_CAP, &p->n, &k, value, NULL)) p->n = 0;
			}
		}
		while (at < p->n && p->block[at].chunk < ops[i].chunk) at++;
		if (at == p->n || p->block[at].chunk != ops[i].chunk) wrong(ctx, ops[i].chunk, "a word of its text is not in the index");
		else if (p->block[at].count != ops[i].count || p->block[at].len != ops[i].len)
			wrong(ctx, ops[i].chunk, "the index counts its words otherwise");
		else ++*same;
	}
	return OK;
}

int postings_compare(struct postings *p, struct txn *t, void (*wrong)(void *ctx, uint64_t chunk, const char *how), void *ctx,
	uint64_t *same, struct err *e)
{
	struct term **sorted = mem_alloc((p->term_n + 1) * sizeof *sorted);
	struct cursor c = { 0 };
	struct op *ops = NULL;
	size_t at = 0;
	int rc = sorted ? OK : E_MEMORY;
	for (size_t i = 0; !rc && i < p->term_n; i++) sorted[i] = &p->terms[i];
	if (!rc) rc = ops_group(p, sorted, &ops);
	if (rc) err_set(e, rc, "check words: out of memory");
	if (!rc) rc = cursor_open(&c, t, T_POST, e);
	for (size_t i = 0; !rc && i < p->term_n; at += p->terms[i++].ops)
		rc = term_compare(p, &c, &p->terms[i], ops + at, wrong, ctx, same, e);
	cursor_close(&c);
	mem_free(ops);
	mem_free(sorted);
	forget(p);
	return rc;
}

/* ---- the slow ways ---- */

/* Writes p->block back without the postings of [first, first + n), whose lengths it notes. */
static int block_purge(struct postings *p, struct txn *t, struct cursor *c, const struct key *k, uint64_t first, uint32_t n, uint32_t *lens,
	struct err *e)
{
	size_t kept = 0;
	for (size_t i = 0; i < p->n; i++) {
		uint64_t chunk = p->block[i].chunk;
		if (chunk >= first && chunk - first < n) lens[chunk - first] = p->block[i].len;
		else p->block[kept++] = p->block[i];
	}
	if (kept == p->n) return OK;
	p->n = kept;
	return block_write(p, t, c, k, e);
}

int postings_purge(struct txn *t, uint32_t coll, uint64_t first, uint32_t n, uint64_t *words, int *damaged, struct err *e)
{
	uint32_t *lens = mem_calloc((size_t)n + 1, sizeof *lens);
	struct cursor c = { 0 };
	struct slice key, value;
	struct postings *p;
	struct key k;
	int rc = postings_new(&p, e);
	*words = 0;
	if (!rc && !lens) rc = err_set(e, E_MEMORY, "index words: out of memory");
	if (!rc) rc = cursor_open(&c, t, T_POST, e);
	key_graph(&k, coll);
	if (!rc) rc = cursor_seek(&c, &k, &key, &value, e);
	while (!rc && key.n >= 4 && key.n <= KEY_MAX && key_get_u32(key.p) == coll) {
		memcpy(k.b, key.p, key.n);
		k.n = key.n;
		rc = block_read(p, t, &k, value, damaged, e);
		if (!rc) rc = block_purge(p, t, &c, &k, first, n, lens, e);
		if (rc) break;
		k.b[k.n++] = 0; /* the next key, whatever became of this one */
		rc = cursor_seek(&c, &k, &key, &value, e);
	}
	if (rc == E_NOT_FOUND) rc = OK;
	for (uint32_t i = 0; i < n && lens; i++) *words += lens[i];
	cursor_close(&c);
	postings_free(p);
	mem_free(lens);
	return rc;
}

int postings_drop(struct txn *t, uint32_t coll, struct err *e)
{
	struct slice key, value;
	struct cursor c;
	struct key k;
	int rc;
	for (;;) {
		key_graph(&k, coll);
		rc = cursor_open(&c, t, T_POST, e);
		if (rc) return rc;
		rc = cursor_seek(&c, &k, &key, &value, e);
		if (!rc && (key.n < 4 || key.n > KEY_MAX || key_get_u32(key.p) != coll)) rc = E_NOT_FOUND;
		if (!rc) memcpy(k.b, key.p, key.n), k.n = key.n;
		cursor_close(&c);
		if (!rc) rc = store_del(t, T_POST, &k, e);
		if (rc) return rc == E_NOT_FOUND ? OK : rc;
	}
}

/* ---- building anew ---- */

struct source { uint64_t doc; int ok; char *title; struct rec_text text; enum words_language language; }; /* the document whose chunks are at hand */

static int source_read(struct txn *t, uint64_t doc, struct source *s, struct err *e)
{
	struct rec_doc d;
	struct slice v;
	struct err why = { OK, "not there" };
	struct key k;
	s->doc = doc;
	s->ok = 0;
	mem_free(s->title);
	s->title = NULL;
	key_u64(&k, doc);
	if (store_get(t, T_DOC, &k, &v, &why) == OK && rec_doc_get(&d, &k, v, &why) == OK) {
		s->title = mem_strdup(d.title);
		if (!s->title) return err_set(e, E_MEMORY, "index words: out of memory");
		s->ok = store_get(t, T_TEXT, &k, &v, &why) == OK && rec_text_get(&s->text, &k, v, 1, &why) == OK;
		if (s->ok) s->language = words_language(s->text.text, s->text.len);
	}
	if (!s->ok) log_put(LOG_WARN, "index", "document %llu has no words in the index: %s", (unsigned long long)doc, why.msg);
	return OK;
}

/* Adds a chunk's words to p and to its collection's count; what is damaged is left out with a warning. */
static int chunk_add(struct txn *t, struct postings *p, struct source *s, struct coll_entry *colls, size_t coll_n,
	uint64_t id, const struct rec_chunk *r, struct err *e)
{
	uint32_t words;
	size_t i = 0;
	int rc = r->doc == s->doc ? OK : source_read(t, r->doc, s, e);
	if (rc) return rc;
	if (!s->ok || r->range.off > s->text.len || r->range.len > s->text.len - r->range.off) return OK;
	while (i < coll_n && colls[i].rec.number != r->coll) i++;
	if (i == coll_n) return OK;
	rc = postings_chunk(p, r->coll, id, &(struct chunk_words){ s->title, r->heading, s->text.text + r->range.off,
		r->range.len, s->language }, 0, &words, e);
	if (!rc) colls[i].rec.words += words;
	return rc;
}

static int chunks_add(struct txn *t, struct postings *p, struct coll_entry *colls, size_t coll_n, struct err *e)
{
	struct source s = { 0 };
	struct cursor c = { 0 };
	struct slice key, value;
	struct key k;
	int damaged = 0, rc = cursor_open(&c, t, T_CHUNK, e);
	if (!rc) rc = cursor_seek(&c, NULL, &key, &value, e);
	while (!rc) {
		uint64_t id = key.n == 8 ? key_get_u64(key.p) : UINT64_MAX;
		struct rec_chunk r;
		struct err why;
		key_u64(&k, id);
		if (rec_chunk_get(&r, &k, value, &why))
			log_put(LOG_WARN, "index", "chunk %llu has no words in the index: %s", (unsigned long long)id, why.msg);
		else rc = chunk_add(t, p, &s, colls, coll_n, id, &r, e);
		if (!rc && postings_full(p)) {
			rc = postings_flush(p, t, NULL, &damaged, e);
			s.doc = 0; /* what was borrowed may have moved */
		}
		if (!rc) rc = id < UINT64_MAX ? (key_u64(&k, id + 1), cursor_seek(&c, &k, &key, &value, e)) : E_NOT_FOUND;
	}
	if (rc == E_NOT_FOUND) rc = postings_flush(p, t, NULL, &damaged, e);
	cursor_close(&c);
	mem_free(s.title);
	return rc;
}

int postings_rebuild(struct txn *t, struct err *e)
{
	struct coll_entry *colls;
	struct postings *p = NULL;
	struct arena a;
	size_t n;
	int rc;
	arena_init(&a, ARENA_MAX);
	rc = store_empty(t, T_POST, e);
	if (!rc) rc = coll_list(t, &a, &colls, &n, e);
	for (size_t i = 0; !rc && i < n; i++) colls[i].rec.words = 0;
	if (!rc) rc = postings_new(&p, e);
	if (!rc) rc = chunks_add(t, p, colls, n, e);
	for (size_t i = 0; !rc && i < n; i++) rc = coll_write(t, colls[i].name, &colls[i].rec, e);
	postings_free(p);
	arena_clear(&a);
	return rc;
}
