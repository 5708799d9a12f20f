/* cmd_eval.c: `footnote eval DIR`: syncs a question set into its own collection and prints its figures (contract,
 * section 6; the arithmetic is score.c's).
 *
 * Documents of corpus.jsonl are pushed with ids "<collection>/<their id>", so that sets never meet; files of articles/
 * are ingested as any folder is. What the collection held before and is not in the set is deleted. A passage counts when its range overlaps the gold paragraph, which is looked up in
 * the stored text ignoring white space. Threads: the command's. Failure: the first error ends the run. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api/answer.h"
#include "api/command.h"
#include "api/evalset.h"
#include "api/score.h"
#include "api/screen.h"
#include "api/view.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/flag.h"
#include "base/mem.h"
#include "base/unicode.h"
#include "base/utf8.h"

enum { SET_BYTES_MAX = 1 << 30, QUESTION_BYTES_MAX = 256 << 20, DEPTH = 100, GATE_BYTES_MAX = 1 << 20 };

struct tally {                        /* sums over questions */
	double ndcg, recall5, recall10, recall100, mrr;
	size_t retrieved;             /* questions with a gold document */
	size_t answerable, unanswerable, answered, abstained_right, abstained_wrong, contains;
	size_t citations, citations_gold, answered_cited, quotes_exact;
	double f1, em;
	double *words, *times; size_t word_n, time_n;
};
struct eval_run {
	struct command_call *call;
	struct evalset set;
	char collection[65];
	struct reader reader;
	struct tally t;
	struct progress progress;
	int answers, style, mode;
	const char *prompt;           /* template of answers; NULL: the one in use */
	long limit;
	double began_ms;
};

static void no_event(void *ctx, const struct ingest_event *ev)
{
	struct eval_run *r = ctx;
	if (ev->verdict == DOC_FAILED) out_printf(r->call->out, 2, "eval: %s: %s\n", ev->source, ev->reason);
}

static int sync_corpus(struct eval_run *r, const struct ingest *with, struct ingest_sink *sink, struct ingest_summary *sum, struct arena *a, struct err *e)
{
	struct ingest_item *items = arena_calloc(a, r->set.document_n + 1, sizeof *items);
	if (!items) return err_set(e, E_MEMORY, "eval: out of memory");
	for (size_t i = 0; i < r->set.document_n; i++) {
		const struct eval_document *d = &r->set.documents[i];
		char *id = arena_printf(a, "%s/%s", r->collection, d->id), *source = arena_printf(a, "%s/corpus.jsonl#%s", r->set.dir, d->id);
		if (!id || !source) return err_set(e, E_MEMORY, "eval: out of memory");
		items[i] = (struct ingest_item){ .id = id, .collection = r->collection, .title = d->title, .source = source, .name = "", .meta = "{}",
			.data = d->text, .len = strlen(d->text), .is_text = 1 };
	}
	return ingest_items(with, items, r->set.document_n, sink, sum, e);
}

static int sync_articles(struct eval_run *r, const struct ingest *with, struct ingest_sink *sink, struct ingest_summary *sum, struct arena *a, struct err *e)
{
	const char *path = arena_printf(a, "%s/articles", r->set.dir);
	struct ingest_request q = { .collection = r->collection, .cwd = r->call->cwd, .paths = &path, .path_n = 1, .prune = 1 };
	if (!path) return err_set(e, E_MEMORY, "eval: out of memory");
	return ingest_paths(with, &q, sink, sum, e);
}

static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct eval_document *)a)->id, ((const struct eval_document *)b)->id);
}

/* Is a stored document one of this set? by_ids: the set's documents in order of their ids. */
static int is_of_set(const struct eval_run *r, const struct eval_document *by_ids, const struct doc *d)
{
	size_t dir = strlen(r->set.dir), prefix = strlen(r->collection) + 1;
	if (r->set.has_articles)
		return strncmp(d->source, r->set.dir, dir) == 0 && strncmp(d->source + dir, "/articles/", 10) == 0;
	return strlen(d->id) > prefix && r->set.document_n && bsearch(&(struct eval_document){ .id = d->id + prefix }, by_ids,
		r->set.document_n, sizeof *by_ids, by_id);
}

