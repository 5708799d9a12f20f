/* encoder.c: owns the weights of one encoder, the spaces that runs happen in, and the choice between CPU and GPU.
 *
 * Weights are read a layer at a time; for int8 each layer is packed at once and its floats go, and for a GPU each is sent there. The
 * kinds of run are encoder8.c, encoder32.c and encoder_gpu.c. A run that the GPU takes is never cut; the CPU takes as many texts
 * at once as its space has rows for. Where a GPU is not a must, whatever it fails at ends with a line in the log, and the CPU
 * computes instead: its weights are kept beside those on the GPU.
 * Threads: immutable after open but for `lost`, which a run sets, and `why` before it. Failure: at open, which names the tensor; shapes are compared with config.json
 * before anything of that size is allocated; later only a GPU's. */
#include "embed/encoder.h"
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "embed/encoder_inside.h"

enum { ALIGN = 64, NAME_BYTES = 128, SLICE_TEXTS = 512 };

/* What loading needs to know; `prefix` is what stands before "embeddings." and "encoder." */
struct load {
	const struct safetensors *file;
	const char *prefix;
	int gamma_beta;                        /* norms' tensors are called so */
	struct err *e;
};

float *floats_new(size_t n)
{
	size_t bytes, whole;
	if (__builtin_mul_overflow(n, sizeof(float), &bytes) || bytes > SIZE_MAX - ALIGN) return NULL;
	whole = (bytes + ALIGN - 1) / ALIGN * ALIGN;
	float *p = mem_aligned(ALIGN, whole);
	if (p) memset((char *)p + bytes, 0, whole - bytes);
	return p;
}

/* Loads `parts` tensors of the same shape (rows, columns; columns 0: a vector) one after the other into a new *out.
 * Part i is called names[i] under layer `layer` (-1: no layer). */
static int tensors_load(struct load *l, int layer, const char *const *names, size_t parts, size_t rows, size_t columns,
	float **out)
{
	const struct safetensor *t[3];
	size_t shape[2] = {rows, columns}, each = rows * (columns ? columns : 1);
	char name[NAME_BYTES];
	int rc = OK;
	for (size_t i = 0; i < parts && rc == OK; i++) {
		if (layer < 0) snprintf(name, sizeof name, "%s%s", l->prefix, names[i]);
		else snprintf(name, sizeof name, "%sencoder.layer.%d.%s", l->prefix, layer, names[i]);
		rc = safetensors_expect(l->file, name, columns ? 2 : 1, shape, &t[i], l->e);
	}
	if (rc != OK) return rc;
	*out = floats_new(parts * each);
	if (!*out) return err_set(l->e, E_MEMORY, "tensor %s: %zu floats", name, parts * each);
	for (size_t i = 0; i < parts && rc == OK; i++) rc = safetensors_floats(l->file, t[i], *out + i * each, l->e);
	return rc;
}

static int tensor_load(struct load *l, int layer, const char *name, size_t rows, size_t columns, float **out)
{
	return tensors_load(l, layer, &name, 1, rows, columns, out);
}

static int linear_load(struct load *l, int layer, const char *name, int out, int in, struct linear *to)
{
	char w[NAME_BYTES], bias[NAME_BYTES];
	snprintf(w, sizeof w, "%s.weight", name);
	snprintf(bias, sizeof bias, "%s.bias", name);
	int rc = tensor_load(l, layer, w, (size_t)out, (size_t)in, &to->w);
	return rc == OK ? tensor_load(l, layer, bias, (size_t)out, 0, &to->bias) : rc;
}

/* The oldest files say gamma and beta where others say weight and bias. */
static int norm_load(struct load *l, int layer, const char *name, int dim, struct norm *to)
{
	char gamma[NAME_BYTES], beta[NAME_BYTES];
	snprintf(gamma, sizeof gamma, "%s.%s", name, l->gamma_beta ? "gamma" : "weight");
	snprintf(beta, sizeof beta, "%s.%s", name, l->gamma_beta ? "beta" : "bias");
	int rc = tensor_load(l, layer, gamma, (size_t)dim, 0, &to->gamma);
	return rc == OK ? tensor_load(l, layer, beta, (size_t)dim, 0, &to->beta) : rc;
}

