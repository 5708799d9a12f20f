/* decoder_gpu.c: owns a decoder's weights, activations and tables on a GPU, and its passes there.
 *
 * The host keeps the sequences, their tables of pages and the tree (kvcache.c); the device has the weights, each once, the
 * pages themselves, and the activations of one pass. A pass is told its rows by one table of 32-bit numbers (ids, positions,
 * slots, rows wanted, pages of each slot), filled in page-locked memory and copied in whole; then it is a queue of kernels,
 * which the host waits for once, at its end. Rows of a sequence are put beside each other, as attention over
 * prompts wants it; what a row is worth does not depend on its place.
 * Passes that write are alike but for their size, so their rows, rows wanted and keys are rounded up to powers of two (rows
 * that are not there have position -1), and the second pass of a size is recorded as a graph, which later ones replay:
 * then a token costs the host one launch, not half a dozen for each layer. Prompts, in few large passes, are queued kernel by kernel.
 * Logits stay on the device: a few of the likeliest tokens of each row come back with the pass, which is what most tokens are
 * chosen from (sample.h); a whole row is copied when it is asked for. Rows of a constraint have no mask there: it looks at tokens as
 * they are offered, most often at one, where a mask would have to try the whole vocabulary.
 * Memory. What all of it takes is reckoned before any is taken: weights, work space of products, norms and rotary tables,
 * activations, attention's sums, logits, tables, and keys and values of one context at least. If that is more than is free, the
 * model is not opened there. Keys and values come last and get what was asked for, if somebody asked for so much and it is
 * there; else no more than three quarters of what is left then, for others come to the same device later, a second model, an
 * encoder, vectors to be searched. Nothing is taken after that but by recorded passes, for which alloc leaves room (gpu.h).
 * Threads: one caller. Failure: at open, and by a lost device, which is final: everything later says so. */
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "generate/decoder_inside.h"

enum {
	GRAPHS_MAX = 96, KEYS_LEAST = 256, HEAD_MOST = 256,
	ALIGN_FLOATS = 64                        /* of what lies in one piece of device memory: 256 bytes */
};
_Static_assert((int)DECODER_CHUNK <= (int)GPU_ROWS && (int)KVCACHE_PAGE == (int)GPU_PAGE, "a pass is one call; pages are the kernels'");

struct gpu_layer {                               /* as struct layer, on the device */
	struct gpu_matrix q, k, v, o, gate, up, down;
	const float *attn_norm, *ffn_norm, *q_bias, *k_bias, *v_bias, *q_norm, *k_norm, *attn_post, *ffn_post;
};

struct shape {                                   /* of a pass */
	size_t rows, wants, keys;                /* keys: no row has more */
	size_t slots, ld_pages;                  /* of the table of pages */
	int prompt;
};

struct recorded {
	size_t rows, wants, keys;
	uint64_t used;                           /* when, by the count of passes */
	struct gpu_graph *graph;                 /* NULL: its size came once so far, or it cannot be */
	int failed;
};

struct tables {                                  /* n: numbers, all together */
	int32_t *ids, *pos, *slot, *pick, *most;
	float *temperature;
	uint32_t *pages;
	size_t n;
};

enum part { WEIGHTS, WORK, VECTORS, ACTIVATIONS, SUMS, LOGITS, TABLES, KEYS, PARTS }; /* of the device's memory */
static const char *const part_names[PARTS] = { "weights", "work space", "norms and rotary tables", "activations", "attention's sums",
	"logits", "tables", "keys and values" };

struct gpu_pass {
	struct decoder *d;
	const struct gpu_table *t;
	struct gpu *g;
	struct gpu_info info;                    /* at open */
	struct gpu_matrix embed, output;         /* output: data NULL where embed is it */
	struct gpu_layer *layers;
	float *vectors, *activations;            /* device: all norms, biases and rotary tables; all below */
	const float *output_norm, *cos[2], *sin[2]; /* [1]: of layers with a window */
	float *x, *proj, *q, *k, *v, *mix, *gate;/* (DECODER_CHUNK, …) */
	float *logits;                           /* (wants, vocab) */
	float *scratch;                          /* of attention */
	void *top_scratch;
	struct gpu_best *best;                   /* (wants) */
	int32_t *table;                          /* struct tables: there, */
	int32_t *host_table;                     /* and here, in page-locked memory, as the next two */
	struct gpu_best *host_best;              /* (wants) */
	float *host_logits;                      /* (vocab): of row `fetched` */
	size_t fetched;                          /* SIZE_MAX: of none */
	uint64_t bytes[PARTS];                   /* planned at open, before any are taken; of KEYS those that were */
	size_t longest;                          /* row of weights */
	size_t slots, keys_max;                  /* sequences of a pass; positions of one */
	struct recorded recorded[GRAPHS_MAX];
	size_t recorded_n;
	uint64_t passes, prompts;                /* run so far */
	int first;                               /* the last one was the first of its size, or recorded */
	struct err lost;                         /* status OK: it is there */
};

