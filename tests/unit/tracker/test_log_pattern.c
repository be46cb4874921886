#include <math.h>

#include "base/rng.h"
#include "tests/support/test.h"
#include "tracker/logs/log_metrics.h"

static struct log_pattern *make(const char *pattern, const char *key, const char *when) {
  struct err err = {0};
  struct log_pattern *p = log_pattern_new(&(struct log_pattern_spec){.pattern = pattern, .key = key, .when = when}, &err);
  if (!p)
    fail_msg("%s", err.text);
  return p;
}

static void test_groups(void **state) {
  (void)state;
  struct log_pattern *p = make("acc=(?P<val_accuracy>\\S+) at (?P<step>\\d+)", NULL, NULL);
  const struct log_pattern_hit *hits;
  assert_int_equal(log_pattern_match(p, STR("acc=0.9 at 3, acc=91% at 4"), &hits), 2);
  assert_true(str_is(hits[0].key, "val_accuracy") && hits[0].value == 0.9 && hits[0].step == 3 && isnan(hits[0].epoch));
  assert_true(hits[1].value == 91 && hits[1].step == 4);
  assert_int_equal(log_pattern_match(p, STR("acc=high at 3"), &hits), 0);
  log_pattern_free(p);

  p = make("(?P<name>\\w+) -> (?P<value>\\S+) \\[(?P<time>[^]]+)\\]", NULL, NULL);
  assert_int_equal(log_pattern_match(p, STR("loss -> -inf [2026-11-21T16:00:01.250Z]"), &hits), 1);
  assert_true(str_is(hits[0].key, "loss") && hits[0].value == -INFINITY && hits[0].time_ms == 1795276801250);
  assert_int_equal(log_pattern_match(p, STR("loss -> 1 [1500000000.5]"), &hits), 1);
  assert_int_equal(hits[0].time_ms, 1500000000500);
  log_pattern_free(p);
}

static void test_key_prefix_when(void **state) {
  (void)state;
  struct err err;
  struct log_pattern *p = make("loss (\\S+)", "train_loss", "^TRAIN");
  const struct log_pattern_hit *hits;
  assert_int_equal(log_pattern_match(p, STR("TRAIN loss 0.5"), &hits), 1);
  assert_true(str_is(hits[0].key, "train_loss"));
  assert_int_equal(log_pattern_match(p, STR("TEST loss 0.5"), &hits), 0);
  log_pattern_free(p);
  p = log_pattern_new(&(struct log_pattern_spec){.pattern = "(?P<a>\\d+) (?P<b>\\d+)", .prefix = "x/"}, &err);
  assert_int_equal(log_pattern_match(p, STR("1 2"), &hits), 2);
  assert_true(str_is(hits[0].key, "x/a") && str_is(hits[1].key, "x/b"));
  log_pattern_free(p);
}

static void test_mistakes(void **state) {
  (void)state;
  static const char *const wrong[] = {"loss (", "loss", "(?P<step>\\d+)", "(?P<value>\\d+)", "(\\d+)"};
  for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
    struct err err = {0};
    assert_null(log_pattern_new(&(struct log_pattern_spec){.pattern = wrong[i]}, &err));
    assert_int_equal(err.code, ERR_INVALID);
  }
}

static void test_literal(void **state) {
  (void)state;
  static const struct {
    const char *pattern, *literal;
  } rows[] = {
      {"val_acc=(\\S+)", "val_acc="},
      {"^ *loss: (\\d+)", "loss: "},
      {"(a|b) (\\d+)", " "},
      {"abc|(\\d+)", ""},
      {"ab?cd (\\d+)", "cd "},
      {"\\[loss\\] (.*)", "[loss] "},
      {"(?i)loss (.*)", ""},
      {"x{2}yz(\\d)", "yz"},
      {"(?:acc|loss): (.*) end", " end"},
      {"[abc]de(\\d)", "de"},
      {"a+b(\\d)", "a"},
      {"loss\\x41(\\d)", "loss"},
      {"loss\xc2\xb2?: (\\d)", "loss"}, /* all bytes of a character may be missing, or none */
      {"\xc2\xb5s=(\\d)", "\xc2\xb5s="},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    struct log_pattern *p = make(rows[i].pattern, "k", NULL);
    if (!str_is(log_pattern_literal(p), rows[i].literal))
      fail_msg("%s: '%.*s', not '%s'", rows[i].pattern, STR_ARG(log_pattern_literal(p)), rows[i].literal);
    log_pattern_free(p);
  }
}

static bool collect(void *ctx, const struct log_point *points, size_t n, struct err *err) {
  (void)err;
  for (size_t i = 0; i < n; i++)
    buf_printf(ctx, "%.*s=%g@%g/%g:%lld ", STR_ARG(points[i].key), points[i].value, points[i].step, points[i].epoch,
               (long long)points[i].at);
  return true;
}

