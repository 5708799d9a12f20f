/* What may be written between quotation marks and as numbers: case by case, by random tokens, and with real tokenizers. */
#include <stdlib.h>
#include "base/mem.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "generate/constrain.h"
#include "generate/generate.h"
#include "tests/test.h"

static struct constrain *c;

static void build(const char *passage, const char *question)
{
	const struct constrain_source s[] = { { passage, strlen(passage), 1 }, { question, strlen(question), 0 } };
	struct err e;
	constrain_free(c);
	CHECK_OK(constrain_new(&c, s, 2, &e), e);
}

/* 2: the text may stand so; 1: it may be gone on with, but not end; 0: refused. The same byte by byte and as one token. */
static int allows_in(enum constrain_mode mode, const char *text)
{
	struct constrain_state s, one;
	size_t n = strlen(text), i = 0;
	constrain_begin(c, &s, mode);
	one = s;
	while (i < n && constrain_put(c, &s, text + i, 1)) i++;
	CHECK_MSG(constrain_put(c, &one, text, n) == (i == n), "\"%s\" as one token", text);
	return i < n ? 0 : 1 + constrain_may_end(c, &s);
}

static int allows(const char *text)
{
	return allows_in(CONSTRAIN_FREE, text);
}

#define WHOLE(text) CHECK_MSG(allows(text) == 2, "refused or open: %s", text)
#define OPEN(text) CHECK_MSG(allows(text) == 1, "refused or whole: %s", text)
#define REFUSED(text) CHECK_MSG(allows(text) == 0, "allowed: %s", text)

TEST(constrain_numbers)
{
	build("In 1984 it cost 1,234.5 euros at 10:30, as version 2.5.1 of COVID-19 in the 1970s said. The 2nd came 2001-09-11, 6 000 of 7.", "Since 1066?");
	WHOLE("It cost 1,234.5 euros.");
	WHOLE("1984");                            /* at the beginning of a text */
	WHOLE("The 2nd, COVID-19 and the 1970s: 7, 1984.");
	WHOLE("In 1970 nobody asked; in 1066 they did.");
	WHOLE("nineteen eighty-five, MMXX and \342\205\247 are words");
	WHOLE("On 2001-09-11 at 10:30.");
	WHOLE("6 000");
	OPEN("It cost 1");
	OPEN("It cost 1,");
	OPEN("It cost 1,234");
	REFUSED("It cost 1,235");
	REFUSED("It cost 1,234 ");
	REFUSED("It cost 1,234.5,6");
	REFUSED("It cost 234.5");
	REFUSED("It cost 1234.5");
	REFUSED("In 198 ");
	REFUSED("In 19845");
	REFUSED("In 84");
	REFUSED("version 2.5 ");
	REFUSED("version 5.1");
	REFUSED("at 10 ");
	REFUSED("at 30");
	REFUSED("3. A list");
	OPEN("In 198");
	WHOLE("In 1984.");
	WHOLE("In 1984, 1066.");
	REFUSED("In 1984,1066");
	REFUSED("In 1984.5");
	WHOLE("1970s 1970's (1970)");
}

TEST(constrain_numbers_none)
{
	build("No figures at all.", "How many?");
	for (char d = '0'; d <= '9'; d++) CHECK(allows((char[]){ 'x', d, 0 }) == 0);
	WHOLE("Seven.");
	build("", "Why in 12:15?");
	WHOLE("12:15");
	REFUSED("12 ");
	REFUSED("\"");                            /* nothing can be quoted */
	REFUSED("\"Why");
}

TEST(constrain_numbers_of_other_scripts)
{
	build("\331\241\331\251\331\250\331\244 \330\263\331\206\330\251 \344\272\214\345\215\201\344\270\211\345\271\264 1980\345\271\264 \357\274\221\357\274\222 \331\243\331\253\331\245", "");
	WHOLE("\331\241\331\251\331\250\331\244 x");          /* Arabic-Indic 1984 */
	OPEN("\331\241\331\251");
	REFUSED("\331\241\331\251 ");
	REFUSED("\331\242");
	REFUSED("1984");
	WHOLE("1980\345\271\264");                            /* before a CJK letter */
	WHOLE("\345\233\233\345\215\201\345\271\264");        /* CJK number words are words */
	WHOLE("\357\274\221\357\274\222");                    /* full width */
	REFUSED("\357\274\221 ");
	WHOLE("\331\243\331\253\331\245");                    /* with the Arabic decimal sign */
	REFUSED("\331\243 ");
}

