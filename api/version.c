/* version.c: owns which of two documents is a newer version of the other (version.h).
 *
 * A name (title; file with its folder; file alone) is taken apart into words. Dates, "version 2", "v2" and words of age ("old", "draft")
 * are what versions differ in; two documents are versions when the rest of their names is the same and these are not. A number of the
 * version decides, then a date, then a word of age, then dates in meta, then when the file was changed or the document put. Names
 * without any of these are no versions, though they be equal: many folders have a "readme".
 * Of sentences, those of the older version that resemble one of the newer, by meaning and by words, are replaced by it. One that
 * nothing in the newer version resembles stays, for it may still hold.
 * Threads: no state. Failure: none; what is not understood is no version. */
#include "api/version.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"
#include "base/words.h"

#define ASKED_GAPS " \t\r\n.,;:?!-()/'\""
enum { BASE_BYTES = 512, TOKEN_BYTES = 64, META_BYTES_MAX = 1 << 20, DATE_BYTES = 40 };
static const long long VERSION_WHOLE = 1000 * 1000 * 1000; /* "2" of "2.1"; what comes behind counts a thousandth each time */
static const double VERSION_MAX = 1e9;
static const double ALIKE_COSINE = 0.75, ALIKE_WORDS = 0.5; /* of two sentences that are about the same */

struct name {
	char base[BASE_BYTES]; size_t len;   /* the words that are no mark of a version, a blank behind each */
	long long version;                   /* 1 + so many VERSION_WHOLE, as "0.9" is a version too; 0: not said */
	long date, age;                      /* year * 10000 + month * 100 + day; < 0 older, > 0 newer; 0: not said */
	long long version_part;              /* while it is read: what the next of its numbers counts */
	int month, parts[2], part_n;         /* and: a month's name; numbers of one or two digits in a row */
	int wants_version;
};

static const char *const months[] = {
	" jan january januar enero janvier ", " feb february februar febrero février ", " mar march märz marzo mars ",
	" apr april abril avril ", " may mai mayo ", " jun june juni junio juin ",
	" jul july juli julio juillet ", " aug august agosto août ", " sep sept september septiembre septembre ",
	" oct october okt oktober octubre octobre ", " nov november noviembre novembre ", " dec december dez dezember diciembre décembre ",
};
static const char no_month_words[] = " may march mars "; /* that are months only with a capital inside a sentence */
static const char version_words[] = " v ver version rev revision edition issue release fassung ausgabe stand versión ";
static const char old_words[] = " old older outdated obsolete archive archived superseded deprecated draft previous former alt alte altes alter veraltet archiv entwurf ";
static const char asked_words[] = " old previous former earlier older outdated obsolete archived superseded frühere früheren früher alte alten anterior ancienne ancien ";
static const char new_words[] = " new newer latest current final neu neue neues neuer aktuell aktuelle ";

static void base_add(struct name *n, const char *token)
{
	int need = snprintf(n->base + n->len, BASE_BYTES - n->len, "%s ", token);
	if (need > 0 && n->len + (size_t)need < BASE_BYTES) n->len += (size_t)need;
}

/* Small numbers that turned out to be no part of a date. */
static void parts_end(struct name *n)
{
	char text[16];
	for (int i = 0; i < n->part_n; i++) {
		snprintf(text, sizeof text, "%d", n->parts[i]);
		base_add(n, text);
	}
	n->part_n = 0;
}

static void year_add(struct name *n, long year)
{
	n->date = year * 10000 + n->month * 100;
	if (n->part_n == 2 && n->parts[1] <= 12) n->date = year * 10000 + n->parts[1] * 100 + n->parts[0];
	else if (n->part_n) return parts_end(n);
	n->part_n = 0;
}

/* A number: of a version, a year, a part of a date, or one that names something. */
static void number_add(struct name *n, const char *token)
{
	size_t len = strlen(token);
	long x = len <= 8 ? strtol(token, NULL, 10) : -1;
	int dated = n->date > 0 && n->date % 100 == 0;
	if (n->wants_version && len <= 3) {
		if (!n->version) n->version = 1, n->version_part = VERSION_WHOLE;
		n->version += n->version_part * x;
		n->version_part /= 1000;             /* "2.1": the next one is its part */
		return;
	}
	n->wants_version = 0;
	if (len == 4 && x >= 1900 && x < 2100 && !n->date) return year_add(n, x);
	if (len == 8 && x / 10000 >= 1900 && x / 10000 < 2100) n->date = x;
	else if (len <= 2 && dated && n->date % 10000 == 0 && x >= 1 && x <= 12) n->date += 100 * x;
	else if (len <= 2 && dated && x >= 1 && x <= 31) n->date += x;
	else if (len <= 2 && !n->date && n->part_n < 2) n->parts[n->part_n++] = (int)x;
	else base_add(n, token);
}

