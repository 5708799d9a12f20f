/* schedule.c: owns the texts being written together: who takes part in a pass of the model, and what becomes of its
 * logits.
 *
 * Those who write are served in every step, each with the token it took last (or with text forced on it, and with guesses of
 * what comes next, draft.h). Prompts are computed in order of arrival, a chunk a step, which beside writers is no
 * larger than fits their patience (chunk_ms): the size follows the times measured. Where prompts are computed as
 * written tokens are, both share one pass. A prompt that begins as an earlier one that is still being computed waits
 * for it, and takes its pages over.
 * A row of logits leads to a token: choose, ask the constraint, write its text. Where nobody looks at the logits but to take the
 * likeliest token, the pass itself says which that is; else it is chosen from what the pass tells of the row (sample.h). A token is evaluated only when the
 * next one is wanted, so the KV cache may end one token before the text does. A guess is evaluated together with the token
 * before it; as long as the token chosen is the one guessed, the next row of logits is what plain decoding would have
 * had, since a row's bits do not depend on its neighbours, and the constraint is asked as if there were no guesses.
 * A constraint may take text back: positions are cut off, and the last token kept (of the prompt, where none is) is
 * evaluated again, whose logits were not kept.
 * Whether to try a guess is reckoned from the measured times of passes by rows: tokens a millisecond must grow.
 * Pages for prompt and answer are promised before a text starts, so that no running text ever waits for memory. A step
 * allocates nothing, but for forced text, which is tokenised, and for text over TEXT_FIRST bytes.
 * Threads: the engine thread. Failure: of one text, told in its request; the others go on. A text that fails or is
 * cancelled leaves a shorter beginning in the cache, never a wrong one. */
#include <math.h>
#include <string.h>
#include "base/clock.h"
#include "base/flag.h"
#include "base/mem.h"
#include "generate/schedule.h"

enum { TEXT_MAX = 64 << 20, TEXT_FIRST = 4096, CHUNK_LEAST = 16, ALONE_MS = 1000, DRAFT_ROWS = 32 };
static const double CHUNK_MS = 20, PASSES_LEAST = 1.5, COST_SLOPE = 0.1, DRAFT_GAIN = 1.05;

size_t schedule_wants(const struct generator_options *o)
{
	size_t texts = o->sequences ? (size_t)o->sequences : 1, drafts = (size_t)o->draft_max * texts;
	return texts + (drafts < DRAFT_ROWS ? drafts : DRAFT_ROWS);
}

int schedule_open(struct generator *g, const struct generator_options *o, struct err *e)
{
	int st = OK;
	g->slot_n = o->sequences ? (size_t)o->sequences : 1;
	g->chunk_ms = o->chunk_ms > 0 ? o->chunk_ms : CHUNK_MS;
	g->draft_max = (size_t)o->draft_max;
	schedule_restart(g);
	g->wants = schedule_wants(o);
	g->slots = mem_calloc(g->slot_n, sizeof *g->slots);
	if (!g->slots) return err_set(e, E_MEMORY, "%s: out of memory", g->info.name);
	for (size_t i = 0; i < g->slot_n && st == OK; i++) st = kvseq_init(&g->slots[i].kv, (size_t)g->info.context, e);
	return st;
}

void schedule_restart(struct generator *g)
{
	g->alone_rows = DECODER_CHUNK;
	g->chunk_rows = 2 * CHUNK_LEAST;
	memset(g->cost, 0, sizeof g->cost);
}

void schedule_close(struct generator *g)
{
	for (size_t i = 0; g->slots && i < g->slot_n; i++) kvseq_clear(&g->slots[i].kv);
	mem_free(g->slots);
}

/* --- starting and ending --- */
void gen_params_default(struct gen_params *p)
{
	*p = (struct gen_params){ .max_tokens = 256, .top_p = 1, .repeat_penalty = 1, .repeat_last = 64 };
}

