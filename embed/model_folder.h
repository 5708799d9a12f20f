/* model_folder.h: of embed/ alone. The files of a model: a folder on disk, or files carried inside the program.
 * Thread: values; any. */
#ifndef EMBED_MODEL_FOLDER_H
#define EMBED_MODEL_FOLDER_H
#include <stddef.h>
#include "base/embedded.h"
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"

enum { MODEL_FILE_PATH_MAX = 4096 };

struct model_folder {
	const char *dir;                    /* its path; of files carried inside, what messages call it */
	const struct embedded_file *inside; /* NULL: it lies on disk */
};

struct model_file {
	const char *data;                   /* len bytes; "" when there are none */
	size_t len;
	char path[MODEL_FILE_PATH_MAX];     /* for messages */
	struct mapping map;                 /* private: of a file on disk */
};

int model_folder_has(const struct model_folder *f, const char *name);
/* E_NOT_FOUND, E_IO; E_USAGE: the path is too long. */
int model_file_open(struct model_file *out, const struct model_folder *f, const char *name, struct err *e);
void model_file_close(struct model_file *f); /* one that was never opened, all zero, is allowed */
/* Puts the hash of its bytes into hash. */
void model_file_hash(const struct model_file *f, struct sha256 *hash);

#endif
