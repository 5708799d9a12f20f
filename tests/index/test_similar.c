/* test_similar.c: words nearly like another, against distances computed one by one; searches with mistyped and unfinished
 * words; what a reader may not see gives no words. */
#include <stdlib.h>
#include <string.h>
#include "base/arena.h"
#include "base/buf.h"
#include "index/record.h"
#include "index/similar.h"
#include "index/store.h"
#include "tests/index/help.h"
#include "tests/test.h"

enum { WORDS = 3000, LETTERS_MAX = 12, HITS = 20 };

static unsigned next(unsigned *seed)
{
	return (*seed = *seed * 1664525u + 1013904223u) >> 8;
}

/* Few letters, so that many words are near; some of two bytes. */
static size_t word_make(unsigned *seed, char out[32])
{
	static const char *const letters[] = { "a", "b", "ä", "c" };
	unsigned n = 1 + next(seed) % LETTERS_MAX;
	size_t at = 0;
	while (n--) at += (size_t)snprintf(out + at, 32 - at, "%s", letters[next(seed) % 4]);
	return at;
}

static size_t letters_of(const char *s, char out[32])
{
	size_t n = 0;
	for (; *s; s++)
		if ((unsigned char)*s == 0xc3) out[n++] = 'x', s++;
		else out[n++] = *s;
	return n;
}

