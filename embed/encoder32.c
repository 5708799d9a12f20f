/* encoder32.c: owns the activations of a run in fp32: what int8 is measured against, and for models that lose by it.
 *
 * Several texts are rows of one matrix, without padding: the linear layers see one long matrix; attention is told where
 * each text starts. Query, key and value weights lie one after the other so that one product makes all three. Post-norm
 * layers as in BERT:
 *     x = norm(x + out(attention(qkv(x))));  x = norm(x + down(act(up(x))))
 * Threads: the space belongs to the caller. Failure: only memory, when a space is made. */
#include <string.h>
#include "base/mem.h"
#include "embed/encoder_inside.h"

struct space32 {
	float *x, *y, *qkv, *feed, *scores;    /* activations: (rows, hidden) twice, (rows, 3 hidden), (rows, widest) */
};

struct space32 *space32_new(const struct encoder *m, const struct team *team, size_t rows)
{
	size_t h = (size_t)m->s.hidden, feed = (size_t)m->s.intermediate, wide = feed > h ? feed : h;
	size_t longest = rows < (size_t)m->s.positions ? rows : (size_t)m->s.positions;
	struct space32 *s = mem_calloc(1, sizeof *s);
	if (!s) return NULL;
	s->x = floats_new(rows * h);
	s->y = floats_new(rows * h);
	s->qkv = floats_new(rows * 3 * h);
	s->feed = floats_new(rows * wide);
	s->scores = floats_new(dense_attention_scratch(longest, team));
	if (s->x && s->y && s->qkv && s->feed && s->scores) return s;
	space32_free(s);
	return NULL;
}

void space32_free(struct space32 *s)
{
	if (!s) return;
	mem_free(s->x);
	mem_free(s->y);
	mem_free(s->qkv);
	mem_free(s->feed);
	mem_free(s->scores);
	mem_free(s);
}

static void embed_rows(const struct encoder_space *space, const int32_t *ids, const uint8_t *types, const size_t *starts,
	size_t texts)
{
	const struct encoder *m = space->m;
	float *x = space->floats->x;
	size_t h = (size_t)m->s.hidden;
	for (size_t t = 0; t < texts; t++)
		for (size_t r = starts[t]; r < starts[t + 1]; r++) {
			const float *word = m->words + (size_t)ids[r] * h, *position = position_row(m, types, r, starts[t]);
			for (size_t i = 0; i < h; i++) x[r * h + i] = word[i] + position[i];
		}
	dense_add_norm(space->team, x, NULL, starts[texts], h, m->embedding_norm.gamma, m->embedding_norm.beta, m->s.eps);
}

const float *space32_run(struct encoder_space *space, const int32_t *ids, const uint8_t *types, const size_t *starts,
	size_t texts)
{
	const struct encoder_shape *s = &space->m->s;
	const struct space32 *f = space->floats;
	size_t rows = starts[texts], h = (size_t)s->hidden, wide = (size_t)s->intermediate, heads = (size_t)s->heads;
	struct team *t = space->team;
	embed_rows(space, ids, types, starts, texts);
	for (int i = 0; i < s->layers; i++) {
		const struct layer *y = &space->m->layers[i];
		dense_linear(t, f->x, rows, h, y->qkv.w, y->qkv.bias, 3 * h, DENSE_NONE, f->qkv);
		dense_attention(t, f->qkv, starts, texts, heads, h / heads, f->scores, f->feed);
		dense_linear(t, f->feed, rows, h, y->out.w, y->out.bias, h, DENSE_NONE, f->y);
		dense_add_norm(t, f->x, f->y, rows, h, y->after_attention.gamma, y->after_attention.beta, s->eps);
		dense_linear(t, f->x, rows, h, y->up.w, y->up.bias, wide, s->act, f->feed);
		dense_linear(t, f->feed, rows, wide, y->down.w, y->down.bias, h, DENSE_NONE, f->y);
		dense_add_norm(t, f->x, f->y, rows, h, y->after_feed.gamma, y->after_feed.beta, s->eps);
	}
	return f->x;
}