/* --- opening --- */
static size_t power_of_two(size_t n, size_t least, size_t most)
{
	size_t p = least;
	while (p < n) p *= 2;
	return p < most ? p : most;
}

/* A matrix, or before there is any memory its part of the plan: work space is what the longest rows want. */
static int load_matrix(struct gpu_pass *p, const struct matrix *w, struct gpu_matrix *out, struct err *e)
{
	uint64_t work;
	if (p->vectors) return p->t->matrix_load(p->g, w, out, e);
	p->bytes[WEIGHTS] += p->t->matrix_bytes(w);
	work = p->info.held + p->t->work_bytes(p->g, w->k);
	if (work > p->bytes[WORK]) p->bytes[WORK] = work;
	if (w->k > p->longest) p->longest = w->k;
	return OK;
}

/* Number i of a head on the device is this one of the file's: pairs that turn together lie side by side there (gpu.h). */
static size_t paired(const struct rope *r, size_t i)
{
	return r->apart && i < 2 * r->half ? i / 2 + i % 2 * r->half : i;
}

/* A matrix of queries or keys. */
static int load_heads(struct gpu_pass *p, const struct matrix *w, struct gpu_matrix *out, struct err *e)
{
	const struct rope *r = &p->d->rope;
	const size_t hd = p->d->info.head_dim;
	struct matrix there = *w;
	uint8_t *rows;
	int st;
	if (!r->apart || !p->vectors) return load_matrix(p, w, out, e);
	there.data = rows = mem_aligned(64, w->rows * w->row_bytes);
	if (!rows) return err_set(e, E_MEMORY, "%s: out of memory", gguf_path(p->d->g));
	for (size_t i = 0; i < w->rows; i++)
		memcpy(rows + i * w->row_bytes, w->data + (i / hd * hd + paired(r, i % hd)) * w->row_bytes, w->row_bytes);
	st = load_matrix(p, &there, out, e);
	mem_free(rows);
	return st;
}

static int load_weights(struct gpu_pass *p, struct err *e)
{
	const struct decoder *d = p->d;
	int st = load_matrix(p, &d->embed, &p->embed, e);
	if (st == OK && d->output.w.data != d->embed.data) st = load_matrix(p, &d->output.w, &p->output, e);
	for (size_t i = 0; i < d->info.layers && st == OK; i++) {
		const struct layer *l = &d->layers[i];
		struct gpu_layer *to = &p->layers[i];
		const struct { const struct linear *from; struct gpu_matrix *to; } all[LAYER_LINEARS] = {
			{ &l->q, &to->q }, { &l->k, &to->k }, { &l->v, &to->v }, { &l->o, &to->o }, { &l->gate, &to->gate },
			{ &l->up, &to->up }, { &l->down, &to->down },
		};
		for (size_t m = 0; m < LAYER_LINEARS && st == OK; m++) st = (m < 2 ? load_heads : load_matrix)(p, &all[m].from->w, all[m].to, e);
	}
	return st;
}

