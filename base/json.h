/* json.h: cJSON behind limits. The one place that parses JSON; api/ builds replies with cJSON's own calls, which this
 * header brings in. */
#ifndef BASE_JSON_H
#define BASE_JSON_H
#include <stddef.h>
#include <stdint.h>
#include <cjson/cJSON.h>
#include "base/arena.h"
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

/* Members that a caller sends: absent or null leaves *out as it is; another type or a value out of range is E_USAGE,
 * naming the key. json_get_text borrows. */
int json_get_text(const cJSON *obj, const char *key, const char **out, struct err *e);
int json_get_num(const cJSON *obj, const char *key, double lo, double hi, double *out, struct err *e);
int json_get_int(const cJSON *obj, const char *key, int64_t lo, int64_t hi, int64_t *out, struct err *e);
int json_get_bool(const cJSON *obj, const char *key, int *out, struct err *e);
/* An array of non-empty strings, at most max; *out in the arena, borrowing from obj; NULL when absent. */
int json_get_texts(const cJSON *obj, const char *key, size_t max, struct arena *a, const char ***out, size_t *n, struct err *e);
/* The member when it is there and not null. */
const cJSON *json_get(const cJSON *obj, const char *key);
/* Where the digits of a member that is a whole number stand in an object's text (as json_parse took it): cJSON keeps doubles and
 * prints 15 digits. NULL when it is of another kind, or its key is written with escapes. */
const char *json_digits(const char *text, size_t len, const char *key, size_t *n);
/* Refuses a member that asks for something this build lacks (E_UNSUPPORTED): null, false, "", [] and {} do not. */
int json_lacking(const cJSON *obj, const char *key, struct err *e);

#endif
