/* cmd_life.c: `footnote hold` and `footnote retention`.
 *
 * A hold is a note named by the document's id; the store itself refuses to remove or replace what has one (index.h). A
 * file is held with its parts: each has a hold that tells "with" which document it came, and goes with that one's.
 * Retention walks the collection in pages. A page is read after its write has begun, when nobody else can change
 * anything, so that a document which was ingested anew in the last moment is not taken for the old one.
 * Threads: runs in its caller's. Failure: an error line; pages that were reported are committed. */
#include <stdio.h>
#include <string.h>
#include "api/command.h"
#include "api/remember.h"
#include "api/remove.h"
#include "api/retention.h"
#include "api/screen.h"
#include "base/clock.h"
#include "base/flag.h"
#include "base/mem.h"

enum { PAGE = 256, ARENA_BYTES_MAX = 512 << 20, LINE_BYTES_MAX = 1 << 16 };

/* The object when every member could be added, else NULL and it is deleted. */
static cJSON *whole(cJSON *o, int ok)
{
	if (!ok) cJSON_Delete(o);
	return ok ? o : NULL;
}

/* ---- hold ---- */

struct hold_row { const char *what, *id, *source, *reason, *since, *with; }; /* with: the document it was put on for, or "" */

static int hold_print(struct command_call *c, const struct hold_row *h, struct err *e)
{
	int on = strcmp(h->what, "on") == 0;
	struct buf b;
	cJSON *o;
	if (c->json) {
		o = cJSON_CreateObject();
		return command_json(c, whole(o, o && cJSON_AddStringToObject(o, "hold", h->what) &&
			cJSON_AddStringToObject(o, "document_id", h->id) && cJSON_AddStringToObject(o, "source", h->source) &&
			cJSON_AddStringToObject(o, "reason", h->reason) && cJSON_AddStringToObject(o, "since", h->since) &&
			(*h->with ? cJSON_AddStringToObject(o, "with", h->with) : cJSON_AddNullToObject(o, "with"))), e);
	}
	if (c->quiet && !on) return OK;
	buf_init(&b, LINE_BYTES_MAX);
	buf_printf(&b, "%-8s  %s", on ? "on hold" : h->what, h->id);
	if (*h->source) buf_puts(&b, " — ");
	screen_line(&b, h->source, strlen(h->source), 0);
	if (*h->with) buf_printf(&b, ", with %s", h->with);
	if (*h->since) buf_printf(&b, ", since %.10s", h->since);
	if (*h->reason) buf_puts(&b, ": ");
	screen_line(&b, h->reason, strlen(h->reason), 0);
	out_printf(c->out, 1, "%s\n", buf_cstr(&b));
	buf_clear(&b);
	return OK;
}

/* The hold of a document in row, strings in the arena; row->what is "" when it has none. */
static int hold_read(struct snapshot *s, const char *id, struct arena *a, struct hold_row *row, struct err *e)
{
	struct note n;
	cJSON *o;
	int rc = snapshot_note(s, NOTE_HOLD, id, a, &n, e);
	*row = (struct hold_row){ "", id, "", "", "", "" };
	if (rc) return rc == E_NOT_FOUND ? OK : rc;
	rc = json_parse(&o, n.json, n.len, n.len, "hold", e);
	if (rc) return rc;
	*row = (struct hold_row){ "on", id, "", arena_strdup(a, json_str(o, "reason", "")),
		arena_strdup(a, json_str(o, "since", "")), arena_strdup(a, json_str(o, "with", "")) };
	cJSON_Delete(o);
	return row->reason && row->since && row->with ? OK : err_set(e, E_MEMORY, "out of memory");
}

static int hold_write(struct write *w, const struct hold_row *h, struct err *e)
{
	cJSON *o = cJSON_CreateObject();
	char *text = NULL;
	int rc;
	if (o && cJSON_AddStringToObject(o, "reason", h->reason) && cJSON_AddStringToObject(o, "since", h->since) &&
		(!*h->with || cJSON_AddStringToObject(o, "with", h->with)))
		text = cJSON_PrintUnformatted(o);
	cJSON_Delete(o);
	rc = text ? index_note_put(w, NOTE_HOLD, h->id, text, strlen(text), e) : err_set(e, E_MEMORY, "out of memory");
	cJSON_free(text);
	return rc;
}

