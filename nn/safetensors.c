/* safetensors.c: owns the mapping and the table of tensors of one .safetensors file.
 *
 * Format (github.com/huggingface/safetensors, README "Format"): 8 bytes little-endian header length N; N bytes of
 * JSON {"name": {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]}, .., "__metadata__": {..}}; then the
 * data, which offsets count from. Names are unique, and the data is covered exactly: no hole, no overlap, nothing
 * after the last tensor. All of that is checked here once, with the sizes computed without overflow, so that later
 * reads need no check. JSON numbers arrive as doubles: only whole ones up to 2^53 are taken.
 *
 * Threads: immutable after open. Failure: every refusal names the file and the tensor; nothing is kept. */
#include "nn/safetensors.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "nn/quant.h"

struct safetensors {
	char *path;
	struct mapping map;    /* when it was opened here */
	const uint8_t *bytes;  /* the file */
	size_t len;
	const uint8_t *data;   /* first byte after the header */
	size_t data_len;
	cJSON *header;         /* owns the names */
	struct safetensor *tensors;
	size_t count;
};

static const struct { const char *name; int bytes; enum safetensors_type type; } types[] = {
	{"F32", 4, ST_F32}, {"F16", 2, ST_F16}, {"BF16", 2, ST_BF16}, {"F64", 8, ST_OTHER}, {"I64", 8, ST_OTHER},
	{"U64", 8, ST_OTHER}, {"I32", 4, ST_OTHER}, {"U32", 4, ST_OTHER}, {"I16", 2, ST_OTHER}, {"U16", 2, ST_OTHER},
	{"I8", 1, ST_I8}, {"U8", 1, ST_OTHER}, {"BOOL", 1, ST_OTHER}, {"F8_E4M3", 1, ST_OTHER}, {"F8_E5M2", 1, ST_OTHER},
};

static int whole_number(const cJSON *v, size_t *out)
{
	if (!cJSON_IsNumber(v)) return 0;
	double d = v->valuedouble;
	if (!(d >= 0 && d <= 9007199254740992.0) || d != floor(d)) return 0;
	*out = (size_t)d;
	return 1;
}

/* Reads dtype and shape; leaves the size in bytes that they come to in t->bytes. */
static int tensor_shape(struct safetensors *s, const cJSON *item, struct safetensor *t, struct err *e)
{
	const char *dtype = json_str(item, "dtype", NULL);
	const cJSON *shape = cJSON_GetObjectItemCaseSensitive(item, "shape"), *d;
	size_t i = 0;
	if (!dtype) return err_set(e, E_FORMAT, "%s: tensor %.80s: no dtype", s->path, t->name);
	while (i < sizeof types / sizeof types[0] && strcmp(types[i].name, dtype) != 0) i++;
	if (i == sizeof types / sizeof types[0])
		return err_set(e, E_FORMAT, "%s: tensor %.80s: unknown dtype %.16s", s->path, t->name, dtype);
	t->type = types[i].type;
	if (!cJSON_IsArray(shape)) return err_set(e, E_FORMAT, "%s: tensor %.80s: no shape", s->path, t->name);
	t->elements = 1;
	cJSON_ArrayForEach(d, shape) {
		if (t->rank == SAFETENSORS_RANK_MAX)
			return err_set(e, E_FORMAT, "%s: tensor %.80s: more than %d dimensions", s->path, t->name, SAFETENSORS_RANK_MAX);
		if (!whole_number(d, &t->shape[t->rank]))
			return err_set(e, E_FORMAT, "%s: tensor %.80s: bad dimension %d", s->path, t->name, t->rank);
		if (__builtin_mul_overflow(t->elements, t->shape[t->rank], &t->elements))
			return err_set(e, E_FORMAT, "%s: tensor %.80s: shape overflows", s->path, t->name);
		t->rank++;
	}
	if (__builtin_mul_overflow(t->elements, (size_t)types[i].bytes, &t->bytes))
		return err_set(e, E_FORMAT, "%s: tensor %.80s: shape overflows", s->path, t->name);
	return OK;
}

