/* test_pipeline.c: folders into a real store with a real embedder. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/utf8.h"
#include "ingest/ingest.h"
#include "tests/test.h"

enum { EVENTS_MAX = 64 };

static char dir[200];
static struct index *x;
static struct embedder *m;
static struct ingest_limits limits;
static struct ingest with;
static struct { char source[200], id[64], reason[300]; int verdict; uint64_t chars, chunks; } events[EVENTS_MAX];
static size_t event_n;
static struct ingest_summary sum;
static struct err e;

static void on_event(void *ctx, const struct ingest_event *ev)
{
	(void)ctx;
	CHECK(event_n < EVENTS_MAX);
	snprintf(events[event_n].source, sizeof events->source, "%s", ev->source);
	snprintf(events[event_n].id, sizeof events->id, "%s", ev->document_id);
	snprintf(events[event_n].reason, sizeof events->reason, "%s", ev->reason);
	events[event_n].verdict = ev->verdict;
	events[event_n].chars = ev->chars;
	events[event_n++].chunks = ev->chunks;
}

static const struct ingest_sink sink = { .event = on_event };

static const char *at(const char *name)
{
	static char path[400];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

static void put(const char *name, const char *text)
{
	CHECK_OK(file_write_atomic(at(name), text, strlen(text), &e), e);
}

static void begin_map(size_t map_bytes)
{
	struct index_options o = { .map_bytes = map_bytes, .ivf_probes = 64, .ivf_rerank = 100, .hnsw_m = 16, .hnsw_ef_construction = 64,
		.hnsw_ef_search = 64, .exact_below = 1000, .rebuild_share = 0.2, .readers_max = 16,
		.bm25_k1 = 1.2, .bm25_b = 0.75, .query_terms_max = 64 };
	struct embedder_options mo = { .threads = 1 };
	static char data[300];

	mo.dir = test_model("all-minilm-l6-v2");
	if (!mo.dir)
		test_skip("the embedder is not there");
	snprintf(dir, sizeof dir, "%s", test_dir());
	snprintf(data, sizeof data, "%s/data", dir);
	CHECK_OK(dir_make(at("in"), &e), e);
	CHECK_OK(embedder_open(&m, &mo, &e), e);
	o.dir = data;
	o.dim = embedder_info(m)->dim;
	o.embedder = embedder_info(m)->fingerprint;
	CHECK_OK(index_open(&x, &o, &e), e);
	ingest_limits_default(&limits);
	CHECK_OK(parsers_open(&with.parsers, &(struct parsers_options){ .workers = 2, .files_max = 100, .seconds = 120,
		.memory_bytes = (uint64_t)1 << 30, .output_bytes_max = 1 << 28 }, &e), e);
	with.index = x;
	with.embedder = m;
	with.limits = &limits;
}

static void begin(void)
{
	begin_map((size_t)1 << 28);
}

/* The store is whole, then it is closed. */
static void end(void)
{
	uint64_t problems = 0;

	CHECK_OK(index_check(x, NULL, NULL, &problems, &e), e);
	CHECK_INT(problems, 0);
	parsers_close(with.parsers);
	index_close(x);
	embedder_close(m);
}

static int sync_with(struct ingest_request q)
{
	static const char *const in[] = { "in" };

	q.collection = "default";
	q.cwd = dir;
	if (!q.paths) {
		q.paths = in;
		q.path_n = 1;
	}
	event_n = 0;
	return ingest_paths(&with, &q, &sink, &sum, &e);
}

static void sync_in(void)
{
	CHECK_OK(sync_with((struct ingest_request){ 0 }), e);
}

/* The event of a file; fails when there is none. */
static size_t event(const char *name)
{
	for (size_t i = 0; i < event_n; i++)
		if (strcmp(events[i].source, at(name)) == 0)
			return i;
	test_fail(__FILE__, __LINE__, "no event of %s", name);
}

#define VERDICT(name, want) CHECK_STR(doc_verdict_name(events[event(name)].verdict), doc_verdict_name(want))

static int stored(const char *name, char *text, size_t cap)
{
	struct reader all = { .all_groups = 1 };
	struct snapshot *s;
	struct arena a;
	struct doc d;
	const char *t = "";
	size_t len = 0;
	int rc;

	arena_init(&a, 1 << 20);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	rc = snapshot_doc_by_source(s, &all, "default", at(name), &a, &d, &e);
	if (rc == OK && d.text_len)
		CHECK_OK(snapshot_text(s, &d, &t, &len, &e), e);
	snprintf(text, cap, "%.*s", (int)len, t);
	snapshot_close(s);
	arena_clear(&a);
	return rc;
}

