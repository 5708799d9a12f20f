/* bench_store.c: `footnote bench store`: how many chunks a second the store takes in, vectors given: texts of a file as
 * chunks of about a hundred words, ten a document, as many documents a commit as ingest writes, every commit on disk.
 * Vectors are made before the clock starts (what they are does not matter to the store). Graphs are not built.
 * Told by the wall clock and by this thread's processor time, which other programs on the core don't change.
 * Threads: the command's. Failure: the first error ends it; the folder it made goes in every case. */
#include <stdio.h>
#include <string.h>
#include "api/bench.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/flag.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/sentence.h"
#include "base/utf8.h"
#include "index/index.h"

enum { DIM = 384, CHUNK_WORDS = 100, DOC_CHUNKS = 10, VECTORS = 1024, SENTENCES_MAX = 256, QUOTE_MAX = 400, FOLDERS = 8 };

struct store_bench {
	struct command_call *call;
	struct embed_text *texts; size_t text_n, at; /* at: the next text */
	float *vectors;                  /* (VECTORS, DIM), taken in turn */
	char dir[BENCH_DIR_MAX];
	struct index *index;
	size_t documents, chunks, commits, bytes;
	/* the document at hand */
	struct buf text;
	struct chunk_in chunk[DOC_CHUNKS]; size_t chunk_n;
	struct span sentence[DOC_CHUNKS][SENTENCES_MAX];
};

static size_t words_of(const char *s, size_t n)
{
	size_t words = 0;
	for (size_t i = 0; i < n; i++) words += s[i] != ' ' && (i == 0 || s[i - 1] == ' ');
	return words;
}

/* Joins texts to the next chunk and finds its sentences. 0: there are no more. */
static int chunk_next(struct store_bench *b)
{
	struct chunk_in *c = &b->chunk[b->chunk_n];
	struct span *s = b->sentence[b->chunk_n];
	size_t from = b->text.len, words = 0, pos = 0, start, end;
	while (b->at < b->text_n && words < CHUNK_WORDS) {
		const struct embed_text *t = &b->texts[b->at++];
		buf_put(&b->text, t->text, t->len);
		buf_puts(&b->text, "\n\n");
		words += words_of(t->text, t->len);
	}
	if (!words || buf_failed(&b->text)) return 0;
	*c = (struct chunk_in){ { (uint32_t)from, (uint32_t)(b->text.len - 2 - from) }, "", 0, s, 0 };
	while (c->sentence_n < SENTENCES_MAX && sentence_next(b->text.data + from, c->range.len, &pos, &start, &end))
		if (utf8_count(b->text.data + from + start, end - start) <= QUOTE_MAX)
			s[c->sentence_n++] = (struct span){ (uint32_t)(from + start), (uint32_t)(end - start) };
	b->chunk_n++;
	return 1;
}

static int document_put(struct store_bench *b, struct write *w, struct err *e)
{
	size_t first = b->chunks % (VECTORS - DOC_CHUNKS);
	struct doc_in d = { .collection = "bench", .type = "txt", .root = "", .meta = "{}", .verdict = DOC_ADDED, .reason = "",
		.duplicate_of = "", .source_mtime_ns = 1, .text = b->text.data, .text_len = b->text.len, .bytes = b->text.len,
		.chunks = b->chunk, .chunk_n = b->chunk_n, .vectors = b->vectors + first * DIM };
	char source[60], title[40], id[64];
	int verdict, rc;
	snprintf(source, sizeof source, "/bench/%zu/document-%zu.txt", b->documents % FOLDERS, b->documents);
	snprintf(title, sizeof title, "document-%zu.txt", b->documents);
	d.source = source, d.title = title, d.source_size = d.bytes;
	sha256_of(b->text.data, b->text.len, d.hash);
	rc = index_put(w, &d, id, &verdict, e);
	b->documents++, b->chunks += b->chunk_n, b->bytes += b->text.len;
	return rc;
}

