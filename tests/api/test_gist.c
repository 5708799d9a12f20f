/* What counts as the same passage. */
#include "api/gist.h"
#include "tests/test.h"

static struct arena arena;
static struct err e;

static const char page[] =
	"The harbour office in Kolm is open from nine to five on working days. Boats that stay longer than one night pay a fee, which "
	"depends on their length and on the season. From May to September the fee is 14 crowns for each metre. Whoever arrives after "
	"the office has closed puts the fee into the box at the gate. Water and electricity are included, a berth at the outer pier is "
	"not. Dogs are welcome everywhere but on the bathing beach. The master of the harbour helps with repairs and knows which of the "
	"workshops in town has time for another engine this week.";

static int repeats(const char *later, const char *earlier)
{
	struct gist x, y;
	CHECK_OK(gist_take(later, strlen(later), WORDS_ENGLISH, &arena, &x, &e), e);
	CHECK_OK(gist_take(earlier, strlen(earlier), WORDS_ENGLISH, &arena, &y, &e), e);
	return gist_repeats(&x, &y);
}

/* The page with every `from` replaced. */
static const char *with(const char *from, const char *to)
{
	const char *out = "", *s = page, *at;
	CHECK(strstr(page, from) != NULL);
	for (; (at = strstr(s, from)); s = at + strlen(from)) out = arena_printf(&arena, "%s%.*s%s", out, (int)(at - s), s, to);
	return arena_printf(&arena, "%s%s", out, s);
}

TEST(gist_copies_are_the_same)
{
	arena_init(&arena, 1 << 24);
	CHECK(repeats(page, page));
	CHECK(repeats(with(" ", " \n\t"), page));
	CHECK(repeats(with("The harbour", "THE HARBOUR"), page));
	CHECK(repeats(with(".", " –"), page));
	CHECK(repeats(with("another engine", "one more engine"), page));
	CHECK(repeats(with("The harbour office", "Kolm, notices\n\nThe harbour office"), page));
	CHECK(repeats("Yes", "yes."));
	arena_clear(&arena);
}

TEST(gist_what_says_something_else_is_not)
{
	char half[sizeof page];
	arena_init(&arena, 1 << 24);
	CHECK(!repeats(with("14", "17"), page));
	CHECK(repeats(with("14 crowns", "some crowns"), page));  /* says less */
	CHECK(!repeats(page, with("14 crowns", "some crowns"))); /* and this one more */
	CHECK(!repeats(with("are welcome", "are not welcome"), page));
	snprintf(half, sizeof half, "%.*s", (int)(sizeof page / 2), page);
	CHECK(!repeats(half, page) && !repeats(page, half));
	CHECK(!repeats(with(" the ", " a rather "), page));
	CHECK(!repeats("", page) && !repeats(page, "") && !repeats("", ""));
	CHECK(!repeats("Yes", "No"));
	arena_clear(&arena);
}
