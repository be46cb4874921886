#include "sweeper/register.h"

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "storage/metrics/metric_store.h"
#include "sweeper/sweeps_inside.h"
#include "tracker/artifacts/artifact_store.h"
#include "tracker/names.h"
#include "tracker/run_row.h"
#include "tracker/version_keep.h"

enum { REGISTRAR_WAITING_MAX = 10000, RETRY_MS = 5000, PATH_SIZE = 64 * 1024 };

struct waiting {
  struct list_node node;
  struct id sweep;
};

/* One sweep being looked at, in the order of the functions below. */
struct registering {
  struct sweeps *all;
  struct id sweep, run;
  struct sweep_file *file;
  bool is_over;
  uint32_t number;
  int64_t passed; /* better trials that have nothing to register, since they were stopped early */
  bool was_stopped;
  double value;
  struct version_keep keep;
  size_t note_at;                /* the note's place in the batch */
  char warning[400];             /* why nothing is registered; "" */
  struct buf name, source, path; /* of the sweep; the artifact's URI; where it lies */
};

struct registrar {
  struct list waiting; /* of sweeps to look at */
  struct registering *now;
  struct version_keep tried; /* how far the last one came: nothing else of it is looked at */
  int64_t retry_ms;
  bool begun;
};

static void begin_next(struct sweeps *s);

/* ---- ends ---- */

static void finish(struct registering *r) {
  struct sweeps *s = r->all;
  sweep_file_free(r->file);
  buf_release(&r->name);
  buf_release(&r->source);
  buf_release(&r->path);
  mem_free(r);
  s->registrar->now = NULL;
  begin_next(s);
}

/* It is tried again later. */
static void give_back(struct registering *r, const struct err *err) {
  struct sweeps *s = r->all;
  struct id sweep = r->sweep;
  if (!s->stopping)
    log_warn("sweep", NULL, "%s: its model is not registered yet: %s", buf_text(&r->name), err->text);
  s->registrar->retry_ms = live_now(s) + RETRY_MS;
  finish(r);
  register_consider(s, sweep);
}

/* What the sweep shows. */
static void on_noted(void *ctx, const struct pg_reply *reply) {
  struct registering *r = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    give_back(r, &err);
    return;
  }
  const struct pg_reply *note = pg_nth(reply, r->note_at);
  struct live_sweep *live = sweeps_find(r->all, r->sweep);
  if (live && pg_rows(note)) {
    struct str made = pg_jsonb(note, 0, 0);
    mem_free(live->registered);
    live->registered = mem_strndup(made.p, made.n);
    if (!live_take_warnings(live, pg_jsonb(note, 0, 1), &err))
      log_warn("sweep", NULL, "%s: its warnings cannot be read: %s", live->name, err.text);
  }
  finish(r);
}

static void note(struct registering *r, struct pg_batch *batch) {
  struct err err;
  if (!pg_run_batch(r->all->conf.pg, batch, 0, on_noted, r, &err))
    give_back(r, &err);
}

static void put_note(struct registering *r, struct pg_batch *batch) {
  r->note_at = batch->count;
  struct pg_args *args = pg_batch_add(batch, STMT_SWEEP_REGISTER_NOTE);
  pg_put_uuid(args, r->sweep);
  pg_put_bool(args, r->is_over);
  pg_put_text(args, r->warning[0] ? str_of(r->warning) : STR_NONE);
}

/* There is nothing to make. Said when the sweep is over; before that it may yet come. */
static void make_nothing(struct registering *r, const char *why) {
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  bool tells = r->is_over && why;
  if (tells)
    snprintf(r->warning, sizeof r->warning, "no model is registered: %s", why);
  put_note(r, &batch);
  if (tells) {
    sweep_rows_put_event(&batch, r->all, "sweep.not_registered", buf_text(&r->name), r->sweep, str_of(why));
    log_warn("sweep", NULL, "%s: %s", buf_text(&r->name), r->warning);
  }
  note(r, &batch);
}

/* ---- the version, its files, then the row that says they are there ---- */

