/* embed.c: owns an open model (card, vocabulary, encoder), the spaces it runs in, and the queue in front of them.
 *
 * A call tokenises its texts into a piece of at most PIECE_TOKENS tokens (or one text that is longer), takes a space,
 * runs the piece, gives the space back, and goes on with the next piece. For a GPU pieces are larger.
 *
 * The wide space has all threads, and there is one. It goes to a waiting EMBED_FIRST before any EMBED_BULK. A steady
 * stream of questions may hold folders up; that is meant. A piece of an EMBED_FIRST call of at most SHORT_TOKENS tokens
 * takes a narrow space instead, of which there are as many as threads, each run by the caller alone: it waits neither
 * for a folder's piece nor for threads that are busy with other things (a decoder's, say), and one thread is enough for
 * it, since a short text is bound by reading the weights. So does one of at most ALONE_TOKENS, any question that is,
 * while the wide space is busy: one thread computes it sooner than the piece there is done. On a GPU all goes to the wide space:
 * a piece there takes no longer than one thread takes for a question. Tokenising happens outside, into memory of the call.
 *
 * Threads: `lock` guards the free spaces and the waiting counts, nothing else; it is never held while anything runs.
 * Everything else is immutable after open but a space, which belongs to whoever took it. No other lock is taken under
 * `lock`. Failure: a piece is tokenised before it takes a space, so an error never leaves it taken. */
#include "embed/embed.h"
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
#include "embed/pool.h"
#include "nn/safetensors.h"
#include "nn/wordpiece.h"

enum {
	PIECE_TOKENS = 2048,
	GPU_PIECE_TOKENS = 16384,       /* fills its multiprocessors, and is done in some milliseconds */
	SHORT_TOKENS = 64,
	ALONE_TOKENS = 512,
	ALONE_MAX = 8,
	THREADS_MAX = 64,
	PATH_BYTES_MAX = 4096
};

struct embedder {
	struct embedder_info info;
	struct card card;
	struct wordpiece *words;
	struct encoder *encoder;
	char *prefix[2];              /* by enum embed_kind; "" for none */
	struct encoder_space *wide;   /* belongs to whoever set busy */
	struct encoder_space *alone[ALONE_MAX]; /* the first alone_free are nobody's */
	int alone_count;
	size_t piece;                 /* tokens */
	pthread_mutex_t lock;         /* guards what follows, and the order of `alone` */
	pthread_cond_t ready[2];      /* by enum embed_turn: for the wide space */
	size_t waiting[2];
	int busy;
	pthread_cond_t alone_ready;
	int alone_free;
};

/* Some texts of a call, tokenised. */
struct piece {
	int32_t *ids;                      /* room for m->piece and one more text */
	size_t *starts;
	size_t texts;
};

/* ---- open and close ---- */

/* The prefixes of the options, or else of the model; after the vocabulary. */
static int prefixes_set(struct embedder *m, const struct embedder_options *o, struct err *e)
{
	const char *want[2] = {
		[EMBED_PASSAGE] = o->passage_prefix ? o->passage_prefix : m->card.passage_prefix,
		[EMBED_QUERY] = o->query_prefix ? o->query_prefix : m->card.query_prefix,
	};
	for (int i = 0; i < 2; i++) {
		size_t tokens = embedder_count_tokens(m, want[i], strlen(want[i])), room = (size_t)m->info.max_tokens;
		if (tokens > 0 && tokens + 2 >= room)
			return err_set(e, E_USAGE, "%s: the prefix \"%.60s\" takes %zu tokens of %zu", o->dir, want[i], tokens, room);
		m->prefix[i] = mem_strdup(want[i]);
		if (!m->prefix[i]) return err_set(e, E_MEMORY, "open %s", o->dir);
		if (i == EMBED_PASSAGE) m->info.passage_tokens = m->info.max_tokens - (int)tokens;
	}
	m->info.query_prefix = m->prefix[EMBED_QUERY];
	m->info.passage_prefix = m->prefix[EMBED_PASSAGE];
	return OK;
}

