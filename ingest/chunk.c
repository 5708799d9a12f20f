/* chunk.c: owns where a document is cut.
 *
 * First every block becomes quotable units (byte ranges), with the tokens of each counted once: WordPiece never joins
 * words over white space, so the tokens of a run of units are the sum. Then units are packed greedily into chunks,
 * block by block, section by section. Because a chunk is always a run of neighbouring units (also with overlap), it
 * needs only two numbers, and its sentences are a slice of the one array. Nothing is looked at twice but the overlap
 * and what is cut in pieces, so the time is linear also for a text that is a single line.
 *
 * A chunk lies on one page, so that the page named with a quote is the one it stands on; extract_pdf.c parts a paragraph
 * that goes on over a page break behind the sentence that straddles it.
 *
 * What chunk_embed_text puts in front (title > headings) counts against the embedder's limit, not the budget: a chunk's
 * budget shrinks only where both together would be cut off. Threads: no state. Failure: memory. */
#include "ingest/chunk.h"

#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "base/sentence.h"
#include "base/unicode.h"
#include "base/utf8.h"

enum {
	HEADING_LEVELS = 6,
	PATH_BYTES_MAX = 240,           /* of a heading path; longer ones lose their outer parts */
	BUDGET_MIN = 16,
	UNIT_CP_MIN = 16,               /* units are not cut below this because of tokens */
	HEADINGS_ARENA = 1 << 30
};

struct unit { struct span range; uint32_t tokens; uint32_t block; };

struct chunker {
	const struct extracted *x;
	const struct chunk_options *o;
	struct chunk_set *out;
	struct unit *units; size_t n, cap;
	size_t chunk_cap;
	const struct block *path[HEADING_LEVELS];       /* open headings, outermost first */
	int path_n;
	const char *heading;            /* of the current section, in the arena */
	size_t budget;                  /* of the current section */
	struct err *e;
};

/* ---- units ---- */

static int unit_put(struct chunker *c, size_t off, size_t end, size_t tokens, size_t block)
{
	if (c->n == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 256;
		struct unit *more = cap < SIZE_MAX / sizeof *more ? mem_realloc(c->units, cap * sizeof *more) : NULL;

		if (!more)
			return err_set(c->e, E_MEMORY, "%zu quotable units: out of memory", cap);
		c->units = more;
		c->cap = cap;
	}
	c->units[c->n++] = (struct unit){ { (uint32_t)off, (uint32_t)(end - off) }, (uint32_t)tokens, (uint32_t)block };
	return OK;
}

static int is_clause_mark(int32_t cp)
{
	return cp == ',' || cp == ';' || cp == ':' || cp == 0x2013 || cp == 0x2014 || cp == ')' || cp == 0x3001
		|| cp == 0xFF0C || cp == 0xFF1B || cp == 0x060C || cp == 0x061B || cp == '.' || cp == '!' || cp == '?'
		|| cp == '|';
}

/* Where s[at, end) is cut so that the piece has at most max code points: at a line break, behind a clause mark, at a
 * space, in this order, each looked for in the later three quarters; else anywhere but before a mark. */
static size_t cut_place(const char *s, size_t at, size_t end, size_t max)
{
	size_t i = at, line = 0, clause = 0, space = 0, last = at;
	int32_t before = 0;

	for (size_t n = 0; n <= max; n++) {
		size_t was = i;
		int32_t cp;

		if (i >= end)
			return end;
		cp = utf8_next(s, end, &i);
		if (n > max / 4 && cp >= 0 && uni_is_white_space((uint32_t)cp)) {
			space = was;
			line = cp == '\n' ? was : line;
			clause = is_clause_mark(before) ? was : clause;
		} else if (n > max / 4 && (before == 0x3001 || before == 0xFF0C || before == 0xFF1B || before == 0x3002)) {
			clause = was;
		}
		if (cp < 0 || uni_class((uint32_t)cp) != UNI_MARK || n < max / 2)
			last = was;
		before = cp;
	}
	return line ? line : clause ? clause : space ? space : last;
}

static void trim(const char *s, size_t *off, size_t *end)
{
	while (*off < *end) {
		size_t i = *off;
		int32_t cp = utf8_next(s, *end, &i);

		if (cp < 0 || !uni_is_white_space((uint32_t)cp))
			break;
		*off = i;
	}
	while (*end > *off) {
		size_t i = *end;
		int32_t cp = utf8_prev(s, &i);

		if (cp < 0 || !uni_is_white_space((uint32_t)cp))
			break;
		*end = i;
	}
}

