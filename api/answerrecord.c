/* answerrecord.c: owns records of answers: making, reading, asking again (answerrecord.h).
 *
 * Making: the answer's JSON as it is told, of which only named members are taken, so that a member that is added to answers
 * for other reasons (what was searched, how the question was read) does not end up on disk unseen. Reading: access is
 * decided anew, by the documents as they are: every one that is cited, and every passage whose chunk is still there, must be
 * for the reader. Asking again: the request as it was, settings as they are; what differs is told field by field.
 * Threads: any. Failure: a record that can't be made is told in the log; the answer does not fail by it. */
#include "api/answerrecord.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api/command.h"
#include "api/question.h"
#include "api/remember.h"
#include "api/view.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "index/filter.h"

enum { RECORD_BYTES_MAX = 1 << 20, HISTORY_BYTES_MAX = 4 << 20 };

/* Adds take under key; 0, and take freed, when either is missing. */
static int put(cJSON *o, const char *key, cJSON *take)
{
	if (o && take && cJSON_AddItemToObject(o, key, take)) return 1;
	cJSON_Delete(take);
	return 0;
}

static cJSON *text_or_null(const char *s)
{
	return s ? cJSON_CreateString(s) : cJSON_CreateNull();
}

/* ---- making ---- */

static cJSON *answer_kept(const struct answer *a)
{
	static const char *const members[] = { "id", "answer", "status", "reason", "style", "short", "sentences", "citations", "confidence",
		"prompt", "experiment", "model", "snapshot", "cached", "evidence", "usage", "timings_ms" };
	struct answer plain = *a;
	cJSON *o = cJSON_CreateObject(), *all;
	int ok = o != NULL;
	plain.explain = 0;
	all = view_answer(&plain);
	for (size_t i = 0; ok && all && i < sizeof members / sizeof *members; i++) {
		cJSON *x = cJSON_DetachItemFromObjectCaseSensitive(all, members[i]);
		if (x) ok = put(o, members[i], x);
	}
	cJSON_Delete(all);
	if (ok && all) return o;
	cJSON_Delete(o);
	return NULL;
}

static cJSON *passages_kept(const struct answer *a)
{
	cJSON *list = cJSON_CreateArray();
	for (size_t i = 0; list && i < a->retrieval.n; i++) {
		const struct passage *p = &a->retrieval.passages[i];
		cJSON *x = cJSON_CreateObject();
		char id[24];
		snprintf(id, sizeof id, "%llu", (unsigned long long)p->chunk.id);
		if (x && cJSON_AddStringToObject(x, "chunk_id", id) && cJSON_AddNumberToObject(x, "revision", p->doc.revision) &&
			cJSON_AddNumberToObject(x, "score", p->score) && cJSON_AddItemToArray(list, x)) continue;
		cJSON_Delete(x);
		cJSON_Delete(list);
		list = NULL;
	}
	return list;
}

/* The document of passage i joins the list, once. */
static int of_add(cJSON *list, const struct answer *a, size_t i)
{
	const struct doc *d = &a->retrieval.passages[i].doc;
	cJSON *x;
	cJSON_ArrayForEach(x, list)
		if (strcmp(json_str(x, "id", ""), d->id) == 0) return 1;
	x = cJSON_CreateObject();
	if (x && cJSON_AddStringToObject(x, "id", d->id) && cJSON_AddNumberToObject(x, "key", (double)d->key) && cJSON_AddItemToArray(list, x)) return 1;
	cJSON_Delete(x);
	return 0;
}

/* A sentence without a citation may be of any passage that was shown. */
static int is_all_cited(const struct answer *a)
{
	size_t i = 0;
	while (i < a->sentence_n && a->sentences[i].citation_n) i++;
	return i == a->sentence_n || a->status == ANSWER_ABSTAINED;
}

static cJSON *of_documents(const struct answer *a)
{
	cJSON *list = cJSON_CreateArray();
	int ok = list != NULL, all = !is_all_cited(a);
	for (size_t i = 0; all && ok && i < a->retrieval.n; i++) ok = of_add(list, a, i);
	for (size_t i = 0; ok && i < a->citation_n; i++) ok = of_add(list, a, a->citations[i].passage);
	if (ok && a->has_short) ok = of_add(list, a, a->short_answer.passage);
	if (ok) return list;
	cJSON_Delete(list);
	return NULL;
}

