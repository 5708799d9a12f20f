/* test_packs.c: packed matrices of a model kept in a folder: found again, and made anew when anything is not as it
 * was. Whatever lies there, and whoever else is at it, what is opened has the model's bits. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
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
enum { PROBED = 1, NOT_PROBED = 4, PANEL_BYTES = 2 * 320 + 16 * 256 };   /* panels of the first matrix; bytes of each */
static char model[300], folder[300], kept[700];
static struct mapping map;
static struct matrix w[N];
static struct team *team;
static struct err e;

static size_t model_bytes(void)
{
	size_t bytes = 0;
	for (size_t i = 0; i < N; i++) bytes += shapes[i].rows * quant_row_bytes(shapes[i].type, shapes[i].k);
	return bytes;
}

static void model_put(const uint8_t *data)
{
	mapping_close(&map);
	CHECK_OK(file_write_atomic(model, data, model_bytes(), &e), e);
	CHECK_OK(mapping_open(&map, model, &e), e);
	const uint8_t *at = map.data;
	for (size_t i = 0; i < N; i++) {
		w[i] = (struct matrix){ shapes[i].type, shapes[i].rows, shapes[i].k, at,
			quant_row_bytes(shapes[i].type, shapes[i].k) };
		at += w[i].rows * w[i].row_bytes;
	}
}

