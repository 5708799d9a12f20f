/* encoder8.c: owns the int8 form of a layer, and the activations of a run over it.
 *
 * Texts are rows one behind the other, without padding. Where there are enough of them, each member of the team takes
 * a group of texts through all layers by itself. Otherwise (one long text, a few short ones) the run is a chain of phases
 * that all members share: the embedding of the rows; for every layer attention, in units of one head of one text; and
 * all the rest, in units of rows, from the output of attention to the queries, keys and values of the next layer, where
 * nothing looks at another row. Members take units from a counter. A unit is computed alike whoever takes it and
 * whatever lies beside it (nn/gemm8.h), so a text has the same vector alone and in any batch, with any number of threads.
 *
 * A head's queries, keys and values are padded to whole vectors when the weights are packed (with outputs that are
 * zero), as is the input of the output projection; so odd sizes cost nothing here.
 * Threads: the space belongs to the caller. Failure: only memory, when weights are packed or a space is made. */
#include <stdatomic.h>
#include <string.h>
#include "base/mem.h"
#include "embed/encoder_inside.h"

enum {
	BLOCK_ROWS = 64,
	UNIT_ROWS = 512,           /* most that go through a stage before the next */
	GROUP_ROWS = 512           /* of texts that one member takes through all layers: they stay in its core's cache */
};

struct widths {                    /* of the model's vectors: floats padded to lanes, bytes padded along k */
	size_t h, h16, hk;         /* hidden */
	size_t dim, dv, heads;     /* of a head; padded */
	size_t a16, ak;            /* heads * dv */
	size_t w16, wk;            /* intermediate */
};

struct member {                    /* scratch of one thread */
	float *y, *wide;           /* (BLOCK_ROWS, h16), (BLOCK_ROWS, the wider of w16 and 2 a16) */
	uint8_t *x8, *wide8;       /* (UNIT_ROWS, hk), (BLOCK_ROWS, the wider of wk and ak) */
	float *scales;             /* (UNIT_ROWS) */
	void *attend;
};

struct space8 {
	struct widths w;
	float *x, *v;              /* (rows, h16), (rows, a16): values, in whose place attention puts its output */
	uint8_t *qk;               /* (rows, 2 a16): queries, keys; rows behind the last may be read */
	float *qk_scales;          /* (rows, 2 heads) */
	struct member *members;    /* team_size */
	int size;
};

