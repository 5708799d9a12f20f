/* spm.c: owns the vocabulary of a SentencePiece BPE model.
 *
 * At open U+2581 in tokens becomes the blank it stands for, so that text is encoded and decoded without escapes, and
 * scores become ranks that order as they do. Two hash tables, open addressing, at most half full: ordinary tokens, which
 * merging may reach, and marks (control and user-defined tokens), which are found as they stand. Text is cut
 * before each run of blanks, but for those behind a byte that some token has before a blank within it (Gemma has
 * "> </"): no merge could cross, and words are short. Encoding a word: a node a character, doubly linked, named by its place; a heap holds the neighbours whose
 * joint text is a token, by (rank, place). The best is taken, checked to be still as it was, merged, and the two new
 * pairs enter the heap. Threads: read-only after open; encoding keeps its state in memory of its own. Failure:
 * E_FORMAT for a vocabulary that contradicts itself. */
#include "nn/spm.h"
#include <math.h>
#include <string.h>
#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "nn/merge.h"

enum { TYPE_NORMAL = 1, TYPE_USER = 4, TYPE_UNUSED = 5, TYPE_BYTE = 6 };
enum { SMALL = 256, TOKEN_BYTES_MAX = 512, MARK_BYTES_MAX = 256 }; /* longer tokens never come out of text */

static const char BLANK[] = "\xe2\x96\x81";

struct table { int32_t *ids; size_t mask; };             /* -1: free */

struct spm {
	size_t vocab;
	char *bytes;                    /* of all tokens, one behind the other */
	uint32_t *start;                /* (vocab + 1) offsets into bytes */
	uint8_t *kind;                  /* (vocab) enum token_kind */
	int32_t *rank;                  /* (vocab) lower is better */
	struct table normal, marks;
	size_t normal_max;              /* bytes of the longest ordinary token */
	uint16_t mark_max[256];         /* bytes of the longest mark that starts with this byte */
	int32_t byte_id[256];           /* -1: no token */
	int32_t unknown;                /* for a byte that has no token, or -1 */
	uint8_t joins[256];             /* 1: an ordinary token has this byte before a blank within it */
	int blank_first;
};

const char *spm_bytes(const struct spm *m, int32_t id, size_t *len)
{
	*len = m->start[id + 1] - m->start[id];
	return m->bytes + m->start[id];
}

static int32_t find_hashed(const struct spm *m, const struct table *t, uint64_t hash, const char *s, size_t len)
{
	for (size_t at = hash;; at++) {
		int32_t id = t->ids[at & t->mask];
		size_t n;
		const char *have;
		if (id < 0) return -1;
		have = spm_bytes(m, id, &n);
		if (n == len && memcmp(have, s, n) == 0) return id;
	}
}

static uint64_t hash_bytes(const char *s, size_t len)
{
	uint64_t h = HASH_START;
	for (size_t i = 0; i < len; i++) h = hash_step(h, s[i]);
	return hash_mix(h);
}

static int32_t find(const struct spm *m, const struct table *t, const char *s, size_t len)
{
	return find_hashed(m, t, hash_bytes(s, len), s, len);
}

/* Of two tokens of the same text the first is found. */
static void add(struct spm *m, struct table *t, int32_t id)
{
	size_t len;
	const char *s = spm_bytes(m, id, &len);
	size_t slot = hash_bytes(s, len);
	if (find(m, t, s, len) >= 0) return;
	while (t->ids[slot & t->mask] >= 0) slot++;
	t->ids[slot & t->mask] = id;
}

/* --- opening --- */
static int table_init(struct table *t, size_t n)
{
	size_t slots = hash_slots(n);
	t->mask = slots - 1;
	t->ids = mem_alloc(slots * sizeof *t->ids);
	if (t->ids) memset(t->ids, 0xff, slots * sizeof *t->ids);
	return t->ids ? OK : E_MEMORY;
}

/* Text with U+2581 as blanks into out (at least len bytes); its length. */
static size_t unescape(const char *s, size_t len, char *out)
{
	size_t n = 0;
	for (size_t i = 0; i < len;) {
		const char *hit = memmem(s + i, len - i, BLANK, 3);
		size_t to = hit ? (size_t)(hit - s) : len;
		memcpy(out + n, s + i, to - i);
		n += to - i;
		if (hit) out[n++] = ' ';
		i = hit ? to + 3 : len;
	}
	return n;
}

