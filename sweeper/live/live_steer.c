/* What people want of a sweep that lives: it is steered and edited, its trials are enqueued, killed, tried again. */
#include "base/mem.h"
#include "sweeper/live/live.h"

#define MAX_TIME_MAX_S INT64_C(9000000000000) /* as far as texts may go */

static void note_deed(struct live_sweep *live, const struct deed *what) {
  live->deeds = MAX_OF(live->deeds, deeds_note(live->all, what));
}

static void note_steered(struct live_sweep *live, const struct engine_sweep *before, struct str actor) {
  const struct engine_sweep now = engine_sweep(live->engine);
  if (live->single || now.version == before->version)
    return;
  note_deed(live, &(struct deed){.kind = "sweep.state",
                                 .run = live->id,
                                 .actor = actor,
                                 .from = sweep_state_text(before->state),
                                 .to = sweep_state_text(now.state),
                                 .reason = now.why ? engine_why_text((enum engine_why)now.why) : NULL});
}

/* An experiment in the trash gets no new trials; what runs goes on, as a run does that is deleted by itself. */
void live_follow_experiment(struct live_sweep *live, bool in_trash, struct str actor) {
  const struct engine_sweep before = engine_sweep(live->engine);
  live->in_trash = in_trash;
  if (!in_trash)
    return;
  engine_shelve(live->engine);
  queue_set_group(live);
  if (engine_sweep(live->engine).state != before.state)
    note_steered(live, &before, actor);
  sweeps_kick(live->all);
}

bool live_is_out_of_trash(const struct live_sweep *live, struct err *err) {
  if (!live->in_trash)
    return true;
  err_set(err, ERR_WRONG_STATE, "the sweep makes no new trials: its experiment is in the trash");
  return err_hint(err, "`winnow experiment restore %lld` brings it back", (long long)live->experiment_id);
}

bool live_act(struct live_sweep *live, enum live_action action, struct str actor, struct err *err) {
  const struct engine_sweep before = engine_sweep(live->engine);
  bool ok = false;
  switch (action) {
  case LIVE_PAUSE:
    ok = engine_pause(live->engine, err);
    break;
  case LIVE_RESUME:
    ok = live_is_out_of_trash(live, err) && engine_resume(live->engine, live_now(live->all), err);
    break;
  case LIVE_DRAIN:
    ok = engine_drain(live->engine, err);
    break;
  case LIVE_STOP:
    ok = engine_stop(live->engine, err);
    break;
  }
  if (ok)
    queue_set_group(live);
  if (ok)
    note_steered(live, &before, actor);
  if (ok && action == LIVE_STOP && before.why != WHY_STOPPED) {
    mem_free(live->stopped_by);
    live->stopped_by = mem_strndup(actor.p, actor.n);
  }
  sweeps_kick(live->all);
  return ok;
}

bool live_enqueue(struct live_sweep *live, const json_t *params, struct str actor, struct live_trial **ret, struct err *err) {
  double point[SPACE_PARAMS_MAX];
  if (!live_is_out_of_trash(live, err) || !space_point_from_json(live->space, params, SPACE_EXACTLY, point, err))
    return false;
  if (!space_allows(live->space, point))
    return err_set(err, ERR_INVALID, "the constraints do not allow this point");
  struct live_made made = live_made_by_hand(live);
  bool ok = live_create_at(live, point, &made, ret, err);
  if (ok && actor.p)
    note_deed(live, &(struct deed){.kind = "run.enqueued", .run = (*ret)->run, .actor = actor});
  sweeps_kick(live->all);
  return ok;
}

static void note_changed(struct live_trial *trial, const struct engine_trial *before, struct str actor) {
  const struct engine_trial *now = engine_trial(trial->sweep->engine, trial->number);
  trial->noted = now->state;
  if (now->state != before->state)
    note_deed(trial->sweep, &(struct deed){.kind = "run.state",
                                           .run = trial->run,
                                           .actor = actor,
                                           .from = run_state_name(before->state),
                                           .to = run_state_name(now->state)});
}

bool live_kill(struct live_trial *trial, struct str actor, struct err *err) {
  struct engine *engine = trial->sweep->engine;
  const struct engine_trial before = *engine_trial(engine, trial->number);
  sweeps_kick(trial->sweep->all);
  if (!engine_kill(engine, trial->number, live_now(trial->sweep->all), err))
    return false;
  note_changed(trial, &before, actor);
  return true;
}

