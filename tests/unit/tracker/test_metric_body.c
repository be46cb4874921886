/* Hot bodies: what clients send is read straight into columns, everything else is left to the tree. */
#include "base/json.h"
#include "tests/support/test.h"
#include "tracker/metric_body.h"

#define METRIC(text) "{\"run_id\":\"r\",\"metrics\":[" text "]}"
#define M1 "{\"key\":\"a\",\"value\":1,\"timestamp\":5,\"step\":2}"

static struct arena arena = ARENA_INIT(MIB);

static void reads_what_clients_send(void **state UNUSED) {
  struct str body = STR("{\"run_uuid\":\"u\",\"run_id\":\"r\\u00e9\",\"metrics\":["
                        "{\"key\":\"loss\",\"value\":0.5,\"timestamp\":1,\"step\":-3},"
                        "{\"key\":\"acc\",\"value\":\"NaN\",\"timestamp\":2,\"step\":9223372036854775807},"
                        "{\"step\":4,\"timestamp\":3,\"value\":7,\"key\":\"loss\",\"other\":{\"x\":[1,2]}},"
                        "{\"key\":\"acc\",\"value\":\"-Infinity\",\"timestamp\":4},"
                        "{\"key\":\"f1\",\"value\":-0.0,\"timestamp\":5,\"step\":0}],"
                        "\"params\":[{\"key\":\"lr\",\"value\":\"0.1\"},{\"key\":\"e\",\"value\":\"\"}],\"tags\":[],\"unknown\":null}");
  struct log_batch_body got;
  assert_true(log_batch_read(body, &arena, &got));
  assert_true(str_is(got.run_id, "r\u00e9"));
  assert_int_equal(got.rows.points.n, 5);
  assert_int_equal(got.rows.key_count, 3);
  const uint32_t series[] = {0, 1, 0, 1, 2};
  assert_memory_equal(got.rows.series, series, sizeof series);
  assert_true(str_is(got.rows.keys[2], "f1"));
  assert_int_equal(got.rows.points.step[0], -3);
  assert_int_equal(got.rows.points.step[1], INT64_MAX);
  assert_int_equal(got.rows.points.step[3], 0);
  assert_true(isnan(got.rows.points.value[1]) && got.rows.points.value[3] == -INFINITY);
  assert_true(value_bits(got.rows.points.value[4]) == value_bits(-0.0));
  assert_int_equal(got.param_count, 2);
  assert_true(str_is(got.params[1].key, "e") && got.params[1].value.n == 0);
  assert_int_equal(got.tag_count, 0);
  metric_rows_release(&got.rows);
}

static void leaves_the_unusual(void **state UNUSED) {
  static const char *const unusual[] = {"",
                                        "[]",
                                        "{",
                                        METRIC(M1) "x",
                                        METRIC("{\"value\":1,\"timestamp\":5}"),
                                        METRIC("{\"key\":\"\",\"value\":1,\"timestamp\":5}"),
                                        METRIC("{\"key\":\"a\",\"timestamp\":5}"),
                                        METRIC("{\"key\":\"a\",\"value\":1}"),
                                        METRIC("{\"key\":\"a\",\"value\":\"1\",\"timestamp\":5}"),
                                        METRIC("{\"key\":\"a\",\"value\":true,\"timestamp\":5}"),
                                        METRIC("{\"key\":\"a\",\"value\":1,\"timestamp\":\"5\"}"),
                                        METRIC("{\"key\":\"a\",\"value\":1,\"timestamp\":-1}"),
                                        METRIC("{\"key\":\"a\",\"value\":1,\"timestamp\":5.0}"),
                                        METRIC("{\"key\":\"a\",\"value\":1,\"timestamp\":5,\"step\":null}"),
                                        METRIC("{\"key\":\"a\",\"value\":1,\"timestamp\":5,\"model_id\":\"m\"}"),
                                        METRIC("{\"key\":\"a\",\"key\":\"b\",\"value\":1,\"timestamp\":5}"),
                                        METRIC("1"),
                                        "{\"metrics\":{}}",
                                        "{\"run_id\":1}",
                                        "{\"params\":[{\"key\":\"a\"}]}",
                                        "{\"params\":[{\"key\":\"a\",\"value\":1}]}",
                                        "{\"tags\":[null]}"};
  for (size_t i = 0; i < ARRAY_LEN(unusual); i++) {
    struct log_batch_body got;
    assert_false(log_batch_read(str_of(unusual[i]), &arena, &got));
    metric_rows_release(&got.rows);
  }
}

/* What clients send for what they leave out, and whole numbers as they come out of tables. */
static void points_of_tables(void **state UNUSED) {
  AUTO_METRIC_ROWS struct metric_rows rows;
  struct points_stop stop;
  assert_true(points_body_read(STR("{\"points\":[{\"key\":\"a\",\"value\":1,\"step\":3.0,\"time\":null,\"epoch\":null},"
                                   "{\"key\":\"a\",\"value\":\"NaN\",\"step\":4,\"time\":5e3,\"epoch\":1}]}"),
                               &arena, 77, &rows, &stop));
  assert_int_equal(rows.points.n, 2);
  assert_int_equal(rows.points.step[0], 3);
  assert_int_equal(rows.points.time[0], 77);
  assert_true(isnan(rows.points.epoch[0]));
  assert_int_equal(rows.points.time[1], 5000);
}

