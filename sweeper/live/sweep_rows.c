/* The rows of a transaction of all sweeps: what a trial, a sweep, a report is as columns. */
#include "base/mem.h"
#include "sweeper/file/command.h"
#include "sweeper/live/live.h"

enum { SUMMARY_MAX = 8 * 1024 * 1024 };

static void flat_params(const json_t *params, const char *prefix, const struct live_sweep *live, json_t *out) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)params, key, value) {
    AUTO_BUF struct buf name = BUF_INIT(4 * KIB), text = BUF_INIT(64 * KIB);
    buf_printf(&name, "%s%s%s", prefix, prefix[0] ? "." : "", key);
    if (json_is_object(value)) {
      flat_params(value, buf_text(&name), live, out);
      continue;
    }
    command_value(value, live->file->spec.args_style, &text);
    json_object_set_new(out, buf_text(&name), json_stringn(buf_text(&text), text.n));
  }
}

void sweep_rows_put_json(struct pg_args *args, const json_t *json) {
  AUTO_BUF struct buf text = BUF_INIT(MIB);
  struct json_writer w;
  jw_init(&w, &text);
  jw_json(&w, json);
  if (text.fail)
    args->fail = text.fail;
  pg_put_jsonb(args, buf_str(&text));
}

static void put_params(struct pg_args *args, const struct live_write *write) {
  AUTO_JSON json_t *typed = live_params(write->trial), *flat = json_object();
  if (typed && flat)
    flat_params(typed, "", write->sweep, flat);
  sweep_rows_put_json(args, flat);
}

static void put_point(struct pg_args *args, const struct live_write *write) {
  AUTO_JSON json_t *typed = live_params(write->trial);
  sweep_rows_put_json(args, typed);
}

/* The numbers themselves, so that a start need not read JSON. */
static void put_coords(struct pg_args *args, const struct live_write *write) {
  const struct history *history = write->sweep->history;
  size_t at = history_find(history, write->trial->number);
  if (at == SIZE_MAX)
    pg_put_null(args);
  else
    pg_put_bytea(args, str_n((const char *)history_point(history, at), space_count(write->sweep->space) * sizeof(double)));
}

static void put_made_by(struct pg_args *args, const struct live_write *write) {
  pg_put_int(args, write->trial->made.by);
}
static void put_made_tells(struct pg_args *args, const struct live_write *write) {
  pg_put_int(args, write->trial->made.tells);
}
static void put_made_pending(struct pg_args *args, const struct live_write *write) {
  pg_put_int(args, write->trial->made.pending);
}
static void put_made_reports(struct pg_args *args, const struct live_write *write) {
  pg_put_int_if(args, live_supposes_latest(write->sweep), write->trial->made.reports);
}
static void put_at_tells(struct pg_args *args, const struct live_write *write) {
  pg_put_int(args, write->trial->at_tells);
}

static void put_name(struct pg_args *args, const struct live_write *write) {
  char text[SWEEP_NAME_MAX + 24];
  if (write->sweep->single) {
    pg_put_text(args, str_of(write->sweep->name));
    return;
  }
  snprintf(text, sizeof text, "%.*s-%u", SWEEP_NAME_MAX, write->sweep->name, write->trial->number);
  pg_put_text(args, str_of(text));
}

typedef void put_fn(struct pg_args *args, const struct live_write *write);

