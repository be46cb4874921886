#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "sweeper/machine/schedule.h"

static struct schedule *fresh(const unsigned *nodes, size_t count) {
  struct schedule *s = NULL;
  struct err err = {0};
  assert_true(schedule_new(&s, &err));
  for (size_t i = 0; i < count; i++) {
    uint32_t node;
    assert_true(schedule_node_add(s, nodes[i], &node, &err));
    assert_int_equal(node, i);
  }
  return s;
}

static uint32_t add(struct schedule *s, uint32_t group, unsigned slots, int64_t priority, int64_t since) {
  uint32_t job;
  struct err err = {0};
  struct schedule_want want = {.group = group, .slots = slots, .priority = priority, .since = since};
  if (!schedule_job_add(s, &want, NULL, &job, &err))
    fail_msg("%s", err.text);
  return job;
}

static uint32_t group(struct schedule *s, uint32_t max_parallel) {
  uint32_t g;
  struct err err = {0};
  assert_true(schedule_group_add(s, &g, &err));
  schedule_group_set(s, g, max_parallel, false);
  return g;
}

static void placed(struct schedule *s, uint32_t job) {
  struct schedule_placement p;
  assert_true(schedule_next(s, &p));
  assert_int_equal(p.job, job);
}

static void nothing(struct schedule *s) {
  struct schedule_placement p;
  assert_false(schedule_next(s, &p));
}

static void reason(struct schedule *s, uint32_t job, const char *expected) {
  AUTO_BUF struct buf out = BUF_INIT(KIB);
  schedule_reason(s, job, &out);
  assert_string_equal(buf_text(&out), expected);
}

static void order_and_reasons(void **state) {
  (void)state;
  struct schedule *s = fresh((unsigned[]){1}, 1);
  uint32_t a = add(s, 0, 1, 0, 100), b = add(s, 0, 1, 0, 50), c = add(s, 0, 1, 1, 200), d = add(s, 0, 1, 0, 100);
  assert_int_equal(schedule_position(s, d), 3);
  placed(s, c); /* the higher priority */
  nothing(s);
  reason(s, c, "it has its slots");
  reason(s, b, "it is next: all slots are in use");
  reason(s, a, "1 job stands before it");
  reason(s, d, "2 jobs stand before it");
  schedule_job_set(s, b, 0, true);
  reason(s, a, "it is next: all slots are in use"); /* who is held stands before nobody */
  schedule_job_set(s, b, 0, false);
  schedule_job_remove(s, c);
  placed(s, b); /* the older */
  schedule_job_set(s, a, 0, true);
  schedule_job_remove(s, b);
  placed(s, d); /* a is held */
  reason(s, a, "it is held");
  schedule_job_remove(s, d);
  nothing(s);
  schedule_job_set(s, a, 0, false);
  schedule_node_set(s, 0, NODE_DRAINING);
  nothing(s);
  reason(s, a, "no node takes jobs now");
  schedule_node_set(s, 0, NODE_UP);
  placed(s, a);
  assert_int_equal(schedule_waiting(s), 0);
  schedule_free(s);
}

static void a_place_is_given_to_another(void **state) {
  (void)state;
  struct schedule *s = fresh((unsigned[]){1}, 1);
  uint32_t g = group(s, 0), a = add(s, g, 1, 0, 50), b = add(s, g, 2, 0, 100);
  int one, other;
  assert_int_equal(schedule_group_held(s, g), 0);
  schedule_job_set(s, b, 0, true);
  assert_int_equal(schedule_group_held(s, g), 1);
  schedule_job_give(s, a, &one);
  struct schedule_placement p;
  assert_true(schedule_next(s, &p));
  assert_ptr_equal(p.owner, &one);
  schedule_job_give(s, a, &other);
  assert_ptr_equal(schedule_owner(s, a), &other);
  assert_int_equal(schedule_node_info(s, 0).used, 1);
  assert_int_equal(schedule_group_held(s, g), 1);
  schedule_free(s);
}

static void expect_order(struct schedule *s, const uint32_t *jobs, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (schedule_position(s, jobs[i]) != i)
      fail_msg("job %u stands at %zu, not at %zu", jobs[i], schedule_position(s, jobs[i]), i);
}

static void move(struct schedule *s, uint32_t job, size_t position) {
  schedule_job_move(s, job, schedule_since_at(s, job, 0, position), 0, false);
}

