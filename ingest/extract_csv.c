/* extract_csv.c: tables of values separated by commas, semicolons, tabs or bars (RFC 4180 and its dialects). Owns the
 * way to libcsv.
 *
 * Which separator it is, is measured: each candidate reads the first records, and the one whose records agree best on
 * their number of fields wins, more fields before fewer. Then every record is a row of one table, its cells joined as
 * those of an HTML table are, or, because a row of figures means nothing without the names of its columns and is quoted
 * alone, each with its column's name in front where the first full record names the columns. A quoted line break
 * becomes a blank. A quote that is never closed would make one cell of all that follows: the record it stands in and
 * those behind it are read again with quotes as plain characters, and the document is partial.
 * Threads: one document, one thread. Failure: memory; text that is no table is left to extract_txt. */
#include "ingest/extract.h"

#include <csv.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "ingest/clean.h"

enum { SNIFF_BYTES = 64 * 1024, SNIFF_RECORDS = 100, COLUMNS_NAMED = 40, NAME_BYTES = 80 };

/* ---- which separator ---- */

struct tally { size_t fields, records, most, agree, first; };

static void tally_field(void *s, size_t len, void *ctx)
{
	struct tally *t = ctx;

	(void)s, (void)len;
	t->fields++;
}

static void tally_record(int end, void *ctx)
{
	struct tally *t = ctx;

	(void)end;
	if (t->fields > 0 && t->records < SNIFF_RECORDS) {
		if (t->records++ == 0)
			t->first = t->fields;
		t->agree += t->fields == t->most || t->records == 1;
		t->most = t->fields > t->most ? t->fields : t->most;
	}
	t->fields = 0;
}

static int reader_init(struct csv_parser *p, char separator)
{
	if (csv_init(p, CSV_APPEND_NULL) != 0)
		return 0;
	csv_set_delim(p, (unsigned char)separator);
	csv_set_realloc_func(p, mem_realloc);
	csv_set_free_func(p, mem_free);
	return 1;
}

/* The separator that the beginning of text uses, or 0 when no two fields lie side by side. */
static char separator_of(const char *text, size_t len)
{
	static const char candidates[] = { '\t', ';', ',', '|' };
	double best = 0;
	char found = 0;

	len = len < SNIFF_BYTES ? len : SNIFF_BYTES;
	for (size_t i = 0; i < sizeof candidates; i++) {
		struct csv_parser p;
		struct tally t = { 0 };
		double score;

		if (!reader_init(&p, candidates[i]))
			return 0;
		csv_parse(&p, text, len, tally_field, tally_record, &t);
		csv_fini(&p, tally_field, tally_record, &t);
		csv_free(&p);
		if (t.records == 0 || t.most < 2)
			continue;
		score = (double)t.agree / (double)t.records + 0.25 * (1 - 1 / (double)t.most);
		if (score > best) {
			best = score;
			found = candidates[i];
		}
	}
	return found;
}

/* ---- rows ---- */

struct table {
	struct builder *b;
	struct buf row, names;  /* cells of the open record, and of the one that names the columns, each ended by a NUL */
	size_t cells, columns;  /* columns: 0 while no record has named them */
	size_t records;         /* ended so far */
	int looked;             /* the record that could have named them is past */
};

static void cell_gather(void *s, size_t len, void *ctx)
{
	struct table *t = ctx;
	const char *text = s;
	size_t from = t->row.len;

	for (size_t i = 0; i < len && !builder_stopped(t->b); i++) {    /* one line a row */
		char c = text[i] == '\n' || text[i] == '\r' || text[i] == '\t' || text[i] == 0 ? ' ' : text[i];

		if (c != ' ' || (t->row.len > from && t->row.data[t->row.len - 1] != ' '))
			buf_putc(&t->row, c);
	}
	while (t->row.len > from && t->row.data[t->row.len - 1] == ' ')
		t->row.len--;
	t->cells++;
	if (buf_putc(&t->row, 0) != OK && t->b->rc == OK)
		t->b->rc = err_set(t->b->e, E_MEMORY, "row of %zu bytes: out of memory", t->row.len);
}

static size_t filled_cells(const struct table *t)
{
	const char *cell = buf_cstr(&t->row);
	size_t n = 0;

	for (size_t i = 0; i < t->cells; i++, cell += strlen(cell) + 1)
		n += !clean_is_blank(cell, strlen(cell));
	return n;
}

/* Can this record be names of columns? Each is there once, is short, and is a word, not a figure. */
static int is_names(const struct table *t)
{
	const char *cell = buf_cstr(&t->row);

	if (t->cells < 2 || t->cells > COLUMNS_NAMED)
		return 0;
	for (size_t i = 0; i < t->cells; i++, cell += strlen(cell) + 1) {
		const char *before = buf_cstr(&t->row);

		if (clean_is_blank(cell, strlen(cell)) || strlen(cell) > NAME_BYTES || strspn(cell, "0123456789.,-+ %/:") == strlen(cell))
			return 0;
		for (; before < cell; before += strlen(before) + 1)
			if (strcmp(before, cell) == 0)
				return 0;
	}
	return 1;
}