/* Whole blocks are searched for what a line needs: with it or without, the same points come out. */
static void test_searched_blocks(void **state) {
  (void)state;
  static const char *const lines[] = {"quality 0.25",
                                      "no match here at all, only words",
                                      "qualit\x1b[1my 1",
                                      "quali\ry 2 quality 2\b3",
                                      "a quality is what it is",
                                      "loss: 3",
                                      "carriage quality 4\r",
                                      "\xff quality 5",
                                      "",
                                      "Quality 6",
                                      "q\x7fuality 7",
                                      "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxquality 8"};
  struct err err = {0};
  const struct log_pattern_spec searched[] = {{.pattern = "quality (?P<q>\\S+)"}, {.pattern = "loss: (?P<loss>\\S+)"}};
  const struct log_pattern_spec plain[] = {{.pattern = "(?:quality) (?P<q>\\S+)"}, {.pattern = "(?:loss): (?P<loss>\\S+)"}};
  struct rng rng = rng_seeded(5);
  for (int round = 0; round < 300; round++) {
    AUTO_BUF struct buf text = BUF_INIT(MIB), one = BUF_INIT(MIB), other = BUF_INIT(MIB);
    for (size_t i = 0, n = 1 + rng_below(&rng, 40); i < n; i++)
      buf_printf(&text, "%s\n", lines[rng_below(&rng, ARRAY_LEN(lines))]);
    size_t piece = 1 + rng_below(&rng, 300);
    for (int how = 0; how < 2; how++) {
      struct log_metrics_options options = {.no_builtin = true, .patterns = how ? plain : searched, .pattern_count = 1 + round % 2};
      struct log_metrics *m = log_metrics_new(&options, &err);
      assert_non_null(m);
      for (size_t at = 0; at < text.n; at += piece)
        assert_true(log_metrics_feed(m, str_slice(buf_str(&text), at, at + piece), collect, how ? &other : &one, &err));
      log_metrics_free(m);
    }
    assert_string_equal(buf_text(&one), buf_text(&other));
  }
}

static void test_runaway(void **state) {
  (void)state;
  struct log_pattern *p = make("(a+)+(\\d)$", "k", NULL);
  const struct log_pattern_hit *hits;
  char line[200];
  memset(line, 'a', sizeof line);
  line[199] = '!';
  assert_int_equal(log_pattern_match(p, str_n(line, sizeof line), &hits), 0);
  assert_true(log_pattern_given_up(p) > 0);
  log_pattern_free(p);
}

static void test_empty_matches_end(void **state) {
  (void)state;
  struct log_pattern *p = make("(\\d*)", "k", NULL);
  const struct log_pattern_hit *hits;
  assert_int_equal(log_pattern_match(p, STR("ab 12 cd"), &hits), 1);
  assert_true(hits[0].value == 12);
  log_pattern_free(p);
}

static void test_beside_builtin(void **state) {
  (void)state;
  struct err err = {0};
  const struct log_pattern_spec specs[] = {{.pattern = "quality (?P<q>\\S+)"}, {.pattern = "loss[:=] (?P<loss>\\S+)"}};
  struct log_metrics_options options = {.patterns = specs, .pattern_count = 2};
  for (int alone = 0; alone < 2; alone++) {
    options.no_builtin = alone;
    struct log_metrics *m = log_metrics_new(&options, &err);
    assert_non_null(m);
    AUTO_BUF struct buf out = BUF_INIT(KIB);
    assert_true(log_metrics_feed(m, STR("Epoch 3 loss: 0.5, quality 7\nquality 8\n"), collect, &out, &err));
    assert_string_equal(buf_text(&out),
                        alone ? "q=7@nan/nan:0 loss=0.5@nan/nan:0 q=8@nan/nan:1 " : "loss=0.5@nan/3:3 q=7@nan/3:3 q=8@nan/3:4 ");
    log_metrics_free(m);
  }
}

static void read_pieces(const struct log_metrics_options *options, struct str bytes, size_t piece, struct buf *out) {
  struct err err = {0};
  struct log_metrics *m = log_metrics_new(options, &err);
  assert_non_null(m);
  for (size_t at = 0; at < bytes.n; at += piece)
    assert_true(log_metrics_feed(m, str_slice(bytes, at, at + piece), collect, out, &err));
  log_metrics_save(m, out);
  assert_true(log_metrics_end(m, collect, out, &err));
  log_metrics_free(m);
}

/* Lines that cannot match are passed over, unless some pattern has no literal: nothing else may tell the two apart. */
static void test_passed_over(void **state) {
  (void)state;
  const struct log_pattern_spec specs[] = {
      {.pattern = "METRIC (?P<name>\\w+)=(?P<value>\\S+)"}, {.pattern = "quality (?P<q>\\S+)"}, {.pattern = "[\\x01](?P<never>\\d)"}};
  const struct log_metrics_options passing = {.no_builtin = true, .patterns = specs, .pattern_count = 2};
  const struct log_metrics_options reading = {.no_builtin = true, .patterns = specs, .pattern_count = 3};
  struct str bytes = STR("plain\nMETRIC a=1\nnothing here\r\n\nqua\x1b[1mlity\x1b[0m 7\n\x1b[3Abar 1\rbar 22\rMET\nxxxxxx b=2\rMETRIC\n"
                         "\x1b[70000CMETRIC c=3\n\xffquality 8\nMMM\nM\nTRI\bC\nquality \n\nMETRIC d=4");
  for (size_t piece = 1; piece <= bytes.n; piece++) {
    AUTO_BUF struct buf one = BUF_INIT(MIB), two = BUF_INIT(MIB);
    read_pieces(&passing, bytes, piece, &one);
    read_pieces(&reading, bytes, piece, &two);
    assert_true(str_eq(buf_str(&one), buf_str(&two)));
    assert_non_null(memmem(one.p, one.n, "d=4", 3));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_groups),
      cmocka_unit_test(test_key_prefix_when),
      cmocka_unit_test(test_mistakes),
      cmocka_unit_test(test_literal),
      cmocka_unit_test(test_searched_blocks),
      cmocka_unit_test(test_runaway),
      cmocka_unit_test(test_empty_matches_end),
      cmocka_unit_test(test_beside_builtin),
      cmocka_unit_test(test_passed_over),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
