#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "sweeper/engine/engine.h"

/* ---- a store that always answers at once, and a list of what came out ---- */

static char seen[4096];

static const char *const words[] = {"", "write sweep", "write", "enqueue", "dequeue", "start", "end", "release"};

static const char *run(struct engine *e) {
  struct engine_todo todo;
  seen[0] = 0;
  while ((todo = engine_next(e)).kind != TODO_NONE) {
    size_t n = strlen(seen);
    if (todo.kind == TODO_WRITE_SWEEP) {
      snprintf(seen + n, sizeof seen - n, "sweep %s; ", sweep_fsm.states[todo.sweep.state]);
      engine_sweep_written(e, todo.sweep.version, true);
    } else if (todo.kind == TODO_WRITE_TRIAL) {
      snprintf(seen + n, sizeof seen - n, "%u %s; ", todo.trial.number, run_fsm.states[todo.trial.state]);
      engine_trial_written(e, todo.trial.number, todo.trial.version, true);
    } else {
      snprintf(seen + n, sizeof seen - n, "%s %u.%u; ", words[todo.kind], todo.trial.number, todo.trial.attempt);
    }
  }
  return seen;
}

static struct engine *fresh(struct engine_conf conf) {
  struct engine *e = NULL;
  struct err err = {0};
  if (!conf.lease_ms)
    conf.lease_ms = 30000;
  conf.slots = 1;
  assert_true(engine_new(&conf, NULL, 0, &e, &err));
  assert_string_equal(run(e), "sweep RUNNING; ");
  return e;
}

static uint32_t create(struct engine *e) {
  uint32_t number;
  struct err err = {0};
  if (!engine_create(e, &number, &err))
    fail_msg("%s", err.text);
  return number;
}

/* A trial that runs. */
static uint32_t running(struct engine *e) {
  uint32_t n = create(e);
  run(e);
  assert_true(engine_placed(e, n, 0));
  run(e);
  assert_int_equal(engine_started(e, n, engine_trial(e, n)->attempt, 0), ANSWER_GO_ON);
  run(e);
  return n;
}

static int state_of(struct engine *e, uint32_t n) {
  return engine_trial(e, n)->state;
}

static void a_trial_from_start_to_end(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){.run_cap = 1, .needs_value = true});
  assert_int_equal(engine_wants(e, 4), 1);
  assert_int_equal(create(e), 0);
  assert_int_equal(engine_wants(e, 4), 0);
  assert_string_equal(run(e), "0 QUEUED; enqueue 0.0; ");
  assert_true(engine_placed(e, 0, 1000));
  assert_string_equal(run(e), "0 STARTING; start 0.1; ");
  assert_int_equal(engine_started(e, 0, 1, 1500), ANSWER_GO_ON);
  assert_string_equal(run(e), "0 RUNNING; ");
  struct engine_report report = {.has_value = true};
  assert_int_equal(engine_heard(e, 0, 1, &report, 2000), ANSWER_GO_ON);
  assert_int_equal(engine_exited(e, 0, 1, true, 3000), ANSWER_GO_ON);
  assert_string_equal(run(e), "0 FINISHED; release 0.1; sweep FINISHED; ");
  assert_int_equal(engine_exited(e, 0, 1, true, 3000), ANSWER_FENCED); /* told once */
  assert_int_equal(engine_sweep(e).why, WHY_ALL_MADE);
  assert_int_equal(engine_sweep(e).slot_ms, 2000);
  assert_int_equal(engine_sweep(e).elapsed_ms, 3000);
  engine_free(e);
}

static void a_trial_made_for_slots_that_are_there(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){.run_cap = 2});
  assert_int_equal(engine_next_number(e), 0);
  assert_true(engine_placed(e, create(e), 1000));
  assert_int_equal(engine_next_number(e), 1);
  assert_string_equal(run(e), "0 STARTING; start 0.1; "); /* it never waited */
  uint32_t late = create(e);
  assert_int_equal(engine_next(e).kind, TODO_WRITE_TRIAL);
  assert_false(engine_placed(e, late, 1000)); /* it is on its way to the store as waiting */
  engine_free(e);
}

static void no_metric_is_a_failure(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){.needs_value = true});
  uint32_t n = running(e);
  engine_exited(e, n, 1, true, 0);
  assert_int_equal(state_of(e, n), RUN_FAILED);
  assert_int_equal(engine_trial(e, n)->cause, CAUSE_NO_METRIC);
  engine_free(e);
}

