/* extract_html.c: HTML to blocks. Owns the way to gumbo (an HTML5 parser) and the rules of what a reader would see.
 *
 * Three steps. (1) tame() copies the page and defuses what makes any HTML5 parser quadratic or its tree as deep as the
 * page is long: elements nested deeper than DEPTH_MAX lose their tags (not their text), and a tag with more than
 * ATTRS_MAX attributes loses them. (2) gumbo builds the tree in a private pool that is freed as a whole: gumbo's own
 * release is recursive, and it does not survive a refused allocation, so the pool leaves by longjmp when it passes its
 * cap or its share of processor time (hostile pages find ways around any count of tags); nothing but the pool is held
 * at that moment. (3) A walk without recursion turns elements into builder calls:
 * headings, paragraphs, list items, table rows, code; white space collapses as in CSS; script, style, template, forms,
 * navigation and what is hidden by attribute or inline style are left out. A table that holds headings or tables is
 * layout: its cells are read one after the other.
 * Method: the HTML Living Standard's tree construction (gumbo) and rendering sections. Threads: one document, one
 * thread. Failure: memory; a page too big for its pool is EXTRACT_FAILED. */
#include "ingest/extract.h"

#include <gumbo.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/mem.h"

enum {
	DEPTH_MAX = 256,        /* open elements kept by tame(), and tables kept by the walk */
	ATTRS_MAX = 500,
	META_BYTES = 4096,      /* where a declared encoding is looked for */
	POOL_BLOCK = 1 << 18,
	LIST_DEPTH_MAX = 16,
	PARSE_MS = 2000,        /* processor time for a page … */
	PARSE_MS_PER_MIB = 2000,/* … and more for each MiB; a common page takes about 50 ms a MiB */
	CLOCK_EVERY = 1024      /* allocations between looks at the clock */
};

/* ---- the pool gumbo allocates from ---- */

struct pool_block { struct pool_block *next; size_t used, size; };
struct pool {
	struct pool_block *head;
	size_t total, cap;
	unsigned calls;
	double deadline_ms;     /* of this thread's processor time */
	jmp_buf full;           /* left with an enum pool_end */
};
enum pool_end { POOL_OVER = 1, POOL_MEMORY, POOL_SLOW };

static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void pool_init(struct pool *p, size_t len)
{
	memset(p, 0, sizeof *p);
	p->cap = (size_t)64 * len + ((size_t)64 << 20);
	p->deadline_ms = cpu_ms() + PARSE_MS + (double)len / (1 << 20) * PARSE_MS_PER_MIB;
}

static void *pool_alloc(void *ctx, size_t bytes)
{
	struct pool *p = ctx;
	struct pool_block *k = p->head;
	size_t need = (bytes + 15) & ~(size_t)15, head = (sizeof *k + 15) & ~(size_t)15;
	void *out;

	if (++p->calls % CLOCK_EVERY == 0 && cpu_ms() > p->deadline_ms)
		longjmp(p->full, POOL_SLOW);
	if (need < bytes)
		longjmp(p->full, POOL_OVER);
	if (!k || k->size - k->used < need) {
		size_t size = need + head > POOL_BLOCK ? need + head : POOL_BLOCK;

		if (size < need || p->total + size > p->cap)
			longjmp(p->full, POOL_OVER);
		k = mem_alloc(size);
		if (!k)
			longjmp(p->full, POOL_MEMORY);
		*k = (struct pool_block){ p->head, head, size };
		p->head = k;
		p->total += size;
	}
	out = (char *)k + k->used;
	k->used += need;
	return out;
}

static void pool_keep(void *ctx, void *ptr)
{
	(void)ctx;
	(void)ptr;
}

static void pool_clear(struct pool *p)
{
	while (p->head) {
		struct pool_block *next = p->head->next;

		mem_free(p->head);
		p->head = next;
	}
}

/* ---- step 1: tame ---- */

static int name_in(const char *s, size_t n, const char *list)
{
	char key[24];

	if (n == 0 || n > sizeof key - 3)
		return 0;
	key[0] = ' ';
	for (size_t i = 0; i < n; i++)
		key[i + 1] = s[i] >= 'A' && s[i] <= 'Z' ? (char)(s[i] + 32) : s[i];
	key[n + 1] = ' ';
	key[n + 2] = 0;
	return strstr(list, key) != NULL;
}

