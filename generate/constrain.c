/* constrain.c: owns the automata over what texts hold (constrain.h).
 *
 * Quotable texts are joined into one string, white space made single blanks, a byte END after each, and a byte START
 * before each place where a quotation may begin. Its suffix automaton knows every piece; a quotation begins behind a START, and the
 * walk puts in the further ones by the rule that the index was made by, which looks only at the character before and
 * the number under way. END and START are no bytes of UTF-8, so no token runs over them. A state also knows whether its piece ends
 * at a border in one of its places: that of a longer piece is one of a shorter one that ends there, so borders are
 * handed down suffix links. Where a piece ends at none, each of its places goes on, and so may the text.
 * Numbers stand in a tree in which their ends are borders.
 * A token may end within a code point: its bytes wait in the state, and are allowed when some whole one is.
 * Threads: none. Failure: memory. */
#include "generate/constrain.h"
#include <string.h>
#include "base/buf.h"
#include "base/mem.h"
#include "base/unicode.h"
#include "base/utf8.h"

enum { START = 0xfe, END = 0xff, ROOT = 1, SOURCES_MAX = 4 << 20, CLOSERS = 3, GUILLEMET = 4, GUILLEMET_TURNED = 5, COPIED = 255 };
enum { RUN_NONE, RUN_DIGITS, RUN_POINT };
enum { WORD_NONE, WORD_JOINS, WORD_ALONE };

struct node { uint32_t link, len, edge; uint32_t border; };   /* node 0: nowhere; edge 0: the last */
struct edge { uint32_t next, to; uint32_t byte; };
struct graph { struct node *nodes; struct edge *edges; uint32_t node_n, edge_n; };
struct constrain { struct graph text, numbers; };

/* Marks that open a quotation, and those that close it; the kind is the row from 1 on. */
static const struct { uint32_t open, close[CLOSERS]; } marks[] = { { 0, { 0 } }, { '"', { '"' } }, { 0x201c, { 0x201d, '"' } },
	{ 0x201e, { 0x201c, 0x201d, '"' } }, { 0xab, { 0xbb } }, { 0xbb, { 0xab } }, { 0x300c, { 0x300d } }, { 0x300e, { 0x300f } },
	{ 0xff02, { 0xff02 } } };

static uint8_t mark_kind(uint32_t cp)
{
	for (uint8_t i = 1; i < sizeof marks / sizeof *marks; i++)
		if (marks[i].open == cp) return i;
	return 0;
}

static int closes(uint8_t kind, uint32_t cp)
{
	for (size_t i = 0; i < CLOSERS && cp; i++)
		if (marks[kind].close[i] == cp) return 1;
	return 0;
}

static int is_mark(uint32_t cp)
{
	return mark_kind(cp) || cp == 0x201d || cp == 0x300d || cp == 0x300f;
}

/* --- characters --- */
static int is_digit(uint32_t cp)
{
	return cp < 0x80 ? cp >= '0' && cp <= '9' : uni_class(cp) == UNI_NUMBER && strcmp(uni_category(cp), "Nd") == 0;
}

static int is_point(uint32_t cp)
{
	return cp == '.' || cp == ',' || cp == ':' || cp == 0x66b || cp == 0x66c;
}

/* Scripts without blanks: a border is beside each letter. */
static int is_alone(uint32_t cp)
{
	return cp >= 0x2e80 || (cp >= 0xe00 && cp < 0xf00) || (cp >= 0x1000 && cp < 0x10a0) || (cp >= 0x1780 && cp < 0x1800);
}

static uint8_t word_kind(uint32_t cp)
{
	return !uni_is_word(cp) ? WORD_NONE : is_alone(cp) && !is_digit(cp) ? WORD_ALONE : WORD_JOINS;
}

/* A border between the character before, described by run and word, and cp. */
static int is_border(const struct constrain_state *s, uint32_t cp)
{
	if (uni_class(cp) == UNI_MARK || (s->run && is_digit(cp))) return 0;
	return !(s->word == WORD_JOINS && word_kind(cp) == WORD_JOINS);
}

/* A quotation may begin with cp. Not with a mark, which might be taken for its end, nor with the point in a number: from there on
 * the rule would not know that it is one. */
static int is_start(const struct constrain_state *s, uint32_t cp)
{
	return is_border(s, cp) && !uni_is_white_space(cp) && !is_mark(cp) && !(s->run == RUN_DIGITS && is_point(cp));
}

static void went_by(struct constrain_state *s, uint32_t cp)
{
	s->run = is_digit(cp) ? RUN_DIGITS : s->run == RUN_DIGITS && is_point(cp) ? RUN_POINT : RUN_NONE;
	s->word = word_kind(cp);
}

