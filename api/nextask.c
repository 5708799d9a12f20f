/* nextask.c: questions that follow from passages (nextask.h).
 *
 * A condition is turned by its auxiliary: "If your lease is open-ended, …" asks "Is your lease open-ended?"; without one,
 * and where "you" does something, "Do you …?"; a form that no rule knows asks "Is it the case that …?". Questions that
 * stand in a passage or are its heading (FAQs) are taken as they are; other headings go into a phrase of the house. What
 * asks in words that the conversation has, for the most part, was said; what shares two thirds of them with one taken before is
 * the same. Only passages near to the best are looked at: the others are there because something had to be.
 * Threads: the caller's. Failure: memory. */
#include "api/nextask.h"
#include <string.h>
#include "base/utf8.h"

enum { WORDS_MIN = 3, WORDS_MAX = 16, TOKENS_MAX = 64, CHARS_MAX = 200, CONDITIONS = 3, PASSAGES = 5 };
static const double SAID_SHARE = 0.7, SAME_SHARE = 0.66, NEAR_SHARE = 0.75, NEAR_LEAST = 0.25;

/* ---- conditions ---- */

struct tokens_of { const char *at[TOKENS_MAX]; size_t len[TOKENS_MAX], n; };

static int is_word(const struct tokens_of *t, size_t i, const char *word)
{
	return i < t->n && strlen(word) == t->len[i] && strncasecmp(t->at[i], word, t->len[i]) == 0;
}

static int is_one(const struct tokens_of *t, size_t i, const char *const *list)
{
	for (; *list; list++)
		if (is_word(t, i, *list)) return 1;
	return 0;
}

static int ends_with(const struct tokens_of *t, size_t i, const char *end)
{
	size_t n = strlen(end);
	return i < t->n && t->len[i] > n + 1 && strncasecmp(t->at[i] + t->len[i] - n, end, n) == 0;
}

/* Where the condition stands in the sentence: behind "if", up to a comma, "then", or the end. */
static int clause_find(const char *s, size_t len, const char **out, size_t *out_len)
{
	static const char *const before_no[] = { "even", "as", "what", "see", "check", "only", NULL };
	for (size_t i = 0; i + 3 < len; i++) {
		if ((i && s[i - 1] != ' ') || strncasecmp(s + i, "if ", 3)) continue;
		size_t w = i ? i - 1 : 0, from = i + 3, to = from;
		while (w && s[w - 1] != ' ') w--;
		const struct tokens_of last = { .at = { s + w }, .len = { i ? i - 1 - w : 0 }, .n = 1 };
		if (i && is_one(&last, 0, before_no)) continue;
		while (to < len && (!strchr(",;:.(!?\n", s[to]) || (to + 1 < len && strchr(",.", s[to]) && s[to + 1] >= '0' && s[to + 1] <= '9')) && strncasecmp(s + to, " then ", len - to < 6 ? len - to : 6)) to++;
		if (to < len && s[to] == '.' && to + 1 < len && s[to + 1] != ' ') continue; /* a name with a dot */
		*out = s + from;
		*out_len = to - from;
		return to > from;
	}
	return 0;
}

static void split(const char *s, size_t len, struct tokens_of *t)
{
	t->n = 0;
	for (size_t i = 0; i < len && t->n < TOKENS_MAX;) {
		size_t from = i;
		while (i < len && s[i] != ' ') i++;
		if (i > from) t->at[t->n] = s + from, t->len[t->n++] = i - from;
		while (i < len && s[i] == ' ') i++;
	}
}

/* The rest of the clause from token i on, "not" left out: what is asked is whether it is so. */
static const char *rest(const struct tokens_of *t, size_t i, struct arena *a)
{
	if (is_word(t, i, "not")) i++;
	if (i >= t->n) return "";
	return arena_strndup(a, t->at[i], (size_t)(t->at[t->n - 1] + t->len[t->n - 1] - t->at[i]));
}

/* "have lost", "has been": the auxiliary of a participle; "have a key" is not. */
static int is_participle(const struct tokens_of *t, size_t i)
{
	static const char *const known[] = { "been", "lost", "bought", "paid", "got", "made", "sent", "left", "found", "kept", "had", "not", "already",
		"just", "never", "ever", "read", "put", "set", "met", "come", "become", "gone", "done", "begun", "built", "run", "seen", "sold", "told", NULL };
	return is_one(t, i, known) || ends_with(t, i, "ed") || (ends_with(t, i, "en") && t->len[i] > 4);
}

