/* clean.h: text as the store keeps it: valid UTF-8, NFC, "\n" line ends, no NUL, no byte order mark, no control
 * characters but "\n" and "\t", no white space at line ends, at most one empty line in a row. */
#ifndef INGEST_CLEAN_H
#define INGEST_CLEAN_H
#include <stddef.h>
#include "base/buf.h"
#include "base/err.h"

/* Appends the clean form of s (UTF-8; invalid bytes become U+FFFD) to out, without empty lines at its start and white
 * space at its end. Indentation of lines is kept. scratch: any buffer, its content is lost. E_LIMIT, E_MEMORY. */
int clean_put(const char *s, size_t len, struct buf *out, struct buf *scratch, struct err *e);
/* 1 when s holds nothing but white space and characters without a body. */
int clean_is_blank(const char *s, size_t len);

#endif
