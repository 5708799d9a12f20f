/* plain_gpu.c: owns plain_gpu.h's devices: memory on the heap, a queue of calls that sync runs, and recorded queues. */
#include "tests/generate/plain_gpu.h"
#include <math.h>
#include <string.h>
#include "base/mem.h"
#include "nn/quant.h"
#include "tests/test.h"

struct plain_gpu_state plain_gpu_state = { .memory = 1 << 30, .devices = 1 };
static struct plain_gpu_state *const state = &plain_gpu_state;

struct call {
	void (*run)(const struct call *c);
	struct gpu_linear linear;
	struct gpu_rope rope;
	struct gpu_attend attend;
	struct gpu_top top;
	struct gpu_rows rows;
	struct matrix table;
	const void *from; void *to, *owned;      /* owned: what ordinary memory held when it was queued */
	const float *a, *b; float *x;
	const int32_t *ids;
	size_t n, k; float f;
};
struct calls { struct call *at; size_t n, cap; };
struct gpu_graph { struct calls calls; };
struct block { char *p; size_t bytes; struct block *next; };
struct gpu { struct calls queue; struct gpu_graph *recording; struct block *device, *host; size_t work_k; };

/* --- memory --- */
static struct block *block_of(struct block *b, const void *p, size_t bytes)
{
	const char *at = p;
	while (b && !(at >= b->p && at + bytes <= b->p + b->bytes)) b = b->next;
	return b;
}

static int block_get(struct block **list, size_t bytes, void **out, struct err *e)
{
	struct block *b = mem_calloc(1, sizeof *b);
	char *p = mem_aligned(256, bytes + 256);
	if (!b || !p) {
		mem_free(b);
		mem_free(p);
		return err_set(e, E_MEMORY, "out of memory");
	}
	memset(p, 0, bytes);
	*b = (struct block){ p, bytes, *list };
	*list = b;
	*out = p;
	return OK;
}

static void block_put(struct block **list, void *p)
{
	while (*list && (*list)->p != p) list = &(*list)->next;
	CHECK(*list);
	struct block *b = *list;
	*list = b->next;
	mem_free(b->p);
	mem_free(b);
}

static int plain_alloc(struct gpu *g, uint64_t bytes, const char *what, void **out, struct err *e)
{
	int st;
	CHECK(!g->recording);
	if (bytes > state->memory - state->used) return err_set(e, E_MEMORY, "out of GPU memory: %s", what);
	st = block_get(&g->device, bytes, out, e);
	if (st == OK) state->used += bytes;
	return st;
}

static void plain_release(struct gpu *g, void *p)
{
	struct err e;
	if (!p) return;
	(void)plain_gpu.sync(g, &e);
	state->used -= block_of(g->device, p, 0)->bytes;
	block_put(&g->device, p);
}

static int plain_alloc_host(struct gpu *g, size_t bytes, void **out, struct err *e)
{
	return block_get(&g->host, bytes, out, e);
}

static void plain_release_host(struct gpu *g, void *p)
{
	if (p) block_put(&g->host, p);
}

/* --- the queue --- */
static struct call *put(struct gpu *g, void (*run)(const struct call *))
{
	struct calls *q = g->recording ? &g->recording->calls : &g->queue;
	if (q->n == q->cap) {
		q->cap = q->cap ? 2 * q->cap : 256;
		q->at = mem_realloc(q->at, q->cap * sizeof *q->at);
		CHECK(q->at);
	}
	q->at[q->n] = (struct call){ .run = run };
	return &q->at[q->n++];
}

static void calls_clear(struct calls *q)
{
	for (size_t i = 0; i < q->n; i++) mem_free(q->at[i].owned);
	q->n = 0;
}

static void run_copy(const struct call *c)
{
	memcpy(c->to, c->owned ? c->owned : c->from, c->n);
}

static void run_copy_out(const struct call *c)
{
	state->copied_out += c->n;
	run_copy(c);
}

static void copy_put(struct gpu *g, void *to, const void *from, size_t bytes)
{
	struct call *c = put(g, run_copy);
	c->to = to;
	c->from = from;
	c->n = bytes;
}

static void plain_copy_in(struct gpu *g, void *to, const void *from, size_t bytes)
{
	CHECK(block_of(g->device, to, bytes));
	copy_put(g, to, from, bytes);
	if (block_of(g->host, from, bytes)) return;
	CHECK(!g->recording);
	struct call *c = &g->queue.at[g->queue.n - 1];
	c->owned = mem_alloc(bytes);
	CHECK(c->owned);
	memcpy(c->owned, from, bytes);
}