TEST(ingest_verdicts)
{
	char text[2000];

	begin();
	put("in/a.md", "# Alpha\n\nThe alpha text. It has two sentences.\n");
	put("in/b.txt", "Beta text stands here.\n");
	put("in/bin.txt", "\x89PNG\r\n\x1a\n and so on");
	put("in/copy.txt", "Beta text stands here.\n");
	put("in/empty.txt", "");
	put("in/latin.txt", "Prix \xE0 r\xE9gler.");
	put("in/x.docx", "PK\x03\x04 and no more");
	sync_in();
	CHECK_INT(event_n, 7);
	VERDICT("in/a.md", DOC_ADDED);
	CHECK(events[event("in/a.md")].id[0] && events[event("in/a.md")].chunks == 1);
	CHECK_INT(events[event("in/a.md")].chars, strlen("Alpha\n\nThe alpha text. It has two sentences."));
	VERDICT("in/b.txt", DOC_ADDED);
	VERDICT("in/bin.txt", DOC_SKIPPED);
	VERDICT("in/copy.txt", DOC_DUPLICATE);
	VERDICT("in/empty.txt", DOC_SKIPPED);
	CHECK_STR(events[event("in/empty.txt")].reason, "empty");
	VERDICT("in/latin.txt", DOC_ADDED);
	VERDICT("in/x.docx", DOC_FAILED);
	CHECK_INT(sum.files, 7);
	CHECK_INT(sum.by_verdict[DOC_ADDED], 3);
	CHECK_INT(stored("in/a.md", text, sizeof text), OK);
	CHECK_STR(text, "Alpha\n\nThe alpha text. It has two sentences.");
	sync_in();
	VERDICT("in/a.md", DOC_UNCHANGED);
	VERDICT("in/b.txt", DOC_UNCHANGED);
	VERDICT("in/bin.txt", DOC_SKIPPED);
	VERDICT("in/copy.txt", DOC_DUPLICATE);
	VERDICT("in/empty.txt", DOC_SKIPPED);
	CHECK_STR(events[event("in/empty.txt")].reason, "empty");
	VERDICT("in/latin.txt", DOC_UNCHANGED);
	put("in/a.md", "# Alpha\n\nThe alpha text. It has three sentences now.\n");
	sync_in();
	VERDICT("in/a.md", DOC_UPDATED);
	CHECK_INT(stored("in/a.md", text, sizeof text), OK);
	CHECK(strstr(text, "three"));
	put("in/a.md", "# Alpha\n\nThe alpha text. It has three sentences now.\n");       /* only the time */
	sync_in();
	VERDICT("in/a.md", DOC_UNCHANGED);
	end();
}

static uint64_t seq(void)
{
	struct index_stats s;

	CHECK_OK(index_stats(x, &s, &e), e);
	return s.seq;
}

TEST(ingest_unchanged_writes_nothing)
{
	uint64_t before;

	begin();
	put("in/a.txt", "Some text.\n");
	put("in/copy.txt", "Some text.\n");
	put("in/empty.txt", "");
	sync_in();
	before = seq();
	sync_in();
	CHECK_INT(seq(), before);
	CHECK_OK(sync_with((struct ingest_request){ .dry_run = 1, .meta = "{\"k\":\"v\"}" }), e);
	VERDICT("in/a.txt", DOC_UPDATED);
	CHECK_INT(seq(), before);
	end();
}

TEST(ingest_duplicate_takes_over)
{
	char text[200];

	begin();
	put("in/a.txt", "The very same text.\n");
	put("in/b.txt", "The very same text.\n");
	sync_in();
	VERDICT("in/b.txt", DOC_DUPLICATE);
	CHECK(strstr(events[event("in/b.txt")].reason, "a.txt"));
	put("in/a.txt", "Another text by now.\n");
	sync_in();
	VERDICT("in/a.txt", DOC_UPDATED);
	VERDICT("in/b.txt", DOC_UPDATED);
	CHECK_INT(stored("in/b.txt", text, sizeof text), OK);
	CHECK_STR(text, "The very same text.");
	put("in/c.txt", "The very same text.\n");
	sync_in();
	VERDICT("in/c.txt", DOC_DUPLICATE);
	CHECK(unlink(at("in/b.txt")) == 0);
	CHECK_OK(sync_with((struct ingest_request){ .prune = 1 }), e);
	VERDICT("in/b.txt", DOC_REMOVED);
	VERDICT("in/c.txt", DOC_UPDATED);
	CHECK_INT(stored("in/c.txt", text, sizeof text), OK);
	CHECK_STR(text, "The very same text.");
	end();
}

