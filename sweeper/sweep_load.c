/* After a start: the sweeps that are not over, their trials, results and reports, as they came about. */
#include "base/log.h"
#include "base/mem.h"
#include "sweeper/jobs/jobs.h"
#include "sweeper/machine/exec_local.h"
#include "sweeper/prior.h"
#include "sweeper/sweeps_inside.h"

enum { LIVING_MAX = 64, PAGE_POINTS = 4096 };

struct first_end {
  uint32_t number;
  struct live_first_end end;
};

struct sweeps_loading {
  struct list_node node; /* among those that load one sweep */
  struct sweeps *all;
  sweeps_done_fn *done;
  void *ctx;
  struct list_node *at;   /* the sweep being read */
  struct live_sweep *one; /* only this one, which is in no list yet; NULL: all */
  struct id id;           /* of it */
  int64_t attempts_ms;    /* how long the attempts of the sweep being read took */
  double **pages;         /* points by number, PAGE_POINTS a page, until the history has them; all NaN: none */
  size_t page_count;
  struct first_end *first_ends; /* of the sweep being read, by number */
  size_t first_end_count, first_end_cap;
  bool is_damaged;    /* a row of the sweep being read cannot be, and `damage` says which was the first */
  bool has_strangers; /* it has runs that could not be listed */
  struct err damage;
};

static struct live_sweep *loading_sweep(const struct sweeps_loading *loading) {
  return loading->one ? loading->one : LIST_ENTRY(loading->at, struct live_sweep, node);
}

/* ---- points ---- */

static size_t point_width(const struct live_sweep *live) {
  return MAX_OF(space_count(live->space), (size_t)1);
}

static double *new_page(size_t width) {
  double *page = mem_array(PAGE_POINTS * width, sizeof *page);
  for (size_t i = 0; page && i < PAGE_POINTS * width; i++)
    page[i] = NAN;
  return page;
}

/* Room for the point of this trial; NULL: no memory. */
static double *make_point(struct sweeps_loading *loading, uint32_t number) {
  size_t page = number / PAGE_POINTS, width = point_width(loading_sweep(loading));
  if (page >= loading->page_count) {
    size_t count = MAX_OF(2 * loading->page_count, page + 16);
    double **pages = mem_resize(loading->pages, count, sizeof *pages);
    if (!pages)
      return NULL;
    memset(pages + loading->page_count, 0, (count - loading->page_count) * sizeof *pages);
    loading->pages = pages;
    loading->page_count = count;
  }
  if (!loading->pages[page])
    loading->pages[page] = new_page(width);
  return loading->pages[page] ? loading->pages[page] + number % PAGE_POINTS * width : NULL;
}

/* NULL: there is no such trial, or it never got one. */
static const double *point_of(const struct sweeps_loading *loading, size_t number) {
  size_t page = number / PAGE_POINTS, width = point_width(loading_sweep(loading));
  const double *points = page < loading->page_count ? loading->pages[page] : NULL, *point = points + number % PAGE_POINTS * width;
  for (size_t i = 0; points && i < width; i++)
    if (!isnan(point[i]))
      return point;
  return NULL;
}

static void forget_page(struct sweeps_loading *loading, size_t page) {
  mem_free(loading->pages[page]);
  loading->pages[page] = NULL;
}

static void forget_points(struct sweeps_loading *loading) {
  for (size_t page = 0; page < loading->page_count; page++)
    forget_page(loading, page);
  mem_free(loading->pages);
  mem_free(loading->first_ends);
  loading->pages = NULL;
  loading->first_ends = NULL;
  loading->page_count = loading->first_end_count = loading->first_end_cap = 0;
}

/* ---- first ends ---- */

static bool add_first_end(struct sweeps_loading *loading, const struct first_end *end, struct err *err) {
  if (loading->first_end_count == loading->first_end_cap) {
    size_t cap = MAX_OF(2 * loading->first_end_cap, (size_t)16);
    struct first_end *bigger = mem_resize(loading->first_ends, cap, sizeof *bigger);
    if (!bigger)
      return err_no_memory(err);
    loading->first_ends = bigger;
    loading->first_end_cap = cap;
  }
  loading->first_ends[loading->first_end_count++] = *end;
  return true;
}

static int by_number(const void *a, const void *b) {
  const struct first_end *x = a, *y = b;
  return (x->number > y->number) - (x->number < y->number);
}

