/* extract_eml.c: mail (RFC 5322, MIME) to blocks. Owns the way to GMime.
 *
 * The subject is the title and a heading; the people and the date are a paragraph below it; then the body. Of
 * alternatives the plain text is taken, unless it is missing or a stub of what the HTML says. Quoted lines ("> …") keep
 * their words and lose the signs: a quotation is a block of its own. A mail inside the mail is read on below a heading
 * with its subject. What was attached becomes a part (struct part), a document of its own, unpacked but not read here.
 * GMime takes the message apart and undoes transfer encodings; bytes become text in charset.c like those of any file,
 * so a wrong or missing charset is guessed in one way.
 * Threads: one document, one thread; eml_prepare first. Failure: memory; GMime's own allocations end the process when
 * memory is gone, which is one reason why extractors run in children. */
#include "ingest/extract.h"

#include <gmime/gmime.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "ingest/charset.h"
#include "ingest/clean.h"

enum { DEPTH_MAX = 24, PARTS_MAX = 1000, NAME_LEN_MAX = 200, STUB_SHARE = 4, HEADER_LINES = 200 };

struct mail {
	struct builder *b;
	int depth, encrypted, too_deep, too_many;
	size_t head_n;          /* blocks that are subjects and people */
};

/* ---- is it mail? ---- */

int eml_looks_like(const char *data, size_t len)
{
	static const char *const names[] = { "from", "to", "subject", "date", "message-id", "received", "mime-version",
		"return-path", "delivered-to", "cc", "reply-to", "content-type", "x-mailer", "sender" };
	const char *end = data + len;
	unsigned seen = 0;
	int n = 0;

	if (len > 5 && memcmp(data, "From ", 5) == 0) {         /* the line between the mails of a mailbox */
		data = memchr(data, '\n', len);
		data = data ? data + 1 : end;
	}
	for (int line = 0; data < end && line < HEADER_LINES; line++) {
		const char *nl = memchr(data, '\n', (size_t)(end - data)), *stop = nl ? nl : end;
		const char *colon = memchr(data, ':', (size_t)(stop - data));

		if (stop == data || *data == '\r')
			break;
		if (*data != ' ' && *data != '\t') {
			if (!colon || colon == data)
				return 0;
			for (const char *p = data; p < colon; p++)
				if (*p <= ' ' || *p >= 127)
					return 0;
			for (size_t i = 0; i < sizeof names / sizeof *names; i++)
				if (strlen(names[i]) == (size_t)(colon - data) && strncasecmp(names[i], data, strlen(names[i])) == 0)
					seen |= 1u << i;
		}
		data = nl ? nl + 1 : end;
	}
	for (; seen; seen >>= 1)
		n += seen & 1;
	return n;
}

/* ---- text ---- */

/* The decoded bytes of a part. */
static int part_bytes(GMimePart *part, struct buf *out)
{
	GMimeDataWrapper *content = g_mime_part_get_content(part);
	GMimeStream *to = content ? g_mime_stream_mem_new() : NULL;
	GByteArray *bytes;
	int rc = OK;

	if (!to)
		return OK;
	g_mime_data_wrapper_write_to_stream(content, to);
	bytes = g_mime_stream_mem_get_byte_array(GMIME_STREAM_MEM(to));
	if (bytes && bytes->len > 0)
		rc = buf_put(out, bytes->data, bytes->len);
	g_object_unref(to);
	return rc;
}

/* A text part as UTF-8. */
static int part_text(struct mail *m, GMimePart *part, struct buf *out)
{
	GMimeContentType *type = g_mime_object_get_content_type(GMIME_OBJECT(part));
	const char *declared = type ? g_mime_content_type_get_parameter(type, "charset") : NULL;
	struct charset_result cs = { 0 };
	struct buf raw;
	int rc;

	buf_init(&raw, SIZE_MAX);
	rc = part_bytes(part, &raw);
	if (rc == OK && raw.len > 0)
		rc = charset_decode(raw.data, raw.len, declared, out, &cs, m->b->e);
	if (rc == OK && cs.note[0])
		extracted_note(m->b->x, EXTRACT_PARTIAL, "%s", cs.note);
	buf_clear(&raw);
	if (rc != OK && m->b->rc == OK)
		m->b->rc = rc == E_MEMORY ? err_set(m->b->e, rc, "mail: out of memory") : rc;
	return rc;
}

/* How deep a line is quoted; *at: where its words begin. */
static int quote_depth(const char *s, size_t len, size_t *at)
{
	int depth = 0;
	size_t i = 0;

	*at = 0;
	while (i < len && (s[i] == '>' || (s[i] == ' ' && depth > 0))) {
		depth += s[i] == '>';
		i++;
	}
	*at = depth ? i : 0;
	return depth;
}