/* Ids of what the collection holds of an earlier state of the set, or of another set with the same name. */
static int leftovers_find(struct eval_run *r, const char ***ids, size_t *n, struct arena *a, struct err *e)
{
	enum { PAGE = 256 };
	struct eval_document *by_ids = arena_calloc(a, r->set.document_n + 1, sizeof *by_ids);
	struct doc *page = arena_calloc(a, PAGE, sizeof *page);
	struct snapshot *s;
	struct arena strings;
	uint64_t after = 0;
	size_t got = 0, cap = 0;
	int rc = by_ids && page ? snapshot_open(&s, r->call->service->index, e) : err_set(e, E_MEMORY, "eval: out of memory");
	if (rc) return rc;
	if (r->set.document_n) memcpy(by_ids, r->set.documents, r->set.document_n * sizeof *by_ids);
	qsort(by_ids, r->set.document_n, sizeof *by_ids, by_id);
	do {
		arena_init(&strings, SET_BYTES_MAX);
		rc = snapshot_docs(s, &r->reader, after, ~0u, PAGE, &strings, page, &got, e);
		for (size_t i = 0; !rc && i < got; i++) {
			after = page[i].key;
			if (is_of_set(r, by_ids, &page[i])) continue;
			if (*n == cap) {
				const char **more = arena_calloc(a, cap = 2 * cap + 64, sizeof *more);
				if (more && *n) memcpy(more, *ids, *n * sizeof *more);
				*ids = more;
			}
			char *id = *ids ? arena_strdup(a, page[i].id) : NULL;
			if (id) (*ids)[(*n)++] = id;
			else rc = err_set(e, E_MEMORY, "eval: out of memory");
		}
		arena_clear(&strings);
	} while (!rc && got == PAGE);
	snapshot_close(s);
	return rc;
}

/* The figures are of this set alone, so what else is in its collection goes before it is synced. */
static int leftovers_delete(struct eval_run *r, struct arena *a, struct err *e)
{
	struct write *w;
	const char **ids = NULL;
	size_t n = 0;
	int rc = leftovers_find(r, &ids, &n, a, e);
	if (rc || n == 0) return rc;
	rc = index_write_begin(&w, r->call->service->index, e);
	if (rc) return rc;
	for (size_t i = 0; !rc && i < n; i++) rc = index_delete(w, ids[i], e);
	if (!rc) return index_write_commit(w, e);
	index_write_abort(w);
	return rc;
}

static int sync(struct eval_run *r, struct arena *a, struct err *e)
{
	struct ingest with;
	struct ingest_sink sink = { .ctx = r, .event = no_event };
	struct ingest_summary sum;
	int rc = service_ingest(r->call->service, &with, r->call->cancel, e);
	if (!rc && !r->call->quiet && !r->call->json) out_printf(r->call->out, 2, "eval: syncing %s into collection %s\n", r->set.dir, r->collection);
	if (!rc) rc = leftovers_delete(r, a, e);
	if (!rc) rc = r->set.has_articles ? sync_articles(r, &with, &sink, &sum, a, e) : sync_corpus(r, &with, &sink, &sum, a, e);
	if (!rc && sum.by_verdict[DOC_FAILED]) rc = err_set(e, E_IO, "eval: %llu documents of the set could not be stored", (unsigned long long)sum.by_verdict[DOC_FAILED]);
	return rc;
}

/* Finds `needle` in text ignoring white space on both sides; both UTF-8. */
static int find_loose(const char *text, size_t len, const char *needle, struct span *out, struct arena *a)
{
	size_t n = 0, m = 0, k = strlen(needle);
	char *hay = arena_alloc(a, len + 1), *pin = arena_alloc(a, k + 1);
	uint32_t *at = arena_alloc(a, (len + 1) * sizeof *at);
	if (!hay || !pin || !at) return 0;
	for (size_t i = 0; i < len; i++)
		if (!strchr(" \n\t\r", text[i])) at[n] = (uint32_t)i, hay[n++] = text[i];
	for (size_t i = 0; i < k; i++)
		if (!strchr(" \n\t\r", needle[i])) pin[m++] = needle[i];
	const char *hit = m ? memmem(hay, n, pin, m) : NULL;
	if (!hit) return 0;
	size_t from = (size_t)(hit - hay);
	*out = (struct span){ at[from], at[from + m - 1] + 1 - at[from] };
	return 1;
}

