/* test_lexical.c: search by words against BM25 computed from the texts themselves, through every kind of change; access;
 * long queries; damage; a store of format 1. */
#include <math.h>
#include <stdlib.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/words.h"
#include "index/postings.h"
#include "index/store.h"
#include "tests/index/help.h"
#include "tests/test.h"

enum { K = 20, CHUNKS = 6 };
static const char *const vocabulary[] = { "river", "rivers", "mountain", "Café", "Ölberg", "42", "1,500", "the", "of", "and", "running",
	"ran", "quick", "brown", "fox", "night", "winter", "summer", "letter", "bridge", "東京", "大阪", "harbour", "engine", "valve" };
enum { VOCABULARY = sizeof vocabulary / sizeof *vocabulary };

static unsigned next(unsigned *seed)
{
	return (*seed = *seed * 1664525u + 1013904223u) >> 8;
}

/* A word: low numbers are common. */
static const char *word(unsigned *seed)
{
	unsigned a = next(seed) % VOCABULARY, b = next(seed) % VOCABULARY;
	return vocabulary[a < b ? a : b];
}

/* A document of random words, a chunk each line. */
static void put_random(struct write *w, const char *coll, const char *source, unsigned seed, const char *acl, char id[64])
{
	struct doc_in d = { .collection = coll, .title = word(&seed), .source = source, .type = "txt", .verdict = DOC_ADDED, .acl = &acl,
		.acl_n = acl != NULL };
	struct chunk_in chunks[CHUNKS];
	struct span spans[CHUNKS];
	float vectors[CHUNKS * DIM];
	char made[64];
	struct buf text;
	struct err e;
	int verdict;
	size_t n = 1 + next(&seed) % CHUNKS;
	buf_init(&text, 1 << 20);
	for (size_t i = 0; i < n; i++) {
		spans[i].off = (uint32_t)text.len;
		for (unsigned words = 1 + next(&seed) % 30; words--;) CHECK(buf_printf(&text, "%s ", word(&seed)) == OK);
		spans[i].len = (uint32_t)text.len - spans[i].off;
		chunks[i] = (struct chunk_in){ spans[i], i % 2 ? "Bridge > engine" : "", 0, &spans[i], 1 };
		help_unit(seed + i, vectors + i * DIM, DIM);
	}
	sha256_of(text.data, text.len, d.hash);
	d.text = text.data, d.text_len = d.bytes = text.len;
	d.chunks = chunks, d.chunk_n = n, d.vectors = vectors;
	CHECK_OK(index_put(w, &d, id ? id : made, &verdict, &e), e);
	buf_clear(&text);
}

static void add_random(struct index *x, const char *source, unsigned seed, const char *acl, char id[64])
{
	struct write *w;
	struct err e;
	CHECK_OK(index_write_begin(&w, x, &e), e);
	put_random(w, "c", source, seed, acl, id);
	CHECK_OK(index_write_commit(w, &e), e);
}

/* ---- the truth ---- */

struct counted { uint64_t stem; double times; };
struct bag { struct counted *c; size_t n; double len; uint64_t chunk; int seen; };
struct truth { struct bag *bags; size_t n; double len; int all; struct arena a; }; /* all: for a reader of every group */

static int count_term(void *ctx, const char *term, size_t n, int counts)
{
	struct bag *b = ctx;
	uint64_t stem = 14695981039346656037ull;
	size_t i = 0;
	for (size_t j = 0; j < n; j++) stem = (stem ^ (uint8_t)term[j]) * 1099511628211ull;
	while (i < b->n && b->c[i].stem != stem) i++;
	if (i == b->n) b->c[b->n++] = (struct counted){ stem, 0 };
	b->c[i].times++;
	b->len += counts != 0;
	return OK;
}

