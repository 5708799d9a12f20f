/* decoder.c: owns the shapes and the borrowed weights of a decoder-only transformer, and its KV cache.
 *
 * It reads what a file says of itself; decoder_cpu.c or decoder_gpu.c runs it. What the architectures add to LLaMA's layer
 * stands in the table `archs`; Gemma 3 has a norm behind attention and behind feed-forward too, GELU for SiLU, an embedding
 * scaled by sqrt(dim), and a window in all layers but every sixth. Rotary pairs are neighbours in llama files (their q
 * and k rows were permuted for that) and half a head apart in the others.
 * Threads: one caller. Failure: only at open. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "generate/decoder_inside.h"
#include "nn/quant.h"

enum { CONTEXT_DEFAULT = 4096, LAYERS_MAX = 4096, HEAD_MAX = 1 << 16, SIZE_MAX_MODEL = 1 << 24, NAME_MAX_BYTES = 96 };

static const struct arch archs[] = {
	{ "llama", .neox = 0 }, { "qwen2", .neox = 1, .biases = 1 }, { "qwen3", .neox = 1, .head_norms = 1 },
	{ "gemma3", .neox = 1, .head_norms = 1, .gemma = 1 },
};

/* --- opening --- */
static const char *arch_key(const struct decoder *d, const char *rest, char out[NAME_MAX_BYTES])
{
	snprintf(out, NAME_MAX_BYTES, "%s.%s", d->info.arch, rest);
	return out;
}

static int need_size(const struct decoder *d, const char *rest, size_t max, size_t *out, struct err *e)
{
	char key[NAME_MAX_BYTES];
	int v, st = gguf_int(d->g, arch_key(d, rest, key), &v, e);
	if (st != OK) return st;
	if (v < 1 || (size_t)v > max)
		return err_set(e, E_FORMAT, "%s: key %s: %d is not 1 to %zu", gguf_path(d->g), key, v, max);
	*out = (size_t)v;
	return OK;
}

/* As need_size; a key that is absent leaves *out. */
static int maybe_size(const struct decoder *d, const char *rest, size_t max, size_t *out, struct err *e)
{
	char key[NAME_MAX_BYTES];
	return gguf_has(d->g, arch_key(d, rest, key)) ? need_size(d, rest, max, out, e) : OK;
}

static int take_tensor(struct decoder *d, const char *name, size_t k, size_t rows, const struct gguf_tensor **out,
	struct err *e)
{
	const struct gguf_tensor *t = gguf_tensor(d->g, name);
	if (!t) return err_set(e, E_FORMAT, "%s: tensor %s is missing", gguf_path(d->g), name);
	if (t->dim[0] != k || t->dim[1] != rows || t->dim[2] != 1 || t->dim[3] != 1)
		return err_set(e, E_FORMAT, "%s: tensor %s: shape %llu x %llu where %zu x %zu is expected", gguf_path(d->g),
			name, (unsigned long long)t->dim[0], (unsigned long long)t->dim[1], k, rows);
	d->used[t - gguf_tensor_at(d->g, 0)] = 1;
	*out = t;
	return OK;
}

static int take_matrix(struct decoder *d, const char *name, size_t k, size_t rows, struct matrix *out, struct err *e)
{
	const struct gguf_tensor *t;
	int st = take_tensor(d, name, k, rows, &t, e);
	if (st != OK) return st;
	*out = (struct matrix){ t->type, rows, k, t->data, quant_row_bytes(t->type, k) };
	return OK;
}

static int take_linear(struct decoder *d, const char *name, size_t k, size_t rows, size_t slot, struct linear *out,
	struct err *e)
{
	int st = take_matrix(d, name, k, rows, &out->w, e);
	if (st != OK) return st;
	out->slot = slot;
	out->lora = lora_take(d->lora, gguf_tensor(d->g, name));
	return OK;
}

static int take_vector(struct decoder *d, const char *name, size_t n, const float **out, struct err *e)
{
	const struct gguf_tensor *t = NULL;
	int st = take_tensor(d, name, n, 1, &t, e);
	if (st != OK) return st;
	if (t->type != QUANT_F32)
		return err_set(e, E_UNSUPPORTED, "%s: tensor %s: type %s where F32 is expected", gguf_path(d->g), name,
			quant_name(t->type));
	*out = (const float *)(const void *)t->data;
	return OK;
}

