/* decoder_cpu.c: owns the packed weights and the scratch of a decoder that runs on the CPU, and its passes.
 *
 * A pass takes rows, tokens of one or many sequences, through every layer: norm, q k v, rotary positions, attention over
 * its sequence's pages, output and residual, norm, gated feed-forward and residual; then norm and logits for the tokens
 * that want them. Each stage is cut into items (tiles of weight rows, tokens, or heads): each of the team's members has a run of
 * them, for memory is fastest read in long runs, and then takes from the others' runs, so a member that the machine
 * held up does not hold up the others; items write disjoint memory, and no result depends
 * on who computed it.
 * A matrix that an adapter touches is multiplied as it lies in the file; a x of the adapter's pair is made in a stage of
 * its own before, and b times that is added tile by tile (lora.h).
 * Threads: one caller; the team works inside a stage. Failure: only at open. */
#include <stdatomic.h>
#include <string.h>
#include "base/mem.h"
#include "generate/decoder_inside.h"
#include "nn/packs.h"
#include "nn/quant.h"

enum { SCRATCH_ALIGN = 64, PROMPT_TILE_ROWS = 256, ATTEND_TOKENS = 64 };

struct share {                                   /* of a stage's items; a cache line each */
	_Alignas(SCRATCH_ALIGN) atomic_size_t next;
	size_t end;
};

struct cpu_pass {
	struct decoder *d;
	const struct ops *ops;
	struct team *team;
	void (*gate_mul)(const float *gate, const float *up, size_t n, float *out);
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
	struct decoder_row *rows;
	size_t n, layer, want;
	size_t pos[DECODER_CHUNK];               /* of the rows */
	struct run { size_t row, n; } runs[DECODER_CHUNK]; /* rows of one sequence, at most ATTEND_TOKENS */
	size_t run_n;
	size_t head_parts;                       /* items of a run's query heads that share a head of keys */
	float *logits;                           /* (wants, vocab) */
	size_t bests[DECODER_CHUNK], best_n;     /* rows that want their best */
	const struct linear *low_of[SLOTS];      /* item_low: those with an adapter, their input, its rows */
	size_t low_n, low_tokens;
	const float *low_x;
};

/* --- opening --- */
/* Packs what integer products can take. */
static int pack_weights(struct cpu_pass *c, const char *folder, struct err *e)
{
	size_t most = c->d->info.layers * LAYER_LINEARS + 1, n = 0;
	const struct matrix **w = mem_calloc(most, sizeof *w);
	struct linear **to = mem_calloc(most, sizeof *to);
	struct packed *p = mem_calloc(most, sizeof *p);
	int st = w && to && p ? OK : err_set(e, E_MEMORY, "%s: out of memory", gguf_path(c->d->g));
	for (size_t i = 0; st == OK && i < most; i++) {
		struct layer *l = i + 1 < most ? &c->d->layers[i / LAYER_LINEARS] : NULL;
		struct linear *at = &c->d->output;
		if (l) at = (struct linear *[LAYER_LINEARS]){ &l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down }[i % LAYER_LINEARS];
		if (!pack_supported(at->w.type)) continue;
		to[n] = at;
		w[n++] = &at->w;
	}
	if (st == OK) st = packs_open(&c->packs, w, n, p, gguf_path(c->d->g), folder, c->team, e);
	for (size_t i = 0; st == OK && i < n; i++) to[i]->packed = p[i];
	mem_free(w);
	mem_free(to);
	mem_free(p);
	return st;
}

static float *floats(size_t rows, size_t n)
{
	size_t bytes;
	if (__builtin_mul_overflow(rows, n, &bytes) || __builtin_mul_overflow(bytes, sizeof(float), &bytes)) return NULL;
	return mem_huge((bytes + SCRATCH_ALIGN - 1) / SCRATCH_ALIGN * SCRATCH_ALIGN);
}

static uint8_t *act_rows(const struct cpu_pass *c, size_t k)
{
	size_t written = DECODER_CHUNK * c->ops->act_bytes(k), prompt = c->ops->prompt_bytes(k, DECODER_CHUNK);
	if (prompt > written) written = prompt;
	return mem_huge((written + SCRATCH_ALIGN - 1) / SCRATCH_ALIGN * SCRATCH_ALIGN);
}

