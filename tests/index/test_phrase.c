/* test_phrase.c: phrases in queries, and searches that ask for them: words in a row, in one text, in every mode, within what
 * the reader sees. */
#include <string.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "index/phrase.h"
#include "tests/index/help.h"
#include "tests/test.h"

enum { HITS = 20 };

static const char *parsed(const char *query, struct arena *a)
{
	const struct phrases *p;
	const char *s = "";
	struct err e;
	CHECK_OK(phrases_parse(&p, query, strlen(query), a, &e), e);
	CHECK(!p || p->n);
	for (size_t i = 0; p && i < p->n; i++) s = arena_printf(a, "%s[%.*s]", s, (int)p->at[i].len, p->at[i].text);
	return s;
}

TEST(phrases_stand_in_quotation_marks)
{
	static const struct { const char *query, *phrases; } cases[] = {
		{ "no marks at all", "" },
		{ "\"to be\" or \"not to be\"", "[to be][not to be]" },
		{ "the “night bridge” and „die Brücke“ and „sic” and «le pont» »Nacht«", "[night bridge][die Brücke][sic][le pont][Nacht]" },
		{ "東京「大学 病院」『本』と", "[大学 病院][本]" },
		{ "a \"single one", "" }, { "one left” over", "" }, { "a \"b\" c\"", "[b]" }, { "„open «shut» \"", "[shut]" },
		{ "5\" and 6\" pipes", "" }, { "\"the 5\" pipe", "[the 5]" }, { "\"\" \" \" \"--\" \"x\"", "[x]" },
		{ "", "" }, { "\"", "" }, { "bad \xff \"x\"", "" },
	};
	struct arena a;
	arena_init(&a, 1 << 20);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) CHECK_STR(parsed(cases[i].query, &a), cases[i].phrases);
	arena_clear(&a);
}

/* Marks that begin nothing, very many of them, are no work; too many phrases are refused. */
TEST(phrases_of_a_very_long_query)
{
	static const char *const marks[] = { "„", "“", "«", "「", "\" ", "„«»" };
	enum { MANY = 400000 };
	const struct phrases *p;
	struct buf b;
	struct arena a;
	struct err e;
	arena_init(&a, 1 << 20);
	buf_init(&b, 8 << 20);
	for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
		buf_reset(&b);
		for (size_t n = 0; n < MANY; n++) buf_puts(&b, marks[i]);
		CHECK_OK(phrases_parse(&p, buf_cstr(&b), b.len, &a, &e), e);
		CHECK(!p);
		buf_puts(&b, i == 1 || i == 5 ? "”" : "» \" “ 」");
		CHECK_OK(phrases_parse(&p, buf_cstr(&b), b.len, &a, &e), e);
		CHECK(!p);
	}
	buf_reset(&b);
	for (size_t n = 0; n < PHRASES_MAX; n++) buf_printf(&b, "“word %zu” ", n);
	CHECK_OK(phrases_parse(&p, buf_cstr(&b), b.len, &a, &e), e);
	CHECK(p && p->n == PHRASES_MAX && memcmp(p->at[PHRASES_MAX - 1].text, "word 99", 7) == 0);
	buf_puts(&b, "“another”");
	CHECK_INT(phrases_parse(&p, buf_cstr(&b), b.len, &a, &e), E_USAGE);
	CHECK_MSG(strstr(e.msg, "100 phrases"), "%s", e.msg);
	buf_clear(&b);
	arena_clear(&a);
}

/* A document of one chunk. */
static void put(struct index *x, const char *source, const char *title, const char *heading, const char *text, const char *acl)
{
	struct span all = { 0, (uint32_t)strlen(text) };
	struct chunk_in chunk = { all, heading, 0, &all, 1 };
	struct doc_in d = { .collection = "c", .title = title, .source = source, .type = "txt", .meta = "{}", .verdict = DOC_ADDED, .text = text,
		.text_len = all.len, .bytes = all.len, .chunks = &chunk, .chunk_n = 1, .acl = &acl, .acl_n = acl != NULL };
	float vector[DIM];
	struct write *w;
	struct err e;
	char id[64];
	int verdict;
	help_unit((uint64_t)source[0], vector, DIM);
	d.vectors = vector;
	memcpy(d.hash, source, strlen(source));
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_OK(index_put(w, &d, id, &verdict, &e), e);
	CHECK_OK(index_write_commit(w, &e), e);
}

