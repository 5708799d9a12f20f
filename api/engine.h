/* engine.h: the one thread that owns the generator and writes several texts together. Others hand it work through a bounded
 * queue and wait.
 * The model is opened by that thread; engine_open returns once it is ready or has failed. */
#ifndef API_ENGINE_H
#define API_ENGINE_H
#include <stddef.h>
#include "base/err.h"
#include "generate/generate.h"

struct engine;
int engine_open(struct engine **out, const struct generator_options *o, size_t queue_cap, struct err *e);
/* Finishes what runs, cancels what waits, and returns when every caller has left. NULL is allowed. */
void engine_close(struct engine *n);
/* For tokenising and info, which are thread-safe; never run the model through it. */
const struct generator *engine_generator(const struct engine *n);
/* OK; E_IO, when the GPU was lost and the CPU did not take over: every text fails with that. Thread-safe, as the next. */
int engine_failure(struct engine *n, struct err *e);
void engine_device(struct engine *n, char out[64]); /* "cpu", or what the GPU is called that runs the model now */
size_t engine_waiting(struct engine *n);   /* in the queue */
/* As generate(), run in the engine thread while the caller waits; on_text and the constraint are called in the engine
 * thread. E_LIMIT when the queue is full, where a patient caller waits instead; E_CANCELLED when *cancel was set or clock_us() passed deadline_us (0: none)
 * while waiting; the deadline also ends a running generation, with result.finish GEN_END_CANCELLED. */
int engine_generate(struct engine *n, const int32_t *prompt, size_t prompt_n, const struct gen_params *p,
	const struct gen_constraint *c, gen_text_fn on_text, void *ctx, const volatile int *cancel, uint64_t deadline_us,
	struct gen_result *r, struct err *e);

#endif
