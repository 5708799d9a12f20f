/* gguf_make.c: owns the writer of test GGUF files (ggml docs/gguf.md), the plain encoders of weight types, and the
 * tensors of the architectures. Encoders round to the nearest step and look for no better scale: tests compare what
 * was stored, not what went in. Matrices of real models' sizes are made as they lie in the file: random bits, and scales
 * put into each block (gguf_fill.c). Threads: one. Failure: ends the test. */
#include "tests/gguf_make.h"
#include <math.h>
#include <stdlib.h>
#include "base/file.h"
#include "base/mem.h"
#include "tests/gguf_fill.h"
#include "nn/gguf.h"
#include "nn/quant.h"
#include "tests/test.h"

/* Where matrices of gguf_make_random begin: behind all other data, with nothing between. */
enum { ALIGN = 32, FILE_MAX_BYTES = 1 << 29, ROOMS_MAX = 4096, ROOMS_AT = 1 << 24 };

/* --- the file --- */
static void put_u32(struct buf *b, uint32_t v) { buf_put(b, &v, 4); }
static void put_u64(struct buf *b, uint64_t v) { buf_put(b, &v, 8); }
static void put_str(struct buf *b, const char *s) { put_u64(b, strlen(s)); buf_puts(b, s); }

void gguf_make_begin(struct gguf_make *m)
{
	*m = (struct gguf_make){ 0 };
	buf_init(&m->keys, FILE_MAX_BYTES);
	buf_init(&m->tensors, FILE_MAX_BYTES);
	buf_init(&m->data, FILE_MAX_BYTES);
}

static struct buf *put_key(struct gguf_make *m, const char *key, uint32_t type)
{
	m->key_n++;
	put_str(&m->keys, key);
	put_u32(&m->keys, type);
	return &m->keys;
}

void gguf_make_str(struct gguf_make *m, const char *key, const char *value)
{
	put_str(put_key(m, key, GGUF_STR), value);
}

void gguf_make_u32(struct gguf_make *m, const char *key, uint32_t value)
{
	put_u32(put_key(m, key, GGUF_U32), value);
}

void gguf_make_f32(struct gguf_make *m, const char *key, float value)
{
	buf_put(put_key(m, key, GGUF_F32), &value, 4);
}

void gguf_make_bool(struct gguf_make *m, const char *key, int value)
{
	buf_putc(put_key(m, key, GGUF_BOOL), (char)value);
}

void gguf_make_strs(struct gguf_make *m, const char *key, const char *const *values, size_t n)
{
	struct buf *b = put_key(m, key, GGUF_ARRAY);
	put_u32(b, GGUF_STR);
	put_u64(b, n);
	for (size_t i = 0; i < n; i++) put_str(b, values[i]);
}

void gguf_make_array(struct gguf_make *m, const char *key, uint32_t type, const void *values, size_t n)
{
	struct buf *b = put_key(m, key, GGUF_ARRAY);
	put_u32(b, type);
	put_u64(b, n);
	if (n) buf_put(b, values, 4 * n);
}

static void pad(struct buf *b)
{
	while (b->len % ALIGN) buf_putc(b, 0);
}

void gguf_make_tensor(struct gguf_make *m, const char *name, uint32_t type, size_t k, size_t rows, const float *w)
{
	m->tensor_n++;
	put_str(&m->tensors, name);
	put_u32(&m->tensors, rows ? 2 : 1);
	put_u64(&m->tensors, k);
	if (rows) put_u64(&m->tensors, rows);
	put_u32(&m->tensors, type);
	pad(&m->data);
	put_u64(&m->tensors, m->data.len);
	quant_encode(type, w, k * (rows ? rows : 1), &m->data);
}

void gguf_make_random(struct gguf_make *m, const char *name, uint32_t type, size_t k, size_t rows, uint64_t seed)
{
	const uint64_t bytes = quant_row_bytes(type, k) * rows, whole = (bytes + ALIGN - 1) / ALIGN * ALIGN;
	if (!m->rooms) m->rooms = mem_calloc(ROOMS_MAX, sizeof *m->rooms);
	CHECK(m->rooms && m->room_n < ROOMS_MAX);
	m->tensor_n++;
	put_str(&m->tensors, name);
	put_u32(&m->tensors, 2);
	put_u64(&m->tensors, k);
	put_u64(&m->tensors, rows);
	put_u32(&m->tensors, type);
	put_u64(&m->tensors, ROOMS_AT + m->room_bytes);
	m->rooms[m->room_n] = (struct gguf_room){ type, k, bytes, seed + m->room_n };
	m->room_n++;
	m->room_bytes += whole;
}

