/* lora.c: owns the matrices of the adapters in use, joined: a tensor that several adapters touch has one pair, their
 * ranks side by side, so that the decoder does the same work for any number of files.
 *
 * All files are opened and checked first, which gives every pair its rank; then the pairs are allocated and filled at
 * each file's place in them, and the files are closed. A pair is found by the index of its tensor in the base file.
 * Threads: immutable after open, but for the marks of lora_take, which belong to who opens. Failure: the file and the
 * tensor or key are named; an adapter is applied whole or not at all. */
#include "generate/lora.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "nn/quant.h"

enum { NAME_BYTES = 128, LIST_BYTES_MAX = 1 << 16, ALIGN = 64 };

struct lora {
	const struct gguf *base;
	struct lora_pair *pairs;   /* by base's tensor; a.rows 0: untouched */
	uint8_t *taken;
	size_t n;
};

struct adapter { /* one file while it is open */
	struct gguf *g;
	double scale, alpha;
};

struct half { /* a tensor of a file: which base tensor it is of, and whether it is the b */
	const struct gguf_tensor *own, *base;
	int is_b;
};

/* ---- the list ---- */

static char *trim(char *s)
{
	size_t n;
	s += strspn(s, " \t");
	for (n = strlen(s); n && strchr(" \t", s[n - 1]); n--) s[n - 1] = 0;
	return s;
}

/* "FILE[:SCALE]" in place. What stands behind the last colon is a scale when it is a number. */
static int item_read(char *item, const char **path, double *scale, struct err *e)
{
	char *colon = strrchr(item, ':'), *end;
	*path = item;
	*scale = 1;
	if (colon && colon[1]) {
		double v = strtod(colon + 1, &end);
		if (*end == 0) {
			if (!isfinite(v) || fabs(v) > 1e6) return err_set(e, E_USAGE, "adapter %.100s: a scale is -1e6 to 1e6", item);
			*scale = v;
			*colon = 0;
		}
	}
	return *item ? OK : err_set(e, E_USAGE, "adapters: an empty file name");
}

/* ---- checking ---- */

static int is_text(const struct gguf *g, const char *key, const char *want)
{
	struct gguf_str s;
	return gguf_has(g, key) && gguf_str(g, key, &s, NULL) == OK && s.len == strlen(want) && memcmp(s.s, want, s.len) == 0;
}

static int keys_check(struct adapter *a, const struct gguf *base, struct err *e)
{
	static const char alpha[] = "adapter.lora.alpha";
	const char *path = gguf_path(a->g);
	struct gguf_str arch, own;
	int rc;
	if (!is_text(a->g, "general.type", "adapter"))
		return err_set(e, E_FORMAT, "%s: key general.type is not \"adapter\": not an adapter", path);
	if (!is_text(a->g, "adapter.type", "lora"))
		return err_set(e, E_UNSUPPORTED, "%s: key adapter.type is not \"lora\"", path);
	if (gguf_has(a->g, "adapter.alora.invocation_tokens"))
		return err_set(e, E_UNSUPPORTED, "%s: key adapter.alora.invocation_tokens: activated adapters are not supported",
			path);
	if ((rc = gguf_str(base, "general.architecture", &arch, e)) != OK) return rc;
	if ((rc = gguf_str(a->g, "general.architecture", &own, e)) != OK) return rc;
	if (own.len != arch.len || memcmp(own.s, arch.s, own.len) != 0)
		return err_set(e, E_FORMAT, "%s: an adapter of \"%.*s\", but the model is \"%.*s\"", path,
			(int)(own.len < 40 ? own.len : 40), own.s, (int)(arch.len < 40 ? arch.len : 40), arch.s);
	a->alpha = 0;
	if (gguf_has(a->g, alpha)) {
		if ((rc = gguf_float(a->g, alpha, &a->alpha, e)) != OK) return rc;
		if (!(fabs(a->alpha) <= 1e6)) return err_set(e, E_FORMAT, "%s: key %s: %g", path, alpha, a->alpha);
	}
	return gguf_tensor_n(a->g) ? OK : err_set(e, E_FORMAT, "%s: holds no tensors", path);
}