static int check_params(const struct generator *g, const struct gen_params *p, struct err *e)
{
	const char *what = NULL;
	if (p->max_tokens < 1) what = "max_tokens is under 1";
	else if (!(p->temperature >= 0) || !isfinite(p->temperature)) what = "temperature is not 0 or more";
	else if (p->top_k < 0) what = "top_k is under 0";
	else if (!(p->top_p > 0 && p->top_p <= 1)) what = "top_p is not over 0 and up to 1";
	else if (!(p->min_p >= 0 && p->min_p <= 1)) what = "min_p is not 0 to 1";
	else if (!(p->repeat_penalty > 0) || !isfinite(p->repeat_penalty)) what = "repeat_penalty is not over 0";
	else if (p->repeat_last < 0) what = "repeat_last is under 0";
	return what ? err_set(e, E_USAGE, "%s: %s", g->info.name, what) : OK;
}

static int check_prompt(const struct generator *g, const int32_t *prompt, size_t n, struct err *e)
{
	if (n == 0) return err_set(e, E_USAGE, "%s: the prompt is empty", g->info.name);
	if (n >= (size_t)g->info.context)
		return err_set(e, E_LIMIT, "%s: a prompt of %zu tokens does not fit the context of %d", g->info.name, n,
			g->info.context);
	for (size_t i = 0; i < n; i++)
		if (prompt[i] < 0 || prompt[i] >= g->info.vocab)
			return err_set(e, E_USAGE, "%s: the prompt has token %d, the vocabulary %d", g->info.name, prompt[i],
				g->info.vocab);
	return OK;
}

static struct sequence *slot_free(struct generator *g)
{
	for (size_t i = 0; i < g->slot_n; i++)
		if (!g->slots[i].q) return &g->slots[i];
	return NULL;
}

int generator_start(struct generator *g, struct gen_request *q)
{
	struct gen_result *r = q->result;
	struct sequence *s = slot_free(g);
	size_t max;
	int st;
	*r = (struct gen_result){ .prompt_tokens = q->n };
	buf_init(&r->text, TEXT_MAX);
	q->done = 0;
	st = check_params(g, q->params, q->err);
	if (st == OK) st = check_prompt(g, q->prompt, q->n, q->err);
	if (st != OK) {
		q->done = 1;
		return q->status = st;
	}
	if ((st = decoder_lost(g->decoder, q->err)) != OK) {
		q->done = 1;
		return q->status = st;
	}
	if (!s) return E_BUSY;
	max = (size_t)q->params->max_tokens < (size_t)g->info.context - q->n ? q->n + (size_t)q->params->max_tokens : (size_t)g->info.context;
	if (kvseq_begin(decoder_cache(g->decoder), &s->kv, max) != OK) return E_BUSY;
	*s = (struct sequence){ .q = q, .kv = s->kv, .most = max, .began = clock_ms() };
	s->stream = (struct stream){ .text = &r->text, .stops = q->params->stops, .on_text = q->on_text, .ctx = q->ctx };
	s->blank_first = tokenizer_blank_first(g->tokenizer) &&
		tokenizer_kind(g->tokenizer, q->prompt[q->n - 1]) == TOKEN_CONTROL;
	sample_seed(&s->rng, q->params->seed);
	draft_init(&s->draft);
	(void)buf_reserve(&r->text, TEXT_FIRST);  /* a text that stays short allocates no more; a failure comes up there again */
	g->running[g->running_n++] = s;
	return OK;
}

/* The text is over: what may be of use to others stays in the cache. */
static void seq_end(struct generator *g, struct sequence *s, int status)
{
	struct gen_request *q = s->q;
	struct gen_result *r = q->result;
	size_t i = 0, keep = s->kv.len;
	if (status == OK && r->finish != GEN_END_CANCELLED) {
		stream_end(&s->stream);
		if (s->stream.cancelled) r->finish = GEN_END_CANCELLED;
	}
	if (s->prefilled > 0) r->decode_ms = clock_ms() - s->prefilled;
	else r->prefill_ms = clock_ms() - s->began;
	if (decoder_phases_differ(g->decoder) && keep > q->n) keep = q->n;
	kvseq_end(decoder_cache(g->decoder), &s->kv, keep);
	tokens_clear(&s->forced);
	while (g->running[i] != s) i++;
	memmove(g->running + i, g->running + i + 1, (--g->running_n - i) * sizeof *g->running);
	s->q = NULL;
	q->status = status;
	q->done = 1;
}