/* NULL: nobody has had it tried again. */
static const struct live_first_end *first_end_of(const struct sweeps_loading *loading, uint32_t number) {
  const struct first_end key = {.number = number};
  const struct first_end *found =
      loading->first_end_count ? bsearch(&key, loading->first_ends, loading->first_end_count, sizeof key, by_number) : NULL;
  return found ? &found->end : NULL;
}

static bool read_first_end(struct sweeps_loading *loading, const struct pg_reply *row, uint32_t number, struct err *err) {
  if (pg_is_null(row, 0, 26))
    return true;
  struct first_end first = {
      .number = number,
      .end = {
          .state = (uint8_t)pg_int(row, 0, 26), .value = pg_float8(row, 0, 27), .step = pg_int(row, 0, 28), .reports = pg_int(row, 0, 29)}};
  return add_first_end(loading, &first, err);
}

/* ---- ending ---- */

static void adopt_jobs(struct live_sweep *live) {
  for (size_t i = 0; i < live->trial_count; i++)
    if (live_trial_at(live, i))
      jobs_adopt(live_trial_at(live, i), engine_trial(live->engine, (uint32_t)i));
}

static void end_loading(struct sweeps_loading *loading, const struct err *err) {
  struct sweeps *s = loading->all;
  s->ready = !err;
  s->loading = NULL;
  if (err) { /* to be loaded again */
    while (s->sweeps.first)
      sweeps_unlist(LIST_ENTRY(s->sweeps.first, struct live_sweep, node));
    damaged_forget_all(s);
    resting_forget_all(s);
    exec_local_forget_all(s->executor);
  } else {
    LIST_EACH(&s->sweeps, node)
    adopt_jobs(LIST_ENTRY(node, struct live_sweep, node));
    loop_timer_start(s->tick, LIVE_TICK_MS);
    sweeps_kick(s);
  }
  loading->done(loading->ctx, err);
  forget_points(loading);
  mem_free(loading);
}

/* Jobs of damaged sweeps first: those of the others are given the slots that are left where they have noted none. */
static void on_looked(void *ctx, const struct err *err) {
  struct sweeps_loading *loading = ctx;
  struct err unseen;
  if (!err && !jobs_inherit(loading->all, &unseen))
    err = &unseen;
  end_loading(loading, err);
}

static void on_caught_up(void *ctx, const struct err *err) {
  struct sweeps_loading *loading = ctx;
  struct err failed;
  if (err || !sweeps_look_into_trash(loading->all, STR_NONE, on_looked, loading, &failed))
    end_loading(loading, err ? err : &failed);
}

/* Only now may anything come of it: while it was read it was in no list. */
static void end_one(struct sweeps_loading *loading, const struct err *failed) {
  struct sweeps *s = loading->all;
  struct live_sweep *live = loading->one;
  struct err err, ignored;
  bool ok = !failed;
  if (failed)
    err = *failed;
  ok = ok && sweeps_ready(s, &err) && sweeps_list(s, live, &err);
  if (ok)
    adopt_jobs(live);
  else
    live_free(live);
  if (ok)
    (void)!sweeps_look_into_trash(s, STR_NONE, NULL, NULL, &ignored);
  list_remove(&loading->node);
  loading->done(loading->ctx, ok ? NULL : &err);
  forget_points(loading);
  mem_free(loading);
}

static void end_reading(struct sweeps_loading *loading, const struct err *err) {
  if (loading->one)
    end_one(loading, err);
  else
    end_loading(loading, err);
}

/* ---- reading ---- */

/* What its attempts took until now. */
static int64_t time_taken(const struct live_trial *trial, const struct pg_reply *row, unsigned state) {
  int64_t until = trial->ended ? trial->ended : live_wall(trial->sweep->all);
  if (!pg_is_null(row, 0, 31))
    return pg_int(row, 0, 31);
  return trial->started && (trial->ended || state != RUN_QUEUED) ? MAX_OF(until - trial->started, (int64_t)0) : 0;
}

static bool is_from(int64_t value, int64_t least, int64_t most) {
  return value >= least && value <= most;
}

