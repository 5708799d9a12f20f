/* sse.c: owns the event stream between the thread that makes an answer and the connection that sends it.
 *
 * Method: a buffer under the request's lock. The producer appends whole events and wakes the connection; the reader
 * takes what is there, and when there is nothing suspends the connection in the same critical section (a reader that
 * returns 0 without suspending would spin). The producer may be the engine's only thread, so it never waits for a slow
 * client: an answer's events are far smaller than the buffer, and who still overflows it is cancelled.
 * Threads: producer and connection. Lock order: request, then libmicrohttpd's own. Failure: the stream ends. */
#include "api/sse.h"
#include <microhttpd.h>
#include <string.h>
#include "api/job.h"
#include "base/clock.h"

enum { KEEP_ALIVE_US = 10 * 1000 * 1000 };

int sse_frame(struct buf *b, const char *event, const char *data)
{
	const char *nl;
	if (event)
		buf_printf(b, "event: %s\n", event);
	while ((nl = strchr(data, '\n'))) {
		buf_puts(b, "data: ");
		buf_put(b, data, (size_t)(nl - data) + 1);
		data = nl + 1;
	}
	buf_puts(b, "data: ");
	buf_puts(b, data);
	buf_puts(b, "\n\n");
	return buf_failed(b);
}

/* Drops what was sent from the front, so that the buffer's maximum bounds what is unsent. */
static void stream_shift(struct request *r)
{
	if (r->stream_sent && r->stream_sent >= r->stream.len / 2) {
		size_t left = r->stream.len - r->stream_sent;
		memmove(r->stream.data, r->stream.data + r->stream_sent, left);
		r->stream.len = left;
		r->stream.data[left] = 0;
		r->stream_sent = 0;
	}
}

/* text NULL: out of memory. */
static void stream_add(struct request *r, const char *event, const char *text)
{
	size_t before;
	pthread_mutex_lock(&r->lock);
	if (r->cancel_why == CANCEL_SLOW) /* an event is missing: nothing may follow it */
		goto out;
	stream_shift(r);
	before = r->stream.len;
	if (!text || sse_frame(&r->stream, event, text)) {
		r->stream.len = before; /* never half an event */
		if (r->stream.data)
			r->stream.data[before] = 0;
		r->stream.failed = OK;
		request_cancel(r, CANCEL_SLOW);
	} else {
		r->stream_open = 1;
		r->stream_wrote_us = clock_us();
		job_wake(r);
	}
out:
	pthread_mutex_unlock(&r->lock);
}

void sse_event(struct request *r, const char *event, cJSON *data)
{
	char *text = data ? cJSON_PrintUnformatted(data) : NULL;
	cJSON_Delete(data);
	stream_add(r, event, text);
	cJSON_free(text);
}

void sse_text(struct request *r, const char *text)
{
	stream_add(r, NULL, text);
}

void sse_keep_alive(struct request *r, uint64_t now_us)
{
	if (!r->stream_open || r->stream_ended || now_us < r->stream_wrote_us + KEEP_ALIVE_US)
		return;
	stream_shift(r);
	if (!buf_puts(&r->stream, ": keep-alive\n\n"))
		job_wake(r);
	r->stream.failed = OK;
	r->stream_wrote_us = now_us;
}

ssize_t sse_read(void *cls, uint64_t pos, char *out, size_t max)
{
	struct request *r = cls;
	ssize_t got = 0;
	(void)pos;
	pthread_mutex_lock(&r->lock);
	if (r->stream.len > r->stream_sent) {
		size_t n = r->stream.len - r->stream_sent;
		n = n < max ? n : max;
		memcpy(out, r->stream.data + r->stream_sent, n);
		r->stream_sent += n;
		got = (ssize_t)n;
	} else if (r->stream_ended) {
		got = MHD_CONTENT_READER_END_OF_STREAM;
	} else {
		r->suspended = 1;
		MHD_suspend_connection(r->connection);
	}
	pthread_mutex_unlock(&r->lock);
	return got;
}
