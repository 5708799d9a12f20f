/* routes_documents.c: owns /v1/documents: the list, one document, its text, its file and pages, what is pushed,
 * what is deleted.
 *
 * Method: reads take one snapshot. Uploads become ingest_item()s, committed together; their verdicts come back in the
 * order of the parts. An uploaded file's source is its name, so that sending it again replaces it. An original is read
 * anew from where it was found and sent only while its bytes are those that were ingested. Threads: search pool for
 * reads, the one write thread for the rest. Failure: a pushed text that cannot be kept is 422; of several files the
 * good ones are kept and each tells its verdict. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "api/multipart.h"
#include "api/remove.h"
#include "api/route.h"
#include "api/view.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/stat.h"
#include "base/utf8.h"
#include "index/filter.h"
#include "ingest/tool.h"

enum { LIMIT_DEFAULT = 100, LIMIT_MAX = 1000, ACL_MAX = 256, ID_MAX = 63 };

/* ---- reading ---- */
/* A document may be a duplicate of one that its reader does not see any more: then it tells of none. */
static void duplicate_hide(struct snapshot *s, const struct reader *reader, struct arena *a, struct doc *d)
{
	struct doc of;
	if (!*d->duplicate_of || !snapshot_doc(s, reader, d->duplicate_of, a, &of, NULL))
		return;
	d->duplicate_of = "";
	d->reason = "same content as another document";
}

static int list_verdict(struct request *r, unsigned *mask, struct err *e)
{
	const char *s = query_text(r, "verdict");
	int v;
	*mask = 0;
	if (!s)
		return OK;
	if ((v = doc_verdict_parse(s)) < 0) {
		r->param = "verdict";
		return err_set(e, E_USAGE, "verdict: %.40s is not one of added, updated, partial, skipped, failed, duplicate", s);
	}
	*mask = 1u << v;
	return OK;
}

static cJSON *list_make(const struct doc *d, size_t n, int more)
{
	cJSON *o = cJSON_CreateObject(), *list = o ? cJSON_AddArrayToObject(o, "documents") : NULL;
	char cursor[24];
	for (size_t i = 0; list && i < n; i++) {
		cJSON *x = view_document(&d[i]);
		if (!x || !cJSON_AddItemToArray(list, x)) {
			cJSON_Delete(x);
			list = NULL;
		}
	}
	if (more)
		snprintf(cursor, sizeof cursor, "%llu", (unsigned long long)d[n - 1].key);
	if (list && (more ? cJSON_AddStringToObject(o, "next_cursor", cursor) : cJSON_AddNullToObject(o, "next_cursor")))
		return o;
	cJSON_Delete(o);
	return NULL;
}

int documents_list(struct request *r, struct err *e)
{
	struct reader reader, listed;
	struct filter *filter = NULL;
	struct snapshot *s = NULL;
	uint64_t limit, after;
	unsigned mask;
	struct doc *d;
	size_t got = 0;
	int rc;
	if (query_u64(r, "limit", 1, LIMIT_MAX, LIMIT_DEFAULT, &limit, e) ||
	    query_u64(r, "cursor", 0, UINT64_MAX - 1, 0, &after, e) || list_verdict(r, &mask, e) ||
	    request_reader(r, NULL, r->service->conf.collection, &reader, e))
		return e->status;
	listed = reader;
	if (request_filter(r, NULL, &listed, &filter, e))
		return e->status;
	d = arena_calloc(&r->arena, (size_t)limit + 1, sizeof *d);
	rc = d ? snapshot_open(&s, r->service->index, e) : err_set(e, E_MEMORY, "out of memory");
	/* One more than asked tells whether there is a next page. */
	if (!rc)
		rc = snapshot_docs(s, &listed, after, mask, (size_t)limit + 1, &r->arena, d, &got, e);
	for (size_t i = 0; !rc && i < got; i++)
		duplicate_hide(s, &reader, &r->arena, &d[i]);
	if (!rc)
		reply_json(r, 200, list_make(d, got > limit ? (size_t)limit : got, got > limit));
	snapshot_close(s);
	filter_free(filter);
	return rc;
}

