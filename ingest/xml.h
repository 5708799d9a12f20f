/* xml.h: XML as a stream of elements and text, for the formats that are made of it. No entity is expanded, no DTD and
 * no other file is read, whatever the document says. */
#ifndef INGEST_XML_H
#define INGEST_XML_H
#include <stddef.h>
#include "base/err.h"

/* Names reach the handlers as "prefix:local", where the prefix is the one this table gives to the element's namespace,
 * whatever the document calls it; a namespace that is not in the table gives "?:local", and none at all "local". */
struct xml_ns { const char *uri, *prefix; };

struct xml_attrs { int n; const void *raw; const struct xml_ns *ns; };

struct xml_handler {
	void *ctx;
	const struct xml_ns *ns;        /* ended by a NULL uri; may be NULL */
	void (*start)(void *ctx, const char *name, const struct xml_attrs *attrs);
	void (*end)(void *ctx, const char *name);
	void (*text)(void *ctx, const char *s, size_t len);
	int (*stop)(void *ctx);         /* other than 0: the parser ends early, without an error; may be NULL */
};

struct xml_report {
	int broken;                     /* the document is not well-formed; what could be read was told */
	size_t entities;                /* references to entities that the document declares itself; they are left out */
	char first[80];                 /* of the first breach, "" when there is none */
};

/* Parses text (UTF-8; what its declaration says of an encoding is ignored). Text and attribute values are valid UTF-8.
 * A document that is broken is told as far as it goes: see *report. E_MEMORY. Thread-safe after xml_prepare. */
int xml_parse(const char *text, size_t len, const struct xml_handler *h, struct xml_report *report, struct err *e);
/* Copies the value of attribute `name` ("w:val", or "id" without a namespace) to out, cut where it does not fit.
 * Returns 1, or 0 and "" when the element has none. */
int xml_attr(const struct xml_attrs *attrs, const char *name, char *out, size_t cap);

void xml_prepare(void);                 /* once before threads use xml_parse; idempotent */
void xml_finish(void);

#endif
