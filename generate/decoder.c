/* decoder.c: owns the shapes, the borrowed weights and the scratch of a decoder-only transformer.
 *
 * A pass takes rows, tokens of one or many sequences, through every layer: norm, q k v, rotary positions, attention over
 * its sequence's pages, output and residual, norm, gated feed-forward and residual; then norm and logits for the tokens
 * that want them. What the architectures add to that stands in the table `archs`; Gemma 3 has a norm behind attention
 * and behind feed-forward too, GELU for SiLU, an embedding scaled by sqrt(dim), and a window in all layers but every
 * sixth. Each stage is cut into items (tiles of weight rows, tokens, or heads): each of the team's members has a run of
 * them, for memory is fastest read in long runs, and then takes from the others' runs, so a member that the machine
 * held up does not hold up the others; items write disjoint memory, and no result depends
 * on who computed it. Rotary pairs are neighbours in llama files (their q and k rows were permuted for that) and
 * half a head apart in the others.
 * A matrix that an adapter touches is multiplied as it lies in the file; a x of the adapter's pair is made in a stage of
 * its own before, and b times that is added tile by tile (lora.h).
 * Threads: one caller; the team works inside a stage. Failure: only at open. */
#include "generate/decoder.h"
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "generate/rope.h"
#include "nn/packs.h"
#include "nn/quant.h"

enum {
	CONTEXT_DEFAULT = 4096, LAYERS_MAX = 4096, HEAD_MAX = 1 << 16, SIZE_MAX_MODEL = 1 << 24, NAME_MAX_BYTES = 96,
	SCRATCH_ALIGN = 64, PROMPT_TILE_ROWS = 256, ATTEND_TOKENS = 64
};

struct arch {
	const char *name;
	int neox;                                /* rotary pairs half a head apart */
	int biases;                              /* q, k and v have them; a llama model may have them */
	int head_norms;                          /* norms of each head of q and k */
	int gemma;
};
static const struct arch archs[] = {
	{ "llama", .neox = 0 }, { "qwen2", .neox = 1, .biases = 1 }, { "qwen3", .neox = 1, .head_norms = 1 },
	{ "gemma3", .neox = 1, .head_norms = 1, .gemma = 1 },
};

struct linear {                                  /* y = w x, and b (a x) of an adapter */
	struct matrix w;
	struct packed packed;                    /* data NULL: a float matrix, or a table without integer products */
	const struct lora_pair *lora;            /* or NULL */
	size_t slot;                             /* of a x in low; another one for each that takes the same input */
};
enum { SLOTS = 3 };

struct layer {
	struct linear q, k, v, o, gate, up, down;
	const float *attn_norm, *ffn_norm;       /* (dim) */
	const float *q_bias, *k_bias, *v_bias;   /* or NULL */
	const float *q_norm, *k_norm;            /* (head_dim) or NULL */
	const float *attn_post, *ffn_post;       /* (dim) or NULL: norms of what is added to the residual */
};

struct share {                                   /* of a stage's items; a cache line each */
	_Alignas(SCRATCH_ALIGN) atomic_size_t next;
	size_t end;
};