/* The document of the path, in a snapshot that the caller closes. */
static int doc_open(struct request *r, struct snapshot **s, struct doc *d, struct err *e)
{
	struct reader reader;
	int rc;
	*s = NULL;
	if (request_reader(r, NULL, NULL, &reader, e))
		return e->status;
	rc = snapshot_open(s, r->service->index, e);
	if (!rc)
		rc = snapshot_doc(*s, &reader, r->segments[2], &r->arena, d, e);
	if (!rc)
		duplicate_hide(*s, &reader, &r->arena, d);
	return rc;
}

int documents_get(struct request *r, struct err *e)
{
	struct snapshot *s;
	struct doc d;
	int rc = doc_open(r, &s, &d, e);
	if (!rc)
		reply_json(r, 200, view_document(&d));
	snapshot_close(s);
	return rc;
}

int documents_text(struct request *r, struct err *e)
{
	struct snapshot *s = NULL;
	struct span span = { 0, 0 };
	struct doc d;
	const char *text;
	uint64_t start, end;
	size_t len;
	int rc = query_u64(r, "start", 0, UINT32_MAX, 0, &start, e);
	if (!rc)
		rc = query_u64(r, "end", 0, UINT32_MAX, UINT32_MAX, &end, e);
	if (!rc && end < start) {
		r->param = "end";
		rc = err_set(e, E_USAGE, "end: lies before start");
	}
	if (!rc)
		rc = doc_open(r, &s, &d, e);
	if (!rc)
		rc = snapshot_text(s, &d, &text, &len, e);
	if (!rc)
		rc = snapshot_text_range(s, &d, start, end, &span, e);
	if (!rc && (span.off > len || span.len > len - span.off))
		rc = err_set(e, E_CORRUPT, "document %s: a range outside its text", d.id);
	if (!rc && (rc = buf_put(&r->out, text + span.off, span.len)))
		err_set(e, rc, "document %s: its text does not fit a reply", d.id);
	if (!rc)
		reply_static(r, 200, "text/plain; charset=utf-8", buf_cstr(&r->out), r->out.len);
	snapshot_close(s);
	return rc;
}

/* Is the file that the document came from still what was ingested? E_NOT_FOUND, E_CONFLICT, told for people. */
static int original_check(const struct doc *d, struct err *e)
{
	struct stat st;
	if (*d->source != '/' || !d->source_mtime_ns)
		return err_set(e, E_NOT_FOUND, "document %s was sent to the service, which kept its text but not the file",
			d->id);
	if (stat(d->source, &st)) {
		if (strchr(path_base(d->source), '#'))
			return err_set(e, E_NOT_FOUND, "document %s is a part of another file; only whole files have an original",
				d->id);
		if (errno == EACCES)
			return err_set(e, E_NOT_FOUND, "the file of document %s may no longer be read", d->id);
		return err_set(e, E_NOT_FOUND, "the file of document %s is gone", d->id);
	}
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != d->source_size)
		return err_set(e, E_CONFLICT, "the file of document %s has changed since it was ingested", d->id);
	return OK;
}

/* "attachment; filename=…" in both forms of RFC 6266: ASCII for old clients, percent-encoded UTF-8. NULL: memory. */
static const char *disposition_make(struct request *r, const char *how, const char *name)
{
	struct buf plain, coded;
	const char *out = NULL;
	buf_init(&plain, 4096);
	buf_init(&coded, 3 * 4096);
	for (const unsigned char *c = (const unsigned char *)name; *c; c++) {
		int letter = (*c >= '0' && *c <= '9') || (*c >= 'A' && *c <= 'Z') || (*c >= 'a' && *c <= 'z') ||
			strchr("._-", *c);
		buf_put(&plain, letter || *c == ' ' ? (const char *)c : "_", 1);
		if (letter)
			buf_put(&coded, c, 1);
		else
			buf_printf(&coded, "%%%02X", *c);
	}
	if (!buf_failed(&plain) && !buf_failed(&coded))
		out = arena_printf(&r->arena, "%s; filename=\"%s\"; filename*=UTF-8''%s", how, buf_cstr(&plain),
			buf_cstr(&coded));
	buf_clear(&plain);
	buf_clear(&coded);
	return out;
}