/* The gold paragraph's document and byte range in the snapshot's text. */
static int gold_find(struct eval_run *r, struct snapshot *s, const struct eval_question *q, uint64_t *key, struct span *range, struct arena *a, struct err *e)
{
	struct buf path, nfc;
	struct doc d;
	const char *text;
	size_t len;
	char *file = arena_printf(a, "%s/articles/%s", r->set.dir, q->document);
	buf_init(&path, 8192);
	buf_init(&nfc, 1 << 20);
	int rc = file ? path_absolute(&path, r->call->cwd, file, e) : err_set(e, E_MEMORY, "eval: out of memory");
	if (!rc) rc = snapshot_doc_by_source(s, &r->reader, r->collection, buf_cstr(&path), a, &d, e);
	if (!rc) rc = snapshot_text(s, &d, &text, &len, e);
	if (!rc) rc = uni_nfc(q->paragraph, strlen(q->paragraph), &nfc, e);
	if (!rc && !find_loose(text, len, buf_cstr(&nfc), range, a)) rc = err_set(e, E_NOT_FOUND, "eval: question %s: its paragraph is not in %s", q->id, q->document);
	if (!rc) *key = d.key;
	buf_clear(&path);
	buf_clear(&nfc);
	return rc;
}

static int overlaps(const struct span *x, const struct span *y)
{
	return x->off < y->off + y->len && y->off < x->off + x->len;
}

/* gains[i] of the i-th result; several passages of one document count once in qrels sets. */
static int gains_of(struct eval_run *r, const struct eval_question *q, const struct retrieval *f, double *gains, size_t *n, struct arena *a, struct err *e)
{
	uint64_t key = 0;
	struct span gold = { 0, 0 };
	size_t prefix = strlen(r->collection) + 1;
	*n = 0;
	if (r->set.has_articles) {
		int rc = gold_find(r, f->snapshot, q, &key, &gold, a, e);
		if (rc) return rc;
		int seen = 0;
		for (size_t i = 0; i < f->n; i++) {
			int hit = f->passages[i].doc.key == key && overlaps(&f->passages[i].chunk.range, &gold);
			gains[(*n)++] = hit && !seen;
			seen |= hit;
		}
		return OK;
	}
	for (size_t i = 0; i < f->n; i++) {
		int seen = 0;
		for (size_t j = 0; j < i; j++) seen |= f->passages[j].doc.key == f->passages[i].doc.key;
		if (seen) continue;
		gains[*n] = 0;
		for (size_t k = 0; k < q->relevant_n; k++)
			if (strcmp(f->passages[i].doc.id + prefix, q->relevant[k].document) == 0) gains[*n] = q->relevant[k].gain;
		(*n)++;
	}
	return OK;
}

static int retrieve_one(struct eval_run *r, const struct eval_question *q, struct arena *a, struct err *e)
{
	const struct search_want want = { .mode = (enum search_mode)r->mode, .k = DEPTH };
	struct retrieval f;
	double gains[DEPTH], *ideal;
	size_t n, ideal_n = r->set.has_articles ? 1 : q->relevant_n;
	if (!q->answerable || ideal_n == 0 || (r->set.has_articles && !*q->paragraph)) return OK;
	int rc = retrieve(r->call->service, &r->reader, q->text, strlen(q->text), &want, a, &f, e);
	if (rc) return rc;
	rc = gains_of(r, q, &f, gains, &n, a, e);
	retrieve_close(&f);
	ideal = arena_calloc(a, ideal_n, sizeof *ideal);
	if (!rc && !ideal) rc = err_set(e, E_MEMORY, "eval: out of memory");
	if (rc) return rc;
	size_t relevant = 0;
	for (size_t i = 0; i < ideal_n; i++) {
		ideal[i] = r->set.has_articles ? 1 : q->relevant[i].gain;
		relevant += ideal[i] > 0;
	}
	r->t.ndcg += score_ndcg(gains, n, ideal, ideal_n, 10);
	r->t.recall5 += score_recall(gains, n, relevant, 5);
	r->t.recall10 += score_recall(gains, n, relevant, 10);
	r->t.recall100 += score_recall(gains, n, relevant, 100);
	r->t.mrr += score_mrr(gains, n, 10);
	r->t.retrieved++;
	return OK;
}

static size_t word_count(const char *normal)
{
	size_t n = 0;
	for (const char *s = normal; *s; s++) n += *s == ' ' && s[1];
	return n;
}

