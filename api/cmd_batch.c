/* cmd_batch.c: `footnote batch`: a file of questions to a file of answers, in order, resumable.
 *
 * Method: the questions are read whole and answered by batch.h; each result is one line appended to the output, so that
 * what a kill leaves behind is a whole beginning and at most half a line. --resume cuts that half line off, compares the
 * ids of the lines that are there with the questions', and goes on behind them.
 * Threads: results come one at a time, from threads of the batch. Failure: a question's own (no question, unknown
 * prompt …) is its line's "error"; a file that cannot be read or written, or an output that belongs to another
 * batch, ends the command before anything is lost. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "api/batch.h"
#include "api/command.h"
#include "api/screen.h"
#include "base/clock.h"
#include "base/file.h"

enum { FILE_BYTES_MAX = 1 << 30, ANSWER_ARENA = 1 << 20, SYNC_MS = 1000 };

struct filed {                       /* a batch from file to file */
	struct command_call *call;
	const char *as;              /* --as, or NULL */
	struct batch batch;
	struct buf in;               /* the questions */
	struct buf out_path;
	int fd;
	size_t lines;                /* that are not blank */
	size_t resumed, resumed_failed, answered, abstained, failed;
	double synced_ms, began_ms;
	struct progress progress;
};

/* ---- the output ---- */

static int out_write(struct filed *b, const char *s, size_t len, struct err *e)
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

static int out_sync(struct filed *b, struct err *e)
{
	b->synced_ms = clock_ms();
	return fdatasync(b->fd) ? err_sys(e, "write %s", buf_cstr(&b->out_path)) : OK;
}

/* ---- going on with what is there ---- */

/* Is `told` the result of the line `asked`? *failed: it is an error. */
static int result_fits(const char *asked, size_t asked_len, const char *told, size_t told_len, int *failed)
{
	cJSON *q = NULL, *r = NULL;
	int same = 0;
	*failed = 0;
	if (!json_parse(&r, told, told_len, FILE_BYTES_MAX, "line", NULL) && json_get(r, "answer") != json_get(r, "error")) {
		(void)json_parse(&q, asked, asked_len, BATCH_LINE_BYTES_MAX, "line", NULL);
		const cJSON *x = batch_id(q), *y = json_get(r, "id");
		same = x ? cJSON_Compare(x, y, 1) : !y;
		*failed = json_get(r, "error") != NULL;
	}
	cJSON_Delete(q);
	cJSON_Delete(r);
	return same;
}

/* Passes over the questions whose results are in `out`, and cuts off what stands behind its last whole line. */
static int out_resume(struct filed *b, const struct buf *out, struct err *e)
{
	size_t whole = out->len, at = 0, asked_len, told_len;
	const char *asked, *told;
	int failed;
	while (whole && out->data[whole - 1] != '\n') whole--;
	const struct buf lines = { .data = out->data, .len = whole };
	while (batch_line(&lines, &at, &told, &told_len)) {
		b->resumed++;
		if (!batch_line(&b->in, &b->batch.at, &asked, &asked_len) || !result_fits(asked, asked_len, told, told_len, &failed))
			return err_set(e, E_CONFLICT, "%s: line %zu is no result of line %zu of this batch", buf_cstr(&b->out_path), b->resumed, b->resumed);
		b->resumed_failed += (size_t)failed;
	}
	b->batch.done = b->resumed;
	return ftruncate(b->fd, (off_t)whole) ? err_sys(e, "cut %s", buf_cstr(&b->out_path)) : OK;
}

static int files_open(struct filed *b, const char *in, const char *out, int resume, struct err *e)
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

static void progress_show(struct filed *b, size_t written)
{
	char text[96], left[24];
	size_t done = written - b->resumed;
	if (!progress_due(&b->progress)) return;
	screen_seconds(left, done ? (clock_ms() - b->began_ms) / 1000 / (double)done * (double)(b->lines - written) : 0);
	snprintf(text, sizeof text, "%zu of %zu questions, %s left", written, b->lines, done ? left : "?");
	progress_draw(&b->progress, b->lines ? (double)written / (double)b->lines : 1, text);
}

static int reader_get(void *ctx, struct arena *a, struct reader *out, struct err *e)
{
	struct filed *b = ctx;
	return command_reader(b->call, b->as, a, out, e);
}

static int result_put(void *ctx, struct batch_result *r, struct err *e)
{
	struct filed *b = ctx;
	int failed = r->error != NULL, abstained = r->abstained;
	char *text = batch_text(r->id, r->answer, r->error);
	r->id = r->answer = r->error = NULL;
	int rc = text ? out_write(b, text, strlen(text), e) : err_set(e, E_MEMORY, "batch: out of memory");
	cJSON_free(text);
	if (rc) return rc;
	b->failed += (size_t)failed;
	b->abstained += (size_t)abstained;
	b->answered += !failed && !abstained;
	progress_show(b, b->batch.done + 1);
	return clock_ms() < b->synced_ms + SYNC_MS ? OK : out_sync(b, e);
}

static int filed_run(struct filed *b, struct err *e)
{
	const char *line;
	size_t len, at = 0;
	while (batch_line(&b->in, &at, &line, &len)) b->lines++;
	progress_init(&b->progress, b->call);
	b->began_ms = clock_ms();
	int rc = batch_run(&b->batch, e);
	progress_hide(&b->progress);
	if (rc == E_CANCELLED)
		return err_set(e, E_CANCELLED, "batch: stopped before line %zu; --resume goes on there", b->batch.done + 1);
	return rc ? rc : out_sync(b, e);
}

static int summary_print(struct filed *b, struct err *e)
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
	struct filed b = { .call = c, .fd = -1 };
	struct err e = {0};
	buf_init(&b.in, FILE_BYTES_MAX);
	buf_init(&b.out_path, FILE_BYTES_MAX);
	int rc = options_parse(c, options, sizeof options / sizeof *options, &e);
	b.as = as;
	b.batch = (struct batch){ .service = c->service, .collection = c->collection, .in = &b.in, .cancel = c->cancel, .ctx = &b,
		.reader = reader_get, .put = result_put };
	if (!rc && as) rc = as_check(c, as, &e);
	if (!rc && (c->argc != 2 || !out)) rc = err_set(&e, E_USAGE, "batch: one file of questions and -o FILE are needed");
	if (rc) {
		code = command_misused(c, &e);
		goto out;
	}
	rc = files_open(&b, c->argv[1], out, resume, &e);
	if (!rc) rc = filed_run(&b, &e);
	if (!rc) rc = summary_print(&b, &e);
	code = rc ? command_fail(c, &e) : b.failed || b.resumed_failed ? EXIT_SOME_FAILED : EXIT_DONE;
out:
	if (b.fd >= 0) close(b.fd);
	buf_clear(&b.in);
	buf_clear(&b.out_path);
	return code;
}
