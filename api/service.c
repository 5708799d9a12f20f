/* service.c: opens what a running Footnote is made of, in the order embedder, store, keys, prompts, and closes it in reverse.
 *
 * The store must be told which encoder its vectors belong to, so the encoder is tried first in every case. Where a
 * command can do without (docs, check, stats, delete), a missing or unusable one is remembered, the store is opened
 * without vectors, and whoever asks for the encoder later gets that error. The engine is opened by its first user.
 *
 * Threads: service_open and service_close belong to one thread; service_embedder and service_engine may be called from
 * any in between. Failure: whatever was opened is closed again. */
#include "api/service.h"
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "api/acl.h"
#include "api/keys.h"
#include "api/models.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum { MODEL_PATH_MAX = 4096, THREADS_MAX = 64 };

int service_threads(int set)
{
	cpu_set_t mine;
	int n = sched_getaffinity(0, sizeof mine, &mine) == 0 ? CPU_COUNT(&mine) : (int)sysconf(_SC_NPROCESSORS_ONLN);
	return set ? set : n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : n;
}

static int embedder_start(struct service *s, struct err *e)
{
	const struct conf *c = &s->conf;
	struct embedder_options o = {0};
	struct buf path;
	int rc;
	buf_init(&path, MODEL_PATH_MAX);
	rc = model_find(c, c->embed_model, &path, e);
	if (rc) {
		rc = err_wrap(e, "embed.model");
		goto out;
	}
	o.dir = buf_cstr(&path);
	o.threads = service_threads(c->embed_threads);
	o.kernel = c->embed_kernel;
	o.max_tokens = c->embed_max_tokens;
	o.query_prefix = strcmp(c->embed_query_prefix, "auto") == 0 ? NULL : c->embed_query_prefix;
	o.passage_prefix = strcmp(c->embed_passage_prefix, "auto") == 0 ? NULL : c->embed_passage_prefix;
	rc = embedder_open(&s->embedder, &o, e);
out:
	buf_clear(&path);
	return rc;
}

void service_store_options(const struct conf *c, struct index_options *o)
{
	*o = (struct index_options){ .dir = c->data_dir, .embedder = "" };
	o->map_bytes = (size_t)c->map_bytes;
	o->half_vectors = strcmp(c->index_vectors, "f16") == 0;
	o->kind = strcmp(c->index_kind, "exact") == 0 ? INDEX_EXACT : strcmp(c->index_kind, "hnsw") == 0 ? INDEX_HNSW
		: strcmp(c->index_kind, "ivf") == 0 ? INDEX_IVF : INDEX_AUTO;
	o->memory_bytes = c->index_memory_bytes;
	o->ivf_probes = (size_t)c->ivf_probes;
	o->ivf_rerank = (size_t)c->ivf_rerank;
	o->hnsw_m = c->hnsw_m;
	o->hnsw_ef_construction = c->hnsw_ef_construction;
	o->hnsw_ef_search = c->hnsw_ef_search;
	o->exact_below = (size_t)c->exact_below;
	o->rebuild_share = c->rebuild_share;
	o->bm25_k1 = c->bm25_k1;
	o->bm25_b = c->bm25_b;
	o->query_terms_max = (size_t)c->search_terms_max;
	o->similar_max = (size_t)c->search_similar_max;
	o->phrase_max = (size_t)c->search_phrase_max;
	o->words_bytes = (size_t)c->words_memory_bytes;
	o->readers_max = (size_t)c->readers_max;
	o->sync = 1;
}

static int store_open(struct service *s, struct err *e)
{
	const struct embedder_info *info = s->embedder ? embedder_info(s->embedder) : NULL;
	struct index_options o;
	service_store_options(&s->conf, &o);
	if (info) {
		o.dim = info->dim;
		o.embedder = info->fingerprint;
	}
	return index_open(&s->index, &o, e);
}

/* Opens encoder and store; where the encoder is not needed, the store without it if it must be. */
static int core_open(struct service *s, unsigned need, struct err *e)
{
	int rc = embedder_start(s, &s->embedder_err);
	if (!rc) {
		rc = store_open(s, e);
		if (rc != E_CONFLICT || need & NEED_EMBEDDER) return rc;
		s->embedder_err = *e;
		embedder_close(s->embedder);
		s->embedder = NULL;
	} else if (need & NEED_EMBEDDER) {
		*e = s->embedder_err;
		return rc;
	}
	return store_open(s, e);
}

static int parsers_start(struct service *s, struct err *e)
{
	const struct conf *c = &s->conf;
	struct parsers_options o = {
		.workers = c->parser_workers, .files_max = c->parser_files, .memory_bytes = c->parser_memory_bytes,
		.seconds = c->parser_seconds, .output_bytes_max = c->parser_output_bytes, .pdftotext = c->pdftotext,
	};
	return parsers_open(&s->parsers, &o, e);
}

