/* summary.c: long documents to a few cited sentences (summary.h).
 *
 *   documents -> parts (runs of chunks that begin at headings) -> of each part the most central sentences      map
 *             -> over all parts the best of these that say something new, at most summary.sentences_max        reduce
 *             -> of each part that has some: quoted, or written anew from them, verified and cited as answers  write
 *
 * Map works on the vectors that the store has: a part's centroid is the mean of its chunks', the chunks nearest to it are
 * read, and their sentences embedded; so a book costs a few hundred sentences, whatever its length. A sentence's worth is
 * its nearness to its part's and to the whole's centroid, how much it says in words that many sentences share, and
 * whether it opens a section. Reduce takes the worthiest again and again, each worth less by its likeness to those taken
 * and by what its part has already. Since it comes before writing, what is sent is never taken back. Where the model
 * writes nothing that its part carries, or time is over, the sentences themselves stand.
 * Threads: the caller's, and the engine's while it writes. Failure: as answer_run's. */
#include "api/summary.h"
#include <math.h>
#include <string.h>
#include "api/abstain.h"
#include "api/answerrecord.h"
#include "api/cite.h"
#include "api/write.h"
#include "base/clock.h"
#include "base/flag.h"
#include "base/language.h"
#include "base/unicode.h"
#include "base/utf8.h"

enum { PART_CHUNKS = 4 /* chunks of a part that are read */, SHORT_WORDS = 5, LONG_WORDS = 45, UNITS_A_SENTENCE = 4 };

struct source {                      /* a document that is summed up */
	struct doc doc;
	const char *text; size_t len;
	struct chunk *chunks; size_t chunk_n;
	size_t first;                /* its first chunk among all */
};
struct part {                        /* a run of one document's chunks */
	size_t source, from, n;      /* chunks from … of the source */
	size_t unit, unit_n;         /* of the selection */
	int taken;                   /* sentences */
};
struct summing {
	struct service *service;
	const struct summary_request *q;
	struct arena *a;
	struct answer *out;
	struct source *sources; size_t source_n, chunk_n;
	int dim;
	float *vecs, *whole;         /* (chunk_n, dim) of chunks; their centroid */
	struct part *parts; size_t part_n;
	struct selection sel;        /* sentences of the chunks that were read, in order */
	double *worth; uint8_t *picked; /* of each */
	int sentences;               /* at most */
};

static int no_memory(struct err *e)
{
	return err_set(e, E_MEMORY, "summary: out of memory");
}

/* ---- what is summed up ---- */

static int source_read(struct summing *m, struct source *x, uint64_t *chars, struct err *e)
{
	struct snapshot *s = m->out->retrieval.snapshot;
	*chars += x->doc.chars;
	if (*chars > (uint64_t)m->service->conf.summary_chars_max)
		return err_set(e, E_USAGE, "more than summary.chars_max (%lld) characters to sum up", (long long)m->service->conf.summary_chars_max);
	int rc = snapshot_text(s, &x->doc, &x->text, &x->len, e);
	if (!rc) rc = snapshot_chunks(s, &x->doc, m->a, &x->chunks, &x->chunk_n, e);
	x->first = m->chunk_n;
	m->chunk_n += rc ? 0 : x->chunk_n;
	return rc;
}

static int sources_find(struct summing *m, struct err *e)
{
	struct snapshot *s = m->out->retrieval.snapshot;
	size_t most = (size_t)m->service->conf.summary_documents_max, got = 1;
	struct doc *docs = arena_calloc(m->a, most + 1, sizeof *docs);
	uint64_t chars = 0;
	m->sources = arena_calloc(m->a, most + 1, sizeof *m->sources);
	if (!docs || !m->sources) return no_memory(e);
	int rc = m->q->document_id ? snapshot_doc(s, &m->q->reader, m->q->document_id, m->a, docs, e) :
		snapshot_docs(s, &m->q->reader, 0, 0, most + 1, m->a, docs, &got, e);
	if (!rc && got == 0) rc = err_set(e, E_NOT_FOUND, "no documents to sum up");
	if (!rc && got > most) rc = err_set(e, E_USAGE, "more than summary.documents_max (%zu) documents to sum up", most);
	if (!rc && !doc_verdict_has_text(docs->verdict)) rc = err_set(e, E_NOT_FOUND, "document %.63s has no text", docs->id);
	for (size_t i = 0; !rc && i < got; i++) {
		m->sources[i].doc = docs[i];
		rc = source_read(m, &m->sources[i], &chars, e);
	}
	m->source_n = got;
	if (rc) return rc;
	m->out->question = got == 1 ? docs->title : arena_printf(m->a, "%s … %s", docs->title, docs[got - 1].title);
	if (!m->out->question) return no_memory(e);
	m->out->plan = (struct plan){ .read_as = m->out->question, .question = m->out->question, .language = language_of(m->out->question, strlen(m->out->question)), .rewritten_by = "none" };
	return OK;
}