/* --- from logits to tokens --- */
static int seq_finish(struct sequence *s, enum gen_finish finish)
{
	s->ended = 1;
	s->q->result->finish = finish;
	return OK;
}

/* Text of a token that comes next. */
static const char *seq_text(const struct generator *g, const struct sequence *s, int32_t id, size_t *len)
{
	const char *text = generator_text(g, id, len);
	int skip = s->blank_first && s->taken == 0 && *len && text[0] == ' ';
	*len -= (size_t)skip;
	return text + skip;
}

/* Writes the ids' text, counts them, and leaves them to be evaluated when another token may follow. */
static int seq_take(struct generator *g, struct sequence *s, const int32_t *ids, size_t n)
{
	struct gen_result *r = s->q->result;
	for (size_t i = 0; i < n; i++) {
		size_t len;
		int stopped, st;
		const char *text = seq_text(g, s, ids[i], &len);
		st = stream_put(&s->stream, text, len, &stopped);
		if (st != OK) return err_set(s->q->err, st, "%s: the text grew over %d bytes", g->info.name, TEXT_MAX);
		s->taken++;
		r->completion_tokens++;
		g->stats.written_tokens++;
		if (stopped) return seq_finish(s, GEN_END_STOP);
		if (s->stream.cancelled) return seq_finish(s, GEN_END_CANCELLED);
	}
	if (r->completion_tokens >= (size_t)s->q->params->max_tokens || s->kv.len + n >= (size_t)g->info.context)
		return seq_finish(s, GEN_END_LENGTH);
	s->todo = ids;
	s->todo_n = n;
	return OK;
}

/* Forced text is taken whole or, where it does not fit any more, not at all. */
static int seq_force(struct generator *g, struct sequence *s, const struct gen_steer *steer)
{
	struct tokens *t = &s->forced;
	size_t left = (size_t)s->q->params->max_tokens - s->q->result->completion_tokens;
	int st;
	t->n = 0;
	st = generator_tokenize(g, steer->force, steer->force_len, t, s->q->err);
	if (st != OK) return st;
	if (t->n == 0) return err_set(s->q->err, E_USAGE, "%s: the constraint forces an empty text", g->info.name);
	if (t->n > left || t->n > (size_t)g->info.context - s->kv.len) return seq_finish(s, GEN_END_LENGTH);
	return seq_take(g, s, t->ids, t->n);
}

static int seq_choose(struct generator *g, struct sequence *s, const struct sample_row *row, const struct gen_steer *steer, int32_t *id)
{
	for (size_t i = 0; i < steer->choice_n; i++)
		if (steer->choices[i] < 0 || steer->choices[i] >= g->info.vocab)
			return err_set(s->q->err, E_USAGE, "%s: the constraint offers token %d", g->info.name, steer->choices[i]);
	*id = steer->choice_n ? sample_best_of(row, steer->choices, steer->choice_n) : -1;
	return *id >= 0 ? OK : err_set(s->q->err, E_USAGE, "%s: the constraint leaves no token to choose", g->info.name);
}

/* Makes the text that of its first `keep` tokens again. All taken are evaluated here, so the table knows them. */
static int seq_rewind(struct generator *g, struct sequence *s, size_t keep)
{
	struct stream *t = &s->stream;
	const int32_t *ids = s->kv.ids + s->q->n;
	int stopped;
	if (keep > s->taken)
		return err_set(s->q->err, E_USAGE, "%s: the constraint keeps %zu of %zu tokens", g->info.name, keep, s->taken);
	buf_reset(t->text);
	t->part_n = s->taken = 0;
	for (; s->taken < keep; s->taken++) {
		size_t len;
		const char *text = seq_text(g, s, ids[s->taken], &len);
		(void)stream_put(t, text, len, &stopped); /* as before: nothing stopped there, and there is room */
	}
	if (t->sent > t->text->len && s->q->on_text)
		return err_set(s->q->err, E_USAGE, "%s: the constraint takes text back that was handed out", g->info.name);
	if (t->sent > t->text->len) t->sent = t->text->len;
	kvseq_cut(&s->kv, s->q->n + keep - 1);
	s->rewound = 1;
	s->todo_n = keep > 0;                     /* 0: the rest of the prompt, its last token */
	s->chosen = keep ? ids[keep - 1] : -1;
	s->todo = &s->chosen;
	return OK;
}

