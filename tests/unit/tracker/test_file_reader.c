#include <math.h>

#include "tests/support/test.h"
#include "tracker/logs/file_reader.h"
#include "tracker/logs/found_points.h"
#include "tracker/logs/reread.h"
#include "tracker/pack.h"

static bool collect(void *ctx, const struct log_point *points, size_t n, struct err *err) {
  (void)err;
  for (size_t i = 0; i < n; i++)
    buf_printf(ctx, "%.*s=%.9g@%lld ", STR_ARG(points[i].key), points[i].value, (long long)points[i].at);
  return true;
}

static struct metric_sources *source(enum source_format format, const char *pattern, const char *prefix) {
  struct err err;
  const struct metric_source item = {.file = "f", .format = format, .pattern = pattern, .prefix = prefix};
  struct metric_sources *sources = metric_sources_new(&item, 1, false, &err);
  assert_non_null(sources);
  return sources;
}

/* One piece through a reader that is restored and saved around it, as the service does. */
static int64_t feed(const struct metric_sources *sources, struct buf *state, const struct file_piece *piece, struct buf *out) {
  struct err err;
  int64_t next = -2;
  struct file_reader *reader = file_reader_new(sources, 0, &err);
  assert_non_null(reader);
  if (state->n)
    assert_true(file_reader_restore(reader, buf_str(state), &err));
  if (!file_reader_feed(reader, piece, collect, out, &next, &err)) {
    assert_int_equal(err.code, ERR_RANGE);
    next = file_reader_next(reader);
  }
  buf_reset(state);
  file_reader_save(reader, state);
  assert_true(buf_ok(state, &err));
  file_reader_free(reader);
  return next;
}

struct row {
  struct file_piece piece;
  int64_t next;
  const char *points;
};

static void expect(struct metric_sources *sources, const struct row *rows, size_t count) {
  AUTO_BUF struct buf state = BUF_INIT(FILE_READER_STATE_MAX);
  for (size_t i = 0; i < count; i++) {
    AUTO_BUF struct buf out = BUF_INIT(64 * KIB);
    int64_t next = feed(sources, &state, &rows[i].piece, &out);
    if (next != rows[i].next || strcmp(buf_text(&out), rows[i].points) != 0)
      fail_msg("piece %zu: next %lld, points %s", i, (long long)next, buf_text(&out));
  }
  metric_sources_unref(sources);
}
#define EXPECT(sources, ...)                         \
  do {                                               \
    static const struct row rows_[] = {__VA_ARGS__}; \
    expect((sources), rows_, ARRAY_LEN(rows_));      \
  } while (0)
#define BYTES(literal) \
  { "" literal, sizeof(literal) - 1 }

static void test_a_growing_file(void **state) {
  (void)state;
  EXPECT(source(SOURCE_JSON, NULL, "p/"), {{.bytes = BYTES("{\"step\": 1, \"a\": 0.5}\n{\"st")}, 26, "p/a=0.5@1 "},
         {{.offset = 99, .bytes = BYTES("x")}, 26, ""},                                     /* a gap */
         {{.offset = 22, .bytes = BYTES("{\"step\": 2, \"a\": 0.6}\n")}, 44, "p/a=0.6@2 "}, /* a piece said again in part */
         {{.offset = 44, .bytes = BYTES("{\"step\": 3, \"a\": 7}")}, 63, ""}, {{.offset = 63, .is_last = true}, 63, "p/a=7@3 "},
         {{.offset = 63, .is_last = true}, 63, ""});
}

static void test_a_file_that_is_written_anew(void **state) {
  (void)state;
  EXPECT(source(SOURCE_CSV, NULL, NULL), {{.bytes = BYTES("step,a\n1,2\n")}, 11, "a=2@1 "},
         /* the same, with more: nothing is given twice */
         {{.generation = 1, .bytes = BYTES("step,")}, 5, ""},
         {{.generation = 1, .offset = 5, .bytes = BYTES("a\n1,2\n2,3\n")}, 15, "a=3@2 "},
         /* another, with other points: from its beginning */
         {{.generation = 2, .bytes = BYTES("step,b\n1,5\n2,6\n3,7\n")}, 0, ""},
         {{.generation = 2, .bytes = BYTES("step,b\n1,5\n2,6\n3,7\n")}, 19, "b=5@1 b=6@2 b=7@3 "},
         /* shorter, and that is the end: what is left of it was given */
         {{.generation = 3, .bytes = BYTES("step,b\n1,5\n")}, 11, ""}, {{.generation = 3, .offset = 11, .is_last = true}, 0, ""},
         {{.generation = 3, .bytes = BYTES("step,b\n1,5\n")}, 11, ""}, {{.generation = 3, .offset = 11, .is_last = true}, 11, ""},
         {{.generation = 2, .bytes = BYTES("late")}, 11, ""});
}

