/* words.c: words of a text (words.h).
 *
 * One pass over the code points finds runs of letters, marks and digits; an apostrophe inside a run ends the stem
 * ("company's" is "company"), a comma or full stop between digits belongs to the number, and what only says where a line
 * may break, as a soft hyphen, belongs to the run and falls out when it is folded. Each run is folded, stemmed
 * and hashed (FNV-1a, 64 bits: with a few thousand words at a time, equal hashes mean equal words).
 * Most words are short runs of ASCII letters and digits and come again and again, so each thread keeps what it has found out of some
 * thousand of them, in a table of pairs, and neither folds nor stems them twice.
 * Threads: a Snowball stemmer has state, so every thread has one of its own, freed when the thread ends.
 * Failure: only memory. The only file that includes libstemmer. */
#include "base/words.h"
#include <immintrin.h>
#include <libstemmer.h>
#include <pthread.h>
#include <string.h>
#include "base/buf.h"
#include "base/language.h"
#include "base/mem.h"
#include "base/unicode.h"
#include "base/utf8.h"

enum { WORD_BYTES_MAX = 256, KNOWN_BYTES = 24, KNOWN = 8192, PAD = 32, SHORT = 1024, SOME = 16 }; /* KNOWN: a power of two */

/* Function words of English, sorted. A question's other words say what it is about. */
static const char *const stops[] = {
	"a", "about", "after", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be", "because", "been", "before", "being", "both",
	"but", "by", "can", "could", "did", "do", "does", "doing", "during", "each", "either", "for", "from", "had", "has", "have", "having",
	"he", "her", "here", "hers", "him", "his", "how", "i", "if", "in", "into", "is", "it", "its", "many", "may", "me", "might", "more",
	"most", "much", "must", "my", "of", "on", "one", "or", "our", "out", "over", "s", "shall", "she", "should", "so", "some", "such", "than",
	"that", "the", "their", "them", "then", "there", "these", "they", "this", "those", "through", "to", "under", "up", "us", "was", "we",
	"were", "what", "when", "where", "which", "while", "who", "whom", "whose", "why", "will", "with", "would", "you", "your",
};
static const char *const negations[] = { "cannot", "neither", "never", "no", "nobody", "none", "nor", "not", "nothing", "without" };

static const char *const asking[] = { "how", "what", "when", "where", "which", "who", "whom", "whose", "why" };

static pthread_key_t stemmer_key;
static pthread_once_t stemmer_once = PTHREAD_ONCE_INIT;

/* A word as it is written, filled up with zeros, and what it is. */
struct known { uint64_t key[KNOWN_BYTES / 8]; char term[KNOWN_BYTES]; uint64_t stem; uint8_t len, stop, asks, negation, number, capital; };
_Static_assert(sizeof(struct known) == 64, "one line of the cache");

/* By enum words_language, then those that a script stands for. */
enum { BY_ARABIC = WORDS_LANGUAGES, BY_CYRILLIC, STEMMERS };
static const struct { const char *name, *code; } stemming[STEMMERS] = {
	[WORDS_ENGLISH] = { "english", "en" }, [WORDS_DANISH] = { "danish", "da" }, [WORDS_DUTCH] = { "dutch", "nl" },
	[WORDS_FINNISH] = { "finnish", "fi" }, [WORDS_FRENCH] = { "french", "fr" }, [WORDS_GERMAN] = { "german", "de" },
	[WORDS_HUNGARIAN] = { "hungarian", "hu" }, [WORDS_ITALIAN] = { "italian", "it" }, [WORDS_NORWEGIAN] = { "norwegian", "no" },
	[WORDS_PORTUGUESE] = { "portuguese", "pt" }, [WORDS_ROMANIAN] = { "romanian", "ro" }, [WORDS_SPANISH] = { "spanish", "es" },
	[WORDS_SWEDISH] = { "swedish", "sv" }, [WORDS_TURKISH] = { "turkish", "tr" }, [BY_ARABIC] = { "arabic", "ar" },
	[BY_CYRILLIC] = { "russian", "ru" },
};