static void plain_copy_out(struct gpu *g, void *to, const void *from, size_t bytes)
{
	CHECK(block_of(g->device, from, bytes) && block_of(g->host, to, bytes));
	copy_put(g, to, from, bytes);
	struct calls *q = g->recording ? &g->recording->calls : &g->queue;
	q->at[q->n - 1].run = run_copy_out;
}

static void plain_copy(struct gpu *g, void *to, const void *from, size_t bytes)
{
	CHECK(block_of(g->device, from, bytes) && block_of(g->device, to, bytes));
	copy_put(g, to, from, bytes);
}

static int plain_sync(struct gpu *g, struct err *e)
{
	CHECK(!g->recording);
	state->syncs++;
	if (state->lose_after && --state->lose_after == 0) state->lost = 1;
	for (size_t i = 0; i < g->queue.n && !state->lost; i++) g->queue.at[i].run(&g->queue.at[i]);
	calls_clear(&g->queue);
	return state->lost ? err_set(e, E_IO, "device lost: told to be") : OK;
}

static int plain_record(struct gpu *g, struct err *e)
{
	CHECK(!g->recording);
	if (state->no_graphs) return err_set(e, E_MEMORY, "no memory to record a pass");
	g->recording = mem_calloc(1, sizeof *g->recording);
	return g->recording ? OK : err_set(e, E_MEMORY, "out of memory");
}

static int plain_recorded(struct gpu *g, struct gpu_graph **out, struct err *e)
{
	(void)e;
	CHECK(g->recording && g->recording->calls.n);
	*out = g->recording;
	g->recording = NULL;
	state->recorded++;
	state->graphs++;
	return OK;
}

static void plain_replay(struct gpu *g, struct gpu_graph *graph)
{
	state->replays++;
	for (size_t i = 0; i < graph->calls.n; i++) *put(g, NULL) = graph->calls.at[i];
}

static void plain_graph_free(struct gpu *g, struct gpu_graph *graph)
{
	(void)g;
	if (!graph) return;
	state->graphs--;
	mem_free(graph->calls.at);
	mem_free(graph);
}

/* --- devices --- */
static int plain_count(void)
{
	return state->devices;
}

static int plain_open(struct gpu **out, int device, struct err *e)
{
	*out = NULL;
	if (device >= state->devices) return err_set(e, E_UNSUPPORTED, "no GPU: told to be none");
	if (state->lost) return err_set(e, E_UNSUPPORTED, "GPU plain: lost");
	if (device < state->full) return err_set(e, E_MEMORY, "GPU plain: told to be full");
	if (!(*out = mem_calloc(1, sizeof **out))) return err_set(e, E_MEMORY, "out of memory");
	state->open++;
	return OK;
}

static void plain_close(struct gpu *g)
{
	if (!g) return;
	calls_clear(&g->queue);
	mem_free(g->queue.at);
	for (; g->device; block_put(&g->device, g->device->p)) state->used -= g->device->bytes;
	while (g->host) block_put(&g->host, g->host->p);
	mem_free(g);
	state->open--;
}

static void plain_info(const struct gpu *g, struct gpu_info *out)
{
	*out = (struct gpu_info){ .name = "plain loops", .major = 8, .sms = 1, .memory = state->memory, .free = state->memory - state->used };
	for (const struct block *b = g->device; b; b = b->next) out->held += b->bytes;
}

static uint64_t plain_work_bytes(const struct gpu *g, size_t k)
{
	(void)g;
	return k * sizeof(float);
}

static int plain_work_make(struct gpu *g, size_t k, struct err *e)
{
	int st = g->work_k < k ? plain_alloc(g, k * sizeof(float), "work space", &(void *){ NULL }, e) : OK;
	if (st == OK && g->work_k < k) g->work_k = k;
	return st;
}

static uint64_t plain_matrix_bytes(const struct matrix *w)
{
	return w->rows * w->k * sizeof(float);
}

static int plain_matrix_load(struct gpu *g, const struct matrix *w, struct gpu_matrix *out, struct err *e)
{
	void *data;
	int st = plain_work_make(g, w->k, e);
	if (st == OK) st = plain_alloc(g, plain_matrix_bytes(w), "weights", &data, e);
	if (st != OK) return st;
	for (size_t r = 0; r < w->rows; r++) quant_row(w->type, w->data + r * w->row_bytes, w->k, (float *)data + r * w->k);
	*out = (struct gpu_matrix){ w->type, w->rows, w->k, w->rows * w->k * sizeof(float), data };
	return OK;
}

