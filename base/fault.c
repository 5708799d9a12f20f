/* fault.c: owns the fault plan, read from FOOTNOTE_FAULT at the first point that is passed. One plan a process: a name,
 * the pass that fires, and whether it kills or fails. Off it costs one load and a branch. Threads: any; passes are
 * counted over all of them. Failure: a malformed plan is logged as an error and switched off. */
#include "base/fault.h"
#include "base/log.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum plan_state { PLAN_UNREAD, PLAN_OFF, PLAN_ON };
enum { NAME_MAX_BYTES = 64 };

static atomic_int plan_state;
static pthread_once_t plan_once = PTHREAD_ONCE_INIT;
static char plan_name[NAME_MAX_BYTES]; /* the four below are written once, before plan_state */
static int plan_fail;
static long plan_n;
static atomic_long plan_passes;

/* "name:n" or "name:n:fail"; 0 when it is neither. */
static int plan_parse(const char *text)
{
	const char *colon = strchr(text, ':');
	char *end;
	if (!colon || colon == text || colon - text >= NAME_MAX_BYTES) return 0;
	memcpy(plan_name, text, (size_t)(colon - text));
	errno = 0;
	plan_n = strtol(colon + 1, &end, 10);
	if (end == colon + 1 || errno || plan_n < 1) return 0;
	plan_fail = strcmp(end, ":fail") == 0;
	return plan_fail || *end == 0;
}

static void plan_read(void)
{
	const char *text = getenv("FOOTNOTE_FAULT");
	int on = 0;
	if (text && *text) {
		on = plan_parse(text);
		if (!on) log_put(LOG_ERROR, "base", "FOOTNOTE_FAULT=%s: expected name:n or name:n:fail", text);
	}
	atomic_store_explicit(&plan_state, on ? PLAN_ON : PLAN_OFF, memory_order_release);
}

/* 1 when this pass of this kind of point is the one of the plan. */
static int plan_fires(const char *name, int fail)
{
	int state = atomic_load_explicit(&plan_state, memory_order_acquire);
	if (state == PLAN_OFF) return 0;
	if (state == PLAN_UNREAD) {
		pthread_once(&plan_once, plan_read);
		if (atomic_load_explicit(&plan_state, memory_order_acquire) == PLAN_OFF) return 0;
	}
	if (fail != plan_fail || strcmp(name, plan_name) != 0) return 0;
	return atomic_fetch_add(&plan_passes, 1) + 1 == plan_n;
}

void fault_point(const char *name)
{
	if (plan_fires(name, 0)) raise(SIGKILL);
}

int fault_fails(const char *name)
{
	return plan_fires(name, 1);
}
