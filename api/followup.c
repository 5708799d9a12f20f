/* followup.c: what a turn of a conversation needs from the turns before it (followup.h).
 *
 * Method: words are compared with short lists of a language. A turn refers to what came before when a pronoun stands in it
 * that no earlier sentence of the same turn explains, or when it opens as one that goes on ("and", "what about", "I meant").
 * A turn of at most two words with content goes on too, of one where it is built as a question. Everything else stands alone and is left as it is: a wrong "alone"
 * costs one answer, a wrong follow-up drags an old topic into every new one. Which words are carried over is decided by
 * weights that fall off turn by turn; tests/eval/mtrag.py measures what they find.
 * Threads: no state. Failure: only memory. */
#include "api/followup.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api/abstain.h"
#include "api/answer.h"
#include "base/buf.h"
#include "base/language.h"
#include "base/sentence.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "base/words.h"

enum { TURN_CHARS = 300, LOOKED_AT_BYTES = 8192, SHORT_WORDS = 2, OPENING_WORDS = 4, TERMS_MAX = 32, EXPLAINS_WORDS = 2,
	CANDIDATES_MAX = 2048 };
static const double DECAY = 0.4, ANSWERED = 0.5, NAME = 1.5; /* a turn further back; said by the assistant; a capital letter */

/* asks, verbs: open a question. polar: further verbs that open one which is answered by yes or no; begins: what may stand before
 * either; choice: parts what is offered to choose from. refers: stand for what was named before. opens: how a turn begins that goes on from another,
 * "|" between. empty: say nothing of a topic. Lower case, blanks between. */
static const struct rules { const char *code, *asks, *verbs, *polar, *begins, *choice, *refers, *opens, *empty; } rules[] = {
	{ "en", " who whom whose what when where why how which ",
		" is are was were do does did can could will would should has have ",
		" am may must had might shall isn aren wasn don doesn didn ", " and but so then also ok okay please hello hi ", " or ",
		" it its they them their theirs he him his she her hers this that these those one ones former latter both itself themselves same such ",
		"and|but|or|so|then|also|no|yes|okay|ok|what about|how about|i mean|i meant|of course|instead|otherwise|besides|plus|even",
		" tell please give need want know like get use using used would just say said mean meant question answer information document "
		"documents provide specific thanks thank hi hello great good ok okay yes no not same there here only very own too because don doesn "
		"didn isn aren wasn won t s m re ve ll d let also sure sorry help go thing things often " },
	{ "de", " wer wen wem wessen was wann wo wie warum weshalb wieso welche welcher welches welchen welchem wieviel wieviele woher wohin wofür womit ",
		" ist sind war waren hat haben kann können wird werden wurde muss gibt ",
		" darf dürfen müssen soll sollen habe bin bekomme bekommt bietet braucht brauche ", " und aber dann also auch bitte ", " oder ",
		" er sie es ihm ihn ihr ihre ihren ihrem ihrer ihres sein seine seinen seinem seiner seines dies diese dieser dieses diesen diesem "
		"dessen deren jene jener jenes jenen dort dabei dafür damit davon dazu darin daran darauf darüber solche beide beiden ",
		"und|aber|oder|dann|also|auch|nein|ja|ich meine|ich meinte|was ist mit|wie ist es mit|wie steht es mit|wie sieht es mit|außerdem|sonst|stattdessen",
		" der die das den dem des ein eine einer einen einem eines ist sind war waren wird werden wurde wurden wer was wann wo wie welche "
		"welcher welches welchen und oder von mit für nicht im in zu zum zur hat haben hatte kann können könnte muss müssen soll sollte man "
		"ich mir mich wir uns du dir dich sie es er auch als aus bei nach sich auf durch dass über unter vor um am an ja nein bitte danke "
		"gibt noch nur so wenn warum viele viel sehr denn da mal doch " },
	{ "es", " quién quiénes qué cuándo dónde cómo cuál cuáles cuánto cuánta cuántos cuántas ",
		" es son fue puede tiene hay ",
		" está están puedo pueden podemos tienen debo debe se ", " y pero entonces también ", " o u ",
		" él ella ellos ellas ello su sus esto eso ese esa esos esas aquel aquella aquello lo suyo suya mismo misma ambos ",
		"y|pero|o|entonces|también|además|no|sí|me refiero|quiero decir|quise decir|qué hay de|qué pasa con|qué tal|y si",
		" el la los las lo un una unos unas de del al a en y e o u que qué quién quiénes cuándo dónde cómo cuál cuáles cuánto cuántos cuántas "
		"por para con sin no sí se su sus es son era fue ser está están hay ha han puede pueden debe me mi yo más muy también si como sobre "
		"desde entre gracias hola favor dime hace " },
	{ "fr", " qui quand où comment pourquoi quel quelle quels quelles combien qu'est-ce ",
		" est sont était peut ",
		" peuvent puis ont a dois doit ", " et mais alors aussi donc ", " ou ",
		" il elle ils elles lui leur leurs son sa ses cela ça celui celle ceux celles celui-ci celle-ci dedans eux ",
		"et|mais|ou|alors|aussi|donc|non|oui|je veux dire|je voulais dire|qu'en est|et si|sinon|en plus|qu en est",
		" le la les l un une des du de d et ou à au aux en dans par pour avec sans sur ne pas n est sont était c ce cet cette ces qui que qu quoi "
		"quand où comment quel quelle quels quelles combien pourquoi je me m mon ma mes vous nous on se s y a ont être avoir fait faire peut "
		"peuvent plus très aussi si comme il elle ils elles oui non merci bonjour j t dis " },
};