/* Puts a commit's worth of documents; the time of making them is not counted. *wall and *cpu in ms. */
static int commit_put(struct store_bench *b, double *wall, double *cpu, struct err *e)
{
	size_t docs = (size_t)b->call->conf->commit_docs;
	struct write *w;
	double wall0 = clock_ms(), cpu0 = bench_thread_ms();
	int rc = index_write_begin(&w, b->index, e);
	if (rc) return rc;
	for (size_t i = 0; !rc && i < docs; i++) {
		double made_wall = clock_ms(), made_cpu = bench_thread_ms();
		buf_reset(&b->text);
		b->chunk_n = 0;
		while (b->chunk_n < DOC_CHUNKS && chunk_next(b));
		if (buf_failed(&b->text)) rc = err_set(e, buf_failed(&b->text), "bench: a document is too large");
		wall0 += clock_ms() - made_wall, cpu0 += bench_thread_ms() - made_cpu;
		if (!rc && !b->chunk_n) break;
		if (!rc) rc = document_put(b, w, e);
	}
	if (rc) index_write_abort(w);
	else rc = index_write_commit(w, e);
	b->commits++;
	*wall += clock_ms() - wall0;
	*cpu += bench_thread_ms() - cpu0;
	return rc;
}

static int store_make(struct store_bench *b, struct err *e)
{
	struct index_options o;
	int rc = bench_folder_make(b->dir, e);
	if (rc) return rc;
	service_store_options(b->call->conf, &o);
	o.dir = b->dir;
	o.dim = DIM, o.embedder = "bench", o.exact_below = SIZE_MAX;
	return index_open(&b->index, &o, e);
}

static int vectors_make(struct store_bench *b, struct err *e)
{
	uint64_t s = 0x9e3779b97f4a7c15u;
	b->vectors = mem_alloc((size_t)VECTORS * DIM * sizeof *b->vectors);
	if (!b->vectors) return err_set(e, E_MEMORY, "bench: out of memory");
	for (size_t i = 0; i < (size_t)VECTORS * DIM; i++) {
		s ^= s << 13, s ^= s >> 7, s ^= s << 17;
		b->vectors[i] = ((float)(s >> 40) / (float)(1 << 24) - 0.5f) * 0.1f;
	}
	return OK;
}

static int measure(struct store_bench *b, cJSON *out, struct err *e)
{
	double wall = 0, cpu = 0;
	struct index_stats st;
	int rc = OK;
	while (!rc && b->at < b->text_n)
		rc = flag_is(b->call->cancel) ? err_set(e, E_CANCELLED, "bench: cancelled") : commit_put(b, &wall, &cpu, e);
	if (!rc) rc = index_stats(b->index, &st, e);
	if (!rc) rc = bench_number(out, "documents", (double)b->documents, e);
	if (!rc) rc = bench_number(out, "chunks", (double)b->chunks, e);
	if (!rc) rc = bench_number(out, "commits", (double)b->commits, e);
	if (!rc) rc = bench_number(out, "text_mb", (double)b->bytes / 1e6, e);
	if (!rc) rc = bench_number(out, "file_mb", (double)st.file_bytes / 1e6, e);
	if (!rc) rc = bench_number(out, "chunks_per_s", (double)b->chunks * 1e3 / wall, e);
	return rc ? rc : bench_number(out, "chunks_per_cpu_s", (double)b->chunks * 1e3 / cpu, e);
}

int bench_store(struct command_call *c, cJSON *out, struct err *e)
{
	struct store_bench *b = mem_calloc(1, sizeof *b);
	const char *texts = NULL;
	long limit = BENCH_TEXTS_MAX;
	struct option options[] = { { "--texts", OPTION_TEXT, &texts, 0, 0 },
		{ "--limit", OPTION_NUMBER, &limit, 1, BENCH_TEXTS_MAX } };
	struct arena a;
	struct buf path;
	int rc = b ? options_parse(c, options, sizeof options / sizeof *options, e) : err_set(e, E_MEMORY, "bench: out of memory");
	if (!b) return rc;
	b->call = c;
	arena_init(&a, BENCH_FILE_BYTES_MAX);
	buf_init(&path, 8192);
	buf_init(&b->text, 1 << 24);
	if (!rc && (c->argc != 1 || !texts)) rc = err_set(e, E_USAGE, "bench store: wants --texts F");
	if (!rc) rc = path_absolute(&path, c->cwd, texts, e);
	if (!rc) rc = bench_texts(buf_cstr(&path), (size_t)limit, &a, &b->texts, &b->text_n, e);
	if (!rc) rc = vectors_make(b, e);
	if (!rc) rc = store_make(b, e);
	if (!rc) rc = measure(b, out, e);
	index_close(b->index);
	bench_folder_remove(b->dir);
	mem_free(b->texts);
	mem_free(b->vectors);
	buf_clear(&b->text);
	buf_clear(&path);
	arena_clear(&a);
	mem_free(b);
	return rc;
}