/* known: KNOWN of each language, NULL: not yet. */
struct stemmers { struct sb_stemmer *at[STEMMERS]; struct known *known[WORDS_LANGUAGES]; };

static void stemmer_free(void *p)
{
	struct stemmers *s = p;
	for (size_t i = 0; i < STEMMERS; i++) sb_stemmer_delete(s->at[i]);
	for (size_t i = 0; i < WORDS_LANGUAGES; i++) mem_free(s->known[i]);
	mem_free(s);
}

static void stemmer_key_make(void)
{
	(void)pthread_key_create(&stemmer_key, stemmer_free);
}

/* NULL: out of memory. */
static struct stemmers *stemmers_get(void)
{
	pthread_once(&stemmer_once, stemmer_key_make);
	struct stemmers *s = pthread_getspecific(stemmer_key);
	if (s) return s;
	s = mem_calloc(1, sizeof *s);
	if (s && pthread_setspecific(stemmer_key, s)) {
		mem_free(s);
		return NULL;
	}
	return s;
}

/* Which stemmer a word that begins with cp has in a text of the language. */
static int stemmer_of(enum words_language language, int32_t cp)
{
	if (cp >= 0x600 && cp <= 0x6ff) return BY_ARABIC;
	return cp >= 0x400 && cp <= 0x4ff ? BY_CYRILLIC : (int)language;
}

/* This thread's stemmer of a kind; NULL: out of memory. */
static struct sb_stemmer *stemmer_get(int kind)
{
	struct stemmers *s = stemmers_get();
	if (!s) return NULL;
	if (!s->at[kind]) s->at[kind] = sb_stemmer_new(stemming[kind].name, "UTF_8");
	return s->at[kind];
}

static int listed(const char *const *list, size_t n, const char *word)
{
	size_t lo = 0, hi = n;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = strcmp(word, list[mid]);
		if (c == 0) return 1;
		if (c < 0) hi = mid;
		else lo = mid + 1;
	}
	return 0;
}

static uint64_t hash_bytes(const char *s, size_t len)
{
	uint64_t h = 14695981039346656037ull;
	for (size_t i = 0; i < len; i++) h = (h ^ (uint8_t)s[i]) * 1099511628211ull;
	return h;
}

/* Characters of scripts that put no blanks between words, and Hangul, whose blanks leave particles on: each is a word. */
static int is_alone(int32_t cp)
{
	static const struct { int32_t first, last; } blocks[] = {
		{ 0x0e00, 0x0eff }, { 0x1000, 0x109f }, { 0x1780, 0x17ff }, { 0x3040, 0x30ff }, { 0x31f0, 0x31ff }, { 0xac00, 0xd7a3 },
		{ 0xff66, 0xff9f },
	};
	for (size_t i = 0; cp >= 0x0e00 && i < sizeof blocks / sizeof blocks[0]; i++)
		if (cp >= blocks[i].first && cp <= blocks[i].last) return 1;
	return cp >= 0 && uni_is_cjk((uint32_t)cp);
}

static int is_mark(int32_t cp)
{
	return cp >= 0 && uni_class((uint32_t)cp) == UNI_MARK;
}

static int is_apostrophe(int32_t cp)
{
	return cp == '\'' || cp == 0x2019;
}

static int is_digit(int32_t cp)
{
	return cp >= '0' && cp <= '9';
}

/* Soft hyphen, word joiner, zero width no-break space: nothing is seen of them inside a word. */
static int is_joiner(int32_t cp)
{
	return cp == 0xad || cp == 0x2060 || cp == 0xfeff;
}

