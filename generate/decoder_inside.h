/* decoder_inside.h: of decoder.c and the passes alone: a model as its file describes it. decoder.c reads it, decoder_cpu.c
 * and decoder_gpu.c run it. */
#ifndef GENERATE_DECODER_INSIDE_H
#define GENERATE_DECODER_INSIDE_H
#include "generate/decoder.h"
#include "generate/rope.h"
#include "nn/pack.h"

struct arch {
	const char *name;
	int neox;                                /* rotary pairs half a head apart */
	int biases;                              /* q, k and v have them; a llama model may have them */
	int head_norms;                          /* norms of each head of q and k */
	int gemma;
};

struct linear {                                  /* y = w x, and b (a x) of an adapter */
	struct matrix w;
	struct packed packed;                    /* data NULL: a float matrix, or no table with integer products */
	const struct lora_pair *lora;            /* or NULL */
	size_t slot;                             /* of a x in low; another one for each that takes the same input */
};
enum { SLOTS = 3, LAYER_LINEARS = 7 };

struct layer {
	struct linear q, k, v, o, gate, up, down;
	const float *attn_norm, *ffn_norm;       /* (dim) */
	const float *q_bias, *k_bias, *v_bias;   /* or NULL */
	const float *q_norm, *k_norm;            /* (head_dim) or NULL */
	const float *attn_post, *ffn_post;       /* (dim) or NULL: norms of what is added to the residual */
};

struct decoder {
	struct decoder_info info;
	const struct gguf *g;
	const struct arch *arch;
	size_t rope_dim, q_dim, kv_dim;
	size_t window, pattern;                  /* every pattern-th layer has no window */
	float eps, scale, embed_scale;           /* scale: of q·k */
	struct matrix embed;
	struct linear output;
	struct lora *lora;                       /* or NULL */
	const float *output_norm, *rope_factors; /* rope_factors: (rope_dim/2) or NULL */
	struct layer *layers;
	uint8_t *used;                           /* while opening: (tensors) 1 where the model took the tensor */
	struct kvcache cache;
	struct rope rope, rope_slides;           /* of layers without and with a window */
	size_t wants;                            /* of a pass, at most */
	struct cpu_pass *cpu;                    /* one of the two runs it, */
	struct gpu_pass *gpu;                    /* the other is NULL */
};

/* Weights as the kernels read them, and scratch. d: all but the cache and what runs it. E_MEMORY; packs_open's errors. */
int cpu_pass_open(struct cpu_pass **out, struct decoder *d, const struct ops *ops, struct team *team,
	const struct decoder_options *o, struct err *e);
void cpu_pass_close(struct cpu_pass *c);                      /* NULL is allowed */
int cpu_pass_phases_differ(const struct cpu_pass *c);
void cpu_pass_eval(struct cpu_pass *c, enum decoder_phase phase, struct decoder_row *rows, size_t n);

/* Weights and activations on a device that has room for them, and for kv_least bytes of keys and values too. E_UNSUPPORTED,
 * E_MEMORY, E_IO tell why none will do. */
int gpu_pass_open(struct gpu_pass **out, struct decoder *d, const struct decoder_options *o, uint64_t kv_least, struct err *e);
void gpu_pass_close(struct gpu_pass *p);                      /* after the cache. NULL is allowed */
/* Where keys and values go. *bytes: as many as are wanted; where they do not fit, a line of the log tells and those that they get
 * come back. A quarter of what is free is left to others then, if one context fits so; and always, where nobody named the size. */
struct kvmemory gpu_pass_memory(struct gpu_pass *p, int named, uint64_t *bytes);
/* One line of the log: what takes how much. Fills what decoder_info tells of the device. */
void gpu_pass_tell(struct gpu_pass *p);
int gpu_pass_eval(struct gpu_pass *p, enum decoder_phase phase, struct decoder_row *rows, size_t n, struct err *e);
int gpu_pass_was_first(const struct gpu_pass *p);
int gpu_pass_lost(const struct gpu_pass *p, struct err *e);

#endif