static int make_scratch(struct cpu_pass *c, struct err *e)
{
	const struct decoder_info *f = &c->d->info;
	size_t k_max = f->ff > f->dim ? f->ff : f->dim, attend = ops_attend_floats(f->head_dim, f->context), rank = lora_rank(c->d->lora);
	if (c->d->q_dim > k_max) k_max = c->d->q_dim;
	if (rank > k_max) k_max = rank;
	c->scratch_floats = ops_scratch_floats(k_max);
	if (attend > c->scratch_floats) c->scratch_floats = attend;
	c->scratch_floats = (c->scratch_floats + 15) / 16 * 16;
	c->x = floats(DECODER_CHUNK, f->dim);
	c->norm = floats(DECODER_CHUNK, f->dim);
	c->proj = floats(DECODER_CHUNK, f->dim);
	c->q = floats(DECODER_CHUNK, c->d->q_dim);
	c->mix = floats(DECODER_CHUNK, c->d->q_dim);
	c->k = floats(DECODER_CHUNK, c->d->kv_dim);
	c->v = floats(DECODER_CHUNK, c->d->kv_dim);
	c->gate = floats(DECODER_CHUNK, f->ff);
	c->logits = mem_calloc(c->d->wants * f->vocab, sizeof *c->logits);
	c->tile = floats((size_t)team_size(c->team) * 2 * DECODER_CHUNK, PROMPT_TILE_ROWS + OPS_PROMPT_PAD);
	c->scratch = floats((size_t)team_size(c->team), c->scratch_floats);
	c->shares = mem_aligned(SCRATCH_ALIGN, (size_t)team_size(c->team) * sizeof *c->shares);
	if (c->ops->mul) {
		c->act = act_rows(c, f->dim > c->d->q_dim ? f->dim : c->d->q_dim);
		c->act_ff = act_rows(c, f->ff);
	}
	if (rank) {
		c->low = floats(SLOTS * DECODER_CHUNK, rank);
		c->added = floats((size_t)team_size(c->team), DECODER_CHUNK * OPS_TILE_ROWS);
	}
	if (!c->x || !c->norm || !c->proj || !c->q || !c->mix || !c->k || !c->v || !c->gate || !c->logits || !c->tile || !c->scratch ||
		!c->shares || (c->ops->mul && (!c->act || !c->act_ff)) || (rank && (!c->low || !c->added)))
		return err_set(e, E_MEMORY, "%s: out of memory for activations", gguf_path(c->d->g));
	return OK;
}

int cpu_pass_open(struct cpu_pass **out, struct decoder *d, const struct ops *ops, struct team *team,
	const struct decoder_options *o, struct err *e)
{
	struct cpu_pass *c = mem_calloc(1, sizeof *c);
	int st;
	*out = NULL;
	if (!c) return err_set(e, E_MEMORY, "%s: out of memory", gguf_path(d->g));
	c->d = d;
	c->ops = ops;
	c->team = team;
	c->gate_mul = d->arch->gemma ? ops->gelu_mul : ops->silu_mul;
	st = ops->mul ? pack_weights(c, o->packs, e) : OK;
	if (st == OK) st = make_scratch(c, e);
	if (st != OK) cpu_pass_close(c);
	else *out = c;
	return st;
}

void cpu_pass_close(struct cpu_pass *c)
{
	if (!c) return;
	float *const all[] = { c->x, c->norm, c->proj,
		c->q, c->mix, c->k, c->v, c->gate, c->logits, c->tile, c->scratch, c->low, c->added };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
	packs_close(c->packs);
	mem_free(c->act);
	mem_free(c->act_ff);
	mem_free(c->shares);
	mem_free(c);
}

int cpu_pass_phases_differ(const struct cpu_pass *c)
{
	return c->ops->prompt_mul != c->ops->mul;
}

/* --- a pass --- */
struct stage {
	struct cpu_pass *c;
	void (*item)(struct cpu_pass *c, size_t i, float *scratch);
};

