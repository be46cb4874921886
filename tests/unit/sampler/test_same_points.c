/* The same points come of the same: begun anew, after a restart, thought of in steps and on any number of threads. */
#include <math.h>
#include <pthread.h>

#include "tests/support/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "sampler/draw.h"
#include "tests/support/study.h"

/* The same events in the same order give the same points, however the asks lie between, and on a sampler that joins later. */
static void test_replay(void **state) {
  (void)state;
  for (size_t i = 0; i < STUDY_LEARNERS; i++)
    for (int which = 0; which < 2; which++) {
      struct study a = study_begin(which ? study_mixed : study_floats, study_learners[i], 77, GOAL_MINIMIZE);
      struct study b = study_begin(which ? study_mixed : study_floats, study_learners[i], 77, GOAL_MINIMIZE);
      double point[SPACE_PARAMS_MAX], other[SPACE_PARAMS_MAX];
      struct suggestion suggestion;
      struct err err;
      for (uint32_t n = 0; n < 45; n++) {
        study_ask(&a, n, point);
        if (n % 3 == 0) { /* asked for twice, and for a number out of turn */
          assert_true(sampler_suggest(b.sampler, n + 5, other, &suggestion, &err));
          assert_true(sampler_suggest(b.sampler, n, other, &suggestion, &err));
        }
        if (n == 30) { /* a restart: everything is followed at once */
          sampler_free(b.sampler);
          b.sampler = make_sampler(b.history, study_learners[i], 77);
        }
        study_ask(&b, n, other);
        assert_true(space_same(a.space, point, other));
        if (n >= 2) { /* two are under way */
          study_tell(&a, n - 2, n % 9 ? TRIAL_FINISHED : TRIAL_STOPPED, study_bowl(a.space, history_point(a.history, n - 2)));
          study_tell(&b, n - 2, n % 9 ? TRIAL_FINISHED : TRIAL_STOPPED, study_bowl(b.space, history_point(b.history, n - 2)));
        }
      }
      study_end(&a), study_end(&b);
    }
}

/* Thinking on the side: results arrive meanwhile, jobs overlap, points that were taken are passed over. */
static void test_jobs(void **state) {
  (void)state;
  struct study s = study_begin(study_floats, SAMPLER_GP, 3, GOAL_MINIMIZE);
  double point[3], other[3];
  struct err err;
  struct suggestion suggestion;
  for (uint32_t n = 0; n < 40; n++) {
    study_ask(&s, n, point);
    if (n < 38)
      study_tell(&s, n, TRIAL_FINISHED, study_bowl(s.space, point));
  }
  struct sampler_job *a, *b, *dropped;
  assert_true(sampler_start(s.sampler, 40, &a, &err) && sampler_start(s.sampler, 40, &b, &err) &&
              sampler_start(s.sampler, 41, &dropped, &err));
  assert_true(sampler_job_is_slow(a));
  sampler_job_run(a);
  study_tell(&s, 38, TRIAL_FINISHED, 0.2);
  assert_true(sampler_finish(s.sampler, a, point, &suggestion, &err));
  assert_true(history_add(s.history, 40, point, NULL, &err));
  assert_true(sampler_finish(s.sampler, b, other, &suggestion, &err)); /* never run: runs now */
  assert_false(space_same(s.space, point, other));
  sampler_job_drop(dropped);
  study_end(&s);
}

/* A history as it is read after a restart: trials by number, each result before the first trial that was added when it was known. */
struct past {
  double points[120][SPACE_PARAMS_MAX];
  uint32_t known[120], told[120]; /* results there were when it was added; trials in the order of their results */
  uint32_t added, tells;
};

static void replay(const struct past *past, struct study *s) {
  uint32_t told = 0;
  struct err err;
  for (uint32_t n = 0; n < past->added; n++) {
    for (; told < past->known[n]; told++)
      study_tell(s, past->told[told], TRIAL_FINISHED, study_bowl(s->space, past->points[past->told[told]]));
    assert_true(history_add(s->history, n, past->points[n], NULL, &err));
  }
  for (; told < past->tells; told++)
    study_tell(s, past->told[told], TRIAL_FINISHED, study_bowl(s->space, past->points[past->told[told]]));
}

