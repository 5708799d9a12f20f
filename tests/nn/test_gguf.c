/* test_gguf.c: the GGUF reader on files made here, and on the real SmolLM2 header cut and bent everywhere. */
#include <stdlib.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "nn/gguf.h"
#include "nn/quant.h"
#include "nn/tokenizer.h"
#include "tests/test.h"

static struct buf file;

static void put_u32(uint32_t v) { buf_put(&file, &v, 4); }
static void put_u64(uint64_t v) { buf_put(&file, &v, 8); }
static void put_str(const char *s) { put_u64(strlen(s)); buf_puts(&file, s); }
static void put_key(const char *name, uint32_t type) { put_str(name); put_u32(type); }

static void begin(uint32_t version, uint64_t tensors, uint64_t keys)
{
	buf_init(&file, 1 << 20);
	buf_puts(&file, "GGUF");
	put_u32(version);
	put_u64(tensors);
	put_u64(keys);
}

static void put_tensor(const char *name, uint32_t dims, const uint64_t *dim, uint32_t type, uint64_t offset)
{
	put_str(name);
	put_u32(dims);
	for (uint32_t i = 0; i < dims; i++) put_u64(dim[i]);
	put_u32(type);
	put_u64(offset);
}

static void put_data(size_t n)
{
	while (file.len % 32) buf_putc(&file, 0);
	while (n--) buf_putc(&file, 1);
}

static const char *write_file(const void *data, size_t len)
{
	static char path[300];
	struct err e;
	snprintf(path, sizeof path, "%s/x.gguf", test_dir());
	CHECK_OK(file_write_atomic(path, data, len, &e), e);
	return path;
}

/* Opens what was put; the status, and the message must hold `want`. */
static void expect(int status, const char *want)
{
	struct gguf *g;
	struct err e = { 0, "" };
	int st = gguf_open(&g, write_file(file.data, file.len), &e);
	CHECK_MSG(st == status, "%s: got %d (%s), want %d", want, st, e.msg, status);
	if (st != OK)
		CHECK_MSG(strstr(e.msg, want) && strstr(e.msg, "x.gguf"), "message \"%s\" lacks \"%s\" or the file", e.msg,
			want);
	gguf_close(g);
	buf_clear(&file);
}

static void put_all_kinds(void)
{
	put_key("a.int", GGUF_U32), put_u32(7);
	put_key("a.float", GGUF_F32), put_u32(0x3fc00000);
	put_key("a.str", GGUF_STR), put_str("hello");
	put_key("a.bool", GGUF_BOOL), buf_putc(&file, 1);
	put_key("a.strs", GGUF_ARRAY), put_u32(GGUF_STR), put_u64(2), put_str("x"), put_str("");
	put_key("a.nested", GGUF_ARRAY), put_u32(GGUF_ARRAY), put_u64(1), put_u32(GGUF_U8), put_u64(3),
		buf_puts(&file, "abc");
	put_key("a.big", GGUF_U64), put_u64(1ull << 40);
}

TEST(gguf_reads_values)
{
	struct gguf *g;
	struct err e;
	struct gguf_str s;
	struct gguf_array a;
	const struct gguf_tensor *t;
	const uint8_t *at;
	double f;
	int i;
	begin(3, 1, 7);
	put_all_kinds();
	put_tensor("t", 2, (uint64_t[]){ 64, 3 }, QUANT_Q8_0, 0);
	put_data(3 * 68);
	CHECK_OK(gguf_open(&g, write_file(file.data, file.len), &e), e);
	CHECK_OK(gguf_int(g, "a.int", &i, &e), e);
	CHECK_INT(i, 7);
	CHECK_OK(gguf_float(g, "a.float", &f, &e), e);
	CHECK(f == 1.5);
	CHECK_OK(gguf_str(g, "a.str", &s, &e), e);
	CHECK(s.len == 5 && memcmp(s.s, "hello", 5) == 0);
	CHECK_OK(gguf_bool(g, "a.bool", &i, &e), e);
	CHECK_INT(i, 1);
	CHECK_OK(gguf_array(g, "a.strs", GGUF_STR, &a, &e), e);
	CHECK_INT(a.n, 2);
	at = a.data;
	s = gguf_array_str(&a, &at);
	CHECK(s.len == 1 && s.s[0] == 'x');
	CHECK_INT(gguf_array_str(&a, &at).len, 0);
	CHECK_INT(gguf_int(g, "a.big", &i, &e), E_FORMAT);
	CHECK(strstr(e.msg, "a.big"));
	CHECK_INT(gguf_int(g, "a.str", &i, &e), E_FORMAT);
	CHECK_INT(gguf_int(g, "absent", &i, &e), E_FORMAT);
	CHECK(strstr(e.msg, "absent"));
	CHECK_INT(gguf_array(g, "a.strs", GGUF_I32, &a, &e), E_FORMAT);
	CHECK(gguf_has(g, "a.int") && !gguf_has(g, "a.in"));
	t = gguf_tensor(g, "t");
	CHECK(t && t->bytes == 3 * 68 && t->dim[0] == 64 && t->dim[1] == 3 && t->dim[2] == 1 && t->data[0] == 1);
	CHECK(!gguf_tensor(g, "u"));
	gguf_close(g);
	buf_clear(&file);
}

