/* filter.c: owns the filter language (filter.h): text to tree, tree to normal form, and what a comparison means.
 *
 * Method: recursive descent over the bytes, one function a level of binding. The tree is made in normal form at once: what is
 * joined by the same word is one node, two nots are none, = is a list of one. Strings and numbers are JSON's, so base/json.h
 * reads them and cJSON writes them. Depth is counted, so neither this nor any walk over the tree can run out of stack.
 * Threads: no state. Failure: E_USAGE with the place of the mistake, or the limit; E_MEMORY. */
#include "index/filter.h"
#include <string.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"

enum { META_BYTES_MAX = 16 << 20, FOUND_BYTES = 24 };

struct parse { struct filter *f; const char *s; size_t len, at; int depth; struct err *e; };

static const char *const key_names[] = { "meta", "source", "type", "added", "updated" };
static const char *const op_signs[] = { [FILTER_LESS] = "<", [FILTER_MOST] = "<=", [FILTER_MORE] = ">", [FILTER_LEAST] = ">=" };

static int parse_or(struct parse *p, struct filter_node **out);

/* ---- text to tree ---- */

static void blanks_skip(struct parse *p)
{
	while (p->at < p->len && memchr(" \t\r\n", p->s[p->at], 4)) p->at++;
}

static int is_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || (unsigned char)c >= 0x80;
}

/* Bytes of the name that begins at p->at. */
static size_t name_len(const struct parse *p)
{
	size_t n = 0;
	while (p->at + n < p->len && is_name(p->s[p->at + n])) n++;
	return n;
}

static int unlike(struct parse *p, size_t at, const char *wanted)
{
	size_t place = utf8_count(p->s, at) + 1, n = 0;
	p->at = at;
	if (at >= p->len) return err_set(p->e, E_USAGE, "filter: character %zu: it ends where %s should be", place, wanted);
	n = name_len(p);
	if (n == 0 && p->s[at] == '"')
		while (at + n + 1 < p->len && p->s[at + ++n] != '"') continue;
	n += n == 0 || p->s[at] == '"';
	if (n > FOUND_BYTES) n = utf8_floor(p->s + at, p->len - at, FOUND_BYTES);
	return err_set(p->e, E_USAGE, "filter: character %zu: %.*s where %s should be", place, (int)n, p->s + at, wanted);
}

static int out_of_memory(struct parse *p)
{
	return err_set(p->e, E_MEMORY, "filter: out of memory");
}

static int word_is(const struct parse *p, const char *word)
{
	size_t n = strlen(word);
	return name_len(p) == n && strncasecmp(p->s + p->at, word, n) == 0;
}

/* 1 and behind it, when the word comes next. */
static int word_take(struct parse *p, const char *word)
{
	blanks_skip(p);
	if (!word_is(p, word)) return 0;
	p->at += strlen(word);
	return 1;
}

static int sign_take(struct parse *p, const char *sign)
{
	size_t n = strlen(sign);
	blanks_skip(p);
	if (p->len - p->at < n || memcmp(p->s + p->at, sign, n) != 0) return 0;
	p->at += n;
	return 1;
}

static int sign_need(struct parse *p, const char *sign, const char *wanted)
{
	return sign_take(p, sign) ? OK : unlike(p, p->at, wanted);
}

/* The text in quotes at p->at. */
static int text_take(struct parse *p, const char **out)
{
	size_t from = p->at, end = from + 1;
	cJSON *v;
	while (end < p->len && p->s[end] != '"') end += p->s[end] == '\\' && p->len - end > 1 ? 2 : 1;
	if (end >= p->len) return unlike(p, p->len, "the end of a text, \",");
	if (json_parse(&v, p->s + from, end + 1 - from, p->len, "filter", NULL))
		return err_set(p->e, E_USAGE, "filter: character %zu: not a text (\\\" is a quote in it, \\\\ a backslash)",
			utf8_count(p->s, from) + 1);
	*out = arena_strdup(&p->f->a, v->valuestring);
	cJSON_Delete(v);
	p->at = end + 1;
	return *out ? OK : out_of_memory(p);
}

static int number_take(struct parse *p, double *out)
{
	size_t from = p->at, end = from;
	cJSON *v;
	while (end < p->len && (is_name(p->s[end]) || p->s[end] == '.' || p->s[end] == '+')) end++;
	if (json_parse(&v, p->s + from, end - from, p->len, "filter", NULL)) return unlike(p, from, "a number");
	*out = v->valuedouble;
	cJSON_Delete(v);
	p->at = end;
	return OK;
}

