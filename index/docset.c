/* docset.c: owns the table of documents in memory: its rows and columns, and the look-up by chunk.
 *
 * Method: rows are only added, at the end, and end; none is changed otherwise or taken out, until the whole is read anew
 * (docload.c). Since a replaced document gets fresh chunk ids, rows come in the order of their chunks, and a chunk's row is
 * found by bisection. What meta says is kept by path: a list of (row, value), so that a key few documents have costs little
 * and a comparison runs down one list. Texts and sets of groups are numbers into tables of what is different among them.
 * Documents without text (skipped, failed, duplicates) have no row: no search or count is about them.
 * Threads: a lock for readers and the writer, who waits for those before and is not overtaken by those behind.
 * Failure: E_MEMORY and E_LIMIT (2^31 rows) leave a set that is of no use; searches then ask LMDB. */
#include "index/docset.h"
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "index/inside.h"

enum { ROWS_MAX = INT32_MAX };

/* ---- life ---- */

struct docset *docset_new(uint64_t start)
{
	pthread_rwlockattr_t how;
	struct docset *d = mem_calloc(1, sizeof *d);
	if (!d) return NULL;
	atomic_init(&d->refs, 1);
	atomic_init(&d->end, UINT64_MAX);
	d->start = d->last = start;
	pthread_rwlockattr_init(&how);
	pthread_rwlockattr_setkind_np(&how, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&d->lock, &how);
	pthread_rwlockattr_destroy(&how);
	return d;
}

void docset_put(struct docset *d)
{
	if (!d || atomic_fetch_sub(&d->refs, 1) != 1) return;
	for (size_t i = 0; i < d->path_cap; i++) mem_free(d->paths[i].cells);
	mem_free(d->paths);
	mem_free(d->key);
	mem_free(d->first);
	mem_free(d->chunk_n);
	mem_free(d->source);
	mem_free(d->type);
	mem_free(d->added);
	mem_free(d->updated);
	mem_free(d->life);
	mem_free(d->slot);
	mem_free(d->wide);
	texts_clear(&d->texts);
	texts_clear(&d->values);
	texts_clear(&d->acls);
	texts_clear(&d->names);
	pthread_rwlock_destroy(&d->lock);
	mem_free(d);
}

size_t docset_bytes(struct docset *d)
{
	size_t row = sizeof *d->key + sizeof *d->first + sizeof *d->chunk_n + sizeof *d->source + sizeof *d->type +
		sizeof *d->added + sizeof *d->updated + sizeof *d->life, bytes;
	pthread_rwlock_rdlock(&d->lock);
	bytes = d->cap * row + d->slot_n * sizeof *d->slot + d->wide_cap * sizeof *d->wide + d->path_cap * sizeof *d->paths +
		texts_bytes(&d->texts) + texts_bytes(&d->values) + texts_bytes(&d->acls) + texts_bytes(&d->names);
	for (size_t i = 0; i < d->path_cap; i++) bytes += d->paths[i].cap * sizeof *d->paths[i].cells;
	pthread_rwlock_unlock(&d->lock);
	return bytes;
}

/* ---- one document ---- */

int doc_entry_fill(struct doc_entry *out, uint64_t key, const struct rec_doc *r, struct arena *a)
{
	const uint8_t *p = r->acl;
	int rc;
	*out = (struct doc_entry){ .key = key, .first_chunk = r->first_chunk, .coll = r->coll, .chunk_n = r->chunk_n,
		.added_ms = r->added_ms, .updated_ms = r->updated_ms, .source = arena_strdup(a, r->source),
		.type = arena_strdup(a, r->type), .acl = arena_calloc(a, (size_t)r->acl_n + 1, sizeof *out->acl), .acl_n = r->acl_n };
	if (!out->source || !out->type || !out->acl) return E_MEMORY;
	for (uint32_t i = 0; i < r->acl_n; i++)
		if (!(out->acl[i] = arena_strdup(a, rec_acl_next(&p)))) return E_MEMORY;
	rc = meta_cells(r->meta, a, &out->cells, &out->cell_n);
	out->wide = rc == E_LIMIT;
	return out->wide ? OK : rc;
}

