/* wordpiece.c: owns the vocabulary (text and hash table) and the whole way from text to ids.
 *
 * A text is taken in slices that end at ASCII white space, which no token crosses, so that work space stays small and
 * a text that is only wanted for its first 256 tokens is not read further. A slice is cleaned into one buffer, put
 * into NFD in a second (only when accents are stripped and it is not all ASCII: NFD leaves ASCII alone), and then
 * walked once: strip and lower a code point, collect a word, cut the word into pieces.
 *
 * Longest match first: the hash (FNV-1a) of every prefix of the rest of a word comes from one pass, so that trying
 * the longest first costs one probe each. The table is open-addressed, linear, at most half full; its keys are
 * slices of the vocabulary's own text, "##" included.
 *
 * Invalid UTF-8 becomes U+FFFD in the cleaned text. A U+FFFD of the text itself is dropped by the cleaning, so the two
 * cannot be mistaken. Threads: immutable after open. Failure: E_MEMORY from the buffers, nothing else. */
#include "nn/wordpiece.h"
#include <string.h>
#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/unicode.h"
#include "base/utf8.h"

enum {
	VOCAB_BYTES_MAX = 64 << 20, SLICE_BYTES = 4096, REPLACEMENT = 0xfffd, SPECIALS = 5,
	WORD_BYTES = WORDPIECE_WORD_MAX * 4
};
#define FNV_START 0xcbf29ce484222325u
#define FNV_PRIME 0x100000001b3u

struct slot { uint32_t off, len; int32_t id; }; /* id -1: free */

struct wordpiece {
	struct buf text;      /* vocab.txt, or the tokens of tokenizer.json one behind the other */
	struct slot *slots;
	size_t mask;          /* slots - 1 */
	size_t size;          /* ids are below it */
	int32_t special[SPECIALS]; /* unk, cls, sep, pad, mask; -1: absent */
	char special_text[SPECIALS][32];
	int lower_case, strip_accents, cjk_words;
};

/* One call's state. */
struct work {
	const struct wordpiece *w;
	struct buf clean, nfd;
	int32_t *ids;
	size_t max, n;
	char word[WORD_BYTES];
	size_t word_len;      /* bytes; meaningless once over is set */
	size_t word_chars;    /* code points, counted past the limit too */
};

static uint64_t fnv(uint64_t h, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) h = (h ^ (uint8_t)s[i]) * FNV_PRIME;
	return h;
}

/* The slot that holds head+s, or the free one where it would go. */
static struct slot *slot_find(const struct wordpiece *w, uint64_t hash, const char *head, size_t head_len,
	const char *s, size_t len)
{
	for (size_t i = (hash ^ hash >> 32) & w->mask;; i = (i + 1) & w->mask) {
		struct slot *slot = &w->slots[i];
		const char *key = w->text.data + slot->off;
		if (slot->id < 0) return slot;
		if (slot->len == head_len + len && memcmp(key, head, head_len) == 0 && memcmp(key + head_len, s, len) == 0)
			return slot;
	}
}

int32_t wordpiece_id(const struct wordpiece *w, const char *token, size_t len)
{
	return slot_find(w, fnv(FNV_START, token, len), "", 0, token, len)->id;
}

/* An empty table for so many tokens. */
static int slots_make(struct wordpiece *w, size_t tokens, const char *path, struct err *e)
{
	size_t slots = 16;
	while (slots < 2 * tokens) slots *= 2;
	w->slots = mem_alloc(slots * sizeof *w->slots);
	if (!w->slots) return err_set(e, E_MEMORY, "%s: table of %zu tokens", path, tokens);
	for (size_t i = 0; i < slots; i++) w->slots[i] = (struct slot){.id = -1};
	w->mask = slots - 1;
	return OK;
}

/* The token at `off` of w->text. One that is named twice has its last id. */
static void slot_put(struct wordpiece *w, size_t off, size_t len, int32_t id)
{
	const char *token = w->text.data + off;
	struct slot *slot = slot_find(w, fnv(FNV_START, token, len), "", 0, token, len);
	*slot = (struct slot){.off = (uint32_t)off, .len = (uint32_t)len, .id = id};
	if ((size_t)id >= w->size) w->size = (size_t)id + 1;
}

