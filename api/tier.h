/* tier.h: who writes an answer: nobody (it is quoted), the small model, or the large one. By rule, short questions of fact
 * may go down; by confidence, those whose answer is surely there do. */
#ifndef API_TIER_H
#define API_TIER_H
#include "api/answer.h"

enum tier { TIER_EXTRACTIVE, TIER_SMALL, TIER_LARGE };
/* 1: a short question of fact in English: who, when, where, which, how many …, alone, of at most twelve words, that asks for no
 * reason, way, list or comparison. Thread-safe. */
int tier_is_factual(const char *question);
/* By answer.route_extractive and answer.route_small of c; answerable: the probability, before anything is written, that the
 * documents hold the answer. */
enum tier tier_choose(const struct conf *c, const char *question, double answerable);
/* For q, which may be answered by *n: changes *n to the engine of its tier, NULL to quote, and says so in a->reason. Leaves
 * *n where the asker chose a style, has a history, or there is no small model. Errors of service_engine_small. Thread-safe. */
int tier_engine(struct service *s, const struct answer_request *q, struct answer *a, struct engine **n, struct err *e);

#endif
