/* prompt.h: PUBLIC. Versioned prompt templates: one text file a version, generate/prompts/NAME.vN.txt.
 *
 * A template is UTF-8 text of sections, each opened by a line "[system]", "[user]" or "[assistant]", with
 * placeholders {{name}}. Lines that start with "#" before the first section are comment. A placeholder's value is
 * data: it is put in after the template was read and is never searched for placeholders itself.
 * The default templates are built into the program; a folder (conf prompts.dir) overrides and adds.
 * Thread-safe after prompts_open. */
#ifndef GENERATE_PROMPT_H
#define GENERATE_PROMPT_H
#include <stddef.h>
#include "base/arena.h"
#include "base/err.h"
#include "generate/generate.h"

struct prompts;
struct prompt_template;                                       /* borrowed from prompts */
struct prompt_value { const char *name; const char *text; size_t len; };

int prompts_open(struct prompts **out, const char *dir, struct err *e); /* dir NULL or "": built-in only */
void prompts_close(struct prompts *p);
/* name "answer" or "answer@2"; without a version the highest. E_NOT_FOUND lists what there is. */
int prompts_find(const struct prompts *p, const char *name, const struct prompt_template **out, struct err *e);
const char *prompt_name(const struct prompt_template *t);
int prompt_version(const struct prompt_template *t);
size_t prompts_n(const struct prompts *p);
const struct prompt_template *prompts_at(const struct prompts *p, size_t i);
const char *prompt_source(const struct prompt_template *t);             /* the file's text */
/* Messages with placeholders filled, in the arena. E_USAGE names a placeholder without a value. */
int prompt_fill(const struct prompt_template *t, const struct prompt_value *v, size_t n, struct arena *a,
	struct chat_message **out, size_t *out_n, struct err *e);

#endif
