/* json.c: owns the limits in front of cJSON. A first pass over the bytes, before any memory is taken, checks UTF-8, the
 * depth of brackets outside strings, and what cJSON would let through although RFC 8259 does not: control characters,
 * and \u0000, which would cut a C string short. cJSON then parses; numbers too large for a double are refused after it.
 * Threads: no state (cJSON's global error pointer is not used). Failure: E_FORMAT or E_LIMIT, *out NULL. */
#include "base/json.h"
#include "base/utf8.h"
#include <math.h>
#include <string.h>

/* Moves *i over a string whose quote was just read. 0, or -1 with *i at the mistake. */
static int string_scan(const char *text, size_t len, size_t *i)
{
	while (*i < len) {
		unsigned char c = (unsigned char)text[*i];
		if (c < 0x20) return -1;
		if (c == '"') {
			(*i)++;
			return 0;
		}
		if (c == '\\' && len - *i >= 6 && memcmp(text + *i + 1, "u0000", 5) == 0) return -1;
		*i += c == '\\' && len - *i > 1 ? 2 : 1;
	}
	return -1;
}

static int text_scan(const char *text, size_t len, const char *what, struct err *e)
{
	size_t i = 0;
	int depth = 0;
	while (i < len)
		if (utf8_next(text, len, &i) < 0) return err_set(e, E_FORMAT, "%s: not valid UTF-8 before byte %zu", what, i);
	for (i = 0; i < len;) {
		unsigned char c = (unsigned char)text[i++];
		if (c == '"') {
			if (string_scan(text, len, &i)) return err_set(e, E_FORMAT, "%s: bad string at byte %zu", what, i);
		} else if (c == '[' || c == '{') {
			if (++depth > JSON_DEPTH_MAX)
				return err_set(e, E_LIMIT, "%s: nested deeper than %d at byte %zu", what, (int)JSON_DEPTH_MAX, i - 1);
		} else if (c == ']' || c == '}') {
			depth--;
		} else if (c < 0x20 && c != '\t' && c != '\n' && c != '\r') {
			return err_set(e, E_FORMAT, "%s: control character at byte %zu", what, i - 1);
		}
	}
	return OK;
}

static int all_finite(const cJSON *item)
{
	for (; item; item = item->next) {
		if (cJSON_IsNumber(item) && !isfinite(item->valuedouble)) return 0;
		if (!all_finite(item->child)) return 0;
	}
	return 1;
}

int json_parse(cJSON **out, const char *text, size_t len, size_t max_bytes, const char *what, struct err *e)
{
	const char *end = NULL;
	size_t at;
	int rc;
	*out = NULL;
	if (len > max_bytes) return err_set(e, E_LIMIT, "%s: %zu bytes, the limit is %zu", what, len, max_bytes);
	rc = text_scan(text, len, what, e);
	if (rc) return rc;
	if (len == 0) return err_set(e, E_FORMAT, "%s: empty where JSON should be (byte 0)", what);
	*out = cJSON_ParseWithLengthOpts(text, len, &end, 0);
	at = end ? (size_t)(end - text) : 0;
	if (!*out) return err_set(e, E_FORMAT, "%s: not valid JSON at byte %zu", what, at);
	while (at < len && strchr(" \t\r\n", text[at])) at++;
	if (at < len) rc = err_set(e, E_FORMAT, "%s: something follows the JSON at byte %zu", what, at);
	else if (!all_finite(*out)) rc = err_set(e, E_FORMAT, "%s: a number too large", what);
	if (rc) {
		cJSON_Delete(*out);
		*out = NULL;
	}
	return rc;
}

const char *json_str(const cJSON *obj, const char *key, const char *absent)
{
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(obj, key));
	return s ? s : absent;
}

double json_num(const cJSON *obj, const char *key, double absent)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(obj, key);
	return cJSON_IsNumber(item) ? item->valuedouble : absent;
}

int json_bool(const cJSON *obj, const char *key, int absent)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(obj, key);
	return cJSON_IsBool(item) ? cJSON_IsTrue(item) != 0 : absent;
}

const cJSON *json_get(const cJSON *obj, const char *key)
{
	const cJSON *v = obj ? cJSON_GetObjectItemCaseSensitive(obj, key) : NULL;
	return v && !cJSON_IsNull(v) ? v : NULL;
}

