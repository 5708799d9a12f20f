/* gguf.c: owns the mapping of a GGUF file and two sorted tables over it, keys and tensors.
 *
 * One pass with a bounded cursor walks header, key-values and tensor descriptions; every read asks the cursor whether
 * the bytes are there, every product and sum is checked for overflow, and counts are held against the bytes that are
 * left (a key takes at least 13 bytes, a tensor at least 28), so a forged count cannot make us allocate more than a
 * small multiple of the file. No two tensors share a byte. Nested arrays are walked once here, so that later readers need no checks. Then the
 * tables are sorted: duplicates lie side by side, lookups are binary searches. Threads: read-only after open. */
#include "nn/gguf.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/mem.h"
#include "nn/quant.h"

enum { ARRAY_DEPTH_MAX = 4, KEY_MAX = 65535, NAME_SHOWN = 64, ALIGN_DEFAULT = 32, ALIGN_MAX = 1 << 20 };

struct key {
	struct gguf_str name;
	uint32_t type;
	const uint8_t *value;      /* past the type tag */
	const uint8_t *end;        /* past the value */
};

struct gguf {
	struct mapping map;
	char *path;
	struct key *keys;          /* sorted by name */
	size_t key_n;
	struct gguf_tensor *tensors; /* sorted by name */
	size_t tensor_n;
	uint64_t align;
};

struct cursor { const uint8_t *at, *end; };

static size_t left(const struct cursor *c)
{
	return (size_t)(c->end - c->at);
}

static int take(struct cursor *c, void *out, size_t n)
{
	if (left(c) < n) return 0;
	memcpy(out, c->at, n);
	c->at += n;
	return 1;
}

static int take_str(struct cursor *c, struct gguf_str *s)
{
	uint64_t len;
	if (!take(c, &len, sizeof len) || len > left(c)) return 0;
	s->s = (const char *)c->at;
	s->len = (size_t)len;
	c->at += len;
	return 1;
}

/* Bytes of a value of fixed size; 0 for strings, arrays and unknown types. */
static size_t scalar_bytes(uint32_t type)
{
	static const uint8_t bytes[] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
	return type < sizeof bytes ? bytes[type] : 0;
}

static int skip_value(struct cursor *c, uint32_t type, int depth)
{
	struct gguf_str s;
	uint32_t elem;
	uint64_t n;
	size_t one = scalar_bytes(type);
	if (one) {
		if (left(c) < one) return 0;
		c->at += one;
		return 1;
	}
	if (type == GGUF_STR) return take_str(c, &s);
	if (type != GGUF_ARRAY || depth == ARRAY_DEPTH_MAX) return 0;
	if (!take(c, &elem, sizeof elem) || !take(c, &n, sizeof n)) return 0;
	one = scalar_bytes(elem);
	if (one) {
		if (n > left(c) / one) return 0;
		c->at += n * one;
		return 1;
	}
	for (uint64_t i = 0; i < n; i++) /* each turn takes at least 8 bytes or ends the walk */
		if (!skip_value(c, elem, depth + 1)) return 0;
	return 1;
}

static int name_cmp(const struct gguf_str *a, const struct gguf_str *b)
{
	int d = memcmp(a->s, b->s, a->len < b->len ? a->len : b->len);
	return d ? d : (a->len > b->len) - (a->len < b->len);
}

static int key_cmp(const void *a, const void *b)
{
	return name_cmp(&((const struct key *)a)->name, &((const struct key *)b)->name);
}

static int tensor_cmp(const void *a, const void *b)
{
	return name_cmp(&((const struct gguf_tensor *)a)->name, &((const struct gguf_tensor *)b)->name);
}

/* A name for messages: printable ASCII, cut to NAME_SHOWN. */
static const char *shown(const struct gguf_str *s, char out[NAME_SHOWN + 1])
{
	size_t n = s->len < NAME_SHOWN ? s->len : NAME_SHOWN;
	for (size_t i = 0; i < n; i++) out[i] = s->s[i] > 32 && s->s[i] < 127 ? s->s[i] : '?';
	out[n] = 0;
	return out;
}

static int read_keys(struct gguf *g, struct cursor *c, struct err *e)
{
	char name[NAME_SHOWN + 1];
	for (size_t i = 0; i < g->key_n; i++) {
		struct key *k = &g->keys[i];
		if (!take_str(c, &k->name) || k->name.len == 0 || k->name.len > KEY_MAX)
			return err_set(e, E_FORMAT, "%s: key %zu of %zu: name is cut off or has a bad length", g->path, i,
				g->key_n);
		if (!take(c, &k->type, sizeof k->type))
			return err_set(e, E_FORMAT, "%s: key %s: file ends before its value", g->path, shown(&k->name, name));
		k->value = c->at;
		if (!skip_value(c, k->type, 0))
			return err_set(e, E_FORMAT, "%s: key %s: value of type %u is cut off or malformed", g->path,
				shown(&k->name, name), k->type);
		k->end = c->at;
	}
	qsort(g->keys, g->key_n, sizeof *g->keys, key_cmp);
	for (size_t i = 1; i < g->key_n; i++)
		if (key_cmp(&g->keys[i - 1], &g->keys[i]) == 0)
			return err_set(e, E_FORMAT, "%s: key %s: given twice", g->path, shown(&g->keys[i].name, name));
	return OK;
}

