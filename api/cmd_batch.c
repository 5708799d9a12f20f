/* cmd_batch.c: `footnote batch`: a file of questions to a file of answers, in order, resumable.
 *
 * Method: the questions are read whole. As many as the language model writes together (generate.sequences) are answered
 * at a time, each by a thread that takes the next line when it is done with one; results wait for those before them,
 * and each is one line appended to the output, so that what a kill leaves behind is a whole beginning and at most half
 * a line. --resume cuts that half line off, compares the ids of the lines that are there with the questions', and goes on
 * behind them. An answer is the same whoever is written beside it.
 * Threads: the caller's and as many more; `lock` holds all that changes. Failure: a question's own (no question, unknown
 * prompt …) is its line's "error"; a file that cannot be read or written, or an output that belongs to another
 * batch, ends the command before anything is lost. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "api/ask.h"
#include "api/auth.h"
#include "api/command.h"
#include "api/screen.h"
#include "api/view.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/flag.h"
#include "base/mem.h"

enum { FILE_BYTES_MAX = 1 << 30, LINE_BYTES_MAX = 1 << 20, ANSWER_ARENA = 256 << 20, SYNC_MS = 1000,
	WAITING = 4 /* results for each thread that may wait for an earlier one */ };

struct result {                      /* of one line */
	char *text;                  /* with its line feed; NULL: not known yet */
	int failed, abstained;
};

struct batch {
	struct command_call *call;
	const char *as;              /* --as, or NULL */
	struct buf in;               /* the questions */
	struct buf out_path;
	int fd;
	size_t at;                   /* byte of `in` behind the last line taken */
	size_t taken, written;       /* lines, those of an earlier run included */
	size_t lines;                /* that are not blank */
	size_t resumed, resumed_failed, answered, abstained, failed;
	double synced_ms, began_ms;
	struct progress progress;
	pthread_mutex_t lock;
	pthread_cond_t moved;        /* written grew, or rc was set */
	struct result *results;      /* (room): line i's at i % room */
	size_t room;
	int rc;                      /* the batch's own failure, told in why */
	struct err why;
};

/* The next line that is not blank; 0 at the end. */
static int line_next(const struct buf *b, size_t *at, const char **line, size_t *len)
{
	while (*at < b->len) {
		const char *start = b->data + *at, *nl = memchr(start, '\n', b->len - *at);
		*len = nl ? (size_t)(nl - start) : b->len - *at;
		*at += *len + (nl != NULL);
		*line = start;
		while (*len && strchr(" \t\r", start[*len - 1])) (*len)--;
		if (*len) return 1;
	}
	return 0;
}

/* ---- the output ---- */

static int out_write(struct batch *b, const char *s, size_t len, struct err *e)
{
	while (len) {
		ssize_t n = write(b->fd, s, len);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return err_sys(e, "write %s", buf_cstr(&b->out_path));
		s += n;
		len -= (size_t)n;
	}
	return OK;
}

static int out_sync(struct batch *b, struct err *e)
{
	b->synced_ms = clock_ms();
	return fdatasync(b->fd) ? err_sys(e, "write %s", buf_cstr(&b->out_path)) : OK;
}

/* Appends the results that are there and have nothing before them. Under the lock. */
static int results_write(struct batch *b, struct err *e)
{
	int rc = OK;
	for (struct result *r; !rc && (r = &b->results[b->written % b->room])->text; b->written++) {
		rc = out_write(b, r->text, strlen(r->text), e);
		if (rc) break;
		b->failed += (size_t)r->failed;
		b->abstained += (size_t)r->abstained;
		b->answered += !r->failed && !r->abstained;
		cJSON_free(r->text);
		r->text = NULL;
	}
	return rc || clock_ms() < b->synced_ms + SYNC_MS ? rc : out_sync(b, e);
}

/* ---- one question ---- */