TEST(gguf_refuses_by_name)
{
	const uint64_t d1[] = { 32 }, huge[] = { 1ull << 40, 1ull << 40 }, odd[] = { 33 };
	buf_init(&file, 100), buf_puts(&file, "not a model"), expect(E_FORMAT, "not a GGUF");
	buf_init(&file, 100), buf_put(&file, "", 0), expect(E_FORMAT, "empty");
	begin(1, 0, 0), expect(E_UNSUPPORTED, "version 1");
	begin(0x03000000, 0, 0), expect(E_UNSUPPORTED, "big-endian");
	begin(3, 0, 1ull << 60), expect(E_FORMAT, "promises");
	begin(3, UINT64_MAX, 0), expect(E_FORMAT, "promises");
	begin(2, 0, 2), put_key("k", GGUF_U8), buf_putc(&file, 1), put_key("k", GGUF_U8), buf_putc(&file, 1), put_data(40),
		expect(E_FORMAT, "key k: given twice");
	begin(3, 0, 1), put_key("k", 99), put_data(40), expect(E_FORMAT, "key k");
	begin(3, 0, 1), put_key("k", GGUF_STR), put_u64(UINT64_MAX), put_data(40), expect(E_FORMAT, "key k");
	begin(3, 0, 1), put_key("k", GGUF_ARRAY), put_u32(GGUF_U64), put_u64(1ull << 61), put_data(40),
		expect(E_FORMAT, "key k");
	begin(3, 0, 1), put_key("k", GGUF_ARRAY), put_u32(GGUF_STR), put_u64(UINT64_MAX), put_data(40),
		expect(E_FORMAT, "key k");
	begin(3, 0, 1), put_key("general.alignment", GGUF_U32), put_u32(24), put_data(40),
		expect(E_FORMAT, "general.alignment");
	begin(3, 1, 0), put_tensor("w", 1, d1, 11, 0), put_data(64), expect(E_UNSUPPORTED, "tensor w: type Q3_K");
	begin(3, 1, 0), put_tensor("w", 1, d1, 1000, 0), put_data(64), expect(E_UNSUPPORTED, "tensor w: type unknown");
	begin(3, 1, 0), put_tensor("w", 2, huge, QUANT_F32, 0), put_data(64), expect(E_FORMAT, "tensor w");
	begin(3, 1, 0), put_tensor("w", 1, odd, QUANT_Q8_0, 0), put_data(64), expect(E_FORMAT, "tensor w");
	begin(3, 1, 0), put_tensor("w", 1, d1, QUANT_F32, 8), put_data(640), expect(E_FORMAT, "tensor w: offset 8");
	begin(3, 1, 0), put_tensor("w", 1, d1, QUANT_F32, UINT64_MAX - 31), put_data(640), expect(E_FORMAT, "tensor w");
	begin(3, 1, 0), put_tensor("w", 1, d1, QUANT_F32, 64), put_data(64), expect(E_FORMAT, "past the end");
	begin(3, 2, 0), put_tensor("w", 1, d1, QUANT_F32, 0), put_tensor("w", 1, d1, QUANT_F32, 0), put_data(200),
		expect(E_FORMAT, "tensor w: given twice");
	begin(3, 2, 0), put_tensor("w", 1, d1, QUANT_F32, 0), put_tensor("v", 1, d1, QUANT_F32, 96), put_data(300),
		expect(E_FORMAT, "tensor v: its data lies over that of w");
	begin(3, 2, 0), put_tensor("w", 1, d1, QUANT_F32, 0), put_tensor("v", 1, d1, QUANT_F32, 0), put_data(300),
		expect(E_FORMAT, "its data lies over that of");
	begin(3, 2, 0), put_tensor("w", 1, d1, QUANT_F32, 128), put_tensor("v", 1, d1, QUANT_F32, 0), put_data(256), expect(OK, "");
	begin(3, 1, 0), put_tensor("w", 0, d1, QUANT_F32, 0), put_data(64), expect(E_FORMAT, "tensor w");
	begin(3, 1, 0), put_tensor("w", 1, d1, QUANT_F32, 0), put_data(128), expect(OK, "");
}