static void nothing_follows_before_it_is_durable(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){0});
  create(e);
  struct engine_todo write = engine_next(e);
  assert_int_equal(write.kind, TODO_WRITE_TRIAL);
  assert_int_equal(engine_next(e).kind, TODO_NONE);
  assert_false(engine_placed(e, 0, 0)); /* the scheduler does not know it yet */
  engine_trial_written(e, 0, write.trial.version, false);
  assert_int_equal(engine_next(e).kind, TODO_NONE);
  engine_tick(e, 100);
  assert_string_equal(run(e), "0 QUEUED; enqueue 0.0; ");
  engine_placed(e, 0, 0);
  write = engine_next(e);
  assert_int_equal(write.trial.state, RUN_STARTING);
  struct err err;
  assert_true(engine_kill(e, 0, 0, &err)); /* while that is on its way */
  assert_int_equal(engine_next(e).kind, TODO_NONE);
  engine_trial_written(e, 0, write.trial.version, true);
  assert_string_equal(run(e), "0 STOPPING; end 0.1; "); /* and was never started */
  engine_free(e);
}

static void the_verdict_is_written_first(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){0});
  uint32_t n = running(e);
  struct engine_report report = {.has_value = true, .stop = true};
  assert_int_equal(engine_heard(e, n, 1, &report, 0), ANSWER_GO_ON);
  assert_string_equal(run(e), "0 STOPPING; end 0.1; ");
  assert_int_equal(engine_heard(e, n, 1, NULL, 0), ANSWER_STOP);
  engine_exited(e, n, 1, false, 0);
  assert_string_equal(run(e), "0 STOPPED; release 0.1; ");
  assert_int_equal(engine_trial(e, n)->cause, CAUSE_VERDICT);
  engine_free(e);
}

static void lost_and_back(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){.retries_max = 1, .retries_on = RETRY_LOST});
  uint32_t n = running(e);
  engine_tick(e, 29999);
  assert_int_equal(state_of(e, n), RUN_RUNNING);
  engine_tick(e, 30000);
  assert_string_equal(run(e), "0 LOST; "); /* frees nothing, starts nothing */
  assert_int_equal(engine_heard(e, n, 1, NULL, 100000), ANSWER_GO_ON);
  assert_string_equal(run(e), "0 RUNNING; ");
  engine_tick(e, 130000);
  engine_dead(e, n, 1, 130000);
  assert_string_equal(run(e), "0 QUEUED; release 0.1; enqueue 0.1; ");
  assert_int_equal(engine_heard(e, n, 1, NULL, 130000), ANSWER_FENCED);
  assert_true(engine_placed(e, n, 130000));
  assert_string_equal(run(e), "0 STARTING; start 0.2; ");
  engine_dead(e, n, 1, 130000); /* of an attempt long gone */
  assert_int_equal(state_of(e, n), RUN_STARTING);
  engine_dead(e, n, 2, 130000); /* its one retry is used */
  assert_string_equal(run(e), "0 LOST; release 0.2; ");
  assert_int_equal(engine_counts(e).failed, 1);
  assert_int_equal(engine_counts(e).live, 0);
  engine_free(e);
}

/* Nobody could be heard while the service itself was stopped. */
static void a_lease_is_of_uptime(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){0});
  uint32_t n = running(e);
  engine_tick(e, 10000);
  engine_stood_still(e, 60000);
  engine_tick(e, 89999);
  assert_int_equal(state_of(e, n), RUN_RUNNING);
  engine_tick(e, 90000);
  assert_int_equal(state_of(e, n), RUN_LOST);
  engine_free(e);
}

static void a_slow_store_is_not_a_dead_companion(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){0});
  uint32_t n = create(e);
  run(e);
  assert_true(engine_placed(e, n, 0));
  struct engine_todo write = engine_next(e);
  engine_tick(e, 100000); /* the row is still on its way */
  assert_int_equal(state_of(e, n), RUN_STARTING);
  engine_trial_written(e, n, write.trial.version, true);
  assert_string_equal(run(e), "start 0.1; ");
  engine_tick(e, 129999);
  assert_int_equal(state_of(e, n), RUN_STARTING);
  engine_tick(e, 130000);
  assert_int_equal(state_of(e, n), RUN_LOST);
  engine_free(e);
}

static void silence_counts_as_death_where_it_must(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){.lost_after_ms = 3600000});
  uint32_t n = running(e);
  engine_tick(e, 30000);
  engine_tick(e, 30000 + 3599999);
  assert_int_equal(engine_counts(e).live, 1);
  engine_tick(e, 30000 + 3600000);
  assert_int_equal(engine_counts(e).live, 0);
  assert_true(engine_trial(e, n)->dead);
  assert_int_equal(engine_heard(e, n, 1, NULL, 4000000), ANSWER_FENCED);
  engine_free(e);
}