static void mean_add(float *sum, const float *v, int dim)
{
	for (int i = 0; i < dim; i++) sum[i] += v[i];
}

static void mean_end(float *v, int dim)
{
	double len = 0;
	for (int i = 0; i < dim; i++) len += (double)v[i] * v[i];
	for (int i = 0; len > 0 && i < dim; i++) v[i] = (float)(v[i] / sqrt(len));
}

static double dot(const float *x, const float *y, int dim)
{
	double sum = 0;
	for (int i = 0; i < dim; i++) sum += (double)x[i] * y[i];
	return sum;
}

static int vectors_read(struct summing *m, struct err *e)
{
	struct retrieval *r = &m->out->retrieval;
	int rc = service_embedder_of(m->service, r->snapshot, &r->embedder, e);
	if (rc) return rc;
	m->dim = embedder_info(r->embedder)->dim;
	m->vecs = arena_calloc(m->a, m->chunk_n + 1, (size_t)m->dim * sizeof *m->vecs);
	m->whole = r->query = arena_calloc(m->a, (size_t)m->dim, sizeof *m->whole);
	if (!m->vecs || !m->whole) return no_memory(e);
	for (size_t d = 0; d < m->source_n; d++) {
		for (size_t i = 0; !rc && i < m->sources[d].chunk_n; i++) {
			float *v = m->vecs + (m->sources[d].first + i) * (size_t)m->dim;
			rc = snapshot_vector(r->snapshot, m->sources[d].chunks[i].id, v, e);
			if (!rc) mean_add(m->whole, v, m->dim);
		}
	}
	mean_end(m->whole, m->dim);
	return rc;
}

/* ---- map ---- */

/* The chunk at which a part that should begin at `at` begins: the nearest that opens a section, within a quarter of a part. */
static size_t boundary(const struct source *x, size_t at, size_t part)
{
	for (size_t off = 0; off <= part / 4; off++) {
		if (at + off < x->chunk_n && strcmp(x->chunks[at + off].heading, x->chunks[at + off - 1].heading)) return at + off;
		if (at > off + 1 && strcmp(x->chunks[at - off].heading, x->chunks[at - off - 1].heading)) return at - off;
	}
	return at;
}

/* As many parts as sentences where there are chunks for it, more for long texts; each document has one at least. */
static int parts_make(struct summing *m, struct err *e)
{
	size_t most = (size_t)m->service->conf.summary_parts_max, want = (m->chunk_n + PART_CHUNKS - 1) / PART_CHUNKS;
	if (want < (size_t)m->sentences) want = (size_t)m->sentences;
	if (want > most) want = most;
	if (want > m->chunk_n) want = m->chunk_n;
	m->parts = arena_calloc(m->a, want + 2 * m->source_n + 1, sizeof *m->parts);
	if (!m->parts) return no_memory(e);
	for (size_t d = 0; d < m->source_n; d++) {
		const struct source *x = &m->sources[d];
		size_t n = m->chunk_n ? want * x->chunk_n / m->chunk_n : 0, from = 0;
		if (n == 0) n = x->chunk_n > 0;
		for (size_t i = 0; i < n; i++) {
			size_t to = i + 1 == n ? x->chunk_n : boundary(x, (i + 1) * x->chunk_n / n, x->chunk_n / n);
			if (to > from) m->parts[m->part_n++] = (struct part){ .source = d, .from = from, .n = to - from };
			from = to > from ? to : from;
		}
	}
	return OK;
}

