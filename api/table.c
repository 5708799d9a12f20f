/* table.c: owns how a row of a table is read (table.h).
 *
 * Extractors write a row as a line, its cells parted by " | ", the rows of a table below each other and an empty line around
 * them (ingest/extract.h). Which row names the columns is not kept, so it is seen from what stands there: the first one, when
 * it has a name for every column, none twice and none with a digit, and is no row of values that happen to have no digits
 * ("Monday | closed"); a table of two columns must have digits in the second of every other row that was looked at, for many
 * such tables name their rows alone.
 * Threads: no state. Failure: what is not understood is no table, or one without names. */
#include "api/table.h"
#include <string.h>
#include <strings.h>
#include "base/words.h"

enum { LOOK_BACK = 64 << 10, ROWS_LOOKED_AT = 16, NAME_BYTES = 80 };
/* What stands in cells of values. */
static const char *const values[] = { "yes", "no", "closed", "open", "free", "none", "n/a", "-", "–", "x", "ja", "nein", "geschlossen", "frei", "kostenlos",
	"gratis", "sí", "cerrado", "oui", "non", "fermé" };

static struct span trimmed(const char *text, size_t from, size_t to)
{
	while (from < to && (text[from] == ' ' || text[from] == '\t')) from++;
	while (to > from && (text[to - 1] == ' ' || text[to - 1] == '\t')) to--;
	return (struct span){ (uint32_t)from, (uint32_t)(to - from) };
}

/* The cells of a line, parted by bars; 0: fewer than two, or too many. */
static size_t bars_split(const char *text, size_t from, size_t to, struct span out[TABLE_COLUMNS_MAX])
{
	size_t n = 0, begin = from;
	for (size_t i = from; i <= to; i++) {
		int bar = i < to && text[i] == '|' && (i == from || text[i - 1] == ' ') && (i + 1 == to || text[i + 1] == ' ');
		if (!bar && i < to) continue;
		if (n == TABLE_COLUMNS_MAX) return 0;
		out[n++] = trimmed(text, begin, i);
		begin = i + 1;
	}
	return n > 1 ? n : 0;
}

/* "Name: value; Name: value". */
static size_t names_split(const char *text, size_t from, size_t to, struct table_cell out[TABLE_COLUMNS_MAX])
{
	size_t n = 0, begin = from;
	for (size_t i = from; i <= to; i++) {
		if (i < to && !(text[i] == ';' && i + 1 < to && text[i + 1] == ' ')) continue;
		const char *colon = i - begin > 2 ? memmem(text + begin, i - begin, ": ", 2) : NULL;
		size_t name = colon ? (size_t)(colon - text) : 0;
		if (!colon || name == begin || name - begin > NAME_BYTES || n == TABLE_COLUMNS_MAX) return 0;
		out[n++] = (struct table_cell){ trimmed(text, begin, name), trimmed(text, name + 2, i), 0 };
		begin = i + 2;
	}
	return n > 1 ? n : 0;
}

static size_t line_end(const char *text, size_t len, size_t at)
{
	const char *nl = at < len ? memchr(text + at, '\n', len - at) : NULL;
	return nl ? (size_t)(nl - text) : len;
}

/* Where the lines around `at` that no empty line parts begin. */
static size_t block_begin(const char *text, size_t at)
{
	size_t low = at > LOOK_BACK ? at - LOOK_BACK : 0;
	while (at > low && !(at >= 2 && text[at - 1] == '\n' && text[at - 2] == '\n')) at--;
	return at;
}

static int same(const char *text, struct span a, struct span b)
{
	return a.len == b.len && strncasecmp(text + a.off, text + b.off, a.len) == 0;
}

static int is_value(const char *text, struct span s)
{
	if (!s.len || s.len > NAME_BYTES || text_has_digit(text + s.off, s.len)) return 1;
	for (size_t i = 0; i < sizeof values / sizeof *values; i++)
		if (strlen(values[i]) == s.len && strncasecmp(text + s.off, values[i], s.len) == 0) return 1;
	return 0;
}

