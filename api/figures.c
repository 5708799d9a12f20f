/* figures.c: owns the sums over the answers of this process, and puts them beside what the store says of itself.
 *
 * Method: what a monitor scrapes goes into stat.h's series; the times of answers are also kept in finer bins, for quantiles.
 * Series by prompt version are as many as PROMPTS_TOLD, so that people who add versions do not fill the registry.
 * Threads: any; `lock` guards the sums and is held for moments. Failure: figures are told whole or not at all. */
#include "api/figures.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "api/answercache.h"
#include "api/feedback.h"
#include "api/latency.h"
#include "api/templates.h"
#include "api/usage.h"
#include "api/view.h"
#include "base/clock.h"
#include "base/stat.h"

enum { ARENA_BYTES_MAX = 64 << 20 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	uint64_t status[3], cached;
	double prompt_tokens, completion_tokens, reused_tokens, confidence;
	struct latency latency;
	char prompts[PROMPTS_TOLD][PROMPT_NAME_SIZE + 16]; size_t prompt_n;
} sums;

/* ---- an answer ---- */

/* The label of a prompt version: under the lock. */
static const char *prompt_label(const struct answer *a)
{
	char full[PROMPT_NAME_SIZE + 16];
	if (!*a->prompt_name) return "none";
	snprintf(full, sizeof full, "%s@%d", a->prompt_name, a->prompt_version);
	for (size_t i = 0; i < sums.prompt_n; i++)
		if (!strcmp(sums.prompts[i], full)) return sums.prompts[i];
	if (sums.prompt_n == PROMPTS_TOLD) return "other";
	memcpy(sums.prompts[sums.prompt_n], full, sizeof full);
	return sums.prompts[sums.prompt_n++];
}

void figures_answer(const struct answer *a)
{
	char labels[160];
	pthread_mutex_lock(&lock);
	sums.status[a->status]++;
	sums.cached += *a->cached != 0;
	sums.prompt_tokens += (double)a->prompt_tokens;
	sums.completion_tokens += (double)a->completion_tokens;
	sums.reused_tokens += (double)a->reused_tokens;
	if (a->status != ANSWER_ABSTAINED) sums.confidence += a->confidence;
	latency_add(&sums.latency, a->total_ms);
	snprintf(labels, sizeof labels, "prompt=\"%s\",status=\"%s\"", prompt_label(a), answer_status_name(a->status));
	pthread_mutex_unlock(&lock);
	stat_count("footnote_answers_by_prompt_total", labels, 1);
	snprintf(labels, sizeof labels, "status=\"%s\"", answer_status_name(a->status));
	stat_count("footnote_answers_total", labels, 1);
	stat_observe_ms("footnote_answer_seconds", "", a->total_ms);
	stat_observe_share("footnote_answer_confidence", "", a->confidence);
	if (a->style == STYLE_GENERATE && a->sentence_n && a->status != ANSWER_ABSTAINED)
		stat_observe_share("footnote_answer_support", "", a->evidence.support);
	stat_count("footnote_answer_tokens_total", "kind=\"prompt\"", (double)a->prompt_tokens);
	stat_count("footnote_answer_tokens_total", "kind=\"completion\"", (double)a->completion_tokens);
	stat_count("footnote_answer_tokens_total", "kind=\"reused\"", (double)a->reused_tokens);
}

/* ---- the store ---- */

static const char *beside_name(enum beside status)
{
	return status == BESIDE_KEPT ? "kept" : "building";
}

static int beside_put(cJSON *o, const struct index_embedder *b)
{
	cJSON *x;
	if (!b->status) return cJSON_AddNullToObject(o, "beside") != NULL;
	x = cJSON_AddObjectToObject(o, "beside");
	return x && cJSON_AddStringToObject(x, "model", b->model) && cJSON_AddStringToObject(x, "embedder", b->fingerprint) &&
		cJSON_AddNumberToObject(x, "dim", b->dim) && cJSON_AddNumberToObject(x, "vectors", (double)b->vectors) &&
		cJSON_AddStringToObject(x, "status", beside_name(b->status));
}

