/* bpe.c: owns vocabulary and merges of a byte-level BPE tokenizer.
 *
 * Vocabularies of this kind write each byte as one visible character (GPT-2's table); here every token is turned back
 * into bytes once, at open. Two hash tables, open addressing, at most half full: token bytes to id (ordinary tokens
 * only, so that text can never spell a control token), and the pair of ids of a merge to its rank and result.
 * Encoding a word: its bytes become a doubly linked list of tokens; a binary heap holds the mergeable neighbours by
 * (rank, place). The lowest is taken, checked to be still current, merged, and the two new neighbour pairs enter the
 * heap: O(n log n), also for a word of a million letters. Threads: read-only after open; encoding keeps its state in
 * memory of its own. Failure: E_FORMAT for a vocabulary that contradicts itself. */
#include "nn/bpe.h"
#include <string.h>
#include "base/mem.h"
#include "base/utf8.h"
#include "nn/merge.h"
#include "nn/pretok.h"

enum { SPECIAL_MAX = 4096, TYPE_NORMAL = 1, TYPE_CONTROL = 3, TYPE_USER = 4, TYPE_UNUSED = 5, SMALL = 256 };

struct pair { uint64_t key; int32_t rank, id; };       /* key: left id << 32 | right id; rank -1: free */

struct bpe {
	enum pretok pre;
	size_t vocab;
	char *bytes;                    /* of all tokens, one behind the other */
	uint32_t *start;                /* (vocab + 1) offsets into bytes */
	uint8_t *kind;                  /* (vocab) enum token_kind */
	int32_t *ids;                   /* hash table of ordinary tokens, -1: free */
	size_t id_mask;
	struct pair *pairs;
	size_t pair_mask;
	int32_t byte_id[256];           /* -1: no token */
	int32_t *special;               /* ids of control and user-defined tokens */
	size_t special_n;
	uint8_t special_first[256];     /* 1: some special token starts with this byte */
};

static uint64_t hash_bytes(const char *s, size_t len)
{
	uint64_t h = HASH_START;
	for (size_t i = 0; i < len; i++) h = hash_step(h, s[i]);
	return hash_mix(h);
}

/* GPT-2's byte of a visible character, or -1: the printable Latin-1 characters stand for themselves, the others were
 * given the characters from U+0100 on, in order. */
static int byte_of(int32_t cp)
{
	int shifted = 256;
	if ((cp >= 33 && cp <= 126) || (cp >= 161 && cp <= 172) || (cp >= 174 && cp <= 255)) return cp;
	for (int b = 0; b < 256; b++) {
		if ((b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255)) continue;
		if (cp == shifted++) return b;
	}
	return -1;
}

/* Decodes a visible spelling into out (at least len bytes); -1 when a character stands for no byte. */
static long decode(const int16_t byte_table[512], const struct gguf_str *s, char *out)
{
	size_t n = 0;
	for (size_t i = 0; i < s->len;) {
		int32_t cp = utf8_next(s->s, s->len, &i);
		if (cp < 0 || cp >= 512 || byte_table[cp] < 0) return -1;
		out[n++] = (char)byte_table[cp];
	}
	return (long)n;
}

const char *bpe_bytes(const struct bpe *b, int32_t id, size_t *len)
{
	*len = b->start[id + 1] - b->start[id];
	return b->bytes + b->start[id];
}

static int32_t find_id(const struct bpe *b, const char *s, size_t len)
{
	for (size_t at = hash_bytes(s, len);; at++) {
		int32_t id = b->ids[at & b->id_mask];
		size_t n;
		const char *have;
		if (id < 0) return -1;
		have = bpe_bytes(b, id, &n);
		if (n == len && memcmp(have, s, n) == 0) return id;
	}
}

static const struct pair *find_pair(const struct bpe *b, int32_t left, int32_t right)
{
	uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
	for (size_t at = hash_mix(key);; at++) {
		const struct pair *p = &b->pairs[at & b->pair_mask];
		if (p->rank < 0) return NULL;
		if (p->key == key) return p;
	}
}

static enum token_kind kind_of_type(int32_t type)
{
	switch (type) {
	case TYPE_NORMAL: return TOKEN_NORMAL;
	case TYPE_USER: return TOKEN_USER;
	case TYPE_UNUSED: return TOKEN_UNUSED;
	default: return TOKEN_CONTROL; /* control, unknown, and what we do not know: nothing that text may become */
	}
}

