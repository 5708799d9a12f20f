/* test_backup.c: one file out, the same store back; whatever is not a whole backup is refused and nothing touched. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"
#include "tests/index/help.h"
#include "tests/test.h"

static char top[300], data[340], file[340];

static void places(void)
{
	snprintf(top, sizeof top, "%s", test_dir());
	snprintf(data, sizeof data, "%s/data", top);
	snprintf(file, sizeof file, "%s/store.backup", top);
}

static struct index *begin(void)
{
	places();
	return help_open(data);
}

static void fill(struct index *x)
{
	char name[40], id[64];
	for (int i = 0; i < 30; i++) {
		snprintf(name, sizeof name, "Document %d", i);
		help_add(x, "c", name, name, (uint64_t)i * 50, 12, NULL, id);
		if (i % 5 == 4) help_delete(x, id);
	}
}

static void bytes_read(const char *path, struct buf *out)
{
	struct err e;
	buf_init(out, (size_t)1 << 30);
	CHECK_OK(file_read(path, out, &e), e);
}

TEST(backup_and_restore)
{
	struct index *x = begin();
	struct index_options o;
	struct index_stats before, now;
	uint64_t bytes;
	char other[400];
	struct stat st;
	struct err e;
	fill(x);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	CHECK_OK(index_stats(x, &before, &e), e);
	CHECK_OK(index_backup(x, file, &bytes, &e), e);
	CHECK(stat(file, &st) == 0 && (uint64_t)st.st_size == bytes && (st.st_mode & 0777) == 0600);
	CHECK_INT(index_backup(x, file, &bytes, &e), E_CONFLICT);
	CHECK(strstr(e.msg, "store.backup"));
	help_add(x, "c", "later", "/later", 9000, 3, NULL, NULL);
	index_close(x);
	snprintf(other, sizeof other, "%s/deep/new", top);          /* into a folder that is not there */
	o = help_options(other);
	CHECK_OK(index_restore(&o, file, 0, &now, &e), e);
	CHECK(now.documents == before.documents && now.chunks == before.chunks && now.seq == before.seq);
	x = help_open(other);
	help_check_clean(x);
	CHECK_OK(index_stats(x, &now, &e), e);
	CHECK(now.documents == before.documents && now.graph_vectors == before.graph_vectors);
	index_close(x);
	o = help_options(data);                                     /* over the store there is */
	CHECK_INT(index_restore(&o, file, 0, &now, &e), E_CONFLICT);
	x = help_open(data);
	CHECK_OK(index_stats(x, &now, &e), e);
	CHECK_INT(now.documents, before.documents + 1);
	index_close(x);
	CHECK_OK(index_restore(&o, file, 1, &now, &e), e);
	x = help_open(data);
	help_check_clean(x);
	CHECK_OK(index_stats(x, &now, &e), e);
	CHECK_INT(now.documents, before.documents);
	help_add(x, "c", "goes on", "/on", 9100, 3, NULL, NULL);
	help_check_clean(x);
	index_close(x);
}

TEST(backup_takes_the_place_of_a_cut_off_one)
{
	struct index *x = begin();
	char part[400], folder[410];
	uint64_t bytes;
	struct err e;
	int fd;
	fill(x);
	snprintf(part, sizeof part, "%s.part", file);
	CHECK_OK(file_write_atomic(part, "half of something", 17, &e), e);
	CHECK_OK(index_backup(x, file, &bytes, &e), e);
	CHECK(!file_exists(part) && file_exists(file));
	snprintf(folder, sizeof folder, "%s/none/x.backup", top);
	CHECK_INT(index_backup(x, folder, &bytes, &e), E_NOT_FOUND);
	snprintf(folder, sizeof folder, "%s/link.backup", top);     /* a link that leads nowhere is in the way, too */
	CHECK(symlink("/nowhere", folder) == 0);
	CHECK_INT(index_backup(x, folder, &bytes, &e), E_CONFLICT);
	snprintf(part, sizeof part, "%s/p.backup", top);
	snprintf(folder, sizeof folder, "%s.part", part);
	CHECK(mkfifo(folder, 0600) == 0);
	CHECK(index_backup(x, part, &bytes, &e) != OK && !file_exists(part));
	fd = open("/dev/null", O_RDONLY);
	CHECK(fd >= 0);
	close(fd);
	help_check_clean(x);
	index_close(x);
}