/* In what a key can be compared with: a time, a text, or anything. */
static int value_fit(struct parse *p, size_t from, enum filter_key key, struct filter_value *v)
{
	int day;
	if (key == FILTER_META) return OK;
	if (key == FILTER_SOURCE || key == FILTER_TYPE) return v->kind == FILTER_TEXT ? OK : unlike(p, from, "a text in quotes");
	if (v->kind != FILTER_TEXT || !clock_read(v->text, &v->to_ms, &day))
		return unlike(p, from, "a time like \"2026-12-31\" or \"2026-12-31T12:00:00Z\"");
	v->kind = FILTER_TIME;
	v->from_ms = v->to_ms - (day ? 86400000 : 0);
	v->to_ms += !day;
	return OK;
}

static int value_take(struct parse *p, enum filter_key key, struct filter_value **out)
{
	struct filter_value *v = *out = arena_calloc(&p->f->a, 1, sizeof *v);
	size_t from;
	int rc;
	if (!v) return out_of_memory(p);
	blanks_skip(p);
	from = p->at;
	if (from < p->len && p->s[from] == '"') {
		v->kind = FILTER_TEXT;
		rc = text_take(p, &v->text);
	} else if (word_is(p, "true") || word_is(p, "false")) {
		v->kind = FILTER_TRUTH;
		v->truth = word_take(p, "true") || !word_take(p, "false");
		rc = OK;
	} else if (from < p->len && memchr("-0123456789", p->s[from], 11)) {
		v->kind = FILTER_NUMBER;
		rc = number_take(p, &v->number);
	} else {
		rc = unlike(p, from, "a value (\"text\", a number, true or false)");
	}
	return rc ? rc : value_fit(p, from, key, v);
}

static int values_take(struct parse *p, struct filter_node *n)
{
	struct filter_value **end = &n->values;
	int rc = sign_need(p, "(", "the ( of a list");
	do {
		if (!rc) rc = value_take(p, n->key, end);
		if (!rc) end = &(*end)->next;
	} while (!rc && sign_take(p, ","));
	return rc ? rc : sign_need(p, ")", ", or the ) of a list");
}

static int path_take(struct parse *p, struct filter_node *n)
{
	const char *names[FILTER_DEPTH_MAX];
	do {
		size_t len;
		if (n->path_n == FILTER_DEPTH_MAX) return unlike(p, p->at, "the end of so long a key");
		blanks_skip(p);
		len = name_len(p);
		if (p->at < p->len && p->s[p->at] == '"') {
			int rc = text_take(p, &names[n->path_n]);
			if (rc) return rc;
		} else {
			if (len == 0) return unlike(p, p->at, "a name in meta");
			if (!(names[n->path_n] = arena_strndup(&p->f->a, p->s + p->at, len))) return out_of_memory(p);
			p->at += len;
		}
		n->path_n++;
	} while (sign_take(p, "."));
	n->path = arena_alloc(&p->f->a, n->path_n * sizeof *n->path);
	if (!n->path) return out_of_memory(p);
	memcpy(n->path, names, n->path_n * sizeof *n->path);
	return OK;
}

static int key_take(struct parse *p, struct filter_node *n)
{
	blanks_skip(p);
	for (int k = FILTER_META; k <= FILTER_UPDATED; k++) {
		if (!word_take(p, key_names[k])) continue;
		n->key = (enum filter_key)k;
		if (k != FILTER_META) return OK;
		return sign_take(p, ".") ? path_take(p, n) : unlike(p, p->at, "the . of meta.NAME");
	}
	return unlike(p, p->at, "a key (meta.NAME, source, type, added, updated)");
}

static struct filter_node *node_new(struct parse *p, enum filter_op op, struct filter_node *parts)
{
	struct filter_node *n = arena_calloc(&p->f->a, 1, sizeof *n);
	if (n) n->op = op, n->parts = parts;
	else out_of_memory(p);
	return n;
}

static int node_not(struct parse *p, struct filter_node **n)
{
	*n = (*n)->op == FILTER_NOT ? (*n)->parts : node_new(p, FILTER_NOT, *n);
	return *n ? OK : E_MEMORY;
}