/* ---- rows ---- */

/* The slot of the document's newest row, or the free one where it would go. */
static size_t slot_of(const struct docset *d, uint64_t key)
{
	size_t i = key * 0x9e3779b97f4a7c15u >> 20 & (d->slot_n - 1);
	while (d->slot[i] && d->key[d->slot[i] - 1] != key) i = (i + 1) & (d->slot_n - 1);
	return i;
}

static int slots_make(struct docset *d, size_t n)
{
	uint32_t *slot = mem_calloc(n, sizeof *slot);
	if (!slot) return E_MEMORY;
	mem_free(d->slot);
	d->slot = slot;
	d->slot_n = n;
	for (size_t i = 0; i < d->n; i++) d->slot[slot_of(d, d->key[i])] = (uint32_t)i + 1;
	return OK;
}

static int rows_grow(struct docset *d)
{
	struct { void **at; size_t bytes; } columns[] = { { (void **)&d->key, sizeof *d->key }, { (void **)&d->first, sizeof *d->first },
		{ (void **)&d->chunk_n, sizeof *d->chunk_n }, { (void **)&d->source, sizeof *d->source },
		{ (void **)&d->type, sizeof *d->type }, { (void **)&d->added, sizeof *d->added },
		{ (void **)&d->updated, sizeof *d->updated }, { (void **)&d->life, sizeof *d->life } };
	size_t cap = d->cap ? 2 * d->cap : 64;
	if (d->n == ROWS_MAX) return E_LIMIT;
	if (d->n < d->cap) return OK;
	for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
		void *more = mem_realloc(*columns[i].at, cap * columns[i].bytes);
		if (!more) return E_MEMORY;
		*columns[i].at = more;
	}
	d->cap = cap;
	return slots_make(d, 2 * cap);
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static int acl_put(struct docset *d, const struct doc_entry *in, uint32_t *out)
{
	uint32_t few[16], *groups = in->acl_n <= 16 ? few : mem_alloc(in->acl_n * sizeof *groups);
	int rc = groups ? OK : E_MEMORY;
	*out = 0;
	for (size_t i = 0; i < in->acl_n && !rc; i++) rc = texts_put(&d->texts, in->acl[i], strlen(in->acl[i]), &groups[i]);
	if (!rc && in->acl_n) {
		qsort(groups, in->acl_n, sizeof *groups, by_number);
		rc = texts_put(&d->acls, (const char *)groups, in->acl_n * sizeof *groups, out);
	}
	if (groups != few) mem_free(groups);
	return rc;
}

static int path_get(struct docset *d, const struct meta_cell *c, struct doc_path **out)
{
	uint32_t number;
	int rc = texts_put(&d->names, c->path, c->path_len, &number);
	if (rc) return rc;
	if (number > d->path_cap) {
		size_t cap = d->path_cap ? 2 * d->path_cap : 16;
		struct doc_path *more = mem_realloc(d->paths, cap * sizeof *more);
		if (!more) return E_MEMORY;
		memset(more + d->path_cap, 0, (cap - d->path_cap) * sizeof *more);
		d->paths = more;
		d->path_cap = cap;
	}
	*out = &d->paths[number - 1];
	return OK;
}

/* The bytes that stand for a value: VALUE_HEAD + len of them at most. */
enum { VALUE_HEAD = 1 + sizeof(double) };
static size_t value_bytes(char *out, enum cell_kind kind, const char *text, size_t len, double number)
{
	if (number == 0) number = 0;     /* not -0 */
	out[0] = (char)kind;
	if (kind == CELL_TEXT) memcpy(out + 1, text, len);
	else if (kind == CELL_NUMBER) memcpy(out + 1, &number, sizeof number);
	return 1 + (kind == CELL_TEXT ? len : kind == CELL_NUMBER ? sizeof number : 0);
}

