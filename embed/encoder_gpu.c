/* encoder_gpu.c: owns an encoder's weights in a GPU's memory, and the activations of a run there.
 *
 * Weights become halves once, padded so that a head is 16, 32, 64 or 128 wide and a row a multiple of GPU_PAD; what pads them
 * is zero and adds nothing. Texts are rows one behind the other, without padding. A run queues all layers (the post-norm
 * layers of encoder32.c) and waits once, for what it was asked for: the vectors of the texts, or all states. What differs
 * from text to text (ids, places, tiles of queries, starts) goes over in one copy in front of it.
 * Every text is computed from its first row on, in an order that its length alone gives: the same bits beside any others.
 * Threads: one run at a time; the caller sees to it. Failure: at open E_UNSUPPORTED names the size that does not fit, E_MEMORY
 * what was too large; in a run E_IO, after which the device is of no use any more. */
#include <immintrin.h>
#include <math.h>
#include <string.h>
#include "base/mem.h"
#include "embed/encoder_inside.h"

enum { HEAD_LEAST = 16, HEAD_MOST = 128, TILE_INTS = 3 };

struct linear_gpu { struct gpu_matrix w; float *bias; }; /* device: (outputs, inputs), (outputs), padded */
struct norm_gpu { float *gamma, *beta; };         /* device (hidden) */

struct layer_gpu {
	struct linear_gpu qkv, out, up, down;
	struct norm_gpu after_attention, after_feed;
};

struct encoder_gpu {
	const struct gpu_table *t;
	struct gpu *g;
	size_t h, hp;                /* hidden; padded */
	size_t dim, dv, heads;       /* of a head; padded */
	size_t ap, qkvp, wp;         /* heads * dv, three times that, intermediate; padded */
	size_t positions;
	uint16_t *words, *places;    /* device (vocabulary, h), (types * positions, h) */
	struct norm_gpu norm;
	struct layer_gpu *layers;    /* owned */
	uint16_t *halves;            /* owned while it is filled: what goes over next */
	float *floats;
	size_t halves_n, floats_n;
};

struct space_gpu {
	size_t rows;
	uint16_t *x, *y, *qkv, *att, *feed; /* device (rows, hp) twice, (rows, qkvp), (rows, ap), (rows, wp) */
	float *vectors;              /* device (rows, h) */
	int32_t *ints, *sent;        /* device, page-locked: ids, places, starts, tiles of queries */
	void *got;                   /* page-locked: (rows, hp) halves or (rows, h) floats */
};

static size_t pad(size_t n, size_t unit)
{
	return (n + unit - 1) / unit * unit;
}

/* ---- weights ---- */

__attribute__((target("avx2,f16c"))) static void halves_put(uint16_t *to, const float *from, size_t n)
{
	const float most = 65504;
	for (size_t i = 0; i < n; i++) to[i] = _cvtss_sh(fminf(fmaxf(from[i], -most), most), 0);
}

__attribute__((target("avx2,f16c"))) static void halves_get(float *to, const uint16_t *from, size_t n)
{
	for (size_t i = 0; i < n; i++) to[i] = _cvtsh_ss(from[i]);
}

static void *grown(void *p, size_t *have, size_t n, size_t each)
{
	size_t bytes;
	void *more = *have >= n ? p : __builtin_mul_overflow(n, each, &bytes) ? NULL : mem_realloc(p, bytes);
	if (more && *have < n) *have = n;
	return more;
}

/* Zeros for `rows` rows of `columns` halves in m->halves. */
static int halves_begin(struct encoder_gpu *m, size_t rows, size_t columns, struct err *e)
{
	uint16_t *p = grown(m->halves, &m->halves_n, rows * columns, sizeof *p);
	if (!p) return err_set(e, E_MEMORY, "weights of %zu outputs and %zu inputs", rows, columns);
	m->halves = p;
	memset(p, 0, rows * columns * sizeof *p);
	return OK;
}