/* Fills bytes from type and dims; data keeps the file's offset until place_tensors. */
static int read_tensor(struct gguf *g, struct gguf_tensor *t, size_t i, struct cursor *c, uint64_t *offset,
	struct err *e)
{
	char name[NAME_SHOWN + 1];
	uint64_t weights = 1, block;
	if (!take_str(c, &t->name) || t->name.len == 0 || t->name.len > KEY_MAX)
		return err_set(e, E_FORMAT, "%s: tensor %zu of %zu: name is cut off or has a bad length", g->path, i,
			g->tensor_n);
	shown(&t->name, name);
	if (!take(c, &t->n_dims, 4) || t->n_dims < 1 || t->n_dims > GGUF_DIMS_MAX)
		return err_set(e, E_FORMAT, "%s: tensor %s: number of dimensions is cut off or not 1 to 4", g->path, name);
	for (uint32_t d = 0; d < GGUF_DIMS_MAX; d++) {
		t->dim[d] = 1;
		if (d >= t->n_dims) continue;
		if (!take(c, &t->dim[d], 8) || t->dim[d] == 0 || __builtin_mul_overflow(weights, t->dim[d], &weights))
			return err_set(e, E_FORMAT, "%s: tensor %s: dimension %u is cut off, 0 or too large", g->path, name, d);
	}
	if (!take(c, &t->type, 4) || !take(c, offset, 8))
		return err_set(e, E_FORMAT, "%s: tensor %s: file ends inside its description", g->path, name);
	if (!quant_supported(t->type))
		return err_set(e, E_UNSUPPORTED,
			"%s: tensor %s: type %s (%u) is not supported; use F32 F16 Q8_0 Q4_1 Q5_0 Q4_K or Q6_K",
			g->path, name, quant_name(t->type), t->type);
	block = quant_block_weights(t->type);
	if (t->dim[0] % block)
		return err_set(e, E_FORMAT, "%s: tensor %s: rows of %llu weights do not fill blocks of %llu", g->path, name,
			(unsigned long long)t->dim[0], (unsigned long long)block);
	if (__builtin_mul_overflow(weights / block, (uint64_t)quant_block_bytes(t->type), &t->bytes))
		return err_set(e, E_FORMAT, "%s: tensor %s: too large", g->path, name);
	if (*offset % g->align)
		return err_set(e, E_FORMAT, "%s: tensor %s: offset %llu is not a multiple of %llu", g->path, name,
			(unsigned long long)*offset, (unsigned long long)g->align);
	return OK;
}

static int data_cmp(const void *a, const void *b)
{
	const struct gguf_tensor *x = *(const struct gguf_tensor *const *)a, *y = *(const struct gguf_tensor *const *)b;
	return (x->data > y->data) - (x->data < y->data);
}

/* No byte belongs to two tensors: no honest writer makes that, and it would give the model other weights in silence. */
static int refuse_overlaps(const struct gguf *g, struct err *e)
{
	char name[NAME_SHOWN + 1], other[NAME_SHOWN + 1];
	const struct gguf_tensor **order = mem_calloc(g->tensor_n ? g->tensor_n : 1, sizeof *order);
	int st = OK;
	if (!order) return err_set(e, E_MEMORY, "%s: out of memory", g->path);
	for (size_t i = 0; i < g->tensor_n; i++) order[i] = &g->tensors[i];
	qsort(order, g->tensor_n, sizeof *order, data_cmp);
	for (size_t i = 1; i < g->tensor_n && st == OK; i++)
		if (order[i]->data < order[i - 1]->data + order[i - 1]->bytes)
			st = err_set(e, E_FORMAT, "%s: tensor %s: its data lies over that of %s", g->path,
				shown(&order[i]->name, name), shown(&order[i - 1]->name, other));
	mem_free(order);
	return st;
}

