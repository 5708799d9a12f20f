/* spell.c: owns the reading of mistyped questions (spell.h).
 *
 * Method: a word that is one whole token of the embedder's vocabulary is a common word, and left alone, as is what some
 * passage holds. For the others the index has the words that may be meant (similar.c) as they are written in the passages
 * found for the whole question. Taken is the nearest; of several as near the one that a slip of fingers or ears makes it of
 * (neighbours changed over, a letter left out or doubled, the key beside, one that sounds alike), then the one that stands
 * where the question's other words do. A short word is changed for such a slip only. A form that no passage has ("wsahed",
 * where they say "washing") is made of the stem meant and the ending typed. Where nothing is near, for a slip at the end of
 * a word changes its stem, the common words that one slip makes it of are tried: those count that are function words or that
 * passages hold, and that is taken with which the whole question finds the best passage. Everything comes from passages that
 * the reader may see, so a reading tells nothing of others.
 * Common words and slips are those of English, so a question told to be in another language stays as it is: its right words
 * would be read as English ones; the search by words still finds what its mistyped ones resemble.
 * Every trial is a search, so only a few words of a question have one, and a text of pages stays as it is: it is no question.
 * Threads: no state. Failure: without an embedder the question stays as it was typed. */
#include "api/spell.h"
#include <string.h>
#include "base/buf.h"
#include "base/language.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "base/words.h"

enum { TEXT_MAX = 8 << 10, TRIALS_MAX = 8, TRIED_MAX = 6, COMMON_CHARS = 24, WORD_LEAST = 3, NEAR_LEAST = 4, SURE_FROM = 8, TWO_FROM = 9, CHARS_MAX = 40,
	FOLD_MAX = 1 << 12 };

/* A word as it is compared: folded, in characters. */
struct folded { const char *text; int32_t at[CHARS_MAX]; size_t n; };

struct typed { uint32_t off, len; struct folded form; const char *stem; };

/* n 0: too long to be compared. */
static int fold(const char *text, size_t len, struct arena *a, struct folded *out, struct err *e)
{
	struct buf b;
	buf_init(&b, FOLD_MAX);
	out->n = 0;
	out->text = uni_fold(text, len, &b, NULL) ? NULL : arena_strndup(a, buf_cstr(&b), b.len);
	buf_clear(&b);
	if (!out->text) return err_set(e, E_MEMORY, "question: out of memory");
	size_t n = strlen(out->text), at = 0;
	if (utf8_count(out->text, n) > CHARS_MAX) return OK;
	while (at < n) out->at[out->n++] = utf8_next(out->text, n, &at);
	return OK;
}

/* ---- what a slip is ---- */

/* Characters put in, left out, changed, or two neighbours changed over (optimal string alignment). */
static unsigned distance(const struct folded *x, const struct folded *y)
{
	unsigned char d[CHARS_MAX + 1][CHARS_MAX + 1];
	for (size_t i = 0; i <= x->n; i++)
		for (size_t j = 0; j <= y->n; j++) {
			unsigned best = (unsigned)(i + j);
			if (i && j) {
				best = d[i - 1][j - 1] + (x->at[i - 1] != y->at[j - 1]);
				if (d[i - 1][j] + 1u < best) best = d[i - 1][j] + 1u;
				if (d[i][j - 1] + 1u < best) best = d[i][j - 1] + 1u;
			}
			if (i > 1 && j > 1 && x->at[i - 1] == y->at[j - 2] && x->at[i - 2] == y->at[j - 1] && d[i - 2][j - 2] + 1u < best)
				best = d[i - 2][j - 2] + 1u;
			d[i][j] = (unsigned char)best;
		}
	return d[x->n][y->n];
}

/* Where a key lies, in quarters of its width. */
static int key_place(int32_t c, int *x, int *y)
{
	static const char *const rows[] = { "qwertyuiop", "asdfghjkl", "zxcvbnm" };
	static const int begins[] = { 0, 1, 3 };
	for (*y = 0; *y < 3; ++*y) {
		const char *at = c > 0 && c < 128 ? strchr(rows[*y], (int)c) : NULL;
		if (at) return *x = begins[*y] + 4 * (int)(at - rows[*y]), 1;
	}
	return 0;
}