static void put_run(struct pg_args *args, const struct live_write *write) {
  pg_put_uuid(args, write->trial->run);
}
static void put_experiment(struct pg_args *args, const struct live_write *write) {
  pg_put_int(args, write->sweep->experiment_id);
}
static void put_sweep(struct pg_args *args, const struct live_write *write) {
  if (write->sweep->single)
    pg_put_null(args);
  else
    pg_put_uuid(args, write->sweep->id);
}
static void put_number(struct pg_args *args, const struct live_write *write) {
  pg_put_int_if(args, !write->sweep->single, write->trial->number);
}
static void put_created(struct pg_args *args, const struct live_write *write) {
  pg_put_int(args, write->trial->created);
}
static void put_executor(struct pg_args *args, const struct live_write *write) {
  pg_put_text(args, str_of(write->sweep->conf.asks ? NULL : "local"));
}
static void put_version(struct pg_args *args, const struct live_write *write) {
  pg_put_int(args, (int64_t)write->todo.trial.version);
}
static void put_state(struct pg_args *args, const struct live_write *write) {
  pg_put_int(args, write->todo.trial.state);
}
static void put_attempt(struct pg_args *args, const struct live_write *write) {
  pg_put_int(args, write->todo.trial.attempt);
}
static void put_cause(struct pg_args *args, const struct live_write *write) {
  pg_put_int(args, write->todo.trial.cause);
}
static void put_retries(struct pg_args *args, const struct live_write *write) {
  pg_put_int(args, write->todo.trial.retries);
}
static void put_dead(struct pg_args *args, const struct live_write *write) {
  pg_put_bool(args, write->todo.trial.dead);
}
static void put_value(struct pg_args *args, const struct live_write *write) {
  pg_put_float8_if(args, write->todo.trial.has_value, write->trial->value);
}
static void put_value_step(struct pg_args *args, const struct live_write *write) {
  pg_put_int_if(args, write->todo.trial.has_value, write->trial->value_step);
}
static void put_best(struct pg_args *args, const struct live_write *write) {
  pg_put_float8_if(args, write->todo.trial.has_value && !isnan(write->trial->best), write->trial->best);
}
/* Where the value is the last report, that says it. */
static bool has_other_last(const struct live_write *write) {
  return write->todo.trial.has_value && write->sweep->file->spec.metric.use != USE_LAST;
}
static void put_last(struct pg_args *args, const struct live_write *write) {
  pg_put_float8_if(args, has_other_last(write), write->trial->last);
}
static void put_last_step(struct pg_args *args, const struct live_write *write) {
  pg_put_int_if(args, has_other_last(write), write->trial->last_step);
}
static void put_started(struct pg_args *args, const struct live_write *write) {
  pg_put_int(args, write->trial->started);
}
static void put_ended(struct pg_args *args, const struct live_write *write) {
  pg_put_int_if(args, write->trial->ended > 0, write->trial->ended);
}
static void put_told(struct pg_args *args, const struct live_write *write) {
  pg_put_int_if(args, write->trial->told >= 0, write->trial->told);
}
static void put_slots(struct pg_args *args, const struct live_write *write) {
  pg_put_int_if(args, !write->sweep->conf.asks && write->todo.trial.attempt > 0, write->sweep->conf.slots);
}
static void put_node(struct pg_args *args, const struct live_write *write) {
  pg_put_text(args, str_of(live_node(write->sweep, &write->todo.trial)));
}
static void put_reason(struct pg_args *args, const struct live_write *write) {
  pg_put_text(args, str_of(live_reason(write->trial, &write->todo.trial)));
}
static void put_stop(struct pg_args *args, const struct live_write *write) {
  pg_put_jsonb(args, write->todo.trial.cause == CAUSE_VERDICT ? str_of(live_course(write->trial)->stop) : STR_NONE);
}
static void put_exit_code(struct pg_args *args, const struct live_write *write) {
  pg_put_int_if(args, live_course(write->trial)->has_exit && !live_course(write->trial)->by_signal, live_course(write->trial)->exit);
}
static void put_signal(struct pg_args *args, const struct live_write *write) {
  pg_put_int_if(args, live_course(write->trial)->has_exit && live_course(write->trial)->by_signal, live_course(write->trial)->exit);
}
static void put_command(struct pg_args *args, const struct live_write *write) {
  pg_put_jsonb(args, str_of(live_course(write->trial)->command));
}
static void put_worker(struct pg_args *args, const struct live_write *write) {
  pg_put_text(args, str_of(live_course(write->trial)->worker));
}

static void put_lease(struct pg_args *args, const struct live_write *write) {
  pg_put_int_if(args, write->todo.trial.lease_ms > 0, write->todo.trial.lease_ms);
}

static put_fn *const identity_columns[] = {put_run,     put_experiment, put_sweep,        put_number,   put_created,
                                           put_name,    put_executor,   put_params,       put_point,    put_coords,
                                           put_made_by, put_made_tells, put_made_pending, put_at_tells, put_made_reports};
/* What changes, of every trial; and what can only change once it has been stored. */
static put_fn *const course_columns[] = {put_version,    put_state,  put_attempt, put_cause,     put_dead,    put_value,
                                         put_value_step, put_best,   put_last,    put_last_step, put_started, put_ended,
                                         put_told,       put_reason, put_stop,    put_worker,    put_lease};
