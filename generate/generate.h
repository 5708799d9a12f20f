/* generate.h: PUBLIC. Text generation from a GGUF file on one engine thread.
 *
 *   generator_open -> prompt_* (tokens) -> generate(), one text
 *                                       or generator_start() each, generator_step() until all are done
 *                  -> generator_close
 *
 * A generator owns the mapped model, its tokenizer, its thread team and its KV cache; calls that run the model
 * must come from one thread at a time, by habit the engine thread. Tokenising and the info calls are thread-safe.
 * Several texts are written together, a pass of the model serving all of them. A text depends on its own request alone,
 * to the bit: not on those beside it, on how prompts were cut, on what the KV cache held, or on drafts.
 * The KV cache keeps what was computed while there is room: a prompt that begins with the same tokens pays only for the
 * rest (reused_tokens says how many).
 * A GPU may be lost while it runs (its driver, a fault of its memory): the texts being written fail with E_IO, and
 * so does every other from then on, until generator_recover has opened the model anew on the CPU.
 * Formats: GGUF v2/v3 (ggml docs/gguf.md); architectures llama, qwen2, qwen3 and gemma3; types F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1
 * Q4_K Q5_K Q6_K. */
#ifndef GENERATE_GENERATE_H
#define GENERATE_GENERATE_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/buf.h"

struct generator;
struct gpu_table;
struct sample_row;

struct generator_options {
	const char *path;      /* .gguf; borrowed during open */
	const char *name;      /* what answers call the model; NULL: the file's base name without .gguf. Copied */
	int threads;           /* 1 to 256 */
	int context_max;       /* tokens of a sequence; 0: the model's own, at most 4096 */
	uint64_t kv_bytes;     /* memory of the KV cache; 0: enough for `sequences` whole contexts. Too little for one: the
	                          context is what it holds, and the log has a line */
	int sequences;         /* texts written together, at most 64; 0: 1 */
	double chunk_ms;       /* of prompt between two tokens of those who write; 0: 20 */
	int draft_max;         /* tokens looked up in the text and tried in one pass, at most 16; 0: none */
	const char *lora;      /* adapters to add: "FILE[:SCALE], …" (lora.h); NULL or "": none. Borrowed during open */
	const char *device;    /* NULL or "auto": a GPU where there is one with room for it and kernel is auto, else the CPU, which the log tells; "cpu";
	                          "cuda": a GPU or an error */
	const struct gpu_table *gpu; /* whose GPUs (nn/gpu.h); NULL: those that this program was built for */
	const char *kernel;    /* of the CPU. NULL or "auto": best this CPU has; "ref", "avx2", "avx512", "vnni", "amx": that one */
	const char *packs;     /* folder that keeps weights as the kernels read them; NULL or "": packed at every open */
};

struct generator_info {
	char name[64];         /* with adapters "+lora" at its end */
	char arch[16];         /* "qwen2", "llama", … */
	char family[16];       /* chat template: "chatml", "qwen3", "gemma", "llama3", "mistral", "zephyr"; "plain": none is known,
	                          conversations become a labelled transcript */
	char kernel[16];       /* the ops table in use; "cuda" on a GPU */
	char device[64];       /* "cpu", or what the GPU is called that it was opened on */
	uint64_t device_bytes; /* of the GPU's memory that it took; 0 on the CPU */
	int cpu_too;           /* the options allow the CPU: where a GPU is lost, generator_recover may be asked */
	int layers, dim, heads, kv_heads, vocab;
	int context;           /* most tokens of prompt and answer together */
	uint64_t file_bytes;
	uint64_t token_bytes;  /* bytes of tensors that one decoded token touches */
};

/* The kernels that a generator opened with this option would run: a name in static storage. Errors as there. */
int generator_kernel(const char **out, const char *kernel, struct err *e);
/* The first GPU that this program can use, and its bytes of memory, all and free. E_UNSUPPORTED tells why there is none. */
int generator_gpu(char name[64], uint64_t *memory, uint64_t *free, struct err *e);
/* E_UNSUPPORTED: also, with device "cuda", that there is no GPU, or that it cannot run this model (adapters run on the CPU);
 * E_MEMORY: also a GPU's. */
int generator_open(struct generator **out, const struct generator_options *o, struct err *e);
/* OK; E_IO, when the GPU that ran the model was lost. For the thread that runs it, as the next. */
int generator_lost(const struct generator *g, struct err *e);
/* Opens a model whose GPU was lost on the CPU; its info, the device named there too, stays as it was. Errors as of generator_open;
 * then all is as before. E_BUSY: while texts run. */
int generator_recover(struct generator *g, struct err *e);
void generator_close(struct generator *g);                    /* NULL is allowed */
const struct generator_info *generator_info(const struct generator *g);

/* --- tokens --- */
struct tokens { int32_t *ids; size_t n, cap; };               /* owned; zero-initialise; tokens_clear frees */
void tokens_clear(struct tokens *t);
/* Appends the ids of plain text, as it goes on from other text (a SentencePiece model of old begins a text with a
 * blank: generator_chat puts it). Text never becomes a control token: "<|im_start|>" is spelled out in ordinary ones. */
int generator_tokenize(const struct generator *g, const char *text, size_t len, struct tokens *out, struct err *e);
/* Appends a token's bytes (may be a part of a code point). Control tokens append nothing. */
int generator_piece(const struct generator *g, int32_t id, struct buf *out);
int generator_is_stop(const struct generator *g, int32_t id); /* end of text or of turn */