struct tag {
	size_t name, name_len, end;     /* end: behind ">" */
	size_t attrs;                   /* attributes, roughly */
	int closing, self_closing;
};

static int is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Reads the tag at s[at] == '<'; 0 when it is none (or a comment, or cut off). */
static int tag_at(const char *s, size_t len, size_t at, struct tag *t)
{
	size_t i = at + 1;
	char quote = 0;
	int value = 0;

	*t = (struct tag){ 0 };
	if (i < len && s[i] == '/') {
		t->closing = 1;
		i++;
	}
	if (i >= len || !is_letter(s[i]))
		return 0;
	t->name = i;
	while (i < len && !strchr(" \t\r\n\f/>", s[i]))
		i++;
	t->name_len = i - t->name;
	for (; i < len; i++) {                                      /* value: 1 after "=", 2 inside an unquoted value */
		int blank = strchr(" \t\r\n\f", s[i]) != NULL;

		if (quote) {
			quote = s[i] == quote ? 0 : quote;
		} else if (value == 1 && (s[i] == '"' || s[i] == '\'')) {
			quote = s[i];
			value = 0;
		} else if (s[i] == '>') {
			t->self_closing = s[i - 1] == '/' && value == 0;
			t->end = i + 1;
			return 1;
		} else if (value != 0) {
			value = blank ? (value == 1) : 2;
		} else if (s[i] == '=') {
			value = 1;
		} else if (!blank && strchr(" \t\r\n\f/\"'", s[i - 1])) {
			t->attrs++;
		}
	}
	return 0;
}

static const char void_tags[] = " area base br col embed hr img input link meta param source track wbr ";
/* Elements whose end tag HTML lets one leave out close by themselves; they do not nest without another between. */
static const char loose_tags[] = " p li dt dd tr td th thead tbody tfoot option optgroup colgroup rt rp html head body ";
static const char raw_tags[] = " script style textarea title xmp noembed noframes iframe plaintext ";

struct tamer { size_t depth, dropped; int foreign; int changed; };

/* Does this tag stay? Keeps count of what is open. */
static int tag_stays(struct tamer *t, const char *s, const struct tag *g)
{
	const char *name = s + g->name;
	int foreign = name_in(name, g->name_len, " svg math ");

	if (name_in(name, g->name_len, void_tags) || (g->self_closing && t->foreign))
		return 1;
	if (foreign)
		t->foreign = !g->closing;
	else if (!t->foreign && name_in(name, g->name_len, loose_tags))
		return 1;
	if (g->closing) {
		if (t->dropped > 0) {
			t->dropped--;
			return 0;
		}
		t->depth -= t->depth > 0;
		return 1;
	}
	if (t->depth < DEPTH_MAX) {
		t->depth++;
		return 1;
	}
	t->dropped++;
	t->changed = 1;
	return 0;
}

/* Where the raw text of <script> and its like, which began at s[at], ends: at its closing tag. */
static size_t raw_end(const char *s, size_t len, size_t at, const char *name, size_t name_len)
{
	for (const char *p = s + at; (p = memchr(p, '<', (size_t)(s + len - p))); p++)
		if ((size_t)(s + len - p) > name_len + 2 && p[1] == '/' && strncasecmp(p + 2, name, name_len) == 0)
			return (size_t)(p - s);
	return len;
}

static size_t comment_end(const char *s, size_t len, size_t at)
{
	const char *end = len - at > 4 ? memmem(s + at + 4, len - at - 4, "-->", 3) : NULL;

	return end ? (size_t)(end - s) + 3 : len;
}

/* Copies the page to out without what would make the tree deep or its building slow. changed: tags were dropped. */
static int tame(const char *s, size_t len, struct buf *out, int *changed)
{
	struct tamer t = { 0 };
	size_t i = 0;

	while (i < len) {
		const char *lt = memchr(s + i, '<', len - i);
		size_t at = lt ? (size_t)(lt - s) : len;
		struct tag g;

		buf_put(out, s + i, at - i);
		i = at;
		if (at == len)
			break;
		if (len - at >= 4 && memcmp(s + at, "<!--", 4) == 0) {
			i = comment_end(s, len, at);
			continue;
		}
		if (!tag_at(s, len, at, &g)) {
			i = at + 1;
			/* An unfinished tag swallows the rest of the page in every parser: here it is text that ends it. */
			if (g.name_len > 0) {
				t.changed = 1;
				break;
			}
			buf_putc(out, '<');
			continue;
		}
		i = g.end;
		if (!tag_stays(&t, s, &g)) {
			buf_putc(out, ' ');
		} else if (g.attrs > ATTRS_MAX) {
			buf_puts(out, g.closing ? "</" : "<");
			buf_put(out, s + g.name, g.name_len);
			buf_putc(out, '>');
		} else {
			buf_put(out, s + at, g.end - at);
		}
		if (!g.closing && !t.foreign && name_in(s + g.name, g.name_len, raw_tags)) {
			size_t end = raw_end(s, len, i, s + g.name, g.name_len);

			buf_put(out, s + i, end - i);
			i = end;
		}
	}
	*changed = t.changed;
	return buf_failed(out);
}

