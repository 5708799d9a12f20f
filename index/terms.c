/* terms.c: owns what the words of a chunk and of a query are for the index (postings.h).
 *
 * Method: base/words.h folds and stems by the language of the document; a chunk has the words of its document's title, its heading and its text, so that
 * a passage is found by what stands above it. Characters that are words of their own (Chinese and kin) also make a term
 * with their right neighbour, since single ones tell too little. A heading that begins with the title is not counted
 * twice. A chunk in a language other than English also has a mark, so that a query knows which forms of its words to
 * look for. Function words are indexed, for queries that consist of them. The fingerprint is the hash of the terms of a
 * fixed text in several scripts: when a library folds or stems otherwise, it changes, and the store builds its postings
 * anew instead of missing words.
 * Threads: no state. Failure: memory. */
#include <stdio.h>
#include <string.h>
#include "base/buf.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "base/words.h"
#include "index/postings.h"

enum { ANALYSIS_VERSION = 2, FOLD_MAX = 1 << 14 }; /* raised when this, words.c or the telling of languages (language.c) changes */

struct walk {
	const char *text;
	int (*on_term)(void *ctx, const char *term, size_t n, int counts);   /* of a chunk */
	int (*on_query)(void *ctx, const struct query_word *word);           /* of a query, else NULL */
	void *ctx;
	int other;
	uint32_t before_off, before_end;     /* the word before, when it was one character; equal: it was not */
};

static int term_give(struct walk *w, const char *term, size_t n, uint32_t at, int stop, int counts)
{
	if (n > TERM_MAX) n = utf8_floor(term, n, TERM_MAX);
	if (n == 0 || memchr(term, 0, n)) return OK;
	return w->on_query ? w->on_query(w->ctx, &(struct query_word){ term, n, at, stop, w->other }) : w->on_term(w->ctx, term, n, counts);
}

static int on_word(void *ctx, const struct word *word, const char *term, size_t n)
{
	struct walk *w = ctx;
	int rc = term_give(w, term, n, word->off, word->stop, 1);
	if (!rc && word->alone && w->before_end > w->before_off && w->before_end == word->off)
		rc = term_give(w, w->text + w->before_off, word->off + word->len - w->before_off, w->before_off, 0, 0);
	w->before_off = w->before_end = 0;
	if (word->alone) w->before_off = word->off, w->before_end = word->off + word->len;
	return rc;
}

static int walk_text(struct walk *w, enum words_language language, const char *text, size_t len, struct err *e)
{
	w->text = text;
	w->before_off = w->before_end = 0;
	return words_visit_in(language, text, len, on_word, w, e);
}

size_t language_term(enum words_language language, char out[8])
{
	return (size_t)snprintf(out, 8, "%c%s", LANGUAGE_MARK, words_code(language));
}

int chunk_words_visit(const struct chunk_words *c, int (*on_term)(void *ctx, const char *term, size_t n, int counts),
	void *ctx, struct err *e)
{
	struct walk w = { .on_term = on_term, .ctx = ctx };
	size_t n = strlen(c->title);
	const char *heading = c->heading;
	char mark[8];
	if (n && strncmp(heading, c->title, n) == 0 && (heading[n] == 0 || strncmp(heading + n, " > ", 3) == 0)) heading += n;
	int rc = walk_text(&w, c->language, c->title, n, e);
	if (!rc) rc = walk_text(&w, c->language, heading, strlen(heading), e);
	if (!rc) rc = walk_text(&w, c->language, c->text, c->len, e);
	return rc || c->language == WORDS_ENGLISH ? rc : on_term(ctx, mark, language_term(c->language, mark), 0);
}

int query_words_in(enum words_language language, const char *query, size_t len, int (*on_term)(void *ctx, const struct query_word *word),
	void *ctx, struct err *e)
{
	struct walk w = { .on_query = on_term, .ctx = ctx, .other = language != WORDS_ENGLISH };
	return walk_text(&w, language, query, len, e);
}

