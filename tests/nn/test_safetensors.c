/* test_safetensors.c: good files, each lie a header can tell, and every flip and cut of a small file. */
#include <stdint.h>
#include <stdlib.h>
#include "base/file.h"
#include "base/mem.h"
#include "nn/safetensors.h"
#include "tests/test.h"

#define T(dtype, shape, from, to) "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"

static char path[512];

static void file_put(const void *data, size_t len)
{
	struct err e;
	CHECK_OK(file_write_atomic(path, data, len, &e), e);
}

/* A file of this header and data_len bytes 0, 1, 2, ... */
static size_t file_make(uint8_t *out, const char *header, size_t data_len)
{
	size_t n = strlen(header);
	for (int i = 0; i < 8; i++) out[i] = (uint8_t)(n >> 8 * i);
	memcpy(out + 8, header, n);
	for (size_t i = 0; i < data_len; i++) out[8 + n + i] = (uint8_t)i;
	return 8 + n + data_len;
}

static int try_open(const char *header, size_t data_len, struct err *e)
{
	uint8_t file[4096];
	struct safetensors *s;
	snprintf(path, sizeof path, "%s/a.safetensors", test_dir());
	file_put(file, file_make(file, header, data_len));
	int rc = safetensors_open(&s, path, e);
	CHECK((rc == OK) == (s != NULL));
	safetensors_close(s);
	return rc;
}

static void refuse(const char *header, size_t data_len, const char *word)
{
	struct err e = {0};
	int rc = try_open(header, data_len, &e);
	CHECK_MSG(rc == E_FORMAT, "%s: status %d, %s", header, rc, e.msg);
	CHECK_MSG(strstr(e.msg, word), "%s: message \"%s\" lacks \"%s\"", header, e.msg, word);
	CHECK_MSG(strstr(e.msg, "a.safetensors"), "\"%s\" does not name the file", e.msg);
}

TEST(safetensors_types_are_converted)
{
	/* 1, -2, the smallest half subnormal, 65504; bfloat16 1 and -0.5; float 0.1; an int64 that cannot be read */
	static const uint8_t data[] = {0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00, 0xff, 0x7b, 0x80, 0x3f, 0x00, 0xbf,
		0xcd, 0xcc, 0xcc, 0x3d, 1, 0, 0, 0, 0, 0, 0, 0};
	const char *header = "{\"__metadata__\":{\"format\":\"pt\"},\"h\":" T("F16", "[2,2]", "0", "8") ",\"i\":"
		T("I64", "[1]", "16", "24") ",\"f\":" T("F32", "[]", "12", "16") ",\"b\":" T("BF16", "[2]", "8", "12") "}";
	uint8_t file[1024];
	struct safetensors *s;
	const struct safetensor *t;
	struct err e;
	float v[4];
	size_t two[2] = {2, 2}, wrong[2] = {2, 3}, one[1] = {1};
	size_t n = file_make(file, header, sizeof data);
	memcpy(file + n - sizeof data, data, sizeof data);
	snprintf(path, sizeof path, "%s/t.safetensors", test_dir());
	file_put(file, n);
	CHECK_OK(safetensors_open(&s, path, &e), e);
	CHECK_INT(safetensors_count(s), 4);
	CHECK_STR(safetensors_at(s, 0)->name, "b");
	CHECK_OK(safetensors_expect(s, "h", 2, two, &t, &e), e);
	CHECK_OK(safetensors_floats(s, t, v, &e), e);
	CHECK(v[0] == 1 && v[1] == -2 && v[2] == 0x1p-24f && v[3] == 65504);
	CHECK_OK(safetensors_floats(s, safetensors_find(s, "b"), v, &e), e);
	CHECK(v[0] == 1 && v[1] == -0.5f);
	CHECK_OK(safetensors_floats(s, safetensors_find(s, "f"), v, &e), e);
	CHECK(v[0] == 0.1f);
	CHECK_INT(safetensors_expect(s, "h", 2, wrong, &t, &e), E_FORMAT);
	CHECK_MSG(strstr(e.msg, "tensor h: shape [2,2], expected [2,3]"), "%s", e.msg);
	CHECK_INT(safetensors_expect(s, "x", 1, one, &t, &e), E_FORMAT);
	CHECK_MSG(strstr(e.msg, "tensor x: missing"), "%s", e.msg);
	CHECK_INT(safetensors_expect(s, "i", 1, one, &t, &e), E_FORMAT);
	CHECK_INT(safetensors_floats(s, safetensors_find(s, "i"), v, &e), E_FORMAT);
	safetensors_close(s);
}

