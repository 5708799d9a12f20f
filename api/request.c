/* request.c: owns a request's memory, the reading of its target, fields and parameters, and the writing of its reply.
 *
 * Method: targets are split at "/", "?", "&" and "=" first and percent-decoded after (RFC 3986, section 2.4), so that an
 * escaped slash in an id stays part of the id. Numbers are read whole or refused. A field that has the wrong type is
 * named in r->param; unknown fields are passed over; fields of the contract that this build cannot honour are refused.
 * Threads: see request.h. Failure: E_USAGE for what the client wrote, E_MEMORY. */
#include "api/request.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "api/ask.h"
#include "api/server.h"
#include "api/view.h"
#include "base/clock.h"
#include "base/flag.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/utf8.h"

enum { ARENA_MAX = 256 << 20, REPLY_MAX = 1 << 30, STREAM_MAX = 4 << 20, TARGET_MAX = 16384 };

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

char *percent_decode(struct arena *a, const char *s, const char *end, int plus, struct err *e)
{
	char *out = arena_alloc(a, (size_t)(end - s) + 1);
	size_t n = 0;
	if (!out) {
		err_set(e, E_MEMORY, "out of memory");
		return NULL;
	}
	while (s < end) {
		char c = *s++;
		if (c == '%') {
			int hi = end - s >= 2 ? hex_digit(s[0]) : -1, lo = end - s >= 2 ? hex_digit(s[1]) : -1;
			if (hi < 0 || lo < 0 || (hi == 0 && lo == 0)) {
				err_set(e, E_USAGE, "request target: broken %%-escape");
				return NULL;
			}
			c = (char)(hi * 16 + lo);
			s += 2;
		} else if (c == '+' && plus) {
			c = ' ';
		}
		out[n++] = c;
	}
	out[n] = 0;
	if (!utf8_valid(out, n)) {
		err_set(e, E_USAGE, "request target: not UTF-8");
		return NULL;
	}
	return out;
}

static int path_parse(struct request *r, const char *s, const char *end, struct err *e)
{
	if (s == end || *s != '/')
		return err_set(e, E_USAGE, "request target: must begin with /");
	if (end - s == 1)
		return OK;
	while (s < end) {
		const char *from = ++s;
		while (s < end && *s != '/')
			s++;
		if (r->segment_n == SEGMENTS_MAX)
			return err_set(e, E_NOT_FOUND, "no such endpoint");
		if (!(r->segments[r->segment_n++] = percent_decode(&r->arena, from, s, 0, e)))
			return e->status;
		if (s + 1 == end) { /* a slash at the end opens an empty segment */
			if (r->segment_n == SEGMENTS_MAX)
				return err_set(e, E_NOT_FOUND, "no such endpoint");
			r->segments[r->segment_n++] = "";
			break;
		}
	}
	return OK;
}

static int query_parse(struct request *r, const char *s, const char *end, struct err *e)
{
	while (s < end) {
		const char *amp = memchr(s, '&', (size_t)(end - s));
		const char *stop = amp ? amp : end;
		const char *eq = memchr(s, '=', (size_t)(stop - s));
		if (stop > s) {
			const char *key = percent_decode(&r->arena, s, eq ? eq : stop, 1, e);
			const char *value = key ? percent_decode(&r->arena, eq ? eq + 1 : stop, stop, 1, e) : NULL;
			if (!value)
				return e->status;
			if (query_text(r, key)) {
				r->param = key;
				return err_set(e, E_USAGE, "%.60s: given twice", key);
			}
			if (r->query_n == QUERY_MAX)
				return err_set(e, E_USAGE, "more than %d query parameters", QUERY_MAX);
			r->query[r->query_n++] = (struct query_pair){ key, value };
		}
		s = stop + 1;
	}
	return OK;
}

static int target_parse(struct request *r, const char *target, struct err *e)
{
	size_t len = strlen(target);
	const char *end = target + len, *mark;
	int rc;
	if (len > TARGET_MAX)
		return err_set(e, E_USAGE, "request target: longer than %d bytes", TARGET_MAX);
	mark = memchr(target, '?', len);
	if ((rc = path_parse(r, target, mark ? mark : end, e)))
		return rc;
	return mark ? query_parse(r, mark + 1, end, e) : OK;
}

struct request *request_new(struct http *h, struct service *s, const char *target)
{
	struct request *r = mem_calloc(1, sizeof *r);
	if (!r)
		return NULL;
	if (pthread_mutex_init(&r->lock, NULL)) {
		mem_free(r);
		return NULL;
	}
	r->http = h;
	r->service = s;
	r->content_type = "";
	r->arrived_us = clock_us();
	atomic_init(&r->refs, 1);
	arena_init(&r->arena, ARENA_MAX);
	buf_init(&r->body, s ? s->conf.body_bytes_max : BODY_SMALL_MAX);
	buf_init(&r->out, REPLY_MAX);
	buf_init(&r->stream, STREAM_MAX);
	target_parse(r, target, &r->target_err);
	return r;
}

void request_ref(struct request *r)
{
	atomic_fetch_add(&r->refs, 1);
}

void request_unref(struct request *r)
{
	if (atomic_fetch_sub(&r->refs, 1) != 1)
		return;
	if (r->http)
		http_body_release(r->http, r->body_held);
	buf_clear(&r->body);
	buf_clear(&r->out);
	buf_clear(&r->stream);
	arena_clear(&r->arena);
	pthread_mutex_destroy(&r->lock);
	mem_free(r);
}