/* A member's own items first, one behind the other as their weights lie in memory; then what others have left. */
static void draw_items(void *ctx, int member, int size)
{
	struct stage *s = ctx;
	float *scratch = s->c->scratch + (size_t)member * s->c->scratch_floats;
	for (int m = 0; m < size; m++) {
		struct share *own = &s->c->shares[(member + m) % size];
		for (size_t i; (i = atomic_fetch_add_explicit(&own->next, 1, memory_order_relaxed)) < own->end;)
			s->item(s->c, i, scratch);
	}
}

static void run_stage(struct cpu_pass *c, size_t items, void (*item)(struct cpu_pass *, size_t, float *))
{
	struct stage s = { .c = c, .item = item };
	size_t size = (size_t)team_size(c->team);
	if (items == 1) {
		item(c, 0, c->scratch);
		return;
	}
	for (size_t m = 0; m < size; m++) {
		atomic_store_explicit(&c->shares[m].next, items * m / size, memory_order_relaxed);
		c->shares[m].end = items * (m + 1) / size;
	}
	team_draw(c->team, draw_items, &s);
}

/* Rows of weights in an item. Prompts' kernels want many, for each item reads all tokens; but the members are to have
 * the same: of the cuts into about as few items as there must be, that which leaves the longest share shortest. */
static size_t tile_rows(const struct cpu_pass *c, size_t rows)
{
	const size_t members = (size_t)team_size(c->team), units = (rows + OPS_TILE_ROWS - 1) / OPS_TILE_ROWS,
		least = (rows + PROMPT_TILE_ROWS - 1) / PROMPT_TILE_ROWS;
	size_t best = 1, best_share = SIZE_MAX;
	if (!c->prompt) return OPS_TILE_ROWS;
	for (size_t items = least; items < least + 2 * members + 1; items++) {
		size_t unit = (units + items - 1) / items, share = ((units + unit - 1) / unit + members - 1) / members * unit;
		if (share < best_share) best = unit, best_share = share;
	}
	return best * OPS_TILE_ROWS;
}

static size_t tiles(const struct cpu_pass *c, size_t rows)
{
	return (rows + tile_rows(c, rows) - 1) / tile_rows(c, rows);
}

/* From a token's results in a tile to the next one's. */
static size_t tile_ld(const struct cpu_pass *c, size_t rows)
{
	return tile_rows(c, rows) + (c->prompt ? OPS_PROMPT_PAD : 0);
}

static size_t low_tiles(const struct linear *l)
{
	return (l->lora->a.rows + OPS_TILE_ROWS - 1) / OPS_TILE_ROWS;
}

static size_t member_of(const struct cpu_pass *c, const float *scratch)
{
	return (size_t)(scratch - c->scratch) / c->scratch_floats;
}

/* A member's two places for what an item computes: (n, tile_ld) each. */
static float *tile_of(const struct cpu_pass *c, const float *scratch, size_t which)
{
	return c->tile + (member_of(c, scratch) * 2 + which) * DECODER_CHUNK * (PROMPT_TILE_ROWS + OPS_PROMPT_PAD);
}

/* Work space of a linear's a x: rows of b.k floats. */
static float *low_of(const struct cpu_pass *c, const struct linear *l)
{
	return c->low + l->slot * DECODER_CHUNK * lora_rank(c->d->lora);
}

/* The first `rows` rows of w times n rows of x, as many at a time as the kernel takes. */
static void times(const struct cpu_pass *c, const struct matrix *w, size_t rows, const float *x, size_t n, float *y, size_t ldy,
	float *scratch)
{
	for (size_t t = 0, m; t < n; t += m) {
		m = n - t < OPS_TOKENS ? n - t : OPS_TOKENS;
		c->ops->matmul(w, 0, rows, x + t * w->k, w->k, m, y + t * ldy, ldy, scratch);
	}
}

/* Activations of row t to act: those of the `count` floats at x, whole groups, which are `from` … of its k. */
static void activate_part(const struct cpu_pass *c, const float *x, size_t from, size_t count, size_t k, size_t t, uint8_t *act)
{
	if (c->prompt) c->ops->prompt_act(x, from, count, k, t, act);
	else if (c->ops->mul) c->ops->act(x, count, act + t * c->ops->act_bytes(k) + c->ops->act_bytes(from));
}

