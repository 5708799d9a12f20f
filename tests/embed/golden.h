/* golden.h: the reference's texts (tests/golden/texts.json), and how near two vectors are. */
#ifndef TESTS_EMBED_GOLDEN_H
#define TESTS_EMBED_GOLDEN_H
#include <math.h>
#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "embed/embed.h"
#include "tests/test.h"

enum { GOLDEN_TEXTS = 29 };

/* Of GOLDEN_TEXTS strings, for the caller to delete. */
static inline cJSON *golden_texts(void)
{
	struct buf b;
	struct err e;
	cJSON *texts;
	buf_init(&b, 1 << 20);
	CHECK_OK(file_read(test_data("golden/texts.json"), &b, &e), e);
	CHECK_OK(json_parse(&texts, b.data, b.len, 1 << 20, "texts.json", &e), e);
	CHECK_INT(cJSON_GetArraySize(texts), GOLDEN_TEXTS);
	buf_clear(&b);
	return texts;
}

/* Borrowed from texts. */
static inline struct embed_text text_at(const cJSON *texts, int i)
{
	const char *s = cJSON_GetStringValue(cJSON_GetArrayItem(texts, i));
	return (struct embed_text){s, strlen(s)};
}

static inline double cosine(const float *a, const float *b, size_t dim)
{
	double ab = 0, aa = 0, bb = 0;
	for (size_t i = 0; i < dim; i++) ab += (double)a[i] * b[i], aa += (double)a[i] * a[i], bb += (double)b[i] * b[i];
	return ab / sqrt(aa * bb);
}

#endif