static cJSON *request_kept(const struct answer_request *q)
{
	cJSON *o = cJSON_CreateObject();
	const struct reader *r = &q->reader;
	int ok = o && cJSON_AddStringToObject(o, "collection", r->collection) && cJSON_AddNumberToObject(o, "k", q->k) &&
		cJSON_AddStringToObject(o, "style", q->style == STYLE_GENERATE ? "generate" : "extractive") &&
		cJSON_AddBoolToObject(o, "style_given", q->style_given) && put(o, "prompt", text_or_null(q->prompt)) &&
		put(o, "tone", text_or_null(q->tone)) && cJSON_AddNumberToObject(o, "max_tokens", q->max_tokens) &&
		cJSON_AddNumberToObject(o, "temperature", q->temperature) && cJSON_AddNumberToObject(o, "seed", (double)q->seed) &&
		put(o, "filter", text_or_null(r->filter ? filter_text(r->filter) : NULL)) &&
		(r->all_groups ? cJSON_AddNullToObject(o, "groups") != NULL : view_put_list(o, "groups", r->groups, r->group_n));
	if (ok) return o;
	cJSON_Delete(o);
	return NULL;
}

/* Settings that change answers and are not what they are without a service.conf. */
static cJSON *settings_kept(const struct conf *c)
{
	static const char *const heads[] = { "answer.", "search.", "generate.", "embed.", "rerank.", "models.reader" };
	cJSON *o = cJSON_CreateObject();
	struct conf_row *row = mem_alloc(sizeof *row);
	int ok = o && row;
	for (size_t i = 0; ok && conf_row_at(c, i, row); i++)
		for (size_t h = 0; ok && h < sizeof heads / sizeof *heads; h++)
			if (strncmp(row->key, heads[h], strlen(heads[h])) == 0 && strcmp(row->value, row->unset) != 0)
				ok = cJSON_AddStringToObject(o, row->key, row->value) != NULL;
	mem_free(row);
	if (ok) return o;
	cJSON_Delete(o);
	return NULL;
}

static cJSON *made_by(struct service *s, const struct answer_request *q, const struct answer *a)
{
	struct reader_model *reader = NULL;
	const char *why;
	cJSON *o = cJSON_CreateObject();
	if (service_reader(s, &reader, &why, NULL)) reader = NULL;
	if (o && cJSON_AddStringToObject(o, "version", FOOTNOTE_VERSION) &&
		cJSON_AddStringToObject(o, "embedder", snapshot_embedder(a->retrieval.snapshot)) &&
		put(o, "reader", text_or_null(reader ? reader_info(reader)->fingerprint : NULL)) && put(o, "settings", settings_kept(q->conf))) return o;
	cJSON_Delete(o);
	return NULL;
}

static cJSON *record_make(struct service *s, const struct answer_request *q, const struct answer *a)
{
	cJSON *o = cJSON_CreateObject();
	if (o && view_put_time(o, "created", clock_wall_ms()) && put(o, "by", text_or_null(q->key_id)) &&
		cJSON_AddNumberToObject(o, "history_turns", (double)q->history_n) && put(o, "request", request_kept(q)) &&
		put(o, "answer", answer_kept(a)) && put(o, "passages", passages_kept(a)) && put(o, "made_by", made_by(s, q, a)) &&
		put(o, "of_documents", of_documents(a))) return o;
	cJSON_Delete(o);
	return NULL;
}

/* The turns as one text, to be hashed; mem_free. NULL: none, or out of memory. */
static char *history_join(const struct answer_turn *turns, size_t n)
{
	struct buf b;
	buf_init(&b, HISTORY_BYTES_MAX);
	for (size_t i = 0; i < n; i++) buf_printf(&b, "%s: %s\n\x1e", turns[i].role, turns[i].text);
	if (!n || buf_failed(&b)) {
		buf_clear(&b);
		return NULL;
	}
	return buf_take(&b, NULL);
}

