/* Templates in the store: what a start finds, what is passed over, changes under readers. */
#include <pthread.h>
#include "api/templates.h"
#include "tests/test.h"

static const char good[] = "[user]\n{{passages}}\n{{question}}\n{{refusal}}\n";
static struct conf conf;
static struct service *service;
static struct err e;

static void start(const char *prompt)
{
	snprintf(conf.answer_prompt, sizeof conf.answer_prompt, "%s", prompt);
	CHECK_OK(service_open(&service, &conf, 0, &e), e);
}

static void settings(void)
{
	conf_default(&conf);
	snprintf(conf.data_dir, sizeof conf.data_dir, "%s/data", test_dir());
	snprintf(conf.generate_model, sizeof conf.generate_model, "none");
	conf.map_bytes = 64 << 20;
}

static int version_used(void)
{
	const struct prompt_template *t;
	CHECK_OK(prompts_find_for(service->prompts, "answer", NULL, &t, &e), e);
	return prompt_version(t);
}

static void note(const char *kind, const char *name, const char *json)
{
	struct write *w;
	CHECK_OK(index_write_begin(&w, service->index, &e), e);
	CHECK_OK(index_note_put(w, kind, name, json, strlen(json), &e), e);
	CHECK_OK(index_write_commit(w, &e), e);
}

TEST(templates_choice_outlives_the_process)
{
	const struct prompt_template *t;
	settings();
	start("answer");
	CHECK_INT(version_used(), 1);
	CHECK_OK(template_add(service, "answer.txt", good, sizeof good - 1, &t, &e), e);
	CHECK_INT(prompt_version(t), 2);
	CHECK_OK(template_add(service, "answer.v9.txt", good, sizeof good - 1, &t, &e), e);
	CHECK_INT(version_used(), 1);
	service_close(service);
	start("answer");
	CHECK_INT(version_used(), 1);          /* what was added is there, not in use */
	CHECK_OK(template_use(service, "answer@9", &t, &e), e);
	CHECK_INT(version_used(), 9);
	service_close(service);
	start("answer@2");
	CHECK_INT(version_used(), 9);          /* what was chosen holds over the setting */
	service_close(service);
}

TEST(templates_setting_names_the_first)
{
	const struct prompt_template *t;
	settings();
	start("answer");
	CHECK_OK(template_add(service, "answer.v4.txt", good, sizeof good - 1, &t, &e), e);
	service_close(service);
	start("answer@4");
	CHECK_INT(version_used(), 4);
	service_close(service);
	snprintf(conf.answer_prompt, sizeof conf.answer_prompt, "answer@5");
	CHECK_INT(service_open(&service, &conf, 0, &e), E_NOT_FOUND);
	CHECK_MSG(strstr(e.msg, "answer.prompt") && strstr(e.msg, "answer@4"), "%s", e.msg);
	snprintf(conf.answer_prompt, sizeof conf.answer_prompt, "summary");
	CHECK_INT(service_open(&service, &conf, 0, &e), E_NOT_FOUND);
}

TEST(templates_damaged_notes_are_passed_over)
{
	settings();
	start("answer");
	note("prompt", "answer.v2.txt", "{\"text\":5}");
	note("prompt", "answer.v3.txt", "{\"text\":\"no section\"}");
	note("prompt", "what", "{\"text\":\"[user]\\nx\"}");
	note("prompt_use", "answer", "{\"prompt\":\"answer@3\"}");
	note("prompt_use", "nix", "[]");
	service_close(service);
	start("answer");
	CHECK_INT(version_used(), 1);
	service_close(service);
}

static void *read_on(void *stop)
{
	while (!*(volatile int *)stop) {
		const struct prompt_template *t;
		struct err own;
		if (prompts_find_for(service->prompts, "answer", NULL, &t, &own) || !strstr(prompt_source(t), "{{passages}}")) return stop;
	}
	return NULL;
}

TEST(templates_change_under_readers)
{
	static volatile int stop;
	const struct prompt_template *t;
	pthread_t reader[2];
	void *bad[2];
	char name[40];
	settings();
	start("answer");
	stop = 0;
	for (int i = 0; i < 2; i++) CHECK_INT(pthread_create(&reader[i], NULL, read_on, (void *)&stop), 0);
	for (int i = 2; i < 12; i++) {
		CHECK_OK(template_add(service, "answer.txt", good, sizeof good - 1, &t, &e), e);
		snprintf(name, sizeof name, "answer@%d", i);
		CHECK_OK(template_use(service, name, &t, &e), e);
		CHECK_INT(version_used(), i);
	}
	stop = 1;
	for (int i = 0; i < 2; i++) CHECK_INT(pthread_join(reader[i], &bad[i]), 0);
	CHECK(!bad[0] && !bad[1]);
	service_close(service);
}

static void count(void *ctx, char op, const char *line, size_t len)
{
	(void)line;
	(void)len;
	((int *)ctx)[op == ' ' ? 0 : op == '-' ? 1 : 2]++;
}

TEST(templates_diff)
{
	const struct prompt_template *t;
	int n[3] = { 0 };
	settings();
	start("answer");
	CHECK_OK(template_add(service, "answer.txt", good, sizeof good - 1, &t, &e), e);
	CHECK_OK(template_add(service, "answer.txt", "[user]\n{{passages}}\nNow:\n{{question}}\n{{refusal}}\n", 49, &t, &e), e);
	CHECK_OK(template_diff(service, "answer@2", "answer@3", count, n, &e), e);
	CHECK(n[0] == 4 && n[1] == 0 && n[2] == 1);
	CHECK_INT(template_diff(service, "answer@2", "answer@7", count, n, &e), E_NOT_FOUND);
	service_close(service);
}
