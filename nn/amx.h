/* amx.h: leave to use the tiles of Intel AMX, and their shape.
 *
 * A kernel that uses tiles runs only where amx_ok(). The tile configuration is state of a thread: each kernel call
 * begins with amx_enter and ends with amx_leave (some hundred cycles together), so it may run in any thread, and a
 * thread between two calls has no tiles for the system to save.
 * Method: Intel SDM volume 1, chapter 18; Documentation/arch/x86/xstate.rst of Linux. */
#ifndef NN_AMX_H
#define NN_AMX_H

enum {
	AMX_ROWS = 16,         /* rows of each of the eight tiles */
	AMX_ROW_BYTES = 64
};

/* 1: the CPU has tiles with int8 and bf16 products, the system keeps them, and it lets this process use them. Asked
 * once a process; a CPU that has them where the system refuses is one line in the log. Any thread. */
int amx_ok(void);
/* All eight tiles of this thread AMX_ROWS x AMX_ROW_BYTES, and zero. Only where amx_ok(). */
void amx_enter(void);
void amx_leave(void);          /* no tiles any more */

/* The instructions, t a literal 0…7. (The compiler's own forms do not tell it that memory is read.)
 * amx_load: 16 rows of 64 bytes, stride bytes apart. amx_load_once: the same, not to stay in the nearest cache.
 * amx_dot_*: c[i][j] += sum over l < 16 and the four (two) of a[i][l] times those of b[l][j], for int8 into int32 (the
 * first letter tells whether a's are signed, the second b's), bf16 pairs into float. */
#define amx_load(t, p, stride) \
	__asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t : : "r"(p), "r"((long)(stride)) : "memory")
#define amx_load_once(t, p, stride) \
	__asm__ volatile("tileloaddt1 (%0,%1,1), %%tmm" #t : : "r"(p), "r"((long)(stride)) : "memory")
#define amx_store(t, p, stride) \
	__asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" : : "r"(p), "r"((long)(stride)) : "memory")
#define amx_zero(t) __asm__ volatile("tilezero %%tmm" #t : :)
#define amx_dot_ss(c, a, b) __asm__ volatile("tdpbssd %%tmm" #b ", %%tmm" #a ", %%tmm" #c : :)
#define amx_dot_us(c, a, b) __asm__ volatile("tdpbusd %%tmm" #b ", %%tmm" #a ", %%tmm" #c : :)
#define amx_dot_su(c, a, b) __asm__ volatile("tdpbsud %%tmm" #b ", %%tmm" #a ", %%tmm" #c : :)
#define amx_dot_bf16(c, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c : :)

#endif
