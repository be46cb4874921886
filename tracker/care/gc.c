/* What nobody needs: first the files on the disk that nothing names, then rows whose file is gone, then what a purge left. A file is young
 * until `grace` after its last change: an upload writes, renames and only then notes it. */
#include "tracker/artifacts/artifact_check.h"
#include "tracker/artifacts/artifact_tree.h"
#include "tracker/artifacts/tree_walk.h"
#include "tracker/care/care_inside.h"

enum { FILES_PAGE = 256 };

enum phase { GC_FILES, GC_ROWS, GC_DOOMED };

struct gc {
  struct care care;
  enum phase phase;
  bool dry_run;
  int64_t grace_ms;
  struct work work;
  struct err err;
  struct tree_walk walk;
  struct tree_walk_file files[FILES_PAGE];
  bool doomed_file[FILES_PAGE], removed[FILES_PAGE];
  size_t file_count, at; /* `at`: the one that is being removed */
  struct artifact_check check;
  size_t missing; /* rows of the page looked at, up to here */
  struct buf after;
  bool last_page;
  struct doomed doomed;
  uint64_t seen, orphans, temporary, rows;
  int64_t bytes;
};

static struct gc *gc_of(struct care *care) {
  return CONTAINER_OF(care, struct gc, care);
}

static void release_files(struct gc *op) {
  for (size_t i = 0; i < op->file_count; i++)
    mem_free(op->files[i].path);
  op->file_count = 0;
}

static void release(struct care *care) {
  struct gc *op = gc_of(care);
  release_files(op);
  tree_walk_release(&op->walk);
  artifact_check_reset(&op->check);
  buf_release(&op->after);
  doomed_release(&op->doomed);
}

static bool submit(struct gc *op, void (*run)(struct work *), void (*done)(struct work *, bool), struct err *err) {
  op->err.code = ERR_NONE;
  op->work = (struct work){.run = run, .done = done};
  return work_submit(op->care.conf.work, &op->work, err);
}

static bool work_failed(struct gc *op, bool cancelled) {
  if (cancelled)
    err_set(&op->err, ERR_UNAVAILABLE, "the service is stopping");
  if (op->err.code == ERR_NONE)
    return false;
  care_told(&op->care, false, &op->err);
  return true;
}

/* ---- files ---- */

/* Of uploads: files on their way have hidden names, parts of uploads lie in a hidden directory. */
static bool is_temporary(const char *path) {
  return strncmp(path, ARTIFACT_HIDDEN, strlen(ARTIFACT_HIDDEN)) == 0 || strstr(path, "/" ARTIFACT_HIDDEN);
}

static void tell_files(struct gc *op) {
  for (size_t i = 0; i < op->file_count; i++) {
    if (!op->doomed_file[i] || !(op->dry_run || op->removed[i]))
      continue;
    bool temporary = is_temporary(op->files[i].path);
    *(temporary ? &op->temporary : &op->orphans) += 1;
    op->bytes += op->files[i].size;
    care_found(&op->care, temporary ? "temporary" : "orphan", op->files[i].path, op->files[i].size, NULL);
  }
  release_files(op);
  care_told(&op->care, true, NULL);
}

static void remove_files(void *ctx);

/* What cannot be removed is left for another time. */
static void on_collected(void *ctx, bool removed, const struct err *err) {
  struct gc *op = ctx;
  if (err && err->code == ERR_OVERLOADED) {
    care_cannot(&op->care, err, remove_files, op);
    return;
  }
  op->removed[op->at++] = removed;
  if (err && err->code == ERR_UNAVAILABLE)
    care_told(&op->care, false, err);
  else
    remove_files(op);
}

/* One after the other. A name may have come again since it was asked for: whoever has its turn at the path looks again. */
static void remove_files(void *ctx) {
  struct gc *op = ctx;
  struct err err;
  while (op->at < op->file_count && !op->doomed_file[op->at])
    op->removed[op->at++] = false;
  if (op->at == op->file_count) {
    tell_files(op);
    return;
  }
  const struct tree_walk_file *file = &op->files[op->at];
  if (!artifact_collect(op->care.conf.artifacts, str_of(file->path), file->changed_ms, is_temporary(file->path), on_collected, op, &err))
    care_cannot(&op->care, &err, remove_files, op);
}

