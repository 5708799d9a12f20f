/* service.c: opens what a running Footnote is made of, in the order store, embedder, keys, prompts, and closes it in reverse.
 *
 * The store is told which encoder there is: that of the settings, or, where it has turned to another (reembed) and the
 * settings still name the one before, its own. Where a command can do without (docs, check, stats, delete, reembed), a
 * missing or unusable one is remembered, the store is used without vectors, and whoever asks for the encoder later gets
 * that error. Reader and engine are opened by their first user.
 *
 * Encoders are a list that only grows, so that it is read without a lock; which of them serves, the store says.
 * Threads: service_open and service_close belong to one thread; service_embedder, service_reader and service_engine may be called from
 * any in between. Failure: whatever was opened is closed again. */
#include "api/service.h"
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "api/acl.h"
#include "api/answercache.h"
#include "api/experiment.h"
#include "api/keys.h"
#include "api/models.h"
#include "api/remember.h"
#include "api/templates.h"
#include "base/clock.h"
#include "base/embedded.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

enum { MODEL_PATH_MAX = 4096, THREADS_MAX = 64 };

int service_threads(int set)
{
	cpu_set_t mine;
	int n = sched_getaffinity(0, sizeof mine, &mine) == 0 ? CPU_COUNT(&mine) : (int)sysconf(_SC_NPROCESSORS_ONLN);
	return set ? set : n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : n;
}

/* ---- embedders ---- */

const char *service_encoder_device(const struct conf *c, unsigned need)
{
	return strcmp(c->embed_device, "auto") == 0 && !(need & NEED_GPU) ? "cpu" : c->embed_device;
}

struct open_embedder { struct embedder *m; struct open_embedder *next; };

static struct embedder *embedder_find(struct service *s, const char *fingerprint)
{
	struct open_embedder *n = atomic_load(&s->embedders);
	while (n && strcmp(embedder_info(n->m)->fingerprint, fingerprint) != 0) n = n->next;
	return n ? n->m : NULL;
}

/* Takes m, also on failure; of one that is open already the first stays. */
static int embedder_keep(struct service *s, struct embedder *m, struct embedder **out, struct err *e)
{
	struct open_embedder *n = NULL;
	*out = embedder_find(s, embedder_info(m)->fingerprint);
	if (!*out && (n = mem_alloc(sizeof *n))) {
		*n = (struct open_embedder){ m, atomic_load(&s->embedders) };
		atomic_store(&s->embedders, n);
		*out = m;
		return OK;
	}
	embedder_close(m);
	return *out ? OK : err_set(e, E_MEMORY, "start: out of memory");
}

