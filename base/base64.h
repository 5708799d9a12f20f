/* base64.h: bytes as text (RFC 4648, section 4). */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H
#include <stddef.h>
#include "base/buf.h"

/* Appends the padded form, without line breaks. OK or the buffer's failure. */
int base64_put(struct buf *out, const void *data, size_t len);

#endif