static void tell(struct registering *r) {
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  char text[200];
  struct pg_args *args = pg_batch_add(&batch, STMT_SWEEP_VERSION_KEPT);
  pg_put_uuid(args, r->sweep);
  pg_put_uuid(args, r->run);
  put_note(r, &batch);
  snprintf(text, sizeof text, "version %lld of %.120s from trial %u", (long long)r->keep.version,
           arena_strdup(&r->file->arena, r->file->spec.register_model.model), r->number);
  sweep_rows_put_event(&batch, r->all, "sweep.registered", buf_text(&r->name), r->sweep, str_of(text));
  log_info("sweep", NULL, "%s: %s", buf_text(&r->name), text);
  note(r, &batch);
}

static void on_kept(void *ctx, const struct err *err) {
  struct registering *r = ctx;
  struct err gone;
  if (!err && !r->keep.is_copied) {
    err_set(&gone, ERR_NOT_FOUND, "its files were removed meanwhile");
    err = &gone;
  }
  r->all->registrar->tried = r->keep;
  if (r->all->stopping) /* the service goes on with it after its next start */
    finish(r);
  else if (err)
    give_back(r, err);
  else
    tell(r);
}

/* A copy that was made before, and could not be told, stays the one. */
static bool keep(struct registering *r, struct err *err) {
  const struct version_keep *tried = &r->all->registrar->tried;
  r->keep.pg = r->all->conf.pg;
  r->keep.store = r->all->conf.artifacts;
  r->keep.from = buf_str(&r->path);
  r->keep.done = on_kept;
  r->keep.ctx = r;
  r->keep.is_copied = tried->is_copied && tried->model == r->keep.model && tried->version == r->keep.version;
  r->keep.tree = tried->tree;
  return version_keep_anew(&r->keep, err);
}

static void on_version(void *ctx, const struct pg_reply *reply) {
  struct registering *r = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    give_back(r, &err);
    return;
  }
  const struct pg_reply *row = pg_nth(reply, 3);
  bool is_there = pg_rows(row) || err_set(&err, ERR_NOT_FOUND, "the model was removed meanwhile");
  if (is_there) {
    r->keep.version = pg_int(row, 0, 0);
    r->keep.model = pg_int(row, 0, 1);
  }
  if (is_there && pg_bool(row, 0, 2))
    tell(r);
  else if (!is_there || !keep(r, &err))
    give_back(r, &err);
}

static void put_version(const struct registering *r, struct pg_args *args) {
  const struct sweep_spec *spec = &r->file->spec;
  AUTO_BUF struct buf description = BUF_INIT(4 * KIB), tags = BUF_INIT(4 * KIB);
  char value[32], trial[24], sweep[ID_HEX_LEN + 1];
  struct json_writer w;
  size_t n = str_from_f64(r->value, value);
  id_format(r->sweep, sweep);
  buf_printf(&description, "Best of the sweep %s: trial %u, %.*s %.*s", buf_text(&r->name), r->number,
             STR_ARG(str_slice(spec->metric.name, 0, 200)), (int)n, value);
  jw_init(&w, &tags);
  jw_object(&w);
  jw_put_text(&w, "winnow.sweep_id", sweep);
  snprintf(trial, sizeof trial, "%u", r->number); /* a tag is a text: MLflow's clients take no number */
  jw_put_text(&w, "winnow.trial", trial);
  jw_object_end(&w);
  pg_put_uuid(args, r->sweep);
  pg_put_uuid(args, r->run);
  pg_put_text(args, spec->register_model.model);
  pg_put_int(args, live_wall(r->all));
  pg_put_text(args, buf_str(&r->source));
  pg_put_text(args, buf_str(&description));
  pg_put_jsonb(args, buf_str(&tags));
}

static void on_settled(void *ctx, const struct err *err) {
  struct registering *r = ctx;
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct err why;
  if (err) {
    give_back(r, err);
    return;
  }
  sweep_rows_enter(&batch, r->all);
  struct pg_args *args = pg_batch_add(&batch, STMT_MODEL_MAKE);
  pg_put_text(args, r->file->spec.register_model.model);
  pg_put_int(args, live_wall(r->all));
  put_version(r, pg_batch_add(&batch, STMT_SWEEP_VERSION_MAKE));
  if (!pg_run_batch(r->all->conf.pg, &batch, 0, on_version, r, &why))
    give_back(r, &why);
}

/* ---- what is to be registered ---- */

static void look_for_best(struct registering *r);