int service_open(struct service **out, const struct conf *c, unsigned need, struct err *e)
{
	struct service *s = mem_calloc(1, sizeof *s);
	pthread_mutex_t *lock = mem_alloc(sizeof *lock);
	struct engine *engine;
	const char *why;
	struct err own;
	int rc;
	if (!e) e = &own;
	if (!s || !lock) {
		mem_free(s);
		mem_free(lock);
		return err_set(e, E_MEMORY, "start: out of memory");
	}
	pthread_mutex_init(lock, NULL);
	s->lock = lock;
	s->conf = *c;
	s->started_ms = clock_wall_ms();
	s->ingest_limits = (struct ingest_limits){
		.file_bytes_max = c->file_bytes_max, .text_bytes_max = c->text_bytes_max,
		.chunk_tokens = c->chunk_tokens, .chunk_overlap_tokens = c->chunk_overlap_tokens,
		.commit_docs = (size_t)c->commit_docs, .commit_ms = c->commit_ms, .depth_max = c->depth_max,
		.part_depth_max = c->part_depth_max, .part_bytes_max = c->part_bytes_max,
	};
	arena_init(&s->arena, 1 << 20);
	rc = acl_default_parse(c->acl_default, &s->arena, &s->ingest_limits.acl, e);
	if (!rc) rc = acl_rules_parse(c->acl_rules, &s->arena, &s->ingest_limits.acl, e);
	if (!rc) rc = retention_parse(&s->ages, c->retention_rules, c->retention_days, &s->arena, e);
	s->ingest_limits.too_old = retention_is_over;
	s->ingest_limits.too_old_ctx = &s->ages;
	if (!rc) rc = core_open(s, need, e);
	if (!rc) rc = parsers_start(s, e);
	if (!rc) rc = keys_open(&s->keys, s->index, e);
	if (!rc) rc = prompts_open(&s->prompts, c->prompts_dir, e);
	if (!rc && need & NEED_GENERATOR) rc = service_engine(s, &engine, &why, e);
	if (rc) {
		service_close(s);
		return rc;
	}
	*out = s;
	return OK;
}

void service_close(struct service *s)
{
	if (!s) return;
	engine_close(s->engine);
	if (s->prompts) prompts_close(s->prompts);
	parsers_close(s->parsers);
	keys_close(s->keys);
	index_close(s->index);
	embedder_close(s->embedder);
	arena_clear(&s->arena);
	pthread_mutex_destroy(s->lock);
	mem_free(s->lock);
	mem_free(s);
}

int service_embedder(struct service *s, struct embedder **out, struct err *e)
{
	if (!s->embedder) {
		if (e) *e = s->embedder_err;
		return s->embedder_err.status;
	}
	*out = s->embedder;
	return OK;
}

int service_ingest(struct service *s, struct ingest *out, const volatile int *cancel, struct err *e)
{
	*out = (struct ingest){ .index = s->index, .parsers = s->parsers, .limits = &s->ingest_limits,
		.except = s->conf.data_dir, .cancel = cancel };
	return service_embedder(s, &out->embedder, e);
}

/* ---- the language model ---- */

/* Under the lock. Sets engine, or engine_why when there is no model, or fails. */
static int engine_start(struct service *s, struct err *e)
{
	const struct conf *c = &s->conf;
	struct generator_options o = {0};
	struct buf path, packs;
	int rc;
	if (strcmp(c->generate_model, "none") == 0) {
		snprintf(s->engine_why, sizeof s->engine_why, "no language model is configured (generate.model = none)");
		return OK;
	}
	buf_init(&path, MODEL_PATH_MAX);
	buf_init(&packs, MODEL_PATH_MAX);
	rc = model_find(c, c->generate_model, &path, e);
	if (rc == E_NOT_FOUND) {
		snprintf(s->engine_why, sizeof s->engine_why, "no language model: %s", e->msg);
		rc = OK;
		goto out;
	}
	if (rc == OK) rc = models_cache(c, &packs, e);
	if (rc) goto out;
	o.path = buf_cstr(&path);
	o.threads = service_threads(c->generate_threads);
	o.context_max = c->generate_context;
	o.lora = c->generate_lora;
	o.sequences = c->generate_sequences;
	o.kv_bytes = c->generate_kv_bytes;
	o.chunk_ms = c->generate_chunk_ms;
	o.draft_max = c->generate_draft;
	o.kernel = c->generate_kernel;
	o.packs = buf_cstr(&packs);
	log_put(LOG_DEBUG, "service", "opening %s", o.path);
	rc = engine_open(&s->engine, &o, (size_t)c->generate_queue, e);
out:
	buf_clear(&path);
	buf_clear(&packs);
	return rc;
}

int service_engine(struct service *s, struct engine **out, const char **why, struct err *e)
{
	int rc;
	pthread_mutex_lock(s->lock);
	if (!s->engine_tried) {
		s->engine_tried = 1;
		rc = engine_start(s, &s->engine_err);
		if (!rc) s->engine_err.status = OK;
	}
	rc = s->engine_err.status;
	if (rc && e) *e = s->engine_err;
	*out = s->engine;
	*why = s->engine ? "" : s->engine_why;
	pthread_mutex_unlock(s->lock);
	return rc;
}
