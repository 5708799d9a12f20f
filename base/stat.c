/* stat.c: owns the registry of the process's series. SERIES_MAX places in a hash table of atomic pointers with open
 * addressing: a reader that finds its series never locks; the first use of a name takes a mutex, fills a series and
 * publishes its pointer. Series live as long as the process. Doubles are kept as their bits in an atomic and added to
 * by compare-and-swap. Threads: any. Failure: a series over the limit, of another kind than its first use, or without
 * memory is dropped with one warning; a value that is not finite is ignored. */
#include "base/stat.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

enum { SERIES_MAX = 512, SLOTS = 2 * SERIES_MAX };
enum kind { KIND_COUNTER, KIND_GAUGE, KIND_HISTOGRAM, KIND_SHARES };
static const double bounds_ms[] = { 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 60000 };
enum { BOUNDS = sizeof bounds_ms / sizeof *bounds_ms, SHARE_BOUNDS = 10 };

struct series {
	char *name, *labels;              /* owned */
	enum kind kind;
	_Atomic uint64_t value;           /* bits of a double: the value, or a histogram's sum in ms */
	_Atomic uint64_t bins[BOUNDS + 1]; /* histogram: observations per bucket, the last is beyond all bounds */
};

static _Atomic(struct series *) slots[SLOTS];      /* by hash */
static _Atomic(struct series *) in_order[SERIES_MAX]; /* by first use; series_n of them */
static atomic_int series_n;
static atomic_flag warned = ATOMIC_FLAG_INIT;
static pthread_mutex_t first_use = PTHREAD_MUTEX_INITIALIZER;

/* FNV-1a, 32 bits. */
static uint32_t hash_add(uint32_t h, const char *s)
{
	while (*s) h = (h ^ (unsigned char)*s++) * 16777619u;
	return (h ^ 0xff) * 16777619u;
}

static double bits_double(uint64_t bits)
{
	double d;
	memcpy(&d, &bits, sizeof d);
	return d;
}

static uint64_t double_bits(double d)
{
	uint64_t bits;
	memcpy(&bits, &d, sizeof bits);
	return bits;
}

static void value_add(_Atomic uint64_t *value, double add)
{
	uint64_t was = atomic_load_explicit(value, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(value, &was, double_bits(bits_double(was) + add),
		memory_order_relaxed, memory_order_relaxed)) continue;
}

/* The series, or NULL with *slot the free place it would have. The table is never more than half full. */
static struct series *series_find(const char *name, const char *labels, uint32_t *slot)
{
	uint32_t at = hash_add(hash_add(2166136261u, name), labels) % SLOTS;
	struct series *s;
	while ((s = atomic_load_explicit(&slots[at], memory_order_acquire)) != NULL) {
		if (strcmp(s->name, name) == 0 && strcmp(s->labels, labels) == 0) return s;
		at = (at + 1) % SLOTS;
	}
	*slot = at;
	return NULL;
}

static struct series *series_make(const char *name, const char *labels, enum kind kind, uint32_t slot)
{
	int n = atomic_load_explicit(&series_n, memory_order_relaxed);
	struct series *s;
	if (n == SERIES_MAX) return NULL;
	s = mem_calloc(1, sizeof *s);
	if (!s) return NULL;
	s->name = mem_strdup(name);
	s->labels = mem_strdup(labels);
	s->kind = kind;
	if (!s->name || !s->labels) {
		mem_free(s->name);
		mem_free(s->labels);
		mem_free(s);
		return NULL;
	}
	atomic_store_explicit(&in_order[n], s, memory_order_relaxed);
	atomic_store_explicit(&series_n, n + 1, memory_order_release);
	atomic_store_explicit(&slots[slot], s, memory_order_release);
	return s;
}