static void limits(void **state UNUSED) {
  for (int n = LOG_BATCH_METRICS; n <= LOG_BATCH_METRICS + 1; n++) {
    AUTO_BUF struct buf body = BUF_INIT(MIB);
    buf_puts(&body, "{\"metrics\":[");
    for (int i = 0; i < n; i++)
      buf_printf(&body, "%s" M1, i ? "," : "");
    buf_puts(&body, "]}");
    struct log_batch_body got;
    assert_int_equal(log_batch_read(buf_str(&body), &arena, &got), n == LOG_BATCH_METRICS);
    metric_rows_release(&got.rows);
  }
}

static void our_points(void **state UNUSED) {
  struct metric_rows rows;
  struct points_stop stop;
  assert_true(points_body_read(STR("{\"points\":[{\"key\":\"a\",\"value\":1e-3,\"step\":1,\"epoch\":0.5},"
                                   "{\"key\":\"b\",\"value\":\"Infinity\",\"step\":2,\"time\":7}]}"),
                               &arena, 99, &rows, &stop));
  assert_int_equal(rows.points.n, 2);
  assert_int_equal(rows.points.time[0], 99);
  assert_int_equal(rows.points.time[1], 7);
  assert_true(rows.points.epoch[0] == 0.5 && isnan(rows.points.epoch[1]));
  metric_rows_release(&rows);
  /* Up to where it is understood, and what follows. */
  static const struct {
    const char *text, *rest;
    bool is_beside;
  } unusual[] = {
      {"{", "}", true},
      {"{\"points\":", "1}", false},
      {"{\"key\":", "\"a\",\"points\":[]}", true},
      {"{\"points\":[],\"x\":", "1}", true},
      {"{\"points\":[{\"key\":\"a\",\"value\":1}", "]}", false},
      {"{\"points\":[{\"key\":\"a\",\"value\":1,\"step\":1,\"stepp\":", "2}]}", false},
      {"{\"points\":[{\"key\":\"a\",\"value\":1,\"step\":1,\"epoch\":\"NaN\"", "}]}", false},
  };
  for (size_t i = 0; i < ARRAY_LEN(unusual); i++) {
    AUTO_BUF struct buf body = BUF_INIT(KIB);
    buf_printf(&body, "%s%s", unusual[i].text, unusual[i].rest);
    assert_false(points_body_read(buf_str(&body), &arena, 0, &rows, &stop));
    assert_int_equal(stop.is_beside, unusual[i].is_beside);
    assert_in_range(stop.at, strlen(unusual[i].text), strlen(unusual[i].text) + 1);
    metric_rows_release(&rows);
  }
}

struct seen {
  struct str keys[4];
  size_t points[4], count;
};

static bool see(void *ctx, struct str key, const struct points *points) {
  struct seen *seen = ctx;
  seen->points[seen->count] = points->n;
  assert_true(key.n == 1 && key.p[0] == (char)('a' + seen->count));
  seen->count++;
  return true;
}

static void rows_become_batches(void **state UNUSED) {
  struct column_coder *coder = column_coder_new();
  assert_non_null(coder);
  AUTO_METRIC_ROWS struct metric_rows rows;
  metric_rows_init(&rows);
  static const char keys[] = "abcabbca";
  for (size_t i = 0; i < sizeof keys - 1; i++)
    assert_true(metric_rows_add(&rows, str_n(keys + i, 1), (struct point){(int64_t)i, 0, (double)i, NAN}));
  AUTO_BUF struct buf out = BUF_INIT(MIB);
  metric_rows_put(&rows, 0, rows.points.n, coder, &out);
  struct seen seen = {.count = 0};
  struct err err;
  assert_true(batch_get(coder, buf_str(&out), see, &seen, &err));
  assert_int_equal(seen.count, 3);
  assert_int_equal(seen.points[0], 3);
  assert_int_equal(seen.points[1], 3);
  assert_int_equal(seen.points[2], 2);
  struct fold folds[3];
  metric_rows_fold(&rows, folds);
  assert_true(folds[0].count == 3 && folds[0].last.step == 7 && folds[0].min == 0 && folds[0].max_step == 7);
  column_coder_free(coder);
}

static int release(void **state UNUSED) {
  arena_release(&arena);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_what_clients_send),
      cmocka_unit_test(leaves_the_unusual),
      cmocka_unit_test(points_of_tables),
      cmocka_unit_test(limits),
      cmocka_unit_test(our_points),
      cmocka_unit_test(rows_become_batches),
  };
  return cmocka_run_group_tests(tests, NULL, release);
}
