/* gguf.h: a GGUF model file, mapped read-only and checked whole before anything is handed out.
 *
 *   gguf_open -> gguf_u32/f32/str/... and gguf_tensor -> gguf_close
 *
 * Format: ggml docs/gguf.md, versions 2 and 3, little-endian. Every count, length and offset is checked against the
 * file's size; keys and tensor names are unique. Strings are borrowed from the mapping and are not NUL-terminated.
 * A file that another process cuts short while it is mapped is beyond this reader (SIGBUS), as with every mapping.
 * Thread-safe after open. */
#ifndef NN_GGUF_H
#define NN_GGUF_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

struct gguf;

enum gguf_type { /* of a metadata value */
	GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL, GGUF_STR, GGUF_ARRAY, GGUF_U64,
	GGUF_I64, GGUF_F64
};
enum { GGUF_DIMS_MAX = 4 };

struct gguf_str { const char *s; size_t len; };
struct gguf_array { enum gguf_type type; size_t n; const uint8_t *data; const uint8_t *end; };
struct gguf_tensor {
	struct gguf_str name;
	uint32_t type;                  /* enum quant_type: others are refused by gguf_open */
	uint32_t n_dims;
	uint64_t dim[GGUF_DIMS_MAX];    /* dim[0] runs fastest: a matrix of R rows of K weights is (K, R). Unused: 1 */
	const uint8_t *data;            /* in the mapping, aligned to at least 8 bytes */
	uint64_t bytes;
};

/* E_NOT_FOUND, E_IO; E_FORMAT names the file and the key or tensor; E_UNSUPPORTED names a version or tensor type. */
int gguf_open(struct gguf **out, const char *path, struct err *e);
void gguf_close(struct gguf *g);                                /* NULL is allowed */
const char *gguf_path(const struct gguf *g);
uint64_t gguf_file_bytes(const struct gguf *g);

/* Metadata. 1 when the key is there. */
int gguf_has(const struct gguf *g, const char *key);
/* A required key, of any integer type that holds the value 0 … 2^31-1. E_FORMAT: missing, another type, out of
 * range. */
int gguf_int(const struct gguf *g, const char *key, int *out, struct err *e);
int gguf_float(const struct gguf *g, const char *key, double *out, struct err *e); /* F32 or F64, finite */
int gguf_bool(const struct gguf *g, const char *key, int *out, struct err *e);
int gguf_str(const struct gguf *g, const char *key, struct gguf_str *out, struct err *e);
/* An array whose elements have the wanted type. Numbers lie packed and unaligned at data; strings: gguf_array_str. */
int gguf_array(const struct gguf *g, const char *key, enum gguf_type want, struct gguf_array *out, struct err *e);
/* Walks a string array: *at starts as a->data and moves on; call at most a->n times. */
struct gguf_str gguf_array_str(const struct gguf_array *a, const uint8_t **at);

/* Tensors. */
size_t gguf_tensor_n(const struct gguf *g);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i);
const struct gguf_tensor *gguf_tensor(const struct gguf *g, const char *name); /* NULL: none of that name */

#endif