/* A browser may show a PDF and plain text; whatever could be active is only ever saved. */
static int original_reply(struct request *r, const struct doc *d, struct err *e)
{
	int pdf = !strcmp(d->type, "pdf"), shown = pdf || !strcmp(d->type, "txt") || !strcmp(d->type, "md");
	r->disposition = disposition_make(r, shown ? "inline" : "attachment", path_base(d->source));
	if (!r->disposition)
		return err_set(e, E_MEMORY, "out of memory");
	/* no browser's view of a PDF works in a sandbox */
	r->policy = pdf ? "frame-ancestors 'none'" : "sandbox; default-src 'none'";
	reply_static(r, 200, pdf ? "application/pdf" : shown ? "text/plain" : "application/octet-stream",
		buf_cstr(&r->out), r->out.len);
	return OK;
}

/* The document of the path and the bytes of its file, appended to out; after a failure out is empty. */
static int original_read(struct request *r, struct doc *d, struct buf *out, struct err *e)
{
	struct snapshot *s = NULL;
	uint8_t hash[32];
	int rc = doc_open(r, &s, d, e);
	snapshot_close(s); /* d lives in the arena; a large file is not read under a read transaction */
	if (!rc)
		rc = original_check(d, e);
	if (!rc && d->source_size > r->service->conf.file_bytes_max) {
		r->fail_status = 413;
		rc = err_set(e, E_LIMIT, "document %s: its file is larger than ingest.file_bytes_max", d->id);
	}
	if (rc)
		return rc;
	if (file_read(d->source, out, e)) {
		buf_reset(out);
		return err_set(e, E_NOT_FOUND, "the file of document %s cannot be read", d->id);
	}
	/* What is sent is what was hashed: a file that changes meanwhile is told apart too. */
	sha256_of(buf_cstr(out), out->len, hash);
	if (memcmp(hash, d->hash, sizeof hash)) {
		buf_reset(out);
		return err_set(e, E_CONFLICT, "the file of document %s has changed since it was ingested", d->id);
	}
	return OK;
}

int documents_original(struct request *r, struct err *e)
{
	struct doc d;
	int rc = original_read(r, &d, &r->out, e);
	return rc ? rc : original_reply(r, &d, e);
}

/* ---- pictures of pages ---- */
/* "12.png" to 12; 0 when it is no such name. */
static unsigned page_parse(const char *s)
{
	unsigned n = 0;
	size_t i = 0;
	for (; s[i] >= '0' && s[i] <= '9' && i < 6; i++)
		n = n * 10 + (unsigned)(s[i] - '0');
	return i > 0 && *s != '0' && !strcmp(s + i, ".png") ? n : 0;
}

/* Page n of a PDF, drawn by pdftoppm in a process of its own, into out. A file without that page: E_NOT_FOUND. */
static int page_draw(struct request *r, const struct buf *pdf, unsigned n, struct buf *out, struct err *e)
{
	static const char png[] = "\x89PNG";
	const struct conf *c = &r->service->conf;
	struct tool_limits limits = { .memory_bytes = c->parser_memory_bytes, .seconds = c->parser_seconds,
		.cancel = &r->cancel };
	struct tool_result done;
	char page[16], pixels[16];
	const char *argv[] = { c->pdftoppm, "-png", "-singlefile", "-f", page, "-l", page, "-scale-to", pixels, "-", NULL };
	int rc;
	snprintf(page, sizeof page, "%u", n);
	snprintf(pixels, sizeof pixels, "%d", c->page_pixels);
	if ((rc = tool_run(argv, pdf->data, pdf->len, &limits, out, &done, e)))
		return rc;
	if (done.code == 0 && out->len > sizeof png && !memcmp(out->data, png, sizeof png - 1))
		return OK;
	buf_reset(out);
	return err_set(e, E_NOT_FOUND, "page %u: not drawn%s%s", n, *done.words ? ": " : "", done.words);
}