static int keys_beside(int32_t a, int32_t b)
{
	int ax, ay, bx, by;
	if (!key_place(a, &ax, &ay) || !key_place(b, &bx, &by)) return 0;
	return ax - bx <= 4 && bx - ax <= 4 && ay - by <= 1 && by - ay <= 1;
}

static int sounds_alike(int32_t a, int32_t b)
{
	static const char *const alike[] = { "aeiouy", "cks", "sz", "fv", "dt", "bp", "gj", "mn", "iyj", "vw", "yz" };
	for (size_t i = 0; i < sizeof alike / sizeof *alike; i++)
		if (a > 0 && a < 128 && b > 0 && b < 128 && strchr(alike[i], (int)a) && strchr(alike[i], (int)b)) return 1;
	return 0;
}

/* Of words one edit apart: is it what fingers and ears do? */
static int plausible(const struct folded *typed, const struct folded *meant)
{
	size_t same = 0, end = 0, least = typed->n < meant->n ? typed->n : meant->n;
	while (same < least && typed->at[same] == meant->at[same]) same++;
	while (end < least - same && typed->at[typed->n - 1 - end] == meant->at[meant->n - 1 - end]) end++;
	const size_t less = typed->n - same - end, more = meant->n - same - end;
	const int32_t *t = typed->at + same;
	if (less == 0 || less == 2) return 1;                      /* left out; changed over */
	if (more) return keys_beside(*t, meant->at[same]) || sounds_alike(*t, meant->at[same]);
	return (same && (t[-1] == *t || keys_beside(t[-1], *t))) || (end && (t[1] == *t || keys_beside(t[1], *t)));
}

/* ---- which words ---- */

/* Is the byte before `at` or at it one that words of addresses and names of things are joined by? */
static int joined(const char *text, size_t len, size_t off, size_t end)
{
	static const char marks[] = "_@/\\#$%&+=~";
	if (off && strchr(marks, text[off - 1])) return 1;
	if (end < len && strchr(marks, text[end])) return 1;
	if (off > 1 && strchr(".:'-", text[off - 1]) && !strchr(" \t\n", text[off - 2])) return 1;
	return end + 1 < len && strchr(".:-", text[end]) && !strchr(" \t\n\"')", text[end + 1]);
}

/* A capital behind the first letter: a code, a short form, a name of its own making. */
static int capitals_inside(const char *text, size_t len)
{
	size_t at = 0;
	utf8_next(text, len, &at);
	while (at < len) {
		int32_t c = utf8_next(text, len, &at);
		if (uni_tolower((uint32_t)c) != (uint32_t)c) return 1;
	}
	return 0;
}

static int apostrophe(const char *text, size_t len)
{
	return memchr(text, '\'', len) || memmem(text, len, "’", strlen("’"));
}

/* Is the place inside quotation marks? */
static int quoted(const char *text, size_t off)
{
	int straight = 0, open = 0;
	for (size_t at = 0; at < off;) {
		int32_t c = utf8_next(text, off, &at);
		if (c == '"') straight = !straight;
		else if (c == 0x201c || c == 0x201e || c == 0xab) open = !(c == 0x201c && open);  /* a high one closes a low one */
		else if (c == 0x201d || c == 0xbb) open = 0;
	}
	return straight || open;
}

/* One whole token, as it stands or without its capital. */
static int common(const struct embedder *m, const char *text, size_t len, const struct folded *f)
{
	return embedder_count_tokens(m, text, len) == 1 || embedder_count_tokens(m, f->text, strlen(f->text)) == 1;
}

static int on_stem(void *ctx, const struct word *w, const char *term, size_t n)
{
	struct buf *b = ctx;
	(void)w;
	return b->len || buf_put(b, term, n) ? E_CANCELLED : OK;  /* of the first word */
}