/* One phase of a run. */
struct phase {
	const struct encoder_space *space;
	const int32_t *ids;
	const uint8_t *types;      /* NULL: all 0 */
	const size_t *starts;
	size_t texts, unit;        /* rows of a unit, about */
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

/* Parts `part` to `part` + parts of the queries, keys and values: (parts, heads, dim, h) to (parts, heads, dv, h), padded
 * with zeros. */
static int heads_pack(struct gemm8_matrix *to, const struct widths *w, const struct linear *from, size_t part,
	size_t parts, int8_t *data, struct err *e)
{
	size_t outputs = parts * w->a16;
	float *weights = mem_calloc(outputs, w->h * sizeof *weights), *bias = mem_calloc(outputs, sizeof *bias);
	int rc = weights && bias ? OK : err_set(e, E_MEMORY, "weights of %zu outputs and %zu inputs", outputs, w->h);
	for (size_t head = 0; rc == OK && head < parts * w->heads; head++) {
		size_t of = part * w->h + head * w->dim;
		memcpy(weights + head * w->dv * w->h, from->w + of * w->h, w->dim * w->h * sizeof *weights);
		memcpy(bias + head * w->dv, from->bias + of, w->dim * sizeof *bias);
	}
	if (rc == OK) rc = gemm8_pack(to, weights, bias, outputs, w->h, data, e);
	mem_free(weights);
	mem_free(bias);
	return rc;
}

/* (h, heads, dim) to (h, heads, dv), padded with zeros. */
static int out_pack(struct gemm8_matrix *to, const struct widths *w, const struct linear *from, int8_t *data,
	struct err *e)
{
	float *weights = mem_calloc(w->h, w->a16 * sizeof *weights);
	int rc = weights ? OK : err_set(e, E_MEMORY, "weights of %zu outputs and %zu inputs", w->h, w->a16);
	for (size_t i = 0; rc == OK && i < w->h; i++)
		for (size_t head = 0; head < w->heads; head++)
			memcpy(weights + i * w->a16 + head * w->dv, from->w + i * w->h + head * w->dim, w->dim * sizeof *weights);
	if (rc == OK) rc = gemm8_pack(to, weights, from->bias, w->h, w->a16, data, e);
	mem_free(weights);
	return rc;
}

size_t layer8_bytes(const struct encoder_shape *s)
{
	struct widths w = widths_of(s);
	size_t wide = (size_t)s->intermediate;
	return gemm8_bytes(2 * w.a16, w.h) + gemm8_bytes(w.a16, w.h) + gemm8_bytes(w.h, w.a16) + gemm8_bytes(wide, w.h) +
		gemm8_bytes(w.h, wide);
}

int layer8_pack(struct layer8 *to, const struct encoder_shape *s, struct layer *from, int8_t *data, struct err *e)
{
	struct widths w = widths_of(s);
	size_t wide = (size_t)s->intermediate;
	int8_t *v = data + gemm8_bytes(2 * w.a16, w.h), *out = v + gemm8_bytes(w.a16, w.h);
	int8_t *up = out + gemm8_bytes(w.h, w.a16), *down = up + gemm8_bytes(wide, w.h);
	int rc = heads_pack(&to->qk, &w, &from->qkv, 0, 2, data, e);
	if (rc == OK) rc = heads_pack(&to->v, &w, &from->qkv, 2, 1, v, e);
	if (rc == OK) rc = out_pack(&to->out, &w, &from->out, out, e);
	if (rc == OK) rc = gemm8_pack(&to->up, from->up.w, from->up.bias, wide, w.h, up, e);
	if (rc == OK) rc = gemm8_pack(&to->down, from->down.w, from->down.bias, w.h, wide, down, e);
	to->after_attention = from->after_attention;
	to->after_feed = from->after_feed;
	from->after_attention = from->after_feed = (struct norm){NULL, NULL};
	return rc;
}

void layer8_clear(struct layer8 *l)
{
	gemm8_clear(&l->qk);
	gemm8_clear(&l->v);
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
	void *p = mem_huge(bytes);
	if (p) memset(p, 0, bytes);
	return p;
}

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

static int member_fill(struct member *p, const struct widths *w, size_t longest, size_t unit)
{
	p->y = zeroed(BLOCK_ROWS * w->h16, sizeof *p->y);
	p->wide = zeroed(BLOCK_ROWS * larger(w->w16, 2 * w->a16), sizeof *p->wide);
	p->x8 = zeroed(unit * w->hk, 1);
	p->wide8 = zeroed(BLOCK_ROWS * larger(w->wk, w->ak), 1);
	p->scales = zeroed(unit, sizeof *p->scales);
	p->attend = zeroed(gemm8_attend_bytes(longest, w->dim), 1);
	return p->y && p->wide && p->x8 && p->wide8 && p->scales && p->attend;
}

struct space8 *space8_new(const struct encoder *m, const struct team *team, size_t rows)
{
	size_t longest = rows < (size_t)m->s.positions ? rows : (size_t)m->s.positions, unit;
	struct space8 *s = mem_calloc(1, sizeof *s);
	int ok;
	if (!s) return NULL;
	s->w = widths_of(&m->s);
	s->size = team_size(team);
	s->members = mem_calloc((size_t)s->size, sizeof *s->members);
	s->x = zeroed(rows * s->w.h16, sizeof *s->x);
	s->v = zeroed(rows * s->w.a16, sizeof *s->v);
	s->qk = zeroed((rows + GEMM8_ROWS) * 2 * s->w.a16 + GEMM8_K, 1);
	s->qk_scales = zeroed(rows * 2 * s->w.heads, sizeof *s->qk_scales);
	ok = s->members && s->x && s->v && s->qk && s->qk_scales;
	unit = pad(rows < UNIT_ROWS ? rows : UNIT_ROWS, BLOCK_ROWS);
	for (int i = 0; ok && i < s->size; i++) ok = member_fill(&s->members[i], &s->w, longest, unit);
	if (ok) return s;
	space8_free(s);
	return NULL;
}

void space8_free(struct space8 *s)
{
	if (!s) return;
	for (int i = 0; s->members && i < s->size; i++) {
		mem_free(s->members[i].y);
		mem_free(s->members[i].wide);
		mem_free(s->members[i].x8);
		mem_free(s->members[i].wide8);
		mem_free(s->members[i].scales);
		mem_free(s->members[i].attend);
	}
	mem_free(s->members);
	mem_free(s->x);
	mem_free(s->v);
	mem_free(s->qk);
	mem_free(s->qk_scales);
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

/* Some rows of a unit of rows: n of them from row `at` of the run, as bytes in x8 with their scales. */
struct block {
	const struct encoder *m;
	const struct space8 *s;
	struct member *p;
	uint8_t *x8;
	float *scales, *x;
	size_t at, n;
};

/* Their embeddings, normed. */
static void block_embed(const struct block *b, const struct phase *f)
{
	const struct encoder *m = b->m;
	struct gemm8_norm norm = norm_of(&m->embedding_norm, m->s.eps);
	size_t h = b->s->w.h, h16 = b->s->w.h16, hk = b->s->w.hk, text = 0;
	for (size_t r = 0; r < b->n; r++) {
		while (f->starts[text + 1] <= b->at + r) text++;
		const float *word = m->words + (size_t)f->ids[b->at + r] * h;
		const float *position = position_row(m, f->types, b->at + r, f->starts[text]);
		float *x = b->x + r * h16;
		for (size_t i = 0; i < h; i++) x[i] = word[i] + position[i];
		memset(x + h, 0, (h16 - h) * sizeof *x);
		m->kernel->norm(x, NULL, h, &norm, hk, b->x8 + r * hk, &b->scales[r]);
	}
}

/* x = norm(x + w * input): input as bytes in p->wide8 with scales in b->scales. */
static void block_add(const struct block *b, const struct gemm8_matrix *w, const struct norm *n)
{
	const struct widths *d = &b->s->w;
	struct gemm8_norm norm = norm_of(n, b->m->s.eps);
	b->m->kernel->linear(w, 0, w->panels, b->p->wide8, b->scales, b->n, GEMM8_NONE, b->p->y, d->h16);
	for (size_t r = 0; r < b->n; r++)
		b->m->kernel->norm(b->x + r * d->h16, b->p->y + r * d->h16, d->h, &norm, d->hk, b->x8 + r * d->hk, &b->scales[r]);
}

static void block_attended(const struct block *b, const struct layer8 *l)
{
	const struct widths *d = &b->s->w;
	b->m->kernel->quant(b->s->v + b->at * d->a16, b->n, d->a16, d->ak, b->p->wide8, b->scales);
	block_add(b, &l->out, &l->after_attention);
}

static void block_feed(const struct block *b, const struct layer8 *l)
{
	const struct widths *d = &b->s->w;
	b->m->kernel->linear(&l->up, 0, l->up.panels, b->x8, b->scales, b->n, act_of(b->m->s.act), b->p->wide, d->w16);
	b->m->kernel->quant(b->p->wide, b->n, d->w16, d->wk, b->p->wide8, b->scales);
	block_add(b, &l->down, &l->after_feed);
}

static void block_heads(const struct block *b, const struct layer8 *l)
{
	const struct space8 *s = b->s;
	const struct widths *d = &s->w;
	size_t heads = 2 * d->heads;
	b->m->kernel->linear(&l->qk, 0, l->qk.panels, b->x8, b->scales, b->n, GEMM8_NONE, b->p->wide, 2 * d->a16);
	b->m->kernel->quant(b->p->wide, b->n * heads, d->dv, d->dv, s->qk + b->at * 2 * d->a16, s->qk_scales + b->at * heads);
	b->m->kernel->linear(&l->v, 0, l->v.panels, b->x8, b->scales, b->n, GEMM8_NONE, s->v + b->at * d->a16, d->a16);
}

/* Rows from to to of the run: each stage over all of them before the next, so that its weights, which fill most of a
 * core's cache, are read into it once. */
static void unit_run(const struct phase *f, struct member *p, size_t from, size_t to)
{
	const struct encoder *m = f->space->m;
	const struct space8 *s = f->space->ints;
	for (int stage = 0; stage < 3; stage++)
		for (size_t at = from; at < to; at += BLOCK_ROWS) {
			struct block b = {.m = m, .s = s, .p = p, .x8 = p->x8 + (at - from) * s->w.hk, .scales = p->scales + (at - from),
				.x = s->x + at * s->w.h16, .at = at, .n = to - at < BLOCK_ROWS ? to - at : BLOCK_ROWS};
			if (stage == 0 && f->layer < 0) block_embed(&b, f);
			if (stage == 0 && f->layer >= 0) block_attended(&b, &m->layers8[f->layer]);
			if (stage == 1 && f->layer >= 0) block_feed(&b, &m->layers8[f->layer]);
			if (stage == 2 && f->layer + 1 < m->s.layers) block_heads(&b, &m->layers8[f->layer + 1]);
		}
}

static void rows_run(const struct phase *f, struct member *p, size_t from, size_t to)
{
	for (; from < to; from += UNIT_ROWS) unit_run(f, p, from, to - from < UNIT_ROWS ? to : from + UNIT_ROWS);
}

/* One head of one text. */
static void head_run(const struct phase *f, struct member *p, size_t text, size_t head)
{
	const struct space8 *s = f->space->ints;
	const struct widths *w = &s->w;
	size_t first = f->starts[text];
	const uint8_t *q = s->qk + first * 2 * w->a16 + head * w->dv;
	const float *scales = s->qk_scales + first * 2 * w->heads + head;
	float *v = s->v + first * w->a16 + head * w->dv;
	struct gemm8_head h = {.q = q, .k = q + w->a16, .q_scale = scales, .k_scale = scales + w->heads, .v = v,
		.ld8 = 2 * w->a16, .lds = 2 * w->heads, .ldv = w->a16, .rows = f->starts[text + 1] - first, .dim = w->dim, .out = v,
		.ldo = w->a16};
	f->space->m->kernel->attend(&h, p->attend);
}

/* A phase, units of rows: from behind the attention of a layer up to the queries, keys and values of the next. */
static void rows_take(void *ctx, int member, int size)
{
	struct phase *f = ctx;
	size_t rows = f->starts[f->texts];
	(void)size;
	f->space->m->kernel->enter();
	for (;;) {
		size_t from = atomic_fetch_add(&f->next, 1) * f->unit, to = from + f->unit < rows ? from + f->unit : rows;
		if (from >= rows) break;
		rows_run(f, &f->space->ints->members[member], from, to);
	}
	f->space->m->kernel->leave();
}

/* A phase, units are heads of texts. */
static void heads_take(void *ctx, int member, int size)
{
	struct phase *f = ctx;
	size_t heads = f->space->ints->w.heads;
	(void)size;
	f->space->m->kernel->enter();
	for (;;) {
		size_t unit = atomic_fetch_add(&f->next, 1);
		if (unit / heads >= f->texts) break;
		head_run(f, &f->space->ints->members[member], unit / heads, unit % heads);
	}
	f->space->m->kernel->leave();
}

/* The next texts, of about f->unit rows together, from *from to before *to; 0: there are none. */
static int texts_take(struct phase *f, size_t *from, size_t *to)
{
	*from = atomic_load(&f->next);
	do {
		if (*from >= f->texts) return 0;
		for (*to = *from + 1; *to < f->texts && f->starts[*to + 1] - f->starts[*from] <= f->unit;) ++*to;
	} while (!atomic_compare_exchange_weak(&f->next, from, *to));
	return 1;
}

/* The whole run, units are groups of texts: one member takes them through all layers. */
static void groups_take(void *ctx, int member, int size)
{
	struct phase *all = ctx;
	struct member *p = &all->space->ints->members[member];
	const struct encoder *m = all->space->m;
	size_t from, to;
	(void)size;
	m->kernel->enter();
	while (texts_take(all, &from, &to)) {
		struct phase f = {.space = all->space, .ids = all->ids, .types = all->types, .starts = all->starts, .texts = all->texts, .layer = -1};
		rows_run(&f, p, f.starts[from], f.starts[to]);
		while (++f.layer < m->s.layers) {
			for (size_t text = from; text < to; text++)
				for (size_t head = 0; head < all->space->ints->w.heads; head++) head_run(&f, p, text, head);
			rows_run(&f, p, f.starts[from], f.starts[to]);
		}
	}
	m->kernel->leave();
}

static void phase_run(struct phase *f, void (*take)(void *, int, int))
{
	atomic_store(&f->next, 0);
	team_run(f->space->team, take, f);
}

const float *space8_run(struct encoder_space *space, const int32_t *ids, const uint8_t *types, const size_t *starts,
	size_t texts)
{
	const struct space8 *s = space->ints;
	struct phase f = {.space = space, .ids = ids, .types = types, .starts = starts, .texts = texts, .layer = -1};
	size_t rows = starts[texts], longest = 0, share = (rows + (size_t)s->size - 1) / (size_t)s->size;
	for (size_t i = 0; i < texts; i++) longest = larger(longest, starts[i + 1] - starts[i]);
	if (s->size == 1 || 2 * longest <= share) {
		f.unit = s->size == 1 || share >= 2 * GROUP_ROWS ? GROUP_ROWS : (share + 1) / 2;
		phase_run(&f, groups_take);
	} else {
		f.unit = pad((share + 1) / 2, BLOCK_ROWS / 2);
		phase_run(&f, rows_take);
		while (++f.layer < space->m->s.layers) {
			phase_run(&f, heads_take);
			phase_run(&f, rows_take);
		}
	}
	for (size_t r = 1; r < rows && s->w.h16 != s->w.h; r++)
		memmove(s->x + r * s->w.h, s->x + r * s->w.h16, s->w.h * sizeof *s->x);
	return s->x;
}