static put_fn *const later_columns[] = {put_retries, put_slots, put_exit_code, put_signal, put_node, put_command};

/* Of the rows that are new, or of the others. */
static void put_columns(struct pg_args *args, const struct sweeps *s, put_fn *const *columns, size_t count, bool creation) {
  for (size_t c = 0; c < count; c++) {
    pg_begin_array(args);
    for (size_t i = 0; i < s->write_count; i++)
      if (s->writes[i].trial && s->writes[i].todo.creation == creation)
        columns[c](args, &s->writes[i]);
    pg_end_array(args);
  }
}

static void put_reports(struct pg_args *args, const struct sweeps *s) {
  for (unsigned column = 0; column < 9; column++) {
    pg_begin_array(args);
    for (size_t i = 0; i < s->reports_flying; i++) {
      const struct pending_report *r = &s->reports[i];
      switch (column) {
      case 0:
        pg_put_uuid(args, r->sweep->id);
        break;
      case 1:
        pg_put_int(args, r->n);
        break;
      case 2:
        pg_put_int(args, r->trial);
        break;
      case 3:
        pg_put_int(args, r->attempt);
        break;
      case 4:
        pg_put_text(args, str_of(r->key));
        break;
      case 5:
        pg_put_float8(args, r->value);
        break;
      case 6:
        pg_put_int(args, r->step);
        break;
      case 7:
        pg_put_float8_if(args, !isnan(r->epoch), r->epoch);
        break;
      default:
        pg_put_int(args, r->source);
        break;
      }
    }
    pg_end_array(args);
  }
}

void sweep_rows_put_warnings(struct pg_args *args, const struct live_sweep *live) {
  AUTO_BUF struct buf text = BUF_INIT(MIB);
  struct json_writer w;
  jw_init(&w, &text);
  jw_array(&w);
  live_put_warnings(live, &w);
  jw_array_end(&w);
  pg_put_jsonb(args, buf_str(&text));
}

void sweep_rows_put_event(struct pg_batch *batch, const struct sweeps *s, const char *kind, const char *subject, struct id run,
                          struct str reason) {
  struct pg_args *args = pg_batch_add(batch, STMT_EVENT_ADD);
  pg_put_int(args, live_wall(s));
  pg_put_text(args, str_of(kind));
  pg_put_text(args, STR("service"));
  pg_put_text(args, str_of(subject));
  pg_put_uuid(args, run);
  pg_put_null(args);
  pg_put_null(args);
  pg_put_text(args, reason);
}

static void put_sweep_create(struct pg_args *args, const struct live_sweep *live) {
  pg_put_uuid(args, live->id);
  pg_put_int(args, live->experiment_id);
  pg_put_int(args, live->created);
  pg_put_int(args, live->seed);
  pg_put_text(args, str_of(live->name));
  pg_put_text(args, str_of(live->directory));
  pg_put_text(args, str_of(live->source));
  pg_put_text(args, str_of(live->normal));
  sweep_rows_put_warnings(args, live);
  pg_put_bool(args, live->single);
  pg_put_bytea(args, live->prior_bytes ? str_n(live->prior, live->prior_bytes) : STR_NONE);
  pg_put_text(args, str_of(live->by));
}

static void put_about(struct pg_args *args, const struct live_sweep *live) {
  pg_put_uuid(args, live->id);
  pg_put_jsonb(args, str_of(live->about.command));
  pg_put_jsonb(args, str_of(live->about.params));
  pg_put_jsonb(args, str_of(live->about.tags));
  pg_put_text(args, str_of(live->by));
}

static void put_sweep_update(struct pg_args *args, const struct live_sweep *live, const struct engine_sweep *row) {
  AUTO_BUF struct buf text = BUF_INIT(SUMMARY_MAX);
  struct json_writer w;
  pg_put_uuid(args, live->id);
  pg_put_int(args, (int64_t)row->version);
  pg_put_int(args, row->state);
  pg_put_int(args, row->why);
  pg_put_bool(args, row->exhausted);
  pg_put_int(args, row->elapsed_ms);
  pg_put_int(args, row->slot_ms);
  pg_put_int_if(args, live->ended > 0, live->ended);
  if (!live->ended || live->single) {
    pg_put_null(args);
    return;
  }
  jw_init(&w, &text);
  live_put_sweep(live, &w);
  pg_put_jsonb(args, buf_str(&text));
}