/* The end of the word that begins at `at`; *stem_end is where its stem part ends (before an apostrophe). */
static size_t word_end(const char *s, size_t len, size_t at, size_t *stem_end)
{
	size_t i = at, j;
	int32_t prev = 0, cp, after;
	*stem_end = 0;
	while (i < len) {
		j = i;
		cp = utf8_next(s, len, &j);
		size_t k = j, next;
		do {
			next = k;
			after = k < len ? utf8_next(s, len, &k) : -1;
		} while (is_joiner(after));
		if (is_alone(cp) && !is_mark(cp)) {
			if (i > at) break;
			for (i = j; j < len && is_mark(utf8_next(s, len, &j)); i = j) continue;
			break;
		}
		int inner = after >= 0 && uni_is_word((uint32_t)after) && i > at;
		if (cp >= 0 && uni_is_word((uint32_t)cp)) prev = cp;
		else if (inner && is_joiner(cp)) j = next;
		else if (inner && is_apostrophe(cp) && !*stem_end) *stem_end = i;
		else if (!(inner && (cp == ',' || cp == '.') && is_digit(prev) && is_digit(after))) break;
		i = j;
	}
	if (!*stem_end) *stem_end = i;
	return i;
}

struct scratch { struct buf fold, plain; };

/* The stem of a word that was folded, folded_n bytes of it. Russian's rules go by marks ("й" is not "и"), so there the stem is
 * taken first and folded then; others do as well on folded words, and a mark that was left out costs nothing. */
static int stem_take(int kind, const char *word, size_t len, struct scratch *scratch, size_t folded_n, const char **term, size_t *term_len,
	struct err *e)
{
	struct sb_stemmer *st = stemmer_get(kind);
	struct buf *from = &scratch->fold;
	size_t n = folded_n;
	int rc = OK, marked = kind == BY_CYRILLIC;
	if (!st) return err_set(e, E_MEMORY, "words: out of memory");
	if (marked) {
		from = &scratch->plain;
		buf_reset(from);
		rc = uni_lower(word, len, from, e);
		if (rc) return rc;
		n = from->len;
	}
	*term = (const char *)sb_stemmer_stem(st, (const sb_symbol *)buf_cstr(from), (int)n);
	if (!*term) return err_set(e, E_MEMORY, "words: out of memory");
	*term_len = (size_t)sb_stemmer_length(st);
	if (!marked) return OK;
	buf_reset(&scratch->fold);
	rc = uni_fold(*term, *term_len, &scratch->fold, e);
	*term = buf_cstr(&scratch->fold);
	*term_len = scratch->fold.len;
	return rc;
}

/* Fills what a word is from its bytes [off, stem_end). *term borrows from scratch or from the stemmer, until
 * the next word. */
static int word_fill(struct word *w, enum words_language language, const char *s, size_t stem_end, struct scratch *scratch, const char **term,
	size_t *term_len, struct err *e)
{
	struct buf *fold = &scratch->fold;
	size_t i = w->off, out = 0;
	int32_t first = utf8_next(s, stem_end, &i);
	buf_reset(fold);
	size_t take = stem_end - w->off;
	if (take > WORD_BYTES_MAX) take = utf8_floor(s + w->off, take, WORD_BYTES_MAX);
	int rc = uni_fold(s + w->off, take, fold, e);
	if (rc) return rc;
	for (size_t k = 0; k < fold->len; k++) {
		if (is_digit((unsigned char)fold->data[k])) w->number = 1;
		if (fold->data[k] != ',') fold->data[out++] = fold->data[k];
	}
	if (fold->data) fold->data[out] = 0;
	const char *text = buf_cstr(fold);
	w->capital = first >= 0 && uni_tolower((uint32_t)first) != (uint32_t)first;
	w->stop = (uint8_t)listed(stops, sizeof stops / sizeof stops[0], text);
	w->asks = (uint8_t)listed(asking, sizeof asking / sizeof asking[0], text);
	w->negation = (uint8_t)listed(negations, sizeof negations / sizeof negations[0], text) ||
		(stem_end < w->off + w->len && s[w->off + w->len - 1] == 't' && stem_end > w->off && s[stem_end - 1] == 'n');
	w->alone = (uint8_t)is_alone(first);
	*term = text;
	*term_len = out;
	if (!w->number && !w->alone) {
		rc = stem_take(stemmer_of(language, first), s + w->off, take, scratch, out, term, term_len, e);
		if (rc) return rc;
	}
	w->stem = hash_bytes(*term, *term_len);
	return OK;
}