/* Sources of what is found, in alphabetic order; the same by words and by vector. */
static const char *found(struct index *x, const struct reader *who, const char *query, struct arena *a)
{
	struct reader r = *who;
	struct word_hit words[HITS];
	struct vec_hit near[HITS];
	struct seen_count count;
	struct snapshot *s;
	struct err e;
	size_t n, m;
	float vector[DIM];
	char *out = arena_calloc(a, 1, 2 * HITS);
	help_unit(7, vector, DIM);
	CHECK_OK(phrases_parse(&r.phrases, query, strlen(query), a, &e), e);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_search_words(s, &r, query, strlen(query), HITS, words, &n, &e), e);
	CHECK_OK(snapshot_search(s, &r, vector, HITS, near, &m, &e), e);
	CHECK_OK(snapshot_count(s, &r, &count, &e), e);
	for (char c = 'a'; r.phrases && c <= 'z'; c++) {
		int by_words = 0, by_vector = 0;
		struct chunk chunk;
		struct doc d;
		for (size_t i = 0; i < n + m; i++) {
			CHECK_OK(snapshot_chunk(s, &r, i < n ? words[i].chunk_id : near[i - n].chunk_id, a, &chunk, &e), e);
			CHECK_OK(snapshot_doc_by_key(s, &r, chunk.doc_key, a, &d, &e), e);
			if (d.source[0] == c) *(i < n ? &by_words : &by_vector) += 1;
		}
		CHECK_MSG(by_words == by_vector, "%s: %c: %d by words, %d by vector", query, c, by_words, by_vector);
		CHECK(by_words < 2);
		if (by_words) out[strlen(out)] = c;
	}
	CHECK(!r.phrases || (count.chunks == n && count.documents == n && n == m));
	snapshot_close(s);
	return out;
}

TEST(phrases_are_words_in_a_row)
{
	const char *dir = test_dir();
	const char *mine = "staff";
	struct reader staff = { .collection = "c", .groups = &mine, .group_n = 1 }, nobody = { .collection = "c" };
	struct index *x = help_open(dir);
	struct arena a;
	arena_init(&a, 1 << 24);
	put(x, "a", "Hours", "", "The night bridge was closed. Over the river it opens.", NULL);
	put(x, "b", "Hours", "", "The bridge at night. A NIGHT, and a bridge.", NULL);
	put(x, "c", "The Who", "Concerts > Night", "Bridge of sighs: to be, or not to be.", NULL);
	put(x, "d", "Reports", "Night > Bridge", "Nothing here; cafe on the night-bridges.", "staff");
	put(x, "e", "本", "", "東京大学の病院。 京東", NULL);
	put(x, "f", "Bridge", "", "One Café", NULL);
	CHECK_STR(found(x, &everyone, "\"night bridge\"", &a), "ad");
	CHECK_STR(found(x, &everyone, "\"Nights BRIDGE\" whatever", &a), "ad");
	CHECK_STR(found(x, &staff, "“night bridge”", &a), "ad");
	CHECK_STR(found(x, &nobody, "“night bridge”", &a), "a");
	CHECK_STR(found(x, &everyone, "\"bridge night\"", &a), "");         /* the end of a heading and a text are apart */
	CHECK_STR(found(x, &everyone, "\"the bridge at\"", &a), "b");
	CHECK_STR(found(x, &everyone, "\"to be or not to be\"", &a), "c");
	CHECK_STR(found(x, &everyone, "\"the who\" zebra", &a), "c");       /* function words count, and are enough */
	CHECK_STR(found(x, &everyone, "\"night bridge\" \"over the river\"", &a), "a");
	CHECK_STR(found(x, &everyone, "\"night bridge\" \"sighs\"", &a), "");
	CHECK_STR(found(x, &everyone, "\"bridge\"", &a), "abcdf");
	CHECK_STR(found(x, &everyone, "\"cafe\"", &a), "df");
	CHECK_STR(found(x, &everyone, "\"one café\"", &a), "f");
	CHECK_STR(found(x, &everyone, "「東京」", &a), "e");
	CHECK_STR(found(x, &everyone, "「京大学」", &a), "e");
	CHECK_STR(found(x, &everyone, "「東大」", &a), "");
	CHECK_STR(found(x, &everyone, "\"nigt bridge\"", &a), "");          /* nothing is taken for mistyped */
	put(x, "a", "Hours", "", "The night is over, the bridge is closed.", NULL);
	CHECK_STR(found(x, &nobody, "\"night bridge\"", &a), "");
	arena_clear(&a);
	index_close(x);
}

#define GERMAN "Der Bericht ist von der Bank und wird nicht mit den anderen geführt. "
#define SPANISH "El informe es de la oficina y no se publica con los otros para el mes. "

/* How many chunks hold words of the query. */
static size_t hits_of(struct index *x, const char *query)
{
	struct word_hit hits[HITS];
	struct snapshot *s;
	struct err e;
	size_t n;
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_search_words(s, &everyone, query, strlen(query), HITS, hits, &n, &e), e);
	snapshot_close(s);
	return n;
}

