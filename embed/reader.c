/* reader.c: owns an open reader model (card, vocabulary, encoder, heads) and the space it runs in.
 *
 * A call cuts its pairs into windows, of one pair or several, and gathers these in a piece of about PIECE_TOKENS
 * tokens, more for a GPU. A full piece runs through the encoder; then each window's states go through the heads of the call's kind, and
 * what they say joins what the pair's other windows said. Beside every id a piece keeps the bytes of the text that it
 * stands for, so that a span is told in bytes without looking at the text again.
 *
 * A cross-encoder of the usual form (BertForSequenceClassification) has one head, the pooler with tanh and the classifier,
 * and knows of nothing but relevance.
 *
 * The heads are fp32 in plain loops over vectors of floats, with sums in one order: the same bits on every CPU. They
 * cost some hundredths of the encoder's time.
 *
 * Threads: `lock` is held while a piece runs in the one space; tokenising and the heads happen outside, the latter on
 * states in memory of the call. Everything else is immutable after open. No other lock is taken under it. Failure: a piece is
 * tokenised before it runs, so an error never leaves the lock taken. */
#include "embed/reader.h"
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "base/buf.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "embed/card.h"
#include "embed/encoder.h"
#include "nn/safetensors.h"
#include "nn/wordpiece.h"

enum {
	PIECE_TOKENS = 2048,
	GPU_PIECE_TOKENS = 8192,
	WINDOWS_MAX = GPU_PIECE_TOKENS / 3 + 1, /* [CLS] [SEP] [SEP] at least */
	THREADS_MAX = 64, PATH_BYTES_MAX = 4096, LANES = 16, SUPPORTS = 3
};

/* (hidden, hidden), (outputs, hidden) */
struct head { float *dense, *dense_bias, *out, *out_bias; int outputs, squash; /* tanh between the two, else relu */ };

struct reader_model {
	struct reader_info info;
	struct card card;
	struct wordpiece *words;
	struct encoder *encoder;
	float *span, *span_bias;             /* (2, hidden): start, end */
	struct head answerable, relevance, support; /* relevance alone where info.only_relevance is set */
	size_t piece;                        /* tokens */
	pthread_mutex_t lock;                /* guards the space */
	struct encoder_space *space;
};

struct window {
	size_t pair;                         /* of the call */
	size_t text;                         /* rows in front of the text's tokens */
};

/* Windows that run together. Room for m->piece rows and one window more. */
struct piece {
	int32_t *ids;
	uint8_t *types;
	uint32_t *from, *to;                 /* of each row: bytes of the pair's text; of rows of the text alone */
	float *states;                       /* (rows, hidden) */
	size_t starts[WINDOWS_MAX + 2];
	struct window windows[WINDOWS_MAX + 1];
	size_t n;
};

/* A call: what becomes of a window's states (rows, hidden). */
struct call {
	struct reader_model *m;
	struct piece piece;
	float *hidden, *edges;               /* scratch: (hidden), (2, a window's rows) */
	void (*take)(struct call *c, size_t window, const float *states, size_t rows);
	struct reader_reading *readings;     /* by pair; those that are not asked for are NULL */
	struct reader_verdict *verdicts;
};

/* ---- open and close ---- */

static int floats_load(const struct safetensors *f, const char *name, size_t rows, size_t columns, float **out,
	struct err *e)
{
	const struct safetensor *t;
	size_t shape[2] = {rows, columns}, n = rows * (columns ? columns : 1);
	int rc = safetensors_expect(f, name, columns ? 2 : 1, shape, &t, e);
	if (rc != OK) return rc;
	*out = mem_calloc(n, sizeof **out);
	if (!*out) return err_set(e, E_MEMORY, "tensor %s: %zu floats", name, n);
	return safetensors_floats(f, t, *out, e);
}

/* A layer NAME.weight (rows, columns) and NAME.bias. */
static int layer_load(const struct safetensors *f, const char *name, size_t rows, size_t columns, float **w, float **bias, struct err *e)
{
	char full[64];
	snprintf(full, sizeof full, "%s.weight", name);
	int rc = floats_load(f, full, rows, columns, w, e);
	snprintf(full, sizeof full, "%s.bias", name);
	return rc == OK ? floats_load(f, full, rows, 0, bias, e) : rc;
}

static int head_load(const struct safetensors *f, const char *dense, const char *out, size_t h, int outputs, struct head *to,
	struct err *e)
{
	to->outputs = outputs;
	int rc = layer_load(f, dense, h, h, &to->dense, &to->dense_bias, e);
	return rc == OK ? layer_load(f, out, (size_t)outputs, h, &to->out, &to->out_bias, e) : rc;
}