/* ---- step 3: the walk ---- */

struct page {
	struct builder *b;
	int want_title;
	int space;              /* white space seen and not written yet */
	int at_start;           /* nothing written since the block or the line began */
	int pre, quotes, cells; /* depth of <pre>, <blockquote>; > 0: inside a row's cell, where blocks become spaces */
	int rows_cells;         /* cells of the open row so far */
	struct { int ordered; long next; } lists[LIST_DEPTH_MAX];
	int depth;
	unsigned char layout[DEPTH_MAX];        /* open tables, innermost last: 1 when it is layout */
	int tables;             /* how many; deeper ones than DEPTH_MAX count as layout */
	uint32_t group, groups;
};

static enum block_kind plain_kind(const struct page *p)
{
	return p->pre ? BLOCK_CODE : p->quotes ? BLOCK_QUOTE : BLOCK_PARAGRAPH;
}

static void block_begin(struct page *p, enum block_kind kind, int level, uint32_t group)
{
	builder_open(p->b, kind, level, group);
	p->space = 0;
	p->at_start = 1;
}

/* A border between blocks: ends the open one, or is a space where a block must stay on one line. */
static void border(struct page *p)
{
	if (p->cells || (p->b->is_open && p->b->open.kind == BLOCK_HEADING)) {
		p->space = 1;
		return;
	}
	if (p->b->is_open && p->b->open.kind == BLOCK_LIST_ITEM && p->at_start)
		return;                                             /* <li><p>: the paragraph is the item's text */
	builder_close(p->b);
}

static void put_char(struct page *p, const char *s, size_t n)
{
	if (!p->b->is_open)
		block_begin(p, plain_kind(p), 0, 0);
	if (p->space && !p->at_start)
		builder_put(p->b, " ", 1);
	p->space = p->at_start = 0;
	builder_put(p->b, s, n);
}

static size_t space_len(const char *s)
{
	if (*s == ' ' || *s == '\t' || *s == '\n' || *s == '\r' || *s == '\f')
		return 1;
	return (unsigned char)s[0] == 0xC2 && (unsigned char)s[1] == 0xA0 ? 2 : 0;  /* no-break space */
}

static void put_text(struct page *p, const char *s)
{
	if (p->pre) {
		if (!p->b->is_open)
			block_begin(p, BLOCK_CODE, 0, 0);
		p->at_start = 0;
		builder_put(p->b, s, strlen(s));
		return;
	}
	while (*s) {
		size_t n = space_len(s);

		if (n > 0) {
			p->space = 1;
			s += n;
			continue;
		}
		while (s[n] && space_len(s + n) == 0 && !((unsigned char)s[n] == 0xC2 && (unsigned char)s[n + 1] == 0xAD))
			n++;
		if (n > 0)
			put_char(p, s, n);
		s += n;
		if ((unsigned char)s[0] == 0xC2 && (unsigned char)s[1] == 0xAD)
			s += 2;                                     /* soft hyphens are not seen */
	}
}

static const char *attr(const GumboElement *el, const char *name)
{
	const GumboAttribute *a = gumbo_get_attribute(&el->attributes, name);

	return a ? a->value : NULL;
}

static int style_hides(const char *style)
{
	char flat[256];
	size_t n = 0;

	for (; *style && n < sizeof flat - 1; style++)
		if (!strchr(" \t\r\n", *style))
			flat[n++] = *style;
	flat[n] = 0;
	return strcasestr(flat, "display:none") || strcasestr(flat, "visibility:hidden");
}

/* Menus are no text, but what a side column lists (other articles, a table of contents) is. */
static int is_menu(const GumboNode *n)
{
	for (n = n->parent; n && n->type == GUMBO_NODE_ELEMENT; n = n->parent)
		if (n->v.element.tag == GUMBO_TAG_ASIDE)
			return 0;
	return 1;
}

