/* time_kernels.c: how long the kernels of the table take at the sizes of real models, and what they move and compute.
 * Matrices lie so often in memory that none is left in the device's cache when it is read again. */
#include "base/mem.h"
#include "nn/quant.h"
#include "tests/gpu/measure.h"
#include "tests/test.h"

enum { APART_BYTES = 192 << 20, COPIES_MAX = 256, SMALL_TIMES = 64 /* of a small kernel in a pass, which else costs more than it */ };

/* --- copies: what memory gives --- */
struct copying { struct gpu *g; uint8_t *to, *from; size_t bytes; };

static void queue_copy(void *ctx)
{
	struct copying *c = ctx;
	test_gpu()->copy(c->g, c->to, c->from, c->bytes);
}

TEST(time_copy)
{
	const size_t bytes = real_sizes() ? (size_t)2 << 30 : 1 << 16;
	struct gpu *g = device_open();
	struct copying c = { g, device_room(g, bytes), device_room(g, bytes), bytes };
	double us = queued_us(g, queue_copy, &c);
	figure("copy", "\"bytes\": %zu, \"us\": %.3f", 2 * bytes, us);
	test_gpu()->close(g);
}

/* --- linears --- */
struct product {                              /* a matrix of a model, and what is fused to it */
	const char *model, *name;
	size_t rows, k;
	enum gpu_finish finish;
	int norm;
};
static const struct product products[] = {
	{ "1.5b", "q", 1536, 1536, GPU_STORE, 1 }, { "1.5b", "gate, up", 8960, 1536, GPU_SILU_MUL, 1 },
	{ "1.5b", "down", 1536, 8960, GPU_ADD, 0 }, { "8b", "q", 4096, 4096, GPU_STORE, 1 },
	{ "8b", "gate, up", 14336, 4096, GPU_SILU_MUL, 1 }, { "8b", "down", 4096, 14336, GPU_ADD, 0 },
};

struct multiplying { struct gpu *g; struct gpu_matrix w[COPIES_MAX]; size_t copies; struct gpu_linear c; };

static void queue_linears(void *ctx)
{
	struct multiplying *m = ctx;
	for (size_t i = 0; i + 1 < m->copies || i == 0; i += m->c.w2 ? 2 : 1) {
		struct gpu_linear c = m->c;
		c.w = &m->w[i];
		if (c.w2) c.w2 = &m->w[i + 1];
		test_gpu()->linear(m->g, &c);
	}
}

static void time_product(const struct product *p, uint32_t type)
{
	const size_t rows = real_sizes() ? p->rows : 96, k = real_sizes() ? p->k : 256, row = quant_row_bytes(type, k);
	const struct { size_t n; int prompt; } calls[] = { { 1, 0 }, { 4, 0 }, { 16, 0 }, { 64, 0 }, { 512, 1 } };
	struct multiplying m = { .g = device_open() };
	size_t done;
	m.copies = real_sizes() ? APART_BYTES / (row * rows) + 2 : 2;
	if (m.copies > COPIES_MAX) m.copies = COPIES_MAX;
	m.copies -= m.copies % 2;
	for (size_t i = 0; i < m.copies; i++) m.w[i] = device_matrix(m.g, type, rows, k, i + 1);
	m.c = (struct gpu_linear){ .w2 = p->finish == GPU_SILU_MUL ? &m.w[1] : NULL, .eps = 1e-6f, .ldx = k, .ldy = rows,
		.finish = p->finish, .x = device_floats(m.g, 1, GPU_ROWS * k, 1), .y = device_room(m.g, GPU_ROWS * rows * sizeof(float)),
		.norm = p->norm ? device_floats(m.g, 2, k, 1) : NULL };
	done = m.c.w2 ? m.copies : m.copies - 1;
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		double us;
		if (!real_sizes() && (i == 1 || i == 2)) continue;
		m.c.n = real_sizes() || calls[i].n < 8 ? calls[i].n : 8;
		m.c.prompt = calls[i].prompt;
		us = queued_us(m.g, queue_linears, &m) / (double)done;  /* of one matrix */
		figure("linear", "\"model\": \"%s\", \"matrix\": \"%s\", \"type\": \"%s\", \"rows\": %zu, \"k\": %zu, \"n\": %zu, \"prompt\": %d, "
			"\"bytes\": %zu, \"device_bytes\": %llu, \"flops\": %.0f, \"us\": %.3f", p->model, p->name, quant_name(type), rows, k,
			m.c.n, m.c.prompt, row * rows + m.c.n * (rows + k) * sizeof(float), (unsigned long long)m.w[0].bytes,
			2.0 * (double)rows * (double)k * (double)m.c.n, us);
	}
	test_gpu()->close(m.g);
}