/* The byte of "<0x4A>", or -1. */
static int byte_of(const struct gguf_str *s)
{
	static const char digits[] = "0123456789ABCDEF";
	const char *high, *low;
	if (s->len != 6 || memcmp(s->s, "<0x", 3) != 0 || s->s[5] != '>' || !s->s[3] || !s->s[4]) return -1;
	high = strchr(digits, s->s[3]);
	low = strchr(digits, s->s[4]);
	return high && low ? (int)(16 * (high - digits) + (low - digits)) : -1;
}

/* A user-defined token that is the mark of a turn, a picture or the like, and nothing that a text has: "[…]", and "<…>"
 * with a bar or an underscore in it. HTML tags are text. */
static int is_mark_name(const struct gguf_str *s)
{
	if (s->len < 3) return 0;
	if (s->s[0] == '[') return s->s[s->len - 1] == ']';
	return s->s[0] == '<' && s->s[s->len - 1] == '>' && (memchr(s->s, '|', s->len) || memchr(s->s, '_', s->len));
}

static enum token_kind kind_of(int32_t type, const struct gguf_str *s)
{
	switch (type) {
	case TYPE_NORMAL: return s->len && s->len <= TOKEN_BYTES_MAX ? TOKEN_NORMAL : TOKEN_UNUSED;
	case TYPE_USER: return is_mark_name(s) ? TOKEN_CONTROL : TOKEN_USER;
	case TYPE_UNUSED: return TOKEN_UNUSED;
	case TYPE_BYTE: return byte_of(s) >= 0 ? TOKEN_NORMAL : TOKEN_UNUSED;
	default: return TOKEN_CONTROL; /* control, unknown, and what we do not know: nothing that text may become */
	}
}

/* Orders as the scores do, the highest first. */
static int32_t rank_of(float score)
{
	int32_t bits;
	score += 0.0f;                                       /* -0 becomes 0 */
	memcpy(&bits, &score, 4);
	return ~(bits >= 0 ? bits : bits ^ INT32_MAX);
}

static void index_token(struct spm *m, int32_t id, int32_t type)
{
	size_t len;
	const char *s = spm_bytes(m, id, &len);
	if (m->kind[id] == TOKEN_NORMAL && type == TYPE_BYTE) {
		m->byte_id[(uint8_t)s[0]] = id;
	} else if (m->kind[id] == TOKEN_NORMAL) {
		add(m, &m->normal, id);
		if (len > m->normal_max) m->normal_max = len;
		for (size_t i = 1; i < len; i++)
			if (s[i] == ' ' && s[i - 1] != ' ') m->joins[(uint8_t)s[i - 1]] = 1;
	} else if (m->kind[id] != TOKEN_UNUSED && len && len <= MARK_BYTES_MAX) {
		uint16_t *max = &m->mark_max[(uint8_t)s[0]];
		add(m, &m->marks, id);
		if (len > *max) *max = (uint16_t)len;
	}
}

static int load_tokens(struct spm *m, const struct gguf *g, struct err *e)
{
	struct gguf_array tokens, types, scores;
	const uint8_t *at;
	size_t n = 0;
	int st = gguf_array(g, "tokenizer.ggml.tokens", GGUF_STR, &tokens, e);
	if (st == OK) st = gguf_array(g, "tokenizer.ggml.token_type", GGUF_I32, &types, e);
	if (st == OK) st = gguf_array(g, "tokenizer.ggml.scores", GGUF_F32, &scores, e);
	if (st != OK) return st;
	if (tokens.n == 0 || tokens.n > INT32_MAX / 4 || types.n != tokens.n || scores.n != tokens.n ||
		tokens.end - tokens.data > INT32_MAX)
		return err_set(e, E_FORMAT, "%s: key tokenizer.ggml.tokens: %zu tokens, %zu token types, %zu scores",
			gguf_path(g), tokens.n, types.n, scores.n);
	m->vocab = tokens.n;
	m->bytes = mem_alloc((size_t)(tokens.end - tokens.data) + 1);
	m->start = mem_calloc(m->vocab + 1, sizeof *m->start);
	m->kind = mem_calloc(m->vocab, 1);
	m->rank = mem_calloc(m->vocab, sizeof *m->rank);
	if (!m->bytes || !m->start || !m->kind || !m->rank || table_init(&m->normal, m->vocab) != OK ||
		table_init(&m->marks, m->vocab) != OK)
		return err_set(e, E_MEMORY, "%s: out of memory for the vocabulary", gguf_path(g));
	at = tokens.data;
	for (size_t i = 0; i < m->vocab; i++) {
		struct gguf_str s = gguf_array_str(&tokens, &at);
		int32_t type;
		float score;
		memcpy(&type, types.data + 4 * i, 4);
		memcpy(&score, scores.data + 4 * i, 4);
		if (!isfinite(score))
			return err_set(e, E_FORMAT, "%s: key tokenizer.ggml.scores: score %zu is no number", gguf_path(g), i);
		m->rank[i] = rank_of(score);
		m->kind[i] = (uint8_t)kind_of(type, &s);
		if (type == TYPE_BYTE && m->kind[i] == TOKEN_NORMAL) m->bytes[n++] = (char)byte_of(&s);
		else n += unescape(s.s, s.len, m->bytes + n);
		m->start[i + 1] = (uint32_t)n;
		index_token(m, (int32_t)i, type);
	}
	return OK;
}

