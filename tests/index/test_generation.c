/* test_generation.c: another embedder's vectors built beside those that serve, the turn to them and back: while
 * documents come and go and searches run, after SIGKILL at every named place, with erasure, compaction and backup. Here a
 * vector is made of a chunk's text alone, so every one can be told. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "index/flat.h"
#include "index/store.h"
#include "tests/index/help.h"
#include "tests/test.h"

enum { OLD = 32, NEW = 48, WIDEST = 64 };

static char dir[300];
static const struct index_embedder to_new = { "fingerprint-new", "newer", NEW, BESIDE_NONE, 0 };
static const struct index_embedder to_third = { "fingerprint-third", "third", WIDEST, BESIDE_NONE, 0 };

static void vector_of(const char *text, size_t len, int dim, float *out)
{
	uint64_t h = (uint64_t)dim;
	for (size_t i = 0; i < len; i++) h = (h ^ (unsigned char)text[i]) * 0x100000001b3u;
	help_unit(h, out, dim);
}

static struct index_options options(const struct index_embedder *m)
{
	struct index_options o = help_options(dir);
	o.dim = m ? m->dim : OLD;
	o.embedder = m ? m->fingerprint : "fingerprint-old";
	o.model = m ? m->model : "older";
	return o;
}

static struct index *open_with(const struct index_embedder *m)
{
	struct index_options o = options(m);
	struct index *x;
	struct err e;
	CHECK_OK(index_open(&x, &o, &e), e);
	return x;
}

/* Puts a document of n chunks, "NAME says J." each, with vectors of the embedder that the write wants. */
static void put(struct index *x, const char *coll, const char *name, int n)
{
	struct chunk_in chunks[40];
	struct span at[40];
	float vectors[40 * WIDEST];
	struct doc_in d = { .id = name, .collection = coll, .title = name, .source = name, .verdict = DOC_ADDED, .chunks = chunks,
		.chunk_n = (size_t)n, .vectors = vectors };
	struct write *w;
	struct buf text;
	struct err e;
	char id[64];
	int verdict, dim;
	buf_init(&text, 1 << 20);
	CHECK_OK(index_write_begin(&w, x, &e), e);
	dim = strcmp(index_write_embedder(w), to_new.fingerprint) == 0 ? NEW : OLD;
	for (int j = 0; j < n; j++) {
		at[j].off = (uint32_t)text.len;
		CHECK(buf_printf(&text, "%s says %d.", name, j) == OK);
		at[j].len = (uint32_t)text.len - at[j].off;
		chunks[j] = (struct chunk_in){ at[j], "", 0, &at[j], 1 };
		vector_of(text.data + at[j].off, at[j].len, dim, vectors + j * dim);
		CHECK(buf_putc(&text, ' ') == OK);
	}
	d.text = text.data, d.text_len = text.len;
	CHECK_OK(index_put(w, &d, id, &verdict, &e), e);
	CHECK_OK(index_write_commit(w, &e), e);
	buf_clear(&text);
}

static void fill(struct index *x, int from, int to)
{
	char name[40];
	for (int i = from; i < to; i++) {
		snprintf(name, sizeof name, "doc%d", i);
		put(x, i % 3 ? "c" : "b", name, 4 + i % 5);
	}
}

/* ---- hooks ---- */

struct embedding {
	struct index *x;
	int dim, stir, stirred, turning, stop_after;
	uint64_t texts;
};

/* Documents come, are replaced and go, while a batch is between being read and being written. */
static void stir(struct embedding *m)
{
	char name[40];
	int i = m->stirred++;
	snprintf(name, sizeof name, "doc%d", 7 * i % 60);
	if (i % 3 == 0) put(m->x, "c", "fresh", 3 + i % 4);
	else if (i % 3 == 1 && 7 * i % 60 % 3) put(m->x, "c", name, 5);
	else {
		struct write *w;
		struct err e;
		int rc;
		CHECK_OK(index_write_begin(&w, m->x, &e), e);
		rc = index_delete(w, name, &e);
		CHECK(rc == OK || rc == E_NOT_FOUND);
		CHECK_OK(index_write_commit(w, &e), e);
	}
}