static void time_products(uint32_t type)
{
	for (size_t i = 0; i < (real_sizes() ? sizeof products / sizeof *products : 3); i++) time_product(&products[i], type);
}

DEVICE_TEST(time_linear_bf16) { time_products(QUANT_BF16); }
DEVICE_TEST(time_linear_q8_0) { time_products(QUANT_Q8_0); }
TEST(time_linear_q4_k) { time_products(QUANT_Q4_K); }
DEVICE_TEST(time_linear_q6_k) { time_products(QUANT_Q6_K); }

/* --- attention --- */
struct attending { struct gpu *g; struct gpu_attend c; struct gpu_rows rows; size_t layers, layer_halves; };

static void queue_attends(void *ctx)
{
	struct attending *a = ctx;
	for (size_t i = 0; i < a->layers; i++) {
		struct gpu_attend c = a->c;
		c.head_halves = i * a->layer_halves;
		test_gpu()->attend(a->g, &c, &a->rows);
	}
}

/* n rows: of a sequence each, with `keys` keys; or the last rows of a prompt of that length. */
static void time_attend(const char *model, size_t heads, size_t kv_heads, size_t head_dim, size_t n, size_t keys, int prompt)
{
	const size_t slots = prompt ? 1 : n, pages = (keys + GPU_PAGE - 1) / GPU_PAGE, layer = kv_heads * 2 * GPU_PAGE * head_dim;
	struct attending a = { .g = device_open(), .layers = real_sizes() ? 8 : 1, .layer_halves = layer };
	int32_t *pos = mem_calloc(n, sizeof *pos), *slot = mem_calloc(n, sizeof *slot);
	uint32_t *page = mem_calloc(slots * pages, sizeof *page), *device_page = device_room(a.g, slots * pages * sizeof *page);
	size_t floats = test_gpu()->attend_floats(n, heads, head_dim, keys, prompt);
	double us, read = 0, flops = 0;
	for (size_t i = 0; i < slots * pages; i++) page[i] = (uint32_t)i;
	for (size_t i = 0; i < n; i++) {
		pos[i] = (int32_t)(prompt ? keys - n + i : keys - 1);
		slot[i] = (int32_t)(prompt ? 0 : i);
		flops += 4.0 * (double)(pos[i] + 1) * (double)(heads * head_dim);
	}
	read = (double)(slots * pages * layer) * 2;
	test_gpu()->copy_in(a.g, device_page, page, slots * pages * sizeof *page);
	a.rows = (struct gpu_rows){ device_ids(a.g, pos, n), device_ids(a.g, slot, n), device_page, pages, n };
	a.c = (struct gpu_attend){ .q = device_floats(a.g, 3, n * heads * head_dim, 1),
		.out = device_room(a.g, n * heads * head_dim * sizeof(float)), .heads = heads, .kv_heads = kv_heads, .head_dim = head_dim,
		.keys_most = keys, .scale = 0.1f, .store = device_room(a.g, slots * pages * a.layers * layer * 2),
		.page_halves = a.layers * layer, .scratch = device_room(a.g, (floats + 1) * sizeof(float)), .prompt = prompt };
	us = queued_us(a.g, queue_attends, &a) / (double)a.layers;
	figure("attend", "\"model\": \"%s\", \"n\": %zu, \"keys\": %zu, \"prompt\": %d, \"bytes\": %.0f, \"flops\": %.0f, \"us\": %.3f", model,
		n, keys, prompt, read, flops, us);
	mem_free(pos);
	mem_free(slot);
	mem_free(page);
	test_gpu()->close(a.g);
}

