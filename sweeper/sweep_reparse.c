#include "sweeper/sweep_reparse.h"

#include "base/mem.h"
#include "sweeper/file/sweep_sources.h"
#include "sweeper/sweeps_inside.h"
#include "tracker/logs/reparse.h"

struct walk {
  struct sweeps *all;
  char *asked;
  struct metric_sources *sources;
  struct sweep_file *file;
  bool sets_values; /* the sweep is over and has a metric: nobody else writes them */
  struct id *runs;
  char who[100];
  sweep_reparse_fn *done;
  void *ctx;
};

static void next_run(struct walk *walk);

static void walk_free(struct walk *walk) {
  sweep_file_free(walk->file);
  metric_sources_unref(walk->sources);
  mem_free(walk->runs);
  mem_free(walk->asked);
  mem_free(walk);
}

static void end(struct walk *walk) {
  struct sweep_reparse *state = walk->all->reparse;
  state->running = false;
  state->ended = live_wall(walk->all);
  walk_free(walk);
}

static void note_failure(struct walk *walk, const struct err *err) {
  struct sweep_reparse *state = walk->all->reparse;
  if (!state->failed++)
    snprintf(state->error, sizeof state->error, "%s", err->text);
}

/* The values are those of the new reading by now, whatever became of the sum of them. What is over and still in memory is read from the
 * database from now on. */
static void end_summed_up(struct walk *walk, const struct err *failed) {
  struct id sweep = walk->all->reparse->sweep;
  struct live_sweep *live = sweeps_find(walk->all, sweep);
  struct err err;
  if (failed) {
    err = *failed;
    err_prefix(&err, "what the sweep has come to was not found again");
    note_failure(walk, &err);
  }
  importance_forget(walk->all, sweep);
  if (live && !sweeps_is_busy(live))
    sweeps_unlist(live);
  end(walk);
}

static void on_best_stored(void *ctx, const struct pg_reply *reply) {
  struct err err;
  end_summed_up(ctx, pg_ok(reply, &err) ? NULL : &err);
}

_Static_assert(WHY_ALL_MADE == 8 && WHY_EXHAUSTED == 9 && WHY_ALL_FAILED == 10 && CAUSE_NO_METRIC == 5,
               "as sql/queries/sweep.sql has them");

/* The values of its trials are other ones: so may be the best of them, and what the sweep has come to. */
static void sum_up(struct walk *walk) {
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  pg_args_init(&args, STMT_SWEEP_VALUES_AGAIN);
  pg_put_uuid(&args, walk->all->reparse->sweep);
  pg_put_bool(&args, walk->file->spec.metric.goal == GOAL_MAXIMIZE);
  pg_put_text(&args, str_of(engine_why_text(WHY_ALL_FAILED)));
  pg_put_text(&args, str_of(engine_why_text(WHY_ALL_MADE)));
  pg_put_text(&args, str_of(engine_why_text(WHY_EXHAUSTED)));
  if (!pg_run(walk->all->conf.pg, &args, 0, on_best_stored, walk, &err))
    end_summed_up(walk, &err);
}

static void one_done(struct walk *walk, const struct err *err) {
  if (err)
    note_failure(walk, err);
  walk->all->reparse->done++;
  next_run(walk);
}

/* ---- what the trial's value is now ---- */

static void on_value_stored(void *ctx, const struct pg_reply *reply) {
  struct err err;
  one_done(ctx, pg_ok(reply, &err) ? NULL : &err);
}

static void on_stored(void *ctx, const struct stored_point *points, size_t count, const struct err *failed) {
  struct walk *walk = ctx;
  struct live_value now = {.best = NAN};
  struct err err;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_TRIAL_VALUE);
  pg_put_uuid(&args, walk->runs[walk->all->reparse->done]);
  bool has = !failed && live_value_of(walk->file, points, count, &now);
  pg_put_float8_if(&args, has, now.value);
  pg_put_int_if(&args, has, now.step);
  pg_put_float8_if(&args, has && !isnan(now.best), now.best);
  pg_put_float8_if(&args, has, now.last);
  pg_put_int_if(&args, has, now.last_step);
  pg_put_bool(&args, has && !(isnan(now.value) && walk->file->spec.on_nan == NAN_FAIL));
  pg_put_text(&args, str_of(live_cause_text(CAUSE_NO_METRIC)));
  if (failed)
    one_done(walk, failed);
  else if (!pg_run(walk->all->conf.pg, &args, 0, on_value_stored, walk, &err))
    one_done(walk, &err);
}

static bool read_value(struct walk *walk, struct err *err) {
  const struct sweep_metric *metric = &walk->file->spec.metric;
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  struct spec_texts keys = {.items = ARENA_NEW_ARRAY(&arena, struct str, metric->aliases.count + 1)};
  if (!keys.items)
    return err_no_memory(err);
  for (size_t i = 0; i < metric->aliases.count; i++)
    keys.items[keys.count++] = metric->aliases.items[i];
  keys.items[keys.count++] = metric->name;
  return stored_read(walk->all->conf.metrics, walk->runs[walk->all->reparse->done], 0, &keys, on_stored, walk, err);
}

/* A trial without output (a worker's, say) keeps what it was told to have come to. */
static void on_reparsed(void *ctx, const struct reparse_result *result, const struct err *err) {
  struct walk *walk = ctx;
  struct sweep_reparse *state = walk->all->reparse;
  struct err why;
  if (!err) {
    state->bytes += result->bytes;
    state->points += result->points;
  }
  if (err || !result->bytes || !walk->sets_values)
    one_done(walk, err);
  else if (!read_value(walk, &why))
    one_done(walk, &why);
}

