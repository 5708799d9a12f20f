/* within.c: owns what is said around a question (within.h).
 *
 * Method: a frame is a row of slots, each some words of which one stands there, or none where it ends in "?". It is taken off
 * where a colon or a comma follows it, or a question word: "tell me about it" is no frame. Frames are looked for in all
 * languages, for they share no beginnings. Of several sentences those are taken that end in a question mark, or open with
 * a question word where none does, if they lean on nothing said before; else all stays. Capitals throughout are lowered
 * but for words with a digit. A question without its mark gets it, so that it reads as with it.
 * Threads: no state. Failure: only memory. */
#include "api/within.h"
#include <string.h>
#include "api/followup.h"
#include "base/buf.h"
#include "base/sentence.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "base/words.h"

enum { FRAMES_MAX = 4, WORD_MAX = 64, CAPITALS_LEAST = 8, SENTENCES_MAX = 32, LOWER_MAX = 1 << 20 };

static const char *const frames[] = {
	"can|could|would|will you|u|someone|anyone please|kindly|possibly|perhaps|maybe|also|quickly|briefly? "
		"tell|explain|inform|answer|clarify|say|show to? me|us? please? this|the|my? following? question?",
	"please|kindly|pls? tell|explain|inform|answer|clarify|say|show to? me|us? please? this|the|my? following? question?",
	"please|kindly|pls? let me|us know",
	"i|we would|d|should? like|love|need|want|wish|am|m|was trying|looking|hoping|wondering? to? know|ask|learn|understand|hear|find? out? you?",
	"i|we wonder|wondered",
	"do|does|would|did you|anyone|anybody|someone happen? to? know|remember|recall",
	"any idea",
	"my|the|a? quick|short|next? question is|for? you?",
	"i|we have a|one|another quick|short? question",
	"hi|hello|hey|greetings|sorry there|all|everyone|team? ",
	"good morning|day|evening|afternoon",
	"excuse|pardon me",
	"please|kindly|pls",
	"können|könnten|kannst|könntest|würden|würdest sie|du|ihr mir|uns? bitte|vielleicht|kurz? sagen|erklären|beantworten|verraten|mitteilen|erläutern",
	"bitte? sag|sage|sagen|erklär|erkläre|erklären|verrate|beantworte|beantworten sie? mir|uns? bitte? diese|die? folgende? frage?",
	"ich|wir möchte|möchten|will|wollen|würde|wüsste gern|gerne? wissen|erfahren|fragen?",
	"weißt|weiß|wissen|wisst du|sie|ihr|jemand",
	"meine? frage ist|lautet?",
	"hallo|moin",
	"guten tag|morgen|abend",
	"bitte",
	"me? puedes|podrías|puede|podría|pueden por? favor? decir|decirme|explicar|explicarme|contestar|responder",
	"dime|dígame|explícame|contesta|responde por? favor?",
	"me? quiero|quisiera|gustaría|querría saber|preguntar",
	"sabes|sabe usted?",
	"por favor",
	"hola",
	"pouvez|peux|pourriez|pourrais vous|tu me|m|nous? dire|expliquer|répondre|indiquer|préciser",
	"dis|dites|expliquez|explique|répondez moi",
	"je|j voudrais|aimerais|souhaite|souhaiterais|veux bien? savoir|comprendre|demander",
	"savez|sais vous|tu",
	"s il vous|te plaît",
	"bonjour|bonsoir|salut",
};
static const char *const languages[] = { "en", "de", "es", "fr" };

struct text { const char *at; size_t len; };

/* The next word from *at on, lower case; an apostrophe parts words. 0: none, or none of a frame. *gap: what stood before it. */
static int word_next(struct text t, size_t *at, char out[WORD_MAX], struct text *gap)
{
	size_t n = 0, from = *at;
	out[0] = 0;
	while (*at < t.len) {
		size_t next = *at;
		int32_t c = utf8_next(t.at, t.len, &next);
		if (uni_is_word((uint32_t)c)) {
			if (!n) *gap = (struct text){ t.at + from, *at - from };
			if (n + 4 >= WORD_MAX) return 0;
			n += utf8_put(out + n, uni_tolower((uint32_t)c));
		} else if (n || *at - from >= WORD_MAX) break;       /* no frame has so much between its words */
		*at = next;
	}
	out[n] = 0;
	return n > 0;
}