static int tensor_parse(struct safetensors *s, const cJSON *item, struct safetensor *t, struct err *e)
{
	size_t begin, end;
	t->name = item->string;
	if (!cJSON_IsObject(item)) return err_set(e, E_FORMAT, "%s: tensor %.80s: not an object", s->path, t->name);
	if (tensor_shape(s, item, t, e) != OK) return E_FORMAT;
	const cJSON *off = cJSON_GetObjectItemCaseSensitive(item, "data_offsets");
	if (!cJSON_IsArray(off) || cJSON_GetArraySize(off) != 2 || !whole_number(off->child, &begin) ||
		!whole_number(off->child->next, &end))
		return err_set(e, E_FORMAT, "%s: tensor %.80s: bad data_offsets", s->path, t->name);
	if (begin > end || end > s->data_len)
		return err_set(e, E_FORMAT, "%s: tensor %.80s: bytes %zu to %zu of %zu: outside the file", s->path, t->name,
			begin, end, s->data_len);
	if (end - begin != t->bytes)
		return err_set(e, E_FORMAT, "%s: tensor %.80s: %zu bytes for a shape of %zu", s->path, t->name, end - begin,
			t->bytes);
	t->data = s->data + begin;
	return OK;
}

static int by_place(const void *pa, const void *pb)
{
	const struct safetensor *a = pa, *b = pb;
	if (a->data != b->data) return a->data < b->data ? -1 : 1;
	return (a->bytes > b->bytes) - (a->bytes < b->bytes); /* empty ones first, or they would look like overlap */
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct safetensor *)a)->name, ((const struct safetensor *)b)->name);
}

/* The data must be covered exactly, and names be unique. Leaves the table in order of names. */
static int table_check(struct safetensors *s, struct err *e)
{
	const uint8_t *at = s->data;
	qsort(s->tensors, s->count, sizeof *s->tensors, by_place);
	for (size_t i = 0; i < s->count; i++) {
		struct safetensor *t = &s->tensors[i];
		if (t->data != at)
			return err_set(e, E_FORMAT, "%s: tensor %.80s: %s the tensor before it", s->path, t->name,
				t->data < at ? "overlaps" : "leaves a hole after");
		at += t->bytes;
	}
	if (at != s->data + s->data_len)
		return err_set(e, E_FORMAT, "%s: %zu bytes after the last tensor", s->path, (size_t)(s->data + s->data_len - at));
	qsort(s->tensors, s->count, sizeof *s->tensors, by_name);
	for (size_t i = 1; i < s->count; i++)
		if (by_name(&s->tensors[i - 1], &s->tensors[i]) == 0)
			return err_set(e, E_FORMAT, "%s: tensor %.80s: named twice", s->path, s->tensors[i].name);
	return OK;
}

static int header_parse(struct safetensors *s, struct err *e)
{
	uint64_t n = 0;
	const cJSON *item;
	if (s->len < 8) return err_set(e, E_FORMAT, "%s: %zu bytes: too short for safetensors", s->path, s->len);
	for (int i = 7; i >= 0; i--) n = n << 8 | s->bytes[i];
	if (n > s->len - 8)
		return err_set(e, E_FORMAT, "%s: header of %llu bytes in a file of %zu: truncated, or not safetensors", s->path,
			(unsigned long long)n, s->len);
	if (n > SAFETENSORS_HEADER_MAX)
		return err_set(e, E_FORMAT, "%s: header of %llu bytes, over %d", s->path, (unsigned long long)n,
			SAFETENSORS_HEADER_MAX);
	int rc = json_parse(&s->header, (const char *)s->bytes + 8, n, SAFETENSORS_HEADER_MAX, s->path, e);
	if (rc == E_LIMIT) return err_set(e, E_FORMAT, "%s: header nested too deep", s->path);
	if (rc != OK) return rc;
	if (!cJSON_IsObject(s->header)) return err_set(e, E_FORMAT, "%s: header is not an object", s->path);
	s->data = s->bytes + 8 + n;
	s->data_len = s->len - 8 - n;
	size_t entries = (size_t)cJSON_GetArraySize(s->header);
	s->tensors = mem_calloc(entries ? entries : 1, sizeof *s->tensors);
	if (!s->tensors) return err_set(e, E_MEMORY, "%s: table of %zu tensors", s->path, entries);
	cJSON_ArrayForEach(item, s->header) {
		if (strcmp(item->string, "__metadata__") == 0) continue;
		rc = tensor_parse(s, item, &s->tensors[s->count], e);
		if (rc != OK) return rc;
		s->count++;
	}
	return table_check(s, e);
}

/* data NULL: the file at path is mapped. */
static int view_make(struct safetensors **out, const char *path, const void *data, size_t len, struct err *e)
{
	int rc = OK;
	struct safetensors *s = mem_calloc(1, sizeof *s);
	*out = NULL;
	if (!s || !(s->path = mem_strdup(path))) {
		rc = err_set(e, E_MEMORY, "open %s", path);
		goto out;
	}
	if (!data) rc = mapping_open(&s->map, path, e);
	s->bytes = data ? data : s->map.data;
	s->len = data ? len : s->map.len;
	if (rc == OK) rc = header_parse(s, e);
out:
	if (rc == OK) *out = s;
	else safetensors_close(s);
	return rc;
}