/* The reader that --as says, narrowed by the line's own "as", a list or "G,G". */
static int as_read(struct batch *b, const cJSON *o, struct arena *arena, struct reader *r, struct err *e)
{
	const cJSON *v = json_get(o, "as"), *item;
	const char *const *groups = NULL;
	const char **list = NULL;
	size_t n = 0;
	int rc = command_reader(b->call, b->as, arena, r, e);
	if (rc || !v) return rc;
	if (cJSON_IsString(v)) {
		rc = groups_split(v->valuestring, arena, &groups, &n, e);
		return rc ? err_wrap(e, "as") : reader_narrow(r, groups, n, arena, e);
	}
	if (!cJSON_IsArray(v)) return err_set(e, E_USAGE, "as: must be a list of groups");
	list = arena_calloc(arena, (size_t)cJSON_GetArraySize(v) + 1, sizeof *list);
	if (!list) return err_set(e, E_MEMORY, "batch: out of memory");
	cJSON_ArrayForEach(item, v) {
		if (!cJSON_IsString(item)) return err_set(e, E_USAGE, "as: must be a list of groups");
		list[n++] = item->valuestring;
	}
	return reader_narrow(r, list, n, arena, e);
}

/* The id that a line's result carries; NULL, and null there, when the line has none. */
static const cJSON *id_get(const cJSON *line)
{
	const cJSON *id = cJSON_IsObject(line) ? json_get(line, "id") : NULL;
	return cJSON_IsString(id) || cJSON_IsNumber(id) ? id : NULL;
}

/* A copy of it with every digit; NULL: out of memory. */
static cJSON *id_copy(const cJSON *id, const char *line, size_t len, struct arena *a)
{
	size_t n;
	const char *digits = cJSON_IsNumber(id) ? json_digits(line, len, "id", &n) : NULL;
	char *copy = digits ? arena_strndup(a, digits, n) : NULL;
	if (digits) return copy ? cJSON_CreateRaw(copy) : NULL;
	return id ? cJSON_Duplicate(id, 1) : cJSON_CreateNull();
}

static int question_answer(struct batch *b, const cJSON *o, struct arena *arena, struct answer *a, const char **param, struct err *e)
{
	struct command_call *c = b->call;
	struct filter *filter = NULL;
	struct answer_request q;
	const char *collection = c->collection;
	int rc = ask_read(c->service, o, arena, &q, param, e);
	if (rc) return rc;
	rc = json_get_text(o, *param = "collection", &collection, e);
	if (!rc) rc = ask_collection_check(collection, e);
	if (!rc) *param = "as", rc = as_read(b, o, arena, &q.reader, e);
	if (rc) return rc;
	if ((rc = ask_narrow(o, NULL, &q.reader, arena, e))) {
		*param = "as";
		return rc;
	}
	if ((rc = ask_filter(c->conf, o, NULL, &q.reader, &filter, e))) {
		*param = "filter";
		return rc;
	}
	q.reader.collection = collection;
	q.cancel = c->cancel;
	q.patient = 1;
	*param = NULL;
	rc = answer_run(c->service, &q, NULL, arena, a, e);
	if (rc == E_USAGE) *param = "question";
	filter_free(filter);
	return rc;
}

/* {"id","answer","error"} and a line feed, for cJSON_free; takes id and answer. error is the failure's own text when
 * answer is NULL; http: the status it would have there, 0: the usual one. NULL: out of memory. */
