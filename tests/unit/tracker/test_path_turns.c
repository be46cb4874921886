/* Turns at paths: who may begin, and when. */
#include "tests/support/test.h"
#include "tracker/artifacts/path_turns.h"

enum { MOST = 6 };

static struct path_turns turns;
static struct path_turn turn[MOST];
static char begun[MOST + 1]; /* those whose turn came later, in order */

static void on_turn(void *ctx) {
  struct path_turn *mine = ctx;
  size_t n = strlen(begun);
  begun[n] = (char)('0' + (mine - turn));
  begun[n + 1] = 0;
}

static bool take(size_t i, const char *path) {
  turn[i] = (struct path_turn){.path = str_of(path), .fn = on_turn, .ctx = &turn[i]};
  struct err err;
  return path_turn_take(&turns, &turn[i], &err) == PATH_TURN_NOW;
}

static int set_up(void **state UNUSED) {
  turns = (struct path_turns){.telling = false};
  begun[0] = 0;
  return 0;
}

static void others_do_not_wait(void **state UNUSED) {
  assert_true(take(0, "a/b"));
  assert_true(take(1, "a/c"));
  assert_true(take(2, "a/bc"));
  assert_true(take(3, "b"));
  for (size_t i = 0; i < 4; i++)
    path_turn_end(&turn[i]);
  assert_string_equal(begun, "");
  assert_int_equal(turns.all.count, 0);
}

static void one_after_the_other(void **state UNUSED) {
  assert_true(take(0, "a"));
  assert_false(take(1, "a"));
  assert_false(take(2, "a"));
  path_turn_end(&turn[0]);
  assert_string_equal(begun, "1");
  path_turn_end(&turn[1]);
  assert_string_equal(begun, "12");
  path_turn_end(&turn[2]);
  assert_int_equal(turns.all.count, 0);
}

/* Nobody overtakes whoever waits: a tree is not kept from its turn by files below it that come after. */
static void trees(void **state UNUSED) {
  assert_true(take(0, "a/b/c"));
  assert_false(take(1, "a"));
  assert_false(take(2, "a/d"));
  assert_false(take(3, "")); /* all there is */
  assert_false(take(4, "z"));
  path_turn_end(&turn[0]);
  assert_string_equal(begun, "1");
  path_turn_end(&turn[1]);
  assert_string_equal(begun, "12");
  path_turn_end(&turn[2]);
  assert_string_equal(begun, "123");
  path_turn_end(&turn[3]);
  assert_string_equal(begun, "1234");
  path_turn_end(&turn[4]);
}

static void who_waits_may_leave(void **state UNUSED) {
  assert_true(take(0, "a"));
  assert_false(take(1, "a"));
  assert_false(take(2, "a"));
  path_turn_end(&turn[1]);
  path_turn_end(&turn[1]);
  path_turn_end(&turn[0]);
  assert_string_equal(begun, "2");
  path_turn_end(&turn[2]);
}

static void end_at_once(void *ctx) {
  on_turn(ctx);
  path_turn_end(ctx);
}

static void a_turn_that_is_over_at_once(void **state UNUSED) {
  assert_true(take(0, "a"));
  for (size_t i = 1; i < MOST; i++) {
    assert_false(take(i, "a"));
    turn[i].fn = end_at_once;
  }
  path_turn_end(&turn[0]);
  assert_string_equal(begun, "12345");
  assert_int_equal(turns.all.count, 0);
}

/* Told by the end of one; before it has its turn, another leaves whom it waits for as well. */
static void who_leaves_before_being_told(void **state UNUSED) {
  assert_true(take(0, "a"));
  assert_true(take(1, "b"));
  assert_false(take(2, ""));
  assert_false(take(3, "a"));
  path_turn_end(&turn[0]);
  path_turn_end(&turn[2]);
  assert_string_equal(begun, "3");
  path_turn_end(&turn[3]);
  path_turn_end(&turn[1]);
  assert_int_equal(turns.all.count, 0);
}

/* ---- thousands at one path ---- */

static struct path_turn many[PATH_TURNS_MAX + 1];
static size_t ended, depth, deepest;

static void end_at_once_too(void *ctx) {
  depth++;
  deepest = MAX_OF(deepest, depth);
  assert_ptr_equal(ctx, &many[++ended]);
  path_turn_end(ctx);
  depth--;
}

static enum path_turn_when take_many(size_t i, struct err *err) {
  many[i] = (struct path_turn){.path = STR("a/b/c"), .fn = end_at_once_too, .ctx = &many[i]};
  return path_turn_take(&turns, &many[i], err);
}

static void thousands_wait_and_more_are_refused(void **state UNUSED) {
  struct err err;
  ended = deepest = 0;
  assert_int_equal(take_many(0, &err), PATH_TURN_NOW);
  for (size_t i = 1; i < PATH_TURNS_MAX; i++)
    assert_int_equal(take_many(i, &err), PATH_TURN_LATER);
  assert_int_equal(take_many(PATH_TURNS_MAX, &err), PATH_TURN_REFUSED);
  assert_int_equal(err.code, ERR_OVERLOADED);
  path_turn_end(&many[PATH_TURNS_MAX]); /* it has none */
  path_turn_end(&many[0]);
  assert_int_equal(ended, PATH_TURNS_MAX - 1);
  assert_int_equal(deepest, 1);
  assert_int_equal(turns.all.count, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(others_do_not_wait, set_up),
      cmocka_unit_test_setup(one_after_the_other, set_up),
      cmocka_unit_test_setup(trees, set_up),
      cmocka_unit_test_setup(who_waits_may_leave, set_up),
      cmocka_unit_test_setup(a_turn_that_is_over_at_once, set_up),
      cmocka_unit_test_setup(who_leaves_before_being_told, set_up),
      cmocka_unit_test_setup(thousands_wait_and_more_are_refused, set_up),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