TEST(ingest_prune)
{
	const char *one[] = { "in/one.txt" }, *sub[] = { "in/sub" }, *lost[] = { "lost" };
	char text[200];

	begin();
	CHECK_OK(dir_make(at("in/sub"), &e), e);
	put("in/keep.txt", "Keep this text.\n");
	put("in/sub/s.txt", "Text of the folder below.\n");
	put("in/gone.txt", "This will go.\n");
	put("out.txt", "Given itself.\n");
	sync_in();
	CHECK_OK(sync_with((struct ingest_request){ .paths = (const char *[]){ "out.txt" }, .path_n = 1 }), e);
	CHECK(unlink(at("in/gone.txt")) == 0 && unlink(at("out.txt")) == 0 && unlink(at("in/sub/s.txt")) == 0);
	sync_in();
	CHECK_INT(event_n, 1);
	CHECK_INT(stored("in/gone.txt", text, sizeof text), OK);
	CHECK_OK(sync_with((struct ingest_request){ .paths = sub, .path_n = 1, .prune = 1 }), e);
	CHECK_INT(event_n, 1);
	VERDICT("in/sub/s.txt", DOC_REMOVED);
	CHECK_OK(sync_with((struct ingest_request){ .prune = 1, .dry_run = 1 }), e);
	VERDICT("in/gone.txt", DOC_REMOVED);
	CHECK_INT(stored("in/gone.txt", text, sizeof text), OK);
	CHECK_OK(sync_with((struct ingest_request){ .prune = 1 }), e);
	VERDICT("in/gone.txt", DOC_REMOVED);
	VERDICT("in/keep.txt", DOC_UNCHANGED);
	CHECK_INT(stored("in/gone.txt", text, sizeof text), E_NOT_FOUND);
	CHECK_INT(stored("out.txt", text, sizeof text), OK);
	CHECK_OK(sync_with((struct ingest_request){ .paths = (const char *[]){ "out.txt" }, .path_n = 1, .prune = 1 }), e);
	VERDICT("out.txt", DOC_REMOVED);
	CHECK_OK(sync_with((struct ingest_request){ .paths = one, .path_n = 1, .prune = 1 }), e);
	VERDICT("in/one.txt", DOC_FAILED);
	CHECK_OK(sync_with((struct ingest_request){ .paths = lost, .path_n = 1, .prune = 1 }), e);
	VERDICT("lost", DOC_FAILED);
	CHECK_INT(stored("in/keep.txt", text, sizeof text), OK);
	end();
}

TEST(ingest_rename_with_prune)
{
	char text[400];

	begin();
	put("in/old.txt", "The text moves to another name.\n");
	sync_in();
	snprintf(text, sizeof text, "%s", at("in/old.txt"));
	CHECK(rename(text, at("in/new.txt")) == 0);
	CHECK_OK(sync_with((struct ingest_request){ .prune = 1 }), e);
	VERDICT("in/old.txt", DOC_REMOVED);
	VERDICT("in/new.txt", DOC_ADDED);
	CHECK_INT(stored("in/new.txt", text, sizeof text), OK);
	CHECK_STR(text, "The text moves to another name.");
	end();
}

TEST(ingest_acl_and_meta)
{
	const char *const hr[] = { "hr" };
	struct reader nobody = { .collection = "default" }, everybody = { .collection = "default", .all_groups = 1 };
	struct snapshot *s;
	struct arena a;
	struct doc d;

	begin();
	put("in/a.txt", "For some eyes only.\n");
	sync_in();
	CHECK_OK(sync_with((struct ingest_request){ .acl = hr, .acl_n = 1, .meta = "{\"year\":\"2026\"}" }), e);
	VERDICT("in/a.txt", DOC_UPDATED);
	CHECK_OK(sync_with((struct ingest_request){ .acl = hr, .acl_n = 1, .meta = "{\"year\":\"2026\"}" }), e);
	VERDICT("in/a.txt", DOC_UNCHANGED);
	sync_in();                              /* names no groups: they stay */
	VERDICT("in/a.txt", DOC_UNCHANGED);
	put("in/a.txt", "For some eyes only!\n");
	sync_in();
	VERDICT("in/a.txt", DOC_UPDATED);
	put("in/b.txt", "For some eyes only!\n");
	put("in/c.txt", "Open text.\n");
	CHECK_OK(sync_with((struct ingest_request){ .paths = (const char *[]){ "in/b.txt" }, .path_n = 1 }), e);
	VERDICT("in/b.txt", DOC_ADDED);         /* its text is for everyone: no duplicate of one that is not */
	arena_init(&a, 1 << 20);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_INT(snapshot_doc_by_source(s, &nobody, "default", at("in/a.txt"), &a, &d, &e), E_NOT_FOUND);
	CHECK_INT(snapshot_doc_by_source(s, &nobody, "default", at("in/b.txt"), &a, &d, &e), OK);
	CHECK_OK(snapshot_doc_by_source(s, &everybody, "default", at("in/a.txt"), &a, &d, &e), e);
	CHECK_STR(d.meta, "{\"year\":\"2026\"}");
	snapshot_close(s);
	CHECK_OK(sync_with((struct ingest_request){ .acl = hr, .acl_n = 0 }), e);  /* says: everyone */
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_doc_by_source(s, &nobody, "default", at("in/a.txt"), &a, &d, &e), e);
	snapshot_close(s);
	arena_clear(&a);
	end();
}