/* Puts the hold on d, and on its parts unless they have one of their own. reason NULL: the one it has. *rows in the arena. */
static int hold_put_all(struct write *w, struct snapshot *s, const struct doc *d, const char *reason, struct arena *a,
	struct hold_row **rows, size_t *n, struct err *e)
{
	char *since = arena_alloc(a, CLOCK_TEXT_LEN);
	struct hold_row top = { 0 };
	struct removal m;
	int rc = since ? remove_plan(&m, s, d, a, e) : err_set(e, E_MEMORY, "out of memory");
	*n = 0;
	if (!rc) rc = hold_read(s, d->id, a, &top, e);
	if (!rc && !(*rows = arena_alloc(a, m.n * sizeof **rows))) rc = err_set(e, E_MEMORY, "out of memory");
	if (rc) return rc;
	clock_text(since, clock_wall_ms());
	if (!*top.what) top.since = since;
	if (reason) top.reason = reason;
	for (size_t i = m.n; !rc && i-- > 0; ) {
		struct hold_row h = top;
		int is_part = i + 1 < m.n;
		if (is_part) rc = hold_read(s, m.docs[i].id, a, &h, e);
		if (rc || (is_part && *h.what && strcmp(h.with, d->id) != 0)) continue;
		h = (struct hold_row){ "added", m.docs[i].id, m.docs[i].source, top.reason, is_part && *h.what ? h.since : top.since,
			is_part ? d->id : "" };
		rc = hold_write(w, &h, e);
		(*rows)[(*n)++] = h;
	}
	return rc;
}

static int rows_print(struct command_call *c, const struct hold_row *rows, size_t n, struct err *e)
{
	int rc = OK;
	for (size_t i = 0; !rc && i < n; i++) rc = hold_print(c, &rows[i], e);
	return rc;
}

static int hold_add(struct command_call *c, const struct doc *d, const char *reason, struct arena *a, struct err *e)
{
	struct hold_row *rows;
	struct snapshot *s = NULL;
	struct write *w;
	size_t n = 0;
	int rc = index_write_begin(&w, c->service->index, e);
	if (rc) return rc;
	rc = snapshot_open(&s, c->service->index, e); /* once nobody else writes */
	if (!rc) rc = hold_put_all(w, s, d, reason, a, &rows, &n, e);
	if (rc) index_write_abort(w);
	else rc = index_write_commit(w, e);
	snapshot_close(s);
	return rc ? rc : rows_print(c, rows, n, e);
}

/* The next page of holds behind *after, with the sources of their documents; *rows in the arena. */
static int holds_page(struct snapshot *s, const char **after, struct arena *a, struct hold_row **rows, size_t *got, struct err *e)
{
	struct reader everyone = { .all_groups = 1 };
	struct note *page = arena_alloc(a, PAGE * sizeof *page);
	int rc = page && (*rows = arena_alloc(a, PAGE * sizeof **rows)) ? OK : err_set(e, E_MEMORY, "out of memory");
	*got = 0;
	if (!rc) rc = snapshot_notes(s, NOTE_HOLD, *after, PAGE, a, page, got, e);
	for (size_t i = 0; !rc && i < *got; i++) {
		struct doc d;
		rc = hold_read(s, page[i].name, a, &(*rows)[i], e);
		if (!rc && snapshot_doc(s, &everyone, page[i].name, a, &d, NULL) == OK) (*rows)[i].source = d.source;
		*after = page[i].name;
	}
	return rc;
}

/* Takes the holds away that were put on with that of `id`; w NULL: tells of them, once that is committed. */
static int hold_take_with(struct command_call *c, struct write *w, struct snapshot *s, const char *id, struct arena *a, struct err *e)
{
	struct hold_row *page;
	const char *after = "";
	size_t got = PAGE;
	int rc = OK;
	while (!rc && got == PAGE) {
		rc = holds_page(s, &after, a, &page, &got, e);
		for (size_t i = 0; !rc && i < got; i++) {
			if (strcmp(page[i].with, id) != 0) continue;
			page[i].what = "removed";
			rc = w ? index_note_delete(w, NOTE_HOLD, page[i].id, e) : hold_print(c, &page[i], e);
		}
	}
	return rc;
}

static int hold_remove(struct command_call *c, const char *id, const char *source, struct arena *a, struct err *e)
{
	const struct hold_row row = { "removed", id, source, "", "", "" };
	struct snapshot *s = NULL;
	struct write *w;
	int rc = index_write_begin(&w, c->service->index, e);
	if (rc) return rc;
	rc = index_note_delete(w, NOTE_HOLD, id, e);
	if (rc == E_NOT_FOUND) err_set(e, rc, "document %.64s is not on hold", id);
	if (!rc) rc = snapshot_open(&s, c->service->index, e);
	if (!rc) rc = hold_take_with(c, w, s, id, a, e);
	if (rc) index_write_abort(w);
	else rc = index_write_commit(w, e);
	if (!rc) rc = hold_print(c, &row, e);
	if (!rc) rc = hold_take_with(c, NULL, s, id, a, e); /* the snapshot is from before */
	snapshot_close(s);
	return rc;
}