static int read_tensors(struct gguf *g, struct cursor *c, struct err *e)
{
	char name[NAME_SHOWN + 1];
	uint64_t *offset = mem_calloc(g->tensor_n ? g->tensor_n : 1, sizeof *offset), data;
	int st = OK;
	if (!offset) return err_set(e, E_MEMORY, "%s: out of memory", g->path);
	for (size_t i = 0; i < g->tensor_n && st == OK; i++) st = read_tensor(g, &g->tensors[i], i, c, &offset[i], e);
	if (st != OK) goto out;
	data = ((uint64_t)(c->at - g->map.data) + g->align - 1) / g->align * g->align;
	for (size_t i = 0; i < g->tensor_n; i++) {
		struct gguf_tensor *t = &g->tensors[i];
		uint64_t end;
		if (__builtin_add_overflow(data, offset[i], &end) || __builtin_add_overflow(end, t->bytes, &end) ||
			end > g->map.len) {
			st = err_set(e, E_FORMAT, "%s: tensor %s: its data (%llu bytes at %llu) reaches past the end of the file",
				g->path, shown(&t->name, name), (unsigned long long)t->bytes, (unsigned long long)offset[i]);
			goto out;
		}
		t->data = g->map.data + data + offset[i];
	}
	qsort(g->tensors, g->tensor_n, sizeof *g->tensors, tensor_cmp);
	for (size_t i = 1; i < g->tensor_n; i++)
		if (tensor_cmp(&g->tensors[i - 1], &g->tensors[i]) == 0) {
			st = err_set(e, E_FORMAT, "%s: tensor %s: given twice", g->path, shown(&g->tensors[i].name, name));
			goto out;
		}
	st = refuse_overlaps(g, e);
out:
	mem_free(offset);
	return st;
}

static int read_alignment(struct gguf *g, struct err *e)
{
	int align = ALIGN_DEFAULT;
	int st = gguf_has(g, "general.alignment") ? gguf_int(g, "general.alignment", &align, e) : OK;
	if (st != OK) return st;
	if (align < 8 || align > ALIGN_MAX || (align & (align - 1)))
		return err_set(e, E_FORMAT, "%s: key general.alignment: %d is not a power of two of 8 to %d", g->path, align,
			ALIGN_MAX);
	g->align = (uint64_t)align;
	return OK;
}

static int read_all(struct gguf *g, struct err *e)
{
	struct cursor c = { g->map.data, g->map.data + g->map.len };
	uint32_t version;
	uint64_t tensors, keys;
	int st;
	if (left(&c) < 4 || memcmp(c.at, "GGUF", 4) != 0) return err_set(e, E_FORMAT, "%s: not a GGUF file", g->path);
	c.at += 4;
	if (!take(&c, &version, 4) || !take(&c, &tensors, 8) || !take(&c, &keys, 8))
		return err_set(e, E_FORMAT, "%s: file ends inside its header", g->path);
	if (version != 2 && version != 3)
		return err_set(e, E_UNSUPPORTED, "%s: GGUF version %u%s is not supported, only 2 and 3", g->path, version,
			version > 0xffff ? " (big-endian?)" : "");
	if (keys > left(&c) / 13 || tensors > left(&c) / 28)
		return err_set(e, E_FORMAT, "%s: header promises %llu keys and %llu tensors, more than the file can hold",
			g->path, (unsigned long long)keys, (unsigned long long)tensors);
	g->key_n = (size_t)keys;
	g->tensor_n = (size_t)tensors;
	g->keys = mem_calloc(g->key_n + 1, sizeof *g->keys);
	g->tensors = mem_calloc(g->tensor_n + 1, sizeof *g->tensors);
	if (!g->keys || !g->tensors) return err_set(e, E_MEMORY, "%s: out of memory for its tables", g->path);
	if ((st = read_keys(g, &c, e)) != OK) return st;
	if ((st = read_alignment(g, e)) != OK) return st;
	return read_tensors(g, &c, e);
}

int gguf_open(struct gguf **out, const char *path, struct err *e)
{
	int st;
	struct gguf *g = mem_calloc(1, sizeof *g);
	*out = NULL;
	if (!g || !(g->path = mem_strdup(path))) {
		mem_free(g);
		return err_set(e, E_MEMORY, "%s: out of memory", path);
	}
	st = mapping_open(&g->map, path, e);
	if (st == OK && !g->map.data) st = err_set(e, E_FORMAT, "%s: empty file, not GGUF", path);
	if (st == OK) st = read_all(g, e);
	if (st != OK) gguf_close(g);
	else *out = g;
	return st;
}

void gguf_close(struct gguf *g)
{
	if (!g) return;
	mapping_close(&g->map);
	mem_free(g->keys);
	mem_free(g->tensors);
	mem_free(g->path);
	mem_free(g);
}

const char *gguf_path(const struct gguf *g)
{
	return g->path;
}

uint64_t gguf_file_bytes(const struct gguf *g)
{
	return g->map.len;
}

static const struct key *find_key(const struct gguf *g, const char *name)
{
	struct key want = { .name = { name, strlen(name) } };
	return bsearch(&want, g->keys, g->key_n, sizeof *g->keys, key_cmp);
}