/* Whose half tensor t is; name: its own, for messages. */
static int half_find(const struct gguf *g, const struct gguf_tensor *t, const struct gguf *base, char name[NAME_BYTES],
	struct half *out, struct err *e)
{
	size_t n = t->name.len;
	char whole[NAME_BYTES];
	if (n >= NAME_BYTES || n < 8)
		return err_set(e, E_FORMAT, "%s: tensor %.*s: neither lora_a nor lora_b", gguf_path(g), (int)(n < 64 ? n : 64),
			t->name.s);
	snprintf(name, NAME_BYTES, "%.*s", (int)n, t->name.s);
	snprintf(whole, sizeof whole, "%.*s", (int)(n - 7), t->name.s);
	*out = (struct half){ .own = t, .is_b = strcmp(name + n - 7, ".lora_b") == 0 };
	if (!out->is_b && strcmp(name + n - 7, ".lora_a") != 0)
		return err_set(e, E_FORMAT, "%s: tensor %s: neither lora_a nor lora_b", gguf_path(g), name);
	out->base = gguf_tensor(base, whole);
	if (!out->base)
		return err_set(e, E_FORMAT, "%s: tensor %s: the model has no %s: an adapter of another model?", gguf_path(g), name,
			whole);
	return OK;
}

/* The partner of a b: its a, with shapes that go together. */
static int partner_find(const struct gguf *g, const struct half *b, char name[NAME_BYTES],
	const struct gguf_tensor **out, struct err *e)
{
	const struct gguf_tensor *w = b->base, *t = b->own, *a;
	name[strlen(name) - 1] = 'a';
	a = gguf_tensor(g, name);
	if (!a) return err_set(e, E_FORMAT, "%s: tensor %s is missing, its lora_b is there", gguf_path(g), name);
	if (a->dim[0] != w->dim[0] || a->dim[2] != 1 || a->dim[3] != 1 || a->dim[1] < 1)
		return err_set(e, E_FORMAT, "%s: tensor %s: shape %llu x %llu, but the model's has rows of %llu", gguf_path(g), name,
			(unsigned long long)a->dim[0], (unsigned long long)a->dim[1], (unsigned long long)w->dim[0]);
	name[strlen(name) - 1] = 'b';
	if (t->dim[0] != a->dim[1] || t->dim[1] != w->dim[1] || t->dim[2] != 1 || t->dim[3] != 1 || w->dim[2] != 1)
		return err_set(e, E_FORMAT, "%s: tensor %s: shape %llu x %llu where %llu x %llu is expected", gguf_path(g), name,
			(unsigned long long)t->dim[0], (unsigned long long)t->dim[1], (unsigned long long)a->dim[1],
			(unsigned long long)w->dim[1]);
	*out = a;
	return OK;
}

/* Checks every tensor of a file and adds its ranks to the pairs. */
static int tensors_check(struct lora *l, const struct gguf *g, struct err *e)
{
	const struct gguf_tensor *a;
	char name[NAME_BYTES];
	struct half h;
	int rc;
	for (size_t i = 0; i < gguf_tensor_n(g); i++) {
		if ((rc = half_find(g, gguf_tensor_at(g, i), l->base, name, &h, e)) != OK) return rc;
		if (!h.is_b) {
			name[strlen(name) - 1] = 'b';
			if (!gguf_tensor(g, name))
				return err_set(e, E_FORMAT, "%s: tensor %s is missing, its lora_a is there", gguf_path(g), name);
			continue;
		}
		if ((rc = partner_find(g, &h, name, &a, e)) != OK) return rc;
		struct lora_pair *p = &l->pairs[h.base - gguf_tensor_at(l->base, 0)];
		if (a->dim[1] > LORA_RANK_MAX - p->a.rows)
			return err_set(e, E_LIMIT, "%s: tensor %s: rank %llu, at most %d for all adapters together", gguf_path(g), name,
				(unsigned long long)a->dim[1], LORA_RANK_MAX);
		p->a.rows += (size_t)a->dim[1];
	}
	return OK;
}

/* ---- filling ---- */