/* --- kernels --- */
static void run_embed(const struct call *c)
{
	for (size_t t = 0; t < c->n; t++)
		for (size_t i = 0; i < c->k; i++)
			c->x[t * c->k + i] = c->ids[t] < 0 ? 0 : c->f * c->a[(size_t)c->ids[t] * c->k + i];
}

static void plain_embed(struct gpu *g, const struct gpu_matrix *table, const int32_t *ids, size_t n, float scale, float *x)
{
	struct call *c = put(g, run_embed);
	c->a = table->data;
	c->k = table->k;
	c->ids = ids;
	c->n = n;
	c->f = scale;
	c->x = x;
}

static float bf16(float x)
{
	uint32_t u;
	memcpy(&u, &x, 4);
	u = (u + 0x7fff + (u >> 16 & 1)) & 0xffff0000;
	memcpy(&x, &u, 4);
	return x;
}

static double dot(const struct gpu_matrix *w, size_t row, const float *x)
{
	const float *a = (const float *)w->data + row * w->k;
	double sum = 0;
	for (size_t i = 0; i < w->k; i++) sum += (double)a[i] * (double)x[i];
	return sum;
}

static void run_linear(const struct call *call)
{
	const struct gpu_linear *c = &call->linear;
	const struct ops *ops = &ops_ref;
	float *x = mem_alloc(c->w->k * sizeof *x);
	CHECK(x);
	for (size_t t = 0; t < c->n; t++) {
		float *y = c->y + t * c->ldy, act;
		int32_t row = c->pick ? c->pick[t] : (int32_t)t;
		for (size_t r = 0; row < 0 && r < c->w->rows; r++) y[r] = NAN;
		if (row < 0) continue;
		if (c->norm) ops->norm(c->x + (size_t)row * c->ldx, c->norm, c->w->k, c->eps, x);
		else memcpy(x, c->x + (size_t)row * c->ldx, c->w->k * sizeof *x);
		for (size_t i = 0; c->prompt && i < c->w->k; i++) x[i] = bf16(x[i]);
		for (size_t r = 0; r < c->w->rows; r++) {
			float sum = (float)(dot(c->w, r, x) + (c->bias ? (double)c->bias[r] : 0)), up;
			switch (c->finish) {
			case GPU_STORE: y[r] = sum; break;
			case GPU_ADD: y[r] += sum; break;
			case GPU_SILU_MUL: case GPU_GELU_MUL:
				up = (float)dot(c->w2, r, x);
				(c->finish == GPU_SILU_MUL ? ops->silu_mul : ops->gelu_mul)(&sum, &up, 1, &act);
				y[r] = act;
			}
		}
	}
	mem_free(x);
}

static void plain_rope(struct gpu *g, const struct gpu_rope *c, const struct gpu_rows *rows);

static void plain_linear(struct gpu *g, const struct gpu_linear *c)
{
	CHECK(c->n >= 1 && c->n <= GPU_ROWS && c->x != c->y && c->ldx >= c->w->k && c->ldy >= c->w->rows);
	CHECK(block_of(g->device, c->y, ((c->n - 1) * c->ldy + c->w->rows) * sizeof *c->y));
	put(g, run_linear)->linear = *c;
	state->prompt_linears += c->prompt != 0;
	state->prompt_picks += c->prompt && c->pick;
	if (c->next) {
		struct gpu_linear next = *c->next;      /* what a chain shares is the first's */
		next.x = c->x, next.ldx = c->ldx, next.pick = c->pick, next.norm = c->norm, next.eps = c->eps, next.n = c->n, next.prompt = c->prompt;
		CHECK(next.w->k == c->w->k && !next.w2 && !c->w2 && !next.rope);
		plain_linear(g, &next);
	}
	if (!c->rope) return;
	CHECK(!c->pick && c->y == c->rope->q && c->rows->n == c->n && c->ldy == c->rope->heads * c->rope->head_dim);
	plain_rope(g, c->rope, c->rows);
}

static uint16_t *place(uint16_t *store, size_t page_halves, size_t head_halves, size_t head_dim, const struct gpu_rows *rows, size_t t,
	size_t head, size_t pos)
{
	size_t page = rows->pages[(size_t)rows->slot[t] * rows->ld_pages + pos / GPU_PAGE];
	return store + page * page_halves + head_halves + (head * 2 * GPU_PAGE + pos % GPU_PAGE) * head_dim;
}

static void turn(const struct gpu_rope *c, float *x, size_t pos)
{
	for (size_t i = 0; i < c->half; i++) {
		float *a = x + 2 * i, *b = a + 1, re = *a, im = *b,
			co = c->cos[pos * c->half + i], si = c->sin[pos * c->half + i];
		*a = re * co - im * si;
		*b = re * si + im * co;
	}
}