int documents_page(struct request *r, struct err *e)
{
	unsigned n = page_parse(r->segments[4]);
	struct buf pdf;
	struct doc d;
	int rc;
	if (!n)
		return err_set(e, E_NOT_FOUND, "no such page: %.40s; pages are named 1.png, 2.png …", r->segments[4]);
	buf_init(&pdf, r->service->conf.file_bytes_max);
	rc = original_read(r, &d, &pdf, e);
	if (!rc && strcmp(d.type, "pdf"))
		rc = err_set(e, E_NOT_FOUND, "document %s is no PDF; only those have pictures of pages", d.id);
	if (!rc)
		rc = page_draw(r, &pdf, n, &r->out, e);
	buf_clear(&pdf);
	if (!rc) {
		r->policy = "sandbox; default-src 'none'";
		reply_static(r, 200, "image/png", buf_cstr(&r->out), r->out.len);
	}
	return rc;
}

/* ---- deleting ---- */
/* DELETE with erase=true: as delete, and no byte is left; the reply is the receipt, with those of its parts. */
static int document_erase(struct request *r, struct removal *m, struct err *e)
{
	cJSON *o, *parts;
	int rc = remove_erase(r->service, m, e);
	if (rc)
		return rc;
	stat_count("footnote_ingest_total", "verdict=\"removed\"", m->n);
	o = view_erasure(&m->receipts[m->n - 1]);
	parts = o && m->n > 1 ? cJSON_AddArrayToObject(o, "parts") : NULL;
	for (size_t i = 0; i + 1 < m->n; i++)
		if (!parts || !cJSON_AddItemToArray(parts, view_erasure(&m->receipts[i]))) {
			cJSON_Delete(o);
			o = NULL;
			break;
		}
	reply_json(r, 200, o);
	return OK;
}

int documents_delete(struct request *r, struct err *e)
{
	const char *erase = query_text(r, "erase");
	struct snapshot *s = NULL;
	struct removal m;
	struct doc d;
	cJSON *o = NULL;
	int rc;
	if (erase && strcmp(erase, "true") && strcmp(erase, "false")) {
		r->param = "erase";
		return err_set(e, E_USAGE, "erase: true or false");
	}
	rc = doc_open(r, &s, &d, e); /* also: in the collection asked for */
	if (!rc)
		rc = remove_plan(&m, s, &d, &r->arena, e);
	snapshot_close(s);
	if (rc)
		return rc;
	if (erase && !strcmp(erase, "true"))
		return document_erase(r, &m, e);
	if ((rc = remove_delete(r->service->index, &m, e)))
		return rc;
	stat_count("footnote_ingest_total", "verdict=\"removed\"", m.n);
	o = cJSON_CreateObject();
	if (o && !(cJSON_AddStringToObject(o, "id", d.id) && cJSON_AddTrueToObject(o, "deleted"))) {
		cJSON_Delete(o);
		o = NULL;
	}
	reply_json(r, 200, o);
	return OK;
}

/* ---- pushing ---- */
struct outcome { int verdict; char id[64], source[200], reason[240]; uint64_t chars, chunks; };
struct outcomes { struct outcome *list; size_t n, cap; };

static void on_event(void *ctx, const struct ingest_event *ev)
{
	struct outcomes *all = ctx;
	struct outcome *x;
	char label[40];
	snprintf(label, sizeof label, "verdict=\"%s\"", doc_verdict_name(ev->verdict));
	stat_count("footnote_ingest_total", label, 1);
	if (all->n == all->cap || *ev->part_of) /* a part is told by the file it is in */
		return;
	x = &all->list[all->n++];
	x->verdict = ev->verdict;
	x->chars = ev->chars;
	x->chunks = ev->chunks;
	snprintf(x->id, sizeof x->id, "%s", ev->document_id);
	/* cut at a code point, so that the reply stays UTF-8 */
	snprintf(x->source, sizeof x->source, "%.*s", (int)utf8_floor(ev->source, strlen(ev->source), sizeof x->source - 1), ev->source);
	snprintf(x->reason, sizeof x->reason, "%.*s", (int)utf8_floor(ev->reason, strlen(ev->reason), sizeof x->reason - 1), ev->reason);
}