static void activate(const struct cpu_pass *c, const float *x, size_t k, size_t t, uint8_t *act)
{
	activate_part(c, x + t * k, 0, k, k, t, act);
}

/* What the adapter of l adds to rows r0 … of y. */
static void add_low(struct cpu_pass *c, const struct linear *l, size_t r0, size_t rows, size_t n, float *y, size_t ldy,
	float *scratch)
{
	float *added = c->added + member_of(c, scratch) * DECODER_CHUNK * OPS_TILE_ROWS;
	for (size_t at = 0, m; at < rows; at += m) {
		struct matrix b = l->lora->b;
		m = rows - at < OPS_TILE_ROWS ? rows - at : OPS_TILE_ROWS;
		b.data += (r0 + at) * b.row_bytes;
		times(c, &b, m, low_of(c, l), n, added, OPS_TILE_ROWS, scratch);
		for (size_t t = 0; t < n; t++)
			for (size_t r = 0; r < m; r++) y[t * ldy + at + r] += added[t * OPS_TILE_ROWS + r];
	}
}

/* Rows of tile i of a linear times n rows of x, whose activations are in act: y[t*ldy + r] is row *r0 + r. How many. */
static size_t multiply(struct cpu_pass *c, const struct linear *l, size_t i, const float *x, const uint8_t *act, size_t n,
	float *y, size_t ldy, float *scratch)
{
	const size_t most = tile_rows(c, l->w.rows), r0 = i * most, rows = l->w.rows - r0 < most ? l->w.rows - r0 : most,
		panel0 = r0 / PACK_ROWS, panel1 = (r0 + rows + PACK_ROWS - 1) / PACK_ROWS;
	struct matrix w = l->w;
	w.data += r0 * w.row_bytes;
	if (!l->packed.data) times(c, &w, rows, x, n, y, ldy, scratch);
	else if (c->prompt) c->ops->prompt_mul(&l->packed, panel0, panel1, act, n, y, ldy, scratch);
	else c->ops->mul(&l->packed, panel0, panel1, act, n, y, ldy, scratch);
	if (l->lora) add_low(c, l, r0, rows, n, y, ldy, scratch);
	return rows;
}

/* Tiles of a x of the first linear of low_of, then of the next. What is behind the rank meets zeros of b. */
static void item_low(struct cpu_pass *c, size_t i, float *scratch)
{
	size_t p = 0, r0, r1;
	while (i >= low_tiles(c->low_of[p])) i -= low_tiles(c->low_of[p++]);
	const struct matrix *a = &c->low_of[p]->lora->a;
	size_t ld = c->low_of[p]->lora->b.k;
	float *low = low_of(c, c->low_of[p]);
	r0 = i * OPS_TILE_ROWS;
	r1 = a->rows - r0 < OPS_TILE_ROWS ? a->rows : r0 + OPS_TILE_ROWS;
	struct matrix part = *a;
	part.data += r0 * a->row_bytes;
	times(c, &part, r1 - r0, c->low_x, c->low_tokens, low + r0, ld, scratch);
	for (size_t t = 0; r1 == a->rows && t < c->low_tokens; t++) memset(low + t * ld + r1, 0, (ld - r1) * sizeof *low);
}

/* Before the stage that multiplies n rows of x with linears: what their adapters need. */
static void run_low(struct cpu_pass *c, const struct linear *const *linears, size_t count, const float *x, size_t n)
{
	size_t items = 0;
	c->low_n = 0;
	for (size_t i = 0; i < count; i++) {
		if (!linears[i]->lora) continue;
		c->low_of[c->low_n++] = linears[i];
		items += low_tiles(linears[i]);
	}
	c->low_x = x;
	c->low_tokens = n;
	if (items) run_stage(c, items, item_low);
}

static void item_attn_norm(struct cpu_pass *c, size_t t, float *scratch)
{
	size_t dim = c->d->info.dim;
	(void)scratch;
	c->ops->norm(c->x + t * dim, c->d->layers[c->layer].attn_norm, dim, c->d->eps, c->norm + t * dim);
	activate(c, c->norm, dim, t, c->act);
}

