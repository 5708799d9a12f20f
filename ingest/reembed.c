/* reembed.c: owns the text that a stored chunk is embedded by anew.
 *
 * It is what chunk_embed_text made of it when it came: title and headings, then the text of its range; so the vectors
 * are those that a new store, filled from the same texts in the same ranges, would have. The store asks for them batch by
 * batch and keeps its own account (index_reembed); here they go through the embedder behind whoever waits for a query.
 * Threads: the caller's. Failure: the embedder's and the store's end the call; what was done stays. */
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/flag.h"
#include "base/mem.h"
#include "ingest/chunk.h"
#include "ingest/ingest.h"

struct anew {
	struct embedder *m;
	const struct ingest_reembed_sink *sink;
	const volatile int *cancel;
	struct ingest_reembed *told;
	double started_ms;
};

static int chunks_embed(void *ctx, const struct reembed_chunk *c, size_t n, float *out, struct err *e)
{
	struct anew *a = ctx;
	struct embed_text *texts = mem_calloc(n, sizeof *texts);
	size_t *at = mem_calloc(n + 1, sizeof *at);
	struct buf text;
	int rc;

	buf_init(&text, SIZE_MAX);
	for (size_t i = 0; texts && at && i < n; i++) {
		chunk_embed_text(c[i].title, c[i].text, &(struct chunk_in){ .range = c[i].range, .heading = c[i].heading,
			.sentences = &c[i].sentence, .sentence_n = c[i].sentence.len > 0 }, &text);
		at[i + 1] = text.len;
	}
	rc = texts && at && !buf_failed(&text) ? OK : err_set(e, E_MEMORY, "batch of %zu chunks: out of memory", n);
	for (size_t i = 0; rc == OK && i < n; i++)
		texts[i] = (struct embed_text){ text.data + at[i], at[i + 1] - at[i] };
	if (rc == OK && flag_is(a->cancel))
		rc = err_set(e, E_CANCELLED, "interrupted; what is done stays");
	if (rc == OK)
		rc = embedder_encode(a->m, texts, n, EMBED_PASSAGE, EMBED_BULK, out, e);
	a->told->embedded += n;
	buf_clear(&text);
	mem_free(at);
	mem_free(texts);
	return rc;
}

static int progress_tell(void *ctx, const struct reembed_progress *p)
{
	struct anew *a = ctx;

	a->told->done = p->done;
	a->told->total = p->total;
	a->told->turning = p->turning;
	a->told->elapsed_ms = clock_ms() - a->started_ms;
	if (a->sink && a->sink->progress)
		a->sink->progress(a->sink->ctx, a->told);
	return flag_is(a->cancel);
}

int ingest_reembed(struct index *x, struct embedder *m, const char *model, const volatile int *cancel,
	const struct ingest_reembed_sink *sink, struct ingest_reembed *out, struct err *e)
{
	const struct embedder_info *info = embedder_info(m);
	struct index_embedder to = { .dim = info->dim };
	struct anew a = { m, sink, cancel, out, clock_ms() };
	struct reembed_hooks hooks = { &a, chunks_embed, progress_tell };
	int rc;

	memset(out, 0, sizeof *out);
	memcpy(to.fingerprint, info->fingerprint, sizeof to.fingerprint);
	strncat(to.model, model, sizeof to.model - 1);
	rc = index_reembed(x, &to, &hooks, e);
	out->elapsed_ms = clock_ms() - a.started_ms;
	return rc;
}