/* Every chunk of the collection as it is stored, and whether the reader sees it. */
static void truth_read(struct truth *t, struct snapshot *s, const struct reader *r)
{
	struct reader all = { r->collection, 1, NULL, 0, NULL, NULL };
	struct doc d;
	struct err e;
	uint64_t after = 0;
	size_t got = 1, cap = 4096;
	arena_init(&t->a, 1 << 28);
	t->bags = arena_calloc(&t->a, cap, sizeof *t->bags);
	t->n = 0, t->len = 0, t->all = r->all_groups;
	for (;;) {
		struct chunk *c;
		const char *text;
		size_t n, len;
		CHECK_OK(snapshot_docs(s, &all, after, 0, 1, &t->a, &d, &got, &e), e);
		if (!got) break;
		after = d.key;
		CHECK_OK(snapshot_chunks(s, &d, &t->a, &c, &n, &e), e);
		CHECK_OK(snapshot_text(s, &d, &text, &len, &e), e);
		for (size_t i = 0; i < n; i++) {
			struct bag *b = &t->bags[t->n++];
			CHECK(t->n < cap);
			b->c = arena_calloc(&t->a, 400, sizeof *b->c);
			b->chunk = c[i].id;
			b->seen = reader_may_see(r, &d);
			CHECK_OK(chunk_words_visit(&(struct chunk_words){ d.title, c[i].heading, text + c[i].range.off, c[i].range.len,
				words_language(text, len) },
				count_term, b, &e), e);
			t->len += b->len;
		}
	}
}

static double times_in(const struct bag *b, uint64_t stem)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->c[i].stem == stem) return b->c[i].times;
	return 0;
}

struct query { struct bag words; int content; struct { uint64_t stem; int stop; } flag[400]; size_t n; };

static int query_term(void *ctx, const struct query_word *word)
{
	struct query *q = ctx;
	size_t had = q->words.n;
	count_term(&q->words, word->term, word->n, 1);
	if (q->words.n > had) q->flag[had].stop = word->stop;
	q->content |= !word->stop;
	return OK;
}

static double bm25(const struct truth *t, const struct query *q, const struct bag *b)
{
	double sum = 0, average = t->len / (double)t->n, len = 0, held = 0;
	for (size_t i = 0; i < q->words.n; i++)  /* who sees a part: nothing else counts, and the length is of chunks that hold a word */
		for (size_t j = 0; j < t->n && !(q->content && q->flag[i].stop); j++)
			if (t->bags[j].seen && times_in(&t->bags[j], q->words.c[i].stem) > 0) len += t->bags[j].len, held++;
	if (!t->all && held > 0) average = len / held;
	for (size_t i = 0; i < q->words.n; i++) {
		double f = times_in(b, q->words.c[i].stem), df = 0, n = 0;
		if (q->content && q->flag[i].stop) continue;
		for (size_t j = 0; j < t->n; j++) {
			df += t->bags[j].seen && times_in(&t->bags[j], q->words.c[i].stem) > 0;
			n += t->bags[j].seen;
		}
		if (f > 0) sum += q->words.c[i].times * log(1 + (n - df + 0.5) / (df + 0.5)) * f / (f + 1.2 * (0.25 + 0.75 * b->len / average));
	}
	return sum;
}

/* Searches and compares: the same scores in order, each chunk with its own, nothing that is not to be seen. */
static void compare(struct index *x, const struct reader *r, const char *text)
{
	struct counted words[400];
	struct query q = { .words = { .c = words } };
	struct word_hit hits[K];
	struct truth t;
	struct snapshot *s;
	struct err e;
	double *scores;
	size_t got, found = 0;
	CHECK_OK(snapshot_open(&s, x, &e), e);
	truth_read(&t, s, r);
	CHECK_OK(query_words_visit(text, strlen(text), 0, query_term, &q, &e), e);
	CHECK_OK(snapshot_search_words(s, r, text, strlen(text), K, hits, &got, &e), e);
	scores = arena_calloc(&t.a, t.n + 1, sizeof *scores);
	for (size_t i = 0; i < t.n; i++) {
		scores[i] = t.bags[i].seen ? bm25(&t, &q, &t.bags[i]) : 0;
		found += scores[i] > 0;
	}
	CHECK_INT(got, found < K ? found : K);
	for (size_t i = 0; i < got; i++) {
		size_t at = 0, better = 0;
		while (at < t.n && t.bags[at].chunk != hits[i].chunk_id) at++;
		CHECK(at < t.n && t.bags[at].seen);
		CHECK_MSG(fabs(scores[at] - hits[i].score) < 1e-5 * (1 + scores[at]), "%s: %g, not %g", text, hits[i].score, scores[at]);
		for (size_t j = 0; j < t.n; j++) better += scores[j] > scores[at] + 1e-5;
		CHECK(better <= i);
		CHECK(i == 0 || hits[i - 1].score > hits[i].score || (hits[i - 1].score == hits[i].score && hits[i - 1].chunk_id < hits[i].chunk_id));
	}
	snapshot_close(s);
	arena_clear(&t.a);
}