static int is_hidden(const GumboNode *n)
{
	const GumboElement *el = &n->v.element;
	const char *style = attr(el, "style"), *hidden = attr(el, "hidden");

	switch (el->tag) {
	case GUMBO_TAG_SCRIPT: case GUMBO_TAG_STYLE: case GUMBO_TAG_TEMPLATE: case GUMBO_TAG_NOSCRIPT:
	case GUMBO_TAG_IFRAME: case GUMBO_TAG_CANVAS: case GUMBO_TAG_SVG: case GUMBO_TAG_OBJECT: case GUMBO_TAG_SELECT:
	case GUMBO_TAG_DATALIST: case GUMBO_TAG_BUTTON: case GUMBO_TAG_TEXTAREA: case GUMBO_TAG_HEAD: case GUMBO_TAG_AUDIO:
	case GUMBO_TAG_VIDEO: case GUMBO_TAG_TITLE:
		return 1;
	case GUMBO_TAG_NAV:
		if (is_menu(n))
			return 1;
		/* fall through */
	default:
		return (hidden && strcasecmp(hidden, "until-found") != 0) || (style && style_hides(style));
	}
}

static int is_block(GumboTag tag)
{
	switch (tag) {
	case GUMBO_TAG_P: case GUMBO_TAG_DIV: case GUMBO_TAG_SECTION: case GUMBO_TAG_ARTICLE: case GUMBO_TAG_ASIDE:
	case GUMBO_TAG_HEADER: case GUMBO_TAG_FOOTER: case GUMBO_TAG_MAIN: case GUMBO_TAG_ADDRESS: case GUMBO_TAG_FIGURE:
	case GUMBO_TAG_FIGCAPTION: case GUMBO_TAG_CAPTION: case GUMBO_TAG_DL: case GUMBO_TAG_DT: case GUMBO_TAG_DD:
	case GUMBO_TAG_FORM: case GUMBO_TAG_FIELDSET: case GUMBO_TAG_LEGEND: case GUMBO_TAG_HR: case GUMBO_TAG_DETAILS:
	case GUMBO_TAG_SUMMARY: case GUMBO_TAG_CENTER: case GUMBO_TAG_TABLE: case GUMBO_TAG_UL: case GUMBO_TAG_OL:
	case GUMBO_TAG_MENU: case GUMBO_TAG_DIR: case GUMBO_TAG_BLOCKQUOTE: case GUMBO_TAG_PRE: case GUMBO_TAG_LISTING:
	case GUMBO_TAG_XMP: case GUMBO_TAG_HGROUP: case GUMBO_TAG_BODY:
		return 1;
	default:
		return 0;
	}
}

static int heading_level(GumboTag tag)
{
	switch (tag) {
	case GUMBO_TAG_H1: return 1;
	case GUMBO_TAG_H2: return 2;
	case GUMBO_TAG_H3: return 3;
	case GUMBO_TAG_H4: return 4;
	case GUMBO_TAG_H5: return 5;
	case GUMBO_TAG_H6: return 6;
	default: return 0;
	}
}

static const GumboVector *children_of(const GumboNode *n)
{
	return n->type == GUMBO_NODE_ELEMENT ? &n->v.element.children
		: n->type == GUMBO_NODE_DOCUMENT ? &n->v.document.children : NULL;
}

/* The node after n in document order below top, without n's own children when skip is set; NULL at the end. *left
 * counts how many elements were left on the way, deepest first; the caller closes them from n upward. */
static const GumboNode *node_next(const GumboNode *n, const GumboNode *top, int skip, int *left)
{
	const GumboVector *kids = skip ? NULL : children_of(n);

	*left = 0;
	if (kids && kids->length > 0)
		return kids->data[0];
	while (n != top) {
		const GumboVector *siblings = children_of(n->parent);

		++*left;
		if (n->index_within_parent + 1 < siblings->length)
			return siblings->data[n->index_within_parent + 1];
		n = n->parent;
	}
	++*left;
	return NULL;
}

/* Layout or data? A table with headings, code or tables in its cells is layout. Looks no further than the first. */
static int is_layout(const GumboNode *table)
{
	int left;

	for (const GumboNode *n = node_next(table, table, 0, &left); n; n = node_next(n, table, 0, &left)) {
		GumboTag tag = n->type == GUMBO_NODE_ELEMENT ? n->v.element.tag : GUMBO_TAG_UNKNOWN;

		if (tag == GUMBO_TAG_TABLE || tag == GUMBO_TAG_PRE || heading_level(tag))
			return 1;
	}
	return 0;
}

