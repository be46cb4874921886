#include <math.h>

#include "tests/support/test.h"
#include "tracker/logs/metric_file.h"
#include "tracker/logs/tfevents.h"

static bool collect(void *ctx, const struct log_point *points, size_t n, struct err *err) {
  (void)err;
  for (size_t i = 0; i < n; i++)
    buf_printf(ctx, "%llu:%.*s=%.9g@%g/%g ", (unsigned long long)points[i].line, STR_ARG(points[i].key), points[i].value, points[i].step,
               points[i].epoch);
  return true;
}

/* The file in pieces of every length; from `piece` to `piece` the state is saved and restored. */
static void expect(enum metric_format format, const char *prefix, struct str content, const char *points, uint64_t bad) {
  for (size_t piece = 1; piece <= content.n; piece++) {
    struct err err = {0};
    struct metric_file *file = metric_file_new(format, prefix, &err);
    AUTO_BUF struct buf out = BUF_INIT(64 * KIB);
    for (size_t at = 0; at < content.n; at += piece) {
      if (!metric_file_feed(file, str_slice(content, at, at + piece), collect, &out, &err))
        fail_msg("%s", err.text);
      AUTO_BUF struct buf state = BUF_INIT(METRIC_FILE_STATE_MAX);
      metric_file_save(file, &state);
      metric_file_free(file);
      file = metric_file_new(format, prefix, &err);
      assert_true(metric_file_restore(file, buf_str(&state), &err));
    }
    assert_true(metric_file_end(file, collect, &out, &err));
    assert_string_equal(buf_text(&out), points);
    assert_int_equal(metric_file_bad(file), bad);
    metric_file_free(file);
  }
}

static void test_jsonl(void **state) {
  (void)state;
  expect(METRIC_JSONL, "log/", STR("{\"step\": 1, \"loss\": 0.5, \"batch_size\": 3}\n\nnonsense\n{\"epoch\": 2, \"val\": {\"acc\": NaN}}"),
         "1:log/loss=0.5@1/nan 1:log/batch_size=3@1/nan 4:log/val/acc=nan@nan/2 ", 1);
}

static void test_csv(void **state) {
  (void)state;
  expect(METRIC_CSV, NULL, STR("epoch,\"train, loss\",acc\r\n1,0.5,0.8\r\n# comment\n2,,0.9\nwords,a,b\n3,0.1,\n"),
         "2:train, loss=0.5@nan/1 2:acc=0.8@nan/1 4:acc=0.9@nan/2 6:train, loss=0.1@nan/3 ", 1);
  expect(METRIC_CSV, NULL, STR("step;loss\n10;0.5\n"), "2:loss=0.5@10/nan ", 0);
  expect(METRIC_CSV, NULL, STR("step;loss;acc\n1;0,25;1.5\n2;-1,5e-3;1,234.5\n"), "2:loss=0.25@1/nan 2:acc=1.5@1/nan 3:loss=-0.0015@2/nan ",
         0);
  expect(METRIC_CSV, NULL, STR("1,0.5\n2,0.4\nstep,loss\n3,0.3\n"), "4:loss=0.3@3/nan ", 2); /* numbers are no names */
}

static void expect_snapshot(struct metric_file *file, const char *content, const char *points) {
  struct err err = {0};
  AUTO_BUF struct buf out = BUF_INIT(64 * KIB);
  assert_true(metric_file_snapshot(file, str_of(content), collect, &out, &err));
  assert_string_equal(buf_text(&out), points);
}

static void test_snapshot(void **state) {
  (void)state;
  struct err err = {0};
  struct metric_file *file = metric_file_new(METRIC_JSON, NULL, &err);
  expect_snapshot(file, "[{\"main/loss\": 0.5, \"epoch\": 1}", "1:main/loss=0.5@nan/1 ");
  expect_snapshot(file, "[{\"main/loss\": 0.5, \"epoch\": 1}, {\"main/loss\": 0.4, \"epoch\": 2}]", "2:main/loss=0.4@nan/2 ");
  expect_snapshot(file, "[{\"main/loss\": 0.5, \"epoch\": 1}, {\"main/loss\": 0.4, \"epoch\": 2}]", "");
  expect_snapshot(file, "[\n{\"main/loss\": 0.5, \"epoch\": 1},\n{\"main/loss\": 0.4, \"epoch\": 2}\n]",
                  "");                                                                     /* blanks between do not count */
  expect_snapshot(file, "[{\"main/loss\": 0.7, \"epoch\": 1}]", "1:main/loss=0.7@nan/1 "); /* another run's list */
  assert_false(metric_file_feed(file, STR("[]"), collect, NULL, &err));
  metric_file_free(file);
}

