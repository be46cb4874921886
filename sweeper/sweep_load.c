/* After a start: the sweeps that are not over, their trials, results and reports, as they came about. */
#include "base/log.h"
#include "base/mem.h"
#include "sweeper/live.h"

struct sweeps_loading {
  struct sweeps *all;
  sweeps_done_fn *done;
  void *ctx;
  struct list_node *at; /* the sweep being read */
  double *points;       /* space_count() of each trial */
  size_t point_rows;
};

static struct live_sweep *loading_sweep(const struct sweeps_loading *loading) {
  return LIST_ENTRY(loading->at, struct live_sweep, node);
}

static void adopt_jobs(struct live_sweep *live) {
  for (size_t i = 0; i < live->trial_count; i++)
    if (live->trials[i])
      jobs_adopt(live->trials[i], engine_trial(live->engine, (uint32_t)i));
}

static void end_loading(struct sweeps_loading *loading, const struct err *err) {
  struct sweeps *s = loading->all;
  s->ready = !err;
  s->loading = NULL;
  if (err) {
    while (s->sweeps.first) /* to be loaded again */
      sweeps_unlist(LIST_ENTRY(s->sweeps.first, struct live_sweep, node));
  } else {
    LIST_EACH(&s->sweeps, node)
    adopt_jobs(LIST_ENTRY(node, struct live_sweep, node));
    loop_timer_start(s->tick, LIVE_TICK_MS);
    sweeps_kick(s);
  }
  loading->done(loading->ctx, err);
  mem_free(loading->points);
  mem_free(loading);
}

static bool read_trial(struct sweeps_loading *loading, const struct pg_reply *row, struct err *err) {
  struct live_sweep *live = loading_sweep(loading);
  size_t width = MAX_OF(space_count(live->space), (size_t)1);
  struct engine_trial state = {.number = (uint32_t)pg_int(row, 0, 1),
                               .version = (uint64_t)pg_int(row, 0, 2),
                               .state = (uint8_t)pg_int(row, 0, 3),
                               .attempt = (uint32_t)pg_int(row, 0, 4),
                               .cause = (uint8_t)pg_int(row, 0, 5),
                               .retries = (uint32_t)pg_int(row, 0, 6),
                               .dead = pg_bool(row, 0, 7),
                               .has_value = !pg_is_null(row, 0, 8),
                               .lease_ms = pg_is_null(row, 0, 19) ? 0 : pg_int(row, 0, 19)};
  AUTO_JSON json_t *point = NULL, *asked = NULL;
  struct live_trial *trial = live_trial_new(live, state.number, pg_uuid(row, 0, 0), err);
  if (trial)
    trial->shown = state.state;
  if (!trial || !engine_load(live->engine, &state, err) || !json_read(pg_jsonb(row, 0, 15), &point, err))
    return false;
  trial->value = pg_is_null(row, 0, 8) ? NAN : pg_float8(row, 0, 8);
  trial->value_step = pg_is_null(row, 0, 9) ? 0 : pg_int(row, 0, 9);
  trial->best = pg_is_null(row, 0, 10) ? NAN : pg_float8(row, 0, 10);
  trial->created = pg_int(row, 0, 11);
  trial->started = pg_int(row, 0, 12);
  trial->ended = pg_is_null(row, 0, 13) ? 0 : pg_int(row, 0, 13);
  trial->told = pg_is_null(row, 0, 14) ? -1 : (int32_t)pg_int(row, 0, 14);
  if (pg_jsonb(row, 0, 16).p && json_read(pg_jsonb(row, 0, 16), &asked, err)) {
    trial->tells = (uint32_t)json_integer_value(json_object_get(asked, "tells"));
    trial->pending = (uint32_t)json_integer_value(json_object_get(asked, "pending"));
  }
  struct str stop = pg_jsonb(row, 0, 17), reason = pg_text(row, 0, 18);
  trial->stop = stop.p ? mem_strndup(stop.p, stop.n) : NULL;
  trial->reason = reason.p ? mem_strndup(reason.p, reason.n) : NULL;
  if (state.number >= loading->point_rows) {
    size_t rows = MAX_OF(loading->point_rows * 2, (size_t)state.number + 64);
    double *bigger = mem_resize(loading->points, rows * width, sizeof *bigger);
    if (!bigger)
      return err_no_memory(err);
    loading->points = bigger;
    loading->point_rows = rows;
  }
  return space_point_from_json(live->space, point, false, loading->points + state.number * width, err);
}

