/* similar.c: owns the look for similar words in the dictionary: the keys of the table of postings, or where a collection's postings are
 * in memory and whole, those of the segment (wordseg.h).
 *
 * Method: the words are walked in order with a table of edit distances, a row a character. Words that begin alike share
 * their rows, and where a row tells that no word with this beginning can be near enough, all of them are passed over
 * with one seek: what a Levenshtein automaton over a trie would do, without building either. Words of another first
 * character are not looked at, for the first is seldom mistyped and its neighbourhood is the whole dictionary.
 * In memory, where stepping costs nothing, all words of that first character are looked over instead: by which letters they have, eight
 * words at a time, and of those that pass the distance is made bit by bit, all places of the word at once.
 * Failure: memory and the store. */
#include "index/similar.h"
#include <stdlib.h>
#include <string.h>
#include "base/utf8.h"
#include "index/record.h"

enum { WIDTH = 40, EDITS_MAX = 2, DEPTH = WIDTH + EDITS_MAX + 2, STEPS_MAX = 8192, LONGER_STEPS = 32768, LONGER_BLOCKS = 64, ONE_FROM = 4, TWO_FROM = 8 };

/* Characters of s, at most max + 1 of them, with the byte at which each ends. */
static size_t chars_of(const char *s, size_t len, size_t max, int32_t *out, size_t *ends)
{
	size_t i = 0, n = 0;
	while (i < len && n <= max) {
		out[n] = utf8_next(s, len, &i);
		ends[n++] = i;
	}
	return n;
}

unsigned similar_edits(const char *term, size_t len)
{
	int32_t chars[WIDTH + 1];
	size_t ends[WIDTH + 1], n = chars_of(term, len, WIDTH, chars, ends);
	for (size_t i = 0; i < n; i++)
		if (chars[i] >= '0' && chars[i] <= '9') return 0; /* another number is another thing */
	return n > WIDTH || n < ONE_FROM ? 0 : n < TWO_FROM ? 1 : EDITS_MAX;
}

/* The first key of the collection that begins with these bytes; `behind`: the first behind all that do. */
static void key_prefix(struct key *k, uint32_t coll, const char *s, size_t n, int behind)
{
	key_graph(k, coll);
	memcpy(k->b + k->n, s, n);
	k->n += n;
	if (behind) k->b[k->n++] = 0xff; /* no UTF-8 has this byte */
}

/* The first key behind all blocks of a term. */
static void key_behind(struct key *k, uint32_t coll, struct slice term)
{
	key_prefix(k, coll, (const char *)term.p, term.n, 0);
	k->b[k->n++] = 1;
}

/* The term at hand when it begins with `start`. */
static int term_at(struct slice key, uint32_t coll, const char *start, size_t n, struct slice *term)
{
	uint64_t last;
	uint32_t number;
	return key_block_parse(key, &number, term, &last) && number == coll && term->n >= n && memcmp(term->p, start, n) == 0;
}

static int keep(struct similar *out, struct slice term, unsigned edits, struct arena *a)
{
	const char *copy = arena_strndup(a, (const char *)term.p, term.n);
	*out = (struct similar){ copy, term.n, edits };
	return copy ? OK : E_MEMORY;
}

/* How many chunks hold the term at hand, up to what LONGER_BLOCKS blocks say; the cursor is left on a later key. */
static uint64_t postings_of(struct cursor *c, uint32_t coll, struct slice *key, struct slice *value, int *rc, struct err *e)
{
	const size_t same = key->n - sizeof(uint64_t);
	uint8_t start[sizeof ((struct key *)0)->b];
	struct slice term;
	struct key k;
	uint64_t n = 0;
	memcpy(start, key->p, same);
	for (int blocks = 0; !*rc && blocks < LONGER_BLOCKS; blocks++) {
		n += rec_block_n(*value);
		*rc = cursor_next(c, key, value, e);
		if (*rc || key->n != same + sizeof(uint64_t) || memcmp(key->p, start, same) != 0) return n;
	}
	if (*rc || !term_at(*key, coll, "", 0, &term)) return n;
	key_behind(&k, coll, term);
	*rc = cursor_seek(c, &k, key, value, e);
	return n;
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(((const struct similar *)a)->text, ((const struct similar *)b)->text);
}

/* The most frequent so far, with their counts. */
struct longer { struct similar *out; size_t *n; uint64_t counts[SIMILAR_MAX]; };

