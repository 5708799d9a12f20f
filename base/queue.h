/* queue.h: a bounded FIFO of pointers between threads. Full is an answer (E_LIMIT), not a wait: the caller turns it
 * into 429. close wakes every waiter; what is still inside can be popped until it is empty. Thread-safe. */
#ifndef BASE_QUEUE_H
#define BASE_QUEUE_H
#include <stddef.h>

struct queue;
struct queue *queue_new(size_t cap);                       /* NULL: out of memory */
void queue_free(struct queue *q);                          /* must be empty and unused */
int queue_push(struct queue *q, void *item);               /* OK, E_LIMIT when full, E_CANCELLED when closed */
/* timeout_ms < 0: wait for ever. OK, E_BUSY when the time is up, E_CANCELLED when closed and empty. */
int queue_pop(struct queue *q, int timeout_ms, void **item);
void queue_close(struct queue *q);
size_t queue_len(struct queue *q);

#endif