static void on_trial_row(void *ctx, const struct pg_reply *row) {
  struct sweeps_loading *loading = ctx;
  struct err err;
  if (!read_trial(loading, row, &err))
    log_error("sweep", NULL, "%s: a trial could not be read: %s", loading_sweep(loading)->name, err.text);
}

static void tell_again(struct live_trial *trial) {
  const struct engine_trial *row = engine_trial(trial->sweep->engine, trial->number);
  int32_t told = trial->told;
  trial->told = -1;
  live_note_end(trial, row);
  if (told >= 0)
    trial->told = told;
}

/* The history as it came about: trials by number, each result before the first trial that knew of it. */
static bool rebuild_history(struct sweeps_loading *loading, struct err *err) {
  struct live_sweep *live = loading_sweep(loading);
  size_t width = MAX_OF(space_count(live->space), (size_t)1), told = 0;
  struct live_trial **order = mem_array(live->trial_count + 1, sizeof(struct live_trial *));
  if (!order)
    return err_no_memory(err);
  for (size_t i = 0; i < live->trial_count; i++)
    if (live->trials[i] && live->trials[i]->told >= 0 && (size_t)live->trials[i]->told < live->trial_count)
      order[live->trials[i]->told] = live->trials[i];
  bool ok = true;
  for (size_t i = 0; i < live->trial_count && ok; i++) {
    if (!live->trials[i])
      continue;
    for (; told < MIN_OF(live->trial_count, (size_t)live->trials[i]->tells); told++)
      if (order[told] && order[told]->number < i)
        tell_again(order[told]);
    ok = history_add(live->history, (uint32_t)i, loading->points + i * width, NULL, err);
  }
  for (; told < live->trial_count && ok; told++)
    if (order[told])
      tell_again(order[told]);
  mem_free(order);
  for (size_t i = 0; i < live->trial_count && ok; i++) {
    if (!live->trials[i])
      continue;
    size_t at = history_find(live->history, (uint32_t)i);
    if (at != SIZE_MAX && history_state(live->history, at) == TRIAL_PENDING) {
      live->trials[i]->told = -1;
      live_note_end(live->trials[i], engine_trial(live->engine, (uint32_t)i));
    }
  }
  return ok;
}

static void on_report_row(void *ctx, const struct pg_reply *row) {
  struct sweeps_loading *loading = ctx;
  struct live_sweep *live = loading_sweep(loading);
  uint32_t number = (uint32_t)pg_int(row, 0, 1);
  live->reports = live->reports_durable = pg_int(row, 0, 0) + 1;
  struct live_trial *trial = number < live->trial_count ? live->trials[number] : NULL;
  if (!trial)
    return;
  double value = trial->value, best = trial->best;
  int64_t step = trial->value_step;
  bool target, goal;
  struct stop_verdict verdict;
  struct live_report report = {.key = pg_text(row, 0, 3),
                               .value = pg_float8(row, 0, 4),
                               .step = pg_int(row, 0, 5),
                               .epoch = pg_is_null(row, 0, 6) ? NAN : pg_float8(row, 0, 6)};
  live_take_report(trial, (uint32_t)pg_int(row, 0, 2), &report, &verdict, &target, &goal);
  if (live_row_is_over(engine_trial(live->engine, number))) {
    trial->value = value;
    trial->best = best;
    trial->value_step = step;
  }
}

static void load_next(struct sweeps_loading *loading);

static void on_reports(void *ctx, const struct pg_reply *reply) {
  struct sweeps_loading *loading = ctx;
  struct live_sweep *live = loading_sweep(loading);
  struct err err;
  if (!pg_ok(reply, &err) || !rebuild_history(loading, &err) || !engine_loaded(live->engine, live_now(loading->all), &err)) {
    end_loading(loading, &err);
    return;
  }
  mem_free(loading->points);
  loading->points = NULL;
  loading->point_rows = 0;
  loading->at = loading->at->next;
  load_next(loading);
}

static bool open_stream(struct sweeps_loading *loading, enum stmt stmt, pg_row_fn *on_row, pg_done_fn *done, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, stmt);
  pg_put_uuid(&args, loading_sweep(loading)->id);
  return pg_stream_open(loading->all->conf.pg, &args, 600000, on_row, done, loading, err) != NULL;
}