static int comparison_take(struct parse *p, struct filter_node **out)
{
	static const struct { const char *sign; enum filter_op op; int negate; } signs[] = {
		{ "!=", FILTER_IN, 1 }, { "<=", FILTER_MOST, 0 }, { ">=", FILTER_LEAST, 0 }, { "=", FILTER_IN, 0 },
		{ "<", FILTER_LESS, 0 }, { ">", FILTER_MORE, 0 },
	};
	struct filter_node *n = *out = node_new(p, FILTER_IN, NULL);
	size_t i = 0;
	int rc = n ? key_take(p, n) : E_MEMORY;
	if (rc) return rc;
	if (word_take(p, "in")) return values_take(p, n);
	while (i < sizeof signs / sizeof *signs && !sign_take(p, signs[i].sign)) i++;
	if (i == sizeof signs / sizeof *signs) return unlike(p, p->at, "=, !=, <, <=, >, >= or in");
	n->op = signs[i].op;
	rc = value_take(p, n->key, &n->values);
	if (!rc && n->op != FILTER_IN && n->values->kind == FILTER_TRUTH)
		rc = err_set(p->e, E_USAGE, "filter: character %zu: true and false are in no order; = and != compare them",
			utf8_count(p->s, p->at) + 1);
	return rc || !signs[i].negate ? rc : node_not(p, out);
}

static int deeper(struct parse *p)
{
	if (p->depth++ < FILTER_DEPTH_MAX) return OK;
	return err_set(p->e, E_USAGE, "filter: character %zu: nested deeper than %d", utf8_count(p->s, p->at), (int)FILTER_DEPTH_MAX);
}

static int parse_not(struct parse *p, struct filter_node **out)
{
	int rc;
	if (word_take(p, "not")) {
		rc = deeper(p);
		if (!rc) rc = parse_not(p, out);
		p->depth--;
		return rc ? rc : node_not(p, out);
	}
	if (sign_take(p, "(")) {
		rc = deeper(p);
		if (!rc) rc = parse_or(p, out);
		p->depth--;
		return rc ? rc : sign_need(p, ")", "and, or, or a )");
	}
	if (word_take(p, "exists")) {
		*out = node_new(p, FILTER_EXISTS, NULL);
		rc = *out ? sign_need(p, "(", "the ( of exists(key)") : E_MEMORY;
		if (!rc) rc = key_take(p, *out);
		return rc ? rc : sign_need(p, ")", "the ) of exists(key)");
	}
	return comparison_take(p, out);
}

/* Parts read by `part`, joined by the word of op; a part that is of the same op gives its own parts. */
static int parse_joined(struct parse *p, enum filter_op op, const char *word, int (*part)(struct parse *, struct filter_node **),
	struct filter_node **out)
{
	struct filter_node *first = NULL, **end = &first, *n;
	do {
		int rc = part(p, &n);
		if (rc) return rc;
		*end = n->op == op ? n->parts : n;
		while (*end) end = &(*end)->next;
	} while (word_take(p, word));
	*out = first->next ? node_new(p, op, first) : first;
	return *out ? OK : E_MEMORY;
}

static int parse_and(struct parse *p, struct filter_node **out)
{
	return parse_joined(p, FILTER_AND, "and", parse_not, out);
}

static int parse_or(struct parse *p, struct filter_node **out)
{
	return parse_joined(p, FILTER_OR, "or", parse_and, out);
}

/* ---- tree to text ---- */

static void text_put(struct buf *b, const char *s)
{
	cJSON *v = cJSON_CreateString(s);
	char *text = v ? cJSON_PrintUnformatted(v) : NULL;
	if (text) buf_puts(b, text);
	else b->failed = E_MEMORY;
	cJSON_free(text);
	cJSON_Delete(v);
}

static void key_put(struct buf *b, const struct filter_node *n)
{
	buf_puts(b, key_names[n->key]);
	for (size_t i = 0; i < n->path_n; i++) {
		size_t len = 0;
		while (is_name(n->path[i][len])) len++;
		buf_putc(b, '.');
		if (len && !n->path[i][len]) buf_puts(b, n->path[i]);
		else text_put(b, n->path[i]);
	}
}

static void value_put(struct buf *b, const struct filter_value *v)
{
	if (v->kind == FILTER_NUMBER) buf_printf(b, "%.17g", v->number == 0 ? 0 : v->number);
	else if (v->kind == FILTER_TRUTH) buf_puts(b, v->truth ? "true" : "false");
	else text_put(b, v->text);
}

static void comparison_put(struct buf *b, const struct filter_node *n, int negated)
{
	if (n->op == FILTER_EXISTS || (n->op == FILTER_IN && n->values->next)) {
		buf_puts(b, negated ? "not " : "");
		buf_puts(b, n->op == FILTER_EXISTS ? "exists(" : "");
		key_put(b, n);
		buf_puts(b, n->op == FILTER_EXISTS ? "" : " in (");
		for (const struct filter_value *v = n->values; v; v = v->next) {
			value_put(b, v);
			buf_puts(b, v->next ? ", " : "");
		}
		buf_putc(b, ')');
		return;
	}
	buf_puts(b, negated && n->op != FILTER_IN ? "not " : "");
	key_put(b, n);
	buf_printf(b, " %s ", n->op != FILTER_IN ? op_signs[n->op] : negated ? "!=" : "=");
	value_put(b, n->values);
}