/* ---- words met before ---- */

/* 1: an ASCII letter or digit. */
static int is_plain(unsigned char c)
{
	return (unsigned)(c | 0x20) - 'a' < 26u || (unsigned)c - '0' < 10u;
}

/* Which of sixteen bytes are ASCII letters or digits. */
static unsigned plain_mask(__m128i v)
{
	__m128i low = _mm_or_si128(v, _mm_set1_epi8(0x20)); /* makes no letter of another byte below 0x80 but of a capital */
	__m128i letter = _mm_and_si128(_mm_cmpgt_epi8(low, _mm_set1_epi8('a' - 1)), _mm_cmplt_epi8(low, _mm_set1_epi8('z' + 1)));
	__m128i digit = _mm_and_si128(_mm_cmpgt_epi8(v, _mm_set1_epi8('0' - 1)), _mm_cmplt_epi8(v, _mm_set1_epi8('9' + 1)));
	return (unsigned)_mm_movemask_epi8(_mm_or_si128(letter, digit));
}

/* Where the letters or digits behind an apostrophe at `at` end; 0: there are none, or what follows may belong to the word too. */
static size_t suffix_end(const char *s, size_t len, size_t at)
{
	size_t i = at + 1;
	while (i < len && is_plain((unsigned char)s[i])) i++;
	if (i == at + 1) return 0;
	return i < len && ((unsigned char)s[i] >= 0x80 || s[i] == '\'' || s[i] == ',' || s[i] == '.') ? 0 : i;
}

/* The end of the word of ASCII letters and digits at `at`, those before an apostrophe in key; 0: it is another kind of word, too long, or
 * none. s has PAD bytes more behind at, whatever they are. */
static inline size_t plain_end(const char *s, size_t len, size_t at, uint64_t key[KNOWN_BYTES / 8], size_t *stem_end)
{
	static const uint8_t keep[64] = { [0 ... 31] = 0xff };
	__m128i a = _mm_loadu_si128((const __m128i *)(s + at)), b = _mm_loadu_si128((const __m128i *)(s + at + 16));
	unsigned others = ~(plain_mask(a) | plain_mask(b) << 16);
	size_t n = others ? (size_t)__builtin_ctz(others) : PAD;
	unsigned char c;
	if (n > len - at) n = len - at;
	if (n == 0 || n > KNOWN_BYTES) return 0;
	a = _mm_and_si128(a, _mm_loadu_si128((const __m128i *)(keep + 32 - n)));
	b = _mm_and_si128(b, _mm_loadu_si128((const __m128i *)(keep + 48 - n)));
	key[0] = (uint64_t)_mm_cvtsi128_si64(a);
	key[1] = (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(a, a));
	key[2] = (uint64_t)_mm_cvtsi128_si64(b);
	*stem_end = at + n;
	if (at + n == len) return at + n;
	c = (unsigned char)s[at + n];
	if (c == ' ') return at + n;
	if (c >= 0x80) return 0;
	if ((c != '\'' && c != ',' && c != '.') || at + n + 1 == len) return at + n;
	if (c == '\'' && is_plain((unsigned char)s[at + n + 1])) return suffix_end(s, len, at + n);
	c = (unsigned char)s[at + n + 1];
	return c >= 0x80 || is_plain(c) ? 0 : at + n; /* 0: "1,234" */
}

/* What this thread knows of words of a language; NULL: out of memory. */
static struct known *known_of(enum words_language language)
{
	struct stemmers *s = stemmers_get();
	struct known **known = s ? &s->known[language] : NULL;
	if (known && !*known && (*known = mem_aligned(64, KNOWN * sizeof **known))) memset(*known, 0, KNOWN * sizeof **known);
	return known ? *known : NULL;
}