static void on_trials(void *ctx, const struct pg_reply *reply) {
  struct sweeps_loading *loading = ctx;
  struct err err;
  if (!pg_ok(reply, &err) || !open_stream(loading, STMT_REPORTS_LOAD, on_report_row, on_reports, &err))
    end_loading(loading, &err);
}

static void load_next(struct sweeps_loading *loading) {
  struct err err;
  if (!loading->at)
    end_loading(loading, NULL);
  else if (!open_stream(loading, STMT_TRIALS_LOAD, on_trial_row, on_trials, &err))
    end_loading(loading, &err);
}

static bool read_warnings(struct live_sweep *live, struct str text, struct err *err) {
  AUTO_JSON json_t *list = NULL;
  if (!json_read(text, &list, err))
    return false;
  for (size_t i = 0; i < live->warning_count; i++)
    mem_free(live->warnings[i]);
  mem_free(live->warnings);
  live->warning_count = 0;
  live->warnings = mem_array(json_array_size(list) + 1, sizeof *live->warnings);
  for (size_t i = 0; live->warnings && i < json_array_size(list); i++)
    if ((live->warnings[live->warning_count] = mem_strdup(json_string_value(json_array_get(list, i)))))
      live->warning_count++;
  return live->warnings || err_no_memory(err);
}

static bool read_sweep(struct sweeps *s, const struct pg_reply *reply, size_t row, struct err *err) {
  AUTO_ARENA struct arena arena = ARENA_INIT(16 * MIB);
  struct spec_problems errors;
  struct sweep_file *file;
  struct live_sweep *live;
  AUTO_JSON json_t *edits = NULL;
  struct engine_sweep state = {.version = (uint64_t)pg_int(reply, row, 3),
                               .elapsed_ms = pg_int(reply, row, 4),
                               .slot_ms = pg_int(reply, row, 5),
                               .state = (uint8_t)pg_int(reply, row, 7),
                               .why = (uint8_t)pg_int(reply, row, 8),
                               .exhausted = pg_bool(reply, row, 9)};
  struct str directory = pg_text(reply, row, 11), spec = pg_text(reply, row, 12);
  if (!sweep_file_read(spec, "", &arena, &file, &errors, err) ||
      !live_new(s, file, pg_uuid(reply, row, 0), pg_int(reply, row, 6), &state, &live, err))
    return false;
  live->experiment_id = pg_int(reply, row, 1);
  live->created = pg_int(reply, row, 2);
  live->directory = mem_strndup(directory.p, directory.n);
  live->normal = mem_strndup(spec.p, spec.n);
  live->stored = true;
  live->shown = state.state;
  live->written = state.version;
  bool ok = ((live->directory && live->normal) || err_no_memory(err)) && json_read(pg_jsonb(reply, row, 13), &edits, err) &&
            read_warnings(live, pg_jsonb(reply, row, 14), err) && sweeps_list(s, live, err);
  if (ok)
    live_apply_edits(live, edits);
  else
    live_free(live);
  return ok;
}

static void on_sweeps(void *ctx, const struct pg_reply *reply) {
  struct sweeps_loading *loading = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    end_loading(loading, &err);
    return;
  }
  for (size_t row = 0; row < pg_rows(reply); row++)
    if (!read_sweep(loading->all, reply, row, &err))
      log_error("sweep", NULL, "the sweep %.*s rests: %s", STR_ARG(pg_text(reply, row, 10)), err.text);
  loading->at = loading->all->sweeps.first;
  load_next(loading);
}

void sweeps_load(struct sweeps *s, int64_t epoch, sweeps_done_fn *done, void *ctx) {
  struct sweeps_loading *loading = mem_zalloc(sizeof *loading);
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  s->epoch = epoch;
  s->loading = loading;
  pg_args_init(&args, STMT_SWEEP_LIVE);
  if (!loading) {
    err_no_memory(&err);
    done(ctx, &err);
    return;
  }
  *loading = (struct sweeps_loading){.all = s, .done = done, .ctx = ctx};
  if (!pg_run(s->conf.pg, &args, 0, on_sweeps, loading, &err))
    end_loading(loading, &err);
}