static int embed(void *ctx, const struct reembed_chunk *c, size_t n, float *out, struct err *e)
{
	struct embedding *m = ctx;
	(void)e;
	for (size_t i = 0; i < n; i++) {
		const char *says = memmem(c[i].text + c[i].range.off, c[i].range.len, " says ", 6);
		CHECK(says && (size_t)(says - c[i].text) == c[i].range.off + strlen(c[i].title));
		vector_of(c[i].text + c[i].range.off, c[i].range.len, m->dim, out + i * (size_t)m->dim);
	}
	m->texts += n;
	if (m->stir && !m->turning) stir(m);
	return OK;
}

static int progress(void *ctx, const struct reembed_progress *p)
{
	struct embedding *m = ctx;
	CHECK(p->done <= p->total);
	m->turning |= p->done + 64 >= p->total; /* from here on a batch may be embedded inside the write */
	return m->stop_after && --m->stop_after == 0;
}

static int reembed(struct embedding *m, const struct index_embedder *to, struct err *e)
{
	struct reembed_hooks h = { m, embed, progress };
	m->dim = to->dim;
	m->turning = 0;
	return index_reembed(m->x, to, &h, e);
}

/* ---- what must hold ---- */

/* Every chunk has the vector of its text in the generation that serves, and is found by it, first, with the true score. */
static uint64_t verify(struct index *x, int dim)
{
	struct doc docs[16];
	struct snapshot *s;
	struct arena a;
	struct err e;
	uint64_t after = 0, chunks = 0;
	size_t got = 16;
	const struct reader all = { .all_groups = 1 };
	help_check_clean(x);
	arena_init(&a, 1 << 26);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	while (got == 16) {
		CHECK_OK(snapshot_docs(s, &all, after, 0, 16, &a, docs, &got, &e), e);
		for (size_t i = 0; i < got; i++) {
			struct reader r = { .collection = docs[i].collection, .all_groups = 1 };
			struct chunk *c;
			const char *text;
			size_t n, len;
			CHECK_OK(snapshot_text(s, &docs[i], &text, &len, &e), e);
			CHECK_OK(snapshot_chunks(s, &docs[i], &a, &c, &n, &e), e);
			for (size_t j = 0; j < n; j++) {
				float want[WIDEST], have[WIDEST];
				struct vec_hit hit;
				size_t hits;
				vector_of(text + c[j].range.off, c[j].range.len, dim, want);
				CHECK_OK(snapshot_vector(s, c[j].id, have, &e), e);
				CHECK(memcmp(want, have, (size_t)dim * sizeof *want) == 0);
				CHECK_OK(snapshot_search(s, &r, want, 1, &hit, &hits, &e), e);
				CHECK(hits == 1 && hit.chunk_id == c[j].id && hit.score == flat_dot(want, want, (size_t)dim));
				chunks++;
			}
			after = docs[i].key;
		}
	}
	snapshot_close(s);
	arena_clear(&a);
	return chunks;
}

static void embedders(struct index *x, struct index_embedder *serving, struct index_embedder *beside)
{
	struct err e;
	CHECK_OK(index_embedders(x, serving, beside, &e), e);
}

static struct index *fresh_store(int docs)
{
	struct index *x;
	struct err e;
	snprintf(dir, sizeof dir, "%s", test_dir());
	x = open_with(NULL);
	fill(x, 0, docs);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	return x;
}

TEST(generation_turns_and_turns_back)
{
	struct index *x = fresh_store(90);
	struct embedding m = { .x = x, .stir = 1 };
	struct index_embedder serving, beside;
	struct index_stats stats;
	struct err e;
	uint64_t texts;
	verify(x, OLD);
	CHECK_OK(reembed(&m, &to_new, &e), e);
	CHECK(m.stirred > 3);
	embedders(x, &serving, &beside);
	CHECK_STR(serving.model, "newer");
	CHECK_STR(beside.model, "older");
	CHECK(serving.dim == NEW && beside.dim == OLD && beside.status == BESIDE_KEPT);
	CHECK_INT(verify(x, NEW), serving.vectors);
	fill(x, 100, 110);                        /* these have no vector of the old one yet */
	CHECK_OK(index_rebuild_wait(x, &e), e);
	CHECK_OK(index_stats(x, &stats, &e), e);
	CHECK(stats.graph_vectors > 0 && stats.serving.vectors == stats.chunks && stats.beside.vectors < stats.chunks);
	verify(x, NEW);
	index_close(x);
	x = open_with(&to_new);
	verify(x, NEW);
	m = (struct embedding){ .x = x };
	texts = stats.chunks - stats.beside.vectors;
	CHECK_OK(reembed(&m, &beside, &e), e);    /* back: only what came since is embedded */
	CHECK_INT(m.texts, texts);
	CHECK_INT(verify(x, OLD), stats.chunks);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	verify(x, OLD);
	index_close(x);
	x = open_with(NULL);
	m = (struct embedding){ .x = x };
	CHECK_OK(reembed(&m, &to_new, &e), e);    /* and forth again: nothing is to be done */
	CHECK_INT(m.texts, 0);
	verify(x, NEW);
	index_close(x);
}

