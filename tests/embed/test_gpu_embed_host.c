/* test_gpu_embed_host.c: what an embedder does where there is no GPU, too little memory or one that is lost: only the emulated
 * device can be made so. */
#include "base/buf.h"
#include "base/mem.h"
#include "base/stat.h"
#include "embed/embed.h"
#include "tests/nn/gpu_host.h"
#include "tests/test.h"

static struct err e;

static int opens(const char *device, const char *kernel, const char **in_use)
{
	static char name[16];
	struct embedder *m;
	struct embedder_options o = {.dir = test_data("golden/embedders/tiny-gte"), .threads = 1, .kernel = kernel, .device = device, .gpu = &host_table};
	int rc = embedder_open(&m, &o, &e);
	if (rc == OK) snprintf(name, sizeof name, "%s", embedder_info(m)->kernel);
	if (rc == OK) embedder_close(m);
	*in_use = name;
	return rc;
}

TEST(embed_device_is_what_the_settings_say)
{
	const char *kernel;
	CHECK_OK(opens("auto", NULL, &kernel), e);
	CHECK_STR(kernel, "host");
	CHECK_OK(opens("auto", "auto", &kernel), e);
	CHECK_STR(kernel, "host");
	CHECK_OK(opens("auto", "avx2", &kernel), e); /* who names a kernel means it */
	CHECK_STR(kernel, "avx2");
	CHECK_OK(opens("cpu", "avx2", &kernel), e);
	CHECK_STR(kernel, "avx2");
	CHECK_OK(opens("cuda", "avx2", &kernel), e);
	CHECK_STR(kernel, "host");
	CHECK_INT(opens("gpu", NULL, &kernel), E_USAGE);
	CHECK_MSG(strstr(e.msg, "embed.device: ") && strstr(e.msg, "\"gpu\""), "%s", e.msg);
	host_devices(0);
	CHECK_OK(opens("auto", NULL, &kernel), e);
	CHECK(strcmp(kernel, "host") != 0);
	CHECK_INT(opens("cuda", NULL, &kernel), E_UNSUPPORTED);
	CHECK_MSG(strstr(e.msg, "embed.device: ") && strstr(e.msg, "no GPU"), "%s", e.msg);
}

/* However little memory there is: auto computes on the CPU, cuda tells what was too large. */
TEST(embed_gpu_out_of_memory)
{
	const char *kernel;
	int failed = 0;
	for (uint64_t bytes = 64 << 10; bytes <= 64 << 20; bytes *= 2) {
		host_memory(bytes);
		int rc = opens("cuda", NULL, &kernel);
		CHECK_MSG(rc == OK || rc == E_MEMORY, "%llu bytes: %s", (unsigned long long)bytes, e.msg);
		failed += rc != OK;
		CHECK_MSG(rc == OK || (strstr(e.msg, "embed.device: ") && strstr(e.msg, "GPU memory")), "%s", e.msg);
		CHECK_OK(opens("auto", NULL, &kernel), e);
		CHECK_MSG((rc == OK) == (strcmp(kernel, "host") == 0), "%llu bytes: %s", (unsigned long long)bytes, kernel);
	}
	CHECK(failed >= 4);
}

/* Each taking of memory fails once: with cuda that is told, with auto the CPU computes, and nothing stays taken. The two of the pass
 * by which a device is tried (kernels that overlap) are no failure. */
TEST(embed_gpu_takings_fail)
{
	const char *kernel;
	int n = 0, rc;
	do {
		host_fail_after(++n);
		rc = opens("cuda", NULL, &kernel);
		host_fail_after(0);
		CHECK_MSG(rc == OK || (rc == E_MEMORY && strstr(e.msg, "memory")), "%d: %d, %s", n, rc, e.msg);
		CHECK_MSG(host_taken() == 0, "%d: %zu are still taken", n, host_taken());
		if (n % 5 != 1) continue;
		host_fail_after(n);
		CHECK_OK(opens("auto", NULL, &kernel), e);
		host_fail_after(0);
		CHECK((rc == OK) == (strcmp(kernel, "host") == 0));
		CHECK_INT(host_taken(), 0);
	} while ((rc != OK || n <= 3) && n < 300);
	CHECK(n > 20 && n < 300);
}

static struct embedder *opened(const char *device)
{
	struct embedder *m;
	struct embedder_options o = {.dir = test_data("golden/embedders/tiny-gte"), .threads = 2, .device = device, .gpu = &host_table};
	CHECK_OK(embedder_open(&m, &o, &e), e);
	return m;
}

static int metrics_have(const char *line)
{
	struct buf b;
	buf_init(&b, 1 << 20);
	CHECK_OK(stat_print(&b), e);
	int has = strstr(buf_cstr(&b), line) != NULL;
	buf_clear(&b);
	return has;
}

/* What is lost while it computes: with auto the CPU gives the vectors, of many texts too; with cuda it is an error. */
TEST(embed_gpu_lost)
{
	enum { MANY = 900 };
	static const char words[] = "the store holds what was found where nobody had looked for it";
	struct embed_text many[MANY];
	struct embedder *first = opened("auto"), *must = opened("cuda"), *cpu = opened("cpu");
	size_t dim = (size_t)embedder_info(cpu)->dim;
	float *got = mem_calloc(MANY * dim, sizeof *got), *want = mem_calloc(MANY * dim, sizeof *want);
	for (size_t i = 0; i < MANY; i++) many[i] = (struct embed_text){words, i % sizeof words};
	CHECK_OK(embedder_encode(cpu, many, MANY, EMBED_PASSAGE, EMBED_BULK, want, &e), e);
	CHECK_OK(embedder_lost(must, &e), e);
	CHECK_STR(embedder_device(first), "host");
	CHECK_STR(embedder_device(cpu), "cpu");
	CHECK(embedder_device_bytes(first) > 0 && embedder_device_bytes(cpu) == 0);
	CHECK(metrics_have("footnote_gpu_lost_total{what=\"encoder\"} 0\n"));
	host_lose();
	CHECK_OK(embedder_encode(first, many, MANY, EMBED_PASSAGE, EMBED_BULK, got, &e), e);
	CHECK(memcmp(got, want, MANY * dim * sizeof *got) == 0);
	CHECK_OK(embedder_encode(first, many, 2, EMBED_PASSAGE, EMBED_FIRST, got, &e), e);
	CHECK(memcmp(got, want, 2 * dim * sizeof *got) == 0);
	CHECK_INT(embedder_encode(must, many, 2, EMBED_PASSAGE, EMBED_FIRST, got, &e), E_IO);
	CHECK(strstr(e.msg, "device lost"));
	CHECK_INT(embedder_encode(must, many, 2, EMBED_PASSAGE, EMBED_BULK, got, &e), E_IO);
	CHECK(strstr(e.msg, "tiny-gte") && strstr(e.msg, "device lost"));
	CHECK_INT(embedder_lost(must, &e), E_IO);
	CHECK(strstr(e.msg, "tiny-gte") && strstr(e.msg, "device lost"));
	CHECK_OK(embedder_lost(first, &e), e);          /* the CPU does it */
	CHECK_STR(embedder_device(first), "cpu");
	CHECK_STR(embedder_device(must), "host");
	CHECK(embedder_device_bytes(first) == 0 && embedder_device_bytes(must) > 0);
	CHECK(metrics_have("footnote_gpu_lost_total{what=\"encoder\"} 2\n")); /* once each */
	mem_free(got);
	mem_free(want);
	embedder_close(first);
	embedder_close(must);
	embedder_close(cpu);
}