static char *result_text(cJSON *id, cJSON *answer, const struct err *why, const char *param, int http)
{
	cJSON *o = cJSON_CreateObject();
	cJSON *error = answer ? NULL : view_error(why, param, http), *inner = error ? cJSON_DetachItemFromObject(error, "error") : cJSON_CreateNull();
	int ok = o && id && inner && cJSON_AddItemToObject(o, "id", id);
	if (!ok) cJSON_Delete(id);
	if (!answer) answer = cJSON_CreateNull();
	if (!ok || !answer || !cJSON_AddItemToObject(o, "answer", answer)) ok = 0, cJSON_Delete(answer);
	if (!ok || !cJSON_AddItemToObject(o, "error", inner)) ok = 0, cJSON_Delete(inner);
	char *text = ok ? cJSON_PrintUnformatted(o) : NULL, *line = text ? cJSON_malloc(strlen(text) + 2) : NULL;
	if (line) {
		size_t len = strlen(text);
		memcpy(line, text, len);
		memcpy(line + len, "\n", 2);
	}
	cJSON_free(text);
	cJSON_Delete(error);
	cJSON_Delete(o);
	return line;
}

/* The result of line `number`. The batch's own failure in e; the question's is its result. */
static int question_do(struct batch *b, size_t number, const char *line, size_t len, struct result *r, struct err *e)
{
	struct answer a = {0};
	struct arena arena;
	struct err why = {0};
	const char *param = NULL;
	cJSON *o = NULL;
	arena_init(&arena, ANSWER_ARENA);
	int rc = json_parse(&o, line, len, LINE_BYTES_MAX, "question", &why);
	if (!rc && !cJSON_IsObject(o)) rc = err_set(&why, E_FORMAT, "question: not an object");
	int http = rc ? 400 : 0;
	const cJSON *id = id_get(o);
	if (rc) err_wrap(&why, "line %zu", number);
	else if (!id) rc = err_set(&why, E_USAGE, "id: must be a text or a number"), param = "id";
	else rc = question_answer(b, o, &arena, &a, &param, &why);
	if (rc && (flag_is(b->call->cancel) || rc == E_CANCELLED)) {
		rc = err_set(e, E_CANCELLED, "batch: stopped");
	} else {
		*r = (struct result){ .failed = rc != OK, .abstained = !rc && a.status == ANSWER_ABSTAINED };
		cJSON *answer = rc ? NULL : view_answer(&a);
		if (rc || answer) r->text = result_text(id_copy(id, line, len, &arena), answer, &why, param, http);
		rc = r->text ? OK : err_set(e, E_MEMORY, "batch: out of memory");
	}
	answer_close(&a);
	arena_clear(&arena);
	cJSON_Delete(o);
	return rc;
}

/* ---- going on with what is there ---- */

/* Is `told` the result of the line `asked`? *failed: it is an error. */
static int result_fits(const char *asked, size_t asked_len, const char *told, size_t told_len, int *failed)
{
	cJSON *q = NULL, *r = NULL;
	int same = 0;
	*failed = 0;
	if (!json_parse(&r, told, told_len, FILE_BYTES_MAX, "line", NULL) && json_get(r, "answer") != json_get(r, "error")) {
		(void)json_parse(&q, asked, asked_len, LINE_BYTES_MAX, "line", NULL);
		const cJSON *x = id_get(q), *y = json_get(r, "id");
		same = x ? cJSON_Compare(x, y, 1) : !y;
		*failed = json_get(r, "error") != NULL;
	}
	cJSON_Delete(q);
	cJSON_Delete(r);
	return same;
}

/* Passes over the questions whose results are in `out`, and cuts off what stands behind its last whole line. */
static int out_resume(struct batch *b, const struct buf *out, struct err *e)
{
	size_t whole = out->len, at = 0, asked_len, told_len;
	const char *asked, *told;
	int failed;
	while (whole && out->data[whole - 1] != '\n') whole--;
	const struct buf lines = { .data = out->data, .len = whole };
	while (line_next(&lines, &at, &told, &told_len)) {
		b->resumed++;
		if (!line_next(&b->in, &b->at, &asked, &asked_len) || !result_fits(asked, asked_len, told, told_len, &failed))
			return err_set(e, E_CONFLICT, "%s: line %zu is no result of line %zu of this batch", buf_cstr(&b->out_path), b->resumed, b->resumed);
		b->resumed_failed += (size_t)failed;
	}
	b->taken = b->written = b->resumed;
	return ftruncate(b->fd, (off_t)whole) ? err_sys(e, "cut %s", buf_cstr(&b->out_path)) : OK;
}

