/* test_unicode.c: classes, white space, case, and normal forms of known characters, of long texts cut into pieces, and
 * of hostile ones. Expected forms from the Unicode charts and Standard Annex 15's examples. */
#include "base/unicode.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "tests/test.h"

typedef int (*form_fn)(const char *s, size_t len, struct buf *out, struct err *e);

static const char *form_of(form_fn form, const char *s)
{
	static struct buf out;
	struct err e;
	if (!out.max) buf_init(&out, 1u << 20);
	buf_reset(&out);
	CHECK_OK(form(s, strlen(s), &out, &e), e);
	return buf_cstr(&out);
}

TEST(unicode_classes)
{
	static const struct { uint32_t cp; enum uni_class class; const char *category; } cases[] = {
		{ 'a', UNI_LETTER, "Ll" }, { 'A', UNI_LETTER, "Lu" }, { 0x1c5, UNI_LETTER, "Lt" }, { 0x2b0, UNI_LETTER, "Lm" },
		{ 0x4e00, UNI_LETTER, "Lo" }, { 0x301, UNI_MARK, "Mn" }, { 0x903, UNI_MARK, "Mc" }, { 0x20dd, UNI_MARK, "Me" },
		{ '7', UNI_NUMBER, "Nd" }, { 0x2160, UNI_NUMBER, "Nl" }, { 0xb2, UNI_NUMBER, "No" }, { '_', UNI_PUNCT, "Pc" },
		{ '-', UNI_PUNCT, "Pd" }, { '(', UNI_PUNCT, "Ps" }, { ')', UNI_PUNCT, "Pe" }, { 0xab, UNI_PUNCT, "Pi" },
		{ 0xbb, UNI_PUNCT, "Pf" }, { '!', UNI_PUNCT, "Po" }, { '+', UNI_SYMBOL, "Sm" }, { '$', UNI_SYMBOL, "Sc" },
		{ '^', UNI_SYMBOL, "Sk" }, { 0x1f600, UNI_SYMBOL, "So" }, { ' ', UNI_SPACE, "Zs" }, { 0x2028, UNI_SPACE, "Zl" },
		{ 0x2029, UNI_SPACE, "Zp" }, { '\n', UNI_CONTROL, "Cc" }, { 0xad, UNI_CONTROL, "Cf" },
		{ 0xfeff, UNI_CONTROL, "Cf" }, { 0xd800, UNI_CONTROL, "Cs" }, { 0xe000, UNI_CONTROL, "Co" },
		{ 0x378, UNI_UNASSIGNED, "Cn" }, { 0x110000, UNI_UNASSIGNED, "Cn" }, { 0xffffffff, UNI_UNASSIGNED, "Cn" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		CHECK_MSG(uni_class(cases[i].cp) == cases[i].class, "U+%04X", cases[i].cp);
		CHECK_STR(uni_category(cases[i].cp), cases[i].category);
	}
	for (uint32_t cp = 0; cp < 0x110000; cp += 13)
		CHECK(uni_is_word(cp) == (strchr("LMN", uni_category(cp)[0]) != NULL));
}

TEST(unicode_white_space_is_these_25)
{
	int n = 0;
	for (uint32_t cp = 0; cp < 0x110000; cp++) {
		if (!uni_is_white_space(cp)) continue;
		n++;
		CHECK(uni_class(cp) == UNI_SPACE || (cp >= 9 && cp <= 13) || cp == 0x85);
	}
	CHECK_INT(n, 25);
	for (uint32_t cp = 0; cp < 0x110000; cp++)
		if (uni_class(cp) == UNI_SPACE) CHECK(uni_is_white_space(cp));
}

TEST(unicode_cjk_edges)
{
	static const uint32_t in[] = { 0x3400, 0x4dbf, 0x4e00, 0x9fff, 0xf900, 0xfaff, 0x20000, 0x2a6df, 0x2a700, 0x2b73f,
		0x2b740, 0x2b81f, 0x2b820, 0x2ceaf, 0x2f800, 0x2fa1f };
	static const uint32_t out[] = { 0x33ff, 0x4dc0, 0x4dff, 0xa000, 0xf8ff, 0xfb00, 0x1ffff, 0x2a6e0, 0x2ceb0, 0x2f7ff,
		0x2fa20, 0x3042, 0xac00, 'a' };
	for (size_t i = 0; i < sizeof in / sizeof *in; i++) CHECK_MSG(uni_is_cjk(in[i]), "U+%04X", in[i]);
	for (size_t i = 0; i < sizeof out / sizeof *out; i++) CHECK_MSG(!uni_is_cjk(out[i]), "U+%04X", out[i]);
}

TEST(unicode_case)
{
	static const struct { uint32_t upper, lower; } pairs[] = {
		{ 'A', 'a' }, { 'Z', 'z' }, { 0xc9, 0xe9 }, { 0x416, 0x436 },
		{ 0x3a9, 0x3c9 }, { 0x10400, 0x10428 } };
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		CHECK_INT(uni_tolower(pairs[i].upper), pairs[i].lower);
		CHECK_INT(uni_toupper(pairs[i].lower), pairs[i].upper);
		CHECK_INT(uni_tolower(pairs[i].lower), pairs[i].lower);
	}
	CHECK_INT(uni_tolower('['), '[');
	CHECK_INT(uni_toupper(0x4e00), 0x4e00);
	CHECK_INT(uni_tolower(0xffffffff), 0xffffffff);
}