/* 1 to 12; 0: it is none. token: lower case. */
static int month_of(const char *token)
{
	int month = 12;
	while (month && !words_listed(months[month - 1], token)) month--;
	return month;
}

static void word_add(struct name *n, const char *token)
{
	int month = month_of(token);
	n->wants_version = words_listed(version_words, token);
	if (n->wants_version) return;
	if (words_listed(old_words, token)) n->age = -1;
	else if (words_listed(new_words, token)) n->age = 1;
	else if (month && !n->month && (n->part_n || strlen(token) == 3)) n->month = month;
	else {
		parts_end(n);
		base_add(n, token);
	}
}

/* A token of letters or of digits alone; "v2" becomes two. */
static void name_take(const char *text, size_t len, struct name *out)
{
	char token[TOKEN_BYTES];
	size_t at = 0;
	memset(out, 0, sizeof *out);
	while (at < len) {
		size_t n = 0;
		int digit = isdigit((unsigned char)text[at]) != 0;
		while (at < len && (isalnum((unsigned char)text[at]) || (unsigned char)text[at] >= 0x80) && (isdigit((unsigned char)text[at]) != 0) == digit && n + 1 < sizeof token)
			token[n++] = (char)tolower((unsigned char)text[at++]);
		token[n] = 0;
		if (!n) at++;
		else if (digit) number_add(out, token);
		else word_add(out, token);
	}
	parts_end(out);
}

static int order(long long older, long long newer)
{
	return (newer > older) - (newer < older);
}

/* A date or version that meta tells of the document, as text or as a number; 0: there is none of the key. */
static long long meta_mark(const cJSON *meta, const char *key)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(meta, key);
	char text[DATE_BYTES + 1] = "";
	struct name n;
	if (cJSON_IsNumber(v)) snprintf(text, sizeof text, "%.15g", v->valuedouble);
	if (cJSON_IsString(v)) snprintf(text, sizeof text, "%.*s", (int)strcspn(v->valuestring, "T "), v->valuestring);
	name_take(text, strlen(text), &n);
	if (n.date || n.version) return n.date ? n.date : n.version;
	double x = strtod(text, NULL);
	return x > 0 && x <= VERSION_MAX ? 1 + (long long)(x * (double)VERSION_WHOLE) : 0;
}

static int by_meta(const struct doc *a, const struct doc *b)
{
	static const char *const keys[] = { "version", "revision", "valid_from", "effective", "date", "updated", "published", "year" };
	cJSON *x = NULL, *y = NULL;
	int out = 0;
	if (!json_parse(&x, a->meta, strlen(a->meta), META_BYTES_MAX, "meta", NULL) && !json_parse(&y, b->meta, strlen(b->meta), META_BYTES_MAX, "meta", NULL))
		for (size_t i = 0; i < sizeof keys / sizeof *keys && !out; i++) {
			long long p = meta_mark(x, keys[i]), q = meta_mark(y, keys[i]);
			if (p && q) out = order(p, q);
		}
	cJSON_Delete(x);
	cJSON_Delete(y);
	return out;
}

static int by_time(const struct doc *a, const struct doc *b)
{
	if (a->source_mtime_ns && b->source_mtime_ns) return order(a->source_mtime_ns, b->source_mtime_ns);
	return order(a->updated_ms, b->updated_ms);
}

/* The name that is told by: 0: the title, 1: the file with its folder, 2: the file. */
static void name_of(const struct doc *d, int which, struct name *out)
{
	const char *file = path_base(d->source), *from = which ? file : d->title;
	const char *dot = which ? strrchr(file, '.') : NULL;
	if (which == 1 && file > d->source + 1)
		for (from = file - 1; from > d->source && from[-1] != '/';) from--;
	name_take(from, dot > from ? (size_t)(dot - from) : strlen(from), out);
}

/* Versions by these names? *which: the newer one, 0 where the names do not tell. */
static int named_versions(const struct name *a, const struct name *b, int *which)
{
	*which = 0;
	if (!a->len || strcmp(a->base, b->base) != 0) return 0;
	if (a->version == b->version && a->date == b->date && a->age == b->age) return 0;
	if (a->version && b->version) *which = order(a->version, b->version);
	else if (a->version || b->version) *which = b->version ? 1 : -1;     /* without a number it is the first */
	if (!*which && a->date && b->date) *which = order(a->date, b->date);
	if (!*which) *which = order(a->age, b->age);
	return 1;
}

