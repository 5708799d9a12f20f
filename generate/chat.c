/* chat.c: owns the chat templates. One family so far, ChatML, which Qwen2 and SmolLM2 were trained on:
 *
 *   <|im_start|>ROLE\nTEXT<|im_end|>\n ... <|im_start|>assistant\n
 *
 * The models' own templates put in a system message when the caller has none; here a conversation holds what the
 * caller says and no more. Role line and text are tokenised together, as in training, because a text that begins
 * with a line break shares a token with the one before it. Threads: no state. */
#include "generate/chat.h"
#include <string.h>
#include "base/buf.h"

static const char START[] = "<|im_start|>", END[] = "<|im_end|>";

const char *chat_family(const struct bpe *b)
{
	return bpe_special(b, START) >= 0 && bpe_special(b, END) >= 0 ? "chatml" : "";
}

static int check_role(const char *role, struct err *e)
{
	static const char *const roles[] = { "system", "user", "assistant" };
	for (size_t i = 0; role && i < sizeof roles / sizeof *roles; i++)
		if (strcmp(role, roles[i]) == 0) return OK;
	return err_set(e, E_USAGE, "chat: role \"%s\" is not system, user or assistant", role ? role : "");
}

static int put_message(const struct bpe *b, const struct chat_message *m, struct buf *work, int (*put)(void *, int32_t),
	void *ctx, struct err *e)
{
	int st = check_role(m->role, e);
	if (st != OK) return st;
	buf_reset(work);
	buf_puts(work, m->role);
	buf_putc(work, '\n');
	if (m->len) buf_put(work, m->text, m->len);
	if (buf_failed(work)) return err_set(e, buf_failed(work), "chat: a message of %zu bytes is too long", m->len);
	st = put(ctx, bpe_special(b, START));
	if (st == OK) st = bpe_encode(b, work->data, work->len, 0, put, ctx, e);
	if (st == OK) st = put(ctx, bpe_special(b, END));
	return st == OK ? bpe_encode(b, "\n", 1, 0, put, ctx, e) : st;
}

int chat_encode(const struct bpe *b, int32_t bos, const struct chat_message *m, size_t n, int answer,
	int (*put)(void *ctx, int32_t id), void *ctx, struct err *e)
{
	static const char opening[] = "<|im_start|>assistant\n";
	struct buf work;
	int st = OK;
	if (!*chat_family(b))
		return err_set(e, E_UNSUPPORTED, "chat: the model has no chat template that is known here (chatml)");
	buf_init(&work, (size_t)1 << 30);
	if (bos >= 0) st = put(ctx, bos);
	for (size_t i = 0; i < n && st == OK; i++) st = put_message(b, &m[i], &work, put, ctx, e);
	if (answer && st == OK) st = bpe_encode(b, opening, sizeof opening - 1, BPE_PARSE_SPECIAL, put, ctx, e);
	buf_clear(&work);
	return st;
}