/* The setting that names the model of an answer; NULL: it was quoted. */
static const char *model_of(struct service *s, const struct answer *a)
{
	struct engine *n = NULL;
	const char *why;
	if (!*a->model || service_engine(s, &n, &why, NULL)) return NULL;
	return n && strcmp(generator_info(engine_generator(n))->name, a->model) == 0 ? s->conf.generate_model : s->conf.generate_small;
}

static void record_leave(struct service *s, const struct answer_request *q, const struct answer *a)
{
	struct memo m = { .kind = NOTE_ANSWER, .model = model_of(s, a) };
	snprintf(m.name, sizeof m.name, "%s", a->id);
	m.json = record_make(s, q, a);
	m.question = mem_strdup(a->question);    /* as asked: the request's may have been made to stand alone */
	m.history = history_join(q->history, q->history_n);
	if (m.json && m.question && (m.history || !q->history_n)) {
		remember_memo(s->memory, &m);
		return;
	}
	cJSON_Delete(m.json);
	mem_free(m.question);
	mem_free(m.history);
	log_put(LOG_WARN, "answers", "no record of an answer: out of memory");
}

void answer_count(struct service *s, const struct answer_request *q, struct answer *a)
{
	struct usage u = { .answers = 1, .abstained = a->status == ANSWER_ABSTAINED, .cached = *a->cached != 0, .ms = a->total_ms,
		.prompt_tokens = (double)a->prompt_tokens, .completion_tokens = (double)a->completion_tokens,
		.reused_tokens = (double)a->reused_tokens };
	a->cost = u.cost = usage_cost(q->conf, u.prompt_tokens, u.completion_tokens, u.ms);
	if (!q->unkept) remember_usage(s->memory, q->key_id, &u);
}

void answer_remember(struct service *s, const struct answer_request *q, struct answer *a)
{
	answer_count(s, q, a);
	if (!q->unkept && s->conf.keep_max) record_leave(s, q, a);
}

/* ---- reading ---- */

/* Floats of a vector in the snapshot; 0: its embedder is not there, and then no passage can be told from one that is gone. */
static int dim_of(struct service *s, const struct snapshot *snap)
{
	struct embedder *m;
	return service_embedder_of(s, snap, &m, NULL) ? 0 : embedder_info(m)->dim;
}

static int refuse(const char *id, struct err *e)
{
	return err_set(e, E_NOT_FOUND, "no answer %.60s", id);
}

static int is_owner(const struct caller *c, const cJSON *record)
{
	const char *by = json_str(record, "by", NULL);
	return caller_may(c, ROLE_ADMIN) || (by && c->key_id ? strcmp(by, c->key_id) == 0 : !by && !c->key_id);
}

/* Is the chunk there, whoever may see it? Each has a vector. */
static int chunk_exists(struct snapshot *s, uint64_t id, struct arena *a, int dim)
{
	float *v = dim ? arena_alloc(a, (size_t)dim * sizeof *v) : NULL;
	return v && !snapshot_vector(s, id, v, NULL);
}

/* The passage of an entry of "passages", as far as it is there; 1: it is, 0: gone. E_NOT_FOUND in *rc: it is not for r. */
static int passage_find(struct snapshot *s, const struct reader *r, const cJSON *x, struct arena *a, int dim, struct passage *p, int *rc, struct err *e)
{
	uint64_t id = strtoull(json_str(x, "chunk_id", "0"), NULL, 10);
	const char *text;
	size_t len;
	memset(p, 0, sizeof *p);
	*rc = OK;
	if (!chunk_exists(s, id, a, dim)) return 0;
	*rc = snapshot_chunk(s, r, id, a, &p->chunk, e);
	if (!*rc) *rc = snapshot_doc_by_key(s, r, p->chunk.doc_key, a, &p->doc, e);
	if (!*rc) *rc = snapshot_text(s, &p->doc, &text, &len, e);
	if (*rc) return 0;
	p->text = text + p->chunk.range.off;
	p->text_len = p->chunk.range.len;
	p->score = json_num(x, "score", 0);
	return 1;
}

