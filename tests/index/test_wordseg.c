/* test_wordseg.c: searches in postings in memory find, bit for bit, what searches in the store find: over random collections, with
 * chunks that came later and chunks that are gone, for readers of all and of some groups, for snapshots from before, after a
 * commit that failed, after reload, and while commits and new segments come at once. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/buf.h"
#include "base/hash.h"
#include "index/inside.h"
#include "tests/index/help.h"
#include "tests/test.h"

enum { DOCS = 90, DOC_CHUNKS = 100, VOCABULARY = 2500, HITS_MAX = 200 };

static unsigned next(unsigned *seed)
{
	return (*seed = *seed * 1664525u + 1013904223u) >> 8;
}

static unsigned word_draw(unsigned *seed)
{
	double u = (double)(next(seed) % 100000 + 1) / 100000;
	return (unsigned)(pow(VOCABULARY, u) - 1);
}

/* Some words get an ending that others lack, so that there is something like them. */
static const char *word_name(char out[32], unsigned word, unsigned how)
{
	snprintf(out, 32, "%c%cmblewort%u%s", 'a' + word % 7, 'a' + word / 7 % 5, word, how % 50 ? "" : "x");
	for (char *p = out; *p; p++) if (*p >= '0' && *p <= '9') *p = (char)('k' + (*p - '0'));
	return out;
}

static void put_doc(struct write *w, unsigned number, unsigned chunk_n, unsigned seed, const char *acl)
{
	static float vectors[DOC_CHUNKS * DIM];
	struct chunk_in chunks[DOC_CHUNKS];
	struct span spans[DOC_CHUNKS];
	char source[32], id[64], word[32];
	struct doc_in d = { .id = source, .collection = "c", .title = "", .source = source, .type = "txt", .verdict = DOC_ADDED, .acl = &acl,
		.acl_n = acl != NULL };
	struct buf text;
	struct err e;
	int verdict;
	snprintf(source, sizeof source, "doc%u", number);
	buf_init(&text, 1 << 22);
	for (size_t i = 0; i < chunk_n; i++) {
		unsigned n = 3 + next(&seed) % (i % 50 ? 20 : 300), again = next(&seed) % 40 ? 1 : 9;
		spans[i].off = (uint32_t)text.len;
		while (n--) {
			const char *name = word_name(word, word_draw(&seed), next(&seed));
			for (unsigned j = 0; j < again; j++) CHECK(buf_printf(&text, "%s ", name) == OK);
		}
		spans[i].len = (uint32_t)text.len - spans[i].off;
		chunks[i] = (struct chunk_in){ spans[i], "", 0, &spans[i], 0 };
		help_unit(seed, vectors + i * DIM, DIM);
	}
	sha256_of(text.data, text.len, d.hash);
	d.text = text.data, d.text_len = d.bytes = text.len;
	d.chunks = chunks, d.chunk_n = chunk_n, d.vectors = vectors;
	CHECK_OK(index_put(w, &d, id, &verdict, &e), e);
	buf_clear(&text);
}

static void add_doc(struct index *x, unsigned number, unsigned chunk_n, unsigned seed, const char *acl)
{
	struct write *w;
	struct err e;
	CHECK_OK(index_write_begin(&w, x, &e), e);
	put_doc(w, number, chunk_n, seed, acl);
	CHECK_OK(index_write_commit(w, &e), e);
}

static void delete_doc(struct index *x, unsigned number)
{
	char id[32];
	snprintf(id, sizeof id, "doc%u", number);
	help_delete(x, id);
}

static struct index *open_in(const char *dir)
{
	struct index_options o = help_options(dir);
	struct index *x;
	struct err e;
	o.exact_below = 1 << 20;
	CHECK_OK(index_open(&x, &o, &e), e);
	return x;
}

static void fill(struct index *x, unsigned docs, unsigned chunk_n)
{
	struct write *w;
	struct err e;
	for (unsigned i = 0; i < docs;) {
		CHECK_OK(index_write_begin(&w, x, &e), e);
		for (unsigned until = i + 30; i < until && i < docs; i++) put_doc(w, i, chunk_n, i, i % 4 ? NULL : i % 8 ? "staff" : "board");
		CHECK_OK(index_write_commit(w, &e), e);
	}
	CHECK_OK(index_rebuild_wait(x, &e), e);
}

/* What the search of this snapshot uses: 0: the store alone; 1: a segment; of it some gone: + 2; some in the store: + 4. */
static int view_kind(struct snapshot *s)
{
	struct rec_coll coll;
	struct err e;
	CHECK_OK(coll_read(s->t, "c", &coll, &e), e);
	struct word_view *v = word_view_get(s->x, coll.number, s->state.seq);
	int kind = !v ? 0 : 1 + 2 * (v->dead_n > 0) + 4 * (coll.chunks != v->seg->row_n - v->dead_n);
	word_view_put(v);
	return kind;
}

