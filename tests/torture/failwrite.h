/* failwrite.h: the n-th write to files under one folder fails. Linked into a test program, or made into failwrite.so and
 * loaded before a program (LD_PRELOAD), where FAILWRITE=N:MODE:FOLDER says what failwrite_set would, and FAILWRITE_COUNT
 * names a file that gets the number of writes at the end. */
#ifndef TESTS_TORTURE_FAILWRITE_H
#define TESTS_TORTURE_FAILWRITE_H

enum fail_mode {
	FAIL_EIO,       /* the n-th is an I/O error; nothing of it is written */
	FAIL_NOSPC,     /* the n-th finds the disk full, the next one does not */
	FAIL_SHORT,     /* the n-th writes half of its bytes and says so; calls without bytes fail with EIO */
	FAIL_TORN,      /* the n-th writes half of its bytes, then fails with EIO */
	FAIL_FULL,      /* from the n-th on the disk is full: whatever may need blocks fails with ENOSPC */
	FAIL_DEAD,      /* from the n-th on every write is an I/O error */
	FAIL_MODES
};
const char *fail_mode_name(enum fail_mode m);

/* Counts from 0 again; n 0: fails none. folder: real path, borrowed; a file whose path begins with it counts. */
void failwrite_set(long n, enum fail_mode m, const char *folder);
long failwrite_count(void);     /* writes since failwrite_set */
long failwrite_failed(void);    /* of them made to fail */

#endif