TEST(unicode_normal_forms)
{
	CHECK_STR(form_of(uni_nfc, "e\xcc\x81"), "\xc3\xa9");                   /* e + acute -> é */
	CHECK_STR(form_of(uni_nfd, "\xc3\xa9"), "e\xcc\x81");
	CHECK_STR(form_of(uni_nfc, "\xe2\x84\xab"), "\xc3\x85");                /* ANGSTROM SIGN -> Å */
	CHECK_STR(form_of(uni_nfd, "\xed\x95\x9c"), "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab"); /* 한 */
	CHECK_STR(form_of(uni_nfc, "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab"), "\xed\x95\x9c");
	CHECK_STR(form_of(uni_nfd, "q\xcc\x87\xcc\xa3"), "q\xcc\xa3\xcc\x87");  /* marks in canonical order */
	CHECK_STR(form_of(uni_nfc, "\xef\xac\x81"), "\xef\xac\x81");            /* the fi ligature is kept */
	CHECK_STR(form_of(uni_nfc, ""), "");
	CHECK_STR(form_of(uni_nfc, "Plain ASCII\n"), "Plain ASCII\n");
}

TEST(unicode_fold)
{
	CHECK_STR(form_of(uni_fold, "Plain ASCII_09"), "plain ascii_09");
	CHECK_STR(form_of(uni_fold, "\xc3\x89t\xc3\xa9 CAF\xc3\x89"), "ete cafe");
	CHECK_STR(form_of(uni_fold, "Stra\xc3\x9f" "e"), "strasse");
	CHECK_STR(form_of(uni_fold, "\xef\xac\x81n \xe2\x84\xa2 \xc2\xb2"), "fin tm 2");
	CHECK_STR(form_of(uni_fold, "\xef\xbc\xa1\xef\xbc\x91"), "a1");          /* full width */
	CHECK_STR(form_of(uni_fold, "\xd0\x99"), "\xd0\xb8");                    /* Й -> и */
	CHECK_STR(form_of(uni_fold, "\xce\xa3\xcf\x82"), "\xcf\x83\xcf\x83");    /* Σς -> σσ */
}

TEST(unicode_invalid_utf8_is_named_by_offset)
{
	static const char *const bad[] = { "ab\xff", "ab\xc3", "ab\xed\xa0\x80", "ab\xc0\x80", "ab\xf4\x90\x80\x80" };
	struct buf out;
	struct err e;
	buf_init(&out, 1000);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		CHECK_INT(uni_nfc(bad[i], strlen(bad[i]), &out, &e), E_FORMAT);
		CHECK_STR(e.msg, "not valid UTF-8 at byte 2");
	}
	buf_clear(&out);
}

/* Cutting into pieces must not show: the form of a long text is the forms of its words, joined. */
TEST(unicode_pieces_do_not_show)
{
	static const char *const words[] = { "plain ", "e\xcc\x81t\xc3\xa9 ", "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab",
		"A\xcc\x8a", "\xe4\xb8\xad\xe6\x96\x87", "o\xcc\x87\xcc\xa3x", "\n" };
	static const form_fn forms[] = { uni_nfc, uni_nfd, uni_fold };
	uint32_t x = 12345;
	struct buf text, want, got;
	struct err e;
	buf_init(&text, 1u << 20);
	buf_init(&want, 1u << 20);
	buf_init(&got, 1u << 20);
	for (int f = 0; f < 3; f++) {
		buf_reset(&text);
		buf_reset(&want);
		buf_reset(&got);
		for (int i = 0; i < 20000; i++) {
			const char *word = words[(x = x * 1103515245 + 12345) >> 16 & 7 ? (x >> 16) % 7 : 0];
			buf_puts(&text, word);
			buf_puts(&want, form_of(forms[f], word));
		}
		CHECK_OK(forms[f](text.data, text.len, &got, &e), e);
		CHECK_STR(buf_cstr(&got), buf_cstr(&want));
	}
	buf_clear(&text), buf_clear(&want), buf_clear(&got);
}

/* A million marks in the worst order end in time, valid, and with none lost. */
TEST(unicode_stands_endless_marks)
{
	size_t len = 2000000;
	char *s = mem_alloc(len);
	struct buf out;
	struct err e;
	CHECK(s);
	for (size_t i = 0; i < len; i += 4) memcpy(s + i, "\xcc\x87\xcc\xa3", 4);
	buf_init(&out, 2 * len);
	CHECK_OK(uni_nfd(s, len, &out, &e), e);
	CHECK_INT(out.len, len);
	CHECK(utf8_valid(out.data, out.len));
	buf_reset(&out);
	CHECK_OK(uni_fold(s, len, &out, &e), e);
	CHECK_INT(out.len, 0);
	buf_clear(&out);
	mem_free(s);
}

TEST(unicode_limits_and_memory)
{
	const char *s = "abc \xc3\xa9\xc3\xa9";
	struct buf out;
	struct err e;
	buf_init(&out, 7);
	CHECK_INT(uni_nfc(s, strlen(s), &out, &e), E_LIMIT);
	CHECK_INT(out.len, 0);
	CHECK_INT(uni_nfc(s, strlen(s), &out, &e), E_LIMIT); /* the buffer has failed */
	buf_clear(&out);
	CHECK_INT(uni_fold("ABCDEFGH", 8, &out, &e), E_LIMIT);
	buf_clear(&out);
	buf_init(&out, 100);
	for (int n = 1; n <= 2; n++) {
		fault_alloc_after(n);
		CHECK_INT(uni_nfc(s, strlen(s), &out, &e), E_MEMORY);
		buf_reset(&out);
	}
	fault_alloc_after(0);
	CHECK_OK(uni_nfc(s, strlen(s), &out, &e), e);
	buf_clear(&out);
}
