/* cmd_docs.c: `footnote docs list|show|text`, `footnote delete` and `footnote erase`.
 *
 * A list is read a page at a time, each from a snapshot of its own that is closed before the page is printed: a reader
 * that stops reading in the middle (a pager) must not keep the store from reusing its pages.
 * Threads: runs in its caller's. Failure: an error line and the exit code of its kind; 3 for an id nobody knows. */
#include <stdlib.h>
#include <string.h>
#include "api/command.h"
#include "api/remove.h"
#include "api/screen.h"
#include "api/view.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/flag.h"

enum { PAGE_DOCS = 256, ARENA_BYTES_MAX = 512 << 20, LINE_BYTES_MAX = 1 << 20, TITLE_CHARS = 60,
	TEXT_PART_BYTES = 1 << 20 };

/* ---- list ---- */

static int doc_line(struct command_call *c, const struct doc *d, int with_verdict, struct err *e)
{
	struct buf b;
	int left;
	if (c->json) return command_json(c, view_document(d), e);
	buf_init(&b, LINE_BYTES_MAX);
	buf_printf(&b, "%s  ", d->id);
	if (with_verdict) buf_printf(&b, "%-9s ", doc_verdict_name(d->verdict));
	buf_printf(&b, "%8llu chars %5u %-6s  ", (unsigned long long)d->chars, d->chunks,
		d->chunks == 1 ? "chunk" : "chunks");
	screen_line(&b, d->title, strlen(d->title), TITLE_CHARS);
	if (*d->source) buf_puts(&b, " — ");
	screen_line(&b, d->source, strlen(d->source), 0);
	if (with_verdict && *d->reason) buf_puts(&b, ": ");
	if (with_verdict) screen_line(&b, d->reason, strlen(d->reason), 0);
	left = out_printf(c->out, 1, "%s\n", buf_cstr(&b));
	buf_clear(&b);
	return left ? err_set(e, E_CANCELLED, "the reader of the output left") : OK;
}

static int page_read(struct command_call *c, uint64_t after, unsigned mask, size_t max, struct arena *a,
	struct doc *docs, size_t *got, struct err *e)
{
	struct reader reader = { .collection = c->collection, .all_groups = 1 };
	struct snapshot *s;
	int rc = snapshot_open(&s, c->service->index, e);
	if (rc) return rc;
	rc = snapshot_docs(s, &reader, after, mask, max, a, docs, got, e);
	snapshot_close(s);
	return rc;
}

static int docs_list(struct command_call *c, unsigned mask, size_t limit, struct err *e)
{
	struct arena arena;
	uint64_t after = 0;
	size_t got, max, told = 0;
	int rc;
	arena_init(&arena, ARENA_BYTES_MAX);
	do {
		struct doc *docs = arena_alloc(&arena, PAGE_DOCS * sizeof *docs);
		max = limit - told < PAGE_DOCS ? limit - told : PAGE_DOCS;
		rc = docs ? page_read(c, after, mask, max, &arena, docs, &got, e) : err_set(e, E_MEMORY, "out of memory");
		for (size_t i = 0; !rc && i < got; i++) rc = doc_line(c, &docs[i], mask != 0, e);
		if (!rc && got) after = docs[got - 1].key;
		told += rc ? 0 : got;
		arena_clear(&arena);
		if (!rc && flag_is(c->cancel)) rc = err_set(e, E_CANCELLED, "docs list: interrupted");
	} while (!rc && got == max && told < limit);
	if (!rc && !told && !c->json && !c->quiet)
		out_printf(c->out, 1, mask ? "no such documents\n" : "no documents (footnote ingest PATH adds some)\n");
	arena_clear(&arena);
	return rc;
}

/* ---- show and text ---- */

static void field(struct command_call *c, const char *name, const char *text)
{
	struct buf b;
	if (!*text) return;
	buf_init(&b, LINE_BYTES_MAX);
	screen_line(&b, text, strlen(text), 0);
	out_printf(c->out, 1, "%-12s %s\n", name, buf_cstr(&b));
	buf_clear(&b);
}