/* A word as the rules see it. */
struct token {
	const char *text;        /* lower case */
	uint64_t stem;
	uint32_t off, len;
	uint8_t content, number, capital;
};
struct tokens_of { struct token *at; size_t n; };

static const struct rules *rules_of(const char *language)
{
	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
		if (strcmp(rules[i].code, language) == 0) return &rules[i];
	return NULL;
}

/* Words of the first `max` bytes. */
static int tokens_of(const char *text, size_t len, size_t max, const char *language, struct arena *a, struct tokens_of *out, struct err *e)
{
	const struct rules *r = rules_of(language);
	struct word *w;
	struct buf low;
	size_t n;
	if (len > max) len = utf8_floor(text, len, max);
	int rc = words_of_in(words_language_of(language), text, len, a, &w, &n, e);
	if (rc) return rc;
	buf_init(&low, 1024);
	*out = (struct tokens_of){ arena_calloc(a, n + 1, sizeof *out->at), 0 };
	for (size_t i = 0; out->at && i < n; i++) {
		struct token *t = &out->at[out->n];
		buf_reset(&low);
		if (w[i].len > 200 || uni_lower(text + w[i].off, w[i].len, &low, NULL)) continue;
		*t = (struct token){ arena_strdup(a, buf_cstr(&low)), w[i].stem, w[i].off, w[i].len, 0, w[i].number, w[i].capital };
		if (!t->text) break;
		int mark = w[i].off && text[w[i].off - 1] == '[';       /* "[1]" of an answer */
		t->content = !mark && (w[i].len > 1 || w[i].number) && !(r && words_listed(r->empty, t->text)) && !(r && words_listed(r->refers, t->text));
		if (!r || strcmp(r->code, "en") == 0) t->content &= !w[i].stop;
		out->n++;
	}
	buf_clear(&low);
	return out->at ? OK : err_set(e, E_MEMORY, "question: out of memory");
}

static size_t content_n(const struct token *t, size_t n)
{
	size_t distinct = 0;
	for (size_t i = 0; i < n; i++) {
		size_t k = 0;
		while (k < i && !(t[k].content && t[k].stem == t[i].stem)) k++;
		distinct += t[i].content && k == i;
	}
	return distinct;
}

int followup_content(const char *text, size_t len, const char *language, struct arena *a, size_t *n, struct err *e)
{
	struct tokens_of t;
	int rc = tokens_of(text, len, LOOKED_AT_BYTES, language, a, &t, e);
	*n = rc ? 0 : content_n(t.at, t.n);
	return rc;
}

