/* orders.c: sentences that speak to the program (orders.h).
 *
 * Documents are data: a sentence whose only use is to steer whoever answers from it is no evidence of anything. Looked for are
 * phrases that no document needs for people, and a word of ignoring shortly before a word for instructions.
 * Threads: pure. Failure: none. */
#include "api/orders.h"
#include <ctype.h>
#include <string.h>

enum { LOOKED_AT = 1024, NEAR = 40 };

static const char *const phrases[] = { "system prompt", "hidden prompt", "your prompt", "your instructions", "reply only with", "respond only with",
	"answer only with", "only reply with", "only respond with", "only answer with", "whatever the user asks", "no matter what the user asks",
	"to your answer", "in your answer", "<!-- system", "<|im_start|>", "<|system|>", "every reply to contain", "you are now an ai",
	"you are an ai", "as an ai language model", NULL };
static const char *const ignoring[] = { "ignore", "disregard", "forget", "override", "ignorier", "vergiss", "missachte", "olvida", "ignora", "oublie", NULL };
static const char *const orders[] = { "instruction", "prompt", "consigne", "anweisung", "instruccion", "istruzion", "previous rules", "rules above", NULL };

/* The place of the first of these in s, or NULL. */
static const char *any_of(const char *s, const char *const *list)
{
	const char *first = NULL;
	for (; *list; list++) {
		const char *at = strstr(s, *list);
		if (at && (!first || at < first)) first = at;
	}
	return first;
}

int orders_machine(const char *text, size_t len)
{
	char low[LOOKED_AT + 1];
	size_t n = 0;
	for (size_t i = 0; i < len && n < LOOKED_AT; i++) {
		char c = isspace((unsigned char)text[i]) ? ' ' : (char)tolower((unsigned char)text[i]);
		if (c && (c != ' ' || (n && low[n - 1] != ' '))) low[n++] = c;
	}
	low[n] = 0;
	if (strncmp(low, "system:", 7) == 0 || any_of(low, phrases)) return 1;
	for (const char *s = low; (s = any_of(s, ignoring)) != NULL; s++) {
		const char *what = any_of(s, orders);
		if (what && what - s <= NEAR) return 1;
	}
	return 0;
}