/* Puts s[off, end) as one unit, or as pieces when it is too long to quote or to embed. */
static int unit_cut(struct chunker *c, size_t off, size_t end, size_t block)
{
	const char *s = c->x->text.data;
	size_t max = UNIT_CP_MAX;

	for (;;) {
		size_t at, to, tokens;

		trim(s, &off, &end);
		if (off >= end)
			return OK;
		at = to = cut_place(s, off, end, max);
		trim(s, &off, &to);
		tokens = to > off ? c->o->count(c->o->ctx, s + off, to - off) : 0;
		if (tokens > (size_t)c->o->tokens && max > UNIT_CP_MIN && utf8_count(s + off, to - off) > UNIT_CP_MIN) {
			max = max / 2 > UNIT_CP_MIN ? max / 2 : UNIT_CP_MIN;
			continue;
		}
		if (to > off) {
			int rc = unit_put(c, off, to, tokens, block);

			if (rc != OK)
				return rc;
		}
		off = at;
		max = UNIT_CP_MAX;
	}
}

/* Does a line that begins here look like an item of a list ("- x", "* x", "3. x", "b) x")? */
static int is_item_line(const char *s, size_t at, size_t end)
{
	size_t i = at;

	while (i < end && (s[i] == ' ' || s[i] == '\t'))
		i++;
	if (i + 1 < end && strchr("-*+", s[i]) && s[i + 1] == ' ')
		return 1;
	if (i + 3 < end && memcmp(s + i, "\xE2\x80\xA2", 3) == 0)       /* • */
		return 1;
	if (i + 2 < end && s[i] >= 'a' && s[i] <= 'z' && s[i + 1] == ')')
		return s[i + 2] == ' ';
	for (at = i; i < end && i - at < 3 && s[i] >= '0' && s[i] <= '9'; i++)
		;
	return i > at && i + 1 < end && (s[i] == '.' || s[i] == ')') && s[i + 1] == ' ';
}

/* The units of a sentence: lines that look like list items stand alone. */
static int sentence_put(struct chunker *c, size_t off, size_t end, size_t block)
{
	const char *s = c->x->text.data;
	size_t begin = off;
	int rc = OK;

	for (size_t i = off; i < end && rc == OK; ) {
		const char *nl = memchr(s + i, '\n', end - i);

		if (!nl)
			break;
		i = (size_t)(nl - s) + 1;
		if (is_item_line(s, i, end)) {
			rc = unit_cut(c, begin, i, block);
			begin = i;
		}
	}
	return rc == OK ? unit_cut(c, begin, end, block) : rc;
}

static int lines_put(struct chunker *c, size_t off, size_t end, size_t block)
{
	const char *s = c->x->text.data;
	int rc = OK;

	while (off < end && rc == OK) {
		const char *nl = memchr(s + off, '\n', end - off);
		size_t to = nl ? (size_t)(nl - s) : end;

		rc = unit_cut(c, off, to, block);
		off = to + 1;
	}
	return rc;
}

static int sentences_put(struct chunker *c, size_t off, size_t end, size_t block)
{
	size_t pos = off, start, stop;
	int rc = OK;

	while (rc == OK && sentence_next(c->x->text.data, end, &pos, &start, &stop))
		rc = sentence_put(c, start, stop, block);
	return rc;
}

static int block_units(struct chunker *c, size_t block)
{
	const struct block *k = &c->x->blocks[block];
	size_t off = k->off + k->mark, end = k->off + k->len, first;
	int rc;

	switch (k->kind) {
	case BLOCK_CODE:
		return lines_put(c, off, end, block);
	case BLOCK_HEADING: case BLOCK_TABLE_ROW:
		first = c->n;
		rc = unit_cut(c, off, end, block);
		for (; k->kind == BLOCK_HEADING && first < c->n; first++)
			c->units[first].tokens = 0;                 /* they count as part of the prefix */
		return rc;
	case BLOCK_LIST_ITEM:
		if (utf8_count(c->x->text.data + off, end - off) <= UNIT_CP_MAX)
			return unit_cut(c, off, end, block);
		return sentences_put(c, off, end, block);
	default:
		return sentences_put(c, off, end, block);
	}
}

/* ---- sections ---- */