/* What the engine keeps of the row; false when not all of it is possible. */
static bool read_state(const struct pg_reply *row, struct engine_trial *ret, struct err *err) {
  int64_t number = pg_int(row, 0, 1), version = pg_int(row, 0, 2), state = pg_int(row, 0, 3), attempt = pg_int(row, 0, 4);
  int64_t cause = pg_int(row, 0, 5), retries = pg_int(row, 0, 6), lease = pg_int(row, 0, 18);
  const char *wrong = !is_from(number, 0, ENGINE_TRIALS_MAX - 1) ? "number"
                      : !is_from(version, 1, UINT32_MAX)         ? "version"
                      : !is_from(state, 0, RUN_STATE_COUNT - 1)  ? "state"
                      : !is_from(attempt, 0, INT32_MAX)          ? "attempt"
                      : !is_from(cause, CAUSE_NONE, CAUSE_LOST)  ? "cause"
                      : !is_from(retries, 0, UINT16_MAX)         ? "retries"
                      : !is_from(lease, 0, UINT32_MAX)           ? "lease_ms"
                                                                 : NULL;
  *ret = (struct engine_trial){.number = (uint32_t)number,
                               .version = (uint32_t)version,
                               .state = (uint8_t)state,
                               .attempt = (uint32_t)attempt,
                               .cause = (uint8_t)cause,
                               .retries = (uint16_t)retries,
                               .dead = pg_bool(row, 0, 7),
                               .has_value = !pg_is_null(row, 0, 8),
                               .lease_ms = (uint32_t)lease};
  return !wrong || err_set(err, ERR_INVALID, "its %s is none that a trial can have", wrong);
}

/* A trial for whose point there was no memory has none: it was killed before it began. */
static bool read_point(struct sweeps_loading *loading, const struct pg_reply *row, const struct engine_trial *state, struct err *err) {
  const struct live_sweep *live = loading_sweep(loading);
  struct str coords = pg_bytea(row, 0, 15);
  size_t count = space_count(live->space);
  if (!coords.p && !state->attempt && engine_row_is_over(state))
    return true;
  if (coords.n != count * sizeof(double))
    return err_set(err, ERR_INVALID, "its coordinates are %zu bytes, and a point of this space has %zu", coords.n, count * sizeof(double));
  double *point = make_point(loading, state->number);
  if (!point)
    return err_no_memory(err);
  if (!count)
    *point = 0; /* it is there */
  else
    memcpy(point, coords.p, coords.n);
  return !count || space_has_point(live->space, point, err);
}

static bool read_trial(struct sweeps_loading *loading, const struct pg_reply *row, struct err *err) {
  struct live_sweep *live = loading_sweep(loading);
  struct engine_trial state;
  struct str stop = pg_jsonb(row, 0, 16), reason = pg_text(row, 0, 17);
  if (!read_state(row, &state, err) || !engine_load(live->engine, &state, err))
    return false;
  struct live_trial *trial = live_trial_new(live, state.number, pg_uuid(row, 0, 0), err);
  if (!trial || !read_point(loading, row, &state, err) || !read_first_end(loading, row, state.number, err))
    return false;
  trial->shown = trial->noted = state.state;
  if (state.attempt && !state.dead && !engine_row_is_over(&state))
    live_note_missed(trial);
  trial->value = pg_float8(row, 0, 8);
  trial->value_step = pg_int(row, 0, 9);
  trial->best = pg_float8(row, 0, 10);
  trial->last = pg_is_null(row, 0, 32) ? trial->value : pg_float8(row, 0, 32);
  trial->last_step = pg_is_null(row, 0, 33) ? trial->value_step : pg_int(row, 0, 33);
  trial->created = pg_int(row, 0, 11);
  trial->started = pg_int(row, 0, 12);
  trial->ended = pg_int(row, 0, 13);
  loading->attempts_ms += time_taken(trial, row, state.state);
  trial->told = pg_is_null(row, 0, 14) ? -1 : (int32_t)pg_int(row, 0, 14);
  trial->course->held = pg_bool(row, 0, 23);
  trial->course->has_priority = !pg_is_null(row, 0, 24);
  trial->course->queue_priority = pg_int(row, 0, 24);
  trial->course->queue_since = pg_int(row, 0, 25);
  trial->made = (struct live_made){.by = (int8_t)pg_int(row, 0, 19),
                                   .tells = (uint32_t)pg_int(row, 0, 20),
                                   .pending = (uint32_t)pg_int(row, 0, 21),
                                   .reports = (uint32_t)pg_int(row, 0, 30)};
  trial->at_tells = (uint32_t)pg_int(row, 0, 22);
  trial->course->stop = stop.p ? mem_strndup(stop.p, stop.n) : NULL;
  const char *known = live_usual_reason(trial, &state); /* which needs no copy, and so perhaps no course */
  trial->course->reason = reason.p && !(known && str_is(reason, known)) ? mem_strndup(reason.p, reason.n) : NULL;
  live_course_close(trial);
  return true;
}