static int access_check(struct snapshot *s, const struct reader *r, const cJSON *record, struct arena *a, int dim, struct err *e)
{
	const cJSON *x;
	struct passage p;
	struct doc d;
	int rc = OK;
	cJSON_ArrayForEach(x, json_get(record, "of_documents"))
		if (!rc) rc = snapshot_doc(s, r, json_str(x, "id", ""), a, &d, e);
	cJSON_ArrayForEach(x, json_get(record, "passages"))
		if (!rc) passage_find(s, r, x, a, dim, &p, &rc, e);
	return rc;
}

int answerrecord_read(struct service *s, const struct caller *c, const struct reader *r, const char *id, struct arena *a, cJSON **out, struct err *e)
{
	struct reader reader;
	struct snapshot *snap;
	struct note n;
	cJSON *o = NULL;
	reader = *r;
	*out = NULL;
	remember_flush(s->memory);
	if (strlen(id) >= sizeof ((struct memo *)0)->name || strncmp(id, "ans_", 4) != 0) return refuse(id, e);
	int rc = snapshot_open(&snap, s->index, e);
	if (rc) return rc;
	rc = snapshot_note(snap, NOTE_ANSWER, id, a, &n, e);
	if (!rc) rc = json_parse(&o, n.json, n.len, RECORD_BYTES_MAX, "record of an answer", e);
	if (!rc && !is_owner(c, o)) rc = E_NOT_FOUND;
	if (!rc) {
		reader.collection = json_str(json_get(o, "request"), "collection", "");
		rc = access_check(snap, &reader, o, a, dim_of(s, snap), e);
	}
	snapshot_close(snap);
	if (!rc) *out = o;
	else cJSON_Delete(o);
	return rc == E_NOT_FOUND ? refuse(id, e) : rc;
}

static cJSON *passages_told(struct snapshot *s, const struct reader *r, const cJSON *kept, struct arena *a, int dim, int *rc, struct err *e)
{
	cJSON *list = cJSON_CreateArray(), *one;
	const cJSON *x;
	struct passage p;
	*rc = list ? OK : err_set(e, E_MEMORY, "out of memory");
	cJSON_ArrayForEach(x, kept) {
		if (*rc) break;
		int there = passage_find(s, r, x, a, dim, &p, rc, e);
		if (*rc) break;
		one = there ? view_hit(&p, 0, 0) : cJSON_Duplicate(x, 1);
		if (!one || (!there && !cJSON_AddTrueToObject(one, "gone")) || !cJSON_AddItemToArray(list, one)) {
			cJSON_Delete(one);
			*rc = err_set(e, E_MEMORY, "out of memory");
		}
	}
	if (!*rc) return list;
	cJSON_Delete(list);
	return NULL;
}

/* Numbers of citations whose document is not what it was. */
static cJSON *stale_list(struct snapshot *s, const struct reader *r, const cJSON *answer, struct arena *a, int *rc, struct err *e)
{
	cJSON *list = cJSON_CreateArray();
	const cJSON *x;
	struct doc d;
	*rc = list ? OK : err_set(e, E_MEMORY, "out of memory");
	cJSON_ArrayForEach(x, json_get(answer, "citations")) {
		if (*rc) break;
		*rc = snapshot_doc(s, r, json_str(x, "document_id", ""), a, &d, e);
		if (*rc == E_NOT_FOUND) *rc = OK, d.revision = 0;
		if (*rc || d.revision == json_num(x, "revision", 0)) continue;
		cJSON *n = cJSON_CreateNumber(json_num(x, "n", 0));
		if (!n || !cJSON_AddItemToArray(list, n)) *rc = err_set(e, E_MEMORY, "out of memory");
	}
	if (!*rc) return list;
	cJSON_Delete(list);
	return NULL;
}