/* What is other is known long before there is as much of it as there was. */
static void test_a_file_that_begins_anew_and_is_short(void **state) {
  (void)state;
  EXPECT(source(SOURCE_CSV, NULL, NULL),
         {{.bytes = BYTES("step,loss\n0,0.5\n1,0.25\n2,0.125\n")}, 31, "loss=0.5@0 loss=0.25@1 loss=0.125@2 "},
         {{.generation = 1, .bytes = BYTES("step,loss\n0,8\n")}, 14, ""}, {{.generation = 1, .offset = 14, .bytes = BYTES("1,7\n")}, 0, ""},
         {{.generation = 1, .bytes = BYTES("step,loss\n0,8\n1,7\n")}, 18, "loss=8@0 loss=7@1 "},
         /* the same again, in two pieces, and then it goes on otherwise */
         {{.generation = 2, .bytes = BYTES("step,loss\n0,8\n1")}, 15, ""},
         {{.generation = 2, .offset = 15, .bytes = BYTES(",7\n2,6\n")}, 22, "loss=6@2 "},
         {{.generation = 3, .bytes = BYTES("step,loss\n0,9\n1,7\n")}, 0, ""});
}

/* Some of its points stay: given is what is new from there on, be it as long as before or shorter. */
static void test_a_file_that_is_written_anew_in_part(void **state) {
  (void)state;
  EXPECT(source(SOURCE_CSV, NULL, NULL), {{.bytes = BYTES("step,a\n1,2\n2,3\n3,4\n")}, 19, "a=2@1 a=3@2 a=4@3 "},
         {{.generation = 1, .bytes = BYTES("step, a\n1,2\n2,8\n")}, 0, ""}, /* other bytes */
         {{.generation = 1, .bytes = BYTES("step, a\n1,2\n2,8\n")}, 16, "a=8@2 "},
         {{.generation = 1, .offset = 16, .is_last = true}, 16, ""},
         {{.generation = 2, .bytes = BYTES("step,a\n1,2\n2,3\n3,4\n")}, 0, ""}, /* as it was at first */
         {{.generation = 2, .bytes = BYTES("step,a\n1,2\n2,3\n3,4\n")}, 19, "a=3@2 a=4@3 "});
}

static void put_rows(struct buf *file, int rows) {
  buf_puts(file, "step,a\n");
  for (int i = 0; i < rows; i++)
    buf_printf(file, "%d,%d\n", i, i % 7);
}

/* The first `rows` rows of a long file, and one more where `last` is not empty, under the next generation: what is given of it. */
static void cut_to(struct metric_sources *sources, struct buf *stored, struct str text, int rows, const char *last, struct buf *out) {
  static uint64_t generation;
  AUTO_BUF struct buf file = BUF_INIT(MIB);
  char next_row[16];
  snprintf(next_row, sizeof next_row, "\n%d,", rows);
  buf_add_str(&file, str_slice(text, 0, 1 + MIN_OF(str_find_str(text, str_of(next_row)), text.n)));
  buf_puts(&file, last);
  struct file_piece cut = {.generation = ++generation, .bytes = buf_str(&file)};
  struct file_piece end = {.generation = generation, .offset = (int64_t)file.n, .is_last = true};
  buf_reset(out);
  if (feed(sources, stored, &cut, out) == 0 || feed(sources, stored, &end, out) == 0) {
    feed(sources, stored, &cut, out);
    assert_int_equal(feed(sources, stored, &end, out), cut.bytes.n);
  }
}