/* in: the op it stands in, FILTER_OR at the top. */
static void node_put(struct buf *b, const struct filter_node *n, enum filter_op in)
{
	int enclose = (n->op == FILTER_OR && in != FILTER_OR) || (n->op == FILTER_AND && in == FILTER_NOT);
	if (n->op == FILTER_NOT && !n->parts->parts) {
		comparison_put(b, n->parts, 1);
	} else if (n->op == FILTER_NOT) {
		buf_puts(b, "not ");
		node_put(b, n->parts, FILTER_NOT);
	} else if (!n->parts) {
		comparison_put(b, n, 0);
	} else {
		buf_puts(b, enclose ? "(" : "");
		for (const struct filter_node *part = n->parts; part; part = part->next) {
			node_put(b, part, n->op);
			buf_puts(b, !part->next ? "" : n->op == FILTER_AND ? " and " : " or ");
		}
		buf_puts(b, enclose ? ")" : "");
	}
}

int filter_parse(struct filter **out, const char *expr, size_t len, size_t max_bytes, struct err *e)
{
	struct parse p = { NULL, expr, len, 0, 0, e };
	struct buf b;
	int rc;
	*out = NULL;
	if (len > max_bytes)
		return err_set(e, E_USAGE, "filter: %zu bytes, the limit is %zu (search.filter_bytes)", len, max_bytes);
	if (!utf8_valid(expr, len)) return err_set(e, E_USAGE, "filter: not valid UTF-8");
	p.f = mem_calloc(1, sizeof *p.f);
	if (!p.f) return out_of_memory(&p);
	arena_init(&p.f->a, len * 256 + (1 << 16));
	buf_init(&b, len * 32 + 256);
	rc = parse_or(&p, &p.f->root);
	blanks_skip(&p);
	if (!rc && p.at < len) rc = unlike(&p, p.at, "and, or, or the end");
	if (!rc) {
		node_put(&b, p.f->root, FILTER_OR);
		p.f->text = buf_failed(&b) ? NULL : buf_take(&b, NULL);
		if (!p.f->text) rc = out_of_memory(&p);
	}
	buf_clear(&b);
	if (rc) filter_free(p.f);
	else *out = p.f;
	return rc;
}

void filter_free(struct filter *f)
{
	if (!f) return;
	arena_clear(&f->a);
	mem_free(f->text);
	mem_free(f);
}

const char *filter_text(const struct filter *f)
{
	return f->text;
}

/* ---- what it means ---- */

int filter_eval(const struct filter_node *n, int (*leaf)(void *ctx, const struct filter_node *n), void *ctx)
{
	if (!n->parts) return leaf(ctx, n) != 0;
	if (n->op == FILTER_NOT) return !filter_eval(n->parts, leaf, ctx);
	for (const struct filter_node *part = n->parts; part; part = part->next)
		if (filter_eval(part, leaf, ctx) == (n->op == FILTER_OR)) return n->op == FILTER_OR;
	return n->op == FILTER_AND;
}

/* order: of what is there against the value: below 0, 0, above 0. */
static int order_fits(enum filter_op op, int order)
{
	switch (op) {
	case FILTER_IN: return order == 0;
	case FILTER_LESS: return order < 0;
	case FILTER_MOST: return order <= 0;
	case FILTER_MORE: return order > 0;
	case FILTER_LEAST: return order >= 0;
	default: return 0;
	}
}

int filter_fits_text(const struct filter_node *leaf, const char *text)
{
	for (const struct filter_value *v = leaf->values; v; v = v->next)
		if (v->kind == FILTER_TEXT && order_fits(leaf->op, strcmp(text, v->text))) return 1;
	return 0;
}

int filter_fits_number(const struct filter_node *leaf, double x)
{
	for (const struct filter_value *v = leaf->values; v; v = v->next)
		if (v->kind == FILTER_NUMBER && order_fits(leaf->op, (x > v->number) - (x < v->number))) return 1;
	return 0;
}

int filter_fits_truth(const struct filter_node *leaf, int truth)
{
	for (const struct filter_value *v = leaf->values; v; v = v->next)
		if (v->kind == FILTER_TRUTH && leaf->op == FILTER_IN && !truth == !v->truth) return 1;
	return 0;
}