/* The series of that name, labels and kind, made on first use; NULL when it is dropped. */
static struct series *series_get(const char *name, const char *labels, enum kind kind)
{
	uint32_t slot;
	struct series *s = series_find(name, labels, &slot);
	if (!s) {
		pthread_mutex_lock(&first_use);
		s = series_find(name, labels, &slot);
		if (!s) s = series_make(name, labels, kind, slot);
		pthread_mutex_unlock(&first_use);
	}
	if (s && s->kind == kind) return s;
	if (!atomic_flag_test_and_set(&warned))
		log_put(LOG_WARN, "base", "metrics: %s{%s} is dropped (%s)", name, labels,
			s ? "used as two kinds" : "too many series or out of memory");
	return NULL;
}

void stat_count(const char *name, const char *labels, double add)
{
	struct series *s = series_get(name, labels, KIND_COUNTER);
	if (s && isfinite(add)) value_add(&s->value, add);
}

void stat_gauge(const char *name, const char *labels, double value)
{
	struct series *s = series_get(name, labels, KIND_GAUGE);
	if (s && isfinite(value)) atomic_store_explicit(&s->value, double_bits(value), memory_order_relaxed);
}

void stat_observe_ms(const char *name, const char *labels, double ms)
{
	struct series *s = series_get(name, labels, KIND_HISTOGRAM);
	int bin = 0;
	if (!s || !isfinite(ms)) return;
	while (bin < BOUNDS && ms > bounds_ms[bin]) bin++;
	atomic_fetch_add_explicit(&s->bins[bin], 1, memory_order_relaxed);
	value_add(&s->value, ms);
}

void stat_observe_share(const char *name, const char *labels, double share)
{
	struct series *s = series_get(name, labels, KIND_SHARES);
	int bin = 0;
	if (!s || !isfinite(share)) return;
	while (bin < SHARE_BOUNDS && share > (bin + 1) / 10.0) bin++;
	atomic_fetch_add_explicit(&s->bins[bin], 1, memory_order_relaxed);
	value_add(&s->value, share);
}

static void line_put(struct buf *out, const struct series *s)
{
	buf_printf(out, *s->labels ? "%s{%s} %.15g\n" : "%s%s %.15g\n", s->name, s->labels, bits_double(s->value));
}

static void histogram_put(struct buf *out, const struct series *s)
{
	const char *open = *s->labels ? "{" : "", *close = *s->labels ? "}" : "", *comma = *s->labels ? "," : "";
	uint64_t count = 0;
	int shares = s->kind == KIND_SHARES, bounds = shares ? SHARE_BOUNDS : BOUNDS;
	for (int i = 0; i <= bounds; i++) {
		count += atomic_load_explicit(&s->bins[i], memory_order_relaxed);
		buf_printf(out, "%s_bucket{%s%sle=\"", s->name, s->labels, comma);
		if (i < bounds) buf_printf(out, "%g\"} %llu\n", shares ? (i + 1) / 10.0 : bounds_ms[i] / 1000, (unsigned long long)count);
		else buf_printf(out, "+Inf\"} %llu\n", (unsigned long long)count);
	}
	buf_printf(out, "%s_sum%s%s%s %.15g\n", s->name, open, s->labels, close, bits_double(s->value) / (shares ? 1 : 1000));
	buf_printf(out, "%s_count%s%s%s %llu\n", s->name, open, s->labels, close, (unsigned long long)count);
}

/* The format wants all series of a name together, under one TYPE line: each name is printed where it was first used. */
int stat_print(struct buf *out)
{
	static const char *const kinds[] = { "counter", "gauge", "histogram", "histogram" };
	int n = atomic_load_explicit(&series_n, memory_order_acquire);
	for (int i = 0; i < n; i++) {
		const struct series *first = in_order[i];
		int seen = 0;
		for (int k = 0; k < i && !seen; k++) seen = strcmp(in_order[k]->name, first->name) == 0;
		if (seen) continue;
		buf_printf(out, "# TYPE %s %s\n", first->name, kinds[first->kind]);
		for (int k = i; k < n; k++) {
			const struct series *s = in_order[k];
			if (strcmp(s->name, first->name) != 0 || s->kind != first->kind) continue;
			if (s->kind >= KIND_HISTOGRAM) histogram_put(out, s);
			else line_put(out, s);
		}
	}
	return buf_failed(out);
}