static int load_flags(struct spm *m, const struct gguf *g, struct err *e)
{
	static const char prefix[] = "tokenizer.ggml.add_space_prefix", extra[] = "tokenizer.ggml.remove_extra_whitespaces",
		unknown[] = "tokenizer.ggml.unknown_token_id", charsmap[] = "tokenizer.ggml.precompiled_charsmap";
	int st, on = 0;
	m->blank_first = 1;
	m->unknown = -1;
	if (gguf_has(g, prefix) && (st = gguf_bool(g, prefix, &m->blank_first, e)) != OK) return st;
	if (gguf_has(g, unknown) && (st = gguf_int(g, unknown, &m->unknown, e)) != OK) return st;
	if (m->unknown >= 0 && (size_t)m->unknown >= m->vocab)
		return err_set(e, E_FORMAT, "%s: key %s: no token %d", gguf_path(g), unknown, m->unknown);
	if (gguf_has(g, extra) && (st = gguf_bool(g, extra, &on, e)) != OK) return st;
	if (on || gguf_has(g, charsmap))
		return err_set(e, E_UNSUPPORTED, "%s: key %s: a tokenizer that normalises text is not supported", gguf_path(g),
			on ? extra : charsmap);
	return OK;
}

int spm_open(struct spm **out, const struct gguf *g, struct err *e)
{
	struct spm *m = mem_calloc(1, sizeof *m);
	int st;
	*out = NULL;
	if (!m) return err_set(e, E_MEMORY, "%s: out of memory", gguf_path(g));
	memset(m->byte_id, 0xff, sizeof m->byte_id);
	st = load_tokens(m, g, e);
	if (st == OK) st = load_flags(m, g, e);
	if (st != OK) spm_close(m);
	else *out = m;
	return st;
}

void spm_close(struct spm *m)
{
	if (!m) return;
	mem_free(m->bytes);
	mem_free(m->start);
	mem_free(m->kind);
	mem_free(m->rank);
	mem_free(m->normal.ids);
	mem_free(m->marks.ids);
	mem_free(m);
}

size_t spm_vocab(const struct spm *m)
{
	return m->vocab;
}

int spm_blank_first(const struct spm *m)
{
	return m->blank_first;
}

enum token_kind spm_kind(const struct spm *m, int32_t id)
{
	return m->kind[id];
}

int32_t spm_special(const struct spm *m, const char *name)
{
	int32_t id = find(m, &m->marks, name, strlen(name));
	return id >= 0 && m->kind[id] == TOKEN_CONTROL ? id : -1;
}

/* --- encoding --- */
struct node { int32_t len, prev, next; };                /* at the place of its first byte; len 0: merged away */

struct word {                                            /* scratch, grown to the longest word */
	const char *s;
	struct node *node;
	struct cand *heap;                               /* 3 a node: one from the start, two a merge. By lengths */
	size_t cap, heap_n;
};

static int word_reserve(struct word *w, size_t n, struct err *e)
{
	size_t cap = w->cap ? w->cap : SMALL;
	struct node *node;
	struct cand *heap;
	if (n <= w->cap) return OK;
	while (cap < n) cap *= 2;
	node = mem_realloc(w->node, cap * sizeof *node);
	if (node) w->node = node;
	heap = mem_realloc(w->heap, 3 * cap * sizeof *heap);
	if (heap) w->heap = heap;
	if (!node || !heap) return err_set(e, E_MEMORY, "tokenize: out of memory");
	w->cap = cap;
	return OK;
}

static void offer(const struct spm *m, struct word *w, int32_t at)
{
	int32_t right, len, id;
	if (at < 0 || (right = w->node[at].next) < 0) return;
	len = w->node[at].len + w->node[right].len;
	if ((size_t)len > m->normal_max || (id = find(m, &m->normal, w->s + at, (size_t)len)) < 0) return;
	heap_push(w->heap, &w->heap_n, (struct cand){ m->rank[id], at, w->node[at].len, w->node[right].len });
}