static int numbers_put(cJSON *o, const struct index_stats *s)
{
	const struct { const char *name; uint64_t value; } row[] = {
		{"snapshot", s->seq}, {"collections", s->collections}, {"documents", s->documents},
		{"documents_without_text", s->documents_without_text}, {"chunks", s->chunks}, {"vectors", s->vectors},
		{"text_bytes", s->text_bytes}, {"file_bytes", s->file_bytes}, {"used_bytes", s->used_bytes},
		{"map_bytes", s->map_bytes},
		{"graph_vectors", s->graph_vectors}, {"tail_vectors", s->tail_vectors}, {"tombstones", s->tombstones},
		{"vector_memory_bytes", s->memory_bytes},
		{"words_memory_bytes", s->words_bytes},
		{"documents_memory_bytes", s->docs_bytes},
		{"dim", (uint64_t)s->serving.dim},
	};
	for (size_t i = 0; i < sizeof row / sizeof *row; i++)
		if (!cJSON_AddNumberToObject(o, row[i].name, (double)row[i].value)) return 0;
	return cJSON_AddBoolToObject(o, "rebuilding", s->rebuilding) &&
		cJSON_AddStringToObject(o, "embedder", s->serving.fingerprint) && cJSON_AddStringToObject(o, "model", s->serving.model) &&
		beside_put(o, &s->beside);
}

static cJSON *store_view(const struct index_stats *s, const struct collection_info *k, size_t n)
{
	cJSON *o = cJSON_CreateObject(), *list, *x;
	int ok = o && numbers_put(o, s) && (list = cJSON_AddArrayToObject(o, "by_collection"));
	for (size_t i = 0; ok && i < n; i++) {
		x = cJSON_CreateObject();
		ok = x && cJSON_AddItemToArray(list, x) && cJSON_AddStringToObject(x, "name", k[i].name) &&
			cJSON_AddNumberToObject(x, "documents", (double)k[i].documents) &&
			cJSON_AddNumberToObject(x, "chunks", (double)k[i].chunks) &&
			cJSON_AddNumberToObject(x, "graph_vectors", (double)k[i].graph_vectors) &&
			cJSON_AddNumberToObject(x, "tail_vectors", (double)k[i].tail_vectors) &&
			cJSON_AddNumberToObject(x, "tombstones", (double)k[i].tombstones);
	}
	if (ok) return o;
	cJSON_Delete(o);
	return NULL;
}

/* ---- models, prompts, answers ---- */

/* A model that is open, null else: nothing is opened to be told of. devices: the same keys, what runs each. */
static int model_put(cJSON *o, cJSON *devices, const char *key, const char *name, const char *device)
{
	return name ? cJSON_AddStringToObject(o, key, name) && cJSON_AddStringToObject(devices, key, device)
		: cJSON_AddNullToObject(o, key) && cJSON_AddNullToObject(devices, key);
}

static int engine_put(cJSON *o, cJSON *devices, const char *key, const struct service_engine *slot)
{
	struct engine *n;
	char device[64];
	service_engine_open(slot, &n);
	if (n) engine_device(n, device);
	return model_put(o, devices, key, n ? generator_info(engine_generator(n))->name : NULL, device);
}

static int models_put(cJSON *all, struct service *s)
{
	cJSON *o = cJSON_AddObjectToObject(all, "models"), *devices = o ? cJSON_AddObjectToObject(o, "devices") : NULL;
	struct embedder *m;
	struct reader_model *r;
	char scan[64] = "";
	int has = !service_embedder(s, &m, NULL);
	if (s->scanner.scan) scan_device(s->scanner.scan, scan);
	service_reader_open(s, &r);
	return devices && model_put(o, devices, "embedder", has ? embedder_info(m)->name : NULL, has ? embedder_device(m) : NULL) &&
		engine_put(o, devices, "generator", &s->large) && engine_put(o, devices, "small", &s->small) &&
		model_put(o, devices, "reader", r ? reader_info(r)->name : NULL, r ? reader_device(r) : NULL) &&
		(*scan ? cJSON_AddStringToObject(devices, "search", scan) : cJSON_AddNullToObject(devices, "search"));
}

