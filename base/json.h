/* json.h: cJSON behind limits. The one place that parses JSON; api/ builds replies with cJSON's own calls, which this
 * header brings in. */
#ifndef BASE_JSON_H
#define BASE_JSON_H
#include <stddef.h>
#include <cjson/cJSON.h>
#include "base/err.h"

enum { JSON_DEPTH_MAX = 64 };
/* Parses exactly len bytes (not NUL-terminated, trailing white space allowed, valid UTF-8 required). Refuses what would
 * surprise C code: \u0000 in a string, a number that is no finite double. Strings come out as valid UTF-8. Caller frees
 * with cJSON_Delete. E_FORMAT names `what` and the byte offset of the mistake; E_LIMIT: longer than max_bytes or deeper
 * than JSON_DEPTH_MAX. */
int json_parse(cJSON **out, const char *text, size_t len, size_t max_bytes, const char *what, struct err *e);
/* The member of that exact name; absent when it is missing or of another type. json_str borrows. */
const char *json_str(const cJSON *obj, const char *key, const char *absent);
double json_num(const cJSON *obj, const char *key, double absent);
int json_bool(const cJSON *obj, const char *key, int absent);

#endif