static void compare_all(struct index *x, const struct reader *r)
{
	static const char *const queries[] = { "river", "Rivers of the night", "the of and", "CAFE olberg", "1500 42", "東京 大阪", "東京", "京",
		"running fox fox fox", "engine bridge valve harbour letter summer winter", "nothing unheard", "", "  !? ", "quick quick the" };
	for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) compare(x, r, queries[i]);
}

TEST(lexical_ranks_as_bm25_through_every_change)
{
	static char dir[256];
	snprintf(dir, sizeof dir, "%s", test_dir());
	struct index *x = help_open(dir);
	struct write *w;
	struct err e;
	char ids[200][64];
	for (unsigned i = 0; i < 60; i++) {
		char source[20];
		snprintf(source, sizeof source, "s%u", i);
		add_random(x, source, i, i % 3 ? NULL : "staff", ids[i]);
	}
	CHECK_OK(index_write_begin(&w, x, &e), e);
	for (unsigned i = 60; i < 200; i++) {     /* one write: enough for blocks to be split */
		char source[20];
		snprintf(source, sizeof source, "s%u", i);
		put_random(w, i % 7 ? "c" : "other", source, i, NULL, ids[i]);
	}
	CHECK_OK(index_write_commit(w, &e), e);
	compare_all(x, &everyone);
	help_check_clean(x);
	CHECK_OK(index_write_begin(&w, x, &e), e);
	for (unsigned i = 0; i < 200; i += 4) CHECK_OK(index_delete(w, ids[i], &e), e);
	for (unsigned i = 1; i < 200; i += 4) {   /* replaced, and replaced again in the same write */
		char source[20];
		snprintf(source, sizeof source, "s%u", i);
		put_random(w, i % 7 || i < 60 ? "c" : "other", source, i + 1000, NULL, NULL);
		put_random(w, i % 7 || i < 60 ? "c" : "other", source, i + 2000, NULL, NULL);
	}
	put_random(w, "c", "short-lived", 5, NULL, ids[0]);
	CHECK_OK(index_delete(w, ids[0], &e), e);
	CHECK_OK(index_write_commit(w, &e), e);
	compare_all(x, &everyone);
	help_check_clean(x);
	index_close(x);
	x = help_open(dir);
	compare_all(x, &everyone);
	compare_all(x, &(struct reader){ "other", 1, NULL, 0, NULL, NULL });
	CHECK_OK(index_drop_collection(x, "other", &e), e);
	compare_all(x, &everyone);
	compare(x, &(struct reader){ "other", 1, NULL, 0, NULL, NULL }, "river");
	help_check_clean(x);
	index_close(x);
}

TEST(lexical_access_is_inside)
{
	static const char *const staff[] = { "staff" };
	struct index *x = help_open(test_dir());
	struct word_hit hits[K];
	struct snapshot *s;
	struct err e;
	size_t got;
	for (unsigned i = 0; i < 40; i++) {
		char source[20];
		snprintf(source, sizeof source, "s%u", i);
		add_random(x, source, i, i % 2 ? "staff" : i % 3 ? NULL : "board", NULL);
	}
	compare_all(x, &(struct reader){ "c", 0, NULL, 0, NULL, NULL });
	compare_all(x, &(struct reader){ "c", 0, staff, 1, NULL, NULL });
	compare_all(x, &everyone);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_INT(snapshot_search_words(s, &(struct reader){ NULL, 1, NULL, 0, NULL, NULL }, "river", 5, K, hits, &got, &e), E_USAGE);
	CHECK_OK(snapshot_search_words(s, &(struct reader){ "none", 1, NULL, 0, NULL, NULL }, "river", 5, K, hits, &got, &e), e);
	CHECK_INT(got, 0);
	CHECK_OK(snapshot_search_words(s, &everyone, "river", 5, 3, hits, &got, &e), e);
	CHECK_INT(got, 3);
	snapshot_close(s);
	index_close(x);
}

