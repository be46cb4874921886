/* The goal metric is heard wherever a person would hear it. */
#include "sweeper/file/sweep_sources.h"
#include <math.h>

#include "tests/support/test.h"

static size_t heard;
static double last;

static bool sink(void *ctx, const struct log_point *points, size_t count, struct err *err UNUSED) {
  for (size_t i = 0; i < count; i++)
    if (str_eq(points[i].key, *(const struct str *)ctx)) {
      heard++;
      last = points[i].value;
    }
  return true;
}

/* The value of `name` in `text`; -1: none. */
static double value_in(const char *name, const char *alias, const char *text) {
  struct str alias_text = str_of(alias ? alias : ""), key = str_of(name), names[] = {key, alias_text};
  const struct spec_texts wanted = {names, alias ? 2 : 1};
  struct log_pattern_spec specs[METRIC_SOURCES_MAX];
  struct log_metrics_options options;
  struct metric_sources *sources;
  struct err err;
  assert_true(sweep_sources_make(&(struct spec_objects){0}, &wanted, &sources, &err));
  metric_sources_of_stream(sources, 0, specs, &options);
  struct log_metrics *m = log_metrics_new(&options, &err);
  assert_non_null(m);
  heard = 0;
  last = -1;
  assert_true(log_metrics_feed(m, str_of(text), sink, alias ? &alias_text : &key, &err));
  assert_true(log_metrics_end(m, sink, alias ? &alias_text : &key, &err));
  log_metrics_free(m);
  metric_sources_unref(sources);
  return last;
}

static void a_files_format_is_told_by_its_name(void **state UNUSED) {
  static const struct {
    const char *file;
    int format;
  } rows[] = {{"runs/**/events.out.tfevents.*", SOURCE_TFEVENTS},
              {"tb/events*", SOURCE_TFEVENTS},
              {"events*", SOURCE_TFEVENTS},
              {"tb/events.out*", SOURCE_TFEVENTS},
              {"events.log", SOURCE_TEXT},
              {"events/m.txt", SOURCE_TEXT},
              {"logs/events.out", SOURCE_TEXT},
              {"events.csv", SOURCE_CSV},
              {"a/log.ndjson", SOURCE_JSON},
              {"old_events", SOURCE_TEXT}};
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    struct sweep_metrics_source source = {.file = str_of(rows[i].file)};
    struct spec_problems errors = {0};
    sweep_source_check(&source, NULL, "metrics_from[0]", &errors);
    assert_int_equal(source.format, rows[i].format);
  }
}

static void an_unusual_name_is_heard(void **state UNUSED) {
  assert_float_equal(value_in("foo", NULL, "foo=0.25\n"), 0.25, 0);
  assert_float_equal(value_in("foo", NULL, "the result: foo 3\n"), 3, 0);
  assert_float_equal(value_in("foo", NULL, "step 3 foo value was -1.5e-3.\n"), -1.5e-3, 0);
  assert_float_equal(value_in("my_goal/x+y", NULL, "{\"my_goal/x+y\": 7}\n"), 7, 0);
  assert_float_equal(value_in("wall \\E clock", NULL, "wall \\E clock: 2 s\n"), 2, 0);
  assert_float_equal(value_in("zulu", "tango", "tango := 4\n"), 4, 0);
  assert_true(isinf(value_in("foo", NULL, "foo = inf\n")));
  value_in("foo", NULL, "foo=1\nfoo=2\nbar=5\nfoo=3\n");
  assert_int_equal(heard, 3);
}

static void a_part_of_a_name_or_a_word_is_not(void **state UNUSED) {
  assert_float_equal(value_in("foo", NULL, "foo_scale=2\n"), -1, 0);
  assert_float_equal(value_in("foo", NULL, "val.foo=2\n"), -1, 0);
  assert_float_equal(value_in("foo", NULL, "no-foo: 3\n"), -1, 0);
  assert_float_equal(value_in("foo", NULL, "foo=2024-01-02\n"), -1, 0);
  assert_float_equal(value_in("foo", NULL, "foo=3x\n"), -1, 0);
  assert_float_equal(value_in("foo", NULL, "foo=relu\n"), -1, 0);
}

static void what_is_recognised_is_not_heard_twice(void **state UNUSED) {
  assert_float_equal(value_in("accuracy", NULL, "epoch 1 accuracy: 0.5\n"), 0.5, 0);
  assert_int_equal(heard, 1);
  value_in("accuracy", NULL, "epoch 1 accuracy: 0.5\nbest accuracy: 0.75\n");
  assert_int_equal(heard, 1);
  value_in("loss", NULL, "Epoch 1/2 loss: 0.5 val_loss: 0.7\n");
  assert_int_equal(heard, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_files_format_is_told_by_its_name),
      cmocka_unit_test(an_unusual_name_is_heard),
      cmocka_unit_test(a_part_of_a_name_or_a_word_is_not),
      cmocka_unit_test(what_is_recognised_is_not_heard_twice),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