static int layer_load(struct load *l, const struct encoder_shape *s, int i, struct layer *y)
{
	static const char *const qkv_w[] = {"attention.self.query.weight", "attention.self.key.weight",
		"attention.self.value.weight"};
	static const char *const qkv_bias[] = {"attention.self.query.bias", "attention.self.key.bias",
		"attention.self.value.bias"};
	size_t h = (size_t)s->hidden;
	int rc = tensors_load(l, i, qkv_w, 3, h, h, &y->qkv.w);
	if (rc == OK) rc = tensors_load(l, i, qkv_bias, 3, h, 0, &y->qkv.bias);
	if (rc == OK) rc = linear_load(l, i, "attention.output.dense", s->hidden, s->hidden, &y->out);
	if (rc == OK) rc = norm_load(l, i, "attention.output.LayerNorm", s->hidden, &y->after_attention);
	if (rc == OK) rc = linear_load(l, i, "intermediate.dense", s->intermediate, s->hidden, &y->up);
	if (rc == OK) rc = linear_load(l, i, "output.dense", s->hidden, s->intermediate, &y->down);
	if (rc == OK) rc = norm_load(l, i, "output.LayerNorm", s->hidden, &y->after_feed);
	return rc;
}

static void linear_clear(struct linear *l)
{
	mem_free(l->w);
	mem_free(l->bias);
}

void norm_clear(struct norm *n)
{
	mem_free(n->gamma);
	mem_free(n->beta);
}

static void layer_clear(struct layer *y)
{
	linear_clear(&y->qkv);
	linear_clear(&y->out);
	linear_clear(&y->up);
	linear_clear(&y->down);
	norm_clear(&y->after_attention);
	norm_clear(&y->after_feed);
}

/* The rows of positions and of types are added once, here. */
static int positions_make(struct encoder *m, const float *positions, const float *types, struct err *e)
{
	size_t h = (size_t)m->s.hidden, all = (size_t)m->s.positions * h;
	size_t kinds = m->s.types < ENCODER_TYPES ? (size_t)m->s.types : ENCODER_TYPES;
	m->positions = floats_new(kinds * all);
	if (!m->positions) return err_set(e, E_MEMORY, "positions: %zu floats", kinds * all);
	for (size_t k = 0; k < kinds; k++)
		for (size_t i = 0; i < all; i++) m->positions[k * all + i] = positions[i] + types[k * h + i % h];
	return OK;
}

static int embeddings_load(struct encoder *m, struct load *l)
{
	const struct encoder_shape *s = &m->s;
	size_t h = (size_t)s->hidden;
	float *positions = NULL, *types = NULL;
	int rc = tensor_load(l, -1, "embeddings.word_embeddings.weight", (size_t)s->vocabulary, h, &m->words);
	if (rc == OK) rc = tensor_load(l, -1, "embeddings.position_embeddings.weight", (size_t)s->positions, h, &positions);
	if (rc == OK) rc = tensor_load(l, -1, "embeddings.token_type_embeddings.weight", (size_t)s->types, h, &types);
	if (rc == OK) rc = norm_load(l, -1, "embeddings.LayerNorm", s->hidden, &m->embedding_norm);
	if (rc == OK) rc = positions_make(m, positions, types, l->e);
	mem_free(positions);
	mem_free(types);
	return rc;
}

/* Layer i in int8. Room for all of them is made once the first has been seen to be as config.json says. */
static int layer_pack(struct encoder *m, int i, struct layer *floats, struct err *e)
{
	size_t each = layer8_bytes(&m->s), bytes;
	if (__builtin_mul_overflow(each, (size_t)m->s.layers, &bytes)) bytes = SIZE_MAX;
	if (!m->packed) m->packed = mem_huge(bytes);
	if (!m->packed) return err_set(e, E_MEMORY, "weights of %d layers: %zu bytes", m->s.layers, bytes);
	return layer8_pack(&m->layers8[i], &m->s, floats, m->packed + (size_t)i * each, e);
}

/* The GPU is done without, for what e says; or that is an error. */
static int gpu_drop(struct encoder *m, struct err *e)
{
	if (m->must) return err_wrap(e, "embed.device");
	log_put(LOG_WARN, "embed", "%s computes on the CPU: %s", m->name, e->msg);
	encoder_gpu_close(m->gpu);
	m->gpu = NULL;
	return OK;
}

static int layers_load(struct encoder *m, struct load *l)
{
	int rc = OK;
	for (int i = 0; i < m->s.layers && rc == OK; i++) {
		struct layer floats = {0}, *y = m->layers ? &m->layers[i] : &floats;
		rc = layer_load(l, &m->s, i, y);
		if (rc == OK && m->gpu && encoder_gpu_layer(m->gpu, &m->s, i, y, l->e) != OK) rc = gpu_drop(m, l->e);
		if (rc == OK && m->layers8) rc = layer_pack(m, i, y, l->e);
		layer_clear(&floats);
	}
	if (rc == OK && m->gpu && encoder_gpu_ready(m->gpu, l->e) != OK) rc = gpu_drop(m, l->e);
	return rc;
}