/* Does the turn begin with one of the openings? */
static int opens(const struct rules *r, const struct tokens_of *t)
{
	char begin[128];
	for (const char *at = r->opens; *at; at += at[strspn(at, "|")] ? strspn(at, "|") : 0) {
		size_t len = strcspn(at, "|"), have = 0;
		begin[0] = 0;
		for (size_t i = 0; i < t->n && i < OPENING_WORDS && have < len; i++) {
			size_t n = strlen(t->at[i].text);
			if (have + n + 2 > sizeof begin) break;
			if (have) begin[have++] = ' ';
			memcpy(begin + have, t->at[i].text, n + 1);
			have += n;
		}
		if (have == len && memcmp(begin, at, len) == 0) return 1;
		at += len;
	}
	return 0;
}

/* A pronoun before which no other sentence of the turn names anything. A capital in the middle is the polite "Sie". */
static int refers(const struct rules *r, const char *text, size_t len, const struct tokens_of *t)
{
	size_t pos = 0, from, to, named = 0, i = 0;
	while (sentence_next(text, len, &pos, &from, &to)) {
		size_t begin = i;
		for (; i < t->n && t->at[i].off < to; i++) {
			const struct token *w = &t->at[i];
			int polite = w->capital && i > begin && strcmp(r->code, "de") == 0;
			int says_there_is = i > 0 && strcmp(w->text, "es") == 0 && strcmp(t->at[i - 1].text, "gibt") == 0;
			if (words_listed(r->refers, w->text) && !polite && !says_there_is && named < EXPLAINS_WORDS) return 1;
		}
		named += content_n(t->at + begin, i - begin);
	}
	return 0;
}

int followup_asks(const char *language, const char *word)
{
	const struct rules *r = rules_of(language);
	return !r ? 0 : words_listed(r->asks, word) ? 1 : words_listed(r->verbs, word) ? 2 : 0;
}

int followup_yes_no(const char *question, size_t len, const char *language, struct arena *a, int *out, struct err *e)
{
	const struct rules *r = rules_of(language);
	struct tokens_of t;
	size_t first = 0;
	int rc = tokens_of(question, len, LOOKED_AT_BYTES, language, a, &t, e);
	*out = 0;
	if (rc || !r) return rc;
	while (first < t.n && words_listed(r->begins, t.at[first].text)) first++;
	if (first == t.n || !(words_listed(r->verbs, t.at[first].text) || words_listed(r->polar, t.at[first].text))) return OK;
	*out = 1;
	for (size_t i = first; i < t.n; i++)
		if (words_listed(r->asks, t.at[i].text) || words_listed(r->choice, t.at[i].text)) *out = 0;
	return OK;
}

/* 1: it is built as a question; 0: a few words only, or nothing is known of the language. */
static size_t whole(const struct rules *r, const struct tokens_of *t)
{
	for (size_t i = 0; r && i < t->n && i < OPENING_WORDS; i++)
		if (words_listed(r->asks, t->at[i].text) || words_listed(r->verbs, t->at[i].text)) return 1;
	return 0;
}

int followup_of(const char *question, size_t len, const char *language, struct arena *a, enum followup *out, struct err *e)
{
	const struct rules *r = rules_of(language);
	struct tokens_of t;
	int rc = tokens_of(question, len, LOOKED_AT_BYTES, language, a, &t, e);
	*out = FOLLOWUP_NONE;
	if (rc) return rc;
	if (len > LOOKED_AT_BYTES) len = utf8_floor(question, len, LOOKED_AT_BYTES);
	size_t says = content_n(t.at, t.n);
	if (says <= SHORT_WORDS - whole(r, &t) || (r && opens(r, &t))) *out = FOLLOWUP_SHORT;
	else if (r && refers(r, question, len, &t)) *out = FOLLOWUP_REFERS;
	return OK;
}

int followup_of_part(const char *part, size_t len, const char *language, struct arena *a, enum followup *out, struct err *e)
{
	const struct rules *r = rules_of(language);
	struct tokens_of t;
	size_t first = 0;
	int rc = tokens_of(part, len, LOOKED_AT_BYTES, language, a, &t, e);
	*out = FOLLOWUP_NONE;
	if (rc) return rc;
	while (r && first + 1 < t.n && words_listed(r->begins, t.at[first].text)) first++;
	size_t from = first ? t.at[first].off : 0;
	return followup_of(part + from, len - from, language, a, out, e);
}

/* ---- what is carried over ---- */
struct term { uint64_t stem; double weight; const char *text; size_t turn; uint32_t off, len; };