static int prompts_put(cJSON *all, const struct service *s)
{
	cJSON *o = cJSON_AddObjectToObject(all, "prompts");
	size_t n = prompts_n(s->prompts);
	for (size_t i = 0; o && i < n; i++) {
		const struct prompt_template *t = prompts_at(s->prompts, i);
		char task[PROMPT_NAME_SIZE], full[PROMPT_NAME_SIZE + 16];
		if (!prompts_in_use(s->prompts, t)) continue;
		snprintf(task, sizeof task, "%.*s", (int)prompt_task_len(t), prompt_name(t));
		snprintf(full, sizeof full, "%s@%d", prompt_name(t), prompt_version(t));
		if (!cJSON_AddStringToObject(o, task, full)) return 0;
	}
	return o != NULL;
}

/* Under the lock. */
static int answers_put(cJSON *all)
{
	cJSON *o = cJSON_AddObjectToObject(all, "answers"), *tokens, *l = latency_view(&sums.latency);
	uint64_t given = sums.status[ANSWER_ANSWERED] + sums.status[ANSWER_PARTIAL];
	int ok = o && l && cJSON_AddItemToObject(o, "latency_ms", l);
	if (!ok) cJSON_Delete(l);
	for (int i = 0; ok && i < 3; i++) ok = cJSON_AddNumberToObject(o, answer_status_name(i), (double)sums.status[i]) != NULL;
	ok = ok && cJSON_AddNumberToObject(o, "cached", (double)sums.cached) &&
		(given ? view_put_rounded(o, "confidence", sums.confidence / (double)given) : cJSON_AddNullToObject(o, "confidence"));
	tokens = ok ? cJSON_AddObjectToObject(o, "tokens") : NULL;
	return tokens && cJSON_AddNumberToObject(tokens, "prompt", sums.prompt_tokens) &&
		cJSON_AddNumberToObject(tokens, "completion", sums.completion_tokens) && cJSON_AddNumberToObject(tokens, "reused", sums.reused_tokens);
}

/* Of the questions whose answers could be kept: how many were answered by one that was. */
static int cache_put(cJSON *all, struct answercache *c)
{
	struct answercache_figures f;
	cJSON *o = cJSON_AddObjectToObject(all, "answer_cache");
	answercache_figures(c, &f);
	double asked = (double)f.exact + (double)f.semantic + (double)f.missed;
	return o && cJSON_AddNumberToObject(o, "exact", (double)f.exact) && cJSON_AddNumberToObject(o, "semantic", (double)f.semantic) &&
		cJSON_AddNumberToObject(o, "missed", (double)f.missed) &&
		(asked > 0 ? view_put_rounded(o, "hit_rate", ((double)f.exact + (double)f.semantic) / asked) :
		cJSON_AddNullToObject(o, "hit_rate")) && cJSON_AddNumberToObject(o, "entries", (double)f.entries) &&
		cJSON_AddNumberToObject(o, "bytes", (double)f.bytes) && cJSON_AddNumberToObject(o, "max_bytes", (double)f.max_bytes);
}

static int today_put(cJSON *all, const struct usage *u)
{
	cJSON *o = cJSON_AddObjectToObject(all, "today");
	return o && cJSON_AddNumberToObject(o, "answers", u->answers) && cJSON_AddNumberToObject(o, "abstained", u->abstained) &&
		cJSON_AddNumberToObject(o, "cached", u->cached) && cJSON_AddNumberToObject(o, "prompt_tokens", u->prompt_tokens) &&
		cJSON_AddNumberToObject(o, "completion_tokens", u->completion_tokens) && cJSON_AddNumberToObject(o, "cost", u->cost);
}