/* Do these n cells of the line that ends at `end` name the columns of the lines below? The first may be empty. */
static int is_head(const char *text, size_t len, const struct span *cells, size_t n, size_t end)
{
	struct span row[TABLE_COLUMNS_MAX];
	size_t rows = 0, figures = 0;
	for (size_t i = 0; i < n; i++) {
		if (is_value(text, cells[i]) && (i || cells[i].len)) return 0;
		for (size_t k = 0; k < i; k++)
			if (same(text, cells[i], cells[k])) return 0;
	}
	for (size_t at = end + 1; at < len && rows < ROWS_LOOKED_AT; at = line_end(text, len, at) + 1) {
		if (bars_split(text, at, line_end(text, len, at), row) != n) break;
		figures += (size_t)text_has_digit(text + row[1].off, row[1].len);
		rows++;
	}
	return rows && (n > 2 || (rows > 1 && figures == rows));
}

static int bars_row(const char *text, size_t len, struct span range, struct table_row *out)
{
	struct span cells[TABLE_COLUMNS_MAX], head[TABLE_COLUMNS_MAX];
	size_t n = bars_split(text, range.off, range.off + range.len, cells), end;
	if (!n) return 0;
	out->cell_n = n;
	out->top = block_begin(text, range.off);
	end = line_end(text, len, out->top);
	out->named = bars_split(text, out->top, end, head) == n && is_head(text, len, head, n, end);
	out->is_head = out->named && out->top == range.off;
	for (size_t i = 0; i < n; i++) out->cells[i] = (struct table_cell){ out->named ? head[i] : (struct span){ 0 }, cells[i], 0 };
	return 1;
}

/* A line beside it has a first column of the same name. */
static int named_alike(const char *text, size_t len, size_t at, struct span name)
{
	return at < len && len - at > name.len + 2 && memcmp(text + at, text + name.off, name.len) == 0 && text[at + name.len] == ':';
}

static int names_row(const char *text, size_t len, struct span range, struct table_row *out)
{
	size_t n = names_split(text, range.off, range.off + range.len, out->cells), above = range.off;
	if (!n) return 0;
	if (above) for (above--; above && text[above - 1] != '\n';) above--;
	if (!named_alike(text, len, range.off + range.len + 1, out->cells[0].name) &&
		!(above < range.off && named_alike(text, len, above, out->cells[0].name)))
		return 0;
	out->cell_n = n;
	out->named = 1;
	out->top = block_begin(text, range.off);
	return 1;
}

int table_row(const char *text, size_t len, struct span range, struct table_row *out)
{
	size_t end = (size_t)range.off + range.len;
	memset(out, 0, sizeof *out);
	if (end > len || (range.off && text[range.off - 1] != '\n') || (end < len && text[end] != '\n')) return 0;
	return bars_row(text, len, range, out) || names_row(text, len, range, out);
}

const char *table_said(const char *text, struct table_row *row, struct arena *a)
{
	size_t need = 1, at = 0;
	for (size_t i = 0; i < row->cell_n; i++) need += row->cells[i].name.len + row->cells[i].value.len + 5;
	char *out = arena_alloc(a, need);
	if (!out) return NULL;
	for (size_t i = 0; i < row->cell_n; i++) {
		struct table_cell *c = &row->cells[i];
		if (!c->value.len) continue;
		if (at) memcpy(out + at, row->named ? "; " : " | ", row->named ? 2 : 3), at += row->named ? 2 : 3;
		memcpy(out + at, text + c->name.off, c->name.len), at += c->name.len;
		if (c->name.len) out[at++] = ':', out[at++] = ' ';
		c->said_off = (uint32_t)at;
		memcpy(out + at, text + c->value.off, c->value.len), at += c->value.len;
	}
	out[at] = 0;
	return out;
}

int table_cell_at(const struct table_row *row, size_t off, int said)
{
	for (size_t i = 0; i < row->cell_n; i++) {
		const struct table_cell *c = &row->cells[i];
		size_t from = said ? c->said_off : c->value.off;
		if (c->value.len && off >= from && off < from + c->value.len) return (int)i;
	}
	return -1;
}