static int by_weight(const void *a, const void *b)
{
	const struct term *x = a, *y = b;
	if (x->weight != y->weight) return x->weight > y->weight ? -1 : 1;
	if (x->turn != y->turn) return x->turn > y->turn ? -1 : 1;
	return (x->off > y->off) - (x->off < y->off);
}

static int by_place(const void *a, const void *b)
{
	const struct term *x = a, *y = b;
	if (x->turn != y->turn) return x->turn > y->turn ? -1 : 1;
	return (x->off > y->off) - (x->off < y->off);
}

static int has_stem(const struct tokens_of *t, size_t n, uint64_t stem)
{
	for (size_t i = 0; i < n; i++)
		if (t->at[i].stem == stem && t->at[i].content) return 1;
	return 0;
}

static size_t turn_begin(const char *text)
{
	size_t len = strlen(text), at = 0;
	for (int n = 0; at < len && n < TURN_CHARS; n++) utf8_next(text, len, &at);
	return at;
}

/* "The documents do not answer this": it is about nothing. */
static int is_abstention(const struct answer_turn *t)
{
	size_t len = turn_begin(t->text);
	const char *said = abstain_text(language_of(t->text, len));
	return strcmp(t->role, "user") != 0 && strncmp(t->text, said, strlen(said)) == 0;
}

static int terms_collect(const char *question, const struct answer_turn *turns, size_t turn_n, const char *language, struct arena *a,
	struct term *terms, size_t *n, struct err *e)
{
	struct tokens_of q, t;
	double far = 1;
	int rc = tokens_of(question, strlen(question), LOOKED_AT_BYTES, language, a, &q, e);
	for (size_t i = turn_n; !rc && i-- > 0;) {
		const struct answer_turn *turn = &turns[i];
		int person = strcmp(turn->role, "user") == 0;
		if (is_abstention(turn)) continue;
		rc = tokens_of(turn->text, turn_begin(turn->text), LOOKED_AT_BYTES, language, a, &t, e);
		for (size_t k = 0; !rc && k < t.n; k++) {
			const struct token *w = &t.at[k];
			size_t j = 0;
			if (!w->content || has_stem(&t, k, w->stem) || has_stem(&q, q.n, w->stem)) continue;
			while (j < *n && terms[j].stem != w->stem) j++;
			if (j == CANDIDATES_MAX) continue;
			if (j == *n) terms[(*n)++] = (struct term){ w->stem, 0, turn->text, i, w->off, w->len };
			terms[j].weight += far * (person ? 1 : ANSWERED) * (w->capital ? NAME : 1);
		}
		if (person) far *= DECAY;
	}
	return rc;
}

int followup_terms(const char *question, const struct answer_turn *turns, size_t turn_n, const char *language, size_t n,
	struct arena *a, const char **out, struct err *e)
{
	struct term *terms = arena_alloc(a, CANDIDATES_MAX * sizeof *terms);
	size_t have = 0;
	*out = "";
	int rc = terms ? terms_collect(question, turns, turn_n, language, a, terms, &have, e) : err_set(e, E_MEMORY, "question: out of memory");
	if (rc) return rc;
	if (have) qsort(terms, have, sizeof *terms, by_weight);
	if (n > TERMS_MAX) n = TERMS_MAX;
	if (have > n) have = n;
	if (have) qsort(terms, have, sizeof *terms, by_place);
	for (size_t i = 0; *out && i < have; i++) {
		const struct term *t = &terms[i], *before = i ? t - 1 : NULL;
		int beside = before && before->turn == t->turn && before->off + before->len + 1 == t->off && strchr(" -", t->text[t->off - 1]);
		const char *gap = !before ? "" : !beside ? ", " : t->text[t->off - 1] == '-' ? "-" : " ";
		*out = arena_printf(a, "%s%s%.*s", *out, gap, (int)t->len, t->text + t->off);
	}
	return *out ? OK : err_set(e, E_MEMORY, "question: out of memory");
}

/* ---- another subject ---- */
/* lead: words before the subject that is named; places: prepositions of one kind, "|" between kinds; of: those behind which the thing
 * stands that is asked about; what: question words that ask for the thing itself; says: what is said of a subject. */
