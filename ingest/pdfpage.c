/* pdfpage.c: owns the reading of pdftotext's boxes, and what repeats from page to page.
 *
 * The XHTML is a stream of page, block, line and word elements with boxes; it is kept as flat arrays.
 * A line is upright when its words lie beside each other; its size is the height of its longest word, which super-
 * scripts and single signs of another font do not change. Poppler writes the words of Arabic and Hebrew lines, and the
 * letters in them, in the order they are seen: pdf_words_put turns both around and leaves Latin words and numbers.
 *
 * Running lines: a line near the upper or lower edge is compared with those of other pages in the same place. Two are
 * the same when their words are, and their numbers are or differ as the pages do. What most pages have is dropped, but
 * for the first time that words (not page numbers) are seen. Threads: one document, one thread. Failure: memory. */
#include "ingest/pdfpage.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "ingest/xml.h"

enum { RUNNING_PAGES_MIN = 2, EDGE_PERCENT = 10, MOST_PERCENT = 40, NEAR_PERMILLE = 12, KEY_MAX = 160, BULLET_GAP = 6 };

static const struct xml_ns namespaces[] = { { "http://www.w3.org/1999/xhtml", "h" }, { NULL, NULL } };

struct reader {
	struct pdf *p;
	struct err *e;
	int rc, in_word, in_title;
};

/* Room for one more in an array of n elements. */
static int grow(struct reader *r, void *array, size_t n, size_t *cap, size_t bytes)
{
	void *old, *more;
	size_t want = *cap ? *cap * 2 : 256;

	if (n < *cap)
		return 1;
	memcpy(&old, array, sizeof old);
	more = want < UINT32_MAX && want < SIZE_MAX / bytes ? mem_realloc(old, want * bytes) : NULL;
	if (!more) {
		r->rc = err_set(r->e, E_MEMORY, "PDF of %zu parts: out of memory", want);
		return 0;
	}
	memcpy(array, &more, sizeof more);
	*cap = want;
	return 1;
}

static float attr_float(const struct xml_attrs *a, const char *name)
{
	char text[32];
	float v;

	if (!xml_attr(a, name, text, sizeof text))
		return 0;
	v = strtof(text, NULL);
	return isfinite(v) && v > -1e6f && v < 1e6f ? v : 0;
}

static void on_start(void *ctx, const char *name, const struct xml_attrs *a)
{
	struct reader *r = ctx;
	struct pdf *p = r->p;

	if (strcmp(name, "h:title") == 0) {
		r->in_title = 1;
	} else if (strcmp(name, "h:page") == 0 && grow(r, &p->pages, p->page_n, &p->page_cap, sizeof *p->pages)) {
		p->pages[p->page_n++] = (struct pdf_page){ .block = (uint32_t)p->block_n, .line = (uint32_t)p->line_n,
			.width = attr_float(a, "width"), .height = attr_float(a, "height") };
	} else if (p->page_n == 0 || r->rc != OK) {
		return;
	} else if (strcmp(name, "h:block") == 0 && grow(r, &p->blocks, p->block_n, &p->block_cap, sizeof *p->blocks)) {
		p->blocks[p->block_n++] = (struct pdf_block){ .line = (uint32_t)p->line_n };
		p->pages[p->page_n - 1].block_n++;
	} else if (p->block_n <= p->pages[p->page_n - 1].block) {
		return;
	} else if (strcmp(name, "h:line") == 0 && grow(r, &p->lines, p->line_n, &p->line_cap, sizeof *p->lines)) {
		p->lines[p->line_n++] = (struct pdf_line){ .word = (uint32_t)p->word_n, .block = (uint32_t)p->block_n - 1,
			.page = (uint32_t)p->page_n - 1, .x0 = attr_float(a, "xMin"), .y0 = attr_float(a, "yMin"),
			.x1 = attr_float(a, "xMax"), .y1 = attr_float(a, "yMax") };
		p->blocks[p->block_n - 1].line_n++;
		p->pages[p->page_n - 1].line_n++;
	} else if (strcmp(name, "h:word") == 0 && p->blocks[p->block_n - 1].line_n > 0
		&& grow(r, &p->words, p->word_n, &p->word_cap, sizeof *p->words)) {
		p->words[p->word_n++] = (struct pdf_word){ .off = (uint32_t)p->text.len, .x0 = attr_float(a, "xMin"),
			.y0 = attr_float(a, "yMin"), .x1 = attr_float(a, "xMax"), .y1 = attr_float(a, "yMax") };
		p->lines[p->line_n - 1].word_n++;
		r->in_word = 1;
	}
}

