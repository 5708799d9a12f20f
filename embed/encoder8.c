/* encoder8.c: owns the int8 form of a layer, and the activations of a run over it.
 *
 * Texts are rows one behind the other, without padding. A run is a chain of phases that the team shares out: once the
 * embedding of the rows, then for every layer attention, in units of one head of one text, and all the rest, in units of
 * a block of rows. Such a block goes from the output of attention to the queries, keys and values of the next layer
 * while it is in the cache of the core that has it; nothing in it looks at another row. Members take units from a
 * counter. A unit is computed alike whoever takes it and whatever lies beside it (nn/gemm8.h), so a text has the same
 * vector alone and in any batch, with any number of threads.
 *
 * A head's queries, keys and values are padded to whole vectors when the weights are packed (with outputs that are
 * zero), as is the input of the output projection; so odd sizes cost nothing here.
 * Threads: the space belongs to the caller. Failure: only memory, when weights are packed or a space is made. */
#include <stdatomic.h>
#include <string.h>
#include "base/mem.h"
#include "embed/encoder_inside.h"

enum { BLOCK_ROWS = 64, BLOCK_ROWS_FEW = 32, BLOCKS_EACH = 4 };

struct widths {                    /* of the model's vectors: floats padded to lanes, bytes padded along k */
	size_t h, h16, hk;         /* hidden */
	size_t dim, dv, heads;     /* of a head; padded */
	size_t a16, ak;            /* heads * dv */
	size_t w16, wk;            /* intermediate */
};

struct member {                    /* scratch of one thread */
	float *y, *feed;           /* (BLOCK_ROWS, h16), (BLOCK_ROWS, w16) */
	uint8_t *x8, *feed8;       /* (BLOCK_ROWS, hk or ak), (BLOCK_ROWS, wk) */
	void *attend;
};

struct space8 {
	struct widths w;
	float *x, *qkv, *attended; /* (rows, h16), (rows, 3 a16), (rows, a16) */
	struct member *members;    /* team_size */
	int size;
};

/* One phase of a run. */
struct phase {
	const struct encoder_space *space;
	const int32_t *ids;
	const size_t *starts;
	size_t texts, block;       /* rows of a block */
	int layer;                 /* -1: the embedding */
	atomic_size_t next;        /* the next unit to take */
};

static size_t pad(size_t n, size_t unit)
{
	return (n + unit - 1) / unit * unit;
}

static struct widths widths_of(const struct encoder_shape *s)
{
	struct widths w = {.h = (size_t)s->hidden, .heads = (size_t)s->heads};
	w.h16 = pad(w.h, GEMM8_LANES);
	w.hk = pad(w.h, GEMM8_K);
	w.dim = w.h / w.heads;
	w.dv = pad(w.dim, GEMM8_LANES);
	w.a16 = w.heads * w.dv;
	w.ak = pad(w.a16, GEMM8_K);
	w.w16 = pad((size_t)s->intermediate, GEMM8_LANES);
	w.wk = pad((size_t)s->intermediate, GEMM8_K);
	return w;
}

/* ---- weights ---- */

/* (3, heads, dim, h) to (heads, 3, dv, h), padded with zeros. */
static int qkv_pack(struct gemm8_matrix *to, const struct widths *w, const struct linear *from, struct err *e)
{
	size_t outputs = 3 * w->a16;
	float *weights = mem_calloc(outputs, w->h * sizeof *weights), *bias = mem_calloc(outputs, sizeof *bias);
	int rc = OK;
	if (!weights || !bias) rc = err_set(e, E_MEMORY, "weights of %zu outputs and %zu inputs", outputs, w->h);
	for (size_t part = 0; rc == OK && part < 3; part++)
		for (size_t head = 0; head < w->heads; head++) {
			size_t at = (head * 3 + part) * w->dv, of = part * w->h + head * w->dim;
			memcpy(weights + at * w->h, from->w + of * w->h, w->dim * w->h * sizeof *weights);
			memcpy(bias + at, from->bias + of, w->dim * sizeof *bias);
		}
	if (rc == OK) rc = gemm8_pack(to, weights, bias, outputs, w->h, e);
	mem_free(weights);
	mem_free(bias);
	return rc;
}

/* (h, heads, dim) to (h, heads, dv), padded with zeros. */
static int out_pack(struct gemm8_matrix *to, const struct widths *w, const struct linear *from, struct err *e)
{
	float *weights = mem_calloc(w->h, w->a16 * sizeof *weights);
	int rc = weights ? OK : err_set(e, E_MEMORY, "weights of %zu outputs and %zu inputs", w->h, w->a16);
	for (size_t i = 0; rc == OK && i < w->h; i++)
		for (size_t head = 0; head < w->heads; head++)
			memcpy(weights + i * w->a16 + head * w->dv, from->w + i * w->h + head * w->dim, w->dim * sizeof *weights);
	if (rc == OK) rc = gemm8_pack(to, weights, from->bias, w->h, w->a16, e);
	mem_free(weights);
	return rc;
}