TEST(time_attend_decode)
{
	const size_t keys = real_sizes() ? 2048 : 40;
	for (size_t n = 1; n <= (real_sizes() ? 64 : 4); n *= 4) {
		time_attend("1.5b", 12, 2, 128, n, keys, 0);
		time_attend("8b", 32, 8, 128, n, keys, 0);
	}
}

/* Behind a long context: a token, a draft, and a prompt's last few. */
TEST(time_attend_long)
{
	const size_t keys = real_sizes() ? 32768 : 2100;
	time_attend("1.5b", 12, 2, 128, 1, keys, 0);
	time_attend("1.5b", 12, 2, 128, real_sizes() ? 16 : 2, keys, 0);
	time_attend("1.5b", 12, 2, 128, real_sizes() ? 16 : 2, keys, 1);
	if (real_sizes()) time_attend("8b", 32, 8, 128, GPU_ROWS, keys, 1);
}

TEST(time_attend_prompt)
{
	const size_t n = real_sizes() ? 512 : 8, keys = real_sizes() ? 2048 : 40;
	time_attend("1.5b", 12, 2, 128, n, n, 1);
	time_attend("1.5b", 12, 2, 128, n, keys, 1);
	time_attend("8b", 32, 8, 128, n, keys, 1);
}

/* --- the small ones: what they cost beside --- */
struct small {
	struct gpu *g;
	struct gpu_matrix table;
	int32_t *ids, *ones, *many;
	float *x, *y, *w, *logits, *cold, *warm;
	void *scratch;
	struct gpu_best *best;
	size_t n, dim, vocab;
	void (*queue)(const struct small *s);
};

static void queue_embed(const struct small *s)
{
	test_gpu()->embed(s->g, &s->table, s->ids, s->n, 1, s->x);
}

static void queue_add_normed(const struct small *s)
{
	test_gpu()->add_normed(s->g, s->x, s->y, s->w, s->n, s->dim, 1e-6f);
}

static void queue_top(const struct small *s, const int32_t *most, const float *temperature)
{
	const struct gpu_top c = { .logits = s->logits, .vocab = s->vocab, .n = s->n, .most = most, .temperature = temperature,
		.scratch = s->scratch, .best = s->best };
	test_gpu()->top(s->g, &c);
}

static void queue_best(const struct small *s)
{
	queue_top(s, s->ones, s->cold);
}

static void queue_offered(const struct small *s)
{
	queue_top(s, s->many, s->cold);
}

static void queue_drawn(const struct small *s)
{
	queue_top(s, s->many, s->warm);
}

static int small_times(void)
{
	return real_sizes() ? SMALL_TIMES : 1;
}

static void queue_small(void *ctx)
{
	const struct small *s = ctx;
	for (int i = 0; i < small_times(); i++) s->queue(s);
}

TEST(time_small)
{
	static const struct { const char *name; void (*queue)(const struct small *s); } kernels[] = { { "embed", queue_embed },
		{ "add_normed", queue_add_normed }, { "the best token", queue_best }, { "the best tokens", queue_offered },
		{ "the best tokens, and what all weigh", queue_drawn } };
	struct small s = { .g = device_open(), .dim = real_sizes() ? 1536 : 256, .vocab = real_sizes() ? 151936 : 512 };
	const size_t most = 64;
	int32_t ids[64], ones[64], many[64];
	float warm[64];
	for (size_t i = 0; i < most; i++) {
		ids[i] = (int32_t)(i * 7 % s.vocab);
		ones[i] = 1;
		many[i] = GPU_TOP;
		warm[i] = 0.8f;
	}
	s.table = device_matrix(s.g, QUANT_Q8_0, s.vocab, s.dim, 5);
	s.ids = device_ids(s.g, ids, most);
	s.ones = device_ids(s.g, ones, most);
	s.many = device_ids(s.g, many, most);
	s.cold = device_room(s.g, most * sizeof *s.cold);
	s.warm = device_room(s.g, most * sizeof *s.warm);
	test_gpu()->copy_in(s.g, s.warm, warm, sizeof warm);
	s.best = device_room(s.g, most * sizeof *s.best);
	s.scratch = device_room(s.g, test_gpu()->top_bytes(s.vocab, most));
	s.x = device_floats(s.g, 6, most * s.dim, 1);
	s.y = device_floats(s.g, 7, most * s.dim, 1);
	s.w = device_floats(s.g, 8, s.dim, 1);
	s.logits = device_floats(s.g, 9, most * s.vocab, 1);
	for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
		for (s.n = 1; s.n <= most; s.n *= 64) {
			s.queue = kernels[i].queue;
			figure("small", "\"kernel\": \"%s\", \"n\": %zu, \"us\": %.3f", kernels[i].name, s.n,
				queued_us(s.g, queue_small, &s) / small_times());
		}
	test_gpu()->close(s.g);
}