/* The outcome as JSON; with the document when there is one. */
static cJSON *outcome_make(struct request *r, struct snapshot *s, const struct outcome *x)
{
	struct reader reader;
	struct doc d;
	cJSON *o = cJSON_CreateObject(), *doc;
	caller_reader(&r->caller, NULL, &reader);
	if (o && cJSON_AddStringToObject(o, "document_id", x->id) && cJSON_AddStringToObject(o, "verdict", doc_verdict_name(x->verdict)) &&
	    cJSON_AddStringToObject(o, "source", x->source) && cJSON_AddNumberToObject(o, "chars", (double)x->chars) &&
	    cJSON_AddNumberToObject(o, "chunks", (double)x->chunks) && cJSON_AddStringToObject(o, "reason", x->reason)) {
		if (!*x->id || snapshot_doc(s, &reader, x->id, &r->arena, &d, NULL))
			return o;
		duplicate_hide(s, &reader, &r->arena, &d);
		doc = view_document(&d);
		if (doc && cJSON_AddItemToObject(o, "document", doc))
			return o;
		cJSON_Delete(doc);
	}
	cJSON_Delete(o);
	return NULL;
}

/* Stores items together, on behalf of the caller; outcomes in their order, in the arena. What the store or the caller's
 * groups refuse is the outcome `failed`, and of a single item the error. */
static int items_put(struct request *r, struct ingest_item *items, size_t n, int single, struct outcomes *all, struct err *e)
{
	struct reader reader;
	struct ingest_sink sink = { .ctx = all, .event = on_event };
	struct ingest_summary sum;
	struct ingest with;
	int rc;
	all->n = 0;
	all->cap = n;
	if (!(all->list = arena_calloc(&r->arena, n + 1, sizeof *all->list)))
		return err_set(e, E_MEMORY, "out of memory");
	caller_reader(&r->caller, NULL, &reader);
	for (size_t i = 0; i < n; i++) {
		items[i].reader = &reader;
		if (caller_grants(&r->caller, items[i].acl, items[i].acl_n, e)) {
			r->param = "acl";
			return e->status;
		}
	}
	if ((rc = service_ingest(r->service, &with, &r->cancel, e)))
		return rc;
	if (single) {
		rc = ingest_item(&with, items, &sink, e);
		r->fail_status = rc == E_LIMIT ? 422 : 0;    /* too long for the store: waiting does not help */
	} else {
		rc = ingest_items(&with, items, n, &sink, &sum, e);
	}
	if (!rc && all->n != n)
		rc = err_set(e, E_BUG, "documents: %zu verdicts for %zu items", all->n, n);
	return rc;
}

/* The meta field: an object, printed again. Borrowed by the item until cJSON_free. */
static int meta_read(struct request *r, const cJSON *v, char **out, struct err *e)
{
	*out = NULL;
	if (!v || cJSON_IsNull(v))
		return OK;
	r->param = "meta";
	if (!cJSON_IsObject(v))
		return err_set(e, E_USAGE, "meta: must be an object");
	if (!(*out = cJSON_PrintUnformatted(v)))
		return err_set(e, E_MEMORY, "out of memory");
	r->param = NULL;
	return OK;
}

static int reply_one(struct request *r, const struct outcome *x, struct err *e)
{
	struct snapshot *s;
	int rc;
	if (x->verdict == DOC_FAILED || x->verdict == DOC_SKIPPED) {
		r->fail_status = 422;
		return err_set(e, E_FORMAT, "%s: %s", doc_verdict_name(x->verdict), x->reason);
	}
	if ((rc = snapshot_open(&s, r->service->index, e)))
		return rc;
	reply_json(r, x->verdict == DOC_ADDED ? 201 : 200, outcome_make(r, s, x));
	snapshot_close(s);
	return OK;
}