/* What would change the model's arithmetic and is not done here. */
static int refuse_variants(const struct decoder *d, struct err *e)
{
	static const char *const keys[] = { "expert_count", "attention.sliding_window", "logit_scale", "residual_scale",
		"embedding_scale", "attention.scale", "final_logit_softcapping", "attn_logit_softcapping" };
	char key[NAME_MAX_BYTES];
	int v;
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		if (d->arch->gemma && strcmp(keys[i], "attention.sliding_window") == 0) continue;
		if (gguf_has(d->g, arch_key(d, keys[i], key)) && (gguf_int(d->g, key, &v, NULL) != OK || v != 0))
			return err_set(e, E_UNSUPPORTED, "%s: key %s is not supported", gguf_path(d->g), key);
	}
	return OK;
}

static int read_arch(struct decoder *d, struct err *e)
{
	struct gguf_str s;
	int st = gguf_str(d->g, "general.architecture", &s, e);
	if (st != OK) return st;
	for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
		if (strlen(archs[i].name) == s.len && memcmp(archs[i].name, s.s, s.len) == 0) {
			memcpy(d->info.arch, s.s, s.len);
			d->arch = &archs[i];
			return OK;
		}
	return err_set(e, E_UNSUPPORTED, "%s: architecture \"%.*s\" is not supported, only llama, qwen2, qwen3 and gemma3",
		gguf_path(d->g), (int)(s.len < 40 ? s.len : 40), s.s);
}

/* What Gemma 3 has of its own, and what the others have in its place. A 27B model, known by its 62 layers, scales
 * q·k by dim / heads: its file does not say so. */
static int read_gemma(struct decoder *d, struct err *e)
{
	enum { LAYERS_27B = 62, PATTERN = 6 };
	int st;
	d->scale = 1 / sqrtf((float)d->info.head_dim);
	d->embed_scale = 1;
	if (!d->arch->gemma) return OK;
	d->embed_scale = sqrtf((float)d->info.dim);
	if (d->info.layers == LAYERS_27B) d->scale = 1 / sqrtf((float)(d->info.dim / d->info.heads));
	d->pattern = PATTERN;
	if ((st = need_size(d, "attention.sliding_window", SIZE_MAX_MODEL, &d->window, e)) != OK) return st;
	return maybe_size(d, "attention.sliding_window_pattern", LAYERS_MAX, &d->pattern, e);
}

static int read_sizes(struct decoder *d, const struct decoder_options *o, struct err *e)
{
	struct decoder_info *f = &d->info;
	size_t own = 0, value_dim;
	int st;
	if ((st = read_arch(d, e)) != OK || (st = refuse_variants(d, e)) != OK) return st;
	if ((st = need_size(d, "block_count", LAYERS_MAX, &f->layers, e)) != OK) return st;
	if ((st = need_size(d, "context_length", SIZE_MAX_MODEL, &own, e)) != OK) return st;
	if ((st = need_size(d, "embedding_length", SIZE_MAX_MODEL, &f->dim, e)) != OK) return st;
	if ((st = need_size(d, "feed_forward_length", SIZE_MAX_MODEL, &f->ff, e)) != OK) return st;
	if ((st = need_size(d, "attention.head_count", f->dim, &f->heads, e)) != OK) return st;
	f->kv_heads = f->heads;
	if ((st = maybe_size(d, "attention.head_count_kv", f->heads, &f->kv_heads, e)) != OK) return st;
	f->head_dim = f->dim / f->heads;
	if ((st = maybe_size(d, "attention.key_length", HEAD_MAX, &f->head_dim, e)) != OK) return st;
	value_dim = f->head_dim;
	if ((st = maybe_size(d, "attention.value_length", HEAD_MAX, &value_dim, e)) != OK) return st;
	d->rope_dim = f->head_dim;
	if ((st = maybe_size(d, "rope.dimension_count", f->head_dim, &d->rope_dim, e)) != OK) return st;
	d->q_dim = f->heads * f->head_dim;
	d->kv_dim = f->kv_heads * f->head_dim;
	if (f->heads % f->kv_heads || d->rope_dim % 2)
		return err_set(e, E_FORMAT, "%s: %zu heads, %zu key heads, %zu rotary dimensions do not go together",
			gguf_path(d->g), f->heads, f->kv_heads, d->rope_dim);
	if (f->dim % OPS_ALIGN || f->ff % OPS_ALIGN || d->q_dim % OPS_ALIGN || f->head_dim % OPS_HEAD_ALIGN ||
		value_dim != f->head_dim)
		return err_set(e, E_UNSUPPORTED,
			"%s: sizes %zu, %zu, %zu heads of %zu (values %zu) are not supported: multiples of %d, heads of %d",
			gguf_path(d->g), f->dim, f->ff, f->heads, f->head_dim, value_dim, OPS_ALIGN, OPS_HEAD_ALIGN);
	f->context = o->context_max > 0 ? (size_t)o->context_max : CONTEXT_DEFAULT;
	if (f->context > own) f->context = own;
	return read_gemma(d, e);
}