/* What may not be seen leaves no trace in a score: which words it holds, or how much of it there is. */
TEST(lexical_scores_tell_nothing_of_hidden_chunks)
{
	static const char *const staff[] = { "staff" };
	const struct reader r = { "c", 0, staff, 1, NULL, NULL }, none = { "c", 0, NULL, 0, NULL, NULL };
	struct index *x = help_open(test_dir());
	struct word_hit before[K], after[K], open[K];
	struct snapshot *s;
	struct err e;
	size_t n = 0, got;
	for (int turn = 0; turn < 3; turn++) {
		if (turn == 0)
			for (unsigned i = 0; i < 30; i++) {
				char name[24];
				snprintf(name, sizeof name, "%s%u", i % 3 ? "wombat river " : "river ", i);
				help_add(x, "c", name, name, i, 1 + (int)i % 4, i % 2 ? "staff" : NULL, NULL);
			}
		else
			for (unsigned i = 0; i < 20; i++) {
				char name[40];
				snprintf(name, sizeof name, turn == 1 ? "wombat of the board %u" : "the board and nothing else %u", i);
				help_add(x, "c", name, name, i, 3, "board", NULL);
			}
		CHECK_OK(snapshot_open(&s, x, &e), e);
		CHECK_OK(snapshot_search_words(s, &r, "wombat river", 12, K, after, &got, &e), e);
		CHECK(got > 10 && (turn == 0 || got == n));
		for (size_t i = 0; i < got && turn > 0; i++) CHECK(after[i].chunk_id == before[i].chunk_id && after[i].score == before[i].score);
		memcpy(before, after, sizeof before);
		n = got;
		for (int again = 0; again < 2; again++) {       /* another reader of the same state */
			CHECK_OK(snapshot_search_words(s, &none, "wombat river", 12, K, open, &got, &e), e);
			CHECK(got > 5);
			for (size_t i = 0; i < got; i++) CHECK(i == 0 || open[i - 1].score >= open[i].score);
		}
		CHECK_OK(snapshot_search_words(s, &none, "board", 5, K, open, &got, &e), e);
		CHECK_INT(got, 0);
		snapshot_close(s);
	}
	index_close(x);
}

TEST(lexical_long_queries_keep_their_rarest_words)
{
	struct index *x = help_open(test_dir());
	struct word_hit hits[K];
	struct snapshot *s;
	struct buf q;
	struct err e;
	size_t got;
	char id[64];
	for (unsigned i = 0; i < 100; i++) {      /* every document has the common words "sentence" and "i", one has a rare one */
		char name[24];
		snprintf(name, sizeof name, i == 57 ? "needle" : "name%u", i);
		help_add(x, "c", name, name, i, 2, NULL, i == 57 ? id : NULL);
	}
	buf_init(&q, 1 << 24);
	for (int i = 0; i < 100000; i++) CHECK(buf_printf(&q, "sentence of word%d name%d ", i, i % 100) == OK);
	CHECK(buf_puts(&q, " needle") == OK);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_search_words(s, &everyone, q.data, q.len, K, hits, &got, &e), e);
	CHECK_INT(got, K);
	CHECK_OK(snapshot_search_words(s, &everyone, "needle", 6, K, hits, &got, &e), e);
	CHECK_INT(got, 2);
	CHECK_OK(snapshot_search_words(s, &everyone, "\xff\xfe needle\xc3", 10, K, hits, &got, &e), e); /* not UTF-8: what is left */
	CHECK_INT(got, 2);
	snapshot_close(s);
	buf_clear(&q);
	index_close(x);
}

/* ---- damage ---- */

static void block_change(const char *dir, const struct key *k, int add)
{
	struct posting p[300];
	struct store *st;
	struct slice v;
	struct txn *t;
	struct buf b;
	struct err e;
	size_t n = 0;
	buf_init(&b, 1 << 20);
	CHECK_OK(store_open(&st, dir, 256 << 20, 64, 0, &e), e);
	CHECK_OK(txn_begin(&t, st, 1, &e), e);
	CHECK_OK(store_get(t, T_POST, k, &v, &e), e);
	CHECK_OK(rec_block_get(p, 300, &n, k, v, &e), e);
	if (add > 0) p[n] = (struct posting){ p[n - 1].chunk + 1, 1, 3 }, n++;
	if (add < 0) n--;
	if (add == 0) p[0].count++, p[0].len++;
	if (n == 0) CHECK_OK(store_del(t, T_POST, k, &e), e);
	else {
		CHECK(rec_block_put(&b, k, p, n) == OK);
		CHECK_OK(store_put(t, T_POST, k, b.data, b.len, &e), e);
	}
	CHECK_OK(txn_commit(t, &e), e);
	store_close(st);
	buf_clear(&b);
}

