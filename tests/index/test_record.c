/* test_record.c: the format page: checksum, keys, round trips, and every damage of every record refused. */
#include "base/mem.h"
#include "base/utf8.h"
#include "index/record.h"
#include "tests/test.h"

TEST(record_crc32c_known_values)
{
	uint8_t zeros[32] = { 0 };
	CHECK_INT(crc32c(0, "123456789", 9), 0xE3069283);
	CHECK_INT(crc32c(0, zeros, 32), 0x8A9136AA); /* RFC 3720, B.4 */
	CHECK_INT(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xE3069283);
}

TEST(record_keys_keep_order)
{
	struct key a, b;
	key_u64(&a, 255), key_u64(&b, 256);
	CHECK(memcmp(a.b, b.b, 8) < 0);
	key_vec(&a, 1, UINT64_MAX), key_vec(&b, 2, 1);
	CHECK(a.n == 12 && memcmp(a.b, b.b, 12) < 0);
	CHECK_INT(key_get_u64(b.b + 4), 1);
	key_graph(&a, 7), key_piece(&b, 7, 1, 0);
	CHECK(a.n == 4 && b.n == 16 && memcmp(a.b, b.b, 4) == 0);
}

TEST(record_long_sources_fit_a_key)
{
	char s[5000];
	struct key a, b;
	memset(s, 'x', sizeof s), s[sizeof s - 1] = 0;
	key_source(&a, 1, s);
	CHECK_INT(a.n, 37);
	s[4000] = 'y';
	key_source(&b, 1, s);
	CHECK(memcmp(a.b, b.b, a.n) != 0);
	s[400] = 0;
	key_source(&a, 1, s);
	CHECK_INT(a.n, 405);
}

static const char *const groups[] = { "staff", "" };
static struct doc_in sample = { .title = "T", .source = "/a/b", .type = "txt", .root = "/a", .meta = "{\"k\":1}",
	.reason = "", .duplicate_of = "d9", .acl = groups, .acl_n = 2 };

static void encode(int kind, struct key *k, struct buf *b)
{
	struct rec_state st = { .format = 2, .next_coll = 3, .analysis = 9, .seq = 10, .next_doc = 5, .next_chunk = 77,
		.serving = { .number = 2, .slot = 1, .dim = 384, .embedder = "mini", .model = "Mini" },
		.beside = { .number = 1, .dim = 8, .status = BESIDE_KEPT, .upto = 70, .embedder = "old", .model = "Old" } };
	struct rec_coll co = { 3, 1, 2, 3, 4, 5, 6, 7, 8 };
	struct rec_doc d = { .coll = 3, .revision = 2, .verdict = DOC_UPDATED, .text_len = 9, .chars = 8, .id = "d7" };
	struct span sp[2] = { { 1, 2 }, { 4, 5 } };
	struct rec_chunk ch = { .coll = 3, .page = 1, .doc = 7, .range = { 1, 8 }, .start_cp = 1, .end_cp = 8, .sentence_n = 2,
		.heading = "A > B" };
	struct rec_graph g = { 384, 16, 200, 2, 1, 10, 99, 98, 12345, "mini", 0 };
	key_u64(k, 7);
	switch (kind) {
	case 0: CHECK(rec_state_put(b, k, &st) == OK); break;
	case 1: CHECK(rec_coll_put(b, k, &co) == OK); break;
	case 2: CHECK(rec_doc_put(b, k, &d, &sample) == OK); break;
	case 3: CHECK(rec_chunk_put(b, k, &ch, sp) == OK); break;
	case 4: CHECK(rec_graph_put(b, k, &g) == OK); break;
	case 5: CHECK(rec_note_put(b, k, "{\"a\":[1,2]}", 11) == OK); break;
	case 6: CHECK(rec_block_put(b, k, (struct posting[]){ { 7, 1, 90 }, { 300, 2, 200 }, { 1ull << 40, 9, 9 } }, 3) == OK); break;
	}
}

static int decode(int kind, const struct key *k, struct slice v)
{
	struct rec_state st;
	struct rec_coll co;
	struct rec_doc d;
	struct rec_chunk ch;
	struct rec_graph g;
	struct slice json;
	struct posting block[8];
	size_t n;
	struct err e;
	switch (kind) {
	case 0: return rec_state_get(&st, k, v, &e);
	case 1: return rec_coll_get(&co, k, v, &e);
	case 2: return rec_doc_get(&d, k, v, &e);
	case 3: return rec_chunk_get(&ch, k, v, &e);
	case 4: return rec_graph_get(&g, k, v, &e);
	case 5: return rec_note_get(&json, k, v, &e);
	default: return rec_block_get(block, 8, &n, k, v, &e);
	}
}

TEST(record_round_trips)
{
	struct rec_doc d;
	struct rec_chunk ch;
	struct err e;
	struct buf b;
	struct key k;
	const uint8_t *p;
	buf_init(&b, 1 << 20);
	encode(2, &k, &b);
	CHECK_OK(rec_doc_get(&d, &k, (struct slice){ (uint8_t *)b.data, b.len }, &e), e);
	CHECK_STR(d.id, "d7");
	CHECK_STR(d.meta, "{\"k\":1}");
	CHECK_STR(d.duplicate_of, "d9");
	p = d.acl;
	CHECK_STR(rec_acl_next(&p), "staff");
	CHECK_STR(rec_acl_next(&p), "");
	CHECK(d.verdict == DOC_UPDATED && d.acl_n == 2 && d.chars == 8);
	encode(3, &k, &b);
	CHECK_OK(rec_chunk_get(&ch, &k, (struct slice){ (uint8_t *)b.data, b.len }, &e), e);
	CHECK_STR(ch.heading, "A > B");
	CHECK(ch.sentence_n == 2 && rec_sentence(&ch, 1).off == 4 && rec_sentence(&ch, 1).len == 5);
	buf_clear(&b);
}