const float *gen_view_logits(const struct gen_view *v)
{
	return sample_logits(v->row);
}

static enum gen_verdict seq_ask(const struct generator *g, const struct sequence *s, const struct sample_row *row, int32_t id,
	struct gen_steer *steer)
{
	const struct gen_constraint *c = s->q->constraint;
	struct buf *text = &s->q->result->text;
	struct gen_view view = { .text = buf_cstr(text), .len = text->len, .token = id, .is_stop = generator_is_stop(g, id),
		.step = s->step, .tokens = s->taken, .vocab = g->info.vocab, .row = row };
	view.piece = view.is_stop ? "" : seq_text(g, s, id, &view.piece_len);
	*steer = (struct gen_steer){ 0 };
	return c->next(c->ctx, &view, steer);
}

/* The token offered last, or another one in its place, and what the constraint says of it. */
static enum gen_verdict seq_offer(struct generator *g, struct sequence *s, const struct sample_draw *d, int32_t *id, struct gen_steer *steer)
{
	enum gen_verdict verdict = seq_ask(g, s, &d->row, *id, steer);
	if (verdict == GEN_REFUSE) sample_rest(&g->sampler, d, *id);
	while (verdict == GEN_REFUSE) {
		*id = sample_another(&g->sampler);
		verdict = *id < 0 ? GEN_STOP : seq_ask(g, s, &d->row, *id, steer);
	}
	return verdict;
}

/* From a row's logits, or the best of them, to the next token or forced text. */
static int seq_step(struct generator *g, struct sequence *s, const struct decoder_row *row)
{
	const struct gen_params *p = s->q->params;
	size_t len = s->kv.len, look = (size_t)p->repeat_last < len ? (size_t)p->repeat_last : len;
	const struct sample_draw d = { .row = row->logits, .rng = &s->rng, .p = p, .recent = s->kv.ids + len - look, .recent_n = look };
	int32_t id = row->want == WANT_BEST ? row->best : sample_next(&g->sampler, &d);
	enum gen_verdict verdict = GEN_ACCEPT;
	struct gen_steer steer;
	int st = OK, lost;
	if (id >= 0 && s->q->constraint) verdict = seq_offer(g, s, &d, &id, &steer);
	if (verdict == GEN_CHOOSE) st = seq_choose(g, s, &d.row, &steer, &id);
	if ((lost = decoder_lost(g->decoder, s->q->err)) != OK) return lost; /* while a row was fetched */
	if (st != OK) return st;
	if (id < 0 && verdict == GEN_ACCEPT) return err_set(s->q->err, E_IO,
		"%s: the model's logits are not finite numbers: its weights are damaged", gguf_path(g->gguf));
	s->step++;
	switch (verdict) {
	case GEN_ACCEPT: case GEN_REFUSE: case GEN_CHOOSE: break;
	case GEN_STOP: return seq_finish(s, GEN_END_CONSTRAINT);
	case GEN_FORCE: return seq_force(g, s, &steer);
	case GEN_REWIND: return seq_rewind(g, s, steer.keep);
	}
	if (generator_is_stop(g, id)) return seq_finish(s, GEN_END_STOP);
	s->chosen = id;
	return seq_take(g, s, &s->chosen, 1);
}

static int is_writing(const struct sequence *s)
{
	return s->kv.len >= s->q->n;
}

