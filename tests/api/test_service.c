/* test_service.c: what a service says of models whose GPU was lost, whichever of them it was. */
#include "api/service.h"
#include "tests/generate/plain_gpu.h"
#include "tests/gguf_make.h"
#include "tests/nn/gpu_host.h"
#include "tests/test.h"

static struct err e;

static struct service *opened(void)
{
	struct conf c;
	struct service *s;
	conf_default(&c);
	snprintf(c.data_dir, sizeof c.data_dir, "%s/data", test_dir());
	snprintf(c.embed_model, sizeof c.embed_model, "%s", test_data("golden/embedders/tiny-gte"));
	snprintf(c.generate_model, sizeof c.generate_model, "none");
	snprintf(c.embed_device, sizeof c.embed_device, "cpu");
	c.map_bytes = 16 << 20;
	c.embed_threads = 1;
	CHECK_OK(service_open(&s, &c, NEED_EMBEDDER, &e), e);
	CHECK_OK(service_failure(s, &e), e);
	return s;
}

TEST(service_tells_that_its_readers_gpu_is_lost)
{
	struct service *s = opened();
	struct reader_options o = { .dir = test_data("golden/reader/tiny"), .threads = 1, .device = "cuda", .gpu = &host_table };
	struct reader_pair pair = { "who", 3, NULL, 0, "nobody was there", 16 };
	struct reader_reading r;
	struct reader_model *reader;
	CHECK_OK(reader_open(&reader, &o, &e), e);
	s->reader = reader;
	CHECK_OK(reader_read(s->reader, &pair, 1, &r, &e), e);
	CHECK_OK(service_failure(s, &e), e);
	host_lose();
	CHECK_INT(reader_read(s->reader, &pair, 1, &r, &e), E_IO);
	CHECK_INT(service_failure(s, &e), E_IO);
	CHECK_MSG(strstr(e.msg, "tiny") && strstr(e.msg, "device lost"), "%s", e.msg);
	service_close(s);
}

TEST(service_tells_that_its_small_models_gpu_is_lost)
{
	struct service *s = opened();
	struct model_spec spec = model_spec_of("llama");
	char path[300];
	struct generator_options o = { .path = path, .threads = 1, .device = "cuda", .gpu = &plain_gpu };
	struct gen_params p;
	struct gen_result r;
	struct engine *engine;
	spec.layers = 1;
	spec.dim = spec.ff = 64;
	spec.heads = 2;
	spec.head_dim = 32;
	snprintf(path, sizeof path, "%s/random.gguf", test_dir());
	model_make(&spec, path);
	CHECK_OK(engine_open(&engine, &o, 4, &e), e);
	s->small.engine = engine;
	CHECK_OK(service_failure(s, &e), e);
	plain_gpu_state.lose_after = 3;
	gen_params_default(&p);
	for (int i = 0; i < 2; i++) {                   /* the first may hear of it before the engine has told */
		CHECK_INT(engine_generate(s->small.engine, (const int32_t[]){ 'a' }, 1, &p, NULL, NULL, NULL, NULL, 0, &r, &e), E_IO);
		CHECK_MSG(strstr(e.msg, "device lost"), "%s", e.msg);
		buf_clear(&r.text);
	}
	CHECK_INT(service_failure(s, &e), E_IO);
	CHECK_MSG(strstr(e.msg, "device lost"), "%s", e.msg);
	service_close(s);
}
