/* test_wordpiece.c: the rules one by one on a small vocabulary; tests/embed compares with the reference tokenizer. */
#include <stdlib.h>
#include "base/file.h"
#include "base/mem.h"
#include "nn/wordpiece.h"
#include "tests/test.h"

static const char vocabulary[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nun\n##aff\n##able\nunaff\n##a\na\n,\n"
	"[\n]\ncl\n##s\ncaf\xc3\xa9\ncafe\n\xe6\xbc\xa2\n\xe5\xad\x97\n##\xe5\xad\x97\ni\n\xc3\x89\ne\n"
	"\xe2\x80\x94\nsep\ni\xcc\x87\n$\nword\n";
enum { UNK = 1, CLS, SEP, MASK, UN, AFF, ABLE, UNAFF, PIECE_A, A, COMMA, OPEN, SHUT, CL, PIECE_S, CAFE_ACUTE, CAFE,
	HAN, ZI, PIECE_ZI, I, E_ACUTE_UPPER, E, DASH, SEP_WORD, I_DOT, DOLLAR, WORD };
static struct wordpiece_options options = {.lower_case = 1, .strip_accents = 1, .cjk_words = 1, .unk = "[UNK]",
	.cls = "[CLS]", .sep = "[SEP]", .pad = "[PAD]", .mask = "[MASK]"};

static int vocab_open(struct wordpiece **w, const char *text, struct err *e)
{
	return wordpiece_open(w, "vocab.txt", text, strlen(text), &options, e);
}

static struct wordpiece *small(void)
{
	struct wordpiece *w;
	struct err e;
	CHECK_OK(vocab_open(&w, vocabulary, &e), e);
	return w;
}

/* want ends with -1 */
static void expect_mode(const struct wordpiece *w, const char *text, enum wordpiece_mode mode, const int32_t *want)
{
	int32_t ids[64];
	size_t n, counted, len = 0;
	struct err e;
	CHECK_OK(wordpiece_encode(w, text, strlen(text), mode, ids, 64, &n, &e), e);
	while (want[len] >= 0) len++;
	CHECK_MSG(n == len, "\"%s\": %zu tokens, want %zu", text, n, len);
	for (size_t i = 0; i < n; i++)
		CHECK_MSG(ids[i] == want[i], "\"%s\": token %zu is %d, want %d", text, i, ids[i], want[i]);
	CHECK_OK(wordpiece_encode(w, text, strlen(text), mode, NULL, 0, &counted, &e), e);
	CHECK_INT(counted, n);
}

#define EXPECT(w, text, ...) expect_mode(w, text, WORDPIECE_PLAIN, (const int32_t[]){__VA_ARGS__, -1})

TEST(wordpiece_takes_the_longest_piece_first)
{
	struct wordpiece *w = small();
	EXPECT(w, "unaffable", UNAFF, ABLE);
	EXPECT(w, "unaffa unaffx", UNAFF, PIECE_A, UNK);
	EXPECT(w, "a,a $word", A, COMMA, A, DOLLAR, WORD);
	EXPECT(w, "", -1);
	EXPECT(w, " \t\r\n ", -1);
	CHECK_INT(wordpiece_id(w, "##able", 6), ABLE);
	CHECK_INT(wordpiece_id(w, "nothing", 7), -1);
	CHECK_INT(wordpiece_size(w), WORD + 1);
	CHECK_INT(wordpiece_cls(w), CLS);
	CHECK_INT(wordpiece_sep(w), SEP);
	wordpiece_close(w);
}

TEST(wordpiece_cleans_as_bert_does)
{
	struct wordpiece *w = small();
	EXPECT(w, "u\x01n\xef\xbf\xbd" "aff\x7f\xe2\x80\x8d" "able", UNAFF, ABLE);  /* controls, U+FFFD and ZWJ go */
	EXPECT(w, "a\xc2\xa0" "a\xe3\x80\x80" "a\xe2\x80\xa8" "a", A, A, A, A); /* NBSP, U+3000, U+2028 separate */
	EXPECT(w, "CAF\xc3\x89 Cafe\xcc\x81", CAFE, CAFE);
	EXPECT(w, "a\xe6\xbc\xa2\xe5\xad\x97" "a", A, HAN, ZI, A);
	EXPECT(w, "\xc4\xb0", I); /* U+0130 */
	EXPECT(w, "a\xe2\x80\x94" "a", A, DASH, A);
	EXPECT(w, "\xe2\x82\xac", UNK); /* a symbol that is no punctuation is a word */
	wordpiece_close(w);
	options.strip_accents = 0;
	w = small();
	EXPECT(w, "CAF\xc3\x89", CAFE_ACUTE);
	EXPECT(w, "\xc4\xb0", I_DOT);
	wordpiece_close(w);
	options.lower_case = options.cjk_words = 0;
	w = small();
	EXPECT(w, "\xc3\x89 E e", E_ACUTE_UPPER, UNK, E);
	EXPECT(w, "\xe6\xbc\xa2\xe5\xad\x97", HAN, PIECE_ZI);
	wordpiece_close(w);
}

TEST(wordpiece_text_is_no_control_token)
{
	struct wordpiece *w = small();
	EXPECT(w, "[CLS]", OPEN, CL, PIECE_S, SHUT);
	EXPECT(w, "a[SEP]", A, OPEN, SEP_WORD, SHUT);
	expect_mode(w, "a[SEP][MASK] a[CLS", WORDPIECE_SPECIALS, (const int32_t[]){A, SEP, MASK, A, OPEN, CL, PIECE_S, -1});
	wordpiece_close(w);
}

TEST(wordpiece_a_word_has_at_most_100_characters)
{
	struct wordpiece *w = small();
	char text[512];
	int32_t ids[128];
	size_t n;
	struct err e;
	memset(text, 'a', 400);
	CHECK_OK(wordpiece_encode(w, text, 100, WORDPIECE_PLAIN, ids, 128, &n, &e), e);
	CHECK_INT(n, 100);
	CHECK(ids[0] == A && ids[99] == PIECE_A);
	CHECK_OK(wordpiece_encode(w, text, 101, WORDPIECE_PLAIN, ids, 128, &n, &e), e);
	CHECK(n == 1 && ids[0] == UNK);
	CHECK_OK(wordpiece_encode(w, text, 400, WORDPIECE_PLAIN, ids, 128, &n, &e), e);
	CHECK(n == 1 && ids[0] == UNK);
	wordpiece_close(w);
}

TEST(wordpiece_invalid_bytes_are_unknown)
{
	struct wordpiece *w = small();
	EXPECT(w, "a\xff" "a", A, UNK, A);
	EXPECT(w, "\xc3", UNK);
	EXPECT(w, "a \xed\xa0\x80", A, UNK, UNK, UNK);
	wordpiece_close(w);
}

TEST(wordpiece_long_texts_are_taken_in_slices)
{
	struct wordpiece *w = small();
	enum { WORDS = 5000 };
	char *text = mem_alloc(WORDS * 12 + 20000);
	size_t len = 0, n;
	int32_t *ids = mem_alloc(WORDS * 3 * sizeof *ids), few[7];
	struct err e;
	CHECK(text && ids);
	for (int i = 0; i < WORDS; i++) {
		memcpy(text + len, i % 3 ? "unaffable " : "caf\xc3\xa9 word ", i % 3 ? 10 : 11);
		len += i % 3 ? 10 : 11;
	}
	CHECK_OK(wordpiece_encode(w, text, len, WORDPIECE_PLAIN, ids, WORDS * 3, &n, &e), e);
	CHECK_INT(n, WORDS * 2);
	for (int i = 0; i < WORDS; i++)
		CHECK(ids[2 * i] == (i % 3 ? UNAFF : CAFE) && ids[2 * i + 1] == (i % 3 ? ABLE : WORD));
	CHECK_OK(wordpiece_encode(w, text, len, WORDPIECE_PLAIN, few, 7, &n, &e), e);
	CHECK_INT(n, 7);
	CHECK(memcmp(few, ids, sizeof few) == 0);
	memset(text, 'x', 20000);                              /* one word longer than a slice */
	text[20000] = ' ';
	text[20001] = 'a';
	CHECK_OK(wordpiece_encode(w, text, 20002, WORDPIECE_PLAIN, ids, 10, &n, &e), e);
	CHECK(n == 2 && ids[0] == UNK && ids[1] == A);
	mem_free(text);
	mem_free(ids);
	wordpiece_close(w);
}

TEST(wordpiece_bad_vocabularies_are_refused)
{
	struct wordpiece *w;
	struct err e;
	CHECK_INT(vocab_open(&w, "", &e), E_FORMAT);
	CHECK_INT(vocab_open(&w, "[UNK]\n[CLS]\na\n", &e), E_FORMAT);
	CHECK_MSG(strstr(e.msg, "[SEP]") && strstr(e.msg, "vocab.txt"), "%s", e.msg);
	CHECK_INT(vocab_open(&w, "[UNK]\n[CLS]\n[SEP]\n\xff\n", &e), E_FORMAT);
	CHECK_OK(vocab_open(&w, "[UNK]\r\n[CLS]\r\n[SEP]\r\na", &e), e);
	EXPECT(w, "a", 3);
	wordpiece_close(w);
}

TEST(wordpiece_random_bytes_never_crash)
{
	struct wordpiece *w = small();
	char text[600];
	int32_t ids[600];
	srand(11);
	for (int round = 0; round < 3000; round++) {
		size_t n, counted, len = (size_t)rand() % sizeof text;
		struct err e;
		for (size_t i = 0; i < len; i++) text[i] = (char)(rand() % 4 ? rand() : "un aff[SEP]\xcc\x81\xe6"[rand() % 14]);
		CHECK_OK(wordpiece_encode(w, text, len, round % 2 ? WORDPIECE_PLAIN : WORDPIECE_SPECIALS, ids, 600, &n, &e), e);
		CHECK_OK(wordpiece_encode(w, text, len, round % 2 ? WORDPIECE_PLAIN : WORDPIECE_SPECIALS, NULL, 0, &counted, &e), e);
		CHECK(n == counted && n <= len);
		for (size_t i = 0; i < n; i++) CHECK(ids[i] >= 0 && (size_t)ids[i] < wordpiece_size(w));
	}
	wordpiece_close(w);
}

static void json_refuse(int status, const char *word, const char *text)
{
	struct wordpiece *w;
	struct err e;
	const struct wordpiece_options o = {.unk = "[UNK]", .cls = "[CLS]", .sep = "[SEP]", .pad = "", .mask = ""};
	CHECK_INT(wordpiece_open(&w, "tokenizer.json", text, strlen(text), &o, &e), status);
	if (status == OK) {
		int32_t ids[8];
		size_t n;
		CHECK_INT(wordpiece_size(w), 6);
		CHECK_INT(wordpiece_id(w, "ab", 2), 5);
		CHECK_INT(wordpiece_id(w, "x", 1), -1);
		CHECK_OK(wordpiece_encode(w, "ab abc x", 8, WORDPIECE_PLAIN, ids, 8, &n, &e), e);
		CHECK(n == 4 && ids[0] == 5 && ids[1] == 5 && ids[2] == 4 && ids[3] == 0);
		wordpiece_close(w);
	} else CHECK_MSG(w == NULL && strstr(e.msg, word), "\"%s\" lacks \"%s\"", e.msg, word);
}

TEST(wordpiece_vocabulary_of_tokenizer_json)
{
#define SPECIALS_JSON "\"[UNK]\":0,\"[CLS]\":1,\"[SEP]\":2"
	json_refuse(OK, "", "{\"model\":{\"vocab\":{" SPECIALS_JSON ",\"##c\":4,\"ab\":5}},\"added_tokens\":[{\"content\":\"[SEP]\"}]}");
	json_refuse(E_FORMAT, "empty", "{\"model\":{\"vocab\":{}}}");
	json_refuse(E_FORMAT, "empty", "{\"model\":{\"vocab\":[[\"a\",-1.5]]}}"); /* of a Unigram model */
	json_refuse(E_FORMAT, "token a", "{\"model\":{\"vocab\":{" SPECIALS_JSON ",\"a\":-1}}}");
	json_refuse(E_FORMAT, "token a", "{\"model\":{\"vocab\":{" SPECIALS_JSON ",\"a\":1.5}}}");
	json_refuse(E_FORMAT, "token a", "{\"model\":{\"vocab\":{" SPECIALS_JSON ",\"a\":\"3\"}}}");
	json_refuse(E_FORMAT, "token a", "{\"model\":{\"vocab\":{" SPECIALS_JSON ",\"a\":2147483647}}}");
	json_refuse(E_FORMAT, "[SEP]", "{\"model\":{\"vocab\":{\"[UNK]\":0,\"[CLS]\":1}}}");
	json_refuse(E_UNSUPPORTED, "added token \"<x>\"", "{\"model\":{\"vocab\":{" SPECIALS_JSON "}},\"added_tokens\":[{\"content\":\"<x>\"}]}");
	json_refuse(E_FORMAT, "tokenizer.json", "{\"model\"");
}

/* Of each token: its text, and what it stands for. */
TEST(wordpiece_places_are_runs_of_the_text)
{
	static const char text[] = " unaffable,\ta\xcc\x81-UNABLE\n(\xe4\xb8\xad" "a)";
	static const char *const runs[] = {"unaffable", "unaffable", ",", "a\xcc\x81", "-", "UNABLE", "UNABLE", "(",
		"\xe4\xb8\xad", "a", ")"};
	struct wordpiece *w;
	struct wordpiece_token t[32];
	struct err e;
	int32_t ids[32];
	size_t n, m;
	CHECK_OK(vocab_open(&w, vocabulary, &e), e);
	CHECK_OK(wordpiece_places(w, text, strlen(text), t, 32, &n, &e), e);
	CHECK_OK(wordpiece_encode(w, text, strlen(text), WORDPIECE_PLAIN, ids, 32, &m, &e), e);
	CHECK_INT(n, sizeof runs / sizeof *runs);
	CHECK_INT(n, m);
	for (size_t i = 0; i < n; i++) {
		CHECK_INT(t[i].id, ids[i]);
		CHECK_MSG(t[i].to - t[i].from == strlen(runs[i]) && memcmp(text + t[i].from, runs[i], strlen(runs[i])) == 0,
			"token %zu stands for bytes %u to %u, not for \"%s\"", i, t[i].from, t[i].to, runs[i]);
	}
	CHECK_OK(wordpiece_places(w, text, strlen(text), t, 3, &n, &e), e);
	CHECK_INT(n, 3);
	wordpiece_close(w);
}

/* Whatever the bytes: the ids of encode, and places inside the text that never fall. */
TEST(wordpiece_places_fit_any_text)
{
	struct wordpiece *w;
	struct err e;
	uint64_t seed = 7;
	CHECK_OK(vocab_open(&w, vocabulary, &e), e);
	for (int round = 0; round < 2000; round++) {
		static const char *const bits[] = {"a", "un", ",", " ", "\n", "\xcc\x81", "\xc3\x84", "\xe4\xb8\xad", "=",
			"\xe2\x89\xa0", "\xe2\x80\x8b", "\xff", "\xcd\xbe", "\xc4\xb0", "\xef\xbf\xbd", "\x01", "\xc2\xa0",
			"\xe3\x80\x80", "\xe2\x82\xac", "\xc2\x85"};
		char text[64];
		size_t len = 0, n, m;
		struct wordpiece_token t[64];
		int32_t ids[64];
		while (len < 40) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			const char *bit = bits[(seed >> 33) % (sizeof bits / sizeof *bits)];
			memcpy(text + len, bit, strlen(bit));
			len += strlen(bit);
		}
		CHECK_OK(wordpiece_places(w, text, len, t, 64, &n, &e), e);
		CHECK_OK(wordpiece_encode(w, text, len, WORDPIECE_PLAIN, ids, 64, &m, &e), e);
		CHECK_MSG(n == m, "round %d: %zu tokens, not %zu", round, n, m);
		for (size_t i = 0; i < n; i++)
			CHECK(t[i].id == ids[i] && t[i].from < t[i].to && t[i].to <= len && (i == 0 || t[i].from >= t[i - 1].from));
	}
	wordpiece_close(w);
}