/* "Blues | STL | 1", without the empty cells at its end. */
static void put_plain(struct table *t)
{
	const char *cell = buf_cstr(&t->row);
	size_t waiting = 0;

	for (size_t i = 0; i < t->cells; i++, cell += strlen(cell) + 1) {
		if (!clean_is_blank(cell, strlen(cell))) {
			for (; waiting > 0; waiting--)
				builder_put(t->b, " | ", 3);
			builder_put(t->b, cell, strlen(cell));
		}
		waiting++;
	}
}

/* "Team: Blues; Location: STL; Cups: 1", without the empty cells. */
static void put_named(struct table *t)
{
	const char *cell = buf_cstr(&t->row), *name = buf_cstr(&t->names);
	int first = 1;

	for (size_t i = 0; i < t->cells; i++, cell += strlen(cell) + 1) {
		if (!clean_is_blank(cell, strlen(cell))) {
			builder_put(t->b, "; ", first ? 0 : 2);
			if (i < t->columns) {
				builder_put(t->b, name, strlen(name));
				builder_put(t->b, ": ", 2);
			}
			builder_put(t->b, cell, strlen(cell));
			first = 0;
		}
		name += i < t->columns ? strlen(name) + 1 : 0;
	}
}

static void record_end(int end, void *ctx)
{
	struct table *t = ctx;
	size_t filled = builder_stopped(t->b) ? 0 : filled_cells(t);

	(void)end;
	if (filled == 1 && !t->looked) {                        /* a line above the table */
		builder_open(t->b, BLOCK_PARAGRAPH, 0, 0);
		put_plain(t);
		if (t->b->x->block_n == 0)
			extracted_title(t->b->x, t->b->cur.data, t->b->cur.len);
	} else if (filled > 0) {
		builder_open(t->b, BLOCK_TABLE_ROW, 0, 1);
		if (t->columns > 0) {
			put_named(t);
		} else {
			put_plain(t);
			if (!t->looked && is_names(t) && buf_put(&t->names, t->row.data, t->row.len) == OK)
				t->columns = t->cells;
		}
		t->looked = 1;
	}
	builder_close(t->b);
	buf_reset(&t->row);
	t->cells = 0;
	t->records++;
}

/* Reads all records of text; *begun is where the last one began that may not have ended. */
static int records_read(struct csv_parser *p, struct table *t, const char *text, size_t len, size_t *begun)
{
	size_t at = 0;

	*begun = 0;
	while (at < len) {
		size_t n = at, records = t->records;

		while (n < len && text[n] != '\n' && text[n] != '\r')
			n++;
		n += n + 1 < len && text[n] == '\r' && text[n + 1] == '\n';
		n += n < len;
		if (csv_parse(p, text + at, n - at, cell_gather, record_end, t) != n - at)
			return 0;
		at = n;
		if (t->records > records)
			*begun = at;
	}
	return 1;
}

/* Ends the last record. 0: it could not; *open is 1 when a quote in it is never closed. */
static int records_end(struct csv_parser *p, struct table *t, int *open)
{
	csv_set_opts(p, CSV_APPEND_NULL | CSV_STRICT | CSV_STRICT_FINI);
	*open = csv_fini(p, cell_gather, record_end, t) != 0 && csv_error(p) == CSV_EPARSE;
	return !*open && csv_error(p) == CSV_SUCCESS;
}

static size_t line_at(const char *text, size_t at)
{
	size_t line = 1;

	for (size_t i = 0; i < at; i++)
		line += text[i] == '\n' || (text[i] == '\r' && text[i + 1] != '\n');
	return line;
}

/* The rows of text; *open is where a record begins whose quote is never closed, so that it swallowed all behind it. */
static int rows_read(struct table *t, char separator, unsigned char quote, const char *text, size_t len, size_t *open)
{
	struct csv_parser p;
	size_t begun;
	int is_open = 0, ok;

	*open = len;
	if (!reader_init(&p, separator))
		return 0;
	csv_set_quote(&p, quote);
	ok = records_read(&p, t, text, len, &begun) && (records_end(&p, t, &is_open) || is_open);
	csv_free(&p);
	if (is_open)
		*open = begun;
	return ok;
}

int extract_csv(struct builder *b, const char *text, size_t len)
{
	struct table t = { .b = b };
	char separator = separator_of(text, len);
	size_t open, none;
	int ok;

	if (!separator)
		return 0;
	buf_init(&t.row, SIZE_MAX);
	buf_init(&t.names, SIZE_MAX);
	ok = rows_read(&t, separator, '"', text, len, &open);
	if (ok && open < len && !builder_stopped(b)) {
		extracted_note(b->x, EXTRACT_PARTIAL, "the quote in line %zu is never closed", line_at(text, open));
		buf_reset(&t.row);
		t.cells = 0;
		ok = rows_read(&t, separator, 0, text + open, len - open, &none);
	}
	if (!ok && b->rc == OK)
		b->rc = err_set(b->e, E_MEMORY, "table of %zu bytes: out of memory", len);
	buf_clear(&t.row);
	buf_clear(&t.names);
	return 1;
}