static void on_digest(void *ctx, const struct artifact_tree *tree, const struct err *err) {
  struct registering *r = ctx;
  struct err why;
  char text[300];
  if (r->all->stopping) { /* the service goes on with it after its next start */
    finish(r);
    return;
  }
  if (err && err->code != ERR_NOT_FOUND) {
    give_back(r, err);
  } else if ((err || !tree->files) && r->was_stopped) {
    r->passed++;
    look_for_best(r);
  } else if (err || !tree->files) {
    snprintf(text, sizeof text, "trial %u has no artifact \"%.100s\"; artifacts: names what is stored", r->number,
             arena_strdup(&r->file->arena, r->file->spec.register_model.path));
    make_nothing(r, text);
  } else if (!metric_settle(r->all->conf.metrics, &r->run, on_settled, r, &why)) {
    give_back(r, &why);
  }
}

/* Where the run's artifacts are. */
static void on_run(void *ctx, const struct pg_reply *reply) {
  struct registering *r = ctx;
  struct artifact_store *store = r->all->conf.artifacts;
  struct run_row row;
  struct err err;
  AUTO_BUF struct buf below = BUF_INIT(PATH_SIZE);
  if (!pg_ok(reply, &err)) {
    give_back(r, &err);
    return;
  }
  if (!pg_rows(reply) || !store) {
    make_nothing(r, "the run of its best trial is deleted");
    return;
  }
  run_row_read(reply, 0, &row);
  struct str path = path_from_here(r->file->spec.register_model.path);
  const char *slash = path.n ? "/" : ""; /* else all that the run has */
  buf_printf(&r->source, "%.*s%s%.*s", STR_ARG(row.artifact_uri), slash, STR_ARG(path));
  if (!artifact_path_of_uri(store, row.artifact_uri, &below)) {
    make_nothing(r, "its artifacts are not in this service");
    return;
  }
  buf_printf(&r->path, "%s%s%.*s", buf_text(&below), slash, STR_ARG(path));
  if (!buf_ok(&r->path, &err) || !buf_ok(&r->source, &err) || !artifact_digest(store, buf_str(&r->path), on_digest, r, &err))
    give_back(r, &err);
}

static void on_known(void *ctx, const struct pg_reply *reply) {
  struct registering *r = ctx;
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  pg_args_init(&args, STMT_RUN_GET);
  pg_put_uuid(&args, r->run);
  if (!pg_ok(reply, &err))
    give_back(r, &err);
  else if (pg_rows(reply) && pg_bool(reply, 0, 1))
    make_nothing(r, NULL); /* it is done */
  else if (!pg_run(r->all->conf.pg, &args, 0, on_run, r, &err))
    give_back(r, &err);
}

static bool is_good_enough(const struct registering *r, char why[200]) {
  const struct sweep_spec *spec = &r->file->spec;
  if (spec->register_model.has_at_least && !(r->value >= spec->register_model.at_least))
    snprintf(why, 200, "the best value, %.9g, is below metric_at_least %.9g", r->value, spec->register_model.at_least);
  else if (spec->register_model.has_at_most && !(r->value <= spec->register_model.at_most))
    snprintf(why, 200, "the best value, %.9g, is above metric_at_most %.9g", r->value, spec->register_model.at_most);
  else
    return true;
  return false;
}

static void on_best(void *ctx, const struct pg_reply *reply) {
  struct registering *r = ctx;
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  char why[200];
  pg_args_init(&args, STMT_SWEEP_VERSION_GET);
  if (!pg_ok(reply, &err)) {
    give_back(r, &err);
    return;
  }
  if (pg_rows(reply) <= (size_t)r->passed) {
    make_nothing(r, r->passed ? "no trial with a value has the artifact" : "no trial has ended with a value");
    return;
  }
  buf_reset(&r->source); /* of the one before */
  buf_reset(&r->path);
  size_t row = (size_t)r->passed;
  r->run = pg_uuid(reply, row, 0);
  r->number = (uint32_t)pg_int(reply, row, 1);
  r->was_stopped = pg_int(reply, row, 2) == RUN_STOPPED;
  r->value = pg_float8(reply, row, 6);
  if (!is_good_enough(r, why)) {
    make_nothing(r, why);
    return;
  }
  pg_put_uuid(&args, r->sweep);
  pg_put_uuid(&args, r->run);
  if (!pg_run(r->all->conf.pg, &args, 0, on_known, r, &err))
    give_back(r, &err);
}