static float *zeros(size_t rows, size_t k)
{
	size_t bytes;
	if (__builtin_mul_overflow(rows, k, &bytes) || __builtin_mul_overflow(bytes, sizeof(float), &bytes) ||
		bytes > SIZE_MAX - ALIGN) return NULL;
	bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
	float *f = mem_aligned(ALIGN, bytes);
	if (f) memset(f, 0, bytes);
	return f;
}

static int pairs_make(struct lora *l, struct err *e)
{
	for (size_t i = 0; i < l->n; i++) {
		struct lora_pair *p = &l->pairs[i];
		const struct gguf_tensor *w = gguf_tensor_at(l->base, i);
		size_t k = (size_t)w->dim[0], rows = (size_t)w->dim[1], rank = p->a.rows;
		if (!rank) continue;
		size_t padded = (rank + OPS_ALIGN - 1) / OPS_ALIGN * OPS_ALIGN;
		p->a = (struct matrix){ QUANT_F32, rank, k, (void *)zeros(rank, k), k * sizeof(float) };
		p->b = (struct matrix){ QUANT_F32, rows, padded, (void *)zeros(rows, padded), padded * sizeof(float) };
		if (!p->a.data || !p->b.data)
			return err_set(e, E_MEMORY, "adapter of tensor %.*s: out of memory", (int)(w->name.len < 64 ? w->name.len : 64),
				w->name.s);
	}
	return OK;
}

/* Rows of t, each to ld floats behind the last, times scale. row is work space for one. */
static int rows_copy(const struct gguf *g, const struct gguf_tensor *t, double scale, float *row, float *out, size_t ld,
	struct err *e)
{
	size_t k = (size_t)t->dim[0], bytes = quant_row_bytes(t->type, k);
	for (size_t r = 0; r < t->dim[1]; r++) {
		quant_row(t->type, t->data + r * bytes, k, row);
		for (size_t i = 0; i < k; i++) {
			out[r * ld + i] = (float)(scale * (double)row[i]);
			if (!isfinite(out[r * ld + i]))
				return err_set(e, E_FORMAT, "%s: tensor %.*s: a value is not finite", gguf_path(g),
					(int)(t->name.len < 80 ? t->name.len : 80), t->name.s);
		}
	}
	return OK;
}

/* Puts a checked file's halves at rank used[pair] of their pairs and moves that on. */
static int file_fill(struct lora *l, const struct adapter *f, size_t *used, struct err *e)
{
	char name[NAME_BYTES];
	struct half h;
	const struct gguf_tensor *a = NULL;
	int rc = OK;
	for (size_t i = 0; rc == OK && i < gguf_tensor_n(f->g); i++) {
		if ((rc = half_find(f->g, gguf_tensor_at(f->g, i), l->base, name, &h, e)) != OK) return rc;
		if (!h.is_b) continue;
		if ((rc = partner_find(f->g, &h, name, &a, e)) != OK) return rc;
		size_t at = (size_t)(h.base - gguf_tensor_at(l->base, 0)), rank = (size_t)a->dim[1], k = (size_t)a->dim[0];
		const struct lora_pair *p = &l->pairs[at];
		double scale = f->alpha != 0 ? f->scale * f->alpha / (double)rank : f->scale;
		float *row = mem_calloc(k > rank ? k : rank, sizeof *row);
		if (!row) return err_set(e, E_MEMORY, "%s: out of memory", gguf_path(f->g));
		rc = rows_copy(f->g, a, 1, row, (float *)(uintptr_t)p->a.data + used[at] * k, k, e);
		if (rc == OK) rc = rows_copy(f->g, h.own, scale, row, (float *)(uintptr_t)p->b.data + used[at], p->b.k, e);
		used[at] += rank;
		mem_free(row);
	}
	return rc;
}

static int files_fill(struct lora *l, const struct adapter *files, size_t n, struct err *e)
{
	size_t *used = mem_calloc(l->n + 1, sizeof *used);
	int rc = used ? pairs_make(l, e) : err_set(e, E_MEMORY, "adapters: out of memory");
	for (size_t i = 0; rc == OK && i < n; i++) rc = file_fill(l, &files[i], used, e);
	mem_free(used);
	return rc;
}