static size_t whole(size_t n)
{
	return (n + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
}

/* Place for n floats, and they themselves once there is memory; NULL for NULL. */
static const float *put_vector(struct gpu_pass *p, const float *from, size_t n, size_t *at)
{
	float *to = p->vectors ? p->vectors + *at : NULL;
	if (!from) return NULL;
	if (to) p->t->copy_in(p->g, to, from, n * sizeof *to);
	*at += whole(n);
	return to;
}

/* The same of heads of queries or keys: n floats, of heads of head_dim. */
static const float *put_heads(struct gpu_pass *p, const float *from, size_t n, size_t *at)
{
	const size_t hd = p->d->info.head_dim, begin = *at;
	const float *to = p->vectors ? p->vectors + begin : NULL;
	float head[HEAD_MOST];
	if (!from || !p->d->rope.apart) return put_vector(p, from, n, at);
	for (size_t h = 0; to && h < n; h += hd) {
		size_t place = begin + h;
		for (size_t i = 0; i < hd; i++) head[i] = from[h + paired(&p->d->rope, i)];
		put_vector(p, head, hd, &place);
	}
	*at = begin + whole(n);
	return to;
}

/* How many floats they are all together. */
static size_t put_vectors(struct gpu_pass *p)
{
	const struct decoder *d = p->d;
	const struct rope *const ropes[] = { &d->rope, &d->rope_slides };
	size_t dim = d->info.dim, hd = d->info.head_dim, at = 0;
	for (size_t i = 0; i < d->info.layers; i++) {
		const struct layer *l = &d->layers[i];
		struct gpu_layer *to = &p->layers[i];
		to->attn_norm = put_vector(p, l->attn_norm, dim, &at);
		to->ffn_norm = put_vector(p, l->ffn_norm, dim, &at);
		to->attn_post = put_vector(p, l->attn_post, dim, &at);
		to->ffn_post = put_vector(p, l->ffn_post, dim, &at);
		to->q_bias = put_heads(p, l->q_bias, d->q_dim, &at);
		to->k_bias = put_heads(p, l->k_bias, d->kv_dim, &at);
		to->v_bias = put_vector(p, l->v_bias, d->kv_dim, &at);
		to->q_norm = put_heads(p, l->q_norm, hd, &at);
		to->k_norm = put_heads(p, l->k_norm, hd, &at);
	}
	p->output_norm = put_vector(p, d->output_norm, dim, &at);
	for (size_t i = 0; i < 2; i++) {
		p->cos[i] = put_vector(p, ropes[i]->cos, d->info.context * ropes[i]->half, &at);
		p->sin[i] = put_vector(p, ropes[i]->sin, d->info.context * ropes[i]->half, &at);
	}
	return at;
}

/* The table of a pass of that shape at `base`. */
static struct tables tables_at(int32_t *base, const struct shape *s)
{
	size_t rows = whole(s->rows), wants = whole(s->wants), at = 3 * rows + 3 * wants;
	struct tables t = { .ids = base, .pos = base + rows, .slot = base + 2 * rows, .pick = base + 3 * rows,
		.most = base + 3 * rows + wants, .temperature = (float *)(void *)(base + 3 * rows + 2 * wants) };
	t.pages = (uint32_t *)(base + at);
	t.n = at + s->slots * s->ld_pages;
	return t;
}

static struct shape largest_shape(const struct gpu_pass *p)
{
	return (struct shape){ .rows = DECODER_CHUNK, .wants = p->d->wants, .keys = p->keys_max, .slots = p->slots,
		.ld_pages = p->keys_max / KVCACHE_PAGE, .prompt = 1 };
}

/* Where everything lies that a pass works on, and the plan of it; how many floats it is. */
static size_t place_activations(struct gpu_pass *p, float *base)
{
	const struct decoder *d = p->d;
	const struct decoder_info *f = &d->info;
	const struct shape largest = largest_shape(p);
	const size_t written = p->t->attend_floats(DECODER_CHUNK, f->heads, f->head_dim, p->keys_max, 0),
		read = p->t->attend_floats(DECODER_CHUNK, f->heads, f->head_dim, p->keys_max, 1);
	float *best, *table, *scratch;
	const struct { float **to; size_t n; enum part part; } all[] = {
		{ &p->x, DECODER_CHUNK * f->dim, ACTIVATIONS }, { &p->proj, d->arch->gemma ? DECODER_CHUNK * f->dim : 0, ACTIVATIONS },
		{ &p->q, DECODER_CHUNK * d->q_dim, ACTIVATIONS }, { &p->k, DECODER_CHUNK * d->kv_dim, ACTIVATIONS },
		{ &p->v, DECODER_CHUNK * d->kv_dim, ACTIVATIONS }, { &p->mix, DECODER_CHUNK * d->q_dim, ACTIVATIONS },
		{ &p->gate, DECODER_CHUNK * f->ff, ACTIVATIONS }, { &p->logits, d->wants * f->vocab, LOGITS },
		{ &p->scratch, written > read ? written : read, SUMS },
		{ &best, d->wants * sizeof *p->best / sizeof(float), LOGITS },
		{ &scratch, p->t->top_bytes(f->vocab, d->wants) / sizeof(float), LOGITS }, { &table, tables_at(NULL, &largest).n, TABLES },
	};
	size_t at = 0;
	p->bytes[ACTIVATIONS] = p->bytes[LOGITS] = p->bytes[SUMS] = p->bytes[TABLES] = 0;
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		*all[i].to = base ? base + at : NULL;
		at += whole(all[i].n);
		p->bytes[all[i].part] += whole(all[i].n) * sizeof *base;
	}
	p->best = (struct gpu_best *)(void *)best;
	p->top_scratch = scratch;
	p->table = (int32_t *)(void *)table;
	return at;
}