/* Plain text: paragraphs and quotations; an empty line or another depth of quotation ends one. flowed: lines that end
 * with a blank go on (RFC 3676). */
static void put_plain(struct builder *b, const char *s, size_t len, int flowed)
{
	int depth = 0, joins = 0;

	builder_close(b);
	for (size_t i = 0; i < len && !builder_stopped(b); ) {
		const char *nl = memchr(s + i, '\n', len - i);
		size_t end = nl ? (size_t)(nl - s) : len, at, n = end - i;
		int now;

		n -= n > 0 && s[i + n - 1] == '\r';
		now = quote_depth(s + i, n, &at);
		if (clean_is_blank(s + i + at, n - at) || now != depth)
			builder_close(b);
		depth = now;
		if (!clean_is_blank(s + i + at, n - at)) {
			if (!b->is_open)
				builder_open(b, depth ? BLOCK_QUOTE : BLOCK_PARAGRAPH, 0, 0);
			else
				builder_put(b, joins ? " " : "\n", 1);
			builder_put(b, s + i + at, n - at);
			joins = flowed && n > at && s[i + n - 1] == ' ' && !(n - at == 3 && memcmp(s + i + at, "-- ", 3) == 0);
		}
		i = end + 1;
	}
	builder_close(b);
}

static int is_text(GMimeObject *o, const char *subtype)
{
	GMimeContentType *type = g_mime_object_get_content_type(o);

	return GMIME_IS_PART(o) && type && g_mime_content_type_is_type(type, "text", subtype);
}

static void put_text_part(struct mail *m, GMimeObject *o)
{
	GMimeContentType *type = g_mime_object_get_content_type(o);
	const char *format = type ? g_mime_content_type_get_parameter(type, "format") : NULL;
	struct buf text;

	buf_init(&text, SIZE_MAX);
	if (part_text(m, GMIME_PART(o), &text) == OK && text.len > 0) {
		if (is_text(o, "html"))
			extract_html_part(m->b, text.data, text.len);
		else
			put_plain(m->b, text.data, text.len, format && strcasecmp(format, "flowed") == 0);
	}
	buf_clear(&text);
	builder_close(m->b);
}

/* ---- attachments ---- */

/* A name that no other part has: "a.txt", "a (2).txt". */
static char *name_unique(const struct extracted *x, const char *wanted)
{
	const char *dot = strrchr(wanted, '.');
	size_t stem = dot && dot > wanted ? (size_t)(dot - wanted) : strlen(wanted);
	struct buf b;

	buf_init(&b, SIZE_MAX);
	for (int n = 1; ; n++) {
		size_t i = 0;

		buf_reset(&b);
		if (n == 1)
			buf_puts(&b, wanted);
		else
			buf_printf(&b, "%.*s (%d)%s", (int)stem, wanted, n, wanted + stem);
		while (i < x->part_n && strcmp(x->parts[i].name, buf_cstr(&b)) != 0)
			i++;
		if (i == x->part_n || buf_failed(&b) != OK)
			return buf_take(&b, NULL);
	}
}

/* One line of valid UTF-8 without what a path or a mark is made of; "" when nothing is left. */
static void name_clean(const char *raw, char out[NAME_LEN_MAX + 1])
{
	struct buf clean, scratch;
	size_t n = 0;

	buf_init(&clean, SIZE_MAX);
	buf_init(&scratch, SIZE_MAX);
	if (raw && clean_put(raw, strlen(raw), &clean, &scratch, NULL) == OK) {
		n = utf8_floor(buf_cstr(&clean), clean.len, NAME_LEN_MAX);
		for (size_t i = 0; i < n; i++)
			out[i] = strchr("/\\\n\t#", clean.data[i]) ? '_' : clean.data[i];
	}
	out[n] = 0;
	buf_clear(&clean);
	buf_clear(&scratch);
}

/* Adds a file inside the mail; takes what is in data. */
static void part_add(struct mail *m, const char *name, const char *ext, struct buf *data)
{
	struct extracted *x = m->b->x;
	struct part *more;
	char wanted[NAME_LEN_MAX + 1];

	name_clean(name, wanted);
	if (x->part_n >= PARTS_MAX) {
		if (!m->too_many++)
			extracted_note(x, EXTRACT_PARTIAL, "more than %d attachments", PARTS_MAX);
		return;
	}
	if (!wanted[0])
		snprintf(wanted, sizeof wanted, "attachment-%zu%s%.8s", x->part_n + 1, *ext ? "." : "", ext);
	more = mem_realloc(x->parts, (x->part_n + 1) * sizeof *more);
	if (more) {
		x->parts = more;
		more[x->part_n].name = name_unique(x, wanted);
		more[x->part_n].data = more[x->part_n].name ? buf_take(data, &more[x->part_n].len) : NULL;
		if (more[x->part_n].data) {
			x->part_n++;
			return;
		}
		mem_free(more[x->part_n].name);
	}
	m->b->rc = err_set(m->b->e, E_MEMORY, "mail: attachment of %zu bytes: out of memory", data->len);
}