/* Of a row that cannot be: so that its job, should it run, is not told that nobody waits for it. */
static void list_unreadable(struct sweeps_loading *loading, const struct pg_reply *row) {
  struct live_sweep *live = loading_sweep(loading);
  struct engine_trial state;
  struct err ignored;
  struct id run = pg_uuid(row, 0, 0);
  (void)!read_state(row, &state, &ignored);
  bool has_number = is_from(pg_int(row, 0, 1), 0, ENGINE_TRIALS_MAX - 1);
  struct live_trial *trial = has_number ? live_trial_at(live, state.number) : NULL;
  if (has_number && !trial)
    trial = live_trial_new(live, state.number, run, &ignored);
  if (!trial || !id_eq(trial->run, run))
    loading->has_strangers = true;
}

/* The first row that cannot be is told; what comes after it is read for its jobs alone. */
static void on_trial_row(void *ctx, const struct pg_reply *row) {
  struct sweeps_loading *loading = ctx;
  struct err err;
  if (read_trial(loading, row, &err))
    return;
  list_unreadable(loading, row);
  if (loading->is_damaged)
    return;
  char run[ID_HEX_LEN + 1];
  id_format(pg_uuid(row, 0, 0), run);
  loading->is_damaged = true;
  loading->damage = err;
  err_prefix(&loading->damage, "trial %lld (table run, id %s)", (long long)pg_int(row, 0, 1), run);
}

/* What it was told at first; what became of the trial since is for others than the sampler. */
static void tell_again(const struct sweeps_loading *loading, struct live_trial *trial) {
  const struct engine_trial *row = engine_trial(trial->sweep->engine, trial->number);
  const struct live_first_end *first = first_end_of(loading, trial->number);
  int32_t told = trial->told;
  if (first)
    live_tell_sampler(trial, first);
  else
    trial->told = -1;
  live_note_end(trial, row);
  if (told >= 0)
    trial->told = told;
}

/* The history as it came about: trials by number, each result before the first trial that knew of it. */
static bool rebuild_history(struct sweeps_loading *loading, struct err *err) {
  struct live_sweep *live = loading_sweep(loading);
  size_t told = 0, base = live->prior_count;
  struct live_trial **order = mem_array(live->trial_count + 1, sizeof(struct live_trial *));
  if (!order)
    return err_no_memory(err);
  for (size_t i = 0; i < live->trial_count; i++) {
    struct live_trial *trial = live_trial_at(live, i);
    if (trial && trial->told >= 0 && (size_t)trial->told - base < live->trial_count)
      order[(size_t)trial->told - base] = trial;
  }
  bool ok = true;
  for (size_t i = 0; i < live->trial_count && ok; i++) {
    const struct live_trial *trial = live_trial_at(live, i);
    const double *point = point_of(loading, i);
    if (!trial || !point)
      continue;
    size_t known = trial->at_tells > base ? trial->at_tells - base : 0;
    for (; told < MIN_OF(live->trial_count, known); told++)
      if (order[told] && order[told]->number < i)
        tell_again(loading, order[told]);
    ok = history_add(live->history, (uint32_t)i, point, NULL, err);
    live->width = MAX_OF(live->width, (uint32_t)history_pending(live->history));
    if (i % PAGE_POINTS == PAGE_POINTS - 1)
      forget_page(loading, i / PAGE_POINTS);
  }
  for (; told < live->trial_count && ok; told++)
    if (order[told])
      tell_again(loading, order[told]);
  mem_free(order);
  for (size_t i = 0; i < live->trial_count && ok; i++) {
    struct live_trial *trial = live_trial_at(live, i);
    size_t at = trial ? history_find(live->history, (uint32_t)i) : SIZE_MAX;
    if (at != SIZE_MAX && history_state(live->history, at) == TRIAL_PENDING) {
      trial->told = -1;
      live_show_value(trial);
      live_note_end(trial, engine_trial(live->engine, (uint32_t)i));
    }
  }
  sampler_follow(live->sampler);
  return ok;
}