static int alloc_floats(struct gpu_pass *p, size_t n, const char *what, float **out, struct err *e)
{
	void *there = NULL;
	int st = p->t->alloc(p->g, n * sizeof(float), what, &there, e);
	*out = there;
	return st;
}

static int make_host(struct gpu_pass *p, struct err *e)
{
	const struct shape largest = largest_shape(p);
	size_t table = whole(tables_at(NULL, &largest).n), best = whole(p->d->wants * sizeof *p->host_best / sizeof(float));
	void *here = NULL;
	int st = p->t->alloc_host(p->g, (table + best + p->d->info.vocab) * sizeof(float), &here, e);
	p->host_table = here;
	if (st != OK) return st;
	p->host_best = (struct gpu_best *)(void *)(p->host_table + table);
	p->host_logits = (float *)(void *)(p->host_table + table + best);
	return OK;
}

static const char *size_text(uint64_t bytes, char out[24])
{
	if (bytes < 1 << 30) snprintf(out, 24, "%.1f MiB", (double)bytes / (1 << 20));
	else snprintf(out, 24, "%.2f GiB", (double)bytes / (1 << 30));
	return out;
}

/* The parts of the plan, as text. */
static const char *plan_text(const struct gpu_pass *p, char out[300])
{
	char size[24];
	size_t at = 0;
	for (size_t i = 0; i < PARTS; i++)
		at += (size_t)snprintf(out + at, 300 - at, "%s%s %s", i ? ", " : "", part_names[i], size_text(p->bytes[i], size));
	return out;
}

static uint64_t plan_bytes(const struct gpu_pass *p)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < PARTS; i++)
		if (__builtin_add_overflow(sum, p->bytes[i], &sum)) return UINT64_MAX;
	return sum;
}

/* Before anything is taken: E_MEMORY where it would not all fit. What is taken with the device itself is in the plan, and no longer free. */
static int plan_check(const struct gpu_pass *p, struct err *e)
{
	char need[24], have[24], parts[300];
	if (plan_bytes(p) - p->info.held <= p->info.free) return OK;
	log_put(LOG_INFO, "generate", "%s would take on %s, with one context: %s", gguf_path(p->d->g), p->info.name, plan_text(p, parts));
	return err_set(e, E_MEMORY, "%s: weights, work space and the keys and values of one context take %s, and %s of %s are free",
		gguf_path(p->d->g), size_text(plan_bytes(p), need), size_text(p->info.free, have), p->info.name);
}

static int open_on(struct gpu_pass *p, int device, uint64_t kv_least, struct err *e)
{
	const struct decoder_info *f = &p->d->info;
	size_t vectors, activations;
	int st = p->t->open(&p->g, device, e);
	if (st != OK) return st;
	p->t->info(p->g, &p->info);
	p->layers = mem_calloc(f->layers, sizeof *p->layers);
	if (!p->layers) return err_set(e, E_MEMORY, "%s: out of memory", gguf_path(p->d->g));
	vectors = put_vectors(p);
	activations = place_activations(p, NULL);
	p->bytes[VECTORS] = vectors * sizeof *p->vectors;
	p->bytes[KEYS] = kv_least;
	if ((st = load_weights(p, e)) != OK || (st = plan_check(p, e)) != OK || (st = p->t->work_make(p->g, p->longest, e)) != OK) return st;
	if ((st = alloc_floats(p, vectors, "norms and rotary tables", &p->vectors, e)) != OK) return st;
	put_vectors(p);
	if ((st = alloc_floats(p, activations, "activations", &p->activations, e)) != OK) return st;
	place_activations(p, p->activations);
	if ((st = make_host(p, e)) != OK || (st = load_weights(p, e)) != OK) return st;
	return p->t->sync(p->g, e);
}