static void item_begin(struct page *p, const GumboElement *el)
{
	int at = p->depth < 1 ? 0 : (p->depth < LIST_DEPTH_MAX ? p->depth : LIST_DEPTH_MAX) - 1;
	const char *value = attr(el, "value");
	char mark[64];

	border(p);
	if (p->cells)
		return;
	block_begin(p, BLOCK_LIST_ITEM, 0, p->depth ? p->group : 0);
	snprintf(mark, sizeof mark, "%*s", 2 * at, "");
	builder_mark(p->b, mark);
	if (p->depth && p->lists[at].ordered) {
		if (value)
			p->lists[at].next = strtol(value, NULL, 10);
		snprintf(mark, sizeof mark, "%ld. ", p->lists[at].next);
		p->lists[at].next += p->lists[at].next < 1000000000;
		builder_put(p->b, mark, strlen(mark));
	} else {
		builder_mark(p->b, "- ");
	}
}

static void list_begin(struct page *p, const GumboElement *el)
{
	const char *start = attr(el, "start");

	if (!p->cells)
		builder_close(p->b);
	if (p->depth++ == 0)
		p->group = ++p->groups;
	if (p->depth <= LIST_DEPTH_MAX) {
		p->lists[p->depth - 1].ordered = el->tag == GUMBO_TAG_OL;
		p->lists[p->depth - 1].next = start ? strtol(start, NULL, 10) : 1;
	}
}

static void cell_begin(struct page *p)
{
	if (!p->b->is_open || p->b->open.kind != BLOCK_TABLE_ROW)
		return;
	if (p->rows_cells++ > 0)
		builder_put(p->b, " | ", 3);
	p->space = 0;
	p->at_start = 1;
	p->cells++;
}

static void row_begin(struct page *p)
{
	if (p->cells)
		return;
	builder_close(p->b);
	if (p->tables == 0 || p->tables > DEPTH_MAX || p->layout[p->tables - 1])
		return;
	block_begin(p, BLOCK_TABLE_ROW, 0, p->group);
	p->rows_cells = 0;
}

static void table_begin(struct page *p, const GumboNode *n)
{
	border(p);
	if (p->tables++ < DEPTH_MAX)
		p->layout[p->tables - 1] = (unsigned char)is_layout(n);
	if (!p->cells && p->depth == 0)
		p->group = ++p->groups;
}

/* Returns 1 when the element's children are not walked (and element_end is not called). */
static int element_begin(struct page *p, const GumboNode *n)
{
	const GumboElement *el = &n->v.element;
	int level = heading_level(el->tag);
	const char *alt;

	if (is_hidden(n))
		return 1;
	if (level && !p->cells) {
		block_begin(p, BLOCK_HEADING, level, 0);
		return 0;
	}
	switch (el->tag) {
	case GUMBO_TAG_BR:
		if (p->pre)
			put_text(p, "\n");
		else if (p->b->is_open && !p->at_start && (p->b->open.kind == BLOCK_PARAGRAPH || p->b->open.kind == BLOCK_QUOTE)) {
			builder_put(p->b, "\n", 1);
			p->at_start = 1;
		} else {
			p->space = 1;
		}
		break;
	case GUMBO_TAG_IMG:
		alt = attr(el, "alt");
		if (alt)
			put_text(p, alt);
		break;
	case GUMBO_TAG_LI:
		item_begin(p, el);
		break;
	case GUMBO_TAG_UL: case GUMBO_TAG_OL: case GUMBO_TAG_MENU: case GUMBO_TAG_DIR:
		list_begin(p, el);
		break;
	case GUMBO_TAG_TABLE:
		table_begin(p, n);
		break;
	case GUMBO_TAG_TR:
		row_begin(p);
		break;
	case GUMBO_TAG_TD: case GUMBO_TAG_TH:
		if (p->b->is_open && p->b->open.kind == BLOCK_TABLE_ROW)
			cell_begin(p);
		else
			border(p);
		break;
	case GUMBO_TAG_PRE: case GUMBO_TAG_LISTING: case GUMBO_TAG_XMP:
		border(p);
		p->pre += !p->cells;
		break;
	case GUMBO_TAG_BLOCKQUOTE:
		border(p);
		p->quotes++;
		break;
	case GUMBO_TAG_Q:
		put_text(p, "\"");
		break;
	default:
		if (is_block(el->tag))
			border(p);
		break;
	}
	return 0;
}

