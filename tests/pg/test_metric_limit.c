/* How many metrics a run may have, whoever brings them, and whatever the store knows of the run at that moment. */
#include "storage/metrics/metric_replace.h"
#include "tests/support/metric_scene.h"
#include "tests/support/test.h"

enum { KEYS_MAX = 6 };

static void open_store(size_t keys_max) {
  struct metric_store_conf conf = scene_eager();
  scene_close_store();
  conf.seal_idle_ms = conf.seal_age_ms = 3600 * 1000;
  conf.keys_max = keys_max;
  scene_open_store(&conf);
}

static int set_up(void **state) {
  scene_set_up(state);
  open_store(KEYS_MAX);
  return 0;
}

static char key_texts[32][8];

/* One point of each of the keys k<from> to k<to - 1>. */
static void draw(int from, int to, struct metric_rows *rows) {
  static int64_t step;
  metric_rows_init(rows);
  for (int i = from; i < to; i++) {
    snprintf(key_texts[i], sizeof key_texts[i], "k%d", i);
    assert_true(metric_rows_add(rows, str_of(key_texts[i]), (struct point){step++, 1, 0.5, NAN}));
  }
}

/* ERR_NONE: stored. */
static enum err_code write_keys(int from, int to) {
  struct metric_rows rows;
  struct answer answer = {.done = false};
  struct err err;
  draw(from, to, &rows);
  bool begun = metric_append(scene.store, scene.run_ids[0], 0, &rows, scene_on_answer, &answer, &err);
  metric_rows_release(&rows);
  if (!begun)
    return err.code;
  scene_wait(&answer);
  return answer.ok ? ERR_NONE : answer.err.code;
}

static void settle(void) {
  struct answer answer = {.done = false};
  struct err err;
  assert_true(metric_settle(scene.store, NULL, scene_on_answer, &answer, &err));
  scene_wait(&answer);
}

static int64_t stored_keys(void) {
  settle();
  return pg_cluster_int(&scene.cluster, "select count(*) from winnow.run, jsonb_object_keys(metrics)");
}

static void what_is_known(void **state UNUSED) {
  assert_int_equal(write_keys(0, KEYS_MAX - 1), ERR_NONE);
  settle();
  assert_int_equal(write_keys(KEYS_MAX - 2, KEYS_MAX + 1), ERR_TOO_LARGE);
  assert_int_equal(stored_keys(), KEYS_MAX - 1); /* nothing of it */
  assert_int_equal(write_keys(KEYS_MAX - 2, KEYS_MAX), ERR_NONE);
  settle();
  assert_int_equal(write_keys(0, KEYS_MAX), ERR_NONE); /* those that are there go on */
  assert_int_equal(write_keys(KEYS_MAX, KEYS_MAX + 1), ERR_TOO_LARGE);
  assert_int_equal(stored_keys(), KEYS_MAX);
}

/* A process that has just begun asks the database, which counts. */
static void what_is_not_known(void **state UNUSED) {
  assert_int_equal(write_keys(0, KEYS_MAX), ERR_NONE);
  settle();
  open_store(KEYS_MAX);
  settle();
  assert_int_equal(write_keys(KEYS_MAX, KEYS_MAX + 1), ERR_TOO_LARGE);
  assert_int_equal(stored_keys(), KEYS_MAX);
  open_store(KEYS_MAX);
  assert_int_equal(write_keys(1, KEYS_MAX), ERR_NONE);
  assert_int_equal(stored_keys(), KEYS_MAX);
}

static void at_once(void **state UNUSED) {
  assert_int_equal(write_keys(0, KEYS_MAX + 1), ERR_TOO_LARGE);
  assert_int_equal(stored_keys(), 0);
}

static size_t refuse(size_t run, int from, int to, bool *stays) {
  struct metric_rows rows;
  draw(from, to, &rows);
  size_t refused = metric_fit(scene.store, scene.run_ids[run], &rows, stays);
  metric_rows_release(&rows);
  return refused;
}