static const struct { const char *form, *opens; int have; } auxiliaries[] = {
	{ "is", "Is", 0 }, { "are", "Are", 0 }, { "was", "Was", 0 }, { "were", "Were", 0 }, { "can", "Can", 0 }, { "could", "Could", 0 }, { "will", "Will", 0 },
	{ "would", "Would", 0 }, { "must", "Must", 0 }, { "should", "Should", 0 }, { "does", "Does", 0 }, { "do", "Do", 0 }, { "did", "Did", 0 },
	{ "has", "Has", 1 }, { "have", "Have", 1 }, { "had", "Had", 1 }, { "isn't", "Is", 0 }, { "aren't", "Are", 0 }, { "wasn't", "Was", 0 },
	{ "can't", "Can", 0 }, { "cannot", "Can", 0 }, { "won't", "Will", 0 }, { "doesn't", "Does", 0 }, { "don't", "Do", 0 }, { "didn't", "Did", 0 },
	{ "hasn't", "Has", 0 }, { "haven't", "Have", 0 }, { "needs", "Does", 2 }, { "shows", "Does", 3 },
};
enum { AUXILIARIES = sizeof auxiliaries / sizeof *auxiliaries };

/* Subject, auxiliary, rest: turned round. */
static const char *turn(const struct tokens_of *t, size_t aux, size_t row, struct arena *a)
{
	const char *subject = arena_strndup(a, t->at[0], (size_t)(t->at[aux - 1] + t->len[aux - 1] - t->at[0])), *tail = rest(t, aux + 1, a);
	int have = auxiliaries[row].have, you = is_word(t, 0, "you");
	const char *opens = auxiliaries[row].opens, *verb = have == 2 ? "need " : have == 3 ? "show " : "";
	if (have == 1 && !is_participle(t, aux + 1)) {
		verb = "have ";
		opens = is_word(t, aux, "had") ? "Did" : is_word(t, aux, "has") ? "Does" : "Do";
	}
	if (!subject || !tail || !*tail) return NULL;
	return arena_printf(a, "%s %s %s%s?", opens, you ? "you" : subject, verb, tail);
}

static const char *clause_question(const char *clause, size_t len, struct arena *a)
{
	static const char *const empty[] = { "wish", "want", "like", "prefer", "so", "possible", "necessary", "needed", "any", "applicable", "not", NULL };
	static const char *const relative[] = { "who", "that", "which", "whose", "where", "and", "or", NULL };
	static const struct { const char *form, *opens; } short_you[] = { { "you've", "Have" }, { "you're", "Are" }, { "you'll", "Will" }, { "you'd", "Would" } };
	struct tokens_of t;
	int known = 1;
	split(clause, len, &t);
	if (t.n < WORDS_MIN || t.n > WORDS_MAX || is_one(&t, 0, empty) || (is_word(&t, 0, "you") && is_one(&t, 1, empty))) return NULL;
	for (size_t i = 0; i < sizeof short_you / sizeof *short_you; i++)
		if (is_word(&t, 0, short_you[i].form)) return arena_printf(a, "%s you %s?", short_you[i].opens, rest(&t, 1, a));
	for (size_t i = 1; i < t.n && i <= 8 && known; i++) {
		for (size_t r = 0; r < AUXILIARIES; r++)
			if (is_word(&t, i, auxiliaries[r].form)) return turn(&t, i, r, a);
		known = !is_one(&t, i, relative);
		if (is_word(&t, 0, "you")) break;
	}
	const char *all = arena_strndup(a, clause, len);
	if (!all) return NULL;
	return is_word(&t, 0, "you") ? arena_printf(a, "Do you %s?", rest(&t, 1, a)) : arena_printf(a, "Is it the case that %s?", all);
}

const char *condition_question(const char *sentence, size_t len, struct arena *a)
{
	const char *clause;
	size_t n;
	while (len && clause_find(sentence, len, &clause, &n)) {
		while (n && clause[n - 1] == ' ') n--;
		const char *q = clause_question(clause, n, a);
		if (q) return q;
		len -= (size_t)(clause + n - sentence);
		sentence = clause + n;
	}
	return NULL;
}

/* ---- the list ---- */

struct asked { const char *text; struct word *words; size_t word_n; };
struct asking {
	struct arena *a;
	struct word *thread; size_t thread_n;
	struct asked *list; size_t n, max;
};

