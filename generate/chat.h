/* chat.h: chat templates by family. Message text is data: it is tokenised as such and becomes no control token, so in
 * the families whose turns stand between control tokens it cannot open or close one. zephyr's role lines and plain's
 * labels are ordinary text, as those models were trained. */
#ifndef GENERATE_CHAT_H
#define GENERATE_CHAT_H
#include "base/err.h"
#include "generate/generate.h"
#include "nn/tokenizer.h"

struct chat_family;

/* The family whose control tokens the vocabulary has and whose marks the model's own template (tokenizer.chat_template;
 * NULL when the file has none) speaks of; "plain" when there is none. Static storage. */
const struct chat_family *chat_find(const struct tokenizer *t, const char *text, size_t len);
const char *chat_name(const struct chat_family *f);     /* "chatml", "qwen3", "gemma", "llama3", "mistral", "zephyr", "plain" */
/* As generator_chat; put receives the ids. bos: id put first, or -1. E_USAGE names a role. */
int chat_encode(const struct tokenizer *t, const struct chat_family *f, int32_t bos, const struct chat_message *m, size_t n,
	int answer, int (*put)(void *ctx, int32_t id), void *ctx, struct err *e);

#endif