/* Puts the chunks of a part nearest to its centroid into the passages, in order. */
static int part_read(struct summing *m, const struct part *p, struct err *e)
{
	const struct source *x = &m->sources[p->source];
	struct retrieval *r = &m->out->retrieval;
	const float *v = m->vecs + (x->first + p->from) * (size_t)m->dim;
	float *mean = arena_calloc(m->a, (size_t)m->dim, sizeof *mean);
	double *near = arena_calloc(m->a, p->n, sizeof *near);
	if (!mean || !near) return no_memory(e);
	for (size_t i = 0; i < p->n; i++) mean_add(mean, v + i * (size_t)m->dim, m->dim);
	mean_end(mean, m->dim);
	for (size_t i = 0; i < p->n; i++) near[i] = dot(mean, v + i * (size_t)m->dim, m->dim);
	for (size_t i = 0; i < p->n; i++) {
		size_t before = 0;
		for (size_t k = 0; k < p->n; k++) before += near[k] > near[i] || (near[k] == near[i] && k < i);
		if (before >= PART_CHUNKS) continue;
		const struct chunk *c = &x->chunks[p->from + i];
		r->passages[r->n++] = (struct passage){ .doc = x->doc, .chunk = *c, .text = x->text + c->range.off, .text_len = c->range.len,
			.language = words_language(x->text, x->len), .score = near[i], .cosine = near[i] };
	}
	return OK;
}

static int ends_as_sentence(const struct unit *u)
{
	size_t at = u->len;
	while (at) {
		int32_t cp = utf8_prev(u->text, &at);
		if (cp < 0 || uni_class((uint32_t)cp) != UNI_PUNCT) return 0;
		if (cp != ')' && cp != '"' && cp != ']' && cp != 0x201d && cp != 0xbb) return cp != ':' && cp != ',' && cp != ';';
	}
	return 0;
}

/* How many sentences share its words, on average, 0 … 1. */
static double commonness(const struct selection *sel, const struct unit *u)
{
	double sum = 0, n = 0;
	for (size_t i = 0; i < u->word_n; i++) {
		double w = select_weight(sel, &u->words[i]);
		if (w <= 0) continue;
		sum += 1 / expm1(w);
		n++;
	}
	double share = n > 0 ? 4 * sum / n : 0;
	return share > 1 ? 1 : share;
}

/* Does the sentence open what is under its heading? Else how near to its chunk's beginning it is. */
static double lead(const struct summing *m, size_t u)
{
	const struct unit *x = &m->sel.units[u];
	const struct retrieval *r = &m->out->retrieval;
	const struct passage *p = &r->passages[x->passage];
	size_t at = 0;
	while (at < u && m->sel.units[u - at - 1].passage == x->passage) at++;
	int opens = p->chunk.start_cp == 0 || x->passage == 0 || r->passages[x->passage - 1].doc.key != p->doc.key ||
		strcmp(r->passages[x->passage - 1].chunk.heading, p->chunk.heading) != 0;
	return (opens ? 1 : 0.4) / (1 + (double)at);
}

/* Units of one part lie together, for passages do; gives each its worth. */
static int map(struct summing *m, struct err *e)
{
	struct retrieval *r = &m->out->retrieval;
	size_t *ends = arena_calloc(m->a, m->part_n + 1, sizeof *ends), u = 0;
	r->passages = arena_calloc(m->a, m->part_n * PART_CHUNKS + 1, sizeof *r->passages);
	if (!ends || !r->passages) return no_memory(e);
	int rc = OK;
	for (size_t i = 0; !rc && i < m->part_n; i++) {
		rc = part_read(m, &m->parts[i], e);
		ends[i] = r->n;
	}
	if (!rc && flag_is(m->q->cancel)) rc = err_set(e, E_CANCELLED, "summary: cancelled");
	if (!rc) rc = select_units(m->service, r, "", m->a, &m->sel, e);
	if (rc) return rc;
	m->worth = arena_calloc(m->a, m->sel.unit_n + 1, sizeof *m->worth);
	m->picked = arena_calloc(m->a, m->sel.unit_n + 1, 1);
	if (!m->worth || !m->picked) return no_memory(e);
	for (size_t i = 0; i < m->part_n; i++) {
		struct part *p = &m->parts[i];
		float *mean = arena_calloc(m->a, (size_t)m->dim, sizeof *mean);
		if (!mean) return no_memory(e);
		for (p->unit = u; u < m->sel.unit_n && m->sel.units[u].passage < ends[i]; u++) mean_add(mean, m->sel.units[u].vec, m->dim);
		p->unit_n = u - p->unit;
		mean_end(mean, m->dim);
		for (size_t k = p->unit; k < u; k++) {
			const struct unit *x = &m->sel.units[k];
			double w = 0.4 * dot(mean, x->vec, m->dim) + 0.2 * x->cosine + 0.2 * commonness(&m->sel, x) + 0.2 * lead(m, k);
			if (x->word_n < SHORT_WORDS) w *= 0.4;
			else if (x->word_n > LONG_WORDS) w *= 0.8;
			m->worth[k] = ends_as_sentence(x) ? w : 0.6 * w;
		}
	}
	return OK;
}