static void longer_keep(struct longer *l, struct similar one, uint64_t count)
{
	size_t to = *l->n;
	if (*l->n < SIMILAR_MAX) ++*l->n;
	else for (size_t i = to = 0; i < SIMILAR_MAX; i++) to = l->counts[i] < l->counts[to] ? i : to;
	if (to + 1 < *l->n && l->counts[to] >= count) return;
	l->out[to] = one;
	l->counts[to] = count;
}

/* Chunks with a term of the view that the reader sees. */
static int view_df(const struct dictionary *d, uint32_t term, uint64_t *df, struct err *e)
{
	size_t n;
	const char *text = seg_text(d->view->seg, term, &n);
	*df = word_view_df(d->view, term);
	return d->seen && *df ? d->seen(d->ctx, text, n, df, e) : OK;
}

static int longer_in_memory(const struct dictionary *d, const char *term, size_t len, struct longer *l, struct err *e)
{
	const struct wordseg *g = d->view->seg;
	uint32_t i = seg_from(g, term, len);
	int rc = OK;
	for (size_t steps = 0; !rc && i < g->term_n && steps < LONGER_STEPS; i++, steps++) {
		size_t n;
		const char *text = seg_text(g, i, &n);
		uint64_t df = 0;
		if (n < len || memcmp(text, term, len) != 0) break;
		if (n > len) rc = view_df(d, i, &df, e);
		if (df) longer_keep(l, (struct similar){ text, n, 0 }, df);
	}
	return rc;
}

static int longer_in_store(const struct dictionary *d, const char *term, size_t len, struct arena *a, struct longer *l, struct err *e)
{
	struct slice key, value, at;
	struct key k;
	int rc;
	key_prefix(&k, d->coll, term, len, 0);
	rc = cursor_seek(d->c, &k, &key, &value, e);
	for (size_t steps = 0; !rc && steps < LONGER_STEPS && term_at(key, d->coll, term, len, &at); steps++) {
		size_t longer = at.n > len;
		struct similar one = { NULL, 0, 0 };
		if (longer && keep(&one, at, 0, a)) return err_set(e, E_MEMORY, "search: out of memory");
		uint64_t count = 0;
		if (longer && d->seen) {
			key_behind(&k, d->coll, at);
			rc = d->seen(d->ctx, one.text, one.len, &count, e);
			if (!rc) rc = cursor_seek(d->c, &k, &key, &value, e);
		} else count = postings_of(d->c, d->coll, &key, &value, &rc, e);
		if (longer && count) longer_keep(l, one, count);
	}
	return rc == E_NOT_FOUND ? OK : rc;
}

int similar_longer(const struct dictionary *d, const char *term, size_t len, size_t least, struct arena *a, struct similar *out, size_t *n, struct err *e)
{
	struct longer l = { .out = out, .n = n };
	int32_t chars[WIDTH + 1];
	size_t ends[WIDTH + 1];
	int rc = OK;
	*n = 0;
	if (len == 0 || len > TERM_MAX || chars_of(term, len, WIDTH, chars, ends) < least) return OK;
	if (d->view) rc = longer_in_memory(d, term, len, &l, e);
	else rc = longer_in_store(d, term, len, a, &l, e);
	if (*n > 1) qsort(out, *n, sizeof *out, by_bytes);
	return rc;
}

/* ---- near ---- */

struct near {
	int32_t want[WIDTH + 1]; size_t want_n;
	int32_t have[DEPTH + 1]; size_t ends[DEPTH + 1], rows_n;  /* the word at hand, and of how many characters rows stand */
	uint8_t row[DEPTH + 2][WIDTH + 2], least[DEPTH + 2];      /* row 0: of nothing */
	unsigned edits;
};

static void row_make(struct near *t, size_t i)
{
	uint8_t *row = t->row[i], *above = t->row[i - 1];
	int32_t c = t->have[i - 1];
	row[0] = t->least[i] = (uint8_t)i;
	for (size_t j = 1; j <= t->want_n; j++) {
		unsigned best = above[j - 1] + (c != t->want[j - 1]);
		if (above[j] + 1u < best) best = above[j] + 1u;
		if (row[j - 1] + 1u < best) best = row[j - 1] + 1u;
		if (i > 1 && j > 1 && c == t->want[j - 2] && t->have[i - 2] == t->want[j - 1] && t->row[i - 2][j - 2] + 1u < best)
			best = t->row[i - 2][j - 2] + 1u;
		row[j] = (uint8_t)best;
		if (best < t->least[i]) t->least[i] = (uint8_t)best;
	}
}

