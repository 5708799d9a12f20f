/* packs.c: owns a model's packed matrices, in memory of large pages.
 *
 * A token reads all of them, and with pages of 4 KB a core's streams end at every page: large ones gave a third more
 * bytes a second. Files cannot be mapped so; the kept file is read into such memory by the whole team, at the speed
 * of a copy while the system has it cached.
 * The header that the file must have is made first, from the model's file and the shapes; the file found is right if it
 * begins with those bytes, its blocks have their sums, and its panels are the model's where they are looked at. A block
 * is summed by who has just read it, while it is in that core's cache: that takes a tenth of the time it takes to read.
 * Otherwise the team packs, drawing panels from a shared counter, and the file is written: under a temporary name that
 * one process at a time has locked, and that the next one takes over if that was killed.
 * Threads: see packs.h. Failure: of the folder, a line in the log; of memory, an error. */
#include "nn/packs.h"
#include <errno.h>
#include <fcntl.h>
#include <immintrin.h>
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

enum {
	AT_ONCE = 8,                             /* panels drawn at a time */
	NAME_DIGITS = 16,
	PAGE = 2 << 20                           /* a large one: bytes drawn at a time */
};

struct head {
	char magic[8];
	uint32_t version, matrices;
	uint64_t bytes, model_bytes, changed_ns;
};
struct entry { uint64_t type, rows, k, offset; };

