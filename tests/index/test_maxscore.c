/* test_maxscore.c: the search that leaves blocks unread finds, bit for bit, what scoring everything finds: over random
 * collections large enough for blocks to be skipped, for readers of all and of some groups, through deletes and replaced
 * documents; postings of chunks that are not there. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "index/postings.h"
#include "index/record.h"
#include "index/store.h"
#include "tests/index/help.h"
#include "tests/test.h"

enum { DOCS = 160, DOC_CHUNKS = 150, VOCABULARY = 3000, SEARCH_K = 10, HITS_MAX = DOCS * DOC_CHUNKS };

static unsigned next(unsigned *seed)
{
	return (*seed = *seed * 1664525u + 1013904223u) >> 8;
}

/* Of a word's number: low ones are common; each of 16 topics has words of its own. */
static unsigned word_draw(unsigned *seed, unsigned topic)
{
	double u = (double)(next(seed) % 100000 + 1) / 100000;
	unsigned rank = (unsigned)(pow(VOCABULARY, u) - 1);
	return next(seed) % 3 ? rank : rank / 16 * 16 + topic % 16;
}

/* A document of many short chunks; lengths and repetitions vary. */
static void put_topic(struct write *w, unsigned number, unsigned seed, const char *acl)
{
	static float vectors[DOC_CHUNKS * DIM];
	struct chunk_in chunks[DOC_CHUNKS];
	struct span spans[DOC_CHUNKS];
	char source[32], id[64];
	struct doc_in d = { .collection = "c", .title = "", .source = source, .type = "txt", .verdict = DOC_ADDED, .acl = &acl, .acl_n = acl != NULL };
	struct buf text;
	struct err e;
	int verdict;
	snprintf(source, sizeof source, "topic%u", number);
	buf_init(&text, 1 << 22);
	for (size_t i = 0; i < DOC_CHUNKS; i++) {
		unsigned n = 3 + next(&seed) % (i % 50 ? 20 : 300), again = next(&seed) % 40 ? 1 : 9;
		spans[i].off = (uint32_t)text.len;
		while (n--) {
			unsigned word = word_draw(&seed, number);
			for (unsigned j = 0; j < again; j++) CHECK(buf_printf(&text, "w%u ", word) == OK);
		}
		spans[i].len = (uint32_t)text.len - spans[i].off;
		chunks[i] = (struct chunk_in){ spans[i], "", 0, &spans[i], 0 };
		help_unit(seed, vectors + i * DIM, DIM);
	}
	sha256_of(text.data, text.len, d.hash);
	d.text = text.data, d.text_len = d.bytes = text.len;
	d.chunks = chunks, d.chunk_n = DOC_CHUNKS, d.vectors = vectors;
	CHECK_OK(index_put(w, &d, id, &verdict, &e), e);
	buf_clear(&text);
}

/* k of all: nothing can be left out, so that list is the truth for every smaller k. */
static void compare(struct index *x, const struct reader *r, const char *query)
{
	static struct word_hit all[HITS_MAX], some[HITS_MAX];
	static const size_t ks[] = { 1, SEARCH_K, 100, 1000 };
	struct snapshot *s;
	struct err e;
	size_t all_n, n;
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_search_words(s, r, query, strlen(query), HITS_MAX, all, &all_n, &e), e);
	for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
		CHECK_OK(snapshot_search_words(s, r, query, strlen(query), ks[i], some, &n, &e), e);
		CHECK_INT(n, all_n < ks[i] ? all_n : ks[i]);
		for (size_t j = 0; j < n; j++)
			CHECK_MSG(some[j].chunk_id == all[j].chunk_id && memcmp(&some[j].score, &all[j].score, sizeof some[j].score) == 0,
				"\"%s\", k %zu, place %zu: chunk %llu with %.9g, not %llu with %.9g", query, ks[i], j, (unsigned long long)some[j].chunk_id,
				some[j].score, (unsigned long long)all[j].chunk_id, all[j].score);
	}
	snapshot_close(s);
}