static int doc_show(struct command_call *c, const struct doc *d, struct err *e)
{
	char added[CLOCK_TEXT_LEN], updated[CLOCK_TEXT_LEN];
	if (c->json) return command_json(c, view_document(d), e);
	clock_text(added, d->added_ms);
	clock_text(updated, d->updated_ms);
	field(c, "id", d->id);
	field(c, "title", d->title);
	field(c, "source", d->source);
	field(c, "type", d->type);
	field(c, "collection", d->collection);
	field(c, "verdict", doc_verdict_name(d->verdict));
	field(c, "reason", d->reason);
	field(c, "duplicate of", d->duplicate_of);
	out_printf(c->out, 1, "%-12s %llu bytes, %llu chars, %u chunks\n", "size", (unsigned long long)d->bytes,
		(unsigned long long)d->chars, d->chunks);
	out_printf(c->out, 1, "%-12s %u, added %s, updated %s\n", "revision", d->revision, added, updated);
	field(c, "meta", d->meta);
	for (size_t i = 0; i < d->acl_n; i++) field(c, i ? "" : "acl", d->acl[i]);
	return OK;
}

static int doc_text(struct command_call *c, struct snapshot *s, const struct doc *d, struct err *e)
{
	const char *text;
	size_t len, part;
	int rc = snapshot_text(s, d, &text, &len, e);
	for (size_t at = 0; !rc && at < len; at += part) {
		part = len - at < TEXT_PART_BYTES ? len - at : TEXT_PART_BYTES;
		if (c->out->write(c->out->ctx, 1, text + at, part)) {
			c->out->broken = 1;
			rc = err_set(e, E_CANCELLED, "the reader of the output left");
		}
	}
	return rc;
}

static int doc_by_id(struct command_call *c, const char *id, int as_text, struct err *e)
{
	struct reader reader = { .all_groups = 1 };
	struct snapshot *s = NULL;
	struct arena arena;
	struct doc d;
	int rc;
	arena_init(&arena, ARENA_BYTES_MAX);
	rc = snapshot_open(&s, c->service->index, e);
	if (!rc) rc = snapshot_doc(s, &reader, id, &arena, &d, e);
	if (!rc) rc = as_text ? doc_text(c, s, &d, e) : doc_show(c, &d, e);
	if (s) snapshot_close(s);
	arena_clear(&arena);
	return rc;
}

int cmd_docs(struct command_call *c)
{
	long limit = 0;
	const char *verdict = NULL, *what;
	struct option options[] = {
		{"--limit", OPTION_NUMBER, &limit, 1, 1000000000}, {"--verdict", OPTION_TEXT, &verdict, 0, 0},
	};
	struct err e = {0};
	int list, rc = options_parse(c, options, 2, &e);
	what = c->argc > 1 ? c->argv[1] : "";
	list = strcmp(what, "list") == 0;
	if (!rc && !list && strcmp(what, "show") != 0 && strcmp(what, "text") != 0)
		rc = err_set(&e, E_USAGE, "docs: must be list, show or text");
	if (!rc && c->argc != (list ? 2 : 3))
		rc = err_set(&e, E_USAGE, list ? "docs list: takes no argument" : "docs %s: takes one document id", what);
	if (!rc && verdict && doc_verdict_parse(verdict) < 0)
		rc = err_set(&e, E_USAGE, "--verdict %.60s: unknown", verdict);
	if (rc) return command_misused(c, &e);
	if (list) rc = docs_list(c, verdict ? 1u << doc_verdict_parse(verdict) : 0, limit ? (size_t)limit : SIZE_MAX, &e);
	else rc = doc_by_id(c, c->argv[2], strcmp(what, "text") == 0, &e);
	return rc ? command_fail(c, &e) : EXIT_DONE;
}