int layer8_pack(struct layer8 *to, const struct encoder_shape *s, struct layer *from, struct err *e)
{
	struct widths w = widths_of(s);
	size_t wide = (size_t)s->intermediate;
	int rc = qkv_pack(&to->qkv, &w, &from->qkv, e);
	if (rc == OK) rc = out_pack(&to->out, &w, &from->out, e);
	if (rc == OK) rc = gemm8_pack(&to->up, from->up.w, from->up.bias, wide, w.h, e);
	if (rc == OK) rc = gemm8_pack(&to->down, from->down.w, from->down.bias, w.h, wide, e);
	to->after_attention = from->after_attention;
	to->after_feed = from->after_feed;
	from->after_attention = from->after_feed = (struct norm){NULL, NULL};
	return rc;
}

void layer8_clear(struct layer8 *l)
{
	gemm8_clear(&l->qkv);
	gemm8_clear(&l->out);
	gemm8_clear(&l->up);
	gemm8_clear(&l->down);
	norm_clear(&l->after_attention);
	norm_clear(&l->after_feed);
}

/* ---- space ---- */

static void *zeroed(size_t n, size_t each)
{
	size_t bytes;
	if (__builtin_mul_overflow(n, each, &bytes) || bytes > SIZE_MAX - GEMM8_K) return NULL;
	bytes = pad(bytes, GEMM8_K);
	void *p = mem_aligned(GEMM8_K, bytes);
	if (p) memset(p, 0, bytes);
	return p;
}

static int member_fill(struct member *p, const struct widths *w, size_t longest)
{
	p->y = zeroed(BLOCK_ROWS * w->h16, sizeof *p->y);
	p->feed = zeroed(BLOCK_ROWS * w->w16, sizeof *p->feed);
	p->x8 = zeroed(BLOCK_ROWS * (w->hk > w->ak ? w->hk : w->ak), 1);
	p->feed8 = zeroed(BLOCK_ROWS * w->wk, 1);
	p->attend = zeroed(gemm8_attend_bytes(longest, w->dim), 1);
	return p->y && p->feed && p->x8 && p->feed8 && p->attend;
}

struct space8 *space8_new(const struct encoder *m, const struct team *team, size_t rows)
{
	size_t longest = rows < (size_t)m->s.positions ? rows : (size_t)m->s.positions;
	struct space8 *s = mem_calloc(1, sizeof *s);
	int ok;
	if (!s) return NULL;
	s->w = widths_of(&m->s);
	s->size = team_size(team);
	s->members = mem_calloc((size_t)s->size, sizeof *s->members);
	s->x = zeroed(rows * s->w.h16, sizeof *s->x);
	s->qkv = zeroed(rows * 3 * s->w.a16, sizeof *s->qkv);
	s->attended = zeroed(rows * s->w.a16, sizeof *s->attended);
	ok = s->members && s->x && s->qkv && s->attended;
	for (int i = 0; ok && i < s->size; i++) ok = member_fill(&s->members[i], &s->w, longest);
	if (ok) return s;
	space8_free(s);
	return NULL;
}

void space8_free(struct space8 *s)
{
	if (!s) return;
	for (int i = 0; s->members && i < s->size; i++) {
		mem_free(s->members[i].y);
		mem_free(s->members[i].feed);
		mem_free(s->members[i].x8);
		mem_free(s->members[i].feed8);
		mem_free(s->members[i].attend);
	}
	mem_free(s->members);
	mem_free(s->x);
	mem_free(s->qkv);
	mem_free(s->attended);
	mem_free(s);
}

/* ---- a run ---- */

static struct gemm8_norm norm_of(const struct norm *n, float eps)
{
	return (struct gemm8_norm){n->gamma, n->beta, eps};
}

static enum gemm8_act act_of(enum dense_act act)
{
	static const enum gemm8_act acts[] = {[DENSE_NONE] = GEMM8_NONE, [DENSE_GELU] = GEMM8_GELU,
		[DENSE_GELU_TANH] = GEMM8_GELU_TANH, [DENSE_RELU] = GEMM8_RELU};
	return acts[act];
}

/* Rows from to to of the embedding, normed and as bytes in p->x8. */
static void block_embed(const struct phase *f, struct member *p, size_t from, size_t to, float *scales)
{
	const struct encoder *m = f->space->m;
	const struct space8 *s = f->space->ints;
	struct gemm8_norm norm = norm_of(&m->embedding_norm, m->s.eps);
	size_t h = s->w.h, text = 0;
	for (size_t r = from; r < to; r++) {
		while (f->starts[text + 1] <= r) text++;
		const float *word = m->words + (size_t)f->ids[r] * h, *position = m->positions + (r - f->starts[text]) * h;
		float *x = s->x + r * s->w.h16;
		for (size_t i = 0; i < h; i++) x[i] = word[i] + position[i];
		memset(x + h, 0, (s->w.h16 - h) * sizeof *x);
		m->kernel->norm(x, NULL, h, &norm, s->w.hk, p->x8 + (r - from) * s->w.hk, &scales[r - from]);
	}
}