void request_set_id(struct request *r, const char *given)
{
	static const char sane[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t n = given ? strlen(given) : 0;
	uint8_t raw[16];
	if (n > 0 && n <= REQUEST_ID_MAX && strspn(given, sane) == n) {
		memcpy(r->id, given, n + 1);
		return;
	}
	if (getrandom(raw, sizeof raw, 0) != (ssize_t)sizeof raw) { /* only before the kernel's pool is ready */
		uint64_t t[2] = { clock_us(), (uint64_t)(uintptr_t)r };
		memcpy(raw, t, sizeof raw);
	}
	hex_put(r->id, raw, sizeof raw);
}

void request_cancel(struct request *r, int why)
{
	if (!r->cancel_why)
		r->cancel_why = why;
	flag_set(&r->cancel);
}

const char *query_text(const struct request *r, const char *key)
{
	for (size_t i = 0; i < r->query_n; i++)
		if (!strcmp(r->query[i].key, key))
			return r->query[i].value;
	return NULL;
}

int query_u64(struct request *r, const char *key, uint64_t lo, uint64_t hi, uint64_t absent, uint64_t *out, struct err *e)
{
	const char *s = query_text(r, key);
	unsigned long long v;
	char *end;
	*out = absent;
	if (!s)
		return OK;
	r->param = key;
	errno = 0;
	v = *s >= '0' && *s <= '9' ? strtoull(s, &end, 10) : 0;
	if (!(*s >= '0' && *s <= '9') || *end || errno || v < lo || v > hi)
		return err_set(e, E_USAGE, "%s: must be a whole number from %llu to %llu", key, (unsigned long long)lo,
			(unsigned long long)hi);
	*out = v;
	r->param = NULL;
	return OK;
}

int body_json(struct request *r, cJSON **out, struct err *e)
{
	int rc;
	*out = NULL;
	if (!r->body.len)
		return err_set(e, E_USAGE, "body: empty, a JSON object is needed");
	rc = json_parse(out, r->body.data, r->body.len, r->body.max, "body", e);
	if (rc == E_FORMAT)
		r->fail_status = 400;
	if (rc == E_LIMIT)
		r->fail_status = r->body.len > r->body.max ? 413 : 400;
	if (rc)
		return rc;
	if (!cJSON_IsObject(*out)) {
		cJSON_Delete(*out);
		*out = NULL;
		return err_set(e, E_USAGE, "body: must be a JSON object");
	}
	return OK;
}

/* rc of a field's reader; a failure names the field. */
static int field_read(struct request *r, const char *key, int rc)
{
	if (rc)
		r->param = key;
	return rc;
}

int field_text(struct request *r, const cJSON *o, const char *key, const char **out, struct err *e)
{
	return field_read(r, key, json_get_text(o, key, out, e));
}

int field_num(struct request *r, const cJSON *o, const char *key, double lo, double hi, double *out, struct err *e)
{
	return field_read(r, key, json_get_num(o, key, lo, hi, out, e));
}

int field_int(struct request *r, const cJSON *o, const char *key, int64_t lo, int64_t hi, int64_t *out, struct err *e)
{
	return field_read(r, key, json_get_int(o, key, lo, hi, out, e));
}

int field_bool(struct request *r, const cJSON *o, const char *key, int *out, struct err *e)
{
	return field_read(r, key, json_get_bool(o, key, out, e));
}

int field_texts(struct request *r, const cJSON *o, const char *key, size_t max, const char ***out, size_t *n, struct err *e)
{
	return field_read(r, key, json_get_texts(o, key, max, &r->arena, out, n, e));
}

int field_lacking(struct request *r, const cJSON *o, const char *key, struct err *e)
{
	return field_read(r, key, json_lacking(o, key, e));
}

int collection_check(struct request *r, const char *name, struct err *e)
{
	return field_read(r, "collection", ask_collection_check(name, e));
}

int request_collection(struct request *r, const cJSON *o, const char *absent, const char **out, struct err *e)
{
	const char *s = query_text(r, "collection");
	int rc = field_text(r, o, "collection", &s, e);
	*out = s ? s : absent;
	return rc ? rc : s ? collection_check(r, s, e) : OK;
}

int request_reader(struct request *r, const cJSON *body, const char *absent, struct reader *out, struct err *e)
{
	const char *collection = NULL;
	int rc = request_collection(r, body, absent, &collection, e);
	if (rc)
		return rc;
	caller_reader(&r->caller, collection, out);
	return field_read(r, "as", ask_narrow(body, query_text(r, "as"), out, &r->arena, e));
}

int request_filter(struct request *r, const cJSON *body, struct reader *out, struct filter **keep, struct err *e)
{
	return field_read(r, "filter", ask_filter(&r->service->conf, body, query_text(r, "filter"), out, keep, e));
}

static const char no_memory[] =
	"{\"error\":{\"type\":\"server_error\",\"code\":\"memory\",\"message\":\"out of memory\",\"param\":null}}";

void reply_json(struct request *r, int status, cJSON *take)
{
	char *text = take ? cJSON_PrintUnformatted(take) : NULL;
	cJSON_Delete(take);
	buf_reset(&r->out);
	if (text && !buf_puts(&r->out, text) && !buf_putc(&r->out, '\n')) {
		r->status = status;
		r->type = "application/json";
		r->out_data = r->out.data;
		r->out_len = r->out.len;
	} else {
		reply_static(r, 500, "application/json", no_memory, sizeof no_memory - 1);
	}
	cJSON_free(text);
}

void reply_static(struct request *r, int status, const char *type, const char *data, size_t len)
{
	r->status = status;
	r->type = type;
	r->out_data = data;
	r->out_len = len;
}

void reply_error(struct request *r, int http_status, const struct err *e)
{
	int status = http_status ? http_status : r->fail_status ? r->fail_status : view_http_status(e->status);
	if ((status == 429 || status == 503) && !r->retry_after)
		r->retry_after = 1;
	reply_json(r, status, view_error(e, r->param, status));
}