static void item_ffn_norm(struct cpu_pass *c, size_t t, float *scratch)
{
	size_t dim = c->d->info.dim;
	(void)scratch;
	c->ops->norm(c->x + t * dim, c->d->layers[c->layer].ffn_norm, dim, c->d->eps, c->norm + t * dim);
	activate(c, c->norm, dim, t, c->act);
}

/* Tiles of q, then of k, then of v. */
static void item_qkv(struct cpu_pass *c, size_t i, float *scratch)
{
	const struct layer *l = &c->d->layers[c->layer];
	const struct { const struct linear *w; const float *bias; float *y; } parts[] = {
		{ &l->q, l->q_bias, c->q }, { &l->k, l->k_bias, c->k }, { &l->v, l->v_bias, c->v },
	};
	size_t p = 0;
	while (i >= tiles(c, parts[p].w->w.rows)) i -= tiles(c, parts[p++].w->w.rows);
	const size_t ldy = parts[p].w->w.rows, r0 = i * tile_rows(c, ldy), ld = tile_ld(c, ldy);
	const float *bias = parts[p].bias, *from = tile_of(c, scratch, 0);
	float *y = parts[p].y + r0;
	size_t rows = multiply(c, parts[p].w, i, c->norm, c->act, c->n, tile_of(c, scratch, 0), ld, scratch);
	for (size_t t = 0; t < c->n; t++, y += ldy, from += ld) {
		if (!bias) memcpy(y, from, rows * sizeof *y);
		else for (size_t r = 0; r < rows; r++) y[r] = from[r] + bias[r0 + r];
	}
}

static void norm_heads(const struct cpu_pass *c, const float *w, float *x, size_t heads)
{
	size_t hd = c->d->info.head_dim;
	for (size_t h = 0; w && h < heads; h++) c->ops->norm(x + h * hd, w, hd, c->d->eps, x + h * hd);
}

static void item_rope(struct cpu_pass *c, size_t t, float *scratch)
{
	const struct layer *l = &c->d->layers[c->layer];
	const struct rope *rope = c->d->cache.slides[c->layer] ? &c->d->rope_slides : &c->d->rope;
	size_t pos = c->pos[t], hd = c->d->info.head_dim;
	float *q = c->q + t * c->d->q_dim, *k = c->k + t * c->d->kv_dim, *v = c->v + t * c->d->kv_dim;
	(void)scratch;
	norm_heads(c, l->q_norm, q, c->d->info.heads);
	norm_heads(c, l->k_norm, k, c->d->info.kv_heads);
	rope_turn(rope, q, c->d->info.heads, hd, pos);
	rope_turn(rope, k, c->d->info.kv_heads, hd, pos);
	for (size_t h = 0; h < c->d->info.kv_heads; h++) {
		c->ops->halves(k + h * hd, hd, kvseq_key(&c->d->cache, c->rows[t].seq, c->layer, h, pos));
		c->ops->halves(v + h * hd, hd, kvseq_value(&c->d->cache, c->rows[t].seq, c->layer, h, pos));
	}
}

/* A run of rows and a part of the query heads that share a head of keys; runs with most keys first. */
static void item_attend(struct cpu_pass *c, size_t i, float *scratch)
{
	const size_t group = c->d->info.heads / c->d->info.kv_heads, hd = c->d->info.head_dim, items = c->d->info.kv_heads * c->head_parts;
	const struct run *r = &c->runs[c->run_n - 1 - i / items];
	const size_t kvh = i % items / c->head_parts, part = i % c->head_parts, h = group * part / c->head_parts,
		heads = group * (part + 1) / c->head_parts - h, from = (kvh * group + h) * hd, at = r->row * c->d->q_dim + from;
	const struct ops_pages kv = kvseq_pages(&c->d->cache, c->rows[r->row].seq, c->layer, kvh);
	const struct ops_attend a = { .q = c->q + at, .ldq = c->d->q_dim, .tokens = r->n, .heads = heads, .head_dim = hd,
		.pos = c->pos[r->row], .window = c->d->cache.slides[c->layer] ? c->d->window : 0, .kv = &kv, .scale = c->d->scale,
		.out = c->mix + at, .ldo = c->d->q_dim };
	(c->prompt ? c->ops->prompt_attend : c->ops->attend)(&a, scratch);
	for (size_t t = 0; c->parts && t < r->n; t++)
		activate_part(c, c->mix + at + t * c->d->q_dim, from, heads * hd, c->d->q_dim, r->row + t, c->act);
}

