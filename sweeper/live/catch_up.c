/* What is stored of a trial and was not heard. What was heard is known by the trial itself; the difference is made, and heard, in one go
 * when all is read, so nothing that comes meanwhile is heard twice. */
#include "base/log.h"
#include "base/mem.h"
#include "sweeper/live/live.h"
#include "sweeper/live/stored.h"

enum { AT_ONCE = 32, SIFTED_AT_ONCE = 4096, KEYS_MAX = 1024 * 1024 };

struct catching {
  struct sweeps *all;
  struct id run; /* the trial may go while its points are read */
  uint32_t attempt;
  unsigned missed; /* as of the start */
  sweeps_done_fn *done;
  void *ctx;
};

/* False: it may report no more. */
static bool hear(struct live_trial *trial, uint32_t attempt, const struct stored_point *points, size_t count, struct err *err) {
  AUTO_FREE uint64_t *said = NULL;
  size_t said_count, missed = 0;
  bool ok = true;
  if (!live_said(trial, attempt, &said, &said_count)) {
    log_warn("sweep", NULL, "%s: trial %u has reported so much that it is not known what was missed", trial->sweep->name, trial->number);
    return true;
  }
  for (size_t i = 0; i < count && ok; i++) {
    const struct point *point = &points[i].point;
    struct live_report report = {.key = points[i].key, .value = point->value, .epoch = point->epoch, .step = point->step};
    uint64_t hash = heard_hash(report.key, report.step, report.value);
    if (bsearch(&hash, said, said_count, sizeof *said, heard_by_hash))
      continue;
    ok = live_hear(trial, (int32_t)attempt, LIVE_FROM_STORE, &report, 1, err);
    missed += ok;
  }
  if (missed)
    log_info("sweep", NULL, "%s: %zu stored reports of trial %u are heard now", trial->sweep->name, missed, trial->number);
  return ok || err->code == ERR_FENCED;
}

static void on_stored(void *ctx, const struct stored_point *points, size_t count, const struct err *failed) {
  struct catching *c = ctx;
  struct live_trial *trial = sweeps_trial(c->all, c->run);
  struct err err;
  bool ok = !failed || failed->code == ERR_TOO_LARGE, current = trial && trial->course && (uint32_t)live_attempt(trial) == c->attempt;
  if (failed)
    err = *failed;
  if (ok && current)
    ok = hear(trial, c->attempt, points, count, &err);
  if (trial && trial->course && ok && trial->course->missed == c->missed)
    trial->course->missed = 0;
  c->done(c->ctx, ok ? NULL : &err);
  mem_free(c);
}

bool live_catch_up(struct live_trial *trial, sweeps_done_fn *done, void *ctx, struct err *err) {
  struct sweeps *s = trial->sweep->all;
  AUTO_ARENA struct arena arena = ARENA_INIT(KEYS_MAX);
  struct spec_texts keys;
  struct catching *c = mem_zalloc(sizeof *c);
  if (!c)
    return err_no_memory(err);
  *c = (struct catching){s, trial->run, (uint32_t)live_attempt(trial), live_course(trial)->missed, done, ctx};
  if (live_watched(trial->sweep, &arena, &keys, err) &&
      stored_read(s->conf.metrics, trial->run, (int32_t)c->attempt, &keys, on_stored, c, err))
    return true;
  mem_free(c);
  return false;
}

/* ---- all of them ---- */

struct missing {
  struct id run;
  unsigned missed; /* as of then */
};

struct catching_all {
  struct sweeps *all;
  struct missing *found; /* in this round */
  size_t found_count, sifted, sifting;
  size_t count, at; /* the first so many of them have points, and are read */
  size_t in_flight;
  struct err err;
  sweeps_done_fn *done;
  void *ctx;
};

static void go_on(struct catching_all *a);

static void on_one(void *ctx, const struct err *err) {
  struct catching_all *a = ctx;
  a->in_flight--;
  if (err && a->err.code == ERR_NONE)
    a->err = *err;
  go_on(a);
}

/* Who has missed something by now. */
static bool look(struct catching_all *a) {
  size_t cap = a->all->by_run.count;
  mem_free(a->found);
  a->found = mem_array(cap + 1, sizeof *a->found);
  a->found_count = a->sifted = a->count = a->at = 0;
  if (!a->found)
    return err_no_memory(&a->err);
  LIST_EACH(&a->all->sweeps, node) {
    const struct live_sweep *live = LIST_ENTRY(node, struct live_sweep, node);
    for (size_t i = 0; i < live->trial_count; i++) {
      const struct live_trial *trial = live_trial_at(live, i);
      if (trial && live_course(trial)->missed && a->found_count < cap)
        a->found[a->found_count++] = (struct missing){trial->run, live_course(trial)->missed};
    }
  }
  return a->found_count > 0;
}

/* Most have nothing stored, which is asked of many at once. */
static void on_sifted(void *ctx, const struct pg_reply *reply) {
  struct catching_all *a = ctx;
  struct err err;
  bool ok = pg_ok(reply, &err);
  for (size_t i = 0; i < a->sifting && ok; i++) {
    const struct missing *one = &a->found[a->sifted + i];
    struct live_trial *trial = sweeps_trial(a->all, one->run);
    if (pg_bool(reply, i, 0))
      a->found[a->count++] = *one;
    else if (trial && trial->course && trial->course->missed == one->missed)
      trial->course->missed = 0;
  }
  a->sifted += a->sifting;
  on_one(a, ok ? NULL : &err);
}

static bool sift(struct catching_all *a) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_METRIC_ANY);
  a->sifting = MIN_OF(a->found_count - a->sifted, (size_t)SIFTED_AT_ONCE);
  pg_begin_array(&args);
  for (size_t i = 0; i < a->sifting; i++)
    pg_put_uuid(&args, a->found[a->sifted + i].run);
  pg_end_array(&args);
  return pg_run(a->all->conf.pg, &args, 0, on_sifted, a, &a->err);
}

/* False: nothing is to be done now. */
static bool begin_one(struct catching_all *a) {
  if (a->sifted < a->found_count) {
    a->in_flight += !a->in_flight && sift(a);
    return false;
  }
  if (a->at == a->count)
    return !a->in_flight && look(a);
  if (a->in_flight == AT_ONCE)
    return false;
  struct live_trial *trial = sweeps_trial(a->all, a->found[a->at++].run);
  a->in_flight += trial && live_catch_up(trial, on_one, a, &a->err);
  return true;
}

static void go_on(struct catching_all *a) {
  while (a->err.code == ERR_NONE && begin_one(a))
    ;
  if (a->in_flight)
    return;
  a->done(a->ctx, a->err.code == ERR_NONE ? NULL : &a->err);
  mem_free(a->found);
  mem_free(a);
}

bool sweeps_catch_up(struct sweeps *s, sweeps_done_fn *done, void *ctx, struct err *err) {
  struct catching_all *a = mem_zalloc(sizeof *a);
  if (!a)
    return err_no_memory(err);
  *a = (struct catching_all){.all = s, .done = done, .ctx = ctx};
  go_on(a);
  return true;
}