/* Goes through the rows of logits that a pass made, as far as the guesses come true. */
static int seq_advance(struct generator *g, struct sequence *s)
{
	size_t base = s->kv.len - s->tried, true_n = 0;
	int st;
	s->rewound = 0;
	for (;;) {
		kvseq_cut(&s->kv, base + true_n);
		st = seq_step(g, s, s->wanted + true_n);
		if (st != OK || s->ended || s->rewound || true_n == s->tried || s->todo_n != 1 || *s->todo != s->draft.ids[true_n]) break;
		true_n++;                         /* evaluated already */
	}
	g->stats.accepted += true_n;
	if (s->tried) draft_learn(&s->draft, s->tried, true_n);
	else if (s->draft.n && !s->ended && !s->rewound && s->todo_n) draft_learn(&s->draft, 1, *s->todo == s->draft.ids[0]);
	return st;
}

/* After a pass in which the sequence took part. */
static void seq_fed(struct generator *g, struct sequence *s)
{
	struct kvcache *kv = decoder_cache(g->decoder);
	int st = OK;
	if (s->todo_n) {
		s->todo += s->fed;
		s->todo_n -= s->fed;
	} else {
		g->stats.prompt_tokens += s->fed;
		/* the page of its last token stays its own: a text taken back evaluates that token again */
		kvseq_share(kv, &s->kv, s->kv.len < s->q->n ? s->kv.len : s->q->n - 1);
	}
	s->fed = 0;
	if (!s->want_n) return;
	if (s->prefilled <= 0) {
		s->prefilled = clock_ms();
		s->q->result->prefill_ms = s->prefilled - s->began;
	}
	st = seq_advance(g, s);
	if (st != OK || s->ended) seq_end(g, s, st);
}

/* --- who takes part --- */
/* What a pass with so many rows that write takes: measured, or reckoned from the next known; 0: nothing is known. */
static double cost_of(const struct generator *g, size_t rows)
{
	size_t lo = rows, hi = rows;
	if (rows >= COSTS) rows = lo = hi = COSTS - 1;
	while (lo > 0 && g->cost[lo] <= 0) lo--;
	while (hi < COSTS && g->cost[hi] <= 0) hi++;
	if (lo > 0 && hi < COSTS && hi > lo)
		return g->cost[lo] + (g->cost[hi] - g->cost[lo]) * (double)(rows - lo) / (double)(hi - lo);
	if (lo > 0) return g->cost[lo] * (1 + COST_SLOPE * (double)(rows - lo));
	return hi < COSTS ? g->cost[hi] : 0;
}

static void row_add(struct generator *g, struct sequence *s, int32_t id, int wanted)
{
	const struct gen_params *p = s->q->params;
	int best = !s->q->constraint && p->temperature <= 0 && (p->repeat_penalty == 1 || p->repeat_last == 0);
	struct decoder_row *row = &g->rows[g->row_n++];
	*row = (struct decoder_row){ .seq = &s->kv, .id = id, .want = !wanted ? WANT_NOTHING : best ? WANT_BEST : WANT_LOGITS,
		.temperature = p->temperature };
	if (wanted && s->want_n++ == 0) s->wanted = row;
}

/* Looks up what may follow and decides how much of it to try, so that tokens a millisecond grow. `rows` and `tokens`:
 * of the pass so far, and what is expected of it. */
static void plan_draft(struct generator *g, struct sequence *s, size_t *rows, double *tokens, size_t *spare)
{
	size_t left = s->most - s->kv.len - 1, most = g->draft_max < *spare ? g->draft_max : *spare, best = 0;
	double rate;
	s->draft.n = s->tried = 0;
	if (!g->draft_max || s->q->params->temperature > 0 || s->todo_n != 1 || cost_of(g, *rows) <= 0) return;
	s->kv.ids[s->kv.len] = *s->todo;          /* where the pass will put it */
	draft_find(&s->draft, s->kv.ids, s->kv.len + 1, left < most ? left : most);
	rate = DRAFT_GAIN * *tokens / cost_of(g, *rows);
	for (size_t m = 1; m <= s->draft.n; m++) {
		double r = (*tokens + draft_expect(&s->draft, m)) / cost_of(g, *rows + m);
		if (r > rate) rate = r, best = m;
	}
	s->tried = best;
	*rows += best;
	*spare -= best;
	*tokens += draft_expect(&s->draft, best);
}

