#include "tests/support/test.h"
#include "tracker/logs/line.h"

/* All lines of `bytes`, given in pieces of `piece` bytes, each followed by '$'; with `again`, the state is saved and restored at each. */
static void read_all(struct str bytes, size_t piece, bool again, size_t max, struct buf *out) {
  struct err err;
  struct line_reader *reader = line_reader_new(max, &err);
  assert_non_null(reader);
  struct line line;
  for (size_t at = 0; at < bytes.n; at += piece) {
    struct str part = str_slice(bytes, at, at + piece);
    while (line_next(reader, &part, &line) == LINE_READY)
      buf_printf(out, "%.*s$", STR_ARG(line.text));
    if (!again)
      continue;
    AUTO_BUF struct buf state = BUF_INIT(MIB);
    line_save(reader, &state);
    line_reader_free(reader);
    reader = line_reader_new(max, &err);
    assert_non_null(reader);
    assert_true(line_restore(reader, buf_str(&state), &err));
  }
  if (line_last(reader, &line))
    buf_printf(out, "%.*s$", STR_ARG(line.text));
  buf_printf(out, "%llu", (unsigned long long)line_lost(reader));
  line_reader_free(reader);
}

static void expect(const char *bytes, const char *lines) {
  for (size_t piece = 1; piece <= strlen(bytes) + 1; piece++)
    for (int again = 0; again < 2; again++) {
      AUTO_BUF struct buf out = BUF_INIT(64 * KIB);
      read_all(str_of(bytes), piece, again, 40, &out);
      assert_string_equal(buf_text(&out), lines);
    }
}

static void test_lines(void **state) {
  (void)state;
  expect("", "0");
  expect("a\nbc\n\nd", "a$bc$$d$0");
  expect("a\r\nb\r\n", "a$b$0");
}

static void test_overwriting(void **state) {
  (void)state;
  expect("12345\rab\n", "ab345$0");
  expect("\r 10%\r 20%\r100%\n", "100%$0");
  expect("abc\b\bX\n", "aXc$0");
  expect("\b\bab\n", "ab$0");
  expect("0.94 \b V\n", "0.94 V$0");
  expect("\xe2\x96\x88\xe2\x96\x88|\rx\n", "x\xe2\x96\x88|$0"); /* by characters, not bytes */
}

static void test_escapes(void **state) {
  (void)state;
  expect("\x1b[1m\x1b[31mred\x1b[0m\n", "red$0");
  expect("old text\r\x1b[Knew\n", "new$0");
  expect("old text\x1b[2K\rnew\n", "new$0");
  expect("\x1b[4A\x1b[J1   2\n", "1   2$0");
  expect("ab\x1b[3Cc\x1b[Dd\x1b[10Ge\n", "ab   d   e$0");
  expect("\x1b]0;title\x07x\x1b]8;;u\x1b\\y\n", "xy$0");
  expect("a\x1b(Bb\x1b[?25lc\x1b", "abc$0");
}

static void test_bad_utf8(void **state) {
  (void)state;
  expect("a\xff"
         "b\xc3\n\xc3\xa9\xe2\x82",
         "a\xef\xbf\xbd"
         "b\xef\xbf\xbd$\xc3\xa9\xef\xbf\xbd$0");
  expect("\xed\xa0\x80\n", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd$0"); /* a surrogate */
}

static void test_ceiling(void **state) {
  (void)state;
  expect("0123456789012345678901234567890123456789abc\nx\n", "0123456789012345678901234567890123456789$x$3");
}

static void test_numbers(void **state) {
  (void)state;
  struct err err;
  struct line_reader *reader = line_reader_new(100, &err);
  struct str bytes = STR("a\n\nb\rc\nd");
  struct line line;
  for (uint64_t n = 1; n <= 3; n++) {
    assert_int_equal(line_next(reader, &bytes, &line), LINE_READY);
    assert_int_equal(line.number, n);
  }
  assert_int_equal(line_next(reader, &bytes, &line), LINE_MORE);
  assert_true(line_last(reader, &line));
  assert_int_equal(line.number, 4);
  assert_false(line_last(reader, &line));
  line_reader_free(reader);
}

static void test_bad_state(void **state) {
  (void)state;
  struct err err;
  struct line_reader *reader = line_reader_new(100, &err);
  struct str bytes = STR("some t\xc3");
  struct line line;
  assert_int_equal(line_next(reader, &bytes, &line), LINE_MORE);
  AUTO_BUF struct buf saved = BUF_INIT(KIB);
  line_save(reader, &saved);
  for (size_t n = 0; n < saved.n; n++)
    assert_false(line_restore(reader, str_n(saved.p, n), &err));
  assert_true(line_restore(reader, buf_str(&saved), &err));
  line_reader_free(reader);
}

static void expect_skipped(const char *bytes, size_t n, const char *rest, unsigned long long number) {
  struct err err;
  struct line_reader *reader = line_reader_new(100, &err);
  assert_non_null(reader);
  struct str left = str_of(bytes);
  struct line line;
  line_skip(reader, &left, n);
  assert_string_equal(left.p, rest);
  if (line_next(reader, &left, &line) == LINE_READY)
    assert_int_equal(line.number, number);
  line_reader_free(reader);
}

static void test_skipping(void **state) {
  (void)state;
  expect_skipped("a\nbc\nd\n", 5, "d\n", 3);
  expect_skipped("a\nbc\nd\n", 4, "bc\nd\n", 2); /* whole lines only */
  expect_skipped("a\nbc\nd", 100, "d", 0);
  expect_skipped("a\rb\x1b[1;32mc\x1b[0m\x1b[3A\xff\nd\n", 21, "d\n", 2);
  expect_skipped("a\n\x1b[90Cb\nd\n", 100, "\x1b[90Cb\nd\n", 2); /* might lose characters: the reader must see it */
  expect_skipped("a\n\x1b[12345Gb\nd\n", 100, "\x1b[12345Gb\nd\n", 2);
  struct err err;
  struct line_reader *reader = line_reader_new(100, &err);
  struct str begun = STR("x"), more = STR("y\nz\n");
  struct line line;
  assert_int_equal(line_next(reader, &begun, &line), LINE_MORE);
  line_skip(reader, &more, more.n);
  assert_int_equal(more.n, 4); /* the line is begun */
  line_reader_free(reader);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_skipping), cmocka_unit_test(test_lines),   cmocka_unit_test(test_overwriting), cmocka_unit_test(test_escapes),
      cmocka_unit_test(test_bad_utf8), cmocka_unit_test(test_ceiling), cmocka_unit_test(test_numbers),     cmocka_unit_test(test_bad_state),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
