/* assist.h: a customer's thread to a suggested reply with citations, questions to ask next, and similar past tickets
 * (contract, section 3). No HTTP here; JSON only where both HTTP and the command line take and give the same. */
#ifndef API_ASSIST_H
#define API_ASSIST_H
#include "api/answer.h"
#include "base/json.h"
#include "index/filter.h"

struct assist_message { int customer; const char *text; };   /* else an agent's */
struct assist_request {
	struct reader reader;            /* collection required; its filter holds for the reply and for tickets */
	const struct assist_message *messages; size_t n;     /* oldest first; one of the customer's */
	const char *tone;                /* the name of one of assist.tones, or a text; NULL: assist.tone */
	enum answer_style style; int style_given;
	const char *key_id;              /* of the asker's access key; NULL: none */
	const volatile int *cancel;      /* may be NULL */
};
struct assist {                      /* in the arena, or borrowed from the snapshots of both */
	struct answer reply;
	const char *tone;                /* as the model was told */
	const char *greeting, *closing;  /* fixed phrases of the house, "" when none; no part of the reply */
	const char **next; size_t next_n;/* questions */
	struct retrieval similar;        /* tickets, one hit each */
};

/* {"messages":[{"role":"customer"|"agent","text"}],"tone","style"} into q, which borrows from o and the arena; *param names
 * what is wrong. E_USAGE, E_MEMORY. */
int assist_read(const struct service *s, const cJSON *o, struct arena *a, struct assist_request *q, const char **param, struct err *e);
/* What the customer asks, in the last of their messages: its questions, each with the sentence before; without one what it
 * says. In the arena; NULL: no memory. */
const char *assist_question(const char *message, size_t chars_max, struct arena *a);
/* Errors of answer_run; E_USAGE also for settings that are no filter. The sink hears the reply. out must be closed also after
 * an error. */
int assist_run(struct service *s, const struct assist_request *q, const struct answer_sink *sink, struct arena *a, struct assist *out, struct err *e);
void assist_close(struct assist *x);
/* {"reply","greeting","closing","tone","next_questions","similar"}; NULL: no memory. */
cJSON *assist_view(const struct assist *x);

#endif
