/* cmd_keys.c: `footnote keys add|list|revoke`: access keys, in the process that owns the data folder, so that a running
 * service follows at once.
 * Threads: runs in its caller's. Failure: an error line and the exit code of its kind. */
#include <string.h>
#include "api/command.h"
#include "api/keys.h"
#include "api/screen.h"
#include "base/clock.h"

enum { ARENA_BYTES_MAX = 64 << 20, LINE_BYTES_MAX = 1 << 16 };

static void field(struct buf *b, const char *text)
{
	screen_line(b, text, strlen(text), 0);
}

static void groups_line(struct buf *b, const struct key *k)
{
	if (k->all_groups)
		buf_puts(b, "every group");
	else if (!k->group_n)
		buf_puts(b, "no group: only documents for everyone");
	for (size_t i = 0; i < k->group_n && !k->all_groups; i++) {
		buf_puts(b, i ? ", " : "");
		field(b, k->groups[i]);
	}
}

static int key_line(struct command_call *c, const struct key *k, struct err *e)
{
	char text[CLOCK_TEXT_LEN];
	struct buf b;
	int left;
	if (c->json)
		return command_json(c, key_view(k, NULL), e);
	buf_init(&b, LINE_BYTES_MAX);
	buf_printf(&b, "%s  %-5s  ", k->id, k->role == ROLE_NONE ? "BAD" : role_name(k->role));
	field(&b, k->name);
	buf_puts(&b, "  (");
	groups_line(&b, k);
	buf_puts(&b, ")");
	if (k->expires_ms) {
		clock_text(text, k->expires_ms);
		buf_printf(&b, k->expires_ms <= clock_wall_ms() ? "  EXPIRED %.16s" : "  until %.16s", text);
	}
	clock_text(text, k->used_ms);
	buf_printf(&b, k->used_ms ? "  last used %.13s h" : "  never used", text);
	left = out_printf(c->out, 1, "%s\n", buf_cstr(&b));
	buf_clear(&b);
	return left ? err_set(e, E_CANCELLED, "the reader of the output left") : OK;
}

static int keys_show(struct command_call *c, struct arena *a, struct err *e)
{
	struct key *list;
	size_t n;
	int rc = keys_list(c->service->keys, a, &list, &n, e);
	for (size_t i = 0; !rc && i < n; i++)
		rc = key_line(c, &list[i], e);
	if (!rc && !n && !c->json && !c->quiet)
		out_printf(c->out, 1, "no keys: only this machine is served, and sees every document\n");
	return rc;
}

static int key_add(struct command_call *c, struct key *in, const char *groups, const char *role, const char *expires,
	struct arena *a, struct err *e)
{
	char secret[KEY_SECRET_LEN + 1], text[CLOCK_TEXT_LEN];
	struct key made;
	struct buf b;
	int first = !keys_any(c->service->keys), rc = key_groups_read(groups, a, in, e);
	if (!rc && !role_parse(role, &in->role))
		rc = err_set(e, E_USAGE, "--role %.40s: must be admin, write or read", role);
	if (!rc && expires && !clock_read(expires, &in->expires_ms, NULL))
		rc = err_set(e, E_USAGE, "--expires %.60s: must be a date like 2026-12-31, or a moment like 2026-12-31T12:00:00Z", expires);
	if (!rc)
		rc = keys_add(c->service->keys, in, a, &made, secret, e);
	if (rc || c->json)
		return rc ? rc : command_json(c, key_view(&made, secret), e);
	buf_init(&b, LINE_BYTES_MAX);
	groups_line(&b, &made);
	out_printf(c->out, 1, "%s\n", secret);
	if (!c->quiet) {
		out_printf(c->out, 2, "key %s for %s: role %s, %s", made.id, made.name, role_name(made.role), buf_cstr(&b));
		clock_text(text, made.expires_ms);
		out_printf(c->out, 2, made.expires_ms ? ", until %.16s\n" : "\n", text);
		out_printf(c->out, 2, "keep it now: it is not stored and cannot be shown again\n");
		if (first)
			out_printf(c->out, 2, "this is the first key: from now on every request to /v1 and /metrics needs one\n");
	}
	buf_clear(&b);
	return OK;
}

static int key_revoke(struct command_call *c, const char *which, struct arena *a, struct err *e)
{
	struct key was;
	cJSON *o;
	int rc = keys_revoke(c->service->keys, which, NULL, a, &was, e);
	if (rc)
		return rc;
	if (c->json) {
		o = cJSON_CreateObject();
		if (o && !(cJSON_AddStringToObject(o, "id", was.id) && cJSON_AddStringToObject(o, "name", was.name) &&
		    cJSON_AddTrueToObject(o, "revoked"))) {
			cJSON_Delete(o);
			o = NULL;
		}
		return command_json(c, o, e);
	}
	if (!c->quiet)
		out_printf(c->out, 1, "revoked   %s  %s\n", was.id, was.name);
	if (!c->quiet && !keys_any(c->service->keys))
		out_printf(c->out, 2, "no keys are left: on loopback everyone on this machine is served without one; a service that "
			"listens beyond loopback refuses everyone\n");
	return OK;
}

int cmd_keys(struct command_call *c)
{
	const char *groups = "", *role = "read", *expires = NULL, *what;
	struct option options[] = {
		{"--groups", OPTION_TEXT, &groups, 0, 0}, {"--role", OPTION_TEXT, &role, 0, 0}, {"--expires", OPTION_TEXT, &expires, 0, 0},
	};
	struct key in = { 0 };
	struct arena arena;
	struct err e = { 0 };
	int add, list, rc = options_parse(c, options, 3, &e);
	what = c->argc > 1 ? c->argv[1] : "";
	add = !strcmp(what, "add");
	list = !strcmp(what, "list");
	if (!rc && !add && !list && strcmp(what, "revoke"))
		rc = err_set(&e, E_USAGE, "keys: must be add, list or revoke");
	if (!rc && c->argc != (list ? 2 : 3))
		rc = err_set(&e, E_USAGE, list ? "keys list: takes no argument" : add ? "keys add: takes one name"
			: "keys revoke: takes one name or id");
	if (rc)
		return command_misused(c, &e);
	arena_init(&arena, ARENA_BYTES_MAX);
	in.name = c->argc > 2 ? c->argv[2] : "";
	if (add)
		rc = key_add(c, &in, groups, role, expires, &arena, &e);
	else
		rc = list ? keys_show(c, &arena, &e) : key_revoke(c, c->argv[2], &arena, &e);
	arena_clear(&arena);
	return rc ? command_fail(c, &e) : EXIT_DONE;
}
