/* cmd_doctor.c: `footnote doctor`: what this machine has, what is missing, what to expect. Looks and changes nothing;
 * each line is one finding with a verdict: ok, note (works, but), bad (must be mended; exit code 1).
 * Threads: the command's. Failure: a thing that cannot be looked at is itself a finding. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "api/command.h"
#include "api/models.h"
#include "api/screen.h"
#include "base/file.h"
#include "generate/generate.h"
#include "ingest/ingest.h"

enum { FINDINGS_MAX = 32, SPACE_WANTED = 2 };
struct finding { const char *what; const char *verdict; char text[400]; };
struct doctor {
	struct command_call *call;
	struct finding rows[FINDINGS_MAX];
	size_t n;
	int bad;
};

static void tell(struct doctor *d, const char *what, const char *verdict, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static void tell(struct doctor *d, const char *what, const char *verdict, const char *fmt, ...)
{
	va_list ap;
	if (d->n == FINDINGS_MAX) return;
	struct finding *f = &d->rows[d->n++];
	f->what = what;
	f->verdict = verdict;
	d->bad |= strcmp(verdict, "bad") == 0;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof f->text, fmt, ap);
	va_end(ap);
}

static void look_cpu(struct doctor *d)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	const char *kernel;
	struct err e;
	__builtin_cpu_init();                /* without AVX2 nobody comes here (main.c) */
	if (generator_kernel(&kernel, d->call->conf->generate_kernel, &e)) tell(d, "cpu", "bad", "%s", e.msg);
	else tell(d, "cpu", "ok", "%ld cores, AVX2%s%s; kernels \"%s\"", cores, __builtin_cpu_supports("avx512f") ? ", AVX-512" : "",
		__builtin_cpu_supports("avx512vnni") ? ", VNNI" : "", kernel);
}

/* A GPU, where a setting lets something run on one. */
static void look_gpu(struct doctor *d)
{
	const struct conf *c = d->call->conf;
	const char *const set[] = { c->generate_device, c->embed_device, c->index_device };
	int must = 0, may = 0;
	char name[64], all[24], rest[24], settings[120];
	uint64_t memory, free;
	struct err e;
	for (size_t i = 0; i < sizeof set / sizeof *set; i++) {
		must |= strcmp(set[i], "cuda") == 0;
		may |= strcmp(set[i], "cpu") != 0;
	}
	snprintf(settings, sizeof settings, "generate.device = %s, embed.device = %s, index.device = %s", set[0], set[1], set[2]);
	if (!may) tell(d, "gpu", "ok", "not to be used (%s)", settings);
	else if (generator_gpu(name, &memory, &free, &e))
		tell(d, "gpu", must ? "bad" : "ok", "%s; %s%s", e.msg, settings, must ? "" : ": the CPU does it all");
	else {
		screen_bytes(all, memory);
		screen_bytes(rest, free);
		tell(d, "gpu", "ok", "%s, %s, %s of it free; %s", name, all, rest, settings);
	}
}

/* A kB figure of /proc/meminfo, in bytes; 0 when it is not there. */
static uint64_t meminfo(const char *key)
{
	struct buf text;
	uint64_t kb = 0;
	buf_init(&text, 64 << 10);
	if (file_read("/proc/meminfo", &text, NULL) == OK) {
		const char *at = strstr(buf_cstr(&text), key);
		if (at) kb = strtoull(at + strlen(key), NULL, 10);
	}
	buf_clear(&text);
	return kb * 1024;
}

/* cache_bytes: of the language model's keys and values. */
static void look_memory(struct doctor *d, uint64_t model_bytes, uint64_t cache_bytes)
{
	char have[24], want[24], cache[24];
	uint64_t free_bytes = meminfo("MemAvailable:"), need = model_bytes + cache_bytes + (256u << 20);
	screen_bytes(have, free_bytes);
	screen_bytes(want, need);
	screen_bytes(cache, cache_bytes);
	if (free_bytes < need) tell(d, "memory", "note", "%s available, the models and their work want about %s (%s of it generate.kv_bytes): "
		"a smaller generator fits better", have, want, cache);
	else tell(d, "memory", "ok", "%s available, about %s wanted, %s of it for keys and values", have, want, cache);
}