struct decoder {
	struct decoder_info info;
	const struct gguf *g;
	const struct ops *ops;
	struct team *team;
	const struct arch *arch;
	void (*gate_mul)(const float *gate, const float *up, size_t n, float *out);
	size_t rope_dim, q_dim, kv_dim;
	size_t window, pattern;                  /* every pattern-th layer has no window */
	float eps, scale, embed_scale;           /* scale: of q·k */
	struct matrix embed;
	struct linear output;
	struct lora *lora;                       /* or NULL */
	const float *output_norm, *rope_factors; /* rope_factors: (rope_dim/2) or NULL */
	struct layer *layers;
	uint8_t *used;                           /* while opening: (tensors) 1 where the model took the tensor */
	struct kvcache cache;
	struct rope rope, rope_slides;           /* of layers without and with a window */
	struct packs *packs;                     /* or NULL */
	float *x, *norm, *q, *k, *v, *mix, *proj, *gate; /* (DECODER_CHUNK, …) */
	float *tile;                             /* (members, 2, DECODER_CHUNK, PROMPT_TILE_ROWS + OPS_PROMPT_PAD) */
	uint8_t *act, *act_ff;   /* (DECODER_CHUNK, …) norm or mix, and gate, as packed weights meet them; or NULL */
	float *scratch;                          /* (members, scratch_floats) */
	struct share *shares;                    /* (members) */
	size_t scratch_floats;
	float *low;                              /* (SLOTS, DECODER_CHUNK, lora_rank): a x of adapters */
	float *added;                            /* (members, DECODER_CHUNK, OPS_TILE_ROWS): b (a x) of a tile */
	/* the pass under way */
	int prompt;                              /* by the kernels for prompts, and these differ from the others */
	int parts;                               /* a head's part of mix gets its activations where it is made */
	const struct decoder_row *rows;
	size_t n, layer, want;
	size_t pos[DECODER_CHUNK];               /* of the rows */
	struct run { size_t row, n; } runs[DECODER_CHUNK]; /* rows of one sequence, at most ATTEND_TOKENS */
	size_t run_n;
	size_t head_parts;                       /* items of a run's query heads that share a head of keys */
	float *logits;
	const struct linear *low_of[SLOTS];      /* item_low: those with an adapter, their input, its rows */
	size_t low_n, low_tokens;
	const float *low_x;
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
	d->gate_mul = d->ops->silu_mul;
	if (!d->arch->gemma) return OK;
	d->embed_scale = sqrtf((float)d->info.dim);
	d->gate_mul = d->ops->gelu_mul;
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

/* Packs what integer products can take. */
static int pack_weights(struct decoder *d, const char *folder, struct err *e)
{
	enum { A_LAYER = 7 };
	size_t most = d->info.layers * A_LAYER + 1, n = 0;
	const struct matrix **w = mem_calloc(most, sizeof *w);
	struct linear **to = mem_calloc(most, sizeof *to);
	struct packed *p = mem_calloc(most, sizeof *p);
	int st = w && to && p ? OK : err_set(e, E_MEMORY, "%s: out of memory", gguf_path(d->g));
	for (size_t i = 0; st == OK && i < most; i++) {
		struct layer *l = i + 1 < most ? &d->layers[i / A_LAYER] : NULL;
		struct linear *at = &d->output;
		if (l) at = (struct linear *[A_LAYER]){ &l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down }[i % A_LAYER];
		if (!pack_supported(at->w.type)) continue;
		to[n] = at;
		w[n++] = &at->w;
	}
	if (st == OK) st = packs_open(&d->packs, w, n, p, gguf_path(d->g), folder, d->team, e);
	for (size_t i = 0; st == OK && i < n; i++) to[i]->packed = p[i];
	mem_free(w);
	mem_free(to);
	mem_free(p);
	return st;
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

static float *floats(size_t rows, size_t n)
{
	size_t bytes;
	if (__builtin_mul_overflow(rows, n, &bytes) || __builtin_mul_overflow(bytes, sizeof(float), &bytes)) return NULL;
	return mem_huge((bytes + SCRATCH_ALIGN - 1) / SCRATCH_ALIGN * SCRATCH_ALIGN);
}

static uint8_t *act_rows(const struct decoder *d, size_t k)
{
	size_t written = DECODER_CHUNK * d->ops->act_bytes(k), prompt = d->ops->prompt_bytes(k, DECODER_CHUNK);
	if (prompt > written) written = prompt;
	return mem_huge((written + SCRATCH_ALIGN - 1) / SCRATCH_ALIGN * SCRATCH_ALIGN);
}

static int make_cache(struct decoder *d, const struct decoder_options *o, struct err *e)
{
	const struct decoder_info *f = &d->info;
	size_t pages = (f->context + KVCACHE_PAGE - 1) / KVCACHE_PAGE * (size_t)o->sequences, bytes;
	uint8_t *slides = mem_calloc(f->layers, 1);
	int st;
	if (__builtin_mul_overflow(pages, kvcache_page_bytes(f->layers, f->kv_heads, f->head_dim), &bytes)) bytes = SIZE_MAX;
	if (o->kv_bytes) bytes = o->kv_bytes;
	if (!slides) return err_set(e, E_MEMORY, "%s: out of memory", gguf_path(d->g));
	for (size_t i = 0; d->window && i < f->layers; i++) slides[i] = (i + 1) % d->pattern != 0;
	st = kvcache_init(&d->cache, f->layers, f->kv_heads, f->head_dim, bytes, d->window, slides, e);
	mem_free(slides);
	return st;
}

static int make_scratch(struct decoder *d, const struct decoder_options *o, struct err *e)
{
	const struct decoder_info *f = &d->info;
	size_t k_max = f->ff > f->dim ? f->ff : f->dim, attend = ops_attend_floats(f->head_dim, f->context), rank = lora_rank(d->lora);
	if (d->q_dim > k_max) k_max = d->q_dim;
	if (rank > k_max) k_max = rank;
	d->scratch_floats = ops_scratch_floats(k_max);
	if (attend > d->scratch_floats) d->scratch_floats = attend;
	d->scratch_floats = (d->scratch_floats + 15) / 16 * 16;
	d->x = floats(DECODER_CHUNK, f->dim);
	d->norm = floats(DECODER_CHUNK, f->dim);
	d->proj = floats(DECODER_CHUNK, f->dim);
	d->q = floats(DECODER_CHUNK, d->q_dim);
	d->mix = floats(DECODER_CHUNK, d->q_dim);
	d->k = floats(DECODER_CHUNK, d->kv_dim);
	d->v = floats(DECODER_CHUNK, d->kv_dim);
	d->gate = floats(DECODER_CHUNK, f->ff);
	d->tile = floats((size_t)team_size(d->team) * 2 * DECODER_CHUNK, PROMPT_TILE_ROWS + OPS_PROMPT_PAD);
	d->scratch = floats((size_t)team_size(d->team), d->scratch_floats);
	d->shares = mem_aligned(SCRATCH_ALIGN, (size_t)team_size(d->team) * sizeof *d->shares);
	if (d->ops->mul) {
		d->act = act_rows(d, f->dim > d->q_dim ? f->dim : d->q_dim);
		d->act_ff = act_rows(d, f->ff);
	}
	if (rank) {
		d->low = floats(SLOTS * DECODER_CHUNK, rank);
		d->added = floats((size_t)team_size(d->team), DECODER_CHUNK * OPS_TILE_ROWS);
	}
	if (!d->x || !d->norm || !d->proj || !d->q || !d->mix || !d->k || !d->v || !d->gate || !d->tile || !d->scratch ||
		!d->shares || (d->ops->mul && (!d->act || !d->act_ff)) || (rank && (!d->low || !d->added)))
		return err_set(e, E_MEMORY, "%s: out of memory for activations", gguf_path(d->g));
	return make_cache(d, o, e);
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
	d->ops = ops;
	d->team = team;
	st = read_sizes(d, o, e);
	if (st == OK) st = gguf_float(g, arch_key(d, "attention.layer_norm_rms_epsilon", key), &eps, e);
	if (st == OK && !(eps >= 0 && eps < 1))
		st = err_set(e, E_FORMAT, "%s: key %s: %g is not 0 to 1", gguf_path(g), key, eps);
	d->eps = (float)eps;
	if (st == OK) st = load_tensors(d, e);
	if (st == OK && ops->mul) st = pack_weights(d, o->packs, e);
	if (st == OK) st = fill_ropes(d, e);
	if (st == OK) st = make_scratch(d, o, e);
	if (st != OK) decoder_close(d);
	else *out = d;
	return st;
}

void decoder_close(struct decoder *d)
{
	if (!d) return;
	float *const all[] = { d->x, d->norm, d->proj,
		d->q, d->mix, d->k, d->v, d->gate, d->tile, d->scratch, d->low, d->added };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
	rope_clear(&d->rope);
	rope_clear(&d->rope_slides);
	kvcache_clear(&d->cache);
	packs_close(d->packs);
	mem_free(d->act);
	mem_free(d->shares);
	mem_free(d->act_ff);
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
	return d->ops->prompt_mul != d->ops->mul;
}

/* --- a pass --- */
struct stage {
	struct decoder *d;
	void (*item)(struct decoder *d, size_t i, float *scratch);
};

/* A member's own items first, one behind the other as their weights lie in memory; then what others have left. */
static void draw_items(void *ctx, int member, int size)
{
	struct stage *s = ctx;
	float *scratch = s->d->scratch + (size_t)member * s->d->scratch_floats;
	for (int m = 0; m < size; m++) {
		struct share *own = &s->d->shares[(member + m) % size];
		for (size_t i; (i = atomic_fetch_add_explicit(&own->next, 1, memory_order_relaxed)) < own->end;)
			s->item(s->d, i, scratch);
	}
}

static void run_stage(struct decoder *d, size_t items, void (*item)(struct decoder *, size_t, float *))
{
	struct stage s = { .d = d, .item = item };
	size_t size = (size_t)team_size(d->team);
	if (items == 1) {
		item(d, 0, d->scratch);
		return;
	}
	for (size_t m = 0; m < size; m++) {
		atomic_store_explicit(&d->shares[m].next, items * m / size, memory_order_relaxed);
		d->shares[m].end = items * (m + 1) / size;
	}
	team_draw(d->team, draw_items, &s);
}

/* Rows of weights in an item. Prompts' kernels want many, for each item reads all tokens; but the members are to have
 * the same: of the cuts into about as few items as there must be, that which leaves the longest share shortest. */
static size_t tile_rows(const struct decoder *d, size_t rows)
{
	const size_t members = (size_t)team_size(d->team), units = (rows + OPS_TILE_ROWS - 1) / OPS_TILE_ROWS,
		least = (rows + PROMPT_TILE_ROWS - 1) / PROMPT_TILE_ROWS;
	size_t best = 1, best_share = SIZE_MAX;
	if (!d->prompt) return OPS_TILE_ROWS;
	for (size_t items = least; items < least + 2 * members + 1; items++) {
		size_t unit = (units + items - 1) / items, share = ((units + unit - 1) / unit + members - 1) / members * unit;
		if (share < best_share) best = unit, best_share = share;
	}
	return best * OPS_TILE_ROWS;
}

static size_t tiles(const struct decoder *d, size_t rows)
{
	return (rows + tile_rows(d, rows) - 1) / tile_rows(d, rows);
}

/* From a token's results in a tile to the next one's. */
static size_t tile_ld(const struct decoder *d, size_t rows)
{
	return tile_rows(d, rows) + (d->prompt ? OPS_PROMPT_PAD : 0);
}

static size_t low_tiles(const struct linear *l)
{
	return (l->lora->a.rows + OPS_TILE_ROWS - 1) / OPS_TILE_ROWS;
}

static size_t member_of(const struct decoder *d, const float *scratch)
{
	return (size_t)(scratch - d->scratch) / d->scratch_floats;
}

/* A member's two places for what an item computes: (n, tile_ld) each. */
static float *tile_of(const struct decoder *d, const float *scratch, size_t which)
{
	return d->tile + (member_of(d, scratch) * 2 + which) * DECODER_CHUNK * (PROMPT_TILE_ROWS + OPS_PROMPT_PAD);
}

/* Work space of a linear's a x: rows of b.k floats. */
static float *low_of(const struct decoder *d, const struct linear *l)
{
	return d->low + l->slot * DECODER_CHUNK * lora_rank(d->lora);
}

/* The first `rows` rows of w times n rows of x, as many at a time as the kernel takes. */
static void times(const struct decoder *d, const struct matrix *w, size_t rows, const float *x, size_t n, float *y, size_t ldy,
	float *scratch)
{
	for (size_t t = 0, m; t < n; t += m) {
		m = n - t < OPS_TOKENS ? n - t : OPS_TOKENS;
		d->ops->matmul(w, 0, rows, x + t * w->k, w->k, m, y + t * ldy, ldy, scratch);
	}
}

/* Activations of row t to act: those of the `count` floats at x, whole groups, which are `from` … of its k. */
static void activate_part(const struct decoder *d, const float *x, size_t from, size_t count, size_t k, size_t t, uint8_t *act)
{
	if (d->prompt) d->ops->prompt_act(x, from, count, k, t, act);
	else if (d->ops->mul) d->ops->act(x, count, act + t * d->ops->act_bytes(k) + d->ops->act_bytes(from));
}

static void activate(const struct decoder *d, const float *x, size_t k, size_t t, uint8_t *act)
{
	activate_part(d, x + t * k, 0, k, k, t, act);
}

/* What the adapter of l adds to rows r0 … of y. */
static void add_low(struct decoder *d, const struct linear *l, size_t r0, size_t rows, size_t n, float *y, size_t ldy,
	float *scratch)
{
	float *added = d->added + member_of(d, scratch) * DECODER_CHUNK * OPS_TILE_ROWS;
	for (size_t at = 0, m; at < rows; at += m) {
		struct matrix b = l->lora->b;
		m = rows - at < OPS_TILE_ROWS ? rows - at : OPS_TILE_ROWS;
		b.data += (r0 + at) * b.row_bytes;
		times(d, &b, m, low_of(d, l), n, added, OPS_TILE_ROWS, scratch);
		for (size_t t = 0; t < n; t++)
			for (size_t r = 0; r < m; r++) y[t * ldy + at + r] += added[t * OPS_TILE_ROWS + r];
	}
}

/* Rows of tile i of a linear times n rows of x, whose activations are in act: y[t*ldy + r] is row *r0 + r. How many. */
static size_t multiply(struct decoder *d, const struct linear *l, size_t i, const float *x, const uint8_t *act, size_t n,
	float *y, size_t ldy, float *scratch)
{
	const size_t most = tile_rows(d, l->w.rows), r0 = i * most, rows = l->w.rows - r0 < most ? l->w.rows - r0 : most,
		panel0 = r0 / PACK_ROWS, panel1 = (r0 + rows + PACK_ROWS - 1) / PACK_ROWS;
	struct matrix w = l->w;
	w.data += r0 * w.row_bytes;
	if (!l->packed.data) times(d, &w, rows, x, n, y, ldy, scratch);
	else if (d->prompt) d->ops->prompt_mul(&l->packed, panel0, panel1, act, n, y, ldy, scratch);
	else d->ops->mul(&l->packed, panel0, panel1, act, n, y, ldy, scratch);
	if (l->lora) add_low(d, l, r0, rows, n, y, ldy, scratch);
	return rows;
}

/* Tiles of a x of the first linear of low_of, then of the next. What is behind the rank meets zeros of b. */
static void item_low(struct decoder *d, size_t i, float *scratch)
{
	size_t p = 0, r0, r1;
	while (i >= low_tiles(d->low_of[p])) i -= low_tiles(d->low_of[p++]);
	const struct matrix *a = &d->low_of[p]->lora->a;
	size_t ld = d->low_of[p]->lora->b.k;
	float *low = low_of(d, d->low_of[p]);
	r0 = i * OPS_TILE_ROWS;
	r1 = a->rows - r0 < OPS_TILE_ROWS ? a->rows : r0 + OPS_TILE_ROWS;
	struct matrix part = *a;
	part.data += r0 * a->row_bytes;
	times(d, &part, r1 - r0, d->low_x, d->low_tokens, low + r0, ld, scratch);
	for (size_t t = 0; r1 == a->rows && t < d->low_tokens; t++) memset(low + t * ld + r1, 0, (ld - r1) * sizeof *low);
}

/* Before the stage that multiplies n rows of x with linears: what their adapters need. */
static void run_low(struct decoder *d, const struct linear *const *linears, size_t count, const float *x, size_t n)
{
	size_t items = 0;
	d->low_n = 0;
	for (size_t i = 0; i < count; i++) {
		if (!linears[i]->lora) continue;
		d->low_of[d->low_n++] = linears[i];
		items += low_tiles(linears[i]);
	}
	d->low_x = x;
	d->low_tokens = n;
	if (items) run_stage(d, items, item_low);
}

static void item_attn_norm(struct decoder *d, size_t t, float *scratch)
{
	size_t dim = d->info.dim;
	(void)scratch;
	d->ops->norm(d->x + t * dim, d->layers[d->layer].attn_norm, dim, d->eps, d->norm + t * dim);
	activate(d, d->norm, dim, t, d->act);
}

static void item_ffn_norm(struct decoder *d, size_t t, float *scratch)
{
	size_t dim = d->info.dim;
	(void)scratch;
	d->ops->norm(d->x + t * dim, d->layers[d->layer].ffn_norm, dim, d->eps, d->norm + t * dim);
	activate(d, d->norm, dim, t, d->act);
}

/* Tiles of q, then of k, then of v. */
static void item_qkv(struct decoder *d, size_t i, float *scratch)
{
	const struct layer *l = &d->layers[d->layer];
	const struct { const struct linear *w; const float *bias; float *y; } parts[] = {
		{ &l->q, l->q_bias, d->q }, { &l->k, l->k_bias, d->k }, { &l->v, l->v_bias, d->v },
	};
	size_t p = 0;
	while (i >= tiles(d, parts[p].w->w.rows)) i -= tiles(d, parts[p++].w->w.rows);
	const size_t ldy = parts[p].w->w.rows, r0 = i * tile_rows(d, ldy), ld = tile_ld(d, ldy);
	const float *bias = parts[p].bias, *from = tile_of(d, scratch, 0);
	float *y = parts[p].y + r0;
	size_t rows = multiply(d, parts[p].w, i, d->norm, d->act, d->n, tile_of(d, scratch, 0), ld, scratch);
	for (size_t t = 0; t < d->n; t++, y += ldy, from += ld) {
		if (!bias) memcpy(y, from, rows * sizeof *y);
		else for (size_t r = 0; r < rows; r++) y[r] = from[r] + bias[r0 + r];
	}
}

static void norm_heads(const struct decoder *d, const float *w, float *x, size_t heads)
{
	size_t hd = d->info.head_dim;
	for (size_t h = 0; w && h < heads; h++) d->ops->norm(x + h * hd, w, hd, d->eps, x + h * hd);
}

static void item_rope(struct decoder *d, size_t t, float *scratch)
{
	const struct layer *l = &d->layers[d->layer];
	const struct rope *rope = d->cache.slides[d->layer] ? &d->rope_slides : &d->rope;
	size_t pos = d->pos[t], hd = d->info.head_dim;
	float *q = d->q + t * d->q_dim, *k = d->k + t * d->kv_dim, *v = d->v + t * d->kv_dim;
	(void)scratch;
	norm_heads(d, l->q_norm, q, d->info.heads);
	norm_heads(d, l->k_norm, k, d->info.kv_heads);
	rope_turn(rope, q, d->info.heads, hd, pos);
	rope_turn(rope, k, d->info.kv_heads, hd, pos);
	for (size_t h = 0; h < d->info.kv_heads; h++) {
		d->ops->halves(k + h * hd, hd, kvseq_key(&d->cache, d->rows[t].seq, d->layer, h, pos));
		d->ops->halves(v + h * hd, hd, kvseq_value(&d->cache, d->rows[t].seq, d->layer, h, pos));
	}
}

/* A run of rows and a part of the query heads that share a head of keys; runs with most keys first. */
static void item_attend(struct decoder *d, size_t i, float *scratch)
{
	const size_t group = d->info.heads / d->info.kv_heads, hd = d->info.head_dim, items = d->info.kv_heads * d->head_parts;
	const struct run *r = &d->runs[d->run_n - 1 - i / items];
	const size_t kvh = i % items / d->head_parts, part = i % d->head_parts, h = group * part / d->head_parts,
		heads = group * (part + 1) / d->head_parts - h, from = (kvh * group + h) * hd, at = r->row * d->q_dim + from;
	const struct ops_pages kv = kvseq_pages(&d->cache, d->rows[r->row].seq, d->layer, kvh);
	const struct ops_attend a = { .q = d->q + at, .ldq = d->q_dim, .tokens = r->n, .heads = heads, .head_dim = hd,
		.pos = d->pos[r->row], .window = d->cache.slides[d->layer] ? d->window : 0, .kv = &kv, .scale = d->scale,
		.out = d->mix + at, .ldo = d->q_dim };
	(d->prompt ? d->ops->prompt_attend : d->ops->attend)(&a, scratch);
	for (size_t t = 0; d->parts && t < r->n; t++)
		activate_part(d, d->mix + at + t * d->q_dim, from, heads * hd, d->q_dim, r->row + t, d->act);
}

static void item_mix(struct decoder *d, size_t t, float *scratch)
{
	(void)scratch;
	activate(d, d->mix, d->q_dim, t, d->act);
}

/* Tile i of a linear onto the residual, unless a norm of the whole vector comes between (item_attn_post, item_ffn_post). */
static void add_tile(struct decoder *d, const struct linear *l, size_t i, const float *x, const uint8_t *act, float *scratch)
{
	const size_t dim = d->info.dim, ld = tile_ld(d, dim), r0 = i * tile_rows(d, dim);
	float *tile = tile_of(d, scratch, 0);
	size_t rows = multiply(d, l, i, x, act, d->n, tile, ld, scratch);
	for (size_t t = 0; t < d->n; t++) {
		float *to = d->x + t * dim + r0;
		if (d->arch->gemma) memcpy(d->proj + t * dim + r0, tile + t * ld, rows * sizeof *tile);
		else for (size_t r = 0; r < rows; r++) to[r] += tile[t * ld + r];
	}
}

static void add_normed(struct decoder *d, size_t t, const float *w)
{
	size_t dim = d->info.dim;
	float *x = d->x + t * dim, *proj = d->proj + t * dim;
	d->ops->norm(proj, w, dim, d->eps, proj);
	for (size_t i = 0; i < dim; i++) x[i] += proj[i];
}

static void item_attn_post(struct decoder *d, size_t t, float *scratch)
{
	(void)scratch;
	add_normed(d, t, d->layers[d->layer].attn_post);
}

static void item_ffn_post(struct decoder *d, size_t t, float *scratch)
{
	(void)scratch;
	add_normed(d, t, d->layers[d->layer].ffn_post);
}

static void item_out(struct decoder *d, size_t i, float *scratch)
{
	add_tile(d, &d->layers[d->layer].o, i, d->mix, d->act, scratch);
}

/* The floats are kept only where something wants them: weights in floats, an adapter. */
static void item_gate_up(struct decoder *d, size_t i, float *scratch)
{
	const struct layer *l = &d->layers[d->layer];
	const size_t ff = d->info.ff, ld = tile_ld(d, ff), r0 = i * tile_rows(d, ff);
	const int keep = !l->down.packed.data || l->down.lora;
	float *gate = tile_of(d, scratch, 0), *up = tile_of(d, scratch, 1);
	size_t rows = multiply(d, &l->gate, i, d->norm, d->act, d->n, gate, ld, scratch);
	multiply(d, &l->up, i, d->norm, d->act, d->n, up, ld, scratch);
	for (size_t t = 0; t < d->n; t++, gate += ld, up += ld) {
		d->gate_mul(gate, up, rows, gate);
		activate_part(d, gate, r0, rows, ff, t, d->act_ff);
		if (keep) memcpy(d->gate + t * ff + r0, gate, rows * sizeof *gate);
	}
}

static void item_down(struct decoder *d, size_t i, float *scratch)
{
	add_tile(d, &d->layers[d->layer].down, i, d->gate, d->act_ff, scratch);
}

static void item_logits(struct decoder *d, size_t i, float *scratch)
{
	multiply(d, &d->output, i, d->norm, d->act, d->want, d->logits + i * tile_rows(d, d->info.vocab),
		d->info.vocab, scratch);
}

/* Query heads that share keys are one item, which reads the keys once, unless some members would have none. */
static size_t head_parts(const struct decoder *d)
{
	size_t group = d->info.heads / d->info.kv_heads, items = d->run_n * d->info.kv_heads;
	size_t parts = ((size_t)team_size(d->team) + items - 1) / items;
	return parts < group ? parts : group;
}

/* The rows' positions and embeddings; their sequences grow by them. */
static void begin_rows(struct decoder *d, const struct decoder_row *rows, size_t n)
{
	size_t dim = d->info.dim;
	d->rows = rows;
	d->n = n;
	d->want = d->run_n = 0;
	for (size_t t = 0; t < n; t++) {
		struct kvseq *s = rows[t].seq;
		d->pos[t] = s->len;
		s->ids[s->len++] = rows[t].id;
		d->want += rows[t].want != 0;
		if (t == 0 || rows[t - 1].seq != s || d->runs[d->run_n - 1].n == ATTEND_TOKENS)
			d->runs[d->run_n++] = (struct run){ t, 0 };
		d->runs[d->run_n - 1].n++;
		quant_row(d->embed.type, d->embed.data + (size_t)rows[t].id * d->embed.row_bytes, dim, d->x + t * dim);
		for (size_t i = 0; d->arch->gemma && i < dim; i++) d->x[t * dim + i] *= d->embed_scale;
	}
	d->head_parts = head_parts(d);
}

static void run_layer(struct decoder *d)
{
	const struct decoder_info *f = &d->info;
	const struct layer *l = &d->layers[d->layer];
	size_t n = d->n;
	run_stage(d, n, item_attn_norm);
	run_low(d, (const struct linear *[]){ &l->q, &l->k, &l->v }, 3, d->norm, n);
	run_stage(d, tiles(d, d->q_dim) + 2 * tiles(d, d->kv_dim), item_qkv);
	run_stage(d, n, item_rope);
	run_stage(d, d->run_n * f->kv_heads * d->head_parts, item_attend);
	if (d->ops->mul && !d->parts) run_stage(d, n, item_mix);
	run_low(d, (const struct linear *[]){ &l->o }, 1, d->mix, n);
	run_stage(d, tiles(d, f->dim), item_out);
	if (d->arch->gemma) run_stage(d, n, item_attn_post);
	run_stage(d, n, item_ffn_norm);
	run_low(d, (const struct linear *[]){ &l->gate, &l->up }, 2, d->norm, n);
	run_stage(d, tiles(d, f->ff), item_gate_up);
	run_low(d, (const struct linear *[]){ &l->down }, 1, d->gate, n);
	run_stage(d, tiles(d, f->dim), item_down);
	if (d->arch->gemma) run_stage(d, n, item_ffn_post);
}

void decoder_eval(struct decoder *d, enum decoder_phase phase, const struct decoder_row *rows, size_t n, float *logits)
{
	const struct decoder_info *f = &d->info;
	d->prompt = phase == PHASE_PROMPT && decoder_phases_differ(d);
	d->parts = d->ops->mul && f->head_dim % PACK_GROUP == 0;
	d->logits = logits;
	begin_rows(d, rows, n);
	for (d->layer = 0; d->layer < f->layers; d->layer++) run_layer(d);
	if (d->want == 0) return;
	d->prompt = 0;                           /* few rows */
	for (size_t t = 0, w = 0; t < n; t++) {
		if (!rows[t].want) continue;
		d->ops->norm(d->x + t * f->dim, d->output_norm, f->dim, d->eps, d->norm + w * f->dim);
		activate(d, d->norm, f->dim, w++, d->act);
	}
	run_low(d, (const struct linear *[]){ &d->output }, 1, d->norm, d->want);
	run_stage(d, tiles(d, f->vocab), item_logits);
}