static int seen(const struct reader *r, const char *name)
{
	struct snapshot *s;
	struct arena a;
	struct doc d;
	int rc;

	arena_init(&a, 1 << 20);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	rc = snapshot_doc_by_source(s, r, "default", at(name), &a, &d, NULL);
	snapshot_close(s);
	arena_clear(&a);
	return rc == OK;
}

TEST(ingest_acl_rule_of_the_longest_path)
{
	const struct ingest_acl_rule rules[] = { { "/srv", NULL, 0 }, { "/srv/hr", NULL, 0 }, { "/srv/hr/pay.zip", NULL, 0 } };
	const struct ingest_acl_rule all[] = { { "/", NULL, 0 }, { "/srv", NULL, 0 } };
	const struct ingest_acl t = { .rules = rules, .rule_n = 3 }, root = { .rules = all, .rule_n = 2 };

	CHECK(ingest_acl_find(&t, "/srv/a.txt") == &rules[0]);
	CHECK(ingest_acl_find(&t, "/srv/hr") == &rules[1]);
	CHECK(ingest_acl_find(&t, "/srv/hr/x/a.txt") == &rules[1]);
	CHECK(ingest_acl_find(&t, "/srv/hrx/a.txt") == &rules[0]);
	CHECK(ingest_acl_find(&t, "/srv/hr/pay.zip#x.txt") == &rules[2]);
	CHECK(ingest_acl_find(&t, "/srvx") == NULL);
	CHECK(ingest_acl_find(&t, "srv/a") == NULL);
	CHECK(ingest_acl_find(&root, "/etc/a") == &all[0]);
	CHECK(ingest_acl_find(&root, "/srv/a") == &all[1]);
	CHECK(ingest_acl_find(&(struct ingest_acl){ 0 }, "/srv/a") == NULL);
}

/* Rules hold at each sync; the default only for new documents; what the call says wins over both. */
TEST(ingest_acl_of_rules_and_default)
{
	static const char *const staff[] = { "staff" }, *const hr[] = { "hr" };
	const struct reader s = { .groups = staff, .group_n = 1 }, h = { .groups = hr, .group_n = 1 }, none = { 0 };
	static char path[400];
	const struct ingest_acl_rule rule = { path, hr, 1 }, opened = { path, NULL, 0 };

	begin();
	CHECK_OK(dir_make(at("in/hr"), &e), e);
	put("in/a.txt", "For the staff of the house.\n");
	put("in/hr/b.txt", "For people and pay.\n");
	sync_in();
	CHECK(seen(&none, "in/a.txt") && seen(&none, "in/hr/b.txt"));
	snprintf(path, sizeof path, "%s", at("in/hr"));
	limits.acl = (struct ingest_acl){ .unset = staff, .unset_n = 1, .rules = &rule, .rule_n = 1 };
	put("in/c.txt", "Comes later, to the staff.\n");
	put("in/hr/d.txt", "Comes later, to people and pay.\n");
	sync_in();
	VERDICT("in/a.txt", DOC_UNCHANGED);     /* no rule: keeps what it has */
	VERDICT("in/hr/b.txt", DOC_UPDATED);
	CHECK(seen(&none, "in/a.txt") && seen(&s, "in/c.txt") && !seen(&none, "in/c.txt") && !seen(&h, "in/c.txt"));
	CHECK(seen(&h, "in/hr/b.txt") && seen(&h, "in/hr/d.txt") && !seen(&s, "in/hr/b.txt") && !seen(&none, "in/hr/d.txt"));
	sync_in();
	CHECK_INT(sum.by_verdict[DOC_UNCHANGED], 4);
	CHECK_OK(sync_with((struct ingest_request){ .acl = staff, .acl_n = 1 }), e);
	CHECK(seen(&s, "in/hr/b.txt") && !seen(&h, "in/hr/b.txt"));
	limits.acl.rules = &opened;
	sync_in();
	CHECK(seen(&none, "in/hr/b.txt") && !seen(&none, "in/a.txt"));
	end();
}