/* --- graphs --- */
static struct edge *edge_find(const struct graph *g, uint32_t from, uint8_t byte)
{
	uint32_t i = g->nodes[from].edge;
	while (i && g->edges[i].byte != byte) i = g->edges[i].next;
	return i ? &g->edges[i] : NULL;
}

static uint32_t step(const struct graph *g, uint32_t from, uint8_t byte)
{
	const struct edge *x = edge_find(g, from, byte);
	return x ? x->to : 0;
}

static uint32_t walk(const struct graph *g, uint32_t from, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n && from; i++) from = step(g, from, (uint8_t)bytes[i]);
	return from;
}

static int graph_init(struct graph *g, size_t nodes, size_t edges)
{
	g->nodes = mem_calloc(nodes + 2, sizeof *g->nodes);
	g->edges = mem_calloc(edges + 1, sizeof *g->edges);
	g->node_n = ROOT + 1;
	g->edge_n = 1;
	return g->nodes && g->edges ? OK : E_MEMORY;
}

static void edge_add(struct graph *g, uint32_t from, uint8_t byte, uint32_t to)
{
	g->edges[g->edge_n] = (struct edge){ g->nodes[from].edge, to, byte };
	g->nodes[from].edge = g->edge_n++;
}

/* A second node for the shorter pieces that q stands for. */
static uint32_t node_split(struct graph *g, uint32_t p, uint32_t q, uint8_t byte)
{
	uint32_t clone = g->node_n++;
	struct edge *x;
	g->nodes[clone] = (struct node){ .link = g->nodes[q].link, .len = g->nodes[p].len + 1 };
	for (uint32_t i = g->nodes[q].edge; i; i = g->edges[i].next) edge_add(g, clone, (uint8_t)g->edges[i].byte, g->edges[i].to);
	for (; p && (x = edge_find(g, p, byte)) != NULL && x->to == q; p = g->nodes[p].link) x->to = clone;
	return g->nodes[q].link = clone;
}

/* The string grows by a byte; the node of all of it. */
static uint32_t string_grow(struct graph *g, uint32_t last, uint8_t byte)
{
	uint32_t now = g->node_n++, p = last, q;
	g->nodes[now].len = g->nodes[last].len + 1;
	for (; p && !step(g, p, byte); p = g->nodes[p].link) edge_add(g, p, byte, now);
	if (!p) {
		g->nodes[now].link = ROOT;
		return now;
	}
	q = step(g, p, byte);
	g->nodes[now].link = g->nodes[p].len + 1 == g->nodes[q].len ? q : node_split(g, p, q, byte);
	return now;
}

/* Borders down the links: from long pieces to short ones, by counting. E_MEMORY. */
static int borders_spread(struct graph *g, size_t longest)
{
	uint32_t *at = mem_calloc(longest + 2, sizeof *at), *order = mem_calloc(g->node_n, sizeof *order);
	if (at && order) {
		for (uint32_t i = ROOT; i < g->node_n; i++) at[g->nodes[i].len + 1]++;
		for (size_t i = 1; i <= longest + 1; i++) at[i] += at[i - 1];
		for (uint32_t i = ROOT; i < g->node_n; i++) order[at[g->nodes[i].len]++] = i;
		for (uint32_t i = g->node_n - ROOT; i-- > 0;)
			g->nodes[g->nodes[order[i]].link].border |= g->nodes[order[i]].border;
	}
	int rc = at && order ? OK : E_MEMORY;
	mem_free(at);
	mem_free(order);
	return rc;
}

/* --- building --- */
/* The source as the automaton reads it; a bit in `borders` for each byte behind which a piece may end. */
static void source_put(const struct constrain_source *s, struct buf *out, struct buf *borders)
{
	struct constrain_state was = { 0 };
	size_t i = 0, from = out->len;
	int blank = 0;
	while (i < s->len) {
		size_t at = i, after = 0;
		int32_t cp = utf8_next(s->text, s->len, &i), next;
		int begun = out->len > from;
		if (cp < 0 || uni_is_white_space((uint32_t)cp)) {
			blank = begun;
			continue;
		}
		after = i;
		next = i < s->len ? utf8_next(s->text, s->len, &after) : -1;
		if (blank) {
			borders->data[borders->len - 1] = 1;
			(void)buf_putc(out, ' ');
			(void)buf_putc(borders, 1);
			went_by(&was, ' ');
			blank = 0;
		} else if (begun && is_border(&was, (uint32_t)cp) &&
			!(was.run == RUN_DIGITS && is_point((uint32_t)cp) && next >= 0 && is_digit((uint32_t)next))) {
			borders->data[borders->len - 1] = 1;
		}
		if (is_start(&was, (uint32_t)cp)) {
			(void)buf_putc(out, (char)START);
			(void)buf_putc(borders, 0);
		}
		(void)buf_put(out, s->text + at, i - at);
		for (size_t k = at; k < i; k++) (void)buf_putc(borders, 0);
		if (buf_failed(out) || buf_failed(borders)) return;
		went_by(&was, (uint32_t)cp);
	}
	if (out->len > from) borders->data[borders->len - 1] = 1;
	(void)buf_putc(out, (char)END);
	(void)buf_putc(borders, 0);
}