static int files_open(struct batch *b, const char *in, const char *out, int resume, struct err *e)
{
	struct stat st, st_out;
	struct buf path, old;
	buf_init(&path, FILE_BYTES_MAX);
	buf_init(&old, FILE_BYTES_MAX);
	int rc = path_absolute(&path, b->call->cwd, in, e);
	if (!rc) rc = path_absolute(&b->out_path, b->call->cwd, out, e);
	if (!rc && stat(buf_cstr(&path), &st)) rc = err_set(e, errno == ENOENT ? E_NOT_FOUND : E_IO, "%s: %s", in, strerror(errno));
	if (!rc && !stat(buf_cstr(&b->out_path), &st_out)) {
		if (st_out.st_dev == st.st_dev && st_out.st_ino == st.st_ino) rc = err_set(e, E_USAGE, "-o: %s is the input", out);
		else if (!resume) rc = err_set(e, E_CONFLICT, "%s is there already; --resume goes on with it", out);
	}
	if (!rc) rc = file_read(buf_cstr(&path), &b->in, e);
	if (!rc) {
		b->fd = open(buf_cstr(&b->out_path), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (resume ? 0 : O_EXCL), 0666);
		if (b->fd < 0) rc = err_sys(e, "open %s", out);
	}
	if (!rc && resume) rc = file_read(buf_cstr(&b->out_path), &old, e);
	if (!rc && resume) rc = out_resume(b, &old, e);
	buf_clear(&path);
	buf_clear(&old);
	return rc;
}

/* ---- the command ---- */

static void progress_show(struct batch *b)
{
	char text[96], left[24];
	size_t done = b->written - b->resumed;
	if (!progress_due(&b->progress)) return;
	screen_seconds(left, done ? (clock_ms() - b->began_ms) / 1000 / (double)done * (double)(b->lines - b->written) : 0);
	snprintf(text, sizeof text, "%zu of %zu questions, %s left", b->written, b->lines, done ? left : "?");
	progress_draw(&b->progress, b->lines ? (double)b->written / (double)b->lines : 1, text);
}

/* Takes lines until there are none, or the batch failed. */
static void *answer_lines(void *ctx)
{
	struct batch *b = ctx;
	const char *line;
	size_t len;
	pthread_mutex_lock(&b->lock);
	for (;;) {
		while (!b->rc && b->taken - b->written == b->room) pthread_cond_wait(&b->moved, &b->lock);
		if (b->rc || !line_next(&b->in, &b->at, &line, &len)) break;
		size_t at = b->taken++;
		struct result r = {0};
		struct err e = {0};
		pthread_mutex_unlock(&b->lock);
		int rc = flag_is(b->call->cancel) ? err_set(&e, E_CANCELLED, "batch: stopped") : question_do(b, at + 1, line, len, &r, &e);
		pthread_mutex_lock(&b->lock);
		if (!rc) {
			b->results[at % b->room] = r;
			if (!b->rc) rc = results_write(b, &e);   /* nothing behind a line that was cut short */
			progress_show(b);
		}
		if (rc && !b->rc) b->rc = rc, b->why = e;
		pthread_cond_broadcast(&b->moved);
	}
	pthread_mutex_unlock(&b->lock);
	return NULL;
}

