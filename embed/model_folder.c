/* model_folder.c: owns the way to a model's files (model_folder.h). On disk they are mapped; inside the program they lie
 * where it was loaded. Threads: no state. Failure: the path is named; nothing stays open. */
#include "embed/model_folder.h"
#include <stdio.h>
#include <string.h>

static const struct embedded_file *inside_find(const struct model_folder *f, const char *name)
{
	const struct embedded_file *i = f->inside;
	while (i->name && strcmp(i->name, name) != 0) i++;
	return i->name ? i : NULL;
}

int model_folder_has(const struct model_folder *f, const char *name)
{
	char path[MODEL_FILE_PATH_MAX];
	if (f->inside) return inside_find(f, name) != NULL;
	return (size_t)snprintf(path, sizeof path, "%s/%s", f->dir, name) < sizeof path && file_exists(path);
}

int model_file_open(struct model_file *out, const struct model_folder *f, const char *name, struct err *e)
{
	const struct embedded_file *i;
	out->data = "";
	out->len = 0;
	out->map = (struct mapping){0};
	if ((size_t)snprintf(out->path, sizeof out->path, "%s/%s", f->dir, name) >= sizeof out->path)
		return err_set(e, E_USAGE, "%.100s: path too long", f->dir);
	if (f->inside) {
		if (!(i = inside_find(f, name))) return err_set(e, E_NOT_FOUND, "%.200s: missing", out->path);
		out->data = i->data;
		out->len = i->len;
		return OK;
	}
	int rc = mapping_open(&out->map, out->path, e);
	if (rc != OK) return rc;
	if (out->map.data) out->data = (const char *)out->map.data;
	out->len = out->map.len;
	return OK;
}

void model_file_close(struct model_file *f)
{
	mapping_close(&f->map);
	f->data = NULL;
	f->len = 0;
}

void model_file_hash(const struct model_file *f, struct sha256 *hash)
{
	uint8_t digest[32];
	sha256_of(f->data, f->len, digest);
	sha256_put(hash, digest, sizeof digest);
}