/* The two places where a word may be, one behind the other. */
static inline struct known *known_at(struct known *table, const uint64_t key[KNOWN_BYTES / 8])
{
	uint64_t h = (key[0] ^ (key[1] ^ key[2] * 0xff51afd7ed558ccdu) * 0xc4ceb9fe1a85ec53u) * 0x9e3779b97f4a7c15u;
	return &table[h >> 48 & (KNOWN - 2)];
}

static inline int known_is(const struct known *k, const uint64_t key[KNOWN_BYTES / 8])
{
	return ((k->key[0] ^ key[0]) | (k->key[1] ^ key[1]) | (k->key[2] ^ key[2])) == 0;
}

struct seen { uint64_t key[KNOWN_BYTES / 8]; const struct known *at; uint32_t off, end, stem_end; };

/* Up to SOME words that begin in [*at, safe), as long as they are plain; places where they may be known are on their way into the cache. */
static size_t plain_gather(struct known *table, const char *text, size_t len, size_t safe, size_t *at, struct seen out[SOME])
{
	size_t n = 0, i = *at;
	while (n < SOME && i < safe) {
		size_t end, stem_end;
		if ((unsigned char)text[i] < 0x80 && !is_plain((unsigned char)text[i])) {
			i++;
			continue;
		}
		end = plain_end(text, len, i, out[n].key, &stem_end);
		if (!end) break;
		out[n].at = known_at(table, out[n].key);
		__builtin_prefetch(out[n].at);
		__builtin_prefetch(out[n].at + 1);
		out[n].off = (uint32_t)i, out[n].end = (uint32_t)end, out[n].stem_end = (uint32_t)stem_end;
		i = end + (end < len && text[end] == ' ');
		n++;
	}
	*at = i;
	return n;
}

/* Visits words that begin in [at, safe) as long as they are known ones; returns where it stopped. text: as plain_end wants it. */
static size_t known_visit(struct known *table, const char *text, size_t len, size_t safe, size_t at,
	int (*on_word)(void *ctx, const struct word *w, const char *term, size_t term_len), void *ctx, int *rc)
{
	struct seen some[SOME];
	for (;;) {
		const size_t from = at, n = plain_gather(table, text, len, safe, &at, some);
		for (size_t i = 0; i < n; i++) {
			const struct seen *p = &some[i];
			const struct known *k = p->at + !known_is(p->at, p->key);
			struct word w;
			if (!known_is(k, p->key)) return p->off;
			w = (struct word){ p->off, p->end - p->off, k->stem, k->stop, k->number, k->capital, k->negation, 0, k->asks };
			if (p->end > p->stem_end && text[p->end - 1] == 't' && text[p->stem_end - 1] == 'n') w.negation = 1;
			*rc = on_word(ctx, &w, k->term, k->len);
			if (*rc) return p->end;
		}
		if (at == from || n == 0) return at;
	}
}

/* In the place of the one that was kept longer ago. */
static void known_keep(struct known *k, const uint64_t key[KNOWN_BYTES / 8], const struct word *w, const char *term, size_t term_len)
{
	if (term_len > KNOWN_BYTES) return;
	k[1] = k[0];
	*k = (struct known){ { key[0], key[1], key[2] }, "", w->stem, (uint8_t)term_len, w->stop, w->asks, w->negation, w->number, w->capital };
	memcpy(k->term, term, term_len);
}

int words_visit(const char *text, size_t len, int (*on_word)(void *ctx, const struct word *w, const char *term, size_t term_len),
	void *ctx, struct err *e)
{
	return words_visit_in(WORDS_ENGLISH, text, len, on_word, ctx, e);
}

const char *words_code(enum words_language l)
{
	return stemming[l].code;
}

enum words_language words_language_of(const char *code)
{
	for (int i = 1; i < WORDS_LANGUAGES; i++)
		if (strcmp(stemming[i].code, code) == 0) return (enum words_language)i;
	return WORDS_ENGLISH;
}

