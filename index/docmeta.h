/* docmeta.h: a document's meta as a list of what it says, each thing under the path of names that leads to it, as filters
 * reach it (filter.h). Thread-safe (no state). */
#ifndef INDEX_DOCMETA_H
#define INDEX_DOCMETA_H
#include <stddef.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"

enum { META_CELLS_MAX = 256, META_CELL_BYTES_MAX = 16 << 10, META_PATH_MAX = 1024 };

enum cell_kind { CELL_NUMBER, CELL_TEXT, CELL_FALSE, CELL_TRUE, CELL_OBJECT };
struct meta_cell {
	enum cell_kind kind;
	const char *path; size_t path_len; /* names from the outermost object on, with a NUL between two of them */
	const char *text;                  /* of CELL_TEXT */
	double number;
};

/* Everything that a meta text says but null; elements of a list are cells of one path. *out in the arena. Damaged meta says
 * nothing. E_LIMIT, quiet: over META_CELL_BYTES_MAX of text, META_CELLS_MAX values or META_PATH_MAX of a path; E_MEMORY. */
int meta_cells(const char *meta, struct arena *a, struct meta_cell **out, size_t *n);
/* The path in the form of a cell's: its length, META_PATH_MAX when it is too long for one. out: so many bytes. */
size_t meta_path(char *out, const char *const *names, size_t n);

#endif