/* The pooler and classifier of a BertForSequenceClassification with one output, or two of which the second means yes. */
static int classifier_load(struct reader_model *m, const struct safetensors *f, const char *dir, struct err *e)
{
	const struct safetensor *w = safetensors_find(f, "classifier.weight");
	if (!w) return err_set(e, E_FORMAT, "%s: has neither the heads of a reader (span …) nor a classifier", dir);
	if (w->rank != 2 || w->shape[0] < 1 || w->shape[0] > 2)
		return err_set(e, E_UNSUPPORTED, "%s: tensor classifier.weight: a classifier of 1 or 2 outputs is needed, of relevance", dir);
	m->info.only_relevance = m->relevance.squash = 1;
	return head_load(f, safetensors_find(f, "pooler.dense.weight") ? "pooler.dense" : "bert.pooler.dense", "classifier",
		(size_t)m->card.shape.hidden, (int)w->shape[0], &m->relevance, e);
}

static void head_clear(struct head *h)
{
	mem_free(h->dense);
	mem_free(h->dense_bias);
	mem_free(h->out);
	mem_free(h->out_bias);
}

static int heads_load(struct reader_model *m, const struct safetensors *f, const char *dir, struct err *e)
{
	size_t h = (size_t)m->card.shape.hidden;
	if (!safetensors_find(f, "relevance.out.weight")) return classifier_load(m, f, dir, e);
	int rc = layer_load(f, "span", 2, h, &m->span, &m->span_bias, e);
	if (rc == OK) rc = head_load(f, "answerable.dense", "answerable.out", h, 1, &m->answerable, e);
	if (rc == OK) rc = head_load(f, "relevance.dense", "relevance.out", h, 1, &m->relevance, e);
	if (rc == OK) rc = head_load(f, "support.dense", "support.out", h, SUPPORTS, &m->support, e);
	return rc;
}

/* Card, vocabulary and weights; all that goes into the fingerprint. */
static int files_read(struct reader_model *m, const struct reader_options *o, struct sha256 *hash, struct safetensors **weights,
	struct err *e)
{
	const struct model_folder at = {o->dir, o->inside};
	struct reader_info *f = &m->info;
	struct buf path;
	buf_init(&path, PATH_BYTES_MAX);
	int rc = o->inside ? OK : path_absolute(&path, NULL, o->dir, e);
	snprintf(f->name, sizeof f->name, "%s", o->inside ? o->dir : path_base(buf_cstr(&path)));
	buf_clear(&path);
	if (rc == OK) rc = card_read(&m->card, &at, f->name, hash, e);
	if (rc != OK) return rc;
	f->max_tokens = m->card.max_tokens;
	if (m->card.shape.types < 2)
		return err_set(e, E_FORMAT, "%s/config.json: type_vocab_size: a reader needs 2", o->dir);
	if (f->max_tokens < 2 * (READER_FIRST + READER_TITLE + 4))
		return err_set(e, E_FORMAT, "%s: windows of %d tokens: %d are needed", o->dir, f->max_tokens,
			2 * (READER_FIRST + READER_TITLE + 4));
	rc = card_words(&m->words, &m->card, &at, hash, e);
	return rc == OK ? card_weights(weights, &at, hash, e) : rc;
}

static int model_open(struct reader_model *m, const struct reader_options *o, struct err *e)
{
	struct encoder_how how;
	size_t longest;
	struct safetensors *weights = NULL;
	uint8_t digest[32];
	struct sha256 *hash = sha256_new();
	if (!hash) return err_set(e, E_MEMORY, "open %s", o->dir);
	int rc = files_read(m, o, hash, &weights, e);
	sha256_end(hash, digest);
	hex_put(m->info.fingerprint, digest, sizeof digest);
	if (rc == OK) rc = encoder_how_choose(&how, o->device, o->kernel, o->gpu, e);
	if (rc == OK) rc = encoder_open(&m->encoder, weights, &m->card.shape, &how, m->info.name, e);
	if (rc == OK) rc = heads_load(m, weights, o->dir, e);
	longest = (size_t)m->info.max_tokens;
	if (rc == OK) rc = encoder_space_open(&m->space, m->encoder, o->threads, longest > PIECE_TOKENS ? longest : PIECE_TOKENS,
		longest > GPU_PIECE_TOKENS ? longest : GPU_PIECE_TOKENS, e);
	if (rc == OK) m->info.kernel = encoder_kernel(m->encoder);
	if (rc == OK) m->piece = encoder_on_gpu(m->encoder) ? GPU_PIECE_TOKENS : PIECE_TOKENS;
	safetensors_close(weights);
	return rc;
}