/* ---- reduce ---- */

static struct part *part_of(struct summing *m, size_t u)
{
	size_t i = 0;
	while (u >= m->parts[i].unit + m->parts[i].unit_n) i++;
	return &m->parts[i];
}

static void reduce(struct summing *m)
{
	const struct selection *sel = &m->sel;
	int most = (int)((sel->unit_n + UNITS_A_SENTENCE - 1) / UNITS_A_SENTENCE);
	if (most < (int)m->source_n) most = (int)m->source_n;
	if (most > m->sentences) most = m->sentences;
	for (int n = 0; n < most; n++) {
		double best_worth = 0;
		size_t best = sel->unit_n;
		for (size_t u = 0; u < sel->unit_n; u++) {
			double like = 0, w;
			if (m->picked[u] || sel->units[u].mute) continue;
			for (size_t k = 0; k < sel->unit_n; k++) {
				double c = m->picked[k] ? select_cosine(sel, sel->units[u].vec, sel->units[k].vec) : 0;
				if (c > like) like = c;
			}
			w = (m->worth[u] - 0.4 * like * like) / (1 + part_of(m, u)->taken);
			if (w > best_worth) best_worth = w, best = u;
		}
		if (best == sel->unit_n) break;
		m->picked[best] = 1;
		part_of(m, best)->taken++;
	}
}

/* ---- write ---- */

static int part_quote(struct summing *m, struct citer *c, const struct part *p, struct err *e)
{
	for (size_t u = p->unit; u < p->unit + p->unit_n; u++) {
		const struct unit *x = &m->sel.units[u];
		size_t own = u - p->unit;
		if (!m->picked[u]) continue;
		char *line = arena_strndup(m->a, x->text, x->len);
		if (!line) return no_memory(e);
		cite_plain(line, x->len);
		if (citer_said(c, line, x->len)) continue;
		int rc = citer_add(c, line, x->len, &own, 1, e);
		if (rc) return rc;
	}
	return OK;
}

/* What the generator says of a part: as many sentences as were picked. *wrote: how many stand. */
static int part_write(struct summing *m, struct engine *n, struct citer *c, struct selection *sel, const struct part *p,
	struct conf *conf, double ends_ms, size_t *wrote, struct err *e)
{
	struct answer *a = m->out, before = *a;
	struct written w;
	const struct answer_request q = { .reader = m->q->reader, .question = a->question, .style = STYLE_GENERATE, .conf = conf,
		.prompt = m->q->prompt ? m->q->prompt : conf->summary_prompt, .temperature = -1, .seed = m->q->seed, .cancel = m->q->cancel };
	for (size_t u = 0; u < sel->unit_n; u++) sel->units[u].score = m->worth[p->unit + u] + m->picked[p->unit + u];
	conf->answer_sentences_max = (int)a->sentence_n + p->taken;
	conf->answer_deadline_s = (ends_ms - clock_ms()) / 1000;
	int rc = select_rank(sel, c->arena, e);
	if (!rc) rc = write_answer(m->service, n, &q, c, sel, &w, e);
	*wrote = a->sentence_n - before.sentence_n;
	a->generate_ms += before.generate_ms;
	a->completion_tokens += before.completion_tokens;
	a->reused_tokens += before.reused_tokens;
	if (*wrote == 0) a->evidence.support = before.evidence.support;
	else if (before.style != STYLE_GENERATE || w.support < before.evidence.support) a->evidence.support = w.support;
	if (*wrote) a->style = STYLE_GENERATE;
	a->has_short = 0;
	return rc;
}