/* The definition. */
static unsigned distance(const char *x, const char *y)
{
	unsigned d[33][33];
	char a[32], b[32];
	size_t n = letters_of(x, a), m = letters_of(y, b);
	for (size_t i = 0; i <= n; i++)
		for (size_t j = 0; j <= m; j++) {
			unsigned best = i == 0 ? (unsigned)j : j == 0 ? (unsigned)i : d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			if (i && d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
			if (j && d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best) best = d[i - 2][j - 2] + 1;
			d[i][j] = best;
		}
	return d[n][m];
}

static void compare_near(struct cursor *c, char (*words)[32], size_t word_n, const char *asked, unsigned edits)
{
	struct similar found[SIMILAR_MAX];
	struct arena a;
	struct err e;
	size_t n, due[3] = { 0 }, had[3] = { 0 };
	arena_init(&a, 1 << 20);
	CHECK_OK(similar_near(&(struct dictionary){ .c = c, .coll = 1 }, asked, strlen(asked), edits, &a, found, &n, &e), e);
	for (size_t i = 0; i < word_n; i++) {
		unsigned d = distance(asked, words[i]);
		due[0] += d > 0 && d <= edits && words[i][0] == asked[0] && (words[i][0] != '\xc3' || words[i][1] == asked[1]);
		due[1] += d == 1 && words[i][0] == asked[0];
	}
	for (size_t i = 0; i < n; i++) {
		CHECK_MSG(found[i].edits == distance(asked, found[i].text) && found[i].edits > 0 && found[i].edits <= edits, "%s: %s", asked, found[i].text);
		CHECK(i == 0 || found[i - 1].edits < found[i].edits || strcmp(found[i - 1].text, found[i].text) < 0);
		had[1] += found[i].edits == 1;
	}
	CHECK_MSG(n == (due[0] < SIMILAR_MAX ? due[0] : SIMILAR_MAX), "%s, %u edits: %zu words, not %zu", asked, edits, n, due[0]);
	CHECK(had[1] == (due[1] < SIMILAR_MAX ? due[1] : SIMILAR_MAX));
	arena_clear(&a);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

TEST(similar_words_are_those_of_the_definition)
{
	static char words[WORDS][32];
	struct posting p = { 1, 1, 1 };
	struct cursor c = { 0 };
	struct store *st;
	struct txn *t;
	struct buf b;
	struct err e;
	unsigned seed = 11;
	size_t n = 0;
	buf_init(&b, 1 << 16);
	for (size_t i = 0; i < WORDS; i++) word_make(&seed, words[i]);
	qsort(words, WORDS, sizeof *words, by_text);
	for (size_t i = 0; i < WORDS; i++)
		if (n == 0 || strcmp(words[n - 1], words[i]) != 0) memmove(words[n++], words[i], sizeof *words);
	CHECK_OK(store_open(&st, test_dir(), 256 << 20, 64, 0, &e), e);
	CHECK_OK(txn_begin(&t, st, 1, &e), e);
	for (size_t i = 0; i < n; i++)
		for (uint64_t last = 5; last; last = last == 5 && i % 3 == 0 ? BLOCK_TAIL : 0) {    /* some of two blocks */
			struct key k;
			key_block(&k, i % 50 ? 1 : 2, words[i], strlen(words[i]), last);
			CHECK(rec_block_put(&b, &k, &p, 1) == OK);
			CHECK_OK(store_put(t, T_POST, &k, b.data, b.len, &e), e);
		}
	for (size_t i = 0, kept = 0; i <= n; i++) {                   /* those of the other collection are not ours */
		if (i == n) n = kept;
		else if (i % 50) memmove(words[kept++], words[i], sizeof *words);
	}
	CHECK_OK(cursor_open(&c, t, T_POST, &e), e);
	for (int i = 0; i < 300; i++) {
		char asked[32];
		word_make(&seed, asked);
		compare_near(&c, words, n, asked, 1);
		compare_near(&c, words, n, asked, 2);
		compare_near(&c, words, n, words[next(&seed) % n], 2);
	}
	cursor_close(&c);
	txn_abort(t);
	store_close(st);
	buf_clear(&b);
}

static size_t search(struct index *x, const struct reader *r, const char *query)
{
	struct word_hit hits[HITS];
	struct snapshot *s;
	struct err e;
	size_t got;
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_search_words(s, r, query, strlen(query), HITS, hits, &got, &e), e);
	snapshot_close(s);
	return got;
}

TEST(similar_mistyped_and_unfinished_words)
{
	static const char *const staff[] = { "staff" };
	const struct reader some = { "c", 0, staff, 1, NULL, NULL }, none = { "c", 0, NULL, 0, NULL, NULL };
	struct index *x = help_open(test_dir());
	help_add(x, "c", "installation wombat", "a", 1, 3, NULL, NULL);
	help_add(x, "c", "kangaroo instruments", "b", 2, 4, "staff", NULL);
	help_add(x, "c", "honey", "h", 3, 2, NULL, NULL);
	CHECK_INT(search(x, &everyone, "wombat"), 3);
	CHECK_INT(search(x, &everyone, "wombt "), 3);       /* left out */
	CHECK_INT(search(x, &everyone, "wobmat "), 3);      /* changed over */
	CHECK_INT(search(x, &everyone, "wobmta "), 0);      /* two edits of six letters */
	CHECK_INT(search(x, &everyone, "kanqarou "), 4);    /* two of eight */
	CHECK_INT(search(x, &everyone, "honny "), 2);      /* "honni" and "honey" are two apart, what was written is one */
	CHECK_INT(search(x, &everyone, "xombat "), 0);      /* the first letter holds */
	CHECK_INT(search(x, &everyone, "inst"), 7);         /* unfinished */
	CHECK_INT(search(x, &everyone, "inst "), 0);        /* finished */
	CHECK_INT(search(x, &everyone, "inst wombat"), 3);  /* not the last one */
	CHECK_INT(search(x, &everyone, "womb instru"), 4);
	CHECK_INT(search(x, &some, "kangaro "), 4);
	CHECK_INT(search(x, &none, "kangaro "), 0);         /* no word of what may not be seen */
	CHECK_INT(search(x, &none, "inst"), 3);
	index_close(x);
}

static void suggests(struct index *x, const struct reader *r, const char *query, const char *due)
{
	struct suggestion list[5];
	struct snapshot *s;
	struct arena a;
	struct err e;
	char text[512] = "";
	size_t n, at = 0;
	arena_init(&a, 1 << 20);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_suggest(s, r, query, strlen(query), 5, &a, list, &n, &e), e);
	for (size_t i = 0; i < n; i++) {
		at += (size_t)snprintf(text + at, sizeof text - at, "%s|", list[i].text);
		CHECK(list[i].score > 0 && (i == 0 || list[i].score <= list[i - 1].score));
	}
	CHECK_STR(text, due);
	snapshot_close(s);
	arena_clear(&a);
}