static int lines_fill(struct wordpiece *w, const char *path, const char *text, size_t len_all, struct err *e)
{
	size_t lines = 1;
	int rc = buf_put(&w->text, text, len_all);
	if (rc != OK) return err_set(e, rc, "%s: a vocabulary of %zu bytes", path, len_all);
	if (w->text.len == 0) return err_set(e, E_FORMAT, "%s: empty vocabulary", path);
	if (!utf8_valid(w->text.data, w->text.len)) return err_set(e, E_FORMAT, "%s: not valid UTF-8", path);
	for (size_t i = 0; i < w->text.len; i++) lines += w->text.data[i] == '\n';
	if ((rc = slots_make(w, lines, path, e)) != OK) return rc;
	for (size_t at = 0, id = 0; at < w->text.len; id++) {
		const char *line = w->text.data + at, *end = memchr(line, '\n', w->text.len - at);
		size_t len = end ? (size_t)(end - line) : w->text.len - at, cut = len && line[len - 1] == '\r';
		slot_put(w, at, len - cut, (int32_t)id);
		at += len + 1;
	}
	return OK;
}

/* Ids of n tokens are below 2n + 1024, so that a file cannot ask for memory it does not fill. */
static int members_fill(struct wordpiece *w, const cJSON *root, const char *path, struct err *e)
{
	const cJSON *vocab = json_get(json_get(root, "model"), "vocab"), *token;
	size_t n = cJSON_IsObject(vocab) ? (size_t)cJSON_GetArraySize(vocab) : 0;
	int rc;
	if (n == 0) return err_set(e, E_FORMAT, "%s: empty vocabulary", path);
	if ((rc = slots_make(w, n, path, e)) != OK) return rc;
	cJSON_ArrayForEach(token, vocab) {
		double id = cJSON_IsNumber(token) ? token->valuedouble : -1;
		size_t off = w->text.len, len = strlen(token->string);
		if (!(id >= 0 && id < 2 * (double)n + 1024) || id != (double)(int32_t)id)
			return err_set(e, E_FORMAT, "%s: token %.40s: bad id", path, token->string);
		if (buf_put(&w->text, token->string, len)) return err_set(e, E_MEMORY, "%s: vocabulary", path);
		slot_put(w, off, len, (int32_t)id);
	}
	cJSON_ArrayForEach(token, json_get(root, "added_tokens")) {
		const char *content = json_str(token, "content", "");
		if (wordpiece_id(w, content, strlen(content)) < 0)
			return err_set(e, E_UNSUPPORTED, "%s: added token \"%.40s\" is not in the vocabulary", path, content);
	}
	return OK;
}

static int json_fill(struct wordpiece *w, const char *path, const char *text, size_t len, struct err *e)
{
	cJSON *root = NULL;
	int rc = json_parse(&root, text, len, VOCAB_BYTES_MAX, path, e);
	if (rc == OK) rc = members_fill(w, root, path, e);
	cJSON_Delete(root);
	return rc;
}

static int specials_find(struct wordpiece *w, const struct wordpiece_options *o, const char *path, struct err *e)
{
	const char *names[SPECIALS] = {o->unk, o->cls, o->sep, o->pad, o->mask};
	for (int i = 0; i < SPECIALS; i++) {
		size_t len = strlen(names[i]);
		w->special[i] = len && len < sizeof w->special_text[i] ? wordpiece_id(w, names[i], len) : -1;
		if (w->special[i] >= 0) memcpy(w->special_text[i], names[i], len + 1);
		else if (i < 3) return err_set(e, E_FORMAT, "%s: special token %.40s is not in the vocabulary", path, names[i]);
	}
	return OK;
}

int wordpiece_open(struct wordpiece **out, const char *path, const char *text, size_t len, const struct wordpiece_options *o,
	struct err *e)
{
	int rc;
	struct wordpiece *w = mem_calloc(1, sizeof *w);
	*out = NULL;
	if (!w) return err_set(e, E_MEMORY, "%s: vocabulary", path);
	buf_init(&w->text, VOCAB_BYTES_MAX);
	w->lower_case = o->lower_case;
	w->strip_accents = o->strip_accents;
	w->cjk_words = o->cjk_words;
	rc = strcasecmp(path_ext(path), "json") == 0 ? json_fill(w, path, text, len, e) : lines_fill(w, path, text, len, e);
	if (rc == OK) rc = specials_find(w, o, path, e);
	if (rc == OK) *out = w;
	else wordpiece_close(w);
	return rc;
}

void wordpiece_close(struct wordpiece *w)
{
	if (!w) return;
	mem_free(w->slots);
	buf_clear(&w->text);
	mem_free(w);
}

size_t wordpiece_size(const struct wordpiece *w)
{
	return w->size;
}

int32_t wordpiece_cls(const struct wordpiece *w)
{
	return w->special[1];
}

int32_t wordpiece_sep(const struct wordpiece *w)
{
	return w->special[2];
}

static void emit(struct work *k, int32_t id)
{
	if (k->n < k->max) k->ids[k->n] = id;
	k->n++;
}

static int full(const struct work *k)
{
	return k->ids && k->n >= k->max;
}

/* Cuts the collected word into pieces. Nothing is emitted until all of it has matched, for a word that cannot be cut
 * is one [UNK]. */
