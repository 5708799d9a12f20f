/* test_fault.c: plans that kill, that fail once, and plans that are nonsense. Each test is a process of its own, so the
 * plan, which is read once, is still unread. */
#include "base/fault.h"
#include "base/log.h"
#include "tests/test.h"
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Passes the points a and b three times in a child; its wait status. */
static int child_status(void)
{
	int status;
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		for (int i = 0; i < 3; i++) {
			fault_point("a");
			fault_point("b");
		}
		_exit(7);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	return status;
}

TEST(fault_point_kills_at_the_nth_pass)
{
	setenv("FOOTNOTE_FAULT", "b:3", 1);
	CHECK(WIFSIGNALED(child_status()) && WTERMSIG(child_status()) == SIGKILL);
	setenv("FOOTNOTE_FAULT", "b:4", 1);
	CHECK(WIFEXITED(child_status()) && WEXITSTATUS(child_status()) == 7);
	setenv("FOOTNOTE_FAULT", "ab:1", 1);
	CHECK(WIFEXITED(child_status()));
	setenv("FOOTNOTE_FAULT", "b:1:fail", 1);
	CHECK(WIFEXITED(child_status()));
}

TEST(fault_fails_once)
{
	setenv("FOOTNOTE_FAULT", "disk:2:fail", 1);
	CHECK(!fault_fails("disk"));
	CHECK(!fault_fails("other"));
	fault_point("disk");
	CHECK(fault_fails("disk"));
	CHECK(!fault_fails("disk"));
}

TEST(fault_off_without_a_plan)
{
	unsetenv("FOOTNOTE_FAULT");
	fault_point("a");
	CHECK(!fault_fails("a"));
	setenv("FOOTNOTE_FAULT", "a:1:fail", 1); /* too late: it is read once */
	CHECK(!fault_fails("a"));
}

TEST(fault_bad_plans_are_off)
{
	static const char *const plans[] = { "a", "a:", ":1", "a:0", "a:-1", "a:x", "a:1:", "a:1:die", "a:1x", "",
		"a:99999999999999999999999",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:1" };
	log_set_level(LOG_OFF);
	for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
		setenv("FOOTNOTE_FAULT", plans[i], 1);
		CHECK_MSG(WIFEXITED(child_status()), "plan %s killed", plans[i]);
	}
}
