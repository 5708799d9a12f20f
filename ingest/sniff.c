/* sniff.c: owns libmagic.
 *
 * One database for the process, behind a lock: libmagic's handles are not made for two threads, and a look takes well
 * under a millisecond. Only the file's first bytes are looked at and the tests that unpack or parse are switched off:
 * a type is a hint here, each extractor finds out for itself whether it can read the file. Threads: any. Failure: the
 * distribution's database is missing; then every file is unknown and its bytes alone decide. */
#include "ingest/sniff.h"

#include <magic.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { LOOK_BYTES = 256 * 1024 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static magic_t cookie;          /* NULL: not loaded */

enum { FLAGS = MAGIC_NO_CHECK_COMPRESS | MAGIC_NO_CHECK_TAR | MAGIC_NO_CHECK_ELF | MAGIC_NO_CHECK_JSON
	| MAGIC_NO_CHECK_CSV | MAGIC_NO_CHECK_TOKENS | MAGIC_NO_CHECK_CDF };

static int load(struct err *e)
{
	if (cookie)
		return OK;
	cookie = magic_open(FLAGS);
	if (!cookie)
		return err_set(e, E_MEMORY, "libmagic: out of memory");
	if (magic_load(cookie, NULL) != 0) {
		err_set(e, E_IO, "libmagic: %s", magic_error(cookie));
		magic_close(cookie);
		cookie = NULL;
		return E_IO;
	}
	return OK;
}

int sniff_prepare(struct err *e)
{
	int rc;

	pthread_mutex_lock(&lock);
	rc = load(e);
	pthread_mutex_unlock(&lock);
	return rc;
}

void sniff_finish(void)
{
	pthread_mutex_lock(&lock);
	if (cookie)
		magic_close(cookie);
	cookie = NULL;
	pthread_mutex_unlock(&lock);
}

/* The description up to what varies from file to file. */
static void words_of_kind(const char *s, char out[SNIFF_WORDS_MAX])
{
	size_t n = strcspn(s, ",;:(\\");

	if (strcmp(s, "data") == 0)
		n = 0;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] < 0x20 || (unsigned char)s[i] >= 0x7F)
			n = i;
	while (n > 0 && s[n - 1] == ' ')
		n--;
	snprintf(out, SNIFF_WORDS_MAX, "%.*s", (int)(n < SNIFF_WORDS_MAX ? n : SNIFF_WORDS_MAX - 1), s);
}

void sniff(const char *data, size_t len, struct sniff *out)
{
	size_t n = len < LOOK_BYTES ? len : LOOK_BYTES;
	const char *said;

	memset(out, 0, sizeof *out);
	snprintf(out->mime, sizeof out->mime, "application/octet-stream");
	pthread_mutex_lock(&lock);
	if (load(NULL) == OK) {
		magic_setflags(cookie, FLAGS | MAGIC_MIME_TYPE);
		said = magic_buffer(cookie, data, n);
		if (said)
			snprintf(out->mime, sizeof out->mime, "%s", said);
		magic_setflags(cookie, FLAGS);
		said = magic_buffer(cookie, data, n);
		if (said)
			words_of_kind(said, out->words);
	}
	pthread_mutex_unlock(&lock);
}
