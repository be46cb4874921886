/* Deletion for good. Each thing in a transaction of its own, which also notes the files that go (table doomed); those are removed at the
 * end, and, when that was cut short, by the next purge or gc. */
#include "tracker/care/care_inside.h"
#include "tracker/names.h"

enum { PAGE = 50 };

/* In this order: an experiment is empty only when its runs are gone. */
enum phase { PURGE_RUNS, PURGE_SWEEPS, PURGE_MODELS, PURGE_EXPERIMENTS, PURGE_FILES };

struct purge {
  struct care care;
  enum phase phase;
  struct id *runs;
  size_t run_count;
  int64_t before_ms;
  bool dry_run;
  int64_t after_time, after_number; /* where the list of this phase goes on */
  struct id after;
  struct candidate {
    struct id id;
    int64_t number;
    char *files;    /* directory in the store, or NULL */
    char label[96]; /* id and name */
  } page[PAGE];
  size_t count, at; /* of the page; `at` is the one being deleted */
  bool last_page;
  struct doomed doomed;
  uint64_t runs_gone, sweeps_gone, models_gone, experiments_gone;
};

static struct purge *purge_of(struct care *care) {
  return CONTAINER_OF(care, struct purge, care);
}

static void release_page(struct purge *op) {
  for (size_t i = 0; i < op->count; i++)
    mem_free(op->page[i].files);
  op->count = op->at = 0;
}

static void release(struct care *care) {
  struct purge *op = purge_of(care);
  release_page(op);
  doomed_release(&op->doomed);
  mem_free(op->runs);
}

static const struct phase_info {
  const char *kind;
  enum stmt list, purge;
  int name_at, place_at, time_at; /* columns of the list; place_at -1: no files */
} phases[] = {
    [PURGE_RUNS] = {"run", STMT_RUN_TRASH, STMT_RUN_PURGE, 1, 2, 3},
    [PURGE_SWEEPS] = {"sweep", STMT_SWEEP_TRASH, STMT_SWEEP_PURGE, 1, -1, 2},
    [PURGE_MODELS] = {"logged_model", STMT_LOGGED_MODEL_TRASH, STMT_LOGGED_MODEL_PURGE, 1, 2, 3},
    [PURGE_EXPERIMENTS] = {"experiment", STMT_EXPERIMENT_TRASH, STMT_EXPERIMENT_PURGE, 1, 2, 3},
};

/* ---- which files are its own ---- */

/* Up to the component that is the thing's own name: "<exp>/<run id>/artifacts" gives "<exp>/<run id>". NULL when there is none, or the
 * files are not here: what may be shared is left alone. */
static char *own_directory(struct artifact_store *store, struct str uri, const char *own_name) {
  AUTO_BUF struct buf base = BUF_INIT(64 * KIB);
  struct str path, part;
  struct err ignored;
  if (!store || !artifact_path_of_uri(store, uri, &base) || !artifact_path_check(buf_str(&base), &path, &ignored))
    return NULL;
  for (struct str rest = path; str_split(&rest, '/', &part);)
    if (str_is(part, own_name))
      return mem_strndup(path.p, (size_t)(part.p + part.n - path.p));
  return NULL;
}

static void take_candidate(struct purge *op, const struct pg_reply *reply, size_t row) {
  const struct phase_info *info = &phases[op->phase];
  struct candidate *item = &op->page[op->count++];
  char own_name[ID_HEX_LEN + 3];
  *item = (struct candidate){.files = NULL};
  if (op->phase == PURGE_EXPERIMENTS) {
    item->number = op->after_number = pg_int(reply, row, 0);
    snprintf(own_name, sizeof own_name, "%lld", (long long)item->number);
  } else {
    char hex[ID_HEX_LEN + 1];
    item->id = op->after = pg_uuid(reply, row, 0);
    id_format(item->id, hex);
    snprintf(own_name, sizeof own_name, "%s%s", op->phase == PURGE_MODELS ? "m-" : "", hex);
  }
  op->after_time = pg_int(reply, row, (size_t)info->time_at);
  if (info->place_at >= 0)
    item->files = own_directory(op->care.conf.artifacts, pg_text(reply, row, (size_t)info->place_at), own_name);
  snprintf(item->label, sizeof item->label, "%s %.*s", own_name, STR_ARG(str_slice(pg_text(reply, row, (size_t)info->name_at), 0, 50)));
}

/* ---- a page of candidates ---- */

static void next_phase(struct purge *op) {
  op->phase = op->run_count ? PURGE_FILES : op->phase + 1;
  op->after_time = op->after_number = INT64_MIN;
  op->after = (struct id){{0}};
  op->last_page = false;
}