static void element_end(struct page *p, const GumboNode *n)
{
	const GumboElement *el = &n->v.element;
	int level = heading_level(el->tag);

	if (level && !p->cells) {
		if (level == 1 && p->want_title && !p->b->x->title[0] && p->b->is_open)
			extracted_title(p->b->x, buf_cstr(&p->b->cur), p->b->cur.len);
		builder_close(p->b);
		return;
	}
	switch (el->tag) {
	case GUMBO_TAG_LI:
		if (p->cells)
			p->space = 1;
		else
			builder_close(p->b);
		break;
	case GUMBO_TAG_UL: case GUMBO_TAG_OL: case GUMBO_TAG_MENU: case GUMBO_TAG_DIR:
		border(p);
		p->depth--;
		break;
	case GUMBO_TAG_TD: case GUMBO_TAG_TH:
		if (p->cells > 0)
			p->cells--;
		else
			border(p);
		break;
	case GUMBO_TAG_TR:
		if (p->cells)
			break;
		if (p->b->is_open && p->b->open.kind == BLOCK_TABLE_ROW && p->rows_cells <= 1) {
			p->b->open.kind = BLOCK_PARAGRAPH;          /* a row of one cell is no row */
			p->b->open.group = 0;
		}
		builder_close(p->b);
		break;
	case GUMBO_TAG_TABLE:
		border(p);
		p->tables--;
		break;
	case GUMBO_TAG_PRE: case GUMBO_TAG_LISTING: case GUMBO_TAG_XMP:
		border(p);
		p->pre -= p->pre > 0;
		break;
	case GUMBO_TAG_BLOCKQUOTE:
		border(p);
		p->quotes--;
		break;
	case GUMBO_TAG_Q:
		p->space = 0;
		put_text(p, "\"");
		break;
	default:
		if (is_block(el->tag))
			border(p);
		break;
	}
}

static void node_begin(struct page *p, const GumboNode *n, int *skip)
{
	*skip = 0;
	switch (n->type) {
	case GUMBO_NODE_ELEMENT:
		*skip = element_begin(p, n);
		break;
	case GUMBO_NODE_TEXT: case GUMBO_NODE_CDATA: case GUMBO_NODE_WHITESPACE:
		/* Between blocks white space means nothing. */
		if (n->type != GUMBO_NODE_WHITESPACE || p->pre || p->b->is_open)
			put_text(p, n->v.text.text);
		break;
	default:
		break;
	}
}

static void walk_page(struct page *p, const GumboNode *top)
{
	const GumboNode *n = top;
	int skip, left;

	while (n && !builder_stopped(p->b)) {
		const GumboNode *next, *up = n;

		node_begin(p, n, &skip);
		next = node_next(n, top, skip, &left);
		for (int i = 0; i < left && up; i++, up = up->parent)
			if (up->type == GUMBO_NODE_ELEMENT && !(i == 0 && skip))
				element_end(p, up);
		n = next;
	}
	builder_close(p->b);
}

/* The text of the first <title>. */
static void find_title(struct page *p, const GumboNode *root)
{
	int left;

	for (const GumboNode *n = root; n; n = node_next(n, root, 0, &left)) {
		const GumboVector *kids = children_of(n);

		if (n->type != GUMBO_NODE_ELEMENT || n->v.element.tag_namespace != GUMBO_NAMESPACE_HTML)
			continue;
		if (n->v.element.tag == GUMBO_TAG_BODY)
			return;
		if (n->v.element.tag == GUMBO_TAG_TITLE && kids->length > 0) {
			const GumboNode *text = kids->data[0];

			if (text->type == GUMBO_NODE_TEXT || text->type == GUMBO_NODE_WHITESPACE)
				extracted_title(p->b->x, text->v.text.text, strlen(text->v.text.text));
			return;
		}
	}
}

/* Parses into pool; NULL when it did not end well, *why an enum pool_end. */
static GumboOutput *parse(struct pool *pool, const char *s, size_t len, int *why)
{
	GumboOptions options = kGumboDefaultOptions;

	options.allocator = pool_alloc;
	options.deallocator = pool_keep;
	options.userdata = pool;
	options.max_errors = 0;
	*why = setjmp(pool->full);
	return *why ? NULL : gumbo_parse_with_options(&options, s, len);
}

