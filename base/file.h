/* file.h: whole files, mappings, folders and paths. */
#ifndef BASE_FILE_H
#define BASE_FILE_H
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"

int file_read(const char *path, struct buf *out, struct err *e);   /* appends; E_LIMIT past out->max */
/* The same of a file that lies in one of the folders, whatever links lead there: asked of the open file, so that nothing
 * can be put in its place meanwhile. within: real paths; n 0: anywhere. E_DENIED when it lies elsewhere. */
int file_read_within(const char *path, const char *const *within, size_t n, struct buf *out, struct err *e);
int file_exists(const char *path);
/* Writes to a temporary file beside path, fsync, rename, fsync of the folder. */
int file_write_atomic(const char *path, const void *data, size_t len, struct err *e);
struct mapping { const uint8_t *data; size_t len; };               /* read-only; len 0 has data NULL */
int mapping_open(struct mapping *m, const char *path, struct err *e);
void mapping_close(struct mapping *m);
int dir_make(const char *path, struct err *e);                     /* as mkdir -p; 0777 & ~umask */
int path_join(struct buf *out, const char *a, const char *b);      /* out is reset; one slash between */
int dir_sync(const char *path, struct err *e);                     /* its entries reach the disk */
int path_dir(const char *path, char *out, size_t size);            /* "." for a bare name; 0: out is too small */
/* Absolute path as given: cwd is put in front when path is relative, "." and ".." and double slashes are folded in
 * the text alone, links stay unresolved. out is reset. cwd NULL: the process's own. */
int path_absolute(struct buf *out, const char *cwd, const char *path, struct err *e);
/* 1: the text, a path or a sentence, names this very path: it stands alone, or before "#" or a mark that ends a name. A
 * path that only begins like it, or ends like it, is another. */
int path_is_named(const char *text, const char *path);
/* 1 when path (absolute, folded) is one of these folders or lies under one. */
int path_is_within(const char *path, const char *const *roots, size_t n);
const char *path_base(const char *path);                           /* borrows: after the last slash */
const char *path_ext(const char *path);                            /* borrows: after the base's last dot, or "" */

#endif
