/* Event streams: framing, what is read, what a slow reader gets. */
#include "api/sse.h"
#include "base/clock.h"
#include "tests/test.h"

TEST(events_are_framed)
{
	struct buf b;
	buf_init(&b, 1000);
	CHECK_INT(sse_frame(&b, "delta", "{\"text\":\"x\"}"), OK);
	CHECK_STR(buf_cstr(&b), "event: delta\ndata: {\"text\":\"x\"}\n\n");
	buf_reset(&b);
	CHECK_INT(sse_frame(&b, "e", "a\nb\n"), OK);
	CHECK_STR(buf_cstr(&b), "event: e\ndata: a\ndata: b\ndata: \n\n");
	buf_clear(&b);
}

TEST(stream_gives_what_was_put)
{
	struct request *r = request_new(NULL, NULL, "/");
	char out[64];
	CHECK(r != NULL);
	sse_event(r, "a", cJSON_CreateNumber(1));
	CHECK_INT(r->stream_open, 1);
	CHECK_INT(sse_read(r, 0, out, 7), 7);
	CHECK(!memcmp(out, "event: ", 7));
	sse_event(r, "b", cJSON_CreateNumber(2));
	CHECK_INT(sse_read(r, 7, out, sizeof out), 11 + 19 - 1);
	CHECK(!memcmp(out, "a\ndata: 1\n\nevent: b\ndata: 2\n\n", 29));
	r->stream_wrote_us = 1;
	sse_keep_alive(r, 1 + 11 * 1000 * 1000);
	CHECK_INT(sse_read(r, 0, out, sizeof out), 14);
	CHECK(!memcmp(out, ": keep-alive\n\n", 14));
	r->stream_ended = 1;
	CHECK_INT(sse_read(r, 0, out, sizeof out), -1);
	request_unref(r);
}

TEST(slow_reader_is_given_up)
{
	struct request *r = request_new(NULL, NULL, "/");
	static char big[1 << 20];
	size_t before;
	CHECK(r != NULL);
	memset(big, 'x', sizeof big - 1);
	for (int i = 0; i < 10 && !r->cancel; i++)
		sse_event(r, "delta", cJSON_CreateString(big));
	CHECK_INT(r->cancel_why, CANCEL_SLOW);
	before = r->stream.len;
	CHECK(before < 5u << 20 && !memcmp(r->stream.data + before - 3, "\"\n\n", 3)); /* whole events only */
	sse_event(r, "done", cJSON_CreateNumber(1));
	CHECK_INT(r->stream.len, before);
	request_unref(r);
}
