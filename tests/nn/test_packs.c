/* test_packs.c: packed matrices of a model kept in a folder: found again, and made anew when anything is not as it
 * was. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "nn/packs.h"
#include "nn/quant.h"
#include "tests/test.h"

enum { N = 3 };
static const struct { uint32_t type; size_t rows, k; } shapes[N] = {
	{ QUANT_Q4_K, 150, 512 }, { QUANT_Q8_0, 16, 96 }, { QUANT_Q6_K, 5, 256 },
};
static char model[300], folder[300], kept[700];
static struct mapping map;
static struct matrix w[N];
static struct team *team;
static struct err e;

/* A model file of random bytes. */
static void model_write(unsigned seed)
{
	size_t bytes = 0;
	for (size_t i = 0; i < N; i++) bytes += shapes[i].rows * quant_row_bytes(shapes[i].type, shapes[i].k);
	uint8_t *data = mem_alloc(bytes);
	for (size_t i = 0; i < bytes; i++) data[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
	mapping_close(&map);
	CHECK_OK(file_write_atomic(model, data, bytes, &e), e);
	mem_free(data);
	CHECK_OK(mapping_open(&map, model, &e), e);
	const uint8_t *at = map.data;
	for (size_t i = 0; i < N; i++) {
		w[i] = (struct matrix){ shapes[i].type, shapes[i].rows, shapes[i].k, at,
			quant_row_bytes(shapes[i].type, shapes[i].k) };
		at += w[i].rows * w[i].row_bytes;
	}
}

static void begin(void)
{
	snprintf(model, sizeof model, "%s/m.gguf", test_dir());
	snprintf(folder, sizeof folder, "%.*s/new/packed", (int)(strlen(model) - strlen("/m.gguf")), model);
	team = team_new(3);
	model_write(1);
}

/* Opens, compares every panel, closes. */
static void check_open(const char *dir)
{
	const struct matrix *const list[N] = { &w[0], &w[1], &w[2] };
	struct packed out[N];
	struct packs *p;
	CHECK_OK(packs_open(&p, list, N, out, model, dir, team, &e), e);
	for (size_t i = 0; i < N; i++) {
		uint8_t *want = mem_alloc(out[i].panel_bytes);
		for (size_t j = 0; j < out[i].panels; j++) {
			pack_panel(&w[i], j, want);
			CHECK_MSG(memcmp(want, out[i].data + j * out[i].panel_bytes, out[i].panel_bytes) == 0, "matrix %zu panel %zu", i, j);
		}
		CHECK((uintptr_t)out[i].data % PACK_VECTOR == 0);
		mem_free(want);
	}
	packs_close(p);
}

/* The inode of the one file in the folder. */
static ino_t kept_inode(void)
{
	char cmd[800], *end;
	struct stat st;
	snprintf(cmd, sizeof cmd, "ls -d %s/*", folder);
	FILE *f = popen(cmd, "r");
	CHECK(f && fgets(kept, sizeof kept, f) && (end = strchr(kept, '\n')));
	*end = 0;
	CHECK_MSG(!fgets(cmd, sizeof cmd, f), "something beside it: %s", cmd);
	pclose(f);
	CHECK(stat(kept, &st) == 0);
	return st.st_ino;
}

/* Writes to the kept file at `at`. */
static void spoil(off_t at, uint8_t byte)
{
	int fd = open(kept, O_RDWR);
	CHECK(fd >= 0 && pwrite(fd, &byte, 1, at) == 1);
	close(fd);
}

TEST(packs_kept_and_found)
{
	begin();
	check_open(folder);
	ino_t first = kept_inode();
	CHECK(strstr(kept, "/m.gguf.") && strstr(kept, ".v1.pack"));
	check_open(folder);
	CHECK_INT(kept_inode(), first);
}

TEST(packs_made_anew)
{
	struct stat st;
	begin();
	check_open(folder);
	ino_t last = kept_inode(), now;
	for (int i = 0; i < 5; i++) {
		CHECK(stat(model, &st) == 0);
		if (i == 0) spoil(20, 0xff);                     /* its header: another length */
		if (i == 1) CHECK(truncate(kept, PACKS_ALIGN + 100) == 0);
		if (i == 2) CHECK(truncate(kept, 0) == 0);
		if (i == 3) spoil(PACKS_ALIGN + 5000, 0x5a); /* a panel that is looked at: the first matrix's second */
		if (i == 4) {                                    /* another model of that size and time */
			model_write(2);
			CHECK(utimensat(AT_FDCWD, model, (struct timespec[]){ st.st_atim, st.st_mtim }, 0) == 0);
		}
		int held = open(kept, O_RDONLY);                 /* so that its inode is not given out again */
		check_open(folder);
		now = kept_inode();
		close(held);
		CHECK_MSG(now != last, "case %d: taken as it was", i);
		last = now;
	}
}

/* What a killed process left is taken over; what another one holds is not waited for. */
TEST(packs_temporary)
{
	char temp[800];
	begin();
	check_open(folder);
	kept_inode();
	snprintf(temp, sizeof temp, "%s.tmp", kept);
	CHECK(unlink(kept) == 0);
	CHECK_OK(file_write_atomic(temp, "left", 4, &e), e);
	check_open(folder);
	kept_inode();                                            /* and nothing beside it */
}

TEST(packs_without_a_folder)
{
	char below[400];
	begin();
	check_open(NULL);
	check_open("");
	snprintf(below, sizeof below, "%s/below", model);
	check_open(below);                                       /* a file is in its place: in memory */
	CHECK(!file_exists(folder));
}
