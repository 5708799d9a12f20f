/* tier.c: the choice of who writes (tier.h).
 *
 * Method: the rule is of words, in English, the language that it was written for; all else goes to the large model. Of the
 * two thresholds the one for quoting is looked at first, as the cheapest way.
 * Threads: no state. Failure: a small model that is there and cannot be opened fails the request, as the large one does. */
#include "api/tier.h"
#include <ctype.h>
#include <string.h>
#include "base/language.h"
#include "base/stat.h"

enum { WORDS_MAX = 12, WORD_SIZE = 24 };

static int is_one_of(const char *word, const char *const *list)
{
	while (*list && strcmp(*list, word)) list++;
	return *list != NULL;
}

/* The next word of *s in lower case, cut at WORD_SIZE - 1; 0: there is none. */
static int word_next(const char **s, char word[WORD_SIZE])
{
	size_t n = 0;
	while (**s && !isalnum((unsigned char)**s) && (unsigned char)**s < 0x80) (*s)++;
	for (; isalnum((unsigned char)**s) || (unsigned char)**s >= 0x80; (*s)++)
		if (n + 1 < WORD_SIZE) word[n++] = (char)tolower((unsigned char)**s);
	word[n] = 0;
	return n > 0;
}

int tier_is_factual(const char *question)
{
	static const char *const asks[] = { "who", "whom", "whose", "when", "where", "which", "what", NULL };
	static const char *const amounts[] = { "many", "much", "long", "old", "far", "often", "tall", "big", "large", "high", "fast", NULL };
	static const char *const more[] = { "why", "explain", "describe", "compare", "difference", "differences", "list", "steps", "summarize", "reason",
		"reasons", "advantages", "should", "happens", "mean", "means", NULL };
	char word[WORD_SIZE];
	int n = 0, fact = 0, how = 0;
	if (!language_is_english(question, strlen(question))) return 0;
	while (word_next(&question, word)) {
		if (is_one_of(word, more)) return 0;
		if (how && !is_one_of(word, amounts)) return 0;   /* how to do something */
		how = !strcmp(word, "how");
		fact |= how || is_one_of(word, asks);
		if (++n > WORDS_MAX) return 0;
	}
	return fact && !how;
}

enum tier tier_choose(const struct conf *c, const char *question, double answerable)
{
	int extractive = c->route_extractive > 0 && answerable >= c->route_extractive, small = c->route_small > 0 && answerable >= c->route_small;
	if ((!extractive && !small) || !tier_is_factual(question)) return TIER_LARGE;
	return extractive ? TIER_EXTRACTIVE : TIER_SMALL;
}

int tier_engine(struct service *s, const struct answer_request *q, struct answer *a, struct engine **n, struct err *e)
{
	static const char *const labels[] = { "tier=\"extractive\"", "tier=\"small\"", "tier=\"large\"" };
	enum tier tier = q->style_given || q->history_n ? TIER_LARGE : tier_choose(q->conf, q->question, a->answerable);
	struct engine *small = NULL;
	const char *why;
	int rc = tier == TIER_SMALL ? service_engine_small(s, &small, &why, e) : OK;
	if (rc) return rc;
	if (tier == TIER_SMALL && !small) tier = TIER_LARGE;
	if (tier == TIER_SMALL) *n = small;
	if (tier == TIER_EXTRACTIVE) {
		*n = NULL;
		a->reason = "the answer stands clearly in the documents; quoted without the language model";
	}
	stat_count("footnote_answer_tiers_total", labels[tier], 1);
	return OK;
}