static int hold_list(struct command_call *c, struct arena *a, struct err *e)
{
	struct hold_row *page;
	struct snapshot *s;
	const char *after = "";
	size_t got = PAGE;
	int rc = snapshot_open(&s, c->service->index, e);
	if (rc) return rc;
	while (!rc && got == PAGE) {
		rc = holds_page(s, &after, a, &page, &got, e);
		if (!rc) rc = rows_print(c, page, got, e);
	}
	snapshot_close(s);
	if (!rc && !*after && !c->json && !c->quiet) out_printf(c->out, 1, "nothing is on hold\n");
	return rc;
}

int cmd_hold(struct command_call *c)
{
	const char *source = NULL, *reason = NULL, *what;
	struct option options[] = { {"--source", OPTION_TEXT, &source, 0, 0}, {"--reason", OPTION_TEXT, &reason, 0, 0} };
	struct arena arena;
	struct doc d = { .source = "" };
	struct err e = {0};
	int list, add, rc = options_parse(c, options, 2, &e);
	what = c->argc > 1 ? c->argv[1] : "";
	list = strcmp(what, "list") == 0;
	add = strcmp(what, "add") == 0;
	if (!rc && !list && !add && strcmp(what, "remove") != 0) rc = err_set(&e, E_USAGE, "hold: must be add, remove or list");
	if (!rc && c->argc != (list || source ? 2 : 3))
		rc = err_set(&e, E_USAGE, list ? "hold list: takes no argument" : "hold %s: takes one document id, or --source PATH",
			what);
	if (!rc && !add && reason) rc = err_set(&e, E_USAGE, "--reason belongs to hold add");
	if (rc) return command_misused(c, &e);
	arena_init(&arena, ARENA_BYTES_MAX);
	if (list) rc = hold_list(c, &arena, &e);
	else rc = command_document(c, c->argv[2], source, &arena, &d, &e);
	if (rc == E_NOT_FOUND && !list && !add && !source) d.id = c->argv[2], d.source = "", rc = OK; /* hold_remove says which is missing */
	if (!rc && add) rc = hold_add(c, &d, reason, &arena, &e);
	else if (!rc && !list) rc = hold_remove(c, d.id, d.source, &arena, &e);
	arena_clear(&arena);
	return rc ? command_fail(c, &e) : EXIT_DONE;
}

/* ---- retention ---- */

struct tally { uint64_t documents, due; int64_t next_ms; };    /* of a rule; next_ms: the earliest to come, 0: none */

struct ageing {
	struct command_call *c;
	const struct retention *rules;
	struct tally *tally;
	struct snapshot *before;         /* of the moment this run began */
	struct arena arena;              /* of a page */
	int64_t now_ms;
	int apply, dry_run;
	uint64_t removed, held, records;     /* records of answers and the like that went for their age or number */
};

struct due { struct doc d; const struct retention_rule *rule; int64_t changed_ms; const char *held; }; /* held: why it stays, or NULL */

static int due_print(struct ageing *g, const struct due *u, struct err *e)
{
	const struct doc *d = &u->d;
	const char *held = u->held;
	const char *verdict = held ? "skipped" : g->apply ? "removed" : "due";
	char updated[CLOCK_TEXT_LEN], due[CLOCK_TEXT_LEN], reason[1400];
	struct buf b;
	cJSON *o;
	clock_text(updated, u->changed_ms);
	clock_text(due, retention_due_ms(u->rule, u->changed_ms));
	retention_reason(u->rule, reason, sizeof reason);
	if (g->c->json) {
		o = cJSON_CreateObject();
		return command_json(g->c, whole(o, o && cJSON_AddStringToObject(o, "source", d->source) &&
			cJSON_AddStringToObject(o, "verdict", verdict) && cJSON_AddStringToObject(o, "document_id", d->id) &&
			cJSON_AddStringToObject(o, "reason", held ? held : reason) && cJSON_AddStringToObject(o, "updated", updated) &&
			cJSON_AddStringToObject(o, "due", due)), e);
	}
	if (g->c->quiet && g->apply) return OK;
	buf_init(&b, LINE_BYTES_MAX);
	buf_printf(&b, "%-9s %s", verdict, d->id);
	if (*d->source) buf_puts(&b, " — ");
	screen_line(&b, d->source, strlen(d->source), 0);
	buf_printf(&b, ", due %.10s: ", due);
	screen_line(&b, held ? held : reason, strlen(held ? held : reason), 0);
	out_printf(g->c->out, 1, "%s\n", buf_cstr(&b));
	buf_clear(&b);
	return OK;
}