/* Rows of those who write; how many. */
static size_t gather_writers(struct generator *g)
{
	size_t rows = 0, spare = g->wants - g->slot_n;
	double tokens = 0;
	for (size_t i = 0; i < g->running_n; i++)
		if (is_writing(g->running[i])) rows += g->running[i]->todo_n, tokens++;
	for (size_t i = 0; i < g->running_n; i++) {
		struct sequence *s = g->running[i];
		size_t share = (DECODER_CHUNK - DRAFT_ROWS) / g->slot_n;
		if (!is_writing(s)) continue;
		plan_draft(g, s, &rows, &tokens, &spare);
		g->stats.drafted += s->tried;
		g->stats.writers++;
		s->fed = s->todo_n < share ? s->todo_n : share;
		s->want_n = 0;
		kvseq_room(decoder_cache(g->decoder), &s->kv, s->fed + s->tried);
		for (size_t t = 0; t < s->fed; t++) row_add(g, s, s->todo[t], t + 1 == s->todo_n);
		for (size_t t = 0; t < s->tried; t++) row_add(g, s, s->draft.ids[t], 1);
	}
	g->stats.write_steps += g->row_n > 0;
	return g->row_n;
}

/* 1 when the pages that s needs next are being computed for one that came before it. */
static int waits_for_other(const struct generator *g, size_t i)
{
	const struct sequence *s = g->running[i];
	for (size_t j = 0; j < i; j++) {
		const struct sequence *o = g->running[j];
		size_t same = 0, most = s->q->n - 1 < o->q->n ? s->q->n - 1 : o->q->n;
		if (is_writing(o)) continue;
		while (same < most && s->q->prompt[same] == o->q->prompt[same]) same++;
		if (same / KVCACHE_PAGE * KVCACHE_PAGE > s->kv.len) return 1;
	}
	return 0;
}

/* Rows of prompts, at most `budget`, first come first; how many. */
static size_t gather_prompts(struct generator *g, size_t budget)
{
	struct kvcache *kv = decoder_cache(g->decoder);
	size_t before = g->row_n;
	if (budget > DECODER_CHUNK - before) budget = DECODER_CHUNK - before;
	for (size_t i = 0; i < g->running_n && budget; i++) {
		struct sequence *s = g->running[i];
		size_t had = s->kv.len, n;
		if (is_writing(s) || waits_for_other(g, i)) continue;
		n = s->q->n - kvseq_extend(kv, &s->kv, s->q->prompt, s->q->n - 1);
		s->q->result->reused_tokens += s->kv.len - had;
		g->stats.reused_tokens += s->kv.len - had;
		s->fed = n < budget ? n : budget;
		s->tried = s->want_n = 0;
		kvseq_room(kv, &s->kv, s->fed);
		for (size_t t = 0; t < s->fed; t++) row_add(g, s, s->q->prompt[s->kv.len + t], t + 1 == n);
		budget -= s->fed;
	}
	return g->row_n - before;
}

/* --- passes --- */
/* The size of chunks follows the time that `rows` took, when they were as many as allowed or took too long. */
static void chunk_adapt(size_t *size, size_t rows, double took, double target)
{
	double next = (double)rows * target / (took > 0.01 ? took : 0.01);
	if (rows < *size && took <= target) return;
	if (next > 2 * (double)*size) next = 2 * (double)*size;
	if (next < (double)*size / 2) next = (double)*size / 2;
	*size = next < CHUNK_LEAST ? CHUNK_LEAST : next > DECODER_CHUNK ? DECODER_CHUNK : (size_t)next;
}

/* What delays a pass comes and goes, so a cost falls quickly and grows slowly.
 * Beside writers a chunk may take chunk_ms, but never less than a pass and a half: a pass reads all weights, whatever it
 * holds. */