enum words_language words_language(const char *text, size_t len)
{
	return words_language_of(language_of_document(text, len));
}

int text_has_digit(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] >= '0' && text[i] <= '9') return 1;
	return 0;
}

int words_listed(const char *list, const char *word)
{
	size_t n = strlen(word);
	for (const char *at = list; n && (at = strstr(at, word)); at += n)
		if (at > list && at[-1] == ' ' && at[n] == ' ') return 1;
	return 0;
}

int words_visit_in(enum words_language language, const char *text, size_t len,
	int (*on_word)(void *ctx, const struct word *w, const char *term, size_t term_len), void *ctx, struct err *e)
{
	struct known *table = known_of(language);
	size_t i = 0, at, end, stem_end, term_len, safe = len < PAD ? 0 : len - PAD;
	char padded[SHORT + PAD];
	const char *scan = text, *term;
	struct scratch scratch;
	int rc = table ? OK : err_set(e, E_MEMORY, "words: out of memory");
	buf_init(&scratch.fold, 64 * WORD_BYTES_MAX);
	buf_init(&scratch.plain, 64 * WORD_BYTES_MAX);
	if (len <= SHORT) { /* may be read beyond its end there */
		memcpy(padded, text, len);
		memset(padded + len, 0, PAD);
		scan = padded;
		safe = len;
	}
	while (rc == OK && i < len) {
		uint64_t key[KNOWN_BYTES / 8] = { 0 };
		struct known *fresh = NULL;
		if (i < safe) i = known_visit(table, scan, len, safe, i, on_word, ctx, &rc);
		if (rc || i >= len) break;
		at = i;
		end = i < safe ? plain_end(scan, len, at, key, &stem_end) : 0;
		if (end && end == stem_end) fresh = known_at(table, key);
		if (end) i = end;
		else {
			int32_t cp = utf8_next(text, len, &i);
			if (cp < 0 || !uni_is_word((uint32_t)cp)) continue;
			i = word_end(text, len, at, &stem_end);
		}
		struct word w = { .off = (uint32_t)at, .len = (uint32_t)(i - at) };
		rc = word_fill(&w, language, text, stem_end, &scratch, &term, &term_len, e);
		if (rc == OK && fresh) known_keep(fresh, key, &w, term, term_len);
		if (rc == OK) rc = on_word(ctx, &w, term, term_len);
	}
	buf_clear(&scratch.fold);
	buf_clear(&scratch.plain);
	return rc;
}

struct word_list { struct word *w; size_t n, cap; struct arena *a; };

static int list_add(void *ctx, const struct word *w, const char *term, size_t term_len)
{
	struct word_list *l = ctx;
	(void)term, (void)term_len;
	if (l->n == l->cap) {
		struct word *more = arena_alloc(l->a, 2 * l->cap * sizeof *more);
		if (!more) return E_MEMORY;
		memcpy(more, l->w, l->n * sizeof *more);
		l->w = more;
		l->cap *= 2;
	}
	l->w[l->n++] = *w;
	return OK;
}

int words_of(const char *text, size_t len, struct arena *a, struct word **out, size_t *n, struct err *e)
{
	return words_of_in(WORDS_ENGLISH, text, len, a, out, n, e);
}

int words_of_in(enum words_language language, const char *text, size_t len, struct arena *a, struct word **out, size_t *n, struct err *e)
{
	struct word_list l = { NULL, 0, len / 6 + 16, a };
	l.w = arena_alloc(a, l.cap * sizeof *l.w);
	int rc = l.w ? words_visit_in(language, text, len, list_add, &l, e) : E_MEMORY;
	*out = l.w;
	*n = l.n;
	return rc == E_MEMORY ? err_set(e, rc, "words: out of memory") : rc;
}

int words_have(const struct word *w, size_t n, uint64_t stem)
{
	for (size_t i = 0; i < n; i++)
		if (w[i].stem == stem) return 1;
	return 0;
}