static void failures_and_retries(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){.retries_max = 2, .retries_on = RETRY_FAILED, .give_up_after = 2});
  uint32_t n = running(e);
  for (uint32_t attempt = 1; attempt <= 3; attempt++) {
    assert_int_equal(engine_trial(e, n)->attempt, attempt);
    engine_exited(e, n, attempt, false, 0);
    run(e);
    if (attempt < 3) {
      assert_true(engine_placed(e, n, 0));
      run(e);
    }
  }
  assert_int_equal(state_of(e, n), RUN_FAILED);
  assert_int_equal(engine_sweep(e).state, SWEEP_RUNNING);
  uint32_t other = running(e), waiting = create(e);
  run(e);
  for (uint32_t attempt = 1; attempt <= 3; attempt++) {
    engine_exited(e, other, attempt, false, 0);
    run(e);
    if (attempt < 3) {
      engine_placed(e, other, 0);
      run(e);
    }
  }
  assert_int_equal(state_of(e, waiting), RUN_KILLED); /* the first two have failed */
  assert_int_equal(engine_sweep(e).state, SWEEP_FAILED);
  assert_int_equal(engine_sweep(e).why, WHY_GAVE_UP);
  assert_int_equal(engine_wants(e, 10), 0);
  engine_free(e);
}

static void a_sweep_whose_trials_all_failed_has_failed(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){.run_cap = 2});
  uint32_t first = running(e), second = running(e);
  engine_exited(e, first, 1, false, 0);
  run(e);
  assert_int_equal(engine_sweep(e).state, SWEEP_RUNNING);
  engine_exited(e, second, 1, false, 0);
  run(e);
  assert_int_equal(engine_sweep(e).state, SWEEP_FAILED);
  assert_int_equal(engine_sweep(e).why, WHY_ALL_FAILED);
  engine_free(e);
}

static void one_success_and_it_does_not_give_up(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){.give_up_after = 2, .max_failures = 4});
  uint32_t n[5];
  for (int i = 0; i < 5; i++)
    n[i] = running(e);
  engine_exited(e, n[0], 1, false, 0);
  engine_exited(e, n[1], 1, true, 0);
  engine_exited(e, n[2], 1, false, 0);
  engine_exited(e, n[3], 1, false, 0);
  assert_int_equal(engine_sweep(e).state, SWEEP_RUNNING);
  engine_exited(e, n[4], 1, false, 0);
  run(e);
  assert_int_equal(engine_sweep(e).state, SWEEP_FAILED);
  assert_int_equal(engine_sweep(e).why, WHY_FAILURES);
  engine_free(e);
}

static void it_does_not_give_up_on_one_that_reports(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){.give_up_after = 2});
  struct engine_report value = {.has_value = true};
  uint32_t long_one = running(e), n[4];
  for (int i = 0; i < 4; i++)
    n[i] = running(e);
  assert_int_equal(engine_heard(e, long_one, 1, &value, 0), ANSWER_GO_ON);
  for (int i = 0; i < 3; i++)
    engine_exited(e, n[i], 1, false, 0);
  run(e);
  assert_int_equal(engine_sweep(e).state, SWEEP_RUNNING);
  engine_exited(e, long_one, 1, false, 0); /* now they have all failed */
  run(e);
  assert_int_equal(engine_sweep(e).why, WHY_GAVE_UP);
  engine_exited(e, n[3], 1, false, 0);
  run(e);
  assert_int_equal(engine_sweep(e).state, SWEEP_FAILED);
  engine_free(e);
}

static void refused_by_nodes(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){0});
  uint32_t n = create(e), hopeless = create(e);
  run(e);
  assert_true(engine_placed(e, hopeless, 0));
  run(e);
  engine_refused(e, hopeless, 1, REFUSAL_STAYS, 0);
  run(e);
  assert_int_equal(state_of(e, hopeless), RUN_FAILED);
  for (uint32_t i = 1; i <= 3 * ENGINE_REFUSALS_MAX; i++) {
    assert_int_equal(state_of(e, n), RUN_QUEUED);
    assert_true(engine_placed(e, n, 0));
    run(e);
    engine_refused(e, n, i, i <= 2 * ENGINE_REFUSALS_MAX ? REFUSAL_PASSES : REFUSAL_COUNTS, 0);
    run(e);
  }
  assert_int_equal(state_of(e, n), RUN_FAILED);
  assert_int_equal(engine_trial(e, n)->cause, CAUSE_START);
  engine_free(e);
}

