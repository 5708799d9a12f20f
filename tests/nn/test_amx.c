/* test_amx.c: tiles in every thread of a team, with what amx_enter promises of them; and a system that refuses them. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/file.h"
#include "base/team.h"
#include "nn/amx.h"
#include "nn/gemm8.h"
#include "nn/ops.h"
#include "tests/test.h"

static atomic_int wrong;

/* One product of int8 tiles: B holds groups of four along k, as TDPBUSD wants them. */
static void product(void *ctx, int member, int size)
{
	static const int K = AMX_ROW_BYTES;
	uint8_t a[AMX_ROWS][AMX_ROW_BYTES];
	int8_t b[AMX_ROWS][AMX_ROW_BYTES];
	int32_t c[AMX_ROWS][AMX_ROW_BYTES / 4];
	(void)ctx, (void)size;
	for (int i = 0; i < AMX_ROWS; i++)
		for (int j = 0; j < AMX_ROW_BYTES; j++) {
			a[i][j] = (uint8_t)(i * 31 + j * 7 + member);
			b[i][j] = (int8_t)(i * 13 - j * 5 - member);
		}
	amx_enter();
	amx_load(1, a, AMX_ROW_BYTES);
	amx_load(2, b, AMX_ROW_BYTES);
	amx_dot_us(0, 1, 2); /* tile 0 is zero */
	amx_store(0, c, AMX_ROW_BYTES);
	amx_leave();
	for (int i = 0; i < AMX_ROWS; i++)
		for (int j = 0; j < AMX_ROW_BYTES / 4; j++) {
			int sum = 0;
			for (int k = 0; k < K; k++) sum += a[i][k] * b[k / 4][4 * j + k % 4];
			if (c[i][j] != sum) atomic_fetch_add(&wrong, 1);
		}
}

TEST(amx_tiles_in_every_thread)
{
	struct team *t;
	if (!amx_ok()) test_skip("no AMX here");
	t = team_new(4);
	CHECK(t);
	for (int i = 0; i < 50; i++) team_run(t, product, NULL);
	CHECK_INT(atomic_load(&wrong), 0);
	team_free(t);
}

/* Whoever asks for leave to use tiles (arch_prctl) hears no. */
static void refuse_tiles(void)
{
	enum { REQ_XCOMP_PERM = 0x1023 };
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_arch_prctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, REQ_XCOMP_PERM, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = sizeof filter / sizeof *filter, .filter = filter };
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) test_skip("no filter of system calls: %s", strerror(errno));
}

/* Other kernels run, for both models, and the log has one line. */
TEST(amx_refused_falls_back)
{
	const struct ops *ops;
	const struct gemm8 *gemm8;
	struct err e;
	struct buf log;
	char path[300];
	const char *at;
	int fd, keep = dup(2), lines = 0;
	refuse_tiles();
	snprintf(path, sizeof path, "%s/log", test_dir());
	fd = open(path, O_CREAT | O_RDWR, 0600);
	CHECK(keep >= 0 && fd >= 0 && dup2(fd, 2) == 2);
	CHECK(!amx_ok());
	CHECK_OK(ops_choose(&ops, NULL, &e), e);
	CHECK(strcmp(ops->name, "amx") != 0);
	CHECK_INT(ops_choose(&ops, "amx", &e), E_UNSUPPORTED);
	CHECK_MSG(strstr(e.msg, "amx") && strstr(e.msg, "leave"), "%s", e.msg);
	CHECK_OK(gemm8_choose(&gemm8, NULL, &e), e);
	CHECK(strcmp(gemm8->name, "amx") != 0);
	CHECK_INT(gemm8_choose(&gemm8, "amx", &e), E_UNSUPPORTED);
	CHECK(dup2(keep, 2) == 2);
	buf_init(&log, 1 << 16);
	CHECK_OK(file_read(path, &log, &e), e);
	for (at = buf_cstr(&log); (at = strstr(at, "refuses")); at++) lines++;
	CHECK_MSG(lines <= 1, "%s", buf_cstr(&log));
	if (lines == 0) CHECK(strstr(buf_cstr(&log), "AMX") == NULL);
	buf_clear(&log);
}