static void on_end(void *ctx, const char *name)
{
	struct reader *r = ctx;

	(void)name;
	if (r->in_word)
		buf_putc(&r->p->text, ' ');                         /* so that numbers side by side stay two */
	r->in_word = r->in_title = 0;
}

static void on_text(void *ctx, const char *s, size_t len)
{
	struct reader *r = ctx;

	if (r->in_title)
		buf_put(&r->p->title, s, len);
	if (!r->in_word || r->rc != OK)
		return;
	if (buf_put(&r->p->text, s, len) != OK)
		r->rc = err_set(r->e, E_MEMORY, "PDF's text of %zu bytes: out of memory", r->p->text.len);
	else
		r->p->words[r->p->word_n - 1].len += (uint32_t)len;
}

static int on_stop(void *ctx)
{
	struct reader *r = ctx;

	return r->rc != OK;
}

static int is_rtl_char(int32_t c)
{
	return (c >= 0x590 && c < 0x900) || (c >= 0xFB1D && c < 0xFE00) || (c >= 0xFE70 && c < 0xFEFF);
}

static int word_is_rtl(const struct pdf *p, const struct pdf_word *w)
{
	size_t i = w->off, end = i + w->len;
	int rtl = 0, ltr = 0;

	while (i < end) {
		int32_t c = utf8_next(p->text.data, end, &i);

		rtl += is_rtl_char(c);
		ltr += c > 0 && !is_rtl_char(c) && (uni_class((uint32_t)c) == UNI_LETTER || uni_class((uint32_t)c) == UNI_NUMBER);
	}
	return rtl > ltr ? 1 : ltr > 0 ? -1 : 0;
}

/* How a line runs, how large it is. */
static void measure(const struct pdf *p, struct pdf_line *l)
{
	const struct pdf_word *w = p->words + l->word, *longest = w;
	int rtl = 0, ltr = 0;

	for (uint32_t i = 0; i < l->word_n; i++) {
		int dir = word_is_rtl(p, &w[i]);

		rtl += dir > 0;
		ltr += dir < 0;
		longest = w[i].len > longest->len ? w + i : longest;
	}
	l->rtl = rtl > ltr;
	l->upright = 1;
	if (l->word_n == 0)
		return;
	if (l->word_n > 1)
		l->upright = w[1].x0 != w[0].x0 && fabsf(w[l->word_n - 1].x0 - w[0].x0) >= fabsf(w[l->word_n - 1].y0 - w[0].y0);
	else
		l->upright = longest->len < 3 || longest->x1 - longest->x0 >= longest->y1 - longest->y0;
	l->size = l->upright ? longest->y1 - longest->y0 : longest->x1 - longest->x0;
}