/* A posting too many, one with another count, one too few, each under a right checksum. */
TEST(lexical_check_finds_planted_postings)
{
	for (int add = 1; add >= -1; add--) {
		char dir[256], id[64];
		struct index *x;
		struct key k;
		snprintf(dir, sizeof dir, "%s", test_dir());
		x = help_open(dir);
		help_add(x, "c", "alpha", "a", 1, 5, NULL, NULL);
		help_add(x, "c", "beta", "b", 2, 5, NULL, id);
		help_add(x, "c", "gamma", "g", 3, 5, NULL, NULL);
		help_check_clean(x);
		index_close(x);
		key_block(&k, 1, "beta", 4, BLOCK_TAIL);
		block_change(dir, &k, add);
		x = help_open(dir);
		CHECK_MSG(help_problems(x) > 0, "change %d", add);
		help_delete(x, id);                   /* goes all the same */
		CHECK((help_problems(x) == 0) == (add <= 0));
		index_close(x);
	}
}

/* A damaged block costs no write and no search; the next start builds the postings anew. */
TEST(lexical_damaged_block_heals)
{
	static char dir[256];
	struct store *st;
	struct txn *t;
	struct index *x;
	struct key k;
	struct err e;
	char id[64];
	snprintf(dir, sizeof dir, "%s", test_dir());
	x = help_open(dir);
	help_add(x, "c", "alpha", "a", 1, 5, NULL, id);
	help_add(x, "c", "beta", "b", 2, 5, NULL, NULL);
	index_close(x);
	CHECK_OK(store_open(&st, dir, 256 << 20, 64, 0, &e), e);
	CHECK_OK(txn_begin(&t, st, 1, &e), e);
	key_block(&k, 1, "sentenc", 7, BLOCK_TAIL);
	CHECK_OK(store_put(t, T_POST, &k, "what is this, no block", 22, &e), e);
	CHECK_OK(txn_commit(t, &e), e);
	store_close(st);
	x = help_open(dir);
	CHECK(help_problems(x) > 0);
	struct snapshot *s;
	struct word_hit hits[K];
	size_t got;
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_search_words(s, &everyone, "sentence alpha", 14, K, hits, &got, &e), e);
	CHECK_INT(got, 5);
	snapshot_close(s);
	help_delete(x, id);
	help_add(x, "c", "gamma", "g", 3, 5, NULL, NULL);
	index_close(x);
	x = help_open(dir);
	help_check_clean(x);
	compare(x, &everyone, "sentence alpha gamma");
	index_close(x);
}

/* A document whose text can't be read any more leaves nothing behind either. */
TEST(lexical_delete_without_its_text)
{
	static char dir[256];
	struct store *st;
	struct txn *t;
	struct slice v;
	struct index *x;
	struct buf b;
	struct key k;
	struct err e;
	char id[64];
	snprintf(dir, sizeof dir, "%s", test_dir());
	x = help_open(dir);
	help_add(x, "c", "alpha", "a", 1, 300, NULL, id);
	help_add(x, "c", "beta", "b", 2, 5, NULL, NULL);
	index_close(x);
	buf_init(&b, 1 << 20);
	CHECK_OK(store_open(&st, dir, 256 << 20, 64, 0, &e), e);
	CHECK_OK(txn_begin(&t, st, 1, &e), e);
	key_u64(&k, 1);
	CHECK_OK(store_get(t, T_TEXT, &k, &v, &e), e);
	CHECK(buf_put(&b, v.p, v.n) == OK);
	b.data[b.len - 10] ^= 1;
	CHECK_OK(store_put(t, T_TEXT, &k, b.data, b.len, &e), e);
	CHECK_OK(txn_commit(t, &e), e);
	store_close(st);
	buf_clear(&b);
	x = help_open(dir);
	CHECK(help_problems(x) > 0);
	help_delete(x, id);
	help_check_clean(x);
	compare(x, &everyone, "sentence alpha beta");
	index_close(x);
}

/* ---- a store of format 1 ---- */