static void a_trial_is_tried_again_after_the_end(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){.run_cap = 9});
  struct err err = {0};
  uint32_t good = running(e), bad = running(e);
  engine_exited(e, bad, 1, false, 0);
  assert_true(engine_stop(e, &err));
  run(e);
  engine_exited(e, good, 1, true, 0);
  run(e);
  assert_int_equal(engine_sweep(e).state, SWEEP_STOPPED);
  assert_true(engine_retry(e, bad, &err));
  assert_string_equal(run(e), "sweep DRAINING; 1 QUEUED; enqueue 1.1; ");
  assert_int_equal(engine_wants(e, 4), 0);
  assert_true(engine_retry(e, good, &err)); /* another one, meanwhile */
  run(e);
  assert_true(engine_placed(e, bad, 0) && engine_placed(e, good, 0));
  run(e);
  engine_exited(e, bad, 2, true, 0);
  assert_string_equal(run(e), "1 FINISHED; release 1.2; ");
  engine_exited(e, good, 2, true, 0);
  assert_string_equal(run(e), "0 FINISHED; release 0.2; sweep STOPPED; "); /* not all was done, then as now */
  assert_int_equal(engine_sweep(e).why, WHY_STOPPED_RETRIED);
  assert_false(engine_retry(e, good, &err)); /* it ended well */
  assert_int_equal(engine_sweep(e).state, SWEEP_STOPPED);
  assert_true(engine_stop(e, &err));
  engine_free(e);
}

static void a_sweep_stays_stopped_when_what_was_tried_again_is_killed(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){.run_cap = 2});
  struct err err = {0};
  uint32_t n = running(e);
  assert_true(engine_stop(e, &err));
  run(e);
  engine_exited(e, n, 1, false, 0);
  run(e);
  assert_int_equal(engine_sweep(e).state, SWEEP_STOPPED);
  for (uint32_t attempt = 2; attempt < 4; attempt++) { /* however often */
    assert_true(engine_retry(e, n, &err));
    run(e);
    assert_true(engine_placed(e, n, 0));
    run(e);
    assert_true(engine_kill(e, n, 0, &err));
    run(e);
    engine_exited(e, n, attempt, false, 0);
    run(e);
    assert_int_equal(engine_sweep(e).state, SWEEP_STOPPED);
  }
  engine_free(e);
}

static void what_fails_again_leaves_a_failed_sweep(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){.give_up_after = 1});
  struct err err = {0};
  uint32_t n = running(e);
  engine_exited(e, n, 1, false, 0);
  run(e);
  assert_int_equal(engine_sweep(e).state, SWEEP_FAILED);
  assert_true(engine_retry(e, n, &err));
  run(e);
  assert_true(engine_placed(e, n, 0));
  run(e);
  engine_exited(e, n, 2, false, 0);
  run(e);
  assert_int_equal(engine_sweep(e).state, SWEEP_FAILED);
  assert_true(engine_retry(e, n, &err));
  assert_true(engine_stop(e, &err)); /* it may be stopped like any other */
  assert_string_equal(run(e), "sweep DRAINING; 0 KILLED; sweep STOPPED; ");
  engine_free(e);
}

static void target_drains(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){.run_cap = 10});
  uint32_t a = running(e), b = running(e), c = create(e);
  run(e);
  struct engine_report report = {.has_value = true, .target = true};
  engine_heard(e, a, 1, &report, 0);
  run(e);
  assert_int_equal(engine_sweep(e).state, SWEEP_DRAINING);
  assert_int_equal(state_of(e, c), RUN_KILLED);
  assert_int_equal(engine_wants(e, 10), 0);
  engine_exited(e, a, 1, true, 0);
  engine_exited(e, b, 1, false, 0);
  run(e);
  assert_int_equal(engine_sweep(e).state, SWEEP_FINISHED);
  assert_int_equal(engine_sweep(e).why, WHY_TARGET);
  engine_free(e);
}

static void stop_ends_everything(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){0});
  struct err err = {0};
  uint32_t a = running(e), b = create(e);
  run(e);
  assert_true(engine_stop(e, &err));
  assert_string_equal(run(e), "sweep DRAINING; dequeue 1.0; 1 KILLED; 0 STOPPING; end 0.1; ");
  assert_true(engine_stop(e, &err)); /* again */
  assert_string_equal(run(e), "");
  engine_exited(e, a, 1, false, 0);
  assert_string_equal(run(e), "0 KILLED; release 0.1; sweep STOPPED; ");
  assert_true(engine_stop(e, &err));
  assert_false(engine_resume(e, 0, &err));
  assert_int_equal(err.code, ERR_WRONG_STATE);
  assert_int_equal(state_of(e, b), RUN_KILLED);
  engine_free(e);
}