int reader_open(struct reader_model **out, const struct reader_options *o, struct err *e)
{
	*out = NULL;
	if (o->threads < 1 || o->threads > THREADS_MAX)
		return err_set(e, E_USAGE, "reader: %d threads, not 1 to %d", o->threads, THREADS_MAX);
	struct reader_model *m = mem_calloc(1, sizeof *m);
	if (!m) return err_set(e, E_MEMORY, "open %s", o->dir);
	pthread_mutex_init(&m->lock, NULL);
	int rc = model_open(m, o, e);
	if (rc == OK) *out = m;
	else reader_close(m);
	return rc;
}

void reader_close(struct reader_model *m)
{
	if (!m) return;
	encoder_space_close(m->space);
	encoder_close(m->encoder);
	wordpiece_close(m->words);
	mem_free(m->span);
	mem_free(m->span_bias);
	head_clear(&m->answerable);
	head_clear(&m->relevance);
	head_clear(&m->support);
	pthread_mutex_destroy(&m->lock);
	mem_free(m);
}

const struct reader_info *reader_info(const struct reader_model *m)
{
	return &m->info;
}

int reader_lost(const struct reader_model *m, struct err *e)
{
	return encoder_lost(m->encoder, e);
}

const char *reader_device(const struct reader_model *m)
{
	return encoder_device(m->encoder);
}

uint64_t reader_device_bytes(const struct reader_model *m)
{
	return encoder_device_bytes(m->encoder);
}

/* ---- heads ---- */

typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));

/* Term i goes to lane i mod LANES, in order; then lane l takes lane l + 8, l + 4 ... */
static float dot(const float *a, const float *b, size_t n)
{
	lanes sum = {0}, x, y;
	size_t whole = n / LANES * LANES;
	for (size_t i = 0; i < whole; i += LANES) {
		memcpy(&x, a + i, sizeof x);
		memcpy(&y, b + i, sizeof y);
		sum += x * y;
	}
	for (size_t i = whole; i < n; i++) sum[i - whole] += a[i] * b[i];
	for (size_t half = LANES / 2; half > 0; half /= 2)
		for (size_t l = 0; l < half; l++) sum[l] += sum[l + half];
	return sum[0];
}

static void head_run(const struct head *head, const float *cls, size_t h, float *hidden, float *out)
{
	for (size_t i = 0; i < h; i++) {
		float x = dot(head->dense + i * h, cls, h) + head->dense_bias[i];
		hidden[i] = head->squash ? tanhf(x) : x > 0 ? x : 0;
	}
	for (size_t i = 0; i < (size_t)head->outputs; i++) out[i] = dot(head->out + i * h, hidden, h) + head->out_bias[i];
}

static int overlaps(const struct reader_span *spans, size_t n, const struct reader_span *s)
{
	for (size_t i = 0; i < n; i++)
		if (spans[i].from < s->to && s->from < spans[i].to) return 1;
	return 0;
}

/* The best spans of a window that do not overlap: the best, then the best of those that leave it alone ... edges: the
 * starts' logits of its rows, then the ends'. */
static size_t spans_find(const struct piece *p, size_t window, const float *edges, size_t rows, struct reader_span *out)
{
	const uint32_t *from = p->from + p->starts[window], *to = p->to + p->starts[window];
	const float *start = edges, *end = edges + rows;
	size_t n = 0, last = rows - 1; /* the last [SEP] */
	for (int found = 1; found && n < READER_SPANS; n += (size_t)found) {
		float top = -INFINITY;
		found = 0;
		for (size_t i = p->windows[window].text; i < last; i++)
			for (size_t k = i; k < last && k < i + READER_SPAN_TOKENS; k++) {
				struct reader_span s = {from[i], to[k], start[i] + end[k] - (start[0] + end[0])};
				if (s.logit <= top || overlaps(out, n, &s)) continue;
				out[n] = s;
				top = s.logit;
				found = 1;
			}
	}
	return n;
}

/* The best of the pair's spans so far and n more, both best first, again without overlap. */
static void spans_join(struct reader_reading *r, const struct reader_span *more, size_t n)
{
	struct reader_span old[READER_SPANS];
	size_t olds = r->spans_n, i = 0, k = 0;
	memcpy(old, r->spans, sizeof old);
	r->spans_n = 0;
	while (r->spans_n < READER_SPANS && (i < olds || k < n)) {
		const struct reader_span *s = k == n || (i < olds && old[i].logit >= more[k].logit) ? &old[i++] : &more[k++];
		if (!overlaps(r->spans, r->spans_n, s)) r->spans[r->spans_n++] = *s;
	}
}

