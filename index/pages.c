/* pages.c: owns the look at the raw pages of LMDB's file. LMDB trusts what its pages say of themselves: an offset that a
 * changed bit leads elsewhere is followed out of the page, out of the file, and the process dies. So they are looked at
 * before: whether every offset, size and page number that can be met from a state's roots stays where it must.
 *
 * The file, as LMDB 0.9 writes it on x86-64 (mdb.c: MDB_page, MDB_node, MDB_db, MDB_meta), little-endian:
 *
 *   page   0 u64 its number; 8 u16 pad; 10 u16 flags: 1 branch, 2 leaf, 4 overflow, 8 meta; 12 u16 lower, 14 u16 upper
 *          (overflow: 12 u32 pages); 16 u16[(lower - 16) / 2] offsets of nodes
 *   node   branch: 0 u48 child; 6 u16 key's size; 8 key.   leaf: 0 u32 data's size; 4 u16 flags: 1 the data is u64, the
 *          number of its overflow page, 2 it is a tree; 6 u16 key's size; 8 key; data
 *   tree   0 u32 pad; 4 u16 flags; 6 u16 depth; 8 u64 branch, leaf, overflow pages, entries; 40 u64 root, 2^64-1: none
 *   meta   in pages 0 and 1: 16 u32 magic; 20 u32 version; 24 u64 address; 32 u64 map; 40 tree of free pages; 88 tree of
 *          tables; 136 u64 last page; 144 u64 commit
 *
 * Free pages are lists in the first tree: u64 n, n page numbers. One that is in use as well would be written over.
 * Method: a walk with pages read into memory of its own, one a level; a bit for each page met, so that none is met twice.
 * What keys and values mean is check.c's. Threads: no state. Failure: see pages.h. */
#include "index/pages.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"

enum { HEAD = 16, NODE = 8, TREE = 48, DEPTH_MAX = 32, KEY_BYTES_MAX = 511, BRANCH = 1, LEAF = 2, OVERFLOW = 4, KINDS = 7 | 32,
	BIG = 1, SUBTREE = 2, INTEGER_KEYS = 8 };

typedef unsigned long long ull;

struct pages {
	int fd;
	size_t size;
	uint64_t last;               /* the highest page number */
	uint8_t *seen;               /* a bit a page */
	uint8_t *level;              /* DEPTH_MAX + 2 pages */
};

static uint16_t u16(const uint8_t *p) { uint16_t x; memcpy(&x, p, 2); return x; }
static uint32_t u32(const uint8_t *p) { uint32_t x; memcpy(&x, p, 4); return x; }
static uint64_t u64(const uint8_t *p) { uint64_t x; memcpy(&x, p, 8); return x; }

static int damaged(uint64_t page, const char *how, struct err *e)
{
	return err_set(e, E_CORRUPT, "page %llu of the store's file is damaged: %s; restore a backup, or ingest into a new data folder",
		(ull)page, how);
}

static int bytes_read(const struct pages *p, uint8_t *out, size_t n, uint64_t at, struct err *e)
{
	while (n) {
		ssize_t got = pread(p->fd, out, n, (off_t)at);
		if (got < 0 && errno == EINTR) continue;
		if (got < 0) return err_sys(e, "read the store's file");
		if (got == 0) return damaged(at / p->size, "the file ends before it", e);
		out += got, n -= (size_t)got, at += (uint64_t)got;
	}
	return OK;
}

/* Notes that n pages are in use; E_CORRUPT when one is not in the file or was met before. */
static int pages_take(struct pages *p, uint64_t page, uint64_t n, struct err *e)
{
	if (page < 2 || page > p->last || n > p->last + 1 - page) return damaged(page, "it is not in the file", e);
	for (uint64_t i = page; i < page + n; i++) {
		if (p->seen[i / 8] >> i % 8 & 1) return damaged(i, "it is used twice", e);
		p->seen[i / 8] |= (uint8_t)(1 << i % 8);
	}
	return OK;
}

static int overflow_check(struct pages *p, uint64_t page, uint32_t bytes, struct err *e)
{
	uint8_t head[HEAD];
	uint64_t want = ((uint64_t)bytes + HEAD + p->size - 1) / p->size;
	int rc = page >= 2 && page <= p->last ? bytes_read(p, head, HEAD, page * p->size, e) : damaged(page, "it is not in the file", e);
	if (rc) return rc;
	if (u64(head) != page || (u16(head + 10) & KINDS) != OVERFLOW || u32(head + 12) < want)
		return damaged(page, "its head is not that of a long value", e);
	return pages_take(p, page, u32(head + 12), e);
}

/* A list of free pages. Long ones lie in overflow pages. */
static int free_check(struct pages *p, const uint8_t *list, uint32_t bytes, uint64_t page, struct err *e)
{
	uint64_t n = bytes >= 8 ? u64(list) : UINT64_MAX;
	int rc = n < bytes / 8 ? OK : damaged(page, "a list of free pages has a wrong length", e);
	for (uint64_t i = 1; !rc && i <= n; i++) rc = pages_take(p, u64(list + 8 * i), 1, e);
	return rc;
}

static int free_long_check(struct pages *p, uint64_t page, uint32_t bytes, struct err *e)
{
	uint8_t *list = mem_alloc((size_t)bytes + 8);
	int rc = list ? bytes_read(p, list, bytes, page * p->size + HEAD, e) : err_set(e, E_MEMORY, "look at pages: out of memory");
	if (!rc) rc = free_check(p, list, bytes, page, e);
	mem_free(list);
	return rc;
}