static void word_end(struct work *k)
{
	const struct wordpiece *w = k->w;
	int32_t pieces[WORDPIECE_WORD_MAX];
	uint64_t hash[WORD_BYTES + 1];
	size_t n = 0, at = 0;
	int whole = k->word_chars <= WORDPIECE_WORD_MAX;
	if (k->word_chars == 0) return;
	while (whole && at < k->word_len) {
		const char *s = k->word + at, *head = at ? "##" : "";
		size_t rest = k->word_len - at, head_len = at ? 2 : 0, len;
		int32_t id = -1;
		hash[0] = fnv(FNV_START, head, head_len);
		for (size_t i = 0; i < rest; i++) hash[i + 1] = (hash[i] ^ (uint8_t)s[i]) * FNV_PRIME;
		for (len = rest; len > 0; len--) {
			if (len < rest && ((uint8_t)s[len] & 0xc0) == 0x80) continue; /* inside a code point */
			id = slot_find(w, hash[len], head, head_len, s, len)->id;
			if (id >= 0) break;
		}
		whole = id >= 0;
		if (whole) pieces[n++] = id;
		at += len;
	}
	k->word_len = k->word_chars = 0;
	if (!whole) emit(k, w->special[0]);
	else for (size_t i = 0; i < n; i++) emit(k, pieces[i]);
}

static void word_put(struct work *k, uint32_t cp)
{
	if (k->word_chars++ < WORDPIECE_WORD_MAX) k->word_len += utf8_put(k->word + k->word_len, cp);
}

static int is_punctuation(uint32_t cp)
{
	if (cp >= 128) return uni_class(cp) == UNI_PUNCT;
	return (cp >= 33 && cp <= 47) || (cp >= 58 && cp <= 64) || (cp >= 91 && cp <= 96) || (cp >= 123 && cp <= 126);
}

/* Takes one code point of cleaned text, and strips, lowers and sorts it into words. */
static void code_point(struct work *k, uint32_t cp)
{
	const struct wordpiece *w = k->w;
	if (cp >= 128 && w->strip_accents && strcmp(uni_category(cp), "Mn") == 0) return;
	if (w->lower_case) {
		if (cp == 0x130) { /* the one code point whose lower case is two */
			word_put(k, 'i');
			cp = 0x307;
		} else cp = cp < 128 ? cp + (cp >= 'A' && cp <= 'Z') * 32 : uni_tolower(cp);
	}
	if (cp == REPLACEMENT) {
		word_end(k);
		emit(k, w->special[0]);
	} else if (cp < 128 ? cp == ' ' : uni_is_white_space(cp)) word_end(k);
	else if (is_punctuation(cp)) {
		word_end(k);
		word_put(k, cp);
		word_end(k);
	} else word_put(k, cp);
}

/* Copies a slice to k->clean; *ascii says whether that came out as ASCII alone. */
static int clean(struct work *k, const char *s, size_t len, int *ascii)
{
	buf_reset(&k->clean);
	*ascii = 1;
	for (size_t i = 0; i < len;) {
		int32_t cp = utf8_next(s, len, &i);
		char text[4];
		if (cp >= 32 && cp < 127) {
			buf_putc(&k->clean, (char)cp);
			continue;
		}
		if (cp == '\t' || cp == '\n' || cp == '\r') buf_putc(&k->clean, ' ');
		if ((cp >= 0 && cp < 128) || cp == REPLACEMENT) continue;
		if (cp < 0) cp = REPLACEMENT; /* an invalid byte */
		else if (uni_class((uint32_t)cp) == UNI_CONTROL) continue;
		else if (uni_is_white_space((uint32_t)cp)) {
			buf_putc(&k->clean, ' ');
			continue;
		}
		int alone = k->w->cjk_words && uni_is_cjk((uint32_t)cp);
		*ascii = 0;
		if (alone) buf_putc(&k->clean, ' ');
		buf_put(&k->clean, text, utf8_put(text, (uint32_t)cp));
		if (alone) buf_putc(&k->clean, ' ');
	}
	return buf_failed(&k->clean);
}

/* Tokens of one stretch of text that holds no special token; ends the word it leaves open. */
static int stretch(struct work *k, const char *s, size_t len, struct err *e)
{
	int ascii, rc = clean(k, s, len, &ascii);
	const struct buf *from = &k->clean;
	if (rc != OK) return err_set(e, E_MEMORY, "tokenize: %zu bytes of work space", len);
	if (!ascii && k->w->strip_accents) {
		buf_reset(&k->nfd);
		rc = uni_nfd(k->clean.data, k->clean.len, &k->nfd, e);
		if (rc != OK) return rc;
		from = &k->nfd;
	}
	for (size_t i = 0; i < from->len && !full(k);) code_point(k, (uint32_t)utf8_next(from->data, from->len, &i));
	word_end(k);
	return OK;
}