/* A caller that does not see a document can neither replace it, nor remove it, nor learn of it. */
TEST(ingest_on_behalf_of_a_reader)
{
	static const char *const staff[] = { "staff" }, *const hr[] = { "hr" };
	const struct reader s = { .groups = staff, .group_n = 1 };
	static const char secret[] = "The merger is on Friday.";
	struct ingest_item it = { .collection = "default", .id = "plan", .source = "plan.txt", .data = secret, .len = sizeof secret - 1,
		.is_text = 1, .acl = hr, .acl_n = 1 };
	struct ingest_item other;

	begin();
	event_n = 0;
	CHECK_OK(ingest_item(&with, &it, &sink, &e), e);
	it.reader = &s;
	CHECK_INT(ingest_item(&with, &it, &sink, &e), E_CONFLICT);              /* as it is */
	other = (struct ingest_item){ .collection = "default", .source = "plan.txt", .data = "Mine.", .len = 5, .is_text = 1, .reader = &s };
	CHECK_INT(ingest_item(&with, &other, &sink, &e), E_CONFLICT);           /* by its source */
	CHECK(!strstr(e.msg, "plan"));
	CHECK_STR(events[2].id, "");
	other.source = "";
	other.data = secret, other.len = sizeof secret - 1;
	other.acl = hr, other.acl_n = 1;
	CHECK_OK(ingest_item(&with, &other, &sink, &e), e);
	CHECK_INT(events[3].verdict, DOC_ADDED);                                        /* no duplicate of what it does not see */
	it.reader = NULL;
	CHECK_OK(ingest_item(&with, &it, &sink, &e), e);
	CHECK_INT(events[4].verdict, DOC_UNCHANGED);
	put("in/a.txt", "First file, for people.\n");
	put("in/b.txt", "Second file, for the staff.\n");
	CHECK_OK(sync_with((struct ingest_request){ .acl = hr, .acl_n = 1 }), e);
	unlink(at("in/a.txt"));
	put("in/c.txt", "Second file, for the staff.\n");
	CHECK_OK(sync_with((struct ingest_request){ .acl = staff, .acl_n = 1, .reader = &s, .prune = 1 }), e);
	VERDICT("in/b.txt", DOC_FAILED);
	VERDICT("in/c.txt", DOC_ADDED);
	CHECK_INT(sum.by_verdict[DOC_REMOVED], 0);
	CHECK_INT(stored("in/a.txt", (char[200]){ 0 }, 200), OK);
	end();
}

/* A pushed document of these groups (a list, "" for none), as whoever has them. Returns what ingest_item does. */
static int push(const char *id, const char *source, const char *text, const char *group, int named)
{
	const char *const groups[] = { group };
	struct ingest_item it = { .collection = "default", .id = id, .source = source, .data = text, .len = strlen(text), .is_text = 1,
		.acl = named ? groups : NULL, .acl_n = *group != 0 };

	event_n = 0;
	return ingest_item(&with, &it, &sink, &e);
}

/* Who takes a name first does not decide who reads what comes under it later. */
TEST(ingest_acl_of_a_planted_source)
{
	static const char *const w[] = { "w" }, *const hr[] = { "hr" };
	const struct reader planter = { .groups = w, .group_n = 1 }, people = { .groups = hr, .group_n = 1 }, none = { 0 };
	char path[400], text[200];

	begin();
	limits.acl = (struct ingest_acl){ .unset = hr, .unset_n = 1 };
	CHECK_OK(push(NULL, at("in/open.txt"), "Planted for all.", "", 1), e);
	CHECK_OK(push(NULL, at("in/pay.txt"), "Planted for w.", "w", 1), e);
	put("in/open.txt", "The payroll of May.\n");
	put("in/pay.txt", "The payroll of June.\n");
	sync_in();
	VERDICT("in/open.txt", DOC_UPDATED);
	CHECK(seen(&people, "in/open.txt") && !seen(&none, "in/open.txt") && !seen(&planter, "in/open.txt"));
	VERDICT("in/pay.txt", DOC_FAILED);              /* neither list is the narrower one: someone must say */
	CHECK(strstr(events[event("in/pay.txt")].reason, "name the groups"));
	CHECK_INT(stored("in/pay.txt", text, sizeof text), OK);
	CHECK_STR(text, "Planted for w.");
	CHECK_OK(sync_with((struct ingest_request){ .acl = hr, .acl_n = 1 }), e);
	CHECK(seen(&people, "in/pay.txt") && !seen(&planter, "in/pay.txt"));
	sync_in();                                      /* a synced file keeps what it has */
	CHECK_INT(sum.by_verdict[DOC_UNCHANGED], 2);
	/* the same of what is pushed by its source alone */
	snprintf(path, sizeof path, "%s", at("in/salaries"));
	CHECK_OK(push(NULL, path, "Planted for all.", "", 1), e);
	CHECK_OK(push(NULL, path, "What everyone earns.", "", 0), e);
	CHECK(seen(&people, "in/salaries") && !seen(&none, "in/salaries"));
	CHECK_OK(push(NULL, at("in/bonus"), "Planted for w.", "w", 1), e);
	CHECK_INT(push(NULL, at("in/bonus"), "What everyone is given.", "", 0), E_CONFLICT);
	CHECK_OK(push(NULL, at("in/bonus"), "What everyone is given.", "hr", 1), e);
	CHECK(!seen(&planter, "in/bonus"));
	/* the narrower one stays; an id says that this document is meant */
	limits.acl = (struct ingest_acl){ 0 };
	CHECK_OK(push(NULL, path, "What everyone earns now.", "", 0), e);
	CHECK(!seen(&none, "in/salaries"));
	limits.acl = (struct ingest_acl){ .unset = w, .unset_n = 1 };
	CHECK_OK(push("mine", at("in/mine"), "Minutes of a meeting.", "hr", 1), e);
	CHECK_OK(push("mine", at("in/mine"), "Minutes of another meeting.", "", 0), e);
	CHECK(seen(&people, "in/mine") && !seen(&planter, "in/mine"));
	end();
}

