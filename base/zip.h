/* zip.h: members of ZIP archives, one after the other, from memory or a file, behind limits against bombs. */
#ifndef BASE_ZIP_H
#define BASE_ZIP_H
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"

struct zip;

struct zip_limits {             /* 0: no limit */
	size_t members_max;     /* members looked at */
	uint64_t bytes_max;     /* unpacked, of all members read together */
	uint64_t ratio_max;     /* unpacked bytes for one byte of the archive, once a mebibyte is unpacked */
};

/* Opens an archive. data is borrowed until zip_close. name: for messages, borrowed too. *z is NULL on failure.
 * E_FORMAT: no ZIP archive; E_MEMORY. Thread: one archive belongs to one thread. */
int zip_open_memory(struct zip **z, const char *name, const void *data, size_t len, const struct zip_limits *l,
	struct err *e);
int zip_open_file(struct zip **z, const char *path, const struct zip_limits *l, struct err *e);
/* Steps to the next member. *member: its path as the archive has it, "" when it has none that can be told; valid until
 * the next step. E_NOT_FOUND: that was the last. E_FORMAT: damaged. E_LIMIT: more than members_max. */
int zip_next(struct zip *z, const char **member, struct err *e);
/* Whether the present member is encrypted, and so cannot be read. */
int zip_is_encrypted(const struct zip *z);
/* The next bytes of the present member into part; *n 0 at its end. E_FORMAT: damaged; E_LIMIT: a limit was passed. */
int zip_read(struct zip *z, void *part, size_t cap, size_t *n, struct err *e);
/* Appends the rest of the present member to out. As zip_read; E_LIMIT also when out is full. */
int zip_read_all(struct zip *z, struct buf *out, struct err *e);
void zip_close(struct zip *z);          /* NULL is allowed */

#endif
