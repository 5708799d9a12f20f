/* templates.h: prompt templates that people add and choose while the service runs. The texts and the choice are notes of
 * the store, so that a backup carries them; generate/prompt.h has the set that requests read. */
#ifndef API_TEMPLATES_H
#define API_TEMPLATES_H
#include "api/service.h"
#include "base/diff.h"
#include "base/json.h"

/* Puts the store's templates into s->prompts, then what is in use: answer.prompt, or what was chosen since. Called once at
 * the start. A note that cannot be read, or a choice whose template is gone, is passed over with a warning. E_NOT_FOUND:
 * answer.prompt names no template. */
int templates_open(struct service *s, struct err *e);
/* Checks and stores a text under a file's name, NAME.vN.txt, or NAME or NAME.txt for the next version. It is not in use by
 * that. Errors of prompts_check; E_USAGE: the name. Thread-safe. */
int template_add(struct service *s, const char *file, const char *text, size_t len, const struct prompt_template **out, struct err *e);
/* From the next request on NAME@V is what its task uses. E_USAGE without a version; E_NOT_FOUND. Thread-safe. */
int template_use(struct service *s, const char *name, const struct prompt_template **out, struct err *e);
/* {name,version,task,in_use,origin,bytes} and, with_text, text. NULL: no memory. */
cJSON *template_view(const struct service *s, const struct prompt_template *t, int with_text);
/* {"prompts":[…]} by task, name and version, without texts. */
cJSON *templates_view(const struct service *s);
/* Lines of a and b; each found as prompts_find has it. */
int template_diff(const struct service *s, const char *a, const char *b, diff_fn fn, void *ctx, struct err *e);
/* {"a","b","lines":[{"op":" ","text"}]}. */
int template_diff_view(const struct service *s, const char *a, const char *b, cJSON **out, struct err *e);

#endif