static void close_on(struct gpu_pass *p)
{
	const struct gpu_table *t = p->t;
	for (size_t i = 0; i < p->recorded_n; i++) t->graph_free(p->g, p->recorded[i].graph);
	if (p->g && p->host_table) t->release_host(p->g, p->host_table);
	t->close(p->g);                          /* and all that lies on the device */
	mem_free(p->layers);
	p->g = NULL;
	p->layers = NULL;
	p->host_table = NULL;
	p->vectors = p->activations = NULL;
	p->recorded_n = 0;
	memset(p->bytes, 0, sizeof p->bytes);
}

/* What the kernels cannot do at all. */
static int refuse_shapes(const struct decoder *d, struct err *e)
{
	if (d->lora) return err_set(e, E_UNSUPPORTED, "%s: adapters (generate.lora) run on the CPU alone", gguf_path(d->g));
	if (d->info.head_dim > HEAD_MOST)
		return err_set(e, E_UNSUPPORTED, "%s: heads of %zu run on the CPU alone, a GPU's have at most %d", gguf_path(d->g),
			d->info.head_dim, HEAD_MOST);
	return OK;
}

int gpu_pass_open(struct gpu_pass **out, struct decoder *d, const struct decoder_options *o, uint64_t kv_least, struct err *e)
{
	struct gpu_pass *p = NULL;
	int st = refuse_shapes(d, e), devices = o->gpu->count();
	*out = NULL;
	if (st != OK) return st;
	if (!(p = mem_calloc(1, sizeof *p))) return err_set(e, E_MEMORY, "%s: out of memory", gguf_path(d->g));
	p->d = d;
	p->t = o->gpu;
	p->slots = (size_t)o->sequences < DECODER_CHUNK ? (size_t)o->sequences : DECODER_CHUNK;
	p->keys_max = (d->info.context + KVCACHE_PAGE - 1) / KVCACHE_PAGE * KVCACHE_PAGE;
	for (int i = 0; i < (devices > 1 ? devices : 1); i++) { /* with none open tells why */
		st = open_on(p, i, kv_least, e);
		if (st == OK) break;
		close_on(p);
	}
	if (st != OK) gpu_pass_close(p);
	if (st != OK) return st;
	snprintf(d->info.device, sizeof d->info.device, "%s", p->info.name);
	*out = p;
	return OK;
}

void gpu_pass_close(struct gpu_pass *p)
{
	if (!p) return;
	close_on(p);
	mem_free(p);
}

/* --- keys and values --- */
static int store_get(void *ctx, size_t bytes, void **out, struct err *e)
{
	struct gpu_pass *p = ctx;
	int st = p->t->alloc(p->g, bytes, "keys and values", out, e);
	if (st == OK) p->bytes[KEYS] = bytes;
	return st;
}

static void store_put(void *ctx, void *store)
{
	struct gpu_pass *p = ctx;
	p->t->release(p->g, store);
}

static void store_copy(void *ctx, void *to, const void *from, size_t bytes)
{
	struct gpu_pass *p = ctx;
	p->t->copy(p->g, to, from, bytes);
}

struct kvmemory gpu_pass_memory(struct gpu_pass *p, int named, uint64_t *bytes)
{
	const uint64_t wanted = *bytes, least = p->bytes[KEYS];
	uint64_t share;
	struct gpu_info now;
	p->t->info(p->g, &now);
	share = named && wanted <= now.free ? wanted : now.free / 4 * 3;
	if (share < least) share = least < now.free ? least : now.free;
	if (share < wanted) {
		log_put(LOG_WARN, "generate", "%s: keys and values get %.1f of the %.1f MiB that are free on %s, where %.1f were wanted",
			gguf_path(p->d->g), (double)share / (1 << 20), (double)now.free / (1 << 20), p->info.name, (double)wanted / (1 << 20));
		*bytes = share;
	}
	return (struct kvmemory){ p, store_get, store_put, store_copy };
}

void gpu_pass_tell(struct gpu_pass *p)
{
	struct decoder_info *f = &p->d->info;
	struct gpu_info now;
	char parts[300], all[24], rest[24];
	p->t->info(p->g, &now);
	f->device_bytes = now.held;
	log_put(LOG_INFO, "generate", "%s on %s (%d.%d): %s of its memory: %s (%zu tokens); %s are left for others, and what recorded "
		"passes take", gguf_path(p->d->g), p->info.name, p->info.major, p->info.minor, size_text(now.held, all), plan_text(p, parts),
		kvcache_positions(&p->d->cache), size_text(now.free, rest));
}