/* Of more points than are known one by one those in the middle are known by marks alone. */
static void test_a_long_file_that_is_cut(void **state) {
  (void)state;
  static const int rows[] = {1999, 5000, 4800, 5000, 4499, 2048, 5000, 0};
  struct metric_sources *sources = source(SOURCE_CSV, NULL, NULL);
  AUTO_BUF struct buf file = BUF_INIT(MIB), stored = BUF_INIT(FILE_READER_STATE_MAX), out = BUF_INIT(MIB);
  put_rows(&file, 5000);
  struct file_piece whole = {.bytes = buf_str(&file)};
  assert_int_equal(feed(sources, &stored, &whole, &out), file.n);
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) { /* among the first or the last ones; all */
    cut_to(sources, &stored, buf_str(&file), rows[i], "", &out);
    assert_string_equal(buf_text(&out), "");
  }
  cut_to(sources, &stored, buf_str(&file), 4700, "4700,9\n", &out);
  assert_string_equal(buf_text(&out), "a=9@4700 ");
  cut_to(sources, &stored, buf_str(&file), 4700, "", &out);
  assert_string_equal(buf_text(&out), "");
  cut_to(sources, &stored, buf_str(&file), 1000, "1000,9\n", &out);
  assert_string_equal(buf_text(&out), "a=9@1000 ");
  cut_to(sources, &stored, buf_str(&file), 1001, "", &out);
  assert_string_equal(buf_text(&out), "a=6@1000 ");
  metric_sources_unref(sources);
}

/* As it was stored before the last points were known one by one; of no more than are kept one by one anyway. */
static void make_older(struct buf *state) {
  struct str rest = buf_str(state);
  struct reread reread;
  bool bad = false;
  AUTO_BUF struct buf older = BUF_INIT(FILE_READER_STATE_MAX);
  pack_u64(&older, unpack_u64(&rest, &bad) - 1);
  size_t from = state->n - rest.n;
  for (int i = 0; i < 2; i++)
    unpack_u64(&rest, &bad);
  for (int i = 0; i < 2; i++)
    reread_restore(&reread, true, &rest, &bad);
  for (int i = 0; i < 2; i++)
    unpack_u64(&rest, &bad);
  for (uint64_t count = unpack_u64(&rest, &bad); count > 0; count--)
    unpack_u64(&rest, &bad);
  buf_add_str(&older, str_slice(buf_str(state), from, state->n - rest.n));
  unpack_u64(&rest, &bad);
  buf_add_str(&older, rest);
  assert_false(bad);
  buf_reset(state);
  buf_add_str(state, buf_str(&older));
}

static void test_what_was_stored_before_goes_on(void **state) {
  (void)state;
  static const int rows[] = {1, 512, 513, 2048};
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    struct metric_sources *sources = source(SOURCE_CSV, NULL, NULL);
    AUTO_BUF struct buf file = BUF_INIT(MIB), stored = BUF_INIT(FILE_READER_STATE_MAX), out = BUF_INIT(MIB);
    put_rows(&file, rows[i]);
    struct file_piece piece = {.bytes = buf_str(&file)};
    assert_int_equal(feed(sources, &stored, &piece, &out), file.n);
    make_older(&stored);
    buf_reset(&out);
    struct file_piece nothing = {.offset = (int64_t)file.n};
    for (int again = 0; again < 2; again++)
      assert_int_equal(feed(sources, &stored, &nothing, &out), file.n);
    cut_to(sources, &stored, buf_str(&file), rows[i] - 1, "", &out);
    assert_string_equal(buf_text(&out), "");
    metric_sources_unref(sources);
  }
}

/* What is other among those in the middle is seen when points come that are known. */
static void test_a_long_file_with_another_middle(void **state) {
  (void)state;
  struct metric_sources *sources = source(SOURCE_CSV, NULL, NULL);
  AUTO_BUF struct buf file = BUF_INIT(MIB), stored = BUF_INIT(FILE_READER_STATE_MAX), out = BUF_INIT(MIB);
  put_rows(&file, 5000);
  struct file_piece piece = {.bytes = buf_str(&file)};
  assert_int_equal(feed(sources, &stored, &piece, &out), file.n);
  AUTO_BUF struct buf before = BUF_INIT(MIB);
  buf_puts(&before, buf_text(&out));
  file.p[str_find_str(buf_str(&file), STR("\n4400,")) + 6] = '9';
  piece.generation = 1;
  buf_reset(&out);
  assert_int_equal(feed(sources, &stored, &piece, &out), 0); /* other bytes */
  assert_int_equal(feed(sources, &stored, &piece, &out), 0); /* other points */
  assert_string_equal(buf_text(&out), "");
  assert_int_equal(feed(sources, &stored, &piece, &out), file.n);
  assert_int_equal(out.n, before.n); /* all of them */
  assert_true(str_find_str(buf_str(&out), STR(" a=9@4400 ")) < out.n);
  metric_sources_unref(sources);
}

