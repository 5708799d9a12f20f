/* pages.h: PRIVATE to index/. Are the pages of a store's file such that LMDB may be let loose on them? */
#ifndef INDEX_PAGES_H
#define INDEX_PAGES_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

/* Walks every tree of the state that a commit left, in the file behind fd, which nobody changes or whose reader keeps that
 * state. page_bytes: LMDB's. pages_max: of files with more pages nothing is looked at; 0: of all. E_CORRUPT names the page;
 * E_IO, E_MEMORY. Thread-safe. */
int pages_check(int fd, size_t page_bytes, uint64_t txnid, uint64_t pages_max, struct err *e);

#endif