/* The stem of a folded word; "" for none. In the arena. */
static const char *stem_of(const char *text, struct arena *a)
{
	struct buf b;
	const char *out;
	buf_init(&b, FOLD_MAX);
	(void)words_visit(text, strlen(text), on_stem, &b, &(struct err){ 0 });
	out = arena_strdup(a, buf_cstr(&b));
	buf_clear(&b);
	return out;
}

/* The words that may be slips. */
static int typed_take(const struct embedder *m, const char *text, struct arena *a, struct typed **out, size_t *n, struct err *e)
{
	struct word *w;
	size_t word_n, len = strlen(text);
	int rc = words_of(text, len, a, &w, &word_n, e);
	*n = 0;
	if (rc) return rc;
	*out = arena_alloc(a, (word_n + 1) * sizeof **out);
	if (!*out) return err_set(e, E_MEMORY, "question: out of memory");
	for (size_t i = 0; !rc && i < word_n; i++) {
		struct typed *t = &(*out)[*n];
		const char *at = text + w[i].off;
		if (w[i].stop || w[i].number || w[i].alone || apostrophe(at, w[i].len) || capitals_inside(at, w[i].len)) continue;
		if (joined(text, len, w[i].off, w[i].off + w[i].len) || quoted(text, w[i].off)) continue;
		rc = fold(at, w[i].len, a, &t->form, e);
		if (rc || t->form.n < WORD_LEAST || common(m, at, w[i].len, &t->form)) continue;
		t->off = w[i].off, t->len = w[i].len;
		t->stem = stem_of(t->form.text, a);
		if (!t->stem) return err_set(e, E_MEMORY, "question: out of memory");
		++*n;
	}
	return rc;
}

/* ---- what is meant ---- */

struct choice { const char *text; struct folded form; unsigned apart; int likely; double worth; };

static int better(const struct choice *x, const struct choice *y)
{
	if (x->apart != y->apart) return x->apart < y->apart;
	if (x->likely != y->likely) return x->likely > y->likely;
	return x->worth > y->worth;
}

/* A form that no passage has: the stem meant with the ending that was typed; NULL: it does not fit. */
static const char *form_make(const struct typed *t, const char *term, struct arena *a)
{
	size_t same = 0, tail, term_n = strlen(term);
	while (t->stem[same] && t->stem[same] == t->form.text[same]) same++;
	tail = strlen(t->stem + same);
	if (tail > term_n || strcmp(term + term_n - tail, t->stem + same) != 0) return NULL;
	const char *form = arena_printf(a, "%.*s%s", (int)(term_n - tail), term, t->form.text + same);
	const char *stem = form ? stem_of(form, a) : NULL;
	return stem && strcmp(stem, term) == 0 ? form : NULL;
}

static int consider(const struct typed *t, const char *text, double worth, struct arena *a, struct choice *best, struct err *e)
{
	struct choice c = { .text = text, .worth = worth };
	int rc = fold(text, strlen(text), a, &c.form, e);
	if (rc || !c.form.n) return rc;
	c.apart = distance(&t->form, &c.form);
	if (c.apart == 0) {                                         /* it is there, as another language has it */
		*best = (struct choice){ .apart = 0 };
		return OK;
	}
	if (c.apart > (t->form.n >= TWO_FROM ? 2 : 1)) return OK;
	c.likely = c.apart > 1 || plausible(&t->form, &c.form);
	if (!c.likely && t->form.n < SURE_FROM) return OK;
	if (best->text && strcmp(best->form.text, c.form.text) == 0) {  /* the same word: without the capital of a heading */
		if (worth > 0 && strcmp(text, c.form.text) == 0) best->text = text;
		if (worth > best->worth) best->worth = worth;
		return OK;
	}
	if (!best->form.n || better(&c, best)) *best = c;
	return OK;
}

/* *best: text NULL: nothing is near. */
static int choose(const struct typed *t, const struct word_reading *read, size_t n, struct arena *a, struct choice *best, struct err *e)
{
	int rc = OK;
	*best = (struct choice){ .apart = UINT8_MAX };
	for (size_t i = 0; !rc && best->apart && i < n; i++) {
		if (read[i].at != t->off) continue;
		if (read[i].worth > 0) rc = consider(t, read[i].text, read[i].worth, a, best, e);
		const char *made = form_make(t, read[i].term, a);
		if (!rc && made && best->apart) rc = consider(t, made, 0, a, best, e);
	}
	return rc;
}

