/* reader.h: PUBLIC. Pairs of texts read together by a small encoder with heads (a cross-encoder): where does a passage
 * answer a question, does it at all, is it about it, and does evidence carry a claim?
 *
 *   reader_open -> reader_read, reader_support (any thread, any number) -> reader_close
 *
 * A model is a folder in Hugging Face's layout for BERT, as an embedder's (embed.h; no pooling), whose weights hold
 * the heads as well: span (2 outputs a token), and answerable (1), relevance (1) and support (3), each a `dense` layer,
 * relu and an `out` layer over the state of [CLS]. embed/reader_train makes one, with weights in int8
 * (nn/safetensors.h). A pair becomes [CLS] first [SEP] title [SEP] text [SEP], without "title [SEP]" where there is
 * none; all behind the first [SEP] is of type 1. The first text is cut to READER_FIRST tokens, the title to
 * READER_TITLE. Or it is any cross-encoder of the BERT family (BertForSequenceClassification with 1 or 2 outputs: a pooler
 * with tanh and a classifier), in floats as it was made: it tells relevance alone, and a title stands in front of the text
 * without a [SEP] between. A text that does not fit beside them is read in windows that overlap by READER_STRIDE tokens, and the
 * pair has the best of what these have.
 * Method: Devlin et al. 2018 (spans, with [CLS] as "no answer", as for SQuAD 2.0), Nogueira & Cho 2019 (relevance).
 * In int8 a figure has the same bits on every CPU, beside any pairs, with any number of threads.
 * Threads: every call is thread-safe. Pairs go in pieces of some thousand tokens, one at a time on all threads; callers
 * take turns by the piece. */
#ifndef EMBED_READER_H
#define EMBED_READER_H
#include <stddef.h>
#include <stdint.h>
#include "base/embedded.h"
#include "base/err.h"

enum { READER_SPANS = 3, READER_FIRST = 64, READER_TITLE = 24, READER_STRIDE = 128, READER_SPAN_TOKENS = 40 };

struct reader_model;
struct gpu_table;

struct reader_options {
	const char *dir;      /* model folder; borrowed during open */
	const struct embedded_file *inside; /* its files where they are carried inside the program, dir then being its name; NULL */
	int threads;          /* 1 to 64 */
	const char *kernel, *device; /* as of embedder_options, and this */
	const struct gpu_table *gpu;
};

struct reader_info {
	char name[64];        /* the folder's base name, or what stands for it */
	int max_tokens;       /* of a window, as the model was trained */
	const char *kernel;   /* in use */
	int only_relevance;   /* a cross-encoder: readings have no spans and 0 as answerable, reader_support is E_UNSUPPORTED */
	char fingerprint[65]; /* hex SHA-256 over config, vocabulary and weights */
};

/* UTF-8, borrowed. */
struct reader_pair {
	const char *first;    /* the question; of reader_support, the claim */
	size_t first_len;
	const char *title;    /* of the document or section; NULL: none */
	size_t title_len;
	const char *text;     /* the passage; the evidence */
	size_t len;
};

struct reader_span {
	size_t from, to;      /* bytes of the pair's text: whole words */
	float logit;          /* over "no answer": below 0 the model would rather give none */
};

struct reader_reading {
	float relevance;      /* logit: is the passage the one to look in? Orders passages of one question */
	float answerable;     /* logit: does it hold the answer? */
	size_t spans_n;       /* best first, at most READER_SPANS; they do not overlap. 0: the text has no word */
	struct reader_span spans[READER_SPANS];
};

struct reader_verdict {       /* logits: the softmax of the three are their probabilities */
	float supported, unsaid, contradicted;
};

/* E_NOT_FOUND names the missing file, E_FORMAT the field or tensor that is wrong, E_UNSUPPORTED what is not known here
 * or the kernel that this CPU lacks; E_USAGE: no such kernel or device, or a number of threads out of range; as of embedder_open
 * what a GPU lacks. */
int reader_open(struct reader_model **out, const struct reader_options *o, struct err *e);
void reader_close(struct reader_model *m);                    /* NULL is allowed */
const struct reader_info *reader_info(const struct reader_model *m);
int reader_lost(const struct reader_model *m, struct err *e); /* as embedder_lost */
const char *reader_device(const struct reader_model *m);      /* as embedder_device */
uint64_t reader_device_bytes(const struct reader_model *m); /* that it has of that GPU's memory; 0 on the CPU. Thread-safe */
/* out: n, caller's. Text never becomes a control token. E_FORMAT: invalid UTF-8; E_LIMIT: a text of 4 GiB; E_MEMORY;
 * E_IO: a GPU that it must be was lost; out is then partly written. Logits of other cross-encoders have a scale of their own. */
int reader_read(struct reader_model *m, const struct reader_pair *pairs, size_t n, struct reader_reading *out,
	struct err *e);
/* Of evidence in several windows the verdict of that which supports most (`supported` over the larger of the rest). */
int reader_support(struct reader_model *m, const struct reader_pair *pairs, size_t n, struct reader_verdict *out,
	struct err *e);

#endif