/* Cut anywhere, changed anywhere, or something else: refused with a reason, and the store is what it was. */
TEST(restore_refuses_what_is_no_backup)
{
	struct index *x = begin();
	struct index_options o = help_options(data);
	struct index_stats stats;
	struct buf whole, before, after, store;
	uint64_t bytes;
	struct err e;
	char bad[400];
	fill(x);
	CHECK_OK(index_backup(x, file, &bytes, &e), e);
	index_close(x);
	buf_init(&store, 1000);
	CHECK(path_join(&store, data, "data.mdb") == OK);
	bytes_read(file, &whole);
	bytes_read(store.data, &before);
	snprintf(bad, sizeof bad, "%s/bad", top);
	for (size_t i = 0; i <= 12; i++) {                          /* cuts */
		size_t n = i == 12 ? whole.len - 1 : whole.len / 12 * i;
		if (n == whole.len) continue;
		CHECK_OK(file_write_atomic(bad, whole.data, n, &e), e);
		CHECK_INT(index_restore(&o, bad, 1, &stats, &e), E_FORMAT);
		CHECK(strstr(e.msg, "/bad"));
	}
	for (size_t i = 0; i < 40; i++) {                           /* flipped bits; zeros behind the seal's fields are not read */
		size_t at = i < 32 ? whole.len / 33 * i : whole.len - 4096 + (i - 32) * 9;
		int rc;
		if (at >= whole.len - 4096 + 76) continue;
		whole.data[at] ^= 4;
		CHECK_OK(file_write_atomic(bad, whole.data, whole.len, &e), e);
		rc = index_restore(&o, bad, 1, &stats, &e);
		CHECK_MSG(rc == E_CORRUPT || rc == E_FORMAT, "byte %zu: %d", at, rc);
		whole.data[at] ^= 4;
	}
	CHECK_OK(file_write_atomic(bad, before.data, before.len, &e), e); /* a data file alone */
	CHECK_INT(index_restore(&o, bad, 1, &stats, &e), E_FORMAT);
	CHECK_INT(index_restore(&o, top, 1, &stats, &e), E_FORMAT);
	CHECK_INT(index_restore(&o, "/nowhere/at/all", 1, &stats, &e), E_NOT_FOUND);
	bytes_read(store.data, &after);
	CHECK(before.len == after.len && memcmp(before.data, after.data, after.len) == 0);
	snprintf(bad, sizeof bad, "%s/data.new", data);
	CHECK(!file_exists(bad));
	x = help_open(data);
	help_check_clean(x);
	index_close(x);
	buf_clear(&whole);
	buf_clear(&before);
	buf_clear(&after);
	buf_clear(&store);
}

/* ---- no room ---- */

static void filled(void)
{
	struct index *x = help_open(data);
	fill(x);
	index_close(x);
}

static int part_is_left(void)
{
	char part[400];
	snprintf(part, sizeof part, "%s.part", file);
	return file_exists(part);
}

static void backup_fails(void)
{
	struct index *x = help_open(data);
	uint64_t bytes;
	struct err e;
	CHECK_INT(index_backup(x, file, &bytes, &e), E_FULL);
	CHECK(strstr(e.msg, "store.backup"));
	CHECK(!file_exists(file) && !part_is_left());
	help_check_clean(x);
	CHECK_OK(index_backup(x, file, &bytes, &e), e);             /* the plan fires once */
	CHECK(bytes > 0 && file_exists(file) && !part_is_left());
	index_close(x);
}

static void restore_fails(void)
{
	struct index_options o = help_options(data);
	struct index_stats stats;
	struct index *x = help_open(data);
	char fresh[400];
	struct err e;
	help_add(x, "c", "since the backup", "/since", 9000, 3, NULL, NULL);
	index_close(x);
	CHECK_INT(index_restore(&o, file, 1, &stats, &e), E_FULL);
	snprintf(fresh, sizeof fresh, "%s/data.new", data);
	CHECK(!file_exists(fresh));
	x = help_open(data);                                        /* untouched */
	help_check_clean(x);
	CHECK_OK(index_stats(x, &stats, &e), e);
	CHECK_INT(stats.documents, 25);
	index_close(x);
	CHECK_OK(index_restore(&o, file, 1, &stats, &e), e);
	CHECK_INT(stats.documents, 24);
}

/* The disk is full at the seal of a backup, and in the copy of a restore: nothing half is left, what was there stays. */
TEST(backup_and_restore_without_room)
{
	places();
	help_in_child("", filled);
	help_in_child("backup.write:1:fail", backup_fails);
	help_in_child("backup.write:1:fail", restore_fails);
}