TEST(constrain_quotes)
{
	build("The Kolm harbour is open  all\n\nyear, said the \"old\" master \342\200\234Ada\342\200\235. It's 1,250 metres long\342\200\246 really.", "What is \"blue\"?");
	WHOLE("He said \"open all year\" once.");
	WHOLE("He said \"open\nall year\".");
	WHOLE("\342\200\234The Kolm harbour\342\200\235 and \342\200\236harbour is\342\200\234 and \302\253 is open \302\273 and \302\273harbour\302\253");
	WHOLE("\343\200\214Kolm\343\200\215 \343\200\216harbour\343\200\217 \357\274\202open\357\274\202 \342\200\234Ada\"");
	WHOLE("\"1,250 metres\", \"It's 1,250\", \"said the\"");
	WHOLE("it's the harbours' 'own' \342\200\230free\342\200\231 word");
	WHOLE("\"long\342\200\246 really.\"");
	WHOLE("\"Ada\"");
	OPEN("\"open all");
	OPEN("\"");
	REFUSED("\"\"");
	REFUSED("\" open\"");
	REFUSED("\"closed");
	REFUSED("\"open every");
	REFUSED("\"blue");                        /* the question is no passage */
	REFUSED("\"arbour");                      /* from the middle of a word */
	REFUSED("\"harb\"");                      /* to the middle of one */
	REFUSED("\"250 metres");
	REFUSED("\"It's 1\"");
	REFUSED("\"Open");
	REFUSED("\"really.Kolm");
	OPEN("\"open\"\"");                      /* the next one begins */
	REFUSED("\342\200\234open\342\200\230");
	REFUSED("\342\200\234open \342\200\235 x \342\200\235\302\253\302\273");
	WHOLE("a pipe of 1,250\" width");         /* inches */
	REFUSED("1,250\342\200\234x");
}

TEST(constrain_quotes_without_blanks)
{
	build("\345\244\247\351\230\252\343\201\257\345\244\247\343\201\215\343\201\204\347\224\272\343\200\202 \340\270\237\340\270\262\340\271\211", "");
	WHOLE("\343\200\214\345\244\247\343\201\215\343\201\204\343\200\215"); /* begins and ends between letters */
	REFUSED("\343\200\214\345\260\217");
	REFUSED("\342\200\234\340\270\237\340\270\262\342\200\235"); /* a mark belongs to its letter */
	WHOLE("\342\200\234\340\270\237\340\270\262\340\271\211\342\200\235");
}

TEST(constrain_copy)
{
	build("The limit is 140 euros a night. Ask first.", "140?");
	CHECK_INT(allows_in(CONSTRAIN_COPY, " The limit is 140 euros"), 2);
	CHECK_INT(allows_in(CONSTRAIN_COPY, "140 euros a night. Ask first."), 2);
	CHECK_INT(allows_in(CONSTRAIN_COPY, "The lim"), 1);
	CHECK_INT(allows_in(CONSTRAIN_COPY, ""), 1);
	CHECK_INT(allows_in(CONSTRAIN_COPY, "The limit of"), 0);
	CHECK_INT(allows_in(CONSTRAIN_COPY, "\""), 0);
	CHECK_INT(allows_in(CONSTRAIN_COPY, "imit"), 0);
	build("", "The question");
	CHECK_INT(allows_in(CONSTRAIN_COPY, "The"), 0);
}

TEST(constrain_bad_bytes)
{
	struct constrain_state s, before;
	build("Caf\303\251 \342\200\224 x 5", "");
	REFUSED("\377");
	REFUSED("\303\303");
	REFUSED("\200");
	REFUSED("\355\240\200");
	REFUSED("a\376");
	OPEN("caf\303");
	WHOLE("caf\303\252");
	constrain_begin(c, &s, CONSTRAIN_FREE);
	CHECK(constrain_put(c, &s, "\"Caf\303", 5));
	before = s;
	CHECK(!constrain_put(c, &s, "\252", 1) && memcmp(&s, &before, sizeof s) == 0); /* another letter: as it was */
	CHECK(constrain_put(c, &s, "\251\"", 2) && constrain_may_end(c, &s));
	CHECK(!constrain_put(c, &s, "4", 1) && constrain_put(c, &s, "", 0));
	constrain_free(c);
	c = NULL;
	constrain_free(NULL);
}