/* Every cut, every flipped bit and the wrong key are refused. Cuts are heap copies, so that reading past one shows. */
TEST(record_damage_is_refused)
{
	struct buf b;
	struct key k, other;
	buf_init(&b, 1 << 20);
	key_u64(&other, 8);
	for (int kind = 0; kind < 7; kind++) {
		encode(kind, &k, &b);
		CHECK_INT(decode(kind, &k, (struct slice){ (uint8_t *)b.data, b.len }), OK);
		CHECK_INT(decode(kind, &other, (struct slice){ (uint8_t *)b.data, b.len }), E_CORRUPT);
		for (size_t n = 0; n < b.len; n++) {
			uint8_t *cut = mem_alloc(n);
			CHECK(cut);
			memcpy(cut, b.data, n);
			CHECK(decode(kind, &k, (struct slice){ cut, n }) != OK);
			mem_free(cut);
		}
		for (size_t bit = 0; bit < b.len * 8; bit++) {
			b.data[bit / 8] ^= (char)(1 << bit % 8);
			CHECK(decode(kind, &k, (struct slice){ (uint8_t *)b.data, b.len }) != OK);
			b.data[bit / 8] ^= (char)(1 << bit % 8);
		}
	}
	buf_clear(&b);
}

/* Lengths that lie under a right checksum: each u32 of the record set to large values. */
TEST(record_lying_lengths_are_refused)
{
	static const uint32_t lies[] = { 0xffffffff, 0x7fffffff, 0x80000000, 0x10000, 200 };
	struct buf b;
	struct key k;
	buf_init(&b, 1 << 20);
	for (int kind = 0; kind < 7; kind++) {
		encode(kind, &k, &b);
		for (size_t at = 8; at + 4 <= b.len; at++)
			for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
				uint8_t *copy = mem_alloc(b.len);
				uint32_t crc;
				CHECK(copy);
				memcpy(copy, b.data, b.len);
				memcpy(copy + at, &lies[i], 4);
				crc = crc32c(crc32c(0, k.b, k.n), copy + 4, b.len - 4);
				memcpy(copy, &crc, 4);
				decode(kind, &k, (struct slice){ copy, b.len }); /* under ASan: reads nothing beyond */
				mem_free(copy);
			}
	}
	buf_clear(&b);
}

TEST(record_newer_format_is_named)
{
	struct rec_state st = { .format = FORMAT_VERSION + 1, .next_coll = 3, .seq = 10, .next_doc = 5, .next_chunk = 77,
		.serving = { .number = 1, .dim = 384, .embedder = "mini" } };
	struct err e;
	struct buf b;
	struct key k;
	buf_init(&b, 4096);
	key_text(&k, "state");
	CHECK(rec_state_put(&b, &k, &st) == OK);
	CHECK_INT(rec_state_get(&st, &k, (struct slice){ (uint8_t *)b.data, b.len }, &e), E_UNSUPPORTED);
	CHECK(strstr(e.msg, "format 5"));
	buf_clear(&b);
}

TEST(record_texts_and_vectors)
{
	static const char text[] = "Grüße, 日本";
	size_t n = sizeof text - 1, size = rec_text_size(n);
	uint8_t *p = mem_alloc(size);
	float v[3] = { 1, 2, 3 };
	uint8_t *vp = mem_alloc(rec_vec_size(3, VEC_F32));
	float back[3];
	struct rec_vec vec;
	struct rec_text t;
	struct err e;
	struct key k;
	CHECK(p && vp && size % 4 == 0);
	key_u64(&k, 1);
	rec_text_fill(p, size, &k, text, n, utf8_count(text, n));
	CHECK_OK(rec_text_get(&t, &k, (struct slice){ p, size }, 1, &e), e);
	CHECK(t.len == n && t.chars == 9 && memcmp(t.text, text, n) == 0);
	CHECK(rec_text_get(&t, &k, (struct slice){ p, size - 4 }, 1, &e) == E_CORRUPT);
	p[size - 8] ^= 1;
	CHECK(rec_text_get(&t, &k, (struct slice){ p, size }, 1, &e) == E_CORRUPT);
	key_vec(&k, 1, 1);
	for (enum vec_form form = VEC_F32; form <= VEC_F16; form++) {
		size = rec_vec_size(3, form);
		CHECK_INT(size, form == VEC_F16 ? 12 : 16);
		rec_vec_fill(vp, &k, v, 3, form);
		CHECK_OK(rec_vec_get(&vec, &k, (struct slice){ vp, size }, 3, 1, &e), e);
		rec_vec_floats(back, &vec);
		CHECK(vec.form == form && back[0] == 1 && back[2] == 3 && rec_vec_borrow(&vec, back)[1] == 2);
		CHECK(rec_vec_get(&vec, &k, (struct slice){ vp, size }, 9, 1, &e) == E_CORRUPT);
		vp[5] ^= 1;
		CHECK(rec_vec_get(&vec, &k, (struct slice){ vp, size }, 3, 1, &e) == E_CORRUPT);
	}
	CHECK(rec_vec_size(1, VEC_F16) == rec_vec_size(1, VEC_F32));
	mem_free(p);
	mem_free(vp);
}