int gguf_has(const struct gguf *g, const char *key)
{
	return find_key(g, key) != NULL;
}

static int need_key(const struct gguf *g, const char *key, const struct key **k, struct err *e)
{
	*k = find_key(g, key);
	return *k ? OK : err_set(e, E_FORMAT, "%s: key %s is missing", g->path, key);
}

static int bad_type(const struct gguf *g, const struct key *k, const char *key, const char *want, struct err *e)
{
	return err_set(e, E_FORMAT, "%s: key %s: type %u where %s is expected", g->path, key, k->type, want);
}

int gguf_int(const struct gguf *g, const char *key, int *out, struct err *e)
{
	const struct key *k;
	int64_t v;
	union { uint8_t u8; int8_t i8; uint16_t u16; int16_t i16; uint32_t u32; int32_t i32; uint64_t u64; int64_t i64; } u;
	int st = need_key(g, key, &k, e);
	if (st != OK) return st;
	memset(&u, 0, sizeof u);
	memcpy(&u, k->value, (size_t)(k->end - k->value) < sizeof u ? (size_t)(k->end - k->value) : sizeof u);
	switch (k->type) {
	case GGUF_U8: v = u.u8; break;
	case GGUF_I8: v = u.i8; break;
	case GGUF_U16: v = u.u16; break;
	case GGUF_I16: v = u.i16; break;
	case GGUF_U32: v = u.u32; break;
	case GGUF_I32: v = u.i32; break;
	case GGUF_U64: v = u.u64 > INT32_MAX ? -1 : (int64_t)u.u64; break;
	case GGUF_I64: v = u.i64; break;
	default: return bad_type(g, k, key, "an integer", e);
	}
	if (v < 0 || v > INT32_MAX) return err_set(e, E_FORMAT, "%s: key %s: value out of range", g->path, key);
	*out = (int)v;
	return OK;
}

int gguf_float(const struct gguf *g, const char *key, double *out, struct err *e)
{
	const struct key *k;
	float f;
	double d;
	int st = need_key(g, key, &k, e);
	if (st != OK) return st;
	if (k->type == GGUF_F32) {
		memcpy(&f, k->value, sizeof f);
		d = (double)f;
	} else if (k->type == GGUF_F64) memcpy(&d, k->value, sizeof d);
	else return bad_type(g, k, key, "a float", e);
	if (!isfinite(d)) return err_set(e, E_FORMAT, "%s: key %s: not a finite number", g->path, key);
	*out = d;
	return OK;
}

int gguf_bool(const struct gguf *g, const char *key, int *out, struct err *e)
{
	const struct key *k;
	int st = need_key(g, key, &k, e);
	if (st != OK) return st;
	if (k->type != GGUF_BOOL) return bad_type(g, k, key, "a bool", e);
	*out = *k->value != 0;
	return OK;
}

int gguf_str(const struct gguf *g, const char *key, struct gguf_str *out, struct err *e)
{
	const struct key *k;
	int st = need_key(g, key, &k, e);
	if (st != OK) return st;
	if (k->type != GGUF_STR) return bad_type(g, k, key, "a string", e);
	out->s = (const char *)k->value + 8;
	out->len = (size_t)(k->end - k->value) - 8;
	return OK;
}

int gguf_array(const struct gguf *g, const char *key, enum gguf_type want, struct gguf_array *out, struct err *e)
{
	const struct key *k;
	uint32_t elem;
	uint64_t n;
	int st = need_key(g, key, &k, e);
	if (st != OK) return st;
	if (k->type != GGUF_ARRAY) return bad_type(g, k, key, "an array", e);
	memcpy(&elem, k->value, 4);
	memcpy(&n, k->value + 4, 8);
	if (elem != (uint32_t)want)
		return err_set(e, E_FORMAT, "%s: key %s: array of type %u where %d is expected", g->path, key, elem, (int)want);
	out->type = want;
	out->n = (size_t)n;
	out->data = k->value + 12;
	out->end = k->end;
	return OK;
}

struct gguf_str gguf_array_str(const struct gguf_array *a, const uint8_t **at)
{
	struct cursor c = { *at, a->end };
	struct gguf_str s = { "", 0 };
	take_str(&c, &s);
	*at = c.at;
	return s;
}

size_t gguf_tensor_n(const struct gguf *g)
{
	return g->tensor_n;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i)
{
	return &g->tensors[i];
}

const struct gguf_tensor *gguf_tensor(const struct gguf *g, const char *name)
{
	struct gguf_tensor want = { .name = { name, strlen(name) } };
	return bsearch(&want, g->tensors, g->tensor_n, sizeof *g->tensors, tensor_cmp);
}