/* An id must fit what the store keeps; NULL and "": one is made. */
static int id_check(struct request *r, const char *id, struct err *e)
{
	if (!id || strlen(id) <= ID_MAX)
		return OK;
	r->param = "id";
	return err_set(e, E_USAGE, "id: longer than %d bytes", ID_MAX);
}

static int json_post(struct request *r, struct err *e)
{
	struct ingest_item it = { .is_text = 1 };
	struct outcomes all;
	const char *text = NULL;
	char *meta = NULL;
	cJSON *o = NULL;
	int rc = body_json(r, &o, e);
	if (!rc)
		rc = field_text(r, o, "id", &it.id, e);
	if (!rc)
		rc = field_text(r, o, "title", &it.title, e);
	if (!rc)
		rc = field_text(r, o, "source", &it.source, e);
	if (!rc)
		rc = field_text(r, o, "text", &text, e);
	if (!rc)
		rc = field_texts(r, o, "acl", ACL_MAX, (const char ***)&it.acl, &it.acl_n, e);
	if (!rc)
		rc = request_collection(r, o, r->service->conf.collection, &it.collection, e);
	if (!rc)
		rc = meta_read(r, cJSON_GetObjectItemCaseSensitive(o, "meta"), &meta, e);
	if (!rc)
		rc = id_check(r, it.id, e);
	if (!rc && (!text || !*text)) {
		r->param = "text";
		rc = err_set(e, E_USAGE, "text: missing or empty");
	}
	if (rc)
		goto out;
	it.meta = meta;
	it.data = text;
	it.len = strlen(text);
	rc = items_put(r, &it, 1, 1, &all, e);
	if (!rc)
		rc = reply_one(r, &all.list[0], e);
out:
	cJSON_free(meta);
	cJSON_Delete(o);
	return rc;
}

/* Fields of a form beside its files. */
struct form { const char *id, *title, *source, *collection; const char **acl; size_t acl_n; char *meta; };

/* A part as a C string in the arena; E_USAGE when it holds a NUL or is not UTF-8. */
static int part_text(struct request *r, const struct part *p, const char **out, struct err *e)
{
	char *s = arena_strndup(&r->arena, p->data, p->len);
	r->param = p->name;
	if (!s)
		return err_set(e, E_MEMORY, "out of memory");
	if (strlen(s) != p->len || !utf8_valid(s, p->len))
		return err_set(e, E_USAGE, "%.40s: not UTF-8 text", p->name);
	r->param = NULL;
	*out = s;
	return OK;
}

/* Adds the comma-separated groups of one acl field; several such fields add up. */
static int form_acl(struct request *r, struct form *f, const char *text, struct err *e)
{
	const char *const *groups;
	size_t n;
	if (!*text)
		return OK;
	r->param = "acl";
	if (!f->acl && !(f->acl = arena_calloc(&r->arena, ACL_MAX, sizeof *f->acl)))
		return err_set(e, E_MEMORY, "out of memory");
	if (groups_split(text, &r->arena, &groups, &n, e))
		return e->status;
	if (n > ACL_MAX - f->acl_n)
		return err_set(e, E_USAGE, "acl: more than %d groups", ACL_MAX);
	memcpy(f->acl + f->acl_n, groups, n * sizeof *groups);
	f->acl_n += n;
	r->param = NULL;
	return OK;
}

static int form_meta(struct request *r, struct form *f, const char *text, struct err *e)
{
	cJSON *v = NULL;
	int rc = json_parse(&v, text, strlen(text), BODY_SMALL_MAX, "meta", e);
	r->param = "meta";
	if (rc) {
		r->fail_status = 400;
		return rc;
	}
	cJSON_free(f->meta);
	rc = meta_read(r, v, &f->meta, e);
	cJSON_Delete(v);
	return rc;
}

