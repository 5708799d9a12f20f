/* main.c: the program's start: common options, settings, and where a command runs.
 *
 * conf, models and doctor run here and touch no data folder. Every other command needs the folder's owner: this
 * process becomes it when the lock is free, opens the service, serves other processes' commands beside its own and
 * until they are done; else it sends its command to the owner and prints what comes back. Between a lock that is held
 * and a socket that does not answer yet (or any more) lies a short race, so both are tried for a few seconds.
 *
 * Signals: SIGINT and SIGTERM set one flag, which every command polls; a second one ends the process at once, which
 * the store stands. As a mere client the process dies of them and the owner cancels the command. SIGPIPE is ignored:
 * a reader that left ends a command quietly, a full disk behind stdout is reported. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "api/command.h"
#include "api/conf.h"
#include "api/owner.h"
#include "api/screen.h"
#include "api/service.h"
#include "api/view.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/flag.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"

enum { OWNER_PATIENCE_MS = 3000, SERVE_PATIENCE_MS = 500, RETRY_MS = 30 };

/* FAISS is built for these, and its constructors run before main. Here nothing but system calls is safe. */
__attribute__((constructor(101))) static void cpu_check(void)
{
	static const char line[] = "footnote: this CPU lacks AVX2, FMA or F16C, which Footnote needs\n";
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")) return;
	_exit(write(STDERR_FILENO, line, sizeof line - 1) < 0 ? EXIT_BUG : EXIT_SOME_FAILED);
}

static volatile int interrupted;     /* by a signal: everything ends */
static volatile int own_cancel;      /* this process's own command ends: also when the reader of its output left */

static void on_signal(int number)
{
	if (flag_is(&interrupted)) _exit(128 + number);
	flag_set(&interrupted);
	flag_set(&own_cancel);
}

static void signals_catch(void)
{
	struct sigaction a;
	memset(&a, 0, sizeof a);
	a.sa_handler = on_signal;
	sigemptyset(&a.sa_mask);
	a.sa_flags = SA_RESTART;
	sigaction(SIGINT, &a, NULL);
	sigaction(SIGTERM, &a, NULL);
}

/* Descriptors 0 to 2 must be taken, lest the store's files get their numbers and our messages. */
static void streams_fill(void)
{
	int fd;
	do fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= 2);
	if (fd > 2) close(fd);
}

/* ---- output of a command that runs here ---- */

struct local { int stdout_errno; };

