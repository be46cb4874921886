/* What is stored of a trial and was not heard. What was heard is known by the trial itself; the difference is made, and heard, in one go
 * when all is read, so nothing that comes meanwhile is heard twice. */
#include "base/log.h"
#include "base/mem.h"
#include "storage/metrics/metric_store.h"
#include "sweeper/live.h"

enum { AT_ONCE = 32, KEYS_BYTES_MAX = 4 * 1024 * 1024 };

/* A stored point, and the place of its key: of one moment and step, what counts iterations comes first. */
struct stored {
  struct point point;
  size_t key;
};

struct catching {
  struct sweeps *all;
  struct id run; /* the trial may go while its points are read */
  uint32_t attempt;
  unsigned missed; /* as of the start */
  struct arena arena;
  struct spec_texts keys;
  size_t at; /* which of them is being read */
  struct stored *points;
  size_t count, cap;
  sweeps_done_fn *done;
  void *ctx;
};

static void end(struct catching *c, const struct err *err) {
  c->done(c->ctx, err);
  mem_free(c->points);
  arena_release(&c->arena);
  mem_free(c);
}

static int cmp_hash(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

static int cmp_stored(const void *a, const void *b) {
  const struct stored *x = a, *y = b;
  if (x->point.time != y->point.time)
    return x->point.time < y->point.time ? -1 : 1;
  if (x->point.step != y->point.step)
    return x->point.step < y->point.step ? -1 : 1;
  return (x->key > y->key) - (x->key < y->key);
}

/* False: it may report no more. */
static bool hear(struct live_trial *trial, const struct catching *c, const uint64_t *said, size_t said_count, struct err *err) {
  size_t missed = 0;
  bool ok = true;
  for (size_t i = 0; i < c->count && ok; i++) {
    const struct point *point = &c->points[i].point;
    struct live_report report = {.key = c->keys.items[c->points[i].key], .value = point->value, .epoch = point->epoch, .step = point->step};
    uint64_t hash = heard_hash(report.key, report.step, report.value);
    if (bsearch(&hash, said, said_count, sizeof *said, cmp_hash))
      continue;
    ok = live_hear(trial, (int32_t)c->attempt, LIVE_FROM_STORE, &report, 1, err);
    missed += ok;
  }
  if (missed)
    log_info("sweep", NULL, "%s: %zu stored reports of trial %u are heard now", trial->sweep->name, missed, trial->number);
  return ok || err->code == ERR_FENCED;
}

/* All is read. */
static void conclude(struct catching *c) {
  struct live_trial *trial = sweeps_trial(c->all, c->run);
  AUTO_FREE uint64_t *said = NULL;
  size_t said_count;
  struct err err;
  bool ok = true, current = trial && trial->course && engine_trial(trial->sweep->engine, trial->number)->attempt == c->attempt;
  qsort(c->points, c->count, sizeof *c->points, cmp_stored);
  if (current && live_said(trial, c->attempt, &said, &said_count))
    ok = hear(trial, c, said, said_count, &err);
  else if (current)
    log_warn("sweep", NULL, "%s: trial %u has reported so much that it is not known what was missed", trial->sweep->name, trial->number);
  if (trial && ok && live_course(trial)->missed == c->missed && trial->course)
    trial->course->missed = 0;
  end(c, ok ? NULL : &err);
}

static bool keep(struct catching *c, const struct points *points, struct err *err) {
  if (points->n > c->cap - c->count) {
    size_t cap = c->count + points->n;
    struct stored *bigger = mem_resize(c->points, cap, sizeof *bigger);
    if (!bigger)
      return err_no_memory(err);
    c->points = bigger;
    c->cap = cap;
  }
  for (size_t i = 0; i < points->n; i++)
    c->points[c->count++] = (struct stored){points_at(points, i), c->at};
  return true;
}

static void read_next(struct catching *c);

/* Of more points than a page holds live_said() does not know either. */
static void on_page(void *ctx, const struct points *points, bool more UNUSED, const struct err *failed) {
  struct catching *c = ctx;
  struct err err;
  if (failed || !keep(c, points, &err)) {
    end(c, failed ? failed : &err);
    return;
  }
  c->at++;
  read_next(c);
}

static bool read_key(struct catching *c, struct err *err) {
  struct metric_page_ask ask = {.run = c->run,
                                .key = c->keys.items[c->at],
                                .order = METRIC_BY_TIME,
                                .attempt = (int32_t)c->attempt,
                                .from = INT64_MIN,
                                .to = INT64_MAX,
                                .limit = METRIC_PAGE_MAX};
  return metric_page(c->all->conf.metrics, &ask, on_page, c, err);
}

static void read_next(struct catching *c) {
  struct err err;
  if (c->at == c->keys.count)
    conclude(c);
  else if (!read_key(c, &err))
    end(c, &err);
}

static bool copy_keys(const struct live_sweep *live, struct catching *c, struct err *err) {
  if (!live_watched(live, &c->arena, &c->keys, err))
    return false;
  for (size_t i = 0; i < c->keys.count; i++) {
    char *copy = arena_strdup(&c->arena, c->keys.items[i]);
    if (!copy)
      return err_no_memory(err);
    c->keys.items[i] = str_n(copy, c->keys.items[i].n);
  }
  return true;
}

bool live_catch_up(struct live_trial *trial, sweeps_done_fn *done, void *ctx, struct err *err) {
  struct live_sweep *live = trial->sweep;
  struct catching *c = mem_zalloc(sizeof *c);
  if (!c)
    return err_no_memory(err);
  *c = (struct catching){.all = live->all,
                         .run = trial->run,
                         .attempt = (uint32_t)live_attempt(trial),
                         .missed = live_course(trial)->missed,
                         .arena = ARENA_INIT(KEYS_BYTES_MAX),
                         .done = done,
                         .ctx = ctx};
  bool ok = copy_keys(live, c, err) && (c->keys.count || err_set(err, ERR_WRONG_STATE, "nothing of it is looked at"));
  if (ok && read_key(c, err))
    return true;
  arena_release(&c->arena);
  mem_free(c);
  return false;
}

/* ---- all of them ---- */

struct catching_all {
  struct sweeps *all;
  struct id *runs; /* of this round */
  size_t count, at, in_flight;
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
  mem_free(a->runs);
  a->runs = mem_array(cap + 1, sizeof *a->runs);
  a->count = a->at = 0;
  if (!a->runs)
    return err_no_memory(&a->err);
  LIST_EACH(&a->all->sweeps, node) {
    const struct live_sweep *live = LIST_ENTRY(node, struct live_sweep, node);
    for (size_t i = 0; i < live->trial_count; i++) {
      const struct live_trial *trial = live_trial_at(live, i);
      if (trial && live_course(trial)->missed && a->count < cap)
        a->runs[a->count++] = trial->run;
    }
  }
  return a->count > 0;
}

static void go_on(struct catching_all *a) {
  while (a->err.code == ERR_NONE && a->in_flight < AT_ONCE && (a->at < a->count || (!a->in_flight && look(a)))) {
    struct live_trial *trial = sweeps_trial(a->all, a->runs[a->at++]);
    if (trial && live_catch_up(trial, on_one, a, &a->err))
      a->in_flight++;
  }
  if (a->in_flight)
    return;
  a->done(a->ctx, a->err.code == ERR_NONE ? NULL : &a->err);
  mem_free(a->runs);
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
