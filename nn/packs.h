/* packs.h: the packed matrices (pack.h) of one model, together, and the file that keeps them.
 *
 *   packs_open -> the matrices -> packs_close
 *
 * The file, FOLDER/NAME.HASH.vVERSION.pack (the model file's base name; 16 digits of the SHA-256 of its real path;
 * the layout's version), is a header and the matrices, each at a multiple of PACKS_ALIGN:
 *   char magic[8] "fn-pack2"; u32 PACK_VERSION, matrices; u64 bytes of this file, bytes of the model file, its time
 *   of change (st_ctim) in nanoseconds; then for each matrix u64 type, rows, k, offset. Little-endian; zeros up to the
 *   first matrix. Behind the last matrix a u32 sum for every PACKS_SUM_BYTES of all that, the last ones fewer: its
 *   words of 8 bytes are dealt out to four CRC-32C (from 0, not inverted), and the sum is that of the four, the first
 *   going on over the other three as words.
 * It is derived: a header other than the one that this model would get, another length, a sum that does not fit, or a
 * panel drawn from each matrix that the model packs differently, and it is made anew. It appears by a rename when it is
 * whole. Thread: one opener, whose team packs; what is open is read-only. */
#ifndef NN_PACKS_H
#define NN_PACKS_H
#include <stddef.h>
#include "base/err.h"
#include "base/team.h"
#include "nn/pack.h"

struct packs;
enum { PACKS_ALIGN = 4096, PACKS_SUM_BYTES = 256 << 10 };
/* n matrices of types that pack.h has, of the model file at path; their rows are borrowed during the call and lie
 * in a mapping of that file, whose pages are given back. out[i] is the i-th, borrowed until close. folder: where the
 * packed form is kept, made if it is not there; NULL or "": nowhere. One that cannot be used is a line in the log, and
 * costs the time to pack. E_MEMORY, E_IO (path). */
int packs_open(struct packs **p, const struct matrix *const *w, size_t n, struct packed *out, const char *path,
	const char *folder, struct team *team, struct err *e);
void packs_close(struct packs *p);                            /* NULL is allowed */

#endif