/* --- a pass: what the device does --- */
static void queue_linear(struct gpu_pass *p, struct gpu_linear c, const struct shape *s)
{
	c.eps = p->d->eps;
	c.ldx = c.w->k;
	c.ldy = c.w->rows;
	c.n = c.n ? c.n : s->rows;
	c.prompt = s->prompt && !c.pick;
	p->t->linear(p->g, &c);
}

/* A linear onto the residual, through a norm where the layer has one for that. */
static void queue_onto(struct gpu_pass *p, const struct gpu_matrix *w, const float *x, const float *post, const struct shape *s)
{
	queue_linear(p, (struct gpu_linear){ .w = w, .x = x, .y = post ? p->proj : p->x, .finish = post ? GPU_STORE : GPU_ADD }, s);
	if (post) p->t->add_normed(p->g, p->x, p->proj, post, s->rows, p->d->info.dim, p->d->eps);
}

/* Queries, keys and values in their places, then attention. */
static void queue_attention(struct gpu_pass *p, size_t layer, const struct gpu_rows *rows, const struct shape *s)
{
	const struct decoder *d = p->d;
	const struct decoder_info *f = &d->info;
	const struct gpu_layer *l = &p->layers[layer];
	const struct gpu_linear v = { .w = &l->v, .bias = l->v_bias, .y = p->v, .ldy = l->v.rows };
	const struct gpu_linear k = { .w = &l->k, .bias = l->k_bias, .y = p->k, .ldy = l->k.rows, .next = &v };
	const struct kvcache *kv = &d->cache;
	const int slides = kv->slides[layer] != 0;
	const struct rope *r = slides ? &d->rope_slides : &d->rope;
	const size_t head_halves = layer * f->kv_heads * 2 * KVCACHE_PAGE * f->head_dim;
	const struct gpu_rope rope = { .q = p->q, .k = p->k, .v = p->v, .heads = f->heads, .kv_heads = f->kv_heads,
		.head_dim = f->head_dim, .q_norm = l->q_norm, .k_norm = l->k_norm, .eps = d->eps, .cos = p->cos[slides],
		.sin = p->sin[slides], .half = r->half, .store = kv->store, .page_halves = kv->page_halves,
		.head_halves = head_halves };
	const struct gpu_attend attend = { .q = p->q, .out = p->mix, .heads = f->heads, .kv_heads = f->kv_heads,
		.head_dim = f->head_dim, .window = slides ? d->window : 0, .keys_most = s->keys, .scale = d->scale, .store = kv->store,
		.page_halves = kv->page_halves, .head_halves = head_halves, .scratch = p->scratch, .prompt = s->prompt };
	queue_linear(p, (struct gpu_linear){ .w = &l->q, .bias = l->q_bias, .norm = l->attn_norm, .x = p->x, .y = p->q, .next = &k,
		.rope = &rope, .rows = rows }, s);
	p->t->attend(p->g, &attend, rows);
}

static void queue_layer(struct gpu_pass *p, size_t layer, const struct gpu_rows *rows, const struct shape *s)
{
	const struct gpu_layer *l = &p->layers[layer];
	queue_attention(p, layer, rows, s);
	queue_onto(p, &l->o, p->mix, l->attn_post, s);
	queue_linear(p, (struct gpu_linear){ .w = &l->gate, .w2 = &l->up, .norm = l->ffn_norm, .x = p->x, .y = p->gate,
		.finish = p->d->arch->gemma ? GPU_GELU_MUL : GPU_SILU_MUL }, s);
	queue_onto(p, &l->down, p->gate, l->ffn_post, s);
}

/* All of a pass. Addresses follow from the shape alone. */
static void queue_pass(struct gpu_pass *p, const struct shape *s)
{
	const struct decoder *d = p->d;
	const struct tables there = tables_at(p->table, s);
	const struct gpu_rows rows = { .pos = there.pos, .slot = there.slot, .pages = there.pages, .ld_pages = s->ld_pages, .n = s->rows };
	p->t->copy_in(p->g, p->table, p->host_table, there.n * sizeof *p->table);
	p->t->embed(p->g, &p->embed, there.ids, s->rows, d->embed_scale, p->x);
	for (size_t i = 0; i < d->info.layers; i++) queue_layer(p, i, &rows, s);
	if (!s->wants) return;
	const struct gpu_top top = { .logits = p->logits, .vocab = d->info.vocab, .n = s->wants, .most = there.most,
		.temperature = there.temperature, .scratch = p->top_scratch, .best = p->best };
	queue_linear(p, (struct gpu_linear){ .w = p->output.data ? &p->output : &p->embed, .norm = p->output_norm, .x = p->x,
		.pick = there.pick, .y = p->logits, .n = s->wants }, s);
	p->t->top(p->g, &top);
	p->t->copy_out(p->g, p->host_best, top.best, s->wants * sizeof *top.best);
}

