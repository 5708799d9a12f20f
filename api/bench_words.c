/* bench_words.c: `footnote bench words SET`: the search by words measured: each document of a question set (evalset.h) is
 * one chunk of a store in a folder of its own, which is removed again; each question is searched as the service does it,
 * a snapshot of its own and its text's words included, in one thread. queries_per_s, of that thread's processor time, is
 * the median over runs after one that warms up; ndcg@10 tells that the fast answers are good ones. With --tokens the
 * words of documents and questions, as they are indexed and looked for, are written for other programs to search with
 * (tests/bench/peer_words.py).
 * Threads: the command's. Failure: nothing is told; the folder is removed all the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api/bench.h"
#include "api/evalset.h"
#include "api/score.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/flag.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/words.h"
#include "index/index.h"

enum { SET_BYTES_MAX = 1 << 30, DOCS_A_WRITE = 2000, PLACES = 10, K_MAX = 1000, RUNS = 5, TOKENS_MAX = 1 << 30 };

struct words_bench {
	struct command_call *call;
	const char *tokens;
	long k, repeat;
	struct evalset set;
	struct index *index;
	char dir[BENCH_DIR_MAX];
	const char **ids; uint64_t ids_n;    /* of documents by chunk id: chunks are numbered as they are put */
	struct word_hit *hits; size_t got;   /* k of them */
};

/* ---- the store ---- */

static int doc_put(struct words_bench *b, struct write *w, const struct eval_document *d, struct err *e)
{
	const float one = 1;
	struct span all = { 0, (uint32_t)strlen(d->text) };
	struct chunk_in chunk = { all, "", 0, NULL, 0 };
	struct doc_in in = { .collection = "bench", .title = d->title, .source = "", .type = "txt", .bytes = all.len, .root = "", .meta = "{}",
		.verdict = DOC_ADDED, .reason = "", .duplicate_of = "", .text = d->text, .text_len = all.len, .chunks = &chunk, .chunk_n = 1, .vectors = &one };
	char id[64];
	int verdict, rc;
	sha256_of(d->text, all.len, in.hash);
	rc = index_put(w, &in, id, &verdict, e);
	if (!rc) b->ids[b->ids_n++] = d->id;
	return rc ? err_wrap(e, "document %.60s", d->id) : OK;
}

static int store_fill(struct words_bench *b, struct err *e)
{
	struct write *w = NULL;
	int rc = OK;
	b->ids = mem_calloc(b->set.document_n + 1, sizeof *b->ids);
	if (!b->ids) return err_set(e, E_MEMORY, "bench: out of memory");
	for (size_t i = 0; !rc && i < b->set.document_n; i++) {
		if (flag_is(b->call->cancel)) rc = err_set(e, E_CANCELLED, "bench: cancelled");
		if (!rc && !w) rc = index_write_begin(&w, b->index, e);
		if (!rc && *b->set.documents[i].text) rc = doc_put(b, w, &b->set.documents[i], e);
		if (!rc && i % DOCS_A_WRITE == DOCS_A_WRITE - 1) {
			rc = index_write_commit(w, e);
			w = NULL;
		}
	}
	if (!rc && w) return index_write_commit(w, e);
	if (w) index_write_abort(w);
	return rc;
}

static int store_make(struct words_bench *b, struct err *e)
{
	struct index_options o;
	int rc = bench_folder_make(b->dir, e);
	if (rc) return rc;
	service_store_options(b->call->conf, &o);
	o.dir = b->dir;
	o.dim = 1, o.embedder = "none", o.exact_below = SIZE_MAX, o.sync = 0;
	return index_open(&b->index, &o, e);
}

/* ---- searching ---- */

static int question_run(struct words_bench *b, const struct eval_question *q, struct err *e)
{
	const struct reader all = { .collection = "bench", .all_groups = 1 };
	struct snapshot *s;
	int rc = snapshot_open(&s, b->index, e);
	if (rc) return rc;
	rc = snapshot_search_words(s, &all, q->text, strlen(q->text), (size_t)b->k, b->hits, &b->got, e);
	snapshot_close(s);
	return rc;
}

static int run_all(struct words_bench *b, double *seconds, struct err *e)
{
	double start = bench_thread_ms();
	int rc = OK;
	for (size_t i = 0; !rc && i < b->set.question_n; i++) {
		if (flag_is(b->call->cancel)) return err_set(e, E_CANCELLED, "bench: cancelled");
		rc = question_run(b, &b->set.questions[i], e);
	}
	*seconds = (bench_thread_ms() - start) / 1000;
	return rc;
}

/* The mean over questions that have relevant documents. */
static int ndcg_all(struct words_bench *b, double *out, struct err *e)
{
	double sum = 0, gains[PLACES];
	size_t counted = 0;
	int rc = OK;
	for (size_t i = 0; !rc && i < b->set.question_n; i++) {
		const struct eval_question *q = &b->set.questions[i];
		double *ideal = mem_calloc(q->relevant_n + 1, sizeof *ideal);
		if (!ideal) return err_set(e, E_MEMORY, "bench: out of memory");
		rc = question_run(b, q, e);
		for (size_t j = 0; j < q->relevant_n; j++) ideal[j] = q->relevant[j].gain;
		for (size_t j = 0; j < PLACES; j++) {
			gains[j] = 0;
			for (size_t m = 0; !rc && j < b->got && m < q->relevant_n; m++)
				if (strcmp(b->ids[b->hits[j].chunk_id - 1], q->relevant[m].document) == 0) gains[j] = q->relevant[m].gain;
		}
		if (!rc && q->relevant_n) sum += score_ndcg(gains, b->got < PLACES ? b->got : PLACES, ideal, q->relevant_n, PLACES), counted++;
		mem_free(ideal);
	}
	*out = counted ? sum / (double)counted : 0;
	return rc;
}

