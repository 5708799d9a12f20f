/* wire.c: owns the form in which an extracted document crosses from a parser's process.
 *
 * A row of numbers, then strings with their lengths in front, in one fixed order. Reading goes over a cursor that knows
 * what is left: a length that does not fit ends it. What comes out is checked against all that extract.h promises, for
 * the rest of the program builds on it. Threads: none. Failure: see wire.h. */
#include "ingest/wire.h"

#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

enum { PART_NAME_MAX = 1000, HEADING_LEVEL_MAX = 6 };

struct wire_block { uint32_t kind, group, page, mark; int32_t level; uint32_t pad; uint64_t off, len; };
struct wire_head {
	uint64_t text_len, block_n, part_n;
	uint32_t title_len, type_len, reason_len, verdict, needs_boxes, pad;
};

static const char *const types[] = { "txt", "md", "html", "pdf", "docx", "odt", "eml", "csv", "xml" };

/* ---- writing ---- */

int wire_put(struct buf *out, const struct extracted *x, struct err *e)
{
	struct wire_head h = {
		.text_len = x->text.len, .block_n = x->block_n, .part_n = x->part_n, .title_len = (uint32_t)strlen(x->title),
		.type_len = (uint32_t)strlen(x->type), .reason_len = (uint32_t)strlen(x->reason), .verdict = (uint32_t)x->verdict,
		.needs_boxes = x->needs_boxes != 0,
	};

	buf_put(out, &h, sizeof h);
	buf_put(out, x->title, h.title_len);
	buf_put(out, x->type, h.type_len);
	buf_put(out, x->reason, h.reason_len);
	buf_put(out, x->text.data, x->text.len);
	for (size_t i = 0; i < x->block_n; i++) {
		const struct block *b = &x->blocks[i];
		struct wire_block w = { .kind = (uint32_t)b->kind, .group = b->group, .page = b->page, .mark = b->mark,
			.level = b->level, .off = b->off, .len = b->len };

		buf_put(out, &w, sizeof w);
	}
	for (size_t i = 0; i < x->part_n; i++) {
		uint64_t lens[2] = { strlen(x->parts[i].name), x->parts[i].len };

		buf_put(out, lens, sizeof lens);
		buf_put(out, x->parts[i].name, lens[0]);
		buf_put(out, x->parts[i].data, lens[1]);
	}
	return buf_failed(out) ? err_set(e, buf_failed(out), "reply of %zu bytes", out->len) : OK;
}

/* ---- reading ---- */

struct cursor { const char *at; size_t left; };

static int bad(struct err *e, const char *what)
{
	return err_set(e, E_FORMAT, "%s", what);
}

/* The next len bytes, or NULL. */
static const char *take(struct cursor *c, uint64_t len)
{
	const char *at = c->at;

	if (len > c->left)
		return NULL;
	c->at += len;
	c->left -= (size_t)len;
	return at;
}

/* A line, copied into out (cap bytes). It may quote the file and be cut anywhere: what is no character or controls a
 * screen becomes a question mark. */
static int get_line(struct cursor *c, uint64_t len, char *out, size_t cap)
{
	const char *s = len < cap ? take(c, len) : NULL;
	size_t n = 0, i = 0;

	if (!s)
		return 0;
	while (i < len) {
		size_t was = i;
		int32_t cp = utf8_next(s, (size_t)len, &i);

		if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0)) {
			out[n++] = '?';
			continue;
		}
		for (; was < i; was++)
			out[n++] = s[was];
	}
	out[n] = 0;
	return 1;
}

static int get_text(struct extracted *x, struct cursor *c, uint64_t len, struct err *e)
{
	const char *s = take(c, len);

	if (!s || len > x->text.max || !utf8_valid(s, (size_t)len) || memchr(s, 0, (size_t)len))
		return bad(e, "its text");
	return buf_put(&x->text, s, (size_t)len) == OK ? OK : err_set(e, E_MEMORY, "text of %zu bytes: out of memory", (size_t)len);
}

static int starts_character(const struct buf *text, size_t off)
{
	return off == text->len || ((unsigned char)text->data[off] & 0xc0) != 0x80;
}