/* What stands in memory, then the matrices, which are made where they lie. */
static void write_large(const struct gguf_make *m, const struct buf *all, size_t data_at, const char *path)
{
	uint64_t at = data_at + ROOMS_AT;
	struct gguf_fill f;
	CHECK(m->data.len <= ROOMS_AT);
	gguf_fill_open(&f, path, at + m->room_bytes);
	gguf_fill_put(&f, all->data, all->len);
	for (size_t i = 0; i < m->room_n; i++) {
		gguf_fill_matrix(&f, at, m->rooms[i].type, m->rooms[i].k, m->rooms[i].bytes, m->rooms[i].seed);
		at += (m->rooms[i].bytes + ALIGN - 1) / ALIGN * ALIGN;
	}
	gguf_fill_close(&f);
}

void gguf_make_write(struct gguf_make *m, const char *path)
{
	struct buf all;
	size_t data_at;
	struct err e;
	buf_init(&all, FILE_MAX_BYTES);
	buf_puts(&all, "GGUF");
	put_u32(&all, 3);
	put_u64(&all, m->tensor_n);
	put_u64(&all, m->key_n);
	buf_put(&all, buf_cstr(&m->keys), m->keys.len);
	buf_put(&all, buf_cstr(&m->tensors), m->tensors.len);
	pad(&all);
	data_at = all.len;
	buf_put(&all, buf_cstr(&m->data), m->data.len);
	CHECK(!buf_failed(&all) && !buf_failed(&m->keys) && !buf_failed(&m->tensors) && !buf_failed(&m->data));
	if (m->room_n) write_large(m, &all, data_at, path);
	else CHECK_OK(file_write_atomic(path, all.data, all.len, &e), e);
	mem_free(m->rooms);
	buf_clear(&all);
	buf_clear(&m->keys);
	buf_clear(&m->tensors);
	buf_clear(&m->data);
}

/* --- weights --- */
static uint16_t half_of(float f)
{
	_Float16 h = (_Float16)f;
	uint16_t bits;
	memcpy(&bits, &h, 2);
	return bits;
}

static int step_of(float x, float d, int low, int high)
{
	long q = d > 0 ? lrintf(x / d) : 0;
	return q < low ? low : q > high ? high : (int)q;
}

static void range_of(const float *w, size_t n, float *low, float *high)
{
	*low = *high = w[0];
	for (size_t i = 1; i < n; i++) {
		if (w[i] < *low) *low = w[i];
		if (w[i] > *high) *high = w[i];
	}
}

static float reach_of(const float *w, size_t n)
{
	float low, high;
	range_of(w, n, &low, &high);
	return -low > high ? -low : high;
}

