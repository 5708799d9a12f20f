/* service.h: what a running Footnote is made of, opened once and passed to every command and request. */
#ifndef API_SERVICE_H
#define API_SERVICE_H
#include <stdatomic.h>
#include "api/conf.h"
#include "api/engine.h"
#include "api/retention.h"
#include "api/scanner.h"
#include "embed/embed.h"
#include "embed/reader.h"
#include "generate/prompt.h"
#include "index/index.h"
#include "ingest/ingest.h"

struct folders;
struct open_embedder;
struct keys;
struct answercache;
struct remember;
struct experiments;

struct service {
	struct conf conf;
	struct index *index;
	struct scanner scanner;          /* the index's; closed after it */
	struct prompts *prompts;
	struct ingest_limits ingest_limits;
	struct retention ages;           /* in the arena below */
	struct parsers *parsers;         /* processes that read files; started by the first */
	struct keys *keys;               /* keys.h */
	struct remember *memory;         /* remember.h */
	struct answercache *answers;     /* answercache.h; NULL: none are given again */
	struct experiments *experiments; /* experiment.h */
	struct folders *folders;         /* folders.h, which guards it; NULL while none are open */
	int64_t started_ms;              /* wall time */
	/* private to service.c */
	unsigned need;
	struct open_embedder *_Atomic embedders; /* newest first; none closes before the service does */
	struct err embedder_err;         /* why there was none at the start */
	struct reader_model *_Atomic reader; /* opened on first use, as the engine is; that takes seconds, under the lock */
	int reader_tried;
	struct err reader_err;
	char reader_why[300];
	struct service_engine { struct engine *_Atomic engine; int tried; struct err err; char why[300]; } large, small;
	struct arena arena;              /* of ingest_limits.acl and ages */
	void *lock;
};

enum service_need {
	NEED_EMBEDDER = 1, NEED_GENERATOR = 2,
	NEED_GPU = 4                     /* work enough that a GPU is worth opening for encoders, where embed.device leaves it open */
};
/* Opens store, prompts and what `need` asks. Without an embedder model: E_NOT_FOUND naming the command that fetches it
 * (a store can be opened without one for docs, check, stats). The caller holds the data folder's lock (owner.h). */
int service_open(struct service **out, const struct conf *c, unsigned need, struct err *e);
void service_close(struct service *s);
/* The device of encoders (embedder_options) for a process of these needs. Opening a GPU takes longer than a few texts on the CPU. */
const char *service_encoder_device(const struct conf *c, unsigned need);
/* What the settings say about the store, without an encoder. */
void service_store_options(const struct conf *c, struct index_options *o);
/* What embed.threads and generate.threads mean: 0 is one a core that this process may run on, at most 64. */
int service_threads(int set);
/* The embedder whose vectors serve now, or the reason why service_open could go on without: E_NOT_FOUND as above,
 * E_CONFLICT when the store holds another embedder's vectors, E_FORMAT … What is open stays so until service_close,
 * for snapshots from before a turn to another (index_reembed). Thread-safe. */
int service_embedder(struct service *s, struct embedder **out, struct err *e);
/* The embedder whose vectors the snapshot holds. Errors as above. Thread-safe. */
int service_embedder_of(struct service *s, const struct snapshot *snapshot, struct embedder **out, struct err *e);
/* Opens another beside them, by name or absolute path, as the settings say; `name` gets what finds it again. The caller
 * is the only one who opens. Errors of model_find and embedder_open. */
int service_embedder_open(struct service *s, const char *model, struct embedder **out, char name[256], struct err *e);
/* What ingest_paths and its kin take: *out borrows from s. cancel may be NULL. Errors as service_embedder. Thread-safe. */
int service_ingest(struct service *s, struct ingest *out, const volatile int *cancel, struct err *e);
/* The model that reads pairs of texts, opened on the first call. NULL with OK when there is none, or models.reader turns it
 * off or names what is not there (why says so in a sentence); an error, naming models.reader, when it is there and cannot
 * be used. Thread-safe. */
int service_reader(struct service *s, struct reader_model **out, const char **why, struct err *e);
/* That if it is open already, else NULL: opens nothing, and waits for nobody who does. Thread-safe. */
void service_reader_open(struct service *s, struct reader_model **out);
/* The engine, opened on the first call. NULL with OK when no generator is configured or its file is not there (why
 * says so in a sentence; answers are then extractive); an error only when the file is there and cannot be used.
 * Thread-safe. */
int service_engine(struct service *s, struct engine **out, const char **why, struct err *e);
/* One of those two if it is open already, else NULL, likewise. */
void service_engine_open(const struct service_engine *slot, struct engine **out);
/* OK; E_IO: a GPU that an open model must run on was lost: what needs that model fails until a restart. Thread-safe. */
int service_failure(struct service *s, struct err *e);
/* The engine of generate.small, for questions that need no more (tier.h). Otherwise the same. */
int service_engine_small(struct service *s, struct engine **out, const char **why, struct err *e);

#endif
