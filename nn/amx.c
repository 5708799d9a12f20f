/* amx.c: owns the process's leave to use AMX tiles, and their one configuration.
 * CPUID tells what the CPU has, XCR0 what the system saves on a switch of threads. Tile data is 8 KB a thread, so
 * Linux gives it only to processes that ask (arch_prctl), and to their threads; it refuses when it is too old, when
 * the machine's owner forbids it, or when a signal stack is too small for it.
 * Threads: the question is asked once, under pthread_once. Failure: amx_ok says 0, and other kernels run. */
#include "nn/amx.h"
#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/log.h"

enum {
	REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18,       /* asm/prctl.h of newer kernels */
	XCR0_TILES = 1 << 17 | 1 << 18,                         /* configuration and data */
	OSXSAVE_ECX = 1 << 27,                                  /* leaf 1 */
	AMX_EDX = 1 << 22 | 1 << 24 | 1 << 25                   /* leaf 7: bf16, tiles, int8 */
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int ok;

static int cpu_has(void)
{
	unsigned a, b, c, d, xcr0, high;
	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & OSXSAVE_ECX)) return 0;
	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & AMX_EDX) != AMX_EDX) return 0;
	__asm__("xgetbv" : "=a"(xcr0), "=d"(high) : "c"(0));
	return (xcr0 & XCR0_TILES) == XCR0_TILES;
}

static void ask(void)
{
	if (!cpu_has()) return;
	ok = syscall(SYS_arch_prctl, REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
	if (!ok) log_put(LOG_WARN, "nn", "this CPU has AMX, but the system refuses it (%s): slower kernels run",
		strerror(errno));
}

int amx_ok(void)
{
	pthread_once(&once, ask);
	return ok;
}

void amx_enter(void)
{
	struct { uint8_t palette, start, zero[14]; uint16_t row_bytes[16]; uint8_t rows[16]; } c = { .palette = 1 };
	_Static_assert(sizeof c == 64, "the operand of LDTILECFG is 64 bytes");
	for (int i = 0; i < 8; i++) {
		c.row_bytes[i] = AMX_ROW_BYTES;
		c.rows[i] = AMX_ROWS;
	}
	__asm__ volatile("ldtilecfg %0" : : "m"(c));
}

void amx_leave(void)
{
	__asm__ volatile("tilerelease" : :);
}