/* ---- tokens for others ---- */

struct token_line { struct buf *b; int content, query, any; };

static int token_find(void *ctx, const struct word *w, const char *term, size_t n)
{
	struct token_line *l = ctx;
	(void)term;
	l->content |= n && !w->stop;
	return OK;
}

static int token_put(void *ctx, const struct word *w, const char *term, size_t n)
{
	struct token_line *l = ctx;
	if (n == 0 || (l->query && w->stop && l->content)) return OK;
	l->any |= buf_printf(l->b, "%.*s ", (int)n, term) != OK;
	return l->any ? E_MEMORY : OK;
}

/* One line a text, words between blanks. */
static int tokens_put(struct buf *out, const char *title, const char *text, int query, struct err *e)
{
	struct token_line l = { .b = out, .query = query };
	int rc = words_visit(text, strlen(text), token_find, &l, e);
	if (!rc) rc = words_visit(title, strlen(title), token_put, &l, e);
	if (!rc) rc = words_visit(text, strlen(text), token_put, &l, e);
	if (!rc) rc = buf_putc(out, '\n');
	return rc ? err_set(e, E_LIMIT, "bench: the words are too many") : OK;
}

/* "d ID\n" or "q ID\n" before each line. */
static int tokens_write(const struct words_bench *b, const char *path, struct err *e)
{
	struct buf out;
	int rc = OK;
	buf_init(&out, TOKENS_MAX);
	for (size_t i = 0; !rc && i < b->set.document_n; i++) {
		const struct eval_document *d = &b->set.documents[i];
		if (!*d->text) continue;
		rc = buf_printf(&out, "d %s\n", d->id) ? err_set(e, E_LIMIT, "bench: the words are too many") : tokens_put(&out, d->title, d->text, 0, e);
	}
	for (size_t i = 0; !rc && i < b->set.question_n; i++) {
		const struct eval_question *q = &b->set.questions[i];
		rc = buf_printf(&out, "q %s\n", q->id) ? err_set(e, E_LIMIT, "bench: the words are too many") : tokens_put(&out, "", q->text, 1, e);
	}
	if (!rc) rc = file_write_atomic(path, buf_cstr(&out), out.len, e);
	buf_clear(&out);
	return rc;
}

/* ---- all of it ---- */

static int measure(struct words_bench *b, cJSON *out, struct err *e)
{
	double took[BENCH_REPEAT_MAX], build, ndcg = 0, start = clock_ms();
	struct index_stats stats = { 0 };
	int rc = store_make(b, e);
	if (!rc) rc = store_fill(b, e);
	if (!rc) rc = index_rebuild_wait(b->index, e);
	build = (clock_ms() - start) / 1000;
	b->hits = mem_calloc((size_t)b->k, sizeof *b->hits);
	if (!rc && !b->hits) rc = err_set(e, E_MEMORY, "bench: out of memory");
	if (!rc) rc = index_stats(b->index, &stats, e);
	if (!rc) rc = run_all(b, &took[0], e);
	for (long i = 0; !rc && i < b->repeat; i++) rc = run_all(b, &took[i], e);
	if (!rc) rc = ndcg_all(b, &ndcg, e);
	if (!rc) rc = bench_number(out, "documents", (double)stats.documents, e);
	if (!rc) rc = bench_number(out, "questions", (double)b->set.question_n, e);
	if (!rc) rc = bench_number(out, "k", (double)b->k, e);
	if (!rc) rc = bench_number(out, "build_s", build, e);
	if (!rc) rc = bench_number(out, "queries_per_s", (double)b->set.question_n / bench_quantile(took, (size_t)b->repeat, 0.5), e);
	return rc ? rc : bench_number(out, "ndcg@10", ndcg, e);
}

int bench_words(struct command_call *c, cJSON *out, struct err *e)
{
	struct words_bench b = { .call = c, .k = PLACES, .repeat = RUNS };
	struct option options[] = { { "-k", OPTION_NUMBER, &b.k, 1, K_MAX }, { "--repeat", OPTION_NUMBER, &b.repeat, 1, BENCH_REPEAT_MAX },
		{ "--tokens", OPTION_TEXT, &b.tokens, 0, 0 } };
	struct arena a;
	struct buf path;
	int rc = options_parse(c, options, sizeof options / sizeof *options, e);
	arena_init(&a, SET_BYTES_MAX);
	buf_init(&path, 8192);
	if (!rc && c->argc != 2) rc = err_set(e, E_USAGE, "bench words: wants the folder of a question set");
	if (!rc) rc = path_absolute(&path, c->cwd, c->argv[1], e);
	if (!rc) rc = evalset_load(&b.set, buf_cstr(&path), &a, e);
	if (!rc && (b.set.has_articles || !b.set.question_n || !b.set.document_n))
		rc = err_set(e, E_FORMAT, "%.200s: wants corpus.jsonl and queries.jsonl with something in them", c->argv[1]);
	if (!rc && b.tokens) rc = path_absolute(&path, c->cwd, b.tokens, e);
	if (!rc && b.tokens) rc = tokens_write(&b, buf_cstr(&path), e);
	if (!rc) rc = measure(&b, out, e);
	index_close(b.index);
	bench_folder_remove(b.dir);
	mem_free(b.hits);
	mem_free(b.ids);
	buf_clear(&path);
	arena_clear(&a);
	return rc;
}