static void look_disk(struct doctor *d)
{
	struct statvfs v;
	char free_text[24];
	const char *dir = d->call->conf->data_dir;
	if (statvfs(dir, &v) != 0 && statvfs(".", &v) != 0) {
		tell(d, "disk", "bad", "%s: %s", dir, strerror(errno));
		return;
	}
	uint64_t bytes = (uint64_t)v.f_bavail * v.f_frsize;
	screen_bytes(free_text, bytes);
	if (bytes < (uint64_t)SPACE_WANTED << 30) tell(d, "disk", "note", "%s free for %s", free_text, dir);
	else tell(d, "disk", "ok", "%s free for %s", free_text, dir);
	if (access(dir, F_OK) == 0 && access(dir, W_OK) != 0) tell(d, "data folder", "bad", "%s: not writable: %s", dir, strerror(errno));
}

/* Bytes of the model, 0 when it is not here. */
static uint64_t look_model(struct doctor *d, const char *what, const char *name, int must)
{
	struct buf path;
	struct err e = { 0 };
	uint64_t bytes = 0;
	char size[24];
	int role;
	buf_init(&path, 4096);
	if (model_check(d->call->conf, name, &role, &path, &e) == OK) {
		bytes = model_bytes_at(buf_cstr(&path));
		screen_bytes(size, bytes);
		tell(d, what, "ok", "%s, %s, %s", name, size, buf_cstr(&path));
	} else {
		tell(d, what, must ? "bad" : "note", "%s%s", e.msg, must ? "" : " (answers are quotes until then)");
	}
	buf_clear(&path);
	return bytes;
}

/* Bytes of the reader, 0 when there is none. */
static uint64_t look_reader(struct doctor *d)
{
	struct model_row row;
	struct err e = { 0 };
	char size[24];
	if (models_reader(d->call->conf, &row, &e)) {
		tell(d, "reader", "note", "%s: searches are not reordered, and answers are compared by words and meaning alone", e.msg);
		return 0;
	}
	screen_bytes(size, row.bytes);
	tell(d, "reader", "ok", "%s, %s, %s: orders what a search found, finds the words that answer, compares answers with what they cite",
		row.name, size, *row.path ? row.path : "inside the program");
	return row.bytes;
}

static void look_port(struct doctor *d)
{
	char host[128];
	const char *listen_at = d->call->conf->listen, *colon = strrchr(listen_at, ':');
	struct sockaddr_in at = { .sin_family = AF_INET };
	if (!colon || (size_t)(colon - listen_at) >= sizeof host) return;
	memcpy(host, listen_at, (size_t)(colon - listen_at));
	host[colon - listen_at] = 0;
	at.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
	if (inet_pton(AF_INET, host, &at.sin_addr) != 1) return;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0)
		tell(d, "port", "ok", "%s is free", listen_at);
	else tell(d, "port", "note", "%s: %s; serve --listen takes another", listen_at, strerror(errno));
	if (fd >= 0) close(fd);
}

static void look_parsers(struct doctor *d)
{
	char text[300];
	int both = parsers_describe(text, sizeof text);
	tell(d, "parsers", both ? "ok" : "note", "%s", text);
}

static int print_json(struct doctor *d, struct err *e)
{
	cJSON *o = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(o, "findings");
	for (size_t i = 0; list && i < d->n; i++) {
		cJSON *x = cJSON_CreateObject();
		cJSON_AddStringToObject(x, "what", d->rows[i].what);
		cJSON_AddStringToObject(x, "verdict", d->rows[i].verdict);
		cJSON_AddStringToObject(x, "text", d->rows[i].text);
		cJSON_AddItemToArray(list, x);
	}
	cJSON_AddBoolToObject(o, "ok", !d->bad);
	return command_json(d->call, o, e);
}

int cmd_doctor(struct command_call *c)
{
	struct doctor d = { .call = c };
	struct err e = { 0 };
	if (c->argc > 1) {
		err_set(&e, E_USAGE, "doctor takes no arguments");
		return command_misused(c, &e);
	}
	look_cpu(&d);
	look_gpu(&d);
	uint64_t bytes = look_model(&d, "embedder", c->conf->embed_model, 1), generator = 0;
	if (strcmp(c->conf->generate_model, "none") == 0) tell(&d, "generator", "note", "generate.model is none: answers are quotes");
	else generator = look_model(&d, "generator", c->conf->generate_model, 0);
	bytes += look_reader(&d);
	look_memory(&d, bytes + generator, generator ? c->conf->generate_kv_bytes : 0);
	look_disk(&d);
	look_port(&d);
	look_parsers(&d);
	if (c->json) return print_json(&d, &e) ? command_fail(c, &e) : d.bad ? EXIT_SOME_FAILED : EXIT_DONE;
	for (size_t i = 0; i < d.n; i++) out_printf(c->out, 1, "%-5s %-12s %s\n", d.rows[i].verdict, d.rows[i].what, d.rows[i].text);
	return d.bad ? EXIT_SOME_FAILED : EXIT_DONE;
}
