/* command.h: the command line's verbs. A command runs in the process that owns the data folder, whoever asked: its
 * output goes through `struct out`, which is this process's stdout and stderr or a client's. */
#ifndef API_COMMAND_H
#define API_COMMAND_H
#include <stddef.h>
#include "api/service.h"

struct out {
	void *ctx;
	int (*write)(void *ctx, int stream, const char *data, size_t len); /* stream 1 or 2; non-zero: the reader left */
	int tty;                     /* stderr is a terminal: draw progress */
	int columns;
};
int out_printf(struct out *o, int stream, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

struct command_call {
	struct service *service;     /* NULL for commands that need no store */
	const struct conf *conf;
	struct out *out;
	int argc; char **argv;       /* argv[0] is the verb; common options are taken out */
	const char *cwd;             /* of who asked */
	const char *collection;      /* --collection or conf */
	int json, quiet;
	const volatile int *cancel;
};
struct command {
	const char *name, *usage, *help;
	int (*run)(struct command_call *c);   /* exit code, contract section 2 */
	unsigned need;               /* enum service_need */
	int local;                   /* 1: runs without the data folder (conf, models, doctor) */
};
const struct command *command_find(const char *name);
const struct command *command_at(size_t i);   /* NULL past the end, in the order of `footnote -h` */

#endif
