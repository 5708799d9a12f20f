/* multipart.h: multipart/form-data (RFC 7578) in a whole body. */
#ifndef API_MULTIPART_H
#define API_MULTIPART_H
#include <stddef.h>
#include "base/arena.h"
#include "base/err.h"

struct part {
	const char *name;        /* of the field; "" when absent. In the arena */
	const char *filename;    /* NULL: a plain field. The base name alone, valid UTF-8, in the arena */
	const char *data; size_t len; /* borrowed from the body */
};

enum { PARTS_MAX = 4096 };
/* 1 when content_type is multipart/form-data, whatever its parameters. */
int multipart_is(const char *content_type);
/* Splits body; *out in the arena. E_USAGE names what is malformed: no boundary, a part without an end, a header that
 * cannot be read, more than PARTS_MAX parts. Thread-safe. */
int multipart_parse(const char *content_type, const char *body, size_t len, struct arena *a, struct part **out, size_t *n,
	struct err *e);

#endif