static void jobs_are_moved(void **state) {
  (void)state;
  struct schedule *s = fresh((unsigned[]){1}, 1);
  uint32_t a = add(s, 0, 1, 0, 10000), b = add(s, 0, 1, 0, 20000), c = add(s, 0, 1, 0, 30000), d = add(s, 0, 1, 0, 40000);
  move(s, d, 0);
  expect_order(s, (uint32_t[]){d, a, b, c}, 4);
  move(s, d, 2);
  expect_order(s, (uint32_t[]){a, b, d, c}, 4);
  move(s, a, 99);
  expect_order(s, (uint32_t[]){b, d, c, a}, 4);
  move(s, a, 1);
  expect_order(s, (uint32_t[]){b, a, d, c}, 4);
  move(s, a, 1); /* where it is */
  expect_order(s, (uint32_t[]){b, a, d, c}, 4);
  for (int i = 0; i < 8; i++) { /* there is room between neighbours for a while */
    move(s, i % 2 ? a : d, 1);
    expect_order(s, (uint32_t[]){b, i % 2 ? a : d, i % 2 ? d : a, c}, 4);
  }
  schedule_job_move(s, c, schedule_since_at(s, c, 5, 0), 5, false); /* with another priority it stands where it was told all the same */
  expect_order(s, (uint32_t[]){c, b}, 2);
  schedule_job_move(s, c, 30000, 0, true);
  assert_int_equal(schedule_position(s, c), 3);
  placed(s, b);
  assert_false(schedule_is_waiting(s, b));
  uint16_t slots[SCHEDULE_SLOTS_MAX];
  assert_int_equal(schedule_job_slots(s, b, slots), 1);
  assert_int_equal(slots[0], 0);
  schedule_job_move(s, b, 0, 9, false); /* what runs is not moved */
  expect_order(s, (uint32_t[]){a, d}, 2);
  assert_int_equal(schedule_job_slots(s, a, slots), 0);
  schedule_job_remove(s, b);
  placed(s, a);
  schedule_job_remove(s, a);
  placed(s, d);
  schedule_job_remove(s, d);
  nothing(s); /* c is held */
  schedule_free(s);
}

static void waiting_outweighs_priority(void **state) {
  (void)state;
  struct schedule *s = fresh((unsigned[]){1}, 1);
  uint32_t old = add(s, 0, 1, 0, 0), later = add(s, 0, 1, 2, 2 * SCHEDULE_AGE_US + 1), sooner = add(s, 0, 1, 2, SCHEDULE_AGE_US);
  placed(s, sooner);
  schedule_job_remove(s, sooner);
  placed(s, old); /* has waited longer than two points are worth */
  schedule_job_remove(s, old);
  placed(s, later);
  schedule_free(s);
}

static void sweeps_have_limits(void **state) {
  (void)state;
  struct schedule *s = fresh((unsigned[]){4}, 1);
  uint32_t g = group(s, 2), a = add(s, g, 1, 0, 1), b = add(s, g, 1, 0, 2), c = add(s, g, 1, 0, 3), other = add(s, 0, 1, 0, 4);
  placed(s, a);
  placed(s, b);
  placed(s, other);
  nothing(s);
  reason(s, c, "its sweep runs 2 trials at once, and 2 are allowed");
  schedule_group_set(s, g, 3, true);
  nothing(s);
  reason(s, c, "its sweep is paused");
  schedule_group_set(s, g, 3, false);
  placed(s, c);
  schedule_group_set(s, g, 1, false); /* lowered: nothing is ended, nothing started */
  uint32_t d = add(s, g, 1, 0, 5);
  schedule_job_remove(s, a);
  nothing(s);
  schedule_job_remove(s, b);
  schedule_job_remove(s, c);
  placed(s, d);
  schedule_job_remove(s, d);
  schedule_group_remove(s, g);
  assert_int_equal(group(s, 0), g); /* its number is free again */
  schedule_free(s);
}

static void several_slots_on_one_node(void **state) {
  (void)state;
  struct schedule *s = fresh((unsigned[]){4, 2}, 2);
  struct schedule_placement p;
  uint32_t a = add(s, 0, 2, 0, 1), b = add(s, 0, 3, 0, 2), c = add(s, 0, 8, 0, 0);
  assert_true(schedule_next(s, &p));
  assert_int_equal(p.job, a);  /* nothing holds 8, so it stands in nobody's way */
  assert_int_equal(p.node, 1); /* the tightest fit */
  assert_true(schedule_next(s, &p));
  assert_int_equal(p.job, b);
  assert_int_equal(p.count, 3);
  assert_int_equal(p.slots[0] + p.slots[1] + p.slots[2], 0 + 1 + 2);
  reason(s, c, "it wants 8 slots, and the largest node that takes jobs has 4");
  uint32_t job;
  assert_true(schedule_slot_job(s, 0, 2, &job) && job == b);
  assert_false(schedule_slot_job(s, 0, 3, &job));
  schedule_free(s);
}