int query_words_visit(const char *query, size_t len, uint32_t languages, int (*on_term)(void *ctx, const struct query_word *word), void *ctx,
	struct err *e)
{
	int rc = OK;
	for (int l = 0; !rc && l < WORDS_LANGUAGES; l++)
		if (l == WORDS_ENGLISH || languages >> l & 1) rc = query_words_in((enum words_language)l, query, len, on_term, ctx, e);
	return rc;
}

/* The marks lie together, before all words. */
int languages_find(struct txn *t, uint32_t coll, uint32_t *out, struct err *e)
{
	struct cursor c = { 0 };
	struct slice key, value, term;
	uint32_t number;
	uint64_t last;
	struct key k;
	char mark[8];
	int rc = cursor_open(&c, t, T_POST, e);
	*out = 0;
	key_graph(&k, coll);
	k.b[k.n++] = LANGUAGE_MARK;
	if (!rc) rc = cursor_seek(&c, &k, &key, &value, e);
	while (!rc && key_block_parse(key, &number, &term, &last) && number == coll && term.n && *(const char *)term.p == LANGUAGE_MARK) {
		for (int l = 1; l < WORDS_LANGUAGES; l++)
			if (language_term((enum words_language)l, mark) == term.n && memcmp(mark, term.p, term.n) == 0) *out |= 1u << l;
		key_block(&k, coll, (const char *)term.p, term.n, UINT64_MAX);
		rc = cursor_seek(&c, &k, &key, &value, e);
		if (!rc && key.n == k.n && memcmp(key.p, k.b, k.n) == 0) rc = cursor_next(&c, &key, &value, e); /* its last block's key is that */
	}
	cursor_close(&c);
	return rc == E_NOT_FOUND ? OK : rc;
}

/* Where a word ends, but for what stands behind an apostrophe. */
struct folding { const char *text; size_t len; };

static int on_folding(void *ctx, const struct word *w, const char *term, size_t n)
{
	struct folding *f = ctx;
	(void)term, (void)n;
	while (f->len < w->len && f->text[f->len] != '\'' && strncmp(f->text + f->len, "’", sizeof "’" - 1) != 0) f->len++;
	return E_CANCELLED; /* the first is enough */
}

int query_word_folded(const char *query, size_t len, uint32_t at, struct arena *a, const char **out, struct err *e)
{
	struct folding f = { query + at, 0 };
	struct buf b;
	int rc = words_visit(query + at, len - at, on_folding, &f, e);
	if (rc == E_CANCELLED) rc = OK;
	buf_init(&b, FOLD_MAX);
	if (f.len > TERM_MAX) f.len = utf8_floor(f.text, f.len, TERM_MAX); /* as the indexed ones are cut */
	if (!rc) rc = uni_fold(f.text, f.len, &b, NULL);
	*out = rc ? NULL : arena_strndup(a, buf_cstr(&b), b.len);
	buf_clear(&b);
	return *out ? OK : err_set(e, E_MEMORY, "search: out of memory");
}

static int hash_term(void *ctx, const char *term, size_t n, int flag)
{
	uint32_t *h = ctx;
	uint8_t end = (uint8_t)flag;
	*h = crc32c(crc32c(*h, term, n), &end, 1);
	return OK;
}

int words_fingerprint(uint32_t *out, struct err *e)
{
	static const char probe[] = "Running runners ran the Löwen's 1,234.5 naïve café’s ÆON straße Œuvre ﬁne x² Ⅷ "
		"Häusern maisons niños città falavam mannen kvinder talossa házakban caselor evlerinde "
		"sof\u00adt hy\u2060phen relational conditional happiness flies dying generously skis communism it's cannot. "
		"Привет ёлка книги новый. Ελλάδα ΣΊΣΥΦΟΣ. المكتبة الكِتاب. हिन्दी भाषा. 東京都は日本の首都。カタカナ 한국어 ภาษาไทย";
	uint32_t h = ANALYSIS_VERSION;
	int rc = OK;
	for (int l = 0; !rc && l < WORDS_LANGUAGES; l++) {
		const struct chunk_words words = { "", "", probe, sizeof probe - 1, (enum words_language)l };
		rc = chunk_words_visit(&words, hash_term, &h, e);
	}
	*out = h ? h : 1;
	return rc;
}
