/* packs.c: owns a model's packed matrices: a mapping of the file that keeps them, or memory.
 *
 * The header that the file must have is made first, from the model's file and the shapes; the file found is right if it
 * begins with those bytes. Otherwise one is packed: into a mapping of a temporary file in the folder, which one process
 * at a time has locked, and which the next one takes over if that was killed. Its room is claimed beforehand, so that
 * a full disk is an error here and not a signal later. Where the folder cannot be used, into memory. The team's
 * members draw panels from a shared counter.
 * Threads: see packs.h. Failure: of the folder, a line in the log; of memory, an error. */
#include "nn/packs.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

enum { AT_ONCE = 8, NAME_DIGITS = 16 };          /* panels drawn at a time */

struct head {
	char magic[8];
	uint32_t version, matrices;
	uint64_t bytes, model_bytes, model_ns;
};
struct entry { uint64_t type, rows, k, offset; };

struct packs {
	struct mapping map;                      /* or, where data is NULL: */
	uint8_t *memory;                         /* owned */
	/* while opening */
	const struct matrix *const *w;
	struct packed *out;
	size_t n, head_bytes, bytes;
	uint8_t *head;                           /* (head_bytes) as the file must begin */
	char file[PATH_MAX], temp[PATH_MAX];
	atomic_size_t next;                      /* panel, counted through all matrices */
	uint8_t *to;                             /* begin of the file or of memory */
};

static size_t round_up(size_t n)
{
	return (n + PACKS_ALIGN - 1) / PACKS_ALIGN * PACKS_ALIGN;
}

static size_t packed_bytes(const struct packed *p)
{
	return p->panels * p->panel_bytes;
}

static const struct entry *entries(const struct packs *p)
{
	return (const struct entry *)(const void *)(p->head + sizeof(struct head));
}

/* Sizes stay within 3 % of the model's mapped file and a page and 15 rows a matrix, so nothing overflows. */
static int make_head(struct packs *p, const char *path, struct err *e)
{
	struct head h = { { 'f', 'n', '-', 'p', 'a', 'c', 'k', 's' }, PACK_VERSION, (uint32_t)p->n, 0, 0, 0 };
	struct stat st;
	if (stat(path, &st) != 0) return err_sys(e, "stat %s", path);
	p->head_bytes = p->bytes = round_up(sizeof h + p->n * sizeof(struct entry));
	p->head = mem_calloc(1, p->head_bytes);
	if (!p->head) return err_set(e, E_MEMORY, "%s: out of memory", path);
	for (size_t i = 0; i < p->n; i++) {
		struct entry t = { p->w[i]->type, p->w[i]->rows, p->w[i]->k, p->bytes };
		p->out[i] = pack_shape(p->w[i]->type, p->w[i]->rows, p->w[i]->k);
		p->bytes += round_up(packed_bytes(&p->out[i]));
		memcpy(p->head + sizeof h + i * sizeof t, &t, sizeof t);
	}
	h.bytes = p->bytes;
	h.model_bytes = (uint64_t)st.st_size;
	h.model_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec;
	memcpy(p->head, &h, sizeof h);
	return OK;
}

static int name_file(struct packs *p, const char *path, const char *folder, struct err *e)
{
	char real[PATH_MAX], digits[65];
	uint8_t hash[32];
	if (!realpath(path, real)) return err_sys(e, "%s", path);
	sha256_of(real, strlen(real), hash);
	hex_put(digits, hash, NAME_DIGITS / 2);
	if ((size_t)snprintf(p->file, sizeof p->file, "%s/%s.%s.v%d.pack", folder, path_base(path), digits, PACK_VERSION) >=
		sizeof p->file || (size_t)snprintf(p->temp, sizeof p->temp, "%s.tmp", p->file) >= sizeof p->temp)
		return err_set(e, E_USAGE, "%s: path too long", folder);
	return OK;
}

/* Does panel i of matrix m at `at` hold what the model says? */
static int panel_fits(const struct packs *p, size_t m, size_t i, const uint8_t *at, uint8_t *room)
{
	pack_panel(p->w[m], i, room);
	return memcmp(room, at + i * p->out[m].panel_bytes, p->out[m].panel_bytes) == 0;
}

/* Maps the file if it is this model's. */
static int find_kept(struct packs *p)
{
	struct mapping map;
	uint8_t *room = NULL;
	size_t most = 0;
	int fits;
	if (mapping_open(&map, p->file, NULL) != OK) return 0;
	for (size_t i = 0; i < p->n; i++) most = p->out[i].panel_bytes > most ? p->out[i].panel_bytes : most;
	fits = map.len == p->bytes && memcmp(map.data, p->head, p->head_bytes) == 0 && (room = mem_alloc(most + 1)) != NULL;
	for (size_t m = 0; fits && m < p->n; m++)
		fits = panel_fits(p, m, (m * 7919 + 1) % p->out[m].panels, map.data + entries(p)[m].offset, room);
	mem_free(room);
	if (!fits) {
		log_put(LOG_INFO, "packs", "%s: not of this model as it is now; made anew", p->file);
		mapping_close(&map);
		return 0;
	}
	p->map = map;
	return 1;
}