static void pass_learn(struct generator *g, size_t written, size_t prompt, int beside, double took)
{
	double least = PASSES_LEAST * cost_of(g, 1), *c = &g->cost[written < COSTS ? written : COSTS - 1];
	if (!prompt) *c = *c <= 0 ? took : *c + (took < *c ? 0.5 : 0.1) * (fmin(took, 2 * *c) - *c);
	else if (!beside) chunk_adapt(&g->alone_rows, prompt, took, ALONE_MS);
	else chunk_adapt(&g->chunk_rows, prompt, took - (written ? cost_of(g, written) : 0), fmax(g->chunk_ms, least));
}

/* What computes is lost, and with it all that was computed: so end all texts. */
static void pass_failed(struct generator *g, const struct err *why)
{
	while (g->running_n) {
		struct sequence *s = g->running[0];
		if (s->q->err) *s->q->err = *why;
		seq_end(g, s, why->status);
	}
}

/* Runs the rows gathered and hands everyone what its own gave; 0 when the pass failed. */
static int pass_run(struct generator *g, size_t written, size_t prompt, int beside)
{
	struct sequence *fed[SEQUENCES_MAX];
	double start = clock_ms();
	size_t n = 0;
	struct err why;
	if (decoder_eval(g->decoder, written ? PHASE_WRITTEN : PHASE_PROMPT, g->rows, g->row_n, &why) != OK) {
		pass_failed(g, &why);
		return g->row_n = 0;
	}
	if (!decoder_was_first(g->decoder)) pass_learn(g, written, prompt, beside, clock_ms() - start);
	g->row_n = 0;
	for (size_t i = 0; i < g->running_n; i++) {
		struct sequence *s = g->running[i];
		if (!s->fed) continue;
		fed[n++] = s;
	}
	for (size_t i = 0; i < n; i++) seq_fed(g, fed[i]);
	return 1;
}

void generator_step(struct generator *g)
{
	size_t written = 0, prompt = 0, writers = 0, watched = 0;
	for (size_t i = 0; i < g->running_n;) {
		struct sequence *s = g->running[i];
		if (flag_is(s->q->cancel)) {
			seq_finish(s, GEN_END_CANCELLED);
			seq_end(g, s, OK);
			continue;
		}
		writers += (size_t)is_writing(s);
		watched += (size_t)(is_writing(s) && !s->q->params->patient);
		i++;
	}
	if (!g->running_n) return;
	g->stats.steps++;
	if (watched || writers == g->running_n) written = gather_writers(g);
	if (written && writers < g->running_n && decoder_phases_differ(g->decoder)) {
		if (!pass_run(g, written, 0, 0)) return;
		written = 0;
	}
	if (writers < g->running_n) prompt = gather_prompts(g, watched ? g->chunk_rows : g->alone_rows);
	if (g->row_n) pass_run(g, written, prompt, watched > 0);
}

size_t generator_running(const struct generator *g)
{
	return g->running_n;
}

void generator_stats(const struct generator *g, struct generator_stats *out)
{
	const struct kvcache *kv = decoder_cache(g->decoder);
	*out = g->stats;
	out->running = g->running_n;
	out->pages = kv->pages;
	out->pages_used = kv->used;
	out->page_tokens = KVCACHE_PAGE;
}

int generate(struct generator *g, const int32_t *prompt, size_t n, const struct gen_params *p,
	const struct gen_constraint *c,
	gen_text_fn on_text, void *ctx, const volatile int *cancel, struct gen_result *r, struct err *e)
{
	struct gen_request q = { .prompt = prompt, .n = n, .params = p, .constraint = c, .on_text = on_text, .ctx = ctx,
		.cancel = cancel, .result = r, .err = e };
	int st = generator_start(g, &q);
	if (st == E_BUSY) return err_set(e, E_BUSY, "%s: others are being written", g->info.name);
	while (st == OK && !q.done) generator_step(g);
	return st == OK ? q.status : st;
}