int safetensors_open(struct safetensors **out, const char *path, struct err *e)
{
	return view_make(out, path, NULL, 0, e);
}

int safetensors_view(struct safetensors **out, const char *path, const void *data, size_t len, struct err *e)
{
	return view_make(out, path, data, len, e);
}

void safetensors_close(struct safetensors *s)
{
	if (!s) return;
	cJSON_Delete(s->header);
	mem_free(s->tensors);
	mapping_close(&s->map);
	mem_free(s->path);
	mem_free(s);
}

size_t safetensors_count(const struct safetensors *s)
{
	return s->count;
}

const struct safetensor *safetensors_at(const struct safetensors *s, size_t i)
{
	return &s->tensors[i];
}

const struct safetensor *safetensors_find(const struct safetensors *s, const char *name)
{
	struct safetensor key = {.name = name};
	return bsearch(&key, s->tensors, s->count, sizeof key, by_name);
}

static void shape_text(char out[64], int rank, const size_t *shape)
{
	size_t n = 0;
	out[n++] = '[';
	for (int i = 0; i < rank && n < 40; i++) n += (size_t)snprintf(out + n, 64 - n, "%s%zu", i ? "," : "", shape[i]);
	snprintf(out + n, 64 - n, "]");
}

int safetensors_expect(const struct safetensors *s, const char *name, int rank, const size_t *shape,
	const struct safetensor **out, struct err *e)
{
	const struct safetensor *t = safetensors_find(s, name);
	char has[64], want[64];
	if (!t) return err_set(e, E_FORMAT, "%s: tensor %.80s: missing", s->path, name);
	if (t->type == ST_OTHER) return err_set(e, E_FORMAT, "%s: tensor %.80s: not F32, F16, BF16 or I8", s->path, name);
	if (t->rank != rank || memcmp(t->shape, shape, (size_t)rank * sizeof *shape) != 0) {
		shape_text(has, t->rank, t->shape);
		shape_text(want, rank, shape);
		return err_set(e, E_FORMAT, "%s: tensor %.80s: shape %s, expected %s", s->path, name, has, want);
	}
	*out = t;
	return OK;
}

static int scaled_floats(const struct safetensors *s, const struct safetensor *t, float *out, struct err *e)
{
	char name[256];
	const struct safetensor *scales = NULL;
	size_t rows = t->rank > 0 ? t->shape[0] : 1;
	if ((size_t)snprintf(name, sizeof name, "%s.scale", t->name) < sizeof name) scales = safetensors_find(s, name);
	if (!scales || scales->type != ST_F32 || scales->elements != rows)
		return err_set(e, E_FORMAT, "%s: tensor %.80s: I8 without %zu scales in an F32 tensor of its name and .scale", s->path,
			t->name, rows);
	for (size_t r = 0, each = rows ? t->elements / rows : 0; r < rows; r++) {
		float scale;
		memcpy(&scale, scales->data + r * sizeof scale, sizeof scale);
		for (size_t i = r * each; i < (r + 1) * each; i++) out[i] = (float)(int8_t)t->data[i] * scale;
	}
	return OK;
}

int safetensors_floats(const struct safetensors *s, const struct safetensor *t, float *out, struct err *e)
{
	const uint8_t *p = t->data;
	uint32_t bits, exponent_full = 0;
	if (t->type == ST_OTHER) return err_set(e, E_FORMAT, "%s: tensor %.80s: not F32, F16, BF16 or I8", s->path, t->name);
	if (t->type == ST_I8) {
		int rc = scaled_floats(s, t, out, e);
		if (rc != OK) return rc;
	} else if (t->type == ST_F32) {
		if (t->bytes) memcpy(out, p, t->bytes);
	} else if (t->type == ST_F16)
		for (size_t i = 0; i < t->elements; i++) out[i] = quant_half((uint16_t)(p[2 * i] | p[2 * i + 1] << 8));
	else
		for (size_t i = 0; i < t->elements; i++) out[i] = quant_bf16((uint16_t)(p[2 * i] | p[2 * i + 1] << 8));
	for (size_t i = 0; i < t->elements; i++) {
		memcpy(&bits, &out[i], 4);
		exponent_full |= (bits & 0x7f800000u) == 0x7f800000u;
	}
	if (exponent_full) return err_set(e, E_FORMAT, "%s: tensor %.80s: a value is not finite", s->path, t->name);
	return OK;
}
