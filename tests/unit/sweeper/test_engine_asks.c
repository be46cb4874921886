/* Simulation of ask and tell: workers that ask, report, tell twice, come too late or never; a store that fails; a service that crashes.
 * Every trial is accepted exactly once, what was acknowledged stays, and the cap is exact. Some sweeps are stopped on their way, and end
 * whether their workers come or not. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "sweeper/engine/engine.h"

enum { CAP = 60, WORKERS = 6, WRITES = 300 };

struct worker {
  bool asked, has, told;
  uint32_t number, attempt;
  int64_t works_until;
};

struct write {
  bool used, creation, answers_ok, happens;
  struct engine_todo todo;
  int64_t at;
};

struct sim {
  struct rng rng;
  int64_t now;
  bool calm, stops;
  struct engine_conf conf;
  struct engine *engine;
  struct worker workers[WORKERS];
  struct write writes[WRITES];
  bool stored[CAP], acknowledged[CAP], sweep_stored;
  struct engine_trial rows[CAP];
  uint32_t accepted_attempt[CAP];
  struct engine_sweep sweep;
  uint64_t crashes, fenced, again;
};

static void apply(struct sim *s, const struct write *w) {
  const struct engine_todo *todo = &w->todo;
  if (todo->kind == TODO_WRITE_SWEEP) {
    if (!s->sweep_stored || s->sweep.version < todo->sweep.version)
      s->sweep = todo->sweep;
    s->sweep_stored = true;
    return;
  }
  uint32_t n = todo->trial.number;
  assert_true(n < CAP);
  if (s->stored[n] && s->rows[n].version >= todo->trial.version)
    return;
  assert_false(s->acknowledged[n] && todo->trial.state != s->rows[n].state); /* what was acknowledged stays */
  s->rows[n] = todo->trial;
  s->stored[n] = true;
}

static void store(struct sim *s) {
  for (struct write *w = s->writes; w < s->writes + WRITES; w++) {
    if (!w->used || s->now < w->at)
      continue;
    w->used = false;
    if (w->happens)
      apply(s, w);
    if (w->todo.kind == TODO_WRITE_SWEEP)
      engine_sweep_written(s->engine, w->todo.sweep.version, w->answers_ok);
    else
      engine_trial_written(s->engine, w->todo.trial.number, w->todo.trial.version, w->answers_ok);
  }
}

static void work(struct sim *s) {
  struct engine_todo todo;
  struct write batch = {0};
  while ((todo = engine_next(s->engine)).kind != TODO_NONE) {
    assert_true(todo.kind == TODO_WRITE_SWEEP || todo.kind == TODO_WRITE_TRIAL); /* there is no executor */
    struct write *w = s->writes;
    while (w->used)
      assert_true(++w < s->writes + WRITES);
    uint64_t luck = s->calm ? 99 : rng_below(&s->rng, 100);
    *w = (struct write){.used = true, .creation = todo.creation, .answers_ok = luck >= 8, .happens = luck >= 4, .todo = todo};
    w->at = s->now + (int64_t)rng_below(&s->rng, 200);
    if (todo.creation && batch.used) {
      w->answers_ok = batch.answers_ok;
      w->happens = batch.happens;
      w->at = batch.at;
    } else if (todo.creation) {
      batch = *w;
    }
  }
}

static void start(struct sim *s) {
  struct err err;
  assert_true(engine_new(&s->conf, s->sweep_stored ? &s->sweep : NULL, s->now, &s->engine, &err));
  for (uint32_t n = 0; n < CAP; n++)
    if (s->stored[n])
      assert_true(engine_load(s->engine, &s->rows[n], &err));
  engine_loaded(s->engine, s->now);
}

static void crash(struct sim *s) {
  bool batch = rng_below(&s->rng, 2);
  for (struct write *w = s->writes; w < s->writes + WRITES; w++) {
    if (w->used && w->happens && (w->creation ? batch : rng_below(&s->rng, 2)))
      apply(s, w);
    w->used = false;
  }
  for (size_t i = 0; i < WORKERS; i++) { /* their connections are gone, and with them the answers */
    s->workers[i].told = false;
    if (s->workers[i].asked && !s->workers[i].has)
      s->workers[i] = (struct worker){0};
  }
  engine_free(s->engine);
  start(s);
  s->crashes++;
}

static void ask(struct sim *s, struct worker *w) {
  uint32_t number;
  struct err err;
  if (engine_wants(s->engine, WORKERS))
    assert_true(engine_create(s->engine, &number, &err));
  if (!engine_ask(s->engine, s->conf.lease_ms, s->now, &number))
    return;
  *w = (struct worker){.asked = true, .number = number, .attempt = engine_trial(s->engine, number)->attempt};
}

static void tell(struct sim *s, struct worker *w) {
  enum run_state state = rng_below(&s->rng, 5) ? RUN_FINISHED : RUN_STOPPED;
  enum engine_told told = engine_tell(s->engine, w->number, w->attempt, state, true, s->now);
  s->again += told == TOLD_AGAIN;
  s->fenced += told == TOLD_FENCED;
  if (told == TOLD_FENCED)
    *w = (struct worker){0};
  else
    w->told = true;
}