static void attach(struct mail *m, GMimeObject *o)
{
	struct buf data;

	buf_init(&data, SIZE_MAX);
	if (GMIME_IS_PART(o)) {
		GMimeContentType *type = g_mime_object_get_content_type(o);
		const char *sub = type ? g_mime_content_type_get_media_subtype(type) : NULL;

		if (part_bytes(GMIME_PART(o), &data) != OK)
			m->b->rc = err_set(m->b->e, E_MEMORY, "mail: out of memory");
		else if (data.len > 0)
			part_add(m, g_mime_part_get_filename(GMIME_PART(o)), sub && strspn(sub, "abcdefghijklmnopqrstuvwxyz") == strlen(sub)
				&& strlen(sub) <= 5 ? (strcmp(sub, "plain") == 0 ? "txt" : sub) : "", &data);
	} else if (GMIME_IS_MESSAGE_PART(o)) {
		GMimeMessage *inner = g_mime_message_part_get_message(GMIME_MESSAGE_PART(o));
		char *whole = inner ? g_mime_object_to_string(GMIME_OBJECT(inner), NULL) : NULL;
		const char *subject = inner ? g_mime_message_get_subject(inner) : NULL;
		char name[NAME_LEN_MAX + 8];

		snprintf(name, sizeof name, "%.150s.eml", subject && *subject ? subject : "message");
		if (whole && buf_puts(&data, whole) == OK && data.len > 0)
			part_add(m, name, "eml", &data);
		g_free(whole);
	}
	buf_clear(&data);
}

/* ---- the tree ---- */

static void put_object(struct mail *m, GMimeObject *o);

static void put_header(struct builder *b, const char *name, const char *value)
{
	if (!value || clean_is_blank(value, strlen(value)))
		return;
	if (!b->is_open)
		builder_open(b, BLOCK_PARAGRAPH, 0, 0);
	else
		builder_put(b, "\n", 1);
	builder_put(b, name, strlen(name));
	builder_put(b, ": ", 2);
	for (const char *p = value; *p; p++)                    /* folded lines are one */
		if (!strchr("\r\n\t", *p))
			builder_put(b, p, 1);
		else if (p > value && p[-1] != ' ')
			builder_put(b, " ", 1);
}

static void put_addresses(struct builder *b, const char *name, InternetAddressList *list)
{
	char *text = list && internet_address_list_length(list) > 0
		? internet_address_list_to_string(list, NULL, FALSE) : NULL;

	put_header(b, name, text);
	g_free(text);
}

static void put_message(struct mail *m, GMimeMessage *message)
{
	struct builder *b = m->b;
	const char *subject = g_mime_message_get_subject(message);
	size_t before = b->x->block_n;
	GMimeObject *body = g_mime_message_get_mime_part(message);

	if (subject && !clean_is_blank(subject, strlen(subject))) {
		builder_open(b, BLOCK_HEADING, m->depth < 5 ? m->depth + 1 : 6, 0);
		builder_put(b, subject, strlen(subject));
		builder_close(b);
		if (m->depth == 0)
			extracted_title(b->x, subject, strlen(subject));
	}
	put_addresses(b, "From", g_mime_message_get_from(message));
	put_addresses(b, "To", g_mime_message_get_to(message));
	put_addresses(b, "Cc", g_mime_message_get_cc(message));
	put_header(b, "Date", g_mime_object_get_header(GMIME_OBJECT(message), "Date"));
	builder_close(b);
	m->head_n += b->x->block_n - before;
	if (body)
		put_object(m, body);
}

static size_t words_in(struct mail *m, GMimeObject *o)
{
	struct extracted x = { 0 };
	struct builder b, *was = m->b;
	size_t n = 0;

	buf_init(&x.text, SIZE_MAX);
	builder_init(&b, &x, m->b->e);
	m->b = &b;
	put_text_part(m, o);
	m->b = was;
	if (b.rc != OK)
		was->rc = b.rc;
	for (size_t i = 0; i < x.text.len; i++)
		n += (x.text.data[i] == ' ' || x.text.data[i] == '\n') || i == 0;
	builder_clear(&b);
	extracted_clear(&x);
	return n;
}

