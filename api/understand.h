/* understand.h: a request to a plan: the question as it stands without the conversation, what is searched for it, in which
 * language. No search here; answer.c hands the plan's queries to retrieve_many and its question to whoever reads or writes.
 * Thread: any. */
#ifndef API_UNDERSTAND_H
#define API_UNDERSTAND_H
#include <stddef.h>
#include "api/split.h"
#include "api/retrieve.h"
#include "api/service.h"

struct answer_request;

struct plan {                        /* in the arena, or borrowed from the request */
	const char *read_as;         /* the question in the last turn (within.h) in the spelling it was meant in (spell.h): what
	                              * all that follows is made of */
	const char *question;        /* standalone: as read where nothing is missing */
	const char *parts[QUESTION_PARTS_MAX]; size_t part_n; /* what it asks, each standalone; one: the question */
	/* What is searched, at most three, together: the standalone question or its parts, and the last turn as it was said. */
	struct retrieve_query queries[RETRIEVE_QUERIES_MAX]; size_t query_n;
	int query_part[RETRIEVE_QUERIES_MAX]; /* index into parts of what a query looks for; -1: all of it (passage.query) */
	const char *language;        /* ISO 639-1 (language.h) */
	const char *rewritten_by;    /* "none", "rules", "model" */
	size_t prompt_tokens, completion_tokens; /* of the model's rewriting */
	double ms;
};

/* q->conf must be set (answer_run does). A model is asked only where rules find that the turn needs the conversation, an
 * answer is to be generated and answer.rewrite allows it; what it writes must keep what the turn says, numbers and names too, and bring no
 * word from outside the conversation, else the rules' result stands, as it does when the model is busy or late.
 * E_USAGE: a turn of the history is not UTF-8; E_CANCELLED; E_MEMORY; errors of the index. */
int plan_make(struct service *s, const struct answer_request *q, struct arena *a, struct plan *out, struct err *e);

#endif