static int write_parts(struct summing *m, struct citer *c, struct engine *n, struct err *e)
{
	struct conf *conf = arena_alloc(m->a, sizeof *conf);
	struct answer *a = m->out;
	double ends_ms = c->began_ms + m->service->conf.answer_deadline_s * 1000;
	int late = 0, quoted = 0, rc = conf ? OK : no_memory(e);
	if (conf) *conf = m->service->conf;
	if (conf) conf->answer_refusal = HUGE_VAL; /* a text can always be summed up */
	if (conf) conf->answer_context_tokens = conf->summary_context_tokens;
	if (conf) conf->answer_max_tokens = conf->summary_max_tokens;
	for (size_t i = 0; !rc && i < m->part_n; i++) {
		const struct part *p = &m->parts[i];
		struct selection sel = m->sel;
		size_t wrote = 0;
		if (!p->taken) continue;
		sel.units += p->unit;
		sel.unit_n = p->unit_n;
		c->sel = &sel;
		late |= n && clock_ms() >= ends_ms;
		if (n && !late) rc = part_write(m, n, c, &sel, p, conf, ends_ms, &wrote, e);
		if (rc == E_LIMIT && a->sentence_n) rc = OK; /* the queue filled meanwhile */
		if (!rc && flag_is(m->q->cancel)) rc = err_set(e, E_CANCELLED, "summary: cancelled");
		if (!rc && !wrote) rc = part_quote(m, c, p, e);
		quoted += !wrote;
	}
	if (late) a->reason = "the time limit came; what is left is quoted";
	else if (n && quoted) a->reason = "some parts are quoted: nothing written of them is carried by their sentences";
	if (a->style == STYLE_EXTRACTIVE) a->evidence.support = 1;
	c->sel = &m->sel;
	return rc;
}

static int write_all(struct summing *m, const struct answer_sink *sink, double began, struct err *e)
{
	struct answer *a = m->out;
	struct engine *n = NULL;
	struct citer c;
	const char *why = "";
	int rc = m->q->style == STYLE_GENERATE ? service_engine(m->service, &n, &why, e) : OK;
	if (!rc) rc = citer_begin(&c, a, &m->sel, sink, m->a, began, e);
	if (rc) return rc;
	a->reason = n ? "" : why;
	rc = write_parts(m, &c, n, e);
	int rc2 = citer_end(&c, rc ? NULL : e);
	return rc ? rc : rc2;
}

static int nothing_to_say(struct answer *a, const struct answer_sink *sink, struct arena *arena, struct err *e)
{
	a->status = ANSWER_ABSTAINED;
	a->reason = "there is no sentence to quote";
	a->text = abstain_text(language_of(a->question, strlen(a->question)));
	a->text_len = strlen(a->text);
	a->sentences = arena_calloc(arena, 1, sizeof *a->sentences);
	if (!a->sentences) return no_memory(e);
	*a->sentences = (struct answer_sentence){ .end = (uint32_t)a->text_len };
	a->sentence_n = 1;
	if (sink && sink->sentence) sink->sentence(sink->ctx, a, a->text, a->text_len);
	return OK;
}

int summary_run(struct service *s, const struct summary_request *q, const struct answer_sink *sink, struct arena *a, struct answer *out, struct err *e)
{
	struct summing m = { .service = s, .q = q, .a = a, .out = out, .sentences = q->sentences > 0 ? q->sentences : s->conf.summary_sentences_max };
	double t0 = clock_ms();
	memset(out, 0, sizeof *out);
	out->question = out->text = out->reason = out->model = out->prompt_name = out->experiment = out->arm = out->cached = "";
	out->style = STYLE_EXTRACTIVE;
	int rc = answer_id_make(out->id, e);
	if (!rc) rc = snapshot_open(&out->retrieval.snapshot, s->index, e);
	if (rc) return rc;
	out->retrieval.seq = snapshot_seq(out->retrieval.snapshot);
	rc = sources_find(&m, e);
	if (!rc) rc = vectors_read(&m, e);
	if (!rc) rc = parts_make(&m, e);
	if (!rc) rc = map(&m, e);
	if (!rc) reduce(&m);
	out->search_ms = clock_ms() - t0;
	if (!rc && sink && sink->passages) sink->passages(sink->ctx, out);
	if (!rc) rc = write_all(&m, sink, t0, e);
	if (!rc && !out->sentence_n) rc = nothing_to_say(out, sink, a, e);
	out->confidence = out->status == ANSWER_ABSTAINED ? 0 : out->evidence.support;
	out->total_ms = clock_ms() - t0;
	const struct answer_request counted = { .conf = &s->conf, .key_id = q->key_id };
	if (!rc) answer_count(s, &counted, out);
	return rc;
}
