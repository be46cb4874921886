/* Tar archives: what is written is read again, what is damaged is refused. */
#include "base/tar.h"
#include "tests/support/test.h"

static void put(struct buf *out, const struct tar_entry *entry, struct str content) {
  static const char zeros[TAR_BLOCK];
  tar_put_header(out, entry);
  buf_add_str(out, content);
  buf_add(out, zeros, tar_padding(content.n));
}

static void put_end(struct buf *out) {
  static const char zeros[TAR_END_BYTES];
  buf_add(out, zeros, sizeof zeros);
}

static void what_is_written_is_read_again(void **state UNUSED) {
  char path[300], target[200];
  memset(path, 'p', sizeof path);
  path[120] = '/';
  memset(target, 't', sizeof target);
  const struct tar_entry entries[] = {
      {.kind = TAR_DIRECTORY, .path = STR("d"), .mode = 0755},
      {.kind = TAR_FILE, .path = STR("d/a"), .mode = 0640, .size = 5},
      {.kind = TAR_FILE, .path = {path, sizeof path}, .mode = 0755, .size = 0},
      {.kind = TAR_LINK, .path = STR("l"), .link = {target, sizeof target}, .mode = 0777},
      {.kind = TAR_LINK, .path = STR("m"), .link = STR("d/a"), .mode = 0777},
  };
  AUTO_BUF struct buf archive = BUF_INIT(MIB), again = BUF_INIT(MIB);
  for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
    put(&archive, &entries[i], str_n("hello", (size_t)entries[i].size));
    put(&again, &entries[i], str_n("hello", (size_t)entries[i].size));
  }
  put_end(&archive);
  put_end(&again);
  assert_true(str_eq(buf_str(&archive), buf_str(&again)));
  struct tar_reader reader = TAR_READER(buf_str(&archive));
  struct tar_entry entry;
  struct str content;
  struct err err;
  for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
    assert_true(tar_next(&reader, &entry, &content, &err));
    assert_int_equal(entry.kind, entries[i].kind);
    assert_true(str_eq(entry.path, entries[i].path));
    assert_int_equal(entry.mode, entries[i].mode);
    assert_int_equal(entry.size, entries[i].size);
    assert_true(str_eq(content, str_n("hello", (size_t)entries[i].size)));
    if (entry.kind == TAR_LINK)
      assert_true(str_eq(entry.link, entries[i].link));
  }
  assert_false(tar_next(&reader, &entry, &content, &err));
  assert_int_equal(err.code, ERR_NONE);
}

static void damage_is_told(void **state UNUSED) {
  const struct tar_entry file = {.kind = TAR_FILE, .path = STR("a"), .mode = 0644, .size = 5};
  struct tar_entry entry;
  struct str content;
  struct err err;
  AUTO_BUF struct buf archive = BUF_INIT(MIB);
  put(&archive, &file, STR("hello"));
  put_end(&archive);
  for (size_t n = 0; n < 1024; n += 100) { /* cut off */
    struct tar_reader reader = TAR_READER(str_slice(buf_str(&archive), 0, n));
    assert_false(tar_next(&reader, &entry, &content, &err));
    assert_int_equal(err.code, ERR_INVALID);
  }
  for (size_t i = 0; i < 300; i += 7) { /* a bit turned */
    archive.p[i] ^= 1;
    struct tar_reader reader = TAR_READER(buf_str(&archive));
    assert_false(tar_next(&reader, &entry, &content, &err));
    assert_int_equal(err.code, ERR_INVALID);
    archive.p[i] ^= 1;
  }
}

static void names_are_made_plain_and_strange_kinds_are_other(void **state UNUSED) {
  struct tar_entry entry;
  struct str content;
  struct err err;
  static const struct {
    const char *path, *plain;
  } rows[] = {{"./a", "a"}, {"././a/", "a"}, {".", ""}, {"./", ""}, {"/etc", "/etc"}, {"../x", "../x"}};
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    AUTO_BUF struct buf archive = BUF_INIT(MIB);
    put(&archive, &(struct tar_entry){.kind = TAR_DIRECTORY, .path = str_of(rows[i].path)}, STR(""));
    struct tar_reader reader = TAR_READER(buf_str(&archive));
    assert_true(tar_next(&reader, &entry, &content, &err));
    assert_true(str_is(entry.path, rows[i].plain));
  }
  AUTO_BUF struct buf archive = BUF_INIT(MIB);
  put(&archive, &(struct tar_entry){.kind = TAR_FILE, .path = STR("dev")}, STR(""));
  archive.p[156] = '3'; /* a device; its sum differs by three */
  unsigned sum = 0;
  for (size_t i = 0; i < TAR_BLOCK; i++)
    sum += i >= 148 && i < 156 ? ' ' : (unsigned char)archive.p[i];
  snprintf(archive.p + 148, 8, "%06o", sum);
  struct tar_reader reader = TAR_READER(buf_str(&archive));
  assert_true(tar_next(&reader, &entry, &content, &err));
  assert_int_equal(entry.kind, TAR_OTHER);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_written_is_read_again),
      cmocka_unit_test(damage_is_told),
      cmocka_unit_test(names_are_made_plain_and_strange_kinds_are_other),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