/* 1 when any of the gold texts is in the text; normalised inside. */
static int holds_gold(const struct eval_question *q, const char *text, size_t len, struct arena *a)
{
	char *t = score_normalise(a, text, len);
	for (size_t i = 0; t && i < q->answer_n; i++) {
		char *g = score_normalise(a, q->answers[i], strlen(q->answers[i]));
		if (g && score_contains(t, g)) return 1;
	}
	return 0;
}

static void tally_short(struct tally *t, const struct eval_question *q, const struct answer *x, struct arena *a)
{
	double best = 0;
	int exact = 0;
	if (!x->has_short) return;
	char *s = score_normalise(a, x->short_answer.quote, x->short_answer.quote_len);
	for (size_t i = 0; s && i < q->answer_n; i++) {
		char *g = score_normalise(a, q->answers[i], strlen(q->answers[i]));
		double f1 = g ? score_f1(s, g) : 0;
		if (f1 > best) best = f1;
		exact |= g && strcmp(s, g) == 0;
	}
	t->f1 += best;
	t->em += exact;
}

static int quote_is_exact(const struct answer *x, const struct answer_citation *c)
{
	const char *text;
	size_t len;
	struct span s;
	const struct doc *d = &x->retrieval.passages[c->passage].doc;
	if (snapshot_text(x->retrieval.snapshot, d, &text, &len, NULL)) return 0;
	if (snapshot_text_range(x->retrieval.snapshot, d, c->start_cp, c->end_cp, &s, NULL)) return 0;
	return s.len == c->quote_len && memcmp(text + s.off, c->quote, s.len) == 0;
}

static void tally_answer(struct tally *t, const struct eval_question *q, const struct answer *x, struct arena *a)
{
	int abstained = x->status == ANSWER_ABSTAINED, cited = 0;
	for (size_t i = 0; i < x->citation_n; i++) {
		const struct answer_citation *c = &x->citations[i];
		int gold = q->answerable && holds_gold(q, c->quote, c->quote_len, a);
		t->quotes_exact += (size_t)quote_is_exact(x, c);
		t->citations++;
		t->citations_gold += (size_t)gold;
		cited |= gold;
	}
	*(q->answerable ? &t->answerable : &t->unanswerable) += 1;
	if (abstained) *(q->answerable ? &t->abstained_wrong : &t->abstained_right) += 1;
	t->times[t->time_n++] = x->total_ms;
	if (abstained) return;
	char *plain = score_unmark(a, x->text, x->text_len), *normal = plain ? score_normalise(a, plain, strlen(plain)) : NULL;
	if (normal) t->words[t->word_n++] = (double)word_count(normal);
	if (!q->answerable) return;
	t->answered++;
	t->answered_cited += (size_t)cited;
	t->contains += plain && holds_gold(q, plain, strlen(plain), a);
	tally_short(t, q, x, a);
}

static int answer_one(struct eval_run *r, const struct eval_question *q, struct arena *a, struct err *e)
{
	struct answer x;
	struct answer_request req = { .reader = r->reader, .question = q->text, .style = r->style, .prompt = r->prompt, .temperature = -1,
		.cancel = r->call->cancel, .fresh = 1, .unkept = 1 };
	int rc = answer_run(r->call->service, &req, NULL, a, &x, e);
	if (!rc) tally_answer(&r->t, q, &x, a);
	answer_close(&x);
	return rc;
}

static double share(double part, double all)
{
	return all > 0 ? round(part / all * 1e4) / 1e4 : 0;
}