/* Token bytes, kinds and the table of ordinary tokens. */
static int load_tokens(struct bpe *b, const struct gguf *g, const int16_t byte_table[512], struct err *e)
{
	struct gguf_array tokens, types;
	const uint8_t *at;
	size_t n = 0, size;
	int st = gguf_array(g, "tokenizer.ggml.tokens", GGUF_STR, &tokens, e);
	if (st == OK) st = gguf_array(g, "tokenizer.ggml.token_type", GGUF_I32, &types, e);
	if (st != OK) return st;
	if (tokens.n == 0 || tokens.n > INT32_MAX / 4 || types.n != tokens.n || tokens.end - tokens.data > INT32_MAX)
		return err_set(e, E_FORMAT, "%s: key tokenizer.ggml.tokens: %zu tokens, %zu token types", gguf_path(g),
			tokens.n, types.n);
	b->vocab = tokens.n;
	size = hash_slots(b->vocab);
	b->id_mask = size - 1;
	b->bytes = mem_alloc((size_t)(tokens.end - tokens.data) + 1);
	b->start = mem_calloc(b->vocab + 1, sizeof *b->start);
	b->kind = mem_calloc(b->vocab, 1);
	b->ids = mem_alloc(size * sizeof *b->ids);
	if (!b->bytes || !b->start || !b->kind || !b->ids)
		return err_set(e, E_MEMORY, "%s: out of memory for the vocabulary", gguf_path(g));
	memset(b->ids, 0xff, size * sizeof *b->ids);
	at = tokens.data;
	for (size_t i = 0; i < b->vocab; i++) {
		struct gguf_str s = gguf_array_str(&tokens, &at);
		int32_t type;
		long len;
		memcpy(&type, types.data + 4 * i, 4);
		b->kind[i] = (uint8_t)kind_of_type(type);
		len = b->kind[i] == TOKEN_NORMAL ? decode(byte_table, &s, b->bytes + n) : -1;
		if (len < 0) { /* spelled as it is; as an ordinary token it could never come out of text */
			if (b->kind[i] == TOKEN_NORMAL) b->kind[i] = TOKEN_UNUSED;
			memcpy(b->bytes + n, s.s, s.len);
			len = (long)s.len;
		}
		n += (size_t)len;
		b->start[i + 1] = (uint32_t)n;
		if (b->kind[i] != TOKEN_NORMAL || len == 0) continue;
		if (find_id(b, b->bytes + b->start[i], (size_t)len) >= 0)
			return err_set(e, E_FORMAT, "%s: key tokenizer.ggml.tokens: token %zu is there twice", gguf_path(g), i);
		size_t slot = hash_bytes(b->bytes + b->start[i], (size_t)len);
		while (b->ids[slot & b->id_mask] >= 0) slot++;
		b->ids[slot & b->id_mask] = (int32_t)i;
	}
	return OK;
}

static int load_special(struct bpe *b, const struct gguf *g, struct err *e)
{
	b->special = mem_alloc(SPECIAL_MAX * sizeof *b->special);
	if (!b->special) return err_set(e, E_MEMORY, "%s: out of memory for the vocabulary", gguf_path(g));
	for (size_t i = 0; i < b->vocab; i++) {
		size_t len;
		const char *s = bpe_bytes(b, (int32_t)i, &len);
		if ((b->kind[i] != TOKEN_CONTROL && b->kind[i] != TOKEN_USER) || len == 0) continue;
		if (b->special_n == SPECIAL_MAX)
			return err_set(e, E_FORMAT, "%s: key tokenizer.ggml.token_type: over %d special tokens", gguf_path(g),
				SPECIAL_MAX);
		b->special[b->special_n++] = (int32_t)i;
		b->special_first[(uint8_t)s[0]] = 1;
	}
	return OK;
}

/* One merge "left right" in visible characters. Merges of tokens that are not there are left out, as elsewhere. */
static int load_merge(struct bpe *b, const int16_t byte_table[512], const struct gguf_str *s, int32_t rank, char *work)
{
	const char *gap = s->len ? memchr(s->s + 1, ' ', s->len - 1) : NULL;
	struct gguf_str left, right;
	long l, r;
	int32_t a, c, id;
	size_t slot;
	uint64_t key;
	if (!gap) return 0;
	left = (struct gguf_str){ s->s, (size_t)(gap - s->s) };
	right = (struct gguf_str){ gap + 1, s->len - left.len - 1 };
	if ((l = decode(byte_table, &left, work)) <= 0 || (r = decode(byte_table, &right, work + l)) <= 0) return 0;
	a = find_id(b, work, (size_t)l);
	c = find_id(b, work + l, (size_t)r);
	id = find_id(b, work, (size_t)(l + r));
	if (a < 0 || c < 0 || id < 0 || find_pair(b, a, c)) return 1;
	key = (uint64_t)(uint32_t)a << 32 | (uint32_t)c;
	slot = hash_mix(key);
	while (b->pairs[slot & b->pair_mask].rank >= 0) slot++;
	b->pairs[slot & b->pair_mask] = (struct pair){ key, rank, id };
	return 1;
}