static const char *late_group;
static const struct ingest *late_with;

/* While a run embeds, before it commits: another one stores a document under the same source. */
static void late_progress(void *ctx, const struct ingest_progress *p)
{
	const char *const groups[] = { late_group };
	struct ingest_item it = { .collection = "default", .source = at("in/late.txt"), .data = "Not for w.", .len = 10, .is_text = 1,
		.acl = groups, .acl_n = *late_group != 0 };

	(void)ctx;
	(void)p;
	if (!late_with)
		return;
	late_with = NULL;
	CHECK_OK(ingest_item(&with, &it, NULL, &e), e);
}

/* What was looked at before the text was embedded is looked at again as it is written. */
TEST(ingest_hidden_meanwhile)
{
	static const char *const w[] = { "w" }, *const hr[] = { "hr" };
	const struct reader planter = { .groups = w, .group_n = 1 }, people = { .groups = hr, .group_n = 1 }, none = { 0 };
	const struct ingest_sink late = { .event = on_event, .progress = late_progress };
	struct ingest_item it = { .collection = "default", .source = "", .data = "Taken over.", .len = 11, .is_text = 1, .acl = w,
		.acl_n = 1, .reader = &planter };
	char path[400], text[200];

	begin();
	snprintf(path, sizeof path, "%s", at("in/late.txt"));
	it.source = path;
	late_group = "hr", late_with = &with, event_n = 0;
	CHECK_INT(ingest_item(&with, &it, &late, &e), E_CONFLICT);
	CHECK_STR(e.msg, "this id or source cannot be used");
	it.id = "other", late_with = NULL;
	CHECK_INT(ingest_item(&with, &it, &late, &e), E_CONFLICT);
	CHECK_STR(e.msg, "this id or source cannot be used");
	CHECK_INT(stored("in/late.txt", text, sizeof text), OK);
	CHECK_STR(text, "Not for w.");
	CHECK(seen(&people, "in/late.txt") && !seen(&planter, "in/late.txt"));
	/* groups that were decided by what stood there */
	CHECK_OK(push(NULL, path, "For all to read.", "", 1), e);
	it = (struct ingest_item){ .collection = "default", .source = path, .data = "Newer.", .len = 6, .is_text = 1 };
	late_group = "hr", late_with = &with, event_n = 0;
	CHECK_INT(ingest_item(&with, &it, &late, &e), E_CONFLICT);
	CHECK(strstr(e.msg, "meanwhile"));
	CHECK(!seen(&none, "in/late.txt"));
	CHECK_OK(ingest_item(&with, &it, &late, &e), e);
	CHECK(!seen(&none, "in/late.txt"));
	/* the same groups: whoever writes last */
	it.data = "Newest";
	late_with = &with;
	CHECK_OK(ingest_item(&with, &it, &late, &e), e);
	CHECK_INT(stored("in/late.txt", text, sizeof text), OK);
	CHECK_STR(text, "Newest");
	/* a file of a folder */
	CHECK_OK(sync_with((struct ingest_request){ .acl = hr, .acl_n = 1 }), e);
	put("in/late.txt", "From the folder.\n");
	late_group = "hr", late_with = &with, event_n = 0;
	CHECK_OK(ingest_paths(&with, &(struct ingest_request){ .collection = "default", .cwd = dir, .paths = (const char *[]){ "in" },
		.path_n = 1, .acl = w, .acl_n = 1, .reader = &planter }, &late, &sum, &e), e);
	VERDICT("in/late.txt", DOC_FAILED);
	CHECK(seen(&people, "in/late.txt") && !seen(&planter, "in/late.txt"));
	end();
}

