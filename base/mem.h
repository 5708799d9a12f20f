/* mem.h: the only way to the heap. Same contracts as malloc and friends, NULL on failure; every caller turns NULL
 * into E_MEMORY. 0 bytes get a pointer of their own; over 512 GiB is refused as a length gone wrong. One place to count
 * and to fail the n-th allocation in tests (fault_alloc_after in fault.h). Thread-safe. */
#ifndef BASE_MEM_H
#define BASE_MEM_H
#include <stddef.h>

void *mem_alloc(size_t bytes) __attribute__((malloc, warn_unused_result));
void *mem_calloc(size_t n, size_t bytes) __attribute__((malloc, warn_unused_result)); /* n*bytes is overflow-checked */
void *mem_realloc(void *p, size_t bytes) __attribute__((warn_unused_result));
/* align: a power of two (else NULL). mem_free frees it. */
void *mem_aligned(size_t align, size_t bytes) __attribute__((malloc, warn_unused_result));
/* For large tables that are read all over: on huge pages where they fill some and the system grants them, 64-byte
 * aligned at least. mem_free frees it. */
void *mem_huge(size_t bytes) __attribute__((malloc, warn_unused_result));
char *mem_strdup(const char *s) __attribute__((malloc, warn_unused_result));
/* Copies exactly len bytes and adds a NUL. */
char *mem_strndup(const char *s, size_t len) __attribute__((malloc, warn_unused_result));
void mem_free(void *p);

#endif