/* The place of a shape among those recorded: its own, a new one, or that of the one longest unused. */
static struct recorded *recorded_of(struct gpu_pass *p, const struct shape *s)
{
	struct recorded *r = p->recorded;
	for (size_t i = 0; i < p->recorded_n; i++) {
		struct recorded *at = &p->recorded[i];
		if (at->rows == s->rows && at->wants == s->wants && at->keys == s->keys) return at;
		if (at->used < r->used) r = at;
	}
	if (p->recorded_n < GRAPHS_MAX) r = &p->recorded[p->recorded_n++];
	else p->t->graph_free(p->g, r->graph);
	*r = (struct recorded){ .rows = s->rows, .wants = s->wants, .keys = s->keys };
	return r;
}

static void record_pass(struct gpu_pass *p, const struct shape *s, struct recorded *r)
{
	r->failed = p->t->record(p->g, NULL) != OK;
	if (r->failed) return;
	queue_pass(p, s);
	r->failed = p->t->recorded(p->g, &r->graph, NULL) != OK;
	if (r->failed) r->graph = NULL;
}

/* A pass that writes. What cannot be recorded, for want of memory, is queued as it is. */
static void queue_written(struct gpu_pass *p, const struct shape *s)
{
	struct recorded *r = recorded_of(p, s);
	int first = r->used == 0, settled = r->graph || r->failed;
	r->used = ++p->passes;
	if (!first && !settled) record_pass(p, s, r);
	if (r->graph) p->t->replay(p->g, r->graph);
	else queue_pass(p, s);
	p->first |= !settled;
}

/* --- a pass: what the host tells it --- */
/* Slots of the rows' sequences, which each have one, and how many rows that has; how many slots there are. */
static size_t give_slots(const struct decoder_row *rows, size_t n, size_t slot[], size_t count[])
{
	const struct kvseq *seq[DECODER_CHUNK];
	size_t slots = 0;
	for (size_t t = 0; t < n; t++) {
		size_t i = t && rows[t].seq == rows[t - 1].seq ? slot[t - 1] : 0;
		while (i < slots && seq[i] != rows[t].seq) i++;
		if (i == slots) {
			seq[i] = rows[t].seq;
			count[i] = 0;
			slots++;
		}
		slot[t] = i;
		count[i]++;
	}
	return slots;
}

/* Pages of slot i, as many as the row of the table has. */
static void put_pages(const struct tables *to, const struct shape *s, size_t i, const struct kvseq *seq)
{
	uint32_t *row = to->pages + i * s->ld_pages;
	size_t n = (seq->len + KVCACHE_PAGE - 1) / KVCACHE_PAGE;
	memcpy(row, seq->page, n * sizeof *row);
	memset(row + n, 0, (s->ld_pages - n) * sizeof *row);
}

/* The shape of a pass of these rows, of which so many want something. Grows the sequences. */
static struct shape shape_of(const struct gpu_pass *p, struct decoder_row *rows, size_t n, size_t wants, int prompt)
{
	struct shape s = { .rows = n, .wants = wants, .slots = p->slots < n ? p->slots : n, .prompt = prompt };
	for (size_t t = 0; t < n; t++) {
		struct kvseq *q = rows[t].seq;
		q->ids[q->len++] = rows[t].id;
		if (q->len > s.keys) s.keys = q->len;
	}
	s.keys = prompt ? (s.keys + KVCACHE_PAGE - 1) / KVCACHE_PAGE * KVCACHE_PAGE : power_of_two(s.keys, KEYS_LEAST, p->keys_max);
	s.ld_pages = s.keys / KVCACHE_PAGE;
	if (prompt) return s;
	s.rows = power_of_two(n, 1, DECODER_CHUNK);
	if (wants) s.wants = power_of_two(wants, 1, p->d->wants);
	s.slots = p->slots < s.rows ? p->slots : s.rows;
	return s;
}