static const struct swap_rules { const char *code, *lead, *places, *of, *what, *says; } swaps[] = {
	{ "en", " and or but so then ok okay also what how about now ", " in on at during inside outside | for of with | from to ", " of for ", " what who which ",
		" cost costs have has need take last run runs end ends start begin open close opened closed work apply get use contain include mean "
		"happen allow allowed pay charge expire live come go serve offer cover require weigh belong count arrive leave sell order receive "
		"hold free available included valid possible permitted prohibited forbidden paid due located made booked kept sold known given "
		"taken expensive big large long old high heavy far cheap used refunded reimbursed delivered shipped staffed stay " },
	{ "de", " und oder aber dann auch was ist mit wie sieht es steht jetzt ", " in im an am auf bei | für von | nach aus ", " von für ", " was wer welche welcher welches ",
		" kosten geöffnet offen erlaubt verboten gestattet möglich frei kostenlos gültig gelten dauern öffnen schließen haben laufen enden "
		"beginnen brauchen teuer groß lang inbegriffen enthalten verfügbar bezahlt erstattet zu " },
};
enum { SUBJECT_WORDS = 6, QUESTION_TOKENS = 32 };

/* Do both words stand in one kind of the list? */
static int one_kind(const char *places, const char *x, const char *y)
{
	char kind[64];
	for (const char *at = places; *at; at += strspn(at, "|")) {
		size_t n = strcspn(at, "|");
		snprintf(kind, sizeof kind, "%.*s", (int)(n < sizeof kind ? n : sizeof kind - 1), at);
		if (words_listed(kind, x) && words_listed(kind, y)) return 1;
		at += n;
	}
	return 0;
}

static int is_place(const struct swap_rules *s, const char *word)
{
	return one_kind(s->places, word, word);
}

/* Index of the first word of what the turn names, when it does no more than that; t->n: it does. */
static size_t subject_begin(const struct rules *r, const struct swap_rules *s, const struct tokens_of *t)
{
	size_t from = 0;
	while (from < t->n && words_listed(s->lead, t->at[from].text)) from++;
	if (from == 0 || t->n - from > SUBJECT_WORDS || content_n(t->at + from, t->n - from) == 0) return t->n;
	for (size_t i = from; i < t->n; i++) {
		const char *w = t->at[i].text;
		if (words_listed(r->asks, w) || words_listed(r->verbs, w) || words_listed(r->refers, w) || words_listed(s->says, w)) return t->n;
	}
	return from;
}

struct place { size_t from, to; };   /* tokens [from, to) of the old question */

static size_t phrase_end(const struct rules *r, const struct swap_rules *s, const struct tokens_of *q, size_t at)
{
	while (at < q->n && !is_place(s, q->at[at].text) && !words_listed(r->verbs, q->at[at].text) && !words_listed(s->says, q->at[at].text)) at++;
	return at;
}

/* Where the old question names what the new words t[from …] take the place of; 0: not clear. */
static int subject_place(const struct rules *r, const struct swap_rules *s, const struct tokens_of *q, const struct tokens_of *t, size_t from,
	struct place *out)
{
	size_t verb = 0;
	if (is_place(s, t->at[from].text)) {                         /* "in winter": for "in summer", or one more */
		*out = (struct place){ q->n, q->n };
		for (size_t i = 0; i < q->n; i++)
			if (one_kind(s->places, q->at[i].text, t->at[from].text)) *out = (struct place){ i, phrase_end(r, s, q, i + 1) };
		return 1;
	}
	for (size_t i = from; i < t->n; i++)                         /* "toner black" for "toner cyan": what both have tells where */
		for (size_t k = 0; k < q->n && t->at[i].content; k++) {
			size_t before = i - from;
			if (q->at[k].stem != t->at[i].stem || k < before || k - before + (t->n - from) > q->n) continue;
			*out = (struct place){ k - before, k - before + (t->n - from) };
			return phrase_end(r, s, q, out->from) >= out->to;
		}
	for (size_t i = q->n; i-- > 1;) {
		if (!words_listed(s->of, q->at[i].text)) continue;
		*out = (struct place){ i + 1, phrase_end(r, s, q, i + 1) };
		return out->to > out->from;
	}
	while (verb < q->n && !words_listed(r->verbs, q->at[verb].text)) verb++;
	if (verb >= q->n || verb + 1 == q->n) return 0;
	*out = (struct place){ verb + 1, phrase_end(r, s, q, verb + 1) };
	int said = out->to < q->n || (verb && !words_listed(s->what, q->at[0].text));
	return out->to > out->from && said && content_n(q->at + out->from, out->to - out->from) > 0;
}