static int texts_build(struct constrain *c, const struct constrain_source *s, size_t n)
{
	struct buf text, borders;
	uint32_t last = ROOT;
	int rc;
	buf_init(&text, 3 * (size_t)SOURCES_MAX);
	buf_init(&borders, 3 * (size_t)SOURCES_MAX);
	for (size_t i = 0; i < n && !buf_failed(&text) && !buf_failed(&borders); i++)
		if (s[i].quotable) source_put(&s[i], &text, &borders);
	rc = buf_failed(&text) ? buf_failed(&text) : buf_failed(&borders);
	if (!rc) rc = graph_init(&c->text, 2 * text.len, 3 * text.len);
	for (size_t i = 0; !rc && i < text.len; i++) {
		last = string_grow(&c->text, last, (uint8_t)text.data[i]);
		c->text.nodes[last].border = (uint32_t)borders.data[i];
	}
	if (!rc) rc = borders_spread(&c->text, text.len);
	buf_clear(&text);
	buf_clear(&borders);
	return rc;
}

static uint32_t number_put(struct graph *g, uint32_t at, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t to = step(g, at, (uint8_t)bytes[i]);
		if (!to) edge_add(g, at, (uint8_t)bytes[i], to = g->node_n++);
		at = to;
	}
	return at;
}

static void numbers_put(struct graph *g, const struct constrain_source *s)
{
	struct constrain_state was = { .number = ROOT };
	size_t i = 0, point = 0;
	while (i < s->len) {
		size_t at = i;
		int32_t cp = utf8_next(s->text, s->len, &i);
		if (cp >= 0 && is_digit((uint32_t)cp)) {
			if (was.run == RUN_POINT) at = point;
			was.number = number_put(g, was.number, s->text + at, i - at);
		} else if (was.run == RUN_DIGITS && cp >= 0 && is_point((uint32_t)cp)) {
			point = at;
		} else {
			if (was.run) g->nodes[was.number].border = 1;
			was.number = ROOT;
		}
		went_by(&was, cp < 0 ? ' ' : (uint32_t)cp);
	}
	if (was.run) g->nodes[was.number].border = 1;
}

/* Bytes of digits and what may stand between them: the tree has no more nodes. */
static size_t number_bytes(const struct constrain_source *s)
{
	size_t n = 0;
	for (size_t i = 0; i < s->len;) {
		size_t at = i;
		int32_t cp = utf8_next(s->text, s->len, &i);
		if (cp >= 0 && (is_digit((uint32_t)cp) || is_point((uint32_t)cp))) n += i - at;
	}
	return n;
}

int constrain_new(struct constrain **out, const struct constrain_source *s, size_t n, struct err *e)
{
	struct constrain *c;
	size_t all = 0, bytes = 0;
	int rc;
	*out = NULL;
	for (size_t i = 0; i < n; i++) {
		if (s[i].len > SOURCES_MAX - all) return err_set(e, E_LIMIT, "constraint: over %d bytes of text", SOURCES_MAX);
		all += s[i].len;
		bytes += number_bytes(&s[i]);
	}
	c = mem_calloc(1, sizeof *c);
	rc = c ? graph_init(&c->numbers, bytes, bytes) : E_MEMORY;
	for (size_t i = 0; i < n && !rc; i++) numbers_put(&c->numbers, &s[i]);
	if (!rc) rc = texts_build(c, s, n);
	if (!rc) *out = c;
	else constrain_free(c);
	return rc ? err_set(e, rc, "constraint: out of memory for %zu bytes of text", all) : OK;
}

void constrain_free(struct constrain *c)
{
	if (!c) return;
	mem_free(c->text.nodes);
	mem_free(c->text.edges);
	mem_free(c->numbers.nodes);
	mem_free(c->numbers.edges);
	mem_free(c);
}

/* --- the walk --- */
void constrain_begin(const struct constrain *c, struct constrain_state *s, enum constrain_mode mode)
{
	*s = (struct constrain_state){ .number = ROOT };
	if (mode != CONSTRAIN_COPY) return;
	s->mark = COPIED;
	s->empty = 1;
	s->at = step(&c->text, ROOT, START);
}

static int number_may_end(const struct constrain *c, const struct constrain_state *s)
{
	return !s->run || c->numbers.nodes[s->number].border;
}

