/* Mistyped questions: read as the passages of the reader write it, and as they stand where nothing is near. */
#include <string.h>
#include "api/spell.h"
#include "base/mem.h"
#include "tests/api/fresh.h"
#include "tests/test.h"

static struct conf conf;
static struct service *service;
static struct arena arena;
static struct err e;
static const struct reader everyone = { .collection = "default", .all_groups = 1 };

static void open_filled(void)
{
	fresh_conf(&conf, NULL);
	CHECK_OK(service_open(&service, &conf, NEED_EMBEDDER, &e), e);
	arena_init(&arena, 64 << 20);
	fresh_put(service, "Library", "The library of Steinbruck opens at nine on weekdays. Borrowed books are renewed at the librarian's desk. "
		"The collections are catalogued.");
	fresh_put(service, "washing", "The sand filters of the waterworks are washed every two days by the Johansson brothers.");
	fresh_put(service, "theorem", "Fermat stated a theorem in a letter. The format of the letter was small. The themes were thees.");
	fresh_put(service, "ferry", "The ferry to Kvarnholm leaves the harbour at seven. A lantern hangs at the pier of Kvarnholm.");
	fresh_put(service, "lanterns", "A lintern is a beam over a gate in the Brackwater mills.");
	fresh_put_for(service, "merger", "The takeover of Quillfeather is planned for spring.", "board", NULL);
}

static void close_filled(void)
{
	arena_clear(&arena);
	service_close(service);
}

static const char *read_for(const struct reader *r, const char *question)
{
	const char *out = NULL;
	CHECK_OK(spell_read(service, r, question, &arena, &out, &e), e);
	return out;
}

static void reads(const char *question, const char *as)
{
	const char *out = read_for(&everyone, question);
	CHECK_MSG(strcmp(out, as) == 0, "\"%s\" was read as \"%s\", not \"%s\"", question, out, as);
}

TEST(slips_are_read_as_the_word_of_the_passages)
{
	open_filled();
	reads("When does the libarry open?", "When does the library open?");        /* changed over */
	reads("Where is the libraryy?", "Where is the library?");                    /* not as its title has it */
	reads("When does the libray open?", "When does the library open?");         /* left out */
	reads("When does the librarry open?", "When does the library open?");       /* doubled */
	reads("When does the libraty open?", "When does the library open?");        /* the key beside */
	reads("Libarry of Steimbruck", "Library of Steinbruck");
	reads("how often are the fliters of the watrworks wahsed", "how often are the filters of the waterworks washed");
	reads("When does the ferry to kvarnhlm leave?", "When does the ferry to Kvarnholm leave?");
	reads("Are there Stienbrcuk books?", "Are there Steinbruck books?");     /* two, in a long word */
	reads("whcih library opens at nine", "which library opens at nine");
	reads("Wht is over the gate?", "What is over the gate?");
	reads("What do the Johanson brothers do?", "What do the Johansson brothers do?");
	reads("Which collecitons are there?", "Which collections are there?");
	reads("Which collectinos are where?", "Which collections are where?");    /* where the stem was cut */
	close_filled();
}

TEST(an_ending_that_no_passage_has_is_kept)
{
	open_filled();
	reads("Who is catlaoguing books?", "Who is cataloguing books?");
	close_filled();
}

TEST(of_several_the_one_beside_the_other_words)
{
	open_filled();
	reads("What lntern is at the pier of Kvarnholm?", "What lantern is at the pier of Kvarnholm?");
	reads("What lntern is over a gate in the Brackwater mills?", "What lintern is over a gate in the Brackwater mills?");
	close_filled();
}

TEST(what_is_no_slip_stays)
{
	static const char *const as_they_are[] = {
		"When did Pierre de Fermat state it?", "Thees are the themes?",
		"When does the library open?", "Whom may I ask where it is situated?", "Is there a \"libarry\" in town?", "Is there a “libarry” in town?",
		"What is LIBARRY?", "What is libarry7?", "Who is at libarry@example.org or www.libarry.org?", "What is lib_libarry?", "Where is Kvornzjelm?",
		"图书馆什么时候开门？", "libSarry?", "It's at o'libarry?", "", "?",
	};
	open_filled();
	for (size_t i = 0; i < sizeof as_they_are / sizeof *as_they_are; i++) reads(as_they_are[i], as_they_are[i]);
	close_filled();
}