static void item_mix(struct cpu_pass *c, size_t t, float *scratch)
{
	(void)scratch;
	activate(c, c->mix, c->d->q_dim, t, c->act);
}

/* Tile i of a linear onto the residual, unless a norm of the whole vector comes between (item_attn_post, item_ffn_post). */
static void add_tile(struct cpu_pass *c, const struct linear *l, size_t i, const float *x, const uint8_t *act, float *scratch)
{
	const size_t dim = c->d->info.dim, ld = tile_ld(c, dim), r0 = i * tile_rows(c, dim);
	float *tile = tile_of(c, scratch, 0);
	size_t rows = multiply(c, l, i, x, act, c->n, tile, ld, scratch);
	for (size_t t = 0; t < c->n; t++) {
		float *to = c->x + t * dim + r0;
		if (c->d->arch->gemma) memcpy(c->proj + t * dim + r0, tile + t * ld, rows * sizeof *tile);
		else for (size_t r = 0; r < rows; r++) to[r] += tile[t * ld + r];
	}
}

static void add_normed(struct cpu_pass *c, size_t t, const float *w)
{
	size_t dim = c->d->info.dim;
	float *x = c->x + t * dim, *proj = c->proj + t * dim;
	c->ops->norm(proj, w, dim, c->d->eps, proj);
	for (size_t i = 0; i < dim; i++) x[i] += proj[i];
}

static void item_attn_post(struct cpu_pass *c, size_t t, float *scratch)
{
	(void)scratch;
	add_normed(c, t, c->d->layers[c->layer].attn_post);
}

static void item_ffn_post(struct cpu_pass *c, size_t t, float *scratch)
{
	(void)scratch;
	add_normed(c, t, c->d->layers[c->layer].ffn_post);
}

static void item_out(struct cpu_pass *c, size_t i, float *scratch)
{
	add_tile(c, &c->d->layers[c->layer].o, i, c->mix, c->act, scratch);
}

/* The floats are kept only where something wants them: weights in floats, an adapter. */
static void item_gate_up(struct cpu_pass *c, size_t i, float *scratch)
{
	const struct layer *l = &c->d->layers[c->layer];
	const size_t ff = c->d->info.ff, ld = tile_ld(c, ff), r0 = i * tile_rows(c, ff);
	const int keep = !l->down.packed.data || l->down.lora;
	float *gate = tile_of(c, scratch, 0), *up = tile_of(c, scratch, 1);
	size_t rows = multiply(c, &l->gate, i, c->norm, c->act, c->n, gate, ld, scratch);
	multiply(c, &l->up, i, c->norm, c->act, c->n, up, ld, scratch);
	for (size_t t = 0; t < c->n; t++, gate += ld, up += ld) {
		c->gate_mul(gate, up, rows, gate);
		activate_part(c, gate, r0, rows, ff, t, c->act_ff);
		if (keep) memcpy(c->gate + t * ff + r0, gate, rows * sizeof *gate);
	}
}

static void item_down(struct cpu_pass *c, size_t i, float *scratch)
{
	add_tile(c, &c->d->layers[c->layer].down, i, c->gate, c->act_ff, scratch);
}

static void item_logits(struct cpu_pass *c, size_t i, float *scratch)
{
	multiply(c, &c->d->output, i, c->norm, c->act, c->want, c->logits + i * tile_rows(c, c->d->info.vocab),
		c->d->info.vocab, scratch);
}

static void item_best(struct cpu_pass *c, size_t i, float *scratch)
{
	struct decoder_row *r = &c->rows[c->bests[i]];
	(void)scratch;
	r->best = sample_best(r->logits.logits, c->d->info.vocab);
}