/* The special token that starts at s, or -1; *len its length. */
static int32_t special_at(const struct wordpiece *w, const char *s, size_t rest, size_t *len)
{
	for (int i = 0; i < SPECIALS; i++) {
		*len = strlen(w->special_text[i]);
		if (w->special[i] >= 0 && *len <= rest && memcmp(s, w->special_text[i], *len) == 0) return w->special[i];
	}
	return -1;
}

static int slice(struct work *k, const char *s, size_t len, enum wordpiece_mode mode, struct err *e)
{
	size_t from = 0, skip = 0;
	int rc = OK;
	for (size_t i = 0; mode == WORDPIECE_SPECIALS && i < len && rc == OK; i += skip ? skip : 1) {
		int32_t id = special_at(k->w, s + i, len - i, &skip);
		if (id < 0) {
			skip = 0;
			continue;
		}
		rc = stretch(k, s + from, i - from, e);
		if (rc == OK) emit(k, id);
		from = i + skip;
	}
	return rc == OK ? stretch(k, s + from, len - from, e) : rc;
}

/* Length of the next slice: past the last white space of SLICE_BYTES, or past the first one after them. */
static size_t slice_len(const char *s, size_t len)
{
	size_t n = SLICE_BYTES;
	if (len <= n) return len;
	while (n > 0 && s[n - 1] != ' ' && s[n - 1] != '\n') n--;
	if (n > 0) return n;
	for (n = SLICE_BYTES; n < len && s[n] != ' ' && s[n] != '\n';) n++;
	return n;
}

int wordpiece_encode(const struct wordpiece *w, const char *text, size_t len, enum wordpiece_mode mode, int32_t *ids,
	size_t max, size_t *n, struct err *e)
{
	struct work k = {.w = w, .ids = ids, .max = ids ? max : 0};
	int rc = OK;
	buf_init(&k.clean, SIZE_MAX / 2);
	buf_init(&k.nfd, SIZE_MAX / 2);
	for (size_t at = 0, part; at < len && !full(&k) && rc == OK; at += part) {
		part = slice_len(text + at, len - at);
		rc = slice(&k, text + at, part, mode, e);
	}
	if (ids && k.n > max) k.n = max;
	*n = k.n;
	buf_clear(&k.clean);
	buf_clear(&k.nfd);
	return rc;
}

/* ---- places ---- */

enum apart { APART_WORD, APART_SPACE, APART_ALONE };

/* What a code point of the text (-1: an invalid byte) is once it is cleaned. */
static enum apart apart(const struct wordpiece *w, int32_t cp)
{
	if (cp < 0) return APART_ALONE;
	if (cp == ' ' || cp == '\t' || cp == '\n' || cp == '\r') return APART_SPACE;
	if (is_punctuation((uint32_t)cp)) return APART_ALONE;
	if (cp < 128 || uni_class((uint32_t)cp) == UNI_CONTROL) return APART_WORD;
	if (uni_is_white_space((uint32_t)cp)) return APART_SPACE;
	return w->cjk_words && uni_is_cjk((uint32_t)cp) ? APART_ALONE : APART_WORD;
}

/* The end of the run that starts at `at`. */
static size_t run_end(const struct wordpiece *w, const char *text, size_t len, size_t at)
{
	size_t end = at, next = at;
	if (apart(w, utf8_next(text, len, &next)) == APART_ALONE) return next;
	for (end = next; end < len; end = next)
		if (apart(w, utf8_next(text, len, &next)) != APART_WORD) break;
	return end;
}

int wordpiece_places(const struct wordpiece *w, const char *text, size_t len, struct wordpiece_token *out, size_t max,
	size_t *n, struct err *e)
{
	int32_t ids[WORD_BYTES];
	struct work k = {.w = w, .ids = ids, .max = WORD_BYTES};
	int rc = OK;
	*n = 0;
	if (len > UINT32_MAX) return err_set(e, E_LIMIT, "tokenize: a text of %zu bytes", len);
	buf_init(&k.clean, SIZE_MAX / 2);
	buf_init(&k.nfd, SIZE_MAX / 2);
	for (size_t at = 0, end; at < len && *n < max && rc == OK; at = end) {
		size_t next = at;
		int space = apart(w, utf8_next(text, len, &next)) == APART_SPACE;
		end = space ? next : run_end(w, text, len, at);
		k.n = 0;
		if (!space) rc = stretch(&k, text + at, end - at, e);
		for (size_t i = 0; i < k.n && *n < max; i++)
			out[(*n)++] = (struct wordpiece_token){ids[i], (uint32_t)at, (uint32_t)end};
	}
	buf_clear(&k.clean);
	buf_clear(&k.nfd);
	return rc;
}