static int load_merges(struct bpe *b, const struct gguf *g, const int16_t byte_table[512], struct err *e)
{
	struct gguf_array merges;
	const uint8_t *at;
	size_t size;
	char *work;
	int st = gguf_array(g, "tokenizer.ggml.merges", GGUF_STR, &merges, e);
	if (st != OK) return st;
	if (merges.n > INT32_MAX / 4) return err_set(e, E_FORMAT, "%s: key tokenizer.ggml.merges: too many", gguf_path(g));
	size = hash_slots(merges.n);
	b->pair_mask = size - 1;
	b->pairs = mem_alloc(size * sizeof *b->pairs);
	work = mem_alloc((size_t)(merges.end - merges.data) + 1);
	if (!b->pairs || !work) {
		mem_free(work);
		return err_set(e, E_MEMORY, "%s: out of memory for the merges", gguf_path(g));
	}
	for (size_t i = 0; i < size; i++) b->pairs[i] = (struct pair){ 0, -1, -1 };
	at = merges.data;
	for (size_t i = 0; i < merges.n && st == OK; i++) {
		struct gguf_str s = gguf_array_str(&merges, &at);
		if (!load_merge(b, byte_table, &s, (int32_t)i, work))
			st = err_set(e, E_FORMAT, "%s: key tokenizer.ggml.merges: merge %zu is not two tokens", gguf_path(g), i);
	}
	mem_free(work);
	return st;
}

static int load_model(struct bpe *b, const struct gguf *g, struct err *e)
{
	struct gguf_str s;
	int st = gguf_str(g, "tokenizer.ggml.model", &s, e);
	if (st != OK) return st;
	if (s.len != 4 || memcmp(s.s, "gpt2", 4) != 0)
		return err_set(e, E_UNSUPPORTED, "%s: tokenizer.ggml.model \"%.*s\" is not supported, only gpt2", gguf_path(g),
			(int)(s.len < 40 ? s.len : 40), s.s);
	if ((st = gguf_str(g, "tokenizer.ggml.pre", &s, e)) != OK) return st;
	if (!pretok_find(s.s, s.len, &b->pre))
		return err_set(e, E_UNSUPPORTED, "%s: tokenizer.ggml.pre \"%.*s\" is not supported, only %s", gguf_path(g),
			(int)(s.len < 40 ? s.len : 40), s.s, pretok_names());
	return OK;
}

int bpe_open(struct bpe **out, const struct gguf *g, struct err *e)
{
	int16_t byte_table[512];
	struct bpe *b = mem_calloc(1, sizeof *b);
	int st;
	*out = NULL;
	if (!b) return err_set(e, E_MEMORY, "%s: out of memory", gguf_path(g));
	for (int i = 0; i < 512; i++) byte_table[i] = (int16_t)byte_of(i);
	st = load_model(b, g, e);
	if (st == OK) st = load_tokens(b, g, byte_table, e);
	if (st == OK) st = load_special(b, g, e);
	if (st == OK) st = load_merges(b, g, byte_table, e);
	if (st != OK) {
		bpe_close(b);
		return st;
	}
	for (int i = 0; i < 256; i++) {
		char c = (char)i;
		b->byte_id[i] = find_id(b, &c, 1);
	}
	*out = b;
	return OK;
}

void bpe_close(struct bpe *b)
{
	if (!b) return;
	mem_free(b->bytes);
	mem_free(b->start);
	mem_free(b->kind);
	mem_free(b->ids);
	mem_free(b->pairs);
	mem_free(b->special);
	mem_free(b);
}

int bpe_bos_by_habit(const struct bpe *b)
{
	return b->pre == PRETOK_LLAMA3;
}

size_t bpe_vocab(const struct bpe *b)
{
	return b->vocab;
}

enum token_kind bpe_kind(const struct bpe *b, int32_t id)
{
	return b->kind[id];
}

int32_t bpe_special(const struct bpe *b, const char *name)
{
	for (size_t i = 0; i < b->special_n; i++) {
		size_t len;
		const char *s = bpe_bytes(b, b->special[i], &len);
		if (b->kind[b->special[i]] != TOKEN_CONTROL || len != strlen(name)) continue;
		if (memcmp(s, name, len) == 0) return b->special[i];
	}
	return -1;
}