TEST(ingest_limits)
{
	char text[200];

	begin();
	put("in/big.txt", "Twenty bytes of text.\n");
	put("in/long.txt", "A long text. It is cut.");
	limits.file_bytes_max = 10;
	sync_in();
	VERDICT("in/big.txt", DOC_SKIPPED);
	CHECK_STR(events[event("in/big.txt")].reason, "larger than ingest.file_bytes_max (10 bytes)");
	ingest_limits_default(&limits);
	limits.text_bytes_max = 12;
	sync_in();
	VERDICT("in/long.txt", DOC_PARTIAL);
	CHECK_INT(stored("in/long.txt", text, sizeof text), OK);
	CHECK_STR(text, "A long text.");
	end();
}

/* Text that can't be read any more must not cost what is stored. */
TEST(ingest_failure_keeps_text)
{
	char text[200];

	begin();
	put("in/a.txt", "Old text.\n");
	sync_in();
	CHECK(unlink(at("in/a.txt")) == 0 && symlink("a.txt", at("in/a.txt")) == 0);    /* a link to itself */
	CHECK_OK(sync_with((struct ingest_request){ .prune = 1 }), e);
	VERDICT("in/a.txt", DOC_FAILED);
	CHECK_INT(stored("in/a.txt", text, sizeof text), OK);
	CHECK_STR(text, "Old text.");
	end();
}

/* The store fills up in the middle: what was committed stays, what was not is named. */
TEST(ingest_store_full)
{
	struct reader all = { .collection = "default", .all_groups = 1 };
	static char text[600000];
	struct snapshot *s;
	struct arena a;
	struct doc d[20];
	size_t got, added = 0;

	begin_map((size_t)4 << 20);
	memset(text, 'x', sizeof text - 1);     /* a word too long for the vocabulary is one token: few chunks, many bytes */
	limits.commit_docs = 2;
	limits.commit_ms = 600000;
	for (int i = 0; i < 12; i++) {
		char name[20];

		snprintf(name, sizeof name, "in/%02d.txt", i);
		text[0] = (char)('a' + i);
		put(name, text);
	}
	CHECK_INT(sync_with((struct ingest_request){ 0 }), E_FULL);
	for (size_t i = 0; i < event_n; i++) {
		CHECK(events[i].verdict == DOC_ADDED || (events[i].verdict == DOC_FAILED && events[i].reason[0]));
		added += events[i].verdict == DOC_ADDED;
	}
	CHECK(added > 0 && event_n == added + 2);
	arena_init(&a, 1 << 20);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_docs(s, &all, 0, 0, 20, &a, d, &got, &e), e);
	CHECK_INT(got, added);
	snapshot_close(s);
	arena_clear(&a);
	end();
}

TEST(ingest_cancel)
{
	volatile int stop = 1;

	begin();
	put("in/a.txt", "Some text.\n");
	with.cancel = &stop;
	CHECK_INT(sync_with((struct ingest_request){ 0 }), E_CANCELLED);
	CHECK_INT(event_n, 0);
	end();
}

/* Many chunks over many files and commits: every stored offset is right. */
TEST(ingest_many)
{
	struct reader all = { .collection = "default", .all_groups = 1 };
	struct snapshot *s;
	struct arena a;
	struct doc d[50];
	size_t got;

	begin();
	limits.commit_docs = 7;
	limits.chunk_tokens = 40;
	limits.chunk_overlap_tokens = 10;
	for (int i = 0; i < 40; i++) {
		char name[40], text[3000];
		size_t n = (size_t)snprintf(text, sizeof text, "# Page %d\n\n", i);

		for (int k = 0; k < 3 + i % 20; k++)
			n += (size_t)snprintf(text + n, sizeof text - n, "Sentence %d of page %d says größer things. %s", k, i,
				k % 7 == 6 ? "\n\n" : "");
		snprintf(name, sizeof name, "in/%02d.md", i);
		put(name, text);
	}
	sync_in();
	CHECK_INT(sum.by_verdict[DOC_ADDED], 40);
	arena_init(&a, 1 << 24);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_docs(s, &all, 0, 0, 50, &a, d, &got, &e), e);
	CHECK_INT(got, 40);
	for (size_t i = 0; i < got; i++) {
		struct embed_text t;
		struct chunk *c;
		const char *text;
		float v[1024];
		size_t len, n;

		CHECK_OK(snapshot_text(s, &d[i], &text, &len, &e), e);
		CHECK_OK(snapshot_chunks(s, &d[i], &a, &c, &n, &e), e);
		CHECK_INT(n, d[i].chunks);
		for (size_t k = 0; k < n; k++) {
			CHECK_INT(utf8_count(text, c[k].range.off), c[k].start_cp);
			for (uint32_t u = 0; u < c[k].sentence_n; u++)
				CHECK(text[c[k].sentences[u].off + c[k].sentences[u].len - 1] == '.' || u == 0);
		}
		/* the vector is that of the chunk's own text */
		if (i == 17) {
			float want[1024], dot = 0;
			char in[4000];

			snprintf(in, sizeof in, "%s\n%.*s", d[i].title, (int)(c[1].range.len), text + c[1].range.off);
			t = (struct embed_text){ in, strlen(in) };
			CHECK_OK(embedder_encode(m, &t, 1, EMBED_PASSAGE, EMBED_BULK, want, &e), e);
			CHECK_OK(snapshot_vector(s, c[1].id, v, &e), e);
			for (int k = 0; k < embedder_info(m)->dim; k++)
				dot += v[k] * want[k];
			CHECK_MSG(dot > 0.999f, "cosine %f", (double)dot);
		}
	}
	snapshot_close(s);
	arena_clear(&a);
	end();
}

