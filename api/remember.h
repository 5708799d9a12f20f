/* remember.h: what is written after an answer, off its path: its record (record.h of answers is answerrecord.h), the question
 * that it left without one (gaps.h), and the sums of the day (usage.h). A thread of its own writes what came together in
 * one commit, answers.commit_ms after the first of it; a crash loses what waits, an orderly end nothing. */
#ifndef API_REMEMBER_H
#define API_REMEMBER_H
#include "api/service.h"
#include "api/usage.h"
#include "base/json.h"

struct remember;
struct memo {                        /* a note to be (index_note_put) */
	char kind[33], name[64];
	cJSON *json;                 /* taken */
	char *question;              /* put into it as question_stored has it; NULL: none. mem_alloc'd, taken, as the next */
	char *history;               /* put into it as "history_hash"; NULL: none */
	const char *model;           /* setting of the language model, whose file is told in "made_by" as "model_sha256"; NULL: none */
};
int remember_open(struct remember **out, struct service *s, struct err *e);
void remember_close(struct remember *m);                 /* writes what waits; NULL is allowed */
/* Both take what they are given, never wait and never fail: what has no room (4096 memos, and 64 MiB of their questions and histories, wait at most) is counted and told
 * in the log. Thread-safe. */
void remember_memo(struct remember *m, struct memo *memo);
void remember_usage(struct remember *m, const char *key_id, const struct usage *u);
/* Returns when what was told before is on disk, or could not be written. Not from a thread that writes. */
void remember_flush(struct remember *m);
/* Removes records of answers, and what was said of them, that are over answers.keep_max or answers.keep_days, and rows of usage
 * over usage.keep_days. Done now and then by the thread as well. *removed: how many. Errors of the store. */
int remember_trim(struct service *s, uint64_t *removed, struct err *e);
/* SHA-256 of a language model's file in hex, named as settings name it; kept in the store with the file's size and time. ""
 * where there is none. Reads a gigabyte the first time. Thread-safe. */
void remember_model_hash(struct service *s, const char *model, char hex[65]);

#endif