static void run_rope(const struct call *call)
{
	const struct gpu_rope *c = &call->rope;
	const struct gpu_rows *rows = &call->rows;
	const size_t hd = c->head_dim;
	for (size_t t = 0; t < rows->n; t++) {
		if (rows->pos[t] < 0) continue;
		size_t pos = (size_t)rows->pos[t];
		CHECK(pos / GPU_PAGE < rows->ld_pages);
		for (size_t h = 0; h < c->heads; h++) {
			float *q = c->q + (t * c->heads + h) * hd;
			if (c->q_norm) ops_ref.norm(q, c->q_norm, hd, c->eps, q);
			turn(c, q, pos);
		}
		for (size_t h = 0; h < c->kv_heads; h++) {
			float k[256];
			uint16_t *to = place(c->store, c->page_halves, c->head_halves, hd, rows, t, h, pos);
			memcpy(k, c->k + (t * c->kv_heads + h) * hd, hd * sizeof *k);
			if (c->k_norm) ops_ref.norm(k, c->k_norm, hd, c->eps, k);
			turn(c, k, pos);
			ops_ref.halves(k, hd, to);
			ops_ref.halves(c->v + (t * c->kv_heads + h) * hd, hd, to + GPU_PAGE * hd);
		}
	}
}

static void plain_rope(struct gpu *g, const struct gpu_rope *c, const struct gpu_rows *rows)
{
	struct call *to = put(g, run_rope);
	to->rope = *c;
	to->rows = *rows;
}

static size_t plain_attend_floats(size_t n, size_t heads, size_t head_dim, size_t keys_most, int prompt)
{
	const size_t split = prompt ? GPU_PROMPT_SPLIT : GPU_SPLIT;
	return prompt && keys_most <= split ? 0 : n * heads * ((keys_most + split - 1) / split) * (head_dim + 2);
}

static void attend_head(const struct gpu_attend *c, const struct gpu_rows *rows, size_t t, size_t head, double *prob, float *kv)
{
	const size_t hd = c->head_dim, pos = (size_t)rows->pos[t], kvh = head * c->kv_heads / c->heads;
	const float *q = c->q + (t * c->heads + head) * hd;
	float *out = c->out + (t * c->heads + head) * hd;
	double sum = 0, top = -INFINITY, mix[256] = { 0 };
	size_t from = c->window && pos + 1 > c->window ? pos + 1 - c->window : 0;
	for (size_t j = from; j <= pos; j++) {
		uint16_t *key = place((uint16_t *)(uintptr_t)c->store, c->page_halves, c->head_halves, hd, rows, t, kvh, j);
		quant_row(QUANT_F16, (const uint8_t *)key, hd, kv);
		prob[j] = 0;
		for (size_t i = 0; i < hd; i++) prob[j] += (double)q[i] * (double)kv[i];
		prob[j] *= (double)c->scale;
		top = fmax(top, prob[j]);
	}
	for (size_t j = from; j <= pos; j++) {
		uint16_t *key = place((uint16_t *)(uintptr_t)c->store, c->page_halves, c->head_halves, hd, rows, t, kvh, j);
		quant_row(QUANT_F16, (const uint8_t *)(key + GPU_PAGE * hd), hd, kv);
		prob[j] = exp(prob[j] - top);
		sum += prob[j];
		for (size_t i = 0; i < hd; i++) mix[i] += prob[j] * (double)kv[i];
	}
	for (size_t i = 0; i < hd; i++) out[i] = (float)(mix[i] / sum);
}

static void run_attend(const struct call *call)
{
	const struct gpu_attend *c = &call->attend;
	const struct gpu_rows *rows = &call->rows;
	double *prob = mem_calloc(c->keys_most, sizeof *prob);
	float kv[256];
	CHECK(prob);
	for (size_t i = 0; i < plain_attend_floats(rows->n, c->heads, c->head_dim, c->keys_most, c->prompt); i++) c->scratch[i] = NAN;
	for (size_t t = 0; t < rows->n; t++) {
		CHECK(rows->pos[t] < (int32_t)c->keys_most);
		for (size_t i = 0; i < c->heads * c->head_dim; i++) c->out[t * c->heads * c->head_dim + i] = NAN;
		for (size_t j = 0; c->prompt && j < t; j++)      /* a sequence's rows are neighbours, in order */
			if (rows->slot[j] == rows->slot[t]) CHECK(rows->slot[t - 1] == rows->slot[t] && rows->pos[t - 1] == rows->pos[t] - 1);
		for (size_t h = 0; rows->pos[t] >= 0 && h < c->heads; h++) attend_head(c, rows, t, h, prob, kv);
	}
	mem_free(prob);
}