static void a_gang_does_not_starve(void **state) {
  (void)state;
  struct schedule *s = fresh((unsigned[]){2, 2}, 2);
  uint32_t small[4];
  for (int i = 0; i < 4; i++)
    small[i] = add(s, 0, 1, 0, i);
  for (int i = 0; i < 4; i++)
    placed(s, small[i]);
  uint32_t gang = add(s, 0, 2, 0, 10), after = add(s, 0, 1, 0, 11), more = add(s, 0, 1, 0, 12);
  nothing(s);
  reason(s, gang, "it is next: a node is kept free until 2 of its slots are");
  assert_true(schedule_node_info(s, 0).kept != schedule_node_info(s, 1).kept);
  uint32_t kept = schedule_node_info(s, 0).kept ? 0 : 1;
  uint32_t on_kept, on_other;
  assert_true(schedule_slot_job(s, kept, 0, &on_kept) && schedule_slot_job(s, 1 - kept, 0, &on_other));
  schedule_job_remove(s, on_kept);
  nothing(s); /* the slot is kept */
  schedule_job_remove(s, on_other);
  placed(s, after); /* the others go on */
  assert_true(schedule_slot_job(s, kept, 1, &on_kept));
  schedule_job_remove(s, on_kept);
  struct schedule_placement p;
  assert_true(schedule_next(s, &p));
  assert_int_equal(p.job, gang);
  assert_int_equal(p.node, kept);
  nothing(s);
  reason(s, more, "it is next: all slots are in use");
  schedule_free(s);
}

static void a_kept_node_that_goes_is_replaced(void **state) {
  (void)state;
  struct schedule *s = fresh((unsigned[]){2, 2}, 2);
  uint32_t a = add(s, 0, 1, 0, 0), b = add(s, 0, 2, 0, 1), c = add(s, 0, 2, 0, 2);
  placed(s, a);
  placed(s, b);
  nothing(s);
  uint32_t kept = schedule_node_info(s, 0).kept ? 0 : 1;
  assert_true(schedule_node_info(s, kept).kept);
  schedule_node_set(s, kept, NODE_DOWN);
  nothing(s);
  assert_true(schedule_node_info(s, 1 - kept).kept);
  schedule_job_remove(s, c); /* nobody wants it any more */
  assert_false(schedule_node_info(s, 1 - kept).kept);
  schedule_node_set(s, kept, NODE_UP);
  placed(s, add(s, 0, 1, 0, 3));
  schedule_free(s);
}

static void adoption(void **state) {
  (void)state;
  struct schedule *s = fresh((unsigned[]){3}, 1);
  struct schedule_want want = {.slots = 2};
  struct err err = {0};
  uint32_t job;
  assert_true(schedule_job_adopt(s, &want, NULL, 0, (uint16_t[]){0, 2}, &job, &err));
  assert_int_equal(schedule_node_info(s, 0).used, 2);
  uint32_t other;
  assert_false(schedule_job_adopt(s, &want, NULL, 0, (uint16_t[]){1, 2}, &other, &err));
  assert_int_equal(err.code, ERR_CONFLICT);
  assert_false(schedule_job_adopt(s, &want, NULL, 0, (uint16_t[]){1, 1}, &other, &err));
  assert_false(schedule_job_adopt(s, &want, NULL, 0, (uint16_t[]){1, 3}, &other, &err));
  struct schedule_placement p;
  add(s, 0, 1, 0, 0);
  assert_true(schedule_next(s, &p));
  assert_int_equal(p.slots[0], 1);
  schedule_free(s);
}

/* Random calls; after each: no slot twice, counts right, nobody placed out of turn that could not be. */
struct model_job {
  uint32_t job, node;
  unsigned slots, group;
  bool used, placed, held;
};

enum { MODEL_JOBS = 300, MODEL_NODES = 6, MODEL_GROUPS = 4 };