static void pause_and_resume(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){0});
  struct err err = {0};
  uint32_t number;
  assert_true(engine_pause(e, &err) && engine_pause(e, &err));
  assert_int_equal(engine_wants(e, 3), 0);
  assert_true(engine_create(e, &number, &err)); /* a person's point waits */
  run(e);
  assert_int_equal(engine_trial(e, number)->state, RUN_QUEUED);
  assert_int_equal(engine_sweep(e).state, SWEEP_PAUSED);
  assert_true(engine_resume(e, 0, &err));
  run(e);
  assert_int_equal(engine_wants(e, 3), 2);
  assert_true(engine_drain(e, &err));
  run(e);
  assert_int_equal(engine_trial(e, number)->state, RUN_KILLED);
  assert_int_equal(engine_sweep(e).state, SWEEP_FINISHED);
  assert_false(engine_create(e, &number, &err));
  assert_string_equal(err.text, "the sweep is FINISHED and makes no new trials: a person wants no new trials");
  assert_false(engine_pause(e, &err));
  assert_string_equal(err.text, "the sweep is FINISHED, a person wants no new trials: it is too late to pause it");
  assert_string_equal(err.hint, "winnow sweep clone begins it anew");
  engine_free(e);
}

static void shelved_and_resumed(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){0});
  struct err err = {0};
  engine_shelve(e);
  uint64_t version = engine_sweep(e).version;
  engine_shelve(e);
  assert_int_equal(engine_sweep(e).version, version + 1); /* written once more */
  run(e);
  assert_int_equal(engine_sweep(e).state, SWEEP_PAUSED);
  assert_string_equal(engine_why_text((enum engine_why)engine_sweep(e).why), "its experiment was put into the trash");
  assert_int_equal(engine_wants(e, 3), 0);
  assert_true(engine_resume(e, 0, &err));
  run(e);
  assert_int_equal(engine_sweep(e).why, WHY_NONE);
  assert_int_equal(engine_wants(e, 3), 3);
  assert_true(engine_stop(e, &err));
  engine_shelve(e);
  assert_int_equal(engine_sweep(e).why, WHY_STOPPED);
  engine_free(e);
}

static void budgets_and_editing(void **state) {
  (void)state;
  struct engine_conf conf = {.max_time_ms = 1000, .run_cap = 5, .lease_ms = 30000, .slots = 1};
  struct engine *e = fresh(conf);
  struct err err = {0};
  uint32_t n = running(e);
  engine_tick(e, 1000);
  run(e);
  assert_int_equal(engine_sweep(e).why, WHY_TIME);
  assert_false(engine_resume(e, 1100, &err)); /* it would drain again at once */
  assert_string_equal(err.text, "the sweep cannot go on: max_time is used up");
  assert_non_null(strstr(err.hint, "--max-time"));
  conf.max_time_ms = 5000;
  engine_edit(e, &conf, 1500);
  run(e);
  assert_int_equal(engine_sweep(e).state, SWEEP_RUNNING);
  conf.max_slot_ms = 2000;
  engine_edit(e, &conf, 1600);
  engine_tick(e, 2100); /* the trial has run for 2.1 s */
  run(e);
  assert_int_equal(engine_sweep(e).why, WHY_SLOT_TIME);
  engine_exited(e, n, 1, true, 2200);
  run(e);
  assert_int_equal(engine_sweep(e).state, SWEEP_FINISHED);
  engine_free(e);
}

static void the_cap_is_exact(void **state) {
  (void)state;
  struct engine_conf conf = {.run_cap = 3, .max_parallel = 2, .lease_ms = 30000, .slots = 1};
  struct engine *e = fresh(conf);
  struct err err = {0};
  uint32_t number;
  assert_int_equal(engine_wants(e, 100), 2); /* max_parallel */
  for (int i = 0; i < 3; i++)
    create(e);
  assert_false(engine_create(e, &number, &err));
  assert_int_equal(err.code, ERR_WRONG_STATE);
  conf.run_cap = 4;
  engine_edit(e, &conf, 0);
  create(e);
  assert_false(engine_create(e, &number, &err));
  assert_true(engine_add(e, RUN_FINISHED, true, &number, &err)); /* a trial somebody else ran */
  assert_int_equal(number, 4);
  engine_free(e);
}

static void a_person_tries_again(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){0});
  struct err err = {0};
  uint32_t n = running(e);
  assert_false(engine_retry(e, n, &err));
  assert_true(engine_kill(e, n, 0, &err) && engine_kill(e, n, 0, &err));
  run(e);
  engine_exited(e, n, 1, true, 0);
  run(e);
  assert_int_equal(state_of(e, n), RUN_KILLED);
  assert_true(engine_retry(e, n, &err));
  assert_string_equal(run(e), "0 QUEUED; enqueue 0.1; ");
  assert_false(engine_kill(e, 99, 0, &err));
  engine_free(e);
}