static int weights_load(struct encoder *m, const struct safetensors *file, struct err *e)
{
	static const char *const prefixes[] = {"bert.", "model.", "encoder.", "0.auto_model."};
	struct load l = {.file = file, .prefix = "", .e = e};
	char name[NAME_BYTES];
	for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
		snprintf(name, sizeof name, "%sembeddings.word_embeddings.weight", prefixes[i]);
		if (safetensors_find(file, name)) l.prefix = prefixes[i];
	}
	snprintf(name, sizeof name, "%sembeddings.LayerNorm.gamma", l.prefix);
	l.gamma_beta = safetensors_find(file, name) != NULL;
	int rc = embeddings_load(m, &l);
	if (rc == OK && m->gpu && encoder_gpu_embeddings(m->gpu, m, e) != OK) rc = gpu_drop(m, e);
	return rc == OK ? layers_load(m, &l) : rc;
}

int encoder_how_choose(struct encoder_how *out, const char *device, const char *kernel, const struct gpu_table *given, struct err *e)
{
	*out = (struct encoder_how){0};
	int rc = gpu_pick(&out->gpu, &out->must, device ? device : "cpu", given, e);
	if (rc != OK) return e ? err_wrap(e, "embed.device") : rc;
	if (!(kernel && strcmp(kernel, "ref") == 0)) rc = gemm8_choose(&out->kernel, kernel, e);
	if (!out->must && kernel && strcmp(kernel, "auto") != 0) out->gpu = NULL; /* who names a kernel means it */
	return rc;
}

/* Opens what the weights go into. */
static int places_open(struct encoder *m, const struct encoder_how *how, struct err *e)
{
	size_t layers = (size_t)m->s.layers;
	m->must = how->must;
	if (how->gpu && encoder_gpu_open(&m->gpu, how->gpu, &m->s, e) != OK && gpu_drop(m, e) != OK) return e->status;
	if (m->gpu && m->must) return OK;
	m->kernel = how->kernel;
	if (how->kernel) m->layers8 = mem_calloc(layers, sizeof *m->layers8);
	else m->layers = mem_calloc(layers, sizeof *m->layers);
	return m->layers || m->layers8 ? OK : err_set(e, E_MEMORY, "an encoder of %d layers", m->s.layers);
}

int encoder_open(struct encoder **out, const struct safetensors *weights, const struct encoder_shape *shape,
	const struct encoder_how *how, const char *name, struct err *e)
{
	int rc;
	struct encoder *m = mem_calloc(1, sizeof *m);
	*out = NULL;
	if (!m) return err_set(e, E_MEMORY, "an encoder of %d layers", shape->layers);
	m->s = *shape;
	snprintf(m->name, sizeof m->name, "%s", name);
	snprintf(m->device, sizeof m->device, "cpu");
	rc = places_open(m, how, e);
	if (rc == OK) rc = weights_load(m, weights, e);
	if (rc == OK) *out = m;
	else encoder_close(m);
	return rc;
}

void encoder_close(struct encoder *m)
{
	if (!m) return;
	encoder_gpu_close(m->gpu);
	for (int i = 0; m->layers && i < m->s.layers; i++) layer_clear(&m->layers[i]);
	for (int i = 0; m->layers8 && i < m->s.layers; i++) layer8_clear(&m->layers8[i]);
	mem_free(m->layers);
	mem_free(m->layers8);
	mem_free(m->packed);
	norm_clear(&m->embedding_norm);
	mem_free(m->words);
	mem_free(m->positions);
	mem_free(m);
}

int encoder_on_gpu(const struct encoder *m)
{
	return m->gpu && !atomic_load(&m->lost);
}

int encoder_lost(const struct encoder *m, struct err *e)
{
	if (!m->must || !atomic_load(&m->lost)) return OK;
	if (e) *e = m->why;
	return m->why.status;
}

const char *encoder_device(const struct encoder *m)
{
	return !m->must && atomic_load(&m->lost) ? "cpu" : m->device;
}

uint64_t encoder_device_bytes(const struct encoder *m)
{
	return !m->must && atomic_load(&m->lost) ? 0 : m->device_bytes;
}

const char *encoder_kernel(const struct encoder *m)
{
	return encoder_on_gpu(m) ? encoder_gpu_name(m->gpu) : m->kernel ? m->kernel->name : "ref";
}

/* ---- spaces and runs ---- */

static int cpu_space_open(struct encoder_space *s, int threads, size_t rows, struct err *e)
{
	s->rows = rows;
	s->team = team_new(threads);
	if (s->team && s->m->kernel) s->ints = space8_new(s->m, s->team, rows);
	else if (s->team) s->floats = space32_new(s->m, s->team, rows);
	return s->ints || s->floats ? OK : err_set(e, E_MEMORY, "activations of %zu tokens on %d threads", rows, threads);
}