struct chat_message { const char *role; const char *text; size_t len; }; /* role: "system" "user" "assistant"; text is data, tokenised as such */
/* Appends the family's chat template over the messages; with `answer` set also the opening of the assistant's turn. */
int generator_chat(const struct generator *g, const struct chat_message *m, size_t n, int answer, struct tokens *out, struct err *e);

/* --- generation --- */
struct gen_params {
	int max_tokens;            /* 1 … context */
	float temperature;         /* 0: greedy */
	int top_k;                 /* 0: off */
	float top_p;               /* 1: off */
	float min_p;               /* 0: off */
	float repeat_penalty;      /* 1: off */
	int repeat_last;           /* tokens looked back on */
	uint64_t seed;
	const char *const *stops;  /* texts that end generation, not part of the result; NULL-terminated or NULL */
	int patient;               /* nobody watches it come: while all who write are so, prompts go first, in large chunks */
};
void gen_params_default(struct gen_params *p);                /* greedy, 256 tokens */

/* A constraint watches and steers decoding. It is asked before each token is accepted, and again for each that is offered in
 * the place of one it refused. */
struct gen_view {
	const char *text; size_t len;        /* what has been written so far (after the prompt) */
	const char *piece; size_t piece_len; /* text of the token about to be added; "" for a stop token */
	int32_t token; int is_stop;
	size_t step;                         /* 0 for the first token; the same for those offered instead of it */
	size_t tokens;                       /* that text is made of */
	int vocab;
	const struct sample_row *row;        /* for gen_view_logits */
};
/* Raw logits the token was taken from, (vocab), until the constraint returns. A GPU keeps them: each call then is a copy, so look at
 * them where they are needed alone. NULL: the GPU was lost; any verdict will do, for the text fails. */
const float *gen_view_logits(const struct gen_view *v);
enum gen_verdict {
	GEN_ACCEPT,       /* take the token (a stop token ends the text) */
	GEN_STOP,         /* end here, without the token */
	GEN_FORCE,        /* drop the token; append the tokens of `force` instead */
	GEN_CHOOSE,       /* drop the token; take the likeliest of `choices` (ids) instead */
	GEN_REFUSE,       /* not this one: the next likeliest is offered or, where tokens are drawn, another is drawn from those not
	                     refused; when none is left the text ends (GEN_END_CONSTRAINT) */
	GEN_REWIND        /* drop the token and all text but its first `keep` tokens; go on from there. E_USAGE: so many there are not,
	                     or on_text has seen what would go */
};
struct gen_steer {    /* filled by the constraint; what it points at lives until the next call */
	const char *force; size_t force_len;
	const int32_t *choices; size_t choice_n;
	size_t keep;
};
struct gen_constraint {
	void *ctx;
	enum gen_verdict (*next)(void *ctx, const struct gen_view *v, struct gen_steer *s);
};
/* Called with each accepted piece of whole UTF-8; non-zero cancels (finish GEN_END_CANCELLED). */
typedef int (*gen_text_fn)(void *ctx, const char *text, size_t len);

enum gen_finish { GEN_END_STOP, GEN_END_LENGTH, GEN_END_CANCELLED, GEN_END_CONSTRAINT };
struct gen_result {
	struct buf text;           /* whole UTF-8; buf_clear frees */
	enum gen_finish finish;
	size_t prompt_tokens, reused_tokens;
	size_t completion_tokens;      /* taken, also those taken back again: max_tokens counts them */
	double prefill_ms, decode_ms;
};
/* r->text is initialised here. E_LIMIT when the prompt does not fit the context (the message tells both numbers); E_IO when the numbers that come out have no meaning: the weights are damaged.
 * c and on_text may be NULL. cancel (may be NULL) is polled between steps and between chunks of the prompt. */
int generate(struct generator *g, const int32_t *prompt, size_t n, const struct gen_params *p, const struct gen_constraint *c,
	gen_text_fn on_text, void *ctx, const volatile int *cancel, struct gen_result *r, struct err *e);

/* One of several texts written together. All of it is the caller's and stays until `done`. */
struct gen_request {
	const int32_t *prompt; size_t n;
	const struct gen_params *params;
	const struct gen_constraint *constraint; /* this and the next three as for generate() */
	gen_text_fn on_text; void *ctx;
	const volatile int *cancel;
	struct gen_result *result;
	struct err *err;               /* or NULL */
	int done, status;              /* filled in: over, and what generate() would have returned */
};
/* OK: q takes part in the steps that follow. E_BUSY: so many run already, or their keys and values fill the memory; try
 * again when one of them is done (never when none runs). Anything else as generate(), and q is over. */
int generator_start(struct generator *g, struct gen_request *q);
/* One step of all that run: a token or more of each that writes, and a chunk of the prompts that came first. Constraints
 * and callbacks are called from here. Does nothing when none runs. */
void generator_step(struct generator *g);
size_t generator_running(const struct generator *g);

/* Sums since the model was opened. For the thread that runs it. */
struct generator_stats {
	uint64_t steps, prompt_tokens, reused_tokens, written_tokens; /* prompt_tokens: computed, so without reused ones */
	uint64_t writers;              /* texts that took part in the steps that wrote, summed */
	uint64_t write_steps;
	uint64_t drafted, accepted;    /* tokens of drafts */
	size_t running, pages, pages_used, page_tokens; /* of the KV cache; used: by those who run */
};
void generator_stats(const struct generator *g, struct generator_stats *out);

#endif