/* What is read from jobs: keys that are there, and others as long as there is room. */
static void fitted(void **state UNUSED) {
  bool stays[KEYS_MAX + 3];
  assert_int_equal(write_keys(0, KEYS_MAX - 1), ERR_NONE);
  settle();
  assert_int_equal(refuse(0, KEYS_MAX - 2, KEYS_MAX + 2, stays), 2);
  assert_true(stays[0] && stays[1] && !stays[2] && !stays[3]);
  assert_int_equal(refuse(0, 0, KEYS_MAX, stays), 0);
  assert_int_equal(refuse(1, 0, KEYS_MAX + 3, stays), 3); /* of a run of which nothing is known */
}

static bool is_first(const void *ctx UNUSED, struct str key) {
  return str_is(key, "k0");
}

static bool is_none(const void *ctx UNUSED, struct str key UNUSED, int32_t attempt UNUSED, struct point point UNUSED) {
  return false;
}

static enum err_code replace_first(int from, int to) {
  struct metric_rows rows;
  struct answer answer = {.done = false};
  struct err err;
  draw(from, to, &rows);
  const struct metric_rows *in[] = {&rows};
  struct metric_replacement what = {
      .run = scene.run_ids[0], .touches = is_first, .stays = is_none, .rows = in, .attempts = &scene.attempts[0], .row_count = 1};
  assert_true(metric_replace(scene.store, &what, scene_on_answer, &answer, &err));
  scene_wait(&answer);
  metric_rows_release(&rows);
  return answer.ok ? ERR_NONE : answer.err.code;
}

/* A key of which nothing is left makes room. */
static void replaced(void **state UNUSED) {
  assert_int_equal(write_keys(0, KEYS_MAX), ERR_NONE);
  assert_int_equal(replace_first(KEYS_MAX, KEYS_MAX + 2), ERR_TOO_LARGE);
  assert_int_equal(stored_keys(), KEYS_MAX);
  assert_int_equal(replace_first(KEYS_MAX, KEYS_MAX + 1), ERR_NONE);
  assert_int_equal(stored_keys(), KEYS_MAX);
  assert_int_equal(pg_cluster_int(&scene.cluster, "select count(*) from winnow.run where metrics ? 'k0'"), 0);
}

/* A run that has more already, by an earlier version or by writes of one moment, or by the metrics of the system: what it has goes on. */
static void beyond(void **state UNUSED) {
  open_store(2 * KEYS_MAX);
  assert_int_equal(write_keys(0, KEYS_MAX + 2), ERR_NONE);
  settle();
  open_store(KEYS_MAX);
  assert_int_equal(write_keys(0, KEYS_MAX + 3), ERR_TOO_LARGE);
  assert_int_equal(write_keys(KEYS_MAX - 1, KEYS_MAX + 2), ERR_NONE);
  settle();
  assert_int_equal(write_keys(0, 1), ERR_NONE);
  assert_int_equal(write_keys(KEYS_MAX + 2, KEYS_MAX + 3), ERR_TOO_LARGE);
  assert_int_equal(stored_keys(), KEYS_MAX + 2);
  assert_int_equal(replace_first(KEYS_MAX + 2, KEYS_MAX + 4), ERR_TOO_LARGE);
  assert_int_equal(replace_first(KEYS_MAX + 2, KEYS_MAX + 3), ERR_NONE);
  assert_int_equal(stored_keys(), KEYS_MAX + 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(what_is_known, set_up, scene_tear_down),
      cmocka_unit_test_setup_teardown(what_is_not_known, set_up, scene_tear_down),
      cmocka_unit_test_setup_teardown(at_once, set_up, scene_tear_down),
      cmocka_unit_test_setup_teardown(fitted, set_up, scene_tear_down),
      cmocka_unit_test_setup_teardown(replaced, set_up, scene_tear_down),
      cmocka_unit_test_setup_teardown(beyond, set_up, scene_tear_down),
  };
  return cmocka_run_group_tests(tests, scene_start, scene_stop);
}
