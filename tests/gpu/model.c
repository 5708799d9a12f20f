/* model.c: model.h. */
#include "tests/gpu/model.h"
#include <math.h>
#include <unistd.h>
#include "tests/generate/candidates.h"
#include "tests/test.h"

enum { THREADS_MAX = 64 };

void model_open(struct model *m, const char *path, const struct gpu_table *gpu, size_t context, size_t sequences)
{
	struct decoder_options o = { .context_max = (int)context, .sequences = (int)sequences, .gpu = gpu };
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	struct err e;
	*m = (struct model){ .sequences = sequences };
	CHECK(sequences <= MODEL_SEQUENCES);
	CHECK_OK(gguf_open(&m->g, path, &e), e);
	if (!gpu) {
		m->team = team_new(cores < 1 ? 1 : cores > THREADS_MAX ? THREADS_MAX : (int)cores);
		CHECK(m->team != NULL);
	}
	CHECK_OK(decoder_open(&m->d, m->g, NULL, gpu ? NULL : &ops_ref, m->team, &o, &e), e);
	m->vocab = decoder_info(m->d)->vocab;
	for (size_t s = 0; s < sequences; s++) {
		CHECK_OK(kvseq_init(&m->seq[s], decoder_info(m->d)->context, &e), e);
		CHECK_INT(kvseq_begin(decoder_cache(m->d), &m->seq[s], m->seq[s].context), OK);
	}
}

void model_close(struct model *m)
{
	for (size_t s = 0; s < m->sequences; s++) {
		kvseq_end(decoder_cache(m->d), &m->seq[s], 0);
		kvseq_clear(&m->seq[s]);
	}
	decoder_close(m->d);
	team_free(m->team);
	gguf_close(m->g);
}

void model_restart(struct model *m)
{
	for (size_t s = 0; s < m->sequences; s++) kvseq_end(decoder_cache(m->d), &m->seq[s], 0);
	for (size_t s = 0; s < m->sequences; s++)
		CHECK_INT(kvseq_begin(decoder_cache(m->d), &m->seq[s], m->seq[s].context), OK);
}

void model_feed(struct model *m, size_t s, enum decoder_phase phase, const int32_t *ids, size_t n, size_t chunk, float *out)
{
	static struct decoder_row rows[DECODER_CHUNK];
	struct err e;
	for (size_t at = 0, part; at < n; at += part) {
		part = n - at < chunk ? n - at : chunk;
		for (size_t i = 0; i < part; i++)
			rows[i] = (struct decoder_row){ .seq = &m->seq[s], .id = ids[at + i], .want = out ? WANT_LOGITS : WANT_NOTHING,
				.temperature = (float)((at + i) % 2) };
		kvseq_room(decoder_cache(m->d), &m->seq[s], part);
		CHECK_OK(decoder_eval(m->d, phase, rows, part, &e), e);
		for (size_t i = 0; out && i < part; i++, out += m->vocab) memcpy(out, candidates_check(&rows[i], m->vocab), m->vocab * sizeof *out);
	}
}

void model_step(struct model *m, size_t n, int32_t *ids)
{
	struct decoder_row rows[MODEL_SEQUENCES];
	struct err e;
	for (size_t s = 0; s < n; s++) {
		rows[s] = (struct decoder_row){ .seq = &m->seq[s], .id = ids[s], .want = WANT_BEST };
		kvseq_room(decoder_cache(m->d), &m->seq[s], 1);
	}
	CHECK_OK(decoder_eval(m->d, PHASE_WRITTEN, rows, n, &e), e);
	for (size_t s = 0; s < n; s++) {
		CHECK_MSG(rows[s].best >= 0 && (size_t)rows[s].best < m->vocab, "no logit of sequence %zu is a number", s);
		ids[s] = rows[s].best;
	}
}

void model_ids(size_t vocab, size_t n, int32_t *ids)
{
	for (size_t i = 0; i < n; i++) ids[i] = (int32_t)((i * 2654435761u + 17) % vocab);
}

double model_distance(const float *a, const float *b, size_t n)
{
	double most = 0, sum = 0, square = 0, sd;
	for (size_t i = 0; i < n; i++) {
		double d = fabs((double)a[i] - (double)b[i]);
		if (!(d <= most)) most = isnan(d) ? INFINITY : d;
		sum += (double)b[i];
		square += (double)b[i] * (double)b[i];
	}
	sd = sqrt(square / (double)n - sum / (double)n * (sum / (double)n));
	return most == 0 ? 0 : most / sd;
}
