/* xml.c: owns libxml2: its SAX parser with everything switched off that reaches out of the document or multiplies it.
 *
 * The handlers for declarations of entities are empty, so a document can declare a bomb but there is nothing to
 * expand; references to HTML's named characters are resolved, others are counted and left out. No handler builds a
 * tree: memory is a few buffers whatever the document's size. Names are put together with the prefixes of the
 * caller's table, so that formats can be told apart by what a namespace is and not by what a document calls it.
 * Method: XML 1.0, Namespaces in XML; libxml2's SAX2 interface. Threads: no state after xml_prepare. Failure: memory;
 * a broken document is parsed as far as it goes (libxml2's recovery) and reported. */
#include "ingest/xml.h"

#include <libxml/SAX2.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "ingest/extract.h"

enum { NAME_MAX_BYTES = 96, ENTITY_NAME_MAX = 32, ATTR_FIELDS = 5, LOOKUPS_MAX = 1000 };

struct reading {
	const struct xml_handler *h;
	struct xml_report *report;
	xmlParserCtxtPtr ctxt;
	xmlEntity entity;               /* the one that a reference resolves to */
	char entity_text[16];
	int stopped;
};

static const char *prefix_of(const struct xml_ns *ns, const xmlChar *uri)
{
	if (!uri)
		return NULL;
	for (; ns && ns->uri; ns++)
		if (strcmp(ns->uri, (const char *)uri) == 0)
			return ns->prefix;
	return "?";
}

static void name_make(char out[NAME_MAX_BYTES], const struct xml_ns *ns, const xmlChar *uri, const xmlChar *local)
{
	const char *prefix = prefix_of(ns, uri);

	snprintf(out, NAME_MAX_BYTES, "%s%s%s", prefix ? prefix : "", prefix ? ":" : "", (const char *)local);
}

static void look_for_stop(struct reading *r)
{
	if (!r->stopped && r->h->stop && r->h->stop(r->h->ctx)) {
		r->stopped = 1;
		xmlStopParser(r->ctxt);
	}
}

static void on_start(void *ctx, const xmlChar *local, const xmlChar *prefix, const xmlChar *uri, int ns_n,
	const xmlChar **namespaces, int attr_n, int defaulted, const xmlChar **attrs)
{
	struct reading *r = ctx;
	struct xml_attrs a = { attr_n, attrs, r->h->ns };
	char name[NAME_MAX_BYTES];

	(void)prefix, (void)ns_n, (void)namespaces, (void)defaulted;
	if (r->stopped)
		return;
	name_make(name, r->h->ns, uri, local);
	r->h->start(r->h->ctx, name, &a);
	look_for_stop(r);
}

static void on_end(void *ctx, const xmlChar *local, const xmlChar *prefix, const xmlChar *uri)
{
	struct reading *r = ctx;
	char name[NAME_MAX_BYTES];

	(void)prefix;
	if (r->stopped)
		return;
	name_make(name, r->h->ns, uri, local);
	r->h->end(r->h->ctx, name);
	look_for_stop(r);
}

static void on_text(void *ctx, const xmlChar *s, int len)
{
	struct reading *r = ctx;

	if (!r->stopped && len > 0)
		r->h->text(r->h->ctx, (const char *)s, (size_t)len);
}

/* What "&name;" stands for. The parser takes it as one of XML's own five, which are text and are never parsed again. */
static xmlEntityPtr on_entity(void *ctx, const xmlChar *name)
{
	struct reading *r = ctx;
	xmlEntityPtr own = xmlGetPredefinedEntity(name);
	char whole[ENTITY_NAME_MAX + 3];
	struct buf b;
	int n = snprintf(whole, sizeof whole, "&%.*s;", ENTITY_NAME_MAX, (const char *)name);

	if (own)
		return own;
	buf_init(&b, sizeof r->entity_text - 1);
	if (r->report->entities < LOOKUPS_MAX)          /* a page of nothing but wrong names is not worth the time */
		html_entity_put(&b, whole, (size_t)n);
	r->entity_text[0] = 0;
	if (b.len > 0 && b.data[0] != '&')
		memcpy(r->entity_text, b.data, b.len + 1);
	else
		r->report->entities++;
	buf_clear(&b);
	r->entity = (xmlEntity){ .type = XML_ENTITY_DECL, .name = name, .etype = XML_INTERNAL_PREDEFINED_ENTITY,
		.content = (xmlChar *)r->entity_text, .orig = (xmlChar *)r->entity_text, .length = (int)strlen(r->entity_text) };
	return &r->entity;
}