TEST(generation_graph_comes_back)
{
	struct index *x = fresh_store(120);
	struct embedding m = { .x = x };
	struct index_embedder serving, beside;
	struct index_stats before, after;
	struct err e;
	CHECK_OK(index_stats(x, &before, &e), e);
	CHECK(before.graph_vectors > 200);
	CHECK_OK(reembed(&m, &to_new, &e), e);
	CHECK_OK(index_stats(x, &after, &e), e);  /* one was built before the turn */
	CHECK(after.graph_vectors > 200 && after.graph_vectors + after.tail_vectors == after.chunks);
	verify(x, NEW);
	embedders(x, &serving, &beside);
	put(x, "c", "late", 6);
	CHECK_OK(reembed(&m, &beside, &e), e);
	CHECK_OK(index_stats(x, &after, &e), e);  /* at once: the one that was stored */
	CHECK(after.graph_vectors == before.graph_vectors && after.tail_vectors == before.tail_vectors + 6);
	verify(x, OLD);
	index_close(x);
}

TEST(generation_refuses_and_names)
{
	struct index *x = fresh_store(30);
	struct embedding m = { .x = x };
	struct index_options o = options(&to_new);
	struct index *y;
	struct write *w;
	struct err e;
	CHECK_INT(reembed(&m, &(struct index_embedder){ "fingerprint-old", "older", OLD, 0, 0 }, &e), E_CONFLICT);
	CHECK(strstr(e.msg, "older"));
	CHECK_INT(index_reembed_forget(x, &e), E_NOT_FOUND);
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_INT(reembed(&m, &to_new, &e), E_BUSY);
	index_write_abort(w);
	index_close(x);
	CHECK_INT(index_open(&y, &o, &e), E_CONFLICT);
	CHECK_MSG(strstr(e.msg, "older") && strstr(e.msg, "newer") && strstr(e.msg, "reembed"), "%s", e.msg);
	x = open_with(NULL);
	verify(x, OLD);
	index_close(x);
}

TEST(generation_stops_goes_on_and_is_forgotten)
{
	struct index *x = fresh_store(90);
	struct embedding m = { .x = x, .stop_after = 2 };
	struct index_embedder serving, beside;
	struct index_stats stats;
	struct err e;
	uint64_t first;
	CHECK_INT(reembed(&m, &to_new, &e), E_CANCELLED);
	first = m.texts;
	CHECK_OK(index_stats(x, &stats, &e), e);
	CHECK(stats.beside.status == BESIDE_BUILDING && stats.beside.vectors == first && first > 0);
	verify(x, OLD);
	index_close(x);
	x = open_with(NULL);
	m = (struct embedding){ .x = x };
	CHECK_OK(reembed(&m, &to_new, &e), e);
	CHECK_INT(m.texts, stats.chunks - first);
	verify(x, NEW);
	m.stop_after = 1;
	CHECK_INT(reembed(&m, &to_third, &e), E_CANCELLED); /* the old ones make room */
	embedders(x, &serving, &beside);
	CHECK_STR(beside.model, "third");
	CHECK_INT(beside.status, BESIDE_BUILDING);
	verify(x, NEW);
	CHECK_OK(index_reembed_forget(x, &e), e);
	embedders(x, &serving, &beside);
	CHECK(beside.status == BESIDE_NONE && beside.vectors == 0);
	verify(x, NEW);
	m = (struct embedding){ .x = x };
	CHECK_OK(reembed(&m, &to_third, &e), e);
	verify(x, WIDEST);
	index_close(x);
}