/* Rows whose file would be gone. */
static void on_rows_of_doomed(void *ctx, const struct pg_reply *reply) {
  struct gc *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    care_told(&op->care, false, &err);
    return;
  }
  op->rows += pg_rows(reply);
  for (size_t i = 0; i < pg_rows(reply); i++)
    care_found(&op->care, "row", pg_text(reply, i, 0).p, pg_int(reply, i, 1), "its file would be gone");
  tell_files(op);
}

static bool is_text(const char *path) {
  return str_is_utf8(str_of(path));
}

static void look_at_files(void *ctx) {
  struct gc *op = ctx;
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  pg_args_init(&args, STMT_ARTIFACT_ROWS_OF);
  pg_begin_array(&args);
  for (size_t i = 0; i < op->file_count; i++)
    if (op->doomed_file[i] && is_text(op->files[i].path))
      pg_put_text(&args, str_of(op->files[i].path));
  pg_end_array(&args);
  pg_put_int(&args, clock_wall_ms(loop_clock(op->care.conf.loop)) - op->grace_ms);
  if (!care_run(&op->care, &args, on_rows_of_doomed, &err))
    care_cannot(&op->care, &err, look_at_files, op);
}

/* Those that are not among the known ones, which come in no order. Where clients write themselves, what we do not know is theirs. */
static void on_known(void *ctx, const struct pg_reply *reply) {
  struct gc *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    care_told(&op->care, false, &err);
    return;
  }
  for (size_t i = 0; i < op->file_count; i++) {
    bool known = false;
    for (size_t row = 0; row < pg_rows(reply) && !known; row++)
      known = str_is(pg_text(reply, row, 0), op->files[i].path);
    op->doomed_file[i] = is_temporary(op->files[i].path) || (!known && !artifact_store_is_shared(op->care.conf.artifacts));
  }
  op->at = 0;
  if (op->dry_run)
    look_at_files(op);
  else
    remove_files(op);
}

static void ask_known(void *ctx) {
  struct gc *op = ctx;
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  pg_args_init(&args, STMT_ARTIFACT_KNOWN);
  pg_begin_array(&args);
  for (size_t i = 0; i < op->file_count; i++)
    if (is_text(op->files[i].path)) /* others cannot be in the table */
      pg_put_text(&args, str_of(op->files[i].path));
  pg_end_array(&args);
  pg_put_int(&args, clock_wall_ms(loop_clock(op->care.conf.loop)) - ARTIFACT_KEPT_SOON_MS);
  if (!care_run(&op->care, &args, on_known, &err))
    care_cannot(&op->care, &err, ask_known, op);
}

static void run_walk(struct work *work) {
  struct gc *op = CONTAINER_OF(work, struct gc, work);
  if (!tree_walk_next(&op->walk, op->files, FILES_PAGE, &op->file_count, &op->err) && op->err.code == ERR_NONE)
    err_set(&op->err, ERR_IO, "the directory of artifacts cannot be read");
}

static void drop_young(struct gc *op) {
  int64_t oldest_young = clock_wall_ms(loop_clock(op->care.conf.loop)) - op->grace_ms;
  size_t kept = 0;
  for (size_t i = 0; i < op->file_count; i++) {
    if (op->files[i].changed_ms > oldest_young)
      mem_free(op->files[i].path);
    else
      op->files[kept++] = op->files[i];
  }
  op->file_count = kept;
}

static void walked(struct work *work, bool cancelled) {
  struct gc *op = CONTAINER_OF(work, struct gc, work);
  if (work_failed(op, cancelled))
    return;
  if (!op->file_count)
    op->phase = GC_ROWS;
  op->seen += op->file_count;
  drop_young(op);
  if (op->file_count)
    ask_known(op);
  else
    care_told(&op->care, true, NULL);
}

/* ---- rows ---- */

static void rows_go_on(void *ctx);

static void row_told(struct gc *op) {
  struct artifact_probe *probe = &op->check.probes[op->missing++];
  op->rows++;
  care_found(&op->care, "row", probe->path, probe->size, "its file is gone");
}