static void check_model(const struct schedule *s, const struct model_job *jobs, const uint32_t *limits, const bool *down) {
  unsigned used[MODEL_NODES] = {0};
  uint32_t running[MODEL_GROUPS] = {0};
  size_t waiting = 0;
  for (int i = 0; i < MODEL_JOBS; i++) {
    if (jobs[i].used && jobs[i].placed) {
      unsigned found = 0;
      for (unsigned slot = 0; slot < 8; slot++) {
        uint32_t job;
        found += schedule_slot_job(s, jobs[i].node, slot, &job) && job == jobs[i].job;
      }
      assert_int_equal(found, jobs[i].slots);
      used[jobs[i].node] += jobs[i].slots;
      running[jobs[i].group]++;
    }
    waiting += jobs[i].used && !jobs[i].placed;
  }
  for (uint32_t n = 0; n < MODEL_NODES; n++) {
    struct schedule_node_info info = schedule_node_info(s, n);
    assert_int_equal(info.used, used[n]);
    assert_true(info.used <= info.total && !(info.kept && down[n]));
  }
  (void)limits;
  (void)running;
  assert_int_equal(schedule_waiting(s), waiting);
}

static void random_calls(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 20; seed++) {
    struct rng rng = rng_seeded(seed);
    struct schedule *s = fresh((unsigned[]){1, 2, 4, 4, 8, 8}, MODEL_NODES);
    struct model_job jobs[MODEL_JOBS] = {0};
    uint32_t groups[MODEL_GROUPS] = {0}, limits[MODEL_GROUPS] = {0};
    bool down[MODEL_NODES] = {0};
    for (int g = 1; g < MODEL_GROUPS; g++)
      groups[g] = group(s, limits[g] = (uint32_t)g * 2);
    for (int step = 0; step < 2000; step++) {
      struct model_job *job = &jobs[rng_below(&rng, MODEL_JOBS)];
      uint64_t what = rng_below(&rng, 20);
      if (what < 8 && !job->used) {
        job->group = (unsigned)rng_below(&rng, MODEL_GROUPS);
        job->slots = 1u << rng_below(&rng, 4);
        job->job = add(s, groups[job->group], job->slots, (int64_t)rng_below(&rng, 5) - 2, step);
        job->used = true;
        job->placed = job->held = false;
      } else if (what < 13 && job->used) {
        schedule_job_remove(s, job->job);
        job->used = false;
      } else if (what < 14 && job->used && !job->placed) {
        job->held = rng_below(&rng, 2);
        schedule_job_set(s, job->job, (int64_t)rng_below(&rng, 5) - 2, job->held);
      } else if (what < 15) {
        uint32_t n = (uint32_t)rng_below(&rng, MODEL_NODES);
        down[n] = rng_below(&rng, 3) == 0;
        schedule_node_set(s, n, down[n] ? NODE_DOWN : NODE_UP);
      } else if (what < 16) {
        uint32_t g = 1 + (uint32_t)rng_below(&rng, MODEL_GROUPS - 1);
        schedule_group_set(s, groups[g], limits[g] = (uint32_t)rng_below(&rng, 8), rng_below(&rng, 4) == 0);
      }
      struct schedule_placement p;
      while (rng_below(&rng, 3) && schedule_next(s, &p)) {
        int i = 0;
        while (!(jobs[i].used && !jobs[i].placed && jobs[i].job == p.job))
          assert_true(++i < MODEL_JOBS);
        assert_false(jobs[i].held || down[p.node]);
        jobs[i].placed = true;
        jobs[i].node = p.node;
        uint32_t running = 0;
        for (int k = 0; k < MODEL_JOBS; k++)
          running += jobs[k].used && jobs[k].placed && jobs[k].group == jobs[i].group;
        assert_true(!limits[jobs[i].group] || running <= limits[jobs[i].group]);
      }
      check_model(s, jobs, limits, down);
    }
    /* let everything through: nobody is left behind */
    for (uint32_t n = 0; n < MODEL_NODES; n++)
      schedule_node_set(s, n, NODE_UP);
    for (int g = 1; g < MODEL_GROUPS; g++)
      schedule_group_set(s, groups[g], 0, false);
    for (int i = 0; i < MODEL_JOBS; i++)
      if (jobs[i].used && !jobs[i].placed)
        schedule_job_set(s, jobs[i].job, 0, false);
    for (int round = 0; round < MODEL_JOBS && schedule_waiting(s); round++) {
      struct schedule_placement p;
      while (schedule_next(s, &p))
        for (int i = 0; i < MODEL_JOBS; i++)
          if (jobs[i].used && jobs[i].job == p.job)
            jobs[i].placed = true;
      for (int i = 0; i < MODEL_JOBS; i++)
        if (jobs[i].used && jobs[i].placed) {
          schedule_job_remove(s, jobs[i].job);
          jobs[i].used = false;
          break;
        }
    }
    assert_int_equal(schedule_waiting(s), 0);
    schedule_free(s);
  }
}