struct packs {
	uint8_t *memory;                         /* (bytes) as the file, owned */
	/* while opening */
	const struct matrix *const *w;
	struct packed *out;
	size_t n, head_bytes, body, bytes;       /* body: what has sums; they stand behind it */
	uint32_t *sums;                          /* (body up to whole blocks) in memory */
	uint8_t *head;                           /* (head_bytes) as the file must begin */
	char file[PATH_MAX], temp[PATH_MAX];
	atomic_size_t next;                      /* panel, counted through all matrices; or byte of the file */
	int fd;
	atomic_int torn;                         /* it could not be read to its end, or a sum is another */
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

/* Sizes stay within 3 % of the model's mapped file and a page and 15 rows a matrix, so nothing overflows.
 * The time of change (ctime) is the one that nobody can set: a file put in the model's place has another, whatever its
 * size and time of modification. */
static int make_head(struct packs *p, const char *path, struct err *e)
{
	struct head h = { { 'f', 'n', '-', 'p', 'a', 'c', 'k', '2' }, PACK_VERSION, (uint32_t)p->n, 0, 0, 0 };
	struct stat st;
	if (stat(path, &st) != 0) return err_sys(e, "stat %s", path);
	p->head_bytes = p->body = round_up(sizeof h + p->n * sizeof(struct entry));
	p->head = mem_calloc(1, p->head_bytes);
	if (!p->head) return err_set(e, E_MEMORY, "%s: out of memory", path);
	for (size_t i = 0; i < p->n; i++) {
		struct entry t = { p->w[i]->type, p->w[i]->rows, p->w[i]->k, p->body };
		p->out[i] = pack_shape(p->w[i]->type, p->w[i]->rows, p->w[i]->k);
		p->body += round_up(packed_bytes(&p->out[i]));
		memcpy(p->head + sizeof h + i * sizeof t, &t, sizeof t);
	}
	p->bytes = p->body + (p->body + PACKS_SUM_BYTES - 1) / PACKS_SUM_BYTES * sizeof *p->sums;
	h.bytes = p->bytes;
	h.model_bytes = (uint64_t)st.st_size;
	h.changed_ns = (uint64_t)st.st_ctim.tv_sec * 1000000000u + (uint64_t)st.st_ctim.tv_nsec;
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

/* Does panel i of matrix m hold what the model says? */
static int panel_fits(const struct packs *p, size_t m, size_t i, uint8_t *room)
{
	const uint8_t *at = p->memory + entries(p)[m].offset + i * p->out[m].panel_bytes;
	pack_panel(p->w[m], i, room);
	return memcmp(room, at, p->out[m].panel_bytes) == 0;
}

/* Is what lies in memory this model's? One panel of each matrix is looked at. */
static int all_fit(const struct packs *p)
{
	uint8_t *room;
	size_t most = 0;
	int fits;
	for (size_t m = 0; m < p->n; m++) most = p->out[m].panel_bytes > most ? p->out[m].panel_bytes : most;
	room = mem_alloc(most + 1);
	fits = room != NULL;
	for (size_t m = 0; fits && m < p->n; m++) fits = panel_fits(p, m, (m * 7919 + 1) % p->out[m].panels, room);
	mem_free(room);
	return fits;
}

/* --- sums --- */
static uint64_t word_at(const uint8_t *p)
{
	uint64_t word;
	memcpy(&word, p, sizeof word);
	return word;
}

/* Who packs has AVX2, and so this instruction. It takes three cycles for its eight bytes, and one may begin in each. */
__attribute__((target("sse4.2"))) static uint32_t sum_of(const uint8_t *block, size_t n)
{
	uint64_t a = 0, b = 0, c = 0, d = 0;
	for (const uint8_t *p = block; p < block + n; p += 4 * sizeof a) {
		a = _mm_crc32_u64(a, word_at(p));
		b = _mm_crc32_u64(b, word_at(p + 8));
		c = _mm_crc32_u64(c, word_at(p + 16));
		d = _mm_crc32_u64(d, word_at(p + 24));
	}
	return (uint32_t)_mm_crc32_u64(_mm_crc32_u64(_mm_crc32_u64(a, b), c), d);
}

static size_t block_bytes(const struct packs *p, size_t at)
{
	return p->body - at < PACKS_SUM_BYTES ? p->body - at : PACKS_SUM_BYTES;
}

static void sum_some(void *ctx, int member, int size)
{
	struct packs *p = ctx;
	(void)member;
	(void)size;
	for (size_t at; (at = atomic_fetch_add(&p->next, PACKS_SUM_BYTES)) < p->body;)
		p->sums[at / PACKS_SUM_BYTES] = sum_of(p->memory + at, block_bytes(p, at));
}

/* --- the kept file --- */
static int read_at(const struct packs *p, size_t at, size_t n)
{
	for (ssize_t got; n; at += (size_t)got, n -= (size_t)got) {
		got = pread(p->fd, p->memory + at, n, (off_t)at);
		if (got < 0 && errno == EINTR) got = 0;
		else if (got <= 0) return 0;
	}
	return 1;
}

static void read_some(void *ctx, int member, int size)
{
	struct packs *p = ctx;
	(void)member;
	(void)size;
	for (size_t from; (from = atomic_fetch_add(&p->next, PAGE)) < p->body;)
		for (size_t at = from; at < from + PAGE && at < p->body; at += PACKS_SUM_BYTES) {
			size_t n = block_bytes(p, at);
			if (read_at(p, at, n) && sum_of(p->memory + at, n) == p->sums[at / PACKS_SUM_BYTES]) continue;
			atomic_store(&p->torn, 1);
			atomic_store(&p->next, p->body); /* the others may stop too */
			return;
		}
}

/* Reads the file if it is this model's. */
static int find_kept(struct packs *p, struct team *team)
{
	struct stat st;
	int fits, whole;
	p->fd = open(p->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (p->fd < 0) return 0;
	fits = fstat(p->fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == p->bytes &&
		read_at(p, 0, p->head_bytes) && memcmp(p->memory, p->head, p->head_bytes) == 0;
	if (fits && (whole = read_at(p, p->body, p->bytes - p->body))) {
		atomic_store(&p->next, 0);
		atomic_store(&p->torn, 0);
		team_run(team, read_some, p);
		whole = !atomic_load(&p->torn);
	}
	close(p->fd);
	if (fits && !whole) {
		log_put(LOG_WARN, "packs", "%s: damaged; made anew from the model", p->file);
		return 0;
	}
	fits = fits && all_fit(p);
	if (!fits) log_put(LOG_INFO, "packs", "%s: not of this model as it is now; made anew", p->file);
	return fits;
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
			pack_panel(p->w[m], i - before, p->memory + entries(p)[m].offset + (i - before) * p->out[m].panel_bytes);
		}
	}
}

/* Panels, zeros between matrices, and the sums. */
static void pack_all(struct packs *p, struct team *team)
{
	memcpy(p->memory, p->head, p->head_bytes);
	for (size_t m = 0; m < p->n; m++) {
		size_t n = packed_bytes(&p->out[m]);
		memset(p->memory + entries(p)[m].offset + n, 0, round_up(n) - n);
	}
	atomic_store(&p->next, 0);
	team_run(team, pack_some, p);
	atomic_store(&p->next, 0);
	team_run(team, sum_some, p);
}

/* The temporary file, locked, and still the one of that name. */
static int temp_locked(const struct packs *p, int fd)
{
	struct stat mine, there;
	return flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &mine) == 0 && stat(p->temp, &there) == 0 &&
		mine.st_ino == there.st_ino && mine.st_dev == there.st_dev;
}

static int write_file(const struct packs *p, int fd, struct err *e)
{
	size_t done = 0;
	if (ftruncate(fd, 0) != 0) return err_sys(e, "cut %s", p->temp);
	/* a disk without room says so at once; a file system that cannot tell does when it is full */
	if (fallocate(fd, 0, 0, (off_t)p->bytes) != 0 && errno != EOPNOTSUPP && errno != ENOSYS)
		return err_sys(e, "make room for %s", p->temp);
	while (done < p->bytes) {
		ssize_t n = write(fd, p->memory + done, p->bytes - done);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return err_sys(e, "write %s", p->temp);
		done += (size_t)n;
	}
	if (fsync(fd) != 0) return err_sys(e, "sync %s", p->temp);
	return rename(p->temp, p->file) == 0 ? OK : err_sys(e, "rename %s", p->temp);
}

static int keep(const struct packs *p, const char *folder, struct err *e)
{
	int rc = dir_make(folder, e), fd;
	if (rc) return rc;
	fd = open(p->temp, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0) return err_sys(e, "create %s", p->temp);
	if (!temp_locked(p, fd)) {
		rc = err_set(e, E_BUSY, "%s: another process is making it", p->file);
	} else {
		rc = write_file(p, fd, e);
		if (rc) unlink(p->temp);
	}
	close(fd);
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
	int rc = make_head(p, path, e), keeps = folder && *folder;
	size_t room = (p->bytes + PAGE - 1) / PAGE * PAGE;
	if (rc) return rc;
	p->memory = mem_aligned(PAGE, room);
	if (!p->memory) return err_set(e, E_MEMORY, "%s: out of memory for %zu bytes of packed weights", path, p->bytes);
	madvise(p->memory, room, MADV_HUGEPAGE);                 /* a wish: slower without */
	p->sums = (uint32_t *)(void *)(p->memory + p->body);
	rc = keeps ? name_file(p, path, folder, &why) : OK;
	if (keeps && rc == OK && find_kept(p, team)) return OK;
	pack_all(p, team);
	if (keeps && rc == OK) rc = keep(p, folder, &why);
	if (rc == E_BUSY) log_put(LOG_INFO, "packs", "%s", why.msg);
	else if (rc) log_put(LOG_WARN, "packs", "packed weights cannot be kept: %s", why.msg);
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
	for (size_t i = 0; i < n; i++) out[i].data = s->memory + entries(s)[i].offset;
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
	mem_free(p->memory);
	mem_free(p);
}