static int feedback_put_counts(cJSON *all, const struct feedback_count *c, size_t n)
{
	cJSON *o = cJSON_AddObjectToObject(all, "feedback");
	double up = 0, down = 0, citations_up = 0, citations_down = 0;
	for (size_t i = 0; i < n; i++) {
		up += c[i].up, down += c[i].down;
		citations_up += c[i].citations_up, citations_down += c[i].citations_down;
	}
	return o && cJSON_AddNumberToObject(o, "up", up) && cJSON_AddNumberToObject(o, "down", down) &&
		cJSON_AddNumberToObject(o, "citations_up", citations_up) && cJSON_AddNumberToObject(o, "citations_down", citations_down);
}

int figures_view(struct service *s, cJSON **out, struct err *e)
{
	struct index_stats stats;
	struct collection_info *k = NULL;
	struct feedback_count *counts = NULL;
	struct usage today;
	struct arena a;
	cJSON *o = NULL;
	size_t n = 0, count_n = 0;
	int ok, rc;
	arena_init(&a, ARENA_BYTES_MAX);
	rc = index_stats(s->index, &stats, e);
	if (!rc) rc = index_collections(s->index, &a, &k, &n, e);
	if (!rc) rc = usage_day(s, clock_wall_ms(), &today, e);
	if (!rc) rc = feedback_counts(s, &a, &counts, &count_n, e);
	if (!rc) {
		o = store_view(&stats, k, n);
		ok = o && models_put(o, s) && prompts_put(o, s) && cache_put(o, s->answers) && today_put(o, &today) && feedback_put_counts(o, counts, count_n);
		pthread_mutex_lock(&lock);
		ok = ok && answers_put(o);
		pthread_mutex_unlock(&lock);
		if (!ok) rc = err_set(e, E_MEMORY, "stats: out of memory");
	}
	arena_clear(&a);
	if (rc) cJSON_Delete(o);
	*out = rc ? NULL : o;
	return rc;
}

int figures_lines(const cJSON *o, struct buf *out)
{
	const cJSON *a = json_get(o, "answers"), *t = json_get(a, "latency_ms");
	double all = json_num(a, "answered", 0) + json_num(a, "abstained", 0) + json_num(a, "partial", 0);
	const cJSON *u = json_get(o, "today"), *f = json_get(o, "feedback"), *c = json_get(o, "answer_cache");
	double again = json_num(c, "exact", 0) + json_num(c, "semantic", 0);
	if (json_num(u, "answers", 0) > 0)
		buf_printf(out, "today        %.0f answers, %.0f prompt tokens, %.0f written, cost %g\n", json_num(u, "answers", 0),
			json_num(u, "prompt_tokens", 0), json_num(u, "completion_tokens", 0), json_num(u, "cost", 0));
	if (json_num(f, "up", 0) + json_num(f, "down", 0) > 0)
		buf_printf(out, "ratings      %.0f up, %.0f down\n", json_num(f, "up", 0), json_num(f, "down", 0));
	if (again + json_num(c, "missed", 0) > 0)
		buf_printf(out, "given again  %.0f of %.0f answers (%.0f %%), %.0f kept\n", again, again + json_num(c, "missed", 0),
			100 * json_num(c, "hit_rate", 0), json_num(c, "entries", 0));
	if (all == 0) return buf_failed(out);
	buf_printf(out, "answers      %.0f since the start: %.0f answered, %.0f refused, %.0f partial; p50 %.0f ms, p95 %.0f ms\n", all,
		json_num(a, "answered", 0), json_num(a, "abstained", 0), json_num(a, "partial", 0), json_num(t, "p50", 0), json_num(t, "p95", 0));
	return buf_failed(out);
}