/* A long stream of small jobs with one of each larger size in between: the longest wait, in jobs that overtook it, is bounded. */
static void nobody_starves(void **state) {
  (void)state;
  struct schedule *s = fresh((unsigned[]){8, 8, 8, 8}, 4);
  struct rng rng = rng_seeded(3);
  enum { JOBS = 20000, RUNNING_MAX = 32 };
  uint32_t running[RUNNING_MAX];
  size_t count = 0;
  int64_t *added = mem_array(JOBS, sizeof *added);
  int64_t now = 0, longest = 0;
  for (int i = 0; i < JOBS || schedule_waiting(s); now++) {
    for (int burst = 0; burst < 2 && i < JOBS; burst++, i++)
      added[add(s, 0, i % 50 ? 1 : 8, (int64_t)rng_below(&rng, 2), now * 1000) % JOBS] = now;
    struct schedule_placement p;
    while (schedule_next(s, &p)) {
      longest = MAX_OF(longest, now - added[p.job % JOBS]);
      running[count++] = p.job;
    }
    for (int ends = 0; ends < 3 && count; ends++) {
      size_t which = (size_t)rng_below(&rng, count);
      schedule_job_remove(s, running[which]);
      running[which] = running[--count];
    }
  }
  mem_free(added);
  assert_true(longest < 4000);
  schedule_free(s);
}

/* The processor's time, so that other work on the machine does not count. */
static int64_t cpu_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Ten thousand slots; with WINNOW_TEST_LONG a million jobs. */
static void a_decision_is_quick(void **state) {
  (void)state;
  unsigned nodes[1250];
  for (size_t i = 0; i < ARRAY_LEN(nodes); i++)
    nodes[i] = 8;
  double per_decision[2];
  for (int big = 0; big < 2; big++) {
    struct schedule *s = fresh(nodes, ARRAY_LEN(nodes));
    struct rng rng = rng_seeded(1);
    size_t count = !big ? 20000 : getenv("WINNOW_TEST_LONG") ? 1000000 : 100000;
    uint32_t groups[100];
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
      groups[i] = group(s, 200);
    for (size_t i = 0; i < count; i++)
      add(s, groups[rng_below(&rng, 100)], rng_below(&rng, 20) ? 1 : 4, (int64_t)rng_below(&rng, 3), (int64_t)i);
    uint32_t *running = mem_array(10000, sizeof *running);
    size_t live = 0, decisions = 0;
    struct schedule_placement p;
    while (schedule_next(s, &p))
      running[live++] = p.job;
    int64_t start = cpu_us(), worst = 0;
    for (int i = 0; i < 5000; i++) {
      size_t which = (size_t)rng_below(&rng, live);
      int64_t before = cpu_us();
      schedule_job_remove(s, running[which]);
      running[which] = running[--live];
      while (schedule_next(s, &p)) {
        running[live++] = p.job;
        decisions++;
      }
      worst = MAX_OF(worst, cpu_us() - before);
    }
    per_decision[big] = (double)(cpu_us() - start) / 5000;
    print_message("%zu jobs: %.2f us a decision, worst %lld us, %zu placed\n", count, per_decision[big], (long long)worst, decisions);
    mem_free(running);
    schedule_free(s);
  }
  assert_true(per_decision[1] < 1000);
}

static void memory_failures_are_reported(void **state) {
  (void)state;
  for (unsigned long n = 1; n < 100; n++) {
    struct schedule *s = NULL;
    struct err err = {0};
    uint32_t node, g, job;
    struct schedule_want want = {.slots = 1};
    mem_fail_at(n, true);
    bool ok = schedule_new(&s, &err) && schedule_node_add(s, 4, &node, &err) && schedule_group_add(s, &g, &err);
    for (int i = 0; ok && i < 40; i++)
      ok = schedule_job_add(s, &want, NULL, &job, &err);
    mem_fail_at(0, false);
    schedule_free(s);
    if (ok)
      return;
    assert_int_equal(err.code, ERR_NO_MEMORY);
  }
  fail_msg("never succeeded");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(order_and_reasons),
      cmocka_unit_test(a_place_is_given_to_another),
      cmocka_unit_test(jobs_are_moved),
      cmocka_unit_test(waiting_outweighs_priority),
      cmocka_unit_test(sweeps_have_limits),
      cmocka_unit_test(several_slots_on_one_node),
      cmocka_unit_test(a_gang_does_not_starve),
      cmocka_unit_test(a_kept_node_that_goes_is_replaced),
      cmocka_unit_test(adoption),
      cmocka_unit_test(random_calls),
      cmocka_unit_test(nobody_starves),
      cmocka_unit_test(a_decision_is_quick),
      cmocka_unit_test(memory_failures_are_reported),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
