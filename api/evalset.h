/* evalset.h: a question set read from a folder (contract, section 6): corpus.jsonl + queries.jsonl + qrels.tsv, or
 * articles/ + questions.jsonl. Strings live in the arena. Thread: the caller's. */
#ifndef API_EVALSET_H
#define API_EVALSET_H
#include <stddef.h>
#include "base/arena.h"
#include "base/err.h"

struct eval_document { const char *id, *title, *text; };
struct eval_relevant { const char *document; double gain; };
struct eval_question {
	const char *id, *text;
	struct eval_relevant *relevant; size_t relevant_n;   /* qrels sets */
	int answerable;                                       /* 1 in qrels sets */
	const char **answers; size_t answer_n;                /* gold texts */
	const char *document, *paragraph;                     /* "" in qrels sets */
};
struct evalset {
	const char *dir, *name;
	int has_articles;                                     /* documents are files of dir/articles */
	struct eval_document *documents; size_t document_n;   /* corpus.jsonl */
	struct eval_question *questions; size_t question_n;
};
/* E_NOT_FOUND when the folder holds no set; E_FORMAT names file and line. */
int evalset_load(struct evalset *out, const char *dir, struct arena *a, struct err *e);

#endif
