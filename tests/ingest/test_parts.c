/* test_parts.c: what is attached to a mail becomes documents of their own, and goes with it. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "ingest/ingest.h"
#include "tests/test.h"

enum { EVENTS_MAX = 32 };

static char dir[200];
static struct index *x;
static struct embedder *m;
static struct ingest_limits limits;
static struct ingest with;
static struct { char source[300], id[64], reason[300], part_of[300]; int verdict; } events[EVENTS_MAX];
static size_t event_n;
static struct err e;

static void on_event(void *ctx, const struct ingest_event *ev)
{
	(void)ctx;
	CHECK(event_n < EVENTS_MAX);
	snprintf(events[event_n].source, sizeof events->source, "%s", ev->source);
	snprintf(events[event_n].id, sizeof events->id, "%s", ev->document_id);
	snprintf(events[event_n].reason, sizeof events->reason, "%s", ev->reason);
	snprintf(events[event_n].part_of, sizeof events->part_of, "%s", ev->part_of);
	events[event_n++].verdict = ev->verdict;
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

static void begin(void)
{
	struct index_options o = { .map_bytes = (size_t)1 << 28, .ivf_probes = 64, .ivf_rerank = 100, .hnsw_m = 16, .hnsw_ef_construction = 64,
		.hnsw_ef_search = 64, .exact_below = 1000, .rebuild_share = 0.2, .readers_max = 16, .bm25_k1 = 1.2, .bm25_b = 0.75,
		.query_terms_max = 64 };
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

static void end(void)
{
	uint64_t problems = 0;

	CHECK_OK(index_check(x, NULL, NULL, &problems, &e), e);
	CHECK_INT(problems, 0);
	parsers_close(with.parsers);
	index_close(x);
	embedder_close(m);
}

static void sync_paths(const char *const *paths, int prune, const char *const *acl, size_t acl_n)
{
	struct ingest_request q = { .collection = "default", .cwd = dir, .paths = paths, .path_n = 1, .prune = prune, .acl = acl,
		.acl_n = acl_n };
	struct ingest_summary sum;

	event_n = 0;
	CHECK_OK(ingest_paths(&with, &q, &sink, &sum, &e), e);
}

static void sync_in(int prune)
{
	static const char *const in[] = { "in" };

	sync_paths(in, prune, NULL, 0);
}

/* The verdict told of a file or part; -1: none. */
static int verdict(const char *name)
{
	for (size_t i = 0; i < event_n; i++)
		if (strcmp(events[i].source, at(name)) == 0)
			return events[i].verdict;
	return -1;
}

static int find(const char *source, struct doc *d, struct arena *a)
{
	struct reader all = { .all_groups = 1 };
	struct snapshot *s;
	int rc;

	CHECK_OK(snapshot_open(&s, x, &e), e);
	rc = snapshot_doc_by_source(s, &all, "default", source, a, d, &e);
	snapshot_close(s);
	return rc;
}

static int stored(const char *name)
{
	struct arena a;
	struct doc d;
	int rc;

	arena_init(&a, 1 << 20);
	rc = find(at(name), &d, &a);
	arena_clear(&a);
	return rc == OK;
}

#define HEAD "From: a@example.org\nTo: b@example.org\nSubject: The harbour\nMIME-Version: 1.0\n" \
	"Content-Type: multipart/mixed; boundary=\"XX\"\n\n--XX\nContent-Type: text/plain\n\nThe crane is broken.\n"
#define ATTACHED(name, text) "--XX\nContent-Type: text/plain; name=\"" name "\"\n" \
	"Content-Disposition: attachment; filename=\"" name "\"\n\n" text "\n"
#define TAIL "--XX--\n"

