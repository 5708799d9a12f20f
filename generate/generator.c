/* generator.c: owns an open model: mapping, tokenizer, thread team, decoder with its KV cache; what is known of it, and its
 * tokens. schedule.c runs it.
 *
 * Everything here but opening and closing only reads, from any thread. Failure: at open, naming file and key. */
#include "generate/generate.h"
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "generate/schedule.h"

enum { THREADS_MAX = 256, TOKENS_MAX = 1 << 28 };

/* --- opening --- */
static void add_stop(struct generator *g, int32_t id)
{
	if (id >= 0 && !generator_is_stop(g, id) && g->stop_n < STOPS_MAX) g->stop[g->stop_n++] = id;
}

static int read_ids(struct generator *g, struct err *e)
{
	static const char *const keys[] = { "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
		"tokenizer.ggml.eom_token_id" };
	static const char *const names[] = { "<|im_end|>", "<|endoftext|>", "<end_of_turn>", "<|eot_id|>", "<|eom_id|>",
		"<|end_of_text|>" };
	static const char add_bos[] = "tokenizer.ggml.add_bos_token";
	int id, add = tokenizer_bos_by_habit(g->tokenizer), st = OK;
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		if (!gguf_has(g->gguf, keys[i])) continue;
		if ((st = gguf_int(g->gguf, keys[i], &id, e)) != OK) return st;
		if ((size_t)id >= tokenizer_vocab(g->tokenizer))
			return err_set(e, E_FORMAT, "%s: key %s: no token %d", gguf_path(g->gguf), keys[i], id);
		add_stop(g, id);
	}
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) add_stop(g, tokenizer_special(g->tokenizer, names[i]));
	if (g->stop_n == 0) return err_set(e, E_FORMAT, "%s: key %s is missing", gguf_path(g->gguf), keys[0]);
	g->bos = -1;
	if (gguf_has(g->gguf, add_bos) && (st = gguf_bool(g->gguf, add_bos, &add, e)) != OK) return st;
	if (!add || (!gguf_has(g->gguf, add_bos) && !gguf_has(g->gguf, "tokenizer.ggml.bos_token_id"))) return OK;
	if ((st = gguf_int(g->gguf, "tokenizer.ggml.bos_token_id", &id, e)) != OK) return st;
	if ((size_t)id >= tokenizer_vocab(g->tokenizer))
		return err_set(e, E_FORMAT, "%s: key tokenizer.ggml.bos_token_id: no token %d", gguf_path(g->gguf), id);
	g->bos = id;
	return OK;
}

static int read_chat(struct generator *g, struct err *e)
{
	static const char key[] = "tokenizer.chat_template";
	struct gguf_str s = { NULL, 0 };
	int st = gguf_has(g->gguf, key) ? gguf_str(g->gguf, key, &s, e) : OK;
	if (st == OK) g->chat = chat_find(g->tokenizer, s.s, s.len);
	return st;
}

/* The decoder's context, or as much of it as there is memory for. */
static int context_of(const struct generator *g)
{
	const struct decoder_info *d = decoder_info(g->decoder);
	size_t have = kvcache_positions(decoder_cache(g->decoder)), pages = (d->context + KVCACHE_PAGE - 1) / KVCACHE_PAGE;
	if (have >= d->context) return (int)d->context;
	log_put(LOG_WARN, "generate", "%s: the memory for keys and values (generate.kv_bytes) holds %zu tokens, and prompt and "
		"answer together have no more; the context of %zu takes %zu MiB", gguf_path(g->gguf), have, d->context,
		(pages * kvcache_page_bytes(d->layers, d->kv_heads, d->head_dim) >> 20) + 1);
	return (int)have;
}

static void fill_info(struct generator *g, const struct generator_options *o)
{
	const struct decoder_info *d = decoder_info(g->decoder);
	struct generator_info *f = &g->info;
	size_t n;
	snprintf(f->name, sizeof f->name, "%s", o->name ? o->name : path_base(o->path));
	n = strlen(f->name);
	if (!o->name && n > 5 && strcmp(f->name + n - 5, ".gguf") == 0) f->name[n - 5] = 0;
	n = strlen(f->name);
	if (n > sizeof f->name - sizeof "+lora") n = sizeof f->name - sizeof "+lora";
	if (g->lora) memcpy(f->name + n, "+lora", sizeof "+lora");
	snprintf(f->arch, sizeof f->arch, "%s", d->arch);
	snprintf(f->family, sizeof f->family, "%s", chat_name(g->chat));
	snprintf(f->kernel, sizeof f->kernel, "%s", d->device_bytes ? "cuda" : g->ops->name);
	snprintf(f->device, sizeof f->device, "%s", d->device);
	f->device_bytes = d->device_bytes;
	f->layers = (int)d->layers;
	f->dim = (int)d->dim;
	f->heads = (int)d->heads;
	f->kv_heads = (int)d->kv_heads;
	f->vocab = (int)d->vocab;
	f->context = context_of(g);
	f->file_bytes = gguf_file_bytes(g->gguf);
	f->token_bytes = d->token_bytes;
}

