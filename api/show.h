/* show.h: an answer on the command line: sentence by sentence as each is verified, its footnotes below; or the whole
 * object with --json. */
#ifndef API_SHOW_H
#define API_SHOW_H
#include "api/answer.h"
#include "api/command.h"

struct show { struct command_call *call; int started; };     /* started: something of its text was shown */
/* The sink's sentence, with a struct show as ctx. */
void show_sentence(void *ctx, const struct answer *a, const char *text, size_t len);
/* What was not shown yet: the text where nothing was streamed, footnotes, remarks; with --json the object. E_CANCELLED:
 * the reader left; E_MEMORY. */
int show_answer(struct show *v, const struct answer *a, struct err *e);

#endif