static int block_fits(const struct extracted *x, const struct wire_block *w, size_t after)
{
	return w->kind <= BLOCK_QUOTE && w->level >= 0 && w->level <= HEADING_LEVEL_MAX && w->len > 0 && w->off >= after
		&& w->off <= x->text.len && w->len <= x->text.len - w->off && w->mark < w->len
		&& starts_character(&x->text, (size_t)w->off) && starts_character(&x->text, (size_t)(w->off + w->len))
		&& starts_character(&x->text, (size_t)(w->off + w->mark));
}

static int get_blocks(struct extracted *x, struct cursor *c, uint64_t n, struct err *e)
{
	size_t after = 0;

	if (n > c->left / sizeof(struct wire_block))
		return bad(e, "its number of blocks");
	x->blocks = n ? mem_calloc((size_t)n, sizeof *x->blocks) : NULL;
	if (n && !x->blocks)
		return err_set(e, E_MEMORY, "%zu blocks: out of memory", (size_t)n);
	x->block_cap = (size_t)n;
	for (uint64_t i = 0; i < n; i++) {
		struct wire_block w;

		memcpy(&w, take(c, sizeof w), sizeof w);
		if (!block_fits(x, &w, after))
			return bad(e, "a block");
		x->blocks[x->block_n++] = (struct block){ .kind = (enum block_kind)w.kind, .level = w.level, .group = w.group,
			.page = w.page, .mark = w.mark, .off = (size_t)w.off, .len = (size_t)w.len };
		after = (size_t)(w.off + w.len);
	}
	return OK;
}

static int get_part(struct part *p, struct cursor *c, struct err *e)
{
	char name[PART_NAME_MAX];
	uint64_t lens[2];
	const char *s = take(c, sizeof lens), *data;

	if (!s)
		return bad(e, "a part");
	memcpy(lens, s, sizeof lens);
	if (lens[0] == 0 || !get_line(c, lens[0], name, sizeof name))
		return bad(e, "a part's name");
	data = take(c, lens[1]);
	if (!data)
		return bad(e, "a part's length");
	p->name = mem_strdup(name);
	p->data = mem_strndup(data, (size_t)lens[1]);
	p->len = (size_t)lens[1];
	return p->name && p->data ? OK : err_set(e, E_MEMORY, "part of %zu bytes: out of memory", p->len);
}

static int get_parts(struct extracted *x, struct cursor *c, uint64_t n, struct err *e)
{
	int rc = OK;

	if (n == 0)
		return OK;
	if (n > c->left / (2 * sizeof(uint64_t)))
		return bad(e, "its number of parts");
	x->parts = mem_calloc((size_t)n, sizeof *x->parts);
	if (!x->parts)
		return err_set(e, E_MEMORY, "%zu parts: out of memory", (size_t)n);
	for (uint64_t i = 0; i < n && rc == OK; i++)
		rc = get_part(&x->parts[x->part_n++], c, e);
	return rc;
}

int wire_get(struct extracted *x, const char *data, size_t len, size_t text_bytes_max, struct err *e)
{
	struct cursor c = { data, len };
	struct wire_head h;
	const char *s = take(&c, sizeof h);
	char type[8];
	int rc;

	memset(x, 0, sizeof *x);
	buf_init(&x->text, text_bytes_max < UINT32_MAX ? text_bytes_max : UINT32_MAX);
	x->type = "txt";
	if (!s)
		return bad(e, "its length");
	memcpy(&h, s, sizeof h);
	if (h.verdict > EXTRACT_FAILED || h.needs_boxes > 1)
		return bad(e, "its verdict");
	x->verdict = (int)h.verdict;
	x->needs_boxes = (int)h.needs_boxes;
	if (!get_line(&c, h.title_len, x->title, sizeof x->title))
		return bad(e, "its title");
	if (!get_line(&c, h.type_len, type, sizeof type))
		return bad(e, "its type");
	for (size_t i = 0; i <= sizeof types / sizeof *types; i++) {
		if (i == sizeof types / sizeof *types)
			return bad(e, "its type");
		if (strcmp(types[i], type) == 0) {
			x->type = types[i];
			break;
		}
	}
	if (!get_line(&c, h.reason_len, x->reason, sizeof x->reason))
		return bad(e, "its reason");
	rc = get_text(x, &c, h.text_len, e);
	if (rc == OK)
		rc = get_blocks(x, &c, h.block_n, e);
	if (rc == OK)
		rc = get_parts(x, &c, h.part_n, e);
	if (rc == OK && (c.left != 0 || (x->verdict >= EXTRACT_SKIPPED && x->text.len > 0)))
		rc = bad(e, "its end");
	return rc;
}