/* Rows from to to behind the attention of a layer, to the layer's end; as bytes in p->x8 too. */
static void block_layer(const struct phase *f, struct member *p, size_t from, size_t to, float *scales)
{
	const struct encoder *m = f->space->m;
	const struct space8 *s = f->space->ints;
	const struct gemm8 *k = m->kernel;
	const struct widths *w = &s->w;
	const struct layer8 *l = &m->layers8[f->layer];
	struct gemm8_norm first = norm_of(&l->after_attention, m->s.eps), last = norm_of(&l->after_feed, m->s.eps);
	size_t n = to - from;
	float *x = s->x + from * w->h16;
	for (size_t r = 0; r < n; r++)
		k->quant(s->attended + (from + r) * w->a16, w->a16, w->ak, p->x8 + r * w->ak, &scales[r]);
	k->linear(&l->out, 0, l->out.panels, p->x8, scales, n, GEMM8_NONE, p->y, w->h16);
	for (size_t r = 0; r < n; r++)
		k->norm(x + r * w->h16, p->y + r * w->h16, w->h, &first, w->hk, p->x8 + r * w->hk, &scales[r]);
	k->linear(&l->up, 0, l->up.panels, p->x8, scales, n, act_of(m->s.act), p->feed, w->w16);
	for (size_t r = 0; r < n; r++) k->quant(p->feed + r * w->w16, w->w16, w->wk, p->feed8 + r * w->wk, &scales[r]);
	k->linear(&l->down, 0, l->down.panels, p->feed8, scales, n, GEMM8_NONE, p->y, w->h16);
	for (size_t r = 0; r < n; r++)
		k->norm(x + r * w->h16, p->y + r * w->h16, w->h, &last, w->hk, p->x8 + r * w->hk, &scales[r]);
}

/* Units are blocks of rows: up to the queries, keys and values of the next layer. */
static void blocks(void *ctx, int member, int size)
{
	struct phase *f = ctx;
	const struct encoder *m = f->space->m;
	const struct space8 *s = f->space->ints;
	struct member *p = &s->members[member];
	float scales[BLOCK_ROWS];
	size_t rows = f->starts[f->texts];
	(void)size;
	m->kernel->enter();
	for (;;) {
		size_t from = atomic_fetch_add(&f->next, 1) * f->block, to = from + f->block < rows ? from + f->block : rows;
		if (from >= rows) break;
		if (f->layer < 0) block_embed(f, p, from, to, scales);
		else block_layer(f, p, from, to, scales);
		if (f->layer + 1 < m->s.layers) {
			const struct gemm8_matrix *qkv = &m->layers8[f->layer + 1].qkv;
			m->kernel->linear(qkv, 0, qkv->panels, p->x8, scales, to - from, GEMM8_NONE, s->qkv + from * 3 * s->w.a16,
				3 * s->w.a16);
		}
	}
	m->kernel->leave();
}

/* Units are heads of texts. */
static void heads(void *ctx, int member, int size)
{
	struct phase *f = ctx;
	const struct encoder *m = f->space->m;
	const struct space8 *s = f->space->ints;
	const struct widths *w = &s->w;
	(void)size;
	m->kernel->enter();
	for (;;) {
		size_t unit = atomic_fetch_add(&f->next, 1), text = unit / w->heads, head = unit % w->heads;
		if (text >= f->texts) break;
		size_t first = f->starts[text];
		const float *q = s->qkv + first * 3 * w->a16 + head * 3 * w->dv;
		struct gemm8_head h = {.q = q, .k = q + w->dv, .v = q + 2 * w->dv, .ld = 3 * w->a16,
			.rows = f->starts[text + 1] - first, .dim = w->dim, .out = s->attended + first * w->a16 + head * w->dv,
			.ldo = w->a16};
		m->kernel->attend(&h, s->members[member].attend);
	}
	m->kernel->leave();
}

static void phase_run(struct phase *f, void (*units)(void *, int, int))
{
	atomic_store(&f->next, 0);
	team_run(f->space->team, units, f);
}

const float *space8_run(struct encoder_space *space, const int32_t *ids, const size_t *starts, size_t texts)
{
	const struct space8 *s = space->ints;
	struct phase f = {.space = space, .ids = ids, .starts = starts, .texts = texts, .layer = -1};
	size_t rows = starts[texts];
	f.block = rows < (size_t)BLOCK_ROWS * BLOCKS_EACH * (size_t)s->size ? BLOCK_ROWS_FEW : BLOCK_ROWS;
	if (s->size == 1) f.block = BLOCK_ROWS;
	phase_run(&f, blocks);
	while (++f.layer < space->m->s.layers) {
		phase_run(&f, heads);
		phase_run(&f, blocks);
	}
	for (size_t r = 1; r < rows && s->w.h16 != s->w.h; r++)
		memmove(s->x + r * s->w.h, s->x + r * s->w.h16, s->w.h * sizeof *s->x);
	return s->x;
}