/* Of a cross-encoder: the one logit, or by how much that of yes is over that of no. */
static void relevance_take(struct call *c, size_t window, const float *states, size_t rows)
{
	struct reader_reading *r = &c->readings[c->piece.windows[window].pair];
	float x[2] = {0, 0};
	(void)rows;
	head_run(&c->m->relevance, states, (size_t)c->m->card.shape.hidden, c->hidden, x);
	if (c->m->relevance.outputs == 2) x[0] = x[1] - x[0];
	if (x[0] > r->relevance) r->relevance = x[0];
	r->answerable = 0;
}

static void reading_take(struct call *c, size_t window, const float *states, size_t rows)
{
	const struct reader_model *m = c->m;
	const struct window *w = &c->piece.windows[window];
	struct reader_reading *r = &c->readings[w->pair];
	struct reader_span spans[READER_SPANS];
	size_t h = (size_t)m->card.shape.hidden;
	float answerable, relevance;
	head_run(&m->answerable, states, h, c->hidden, &answerable);
	head_run(&m->relevance, states, h, c->hidden, &relevance);
	if (answerable > r->answerable) r->answerable = answerable;
	if (relevance > r->relevance) r->relevance = relevance;
	for (size_t i = 0; i + 1 < rows; i = i ? i + 1 : w->text) {
		c->edges[i] = dot(m->span, states + i * h, h) + m->span_bias[0];
		c->edges[rows + i] = dot(m->span + h, states + i * h, h) + m->span_bias[1];
	}
	spans_join(r, spans, spans_find(&c->piece, window, c->edges, rows, spans));
}

static void verdict_take(struct call *c, size_t window, const float *states, size_t rows)
{
	struct reader_verdict *v = &c->verdicts[c->piece.windows[window].pair];
	float x[SUPPORTS];
	(void)rows;
	head_run(&c->m->support, states, (size_t)c->m->card.shape.hidden, c->hidden, x);
	if (!(x[0] - fmaxf(x[1], x[2]) <= v->supported - fmaxf(v->unsaid, v->contradicted)))
		*v = (struct reader_verdict){x[0], x[1], x[2]};
}

/* ---- pieces ---- */

static int piece_run(struct call *c, struct err *e)
{
	struct piece *p = &c->piece;
	size_t h = (size_t)c->m->card.shape.hidden;
	if (p->n == 0) return OK;
	pthread_mutex_lock(&c->m->lock);
	int rc = encoder_states(c->m->space, p->ids, p->types, p->starts, p->n, p->states, e);
	pthread_mutex_unlock(&c->m->lock);
	for (size_t i = 0; i < p->n && rc == OK; i++) c->take(c, i, p->states + p->starts[i] * h, p->starts[i + 1] - p->starts[i]);
	p->n = 0;
	return rc;
}

static void row_put(struct piece *p, size_t row, int32_t id, uint8_t type, uint32_t from, uint32_t to)
{
	p->ids[row] = id;
	p->types[row] = type;
	p->from[row] = from;
	p->to[row] = to;
}

/* What stands in front of a text, which is the same in every window of a pair. */
struct opening { int32_t ids[READER_FIRST + READER_TITLE + 3]; size_t n, second; };

static int opening_make(const struct reader_model *m, const struct reader_pair *pair, struct opening *o, struct err *e)
{
	size_t n;
	o->ids[0] = wordpiece_cls(m->words);
	int rc = wordpiece_encode(m->words, pair->first, pair->first_len, WORDPIECE_PLAIN, o->ids + 1, READER_FIRST, &n, e);
	if (rc != OK) return rc;
	o->ids[n + 1] = wordpiece_sep(m->words);
	o->n = o->second = n + 2;
	if (!pair->title || pair->title_len == 0) return OK;
	rc = wordpiece_encode(m->words, pair->title, pair->title_len, WORDPIECE_PLAIN, o->ids + o->n, READER_TITLE, &n, e);
	if (rc != OK || n == 0) return rc;
	o->n += n;
	if (!m->info.only_relevance) o->ids[o->n++] = wordpiece_sep(m->words); /* others know two texts, no third */
	return OK;
}