/* Threads that cannot be had are not missed. */
static int batch_run(struct batch *b, struct err *e)
{
	const char *line;
	size_t len, at = 0, threads = 0, most = (size_t)b->call->conf->generate_sequences - 1;
	pthread_t *others = mem_calloc(most + 1, sizeof *others);
	b->room = (most + 1) * WAITING;
	b->results = mem_calloc(b->room, sizeof *b->results);
	if (!others || !b->results) b->rc = err_set(&b->why, E_MEMORY, "batch: out of memory");
	while (line_next(&b->in, &at, &line, &len)) b->lines++;
	progress_init(&b->progress, b->call);
	b->began_ms = clock_ms();
	while (!b->rc && threads < most && !pthread_create(&others[threads], NULL, answer_lines, b)) threads++;
	answer_lines(b);
	while (threads) pthread_join(others[--threads], NULL);
	progress_hide(&b->progress);
	for (size_t i = 0; b->results && i < b->room; i++) cJSON_free(b->results[i].text);
	mem_free(b->results);
	mem_free(others);
	if (b->rc == E_CANCELLED)
		return err_set(e, E_CANCELLED, "batch: stopped before line %zu; --resume goes on there", b->written + 1);
	if (b->rc) *e = b->why;
	return b->rc ? b->rc : out_sync(b, e);
}

static int summary_print(struct batch *b, struct err *e)
{
	struct command_call *c = b->call;
	if (!c->json) {
		if (!c->quiet)
			out_printf(c->out, 1, "%zu questions: %zu answered, %zu abstained, %zu failed%s%s\n", b->lines, b->answered, b->abstained,
				b->failed, b->resumed ? ", the others were there before" : "", b->resumed_failed ? ", some of them failed" : "");
		return OK;
	}
	cJSON *o = cJSON_CreateObject(), *s = o ? cJSON_AddObjectToObject(o, "summary") : NULL;
	if (s && cJSON_AddNumberToObject(s, "questions", (double)b->lines) && cJSON_AddNumberToObject(s, "answered", (double)b->answered) &&
		cJSON_AddNumberToObject(s, "abstained", (double)b->abstained) && cJSON_AddNumberToObject(s, "failed", (double)b->failed) &&
		cJSON_AddNumberToObject(s, "resumed", (double)b->resumed) &&
		cJSON_AddNumberToObject(s, "resumed_failed", (double)b->resumed_failed)) return command_json(c, o, e);
	cJSON_Delete(o);
	return err_set(e, E_MEMORY, "batch: out of memory");
}

/* A mistake in --as ends the command before the first question. */
static int as_check(struct command_call *c, const char *as, struct err *e)
{
	struct reader reader;
	struct arena a;
	int rc;
	arena_init(&a, ANSWER_ARENA);
	rc = command_reader(c, as, &a, &reader, e);
	arena_clear(&a);
	return rc;
}

int cmd_batch(struct command_call *c)
{
	const char *out = NULL;
	int resume = 0, code = EXIT_DONE;
	const char *as = NULL;
	struct option options[] = { {"-o", OPTION_TEXT, &out, 0, 0}, {"--resume", OPTION_FLAG, &resume, 0, 0},
		{"--as", OPTION_TEXT, &as, 0, 0} };
	struct batch b = { .call = c, .fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER };
	struct err e = {0};
	buf_init(&b.in, FILE_BYTES_MAX);
	buf_init(&b.out_path, FILE_BYTES_MAX);
	int rc = options_parse(c, options, sizeof options / sizeof *options, &e);
	b.as = as;
	if (!rc && as) rc = as_check(c, as, &e);
	if (!rc && (c->argc != 2 || !out)) rc = err_set(&e, E_USAGE, "batch: one file of questions and -o FILE are needed");
	if (rc) {
		code = command_misused(c, &e);
		goto out;
	}
	rc = files_open(&b, c->argv[1], out, resume, &e);
	if (!rc) rc = batch_run(&b, &e);
	if (!rc) rc = summary_print(&b, &e);
	code = rc ? command_fail(c, &e) : b.failed || b.resumed_failed ? EXIT_SOME_FAILED : EXIT_DONE;
out:
	if (b.fd >= 0) close(b.fd);
	buf_clear(&b.in);
	buf_clear(&b.out_path);
	return code;
}
