#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "sweeper/engine/fsm.h"

static void well_formed(const struct fsm *fsm) {
  unsigned reached = 1u << fsm->initial, events = 0;
  for (int round = 0; round < fsm->state_count; round++)
    for (size_t i = 0; i < fsm->edge_count; i++)
      if (reached >> fsm->edges[i].from & 1)
        reached |= 1u << fsm->edges[i].to;
  assert_int_equal(reached, (1u << fsm->state_count) - 1);
  for (size_t i = 0; i < fsm->edge_count; i++) {
    const struct fsm_edge *edge = &fsm->edges[i];
    events |= 1u << edge->event;
    assert_true(edge->sentence[0]);
    assert_ptr_equal(fsm_step(fsm, edge->from, edge->event), edge); /* one edge a state and event */
  }
  assert_int_equal(events, (1u << fsm->event_count) - 1);
  /* from everywhere some end can be reached */
  unsigned ends = fsm->finals;
  for (int round = 0; round < fsm->state_count; round++)
    for (size_t i = 0; i < fsm->edge_count; i++)
      if (ends >> fsm->edges[i].to & 1)
        ends |= 1u << fsm->edges[i].from;
  assert_int_equal(ends, (1u << fsm->state_count) - 1);
  for (int i = 0; i < fsm->state_count; i++)
    assert_int_equal(fsm_parse(fsm, str_of(fsm->states[i])), i);
  assert_int_equal(fsm_parse(fsm, STR("running")), -1);
}

static void tables(void **state) {
  (void)state;
  well_formed(&run_fsm);
  well_formed(&sweep_fsm);
}

static void steps(void **state) {
  (void)state;
  assert_int_equal(fsm_step(&run_fsm, RUN_RUNNING, RUN_EV_STOP)->to, RUN_STOPPING);
  assert_int_equal(fsm_step(&run_fsm, RUN_LOST, RUN_EV_RETURNED)->to, RUN_RUNNING);
  assert_null(fsm_step(&run_fsm, RUN_FINISHED, RUN_EV_KILL));
  assert_null(fsm_step(&run_fsm, RUN_STOPPING, RUN_EV_LEASE_OUT));
  assert_null(fsm_step(&sweep_fsm, SWEEP_STOPPED, SWEEP_EV_RESUME));
}

static void mlflow_words(void **state) {
  (void)state;
  static const char *const expected[] = {"SCHEDULED", "SCHEDULED", "RUNNING", "RUNNING", "FINISHED",
                                         "FAILED",    "KILLED",    "KILLED",  "FAILED"};
  for (int i = 0; i < RUN_STATE_COUNT; i++)
    assert_string_equal(run_state_status(i), expected[i]);
}

static void drawing(void **state) {
  (void)state;
  AUTO_BUF struct buf out = BUF_INIT(16 * KIB);
  fsm_mermaid(&sweep_fsm, &out);
  assert_true(str_starts(buf_str(&out), STR("stateDiagram-v2\n  [*] --> RUNNING\n  RUNNING --> PAUSED: pause\n")));
  assert_non_null(strstr(buf_text(&out), "  FAILED --> [*]\n"));
}

/* docs/states.md; the path is the compiler's, relative to the build folder, where tests run. */
static void the_documentation_is_drawn_from_the_tables(void **state) {
  (void)state;
  AUTO_BUF struct buf page = BUF_INIT(64 * KIB);
  AUTO_BUF struct buf drawn = BUF_INIT(64 * KIB);
  struct err err = {0};
  char path[500];
  snprintf(path, sizeof path, "%.*s/../../../docs/states.md", (int)(strrchr(__FILE__, '/') - __FILE__), __FILE__);
  if (!file_read(path, &page, &err))
    fail_msg("%s", err.text);
  fsm_mermaid(&run_fsm, &drawn);
  assert_true(str_find_str(buf_str(&page), buf_str(&drawn)) != SIZE_MAX);
  buf_reset(&drawn);
  fsm_mermaid(&sweep_fsm, &drawn);
  assert_true(str_find_str(buf_str(&page), buf_str(&drawn)) != SIZE_MAX);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(tables), cmocka_unit_test(steps), cmocka_unit_test(mlflow_words),
                                     cmocka_unit_test(drawing), cmocka_unit_test(the_documentation_is_drawn_from_the_tables)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
