/* feed.c: feed.h. */
#include "tests/generate/feed.h"
#include <string.h>
#include "base/fault.h"
#include "tests/generate/candidates.h"
#include "tests/test.h"

void feed_open(struct feed *f, struct decoder *d)
{
	struct err e;
	f->d = d;
	f->phase = PHASE_PROMPT;
	CHECK_OK(kvseq_init(&f->seq, decoder_info(d)->context, &e), e);
	CHECK_INT(kvseq_begin(decoder_cache(d), &f->seq, f->seq.context), OK);
}

void feed_close(struct feed *f)
{
	kvseq_end(decoder_cache(f->d), &f->seq, 0);
	kvseq_clear(&f->seq);
}

void feed_restart(struct feed *f)
{
	kvseq_end(decoder_cache(f->d), &f->seq, 0);
	CHECK_INT(kvseq_begin(decoder_cache(f->d), &f->seq, f->seq.context), OK);
}

void fed_open(struct fed *m, const char *path, const struct ops *ops, int threads, const struct decoder_options *o)
{
	struct err e;
	CHECK_OK(gguf_open(&m->g, path, &e), e);
	m->team = ops ? team_new(threads) : NULL;
	CHECK(m->team || !ops);
	CHECK_OK(decoder_open(&m->d, m->g, NULL, ops, m->team, o, &e), e);
	feed_open(&m->f, m->d);
}

void fed_close(struct fed *m)
{
	feed_close(&m->f);
	decoder_close(m->d);
	team_free(m->team);
	gguf_close(m->g);
}

void feed_random(int32_t *ids, size_t n, size_t vocab)
{
	uint32_t r = 12345;
	for (size_t i = 0; i < n; i++) {
		r = r * 1664525 + 1013904223;
		ids[i] = (int32_t)((r >> 8) % vocab);
	}
}

void feed_ids(struct feed *f, const int32_t *ids, size_t n, size_t chunk, size_t last, float *out)
{
	struct decoder_row rows[DECODER_CHUNK];
	const size_t vocab = decoder_info(f->d)->vocab;
	struct err e;
	for (size_t at = 0, m; at < n; at += m) {
		m = n - at < chunk ? n - at : chunk;
		for (size_t i = 0; i < m; i++)
			rows[i] = (struct decoder_row){ .seq = &f->seq, .id = ids[at + i], .want = at + i >= n - last ? WANT_LOGITS : WANT_NOTHING };
		kvseq_room(decoder_cache(f->d), &f->seq, m);
		CHECK_OK(decoder_eval(f->d, f->phase, rows, m, &e), e);
		for (size_t i = 0; i < m; i++) {
			if (!rows[i].want) continue;
			memcpy(out, candidates_check(&rows[i], vocab), vocab * sizeof *out);
			out += vocab;
		}
	}
}

static enum gen_verdict take_logits(void *ctx, const struct gen_view *v, struct gen_steer *s)
{
	(void)s;
	memcpy(ctx, gen_view_logits(v), (size_t)v->vocab * sizeof(float));
	return GEN_STOP;
}

void logits_after(struct generator *g, const int32_t *ids, size_t n, float *out)
{
	struct gen_constraint c = { out, take_logits };
	struct gen_params p;
	struct gen_result r;
	struct err e;
	gen_params_default(&p);
	CHECK_OK(generate(g, ids, n, &p, &c, NULL, NULL, NULL, &r, &e), e);
	CHECK_INT(r.finish, GEN_END_CONSTRAINT);
	buf_clear(&r.text);
}

void out_of_memory_is_told(const struct generator_options *o, const char *text)
{
	const struct chat_message m = { "user", text, strlen(text) };
	struct gen_params p;
	int failed = 1;
	long n = 0;
	gen_params_default(&p);
	p.max_tokens = 2;
	while (failed && n < 500) {
		struct generator *g = NULL;
		struct tokens t = { 0 };
		struct gen_result r = { 0 };
		struct err e = { 0, "" };
		int st;
		fault_alloc_after(++n);
		st = generator_open(&g, o, &e);
		if (st == OK) st = generator_chat(g, &m, 1, 1, &t, &e);
		if (st == OK) st = generate(g, t.ids, t.n, &p, NULL, NULL, NULL, NULL, &r, &e);
		fault_alloc_after(0);
		failed = st != OK;
		if (failed) CHECK_MSG(st == E_MEMORY && e.msg[0], "allocation %ld: status %d, \"%s\"", n, st, e.msg);
		buf_clear(&r.text);
		tokens_clear(&t);
		generator_close(g);
	}
	CHECK(n > 30 && n < 500);
}