/* Goes through the word's characters. *dead: bytes of the beginning with which no word is near; 0: this word is whole. */
static unsigned distance(struct near *t, struct slice term, size_t *dead)
{
	int32_t chars[DEPTH + 1];
	size_t n = chars_of((const char *)term.p, term.n, DEPTH - 1, chars, t->ends), same = 0;
	while (same < n && same < t->rows_n && chars[same] == t->have[same]) same++;
	memcpy(t->have, chars, n * sizeof *chars);
	t->rows_n = same;
	*dead = 0;
	for (size_t i = same + 1; i <= n && i <= DEPTH; i++) {
		row_make(t, i);
		t->rows_n = i;
		if (t->least[i] > t->edits && t->least[i - 1] + 1u > t->edits) {
			*dead = t->ends[i - 1];
			return t->edits + 1;
		}
	}
	return t->row[t->rows_n][t->want_n];
}

static int by_edits(const void *a, const void *b)
{
	const struct similar *x = a, *y = b;
	if (x->edits != y->edits) return x->edits < y->edits ? -1 : 1;
	return strcmp(x->text, y->text);
}

/* Puts a word in, in the place of the farthest when there is no room. */
static int near_keep(struct similar *out, size_t *n, struct slice term, unsigned edits, struct arena *a)
{
	size_t worst = 0;
	if (*n < SIMILAR_MAX) return keep(&out[(*n)++], term, edits, a);
	for (size_t i = 1; i < *n; i++)
		if (out[i].edits >= out[worst].edits) worst = i;
	return edits < out[worst].edits ? keep(&out[worst], term, edits, a) : OK;
}

static int near_in_store(const struct dictionary *d, struct near *t, const char *term, size_t first, struct arena *a, struct similar *out,
	size_t *n, struct err *e)
{
	struct slice key, value, at;
	size_t dead;
	struct key k;
	int rc;
	for (size_t j = 0; j <= t->want_n; j++) t->row[0][j] = (uint8_t)j;
	key_prefix(&k, d->coll, term, first, 0);
	rc = cursor_seek(d->c, &k, &key, &value, e);
	for (size_t steps = 0; !rc && steps < STEPS_MAX; steps++) {
		if (!term_at(key, d->coll, term, first, &at)) break;
		unsigned apart = distance(t, at, &dead);
		uint64_t count = !dead && apart && apart <= t->edits;
		if (dead) key_prefix(&k, d->coll, (const char *)at.p, dead, 1);
		else key_behind(&k, d->coll, at);
		if (count && d->seen) rc = d->seen(d->ctx, (const char *)at.p, at.n, &count, e);
		if (!rc && count && near_keep(out, n, at, apart, a)) return err_set(e, E_MEMORY, "search: out of memory");
		if (!rc) rc = cursor_seek(d->c, &k, &key, &value, e);
	}
	if (*n > 1) qsort(out, *n, sizeof *out, by_edits);
	return rc == E_NOT_FOUND ? OK : rc;
}

/* ---- near, in memory ---- */

/* Of a word of at most 64 characters: where each stands, a bit a place. */
struct places { uint64_t ascii[128], last; const int32_t *chars; size_t n; };

static void places_fill(struct places *p, const int32_t *chars, size_t n)
{
	memset(p->ascii, 0, sizeof p->ascii);
	p->chars = chars;
	p->n = n;
	p->last = 1ull << (n - 1);
	for (size_t i = 0; i < n; i++)
		if (chars[i] >= 0 && chars[i] < 128) p->ascii[chars[i]] |= 1ull << i;
}

static uint64_t places_of(const struct places *p, int32_t c)
{
	uint64_t bits = 0;
	if (c >= 0 && c < 128) return p->ascii[c];
	for (size_t i = 0; i < p->n; i++) bits |= (uint64_t)(p->chars[i] == c) << i;
	return bits;
}

/* How many edits apart: a column of the table of distances a step, as the bits in which neighbouring rows differ (Hyyrö, A Bit-Vector
 * Algorithm for Computing Levenshtein and Damerau Edit Distances, 2003). */
