/* command.h: the command line's verbs. A command runs in the process that owns the data folder, whoever asked: its
 * output goes through `struct out`, which is this process's stdout and stderr or a client's. */
#ifndef API_COMMAND_H
#define API_COMMAND_H
#include <stddef.h>
#include "api/service.h"
#include "base/json.h"
#include "index/filter.h"

#define FOOTNOTE_VERSION "0.1.0"

enum { EXIT_DONE = 0, EXIT_SOME_FAILED = 1, EXIT_USAGE = 2, EXIT_NOT_FOUND = 3, EXIT_DAMAGED = 4, EXIT_REFUSED = 5,
	EXIT_BUG = 70 };

struct out {
	void *ctx;
	/* stream 1 or 2; non-zero: the reader left (or its disk is full), and the call's cancel flag is set */
	int (*write)(void *ctx, int stream, const char *data, size_t len);
	int broken;                  /* a write was refused: end quietly */
	int tty;                     /* stderr is a terminal: draw progress */
	int columns;
};
int out_printf(struct out *o, int stream, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

struct command_call {
	struct service *service;     /* NULL for commands that need no store */
	const struct conf *conf;
	const char *conf_path;       /* the file it was read from; NULL: none, or run for another process */
	struct out *out;
	int argc; char **argv;       /* argv[0] is the verb; common options are taken out */
	const char *cwd;             /* of who asked */
	const char *collection;      /* --collection or conf */
	int json, quiet;
	const volatile int *cancel;
};
enum command_place {
	COMMAND_TALK,                /* reads standard input: runs where it was called; without the data folder when another owns it,
	                              * which then is sent each turn (chat) */
	COMMAND_OWNED,               /* runs in the process that owns the data folder */
	COMMAND_LOCAL,               /* runs without the data folder (conf, models, doctor) */
	COMMAND_OWNER,               /* must be the owner itself (serve) */
	COMMAND_ALONE                /* owns the data folder, but opens no store in it (restore) */
};
struct command {
	const char *name, *usage, *help;
	int (*run)(struct command_call *c);   /* exit code, contract section 2 */
	unsigned need;               /* enum service_need */
	int local;                   /* enum command_place */
};
const struct command *command_find(const char *name);
const struct command *command_at(size_t i);   /* NULL past the end, in the order of `footnote -h` */

/* Options that every command takes, found anywhere before "--". argv is without the program's name and is compacted in
 * place to what is left, "--" included; argv[0] is then the verb. E_USAGE names the option. */
struct common_options {
	const char *conf, *data, *collection, *models;   /* NULL where not given; borrowed from argv */
	int json, quiet, help, version;
	int argc; char **argv;
};
int common_parse(struct common_options *o, int argc, char **argv, struct err *e);

/* A command's own options: "--name value", "--name=value" or a flag; "--" ends them. What is left stays in call->argv
 * from 1 on. E_USAGE names the option. */
enum option_kind {
	OPTION_FLAG,                 /* to: int, set to 1 */
	OPTION_TEXT,                 /* to: const char * */
	OPTION_NUMBER,               /* to: long, within min … max */
	OPTION_PAIR,                 /* to: cJSON object; "key=value" becomes a member; may be given several times */
	OPTION_ABSENT                /* of the contract, but not in this build: refused by name */
};
struct option { const char *name; enum option_kind kind; void *to; long min, max; };
int options_parse(struct command_call *c, const struct option *o, size_t n, struct err *e);

/* Says "footnote: message" on stderr; the exit code that belongs to e's status. Says nothing to a reader that left. */
int command_fail(struct command_call *c, const struct err *e);
/* As command_fail for a misuse, with the command's usage line. */
int command_misused(struct command_call *c, const struct err *e);
/* Prints an object on one line of stdout and frees it. E_MEMORY for NULL, E_CANCELLED when the reader left. */
int command_json(struct command_call *c, cJSON *object, struct err *e);
/* Who reads: the collection of the call and every group, or those of `as` ("G,G"; "" is none) when it is given. */
int command_reader(struct command_call *c, const char *as, struct arena *a, struct reader *r, struct err *e);
/* The filter of --filter into the reader, as ask_filter has it, but that "" is a mistake; NULL: none. */
int command_filter(struct command_call *c, const char *text, struct reader *r, struct filter **keep, struct err *e);
/* What search and why-not look for, by their options; group may be NULL. E_USAGE. (cmd_search.c) */
struct search_want;
int command_want(const char *mode, const char *group, long k, struct search_want *out, struct err *e);
/* The words from argv[1] on, joined by blanks, in the arena. E_USAGE: none; E_MEMORY. */
int command_words(struct command_call *c, const char *what, struct arena *a, const char **text, struct err *e);

/* The document that the call names: by source where that is given (as a path, or as it was stored), else by id. In the
 * arena. E_NOT_FOUND. (cmd_docs.c) */
int command_document(struct command_call *c, const char *id, const char *source, struct arena *a, struct doc *d,
	struct err *e);

/* The document by id, or by source: in the call's collection, else in another. In the arena. E_NOT_FOUND. (cmd_whynot.c) */
int command_document_named(struct command_call *c, const char *name, struct arena *a, struct doc *d, struct err *e);

int cmd_ingest(struct command_call *c);
int cmd_search(struct command_call *c);
int cmd_whynot(struct command_call *c);
int cmd_ask(struct command_call *c);
int cmd_chat(struct command_call *c);
int cmd_batch(struct command_call *c);
int cmd_gaps(struct command_call *c);
int cmd_summarize(struct command_call *c);
int cmd_assist(struct command_call *c);
int cmd_docs(struct command_call *c);
int cmd_delete(struct command_call *c);
int cmd_erase(struct command_call *c);
int cmd_hold(struct command_call *c);
int cmd_retention(struct command_call *c);
int cmd_compact(struct command_call *c);
int cmd_backup(struct command_call *c);
int cmd_restore(struct command_call *c);
int cmd_check(struct command_call *c);
int cmd_reembed(struct command_call *c);
int cmd_stats(struct command_call *c);
int cmd_experiments(struct command_call *c);
int cmd_prompts(struct command_call *c);
int cmd_keys(struct command_call *c);
int cmd_conf(struct command_call *c);
int cmd_models(struct command_call *c);
int cmd_eval(struct command_call *c);
int cmd_bench(struct command_call *c);
int cmd_doctor(struct command_call *c);
int cmd_serve(struct command_call *c);    /* server.c */

#endif