TEST(gguf_refuses_every_cut)
{
	struct buf whole;
	size_t len;
	char *data;
	begin(3, 1, 7);
	put_all_kinds();
	put_tensor("t", 2, (uint64_t[]){ 64, 3 }, QUANT_Q8_0, 0);
	put_data(3 * 68);
	data = buf_take(&file, &len);
	for (size_t n = 0; n < len; n++) {
		buf_init(&whole, 1 << 20);
		buf_put(&whole, data, n);
		file = whole;
		expect(E_FORMAT, "x.gguf");
	}
	mem_free(data);
}

/* The real model's header in a file of the real size (sparse), with some bytes changed. */
static void bend(const char *path, const uint8_t *header, size_t len, off_t size, size_t at, uint8_t flip,
	int tokenizer)
{
	uint8_t byte = header[at] ^ flip;
	struct gguf *g = NULL;
	struct tokenizer *b = NULL;
	struct err e = { 0, "" };
	FILE *f = fopen(path, "r+b");
	CHECK(f && at < len);
	CHECK(fseek(f, (long)at, SEEK_SET) == 0 && fwrite(&byte, 1, 1, f) == 1 && fclose(f) == 0);
	CHECK(truncate(path, size) == 0);
	if (gguf_open(&g, path, &e) == OK) {
		for (size_t i = 0; i < gguf_tensor_n(g); i++) CHECK(gguf_tensor_at(g, i)->bytes < (uint64_t)size);
		if (tokenizer && tokenizer_open(&b, g, &e) != OK) CHECK(e.msg[0]);
	} else CHECK_MSG(e.msg[0] && (e.status == E_FORMAT || e.status == E_UNSUPPORTED), "byte %zu: %s", at, e.msg);
	tokenizer_close(b);
	gguf_close(g);
	f = fopen(path, "r+b");
	CHECK(f && fseek(f, (long)at, SEEK_SET) == 0 && fwrite(header + at, 1, 1, f) == 1 && fclose(f) == 0);
}

TEST(gguf_real_header_bent_and_cut)
{
	const char *model = test_model("smollm2-135m-instruct-q4_1.gguf");
	enum { HEADER = 1785664 };
	char path[300];
	struct mapping m;
	struct err e;
	struct gguf *g;
	uint8_t *header;
	uint32_t rng = 1;
	off_t size;
	if (!model) test_skip("smollm2 was not fetched");
	CHECK_OK(mapping_open(&m, model, &e), e);
	size = (off_t)m.len;
	header = mem_alloc(HEADER);
	memcpy(header, m.data, HEADER);
	mapping_close(&m);
	snprintf(path, sizeof path, "%s/bent.gguf", test_dir());
	CHECK_OK(file_write_atomic(path, header, HEADER, &e), e);
	CHECK(truncate(path, size) == 0);
	CHECK_OK(gguf_open(&g, path, &e), e);
	gguf_close(g);
	for (size_t at = 0; at < 1600; at++) bend(path, header, HEADER, size, at, (uint8_t)(1u << at % 8), 0);
	for (size_t i = 0; i < 600; i++) {
		rng = rng * 1664525 + 1013904223;
		bend(path, header, HEADER, size, rng % HEADER, (uint8_t)(rng >> 24 | 1), i % 20 == 0);
	}
	for (size_t at = HEADER - 17000; at < HEADER; at += 11) bend(path, header, HEADER, size, at, 0x81, 0); /* tensors */
	for (size_t i = 0; i < 300; i++) {
		rng = rng * 1664525 + 1013904223;
		CHECK(truncate(path, i < 100 ? (off_t)(i * 13) : (off_t)(HEADER - rng % (i < 200 ? 20000 : HEADER))) == 0);
		CHECK(gguf_open(&g, path, &e) == E_FORMAT);
		CHECK(file_write_atomic(path, header, HEADER, &e) == OK);
	}
	mem_free(header);
}