static int listed(const char *slot, size_t len, const char *word)
{
	size_t n = strlen(word);
	for (const char *at = slot, *end = slot + len; at < end; at++) {
		const char *bar = memchr(at, '|', (size_t)(end - at));
		if (!bar) bar = end;
		if ((size_t)(bar - at) == n && memcmp(at, word, n) == 0) return 1;
		at = bar;
	}
	return 0;
}

/* How many bytes of the text the frame is; 0: it does not begin with it. Only blanks and what parts words lie inside. */
static size_t frame_len(const char *frame, struct text t)
{
	size_t at = 0;
	while (*frame) {
		size_t len = strcspn(frame, " "), next = at;
		int maybe = len && frame[len - 1] == '?';
		char word[WORD_MAX];
		struct text gap;
		if (len && word_next(t, &next, word, &gap) && !memchr(gap.at, '.', gap.len) && !memchr(gap.at, ':', gap.len) &&
			listed(frame, len - (size_t)maybe, word)) at = next;
		else if (len && !maybe) return 0;
		frame += len + (frame[len] == ' ');
	}
	return at;
}

/* Does the word open a question, in any language? */
static int opens(const char *word)
{
	for (size_t i = 0; i < sizeof languages / sizeof *languages; i++)
		if (followup_asks(languages[i], word)) return 1;
	return 0;
}

/* Where the question begins behind a frame of n bytes; 0: what follows is no question of its own. */
static size_t behind(struct text t, size_t n)
{
	char word[WORD_MAX], second[WORD_MAX];
	struct text gap, more;
	size_t at = n, begin;
	if (!word_next(t, &at, word, &gap)) return 0;
	begin = (size_t)(gap.at + gap.len - t.at);
	int parted = memchr(gap.at, ':', gap.len) || memchr(gap.at, ',', gap.len) || memchr(gap.at, '!', gap.len);
	int whether = listed("if|whether|ob|si", 16, word);
	size_t then = at;
	if (!word_next(t, &then, second, &more)) return 0;          /* "please tell me why" */
	if (whether) return at + more.len;
	return parted || opens(word) ? begin : 0;
}

static size_t frames_len(struct text t)
{
	size_t off = 0;
	for (int i = 0; i < FRAMES_MAX; i++) {
		const struct text rest = { t.at + off, t.len - off };
		size_t best = 0;
		for (size_t f = 0; f < sizeof frames / sizeof *frames; f++) {
			size_t n = frame_len(frames[f], rest), to = n ? behind(rest, n) : 0;
			if (to > best) best = to;
		}
		if (!best) break;
		off += best;
	}
	return off;
}

/* ---- sentences ---- */

static int asks(struct text t)
{
	size_t at = t.len;
	int32_t c = at ? utf8_prev(t.at, &at) : 0;
	while (at && (c == ' ' || c == ')' || c == '"' || c == '!')) c = utf8_prev(t.at, &at);
	return c == '?' || c == 0xff1f || c == 0x61f || c == 0x37e;
}

static int opens_text(struct text t)
{
	char word[WORD_MAX];
	struct text gap;
	size_t at = frames_len(t);
	return word_next(t, &at, word, &gap) && opens(word);
}

/* Begins with a number or a letter of a list. */
static int is_item(struct text t)
{
	return t.len > 2 && (t.at[1] == ')' || (t.at[1] == '.' && t.at[0] >= '0' && t.at[0] <= '9'));
}