/* Fills the table; want[]: the rows that want something, in the order in which their logits will lie. */
static void put_table(struct gpu_pass *p, const struct decoder_row *rows, size_t n, const size_t want[], size_t wants, const struct shape *s)
{
	const struct tables to = tables_at(p->host_table, s);
	size_t slot[DECODER_CHUNK], left[DECODER_CHUNK], next[DECODER_CHUNK], at[DECODER_CHUNK],
		slots = give_slots(rows, n, slot, left);
	for (size_t i = 0, sum = 0; i < slots; sum += left[i++]) next[i] = sum;
	for (size_t t = 0; t < n; t++) {
		size_t i = slot[t];
		at[t] = next[i]++;
		to.ids[at[t]] = rows[t].id;
		to.pos[at[t]] = (int32_t)(rows[t].seq->len - left[i]--); /* it has grown by its rows */
		to.slot[at[t]] = (int32_t)i;
		if (left[i] == 0) put_pages(&to, s, i, rows[t].seq);
	}
	for (size_t t = n; t < s->rows; t++) to.ids[t] = to.pos[t] = -1, to.slot[t] = 0;
	for (size_t w = 0; w < s->wants; w++) {
		const struct decoder_row *r = w < wants ? &rows[want[w]] : NULL;
		to.pick[w] = r ? (int32_t)at[want[w]] : -1;
		to.most[w] = !r ? 0 : r->want == WANT_BEST ? 1 : GPU_TOP;
		to.temperature[w] = r ? r->temperature : 0;
	}
}

static void lose(struct gpu_pass *p, const struct err *why)
{
	err_set(&p->lost, E_IO, "%s: %s", gguf_path(p->d->g), why->msg);
}

/* sample_row.fetch */
static const float *fetch_logits(void *from, size_t at)
{
	struct gpu_pass *p = from;
	const size_t vocab = p->d->info.vocab;
	struct err why;
	if (p->lost.status) return NULL;
	if (p->fetched == at) return p->host_logits;
	p->t->copy_out(p->g, p->host_logits, p->logits + at * vocab, vocab * sizeof *p->logits);
	if (p->t->sync(p->g, &why) != OK) lose(p, &why);
	p->fetched = p->lost.status ? SIZE_MAX : at;
	return p->lost.status ? NULL : p->host_logits;
}

/* What a pass said of the row of logits `at`. */
static void row_told(struct gpu_pass *p, size_t at, struct decoder_row *row)
{
	const struct gpu_best *b = &p->host_best[at];
	if (row->want == WANT_BEST) row->best = b->n ? b->ids[0] : -1;
	else row->logits = (struct sample_row){ .fetch = fetch_logits, .from = p, .at = at, .ids = b->ids, .top = b->logits, .n = b->n,
		.all = b->n < GPU_TOP, .sum = (double)b->sum, .slack = GPU_TOP_SLACK };
}

static int run_rows(struct gpu_pass *p, struct decoder_row *rows, size_t n, int prompt, struct err *e)
{
	size_t want[DECODER_CHUNK], wants = 0;
	struct shape s;
	int st;
	for (size_t t = 0; t < n; t++)
		if (rows[t].want) want[wants++] = t;
	s = shape_of(p, rows, n, wants, prompt);
	put_table(p, rows, n, want, wants, &s);
	if (prompt) p->first |= p->prompts++ == 0;
	if (prompt) queue_pass(p, &s);
	else queue_written(p, &s);
	if ((st = p->t->sync(p->g, e)) != OK) return st;
	for (size_t w = 0; w < wants; w++) row_told(p, w, &rows[want[w]]);
	return OK;
}

int gpu_pass_was_first(const struct gpu_pass *p)
{
	return p->first;
}

int gpu_pass_lost(const struct gpu_pass *p, struct err *e)
{
	if (p->lost.status && e) *e = p->lost;
	return p->lost.status;
}

int gpu_pass_eval(struct gpu_pass *p, enum decoder_phase phase, struct decoder_row *rows, size_t n, struct err *e)
{
	struct err why;
	p->first = 0;
	p->fetched = SIZE_MAX;
	if (!p->lost.status && run_rows(p, rows, n, phase == PHASE_PROMPT, &why) != OK) lose(p, &why);
	return gpu_pass_lost(p, e);
}