static void on_report_row(void *ctx, const struct pg_reply *row) {
  struct sweeps_loading *loading = ctx;
  struct live_sweep *live = loading_sweep(loading);
  uint32_t number = (uint32_t)pg_int(row, 0, 1);
  live->reports = live->reports_durable = pg_int(row, 0, 0) + 1;
  struct live_trial *trial = live_trial_at(live, number);
  struct err err;
  if (!trial)
    return;
  if (!live_course_open(trial, &err)) {
    log_error("sweep", NULL, "%s: a report of trial %u could not be read: %s", live->name, number, err.text);
    return;
  }
  struct live_value before = live_value(trial);
  bool target, goal;
  struct stop_verdict verdict;
  struct live_report report = {
      .key = pg_text(row, 0, 3), .value = pg_float8(row, 0, 4), .step = pg_int(row, 0, 5), .epoch = pg_float8(row, 0, 6)};
  const struct engine_trial *state = engine_trial(live->engine, number);
  const struct live_first_end *first = first_end_of(loading, number);
  trial->course->knows_first_end = first && pg_int(row, 0, 0) >= first->reports;
  uint32_t attempt = (uint32_t)pg_int(row, 0, 2), source = pg_is_null(row, 0, 7) ? LIVE_FROM_STORE : (uint32_t)pg_int(row, 0, 7);
  live_take_report(trial, attempt, &report, &verdict, &target, &goal);
  if (!engine_row_is_over(state)) {
    if (attempt == state->attempt)
      live_heard(trial, attempt, source, &report);
  } else {
    trial->value = before.value;
    trial->best = before.best;
    trial->value_step = before.step;
    trial->last = before.last;
    trial->last_step = before.last_step;
  }
}

static void load_next(struct sweeps_loading *loading);

/* What is only needed while a trial may have another attempt. */
static void forget_courses(const struct live_sweep *live) {
  for (size_t i = 0; i < live->trial_count; i++)
    if (live_trial_at(live, i))
      live_course_close(live_trial_at(live, i));
}

/* The sweep rests, and those after it are read. What may be otherwise a moment later is no damage: then the start is tried again. */
static void end_damaged(struct sweeps_loading *loading, const struct err *why) {
  struct live_sweep *live = loading_sweep(loading);
  if (loading->one || err_info(why->code)->retryable) {
    end_reading(loading, why);
    return;
  }
  loading->at = loading->at->next;
  forget_points(loading);
  damaged_note_live(live, why, !loading->has_strangers);
  loading->is_damaged = loading->has_strangers = false;
  load_next(loading);
}

static void on_reports(void *ctx, const struct pg_reply *reply) {
  struct sweeps_loading *loading = ctx;
  struct live_sweep *live = loading_sweep(loading);
  struct err err;
  if (!pg_ok(reply, &err)) {
    end_reading(loading, &err);
    return;
  }
  forget_courses(live);
  if (!rebuild_history(loading, &err)) {
    end_damaged(loading, &err);
    return;
  }
  if (!live->conf.asks)
    engine_load_slot_ms(live->engine, loading->attempts_ms * (int64_t)MAX_OF(live->conf.slots, 1u));
  engine_loaded(live->engine, live_now(loading->all));
  if (loading->one) {
    end_one(loading, NULL);
    return;
  }
  forget_points(loading);
  loading->at = loading->at->next;
  load_next(loading);
}

static bool open_stream(struct sweeps_loading *loading, struct pg_args *args, pg_row_fn *on_row, pg_done_fn *done, struct err *err) {
  return pg_stream_open(loading->all->conf.pg, args, 600000, on_row, done, loading, err) != NULL;
}

static bool read_reports(struct sweeps_loading *loading, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_REPORTS_LOAD);
  pg_put_uuid(&args, loading_sweep(loading)->id);
  return open_stream(loading, &args, on_report_row, on_reports, err);
}

static void on_trials(void *ctx, const struct pg_reply *reply) {
  struct sweeps_loading *loading = ctx;
  struct err err;
  if (pg_ok(reply, &err) && loading->is_damaged)
    end_damaged(loading, &loading->damage);
  else if (!pg_ok(reply, &err) || !read_reports(loading, &err))
    end_reading(loading, &err);
}

