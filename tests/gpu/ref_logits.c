/* ref_logits.c: what the specification's kernels (nn/ops_ref.c) make of a model, for tests/gpu/pack_model.py. Usage: ref_logits MODEL OUT
 * Writes the logits behind each of MODEL_REF_TOKENS tokens (model_ids), as floats: (MODEL_REF_TOKENS, vocab). */
#include <stdarg.h>
#include <stdlib.h>
#include "base/file.h"
#include "base/mem.h"
#include "tests/gpu/model.h"
#include "tests/test.h"

/* There is no runner here. */
void test_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;
	fprintf(stderr, "%s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

int main(int argc, char **argv)
{
	int32_t ids[MODEL_REF_TOKENS];
	struct model m;
	struct err e;
	float *logits;
	if (argc != 3) {
		fprintf(stderr, "usage: ref_logits MODEL OUT\n");
		return 2;
	}
	model_open(&m, argv[1], NULL, MODEL_REF_TOKENS, 1);
	logits = mem_calloc(MODEL_REF_TOKENS * m.vocab, sizeof *logits);
	CHECK(logits != NULL);
	model_ids(m.vocab, MODEL_REF_TOKENS, ids);
	model_feed(&m, 0, PHASE_PROMPT, ids, MODEL_REF_TOKENS, MODEL_REF_TOKENS, logits);
	CHECK_OK(file_write_atomic(argv[2], logits, MODEL_REF_TOKENS * m.vocab * sizeof *logits, &e), e);
	mem_free(logits);
	model_close(&m);
	return 0;
}