/* One window: the opening and n tokens of the text. */
static int window_put(struct call *c, size_t pair, const struct opening *o, const struct wordpiece_token *t, size_t n, struct err *e)
{
	struct piece *p = &c->piece;
	size_t rows = o->n + n + 1;
	int rc = p->n > 0 && p->starts[p->n] + rows > c->m->piece ? piece_run(c, e) : OK;
	if (rc != OK) return rc;
	size_t at = p->starts[p->n];
	for (size_t i = 0; i < o->n; i++) row_put(p, at + i, o->ids[i], i >= o->second, 0, 0);
	for (size_t i = 0; i < n; i++) row_put(p, at + o->n + i, t[i].id, 1, t[i].from, t[i].to);
	row_put(p, at + rows - 1, wordpiece_sep(c->m->words), 1, 0, 0);
	p->windows[p->n] = (struct window){.pair = pair, .text = o->n};
	p->starts[++p->n] = at + rows;
	return OK;
}

static int pair_put(struct call *c, size_t i, const struct reader_pair *pair, struct err *e)
{
	struct opening o;
	size_t n = 0, at = 0;
	struct wordpiece_token *t = NULL;
	if (!utf8_valid(pair->first, pair->first_len) || !utf8_valid(pair->text, pair->len) ||
		(pair->title && !utf8_valid(pair->title, pair->title_len)))
		return err_set(e, E_FORMAT, "text to read: not valid UTF-8");
	int rc = opening_make(c->m, pair, &o, e);
	if (rc != OK) return rc;
	t = mem_calloc(pair->len + 1, sizeof *t); /* a token takes a byte or more */
	rc = t ? wordpiece_places(c->m->words, pair->text, pair->len, t, pair->len, &n, e)
		: err_set(e, E_MEMORY, "text to read: %zu bytes", pair->len);
	size_t room = (size_t)c->m->info.max_tokens - o.n - 1;
	while (rc == OK) {
		rc = window_put(c, i, &o, t + at, n - at < room ? n - at : room, e);
		if (rc != OK || at + room >= n) break;
		at += room > 2 * READER_STRIDE ? room - READER_STRIDE : room / 2;
		if (at + room > n) at = n - room;
	}
	mem_free(t);
	return rc;
}

static int call_run(struct call *c, const struct reader_pair *pairs, size_t n, struct err *e)
{
	struct piece *p = &c->piece;
	size_t longest = (size_t)c->m->info.max_tokens, rows = c->m->piece + longest, h = (size_t)c->m->card.shape.hidden;
	int rc = OK;
	p->ids = mem_calloc(rows, sizeof *p->ids);
	p->types = mem_calloc(rows, sizeof *p->types);
	p->from = mem_calloc(rows, sizeof *p->from);
	p->to = mem_calloc(rows, sizeof *p->to);
	p->states = mem_calloc(rows, h * sizeof *p->states);
	c->hidden = mem_calloc(h, sizeof *c->hidden);
	c->edges = mem_calloc(2 * longest, sizeof *c->edges);
	if (!p->ids || !p->types || !p->from || !p->to || !p->states || !c->hidden || !c->edges)
		rc = err_set(e, E_MEMORY, "read %zu pairs", n);
	for (size_t i = 0; i < n && rc == OK; i++) rc = pair_put(c, i, &pairs[i], e);
	if (rc == OK) rc = piece_run(c, e);
	mem_free(p->ids);
	mem_free(p->types);
	mem_free(p->from);
	mem_free(p->to);
	mem_free(p->states);
	mem_free(c->hidden);
	mem_free(c->edges);
	mem_free(c);
	return rc;
}

int reader_read(struct reader_model *m, const struct reader_pair *pairs, size_t n, struct reader_reading *out,
	struct err *e)
{
	struct call *c = mem_calloc(1, sizeof *c);
	if (!c) return err_set(e, E_MEMORY, "read %zu pairs", n);
	c->m = m;
	c->take = m->info.only_relevance ? relevance_take : reading_take;
	c->readings = out;
	for (size_t i = 0; i < n; i++) out[i] = (struct reader_reading){.relevance = -INFINITY, .answerable = -INFINITY};
	return call_run(c, pairs, n, e);
}

int reader_support(struct reader_model *m, const struct reader_pair *pairs, size_t n, struct reader_verdict *out,
	struct err *e)
{
	if (m->info.only_relevance)
		return err_set(e, E_UNSUPPORTED, "%s: a model of relevance alone, which does not tell what evidence carries", m->info.name);
	struct call *c = mem_calloc(1, sizeof *c);
	if (!c) return err_set(e, E_MEMORY, "read %zu pairs", n);
	c->m = m;
	c->take = verdict_take;
	c->verdicts = out;
	for (size_t i = 0; i < n; i++) out[i] = (struct reader_verdict){-INFINITY, 0, 0};
	return call_run(c, pairs, n, e);
}