static void asking_and_telling(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){.asks = true, .run_cap = 2});
  uint32_t n;
  assert_false(engine_ask(e, 1000, 0, &n));
  create(e);
  create(e);
  run(e);
  assert_true(engine_ask(e, 1000, 0, &n));
  assert_int_equal(n, 0);
  assert_true(engine_ask(e, 5000, 0, &n));
  assert_int_equal(n, 1);
  assert_false(engine_ask(e, 1000, 0, &n));
  run(e);
  assert_int_equal(state_of(e, 0), RUN_RUNNING);
  engine_tick(e, 1000); /* the first one's lease is over */
  run(e);
  assert_int_equal(state_of(e, 0), RUN_LOST);
  assert_true(engine_ask(e, 1000, 1000, &n)); /* the same trial, a new attempt */
  assert_int_equal(n, 0);
  assert_int_equal(engine_trial(e, 0)->attempt, 2);
  assert_int_equal(engine_tell(e, 0, 1, RUN_FINISHED, true, 1100), TOLD_FENCED);
  assert_int_equal(engine_tell(e, 0, 2, RUN_FINISHED, true, 1100), TOLD_OK);
  assert_int_equal(engine_tell(e, 0, 2, RUN_FINISHED, true, 1100), TOLD_AGAIN);
  engine_tick(e, 5000);
  assert_int_equal(engine_tell(e, 1, 1, RUN_STOPPED, true, 6000), TOLD_OK); /* late, and nobody has asked since */
  run(e);
  assert_int_equal(state_of(e, 0), RUN_FINISHED);
  assert_int_equal(state_of(e, 1), RUN_STOPPED);
  assert_int_equal(engine_sweep(e).state, SWEEP_FINISHED);
  assert_false(engine_ask(e, 1000, 6000, &n));
  engine_free(e);
}

/* Trials 0, 1, ... of workers that have taken them for a day. */
static void asked(struct engine *e, uint32_t count) {
  uint32_t n;
  for (uint32_t i = 0; i < count; i++) {
    create(e);
    assert_true(engine_ask(e, 86400000, 0, &n));
  }
  run(e);
}

static void a_stop_waits_for_no_worker_beyond_its_grace(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){.asks = true, .lease_ms = 86400000, .stop_grace_ms = 10000});
  struct engine_report bad = {.has_value = true, .stop = true};
  struct err err;
  asked(e, 5);
  engine_tick(e, 1000);
  assert_int_equal(engine_heard(e, 3, 1, &bad, 1000), ANSWER_GO_ON); /* its verdict is not stored yet */
  assert_true(engine_kill(e, 4, 1000, &err));
  run(e);
  engine_tick(e, 11000);
  assert_string_equal(run(e), "4 KILLED; "); /* by a person; who is stopped early learns of it when it reports */
  assert_int_equal(state_of(e, 3), RUN_STOPPING);
  engine_tick(e, 20000);
  assert_true(engine_stop(e, &err));
  run(e);
  assert_int_equal(engine_sweep(e).state, SWEEP_DRAINING);
  assert_int_equal(engine_heard(e, 0, 1, NULL, 29000), ANSWER_STOP); /* and has no longer for that */
  assert_int_equal(engine_tell(e, 1, 1, RUN_FINISHED, true, 29000), TOLD_OK);
  engine_tick(e, 29999);
  assert_string_equal(run(e), "1 KILLED; ");
  engine_tick(e, 30000);
  run(e);
  for (uint32_t n = 0; n < 3; n++)
    assert_int_equal(state_of(e, n), RUN_KILLED);
  assert_int_equal(state_of(e, 3), RUN_STOPPED);
  assert_int_equal(engine_trial(e, 0)->cause, CAUSE_SWEEP);
  assert_int_equal(engine_sweep(e).state, SWEEP_STOPPED);
  assert_int_equal(engine_heard(e, 0, 1, NULL, 30000), ANSWER_FENCED);
  engine_free(e);
}

