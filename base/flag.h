/* flag.h: a flag that one thread sets and others poll (cancel, stop), without any order to other memory. Plain reads of
 * a volatile int do the same on this machine; these say it to the compiler and to the race detector. */
#ifndef BASE_FLAG_H
#define BASE_FLAG_H

/* 1 when f is set; f may be NULL: never set. */
static inline int flag_is(const volatile int *f)
{
	return f && __atomic_load_n(f, __ATOMIC_RELAXED) != 0;
}

static inline void flag_set(volatile int *f)
{
	__atomic_store_n(f, 1, __ATOMIC_RELAXED);
}

#endif