/* Share of x's content words that y has; 1 where x has none. */
static double shared(const struct word *x, size_t xn, const struct word *y, size_t yn)
{
	double all = 0, have = 0;
	for (size_t i = 0; i < xn; i++) {
		if (x[i].stop || x[i].asks) continue;
		all++;
		have += words_have(y, yn, x[i].stem);
	}
	return all > 0 ? have / all : 1;
}

/* about: the words that say what it asks, where they are not its own; else NULL. */
static int ask_add(struct asking *s, const char *text, const char *about, struct err *e)
{
	struct asked x = { .text = text };
	if (!about) about = text;
	if (s->n == s->max || utf8_count(text, strlen(text)) > CHARS_MAX || strchr(text, '\n')) return OK;
	int rc = words_of(about, strlen(about), s->a, &x.words, &x.word_n, e);
	if (rc || shared(x.words, x.word_n, s->thread, s->thread_n) >= SAID_SHARE) return rc;
	for (size_t i = 0; i < s->n; i++) {
		const struct asked *o = &s->list[i];
		if (shared(x.words, x.word_n, o->words, o->word_n) >= SAME_SHARE || shared(o->words, o->word_n, x.words, x.word_n) >= SAME_SHARE) return OK;
	}
	s->list[s->n++] = x;
	return OK;
}

static int is_cited(const struct answer *a, size_t passage)
{
	for (size_t i = 0; i < a->citation_n; i++)
		if (a->citations[i].passage == passage) return 1;
	return 0;
}

/* Conditions and questions that stand in the passage. */
static int passage_ask(struct asking *s, const struct passage *p, int conditions, struct err *e)
{
	int rc = OK;
	for (uint32_t i = 0; !rc && i < p->chunk.sentence_n && s->n < s->max; i++) {
		const char *text = p->text + (p->chunk.sentences[i].off - p->chunk.range.off), *q = NULL;
		size_t len = p->chunk.sentences[i].len;
		if (conditions && s->n < CONDITIONS && p->language == WORDS_ENGLISH) q = condition_question(text, len, s->a);
		if (!conditions && text[len - 1] == '?') q = arena_strndup(s->a, text, len);
		if (q) rc = ask_add(s, q, NULL, e);
	}
	return rc;
}

/* The last of its headings: as it is when it asks, else in the house's phrase. */
static int heading_ask(struct asking *s, const struct passage *p, const char *about, struct err *e)
{
	const char *h = p->chunk.heading, *hole = about ? strstr(about, "{{heading}}") : NULL;
	for (const char *next; (next = strstr(h, " > ")); h = next + 3) continue;
	size_t len = strlen(h);
	if (len && h[len - 1] == '?') return ask_add(s, h, NULL, e);
	if (!len || !hole || strcmp(h, p->doc.title) == 0) return OK;
	const char *q = arena_printf(s->a, "%.*s%s%s", (int)(hole - about), about, h, hole + strlen("{{heading}}"));
	return q ? ask_add(s, q, h, e) : err_set(e, E_MEMORY, "assist: out of memory");
}

int next_questions(const struct answer *reply, const char *thread, const char *about, size_t max, struct arena *a,
	const char ***out, size_t *n, struct err *e)
{
	struct asking s = { .a = a, .max = max };
	const struct retrieval *r = &reply->retrieval;
	double best = 0;
	size_t most = r->n < PASSAGES ? r->n : PASSAGES;
	s.list = arena_calloc(a, max + 1, sizeof *s.list);
	*out = arena_calloc(a, max + 1, sizeof **out);
	if (!s.list || !*out) return err_set(e, E_MEMORY, "assist: out of memory");
	int rc = words_of(thread, strlen(thread), a, &s.thread, &s.thread_n, e);
	for (size_t i = 0; i < most; i++)
		if (r->passages[i].cosine > best) best = r->passages[i].cosine;
	for (int kind = 0; kind < 3; kind++) {
		for (size_t i = 0; !rc && i < most; i++) {
			const struct passage *p = &r->passages[i];
			if (!is_cited(reply, i) && (p->cosine < NEAR_LEAST || p->cosine < NEAR_SHARE * best)) continue;
			if (kind < 2) rc = passage_ask(&s, p, kind == 0, e);
			else if (!is_cited(reply, i)) rc = heading_ask(&s, p, about, e);
		}
	}
	for (size_t i = 0; i < s.n; i++) (*out)[i] = s.list[i].text;
	*n = s.n;
	return rc;
}