TEST(similar_of_many_beginnings_the_frequent_come)
{
	struct index *x = help_open(test_dir());
	for (int part = 0; part < 4; part++) {
		char name[200] = "", source[] = { (char)('a' + part), 0 };
		for (int i = 0; i < (SIMILAR_MAX + 16) / 4; i++) snprintf(name + strlen(name), sizeof name - strlen(name), "pre%c%c ", 'b' + part, 'b' + i);
		help_add(x, "c", name, source, (uint64_t)part, 1, NULL, NULL);
	}
	help_add(x, "c", "prezz", "z", 2, 2, NULL, NULL);
	CHECK(search(x, &everyone, "pre") >= 3);
	suggests(x, &everyone, "p", "prezz|prebb|prebc|prebd|prebe|");
	index_close(x);
}

TEST(similar_suggestions_have_the_form_that_stands_most_often)
{
	struct index *x = help_open(test_dir());
	help_add(x, "c", "Leaving early", "a", 1, 1, NULL, NULL);
	help_add(x, "c", "Days of leave", "b", 2, 1, NULL, NULL);
	help_add(x, "c", "Parental leave", "c", 3, 1, NULL, NULL);
	suggests(x, &everyone, "leav", "leave|");
	suggests(x, &everyone, "leave", "leave|");
	index_close(x);
}

/* More hidden words than are kept, each more frequent than the one that may be seen. */
TEST(similar_hidden_words_take_no_place)
{
	const struct reader none = { "c", 0, NULL, 0, NULL, NULL };
	struct index *x = help_open(test_dir());
	struct err e;
	char text[16];
	for (int i = 0; i < 2 * (SIMILAR_MAX + 6); i++) {
		char source[16];
		snprintf(text, sizeof text, "zebr%c%c%c", 'a' + i / 2 % 26, 'a' + i / 52, 'b');
		snprintf(source, sizeof source, "h%d", i);
		help_add(x, "c", text, source, (uint64_t)i + 1, 1, "hidden", NULL);
	}
	help_add(x, "c", "zebrafish", "z", 900, 1, NULL, NULL);
	for (int round = 0; round < 2; round++) {    /* from the store, then from memory */
		suggests(x, &none, "zebr", "zebrafish|");
		CHECK_INT(search(x, &none, "zebr"), 1);
		CHECK_INT(search(x, &none, "zebrafihs"), 1);
		CHECK(search(x, &everyone, "zebr") > 1);
		CHECK_OK(index_rebuild_wait(x, &e), e);
	}
	index_close(x);
}

TEST(similar_suggestions_are_words_that_the_reader_sees)
{
	static const char *const staff[] = { "staff" };
	const struct reader some = { "c", 0, staff, 1, NULL, NULL }, none = { "c", 0, NULL, 0, NULL, NULL };
	struct index *x = help_open(test_dir());
	char query[SUGGEST_QUERY_MAX + 2];
	struct snapshot *s;
	struct err e;
	size_t n;
	help_add(x, "c", "Installation of wombats", "a", 1, 3, NULL, NULL);
	help_add(x, "c", "Instruments, Öfen", "b", 2, 4, "staff", NULL);
	suggests(x, &everyone, "the inst", "the Instruments|the Installation|");
	suggests(x, &some, "the inst", "the Instruments|the Installation|");
	suggests(x, &none, "the inst", "the Installation|");
	suggests(x, &none, "instrumetn", "");
	suggests(x, &some, "instrumetn", "Instruments|");
	suggests(x, &some, "öfe", "Öfen|");
	suggests(x, &everyone, "wobmat", "wombats|");
	suggests(x, &everyone, "ö", "of|Öfen|");          /* one letter is a beginning too */
	suggests(x, &none, "a w", "a wombats|");
	suggests(x, &none, "a", "A|");
	suggests(x, &everyone, "inst ", "");
	suggests(x, &everyone, "", "");
	suggests(x, &(struct reader){ "nowhere", 1, NULL, 0, NULL, NULL }, "inst", "");
	memset(query, 'a', sizeof query);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_INT(snapshot_suggest(s, &everyone, query, sizeof query, 1, NULL, NULL, &n, &e), E_LIMIT);
	CHECK_INT(snapshot_suggest(s, &(struct reader){ NULL, 1, NULL, 0, NULL, NULL }, "a", 1, 1, NULL, NULL, &n, &e), E_USAGE);
	snapshot_close(s);
	index_close(x);
}
