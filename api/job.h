/* job.h: the pools of threads that run requests while their connections are suspended, and the watch over them.
 *
 *   connection's thread: job_submit (suspends) -> pool's thread: handler -> resumes -> connection's thread sends
 *
 * Queues are bounded; a full one answers 429. The watch wakes four times a second: it cancels what passed its deadline
 * and what nobody waits for any more (a suspended connection does not notice that its client left, so its socket is
 * asked), and keeps streams alive. */
#ifndef API_JOB_H
#define API_JOB_H
#include "api/request.h"
#include "api/route.h"

struct jobs;
int jobs_open(struct jobs **out, struct service *s, struct err *e);
void jobs_close(struct jobs *j);                 /* after jobs_drain; NULL is allowed */
/* Suspends r's connection and queues r for its route's pool. A refusal (429, 503) is r's reply. Connection's thread. */
void job_submit(struct jobs *j, struct request *r);
/* Resumes the connection when it is suspended. r->lock held. */
void job_wake(struct request *r);
/* Turns a handler's failure into the reply, or into the stream's error event. */
void job_fail(struct request *r, struct err *e);
/* Refuses new jobs, answers waiting ones with 503, lets running ones go on for drain_s, then cancels them, and returns
 * when all have ended and every connection is resumed. *hurry set meanwhile ends the patience. */
void jobs_drain(struct jobs *j, double drain_s, const volatile int *hurry);
size_t jobs_waiting(struct jobs *j, enum pool_kind pool);
size_t jobs_running(struct jobs *j, enum pool_kind pool);
const char *pool_name(enum pool_kind pool);

#endif