int json_get_text(const cJSON *obj, const char *key, const char **out, struct err *e)
{
	const cJSON *v = json_get(obj, key);
	if (!v) return OK;
	if (!cJSON_IsString(v)) return err_set(e, E_USAGE, "%s: must be a string", key);
	*out = v->valuestring;
	return OK;
}

int json_get_num(const cJSON *obj, const char *key, double lo, double hi, double *out, struct err *e)
{
	const cJSON *v = json_get(obj, key);
	if (!v) return OK;
	if (!cJSON_IsNumber(v) || !(v->valuedouble >= lo && v->valuedouble <= hi))
		return err_set(e, E_USAGE, "%s: must be a number from %g to %g", key, lo, hi);
	*out = v->valuedouble;
	return OK;
}

int json_get_int(const cJSON *obj, const char *key, int64_t lo, int64_t hi, int64_t *out, struct err *e)
{
	const cJSON *v = json_get(obj, key);
	if (!v) return OK;
	if (!cJSON_IsNumber(v) || !(v->valuedouble >= (double)lo && v->valuedouble <= (double)hi) ||
	    floor(v->valuedouble) != v->valuedouble)
		return err_set(e, E_USAGE, "%s: must be a whole number from %lld to %lld", key, (long long)lo, (long long)hi);
	*out = (int64_t)v->valuedouble;
	return OK;
}

int json_get_bool(const cJSON *obj, const char *key, int *out, struct err *e)
{
	const cJSON *v = json_get(obj, key);
	if (!v) return OK;
	if (!cJSON_IsBool(v)) return err_set(e, E_USAGE, "%s: must be true or false", key);
	*out = cJSON_IsTrue(v);
	return OK;
}

int json_get_texts(const cJSON *obj, const char *key, size_t max, struct arena *a, const char ***out, size_t *n, struct err *e)
{
	const cJSON *v = json_get(obj, key), *item;
	*out = NULL;
	*n = 0;
	if (!v) return OK;
	if (!cJSON_IsArray(v)) return err_set(e, E_USAGE, "%s: must be an array of strings", key);
	size_t size = (size_t)cJSON_GetArraySize(v);
	if (size > max) return err_set(e, E_USAGE, "%s: more than %zu entries", key, max);
	if (!(*out = arena_calloc(a, size + 1, sizeof **out))) return err_set(e, E_MEMORY, "out of memory");
	cJSON_ArrayForEach(item, v) {
		if (!cJSON_IsString(item) || !*item->valuestring)
			return err_set(e, E_USAGE, "%s: must be an array of non-empty strings", key);
		(*out)[(*n)++] = item->valuestring;
	}
	return OK;
}

const char *json_digits(const char *text, size_t len, const char *key, size_t *n)
{
	size_t i = 0, key_len = strlen(key), at = len, depth = 0;
	while (i < len && at == len) {
		size_t from = i++;
		if (text[from] == '[' || text[from] == '{') depth++;
		if (text[from] == ']' || text[from] == '}') depth--;
		if (text[from] != '"') continue;
		if (string_scan(text, len, &i)) return NULL;
		if (depth != 1 || i - from != key_len + 2 || memcmp(text + from + 1, key, key_len)) continue;
		while (i < len && strchr(" \t\r\n", text[i])) i++;
		if (i < len && text[i] == ':') at = i + 1;
	}
	while (at < len && strchr(" \t\r\n", text[at])) at++;
	size_t end = at + (at < len && text[at] == '-'), first = end;
	while (end < len && text[end] >= '0' && text[end] <= '9') end++;
	*n = end - at;
	return end == first || (text[first] == '0' && end > first + 1) || (end < len && strchr(".eE", text[end])) ? NULL : text + at;
}

int json_lacking(const cJSON *obj, const char *key, struct err *e)
{
	const cJSON *v = json_get(obj, key);
	if (!v || cJSON_IsFalse(v) || (cJSON_IsString(v) && !*v->valuestring)) return OK;
	if ((cJSON_IsArray(v) || cJSON_IsObject(v)) && !v->child) return OK;
	return err_set(e, E_UNSUPPORTED, "%s: not supported by this build", key);
}