static void on_forgotten(void *ctx, const struct pg_reply *reply) {
  struct gc *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    care_told(&op->care, false, &err);
    return;
  }
  row_told(op);
  rows_go_on(op);
}

static bool forget(struct gc *op, const struct artifact_probe *probe, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_ARTIFACT_FORGET);
  pg_put_text(&args, str_of(probe->path));
  pg_put_bytea(&args, str_n((const char *)probe->sha256, sizeof probe->sha256));
  pg_put_int(&args, probe->created);
  return care_run(&op->care, &args, on_forgotten, err);
}

/* A row stays as long as it is young: its file may be about to come back under the same name. */
static void rows_go_on(void *ctx) {
  struct gc *op = ctx;
  struct err err;
  int64_t oldest_young = clock_wall_ms(loop_clock(op->care.conf.loop)) - op->grace_ms;
  while (op->missing < op->check.count) {
    const struct artifact_probe *probe = &op->check.probes[op->missing];
    if (probe->verdict != ARTIFACT_MISSING || probe->created > oldest_young) {
      op->missing++;
    } else if (op->dry_run) {
      row_told(op);
    } else {
      if (!forget(op, probe, &err))
        care_cannot(&op->care, &err, rows_go_on, op);
      return;
    }
  }
  artifact_check_reset(&op->check);
  if (op->last_page)
    op->phase = GC_DOOMED;
  care_told(&op->care, true, NULL);
}

static void on_checked(struct artifact_check *check, const struct err *err) {
  struct gc *op = CONTAINER_OF(check, struct gc, check);
  if (err)
    care_told(&op->care, false, err);
  else
    rows_go_on(op);
}

static void check_rows(void *ctx) {
  struct gc *op = ctx;
  struct err err;
  if (!artifact_check_go(&op->check, &err))
    care_cannot(&op->care, &err, check_rows, op);
}

static void on_rows(void *ctx, const struct pg_reply *reply) {
  struct gc *op = ctx;
  struct err err;
  bool ok = pg_ok(reply, &err) && artifact_check_fill(&op->check, reply, &op->after, &err);
  op->missing = 0;
  op->last_page = ok && op->check.count < ARTIFACT_PROBES_MAX;
  if (!ok)
    care_told(&op->care, false, &err);
  else if (op->check.count)
    check_rows(op);
  else
    rows_go_on(op);
}

static void doomed_done(struct care *care) {
  care_told(care, false, NULL);
}

/* ---- all together ---- */

static bool step(struct care *care, struct err *err) {
  struct gc *op = gc_of(care);
  switch (op->phase) {
  case GC_FILES:
    return submit(op, run_walk, walked, err);
  case GC_ROWS:
    return artifact_check_page(care->conf.pg, &op->after, on_rows, op, err);
  case GC_DOOMED:
    break;
  }
  return doomed_step(&op->doomed, err);
}

static void put_summary(struct care *care, struct json_writer *w) {
  const struct gc *op = gc_of(care);
  jw_put_i64(w, "files_seen", (int64_t)op->seen);
  jw_put_i64(w, "orphans", (int64_t)op->orphans);
  jw_put_i64(w, "temporary", (int64_t)op->temporary);
  jw_put_i64(w, "rows", (int64_t)op->rows);
  jw_put_i64(w, "directories", (int64_t)op->doomed.removed);
  jw_put_i64(w, "bytes", op->bytes);
}

struct care *care_gc(const struct care_conf *conf, bool dry_run, int64_t grace_ms, care_finding_fn *found, void *ctx, struct err *err) {
  static const struct care_class class = {step, put_summary, release};
  struct gc *op = care_new(sizeof *op, &class, conf, found, ctx, err);
  if (!op)
    return NULL;
  op->dry_run = dry_run;
  op->grace_ms = grace_ms;
  op->check.store = conf->artifacts;
  op->check.pool = conf->work;
  op->check.done = on_checked;
  op->after = BUF_INIT(64 * KIB);
  tree_walk_init(&op->walk, artifact_store_root(conf->artifacts));
  doomed_init(&op->doomed, &op->care, dry_run, doomed_done);
  return &op->care;
}
