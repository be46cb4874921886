#include "sweeper/live/goal_watch.h"
#include "tests/support/test.h"

static void expect(const char *goal, const char *text, size_t count, const char *const *names) {
  struct goal_watch watch = {.count = 0};
  AUTO_BUF struct buf out = BUF_INIT(4 * KIB);
  for (size_t i = 0; i < count; i++)
    goal_watch_name(&watch, str_of(names[i]));
  goal_watch_explain(&watch, str_of(goal), &out);
  assert_string_equal(buf_text(&out), text);
  goal_watch_release(&watch);
}
#define EXPECT(goal, text, ...)                        \
  do {                                                 \
    static const char *const names_[] = {__VA_ARGS__}; \
    expect((goal), (text), ARRAY_LEN(names_), names_); \
  } while (0)

static void test_the_nearest(void **state) {
  (void)state;
  EXPECT("val_acc", "; the nearest name seen is \"validation/accuracy\"", "loss", "train/accuracy", "validation/accuracy");
  EXPECT("val_loss", "; the nearest name seen is \"val_los\"", "loss", "val_los");
  EXPECT("valLoss", "; the nearest name seen is \"val_loss\"", "loss", "val_loss", "val_loss");
  EXPECT("accuracy", "; the nearest name seen is \"Accuracy\"", "Accuracy");
  EXPECT("top1", "; names seen: loss, lr", "loss", "lr");
  EXPECT("x", "; names seen: aa, bb, cc, dd, ee, ff, gg, hh, …", "aa", "bb", "cc", "dd", "ee", "ff", "gg", "hh", "ii");
  expect("x", "; no metric was recognised at all", 0, NULL);
}

static void test_it_is_bounded(void **state) {
  (void)state;
  struct goal_watch watch = {.count = 0};
  char name[16];
  for (int i = 0; i < 1000; i++) {
    snprintf(name, sizeof name, "n%d", i);
    goal_watch_name(&watch, str_of(name));
  }
  assert_int_equal(watch.count, GOAL_NAMES_MAX);
  goal_watch_release(&watch);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_nearest), cmocka_unit_test(test_it_is_bounded)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