/* Why a document is on hold, in the arena, or NULL. */
static int held_why(struct ageing *g, struct snapshot *s, const struct doc *d, const char **why, struct err *e)
{
	int rc = snapshot_hold(s, d->id, e);
	*why = NULL;
	if (rc != E_DENIED) return rc;
	*why = arena_strdup(&g->arena, e->msg);
	return *why ? OK : err_set(e, E_MEMORY, "out of memory");
}

/* The file that d is a part of, as far up as there are records: as it is now, or, where this run has removed it, as it
 * was. d itself when it is no part. A part is as old as its file and goes with it. */
static int file_of(struct ageing *g, struct snapshot *s, const struct doc *d, struct doc *out, struct err *e)
{
	struct reader reader = { .collection = d->collection, .all_groups = 1 };
	char *source = d->source_mtime_ns ? NULL : arena_strdup(&g->arena, d->source), *cut;
	*out = *d;
	if (d->source_mtime_ns) return OK;
	if (!source) return err_set(e, E_MEMORY, "out of memory");
	while ((cut = strrchr(source, '#')) && cut > source) {
		struct doc up;
		int rc;
		*cut = 0;
		rc = snapshot_doc_by_source(s, &reader, d->collection, source, &g->arena, &up, e);
		if (rc == E_NOT_FOUND) rc = snapshot_doc_by_source(g->before, &reader, d->collection, source, &g->arena, &up, e);
		if (rc && rc != E_NOT_FOUND) return rc;
		if (!rc && ingest_may_have_parts(&up)) *out = up;
	}
	return OK;
}

/* Tallies a document. *is: it is due, and u is filled. */
static int doc_age(struct ageing *g, struct snapshot *s, const struct doc *d, struct due *u, int *is, struct err *e)
{
	struct tally *t;
	struct doc file;
	int64_t due;
	int rc = file_of(g, s, d, &file, e);
	*is = 0;
	if (rc) return rc;
	*u = (struct due){ *d, retention_of(g->rules, file.source), retention_changed_ms(&file), NULL };
	due = retention_due_ms(u->rule, u->changed_ms);
	t = &g->tally[u->rule - g->rules->rule];
	t->documents++;
	if (due > g->now_ms && (!t->next_ms || due < t->next_ms)) t->next_ms = due;
	if (!due || due > g->now_ms) return OK;
	t->due++;
	*is = 1;
	rc = held_why(g, s, d, &u->held, e);
	return rc || u->held ? rc : held_why(g, s, &file, &u->held, e);
}

/* One page of documents behind *after: tallies all, removes the due ones in w (may be NULL), and tells of them once
 * that is committed. */
static int page_age(struct ageing *g, struct snapshot *s, struct write **w, uint64_t *after, size_t *got, struct err *e)
{
	struct reader reader = { .collection = g->c->collection, .all_groups = 1 };
	struct doc *docs = arena_calloc(&g->arena, PAGE, sizeof *docs);
	struct due *due = arena_calloc(&g->arena, PAGE, sizeof *due);
	size_t n = 0;
	int rc = docs && due ? OK : err_set(e, E_MEMORY, "out of memory");
	if (!rc) rc = snapshot_docs(s, &reader, *after, ~0u, PAGE, &g->arena, docs, got, e);
	if (rc) return rc;
	if (*got) *after = docs[*got - 1].key;
	for (size_t i = 0; !rc && i < *got; i++) {
		int is;
		rc = doc_age(g, s, &docs[i], &due[n], &is, e);
		if (rc || !is) continue;
		if (*w && !due[n].held) rc = index_delete(*w, docs[i].id, e);
		n++;
	}
	if (!rc && *w) {
		rc = index_write_commit(*w, e);
		*w = NULL;
	}
	for (size_t i = 0; !rc && i < n; i++) {
		if (due[i].held) g->held++;
		else g->removed++;
		rc = due_print(g, &due[i], e);
	}
	return rc;
}

