/* generator.c: owns an open model: mapping, tokenizer, thread team, decoder with its KV cache, sampler and logits.
 *
 * A run finds how many leading tokens the cache holds already, forgets what follows them, evaluates the rest of the
 * prompt in chunks (at least the last token, whose logits are needed) and then steps: choose a token, ask the
 * constraint, write its text, evaluate it. Forced text goes through the cache in chunks like a prompt. A token is
 * evaluated only when the next one is wanted, so the cache may end one token before the text does.
 * Threads: generate and the scoring calls from one thread at a time; the rest is read-only. Failure: a run that
 * fails or is cancelled leaves a shorter cache, never a wrong one. */
#include "generate/generate.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/file.h"
#include "base/flag.h"
#include "base/mem.h"
#include "base/team.h"
#include "generate/chat.h"
#include "generate/decoder.h"
#include "generate/lora.h"
#include "generate/sample.h"
#include "generate/stream.h"
#include "nn/gguf.h"
#include "nn/ops.h"
#include "nn/tokenizer.h"

enum { THREADS_MAX = 256, TEXT_MAX = 64 << 20, STOPS_MAX = 16, TOKENS_MAX = 1 << 28 };

struct generator {
	struct generator_info info;
	struct gguf *gguf;
	struct tokenizer *tokenizer;
	const struct chat_family *chat;
	struct team *team;
	struct lora *lora;           /* adapters, or NULL */
	struct decoder *decoder;
	struct kvseq seq;            /* of the run under way */
	struct sampler sampler;
	float *logits;               /* (vocab) of the last token evaluated */
	int32_t bos;                 /* put before a conversation, or -1 */
	int32_t stop[STOPS_MAX];
	size_t stop_n;
};

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

static void fill_info(struct generator *g, const struct generator_options *o, const struct ops *ops)
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
	snprintf(f->kernel, sizeof f->kernel, "%s", ops->name);
	f->layers = (int)d->layers;
	f->dim = (int)d->dim;
	f->heads = (int)d->heads;
	f->kv_heads = (int)d->kv_heads;
	f->vocab = (int)d->vocab;
	f->context = (int)d->context;
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

static int open_parts(struct generator *g, const struct generator_options *o, struct err *e)
{
	const struct decoder_options d = { .context_max = o->context_max, .sequences = 1, .kv_bytes = o->kv_bytes,
		.packs = o->packs };
	const struct ops *ops;
	int st = ops_choose(&ops, o->kernel, e);
	if (st == OK) st = gguf_open(&g->gguf, o->path, e);
	if (st == OK) st = refuse_adapter(g->gguf, e);
	if (st == OK) st = tokenizer_open(&g->tokenizer, g->gguf, e);
	if (st == OK) st = read_ids(g, e);
	if (st == OK) st = read_chat(g, e);
	if (st != OK) return st;
	if (!(g->team = team_new(o->threads)))
		return err_set(e, E_MEMORY, "%s: cannot start %d threads", o->path, o->threads);
	if (o->lora && *o->lora && (st = lora_open(&g->lora, o->lora, g->gguf, e)) != OK) return st;
	if ((st = decoder_open(&g->decoder, g->gguf, g->lora, ops, g->team, &d, e)) != OK) return st;
	fill_info(g, o, ops);
	if (tokenizer_vocab(g->tokenizer) != (size_t)g->info.vocab)
		return err_set(e, E_FORMAT, "%s: %zu tokens, but tensor token_embd.weight has %d rows", o->path,
			tokenizer_vocab(g->tokenizer), g->info.vocab);
	g->logits = mem_calloc((size_t)g->info.vocab, sizeof *g->logits);
	if (!g->logits) return err_set(e, E_MEMORY, "%s: out of memory for logits", o->path);
	st = kvseq_init(&g->seq, (size_t)g->info.context, e);
	return st == OK ? sampler_init(&g->sampler, (size_t)g->info.vocab, e) : st;
}