static void compare_many(struct index *x, unsigned seed)
{
	static const char *const staff[] = { "staff" };
	const struct reader some = { "c", 0, staff, 1, NULL, NULL }, none = { "c", 0, NULL, 0, NULL, NULL };
	for (int i = 0; i < 60; i++) {
		char query[400];
		size_t at = 0;
		for (unsigned n = 1 + next(&seed) % 9; n--;) at += (size_t)snprintf(query + at, sizeof query - at, "w%u ", word_draw(&seed, next(&seed)));
		compare(x, &everyone, query);
		if (i % 3 == 0) compare(x, &some, query);
		if (i % 5 == 0) compare(x, &none, query);
	}
}

TEST(maxscore_finds_what_scoring_everything_finds)
{
	struct index_options o = help_options(test_dir());
	struct index *x;
	struct write *w;
	struct err e;
	o.exact_below = 1 << 20;
	CHECK_OK(index_open(&x, &o, &e), e);
	for (unsigned i = 0; i < DOCS;) {
		CHECK_OK(index_write_begin(&w, x, &e), e);
		for (unsigned until = i + 40; i < until; i++) put_topic(w, i, i, i % 4 ? NULL : i % 8 ? "staff" : "board");
		CHECK_OK(index_write_commit(w, &e), e);
	}
	compare_many(x, 7);
	CHECK_OK(index_write_begin(&w, x, &e), e);
	for (unsigned i = 0; i < DOCS; i += 9) put_topic(w, i, i + 1000, NULL);
	CHECK_OK(index_write_commit(w, &e), e);
	compare_many(x, 8);
	help_check_clean(x);
	index_close(x);
}

/* ---- blocks ---- */

/* The pairs in front bound every posting, are few, and come back as they were. */
TEST(maxscore_blocks_are_bounded)
{
	static struct posting p[BLOCK_MAX + 1], back[BLOCK_MAX];
	unsigned seed = 3;
	struct buf b;
	struct key k;
	struct err e;
	buf_init(&b, 1 << 20);
	key_block(&k, 1, "w", 1, BLOCK_TAIL);
	for (int turn = 0; turn < 400; turn++) {
		size_t n = 1 + next(&seed) % BLOCK_MAX, got;
		unsigned wide = turn % 4;
		struct block_look look;
		uint64_t at = turn % 7 ? 0 : 1ull << 50;
		for (size_t i = 0; i < n; i++) {
			at += 1 + (wide == 3 && i == n / 2 ? 1ull << 33 : next(&seed) % (wide == 2 ? 1u << 20 : 300));
			p[i].chunk = at;
			p[i].count = 1 + (next(&seed) % 3 ? 0 : next(&seed) % (wide ? 9u : 70000u));
			p[i].len = p[i].count + next(&seed) % (wide == 1 ? 1u << 20 : 200);
		}
		CHECK(rec_block_put(&b, &k, p, n) == OK);
		struct slice v = { (const uint8_t *)b.data, b.len };
		CHECK(rec_block_look(v, &look) && look.n == n && look.first == p[0].chunk);
		CHECK(look.pair_n <= 4 && (look.pair_n > 0) == (n >= 8));
		for (size_t i = 0; i < n && look.pair_n; i++) {
			int held = 0;
			for (size_t j = 0; j < look.pair_n; j++) held |= p[i].count <= look.pair[j].count && p[i].len >= look.pair[j].len;
			CHECK(held);
		}
		CHECK_OK(rec_block_get(back, BLOCK_MAX, &got, &k, v, &e), e);
		CHECK(got == n && memcmp(p, back, n * sizeof *p) == 0);
		if (turn == 0) {                          /* a bound that lies, under a right checksum */
			uint32_t crc;
			size_t pairs = (size_t)(look.lists - v.p) - look.pair_n * sizeof(struct block_pair);
			for (size_t i = 0; i < look.pair_n; i++) memcpy(b.data + pairs + i * 8, &(uint32_t){ 1 }, 4);
			crc = crc32c(crc32c(0, k.b, k.n), b.data + 4, b.len - 4);
			memcpy(b.data, &crc, 4);
			CHECK_INT(rec_block_get(back, BLOCK_MAX, &got, &k, v, &e), E_CORRUPT);
		}
		CHECK_INT(rec_block_get(back, BLOCK_MAX, &got, &k, (struct slice){ v.p, v.n - 1 }, &e), E_CORRUPT);
	}
	CHECK_INT(rec_block_put(&b, &k, p, 0), E_LIMIT);
	CHECK_INT(rec_block_put(&b, &k, p, BLOCK_MAX + 1), E_LIMIT);
	buf_clear(&b);
}