/* A store whose embedder is gone: opened without, it turns to another. */
TEST(generation_without_the_old_embedder)
{
	struct index *x = fresh_store(60);
	struct embedding m;
	struct index_options o;
	struct err e;
	index_close(x);
	o = options(NULL);
	o.dim = 0, o.embedder = "";
	CHECK_OK(index_open(&x, &o, &e), e);
	m = (struct embedding){ .x = x };
	CHECK_OK(reembed(&m, &to_new, &e), e);
	verify(x, NEW);
	put(x, "c", "later", 3);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	verify(x, NEW);
	index_close(x);
}

/* ---- searches go on ---- */

static atomic_int done;

static void *search_on(void *arg)
{
	struct index *x = arg;
	size_t *counts = mem_calloc(2, sizeof *counts);
	while (!atomic_load(&done)) {
		struct snapshot *s;
		struct vec_hit hit[3];
		float q[WIDEST];
		size_t got;
		struct err e;
		int newer;
		CHECK_OK(snapshot_open(&s, x, &e), e);
		newer = strcmp(snapshot_embedder(s), to_new.fingerprint) == 0;
		vector_of("doc4 says 2.", 12, newer ? NEW : OLD, q);
		CHECK_OK(snapshot_search(s, &everyone, q, 3, hit, &got, &e), e);
		CHECK(got == 3 && hit[0].score > 0.999f);
		counts[newer]++;
		snapshot_close(s);
	}
	return counts;
}

TEST(generation_searches_never_stop)
{
	struct index *x = fresh_store(120);
	struct embedding m = { .x = x };
	struct index_embedder serving, beside;
	pthread_t t;
	size_t *counts;
	struct err e;
	atomic_store(&done, 0);
	CHECK(pthread_create(&t, NULL, search_on, x) == 0);
	for (int i = 0; i < 6; i++) {
		embedders(x, &serving, &beside);
		CHECK_OK(reembed(&m, i ? &beside : &to_new, &e), e);
		usleep(20000);
	}
	atomic_store(&done, 1);
	CHECK(pthread_join(t, (void **)&counts) == 0);
	CHECK(counts[0] > 0 && counts[1] > 0);
	mem_free(counts);
	verify(x, OLD);
	index_close(x);
}

/* ---- erasure, compaction, backup ---- */

static int raw_has(const void *what, size_t n)
{
	struct buf path, data;
	struct err e;
	int found;
	buf_init(&path, 1 << 12);
	buf_init(&data, (size_t)1 << 30);
	CHECK(path_join(&path, dir, "data.mdb") == OK);
	CHECK_OK(file_read(path.data, &data, &e), e);
	found = memmem(data.data, data.len, what, n) != NULL;
	buf_clear(&data);
	buf_clear(&path);
	return found;
}

TEST(generation_erase_takes_both)
{
	for (int kept = 0; kept < 2; kept++) {
		struct index *x = fresh_store(90);
		struct embedding m = { .x = x, .stop_after = kept ? 0 : 3 };
		struct index_erasure r;
		float v[WIDEST];
		uint64_t before, after;
		struct err e;
		CHECK_INT(reembed(&m, &to_new, &e), kept ? OK : E_CANCELLED);
		CHECK_OK(index_erase(x, "doc4", &r, &e), e);
		CHECK(r.verified);
		verify(x, kept ? NEW : OLD);
		CHECK_OK(index_compact(x, &before, &after, &e), e);
		index_close(x);
		for (int j = 0; j < 3; j++) {
			char text[40];
			int len = snprintf(text, sizeof text, "doc4 says %d.", j);
			for (int dim = OLD; dim <= NEW; dim += NEW - OLD) {
				vector_of(text, (size_t)len, dim, v);
				CHECK(!raw_has(v, 40));
			}
			len = snprintf(text, sizeof text, "doc5 says %d.", j);
			vector_of(text, (size_t)len, NEW, v);
			CHECK(raw_has(v, 40));
		}
		x = open_with(kept ? &to_new : NULL);
		m = (struct embedding){ .x = x };
		CHECK_OK(reembed(&m, kept ? &(struct index_embedder){ "fingerprint-old", "older", OLD, 0, 0 } : &to_new, &e), e);
		verify(x, kept ? OLD : NEW);
		index_close(x);
	}
}