int service_embedder_open(struct service *s, const char *model, struct embedder **out, char name[256], struct err *e)
{
	const struct conf *c = &s->conf;
	struct embedder_options o = {0};
	struct embedder *m;
	struct buf path, full;
	int rc;
	buf_init(&path, MODEL_PATH_MAX);
	buf_init(&full, MODEL_PATH_MAX);
	rc = model_find(c, model, &path, e);
	if (!rc) rc = path_absolute(&full, NULL, buf_cstr(&path), e);
	o.dir = buf_cstr(&path);
	o.threads = service_threads(c->embed_threads);
	o.kernel = c->embed_kernel;
	o.device = service_encoder_device(c, s->need);
	o.max_tokens = c->embed_max_tokens;
	o.query_prefix = strcmp(c->embed_query_prefix, "auto") == 0 ? NULL : c->embed_query_prefix;
	o.passage_prefix = strcmp(c->embed_passage_prefix, "auto") == 0 ? NULL : c->embed_passage_prefix;
	if (!rc) rc = embedder_open(&m, &o, e);
	if (!rc) {
		snprintf(name, 256, "%s", strchr(model, '/') ? buf_cstr(&full) : embedder_info(m)->name);
		rc = embedder_keep(s, m, out, e);
	}
	buf_clear(&path);
	buf_clear(&full);
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

static int embedder_attach(struct service *s, const char *model, const char *wanted, struct err *e)
{
	struct index_options o = {0};
	struct embedder *m;
	char name[256];
	int rc = service_embedder_open(s, model, &m, name, e);
	if (rc) return rc;
	o.dim = embedder_info(m)->dim;
	o.embedder = embedder_info(m)->fingerprint;
	o.model = name;
	if (wanted && strcmp(o.embedder, wanted) != 0)
		return err_set(e, E_CONFLICT, "%.80s is not the model of the store's vectors any more (%.12s, not %.12s): was a file "
			"of it or embed.passage_prefix changed?", name, o.embedder, wanted);
	return index_attach(s->index, &o, e);
}

static int is_default(const char *model)
{
	const struct model_known *k = model_known_find(model);
	return k && k->is_default;
}

/* 1: what the settings call a model is what the store calls `kept`. */
static int same_model(const char *set, const char *kept)
{
	struct buf full;
	int same = strcmp(set, kept) == 0;
	buf_init(&full, MODEL_PATH_MAX);
	if (!same && strchr(set, '/') && !path_absolute(&full, NULL, set, NULL)) same = strcmp(buf_cstr(&full), kept) == 0;
	buf_clear(&full);
	return same;
}

/* The embedder of the settings; the store's own where it holds vectors of another and the setting was never changed, or
 * names the one before. */
static int embedder_start(struct service *s, struct err *e)
{
	const char *set = s->conf.embed_model;
	struct index_embedder serving, before;
	int rc = index_embedders(s->index, &serving, &before, e);
	if (rc) return rc;
	if (!serving.vectors || !*serving.model || same_model(set, serving.model) ||
		!(is_default(set) || same_model(set, before.model))) {
		rc = embedder_attach(s, set, NULL, e);
		return !rc || rc == E_CONFLICT ? rc : err_wrap(e, "embed.model");
	}
	rc = embedder_attach(s, serving.model, serving.fingerprint, e);
	if (rc) return err_wrap(e, "the store's vectors are %.60s's", serving.model);
	log_put(is_default(set) ? LOG_INFO : LOG_WARN, "service", "embed.model is %s, but the store has turned to %s, which serves; "
		"set embed.model = %s", set, serving.model, serving.model);
	return OK;
}

/* Opens the store and its encoder; where that is not needed, the store without it if it must be. */
static int core_open(struct service *s, unsigned need, struct err *e)
{
	struct index_options o;
	int rc = scanner_open(&s->scanner, &s->conf, NULL, e);
	service_store_options(&s->conf, &o);
	if (s->scanner.scan) o.scanner = &s->scanner.hooks;
	if (!rc) rc = index_open(&s->index, &o, e);
	if (!rc && (rc = embedder_start(s, &s->embedder_err))) {
		*e = s->embedder_err;
		if (rc == E_MEMORY || need & NEED_EMBEDDER) return rc;
		rc = OK;
	}
	return rc;
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
	s->need = need;
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
	if (!rc) rc = templates_open(s, e);
	if (!rc) rc = remember_open(&s->memory, s, e);
	if (!rc) rc = answercache_open(&s->answers, (size_t)c->cache_bytes, e);
	if (!rc) rc = experiments_open(&s->experiments, s, e);
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
	engine_close(s->large.engine);
	engine_close(s->small.engine);
	reader_close(s->reader);
	remember_close(s->memory);       /* writes what waits */
	answercache_close(s->answers);
	experiments_close(s->experiments);
	if (s->prompts) prompts_close(s->prompts);
	parsers_close(s->parsers);
	keys_close(s->keys);
	index_close(s->index);
	scanner_close(&s->scanner);
	for (struct open_embedder *n = atomic_load(&s->embedders), *next; n; n = next) {
		next = n->next;
		embedder_close(n->m);
		mem_free(n);
	}
	arena_clear(&s->arena);
	pthread_mutex_destroy(s->lock);
	mem_free(s->lock);
	mem_free(s);
}

/* Why there is none of this fingerprint. */
static int embedder_missing(const struct service *s, const char *fingerprint, struct err *e)
{
	if (!s->embedder_err.status)
		return err_set(e, E_CONFLICT, "the encoder of the store's vectors (%.12s) is not open: restart", fingerprint);
	if (e) *e = s->embedder_err;
	return s->embedder_err.status;
}

int service_embedder(struct service *s, struct embedder **out, struct err *e)
{
	char fingerprint[65];
	index_serving(s->index, fingerprint);
	*out = embedder_find(s, fingerprint);
	return *out ? OK : embedder_missing(s, fingerprint, e);
}

int service_embedder_of(struct service *s, const struct snapshot *snapshot, struct embedder **out, struct err *e)
{
	*out = embedder_find(s, snapshot_embedder(snapshot));
	return *out ? OK : embedder_missing(s, snapshot_embedder(snapshot), e);
}

static int embedder_now(void *ctx, struct embedder **out, struct err *e)
{
	return service_embedder(ctx, out, e);
}

int service_ingest(struct service *s, struct ingest *out, const volatile int *cancel, struct err *e)
{
	*out = (struct ingest){ .index = s->index, .parsers = s->parsers, .limits = &s->ingest_limits,
		.except = s->conf.data_dir, .cancel = cancel, .embedder_now = embedder_now, .embedder_ctx = s };
	return service_embedder(s, &out->embedder, e);
}

/* ---- the reader ---- */

/* Under the lock. Sets reader, or reader_why when there is none, or fails. */
static int reader_start(struct service *s, struct err *e)
{
	const char *set = s->conf.reader_model;
	struct reader_options o = {.dir = MODEL_INSIDE, .threads = service_threads(s->conf.embed_threads), .kernel = s->conf.embed_kernel,
		.device = service_encoder_device(&s->conf, s->need)};
	struct reader_model *opened;
	struct buf path;
	int rc = OK;
	if (strcmp(set, "none") == 0) {
		snprintf(s->reader_why, sizeof s->reader_why, "no reader model is to be used (models.reader = none)");
		return OK;
	}
	if (!*set && !reader_files->name) {
		snprintf(s->reader_why, sizeof s->reader_why, "this program was built without a reader model, and models.reader names none");
		return OK;
	}
	buf_init(&path, MODEL_PATH_MAX);
	if (!*set) o.inside = reader_files;
	else if ((rc = model_find(&s->conf, set, &path, e)) == OK) o.dir = buf_cstr(&path);
	if (rc == E_NOT_FOUND) {
		snprintf(s->reader_why, sizeof s->reader_why, "models.reader: %s", e->msg);
		log_put(LOG_WARN, "service", "%s; searches are not reordered", s->reader_why);
		buf_clear(&path);
		return OK;
	}
	if (rc == OK) rc = reader_open(&opened, &o, e);
	if (rc == OK) atomic_store(&s->reader, opened);
	buf_clear(&path);
	return rc ? err_wrap(e, "models.reader") : OK;
}

int service_reader(struct service *s, struct reader_model **out, const char **why, struct err *e)
{
	int rc;
	pthread_mutex_lock(s->lock);
	if (!s->reader_tried) {
		s->reader_tried = 1;
		rc = reader_start(s, &s->reader_err);
		if (!rc) s->reader_err.status = OK;
	}
	rc = s->reader_err.status;
	if (rc && e) *e = s->reader_err;
	*out = s->reader;
	*why = s->reader ? "" : s->reader_why;
	pthread_mutex_unlock(s->lock);
	return rc;
}

void service_reader_open(struct service *s, struct reader_model **out)
{
	*out = atomic_load(&s->reader);
}

/* ---- the language model ---- */

/* Under the lock. Sets n's engine, or why there is none, or fails. Adapters belong to the large model. */
static int engine_start(const struct conf *c, const char *key, const char *model, const char *lora, struct service_engine *n, struct err *e)
{
	struct generator_options o = {0};
	struct engine *opened;
	struct buf path, packs;
	int rc;
	if (strcmp(model, "none") == 0) {
		snprintf(n->why, sizeof n->why, "no language model is configured (%s = none)", key);
		return OK;
	}
	buf_init(&path, MODEL_PATH_MAX);
	buf_init(&packs, MODEL_PATH_MAX);
	rc = model_find(c, model, &path, e);
	if (rc == E_NOT_FOUND) {
		snprintf(n->why, sizeof n->why, "no language model: %s", e->msg);
		rc = OK;
		goto out;
	}
	if (rc == OK) rc = models_cache(c, &packs, e);
	if (rc) goto out;
	o.path = buf_cstr(&path);
	o.threads = service_threads(c->generate_threads);
	o.context_max = c->generate_context;
	o.lora = lora;
	o.sequences = c->generate_sequences;
	o.kv_bytes = c->generate_kv_bytes;
	o.chunk_ms = c->generate_chunk_ms;
	o.draft_max = c->generate_draft;
	o.device = c->generate_device;
	o.kernel = c->generate_kernel;
	o.packs = buf_cstr(&packs);
	log_put(LOG_DEBUG, "service", "opening %s", o.path);
	rc = engine_open(&opened, &o, (size_t)c->generate_queue, e);
	if (rc == OK) atomic_store(&n->engine, opened);
out:
	buf_clear(&path);
	buf_clear(&packs);
	return rc;
}

static int engine_get(struct service *s, const char *key, const char *model, const char *lora, struct service_engine *n, struct engine **out,
	const char **why, struct err *e)
{
	int rc;
	pthread_mutex_lock(s->lock);
	if (!n->tried) {
		n->tried = 1;
		rc = engine_start(&s->conf, key, model, lora, n, &n->err);
		if (!rc) n->err.status = OK;
	}
	rc = n->err.status;
	if (rc && e) *e = n->err;
	*out = n->engine;
	*why = n->engine ? "" : n->why;
	pthread_mutex_unlock(s->lock);
	return rc;
}

int service_engine(struct service *s, struct engine **out, const char **why, struct err *e)
{
	return engine_get(s, "generate.model", s->conf.generate_model, s->conf.generate_lora, &s->large, out, why, e);
}

int service_engine_small(struct service *s, struct engine **out, const char **why, struct err *e)
{
	return engine_get(s, "generate.small", s->conf.generate_small, "", &s->small, out, why, e);
}

void service_engine_open(const struct service_engine *slot, struct engine **out)
{
	*out = atomic_load(&slot->engine);
}

int service_failure(struct service *s, struct err *e)
{
	const struct service_engine *const slots[] = { &s->large, &s->small };
	struct embedder *embedder;
	struct reader_model *reader;
	struct engine *n;
	int rc = OK;
	for (size_t i = 0; i < sizeof slots / sizeof *slots && rc == OK; i++) {
		service_engine_open(slots[i], &n);
		if (n) rc = engine_failure(n, e);
	}
	if (rc == OK && service_embedder(s, &embedder, NULL) == OK) rc = embedder_lost(embedder, e);
	service_reader_open(s, &reader);
	return rc == OK && reader ? reader_lost(reader, e) : rc;
}