/* ---- delete ---- */

/* The document that was stored under this path, or under this text as it stands (a pushed source). */
static int doc_of_source(struct command_call *c, struct snapshot *s, const char *source, struct arena *a, struct doc *d,
	struct err *e)
{
	struct reader reader = { .collection = c->collection, .all_groups = 1 };
	struct buf path;
	int rc;
	buf_init(&path, LINE_BYTES_MAX);
	rc = path_absolute(&path, c->cwd, source, e);
	if (!rc) rc = snapshot_doc_by_source(s, &reader, c->collection, buf_cstr(&path), a, d, e);
	if (rc == E_NOT_FOUND) rc = snapshot_doc_by_source(s, &reader, c->collection, source, a, d, e);
	if (rc == E_NOT_FOUND) err_set(e, E_NOT_FOUND, "no document with source %.180s", buf_cstr(&path));
	buf_clear(&path);
	return rc;
}

int command_document(struct command_call *c, const char *id, const char *source, struct arena *a, struct doc *d,
	struct err *e)
{
	struct reader everyone = { .all_groups = 1 };
	struct snapshot *s;
	int rc = snapshot_open(&s, c->service->index, e);
	if (rc) return rc;
	rc = source ? doc_of_source(c, s, source, a, d, e) : snapshot_doc(s, &everyone, id, a, d, e);
	snapshot_close(s);
	return rc;
}

/* What a command names, with what goes with it. */
static int target_plan(struct command_call *c, const char *id, const char *source, struct arena *a, struct removal *m,
	struct err *e)
{
	struct snapshot *s;
	struct doc d;
	int rc = command_document(c, id, source, a, &d, e);
	if (!rc) rc = snapshot_open(&s, c->service->index, e);
	if (rc) return rc;
	rc = remove_plan(m, s, &d, a, e);
	snapshot_close(s);
	return rc;
}

static int deleted_print(struct command_call *c, const struct ingest_part *d, struct err *e)
{
	cJSON *o;
	if (!c->json) {
		if (!c->quiet) out_printf(c->out, 1, "removed   %s%s%s\n", d->id, *d->source ? " — " : "", d->source);
		return OK;
	}
	o = cJSON_CreateObject();
	if (!o || !cJSON_AddStringToObject(o, "source", d->source) ||
		!cJSON_AddStringToObject(o, "verdict", doc_verdict_name(DOC_REMOVED)) ||
		!cJSON_AddStringToObject(o, "document_id", d->id)) {
		cJSON_Delete(o);
		o = NULL;
	}
	return command_json(c, o, e);
}

/* The arguments of delete and erase: one id, or --source. */
static int target_parse(struct command_call *c, const struct option *o, size_t n, const char *const *source,
	struct err *e)
{
	int rc = options_parse(c, o, n, e);
	if (!rc && (*source ? c->argc != 1 : c->argc != 2))
		rc = err_set(e, E_USAGE, "%s: takes one document id, or --source PATH", c->argv[0]);
	return rc;
}

int cmd_delete(struct command_call *c)
{
	const char *source = NULL;
	struct option options[] = { {"--source", OPTION_TEXT, &source, 0, 0} };
	struct removal m;
	struct arena arena;
	struct err e = {0};
	int rc = target_parse(c, options, 1, &source, &e);
	if (rc) return command_misused(c, &e);
	arena_init(&arena, ARENA_BYTES_MAX);
	rc = target_plan(c, c->argv[1], source, &arena, &m, &e);
	if (!rc) rc = remove_delete(c->service->index, &m, &e);
	for (size_t i = 0; !rc && i < m.n; i++) rc = deleted_print(c, &m.docs[m.n - 1 - i], &e);
	arena_clear(&arena);
	return rc ? command_fail(c, &e) : EXIT_DONE;
}

/* ---- erase ---- */