/* The last thing that a person asked in a whole question; *out NULL: nothing. Turns that only name a subject are passed over. */
static int question_before(const struct rules *r, const struct swap_rules *s, const struct answer_turn *turns, size_t n, struct arena *a,
	struct tokens_of *q, const char **out, struct err *e)
{
	*out = NULL;
	while (n-- > 0) {
		const char *text = turns[n].text;
		if (strcmp(turns[n].role, "user") != 0) continue;
		int rc = tokens_of(text, strlen(text), LOOKED_AT_BYTES, r->code, a, q, e);
		if (rc) return rc;
		if (!q->n || (q->n <= QUESTION_TOKENS && subject_begin(r, s, q) < q->n)) continue;
		if (q->n <= QUESTION_TOKENS && whole(r, q) && !refers(r, text, strlen(text), q)) *out = text;
		return OK;
	}
	return OK;
}

int followup_swap(const char *question, const struct answer_turn *turns, size_t turn_n, const char *language, struct arena *a,
	const char **out, struct err *e)
{
	const struct rules *r = rules_of(language);
	const struct swap_rules *s = NULL;
	struct tokens_of t, q;
	struct place at;
	*out = "";
	for (size_t i = 0; i < sizeof swaps / sizeof *swaps; i++)
		if (strcmp(swaps[i].code, language) == 0) s = &swaps[i];
	if (!r || !s) return OK;
	int rc = tokens_of(question, strlen(question), LOOKED_AT_BYTES, language, a, &t, e);
	size_t from = rc ? 0 : subject_begin(r, s, &t);
	if (rc || from == t.n) return rc;
	const char *old;
	rc = question_before(r, s, turns, turn_n, a, &q, &old, e);
	if (rc || !old || !subject_place(r, s, &q, &t, from, &at)) return rc;
	const struct token *first = &t.at[from], *last = &t.at[t.n - 1], *end = &q.at[q.n - 1];
	size_t cut = at.from < q.n ? q.at[at.from].off : end->off + end->len;
	size_t go_on = at.to > at.from ? q.at[at.to - 1].off + q.at[at.to - 1].len : cut;
	*out = arena_printf(a, "%.*s%s%.*s%s", (int)cut, old, at.from == q.n ? " " : "", (int)(last->off + last->len - first->off), question + first->off, old + go_on);
	return *out ? OK : err_set(e, E_MEMORY, "question: out of memory");
}

/* ---- what may be taken for the same question ---- */
int followup_covers(const char *text, const char *question, const struct answer_turn *turns, size_t turn_n, const char *language,
	struct arena *a, int *out, struct err *e)
{
	struct tokens_of t, known;
	int rc = tokens_of(text, strlen(text), LOOKED_AT_BYTES, language, a, &t, e);
	size_t missing = rc ? 0 : content_n(t.at, t.n);
	for (size_t i = 0; !rc && missing && i <= turn_n; i++) {
		const char *from = i < turn_n ? turns[i].text : question;
		rc = tokens_of(from, strlen(from), LOOKED_AT_BYTES, language, a, &known, e);
		for (size_t k = 0; !rc && k < t.n; k++)
			if (t.at[k].content && has_stem(&known, known.n, t.at[k].stem)) t.at[k].content = 0;
		missing = rc ? 0 : content_n(t.at, t.n);
	}
	*out = !rc && missing == 0;
	return rc;
}

int followup_keeps(const char *text, const char *question, const char *language, struct arena *a, int *out, struct err *e)
{
	struct tokens_of t, q;
	int rc = tokens_of(text, strlen(text), LOOKED_AT_BYTES, language, a, &t, e);
	if (!rc) rc = tokens_of(question, strlen(question), LOOKED_AT_BYTES, language, a, &q, e);
	*out = !rc;
	for (size_t i = 0; !rc && i < q.n; i++) {
		const struct token *w = &q.at[i];
		if (w->content && !has_stem(&t, t.n, w->stem)) *out = 0;
	}
	return rc;
}