static int tree_check(struct pages *p, const uint8_t *tree, int kind, unsigned level, uint64_t page, struct err *e);
enum { TREE_OF_FREE, TREE_OF_TABLES, TREE_OF_ENTRIES };

/* A leaf's node with its data at `data`, of which `room` bytes lie in the page. */
static int entry_check(struct pages *p, uint64_t page, const uint8_t *node, const uint8_t *data, size_t room, int kind,
	unsigned level, struct err *e)
{
	uint32_t bytes = u32(node);
	uint16_t flags = u16(node + 4);
	int rc;
	if (flags & ~(kind == TREE_OF_TABLES ? BIG | SUBTREE : BIG)) return damaged(page, "an entry is of no kind", e);
	if (flags & BIG) {
		if (room < 8) return damaged(page, "an entry ends past it", e);
		rc = overflow_check(p, u64(data), bytes, e);
		return rc || kind != TREE_OF_FREE ? rc : free_long_check(p, u64(data), bytes, e);
	}
	if (bytes > room) return damaged(page, "an entry ends past it", e);
	if (kind == TREE_OF_FREE) return free_check(p, data, bytes, page, e);
	if (!(flags & SUBTREE)) return OK;
	return bytes == TREE ? tree_check(p, data, TREE_OF_ENTRIES, level, page, e) : damaged(page, "a table's root has a wrong size", e);
}

/* The page and what is below it; depth: levels from it down to leaves, 1 for a leaf. level: of memory that is free. */
static int page_check(struct pages *p, uint64_t page, unsigned depth, int kind, unsigned level, struct err *e)
{
	uint8_t *b = p->level + (size_t)level * p->size;
	unsigned want = depth > 1 ? BRANCH : LEAF, lower, upper, n;
	int rc = level < DEPTH_MAX ? pages_take(p, page, 1, e) : damaged(page, "the tree is too deep", e);
	if (!rc) rc = bytes_read(p, b, p->size, page * p->size, e);
	if (rc) return rc;
	lower = u16(b + 12), upper = u16(b + 14);
	if (u64(b) != page || (u16(b + 10) & KINDS) != want) return damaged(page, "its head is not that of a page of a tree", e);
	if (lower < HEAD || lower % 2 || upper < lower || upper > p->size) return damaged(page, "its bounds are wrong", e);
	n = (lower - HEAD) / 2;
	if (n < (want == BRANCH ? 2u : 1u)) return damaged(page, "it has too few entries", e);
	for (unsigned i = 0; i < n; i++) {
		size_t at = u16(b + HEAD + 2 * i), key, room;
		if (at < upper || at % 2 || at + NODE > p->size) return damaged(page, "an entry does not lie in it", e);
		key = u16(b + at + 6);
		if (key > KEY_BYTES_MAX || at + NODE + key > p->size) return damaged(page, "a key ends past it", e);
		if (want == LEAF && key == 0) return damaged(page, "a key is empty", e);
		room = p->size - at - NODE - key;
		if (want == BRANCH) rc = page_check(p, u64(b + at) & 0xffffffffffffu, depth - 1, kind, level + 1, e);
		else rc = entry_check(p, page, b + at, b + at + NODE + key, room, kind, level + 1, e);
		if (rc) return rc;
	}
	return OK;
}

static int tree_check(struct pages *p, const uint8_t *tree, int kind, unsigned level, uint64_t page, struct err *e)
{
	unsigned depth = u16(tree + 6);
	if (u16(tree + 4) != (kind == TREE_OF_FREE ? INTEGER_KEYS : 0)) return damaged(page, "a tree has flags that no table has", e);
	if (u64(tree + 40) == UINT64_MAX) return OK;
	if (depth < 1 || depth > DEPTH_MAX) return damaged(page, "a tree's depth is wrong", e);
	return page_check(p, u64(tree + 40), depth, kind, level, e);
}

int pages_check(int fd, size_t page_bytes, uint64_t txnid, uint64_t pages_max, struct err *e)
{
	struct pages p = { .fd = fd, .size = page_bytes };
	uint8_t meta[2][152];
	int rc, at;
	if (page_bytes < 512 || page_bytes > 65536) return err_set(e, E_UNSUPPORTED, "the store's file has pages of %zu bytes", page_bytes);
	rc = bytes_read(&p, meta[0], sizeof meta[0], 0, e);
	if (!rc) rc = bytes_read(&p, meta[1], sizeof meta[1], page_bytes, e);
	if (rc) return rc;
	at = u64(meta[0] + 144) == txnid ? 0 : 1;
	if (u64(meta[at] + 144) != txnid) return OK; /* writers have gone on by two commits; what they wrote was not damaged */
	p.last = u64(meta[at] + 136);
	if (pages_max && p.last > pages_max) return OK;
	if (p.last > (uint64_t)INT64_MAX / page_bytes - 2) return damaged((uint64_t)at, "the number of the last page is wrong", e);
	p.seen = mem_calloc(p.last / 8 + 1, 1);
	p.level = mem_alloc((DEPTH_MAX + 2) * page_bytes);
	if (!p.seen || !p.level) rc = err_set(e, E_MEMORY, "look at pages: out of memory");
	if (!rc) rc = tree_check(&p, meta[at] + 88, TREE_OF_TABLES, 0, (uint64_t)at, e);
	if (!rc) rc = tree_check(&p, meta[at] + 40, TREE_OF_FREE, 0, (uint64_t)at, e);
	mem_free(p.seen);
	mem_free(p.level);
	return rc;
}