/* Card, vocabulary, prefixes and weights; all that goes into the fingerprint. */
static int files_read(struct embedder *m, const struct embedder_options *o, struct sha256 *hash,
	struct safetensors **weights, struct err *e)
{
	static const char tag[] = "passage_prefix";
	const struct model_folder at = {o->dir, NULL};
	struct embedder_info *f = &m->info;
	struct buf path;
	buf_init(&path, PATH_BYTES_MAX);
	int rc = path_absolute(&path, NULL, o->dir, e);
	snprintf(f->name, sizeof f->name, "%s", path_base(buf_cstr(&path)));
	buf_clear(&path);
	if (rc == OK) rc = card_read(&m->card, &at, f->name, hash, e);
	if (rc == OK) rc = card_words(&m->words, &m->card, &at, hash, e);
	if (rc != OK) return rc;
	f->dim = m->card.shape.hidden;
	f->layers = m->card.shape.layers;
	f->max_tokens = m->card.max_tokens;
	if (o->max_tokens > 0 && o->max_tokens < f->max_tokens) f->max_tokens = o->max_tokens;
	snprintf(f->pooling, sizeof f->pooling, "%s", m->card.pooling == POOL_CLS ? "cls" : "mean");
	rc = prefixes_set(m, o, e);
	if (rc == OK) rc = card_weights(weights, &at, hash, e);
	if (rc == OK && *f->passage_prefix) {
		sha256_put(hash, tag, sizeof tag);
		sha256_put(hash, f->passage_prefix, strlen(f->passage_prefix));
	}
	return rc;
}

/* The encoder of the weights, and its spaces. */
static int encoder_start(struct embedder *m, const struct embedder_options *o, const struct safetensors *weights, struct err *e)
{
	struct encoder_how how;
	size_t longest = (size_t)m->info.max_tokens;
	int rc = encoder_how_choose(&how, o->device, o->kernel, o->gpu, e);
	if (rc == OK) rc = encoder_open(&m->encoder, weights, &m->card.shape, &how, m->info.name, e);
	if (rc == OK) rc = encoder_space_open(&m->wide, m->encoder, o->threads, longest > PIECE_TOKENS ? longest : PIECE_TOKENS,
		longest > GPU_PIECE_TOKENS ? longest : GPU_PIECE_TOKENS, e);
	if (rc != OK) return rc;
	m->info.kernel = encoder_kernel(m->encoder);
	m->piece = encoder_on_gpu(m->encoder) ? GPU_PIECE_TOKENS : PIECE_TOKENS;
	while (rc == OK && !how.must && m->alone_count < o->threads && m->alone_count < ALONE_MAX) {
		rc = encoder_space_open(&m->alone[m->alone_count], m->encoder, 1, ALONE_TOKENS, 0, e);
		m->alone_count += rc == OK;
	}
	m->alone_free = m->alone_count;
	return rc;
}

/* The small files are read before the large one is hashed: what is wrong with them shows at once. */
static int model_open(struct embedder *m, const struct embedder_options *o, struct err *e)
{
	struct safetensors *weights = NULL;
	uint8_t digest[32];
	struct sha256 *hash = sha256_new();
	if (!hash) return err_set(e, E_MEMORY, "open %s", o->dir);
	int rc = files_read(m, o, hash, &weights, e);
	sha256_end(hash, digest);
	hex_put(m->info.fingerprint, digest, sizeof digest);
	if (rc == OK) rc = encoder_start(m, o, weights, e);
	safetensors_close(weights);
	return rc;
}

