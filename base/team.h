/* team.h: a fixed team of threads for parallel loops inside one operation (a matrix product, a batch). The caller is
 * member 0 and works too. Workers wait for the next run without sleeping as long as runs follow each other closely, and sleep
 * otherwise. Thread: one run at a time per team. */
#ifndef BASE_TEAM_H
#define BASE_TEAM_H

struct team;
struct team *team_new(int threads);                  /* threads >= 1; NULL: out of memory */
void team_free(struct team *t);                      /* NULL is allowed */
int team_size(const struct team *t);
/* Calls fn(ctx, member, size) once in each member, and returns when all are done. */
void team_run(struct team *t, void (*fn)(void *ctx, int member, int size), void *ctx);
/* For fn that draws its items from where all members find them, until none is left: calls it in the caller and in each
 * member that comes while the caller is at it, some perhaps more than once, and returns when those who came are done. A
 * member that the system lets wait holds up nobody. */
void team_draw(struct team *t, void (*fn)(void *ctx, int member, int size), void *ctx);

#endif
