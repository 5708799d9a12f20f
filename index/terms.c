/* terms.c: owns what the words of a chunk and of a query are for the index (postings.h).
 *
 * Method: base/words.h folds and stems; a chunk has the words of its document's title, its heading and its text, so that
 * a passage is found by what stands above it. Characters that are words of their own (Chinese and kin) also make a term
 * with their right neighbour, since single ones tell too little. A heading that begins with the title is not counted
 * twice. Function words are indexed, for queries that consist of them. The fingerprint is the hash of the terms of a
 * fixed text in several scripts: when a library folds or stems otherwise, it changes, and the store builds its postings
 * anew instead of missing words.
 * Threads: no state. Failure: memory. */
#include <string.h>
#include "base/buf.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "base/words.h"
#include "index/postings.h"

enum { ANALYSIS_VERSION = 1, FOLD_MAX = 1 << 14 };

struct walk {
	const char *text;
	int (*on_term)(void *ctx, const char *term, size_t n, int counts);   /* of a chunk */
	int (*on_query)(void *ctx, const struct query_word *word);           /* of a query, else NULL */
	void *ctx;
	uint32_t before_off, before_end;     /* the word before, when it was one character; equal: it was not */
};

static int term_give(struct walk *w, const char *term, size_t n, uint32_t at, int stop, int counts)
{
	if (n > TERM_MAX) n = utf8_floor(term, n, TERM_MAX);
	if (n == 0 || memchr(term, 0, n)) return OK;
	return w->on_query ? w->on_query(w->ctx, &(struct query_word){ term, n, at, stop }) : w->on_term(w->ctx, term, n, counts);
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

static int walk_text(struct walk *w, const char *text, size_t len, struct err *e)
{
	w->text = text;
	w->before_off = w->before_end = 0;
	return words_visit(text, len, on_word, w, e);
}

int chunk_words_visit(const struct chunk_words *c, int (*on_term)(void *ctx, const char *term, size_t n, int counts),
	void *ctx, struct err *e)
{
	struct walk w = { .on_term = on_term, .ctx = ctx };
	size_t n = strlen(c->title);
	const char *heading = c->heading;
	if (n && strncmp(heading, c->title, n) == 0 && (heading[n] == 0 || strncmp(heading + n, " > ", 3) == 0)) heading += n;
	int rc = walk_text(&w, c->title, n, e);
	if (!rc) rc = walk_text(&w, heading, strlen(heading), e);
	return rc ? rc : walk_text(&w, c->text, c->len, e);
}

int query_words_visit(const char *query, size_t len, int (*on_term)(void *ctx, const struct query_word *word), void *ctx, struct err *e)
{
	struct walk w = { .on_query = on_term, .ctx = ctx };
	return walk_text(&w, query, len, e);
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
		"sof\u00adt hy\u2060phen relational conditional happiness flies dying generously skis communism it's cannot. "
		"Привет ёлка книги новый. Ελλάδα ΣΊΣΥΦΟΣ. المكتبة الكِتاب. हिन्दी भाषा. 東京都は日本の首都。カタカナ 한국어 ภาษาไทย";
	uint32_t h = ANALYSIS_VERSION;
	int rc = chunk_words_visit(&(struct chunk_words){ "", "", probe, sizeof probe - 1 }, hash_term, &h, e);
	*out = h ? h : 1;
	return rc;
}
