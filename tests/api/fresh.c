/* fresh.c: see fresh.h. */
#include "tests/api/fresh.h"
#include "tests/test.h"

enum { ID_SIZE = 64 };
struct put { int verdict; char *id; };

void fresh_conf(struct conf *c, const char *generator)
{
	char encoder[1024];
	if (!test_model("all-minilm-l6-v2")) test_skip("the embedder is not there");
	snprintf(encoder, sizeof encoder, "%s", test_model("all-minilm-l6-v2"));
	conf_default(c);
	snprintf(c->data_dir, sizeof c->data_dir, "%s/data", test_dir());
	snprintf(c->embed_model, sizeof c->embed_model, "%s", encoder);
	if (generator && !test_model(generator)) test_skip("%s was not fetched", generator);
	snprintf(c->generate_model, sizeof c->generate_model, "%s", generator ? test_model(generator) : "none");
	c->map_bytes = 64 << 20;
	c->embed_threads = 2;
}

static void event(void *ctx, const struct ingest_event *ev)
{
	struct put *p = ctx;
	CHECK_MSG(ev->verdict == DOC_ADDED || ev->verdict == DOC_UPDATED, "%s: %s", doc_verdict_name(ev->verdict), ev->reason);
	p->verdict = ev->verdict;
	if (p->id) snprintf(p->id, ID_SIZE, "%s", ev->document_id);
}

int fresh_put(struct service *s, const char *title, const char *text)
{
	return fresh_put_for(s, title, text, NULL, NULL);
}

int fresh_put_for(struct service *s, const char *title, const char *text, const char *group, char *id)
{
	struct put p = { .id = id };
	const struct ingest_sink sink = { .ctx = &p, .event = event };
	struct ingest_item it = { .collection = "default", .title = title, .source = title, .name = "", .meta = "", .id = "",
		.data = text, .len = strlen(text), .is_text = 1, .acl = &group, .acl_n = group != NULL };
	struct ingest with;
	struct err e;
	CHECK_OK(service_ingest(s, &with, NULL, &e), e);
	CHECK_OK(ingest_item(&with, &it, &sink, &e), e);
	return p.verdict;
}