static cJSON *figures(struct eval_run *r)
{
	struct tally *t = &r->t;
	cJSON *o = cJSON_CreateObject();
	double n = (double)t->retrieved;
	cJSON_AddStringToObject(o, "set", r->set.name);
	cJSON_AddStringToObject(o, "collection", r->collection);
	cJSON_AddStringToObject(o, "mode", search_mode_name((enum search_mode)r->mode));
	cJSON_AddNumberToObject(o, "questions", (double)r->set.question_n);
	cJSON_AddNumberToObject(o, "questions_retrieved", n);
	cJSON_AddNumberToObject(o, "ndcg@10", share(t->ndcg, n));
	cJSON_AddNumberToObject(o, "recall@5", share(t->recall5, n));
	cJSON_AddNumberToObject(o, "recall@10", share(t->recall10, n));
	cJSON_AddNumberToObject(o, "recall@100", share(t->recall100, n));
	cJSON_AddNumberToObject(o, "mrr@10", share(t->mrr, n));
	if (!r->answers) return o;
	cJSON_AddNumberToObject(o, "questions_asked", (double)t->time_n);
	cJSON_AddNumberToObject(o, "contains", share((double)t->contains, (double)t->answered));
	cJSON_AddNumberToObject(o, "answered_correct", share((double)t->contains, (double)t->answerable));
	cJSON_AddNumberToObject(o, "short_f1", share(t->f1, (double)t->answerable));
	cJSON_AddNumberToObject(o, "short_em", share(t->em, (double)t->answerable));
	cJSON_AddNumberToObject(o, "citation_precision", share((double)t->citations_gold, (double)t->citations));
	cJSON_AddNumberToObject(o, "citation_recall", share((double)t->answered_cited, (double)t->answered));
	cJSON_AddNumberToObject(o, "wrongly_abstained", share((double)t->abstained_wrong, (double)t->answerable));
	cJSON_AddNumberToObject(o, "rightly_abstained", share((double)t->abstained_right, (double)t->unanswerable));
	cJSON_AddNumberToObject(o, "quote_exact", share((double)t->quotes_exact, (double)t->citations));
	cJSON_AddNumberToObject(o, "citations", (double)t->citations);
	cJSON *w = cJSON_AddObjectToObject(o, "answer_words"), *ms = cJSON_AddObjectToObject(o, "answer_ms");
	cJSON_AddNumberToObject(w, "median", score_quantile(t->words, t->word_n, 0.5));
	cJSON_AddNumberToObject(w, "p95", score_quantile(t->words, t->word_n, 0.95));
	cJSON_AddNumberToObject(ms, "median", round(score_quantile(t->times, t->time_n, 0.5)));
	cJSON_AddNumberToObject(ms, "p95", round(score_quantile(t->times, t->time_n, 0.95)));
	return o;
}

/* A gate file is {"figure": floor, …} or {"figure": {"min": x, "max": y}}. Says each figure that fails. */
static int gate(struct eval_run *r, const cJSON *got, const char *path, int *failed, struct err *e)
{
	struct buf text, full;
	cJSON *floors = NULL, *f;
	buf_init(&text, GATE_BYTES_MAX);
	buf_init(&full, 8192);
	int rc = path_absolute(&full, r->call->cwd, path, e);
	if (!rc) rc = file_read(buf_cstr(&full), &text, e);
	if (!rc) rc = json_parse(&floors, buf_cstr(&text), text.len, GATE_BYTES_MAX, path, e);
	if (!rc && !cJSON_IsObject(floors)) rc = err_set(e, E_FORMAT, "%s: not an object of figures", path);
	cJSON_ArrayForEach(f, floors) {
		if (rc) break;
		double min = cJSON_IsNumber(f) ? f->valuedouble : json_num(f, "min", -INFINITY), max = json_num(f, "max", INFINITY);
		const cJSON *have = cJSON_GetObjectItemCaseSensitive(got, f->string);
		if (!cJSON_IsNumber(have)) rc = err_set(e, E_USAGE, "%s: no figure named %s", path, f->string);
		else if (have->valuedouble < min || have->valuedouble > max) {
			*failed = 1;
			out_printf(r->call->out, 2, "gate: %s is %g, wanted %s%g\n", f->string, have->valuedouble, have->valuedouble < min ? "at least " : "at most ",
				have->valuedouble < min ? min : max);
		}
	}
	cJSON_Delete(floors);
	buf_clear(&text);
	buf_clear(&full);
	return rc;
}