/* The best of several forms of the same: plain text if it says what the HTML says, else HTML, else the last. */
static void put_alternative(struct mail *m, GMimeMultipart *all)
{
	GMimeObject *plain = NULL, *html = NULL, *other = NULL;

	for (int i = 0; i < g_mime_multipart_get_count(all); i++) {
		GMimeObject *o = g_mime_multipart_get_part(all, i);

		if (!plain && is_text(o, "plain"))
			plain = o;
		else if (!html && is_text(o, "html"))
			html = o;
		else if (GMIME_IS_MULTIPART(o))
			other = o;                                  /* related: HTML with its pictures */
		else if (!is_text(o, "plain") && !is_text(o, "html"))
			attach(m, o);                               /* an invitation and the like */
	}
	if (plain && html)
		put_text_part(m, words_in(m, plain) * STUB_SHARE < words_in(m, html) ? html : plain);
	else if (plain && words_in(m, plain) > 0)
		put_text_part(m, plain);
	else if (html)
		put_text_part(m, html);
	else if (other)
		put_object(m, other);
}

static int is_attached(GMimeObject *o)
{
	GMimeContentDisposition *d = g_mime_object_get_content_disposition(o);

	if (d && strcasecmp(g_mime_content_disposition_get_disposition(d), "attachment") == 0)
		return 1;
	return GMIME_IS_PART(o) && g_mime_part_get_filename(GMIME_PART(o)) && !is_text(o, "plain") && !is_text(o, "html");
}

/* Encrypted content: OpenPGP (RFC 3156), S/MIME (RFC 8551) or an armoured text. */
static int is_encrypted(struct mail *m, GMimeObject *o)
{
	GMimeContentType *type = g_mime_object_get_content_type(o);
	const char *kind = type ? g_mime_content_type_get_parameter(type, "smime-type") : NULL;
	struct buf text;
	int is;

	if (GMIME_IS_MULTIPART_ENCRYPTED(o) || (type && g_mime_content_type_is_type(type, "multipart", "encrypted")))
		return 1;
	if (type && (g_mime_content_type_is_type(type, "application", "pkcs7-mime")
		|| g_mime_content_type_is_type(type, "application", "x-pkcs7-mime")))
		return !kind || strcasecmp(kind, "signed-data") != 0;
	if (!is_text(o, "plain"))
		return 0;
	buf_init(&text, SIZE_MAX);
	is = part_text(m, GMIME_PART(o), &text) == OK && text.len > 27
		&& memcmp(text.data, "-----BEGIN PGP MESSAGE-----", 27) == 0;
	buf_clear(&text);
	return is;
}

static void put_object(struct mail *m, GMimeObject *o)
{
	if (builder_stopped(m->b))
		return;
	if (m->depth >= DEPTH_MAX) {
		m->too_deep = 1;
		return;
	}
	m->depth++;
	if (is_encrypted(m, o)) {
		m->encrypted = 1;
	} else if (is_attached(o)) {
		attach(m, o);
	} else if (GMIME_IS_MULTIPART(o)) {
		GMimeContentType *type = g_mime_object_get_content_type(o);

		if (type && g_mime_content_type_is_type(type, "multipart", "alternative"))
			put_alternative(m, GMIME_MULTIPART(o));
		else
			for (int i = 0; i < g_mime_multipart_get_count(GMIME_MULTIPART(o)); i++)
				put_object(m, g_mime_multipart_get_part(GMIME_MULTIPART(o), i));
	} else if (GMIME_IS_MESSAGE_PART(o)) {
		GMimeMessage *inner = g_mime_message_part_get_message(GMIME_MESSAGE_PART(o));

		if (inner)
			put_message(m, inner);
	} else if (is_text(o, "*")) {
		put_text_part(m, o);
	}
	m->depth--;
}

void extract_eml(struct builder *b, const char *data, size_t len)
{
	struct mail m = { .b = b };
	GMimeStream *stream;
	GMimeParser *parser;
	GMimeMessage *message;

	if (len > 5 && memcmp(data, "From ", 5) == 0) {
		const char *nl = memchr(data, '\n', len);

		len -= nl ? (size_t)(nl + 1 - data) : len;
		data = nl ? nl + 1 : data;
	}
	stream = g_mime_stream_mem_new_with_buffer(data, len);
	parser = g_mime_parser_new_with_stream(stream);
	message = g_mime_parser_construct_message(parser, NULL);
	if (message)
		put_message(&m, message);
	builder_close(b);
	if (m.too_deep)
		extracted_note(b->x, EXTRACT_PARTIAL, "parts nested deeper than %d are left out", DEPTH_MAX);
	if (m.encrypted && b->x->block_n > m.head_n)
		extracted_note(b->x, EXTRACT_PARTIAL, "an encrypted part is left out");
	else if (m.encrypted)                                   /* who wrote to whom is no answer to anything */
		extracted_drop(b->x, "encrypted");
	else if (b->x->block_n <= m.head_n && !b->x->title[0] && b->x->part_n == 0)
		extracted_drop(b->x, "empty");
	if (message)
		g_object_unref(message);
	g_object_unref(parser);
	g_object_unref(stream);
}

/* GMime does not start a second time once it was shut down: it stays until the process ends. */
void eml_prepare(void)
{
	g_mime_init();
}