/* Opens and checks the files of the list; *n of files are open, also after a failure. */
static int files_open(struct lora *l, char *list, struct adapter *files, size_t *n, struct err *e)
{
	char *save = NULL;
	const char *path;
	int rc = OK;
	for (char *item = strtok_r(list, ",", &save); item && rc == OK; item = strtok_r(NULL, ",", &save)) {
		struct adapter *f = &files[*n];
		if (*n == LORA_FILES_MAX) return err_set(e, E_USAGE, "adapters: over %d files", LORA_FILES_MAX);
		rc = item_read(trim(item), &path, &f->scale, e);
		if (rc == OK) rc = gguf_open(&f->g, path, e);
		if (rc != OK) break;
		++*n;
		rc = keys_check(f, l->base, e);
		if (rc == OK) rc = tensors_check(l, f->g, e);
	}
	return rc == OK && *n == 0 ? err_set(e, E_USAGE, "adapters: no file is named") : rc;
}

int lora_open(struct lora **out, const char *list, const struct gguf *base, struct err *e)
{
	struct adapter files[LORA_FILES_MAX];
	size_t n = 0;
	int rc;
	*out = NULL;
	if (strlen(list) > LIST_BYTES_MAX) return err_set(e, E_USAGE, "adapters: the list is too long");
	struct lora *l = mem_calloc(1, sizeof *l);
	char *copy = mem_strdup(list);
	if (l) {
		l->base = base;
		l->n = gguf_tensor_n(base);
		l->pairs = mem_calloc(l->n + 1, sizeof *l->pairs);
		l->taken = mem_calloc(l->n + 1, 1);
	}
	if (!l || !copy || !l->pairs || !l->taken) {
		rc = err_set(e, E_MEMORY, "adapters: out of memory");
		goto out;
	}
	rc = files_open(l, copy, files, &n, e);
	if (rc == OK) rc = files_fill(l, files, n, e);
out:
	for (size_t i = 0; i < n; i++) gguf_close(files[i].g);
	mem_free(copy);
	if (rc == OK) *out = l;
	else lora_close(l);
	return rc;
}

void lora_close(struct lora *l)
{
	if (!l) return;
	for (size_t i = 0; l->pairs && i < l->n; i++) {
		mem_free((void *)(uintptr_t)l->pairs[i].a.data);
		mem_free((void *)(uintptr_t)l->pairs[i].b.data);
	}
	mem_free(l->pairs);
	mem_free(l->taken);
	mem_free(l);
}

/* ---- use ---- */

const struct lora_pair *lora_take(struct lora *l, const struct gguf_tensor *t)
{
	if (!l) return NULL;
	size_t i = (size_t)(t - gguf_tensor_at(l->base, 0));
	if (!l->pairs[i].a.rows) return NULL;
	l->taken[i] = 1;
	return &l->pairs[i];
}

int lora_leftover(const struct lora *l, struct err *e)
{
	for (size_t i = 0; l && i < l->n; i++)
		if (l->pairs[i].a.rows && !l->taken[i]) {
			const struct gguf_str *s = &gguf_tensor_at(l->base, i)->name;
			return err_set(e, E_UNSUPPORTED, "%s: an adapter of tensor %.*s is not supported", gguf_path(l->base),
				(int)(s->len < 64 ? s->len : 64), s->s);
		}
	return OK;
}

size_t lora_rank(const struct lora *l)
{
	size_t most = 0;
	for (size_t i = 0; l && i < l->n; i++)
		if (l->pairs[i].a.rows && l->pairs[i].b.k > most) most = l->pairs[i].b.k;
	return most;
}

uint64_t lora_bytes(const struct lora *l)
{
	uint64_t sum = 0;
	for (size_t i = 0; l && i < l->n; i++) {
		const struct lora_pair *p = &l->pairs[i];
		sum += (uint64_t)p->a.rows * p->a.row_bytes + (uint64_t)p->b.rows * p->b.row_bytes;
	}
	return sum;
}