/* Query heads that share keys are one item, which reads the keys once, unless some members would have none. */
static size_t head_parts(const struct cpu_pass *c)
{
	size_t group = c->d->info.heads / c->d->info.kv_heads, items = c->run_n * c->d->info.kv_heads;
	size_t parts = ((size_t)team_size(c->team) + items - 1) / items;
	return parts < group ? parts : group;
}

/* The rows' positions and embeddings; their sequences grow by them. */
static void begin_rows(struct cpu_pass *c, struct decoder_row *rows, size_t n)
{
	size_t dim = c->d->info.dim;
	c->rows = rows;
	c->n = n;
	c->want = c->run_n = c->best_n = 0;
	for (size_t t = 0; t < n; t++) {
		struct kvseq *s = rows[t].seq;
		c->pos[t] = s->len;
		s->ids[s->len++] = rows[t].id;
		if (rows[t].want == WANT_BEST) c->bests[c->best_n++] = t;
		if (rows[t].want) rows[t].logits = (struct sample_row){ .logits = c->logits + c->want++ * c->d->info.vocab };
		if (t == 0 || rows[t - 1].seq != s || c->runs[c->run_n - 1].n == ATTEND_TOKENS)
			c->runs[c->run_n++] = (struct run){ t, 0 };
		c->runs[c->run_n - 1].n++;
		quant_row(c->d->embed.type, c->d->embed.data + (size_t)rows[t].id * c->d->embed.row_bytes, dim, c->x + t * dim);
		for (size_t i = 0; c->d->arch->gemma && i < dim; i++) c->x[t * dim + i] *= c->d->embed_scale;
	}
	c->head_parts = head_parts(c);
}

static void run_layer(struct cpu_pass *c)
{
	const struct decoder_info *f = &c->d->info;
	const struct layer *l = &c->d->layers[c->layer];
	size_t n = c->n;
	run_stage(c, n, item_attn_norm);
	run_low(c, (const struct linear *[]){ &l->q, &l->k, &l->v }, 3, c->norm, n);
	run_stage(c, tiles(c, c->d->q_dim) + 2 * tiles(c, c->d->kv_dim), item_qkv);
	run_stage(c, n, item_rope);
	run_stage(c, c->run_n * f->kv_heads * c->head_parts, item_attend);
	if (c->ops->mul && !c->parts) run_stage(c, n, item_mix);
	run_low(c, (const struct linear *[]){ &l->o }, 1, c->mix, n);
	run_stage(c, tiles(c, f->dim), item_out);
	if (c->d->arch->gemma) run_stage(c, n, item_attn_post);
	run_stage(c, n, item_ffn_norm);
	run_low(c, (const struct linear *[]){ &l->gate, &l->up }, 2, c->norm, n);
	run_stage(c, tiles(c, f->ff), item_gate_up);
	run_low(c, (const struct linear *[]){ &l->down }, 1, c->gate, n);
	run_stage(c, tiles(c, f->dim), item_down);
	if (c->d->arch->gemma) run_stage(c, n, item_ffn_post);
}

void cpu_pass_eval(struct cpu_pass *c, enum decoder_phase phase, struct decoder_row *rows, size_t n)
{
	const struct decoder_info *f = &c->d->info;
	c->prompt = phase == PHASE_PROMPT && cpu_pass_phases_differ(c);
	c->parts = c->ops->mul && f->head_dim % PACK_GROUP == 0;
	begin_rows(c, rows, n);
	for (c->layer = 0; c->layer < f->layers; c->layer++) run_layer(c);
	if (c->want == 0) return;
	c->prompt = 0;                           /* few rows */
	for (size_t t = 0, w = 0; t < n; t++) {
		if (!rows[t].want) continue;
		c->ops->norm(c->x + t * f->dim, c->d->output_norm, f->dim, c->d->eps, c->norm + w * f->dim);
		activate(c, c->norm, f->dim, w++, c->act);
	}
	run_low(c, (const struct linear *[]){ &c->d->output }, 1, c->norm, c->want);
	run_stage(c, tiles(c, f->vocab), item_logits);
	if (c->best_n) run_stage(c, c->best_n, item_best);
}