static uint16_t bf16_of(float f) /* to the nearest, ties to even; f is finite */
{
	uint32_t bits;
	memcpy(&bits, &f, sizeof bits);
	return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static void encode_q4_0(const float *w, struct buf *out)
{
	struct block_q4_0 b;
	float d = reach_of(w, 32) / 7;
	b.d = half_of(d);
	for (int i = 0; i < 16; i++)
		b.qs[i] = (uint8_t)((step_of(w[i], d, -8, 7) + 8) | (step_of(w[i + 16], d, -8, 7) + 8) << 4);
	buf_put(out, &b, sizeof b);
}

static void encode_q5_1(const float *w, struct buf *out)
{
	struct block_q5_1 b = { 0 };
	float low, high, d;
	range_of(w, 32, &low, &high);
	d = (high - low) / 31;
	b.d = half_of(d);
	b.m = half_of(low);
	for (int i = 0; i < 32; i++) {
		int q = step_of(w[i] - low, d, 0, 31);
		b.qs[i % 16] |= (uint8_t)((q & 15) << (i < 16 ? 0 : 4));
		b.qh[i / 8] |= (uint8_t)((q >> 4) << i % 8);
	}
	buf_put(out, &b, sizeof b);
}

static void encode_q4_1(const float *w, struct buf *out)
{
	struct block_q4_1 b;
	float low, high, d;
	range_of(w, 32, &low, &high);
	d = (high - low) / 15;
	b.d = half_of(d);
	b.m = half_of(low);
	for (int i = 0; i < 16; i++)
		b.qs[i] = (uint8_t)(step_of(w[i] - low, d, 0, 15) | step_of(w[i + 16] - low, d, 0, 15) << 4);
	buf_put(out, &b, sizeof b);
}

static void encode_q5_0(const float *w, struct buf *out)
{
	struct block_q5_0 b = { 0 };
	float d = reach_of(w, 32) / 15;
	b.d = half_of(d);
	for (int i = 0; i < 32; i++) {
		int q = step_of(w[i], d, -16, 15) + 16;
		b.qs[i % 16] |= (uint8_t)((q & 15) << (i < 16 ? 0 : 4));
		b.qh[i / 8] |= (uint8_t)((q >> 4) << i % 8);
	}
	buf_put(out, &b, sizeof b);
}

static void encode_q8_0(const float *w, struct buf *out)
{
	struct block_q8_0 b;
	float d = reach_of(w, 32) / 127;
	b.d = half_of(d);
	for (int i = 0; i < 32; i++) b.qs[i] = (int8_t)step_of(w[i], d, -127, 127);
	buf_put(out, &b, sizeof b);
}

/* Scales and mins of the eight parts, 6 bits each, as Q4_K lays them (quant_q4_k_scale reads them). */
static void pack_k_scales(const int scale[8], const int min[8], uint8_t out[12])
{
	for (int j = 0; j < 4; j++) {
		out[j] = (uint8_t)(scale[j] | scale[j + 4] >> 4 << 6);
		out[j + 4] = (uint8_t)(min[j] | min[j + 4] >> 4 << 6);
		out[j + 8] = (uint8_t)((scale[j + 4] & 15) | (min[j + 4] & 15) << 4);
	}
}

/* Q4_K and Q5_K differ in the steps of a weight, 15 or 31, and in where the fifth bit goes. */
struct k_block { uint16_t d, dmin; uint8_t scales[12], q[256]; };

static void encode_k(const float *w, int steps, struct k_block *b)
{
	float d[8], m[8], d_max, m_max;
	int scale[8], min[8];
	for (int j = 0; j < 8; j++) {
		float low, high;
		range_of(w + 32 * j, 32, &low, &high);
		m[j] = low < 0 ? -low : 0;
		d[j] = (high + m[j]) / (float)steps;
	}
	d_max = reach_of(d, 8) / 63;
	m_max = reach_of(m, 8) / 63;
	b->d = half_of(d_max);
	b->dmin = half_of(m_max);
	for (int j = 0; j < 8; j++) {
		scale[j] = step_of(d[j], d_max, 0, 63);
		min[j] = step_of(m[j], m_max, 0, 63);
		for (int i = 0; i < 32; i++)
			b->q[32 * j + i] = (uint8_t)step_of(w[32 * j + i] + m_max * (float)min[j], d_max * (float)scale[j], 0, steps);
	}
	pack_k_scales(scale, min, b->scales);
}

static void encode_q4_k(const float *w, struct buf *out)
{
	struct block_q4_k b = { 0 };
	struct k_block k;
	encode_k(w, 15, &k);
	b.d = k.d;
	b.dmin = k.dmin;
	memcpy(b.scales, k.scales, sizeof b.scales);
	for (int i = 0; i < 256; i++) b.qs[i / 64 * 32 + i % 32] |= (uint8_t)(k.q[i] << i / 32 % 2 * 4);
	buf_put(out, &b, sizeof b);
}

static void encode_q5_k(const float *w, struct buf *out)
{
	struct block_q5_k b = { 0 };
	struct k_block k;
	encode_k(w, 31, &k);
	b.d = k.d;
	b.dmin = k.dmin;
	memcpy(b.scales, k.scales, sizeof b.scales);
	for (int i = 0; i < 256; i++) {
		b.qs[i / 64 * 32 + i % 32] |= (uint8_t)((k.q[i] & 15) << i / 32 % 2 * 4);
		b.qh[i % 32] |= (uint8_t)((k.q[i] >> 4) << i / 32);
	}
	buf_put(out, &b, sizeof b);
}

static void encode_q6_k(const float *w, struct buf *out)
{
	struct block_q6_k b = { 0 };
	float d[16], top;
	for (int j = 0; j < 16; j++) d[j] = reach_of(w + 16 * j, 16) / 31;
	top = reach_of(d, 16) / 127;
	b.d = half_of(top);
	for (int j = 0; j < 16; j++) b.scales[j] = (int8_t)step_of(d[j], top, 0, 127);
	for (int i = 0; i < 256; i++) {
		int q = step_of(w[i], top * (float)b.scales[i / 16], -32, 31) + 32;
		int half = i / 128, quarter = i % 128 / 32, l = i % 32;
		b.ql[half * 64 + quarter % 2 * 32 + l] |= (uint8_t)((q & 15) << quarter / 2 * 4);
		b.qh[half * 32 + l] |= (uint8_t)((q >> 4) << quarter * 2);
	}
	buf_put(out, &b, sizeof b);
}

void quant_encode(uint32_t type, const float *w, size_t n, struct buf *out)
{
	if (type == QUANT_F32) {
		buf_put(out, w, n * sizeof *w);
		return;
	}
	for (size_t i = 0; i < n; i += quant_block_weights(type))
		switch (type) {
		case QUANT_F16: buf_put(out, &(uint16_t){ half_of(w[i]) }, 2); break;
		case QUANT_BF16: buf_put(out, &(uint16_t){ bf16_of(w[i]) }, 2); break;
		case QUANT_Q4_0: encode_q4_0(w + i, out); break;
		case QUANT_Q4_1: encode_q4_1(w + i, out); break;
		case QUANT_Q5_0: encode_q5_0(w + i, out); break;
		case QUANT_Q5_1: encode_q5_1(w + i, out); break;
		case QUANT_Q8_0: encode_q8_0(w + i, out); break;
		case QUANT_Q4_K: encode_q4_k(w + i, out); break;
		case QUANT_Q5_K: encode_q5_k(w + i, out); break;
		case QUANT_Q6_K: encode_q6_k(w + i, out); break;
		default: test_fail(__FILE__, __LINE__, "no encoder for type %u", type);
		}
}

void random_weights(uint64_t seed, const char *name, size_t n, float sd, float *out)
{
	uint64_t s = 0xcbf29ce484222325u ^ seed;
	for (; *name; name++) s = (s ^ (uint8_t)*name) * 0x100000001b3u;
	for (size_t i = 0; i < n; i++) {
		double sum = 0;
		for (int k = 0; k < 4; k++) { /* xorshift64; four uniforms make a bell, near enough */
			s ^= s << 13;
			s ^= s >> 7;
			s ^= s << 17;
			sum += (double)(s >> 40) * 0x1p-24 - 0.5;
		}
		out[i] = (float)(sum * sqrt(3)) * sd;
	}
}

/* --- whole models --- */
static int is_arch(const struct model_spec *s, const char *arch)
{
	return strcmp(s->arch, arch) == 0;
}

struct model_spec model_spec_of(const char *arch)
{
	struct model_spec s = { .arch = arch, .layers = 3, .dim = 256, .ff = 512, .heads = 5, .kv_heads = 1, .head_dim = 64,
		.vocab = 320, .context = 256, .seed = 1 };
	if (is_arch(&s, "gemma3")) {
		s.layers = 7; /* six with a window and a global one; the pattern's own length */
		s.window = 16;
		s.rope_base = 1e6f;
	}
	return s;
}

int model_matrix(const struct model_spec *s, const char *name, size_t *k, size_t *rows)
{
	const size_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
	const struct { const char *name; size_t k, rows; } all[] = {
		{ "attn_q", s->dim, q }, { "attn_k", s->dim, kv }, { "attn_v", s->dim, kv }, { "attn_output", q, s->dim },
		{ "ffn_gate", s->dim, s->ff }, { "ffn_up", s->dim, s->ff }, { "ffn_down", s->ff, s->dim },
		{ "token_embd", s->dim, s->vocab }, { "output", s->dim, s->vocab },
	};
	const char *last = strrchr(name, '.');
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (strcmp(all[i].name, last ? last + 1 : name) == 0) {
			*k = all[i].k;
			*rows = all[i].rows;
			return 1;
		}
	return 0;
}

static void put_matrix(struct gguf_make *m, const struct model_spec *s, const char *name, uint32_t type)
{
	char full[96];
	size_t k, rows;
	float *w;
	CHECK(model_matrix(s, name, &k, &rows));
	snprintf(full, sizeof full, "%s.weight", name);
	if (s->large) {
		gguf_make_random(m, full, type, k, rows, s->seed << 16);
		return;
	}
	w = mem_alloc(k * rows * sizeof *w);
	random_weights(s->seed, full, k * rows, 1 / sqrtf((float)k), w);
	gguf_make_tensor(m, full, type, k, rows, w);
	mem_free(w);
}

static void put_vector(struct gguf_make *m, const struct model_spec *s, const char *name, size_t n, float mean, float sd)
{
	float *w = mem_alloc(n * sizeof *w);
	random_weights(s->seed, name, n, sd, w);
	for (size_t i = 0; i < n; i++) w[i] += mean;
	gguf_make_tensor(m, name, QUANT_F32, n, 0, w);
	mem_free(w);
}

static void put_layer(struct gguf_make *m, const struct model_spec *s, size_t layer)
{
	static const char *const matrices[] = { "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up",
		"ffn_down" };
	const size_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
	const int qwen2 = is_arch(s, "qwen2"), gemma = is_arch(s, "gemma3"), normed = gemma || is_arch(s, "qwen3");
	const struct { const char *name; size_t n; float mean; int there; } vectors[] = {
		{ "attn_norm.weight", s->dim, 1, 1 }, { "ffn_norm.weight", s->dim, 1, 1 },
		{ "attn_q.bias", q, 0, qwen2 }, { "attn_k.bias", kv, 0, qwen2 }, { "attn_v.bias", kv, 0, qwen2 },
		{ "attn_q_norm.weight", s->head_dim, 1, normed }, { "attn_k_norm.weight", s->head_dim, 1, normed },
		{ "post_attention_norm.weight", s->dim, 1, gemma }, { "post_ffw_norm.weight", s->dim, 1, gemma },
	};
	char name[96];
	for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++) {
		snprintf(name, sizeof name, "blk.%zu.%s", layer, matrices[i]);
		put_matrix(m, s, name, s->type);
	}
	for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
		if (!vectors[i].there) continue;
		snprintf(name, sizeof name, "blk.%zu.%s", layer, vectors[i].name);
		put_vector(m, s, name, vectors[i].n, vectors[i].mean, 0.2f);
	}
}