/* A vector of `parts` parts of `n` floats, each padded to `each`, all to `whole`. */
static int floats_send(struct encoder_gpu *m, const float *from, size_t parts, size_t n, size_t each, size_t whole, float **out,
	struct err *e)
{
	void *p;
	float *f = grown(m->floats, &m->floats_n, whole, sizeof *f);
	if (!f) return err_set(e, E_MEMORY, "a vector of %zu weights", whole);
	m->floats = f;
	memset(f, 0, whole * sizeof *f);
	for (size_t i = 0; i < parts; i++) memcpy(f + i * each, from + i * n, n * sizeof *f);
	int rc = m->t->alloc(m->g, whole * sizeof *f, "a vector of weights", &p, e);
	if (rc != OK) return rc;
	*out = p;
	m->t->copy_in(m->g, p, f, whole * sizeof *f);
	return OK;
}

static int norm_send(struct encoder_gpu *m, const struct norm *n, struct norm_gpu *to, struct err *e)
{
	int rc = floats_send(m, n->gamma, 1, m->h, m->h, m->h, &to->gamma, e);
	return rc == OK ? floats_send(m, n->beta, 1, m->h, m->h, m->h, &to->beta, e) : rc;
}

/* A table of rows next to each other. */
static int table_send(struct encoder_gpu *m, const float *from, size_t rows, uint16_t **out, struct err *e)
{
	void *p;
	int rc = halves_begin(m, rows, m->h, e);
	if (rc != OK) return rc;
	halves_put(m->halves, from, rows * m->h);
	rc = m->t->alloc(m->g, rows * m->h * sizeof **out, "embeddings", &p, e);
	if (rc != OK) return rc;
	*out = p;
	m->t->copy_in(m->g, p, m->halves, rows * m->h * sizeof **out);
	return OK;
}

/* (outputs, inputs) to (outputs and inputs padded). */
static int linear_send(struct encoder_gpu *m, const struct linear *from, size_t outputs, size_t inputs, struct linear_gpu *to,
	struct err *e)
{
	size_t rows = pad(outputs, GPU_PAD), columns = pad(inputs, GPU_PAD);
	int rc = halves_begin(m, rows, columns, e);
	for (size_t i = 0; rc == OK && i < outputs; i++) halves_put(m->halves + i * columns, from->w + i * inputs, inputs);
	if (rc == OK) rc = m->t->encode_load(m->g, m->halves, rows, columns, &to->w, e);
	return rc == OK ? floats_send(m, from->bias, 1, outputs, outputs, rows, &to->bias, e) : rc;
}

/* Queries, keys and values: (3, heads, dim, h) to (3, heads, dv, hp). */
static int heads_send(struct encoder_gpu *m, const struct linear *from, struct linear_gpu *to, struct err *e)
{
	int rc = halves_begin(m, m->qkvp, m->hp, e);
	for (size_t head = 0; rc == OK && head < 3 * m->heads; head++)
		for (size_t i = 0; i < m->dim; i++)
			halves_put(m->halves + (head * m->dv + i) * m->hp, from->w + (head * m->dim + i) * m->h, m->h);
	if (rc == OK) rc = m->t->encode_load(m->g, m->halves, m->qkvp, m->hp, &to->w, e);
	return rc == OK ? floats_send(m, from->bias, 3 * m->heads, m->dim, m->dv, m->qkvp, &to->bias, e) : rc;
}

/* (h, heads, dim) to (hp, heads, dv), padded. */
static int out_send(struct encoder_gpu *m, const struct linear *from, struct linear_gpu *to, struct err *e)
{
	int rc = halves_begin(m, m->hp, m->ap, e);
	for (size_t i = 0; rc == OK && i < m->h; i++)
		for (size_t head = 0; head < m->heads; head++)
			halves_put(m->halves + i * m->ap + head * m->dv, from->w + i * m->h + head * m->dim, m->dim);
	if (rc == OK) rc = m->t->encode_load(m->g, m->halves, m->hp, m->ap, &to->w, e);
	return rc == OK ? floats_send(m, from->bias, 1, m->h, m->h, m->hp, &to->bias, e) : rc;
}