int answerrecord_view(struct service *s, const struct reader *r, const char *id, cJSON *record, struct arena *a, cJSON **out, struct err *e)
{
	struct reader reader;
	struct snapshot *snap;
	cJSON *answer = cJSON_GetObjectItemCaseSensitive(record, "answer"), *stale = NULL, *passages = NULL;
	int rc = snapshot_open(&snap, s->index, e);
	*out = NULL;
	reader = *r;
	if (!rc) {
		reader.collection = json_str(json_get(record, "request"), "collection", "");
		stale = stale_list(snap, &reader, answer, a, &rc, e);
		if (!rc) passages = passages_told(snap, &reader, json_get(record, "passages"), a, dim_of(s, snap), &rc, e);
		snapshot_close(snap);
	}
	if (!rc) {
		cJSON_DeleteItemFromObjectCaseSensitive(record, "passages");
		cJSON_DeleteItemFromObjectCaseSensitive(record, "of_documents");
		int changed = cJSON_GetArraySize(stale) > 0;
		if (put(answer, "passages", passages) & put(record, "stale_citations", stale) && cJSON_AddBoolToObject(record, "stale", changed) &&
			cJSON_AddStringToObject(record, "id", id)) *out = record;
		else rc = err_set(e, E_MEMORY, "out of memory");
	} else {
		cJSON_Delete(stale);
	}
	if (rc) cJSON_Delete(record);
	return rc == E_NOT_FOUND ? refuse(id, e) : rc;
}

/* ---- asking again ---- */

/* The question: what is kept, or what was sent along, held against the hash. */
static int question_of(struct service *s, const cJSON *record, const struct answer_again *with, const char **out, struct err *e)
{
	char hex[QUESTION_HASH_LEN + 1];
	const char *kept = json_str(record, "question", NULL);
	*out = kept ? kept : with->question;
	if (!*out) return err_set(e, E_FORMAT, "question: only its hash is kept (audit.questions = hash); send it along to ask it again");
	if (kept) return OK;
	int rc = question_hash(s, *out, hex, e);
	if (rc || strcmp(hex, json_str(record, "question_hash", "")) == 0) return rc;
	return err_set(e, E_CONFLICT, "question: it is not the one that was asked");
}

static int history_of(struct service *s, const cJSON *record, const struct answer_again *with, struct err *e)
{
	char hex[QUESTION_HASH_LEN + 1], *joined;
	size_t turns = (size_t)json_num(record, "history_turns", 0);
	if (turns && !with->history_n)
		return err_set(e, E_FORMAT, "history: only a hash of the %zu turns before is kept; send them along to ask it again", turns);
	if (turns != with->history_n) return err_set(e, E_CONFLICT, "history: it is not the one that was sent");
	if (!turns) return OK;
	joined = history_join(with->history, turns);
	int rc = joined ? question_hash(s, joined, hex, e) : err_set(e, E_MEMORY, "history: too long");
	mem_free(joined);
	if (rc || strcmp(hex, json_str(record, "history_hash", "")) == 0) return rc;
	return err_set(e, E_CONFLICT, "history: it is not the one that was sent");
}

static int request_of(const cJSON *record, const struct reader *r, struct arena *a, struct answer_request *q, struct err *e)
{
	const cJSON *o = json_get(record, "request"), *groups = json_get(o, "groups"), *prompt = json_get(json_get(record, "answer"), "prompt");
	const char **list = NULL;
	size_t n = 0;
	q->reader = *r;
	q->reader.collection = json_str(o, "collection", "");
	q->k = (int)json_num(o, "k", 0);
	q->style = strcmp(json_str(o, "style", ""), "extractive") == 0 ? STYLE_EXTRACTIVE : STYLE_GENERATE;
	q->style_given = json_bool(o, "style_given", 1);   /* else it is routed as it was */
	q->tone = json_str(o, "tone", NULL);
	q->prompt = json_str(o, "prompt", NULL);
	if (prompt) q->prompt = arena_printf(a, "%s@%d", json_str(prompt, "name", ""), (int)json_num(prompt, "version", 0));
	if (prompt && !q->prompt) return err_set(e, E_MEMORY, "out of memory");
	q->max_tokens = (int)json_num(o, "max_tokens", 0);
	q->temperature = json_num(o, "temperature", -1);
	q->seed = (uint64_t)json_num(o, "seed", 0);
	q->fresh = 1;
	if (!groups) return OK;
	int rc = json_get_texts(o, "groups", 1024, a, &list, &n, e);
	return rc ? rc : reader_narrow(&q->reader, list, n, a, e);
}