static int refuse_adapter(const struct gguf *g, struct err *e)
{
	struct gguf_str s;
	if (!gguf_has(g, "general.type") || gguf_str(g, "general.type", &s, NULL) != OK) return OK;
	return s.len == 7 && memcmp(s.s, "adapter", 7) == 0 ? err_set(e, E_UNSUPPORTED,
		"%s: an adapter, not a model: name it in generate.lora beside its model", gguf_path(g)) : OK;
}

/* The decoder on a GPU where the options allow one and there is one that can run it; else, if they allow that, on the CPU. */
static int open_decoder(struct generator *g, const struct generator_options *o, struct err *e)
{
	const struct gpu_table *gpu;
	struct err why;
	int must, st = gpu_pick(&gpu, &must, o->device ? o->device : "auto", o->gpu, &why);
	g->options = (struct decoder_options){ .context_max = o->context_max, .kv_bytes = o->kv_bytes,
		.sequences = o->sequences ? o->sequences : 1, .wants = (int)schedule_wants(o), .packs = g->packs };
	g->info.cpu_too = !must;
	if (!must && o->kernel && strcmp(o->kernel, "auto") != 0) gpu = NULL; /* who names a kernel means it */
	if (st == OK && gpu) {
		struct decoder_options on_gpu = g->options;
		on_gpu.gpu = gpu;
		st = decoder_open(&g->decoder, g->gguf, g->lora, NULL, NULL, &on_gpu, &why);
		if (st == OK) return OK;
		if (!must) {
			log_put(LOG_WARN, "generate", "on the CPU, not on a GPU: %s", why.msg);
			st = OK;
		}
	}
	if (st == OK) return decoder_open(&g->decoder, g->gguf, g->lora, g->ops, g->team, &g->options, e);
	if (e) *e = why;
	return (st == E_UNSUPPORTED || st == E_MEMORY) && e ? err_wrap(e, "generate.device") : st;
}

static int open_parts(struct generator *g, const struct generator_options *o, struct err *e)
{
	int st = ops_choose(&g->ops, o->kernel, e);
	if (st == OK) st = gguf_open(&g->gguf, o->path, e);
	if (st == OK) st = refuse_adapter(g->gguf, e);
	if (st == OK) st = tokenizer_open(&g->tokenizer, g->gguf, e);
	if (st == OK) st = read_ids(g, e);
	if (st == OK) st = read_chat(g, e);
	if (st != OK) return st;
	if (!(g->team = team_new(o->threads)))
		return err_set(e, E_MEMORY, "%s: cannot start %d threads", o->path, o->threads);
	if (o->lora && *o->lora && (st = lora_open(&g->lora, o->lora, g->gguf, e)) != OK) return st;
	if (o->packs && *o->packs && !(g->packs = mem_strdup(o->packs))) return err_set(e, E_MEMORY, "%s: out of memory", o->path);
	if ((st = open_decoder(g, o, e)) != OK) return st;
	fill_info(g, o);
	if (tokenizer_vocab(g->tokenizer) != (size_t)g->info.vocab)
		return err_set(e, E_FORMAT, "%s: %zu tokens, but tensor token_embd.weight has %d rows", o->path,
			tokenizer_vocab(g->tokenizer), g->info.vocab);
	st = schedule_open(g, o, e);
	return st == OK ? sampler_init(&g->sampler, (size_t)g->info.vocab, e) : st;
}

int generator_kernel(const char **out, const char *kernel, struct err *e)
{
	const struct ops *ops;
	int st = ops_choose(&ops, kernel, e);
	*out = st == OK ? ops->name : NULL;
	return st;
}

int generator_gpu(char name[64], uint64_t *memory, uint64_t *free, struct err *e)
{
	const struct gpu_table *table;
	struct gpu_info info;
	struct gpu *g;
	int st = gpu_choose(&table, e);
	if (st == OK) st = table->open(&g, 0, e);
	if (st != OK) return st;
	table->info(g, &info);
	table->close(g);
	snprintf(name, 64, "%s", info.name);
	*memory = info.memory;
	*free = info.free;
	return OK;
}