/* ---- common words ---- */

/* What the common words are looked for with. */
struct trial {
	struct snapshot *snapshot; const struct reader *r; const struct embedder *m;
	const char *text; const struct typed *t;
	const char *tried[TRIED_MAX]; size_t n;
	int trials;                          /* words that common ones were tried for */
	struct arena *a;
};

/* Takes a word in, when a slip may have made the typed one of it and it is common. */
static int trial_add(struct trial *o, const char *word, size_t n)
{
	struct folded f = { .text = word, .n = n };
	for (size_t i = 0; i < n; i++) f.at[i] = word[i];
	if (o->n == TRIED_MAX || !plausible(&o->t->form, &f) || embedder_count_tokens(o->m, word, n) != 1) return OK;
	for (size_t i = 0; i < o->n; i++)
		if (strncmp(o->tried[i], word, n) == 0 && !o->tried[i][n]) return OK;
	o->tried[o->n] = arena_strndup(o->a, word, n);
	return o->tried[o->n++] ? OK : E_MEMORY;
}

/* All that are one edit behind the first letter away from the typed word, which is of the letters a to z. */
static int trial_fill(struct trial *o)
{
	const char *w = o->t->form.text;
	const size_t n = strlen(w);
	char v[COMMON_CHARS + 2];
	int rc = OK;
	for (size_t i = 1; !rc && i <= n; i++) {
		memcpy(v, w, n + 1);
		if (i + 1 < n) {
			v[i] = w[i + 1], v[i + 1] = w[i];
			rc = trial_add(o, v, n);
		}
		if (!rc && i < n) {
			memcpy(v + i, w + i + 1, n - i);
			rc = trial_add(o, v, n - 1);
		}
		for (char c = 'a'; !rc && c <= 'z'; c++) {
			memcpy(v, w, i);
			v[i] = c;
			memcpy(v + i + 1, w + i, n - i);
			rc = trial_add(o, v, n + 1);
			if (rc || i == n) continue;
			memcpy(v + i + 1, w + i + 1, n - i - 1);
			rc = trial_add(o, v, n);
		}
	}
	return rc;
}

/* Does a passage hold this word itself? Searched alone: beside other words a search tells only what stands for one that none holds. */
static int is_held(const struct trial *o, const char *word, int *out, struct err *e)
{
	const struct word_meant *meant;
	struct word_hit hit;
	size_t n, got;
	const char *alone = arena_printf(o->a, "%s ", word);
	int rc = alone ? snapshot_search_words(o->snapshot, o->r, alone, strlen(alone), 1, &hit, &got, e) : err_set(e, E_MEMORY, "question: out of memory");
	*out = 0;
	if (rc || !got) return rc;
	snapshot_words_meant(o->snapshot, &meant, &n);
	*out = n == 0;
	return OK;
}

/* *score: of the best passage for the question with this word in it; < 0: no passage holds the word. */
static int trial_score(const struct trial *o, const char *word, double *score, struct err *e)
{
	const struct typed *t = o->t;
	struct word *w;
	struct word_hit hit;
	size_t n, got;
	int held;
	const char *whole = arena_printf(o->a, "%.*s%s%s ", (int)t->off, o->text, word, o->text + t->off + t->len);
	int rc = whole ? words_of(word, strlen(word), o->a, &w, &n, e) : err_set(e, E_MEMORY, "question: out of memory");
	*score = -1;
	if (!rc && n == 1 && w->stop) *score = 0;
	if (rc || *score == 0 || t->form.n < NEAR_LEAST) return rc;  /* of three letters only a function word is made */
	rc = is_held(o, word, &held, e);
	if (rc || !held) return rc;
	rc = snapshot_search_words(o->snapshot, o->r, whole, strlen(whole), 1, &hit, &got, e);
	if (!rc && got) *score = (double)hit.score;
	return rc;
}