static void a_stop_is_known_after_a_start(void **state) {
  (void)state;
  struct engine_conf conf = {.asks = true, .lease_ms = 86400000, .stop_grace_ms = 10000};
  struct engine_sweep sweep = {.version = 3, .state = SWEEP_DRAINING, .why = WHY_STOPPED};
  struct engine_trial ends = {.number = 0, .attempt = 1, .version = 3, .state = RUN_STOPPING, .cause = CAUSE_SWEEP, .lease_ms = 86400000};
  struct engine_trial runs = {.number = 1, .attempt = 1, .version = 2, .state = RUN_RUNNING, .lease_ms = 86400000};
  struct engine *e;
  struct err err;
  assert_true(engine_new(&conf, &sweep, 0, &e, &err) && engine_load(e, &ends, &err) && engine_load(e, &runs, &err));
  engine_loaded(e, 5000);
  assert_string_equal(run(e), "1 STOPPING; ");
  engine_tick(e, 14999);
  assert_string_equal(run(e), "");
  engine_tick(e, 15000);
  run(e);
  assert_int_equal(state_of(e, 0), RUN_KILLED);
  assert_int_equal(state_of(e, 1), RUN_KILLED);
  assert_int_equal(engine_sweep(e).state, SWEEP_STOPPED);
  engine_free(e);
}

static void a_drain_waits_for_no_worker_beyond_its_lease(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){.asks = true, .lease_ms = 86400000});
  struct err err;
  asked(e, 2);
  assert_true(engine_drain(e, &err));
  run(e);
  assert_int_equal(engine_tell(e, 0, 1, RUN_FINISHED, true, 1000), TOLD_OK);
  engine_tick(e, 86400000); /* the next who asks would get it, and nobody may ask */
  run(e);
  assert_int_equal(state_of(e, 1), RUN_LOST);
  assert_true(engine_trial(e, 1)->dead);
  assert_int_equal(engine_sweep(e).state, SWEEP_FINISHED);
  engine_free(e);
}

static void an_asked_trial_is_written_once(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){.asks = true, .lease_ms = 60000});
  uint32_t n;
  create(e);
  assert_true(engine_ask(e, 1000, 0, &n)); /* before its first row is stored */
  struct engine_todo write = engine_next(e);
  assert_true(write.kind == TODO_WRITE_TRIAL && write.creation);
  assert_int_equal(write.trial.state, RUN_RUNNING);
  assert_int_equal(write.trial.attempt, 1);
  assert_int_equal(write.trial.lease_ms, 1000);
  assert_false(engine_trial_durable(e, 0));
  assert_int_equal(engine_next(e).kind, TODO_NONE);
  engine_trial_written(e, 0, write.trial.version, true);
  assert_string_equal(run(e), "");
  /* A sign of life renews the lease that was asked for, not the sweep's. */
  assert_int_equal(engine_heard(e, 0, 1, NULL, 500), ANSWER_GO_ON);
  engine_tick(e, 1400);
  assert_int_equal(state_of(e, 0), RUN_RUNNING);
  engine_tick(e, 1500);
  assert_int_equal(state_of(e, 0), RUN_LOST);
  engine_free(e);
}

static void what_no_worker_heard_of_goes_to_the_next(void **state) {
  (void)state;
  struct engine *e = fresh((struct engine_conf){.asks = true});
  uint32_t n;
  create(e);
  assert_true(engine_ask(e, 60000, 0, &n));
  struct engine_todo write = engine_next(e);
  engine_trial_written(e, 0, write.trial.version, false);
  engine_unask(e, 0, 1);
  assert_int_equal(engine_next(e).kind, TODO_NONE);
  engine_tick(e, 0);
  run(e);
  assert_int_equal(state_of(e, 0), RUN_LOST);
  assert_true(engine_ask(e, 60000, 1, &n));
  assert_int_equal(engine_trial(e, 0)->attempt, 2);
  engine_unask(e, 0, 1); /* not this attempt */
  engine_tick(e, 2);
  assert_int_equal(state_of(e, 0), RUN_RUNNING);
  engine_free(e);
}

static void a_lost_one_waits_for_an_ask_after_a_start(void **state) {
  (void)state;
  struct engine_conf conf = {.asks = true, .lease_ms = 86400000};
  struct engine_sweep sweep = {.version = 1, .state = SWEEP_RUNNING};
  struct engine_trial lost = {.number = 0, .attempt = 1, .version = 3, .state = RUN_LOST, .lease_ms = 1000};
  struct engine_trial runs = {.number = 1, .attempt = 1, .version = 2, .state = RUN_RUNNING, .lease_ms = 1000};
  struct engine *e;
  struct err err;
  uint32_t n;
  assert_true(engine_new(&conf, &sweep, 0, &e, &err) && engine_load(e, &lost, &err) && engine_load(e, &runs, &err));
  engine_loaded(e, 0);
  run(e);
  assert_true(engine_ask(e, 1000, 1, &n));
  assert_int_equal(n, 0);
  assert_false(engine_ask(e, 1000, 1, &n));
  engine_tick(e, 1000); /* the other one has had its lease again */
  assert_true(engine_ask(e, 1000, 1001, &n));
  assert_int_equal(n, 1);
  engine_free(e);
}

