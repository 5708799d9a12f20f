/* test_wire.c: a document over the wire and back; every hostile reply is refused. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "ingest/wire.h"
#include "tests/test.h"

static struct err e;

static void make(struct extracted *x)
{
	static const char text[] = "Überschrift\n\n- eins\n- zwei\n\nEnde.";

	memset(x, 0, sizeof *x);
	buf_init(&x->text, 1000);
	buf_put(&x->text, text, sizeof text - 1);
	x->blocks = mem_calloc(4, sizeof *x->blocks);
	x->block_n = x->block_cap = 4;
	x->blocks[0] = (struct block){ BLOCK_HEADING, 1, 0, 1, 0, 0, 12 };
	x->blocks[1] = (struct block){ BLOCK_LIST_ITEM, 0, 7, 1, 2, 14, 6 };
	x->blocks[2] = (struct block){ BLOCK_LIST_ITEM, 0, 7, 2, 2, 21, 6 };
	x->blocks[3] = (struct block){ BLOCK_PARAGRAPH, 0, 0, 2, 0, 29, 5 };
	x->type = "eml";
	x->verdict = EXTRACT_PARTIAL;
	snprintf(x->title, sizeof x->title, "Über");
	snprintf(x->reason, sizeof x->reason, "for a reason");
	x->parts = mem_calloc(2, sizeof *x->parts);
	x->part_n = 2;
	x->parts[0] = (struct part){ mem_strdup("a.txt"), mem_strndup("in\0side", 7), 7 };
	x->parts[1] = (struct part){ mem_strdup("b.bin"), mem_strdup(""), 0 };
}

static void drop(struct extracted *x)
{
	for (size_t i = 0; i < x->part_n; i++) {
		mem_free(x->parts[i].name);
		mem_free(x->parts[i].data);
		x->parts[i] = (struct part){ NULL, NULL, 0 };
	}
	mem_free(x->parts);
	x->parts = NULL;
	x->part_n = 0;
	extracted_clear(x);
}

TEST(wire_there_and_back)
{
	struct extracted x, y;
	struct buf out;

	make(&x);
	buf_init(&out, 1 << 20);
	CHECK_OK(wire_put(&out, &x, &e), e);
	CHECK_OK(wire_get(&y, out.data, out.len, 1000, &e), e);
	CHECK_STR(y.text.data, x.text.data);
	CHECK_STR(y.title, x.title);
	CHECK_STR(y.type, x.type);
	CHECK_STR(y.reason, x.reason);
	CHECK_INT(y.verdict, EXTRACT_PARTIAL);
	CHECK_INT(y.block_n, 4);
	for (size_t i = 0; i < 4; i++) {
		CHECK_INT(y.blocks[i].kind, x.blocks[i].kind);
		CHECK_INT(y.blocks[i].level, x.blocks[i].level);
		CHECK_INT(y.blocks[i].group, x.blocks[i].group);
		CHECK_INT(y.blocks[i].page, x.blocks[i].page);
		CHECK_INT(y.blocks[i].mark, x.blocks[i].mark);
		CHECK_INT(y.blocks[i].off, x.blocks[i].off);
		CHECK_INT(y.blocks[i].len, x.blocks[i].len);
	}
	CHECK_INT(y.part_n, 2);
	CHECK_STR(y.parts[0].name, "a.txt");
	CHECK_INT(y.parts[0].len, 7);
	CHECK(memcmp(y.parts[0].data, "in\0side", 7) == 0);
	drop(&y);
	CHECK_INT(wire_get(&y, out.data, out.len, 10, &e), E_FORMAT);           /* longer text than was asked for */
	drop(&y);
	drop(&x);
	buf_clear(&out);
}

/* What is taken is as extract.h promises. */
static void check_promises(const struct extracted *x)
{
	size_t after = 0;

	CHECK(utf8_valid(x->text.data ? x->text.data : "", x->text.len));
	CHECK(utf8_valid(x->title, strlen(x->title)) && utf8_valid(x->reason, strlen(x->reason)));
	for (size_t i = 0; i < x->block_n; i++) {
		const struct block *b = &x->blocks[i];

		CHECK(b->off >= after && b->len > 0 && b->off + b->len <= x->text.len && b->mark < b->len);
		CHECK(utf8_valid(x->text.data + b->off, b->len));
		after = b->off + b->len;
	}
}

static void try_bytes(const char *data, size_t len, int *taken)
{
	struct extracted y;
	char *exact = mem_alloc(len ? len : 1);         /* so that a sanitizer sees a read past the end */

	CHECK(exact);
	memcpy(exact, data, len);
	if (wire_get(&y, exact, len, 1000, &e) == OK) {
		check_promises(&y);
		++*taken;
	}
	drop(&y);
	mem_free(exact);
}

TEST(wire_hostile)
{
	struct extracted x;
	struct buf out;
	int taken = 0, tries = 0;

	make(&x);
	buf_init(&out, 1 << 20);
	CHECK_OK(wire_put(&out, &x, &e), e);
	for (size_t n = 0; n < out.len; n++)
		try_bytes(out.data, n, &taken);
	CHECK_INT(taken, 0);                            /* nothing that was cut off */
	srandom(11);
	for (int i = 0; i < 20000; i++) {
		char was[8];
		size_t at = (size_t)random() % (out.len - 8), n = 1 + (size_t)random() % 8;

		memcpy(was, out.data + at, 8);
		for (size_t k = 0; k < n; k++)
			out.data[at + k] = (char)(random() % 3 == 0 ? 0xff : random());
		try_bytes(out.data, out.len, &taken);
		tries++;
		memcpy(out.data + at, was, 8);
	}
	CHECK(taken < tries);
	drop(&x);
	buf_clear(&out);
}

static void refuse(void (*spoil)(struct extracted *))
{
	struct extracted x, y;
	struct buf out;

	make(&x);
	spoil(&x);
	buf_init(&out, 1 << 20);
	CHECK_OK(wire_put(&out, &x, &e), e);
	CHECK_INT(wire_get(&y, out.data, out.len, 1000, &e), E_FORMAT);
	drop(&x);
	drop(&y);
	buf_clear(&out);
}

static void inside_character(struct extracted *x) { x->blocks[0].len = 1; }
static void overlap(struct extracted *x) { x->blocks[1].off = 5; }
static void past_end(struct extracted *x) { x->blocks[3].len = 6; }
static void no_length(struct extracted *x) { x->blocks[3].len = 0; }
static void huge(struct extracted *x) { x->blocks[3].len = SIZE_MAX - 10; }
static void all_mark(struct extracted *x) { x->blocks[1].mark = 6; }
static void bad_kind(struct extracted *x) { x->blocks[0].kind = (enum block_kind)99; }
static void bad_verdict(struct extracted *x) { x->verdict = 9; }
static void not_utf8(struct extracted *x) { x->text.data[0] = (char)0xff; }
static void with_nul(struct extracted *x) { x->text.data[5] = 0; }
static void bad_type(struct extracted *x) { x->type = "exe"; }
static void skipped_with_text(struct extracted *x) { x->verdict = EXTRACT_SKIPPED; }
static void nameless_part(struct extracted *x) { x->parts[0].name[0] = 0; }

TEST(wire_refuses)
{
	static void (*const all[])(struct extracted *) = { inside_character, overlap, past_end, no_length, huge, all_mark, bad_kind,
		bad_verdict, not_utf8, with_nul, bad_type, skipped_with_text, nameless_part };

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		refuse(all[i]);
}