static int by_size(const void *a, const void *b)
{
	const float *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The size of the body: the median over words. */
static int measure_body(struct pdf *p, struct err *e)
{
	float *sizes;
	size_t n = 0;

	if (p->word_n == 0)
		return OK;
	sizes = mem_calloc(p->word_n, sizeof *sizes);
	if (!sizes)
		return err_set(e, E_MEMORY, "PDF of %zu words: out of memory", p->word_n);
	for (size_t i = 0; i < p->line_n; i++)
		for (uint32_t k = 0; k < p->lines[i].word_n; k++)
			sizes[n++] = p->lines[i].size;
	qsort(sizes, n, sizeof *sizes, by_size);
	p->body = n ? sizes[n / 2] : 0;
	mem_free(sizes);
	return OK;
}

int pdf_read(struct pdf *p, struct extracted *x, const char *boxes, size_t len, struct err *e)
{
	struct reader r = { .p = p, .e = e };
	struct xml_handler h = { &r, namespaces, on_start, on_end, on_text, on_stop };
	struct xml_report report;
	int rc;

	memset(p, 0, sizeof *p);
	buf_init(&p->text, UINT32_MAX);
	buf_init(&p->title, TITLE_MAX);
	rc = xml_parse(boxes, len, &h, &report, e);
	rc = rc == OK ? r.rc : rc;
	if (rc != OK)
		return rc;
	if (report.broken)
		extracted_note(x, EXTRACT_PARTIAL, "pages break off: %s", report.first);
	for (size_t i = 0; i < p->line_n; i++)
		measure(p, &p->lines[i]);
	return measure_body(p, e);
}

void pdf_clear(struct pdf *p)
{
	buf_clear(&p->text);
	buf_clear(&p->title);
	mem_free(p->words);
	mem_free(p->lines);
	mem_free(p->blocks);
	mem_free(p->pages);
	p->words = NULL;
	p->lines = NULL;
	p->blocks = NULL;
	p->pages = NULL;
	p->word_n = p->line_n = p->block_n = p->page_n = 0;
}

/* ---- words in reading order ---- */

/* A word's letters from the last to the first, marks behind their letters, brackets turned. */
static void put_reversed(const char *s, size_t len, struct buf *out)
{
	size_t i = len, end = len;

	while (i > 0) {
		int32_t c = utf8_prev(s, &i);

		if (c > 0 && uni_class((uint32_t)c) == UNI_MARK && i > 0)
			continue;
		if (end - i == 1 && strchr("()[]{}<>", s[i])) {
			static const char turned[] = ")(][}{><";

			buf_putc(out, turned[strchr("()[]{}<>", s[i]) - "()[]{}<>"]);
		} else {
			buf_put(out, s + i, end - i);
		}
		end = i;
	}
}

void pdf_words_put(const struct pdf *p, const struct pdf_line *l, uint32_t from, uint32_t n, struct buf *out)
{
	const struct pdf_word *w = p->words + from;

	if (!l->rtl) {
		for (uint32_t i = 0; i < n; i++) {
			buf_puts(out, i > 0 ? " " : "");
			buf_put(out, p->text.data + w[i].off, w[i].len);
		}
		return;
	}
	for (uint32_t i = n; i > 0; ) {
		uint32_t first = i;

		while (first > 0 && word_is_rtl(p, &w[first - 1]) < 0)  /* Latin words in a row keep their order */
			first--;
		buf_puts(out, i < n ? " " : "");
		if (first == i) {
			i--;
			put_reversed(p->text.data + w[i].off, w[i].len, out);
			continue;
		}
		for (uint32_t k = first; k < i; k++) {
			buf_puts(out, k > first ? " " : "");
			buf_put(out, p->text.data + w[k].off, w[k].len);
		}
		i = first;
	}
}

/* ---- running lines ---- */

struct running { uint64_t key; float y; uint32_t line; int chained; };

enum { SAME_NUMBERS, COUNTS_PAGES, IS_PAGE };           /* IS_PAGE: a number is the page's, from the first on */

/* Two lines of the same words on different pages: are their numbers the same, or do they count the pages? */
static int is_same_line(const struct pdf *p, const struct pdf_line *a, const struct pdf_line *b, int *counts)
{
	const char *s = p->text.data + p->words[a->word].off, *t = p->text.data + p->words[b->word].off;
	const char *s_end = p->text.data + p->words[a->word + a->word_n - 1].off + p->words[a->word + a->word_n - 1].len;
	const char *t_end = p->text.data + p->words[b->word + b->word_n - 1].off + p->words[b->word + b->word_n - 1].len;

	*counts = SAME_NUMBERS;
	while (s < s_end && t < t_end) {
		long m = 0, n = 0;

		if (*s < '0' || *s > '9' || *t < '0' || *t > '9') {
			if (*s++ != *t++)
				return 0;
			continue;
		}
		for (; s < s_end && *s >= '0' && *s <= '9'; s++)
			m = m < 100000000 ? m * 10 + (*s - '0') : m;
		for (; t < t_end && *t >= '0' && *t <= '9'; t++)
			n = n < 100000000 ? n * 10 + (*t - '0') : n;
		if (n - m == (long)b->page - (long)a->page)
			*counts = n == (long)b->page + 1 ? IS_PAGE : *counts ? *counts : COUNTS_PAGES;
		else if (m != n)
			return 0;
	}
	return s == s_end && t == t_end;
}

/* A hash of the line's words with every number the same; 0 for a line that is too long to run over pages. */
static uint64_t key_of(const struct pdf *p, const struct pdf_line *l, int *letters)
{
	const struct pdf_word *w = p->words + l->word, *last = w + l->word_n - 1;
	size_t len = last->off + last->len - w->off;
	uint64_t hash = 1469598103934665603u;

	*letters = 0;
	if (len > KEY_MAX)
		return 0;
	for (size_t i = w->off; i < w->off + len; i++) {
		unsigned char c = (unsigned char)p->text.data[i];

		if (c >= '0' && c <= '9') {
			if (i > w->off && p->text.data[i - 1] >= '0' && p->text.data[i - 1] <= '9')
				continue;
			c = '0';
		}
		*letters += c >= 0x80 || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
		hash = (hash ^ c) * 1099511628211u;
	}
	return hash | 1;
}

static int by_key(const void *a, const void *b)
{
	const struct running *x = a, *y = b;

	return x->key != y->key ? (x->key > y->key) - (x->key < y->key) : (x->line > y->line) - (x->line < y->line);
}

static int says_page(const char *s, size_t len)
{
	static const char *const words[] = { "page", "seite", "p.", "pag", "pág", "side", "sida", "strana", "стр" };

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		for (size_t k = 0; k + strlen(words[i]) <= len; k++)
			if (strncasecmp(s + k, words[i], strlen(words[i])) == 0)
				return 1;
	return 0;
}

/* r[0, n) are lines of the same words on different pages, in order of pages: drops those that run. */
static void drop_group(struct pdf *p, struct running *r, size_t n)
{
	const struct pdf_line *one = &p->lines[r[0].line];
	const struct pdf_word *last = &p->words[one->word + one->word_n - 1];
	size_t linked = 0, need = p->page_n * MOST_PERCENT / 100;
	int least = IS_PAGE, letters;

	for (size_t i = 1; i < n; i++) {
		struct pdf_line *a = &p->lines[r[i - 1].line], *b = &p->lines[r[i].line];
		int counts;

		if (a->page == b->page || fabsf(r[i].y - r[i - 1].y) * 1000 > NEAR_PERMILLE * p->pages[b->page].height
			|| !is_same_line(p, a, b, &counts))
			continue;
		r[i - 1].chained = r[i].chained = 1;
		least = counts < least ? counts : least;
	}
	for (size_t i = 0; i < n; i++)
		linked += (size_t)r[i].chained;
	key_of(p, one, &letters);
	if (linked < RUNNING_PAGES_MIN || linked < need)
		return;
	/* "Invoice 17", "Invoice 18" count as pages do, and are no page numbers. */
	if (least == COUNTS_PAGES && letters > 2 && !says_page(p->text.data + p->words[one->word].off,
		last->off + last->len - p->words[one->word].off))
		return;
	for (size_t i = 0, seen = 0; i < n; i++)
		if (r[i].chained)
			p->lines[r[i].line].dropped = least != SAME_NUMBERS || seen++ > 0;
}

int pdf_drop_running(struct pdf *p, struct err *e)
{
	struct running *r;
	size_t n = 0;

	if (p->page_n < 2)
		return OK;
	r = mem_calloc(p->line_n + 1, sizeof *r);
	if (!r)
		return err_set(e, E_MEMORY, "PDF of %zu lines: out of memory", p->line_n);
	for (size_t i = 0; i < p->line_n; i++) {
		const struct pdf_line *l = &p->lines[i];
		float y = (l->y0 + l->y1) / 2, edge = p->pages[l->page].height * EDGE_PERCENT / 100;
		int letters;

		if (l->word_n > 0 && l->upright && (y < edge || y > p->pages[l->page].height - edge))
			r[n++] = (struct running){ key_of(p, l, &letters), y, (uint32_t)i, 0 };
	}
	qsort(r, n, sizeof *r, by_key);
	for (size_t i = 0, end; i < n; i = end) {
		for (end = i + 1; end < n && r[end].key == r[i].key; end++)
			;
		if (r[i].key != 0)
			drop_group(p, r + i, end - i);
	}
	mem_free(r);
	return OK;
}

/* ---- bullets ---- */

/* Is the line one sign that can only be a bullet? */
static int is_bullet(const struct pdf *p, const struct pdf_line *l)
{
	static const char *const signs[] = { "•", "●", "○", "◦", "▪", "■", "□", "‣", "⁃", "∙", "·", "➢", "✓", "❖",
		"\xEF\x82\xB7", "\xEF\x82\xA7" };
	const struct pdf_word *w = p->words + l->word;

	if (l->word_n != 1)
		return 0;
	for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
		if (w->len == strlen(signs[i]) && memcmp(p->text.data + w->off, signs[i], w->len) == 0)
			return 1;
	return 0;
}

void pdf_join_bullets(struct pdf *p)
{
	for (size_t i = 0; i < p->line_n; i++) {
		struct pdf_line *l = &p->lines[i], *best = NULL;
		const struct pdf_page *g = &p->pages[l->page];
		float middle = (l->y0 + l->y1) / 2;

		if (!is_bullet(p, l))
			continue;
		for (uint32_t k = g->line; k < g->line + g->line_n; k++) {
			struct pdf_line *o = &p->lines[k];

			if (o->y0 < middle && o->y1 > middle && o->x0 >= l->x1 && o->x0 - l->x1 < BULLET_GAP * l->size
				&& (!best || o->x0 < best->x0))
				best = o;
		}
		l->dropped = 1;
		if (best)
			best->bullet = 1;
	}
}