static int value_put(struct docset *d, const struct meta_cell *c, uint32_t *out)
{
	char bytes[VALUE_HEAD + META_CELL_BYTES_MAX];
	size_t len = c->kind == CELL_TEXT ? strlen(c->text) : 0;
	if (len > META_CELL_BYTES_MAX) return E_LIMIT;
	return texts_put(&d->values, bytes, value_bytes(bytes, c->kind, c->text, len, c->number), out);
}

uint32_t value_find(const struct docset *d, enum cell_kind kind, const char *text, size_t len, double number)
{
	char bytes[VALUE_HEAD + META_CELL_BYTES_MAX];
	return len > META_CELL_BYTES_MAX ? 0 : texts_find(&d->values, bytes, value_bytes(bytes, kind, text, len, number));
}

enum cell_kind value_get(const struct docset *d, uint32_t value, const char **text, double *number)
{
	const char *bytes = texts_get(&d->values, value, NULL);
	enum cell_kind kind = (enum cell_kind)bytes[0];
	*text = kind == CELL_TEXT ? bytes + 1 : "";
	*number = 0;
	if (kind == CELL_NUMBER) memcpy(number, bytes + 1, sizeof *number);
	return kind;
}

static int cell_put(struct docset *d, uint32_t row, const struct meta_cell *c)
{
	struct doc_path *p;
	uint32_t value;
	int rc = path_get(d, c, &p);
	if (!rc) rc = value_put(d, c, &value);
	if (rc) return rc;
	if (p->n == p->cap) {
		size_t cap = p->cap ? 2 * p->cap : 4;
		struct row_cell *more = mem_realloc(p->cells, cap * sizeof *more);
		if (!more) return E_MEMORY;
		p->cells = more;
		p->cap = cap;
	}
	p->cells[p->n++] = (struct row_cell){ row, value };
	return OK;
}

static int wide_put(struct docset *d, uint32_t row)
{
	if (d->wide_n == d->wide_cap) {
		size_t cap = d->wide_cap ? 2 * d->wide_cap : 4;
		uint32_t *more = mem_realloc(d->wide, cap * sizeof *more);
		if (!more) return E_MEMORY;
		d->wide = more;
		d->wide_cap = cap;
	}
	d->wide[d->wide_n++] = row;
	return OK;
}

int docset_add(struct docset *d, uint64_t from, const struct doc_entry *in)
{
	uint32_t acl = 0, row = (uint32_t)d->n;
	int rc = rows_grow(d);
	if (!rc) rc = acl_put(d, in, &acl);
	if (!rc) rc = texts_put(&d->texts, in->source, strlen(in->source), &d->source[row]);
	if (!rc) rc = texts_put(&d->texts, in->type, strlen(in->type), &d->type[row]);
	for (size_t i = 0; i < in->cell_n && !rc && !in->wide; i++) rc = cell_put(d, row, &in->cells[i]);
	if (!rc && in->wide) rc = wide_put(d, row);
	if (rc) return rc;
	d->key[row] = in->key, d->first[row] = in->first_chunk, d->chunk_n[row] = in->chunk_n;
	d->added[row] = in->added_ms, d->updated[row] = in->updated_ms;
	d->life[row] = (struct row_life){ from, UINT64_MAX, in->coll, acl };
	d->slot[slot_of(d, in->key)] = row + 1;
	d->n++;
	return OK;
}

void docset_end(struct docset *d, uint64_t seq, uint64_t key)
{
	size_t i = d->slot_n ? slot_of(d, key) : 0;
	if (!d->slot_n || !d->slot[i] || d->life[d->slot[i] - 1].to != UINT64_MAX) return;
	d->life[d->slot[i] - 1].to = seq;
	d->dead++;
}

/* ---- order ---- */

struct place { uint64_t first; uint32_t some, row; }; /* some: it has chunks; without, it stands before who begins there */