static int gpu_space_open(struct encoder_space *s, size_t rows, struct err *e)
{
	struct gpu_info f;
	if (space_gpu_open(&s->gpu, s->m->gpu, rows, e) != OK) return gpu_drop(s->m, e);
	encoder_gpu_info(s->m->gpu, &f);
	snprintf(s->m->device, sizeof s->m->device, "%s", f.name);
	s->m->device_bytes = f.held;
	stat_count("footnote_gpu_lost_total", "what=\"encoder\"", 0); /* a series from the start on */
	log_put(LOG_INFO, "embed", "%s computes on the GPU: %s, and takes %.1f MiB of its memory; %.1f of %.1f GiB are free still", s->m->name,
		f.name, (double)f.held / (1 << 20), (double)f.free / (1 << 30), (double)f.memory / (1 << 30));
	return OK;
}

int encoder_space_open(struct encoder_space **out, struct encoder *m, int threads, size_t rows, size_t gpu_rows, struct err *e)
{
	struct encoder_space *s = mem_calloc(1, sizeof *s);
	int rc = OK;
	*out = NULL;
	if (!s) return err_set(e, E_MEMORY, "activations of %zu tokens", rows);
	s->m = m;
	if (m->gpu && gpu_rows) rc = gpu_space_open(s, gpu_rows, e);
	if (rc == OK && !(m->gpu && m->must)) rc = cpu_space_open(s, threads, rows, e);
	if (rc == OK) *out = s;
	else encoder_space_close(s);
	return rc;
}

void encoder_space_close(struct encoder_space *s)
{
	if (!s) return;
	space_gpu_close(s->gpu, s->m->gpu);
	space8_free(s->ints);
	space32_free(s->floats);
	team_free(s->team);
	mem_free(s);
}

/* What a run is for: all states, or the vector of each text. */
struct want { float *out; int pooled; enum pool_kind pooling; int normalise; };

static void slice_put(const struct want *w, const float *states, const size_t *starts, size_t texts, size_t at, size_t first, size_t h)
{
	if (!w->pooled) memcpy(w->out + at * h, states, starts[texts] * h * sizeof *states);
	else for (size_t i = 0; i < texts; i++)
		pool_text(w->pooling, w->normalise, states + starts[i] * h, starts[i + 1] - starts[i], h, w->out + (first + i) * h);
}

/* As many texts at once as there is room for. */
static void cpu_run(struct encoder_space *s, const int32_t *ids, const uint8_t *types, const size_t *starts, size_t texts,
	const struct want *w)
{
	size_t part[SLICE_TEXTS + 1] = {0};
	for (size_t first = 0, n; first < texts; first += n) {
		size_t at = starts[first];
		const uint8_t *of = types ? types + at : NULL;
		n = 0;
		do {
			n++;
			part[n] = starts[first + n] - at;
		} while (first + n < texts && n < SLICE_TEXTS && starts[first + n + 1] - at <= s->rows);
		slice_put(w, s->ints ? space8_run(s, ids + at, of, part, n) : space32_run(s, ids + at, of, part, n), part, n, at, first,
			(size_t)s->m->s.hidden);
	}
}

static int gpu_run(struct encoder_space *s, const int32_t *ids, const uint8_t *types, const size_t *starts, size_t texts,
	const struct want *w, struct err *e)
{
	if (!w->pooled) return space_gpu_states(s, ids, types, starts, texts, w->out, e);
	return space_gpu_vectors(s, ids, starts, texts, w->pooling, w->normalise, w->out, e);
}

/* By the one space that has the device. */
static void lose(struct encoder *m, const struct err *why)
{
	err_set(&m->why, E_IO, "%s: %s", m->name, why->msg);
	atomic_store(&m->lost, 1);
	stat_count("footnote_gpu_lost_total", "what=\"encoder\"", 1);
	if (m->must) log_put(LOG_ERROR, "embed", "%s: it computes nothing before a restart", m->why.msg);
	else log_put(LOG_WARN, "embed", "%s computes on the CPU from now on: %s", m->name, why->msg);
}

static int space_run(struct encoder_space *s, const int32_t *ids, const uint8_t *types, const size_t *starts, size_t texts,
	const struct want *w, struct err *e)
{
	struct encoder *m = s->m;
	if (s->gpu && !atomic_load(&m->lost)) {
		struct err why;
		if (gpu_run(s, ids, types, starts, texts, w, &why) == OK) return OK;
		lose(m, &why);
	}
	if (m->must) return encoder_lost(m, e);
	cpu_run(s, ids, types, starts, texts, w);
	return OK;
}

int encoder_states(struct encoder_space *s, const int32_t *ids, const uint8_t *types, const size_t *starts, size_t texts,
	float *out, struct err *e)
{
	return space_run(s, ids, types, starts, texts, &(struct want){.out = out}, e);
}

int encoder_vectors(struct encoder_space *s, const int32_t *ids, const size_t *starts, size_t texts, enum pool_kind pooling,
	int normalise, float *out, struct err *e)
{
	return space_run(s, ids, NULL, starts, texts, &(struct want){out, 1, pooling, normalise}, e);
}