/* Rows of -127, 2 and 0, 127 by the scales 0.5 and 2; then without scales, and with too few. */
TEST(safetensors_int8_has_a_scale_a_row)
{
	static const uint8_t data[] = {0x81, 2, 0, 127, 0, 0, 0, 0x3f, 0, 0, 0, 0x40};
	static const char *const scales[] = {"w.scale", "w.scales", "w.scale"};
	for (int i = 0; i < 3; i++) {
		char header[256];
		uint8_t file[512];
		struct safetensors *s;
		struct err e;
		float v[4];
		snprintf(header, sizeof header, "{\"w\":" T("I8", "[2,2]", "0", "4") ",\"%s\":{\"dtype\":\"F32\",\"shape\":[%d],"
			"\"data_offsets\":[4,%d]}}", scales[i], i == 2 ? 1 : 2, i == 2 ? 8 : 12);
		size_t n = file_make(file, header, i == 2 ? 8 : 12);
		memcpy(file + 8 + strlen(header), data, i == 2 ? 8 : 12);
		snprintf(path, sizeof path, "%s/i.safetensors", test_dir());
		file_put(file, n);
		CHECK_OK(safetensors_open(&s, path, &e), e);
		CHECK_INT(safetensors_floats(s, safetensors_find(s, "w"), v, &e), i == 0 ? OK : E_FORMAT);
		if (i == 0) CHECK(v[0] == -63.5f && v[1] == 1 && v[2] == 0 && v[3] == 254);
		else CHECK_MSG(strstr(e.msg, "tensor w: I8 without 2 scales"), "%s", e.msg);
		safetensors_close(s);
	}
}

TEST(safetensors_values_must_be_finite)
{
	const char *header = "{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
	static const uint8_t bad[][4] = {{0, 0, 0x80, 0x7f}, {1, 0, 0xc0, 0xff}};
	for (int i = 0; i < 2; i++) {
		uint8_t file[256];
		struct safetensors *s;
		struct err e;
		float v;
		size_t n = file_make(file, header, 4);
		memcpy(file + n - 4, bad[i], 4);
		snprintf(path, sizeof path, "%s/n.safetensors", test_dir());
		file_put(file, n);
		CHECK_OK(safetensors_open(&s, path, &e), e);
		CHECK_INT(safetensors_floats(s, safetensors_at(s, 0), &v, &e), E_FORMAT);
		CHECK_MSG(strstr(e.msg, "tensor w: a value is not finite"), "%s", e.msg);
		safetensors_close(s);
	}
}

