/* gist.c: owns the comparison of passages that may be copies of each other (gist.h).
 *
 * Method: resemblance of the sets of three-word runs (Broder 1997), over stems, so that case, white space, punctuation and
 * inflection count nothing. Of 30 texts and their variants (SQuAD articles edited by rules) copies with up to one word in
 * twenty exchanged, reordered or with a header share 0.76 and more, halves of a text at most 0.54, texts with two words in
 * five exchanged 0.25: SAME lies between. Threads: no state. Failure: only memory. */
#include "api/gist.h"
#include <stdlib.h>
#include <string.h>

static const double SAME = 0.7;

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

/* Sorted, each once; how many. */
static size_t set_make(uint64_t *v, size_t n)
{
	size_t kept = 0;
	if (n) qsort(v, n, sizeof *v, by_value);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || v[i] != v[kept - 1]) v[kept++] = v[i];
	return kept;
}

static uint64_t mix(uint64_t h, uint64_t x)
{
	h = (h ^ x) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 29;
}

int gist_take(const char *text, size_t len, enum words_language language, struct arena *a, struct gist *out, struct err *e)
{
	struct word *w;
	size_t n;
	*out = (struct gist){ 0 };
	int rc = words_of_in(language, text, len, a, &w, &n, e);
	if (rc) return rc;
	out->runs = arena_alloc(a, (n + 1) * sizeof *out->runs);
	out->numbers = arena_alloc(a, (n + 1) * sizeof *out->numbers);
	if (!out->runs || !out->numbers) return err_set(e, E_MEMORY, "passages: out of memory");
	for (size_t i = 0; i < n; i++) {
		uint64_t run = w[i].stem;
		for (size_t k = i + 1; k < i + 3 && k < n; k++) run = mix(run, w[k].stem);
		if (i + 3 <= n || i == 0) out->runs[out->run_n++] = run; /* of fewer than three words, all there are */
		if (w[i].number) out->numbers[out->number_n++] = w[i].stem;
		out->negations += w[i].negation;
	}
	out->run_n = set_make(out->runs, out->run_n);
	out->number_n = set_make(out->numbers, out->number_n);
	return OK;
}

/* How many of a are in b. */
static size_t shared(const uint64_t *a, size_t n, const uint64_t *b, size_t m)
{
	size_t both = 0;
	for (size_t i = 0, k = 0; i < n && k < m;) {
		if (a[i] == b[k]) both++;
		if (a[i] <= b[k]) i++;
		else k++;
	}
	return both;
}

int gist_repeats(const struct gist *later, const struct gist *earlier)
{
	size_t both = shared(later->runs, later->run_n, earlier->runs, earlier->run_n), all = later->run_n + earlier->run_n - both;
	return all && (double)both >= SAME * (double)all && later->negations == earlier->negations &&
		shared(later->numbers, later->number_n, earlier->numbers, earlier->number_n) == later->number_n;
}
