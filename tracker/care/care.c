#include "base/file.h"
#include "tracker/care/care_inside.h"

enum { PAUSE_MS = 200 };

static void pause_over(void *ctx) {
  care_told(ctx, true, NULL);
}

void *care_new(size_t size, const struct care_class *class, const struct care_conf *conf, care_finding_fn *found, void *ctx,
               struct err *err) {
  struct care *care = mem_zalloc(size);
  struct loop_timer *pause = care ? loop_timer_new(conf->loop, pause_over, care) : NULL;
  if (!pause) {
    mem_free(care);
    err_no_memory(err);
    return NULL;
  }
  care->pause = pause;
  care->class = class;
  care->conf = *conf;
  care->found = found;
  care->found_ctx = ctx;
  return care;
}

void care_told(struct care *care, bool more, const struct err *err) {
  care->done(care->ctx, more && !err, err);
}

void care_cannot(struct care *care, const struct err *err, loop_fn *again, void *ctx) {
  if (err->code != ERR_OVERLOADED) {
    care_told(care, false, err);
    return;
  }
  care->again = again;
  care->again_ctx = ctx;
  loop_timer_start(care->pause, PAUSE_MS);
}

static void tell_failed(void *ctx) {
  struct care *care = ctx;
  care_cannot(care, &care->err, NULL, NULL);
}

/* True: the step is begun. */
static bool begin_again(struct care *care) {
  loop_fn *again = care->again;
  care->again = NULL;
  if (again)
    loop_defer(care->conf.loop, &care->failed, again, care->again_ctx);
  return again;
}

void care_step(struct care *care, care_step_fn *done, void *ctx) {
  care->done = done;
  care->ctx = ctx;
  if (!begin_again(care) && !care->class->step(care, &care->err))
    loop_defer(care->conf.loop, &care->failed, tell_failed, care);
}

void care_free(struct care *care) {
  if (!care)
    return;
  loop_defer_cancel(&care->failed);
  loop_timer_free(care->pause);
  care->class->release(care);
  mem_free(care);
}

void care_put_summary(struct care *care, struct json_writer *w) {
  care->class->put_summary(care, w);
}

void care_found(struct care *care, const char *kind, const char *subject, int64_t size, const char *text) {
  struct care_finding finding = {kind, subject, text, size};
  care->found(care->found_ctx, &finding);
}

bool care_run(struct care *care, struct pg_args *args, pg_done_fn *done, struct err *err) {
  return pg_run(care->conf.pg, args, CARE_TIMEOUT_MS, done, care, err);
}

/* ---- what is doomed ---- */

void doomed_init(struct doomed *doomed, struct care *care, bool dry_run, void (*none)(struct care *care)) {
  *doomed = (struct doomed){.care = care, .dry_run = dry_run, .none = none};
}

void doomed_release(struct doomed *doomed) {
  mem_free(doomed->path);
  mem_free(doomed->job);
  doomed->path = doomed->job = NULL;
}

static const char *name_of(const struct doomed *doomed) {
  return doomed->path ? doomed->path : doomed->job ? doomed->job : "";
}

static void on_noted(void *ctx, const struct pg_reply *reply) {
  struct doomed *doomed = ctx;
  struct err err;
  bool ok = pg_ok(reply, &err);
  doomed->removed += ok && !doomed->if_empty;
  care_told(doomed->care, true, ok ? NULL : &err);
}

static void note_done(void *ctx) {
  struct doomed *doomed = ctx;
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  pg_args_init(&args, STMT_DOOMED_DONE);
  pg_put_int(&args, doomed->id);
  if (!pg_run(doomed->care->conf.pg, &args, CARE_TIMEOUT_MS, on_noted, doomed, &err))
    care_cannot(doomed->care, &err, note_done, doomed);
}

/* A service that stops ends the work; anything else is told, and the next one has its turn. */
static void not_removed(struct doomed *doomed, const struct err *err) {
  bool stopping = err->code == ERR_UNAVAILABLE || err->code == ERR_CANCELLED;
  doomed->failed++;
  if (!stopping)
    care_found(doomed->care, "leftover", name_of(doomed), -1, err->text);
  care_told(doomed->care, true, stopping ? err : NULL);
}