/* Postings of chunks that do not exist, better than all others: none comes back, and none takes another's place. */
TEST(maxscore_ghosts_take_no_place)
{
	static struct posting p[BLOCK_MAX];
	struct word_hit before[SEARCH_K], after[SEARCH_K];
	char dir[256];
	struct snapshot *s;
	struct index *x;
	struct store *st;
	struct slice v;
	struct txn *t;
	struct buf b;
	struct key k;
	struct err e;
	size_t n, got;
	snprintf(dir, sizeof dir, "%s", test_dir());
	x = help_open(dir);
	help_add(x, "c", "wombat", "a", 1, 30, NULL, NULL);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_search_words(s, &everyone, "wombat", 6, SEARCH_K, before, &got, &e), e);
	CHECK_INT(got, SEARCH_K);
	snapshot_close(s);
	index_close(x);
	buf_init(&b, 1 << 20);
	CHECK_OK(store_open(&st, dir, 256 << 20, 64, 0, &e), e);
	CHECK_OK(txn_begin(&t, st, 1, &e), e);
	key_block(&k, 1, "wombat", 6, BLOCK_TAIL);
	CHECK_OK(store_get(t, T_POST, &k, &v, &e), e);
	CHECK_OK(rec_block_get(p, BLOCK_MAX, &n, &k, v, &e), e);
	for (size_t i = 0; i < 15; i++, n++) p[n] = (struct posting){ p[n - 1].chunk + 100, 50, 50 };
	CHECK(rec_block_put(&b, &k, p, n) == OK);
	CHECK_OK(store_put(t, T_POST, &k, b.data, b.len, &e), e);
	CHECK_OK(txn_commit(t, &e), e);
	store_close(st);
	buf_clear(&b);
	x = help_open(dir);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_search_words(s, &everyone, "wombat", 6, SEARCH_K, after, &got, &e), e);
	CHECK_INT(got, SEARCH_K);
	for (size_t i = 0; i < got; i++) CHECK(after[i].chunk_id == before[i].chunk_id);
	snapshot_close(s);
	index_close(x);
}

/* A store of format 2, as far as its postings go: they are made anew. */
TEST(maxscore_format_2_is_upgraded)
{
	uint8_t old[] = { 0, 0, 0, 0, 'W', 1, 1, 0, 1, 1, 2 };
	struct rec_state state;
	struct word_hit hits[SEARCH_K];
	char dir[256];
	struct snapshot *s;
	struct index *x;
	struct store *st;
	struct slice v;
	struct txn *t;
	struct buf b;
	struct key k;
	struct err e;
	uint32_t crc;
	size_t got;
	snprintf(dir, sizeof dir, "%s", test_dir());
	x = help_open(dir);
	help_add(x, "c", "wombat", "a", 1, 7, NULL, NULL);
	index_close(x);
	buf_init(&b, 1 << 20);
	CHECK_OK(store_open(&st, dir, 256 << 20, 64, 0, &e), e);
	CHECK_OK(txn_begin(&t, st, 1, &e), e);
	key_block(&k, 1, "wombat", 6, BLOCK_TAIL);
	crc = crc32c(crc32c(0, k.b, k.n), old + 4, sizeof old - 4);
	memcpy(old, &crc, 4);
	CHECK_OK(store_put(t, T_POST, &k, old, sizeof old, &e), e);
	key_text(&k, "state");
	CHECK_OK(store_get(t, T_META, &k, &v, &e), e);
	CHECK_OK(rec_state_get(&state, &k, v, &e), e);
	CHECK_INT(state.format, FORMAT_VERSION);
	state.format = 2;
	CHECK(rec_state_put(&b, &k, &state) == OK);
	CHECK_OK(store_put(t, T_META, &k, b.data, b.len, &e), e);
	CHECK_OK(txn_commit(t, &e), e);
	store_close(st);
	buf_clear(&b);
	x = help_open(dir);
	help_check_clean(x);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_search_words(s, &everyone, "wombat", 6, SEARCH_K, hits, &got, &e), e);
	CHECK_INT(got, 7);
	snapshot_close(s);
	index_close(x);
}