/* A trial that ends after its sweep was stopped is killed, told or not. */
static bool is_accepted(const struct sim *s, uint32_t n) {
  unsigned state = s->rows[n].state;
  return state == RUN_FINISHED || state == RUN_STOPPED || (s->stops && state == RUN_KILLED);
}

static void step_worker(struct sim *s, struct worker *w) {
  if (!w->asked) {
    ask(s, w);
  } else if (!w->has) { /* it hears of its trial when the row is durable */
    w->has = engine_trial_durable(s->engine, w->number);
    w->works_until = s->now + (int64_t)rng_below(&s->rng, s->calm ? 1000 : 60000);
    const struct engine_trial *row = engine_trial(s->engine, w->number);
    if (!w->has && row->attempt != w->attempt)
      *w = (struct worker){0};
    if (w->has)
      assert_true(s->stored[w->number] && s->rows[w->number].attempt >= w->attempt);
  } else if (w->told) { /* until it is acknowledged, which is when the row is durable; it may ask again for certainty */
    if (!engine_trial_durable(s->engine, w->number) || rng_below(&s->rng, 3) == 0) {
      tell(s, w);
    } else {
      assert_true(is_accepted(s, w->number));
      assert_true(!s->acknowledged[w->number] || s->accepted_attempt[w->number] == w->attempt);
      s->acknowledged[w->number] = true;
      s->accepted_attempt[w->number] = w->attempt;
      *w = (struct worker){0};
    }
  } else if (s->now >= w->works_until) {
    tell(s, w);
  } else if (!s->calm && rng_below(&s->rng, 200) == 0) {
    *w = (struct worker){0};                                      /* never heard of again */
  } else if (w != &s->workers[0] && rng_below(&s->rng, 4) == 0) { /* the first one never says that it lives */
    (void)engine_heard(s->engine, w->number, w->attempt, NULL, s->now);
  }
}

/* Whoever wants it stopped says so again, should the service have forgotten it. */
static void stop(struct sim *s) {
  struct err err;
  if (!fsm_is_final(&sweep_fsm, engine_sweep(s->engine).state))
    assert_true(engine_stop(s->engine, &err));
}

static void one_sweep(uint64_t seed, bool stops, uint64_t totals[3]) {
  struct sim *s = mem_zalloc(sizeof *s);
  assert_non_null(s);
  s->rng = rng_seeded(seed);
  s->stops = stops;
  s->conf =
      (struct engine_conf){.asks = true, .run_cap = CAP, .lease_ms = stops ? 86400000 : 20000, .stop_grace_ms = 5000, .needs_value = true};
  int stops_at = stops ? 1 + (int)rng_below(&s->rng, 400) : INT_MAX;
  start(s);
  for (int steps = 0; !(fsm_is_final(&sweep_fsm, engine_sweep(s->engine).state) && s->sweep.version == engine_sweep(s->engine).version);
       steps++) {
    assert_true(steps < 100000);
    s->calm = steps > 5000;
    s->now += (int64_t)rng_below(&s->rng, 500);
    store(s);
    for (size_t i = 0; i < WORKERS; i++)
      step_worker(s, &s->workers[i]);
    if (rng_below(&s->rng, 4) == 0)
      engine_tick(s->engine, s->now);
    if (!s->calm && rng_below(&s->rng, 150) == 0)
      crash(s);
    if (steps >= stops_at)
      stop(s);
    work(s);
  }
  for (uint32_t n = 0; n < CAP; n++) {
    if (stops && !s->stored[n])
      continue;
    assert_true(s->stored[n] && is_accepted(s, n));
    assert_true(!s->acknowledged[n] || s->accepted_attempt[n] == s->rows[n].attempt);
  }
  assert_int_equal(s->sweep.state, stops ? SWEEP_STOPPED : SWEEP_FINISHED);
  totals[0] += s->crashes;
  totals[1] += s->fenced;
  totals[2] += s->again;
  engine_free(s->engine);
  mem_free(s);
}

static void every_trial_is_accepted_once(void **state) {
  (void)state;
  uint64_t totals[3] = {0};
  for (uint64_t seed = 1; seed <= 40; seed++)
    one_sweep(seed, false, totals);
  print_message("%llu crashes, %llu tells fenced, %llu told again\n", (unsigned long long)totals[0], (unsigned long long)totals[1],
                (unsigned long long)totals[2]);
  assert_true(totals[0] && totals[1] && totals[2]); /* the faults did happen */
}

static void a_stop_ends_all(void **state) {
  (void)state;
  uint64_t totals[3] = {0};
  for (uint64_t seed = 1; seed <= 200; seed++)
    one_sweep(seed, true, totals);
  assert_true(totals[0] && totals[2]);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_trial_is_accepted_once), cmocka_unit_test(a_stop_ends_all)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