int encoder_gpu_layer(struct encoder_gpu *m, const struct encoder_shape *s, int i, const struct layer *from, struct err *e)
{
	struct layer_gpu *to = &m->layers[i];
	size_t wide = (size_t)s->intermediate;
	int rc = heads_send(m, &from->qkv, &to->qkv, e);
	if (rc == OK) rc = out_send(m, &from->out, &to->out, e);
	if (rc == OK) rc = linear_send(m, &from->up, wide, m->h, &to->up, e);
	if (rc == OK) rc = linear_send(m, &from->down, m->h, wide, &to->down, e);
	if (rc == OK) rc = norm_send(m, &from->after_attention, &to->after_attention, e);
	if (rc == OK) rc = norm_send(m, &from->after_feed, &to->after_feed, e);
	return rc;
}

int encoder_gpu_embeddings(struct encoder_gpu *m, const struct encoder *from, struct err *e)
{
	size_t types = (size_t)from->s.types < ENCODER_TYPES ? (size_t)from->s.types : ENCODER_TYPES;
	int rc = table_send(m, from->words, (size_t)from->s.vocabulary, &m->words, e);
	if (rc == OK) rc = table_send(m, from->positions, types * m->positions, &m->places, e);
	return rc == OK ? norm_send(m, &from->embedding_norm, &m->norm, e) : rc;
}

int encoder_gpu_ready(struct encoder_gpu *m, struct err *e)
{
	int rc = m->t->sync(m->g, e);
	mem_free(m->halves);
	mem_free(m->floats);
	m->halves = NULL;
	m->floats = NULL;
	m->halves_n = m->floats_n = 0;
	return rc;
}

int encoder_gpu_open(struct encoder_gpu **out, const struct gpu_table *t, const struct encoder_shape *s, struct err *e)
{
	struct encoder_gpu *m;
	size_t h = (size_t)s->hidden, dim = h / (size_t)s->heads, dv = HEAD_LEAST;
	*out = NULL;
	while (dv < dim) dv *= 2;
	if (dv > HEAD_MOST || h > GPU_ENCODE_DIM || h % 2)
		return err_set(e, E_UNSUPPORTED, "an encoder of %zu dimensions, %zu a head: a GPU takes an even number up to %d, %d a head", h, dim,
			GPU_ENCODE_DIM, HEAD_MOST);
	m = mem_calloc(1, sizeof *m);
	if (!m) return err_set(e, E_MEMORY, "an encoder of %d layers", s->layers);
	*m = (struct encoder_gpu){.t = t, .h = h, .hp = pad(h, GPU_PAD), .dim = dim, .dv = dv, .heads = (size_t)s->heads,
		.positions = (size_t)s->positions, .wp = pad((size_t)s->intermediate, GPU_PAD)};
	m->ap = pad(m->heads * dv, GPU_PAD);
	m->qkvp = pad(3 * m->heads * dv, GPU_PAD);
	m->layers = mem_calloc((size_t)s->layers, sizeof *m->layers);
	int rc = m->layers ? t->open(&m->g, 0, e) : err_set(e, E_MEMORY, "an encoder of %d layers", s->layers);
	if (rc == OK) *out = m;
	else encoder_gpu_close(m);
	return rc;
}

void encoder_gpu_close(struct encoder_gpu *m)
{
	if (!m) return;
	m->t->close(m->g);
	mem_free(m->layers);
	mem_free(m->halves);
	mem_free(m->floats);
	mem_free(m);
}

const char *encoder_gpu_name(const struct encoder_gpu *m)
{
	return m->t->name;
}

void encoder_gpu_info(const struct encoder_gpu *m, struct gpu_info *out)
{
	m->t->info(m->g, out);
}

/* ---- space ---- */

/* Ints of a run: ids, places, starts and tiles, of none more than rows + 1. */
static size_t ints_n(size_t rows)
{
	return (3 + TILE_INTS) * (rows + 1);
}