static void loading_after_a_crash(void **state) {
  (void)state;
  struct engine_conf conf = {.run_cap = 6, .lease_ms = 30000, .slots = 1};
  struct engine_sweep sweep = {.version = 4, .state = SWEEP_RUNNING, .elapsed_ms = 77, .slot_ms = 60};
  struct engine *e = NULL;
  struct err err = {0};
  assert_true(engine_new(&conf, &sweep, 5000, &e, &err));
  static const struct engine_trial rows[] = {
      {.number = 4, .version = 2, .attempt = 1, .state = RUN_STOPPING, .cause = CAUSE_VERDICT},
      {.number = 0, .version = 9, .attempt = 1, .state = RUN_FINISHED, .dead = true},
      {.number = 1, .version = 2, .attempt = 1, .state = RUN_STARTING},
      {.number = 3, .version = 1, .state = RUN_QUEUED, .dead = true},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++)
    assert_true(engine_load(e, &rows[i], &err));
  assert_false(engine_load(e, &rows[0], &err));
  engine_load_slot_ms(e, 50); /* the sweep's own row is of a later time */
  assert_int_equal(engine_sweep(e).slot_ms, 60);
  engine_load_slot_ms(e, 90);
  assert_int_equal(engine_sweep(e).slot_ms, 90);
  engine_loaded(e, 5000);
  assert_string_equal(run(e), "start 1.1; enqueue 3.0; end 4.1; ");
  assert_int_equal(create(e), 2); /* the gap that a lost write left */
  assert_int_equal(create(e), 5);
  engine_tick(e, 34999); /* a full lease for everyone */
  assert_int_equal(state_of(e, 1), RUN_STARTING);
  engine_tick(e, 35000);
  assert_int_equal(state_of(e, 1), RUN_LOST);
  assert_int_equal(engine_sweep(e).elapsed_ms, 77 + 30000);
  engine_free(e);
}

static void memory_failures_are_reported(void **state) {
  (void)state;
  struct engine_conf conf = {.lease_ms = 1};
  for (unsigned long n = 1; n < 50; n++) {
    struct engine *e = NULL;
    struct err err = {0};
    struct engine_trial row = {.number = 20, .version = 1, .state = RUN_QUEUED};
    mem_fail_at(n, true);
    bool ok = engine_new(&conf, NULL, 0, &e, &err) && engine_load(e, &row, &err);
    mem_fail_at(0, false);
    engine_free(e);
    if (ok)
      return;
    assert_int_equal(err.code, ERR_NO_MEMORY);
  }
  fail_msg("never succeeded");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_trial_from_start_to_end),
      cmocka_unit_test(a_trial_made_for_slots_that_are_there),
      cmocka_unit_test(no_metric_is_a_failure),
      cmocka_unit_test(nothing_follows_before_it_is_durable),
      cmocka_unit_test(the_verdict_is_written_first),
      cmocka_unit_test(lost_and_back),
      cmocka_unit_test(a_lease_is_of_uptime),
      cmocka_unit_test(a_slow_store_is_not_a_dead_companion),
      cmocka_unit_test(silence_counts_as_death_where_it_must),
      cmocka_unit_test(failures_and_retries),
      cmocka_unit_test(a_sweep_whose_trials_all_failed_has_failed),
      cmocka_unit_test(one_success_and_it_does_not_give_up),
      cmocka_unit_test(it_does_not_give_up_on_one_that_reports),
      cmocka_unit_test(refused_by_nodes),
      cmocka_unit_test(a_trial_is_tried_again_after_the_end),
      cmocka_unit_test(a_sweep_stays_stopped_when_what_was_tried_again_is_killed),
      cmocka_unit_test(what_fails_again_leaves_a_failed_sweep),
      cmocka_unit_test(target_drains),
      cmocka_unit_test(stop_ends_everything),
      cmocka_unit_test(pause_and_resume),
      cmocka_unit_test(shelved_and_resumed),
      cmocka_unit_test(budgets_and_editing),
      cmocka_unit_test(the_cap_is_exact),
      cmocka_unit_test(a_person_tries_again),
      cmocka_unit_test(asking_and_telling),
      cmocka_unit_test(a_stop_waits_for_no_worker_beyond_its_grace),
      cmocka_unit_test(a_stop_is_known_after_a_start),
      cmocka_unit_test(a_drain_waits_for_no_worker_beyond_its_lease),
      cmocka_unit_test(an_asked_trial_is_written_once),
      cmocka_unit_test(what_no_worker_heard_of_goes_to_the_next),
      cmocka_unit_test(a_lost_one_waits_for_an_ask_after_a_start),
      cmocka_unit_test(loading_after_a_crash),
      cmocka_unit_test(memory_failures_are_reported),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
