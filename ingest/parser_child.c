/* parser_child.c: owns the parser's own process: one request after the other from standard input, until it ends.
 *
 * What libraries load lazily is loaded first, then the sandbox closes, then the first foreign byte is read. A reply is
 * made whole before its first byte goes out, so that a crash never leaves half of one that looks right. Memory of a
 * large file is given back to the system after it. Threads: one. Failure: of a file: told in its reply; of the process:
 * its exit, which the parent takes for that file's failure. */
#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "ingest/child.h"
#include "ingest/extract.h"
#include "ingest/sandbox.h"
#include "ingest/wire.h"

enum { TRIM_BYTES = 4 << 20, NAME_BYTES_MAX = 1 << 20 };

static int read_all(void *to, size_t len)
{
	char *at = to;

	while (len > 0) {
		ssize_t n = read(0, at, len);

		if (n == 0 || (n < 0 && errno != EINTR))
			return 0;
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
	}
	return 1;
}

static int write_all(const void *from, size_t len)
{
	const char *at = from;

	while (len > 0) {
		ssize_t n = write(1, at, len);

		if (n < 0 && errno != EINTR)
			return 0;
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
	}
	return 1;
}

static int reply(int status, const void *data, size_t len)
{
	struct wire_reply r = { WIRE_REPLY, (uint32_t)status, len };

	return write_all(&r, sizeof r) && write_all(data, len);
}

/* Extracts and replies. 0: the parent is gone. */
static int serve(const struct wire_request *q, const char *name, const char *data)
{
	struct extracted x = { 0 };
	struct err e = { 0 };
	struct buf out;
	int rc, told;

	buf_init(&out, SIZE_MAX);
	rc = q->what == WIRE_BOXES ? extract_pdf(&x, name, data, (size_t)q->data_len, (size_t)q->text_bytes_max, &e)
		: extract_file(&x, name, data, (size_t)q->data_len, (size_t)q->text_bytes_max, &e);
	if (rc == OK)
		rc = wire_put(&out, &x, &e);
	extracted_clear(&x);
	told = rc == OK ? reply(OK, out.data, out.len) : reply(rc, e.msg, strlen(e.msg));
	buf_clear(&out);
	return told;
}

int parser_child_run(void)
{
	struct sandbox_state state;
	struct wire_request q;
	int going = 1;

	extract_prepare(NULL);          /* a database that is missing makes some types unknown, no more */
	sandbox_parser(&state);
	while (going && read_all(&q, sizeof q)) {
		char *name, *data;

		if (q.magic != WIRE_REQUEST || q.name_len > NAME_BYTES_MAX || q.data_len >= SIZE_MAX)
			return CHILD_EXIT_START;
		name = mem_calloc(1, (size_t)q.name_len + 1);
		data = mem_alloc((size_t)q.data_len + 1);
		if (!name || !data) {
			static const char why[] = "out of memory";

			/* The request is still in the pipe: say so, and end. */
			reply(E_MEMORY, why, sizeof why - 1);
			going = 0;
		} else {
			going = read_all(name, (size_t)q.name_len) && read_all(data, (size_t)q.data_len) && serve(&q, name, data);
		}
		mem_free(name);
		mem_free(data);
		if (q.data_len >= TRIM_BYTES)
			malloc_trim(0);
	}
	return OK;
}