/* The heading path "A > B" of the open headings. */
static const char *path_text(struct chunker *c)
{
	struct buf b;
	const char *out = NULL;
	int first = 0;

	buf_init(&b, SIZE_MAX);
	for (size_t total = 0; c->path_n > 0; ) {
		total = 0;
		for (int i = first; i < c->path_n; i++)
			total += c->path[i]->len + 3;
		if (total <= PATH_BYTES_MAX || first == c->path_n - 1)
			break;
		first++;
	}
	for (int i = first; i < c->path_n; i++) {
		const struct block *k = c->path[i];
		size_t len = k->len <= PATH_BYTES_MAX ? k->len
			: utf8_floor(c->x->text.data + k->off, k->len, PATH_BYTES_MAX);

		if (i > first)
			buf_puts(&b, " > ");
		buf_put(&b, c->x->text.data + k->off, len);
	}
	for (size_t i = 0; i < b.len; i++)
		if (b.data[i] == '\n' || b.data[i] == '\t')
			b.data[i] = ' ';
	if (buf_failed(&b) == OK)
		out = arena_strndup(&c->out->strings, buf_cstr(&b), b.len);
	buf_clear(&b);
	return out;
}

/* Opens the heading in the path and works out what the section may hold. */
static int section_open(struct chunker *c, const struct block *k)
{
	size_t prefix, room;

	if (k) {
		while (c->path_n > 0 && c->path[c->path_n - 1]->level >= k->level)
			c->path_n--;
		if (c->path_n < HEADING_LEVELS)
			c->path[c->path_n++] = k;
	}
	c->heading = path_text(c);
	if (!c->heading)
		return err_set(c->e, E_MEMORY, "heading path: out of memory");
	c->budget = (size_t)(c->o->tokens > BUDGET_MIN ? c->o->tokens : BUDGET_MIN);
	if (c->o->embed_tokens <= 2)
		return OK;
	prefix = c->o->count(c->o->ctx, c->x->title, strlen(c->x->title))
		+ c->o->count(c->o->ctx, c->heading, strlen(c->heading));
	room = (size_t)c->o->embed_tokens - 2 > prefix + BUDGET_MIN ? (size_t)c->o->embed_tokens - 2 - prefix : BUDGET_MIN;
	c->budget = room < c->budget ? room : c->budget;
	return OK;
}

/* ---- chunks ---- */

static int chunk_put(struct chunker *c, size_t from, size_t to)
{
	struct chunk_set *s = c->out;
	const struct unit *first = &c->units[from], *last = &c->units[to - 1];
	const struct block *k = &c->x->blocks[first->block];
	size_t off = first->range.off, end = last->range.off + last->range.len, quotable = from;

	/* a heading says nothing by itself */
	while (quotable < to && c->x->blocks[c->units[quotable].block].kind == BLOCK_HEADING)
		quotable++;
	if (s->n == c->chunk_cap) {
		size_t cap = c->chunk_cap ? c->chunk_cap * 2 : 32;
		struct chunk_in *more = cap < SIZE_MAX / sizeof *more ? mem_realloc(s->chunks, cap * sizeof *more) : NULL;

		if (!more)
			return err_set(c->e, E_MEMORY, "%zu chunks: out of memory", cap);
		s->chunks = more;
		c->chunk_cap = cap;
	}
	if (from == 0 || c->units[from - 1].block != first->block)      /* the whole block, with its bullet */
		off = k->off;
	s->chunks[s->n++] = (struct chunk_in){ .range = { (uint32_t)off, (uint32_t)(end - off) }, .heading = c->heading,
		.page = c->x->blocks[c->units[quotable < to ? quotable : from].block].page,
		.sentence_n = (uint32_t)(to - quotable), .sentences = s->units + quotable };
	return OK;
}

/* The first of the last units before `at` that are repeated: whole ones of the same block within overlap_tokens. */
static size_t overlap_from(const struct chunker *c, size_t from, size_t at)
{
	size_t tokens = 0, i = at;

	while (i > from + 1 && c->units[i - 1].block == c->units[at].block) {
		tokens += c->units[i - 1].tokens;
		if (tokens > (size_t)(c->o->overlap_tokens > 0 ? c->o->overlap_tokens : 0) || tokens >= c->budget)
			break;
		i--;
	}
	return i;
}

/* Cuts the units [from, to), all of one block that is over the budget. Its last piece stays open: *open is where it
 * begins and *tokens what it holds. from may lie before the block when headings wait there. */
static int block_cut(struct chunker *c, size_t from, size_t to, size_t *open, size_t *tokens)
{
	size_t begin = from, sum = 0;
	int rc = OK;

	for (size_t i = from; i < to && rc == OK; i++) {
		if (sum > 0 && sum + c->units[i].tokens > c->budget) {
			rc = chunk_put(c, begin, i);
			begin = overlap_from(c, begin, i);
			sum = 0;
			for (size_t k = begin; k < i; k++)
				sum += c->units[k].tokens;
			if (sum + c->units[i].tokens > c->budget) {     /* the repetition would crowd out the new */
				begin = i;
				sum = 0;
			}
		}
		sum += c->units[i].tokens;
	}
	*open = begin;
	*tokens = sum;
	return rc;
}