bool live_retry(struct live_trial *trial, struct str actor, struct err *err) {
  if (!live_course_open(trial, err))
    return false;
  const struct engine_trial before = *engine_trial(trial->sweep->engine, trial->number);
  const struct engine_sweep sweep_before = engine_sweep(trial->sweep->engine);
  live_keep_attempt(trial);
  if (!engine_retry(trial->sweep->engine, trial->number, err)) {
    live_course_close(trial);
    return false;
  }
  note_changed(trial, &before, actor);
  note_steered(trial->sweep, &sweep_before, actor);
  live_keep_first_end(trial, &before);
  live_note_time(trial, &before, -1);
  trial->sweep->ends++;
  mem_free(trial->course->stop);
  mem_free(trial->course->reason);
  trial->course->stop = trial->course->reason = NULL;
  trial->ended = 0;
  trial->course->has_exit = false;
  if (trial->sweep->best == trial)
    live_find_best(trial->sweep);
  sweeps_kick(trial->sweep->all);
  return true;
}

/* ---- edits ---- */

static bool whole(const json_t *edits, const char *key, int64_t max, struct err *err) {
  const json_t *value = json_object_get(edits, key);
  if (!value || json_is_null(value))
    return true;
  return (json_is_integer(value) && json_integer_value(value) >= (strcmp(key, "priority") == 0 ? -max : 0) &&
          json_integer_value(value) <= max) ||
         err_set(err, ERR_INVALID, "\"%s\" must be a whole number up to %lld", key, (long long)max);
}

/* Seconds, or text such as 2h; 0: no limit. */
static bool read_max_time(const json_t *value, int64_t *ret_ms) {
  int64_t seconds = json_integer_value(value);
  if (json_is_string(value))
    return str_to_duration_ms(json_str(value), ret_ms);
  if ((!json_is_integer(value) && !json_is_null(value)) || seconds < 0 || seconds > MAX_TIME_MAX_S)
    return false;
  *ret_ms = seconds * 1000;
  return true;
}

bool sweeps_edits_check(const json_t *edits, struct err *err) {
  static const char *const keys[] = {"run_cap", "max_parallel", "priority", "max_time", "notes"};
  const char *key;
  const json_t *value;
  int64_t ms;
  if (!json_is_object(edits) || !json_object_size(edits))
    return err_set(err, ERR_INVALID, "an object with what is to change was expected");
  for (void *at = json_object_iter((json_t *)(uintptr_t)edits); at; at = json_object_iter_next((json_t *)(uintptr_t)edits, at)) {
    key = json_object_iter_key(at);
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
      known |= strcmp(key, keys[i]) == 0;
    if (!known) {
      const char *near = str_nearest_of(str_of(key), keys, ARRAY_LEN(keys));
      err_set(err, ERR_INVALID, "\"%.60s\" cannot be changed", key);
      return near ? err_hint(err, "did you mean \"%s\"?", near) : false;
    }
  }
  value = json_object_get(edits, "max_time");
  if (value && !read_max_time(value, &ms))
    return err_set(err, ERR_INVALID, "\"max_time\" must be a duration such as 2h");
  if (value && ms > 0 && ms < 1000)
    return err_set(err, ERR_INVALID, "\"max_time\" must be at least 1s");
  value = json_object_get(edits, "notes");
  if (value && !json_is_string(value))
    return err_set(err, ERR_INVALID, "\"notes\" must be text");
  return whole(edits, "run_cap", ENGINE_TRIALS_MAX, err) && whole(edits, "max_parallel", 100000, err) &&
         whole(edits, "priority", 1000000, err);
}