static int load_layer(struct decoder *d, size_t i, struct err *e)
{
	const struct decoder_info *f = &d->info;
	struct layer *l = &d->layers[i];
	const struct { const char *name; size_t k, rows, slot; struct linear *to; } matrices[] = {
		{ "attn_q.weight", f->dim, d->q_dim, 0, &l->q }, { "attn_k.weight", f->dim, d->kv_dim, 1, &l->k },
		{ "attn_v.weight", f->dim, d->kv_dim, 2, &l->v }, { "attn_output.weight", d->q_dim, f->dim, 0, &l->o },
		{ "ffn_gate.weight", f->dim, f->ff, 0, &l->gate }, { "ffn_up.weight", f->dim, f->ff, 1, &l->up },
		{ "ffn_down.weight", f->ff, f->dim, 0, &l->down },
	};
	enum { MUST, MAY, NOT };                 /* NOT: refused with the leftovers when it is there */
	const int bias = d->arch->biases ? MUST : d->arch->neox ? NOT : MAY, head = d->arch->head_norms ? MUST : NOT,
		post = d->arch->gemma ? MUST : NOT;
	const struct { const char *name; size_t n; const float **to; int there; } vectors[] = {
		{ "attn_norm.weight", f->dim, &l->attn_norm, MUST }, { "ffn_norm.weight", f->dim, &l->ffn_norm, MUST },
		{ "attn_q.bias", d->q_dim, &l->q_bias, bias }, { "attn_k.bias", d->kv_dim, &l->k_bias, bias },
		{ "attn_v.bias", d->kv_dim, &l->v_bias, bias },
		{ "attn_q_norm.weight", f->head_dim, &l->q_norm, head }, { "attn_k_norm.weight", f->head_dim, &l->k_norm, head },
		{ "post_attention_norm.weight", f->dim, &l->attn_post, post },
		{ "post_ffw_norm.weight", f->dim, &l->ffn_post, post },
	};
	char name[NAME_MAX_BYTES];
	int st = OK;
	for (size_t m = 0; m < sizeof matrices / sizeof *matrices && st == OK; m++) {
		snprintf(name, sizeof name, "blk.%zu.%s", i, matrices[m].name);
		st = take_linear(d, name, matrices[m].k, matrices[m].rows, matrices[m].slot, matrices[m].to, e);
	}
	for (size_t v = 0; v < sizeof vectors / sizeof *vectors && st == OK; v++) {
		snprintf(name, sizeof name, "blk.%zu.%s", i, vectors[v].name);
		if (vectors[v].there == NOT || (vectors[v].there == MAY && !gguf_tensor(d->g, name))) continue;
		st = take_vector(d, name, vectors[v].n, vectors[v].to, e);
	}
	return st;
}

/* A tensor that the model did not take would have changed its result: refused by name. */
static int refuse_leftovers(const struct decoder *d, struct err *e)
{
	for (size_t i = 0; i < gguf_tensor_n(d->g); i++) {
		const struct gguf_str *s = &gguf_tensor_at(d->g, i)->name;
		if (!d->used[i])
			return err_set(e, E_UNSUPPORTED, "%s: tensor %.*s: a %s model with it is not supported", gguf_path(d->g),
				(int)(s->len < 64 ? s->len : 64), s->s, d->info.arch);
	}
	return OK;
}