static int form_field(struct request *r, struct form *f, const struct part *p, struct err *e)
{
	const char *text = NULL;
	if (part_text(r, p, &text, e))
		return e->status;
	if (!strcmp(p->name, "id")) {
		f->id = text;
		return id_check(r, text, e);
	}
	if (!strcmp(p->name, "title"))
		f->title = text;
	else if (!strcmp(p->name, "source"))
		f->source = text;
	else if (!strcmp(p->name, "collection"))
		f->collection = text;
	else if (!strcmp(p->name, "acl"))
		return form_acl(r, f, text, e);
	else if (!strcmp(p->name, "meta"))
		return form_meta(r, f, text, e);
	return OK;
}

/* Parts to items: fields first, since they may stand behind the files they are about. */
static int form_items(struct request *r, const struct part *parts, size_t n, struct form *f, struct ingest_item **out, size_t *out_n,
	struct err *e)
{
	struct ingest_item *items = arena_calloc(&r->arena, n + 1, sizeof *items);
	size_t files = 0;
	int rc = OK;
	if (!items)
		return err_set(e, E_MEMORY, "out of memory");
	for (size_t i = 0; !rc && i < n; i++)
		if (!parts[i].filename)
			rc = form_field(r, f, &parts[i], e);
	if (!rc)
		rc = f->collection ? collection_check(r, f->collection, e)
		                   : request_collection(r, NULL, r->service->conf.collection, &f->collection, e);
	for (size_t i = 0; !rc && i < n; i++) {
		if (!parts[i].filename || (!*parts[i].filename && !parts[i].len)) /* a file field that was left empty */
			continue;
		items[files++] = (struct ingest_item){ .id = f->id, .collection = f->collection, .title = f->title,
			.source = f->source ? f->source : parts[i].filename, .name = parts[i].filename, .meta = f->meta,
			.acl = f->acl, .acl_n = f->acl_n, .data = parts[i].data, .len = parts[i].len };
	}
	if (!rc && !files)
		rc = err_set(e, E_USAGE, "multipart body: no file in it");
	if (!rc && files > 1 && (f->id || f->title || f->source)) {
		r->param = f->id ? "id" : f->title ? "title" : "source";
		rc = err_set(e, E_USAGE, "%s: only with a single file", r->param);
	}
	*out = items;
	*out_n = files;
	return rc;
}

static int form_reply(struct request *r, const struct outcomes *all, struct err *e)
{
	cJSON *o = cJSON_CreateObject(), *list = o ? cJSON_AddArrayToObject(o, "documents") : NULL;
	struct snapshot *s;
	int rc = snapshot_open(&s, r->service->index, e), added = 0;
	if (rc) {
		cJSON_Delete(o);
		return rc;
	}
	for (size_t i = 0; list && i < all->n; i++) {
		cJSON *x = outcome_make(r, s, &all->list[i]);
		added |= all->list[i].verdict == DOC_ADDED;
		if (!x || !cJSON_AddItemToArray(list, x)) {
			cJSON_Delete(x);
			list = NULL;
		}
	}
	snapshot_close(s);
	if (!list) {
		cJSON_Delete(o);
		o = NULL;
	}
	reply_json(r, added ? 201 : 200, o);
	return OK;
}

static int form_post(struct request *r, struct err *e)
{
	struct form f = { 0 };
	struct ingest_item *items = NULL;
	struct outcomes all;
	struct part *parts = NULL;
	size_t n = 0;
	int rc = multipart_parse(r->content_type, buf_cstr(&r->body), r->body.len, &r->arena, &parts, &n, e);
	if (!rc)
		rc = form_items(r, parts, n, &f, &items, &n, e);
	if (!rc)
		rc = items_put(r, items, n, 0, &all, e);
	if (!rc)
		rc = form_reply(r, &all, e);
	cJSON_free(f.meta);
	return rc;
}

int documents_post(struct request *r, struct err *e)
{
	return multipart_is(r->content_type) ? form_post(r, e) : json_post(r, e);
}