/* Compares one thing of two records. 0: out of memory. */
static int compare(cJSON *list, const char *field, const cJSON *was, const cJSON *is, int *differs)
{
	cJSON *x;
	if ((!was && !is) || (was && is && cJSON_Compare(was, is, 1))) return 1;
	*differs = 1;
	x = cJSON_CreateObject();
	if (x && cJSON_AddStringToObject(x, "field", field) && put(x, "was", was ? cJSON_Duplicate(was, 1) : cJSON_CreateNull()) &&
		put(x, "is", is ? cJSON_Duplicate(is, 1) : cJSON_CreateNull()) && cJSON_AddItemToArray(list, x)) return 1;
	cJSON_Delete(x);
	return 0;
}

static cJSON *differences(const cJSON *was, const cJSON *is, int *same)
{
	static const struct { const char *in, *member; int counts; } fields[] = {
		{ "answer", "status", 1 }, { "answer", "answer", 1 }, { "answer", "citations", 1 }, { "answer", "short", 1 },
		{ "answer", "style", 1 }, { "answer", "confidence", 0 }, { "answer", "prompt", 0 }, { "answer", "model", 0 },
		{ NULL, "passages", 0 }, { "made_by", "version", 0 }, { "made_by", "model_sha256", 0 }, { "made_by", "embedder", 0 },
		{ "made_by", "reader", 0 }, { "made_by", "settings", 0 },
	};
	cJSON *list = cJSON_CreateArray();
	*same = 1;
	for (size_t i = 0; list && i < sizeof fields / sizeof *fields; i++) {
		const cJSON *x = fields[i].in ? json_get(was, fields[i].in) : was, *y = fields[i].in ? json_get(is, fields[i].in) : is;
		int differs = 0;
		if (!compare(list, fields[i].member, json_get(x, fields[i].member), json_get(y, fields[i].member), &differs)) {
			cJSON_Delete(list);
			return NULL;
		}
		if (differs && fields[i].counts) *same = 0;
	}
	return list;
}

static cJSON *replay_view(struct service *s, const struct answer_request *q, const struct answer *a, const cJSON *record)
{
	struct answer_request with = *q;
	char hex[65];
	int same;
	with.conf = &s->conf;
	cJSON *o = cJSON_CreateObject(), *now = record_make(s, &with, a);
	const char *model = model_of(s, a);
	if (now && model) {
		remember_model_hash(s, model, hex);
		if (*hex) cJSON_AddStringToObject(cJSON_GetObjectItemCaseSensitive(now, "made_by"), "model_sha256", hex);
	}
	cJSON *list = now ? differences(record, now, &same) : NULL;
	cJSON_Delete(now);
	int ok = put(o, "differs", list);
	if (ok && put(o, "answer", view_answer(a)) && cJSON_AddBoolToObject(o, "same", same)) return o;
	cJSON_Delete(o);
	return NULL;
}

int answerrecord_replay(struct service *s, const struct reader *r, const cJSON *record, const struct answer_again *with, struct arena *a,
	cJSON **out, struct err *e)
{
	struct answer_request q = { .key_id = with->key_id, .cancel = with->cancel, .history = with->history, .history_n = with->history_n };
	struct answer answer = { 0 };
	struct filter *filter = NULL;
	const char *text = json_str(json_get(record, "request"), "filter", NULL);
	*out = NULL;
	int rc = question_of(s, record, with, &q.question, e);
	if (!rc) rc = history_of(s, record, with, e);
	if (!rc) rc = request_of(record, r, a, &q, e);
	if (!rc && text) rc = filter_parse(&filter, text, strlen(text), (size_t)s->conf.search_filter_bytes, e);
	if (rc) return rc;
	q.reader.filter = filter;
	rc = answer_run(s, &q, NULL, a, &answer, e);
	if (!rc && !(*out = replay_view(s, &q, &answer, record))) rc = err_set(e, E_MEMORY, "out of memory");
	answer_close(&answer);
	filter_free(filter);
	return rc;
}
