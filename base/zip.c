/* zip.c: owns libarchive: reading the members of ZIP archives, in the order of the archive.
 *
 * libarchive reads the central directory and unpacks as a stream, so nothing is held but the piece that is asked for.
 * What a bomb does is bounded by three counts that are kept here: members, unpacked bytes, and their ratio to the
 * archive's own size; every read looks at them before it hands bytes out. Threads: none of its own. Failure: libarchive's
 * words, with the archive's name in front. */
#include "base/zip.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

#include "base/mem.h"

enum { READ_BYTES = 256 * 1024, RATIO_FROM = 1 << 20 };

struct zip {
	struct archive *a;
	struct archive_entry *entry;
	const char *name;
	struct zip_limits limits;
	size_t members;
	uint64_t unpacked, packed;      /* packed: the whole archive */
};

static int zip_new(struct zip **z, const char *name, const struct zip_limits *l, uint64_t packed, struct err *e)
{
	*z = mem_calloc(1, sizeof **z);
	if (!*z)
		return err_set(e, E_MEMORY, "%s: out of memory", name);
	**z = (struct zip){ .a = archive_read_new(), .name = name, .packed = packed };
	if (l)
		(*z)->limits = *l;
	if (!(*z)->a) {
		zip_close(*z);
		*z = NULL;
		return err_set(e, E_MEMORY, "%s: out of memory", name);
	}
	archive_read_support_format_zip((*z)->a);
	return OK;
}

static int zip_refused(struct zip **z, struct err *e)
{
	int rc = err_set(e, E_FORMAT, "%s: no ZIP archive: %s", (*z)->name, archive_error_string((*z)->a));

	zip_close(*z);
	*z = NULL;
	return rc;
}

int zip_open_memory(struct zip **z, const char *name, const void *data, size_t len, const struct zip_limits *l,
	struct err *e)
{
	int rc = zip_new(z, name, l, len, e);

	if (rc == OK && archive_read_open_memory((*z)->a, data, len) != ARCHIVE_OK)
		rc = zip_refused(z, e);
	return rc;
}

int zip_open_file(struct zip **z, const char *path, const struct zip_limits *l, struct err *e)
{
	struct stat st;
	int rc = zip_new(z, path, l, stat(path, &st) == 0 ? (uint64_t)st.st_size : 0, e);

	if (rc == OK && archive_read_open_filename((*z)->a, path, READ_BYTES) != ARCHIVE_OK)
		rc = zip_refused(z, e);
	return rc;
}

int zip_next(struct zip *z, const char **member, struct err *e)
{
	int step = archive_read_next_header(z->a, &z->entry);
	const char *path;

	if (step == ARCHIVE_EOF)
		return err_set(e, E_NOT_FOUND, "%s: no more members", z->name);
	if (step != ARCHIVE_OK && step != ARCHIVE_WARN)
		return err_set(e, E_FORMAT, "%s: damaged: %s", z->name, archive_error_string(z->a));
	if (z->limits.members_max && ++z->members > z->limits.members_max)
		return err_set(e, E_LIMIT, "%s: more than %zu members", z->name, z->limits.members_max);
	path = archive_entry_pathname_utf8(z->entry);
	if (!path)
		path = archive_entry_pathname(z->entry);
	*member = path ? path : "";
	return OK;
}

int zip_is_encrypted(const struct zip *z)
{
	return archive_entry_is_encrypted(z->entry) == 1;
}

int zip_read(struct zip *z, void *part, size_t cap, size_t *n, struct err *e)
{
	la_ssize_t got = archive_read_data(z->a, part, cap);
	const struct zip_limits *l = &z->limits;

	*n = 0;
	if (got < 0)
		return err_set(e, E_FORMAT, "%s: damaged: %s", z->name, archive_error_string(z->a));
	z->unpacked += (uint64_t)got;
	if (l->bytes_max && z->unpacked > l->bytes_max)
		return err_set(e, E_LIMIT, "%s: unpacks to more than %llu bytes", z->name, (unsigned long long)l->bytes_max);
	if (l->ratio_max && z->unpacked > RATIO_FROM && z->unpacked / l->ratio_max > z->packed)
		return err_set(e, E_LIMIT, "%s: unpacks to more than %llu times its size", z->name,
			(unsigned long long)l->ratio_max);
	*n = (size_t)got;
	return OK;
}

int zip_read_all(struct zip *z, struct buf *out, struct err *e)
{
	char part[16384];
	size_t n;
	int rc;

	do {
		rc = zip_read(z, part, sizeof part, &n, e);
		if (rc == OK && buf_put(out, part, n) != OK)
			rc = err_set(e, buf_failed(out), "%s: a member does not fit into memory", z->name);
	} while (rc == OK && n > 0);
	return rc;
}

void zip_close(struct zip *z)
{
	if (!z)
		return;
	if (z->a)
		archive_read_free(z->a);
	mem_free(z);
}