/* Under another name first: what tidies after an attempt keeps directories by theirs, for other runs. */
static bool remove_run(const char *path, struct err *err) {
  AUTO_BUF struct buf gone = BUF_INIT(8 * KIB);
  buf_printf(&gone, "%s.gone", path);
  if (!buf_ok(&gone, err) || !tree_remove(buf_text(&gone), err)) /* of an earlier try */
    return false;
  if (rename(path, buf_text(&gone)) != 0)
    return errno == ENOENT || err_errno(err, errno, "cannot rename %s", path);
  return tree_remove(buf_text(&gone), err);
}

static void run_removal(struct work *work) {
  struct doomed *doomed = CONTAINER_OF(work, struct doomed, work);
  doomed->err.code = ERR_NONE;
  if (!remove_run(doomed->job, &doomed->err) && doomed->err.code == ERR_NONE)
    err_set(&doomed->err, ERR_IO, "cannot remove %.200s", doomed->job);
}

static void removed(struct work *work, bool cancelled) {
  struct doomed *doomed = CONTAINER_OF(work, struct doomed, work);
  if (cancelled)
    err_set(&doomed->err, ERR_UNAVAILABLE, "the service is stopping");
  if (doomed->err.code != ERR_NONE)
    not_removed(doomed, &doomed->err);
  else
    note_done(doomed);
}

static void remove_job(void *ctx) {
  struct doomed *doomed = ctx;
  struct err err;
  if (!doomed->job) {
    note_done(doomed);
    return;
  }
  doomed->work = (struct work){.run = run_removal, .done = removed};
  if (!work_submit(doomed->care->conf.work, &doomed->work, &err))
    care_cannot(doomed->care, &err, remove_job, doomed);
}

static void remove_files(void *ctx);

static void on_files_gone(void *ctx, const struct err *err) {
  struct doomed *doomed = ctx;
  if (err && err->code == ERR_OVERLOADED)
    care_cannot(doomed->care, err, remove_files, doomed);
  else if (err)
    not_removed(doomed, err);
  else
    remove_job(doomed);
}

static void remove_files(void *ctx) {
  struct doomed *doomed = ctx;
  struct err err;
  bool (*remove)(struct artifact_store *, struct str, artifact_done_fn *, void *, struct err *) =
      doomed->if_empty ? artifact_delete_empty : artifact_delete;
  if (!remove(doomed->care->conf.artifacts, str_of(doomed->path), on_files_gone, doomed, &err))
    care_cannot(doomed->care, &err, remove_files, doomed);
}

static bool remember(struct doomed *doomed, const struct pg_reply *reply) {
  doomed_release(doomed);
  doomed->id = doomed->after = pg_int(reply, 0, 0);
  doomed->if_empty = pg_bool(reply, 0, 3);
  if (!pg_is_null(reply, 0, 1))
    doomed->path = mem_strdup(pg_text(reply, 0, 1).p);
  if (!pg_is_null(reply, 0, 2)) {
    AUTO_BUF struct buf path = BUF_INIT(8 * KIB);
    char hex[ID_HEX_LEN + 1];
    id_format(pg_uuid(reply, 0, 2), hex);
    buf_printf(&path, "%s/jobs/%s", doomed->care->conf.data_dir, hex);
    doomed->job = buf_take(&path);
  }
  return (doomed->path || pg_is_null(reply, 0, 1)) && (doomed->job || pg_is_null(reply, 0, 2));
}

static void begin_removal(struct doomed *doomed) {
  if (doomed->dry_run) {
    care_found(doomed->care, "leftover", name_of(doomed), -1, "a purge has not got to it yet");
    care_told(doomed->care, true, NULL);
  } else if (!doomed->path) {
    remove_job(doomed);
  } else {
    remove_files(doomed);
  }
}

static void on_page(void *ctx, const struct pg_reply *reply) {
  struct doomed *doomed = ctx;
  struct err err;
  if (!pg_ok(reply, &err) || (pg_rows(reply) && !remember(doomed, reply) && !err_no_memory(&err)))
    care_told(doomed->care, false, &err);
  else if (pg_rows(reply))
    begin_removal(doomed);
  else
    doomed->none(doomed->care);
}

bool doomed_step(struct doomed *doomed, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_DOOMED_PAGE);
  pg_put_int(&args, doomed->after);
  pg_put_int(&args, 1);
  return pg_run(doomed->care->conf.pg, &args, CARE_TIMEOUT_MS, on_page, doomed, err);
}