/* Words of other languages, and ones that no passage has and none that is held resembles. */
TEST(right_words_stay)
{
	static const char *const as_they_are[] = {
		"wifi password", "What is the wifi password?", "Darf ich meinen Hund mitbringen?", "Puis-je payer", "Puis-je payer avec une carte?", "Kann",
		"Kann ich mit Karte zahlen?", "Wo ist die libarry von Steinbruck?", "Who sits at the libarry-desk?", "What is the pre-libarry fee?",
		"Where is the libarry’s desk?",
	};
	open_filled();
	fresh_put(service, "guests", "The password of the guest network is on the receipt.");
	fresh_put(service, "Gäste", "Ich darf einen Ausweis mitbringen, meinen oder deinen. Ich muss bar zahlen, mit Geld.");
	fresh_put(service, "visiteurs", "Puis, je peux entrer avec une carte. On paye avec de la monnaie.");
	for (size_t i = 0; i < sizeof as_they_are / sizeof *as_they_are; i++) reads(as_they_are[i], as_they_are[i]);
	fresh_put(service, "players", "A dwarf and a player, pius both, shake a hand. They speak Kan.");
	for (size_t i = 0; i < sizeof as_they_are / sizeof *as_they_are; i++) reads(as_they_are[i], as_they_are[i]);
	close_filled();
}

TEST(a_common_word_is_read_where_a_passage_holds_it)
{
	open_filled();
	reads("hw do i cancle my borrowed books", "hw do i cancle my borrowed books");
	fresh_put(service, "orders", "To cancel an order, write to the desk within a day.");
	reads("hw do i cancle my borrowed books", "hw do i cancel my borrowed books");
	close_filled();
}

/* A slip in a word that only others may read must not come back as that word. */
TEST(words_that_the_reader_may_not_see_are_not_told)
{
	static const char *const groups[] = { "board" };
	const struct reader board = { .collection = "default", .groups = groups, .group_n = 1 }, nobody = { .collection = "default" };
	open_filled();
	CHECK_STR(read_for(&board, "When is Quilfeather taken over?"), "When is Quillfeather taken over?");
	CHECK_STR(read_for(&nobody, "When is Quilfeather taken over?"), "When is Quilfeather taken over?");
	CHECK_STR(read_for(&nobody, "When does the libarry open?"), "When does the library open?");
	close_filled();
}

/* Trials are searches: a text of many slips must not cost as many. */
TEST(texts_of_many_slips_are_read_for_the_first_few)
{
	char *pages = mem_alloc(9001);
	open_filled();
	reads("whcih whcih whcih whcih whcih whcih whcih whcih whcih libarry", "which which which which which which which which whcih library");
	memset(pages, ' ', 9000);
	memcpy(pages, "libarry", 7);
	memcpy(pages + 8993, "libarry", 7);
	pages[9000] = 0;
	reads(pages, pages);
	mem_free(pages);
	close_filled();
}

TEST(an_empty_store_reads_as_typed)
{
	fresh_conf(&conf, NULL);
	CHECK_OK(service_open(&service, &conf, NEED_EMBEDDER, &e), e);
	arena_init(&arena, 64 << 20);
	reads("When does the libarry open?", "When does the libarry open?");
	close_filled();
}

TEST(a_word_of_many_thousand_letters_is_searched)
{
	char *word = mem_alloc(40001);
	struct snapshot *s;
	struct word_hit hit;
	size_t got = 1;
	open_filled();
	memset(word, 'a', 40000);
	word[40000] = 0;
	CHECK_OK(snapshot_open(&s, service->index, &e), e);
	CHECK_OK(snapshot_search_words(s, &everyone, word, 40000, 1, &hit, &got, &e), e);
	CHECK_INT(got, 0);
	snapshot_close(s);
	mem_free(word);
	close_filled();
}