static void next_run(struct walk *walk) {
  struct sweeps *s = walk->all;
  struct err err;
  while (s->reparse->done < s->reparse->runs && !s->stopping) {
    if (reparse_run(s->conf.logs, walk->runs[s->reparse->done], walk->sources, str_of(walk->who), on_reparsed, walk, &err))
      return;
    note_failure(walk, &err);
    s->reparse->done++;
  }
  if (walk->sets_values && !s->stopping)
    sum_up(walk);
  else
    end(walk);
}

static bool read_rows(struct walk *walk, const struct pg_reply *reply, struct err *err) {
  AUTO_ARENA struct arena arena = ARENA_INIT(16 * MIB);
  struct spec_texts wanted;
  const struct pg_reply *info = pg_nth(reply, 0), *runs = pg_nth(reply, 1);
  if (!pg_rows(info))
    return err_set(err, ERR_NOT_FOUND, "there is no such sweep");
  walk->runs = mem_array(MAX_OF(pg_rows(runs), (size_t)1), sizeof *walk->runs);
  if (!walk->runs)
    return err_no_memory(err);
  for (size_t i = 0; i < pg_rows(runs); i++)
    walk->runs[i] = pg_uuid(runs, i, 0);
  walk->all->reparse->runs = pg_rows(runs);
  bool ok = sweep_file_read_stored(pg_text(info, 0, 1), &arena, &walk->file, err);
  ok = ok && sweep_sources_wanted(&walk->file->spec, &arena, &wanted, err) &&
       sweep_sources_read(str_of(walk->asked), &wanted, &walk->sources, err);
  walk->sets_values = ok && pg_bool(info, 0, 2) && walk->file->spec.has_metric;
  return ok;
}

static void fail(struct walk *walk, const struct err *err) {
  *walk->all->reparse = (struct sweep_reparse){.begun = false};
  walk->done(walk->ctx, err);
  walk_free(walk);
}

static void on_rows(void *ctx, const struct pg_reply *reply) {
  struct walk *walk = ctx;
  struct err err;
  if (!pg_ok(reply, &err) || !read_rows(walk, reply, &err)) {
    fail(walk, &err);
    return;
  }
  walk->done(walk->ctx, NULL);
  next_run(walk);
}

static bool ask_rows(struct walk *walk, struct err *err) {
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct id sweep = walk->all->reparse->sweep;
  pg_put_uuid(pg_batch_add(&batch, STMT_SWEEP_REGISTER_INFO), sweep);
  pg_put_uuid(pg_batch_add(&batch, STMT_TRIALS_OVER), sweep);
  return pg_run_batch(walk->all->conf.pg, &batch, 0, on_rows, walk, err);
}

static void on_durable(void *ctx, const struct err *failed) {
  struct walk *walk = ctx;
  struct err err;
  if (failed || !ask_rows(walk, &err))
    fail(walk, failed ? failed : &err);
}

/* A sweep that has just ended is over in memory before it is so in its row, which says whether values may be set: its trials' values are
 * stored with it, or before. */
bool sweep_reparse_start(struct sweeps *s, struct id sweep, struct str asked, struct str who, sweep_reparse_fn *done, void *ctx,
                         struct err *err) {
  if (s->reparse->running)
    return err_set(err, ERR_CONFLICT, "the output of a sweep is being read anew already") ||
           err_hint(err, "GET /api/v1/sweeps/{id}/reparse says how far it is");
  struct walk *walk = mem_zalloc(sizeof *walk);
  char *kept = mem_strndup(asked.p, asked.n);
  if (!walk || !kept) {
    mem_free(walk);
    mem_free(kept);
    return err_no_memory(err);
  }
  struct sweep_reparse last = *s->reparse;
  struct live_sweep *live = sweeps_find(s, sweep);
  *walk = (struct walk){.all = s, .asked = kept, .done = done, .ctx = ctx};
  snprintf(walk->who, sizeof walk->who, "%.*s", STR_ARG(who));
  *s->reparse = (struct sweep_reparse){.sweep = sweep, .begun = true, .running = true, .started = live_wall(s)};
  if (live ? sweeps_wait(live, NULL, on_durable, walk, err) : ask_rows(walk, err))
    return true;
  *s->reparse = last;
  walk_free(walk);
  return false;
}

const struct sweep_reparse *sweep_reparse_last(const struct sweeps *s, struct id sweep) {
  return s->reparse->begun && id_eq(s->reparse->sweep, sweep) ? s->reparse : NULL;
}

void sweep_reparse_put(const struct sweep_reparse *r, struct json_writer *w) {
  char sweep[ID_HEX_LEN + 1];
  id_format(r->sweep, sweep);
  jw_object(w);
  jw_put_text(w, "sweep_id", sweep);
  jw_put_text(w, "state", r->running ? "RUNNING" : "FINISHED");
  jw_put_i64(w, "runs", (int64_t)r->runs);
  jw_put_i64(w, "done", (int64_t)r->done);
  jw_put_i64(w, "failed", (int64_t)r->failed);
  jw_put_i64(w, "bytes", r->bytes);
  jw_put_i64(w, "points", r->points);
  jw_put_text(w, "error", r->failed ? r->error : NULL);
  jw_put_i64(w, "started", r->started);
  jw_put_i64_if(w, "ended", r->ended != 0, r->ended);
  jw_object_end(w);
}