/* --- the scan of vectors --- */
struct scanning { struct gpu *g; struct gpu_scan c; };

static void queue_scan(void *ctx)
{
	struct scanning *s = ctx;
	test_gpu()->scan(s->g, &s->c);
}

static void *device_bytes(struct gpu *g, size_t n, int signs)
{
	uint8_t *p = mem_alloc(n), *device = device_room(g, n);
	uint64_t s = 1;
	CHECK(p != NULL);
	for (size_t i = 0; i < n; i++) {
		s = s * 6364136223846793005u + 1442695040888963407u;
		p[i] = (uint8_t)((signs ? 129 : 1) + (s >> 40) % 255);
	}
	test_gpu()->copy_in(g, device, p, n);
	mem_free(p);
	return device;
}

TEST(time_scan)
{
	enum { LEN = 384, K = 10, MOST = 256 };
	const size_t rows = real_sizes() ? 1000000 : 300;
	struct scanning s = { .g = device_open() };
	float ones[MOST], *scales = mem_alloc(rows * sizeof *scales), *there = device_room(s.g, rows * sizeof *scales), *own = device_room(s.g, sizeof ones);
	int32_t shifts[MOST];
	int8_t *queries = device_bytes(s.g, MOST * LEN, 1), host[MOST * LEN];
	CHECK(scales != NULL);
	for (size_t i = 0; i < rows; i++) scales[i] = 0.001f;
	for (size_t i = 0; i < MOST; i++) ones[i] = 0.001f;
	test_gpu()->copy_in(s.g, there, scales, rows * sizeof *scales);
	test_gpu()->copy_in(s.g, own, ones, sizeof ones);
	test_gpu()->copy_out(s.g, host, queries, sizeof host);
	device_sync(s.g);
	for (size_t i = 0; i < MOST; i++) {
		shifts[i] = 0;
		for (size_t j = 0; j < LEN; j++) shifts[i] += 128 * host[i * LEN + j];
	}
	s.c = (struct gpu_scan){ .codes = device_bytes(s.g, rows * LEN, 0), .scales = there, .queries = queries, .query_scales = own,
		.shifts = device_ids(s.g, shifts, MOST), .rows = rows, .len = LEN, .k = K,
		.scratch = device_room(s.g, test_gpu()->scan_bytes(rows, MOST, K)), .best = device_room(s.g, MOST * K * sizeof(uint32_t)),
		.near = device_room(s.g, MOST * K * sizeof(float)), .got = device_room(s.g, MOST * sizeof(uint32_t)) };
	for (s.c.n = 1; s.c.n <= (real_sizes() ? MOST : 16); s.c.n *= 16) {
		double us = queued_us(s.g, queue_scan, &s);
		figure("scan", "\"type\": \"int8\", \"rows\": %zu, \"dim\": %d, \"n\": %zu, \"bytes\": %zu, \"flops\": %.0f, \"ms\": %.4f, \"queries_per_s\": %.0f", rows,
			LEN, s.c.n, rows * LEN, 2.0 * (double)rows * LEN * (double)s.c.n, us / 1000, (double)s.c.n * 1e6 / us);
	}
	mem_free(scales);
	test_gpu()->close(s.g);
}