/* --- encoding --- */
struct node { int32_t id, prev, next; };                 /* id -1: merged away */

struct word {                                            /* scratch, grown to the longest word */
	struct node *node;
	struct cand *heap;                               /* 3 a node: one from the start, two a merge. By ids */
	size_t cap, heap_n;
};

static void offer(const struct bpe *b, struct word *w, int32_t at)
{
	const struct pair *p;
	int32_t right;
	if (at < 0 || (right = w->node[at].next) < 0) return;
	p = find_pair(b, w->node[at].id, w->node[right].id);
	if (p) heap_push(w->heap, &w->heap_n, (struct cand){ p->rank, at, w->node[at].id, w->node[right].id });
}

static int word_reserve(struct word *w, size_t n, struct err *e)
{
	size_t cap = w->cap ? w->cap : SMALL;
	struct node *node;
	struct cand *heap;
	if (n <= w->cap) return OK;
	if (n > INT32_MAX / 4) return err_set(e, E_LIMIT, "tokenize: a word of %zu bytes", n);
	while (cap < n) cap *= 2;
	node = mem_realloc(w->node, cap * sizeof *node);
	if (node) w->node = node;
	heap = mem_realloc(w->heap, 3 * cap * sizeof *heap);
	if (heap) w->heap = heap;
	if (!node || !heap) return err_set(e, E_MEMORY, "tokenize: out of memory");
	w->cap = cap;
	return OK;
}

static void merge_all(const struct bpe *b, struct word *w)
{
	while (w->heap_n) {
		struct cand c = heap_pop(w->heap, &w->heap_n);
		struct node *left = &w->node[c.at], *right;
		if (left->id != c.left || left->next < 0) continue;
		right = &w->node[left->next];
		if (right->id != c.right) continue;
		left->id = find_pair(b, c.left, c.right)->id;
		right->id = -1;
		left->next = right->next;
		if (left->next >= 0) w->node[left->next].prev = c.at;
		offer(b, w, left->prev);
		offer(b, w, c.at);
	}
}

static int encode_word(const struct bpe *b, struct word *w, const char *s, size_t len, int (*put)(void *, int32_t),
	void *ctx, struct err *e)
{
	int32_t n = 0;
	int st;
	if (b->pre == PRETOK_LLAMA3) { /* there a word that is a token is that token, whatever the merges */
		int32_t id = find_id(b, s, len);
		if (id >= 0) return put(ctx, id);
	}
	if ((st = word_reserve(w, len, e)) != OK) return st;
	for (size_t i = 0; i < len; i++) {
		int32_t id = b->byte_id[(uint8_t)s[i]];
		if (id < 0) continue;
		w->node[n] = (struct node){ id, n - 1, n + 1 };
		n++;
	}
	if (n == 0) return OK;
	w->node[n - 1].next = -1;
	w->heap_n = 0;
	for (int32_t i = 0; i < n; i++) offer(b, w, i);
	merge_all(b, w);
	for (int32_t i = 0; i >= 0 && st == OK; i = w->node[i].next) st = put(ctx, w->node[i].id);
	return st;
}

/* Longest special token at s, or -1. */
static int32_t special_at(const struct bpe *b, const char *s, size_t len, size_t *matched)
{
	int32_t best = -1;
	*matched = 0;
	if (!b->special_first[(uint8_t)s[0]]) return -1;
	for (size_t i = 0; i < b->special_n; i++) {
		size_t n;
		const char *name = bpe_bytes(b, b->special[i], &n);
		if (n > *matched && n <= len && memcmp(name, s, n) == 0) {
			best = b->special[i];
			*matched = n;
		}
	}
	return best;
}

int bpe_encode(const struct bpe *b, const char *text, size_t len, unsigned flags, int (*put)(void *ctx, int32_t id),
	void *ctx, struct err *e)
{
	struct word w = { 0 };
	size_t at = 0;
	int st = OK;
	while (at < len && st == OK) {
		size_t end = len, matched = 0;
		int32_t special = -1;
		if (flags & TOKENIZE_SPECIAL)
			for (end = at; end < len && (special = special_at(b, text + end, len - end, &matched)) < 0;) end++;
		while (at < end && st == OK) {
			size_t next = pretok_next(b->pre, text, end, at);
			st = encode_word(b, &w, text + at, next - at, put, ctx, e);
			at = next;
		}
		if (special >= 0 && st == OK) st = put(ctx, special);
		at += matched;
	}
	mem_free(w.node);
	mem_free(w.heap);
	return st;
}