/* Searches the store alone: in the name of an index that has no segments. */
static void search_store(struct snapshot *s, const struct reader *r, const char *query, size_t k, struct word_hit *out, size_t *got)
{
	static struct index bare;
	struct index *x = s->x;
	struct err e;
	pthread_mutex_lock(&x->lock);
	memcpy(&bare, x, sizeof bare);
	pthread_mutex_unlock(&x->lock);
	pthread_mutex_init(&bare.lock, NULL);
	bare.words = (struct word_set){ 0 };
	memset(bare.seen, 0, sizeof bare.seen);
	s->x = &bare;
	CHECK_OK(snapshot_search_words(s, r, query, strlen(query), k, out, got, &e), e);
	s->x = x;
	for (size_t i = 0; i < SEEN_SLOTS; i++) visible_put(bare.seen[i]);
	pthread_mutex_destroy(&bare.lock);
}

static size_t compare(struct snapshot *s, const struct reader *r, const char *query, size_t k)
{
	static struct word_hit here[HITS_MAX], there[HITS_MAX];
	struct err e;
	size_t n, m;
	CHECK_OK(snapshot_search_words(s, r, query, strlen(query), k, here, &n, &e), e);
	search_store(s, r, query, k, there, &m);
	CHECK_INT(n, m);
	for (size_t i = 0; i < n; i++)
		CHECK_MSG(here[i].chunk_id == there[i].chunk_id && memcmp(&here[i].score, &there[i].score, sizeof(float)) == 0,
			"\"%s\", k %zu, place %zu: chunk %llu with %.9g, in the store %llu with %.9g", query, k, i, (unsigned long long)here[i].chunk_id,
			here[i].score, (unsigned long long)there[i].chunk_id, there[i].score);
	return n;
}

static void query_make(char *query, size_t cap, unsigned *seed)
{
	char word[32];
	size_t at = 0;
	for (unsigned n = 1 + next(seed) % (next(seed) % 5 ? 7 : 40); n-- && at + 32 < cap;)
		at += (size_t)snprintf(query + at, cap - at, "%s%s", word_name(word, word_draw(seed), next(seed)), n ? " " : next(seed) % 2 ? " " : "");
	if (next(seed) % 8 == 0 && at > 6) query[at - 4] = 0; /* unfinished */
}

static void compare_many(struct snapshot *s, unsigned seed)
{
	static const char *const staff[] = { "staff" };
	const struct reader some = { .collection = "c", .groups = staff, .group_n = 1 }, none = { .collection = "c" };
	static const size_t ks[] = { 1, 10, HITS_MAX };
	size_t found = 0;
	char query[1500];
	for (unsigned i = 0; i < 90; i++) {
		query_make(query, sizeof query, &seed);
		found += compare(s, &everyone, query, ks[i % 3]);
		if (i % 3 == 0) compare(s, &some, query, ks[i / 3 % 3]);
		if (i % 5 == 0) compare(s, &none, query, ks[i / 5 % 3]);
	}
	CHECK(found > 300);
}

static void compare_now(struct index *x, unsigned seed, int kind)
{
	struct snapshot *s;
	struct err e;
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_INT(view_kind(s), kind);
	compare_many(s, seed);
	snapshot_close(s);
}

TEST(wordseg_finds_what_the_store_finds)
{
	char dir[256];
	struct snapshot *before, *between;
	struct index *x;
	struct err e;
	snprintf(dir, sizeof dir, "%s", test_dir());
	x = open_in(dir);
	fill(x, DOCS, DOC_CHUNKS);
	compare_now(x, 1, 1);
	add_doc(x, DOCS, 40, 500, NULL);                /* later chunks */
	compare_now(x, 2, 5);
	CHECK_OK(snapshot_open(&before, x, &e), e);
	delete_doc(x, 3);
	CHECK_OK(snapshot_open(&between, x, &e), e);
	compare_now(x, 3, 7);
	CHECK_INT(view_kind(before), 5);                /* the one before is kept */
	compare_many(before, 4);
	add_doc(x, 5, 60, 501, "staff");                /* replaced */
	delete_doc(x, DOCS);                            /* one that came later */
	compare_now(x, 5, 7);
	CHECK_INT(view_kind(before), 0);
	CHECK_INT(view_kind(between), 3 + 4);
	compare_many(before, 6);
	compare_many(between, 7);
	snapshot_close(between);
	snapshot_close(before);
	help_check_clean(x);
	index_close(x);
	x = open_in(dir);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	compare_now(x, 8, 1);
	for (unsigned i = 0; i < DOCS / 4; i++) add_doc(x, i * 2, 90, 600 + i, NULL); /* more than its share: it is read anew */
	CHECK_OK(index_rebuild_wait(x, &e), e);
	CHECK_OK(snapshot_open(&before, x, &e), e);
	CHECK(view_kind(before) & 1);
	compare_many(before, 9);
	snapshot_close(before);
	CHECK_OK(index_drop_collection(x, "c", &e), e);
	CHECK_INT(x->words.n, 0);
	index_close(x);
}