/* A model file of random bytes. */
static void model_write(unsigned seed)
{
	uint8_t *data = mem_alloc(model_bytes());
	for (size_t i = 0; i < model_bytes(); i++) data[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
	model_put(data);
	mem_free(data);
}

/* Another model in its place, of that size and time: a weight of that panel is another one. */
static void model_bend(size_t panel)
{
	struct stat st;
	uint8_t *data = mem_alloc(model_bytes());
	CHECK(stat(model, &st) == 0);
	memcpy(data, map.data, model_bytes());
	data[panel * PACK_ROWS * w[0].row_bytes + 100] ^= 1;
	model_put(data);
	CHECK(utimensat(AT_FDCWD, model, (struct timespec[]){ st.st_atim, st.st_mtim }, 0) == 0);
	mem_free(data);
}

static void begin_without_team(void)
{
	snprintf(model, sizeof model, "%s/m.gguf", test_dir());
	snprintf(folder, sizeof folder, "%.*s/new/packed", (int)(strlen(model) - strlen("/m.gguf")), model);
	model_write(1);
}

static void begin(void)
{
	begin_without_team();
	team = team_new(3);
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

/* The sum of packs.h, bit by bit. */
static uint32_t crc_word(uint32_t crc, const uint8_t *word)
{
	for (int i = 0; i < 64; i++) {
		uint32_t bit = (crc ^ word[i / 8] >> i % 8) & 1;
		crc = crc >> 1 ^ (bit ? 0x82f63b78 : 0);
	}
	return crc;
}

static uint32_t sum_of(const uint8_t *data, size_t n)
{
	uint32_t lane[4] = { 0 };
	for (size_t i = 0; i < n; i += 8) lane[i / 8 % 4] = crc_word(lane[i / 8 % 4], data + i);
	for (int i = 1; i < 4; i++) {
		uint8_t word[8] = { 0 };
		memcpy(word, &lane[i], 4);
		lane[0] = crc_word(lane[0], word);
	}
	return lane[0];
}

/* Gives the kept file the time of change of the model that is there now, and sums that fit. */
static void forge(void)
{
	struct buf b;
	struct stat st;
	uint64_t ns;
	buf_init(&b, 1 << 24);
	CHECK(stat(model, &st) == 0);
	CHECK_OK(file_read(kept, &b, &e), e);
	ns = (uint64_t)st.st_ctim.tv_sec * 1000000000u + (uint64_t)st.st_ctim.tv_nsec;
	memcpy(b.data + 32, &ns, sizeof ns);
	size_t blocks = (b.len + PACKS_SUM_BYTES - 1) / PACKS_SUM_BYTES, body = b.len - 4 * blocks;
	CHECK_INT(body % PACKS_ALIGN, 0);
	for (size_t i = 0; i < blocks; i++) {
		size_t at = i * PACKS_SUM_BYTES, n = body - at < PACKS_SUM_BYTES ? body - at : PACKS_SUM_BYTES;
		uint32_t sum = sum_of((uint8_t *)b.data + at, n);
		memcpy(b.data + body + 4 * i, &sum, sizeof sum);
	}
	CHECK_OK(file_write_atomic(kept, b.data, b.len, &e), e);
	buf_clear(&b);
}

static off_t kept_bytes(void)
{
	struct stat st;
	CHECK(stat(kept, &st) == 0);
	return st.st_size;
}

/* Opens, and expects that the kept file was taken as it is, or not. */
static void check_kept(int taken, const char *what)
{
	kept_inode();
	int held = open(kept, O_RDONLY);                 /* so that its inode is not given out again */
	ino_t was = kept_inode();
	check_open(folder);
	CHECK_MSG((kept_inode() == was) == taken, "%s: %s", what, taken ? "made anew" : "taken as it was");
	close(held);
}

TEST(packs_made_anew)
{
	begin();
	check_open(folder);
	kept_inode();
	spoil(20, 0xff);
	check_kept(0, "a header with another length");
	CHECK(truncate(kept, PACKS_ALIGN + 100) == 0);
	check_kept(0, "cut off in a matrix");
	CHECK(truncate(kept, kept_bytes() - 4) == 0);
	check_kept(0, "cut off in the sums");
	CHECK(truncate(kept, kept_bytes() + PACKS_ALIGN) == 0);
	check_kept(0, "grown");
	CHECK(truncate(kept, 0) == 0);
	check_kept(0, "empty");
	model_bend(NOT_PROBED);
	check_kept(0, "another model of that size and time");
	check_kept(1, "nothing is wrong");
}

/* A file that says it is this model's, and holds what another kind of packing made. */
TEST(packs_probed)
{
	begin();
	check_open(folder);
	kept_inode();
	forge();
	check_kept(1, "the sums as they were");
	model_bend(PROBED);
	forge();
	check_kept(0, "another model's panel");
}

/* One bit, anywhere. */
TEST(packs_flipped_bit)
{
	uint8_t byte;
	begin();
	check_open(folder);
	kept_inode();
	off_t bytes = kept_bytes(), at[] = { 0, 13, 40, PACKS_ALIGN - 1, PACKS_ALIGN + NOT_PROBED * PANEL_BYTES + 17, bytes - 1,
		bytes / 2 };
	for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
		char what[60];
		int fd = open(kept, O_RDONLY);
		CHECK(fd >= 0 && pread(fd, &byte, 1, at[i]) == 1);
		close(fd);
		spoil(at[i], byte ^ (uint8_t)(1 << i % 8));
		snprintf(what, sizeof what, "a bit of byte %lld", (long long)at[i]);
		check_kept(0, what);
		check_kept(1, what);
	}
}

/* What a killed process left is taken over; what another one holds is not waited for. */
TEST(packs_temporary)
{
	char temp[800];
	struct stat st;
	begin();
	check_open(folder);
	kept_inode();
	snprintf(temp, sizeof temp, "%s.tmp", kept);
	CHECK(unlink(kept) == 0);
	CHECK_OK(file_write_atomic(temp, "left", 4, &e), e);
	check_open(folder);
	kept_inode();                                            /* and nothing beside it */
	CHECK(unlink(kept) == 0);
	CHECK_OK(file_write_atomic(temp, "held", 4, &e), e);
	int fd = open(temp, O_RDWR);
	CHECK(fd >= 0 && flock(fd, LOCK_EX) == 0);
	check_open(folder);
	CHECK(!file_exists(kept) && stat(temp, &st) == 0 && st.st_size == 4);
	close(fd);
	check_open(folder);
	kept_inode();
}

/* Processes that open the same model at once: each has the right numbers, and one whole file is left. */
TEST(packs_many_at_once)
{
	enum { PROCESSES = 4, ROUNDS = 8 };
#ifdef __SANITIZE_THREAD__
	test_skip("the thread sanitizer now and then spins in a fork");
#endif
	begin_without_team();                                    /* threads do not come along */
	for (int round = 0; round < ROUNDS; round++) {
		pid_t child[PROCESSES];
		for (int i = 0; i < PROCESSES; i++)
			if ((child[i] = fork()) == 0) {
				team = team_new(2);
				check_open(folder);
				_exit(0);
			}
		for (int i = 0; i < PROCESSES; i++) {
			int status = -1;
			CHECK(waitpid(child[i], &status, 0) == child[i]);
			CHECK_MSG(status == 0, "round %d: status %d", round, status);
		}
		kept_inode();
		if (round % 2) CHECK(unlink(kept) == 0);
		else spoil(PACKS_ALIGN + 7, (uint8_t)round);
	}
	team = team_new(2);
	check_open(folder);
}

/* Too little room for the file: in memory alone, and nothing is left behind; a file that was there stays. */
TEST(packs_no_room)
{
	struct rlimit old, little = { 2 * PACKS_ALIGN, RLIM_INFINITY };
	char cmd[800];
	struct stat st;
	begin();
	CHECK(getrlimit(RLIMIT_FSIZE, &old) == 0);
	little.rlim_max = old.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	CHECK(setrlimit(RLIMIT_FSIZE, &little) == 0);
	check_open(folder);
	CHECK(setrlimit(RLIMIT_FSIZE, &old) == 0);
	snprintf(cmd, sizeof cmd, "test -z \"$(ls -A %s)\"", folder);
	CHECK_INT(system(cmd), 0);
	check_open(folder);
	kept_inode();
	spoil(PACKS_ALIGN + 7, 0x3c);
	CHECK(setrlimit(RLIMIT_FSIZE, &little) == 0);
	check_open(folder);
	CHECK(setrlimit(RLIMIT_FSIZE, &old) == 0);
	CHECK(stat(kept, &st) == 0);
	check_kept(0, "a spoilt file that could not be replaced");
	signal(SIGXFSZ, SIG_DFL);
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
