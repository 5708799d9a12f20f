/* chat.c: owns the chat templates, a table of families. A turn is
 *
 *   OPEN role CLOSE lead TEXT END tail
 *
 * with OPEN, CLOSE and END control tokens (or nothing) and role, lead and tail text of the family. Without a CLOSE role,
 * lead and message are tokenised together, as in training, because a text that begins with a line break shares a
 * token with the one before it. A family without a system turn gets the system text before the next message.
 * The models' own templates put in a system message when the caller has none, and cut white space off messages; here a
 * conversation holds what the caller says and no more. qwen3 is chatml with an empty stretch of thought before each
 * answer, which is how that model is told to answer at once. plain is for models that were not trained on turns:
 * labels, which a continuation follows. Threads: no state. */
#include "generate/chat.h"
#include <string.h>
#include "base/buf.h"

enum { SYSTEM, USER, ASSISTANT, ROLES };

struct turn { const char *open, *role, *close, *lead, *end, *tail; };

struct chat_family {
	const char *name;
	const char *mark, *mark2;                 /* what the model's own template speaks of; NULL: nothing more */
	int bare;                                 /* 1: control tokens tell enough where the file has no template */
	struct turn turns[ROLES];                 /* system: all NULL where the family has none */
	const char *answer;                       /* behind the opening of the answer's turn */
};

#define CHATML(r) { "<|im_start|>", r, "", "\n", "<|im_end|>", "\n" }
#define LLAMA3(r) { "<|start_header_id|>", r, "<|end_header_id|>", "\n\n", "<|eot_id|>", "" }
#define GEMMA(r) { "<start_of_turn>", r, "", "\n", "<end_of_turn>", "\n" }
#define ZEPHYR(r) { "", "<|" r "|>", "", "\n", "</s>", "\n" }
static const struct chat_family families[] = {
	{ "qwen3", "<|im_start|>", "enable_thinking", 0, { CHATML("system"), CHATML("user"), CHATML("assistant") },
		"<think>\n\n</think>\n\n" },
	{ "chatml", "<|im_start|>", NULL, 1, { CHATML("system"), CHATML("user"), CHATML("assistant") }, "" },
	{ "llama3", "<|start_header_id|>", NULL, 0, { LLAMA3("system"), LLAMA3("user"), LLAMA3("assistant") }, "" },
	{ "gemma", "<start_of_turn>", NULL, 0, { { NULL }, GEMMA("user"), GEMMA("model") }, "" },
	{ "mistral", "[INST]", NULL, 0, { { NULL }, { "[INST]", "", "", "", "[/INST]", "" }, { "", "", "", "", "</s>", "" } },
		"" },
	{ "zephyr", "<|user|>", "<|assistant|>", 0, { ZEPHYR("system"), ZEPHYR("user"), ZEPHYR("assistant") }, "" },
	{ "plain", NULL, NULL, 1, { { "", "", "", "", "", "\n\n" }, { "", "User:", "", " ", "", "\n\n" },
		{ "", "Assistant:", "", " ", "", "\n\n" } }, "" },
};

static int has_token(const struct tokenizer *t, const char *name)
{
	return !name || !*name || tokenizer_special(t, name) >= 0;
}

static int speaks_of(const char *text, size_t len, const char *mark)
{
	return !mark || (text && memmem(text, len, mark, strlen(mark)));
}

const struct chat_family *chat_find(const struct tokenizer *t, const char *text, size_t len)
{
	const struct chat_family *f = families;
	for (;; f++) {
		int has = 1;
		for (int r = 0; r < ROLES; r++)
			has &= has_token(t, f->turns[r].open) && has_token(t, f->turns[r].close) && has_token(t, f->turns[r].end);
		if (has && (text ? speaks_of(text, len, f->mark) && speaks_of(text, len, f->mark2) : f->bare)) return f;
	}
}

const char *chat_name(const struct chat_family *f)
{
	return f->name;
}

struct writing { /* one chat_encode */
	const struct tokenizer *t;
	struct buf text;                          /* not tokenised yet */
	int start;                                /* nothing or a control token is before it */
	int (*put)(void *ctx, int32_t id);
	void *ctx;
	struct err *e;
};

static int flush(struct writing *w, unsigned flags)
{
	int st = OK;
	if (buf_failed(&w->text)) return err_set(w->e, buf_failed(&w->text), "chat: a message is too long");
	if (!w->text.len) return OK;
	if (!w->start) flags |= TOKENIZE_CONTINUE;
	st = tokenizer_encode(w->t, w->text.data, w->text.len, flags, w->put, w->ctx, w->e);
	w->start = 0;
	buf_reset(&w->text);
	return st;
}

static int put_control(struct writing *w, const char *name)
{
	int st;
	if (!*name) return OK;
	if ((st = flush(w, 0)) == OK) st = w->put(w->ctx, tokenizer_special(w->t, name));
	w->start = 1;
	return st;
}

/* Up to the message; an answer that is to come begins with the blank of its lead itself. */
static int put_opening(struct writing *w, const struct turn *t, int answer)
{
	int st = put_control(w, t->open);
	buf_puts(&w->text, t->role);
	if (st == OK) st = put_control(w, t->close);
	if (!answer || strcmp(t->lead, " ") != 0) buf_puts(&w->text, t->lead);
	return st;
}

static int role_of(const char *name, int *role, struct err *e)
{
	static const char *const roles[] = { "system", "user", "assistant" };
	for (int i = 0; name && i < ROLES; i++)
		if (strcmp(name, roles[i]) == 0) {
			*role = i;
			return OK;
		}
	return err_set(e, E_USAGE, "chat: role \"%s\" is not system, user or assistant", name ? name : "");
}

/* The messages; system texts without a turn of their own go into the next one, or a user's turn at the end. */
static int put_messages(struct writing *w, const struct chat_family *f, const struct chat_message *m, size_t n)
{
	size_t held = 0;                          /* messages just before this one that wait for a turn */
	int st = OK, role = USER;
	for (size_t i = 0; i < n && st == OK; i++) {
		if ((st = role_of(m[i].role, &role, w->e)) != OK) return st;
		if (!f->turns[role].open) {
			role = USER;
			held += i + 1 < n;
			if (i + 1 < n) continue;
		}
		st = put_opening(w, &f->turns[role], 0);
		for (size_t k = i - held; k <= i; k++) {
			if (m[k].len) buf_put(&w->text, m[k].text, m[k].len);
			if (k < i) buf_puts(&w->text, "\n\n");
		}
		held = 0;
		if (st == OK) st = put_control(w, f->turns[role].end);
		buf_puts(&w->text, f->turns[role].tail);
	}
	return st;
}

int chat_encode(const struct tokenizer *t, const struct chat_family *f, int32_t bos, const struct chat_message *m, size_t n,
	int answer, int (*put)(void *ctx, int32_t id), void *ctx, struct err *e)
{
	struct writing w = { .t = t, .start = 1, .put = put, .ctx = ctx, .e = e };
	int st = OK;
	buf_init(&w.text, (size_t)1 << 30);
	if (bos >= 0) st = put(ctx, bos);
	if (st == OK) st = put_messages(&w, f, m, n);
	if (answer && st == OK) {
		st = put_opening(&w, &f->turns[ASSISTANT], 1);
		if (st == OK) st = flush(&w, 0);
		buf_puts(&w.text, f->answer);
		if (st == OK) st = flush(&w, TOKENIZE_SPECIAL);
	}
	if (st == OK) st = flush(&w, 0);
	buf_clear(&w.text);
	return st;
}