int generator_open(struct generator **out, const struct generator_options *o, struct err *e)
{
	struct generator *g;
	int st;
	*out = NULL;
	if (!o->path || o->threads < 1 || o->threads > THREADS_MAX || o->context_max < 0)
		return err_set(e, E_USAGE, "generator: path, 1 to %d threads and a context of 0 or more are needed",
			THREADS_MAX);
	if (o->sequences < 0 || o->sequences > SEQUENCES_MAX || o->draft_max < 0 || o->draft_max > DRAFT_MAX)
		return err_set(e, E_USAGE, "generator: at most %d texts together, drafts of at most %d tokens", SEQUENCES_MAX,
			DRAFT_MAX);
	g = mem_calloc(1, sizeof *g);
	if (!g) return err_set(e, E_MEMORY, "%s: out of memory", o->path);
	st = open_parts(g, o, e);
	if (st != OK) generator_close(g);
	else *out = g;
	return st;
}

void generator_close(struct generator *g)
{
	if (!g) return;
	sampler_clear(&g->sampler);
	schedule_close(g);
	decoder_close(g->decoder);
	lora_close(g->lora);
	team_free(g->team);
	mem_free(g->packs);
	tokenizer_close(g->tokenizer);
	gguf_close(g->gguf);
	mem_free(g);
}

int generator_lost(const struct generator *g, struct err *e)
{
	return decoder_lost(g->decoder, e);
}

int generator_recover(struct generator *g, struct err *e)
{
	const struct decoder_info *f = decoder_info(g->decoder);
	struct decoder_options o = g->options;
	struct decoder *new;
	size_t pages = ((size_t)g->info.context + KVCACHE_PAGE - 1) / KVCACHE_PAGE,
		least = pages * kvcache_page_bytes(f->layers, f->kv_heads, f->head_dim);
	int st;
	if (g->running_n) return err_set(e, E_BUSY, "%s: texts are being written", g->info.name);
	o.context_max = g->info.context;         /* others go by it */
	if (o.kv_bytes && o.kv_bytes < least) o.kv_bytes = least;
	st = decoder_open(&new, g->gguf, g->lora, g->ops, g->team, &o, e);
	if (st != OK) return st;
	decoder_close(g->decoder);
	g->decoder = new;
	schedule_restart(g);
	return OK;
}

const struct generator_info *generator_info(const struct generator *g)
{
	return &g->info;
}

/* --- tokens --- */
void tokens_clear(struct tokens *t)
{
	mem_free(t->ids);
	*t = (struct tokens){ 0 };
}

static int tokens_put(void *ctx, int32_t id)
{
	struct tokens *t = ctx;
	if (t->n == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 256;
		int32_t *ids;
		if (cap > TOKENS_MAX) return E_LIMIT;
		if (!(ids = mem_realloc(t->ids, cap * sizeof *ids))) return E_MEMORY;
		t->ids = ids;
		t->cap = cap;
	}
	t->ids[t->n++] = id;
	return OK;
}

/* What tokens_put returned has no message yet. */
static int tokens_status(int st, struct err *e)
{
	if (st == E_LIMIT) return err_set(e, st, "tokenize: the text is too long");
	return st == E_MEMORY ? err_set(e, st, "tokenize: out of memory") : st;
}

int generator_tokenize(const struct generator *g, const char *text, size_t len, struct tokens *out, struct err *e)
{
	return tokens_status(tokenizer_encode(g->tokenizer, text, len, TOKENIZE_CONTINUE, tokens_put, out, e), e);
}

int generator_chat(const struct generator *g, const struct chat_message *m, size_t n, int answer, struct tokens *out,
	struct err *e)
{
	return tokens_status(chat_encode(g->tokenizer, g->chat, g->bos, m, n, answer, tokens_put, out, e), e);
}

const char *generator_text(const struct generator *g, int32_t id, size_t *len)
{
	*len = 0;
	return tokenizer_kind(g->tokenizer, id) == TOKEN_CONTROL ? "" : tokenizer_bytes(g->tokenizer, id, len);
}

int generator_piece(const struct generator *g, int32_t id, struct buf *out)
{
	size_t len;
	const char *s;
	if (id < 0 || id >= g->info.vocab) return E_USAGE;
	s = generator_text(g, id, &len);
	return len ? buf_put(out, s, len) : OK;
}

int generator_is_stop(const struct generator *g, int32_t id)
{
	for (size_t i = 0; i < g->stop_n; i++)
		if (g->stop[i] == id) return 1;
	return 0;
}