static void look_for_best(struct registering *r) {
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  pg_args_init(&args, STMT_TRIALS_BEST);
  pg_put_uuid(&args, r->sweep);
  pg_put_bool(&args, r->file->spec.metric.goal == GOAL_MAXIMIZE);
  pg_put_int(&args, r->passed + 1);
  if (!pg_run(r->all->conf.pg, &args, 0, on_best, r, &err))
    give_back(r, &err);
}

static bool read_info(struct registering *r, const struct pg_reply *reply, struct err *err) {
  AUTO_ARENA struct arena arena = ARENA_INIT(16 * MIB);
  struct spec_problems errors;
  buf_add_str(&r->name, pg_text(reply, 0, 0));
  r->is_over = pg_bool(reply, 0, 2);
  return buf_ok(&r->name, err) && sweep_file_read(pg_text(reply, 0, 1), "", &arena, &r->file, &errors, err);
}

static void on_info(void *ctx, const struct pg_reply *reply) {
  struct registering *r = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    give_back(r, &err);
    return;
  }
  bool known = pg_rows(reply) && read_info(r, reply, &err) && r->file->spec.register_model.given;
  if (!known || (r->file->spec.register_model.when == REGISTER_BEST && !r->is_over)) {
    finish(r); /* deleted, of a version that this one cannot read, or it is not time yet */
    return;
  }
  look_for_best(r);
}

/* ---- one after the other ---- */

static void begin_next(struct sweeps *s) {
  struct list_node *node =
      s->stopping || s->registrar->now || live_now(s) < s->registrar->retry_ms ? NULL : list_pop_front(&s->registrar->waiting);
  struct err err;
  if (!node)
    return;
  struct waiting *waiting = LIST_ENTRY(node, struct waiting, node);
  struct registering *r = mem_zalloc(sizeof *r);
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_SWEEP_REGISTER_INFO);
  if (!r) {
    list_push_back(&s->registrar->waiting, node);
    return;
  }
  *r = (struct registering){
      .all = s, .sweep = waiting->sweep, .name = BUF_INIT(4 * KIB), .source = BUF_INIT(PATH_SIZE), .path = BUF_INIT(PATH_SIZE)};
  mem_free(waiting);
  s->registrar->now = r;
  pg_put_uuid(&args, r->sweep);
  if (!pg_run(s->conf.pg, &args, 0, on_info, r, &err))
    give_back(r, &err);
}

void register_consider(struct sweeps *s, struct id sweep) {
  for (struct list_node *node = s->registrar->waiting.first; node; node = node->next)
    if (id_eq(LIST_ENTRY(node, struct waiting, node)->sweep, sweep))
      return;
  struct waiting *waiting = s->registrar->waiting.count < REGISTRAR_WAITING_MAX ? mem_zalloc(sizeof *waiting) : NULL;
  if (!waiting) {
    log_warn("sweep", NULL, "too many sweeps wait for a model to be registered: one is looked at after the next start");
    return;
  }
  waiting->sweep = sweep;
  list_push_back(&s->registrar->waiting, &waiting->node);
  begin_next(s);
}

static void on_due(void *ctx, const struct pg_reply *reply) {
  struct sweeps *s = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    s->registrar->begun = s->stopping;
    return;
  }
  for (size_t i = 0; i < pg_rows(reply); i++)
    register_consider(s, pg_uuid(reply, i, 0));
}

void register_tick(struct sweeps *s) {
  AUTO_PG_ARGS struct pg_args args;
  struct err ignored; /* asked again at the next tick */
  pg_args_init(&args, STMT_SWEEP_REGISTER_DUE);
  if (s->registrar->begun) {
    begin_next(s);
    return;
  }
  s->registrar->begun = pg_run(s->conf.pg, &args, 0, on_due, s, &ignored);
  LIST_EACH(&s->sweeps, node) {
    const struct live_sweep *live = LIST_ENTRY(node, struct live_sweep, node);
    if (live->file->spec.register_model.given)
      register_consider(s, live->id);
  }
}

bool register_new(struct sweeps *s, struct err *err) {
  s->registrar = mem_zalloc(sizeof *s->registrar);
  return s->registrar || err_no_memory(err);
}

void register_free(struct sweeps *s) {
  for (struct list_node *node; s->registrar && (node = list_pop_front(&s->registrar->waiting));)
    mem_free(LIST_ENTRY(node, struct waiting, node));
  mem_free(s->registrar);
}