static int quote_may_end(const struct constrain *c, const struct constrain_state *s)
{
	return !s->empty && (s->tail || c->text.nodes[s->at].border);
}

static int put_outside(const struct constrain *c, struct constrain_state *s, uint32_t cp, const char *bytes, size_t n)
{
	if (is_digit(cp)) {
		s->number = walk(&c->numbers, s->run == RUN_DIGITS ? s->number : s->run == RUN_POINT ? s->point : ROOT, bytes, n);
		if (!s->number) return 0;
	} else if (s->run == RUN_DIGITS && is_point(cp)) {
		s->point = walk(&c->numbers, s->number, bytes, n);
		if (!s->point && !number_may_end(c, s)) return 0;
	} else {
		uint8_t kind = mark_kind(cp);
		if (!number_may_end(c, s)) return 0;
		if (kind && !(cp == '"' && s->run == RUN_DIGITS)) {
			constrain_begin(c, s, CONSTRAIN_COPY);
			s->mark = kind;
			return s->at != 0;
		}
	}
	went_by(s, cp);
	return 1;
}

static int put_inside(const struct constrain *c, struct constrain_state *s, uint32_t cp, const char *bytes, size_t n)
{
	int spaced = s->mark == GUILLEMET || s->mark == GUILLEMET_TURNED;
	if (s->mark != COPIED && closes(s->mark, cp)) {
		if (!quote_may_end(c, s)) return 0;   /* nothing is written yet */
		constrain_begin(c, s, CONSTRAIN_FREE);
		return 1;
	}
	if (uni_is_white_space(cp)) {
		uint32_t to = s->empty || s->tail ? 0 : step(&c->text, s->at, ' ');
		if (s->empty) return spaced || s->mark == COPIED;
		if (!to && !(spaced && quote_may_end(c, s))) return 0;
		s->tail = !to;
		if (to) s->at = to;
		went_by(s, ' ');
		return 1;
	}
	if (s->tail) return 0;
	if (!s->empty && is_start(s, cp)) s->at = step(&c->text, s->at, START);
	s->at = walk(&c->text, s->at, bytes, n);
	s->empty = 0;
	went_by(s, cp);
	return s->at != 0;
}

/* The bytes that wait may become a code point that is allowed. */
static int part_lives(const struct constrain *c, const struct constrain_state *s)
{
	if (!s->mark) {
		uint32_t from = s->run == RUN_DIGITS ? s->number : s->point;
		return number_may_end(c, s) || walk(&c->numbers, from, s->part, s->part_n);
	}
	for (size_t i = 0; i < CLOSERS && s->mark != COPIED && quote_may_end(c, s); i++) {
		char mark[4];
		size_t n = marks[s->mark].close[i] ? utf8_put(mark, marks[s->mark].close[i]) : 0;
		if (n > s->part_n && memcmp(mark, s->part, s->part_n) == 0) return 1;
	}
	if (s->tail) return 0;
	return walk(&c->text, s->at, s->part, s->part_n) ||
		(!s->empty && walk(&c->text, step(&c->text, s->at, START), s->part, s->part_n));
}

/* Bytes of the code point that begins so; 0 for what begins none. */
static size_t cp_bytes(uint8_t first)
{
	return first < 0x80 ? 1 : first >= 0xc2 && first < 0xe0 ? 2 : first >= 0xe0 && first < 0xf0 ? 3 : first >= 0xf0 && first < 0xf5 ? 4 : 0;
}

/* No code point begins with these two: overlong forms, surrogates, past the last. */
static int is_forbidden(uint8_t first, uint8_t second)
{
	return (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) || (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
}

int constrain_put(const struct constrain *c, struct constrain_state *s, const char *bytes, size_t n)
{
	struct constrain_state now = *s;
	for (size_t i = 0; i < n; i++) {
		size_t want, at = 0, part = now.part_n;
		int32_t cp;
		now.part[now.part_n++] = bytes[i];
		want = cp_bytes((uint8_t)now.part[0]);
		if (!want || (part && ((uint8_t)bytes[i] & 0xc0) != 0x80)) return 0;
		if (part == 1 && is_forbidden((uint8_t)now.part[0], (uint8_t)bytes[i])) return 0;
		if (now.part_n < want) continue;
		now.part_n = 0;
		cp = utf8_next(now.part, want, &at);
		if (cp < 0 || at != want) return 0;
		if (!(now.mark ? put_inside : put_outside)(c, &now, (uint32_t)cp, now.part, want)) return 0;
	}
	if (now.part_n && !part_lives(c, &now)) return 0;
	*s = now;
	return 1;
}

int constrain_may_end(const struct constrain *c, const struct constrain_state *s)
{
	return !s->part_n && (s->mark ? s->mark == COPIED && quote_may_end(c, s) : number_may_end(c, s));
}