static bool read_trials(struct sweeps_loading *loading, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, loading_sweep(loading)->single ? STMT_SINGLE_LOAD : STMT_TRIALS_LOAD);
  pg_put_uuid(&args, loading_sweep(loading)->id);
  pg_put_int(&args, live_wall(loading->all));
  loading->attempts_ms = 0;
  return open_stream(loading, &args, on_trial_row, on_trials, err);
}

static void load_next(struct sweeps_loading *loading) {
  struct err err;
  if (!loading->at) {
    if (!sweeps_catch_up(loading->all, on_caught_up, loading, &err))
      end_loading(loading, &err);
  } else if (!read_trials(loading, &err)) {
    end_loading(loading, &err);
  }
}

static bool read_spec(struct str spec, bool single, struct sweep_file **ret, struct err *err) {
  AUTO_ARENA struct arena arena = ARENA_INIT(16 * MIB);
  struct spec_problems errors;
  return single ? sweep_file_read_job(spec, &arena, ret, &errors, err) : sweep_file_read(spec, "", &arena, ret, &errors, err);
}

/* The sweep, in no list yet. Its row was written when its state last changed; jobs and budgets went on since, also while no service was
 * there. */
static bool read_sweep(struct sweeps *s, const struct pg_reply *reply, size_t row, struct live_sweep **ret, struct err *err) {
  struct sweep_file *file;
  struct live_sweep *live;
  AUTO_JSON json_t *edits = NULL;
  struct engine_sweep state = {.version = (uint64_t)pg_int(reply, row, 3),
                               .elapsed_ms = MAX_OF(pg_int(reply, row, 4), live_wall(s) - pg_int(reply, row, 2)),
                               .slot_ms = pg_int(reply, row, 5),
                               .state = (uint8_t)pg_int(reply, row, 7),
                               .why = (uint8_t)pg_int(reply, row, 8),
                               .exhausted = pg_bool(reply, row, 9)};
  struct str directory = pg_text(reply, row, 11), spec = pg_text(reply, row, 12);
  bool single = pg_bool(reply, row, 15);
  if (!is_from(pg_int(reply, row, 7), 0, SWEEP_STATE_COUNT - 1) || !is_from(pg_int(reply, row, 8), WHY_NONE, WHY_COUNT - 1))
    return err_set(err, ERR_INVALID, "its state or why is none that a sweep can have");
  if (!read_spec(spec, single, &file, err))
    return false;
  if (!live_new(s, file, pg_uuid(reply, row, 0), pg_int(reply, row, 6), &state, &live, err))
    return false;
  live->single = single;
  live->experiment_id = pg_int(reply, row, 1);
  live->created = pg_int(reply, row, 2);
  live->directory = mem_strndup(directory.p, directory.n);
  live->normal = mem_strndup(spec.p, spec.n);
  live->stored = true;
  live->shown = state.state;
  live->written = state.version;
  bool ok = ((live->directory && live->normal) || err_no_memory(err)) && json_read(pg_jsonb(reply, row, 13), &edits, err) &&
            live_take_warnings(live, pg_jsonb(reply, row, 14), err) && prior_take(live, pg_bytea(reply, row, 16), err);
  if (!ok) {
    live_free(live);
    return false;
  }
  live_apply_edits(live, edits);
  *ret = live;
  return true;
}

static bool read_and_list(struct sweeps *s, const struct pg_reply *reply, size_t row, struct err *err) {
  struct live_sweep *live;
  if (!read_sweep(s, reply, row, &live, err))
    return false;
  if (sweeps_list(s, live, err))
    return true;
  live_free(live);
  return false;
}

static void on_sweeps(void *ctx, const struct pg_reply *reply) {
  struct sweeps_loading *loading = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    end_loading(loading, &err);
    return;
  }
  for (size_t row = 0; row < pg_rows(reply); row++)
    if (!read_and_list(loading->all, reply, row, &err))
      damaged_note(loading->all, reply, row, &err);
  loading->at = loading->all->sweeps.first;
  load_next(loading);
}

static void load_sweeps(struct sweeps_loading *loading) {
  struct err err;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_SWEEP_LIVE);
  pg_put_null(&args);
  if (!pg_run(loading->all->conf.pg, &args, 0, on_sweeps, loading, &err))
    end_loading(loading, &err);
}

