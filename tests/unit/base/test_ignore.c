/* Ignore files, as git reads them. */
#include "base/buf.h"
#include "base/ignore.h"
#include "tests/support/test.h"

static enum ignore_says ask(const char *text, const char *path, bool directory) {
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  struct ignore ignore;
  struct err err;
  assert_true(ignore_read(str_of(text), &arena, &ignore, &err));
  return ignore_ask(&ignore, str_of(path), directory);
}

/* What `git check-ignore` says of each was looked up once. */
static void lines_fit_as_git_has_it(void **state UNUSED) {
  static const struct {
    const char *text, *path;
    bool directory;
    enum ignore_says says;
  } rows[] = {
      {"*.o", "a.o", false, IGNORE_OUT},
      {"*.o", "deep/er/a.o", false, IGNORE_OUT},
      {"*.o", "a.oo", false, IGNORE_SILENT},
      {"/a.o", "a.o", false, IGNORE_OUT},
      {"/a.o", "x/a.o", false, IGNORE_SILENT},
      {"x/a.o", "x/a.o", false, IGNORE_OUT},
      {"x/a.o", "y/x/a.o", false, IGNORE_SILENT},
      {"build/", "build", true, IGNORE_OUT},
      {"build/", "build", false, IGNORE_SILENT},
      {"build/", "x/build", true, IGNORE_OUT},
      {"/build/", "x/build", true, IGNORE_SILENT},
      {"*.o\n!keep.o", "keep.o", false, IGNORE_IN},
      {"!keep.o\n*.o", "keep.o", false, IGNORE_OUT},
      {"# *.o", "a.o", false, IGNORE_SILENT},
      {"\\#a", "#a", false, IGNORE_OUT},
      {"\\!a", "!a", false, IGNORE_OUT},
      {"a  ", "a", false, IGNORE_OUT},
      {"a\\ ", "a ", false, IGNORE_OUT},
      {"a\\ ", "a", false, IGNORE_SILENT},
      {"a\r\nb\r\n", "a", false, IGNORE_OUT},
      {"\xEF\xBB\xBF"
       "a",
       "a", false, IGNORE_OUT},
      {"**/logs", "logs", true, IGNORE_OUT},
      {"**/logs", "a/b/logs", true, IGNORE_OUT},
      {"**/logs/x", "a/logs/x", false, IGNORE_OUT},
      {"**/logs/x", "a/logs/b/x", false, IGNORE_SILENT},
      {"logs/**", "logs", true, IGNORE_SILENT},
      {"logs/**", "logs/a/b", false, IGNORE_OUT},
      {"logs/**", "x/logs/a", false, IGNORE_SILENT},
      {"a/**/b", "a/b", false, IGNORE_OUT},
      {"a/**/b", "a/x/y/b", false, IGNORE_OUT},
      {"a/**/b", "a/x/y/c", false, IGNORE_SILENT},
      {"a/**/b/**/c", "a/b/x/b/y/c", false, IGNORE_OUT},
      {"doc/*.txt", "doc/a.txt", false, IGNORE_OUT},
      {"doc/*.txt", "doc/x/a.txt", false, IGNORE_SILENT},
      {"a*c", "abbbc", false, IGNORE_OUT},
      {"a**c", "abbbc", false, IGNORE_OUT},
      {"a?c", "abc", false, IGNORE_OUT},
      {"a?c", "ac", false, IGNORE_SILENT},
      {"[a-c]x", "bx", false, IGNORE_OUT},
      {"[!a-c]x", "bx", false, IGNORE_SILENT},
      {"[^a-c]x", "dx", false, IGNORE_OUT},
      {"[[:digit:]]x", "7x", false, IGNORE_OUT},
      {"[[:digit:]]x", "ax", false, IGNORE_SILENT},
      {"[]]x", "]x", false, IGNORE_OUT},
      {"[\\]]x", "]x", false, IGNORE_OUT},
      {"[a-]x", "-x", false, IGNORE_OUT},
      {"[ax", "[ax", false, IGNORE_SILENT},
      {"\\*x", "*x", false, IGNORE_OUT},
      {"\\*x", "ax", false, IGNORE_SILENT},
      {"/", "a", true, IGNORE_SILENT},
      {"!", "a", false, IGNORE_SILENT},
      {"", "a", false, IGNORE_SILENT},
      {"/*\n!/foo\n/foo/*\n!/foo/bar", "foo", true, IGNORE_IN},
      {"/*\n!/foo\n/foo/*\n!/foo/bar", "foo/bar", true, IGNORE_IN},
      {"/*\n!/foo\n/foo/*\n!/foo/bar", "foo/baz", true, IGNORE_OUT},
      {"/*\n!/foo\n/foo/*\n!/foo/bar", "other", false, IGNORE_OUT},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++)
    if (ask(rows[i].text, rows[i].path, rows[i].directory) != rows[i].says)
      fail_msg("\"%s\" of \"%s\": expected %d", rows[i].text, rows[i].path, (int)rows[i].says);
}

/* Backtracking over stars costs the product of the lengths, not a power. */
static void many_stars_end_soon(void **state UNUSED) {
  char pattern[200], path[4001];
  for (size_t i = 0; i + 1 < sizeof pattern; i++)
    pattern[i] = i % 2 ? 'a' : '*';
  pattern[sizeof pattern - 1] = 'b';
  memset(path, 'a', sizeof path);
  assert_false(ignore_path_fits(str_n(pattern, sizeof pattern), str_n(path, sizeof path)));
  AUTO_BUF struct buf deep = BUF_INIT(64 * KIB), wide = BUF_INIT(64 * KIB);
  for (int i = 0; i < 500; i++) {
    buf_puts(&deep, "a/");
    buf_puts(&wide, "**/a/");
  }
  buf_puts(&wide, "b");
  assert_false(ignore_path_fits(buf_str(&wide), buf_str(&deep)));
}

static void too_many_lines_are_refused(void **state UNUSED) {
  AUTO_ARENA struct arena arena = ARENA_INIT(64 * MIB);
  AUTO_BUF struct buf text = BUF_INIT(MIB);
  struct ignore ignore;
  struct err err;
  for (int i = 0; i <= IGNORE_LINES_MAX; i++)
    buf_putc(&text, '\n');
  assert_false(ignore_read(buf_str(&text), &arena, &ignore, &err));
  assert_int_equal(err.code, ERR_TOO_LARGE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lines_fit_as_git_has_it),
      cmocka_unit_test(many_stars_end_soon),
      cmocka_unit_test(too_many_lines_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