/* ---- attempts ---- */

typedef void put_past_fn(struct pg_args *args, const struct live_trial *trial, const struct live_past *past);

static void put_past_run(struct pg_args *args, const struct live_trial *trial, const struct live_past *past UNUSED) {
  pg_put_uuid(args, trial->run);
}
static void put_past_attempt(struct pg_args *args, const struct live_trial *trial UNUSED, const struct live_past *past) {
  pg_put_int(args, past->attempt);
}
static void put_past_state(struct pg_args *args, const struct live_trial *trial UNUSED, const struct live_past *past) {
  pg_put_int(args, past->state);
}
static void put_past_reason(struct pg_args *args, const struct live_trial *trial UNUSED, const struct live_past *past) {
  pg_put_text(args, str_of(past->reason[0] ? past->reason : NULL));
}
static void put_past_code(struct pg_args *args, const struct live_trial *trial UNUSED, const struct live_past *past) {
  pg_put_int_if(args, past->has_exit && !past->by_signal, past->exit);
}
static void put_past_signal(struct pg_args *args, const struct live_trial *trial UNUSED, const struct live_past *past) {
  pg_put_int_if(args, past->has_exit && past->by_signal, past->exit);
}
static void put_past_began(struct pg_args *args, const struct live_trial *trial UNUSED, const struct live_past *past) {
  pg_put_int_if(args, past->began > 0, past->began);
}
static void put_past_ended(struct pg_args *args, const struct live_trial *trial UNUSED, const struct live_past *past) {
  pg_put_int_if(args, past->ended > 0, past->ended);
}

/* Of the trials that are updated; a row that does not exist yet has no second attempt. */
static void put_pasts(struct pg_batch *batch, const struct sweeps *s) {
  static put_past_fn *const columns[] = {put_past_run,  put_past_attempt, put_past_state, put_past_reason,
                                         put_past_code, put_past_signal,  put_past_began, put_past_ended};
  bool any = false;
  for (size_t i = 0; i < s->write_count && !any; i++)
    any = s->writes[i].trial && !s->writes[i].todo.creation && live_course(s->writes[i].trial)->past;
  if (!any)
    return;
  struct pg_args *args = pg_batch_add(batch, STMT_ATTEMPTS_PUT);
  for (size_t c = 0; c < ARRAY_LEN(columns); c++) {
    pg_begin_array(args);
    for (size_t i = 0; i < s->write_count; i++) {
      if (!s->writes[i].trial || s->writes[i].todo.creation)
        continue;
      for (struct live_past *past = live_course(s->writes[i].trial)->past; past; past = past->next) {
        columns[c](args, s->writes[i].trial, past);
        past->flying = true;
      }
    }
    pg_end_array(args);
  }
}

/* ---- first ends ---- */

typedef void put_first_end_fn(struct pg_args *args, const struct live_trial *trial);

static void put_first_run(struct pg_args *args, const struct live_trial *trial) {
  pg_put_uuid(args, trial->run);
}
static void put_first_state(struct pg_args *args, const struct live_trial *trial) {
  pg_put_int(args, trial->course->first_end.state);
}
static void put_first_value(struct pg_args *args, const struct live_trial *trial) {
  pg_put_float8_if(args, !isnan(trial->course->first_end.value), trial->course->first_end.value);
}
static void put_first_step(struct pg_args *args, const struct live_trial *trial) {
  pg_put_int(args, trial->course->first_end.step);
}
static void put_first_reports(struct pg_args *args, const struct live_trial *trial) {
  pg_put_int(args, trial->course->first_end.reports);
}

static void put_first_ends(struct pg_batch *batch, const struct sweeps *s) {
  static put_first_end_fn *const columns[] = {put_first_run, put_first_state, put_first_value, put_first_step, put_first_reports};
  bool any = false;
  for (size_t i = 0; i < s->write_count; i++) {
    struct live_course *course = s->writes[i].trial ? s->writes[i].trial->course : NULL;
    if (course)
      course->first_end_flying = course->keeps_first_end;
    any |= course && course->first_end_flying;
  }
  if (!any)
    return;
  struct pg_args *args = pg_batch_add(batch, STMT_FIRST_ENDS_PUT);
  for (size_t c = 0; c < ARRAY_LEN(columns); c++) {
    pg_begin_array(args);
    for (size_t i = 0; i < s->write_count; i++)
      if (s->writes[i].trial && s->writes[i].trial->course && s->writes[i].trial->course->first_end_flying)
        columns[c](args, s->writes[i].trial);
    pg_end_array(args);
  }
}