static void on_page(void *ctx, const struct pg_reply *reply) {
  struct purge *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    care_told(&op->care, false, &err);
    return;
  }
  release_page(op);
  for (size_t i = 0; i < pg_rows(reply); i++)
    take_candidate(op, reply, i);
  op->last_page = pg_rows(reply) < PAGE;
  if (!op->count)
    next_phase(op);
  care_told(&op->care, true, NULL);
}

static bool ask_page(struct purge *op, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, phases[op->phase].list);
  pg_put_int(&args, op->before_ms);
  if (op->phase == PURGE_RUNS) {
    if (op->run_count) {
      pg_begin_array(&args);
      for (size_t i = 0; i < op->run_count; i++)
        pg_put_uuid(&args, op->runs[i]);
      pg_end_array(&args);
    } else {
      pg_put_null(&args);
    }
    pg_put_int(&args, op->after_time);
  }
  if (op->phase == PURGE_EXPERIMENTS)
    pg_put_int(&args, op->after_number);
  else
    pg_put_uuid(&args, op->after);
  pg_put_int(&args, PAGE);
  return care_run(&op->care, &args, on_page, err);
}

/* ---- one of them ---- */

static uint64_t *counter(struct purge *op) {
  uint64_t *counters[] = {&op->runs_gone, &op->sweeps_gone, &op->models_gone, &op->experiments_gone};
  return counters[op->phase];
}

static void candidate_done(struct purge *op, bool gone) {
  const struct candidate *item = &op->page[op->at++];
  if (gone) {
    (*counter(op))++;
    care_found(&op->care, phases[op->phase].kind, item->label, -1, NULL);
  }
  if (op->at == op->count && op->last_page)
    next_phase(op);
  care_told(&op->care, true, NULL);
}

static void on_purged(void *ctx, const struct pg_reply *reply) {
  struct purge *op = ctx;
  struct err err;
  if (pg_ok(reply, &err))
    candidate_done(op, pg_rows(reply) && pg_bool(reply, 0, 0));
  else
    care_told(&op->care, false, &err);
}

static bool purge_one(struct purge *op, struct err *err) {
  const struct candidate *item = &op->page[op->at];
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, phases[op->phase].purge);
  if (op->phase == PURGE_EXPERIMENTS)
    pg_put_int(&args, item->number);
  else
    pg_put_uuid(&args, item->id);
  pg_put_int(&args, op->before_ms);
  if (phases[op->phase].place_at >= 0)
    pg_put_text(&args, str_of(item->files));
  return care_run(&op->care, &args, on_purged, err);
}

/* A dry run tells a page in one step. */
static void tell_page(void *ctx) {
  struct purge *op = ctx;
  for (; op->at < op->count; op->at++) {
    (*counter(op))++;
    care_found(&op->care, phases[op->phase].kind, op->page[op->at].label, -1, NULL);
  }
  if (op->last_page)
    next_phase(op);
  care_told(&op->care, true, NULL);
}

static void files_done(struct care *care) {
  care_told(care, false, NULL);
}

static bool step(struct care *care, struct err *err) {
  struct purge *op = purge_of(care);
  if (op->phase == PURGE_FILES)
    return doomed_step(&op->doomed, err);
  if (op->at == op->count)
    return ask_page(op, err);
  if (!op->dry_run)
    return purge_one(op, err);
  loop_defer(care->conf.loop, &care->failed, tell_page, op);
  return true;
}

static void put_summary(struct care *care, struct json_writer *w) {
  const struct purge *op = purge_of(care);
  jw_put_i64(w, "runs", (int64_t)op->runs_gone);
  jw_put_i64(w, "sweeps", (int64_t)op->sweeps_gone);
  jw_put_i64(w, "logged_models", (int64_t)op->models_gone);
  jw_put_i64(w, "experiments", (int64_t)op->experiments_gone);
  jw_put_i64(w, "directories", (int64_t)op->doomed.removed);
  jw_put_i64(w, "left", (int64_t)op->doomed.failed);
}

struct care *care_purge(const struct care_conf *conf, const struct care_purge_ask *ask, care_finding_fn *found, void *ctx,
                        struct err *err) {
  static const struct care_class class = {step, put_summary, release};
  struct purge *op = care_new(sizeof *op, &class, conf, found, ctx, err);
  if (!op)
    return NULL;
  op->before_ms = ask->before_ms;
  op->dry_run = ask->dry_run;
  op->after_time = op->after_number = INT64_MIN;
  doomed_init(&op->doomed, &op->care, ask->dry_run, files_done);
  op->run_count = ask->run_count;
  if (ask->run_count) {
    op->runs = mem_array(ask->run_count, sizeof *op->runs);
    if (!op->runs) {
      err_no_memory(err);
      care_free(&op->care);
      return NULL;
    }
    memcpy(op->runs, ask->runs, ask->run_count * sizeof *op->runs);
  }
  return &op->care;
}