static size_t unhex(const char *s, size_t n, uint8_t *out)
{
	for (size_t i = 0; i < n / 2; i++) {
		unsigned byte;
		CHECK(sscanf(s + 2 * i, "%2x", &byte) == 1);
		out[i] = (uint8_t)byte;
	}
	return n / 2;
}

static void v1_make(const char *dir)
{
	static char line[1 << 16], name[16], key[1024], value[1 << 16];
	static uint8_t bytes[1 << 15];
	FILE *f = fopen(test_data("fixtures/index/store_v1.txt"), "r");
	struct store *st;
	struct txn *t;
	struct err e;
	CHECK(f);
	CHECK_OK(store_open(&st, dir, 256 << 20, 64, 0, &e), e);
	CHECK_OK(txn_begin(&t, st, 1, &e), e);
	while (fgets(line, sizeof line, f)) {
		int table = 0;
		struct key k;
		size_t n;
		CHECK(sscanf(line, "%15s %1023s %65535s", name, key, value) == 3);
		while (table < TABLE_N && strcmp(table_name((enum table)table), name) != 0) table++;
		CHECK(table < TABLE_N);
		k.n = unhex(key, strlen(key), k.b);
		n = unhex(value, strlen(value), bytes);
		CHECK_OK(store_put(t, (enum table)table, &k, bytes, n, &e), e);
	}
	fclose(f);
	CHECK_OK(txn_commit(t, &e), e);
	store_close(st);
}

static uint64_t entries(const char *dir, enum table table)
{
	struct store *st;
	struct txn *t;
	struct err e;
	uint64_t n;
	CHECK_OK(store_open(&st, dir, 256 << 20, 64, 0, &e), e);
	CHECK_OK(txn_begin(&t, st, 0, &e), e);
	CHECK_OK(store_entries(t, table, &n, &e), e);
	txn_abort(t);
	store_close(st);
	return n;
}

TEST(lexical_format_1_is_upgraded)
{
	static char dir[256];
	struct index_options o;
	struct index *x;
	struct arena a;
	struct doc d;
	struct snapshot *s;
	struct err e;
	snprintf(dir, sizeof dir, "%s", test_dir());
	v1_make(dir);
	CHECK_INT(entries(dir, T_POST), 0);
	o = help_options(dir);
	o.dim = 0, o.embedder = "";               /* also without an embedder */
	CHECK_OK(index_open(&x, &o, &e), e);
	compare(x, &everyone, "days of leave");
	compare(x, &everyone, "bibliothek offnet");
	compare(x, &everyone, "salaries december overtime paid");
	compare(x, &(struct reader){ "b", 1, NULL, 0, NULL, NULL }, "東京");
	compare(x, &(struct reader){ "c", 0, NULL, 0, NULL, NULL }, "salaries");
	index_close(x);
	CHECK(entries(dir, T_POST) > 20);
	x = help_open(dir);
	help_check_clean(x);
	arena_init(&a, 1 << 20);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_doc(s, &everyone, "d1", &a, &d, &e), e);
	CHECK(d.revision == 2 && d.chunks == 2);
	snapshot_close(s);
	arena_clear(&a);
	help_delete(x, "d1");
	help_add(x, "c", "alpha", "a", 1, 5, NULL, NULL);
	compare(x, &everyone, "days of leave alpha");
	help_check_clean(x);
	index_close(x);
}

/* Memory ends in the middle: the store stays what it was, and the next open upgrades it; or it is whole already. */
TEST(lexical_upgrade_survives_failing)
{
	static char dir[256];
	int failed = 0, fresh = 1;
	for (long n = 1; n < 200; n++) {
		struct index_options o;
		struct index *x;
		struct err e;
		int rc;
		if (fresh) {
			snprintf(dir, sizeof dir, "%s", test_dir());
			v1_make(dir);
		}
		o = help_options(dir);
		fault_alloc_after(n);
		rc = index_open(&x, &o, &e);
		fault_alloc_after(0);
		fresh = rc == OK;
		failed += rc != OK;
		if (rc) {
			CHECK_INT(rc, E_MEMORY);
			fresh = entries(dir, T_POST) > 20;
			CHECK(fresh || entries(dir, T_POST) == 0);
			continue;
		}
		help_check_clean(x);
		index_close(x);
	}
	CHECK(failed > 50);
}