static int load_tensors(struct decoder *d, struct err *e)
{
	struct decoder_info *f = &d->info;
	const struct gguf_tensor *t = gguf_tensor(d->g, "token_embd.weight");
	int st, tied = !gguf_tensor(d->g, "output.weight");
	d->used = mem_calloc(gguf_tensor_n(d->g) + 1, 1);
	d->layers = mem_calloc(f->layers, sizeof *d->layers);
	if (!d->used || !d->layers) return err_set(e, E_MEMORY, "%s: out of memory", gguf_path(d->g));
	f->vocab = t ? (size_t)t->dim[1] : 0;
	if (f->vocab > SIZE_MAX_MODEL)
		return err_set(e, E_FORMAT, "%s: tensor token_embd.weight: %zu tokens", gguf_path(d->g), f->vocab);
	if ((st = take_matrix(d, "token_embd.weight", f->dim, f->vocab, &d->embed, e)) != OK) return st;
	if ((st = take_vector(d, "output_norm.weight", f->dim, &d->output_norm, e)) != OK) return st;
	d->output.w = d->embed;
	if (!tied && (st = take_linear(d, "output.weight", f->dim, f->vocab, 0, &d->output, e)) != OK) return st;
	if (!d->arch->neox && gguf_tensor(d->g, "rope_freqs.weight") &&
		(st = take_vector(d, "rope_freqs.weight", d->rope_dim / 2, &d->rope_factors, e)) != OK) return st;
	for (size_t i = 0; i < f->layers; i++)
		if ((st = load_layer(d, i, e)) != OK) return st;
	if ((st = refuse_leftovers(d, e)) != OK || (st = lora_leftover(d->lora, e)) != OK) return st;
	f->token_bytes = lora_bytes(d->lora);
	for (size_t i = 0; i < gguf_tensor_n(d->g); i++) f->token_bytes += gguf_tensor_at(d->g, i)->bytes;
	f->token_bytes += d->embed.row_bytes;                                /* one row is read … */
	if (!tied) f->token_bytes -= d->embed.row_bytes * f->vocab; /* … and the table only where it is the output too */
	return OK;
}

/* The key's value if it is there; E_FORMAT when it is not over `least`. */
static int maybe_float(const struct decoder *d, const char *rest, double least, double *out, struct err *e)
{
	char key[NAME_MAX_BYTES];
	int st = gguf_has(d->g, arch_key(d, rest, key)) ? gguf_float(d->g, key, out, e) : OK;
	if (st != OK) return st;
	return *out > least ? OK : err_set(e, E_FORMAT, "%s: key %s: %g is not over %g", gguf_path(d->g), key, *out, least);
}

/* By how much positions are divided: 1, or the factor of linear scaling (Chen et al. 2023). */
static int read_stretch(const struct decoder *d, double *out, struct err *e)
{
	char key[NAME_MAX_BYTES];
	struct gguf_str s = { "linear", 6 };
	double old = 1;
	int st;
	*out = 1;
	if (gguf_has(d->g, arch_key(d, "rope.scaling.type", key)) && (st = gguf_str(d->g, key, &s, e)) != OK) return st;
	if (s.len == 4 && memcmp(s.s, "none", 4) == 0) return OK;
	if (s.len != 6 || memcmp(s.s, "linear", 6) != 0)
		return err_set(e, E_UNSUPPORTED, "%s: key %s: rotary scaling \"%.*s\" is not supported", gguf_path(d->g), key,
			(int)(s.len < 40 ? s.len : 40), s.s);
	if ((st = maybe_float(d, "rope.scale_linear", -1, &old, e)) != OK) return st;
	*out = old;                                                 /* the key's old name; 0 says nothing, as 1 */
	if ((st = maybe_float(d, "rope.scaling.factor", -1, out, e)) != OK) return st;
	if (*out == 0) *out = 1;
	return OK;
}

static int fill_ropes(struct decoder *d, struct err *e)
{
	double base = 10000, base_slides = 10000, stretch;
	int st = maybe_float(d, "rope.freq_base", 1, &base, e);
	if (st == OK) st = maybe_float(d, "rope.freq_base_swa", 1, &base_slides, e);
	if (st == OK) st = read_stretch(d, &stretch, e);
	if (st != OK) return st;
	for (size_t i = 0; d->rope_factors && i < d->rope_dim / 2; i++)
		if (!(d->rope_factors[i] > 0) || isinf(d->rope_factors[i]))
			return err_set(e, E_FORMAT, "%s: tensor rope_freqs.weight: factor %zu is %g", gguf_path(d->g), i,
				(double)d->rope_factors[i]);
	st = rope_init(&d->rope, d->info.context, d->rope_dim, d->arch->neox, base, stretch, d->rope_factors, e);
	if (st != OK || !d->window) return st;
	return rope_init(&d->rope_slides, d->info.context, d->rope_dim, d->arch->neox, base_slides, 1, d->rope_factors, e);
}