static int ageing_run(struct ageing *g, struct err *e)
{
	uint64_t after = 0;
	size_t got = PAGE;
	int rc = snapshot_open(&g->before, g->c->service->index, e);
	while (!rc && got == PAGE) {
		struct snapshot *s = NULL;
		struct write *w = NULL;
		if (flag_is(g->c->cancel)) {
			rc = err_set(e, E_CANCELLED, "retention: interrupted");
			break;
		}
		if (g->apply && !g->dry_run) rc = index_write_begin(&w, g->c->service->index, e);
		if (!rc) rc = snapshot_open(&s, g->c->service->index, e);
		if (!rc) rc = page_age(g, s, &w, &after, &got, e);
		index_write_abort(w);
		snapshot_close(s);
		arena_clear(&g->arena);
	}
	snapshot_close(g->before);
	return rc;
}

static int rule_print(struct ageing *g, size_t i, struct err *e)
{
	const struct retention_rule *rule = &g->rules->rule[i];
	const struct tally *t = &g->tally[i];
	char next[CLOCK_TEXT_LEN] = "";
	cJSON *o;
	if (t->next_ms) clock_text(next, t->next_ms);
	if (g->c->json) {
		o = cJSON_CreateObject();
		return command_json(g->c, whole(o, o && cJSON_AddStringToObject(o, "rule", retention_rule_name(rule)) &&
			cJSON_AddNumberToObject(o, "days", rule->days) &&
			cJSON_AddNumberToObject(o, "documents", (double)t->documents) &&
			cJSON_AddNumberToObject(o, "due", (double)t->due) &&
			(t->next_ms ? cJSON_AddStringToObject(o, "next_due", next) : cJSON_AddNullToObject(o, "next_due"))), e);
	}
	if (rule->days > 0)
		out_printf(g->c->out, 1, "rule      %s: %g days, %llu documents, %llu due%s%.10s\n", retention_rule_name(rule), rule->days,
			(unsigned long long)t->documents, (unsigned long long)t->due, t->next_ms ? ", next on " : "", next);
	else
		out_printf(g->c->out, 1, "rule      %s: for ever, %llu documents\n", retention_rule_name(rule),
			(unsigned long long)t->documents);
	return OK;
}

static int summary_print(struct ageing *g, struct err *e)
{
	cJSON *o, *x;
	if (!g->c->json) {
		if (!g->c->quiet)
			out_printf(g->c->out, 1, "%llu documents %s, %llu on hold\n", (unsigned long long)g->removed,
				g->dry_run ? "would be removed" : "removed", (unsigned long long)g->held);
		return OK;
	}
	o = cJSON_CreateObject();
	x = o ? cJSON_AddObjectToObject(o, "summary") : NULL;
	return command_json(g->c, whole(o, x && cJSON_AddNumberToObject(x, "removed", (double)g->removed) &&
		cJSON_AddNumberToObject(x, "held", (double)g->held) && cJSON_AddNumberToObject(x, "records", (double)g->records) && cJSON_AddBoolToObject(x, "dry_run", g->dry_run)), e);
}

int cmd_retention(struct command_call *c)
{
	struct ageing g = { .c = c, .now_ms = clock_wall_ms(), .rules = &c->service->ages };
	struct option options[] = { {"--dry-run", OPTION_FLAG, &g.dry_run, 0, 0} };
	struct arena arena;
	const char *what;
	struct err e = {0};
	int rc = options_parse(c, options, 1, &e);
	what = c->argc > 1 ? c->argv[1] : "";
	g.apply = strcmp(what, "apply") == 0;
	if (!rc && ((!g.apply && strcmp(what, "show") != 0) || c->argc != 2))
		rc = err_set(&e, E_USAGE, "retention: must be show or apply");
	if (!rc && g.dry_run && !g.apply) rc = err_set(&e, E_USAGE, "--dry-run belongs to retention apply");
	if (rc) return command_misused(c, &e);
	arena_init(&arena, ARENA_BYTES_MAX);
	arena_init(&g.arena, ARENA_BYTES_MAX);
	g.tally = arena_calloc(&arena, g.rules->n, sizeof *g.tally);
	rc = g.tally ? ageing_run(&g, &e) : err_set(&e, E_MEMORY, "out of memory");
	if (!rc && g.apply && !g.dry_run) rc = remember_trim(c->service, &g.records, &e);
	for (size_t i = 0; !rc && !g.apply && i < g.rules->n; i++) rc = rule_print(&g, i, &e);
	if (!rc && g.apply) rc = summary_print(&g, &e);
	arena_clear(&g.arena);
	arena_clear(&arena);
	return rc ? command_fail(c, &e) : EXIT_DONE;
}
