/* feed.h: one sequence through a decoder, or a prompt through a generator, for tests. Faults fail the test. */
#ifndef TESTS_FEED_H
#define TESTS_FEED_H
#include "base/team.h"
#include "generate/decoder.h"
#include "generate/generate.h"

struct feed { struct decoder *d; struct kvseq seq; enum decoder_phase phase; };

void feed_open(struct feed *f, struct decoder *d);          /* an empty sequence that may fill the context, in PHASE_PROMPT */
void feed_close(struct feed *f);
void feed_restart(struct feed *f);                          /* empty again; what was there is forgotten */
/* A model's file, a decoder over it, and a sequence through that. */
struct fed { struct gguf *g; struct team *team; struct decoder *d; struct feed f; };
/* By ops, on so many threads; or with ops NULL on o->gpu. */
void fed_open(struct fed *m, const char *path, const struct ops *ops, int threads, const struct decoder_options *o);
void fed_close(struct fed *m);
/* ids without an order, the same at every call. */
void feed_random(int32_t *ids, size_t n, size_t vocab);
/* Evaluates ids behind what is there, `chunk` at a time; out: (last, vocab) logits of the last ones. */
void feed_ids(struct feed *f, const int32_t *ids, size_t n, size_t chunk, size_t last, float *out);
/* The logits that a generator chooses from after the prompt; out: (vocab). */
void logits_after(struct generator *g, const int32_t *ids, size_t n, float *out);
/* The n-th allocation of opening, tokenising a user's text and generating fails, for every n: an error is told each time. */
void out_of_memory_is_told(const struct generator_options *o, const char *text);

#endif