void live_apply_edits(struct live_sweep *live, const json_t *edits) {
  const json_t *value;
  int64_t ms = 0;
  if ((value = json_object_get(edits, "run_cap")))
    live->run_cap = live->conf.run_cap = json_integer_value(value);
  if ((value = json_object_get(edits, "max_parallel"))) {
    live->max_parallel = json_integer_value(value);
    live->conf.max_parallel = (uint32_t)live->max_parallel;
  }
  if ((value = json_object_get(edits, "priority"))) {
    live->priority = json_integer_value(value);
    queue_reprioritize(live);
  }
  if ((value = json_object_get(edits, "max_time")) && read_max_time(value, &ms))
    live->conf.max_time_ms = ms;
  if ((value = json_object_get(edits, "notes"))) {
    char *notes = mem_strdup(json_string_value(value));
    if (notes) {
      mem_free(live->notes);
      live->notes = notes;
    }
  }
  engine_edit(live->engine, &live->conf, live_now(live->all));
  if (live->in_trash)
    engine_shelve(live->engine);
  queue_set_group(live);
  sweeps_kick(live->all);
}

struct editing {
  struct sweeps *all;
  struct id sweep;
  json_t *edits;
  sweeps_done_fn *done;
  void *ctx;
};

/* An edit could not bring it back: it would be told to be done, and come to nothing. */
static bool may_edit(const struct live_sweep *live, struct err *err) {
  if (!live || live_is_over(live))
    return err_set(err, ERR_WRONG_STATE, "the sweep is %s", live ? sweep_state_text(engine_sweep(live->engine).state) : "over");
  return true;
}

static void on_edited(void *ctx, const struct pg_reply *reply) {
  struct editing *editing = ctx;
  struct err err;
  struct live_sweep *live = sweeps_find(editing->all, editing->sweep);
  bool ok = pg_ok(reply, &err) && may_edit(live, &err) && (pg_rows(reply) || err_set(&err, ERR_NOT_FOUND, "there is no such sweep"));
  if (ok)
    live_apply_edits(live, editing->edits);
  editing->done(editing->ctx, ok ? NULL : &err);
  json_decref(editing->edits);
  mem_free(editing);
}

static int64_t limit_now(const struct live_sweep *live, const char *key) {
  const struct {
    const char *key;
    int64_t value;
  } limits[] = {{"run_cap", live->run_cap},
                {"max_parallel", live->max_parallel},
                {"priority", live->priority},
                {"max_time", live->conf.max_time_ms / 1000}};
  for (size_t i = 0; i < ARRAY_LEN(limits); i++)
    if (strcmp(limits[i].key, key) == 0)
      return limits[i].value;
  return 0;
}

static void put_limit(struct buf *out, const char *key, int64_t value) {
  if (value || strcmp(key, "priority") == 0)
    buf_printf(out, " %lld", (long long)value);
  else
    buf_puts(out, " none");
}

/* What it was and will be, for the event: "run_cap 40, max_time none". Notes are named alone. */
static void describe_edits(const struct live_sweep *live, const json_t *edits, struct buf *was, struct buf *is) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)edits, key, value) {
    buf_printf(was, "%s%s", was->n ? ", " : "", key);
    buf_printf(is, "%s%s", is->n ? ", " : "", key);
    if (strcmp(key, "notes") == 0)
      continue;
    put_limit(was, key, limit_now(live, key));
    if (json_is_string(value))
      buf_printf(is, " %.40s", json_string_value(value));
    else
      put_limit(is, key, json_integer_value(value));
  }
}

bool live_edit(struct live_sweep *live, const json_t *edits, struct str actor, sweeps_done_fn *done, void *ctx, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  AUTO_BUF struct buf was = BUF_INIT(KIB), is = BUF_INIT(KIB);
  pg_args_init(&args, STMT_SWEEP_EDIT);
  if (!may_edit(live, err))
    return false;
  struct editing *editing = mem_zalloc(sizeof *editing);
  if (!editing)
    return err_no_memory(err);
  *editing = (struct editing){live->all, live->id, json_deep_copy(edits), done, ctx};
  describe_edits(live, edits, &was, &is);
  pg_put_uuid(&args, live->id);
  sweep_rows_put_json(&args, edits);
  pg_put_int(&args, live_wall(live->all));
  pg_put_text(&args, actor);
  pg_put_text(&args, buf_str(&was));
  pg_put_text(&args, buf_str(&is));
  if (editing->edits && pg_run(live->all->conf.pg, &args, 0, on_edited, editing, err))
    return true;
  if (!editing->edits)
    err_no_memory(err);
  json_decref(editing->edits);
  mem_free(editing);
  return false;
}
