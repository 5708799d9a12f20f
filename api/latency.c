/* latency.c: a histogram of times (latency.h).
 *
 * Method: bin i ends at 2^(i/4) ms. A quantile is looked for in the bin that holds it and placed between its ends as if
 * times were spread evenly in their logarithm. Threads: the caller's. Failure: none but memory for JSON. */
#include "api/latency.h"
#include <math.h>
#include <string.h>

void latency_add(struct latency *l, double ms)
{
	double bin = ms > 1 ? ceil(4 * log2(ms)) : 0;
	if (!isfinite(ms) || ms < 0) return;
	l->bins[bin < LATENCY_BINS - 1 ? (size_t)bin : LATENCY_BINS - 1]++;
	l->sum_ms += ms;
	l->n++;
}

double latency_quantile(const struct latency *l, double q)
{
	double want = q * (double)l->n, before = 0;
	for (int i = 0; i < LATENCY_BINS; i++) {
		double here = (double)l->bins[i];
		if (here > 0 && before + here >= want) return exp2((i - 1 + (want - before) / here) / 4);
		before += here;
	}
	return 0;
}

static int put(cJSON *o, const char *key, const struct latency *l, double x)
{
	return l->n ? cJSON_AddNumberToObject(o, key, round(x * 10) / 10) != NULL : cJSON_AddNullToObject(o, key) != NULL;
}

cJSON *latency_view(const struct latency *l)
{
	cJSON *o = cJSON_CreateObject();
	if (o && put(o, "p50", l, latency_quantile(l, 0.5)) && put(o, "p95", l, latency_quantile(l, 0.95)) &&
	    put(o, "mean", l, l->n ? l->sum_ms / (double)l->n : 0))
		return o;
	cJSON_Delete(o);
	return NULL;
}

cJSON *latency_keep(const struct latency *l)
{
	cJSON *o = cJSON_CreateObject(), *list = NULL;
	int n = LATENCY_BINS, ok = o && cJSON_AddNumberToObject(o, "sum_ms", l->sum_ms) && (list = cJSON_AddArrayToObject(o, "bins"));
	while (n > 0 && !l->bins[n - 1]) n--;
	for (int i = 0; ok && i < n; i++) {
		cJSON *x = cJSON_CreateNumber((double)l->bins[i]);
		ok = x && cJSON_AddItemToArray(list, x);
	}
	if (ok) return o;
	cJSON_Delete(o);
	return NULL;
}

void latency_read(struct latency *l, const cJSON *o)
{
	const cJSON *x;
	int i = 0;
	memset(l, 0, sizeof *l);
	l->sum_ms = json_num(o, "sum_ms", 0);
	cJSON_ArrayForEach(x, json_get(o, "bins")) {
		double v = cJSON_IsNumber(x) && x->valuedouble > 0 && x->valuedouble < 1e15 ? x->valuedouble : 0;
		if (i == LATENCY_BINS) return;
		l->bins[i++] = (uint64_t)v;
		l->n += (uint64_t)v;
	}
}