int space_gpu_open(struct space_gpu **out, struct encoder_gpu *m, size_t rows, struct err *e)
{
	struct space_gpu *s = mem_calloc(1, sizeof *s);
	*out = NULL;
	if (!s) return err_set(e, E_MEMORY, "activations of %zu tokens", rows);
	s->rows = rows;
	struct { void **at; size_t bytes; } parts[] = {
		{(void **)&s->x, rows * m->hp * sizeof *s->x}, {(void **)&s->y, rows * m->hp * sizeof *s->y},
		{(void **)&s->qkv, rows * m->qkvp * sizeof *s->qkv}, {(void **)&s->att, rows * m->ap * sizeof *s->att},
		{(void **)&s->feed, rows * m->wp * sizeof *s->feed}, {(void **)&s->vectors, rows * m->h * sizeof *s->vectors},
		{(void **)&s->ints, ints_n(rows) * sizeof *s->ints},
	};
	int rc = OK;
	for (size_t i = 0; rc == OK && i < sizeof parts / sizeof *parts; i++)
		rc = m->t->alloc(m->g, parts[i].bytes, "activations of an encoder", parts[i].at, e);
	if (rc == OK) rc = m->t->alloc_host(m->g, ints_n(rows) * sizeof *s->sent, (void **)&s->sent, e);
	if (rc == OK) rc = m->t->alloc_host(m->g, rows * m->hp * sizeof(float), &s->got, e);
	if (rc == OK) rc = m->t->sync(m->g, e);
	if (rc == OK) *out = s;
	else space_gpu_close(s, m);
	return rc;
}

void space_gpu_close(struct space_gpu *s, struct encoder_gpu *m)
{
	if (!s) return;
	void *device[] = {s->x, s->y, s->qkv, s->att, s->feed, s->vectors, s->ints};
	for (size_t i = 0; i < sizeof device / sizeof *device; i++) m->t->release(m->g, device[i]);
	m->t->release_host(m->g, s->sent);
	m->t->release_host(m->g, s->got);
	mem_free(s);
}

/* ---- a run ---- */

/* What a run is told, where it lies on the device. */
struct told { const int32_t *ids, *at, *starts, *tiles; size_t rows, tiles_n; };

static struct told run_tell(const struct encoder_gpu *m, const struct space_gpu *s, const int32_t *ids, const uint8_t *types,
	const size_t *starts, size_t texts)
{
	size_t rows = starts[texts], n = 0;
	int32_t *to_ids = s->sent, *at = to_ids + rows, *begin = at + rows, *tiles = begin + texts + 1;
	memcpy(to_ids, ids, rows * sizeof *ids);
	for (size_t i = 0; i < texts; i++) {
		begin[i] = (int32_t)starts[i];
		for (size_t r = starts[i]; r < starts[i + 1]; r++)
			at[r] = (int32_t)((types ? types[r] : 0) * m->positions + (r - starts[i]));
		for (size_t r = starts[i]; r < starts[i + 1]; r += GPU_TILE, n++) {
			tiles[TILE_INTS * n] = (int32_t)r;
			tiles[TILE_INTS * n + 1] = (int32_t)starts[i];
			tiles[TILE_INTS * n + 2] = (int32_t)starts[i + 1];
		}
	}
	begin[texts] = (int32_t)rows;
	m->t->copy_in(m->g, s->ints, s->sent, (2 * rows + texts + 1 + TILE_INTS * n) * sizeof *s->sent);
	return (struct told){s->ints, s->ints + rows, s->ints + 2 * rows, s->ints + 2 * rows + texts + 1, rows, n};
}

static void linear_run(const struct encoder_gpu *m, const struct linear_gpu *l, const uint16_t *x, size_t n, enum gpu_act act,
	uint16_t *y)
{
	struct gpu_encode_linear c = {.w = &l->w, .x = x, .bias = l->bias, .y = y, .n = n, .act = act};
	m->t->encode_linear(m->g, &c);
}