/* With points thought of at one time and added at a later one, and memory that lies elsewhere. */
static void test_a_restart_changes_no_point(void **state) {
  (void)state;
  static struct past past;
  struct rng rng = rng_seeded(11);
  struct err err;
  struct suggestion suggestion;
  struct study s = study_begin(study_mixed, SAMPLER_GP, 5, GOAL_MINIMIZE);
  uint32_t pending[8], count = 0;
  for (uint32_t n = 0; n < 100; n++) {
    double other[SPACE_PARAMS_MAX];
    void *elsewhere = mem_alloc(1 + rng_below(&rng, 5000));
    assert_true(sampler_suggest(s.sampler, n, past.points[n], &suggestion, &err));
    struct study again = study_begin(study_mixed, SAMPLER_GP, 5, GOAL_MINIMIZE);
    replay(&past, &again);
    assert_true(sampler_suggest(again.sampler, n, other, &suggestion, &err));
    for (size_t i = 0; i < space_count(s.space); i++)
      if (memcmp(&past.points[n][i], &other[i], sizeof other[i]) != 0 && !(isnan(past.points[n][i]) && isnan(other[i])))
        fail_msg("point %u, parameter %zu: %.17g, after a restart %.17g", n, i, past.points[n][i], other[i]);
    study_end(&again);
    mem_free(elsewhere);
    for (uint32_t k = count > 4 ? 2 : 0; k > 0 && count; k -= rng_below(&rng, 2) ? 1 : 0) { /* results while it was thought of */
      uint32_t at = (uint32_t)rng_below(&rng, count), which = pending[at];
      memmove(pending + at, pending + at + 1, (--count - at) * sizeof *pending);
      past.told[past.tells++] = which;
      study_tell(&s, which, TRIAL_FINISHED, study_bowl(s.space, past.points[which]));
    }
    past.known[n] = past.tells;
    past.added = n + 1;
    assert_true(history_add(s.history, n, past.points[n], NULL, &err));
    pending[count++] = n;
  }
  study_end(&s);
}

static void *think_alone(void *ret) {
  double(*points)[SPACE_PARAMS_MAX] = ret;
  struct study s = study_begin(study_mixed, SAMPLER_GP, 5, GOAL_MINIMIZE);
  for (uint32_t n = 0; n < 60; n++) {
    study_ask(&s, n, points[n]);
    study_tell(&s, n, TRIAL_FINISHED, study_bowl(s.space, points[n]));
  }
  study_end(&s);
  return NULL;
}

/* Sweeps think on several threads at once: none may see another's numbers. */
static void test_threads_do_not_meet(void **state) {
  (void)state;
  enum { THREADS = 4 };
  static double points[THREADS][60][SPACE_PARAMS_MAX];
  pthread_t threads[THREADS];
  for (size_t t = 0; t < THREADS; t++)
    assert_int_equal(pthread_create(&threads[t], NULL, think_alone, points[t]), 0);
  for (size_t t = 0; t < THREADS; t++)
    assert_int_equal(pthread_join(threads[t], NULL), 0);
  static double alone[60][SPACE_PARAMS_MAX];
  think_alone(alone);
  for (size_t t = 0; t < THREADS; t++)
    assert_memory_equal(points[t], alone, sizeof alone);
}

/* Every `stride`-th job from the first on. */
struct share_of_jobs {
  struct sampler_job **jobs;
  size_t count, stride;
  pthread_barrier_t *begin;
};

static void *run_share(void *ctx) {
  const struct share_of_jobs *share = ctx;
  pthread_barrier_wait(share->begin);
  for (size_t k = 0; k < share->count; k += share->stride)
    sampler_job_run(share->jobs[k]);
  return NULL;
}

/* The jobs of one sweep, too, come to the same on any number of threads. */
static void test_any_number_of_threads_comes_to_the_same(void **state) {
  (void)state;
  enum { JOBS = 36, THREADS_MOST = 6, BEFORE = 60 };
  static double points[2][JOBS][SPACE_PARAMS_MAX];
  static const size_t threads[] = {1, 2, 3, THREADS_MOST};
  for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
    struct study s = study_begin(study_mixed, SAMPLER_GP, 5, GOAL_MINIMIZE);
    struct sampler_job *jobs[JOBS];
    struct share_of_jobs shares[THREADS_MOST];
    pthread_t ids[THREADS_MOST];
    pthread_barrier_t begin_all;
    struct suggestion suggestion;
    struct err err;
    double point[SPACE_PARAMS_MAX];
    for (uint32_t n = 0; n < BEFORE; n++) {
      draw_allowed(s.space, 1, n, 0, NULL, point);
      assert_true(history_add(s.history, n, point, NULL, &err));
      if (n % 8)
        study_tell(&s, n, TRIAL_FINISHED, study_bowl(s.space, point));
    }
    for (uint32_t k = 0; k < JOBS; k++)
      assert_true(sampler_start(s.sampler, BEFORE + k, &jobs[k], &err));
    assert_int_equal(pthread_barrier_init(&begin_all, NULL, (unsigned)threads[i]), 0);
    for (size_t t = 0; t < threads[i]; t++) {
      shares[t] = (struct share_of_jobs){jobs + t, JOBS - t, threads[i], &begin_all};
      assert_int_equal(pthread_create(&ids[t], NULL, run_share, &shares[t]), 0);
    }
    for (size_t t = 0; t < threads[i]; t++)
      assert_int_equal(pthread_join(ids[t], NULL), 0);
    pthread_barrier_destroy(&begin_all);
    for (size_t k = 0; k < JOBS; k++) {
      assert_true(sampler_finish(s.sampler, jobs[k], points[i > 0][k], &suggestion, &err));
      assert_int_equal(suggestion.by, SAMPLER_GP);
    }
    assert_memory_equal(points[i > 0], points[0], sizeof points[0]);
    study_end(&s);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_replay),
      cmocka_unit_test(test_jobs),
      cmocka_unit_test(test_a_restart_changes_no_point),
      cmocka_unit_test(test_threads_do_not_meet),
      cmocka_unit_test(test_any_number_of_threads_comes_to_the_same),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