static int by_first(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	if (x->first != y->first) return x->first < y->first ? -1 : 1;
	if (x->some != y->some) return x->some < y->some ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

/* Puts one column in the order of places; scratch has room for it. */
static void column_sort(void *column, size_t bytes, const struct place *at, size_t n, void *scratch)
{
	if (!n) return;
	for (size_t i = 0; i < n; i++) memcpy((char *)scratch + i * bytes, (char *)column + at[i].row * bytes, bytes);
	memcpy(column, scratch, n * bytes);
}

int docset_sort(struct docset *d)
{
	struct place *at = mem_alloc((d->n + 1) * sizeof *at);
	uint32_t *now = mem_alloc((d->n + 1) * sizeof *now);
	void *scratch = mem_alloc((d->n + 1) * sizeof(struct row_life));
	int rc = at && now && scratch ? OK : E_MEMORY;
	if (rc) goto out;
	for (size_t i = 0; i < d->n; i++) at[i] = (struct place){ d->first[i], d->chunk_n[i] != 0, (uint32_t)i };
	qsort(at, d->n, sizeof *at, by_first);
	for (size_t i = 0; i < d->n; i++) now[at[i].row] = (uint32_t)i;
	column_sort(d->key, sizeof *d->key, at, d->n, scratch);
	column_sort(d->first, sizeof *d->first, at, d->n, scratch);
	column_sort(d->chunk_n, sizeof *d->chunk_n, at, d->n, scratch);
	column_sort(d->source, sizeof *d->source, at, d->n, scratch);
	column_sort(d->type, sizeof *d->type, at, d->n, scratch);
	column_sort(d->added, sizeof *d->added, at, d->n, scratch);
	column_sort(d->updated, sizeof *d->updated, at, d->n, scratch);
	column_sort(d->life, sizeof *d->life, at, d->n, scratch);
	for (size_t i = 0; i < d->names.n; i++)
		for (size_t j = 0; j < d->paths[i].n; j++) d->paths[i].cells[j].row = now[d->paths[i].cells[j].row];
	for (size_t i = 0; i < d->wide_n; i++) d->wide[i] = now[d->wide[i]];
	if (d->slot_n) rc = slots_make(d, d->slot_n);
out:
	mem_free(at);
	mem_free(now);
	mem_free(scratch);
	return rc;
}

/* ---- looking up ---- */

size_t docset_row(const struct docset *d, uint64_t chunk)
{
	size_t at = 0;
	for (size_t n = d->n; n > 1;) {       /* at: the last row known to begin at the chunk or before it */
		size_t half = n / 2;
		at = d->first[at + half] <= chunk ? at + half : at;
		n -= half;
	}
	return d->n && chunk >= d->first[at] && chunk - d->first[at] < d->chunk_n[at] ? at : SIZE_MAX;
}

uint64_t docset_state(struct docset *d, uint64_t seq)
{
	uint64_t last;
	pthread_rwlock_rdlock(&d->lock);
	last = d->last;
	pthread_rwlock_unlock(&d->lock);
	return seq < last ? seq : last;
}

static int acl_admits(const struct docset *d, uint32_t acl, const struct reader *r)
{
	size_t bytes;
	const char *groups;
	if (r->all_groups || !acl) return 1;
	groups = texts_get(&d->acls, acl, &bytes);
	for (size_t i = 0; i < bytes; i += sizeof(uint32_t)) {
		const char *name;
		uint32_t number;
		memcpy(&number, groups + i, sizeof number);
		name = texts_get(&d->texts, number, NULL);
		for (size_t g = 0; g < r->group_n; g++)
			if (strcmp(name, r->groups[g]) == 0) return 1;
	}
	return 0;
}

int docset_sees(struct docset *d, uint64_t seq, uint64_t chunk, const struct reader *r, struct doc_at *out)
{
	size_t row;
	int yes = 0;
	pthread_rwlock_rdlock(&d->lock);
	row = docset_row(d, chunk);
	if (row != SIZE_MAX) {
		const struct row_life *life = &d->life[row];
		*out = (struct doc_at){ d->key[row], life->coll };
		yes = life->from <= seq && seq < life->to && acl_admits(d, life->acl, r);
	}
	pthread_rwlock_unlock(&d->lock);
	return yes;
}
