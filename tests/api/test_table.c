/* Rows of tables as extracted texts have them: what names their columns, what is no row; and answers that rest on them. */
#include "api/answer.h"
#include "api/table.h"
#include "tests/api/fresh.h"
#include "tests/test.h"

static struct arena arena;
static struct err e;
static struct table_row row;

/* The row of text that begins with `begins`, as it is said; "" when it is none. */
static const char *said(const char *text, const char *begins)
{
	const char *at = strstr(text, begins);
	struct span range = { (uint32_t)(at - text), (uint32_t)strcspn(at, "\n") };
	if (!table_row(text, strlen(text), range, &row)) return "";
	const char *out = table_said(text, &row, &arena);
	CHECK(out != NULL);
	return out;
}

static const char rooms[] = "Rooms are booked | here or there.\n\nRoom | Floor | Projector\nBerlin | 1 | yes\nDublin |  | no\n\nThe end.";

TEST(table_rows_take_the_names_of_their_columns)
{
	arena_init(&arena, 1 << 20);
	CHECK_STR(said(rooms, "Berlin"), "Room: Berlin; Floor: 1; Projector: yes");
	CHECK(!row.is_head && row.named && row.cell_n == 3);
	CHECK_INT(table_cell_at(&row, (size_t)(strstr(rooms, "yes") - rooms) + 1, 0), 2);
	CHECK_INT(table_cell_at(&row, 6, 1), 0);
	CHECK_INT(table_cell_at(&row, 0, 1), -1);
	size_t top = row.top;
	CHECK_STR(said(rooms, "Dublin"), "Room: Dublin; Projector: no");
	CHECK_INT(row.top, top);
	(void)said(rooms, "Room |");
	CHECK(row.is_head);
	CHECK_STR(said(rooms, "The end."), "");
	arena_clear(&arena);
}

TEST(table_rows_of_values_are_no_header)
{
	arena_init(&arena, 1 << 20);
	CHECK_STR(said("Monday | closed\nTuesday | 9-17\nFriday | 9-12", "Monday"), "Monday | closed");
	CHECK(!row.is_head && !row.named);
	CHECK_STR(said("Monday | closed | closed\nTuesday | 9-17 | 18-20", "Tuesday"), "Tuesday | 9-17 | 18-20");
	CHECK_STR(said("Landlord | Hansen\nTenant | Weber", "Tenant"), "Tenant | Weber");
	CHECK_STR(said("Item | Price\nLamp | 12\nChair | 40", "Chair"), "Item: Chair; Price: 40");
	CHECK_STR(said("A | B | C\nlonger | line | of | four", "longer"), "longer | line | of | four"); /* other columns, other table */
	arena_clear(&arena);
}

TEST(table_rows_that_name_themselves)
{
	static const char prices[] = "Product: Toner black; Price: 79\nProduct: Toner cyan; Price: 92\n\nNote: one; Hint: two";
	arena_init(&arena, 1 << 20);
	CHECK_STR(said(prices, "Product: Toner cyan"), "Product: Toner cyan; Price: 92");
	CHECK_INT(table_cell_at(&row, (size_t)(strstr(prices, "92") - prices), 0), 1);
	CHECK_INT(table_cell_at(&row, (size_t)(strstr(prices, "Price: 92") - prices), 0), -1);
	CHECK_STR(said(prices, "Note"), "");                     /* nothing beside it is like it */
	arena_clear(&arena);
}

static void event(void *ctx, const struct ingest_event *ev)
{
	(void)ctx;
	CHECK_MSG(ev->verdict == DOC_ADDED, "%s: %s", doc_verdict_name(ev->verdict), ev->reason);
}

static void put_file(struct service *s, const char *name, const char *data)
{
	const struct ingest_sink sink = { .event = event };
	struct ingest_item it = { .collection = "default", .title = "", .source = name, .name = name, .meta = "", .id = "",
		.data = data, .len = strlen(data) };
	struct ingest with;
	CHECK_OK(service_ingest(s, &with, NULL, &e), e);
	CHECK_OK(ingest_item(&with, &it, &sink, &e), e);
}

TEST(table_answers_come_from_the_row_that_is_asked_for)
{
	static const struct { const char *question, *quote, *core; } rows[] = {
		{ "How many seats does Copenhagen have?", "Copenhagen | 2 | 20 | yes | 35 euros", "20" },
		{ "What does the room Dublin cost per hour?", "Dublin | 3 | 4 | no | 8 euros", "8 euros" },
		{ "Does the room Dublin have a projector?", "Dublin | 3 | 4 | no | 8 euros", "no" },
		{ "How much does the toner cyan cost?", "Product: Toner cyan; Price in EUR: 92.00; Delivery time: 6 days", "92.00" },
	};
	struct conf conf;
	struct service *service;
	fresh_conf(&conf, NULL);
	CHECK_OK(service_open(&service, &conf, NEED_EMBEDDER, &e), e);
	put_file(service, "rooms.md", "# Meeting rooms\n\n| Room | Floor | Seats | Projector | Price per hour |\n| --- | --- | --- | --- | --- |\n"
		"| Amsterdam | 1 | 6 | no | 12 euros |\n| Copenhagen | 2 | 20 | yes | 35 euros |\n| Dublin | 3 | 4 | no | 8 euros |\n");
	put_file(service, "prices.csv", "Product,Price in EUR,Delivery time\nToner black,79.00,5 days\nToner cyan,92.00,6 days\nDesk lamp,39.95,10 days\n");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct answer_request q = { .reader = { .collection = "default", .all_groups = 1 }, .question = rows[i].question,
			.style = STYLE_EXTRACTIVE, .temperature = -1 };
		struct answer a;
		arena_init(&arena, 64 << 20);
		CHECK_OK(answer_run(service, &q, NULL, &arena, &a, &e), e);
		CHECK_MSG(a.citation_n == 1 && a.citations[0].quote_len == strlen(rows[i].quote) &&
			memcmp(a.citations[0].quote, rows[i].quote, strlen(rows[i].quote)) == 0, "%s: %s", rows[i].question, a.text);
		CHECK_MSG(a.has_short && a.short_answer.quote_len == strlen(rows[i].core) && memcmp(a.short_answer.quote, rows[i].core, strlen(rows[i].core)) == 0,
			"%s: %.*s", rows[i].question, a.has_short ? (int)a.short_answer.quote_len : 0, a.has_short ? a.short_answer.quote : "");
		CHECK_MSG(strstr(a.text, ": ") != NULL, "%s", a.text);  /* with the names of the columns */
		answer_close(&a);
		arena_clear(&arena);
	}
	service_close(service);
}