int filter_fits_time(const struct filter_node *leaf, int64_t ms)
{
	for (const struct filter_value *v = leaf->values; v; v = v->next)
		if (v->kind == FILTER_TIME && order_fits(leaf->op, ms < v->from_ms ? -1 : ms >= v->to_ms)) return 1;
	return 0;
}

/* Whether something at the path from v on fits; elements of lists stand for their list. */
static int meta_fits(const struct filter_node *leaf, const cJSON *v, size_t depth)
{
	if (!v || cJSON_IsNull(v)) return 0;
	if (cJSON_IsArray(v)) {
		for (const cJSON *item = v->child; item; item = item->next)
			if (meta_fits(leaf, item, depth)) return 1;
		return 0;
	}
	if (depth < leaf->path_n) return cJSON_IsObject(v) && meta_fits(leaf, cJSON_GetObjectItemCaseSensitive(v, leaf->path[depth]), depth + 1);
	if (leaf->op == FILTER_EXISTS) return 1;
	if (cJSON_IsString(v)) return filter_fits_text(leaf, v->valuestring);
	if (cJSON_IsNumber(v)) return filter_fits_number(leaf, v->valuedouble);
	return cJSON_IsBool(v) && filter_fits_truth(leaf, cJSON_IsTrue(v));
}

struct matched { const struct doc *d; cJSON *meta; int parsed; };

static int doc_fits(void *ctx, const struct filter_node *leaf)
{
	struct matched *m = ctx;
	const char *text = leaf->key == FILTER_SOURCE ? m->d->source : m->d->type;
	switch (leaf->key) {
	case FILTER_META:
		if (!m->parsed) json_parse(&m->meta, m->d->meta, strlen(m->d->meta), META_BYTES_MAX, "meta", NULL);
		m->parsed = 1;
		return meta_fits(leaf, m->meta, 0);
	case FILTER_ADDED:
	case FILTER_UPDATED:
		return leaf->op == FILTER_EXISTS || filter_fits_time(leaf, leaf->key == FILTER_ADDED ? m->d->added_ms : m->d->updated_ms);
	default:
		return leaf->op == FILTER_EXISTS ? *text != 0 : filter_fits_text(leaf, text);
	}
}

int filter_match(const struct filter *f, const struct doc *d)
{
	struct matched m = { d, NULL, 0 };
	int yes = !f || filter_eval(f->root, doc_fits, &m);
	cJSON_Delete(m.meta);
	return yes;
}

/* ---- what is there ---- */

struct giving { int (*on_value)(void *ctx, const char *text); void *ctx; };

static int meta_give(const struct filter_node *leaf, const cJSON *v, size_t depth, const struct giving *g)
{
	int rc = OK;
	if (cJSON_IsArray(v)) {
		for (const cJSON *item = v->child; item && !rc; item = item->next) rc = meta_give(leaf, item, depth, g);
		return rc;
	}
	if (!v || cJSON_IsNull(v)) return OK;
	if (depth < leaf->path_n)
		return cJSON_IsObject(v) ? meta_give(leaf, cJSON_GetObjectItemCaseSensitive(v, leaf->path[depth]), depth + 1, g) : OK;
	if (cJSON_IsObject(v)) return OK;
	if (cJSON_IsString(v)) return g->on_value(g->ctx, v->valuestring);
	if (cJSON_IsNumber(v) && v->valuedouble == 0) return g->on_value(g->ctx, "0"); /* -0 is no other value */
	char *text = cJSON_PrintUnformatted(v);
	rc = text ? g->on_value(g->ctx, text) : E_MEMORY;
	cJSON_free(text);
	return rc;
}

int filter_values(const struct filter_node *leaf, const struct doc *d, int (*on_value)(void *ctx, const char *text), void *ctx)
{
	const struct giving g = { on_value, ctx };
	const char *text = leaf->key == FILTER_SOURCE ? d->source : d->type;
	char day[CLOCK_TEXT_LEN];
	cJSON *meta = NULL;
	int rc;
	switch (leaf->key) {
	case FILTER_META:
		if (json_parse(&meta, d->meta, strlen(d->meta), META_BYTES_MAX, "meta", NULL)) return OK;
		rc = meta_give(leaf, meta, 0, &g);
		cJSON_Delete(meta);
		return rc;
	case FILTER_ADDED:
	case FILTER_UPDATED:
		clock_text(day, leaf->key == FILTER_ADDED ? d->added_ms : d->updated_ms);
		day[sizeof "2026-12-31" - 1] = 0;
		return on_value(ctx, day);
	default:
		return *text ? on_value(ctx, text) : OK;
	}
}