static int each_question(struct eval_run *r, struct err *e)
{
	struct arena a;
	size_t n = r->limit > 0 && (size_t)r->limit < r->set.question_n ? (size_t)r->limit : r->set.question_n;
	int rc = OK;
	r->t.words = mem_calloc(n + 1, sizeof *r->t.words);
	r->t.times = mem_calloc(n + 1, sizeof *r->t.times);
	if (!r->t.words || !r->t.times) return err_set(e, E_MEMORY, "eval: out of memory");
	r->set.question_n = n;
	for (size_t i = 0; rc == OK && i < n; i++) {
		char line[80];
		if (flag_is(r->call->cancel)) return err_set(e, E_CANCELLED, "eval: cancelled");
		arena_init(&a, QUESTION_BYTES_MAX);
		rc = retrieve_one(r, &r->set.questions[i], &a, e);
		if (!rc && r->answers) rc = answer_one(r, &r->set.questions[i], &a, e);
		arena_clear(&a);
		if (rc) err_wrap(e, "question %s", r->set.questions[i].id);
		if (!progress_due(&r->progress)) continue;
		snprintf(line, sizeof line, "question %zu of %zu, %.1f s", i + 1, n, (clock_ms() - r->began_ms) / 1000);
		progress_draw(&r->progress, (double)(i + 1) / (double)n, line);
	}
	progress_hide(&r->progress);
	return rc;
}

static void print_people(struct eval_run *r, const cJSON *o)
{
	const cJSON *f;
	cJSON_ArrayForEach(f, o) {
		if (cJSON_IsNumber(f)) out_printf(r->call->out, 1, "%-20s %g\n", f->string, f->valuedouble);
		else if (cJSON_IsString(f)) out_printf(r->call->out, 1, "%-20s %s\n", f->string, f->valuestring);
		else out_printf(r->call->out, 1, "%-20s median %g, p95 %g\n", f->string, json_num(f, "median", 0), json_num(f, "p95", 0));
	}
}

int cmd_eval(struct command_call *c)
{
	struct eval_run r = { .call = c, .style = STYLE_GENERATE, .began_ms = clock_ms() };
	const char *gate_path = NULL, *mode = "hybrid";
	int extractive = 0, failed = 0;
	struct arena a;
	struct err e = { 0 };
	struct buf dir;
	struct option options[] = { { "--answers", OPTION_FLAG, &r.answers, 0, 0 }, { "--extractive", OPTION_FLAG, &extractive, 0, 0 },
		{ "--gate", OPTION_TEXT, &gate_path, 0, 0 }, { "--mode", OPTION_TEXT, &mode, 0, 0 }, { "--prompt", OPTION_TEXT, &r.prompt, 0, 0 },
		{ "--limit", OPTION_NUMBER, &r.limit, 1, 100000000 } };
	const struct prompt_template *template;
	cJSON *o = NULL;
	arena_init(&a, SET_BYTES_MAX);
	buf_init(&dir, 8192);
	progress_init(&r.progress, c);
	int rc = options_parse(c, options, sizeof options / sizeof options[0], &e);
	r.mode = search_mode_parse(mode);
	if (!rc && r.mode < 0) rc = err_set(&e, E_USAGE, "--mode %.60s: hybrid, dense or lexical", mode);
	if (!rc && c->argc != 2) rc = err_set(&e, E_USAGE, "eval: one folder is wanted");
	if (rc) {
		rc = command_misused(c, &e);
		goto out;
	}
	if (extractive) r.style = STYLE_EXTRACTIVE;
	if (r.prompt && (rc = prompts_find_for(c->service->prompts, "answer", r.prompt, &template, &e))) {
		rc = command_fail(c, &e);
		goto out;
	}
	rc = path_absolute(&dir, c->cwd, c->argv[1], &e);
	if (!rc) rc = evalset_load(&r.set, buf_cstr(&dir), &a, &e);
	if (!rc && strlen(r.set.name) > sizeof r.collection - 6) rc = err_set(&e, E_USAGE, "eval: folder name %s is too long for a collection", r.set.name);
	snprintf(r.collection, sizeof r.collection, "eval-%.58s", r.set.name ? r.set.name : "");
	r.reader = (struct reader){ .collection = r.collection, .all_groups = 1 };
	if (!rc) rc = sync(&r, &a, &e);
	if (!rc) rc = each_question(&r, &e);
	o = rc ? NULL : figures(&r);
	if (!rc && gate_path) rc = gate(&r, o, gate_path, &failed, &e);
	if (!rc && !c->json) print_people(&r, o);
	if (!rc && c->json) {
		rc = command_json(c, o, &e);
		o = NULL;
	}
	rc = rc ? command_fail(c, &e) : failed ? EXIT_SOME_FAILED : EXIT_DONE;
out:
	cJSON_Delete(o);
	mem_free(r.t.words);
	mem_free(r.t.times);
	arena_clear(&a);
	buf_clear(&dir);
	return rc;
}
