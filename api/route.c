/* route.c: owns the table of endpoints and the search in it.
 *
 * Method: the path arrives as decoded segments; a pattern is compared segment by segment, in table order. A dozen rows
 * need no tree. Thread-safe: the table is constant. Failure: E_NOT_FOUND, E_USAGE for a method the path does not take. */
#include "api/route.h"
#include <string.h>

static const struct route routes[] = {
	{ "GET", "/", "page", POOL_NONE, 0, 1, page_get, ROLE_OPEN },
	{ "GET", "/www/{file}", "page", POOL_NONE, 0, 1, page_get, ROLE_OPEN },
	{ "GET", "/healthz", "healthz", POOL_NONE, 0, 1, healthz_get, ROLE_OPEN },
	{ "GET", "/readyz", "readyz", POOL_ADMIN, 0, 1, readyz_get, ROLE_OPEN },
	{ "GET", "/metrics", "metrics", POOL_ADMIN, 0, 1, metrics_get, ROLE_ADMIN },
	{ "GET", "/openapi.json", "openapi", POOL_ADMIN, 0, 1, openapi_get, ROLE_OPEN },
	{ "POST", "/v1/search", "search", POOL_SEARCH, 0, 0, search_post, ROLE_READ },
	{ "GET", "/v1/suggest", "suggest", POOL_SEARCH, 0, 0, suggest_get, ROLE_READ },
	{ "POST", "/v1/answers", "answers", POOL_ANSWER, 0, 0, answers_post, ROLE_READ },
	{ "POST", "/v1/batches", "batches_post", POOL_WRITE, 1, 0, batches_post, ROLE_READ },
	{ "GET", "/v1/batches", "batches_list", POOL_SEARCH, 0, 0, batches_get_all, ROLE_READ },
	{ "GET", "/v1/batches/{id}", "batches_get", POOL_SEARCH, 0, 0, batches_get_one, ROLE_READ },
	{ "GET", "/v1/batches/{id}/output", "batches_output", POOL_SEARCH, 0, 0, batches_get_output, ROLE_READ },
	{ "DELETE", "/v1/batches/{id}", "batches_delete", POOL_WRITE, 0, 0, batches_delete_one, ROLE_READ },
	{ "GET", "/v1/gaps", "gaps", POOL_SEARCH, 0, 0, gaps_get, ROLE_ADMIN },
	{ "POST", "/v1/assist", "assist", POOL_ANSWER, 0, 0, assist_post, ROLE_READ },
	{ "POST", "/v1/summaries", "summaries", POOL_ANSWER, 0, 0, summaries_post, ROLE_READ },
	{ "GET", "/v1/answers/{id}", "answers_get", POOL_SEARCH, 0, 0, answers_get, ROLE_READ },
	{ "POST", "/v1/answers/{id}/replay", "answers_replay", POOL_ANSWER, 0, 0, answers_replay, ROLE_READ },
	{ "POST", "/v1/feedback", "feedback_post", POOL_WRITE, 0, 0, feedback_post, ROLE_READ },
	{ "GET", "/v1/feedback", "feedback_get", POOL_ADMIN, 0, 0, feedback_get, ROLE_ADMIN },
	{ "GET", "/v1/usage", "usage", POOL_ADMIN, 0, 0, usage_get, ROLE_ADMIN },
	{ "GET", "/v1/models", "models", POOL_ANSWER, 0, 0, models_get, ROLE_READ },
	{ "GET", "/v1/models/{id}", "models", POOL_ANSWER, 0, 0, models_get, ROLE_READ },
	{ "POST", "/v1/chat/completions", "chat_completions", POOL_ANSWER, 0, 0, chat_completions_post, ROLE_READ },
	{ "POST", "/v1/rerank", "rerank", POOL_SEARCH, 0, 0, rerank_post, ROLE_READ },
	{ "POST", "/v1/embeddings", "embeddings", POOL_SEARCH, 0, 0, embeddings_post, ROLE_READ },
	{ "GET", "/v1/documents", "documents_list", POOL_SEARCH, 0, 0, documents_list, ROLE_READ },
	{ "POST", "/v1/documents", "documents_post", POOL_WRITE, 1, 0, documents_post, ROLE_WRITE },
	{ "GET", "/v1/documents/{id}", "documents_get", POOL_SEARCH, 0, 0, documents_get, ROLE_READ },
	{ "DELETE", "/v1/documents/{id}", "documents_delete", POOL_WRITE, 0, 0, documents_delete, ROLE_WRITE },
	{ "GET", "/v1/documents/{id}/text", "documents_text", POOL_SEARCH, 0, 0, documents_text, ROLE_READ },
	{ "GET", "/v1/documents/{id}/original", "documents_original", POOL_SEARCH, 0, 0, documents_original, ROLE_READ },
	{ "GET", "/v1/documents/{id}/pages/{page}", "documents_page", POOL_SEARCH, 0, 0, documents_page, ROLE_READ },
	{ "GET", "/v1/sources", "sources_list", POOL_SEARCH, 0, 0, sources_list, ROLE_WRITE },
	{ "POST", "/v1/sources", "sources_post", POOL_ADMIN, 0, 0, sources_post, ROLE_WRITE },
	{ "DELETE", "/v1/sources/{id}", "sources_delete", POOL_WRITE, 0, 0, sources_delete, ROLE_WRITE },
	{ "GET", "/v1/jobs", "jobs_list", POOL_SEARCH, 0, 0, jobs_list, ROLE_WRITE },
	{ "GET", "/v1/jobs/{id}", "jobs_get", POOL_SEARCH, 0, 0, jobs_list, ROLE_WRITE },
	{ "DELETE", "/v1/jobs/{id}", "jobs_delete", POOL_ADMIN, 0, 0, jobs_delete, ROLE_WRITE },
	{ "GET", "/v1/keys", "keys_list", POOL_ADMIN, 0, 0, keys_get, ROLE_ADMIN },
	{ "POST", "/v1/keys", "keys_post", POOL_ADMIN, 0, 0, keys_post, ROLE_ADMIN },
	{ "DELETE", "/v1/keys/{id}", "keys_delete", POOL_ADMIN, 0, 0, keys_delete, ROLE_ADMIN },
	{ "GET", "/v1/prompts", "prompts_list", POOL_ADMIN, 0, 0, prompts_get, ROLE_ADMIN },
	{ "POST", "/v1/prompts", "prompts_post", POOL_ADMIN, 0, 0, prompts_post, ROLE_ADMIN },
	{ "GET", "/v1/prompts/{name}", "prompts_get", POOL_ADMIN, 0, 0, prompts_get, ROLE_ADMIN },
	{ "POST", "/v1/prompts/{name}/use", "prompts_use", POOL_ADMIN, 0, 0, prompts_use_post, ROLE_ADMIN },
	{ "GET", "/v1/prompts/{name}/diff", "prompts_diff", POOL_ADMIN, 0, 0, prompts_diff_get, ROLE_ADMIN },
	{ "GET", "/v1/experiments", "experiments_list", POOL_ADMIN, 0, 0, experiments_get, ROLE_ADMIN },
	{ "POST", "/v1/experiments", "experiments_post", POOL_ADMIN, 0, 0, experiments_post, ROLE_ADMIN },
	{ "GET", "/v1/experiments/{name}", "experiments_get", POOL_ADMIN, 0, 0, experiments_get, ROLE_ADMIN },
	{ "DELETE", "/v1/experiments/{name}", "experiments_delete", POOL_ADMIN, 0, 0, experiments_delete, ROLE_ADMIN },
	{ "POST", "/v1/experiments/{name}/stop", "experiments_stop", POOL_ADMIN, 0, 0, experiments_stop_post, ROLE_ADMIN },
	{ "GET", "/v1/experiments/{name}/export", "experiments_export", POOL_ADMIN, 0, 0, experiments_export, ROLE_ADMIN },
	{ "GET", "/v1/stats", "stats", POOL_ADMIN, 0, 0, stats_get, ROLE_ADMIN },
	{ "POST", "/v1/backup", "backup", POOL_WRITE, 0, 0, backup_post, ROLE_ADMIN },
};
enum { ROUTES_N = sizeof routes / sizeof *routes };