static void pack_some(void *ctx, int member, int size)
{
	struct packs *p = ctx;
	size_t m = 0, before = 0;                /* matrix, and panels in front of it */
	(void)member;
	(void)size;
	for (;;) {
		size_t from = atomic_fetch_add_explicit(&p->next, AT_ONCE, memory_order_relaxed);
		for (size_t i = from; i < from + AT_ONCE; i++) {
			while (m < p->n && i - before >= p->out[m].panels) before += p->out[m++].panels;
			if (m == p->n) return;
			pack_panel(p->w[m], i - before, p->to + entries(p)[m].offset + (i - before) * p->out[m].panel_bytes);
		}
	}
}

static void pack_all(struct packs *p, struct team *team, uint8_t *to)
{
	memcpy(to, p->head, p->head_bytes);
	p->to = to;
	atomic_store(&p->next, 0);
	team_run(team, pack_some, p);
}

/* Packs into the open temporary file. */
static int fill_file(struct packs *p, int fd, struct team *team, struct err *e)
{
	struct stat mine, there;
	uint8_t *to;
	int rc = OK, number;
	if (flock(fd, LOCK_EX | LOCK_NB) != 0 || fstat(fd, &mine) != 0 || stat(p->temp, &there) != 0 ||
		mine.st_ino != there.st_ino) return err_set(e, E_BUSY, "%s: another process is making it", p->file);
	number = posix_fallocate(fd, 0, (off_t)p->bytes);
	if (number) {
		errno = number;
		return err_sys(e, "make room for %zu bytes in %s", p->bytes, p->temp);
	}
	to = mmap(NULL, p->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (to == MAP_FAILED) return err_sys(e, "map %s", p->temp);
	pack_all(p, team, to);
	munmap(to, p->bytes);
	if (fsync(fd) != 0) rc = err_sys(e, "sync %s", p->temp);
	if (!rc && rename(p->temp, p->file) != 0) rc = err_sys(e, "rename %s", p->temp);
	return rc;
}

/* Packs into a file of the folder, and maps that. */
static int keep(struct packs *p, const char *folder, struct team *team, struct err *e)
{
	int rc = dir_make(folder, e), fd;
	if (rc) return rc;
	fd = open(p->temp, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0) return err_sys(e, "create %s", p->temp);
	rc = fill_file(p, fd, team, e);
	if (rc) unlink(p->temp);
	close(fd);
	if (!rc) rc = mapping_open(&p->map, p->file, e);
	if (!rc && p->map.len != p->bytes) {
		mapping_close(&p->map);
		rc = err_set(e, E_IO, "%s: another program changed it", p->file);
	}
	return rc;
}

/* The model's own pages have been read through once and are not needed in memory for that. */
static void give_pages_back(const struct packs *p)
{
	for (size_t i = 0; i < p->n; i++) {
		uintptr_t from = round_up((uintptr_t)p->w[i]->data),
			to = ((uintptr_t)p->w[i]->data + p->w[i]->rows * p->w[i]->row_bytes) / PACKS_ALIGN * PACKS_ALIGN;
		if (to > from) madvise((void *)from, to - from, MADV_DONTNEED);
	}
}

static int open_parts(struct packs *p, const char *path, const char *folder, struct team *team, struct err *e)
{
	struct err why;
	int rc = make_head(p, path, e);
	if (rc) return rc;
	if (folder && *folder) {
		rc = name_file(p, path, folder, &why);
		if (rc == OK && find_kept(p)) return OK;
		if (rc == OK) rc = keep(p, folder, team, &why);
		if (rc == OK) return OK;
		log_put(LOG_WARN, "packs", "packed weights are kept in memory alone: %s", why.msg);
	}
	p->memory = mem_aligned(PACKS_ALIGN, p->bytes);
	if (!p->memory) return err_set(e, E_MEMORY, "%s: out of memory for %zu bytes of packed weights", path, p->bytes);
	pack_all(p, team, p->memory);
	return OK;
}

int packs_open(struct packs **p, const struct matrix *const *w, size_t n, struct packed *out, const char *path,
	const char *folder, struct team *team, struct err *e)
{
	struct packs *s = mem_calloc(1, sizeof *s);
	int rc;
	*p = NULL;
	if (!s) return err_set(e, E_MEMORY, "%s: out of memory", path);
	s->w = w;
	s->n = n;
	s->out = out;
	rc = open_parts(s, path, folder, team, e);
	if (rc) {
		mem_free(s->head);
		packs_close(s);
		return rc;
	}
	for (size_t i = 0; i < n; i++) out[i].data = (s->map.data ? s->map.data : s->memory) + entries(s)[i].offset;
	give_pages_back(s);
	mem_free(s->head);
	s->head = NULL;
	s->w = NULL;
	s->out = NULL;
	*p = s;
	return OK;
}

void packs_close(struct packs *p)
{
	if (!p) return;
	mapping_close(&p->map);
	mem_free(p->memory);
	mem_free(p);
}