static int erased_print(struct command_call *c, const struct ingest_part *d, const struct index_erasure *r, struct err *e)
{
	char size[24];
	struct buf b;
	if (c->json) return command_json(c, view_erasure(r), e);
	screen_bytes(size, r->bytes_rewritten);
	buf_init(&b, LINE_BYTES_MAX);
	buf_printf(&b, "%s%s", d->id, *d->source ? " — " : "");
	screen_line(&b, d->source, strlen(d->source), 0);
	out_printf(c->out, 1, "erased    %s\nreceipt   %s\n", buf_cstr(&b), r->receipt);
	buf_clear(&b);
	out_printf(c->out, 1, "verified  %s written anew and read raw: of %llu pieces of the document none is left", size,
		(unsigned long long)r->samples);
	if (r->shared) out_printf(c->out, 1, ", but %llu that other documents also hold", (unsigned long long)r->shared);
	out_printf(c->out, 1, "\n");
	if (r->duplicates || r->notes)
		out_printf(c->out, 1, "with it   %llu records of files with the same content, %llu notes that named its file\n",
			(unsigned long long)r->duplicates, (unsigned long long)r->notes);
	return OK;
}

static int receipt_line(struct command_call *c, const struct note *n, struct err *e)
{
	cJSON *o;
	int rc = json_parse(&o, n->json, n->len, n->len, "receipt", e);
	if (rc || c->json) return rc ? rc : command_json(c, o, e);
	out_printf(c->out, 1, "%s  %s  %-8s source %.16s…  content %.16s…\n", n->name, json_str(o, "erased_at", ""),
		json_str(o, "state", ""), json_str(o, "source_sha256", ""), json_str(o, "content_sha256", ""));
	cJSON_Delete(o);
	return OK;
}

static int receipts_list(struct command_call *c, struct err *e)
{
	struct arena arena;
	struct note *page;
	const char *after = "";
	size_t got = PAGE_DOCS;
	int rc = OK;
	arena_init(&arena, ARENA_BYTES_MAX);
	page = arena_alloc(&arena, PAGE_DOCS * sizeof *page);
	if (!page) rc = err_set(e, E_MEMORY, "out of memory");
	while (!rc && got == PAGE_DOCS) {
		struct snapshot *s;
		rc = snapshot_open(&s, c->service->index, e);
		if (rc) break;
		rc = snapshot_notes(s, NOTE_ERASURE, after, PAGE_DOCS, &arena, page, &got, e);
		snapshot_close(s);
		for (size_t i = 0; !rc && i < got; i++) {
			rc = receipt_line(c, &page[i], e);
			after = page[i].name;
		}
	}
	arena_clear(&arena);
	return rc;
}

int cmd_erase(struct command_call *c)
{
	const char *source = NULL;
	int list = 0;
	struct option options[] = { {"--source", OPTION_TEXT, &source, 0, 0}, {"--list", OPTION_FLAG, &list, 0, 0} };
	struct removal m;
	struct arena arena;
	struct err e = {0};
	int rc = options_parse(c, options, 2, &e);
	if (!rc && (list || source ? c->argc != 1 || (list && source) : c->argc != 2))
		rc = err_set(&e, E_USAGE, "erase: takes one document id, or --source PATH, or --list");
	if (rc) return command_misused(c, &e);
	if (list) return receipts_list(c, &e) ? command_fail(c, &e) : EXIT_DONE;
	arena_init(&arena, ARENA_BYTES_MAX);
	rc = target_plan(c, c->argv[1], source, &arena, &m, &e);
	if (!rc) rc = remove_erase(c->service, &m, &e);
	for (size_t i = 0; !rc && i < m.n; i++) rc = erased_print(c, &m.docs[m.n - 1 - i], &m.receipts[m.n - 1 - i], &e);
	if (!rc && !c->quiet && !c->json)
		out_printf(c->out, 1, "Backups made before still hold it, and so does the file it came from.\n");
	arena_clear(&arena);
	return rc ? command_fail(c, &e) : EXIT_DONE;
}
