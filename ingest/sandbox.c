/* sandbox.c: owns libseccomp and Landlock.
 *
 * Two walls, each enough for most of what could go wrong, together for more. seccomp: a parser's filter names what is
 * allowed and refuses the rest with EPERM, so that a library that asks for something odd goes on without instead of
 * dying; a tool's filter names what is refused, since nobody knows what a foreign program needs of the harmless rest.
 * Landlock: the right to open is taken away for all but a few folders, which holds for whatever path or link leads to
 * a file; newer ABIs also take TCP, abstract sockets and signals to others. A kernel that lacks a right is not asked for it.
 * Threads: one, the child's. Failure: what cannot be put in force is left out, and the state says so. */
#include "ingest/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What this distribution's header does not name yet (linux/landlock.h of later kernels). */
enum { ABI_TRUNCATE = 3, ABI_NET = 4, ABI_IOCTL = 5, ABI_SCOPE = 6, ABI_KNOWN = 7 };
#define RIGHT_TRUNCATE (1ull << 14)
#define RIGHT_IOCTL_DEV (1ull << 15)
#define NET_BIND_CONNECT 3ull
#define SCOPE_ABSTRACT_SIGNAL 3ull
struct ruleset { uint64_t fs, net, scoped; };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };         /* shadow memory takes terabytes of addresses */
#else
enum { SANITIZED = 0 };
#endif

/* ---- limits ---- */

static uint64_t address_space(void)
{
	unsigned long long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f) {
		if (fscanf(f, "%llu", &pages) != 1)
			pages = 0;
		fclose(f);
	}
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void limit(int which, uint64_t value, uint64_t hard)
{
	struct rlimit have, l = { value, hard };

	if (getrlimit(which, &have) == 0 && have.rlim_max != RLIM_INFINITY && have.rlim_max < hard)
		l.rlim_max = have.rlim_max;
	if (l.rlim_cur > l.rlim_max)
		l.rlim_cur = l.rlim_max;
	setrlimit(which, &l);
}

void sandbox_limits(uint64_t memory_bytes, int more, int cpu_seconds, int files_max)
{
	uint64_t have = more ? address_space() : 0;
	uint64_t memory = memory_bytes < UINT64_MAX - have ? memory_bytes + have : UINT64_MAX;

	if (memory_bytes && !SANITIZED)
		limit(RLIMIT_AS, memory, memory);
	if (cpu_seconds > 0)                            /* SIGXCPU first, which says why; SIGKILL a second later */
		limit(RLIMIT_CPU, (uint64_t)cpu_seconds, (uint64_t)cpu_seconds + 1);
	limit(RLIMIT_NOFILE, (uint64_t)files_max, (uint64_t)files_max);
	limit(RLIMIT_CORE, 0, 0);
	limit(RLIMIT_FSIZE, 0, 0);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* ---- Landlock ---- */

static int landlock_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	return abi < 0 ? 0 : (int)abi;
}

static struct ruleset everything_handled(int abi)
{
	struct ruleset r = { (1ull << 13) - 1, 0, 0 };  /* all of ABI 1 */

	if (abi >= 2)
		r.fs |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= ABI_TRUNCATE)
		r.fs |= RIGHT_TRUNCATE;
	if (abi >= ABI_IOCTL)
		r.fs |= RIGHT_IOCTL_DEV;
	if (abi >= ABI_NET)
		r.net = NET_BIND_CONNECT;
	if (abi >= ABI_SCOPE)
		r.scoped = SCOPE_ABSTRACT_SIGNAL;
	return r;
}

/* What is not there needs no rule. */
static void allow_path(int rules, const char *path, uint64_t rights)
{
	struct landlock_path_beneath_attr a = { .allowed_access = rights };
	struct stat st;

	a.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (a.parent_fd < 0)
		return;
	if (fstat(a.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
		a.allowed_access &= LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE;
	syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &a, 0);
	close(a.parent_fd);
}

/* Returns the ABI in force, 0 for none. */
static int landlock_enter(const char *const *paths, uint64_t rights, const char *program)
{
	int abi = landlock_abi(), rules, done;
	struct ruleset r = everything_handled(abi);
	size_t size = abi >= ABI_SCOPE ? sizeof r : abi >= ABI_NET ? 2 * sizeof r.fs : sizeof r.fs;

	if (abi == 0)
		return 0;
	rules = (int)syscall(SYS_landlock_create_ruleset, &r, size, 0);
	if (rules < 0)
		return 0;
	for (size_t i = 0; paths[i]; i++)
		allow_path(rules, paths[i], rights);
	if (program)
		allow_path(rules, program, rights);
	done = syscall(SYS_landlock_restrict_self, rules, 0) == 0;
	close(rules);
	return done ? abi < ABI_KNOWN ? abi : ABI_KNOWN : 0;
}

/* ---- seccomp ---- */

static int seccomp_there(void)
{
	uint32_t action = SECCOMP_RET_ERRNO;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

void sandbox_probe(struct sandbox_state *s)
{
	s->seccomp = seccomp_there();
	s->landlock = landlock_abi();
}

static const int parser_calls[] = {
	SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(pread64), SCMP_SYS(lseek), SCMP_SYS(close),
	SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(fcntl), SCMP_SYS(poll), SCMP_SYS(ppoll),
	SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(mprotect), SCMP_SYS(madvise), SCMP_SYS(brk),
	SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack),
	SCMP_SYS(futex), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(restart_syscall),
	SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday),
	SCMP_SYS(time), SCMP_SYS(getrandom), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getppid), SCMP_SYS(getuid),
	SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(getrusage), SCMP_SYS(getrlimit), SCMP_SYS(uname),
	SCMP_SYS(sysinfo), SCMP_SYS(exit), SCMP_SYS(exit_group),
};