/* An object that is written anew with each report: without a place of its own it stands at the next one. */
static void test_an_object(void **state) {
  (void)state;
  struct err err = {0};
  struct metric_file *file = metric_file_new(METRIC_JSON, NULL, &err);
  expect_snapshot(file, "{\n  \"acc\": 0.5,\n  \"val\": {\n    \"f1\": 1\n  }", "");
  expect_snapshot(file, "{\n  \"acc\": 0.5,\n  \"val\": {\n    \"f1\": 1\n  }\n}\n", "2:acc=0.5@nan/nan 4:val/f1=1@nan/nan ");
  expect_snapshot(file, "{\n  \"acc\": 0.5,\n  \"val\": {\n    \"f1\": 1\n  }\n}\n", "");
  expect_snapshot(file, "{\n  \"acc\": 0.75\n}\n", "2:acc=0.75@nan/nan ");
  expect_snapshot(file, "{\n  \"acc\": 0.75,\n  \"epoch\": 7\n}\n", "2:acc=0.75@nan/7 ");
  metric_file_free(file);
}

/* ---- event files ---- */

static void put_little(struct buf *out, uint64_t value, unsigned n) {
  for (unsigned i = 0; i < n; i++)
    buf_putc(out, (char)(value >> (8 * i)));
}

static void put_frame(struct buf *out, struct str content) {
  AUTO_BUF struct buf length = BUF_INIT(16);
  put_little(&length, content.n, 8);
  buf_add_str(out, buf_str(&length));
  put_little(out, tfevents_masked_crc(buf_str(&length)), 4);
  buf_add_str(out, content);
  put_little(out, tfevents_masked_crc(content), 4);
}

static void put_scalar(struct buf *out, const char *tag, float value, int step) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  AUTO_BUF struct buf inner = BUF_INIT(256), summary = BUF_INIT(256), event = BUF_INIT(256);
  buf_printf(&inner, "%c%c%s%c", 0x0a, (int)strlen(tag), tag, 0x15);
  put_little(&inner, bits, 4);
  buf_printf(&summary, "%c%c", 0x0a, (int)inner.n);
  buf_add_str(&summary, buf_str(&inner));
  buf_putc(&event, 0x09);
  double seconds = 1500000000.25;
  uint64_t wall;
  memcpy(&wall, &seconds, sizeof wall);
  put_little(&event, wall, 8);
  buf_printf(&event, "%c%c%c%c", 0x10, step, 0x2a, (int)summary.n);
  buf_add_str(&event, buf_str(&summary));
  put_frame(out, buf_str(&event));
}

static void test_tfevents(void **state) {
  (void)state;
  AUTO_BUF struct buf file = BUF_INIT(64 * KIB);
  put_frame(&file, STR("\x09\0\0\0\0\0\0\0\0\x1a\x0d"
                       "brain.Event:2"));
  put_scalar(&file, "loss", 0.5f, 1);
  put_scalar(&file, "val/acc", NAN, 100);
  /* TensorFlow 2: a tensor with float_val, and one with tensor_content */
  put_frame(&file, STR("\x10\x02\x2a\x11\x0a\x0f\x0a\x01"
                       "a"
                       "\x42\x0a\x08\x01\x12\x00\x2a\x04\x00\x00\x80\x3f"));
  put_frame(&file, STR("\x10\x03\x2a\x11\x0a\x0f\x0a\x01"
                       "b"
                       "\x42\x0a\x08\x01\x12\x00\x22\x04\x00\x00\x00\x40"));
  expect(METRIC_TFEVENTS, NULL, buf_str(&file), "2:loss=0.5@1/nan 3:val/acc=nan@100/nan 4:a=1@2/nan 5:b=2@3/nan ", 0);
}

static void test_tfevents_broken(void **state) {
  (void)state;
  struct err err = {0};
  AUTO_BUF struct buf content = BUF_INIT(64 * KIB), out = BUF_INIT(KIB);
  put_scalar(&content, "loss", 0.5f, 1);
  put_scalar(&content, "loss", 0.4f, 2);
  content.p[content.n - 6] ^= 1;
  struct metric_file *file = metric_file_new(METRIC_TFEVENTS, NULL, &err);
  assert_false(metric_file_feed(file, buf_str(&content), collect, &out, &err));
  assert_int_equal(err.code, ERR_INVALID);
  assert_string_equal(buf_text(&out), "1:loss=0.5@1/nan ");
  assert_false(metric_file_feed(file, STR("x"), collect, &out, &err));
  metric_file_free(file);
}

static void test_large_record_is_passed_over(void **state) {
  (void)state;
  struct err err = {0};
  AUTO_BUF struct buf content = BUF_INIT(4 * MIB), out = BUF_INIT(KIB), graph = BUF_INIT(2 * MIB);
  char *room = buf_room(&graph, MIB);
  assert_non_null(room);
  memset(room, 0x10, MIB);
  buf_grew(&graph, MIB);
  put_frame(&content, buf_str(&graph));
  put_scalar(&content, "loss", 0.5f, 1);
  struct metric_file *file = metric_file_new(METRIC_TFEVENTS, NULL, &err);
  for (size_t at = 0; at < content.n; at += 70000)
    assert_true(metric_file_feed(file, str_slice(buf_str(&content), at, at + 70000), collect, &out, &err));
  assert_string_equal(buf_text(&out), "2:loss=0.5@1/nan ");
  metric_file_free(file);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_jsonl),           cmocka_unit_test(test_csv),
      cmocka_unit_test(test_snapshot),        cmocka_unit_test(test_tfevents),
      cmocka_unit_test(test_tfevents_broken), cmocka_unit_test(test_large_record_is_passed_over),
      cmocka_unit_test(test_an_object),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
