/* mask_cost.c: what the mask of generate/constrain.h costs beside the steps of the model that it watches.
 * Usage: mask_cost MODEL.gguf TEXT [TOKENS]. The text (a file) is put to the model twice, with a wish that leads it to numbers and
 * quotations of its own; the mask holds it to those of the text. Time is the thread's own CPU time, so that others on the machine don't
 * count: of the mask's calls and, where a token is refused, until the next one is offered; against that from the first token
 * to the last, in the same run. One thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/file.h"
#include "generate/constrain.h"
#include "generate/generate.h"

struct watch {
	struct constrain *c;
	struct constrain_state s;
	size_t asked, refused;
	double first_ms, last_ms, mask_ms, offered_ms;
	int was_refused;
};

static double cpu_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static enum gen_verdict mask(void *ctx, const struct gen_view *v, struct gen_steer *s)
{
	struct watch *w = ctx;
	double began = cpu_ms();
	(void)s;
	int ok = v->is_stop ? 0 : constrain_put(w->c, &w->s, v->piece, v->piece_len);
	if (!w->asked++) w->first_ms = began;
	w->last_ms = cpu_ms();
	w->mask_ms += w->last_ms - (w->was_refused ? w->offered_ms : began);
	w->offered_ms = w->last_ms;
	w->was_refused = !ok;
	w->refused += (size_t)!ok;
	return ok ? GEN_ACCEPT : GEN_REFUSE;
}

static int write_one(struct generator *g, const char *text, size_t len, const char *wish, int tokens, struct watch *w, struct err *e)
{
	struct buf prompt;
	struct tokens t = { 0 };
	struct gen_params p;
	struct gen_result r = { 0 };
	const struct gen_constraint c = { w, mask };
	buf_init(&prompt, len + 1000);
	int rc = buf_printf(&prompt, "%.*s\n\n%s", (int)len, text, wish);
	struct chat_message m = { "user", buf_cstr(&prompt), prompt.len };
	gen_params_default(&p);
	p.max_tokens = tokens;
	constrain_begin(w->c, &w->s, CONSTRAIN_FREE);
	if (!rc) rc = generator_chat(g, &m, 1, 1, &t, e);
	if (!rc) rc = generate(g, t.ids, t.n, &p, &c, NULL, NULL, NULL, &r, e);
	if (!rc) printf("  %zu tokens: %.120s\n", r.completion_tokens, buf_cstr(&r.text));
	buf_clear(&r.text);
	buf_clear(&prompt);
	tokens_clear(&t);
	return rc;
}

int main(int argc, char **argv)
{
	static const char *const wishes[] = { "Tell this in your own words, with numbers and quotations.",
		"Make up a list of years, prices and famous quotations about this." };
	struct generator_options o = { .path = argc > 2 ? argv[1] : "", .device = "cpu", .threads = 1, .context_max = 4096, .sequences = 1 };
	int tokens = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 100;
	struct generator *g = NULL;
	struct buf text;
	struct err e = { 0 };
	int rc;
	if (argc < 3) return fprintf(stderr, "usage: mask_cost MODEL.gguf TEXT [TOKENS]\n"), 2;
	buf_init(&text, 1 << 20);
	rc = file_read(argv[2], &text, &e);
	const struct constrain_source source = { buf_cstr(&text), text.len, 1 };
	if (!rc) rc = generator_open(&g, &o, &e);
	for (size_t i = 0; i < 2 && !rc; i++) {
		struct watch w = { .asked = 0 };
		double t0 = cpu_ms(), built;
		if ((rc = constrain_new(&w.c, &source, 1, &e))) break;
		built = cpu_ms() - t0;
		rc = write_one(g, text.data, text.len, wishes[i], tokens, &w, &e);
		if (!rc) printf("  asked %zu, refused %zu; %.1f ms for the tokens, %.3f ms of it for the mask: %.2f %%; its automata, once: %.2f ms\n",
			w.asked, w.refused, w.last_ms - w.first_ms, w.mask_ms, 100 * w.mask_ms / (w.last_ms - w.first_ms), built);
		constrain_free(w.c);
	}
	if (rc) fprintf(stderr, "%s\n", e.msg);
	generator_close(g);
	buf_clear(&text);
	return rc != 0;
}