/* Of some deletions in a row one fails. */
static void failed_commit(void)
{
	struct index *x = open_in(test_dir());
	unsigned failed = 0;
	fill(x, 50, DOC_CHUNKS);
	for (unsigned i = 7; i < 13; i++) {
		struct write *w;
		struct err e;
		char id[32];
		snprintf(id, sizeof id, "doc%u", i);
		CHECK_OK(index_write_begin(&w, x, &e), e);
		CHECK_OK(index_delete(w, id, &e), e);
		if (index_write_commit(w, &e) == OK) continue;
		failed++;
		compare_now(x, i, i == 7 ? 1 : 3);          /* the view from before it */
	}
	compare_now(x, 2, 3);                           /* a later commit had the number of the one that failed */
	CHECK_INT(failed, 1);
	index_close(x);
}

TEST(wordseg_outlives_a_failed_commit)
{
	help_in_child("store.commit:7:fail", failed_commit);
}

/* ---- at once ---- */

struct churn { struct index *x; atomic_int stop; };

/* What is not there is left so. */
static void delete_some(struct index *x, unsigned number)
{
	struct write *w;
	struct err e;
	char id[32];
	snprintf(id, sizeof id, "doc%u", number);
	CHECK_OK(index_write_begin(&w, x, &e), e);
	if (index_delete(w, id, &e)) index_write_abort(w);
	else CHECK_OK(index_write_commit(w, &e), e);
}

static void *churn_main(void *arg)
{
	struct churn *c = arg;
	unsigned seed = 77;
	for (unsigned i = 0; !atomic_load(&c->stop); i++) {
		add_doc(c->x, next(&seed) % 30, 1 + next(&seed) % 20, 1000 + i, NULL);
		if (i % 3 == 0) delete_some(c->x, next(&seed) % 30);
	}
	return NULL;
}

TEST(wordseg_fits_each_snapshot_while_commits_come)
{
	static struct word_hit here[HITS_MAX], there[HITS_MAX];
	struct churn c = { .x = open_in(test_dir()) };
	unsigned seed = 5, used = 0, gone = 0;
	pthread_t thread;
	struct err e;
	fill(c.x, 30, 60);
	CHECK(pthread_create(&thread, NULL, churn_main, &c) == 0);
	for (unsigned i = 0; i < 600; i++) {
		struct snapshot *s;
		char query[1500];
		size_t n, m;
		int kind;
		query_make(query, sizeof query, &seed);
		CHECK_OK(snapshot_open(&s, c.x, &e), e);
		kind = view_kind(s);
		used += kind & 1;
		gone += kind >> 1 & 1;
		CHECK_OK(snapshot_search_words(s, &everyone, query, strlen(query), 50, here, &n, &e), e);
		search_store(s, &everyone, query, 50, there, &m);
		CHECK_INT(n, m);
		for (size_t j = 0; j < n; j++) CHECK(here[j].chunk_id == there[j].chunk_id && memcmp(&here[j].score, &there[j].score, sizeof(float)) == 0);
		snapshot_close(s);
	}
	atomic_store(&c.stop, 1);
	pthread_join(thread, NULL);
	CHECK(used > 50 && gone > 0);
	index_close(c.x);
}

/* A segment that is due while a write is between its notes and its commit has what that leaves. */
TEST(wordseg_is_not_read_before_a_commit_that_has_begun)
{
	const struct timespec while_it_could = { 0, 200000000 };
	struct index *x = open_in(test_dir());
	struct write *w;
	struct err e;
	fill(x, 30, 60);
	CHECK_INT(x->words.n, 1);
	CHECK_OK(index_write_begin(&w, x, &e), e);
	put_doc(w, 3, 60, 4711, NULL);                  /* as many chunks as it had */
	words_publish(w);
	words_drop(x, x->words.at[0]->seg->coll);
	catchup_kick(x);
	nanosleep(&while_it_could, NULL);
	CHECK_OK(index_write_commit(w, &e), e);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	compare_now(x, 3, 1);
	index_close(x);
}

TEST(wordseg_is_left_out_where_memory_is_short)
{
	char dir[256];
	struct index_options o;
	struct snapshot *s;
	struct index *x;
	struct err e;
	snprintf(dir, sizeof dir, "%s", test_dir());
	o = help_options(dir);
	o.words_bytes = 10000;
	CHECK_OK(index_open(&x, &o, &e), e);
	help_add(x, "c", "wombat", "a", 1, 30, NULL, NULL);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	CHECK_INT(x->words.n, 1);
	for (unsigned i = 0; i < 20; i++) add_doc(x, i, 50, i, NULL);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK(view_kind(s) & 4);                        /* what it had, the rest in the store */
	compare_many(s, 3);
	snapshot_close(s);
	index_close(x);
}
