/* safetensors.h: a read-only view of one .safetensors file. The whole header is checked when the file is opened, so
 * that every tensor that can be found lies inside the file; values are converted to float as they are copied out.
 * Integers: an I8 tensor NAME (rows, ...) stands for floats when there is an F32 tensor NAME.scale (rows): each value
 * times its row's scale.
 * Thread: after open everything is read-only and may be used from any thread. The file must not be changed while it
 * is open (it is mapped, or borrowed). */
#ifndef NN_SAFETENSORS_H
#define NN_SAFETENSORS_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

enum { SAFETENSORS_RANK_MAX = 8, SAFETENSORS_HEADER_MAX = 16 << 20 /* bytes of JSON */ };

enum safetensors_type { ST_F32, ST_F16, ST_BF16, ST_I8, ST_OTHER /* known size, cannot be read as float */ };

struct safetensor {
	const char *name;                   /* borrowed from the file's view */
	enum safetensors_type type;
	int rank;                           /* 0 for a scalar */
	size_t shape[SAFETENSORS_RANK_MAX]; /* outermost first; contiguous, row-major */
	size_t elements;                    /* product of shape */
	const uint8_t *data;                /* borrowed; not necessarily aligned; little-endian */
	size_t bytes;
};

struct safetensors;

/* E_NOT_FOUND, E_IO; E_FORMAT names the file and, where one is to blame, the tensor. */
int safetensors_open(struct safetensors **out, const char *path, struct err *e);
/* The same of a file whose len bytes lie at data, borrowed until it is closed; path is for messages. */
int safetensors_view(struct safetensors **out, const char *path, const void *data, size_t len, struct err *e);
void safetensors_close(struct safetensors *s);                  /* NULL is allowed */
size_t safetensors_count(const struct safetensors *s);
const struct safetensor *safetensors_at(const struct safetensors *s, size_t i);      /* i < count; in order of names */
const struct safetensor *safetensors_find(const struct safetensors *s, const char *name); /* NULL: none of that name */
/* The tensor of that name, which must be a float type or I8, of exactly this shape; else E_FORMAT naming file and tensor. */
int safetensors_expect(const struct safetensors *s, const char *name, int rank, const size_t *shape,
	const struct safetensor **out, struct err *e);
/* Copies all values of t (of s) to out (t->elements floats, caller's). E_FORMAT: neither a float type nor I8 with its
 * scales, or a value that is infinite or not a number, which no trained weight is. */
int safetensors_floats(const struct safetensors *s, const struct safetensor *t, float *out, struct err *e);

#endif