int generator_open(struct generator **out, const struct generator_options *o, struct err *e)
{
	struct generator *g;
	int st;
	*out = NULL;
	if (!o->path || o->threads < 1 || o->threads > THREADS_MAX || o->context_max < 0)
		return err_set(e, E_USAGE, "generator: path, 1 to %d threads and a context of 0 or more are needed",
			THREADS_MAX);
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
	mem_free(g->logits);
	kvseq_clear(&g->seq);
	decoder_close(g->decoder);
	lora_close(g->lora);
	team_free(g->team);
	tokenizer_close(g->tokenizer);
	gguf_close(g->gguf);
	mem_free(g);
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

static const char *piece_of(const struct generator *g, int32_t id, size_t *len)
{
	*len = 0;
	return tokenizer_kind(g->tokenizer, id) == TOKEN_CONTROL ? "" : tokenizer_bytes(g->tokenizer, id, len);
}

int generator_piece(const struct generator *g, int32_t id, struct buf *out)
{
	size_t len;
	const char *s;
	if (id < 0 || id >= g->info.vocab) return E_USAGE;
	s = piece_of(g, id, &len);
	return len ? buf_put(out, s, len) : OK;
}

int generator_is_stop(const struct generator *g, int32_t id)
{
	for (size_t i = 0; i < g->stop_n; i++)
		if (g->stop[i] == id) return 1;
	return 0;
}

/* --- running --- */
/* Most tokens that one sequence can have. */
static size_t room(const struct generator *g)
{
	size_t positions = kvcache_positions(decoder_cache(g->decoder));
	return positions < (size_t)g->info.context ? positions : (size_t)g->info.context;
}

/* Evaluates ids behind the sequence, a chunk at a time, and leaves the logits of the last `want` in out. E_CANCELLED. */
static int feed(struct generator *g, enum decoder_phase phase, const int32_t *ids, size_t n, size_t want, float *out,
	const volatile int *cancel)
{
	struct decoder_row rows[DECODER_CHUNK];
	for (size_t at = 0; at < n;) {
		size_t chunk = n - at < DECODER_CHUNK ? n - at : DECODER_CHUNK, wanted = 0;
		if (flag_is(cancel)) return E_CANCELLED;
		for (size_t i = 0; i < chunk; i++) {
			rows[i] = (struct decoder_row){ &g->seq, ids[at + i], at + i >= n - want };
			wanted += (size_t)rows[i].want;
		}
		kvseq_room(decoder_cache(g->decoder), &g->seq, chunk);
		decoder_eval(g->decoder, phase, rows, chunk, out);
		out += wanted * (size_t)g->info.vocab;
		at += chunk;
	}
	return OK;
}

static int check_prompt(const struct generator *g, const int32_t *prompt, size_t n, size_t more, struct err *e)
{
	if (n == 0) return err_set(e, E_USAGE, "%s: the prompt is empty", g->info.name);
	if (n + more > (size_t)g->info.context)
		return err_set(e, E_LIMIT, "%s: a prompt of %zu tokens does not fit the context of %d", g->info.name, n,
			g->info.context);
	if (n + more > room(g))
		return err_set(e, E_LIMIT, "%s: a prompt of %zu tokens does not fit the memory for keys and values, %zu tokens",
			g->info.name, n, room(g));
	for (size_t i = 0; i < n; i++)
		if (prompt[i] < 0 || prompt[i] >= g->info.vocab)
			return err_set(e, E_USAGE, "%s: the prompt has token %d, the vocabulary %d", g->info.name, prompt[i],
				g->info.vocab);
	return OK;
}

/* Begins a sequence of at most `total` tokens with the prompt; *reused: tokens that the cache held already. Out gets the
 * logits of the last `want`. */
static int feed_prompt(struct generator *g, const int32_t *prompt, size_t n, size_t total, size_t want, float *out,
	const volatile int *cancel, size_t *reused)
{
	struct kvcache *kv = decoder_cache(g->decoder);
	int st = kvseq_begin(kv, &g->seq, total);
	if (st != OK) return st;
	*reused = kvseq_extend(kv, &g->seq, prompt, n - want);
	return feed(g, PHASE_PROMPT, prompt + *reused, n - *reused, want, out, cancel);
}

/* Ends the sequence, whose first n tokens were a prompt: what of it may stand for a prompt is kept. */
static void seq_end(struct generator *g, size_t n)
{
	size_t keep = decoder_phases_differ(g->decoder) && n < g->seq.len ? n : g->seq.len;
	kvseq_end(decoder_cache(g->decoder), &g->seq, keep);
}

int generator_logits(struct generator *g, const int32_t *prompt, size_t n, size_t last, float *out, struct err *e)
{
	size_t reused;
	int st = check_prompt(g, prompt, n, 0, e);
	if (st != OK) return st;
	if (last < 1 || last > n)
		return err_set(e, E_USAGE, "%s: logits of %zu positions of a prompt of %zu tokens", g->info.name, last, n);
	feed_prompt(g, prompt, n, n, last, out, NULL, &reused);
	seq_end(g, n);
	return OK;
}

int generator_score(struct generator *g, const int32_t *prompt, size_t n, float *out, const volatile int *cancel,
	struct err *e)
{
	size_t reused;
	int st = check_prompt(g, prompt, n, 0, e);
	if (st != OK) return st;
	st = feed_prompt(g, prompt, n, n, 1, out, cancel, &reused);
	seq_end(g, n);
	return st == OK ? OK : err_set(e, E_CANCELLED, "%s: cancelled", g->info.name);
}

void gen_params_default(struct gen_params *p)
{
	*p = (struct gen_params){ .max_tokens = 256, .top_p = 1, .repeat_penalty = 1, .repeat_last = 64 };
}

static int check_params(const struct generator *g, const struct gen_params *p, struct err *e)
{
	const char *what = NULL;
	if (p->max_tokens < 1) what = "max_tokens is under 1";
	else if (!(p->temperature >= 0) || !isfinite(p->temperature)) what = "temperature is not 0 or more";
	else if (p->top_k < 0) what = "top_k is under 0";
	else if (!(p->top_p > 0 && p->top_p <= 1)) what = "top_p is not over 0 and up to 1";
	else if (!(p->min_p >= 0 && p->min_p <= 1)) what = "min_p is not 0 to 1";
	else if (!(p->repeat_penalty > 0) || !isfinite(p->repeat_penalty)) what = "repeat_penalty is not over 0";
	else if (p->repeat_last < 0) what = "repeat_last is under 0";
	return what ? err_set(e, E_USAGE, "%s: %s", g->info.name, what) : OK;
}

struct run { /* one generate() */
	struct generator *g;
	const struct gen_params *p;
	const struct gen_constraint *c;
	const volatile int *cancel;
	struct gen_result *r;
	struct stream stream;
	struct tokens forced;
	struct err *e;
	int ended;               /* r->finish is set */
	int blank_first;         /* the text's first token begins with a blank that is no part of it */
};

static int run_end(struct run *u, enum gen_finish finish)
{
	u->ended = 1;
	u->r->finish = finish;
	return OK;
}

/* Text of a token that comes next. */
static const char *run_piece(const struct run *u, int32_t id, size_t *len)
{
	const char *s = piece_of(u->g, id, len);
	int skip = u->blank_first && u->r->completion_tokens == 0 && *len && s[0] == ' ';
	*len -= (size_t)skip;
	return s + skip;
}

/* Writes the ids' text, counts them, and evaluates them when another token may follow. */
static int run_take(struct run *u, const int32_t *ids, size_t n)
{
	size_t max = (size_t)u->p->max_tokens;
	for (size_t i = 0; i < n; i++) {
		size_t len;
		int stopped, st;
		const char *s = run_piece(u, ids[i], &len);
		st = stream_put(&u->stream, s, len, &stopped);
		if (st != OK) return err_set(u->e, st, "%s: the text grew over %d bytes", u->g->info.name, TEXT_MAX);
		u->r->completion_tokens++;
		if (stopped) return run_end(u, GEN_END_STOP);
		if (u->stream.cancelled) return run_end(u, GEN_END_CANCELLED);
	}
	if (u->r->completion_tokens >= max || u->g->seq.len + n >= room(u->g)) return run_end(u, GEN_END_LENGTH);
	return feed(u->g, PHASE_WRITTEN, ids, n, 1, u->g->logits, u->cancel) == OK ? OK : run_end(u, GEN_END_CANCELLED);
}

/* Forced text is taken whole or, where it does not fit any more, not at all. */
static int run_force(struct run *u, const struct gen_steer *s)
{
	int st;
	u->forced.n = 0;
	st = generator_tokenize(u->g, s->force, s->force_len, &u->forced, u->e);
	if (st != OK) return st;
	if (u->forced.n == 0) return err_set(u->e, E_USAGE, "%s: the constraint forces an empty text", u->g->info.name);
	if (u->forced.n > (size_t)u->p->max_tokens - u->r->completion_tokens || u->forced.n > room(u->g) - u->g->seq.len)
		return run_end(u, GEN_END_LENGTH);
	return run_take(u, u->forced.ids, u->forced.n);
}

static int run_choose(struct run *u, const struct gen_steer *s, int32_t *id)
{
	for (size_t i = 0; i < s->choice_n; i++)
		if (s->choices[i] < 0 || s->choices[i] >= u->g->info.vocab)
			return err_set(u->e, E_USAGE, "%s: the constraint offers token %d", u->g->info.name, s->choices[i]);
	*id = s->choice_n ? sample_best(u->g->logits, (size_t)u->g->info.vocab, s->choices, s->choice_n) : -1;
	return *id >= 0 ? OK : err_set(u->e, E_USAGE, "%s: the constraint leaves no token to choose", u->g->info.name);
}

/* One step: from the logits to the next token or forced text. */
static int run_step(struct run *u, size_t step)
{
	struct generator *g = u->g;
	size_t len = g->seq.len, look = (size_t)u->p->repeat_last < len ? (size_t)u->p->repeat_last : len;
	int32_t id = sample_next(&g->sampler, g->logits, u->p, g->seq.ids + len - look, look);
	struct gen_steer steer = { 0 };
	struct gen_view view;
	int st;
	if (id < 0) return err_set(u->e, E_IO, "%s: the model's logits are not finite numbers: its weights are damaged",
		gguf_path(g->gguf));
	if (u->c) {
		view = (struct gen_view){ .text = buf_cstr(&u->r->text), .len = u->r->text.len, .token = id,
			.is_stop = generator_is_stop(g, id), .step = step, .logits = g->logits, .vocab = g->info.vocab };
		view.piece = view.is_stop ? "" : run_piece(u, id, &view.piece_len);
		switch (u->c->next(u->c->ctx, &view, &steer)) {
		case GEN_ACCEPT: break;
		case GEN_STOP: return run_end(u, GEN_END_CONSTRAINT);
		case GEN_FORCE: return run_force(u, &steer);
		case GEN_CHOOSE:
			if ((st = run_choose(u, &steer, &id)) != OK) return st;
			break;
		}
	}
	if (generator_is_stop(g, id)) return run_end(u, GEN_END_STOP);
	return run_take(u, &id, 1);
}

int generate(struct generator *g, const int32_t *prompt, size_t n, const struct gen_params *p,
	const struct gen_constraint *c,
	gen_text_fn on_text, void *ctx, const volatile int *cancel, struct gen_result *r, struct err *e)
{
	struct run u = { .g = g, .p = p, .c = c, .cancel = cancel, .r = r, .e = e };
	double start = clock_ms(), prefilled;
	size_t total;
	int st;
	*r = (struct gen_result){ .prompt_tokens = n };
	buf_init(&r->text, TEXT_MAX);
	u.stream = (struct stream){ .text = &r->text, .stops = p->stops, .on_text = on_text, .ctx = ctx };
	if ((st = check_params(g, p, e)) != OK) return st;
	if ((st = check_prompt(g, prompt, n, 1, e)) != OK) return st;
	sampler_seed(&g->sampler, p->seed);
	u.blank_first = tokenizer_blank_first(g->tokenizer) && tokenizer_kind(g->tokenizer, prompt[n - 1]) == TOKEN_CONTROL;
	total = (size_t)p->max_tokens < room(g) - n ? n + (size_t)p->max_tokens : room(g);
	if (feed_prompt(g, prompt, n, total, 1, g->logits, cancel, &r->reused_tokens) != OK) run_end(&u, GEN_END_CANCELLED);
	prefilled = clock_ms();
	r->prefill_ms = prefilled - start;
	for (size_t step = 0; st == OK && !u.ended; step++)
		st = flag_is(cancel) ? run_end(&u, GEN_END_CANCELLED) : run_step(&u, step);
	if (st == OK && r->finish != GEN_END_CANCELLED) {
		stream_end(&u.stream);
		if (u.stream.cancelled) r->finish = GEN_END_CANCELLED;
	}
	r->decode_ms = clock_ms() - prefilled;
	seq_end(g, n);
	tokens_clear(&u.forced);
	return st;
}
