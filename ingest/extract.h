/* extract.h: a file's bytes to one intermediate form: clean text and the blocks it is made of.
 *
 *   sniff -> charset -> extract_txt | _md | _html | _csv | _xml --\
 *         \-> extract_docx | _odt | _eml ---------------------------> builder -> struct extracted
 *   pdftotext (a process of its own) -> extract_pdf -------------/
 *
 * Every extractor appends block by block through the builder, which cleans a block (clean.h) and fixes its offset; no
 * offset is computed again later. Between blocks lies an empty line, between the items of one list and the rows of one
 * table a line break. Thread: one document belongs to one thread; nothing is shared. */
#ifndef INGEST_EXTRACT_H
#define INGEST_EXTRACT_H
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"

enum block_kind { BLOCK_HEADING, BLOCK_PARAGRAPH, BLOCK_LIST_ITEM, BLOCK_TABLE_ROW, BLOCK_CODE, BLOCK_QUOTE };

struct block {
	enum block_kind kind;
	int level;              /* of a heading, 1 to 6; else 0 */
	uint32_t group;         /* list items and rows of the same list or table share it; 0: none */
	uint32_t page;          /* 1-based page, slide or sheet it stands on; 0: the format has none */
	uint32_t mark;          /* bytes of indentation and "- " in front of a list item's text; else 0 */
	size_t off, len;        /* bytes in the text; never empty, blocks ascend and don't overlap */
};

enum extract_verdict { EXTRACT_OK, EXTRACT_PARTIAL, EXTRACT_SKIPPED, EXTRACT_FAILED };
enum { REASON_MAX = 200, TITLE_MAX = 400 };

struct part {                   /* a file inside the file (an attachment), to be extracted as a document of its own */
	char *name;             /* UTF-8, without "#" in front; never empty, unique among the parts; owned */
	char *data; size_t len; /* owned */
};

struct extracted {
	struct buf text;        /* UTF-8 as the contract has it (clean.h) */
	struct block *blocks;
	size_t block_n, block_cap;
	char title[TITLE_MAX];  /* UTF-8, one line; "" when the document has none */
	const char *type;       /* "txt" "md" "html" "pdf" "docx" "odt" "eml" "csv" "xml"; static */
	int needs_boxes;        /* a PDF: nothing was extracted yet; run pdftotext -bbox-layout and call extract_pdf */
	struct part *parts; size_t part_n;
	int verdict;            /* enum extract_verdict */
	char reason[REASON_MAX];/* why not EXTRACT_OK; reasons are joined by "; " */
};

/* Loads what extractors need (databases, encodings), so that they open no file and load no code later; idempotent,
 * thread-safe; extract_file calls it when nobody has. Where a database is missing the others are loaded and E_IO says
 * which; extraction then does without. */
int extract_prepare(struct err *e);
void extract_finish(void);              /* when no other thread extracts any more */

/* Extracts a file. name: its path or name, whose extension (of the last path part) decides the type unless the content
 * contradicts it. A PDF only gets its type and needs_boxes (and is skipped, until extract_pdf completes it).
 * text_bytes_max: longer text is cut. A file that can't be used is not an error: see x->verdict, and the text is then
 * empty. The caller clears x in every case. E_MEMORY. */
int extract_file(struct extracted *x, const char *name, const char *data, size_t len, size_t text_bytes_max,
	struct err *e);
/* The same for text that is known to be text: no look at its name or content but for blank text. */
int extract_plain(struct extracted *x, const char *data, size_t len, size_t text_bytes_max, struct err *e);
/* Completes what extract_file left with needs_boxes set: boxes is what `pdftotext -bbox-layout` wrote (XHTML). Pages are
 * numbered as they lie in the file. No text on any page: skipped. E_MEMORY. */
int extract_pdf(struct extracted *x, const char *name, const char *boxes, size_t len, size_t text_bytes_max,
	struct err *e);
void extracted_clear(struct extracted *x);

/* ---- for extract_*.c ---- */

struct builder {
	struct extracted *x;
	struct buf cur;         /* the open block, raw */
	struct buf scratch[2];
	struct block open;      /* its kind, level, group, mark */
	int is_open, full;      /* full: text_bytes_max was reached, everything more is dropped */
	int rc;                 /* first error; later calls do nothing */
	struct err *e;
};
void builder_init(struct builder *b, struct extracted *x, struct err *e);
void builder_clear(struct builder *b);
/* Begins a block; closes the one that is open. */
void builder_open(struct builder *b, enum block_kind kind, int level, uint32_t group);
void builder_mark(struct builder *b, const char *s);     /* a list item's marker; right after builder_open */
void builder_put(struct builder *b, const char *s, size_t len);
void builder_close(struct builder *b);                   /* drops a blank block; nothing when none is open */
int builder_stopped(const struct builder *b);            /* 1: error or full; the extractor may end early */
/* Adds a reason and makes the verdict at least `verdict`. */
void extracted_note(struct extracted *x, int verdict, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Takes all text and earlier reasons back: the document is skipped for this one. */
void extracted_drop(struct extracted *x, const char *reason);
/* Sets the title from raw UTF-8: cleaned to one line, cut at TITLE_MAX - 1 bytes. Nothing when it is blank. */
void extracted_title(struct extracted *x, const char *s, size_t len);

/* Extractors: text is valid UTF-8. Errors stay in b->rc. */
void extract_txt(struct builder *b, const char *text, size_t len);
void extract_md(struct builder *b, const char *text, size_t len);
void extract_html(struct builder *b, const char *text, size_t len);
void extract_xml(struct builder *b, const char *text, size_t len);
/* 1: a table, and it is written; 0: none, and nothing was written. */
int extract_csv(struct builder *b, const char *text, size_t len);
/* From the file's bytes. */
void extract_docx(struct builder *b, const char *data, size_t len);
void extract_odt(struct builder *b, const char *data, size_t len);
void extract_eml(struct builder *b, const char *data, size_t len);
/* From what pdftotext wrote. name: the file's, which is no title. */
void extract_boxes(struct builder *b, const char *name, const char *boxes, size_t len);
/* How many different header fields of mail data begins with; 0 when it does not begin with a header. */
int eml_looks_like(const char *data, size_t len);
void eml_prepare(void);
/* Raw HTML inside another document: as extract_html without a title. */
void extract_html_part(struct builder *b, const char *text, size_t len);
/* The encoding that an HTML file's first bytes declare, in out; 0 when they don't. */
int html_declared_charset(const char *data, size_t len, char *out, size_t cap);
/* Appends the characters of an entity ("&amp;", "&#233;"); the entity itself when it is unknown. */
void html_entity_put(struct buf *out, const char *entity, size_t len);

#endif