TEST(phrases_and_words_have_the_stems_of_their_document)
{
	const char *dir = test_dir();
	struct index *x = help_open(dir);
	struct arena a;
	arena_init(&a, 1 << 24);
	put(x, "a", "", "", "The houses of the city were built in the country. Running is what it was for.", NULL);
	CHECK_INT(hits_of(x, "häuser "), 0);
	put(x, "b", "", "", GERMAN "Kleine Häuser stehen am Hafen, Verträge liegen im Büro.", NULL);
	put(x, "c", "", "", SPANISH "Las canciones antiguas.", NULL);
	put(x, "d", "", "", "Новые книги лежат на столе.", NULL);
	CHECK_INT(hits_of(x, "Haus"), 1);
	CHECK_INT(hits_of(x, "hauser"), 1);         /* marks are folded in every language */
	CHECK_INT(hits_of(x, "Vertrag"), 1);
	CHECK_INT(hits_of(x, "canción"), 1);
	CHECK_INT(hits_of(x, "новая книга"), 1);
	CHECK_INT(hits_of(x, "run house canción Vertrags книгами"), 4);
	CHECK_INT(hits_of(x, "vertrge "), 1);       /* mistyped */
	CHECK_STR(found(x, &everyone, "\"kleines Haus\"", &a), "b");
	CHECK_STR(found(x, &everyone, "\"Haus\"", &a), "b");
	CHECK_STR(found(x, &everyone, "\"house of the cities\"", &a), "a");
	CHECK_STR(found(x, &everyone, "\"canción antigua\"", &a), "c");
	CHECK_STR(found(x, &everyone, "\"новая книга\"", &a), "d");
	help_check_clean(x);
	put(x, "b", "", "", "This is now about the weather, and it is in English.", NULL);
	CHECK_INT(hits_of(x, "Vertrag "), 0);
	help_check_clean(x);
	index_close(x);
	arena_clear(&a);
}

/* "running" is another stem in German, and few passages are German: that makes it no rare word. */
TEST(words_are_not_rare_for_being_in_a_rare_language)
{
	struct index *x = help_open(test_dir());
	struct word_hit hits[HITS];
	struct snapshot *s;
	struct err e;
	size_t n;
	char source[8];
	for (int i = 0; i < 40; i++) {
		snprintf(source, sizeof source, "e%d", i);
		put(x, source, "", "", i < 4 ? "The running of the office was what it is for in these shoes." : "The running of the office was what it is for.", NULL);
	}
	put(x, "g", "", "", GERMAN "Running im Park.", NULL);
	CHECK_INT(hits_of(x, "running shoes"), HITS < 41 ? HITS : 41);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_search_words(s, &everyone, "running shoes", 13, HITS, hits, &n, &e), e);
	for (size_t i = 0; i < 4; i++) CHECK(hits[i].chunk_id <= 4);
	snapshot_close(s);
	index_close(x);
}

TEST(phrases_of_frequent_words_are_refused)
{
	const char *dir = test_dir(), *query = "\"sentence 1 of\"", *rare = "\"of name7\"", *single = "\"sentence\"";
	struct index_options o = help_options(dir);
	struct reader r = everyone;
	struct word_hit hits[HITS];
	struct snapshot *s;
	struct index *x;
	struct arena a;
	struct err e;
	char name[16];
	size_t n;
	arena_init(&a, 1 << 20);
	o.phrase_max = 9;
	CHECK_OK(index_open(&x, &o, &e), e);
	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof name, "name%d", i);
		help_add(x, "c", name, name, (uint64_t)i, 3, NULL, NULL);
	}
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(phrases_parse(&r.phrases, query, strlen(query), &a, &e), e);
	CHECK_INT(snapshot_search_words(s, &r, query, strlen(query), HITS, hits, &n, &e), E_USAGE);
	CHECK_MSG(strstr(e.msg, "10 passages") && strstr(e.msg, "search.phrase_max"), "%s", e.msg);
	CHECK_OK(phrases_parse(&r.phrases, rare, strlen(rare), &a, &e), e);
	CHECK_OK(snapshot_search_words(s, &r, rare, strlen(rare), HITS, hits, &n, &e), e);
	CHECK_INT(n, 3);
	CHECK_OK(phrases_parse(&r.phrases, single, strlen(single), &a, &e), e); /* a word alone needs no reading */
	CHECK_OK(snapshot_search_words(s, &r, single, strlen(single), HITS, hits, &n, &e), e);
	CHECK_INT(n, HITS);
	snapshot_close(s);
	index_close(x);
	arena_clear(&a);
}
