/* chat.h: chat templates by family. Message text is data: it is tokenised as such, so it cannot open or close a
 * turn. */
#ifndef GENERATE_CHAT_H
#define GENERATE_CHAT_H
#include "base/err.h"
#include "generate/generate.h"
#include "nn/bpe.h"

/* "chatml", or "" when the vocabulary has no turn tokens that are known here; static. */
const char *chat_family(const struct bpe *b);
/* As generator_chat; put receives the ids. bos: id put first, or -1. E_USAGE names a role, E_UNSUPPORTED the lack
 * of a family. */
int chat_encode(const struct bpe *b, int32_t bos, const struct chat_message *m, size_t n, int answer,
	int (*put)(void *ctx, int32_t id), void *ctx, struct err *e);

#endif