/* Trials that were on their way when the experiment went into the trash follow it. The row that says that their sweep is paused comes after
 * them, or with them. */
static void put_into_trash(struct pg_batch *batch, const struct sweeps *s) {
  bool any = false;
  for (size_t i = 0; i < s->write_count && !any; i++)
    any = !s->writes[i].trial && s->writes[i].sweep->in_trash;
  if (!any)
    return;
  struct pg_args *args = pg_batch_add(batch, STMT_SWEEPS_INTO_TRASH);
  pg_begin_array(args);
  for (size_t i = 0; i < s->write_count; i++)
    if (!s->writes[i].trial && s->writes[i].sweep->in_trash)
      pg_put_uuid(args, s->writes[i].sweep->id);
  pg_end_array(args);
}

/* Of a transaction: the epoch (two), trials that are new, trials that are not, those for the trash, attempts, first ends, reports. Of a
 * sweep: it is made, wants a model, is changed; a launched run: it is described. */
enum { SHARED_STATEMENTS = 8, OWN_STATEMENTS = 3 };
_Static_assert(SHARED_STATEMENTS + OWN_STATEMENTS * LIVE_BATCH_OWN_MAX + LIVE_BATCH_DEEDS_MAX <= PG_BATCH_MAX,
               "what is sent together is never refused for its size, or it would be for ever");

bool sweep_rows_is_own(const struct live_write *write) {
  return !write->trial || (write->todo.creation && write->sweep->about.command);
}

void sweep_rows_enter(struct pg_batch *batch, const struct sweeps *s) {
  pg_batch_add(batch, STMT_ENGINE_ENTER);
  pg_put_int(pg_batch_add(batch, STMT_ENGINE_EPOCH), s->epoch);
}

void sweep_rows_put(struct sweeps *s, struct pg_batch *batch) {
  bool creates = false, updates = false;
  sweep_rows_enter(batch, s);
  for (size_t i = 0; i < s->write_count; i++) {
    const struct live_write *write = &s->writes[i];
    creates |= write->todo.creation && write->trial;
    updates |= !write->todo.creation && write->trial;
    if (write->trial)
      continue;
    if (!write->sweep->stored)
      put_sweep_create(pg_batch_add(batch, STMT_SWEEP_CREATE), write->sweep);
    if (!write->sweep->stored && write->sweep->file->spec.register_model.given)
      pg_put_uuid(pg_batch_add(batch, STMT_SWEEP_REGISTER_WANT), write->sweep->id);
    put_sweep_update(pg_batch_add(batch, STMT_SWEEP_UPDATE), write->sweep, &write->todo.sweep);
  }
  if (creates) {
    struct pg_args *args = pg_batch_add(batch, STMT_TRIALS_CREATE);
    put_columns(args, s, identity_columns, ARRAY_LEN(identity_columns), true);
    put_columns(args, s, course_columns, ARRAY_LEN(course_columns), true);
    for (size_t i = 0; i < s->write_count; i++)
      if (s->writes[i].trial && s->writes[i].todo.creation && s->writes[i].sweep->about.command)
        put_about(pg_batch_add(batch, STMT_SINGLE_DESCRIBE), s->writes[i].sweep);
  }
  if (updates) {
    struct pg_args *args = pg_batch_add(batch, STMT_TRIALS_UPDATE);
    put_columns(args, s, &identity_columns[0], 1, false);
    put_columns(args, s, course_columns, ARRAY_LEN(course_columns), false);
    put_columns(args, s, later_columns, ARRAY_LEN(later_columns), false);
  }
  put_into_trash(batch, s);
  put_pasts(batch, s);
  put_first_ends(batch, s);
  if (s->reports_flying)
    put_reports(pg_batch_add(batch, STMT_REPORTS_ADD), s);
  if (sweep_rows_has_room(s)) /* else some rows that they speak of may come later */
    deeds_send(s, batch);
}