TEST(safetensors_lies_are_refused_by_name)
{
	struct err e;
	CHECK_OK(try_open("{}", 0, &e), e);
	CHECK_OK(try_open("{\"e\":" T("F32", "[0,4]", "0", "0") ",\"w\":" T("U8", "[3]", "0", "3") "}   ", 3, &e), e);
	refuse("{\"w\":" T("F32", "[2]", "0", "8") "}", 4, "tensor w");
	refuse("{\"w\":" T("F32", "[2]", "0", "8") "}", 9, "1 bytes after the last tensor");
	refuse("{\"w\":" T("F32", "[2]", "8", "0") "}", 8, "tensor w");
	refuse("{\"w\":" T("F32", "[3]", "0", "8") "}", 8, "tensor w");
	refuse("{\"w\":" T("F32", "[2]", "0", "18446744073709551615") "}", 8, "tensor w");
	refuse("{\"w\":" T("F32", "[2]", "-8", "0") "}", 8, "tensor w");
	refuse("{\"w\":" T("F32", "[2]", "0.5", "8.5") "}", 9, "tensor w");
	refuse("{\"w\":" T("F32", "[2147483648,2147483648,4]", "0", "0") "}", 0, "tensor w: shape overflows");
	refuse("{\"w\":" T("F64", "[4503599627370496,1024]", "0", "0") "}", 0, "tensor w: shape overflows");
	refuse("{\"w\":" T("F32", "[-1]", "0", "4") "}", 4, "tensor w: bad dimension");
	refuse("{\"w\":" T("F32", "[1,1,1,1,1,1,1,1,1]", "0", "4") "}", 4, "tensor w: more than 8");
	refuse("{\"w\":" T("F32", "\"2\"", "0", "8") "}", 8, "tensor w: no shape");
	refuse("{\"w\":" T("Q4", "[2]", "0", "8") "}", 8, "tensor w: unknown dtype Q4");
	refuse("{\"w\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "tensor w: no dtype");
	refuse("{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, "tensor w: bad data_offsets");
	refuse("{\"w\":7}", 8, "tensor w: not an object");
	refuse("{\"w\":" T("F32", "[2]", "0", "8") ",\"w\":" T("F32", "[2]", "8", "16") "}", 16, "tensor w: named twice");
	refuse("{\"v\":" T("F32", "[2]", "0", "8") ",\"w\":" T("F32", "[2]", "4", "12") "}", 12, "tensor w: overlaps");
	refuse("{\"v\":" T("F32", "[2]", "0", "8") ",\"w\":" T("F32", "[2]", "12", "20") "}", 20, "tensor w: leaves a hole");
	refuse("[1]", 0, "not an object");
	refuse("{\"w\":", 0, "JSON");
}

TEST(safetensors_header_length_is_checked)
{
	static const uint8_t huge[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, short_file[4] = {1};
	struct safetensors *s;
	struct err e;
	snprintf(path, sizeof path, "%s/a.safetensors", test_dir());
	CHECK_INT(safetensors_open(&s, path, &e), E_NOT_FOUND);
	file_put(huge, sizeof huge);
	CHECK_INT(safetensors_open(&s, path, &e), E_FORMAT);
	file_put(short_file, sizeof short_file);
	CHECK_INT(safetensors_open(&s, path, &e), E_FORMAT);
	file_put("", 0);
	CHECK_INT(safetensors_open(&s, path, &e), E_FORMAT);
	CHECK(strstr(e.msg, "a.safetensors"));
}

/* Opens the file at path; when it opens, reads all it offers. */
static void read_all(void)
{
	struct safetensors *s;
	struct err e = {0};
	if (safetensors_open(&s, path, &e) != OK) {
		CHECK_MSG(e.status == E_FORMAT && strstr(e.msg, "f.safetensors"), "status %d: %s", e.status, e.msg);
		return;
	}
	for (size_t i = 0; i < safetensors_count(s); i++) {
		const struct safetensor *t = safetensors_at(s, i);
		float *v = mem_alloc(t->elements * sizeof *v + 1);
		CHECK(v != NULL);
		safetensors_floats(s, t, v, &e);
		mem_free(v);
	}
	safetensors_close(s);
}

TEST(safetensors_flips_and_cuts_never_crash)
{
	const char *header = "{\"a\":" T("F32", "[2,3]", "0", "24") ",\"bb\":" T("BF16", "[4]", "24", "32") ",\"c\":"
		T("F16", "[]", "32", "34") "}";
	static const uint8_t masks[] = {0x01, 0x04, 0x10, 0x80, 0xff};
	uint8_t file[512], copy[512];
	size_t n = file_make(file, header, 34);
	snprintf(path, sizeof path, "%s/f.safetensors", test_dir());
	for (size_t cut = 0; cut < n; cut++) {
		struct safetensors *s;
		struct err e;
		file_put(file, cut);
		CHECK_INT(safetensors_open(&s, path, &e), E_FORMAT);
	}
	for (size_t i = 0; i < n; i++)
		for (size_t m = 0; m < sizeof masks; m++) {
			memcpy(copy, file, n);
			copy[i] ^= masks[m];
			file_put(copy, n);
			read_all();
		}
	srand(7);
	for (int round = 0; round < 1000; round++) {
		memcpy(copy, file, n);
		for (int k = 1 + rand() % 6; k > 0; k--) copy[(size_t)rand() % n] = (uint8_t)"0123456789[]{},:\"F-e"[rand() % 20];
		file_put(copy, n);
		read_all();
	}
}