int embedder_open(struct embedder **out, const struct embedder_options *o, struct err *e)
{
	int rc;
	*out = NULL;
	if (o->threads < 1 || o->threads > THREADS_MAX)
		return err_set(e, E_USAGE, "embedder: %d threads, not 1 to %d", o->threads, THREADS_MAX);
	if (o->max_tokens != 0 && o->max_tokens < 2)
		return err_set(e, E_USAGE, "embedder: max_tokens %d, not 0 nor 2 or more", o->max_tokens);
	struct embedder *m = mem_calloc(1, sizeof *m);
	if (!m) return err_set(e, E_MEMORY, "open %s", o->dir);
	pthread_mutex_init(&m->lock, NULL);
	for (int i = 0; i < 2; i++) pthread_cond_init(&m->ready[i], NULL);
	pthread_cond_init(&m->alone_ready, NULL);
	rc = model_open(m, o, e);
	if (rc == OK) *out = m;
	else embedder_close(m);
	return rc;
}

void embedder_close(struct embedder *m)
{
	if (!m) return;
	encoder_space_close(m->wide);
	for (int i = 0; i < m->alone_count; i++) encoder_space_close(m->alone[i]);
	encoder_close(m->encoder);
	wordpiece_close(m->words);
	for (int i = 0; i < 2; i++) {
		mem_free(m->prefix[i]);
		pthread_cond_destroy(&m->ready[i]);
	}
	pthread_cond_destroy(&m->alone_ready);
	pthread_mutex_destroy(&m->lock);
	mem_free(m);
}

const struct embedder_info *embedder_info(const struct embedder *m)
{
	return &m->info;
}

int embedder_lost(const struct embedder *m, struct err *e)
{
	return encoder_lost(m->encoder, e);
}

const char *embedder_device(const struct embedder *m)
{
	return encoder_device(m->encoder);
}

uint64_t embedder_device_bytes(const struct embedder *m)
{
	return encoder_device_bytes(m->encoder);
}

/* ---- tokens ---- */

size_t embedder_count_tokens(const struct embedder *m, const char *text, size_t len)
{
	size_t n = 0;
	int rc = wordpiece_encode(m->words, text, len, WORDPIECE_PLAIN, NULL, 0, &n, NULL);
	return rc == OK ? n : len; /* out of memory: a token takes a byte or more */
}

/* [CLS], the tokens of text, [SEP]: at most max (2 or more) to ids. */
static int text_tokens(const struct embedder *m, const char *text, size_t len, enum wordpiece_mode mode, int32_t *ids,
	size_t max, size_t *n, struct err *e)
{
	if (!utf8_valid(text, len)) return err_set(e, E_FORMAT, "text to embed: not valid UTF-8");
	int rc = wordpiece_encode(m->words, text, len, mode, ids + 1, max - 2, n, e);
	if (rc != OK) return rc;
	ids[0] = wordpiece_cls(m->words);
	ids[*n + 1] = wordpiece_sep(m->words);
	*n += 2;
	return OK;
}

int embedder_tokenize(const struct embedder *m, const char *text, size_t len, int32_t *ids, size_t max, size_t *n,
	struct err *e)
{
	if (max < 2) return err_set(e, E_USAGE, "tokenize: room for %zu tokens, 2 are needed", max);
	return text_tokens(m, text, len, WORDPIECE_SPECIALS, ids, max, n, e);
}

/* As text_tokens, with the prefix of its kind in front. */
static int prefixed_tokens(const struct embedder *m, const struct embed_text *t, enum embed_kind kind, int32_t *ids,
	size_t *n, struct err *e)
{
	const char *prefix = m->prefix[kind];
	size_t max = (size_t)m->info.max_tokens, prefix_len = strlen(prefix);
	struct buf joined;
	int rc;
	if (prefix_len == 0) return text_tokens(m, t->text, t->len, WORDPIECE_PLAIN, ids, max, n, e);
	if (t->len > SIZE_MAX / 2) return err_set(e, E_MEMORY, "text to embed: %zu bytes", t->len);
	buf_init(&joined, prefix_len + t->len);
	buf_put(&joined, prefix, prefix_len);
	buf_put(&joined, t->text, t->len);
	rc = buf_failed(&joined) ? err_set(e, E_MEMORY, "text to embed: %zu bytes", t->len)
		: text_tokens(m, joined.data, joined.len, WORDPIECE_PLAIN, ids, max, n, e);
	buf_clear(&joined);
	return rc;
}

