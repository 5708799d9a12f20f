/* usage.h: what answers cost: tokens, time and money, summed up by day (UTC) and access key in small notes. */
#ifndef API_USAGE_H
#define API_USAGE_H
#include "api/service.h"
#include "base/json.h"

struct usage { double answers, abstained, cached, prompt_tokens, completion_tokens, reused_tokens, ms, cost; };
enum { USAGE_NAME = 64 };
struct usage_row { char name[USAGE_NAME]; struct usage sum; };   /* "2026-12-31 KEY"; KEY is "-" without one */

void usage_name(char out[USAGE_NAME], int64_t wall_ms, const char *key_id); /* key_id NULL: none */
void usage_add(struct usage *to, const struct usage *u);
/* Adds rows to what the store has, in a write of the caller's. Errors of the store. */
int usage_write(struct service *s, struct write *w, const struct usage_row *rows, size_t n, struct err *e);
/* Money of an answer, by the prices of the settings. */
double usage_cost(const struct conf *c, double prompt_tokens, double completion_tokens, double ms);
/* {"usage":[{"day","key":id|null,"answers","abstained","cached","prompt_tokens","completion_tokens","reused_tokens","ms","cost"}],
 * "total":{…}} of the days from … to, "2026-12-31" both, either NULL: open. E_USAGE: not a day. */
int usage_view(struct service *s, const char *from, const char *to, cJSON **out, struct err *e);
/* Sum of a day over all keys; zeros where there is none. */
int usage_day(struct service *s, int64_t wall_ms, struct usage *out, struct err *e);

#endif