static int common_meant(struct trial *o, const char **out, struct err *e)
{
	const struct folded *f = &o->t->form;
	double best = -1, score;
	int held;
	*out = NULL;
	if (o->trials == TRIALS_MAX || f->n > COMMON_CHARS || strspn(f->text, "abcdefghijklmnopqrstuvwxyz") != f->n) return OK;
	o->trials++;
	int rc = is_held(o, f->text, &held, e);
	if (rc || held) return rc;
	rc = trial_fill(o) ? err_set(e, E_MEMORY, "question: out of memory") : OK;
	for (size_t i = 0; !rc && i < o->n; i++) {
		rc = trial_score(o, o->tried[i], &score, e);
		if (!rc && score > best) *out = o->tried[i], best = score;
	}
	return rc;
}

/* With a capital where one was typed; a form all in capitals, of a heading, without them. */
static const char *cased(const char *form, const char *typed, size_t typed_n, struct arena *a)
{
	size_t len = strlen(form), at = 0, first = 0;
	int32_t t = utf8_next(typed, typed_n, &first), f;
	const char *rest = form;
	char c[4];
	if (capitals_inside(form, len)) {
		struct buf b;
		buf_init(&b, FOLD_MAX);
		rest = uni_lower(form, len, &b, NULL) ? form : arena_strndup(a, buf_cstr(&b), b.len);
		buf_clear(&b);
		if (!rest) return NULL;
		len = strlen(rest);
	}
	f = utf8_next(rest, len, &at);
	if (uni_tolower((uint32_t)t) == (uint32_t)t) return rest;
	return arena_printf(a, "%.*s%s", (int)utf8_put(c, uni_toupper((uint32_t)f)), c, rest + at);
}

/* *out: the text with every slip that something was found for in its spelling. */
static int slips_mend(struct trial *o, const struct typed *t, size_t n, const char **out, struct err *e)
{
	struct word_reading *read;
	const char *made = "", *whole = arena_printf(o->a, "%s ", o->text);   /* a blank: its last word is whole */
	size_t read_n, from = 0;
	int rc = whole ? snapshot_words_read(o->snapshot, o->r, whole, strlen(whole), o->a, &read, &read_n, e) : err_set(e, E_MEMORY, "question: out of memory");
	for (size_t i = 0; !rc && i < n; i++) {
		struct choice best;
		o->t = &t[i];
		o->n = 0;
		rc = choose(&t[i], read, read_n, o->a, &best, e);
		if (!rc && best.apart > 1) rc = common_meant(o, &whole, e);
		if (!rc && best.apart > 1 && whole) best.text = whole;
		if (rc || !best.text) continue;
		const char *form = cased(best.text, o->text + t[i].off, t[i].len, o->a);
		made = form ? arena_printf(o->a, "%s%.*s%s", made, (int)(t[i].off - from), o->text + from, form) : NULL;
		if (!made) return err_set(e, E_MEMORY, "question: out of memory");
		from = t[i].off + t[i].len;
	}
	if (!rc && from) *out = arena_printf(o->a, "%s%s", made, o->text + from);
	return rc || *out ? rc : err_set(e, E_MEMORY, "question: out of memory");
}

int spell_read(struct service *s, const struct reader *r, const char *text, struct arena *a, const char **out, struct err *e)
{
	struct trial o = { .r = r, .text = text, .a = a };
	struct embedder *m;
	struct typed *t;
	size_t n;
	*out = text;
	if (strlen(text) > TEXT_MAX || !language_is_english(text, strlen(text))) return OK;
	if (service_embedder(s, &m, &(struct err){ 0 })) return OK;
	o.m = m;
	int rc = typed_take(m, text, a, &t, &n, e);
	if (rc || !n) return rc;
	rc = snapshot_open(&o.snapshot, s->index, e);
	if (rc) return rc;
	rc = slips_mend(&o, t, n, out, e);
	snapshot_close(o.snapshot);
	return rc;
}