TEST(parts_follow_their_file)
{
	static const char *const groups[] = { "port" }, *const in[] = { "in" };
	struct arena a;
	struct doc d;

	begin();
	put("in/m.eml", HEAD ATTACHED("plan.txt", "The plan has three steps.") ATTACHED("list.md", "# List\n\nRope and paint.") TAIL);
	put("in/z.txt", "Something else.");
	sync_in(0);
	CHECK_INT(event_n, 4);
	CHECK_INT(verdict("in/m.eml"), DOC_ADDED);
	CHECK_INT(verdict("in/m.eml#plan.txt"), DOC_ADDED);
	CHECK_INT(verdict("in/m.eml#list.md"), DOC_ADDED);
	CHECK_STR(events[0].part_of, "");
	CHECK_STR(events[1].part_of, at("in/m.eml"));
	arena_init(&a, 1 << 20);
	CHECK_OK(find(at("in/m.eml#list.md"), &d, &a), e);
	CHECK_STR(d.type, "md");
	CHECK_STR(d.root, at("in"));
	sync_in(1);                                             /* unchanged: so are they, and pruning leaves them */
	CHECK_INT(event_n, 4);
	CHECK_INT(verdict("in/m.eml#plan.txt"), DOC_UNCHANGED);
	CHECK_INT(verdict("in/m.eml#list.md"), DOC_UNCHANGED);
	sync_paths(in, 0, groups, 1);                           /* groups are the file's */
	CHECK_OK(find(at("in/m.eml#plan.txt"), &d, &a), e);
	CHECK_INT(d.acl_n, 1);
	CHECK_STR(d.acl[0], "port");
	put("in/m.eml", HEAD ATTACHED("plan.txt", "The plan has four steps now.") TAIL);
	sync_in(0);
	CHECK_INT(verdict("in/m.eml"), DOC_UPDATED);
	CHECK_INT(verdict("in/m.eml#plan.txt"), DOC_UPDATED);
	CHECK_INT(verdict("in/m.eml#list.md"), DOC_REMOVED);
	CHECK(stored("in/m.eml#plan.txt") && !stored("in/m.eml#list.md"));
	CHECK_OK(find(at("in/m.eml#plan.txt"), &d, &a), e);
	CHECK_INT(d.acl_n, 1);                                  /* what was restricted stays so */
	CHECK(unlink(at("in/m.eml")) == 0);
	sync_in(0);
	CHECK(stored("in/m.eml#plan.txt"));                     /* without --prune nothing goes */
	sync_in(1);
	CHECK_INT(verdict("in/m.eml"), DOC_REMOVED);
	CHECK_INT(verdict("in/m.eml#plan.txt"), DOC_REMOVED);
	CHECK(!stored("in/m.eml") && !stored("in/m.eml#plan.txt") && stored("in/z.txt"));
	arena_clear(&a);
	end();
}

/* A file given by itself, a real file whose name looks like a part's, and the limits. */
TEST(parts_given_file_and_limits)
{
	static const char *const one[] = { "in/m.eml" };

	begin();
	put("in/m.eml", HEAD ATTACHED("plan.txt", "The plan has three steps.") TAIL);
	put("in/m.eml#real.txt", "A file with a sharp in its name.");
	sync_in(1);
	CHECK_INT(verdict("in/m.eml#real.txt"), DOC_ADDED);
	sync_in(1);
	CHECK_INT(verdict("in/m.eml#real.txt"), DOC_UNCHANGED);
	put("in/m.eml", HEAD ATTACHED("plan.txt", "The plan has five steps.") TAIL);
	sync_paths(one, 0, NULL, 0);
	CHECK_INT(verdict("in/m.eml#plan.txt"), DOC_UPDATED);
	CHECK(stored("in/m.eml#real.txt"));                     /* no part: it stays */
	limits.part_bytes_max = 10;
	put("in/m.eml", HEAD ATTACHED("plan.txt", "The plan has six steps.") TAIL);
	sync_in(0);
	CHECK_INT(verdict("in/m.eml#plan.txt"), DOC_SKIPPED);
	limits.part_bytes_max = 1000;
	limits.part_depth_max = 0;
	put("in/m.eml", HEAD ATTACHED("plan.txt", "The plan has seven steps.") TAIL);
	sync_in(0);
	CHECK_INT(verdict("in/m.eml#plan.txt"), DOC_SKIPPED);
	CHECK_STR(events[1].reason, "deeper than ingest.part_depth_max");
	CHECK(unlink(at("in/m.eml")) == 0);
	sync_paths(one, 1, NULL, 0);
	CHECK_INT(verdict("in/m.eml"), DOC_REMOVED);
	CHECK(!stored("in/m.eml") && !stored("in/m.eml#plan.txt") && stored("in/m.eml#real.txt"));
	end();
}

TEST(parts_of_pushed_mail)
{
	static const char mail[] = HEAD ATTACHED("plan.txt", "The plan has three steps.") TAIL;
	struct ingest_item it = { .collection = "default", .source = "up.eml", .name = "up.eml", .data = mail, .len = sizeof mail - 1 };
	struct arena a;
	struct doc d;

	begin();
	event_n = 0;
	CHECK_OK(ingest_item(&with, &it, &sink, &e), e);
	CHECK_INT(event_n, 2);
	CHECK_STR(events[1].source, "up.eml#plan.txt");
	CHECK_STR(events[1].part_of, "up.eml");
	arena_init(&a, 1 << 20);
	CHECK_OK(find("up.eml#plan.txt", &d, &a), e);
	arena_clear(&a);
	it.source = NULL;                                       /* nothing to call its parts by */
	it.data = HEAD ATTACHED("other.txt", "Another plan.") TAIL;
	it.len = strlen(it.data);
	event_n = 0;
	CHECK_OK(ingest_item(&with, &it, &sink, &e), e);
	CHECK_INT(event_n, 1);
	CHECK_MSG(strstr(events[0].reason, "attached files left out: 1"), "%s", events[0].reason);
	end();
}
