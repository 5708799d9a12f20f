/* test_gpu_memory_host.c: a decoder on the emulated device, of which a test decides how much memory it has and when it gives none. */
#include "base/mem.h"
#include "generate/decoder.h"
#include "nn/quant.h"
#include "tests/generate/feed.h"
#include "tests/generate/plain_model.h"
#include "tests/nn/gpu_host.h"
#include "tests/test.h"

enum { TOKENS = 24 };

static struct gguf *model_made(void)
{
	struct model_spec s = model_spec_of("qwen2");
	struct gguf *g;
	struct err e;
	char path[300];
	snprintf(path, sizeof path, "%s/random.gguf", test_dir());
	s.layers = 2;
	s.dim = 64;
	s.ff = 128;
	s.heads = 2;
	s.kv_heads = 1;
	s.head_dim = 32;
	s.vocab = 272;
	s.context = 64;
	s.type = QUANT_Q8_0;
	s.untied = 1;
	model_make(&s, path);
	CHECK_OK(gguf_open(&g, path, &e), e);
	return g;
}

static int opens(struct decoder **d, const struct gguf *g, struct err *e)
{
	const struct decoder_options o = { .sequences = 1, .wants = 2, .gpu = &host_table };
	return decoder_open(d, g, NULL, NULL, NULL, &o, e);
}

/* Logits of some tokens one by one, so that passes are recorded. */
static void write_some(struct decoder *d, float *logits)
{
	struct feed f;
	int32_t ids[TOKENS];
	for (int i = 0; i < TOKENS; i++) ids[i] = 3 * i + 1;
	feed_open(&f, d);
	f.phase = PHASE_WRITTEN;
	feed_ids(&f, ids, TOKENS, 1, TOKENS, logits);
	feed_close(&f);
}

/* A device with as much memory as the model takes has room for it; with a byte less that is told before any is taken. */
TEST(gpu_decoder_plans_to_the_byte)
{
	struct gguf *g = model_made();
	struct decoder *d;
	struct err e;
	uint64_t takes, all;
	CHECK_OK(opens(&d, g, &e), e);
	takes = all = decoder_info(d)->device_bytes;
	decoder_close(d);
	CHECK(takes > 0 && host_taken() == 0);
	while (all - all / 64 < takes) all++;            /* alloc leaves a 64th */
	host_memory(all);
	CHECK_OK(opens(&d, g, &e), e);
	CHECK_INT(decoder_info(d)->device_bytes, takes);
	CHECK(kvcache_positions(decoder_cache(d)) >= decoder_info(d)->context);
	decoder_close(d);
	host_memory(all - 1);
	CHECK_INT(opens(&d, g, &e), E_MEMORY);
	CHECK_MSG(strstr(e.msg, "weights, work space and the keys and values of one context take "), "%s", e.msg);
	CHECK_INT(host_taken(), 0);
	gguf_close(g);
}

/* Each taking of memory fails once: told, and all given back, or, of a recorded pass and of what is tried when a device is opened (whether
 * kernels may overlap there), done without. */
TEST(gpu_decoder_takings_fail)
{
	struct gguf *g = model_made();
	struct decoder *d;
	struct err e;
	size_t vocab, takings;
	int failed = 0, n = 0;
	CHECK_OK(opens(&d, g, &e), e);
	vocab = decoder_info(d)->vocab;
	takings = host_taken();
	float *want = mem_calloc(TOKENS * vocab, sizeof *want), *got = mem_calloc(TOKENS * vocab, sizeof *got);
	write_some(d, want);
	const int recorded = (int)(host_taken() - takings);
	CHECK(recorded > 0);
	decoder_close(d);
	while (n++ < (int)takings + 1 + 2 * recorded) {
		host_fail_after(n);
		int st = opens(&d, g, &e);
		failed += st != OK;
		if (st != OK) CHECK_MSG(st == E_MEMORY && strstr(e.msg, "memory"), "%d: %d, %s", n, st, e.msg);
		else write_some(d, got);
		if (st == OK) CHECK_MSG(memcmp(want, got, TOKENS * vocab * sizeof *got) == 0, "%d: other logits", n);
		if (st == OK) decoder_close(d);
		host_fail_after(0);
		CHECK_MSG(host_taken() == 0, "%d: %zu are still taken", n, host_taken());
	}
	CHECK_INT(failed, takings);
	mem_free(want);
	mem_free(got);
	gguf_close(g);
}