const struct route *route_at(size_t i)
{
	return i < ROUTES_N ? &routes[i] : NULL;
}

static int path_fits(const char *pattern, const struct request *r)
{
	size_t i = 0;
	if (!strcmp(pattern, "/"))
		return r->segment_n == 0;
	while (*pattern == '/') {
		const char *from = ++pattern;
		size_t len = strcspn(from, "/");
		if (i == r->segment_n)
			return 0;
		if (*from == '{') {
			if (!*r->segments[i])
				return 0;
		} else if (strlen(r->segments[i]) != len || memcmp(r->segments[i], from, len)) {
			return 0;
		}
		i++;
		pattern = from + len;
	}
	return i == r->segment_n;
}

static int method_fits(const struct route *t, const char *method)
{
	return !strcmp(t->method, method) || (!strcmp(t->method, "GET") && !strcmp(method, "HEAD"));
}

int route_find(struct request *r, struct err *e)
{
	const char *allow = NULL;
	for (size_t i = 0; i < ROUTES_N; i++) {
		const struct route *t = &routes[i];
		if (!path_fits(t->path, r))
			continue;
		if (method_fits(t, r->method)) {
			r->route = t;
			r->allow = NULL;
			return OK;
		}
		allow = allow ? arena_printf(&r->arena, "%s, %s", allow, t->method) : t->method;
		if (!allow)
			return err_set(e, E_MEMORY, "out of memory");
	}
	if (!allow)
		return err_set(e, E_NOT_FOUND, "no such endpoint");
	r->allow = allow;
	return err_set(e, E_USAGE, "method %s is not allowed here, use %s", r->method, allow);
}
