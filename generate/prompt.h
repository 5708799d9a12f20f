/* prompt.h: PUBLIC. Versioned prompt templates: one text a version, NAME.vN.txt.
 *
 * A template is UTF-8 text of sections, each opened by a line "[system]", "[user]" or "[assistant]", with
 * placeholders {{name}}. Lines that start with "#" before the first section are comment. A placeholder's value is
 * data: it is put in after the template was read and is never searched for placeholders itself.
 *
 * A name is TASK or TASK-VARIANT; the tasks are those that the built-in templates (generate/prompts/) are for. A folder
 * (conf prompts.dir) overrides and adds at the start; prompts_add adds while others read. A version never changes and
 * never goes, so what is borrowed stays until prompts_close. Of each task one template is in use.
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

enum { PROMPT_BYTES_MAX = 64 << 10 };                          /* of a template's text */
enum prompt_origin { PROMPT_BUILT_IN, PROMPT_FOLDER, PROMPT_ADDED };
const char *prompt_origin_name(enum prompt_origin o);         /* "built-in", "folder", "store" */

/* Of each task the highest version of the template with its name is in use. dir NULL or "": built-in only. */
int prompts_open(struct prompts **out, const char *dir, struct err *e);
void prompts_close(struct prompts *p);
/* "answer@2": that version; a task's name: the one in use; another name: its highest version. E_NOT_FOUND lists what
 * there is; E_USAGE. */
int prompts_find(const struct prompts *p, const char *name, const struct prompt_template **out, struct err *e);
/* As prompts_find, but only templates for that task; name NULL: the one in use. */
int prompts_find_for(const struct prompts *p, const char *task, const char *name, const struct prompt_template **out, struct err *e);
/* May this text be added as that file? Says so without adding it. E_USAGE (name, task, a placeholder that the task does
 * not fill or one that is missing), E_FORMAT, E_LIMIT; E_CONFLICT: the version is there with another text. */
int prompts_check(const struct prompts *p, const char *file, const char *text, size_t len, struct err *e);
/* Adds a text (copied), read as it is; one that is there with the same text stays. It is not in use by that. Errors of
 * parsing, E_CONFLICT, E_LIMIT, E_MEMORY. */
int prompts_add(struct prompts *p, const char *file, const char *text, size_t len, const struct prompt_template **out, struct err *e);
/* The template is in use for its task from now on. */
void prompts_use(struct prompts *p, const struct prompt_template *t);
int prompts_in_use(const struct prompts *p, const struct prompt_template *t);
int prompts_next(const struct prompts *p, const char *name);   /* the version behind the highest of that name */
/* "answer.v12.txt" -> "answer" in name (PROMPT_NAME_SIZE), 12. 0: another form. */
enum { PROMPT_NAME_SIZE = 48 };
int prompt_file_parse(const char *file, char *name, int *version);
const char *prompt_name(const struct prompt_template *t);
int prompt_version(const struct prompt_template *t);
size_t prompts_n(const struct prompts *p);
const struct prompt_template *prompts_at(const struct prompts *p, size_t i); /* by name and version, but what was added since the start last */
size_t prompt_task_len(const struct prompt_template *t);      /* its name begins with that of its task */
enum prompt_origin prompt_origin(const struct prompt_template *t);
const char *prompt_source(const struct prompt_template *t);             /* the file's text */
/* Messages with placeholders filled, in the arena. E_USAGE names a placeholder without a value. */
int prompt_fill(const struct prompt_template *t, const struct prompt_value *v, size_t n, struct arena *a,
	struct chat_message **out, size_t *out_n, struct err *e);

#endif