static void put_sizes(struct gguf_make *m, const struct model_spec *s)
{
	const struct { const char *name; size_t v; } sizes[] = { { "block_count", s->layers },
		{ "context_length", s->context }, { "embedding_length", s->dim }, { "feed_forward_length", s->ff },
		{ "attention.head_count", s->heads }, { "attention.head_count_kv", s->kv_heads },
		{ "attention.key_length", s->head_dim }, { "attention.value_length", s->head_dim },
		{ "attention.sliding_window", s->window }, { "attention.sliding_window_pattern", s->pattern } };
	char key[96];
	gguf_make_str(m, "general.architecture", s->arch);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		snprintf(key, sizeof key, "%s.%s", s->arch, sizes[i].name);
		if (sizes[i].v) gguf_make_u32(m, key, (uint32_t)sizes[i].v);
	}
	snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", s->arch);
	gguf_make_f32(m, key, 1e-6f);
	snprintf(key, sizeof key, "%s.rope.freq_base", s->arch);
	if (s->rope_base != 0) gguf_make_f32(m, key, s->rope_base);
	if (s->rope_linear == 0) return;
	snprintf(key, sizeof key, "%s.rope.scaling.type", s->arch);
	gguf_make_str(m, key, "linear");
	snprintf(key, sizeof key, "%s.rope.scaling.factor", s->arch);
	gguf_make_f32(m, key, s->rope_linear);
}

