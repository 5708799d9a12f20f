/* batch.h: many questions, a JSON object a line, to as many results, in order: what `footnote batch` and POST /v1/batches
 * share. As many are answered together as the language model writes together (generate.sequences). */
#ifndef API_BATCH_H
#define API_BATCH_H
#include "api/answer.h"
#include "base/buf.h"
#include "base/json.h"

enum { BATCH_LINE_BYTES_MAX = 1 << 20 };

struct batch_result {                /* of one line; either answer or error is NULL. Whoever is given it may take them, leaving NULL */
	cJSON *id;                   /* as the line has it, every digit; null where it has none */
	cJSON *answer, *error;       /* error: {"type","code","message","param"} */
	cJSON *documents;            /* [{"id","key"}] that the answer shows words of, as notes name them */
	int abstained;
};
struct batch {
	struct service *service;
	const char *collection;      /* of lines that name none */
	const struct buf *in;
	size_t at;                   /* byte of `in` behind the last line taken; where to begin */
	size_t done;                 /* results given, those of an earlier run included */
	const char *key_id;          /* whose usage it is; NULL: nobody's */
	const volatile int *cancel;  /* may be NULL */
	void *ctx;
	/* Who reads, before a line's own `as` narrows it; its collection is not looked at. Asked for each line; a failure ends
	 * the batch. Any of its threads. */
	int (*reader)(void *ctx, struct arena *a, struct reader *out, struct err *e);
	/* The next result, in order, one at a time. A failure ends the batch. */
	int (*put)(void *ctx, struct batch_result *r, struct err *e);
};
/* Answers the lines from b->at on that are not blank. A line's own mistake is its result. E_CANCELLED; else the failure of
 * reader or put, or E_MEMORY: what was given stands. */
int batch_run(struct batch *b, struct err *e);
/* The next line that is not blank; 0 at the end. */
int batch_line(const struct buf *b, size_t *at, const char **line, size_t *len);
/* The id of a line, or of a result; NULL: it has none. */
const cJSON *batch_id(const cJSON *line);
/* {"id","answer","error"} and a line feed, for cJSON_free; takes all three, NULL is null. NULL: out of memory. */
char *batch_text(cJSON *id, cJSON *answer, cJSON *error);

#endif