TEST(generation_is_backed_up)
{
	struct index *x = fresh_store(60);
	struct embedding m = { .x = x };
	struct index_embedder serving, beside;
	struct index_options o;
	struct index_stats stats;
	char file[340];
	uint64_t bytes;
	struct err e;
	CHECK_OK(reembed(&m, &to_new, &e), e);
	snprintf(file, sizeof file, "%s/copy", dir);
	CHECK_OK(index_backup(x, file, &bytes, &e), e);
	put(x, "c", "later", 3);
	index_close(x);
	o = options(&to_new);
	CHECK_OK(index_restore(&o, file, 1, &stats, &e), e);
	x = open_with(&to_new);
	verify(x, NEW);
	embedders(x, &serving, &beside);
	CHECK_INT(beside.status, BESIDE_KEPT);
	m = (struct embedding){ .x = x };
	CHECK_OK(reembed(&m, &beside, &e), e);
	CHECK_INT(m.texts, 0);
	verify(x, OLD);
	index_close(x);
}

/* ---- damage and kills ---- */

TEST(generation_check_sees_what_lacks)
{
	struct index *x = fresh_store(40);
	struct embedding m = { .x = x };
	struct store *st;
	struct txn *t;
	struct key k;
	struct err e;
	CHECK_OK(reembed(&m, &to_new, &e), e);
	index_close(x);
	CHECK_OK(store_open(&st, dir, 256 << 20, 64, 0, &e), e);
	CHECK_OK(txn_begin(&t, st, 1, &e), e);
	key_vec(&k, 2, 5);                        /* of the old one, which stands in vec */
	CHECK_OK(store_del(t, T_VEC, &k, &e), e);
	CHECK_OK(txn_commit(t, &e), e);
	store_close(st);
	x = open_with(&to_new);
	CHECK(help_problems(x) > 0);
	m = (struct embedding){ .x = x };         /* turning back makes it good */
	CHECK_OK(reembed(&m, &(struct index_embedder){ "fingerprint-old", "older", OLD, 0, 0 }, &e), e);
	CHECK_INT(m.texts, 1);
	verify(x, OLD);
	index_close(x);
}

static int turned;               /* what the next child expects */

static void child_fill(void)
{
	struct index *x = open_with(NULL);
	struct err e;
	fill(x, 0, 90);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	index_close(x);
}

static void child_verify(void)
{
	struct index *x = open_with(turned ? &to_new : NULL);
	struct embedding m = { .x = x };
	struct index_embedder serving, beside;
	uint64_t chunks = verify(x, turned ? NEW : OLD);
	struct err e;
	embedders(x, &serving, &beside);
	CHECK_INT(beside.status, turned ? BESIDE_KEPT : BESIDE_BUILDING);
	if (!turned) {
		CHECK_OK(reembed(&m, &to_new, &e), e);
		CHECK_INT(m.texts, chunks - beside.vectors);
	}
	verify(x, NEW);
	index_close(x);
}

static void killed_child(const char *fault)
{
	int status;
	pid_t pid;
	fflush(NULL);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		struct embedding m;
		struct err e;
		setenv("FOOTNOTE_FAULT", fault, 1);
		m = (struct embedding){ .x = open_with(NULL) };
		CHECK_OK(reembed(&m, &to_new, &e), e);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_MSG(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%s: status %d", fault, status);
}

/* Each step runs in a process of its own, because a fault plan is read once a process. */
TEST(generation_survives_kill)
{
	static const struct { const char *fault; int turned; } at[] = {
		{ "reembed.begun:1", 0 }, { "reembed.batch:1", 0 }, { "reembed.batch:4", 0 }, { "reembed.before_turn:1", 0 },
		{ "reembed.after_turn:1", 1 },
	};
	for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
		snprintf(dir, sizeof dir, "%s/%zu", test_dir(), i);
		help_in_child("", child_fill);
		killed_child(at[i].fault);
		turned = at[i].turned;
		help_in_child("", child_verify);
	}
}