/* A logger that writes all rows again when a column comes to them: other bytes, and points that were given before. */
static void test_a_file_that_gets_another_column(void **state) {
  (void)state;
  EXPECT(source(SOURCE_CSV, NULL, NULL), {{.bytes = BYTES("step,loss\n1,0.5\n2,0.4\n")}, 22, "loss=0.5@1 loss=0.4@2 "},
         {{.generation = 1, .bytes = BYTES("step,loss,acc\n1,0.5,\n2,0.4,\n2,,0.9\n")}, 0, ""},
         {{.generation = 1, .bytes = BYTES("step,loss,acc\n1,0.5,\n2,0.4,\n2,,0")}, 32, ""},
         {{.generation = 1, .offset = 32, .bytes = BYTES(".9\n")}, 35, "acc=0.9@2 "},
         {{.generation = 2, .bytes = BYTES("step,loss,acc,f1\n1,0.5,,\n2,0.4,,\n2,,0.8,\n")}, 0, ""},
         {{.generation = 2, .bytes = BYTES("step,loss,acc,f1\n1,0.5,,\n2,0.4,,\n2,,0.8,\n")}, 41, "acc=0.8@2 "}); /* another point, too */
}

static void test_a_list(void **state) {
  (void)state;
  EXPECT(source(SOURCE_JSON, NULL, NULL), {{.is_snapshot = true, .bytes = BYTES("[{\"epoch\": 1, \"a\": 1}]")}, 22, "a=1@1 "},
         {{.is_snapshot = true, .bytes = BYTES("[{\"epoch\": 1, \"a\": 1}, {\"epoch\": 2, \"a\": 2}]")}, 44, "a=2@2 "},
         {{.is_snapshot = true, .bytes = BYTES("[{\"epoch\": 1, \"a\": 1}, {\"epoch\": 2, \"a\": 2}]")}, 44, ""});
}

static void test_text(void **state) {
  (void)state;
  EXPECT(source(SOURCE_TEXT, NULL, "f/"), {{.bytes = BYTES("step 3 loss=0.25\n")}, 17, "f/loss=0.25@3 "});
  EXPECT(source(SOURCE_TEXT, "at (?P<step>\\d+) it is (?P<x>\\d+)", "f/"), {{.bytes = BYTES("loss=1\nat 3 it is 4\n")}, 20, "f/x=4@3 "});
}

static void test_what_cannot_be_read_is_not_wanted(void **state) {
  (void)state;
  EXPECT(source(SOURCE_TFEVENTS, NULL, NULL), {{.bytes = BYTES("this is no event file at all, is it?")}, FILE_READER_ENOUGH, ""},
         {{.offset = 36, .bytes = BYTES("more")}, FILE_READER_ENOUGH, ""});
}

static void test_states_that_cannot_be(void **state) {
  (void)state;
  struct err err;
  struct metric_sources *sources = source(SOURCE_JSON, NULL, NULL);
  struct file_reader *reader = file_reader_new(sources, 0, &err);
  AUTO_BUF struct buf good = BUF_INIT(FILE_READER_STATE_MAX);
  file_reader_save(reader, &good);
  for (size_t n = 0; n < good.n; n++)
    assert_false(file_reader_restore(reader, str_n(good.p, n), &err));
  assert_true(file_reader_restore(reader, buf_str(&good), &err));
  file_reader_free(reader);
  metric_sources_unref(sources);
}

static void test_points_keep_their_own_time(void **state) {
  (void)state;
  struct err err;
  struct found_points found = FOUND_POINTS_INIT;
  const struct log_point points[] = {{.key = BYTES("a"), .value = 1, .at = 1}, {.key = BYTES("b"), .value = 2, .at = 1, .time_ms = 77}};
  found.time = 5;
  assert_true(found_points_take(&found, points, 2, &err));
  assert_int_equal(found.items[0].time, 5);
  assert_int_equal(found.items[1].time, 77);
  found_points_release(&found);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_growing_file),
      cmocka_unit_test(test_a_file_that_is_written_anew),
      cmocka_unit_test(test_a_file_that_begins_anew_and_is_short),
      cmocka_unit_test(test_a_file_that_is_written_anew_in_part),
      cmocka_unit_test(test_a_long_file_that_is_cut),
      cmocka_unit_test(test_what_was_stored_before_goes_on),
      cmocka_unit_test(test_a_long_file_with_another_middle),
      cmocka_unit_test(test_a_file_that_gets_another_column),
      cmocka_unit_test(test_a_list),
      cmocka_unit_test(test_text),
      cmocka_unit_test(test_what_cannot_be_read_is_not_wanted),
      cmocka_unit_test(test_states_that_cannot_be),
      cmocka_unit_test(test_points_keep_their_own_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