static void merge_all(const struct spm *m, struct word *w)
{
	while (w->heap_n) {
		struct cand c = heap_pop(w->heap, &w->heap_n);
		struct node *left = &w->node[c.at], *right;
		if (left->len != c.left || left->next < 0) continue;
		right = &w->node[left->next];
		if (right->len != c.right) continue;
		left->len += right->len;
		right->len = 0;
		left->next = right->next;
		if (left->next >= 0) w->node[left->next].prev = c.at;
		offer(m, w, left->prev);
		offer(m, w, c.at);
	}
}

static int put_node(const struct spm *m, const char *s, size_t len, int (*put)(void *, int32_t), void *ctx)
{
	int32_t id = len <= m->normal_max ? find(m, &m->normal, s, len) : -1;
	int st = OK;
	if (id >= 0) return put(ctx, id);
	for (size_t i = 0; i < len && st == OK; i++) {
		id = m->byte_id[(uint8_t)s[i]];
		if (id < 0) id = m->unknown;
		if (id >= 0) st = put(ctx, id);
	}
	return st;
}

static int encode_word(const struct spm *m, struct word *w, const char *s, size_t len, int (*put)(void *, int32_t),
	void *ctx, struct err *e)
{
	int32_t prev = -1;
	int st = word_reserve(w, len, e);
	if (st != OK) return st;
	w->s = s;
	w->heap_n = 0;
	for (size_t i = 0, next = 0; i < len; i = next) {
		if (utf8_next(s, len, &next) < 0) next = i + 1;
		w->node[i] = (struct node){ (int32_t)(next - i), prev, next < len ? (int32_t)next : -1 };
		prev = (int32_t)i;
	}
	for (int32_t i = 0; i >= 0; i = w->node[i].next) offer(m, w, i);
	merge_all(m, w);
	for (int32_t i = 0; i >= 0 && st == OK; i = w->node[i].next) st = put_node(m, s + i, (size_t)w->node[i].len, put, ctx);
	return st;
}

/* End of the word at `at`: before the next run of blanks where text may be cut. */
static size_t word_end(const struct spm *m, const char *s, size_t len, size_t at)
{
	for (at++; at < len; at++)
		if (s[at] == ' ' && s[at - 1] != ' ' && !m->joins[(uint8_t)s[at - 1]]) break;
	return at;
}

/* Longest mark at s, or -1. Control tokens only where `special` says so. */
static int32_t mark_at(const struct spm *m, const char *s, size_t len, int special, size_t *matched)
{
	size_t max = m->mark_max[(uint8_t)s[0]];
	uint64_t h = HASH_START;
	int32_t best = -1;
	*matched = 0;
	if (max > len) max = len;
	for (size_t n = 1; n <= max; n++) {
		int32_t id;
		h = hash_step(h, s[n - 1]);
		id = find_hashed(m, &m->marks, hash_mix(h), s, n);
		if (id < 0 || (m->kind[id] == TOKEN_CONTROL && !special)) continue;
		best = id;
		*matched = n;
	}
	return best;
}

static int encode_plain(const struct spm *m, const char *s, size_t len, int special, int (*put)(void *, int32_t),
	void *ctx, struct err *e)
{
	struct word w = { 0 };
	size_t at = 0;
	int st = OK;
	while (at < len && st == OK) {
		size_t end = at, matched = 0;
		int32_t mark = -1;
		while (end < len && (mark = mark_at(m, s + end, len - end, special, &matched)) < 0) end++;
		while (at < end && st == OK) {
			size_t next = word_end(m, s, end, at);
			st = encode_word(m, &w, s + at, next - at, put, ctx, e);
			at = next;
		}
		if (mark >= 0 && st == OK) st = put(ctx, mark);
		at += matched;
	}
	mem_free(w.node);
	mem_free(w.heap);
	return st;
}

int spm_encode(const struct spm *m, const char *text, size_t len, unsigned flags, int (*put)(void *ctx, int32_t id),
	void *ctx, struct err *e)
{
	char *work;
	size_t n = 0;
	int st;
	if (len == 0) return OK;
	if (len > INT32_MAX / 4) return err_set(e, E_LIMIT, "tokenize: a text of %zu bytes", len);
	if (!(work = mem_alloc(len + 1))) return err_set(e, E_MEMORY, "tokenize: out of memory");
	if (m->blank_first && !(flags & TOKENIZE_CONTINUE)) work[n++] = ' ';
	n += unescape(text, len, work + n);
	st = encode_plain(m, work, n, flags & TOKENIZE_SPECIAL, put, ctx, e);
	mem_free(work);
	return st;
}