static void extract_tree(struct builder *b, const char *s, size_t len, int want_title)
{
	struct pool pool;
	struct page p = { .b = b, .want_title = want_title, .at_start = 1 };
	GumboOutput *out;
	int why;

	pool_init(&pool, len);
	out = parse(&pool, s, len, &why);
	if (out) {
		if (want_title)
			find_title(&p, out->root);
		walk_page(&p, out->root);
	} else if (why == POOL_MEMORY) {
		b->rc = err_set(b->e, E_MEMORY, "HTML of %zu bytes: out of memory", len);
	} else if (why == POOL_SLOW) {
		extracted_note(b->x, EXTRACT_FAILED, "HTML takes too long to parse");
	} else {
		extracted_note(b->x, EXTRACT_FAILED, "HTML grows beyond %zu bytes of memory", pool.cap);
	}
	pool_clear(&pool);
}

static void extract_any(struct builder *b, const char *text, size_t len, int want_title)
{
	struct buf tamed;
	int changed = 0;

	buf_init(&tamed, SIZE_MAX);
	if (tame(text, len, &tamed, &changed) != OK)
		b->rc = err_set(b->e, E_MEMORY, "HTML of %zu bytes: out of memory", len);
	else
		extract_tree(b, buf_cstr(&tamed), tamed.len, want_title);
	if (changed && b->rc == OK)
		extracted_note(b->x, EXTRACT_PARTIAL, "HTML is nested deeper than %d elements or breaks off inside a tag",
			DEPTH_MAX);
	buf_clear(&tamed);
}

void extract_html(struct builder *b, const char *text, size_t len)
{
	extract_any(b, text, len, 1);
}

void extract_html_part(struct builder *b, const char *text, size_t len)
{
	extract_any(b, text, len, 0);
}

/* ---- encoding and entities ---- */

int html_declared_charset(const char *data, size_t len, char *out, size_t cap)
{
	size_t n = len < META_BYTES ? len : META_BYTES;
	const char *end = data + n;

	for (const char *p = data; p < end && (p = memchr(p, '<', (size_t)(end - p))); p++) {
		const char *close = memchr(p, '>', (size_t)(end - p)), *at = NULL;
		size_t k = 0;

		if (!close)
			return 0;
		if (close - p > 5 && strncasecmp(p, "<meta", 5) == 0)
			for (at = p; at < close && strncasecmp(at, "charset", 7) != 0; at++)
				;
		else if (close - p > 5 && strncasecmp(p, "<?xml", 5) == 0)
			for (at = p; at < close && strncasecmp(at, "encoding", 8) != 0; at++)
				;
		if (!at || at >= close)
			continue;
		at += *at == 'c' || *at == 'C' ? 7 : 8;
		while (at < close && strchr(" =\"'\t\n", *at) && *at)
			at++;
		while (at < close && k + 1 < cap && *at && !strchr(" \"';/>?\t\n", *at))
			out[k++] = *at++;
		out[k] = 0;
		return k > 0;
	}
	return 0;
}

static const struct { const char *entity, *text; } common_entities[] = {
	{ "&amp;", "&" }, { "&lt;", "<" }, { "&gt;", ">" }, { "&quot;", "\"" }, { "&#39;", "'" }, { "&apos;", "'" },
	{ "&nbsp;", " " },
};

void html_entity_put(struct buf *out, const char *entity, size_t len)
{
	struct pool pool;
	const GumboVector *kids;
	GumboOutput *parsed;
	int why;

	for (size_t i = 0; i < sizeof common_entities / sizeof *common_entities; i++)
		if (strlen(common_entities[i].entity) == len && memcmp(common_entities[i].entity, entity, len) == 0) {
			buf_puts(out, common_entities[i].text);
			return;
		}
	pool_init(&pool, len);
	parsed = parse(&pool, entity, len, &why);              /* the parser knows all 2,231 names */
	kids = parsed ? children_of(parsed->root) : NULL;
	kids = kids && kids->length ? children_of(kids->data[kids->length - 1]) : NULL;
	if (kids && kids->length == 1 && ((GumboNode *)kids->data[0])->type == GUMBO_NODE_TEXT)
		buf_puts(out, ((GumboNode *)kids->data[0])->v.text.text);
	else
		buf_put(out, entity, len);
	pool_clear(&pool);
}
