/* answer.h: question to cited answer (contract, section 4). retrieve -> select sentences -> write (or quote) -> cite
 * and verify. No HTTP and no JSON here: view.h turns the result into JSON. */
#ifndef API_ANSWER_H
#define API_ANSWER_H
#include <stddef.h>
#include <stdint.h>
#include "api/decide.h"
#include "api/retrieve.h"
#include "api/service.h"
#include "api/understand.h"

enum answer_style { STYLE_GENERATE, STYLE_EXTRACTIVE };
enum answer_status { ANSWER_ANSWERED, ANSWER_ABSTAINED, ANSWER_PARTIAL };
const char *answer_status_name(int status);

struct answer_turn { const char *role, *text; };           /* "user" or "assistant" */
struct answer_request {
	struct reader reader;            /* collection required */
	const char *question;            /* UTF-8, NUL-terminated */
	const struct answer_turn *history; size_t history_n;
	int k;                           /* passages looked at; 0: conf */
	enum answer_style style;
	int style_given;                 /* the asker chose the style: no experiment and no routing changes it */
	const char *prompt;              /* template NAME or NAME@V; NULL: the one in use for answers */
	const char *tone;                /* {{tone}} of templates that have it: how to sound; NULL: "" */
	int max_tokens;                  /* 0: conf */
	double temperature;              /* < 0: greedy */
	uint64_t seed;
	int explain;                     /* the units and their scores are told too */
	int patient;                     /* one of many that nobody waits for alone: no deadline, and see gen_params */
	const volatile int *cancel;      /* may be NULL */
	/* What holds for this request: every answer.* and search.* that may vary by request is read from here, never from
	 * the service. NULL: the service's; inside answer_run never NULL. */
	const struct conf *conf;
	int fresh;                       /* made anew, and not given again: no cached answer */
	int unkept;                      /* leaves no record, and counts for nobody */
	int traffic;                     /* a person's question as it comes in: may be taken into an experiment */
	const char *user;                /* who it is for, as the asker names them: user or session; NULL: not said */
	const char *key_id;              /* of the asker's access key; NULL: none */
};

struct answer_citation {
	int n;                           /* 1, 2, 3 … by first use */
	size_t passage;                  /* index into retrieval.passages: document, page, revision */
	struct span range;               /* bytes in the document's text */
	uint32_t start_cp, end_cp;       /* the same in code points */
	const char *quote; size_t quote_len; /* borrowed from the snapshot */
};
struct answer_sentence {
	uint32_t start, end;             /* bytes into answer.text, its marks included */
	int verified;
	int citations[2]; int citation_n;/* numbers n */
};
struct answer {                      /* everything in the arena given, or borrowed from retrieval's snapshot */
	char id[40];
	const char *question;            /* as asked */
	struct plan plan;                /* how it was understood; the steps after it read plan.question */
	const char *text; size_t text_len;
	int status;
	const char *reason;              /* why abstained or partial, or extractive though asked to generate; "" otherwise */
	int style;                       /* what was done */
	struct answer_sentence *sentences; size_t sentence_n;
	struct answer_citation *citations; size_t citation_n;
	int has_short; struct answer_citation short_answer; /* quote: the exact span; n unused */
	double confidence;               /* probability that the answer is right, from the evidence; 0 when abstained */
	double answerable;               /* that probability before anything was written, which answer.confidence is held against */
	struct evidence evidence;
	const struct selection *selection; /* what the answer was made from; NULL before that */
	int explain;                     /* as asked */
	struct retrieval retrieval;      /* open until answer_close */
	const char *prompt_name; int prompt_version;
	const char *experiment, *arm;    /* what it was part of; "" outside of any */
	const char *cached;              /* "exact", "semantic": given before (answercache.h); "" otherwise */
	double cost;                     /* by the prices of the settings */
	const char *model;               /* "" when extractive */
	size_t prompt_tokens, completion_tokens, reused_tokens;
	double embed_ms, search_ms, rerank_ms, judge_ms, first_sentence_ms, generate_ms, verify_ms, total_ms;
};

/* Called in order while the answer comes to be; any may be NULL. A sentence is told once it is verified, never taken
 * back. Called from the engine thread or the caller's, never two at once. */
struct answer_sink {
	void *ctx;
	void (*passages)(void *ctx, const struct answer *a);                              /* retrieval is filled */
	void (*sentence)(void *ctx, const struct answer *a, const char *text, size_t len); /* its text with marks and the blank before it */
	void (*citation)(void *ctx, const struct answer *a, const struct answer_citation *c); /* before the sentence that uses it first */
};

/* E_USAGE: empty, too long or invalid question, unknown prompt; E_LIMIT: the engine's queue is full; E_CANCELLED.
 * An abstention is OK with status ANSWER_ABSTAINED. out must be closed also after an error. */
int answer_run(struct service *s, const struct answer_request *q, const struct answer_sink *sink, struct arena *a, struct answer *out, struct err *e);
void answer_close(struct answer *a);
/* A fresh id, "ans_", 48 bits of the time in milliseconds, so that records lie in their order, and 80 random ones. E_IO. */
int answer_id_make(char id[40], struct err *e);

#endif