/* GPT-2's visible character of a byte. */
static void spell_byte(int byte, char out[4])
{
	int cp = byte, shifted = 256;
	for (int b = 0; b <= byte; b++)
		if (!((b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174)) cp = b == byte ? shifted : cp, shifted++;
	if (cp < 128) snprintf(out, 4, "%c", cp);
	else snprintf(out, 4, "%c%c", 0xc0 | cp >> 6, 0x80 | (cp & 63));
}

void gguf_make_tokenizer(struct gguf_make *m, const char *const *control, size_t n, size_t vocab)
{
	char (*text)[32] = mem_calloc(vocab, sizeof *text);
	const char **all = mem_calloc(vocab, sizeof *all);
	int32_t *types = mem_calloc(vocab, sizeof *types);
	CHECK(vocab >= 256 + n);
	for (size_t i = 0; i < vocab; i++) {
		if (i < 256) spell_byte((int)i, text[i]);
		else if (i < 256 + n) snprintf(text[i], sizeof text[i], "%s", control[i - 256]);
		else snprintf(text[i], sizeof text[i], "<filler%u>", (unsigned)i);
		all[i] = text[i];
		types[i] = i < 256 ? 1 : i < 256 + n ? 3 : 5;
	}
	gguf_make_str(m, "tokenizer.ggml.model", "gpt2");
	gguf_make_str(m, "tokenizer.ggml.pre", "qwen2");
	gguf_make_strs(m, "tokenizer.ggml.tokens", all, vocab);
	gguf_make_array(m, "tokenizer.ggml.token_type", GGUF_I32, types, vocab);
	gguf_make_strs(m, "tokenizer.ggml.merges", NULL, 0);
	gguf_make_u32(m, "tokenizer.ggml.eos_token_id", 256);
	mem_free(text);
	mem_free(all);
	mem_free(types);
}

void gguf_make_spm(struct gguf_make *m, size_t vocab)
{
	static const char *const first[] = { "<unk>", "<s>", "</s>" };
	char (*text)[32] = mem_calloc(vocab, sizeof *text);
	const char **all = mem_calloc(vocab, sizeof *all);
	int32_t *types = mem_calloc(vocab, sizeof *types);
	float *scores = mem_calloc(vocab, sizeof *scores);
	CHECK(vocab >= 311);
	for (size_t i = 0; i < vocab; i++) {
		if (i < 3) snprintf(text[i], sizeof text[i], "%s", first[i]);
		else if (i < 259) snprintf(text[i], sizeof text[i], "<0x%02X>", (unsigned)(i - 3));
		else if (i < 311) snprintf(text[i], sizeof text[i], "%s%c", i < 285 ? "" : "\xe2\x96\x81", (char)('a' + (i - 259) % 26));
		else snprintf(text[i], sizeof text[i], "<filler%u>", (unsigned)i);
		all[i] = text[i];
		types[i] = i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : i < 311 ? 1 : 5;
		scores[i] = -(float)i;
	}
	gguf_make_str(m, "tokenizer.ggml.model", "llama");
	gguf_make_strs(m, "tokenizer.ggml.tokens", all, vocab);
	gguf_make_array(m, "tokenizer.ggml.token_type", GGUF_I32, types, vocab);
	gguf_make_array(m, "tokenizer.ggml.scores", GGUF_F32, scores, vocab);
	gguf_make_u32(m, "tokenizer.ggml.bos_token_id", 1);
	gguf_make_u32(m, "tokenizer.ggml.eos_token_id", 2);
	mem_free(text);
	mem_free(all);
	mem_free(types);
	mem_free(scores);
}

void model_make(const struct model_spec *s, const char *path)
{
	static const char *const control[] = { "<|endoftext|>", "<|im_start|>", "<|im_end|>" };
	struct gguf_make m;
	gguf_make_begin(&m);
	put_sizes(&m, s);
	if (s->spm) gguf_make_spm(&m, s->vocab);
	else gguf_make_tokenizer(&m, control, 3, s->vocab);
	put_matrix(&m, s, "token_embd", s->embed_type);
	put_vector(&m, s, "output_norm.weight", s->dim, 1, 0.2f);
	if (s->untied) put_matrix(&m, s, "output", s->embed_type);
	if (s->rope_factors) put_vector(&m, s, "rope_freqs.weight", s->head_dim / 2, 3, 0.8f);
	for (size_t i = 0; i < s->layers; i++) put_layer(&m, s, i);
	gguf_make_write(&m, path);
}