/* *out: the sentences that ask, each without its frame. *dropped: others were left out. */
static int sentences_take(const char *message, struct arena *a, const char **out, int *dropped, struct err *e)
{
	struct text s[SENTENCES_MAX];
	size_t n = 0, len = strlen(message), pos = 0, from, to, marks = 0;
	*dropped = 0;
	while (n < SENTENCES_MAX && sentence_next(message, len, &pos, &from, &to)) {
		s[n] = (struct text){ message + from, to - from };
		if (is_item(s[n])) return OK;
		marks += (size_t)asks(s[n++]);
	}
	if (!n || n == SENTENCES_MAX) return OK;
	const char *made = "";
	for (size_t i = 0; made && i < n; i++) {
		if (n > 1 && !(marks ? asks(s[i]) : opens_text(s[i]))) {
			*dropped = 1;
			continue;
		}
		size_t off = frames_len(s[i]), at = off;
		int32_t first = utf8_next(s[i].at, s[i].len, &at);
		char c[4];
		size_t c_n = off ? utf8_put(c, uni_toupper((uint32_t)first)) : 0;
		made = arena_printf(a, "%s%s%.*s%.*s", made, *made ? " " : "", (int)c_n, c, (int)(s[i].len - (c_n ? at : 0)), s[i].at + (c_n ? at : 0));
	}
	if (!made) return err_set(e, E_MEMORY, "question: out of memory");
	if (*made) *out = made;
	else *dropped = 0;
	return OK;
}

/* ---- capitals and marks ---- */

static int is_capitals(const char *s, size_t len)
{
	size_t letters = 0, words = 0, in = 0;
	for (size_t at = 0; at < len;) {
		uint32_t c = (uint32_t)utf8_next(s, len, &at);
		if (uni_toupper(c) != c) return 0;
		letters += uni_tolower(c) != c;
		words += !in && uni_is_word(c);
		in = (size_t)uni_is_word(c);
	}
	return letters >= CAPITALS_LEAST && words > 2;
}

/* Lower case but for the first letter and words with a digit. */
static int capitals_lower(const char *s, struct arena *a, const char **out, struct err *e)
{
	size_t len = strlen(s);
	struct buf b;
	buf_init(&b, LOWER_MAX);
	for (size_t at = 0; at < len;) {
		size_t n = strcspn(s + at, " \t\r\n"), first = at;
		if (n == 0) {
			buf_putc(&b, s[at++]);
			continue;
		}
		utf8_next(s, len, &first);
		if (at) first = at;
		if (text_has_digit(s + at, n)) buf_put(&b, s + at, n);
		else {
			buf_put(&b, s + at, first - at);
			(void)uni_lower(s + first, at + n - first, &b, NULL);
		}
		at += n;
	}
	*out = buf_failed(&b) ? NULL : arena_strndup(a, buf_cstr(&b), b.len);
	buf_clear(&b);
	return *out ? OK : err_set(e, E_MEMORY, "question: out of memory");
}

static int mark_add(const char *s, struct arena *a, const char **out, struct err *e)
{
	size_t len = strlen(s), end;
	while (len && strchr(" \t\r\n", s[len - 1])) len--;
	end = len;
	*out = s;
	int32_t last = end ? utf8_prev(s, &end) : 0;
	if (!last || !uni_is_word((uint32_t)last) || !opens_text((struct text){ s, len })) return OK;
	*out = arena_printf(a, "%.*s?", (int)len, s);
	return *out ? OK : err_set(e, E_MEMORY, "question: out of memory");
}

int within_take(const char *message, const char *language, struct arena *a, const char **out, int *around, struct err *e)
{
	enum followup needs = FOLLOWUP_NONE;
	const char *plain = message, *question;
	int rc = is_capitals(message, strlen(message)) ? capitals_lower(message, a, &plain, e) : OK;
	question = plain;
	*around = 0;
	if (!rc) rc = sentences_take(plain, a, &question, around, e);
	if (!rc && *around) rc = followup_of(question, strlen(question), language, a, &needs, e);
	if (needs != FOLLOWUP_NONE) question = plain, *around = 0;  /* it leans on what stands around it */
	return rc ? rc : mark_add(question, a, out, e);
}