/* ---- spaces ---- */

/* Both under the lock. */
static struct encoder_space *wide_take(struct embedder *m, enum embed_turn turn)
{
	m->waiting[turn]++;
	while (m->busy || (turn == EMBED_BULK && m->waiting[EMBED_FIRST] > 0)) pthread_cond_wait(&m->ready[turn], &m->lock);
	m->waiting[turn]--;
	m->busy = 1;
	return m->wide;
}

static struct encoder_space *alone_take(struct embedder *m)
{
	while (m->alone_free == 0) pthread_cond_wait(&m->alone_ready, &m->lock);
	return m->alone[--m->alone_free];
}

static struct encoder_space *space_take(struct embedder *m, size_t tokens, enum embed_turn turn)
{
	struct encoder_space *s;
	int alone = turn == EMBED_FIRST && m->alone_count > 0 && !encoder_on_gpu(m->encoder);
	pthread_mutex_lock(&m->lock);
	if (alone && tokens <= (m->busy ? ALONE_TOKENS : SHORT_TOKENS)) s = alone_take(m);
	else s = wide_take(m, turn);
	pthread_mutex_unlock(&m->lock);
	return s;
}

static void space_give(struct embedder *m, struct encoder_space *s)
{
	pthread_mutex_lock(&m->lock);
	if (s == m->wide) {
		m->busy = 0;
		pthread_cond_signal(&m->ready[m->waiting[EMBED_FIRST] > 0 ? EMBED_FIRST : EMBED_BULK]);
	} else {
		m->alone[m->alone_free++] = s;
		pthread_cond_signal(&m->alone_ready);
	}
	pthread_mutex_unlock(&m->lock);
}

/* ---- encode ---- */

static int piece_run(struct embedder *m, const struct piece *p, enum embed_turn turn, float *out, struct err *e)
{
	struct encoder_space *s = space_take(m, p->starts[p->texts], turn);
	int rc = encoder_vectors(s, p->ids, p->starts, p->texts, m->card.pooling, m->card.normalise, out, e);
	space_give(m, s);
	return rc;
}

int embedder_encode(struct embedder *m, const struct embed_text *texts, size_t n, enum embed_kind kind,
	enum embed_turn turn, float *out, struct err *e)
{
	size_t done = 0, dim = (size_t)m->info.dim, most = n < m->piece / 2 ? n : m->piece / 2; /* a text has two tokens or more */
	struct piece p = {.ids = mem_alloc((m->piece + (size_t)m->info.max_tokens) * sizeof *p.ids),
		.starts = mem_calloc(most + 2, sizeof *p.starts)};
	int rc = p.ids && p.starts ? OK : err_set(e, E_MEMORY, "embed %zu texts", n);
	for (size_t i = 0; i < n && rc == OK; i++) {
		size_t at = p.starts[p.texts], len;
		rc = prefixed_tokens(m, &texts[i], kind, p.ids + at, &len, e);
		if (rc == OK && p.texts > 0 && at + len > m->piece) { /* does not fit: the piece goes, this text opens the next */
			rc = piece_run(m, &p, turn, out + done * dim, e);
			done += p.texts;
			memmove(p.ids, p.ids + at, len * sizeof *p.ids);
			p.texts = 0;
			at = 0;
		}
		if (rc == OK) p.starts[++p.texts] = at + len;
	}
	if (rc == OK && p.texts > 0) rc = piece_run(m, &p, turn, out + done * dim, e);
	mem_free(p.ids);
	mem_free(p.starts);
	return rc;
}
