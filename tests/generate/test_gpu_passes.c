/* test_gpu_passes.c: passes on a GPU as their caller sees them, over plain loops that are as strict as a device (plain_gpu.h): which were the
 * first of their kind, which recorded ones are kept, how exactly what is chosen from is computed, and devices that are full, lost, or
 * cannot do it. test_gpu_decoder.c has what they compute. */
#include "base/mem.h"
#include "tests/generate/feed.h"
#include "tests/generate/plain_gpu.h"
#include "tests/gguf_make.h"
#include "tests/test.h"

enum { VOCAB = 272 };

static const char *model_path(size_t head_dim)
{
	static char path[300];
	struct model_spec s = model_spec_of("qwen2");
	s.layers = 1;
	s.dim = s.ff = 32;
	s.heads = s.kv_heads = 1;
	s.head_dim = head_dim;
	s.vocab = VOCAB;
	s.context = 4096;
	snprintf(path, sizeof path, "%s/passes.gguf", test_dir());
	model_make(&s, path);
	return path;
}

static const struct decoder_options options = { .sequences = 1, .gpu = &plain_gpu };

static struct fed opened(void)
{
	struct fed m;
	fed_open(&m, model_path(32), NULL, 0, &options);
	return m;
}

/* n rows behind what the sequence has, of which the last wants are chosen; they go again. */
static int pass(struct fed *m, enum decoder_phase phase, size_t n, size_t wants, struct err *e)
{
	struct decoder_row rows[DECODER_CHUNK];
	const size_t had = m->f.seq.len;
	int st;
	for (size_t t = 0; t < n; t++)
		rows[t] = (struct decoder_row){ .seq = &m->f.seq, .id = (int32_t)(t * 31 % 256), .want = t + wants >= n ? WANT_BEST : WANT_NOTHING };
	kvseq_room(decoder_cache(m->d), &m->f.seq, n);
	st = decoder_eval(m->d, phase, rows, n, e);
	kvseq_cut(&m->f.seq, had);
	return st;
}

static void passes(struct fed *m, enum decoder_phase phase, size_t n, size_t wants)
{
	struct err e;
	CHECK_OK(pass(m, phase, n, wants, &e), e);
}

/* Times of a pass that was the first of its kind tell nothing: kernels were loaded, or it was recorded. */
TEST(gpu_passes_that_are_the_first)
{
	struct fed m = opened();
	passes(&m, PHASE_PROMPT, 5, 1);
	CHECK(decoder_was_first(m.d));
	passes(&m, PHASE_PROMPT, 9, 1);
	CHECK(!decoder_was_first(m.d));
	for (int i = 0; i < 3; i++) {
		passes(&m, PHASE_WRITTEN, 2, 1);
		CHECK_INT(decoder_was_first(m.d) != 0, i < 2);
	}
	CHECK(plain_gpu_state.recorded == 1 && plain_gpu_state.replays == 2);
	fed_close(&m);
}

/* Of more sizes than are kept those go that were longest unused, and come again with the same bits. */
TEST(gpu_passes_kept_are_those_used_last)
{
	enum { SIZES = 30 /* of 35 with the most keys */, KEPT = 96 };
	const int32_t two[] = { 7, 9 };
	float want[2 * VOCAB], got[2 * VOCAB];
	struct fed m = opened();
	size_t recorded, replays;
	for (size_t had = 0; had <= 2048; had = had ? 2 * had : 256) {       /* five kinds of keys, with 1 … 64 rows and as many chosen: 175 */
		while (m.f.seq.len < had) feed_ids(&m.f, (const int32_t[64]){ 1, 2, 3 }, 64, 64, 0, NULL);
		for (size_t n = 1; n <= 64; n *= 2)
			for (size_t wants = 0; wants <= n; wants = wants ? 2 * wants : 1)
				for (int twice = 0; twice < 2; twice++) passes(&m, PHASE_WRITTEN, n, wants);
	}
	recorded = plain_gpu_state.recorded;
	CHECK_MSG(recorded > 150, "%zu", recorded);
	replays = plain_gpu_state.replays;
	for (size_t n = 64, wants = 64, i = 0; i < SIZES; i++) {
		passes(&m, PHASE_WRITTEN, n, wants);
		if (wants) wants /= 2;
		else wants = n /= 2;
	}
	CHECK(plain_gpu_state.recorded == recorded && plain_gpu_state.replays == replays + SIZES && plain_gpu_state.graphs <= KEPT);
	m.f.phase = PHASE_WRITTEN;
	for (int one = 1; one >= 0; one--) {
		feed_restart(&m.f);
		feed_ids(&m.f, two, 2, one ? 1 : 2, 2, one ? want : got);
	}
	CHECK(memcmp(want, got, sizeof want) == 0);
	fed_close(&m);
}

/* What is chosen from is computed as for written rows, also behind a prompt. */
TEST(gpu_passes_choose_exactly)
{
	struct fed m = opened();
	passes(&m, PHASE_PROMPT, 20, 2);
	CHECK_INT(plain_gpu_state.prompt_picks, 0);
	CHECK(plain_gpu_state.prompt_linears > 0);
	fed_close(&m);
}

TEST(gpu_passes_of_a_lost_device)
{
	struct fed m = opened();
	struct err e;
	passes(&m, PHASE_WRITTEN, 1, 1);
	plain_gpu_state.lost = 1;
	CHECK_INT(pass(&m, PHASE_WRITTEN, 1, 1, &e), E_IO);
	plain_gpu_state.lost = 0;                    /* whatever it says later */
	CHECK_INT(pass(&m, PHASE_WRITTEN, 1, 1, &e), E_IO);
	CHECK_MSG(strstr(e.msg, "device lost"), "%s", e.msg);
	fed_close(&m);
}

static int opens(size_t head_dim, struct err *e)
{
	struct gguf *g;
	struct decoder *d;
	int st;
	CHECK_OK(gguf_open(&g, model_path(head_dim), e), *e);
	st = decoder_open(&d, g, NULL, NULL, NULL, &options, e);
	if (st == OK) decoder_close(d);
	gguf_close(g);
	CHECK_INT(plain_gpu_state.open, 0);
	return st;
}

TEST(gpu_passes_need_a_device_that_can)
{
	struct err e;
	CHECK_OK(opens(256, &e), e);
	CHECK_INT(opens(288, &e), E_UNSUPPORTED);
	CHECK_MSG(strstr(e.msg, "heads of 288"), "%s", e.msg);
	plain_gpu_state.devices = 3;
	plain_gpu_state.full = 2;                    /* the third has room */
	CHECK_OK(opens(32, &e), e);
	plain_gpu_state.full = 3;
	CHECK_INT(opens(32, &e), E_MEMORY);
}
