/* schedule.h: of generate/ alone. An open generator, as generator.c, which opens it, and schedule.c, which runs it, share it. */
#ifndef GENERATE_SCHEDULE_H
#define GENERATE_SCHEDULE_H
#include "base/team.h"
#include "generate/chat.h"
#include "generate/decoder.h"
#include "generate/draft.h"
#include "generate/generate.h"
#include "generate/lora.h"
#include "generate/sample.h"
#include "generate/stream.h"
#include "nn/gguf.h"
#include "nn/tokenizer.h"

enum { STOPS_MAX = 16, SEQUENCES_MAX = 64, COSTS = 48 };

struct sequence {                    /* one text being written */
	struct gen_request *q;       /* NULL: nobody's */
	struct kvseq kv;
	struct stream stream;
	struct sample_rng rng;
	struct tokens forced;
	struct draft draft;
	size_t most;                 /* positions, at most */
	int32_t chosen;              /* the token taken last */
	const int32_t *todo; size_t todo_n; /* taken, and not evaluated yet: &chosen, or in forced */
	size_t step;                 /* of the constraint */
	size_t taken;                /* tokens that the text is made of */
	int rewound;                 /* in this pass: logits after those just used are of no use */
	int blank_first;             /* the text's first token begins with a blank that is no part of it */
	int ended;                   /* result->finish is set */
	double began, prefilled;     /* clock_ms() */
	/* the pass under way */
	size_t fed;                  /* rows, drafts not counted; 0: takes no part */
	size_t tried;                /* rows of the draft */
	struct decoder_row *wanted; size_t want_n; /* of its rows, those that want their logits or the best of them */
};

struct generator {
	struct generator_info info;
	struct gguf *gguf;
	struct tokenizer *tokenizer;
	const struct chat_family *chat;
	struct team *team;
	struct lora *lora;           /* adapters, or NULL */
	const struct ops *ops;
	struct decoder_options options; /* of the decoder, as it would be opened again */
	char *packs;                 /* options.packs, owned; or NULL */
	struct decoder *decoder;
	struct sampler sampler;
	int32_t bos;                 /* put before a conversation, or -1 */
	int32_t stop[STOPS_MAX];
	size_t stop_n;
	/* running */
	struct sequence *slots;      /* (slot_n) */
	struct sequence *running[SEQUENCES_MAX]; /* in order of arrival */
	size_t slot_n, running_n;
	double chunk_ms;
	size_t draft_max;
	size_t chunk_rows, alone_rows; /* of prompt in a pass, beside writers and alone: as many as fit the time */
	double cost[COSTS];          /* ms of a pass that writes, by rows; 0: not known yet */
	struct decoder_row rows[DECODER_CHUNK];
	size_t row_n;
	size_t wants;                /* rows of a pass that may want something */
	struct generator_stats stats;
};

/* Rows of a pass that want something, at most: each text's, and drafts'. */
size_t schedule_wants(const struct generator_options *o);
/* Makes the sequences; E_MEMORY. Closing is fine after a failure. */
int schedule_open(struct generator *g, const struct generator_options *o, struct err *e);
void schedule_close(struct generator *g);
/* Another decoder runs the model: what was learnt of the old one's times is of no use. */
void schedule_restart(struct generator *g);
/* Text of a token; control tokens have none. */
const char *generator_text(const struct generator *g, int32_t id, size_t *len);

#endif