static void on_error(void *ctx, xmlErrorPtr error)
{
	struct reading *r = ctx;
	size_t n;

	if (r->stopped || error->level < XML_ERR_ERROR || error->domain == XML_FROM_NAMESPACE)
		return;
	if (!r->report->broken)
		snprintf(r->report->first, sizeof r->report->first, "line %d: %s", error->line,
			error->message ? error->message : "?");
	for (n = 0; r->report->first[n]; n++)
		if ((unsigned char)r->report->first[n] < 0x20 || (unsigned char)r->report->first[n] >= 0x7F)
			r->report->first[n] = ' ';
	while (n > 0 && r->report->first[n - 1] == ' ')
		r->report->first[--n] = 0;
	r->report->broken = 1;
}

int xml_parse(const char *text, size_t len, const struct xml_handler *h, struct xml_report *report, struct err *e)
{
	struct reading r = { .h = h, .report = report };
	xmlSAXHandler sax;

	memset(report, 0, sizeof *report);
	memset(&sax, 0, sizeof sax);
	sax.initialized = XML_SAX2_MAGIC;
	sax.startElementNs = on_start;
	sax.endElementNs = on_end;
	sax.characters = sax.ignorableWhitespace = sax.cdataBlock = on_text;
	sax.getEntity = on_entity;
	sax.serror = (xmlStructuredErrorFunc)on_error;
	if (len > INT_MAX)
		return err_set(e, E_LIMIT, "XML of %zu bytes is too long", len);
	r.ctxt = xmlCreateMemoryParserCtxt(len ? text : " ", len ? (int)len : 1);
	if (!r.ctxt)
		return err_set(e, E_MEMORY, "XML of %zu bytes: out of memory", len);
	memcpy(r.ctxt->sax, &sax, sizeof sax);
	r.ctxt->userData = &r;
	/* Without XML_PARSE_NOENT and XML_PARSE_DTDLOAD nothing is expanded or fetched; HUGE: lines of 10 MB are text too. */
	xmlCtxtUseOptions(r.ctxt, XML_PARSE_RECOVER | XML_PARSE_NONET | XML_PARSE_HUGE | XML_PARSE_IGNORE_ENC
		| XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	r.ctxt->sax->serror = (xmlStructuredErrorFunc)on_error;
	xmlSwitchEncoding(r.ctxt, XML_CHAR_ENCODING_UTF8);
	xmlParseDocument(r.ctxt);
	if (r.ctxt->myDoc)
		xmlFreeDoc(r.ctxt->myDoc);
	xmlFreeParserCtxt(r.ctxt);
	return OK;
}

int xml_attr(const struct xml_attrs *attrs, const char *name, char *out, size_t cap)
{
	const xmlChar *const *raw = attrs->raw;

	out[0] = 0;
	for (int i = 0; i < attrs->n; i++, raw += ATTR_FIELDS) {
		char have[NAME_MAX_BYTES];
		size_t n = (size_t)(raw[4] - raw[3]);

		name_make(have, attrs->ns, raw[2], raw[0]);
		if (strcmp(have, name) != 0)
			continue;
		n = n < cap ? n : cap - 1;
		memcpy(out, raw[3], n);
		out[n] = 0;
		return 1;
	}
	return 0;
}

void xml_prepare(void)
{
	xmlInitParser();
}

void xml_finish(void)
{
	xmlCleanupParser();
}
