/* team.h: a fixed team of threads for parallel loops inside one operation (a matrix product, a batch). The caller is
 * member 0 and works too. Workers spin briefly between runs, then sleep. Thread: one team_run at a time per team. */
#ifndef BASE_TEAM_H
#define BASE_TEAM_H

struct team;
struct team *team_new(int threads);                  /* threads >= 1; NULL: out of memory */
void team_free(struct team *t);                      /* NULL is allowed */
int team_size(const struct team *t);
/* Calls fn(ctx, member, size) once in each member, and returns when all are done. */
void team_run(struct team *t, void (*fn)(void *ctx, int member, int size), void *ctx);

#endif