/* --- by chance --- */
static uint32_t seed = 11;
static uint32_t random_n(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

/* White space made single blanks. */
static char *plain(const char *text)
{
	char *out = mem_alloc(strlen(text) + 1);
	size_t n = 0;
	for (size_t i = 0, len = strlen(text); i < len;) {
		size_t at = i;
		int32_t cp = utf8_next(text, len, &i);
		if (uni_is_white_space((uint32_t)cp)) {
			if (n && out[n - 1] != ' ') out[n++] = ' ';
		} else {
			memcpy(out + n, text + at, i - at);
			n += i - at;
		}
	}
	out[n] = 0;
	return out;
}

/* The ASCII number that begins at s: digits with single points between. */
static size_t number_len(const char *s)
{
	size_t n = 0;
	while ((s[n] >= '0' && s[n] <= '9') || (n && s[n] && strchr(".,:", s[n]) && s[n + 1] >= '0' && s[n + 1] <= '9')) n++;
	return n;
}

static int has_number(const char *text, const char *number, size_t len)
{
	for (const char *s = text; *s;) {
		size_t n = number_len(s);
		if (n && n == len && memcmp(s, number, len) == 0) return 1;
		s += n ? n : 1;
	}
	return 0;
}

static const struct { const char *open, *close[3]; } marks[] = { { "\"", { "\"" } }, { "\342\200\234", { "\342\200\235", "\"" } },
	{ "\342\200\236", { "\342\200\234", "\342\200\235", "\"" } }, { "\302\253", { "\302\273" } }, { "\302\273", { "\302\253" } },
	{ "\343\200\214", { "\343\200\215" } }, { "\343\200\216", { "\343\200\217" } }, { "\357\274\202", { "\357\274\202" } } };

/* Behind the quotation of kind k that begins at s, which must be the source's. */
static char *quote_check(char *s, size_t k, const char *source, const char *all)
{
	char *from = s + strlen(marks[k].open), *end = from;
	for (; *end; end++) {
		for (size_t i = 0; i < 3 && marks[k].close[i]; i++) {
			size_t n = strlen(marks[k].close[i]);
			char *a = from, *b = end;
			if (strncmp(end, marks[k].close[i], n)) continue;
			while (k == 3 || k == 4 ? a < b && *a == ' ' : 0) a++;
			while ((k == 3 || k == 4) && b > a && b[-1] == ' ') b--;
			CHECK_MSG(b > a && memmem(source, strlen(source), a, (size_t)(b - a)), "%.*s is no quotation: %s", (int)(b - a), a, all);
			return end + n;
		}
	}
	CHECK_MSG(0, "a quotation does not end: %s", all);
	return end;
}

/* Every quotation and every number outside of them is the sources'. Another way than the automaton's: by search. The text is
 * whole. */
static void check_text(const char *text, const char *passages, const char *asked)
{
	char *flat = plain(text), *source = plain(passages);
	for (char *s = flat; *s;) {
		size_t n = number_len(s), k = 0;
		while (k < sizeof marks / sizeof *marks && strncmp(s, marks[k].open, strlen(marks[k].open))) k++;
		if (n) {
			CHECK_MSG(has_number(passages, s, n) || has_number(asked, s, n), "%.*s is no number of the sources: %s", (int)n, s, text);
			s += n;
			if (*s == '"') s++;
		} else if (k < sizeof marks / sizeof *marks) s = quote_check(s, k, source, text);
		else s++;
	}
	mem_free(flat);
	mem_free(source);
}

static const char passage[] = "In 1984, the \"Kolm\" harbour cost 1,234.5 euros; at 10:30 (\342\200\234Ada\342\200\235 said so) it's the 2nd of\n12 "
	"such caf\303\251s. COVID-19 came 1.5 years later.  Number 7... was 1984:1985. \"Or not\", said 33 \"men\".";
static const char question[] = "What is 42.0?";

/* A random token: bytes, pieces of the passage, digits and marks mixed. */
static size_t random_token(char *out)
{
	static const char *const pieces[] = { "\"", " \"", "\342\200\234", "\342\200\235", "1", "19", "84", "1,", ",234", ".5", " 7", "0", " the", " Kolm", "42",
		".0", "10:", "30", ".\"", "\",", "\"1", "2nd", " \"In", "\303", "\251", "\342\200", "\234", "\342", "\302\253", "\302\273", " ", "\n", ". ", "caf" };
	size_t from = random_n(sizeof passage - 1), n = 1 + random_n(5);
	if (random_n(3) == 0) {
		n = n < sizeof passage - 1 - from ? n : sizeof passage - 1 - from;
		memcpy(out, passage + from, n);
		return n;
	}
	if (random_n(8) == 0) {
		*out = (char)random_n(256);
		return 1;
	}
	const char *p = pieces[random_n(sizeof pieces / sizeof *pieces)];
	memcpy(out, p, strlen(p));
	return strlen(p);
}

/* A byte that is allowed, by chance; 0: none is. */
static int random_byte(struct constrain_state *s, char *out)
{
	for (unsigned i = 0, from = random_n(256); i < 256; i++) {
		*out = (char)((from + i) % 256);
		if (*out && constrain_put(c, s, out, 1)) return 1;
	}
	return 0;
}

TEST(constrain_random)
{
	static char text[4000];
	size_t quotes = 0, numbers = 0;
	build(passage, question);
	for (int round = 0; round < 3000; round++) {
		struct constrain_state s;
		size_t n = 0, steps = 1 + random_n(40), tries = 0;
		constrain_begin(c, &s, CONSTRAIN_FREE);
		for (size_t k = 0; k < steps || !constrain_may_end(c, &s); k++) {
			size_t len = k < steps ? random_token(text + n) : 0;
			if (len && !constrain_put(c, &s, text + n, len)) len = 0;
			if (!len) {
				CHECK_MSG(random_byte(&s, text + n), "no way on from: %.*s", (int)n, text);
				len = 1;
			}
			n += len;
			CHECK(n < sizeof text - 20 && ++tries < 3000);
		}
		text[n] = 0;
		CHECK_MSG(utf8_valid(text, n), "%s", text);
		check_text(text, passage, question);
		quotes += strchr(text, '"') != NULL;
		numbers += strpbrk(text, "123456789") != NULL;
	}
	CHECK_MSG(quotes > 500 && numbers > 500, "%zu with quotations, %zu with numbers", quotes, numbers);
	constrain_free(c);
	c = NULL;
}

/* Long texts that repeat themselves take no longer than others. */
TEST(constrain_large)
{
	enum { LEN = 300000 };
	char *text = mem_alloc(LEN + 1);
	struct constrain_state s;
	for (size_t i = 0; i < LEN; i++) text[i] = i % 1000 == 999 ? ' ' : i % 3 ? 'a' : '1';
	text[LEN] = 0;
	build(text, "");
	constrain_begin(c, &s, CONSTRAIN_COPY);
	CHECK(constrain_put(c, &s, text, LEN - 1) && constrain_may_end(c, &s) && !constrain_put(c, &s, "a", 1));
	mem_free(text);
	constrain_free(c);
	c = NULL;
}

/* --- with models --- */
struct masked { struct constrain_state s; size_t refused, asked; };

static enum gen_verdict mask(void *ctx, const struct gen_view *v, struct gen_steer *s)
{
	struct masked *m = ctx;
	(void)s;
	m->asked++;
	if (v->is_stop ? constrain_may_end(c, &m->s) : v->piece_len && constrain_put(c, &m->s, v->piece, v->piece_len)) return GEN_ACCEPT;
	m->refused++;
	return GEN_REFUSE;
}

/* Asked for what it can't give, a model gives none; greedy and drawn. */
static void check_model(const char *name)
{
	static const char *const wants[] = { "Repeat with many more years and prices:", "Quote \"famous\" words of three people with their years:\n1. \"" };
	const char *path = test_model(name);
	struct generator_options o = { .path = path, .device = "cpu", .threads = 1, .context_max = 512, .draft_max = 4 };
	struct generator *g;
	struct tokens t = { 0 };
	struct gen_result r;
	struct gen_params p;
	struct err e;
	size_t refused = 0;
	if (!path) test_skip("%s was not fetched", name);
	build(passage, question);
	CHECK_OK(generator_open(&g, &o, &e), e);
	for (int i = 0; i < 6; i++) {
		char text[600];
		struct masked m = { .refused = 0 };
		const struct gen_constraint constraint = { &m, mask };
		int n = snprintf(text, sizeof text, "%s %s\n", passage, wants[i % 2]);
		constrain_begin(c, &m.s, CONSTRAIN_FREE);
		gen_params_default(&p);
		p.max_tokens = 40;
		p.temperature = i / 2 * 0.8f;
		p.top_k = i / 2 == 2 ? 40 : 0;
		p.seed = (uint64_t)i;
		t.n = 0;
		CHECK_OK(generator_tokenize(g, text, (size_t)n, &t, &e), e);
		CHECK_OK(generate(g, t.ids, t.n, &p, &constraint, NULL, NULL, NULL, &r, &e), e);
		CHECK(r.finish == GEN_END_LENGTH || r.finish == GEN_END_STOP);
		if (constrain_may_end(c, &m.s)) check_text(buf_cstr(&r.text), passage, question);
		refused += m.refused;
		buf_clear(&r.text);
	}
	CHECK_MSG(refused > 5, "%zu refused", refused);
	tokens_clear(&t);
	generator_close(g);
	constrain_free(c);
	c = NULL;
}

TEST(constrain_smollm2) { check_model("smollm2-135m-instruct-q4_1.gguf"); }
TEST(constrain_gemma) { check_model("gemma-3-270m-q4_k_m.gguf"); }
TEST(constrain_qwen) { check_model("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"); }
