/* cite.c: sentences, marks and quotes of an answer (cite.h).
 *
 * A citation is a unit of select.h: a sentence whose range was fixed when the document was chunked. The same range
 * always gets the same number, numbers follow first use, a quote is borrowed from the snapshot's text and so equals
 * it byte for byte. The sink hears each citation before the sentence that uses it first.
 * Threads: the one that writes the answer. Failure: the answer stays as it was before the call. */
#include "api/cite.h"
#include <string.h>
#include "base/clock.h"
#include "base/unicode.h"
#include "base/utf8.h"

int citer_begin(struct citer *c, struct answer *out, const struct selection *sel, const struct answer_sink *sink, struct arena *a, double began_ms, struct err *e)
{
	*c = (struct citer){ .answer = out, .sel = sel, .sink = sink, .arena = a, .began_ms = began_ms };
	buf_init(&c->text, ANSWER_TEXT_MAX);
	out->sentences = arena_calloc(a, ANSWER_SENTENCES_MAX, sizeof *out->sentences);
	out->citations = arena_calloc(a, 2 * ANSWER_SENTENCES_MAX, sizeof *out->citations);
	if (!out->sentences || !out->citations) return err_set(e, E_MEMORY, "answer: out of memory");
	return OK;
}

void cite_range(const struct answer *a, size_t passage, struct span range, struct answer_citation *out)
{
	const struct passage *p = &a->retrieval.passages[passage];
	const char *quote = p->text + (range.off - p->chunk.range.off);
	out->passage = passage;
	out->range = range;
	out->quote = quote;
	out->quote_len = range.len;
	out->start_cp = p->chunk.start_cp + (uint32_t)utf8_count(p->text, range.off - p->chunk.range.off);
	out->end_cp = out->start_cp + (uint32_t)utf8_count(quote, range.len);
}

void cite_plain(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		size_t at = i + 1, next = at;
		if ((unsigned char)text[i] < ' ') text[i] = ' ';
		if (text[i] != '[') continue;
		while (next < len && text[next] != ']') {
			int32_t cp = utf8_next(text, len, &next);
			if (cp < 0 || uni_class((uint32_t)cp) != UNI_NUMBER) break;
			at = next;
		}
		if (at == i + 1 || at >= len || text[at] != ']') continue;
		text[i] = '(';
		text[at] = ')';
	}
}

int citer_said(const struct citer *c, const char *text, size_t len)
{
	for (size_t i = 0; i < c->answer->sentence_n; i++) {
		const struct answer_sentence *s = &c->answer->sentences[i];
		const char *old = c->text.data + s->start;
		if (s->end - s->start > len + 1 && memcmp(old, text, len) == 0 && memcmp(old + len, " [", 2) == 0) return 1;
	}
	return 0;
}

/* The number of the citation of this range, made when it is new. */
static int number_of(struct citer *c, size_t u)
{
	struct answer *a = c->answer;
	const struct unit *x = &c->sel->units[u];
	uint64_t doc = a->retrieval.passages[x->passage].doc.key;
	for (size_t i = 0; i < a->citation_n; i++) {
		const struct answer_citation *k = &a->citations[i];
		if (k->range.off == x->range.off && k->range.len == x->range.len && a->retrieval.passages[k->passage].doc.key == doc) return k->n;
	}
	struct answer_citation *k = &a->citations[a->citation_n++];
	k->n = (int)a->citation_n;
	cite_range(a, x->passage, x->range, k);
	if (c->sink && c->sink->citation) c->sink->citation(c->sink->ctx, a, k);
	return k->n;
}

int citer_add(struct citer *c, const char *text, size_t len, const size_t *units, size_t n, struct err *e)
{
	struct answer *a = c->answer;
	if (a->sentence_n == ANSWER_SENTENCES_MAX) return err_set(e, E_LIMIT, "answer: more than %d sentences", ANSWER_SENTENCES_MAX);
	size_t from = c->text.len;
	int rc = buf_reserve(&c->text, len + 32);
	if (rc) return err_set(e, rc, "answer: longer than %d bytes", ANSWER_TEXT_MAX);
	if (from) (void)buf_putc(&c->text, ' ');
	struct answer_sentence *s = &a->sentences[a->sentence_n];
	*s = (struct answer_sentence){ .start = (uint32_t)c->text.len, .verified = n > 0 };
	(void)buf_put(&c->text, text, len);
	for (size_t i = 0; i < n && s->citation_n < 2; i++) {
		int k = number_of(c, units[i]);
		if (s->citation_n && s->citations[0] == k) continue;
		s->citations[s->citation_n++] = k;
		(void)buf_printf(&c->text, "%s[%d]", i ? "" : " ", k);
	}
	s->end = (uint32_t)c->text.len;
	a->sentence_n++;
	a->text = buf_cstr(&c->text);
	a->text_len = c->text.len;
	if (a->sentence_n == 1) a->first_sentence_ms = clock_ms() - c->began_ms;
	if (c->sink && c->sink->sentence) c->sink->sentence(c->sink->ctx, a, c->text.data + from, c->text.len - from);
	return buf_failed(&c->text) ? err_set(e, E_LIMIT, "answer: longer than %d bytes", ANSWER_TEXT_MAX) : OK;
}

int citer_end(struct citer *c, struct err *e)
{
	char *text = arena_strndup(c->arena, buf_cstr(&c->text), c->text.len);
	c->answer->text = text ? text : "";
	c->answer->text_len = text ? c->text.len : 0;
	buf_clear(&c->text);
	return text ? OK : err_set(e, E_MEMORY, "answer: out of memory");
}