static void plain_attend(struct gpu *g, const struct gpu_attend *c, const struct gpu_rows *rows)
{
	struct call *to = put(g, run_attend);
	CHECK(c->head_dim <= 256 && rows->ld_pages * GPU_PAGE >= c->keys_most && ((c->prompt && c->keys_most <= GPU_PROMPT_SPLIT) || c->scratch));
	to->attend = *c;
	to->rows = *rows;
}

static void run_add_normed(const struct call *c)
{
	float *y = mem_alloc(c->k * sizeof *y);
	CHECK(y);
	for (size_t t = 0; t < c->n; t++) {
		ops_ref.norm(c->a + t * c->k, c->b, c->k, c->f, y);
		for (size_t i = 0; i < c->k; i++) c->x[t * c->k + i] += y[i];
	}
	mem_free(y);
}

static void plain_add_normed(struct gpu *g, float *x, const float *y, const float *w, size_t n, size_t dim, float eps)
{
	struct call *c = put(g, run_add_normed);
	c->x = x;
	c->a = y;
	c->b = w;
	c->n = n;
	c->k = dim;
	c->f = eps;
}

static void best_put(struct gpu_best *b, const float *logits, size_t vocab, uint32_t most)
{
	for (size_t i = 0; i < vocab; i++) {
		uint32_t at = b->n;
		if (!isfinite(logits[i]) || (at == most && logits[i] <= b->logits[at - 1])) continue;
		if (at == most) at--;
		else b->n++;
		for (; at > 0 && b->logits[at - 1] < logits[i]; at--) b->logits[at] = b->logits[at - 1], b->ids[at] = b->ids[at - 1];
		b->logits[at] = logits[i];
		b->ids[at] = (int32_t)i;
	}
}

/* The sum is as far from the truth as it may be, now over it and now under. */
static void run_top(const struct call *call)
{
	const struct gpu_top *c = &call->top;
	for (size_t t = 0; t < c->n; t++) {
		struct gpu_best *b = &c->best[t];
		const float *l = c->logits + t * c->vocab, temperature = c->temperature[t];
		double sum = 0;
		memset(b, 0x77, sizeof *b);
		b->n = 0;
		CHECK(c->most[t] >= 0 && c->most[t] <= GPU_TOP && temperature >= 0);
		if (c->most[t]) best_put(b, l, c->vocab, (uint32_t)c->most[t]);
		for (size_t i = 0; i < c->vocab && c->most[t] > 1 && temperature > 0; i++)
			if (isfinite(l[i])) sum += exp((double)(l[i] / temperature) - (double)(b->logits[0] / temperature));
		b->sum = (float)(sum * (1 + ((b->n ? b->ids[0] : 0) % 2 ? 0.99 : -0.99) * GPU_TOP_SLACK));
	}
}

static size_t plain_top_bytes(size_t vocab, size_t n)
{
	(void)vocab;
	return n * sizeof(double);
}

static void plain_top(struct gpu *g, const struct gpu_top *c)
{
	CHECK(c->n >= 1 && c->n <= GPU_ROWS && block_of(g->device, c->scratch, plain_top_bytes(c->vocab, c->n)));
	CHECK(block_of(g->device, c->best, c->n * sizeof *c->best) && block_of(g->device, c->logits, c->n * c->vocab * sizeof *c->logits));
	put(g, run_top)->top = *c;
}

const struct gpu_table plain_gpu = {
	.name = "plain", .count = plain_count, .open = plain_open, .close = plain_close, .info = plain_info,
	.alloc = plain_alloc, .release = plain_release, .alloc_host = plain_alloc_host, .release_host = plain_release_host,
	.copy_in = plain_copy_in, .copy_out = plain_copy_out, .copy = plain_copy, .sync = plain_sync,
	.work_bytes = plain_work_bytes, .work_make = plain_work_make, .matrix_bytes = plain_matrix_bytes, .matrix_load = plain_matrix_load,
	.record = plain_record, .recorded = plain_recorded, .replay = plain_replay, .graph_free = plain_graph_free,
	.embed = plain_embed, .linear = plain_linear, .rope = plain_rope, .attend = plain_attend, .attend_floats = plain_attend_floats,
	.add_normed = plain_add_normed, .top = plain_top, .top_bytes = plain_top_bytes,
};