TEST(ingest_item_kinds)
{
	struct ingest_item it = { .collection = "default", .title = "Given", .data = "Pushed text.", .len = 12, .is_text = 1,
		.id = "my-id", .source = "" };
	struct ingest_item page = { .collection = "default", .name = "p.html", .data = "<title>T</title><p>Words here.</p>",
		.len = 34 };
	struct ingest_item bad = { .collection = "other", .id = "my-id", .data = "x y", .len = 3, .is_text = 1 };
	struct ingest_item empty = { .collection = "default", .data = " ", .len = 1, .is_text = 1 };

	begin();
	event_n = 0;
	CHECK_OK(ingest_item(&with, &it, &sink, &e), e);
	CHECK_STR(events[0].id, "my-id");
	CHECK_INT(events[0].verdict, DOC_ADDED);
	CHECK_OK(ingest_item(&with, &it, &sink, &e), e);
	CHECK_INT(events[1].verdict, DOC_UNCHANGED);
	it.data = "Other words!";
	CHECK_OK(ingest_item(&with, &it, &sink, &e), e);
	CHECK_INT(events[2].verdict, DOC_UPDATED);
	CHECK_STR(events[2].id, "my-id");
	CHECK_OK(ingest_item(&with, &page, &sink, &e), e);
	CHECK_INT(events[3].verdict, DOC_ADDED);
	CHECK_INT(events[3].chars, strlen("Words here."));
	CHECK_OK(ingest_item(&with, &page, &sink, &e), e);
	CHECK_INT(events[4].verdict, DOC_DUPLICATE);
	CHECK_STR(events[4].id, events[3].id);
	CHECK_INT(ingest_item(&with, &bad, &sink, &e), E_CONFLICT);
	CHECK_INT(events[5].verdict, DOC_FAILED);
	CHECK_OK(ingest_item(&with, &empty, &sink, &e), e);
	CHECK_INT(events[6].verdict, DOC_SKIPPED);
	end();
}

/* One document that the store refuses does not cost the others. */
TEST(ingest_items_one_refused)
{
	struct ingest_item it[3] = {
		{ .collection = "default", .id = "a", .data = "First text.", .len = 11, .is_text = 1 },
		{ .collection = "no such name!", .id = "b", .data = "Second text.", .len = 12, .is_text = 1 },
		{ .collection = "default", .id = "c", .data = "Third text.", .len = 11, .is_text = 1 },
	};

	begin();
	event_n = 0;
	CHECK_OK(ingest_items(&with, it, 3, &sink, &sum, &e), e);
	CHECK_INT(event_n, 3);
	CHECK_INT(sum.by_verdict[DOC_ADDED], 2);
	CHECK_INT(sum.by_verdict[DOC_FAILED], 1);
	CHECK_INT(events[1].verdict, DOC_FAILED);
	CHECK(strstr(events[1].reason, "no such name!"));
	end();
}

/* Every allocation of a whole run fails once: an error or a verdict, never a crash, never a damaged store. */
TEST(ingest_out_of_memory)
{
	begin();
	for (long n = 1; n < 400; n += 7) {
		char text[60];

		snprintf(text, sizeof text, "# Title\n\nText number %ld.\n\n- item\n", n);
		put("in/a.md", text);
		put("in/b.html", text);
		fault_alloc_after(n);
		sync_with((struct ingest_request){ .prune = 1 });
		fault_alloc_after(0);
	}
	sync_in();
	CHECK(events[event("in/a.md")].verdict == DOC_UPDATED || events[event("in/a.md")].verdict == DOC_UNCHANGED);
	end();
}