/* A run is stored before its companion is started. So a database that knows none of the runs that live here is not theirs, and every one of
 * them would be told that it is superseded, and end its job. */
static void on_known(void *ctx, const struct pg_reply *reply) {
  struct sweeps_loading *loading = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    end_loading(loading, &err);
  } else if (!pg_int(reply, 0, 0)) {
    err_set(&err, ERR_WRONG_STATE, "jobs run in %s/jobs and this database knows none of them: start with the database that they belong to",
            loading->all->conf.data_dir);
    end_loading(loading, &err);
  } else {
    load_sweeps(loading);
  }
}

struct living {
  size_t count;
  struct id runs[LIVING_MAX];
};

static void note_living(void *ctx, const struct exec_attempt *found) {
  struct living *living = ctx;
  if (found->holder == EXEC_LIVES && living->count < LIVING_MAX)
    living->runs[living->count++] = found->run;
}

static void look_for_strangers(struct sweeps_loading *loading) {
  struct living living = {.count = 0};
  struct err err;
  if (!exec_local_each(loading->all->executor, note_living, &living, &err)) {
    end_loading(loading, &err);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_RUNS_KNOWN);
  pg_begin_array(&args);
  for (size_t i = 0; i < living.count; i++)
    pg_put_uuid(&args, living.runs[i]);
  pg_end_array(&args);
  if (!living.count)
    load_sweeps(loading);
  else if (!pg_run(loading->all->conf.pg, &args, 0, on_known, loading, &err))
    end_loading(loading, &err);
}

static void on_node(void *ctx, const struct pg_reply *reply) {
  struct sweeps_loading *loading = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    end_loading(loading, &err);
    return;
  }
  if (pg_rows(reply))
    queue_set_node(loading->all, pg_bool(reply, 0, 0), pg_text(reply, 0, 1));
  look_for_strangers(loading);
}

void sweeps_load(struct sweeps *s, int64_t epoch, sweeps_done_fn *done, void *ctx) {
  struct sweeps_loading *loading = mem_zalloc(sizeof *loading);
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  pg_args_init(&args, STMT_NODE_GET);
  s->epoch = epoch;
  s->loading = loading;
  if (!loading) {
    err_no_memory(&err);
    done(ctx, &err);
    return;
  }
  *loading = (struct sweeps_loading){.all = s, .done = done, .ctx = ctx};
  pg_put_text(&args, str_of(s->node_name));
  if (!pg_run(s->conf.pg, &args, 0, on_node, loading, &err))
    end_loading(loading, &err);
}

/* ---- one of them ---- */

static void drop_one(struct sweeps_loading *loading, const struct err *err) {
  list_remove(&loading->node);
  loading->done(loading->ctx, err);
  mem_free(loading);
}

static void on_one(void *ctx, const struct pg_reply *reply) {
  struct sweeps_loading *loading = ctx;
  struct err err;
  bool ok = pg_ok(reply, &err) && sweeps_ready(loading->all, &err) &&
            (pg_rows(reply) || err_set(&err, ERR_NOT_FOUND, "nothing of that name goes on")) &&
            read_sweep(loading->all, reply, 0, &loading->one, &err);
  if (!ok)
    drop_one(loading, &err);
  else if (!read_trials(loading, &err))
    end_one(loading, &err);
}

bool sweep_load_one(struct sweeps *s, struct id sweep, sweeps_done_fn *done, void *ctx, struct err *err) {
  LIST_EACH(&s->loading_one, node)
  if (id_eq(LIST_ENTRY(node, struct sweeps_loading, node)->id, sweep))
    return err_set(err, ERR_UNAVAILABLE, "it is being taken up already");
  struct sweeps_loading *loading = mem_zalloc(sizeof *loading);
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_SWEEP_LIVE);
  if (!loading)
    return err_no_memory(err);
  *loading = (struct sweeps_loading){.all = s, .done = done, .ctx = ctx, .id = sweep};
  pg_put_uuid(&args, sweep);
  if (!pg_run(s->conf.pg, &args, 0, on_one, loading, err)) {
    mem_free(loading);
    return false;
  }
  list_push_back(&s->loading_one, &loading->node);
  return true;
}
