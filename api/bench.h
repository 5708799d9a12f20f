/* bench.h: of `footnote bench` alone: what its measurements share (cmd_bench.c). */
#ifndef API_BENCH_H
#define API_BENCH_H
#include <stddef.h>
#include "api/command.h"
#include "base/arena.h"
#include "embed/embed.h"

enum { BENCH_REPEAT = 3, BENCH_REPEAT_MAX = 1000, BENCH_FILE_BYTES_MAX = 1 << 30, BENCH_TEXTS_MAX = 10000000, BENCH_DIR_MAX = 256 };

/* A measurement: the call's argv[0] is its name ("embed"), its own options and arguments follow. The figures go into
 * `out`, an empty object, in the order in which they are told. Errors as the command's. */
int bench_embed(struct command_call *c, cJSON *out, struct err *e);
int bench_generate(struct command_call *c, cJSON *out, struct err *e);
int bench_index(struct command_call *c, cJSON *out, struct err *e);
int bench_store(struct command_call *c, cJSON *out, struct err *e);
int bench_words(struct command_call *c, cJSON *out, struct err *e);

/* Lines {"text"[,"title"]} of a file, at most `limit`: title and text joined, in the arena; the array is the caller's to
 * free. E_FORMAT names the line. */
int bench_texts(const char *path, size_t limit, struct arena *a, struct embed_text **out, size_t *n, struct err *e);
/* A new folder for temporary files. E_IO: none can be made, dir is "". */
int bench_folder_make(char dir[BENCH_DIR_MAX], struct err *e);
void bench_folder_remove(const char *dir);                   /* with all in it; "" is allowed */
/* Of this thread's own time: other programs on the core are not its business. */
double bench_thread_ms(void);
/* The p-th of n values (0 … 1, 0.5 the median), which are put in order; 0 when there is none. */
double bench_quantile(double *values, size_t n, double p);
int bench_text(cJSON *out, const char *key, const char *value, struct err *e);
/* To four digits or, from 1000 on, to whole numbers. */
int bench_number(cJSON *out, const char *key, double value, struct err *e);

#endif