/* Does unit i stand on another page than the one before it? A quote is shown with its chunk's page. */
static int is_new_page(const struct chunker *c, size_t i)
{
	return c->x->blocks[c->units[i].block].page != c->x->blocks[c->units[i - 1].block].page;
}

/* Packs the units [from, to) of one section. */
static int section_put(struct chunker *c, size_t from, size_t to)
{
	size_t open = from, sum = 0, i = from;
	int rc = OK;

	while (i < to && rc == OK) {
		size_t next = i, tokens = 0;
		int only_headings = c->x->blocks[c->units[i > from ? i - 1 : i].block].kind == BLOCK_HEADING;

		for (; next < to && c->units[next].block == c->units[i].block; next++)
			tokens += c->units[next].tokens;
		if (i > open && !only_headings && (sum + tokens > c->budget || is_new_page(c, i))) {
			rc = chunk_put(c, open, i);
			open = i;
			sum = 0;
		}
		if (rc == OK && sum + tokens > c->budget)
			rc = block_cut(c, open, next, &open, &sum);
		else
			sum += tokens;
		i = next;
	}
	return rc == OK && open < to ? chunk_put(c, open, to) : rc;
}

/* Sections: from a heading (with those deeper ones that follow it at once) to the next. */
static int sections_put(struct chunker *c)
{
	const struct block *blocks = c->x->blocks;
	size_t from = 0, i = 0;
	int rc = section_open(c, NULL);

	while (rc == OK && i < c->n) {
		const struct block *k = &blocks[c->units[i].block], *last = NULL;
		int body = 0;

		for (from = i; i < c->n && rc == OK; ) {
			size_t block = c->units[i].block;

			k = &blocks[block];
			if (k->kind == BLOCK_HEADING && (body || (last && k->level <= last->level)))
				break;
			if (k->kind == BLOCK_HEADING) {
				last = k;
				rc = section_open(c, k);
			} else {
				body = 1;
			}
			while (i < c->n && c->units[i].block == block)
				i++;
		}
		if (rc == OK)
			rc = section_put(c, from, i);
	}
	return rc;
}

/* The ranges of all units, which no longer change, as the chunks point into them. */
static int units_keep(struct chunker *c)
{
	struct chunk_set *s = c->out;

	if (c->n == 0)
		return OK;
	s->units = mem_calloc(c->n, sizeof *s->units);
	if (!s->units)
		return err_set(c->e, E_MEMORY, "%zu quotable units: out of memory", c->n);
	s->unit_n = c->n;
	for (size_t i = 0; i < c->n; i++)
		s->units[i] = c->units[i].range;
	return OK;
}

int chunk_document(struct chunk_set *s, const struct extracted *x, const struct chunk_options *o, struct err *e)
{
	struct chunker c = { .x = x, .o = o, .out = s, .e = e };
	int rc = OK;

	memset(s, 0, sizeof *s);
	arena_init(&s->strings, HEADINGS_ARENA);
	for (size_t i = 0; i < x->block_n && rc == OK; i++)
		rc = block_units(&c, i);
	if (rc == OK)
		rc = units_keep(&c);
	if (rc == OK)
		rc = sections_put(&c);
	mem_free(c.units);
	return rc;
}

void chunk_set_clear(struct chunk_set *s)
{
	mem_free(s->chunks);
	mem_free(s->units);
	arena_clear(&s->strings);
	s->chunks = NULL;
	s->units = NULL;
	s->n = s->unit_n = 0;
}

/* ---- what is embedded ---- */

/* Where the chunk's body begins: behind the headings, which the path repeats. */
static size_t body_off(const struct chunk_in *c)
{
	return c->sentence_n ? c->sentences[0].off : (size_t)c->range.off + c->range.len;
}

int chunk_embed_text(const char *title, const char *text, const struct chunk_in *c, struct buf *out)
{
	size_t n = strlen(title), off = body_off(c), end = (size_t)c->range.off + c->range.len;
	const char *path = c->heading;

	if (n > 0 && strncmp(path, title, n) == 0 && (path[n] == 0 || strncmp(path + n, " > ", 3) == 0))
		path += path[n] ? n + 3 : n;
	if (n > 0)
		buf_puts(out, title);
	if (*path) {
		buf_puts(out, n > 0 ? " > " : "");
		buf_puts(out, path);
	}
	if (n > 0 || *path)
		buf_putc(out, '\n');
	return buf_put(out, text + off, end - off);
}