int version_compare(const struct doc *a, const struct doc *b)
{
	struct name x, y;
	int newer, same = 0;
	if (a->key == b->key) return 0;
	for (int i = 0; i < 3; i++) {
		name_of(a, i, &x);
		name_of(b, i, &y);
		if (named_versions(&x, &y, &newer)) return newer ? newer : (newer = by_meta(a, b)) ? newer : by_time(a, b);
		same |= x.len && strcmp(x.base, y.base) == 0;
	}
	return same ? by_meta(a, b) : 0;
}

/* The next word of a question, lower case, moving *at past it; "" for one that is too long, NULL at the end. *capital: it has one
 * inside a sentence. */
static const char *asked_word(const char **at, char word[TOKEN_BYTES], int *capital)
{
	const char *from = *at + strspn(*at, ASKED_GAPS);
	size_t n = strcspn(from, ASKED_GAPS);
	if (!n) return NULL;
	*capital = isupper((unsigned char)*from) && from > *at && strspn(*at, " ") == (size_t)(from - *at);
	*at = from + n;
	if (n >= TOKEN_BYTES) n = 0;
	for (size_t i = 0; i < n; i++) word[i] = (char)tolower((unsigned char)from[i]);
	word[n] = 0;
	return word;
}

/* Is the old one asked for, by the name it has or as a version: "the previous handbook"? "Older than 12" is no wish of that kind. */
static int old_asked(const char *question, const struct name *d)
{
	char word[TOKEN_BYTES], names[BASE_BYTES + 1];
	int capital, old = 0;
	snprintf(names, sizeof names, " %s", d->base);
	while (asked_word(&question, word, &capital)) {
		if (old && (words_listed(version_words, word) || words_listed(names, word))) return 1;
		old = words_listed(asked_words, word);
	}
	return 0;
}

/* The month that a question names; 0: none. */
static int asked_month(const char *question)
{
	char word[TOKEN_BYTES];
	int capital, month = 0;
	while (asked_word(&question, word, &capital))
		if (month_of(word) && (capital || !words_listed(no_month_words, word))) month = month_of(word);
	return month;
}

int version_asked(const char *question, const struct doc *d, const struct doc *newer)
{
	struct name asked, x, y;
	long month = asked_month(question);
	name_take(question, strlen(question), &asked);
	for (int i = 0; i < 3; i++) {
		name_of(d, i, &x);
		name_of(newer, i, &y);
		if (old_asked(question, &x)) return 1;
		if (asked.date && x.date / 10000 == asked.date / 10000 && y.date / 10000 != asked.date / 10000) return 1;
		if (month && x.date / 100 % 100 == month && y.date / 100 % 100 != month) return 1;
		if (asked.version && x.version == asked.version && y.version != asked.version) return 1;
	}
	return 0;
}

/* About the same, as far as words and their meaning tell. */
static int alike(const struct selection *sel, const struct unit *a, const struct unit *b)
{
	size_t all = 0, both = 0;
	if (a->row && b->row) {                                      /* rows of a table: its first cells name them */
		size_t n = a->row->cells[0].value.len, from = a->row->cells[0].value.off - a->range.off;
		return n && n == b->row->cells[0].value.len && memcmp(a->text + from, b->text + (b->row->cells[0].value.off - b->range.off), n) == 0;
	}
	if (select_cosine(sel, a->vec, b->vec) < ALIKE_COSINE) return 0;
	for (size_t i = 0; i < a->word_n; i++) {
		if (a->words[i].number) continue;
		all++;
		both += (size_t)words_have(b->words, b->word_n, a->words[i].stem);
	}
	return all && (double)both >= ALIKE_WORDS * (double)all;
}

/* Sentences of passage `from` give way to those like them of passage `to`. */
static void outdo(struct selection *sel, size_t from, size_t to, const char *id)
{
	for (size_t i = 0; i < sel->unit_n; i++) {
		struct unit *u = &sel->units[i], *best = NULL;
		if (u->passage != from || u->mute) continue;
		for (size_t k = 0; k < sel->unit_n; k++) {
			struct unit *v = &sel->units[k];
			if (v->passage == to && !v->mute && alike(sel, u, v) && (!best || v->score > best->score)) best = v;
		}
		if (!best) continue;
		if (u->score > best->score) best->score = u->score;
		u->mute = 1;
		u->instead = id;
	}
}

void versions_settle(struct selection *sel, const struct retrieval *r, const char *question)
{
	for (size_t p = 0; p < r->n; p++)
		for (size_t q = 0; q < r->n; q++) {
			const struct doc *older = &r->passages[p].doc, *newer = &r->passages[q].doc;
			if (version_compare(older, newer) <= 0) continue;
			if (version_asked(question, older, newer)) outdo(sel, q, p, older->id);
			else outdo(sel, p, q, newer->id);
		}
}