/* Bytes of keys and values of so many whole contexts. */
static size_t contexts_bytes(const struct decoder *d, size_t n)
{
	const struct decoder_info *f = &d->info;
	size_t bytes;
	return __builtin_mul_overflow((f->context + KVCACHE_PAGE - 1) / KVCACHE_PAGE * n,
		kvcache_page_bytes(f->layers, f->kv_heads, f->head_dim), &bytes) ? SIZE_MAX : bytes;
}

static int make_cache(struct decoder *d, const struct decoder_options *o, struct err *e)
{
	const struct decoder_info *f = &d->info;
	uint64_t bytes = o->kv_bytes ? o->kv_bytes : contexts_bytes(d, (size_t)o->sequences);
	uint8_t *slides = mem_calloc(f->layers, 1);
	struct kvmemory memory;
	int st;
	if (!slides) return err_set(e, E_MEMORY, "%s: out of memory", gguf_path(d->g));
	for (size_t i = 0; d->window && i < f->layers; i++) slides[i] = (i + 1) % d->pattern != 0;
	if (d->gpu) memory = gpu_pass_memory(d->gpu, o->kv_bytes != 0, &bytes);
	st = kvcache_init(&d->cache, f->layers, f->kv_heads, f->head_dim, bytes, d->window, slides, d->gpu ? &memory : NULL, e);
	mem_free(slides);
	return st;
}

/* What runs the model, on the device of the options, and its cache. */
static int open_pass(struct decoder *d, const struct ops *ops, struct team *team, const struct decoder_options *o, struct err *e)
{
	size_t least = contexts_bytes(d, 1);
	int st;
	if (o->kv_bytes && o->kv_bytes < least) least = o->kv_bytes;
	snprintf(d->info.device, sizeof d->info.device, "cpu");
	st = o->gpu ? gpu_pass_open(&d->gpu, d, o, least, e) : cpu_pass_open(&d->cpu, d, ops, team, o, e);
	if (st == OK) st = make_cache(d, o, e);
	if (st == OK && d->gpu) gpu_pass_tell(d->gpu);
	return st;
}

int decoder_open(struct decoder **out, const struct gguf *g, struct lora *lora, const struct ops *ops,
	struct team *team, const struct decoder_options *o, struct err *e)
{
	char key[NAME_MAX_BYTES];
	double eps = 0;
	int st;
	struct decoder *d = mem_calloc(1, sizeof *d);
	*out = NULL;
	if (!d) return err_set(e, E_MEMORY, "%s: out of memory", gguf_path(g));
	d->g = g;
	d->lora = lora;
	d->wants = o->wants > 0 && o->wants < DECODER_CHUNK ? (size_t)o->wants : DECODER_CHUNK;
	st = read_sizes(d, o, e);
	if (st == OK) st = gguf_float(g, arch_key(d, "attention.layer_norm_rms_epsilon", key), &eps, e);
	if (st == OK && !(eps >= 0 && eps < 1))
		st = err_set(e, E_FORMAT, "%s: key %s: %g is not 0 to 1", gguf_path(g), key, eps);
	d->eps = (float)eps;
	if (st == OK) st = load_tensors(d, e);
	if (st == OK) st = fill_ropes(d, e);
	if (st == OK) st = open_pass(d, ops, team, o, e);
	if (st != OK) decoder_close(d);
	else *out = d;
	return st;
}

void decoder_close(struct decoder *d)
{
	if (!d) return;
	kvcache_clear(&d->cache);
	cpu_pass_close(d->cpu);
	gpu_pass_close(d->gpu);
	rope_clear(&d->rope);
	rope_clear(&d->rope_slides);
	mem_free(d->layers);
	mem_free(d->used);
	mem_free(d);
}

const struct decoder_info *decoder_info(const struct decoder *d)
{
	return &d->info;
}

struct kvcache *decoder_cache(struct decoder *d)
{
	return &d->cache;
}

int decoder_phases_differ(const struct decoder *d)
{
	return d->gpu || cpu_pass_phases_differ(d->cpu);
}

int decoder_eval(struct decoder *d, enum decoder_phase phase, struct decoder_row *rows, size_t n, struct err *e)
{
	if (d->gpu) return gpu_pass_eval(d->gpu, phase, rows, n, e);
	cpu_pass_eval(d->cpu, phase, rows, n);
	return OK;
}

int decoder_was_first(const struct decoder *d)
{
	return d->gpu && gpu_pass_was_first(d->gpu);
}

int decoder_lost(const struct decoder *d, struct err *e)
{
	return d->gpu ? gpu_pass_lost(d->gpu, e) : OK;
}