static unsigned places_apart(const struct places *p, const char *text, size_t len)
{
	uint64_t more = UINT64_MAX, less = 0, same = 0, before = 0;
	size_t apart = p->n;
	for (size_t i = 0; i < len;) {
		uint64_t here = places_of(p, (unsigned char)text[i] < 0x80 ? text[i++] : utf8_next(text, len, &i));
		uint64_t over = ((~same & here) << 1) & before, right, left;
		same = (((here & more) + more) ^ more) | here | less | over;
		right = less | ~(same | more);
		left = same & more;
		apart += (right & p->last) != 0;
		apart -= (left & p->last) != 0;
		right = right << 1 | 1;
		left <<= 1;
		more = left | ~(same | right);
		less = right & same;
		before = here;
	}
	return (unsigned)apart;
}

/* The words are looked over by their shapes, few of which pass. */
static int near_in_memory(const struct dictionary *d, const struct near *t, const char *term, size_t len, size_t first, struct similar *out,
	size_t *n, struct err *e)
{
	enum { PASSED = 256 };
	const struct wordseg *g = d->view->seg;
	const uint32_t shape = seg_shape(term, len);
	uint32_t passed[PASSED], from = seg_from(g, term, first), to;
	struct similar far[SIMILAR_MAX];
	size_t far_n = 0, got = PASSED;
	struct places p;
	char behind[8];
	memcpy(behind, term, first);
	behind[first] = (char)0xff; /* no UTF-8 has this byte */
	to = seg_from(g, behind, first + 1);
	places_fill(&p, t->want, t->want_n);
	for (; got == PASSED; from = passed[got - 1] + 1) {
		got = seg_near(g, from, to, shape, t->edits, passed, PASSED);
		for (size_t i = 0; i < got; i++) {
			size_t text_n;
			const char *text = seg_text(g, passed[i], &text_n);
			unsigned apart = places_apart(&p, text, text_n);
			uint64_t df;
			if (apart == 0 || apart > t->edits) continue;
			int rc = view_df(d, passed[i], &df, e);
			if (rc) return rc;
			if (!df) continue;
			if (apart == 1 && *n < SIMILAR_MAX) out[(*n)++] = (struct similar){ text, text_n, 1 };
			if (apart > 1 && far_n < SIMILAR_MAX) far[far_n++] = (struct similar){ text, text_n, apart };
		}
		if (!got) break;
	}
	for (size_t i = 0; i < far_n && *n < SIMILAR_MAX; i++) out[(*n)++] = far[i];
	return OK;
}

int similar_near(const struct dictionary *d, const char *term, size_t len, unsigned edits, struct arena *a, struct similar *out, size_t *n,
	struct err *e)
{
	struct near t;
	size_t ends[WIDTH + 1];
	*n = 0;
	if (edits == 0 || edits > EDITS_MAX) return OK;
	t.edits = edits;
	t.rows_n = 0;
	t.want_n = chars_of(term, len, WIDTH, t.want, ends);
	if (t.want_n == 0 || t.want_n > WIDTH) return OK;
	return d->view ? near_in_memory(d, &t, term, len, ends[0], out, n, e) : near_in_store(d, &t, term, ends[0], a, out, n, e);
}

int similar_meant(const struct dictionary *d, const char *stem, size_t stem_n, const char *folded, size_t folded_n, struct arena *a,
	struct similar *out, size_t *n, struct err *e)
{
	struct similar all[3 * SIMILAR_MAX];
	char cut[TERM_MAX + 1];
	size_t had, more = 0, last = 0, kept = 0;
	int rc = similar_near(d, stem, stem_n, similar_edits(stem, stem_n), a, all, &had, e);
	*n = 0;
	if (!rc && (folded_n != stem_n || memcmp(folded, stem, stem_n) != 0))
		rc = similar_near(d, folded, folded_n, similar_edits(folded, folded_n), a, all + had, &more, e);
	if (!rc && folded_n && folded_n <= TERM_MAX && folded[folded_n - 1] == 'y') {
		memcpy(cut, folded, folded_n);
		cut[folded_n - 1] = 'i';
		rc = similar_near(d, cut, folded_n, similar_edits(cut, folded_n), a, all + had + more, &last, e);
	}
	if (rc) return rc;
	more += last;
	had += more;
	if (more) qsort(all, had, sizeof *all, by_edits);
	for (size_t i = 0; i < had && kept < SIMILAR_MAX; i++) {
		size_t same = 0;
		while (same < kept && strcmp(out[same].text, all[i].text) != 0) same++;
		if (same == kept) out[kept++] = all[i];
	}
	*n = kept;
	return OK;
}