static int local_write(void *ctx, int stream, const char *data, size_t len)
{
	struct local *l = ctx;
	if (stream == 1 && l->stdout_errno) return 1;
	while (len) {
		ssize_t n = write(stream, data, len);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) {
			if (stream != 1) return 0;
			l->stdout_errno = errno;
			flag_set(&own_cancel);
			return 1;
		}
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* The exit code, given what became of stdout. */
static int local_end(const struct local *l, int code)
{
	if (!l->stdout_errno) return code;
	if (l->stdout_errno != EPIPE)
		fprintf(stderr, "footnote: write to standard output: %s\n", strerror(l->stdout_errno));
	return code ? code : EXIT_SOME_FAILED;
}

static int fail(const struct err *e)
{
	fprintf(stderr, "footnote: %s\n", e->msg);
	return view_exit_code(e->status);
}

/* ---- where it runs ---- */

static int run_here(const struct command *command, struct command_call *call)
{
	struct local local = {0};
	struct out out = { .ctx = &local, .write = local_write, .tty = isatty(2), .columns = screen_columns(2) };
	call->out = &out;
	call->cancel = &own_cancel;
	return local_end(&local, command->run(call));
}

static int run_as_owner(struct owner *owner, const struct command *command, struct command_call *call)
{
	struct service *service = NULL;
	struct err e = {0};
	int code;
	signals_catch();
	if (service_open(&service, call->conf, command->need, &e)) {
		code = fail(&e);
		goto out;
	}
	if (owner_listen(owner, service, &e)) log_put(LOG_WARN, "owner", "other processes cannot be served: %s", e.msg);
	call->service = service;
	code = run_here(command, call);
	owner_drain(owner, &interrupted);
	service_close(service);
out:
	owner_release(owner);
	return code;
}

/* The folder is locked and its store closed, whatever state that is in. */
static int run_alone(struct owner *owner, const struct command *command, struct command_call *call)
{
	int code;
	signals_catch();
	code = run_here(command, call);
	owner_release(owner);
	return code;
}

/* What another process is sent: the common options that hold there, the verb and its arguments. */
static int run_through_owner(const struct command_call *call, int *code, struct err *e)
{
	char **argv = mem_calloc((size_t)call->argc + 4, sizeof *argv);
	struct local local = {0};
	struct out out = { .ctx = &local, .write = local_write };
	int n = 0, rc;
	if (!argv) return err_set(e, E_MEMORY, "out of memory");
	argv[n++] = "--collection";
	argv[n++] = (char *)(uintptr_t)call->collection;
	if (call->json) argv[n++] = "--json";
	if (call->quiet) argv[n++] = "-q";
	for (int i = 0; i < call->argc; i++) argv[n++] = call->argv[i];
	rc = owner_send(call->conf->data_dir, n, argv, &out, NULL, code, e);
	if (!rc) *code = local_end(&local, *code);
	mem_free(argv);
	return rc;
}

static int run_owned(const struct command *command, struct command_call *call)
{
	double patience = command->local == COMMAND_OWNED ? OWNER_PATIENCE_MS : SERVE_PATIENCE_MS, start = clock_ms();
	struct err e = {0}, busy = {0};
	int code = 0, rc;
	for (int i = 0; i < call->argc; i++) {
		struct buf shown;
		if (utf8_valid(call->argv[i], strlen(call->argv[i]))) continue;
		buf_init(&shown, 1 << 20);
		screen_line(&shown, call->argv[i], strlen(call->argv[i]), 100);
		err_set(&e, E_USAGE, "argument %d of %s is not valid UTF-8: %s%s", i, command->name, buf_cstr(&shown),
			strcmp(command->name, "ingest") == 0 ? " (in a folder that is ingested such names are taken)" : "");
		buf_clear(&shown);
		return fail(&e);
	}
	for (;;) {
		struct owner *owner;
		rc = owner_take(&owner, call->conf->data_dir, &busy);
		if (!rc && command->local == COMMAND_ALONE) return run_alone(owner, command, call);
		if (!rc) return run_as_owner(owner, command, call);
		if (rc != E_BUSY) return fail(&busy);
		if (command->local == COMMAND_TALK) return run_here(command, call);   /* without a store: its turns go to the owner */
		if (command->local == COMMAND_OWNED) {
			rc = run_through_owner(call, &code, &e);
			if (!rc) return code;
			if (rc != E_NOT_FOUND) return fail(&e);
		}
		if (clock_ms() - start >= patience) {
			if (command->local == COMMAND_ALONE) err_wrap(&busy, "%s wants the data folder to itself", command->name);
			return fail(&busy);
		}
		usleep(RETRY_MS * 1000);
	}
}

/* ---- settings and help ---- */

static int option_set(struct conf *c, const char *option, const char *key, const char *value, struct err *e)
{
	int rc = value ? conf_set(c, key, value, e) : OK;
	return rc ? err_wrap(e, "%s", option) : OK;
}

/* Any failure here is exit code 2. *path: the file that was read, or NULL. */
static int settings_read(struct conf *c, const struct common_options *o, const char **path, struct err *e)
{
	int rc = OK;
	conf_default(c);
	*path = o->conf ? o->conf : file_exists("service.conf") ? "service.conf" : NULL;
	if (*path) rc = conf_load(c, *path, e);
	if (!rc) rc = option_set(c, "--data", "data.dir", o->data, e);
	if (!rc) rc = option_set(c, "--collection", "data.collection", o->collection, e);
	if (!rc) rc = option_set(c, "--models", "models.dir", o->models, e);
	return rc;
}

static void overview(FILE *f)
{
	fputs("footnote: answers from your documents, each sentence with a footnote\n\n"
		"usage: footnote COMMAND ... [options]\n\n", f);
	for (size_t i = 0; command_at(i); i++) fprintf(f, "  %s\n", command_at(i)->usage);
	fputs("\noptions of every command:\n"
		"  -c FILE            settings (default: ./service.conf where there is one)\n"
		"  --data DIR         data folder (default: ./data)\n"
		"  --collection NAME  collection (default: default)\n"
		"  --models DIR       where models are\n"
		"  --json             one JSON object a line on stdout, nothing else\n"
		"  -q                 no progress, no remarks\n"
		"  -h, --help         help; footnote COMMAND -h: of that command\n"
		"  --version\n\n"
		"exit codes: 0 done; 1 some inputs failed; 2 bad usage or settings; 3 not found; 4 store damaged; 5 refused\n",
		f);
}

/* An exit code, or -1: there is a command to run. */
static int help_or_misuse(const struct common_options *o, const struct command **command)
{
	const char *verb = o->argc ? o->argv[0] : NULL;
	if (o->version) {
		printf("footnote %s\n", FOOTNOTE_VERSION);
		return EXIT_DONE;
	}
	if (!verb) {
		overview(o->help ? stdout : stderr);
		return o->help ? EXIT_DONE : EXIT_USAGE;
	}
	*command = command_find(verb);
	if (!*command) {
		fprintf(stderr, "footnote: unknown %s %.60s (footnote -h lists them)\n", *verb == '-' ? "option" : "command",
			verb);
		return EXIT_USAGE;
	}
	if (!o->help) return -1;
	printf("usage: footnote %s\n\n%s", (*command)->usage, (*command)->help);
	return EXIT_DONE;
}

int main(int argc, char **argv)
{
	static struct conf conf;
	struct common_options o;
	struct command_call call = {0};
	const struct command *command = NULL;
	struct err e = {0};
	char cwd[4096];
	int code = parsers_main(argc, argv);
	if (code >= 0) return code;          /* this process reads files for another */
	streams_fill();
	signal(SIGPIPE, SIG_IGN);
	if (common_parse(&o, argc > 0 ? argc - 1 : 0, argc > 0 ? argv + 1 : argv, &e)) return fail(&e);
	code = help_or_misuse(&o, &command);
	if (code >= 0 && fflush(stdout) == 0) return code;
	if (code >= 0) {
		if (errno != EPIPE) fprintf(stderr, "footnote: write to standard output: %s\n", strerror(errno));
		return EXIT_SOME_FAILED;
	}
	if (settings_read(&conf, &o, &call.conf_path, &e)) {
		fail(&e);
		return EXIT_USAGE;
	}
	/* A command's stderr is for people; what the log calls information is for a service that runs for months. */
	code = log_level_parse(conf.log_level);
	log_set_level(code == LOG_INFO && command->local != COMMAND_OWNER ? LOG_WARN : code);
	if (!getcwd(cwd, sizeof cwd)) {
		err_sys(&e, "working folder");
		return fail(&e);
	}
	call.conf = &conf;
	call.cwd = cwd;
	call.collection = conf.collection;
	call.json = o.json;
	call.quiet = o.quiet;
	call.argc = o.argc;
	call.argv = o.argv;
	if (command->local == COMMAND_LOCAL) {
		signals_catch();
		return run_here(command, &call);
	}
	return run_owned(command, &call);
}