static const int tool_refused[] = {
	SCMP_SYS(socket), SCMP_SYS(socketpair), SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(listen), SCMP_SYS(accept), SCMP_SYS(accept4),
	SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(process_madvise), SCMP_SYS(pidfd_getfd),
	SCMP_SYS(pidfd_open), SCMP_SYS(pidfd_send_signal), SCMP_SYS(kill), SCMP_SYS(tkill), SCMP_SYS(fork), SCMP_SYS(vfork),
	SCMP_SYS(unshare), SCMP_SYS(setns), SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot),
	SCMP_SYS(fsopen), SCMP_SYS(fsmount), SCMP_SYS(move_mount), SCMP_SYS(open_tree), SCMP_SYS(mount_setattr),
	SCMP_SYS(bpf), SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd), SCMP_SYS(keyctl), SCMP_SYS(add_key), SCMP_SYS(request_key),
	SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module), SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load),
	SCMP_SYS(reboot), SCMP_SYS(swapon), SCMP_SYS(swapoff), SCMP_SYS(acct), SCMP_SYS(quotactl), SCMP_SYS(settimeofday),
	SCMP_SYS(clock_settime), SCMP_SYS(adjtimex), SCMP_SYS(clock_adjtime), SCMP_SYS(sethostname), SCMP_SYS(setdomainname),
	SCMP_SYS(iopl), SCMP_SYS(ioperm), SCMP_SYS(mknod), SCMP_SYS(mknodat), SCMP_SYS(name_to_handle_at),
	SCMP_SYS(open_by_handle_at), SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register),
	SCMP_SYS(shmget), SCMP_SYS(shmat), SCMP_SYS(msgget), SCMP_SYS(semget), SCMP_SYS(mq_open), SCMP_SYS(execveat),
	SCMP_SYS(creat), SCMP_SYS(truncate), SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(rename), SCMP_SYS(renameat),
	SCMP_SYS(renameat2), SCMP_SYS(mkdir), SCMP_SYS(mkdirat), SCMP_SYS(rmdir), SCMP_SYS(link), SCMP_SYS(linkat),
	SCMP_SYS(symlink), SCMP_SYS(symlinkat), SCMP_SYS(chmod), SCMP_SYS(fchmod), SCMP_SYS(fchmodat), SCMP_SYS(chown),
	SCMP_SYS(fchown), SCMP_SYS(fchownat), SCMP_SYS(lchown), SCMP_SYS(setxattr), SCMP_SYS(lsetxattr), SCMP_SYS(fsetxattr),
	SCMP_SYS(utime), SCMP_SYS(utimes), SCMP_SYS(utimensat), SCMP_SYS(prlimit64), SCMP_SYS(setrlimit),
};

static int parser_rules(scmp_filter_ctx f, int may_open)
{
	int rc = 0;

	for (size_t i = 0; i < sizeof parser_calls / sizeof *parser_calls && rc == 0; i++)
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, parser_calls[i], 0);
	/* Limits may be looked at, and a failed check may end the process itself. */
	if (rc == 0)
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, SCMP_A2(SCMP_CMP_EQ, 0));
	if (rc == 0)
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	if (rc == 0 && may_open)
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC | O_PATH, O_RDONLY));
	if (rc == 0 && may_open)
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(getdents64), 0);
	return rc;
}

static int tool_rules(scmp_filter_ctx f)
{
	static const unsigned writing[] = { O_WRONLY, O_RDWR, O_CREAT, O_TRUNC };
	int rc = 0;

	for (size_t i = 0; i < sizeof tool_refused / sizeof *tool_refused && rc == 0; i++)
		rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), tool_refused[i], 0);
	/* A thread is a clone with CLONE_THREAD; clone3 hides its flags in memory, and libc falls back on ENOSYS. */
	if (rc == 0)
		rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (rc == 0)
		rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
	if (rc == 0)
		rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(openat2), 0);
	for (size_t i = 0; i < sizeof writing / sizeof *writing && rc == 0; i++) {
		rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(openat), 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, writing[i], writing[i]));
		if (rc == 0)
			rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(open), 1,
				SCMP_A1(SCMP_CMP_MASKED_EQ, writing[i], writing[i]));
	}
	return rc;
}

/* 1 when the filter is in force. */
static int seccomp_enter(int parser, int may_open)
{
	scmp_filter_ctx f = seccomp_init(parser ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_ALLOW);
	int rc;

	if (!f)
		return 0;
	rc = parser ? parser_rules(f, may_open) : tool_rules(f);
	if (rc == 0)
		rc = seccomp_load(f);
	seccomp_release(f);
	return rc == 0;
}

/* ---- the two sandboxes ---- */

void sandbox_parser(struct sandbox_state *s)
{
	static const char *const readable[] = { "/usr/lib", "/usr/share", "/lib", "/lib64", "/etc/ld.so.cache", NULL };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	s->landlock = landlock_enter(readable, LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR, NULL);
	s->seccomp = seccomp_there() && seccomp_enter(1, s->landlock > 0);
}

void sandbox_tool(const char *program, struct sandbox_state *s)
{
	static const char *const readable[] = { "/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/ld.so.conf",
		"/etc/ld.so.conf.d", "/etc/alternatives", "/etc/fonts", "/etc/localtime", "/var/cache/fontconfig", "/dev/null", NULL };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	s->landlock = landlock_enter(readable, LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_EXECUTE,
		program);
	s->seccomp = seccomp_there() && seccomp_enter(0, 0);
}
