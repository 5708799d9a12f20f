/* sse.h: server-sent events (WHATWG HTML, section 9.2) on a request's connection. */
#ifndef API_SSE_H
#define API_SSE_H
#include <stdint.h>
#include <sys/types.h>
#include "api/request.h"

/* Appends one event: "event: NAME" (event NULL: no such line), a "data:" line for each line of data, an empty line. Status of the buffer. */
int sse_frame(struct buf *b, const char *event, const char *data);
/* Sends an event, opening the stream with the first one: the status is 200 from then on. Deletes data (NULL: out of
 * memory). Never waits: a reader so slow that the buffer is full (4 MiB) is given up, and r->cancel set. Any thread. */
void sse_event(struct request *r, const char *event, cJSON *data);
/* The same for a text that is no JSON, without a name. */
void sse_text(struct request *r, const char *text);
/* A sink that sends an answer as it comes to be: passages, delta and citation events. (routes_answers.c) */
struct answer_sink;
void sse_sink(struct request *r, struct answer_sink *out);
/* Ends what may have been streamed: the `done` event, or the reply 200. Deletes data (NULL: out of memory). (routes_answers.c) */
void sse_done(struct request *r, int stream, cJSON *data);
/* A comment when nothing was sent for ten seconds. r->lock held. */
void sse_keep_alive(struct request *r, uint64_t now_us);
/* libmicrohttpd's content reader; cls is the request. */
ssize_t sse_read(void *cls, uint64_t pos, char *out, size_t max);

#endif