static void norm_run(const struct encoder_gpu *m, const struct space_gpu *s, const struct norm_gpu *norm, float eps, size_t rows)
{
	struct gpu_encode_norm c = {.x = s->x, .y = s->y, .gamma = norm->gamma, .beta = norm->beta, .eps = eps, .n = rows, .dim = m->h,
		.ld = m->hp};
	m->t->encode_norm(m->g, &c);
}

/* Queues all layers: the states are in s->x then. */
static struct told layers_run(const struct encoder *e, const struct space_gpu *s, const int32_t *ids, const uint8_t *types,
	const size_t *starts, size_t texts)
{
	static const enum gpu_act acts[] = {[DENSE_NONE] = GPU_PLAIN, [DENSE_GELU] = GPU_GELU, [DENSE_GELU_TANH] = GPU_GELU_TANH,
		[DENSE_RELU] = GPU_RELU};
	const struct encoder_gpu *m = e->gpu;
	struct told told = run_tell(m, s, ids, types, starts, texts);
	struct gpu_encode_norm embed = {.words = m->words, .places = m->places, .ids = told.ids, .at = told.at, .x = s->x,
		.gamma = m->norm.gamma, .beta = m->norm.beta, .eps = e->s.eps, .n = told.rows, .dim = m->h, .ld = m->hp};
	struct gpu_encode_attend attend = {.qkv = s->qkv, .ld = m->qkvp, .out = s->att, .ldo = m->ap, .heads = m->heads,
		.head_dim = m->dv, .scale = 1 / sqrtf((float)m->dim), .tiles = told.tiles, .tiles_n = told.tiles_n};
	m->t->encode_norm(m->g, &embed);
	for (int i = 0; i < e->s.layers; i++) {
		const struct layer_gpu *l = &m->layers[i];
		linear_run(m, &l->qkv, s->x, told.rows, GPU_PLAIN, s->qkv);
		m->t->encode_attend(m->g, &attend);
		linear_run(m, &l->out, s->att, told.rows, GPU_PLAIN, s->y);
		norm_run(m, s, &l->after_attention, e->s.eps, told.rows);
		linear_run(m, &l->up, s->x, told.rows, acts[e->s.act], s->feed);
		linear_run(m, &l->down, s->feed, told.rows, GPU_PLAIN, s->y);
		norm_run(m, s, &l->after_feed, e->s.eps, told.rows);
	}
	return told;
}

int space_gpu_states(const struct encoder_space *space, const int32_t *ids, const uint8_t *types, const size_t *starts,
	size_t texts, float *out, struct err *e)
{
	const struct encoder_gpu *m = space->m->gpu;
	const struct space_gpu *s = space->gpu;
	struct told told = layers_run(space->m, s, ids, types, starts, texts);
	m->t->copy_out(m->g, s->got, s->x, told.rows * m->hp * sizeof *s->x);
	int rc = m->t->sync(m->g, e);
	for (size_t r = 0; rc == OK && r < told.rows; r++) halves_get(out + r * m->h, (const uint16_t *)s->got + r * m->hp, m->h);
	return rc;
}

int space_gpu_vectors(const struct encoder_space *space, const int32_t *ids, const size_t *starts, size_t texts,
	enum pool_kind pooling, int normalise, float *out, struct err *e)
{
	const struct encoder_gpu *m = space->m->gpu;
	const struct space_gpu *s = space->gpu;
	struct told told = layers_run(space->m, s, ids, NULL, starts, texts);
	struct gpu_encode_pool pool = {.x = s->x, .ld = m->hp, .starts = told.starts, .out = s->vectors, .texts = texts, .dim = m->h,
		.first = pooling == POOL_CLS, .normalise = normalise};
	size_t bytes = texts * m->h * sizeof *out;
	m->t->encode_pool(m->g, &pool);
	m->t->copy_out(m->g, s->got, s->vectors, bytes);
	int rc = m->t->sync(m->g, e);
	if (rc == OK) memcpy(out, s->got, bytes);
	return rc;
}
